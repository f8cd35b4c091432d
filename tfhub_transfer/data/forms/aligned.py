r"""Texts beside their translations, or their like, without names of columns.

Two plain files whose lines belong together, as Moses has them (`train.{en,de}` is `train.en` and
`train.de`); or one whose lines have tabs between. Nothing is quoted in either: quotation marks are
as they stand.
"""

import contextlib
import itertools
import re
from collections.abc import Callable, Iterator
from pathlib import Path

from tfhub_transfer.data.forms import opening
from tfhub_transfer.data.forms.base import Asked, File, Form, Numbered, read_or_not
from tfhub_transfer.errors import InputError
from tfhub_transfer.incoming import wording
from tfhub_transfer.shapes import Row
from tfhub_transfer.storage import opening as plain_files

SOURCE, TARGET = "source", "target"
# Texts and what is to be written, as tasks name them: tables of these may have no header.
_NAMED = {(SOURCE, TARGET), ("document", "summary"), ("turns", "answer")}
_BRACES = re.compile(r"([^{}]*)\{([^{},]+),([^{},]+)\}([^{}]*)")
# A name of a column, and no sentence.
_NAME = re.compile(r"[^\W\d][\w-]{0,19}(?: ?\([\w-]+\))?")
_LOOK = 100


def files_of(file: File) -> tuple[File, File] | None:
    """The two files that a name in braces stands for; `None` if it is another name.

    Args:
        file: A file, or such a name.

    Example:

    >>> [str(each) for each in files_of(File("data/train.{en,de}.gz")) or ()]
    ['data/train.en.gz', 'data/train.de.gz']
    """
    found = _BRACES.fullmatch(str(file.path))
    if found is None or Path(file.path).exists():
        return None
    start, first, second, end = found.groups()
    made = (f"{start}{name.strip()}{end}" for name in (first, second))
    one, other = (type(file)(name, file.quoting, file.delimiter, file.encoding) for name in made)
    return one, other


def two_files(files: tuple[File, File], asked: Asked) -> Form:
    """Lines of two files side by side.

    Args:
        files: Of the texts, and of what is to be written.
        asked: What the columns are to be called; `source` and `target` if it doesn't say.

    Raises:
        InputError: If one can't be read, or they have unlike numbers of lines.
    """
    for file in files:
        opening.check(plain_files.path_of(file.path), "two files of lines", False)
    # Told before any work, and not behind the last line that both have.
    counts = [sum(1 for _ in opening.lines(file)) for file in files]
    if counts[0] != counts[1]:
        raise InputError(
            "two files of lines that belong together must have as many lines each; look for the "
            "first that don't, and for blank ones at an end. Received: "
            f"{files[0]} with {counts[0]:,} lines and {files[1]} with {counts[1]:,}"
        )
    if str(files[0]) == str(files[1]):
        raise InputError(
            f"a text and what is to be written must be in two files. Received: {files[0]} twice"
        )

    def lines() -> Iterator[tuple[int, list[str]]]:
        with contextlib.ExitStack() as stack:
            both = [stack.enter_context(contextlib.closing(opening.lines(f))) for f in files]
            for number, pair in enumerate(zip(*both, strict=True), start=1):
                yield number, [line.rstrip("\r\n") for line in pair]

    notes = [f"lines belong to those of {files[1]}"]
    return _form(lines, files[0], _names(asked), notes, asked)


def has_no_header(file: File, suffix: str, asked: Asked) -> bool:
    """Whether lines are texts with tabs between: nothing in the first names what is asked for.

    Args:
        file: The file.
        suffix: The ending of its name.
        asked: What it is read for; texts and what is to be written, by the names that tasks have.
            Where no labels are wanted, as of who asks a model, a table of other columns is one.

    Raises:
        InputError: If the first line seems to name columns otherwise.
    """
    names = (asked.text, asked.label)
    if names not in _NAMED or suffix == ".csv" or file.delimiter not in (None, "\t"):
        return False
    lines = [line.rstrip("\r\n") for line in itertools.islice(opening.lines(file), _LOOK)]
    fields = (lines or [""])[0].split("\t")
    if len(fields) < 2 or {*names} & {field.strip().strip('"').lower() for field in fields}:
        return False
    if not asked.labels:
        counts = {line.count("\t") for line in lines if line.strip()}
        return counts == {len(fields) - 1} and not _are_names(fields)
    if _are_names(fields) and not all(_are_names(line.split("\t")) for line in lines[1:]):
        raise InputError(
            f"the first line seems to name the columns, none of them {names[0]!r} or {names[1]!r}; "
            "say which ones hold texts and what is to be written, as with "
            f"`--text {fields[0].strip()} --label {fields[1].strip()}` (in Python `text=..., "
            "label=...`), or drop the line. Received: "
            f"{file} with {', '.join(field.strip() for field in fields)}"
        )
    return True


def _are_names(fields: list[str]) -> bool:
    return all(_NAME.fullmatch(field.strip()) for field in fields)


def tabbed(file: File, asked: Asked) -> Form:
    """Lines of texts with tabs between: a text, what is to be written, and whatever follows.

    Args:
        file: The file.
        asked: What the columns are to be called.

    Raises:
        InputError: If a line has another number of fields than the first.
    """
    count = len(next(opening.lines(file), "").split("\t"))
    names = [*_names(asked), *(f"field {place}" for place in range(3, count + 1))]

    def lines() -> Iterator[tuple[int, list[str]]]:
        for number, line in enumerate(opening.lines(file), start=1):
            fields = line.rstrip("\r\n").split("\t")
            # A blank line is no row, as in other tables.
            if len(fields) > 1 or fields[0].strip():
                yield number, fields

    notes = [f"the file has no header: fields are {', '.join(names)}"]
    return _form(lines, file, names, notes, asked)


def _names(asked: Asked) -> list[str]:
    return [asked.text or SOURCE, asked.label or TARGET]


def _form(
    lines: Callable[[], Iterator[tuple[int, list[str]]]],
    file: File,
    names: list[str],
    notes: list[str],
    asked: Asked,
) -> Form:
    def made(number: int, fields: list[str]) -> Row:
        place = f"{file}, line {number}"
        if len(fields) != len(names):
            raise InputError(
                f"{place}: expected {len(names)} texts with tabs between, as in the first line. "
                f"Received: {len(fields)}"
            )
        wording.require_whole("".join(fields), place)
        return dict(zip(names, fields))

    def rows() -> Iterator[Numbered]:
        yield from whole_pairs(
            ((n, read_or_not(lambda: made(n, each), each, file)) for n, each in lines()),  # noqa: B023
            (names[0], names[1]),
            notes,
            asked,
        )

    return Form(names, rows, "line", notes)


def whole_pairs(
    rows: Iterator[Numbered], names: tuple[str, str], notes: list[str], asked: Asked
) -> Iterator[Numbered]:
    """Rows without those of which a side is blank, as corpora have some; a note says how many.

    Args:
        rows: All of them.
        names: The columns of both sides.
        notes: Of the form. What is said of the rows is told anew each time they are read.
        asked: What they are read for: texts that are only asked about all stay.
    """
    left, count, first, said = 0, 0, 0, "of the pairs a side is blank"
    for number, row in rows:
        count += 1
        sides = [row.get(name) for name in names]
        if asked.labels and all(isinstance(s, str) for s in sides) and not all(map(_says, sides)):
            left, first = left + 1, first or number
            continue
        yield number, row
    notes[:] = [note for note in notes if not note.startswith(said)]
    if left:
        notes.append(f"{said}: {left:,} of {count:,} are left out, the first in {first}")


def _says(text: object) -> bool:
    return isinstance(text, str) and bool(text.strip())
