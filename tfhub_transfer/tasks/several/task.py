"""Several tasks that learn on one encoder together."""

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any, TypeAlias, TypeGuard

import keras
import numpy as np
import tensorflow as tf

from tfhub_transfer import runtime
from tfhub_transfer.data import Examples
from tfhub_transfer.errors import InputError
from tfhub_transfer.heads.settings import Head
from tfhub_transfer.incoming.ranges import MOST
from tfhub_transfer.private import keras_layers, keras_training
from tfhub_transfer.runtime import gathering
from tfhub_transfer.tasks.base import Task
from tfhub_transfer.tasks.objective import Labels
from tfhub_transfer.tasks.reportable import KerasOwn, reduced

UNCERTAINTY = "uncertainty"

# By the names of tasks: answers in a graph.
Answers: TypeAlias = Mapping[str, "tf.Tensor"]


@keras.saving.register_keras_serializable(package="tfhub_transfer")
class MultiTask(Task):
    """Several tasks by name, each with a head of its own on one encoder.

    Every batch mixes rows of all tasks. A task's share of them is in proportion to its number of
    rows to the power of `alpha` (Devlin et al. 2019 and Conneau et al. 2020 sample languages so):
    1 takes the data as they are, 0 gives all tasks the same share. No row is left out for that:
    those of the smaller tasks come more than once in an epoch.

    Args:
        tasks: The tasks by name; names are those of an export's signatures.
        weights: The weight of each task's loss by name, 1 where none is given; or `"uncertainty"`,
            to learn them along (Kendall et al. 2018, equation 10: losses times `exp(-s)`, plus
            `s / 2`, with one `s` a task).
        alpha: The power of the sampling, 0 to 1.

    Raises:
        InputError: If there are no tasks, or a name, a weight or the power is unusable.

    Example:

    >>> task = MultiTask({
    ...     "sentiment": Classification(["negative", "positive"]),
    ...     "inference": Classification(["contradiction", "entailment", "neutral"], pair=True),
    ... })
    """

    name = "multi-task"
    layout = "joint"
    several = True

    def __init__(
        self,
        tasks: Mapping[str, Task],
        weights: Mapping[str, float] | str | None = None,
        alpha: float = 1.0,
    ) -> None:
        super().__init__(pair=False)
        if not tasks:
            raise InputError("expected at least one task, `{name: task}`. Received: none")
        check_names(tasks)
        kinds = [task for task in tasks.values() if not isinstance(task, Task)]
        if kinds:
            raise InputError(f"expected tasks, such as Classification(). Received: {kinds[0]!r}")
        towers = [name for name, task in tasks.items() if task.layout in ("joint", "towers")]
        if towers:
            raise InputError(
                "tasks that learn together read one text or one packed pair a row; train the "
                f"others alone. Received: {', '.join(towers)}"
            )
        alone = [name for name, task in tasks.items() if task.copies]
        if alone:
            raise InputError(
                "a task that copies pieces of the text learns alone; leave `copies` out, or train "
                f"it by itself. Received: {', '.join(alone)}"
            )
        words = {f"{name}_words" for name, task in tasks.items() if task.layout == "words"}
        if words & set(tasks):
            raise InputError(
                "a task of tags has a second signature, its name and `_words`; name the other task "
                f"otherwise. Received: {', '.join(words & set(tasks))}"
            )
        if not _is_number(alpha) or not 0 <= alpha <= 1:
            raise InputError(f"`alpha` must be a number from 0 to 1. Received: {alpha!r}")
        self.tasks = dict(tasks)
        self.weights = _checked_weights(weights, self.tasks)
        self.alpha = alpha
        self.monitor = (self.judge, "max")

    @property
    def parts(self) -> Mapping[str, Task]:
        return self.tasks

    def apart(self, given: object) -> Mapping[str, object]:
        return self.require_names(given)

    @property
    def is_adapted(self) -> bool:
        return all(task.is_adapted for task in self.tasks.values())

    @property
    def head_factor(self) -> float:  # type: ignore[override]
        """The highest: the rate that a decoder needs suits what is simpler."""
        return max(task.head_factor for task in self.tasks.values())

    @property
    def needs_tokens(self) -> bool:  # type: ignore[override]
        """Whether one of the tasks reads token vectors."""
        return any(task.needs_tokens for task in self.tasks.values())

    def require_adapted(self) -> None:
        for name, task in self.tasks.items():
            try:
                task.require_adapted()
            except InputError as error:
                raise InputError(f"task {name!r}: {error}") from error

    def adapt(  # type: ignore[override]  # by names of tasks, as all of these
        self, labels: Mapping[str, Sequence[object]]
    ) -> "MultiTask":
        """Learns what each task must know of its labels, `{name: labels}`."""
        for name, task in self.tasks.items():
            task.adapt(labels[name])
        return self

    def encode(  # type: ignore[override]
        self, labels: Mapping[str, Sequence[object]]
    ) -> dict[str, Labels]:
        """Labels of each task, `{name: labels}`, to what its loss wants."""
        return {name: task.encode(labels[name]) for name, task in self.tasks.items()}

    def check(  # type: ignore[override]
        self, examples: Mapping[str, Examples]
    ) -> None:
        self.require_names(examples)
        for name, task in self.tasks.items():
            task.check(examples[name])

    def check_training(  # type: ignore[override]
        self, examples: Mapping[str, Examples]
    ) -> None:
        self.require_names(examples)
        for name, task in self.tasks.items():
            task.check_training(examples[name])

    def require_names(self, examples: object) -> Mapping[str, object]:
        """Returns what there is for each task, `{name: examples}`; raises `InputError` if not."""
        if not isinstance(examples, Mapping) or set(examples) != set(self.tasks):
            raise self._other_names("expected examples by name of each task", examples)
        return examples

    def require_known(self, texts: object) -> None:
        """Raises `InputError` unless what is given is by names of tasks, of some or all."""
        if not isinstance(texts, Mapping) or not set(texts) <= set(self.tasks):
            raise self._other_names("expected texts by names of tasks, of some or all", texts)

    def _other_names(self, expected: str, given: object) -> InputError:
        names = given if isinstance(given, Mapping) else [type(given).__name__]
        form = ", ".join(f"{name!r}: ..." for name in self.tasks)
        return InputError(
            f"{expected}, as in {{{form}}}. Received: {', '.join(map(str, names)) or 'none'}"
        )

    def outputs(self, features: Answers, head: Head) -> Answers:
        """Passes on the answers of the tasks, `{name: answer}`."""
        if self.weights != UNCERTAINTY:
            return features
        weighed: Answers = UncertaintyWeights(name="uncertainty")(features)
        return weighed

    def loss(self) -> dict[str, keras.Loss]:
        return {name: task.loss() for name, task in self.tasks.items()}

    def metrics(self) -> dict[str, Sequence[KerasOwn]]:  # type: ignore[override]
        return {name: task.metrics() for name, task in self.tasks.items()}

    def measures(self) -> dict[str, object]:
        # Rows of other tasks weigh nothing.
        fixed = self.weights if isinstance(self.weights, dict) else None
        return {"weighted_metrics": self.metrics(), "loss_weights": fixed}

    def judge(self, logs: Mapping[str, float]) -> float:
        """The mean of what the tasks are judged by, losses counted as negative.

        Args:
            logs: What Keras reports at the end of an epoch.
        """
        found = self.headlines(logs)
        return float(np.mean([task.worth(found[name]) for name, task in self.tasks.items()]))

    def headlines(self, logs: Mapping[str, float]) -> dict[str, float]:
        """What each task is judged by, by its name.

        Args:
            logs: What Keras reports at the end of an epoch.
        """
        found = {}
        for name, task in self.tasks.items():
            monitor = str(task.monitor[0])
            own = monitor.replace("val_", f"val_{name}_", 1)
            # Keras leaves the name out where there is one task only.
            found[name] = logs[own if own in logs or len(self.tasks) > 1 else monitor]
        return found

    def decode(  # type: ignore[override]
        self, scores: Mapping[str, np.ndarray]
    ) -> dict[str, list[dict[str, object]]]:
        return {name: task.decode(scores[name]) for name, task in self.tasks.items()}

    def get_config(self) -> dict[str, object]:
        serialize = keras.saving.serialize_keras_object
        return {
            "tasks": {name: serialize(task) for name, task in self.tasks.items()},
            "weights": self.weights,
            "alpha": self.alpha,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "MultiTask":
        deserialize = keras.saving.deserialize_keras_object
        tasks = {
            name: task if isinstance(task, Task) else deserialize(task)
            for name, task in config["tasks"].items()
        }
        return cls(tasks, config["weights"], config["alpha"])


def check_names(names: Collection[str]) -> None:
    """Refuses names of tasks that can't be those of signatures, or of what Keras reports.

    Args:
        names: The names.

    Raises:
        InputError: If one is unusable.
    """
    usual = re.compile(r"(?!(?:encode|serving_default)\Z)[A-Za-z][A-Za-z0-9_]{0,63}")
    odd = [name for name in names if not usual.fullmatch(str(name))]
    if odd:
        raise InputError(
            "names of tasks become signatures: up to 64 letters, digits and _, and neither "
            f"`encode` nor `serving_default`. Received: {', '.join(map(repr, odd))}"
        )
    taken = {"val", *(f"val_{name}" for name in names)} & set(names)
    if taken:
        raise InputError(
            "Keras puts `val_` before what it reports of validation; name the task otherwise. "
            f"Received: {', '.join(sorted(taken))}"
        )


@keras.saving.register_keras_serializable(package="tfhub_transfer")
class UncertaintyWeights(keras.layers.Layer):
    """Holds one log variance a task, by which `JointLoss` weighs; answers pass unchanged.

    Kendall et al. 2018, "Multi-Task Learning Using Uncertainty to Weigh Losses".
    """

    def build(self, answers_shape: Mapping[str, tuple[int | None, ...]]) -> None:
        self.names = sorted(answers_shape)
        self.log_variance = self.add_weight(
            shape=(len(self.names),), initializer="zeros", name="log_variance", dtype="float32"
        )

    def call(self, answers: Answers) -> Answers:
        return {name: keras.ops.multiply(answer, 1.0) for name, answer in answers.items()}

    def weigh(self, losses: Mapping[str, tf.Tensor]) -> tf.Tensor:
        """The sum of losses, each divided by its variance."""
        stacked = keras.ops.stack([losses[name] for name in self.names])
        return keras.ops.sum(keras.ops.exp(-self.log_variance) * stacked)

    def penalty(self) -> tf.Tensor:
        """What holds the variances down."""
        return keras.ops.sum(self.log_variance) / 2.0


class _Losses:
    """What Keras reports of each task's loss; no list or dictionary, which Keras would save."""

    def __init__(self) -> None:
        self.means: dict[str, keras.metrics.Mean] = {}

    def mean(self, name: str) -> keras.metrics.Mean:
        """That of a task."""
        if name not in self.means:
            self.means[name] = keras.metrics.Mean(name=f"{name}_loss")
        return self.means[name]


class JointLoss(runtime.Replicated):
    """A model of several answers whose losses are weighed by its `UncertaintyWeights`, if any.

    A task's loss is the mean over its own rows (over their words, where it judges words) times
    their share of the batch: whatever a task's rows are made of, each of them weighs as much.
    """

    # Of the rows of the batch under way, the share that doesn't only fill it up.
    _share_there: Any = 1.0

    @property
    def metrics(self) -> list[keras.Metric]:
        """Keras' own, and the loss of each task."""
        return [*super().metrics, *self._reported().means.values()]

    def _reported(self) -> _Losses:
        if "_losses_of_tasks" not in self.__dict__:
            self._losses_of_tasks = _Losses()
        return self._losses_of_tasks

    def _make_means(self, labels: object) -> None:
        """Makes the mean of each task's loss, of those that have labels."""
        if isinstance(labels, Mapping) and isinstance(self.output, Mapping):
            for name in self.output:
                self._reported().mean(name)

    def compute_loss(
        self,
        x: Mapping[str, tf.Tensor] | None = None,
        y: Mapping[str, tf.Tensor] | None = None,
        y_pred: Answers | None = None,
        sample_weight: Mapping[str, tf.Tensor] | None = None,
        training: bool = True,
    ) -> tf.Tensor:
        """As `keras.Model.compute_loss`, which also reports the loss of each task."""
        if not isinstance(y_pred, Mapping) or y is None:
            return super().compute_loss(x, y, y_pred, sample_weight, training)
        losses = {
            name: self._own_loss(name, y[name], y_pred[name], (sample_weight or {}).get(name))
            for name in y_pred
        }
        others = list(self.losses)
        layers = keras_layers.layers_of(self)
        found = [each for each in layers if isinstance(each, UncertaintyWeights)]
        if found:
            total = found[0].weigh(losses)
            others.append(found[0].penalty())
        else:
            given = keras_training.loss_weights_given(self)
            each = given if isinstance(given, dict) else {}
            total = sum(each.get(name, 1.0) * loss for name, loss in losses.items())
        return sum(others, total)

    def _own_loss(
        self, name: str, truth: tf.Tensor, made: tf.Tensor, weights: tf.Tensor | None
    ) -> tf.Tensor:
        given = self.loss[name] if isinstance(self.loss, Mapping) else self.loss
        # Keras' usual mean counts the rows of other tasks too, which weigh 0 here.
        loss = reduced(given, "mean_with_sample_weight")
        own = loss(truth, made, weights)
        share = 1.0 if weights is None else keras.ops.mean(keras.ops.cast(weights, own.dtype))
        rows = keras.ops.cast(keras.ops.shape(made)[0], own.dtype) * share
        # Replicas know the loss of all; of several tasks Keras doesn't ask the first alone.
        gathering.by_first(
            lambda: self._reported().mean(name).update_state(own, rows * self._share_there)
        )
        return own * share


def _checked_weights(weights: object, tasks: Mapping[str, Task]) -> dict[str, float] | str | None:
    if weights is None:
        return None
    if weights == UNCERTAINTY:
        return UNCERTAINTY
    if not isinstance(weights, Mapping) or not set(weights) <= set(tasks):
        raise InputError(
            f"`weights` must be {UNCERTAINTY!r} or a number by name of {', '.join(tasks)}. "
            f"Received: {weights!r}"
        )
    made = {name: weights.get(name, 1.0) for name in tasks}
    if not all(_is_number(w) and 0 <= w < MOST for w in made.values()) or not any(made.values()):
        raise InputError(
            f"weights must be finite numbers, at least 0, one of them above. Received: {made}"
        )
    return {name: float(weight) for name, weight in made.items()}


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
