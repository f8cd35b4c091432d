"""Which number judges a task, whether more of it is better, and what it is compared with.

Nothing here knows a task: each says in a `Standing` how reports on it read.
"""

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from tfhub_transfer.reporting.contents import Prediction

# A number whose name ends so is an error; what stands before is what it is of, as a task's name.
_LOW_IS_GOOD = (
    *("mse", "rmse", "mae", "ece", "loss", "brier", "brier_score"),
    *("error", "error_rate", "perplexity"),
)
# Numbers that may judge where the data can't tell a task's own, the one that says most first.
_ELSE = ("roc_auc", "recall_at_1", "accuracy", "rmse", "loss")
_BASELINES = {"majority": "majority", "tfidf_logistic_regression": "TF-IDF + LR"}
# Numbers that stand out on a page, as far as a report has them.
_TILES = (
    *("exact_match", "accuracy", "macro_f1", "recall_at_1", "mrr", "roc_auc", "pr_auc"),
    *("pearson", "rmse", "mae", "ece"),
)
# It knows the answers: a limit, and nobody's rival.
ORACLE = "oracle"


class Parts(NamedTuple):
    """What examples contribute to a number.

    Attributes:
        parts: What each does `[n, k]`.
        measure: The number of them all, `[draws]`, for weights of rows `[draws, n]`.
    """

    parts: np.ndarray
    measure: Callable[[np.ndarray], np.ndarray]


class Faults(NamedTuple):
    """What examples cost a number that is one of their sums over another.

    Attributes:
        number: The number's name.
        lost: What each loses `[n]`: 1 for a wrong class, an absolute error.
        of: What each could lose `[n]`; 1 where the number is a mean.
        best: The number of answers that lose nothing, where more of it is better.
    """

    number: str
    lost: np.ndarray
    of: np.ndarray
    best: float = 1.0


@dataclasses.dataclass(frozen=True)
class Standing:
    """How a task stands in its reports.

    Attributes:
        first: The number that it is judged by, where the data can tell it.
        low: Numbers of which less is better (`True`) or more (`False`), by name, where their names
            don't say so (see `less_is_better`).
        rival: The baseline that a report's one sentence compares with.
        baselines: Baselines as people call them, by name.
        badness: What says how bad a mistake is, as people call it.
        columns: The columns of mistakes before it.
        picked: Whether mistakes can be picked by the values in these columns.
        legend: What the marks in the text of a mistake mean: `right`, `missed`,
            `spurious`, `gold`, `given`.
        without_interval: Numbers that never have an interval.
        parts: What rows of predictions contribute to a number, given its name and the rows (see
            `Parts`); if not given, the number is the mean of what has its name in them.
        by_row: Numbers that groups of examples may be compared by, means of what has their names in
            rows of predictions, of which the first that is there is taken; if not given, `judged`.
        faults: What rows cost the number that groups are compared by, where it is no mean (see
            `Faults`).
        ranking: How well scores rank, where a baseline that ranks better may hide it: by giving
            hardly any answers, as all are from a threshold on.
        tiles: Numbers that stand out on the page beside the first.
        pictures: What pictures of its own show, by their names.
        tells_winners: Whether the task says itself, in warnings, which baselines win.
    """

    first: str = ""
    low: Mapping[str, bool] = dataclasses.field(default_factory=dict)
    rival: str = "tfidf_logistic_regression"
    baselines: Mapping[str, str] = dataclasses.field(default_factory=dict)
    badness: str = "off by"
    columns: tuple[str, ...] = ("true", "predicted")
    picked: bool = False
    legend: Mapping[str, str] = dataclasses.field(default_factory=dict)
    without_interval: frozenset[str] = frozenset({"ece"})
    parts: Callable[[str, Sequence[Prediction]], Parts | None] | None = None
    by_row: tuple[str, ...] = ()
    faults: Callable[[Sequence[Prediction]], Faults | None] | None = None
    ranking: str | None = None
    tiles: tuple[str, ...] = _TILES
    pictures: Mapping[str, str] = dataclasses.field(default_factory=dict)
    tells_winners: bool = False

    @property
    def judged(self) -> tuple[str, ...]:
        """The numbers that the task is judged by: the first of them that is known."""
        return tuple(dict.fromkeys(name for name in (self.first, *_ELSE) if name))

    def less_is_better(self, name: str) -> bool:
        """Whether a number is an error."""
        return self.low.get(name, less_is_better(name))

    def is_better(self, name: str, mine: float, other: float) -> bool:
        """Whether the first of two different numbers wins."""
        return mine != other and (mine < other) == self.less_is_better(name)

    def best(self, name: str, values: Sequence[float | None]) -> float:
        """The best value; NaN, which equals nothing, where there is nothing to compare.

        Args:
            name: Of the number.
            values: Those of the model and of its rivals, as far as they are known.
        """
        known = [value for value in values if value is not None]
        if len(known) < 2:
            return math.nan
        return min(known) if self.less_is_better(name) else max(known)

    def rivals(self, baselines: Sequence[str]) -> list[str]:
        """Baselines to compare a model with, the one that says most first.

        Args:
            baselines: Those that were measured.
        """
        named = [name for name in baselines if name != ORACLE]
        return sorted(named, key=lambda name: name != self.rival)

    def baseline_name(self, name: str) -> str:
        """A baseline as people call it."""
        return {**_BASELINES, **self.baselines}.get(name, name.replace("_", " "))


_KNOWN: dict[str, Standing] = {}


def register(task: str, standing: Standing) -> None:
    """Remembers how the tasks of a name stand, for reports that are made by hand.

    Args:
        task: The task's name.
        standing: How it stands.
    """
    _KNOWN[task] = standing


def of(task: str) -> Standing:
    """How the tasks of a name stand; as any task does where none of the name is known."""
    return _KNOWN.get(task, Standing())


def less_is_better(name: str) -> bool:
    """Whether a number is an error, as its name says.

    Example:

    >>> less_is_better("size_rmse"), less_is_better("error_type_accuracy")
    (True, False)
    """
    return f"_{name}".endswith(tuple(f"_{error}" for error in _LOW_IS_GOOD))
