"""Rows to files by their names: JSON lines, CSV, TSV, Parquet; whole or not at all.

Rows are written as they come, so their number doesn't matter. What a table must know before its
first row, its columns and their types, is known after the last one: till then rows wait on disk.
"""

import base64
import contextlib
import csv
import importlib.util
import itertools
import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias, overload

import numpy as np

from tfhub_transfer.errors import InputError
from tfhub_transfer.incoming import values, wording
from tfhub_transfer.shapes import Row
from tfhub_transfer.storage import atomic
from tfhub_transfer.storage.scratch import temporary

if TYPE_CHECKING:
    import pyarrow

# Columns by name, as arrays of the types that were asked for.
_Typed: TypeAlias = "dict[str, pyarrow.Array]"
# What writes rows to a file that nobody sees yet, with columns of dictionaries spread or not.
_Writer: TypeAlias = Callable[[Iterator[Row], Path, tuple[str, ...]], None]

# How files of a format begin; of tables of text nobody can tell.
_BEGINS = {".jsonl": b"{", ".ndjson": b"{", ".parquet": b"PAR1"}
# Rows of a row group of a Parquet file.
_PART = 10_000


def check(target: Path, overwrite: bool = False, inputs: Iterable[str | Path] = ()) -> None:
    """Refuses a file, before any work, that can't be written or would destroy something.

    Args:
        target: The file.
        overwrite: Whether a file that is there is replaced.
        inputs: What is read; names that are no files are passed over.

    Raises:
        InputError: If its name tells no format, or it is there, of another kind, an input, or a
            folder, or needs what isn't installed.
    """
    suffix = target.suffix.lower()
    if suffix not in _WRITERS:
        raise InputError(f"the output's name must end in {', '.join(_WRITERS)}. Received: {target}")
    # Looked for, not imported, which takes long: this comes before any work.
    if suffix == ".parquet" and importlib.util.find_spec("pyarrow") is None:
        raise InputError(
            "Parquet files need pyarrow: `python -m pip install pyarrow`, or name a `.jsonl` or "
            f"`.csv` file. Received: {target}"
        )
    atomic.check_file(target, _BEGINS.get(suffix, b""), overwrite, inputs)


def keeps_types(target: Path) -> bool:
    """Whether a file of this name holds values as types of Arrow.

    Args:
        target: The file.
    """
    return target.suffix.lower() == ".parquet"


def write(
    rows: Iterable[Row],
    target: Path,
    spread: tuple[str, ...] = (),
    types: Mapping[str, "pyarrow.DataType"] | None = None,
) -> int:
    """Writes rows to a file, in the format that its name ends in.

    Rows may differ in their columns; a cell that a row lacks is empty. In CSV and TSV lists and
    dictionaries are JSON.

    Args:
        rows: The rows, by the names of their columns.
        target: The file; one that is there is replaced (see `check`).
        spread: Columns of dictionaries that become a column for each key in CSV and TSV, named
            `column.key`.
        types: Types of Arrow that columns of a Parquet file are to have.

    Returns:
        How many rows there are.

    Raises:
        InputError: If the file can't be written.
    """
    count = itertools.count()
    # `zip` asks for a row first, so that at their end the count is how many there were.
    counted = (row for row, _ in zip(rows, count))
    try:
        with atomic.file(target) as scratch:
            if keeps_types(target):
                _parquet(counted, scratch, types or {})
            else:
                plain_rows = (plain(row) for row in counted)
                _WRITERS[target.suffix.lower()](plain_rows, scratch, spread)
    except OSError as error:
        raise InputError(f"the file can't be written. Received: {target} ({error})") from error
    return next(count)


@overload
def plain(value: Mapping[str, object]) -> dict[str, object]: ...
@overload
def plain(value: object) -> object: ...
def plain(value: object) -> object:
    """A value as JSON can hold it: dates in ISO 8601, bytes in Base64, NaN and infinities as null.

    Those that a file of JSON spells stay what they are: it was read as Python does, and so is this.

    Example:

    >>> plain({"score": float("nan"), "hash": b"a7"})
    {'score': None, 'hash': 'YTc='}
    """
    if isinstance(value, np.generic | np.ndarray):
        value = value.tolist()
    if isinstance(value, Mapping):
        return {str(key): plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple | set):
        return [plain(each) for each in value]
    if isinstance(value, float):
        return value if math.isfinite(value) or isinstance(value, values.NotFinite) else None
    if value is None or isinstance(value, str | int):
        return value
    if isinstance(value, bytes):
        return base64.b64encode(value).decode("ascii")
    return value.isoformat() if hasattr(value, "isoformat") else str(value)


def _json_lines(rows: Iterator[Row], scratch: Path, spread: tuple[str, ...]) -> None:
    with scratch.open("w", encoding="utf-8", newline="\n") as file:
        for row in rows:
            file.write(wording.json_line(row) + "\n")


def _delimited(separator: str) -> _Writer:
    def write_rows(rows: Iterator[Row], scratch: Path, spread: tuple[str, ...]) -> None:
        columns: dict[str, None] = {}
        with temporary() as work:
            waiting = work / "rows.jsonl"
            with waiting.open("w", encoding="utf-8") as file:
                for row in rows:
                    flat = _flat(row, spread)
                    columns.update(dict.fromkeys(flat))
                    # ASCII, in which half a character can wait until it is spelled.
                    file.write(json.dumps(flat) + "\n")
            with (
                waiting.open(encoding="utf-8") as lines,
                # Half a character can't be written: it is spelled.
                scratch.open("w", encoding="utf-8", errors="backslashreplace", newline="") as file,
            ):
                writer = csv.writer(file, delimiter=separator, lineterminator="\n")
                writer.writerow(columns)
                for line in lines:
                    row = json.loads(line)
                    writer.writerow([_cell(row.get(column)) for column in columns])

    return write_rows


def _flat(row: Row, spread: tuple[str, ...]) -> Row:
    made: dict[str, object] = {}
    for name, value in row.items():
        if name in spread and isinstance(value, dict):
            made.update({f"{name}.{key}": each for key, each in value.items()})
        else:
            made[name] = value
    return made


def _cell(value: object) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False)


def _parquet(rows: Iterator[Row], scratch: Path, known: Mapping[str, "pyarrow.DataType"]) -> None:
    """Parts wait until the types are known that hold for all of them."""
    import pyarrow.parquet  # heavy, and needed for this format only

    with temporary() as work:
        types: dict[str, pyarrow.DataType] = {}
        parts: list[_Part] = []
        while part := list(itertools.islice(rows, _PART)):
            typed = _typed(part, known)
            parts.append(_Part(work / str(len(parts))))
            left: list[Row] = [
                {n: _spelled(plain(v)) for n, v in row.items() if n not in typed} for row in part
            ]
            parts[-1].write(left, typed)
            order = dict.fromkeys(name for row in part for name in row)
            _learn(types, order, left, typed)
        for name, kind in types.items():
            if "struct<>" in str(kind):  # dictionaries with nothing in them, which Parquet lacks
                types[name] = pyarrow.string()
        # It ends: each time round one more column is text, which holds anything.
        while True:
            schema = pyarrow.schema(types)
            try:
                with pyarrow.parquet.ParquetWriter(scratch, schema) as writer:
                    for each in parts:
                        writer.write_table(_table(*each.read(), schema))
                return
            except _UnfitError as error:
                types[error.column] = pyarrow.string()


class _Part:
    """Rows that wait on disk: what JSON can hold, and columns of known types."""

    def __init__(self, path: Path) -> None:
        self._rows, self._columns = path.with_suffix(".json"), path.with_suffix(".arrow")

    def write(self, rows: list[Row], typed: _Typed) -> None:
        self._rows.write_text(json.dumps(rows), encoding="utf-8")
        if typed:
            import pyarrow.feather

            table = pyarrow.table(list(typed.values()), names=list(typed))
            pyarrow.feather.write_feather(table, str(self._columns), compression="uncompressed")

    def read(self) -> "tuple[list[Row], pyarrow.Table | None]":
        """The rows, and the table of the other columns if there is one."""
        import pyarrow.feather

        typed = None
        if self._columns.exists():
            typed = pyarrow.feather.read_table(str(self._columns), memory_map=False)
        return json.loads(self._rows.read_text(encoding="utf-8")), typed


def _typed(rows: list[Row], known: Mapping[str, "pyarrow.DataType"]) -> _Typed:
    """Columns as arrays of the types that are wanted, as far as they can be."""
    import pyarrow

    found = {}
    for name in dict.fromkeys(name for row in rows for name in row if name in known):
        cells = [row.get(name) for row in rows]
        # Times of nanoseconds came as text or numbers, of which casts know the type.
        for make in (pyarrow.array, _cast):
            with contextlib.suppress(pyarrow.ArrowException, TypeError, ValueError, OverflowError):
                found[name] = make(cells, known[name])
                break
    return found


def _cast(cells: list[object], kind: "pyarrow.DataType") -> "pyarrow.Array":
    import pyarrow

    return pyarrow.array(cells).cast(kind)


class _UnfitError(Exception):
    """A column holds a value that isn't of its type."""

    def __init__(self, column: str) -> None:
        super().__init__(column)
        self.column = column


def _learn(
    types: "dict[str, pyarrow.DataType]", order: Iterable[str], rows: list[Row], typed: _Typed
) -> None:
    """Widens the types of columns to hold more rows too; text where nothing else does."""
    import pyarrow

    for name in order:
        before = types.get(name, pyarrow.null())
        try:
            own = typed.get(name)
            found = pyarrow.array([row.get(name) for row in rows]).type if own is None else own.type
            both = [pyarrow.schema([(name, each)]) for each in (before, found)]
            types[name] = pyarrow.unify_schemas(both, promote_options="permissive").types[0]
        except (pyarrow.ArrowException, OverflowError):
            types[name] = pyarrow.string()


def _table(
    rows: list[Row], typed: "pyarrow.Table | None", schema: "pyarrow.Schema"
) -> "pyarrow.Table":
    import pyarrow

    columns = []
    for field in schema:
        own = None if typed is None or field.name not in typed.column_names else typed[field.name]
        if own is not None and own.type == field.type:
            columns.append(own)
            continue
        cells = (row.get(field.name) for row in rows)
        values = list(cells if own is None else map(plain, own.to_pylist()))
        if pyarrow.types.is_string(field.type):
            values = [None if value is None else _cell(value) for value in values]
        try:
            columns.append(pyarrow.array(values, field.type))
        except (pyarrow.ArrowException, OverflowError) as error:
            raise _UnfitError(field.name) from error
    return pyarrow.table(columns, schema=schema)


def _spelled(value: object) -> object:
    """Half a character can't be written: it is spelled."""
    if isinstance(value, dict):
        return {_spelled(key): _spelled(each) for key, each in value.items()}
    if isinstance(value, list):
        return list(map(_spelled, value))
    if isinstance(value, str) and not value.isascii():
        return value.encode("utf-8", "backslashreplace").decode("utf-8")
    return value


_WRITERS: dict[str, _Writer] = {
    ".jsonl": _json_lines,
    ".ndjson": _json_lines,
    ".csv": _delimited(","),
    ".tsv": _delimited("\t"),
    ".parquet": lambda rows, scratch, spread: _parquet(rows, scratch, {}),
}
