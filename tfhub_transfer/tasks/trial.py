"""A model's trial: examples that it hasn't seen are put to it, and a report is made of its answers.

Every kind of task measures in its own way (see `Task.report_on`). Here is what all ways share.
"""

import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, TypeAlias, TypeVar

import numpy as np
import tensorflow as tf

from tfhub_transfer.data import Examples
from tfhub_transfer.reporting import predictions
from tfhub_transfer.reporting.contents import Mistake
from tfhub_transfer.reporting.reports import Report
from tfhub_transfer.shapes import Array

# Of a larger number of mistakes the worst are shown.
MISTAKES = 100

Result = TypeVar("Result")
# What users read of answers, by the names of parts that depend on the task.
Answers: TypeAlias = list[dict[str, Any]]


class Asked(Protocol):
    """A model, as far as a trial asks it; `models.transfer.TransferModel` is one."""

    @property
    def layout(self) -> "Laid":
        """What makes answers of its scores."""

    def predict_scores(self, examples: Examples, *, allow_nan: bool = False) -> Array:
        """Scores of each example."""

    def predict_text(self, texts: Examples | Sequence[Sequence[str]]) -> Answers:
        """A readable answer to each example."""

    def encode_text(self, texts: Sequence[str]) -> Array:
        """The encoder's vector of each text."""


class Cut(Protocol):
    """Examples in rows; see `layout.Rows`."""

    owners: Array
    count: int


class Laid(Protocol):
    """A layout, as far as it makes answers of scores; see `layout.Layout`."""

    task: Any
    by_unit: bool

    def prepare(self, *texts: tf.Tensor) -> tuple[tuple[tf.Tensor, ...], object]:
        """Texts to rows, and what `answer` needs to know."""

    def answer(self, state: object, scores: tf.RaggedTensor) -> Mapping[str, tf.Tensor]:
        """Scores of rows to answers."""

    def readable(self, found: Mapping[str, tf.Tensor]) -> Answers:
        """Answers as a user reads them."""

    def join(self, scores: Sequence[np.ndarray], rows: Any) -> Sequence[np.ndarray]:
        """Scores of rows to those of examples."""


def answers_of(layout: Laid, state: object, scores: Sequence[np.ndarray]) -> Answers:
    """Readable answers of what a model said of the units of each row.

    Args:
        layout: What knows how.
        state: From its `prepare`.
        scores: Of each row `[units, ...]`.
    """
    flat, lengths = np.concatenate(scores), list(map(len, scores))
    return layout.readable(layout.answer(state, tf.RaggedTensor.from_row_lengths(flat, lengths)))


@dataclasses.dataclass(frozen=True)
class Trial:
    """What is put to a model, and what is written of its answers.

    Attributes:
        report: What is filled, by `Task.report_on`.
        model: What is asked.
        examples: The test split.
        train: What baselines learn from, if it is known and they are wanted.
        seed: Seed of the bootstrap.
        untrained: The model as it was before training; raises `InputError` if its encoder isn't at
            hand.
    """

    report: Report
    model: Asked
    examples: Examples
    train: Examples | None
    seed: int
    untrained: Callable[[], Asked]

    def timed(self, answer: Callable[[], Result]) -> Result:
        """What the model answers; the seconds that it takes are in the report.

        Args:
            answer: Asks the model.
        """
        started = time.perf_counter()
        result = answer()
        passed = time.perf_counter() - started
        seconds = self.report.seconds
        # Similarity asks once for each column of texts.
        seconds["prediction"] = seconds.get("prediction", 0.0) + passed
        return result

    def note_answers(
        self, true: Sequence[object], given: Sequence[object], numbers: Mapping[str, Array]
    ) -> None:
        """Puts the answer to each example into the report; see `predictions.rows`.

        Args:
            true: What is right.
            given: What the model answered.
            numbers: What each example contributes to numbers of the report, `[n, ...]`.
        """
        texts = self.examples.texts
        self.report.predictions = predictions.rows(texts, true, given, numbers)

    def mistake(self, row: int, true: object, given: object, badness: float) -> Mistake:
        """A mistake as a report has it.

        Args:
            row: The example.
            true: What is right.
            given: What was answered.
            badness: How bad that is.
        """
        text = " | ".join(column[row] for column in self.examples.texts)
        return {"row": row, "text": text, "true": true, "predicted": given, "badness": badness}


def worst(badness: np.ndarray) -> list[int]:
    """The rows of the worst mistakes, the worst first.

    Args:
        badness: How bad each answer is `[n]`; 0 or less where it is right.
    """
    # Stable: equal mistakes stand in the order of their rows, in every report alike.
    order = np.argsort(-badness, kind="stable")[:MISTAKES]
    return [int(row) for row in order if badness[row] > 0]
