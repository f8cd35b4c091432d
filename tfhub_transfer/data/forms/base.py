"""What every form of file is read to: columns, rows, and what was decided on the way."""

import codecs
import dataclasses
import functools
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from tfhub_transfer.errors import InputError
from tfhub_transfer.shapes import Row

if TYPE_CHECKING:
    import pyarrow

# A row with its number in the source.
Numbered: TypeAlias = tuple[int, Row]

Made = TypeVar("Made")

TOKENS, TAGS, LABEL = "tokens", "tags", "label"
TEXT, TEXT_A, TEXT_B, TEXT_C = "text", "text_a", "text_b", "text_c"
QUOTING = ("auto", "standard", "none", "backslash", "escapes")
# Names for what is hard to type in a shell, which hands on `\t` as two characters.
_DELIMITERS = {"tab": "\t", "\\t": "\t", "comma": ",", "semicolon": ";", "space": " ", "pipe": "|"}


@dataclasses.dataclass(frozen=True)
class File:
    r"""A file with what can't be told by its name and content, or shouldn't be.

    Args:
        path: The file, or `tfds:NAME/SPLIT`.
        quoting: How a table's fields hold quotation marks: `"standard"`, in quotes that are doubled
            inside; `"none"`, as they are; `"backslash"`, in quotes with a backslash before each
            inside; another mark than `"`, which is doubled inside; `"escapes"`, as they are, with
            backslashes before what isn't, as databases copy tables; `"auto"`, what fields show,
            standard where they show nothing.
        delimiter: The character between two fields of a table, or `tab`; by the file's name and
            header if not given.
        encoding: The name of a text's encoding, such as `cp1252`; UTF-8, or what the file's byte
            order mark says, if not given.

    Raises:
        InputError: If one of them isn't known.

    Example:

    >>> File("reviews.csv", encoding="latin1", delimiter="tab")
    File(path='reviews.csv', quoting='auto', delimiter='\t', encoding='iso8859-1')
    """

    path: str | Path
    quoting: str = "auto"
    delimiter: str | None = None
    encoding: str | None = None

    def __post_init__(self) -> None:
        if str(self.path).startswith("~"):
            object.__setattr__(self, "path", type(self.path)(os.path.expanduser(self.path)))
        if self.delimiter is not None:
            delimiter = _DELIMITERS.get(str(self.delimiter).lower(), self.delimiter)
            if not isinstance(delimiter, str) or len(delimiter) != 1 or delimiter in '"\r\n':
                raise InputError(
                    "`delimiter` must be one character, or tab; no quotation mark. "
                    f"Received: {self.delimiter!r}"
                )
            object.__setattr__(self, "delimiter", delimiter)
        if self.quoting not in QUOTING and not _is_mark(self.quoting, self.delimiter):
            raise InputError(
                f"`quoting` must be one of {', '.join(QUOTING)}, or the mark around fields, such "
                f"as '. Received: {self.quoting!r}"
            )
        if self.encoding is not None:
            object.__setattr__(self, "encoding", _encoding(self.encoding))

    def __str__(self) -> str:
        return str(self.path)


class Tolerant(File):
    """A file whose lines that can't be read are `Unread` rows, and don't end the reading of others.

    What stands for a byte that isn't UTF-8 is half a character, which no text may hold.
    """


class Unread(dict[str, Any]):
    """A row that couldn't be read, so that it has no cells.

    Args:
        reason: Why; it says where, too.
        given: What stands there.

    Attributes:
        reason: As given.
        given: As given.
    """

    def __init__(self, reason: str, given: object) -> None:
        super().__init__()
        self.reason, self.given = reason, given


def read_or_not(read: Callable[[], Made], given: object, file: File) -> Made | Unread:
    """A row, or, of a tolerant file, an `Unread` one where it can't be read.

    Args:
        read: Makes it.
        given: What it is made of.
        file: Where it stands.

    Raises:
        InputError: If it can't be read, and the file isn't tolerant.
    """
    try:
        return read()
    except InputError as error:
        if not isinstance(file, Tolerant):
            raise
        return Unread(str(error), given)


def _is_mark(quoting: object, delimiter: str | None) -> bool:
    """Whether it is one sign, which stands neither in words nor between fields."""
    if not isinstance(quoting, str) or len(quoting) != 1 or quoting in ("\\", delimiter):
        return False
    return quoting.isprintable() and not quoting.isalnum() and not quoting.isspace()


def _encoding(name: str) -> str:
    try:
        known = codecs.lookup(name)
        "".encode(name)  # a codec of bytes to bytes fails here
    except (LookupError, TypeError, ValueError) as error:
        raise InputError(
            f"`encoding` must be the name of one, such as utf-8, utf-16 or cp1252. Received: {name}"
        ) from error
    return known.name


@dataclasses.dataclass
class Form:
    """What a source holds.

    Attributes:
        columns: The names of the columns.
        rows: Begins to read, each time it is called: rows with their numbers, from 1.
        unit: What the numbers count: `"line"`, `"row"` or `"question"`.
        notes: What was decided that the source doesn't say, one line each. Some are known only
            once the rows were read.
        spaced: Whether words may hold spaces.
        loose: Whether rows may have other columns than the first.
        types: Types of Arrow, of columns whose rows hold them as they are.
        spans: The columns of a text and of spans in it that became `tokens` and `tags`.
    """

    columns: list[str]
    rows: Callable[[], Iterator[Numbered]]
    unit: str = "line"
    notes: list[str] = dataclasses.field(default_factory=list)
    spaced: bool = False
    loose: bool = False
    spans: tuple[str, str] | None = None
    types: "dict[str, pyarrow.DataType]" = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Asked:
    """What a table is read for: what else it holds comes back as it is.

    Attributes:
        text: The column of texts that was named.
        label: The column of labels that was named.
        labels: Whether there may be labels at all.
    """

    text: str | None = None
    label: str | None = None
    labels: bool = True

    def is_label(self, column: str) -> bool:
        """Whether a column may be the one of labels."""
        return self.labels and self.label in (None, TAGS, column)


def of_rows(
    rows: Callable[[], Iterator[Numbered]], unit: str = "line", notes: list[str] | None = None
) -> Form:
    """A form whose columns are those of its first row that can be read.

    Raises:
        InputError: If there are rows, and none can be.
    """
    given = rows()
    begun = next(given, None)
    row: Row = begun[1] if begun else {}
    first = row
    while isinstance(first, Unread):
        _, first = next(given, (0, {}))
    if isinstance(row, Unread) and not first:
        raise InputError(row.reason)
    return Form(list(first), rows, unit, [] if notes is None else notes, loose=True)


@functools.cache
def is_utf8(encoding: str) -> bool:
    """Whether an encoding's name, one of several, is UTF-8's."""
    return codecs.lookup(encoding).name == "utf-8"
