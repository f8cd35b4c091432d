"""Rows that annotation tools wouldn't write: one line that names them, wherever they stand."""

import json
from pathlib import Path
from typing import Any

import pytest

import tfhub_transfer as tt

DOCUMENT = {"text": "Anna", "tokens": [{"id": 0, "start": 0, "end": 4}], "ents": []}
RESULT = {"from_name": "mood", "value": {"choices": ["good"]}}
STUDIO = {"id": 1, "data": {"text": "fine"}, "annotations": [{"result": [RESULT]}]}
SHORT = {"text": "fine", "annotator": 1, "annotation_id": 1, "lead_time": 1.0, "mood": "good"}
PRODIGY = {"text": "fine", "accept": ["good"], "answer": "accept", "_input_hash": 1}
NESTED = {"paragraphs": [{"sentences": [{"tokens": [{"orth": "Anna", "ner": "U-PER"}]}]}]}


def written(folder: Path, *rows: Any) -> Path:
    path = folder / "x.json"
    path.write_text(json.dumps(rows), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("first", "odd", "tool"),
    [
        (["Anna", {"entities": [[0, 4, "PER"]]}], ["Anna"], "spaCy"),
        (["Anna", {"entities": [[0, 4, "PER"]]}], [5, {"entities": []}], "spaCy"),
        (DOCUMENT, 5, "spaCy"),
        (DOCUMENT, {"text": "Anna"}, "spaCy"),
        (DOCUMENT, {"text": None, "tokens": [], "ents": [[0, 1, "x"]]}, "spaCy"),
        (NESTED, {"paragraphs": [{"sentences": 5}]}, "spaCy"),
        (STUDIO, {"data": {"text": "fine"}}, "Label Studio"),
        (STUDIO, {"data": {"text": "fine"}, "annotations": [{"result": 5}]}, "Label Studio"),
        (STUDIO, ["fine"], "Label Studio"),
        (SHORT, ["fine"], "Label Studio"),
        (PRODIGY, "fine", "Prodigy"),
        (PRODIGY, {**PRODIGY, "accept": 5}, "Prodigy"),
    ],
)
def test_a_row_that_a_tool_would_not_write_is_one_line(
    first: Any, odd: Any, tool: str, tmp_path: Path
) -> None:
    path = written(tmp_path, first, first, odd)
    message = f"x.json, row 3: expected a row as the ones before, {tool}. Received: "
    with pytest.raises(tt.InputError, match=message) as caught:
        tt.data.read(path, require_label=False)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "row",
    [
        {"text": "fine", "tokens": [101, 2986], "label": "good"},
        {"text": "fine", "tokens": ["id", "start", "end"], "label": "good"},
        {"text": "fine", "paragraphs": [1, 2], "label": "good"},
    ],
)
def test_rows_of_nobody_s_are_rows(row: Any, tmp_path: Path) -> None:
    examples = tt.data.read(written(tmp_path, row, row), text="text", label="label")
    assert examples.texts == (["fine", "fine"],) and examples.labels == ["good", "good"]


@pytest.mark.parametrize("rows", [{"columns": 3, "data": 4}, {"columns": ["text"], "data": 4}])
def test_columns_that_are_none_are_a_row(rows: Any, tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text(json.dumps(rows), encoding="utf-8")
    assert tt.data.read(path, text="data", require_label=False).texts == (["4"],)
