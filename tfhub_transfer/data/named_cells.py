"""Rows of a table under our names of columns: texts that are texts, labels that are there."""

import contextlib
import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from tfhub_transfer.data import weighing
from tfhub_transfer.data.forms import LABEL, TAGS, TEXT, TEXT_A, TEXT_B, TEXT_C, TOKENS
from tfhub_transfer.data.weighing import WEIGHT
from tfhub_transfer.errors import InputError
from tfhub_transfer.incoming import values, wording
from tfhub_transfer.shapes import Row
from tfhub_transfer.texts import joining

_T = TypeVar("_T")

# What `require_label` says where a blank label means that a text has no class.
OR_BLANK = "or blank"
# As `repr` writes bytes: in double quotes where a single one is inside.
_BYTES = re.compile(r"""b'[^']*'|b"[^"]*"|b'(?:[^'\\]|\\.)*'""", re.S)


def of_row(
    row: Row, place: str, names: Mapping[str, str], require_label: bool | str
) -> dict[str, object]:
    """One row under our names, checked.

    Args:
        row: As the source has it.
        place: The row, for messages.
        names: Our names of columns with those in the source, which may be paths.
        require_label: Whether there must be a label; `OR_BLANK` takes a blank one for none.

    Raises:
        InputError: If a text or a label isn't there, or is none.
    """
    row = _unwritten(_with_parts(row, names), names)
    taken = {TEXT, TEXT_A, TEXT_B, TEXT_C, LABEL, *names.values()}
    # A column that goes by one of our names and wasn't chosen would be taken for what was.
    cells = {key: value for key, value in row.items() if key not in taken}
    for name, column in names.items():
        optional = name == LABEL and not require_label
        if column not in row and not optional:
            raise InputError(
                f"{place}: the row lacks {column!r}; fill it in or drop the row. Received: "
                f"{', '.join(map(repr, row)) or 'nothing'}"
            )
        value = row.get(column)
        if (
            name == LABEL
            and require_label == OR_BLANK
            and isinstance(value, str)
            and not value.strip()
        ):
            cells[name] = []
            continue
        if optional and values.is_nothing(value):
            cells[name] = None
            continue
        check = _CHECKS.get(name, _text)
        cells[name] = check(value, f"{place}: column {column!r}")
    words, tags = row.get(names.get(TEXT, "")), cells.get(LABEL)
    if isinstance(words, (list, tuple)):
        if not words:
            raise InputError(f"{place}: column {names[TEXT]!r} must hold a word. Received: none")
        if names.get(LABEL) == TAGS and tags is not None:
            _check_tags(words, tags, f"{place}: column {names[TEXT]!r}")
    return cells


def require_texts(row: Row, place: str, names: Mapping[str, str]) -> None:
    """Refuses a row in which a text is null; `of_row` takes it for an empty one.

    Args:
        row: As the source has it, of which `of_row` had nothing to say.
        place: As of `of_row`.
        names: As of `of_row`.

    Raises:
        InputError: If one is.
    """
    for name, column in names.items():
        if name in (TEXT, TEXT_A, TEXT_B, TEXT_C) and _is_null(_with_parts(row, names)[column]):
            raise InputError(
                f"{place}: column {column!r} has no text; fill it in, with an empty one if that "
                "is meant. Received: null"
            )


def _with_parts(row: Row, names: Mapping[str, str]) -> Row:
    """A row that also has the parts of its columns that are named by paths."""
    found: dict[str, object] = {}
    for path in names.values():
        if path not in row and "." in path:
            with contextlib.suppress(KeyError):
                found[path] = values.part(row, path)
    return {**row, **found} if found else row


def _unwritten(row: Row, names: Mapping[str, str]) -> Row:
    """A row whose words and tags are lists, as CSV can only write them as text."""
    columns = [names[name] for name in (TEXT, LABEL) if name in names and names[name] in row]
    cells = {column: cell for column in columns if isinstance(cell := row[column], str)}
    lists: dict[str, Sequence[object] | None] = {
        column: values.written(cell) or (values.braced(cell) if column in (TOKENS, TAGS) else None)
        for column, cell in cells.items()
    }
    found = {column: each for column, each in lists.items() if each}
    # A text may stand in brackets; as many tags beside it say that it is a list.
    alike = len(found) == 2 and len({len(each) for each in found.values()}) == 1
    return {**row, **{c: each for c, each in found.items() if alike or c in (TOKENS, TAGS)}}


def _check_tags(words: Sequence[str], tags: object, place: str) -> None:
    count = len(tags) if isinstance(tags, (list, tuple)) else 1
    if len(words) != count:
        raise InputError(
            f"{place}: every word must have a tag; mend the row. Received: {len(words)} words and "
            f"{count} tags, in {' '.join(map(str, words))[:60]!r}"
        )


def _text(value: object, place: str) -> str:
    if _is_null(value):
        return ""
    if isinstance(value, (list, tuple)) and all(isinstance(word, str) for word in value):
        joining.require_last(value, place)
        return joining.join_words([wording.require_whole(word, place) for word in value])
    value = _unpacked(value, place)
    if not isinstance(value, (str, int, float)):
        inside = next(iter(value), "") if isinstance(value, Mapping) else ""
        name = f"; name a part of it, as `COLUMN.{inside}` does" if inside else ""
        raise InputError(
            f"{place} must hold a text, or a list of words{name}. Received: {str(value)[:60]}"
        )
    return joining.plain(wording.require_whole(str(value), place))


def _is_null(value: object) -> bool:
    # pandas has NaN in blank cells, of texts too.
    return value is None or (isinstance(value, float) and math.isnan(value))


def _unpacked(value: _T, place: str) -> _T | str:
    """Bytes as text."""
    try:
        return value.decode("utf-8") if isinstance(value, bytes) else value
    except UnicodeDecodeError as error:
        raise InputError(
            f"{place} holds bytes that aren't UTF-8; name another column, or write it as text. "
            f"Received: {value!r:.60}"
        ) from error


def require_decoded(texts: Sequence[str], source: str) -> None:
    """Refuses a column of bytes that Python wrote as text, whose marks would be read as text.

    Args:
        texts: Some of the column.
        source: Where they come from.

    Raises:
        InputError: If all of them are.

    Example:

    >>> require_decoded(["b'fine'", "fine"], "x.csv")
    """
    said = [text for text in texts if text.strip()]
    # A single one may be meant so.
    if len(said) > 1 and all(map(_BYTES.fullmatch, said)):
        raise InputError(
            "the texts are bytes that Python wrote as text; write them anew, decoded, as with "
            f"`.str.decode('utf-8')`. Received: {source} with {said[0]:.60}"
        )


def given_label(value: object, place: str) -> object:
    """A label of a list; a blank one may stand for no class, which the task knows.

    Args:
        value: The label.
        place: The row, for messages.

    Raises:
        InputError: If it is missing, or holds half a character.
    """
    if values.is_missing(value):
        return _label(value, place)
    return wording.require_whole_label(value, place)


def _label(value: object, place: str) -> object:
    if values.is_blank(value) or (isinstance(value, list) and any(map(values.is_blank, value))):
        shown = "nothing" if value is None or str(value) == "" else repr(value)
        raise InputError(
            f"{place} must hold a label; fill it in or drop the row. Received: {shown}"
        )
    return wording.require_whole_label(_unpacked(value, place), place)


# How cells of our columns are checked; all others are texts.
_CHECKS: Mapping[str, Callable[[object, str], object]] = {LABEL: _label, WEIGHT: weighing.number}
