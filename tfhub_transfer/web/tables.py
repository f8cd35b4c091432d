"""Files that are dropped on the page, read as `predict` reads them."""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from tfhub_transfer import data
from tfhub_transfer.data import reading, writing
from tfhub_transfer.errors import InputError, one_line
from tfhub_transfer.models.encoding import ColumnNames
from tfhub_transfer.storage.scratch import temporary
from tfhub_transfer.texts import joining

# Forms that a page can show; others may unpack to any size.
SUFFIXES = (".csv", ".tsv", ".txt", ".json", ".jsonl")

_OPTION = re.compile(r"--[a-z]")


def read(
    content: bytes, name: str, inputs: Sequence[str], known: Mapping[str, str], most: int
) -> dict[str, Any]:
    """The texts of a file, and its other columns.

    Args:
        content: The file.
        name: What it is called, of which the ending counts.
        inputs: What a model calls the texts that it reads, one or two.
        known: What columns were called in training, by `text` and `text_pair`.
        most: Of how many rows.

    Returns:
        `texts`, a list for each row; `columns`, names; `rows`, a list of cells for each row.

    Raises:
        InputError: If it isn't such a file.
    """
    suffix = Path(name).suffix.lower()
    if suffix not in SUFFIXES:
        raise InputError(
            f"expected a file whose name ends in {', '.join(SUFFIXES)}. Received: "
            f"{one_line(name, 100)}"
        )
    with temporary() as folder:
        # In the place of the name that it has there, which could be anything.
        path = folder / f"file{suffix}"
        path.write_bytes(content)
        try:
            found = _read(path, inputs, known, most)
        except InputError as error:
            told = str(error).replace(str(path), f"file{suffix}")
            raise InputError(_without_options(told)) from error
    if not found["texts"]:
        raise InputError(f"the file has no rows. Received: {one_line(name, 100)}")
    return found


def _without_options(message: str) -> str:
    """A message without advice that names options: a page has none."""
    told, mark, received = message.partition(" Received: ")
    advice = told.removesuffix(".").split("; ")
    kept = [each for each in advice if not _OPTION.search(each)]
    if len(kept) < len(advice):
        kept.append("mend it, or give it to `tfhub-transfer predict`, which has options for it")
        told = f"{'; '.join(kept)}."
    return f"{told}{mark}{received}"


def _read(path: Path, inputs: Sequence[str], known: Mapping[str, str], most: int) -> dict[str, Any]:
    pair = len(inputs) > 1
    texts: list[list[str]] = []
    rows: list[dict[str, Any]] = []
    if reading.is_lines(str(path), reading.pair_columns(known.values()) if pair else ()):
        for chunk in reading.line_chunks(str(path), pair, columns=[*known.values(), *inputs]):
            texts += [[line] if isinstance(line, str) else list(line) for line in chunk]
            _require_few(texts, most)
        return {"texts": texts, "columns": list(inputs), "rows": texts}
    table = reading.Table(str(path), reading.Asked(labels=False))
    named = known if known and all(map(table.holds, known.values())) else {}
    if not pair and not named and inputs[0] in table.columns:
        named = {"text": inputs[0]}
    wanted = f"columns {' and '.join(inputs)}" if pair else f"a column {inputs[0]!r}"
    other = InputError(f"{path}: expected {wanted}. Received: {', '.join(table.columns)}")
    try:
        stream = data.stream(table, **cast(ColumnNames, named), require_label=False)
    except InputError as error:  # it would say how columns are named, which a page can't
        raise other from error
    for examples, cells in stream.with_rows():
        if examples.is_pair != pair:
            raise other
        texts += map(list, zip(*examples.texts))
        rows += map(writing.plain, cells)
        _require_few(texts, most)
    if any(joining.is_listed(text) for each in texts for text in each):
        raise InputError(
            f"{path}: the page reads texts, not lists of words or sentences; `tfhub-transfer "
            "predict` answers these. Received: lists"
        )
    columns = list(dict.fromkeys(name for row in rows for name in row))
    # Browsers don't know what a file of Python's may spell: of NaN they see the name.
    shown = json.loads(
        json.dumps([[row.get(name) for name in columns] for row in rows]), parse_constant=str
    )
    return {"texts": texts, "columns": columns, "rows": shown}


def _require_few(texts: Sequence[object], most: int) -> None:
    if len(texts) > most:
        raise InputError(
            f"the page answers up to {most:,} rows of a file; `tfhub-transfer predict` any number. "
            f"Received: more than {most:,}"
        )
