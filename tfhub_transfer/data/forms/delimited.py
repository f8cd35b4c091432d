"""Tables as text: CSV, TSV and their kin, with a row a text or a row a word."""

import csv
import functools
import itertools
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from tfhub_transfer.data.forms import marks, opening, quoting
from tfhub_transfer.data.forms.base import TAGS, TOKENS, File, Form, Numbered, Unread, read_or_not
from tfhub_transfer.errors import InputError
from tfhub_transfer.incoming import wording

SEPARATORS = {".csv": ",", ".tsv": "\t", ".tab": "\t"}
# What Markdown and databases draw below a header.
_RULE = re.compile(r"\s*:?[-+]{2,}:?\s*")
# The header of R's `write.table`.
_QUOTED_NAMES = re.compile(r'"[^"]*"( "[^"]*")+')
_OTHERS = (";", "\t", "|")
# As ClickHouse names types.
_TYPE = re.compile(
    r"(?:(?:Nullable|Array|LowCardinality|Map|Tuple|FixedString)\(.*\)|String|U?Int\d+|Float\d+|Bool|UUID|Date(?:32|Time(?:64)?)?)"
)
# How names of columns are written, where a line could be a text.
_NAME = re.compile(r"\w[\w .#-]{0,39}")
# Columns of tables that have a row for each word, in lower case.
_SENTENCE_NUMBERS = ("sentence #", "sentence_id", "sentence_idx", "sentence id", "sent_id")
# Usual names of columns of texts.
TEXTS = (
    *("text", "text_a", "text_b", "sentence", "question", "context", "document", "sentences"),
    "tokens",
)
# Names of a header, and no text themselves.
USUAL = (*TEXTS, "label", "labels", "score", "id")
# Rows that must all hold one word to be words; a table of texts shows itself sooner.
_LOOK = 100
_WORDS = ("word", "words", "token", "tokens")
_WORD_TAGS = ("tag", "tags", "label", "labels", "ner", "ner_tag")


class _Layout:
    """How a file's fields are told apart, found once."""

    def __init__(self, file: File, suffix: str) -> None:
        self.file, self.notes = file, _of_encoding(file)
        self.skipped = sum(1 for _ in itertools.takewhile(_is_blank, self._lines(0)))
        first = next(self._lines(self.skipped), "")
        # Excel's own first line, which names the delimiter.
        says = first.lower().startswith("sep=") and len(first.rstrip("\r\n")) == 5
        self.skipped += says
        self.delimiter = first[4] if says else self._delimiter(suffix)
        self.quoting = file.quoting
        if self.quoting == "auto":
            self.quoting, note = self._decided()
            self.notes += [note] if note else []

    def _decided(self) -> tuple[str, str | None]:
        """How fields quote, and a line that says so where it could be otherwise."""
        whole = functools.partial(self._lines, self.skipped)
        other = marks.decide(whole, self.delimiter)
        if other is None:
            marks.require_doubled(whole, self.delimiter, str(self.file.path))
        # Texts hold commas, so CSV has to quote; of tabs there are both habits.
        if other is not None or self.delimiter != "\t":
            return other or (quoting.STANDARD, None)
        if not (has_marks := any('"' in line for line in whole())):
            decided, note = quoting.STANDARD, None
        else:
            decided, note = quoting.decide(whole, self.delimiter, str(self.file.path))
        if decided == quoting.NONE or not has_marks:
            escapes, said = quoting.escapes(whole(), self.delimiter)
            if escapes == quoting.ESCAPES:
                return escapes, said
            note = "; ".join(filter(None, (note, said))) or None
        return decided, note

    def _lines(self, skipped: int) -> Iterator[str]:
        lines = opening.lines(self.file)
        for _ in range(skipped):
            next(lines, None)
        return lines

    def _delimiter(self, suffix: str) -> str:
        """By the file's name; another if the header has one field by that, and so several."""
        if self.file.delimiter is not None:
            return self.file.delimiter
        found = None if suffix in SEPARATORS else of_text(self.file)
        if found is not None:
            self.notes.append(f"its first lines are those of a table, with {found[0]!r} between")
            return found[0]
        usual = SEPARATORS.get(suffix, "\t")
        if usual != ",":
            return usual
        header = next(self._lines(self.skipped), "")
        counts = {d: len(self._header_fields(header, d)) for d in (usual, *_OTHERS)}
        best = max(_OTHERS, key=lambda d: counts[d])
        # None: fields that are quoted aren't told apart by this one.
        if counts[usual] > 1 or counts[best] <= 1:
            return usual
        self.notes.append(f"fields end at {best!r}, as in the header; `--delimiter` says otherwise")
        return best

    def _header_fields(self, header: str, delimiter: str) -> list[str]:
        try:
            return next(quoting.reader([header], delimiter, quoting.STANDARD), [])
        except csv.Error:
            return []

    def records(self) -> Iterator[tuple[int, list[str]]]:
        """Fields of each record, with the number of its first line."""
        reader = quoting.reader(self._lines(self.skipped), self.delimiter, self.quoting)
        while True:
            line = reader.line_num + 1 + self.skipped
            try:
                fields = next(reader, None)
            except csv.Error as error:
                if "new-line" in str(error):
                    raise InputError(
                        f"{self.file}, line {line}: lines end with a carriage return, and texts "
                        "have other ends of lines; write it anew with line feeds at the ends of "
                        f"lines. Received: {error}"
                    ) from error
                raise InputError(
                    f"{self.file}, line {line}: a quote isn't closed, or text follows a closing "
                    "quote; double the quotes inside a quoted text, or give `--quoting none` if "
                    "fields aren't quoted, `--quoting backslash` if a backslash stands before such "
                    'quotes, or another mark than ", as in `--quoting "\'"` (in Python '
                    f"`data.File(path, quoting=...)`). Received: {error}"
                ) from error
            if fields is None:
                return
            if self.quoting == quoting.ESCAPES:
                fields = list(map(quoting.unescaped, fields))
            yield line, fields


def _is_blank(line: str) -> bool:
    return not line.strip()


def _of_encoding(file: File) -> list[str]:
    name = opening.encoding_of(file)
    return [] if file.encoding or name == "utf-8" else [f"the file is {name.upper()}"]


def form(file: File, suffix: str) -> Form:
    """A table.

    Args:
        file: The file.
        suffix: The ending of its name, without that of its compression.

    Raises:
        InputError: If its header or its quoting are unusable.
    """
    layout = _Layout(file, suffix)
    columns = _header(layout)
    named = [name for _, name in _kept(columns)]
    by_word = _by_word(columns, layout)
    if by_word is not None:
        layout.notes.append(
            f"rows are words, told apart by {by_word[0]!r}; read as sentences: `tokens`, `tags`"
        )
        others = [name for name in named if name not in by_word]
        rows = lambda: _sentences(_rows(layout, columns), by_word, file)  # noqa: E731
        return Form([TOKENS, TAGS, *others], rows, "line", layout.notes)
    return Form(named, lambda: _rows(layout, columns), "line", layout.notes)


def _header(layout: _Layout) -> list[str]:
    records = layout.records()
    columns = [name.strip() for name in next(records, (0, []))[1]]
    named = [name for name in columns if name]
    if len(set(named)) < len(named) or not named:
        raise InputError(
            f"the header must name each column once. Received: {layout.file} with {columns[:10]}"
        )
    first = next((fields for _, fields in records if fields), [])
    if any(map(_RULE.fullmatch, first)) and all(_RULE.fullmatch(field) for field in first if field):
        raise InputError(
            "a line is drawn below the header, as in a table that is to be looked at; export it as "
            f"CSV. Received: {layout.file} with {first[0] or first[1]}"
        )
    # Of a CSV a row of plain words may be one of a list of types.
    plain = layout.delimiter == "," and all(map(str.isalpha, first))
    if len(first) > 1 and not plain and all(map(_TYPE.fullmatch, first)):
        raise InputError(
            "a line of types stands below the header; export the table without it. Received: "
            f"{layout.file} with {first[0]}"
        )
    if len(first) == len(columns) + 1 and first[0] == "1":
        layout.notes.append("the header has a field less than rows: these begin with their number")
        columns = ["", *columns]
    return columns


def _rows(layout: _Layout, columns: list[str]) -> Iterator[tuple[int, dict[str, str]]]:
    records = layout.records()
    header = next(records, (0, []))[1]
    numbered, count, kept = len(columns) > len(header), 0, _kept(columns)

    def row() -> dict[str, str]:
        place = f"{layout.file}, line {line}"
        # Of one column alone a text may say the same as its header.
        if fields == header and len(fields) > 1:
            raise InputError(
                f"{place}: the header stands here again, as where files were put"
                f" together; drop the line. Received: {', '.join(header)}"
            )
        odd = numbered and len(fields) == len(columns) and fields[0] != str(count)
        if len(fields) != len(columns) or odd:
            raise InputError(
                f"{place}: expected {len(header)} fields "
                f"({', '.join(header)}); quote a text that holds {layout.delimiter!r}, or say with "
                "`--quoting` what fields are quoted with, with `--delimiter` where they end. "
                f"Received: {len(fields)} fields"
            )
        wording.require_decoded("".join(fields), place)
        return {name: fields[number] for number, name in kept}

    for line, fields in records:
        if fields:
            count += 1
            yield line, read_or_not(row, fields, layout.file)


def _kept(columns: list[str]) -> list[tuple[int, str]]:
    """Columns with a name, and the first: where a program numbered the rows it has none."""
    return [(place, name) for place, name in enumerate(columns) if name or not place]


def _by_word(columns: list[str], layout: _Layout) -> tuple[str, str, str] | None:
    """The columns of sentence, word and tag, if each row is a word."""
    lower = {name.lower(): name for name in columns}
    found = [
        next((lower[name] for name in names if name in lower), None)
        for names in (_SENTENCE_NUMBERS, _WORDS, _WORD_TAGS)
    ]
    number, word, tag = found
    if number is None or word is None or tag is None:
        return None
    for count, (_, row) in enumerate(_rows(layout, columns)):
        if len(row.get(word, "").split()) > 1:
            return None
        if count >= _LOOK:
            break
    return number, word, tag


def _sentences(
    rows: Iterable[tuple[int, dict[str, str]]], names: tuple[str, str, str], file: File
) -> Iterator[Numbered]:
    """Sentences of words; a number that is blank is that of the row above."""
    number_column, word_column, tag_column = names
    sentence: dict[str, list[str]] = {}
    first = 0
    current: str | None = None
    for line, row in rows:
        if isinstance(row, Unread):  # of which sentence, nobody knows
            raise InputError(row.reason)
        number = row[number_column].strip()
        if number and number != current:
            if sentence:
                yield first, sentence
            sentence, first, current = {}, line, number
        if current is None:
            raise InputError(
                f"{file}, line {line}: the first row must have a sentence's number in "
                f"{number_column!r}. Received: none"
            )
        if not row[word_column].strip() or not row[tag_column].strip():
            raise InputError(
                f"{file}, line {line}: each row must have a word and its tag. Received: "
                f"{row[word_column]!r} and {row[tag_column]!r}"
            )
        for name, value in row.items():
            kept = {word_column: TOKENS, tag_column: TAGS}.get(name, name)
            if name != number_column:
                sentence.setdefault(kept, []).append(value)
    if sentence:
        yield first, sentence


def of_text(file: File) -> tuple[str, list[str]] | None:
    """The delimiter and the columns of a `.txt` file that is a table; `None` if it has texts.

    Args:
        file: The file.
    """
    lines = opening.lines(file)
    first, second = (next(lines, "") for _ in range(2))
    return of_lines(first, second) if second.strip() else None


def of_lines(first: str, second: str, named: Iterable[str] = ()) -> tuple[str, list[str]] | None:
    """The delimiter and the columns of a text that begins as a table does; `None` if it doesn't.

    The first two lines of a table have as many tabs, or the first one is a header: one of its
    fields is a usual name of a column of texts, and all are names, or the next line has as many
    fields. Lines that only begin with a tab are indented.

    Args:
        first: The first line.
        second: The second line, which may be blank.
        named: Names of columns beside the usual ones.

    Example:

    >>> of_lines("id|text", "1|fine"), of_lines("text, please", "and context")
    (('|', ['id', 'text']), None)
    """
    first, second = first.rstrip("\r\n").removeprefix("\ufeff"), second.rstrip("\r\n")
    fields, below = first.split("\t"), second.split("\t")
    if len(fields) > 1 and len(fields) == len(below) and (fields[0].strip() or below[0].strip()):
        return "\t", _names(fields)
    if _QUOTED_NAMES.fullmatch(first) and second:
        return " ", _names(first.split('" "'))
    usual = {*TEXTS, *named}
    for delimiter in (",", *_OTHERS):
        fields, count = first.split(delimiter), second.count(delimiter) + 1
        names = _names(fields)
        said = [field.strip('"') for field in fields if field.strip() or delimiter == ","]
        said = [name for name in said if name]
        as_many = bool(second.strip()) and len(fields) == count
        if len(fields) < 2 or not usual & set(names):
            continue
        if delimiter in ",;" and any(field.startswith(" ") for field in fields[1:]):
            continue
        # A space behind a comma is prose's; beside a bar it is a drawing's.
        stripped = [name.strip() for name in said] if delimiter == "|" else said
        if as_many or (len(said) > 1 and all(map(_NAME.fullmatch, stripped))):
            return delimiter, names
    words = first.split()
    as_many = len(words) == len(second.split())
    is_header = as_many and len(words) > 1 and set(words) <= {*USUAL, *named}
    return (" ", words) if is_header else None


def _names(fields: Iterable[str]) -> list[str]:
    return [name.strip().strip('"') for name in fields]


def suffix_of(path: Path) -> str:
    """The ending of a file's name that tells its form, in lower case, without the packing."""
    return Path(opening.unpacked_name(path)).suffix.lower()
