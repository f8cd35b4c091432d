"""What a threshold on scores brings: precision and recall at each."""

import dataclasses

import numpy as np

from tfhub_transfer.reporting.contents import OperatingPoint, Thresholds

_STEPS = 20


@dataclasses.dataclass(frozen=True)
class Answers:
    """Answers that are given or held back by their scores.

    Attributes:
        right: Whether each is right `[n]`.
        scores: Their scores `[n]`.
        wanted: How many right answers there are to be found.
        of: What they are answers to, in words.
        own: The threshold that the model has now, if it has one.
    """

    right: np.ndarray
    scores: np.ndarray
    wanted: int
    of: str
    own: float | None = None


def table(answers: Answers) -> Thresholds:
    """Precision, recall and F1 if answers of a score from a threshold on are given.

    Args:
        answers: The answers; no score is NaN.

    Returns:
        `of`, `own`, and `points`: for nineteen thresholds over the range of the scores (0.05 to
        0.95 for shares) and the model's own, `threshold`, `precision` (`None` where nothing is
        given), `recall`, `f1` and how many are `given`.

    Example:

    >>> found = table(Answers(np.array([True, False]), np.array([0.9, 0.2]), 1, "spam"))
    >>> found["points"][3]["threshold"], found["points"][3]["precision"]
    (0.2, 0.5)
    """
    right, scores = np.asarray(answers.right, bool), np.asarray(answers.scores)
    points = []
    for threshold in _thresholds(scores, answers.own):
        given = scores >= threshold
        counts = int((right & given).sum()), int(given.sum()), answers.wanted
        points.append(_point(threshold, *counts))
    return {"of": answers.of, "own": answers.own, "points": points}


def _thresholds(scores: np.ndarray, own: float | None) -> list[float]:
    low, high = float(scores.min()), float(scores.max())
    low, high = (0.0, 1.0) if low >= 0 and high <= 1 else (low, high)
    steps = {round(float(step), 4) for step in np.linspace(low, high, _STEPS + 1)[1:-1]}
    return sorted(steps | ({float(own)} if own is not None else set()))


def _point(threshold: float, hits: int, given: int, wanted: int) -> OperatingPoint:
    return {
        "threshold": threshold,
        "precision": hits / given if given else None,
        "recall": hits / wanted if wanted else None,
        "f1": 2 * hits / (given + wanted) if given + wanted else None,
        "given": given,
    }
