"""Bad input to the tasks that aren't of whole texts: one line, status 2, and nothing trains."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tfhub_transfer as tt
from tfhub_transfer import cli, tasks
from tfhub_transfer.jobs import inputs
from tfhub_transfer.tasks import MultiTask
from tfhub_transfer.training import stages

ROWS = range(30)
FILES: dict[str, list[dict[str, Any]]] = {
    "classes": [{"text": f"a {i}", "label": "xy"[i % 2]} for i in ROWS],
    "pairs": [{"text_a": f"a {i}", "text_b": "b", "label": "xy"[i % 2]} for i in ROWS],
    "lists": [{"text": ["a", "b"], "label": "xy"[i % 2]} for i in ROWS],
    "tags": [{"tokens": [f"w{i}", "b"], "tags": ["B-x", "O"]} for i in ROWS],
    "short tags": [{"words": ["a", "b"], "marks": ["O"]}],
    "own tags": [{"words": [f"w{i}", "b"], "marks": ["B-x", "O"]} for i in ROWS],
    "questions": [
        {
            "question": f"Who {i}?",
            "context": f"Anna lives in Rome {i}.",
            "answers": [{"text": "Rome", "answer_start": 14}],
        }
        for i in ROWS
    ],
    "listed context": [
        {"question": "Q?", "context": ["b", "c"], "answers": [{"text": "c", "answer_start": 2}]}
    ],
    "odd answers": [{"question": "Q?", "context": "Rome", "answers": "Rome"}],
    "infinite place": [
        {"question": "Q?", "context": "a", "answers": [{"text": "a", "answer_start": 1e400}]}
    ],
    "documents": [
        {"document": f"It rained {i}. We found a cure. Lunch.", "summary": "We found a cure."}
        for i in ROWS
    ],
    "one sentence": [{"document": "It rained.", "summary": "rain"}],
    "blank document": [
        {"document": "A. B. C.", "summary": "x"},
        {"document": "", "summary": "x"},
    ],
    "scores": [{"text_a": f"a {i}", "text_b": "b", "score": i % 5} for i in ROWS],
    "single scores": [{"text": f"a {i}", "score": i % 5} for i in ROWS],
    "endless score": [{"text_a": "a", "text_b": "b", "score": 1e300}],
}
OWN = ("--text", "words", "--label", "marks")
CASES = [
    # task, data, more words, message
    ("token-classification", "own tags", (*OWN, "--test", "short tags"), "every word must have"),
    ("token-classification", "tags", ("--test", "classes"), "has no column|as a list"),
    ("token-classification", "tags", ("--pooling", "attention"), "vector of its first word piece"),
    ("extractive-summarization", "documents", ("--test", "one sentence"), "one sentence only"),
    ("extractive-summarization", "documents", ("--test", "blank document"), "1 blank"),
    ("similarity", "scores", ("--test", "single scores"), "was built for pairs"),
    ("similarity", "scores", ("--test", "endless score"), "needs labels below"),
    ("classification", "classes", ("--test", "pairs"), "was built for single texts"),
    ("classification", "pairs", ("--test", "classes"), "was built for pairs"),
    ("classification", "classes", ("--test", "lists"), "reads texts, not lists of words"),
    ("classification", "classes", ("--negative", "label"), "`--negative` is for the similarity"),
    ("question-answering", "questions", ("--test", "classes"), "has no column 'question'"),
    ("question-answering", "questions", ("--towers",), "two towers answer for whole texts"),
    ("question-answering", "questions", ("--test", "listed context"), "must be a text, not a list"),
    ("question-answering", "questions", ("--test", "odd answers"), "line 1: expected answers as"),
    ("question-answering", "questions", ("--test", "infinite place"), "expected answers as"),
]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("bad")
    written = {}
    for name, rows in FILES.items():
        path = folder / f"{name.replace(' ', '_')}.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        written[name] = str(path)
    return written


@pytest.mark.parametrize(("task", "data", "more", "message"), CASES)
def test_a_mistake_costs_nothing(
    task: str,
    data: str,
    more: tuple[str, ...],
    message: str,
    files: dict[str, str],
    bert_encoder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def train(*args: Any) -> None:
        raise AssertionError("it trains")

    monkeypatch.setattr(stages.Training, "advance", train)
    words = ["train", "--task", task, "--data", files[data], "--encoder", str(bert_encoder)]
    given = [files.get(word, word) if word != "label" else word for word in more]
    assert cli.main([*words, "--output", str(tmp_path / "out"), *given]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    with pytest.raises(AssertionError, match=message):
        raise AssertionError(error)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"alpha": "0.5"}, "`alpha` must be a number from 0 to 1. Received: '0.5'"),
        ({"alpha": None}, "`alpha` must be a number from 0 to 1. Received: None"),
        ({"weights": {"a": None}}, "weights must be finite numbers"),
        ({"weights": {"a": float("inf")}}, "weights must be finite numbers"),
        ({"weights": {"a": True}}, "weights must be finite numbers"),
    ],
)
def test_settings_of_several_tasks_are_numbers(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(tt.InputError, match=message):
        MultiTask({"a": tasks.Classification(["x", "y"])}, **settings)


def test_several_tasks_say_their_files_in_json(
    files: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = {"task": "classification", "data": files["classes"]}
    (tmp_path / "tasks.json").write_text(json.dumps({"tasks": {"a": own}}))
    words = ["train", "--task", "multi-task", "--data", str(tmp_path / "tasks.json")]
    assert cli.main([*words, "--output", str(tmp_path / "out"), "--test", files["classes"]]) == 2
    assert "are said in the JSON file" in capsys.readouterr().err
    (tmp_path / "tasks.json").write_text(json.dumps({"tasks": {"a": {**own, "text": 5}}}))
    assert cli.main([*words, "--output", str(tmp_path / "out")]) == 2
    assert "all of them strings" in capsys.readouterr().err


def test_tasks_may_have_the_names_of_inputs(bert_encoder: Path) -> None:
    task = tasks.Classification(["x", "y"])
    model: Any = tt.build_model(str(bert_encoder), {"input_word_ids": task, "scores": task})
    assert set(model.predict_text({"scores": ["a"]})) == {"scores"}
    scores = model.predict_scores({"scores": ["a", "b"]}, batch_size=1, allow_nan=True)
    assert scores["scores"].shape == (2, 2)
    with pytest.raises(
        tt.InputError, match="texts by names of tasks.*'input_word_ids': ..., 'scores'"
    ):
        model.predict_text(["a"])


@pytest.mark.slow
def test_texts_without_a_word_have_no_tags(bert_encoder: Path, tmp_path: Path) -> None:
    task = tasks.TokenClassification(["B-a", "I-a", "O"], "IOB2")
    model = tt.build_model(str(bert_encoder), task)
    nothing = {"words": [], "entities": []}
    assert model.predict_text(["", " "]) == [nothing, nothing]
    assert model.predict_text([]) == []
    served = tt.load_saved_model(tt.export_saved_model(model, tmp_path))
    for texts in (["", " "], []):
        found = served.predict(texts)
        assert found["word_count"].tolist() == [0] * len(texts)
        assert found["entity_count"].tolist() == [0] * len(texts)


def test_answers_are_read_as_their_contexts_are(tmp_path: Path) -> None:
    odd = "Anna\u2028lives \U0001f642 there"
    row = {"question": "Q?", "context": odd, "answers": [{"text": odd[:10], "answer_start": 0}]}
    (tmp_path / "a.jsonl").write_text(json.dumps(row) + "\n")
    examples = tt.data.read(tmp_path / "a.jsonl")
    tasks.QuestionAnswering().check(examples)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"data": []}\n{"data": []}\n', "holds one JSON object"),
        (
            '{"data": [{"paragraphs": [{"context": "a", "qas": '
            '[{"question": "b", "is_impossible": "false"}]}]}]}',
            "`is_impossible` must be true or false",
        ),
    ],
)
def test_odd_files_of_squad_are_refused(content: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "squad.json").write_text(content)
    with pytest.raises(tt.InputError, match=message):
        tt.data.read(tmp_path / "squad.json")


def test_lines_that_arent_utf8_are_refused(
    bert_encoder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    task = tasks.Classification(["x", "y"])
    tt.build_model(str(bert_encoder), task).save(tmp_path / "model.keras")
    (tmp_path / "in.txt").write_bytes(b"Anna \xff\n")
    words = ["predict", str(tmp_path / "model.keras"), str(tmp_path / "in.txt")]
    assert cli.main(words) == 2
    assert "isn't UTF-8" in capsys.readouterr().err
    (tmp_path / "training.json").write_text("[")
    assert cli.main(["predict", str(tmp_path), str(tmp_path / "in.txt")]) == 2
    assert "record of the training is damaged" in capsys.readouterr().err


def test_nothing_to_judge_by_is_refused(bert_encoder: Path) -> None:
    task = tasks.TokenClassification(["B-a", "O"])
    model = tt.build_model(str(bert_encoder), task)
    train = tt.data.Examples.from_lists(["a"], [["O"]])
    with pytest.raises(tt.InputError, match="expected examples to train on"):
        tt.fine_tune(model, train, tt.data.Examples.from_lists([], []))


# Each with a mistake in one row, and what is said of it.
IN_A_ROW: dict[str, tuple[str, list[dict[str, Any]], dict[str, Any], dict[str, Any], str]] = {
    "nothing": ("classification", FILES["classes"], {"text": "a", "label": "NULL"}, {}, "missing"),
    "several": (
        "classification",
        FILES["classes"],
        {"text": "a", "label": ["x", "y"]},
        {},
        "one class for each text is expected",
    ),
    "commas": (
        "multi-label",
        FILES["classes"],
        {"text": "a", "label": "x, y"},
        {},
        "one name with a comma or several",
    ),
    "words": (
        "regression",
        FILES["single scores"],
        {"text": "a", "score": "high"},
        {},
        "needs finite numbers",
    ),
    "degree": (
        "similarity",
        [{**row, "score": row["score"] % 2} for row in FILES["scores"]],
        {"text_a": "a", "text_b": "b", "score": 0.5},
        {"loss": "contrastive"},
        "needs labels of 1",
    ),
    "tags": (
        "token-classification",
        FILES["tags"],
        {"tokens": ["a"], "tags": [["B-x"]]},
        {},
        "must be a string or a number",
    ),
    "answers": (
        "question-answering",
        FILES["questions"],
        {"question": "Q?", "context": "Rome", "answers": [{"text": "a", "answer_start": 3}]},
        {},
        "isn't at its offset",
    ),
    "summary": (
        "extractive-summarization",
        FILES["documents"],
        {"document": "It rained. We ran.", "summary": 7},
        {},
        "expected a summary",
    ),
    "document": (
        "extractive-summarization",
        FILES["documents"],
        {"document": " ", "summary": "a"},
        {},
        "every document must have a sentence",
    ),
}


@pytest.mark.parametrize("kind", IN_A_ROW)
def test_a_mistake_in_a_row_is_named_by_its_line(kind: str, tmp_path: Path) -> None:
    """Also where the rows were parted before it was found; a line is that of an editor."""
    task, rows, odd, more, message = IN_A_ROW[kind]
    path = tmp_path / "x.jsonl"
    lines = ["", *map(json.dumps, [*rows, odd, *rows[:3]])]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    place = rf"x\.jsonl, line {len(rows) + 2}\b"
    with pytest.raises(tt.InputError, match=place) as caught:
        inputs.read_splits(inputs.TrainJob(task, str(path), tmp_path / "out", **more))
    assert message in str(caught.value)


def test_a_mistake_is_named_by_its_place_in_any_part(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text('text,label\n"two\nlines",a\nb,b\nc,NULL\n', encoding="utf-8")
    examples = tt.data.read(path)
    task = tasks.Classification(["a", "b"])
    for part in (examples, examples[1:], examples[[2]], examples[np.array([False, True, True])]):
        with pytest.raises(tt.InputError, match="x.csv, line 5: a label is missing"):
            task.check(part)
    with pytest.raises(tt.InputError, match="^label 2: a label is missing"):
        task.check(tt.data.Examples.from_lists(["a", "b"], ["a", "NULL"]))
    table = tt.data.read({"text": ["a", "b"], "label": ["a", "NULL"]})
    with pytest.raises(tt.InputError, match="dict, row 2: a label is missing"):
        task.check(table)
