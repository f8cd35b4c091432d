"""Parquet and Arrow: files of columns, and the folders that Hugging Face's `datasets` saves."""

import contextlib
import functools
import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from tfhub_transfer.data.forms import classes
from tfhub_transfer.data.forms.base import Form, Numbered
from tfhub_transfer.errors import InputError
from tfhub_transfer.shapes import Row

if TYPE_CHECKING:
    import pyarrow

ARROW = (".arrow", ".feather", ".ipc", ".arrows")
# Rows that are in memory at once.
_BATCH = 10_000
_STATE, _SPLITS = "state.json", "dataset_dict.json"
# Index columns that pandas adds and nobody asked for.
_INDEX = "__index_level_"
# Folders inside of tables that keep older rows.
_VERSIONS = {"_delta_log": "Delta Lake", ".hoodie": "Hudi"}


def parquet(path: Path) -> Form:
    """The rows of a Parquet file.

    Args:
        path: The file, or a folder of `parts`.

    Raises:
        InputError: If it is none, or files of a folder have other columns than the first.
    """
    import pyarrow  # heavy, and needed for this form only
    import pyarrow.parquet

    paths = parts(path) or [path]
    with _readable("not a Parquet file", path):
        schema, *others = (pyarrow.parquet.read_schema(each) for each in paths)
    odd = next((i for i, each in enumerate(others, start=1) if each.names != schema.names), None)
    if odd is not None:
        raise InputError(
            "the files of a folder must have the same columns. Received: "
            f"{paths[0].name} with {schema.names} and {paths[odd].name} with "
            f"{others[odd - 1].names}, in {path}"
        )

    def batches(columns: list[str] | None = None) -> "Iterator[pyarrow.RecordBatch]":
        for each in paths:
            with pyarrow.parquet.ParquetFile(each) as file:
                yield from file.iter_batches(_BATCH, columns=columns)

    return _form(schema, batches, str(path))


def parts(path: Path) -> list[Path]:
    """The Parquet files that a folder consists of, as Spark writes it; none if it is another.

    Args:
        path: A folder, or a file.
    """
    if not path.is_dir():
        return []
    found = sorted(each for each in path.iterdir() if not each.name.startswith(("_", ".")))
    return found if all(each.suffix.lower() == ".parquet" for each in found) else []


def require_no_versions(path: Path) -> None:
    """Refuses a folder of a table whose files may hold rows that are no longer part of it.

    Args:
        path: A folder, or a file.

    Raises:
        InputError: If it is one of Delta Lake or Hudi.
    """
    for name, kind in _VERSIONS.items():
        if (path / name).is_dir():
            raise InputError(
                f"the folder is a table of {kind}, whose files may hold rows of older versions; "
                "write its rows as one Parquet file, or give a `pyarrow.Table` of them. Received: "
                f"{path}"
            )


def require_no_partitions(path: Path) -> None:
    """Refuses a folder of a table whose columns stand in names of folders.

    Args:
        path: A folder, or a file.

    Raises:
        InputError: If they do, as Hive and Spark have them.
    """
    if not path.is_dir():
        return
    # Names that begin so are of files under way.
    seen = (each for each in path.iterdir() if not each.name.startswith(("_", ".")))
    named = [each for each in seen if "=" in each.name and each.is_dir()]
    if named:
        raise InputError(
            "a column stands in names of folders; write the table as one Parquet file, or give "
            '`pyarrow.dataset.dataset(path, partitioning="hive")`. '
            f"Received: {path} with {named[0].name}"
        )


def arrow(path: Path) -> Form:
    """The rows of an Arrow file or stream, of which a Feather file is one.

    Args:
        path: The file.

    Raises:
        InputError: If it is none.
    """
    return _arrows([path], path)


def _arrows(paths: list[Path], place: Path) -> Form:
    import pyarrow  # heavy, and needed for this form only

    def batches(columns: list[str] | None = None) -> Iterator[pyarrow.RecordBatch]:
        for path in paths:
            with pyarrow.memory_map(str(path)) as source:
                yield from _chosen(_batches(source), columns)

    with _readable("not an Arrow file", place), pyarrow.memory_map(str(paths[0])) as source:
        schema = _opened(source).schema
    return _form(schema, batches, str(place))


def _opened(
    source: "pyarrow.NativeFile",
) -> "pyarrow.RecordBatchFileReader | pyarrow.RecordBatchStreamReader":
    import pyarrow  # heavy, and needed for this form only

    start = source.read(len(b"ARROW1"))
    source.seek(0)
    if start.startswith(b"FEA1"):
        raise InputError(
            "Feather of version 1 isn't read; write it anew with `to_feather` of today's pandas. "
            "Received: such a file"
        )
    return pyarrow.ipc.open_file(source) if start == b"ARROW1" else pyarrow.ipc.open_stream(source)


def _batches(source: "pyarrow.NativeFile") -> "Iterator[pyarrow.RecordBatch]":
    reader = _opened(source)
    if hasattr(reader, "num_record_batches"):
        for number in range(reader.num_record_batches):
            yield reader.get_batch(number)
    else:
        yield from reader


def table(found: "pyarrow.Table", place: str) -> Form:
    """The rows of a `pyarrow.Table`.

    Args:
        found: The table, or what is read as one, such as a `pyarrow.dataset.Dataset`.
        place: What to call it in messages.
    """
    size = "batch_size" if hasattr(found, "scanner") else "max_chunksize"  # of files, or in memory

    def batches(columns: list[str] | None = None) -> "Iterator[pyarrow.RecordBatch]":
        return _chosen(found.to_batches(**{size: _BATCH}), columns)

    return _form(found.schema, batches, place)


def _chosen(
    batches: "Iterable[pyarrow.RecordBatch]", columns: list[str] | None
) -> "Iterator[pyarrow.RecordBatch]":
    return (batch if columns is None else batch.select(columns) for batch in batches)


class _Batches(Protocol):
    """Begins to read a table: some of its columns, or all."""

    def __call__(self, columns: list[str] | None = None) -> "Iterator[pyarrow.RecordBatch]": ...


def _form(schema: "pyarrow.Schema", batches: _Batches, place: str) -> Form:
    columns = [name for name in schema.names if not name.startswith(_INDEX)]
    if len(set(columns)) < len(columns):
        raise InputError(f"each column must have its own name. Received: {place} with {columns}")
    features = classes.of_metadata(schema.metadata)
    named = classes.namer(features, place)
    # Reads the file once more: only when rows are asked for, and once for all passes.
    texts = functools.cache(lambda: _texts(schema, batches, columns))

    def rows() -> Iterator[Numbered]:
        number = 0
        with _readable("the file can't be read", place, lambda: number):
            decoded = texts()
            for batch in batches():
                held = [_values(batch.column(key), key in decoded, key) for key in columns]
                for row in zip(*held):
                    number += 1
                    yield number, named(dict(zip(columns, row)))

    # Numbers of classes come as their names, which the columns' types couldn't hold.
    kept = {
        key: schema.field(key).type for key in columns if not classes.has_names(features.get(key))
    }
    return Form(columns, rows, "row", types=kept)


def _texts(schema: "pyarrow.Schema", batches: _Batches, columns: list[str]) -> set[str]:
    """The columns of bytes that are texts, in UTF-8: all of a column, or none of it."""
    import pyarrow  # heavy, and needed for this form only

    left = {key for key in columns if "binary" in str(schema.field(key).type).partition("<")[0]}
    for batch in batches(sorted(left)) if left else ():
        for key in tuple(left):
            try:
                batch.column(key).cast(pyarrow.large_binary()).cast(pyarrow.large_string())
            except pyarrow.ArrowException:
                left.remove(key)
        if not left:
            break
    return left


def _values(column: "pyarrow.Array", is_text: bool, key: str) -> list[object]:
    """A column's cells; times of nanoseconds, which Python lacks, as ISO 8601 or numbers."""
    import pyarrow  # heavy, and needed for this form only

    if is_text:
        column = column.cast(pyarrow.large_binary()).cast(pyarrow.large_string())
    try:
        return list(column.to_pylist())
    except ValueError:
        with contextlib.suppress(pyarrow.ArrowException):
            if not pyarrow.types.is_timestamp(column.type):
                return list(column.cast(pyarrow.int64()).to_pylist())
            stamps = column.cast(pyarrow.string()).to_pylist()
            return [stamp and stamp.replace(" ", "T", 1) for stamp in stamps]
    raise InputError(
        f"column {key!r} holds times of nanoseconds inside of others; write it with microseconds. "
        f"Received: {column.type}"
    )


@contextlib.contextmanager
def _readable(what: str, place: object, after: Callable[[], int] | None = None) -> Iterator[None]:
    import pyarrow  # heavy, and needed for this form only

    try:
        yield
    except (pyarrow.ArrowException, OSError) as error:
        reason = " ".join(str(error).split())
        where = "" if after is None else f" after row {after()}"
        raise InputError(f"{what}{where}. Received: {place} ({reason})") from error


# Folders --------------------------------------------------------------------------------------


def is_folder(path: Path) -> bool:
    """Whether a folder is what `save_to_disk` wrote.

    Args:
        path: A folder.
    """
    return (path / _STATE).is_file() or (path / _SPLITS).is_file()


def splits(path: Path) -> list[str]:
    """The names of the splits in a folder of several; none if it holds one.

    Args:
        path: What `DatasetDict.save_to_disk` wrote.

    Raises:
        InputError: If it is damaged.
    """
    if not (path / _SPLITS).is_file():
        return []
    names = _json(path / _SPLITS).get("splits")
    return [str(name) for name in names] if isinstance(names, list) else []


def folder(path: Path) -> Form:
    """The rows of a folder that `Dataset.save_to_disk` wrote.

    Args:
        path: The folder.

    Raises:
        InputError: If it holds several splits, or is damaged.
    """
    names = splits(path)
    if names:
        raise InputError(
            f"the folder has the splits {', '.join(names)}; name one, as in {path / names[0]}. "
            f"Received: {path}"
        )
    files = _json(path / _STATE).get("_data_files")
    files = files if isinstance(files, list) else []
    listed = [str(f.get("filename")) for f in files if isinstance(f, dict)]
    found = [path / name for name in listed if (path / name).is_file()]
    if not found or len(found) < len(listed):
        raise InputError(
            f"the folder must hold the files that its {_STATE} lists; save it anew. "
            f"Received: {path}"
        )
    return _arrows(found, path)


def _json(path: Path) -> Row:
    try:
        found = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"the file can't be read. Received: {path} ({error})") from error
    return found if isinstance(found, dict) else {}
