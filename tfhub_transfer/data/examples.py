"""Labelled texts, read and checked: all in memory, or chunk by chunk."""

import array
import copy
import dataclasses
import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from tfhub_transfer.data import (
    forms,
    label_columns,
    named_cells,
    reading,
    selecting,
    text_forms,
    usual_columns,
    weighing,
)
from tfhub_transfer.data.named_cells import OR_BLANK
from tfhub_transfer.data.reading import TAGS, TOKENS, Table
from tfhub_transfer.data.usual_columns import LABEL, TEXT, TEXT_A, TEXT_B, TEXT_C
from tfhub_transfer.data.weighing import WEIGHT
from tfhub_transfer.errors import InputError
from tfhub_transfer.incoming import ranges, wording
from tfhub_transfer.shapes import Row

if TYPE_CHECKING:
    import pyarrow

# Cells of one column: texts, weights, or labels of any shape, which only the task knows.
Column: TypeAlias = list[Any]

# Texts that are looked at for what all of them are.
_SOME = 100


@dataclasses.dataclass(frozen=True)
class Examples:
    """Columns of texts and labels, in memory; immutable.

    Attributes:
        columns: `text`, or `text_a` and `text_b`, or also `text_c` in triplets; `label`, if there
            is one; and whatever else the source held, under its own name (but for columns that go
            by one of these names and weren't chosen). All of the same length.
        source: Where they come from.
        target: `"label"`, or `None` if there are no labels.
        notes: What was decided while they were read that the source doesn't say.
        weight: `"weight"`, or `None` if all rows teach alike.
        numbers: What the source calls each row: of a file that is read by lines the number of its
            line, else of the row; `None` of lists.
        unit: What these numbers count: `"line"`, `"row"` or `"question"`.

    Example:

    >>> Examples.from_lists(["good", "bad"], ["positive", "negative"])[:1].labels
    ['positive']
    """

    columns: dict[str, Column]
    source: str = "lists"
    target: str | None = None
    notes: tuple[str, ...] = ()
    weight: str | None = None
    numbers: Sequence[int] | None = dataclasses.field(default=None, compare=False, repr=False)
    unit: str = dataclasses.field(default="row", compare=False, repr=False)

    def __post_init__(self) -> None:
        # With other columns put in the place of these, nobody knows where their rows stood.
        if self.numbers is not None and self.columns and len(self.numbers) != len(self):
            object.__setattr__(self, "numbers", None)

    @classmethod
    def from_lists(
        cls,
        text: Sequence[object],
        label: object = None,
        text_pair: Sequence[object] | None = None,
        negative: Sequence[object] | None = None,
        weight: Sequence[object] | None = None,
    ) -> "Examples":
        """Makes examples of lists.

        Args:
            text: The texts, or the first of each pair; or lists of words. In texts U+2028 and
                U+2029 become spaces, as everywhere: they tell words apart.
            label: Their labels; of several classes a text also a table with a column of 0 and 1
                for each.
            text_pair: The second text of each pair.
            negative: The third text of each triplet, which doesn't belong to the first.
            weight: How much each row teaches, numbers from 0 on; alike if not given.

        Raises:
            InputError: If the lists differ in length, a text isn't a string, or a weight no number.
        """
        columns: dict[str, Column] = (
            {TEXT: text_forms.rows(text)}
            if text_pair is None
            else {TEXT_A: text_forms.rows(text), TEXT_B: text_forms.rows(text_pair)}
        )
        if negative is not None:
            columns[TEXT_C] = text_forms.rows(negative)
        if label is not None:
            columns[LABEL] = label_columns.labels(label)
        if weight is not None:
            columns[WEIGHT] = wording.listed(weight)
        sizes = {name: len(cells) for name, cells in columns.items()}
        if len(set(sizes.values())) > 1:
            raise InputError(f"all columns must be of one length. Received: {sizes}")
        checks: dict[str, Callable[[object, str], object]] = {
            LABEL: named_cells.given_label,
            WEIGHT: weighing.number,
        }
        for name, cells in columns.items():
            check = checks.get(name, wording.require_text)
            found = [check(value, f"row {row} of {name}") for row, value in enumerate(cells, 1)]
            # Texts and labels are only looked at: the task reads labels in its own way.
            columns[name] = found if name == WEIGHT else cells
        return _weighed(cls(columns, target=None if label is None else LABEL))

    def __repr__(self) -> str:
        """One line, whatever the rows hold: notebooks show what a cell ends with."""
        rows = len(self) if self.columns else 0
        return f"Examples({rows:,} rows of {', '.join(self.columns)}; {self.source})"

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())))

    def __getitem__(self, rows: slice | Sequence[int] | Sequence[bool] | np.ndarray) -> "Examples":
        if isinstance(rows, slice):
            chosen: Sequence[int] = range(len(self))[rows]
            columns = {name: values[rows] for name, values in self.columns.items()}
        else:
            chosen = selecting.row_numbers(rows, len(self))
            columns = {name: [values[i] for i in chosen] for name, values in self.columns.items()}
        told = self.numbers
        # Eight bytes a row; a list of Python's whole numbers takes four times as much and more.
        numbers = None if told is None else array.array("q", [told[i] for i in chosen])
        return dataclasses.replace(self, columns=columns, numbers=numbers)

    def shard(self, index: int, count: int) -> "Examples":
        """The rows `index`, `index + count` and so on, with all that is theirs, as a share of work.

        Together the shards are all rows, each once and in their order, and differ by one row at
        most; where there are more of them than rows, some are empty.

        Args:
            index: Which of the shards, from 0.
            count: How many there are.

        Raises:
            InputError: If there is no such shard.

        Example:

        >>> Examples.from_lists(["a", "b", "c"]).shard(0, 2).texts
        (['a', 'c'],)
        """
        start, step = selecting.share(index, count)
        return self[start::step]

    def place(self, row: int) -> str:
        """Where a row stands in its source, for messages, such as "reviews.csv, line 3".

        Args:
            row: The row, from 0.

        Example:

        >>> Examples.from_lists(["good", "bad"]).place(1)
        'lists, row 2'
        """
        told = row + 1 if self.numbers is None else self.numbers[row]
        return f"{self.source}, {self.unit} {told}"

    @property
    def is_pair(self) -> bool:
        """Whether each example is a pair of texts."""
        return TEXT_B in self.columns

    @property
    def texts(self) -> tuple[list[str], ...]:
        """One list of texts, or two for pairs, or three for triplets."""
        names = (TEXT_A, TEXT_B, TEXT_C) if self.is_pair else (TEXT,)
        return tuple(self.columns[name] for name in names if name in self.columns)

    @property
    def labels(self) -> Column:
        """The labels, as the source wrote them."""
        if self.target is None:
            raise InputError(
                "these examples have no labels; say where they are with `label` (`--label`). "
                f"Received: {self.source}"
            )
        return self.columns[self.target]

    @property
    def weights(self) -> list[float] | None:
        """How much each row teaches, numbers from 0 on; `None` if all teach alike."""
        return None if self.weight is None else self.columns[self.weight]


def _weighed(examples: Examples, given: bool = True) -> Examples:
    """Examples with what their column of weights says, if they were given one."""
    if not given or WEIGHT not in examples.columns:
        return examples
    if len(examples) and not any(examples.columns[WEIGHT]):
        raise InputError(
            f"at least one row must have a weight above 0. Received: {examples.source}, all 0"
        )
    return dataclasses.replace(examples, weight=WEIGHT)


def require_examples(value: object) -> None:
    """Raises `InputError` unless a value is `Examples`.

    Args:
        value: What was given for them.
    """
    if not isinstance(value, Examples):
        raise InputError(
            "expected examples: make them with `data.read(file)`, or of lists or columns with "
            "`data.Examples.from_lists(text, label)`. "
            f"Received: {type(value).__name__}"
        )


class Stream:
    """Examples in chunks, for files larger than memory; can be gone through any number of times.

    Make one with `stream`. `source` says where the rows come from, `is_pair` whether they are
    pairs of texts; both are known before the first row is read.
    """

    def __init__(
        self,
        table: label_columns.Readable,
        names: dict[str, str],
        require_label: bool | str,
        chunk_rows: int,
    ) -> None:
        self.source = table.source
        self.is_pair = TEXT_B in names
        self._table, self._names = table, names
        self._require_label, self._chunk_rows = require_label, chunk_rows
        # Of all shards together.
        self._rows: int | None = None
        self.weight = WEIGHT if WEIGHT in names else None
        self._mean_weight = 1.0
        self._first, self._step = 0, 1

    def shard(self, index: int, count: int) -> "Stream":
        """The rows `index`, `index + count` and so on, as `Examples.shard`: a share of the work.

        Rows of other shards are read, but neither checked nor kept. What the mean weight is, all
        shards agree on.

        Args:
            index: Which of the shards, from 0.
            count: How many there are.

        Raises:
            InputError: If there is no such shard.

        Example:

        >>> rows = stream({"text": ["a", "b", "c"]}, require_label=False)
        >>> [chunk.texts for chunk in rows.shard(0, 2)], len(rows.shard(1, 2))
        ([(['a', 'c'],)], 1)
        """
        start, step = selecting.share(index, count)
        made = copy.copy(self)
        # A shard has shards too.
        made._first, made._step = self._first + self._step * start, self._step * step
        return made

    @property
    def notes(self) -> tuple[str, ...]:
        """What was decided that the source doesn't say; all of it once the rows were read."""
        return tuple(self._table.notes)

    def __len__(self) -> int:
        """The number of rows, counted once: training wants to know how long an epoch is."""
        return len(range(self._first, self._count(), self._step))

    def _count(self) -> int:
        """The number of rows of all shards; sees to the mean of their weights too."""
        if self._rows is None:
            rows, total = 0, 0.0
            for number, row in self._table:
                total += self._weight(row, self._place(number)) if self.weight else 1.0
                rows += 1
            if rows and not total:
                weighing.relative([0.0])  # which says so
            self._rows, self._mean_weight = rows, total / max(rows, 1)
        return self._rows

    @property
    def mean_weight(self) -> float:
        """The mean of the rows' weights; 1 without any."""
        return self._mean_weight if self._count() else 1.0

    def _weight(self, row: Row, place: str) -> float:
        column = self._names[WEIGHT]
        return weighing.number(row.get(column), f"{place}: column {column!r}")

    def __iter__(self) -> Iterator[Examples]:
        return (examples for examples, _ in self.with_rows())

    @property
    def columns(self) -> list[str]:
        """The names of the source's columns."""
        return self._table.columns

    @property
    def types(self) -> dict[str, "pyarrow.DataType"]:
        """Types of Arrow, of columns whose rows hold them as they are."""
        return self._table.types

    def all_columns(self) -> list[str]:
        """The names of the source's columns, also of those that not every row has."""
        return self._table.all_columns()

    def with_rows(self, bad: reading.Bad | None = None) -> Iterator[tuple[Examples, list[Row]]]:
        """Goes through it, each chunk with its rows as the source has them.

        Args:
            bad: What takes a row that is unusable, with its number and a reason; it is left out
                then, and there may be no row at all. One whose text is null is unusable, too. If
                not given, an unusable row is refused, and a null text is an empty one.
        """
        columns: dict[str, Column] = {}
        rows: list[Row] = []
        numbers = array.array("q")
        missing = _Missing()
        for number, row in itertools.islice(self._table, self._first, None, self._step):
            try:
                cells = self._cells(number, row)
                if bad is not None:
                    named_cells.require_texts(row, self._place(number), self._names)
            except InputError as error:
                if bad is None:
                    raise
                bad(number, row, str(error))
                continue
            missing.count(cells, number)
            _append(columns, cells, len(rows))
            rows.append(row)
            numbers.append(number)
            if len(rows) == self._chunk_rows:
                yield self._chunk(columns, numbers), rows
                # New ones: the chunk that was handed out keeps the old.
                columns, rows, numbers = {}, [], array.array("q")
        # A shard may have none, where there are fewer rows than shards.
        if bad is None and not missing.rows and next(iter(self._table), None) is None:
            raise InputError(f"the file has no rows below its header. Received: {self.source}")
        note = missing.note(self._table.unit)
        # Every pass through the rows comes by here; the note is said once.
        if note and self._table.asked.labels and note not in self._table.notes:
            self._table.notes.append(note)
        if rows:
            yield self._chunk(columns, numbers), rows

    def _cells(self, number: int, row: Row) -> Row:
        if isinstance(row, reading.Unread):
            raise InputError(row.reason)
        return named_cells.of_row(row, self._place(number), self._names, self._require_label)

    def _place(self, number: int) -> str:
        return f"{self.source}, {self._table.unit} {number}"

    def _chunk(self, columns: dict[str, Column], numbers: Sequence[int]) -> Examples:
        for name in {TEXT, TEXT_A, TEXT_B} & {*self._names}:
            named_cells.require_decoded(columns[name][:_SOME], self.source)
        target = LABEL if LABEL in self._names and None not in columns[LABEL] else None
        if target is None:
            columns.pop(LABEL, None)
        return Examples(
            columns,
            self.source,
            target,
            weight=self.weight,
            numbers=numbers,
            unit=self._table.unit,
        )


@dataclasses.dataclass
class _Missing:
    """Rows without a label among others that have one, where none is needed.

    Attributes:
        rows: How many rows there are.
        missing: How many of them have no label.
        first: The number of the first of these.
    """

    rows: int = 0
    missing: int = 0
    first: int = 0

    def count(self, cells: Row, number: int) -> None:
        self.rows += 1
        if LABEL in cells and cells[LABEL] is None:
            self.missing += 1
            self.first = self.first or number

    def note(self, unit: str) -> str | None:
        """A line that says that they take the others' labels with them."""
        if not 0 < self.missing < self.rows:
            return None
        return (
            f"labels are left out, for {self.missing:,} of {self.rows:,} rows lack one, as "
            f"{unit} {self.first} does"
        )


def stream(
    source: object,
    text: str | None = None,
    text_pair: str | None = None,
    label: str | Sequence[str] | None = None,
    require_label: bool | str = True,
    negative: str | None = None,
    chunk_rows: int = 10_000,
    weight: str | None = None,
) -> Stream:
    """Reads examples chunk by chunk, holding one chunk at a time.

    Args:
        source: As for `read`.
        text: As for `read`.
        text_pair: As for `read`.
        label: As for `read`.
        require_label: As for `read`.
        negative: As for `read`.
        chunk_rows: Rows in a chunk.
        weight: As for `read`.

    Raises:
        InputError: If the source, a column or a row is unusable.

    Example:

    >>> for chunk in stream("reviews.csv", text="review", label="sentiment", chunk_rows=30):
    ...     print(len(chunk))
    30
    10
    """
    chunk_rows = ranges.whole_number("chunk_rows", chunk_rows, *ranges.SIZE)
    if require_label not in (True, False, OR_BLANK):
        raise InputError(
            f"`require_label` must be True, False or {OR_BLANK!r}. Received: {require_label!r}"
        )
    # Columns of a frame may be named by numbers, of which 0 is one too.
    texts = tuple(str(n) if isinstance(n, int) else n for n in (text, text_pair, negative))
    label = str(label) if isinstance(label, int) else label
    whole = source
    if not isinstance(whole, Table):
        said = label if isinstance(label, str) or label is None else ",".join(map(str, label))
        whole = Table(source, reading.Asked(texts[0], said))
    spans = whole.spans
    # Named as the source has it; these spans have become tags.
    if spans and label == spans[1]:
        label = TAGS
    table, chosen = label_columns.choose(whole, label, bool(require_label))
    names = usual_columns.choose(table, texts, chosen, bool(require_label))
    if spans and names.get(LABEL) == TAGS and names.get(TEXT) == spans[0]:
        names[TEXT] = TOKENS
    weight = weighing.column_of(source) if weight is None else str(weight)
    if weight is not None:
        names[WEIGHT] = table.require(weight, "weight")
    return Stream(table, names, require_label, chunk_rows)


def read(
    source: object,
    text: str | None = None,
    text_pair: str | None = None,
    label: str | Sequence[str] | None = None,
    require_label: bool | str = True,
    negative: str | None = None,
    weight: str | None = None,
) -> Examples:
    """Reads labelled texts into memory.

    Args:
        source: A file of a table (CSV, TSV, JSON lines or arrays, each also compressed; Parquet,
            Arrow, Feather), of fastText's, of words and their tags (CoNLL, with the tag last;
            CoNLL-U; a table with a row a word), or of what doccano, Prodigy, spaCy or Label Studio
            export; a folder of `datasets`; `tfds:NAME/SPLIT` for TensorFlow Datasets; a `File`,
            which says more; or a table in memory: a DataFrame, a `datasets.Dataset`, a
            `tf.data.Dataset` of (text, label), a dictionary of columns, a list of dictionaries.
        text: Name of the text column, of texts or of lists of words; `text`, or `text_a` and
            `text_b`, or `tokens` where there are `tags`, or `sentences` (lists) or `document` where
            there are summaries, if not given.
        text_pair: Name of the column with the second text of each pair.
        label: Name of the label column; `label`, else `score`, `tags`, `summaries` or
            `summary`, if not given. Or names of several that say 0 or 1 for a class each, as a list
            or with commas between.
        require_label: Whether there must be labels. If not, they are read where every row has
            one, and left out otherwise. `"or blank"` takes a blank cell as a label of no class, for
            texts with any number of them.
        negative: Name of the column with the third text of each triplet, which doesn't belong to
            the first; `text_c`, where there are no labels, if not given.
        weight: Name of the column that says how much each row teaches, numbers from 0 on; of a
            `tf.data.Dataset` the third element, if it has one. They count in training alone, and
            relative to each other.

    Raises:
        InputError: If the source, a column or a row is unusable; the message names file, line and
            column.

    Example:

    >>> examples = read("reviews.csv", text="review", label="sentiment")
    """
    streamed = stream(source, text, text_pair, label, require_label, negative, weight=weight)
    chunks = list(streamed)
    joined: dict[str, Column] = {}
    # Rows of JSON lines may bring columns that chunks before didn't have.
    for start, chunk in zip(np.cumsum([0, *map(len, chunks)]), chunks):
        for name in {**joined, **chunk.columns}:
            values = joined.setdefault(name, [None] * int(start))
            values.extend(chunk.columns.get(name, [None] * len(chunk)))
    unlabelled = any(chunk.target is None for chunk in chunks)
    if unlabelled:
        joined.pop(LABEL, None)
    target = None if unlabelled else LABEL
    numbers = array.array("q", itertools.chain.from_iterable(c.numbers or () for c in chunks))
    unit = chunks[0].unit
    # Behind the last row: some notes are known only then.
    examples = Examples(joined, streamed.source, target, streamed.notes, None, numbers, unit)
    examples = _weighed(examples, streamed.weight is not None)
    if not any(t.strip() for texts in examples.texts for t in texts):
        raise InputError(f"every text is blank; check the text column. Received: {examples.source}")
    return examples


def read_splits(source: object, **columns: Any) -> dict[str, Examples]:
    """Reads every split of a source that holds several.

    Args:
        source: A `datasets.DatasetDict`, a dictionary of tables, or a folder that
            `DatasetDict.save_to_disk` wrote.
        **columns: As for `read`.

    Returns:
        Examples by the names of the splits.

    Raises:
        InputError: If it holds one table only, or a split is unusable.

    Example:

    >>> parts = read_splits({"train": [{"text": "good", "label": "a"}]})
    >>> parts["train"].labels
    ['a']
    """
    parts = forms.splits(source)
    if not parts:
        raise InputError(
            "expected several splits; `data.read` reads one table, and `data.split` divides it. "
            f"Received: {str(source)[:60]}"
        )
    return {name: read(part, **columns) for name, part in parts.items()}


def _append(columns: dict[str, Column], cells: Row, rows: int) -> None:
    for name in {**columns, **cells}:
        columns.setdefault(name, [None] * rows).append(cells.get(name))


def class_weights(labels: Sequence[object]) -> dict[object, float]:
    """Gone: only the task knows the place of each class; use `task.class_weights(train.labels)`.

    Keras wants weights by place, and weights by label would weigh other classes than were meant.

    Args:
        labels: One label for each row.

    Raises:
        InputError: Always.
    """
    raise InputError(
        "weights of classes go by their places, which the task knows: use "
        "`task.class_weights(train.labels)`, or `--class-weights`. "
        f"Received: data.class_weights of {len(labels)} labels"
    )
