"""Tables row by row from whatever form they have, and texts line by line."""

import contextlib
import difflib
import io
import itertools
import json
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Literal, TypeAlias, overload

from tfhub_transfer.data import forms
from tfhub_transfer.data.forms import (
    TAGS,
    TOKENS,
    Asked,
    File,
    Numbered,
    Tolerant,
    Unread,
    delimited,
    has_no_header,
    is_lines,
    may_be_lines,
)
from tfhub_transfer.data.forms.tfds import would_download
from tfhub_transfer.errors import InputError
from tfhub_transfer.incoming import values, wording
from tfhub_transfer.shapes import Row
from tfhub_transfer.storage import opening
from tfhub_transfer.texts import joining

__all__ = [
    "TAGS",
    "TOKENS",
    "Asked",
    "File",
    "Table",
    "Tolerant",
    "Unread",
    "has_no_header",
    "is_blank",
    "is_lines",
    "line_chunks",
    "may_be_lines",
    "pair_columns",
    "refuse_columns",
    "would_download",
]

# Takes a row that is unusable, by its number, the row, and why it is.
Bad: TypeAlias = Callable[[int, Row, str], object]
# A text of a line, or a pair of texts.
Line: TypeAlias = str | tuple[str, ...]

# What says which column holds what, by what `Table.require` is told that it is wanted for.
_ARGUMENTS = {
    "text": "text",
    "first text": "text",
    "second text": "text_pair",
    "third text": "negative",
    "label": "label",
}
# How tables begin that are to be looked at, as terminals draw them, and what stands below headers.
_DRAWN = re.compile(r"(?:[+|](?:[-=:]{2,}[+|])+|={2,}(?: +={2,})+)$|[┌╔┏╭][─═━┬╦┳]|[^\x1f]+\x1f")
_RULE = re.compile(r"[|+]?[-=: ]{2,}(?:[+| ]+[-=:]{2,})+ *[|+]?")
# A column and its cell a line, as SQLite writes them: names to the right, up to one place.
_CELL = re.compile(r"( *(\w+)) = ")
# How a file's name ends whose fields stand between delimiters.
_ENDINGS = {"\t": "`.tsv`"}
# How Python spells bytes of standard input that its encoding doesn't know.
_UNDECODED = re.compile("[\udc80-\udcff]")


class Table:
    """The rows of one source, which can be gone through any number of times.

    Args:
        source: A path, a `File`, `tfds:NAME/SPLIT`, or a table in memory.
        asked: What it is read for; for whatever it holds, if not given.

    Attributes:
        asked: What it is read for.
        columns: The names of the columns.
        unit: What the numbers of the rows count: each `"line"` of the file, as a text editor does,
            each `"row"`, or each `"question"` of a SQuAD file. All start at 1.
        spans: The columns of texts and of spans in them that are read as `tokens` and `tags`.
        types: Types of Arrow, of columns whose rows hold them as they are.
        notes: What was decided that the source doesn't say; all of it once the rows were read.

    Raises:
        InputError: If there is no such source, or its format isn't known.
    """

    def __init__(self, source: object, asked: Asked | None = None) -> None:
        named = isinstance(source, (str, Path, File))
        self.source = str(source) if named else forms.objects.name(source)
        found = forms.find(source, asked)
        self.columns, self.unit = found.columns, found.unit
        self.asked = asked or Asked()
        self.notes, self.spans, self.types = found.notes, found.spans, found.types
        self._rows = found.rows
        self._spaced = found.spaced
        self._loose = found.loose
        for column in self.columns:
            wording.require_text(column, f"{self.source}: the name of a column")

    def __iter__(self) -> Iterator[Numbered]:
        if self._spaced or TOKENS not in self.columns:
            return self._rows()
        return (self._single(number, row) for number, row in self._rows())

    def _single(self, number: int, row: Row) -> Numbered:
        """A row whose words hold no spaces: in a plain text they would be several words."""
        words = row.get(TOKENS)
        if isinstance(words, list) and TAGS in row:
            odd = next((w for w in words if isinstance(w, str) and len(w.split(" ")) > 1), None)
            if odd is not None:
                raise InputError(
                    f"{self.source}, {self.unit} {number}: a word must hold no space; give each "
                    f"part a tag. Received: {odd!r}"
                )
        return number, row

    def all_columns(self) -> list[str]:
        """The names of the columns of all rows, where they may differ; reads these once."""
        names = dict.fromkeys(self.columns)
        for _, row in self._rows() if self._loose else ():
            names.update(dict.fromkeys(row))
        return list(names)

    def require(self, column: str, wanted_for: str) -> str:
        """Returns the column, or raises `InputError` with the columns that there are.

        A path such as `review.text` names a part of a column of dictionaries.
        """
        if column in self.columns or self._has_part(column):
            return column
        lower = {name.lower(): name for name in self.columns}
        near = difflib.get_close_matches(column.lower(), lower, n=1)
        hint = f"did you mean {lower[near[0]]!r}? " if near else ""
        if self.source.lower().endswith(".txt"):
            hint += "lines with tabs are a table, and lines of texts only through a pipe (`-`); "
        raise InputError(
            f"{self.source} has no column {column!r} for the {wanted_for}; {hint}name one of "
            f"{', '.join(map(repr, self.columns)) or 'none'}{_how_to_name(wanted_for)}. "
            f"Received: {column!r}"
        )

    def holds(self, column: str) -> bool:
        """Whether there is a column, or a part of one, of a name."""
        with contextlib.suppress(InputError):
            return column in self.columns or self._has_part(column)
        return False

    def _has_part(self, path: str) -> bool:
        """Whether the first row that has something there has the part of a column."""
        name = path.partition(".")[0]
        if name == path or name not in self.columns:
            return False
        held = (row[name] for _, row in self._rows() if row.get(name) is not None)
        first = next(held, None)
        if isinstance(first, (list, tuple)):
            first = {str(place): each for place, each in enumerate(first)}
        if not isinstance(first, Mapping):
            return False
        try:
            values.part({name: first}, path)
        except KeyError as error:
            raise InputError(
                f"{self.source} has no part {path!r}; name one of "
                f"{', '.join(repr(f'{name}.{key}') for key in first) or 'none'}. "
                f"Received: {path!r}"
            ) from error
        return True


def is_blank(file: File) -> bool:
    """Whether a file of text, packed or not, holds nothing at all, as parts of tables may.

    Args:
        file: The file. One of no bytes that should be packed, or hold columns, is damaged.
    """
    path = Path(file.path)
    if delimited.suffix_of(path) in (".parquet", *forms.columnar.ARROW) or path.is_dir():
        return False
    if path.suffix.lower() in forms.opening.PACKED and not path.stat().st_size:
        return False
    return not any(piece.strip() for piece in forms.opening.pieces(file))


def _how_to_name(wanted_for: str) -> str:
    """The argument, and the option of commands, that says which column holds something."""
    argument = next((_ARGUMENTS[end] for end in _ARGUMENTS if wanted_for.startswith(end)), "")
    return f" with `{argument}` (`--{argument.replace('_', '-')}`)" if argument else ""


def pair_columns(named: Iterable[str] = ()) -> set[str]:
    """The names that columns of pairs may have in a table.

    Args:
        named: Those that were given.
    """
    return {"text_a", "text_b", "question", "context", *named}


def refuse_columns(names: Iterable[str], source: object) -> None:
    """Says that lines of text have none.

    Args:
        names: Those that were named all the same.
        source: What is read line by line.

    Raises:
        InputError: Always.
    """
    raise InputError(
        "lines of text have no columns; give a table, or leave the names of columns out. "
        f"Received: {', '.join(names)} with {source}"
    )


@overload
def line_chunks(
    source: str | Path | File,
    pair: Literal[False] = False,
    size: int = 1000,
    columns: Iterable[str | None] = (),
    bad: Bad | None = None,
) -> Iterator[list[str]]: ...
@overload
def line_chunks(
    source: str | Path | File,
    pair: bool,
    size: int = 1000,
    columns: Iterable[str | None] = (),
    bad: Bad | None = None,
) -> Iterator[list[Line]]: ...
def line_chunks(
    source: str | Path | File,
    pair: bool = False,
    size: int = 1000,
    columns: Iterable[str | None] = (),
    bad: Bad | None = None,
) -> Iterator[list[str]] | Iterator[list[Line]]:
    """Texts of lines in chunks, or pairs of texts with a tab between them as tuples.

    Args:
        source: A text file, `-` for standard input, or what the shell makes of `<(command)`.
        pair: Whether each line holds a pair.
        size: Lines in a chunk.
        columns: Names of columns, beside the usual ones, that the header of a table would have.
        bad: What takes a line that is unusable, by its number, and why it is; it is left out then.

    Raises:
        InputError: If the file can't be read, a line isn't a pair, or the first one says that they
            are rows of a table, which would be answered as texts.
    """
    with contextlib.ExitStack() as stack:
        if str(source) in ("-", "/dev/stdin"):
            lines: Iterable[str] | None = _standard_input(source)
        else:
            lines = _lines_of(source, stack)
        if lines is None:
            raise InputError("there is nothing to read: standard input is closed. Received: none")
        rows: list[Line] = []
        # Of a tolerant file the halves of characters say it, line by line.
        decoded = iter(lines) if isinstance(source, Tolerant) else _decoded(lines, source)
        begins = list(itertools.islice(decoded, 2))
        _require_no_table(begins, source, pair, [name for name in columns if name])
        for number, line in enumerate(itertools.chain(begins, decoded), start=1):
            try:
                whole = wording.require_decoded(line.rstrip("\r\n"), f"line {number} of {source}")
                rows.append(_line(joining.plain(whole), number, pair))
            except InputError as error:
                if bad is None:
                    raise
                bad(number, {"text": line.rstrip("\r\n")}, str(error))
            if len(rows) == size:
                yield rows
                rows = []
        if rows:
            yield rows


def _standard_input(source: str | Path | File) -> Iterable[str] | None:
    """Its lines, if it is open; of another encoding than the system's if one was given."""
    if isinstance(source, File) and source.encoding and sys.stdin is not None:
        # Not a reader of `codecs`: it takes U+2028 and its like for ends of lines too.
        return io.TextIOWrapper(sys.stdin.buffer, encoding=source.encoding)
    return sys.stdin


def _decoded(lines: Iterable[str], source: object) -> Iterator[str]:
    try:
        for number, line in enumerate(lines):
            if line.isascii() or not (odd := _UNDECODED.search(line)):
                yield line if number else line.removeprefix("\ufeff")
                continue
            raise ValueError(f"byte 0x{ord(odd[0]) - 0xDC00:02x} in line {number + 1}")
    # It is a `ValueError`, as what Python says of bytes that it can't decode.
    except InputError:
        raise
    except ValueError as error:
        raise InputError(
            "the text isn't UTF-8; name its encoding, as with `--encoding cp1252`, or convert "
            f"it, as with `iconv -t UTF-8`. Received: {_named(source)} ({error})"
        ) from error


def _named(source: object) -> str:
    return "standard input" if str(source) == "-" else str(source)


def _require_no_table(begins: list[str], source: object, pair: bool, columns: list[str]) -> None:
    """Refuses a table by its first lines: as lines of text, header and commas would be asked."""
    first, second = [*begins, "", ""][:2]
    kind = _kind_of_table(first, second, pair, columns)
    if kind:
        raise InputError(
            f"{_named(source)} is read as lines of text, and this is {kind[0]}; put it into a file "
            f"whose name ends in {kind[1]}, and give that. Received: {first[:60].strip()!r}"
        )


def _kind_of_table(
    first: str, second: str, pair: bool, columns: list[str]
) -> tuple[str, str] | None:
    """What two first lines say that they are, and how such a file's name ends."""
    line = first.strip()
    texts = {*delimited.TEXTS, *columns}
    if _DRAWN.match(line) or _is_ruled(first, second) or _is_printed(first, second, texts):
        return "a table that was drawn", "`.csv`, as its program exports it"
    if _is_by_cell(first, second, texts):
        return "a table with a line for each cell", "`.csv`, as its program exports it"
    if line in ("{", "[", "[{"):
        return "JSON", "`.json`"
    if line.startswith(("{", "[{")):
        with contextlib.suppress(ValueError, RecursionError):
            row, _ = json.JSONDecoder().raw_decode(line.removeprefix("["))
            # Others may be texts, as lines of a log are.
            if texts.intersection(row):
                return "JSON", "`.json`" if line[0] == "[" else "`.jsonl` or `.json`"
    found = delimited.of_lines(first, second, columns)
    if found is None:
        return None
    delimiter, names = found
    is_named = bool({*names} & {*delimited.USUAL, *columns})
    lines_of_pairs = pair and delimiter == "\t" and len(names) == 2
    if (lines_of_pairs or delimiter == " ") and not is_named:
        return None
    return "the header of a table" if is_named else "a table", _ENDINGS.get(delimiter, "`.csv`")


def _is_by_cell(first: str, second: str, texts: set[str]) -> bool:
    """Whether two lines are cells of one row, one of them of texts."""
    cells = [found for found in map(_CELL.match, (first, second)) if found]
    padded = " " in first[:1] + second[:1]
    alike = len(cells) == 2 and len({found.end() for found in cells}) == 1
    return padded and alike and bool(texts & {found.group(2) for found in cells})


def _is_printed(first: str, second: str, texts: set[str]) -> bool:
    """Whether two lines are those of a table that pandas printed: rows begin with their number."""
    names, row = first.split(), second.split()
    begins = first[:2] == "  " and len(names) > 1 and bool(row) and row[0] in ("0", "1")
    return begins and {*names} <= {*delimited.USUAL, *texts} and bool({*names} & texts)


def _is_ruled(first: str, second: str) -> bool:
    """Whether the second line is drawn below the columns of the first."""
    if not _RULE.fullmatch(second.strip()):
        return False
    columns = [each for each in re.split(r"\s{2,}|[|]", first.strip()) if each.strip()]
    return len(columns) == len(re.findall(r"[-=:]{2,}", second)) > 1


def _lines_of(source: str | Path | File, stack: contextlib.ExitStack) -> Iterable[str]:
    file = source if isinstance(source, File) else File(source)
    if not opening.is_open_already(str(file.path)):
        # For its refusal of names that no file can have; `lines` opens the file.
        opening.path_of(file.path)
        return forms.opening.lines(file)
    try:
        return stack.enter_context(open(file.path, encoding=file.encoding or "utf-8"))
    except OSError as error:
        raise InputError(f"the file can't be read. Received: {source} ({error})") from error


def _line(line: str, number: int, pair: bool) -> Line:
    if not pair:
        return line
    parts = line.split("\t")
    if len(parts) != 2:
        raise InputError(
            f"line {number}: the model reads pairs; expected two texts with a tab between. "
            f"Received: {line[:60]!r}"
        )
    return tuple(parts)
