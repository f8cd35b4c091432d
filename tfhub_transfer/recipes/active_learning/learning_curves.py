"""What more labels would bring: a curve through accuracies with fewer of them."""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
from scipy.optimize import minimize_scalar

from tfhub_transfer.recipes.active_learning.linear_heads import Label, LinearHead, learns

# Of fewer labels a curve would be one of luck.
LEAST_LABELS = 20
# How often the labels are parted, and which share judges; the shares of the others that learn.
SPLITS, JUDGES = 6, 0.2
_SHARES = (0.3, 0.45, 0.6, 0.8, 1.0)
# Between which powers of the number of labels the best is looked for.
_POWERS = np.linspace(0.05, 2.0, 40)


@dataclasses.dataclass(frozen=True)
class Curve:
    """Accuracy by the number of labels: `top - drop * labels ** -power`.

    Attributes:
        top: Where it would end.
        drop: How far below it begins.
        power: How fast it rises.
    """

    top: float
    drop: float
    power: float

    def at(self, labels: float) -> float:
        """The accuracy with so many labels.

        Args:
            labels: How many.
        """
        return float(self.top - self.drop * labels**-self.power)


@dataclasses.dataclass(frozen=True)
class Gain:
    """What more labels are expected to bring.

    Attributes:
        value: How much the accuracy rises.
        error: One standard error of that.
    """

    value: float
    error: float


def fitted(sizes: Sequence[float], accuracies: Sequence[float], bounded: bool = True) -> Curve:
    """The curve that is nearest to accuracies, by least squares.

    Args:
        sizes: Numbers of labels, at least three.
        accuracies: The accuracy with each.
        bounded: Whether it must rise, to 1 at most.

    Example:

    >>> found = fitted([20, 40, 80, 160], [Curve(0.9, 2.0, 0.5).at(n) for n in (20, 40, 80, 160)])
    >>> round(found.top, 3), round(found.drop, 3), round(found.power, 3)
    (0.9, 2.0, 0.5)
    """
    x, y = np.asarray(sizes, "float64"), np.asarray(accuracies, "float64")

    def miss(power: float) -> float:
        curve = _with_power(x, y, power, bounded)
        return float(((curve.top - curve.drop * x**-power - y) ** 2).sum())

    near = float(_POWERS[np.argmin([miss(power) for power in _POWERS])])
    step = float(_POWERS[1] - _POWERS[0])
    bounds = (max(near - step, 0.01), near + step)
    best = minimize_scalar(miss, bounds=bounds, method="bounded", options={"xatol": 1e-6})
    return _with_power(x, y, float(best.x) if best.fun < miss(near) else near, bounded)


def _with_power(x: np.ndarray, y: np.ndarray, power: float, bounded: bool) -> Curve:
    """The best curve of one power: a line through `y` by `x ** -power`, perhaps within bounds."""
    z = x**-power
    spread = z - z.mean()
    drop = -float(spread @ y / (spread @ spread))
    top = float(y.mean() + drop * z.mean())
    if bounded and drop < 0:
        return Curve(float(y.mean()), 0.0, power)
    if bounded and top > 1:
        return Curve(1.0, float(z @ (1 - y) / (z @ z)), power)
    return Curve(top, drop, power)


def expected(sizes: Sequence[float], accuracies: np.ndarray, now: int, more: int) -> Gain:
    """How much more labels are expected to bring, with the error of that.

    The splits share most of their labels, so that their spread tells too little: it is widened as
    Nadeau and Bengio 2003, "Inference for the Generalization Error", have it. Each split is left
    out once (the jackknife), and a curve is fitted to the means of the others. Those may fall, and
    pass 1: of few labels whose accuracies happen not to rise all curves within the bounds are flat,
    and their error would be none where nothing is known.

    Args:
        sizes: Numbers of labels that learned.
        accuracies: Of each split with each of them `[splits, sizes]`.
        now: How many labels there are.
        more: How many would come.
    """
    count = len(accuracies)

    def rise(rows: np.ndarray, bounded: bool) -> float:
        curve = fitted(sizes, rows.mean(axis=0), bounded)
        return curve.at(now + more) - curve.at(now)

    without = np.array([rise(np.delete(accuracies, left, axis=0), False) for left in range(count)])
    variance = (count - 1) / count * ((without - without.mean()) ** 2).sum()
    wider = 1 + count * JUDGES / (1 - JUDGES)
    return Gain(rise(accuracies, True), math.sqrt(variance * wider))


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
