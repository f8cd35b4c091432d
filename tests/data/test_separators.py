"""Texts that hold what separates lines or words: one answer, whichever door they come by."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet
import pytest

import tfhub_transfer as tt
from tfhub_transfer.data import reading
from tfhub_transfer.jobs.asking import Answers
from tfhub_transfer.models import encoding
from tfhub_transfer.tasks import (
    Classification,
    ExtractiveSummarization,
    QuestionAnswering,
    TokenClassification,
)
from tfhub_transfer.texts import joining

# What some part of Python, JavaScript or a terminal takes for the end of a line or of a word.
ODD = ["\u2028", "\u2029", "\x85", "\x0b", "\x0c", "\x1c", "\x1d", "\x1e", "\x1f", "\xa0", "\u200b"]
TEXTS = [f"Good{c}film. The{c} {c}story was bad.{c}The worst movie{c}" for c in ODD]
QUESTIONS = [f"Which{c}film?" for c in ODD]


def as_text(names: list[str], rows: list[tuple[str, ...]], **dialect: Any) -> str:
    file = io.StringIO(newline="")
    csv.writer(file, **dialect).writerows([names, *rows])
    return file.getvalue()


def files(folder: Path, names: list[str], rows: list[tuple[str, ...]]) -> list[Path]:
    """The same texts in files of several forms."""
    objects = [dict(zip(names, row)) for row in rows]
    lines = "".join(json.dumps(each, ensure_ascii=False) + "\n" for each in objects)
    contents = {
        "a.csv": as_text(names, rows),
        "b.csv": as_text(names, rows, lineterminator="\n", quoting=csv.QUOTE_ALL),
        "a.tsv": as_text(names, rows, delimiter="\t"),
        "a.txt": "".join("\t".join(row) + "\n" for row in rows),
        "a.jsonl": lines,
        "b.jsonl": "".join(json.dumps(each) + "\n" for each in objects),
        "a.json": json.dumps(objects, ensure_ascii=False),
    }
    for name, content in contents.items():
        (folder / name).write_bytes(content.encode())
    (folder / "utf16.csv").write_bytes(contents["a.csv"].encode("utf-16"))
    pyarrow.parquet.write_table(pa.Table.from_pylist(objects), folder / "a.parquet")
    return sorted(folder.iterdir())


COLUMNS = {
    1: lambda names: {"text": names[0]},
    2: lambda names: {"text": names[0], "text_pair": names[1]},
}


def answers(model: Any, path: Path, texts: set[str]) -> list[dict[str, Any]]:
    asked = list(Answers(model, str(path), {}))
    assert all(texts <= set(row) for row in asked)
    return [{key: value for key, value in row.items() if key not in texts} for row in asked]


def check_doors(model: Any, names: list[str], rows: list[tuple[str, ...]], folder: Path) -> None:
    """File, list, dictionary and examples; rows of one text are those of `from_lists` too."""
    columns = [list(column) for column in zip(*rows)]
    asked = list(columns[0]) if len(names) == 1 else rows
    expected = model.predict_text(asked)
    examples = tt.data.Examples.from_lists(columns[0], None, *columns[1:])
    for path in files(folder, names, rows):
        if path.suffix != ".txt":
            read = tt.data.read(path, **COLUMNS[len(names)](names), require_label=False)
            assert read.texts == examples.texts, path.name
    for name in ("a.csv", "a.txt"):
        assert answers(model, folder / name, {*model.layout.signature}) == expected, name
    assert model.predict_text(dict(zip(names, columns))) == expected
    assert model.predict_text(examples) == expected
    # A separator is a space.
    spaced = [tuple(map(joining.plain, row)) for row in rows]
    assert model.predict_text([a for (a,) in spaced] if len(names) == 1 else spaced) == expected


@pytest.mark.parametrize(
    "encoder", ["text_encoder", pytest.param("bert_encoder", marks=pytest.mark.slow)]
)
def test_whole_texts(encoder: str, request: Any, tmp_path: Path) -> None:
    folder = request.getfixturevalue(encoder)
    model = tt.build_model(str(folder), Classification(["a", "b"]))
    check_doors(model, ["text"], [(text,) for text in TEXTS], tmp_path)
    vectors = [vectors for _, vectors in encoding.encode_file(str(folder), tmp_path / "a.csv")]
    assert (vectors[0] == tt.encode_text(str(folder), TEXTS)).all()


@pytest.mark.slow
def test_words(bert_encoder: Path, tmp_path: Path) -> None:
    task = TokenClassification().adapt([["B-a", "O", "I-a"]])
    model = tt.build_model(str(bert_encoder), task)
    check_doors(model, ["text"], [(text,) for text in TEXTS], tmp_path)


@pytest.mark.exhaustive
@pytest.mark.slow
def test_documents(bert_encoder: Path, tmp_path: Path) -> None:
    model = tt.build_model(str(bert_encoder), ExtractiveSummarization(1))
    check_doors(model, ["document"], [(text,) for text in TEXTS], tmp_path)
    # Their sentences are told by lists alone, from Python and from a table.
    listed = [["Good\u2028film", "the story"], ["One. Two."]]
    expected = model.predict_text(listed)
    assert [len(row["sentences"]) for row in expected] == [1, 1]
    rows = [{"sentences": row} for row in listed]
    (tmp_path / "lists.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = list(Answers(model, str(tmp_path / "lists.jsonl"), {}))
    assert [row["summary"] for row in found] == [row["summary"] for row in expected]
    assert expected[1]["summary"] == "One. Two."


@pytest.mark.slow
def test_contexts(bert_encoder: Path, tmp_path: Path) -> None:
    model = tt.build_model(str(bert_encoder), QuestionAnswering(unanswerable=False))
    check_doors(model, ["question", "context"], list(zip(QUESTIONS, TEXTS)), tmp_path)


@pytest.mark.exhaustive
@pytest.mark.slow
def test_exports(bert_encoder: Path, tmp_path: Path) -> None:
    labels = ["a", "b"]
    tasks = [
        Classification(labels),
        TokenClassification().adapt([["B-a", "O", "I-a"]]),
        ExtractiveSummarization(1),
        QuestionAnswering(unanswerable=False),
    ]
    for number, task in enumerate(tasks):
        model = tt.build_model(str(bert_encoder), task)
        asked: Any = list(zip(QUESTIONS, TEXTS)) if task.pair else TEXTS
        expected = model.predict_text(asked)
        folder = tt.export_saved_model(model, tmp_path / str(number), "float32")
        found = tt.load_saved_model(folder).predict(asked)
        for row, answer in enumerate(expected):
            if "label" in answer:
                assert found["scores"][row] == pytest.approx(list(answer["scores"].values()))
            elif "words" in answer:
                words = found["word"][row, : found["word_count"][row]]
                assert [w.decode() for w in words] == [w["text"] for w in answer["words"]]
            elif "sentences" in answer:
                assert found["sentence"][row, 0].decode() == answer["summary"]
                assert found["start"][row, 0] == answer["sentences"][0]["start"]
            else:
                assert found["answer"][row].decode() == answer["answer"]
                assert found["start"][row] == answer["start"]


def test_lists_are_marked_and_texts_are_not() -> None:
    marked = tt.data.Examples.from_lists([["a", "b\u2028c"], ["d."]])
    assert marked.texts == ([joining.join_words(["a", "b c"]), joining.join_words(["d."])],)
    # Also when they come out of other examples.
    assert tt.data.Examples.from_lists(marked.texts[0], [1, 2]).texts == marked.texts
    plain = tt.data.Examples.from_lists(["a\u2028b", "d.\u2029"], None, ["\u2028", "x"])
    assert plain.texts == (["a b", "d. "], [" ", "x"])


def test_lines_end_where_editors_end_them(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes("\n".join(TEXTS).encode())
    assert list(reading.line_chunks(path)) == [[*map(joining.plain, TEXTS)]]
