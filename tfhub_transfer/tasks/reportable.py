"""What a report asks of a task: numbers, mistakes, rivals, words; with answers that suit any task.

A task of whole texts has labels `[n, ...]` as its `encode` makes them, and scores `[n, ...]` as its
`scores_of` does. What it doesn't say of them comes from its loss and its metrics.
"""

from typing import Any, ClassVar

import keras
import numpy as np

from tfhub_transfer.errors import InputError
from tfhub_transfer.private import keras_training
from tfhub_transfer.reporting import metrics, standings
from tfhub_transfer.reporting.metrics import BaselineAnswer, Numbers
from tfhub_transfer.reporting.standings import Standing

LOSS = "loss"


def reduced(loss: Any, reduction: str | None) -> keras.Loss:
    """A loss, given as such, by name or as a function, that is reduced in another way.

    Args:
        loss: As `Task.loss` gives it.
        reduction: As Keras' losses take it; `None` for the loss of each example.
    """
    found = keras.losses.get(loss)
    if not isinstance(found, keras.Loss):
        return keras_training.as_loss(found, reduction)
    own = object.__new__(type(found))  # `copy` would save and load it
    own.__dict__.update(found.__dict__, reduction=reduction)
    return own


class Reported:
    """The side of a task that a report sees."""

    name: ClassVar[str]
    class_names: list[str] | None
    monitor: Any

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        own = vars(cls)
        if isinstance(own.get("standing"), Standing) and "name" in own:
            standings.register(cls.name, cls.standing)

    def _usual_standing(self) -> Standing:
        name, mode = self.monitor
        first = name.removeprefix("val_") if isinstance(name, str) else LOSS
        never = frozenset({"ece", *(metric.name for metric in self._metrics())})
        low = {first: mode == "min"} if isinstance(name, str) else {}
        return Standing(first, low, badness=LOSS, without_interval=never)

    # How the task stands in its reports, a `standings.Standing`. One that doesn't say is judged by
    # its `monitor`, and nothing is known of its metrics but their values.
    standing: Any = property(_usual_standing)

    def _metrics(self) -> list[Any]:
        return [_metric(metric) for metric in self.metrics()]  # type: ignore[attr-defined]

    # Answers ---------------------------------------------------------------------------------

    def scores_of(self, outputs: np.ndarray) -> np.ndarray:
        """What `predict_scores` gives of what the model gave `[n, ...]`: the same, unless said."""
        return outputs

    def main_part(self, answer: dict[str, Any]) -> Any:
        """The part of a readable answer that is compared with what is right.

        Args:
            answer: From `decode`.
        """
        for part in ("label", "labels", "score"):
            if part in answer:
                return answer[part]
        return next(iter(answer.values()))

    def readable_label(self, encoded: Any) -> Any:
        """A label as `decode` would answer, in whatever form it was given.

        Args:
            encoded: From `encode`, of one example.
        """
        if self.class_names and np.ndim(encoded) == 0:
            return self.class_names[int(encoded)]
        if np.ndim(encoded) == 0 and np.asarray(encoded).dtype.kind == "f":
            return float(str(encoded))  # 3.1 in float32 is 3.1 to its users
        return np.asarray(encoded).tolist()

    # Numbers ---------------------------------------------------------------------------------

    def _losses(self, labels: np.ndarray, scores: np.ndarray) -> np.ndarray:
        """The loss of each example, float64 `[n]`."""
        loss = reduced(self.loss(), None)  # type: ignore[attr-defined]
        each = keras.ops.convert_to_numpy(loss(labels, scores)).astype("float64")
        return each.reshape(len(labels), -1).mean(axis=1)

    def measure(self, labels: np.ndarray, scores: np.ndarray) -> Numbers:
        """The numbers of a report: those that the task watches in training, unless it says others.

        Args:
            labels: What is right `[n, ...]`.
            scores: What was answered `[n, ...]`, of a model or of a baseline.
        """
        found: Numbers = {LOSS: float(self._losses(labels, scores).mean())}
        for metric in self._metrics():
            metric.update_state(labels, scores)
            found[metric.name] = float(metric.result())
        return {name: value if np.isfinite(value or 0.0) else None for name, value in found.items()}

    def contributions(self, labels: np.ndarray, scores: np.ndarray) -> dict[str, np.ndarray]:
        """What each example contributes to numbers that are means, float64 `[n]` each.

        The first of them is shown by groups of examples.
        """
        return {LOSS: self._losses(labels, scores)}

    def beside_answers(self, labels: np.ndarray, scores: np.ndarray) -> dict[str, np.ndarray]:
        """What else stands beside each answer in `predictions.jsonl`, `[n]` each."""
        return {}

    def badness(self, labels: np.ndarray, scores: np.ndarray) -> np.ndarray:
        """How bad each answer is `[n]`: 0 where it is right, the highest is the worst mistake.

        The loss, unless the task says more: it must if its loss isn't 0 where an answer is right.
        """
        return np.nan_to_num(self._losses(labels, scores), nan=np.inf)

    def not_answered(self, labels: np.ndarray, scores: np.ndarray, bad: np.ndarray) -> np.ndarray:
        """Scores to measure where some are no numbers, which must not count as right.

        Args:
            labels: What is right `[n, ...]`.
            scores: What was answered.
            bad: Which answers hold what is no finite number `[n]`.
        """
        return scores

    def describe(self, report: Any, labels: np.ndarray, scores: np.ndarray, seed: int) -> None:
        """Adds to a report what its numbers don't say: intervals, classes, plots.

        Args:
            report: A `reports.Report` that has its metrics.
            labels: What is right `[n, ...]`.
            scores: What was answered.
            seed: Seed of the bootstrap.
        """
        columns = self.contributions(labels, scores)
        if all(np.isfinite(column).all() for column in columns.values()):
            report.intervals = metrics.intervals(
                lambda w: {name: w @ each / w.sum(axis=1) for name, each in columns.items()},
                len(labels),
                seed,
            )

    def baselines(
        self, texts: tuple[list[str], list[str]], labels: np.ndarray
    ) -> dict[str, BaselineAnswer]:
        """What models without transfer answer, as scores that `measure` takes.

        Args:
            texts: To train on `[n]`, and to answer `[m]`; texts of a pair are put together.
            labels: What is right of the former.

        Returns:
            Answers by the baseline's name; none, unless the task says which would be its rivals.
        """
        return {}

    # Other models ----------------------------------------------------------------------------

    def divergence(self, wanted: Any, made: Any, temperature: float) -> Any:
        """How far a model's scores `[rows, ...]` are from a teacher's: `[rows]`, as graph code.

        Args:
            wanted: The teacher's.
            made: The model's.
            temperature: Of the answers (Hinton et al. 2015).

        Raises:
            InputError: If the task doesn't say, so that nothing can be distilled.
        """
        raise InputError(
            f"the {self.name} task doesn't say how far one answer is from another: write its "
            f"`divergence`, or train on labels. Received: {type(self).__name__}"
        )


def _metric(given: Any) -> keras.metrics.Metric:
    """A metric as an object, of a name or a function too."""
    if given in ("accuracy", "acc", "crossentropy", "ce"):
        raise InputError(
            "which of Keras' metrics that is depends on the loss; give the object, such as "
            f"`keras.metrics.BinaryAccuracy()`. Received: {given!r} among the task's metrics"
        )
    found = keras.metrics.get(given)
    if isinstance(found, keras.metrics.Metric):
        return found
    return keras.metrics.MeanMetricWrapper(found, name=found.__name__)
