"""Two models that answered the same examples: by how much one is better, and whether it is."""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from tfhub_transfer.reporting import metrics
from tfhub_transfer.reporting.contents import Prediction
from tfhub_transfer.reporting.standings import Parts as Parts
from tfhub_transfer.reporting.standings import Standing

Rows = Sequence[Prediction]
# What a number was rounded by on its way into a row.
_ROUNDED = {"rel_tol": 1e-4, "abs_tol": 1e-6}


@dataclasses.dataclass(frozen=True)
class Difference:
    """By how much one model is better or worse than another.

    Attributes:
        metric: The number that they are compared by.
        first: That of the one.
        second: That of the other.
        interval: The 95 % interval of `first - second`; `None` where too few examples, or no
            answers at all, tell it.
        alike: Whether both contribute the same to the number with each example.
        standing: How their task stands in reports.
    """

    metric: str
    first: float
    second: float
    interval: tuple[float, float] | None = None
    alike: bool = False
    standing: Standing = dataclasses.field(default_factory=Standing, repr=False)

    @property
    def value(self) -> float:
        """`first - second`."""
        return self.first - self.second

    @property
    def better(self) -> bool | None:
        """Whether the first is better; `None` where nothing tells them apart."""
        if self.interval is None or self.interval[0] <= 0 <= self.interval[1]:
            return None
        return self.standing.is_better(self.metric, self.first, self.second)


def are_of(rows: Rows, texts: Sequence[Sequence[str]]) -> bool:
    """Whether rows of predictions are the answers to these examples, in their order.

    Args:
        rows: From `predictions.rows`.
        texts: Columns of texts, lists of words with a space between.
    """
    return [row["texts"] for row in rows] == list(map(list, zip(*texts, strict=True)))


def difference(
    standing: Standing,
    numbers: tuple[metrics.Numbers, metrics.Numbers],
    rows: tuple[Rows, Rows],
    seed: int = 0,
) -> Difference | None:
    """Compares two models by the number that their task is judged by.

    The interval of a difference of shares is that of Newcombe 1998 (method 10: of two of Wilson's
    and how much both are right together); of others by the bootstrap, which draws the same examples
    for both. Either is about other examples; another seed of the training may change more.

    Args:
        standing: How the task stands in reports.
        numbers: Metrics of both.
        rows: Answers of both to the same examples, as `predictions.rows` has them; or none.
        seed: Seed of the bootstrap.

    Returns:
        The difference, or `None` if no number is known of both.
    """
    known = (name for name in standing.judged if all(own.get(name) is not None for own in numbers))
    name = next(known, None)
    return None if name is None else of_number(name, standing, numbers, rows, seed)


def of_number(
    name: str,
    standing: Standing,
    numbers: tuple[metrics.Numbers, metrics.Numbers],
    rows: tuple[Rows, Rows],
    seed: int = 0,
) -> Difference:
    """As `difference`, by a number that both know.

    Args:
        name: The number's.
        standing: How the task stands in reports.
        numbers: Metrics of both.
        rows: Answers of both.
        seed: Seed of the bootstrap.
    """
    first, second = (float(own[name] or 0.0) for own in numbers)
    plain = Difference(name, first, second, standing=standing)
    if not rows[0] or len(rows[0]) != len(rows[1]):
        return plain
    answers = [(standing.parts or means)(name, own) for own in rows]
    whole = np.ones((1, len(rows[0])))
    found = [each for each in answers if each is not None]
    # Whatever the rows say must be what the numbers say, or they are of something else.
    agree = [
        math.isclose(float(each.measure(whole)[0]), own, **_ROUNDED)
        for each, own in zip(found, (first, second))
    ]
    if len(found) < 2 or not all(agree):
        return plain
    alike = np.array_equal(found[0].parts, found[1].parts)
    return dataclasses.replace(plain, interval=_interval(found[0], found[1], seed), alike=alike)


def means(name: str, rows: Rows) -> Parts | None:
    """What rows contribute to a number that is the mean of what they hold by its name.

    Args:
        name: The number's.
        rows: Answers, as `predictions.rows` has them.

    Returns:
        The parts; `None` if a row doesn't say.
    """
    column = numbers_of(rows, (name,))
    return None if column is None else Parts(column, lambda w: w @ column[:, 0] / w.sum(axis=1))


def numbers_of(rows: Rows, names: Sequence[str]) -> np.ndarray | None:
    """Values of these names `[n, names]`; `None` if one is missing or no number."""
    found = [[row.get(name) for name in names] for row in rows]
    if not all(isinstance(value, (int, float)) for values in found for value in values):
        return None
    array = np.array(found, dtype="float64")
    return array if np.isfinite(array).all() else None


def _interval(first: Parts, second: Parts, seed: int) -> tuple[float, float] | None:
    both = np.concatenate([first.parts, second.parts], axis=1)
    if both.shape[1] == 2 and np.isin(both, (0, 1)).all():
        return of_shares(both[:, 0] == 1, both[:, 1] == 1)

    def resampled(weights: np.ndarray) -> metrics.Resampled:
        return {"difference": first.measure(weights) - second.measure(weights)}

    return metrics.intervals(resampled, len(both), seed).get("difference")


def of_shares(first: np.ndarray, second: np.ndarray) -> tuple[float, float] | None:
    """The 95 % interval of how much larger one share of the same examples is than another.

    Newcombe 1998, "Improved confidence intervals for the difference between binomial proportions
    based on paired data", method 10.

    Args:
        first: Which examples the one has right `[n]`, bool.
        second: Which examples the other has right `[n]`.

    Returns:
        The interval, or `None` for fewer than two examples.

    Example:

    >>> first = np.array([True] * 2 + [False] * 19)
    >>> second = np.array([True, False] + [True] * 7 + [False] * 12)
    >>> [round(end, 3) for end in of_shares(first, second)]
    [-0.507, -0.026]
    """
    count = len(first)
    if count < 2:
        return None
    shares = float(first.mean()), float(second.mean())
    (low, high), (other_low, other_high) = (metrics.wilson(share, count) for share in shares)
    both, neither = int((first & second).sum()), int((~first & ~second).sum())
    one, other = int((first & ~second).sum()), int((~first & second).sum())
    sides = float((both + one) * (other + neither) * (both + other) * (one + neither))
    more = both * neither - one * other
    # Newcombe corrects for continuity where the two go together, and only there.
    together = (max(more - count / 2, 0.0) if more > 0 else more) / math.sqrt(sides or 1.0)

    def wide(a: float, b: float) -> float:
        return math.sqrt(max(a * a - 2 * together * a * b + b * b, 0.0))

    value = shares[0] - shares[1]
    below = wide(shares[0] - low, other_high - shares[1])
    above = wide(high - shares[0], shares[1] - other_low)
    return value - below, value + above
