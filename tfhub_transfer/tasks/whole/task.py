"""Tasks that give one answer to a whole text or pair of texts."""

import collections
import dataclasses
import functools
import numbers
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar, cast

import keras
import numpy as np
import tensorflow as tf

from tfhub_transfer.errors import InputError
from tfhub_transfer.heads.settings import Head
from tfhub_transfer.incoming import ranges
from tfhub_transfer.incoming.ranges import MOST
from tfhub_transfer.incoming.wording import class_name, listed
from tfhub_transfer.reporting import metrics
from tfhub_transfer.reporting.metrics import BaselineAnswer, Numbers
from tfhub_transfer.reporting.reports import Report
from tfhub_transfer.reporting.standings import Standing
from tfhub_transfer.tasks import class_labels, divergences
from tfhub_transfer.tasks.base import Task
from tfhub_transfer.tasks.conformal import Limits
from tfhub_transfer.tasks.reportable import Joined, Readable
from tfhub_transfer.tasks.temperatures import Link, Scaling, Told
from tfhub_transfer.tasks.whole import cuts, trust
from tfhub_transfer.tasks.whole import measures as whole_measure
from tfhub_transfer.tasks.whole.layout import last_dense

# Of more labels most often the column is the wrong one: numbers, texts, names of rows.
MAX_CLASSES = 1000


@keras.saving.register_keras_serializable(package="tfhub_transfer")
class SmoothedCrossentropy(keras.losses.Loss):
    """Cross-entropy of integer labels `[batch]` with label smoothing (Szegedy et al. 2016)."""

    def __init__(self, label_smoothing: float = 0.1, name: str = "loss", **kwargs: Any) -> None:
        super().__init__(name=name, **kwargs)
        self.label_smoothing = label_smoothing

    def call(self, y_true: keras.KerasTensor, y_pred: keras.KerasTensor) -> keras.KerasTensor:
        labels = keras.ops.reshape(keras.ops.cast(y_true, "int32"), (-1,))
        # Keras smooths one-hot labels only.
        labels = keras.ops.one_hot(labels, y_pred.shape[-1], dtype=y_pred.dtype)
        return keras.losses.categorical_crossentropy(
            labels, y_pred, label_smoothing=self.label_smoothing
        )

    def get_config(self) -> dict[str, object]:
        return {**super().get_config(), "label_smoothing": self.label_smoothing}


@keras.saving.register_keras_serializable(package="tfhub_transfer")
class Classification(Task):
    """One class for each text, of two or many: a softmax over the class names.

    A label is a name, a number or a boolean; 1, 1.0 and "1" are one class. Numbers from 0 are
    places in `class_names` where names that are no numbers are given. Also taken: a list of one,
    and a dictionary with a 1 for the class and a 0 for every other.

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
    api = "classify"
    monitor = ("val_accuracy", "max")
    options = ("class_names", "class_weights", "label_smoothing")
    calibrated_by: ClassVar[Link | None] = "softmax"
    promises: ClassVar[tuple[str, ...]] = ("coverage", "abstain")
    # Whether classes have an order, so that sets of them are without gaps.
    ordered: ClassVar[bool] = False
    scoped = True
    standing = Standing("accuracy", badness="confidence", picked=True)

    def __init__(
        self,
        class_names: Sequence[str] | None = None,
        pair: bool = False,
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__(pair)
        self.label_smoothing = ranges.real_number(
            "label_smoothing", label_smoothing, 0.0, ranges.BELOW_ONE, closed=True
        )
        self.class_names = None if class_names is None else _checked_names(class_names)

    @property
    def is_adapted(self) -> bool:
        return self.class_names is not None

    def read_labels(self, labels: Sequence[object]) -> list[str]:
        read = functools.partial(class_labels.one, known=self.class_names or ())
        return class_labels.by_row(read, labels)

    def adapt(self, labels: Sequence[object]) -> "Classification":
        if self.class_names is None:
            names = _sorted_names(self.read_labels(labels))
            class_labels.require_names(names)
            self.class_names = _checked_names(names)
            self.learned = True
        return self

    def encode(self, labels: Sequence[object]) -> np.ndarray:
        self.require_adapted()
        rows = [[found] for found in self.read_labels(labels)]
        return np.array([place for (place,) in _places(self, rows)], dtype="int64")

    def class_weights(self, labels: Sequence[object]) -> dict[int, float]:
        """As `Task.class_weights`.

        Example:

        >>> Classification(["ham", "spam"]).class_weights(["ham", "ham", "ham", "spam"])
        {0: 0.6666666666666666, 1: 2.0}
        """
        return class_labels.weights(self.encode(labels).tolist(), len(self.class_names or []))

    def check_class_weights(self, weights: object) -> None:
        known = dict(enumerate(self.class_names or []))
        if not isinstance(weights, dict) or set(weights) != set(known):
            raise InputError(
                "class weights go by the place of each class in `class_names`, from 0; use "
                f"`task.class_weights(train.labels)`. Received: {str(weights)[:80]} for {known}"
            )
        if not all(isinstance(w, numbers.Real) and 0 <= float(w) < MOST for w in weights.values()):
            raise InputError(
                "class weights must be finite numbers, at least 0; use "
                f"`task.class_weights(train.labels)`. Received: {weights}"
            )

    def outputs(self, features: keras.KerasTensor, head: Head) -> keras.KerasTensor:
        return last_dense(len(self.class_names or []), "softmax", head)(features)

    def loss(self) -> keras.Loss:
        if self.label_smoothing:
            return SmoothedCrossentropy(self.label_smoothing)
        return keras.losses.SparseCategoricalCrossentropy()

    def metrics(self) -> list[keras.Metric]:
        return [keras.metrics.SparseCategoricalAccuracy(name="accuracy")]

    def answer(self, scores: tf.Tensor) -> dict[str, tf.Tensor]:
        label_id = tf.argmax(scores, axis=-1)
        label = tf.gather(tf.constant(self.class_names), label_id)
        beside = trust.beside_classes(
            self.limits, self.class_names or [], scores, label_id, self.ordered
        )
        return {"scores": scores, "label_id": label_id, "label": label, **beside}

    def decode(self, scores: np.ndarray) -> list[Readable]:
        names = self.class_names or []
        return [
            {
                "label": names[int(np.argmax(row))],
                "scores": dict(zip(names, map(float, row))),
                **own,
            }
            for row, own in zip(scores, self._beside(scores))
        ]

    def answered(self, scores: np.ndarray) -> np.ndarray:
        """The places of the classes that are answered, int `[n]`.

        Args:
            scores: `[n, classes]`.
        """
        return np.asarray(scores.argmax(axis=1))

    def _trusted_scores(self, scores: np.ndarray) -> trust.Scored:
        return trust.Scored(scores, self.answered(scores), self.ordered)

    def _beside(self, scores: np.ndarray) -> list[Readable]:
        names = self.class_names or []
        return trust.told_of_classes(self.limits, names, self._trusted_scores(scores))

    def limits_of(self, scores: np.ndarray, truth: np.ndarray, **asked: float | None) -> Limits:
        """As `Task.limits_of`."""
        return trust.of_classes(self._trusted_scores(scores), truth, **asked)

    def trusted(self, scores: np.ndarray) -> Told:
        """The share that is accepted, and the mean size of sets."""
        if self.limits is None:
            return {}
        return {**trust.effects(self.limits, self._trusted_scores(scores))}

    def measure(self, labels: np.ndarray, scores: np.ndarray) -> Numbers:
        return metrics.classification(labels, scores)

    def contributions(self, labels: np.ndarray, scores: np.ndarray) -> dict[str, np.ndarray]:
        return {"accuracy": (scores.argmax(axis=1) == labels).astype("float64")}

    def badness(self, labels: np.ndarray, scores: np.ndarray) -> np.ndarray:
        """How confident each wrong answer is."""
        sure: np.ndarray = scores.max(axis=1) * (scores.argmax(axis=1) != labels)
        return sure

    def not_answered(self, labels: np.ndarray, scores: np.ndarray, bad: np.ndarray) -> np.ndarray:
        """They count as wrong, whatever the label."""
        # At the confidence of chance, or they would be the worst mistakes of all.
        other = np.eye(scores.shape[1])[(labels + 1) % scores.shape[1]]
        return np.where(bad[:, None], other / scores.shape[1], scores)

    def describe(self, report: Report, labels: np.ndarray, scores: np.ndarray, seed: int) -> None:
        whole_measure.describe_classes(report, labels, scores, seed, self.before(scores))
        self._describe_trust(report, labels, scores)

    def _describe_trust(self, report: Report, labels: np.ndarray, scores: np.ndarray) -> None:
        trust.describe_classes(report, self.limits, labels, self._trusted_scores(scores))

    def baselines(
        self, texts: tuple[list[str], list[str]], labels: np.ndarray
    ) -> dict[str, BaselineAnswer]:
        classes = len(self.class_names or [])
        return metrics.baseline_scores(metrics.of_classes(), texts, labels, classes)

    def divergence(self, wanted: tf.Tensor, made: tf.Tensor, temperature: float) -> tf.Tensor:
        return divergences.of_shares(wanted, made, temperature)

    def doubts(self) -> list[str]:
        return class_labels.doubts(self.class_names or [])

    def get_config(self) -> dict[str, object]:
        return {
            "class_names": self.class_names,
            "pair": self.pair,
            "label_smoothing": self.label_smoothing,
            **self.learned_config(),
        }


@keras.saving.register_keras_serializable(package="tfhub_transfer")
class MultiLabel(Task):
    """Any number of classes for each text: a sigmoid for each class name.

    A label is a list, tuple, set or array of names or numbers, also written as text, or one string
    with `|` between names; empty means none. Or it says 0 or 1 for each class: a dictionary by
    name, or, where `class_names` are given, a row in their order (multi-hot).

    Args:
        class_names: The classes, in the order of the scores; learned by `adapt` if not given.
        pair: Whether each example is a pair of texts.
        threshold: The score from which a class is given, above 0 and below 1, unless `calibrate`
            found better ones.
        label_separator: What stands between names in a string, such as `","`; `|` if not given.

    Example:

    >>> MultiLabel(["joy", "anger"]).encode(["joy|anger", ["anger"]])
    array([[1., 1.],
           [0., 1.]], dtype=float32)
    """

    name = "multi-label"
    api = "classify"
    # The best of the grid of `benchmarks/defaults.py`, as for tags.
    narrow_rate = 3e-4
    monitor = ("val_micro_f1", "max")
    options = ("class_names", "label_separator")
    calibrated_by = "sigmoid"
    promises = ("coverage",)
    scoped = True
    takes_blank = True
    standing = Standing(
        "micro_f1",
        picked=True,
        parts=whole_measure.parts_of_sets,
        faults=whole_measure.faults_of_sets,
        ranking="pr_auc",
    )

    def __init__(
        self,
        class_names: Sequence[str] | None = None,
        pair: bool = False,
        threshold: float = 0.5,
        label_separator: str | None = None,
    ) -> None:
        super().__init__(pair)
        self.threshold = ranges.real_number("threshold", threshold, 0.0, ranges.BELOW_ONE)
        if label_separator is not None and (
            not isinstance(label_separator, str) or not label_separator
        ):
            raise InputError(
                "`label_separator` must be what stands between names, such as ','. "
                f"Received: {label_separator!r}"
            )
        self.label_separator = label_separator
        self.thresholds: tuple[float, ...] = ()  # of each class, once they are chosen
        self._declared: set[str] = set()  # classes that labels name, if only with a 0
        self._way: str | None = None  # what numbers were taken for so far (see `Several.way`)
        self.class_names = None if class_names is None else _checked_names(class_names)

    @property
    def cuts(self) -> np.ndarray:
        """The score from which each class is given, float32 `[classes]` or `[]`."""
        return np.array(self.thresholds or self.threshold, np.float32)

    def calibrate_answers(
        self, scores: Joined, labels: Sequence[object], scaling: Scaling | None, seed: int
    ) -> Told:
        """Chooses `thresholds`; as `Task.calibrate_answers`."""
        shares = np.asarray(scores)
        shares = shares if scaling is None else scaling.applied(shares, "sigmoid")
        found = cuts.best_cuts(shares, self.encode(labels), self.threshold, seed)
        self.thresholds = found.thresholds
        shown = dict(zip(self.class_names or [], found.thresholds))
        return {"thresholds": {**dataclasses.asdict(found), "thresholds": shown}}

    def take_choices(self, other: Any) -> None:
        """Takes, or forgets, `thresholds`; as `Task.take_choices`."""
        self.thresholds = other.thresholds if other is not None else ()

    @property
    def is_adapted(self) -> bool:
        return self.class_names is not None

    def read_labels(self, labels: Sequence[object]) -> list[list[str]]:
        read = class_labels.Several(labels, self.label_separator, self.class_names)
        self._declared |= set(read.declared)
        names = read.names(given=not self.learned)
        self._way = self._way or read.way
        if read.way not in (None, self._way):
            raise InputError(
                "lists of numbers were taken for places of classes in one part of the data and for "
                "a 0 or a 1 for each in another, as two classes allow; give names. Received: "
                f"{read.rows[0]} among others"
            )
        return [sorted(set(row)) for row in names]

    def adapt(self, labels: Sequence[object]) -> "MultiLabel":
        if self.class_names is None:
            read = class_labels.Several(labels, self.label_separator, None)
            found = [each for row in read.names(given=False) for each in row]
            self.class_names = _checked_names(
                _sorted_names([*found, *read.declared, *self._declared])
            )
            self.learned = True
        return self

    def encode(self, labels: Sequence[object]) -> np.ndarray:
        self.require_adapted()
        rows = self.read_labels(labels)
        encoded = np.zeros((len(rows), len(self.class_names or [])), dtype="float32")
        for row, found in enumerate(_places(self, rows)):
            encoded[row, found] = 1.0
        return encoded

    def outputs(self, features: keras.KerasTensor, head: Head) -> keras.KerasTensor:
        return last_dense(len(self.class_names or []), "sigmoid", head)(features)

    def loss(self) -> keras.Loss:
        return keras.losses.BinaryCrossentropy()

    def metrics(self) -> list[keras.Metric]:
        return [keras.metrics.F1Score("micro", threshold=self.threshold, name="micro_f1")]

    def answer(self, scores: tf.Tensor) -> dict[str, tf.Tensor]:
        names = tf.constant(self.class_names)
        predicted = scores >= tf.constant(self.cuts, scores.dtype)
        return {
            "scores": scores,
            "predicted": predicted,
            # TF Serving answers row by row, for which every output needs one of each.
            "label_names": tf.tile(names[None], [tf.shape(scores)[0], 1]),
            **trust.beside_labels(self.limits, scores, predicted),
        }

    def decode(self, scores: np.ndarray) -> list[Readable]:
        names = self.class_names or []
        beside = trust.told_of_labels(self.limits, names, scores, scores >= self.cuts)
        return [
            {
                "labels": [n for n, given in zip(names, row >= self.cuts) if given],
                "scores": dict(zip(names, map(float, row))),
                **own,
            }
            for row, own in zip(scores, beside)
        ]

    def limits_of(self, scores: np.ndarray, truth: np.ndarray, **asked: float | None) -> Limits:
        """As `Task.limits_of`."""
        return trust.of_sets(scores, truth > 0.5, **asked)

    def trusted(self, scores: np.ndarray) -> Told:
        """The mean size of sets."""
        if self.limits is None:
            return {}
        return {"set_size": trust.mean_size(self.limits, scores, scores >= self.cuts)}

    def readable_label(self, encoded: np.ndarray) -> list[str]:
        return [name for name, flag in zip(self.class_names or [], encoded) if flag]

    def measure(self, labels: np.ndarray, scores: np.ndarray) -> Numbers:
        return metrics.multi_label(labels, scores, self.cuts)

    def measure_rival(self, labels: np.ndarray, scores: np.ndarray) -> Numbers:
        """By the plain threshold: the others were chosen for this model's scores."""
        return metrics.multi_label(labels, scores, self.threshold)

    def contributions(self, labels: np.ndarray, scores: np.ndarray) -> dict[str, np.ndarray]:
        right = ((labels > 0.5) == (scores >= self.cuts)).all(axis=1)
        return {"accuracy": right.astype("float64")}

    def badness(self, labels: np.ndarray, scores: np.ndarray) -> np.ndarray:
        """How far the worst score is on the wrong side of the threshold."""
        wrong = (scores >= self.cuts) != (labels > 0.5)
        # A score on the threshold itself can be wrong too: by how little doesn't make it right.
        far = np.maximum(np.abs(scores - self.cuts), 1e-9)
        worst: np.ndarray = (far * wrong).max(axis=1)
        return worst

    def not_answered(self, labels: np.ndarray, scores: np.ndarray, bad: np.ndarray) -> np.ndarray:
        """They count as wrong, whatever the label."""
        return np.where(np.isfinite(scores), scores, 1.0 - labels)

    def describe(self, report: Report, labels: np.ndarray, scores: np.ndarray, seed: int) -> None:
        given = labels.astype(int), scores, self.cuts
        whole_measure.describe_sets(report, *given, seed, self.before(scores))
        trust.describe_labels(report, self.limits, labels > 0.5, scores, scores >= self.cuts)

    def baselines(
        self, texts: tuple[list[str], list[str]], labels: np.ndarray
    ) -> dict[str, BaselineAnswer]:
        return metrics.baseline_scores(metrics.of_sets(), texts, labels, labels.shape[1])

    def divergence(self, wanted: tf.Tensor, made: tf.Tensor, temperature: float) -> tf.Tensor:
        return divergences.of_chances(wanted, made, temperature)

    def get_config(self) -> dict[str, object]:
        return {
            "class_names": self.class_names,
            "pair": self.pair,
            "threshold": self.threshold,
            "label_separator": self.label_separator,
            **self.learned_config(),
            **({"thresholds": list(self.thresholds)} if self.thresholds else {}),
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "MultiLabel":
        chosen = tuple(map(float, config.get("thresholds", ())))
        given = {name: each for name, each in config.items() if name != "thresholds"}
        task = cast(MultiLabel, super().from_config(given))
        if chosen and len(chosen) != len(task.class_names or []):
            raise InputError(
                "thresholds are one for each class; make the file again. "
                f"Received: {len(chosen)} for {len(task.class_names or [])} classes"
            )
        task.thresholds = chosen
        return task


def _sorted_names(names: Iterable[str]) -> list[str]:
    counts = collections.Counter(names)
    try:
        # By size, or 10 would stand before 9.
        return sorted(counts, key=float)
    except ValueError:
        return sorted(counts)


def _checked_names(names: Sequence[str]) -> list[str]:
    names = [class_name(name) for name in listed(names)]
    if len(names) < 2:
        raise InputError(
            "at least two classes are needed to learn to tell them apart; name all, or check the "
            f"label column. Received: {names}"
        )
    class_labels.require_apart(names)
    if len(names) > MAX_CLASSES:
        raise InputError(
            f"expected at most {MAX_CLASSES} classes; for a number to predict use the regression "
            f"task, otherwise check the label column. Received: {len(names)} distinct labels "
            f"such as {names[:3]}"
        )
    return names


def _places(task: Task, rows: list[list[str]]) -> list[list[int]]:
    names = task.class_names or []

    def unknown(strange: list[str]) -> InputError:
        return class_labels.unknown("class", task.learned, strange, names)

    return class_labels.places(rows, names, not task.learned, unknown)
