"""Twenty files that other tools wrote and nobody designed for: read right, or refused in one line.

What they hold is `TEXTS`, as `tests/data/forms/README.md` says; each is asked as `train` and as
`predict` would.
"""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.dataset
import pyarrow.parquet
import pytest

from tfhub_transfer import data
from tfhub_transfer.data import reading
from tfhub_transfer.data.named_cells import OR_BLANK
from tfhub_transfer.errors import InputError
from tfhub_transfer.incoming import values

MADE = Path(__file__).with_name("forms")
TEXTS = [
    "good, very",
    'she said "no"',
    "it's 'fine'",
    "pipe | here; semi",
    "naïve café 🙂",
    "plain text",
    "two\nlines",
    "tab\there",
    "NULL",
    "back\\slash \\n",
]
FLAT = [text.replace("\n", " ").replace("\t", " ") for text in TEXTS]
LABELS = ["pos", "neg"] * 5
SEVERAL = [["a", "b"], ["c"], [], ["a"], ["it's", "b c"]] * 2

RIGHT: dict[str, tuple[list[str], dict[str, Any]]] = {
    "clickhouse.tsv": (TEXTS, {}),
    "csvkit_escape.csv": (TEXTS, {}),
    "duckdb_escape.csv": (TEXTS, {}),
    "duckdb_lists.csv": (TEXTS, {}),
    "duckdb_types.parquet": (TEXTS, {}),
    "pandas_escape.csv": (TEXTS, {}),
    "pandas_single.csv": (TEXTS, {}),
    "polars_struct.parquet": (TEXTS, {"text": "text.body"}),
    "sqlite_quote.csv": (FLAT, {}),
}


@pytest.mark.parametrize("name", RIGHT)
def test_files_of_other_tools_are_read_right(name: str) -> None:
    texts, columns = RIGHT[name]
    read = data.read(MADE / name, **columns, require_label=OR_BLANK)
    assert read.texts == (texts,)
    if name in ("clickhouse.tsv", "duckdb_lists.csv"):
        found = [values.written(x) or values.loose(str(x)[1:-1]) for x in read.labels]
        assert found == SEVERAL
    else:
        assert read.labels == LABELS


def test_answers_of_annotators_stay_where_nobody_asks_for_labels(tmp_path: Path) -> None:
    """Rows that were rejected are texts like others."""
    rows = [
        {"text": "a", "label": "x", "answer": "accept", "_input_hash": 1},
        {"text": "b", "label": "x", "answer": "reject", "_input_hash": 2},
    ]
    path = tmp_path / "x.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    assert data.read(path).texts == (["a"],)
    assert [row for _, row in reading.Table(path, reading.Asked(labels=False))] == rows
    task = {"id": 7, "data": {"text": "Anna ran"}, "annotations": [{"result": []}]}
    found = {"from_name": "ner", "value": {"start": 0, "end": 99, "labels": ["PER"]}}
    mood = {"from_name": "mood", "value": {"choices": ["x"]}}
    task["annotations"] = [{"result": [found, mood]}]
    path.write_text(json.dumps(task) + "\n", encoding="utf-8")
    read = data.read(path, label="mood")
    assert (read.texts, read.labels) == ((["Anna ran"],), ["x"])
    [row] = [row for _, row in reading.Table(path, reading.Asked(labels=False))]
    assert (row["text"], row["mood"], row["spans"]) == ("Anna ran", "x", [found["value"]])
    with pytest.raises(InputError, match="a span must lie in its text"):
        data.read(path)


def test_what_lies_in_lists_has_a_place(tmp_path: Path) -> None:
    """As the texts of conversations do."""
    said = [[{"role": "user", "content": f"text {i}"}, {"content": "x"}] for i in range(3)]
    path = tmp_path / "x.jsonl"
    path.write_text("".join(json.dumps({"messages": each}) + "\n" for each in said), "utf-8")
    read = data.read(path, text="messages.0.content", label="messages.1.content")
    assert (read.texts, read.labels) == ((["text 0", "text 1", "text 2"],), ["x"] * 3)
    with pytest.raises(InputError, match="no part 'messages.2.content'; name one of 'messages.0'"):
        data.read(path, text="messages.2.content", label="messages.1.content")


def test_files_that_were_put_together_have_one_header(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text("text,label\na,x\n" * 2, encoding="utf-8")
    with pytest.raises(InputError, match="line 3: the header stands here again.*drop the line"):
        data.read(path)


def test_names_that_stand_beside_rows(tmp_path: Path) -> None:
    """ClickHouse's JSONCompact and JSONColumnsWithMetadata."""
    meta = (
        '{"meta": [{"name": "text", "type": "String"}, {"name": "label"}], "rows": 2, "data": %s}'
    )
    for held in ('[["a", "x"], ["b", "y"]]', '{"label": ["x", "y"], "text": ["a", "b"]}'):
        path = tmp_path / "x.json"
        path.write_text(meta % held, encoding="utf-8")
        read = data.read(path)
        assert (read.texts, read.labels) == ((["a", "b"],), ["x", "y"])


REFUSED = {
    "clickhouse_types.csv": "a line of types stands below the header; export the table without it",
    "pandas_bytes.csv": "are bytes that Python wrote as text; write them anew, decoded",
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_would_be_read_as_something_else_is_refused(name: str) -> None:
    with pytest.raises(InputError, match=REFUSED[name]) as caught:
        data.read(MADE / name)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("escape", ['"', "\\"])
@pytest.mark.parametrize("comma", ["", ","])
@pytest.mark.parametrize("kind", ["csv", "tsv"])
def test_single_quotes_that_another_sign_escapes_are_refused(
    escape: str, comma: str, kind: str, tmp_path: Path
) -> None:
    """As DuckDB writes them with another `QUOTE` alone, or with a backslash as `ESCAPE`.

    Where nothing else stands out, as in rows without a comma, they would be read as texts.
    """
    path, delimiter = tmp_path / f"x.{kind}", "," if kind == "csv" else "\t"
    rows = [("text", "label"), (f"'it{escape}'s{comma} well'", "pos"), ("plain", "neg")]

    def write(*more: tuple[str, str]) -> None:
        lines = [delimiter.join(row) + "\n" for row in (*rows, *more)]
        path.write_text("".join(lines), encoding="utf-8")

    write()
    with pytest.raises(InputError, match="in SQL: the same QUOTE and ESCAPE.*--quoting standard"):
        data.read(path)
    if kind == "tsv" or not comma:
        asked = data.File(path, quoting="standard")
        assert data.read(asked).texts == ([rows[1][0], "plain"],)
        write(("don't", "neg"))  # which shows that apostrophes are none of the writer's marks
        assert data.read(path).texts == ([rows[1][0], "plain", "don't"],)
    rows[1] = ("'it''s, \"well\"'", "pos")
    write()
    assert data.read(path).texts == (['it\'s, "well"', "plain"],)


def test_tables_whose_files_hold_older_rows_are_refused(tmp_path: Path) -> None:
    """Delta Lake leaves files of older versions beside those of the current one."""
    for name in ("old", "new"):
        rows = pa.table({"text": ["a"], "label": [name]})
        pyarrow.parquet.write_table(rows, tmp_path / f"part-{name}.parquet")
    assert len(data.read(tmp_path)) == 2
    for log, kind in (("_delta_log", "Delta Lake"), (".hoodie", "Hudi")):
        (tmp_path / log).mkdir()
        with pytest.raises(InputError, match=f"of {kind}, whose files may hold rows of older"):
            data.read(tmp_path)
        (tmp_path / log).rmdir()


def test_columns_in_names_of_folders_are_told(tmp_path: Path) -> None:
    """As Hive, Spark, Dask and DuckDB part tables."""
    for name in ("neg", "pos"):
        (tmp_path / f"label={name}").mkdir()
        rows = pa.table({"text": [f"a {name} text"]})
        pyarrow.parquet.write_table(rows, tmp_path / f"label={name}" / "0.parquet")
    with pytest.raises(InputError, match="a column stands in names of folders.*partitioning"):
        data.read(tmp_path)
    read = data.read(pyarrow.dataset.dataset(tmp_path, partitioning="hive"))
    assert (read.texts, read.labels) == ((["a neg text", "a pos text"],), ["neg", "pos"])


def test_old_ends_of_lines_beside_others_are_named(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_bytes(b'text,label\r"two\nlines",x\r')
    with pytest.raises(InputError, match="write it anew with line feeds"):
        data.read(path)
    path.write_bytes(b"text,label\rone line,x\r")
    assert data.read(path).texts == (["one line"],)


def test_what_pandas_prints_is_no_text(tmp_path: Path) -> None:
    path = tmp_path / "x.txt"
    path.write_text("           text label\n0    good, very   pos\n", encoding="utf-8")
    with pytest.raises(InputError, match="this is a table that was drawn"):
        next(reading.line_chunks(path))


DRAWN = {
    "clickhouse_pretty.txt": "a table that was drawn; put it into a file .* ends in `.csv`, as",
    "prettytable.txt": "a table that was drawn",
    "sqlite_box.txt": "a table that was drawn",
    "sqlite_line.txt": "a table with a line for each cell",
    "tablib_rst.txt": "a table that was drawn",
    "tabulate_psql.txt": "a table that was drawn",
}


@pytest.mark.parametrize("name", DRAWN)
def test_drawings_are_not_answered_line_by_line(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert reading.is_lines(MADE / name)
    with pytest.raises(InputError, match=f"is read as lines of text, and this is {DRAWN[name]}"):
        next(reading.line_chunks(MADE / name))
    with (MADE / name).open(encoding="utf-8") as file:
        monkeypatch.setattr("sys.stdin", file)
        with pytest.raises(InputError, match=f"standard input is read.*{DRAWN[name]}"):
            next(reading.line_chunks("-"))


def test_drawings_and_bytes_are_few(tmp_path: Path) -> None:
    """Nothing of it in texts that only have some of it."""
    lines = [
        *("---", "text", "-----", "a = b", "AND/OR", "(a, b), (c)", "- one", "<b>bold</b>", "=="),
        *("Anna/NNP ran home", "+1", "|", "| quoted", "{a}", "Insert into it"),
    ]
    for first in lines:
        for second in lines:
            path = tmp_path / "x.txt"
            path.write_text(f"{first}\n{second}\n", encoding="utf-8")
            assert next(reading.line_chunks(path)) == [first, second]
    path.write_text("text,label\nb'a',x\nb's,y\n", encoding="utf-8")
    (tmp_path / "x.csv").write_bytes(path.read_bytes())
    assert data.read(tmp_path / "x.csv").texts == (["b'a'", "b's"],)


@pytest.mark.parametrize(
    ("body", "expected", "said"),
    [
        ("it\\'s\tx\n", "it's", "as databases write; `--quoting none` doesn't"),
        ("a\\\\b\\tc\tx\n", "a\\\\b\\tc", "`--quoting escapes` makes ends of lines of"),
        ("a\\nb\t\\N\n", "a\nb", "as databases write"),
        ("a\\nb\tx\n", "a\\nb", "`--quoting escapes` makes ends of lines of"),
        ("C:\\data\tx\n", "C:\\data", ""),
        ("it\\'s it's\tx\n", "it\\'s it's", ""),
    ],
)
def test_backslashes_of_databases(body: str, expected: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "x.tsv"
    path.write_text("text\tlabel\n" + body, encoding="utf-8")
    read = data.read(path)
    assert read.texts == ([expected],)
    assert said in "".join(read.notes) and len(read.notes) == bool(said)
    assert data.read(data.File(path, quoting="none")).texts == ([body.split("\t")[0]],)
