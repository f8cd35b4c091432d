"""Labelled texts: read, validate, split, profile."""

import array
import collections
import dataclasses
import itertools
import math
from collections.abc import Iterator, Sequence
from typing import Any

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
from tfhub_transfer.data.profiling import profile  # noqa: F401  for users
from tfhub_transfer.data.reading import TAGS, TOKENS, File, Table  # noqa: F401  File is for users
from tfhub_transfer.data.usual_columns import LABEL, TEXT, TEXT_A, TEXT_B, TEXT_C
from tfhub_transfer.data.weighing import WEIGHT
from tfhub_transfer.errors import InputError
from tfhub_transfer.incoming import ranges, usual, wording

_DISCRETE = 1000
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

    columns: dict[str, list[Any]]
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
        text: Sequence[str],
        label: Sequence[Any] | None = None,
        text_pair: Sequence[str] | None = None,
        negative: Sequence[str] | None = None,
        weight: Sequence[float] | None = None,
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
        columns = (
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
        checks: dict[str, Any] = {LABEL: named_cells.given_label, WEIGHT: weighing.number}
        for name, cells in columns.items():
            check = checks.get(name, wording.require_text)
            found = [check(value, f"row {row} of {name}") for row, value in enumerate(cells, 1)]
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
            chosen: Any = range(len(self))[rows]
            columns = {name: values[rows] for name, values in self.columns.items()}
        else:
            chosen = selecting.row_numbers(rows, len(self))
            columns = {name: [values[i] for i in chosen] for name, values in self.columns.items()}
        told = self.numbers
        numbers = None if told is None else array.array("q", [told[i] for i in chosen])
        return dataclasses.replace(self, columns=columns, numbers=numbers)

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
    def labels(self) -> list[Any]:
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


def require_examples(value: Any) -> None:
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
        self, table: Table, names: dict[str, str], require_label: bool | str, chunk_rows: int
    ) -> None:
        self.source = table.source
        self.is_pair = TEXT_B in names
        self._table, self._names = table, names
        self._require_label, self._chunk_rows = require_label, chunk_rows
        self._rows: int | None = None
        self.weight = WEIGHT if WEIGHT in names else None
        self._mean_weight = 1.0

    @property
    def notes(self) -> tuple[str, ...]:
        """What was decided that the source doesn't say; all of it once the rows were read."""
        return tuple(self._table.notes)

    def __len__(self) -> int:
        """The number of rows, counted once: training wants to know how long an epoch is."""
        if self._rows is None:
            rows, total = 0, 0.0
            for number, row in self._table:
                place = f"{self.source}, {self._table.unit} {number}"
                total += self._weight(row, place) if self.weight else 1.0
                rows += 1
            if rows and not total:
                weighing.relative([0.0])  # which says so
            self._rows, self._mean_weight = rows, total / max(rows, 1)
        return self._rows

    @property
    def mean_weight(self) -> float:
        """The mean of the rows' weights; 1 without any."""
        return self._mean_weight if len(self) else 1.0

    def _weight(self, row: dict[str, Any], place: str) -> float:
        column = self._names[WEIGHT]
        return weighing.number(row.get(column), f"{place}: column {column!r}")

    def __iter__(self) -> Iterator[Examples]:
        return (examples for examples, _ in self.with_rows())

    @property
    def columns(self) -> list[str]:
        """The names of the source's columns."""
        return self._table.columns

    @property
    def types(self) -> dict[str, Any]:
        """Types of Arrow, of columns whose rows hold them as they are."""
        return self._table.types

    def all_columns(self) -> list[str]:
        """The names of the source's columns, also of those that not every row has."""
        return self._table.all_columns()

    def with_rows(self) -> Iterator[tuple[Examples, list[dict[str, Any]]]]:
        """Goes through it, each chunk with its rows as the source has them."""
        columns: dict[str, list[Any]] = {}
        rows: list[dict[str, Any]] = []
        numbers = array.array("q")
        missing = _Missing()
        for number, row in self._table:
            place = f"{self.source}, {self._table.unit} {number}"
            cells = named_cells.of_row(row, place, self._names, self._require_label)
            missing.count(cells, number)
            _append(columns, cells, len(rows))
            rows.append(row)
            numbers.append(number)
            if len(rows) == self._chunk_rows:
                yield self._chunk(columns, numbers), rows
                columns, rows, numbers = {}, [], array.array("q")
        if not missing.rows:
            raise InputError(f"the file has no rows below its header. Received: {self.source}")
        note = missing.note(self._table.unit)
        if note and self._table.asked.labels and note not in self._table.notes:
            self._table.notes.append(note)
        if rows:
            yield self._chunk(columns, numbers), rows

    def _chunk(self, columns: dict[str, list[Any]], numbers: Sequence[int]) -> Examples:
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

    def count(self, cells: dict[str, Any], number: int) -> None:
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
    source: Any,
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
    table = source
    if not isinstance(source, Table):
        said = label if isinstance(label, str) or label is None else ",".join(map(str, label))
        table = Table(source, reading.Asked(texts[0], said))
    if table.spans and label == table.spans[1]:
        label = TAGS
    spans = table.spans
    table, chosen = label_columns.choose(table, label, bool(require_label))
    names = usual_columns.choose(table, texts, chosen, bool(require_label))
    if spans and names.get(LABEL) == TAGS and names.get(TEXT) == spans[0]:
        names[TEXT] = TOKENS
    weight = weighing.column_of(source) if weight is None else str(weight)
    if weight is not None:
        names[WEIGHT] = table.require(weight, "weight")
    return Stream(table, names, require_label, chunk_rows)


def read(
    source: Any,
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
    joined: dict[str, list[Any]] = {}
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
    examples = Examples(joined, streamed.source, target, streamed.notes, None, numbers, unit)
    examples = _weighed(examples, streamed.weight is not None)
    if not any(t.strip() for texts in examples.texts for t in texts):
        raise InputError(f"every text is blank; check the text column. Received: {examples.source}")
    return examples


def read_splits(source: Any, **columns: Any) -> dict[str, Examples]:
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


def _append(columns: dict[str, list[Any]], cells: dict[str, Any], rows: int) -> None:
    for name in {**columns, **cells}:
        columns.setdefault(name, [None] * rows).append(cells.get(name))


def split(
    examples: Examples,
    fractions: Sequence[float] = usual.SPLIT,
    seed: int = 0,
    stratify: bool = True,
    together: str | None = None,
) -> tuple[Examples, ...]:
    """Splits examples at random, the same way for the same seed.

    Identical texts stay on one side, so that no part holds what another has seen. Classes keep
    their shares in every part, as far as their numbers allow.

    Args:
        examples: What to split.
        fractions: Share of each part; they add up to 1.
        seed: Seed of the draw.
        stratify: Whether to keep the classes' shares, where labels are classes.
        together: A column whose equal values stay on one side, such as the context of several
            questions; all texts if not given.

    Raises:
        InputError: If the fractions don't add up, or a part would be empty.

    Example:

    >>> train, validation, test = split(examples, (0.8, 0.1, 0.1), seed=7)
    """
    given = wording.listed(fractions)
    fractions = [ranges.real_number("fractions", share, 0.0, 1.0) for share in given]
    seed = ranges.whole_number("seed", seed, *ranges.SEED)
    if not math.isclose(sum(fractions), 1.0, abs_tol=1e-6):
        raise InputError(f"fractions must be above 0 and add up to 1. Received: {tuple(fractions)}")
    require_examples(examples)
    if together is not None and together not in examples.columns:
        raise InputError(
            f"`together` must be one of the columns {', '.join(map(repr, examples.columns))}. "
            f"Received: {together!r}"
        )
    groups = _groups(examples, stratify, together)
    generator = np.random.default_rng(seed)
    parts: list[list[int]] = [[] for _ in fractions]
    for key in sorted(groups):
        texts = groups[key]
        _deal([texts[i] for i in generator.permutation(len(texts))], fractions, parts)
    if not all(parts):
        raise InputError(
            f"too few rows to split into {len(fractions)} parts; give more rows, or files for "
            f"validation and test. Received: {len(examples)} rows in {examples.source}"
        )
    return tuple(examples[sorted(part)] for part in parts)


def _groups(examples: Examples, stratify: bool, together: str | None) -> dict[str, list[list[int]]]:
    """Rows of identical texts, or of one value of a column, together, by class."""
    columns = examples.texts if together is None else (examples.columns[together],)
    rows: dict[tuple[Any, ...], list[int]] = collections.defaultdict(list)
    for index, texts in enumerate(zip(*columns)):
        rows[texts].append(index)
    labels = examples.columns[examples.target] if examples.target else []
    by_class = stratify and _are_classes(labels)
    groups: dict[str, list[list[int]]] = collections.defaultdict(list)
    for same in rows.values():
        groups[label_columns.spelled(labels[same[0]]) if by_class else ""].append(same)
    return groups


def _are_classes(labels: Sequence[Any]) -> bool:
    if not labels or any(map(label_columns.is_several, labels)):
        return False
    distinct = {label_columns.spelled(label) for label in labels}
    return len(distinct) <= min(_DISCRETE, max(2, len(labels) // 2))


def _deal(texts: list[list[int]], fractions: Sequence[float], parts: list[list[int]]) -> None:
    """Gives the rows of one class to the parts; the first part comes first where there are few."""
    bounds = [round(len(texts) * f) for f in fractions[1:]]
    if len(texts) >= len(parts):
        bounds = [max(1, bound) for bound in bounds]
        while sum(bounds) >= len(texts):
            bounds[bounds.index(max(bounds))] -= 1  # leaves one for the first part
    start = 0
    for part, size in zip(parts[1:], bounds):
        part.extend(i for same in texts[start : start + size] for i in same)
        start += size
    parts[0].extend(i for same in texts[start:] for i in same)


def class_weights(labels: Sequence[Any]) -> dict[Any, float]:
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
