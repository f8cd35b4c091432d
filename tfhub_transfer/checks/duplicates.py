"""Texts that are the same, or nearly: found among many without comparing each with each."""

import functools
import unicodedata
from collections.abc import Iterator, Sequence

import numpy as np

# Runs of so many characters are compared; two texts are near that share so much of them (Jaccard).
WIDTH, NEAR = 5, 0.8
# Hashes of a text in so many bands of so many. Of two texts that share 0.8 one pair in 20,000 is
# missed, of such that share 0.3 one in 16 is compared for nothing.
_BANDS, _ROWS = 25, 5
# Below so large a share of equal hashes, five standard errors from `NEAR`, nobody compares runs.
_HOPELESS = 0.62
# Of more texts in one place each is compared with the next few only: they are chained all the same.
_ALL_PAIRS, _NEXT = 50, 10
# Runs of a text that are hashed at once: all of a book would take gigabytes.
_AT_ONCE = 1 << 14
# Texts whose runs are kept at hand while pairs are compared.
_KEPT = 4096
# Any odd numbers: what mixes the bits of 64 (Steele et al. 2014), and what a run is read in.
_MIX = (np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))
_BASE = 0x9E3779B97F4A7C15


def normalized(text: str) -> str:
    r"""A text as it is compared: in one form of Unicode, without case, blanks alike.

    Args:
        text: Any text.

    Example:

    >>> normalized("  The ＮＡＭＥ\tof it ")
    'the name of it'
    """
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def same(rows: Sequence[tuple[str, ...]]) -> np.ndarray:
    """A number for each row of texts, int `[n]`: that of the first row with the same texts.

    Args:
        rows: Texts as `normalized` gives them.

    Example:

    >>> same([("a",), ("b",), ("a",)]).tolist()
    [0, 1, 0]
    """
    first: dict[tuple[str, ...], int] = {}
    return np.array([first.setdefault(row, place) for place, row in enumerate(rows)], int)


def shingles(text: str) -> np.ndarray:
    """Hashes of all runs of `WIDTH` characters of a text, uint64, each once (Broder 1997).

    Of a shorter text it is one hash, of all of it.

    Args:
        text: As `normalized` gives it.
    """
    signs = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32).astype(np.uint64)
    width = min(WIDTH, len(signs))
    if not width:
        return np.zeros(1, np.uint64)
    count = len(signs) - width + 1
    found = np.zeros(count, np.uint64)
    with np.errstate(over="ignore"):
        for at in range(width):
            found = found * np.uint64(_BASE) + signs[at : at + count] + np.uint64(1)
        return np.unique(_mixed(found))


def _mixed(values: np.ndarray) -> np.ndarray:
    for shift, factor in zip((30, 27), _MIX):
        values = (values ^ (values >> np.uint64(shift))) * factor
    return values ^ (values >> np.uint64(31))


def overlap(first: np.ndarray, second: np.ndarray) -> float:
    """The share of runs that two texts have in common, of all that either has (Jaccard).

    Args:
        first: Of one text, as `shingles` gives them.
        second: Of the other.
    """
    shared = len(np.intersect1d(first, second, assume_unique=True))
    return shared / (len(first) + len(second) - shared)


def likeness(first: tuple[str, ...], second: tuple[str, ...]) -> float:
    """How much of two rows is the same: `overlap` of the texts that are least alike.

    Args:
        first: The texts of one row, as `normalized` gives them.
        second: Those of the other.
    """
    return min(overlap(shingles(a), shingles(b)) for a, b in zip(first, second))


def near_pairs(rows: Sequence[tuple[str, ...]]) -> Iterator[tuple[int, int]]:
    """Pairs of rows each of whose texts are nearly the same.

    By MinHash (Broder 1997) in bands: what falls into one place of a band is compared. Where very
    many do, not every pair comes, but a chain through all of them.

    Args:
        rows: Texts as `normalized` gives them, no two rows the same.

    Returns:
        Rows, the first before the second, whose likeness is `NEAR` at least.
    """
    if len(rows) < 2:
        return
    made = _signatures(["\n".join(row) for row in rows])
    pairs = _candidates(made)
    alike = np.array([], bool)
    if len(pairs):
        step = 1 << 16
        alike = np.concatenate(
            [
                (made[part[:, 0]] == made[part[:, 1]]).mean(axis=1) >= _HOPELESS
                for part in (pairs[at : at + step] for at in range(0, len(pairs), step))
            ]
        )

    @functools.lru_cache(maxsize=_KEPT)
    def own(row: int) -> list[np.ndarray]:
        return list(map(shingles, rows[row]))

    for first, second in pairs[alike].tolist() if len(pairs) else []:
        if all(overlap(a, b) >= NEAR for a, b in zip(own(first), own(second))):
            yield first, second


def _signatures(texts: Sequence[str]) -> np.ndarray:
    """The least of the runs of each text by each of many orders, uint32 `[n, hashes]`."""
    generator, count = np.random.default_rng(0), _BANDS * _ROWS
    factors = generator.integers(0, 1 << 63, count, np.uint64) * np.uint64(2) + np.uint64(1)
    terms = generator.integers(0, 1 << 63, count, np.uint64)
    made = np.full((len(texts), count), np.iinfo(np.uint32).max, np.uint32)
    with np.errstate(over="ignore"):
        for row, text in enumerate(texts):
            runs = shingles(text)
            for start in range(0, len(runs), _AT_ONCE):
                some = runs[start : start + _AT_ONCE, None]
                ordered = (some * factors + terms) >> np.uint64(32)
                made[row] = np.minimum(made[row], ordered.min(axis=0))
    return made


def _candidates(made: np.ndarray) -> np.ndarray:
    """Pairs of rows that are equal in all hashes of a band `[pairs, 2]`, each once."""
    found = [np.zeros(0, np.int64)]
    for band in range(_BANDS):
        key = np.zeros(len(made), np.uint64)
        with np.errstate(over="ignore"):
            for column in range(band * _ROWS, (band + 1) * _ROWS):
                key = _mixed(key + made[:, column] + np.uint64(1))
        order = np.argsort(key, kind="stable")
        ends = np.flatnonzero(np.diff(key[order])) + 1
        for place in np.split(order, ends):
            if len(place) > 1:
                found.append(_paired(place, len(made)))
    pairs = np.unique(np.concatenate(found))
    return np.stack([pairs // len(made), pairs % len(made)], axis=1)


def _paired(place: np.ndarray, count: int) -> np.ndarray:
    """Pairs of rows of one place, each as one number."""
    most = len(place) - 1 if len(place) <= _ALL_PAIRS else _NEXT
    return np.concatenate([place[:-gap] * count + place[gap:] for gap in range(1, most + 1)])


def joined(count: int, pairs: Sequence[tuple[int, int]]) -> np.ndarray:
    """The least number that each of so many is connected with through pairs, int `[count]`.

    Args:
        count: How many there are.
        pairs: Which are connected.

    Example:

    >>> joined(5, [(3, 4), (1, 3)]).tolist()
    [0, 1, 2, 1, 1]
    """
    above = list(range(count))

    def top(at: int) -> int:
        while above[at] != at:
            above[at] = above[above[at]]
            at = above[at]
        return at

    for first, second in pairs:
        one, other = sorted((top(first), top(second)))
        above[other] = one
    return np.array([top(at) for at in range(count)], int)
