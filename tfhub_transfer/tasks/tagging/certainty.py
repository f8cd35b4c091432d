"""Whether the scores of tags and entities mean what they say."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from tfhub_transfer.reporting import plots
from tfhub_transfer.reporting.reports import Report
from tfhub_transfer.tasks import temperatures
from tfhub_transfer.tasks.tagging import entity_outcomes
from tfhub_transfer.tasks.tagging.entity_outcomes import Outcome
from tfhub_transfer.tasks.whole.measures import add_calibration, add_uncalibrated

Scores = np.ndarray | Sequence[np.ndarray]
Tags = Sequence[Sequence[str]]


class Calibrated(Protocol):
    """A task of tags, as far as it is asked here."""

    class_names: list[str] | None

    def before(self, scores: np.ndarray) -> np.ndarray | None:
        """What scores were before they were scaled; `None` if they aren't."""


def describe(
    task: Calibrated,
    report: Report,
    scores: Scores,
    tags: tuple[Tags, Tags],
    rows: Sequence[Sequence[Outcome]],
) -> None:
    """Adds to a report how far the scores of what was given can be believed, now and unscaled.

    Entities are judged, each of which is worth the mean of its words' scores, as in answers; words
    where tags have no scheme.

    Args:
        task: The model's task.
        report: It gets `ece` among its metrics.
        scores: Shares of each sentence's words `[words, tags]`.
        tags: Those of each sentence that are right, and those that the model gave.
        rows: From `measures.outcomes`.
    """
    names = task.class_names or []
    right = np.array([r.kind == entity_outcomes.RIGHT for s in rows for r in s if r.given], bool)
    if not len(right):
        return
    add_calibration(report, right, confidences(names, scores, tags[1], rows))
    if report.calibration is None:
        return
    report.metrics["ece"] = report.calibration["ece"]
    found = [task.before(own) for own in scores]
    unscaled = [own for own in found if own is not None]
    if len(unscaled) == len(scores):
        losses = [_loss(names, each, tags[0]) for each in (scores, unscaled)]
        # One temperature changes no tag, so what was right is.
        add_uncalibrated(report, right, confidences(names, unscaled, tags[1], rows), losses)
    report.pictures["reliability"] = plots.reliability(report.calibration)


def confidences(
    names: Sequence[str], scores: Scores, given: Tags, rows: Sequence[Sequence[Outcome]]
) -> np.ndarray:
    """The score of each entity that was given `[entities]`, sentence by sentence.

    Args:
        names: The tags, in the order of the scores.
        scores: Shares of each sentence's words `[words, tags]`.
        given: The tags that the model gave.
        rows: From `measures.outcomes`.
    """
    words = [_of_tags(names, own, tags) for own, tags in zip(scores, given, strict=True)]
    return np.array(
        [
            np.mean(own[row.given[1] : row.given[2]])
            for own, sentence in zip(words, rows, strict=True)
            for row in sentence
            if row.given
        ],
        dtype=float,
    )


def _of_tags(names: Sequence[str], scores: np.ndarray, tags: Sequence[str]) -> np.ndarray:
    """The score of each word's tag `[words]`."""
    places = {name: place for place, name in enumerate(names)}
    chosen = np.array([places[tag] for tag in tags], int)
    found: np.ndarray = np.asarray(scores)[np.arange(len(tags)), chosen]
    return found


def _loss(names: Sequence[str], scores: Scores, truth: Tags) -> float:
    """The mean negative log-likelihood of what is right, in nats, over all words."""
    shares = np.concatenate(
        [_of_tags(names, own, tags) for own, tags in zip(scores, truth, strict=True)]
    )
    return float(-temperatures.logits(shares, "softmax").mean())
