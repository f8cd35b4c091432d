"""What was found of data: rows, classes and columns, with why and what to do."""

import dataclasses
import json
from collections.abc import Sequence


@dataclasses.dataclass(frozen=True)
class Row:
    """A row of data.

    Attributes:
        split: Of which of the splits it is.
        number: What its source calls it: of a file that is read by lines the number of the line.
        texts: Its texts, one or those of a pair or triplet.
        label: Its label as the task reads it; `None` if it has none.
    """

    split: str
    number: int
    texts: tuple[str, ...]
    label: object = None


@dataclasses.dataclass(frozen=True)
class Found:
    """A row that something was found of.

    Attributes:
        row: Its place among all rows.
        score: How suspicious that makes it, from 0 to 1.
        why: What was found, in a few words.
        suggested: Another label for it.
        group: Of rows that belong together the same number.
    """

    row: int
    score: float
    why: str
    suggested: object = None
    group: int | None = None


@dataclasses.dataclass(frozen=True)
class Finding:
    """What was looked for, and what was found.

    Attributes:
        name: What it is called.
        count: How many rows, classes or columns it is of.
        says: What was found, in a line.
        advice: What to do about it.
        rows: Its rows, the most suspicious first, or group by group.
        heads: What the columns of `cells` are called, of a finding that isn't of single rows.
        cells: Its classes, words or columns, one a row.
        suspicious: Whether its rows belong into a list of suspects.
    """

    name: str
    count: int
    says: str
    advice: str
    rows: Sequence[Found] = ()
    heads: tuple[str, ...] = ()
    cells: Sequence[tuple[object, ...]] = ()
    suspicious: bool = True


def spelled(label: object) -> str:
    """A label as a cell of a table: a class as it is called, several with `|` between.

    Args:
        label: As the task reads it; `None` for none.

    Example:

    >>> spelled("a"), spelled(("a", "b")), spelled(2.0), spelled(None)
    ('a', 'a|b', '2', '')
    """
    if label is None or isinstance(label, str):
        return label or ""
    if isinstance(label, (list, tuple)) and all(isinstance(each, str) for each in label):
        return "|".join(label)
    if isinstance(label, float):
        # Not fewer digits than it has, or numbers that differ would be one.
        return repr(float(label)).removesuffix(".0")
    return json.dumps(label, ensure_ascii=False, default=str)


def names_of_texts(count: int) -> tuple[str, ...]:
    """What columns of so many texts are called.

    Args:
        count: How many texts a row has.
    """
    return ("text",) if count == 1 else ("text_a", "text_b", "text_c")[:count]
