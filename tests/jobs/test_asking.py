"""Answers to a file: in order, beside the other columns, in every format, for every task."""

import csv
import datetime
import json
import tracemalloc
from pathlib import Path
from typing import Any

import pyarrow.parquet
import pytest
import samples

import tfhub_transfer as tt
from tfhub_transfer.data import reading, writing
from tfhub_transfer.jobs import asking
from tfhub_transfer.tasks import MultiTask


@pytest.fixture(scope="module")
def classifier(text_encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that need not know anything."""
    task = tt.tasks.Classification(["bad", "good"])
    path = tmp_path_factory.mktemp("classifier") / "model.keras"
    tt.build_model(str(text_encoder), task).save(path)
    return path


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Texts under a name of their own, with names of answers beside."""
    path = tmp_path_factory.mktemp("table") / "in.csv"
    lines = ["id,label,review,text,scores.good,predicted_label"]
    lines += [f'00{i},gold {i},"a ""good"" film, {i}",other,s,{2**63}' for i in range(5)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_a_table_comes_back_with_answers_behind(
    classifier: Path, table: Path, tmp_path: Path, run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In every format: its own names, order and cells, and nothing of it under another name."""
    monkeypatch.setattr(asking, "CHUNK", 2)
    with table.open(encoding="utf-8", newline="") as file:
        given = list(csv.DictReader(file))
    expected = tt.load_model(classifier).predict_text([row["review"] for row in given])
    status, out, err = run("predict", classifier, table, "--text", "review")
    assert status == 0
    assert "label: predicted_predicted_label, scores: predicted_scores" in err
    rows = [json.loads(line) for line in out.splitlines()]
    for row, own, answer in zip(rows, given, expected, strict=True):
        assert list(row) == [*own, "predicted_predicted_label", "predicted_scores"]
        assert list(row.values())[:-1] == [*own.values(), answer["label"]]
        assert row["predicted_scores"] == approx(answer)
    for suffix in ("jsonl", "csv", "parquet"):
        target = tmp_path / f"out.{suffix}"
        words = ["predict", classifier, table, "--text", "review", "--output", target]
        status, out, err = run(*words)
        assert "Answered" not in err and "predicted_scores" in err
        assert (status, out.startswith(f"Written to {target}: 5 answers")) == (0, True), out
    assert [
        json.loads(line) for line in (tmp_path / "out.jsonl").read_text("utf-8").splitlines()
    ] == rows
    written = pyarrow.parquet.read_table(tmp_path / "out.parquet")
    assert written.column_names == list(rows[0]) and written.to_pylist() == rows
    assert run(*words)[0] == 2  # it is there
    with (tmp_path / "out.csv").open(encoding="utf-8", newline="") as file:
        for row, read in zip(rows, csv.DictReader(file), strict=True):
            assert list(read)[:7] == list(row)[:7]
            scores = row.pop("predicted_scores")
            assert {k: float(read.pop(f"predicted_scores.{k}")) for k in scores} == scores
            assert read == row


def test_columns_that_only_later_rows_have_are_kept_too(
    classifier: Path, tmp_path: Path, run: Any
) -> None:
    rows = [{"text": "a", "id": 2**63}, {"scores": {"x": 1}, "text": 7, "label": None, "id": "007"}]
    (tmp_path / "in.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    status, out, err = run("predict", classifier, tmp_path / "in.jsonl")
    answers = [json.loads(line) for line in out.splitlines()]
    assert (status, err.count("\n")) == (0, 1)
    for given, answer in zip(rows, answers, strict=True):
        assert list(answer) == [*given, "predicted_label", "predicted_scores"]
        assert {name: answer[name] for name in given} == given


@pytest.mark.slow
@pytest.mark.parametrize("suffix", ["jsonl", "csv", "parquet"])
def test_a_large_table_is_answered_in_little_memory(
    suffix: str, classifier: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Going through it, and writing: a chunk at a time, in every format; of Parquet a row group."""
    answer = {"label": "good", "scores": {"bad": 0.25, "good": 0.75}}
    monkeypatch.setattr(asking, "CHUNK", 100)
    monkeypatch.setattr(writing, "_PART", 200)
    path, target = tmp_path / "in.csv", tmp_path / f"out.{suffix}"
    path.write_text("id,text\n" + "".join(f"{i},{'word ' * 400}\n" for i in range(6000)), "utf-8")
    model = tt.load_model(classifier)
    monkeypatch.setattr(type(model), "predict_text", lambda _, texts: [answer] * len(texts))
    answers = asking.Answers(model, str(path), {}, "float32")
    tracemalloc.start()
    try:
        rows = asking.shown(answers, answers.count())
        count = writing.write(rows, target, ("scores",), answers.types)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert count == 6000 and [row["id"] for row in _ids(target)][::2999] == ["0", "2999", "5998"]
    assert peak < path.stat().st_size / 3


def _ids(path: Path) -> Any:
    return (row for _, row in reading.Table(path))


def approx(answer: dict[str, Any]) -> Any:
    return pytest.approx(answer["scores"], abs=1e-6)


def test_what_nobody_asks_for_comes_back_as_it_was(
    classifier: Path, tmp_path: Path, run: Any
) -> None:
    """Spans that can't be read, bytes, dates, and parts of a column that is asked."""
    spans = [[[0, 4, "PER"]], [], [[0, 99, "PER"]]]
    rows = [
        {"id": i, "text": "x", "spans": found, "review": {"text": text, "stars": i}}
        for i, (found, text) in enumerate(zip(spans, ("Anna ran", "good", "bad")))
    ]
    (tmp_path / "in.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows), "utf-8")
    expected = tt.load_model(classifier).predict_text([r["review"]["text"] for r in rows])
    status, out, _ = run("predict", classifier, tmp_path / "in.jsonl", "--text", "review.text")
    found = [json.loads(line) for line in out.splitlines()]
    assert status == 0 and [{k: row[k] for k in rows[0]} for row in found] == rows
    assert [row["scores"] for row in found] == [approx(answer) for answer in expected]
    status, _, err = run("predict", classifier, tmp_path / "in.jsonl", "--text", "review.txt")
    assert status == 2 and "has no part 'review.txt'; name one of 'review.text', 'review." in err
    day = datetime.datetime(2020, 1, 2, 3)
    kept = pyarrow.table(
        {
            "text": [r["review"]["text"] for r in rows],
            "spans": [json.dumps(found) for found in spans],
            "image": pyarrow.array([b"ab", b"\xff", None]),
            "day": pyarrow.array([day] * 3, pyarrow.timestamp("ms")),
            "small": pyarrow.array([1, None, 3], pyarrow.int8()),
        }
    )
    pyarrow.parquet.write_table(kept, tmp_path / "in.parquet")
    words = ["predict", classifier, tmp_path / "in.parquet", "--output"]
    status, _, err = run(*words, tmp_path / "out.parquet")
    written = pyarrow.parquet.read_table(tmp_path / "out.parquet")
    assert status == 0 and "Base64" not in err
    assert written.select(kept.column_names) == kept
    assert [row["scores"] for row in written.to_pylist()] == [approx(each) for each in expected]
    status, _, err = run(*words, tmp_path / "out.jsonl")
    assert status == 0 and "columns of bytes are Base64, but in a Parquet file: image" in err
    first = json.loads((tmp_path / "out.jsonl").read_text("utf-8").splitlines()[0])
    assert (first["image"], first["day"], first["small"]) == ("YWI=", day.isoformat(), 1)


def test_what_is_missing_is_said_before_anything_is_asked(
    classifier: Path, table: Path, tmp_path: Path, run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tt.TransferModel, "predict_text", None)  # nothing may be asked
    target = tmp_path / "out.csv"
    cases = {
        "has no column 'revue' for the text; did you mean 'review'?": ["--text", "revue"],
        "has no column 'gold' for the label": ["--text", "review", "--label", "gold"],
        "must end in .jsonl": ["--text", "review", "--output", tmp_path / "out.xlsx"],
    }
    status, _, err = run("predict", classifier, "-", "--text", "review")
    assert status == 2 and "lines of text have no columns" in err
    bad = tmp_path / "bad.jsonl"
    bad.write_text('{"text": "fine"}\n' * 3000 + '{"txet": "not"}\n', encoding="utf-8")
    for message, words in cases.items():
        status, out, err = run("predict", classifier, table, "--output", target, *words)
        assert (status, out, err.count("\n")) == (2, "", 1)
        assert message in err
    status, _, err = run("predict", classifier, bad, "--output", target)
    assert status == 2 and "line 3001: the row lacks 'text'" in err
    assert [p.name for p in tmp_path.iterdir()] == ["bad.jsonl"]


def test_progress_is_shown_on_a_terminal_and_any_cell_can_be_written(
    classifier: Path, tmp_path: Path, run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    days = [datetime.date(2020, 1, day) for day in range(1, 6)]
    columns = {"text": list("abcde"), "day": days, "number": [float("nan"), 1.0] * 2 + [2.0]}
    pyarrow.parquet.write_table(pyarrow.table(columns), tmp_path / "in.parquet")
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    status, out, _ = run("predict", classifier, tmp_path / "in.parquet")
    rows = [json.loads(line) for line in out.splitlines()]
    assert status == 0
    assert [(row["day"], row["number"]) for row in rows[:2]] == [
        ("2020-01-01", None),
        ("2020-01-02", 1.0),
    ]
    words = ["predict", classifier, tmp_path / "in.parquet", "--output", tmp_path / "out.csv"]
    err = run(*words)[2]
    assert "\rLoading the model" in err and "\rCounting" in err and "\rAnswering" in err
    assert not err.split("\r")[-1].strip()  # the last line is taken away


@pytest.mark.slow
@pytest.mark.parametrize("row", samples.ROWS)
def test_every_task_answers_a_file(row: str, bert_encoder: Path, tmp_path: Path, run: Any) -> None:
    """In its order, as `predict_text` does; words too come as a list."""
    sample = samples.ROWS[row]
    model = tt.build_model(str(bert_encoder), sample.task(), sample.head, sequence_length=24)
    model.save(tmp_path / "model.keras")
    several = isinstance(sample.asked, dict)
    for name in sample.asked if several else [""]:
        single = model.models[name] if several else model
        asked = sample.asked[name] if several else sample.asked
        check_file(single, asked, ["--task", name] if several else [], tmp_path, run)


def check_file(model: Any, asked: list[Any], task: list[str], folder: Path, run: Any) -> None:
    signature = model.layout.signature
    shown = [dict(zip(signature, [a] if isinstance(a, str) else a)) for a in asked]
    lines = [json.dumps({"id": i, **texts, "words": "w"}) for i, texts in enumerate(shown)]
    (folder / "in.jsonl").write_text("\n".join(lines), encoding="utf-8")
    expected = model.predict_text(asked)
    # By hand: each text alone.
    lost = [cut for row in asked if (cut := cut_of(model, row))]
    words = ["predict", folder / "model.keras", folder / "in.jsonl", *task]
    status, out, err = run(*words, "--output", folder / "out.parquet", "--overwrite")
    assert status == 0, err
    assert f"{len(asked)} answers; {len(lost)} of {len(asked)} texts were cut" in out
    assert ("texts were cut" in err) == bool(lost)
    read = pyarrow.parquet.read_table(folder / "out.parquet").to_pylist()
    for i, (row, texts, answer) in enumerate(zip(read, shown, expected, strict=True)):
        kept = {"id": i, **texts, "words": "w"}
        named = {f"predicted_{key}" if key in kept else key: each for key, each in answer.items()}
        assert list(row) == [*kept, *named]
        assert {key: row[key] for key in kept} == kept
        assert {key: row[key] for key in named} == close(named)


def cut_of(model: Any, row: Any) -> bool:
    """Whether a text alone is too long for the rows that it is asked in."""
    columns = [[row]] if isinstance(row, str) else [[text] for text in row]
    if model.task.layout == "sentences" and not row.strip():
        return False
    examples = tt.data.Examples.from_lists(columns[0], None, *columns[1:])
    rows = model.cut(model.layout.in_units(examples))
    return bool(model.layout.encode_and_count(rows.examples.texts)[1].any())


def close(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: close(each) for key, each in value.items()}
    if isinstance(value, list):
        return [close(each) for each in value]
    return pytest.approx(value, abs=1e-5) if isinstance(value, float) else value


def test_lists_of_words_are_kept(bert_encoder: Path, tmp_path: Path, run: Any) -> None:
    sample = samples.ROWS["token-classification"]
    tt.build_model(str(bert_encoder), sample.task()).save(tmp_path / "model.keras")
    (tmp_path / "in.conll").write_text("good O\nfilm B-a\n\nbad O\n\n", encoding="utf-8")
    status, out, _ = run("predict", tmp_path / "model.keras", tmp_path / "in.conll")
    rows = [json.loads(line) for line in out.splitlines()]
    assert status == 0
    assert [list(row)[:2] for row in rows] == [["tokens", "tags"]] * 2
    assert [row["tokens"] for row in rows] == [["good", "film"], ["bad"]]
    assert [row["tags"] for row in rows] == [["O", "B-a"], ["O"]]


TABLES = (
    *('{"text": "good", "id": 1}\n', "id,text\n1,good\n", '"text";"id"\n', "text_a\ttext_b\n"),
    *("id|text\n1|good\n", "| id | text |\n|---|---|\n", " id | text\n----+----\n"),
    *("text label\ngood x\n", '"id" "text"\n"1" "good"\n', "text,\ngood,\n", ",text\n0,good\n"),
    *("text,is it good?\na,b\n", "ham\tOk lar\nspam\tFree\n"),
)


@pytest.mark.parametrize("content", TABLES)
def test_a_table_is_not_answered_line_by_line(
    content: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "in.txt").write_text(content, encoding="utf-8")
    monkeypatch.setattr("sys.stdin", iter(content.splitlines(keepends=True)))
    for source, name in (("-", "standard input"), (tmp_path / "in.txt", "in.txt")):
        with pytest.raises(tt.InputError, match=f"{name} is read as lines of text"):
            next(reading.line_chunks(source))
    if content.count("\n") > 1 and not content.startswith("{"):  # what `train` takes for a table
        assert not reading.is_lines(tmp_path / "in.txt")
    texts = ['{"a": 1}', "{curly", "text, please, and so on, and context", "The text", "id,name"]
    for text in texts:
        monkeypatch.setattr("sys.stdin", iter([text + "\n", "fine\n", content]))
        assert next(reading.line_chunks("-"))[0] == text


def test_a_column_without_a_name_numbers_the_rows(
    classifier: Path, tmp_path: Path, run: Any
) -> None:
    """As pandas and R write their index; empty columns behind the others hold nothing."""
    (tmp_path / "in.csv").write_text(",text,,\n007,good,,\n008,bad,,\n", encoding="utf-8")
    words = ["predict", classifier, tmp_path / "in.csv", "--output", tmp_path / "out.csv"]
    assert run(*words)[0] == 0
    with (tmp_path / "out.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    assert [row[:3] for row in rows] == [
        ["", "text", "label"],
        *(
            [number, text, row[2]]
            for number, text, row in zip(("007", "008"), ("good", "bad"), rows[1:])
        ),
    ]


def test_encode_says_what_predict_says(
    bert_encoder: Path, tmp_path: Path, run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was decided about the file, and how much was cut, over all chunks."""
    task = tt.tasks.Classification(["bad", "good"])
    model = tmp_path / "model.keras"
    tt.build_model(str(bert_encoder), task, sequence_length=24).save(model)
    long = "good " * 40
    (tmp_path / "in.tsv").write_text(f'text\tn\n"good\t1\n{long}\t2\n', encoding="utf-8")
    _, _, said = run("predict", model, tmp_path / "in.tsv")
    assert "fields don't quote" in said and "at 24 tokens 1 of 2 texts were cut, 18 tok" in said
    vectors = tmp_path / "vectors.npy"
    for more in ([], ["--output", vectors]):
        assert run("encode", model, tmp_path / "in.tsv", *more)[::2] == (0, said)
    (tmp_path / "in.txt").write_text(f"{long}\n" + "bad\n" * 1000 + long, encoding="utf-8")
    _, _, said = run("encode", model, tmp_path / "in.txt", "--output", vectors, "--overwrite")
    monkeypatch.setattr(asking, "CHUNK", 900)
    assert run("predict", model, tmp_path / "in.txt")[::2] == (0, said)
    assert said == f"{tmp_path / 'in.txt'}: at 24 tokens 2 of 1002 texts were cut, 36 tokens lost\n"


def test_no_word_of_a_long_sentence_is_said_to_be_lost(
    bert_encoder: Path, tmp_path: Path, run: Any
) -> None:
    """It is asked in parts; only a word that alone takes more than there is room loses some."""
    sample = samples.ROWS["token-classification"]
    model = tt.build_model(str(bert_encoder), sample.task(), sequence_length=24)
    model.save(tmp_path / "model.keras")
    (tmp_path / "in.txt").write_text("good film " * 40 + "\n", encoding="utf-8")
    status, out, err = run("predict", tmp_path / "model.keras", tmp_path / "in.txt")
    assert (status, err, len(json.loads(out)["words"])) == (0, "", 80)


def test_columns_that_a_model_of_pairs_reads_are_named(
    text_encoder: Path, tmp_path: Path, run: Any
) -> None:
    task = tt.tasks.Regression(pair=True, mean=0.0, deviation=1.0)
    tt.build_model(str(text_encoder), task).save(tmp_path / "model.keras")
    (tmp_path / "in.csv").write_text("id,TEXT_A\n1,a\n", encoding="utf-8")
    status, _, err = run("predict", tmp_path / "model.keras", tmp_path / "in.csv")
    assert status == 2 and "the model reads text_a and text_b; did you mean 'TEXT_A'?" in err


def test_evaluate_takes_columns_too(classifier: Path, tmp_path: Path, run: Any) -> None:
    lines = ["a,b,text,label"] + [f"good {i},{'good' if i % 2 else 'bad'},x,y" for i in range(20)]
    (tmp_path / "in.csv").write_text("\n".join(lines), encoding="utf-8")
    words = ["evaluate", classifier, "--data", tmp_path / "in.csv", "--output", tmp_path / "out"]
    status, _, err = run(*words, "--text", "a", "--label", "b")
    assert status == 0, err
    report = json.loads((tmp_path / "out" / "report.json").read_text(encoding="utf-8"))
    examples = tt.data.read(tmp_path / "in.csv", text="a", label="b")
    answers = tt.load_model(classifier).predict_text(examples.texts[0])
    right = [answer["label"] == label for answer, label in zip(answers, examples.labels)]
    assert report["metrics"]["accuracy"] == sum(right) / 20
    status, _, err = run(*words, "--overwrite")
    assert status == 2 and "Received: ['y'], not among the 2 known" in err
    status, _, err = run(*words, "--overwrite", "--text", "a", "--label", "c")
    assert status == 2 and "has no column 'c' for the label" in err


@pytest.mark.slow
def test_columns_of_several_tasks_are_said_in_their_file(
    bert_encoder: Path, tmp_path: Path, run: Any
) -> None:
    sample = samples.ROWS[MultiTask.name]
    tt.build_model(str(bert_encoder), sample.task()).save(tmp_path / "model.keras")
    words = ["evaluate", tmp_path / "model.keras", "--data", "in.json", "--output", tmp_path / "o"]
    status, _, err = run(*words, "--label", "b")
    assert status == 2 and "are said in the JSON file, for each. Received: b" in err


def test_the_text_of_a_table_is_that_of_the_training(
    classifier: Path, tmp_path: Path, run: Any
) -> None:
    """Also where there is what another task would read; training goes by the label as well."""
    row = {"text": "good", "document": "It rained. It poured.", "topic": "x", "summary": "Rain."}
    (tmp_path / "in.jsonl").write_text(json.dumps(row), encoding="utf-8")
    model = tt.load_model(classifier)
    trained = tt.data.read(tmp_path / "in.jsonl", label="topic")
    status, out, _ = run("predict", classifier, tmp_path / "in.jsonl")
    expected = model.predict_text(trained)[0]["scores"]
    assert status == 0 and json.loads(out)["scores"] == pytest.approx(expected)
    status, out, _ = run("encode", classifier, tmp_path / "in.jsonl")
    vectors = model.encode_text(["good"])[0].tolist()
    assert status == 0 and json.loads(out)["embedding"] == pytest.approx(vectors, abs=1e-6)


def test_names_of_columns_are_for_tables(classifier: Path, tmp_path: Path, run: Any) -> None:
    (tmp_path / "in.txt").write_text("review,stars\ngood,5\n", encoding="utf-8")
    status, _, err = run("encode", classifier, tmp_path / "in.txt", "--text", "review")
    assert (status, err.count("\n")) == (2, 1) and "no columns" in err
    status, _, err = run("predict", classifier, tmp_path / "missing.txt")
    assert (status, err.count("\n")) == (2, 1) and "UTF-8" not in err
