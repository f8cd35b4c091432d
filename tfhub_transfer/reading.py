"""Tables from files, row by row: CSV, TSV, JSON lines, SQuAD, each also gzipped, Parquet, TFDS."""

import contextlib
import csv
import difflib
import io
import json
import re
import socket
import sys
import threading
import zlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from tfhub_transfer import squad, values, wording
from tfhub_transfer.errors import InputError
from tfhub_transfer.storage import opening

Row = tuple[int, dict[str, Any]]

_SEPARATORS = {".csv": ",", ".tsv": "\t"}
_JSON_LINES = (".jsonl", ".ndjson", ".json")
_SENTENCES = (".conll", ".iob", ".iob2", ".bio")
_FORMATS = ".csv, .tsv, .jsonl, .conll (each also with .gz), .parquet, or tfds:NAME/SPLIT"
TOKENS, TAGS = "tokens", "tags"
_FIELD_LIMIT = 2**31 - 1  # a text may be long; the csv module stops at 128 KiB otherwise
# How files begin that have the wrong name.
_DISGUISES = {
    b"\x1f\x8b": "the file is gzipped; give its name the ending .gz",
    b"PK\x03\x04": "the file is a zip archive or a spreadsheet; export it as CSV in UTF-8",
    b"PAR1": "the file is Parquet; give its name the ending .parquet",
    b"\xff\xfe": "the file is UTF-16, not UTF-8; convert it, as with `iconv -f UTF-16 -t UTF-8`",
    b"\xfe\xff": "the file is UTF-16, not UTF-8; convert it, as with `iconv -f UTF-16 -t UTF-8`",
}
_BOM = b"\xef\xbb\xbf"
_LOOK_UP_SECONDS = 3


class Table:
    """The rows of one source, which can be gone through any number of times.

    Args:
        source: A file, or `tfds:NAME/SPLIT`.

    Attributes:
        columns: The names of the columns.
        unit: What the numbers of the rows count: each `"line"` of the file, as a text editor does,
            each `"row"`, or each `"question"` of a SQuAD file. All start at 1.

    Raises:
        InputError: If there is no such source, or its format isn't known.
    """

    def __init__(self, source: str) -> None:
        self.source = source
        self.unit = "line"
        if source.startswith("tfds:"):
            self.unit = "row"
            self._rows, self.columns = _tfds(source)
            return
        if source == "-" or opening.is_open_already(source):
            raise InputError(
                "a table is read more than once, so it can't come through a pipe; write it to a "
                f"file, which may be gzipped ({_FORMATS}). Received: {source}"
            )
        path = opening.path_of(source)
        gzipped = path.suffix.lower() == ".gz"
        suffix = (Path(path.stem) if gzipped else path).suffix.lower()
        _check_file(path, is_text=not gzipped and suffix != ".parquet")
        if suffix in _SEPARATORS:
            self._rows = lambda: _delimited(path, _SEPARATORS[suffix])
            self.columns = _header(path, _SEPARATORS[suffix])
        elif suffix == ".json" and squad.articles(_lines(path)) is not None:
            self.unit = "question"
            self._rows = lambda: squad.questions(squad.articles(_lines(path)) or [], path)
            self.columns = squad.COLUMNS
        elif suffix in _JSON_LINES:
            self._rows = lambda: _json_lines(path)
            self.columns = list(next(_json_lines(path), (0, {}))[1])
        elif suffix in _SENTENCES:
            self._rows = lambda: _sentences(path)
            self.columns = [TOKENS, TAGS]
        elif suffix == ".parquet" and not gzipped:
            self.unit = "row"
            self._rows = lambda: _parquet(path)
            self.columns = _parquet_columns(path)
        else:
            raise InputError(
                f"the format of the file isn't known by its name; expected {_FORMATS}. "
                f"Received: {source}"
            )
        for column in self.columns:
            wording.require_text(column, f"{source}: the name of a column")

    def __iter__(self) -> Iterator[Row]:
        return self._rows()

    def require(self, column: str, wanted_for: str) -> str:
        """Returns the column, or raises `InputError` with the columns that there are."""
        if column in self.columns:
            return column
        near = difflib.get_close_matches(column, self.columns, n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise InputError(
            f"{self.source} has no column {column!r} for the {wanted_for}; {hint}name one of "
            f"{', '.join(map(repr, self.columns)) or 'none'}. Received: {column!r}"
        )


def _check_file(path: Path, is_text: bool) -> None:
    try:
        if not path.exists():
            raise InputError(f"no such file; expected {_FORMATS}. Received: {path}")
        with opening.open_file(path) as file:
            first = file.read(4)
    except OSError as error:
        raise InputError(f"the file can't be read. Received: {path} ({error})") from error
    if not first:
        raise InputError(f"the file is empty; expected a header and rows. Received: {path}")
    for start, advice in _DISGUISES.items():
        if is_text and first.startswith(start):
            raise InputError(f"{advice}. Received: {path}")


def _lines(path: Path) -> Iterator[str]:
    """Lines as text with their ends; a byte that isn't UTF-8 is named with its place."""
    offset = 0
    with opening.open_maybe_gzipped(path) as file:
        try:
            for number, raw in enumerate(file, start=1):
                if number == 1 and raw.startswith(_BOM):
                    raw, offset = raw[len(_BOM) :], len(_BOM)
                try:
                    line = raw.decode("utf-8")
                except UnicodeDecodeError as error:
                    raise InputError(
                        "the file isn't UTF-8; convert it, as with `iconv -t UTF-8`. Received: "
                        f"{path} with byte 0x{raw[error.start]:02x} at offset "
                        f"{offset + error.start}, in line {number}"
                    ) from error
                offset += len(raw)
                yield line
        except (EOFError, zlib.error, OSError) as error:
            raise InputError(f"the file can't be read. Received: {path} ({error})") from error


def _reader(path: Path, separator: str) -> Any:
    csv.field_size_limit(_FIELD_LIMIT)
    return csv.reader(_lines(path), delimiter=separator, strict=True)


def _header(path: Path, separator: str) -> list[str]:
    try:
        columns = [name.strip() for name in next(_reader(path, separator), [])]
    except csv.Error as error:
        raise _unbalanced(path, 1, error) from error
    twice = {name for name in columns if columns.count(name) > 1}
    if twice or not any(columns):
        raise InputError(
            f"the header must name each column once. Received: {path} with {columns[:10]}"
        )
    return columns


def _delimited(path: Path, separator: str) -> Iterator[Row]:
    columns = _header(path, separator)
    reader = _reader(path, separator)
    next(reader)
    while True:
        line = reader.line_num + 1
        try:
            fields = next(reader, None)
        except csv.Error as error:
            raise _unbalanced(path, line, error) from error
        if fields is None:
            return
        if not fields:
            continue
        if len(fields) != len(columns):
            raise InputError(
                f"{path}, line {line}: expected {len(columns)} fields ({', '.join(columns)}); "
                f"quote a text that holds {separator!r}. Received: {len(fields)} fields"
            )
        yield line, dict(zip(columns, fields))


def _unbalanced(path: Path, line: int, error: csv.Error) -> InputError:
    return InputError(
        f"{path}, line {line}: a quote isn't closed, or text follows a closing quote; double the "
        f"quotes inside a quoted text. Received: {error}"
    )


def _sentences(path: Path) -> Iterator[Row]:
    """Words and tags of each sentence of a CoNLL file, with the number of its first line."""
    words: list[str] = []
    tags: list[str] = []
    first = number = 0
    for number, line in enumerate(_lines(path), start=1):
        fields = [field for field in re.split(r"[ \t\r\n]+", line) if field]
        if not fields and words:
            yield first, {TOKENS: words, TAGS: tags}
            words, tags = [], []
        if not fields or fields[0] == "-DOCSTART-":
            continue
        if len(fields) < 2:
            raise InputError(
                f"{path}, line {number}: expected a word and its tag, with space between, or an "
                f"empty line after a sentence. Received: {line.strip()[:60]!r}"
            )
        first = first if words else number
        words.append(fields[0])
        tags.append(fields[-1])
    if words:
        yield first, {TOKENS: words, TAGS: tags}


def _json_lines(path: Path) -> Iterator[Row]:
    for number, line in enumerate(_lines(path), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise InputError(
                f"{path}, line {number}: expected one JSON object a line, not a list or an object "
                f"over several lines. Received: {line.strip()[:40]} ({error})"
            ) from error
        if not isinstance(row, dict):
            raise InputError(
                f"{path}, line {number}: expected a JSON object. Received: {line.strip()[:60]}"
            )
        yield number, row


def _parquet_columns(path: Path) -> list[str]:
    import pyarrow  # heavy, and needed for this format only
    import pyarrow.parquet

    try:
        columns = list(pyarrow.parquet.read_schema(path).names)
    except (pyarrow.ArrowException, OSError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"not a Parquet file. Received: {path} ({reason})") from error
    if len(set(columns)) < len(columns):
        raise InputError(f"each column must have its own name. Received: {path} with {columns}")
    return columns


def _parquet(path: Path) -> Iterator[Row]:
    import pyarrow  # heavy, and needed for this format only
    import pyarrow.parquet

    number = 0
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            names = values.names_in_schema(file.schema_arrow.metadata)
            for batch in file.iter_batches(10_000):
                for row in batch.to_pylist():
                    number += 1
                    yield number, values.named(row, names)
    except (pyarrow.ArrowException, OSError) as error:
        reason = " ".join(str(error).split())
        raise InputError(
            f"the file can't be read after row {number}. Received: {path} ({reason})"
        ) from error


def would_download(source: Any) -> bool:
    """Whether reading a source may ask the network: a data set that isn't prepared yet."""
    if not str(source).startswith("tfds:"):
        return False
    name = source.removeprefix("tfds:").rpartition("/")[0]
    if ":" in name:
        return True  # of a community's, whose description alone comes from the network
    import tensorflow_datasets as tfds  # heavy, and needed for this source only

    try:
        return not tfds.builder(name).is_prepared()
    except Exception:  # no such data set, in any of the ways in which that shows
        return True


def _tfds(source: str) -> tuple[Any, list[str]]:
    """Rows of a prepared or downloadable TensorFlow data set, by `tfds:NAME[/CONFIG]/SPLIT`."""
    name, _, split = source.removeprefix("tfds:").rpartition("/")
    if not name or not split:
        raise InputError(
            f"expected tfds:NAME/SPLIT, such as tfds:glue/sst2/train. Received: {source}"
        )
    import tensorflow_datasets as tfds  # heavy, and needed for this source only

    try:
        builder = tfds.builder(name)
    except (
        tfds.core.registered.DatasetNotFoundError,
        AssertionError,
        ValueError,
        OSError,
    ) as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"no such TensorFlow data set. Received: {source} ({reason})") from error
    if not builder.is_prepared():
        _require_network(source)
        try:
            builder.download_and_prepare()
        except (tfds.download.DownloadError, AssertionError, ValueError, OSError) as error:
            reason = " ".join(str(error).split())[:200]
            raise InputError(
                f"the data set can't be downloaded; give a file instead. Received: {source} "
                f"({reason})"
            ) from error
    try:
        builder.info.splits[split]  # a slice, such as train[:10%], is a split too
    except (KeyError, AssertionError, ValueError) as error:
        raise InputError(
            f"the data set has the splits {', '.join(builder.info.splits)}. Received: {source}"
        ) from error

    features = builder.info.features
    # -1, in splits whose labels are kept secret, stands for none.
    found = {key: values.names_of(features[key]) for key in features}
    names = {key: own for key, own in found.items() if own}

    def rows() -> Iterator[Row]:
        examples = tfds.as_numpy(builder.as_dataset(split=split))
        for number, example in enumerate(examples, start=1):
            row = {key: _plain(value) for key, value in example.items()}
            yield number, values.named(row, names)

    return rows, list(features)


def _require_network(source: str) -> None:
    """Without a network the download of TFDS hangs for minutes before it fails."""
    found = threading.Event()

    def look_up() -> None:
        with contextlib.suppress(OSError):
            socket.getaddrinfo("storage.googleapis.com", 443)
            found.set()

    # A look-up can't be given a time limit, so it is left behind in a thread when it is slow.
    thread = threading.Thread(target=look_up, daemon=True)
    thread.start()
    thread.join(_LOOK_UP_SECONDS)
    if not found.is_set():
        raise InputError(
            "the data set isn't prepared on this machine and there is no network to download it; "
            f"give a file instead. Received: {source}"
        )


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode("utf-8", errors="replace")
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_plain(v) for v in value]
    return value.decode("utf-8", errors="replace") if isinstance(value, bytes) else value


def is_lines(source: str) -> bool:
    """Whether a source is texts, one a line: `-`, `/dev/stdin`, a pipe of the shell, or `.txt`."""
    return source == "-" or source.endswith(".txt") or opening.is_open_already(source)


def line_chunks(source: str, pair: bool = False, size: int = 1000) -> Iterator[list[Any]]:
    """Texts of lines in chunks, or pairs of texts with a tab between them as tuples.

    Args:
        source: A text file in UTF-8, `-` for standard input, or what the shell makes of
            `<(command)`.
        pair: Whether each line holds a pair.
        size: Lines in a chunk.

    Raises:
        InputError: If the file can't be read, or a line isn't a pair.
    """
    with contextlib.ExitStack() as stack:
        if source in ("-", "/dev/stdin"):
            lines: Iterable[str] | None = sys.stdin
        else:
            lines = stack.enter_context(_open_text(source))
        if lines is None:
            raise InputError("there is nothing to read: standard input is closed. Received: none")
        rows: list[Any] = []
        for number, line in enumerate(_decoded(lines, source), start=1):
            whole = wording.require_whole(line.rstrip("\r\n"), f"line {number} of {source}")
            rows.append(_line(whole, number, pair))
            if len(rows) == size:
                yield rows
                rows = []
        if rows:
            yield rows


def _decoded(lines: Iterable[str], source: str) -> Iterator[str]:
    try:
        yield from lines
    except ValueError as error:
        raise InputError(
            f"the text isn't UTF-8; convert it, as with `iconv -t UTF-8`. Received: {source} "
            f"({error})"
        ) from error


def _open_text(source: str) -> Any:
    try:
        if opening.is_open_already(source):
            return open(source, encoding="utf-8")
        return io.TextIOWrapper(opening.open_file(opening.path_of(source)), encoding="utf-8")
    except OSError as error:
        raise InputError(f"the file can't be read. Received: {source} ({error})") from error


def _line(line: str, number: int, pair: bool) -> Any:
    if not pair:
        return line
    parts = line.split("\t")
    if len(parts) != 2:
        raise InputError(
            f"line {number}: the model reads pairs; expected two texts with a tab between. "
            f"Received: {line[:60]!r}"
        )
    return tuple(parts)
