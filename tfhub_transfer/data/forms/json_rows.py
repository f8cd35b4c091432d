"""JSON: a row a line, an array of rows, tables as pandas writes them, and files of tools."""

import itertools
import json
import re
from collections.abc import Iterator
from typing import Any

from tfhub_transfer.data.forms import annotations, opening, squad
from tfhub_transfer.data.forms.base import TAGS, TOKENS, Asked, File, Form, of_rows
from tfhub_transfer.errors import InputError

SUFFIXES = (".jsonl", ".ndjson", ".json", ".jsonlines", ".ldjson")
_BETWEEN = re.compile(r"[ \t\r\n,]*")
# Keys under which a file may have its rows beside other things.
_ROWS_KEYS = ("data", "rows", "records", "examples", "items", "annotations")
_LISTED = "expected one JSON object a line, an array of objects, or an object with them as `data`"


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
    start = next((c for piece in opening.pieces(file) for c in piece if not c.isspace()), "")
    if start == "[":
        return _of_objects(lambda: _array(file), file, "row", [], asked)
    first = next((line for line in opening.lines(file) if line.strip()), "").lstrip()
    whole = _single(file, first)
    if whole is None:
        return _of_objects(lambda: _json_lines(file), file, "line", [], asked)
    found = squad.articles(whole)
    if found is not None:
        rows = lambda: squad.rows(found, file.path)  # noqa: E731
        return Form(list(squad.COLUMNS), rows, "question")
    table = _table(whole, file)
    if table is None and first.strip().endswith("}"):
        return _of_objects(lambda: _json_lines(file), file, "line", [], asked)
    held, notes = ([whole], []) if table is None else table
    return _of_objects(lambda: enumerate(held, start=1), file, "row", notes, asked)


def _of_objects(
    rows: annotations.Rows, file: File, unit: str, notes: list[str], asked: Asked
) -> Form:
    found = annotations.form(rows, str(file), unit, notes, asked)
    return found or of_rows(lambda: _objects(rows, file, unit), unit, notes)


def _objects(rows: annotations.Rows, file: File, unit: str) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, row in rows():
        if not isinstance(row, dict):
            raise InputError(
                f"{file}, {unit} {number}: expected a JSON object, with the names of columns. "
                f"Received: {str(row)[:60]}"
            )
        yield number, row


def _json_lines(file: File) -> Iterator[tuple[int, Any]]:
    for number, line in enumerate(opening.lines(file), start=1):
        if line.strip():
            yield number, _parsed(line, f"{file}, line {number}")


def _parsed(text: str, place: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(
            f"{place}: {_LISTED}. Received: {text.strip()[:40]} ({str(error)[:200]})"
        ) from error


def _array(file: File) -> Iterator[tuple[int, Any]]:
    """Elements of an array one after the other; what was read is forgotten."""
    decoder, pieces, number = json.JSONDecoder(), opening.pieces(file), 0
    buffer, place = next(pieces, ""), 0
    buffer = buffer.lstrip("\ufeff \t\r\n")[1:]
    while True:
        place = _BETWEEN.match(buffer, place).end()  # type: ignore[union-attr]
        if buffer.startswith("]", place):
            break
        failure: Exception | None = None
        try:
            value, end = decoder.raw_decode(buffer, place)
        except (ValueError, RecursionError) as error:
            failure, end = error, len(buffer)
        if end < len(buffer):  # else it may go on
            number, place = number + 1, end
            yield number, value
            continue
        buffer, place = buffer[place:], 0
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


def _single(file: File, first: str) -> dict[str, Any] | None:
    """The object, if the file is one alone."""
    lines = (line for line in opening.lines(file) if line.strip())
    next(lines, None)
    second = next(lines, None)
    try:
        whole = json.loads(first)
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
            whole = json.loads("".join(opening.lines(file)))
        except (ValueError, RecursionError):
            return None
    return whole if isinstance(whole, dict) else None


def _table(whole: dict[str, Any], file: File) -> tuple[list[Any], list[str]] | None:
    """Rows of an object that holds many, and what is to be said of it; `None` if it is a row."""
    values = list(whole.values())
    if {"columns", "data"} <= set(whole) <= {"columns", "data", "index"}:
        return [dict(zip(whole["columns"], row)) for row in whole["data"]], []
    if (names := _meta(whole)) is not None:
        data = whole["data"]
        rows = zip(*map(data.get, names)) if isinstance(data, dict) else data
        return [dict(zip(names, row)) for row in rows], []
    for key in _ROWS_KEYS:
        rows = whole.get(key)
        if (
            isinstance(rows, list)
            and rows
            and all(isinstance(r, dict | list) or r is None for r in rows)
        ):
            inner = [row for row in rows if row is not None]
            if all(isinstance(row, dict) and isinstance(row.get("row"), dict) for row in inner):
                inner = [row["row"] for row in inner]
            if not all(isinstance(row, dict) for row in inner) and key != "annotations":
                continue
            if annotations.is_row(whole):
                continue
            return inner, []
    if len(values) > 0 and all(isinstance(value, dict) and value for value in values):
        return _crossed(whole, file), ["the table is by columns or by index, as pandas writes it"]
    if len(values) > 1 and all(isinstance(value, list) for value in values):
        sizes = {len(value) for value in values}
        if len(sizes) == 1 and not {TOKENS, TAGS} & set(whole) and "sentences" not in whole:
            return [dict(zip(whole, row)) for row in zip(*values)], ["the table is by columns"]
    return None


def _meta(whole: dict[str, Any]) -> list[str] | None:
    """Names of columns that ClickHouse writes beside rows without them."""
    meta, data = whole.get("meta"), whole.get("data")
    if not isinstance(meta, list) or not all(isinstance(m, dict) and "name" in m for m in meta):
        return None
    names = [str(each["name"]) for each in meta]
    columns = isinstance(data, dict) and all(isinstance(data.get(name), list) for name in names)
    rows = isinstance(data, list) and all(isinstance(row, list) for row in data)
    return names if names and (columns or rows) else None


def _crossed(whole: dict[str, dict[str, Any]], file: File) -> list[dict[str, Any]]:
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
