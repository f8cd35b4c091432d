"""Tasks that give one number to a whole text or pair of texts."""

import functools
from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf

from tfhub_transfer.errors import InputError
from tfhub_transfer.heads.settings import Head
from tfhub_transfer.incoming import ranges
from tfhub_transfer.incoming.ranges import MOST
from tfhub_transfer.reporting import metrics
from tfhub_transfer.reporting.metrics import BaselineAnswer, Numbers
from tfhub_transfer.reporting.reports import Report
from tfhub_transfer.reporting.standings import Standing
from tfhub_transfer.tasks import class_labels, scales
from tfhub_transfer.tasks.base import Task, finite
from tfhub_transfer.tasks.conformal import Limits
from tfhub_transfer.tasks.reportable import Joined, Readable
from tfhub_transfer.tasks.scales import ScaledError, ScaledSquaredError
from tfhub_transfer.tasks.whole import measures as whole_measure
from tfhub_transfer.tasks.whole import trust
from tfhub_transfer.tasks.whole.layout import last_dense


@keras.saving.register_keras_serializable(package="tfhub_transfer")
class Regression(Task):
    """One number for each text. The head learns on standardised targets and answers in raw units.

    Mean and deviation of the training targets live in the model, as a `keras.layers.Rescaling`.
    Answers are float32; or float64, from the head's last product on, where float32 can't hold the
    targets or tell them apart: below 1e-30, beyond 1e34, closer together than a 10,000th of their
    size.

    Args:
        mean: Mean of the training targets; learned by `adapt` if not given.
        deviation: Their standard deviation, above 0; learned by `adapt` if not given.
        pair: Whether each example is a pair of texts.

    Example:

    >>> Regression().adapt([1.0, 3.0]).get_config()
    {'mean': 2.0, 'deviation': 1.0, 'pair': False}
    """

    name = "regression"
    api = "regress"
    # The grid of `benchmarks/defaults.py` chose 6e-3 for embeddings, but not for this task.
    embedding_rate = 2e-3
    learns = ("mean", "deviation")
    promises = ("coverage",)
    scoped = True
    standing = Standing(
        "spearman",
        baselines={"majority": "mean", "tfidf_logistic_regression": "TF-IDF + ridge"},
        badness="residual",
        parts=whole_measure.parts_of_numbers,
        by_row=("mae",),
    )

    def __init__(
        self, mean: float | None = None, deviation: float | None = None, pair: bool = False
    ) -> None:
        super().__init__(pair)
        real, most = ranges.real_number, scales.MOST_SCORE
        self.mean = ranges.given(real, "mean", mean, -most, most)
        self.deviation = ranges.given(real, "deviation", deviation, 0.0, most)

    @property
    def is_adapted(self) -> bool:
        return self.mean is not None and self.deviation is not None

    def adapt(self, labels: Sequence[object]) -> "Regression":
        if not self.is_adapted:
            mean, deviation = scales.learn(np.array(self.read_labels(labels)))
            self.mean = mean if self.mean is None else self.mean
            self.deviation = deviation if self.deviation is None else self.deviation
        return self

    @property
    def dtype(self) -> str:
        """Of labels and answers: `float32`, or `float64` where that isn't enough."""
        return scales.dtype(self.mean or 0.0, self.deviation or 1.0)

    def read_labels(self, labels: Sequence[object]) -> list[float]:
        # Before anything is learned nobody knows which type the numbers need.
        wide = not self.is_adapted or self.dtype == "float64"
        most = scales.MOST_SCORE if wide else MOST
        read = functools.partial(finite, task=self.name, most=most)
        return class_labels.by_row(read, labels)

    def encode(self, labels: Sequence[object]) -> np.ndarray:
        return np.array(self.read_labels(labels), dtype=self.dtype)

    def outputs(self, features: keras.KerasTensor, head: Head) -> keras.KerasTensor:
        standardised = last_dense(1, "linear", head)(features)
        scores = scales.RawUnits(self.deviation, self.mean, dtype=self.dtype, name="raw_units")(
            standardised
        )
        return keras.layers.Flatten(dtype=self.dtype, name="score")(scores)

    def loss(self) -> keras.Loss:
        # In units of the variance, so that one learning rate fits scores of any scale.
        return ScaledSquaredError(float(self.deviation or 1.0))

    def metrics(self) -> list[keras.Metric]:
        return [ScaledError(float(self.deviation or 1.0))]

    def answer(self, scores: tf.Tensor) -> dict[str, tf.Tensor]:
        flat = tf.reshape(scores, [-1])
        return {"score": flat, **trust.beside_numbers(self.limits, flat)}

    def decode(self, scores: np.ndarray) -> list[Readable]:
        flat = np.reshape(scores, (-1,))
        beside = trust.told_of_numbers(self.limits, flat)
        return [{"score": float(score), **own} for score, own in zip(flat, beside)]

    def limits_of(self, scores: np.ndarray, truth: np.ndarray, **asked: float | None) -> Limits:
        """As `Task.limits_of`."""
        return trust.of_numbers(scores, truth, **asked)

    def scores_of(self, outputs: Joined) -> np.ndarray:
        scores: np.ndarray = np.asarray(outputs)[:, 0]
        return scores

    def measure(self, labels: np.ndarray, scores: np.ndarray) -> Numbers:
        return metrics.regression(labels, scores)

    def contributions(self, labels: np.ndarray, scores: np.ndarray) -> dict[str, np.ndarray]:
        error = scores.astype("float64") - labels.astype("float64")
        return {"mae": np.abs(error), "mse": error**2}

    def badness(self, labels: np.ndarray, scores: np.ndarray) -> np.ndarray:
        """How far off each answer is."""
        off: np.ndarray = np.nan_to_num(np.abs(scores - labels), nan=np.inf)
        return off

    def describe(self, report: Report, labels: np.ndarray, scores: np.ndarray, seed: int) -> None:
        whole_measure.describe_numbers(report, labels, scores, seed)
        trust.describe_numbers(report, self.limits, labels, scores)

    def baselines(
        self, texts: tuple[list[str], list[str]], labels: np.ndarray
    ) -> dict[str, BaselineAnswer]:
        return metrics.baseline_scores(metrics.of_numbers(), texts, labels, 0)

    def require_imitable(self) -> None:
        if self.dtype != "float32":
            raise InputError(
                "distillation computes in float32, which can't hold these scores; give teacher and "
                "student labels in other units, such as those of their spread. "
                f"Received: scores around {self.mean:g}, spread by {self.deviation:g}"
            )
        super().require_imitable()

    def divergence(self, wanted: tf.Tensor, made: tf.Tensor, temperature: float) -> tf.Tensor:
        return self.loss().call(wanted, made)

    def get_config(self) -> dict[str, object]:
        own = {"mean": self.mean, "deviation": self.deviation, "pair": self.pair}
        return {**own, **self.learned_config()}
