"""Tables that nobody designed for, as other tools and languages write them: right, or one line."""

import csv
import dataclasses
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest

import tfhub_transfer as tt
from tfhub_transfer import cli, data
from tfhub_transfer.data import reading, usual_columns
from tfhub_transfer.data.named_cells import OR_BLANK
from tfhub_transfer.errors import InputError
from tfhub_transfer.jobs import inputs, measuring, predicting
from tfhub_transfer.jobs.asking import Answers
from tfhub_transfer.jobs.options.asking import EvaluateJob, PredictJob
from tfhub_transfer.jobs.options.distilling import DistillJob
from tfhub_transfer.jobs.trainings import distilling, training
from tfhub_transfer.models import encoding
from tfhub_transfer.tasks import Classification, MultiLabel, Regression, TokenClassification

TEXTS = ["good; very", 'she said "no"\nand left', "naïve café, 1,5", "'single'", "NULL", "🙂 x"]
LABELS = ["pos", "neg"] * 3


def write(path: Path, text: str, encoding: str = "utf-8") -> Path:
    path.write_bytes(text.encode(encoding))
    return path


def table(path: Path, rows: list[list[str]], encoding: str = "utf-8", **dialect: Any) -> Path:
    with path.open("w", newline="", encoding=encoding) as file:
        csv.writer(file, **dialect).writerows(rows)
    return path


ROWS = [["text", "label"], *map(list, zip(TEXTS, LABELS))]
NUMBERED = [["", *ROWS[0]], *([str(i), *row] for i, row in enumerate(ROWS[1:], start=1))]
ALL = csv.QUOTE_ALL
WRITTEN: dict[str, Any] = {
    "Excel, German": lambda p: table(p / "a.csv", ROWS, "utf-8-sig", delimiter=";"),
    "Excel, Unicode text": lambda p: table(p / "a.txt", ROWS, "utf-16", delimiter="\t"),
    "Excel, UTF-16 CSV": lambda p: table(p / "a.csv", ROWS, "utf-16", delimiter="\t"),
    "R, write.csv": lambda p: table(p / "a.csv", NUMBERED, quoting=ALL, lineterminator="\n"),
    "R, write.csv2": lambda p: table(p / "a.csv", NUMBERED, quoting=ALL, delimiter=";"),
    "all quoted, pipes": lambda p: table(p / "a.csv", ROWS, quoting=ALL, delimiter="|"),
    "blank lines first": lambda p: write(
        p / "a.csv", "\n \n" + table(p / "b.csv", ROWS).read_text("utf-8")
    ),
    "sqlite3 -csv": lambda p: table(p / "a.csv", ROWS, lineterminator="\r\n"),
    "commas in a .txt": lambda p: table(p / "a.TXT", ROWS),
    "semicolons in a .txt": lambda p: table(p / "a.txt", ROWS, delimiter=";"),
    "tabs in a .txt.gz": lambda p: _gzipped(table(p / "a.txt", ROWS, delimiter="\t")),
    "JSON lines in a .txt": lambda p: write(
        p / "a.txt", "".join(json.dumps(dict(zip(*r))) + "\n" for r in _pairs())
    ),
    "JSON with NaN": lambda p: write(
        p / "a.jsonl",
        "".join(json.dumps({**dict(zip(*r)), "n": float("nan")}) + "\n" for r in _pairs()),
    ),
    "binary columns": lambda p: _parquet(p / "a.parquet", [t.encode() for t in TEXTS]),
    "dictionaries": lambda p: _parquet(p / "a.parquet", pa.array(TEXTS).dictionary_encode()),
    "Spark's folder": lambda p: _parts(p / "spark.parquet"),
}


def _pairs() -> list[tuple[Any, Any]]:
    return [(ROWS[0], row) for row in ROWS[1:]]


def _gzipped(path: Path) -> Path:
    import gzip

    packed = path.with_name(path.name + ".gz")
    packed.write_bytes(gzip.compress(path.read_bytes()))
    return packed


def _parquet(path: Path, texts: Any) -> Path:
    pyarrow.parquet.write_table(pa.table({"text": texts, "label": LABELS}), path)
    return path


def _parts(folder: Path) -> Path:
    folder.mkdir()
    for start in (0, 2, 4):
        part = {"text": TEXTS[start : start + 2], "label": LABELS[start : start + 2]}
        pyarrow.parquet.write_table(pa.table(part), folder / f"part-0{start}.parquet")
    write(folder / "_SUCCESS", "")
    write(folder / ".part-00.parquet.crc", "x")
    return folder


@pytest.mark.parametrize("name", WRITTEN)
def test_tables_of_other_tools(name: str, tmp_path: Path) -> None:
    read = data.read(WRITTEN[name](tmp_path))
    assert read.texts == (TEXTS,)
    assert read.labels == LABELS


def test_tables_of_r_with_spaces_between(tmp_path: Path) -> None:
    body = '"text" "label"\n"1" "good \\"film\\"" "pos"\n"2" "bad" "neg"\n'
    path = write(tmp_path / "a.txt", body)
    assert not reading.is_lines(path)
    for source in (path, data.File(path, quoting="backslash")):
        read = data.read(source)
        assert (read.texts, read.labels) == ((['good "film"', "bad"],), ["pos", "neg"])


# Of databases, pandas, R, spreadsheets and NumPy.
NOTHING = ["\\N", "<NA>", "#N/A", "nan", "NaN", "NA", "NULL", "null", "None", "N/A", "n/a", " "]


@pytest.mark.parametrize("nothing", NOTHING)
def test_what_means_nothing_in_other_programs_is_no_class(nothing: str, tmp_path: Path) -> None:
    """But where somebody says so, as of Namibia's NA."""
    rows = [*ROWS, *([f"more {i}", LABELS[i % 2]] for i in range(20)), ["x", nothing]]
    path = table(tmp_path / "a.tsv", rows, delimiter="\t")
    job = inputs.TrainJob("classification", str(path), tmp_path / "out")
    with pytest.raises(InputError, match="a label is missing|must hold a label; fill it in"):
        inputs.read_splits(job)
    if nothing == " ":
        return
    names = ["pos", nothing, "neg"]
    for given in (names, ",".join(names), json.dumps(names)):
        _, task = inputs.read_splits(dataclasses.replace(job, class_names=given))
        assert task.class_names == names
    assert task.encode([nothing, "neg"]).tolist() == [1, 2]
    tags = [["O", nothing]]
    with pytest.raises(InputError, match="a label is missing.*`class_names` .`--class-names`"):
        TokenClassification(["O", "x"]).encode(tags)
    assert TokenClassification(["O", nothing]).encode(tags).to_list() == [[0, 1]]
    assert MultiLabel(["a", nothing]).encode([f"a|{nothing}", "a"]).tolist() == [[1, 1], [1, 0]]
    with pytest.raises(InputError, match="a label is missing"):
        MultiLabel().adapt([f"a|{nothing}", "a"])


def test_class_names_are_for_classes_and_blanks_are_blank(tmp_path: Path) -> None:
    path = table(tmp_path / "a.csv", [["text", "score"], ["a", "1"]])
    job = inputs.TrainJob("regression", str(path), tmp_path / "out", class_names="a,b")
    with pytest.raises(
        InputError, match="the regression task has no classes; leave .--class-names"
    ):
        inputs.read_splits(job)
    path = table(tmp_path / "b.csv", [["text", "label"], ["a", ""], ["b", "  "], ["c", "x|y"]])
    assert data.read(path, require_label=OR_BLANK).labels == [[], [], "x|y"]
    assert "missing: NA" in data.profile(data.Examples.from_lists(["a", "b"], ["NA", "x"]))


REFUSED: dict[str, tuple[bytes, str]] = {
    "a.csv": (b"<!DOCTYPE html>\n<html>Sign in</html>", "a web page; download the data"),
    "b.jsonl": (b"\n <html><body>", "a web page; download the data"),
    "a.parquet": (b"version https://git-lfs.github.com/spec/v1\noid sha256:4d\n", "`git lfs pull`"),
    "c.csv": (b"version https://git-lfs.github.com/spec/v1\noid sha256:4d\n", "`git lfs pull`"),
    "a.rds": (b"\x1f\x8b\x08\0", "with R's `write.csv`"),
    "a.RData": (b"RDX3", "with R's `write.csv`"),
    "a.sav": (b"$FL2", "write the table as Parquet or CSV"),
    "a.sql": (b"INSERT INTO t VALUES ('a');", "write the table's rows as CSV"),
    "a.tar.gz": (b"\x1f\x8b\x08\0", "isn't read; unpack it"),
    "a.npy": (b"\x93NUMPY", "arrays hold no texts"),
    "a.pickle": (b"\x80\x04", "a pickle can run code"),
    "a.ods": (b"PK\x03\x04", "save the sheet as CSV"),
    "a.yaml": (b"- text: a", "write JSON lines"),
    "a.pdf": (b"%PDF-1.4", "write a table, a row a text"),
    "markdown.txt": (
        b"| text | label |\n|---|:--|\n| a | x |\n",
        "a line is drawn below the header",
    ),
    "psql.csv": (b" text | label\n------+-------\n a | x\n", "a line is drawn below the header"),
    "headerless.txt": (b"ham\tOk lar\nspam\tFree\n", "lines with tabs are a table, and lines"),
    "prose.txt": (b"\tOnce upon a time\n\tthere was\n", "isn't known by its name"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_table_is_refused_by_the_command(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content, message = REFUSED[name]
    path = tmp_path / name
    path.write_bytes(content)
    words = ["train", "--task", "classification", "--data", str(path)]
    assert cli.main([*words, "--output", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_files_elsewhere_and_folders_of_two_tables_are_named(tmp_path: Path) -> None:
    for address in ("https://example.org/a.csv", "s3://bucket/a.parquet", "hf://datasets/a"):
        with pytest.raises(InputError, match="an address isn't read; download its file first"):
            data.read(address)
    folder = _parts(tmp_path / "spark")
    pyarrow.parquet.write_table(pa.table({"other": ["x"]}), folder / "z.parquet")
    with pytest.raises(InputError, match="must have the same columns.*z.parquet with .'other'."):
        data.read(folder)
    odd = pa.table({"text": ["a"], "label": ["x"], "image": [b"\xff\xd8"]})
    pyarrow.parquet.write_table(odd, tmp_path / "a.parquet")
    assert data.read(tmp_path / "a.parquet").columns["image"] == [b"\xff\xd8"]
    for columns in ({"text": "image"}, {"label": "image"}):
        with pytest.raises(InputError, match="row 1: column 'image' holds bytes that aren't UTF-8"):
            data.read(tmp_path / "a.parquet", **columns)


# Spans and choices in cells -----------------------------------------------------------------------

ANNA, NO = "Anna ran", "no"
SPELLED = [
    '[[0, 4, "PER"]]',
    "[[0, 4, 'PER']]",
    "[(0, 4, 'PER')]",
    '[{"start": 0, "end": 4, "label": "PER"}]',
    "[{'start_offset': 0, 'end_offset': 4, 'label': 'PER'}]",
    '[{"start": 0, "end": 4, "text": "Anna", "labels": ["PER"]}]',
    "{'start': [0], 'end': [4], 'label': ['PER']}",
    [[0, 4, "PER"]],
    [(0, 4, "PER")],
    [{"start": 0, "end": 4, "label": "PER"}],
    {"start": [0], "end": [4], "label": ["PER"]},
]


@pytest.mark.parametrize("cell", SPELLED, ids=str)
@pytest.mark.parametrize("column", ["label", "entities", "spans"])
def test_spans_in_cells_are_words_and_tags(cell: Any, column: str, tmp_path: Path) -> None:
    columns = {"text": [NO, ANNA], column: [[], cell], "id": [1, 2]}
    if isinstance(cell, str):
        columns[column] = ["", cell]
        rows = [list(columns), *map(list, zip(*columns.values()))]
        objects = [dict(zip(columns, row)) for row in zip(*columns.values())]
        lines = write(tmp_path / "a.jsonl", "".join(json.dumps(each) + "\n" for each in objects))
        sources: list[Any] = [table(tmp_path / "a.csv", rows), columns, lines]
    else:
        if isinstance(cell, dict):
            columns[column] = [{"start": [], "end": [], "label": []}, cell]
        sources = [columns, [dict(zip(columns, row)) for row in zip(*columns.values())]]
        if not isinstance(cell[0] if isinstance(cell, list) else cell, list | tuple):
            pyarrow.parquet.write_table(pa.table(columns), tmp_path / "a.parquet")
            sources.append(tmp_path / "a.parquet")
    for source in sources:
        read = data.read(source)
        assert read.texts == data.Examples.from_lists([["no"], ["Anna", "ran"]]).texts
        assert read.labels == [["O"], ["B-PER", "O"]]
        assert [int(each) for each in read.columns["id"]] == [1, 2]
        assert "are read as words and tags, IOB2" in read.notes[-1]


def test_spans_whose_kinds_are_numbered_have_their_names(tmp_path: Path) -> None:
    kind = {"_type": "ClassLabel", "names": ["LOC", "PER"]}
    inner = {"start": {"dtype": "int64", "_type": "Value"}, "label": kind}
    said = {"info": {"features": {"entities": {"feature": inner, "_type": "List"}}}}
    rows = {"text": [ANNA], "entities": [[{"start": 0, "end": 4, "label": 1}]]}
    made = pa.table(rows).replace_schema_metadata({"huggingface": json.dumps(said)})
    assert data.read(made).labels == [["B-PER", "O"]]


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        (['[[0, 4, "PER"]]', "[[0, 2"], "line 3: column 'label' must hold a list of spans"),
        (['[[0, 4, "PER"]]', "pos"], "line 3: column 'label' must hold a list of spans.*pos"),
        (['[[0, 99, "PER"]]', ""], "line 2: a span must lie in its text"),
    ],
)
def test_spans_that_are_cut_off_are_named(cells: list[str], message: str, tmp_path: Path) -> None:
    path = table(tmp_path / "a.csv", [["text", "label"], *map(list, zip([ANNA, NO], cells))])
    with pytest.raises(InputError, match=message):
        data.read(path)


def test_what_looks_like_spans_and_is_none_stays(tmp_path: Path) -> None:
    rows = [["text", "label", "entities"], [ANNA, "x", '[[0, 4, "PER"]]'], [NO, "y", ""]]
    read = data.read(table(tmp_path / "a.csv", rows))
    assert (read.texts, read.labels) == (([ANNA, NO],), ["x", "y"])
    assert read.columns["entities"] == ['[[0, 4, "PER"]]', ""]
    # Without a text that spans could be places in they are no names of classes.
    rows = [["review", "label"], [ANNA, '[[0, 4, "PER"]]'], [NO, '[[0, 2, "PER"]]']]
    read = data.read(table(tmp_path / "b.csv", rows), text="review")
    with pytest.raises(InputError, match="can't be read: it is cut off, or holds more than names"):
        Classification().adapt(read.labels)


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_spans_that_nobody_asks_for_are_left_alone(kind: str, tmp_path: Path) -> None:
    """One that can't be read refuses nothing, and all come back as they were."""
    spans = [[[0, 4, "PER"]], [], [[0, 99, "PER"]]]
    cells: list[Any] = [json.dumps(each) for each in spans] if kind != "jsonl" else spans
    columns = {"text": [ANNA, NO, "b c"], "spans": cells, "mood": ["x", "y", "x"]}
    rows = [dict(zip(columns, row)) for row in zip(*columns.values())]
    path = tmp_path / f"a.{kind}"
    if kind == "csv":
        table(path, [list(columns), *map(list, zip(*columns.values()))])
    elif kind == "jsonl":
        write(path, "".join(json.dumps(row) + "\n" for row in rows))
    else:
        pyarrow.parquet.write_table(pa.table(columns), path)
    read = data.read(path, label="mood")
    assert (read.texts, read.labels) == ((columns["text"],), columns["mood"])
    assert (read.columns["spans"], read.notes) == (cells, ())
    assert [row for _, row in reading.Table(path, reading.Asked(labels=False))] == rows
    for named in ({}, {"label": "spans"}, {"text": "text", "label": "spans"}):
        with pytest.raises(InputError, match="a span must lie in its text"):
            data.read(path, **named)


def test_spans_may_be_named_and_lie_in_any_text(tmp_path: Path) -> None:
    rows = [{"body": ANNA, "text": "x", "ner": [[0, 4, "PER"]]}, {"body": NO, "text": "y"}]
    path = write(tmp_path / "a.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    csv_rows = [["body", "text", "ner"], [ANNA, "x", '[[0, 4, "PER"]]'], [NO, "y", ""]]
    for source in (path, table(tmp_path / "a.csv", csv_rows)):
        read = data.read(source, text="body", label="ner")
        assert read.texts == data.Examples.from_lists([["Anna", "ran"], ["no"]]).texts
        assert read.labels == [["B-PER", "O"], ["O"]]


def test_choices_of_label_studio_are_lists(tmp_path: Path) -> None:
    rows = [["text", "mood"], [ANNA, '{"choices":["a","b"]}'], [NO, "a"]]
    read = data.read(table(tmp_path / "a.csv", rows), label="mood")
    assert read.labels == [["a", "b"], "a"]
    assert MultiLabel(["a", "b"]).encode(read.labels).tolist() == [[1, 1], [1, 0]]
    listed = [{"text": ANNA, "mood": {"choices": ["a", "b"]}}, {"text": NO, "mood": "a"}]
    (tmp_path / "a.json").write_text(json.dumps(listed), encoding="utf-8")
    assert data.read(tmp_path / "a.json", label="mood").labels == read.labels


# Texts a line, or a table -------------------------------------------------------------------------


def test_one_rule_says_what_a_txt_file_is(text_encoder: Path, tmp_path: Path) -> None:
    """`train`, `predict`, `encode` and `distill` read the same file alike."""
    rows = [["text", "label"], ["good film", "x"], ["bad film", "y"]]
    path = table(tmp_path / "a.txt", rows, delimiter="\t")
    read = data.read(path)
    assert (read.texts, read.labels) == ((["good film", "bad film"],), ["x", "y"])
    assert "its first lines are those of a table, with '\\t' between" in read.notes
    model = tt.build_model(str(text_encoder), Classification(["x", "y"]))
    answers = Answers(model, str(path), {})
    assert [row["text"] for row in answers] == ["good film", "bad film"]
    chunks = encoding.encode_file(str(text_encoder), path)
    assert [text for texts, _ in chunks for text in texts] == ["good film", "bad film"]
    job = DistillJob(("x",), str(path), tmp_path / "out")
    assert inputs.read_texts(str(path), False, job, {}) == ["good film", "bad film"]
    lines = write(tmp_path / "b.txt", "\tgood film\n\tbad film\n")
    assert [row["text"] for row in Answers(model, str(lines), {})] == ["\tgood film", "\tbad film"]
    objects = write(tmp_path / "d.txt", '{"text": "good film"}\n{"text": "bad film"}\n')
    assert [row["text"] for row in Answers(model, str(objects), {})] == ["good film", "bad film"]
    for body in (
        "{see below}\na\n",
        "good, text film\nbad film, text\n",
        "a\tb\nc\n",
        "text, label\n",
        "text\ngood\n",
    ):
        assert reading.is_lines(write(tmp_path / "c.txt", body)), body
    assert reading.is_lines(write(tmp_path / "c.TXT", "a\n"))
    with zipfile.ZipFile(tmp_path / "lines.txt.zip", "w") as file:
        file.writestr("lines.txt", "é\nb\n")
    assert reading.is_lines(tmp_path / "lines.txt.zip")
    assert list(reading.line_chunks(tmp_path / "lines.txt.zip")) == [["é", "b"]]


def test_pairs_with_a_tab_between_are_lines(text_encoder: Path, tmp_path: Path) -> None:
    model = tt.build_model(str(text_encoder), Regression(0.0, 1.0, pair=True))
    bare = write(tmp_path / "a.txt", "good\tbad\nfilm\tmovie\n")
    named = write(tmp_path / "b.txt", "text_a\ttext_b\ngood\tbad\nfilm\tmovie\n")
    own = write(tmp_path / "c.txt", "one\ttwo\ngood\tbad\nfilm\tmovie\n")
    expected = list(Answers(model, str(bare), {}))
    assert [row["text_b"] for row in expected] == ["bad", "movie"]
    labelled = write(tmp_path / "d.txt", "text\tlabel\ngood\tbad\n")
    with pytest.raises(InputError, match="expected pairs|the model was built for pairs"):
        list(Answers(model, str(labelled), {}))
    assert reading.pair_columns() == {
        name for texts, _ in usual_columns._SHAPES if len(texts) == 2 for name in texts
    }
    assert list(Answers(model, str(named), {})) == expected
    columns = {"text": "one", "text_pair": "two"}
    found = list(Answers(model, str(own), columns))
    assert [list(row) for row in found] == [["one", "two", "score"]] * 2  # by their own names
    assert [list(row.values()) for row in found] == [list(row.values()) for row in expected]
    model.save(tmp_path / "model.keras")
    ask = PredictJob(tmp_path / "model.keras", str(bare), text="one", text_pair="two")
    with pytest.raises(InputError, match="lines of text have no columns.*one, two with"):
        predicting.predict(ask)


# Jobs ---------------------------------------------------------------------------------------------


def value_of(field: dataclasses.Field[Any]) -> Any:
    """Another value than the usual one, of the type that a field has."""
    kind = str(field.type)
    if field.name == "task":
        return "classification"
    if "tuple" in kind:
        return (Path("a"), Path("b"))
    for name, value in (("Path", Path("x")), ("bool", True), ("int", 7), ("float", 0.25)):
        if name in kind:
            return value
    return "x"


@pytest.mark.parametrize("kind", [inputs.TrainJob, distilling.TaughtJob])
@pytest.mark.parametrize("label", ["a", "a,b", ["a", "b"], ("a", "b"), None])
def test_what_a_job_was_is_read_back(kind: Any, label: Any, tmp_path: Path) -> None:
    given = {field.name: value_of(field) for field in dataclasses.fields(kind)}
    job = kind(**{**given, "label": label})
    record = {"arguments": training._plain(job), "columns": inputs.columns_of(job)}
    write(tmp_path / "training.json", json.dumps(record))
    known = encoding.read_record(tmp_path)
    found = {name: value for name, value in known["arguments"].items() if value is not None}
    again = kind(**{**dict.fromkeys(given), **found})
    for name in given:
        a, b = getattr(job, name), getattr(again, name)
        assert json.loads(json.dumps(a, default=str)) == b, name
    wanted = list(label) if isinstance(label, tuple) else label
    columns = {"text": "x", "text_pair": "x", "negative": "x", "label": wanted}
    assert known["columns"] == {k: v for k, v in columns.items() if v is not None}
    if label is not None:
        ask = PredictJob(tmp_path, "x").columns(known["columns"])
        rows = {"x": ["a"], "a": [1], "b": [0], "a,b": ["z"]}
        read = data.read(rows, text="x", label=ask["label"])
        assert read.labels == {"a": [1], "a,b": ["z"]}.get(str(label), [["a"]])


@pytest.mark.slow
def test_several_label_columns_from_python_train_and_are_asked_again(
    text_encoder: Path, tmp_path: Path
) -> None:
    rows = [["text", "a", "b"], *([f"good {i}", "1", "0"] for i in range(20))]
    rows += [[f"bad {i}", "0", "1"] for i in range(20)]
    path = table(tmp_path / "a.csv", rows)
    out = tmp_path / "out"
    job = inputs.TrainJob(
        "multi-label",
        str(path),
        out,
        label=["a", "b"],
        encoder=str(text_encoder),
        epochs=1,
        precision="float32",
    )
    training.train(job)
    answers = list(predicting.predict(PredictJob(out, str(path))))
    assert len(answers) == 40 and set(answers[0]["scores"]) == {"a", "b"}
    report = measuring.evaluate_folder(EvaluateJob(out, str(path), tmp_path / "report"))
    assert report.baselines  # of the training split, which was read again


def test_files_that_a_file_of_tasks_names_are_a_jobs_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = {"task": "classification", "data": "out/a.csv", "test": "tfds:gone/test"}
    path = write(tmp_path / "tasks.json", json.dumps({"tasks": {"a": own}}))
    job = inputs.TrainJob("multi-task", str(path), tmp_path / "out")
    assert inputs.sources(job) == [str(path), str(tmp_path / "out" / "a.csv"), "tfds:gone/test"]
    (tmp_path / "out").mkdir()
    table(tmp_path / "out" / "a.csv", ROWS)
    with pytest.raises(InputError, match=r"a\.csv"):
        training.train(dataclasses.replace(job, overwrite=True))
    # Nor is one downloaded to measure baselines.
    monkeypatch.setattr(reading, "would_download", lambda source: "tfds" in str(source))
    monkeypatch.setattr(inputs, "read_splits", lambda job: pytest.fail("it was read"))
    assert inputs.training_split({"arguments": training._plain(job)}) is None


def test_more_texts_have_the_teachers_columns(tmp_path: Path) -> None:
    known = {"text": "one", "text_pair": "two", "label": "y"}
    job = distilling.TaughtJob("", "x", tmp_path)
    own = table(tmp_path / "a.csv", [["one", "two"], ["a", "b"]])
    assert inputs.read_texts(str(own), True, job, known) == [("a", "b")]
    usual = table(tmp_path / "b.csv", [["text_a", "text_b"], ["a", "b"]])
    assert inputs.read_texts(str(usual), True, job, known) == [("a", "b")]
    asked = table(tmp_path / "c.csv", [["question", "context", "one"], ["a", "b", "c"]])
    assert inputs.read_texts(str(asked), True, job, known) == [("a", "b")]
    named = dataclasses.replace(job, text="one", text_pair="context")
    assert inputs.read_texts(str(asked), True, named, known) == [("c", "b")]
    lines = write(tmp_path / "d.txt", "a\tb\nc\td\n")
    assert inputs.read_texts(str(lines), True, job, known) == [("a", "b"), ("c", "d")]
    assert np.ndim(inputs.read_texts(str(lines), True, job, known)) == 2
