"""Texts and labels from outside: strings that can be written again, or a line that says why not."""

import decimal
import json
import math
import re
import textwrap
from collections.abc import Iterable, Mapping
from typing import TypeVar

from tfhub_transfer.errors import InputError
from tfhub_transfer.incoming import values

_T = TypeVar("_T")

LONGEST_NAME = 1000
_QUOTED = 60
# Of a line on a screen.
_COLUMNS = 120
# A whole number as a table writes it whose column had gaps.
_WHOLE = re.compile(r"-?\d+\.0+")
# How Python spells bytes that it can't decode: each has this number more.
_BYTES = 0xDC00
_BYTE = re.compile("[\udc80-\udcff]")
_UNSEEN_IN_JSON = re.compile("[\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def require_text(value: object, place: str) -> str:
    """Returns a text that is a string of whole characters.

    Args:
        value: What should be one.
        place: How to name it in a message, such as "row 3 of the texts".

    Raises:
        InputError: If it isn't a string, or holds half a character, which no file can hold.

    Example:

    >>> require_text("fine", "row 1")
    'fine'
    """
    if not isinstance(value, str):
        kind = type(value).__name__
        raise InputError(
            f"{place}: every text must be a string. Received: {_quoted(value)} ({kind})"
        )
    return require_whole(value, place)


def require_whole(text: str, place: str) -> str:
    r"""Returns a string that has no lone surrogate, as JSON's `"\ud83d"` cut in its middle has one.

    Args:
        text: The string.
        place: How to name it in a message.

    Raises:
        InputError: If it has one.
    """
    # ASCII has no halves of characters, and it is quickly known.
    if not text.isascii():
        try:
            text.encode("utf-8")
        except UnicodeEncodeError as error:
            raise InputError(
                f"{place}: half a character, a lone surrogate, which can't be written; a text was "
                "cut inside of an emoji, or badly decoded: mend or drop it. Received: "
                f"{_quoted(text[max(0, error.start - 20) : error.start + 20])}"
            ) from error
    return text


def require_decoded(text: str, place: str) -> str:
    """Returns a string in which no byte stands that isn't UTF-8, as `surrogateescape` reads it.

    Only of what was just decoded: in JSON's own strings such a half may be that of an emoji.

    Args:
        text: The string.
        place: How to name it in a message.

    Raises:
        InputError: If it has one.
    """
    if not text.isascii() and (odd := _BYTE.search(text)):
        raise InputError(
            f"{place}: a byte that isn't UTF-8, 0x{ord(odd[0]) - _BYTES:02x}; mend it, or name the "
            "file's encoding, as with `--encoding cp1252`. Received: "
            f"{_quoted(text[max(0, odd.start() - 20) : odd.start() + 20])}"
        )
    return text


def require_whole_label(label: _T, place: str) -> _T:
    """Returns a label, of whatever shape, in which every string is whole.

    Args:
        label: A string, a number, or lists and dictionaries of them.
        place: How to name it in a message.

    Raises:
        InputError: If a string in it has a lone surrogate.
    """
    if isinstance(label, str):
        require_whole(label, place)
    elif isinstance(label, Mapping):
        for value in (*label.keys(), *label.values()):
            require_whole_label(value, place)
    elif isinstance(label, (list, tuple)):
        for value in label:
            require_whole_label(value, place)
    return label


def counted(count: int, one: str) -> str:
    """So many of something, in words.

    Args:
        count: How many.
        one: What one of them is called.

    Example:

    >>> counted(1, "row"), counted(2000, "row")
    ('1 row', '2,000 rows')
    """
    return f"{count:,} {one}{'s' * (count != 1)}"


def listed(texts: object) -> list[object]:
    """Rows as a list.

    Args:
        texts: Anything that can be gone through in order, but one string, a dictionary or a table.

    Raises:
        InputError: If it can't.
    """
    texts = values.plain(texts) if hasattr(texts, "ragged_rank") else texts
    if isinstance(texts, (str, bytes, Mapping)) or not isinstance(texts, Iterable):
        kind = "one string" if isinstance(texts, str) else type(texts).__name__
        raise InputError(f"expected a list of texts. Received: {kind}, {_quoted(texts)}")
    if isinstance(texts, (set, frozenset)) or values.column_names(texts) is not None:
        raise InputError(
            "expected a list of texts; a set has no order, and of a table name a column. "
            f"Received: {type(texts).__name__}"
        )
    try:
        return list(texts)
    except TypeError as error:  # an array of no dimension
        raise InputError(f"expected a list of texts. Received: {_quoted(texts)}") from error


def class_name(label: object) -> str:
    """One spelling for a class, whatever the file's format said: 1, 1.0, "1" and "1.0" are one.

    Args:
        label: A string or a number.

    Raises:
        InputError: If it is neither, or no name: longer than `LONGEST_NAME`, or with half a
            character or a NUL in it.

    Example:

    >>> class_name(1.0), class_name(" good ")
    ('1', 'good')
    """
    label = values.plain(label)
    known = isinstance(label, (str, int, float, decimal.Decimal)) and not values.is_missing(label)
    if not known or (isinstance(label, float) and math.isinf(label)):
        raise InputError(
            f"a class must be named by a string or a number. Received: {_quoted(label)} "
            f"({type(label).__name__})"
        )
    if isinstance(label, float) and label.is_integer():
        label = int(label)
    name = require_whole(str(label).strip(), "the name of a class")
    name = name.partition(".")[0] if _WHOLE.fullmatch(name) else name
    if len(name) > LONGEST_NAME or "\0" in name:
        raise InputError(
            f"the name of a class has at most {LONGEST_NAME:,} characters, none of them NUL; check "
            f"the label column. Received: {len(name):,} characters, {_quoted(name)}"
        )
    return name


def json_line(value: object) -> str:
    r"""A value as JSON that a terminal may show: what would turn or hide text is spelled `\uXXXX`.

    Args:
        value: What JSON can hold. Numbers that it lacks are written by the names that Python reads:
            whoever has none of a file's own sees to it (`writing.plain`).

    Example:

    >>> print(json_line({"text": "naïve \x1b \u202e"}))
    {"text": "naïve \u001b \u202e"}
    """
    return unseen_spelled(json.dumps(value, ensure_ascii=False))


def unseen_spelled(text: str) -> str:
    """JSON with control characters and bidirectional marks in its strings spelled as escapes."""
    return _UNSEEN_IN_JSON.sub(lambda found: f"\\u{ord(found.group()):04x}", text)


def _quoted(value: object) -> str:
    shown = repr(value[:_QUOTED] if isinstance(value, (str, bytes)) else value)
    return shown if len(shown) <= 2 * _QUOTED else shown[: 2 * _QUOTED] + "…"


def shown(value: float | None, digits: int = 4) -> str:
    """A number as reports show it: with so many decimals, unless they would show nothing of it."""
    if value is None:
        return "-"
    plain = value == 0 or 0.5 * 10**-digits <= abs(value) < 1e9
    return f"{value:.{digits}f}" if plain else f"{value:.{digits}g}"


def wrapped(text: str) -> str:
    """A sentence for a screen: what is too long for one line goes on, indented, below.

    Example:

    >>> [len(line) for line in wrapped("many words " * 12).splitlines()]
    [120, 14]
    """
    if len(text) <= _COLUMNS:
        return text
    return textwrap.fill(text, _COLUMNS, subsequent_indent="    ", break_on_hyphens=False)
