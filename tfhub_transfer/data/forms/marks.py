r"""Quotation marks of tables that aren't `"`, or that a backslash escapes: told by a file's start.

A writer that quotes leaves no mark in a field without quotes, doubles those inside of others or
puts a backslash before each. Where all that is looked at keeps to that, and reading otherwise would
leave marks in texts or break rows, it is so.
"""

import csv
import dataclasses
import io
import itertools
import re
from collections.abc import Callable, Iterator

from tfhub_transfer.data.forms.quoting import BACKSLASH, STANDARD
from tfhub_transfer.errors import InputError

Lines = Callable[[], Iterator[str]]

# What other programs quote with.
_MARKS = "'|~^$%*@#`"
# Of them, those that text may have thrice around words.
_OF_MARKDOWN = "*#`"
# How much of a file is looked at.
_LINES, _CHARACTERS = 10_000, 500_000
# Lines that the last field may have, where not all of a file is looked at.
_CUT = 100
# Whole columns between marks are believed to be quoted from so many fields on.
_FEW = 3


@dataclasses.dataclass
class _Rows:
    """A file's start in fields, each with whether it is quoted.

    Attributes:
        fields: By row.
        doubled: Fields in quotes with doubled ones inside.
        needed: Fields in quotes with a delimiter or the end of a line inside.
        escaped: Marks, delimiters and backslashes behind what escapes them.
        inner: Marks behind it, inside of fields in quotes.
    """

    fields: list[list[tuple[str, bool]]]
    doubled: int = 0
    needed: int = 0
    escaped: int = 0
    inner: int = 0

    @property
    def fits(self) -> bool:
        """Whether all rows have as many fields, but for empty lines; R's header lacks one."""
        header, *counts = [len(row) for row in self.fields if row != [("", False)]] or [0]
        return len(set(counts)) <= 1 and header in {*counts, *(n - 1 for n in counts)}

    def has_quoted_column(self) -> bool:
        """Whether a column's fields are all quoted, its name too, but for empty ones.

        A name shows that it is a writer's habit: texts may all have marks of their own.
        """
        for column in zip(*(row for row in self.fields if row != [("", False)])):
            said = [is_quoted for field, is_quoted in column if field]
            if len(said) >= _FEW and all(said):
                return True
        return False


def decide(lines: Lines, delimiter: str) -> tuple[str, str] | None:
    r"""How fields quote, if not as usual, and a line that says so; `None` if they quote as usual.

    Args:
        lines: Begins to read the file's lines.
        delimiter: What stands between two fields.

    Returns:
        `"backslash"` or the mark.

    Example:

    >>> decide(lambda: iter(["text,label\n", "'it''s, well','a'\n"]), ",")[0]
    "'"
    """
    text, whole = _start(lines)
    escaped = _escaped(text, delimiter, whole)
    usual: bool | None = None
    found: dict[str, int] = {}
    for mark in _MARKS:
        if mark == delimiter or text.count(mark) < 2:
            continue
        rows = _read(text, delimiter, mark, "", whole)
        if rows is None or not rows.fits:
            continue
        # Once, and only if a mark is in question: it reads all of the start.
        usual = _fits(text, delimiter, whole) if usual is None else usual
        quoted = sum(is_quoted for row in rows.fields for _, is_quoted in row)
        sure = not usual and quoted > 0
        sure |= rows.needed > 0 and _read(text, delimiter, '"', "", whole) is None
        told = rows.has_quoted_column() or (rows.doubled and mark not in _OF_MARKDOWN)
        # Marks that would join rows which are whole by the usual rules stand for themselves.
        if sure or (told and not rows.needed):
            found[mark] = quoted
    best = max(found, key=lambda mark: found[mark], default="")
    if found.get(best, 0) > escaped:
        return best, _said(f"are quoted with {best}")
    return (
        (BACKSLASH, _said(f"have backslashes before marks, {escaped} of them")) if escaped else None
    )


def require_doubled(lines: Lines, delimiter: str, place: str) -> None:
    """Refuses fields between single quotes in which another sign stands before those inside.

    Args:
        lines: Begins to read the file's lines.
        delimiter: What stands between two fields.
        place: The file, for messages.

    Raises:
        InputError: If all single quotes are so, as DuckDB writes them with another `QUOTE` alone.
    """
    text, whole = _start(lines)
    for escape in ('"', "\\"):
        if f"{escape}'" not in text:
            continue
        rows = _read(text, delimiter, "'", escape, whole)
        if rows is not None and rows.fits and rows.inner:
            raise InputError(
                f"{place}: fields are quoted with ', and {escape} stands before those inside, "
                "which isn't read; write it anew with \", or with ' doubled inside (in SQL: the "
                "same QUOTE and ESCAPE), or give `--quoting standard` if all that is part of the "
                f"texts (in Python `data.File(path, quoting=...)`). Received: {escape}', "
                f"{rows.inner} of them"
            )


def _escaped(text: str, delimiter: str, whole: bool) -> int:
    """How many marks and delimiters have a backslash, if that is how the file is written."""
    if '\\"' not in text and f"\\{delimiter}" not in text:
        return 0
    if text.count("\\'") == text.count("'") > 0:
        return 0  # of another mark, which isn't said to be one
    rows = _read(text, delimiter, '"', "", whole)
    if rows is not None and rows.fits:
        return 0
    rows = _read(text, delimiter, '"', "\\", whole)
    return rows.escaped if rows is not None and rows.fits else 0


def _said(what: str) -> str:
    return f"fields {what}; `--quoting {STANDARD}` reads otherwise"


def _start(lines: Lines) -> tuple[str, bool]:
    """The first lines, and whether these are all."""
    held, size, found = [], 0, lines()
    for line in itertools.islice(found, _LINES):
        held.append(line)
        size += len(line)
        if size > _CHARACTERS:
            break
    return "".join(held), next(found, None) is None


def _read(text: str, delimiter: str, mark: str, escape: str, whole: bool) -> _Rows | None:
    """Fields of a text that keeps to the rules of who quotes with a mark; `None` if one doesn't."""
    d, q = re.escape(delimiter), re.escape(mark)
    if escape == "\\":
        held = rf"(?:[^{q}\\]|\\.)*"
        bare = rf"(?:[^{d}{q}\\\r\n]|\\(?:\r\n|.))*"
    elif escape:
        held, bare = rf"(?:[^{q}{escape}]|{escape}.)*", rf"[^{d}{q}\r\n]*"
    else:
        held, bare = rf"[^{q}]*(?:{q}{q}[^{q}]*)*", rf"[^{d}{q}\r\n]*"
    field = re.compile(rf"(?:{q}({held}){q}|({bare}))({d}|\r?\n|\r|\Z)", re.S)
    rows, row, place = _Rows([]), [], 0
    while place < len(text):
        found = field.match(text, place)
        if found is None:
            is_cut = text[place] == mark and text.count("\n", place) <= _CUT
            if whole or not is_cut:
                return None
            break
        inside, plain, end = found.groups()
        row.append((plain if inside is None else inside, inside is not None))
        rows.doubled += inside is not None and mark * 2 in inside
        rows.needed += inside is not None and (delimiter in inside or "\n" in inside)
        rows.inner += (inside or "").count(escape + mark) if escape else 0
        rows.escaped += found.group(0).count("\\" + mark) + (plain or "").count("\\" + delimiter)
        place = found.end()
        if end != delimiter:
            rows.fields.append(row)
            row = []
    if row and whole:
        rows.fields.append([*row, ("", False)])
    return rows


def _fits(text: str, delimiter: str, whole: bool) -> bool:
    """Whether rows have as many fields by the usual rules."""
    records = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        counts = [len(fields) for fields in records if fields]
    except csv.Error:
        return False
    return len(set(counts if whole else counts[:-1])) <= 1
