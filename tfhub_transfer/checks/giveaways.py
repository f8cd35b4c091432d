"""What gives labels away by itself: another column, its beginning or its order, or one word."""

import bisect
import collections
import dataclasses
import re
from collections.abc import Callable, Hashable, Sequence

import numpy as np
from sklearn.feature_extraction.text import CountVectorizer

# Of the mistakes that the most frequent class alone would make, the share that it must save.
NEARLY_ALL = 0.8
# Rows with a word, and rows of a class in each half, below which nothing is said.
LEAST = 5
_MOST_WORDS = 50_000
_BINS, _LEAST_IN_BIN = 50, 6
_WORDS = r"\w+|[^\w\s]+"
_BEGINS = re.compile(r"[^\W\d_]*")

Keys = Callable[[Sequence[object], np.ndarray], list[Hashable]]


@dataclasses.dataclass(frozen=True)
class Giveaway:
    """What gives a label away.

    Attributes:
        what: A column or a word.
        by: What of it.
        label: Of which class, if of one.
        saved: The share of mistakes that it saves, of those that the most frequent class makes.
    """

    what: str
    by: str
    label: str
    saved: float


def halves(groups: np.ndarray, seed: int) -> np.ndarray:
    """To which of two halves each row belongs, bool `[n]`: all rows of a group to the same.

    Args:
        groups: The group of each row, int `[n]`.
        seed: Of the drawing.
    """
    names, own = np.unique(groups, return_inverse=True)
    order = np.random.default_rng(seed).permutation(len(names))
    return np.asarray(order[own] % 2 == 0)


def of_column(
    name: str, cells: Sequence[object], labels: Sequence[str], half: np.ndarray
) -> Giveaway | None:
    """Whether a column predicts the class of rows of one half by those of the other.

    Args:
        name: The column.
        cells: Its cells `[n]`.
        labels: The class of each row `[n]`.
        half: As `halves` gives it.
    """
    ways: dict[str, Keys] = {"its values": _values, "how they begin": _beginnings}
    ways["their order"] = _bins
    best = max(
        ((saved(make(cells, half), labels, half), by) for by, make in ways.items()),
        key=lambda each: each[0],
    )
    return Giveaway(name, best[1], "", best[0]) if best[0] >= NEARLY_ALL else None


def _values(cells: Sequence[object], half: np.ndarray) -> list[Hashable]:
    return [str(cell) for cell in cells]


def _beginnings(cells: Sequence[object], half: np.ndarray) -> list[Hashable]:
    """The letters that each begins with, as of `spam-0017`, or what stands before a mark."""
    return [(_BEGINS.match(str(cell)) or [""])[0] for cell in cells]


def _bins(cells: Sequence[object], half: np.ndarray) -> list[Hashable]:
    """In which of some equal parts of all in order each lies, where rows are sorted by class."""
    numbers = _numbers(cells)
    finite = numbers[np.isfinite(numbers)]
    # Of narrow parts the other half would often have no row.
    parts = min(_BINS, len(finite) // _LEAST_IN_BIN)
    if parts < 2:
        return [""] * len(numbers)
    edges = np.unique(np.quantile(finite, np.linspace(0, 1, parts + 1)[1:-1])).tolist()
    return [bisect.bisect(edges, number) for number in numbers.tolist()]


def _numbers(cells: Sequence[object]) -> np.ndarray:
    """Cells as numbers; if one is none, as of dates, their places in the order of letters."""
    spelled = [str(cell) for cell in cells]
    try:
        return np.array([float(each) for each in spelled])
    except ValueError:
        places = {each: at for at, each in enumerate(sorted({*spelled}))}
        return np.array([places[each] for each in spelled], float)


def saved(keys: Sequence[Hashable], labels: Sequence[str], half: np.ndarray) -> float:
    """The share of the most frequent class' mistakes that keys save, each half by the other.

    Args:
        keys: A key for each row; rows of a key are given the class that most of them have.
        labels: The class of each row.
        half: As `halves` gives it.
    """
    wrong = usual = 0
    for asked in (half, ~half):
        by_key: dict[Hashable, collections.Counter[str]] = collections.defaultdict(
            collections.Counter
        )
        every: collections.Counter[str] = collections.Counter()
        for row in np.flatnonzero(~asked).tolist():
            by_key[keys[row]][labels[row]] += 1
            every[labels[row]] += 1
        if not every:
            return 0.0
        most = every.most_common(1)[0][0]
        for row in np.flatnonzero(asked).tolist():
            told = by_key[keys[row]].most_common(1)[0][0] if keys[row] in by_key else most
            wrong += told != labels[row]
            usual += most != labels[row]
    return 1 - wrong / usual if usual else 0.0


def of_words(
    texts: Sequence[str], members: np.ndarray, classes: Sequence[str], half: np.ndarray
) -> list[Giveaway]:
    """Single words that are in nearly all texts of a class, and in hardly any other.

    Args:
        texts: The texts `[n]`.
        members: Whether each is of each class, bool `[n, classes]`.
        classes: Their names.
        half: As `halves` gives it.

    Returns:
        The best word of each class that has one, by the half in which it is worse.
    """
    reader = CountVectorizer(
        binary=True, token_pattern=_WORDS, min_df=LEAST, max_features=_MOST_WORDS, dtype=np.int32
    )
    try:
        there = reader.fit_transform(texts)
    except ValueError:  # no word stands in so many texts
        return []
    told = np.stack([_saved_by_words(there[rows], members[rows]) for rows in (half, ~half)]).min(
        axis=0
    )
    words = reader.get_feature_names_out()
    found = []
    for place, name in enumerate(classes):
        word = int(told[:, place].argmax())
        if told[word, place] >= NEARLY_ALL:
            found.append(Giveaway(str(words[word]), "a word", name, float(told[word, place])))
    return sorted(found, key=lambda each: -each.saved)


def _saved_by_words(there: object, members: np.ndarray) -> np.ndarray:
    """The share of mistakes that each word saves of each class `[words, classes]`."""
    own = members.astype(np.int32)
    with_word = np.asarray(there.sum(axis=0)).reshape(-1, 1)  # type: ignore[attr-defined]
    both = np.asarray(there.T @ own)  # type: ignore[attr-defined]
    of_class = own.sum(axis=0)
    usual = np.minimum(of_class, len(own) - of_class)
    wrong = with_word + of_class - 2 * both
    return np.where(usual >= LEAST, 1 - wrong / np.maximum(usual, 1), 0.0)
