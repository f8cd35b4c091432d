"""What linear heads say of rows that they haven't learned from, fold by fold."""

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np
from sklearn.linear_model import Ridge
from threadpoolctl import threadpool_limits

from tfhub_transfer.data import Examples, splitting
from tfhub_transfer.errors import InputError
from tfhub_transfer.recipes.active_learning.linear_heads import Label, LinearHead, learns
from tfhub_transfer.recipes.active_learning.pools import names_of
from tfhub_transfer.reporting.findings import spelled

FOLDS = 5
# Of fewer rows nothing can be learned that would judge one.
LEAST = 20
# Of logistic regression: less than elsewhere, since some labels are wrong (average precision at 5 %
# of flips with 1 and 10: SST-2 .421 and .406, AG News .746 and .711, Banking77 .973 and .976).
STRENGTH = 1.0
# Of ridge regression on vectors of length 1.
_PENALTY = 1.0


@dataclasses.dataclass(frozen=True)
class Judged:
    """Out-of-sample answers to some of the rows.

    Attributes:
        rows: Which rows, int `[n]`.
        answers: Probabilities `[n, classes]`, or numbers `[n]`.
        classes: What the columns of probabilities are called.
    """

    rows: np.ndarray
    answers: np.ndarray
    classes: tuple[str, ...] = ()


def folds(groups: np.ndarray, labels: Sequence[object], seed: int) -> list[np.ndarray] | None:
    """Rows of each fold: groups stay together, classes keep their shares; `None` of too few.

    Args:
        groups: The group of each row, int `[n]`.
        labels: The label of each row.
        seed: Of the drawing.
    """
    if len(labels) < LEAST:
        return None
    plain = [label if isinstance(label, (str, float)) else spelled(label) for label in labels]
    columns = {
        "text": [""] * len(labels),
        "label": plain,
        "group": groups.tolist(),
        "row": [*range(len(labels))],
    }
    try:
        parts = splitting.folds(Examples(columns, target="label"), FOLDS, seed, together="group")
    except InputError:  # fewer groups than folds
        return None
    return [np.array(part.columns["row"], int) for part in parts]


def of_classes(
    vectors: np.ndarray,
    labels: Sequence[Label],
    parts: Sequence[np.ndarray],
    told: Callable[[], None],
) -> Judged:
    """Probabilities of classes, by logistic regression.

    Args:
        vectors: Of length 1 `[n, d]`.
        labels: Names of classes, or tuples of names.
        parts: As `folds` gives them.
        told: Called after each fold.

    Returns:
        Of the rows whose classes occur in other folds, too.
    """
    names = sorted({name for label in labels for name in names_of(label)})
    place = {name: at for at, name in enumerate(names)}
    found = np.zeros((len(labels), len(names)))
    judged = np.zeros(len(labels), bool)
    for asked in parts:
        known = np.setdiff1d(np.arange(len(labels)), asked)
        own = [labels[row] for row in known]
        if learns(own):
            # Products are so small that threads only wait for each other, where the machine does
            # something else, too: twelve times as long was seen.
            with threadpool_limits(1):
                head = LinearHead(vectors[known], own, STRENGTH)
            columns = [place[name] for name in head.classes]
            found[asked[:, None], columns] = head.scores(vectors[asked])
            there = set(head.classes)
            judged[asked] = [there.issuperset(names_of(labels[row])) for row in asked]
        told()
    rows = np.flatnonzero(judged)
    return Judged(rows, found[rows], tuple(names))


def of_numbers(
    vectors: np.ndarray, labels: np.ndarray, parts: Sequence[np.ndarray], told: Callable[[], None]
) -> Judged:
    """Numbers, by ridge regression.

    Args:
        vectors: Of length 1 `[n, d]`.
        labels: The numbers `[n]`.
        parts: As `folds` gives them.
        told: Called after each fold.
    """
    found = np.zeros(len(labels))
    for asked in parts:
        known = np.setdiff1d(np.arange(len(labels)), asked)
        found[asked] = (
            Ridge(alpha=_PENALTY).fit(vectors[known], labels[known]).predict(vectors[asked])
        )
        told()
    return Judged(np.arange(len(labels)), found)
