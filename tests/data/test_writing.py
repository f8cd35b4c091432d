"""Rows to files, read back by other readers."""

import csv
import datetime
import decimal
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest

from tfhub_transfer.data import reading, writing
from tfhub_transfer.errors import InputError

ROWS: list[dict[str, Any]] = [
    {"id": 1, "text": 'a "quoted", text\nin two lines\r', "scores": {"a": 0.5, "b": 0.25}},
    {"id": "x7", "text": "ü\t🙂", "scores": {"a": 1.0, "b": float("nan")}, "words": []},
    {"id": None, "text": "half \ud83d", "words": [{"text": "A", "start": 0}], "late": True},
    {"id": 2**60 + 1, "late": 0.5, "day": datetime.date(2020, 1, 2), "raw": b"\xff"},
    {"n": np.float32(0.5), "a": np.arange(2), "none": {}},
]


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writing, "_PART", 2)


def test_json_lines_hold_everything(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    assert writing.write(iter(ROWS), path) == 5
    read = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    assert read[0] == ROWS[0]
    assert read[1] == {**ROWS[1], "scores": {"a": 1.0, "b": None}}
    assert read[2] == ROWS[2]
    assert read[3] == {"id": 2**60 + 1, "late": 0.5, "day": "2020-01-02", "raw": "/w=="}
    assert read[4] == {"n": 0.5, "a": [0, 1], "none": {}}


@pytest.mark.parametrize("suffix", [".jsonl", ".csv", ".parquet"])
@pytest.mark.parametrize("form", ["lines", "array"])
def test_numbers_that_json_lacks_are_kept_as_a_file_spells_them(
    form: str, suffix: str, tmp_path: Path
) -> None:
    """Python writes and reads them; nothing became null, and no other NaN became one of them."""
    rows = ['{"text": "a", "n": NaN, "m": [-Infinity, 1.5]}', '{"text": "b", "n": 2, "m": []}']
    text = "\n".join(rows) if form == "lines" else f"[{','.join(rows)}]"
    (tmp_path / "in.json").write_text(text, encoding="utf-8")
    read = [row for _, row in reading.Table(str(tmp_path / "in.json"))]
    path = tmp_path / f"out{suffix}"
    writing.write(read, path)
    if suffix == ".parquet":
        found = pyarrow.parquet.read_table(path).to_pylist()
        assert repr(found[0]) == "{'text': 'a', 'n': nan, 'm': [-inf, 1.5]}"
    elif suffix == ".csv":
        assert path.read_text("utf-8").splitlines()[1] == 'a,NaN,"[-Infinity, 1.5]"'
    else:
        assert path.read_text("utf-8").splitlines()[0] == rows[0]
    assert writing.plain({"n": float("inf")}) == {"n": None}


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ('{"text": "a"}\n{"text": "b", "n": [1e400]}\n', "line 2"),
        ('[{"text": "a"}, {"text": "b", "n": -1e400}]', "row 2"),
        ('{\n"data": [{"text": "b", "n": 1e400}]}', "in.json"),
    ],
)
def test_a_number_of_which_nothing_would_be_left_is_refused(
    text: str, place: str, tmp_path: Path
) -> None:
    (tmp_path / "in.json").write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=f"{place}: no float is so large.*Received: -?1e400"):
        list(reading.Table(str(tmp_path / "in.json")))


@pytest.mark.parametrize(("suffix", "separator"), [(".csv", ","), (".tsv", "\t"), (".CSV", ",")])
def test_tables_of_text_have_a_column_for_each_class(
    suffix: str, separator: str, tmp_path: Path
) -> None:
    path = tmp_path / f"out{suffix}"
    writing.write(iter(ROWS), path, spread=("scores",))
    with path.open(encoding="utf-8", newline="") as file:
        read = list(csv.DictReader(file, delimiter=separator, strict=True))
    assert list(read[0])[:5] == ["id", "text", "scores.a", "scores.b", "words"]
    assert [row["id"] for row in read] == ["1", "x7", "", str(2**60 + 1), ""]
    assert [row["text"] for row in read[:2]] == [row["text"] for row in ROWS[:2]]
    assert read[2]["text"] == "half \\ud83d"  # which no file can hold
    assert (read[0]["scores.b"], read[1]["scores.b"]) == ("0.25", "")
    assert [row["late"] for row in read] == ["", "", "true", "0.5", ""]
    assert json.loads(read[2]["words"]) == ROWS[2]["words"]


def test_parquet_keeps_the_types_of_columns_that_pass_through(tmp_path: Path) -> None:
    """Also what Python can't hold, and in parts of which one is empty."""
    days = [datetime.date(2020, 1, day) for day in range(1, 6)]
    given = pa.table(
        {
            "text": pa.array(list("abcde"), pa.binary()),  # as old writers have strings
            "day": days,
            "ns": pa.array([1, None, 1577836800000000001, 0, 5], pa.timestamp("ns", "UTC")),
            "time": pa.array([1, None, 3, 4, 5], pa.time64("ns")),
            "took": pa.array([1, None, 3, 4, 5], pa.duration("ns")),
            "price": pa.array([decimal.Decimal("1.50")] * 5, pa.decimal128(10, 2)),
            "small": pa.array([None, None, 1, 2, 3], pa.int8()),
            "image": pa.array([b"ab", b"\xff\xd8", None, b"", b"x"], pa.binary()),
            "hash": pa.array([b"ab", b"\xff\xd8", None, b"zz", b"xx"], pa.binary(2)),
            "kind": pa.array(list("ababa")).dictionary_encode(),
            "inner": [{"day": day} for day in days],
            "many": pa.array([[1], [], None, [3], [4]], pa.list_(pa.int16())),
            "map": pa.array([[("a", 1)]] * 5, pa.map_(pa.string(), pa.int64())),
        }
    )
    pyarrow.parquet.write_table(given, tmp_path / "in.parquet")
    source = reading.Table(tmp_path / "in.parquet")
    rows = [{**row, "answer": 0.5, "day_2": row["day"]} for _, row in source]
    writing.write(rows, tmp_path / "out.parquet", (), source.types)
    read = pyarrow.parquet.read_table(tmp_path / "out.parquet")
    stored = pyarrow.parquet.read_table(tmp_path / "in.parquet")
    assert read.column_names == [*given.column_names, "answer", "day_2"]
    for name in given.column_names:
        assert read.schema.field(name).type == stored.schema.field(name).type, name
        if name == "kind":  # whose dictionaries may differ
            assert read[name].to_pylist() == stored[name].to_pylist()
        else:
            assert read[name] == stored[name], name
    assert read["day_2"].to_pylist() == [day.isoformat() for day in days]
    writing.write(rows, tmp_path / "out.jsonl")
    lines = (tmp_path / "out.jsonl").read_text("utf-8").splitlines()
    said = json.loads(lines[1])
    assert (said["text"], said["image"], said["hash"]) == ("b", "/9g=", "/9g=")
    assert json.loads(lines[0])["image"] == "YWI="


def test_parquet_finds_types_that_hold_for_all_rows(tmp_path: Path) -> None:
    path = tmp_path / "out.parquet"
    writing.write(iter(ROWS), path, spread=("scores",))
    table = pyarrow.parquet.read_table(path)
    read = table.to_pylist()
    assert [row["id"] for row in read] == ["1", "x7", None, str(2**60 + 1), None]
    assert read[0]["scores"] == {"a": 0.5, "b": 0.25}
    assert [row["words"] for row in read] == [None, [], ROWS[2]["words"], None, None]
    assert [row["late"] for row in read] == [None, None, "true", "0.5", None]
    assert str(table.schema.field("n").type) == "double"
    large = [{"id": 2**60 + 1}, {"id": 1}, {"id": 0.5}]  # which no float holds to the last digit
    writing.write(iter(large), path)
    assert pyarrow.parquet.read_table(path).column("id").to_pylist() == [str(2**60 + 1), "1", "0.5"]
    integers = ({"id": number} for number in range(5))
    writing.write(integers, path)
    assert str(pyarrow.parquet.read_table(path).schema.field("id").type) == "int64"


@pytest.mark.parametrize("suffix", [".jsonl", ".csv", ".parquet"])
def test_a_file_is_written_whole_or_not_at_all(suffix: str, tmp_path: Path) -> None:
    def failing() -> Iterator[dict[str, Any]]:
        yield from ROWS
        raise RuntimeError("in the middle")

    path = tmp_path / f"out{suffix}"
    path.write_bytes(b"before")
    with pytest.raises(RuntimeError, match="in the middle"):
        writing.write(failing(), path)
    assert [p.name for p in tmp_path.iterdir()] == [path.name]
    assert path.read_bytes() == b"before"


def test_what_may_not_be_written_is_refused_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = tmp_path / "there.csv"
    there.write_text("mine", encoding="utf-8")
    with pytest.raises(InputError, match="the output exists; .* give `--overwrite`"):
        writing.check(there)
    writing.check(there, overwrite=True)
    with pytest.raises(InputError, match="must lie apart from what is read"):
        writing.check(there, overwrite=True, inputs=("none.csv", there))
    for name in ("out.json", "out", "out.xlsx", "out.csv.gz"):
        with pytest.raises(InputError, match=r"must end in .jsonl, .ndjson, .csv, .tsv, .parquet"):
            writing.check(tmp_path / name)
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(InputError, match="is a folder"):
        writing.check(tmp_path / "folder.csv", overwrite=True)
    with pytest.raises(InputError, match="can't be written"):
        writing.write(iter(ROWS), there / "out.csv")
    monkeypatch.setattr(writing.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match="Parquet files need pyarrow: `python -m pip install"):
        writing.check(tmp_path / "out.parquet")
    assert there.read_text(encoding="utf-8") == "mine"
