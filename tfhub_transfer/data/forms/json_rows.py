"""JSON: a row a line, an array of rows, tables as pandas writes them, and files of tools."""

import functools
import itertools
import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from tfhub_transfer.data.forms import annotations, opening, squad
from tfhub_transfer.data.forms.base import (
    TAGS,
    TOKENS,
    Asked,
    File,
    Form,
    Numbered,
    Tolerant,
    of_rows,
    read_or_not,
)
from tfhub_transfer.errors import InputError
from tfhub_transfer.incoming import values, wording
from tfhub_transfer.shapes import Row

SUFFIXES = (".jsonl", ".ndjson", ".json", ".jsonlines", ".ldjson")
_BETWEEN = re.compile(r"[ \t\r\n,]*")
# Keys under which a file may have its rows beside other things.
_ROWS_KEYS = ("data", "rows", "records", "examples", "items", "annotations")
_LISTED = "expected one JSON object a line, an array of objects, or an object with them as `data`"


class _TooLargeError(ValueError):
    """A number of which nothing would be left."""


def _finite(text: str) -> float:
    """A number with a point or an exponent."""
    number = float(text)
    if math.isinf(number):
        raise _TooLargeError(
            f"no float is so large; write the number as a string. Received: {text[:40]}"
        )
    return number


_DECODER = json.JSONDecoder(parse_float=_finite, parse_constant=values.NotFinite)


def looks_like(file: File) -> bool:
    """Whether the first line that says something is a JSON object, in a file of any name.

    Args:
        file: The file.
    """
    first = next((line for line in opening.lines(file) if line.strip()), "").strip()
    if not (first.startswith("{") and first.endswith("}")):
        return False
    try:
        return isinstance(json.loads(first), dict)
    # `RecursionError` where brackets lie thousands deep.
    except (ValueError, RecursionError):
        return False


def form(file: File, asked: Asked) -> Form:
    """The rows of a JSON file, however it holds them.

    Args:
        file: The file.
        asked: What it is read for.

    Raises:
        InputError: If it holds something else.
    """
    # By pieces: an array may be a single line, larger than memory.
    start = next((c for piece in opening.pieces(file) for c in piece if not c.isspace()), "")
    if start == "[":
        return _of_objects(lambda: _array(file), file, "row", [], asked)
    first = next((line for line in opening.lines(file) if line.strip()), "").lstrip()
    whole = _single(file, first)
    if whole is None:
        return _of_objects(lambda: _json_lines(file), file, "line", [], asked)
    found = squad.articles(whole)
    if found is not None:
        _require_whole(file)
        rows = lambda: squad.rows(found, file.path)  # noqa: E731
        return Form(list(squad.COLUMNS), rows, "question")
    table = _table(whole, file)
    if table is None and first.strip().endswith("}"):
        return _of_objects(lambda: _json_lines(file), file, "line", [], asked)
    _require_whole(file)
    held, notes = table or ([whole], [])
    return _of_objects(lambda: enumerate(held, start=1), file, "row", notes, asked)


def _require_whole(file: File) -> None:
    """Refuses bytes that aren't UTF-8 where no line tells in which row they stand."""
    for number, line in enumerate(opening.lines(file) if isinstance(file, Tolerant) else (), 1):
        wording.require_decoded(line, f"{file}, line {number}")


def _of_objects(
    rows: annotations.Rows, file: File, unit: str, notes: list[str], asked: Asked
) -> Form:
    found = annotations.form(rows, str(file), unit, notes, asked)
    return found or of_rows(lambda: _objects(rows, file, unit), unit, notes)


def _objects(rows: annotations.Rows, file: File, unit: str) -> Iterator[Numbered]:
    for number, row in rows():
        place = f"{file}, {unit} {number}"
        yield number, read_or_not(functools.partial(_object, row, place), row, file)


def _object(row: object, place: str) -> Row:
    if not isinstance(row, dict):
        raise InputError(
            f"{place}: expected a JSON object, with the names of columns. Received: {str(row)[:60]}"
        )
    return row


def _json_lines(file: File) -> Iterator[tuple[int, object]]:
    for number, line in enumerate(opening.lines(file), start=1):
        if line.strip():
            read = functools.partial(_parsed, line, f"{file}, line {number}")
            yield number, read_or_not(read, line.rstrip("\r\n"), file)


def _parsed(text: str, place: str) -> Any:
    # As it stands there a half is a byte of a tolerant file: JSON's own, `\ud83d`, is ASCII.
    wording.require_decoded(text, place)
    try:
        return _DECODER.decode(text)
    except _TooLargeError as error:
        raise InputError(f"{place}: {error}") from error
    except (ValueError, RecursionError) as error:
        raise InputError(
            f"{place}: {_LISTED}. Received: {text.strip()[:40]} ({str(error)[:200]})"
        ) from error


def _array(file: File) -> Iterator[tuple[int, object]]:
    """Elements of an array one after the other; what was read is forgotten."""
    pieces = (wording.require_decoded(piece, str(file)) for piece in opening.pieces(file))
    number = 0
    buffer, place = next(pieces, ""), 0
    buffer = buffer.lstrip("\ufeff \t\r\n")[1:]
    while True:
        place = _BETWEEN.match(buffer, place).end()  # type: ignore[union-attr]
        if buffer.startswith("]", place):
            break
        failure: Exception | None = None
        try:
            value, end = _DECODER.raw_decode(buffer, place)
        except _TooLargeError as error:
            raise InputError(f"{file}, row {number + 1}: {error}") from error
        except (ValueError, RecursionError) as error:
            failure, end = error, len(buffer)
        if end < len(buffer):  # else it may go on
            number, place = number + 1, end
            yield number, value
            continue
        buffer, place = buffer[place:], 0
        # As much again as there is: a long row is parsed from its start each time.
        more = "".join(itertools.islice(pieces, 1 + len(buffer) // opening.PIECE))
        if not more or isinstance(failure, RecursionError):
            raise InputError(
                f"{file}, row {number + 1}: {_LISTED}; the array is damaged or isn't closed. "
                f"Received: {buffer.strip()[:40]} ({str(failure)[:200]})"
            ) from failure
        buffer += more
    rest = next((text for text in (buffer[place + 1 :], *pieces) if text.strip()), "")
    if rest:
        raise InputError(
            f"{file}: {_LISTED}; this has more behind an array. Received: {rest.strip()[:60]!r}"
        )


def _single(file: File, first: str) -> Row | None:
    """The object, if the file is one alone."""
    lines = (line for line in opening.lines(file) if line.strip())
    next(lines, None)
    second = next(lines, None)
    try:
        whole = _DECODER.decode(first)
        if second is not None:
            if isinstance(whole, dict) and squad.articles(whole) is not None:
                raise InputError(
                    "a file of SQuAD holds one JSON object; put every other one in a file of its "
                    "own. Received: more lines after it"
                )
            return None
    except (ValueError, RecursionError) as error:
        if isinstance(error, InputError):
            raise
        if second is None or not first.rstrip().endswith(("{", "[", ",")):
            return None
        try:
            whole = _DECODER.decode("".join(opening.lines(file)))
        except _TooLargeError as error:
            raise InputError(f"{file}: {error}") from error
        except (ValueError, RecursionError):
            return None
    return whole if isinstance(whole, dict) else None


def _table(whole: Row, file: File) -> tuple[Sequence[object], list[str]] | None:
    """Rows of an object that holds many, and what is to be said of it; `None` if it is a row."""
    columns, data = whole.get("columns"), whole.get("data")
    of_pandas = {"columns", "data"} <= set(whole) <= {"columns", "data", "index"}
    if of_pandas and isinstance(columns, list) and isinstance(data, list):
        return [dict(zip(columns, row)) for row in data], []
    if (named := _meta(whole)) is not None:
        return [dict(zip(named[0], row)) for row in named[1]], []
    for key in _ROWS_KEYS:
        rows = whole.get(key)
        if (
            isinstance(rows, list)
            and rows
            and all(isinstance(r, dict | list) or r is None for r in rows)
        ):
            inner = [row for row in rows if row is not None]
            # Hugging Face's server of data sets puts each row into one with its number.
            if all(isinstance(row, dict) and isinstance(row.get("row"), dict) for row in inner):
                inner = [row["row"] for row in inner]
            if not all(isinstance(row, dict) for row in inner) and key != "annotations":
                continue
            # A single row of an annotation tool may have a list by such a name.
            if annotations.is_row(whole):
                continue
            return inner, []
    crossed = {key: each for key, each in whole.items() if isinstance(each, dict) and each}
    if len(crossed) == len(whole) > 0:
        return _crossed(crossed, file), ["the table is by columns or by index, as pandas writes it"]
    lists = {key: each for key, each in whole.items() if isinstance(each, list)}
    if len(lists) == len(whole) > 1:
        sizes = set(map(len, lists.values()))
        # A row of words and their tags, or of sentences, consists of such lists, too.
        if len(sizes) == 1 and not {TOKENS, TAGS} & set(whole) and "sentences" not in whole:
            by_column = [dict(zip(lists, row)) for row in zip(*lists.values())]
            return by_column, ["the table is by columns"]
    return None


def _meta(whole: Row) -> tuple[list[str], Iterable[Sequence[object]]] | None:
    """Names of columns that ClickHouse writes beside rows without them, and these."""
    meta, data = whole.get("meta"), whole.get("data")
    if not isinstance(meta, list) or not all(isinstance(m, dict) and "name" in m for m in meta):
        return None
    names = [str(each["name"]) for each in meta]
    if not names:
        return None
    if isinstance(data, dict) and all(isinstance(data.get(name), list) for name in names):
        return names, zip(*map(data.get, names))
    if isinstance(data, list) and all(isinstance(row, list) for row in data):
        return names, data
    return None


def _crossed(whole: Mapping[str, Row], file: File) -> list[Row]:
    """Rows of `{column: {index: value}}` or `{index: {column: value}}`."""
    outer, inner = list(whole), list(next(iter(whole.values())))
    if all(key.isdigit() for key in inner) and not all(key.isdigit() for key in outer):
        return [{name: whole[name].get(key) for name in outer} for key in inner]
    if all(key.isdigit() for key in outer) and not all(key.isdigit() for key in inner):
        return list(whole.values())
    raise InputError(
        f"{file}: can't tell columns and index apart; write it with "
        '`to_json(orient="records", lines=True)`. '
        f"Received: an object with {', '.join(outer[:3])}, each with {', '.join(inner[:3])}"
    )
