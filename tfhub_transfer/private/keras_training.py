"""What Keras' models know of how they train, and say in no public way.

`Model.get_compile_config` says it as a configuration: what is made from that are other objects than
the user's, and to make it asks the optimizer for numbers that aren't known while a step is traced.
"""

import contextlib
import functools
import threading
from collections.abc import Callable, Iterator
from typing import Any

import keras
import tensorflow as tf
from keras.src.losses import loss
from keras.src.losses.losses import LossFunctionWrapper
from keras.src.utils.naming import to_snake_case


def metrics_given(model: keras.Model) -> dict[str, object]:
    """The `metrics` and `weighted_metrics` that a model was compiled with, as they were given.

    `Model._compile_metrics` with its `_user_metrics` and `_user_weighted_metrics`, with Keras
    3.15.1. `Model.metrics` has them as one, and those of layers.
    """
    compiled = model._compile_metrics  # none at all if there are no metrics
    return {
        "metrics": getattr(compiled, "_user_metrics", None),
        "weighted_metrics": getattr(compiled, "_user_weighted_metrics", None),
    }


def loss_weights_given(model: keras.Model) -> "dict[str, float] | list[float] | float | None":
    """The `loss_weights` that a model was compiled with, as they were given.

    `Model._compile_loss` with its `_user_loss_weights`, with Keras 3.15.1.
    """
    return getattr(model._compile_loss, "_user_loss_weights", None)


def begin_anew(model: keras.Model) -> None:
    """Lets `fit` begin at the epoch that it is given.

    `Model._initial_epoch`, with Keras 3.15.1: where `BackupAndRestore` began an earlier run, which
    goes before `initial_epoch` in all later ones.
    """
    model._initial_epoch = None


@contextlib.contextmanager
def undivided() -> Iterator[None]:
    """Losses that this thread computes inside are whole, as on one device.

    `keras.src.losses.loss.scale_loss_for_distribution`, with Keras 3.15.1, by which Keras divides
    what is a mean, and no other loss, by the number of replicas, and
    `unscale_loss_for_distribution`, by which it reports that of each output.
    """
    for name, own in _USUAL.items():
        if getattr(loss, name) is own:  # replaced for good: other threads may be inside of it
            setattr(loss, name, functools.partial(_scaled, own))
    before, _thread.undivided = getattr(_thread, "undivided", False), True
    try:
        yield
    finally:
        _thread.undivided = before


_thread = threading.local()
_USUAL = {
    name: getattr(loss, name)
    for name in ("scale_loss_for_distribution", "unscale_loss_for_distribution")
}


def _scaled(usual: Callable[[tf.Tensor], tf.Tensor], value: tf.Tensor) -> tf.Tensor:
    return value if getattr(_thread, "undivided", False) else usual(value)


def as_loss(
    function: Callable[[tf.Tensor, tf.Tensor], tf.Tensor], reduction: str | None
) -> keras.Loss:
    """A function of labels and scores as a loss.

    `keras.src.losses.losses.LossFunctionWrapper`, with Keras 3.15.1, as `compile` makes it.

    Args:
        function: Gives the loss of each example.
        reduction: As Keras' losses take it.
    """
    return LossFunctionWrapper(function, reduction=reduction)


def spelled(name: str) -> str:
    """What Keras calls a metric or a layer that has no name, by its class or function.

    `keras.src.utils.naming.to_snake_case`, with Keras 3.15.1.
    """
    return str(to_snake_case(name))


class WholeBatches(keras.Model):
    """A model that each replica gives whole batches, and that is built without taking one.

    `Model._maybe_symbolic_build`, which is replaced, `_symbolic_build`, `_distribute_strategy`
    (which says also that there is none), and of Keras' iterator `data_adapter` and
    `_distributed_dataset`, with Keras 3.15.1. Keras deals out shares of a batch, which may differ
    in size; and builds losses and metrics on the first batch of a pass, which nobody trains on.
    """

    def _maybe_symbolic_build(self, iterator: Any = None, data_batch: object = None) -> None:
        if self._distribute_strategy is None or iterator is None:
            super()._maybe_symbolic_build(iterator, data_batch)
            return
        batches = iterator.data_adapter.get_tf_dataset()
        self.check_batches(batches)
        iterator._distributed_dataset = batches
        with self.distribute_strategy.scope():
            self._symbolic_build(data_batch=_there(batches.element_spec))

    def check_batches(self, batches: object) -> None:
        """Raises an error if these aren't whole."""


def build_first(model: keras.Model, name: str, also: Callable[[object], None]) -> None:
    """Has the first call of a model's step make all variables that it needs, before it is traced.

    `Model._compile_metrics`, with Keras 3.15.1. Keras makes optimizer and metrics in the midst of
    the first step, and TensorFlow traces a step that makes variables twice.

    Args:
        model: The model, of which nobody knows better what its steps need.
        name: `"train_function"` or `"test_function"`, which was made just now.
        also: Makes what else the step needs, by what it is given as labels.
    """
    step, is_built = getattr(model, name), list[bool]()

    def first(iterator: Any) -> object:
        if not is_built:
            is_built.append(True)
            if name == "train_function":
                _build_optimizer(model)
            labels = _labels(getattr(iterator, "element_spec", None))
            if labels is not None:
                _build_metrics(model, labels)
                also(labels)
        return step(iterator)

    setattr(model, name, first)


def _build_optimizer(model: keras.Model) -> None:
    if model.optimizer is not None and not model.optimizer.built and model.trainable_variables:
        with keras.name_scope(model.optimizer.name):  # as Keras calls its variables
            model.optimizer.build(model.trainable_variables)


def _labels(batch: object) -> Any:
    """What is known of the labels of batches; nothing, if a step may find something else there."""
    if not isinstance(batch, tuple) or len(batch) not in (2, 3):
        return None
    known = [getattr(each, "shape", tf.TensorShape(None)) for each in tf.nest.flatten(batch[1])]
    return batch[1] if known and all(shape.rank is not None for shape in known) else None


def _build_metrics(model: keras.Model, labels: Any) -> None:
    metrics = model._compile_metrics
    if metrics is not None and not metrics.built:
        specs = tf.nest.map_structure(lambda x: keras.KerasTensor(x.shape, x.dtype), labels)
        metrics.build(specs, model.output)


@contextlib.contextmanager
def alone(model: keras.Model) -> Iterator[None]:
    """A model answers inside on one device, from the first copy of its weights.

    `Model._distribute_strategy`, with Keras 3.15.1. By `predict_on_batch` Keras has every replica
    answer the whole batch, and gives all of it.
    """
    before, model._distribute_strategy = model._distribute_strategy, None
    try:
        yield
    finally:
        model._distribute_strategy = before


def _there(spec: object) -> object:
    """What is known of a batch, with `None` for what it may lack and never has."""
    return tf.nest.map_structure(
        lambda each: None if isinstance(each, tf.OptionalSpec) else each, spec
    )
