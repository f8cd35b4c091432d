"""A model asked the texts of a source: answers in order, beside what else each row holds."""

import dataclasses
import sys
import time
from collections.abc import Iterator, Sequence
from typing import Any

from tfhub_transfer import data, label_columns, layouts, reading, runtime, tagging, writing
from tfhub_transfer.errors import visible
from tfhub_transfer.models import TransferModel
from tfhub_transfer.preprocessing import Truncation

# Rows that are asked at once.
CHUNK = 2000
# Dictionaries in answers that may become a column for each key.
SPREAD = ("scores",)
# What the column of an input is called whose name an answer has.
INPUT = "input_"

_Chunk = tuple[list[Any], list[dict[str, Any]]]


@dataclasses.dataclass
class Answers:
    """Going through it gives the answers, one dictionary a text; they are computed on the way.

    Each holds its texts by the names that the task has for them, then the columns of the source
    that hold no text of it, then the answer. A column that is called as a part of the answer, or
    as a text is, is there as `input_` and its name: the names of answers are always those of
    answers.

    Args:
        model: What is asked.
        source: A table as for training, a `.txt` file with one text a line, or `-` for the lines
            of standard input. In lines, the texts of a pair are separated by a tab.
        columns: Names of the table's columns, by `text`, `text_pair` and `label`; the last one is
            kept like any other.
        precision: What the model computes in.

    Attributes:
        cut: How much of the texts was cut off so far.
        renamed: Columns that are there by another name, so far: `{column: name}`.
    """

    model: TransferModel
    source: str | data.File
    columns: dict[str, Any]
    precision: str = "auto"

    def __post_init__(self) -> None:
        self.cut = Truncation(0, 0, 0)
        self.renamed: dict[str, str] = {}
        self._names: dict[str, str] = {}
        self._ours: set[str] = set()
        self._table: data.Stream | None = None
        if is_lines(self.model, self.source, self.columns):
            return
        if self.columns.get("label"):
            label_columns.require(reading.Table(self.source), self.columns["label"])
        columns = {name: column for name, column in self.columns.items() if name != "label"}
        self._table = data.stream(self.source, **columns, require_label=False, chunk_rows=CHUNK)

    def count(self) -> int | None:
        """Goes through the rows of a table: how many there are; `None` of lines.

        Raises:
            InputError: If a row is unusable: better now than after hours.
        """
        if self._table is None:
            return None
        return sum(len(texts) for texts, _ in self._chunks())

    def __iter__(self) -> Iterator[dict[str, Any]]:
        self.cut = Truncation(0, 0, 0)
        for texts, rows in self._chunks():
            with runtime.precision(self.precision):
                answers = self.model.predict_text(self._asked(texts))
                self._count_cut(texts)
            self._ours = {*self.model.layout.signature, *answers[0]}
            for text, row, answer in zip(texts, rows, answers):
                yield {**self._texts(text), **writing.plain(self._others(row)), **answer}

    def say(self) -> None:
        """Says on standard error what a reader of the answers must know."""
        for note in self._table.notes if self._table else ():
            print(visible(f"{self.source}: {note}"), file=sys.stderr)
        if self.cut.texts:
            most = self.model.sequence_length
            print(f"note: at {most} tokens {self.cut}", file=sys.stderr)
        if self.renamed:
            pairs = ", ".join(f"{old} is {new}" for old, new in self.renamed.items())
            print(visible(f"note: columns called as answers are: {pairs}"), file=sys.stderr)

    def _chunks(self) -> Iterator[_Chunk]:
        pair = self.model.task.pair
        if self._table is None:
            for lines in reading.line_chunks(self.source, pair, CHUNK):
                yield lines, [{}] * len(lines)
            return
        for examples, rows in self._table.with_rows():
            self.model.layout.check(dataclasses.replace(examples, target=None))
            yield list(zip(*examples.texts)) if pair else list(examples.texts[0]), rows

    def _asked(self, texts: list[Any]) -> list[Any]:
        """Lists of words or sentences out of a table as lists."""
        listed = self.model.layout.by_unit and not self.model.task.pair
        return list(map(_in_units, texts)) if listed else texts

    def _texts(self, text: Any) -> dict[str, str]:
        shown = [text] if isinstance(text, str) else text
        return dict(zip(self.model.layout.signature, map(tagging.spaced, shown)))

    def _others(self, row: dict[str, Any]) -> dict[str, Any]:
        """What a row holds beside its texts; of texts that come as lists of words, also these."""
        asked = set(self._table.text_columns) if self._table else set()
        return {
            self._name(column): value
            for column, value in row.items()
            if column not in asked or isinstance(value, list)
        }

    def _name(self, column: str) -> str:
        """The name of a column in what is given back, the same in every row."""
        if column not in self._names:
            name = column
            while self._is_taken(name, column):
                name = f"{INPUT}{name}"
            self._names[column] = name
            if name != column:
                self.renamed[column] = name
        return self._names[column]

    def _is_taken(self, name: str, column: str) -> bool:
        known = self._table.columns if self._table else ()
        spread = [f"{each}." for each in SPREAD if each in self._ours]
        return (
            name in self._ours
            or name.startswith(tuple(spread))
            or name in self._names.values()
            or (name != column and name in known)
        )

    def _count_cut(self, texts: Sequence[Any]) -> None:
        cut = self.model.truncation
        if self.model.layout.by_unit:  # whose rows are parts of texts
            whole = [row for row in zip(*_columns(texts)) if row[-1].strip()]
            columns = list(zip(*whole))
            examples = layouts.of_rows([list(column) for column in columns]) if whole else None
            cut = self.model.count_truncation(examples) if examples else None
        cut = cut or Truncation(0, 0, 0)
        so_far, of = self.cut, self.cut.of + len(texts)
        self.cut = Truncation(so_far.texts + cut.texts, of, so_far.tokens + cut.tokens)


def _columns(texts: Sequence[Any]) -> list[Sequence[str]]:
    return [texts] if isinstance(texts[0], str) else list(zip(*texts))


def is_lines(model: TransferModel, source: str | data.File, columns: dict[str, Any]) -> bool:
    """Whether a source holds texts, or pairs, one a line, rather than a table.

    Args:
        model: What is asked.
        source: As for `Answers`.
        columns: As for `Answers`.
    """
    named = [columns[name] for name in ("text", "text_pair") if columns.get(name)]
    return reading.is_lines(source, reading.pair_columns(named) if model.task.pair else ())


def _in_units(text: str) -> Any:
    """A list in one string as a list; other texts as they are."""
    return tagging.split_words(text) if tagging.is_listed(text) else text


def shown(answers: Answers, whole: int | None = None) -> Iterator[dict[str, Any]]:
    """The answers; on a terminal a line on standard error shows how far they are.

    Args:
        answers: What to go through.
        whole: How many there are, if known.
    """
    started = last = time.monotonic()
    terminal = sys.stderr.isatty()
    for number, answer in enumerate(answers, start=1):
        now = time.monotonic()
        if terminal and (now - last > 0.1 or number == whole):
            last = now
            sys.stderr.write(f"\r{progress_line(number, whole, now - started)}")
            sys.stderr.flush()
        yield answer
    if terminal:
        sys.stderr.write("\n")


def progress_line(done: int, whole: int | None, seconds: float) -> str:
    """One line about answers that are being computed.

    Args:
        done: How many there are.
        whole: How many there will be, if known.
        seconds: Since the beginning.

    Example:

    >>> progress_line(2_000, 10_000, 4.0)
    'Answered [######                        ] 2,000 of 10,000, 500/s, 16 s left'
    """
    pace = f"{done / seconds if seconds else 0.0:,.0f}/s"
    if not whole:
        return f"Answered {done:,}, {pace}"
    bar = ("#" * int(30 * done / whole)).ljust(30)
    left = seconds * (whole - done) / done if done else 0.0
    return f"Answered [{bar}] {done:,} of {whole:,}, {pace}, {left:.0f} s left"
