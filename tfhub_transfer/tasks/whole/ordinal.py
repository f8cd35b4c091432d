"""Ordered classes: one score for each text, and a threshold between each class and the next.

All of it is here: labels, last layers, loss, metrics, numbers of the report, rivals, answers.
"""

from collections.abc import Mapping, Sequence
from typing import Any, cast

import keras
import numpy as np
import tensorflow as tf

from tfhub_transfer.errors import InputError
from tfhub_transfer.heads.settings import Head
from tfhub_transfer.reporting import metrics, paired, plots
from tfhub_transfer.reporting.metrics import BaselineAnswer, Numbers, Resampled
from tfhub_transfer.reporting.reports import Report
from tfhub_transfer.reporting.standings import Standing
from tfhub_transfer.tasks import temperatures
from tfhub_transfer.tasks.reportable import Readable
from tfhub_transfer.tasks.whole import measures as whole_measure
from tfhub_transfer.tasks.whole import trust
from tfhub_transfer.tasks.whole.layout import last_dense
from tfhub_transfer.tasks.whole.task import Classification

Shape = tuple[int | None, ...]

# More numbers than that are amounts, and to be predicted as such.
MOST_LEARNED = 50
# Of probabilities in logarithms, as Keras' own losses have it.
_LEAST = 1e-7
# Numbers of the report that are means of what each text contributes.
_SHARES = ("accuracy", "off_by_one_accuracy")


def parts_of_ranks(name: str, rows: Sequence[whole_measure.Answered]) -> paired.Parts | None:
    """What rows contribute to a number on ordered classes: the true rank, and the one answered.

    Args:
        name: The number's.
        rows: Answers, as `predictions.rows` has them.
    """
    both = paired.numbers_of(rows, ("true_rank", "rank"))
    if both is None:
        return None
    return paired.Parts(both, lambda w: _resampled(w, both[:, 0], both[:, 1])[name])


@keras.saving.register_keras_serializable(package="tfhub_transfer")
class OrdinalRegression(Classification):
    """One of several classes that have an order: stars, grades, degrees of agreement.

    A text gets one score, the product of its vector with one vector of weights; thresholds, which
    rise, part the scores of each class from those of the next (McCullagh 1980). The loss is that
    of CORAL, the sum over thresholds of the cross-entropy of whether the class is above (Cao,
    Mirjalili and Raschka 2020, https://arxiv.org/abs/1901.07884). The answer is the median: the
    first class that the true one exceeds with a probability of 1/2 at most. No other is off by less
    on average, and it needn't be the one of the highest score.

    Classes are numbers, in their order, or names in an order that `class_names` gives. They count
    as equally far apart.

    Args:
        class_names: The classes, from the lowest to the highest; learned by `adapt` from labels
            that are numbers if not given.
        pair: Whether each example is a pair of texts.

    Raises:
        InputError: If classes are numbers that neither rise nor fall.

    Example:

    >>> OrdinalRegression().adapt([5, 1, 3, 1]).class_names
    ['1', '3', '5']
    >>> OrdinalRegression(["poor", "fair", "good"]).encode(["fair", "good"])
    array([1, 2])
    """

    name = "ordinal-regression"
    calibrated_by = "cumulative"
    # Heights and thresholds divided alike leave every text on its side of each.
    calibrated_by_class = False
    ordered = True
    monitor = ("val_quadratic_kappa", "max")
    standing = Standing(
        "quadratic_kappa",
        baselines={"majority": "median", "tfidf_logistic_regression": "TF-IDF + ridge"},
        picked=True,
        parts=parts_of_ranks,
        by_row=("mae",),
    )

    def __init__(self, class_names: Sequence[str] | None = None, pair: bool = False) -> None:
        super().__init__(class_names, pair)
        known = self.class_names or []
        steps = np.diff(_numbers(known) or [])
        if (steps > 0).any() and (steps < 0).any():
            raise InputError(
                "classes of the ordinal-regression task go from the lowest to the highest; give "
                f"`class_names` (`--class-names`) in order. Received: {', '.join(known)}"
            )

    def adapt(self, labels: Sequence[object]) -> "OrdinalRegression":
        """Learns the classes from labels that are numbers; returns the task itself.

        Raises:
            InputError: If one is a name, which says nothing of an order, there are too many, or
                a number is written in two ways.
        """
        if self.class_names is not None:
            return self
        found = sorted(set(self.read_labels(labels)))
        numbers = _numbers(found)
        if numbers is None:
            raise InputError(
                "names of classes don't say which is higher: give them from the lowest to the "
                "highest with `class_names` (`--class-names`), or numbers as labels. "
                f"Received: {', '.join(found[:5])}"
            )
        if len(found) > MOST_LEARNED:
            raise InputError(
                f"more than {MOST_LEARNED} different numbers are amounts rather than classes: use "
                "the regression task, or round the labels. "
                f"Received: {len(found)} labels such as {', '.join(found[:3])}"
            )
        # 0.1 + 0.2 is 0.3, -0 is 0, but a long whole number is no other.
        rounded = [f"{n + 0.0:{'.0f' if n % 1 == 0 else '.12g'}}" for n in numbers]
        alike = [name for name, number in zip(found, rounded) if rounded.count(number) > 1]
        if alike:
            raise InputError(
                "a number is one class, however it is written: write it alike, or round labels. "
                f"Received: labels {', '.join(alike[:4])}"
            )
        super().adapt(labels)
        return self

    def doubts(self) -> list[str]:
        """Whole numbers that no text has are no classes, so that those around are neighbours."""
        known = _numbers(self.class_names or []) if self.learned else None
        if known is None or any(number % 1 for number in known):
            return []
        if known[-1] - known[0] >= 2 * len(known):  # more are missing than there are
            return []
        between = sorted({*range(int(known[0]), int(known[-1]))} - {*known})
        if not between:
            return []
        missed = ", ".join(map(str, between[:3]))
        return [
            f"no training text has the label {missed}, so it is no class, and those around it "
            "count as one step apart: give all with `class_names` (`--class-names`) if it is one"
        ]

    # In training -----------------------------------------------------------------------------

    def outputs(self, features: keras.KerasTensor, head: Head) -> keras.KerasTensor:
        height = last_dense(1, "linear", head, "height", use_bias=False)(features)
        return OrderedThresholds(len(self.class_names or []), name="scores")(height)

    def can_rescale(self, layers: Mapping[str, keras.layers.Layer]) -> bool:
        height, last = layers.get("height"), layers.get("scores")
        is_dense = isinstance(height, keras.layers.Dense) and not height.use_bias
        return is_dense and isinstance(last, OrderedThresholds)

    def rescale(
        self, layers: Mapping[str, keras.layers.Layer], factor: float, added: np.ndarray
    ) -> None:
        [kernel] = layers["height"].get_weights()
        layers["height"].set_weights([kernel * np.float32(factor)])
        cast(OrderedThresholds, layers["scores"]).stretch(factor)

    def loss(self) -> keras.Loss:
        return CumulativeCrossentropy()

    def metrics(self) -> list[keras.Metric]:
        return [QuadraticKappa(len(self.class_names or []))]

    # Answers ---------------------------------------------------------------------------------

    def answer(self, scores: tf.Tensor) -> dict[str, tf.Tensor]:
        above = tf.cumsum(scores, axis=-1, reverse=True)[:, 1:]
        rank = tf.reduce_sum(tf.cast(above > 0.5, tf.int64), axis=-1)
        return {
            "scores": scores,
            "rank": rank,
            "label": tf.gather(tf.constant(self.class_names), rank),
            **trust.beside_classes(self.limits, self.class_names or [], scores, rank, self.ordered),
        }

    def decode(self, scores: np.ndarray) -> list[Readable]:
        names = self.class_names or []
        return [
            {"label": names[rank], "rank": rank, "scores": dict(zip(names, map(float, row))), **own}
            for rank, row, own in zip(ranks(scores).tolist(), scores, self._beside(scores))
        ]

    def answered(self, scores: np.ndarray) -> np.ndarray:
        """The median class of each."""
        return ranks(scores)

    # In reports ------------------------------------------------------------------------------

    def measure(self, labels: np.ndarray, scores: np.ndarray) -> Numbers:
        found = _resampled(np.ones((1, len(labels))), labels, ranks(scores))
        numbers = {name: float(values[0]) for name, values in found.items()}
        return {name: value if np.isfinite(value) else None for name, value in numbers.items()}

    def contributions(self, labels: np.ndarray, scores: np.ndarray) -> dict[str, np.ndarray]:
        off = np.abs(ranks(scores) - labels)
        return {
            "mae": off.astype("float64"),
            "accuracy": (off == 0).astype("float64"),
            "off_by_one_accuracy": (off <= 1).astype("float64"),
        }

    def beside_answers(self, labels: np.ndarray, scores: np.ndarray) -> dict[str, np.ndarray]:
        return {"true_rank": labels, "rank": ranks(scores)}

    def badness(self, labels: np.ndarray, scores: np.ndarray) -> np.ndarray:
        """By how many classes each answer is off."""
        off: np.ndarray = np.abs(ranks(scores) - labels).astype("float64")
        return off

    def not_answered(self, labels: np.ndarray, scores: np.ndarray, bad: np.ndarray) -> np.ndarray:
        """They count as off by as much as can be."""
        last = scores.shape[1] - 1
        farthest = np.where(2 * labels < last, last, 0)
        return np.where(bad[:, None], np.eye(last + 1)[farthest], scores)

    def describe(self, report: Report, labels: np.ndarray, scores: np.ndarray, seed: int) -> None:
        found = ranks(scores)
        report.intervals = metrics.intervals(
            lambda weights: _resampled(weights, labels, found),
            len(labels),
            seed,
            shares=dict.fromkeys(_SHARES, len(labels)),
        )
        whole_measure.add_confusion(report, labels, found)
        confidence = np.take_along_axis(scores, found[:, None], axis=1)[:, 0]
        whole_measure.add_calibration(report, labels == found, confidence)
        self._add_before(report, labels, scores)
        if report.calibration:
            report.metrics["ece"] = report.calibration["ece"]
            report.pictures["reliability"] = plots.reliability(report.calibration)
        self._describe_trust(report, labels, scores)

    def _add_before(self, report: Report, labels: np.ndarray, scores: np.ndarray) -> None:
        """Adds what the scores were worth before they were scaled, if they are."""
        before = self.before(scores)
        if before is None:
            return
        truth, found = np.eye(scores.shape[1])[labels], ranks(scores)
        losses = [temperatures.loss(each, truth, "cumulative").mean() for each in (scores, before)]
        confidence = np.take_along_axis(before, found[:, None], axis=1)[:, 0]
        whole_measure.add_uncalibrated(report, labels == found, confidence, losses)

    def baselines(
        self, texts: tuple[list[str], list[str]], labels: np.ndarray
    ) -> dict[str, BaselineAnswer]:
        """The median class, and ridge regression of the rank, rounded."""
        given = metrics.baseline_scores(
            metrics.of_numbers("median"), texts, labels.astype("float32"), 0
        )
        return {
            name: answer._replace(scores=self._rounded(answer.scores))
            for name, answer in given.items()
        }

    def _rounded(self, numbers: np.ndarray | None) -> np.ndarray | None:
        classes = len(self.class_names or [])
        if numbers is None:
            return None
        one_hot: np.ndarray = np.eye(classes)[np.clip(np.rint(numbers), 0, classes - 1).astype(int)]
        return one_hot

    def get_config(self) -> dict[str, object]:
        return {"class_names": self.class_names, "pair": self.pair, **self.learned_config()}


def ranks(scores: np.ndarray) -> np.ndarray:
    """The median class of each text, by its place from 0: int64 `[n]`.

    Args:
        scores: Probabilities of classes in their order `[n, classes]`.

    Example:

    >>> ranks(np.array([[0.4, 0.15, 0.45], [0.6, 0.0, 0.4]]))
    array([1, 0])
    """
    above = np.cumsum(scores[:, ::-1], axis=1)[:, ::-1][:, 1:]
    found: np.ndarray = (above > 0.5).sum(axis=1)
    return found


def _resampled(weights: np.ndarray, labels: np.ndarray, found: np.ndarray) -> Resampled:
    """Numbers of ranks `[n]` for row weights `[resamples, n]`.

    Quadratic kappa (Cohen 1968) is 1 less the mean square of the difference, over what that would
    be of the same answers dealt out at random: twice the covariance over that, which follows from
    means and variances alone.
    """
    shares = weights / weights.sum(axis=1, keepdims=True)
    off = np.abs(labels - found)
    # From their own first rank on, so that answers which are all the same agree by 0, not 1e-16.
    x, y = (each.astype("float64") - each[0] for each in (labels, found))
    means = shares @ x, shares @ y
    variances = [shares @ each**2 - mean**2 for each, mean in zip((x, y), means)]
    together = shares @ (x * y) - means[0] * means[1]
    chance = sum(variances) + (means[0] - means[1] + labels[0] - found[0]) ** 2
    known = chance > 1e-12
    return {
        "quadratic_kappa": np.divide(
            2.0 * together, chance, out=np.full(len(weights), np.nan), where=known
        ),
        "mae": shares @ off,
        "accuracy": shares @ (off == 0),
        "off_by_one_accuracy": shares @ (off <= 1),
    }


def _numbers(names: Sequence[str]) -> list[float] | None:
    """Names as the numbers that they are, if they all are."""
    try:
        return [float(name) for name in names]
    except ValueError:
        return None


@keras.saving.register_keras_serializable(package="tfhub_transfer")
class OrderedThresholds(keras.layers.Layer):
    """Heights `[batch, 1]` to probabilities of ordered classes `[batch, classes]`.

    The first threshold and the gaps to the next are learned; gaps are above 0 whatever is learned,
    so that the probabilities of being above one threshold after the other never rise.

    Args:
        classes: How many there are, at least 2.
    """

    def __init__(self, classes: int, **kwargs: Any) -> None:
        super().__init__(**{"dtype": "float32", **kwargs})
        self.classes = classes

    def build(self, input_shape: Shape) -> None:
        # At first a height of 0 is as likely of one class as of another.
        shares = np.arange(1, self.classes) / self.classes
        thresholds = np.log(shares / (1.0 - shares))
        start = [*thresholds[:1], *np.log(np.expm1(np.diff(thresholds)))]

        def initial(shape: Shape, dtype: str | None = None) -> keras.KerasTensor:
            return keras.ops.convert_to_tensor(np.array(start), dtype or "float32")

        # The first threshold, and what softplus makes the gap to each next one.
        shape = (self.classes - 1,)
        self.thresholds = self.add_weight(name="thresholds", shape=shape, initializer=initial)

    def call(self, heights: keras.KerasTensor) -> keras.KerasTensor:
        gaps = keras.ops.softplus(self.thresholds[1:])
        rises = keras.ops.concatenate([self.thresholds[:1], gaps])
        margins = heights - keras.ops.cumsum(rises)  # `[batch, thresholds]`, falling
        above, below = keras.ops.sigmoid(margins), keras.ops.sigmoid(-margins)
        # The difference of neighbours in `above`, without the cancellation.
        between = above[:, :-1] * below[:, 1:] * -keras.ops.expm1(-gaps)
        return keras.ops.concatenate([below[:, :1], between, above[:, -1:]], axis=-1)

    def stretch(self, factor: float) -> None:
        """Moves all thresholds to so many times where they are.

        Args:
            factor: Above 0.
        """
        [given] = self.get_weights()
        gaps = np.logaddexp(0.0, given[1:].astype("float64")) * factor
        # What softplus makes these of.
        rises = gaps + np.log(-np.expm1(-np.maximum(gaps, 1e-30)))
        self.set_weights([np.append(given[:1] * factor, rises).astype(given.dtype)])

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return (input_shape[0], self.classes)

    def get_config(self) -> dict[str, object]:
        return {**super().get_config(), "classes": self.classes}


@keras.saving.register_keras_serializable(package="tfhub_transfer")
class CumulativeCrossentropy(keras.losses.Loss):
    """The sum over thresholds of the cross-entropy of whether the class is above (CORAL).

    Classes as integers `[batch]` or `[batch, 1]`, probabilities of all `[batch, classes]`.
    """

    def __init__(self, name: str = "loss", **kwargs: Any) -> None:
        super().__init__(name=name, **kwargs)

    def call(self, y_true: keras.KerasTensor, y_pred: keras.KerasTensor) -> keras.KerasTensor:
        below, above = keras.ops.cumsum(y_pred, axis=-1)[:, :-1], _above(y_pred)
        labels = keras.ops.reshape(keras.ops.cast(y_true, "int32"), (-1, 1))
        is_above = labels > keras.ops.arange(y_pred.shape[-1] - 1, dtype="int32")
        right = keras.ops.where(is_above, above, below)
        return -keras.ops.sum(keras.ops.log(keras.ops.clip(right, _LEAST, 1.0)), axis=-1)


def _above(shares: keras.KerasTensor) -> keras.KerasTensor:
    """Probabilities of classes to those of being above each but the last, `[batch, thresholds]`."""
    return keras.ops.flip(keras.ops.cumsum(keras.ops.flip(shares, -1), axis=-1), -1)[:, 1:]


@keras.saving.register_keras_serializable(package="tfhub_transfer")
class QuadraticKappa(keras.metrics.Metric):
    """Agreement beyond chance of ordered classes, far misses weighing more (Cohen 1968).

    1 where all are right, 0 as by chance, also where nothing can be told.

    Args:
        classes: How many there are.
    """

    def __init__(self, classes: int, name: str = "quadratic_kappa", **kwargs: Any) -> None:
        super().__init__(name=name, **kwargs)
        self._direction = "up"  # for callbacks whose `mode` is auto
        self.classes = classes
        # Of rows: how many, true and answered ranks, their squares, the squares of differences.
        self.sums = self.add_variable((6,), initializer="zeros", name="sums")

    def update_state(
        self,
        y_true: keras.KerasTensor,
        y_pred: keras.KerasTensor,
        sample_weight: keras.KerasTensor | None = None,
    ) -> None:
        middle = (self.classes - 1) / 2  # numbers near 0 lose fewer digits in squares
        found = keras.ops.sum(keras.ops.cast(_above(y_pred) > 0.5, "float32"), axis=-1) - middle
        right = keras.ops.reshape(keras.ops.cast(y_true, "float32"), (-1,)) - middle
        squares = [keras.ops.square(each) for each in (right, found, right - found)]
        rows = keras.ops.stack([keras.ops.ones_like(right), right, found, *squares])
        if sample_weight is not None:
            rows = rows * keras.ops.reshape(keras.ops.cast(sample_weight, "float32"), (1, -1))
        self.sums.assign_add(keras.ops.sum(rows, axis=1))

    def result(self) -> keras.KerasTensor:
        means = self.sums[1:] / keras.ops.maximum(self.sums[0], 1e-12)
        chance = means[2] + means[3] - 2 * means[0] * means[1]
        kappa = 1.0 - means[4] / keras.ops.maximum(chance, 1e-12)
        return keras.ops.where(chance > 1e-6, kappa, 0.0)  # below it is what float32 rounds

    def get_config(self) -> dict[str, object]:
        return {**super().get_config(), "classes": self.classes}
