"""Labels out of columns: of one as they are, of several that say 0 or 1 as lists of classes."""

import contextlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np

from tfhub_transfer.errors import InputError
from tfhub_transfer.incoming import values, wording
from tfhub_transfer.shapes import Row

if TYPE_CHECKING:
    import pyarrow

# More distinct labels than these are numbers or texts.
MOST_CLASSES = 1000
FLAGS = {"0": 0, "1": 1, "0.0": 0, "1.0": 1, "false": 0, "true": 1, "no": 0, "yes": 1}


class Purpose(Protocol):
    """What a table is read for, as `forms.Asked` says it."""

    @property
    def labels(self) -> bool:
        """Whether there may be labels at all."""


class Readable(Protocol):
    """Rows of one source, which can be gone through any number of times, as `reading.Table` has."""

    source: str
    unit: str
    columns: list[str]
    types: dict[str, "pyarrow.DataType"]

    @property
    def asked(self) -> Purpose:
        """What it is read for."""

    @property
    def notes(self) -> list[str]:
        """What was decided that the source doesn't say."""

    def __iter__(self) -> Iterator[tuple[int, Row]]: ...

    def all_columns(self) -> list[str]:
        """The names of the columns of all rows, where they may differ."""

    def require(self, column: str, wanted_for: str) -> str:
        """Returns the column, or raises `InputError` with the columns that there are."""


def labels(given: object) -> list[object]:
    """Labels as a list with one for each row, whatever held them.

    Args:
        given: Anything that can be gone through in order; or a table with a column for each class,
            each row with a 0 or a 1 in it, or with one column of labels.

    Returns:
        Labels as Python's own values; of several columns a list of the classes with a 1 for each
        row. Arrays of numbers stay arrays.

    Raises:
        InputError: If there is a row without a label, or a column says something but 0 or 1.
    """
    names = values.column_names(given)
    if names is None:
        return [_own(label) for label in wording.listed(given)]
    if not names:
        raise InputError("expected labels. Received: a table without columns")
    columns = [wording.listed(values.column(given, name)) for name in names]
    if len(names) == 1:
        return [_own(label) for label in columns[0]]
    if len(set(map(len, columns))) > 1:
        raise InputError(
            f"label columns must be of one length. Received: {list(map(len, columns))}"
        )
    return [
        flagged(dict(zip(names, row)), f"row {number} of label")
        for number, row in enumerate(zip(*columns), start=1)
    ]


def _own(label: object) -> object:
    if isinstance(label, np.ndarray) and label.ndim == 1 and label.dtype.kind in "iufb":
        return label  # rows of numbers that are many
    return values.plain(label)


def flagged(cells: Row, place: str) -> list[str]:
    """The columns that say 1.

    Args:
        cells: A 0 or a 1 by column, also as text.
        place: How to name the row in a message.

    Raises:
        InputError: If one says something else.

    Example:

    >>> flagged({"toxic": "1", "insult": 0, "threat": True}, "row 1")
    ['toxic', 'threat']
    """
    found = []
    for column, cell in cells.items():
        flag = _flag(cell)
        if flag is None:
            raise InputError(
                f"{place}: column {column!r} must say 0 or 1, as each of several label columns "
                "does; make shares a 0 or a 1 first, and drop rows that nobody judged. "
                f"Received: {str(cell)[:60]!r}"
            )
        found += [column] if flag else []
    return found


def shown(label: object) -> list[object]:
    """The classes of a label, or what else it is, one by one, to be counted.

    Args:
        label: As examples have it.
    """
    if (
        isinstance(label, dict)
        and label
        and all(_flag(each) is not None for each in label.values())
    ):
        return [name for name, each in label.items() if _flag(each)]
    return list(label) if isinstance(label, (list, tuple)) else [label]


def is_several(label: object) -> bool:
    """Whether a label may hold more than one class, in whatever form.

    Args:
        label: As examples have it.
    """
    if isinstance(label, str):
        spelled = values.spelled(label) is not None or len(values.braced(label) or []) > 1
        return "|" in label or not label.strip() or spelled
    return isinstance(label, (list, tuple, dict, np.ndarray))


def repeat(distinct: int, rows: int) -> bool:
    """Whether labels repeat as those of classes do: each stands in two rows, in the mean.

    Args:
        distinct: How many different ones there are.
        rows: How many there are.
    """
    return distinct <= max(2, rows // 2)  # two classes there may be in two or three rows


def spelled(label: object) -> str:
    """One spelling for a label, so that rows part alike from whatever form they were read.

    Args:
        label: As examples have it.

    Example:

    >>> spelled(1.0), spelled("1"), spelled(" a ")
    ('1', '1', 'a')
    """
    try:
        return wording.class_name(label)
    except InputError:
        return str(label)


def _flag(cell: object) -> int | None:
    return FLAGS.get(str(values.plain(cell)).strip().lower())


class Flagged:
    """A table whose several label columns are one column of lists of classes.

    Args:
        table: Its rows, `(number, {column: value})`; with `source`, `unit`, `columns`, `notes`,
            `types` and `require`.
        chosen: The label columns.

    Attributes:
        label: The name of the column of lists.
    """

    def __init__(self, table: Readable, chosen: Sequence[str]) -> None:
        self._table, self._chosen = table, list(chosen)
        self.source, self.unit, self.asked = table.source, table.unit, table.asked
        self.label = ",".join(self._chosen)
        left = [name for name in table.columns if name not in self._chosen]
        self.columns = [*left, self.label]
        self.types = {name: kind for name, kind in table.types.items() if name in left}

    def all_columns(self) -> list[str]:
        """As of the table."""
        return list(self._table.all_columns())

    @property
    def notes(self) -> list[str]:
        """What was decided that the source doesn't say."""
        return self._table.notes

    def require(self, column: str, wanted_for: str) -> str:
        """As `reading.Table.require`."""
        return column if column == self.label else self._table.require(column, wanted_for)

    def __iter__(self) -> Iterator[tuple[int, Row]]:
        for number, row in self._table:
            cells: dict[str, object] = {}
            for name in self._chosen:
                with contextlib.suppress(KeyError):
                    cells[name] = values.part(row, name)
            made = {name: value for name, value in row.items() if name not in cells}
            place = f"{self.source}, {self.unit} {number}"
            if len(cells) == len(self._chosen):
                blank = all(map(values.is_blank, cells.values()))
                made[self.label] = None if blank else flagged(cells, place)
            yield number, made


def choose(
    table: Readable, label: str | Sequence[str] | None, require_label: bool
) -> tuple[Readable, str | None]:
    """The table and the name of its label column, which may stand for several.

    Args:
        table: As for `Flagged`.
        label: The name of one column, or names of several: a list, or a string with commas between
            that isn't itself a column's name.
        require_label: Whether the columns must be there.

    Raises:
        InputError: If one of several isn't there.
    """
    if label is None or (isinstance(label, str) and (label in table.columns or "," not in label)):
        return table, label
    chosen = [name.strip() for name in label.split(",")] if isinstance(label, str) else list(label)
    chosen = [name for name in chosen if name]
    if len(chosen) < 2:
        return table, chosen[0] if chosen else None
    if len(set(chosen)) < len(chosen):
        raise InputError(f"label columns must differ. Received: {','.join(chosen)}")
    if not require_label and not set(chosen) <= set(table.columns):
        return table, ",".join(chosen)
    for name in chosen:
        table.require(name, "label")
    made = Flagged(table, chosen)
    return made, made.label


def require(table: Readable, label: str | Sequence[str]) -> None:
    """Raises `InputError` if a label column, or one of several, isn't there.

    Args:
        table: As for `Flagged`.
        label: As for `choose`.
    """
    names: Sequence[str] = [label] if isinstance(label, str) else label
    if isinstance(label, str) and label not in table.columns:
        names = label.split(",")
    for name in names:
        table.require(name.strip(), "label")
