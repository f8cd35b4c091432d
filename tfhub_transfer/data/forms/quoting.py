"""Whether a table's fields quote: told by the fields themselves, read both ways."""

import collections
import csv
import dataclasses
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

from tfhub_transfer.errors import InputError

STANDARD, NONE, BACKSLASH, ESCAPES = "standard", "none", "backslash", "escapes"
_FIELD_LIMIT = 2**31 - 1  # a text may be long; the csv module stops at 128 KiB otherwise
_WELL_FORMED = re.compile(r'"(?:[^"]|"")*"')
_PAIR = re.compile(r"\\(.)", re.S)
_ESCAPED = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f", "v": "\v", "0": "\0"}
# One reading is believed against evidence for the other if it has so many times as much.
_MANY = 10

Lines = Callable[[], Iterator[str]]


class Reader(Protocol):
    """What goes through records, as `csv.reader` makes it."""

    @property
    def line_num(self) -> int:
        """How many lines it has read."""

    def __iter__(self) -> Iterator[list[str]]: ...

    def __next__(self) -> list[str]: ...


def reader(lines: Iterable[str], delimiter: str, quoting: str) -> Reader:
    """A reader of fields.

    Args:
        lines: The lines of a table.
        delimiter: What stands between two fields.
        quoting: `"standard"`, `"none"`, `"backslash"`, `"escapes"` (whose fields are for
            `unescaped`), or another mark than `"`, which is doubled inside of fields.
    """
    # Of the whole process: the csv module has no other.
    csv.field_size_limit(_FIELD_LIMIT)
    if quoting in (NONE, ESCAPES):
        return csv.reader(lines, delimiter=delimiter, quoting=csv.QUOTE_NONE, strict=True)
    if quoting == BACKSLASH:
        return csv.reader(
            _kept(lines, delimiter),
            delimiter=delimiter,
            doublequote=False,
            escapechar="\\",
            strict=True,
        )
    mark = '"' if quoting == STANDARD else quoting
    # Strict, or text behind a closing quote would be taken in without a word.
    return csv.reader(lines, delimiter=delimiter, quotechar=mark, strict=True)


def unescaped(field: str) -> str:
    r"""What a field says in which a backslash stands before ends of lines, tabs and backslashes.

    Args:
        field: As PostgreSQL's COPY, MySQL and ClickHouse write it; `\N`, which is none, stays.

    Example:

    >>> print(unescaped(r"it\'s a \\"), unescaped(r"\N"))
    it's a \ \N
    """
    if "\\" not in field or field == "\\N" or _is_list(field):
        return field
    return _PAIR.sub(lambda pair: _ESCAPED.get(pair[1], pair[1]), field)


def _is_list(field: str) -> bool:
    """Whether a field is a list, whose items spell their own."""
    return field[:1] == "[" and field[-1:] == "]"


def escapes(lines: Iterable[str], delimiter: str) -> tuple[str, str | None]:
    """Whether fields that don't quote have backslashes as databases write them.

    Args:
        lines: Some of the file's lines.
        delimiter: What stands between two fields.

    Returns:
        `"escapes"` or `"none"`, and a line that says so.
    """
    pairs: collections.Counter[str] = collections.Counter()
    nothing = bare = 0
    for line in lines:
        for field in line.rstrip("\r\n").split(delimiter) if {"\\", "'"} & {*line} else ():
            if _is_list(field):
                continue
            odd = (len(field) - len(field.rstrip("\\"))) % 2
            pairs.update(_PAIR.findall(field))
            bare += field.count("'")
            nothing += field == "\\N"
            if odd or not {*pairs} <= {*"\\'\"ntrbfv0N"}:
                return NONE, None
    written = bool({*"ntr"} & {*pairs})
    # Code, formulas and paths have the same pairs; only who writes escapes writes all of them so.
    if pairs["'"] == bare > 0 or (written and nothing):
        return ESCAPES, _said_of_escapes(ESCAPES)
    return NONE, _said_of_escapes(NONE) if written else None


def _said_of_escapes(quoting: str) -> str:
    if quoting == ESCAPES:
        return (
            "backslashes mean ends of lines and tabs, as databases write; `--quoting none` doesn't"
        )
    return "backslashes are part of the text; `--quoting escapes` makes ends of lines of \\n"


def _kept(lines: Iterable[str], delimiter: str) -> Iterator[str]:
    """Lines whose backslashes before anything else than a mark are doubled, to be backslashes."""
    escaping = ('"', "\\", delimiter, "\n", "\r")
    for line in lines:
        yield (
            line
            if "\\" not in line
            else _PAIR.sub(lambda pair: pair[0] if pair[1] in escaping else f"\\{pair[0]}", line)
        )


@dataclasses.dataclass
class _Signs:
    """What fields with quotation marks look like, where each line is a row.

    Attributes:
        doubled: Fields in quotes, with doubled ones inside: only who quotes writes them.
        open: Fields that begin with a quotation mark and don't end as quoted ones do.
        inside: Fields that hold a quotation mark and don't begin with one: who quotes would have
            quoted them.
        whole: Other fields in quotes.
        with_comma: Those of them that hold a comma, for which Excel quotes.
        first: The line of the first that doesn't quote.
    """

    doubled: int = 0
    open: int = 0
    inside: int = 0
    whole: int = 0
    with_comma: int = 0
    first: int = 0

    def count(self, line: str, delimiter: str, number: int) -> None:
        for field in line.split(delimiter):
            if '"' not in field:
                continue
            if not field.startswith('"'):
                self.inside += 1
            elif not _WELL_FORMED.fullmatch(field):
                self.open += 1
            elif '""' in field[1:-1]:
                self.doubled += 1
                continue
            else:
                self.whole += 1
                self.with_comma += "," in field
                continue
            self.first = self.first or number


def decide(lines: Lines, delimiter: str, place: str) -> tuple[str, str | None]:
    """Whether the fields of a file quote, and a line that says so where it could be otherwise.

    Args:
        lines: Begins to read the file's lines, of which one at least has a quotation mark.
        delimiter: What stands between two fields.
        place: The file, for messages.

    Raises:
        InputError: If some fields say that they quote, and others that they don't.
    """
    header = next(lines()).rstrip("\r\n").split(delimiter)
    if all(len(name) > 1 and _WELL_FORMED.fullmatch(name) for name in header):
        return STANDARD, None
    signs, by_line = _survey(lines, delimiter, len(header))
    by_quotes = _fits(lines, delimiter, len(header))
    against = signs.open + signs.inside
    if by_quotes and not by_line:
        return STANDARD, None
    # Neither has more than ten times the evidence of the other.
    if by_quotes == by_line and 0 < signs.doubled <= _MANY * against <= _MANY**2 * signs.doubled:
        raise InputError(
            f"{place}: {signs.doubled} fields are quoted, with quotes doubled inside, but "
            f"{against} with quotation marks aren't, as in line {signs.first}; say which is "
            "meant with `--quoting standard` or `--quoting none` (in Python "
            "`data.File(path, quoting=...)`). Received: both"
        )
    if signs.doubled > _MANY * against:
        why = f"{signs.doubled} fields double those inside"
        return STANDARD, _said(STANDARD, why) if by_line else None
    if against:
        return NONE, _said(NONE, f"as line {signs.first} shows")
    excel = signs.with_comma == signs.whole and not _has_bare_comma(lines, delimiter)
    if excel:
        return STANDARD, _said(STANDARD, "fields with a comma are quoted, as Excel does")
    return NONE, _said(NONE, f"{signs.whole} fields without need of quotes have them")


def _survey(lines: Lines, delimiter: str, count: int) -> tuple[_Signs, bool]:
    """What fields look like if nothing is quoted, and whether all lines then have as many."""
    signs, alike = _Signs(), True
    for number, line in enumerate(lines(), start=1):
        line = line.rstrip("\r\n")
        alike &= not line or line.count(delimiter) + 1 == count
        if '"' in line:
            signs.count(line, delimiter, number)
    return signs, alike


def _fits(lines: Lines, delimiter: str, count: int) -> bool:
    """Whether all rows have as many fields if they quote."""
    try:
        return all(len(fields) in (0, count) for fields in reader(lines(), delimiter, STANDARD))
    except csv.Error:
        return False


def _has_bare_comma(lines: Lines, delimiter: str) -> bool:
    return any(
        "," in field and not field.startswith('"')
        for line in lines()
        if "," in line
        for field in line.split(delimiter)
    )


def _said(quoting: str, why: str) -> str:
    other = NONE if quoting == STANDARD else STANDARD
    what = "quote" if quoting == STANDARD else "don't quote, quotation marks are part of the text"
    return f"fields {what} ({why}); `--quoting {other}` reads otherwise"
