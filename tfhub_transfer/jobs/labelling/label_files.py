"""The file of labels so far: read, gone on with, written whole each time."""

import contextlib
import csv
import dataclasses
import io
import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from tfhub_transfer.data import writing
from tfhub_transfer.errors import InputError
from tfhub_transfer.recipes.active_learning.linear_heads import Label
from tfhub_transfer.recipes.active_learning.pools import Text, is_blank, label_of, parts, same
from tfhub_transfer.shapes import Row
from tfhub_transfer.storage import opening

TEXT, LABEL, REASON = "text", "label", "reason"
PAIR = ("text_a", "text_b")
# Of texts that somebody else chose.
GIVEN = "given"
_SEPARATORS = {".csv": ",", ".tsv": "\t"}
SUFFIXES = (*_SEPARATORS, ".jsonl")
# Bytes that are looked at of a file that is there.
_MOST = 1 << 30


def columns_of(pair: bool) -> tuple[str, ...]:
    """The columns of texts in files that this command writes, and reads back.

    Args:
        pair: Whether pairs are labelled.
    """
    return PAIR if pair else (TEXT,)


def cells_of(text: Text) -> Row:
    """A text as cells of these columns.

    Args:
        text: A text, or a pair.
    """
    return dict(zip(columns_of(not isinstance(text, str)), parts(text)))


def text_of(row: Row, names: tuple[str, ...]) -> Text:
    """The text, or the pair, in a row.

    Args:
        row: Its cells by columns.
        names: The columns: one, or two of pairs.
    """
    found = [str(row[name]) for name in names]
    return found[0] if len(found) == 1 else (found[0], found[1])


def beginning_of(text: Text) -> str:
    """How a text begins, or both of a pair, to name it by.

    Args:
        text: A text, or a pair.
    """
    return " | ".join(part[: 60 // len(parts(text))] for part in parts(text))


@dataclasses.dataclass(frozen=True)
class Labelled:
    """A text with its label.

    Attributes:
        text: The text, or the pair.
        label: Its class, or all its classes.
        reason: Why it was chosen.
    """

    text: Text
    label: Label
    reason: str


class Kept:
    """What is labelled so far, in a file that holds all of it whenever somebody looks.

    Args:
        path: The file; begun at the first label.
        several: Whether a text may have any number of classes.
        inputs: What is read, which is never written.
        pair: Whether pairs of texts are labelled.

    Attributes:
        path: The file.
        rows: What is labelled, in the order in which it was.

    Raises:
        InputError: If it can't be written, or is there and not of this command.
    """

    def __init__(
        self,
        path: Path,
        several: bool,
        inputs: Iterable[str | Path] = (),
        pair: bool = False,
    ) -> None:
        if path.suffix.lower() not in SUFFIXES:
            raise InputError(
                f"the output's name must end in {', '.join(SUFFIXES)}. Received: {path}"
            )
        self.path, self._several = path, several
        self._texts = columns_of(pair)
        self._columns = (*self._texts, LABEL, REASON)
        there = path.exists()
        if there:
            opening.require(path)
            self.rows = self._once(self._read())
        else:
            self.rows = []
        writing.check(path, True, inputs)
        self._known = {same(row.text): row for row in self.rows}
        self._seen = self._state()

    def of(self, text: Text) -> Labelled | None:
        """What is known of a text, or of one that is equal but for case and blanks.

        Args:
            text: The text.
        """
        return self._known.get(same(text))

    def add(self, rows: Iterable[Labelled]) -> None:
        """Writes more labels behind those that there are.

        Args:
            rows: Of texts that have none yet.

        Raises:
            InputError: If the file was changed by somebody else, or can't be written.
        """
        self._write([*self.rows, *rows])

    def take_back(self) -> Labelled:
        """Removes the last label.

        Raises:
            InputError: As of `add`.
        """
        last = self.rows[-1]
        self._write(self.rows[:-1])
        return last

    def _write(self, rows: list[Labelled]) -> None:
        if self._state() != self._seen:
            raise InputError(
                "the output was changed by somebody else, such as an editor or another `label`; "
                f"run the same command again, which goes on with it. Received: {self.path}"
            )
        try:
            writing.write(map(_cells, rows), self.path)
        except OSError as error:
            raise InputError(
                f"the output can't be written ({error}). Received: {self.path}"
            ) from error
        self.rows = rows
        self._known = {same(row.text): row for row in rows}
        self._seen = self._state()

    def _state(self) -> tuple[int, int] | None:
        """What tells that a file is still the one that was read or written."""
        try:
            found = os.stat(self.path)
        except FileNotFoundError:
            return None
        return found.st_mtime_ns, found.st_size

    def _read(self) -> Iterator[Row]:
        content = opening.read_bytes(self.path, _MOST)
        try:
            text = content.decode("utf-8")
            separator = _SEPARATORS.get(self.path.suffix.lower())
            if separator is None:
                rows = [json.loads(line) for line in text.split("\n") if line.strip()]
            else:
                lines = io.StringIO(text.removeprefix("\ufeff"), newline="")
                rows = list(csv.DictReader(lines, delimiter=separator))
        except (ValueError, csv.Error) as error:
            raise self._foreign(f"it can't be read, {error}") from error
        for row in rows:
            if not isinstance(row, dict) or tuple(row) != self._columns or None in row.values():
                names = ", ".join(map(str, row)) if isinstance(row, dict) else "another row"
                raise self._foreign(f"it has {names}")
        if not rows and content.strip() not in (b"", ",".join(self._columns).encode()):
            raise self._foreign("it has no such rows")
        return iter(rows)

    def _foreign(self, what: str) -> InputError:
        return InputError(
            "the output exists and is no file of `label`, with the columns "
            f"{', '.join(self._columns)}; "
            "name another one, and give labels that are known with `--answers`. "
            f"Received: {self.path}, {what}"
        )

    def _once(self, read: Iterable[Row]) -> list[Labelled]:
        """Each text with its label; a spreadsheet leaves blank rows and whatever was typed."""
        found: dict[Text, Labelled] = {}
        for number, row in enumerate(read, 1):
            if not any(str(cell).strip() for cell in row.values()):
                continue
            new = self._row(row, number)
            if (before := found.setdefault(same(new.text), new)).label != new.label:
                raise InputError(
                    "the output has one text with two labels; keep one of these rows. "
                    f"Received: {self.path}, row {number}: {new.label!r}, and above "
                    f"{before.label!r}"
                )
        return list(found.values())

    def _row(self, row: Row, number: int) -> Labelled:
        label, text = row[LABEL], text_of(row, self._texts)
        if is_blank(text) or not str(label).strip():
            lacks = "text" if is_blank(text) else "label"
            raise InputError(
                f"the output has a row without a {lacks}; fill it in, or drop the row. "
                f"Received: {self.path}, row {number}"
            )
        if isinstance(label, str) and label.startswith("["):
            with contextlib.suppress(ValueError):  # a class of such a name
                found = json.loads(label)
                # Lists of other things are names, too: nobody writes such lists here.
                if isinstance(found, list) and all(isinstance(each, str) for each in found):
                    label = found
        if isinstance(label, list) != self._several:
            wanted = "a list of classes" if self._several else "one class"
            raise InputError(
                f"the output exists, and another task has written it; expected {wanted} for each "
                "text: name another output, or that task with `--task`. "
                f"Received: {self.path}, row {number}: {row[LABEL]!r}"
            )
        try:
            return Labelled(text, label_of(label), str(row[REASON]))
        except InputError as error:
            raise InputError(f"{self.path}, row {number}: {error}") from error


class Skipped:
    """Texts that somebody skipped, in a file beside the labels, so that they aren't asked again.

    Args:
        output: The file of labels.
        pair: Whether they are pairs.

    Attributes:
        path: The file; begun at the first text that is skipped, and gone where none is.
        texts: The texts.

    Raises:
        InputError: If there is another file of that name.
    """

    def __init__(self, output: Path, pair: bool = False) -> None:
        self.path = output.with_name(f"{output.stem}.skipped.jsonl")
        self.texts = list[Text]()
        if not self.path.exists():
            return
        lines = opening.read_bytes(self.path, _MOST).decode("utf-8", "replace").split("\n")
        try:
            rows = [json.loads(line) for line in lines if line.strip()]
            names = columns_of(pair)
            if not all(isinstance(row[name], str) for row in rows for name in names):
                raise TypeError("what is skipped is texts")
            self.texts = [text_of(row, names) for row in rows]
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(
                "texts that are skipped are kept beside the output, where another file has that "
                f"name; move it away, or name another output. Received: {self.path}"
            ) from error

    def add(self, text: Text) -> None:
        """Skips a text.

        Args:
            text: The text.
        """
        self._write([*self.texts, text])

    def take_back(self) -> None:
        """Forgets the last one that was skipped."""
        self._write(self.texts[:-1])

    def _write(self, texts: list[Text]) -> None:
        self.texts = texts
        if texts:
            writing.write(map(cells_of, texts), self.path)
        else:
            self.path.unlink(missing_ok=True)


def _cells(row: Labelled) -> Row:
    label = row.label if isinstance(row.label, str) else list(row.label)
    return {**cells_of(row.text), LABEL: label, REASON: row.reason}
