"""What more labels would bring: curves through accuracies with fewer of them."""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
from scipy.special import boxcox

from tfhub_transfer.recipes.active_learning.linear_heads import Label, LinearHead, learns

# Of fewer labels a curve would be one of luck.
LEAST_LABELS = 20
# How often the labels are parted, and which share judges; the shares of the others that learn.
SPLITS, JUDGES = 6, 0.2
_SHARES = (0.3, 0.45, 0.6, 0.8, 1.0)
# Of curves: below 0 while each doubling brings more than the one before, 0 while all bring alike;
# with 1 what is missing falls as the inverse of the labels, and hardly anything falls faster.
POWERS = np.linspace(-0.3, 1.5, 37)


@dataclasses.dataclass(frozen=True)
class Gain:
    """What more labels are expected to bring.

    Attributes:
        value: How much the accuracy rises.
        error: One standard error of that.
    """

    value: float
    error: float


def expected(sizes: Sequence[float], accuracies: np.ndarray, now: int, more: int) -> Gain:
    """How much more labels are expected to bring, with the error of that.

    A few accuracies with noise suit many curves, which say different things of more labels. So the
    rise is the mean of those of curves `level + slope * (1 - labels ** -power) / power` of all
    `POWERS`, each by least squares and weighed by how likely the accuracies are by it (Hoeting et
    al. 1999, "Bayesian Model Averaging: A Tutorial"); what they disagree about is part of the
    error. The splits share most of their labels, so that their spread tells too little: it is
    widened as Nadeau and Bengio 2003, "Inference for the Generalization Error", have it.

    Args:
        sizes: Numbers of labels that learned, at least three.
        accuracies: Of each split with each of them `[splits, sizes]`.
        now: How many labels there are.
        more: How many would come.

    Example:

    >>> rising = np.log2([[16, 32, 64, 128]] * 6) / 20
    >>> round(expected([16, 32, 64, 128], rising, now=128, more=128).value, 3)
    0.05
    """
    count, wider = len(accuracies), JUDGES / (1 - JUDGES)
    means = accuracies.mean(axis=0)
    bent = boxcox(np.asarray(sizes, "float64"), -POWERS[:, None])
    spread = bent - bent.mean(axis=1, keepdims=True)
    slopes = accuracies @ (spread / (spread**2).sum(axis=1, keepdims=True)).T
    reach = boxcox(float(now + more), -POWERS) - boxcox(float(now), -POWERS)
    rises = np.minimum(slopes.mean(axis=0) * reach, 1 - means.max())
    variances = slopes.var(axis=0, ddof=1) * reach**2 * (1 / count + wider)
    missed = means - means.mean() - slopes.mean(axis=0)[:, None] * spread
    noise = _noise(accuracies) * (1 / count + wider)
    likely = np.exp(-((missed**2).sum(axis=1) - (missed**2).sum(axis=1).min()) / (2 * noise))
    share = likely / likely.sum()
    value = float(share @ rises)
    error = math.sqrt(share @ (variances + (rises - value) ** 2))
    return Gain(max(value, 0.0), error)


def _noise(accuracies: np.ndarray) -> float:
    """The variance of one accuracy beside the others of its split, whose judges may be hard."""
    beside = accuracies - accuracies.mean(axis=1, keepdims=True)
    tiny = 1e-9  # where all splits are alike the likeliest curve counts alone
    return float(beside.var(axis=0, ddof=1).sum() / (accuracies.shape[1] - 1)) + tiny


def measured(
    vectors: np.ndarray, labels: Sequence[Label], seed: int = 0
) -> tuple[list[int], np.ndarray] | None:
    """Accuracies of heads that learned from some of the labels, on others of them.

    Args:
        vectors: Of the labelled texts `[n, d]`.
        labels: Their labels.
        seed: Of how they are parted.

    Returns:
        Numbers of labels, and the accuracy of each split with each `[splits, sizes]`; `None` where
        there are too few labels.
    """
    count = len(labels)
    if count < LEAST_LABELS or not learns(labels):
        return None
    judging = max(2, round(JUDGES * count))
    sizes = sorted({max(4, round(share * (count - judging))) for share in _SHARES})
    generator, found = np.random.default_rng(seed), []
    for _ in range(SPLITS):
        order = generator.permutation(count)
        judges, rest = order[:judging], order[judging:]
        found.append([accuracy(vectors, labels, rest[:size], judges) for size in sizes])
    return sizes, np.array(found)


def accuracy(
    vectors: np.ndarray, labels: Sequence[Label], train: np.ndarray, judges: np.ndarray
) -> float:
    """The share of labels that a head says which learned from others of them.

    Args:
        vectors: Of all texts `[n, d]`.
        labels: Of all texts.
        train: Rows that it learns from.
        judges: Rows that it is asked.
    """
    return float(right(vectors, labels, train, judges).mean())


def right(
    vectors: np.ndarray, labels: Sequence[Label], train: np.ndarray, judges: np.ndarray
) -> np.ndarray:
    """Which labels a head says that learned from others of them, bool `[judges]`.

    Args:
        vectors: Of all texts `[n, d]`.
        labels: Of all texts; of several classes, all of them must be right.
        train: Rows that it learns from; where they all have one label, that is what it says.
        judges: Rows that it is asked.
    """
    known, truth = [labels[row] for row in train], [labels[row] for row in judges]
    if not learns(known):
        return np.array([label == known[0] for label in truth])
    head = LinearHead(vectors[train], known)
    return np.array([a == b for a, b in zip(head.answers(head.scores(vectors[judges])), truth)])
