"""Tasks that give one answer to a whole text or pair of texts."""

import collections
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfhub_transfer import full_precision
from tfhub_transfer.errors import InputError
from tfhub_transfer.tasks.base import Head, Task, finite
from tfhub_transfer.wording import class_name, listed

MAX_CLASSES = 1000
# What float32 can hold of numbers to predict, with some room on either side.
LEAST_SPREAD, MOST_SCORE, MOST_RATIO = 1e-30, 1e37, 2e6


@keras.saving.register_keras_serializable(package="tfhub_transfer")
class SmoothedCrossentropy(keras.losses.Loss):
    """Cross-entropy of integer labels `[batch]` with label smoothing (Szegedy et al. 2016)."""

    def __init__(self, label_smoothing: float = 0.1, name: str = "loss", **kwargs: Any) -> None:
        super().__init__(name=name, **kwargs)
        self.label_smoothing = label_smoothing

    def call(self, y_true: Any, y_pred: Any) -> Any:
        labels = keras.ops.reshape(keras.ops.cast(y_true, "int32"), (-1,))
        labels = keras.ops.one_hot(labels, y_pred.shape[-1], dtype=y_pred.dtype)
        return keras.losses.categorical_crossentropy(
            labels, y_pred, label_smoothing=self.label_smoothing
        )

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "label_smoothing": self.label_smoothing}


@keras.saving.register_keras_serializable(package="tfhub_transfer")
class Classification(Task):
    """One class for each text, of two or many: a softmax over the class names.

    Args:
        class_names: The classes, in the order of the scores; learned by `adapt` if not given.
        pair: Whether each example is a pair of texts.
        label_smoothing: Share of the target spread over all classes, 0 to below 1.

    Example:

    >>> task = Classification(["negative", "positive"])
    >>> task.encode(["positive", "negative"])
    array([1, 0])
    """

    name = "classification"
    monitor = ("val_accuracy", "max")

    def __init__(
        self,
        class_names: Sequence[str] | None = None,
        pair: bool = False,
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__(pair)
        if not 0 <= label_smoothing < 1:
            raise InputError(
                f"`label_smoothing` must be from 0 to below 1. Received: {label_smoothing}"
            )
        self.label_smoothing = label_smoothing
        self.class_names = None if class_names is None else _checked_names(class_names)

    @property
    def is_adapted(self) -> bool:
        return self.class_names is not None

    def adapt(self, labels: Sequence[Any]) -> "Classification":
        if self.class_names is None:
            self.class_names = _checked_names(_sorted_names(map(class_name, labels)))
        return self

    def encode(self, labels: Sequence[Any]) -> np.ndarray:
        self.require_adapted()
        index = {name: i for i, name in enumerate(self.class_names or [])}
        names = [class_name(label) for label in labels]
        _check_known(names, index)
        return np.array([index[name] for name in names], dtype="int64")

    def outputs(self, features: keras.KerasTensor, head: Head) -> keras.KerasTensor:
        return _dense(len(self.class_names or []), "softmax", head)(features)

    def loss(self) -> Any:
        if self.label_smoothing:
            return SmoothedCrossentropy(self.label_smoothing)
        return keras.losses.SparseCategoricalCrossentropy()

    def metrics(self) -> list[Any]:
        return [keras.metrics.SparseCategoricalAccuracy(name="accuracy")]

    def answer(self, scores: Any) -> dict[str, Any]:
        label_id = tf.argmax(scores, axis=-1)
        label = tf.gather(tf.constant(self.class_names), label_id)
        return {"scores": scores, "label_id": label_id, "label": label}

    def decode(self, scores: np.ndarray) -> list[dict[str, Any]]:
        names = self.class_names or []
        return [
            {"label": names[int(np.argmax(row))], "scores": dict(zip(names, map(float, row)))}
            for row in scores
        ]

    def get_config(self) -> dict[str, Any]:
        return {
            "class_names": self.class_names,
            "pair": self.pair,
            "label_smoothing": self.label_smoothing,
        }


@keras.saving.register_keras_serializable(package="tfhub_transfer")
class MultiLabel(Task):
    """Any number of classes for each text: a sigmoid for each class name.

    A label is a list of names, or one string with `|` between them; empty means none.

    Args:
        class_names: The classes, in the order of the scores; learned by `adapt` if not given.
        pair: Whether each example is a pair of texts.
        threshold: The score from which a class is given, above 0 and below 1.

    Example:

    >>> MultiLabel(["joy", "anger"]).encode(["joy|anger", ["anger"]])
    array([[1., 1.],
           [0., 1.]], dtype=float32)
    """

    name = "multi-label"
    monitor = ("val_micro_f1", "max")

    def __init__(
        self,
        class_names: Sequence[str] | None = None,
        pair: bool = False,
        threshold: float = 0.5,
    ) -> None:
        super().__init__(pair)
        if not 0 < threshold < 1:
            raise InputError(f"`threshold` must be above 0 and below 1. Received: {threshold}")
        self.threshold = threshold
        self.class_names = None if class_names is None else _checked_names(class_names)

    @property
    def is_adapted(self) -> bool:
        return self.class_names is not None

    def adapt(self, labels: Sequence[Any]) -> "MultiLabel":
        if self.class_names is None:
            names = _sorted_names(n for label in labels for n in _names(label))
            self.class_names = _checked_names(names)
        return self

    def encode(self, labels: Sequence[Any]) -> np.ndarray:
        self.require_adapted()
        index = {name: i for i, name in enumerate(self.class_names or [])}
        encoded = np.zeros((len(labels), len(index)), dtype="float32")
        for row, label in enumerate(labels):
            names = _names(label)
            _check_known(names, index)
            encoded[row, [index[name] for name in names]] = 1.0
        return encoded

    def outputs(self, features: keras.KerasTensor, head: Head) -> keras.KerasTensor:
        return _dense(len(self.class_names or []), "sigmoid", head)(features)

    def loss(self) -> Any:
        return keras.losses.BinaryCrossentropy()

    def metrics(self) -> list[Any]:
        return [keras.metrics.F1Score("micro", threshold=self.threshold, name="micro_f1")]

    def answer(self, scores: Any) -> dict[str, Any]:
        names = tf.constant(self.class_names)
        return {
            "scores": scores,
            "predicted": scores >= self.threshold,
            "label_names": tf.tile(names[None], [tf.shape(scores)[0], 1]),
        }

    def decode(self, scores: np.ndarray) -> list[dict[str, Any]]:
        names = self.class_names or []
        return [
            {
                "labels": [n for n, s in zip(names, row) if s >= self.threshold],
                "scores": dict(zip(names, map(float, row))),
            }
            for row in scores
        ]

    def get_config(self) -> dict[str, Any]:
        return {"class_names": self.class_names, "pair": self.pair, "threshold": self.threshold}


@keras.saving.register_keras_serializable(package="tfhub_transfer")
class Regression(Task):
    """One number for each text. The head learns on standardised targets and answers in raw units.

    Mean and deviation of the training targets live in the model, as a `keras.layers.Rescaling`.

    Args:
        mean: Mean of the training targets; learned by `adapt` if not given.
        deviation: Their standard deviation, above 0; learned by `adapt` if not given.
        pair: Whether each example is a pair of texts.

    Example:

    >>> Regression().adapt([1.0, 3.0]).get_config()
    {'mean': 2.0, 'deviation': 1.0, 'pair': False}
    """

    name = "regression"

    def __init__(
        self, mean: float | None = None, deviation: float | None = None, pair: bool = False
    ) -> None:
        super().__init__(pair)
        if deviation is not None and not deviation > 0:
            raise InputError(f"`deviation` must be above 0. Received: {deviation}")
        self.mean, self.deviation = mean, deviation

    @property
    def is_adapted(self) -> bool:
        return self.mean is not None and self.deviation is not None

    def adapt(self, labels: Sequence[Any]) -> "Regression":
        if not self.is_adapted:
            values = np.array([finite(label, self.name) for label in labels])
            mean, deviation = float(values.mean()), float(values.std())
            _check_scale(values, mean, deviation)
            self.mean, self.deviation = mean, deviation
        return self

    def encode(self, labels: Sequence[Any]) -> np.ndarray:
        return np.array([finite(label, self.name) for label in labels], dtype="float32")

    def outputs(self, features: keras.KerasTensor, head: Head) -> keras.KerasTensor:
        standardised = _dense(1, "linear", head)(features)
        scores = keras.layers.Rescaling(
            self.deviation, self.mean, dtype="float32", name="raw_units"
        )(standardised)
        return keras.layers.Flatten(dtype="float32", name="score")(scores)

    def loss(self) -> Any:
        # In units of the variance, so that one learning rate fits scores of any scale.
        return ScaledSquaredError(float(self.deviation or 1.0))

    def metrics(self) -> list[Any]:
        return [ScaledError(float(self.deviation or 1.0))]

    def answer(self, scores: Any) -> dict[str, Any]:
        return {"score": tf.reshape(scores, [-1])}

    def decode(self, scores: np.ndarray) -> list[dict[str, Any]]:
        return [{"score": float(score)} for score in np.reshape(scores, (-1,))]

    def get_config(self) -> dict[str, Any]:
        return {"mean": self.mean, "deviation": self.deviation, "pair": self.pair}


@keras.saving.register_keras_serializable(package="tfhub_transfer")
class ScaledSquaredError(keras.losses.Loss):
    """Mean squared error in units of the targets' variance: targets `[batch]` or `[batch, 1]`."""

    def __init__(self, deviation: float = 1.0, name: str = "loss", **kwargs: Any) -> None:
        super().__init__(name=name, **kwargs)
        self.deviation = deviation

    def call(self, y_true: Any, y_pred: Any) -> Any:
        y_true = keras.ops.reshape(keras.ops.cast(y_true, y_pred.dtype), (-1,))
        return keras.ops.square((y_true - keras.ops.reshape(y_pred, (-1,))) / self.deviation)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "deviation": self.deviation}


@keras.saving.register_keras_serializable(package="tfhub_transfer")
class ScaledError(keras.metrics.RootMeanSquaredError):
    """Root mean squared error, in the targets' units, whose squares no scale of them overflows."""

    def __init__(self, deviation: float = 1.0, name: str = "rmse", **kwargs: Any) -> None:
        super().__init__(name=name, **kwargs)
        self.deviation = deviation

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        y_true = keras.ops.reshape(keras.ops.cast(y_true, "float32"), (-1,))
        y_pred = keras.ops.reshape(keras.ops.cast(y_pred, "float32"), (-1,))
        error = (y_true - y_pred) / self.deviation
        super().update_state(keras.ops.zeros_like(error), error, sample_weight)

    def result(self) -> Any:
        return super().result() * self.deviation

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "deviation": self.deviation}


def _check_scale(values: np.ndarray, mean: float, deviation: float) -> None:
    """Refuses targets that float32 numbers can't tell apart, or can't hold."""
    if not deviation or np.ptp(values) == 0:
        raise InputError(
            "every training example has the same score, so there is nothing to learn. "
            f"Received: {values[0]} in all {len(values)} rows"
        )
    if deviation < LEAST_SPREAD or np.abs(values).max() > MOST_SCORE:
        raise InputError(
            f"scores must be below {MOST_SCORE:g} and spread by more than {LEAST_SPREAD:g}, as "
            "float32 numbers can; give them in other units, such as those of their spread. "
            f"Received: scores from {values.min():g} to {values.max():g}, spread by {deviation:g}"
        )
    if abs(mean) > MOST_RATIO * deviation:
        raise InputError(
            f"scores must not lie closer together than a {MOST_RATIO:g}th of their size, or float32"
            f" numbers can't tell them apart; take {mean!r} off each. "
            f"Received: scores around {mean:g}, spread by {deviation:g}"
        )


def _dense(units: int, activation: str, head: Head) -> keras.layers.Layer:
    penalty = keras.regularizers.L2(head.l2) if head.l2 else None
    return full_precision.Dense(units, activation, kernel_regularizer=penalty, name="scores")


def _names(label: Any) -> list[str]:
    parts = label.split("|") if isinstance(label, str) else label
    if not isinstance(parts, (list, tuple)):
        parts = [label]
    return [name for name in map(class_name, parts) if name]


def _sorted_names(names: Any) -> list[str]:
    counts = collections.Counter(names)
    try:
        return sorted(counts, key=float)
    except ValueError:
        return sorted(counts)


def _checked_names(names: Sequence[str]) -> list[str]:
    names = [class_name(name) for name in listed(names)]
    if len(names) < 2:
        raise InputError(
            "at least two classes are needed to learn to tell them apart; check the label column. "
            f"Received: {names}"
        )
    if len(set(names)) < len(names):
        twice = [n for n, count in collections.Counter(names).items() if count > 1]
        raise InputError(f"class names must differ. Received more than once: {twice[:5]}")
    if len(names) > MAX_CLASSES:
        raise InputError(
            f"expected at most {MAX_CLASSES} classes; for a number to predict use the regression "
            f"task, otherwise check the label column. Received: {len(names)} distinct labels "
            f"such as {names[:3]}"
        )
    return names


def _check_known(names: Sequence[str], index: dict[str, int]) -> None:
    unknown = sorted({name for name in names if name not in index})
    if unknown:
        raise InputError(
            "every class must occur in the training split; add examples of it there or remove its "
            f"rows. Received: {unknown[:5]}, not among the {len(index)} known classes "
            f"({', '.join(list(index)[:5])}{', ...' if len(index) > 5 else ''})"
        )
