"""A model asked the texts of a source: answers in order, beside what else each row holds."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import TypeAlias

from tfhub_transfer import data, progress, runtime
from tfhub_transfer.data import label_columns, reading, writing
from tfhub_transfer.data.usual_columns import TEXT
from tfhub_transfer.encoders.preprocessing import Truncation
from tfhub_transfer.errors import InputError
from tfhub_transfer.models.encoding import ColumnNames
from tfhub_transfer.models.neighbours import Neighbours
from tfhub_transfer.models.transfer import TransferModel
from tfhub_transfer.shapes import Row
from tfhub_transfer.tasks import layouts
from tfhub_transfer.texts import joining

# Rows that are asked at once.
CHUNK = 2000
# The part of an answer that may become a column for each key.
SCORES = "scores"
# What a vector is called among columns.
EMBEDDING = "embedding"
# And the labelled texts nearest to it, beside an answer.
NEIGHBOURS = "neighbours"
# Stands before the name of an answer's part where the source has a column of that name.
PREDICTED = "predicted_"
# How the note begins that names parts of answers whose names columns have.
RENAMED = "columns are called as answers, so these are "

# One text, or those of a pair.
_Asked: TypeAlias = str | tuple[str, ...]
_Chunk: TypeAlias = tuple[list[_Asked], list[Row]]


@dataclasses.dataclass
class Answers:
    """Going through it gives the answers, one dictionary a text; they are computed on the way.

    Each holds the columns of the source as they are there, by their own names and in their order,
    then the answer; texts of lines go by the names that the task has for them. Where a part of the
    answer has the name of a column, the part is `predicted_` and that name: nothing that a user
    gave is called otherwise in what comes back.

    Args:
        model: What is asked.
        source: A table as for training, a `.txt` file with one text a line, or `-` for the lines
            of standard input. In lines, the texts of a pair are separated by a tab.
        columns: Names of the table's columns, by `text`, `text_pair` and `label`; the last one is
            kept like any other.
        precision: What the model computes in.
        exact: Whether values come as the source's types have them, rather than as JSON does.
        bad: What takes a row that is unusable, with its number and a reason; it is left out then.
            If not given, it is refused.
        neighbours: What gives the nearest labelled texts beside each answer, if any.

    Attributes:
        cut: How much of the texts was cut off so far.
        renamed: Parts of answers that are there by another name, so far: `{part: name}`.
    """

    model: TransferModel
    source: str | data.File
    columns: ColumnNames
    precision: str = "auto"
    exact: bool = False
    bad: reading.Bad | None = None
    neighbours: Neighbours | None = None

    def __post_init__(self) -> None:
        self.cut = Truncation(0, 0, 0)
        self.renamed: dict[str, str] = {}
        self._bytes: dict[str, None] = {}
        self._taken: set[str] | None = None
        self._table: data.Stream | None = None
        if self._is_lines():
            return
        # Whatever labels it holds come back as they are.
        table = reading.Table(self.source, _asked(self.model, self.columns))
        columns = self._chosen(table)
        self._table = data.stream(table, **columns, require_label=False, chunk_rows=CHUNK)

    def _is_lines(self) -> bool:
        return is_lines(self.model, self.source, self.columns)

    def _chosen(self, table: reading.Table) -> ColumnNames:
        """The columns of a table that are asked, as far as they are named or usual."""
        if label := self.columns.get("label"):
            label_columns.require(table, label)
        columns = self.columns.copy()
        columns.pop("label", None)
        if not any(columns.values()):
            self._require_usual(table)
            # As in training with a label, which no other usual shape of data goes with.
            if self.model.layout.signature == (TEXT,) and TEXT in table.columns:
                columns["text"] = None if self.model.layout.by_unit else TEXT
        return columns

    def _require_usual(self, table: reading.Table) -> None:
        """Names the columns that the model reads, if there are neither these nor usual ones."""
        wanted = self.model.layout.signature
        if len(wanted) > 1 and not {"question", "text_a", "text"} & {*table.columns}:
            table.require(wanted[0], f"first text; the model reads {' and '.join(wanted)}")

    @progress.stage("Counting", final=False)
    def count(self) -> int | None:
        """Goes through the rows of a table: how many there are; `None` of lines.

        Raises:
            InputError: If a row is unusable: better now than after hours.
        """
        if self._table is None:
            return None
        return sum(len(texts) for texts, _ in self._chunks())

    def __iter__(self) -> Iterator[dict[str, object]]:
        self.cut = Truncation(0, 0, 0)
        for texts, rows in self._chunks():
            with (
                progress.step("Answering", worth=len(texts)),
                runtime.precision(self.precision, self.model.encoder.dimension),
            ):
                answers = self._ask(texts)
                self._count_cut(texts)
                answers = self._with_neighbours(texts, answers)
            names = {part: self.name(part) for part in answers[0]}
            self.renamed = {part: name for part, name in names.items() if part != name}
            for text, row, answer in zip(texts, rows, answers):
                given = self._given(row) if self._table else self._texts(text, answer)
                yield {**given, **{names[part]: value for part, value in answer.items()}}

    @property
    def types(self) -> Mapping[str, object]:
        """Types of Arrow, of the source's columns that have some."""
        return self._table.types if self._table else {}

    def _given(self, row: Row) -> dict[str, object]:
        self._bytes.update((name, None) for name, cell in row.items() if isinstance(cell, bytes))
        if not self.exact:
            return writing.plain(row)
        return {n: cell if n in self.types else writing.plain(cell) for n, cell in row.items()}

    def name(self, part: str) -> str:
        """What a part of every answer is called here, such as `label`.

        Args:
            part: Its name in what `predict_text` gives.
        """
        if self._taken is None:
            self._taken = set(self._table.all_columns()) if self._table else set()
        # As often as need be: a file of answers may be asked about again.
        while any(column == part or _is_spread(part, column) for column in self._taken):
            part = f"{PREDICTED}{part}"
        return part

    @property
    def notes(self) -> list[str]:
        """What a reader of the answers must know, of those so far."""
        notes = list(self._table.notes) if self._table else []
        if self.cut.texts:
            notes.append(f"at {self.model.sequence_length} tokens {self.cut}")
        if self.renamed:
            both = ", ".join(f"{part}: {name}" for part, name in self.renamed.items())
            notes.append(f"{RENAMED}{both}")
        if self._bytes and not self.exact:
            names = ", ".join(self._bytes)
            notes.append(f"columns of bytes are Base64, but in a Parquet file: {names}")
        return notes

    def _chunks(self) -> Iterator[_Chunk]:
        pair = self._pair
        if self._table is None:
            named = [name for name in self.columns.values() if isinstance(name, str)]
            named += self._signature
            for lines in reading.line_chunks(self.source, pair, CHUNK, named, self.bad):
                yield lines, [{}] * len(lines)
            return
        for examples, rows in self._table.with_rows(self.bad):
            examples, rows = self._suitable(examples, rows)
            if rows:
                yield list(zip(*examples.texts)) if pair else list(examples.texts[0]), rows

    def _suitable(
        self, examples: data.Examples, rows: list[Row]
    ) -> tuple[data.Examples, list[Row]]:
        """The rows whose texts the model can read."""
        examples = dataclasses.replace(examples, target=None)
        try:
            self._check(examples)
        except InputError:
            if self.bad is None:
                raise
        else:
            return examples, rows
        self._check(examples[:0])  # what is wrong with all of them is no row's fault
        left = []
        for place, row in enumerate(rows):
            try:
                self._check(examples[[place]])
                left.append(place)
            except InputError as error:
                assert examples.numbers is not None
                self.bad(examples.numbers[place], row, f"{examples.place(place)}: {error}")
        return examples[left], [rows[place] for place in left]

    @property
    def _pair(self) -> bool:
        return self.model.task.pair

    @property
    def _signature(self) -> tuple[str, ...]:
        """What lines of texts are called."""
        return self.model.layout.signature

    def _check(self, examples: data.Examples) -> None:
        self.model.layout.check(examples)

    def _ask(self, texts: Sequence[_Asked]) -> Sequence[Mapping[str, object]]:
        """An answer to each text; lists of words or sentences out of a table are lists."""
        listed = self.model.layout.takes_lists and not self._pair
        return self.model.predict_text(list(map(_in_units, texts)) if listed else texts)

    def _with_neighbours(
        self, texts: Sequence[_Asked], answers: Sequence[Mapping[str, object]]
    ) -> Sequence[Mapping[str, object]]:
        if self.neighbours is None:
            return answers
        # Who reads pairs has no neighbours.
        near = self.neighbours.of([str(text) for text in texts])
        return [{**answer, NEIGHBOURS: own} for answer, own in zip(answers, near)]

    def _texts(self, text: _Asked, answer: Mapping[str, object]) -> dict[str, str]:
        shown = [text] if isinstance(text, str) else text
        # An answer may be called a text itself: then both are there.
        usual = self.model.task.usual_columns
        names = [usual.get(name, name) if name in answer else name for name in self._signature]
        return dict(zip(names, map(joining.spaced, shown)))

    def _count_cut(self, texts: Sequence[_Asked]) -> None:
        cut = self.model.truncation
        if self.model.layout.by_unit:  # whose rows are parts of texts
            whole = [row for row in zip(*_columns(texts)) if row[-1].strip()]
            columns = list(zip(*whole))
            examples = layouts.of_rows([list(column) for column in columns]) if whole else None
            # As they are asked: what is one word in a plain text is for the layout to tell.
            examples = self.model.layout.in_units(examples) if examples else None
            cut = self.model.count_truncation(examples) if examples else None
        cut = cut or Truncation(0, 0, 0)
        self.cut += dataclasses.replace(cut, of=len(texts))


@dataclasses.dataclass
class Embedded(Answers):
    """Texts of one column, each with its vector in the place of an answer.

    Args:
        normalize: As for `encode_text`.
        usual: The column that is read where none is named, if there is one of that name.
    """

    normalize: bool = False
    usual: str | None = None

    def _is_lines(self) -> bool:
        return reading.is_lines(self.source)

    def _chosen(self, table: reading.Table) -> ColumnNames:
        usual = next((name for name in (self.usual, TEXT) if name and table.holds(name)), None)
        return {"text": self.columns.get("text") or usual}

    @property
    def _pair(self) -> bool:
        return False

    @property
    def _signature(self) -> tuple[str, ...]:
        return (TEXT,)

    def _check(self, examples: data.Examples) -> None:
        if examples.is_pair:
            raise InputError(
                "one column of texts is encoded: name it with `text` (`--text`). "
                f"Received: {examples.source}, which has pairs"
            )

    def _ask(self, texts: Sequence[_Asked]) -> Sequence[Mapping[str, object]]:
        vectors = self.model.encode_text(
            [joining.spaced(str(text)) for text in texts], normalize=self.normalize
        )
        return [{EMBEDDING: vector} for vector in vectors]

    def _count_cut(self, texts: Sequence[_Asked]) -> None:
        self.cut += self.model.truncation or Truncation(0, len(texts), 0)

    @property
    def types(self) -> Mapping[str, object]:
        """Types of Arrow, of the source's columns that have some, and of the vectors."""
        import pyarrow  # heavy, and needed for vectors in a Parquet file only

        width = self.model.encoder.dimension
        return {**super().types, self.name(EMBEDDING): pyarrow.list_(pyarrow.float32(), width)}


def _is_spread(part: str, column: str) -> bool:
    """Whether a column is called as one that scores become in a table of text."""
    return part.endswith(SCORES) and column.startswith(f"{part}.")


def _columns(texts: Sequence[_Asked]) -> list[Sequence[str]]:
    return list(zip(*([text] if isinstance(text, str) else text for text in texts)))


def is_lines(model: TransferModel, source: str | data.File, columns: ColumnNames) -> bool:
    """Whether a source holds texts, or pairs, one a line, rather than a table.

    Args:
        model: What is asked.
        source: As for `Answers`.
        columns: As for `Answers`.
    """
    if reading.has_no_header(source, _asked(model, columns)):
        return False
    named = [name for name in (columns.get("text"), columns.get("text_pair")) if name]
    return reading.is_lines(source, reading.pair_columns(named) if model.task.pair else ())


def _asked(model: TransferModel, columns: ColumnNames) -> reading.Asked:
    """What a table is read for: texts, beside which those may stand that were to be written."""
    usual = model.task.usual_columns if model.task.search is not None else {}
    text = (columns.get("text") or usual["text"]) if usual else None
    return reading.Asked(text, usual.get("label"), labels=False)


def _in_units(text: _Asked) -> object:
    """A list in one string as a list; other texts as they are."""
    if isinstance(text, str) and joining.is_listed(text):
        return joining.split_words(text)
    return text


def shown(answers: Answers, whole: int | None = None) -> Iterator[dict[str, object]]:
    """The answers; a stage of the work shows how far they are.

    Args:
        answers: What to go through.
        whole: How many there are, if known.
    """
    with progress.stage("Answering", whole, final=False) as stage:
        for number, answer in enumerate(answers, start=1):
            stage.tell(f"{number:,} answers")
            yield answer
