"""Texts to ask about, in the forms in which people have them, as columns of strings.

A dictionary or a table gone through as a list would give the names of its columns, and answers to
those: what isn't understood is refused.
"""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from tfhub_transfer.errors import InputError
from tfhub_transfer.incoming import values, wording
from tfhub_transfer.shapes import Row
from tfhub_transfer.texts import joining

# Other names of the columns that models read, in the order in which they are looked for.
_NAMES = {
    "document": ("sentences", "document", "text"),
    "question": ("question", "text_a"),
    "context": ("context", "text_b"),
}
_OF_WORDS = ("tokens", "text")


def columns(given: object, signature: Sequence[str], listed: bool = False) -> list[list[object]]:
    """The texts of each column that a model reads.

    Args:
        given: A list, tuple, array, tensor or series of texts, or of tuples of texts where there
            are several columns; a dictionary of such by name, a table with columns of these names,
            or a list of dictionaries.
        signature: Names of the columns that the model reads.
        listed: Whether a text may be a list of its words or sentences; those are put together as
            `joining.join_words` does.

    Raises:
        InputError: If it is something else.

    Example:

    >>> columns([{"text": "a", "id": 1}], ["text"]), columns([("a", "b")], ["text_a", "text_b"])
    ([['a']], [['a'], ['b']])
    """
    wanted = [
        _OF_WORDS if listed and name == "text" else _NAMES.get(name, (name,)) for name in signature
    ]
    held = getattr(given, "columns", None)
    examples = isinstance(held, Mapping)
    texts = getattr(given, "texts", ()) if examples else ()
    given = held if examples else given
    names = values.column_names(given)
    if len(texts) == len(wanted):  # whatever else their source calls so
        found = [list(column) for column in texts]
    elif names is not None:
        chosen = [_choose(each, names, wanted) for each in wanted]
        found = [_rows(values.column(given, name), f"column {name!r}") for name in chosen]
    else:
        found = _columns(_rows(given, "the texts"), wanted)
    return [
        [_text(row, listed, place) for place, row in enumerate(column, start=1)]
        for column in (found if examples else [_unmarked(each, listed) for each in found])
    ]


def _unmarked(column: list[object], listed: bool = True) -> list[object]:
    """Texts as plain ones, whatever separators are in them; those of examples may be lists."""
    kept = joining.Joined if listed else ()
    return [
        joining.plain(row) if isinstance(row, str) and not isinstance(row, kept) else row
        for row in column
    ]


def _columns(rows: list[object], wanted: Sequence[Sequence[str]]) -> list[list[object]]:
    """Rows, each of them a text, or a tuple or dictionary of several, as columns."""
    records = [_record(row, wanted) for row in rows]
    if rows and None not in records:
        known = [record for record in records if record is not None]
        chosen = [_choose(each, list(known[0]), wanted) for each in wanted]
        for place, record in enumerate(known, start=1):
            lacking = [name for name in chosen if name not in record]
            if lacking:
                raise InputError(
                    f"row {place} of the texts lacks {lacking[0]!r}; fill it in or drop the row. "
                    "Received: "
                    f"{', '.join(map(repr, record)) or 'nothing'}"
                )
        return [[record[name] for record in known] for name in chosen]
    if len(wanted) == 1:
        return [rows]
    parts = [row for row in rows if isinstance(row, (tuple, list, np.ndarray))]
    if len(parts) < len(rows) or any(len(row) != len(wanted) for row in parts):
        raise InputError(
            f"the model reads {_words(len(wanted))}: expected a list of {_row(wanted)}, a "
            f"dictionary or a table with these columns. Received: {_shown(rows[:1])}"
        )
    return [[row[place] for row in parts] for place in range(len(wanted))]


def _row(wanted: Sequence[Sequence[str]]) -> str:
    """A row as one writes it as a tuple."""
    return f"({', '.join(each[0] for each in wanted)})"


def _words(count: int) -> str:
    return "pairs" if count == 2 else f"{count} texts a row"


def _record(row: object, wanted: Sequence[Sequence[str]]) -> Row | None:
    """A row whose texts have names: a dictionary, or a tuple with the names that are wanted."""
    if isinstance(row, Mapping):
        return row
    if not isinstance(row, tuple) or not hasattr(row, "_asdict"):
        return None
    names = getattr(row, "_fields", ())
    fits = all(set(each) & set(names) for each in wanted)
    return row._asdict() if fits else None


def _choose(
    wanted: Sequence[str], names: Sequence[str], all_wanted: Sequence[Sequence[str]]
) -> str:
    found = next((name for name in wanted if name in names), None)
    if found is None:
        alone = "texts" if len(all_wanted) == 1 else _row(all_wanted)
        raise InputError(
            f"the model reads the column {' or '.join(map(repr, wanted))}, and there is none; "
            f"rename the column, or give a list of {alone}. "
            f"Received: {', '.join(map(repr, names[:20])) or 'no columns'}"
        )
    return found


def _rows(given: object, place: str) -> list[object]:
    """What can be gone through in order, as a list of Python's own values."""
    if isinstance(given, (str, bytes)):
        raise InputError(
            f"expected a list of texts; put a single one in brackets. Received: one string, "
            f"{_shown(given)}, for {place}"
        )
    if not isinstance(given, Iterable) or values.column_names(given) is not None:
        raise InputError(
            f"expected a list of texts; give one. Received: {type(given).__name__} for {place}"
        )
    if isinstance(given, (set, frozenset)):
        raise InputError(
            f"a set has no order in which to answer; give a list. Received: a set for {place}"
        )
    twins = isinstance(given, tuple) and len(given) == 2
    if twins and all(isinstance(each, list) and len(each) == 2 for each in given):
        raise InputError(
            "two lists in a tuple could be two columns or two rows; give a list of tuples, as "
            f"`list(zip(first, second))` does. Received: {_shown(given)}"
        )
    return wording.listed(given)


def _text(row: object, listed: bool, place: int) -> object:
    """A row as a string, if it stands for one; rows are checked where examples are made."""
    if isinstance(row, (str, bytes)):
        return row
    value = values.plain(row) if listed else values.alone(row)
    if isinstance(value, list) and not listed:
        raise InputError(
            f"row {place} of the texts is a list of {len(value)}; the model reads single texts: "
            f"join words with spaces, or give a column alone. Received: {_shown(value)}"
        )
    if listed and isinstance(value, list) and all(isinstance(word, str) for word in value):
        joining.require_last(value, f"row {place} of the texts")
        return joining.join_words(value)
    return value


def _shown(value: object) -> str:
    shown = repr(value)
    return shown if len(shown) <= 80 else f"{shown[:80]}…"


def rows(given: object) -> list[object]:
    """Texts as `joining.plain` has them, or all of them lists of words put together, as a list.

    Args:
        given: Anything that can be gone through in order.

    Raises:
        InputError: If it can't.
    """
    plain = [
        row if isinstance(row, joining.Joined) else values.plain(row)
        for row in wording.listed(given)
    ]
    lists = [row for row in plain if isinstance(row, list) and all(isinstance(w, str) for w in row)]
    if len(lists) < len(plain):
        return _unmarked(plain)
    for number, row in enumerate(lists, start=1):
        joining.require_last(row, f"row {number} of the texts")
    return [joining.join_words(row) for row in lists]
