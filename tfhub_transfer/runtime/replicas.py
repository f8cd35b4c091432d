"""Models that train on replicas."""

import contextlib
import contextvars
import functools
import inspect
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeAlias, TypeVar

import keras
import numpy as np
import tensorflow as tf

from tfhub_transfer.errors import InputError
from tfhub_transfer.private import (
    keras_losses,
    keras_optimizers,
    keras_training,
    tensorflow_gradients,
    tensorflow_graphs,
)
from tfhub_transfer.runtime import cluster, gathering, machine, precision_choice
from tfhub_transfer.shapes import Logs

Made = TypeVar("Made")
# What a graph says of batches that differ.
_UNLIKE = "processes were given different batches"
# Whose steps are known.
_OURS = ("keras", "tfhub_transfer")
# What Keras calls for each step; it gives the functions of training and testing their names only.
Step: TypeAlias = Callable[[Iterator[object]], object]


class Replicated(keras_training.WholeBatches):
    """A model that learns on replicas what it would on one device.

    Each replica is given whole batches, computes some of their rows, and has from the others what
    they made of theirs: so loss and metrics are those of the batch, whatever they are, and a batch
    may have any number of rows. Gradients are added up before an optimizer clips them.

    Its functions are its own also where TensorFlow counts how often one is traced. What TensorFlow
    notes of a step for good ends with its tracing.

    All replicas compute at the precision of the thread that asks for a step: a block of `precision`
    is of one thread, and each replica is traced by one of its own.
    """

    train_function: Step | None
    test_function: Step | None
    predict_function: Step | None
    # The context variables of the thread that asked for steps last.
    _asked: contextvars.Context

    def train_step(self, data: object) -> Logs:
        """As Keras does."""
        return self._as_asked(self._train, data)

    def _train(self, data: object) -> Logs:
        with tensorflow_gradients.forgotten():
            if gathering.how_many() == 1:
                logs: Logs = super().train_step(data)
                return logs
            x, y, weights = self._given(data)
            with tf.GradientTape() as tape:
                scores = self._of_all(x, training=True)
                whole = self._loss(x, y, scores, weights, training=True)
                share = whole / gathering.how_many()
                if self.optimizer is not None:
                    share = self.optimizer.scale_loss(share)
            if self.trainable_weights:
                self._move(tape.gradient(share, self.trainable_weights))
            else:
                warnings.warn("The model does not have any trainable weights.", stacklevel=2)
        return self._measured(whole, x, y, scores, weights)

    def test_step(self, data: object) -> Logs:
        """As Keras does."""
        return self._as_asked(self._test, data)

    def _test(self, data: object) -> Logs:
        if gathering.how_many() == 1:
            logs: Logs = super().test_step(data)
            return logs
        x, y, weights = self._given(data)
        scores = self._of_all(x, training=False)
        whole = self._loss(x, y, scores, weights, training=False)
        return self._measured(whole, x, y, scores, weights)

    def _given(self, data: object) -> tuple[Any, Any, Any]:
        """Inputs, labels and weights of a batch, the same in all processes."""
        if not self._is_of_several():
            return keras.utils.unpack_x_y_sample_weight(data)
        with tensorflow_gradients.forgotten():
            check = tf.debugging.Assert(gathering.alike(data), [_UNLIKE])
        with tf.control_dependencies([check]):
            data = tf.nest.map_structure(
                lambda each: each if each is None else tf.identity(each), data
            )
        return keras.utils.unpack_x_y_sample_weight(data)

    def _is_of_several(self) -> bool:
        """Whether several processes train it together."""
        return cluster.place(tf.distribute.get_strategy()).count > 1

    def _of_all(self, x: object, training: bool) -> object:
        rows = gathering.count(x)
        return gathering.of_all(self(gathering.rows_of_replica(x, rows), training=training), rows)

    def _loss(
        self, x: object, y: object, scores: object, weights: object, training: bool
    ) -> tf.Tensor:
        with keras_training.undivided():
            return self.compute_loss(x, y, scores, weights, training=training)

    def _move(self, gradients: Sequence[object]) -> None:
        """Moves what is trained by the sums of what replicas have."""
        context, sums = tf.distribute.get_replica_context(), list(gradients)
        there = [place for place, each in enumerate(sums) if each is not None]
        if there:
            added = context.all_reduce(tf.distribute.ReduceOp.SUM, [sums[at] for at in there])
            for place, each in zip(there, added, strict=True):
                sums[place] = each
        self.optimizer.apply_gradients(zip(sums, self.trainable_weights, strict=True))

    def _measured(
        self, whole: tf.Tensor, x: object, y: object, scores: object, weights: object
    ) -> Logs:
        """What is reported; Keras adds up over replicas what each has counted."""

        def counted() -> None:
            rows = gathering.count(x)
            keras_losses.mean_of_batches(self).update_state(whole, sample_weight=rows)
            self.compute_metrics(x, y, scores, weights)

        gathering.by_first(counted)
        logs: Logs = self.get_metrics_result()
        if self._is_of_several():  # or callbacks would see other numbers in each
            with tensorflow_gradients.forgotten():
                logs = gathering.of_first(logs)
        return logs

    def check_batches(self, batches: object) -> None:
        """Raises `InputError` if a strategy has dealt them out already."""
        if isinstance(batches, tf.distribute.DistributedDataset):
            raise InputError(
                "replicas take their rows from whole batches: give the dataset itself, not what a "
                f"strategy made of it. Received: {type(batches).__name__}"
            )

    def predict(self, *args: object, **kwargs: object) -> object:
        """As Keras does; each of several processes by itself, which deals out no batches."""
        if cluster.place(self.distribute_strategy).count == 1:
            return super().predict(*args, **kwargs)
        inside = contextvars.copy_context()
        usual = functools.partial(super().predict, *args, **kwargs)
        with self._alone():
            return machine.outside_of_replicas(lambda: inside.run(usual))

    def predict_on_batch(self, x: object) -> object:
        """As Keras does; on one device."""
        with self._alone():
            return super().predict_on_batch(x)

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Lets it answer on one device, by a function of its own for each precision."""
        if self.distribute_strategy.num_replicas_in_sync == 1:
            yield
            return
        precision, before = precision_choice.surrounding(), self.predict_function
        known = self.__dict__.setdefault("_answering_alone", _Functions())
        self.predict_function = known.made.get(precision)
        try:
            with keras_training.alone(self):
                yield
        finally:
            known.made[precision], self.predict_function = self.predict_function, before

    def reset_metrics(self) -> None:
        """As Keras does.

        Raises:
            InputError: If a metric can't be counted by replicas.
        """
        super().reset_metrics()
        if self.distribute_strategy.num_replicas_in_sync > 1:
            for metric in self.metrics:
                _require_sum(metric)

    def make_train_function(self, force: bool = False) -> Step | None:
        """As Keras does."""
        self._asked = contextvars.copy_context()
        if self.distribute_strategy.num_replicas_in_sync == 1:
            known = None if force else self.train_function
            super().make_train_function(force)
            if self.train_function is not known and self._steps_as_here():
                keras_training.build_first(self, "train_function", self._make_means)
        elif self.train_function is None or force:
            _require_steps(self.optimizer)
            self.train_function = _stepping(self, self.train_step)
        counted_alone(self.train_function)
        return self.train_function

    def make_test_function(self, force: bool = False) -> Step | None:
        """As Keras does."""
        self._asked = contextvars.copy_context()
        if self.distribute_strategy.num_replicas_in_sync == 1:
            known = None if force else self.test_function
            super().make_test_function(force)
            if self.test_function is not known and self._steps_as_here():
                keras_training.build_first(self, "test_function", self._make_means)
        elif self.test_function is None or force:
            self.test_function = _stepping(self, self.test_step)
        counted_alone(self.test_function)
        return self.test_function

    def _make_means(self, labels: object) -> None:
        """Makes what a model reports beside what it was compiled with, before a step is traced."""

    def _steps_as_here(self) -> bool:
        """Whether no class of a user's does something of its own in a step."""
        for name in ("train_step", "test_step", "compute_loss", "compute_metrics"):
            kind = next(kind for kind in type(self).__mro__ if name in vars(kind))
            if kind.__module__.partition(".")[0] not in _OURS:
                return False
        return True

    def make_predict_function(self, force: bool = False) -> Step | None:
        """As Keras does."""
        self._asked = contextvars.copy_context()
        super().make_predict_function(force)
        counted_alone(self.predict_function)
        return self.predict_function

    def predict_step(self, data: object) -> object:
        """As Keras does."""
        return self._as_asked(super().predict_step, data)

    def _as_asked(self, step: Callable[[object], Made], data: object) -> Made:
        """A step in the thread of a replica, which itself doesn't know of a precision."""
        if not tf.distribute.has_strategy():
            return step(data)
        # A copy, since a context can be entered by one thread only.
        return self._asked.copy().run(step, data)


class _Functions:
    """Functions by precision; no dictionary, which Keras would save."""

    def __init__(self) -> None:
        self.made: dict[str | None, Step | None] = {}


def _require_sum(metric: keras.Metric) -> None:
    """Raises `InputError` if what it holds isn't the sum over replicas, of which one counts."""
    for variable in metric.variables:
        if variable.aggregation != "sum" or np.any(keras.ops.convert_to_numpy(variable) != 0):
            raise InputError(
                "over replicas Keras adds up what metrics hold, so each begins at 0, and is to be "
                "added up: compile without it, and measure it by `evaluate` on one device. "
                f"Received: {variable.path} of the metric {metric.name!r}"
            )


def _require_steps(optimizer: object) -> None:
    """Raises `InputError` if an optimizer moves weights in some steps alone, in a branch."""
    steps = getattr(optimizer, "gradient_accumulation_steps", None)
    if steps:
        raise InputError(
            "over replicas Keras can't gather gradients of several steps: leave "
            "`gradient_accumulation_steps` out, and give larger batches. "
            f"Received: gradient_accumulation_steps={steps}"
        )


def require_one_device(jit: bool, strategy: tf.distribute.Strategy) -> None:
    """Raises `InputError` if XLA is to compile steps that run on several devices, but for TPUs.

    Args:
        jit: Whether it is to.
        strategy: Where they run.
    """
    count = strategy.num_replicas_in_sync
    if jit and count > 1 and not isinstance(strategy, tf.distribute.TPUStrategy):
        raise InputError(
            "XLA compiles the steps of one device, or of TPUs: compile with `jit_compile=False` "
            f"(`--jit off`), or train on one device. Received: jit_compile=True, {count} replicas"
        )


def _stepping(model: keras.Model, step: Callable[[object], object]) -> Step:
    """What takes batches from an iterator, each of which all replicas are given."""
    strategy = model.distribute_strategy
    require_one_device(model.jit_compile, strategy)

    @tf.autograph.experimental.do_not_convert
    def one(batch: object) -> object:
        with keras_optimizers.given_sums(model.optimizer):
            made = strategy.run(step, args=(batch,))
        # The first has counted for all.
        return tf.nest.map_structure(
            lambda each: strategy.experimental_local_results(each)[0], made
        )

    graph = one if model.run_eagerly else tf.function(one, reduce_retracing=True)
    expect = None if model.run_eagerly else _expecting(graph)

    def several(iterator: Iterator[object]) -> object:
        logs = None
        if expect is not None:
            expect(getattr(iterator, "element_spec", None))
        for _, batch in zip(range(model.steps_per_execution), iterator, strict=False):
            with _one_line():
                logs = graph(tf.nest.map_structure(_or_none, batch))
        if logs is None:
            raise StopIteration
        return logs

    return several


def _expecting(graph: tf.types.experimental.PolymorphicFunction) -> Callable[[object], None]:
    """What traces a step for all batches of a kind, so that it is the same whichever came first.

    By itself TensorFlow traces it for the very shape of the first batch, and only then for others.
    The two round otherwise: by a known number of rows it divides as by a product. A training that
    goes on in the midst of an epoch has another first batch than one that was never interrupted,
    and would end with other weights.

    Args:
        graph: The step, of a batch.

    Returns:
        It takes what is known of each batch to come; `None` if that is nothing, as of arrays that
        are given by hand.
    """
    expected: object = None

    def expect(spec: object) -> None:
        nonlocal expected
        if spec is not None and spec != expected:
            graph.get_concrete_function(tf.nest.map_structure(_or_none, spec))
            expected = spec

    return expect


@contextlib.contextmanager
def _one_line() -> Iterator[None]:
    """Raises `InputError` where a graph says that processes were given different batches."""
    try:
        yield
    except tf.errors.InvalidArgumentError as error:
        if _UNLIKE not in str(error.message):
            raise
        raise InputError(
            "all processes of a training are given the same batches, of all rows: leave `shard` "
            "out, and give what shuffles a seed. Received: batches that differ"
        ) from None


def _or_none(value: object) -> object:
    """What a batch may lack, and Keras' generators say so, or what is known of such."""
    lacking = tf.experimental.Optional, tf.OptionalSpec
    return None if isinstance(value, lacking) else value


def counted_alone(function: Callable[..., object] | None) -> None:
    """Lets TensorFlow count the tracings of graphs that a function calls each by itself.

    It counts by lines of code, to warn of a function that is traced again and again. Keras makes
    the functions of all models in the same lines, so that five short trainings, as in a search or
    a cross-validation, look like one function traced five times (tensorflow/tensorflow#42441).
    Counted by itself, one that really is still warns.

    Args:
        function: What Keras calls for each step, or a `tf.function`.
    """
    waiting: list[object] = [function]
    seen: set[int] = set()
    while waiting:
        found = waiting.pop()
        if id(found) in seen:
            continue
        seen.add(id(found))
        if isinstance(found, tf.types.experimental.PolymorphicFunction):
            tensorflow_graphs.count_alone(found)
            found = found.python_function
        # Keras wraps what it traces in functions that hold it.
        if inspect.isfunction(found):
            waiting += [cell.cell_contents for cell in found.__closure__ or ()]
