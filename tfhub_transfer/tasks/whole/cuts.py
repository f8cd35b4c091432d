"""From which score on a class is given: chosen on the validation split, judged on folds of it.

The F1 of a class is highest where the threshold is half of that F1, so below 0.5 (Lipton et al.
2014, "Thresholding Classifiers to Maximize F1 Score"), and another one for each class.
"""

import dataclasses
from collections.abc import Callable

import numpy as np
from sklearn.model_selection import KFold

PLAIN, ONE, EACH = "as it was", "one for all", "one for each class"
FOLDS = 5
# Rows of the validation split below which nothing is chosen.
LEAST = 20
# Rows that must have a class for a threshold of its own.
LEAST_OF_A_CLASS = 10


@dataclasses.dataclass(frozen=True)
class Cuts:
    """Thresholds that were chosen, and what each way is worth.

    Attributes:
        kept: `PLAIN`, `ONE` or `EACH`.
        thresholds: One for each class; empty, where it stays as it was.
        micro_f1: Of rows left out, by way; empty if there were too few.
    """

    kept: str
    thresholds: tuple[float, ...]
    micro_f1: dict[str, float]


def best_cuts(scores: np.ndarray, truth: np.ndarray, plain: float, seed: int = 0) -> Cuts:
    """The thresholds of the highest F1, if rows left out agree that they are better than before.

    Args:
        scores: `[n, classes]`, of rows that the model wasn't trained on.
        truth: A 0 or a 1 for each class `[n, classes]`.
        plain: The threshold of all classes so far.
        seed: Seed of the folds.
    """
    if len(scores) < LEAST:
        return Cuts(PLAIN, (), {})
    right = truth > 0.5
    ways: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
        PLAIN: lambda own, known: np.full(right.shape[1], plain),
        ONE: lambda own, known: np.full(right.shape[1], best_cut(own.ravel(), known.ravel())),
        EACH: for_each,
    }
    given = {name: np.zeros(right.shape, bool) for name in ways}
    for others, own in KFold(FOLDS, shuffle=True, random_state=seed).split(scores):
        for name, way in ways.items():
            given[name][own] = scores[own] >= way(scores[others], right[others])
    found = {name: _f1(made, right) for name, made in given.items()}
    # The first of equal ones: the simplest.
    kept = max(found, key=lambda name: found[name])
    thresholds = () if kept == PLAIN else tuple(map(float, ways[kept](scores, right)))
    return Cuts(kept, thresholds, found)


def for_each(scores: np.ndarray, right: np.ndarray) -> np.ndarray:
    """The best threshold of each class; of rare ones, that of all classes together.

    Args:
        scores: `[n, classes]`.
        right: Whether a row has the class `[n, classes]`.
    """
    common = best_cut(scores.ravel(), right.ravel())
    own = [
        best_cut(column, known) if known.sum() >= LEAST_OF_A_CLASS else common
        for column, known in zip(scores.T, right.T)
    ]
    return np.array(own)


def best_cut(scores: np.ndarray, right: np.ndarray) -> float:
    """The threshold whose F1 is highest, half-way between two scores; of equal ones the highest.

    Args:
        scores: `[n]`.
        right: Whether each is right to be given `[n]`.

    Example:

    >>> best_cut(np.array([0.9, 0.4, 0.2, 0.1]), np.array([True, True, False, False]))
    0.30000000000000004
    """
    if not right.any():
        return 0.5
    order = np.argsort(-scores, kind="stable")
    sorted_scores = scores[order].astype("float64")
    hits, given = np.cumsum(right[order]), np.arange(1, len(scores) + 1)
    f1 = 2 * hits / (given + right.sum())
    # Between equal scores nothing can be cut.
    f1[:-1][sorted_scores[:-1] == sorted_scores[1:]] = -1.0
    place = int(f1.argmax())
    below = sorted_scores[place + 1] if place + 1 < len(scores) else 0.0
    return float((sorted_scores[place] + below) / 2)


def _f1(given: np.ndarray, right: np.ndarray) -> float:
    every = given.sum() + right.sum()
    return float(2 * (given & right).sum() / every) if every else 1.0
