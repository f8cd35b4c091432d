"""Whether the scores of answers mean what they say, and what they would be at other temperatures.

The score of a span is its start's share of all starts times its end's share of all ends. It needn't
rise as scores grow apart: the best span that is allowed may have neither the likeliest start nor
the likeliest end. So it takes all that a score is a share of to know it at another temperature.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Protocol, TypeAlias

import numpy as np
import tensorflow as tf

from tfhub_transfer.data import Examples
from tfhub_transfer.reporting import plots
from tfhub_transfer.reporting.reports import Report
from tfhub_transfer.tasks import sharpness, temperatures
from tfhub_transfer.tasks.questions import answers
from tfhub_transfer.tasks.temperatures import Choice, Scaling
from tfhub_transfer.tasks.trial import Answers, Laid, answers_of
from tfhub_transfer.tasks.whole.measures import add_calibration, add_uncalibrated

# Of each question its windows, of each of those scores of no answer and of words `[1 + words, 2]`.
Windows: TypeAlias = Sequence[Sequence[np.ndarray]]
# Scores that a temperature is fitted to: more change it by nothing to speak of.
_MOST_SCORES = 2**22
# No answer is surer than that, nor less sure.
_LEAST, _LEAST_DOUBT = 1e-30, 1e-7


class Calibrated(Protocol):
    """A task of questions, as far as it is asked here."""

    calibration: Scaling | None
    unanswerable: bool | None


@dataclasses.dataclass(frozen=True)
class Shares:
    """What the scores of answers are made of.

    Attributes:
        given: The scores of an answer's start and end, or of no answer's, together `[n]`.
        candidates: All starts and ends that they are shares of `[candidates, 2]`, question by
            question.
        counts: How many each question has, at least one `[n]`.
    """

    given: np.ndarray
    candidates: np.ndarray
    counts: np.ndarray

    def log_scores(self, temperature: float = 1.0) -> np.ndarray:
        """Logarithms of the scores of the answers `[n]`, if all of it is divided by a temperature.

        Args:
            temperature: Above 0.
        """
        made = self.candidates / temperature
        begins = np.cumsum(self.counts) - self.counts
        highest = np.maximum.reduceat(made, begins)
        reduced = np.exp(made - np.repeat(highest, self.counts, axis=0))
        totals = highest + np.log(np.add.reduceat(reduced, begins))
        found: np.ndarray = self.given / temperature - totals.sum(axis=1)
        return found


def shares_of(windows: Windows, found: Sequence[Mapping[str, float]], silent: bool) -> Shares:
    """What the scores of answers are made of.

    Args:
        windows: The model's scores.
        found: Its answers, of which `start` and `margin` are read.
        silent: Whether no answer is among what scores are shares of.
    """
    given, counts = [], []
    candidates: list[np.ndarray] = []
    for own, answer in zip(windows, found, strict=True):
        quiet = min((window[0] for window in own), key=lambda row: float(row.sum()))
        words = [window[1:] for window in own if len(window) > 1]
        asked = [*words, quiet[None]] if silent or not words else words
        null = float(quiet.sum())
        if answer["start"] >= 0:
            given.append(answer["margin"] + null)
        else:
            # A context without words, where all questions have an answer, has a score of 0.
            given.append(null if silent else -np.inf)
        candidates += asked
        counts.append(sum(map(len, asked)))
    return Shares(np.array(given), np.concatenate(candidates).astype("float64"), np.array(counts))


def answered(layout: Laid, texts: Sequence[Sequence[str]], windows: Windows) -> Answers:
    """The answers that a model's scores are.

    Args:
        layout: The model's.
        texts: Questions and contexts.
        windows: Its scores.
    """
    state = layout.prepare(*(tf.constant(column, tf.string) for column in texts))[1]
    return answers_of(layout, state, [window for own in windows for window in own])


def loss(log_scores: np.ndarray, right: np.ndarray) -> np.ndarray:
    """The negative log-likelihood of each answer's being right or wrong, in nats `[n]`.

    Args:
        log_scores: Logarithms of the scores.
        right: Which answers match a right one exactly.
    """
    doubts = np.maximum(-np.expm1(log_scores), _LEAST_DOUBT)
    gained: np.ndarray = np.where(right, np.maximum(log_scores, np.log(_LEAST)), np.log(doubts))
    return -gained


def likeliest(layout: Laid, windows: Windows, examples: Examples, seed: int) -> Choice:
    """The temperature by which scores say best which answers are right, if one is seen to help.

    Right is what matches exactly: a score is the chance of that very span. Folds are of contexts.

    Args:
        layout: The model's.
        windows: Its scores of the validation split.
        examples: The validation split.
        seed: Seed of the folds, and of which questions are taken of many.
    """
    sizes = [2 * sum(map(len, own)) for own in windows]
    taken = temperatures.some_rows(sizes, _MOST_SCORES, seed)
    some, own = examples[taken], [windows[row] for row in taken]
    found = answered(layout, some.texts, own)
    truths = [[text for text, _ in answers.of_label(label)] for label in some.labels]
    right = answers.scores(truths, [row["answer"] for row in found])[:, 0] == 1
    nothing = Choice(temperatures.NONE, None, {}, len(right))
    if len(right) < temperatures.LEAST:
        return nothing
    if right.all() or not right.any():
        how = "right" if right.all() else "wrong"
        said = f"all {len(right)} answers to validation questions are {how}"
        return dataclasses.replace(nothing, why=said)
    made = shares_of(own, found, bool(layout.task.unanswerable))
    contexts = np.unique(some.texts[1], return_inverse=True)[1]
    return sharpness.one_temperature(lambda t: loss(made.log_scores(t), right), contexts, seed)


def describe(
    task: Calibrated, report: Report, windows: Windows, found: Answers, right: np.ndarray
) -> None:
    """Adds to a report how far the scores of answers can be believed, now and unscaled.

    Args:
        task: The model's task.
        report: It gets `ece` among its metrics.
        windows: The model's scores.
        found: Its answers.
        right: Which of them match a right one exactly; no answer too, where there is none.
    """
    add_calibration(report, right, np.array([row["score"] for row in found]))
    if report.calibration is None:
        return
    report.metrics["ece"] = report.calibration["ece"]
    if task.calibration is not None:
        made = shares_of(windows, found, bool(task.unanswerable))
        now, then = (made.log_scores(t) for t in (1.0, 1.0 / task.calibration.temperature))
        losses = [float(loss(each, right).mean()) for each in (now, then)]
        add_uncalibrated(report, right, np.exp(then), losses)
    report.pictures["reliability"] = plots.reliability(report.calibration)
