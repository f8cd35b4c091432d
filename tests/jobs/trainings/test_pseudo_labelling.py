"""`train --unlabelled`: which texts it reads, what learns from what, what is refused."""

import json
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tfhub_transfer as tt
from tfhub_transfer import cli
from tfhub_transfer.data import Examples
from tfhub_transfer.jobs.three_splits import Splits
from tfhub_transfer.jobs.trainings import pseudo_labelling
from tfhub_transfer.recipes import pseudo_labels
from tfhub_transfer.training.history import History


def files(folder: Path, sentiment: Any, **more: Any) -> list[str]:
    """A command with 12 labelled texts, 10 to judge by, and the rest in CSV without labels."""
    texts, labels = sentiment
    rows = [json.dumps({"review": t, "label": n}) for t, n in zip(texts, labels)]
    (folder / "a.jsonl").write_text("\n".join(rows[:12]), "utf-8")
    (folder / "v.jsonl").write_text("\n".join(rows[12:22]), "utf-8")
    cells = [json.dumps(text) for text in texts]
    cells[30] = '"  "'
    # A text of each split, and one twice.
    (folder / "u.csv").write_text("n,review\n" + "".join(f"1,{c}\n" for c in cells), "utf-8")
    given = ["train", "--task", "classification", "--data", str(folder / "a.jsonl"), "--quick"]
    given += ["--validation", str(folder / "v.jsonl"), "--test", str(folder / "v.jsonl")]
    given += ["--text", "review", "--label", "label", "--output", str(folder / "out")]
    return given


def test_labels_are_given_and_told_of(
    text_encoder: Path,
    sentiment: Any,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    words = [*files(tmp_path, sentiment), "--encoder", str(text_encoder)]
    unseen = len({*sentiment[0]} - {*sentiment[0][:22]}) - 1
    given: list[Any] = []

    def fit(model: Any, train: Examples, validation: Examples, **how: Any) -> History:
        given.append((train, validation))
        return tt.fine_tune(model, train, validation, **how)

    monkeypatch.setattr(pseudo_labelling, "fine_tune", fit)
    monkeypatch.setattr(pseudo_labels, "NEARLY", 0.0)
    real = pseudo_labels._Trial.ask

    def worse(self: Any, *asked: Any) -> None:
        real(self, *asked)
        self.right[""] = -1

    monkeypatch.setattr(pseudo_labels._Trial, "ask", worse)
    assert cli.main([*words, "--unlabelled", str(tmp_path / "u.csv")]) == 0
    told = " ".join(capsys.readouterr().out.split())
    [(train, validation)] = given
    assert f"Left out, as blank, there twice, or texts of a split: {40 - unseen} rows" in told
    more = len(train) - 12
    assert 0 < more <= unseen and f"Trained on 12 labelled texts and {more} more" in told
    assert train.weights is not None and train.weights[:12] == [1.0] * 12
    assert all(0 < weight <= 1 for weight in train.weights)
    assert set(train.texts[0][12:]).isdisjoint(sentiment[0][:22])
    assert list(validation.texts[0]) == sentiment[0][12:22] and validation.weight is None
    plan = json.loads((tmp_path / "out" / "training.json").read_text("utf-8"))["plan"]
    assert plan["pseudo_labels"].startswith("labels for unlabelled texts: accuracy")
    assert plan["pseudo_labels"] in told
    report = json.loads((tmp_path / "out" / "report" / "report.json").read_text("utf-8"))
    assert plan["pseudo_labels"] in report["notes"]
    assert report["examples"]["train"] == 12  # those that somebody labelled


def test_what_brings_nothing_changes_nothing(
    text_encoder: Path, sentiment: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = [*files(tmp_path, sentiment), "--encoder", str(text_encoder)]
    monkeypatch.setattr(pseudo_labels._Trial, "ask", lambda *given: None)  # all are right alike
    found = []
    for more in ([], ["--unlabelled", str(tmp_path / "u.csv")]):
        assert cli.main([*words, *more, "--overwrite"]) == 0
        model = tt.load_model(tmp_path / "out" / "model.keras")
        found.append(model.get_weights())
    for one, other in zip(*found):
        np.testing.assert_array_equal(one, other)


def test_texts_of_any_split_are_left_out() -> None:
    parts = [Examples.from_lists([text], ["x"]) for text in ("a b", "C", "d")]
    rows = [(text,) for text in (" A  b", "c", "d", "e", "", " ", "E", "f")]
    assert pseudo_labelling.unseen(rows, Splits(*parts)) == [("e",), ("f",)]
    pairs = [Examples.from_lists([t], ["x"], [t]) for t in "abc"]
    assert pseudo_labelling.unseen([("a", "a"), ("a", "b"), ("", "b")], Splits(*pairs)) == [
        ("a", "b")
    ]


@pytest.mark.parametrize("weight", [None, [2.0, 0.5]])
def test_labels_count_as_much_as_they_are_sure(weight: Any) -> None:
    own = Examples.from_lists(["a", "b"], [1, 0], ["c", "d"], weight=weight)
    labels = pseudo_labels.Labels(np.array([0, 2]), np.array([1, 0]), np.array([0.75, 0.5]))
    texts = [("e", "f"), ("g", "h"), ("i", "j")]
    found = pseudo_labelling.with_labels(own, texts, labels, ["0", "1"])
    assert [list(column) for column in found.texts] == [["a", "b", "e", "i"], ["c", "d", "f", "j"]]
    assert list(found.labels) == [1, 0, "1", "0"]
    assert found.weights == [*(weight or [1.0, 1.0]), 0.75, 0.5]
    task = tt.tasks.Classification(["0", "1"])
    assert np.asarray(task.encode(found.labels)).tolist() == [1, 0, 1, 0]


def test_rows_of_weight_0_are_not_counted_as_learned_from(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    own = Examples.from_lists(["a", "b", "c"], ["x", "y", "x"], weight=[1, 0, 2])
    labels = pseudo_labels.Labels(np.array([0]), np.array([1]), np.array([0.5]))
    right = dict.fromkeys(pseudo_labels.WAYS, 1)
    judged = pseudo_labels.Judged("self-training", labels, right, 1, 2, 0)
    monkeypatch.setattr(pseudo_labelling, "_judged", lambda *given: judged)
    monkeypatch.setattr(pseudo_labelling, "fine_tune", lambda *given, **how: History())
    model: Any = types.SimpleNamespace(task=tt.tasks.Classification(["x", "y"]))
    pseudo_labelling._fit([("d",)], model, own, own, plan=tt.Plan())
    assert "Trained on 2 labelled texts and 1 more" in capsys.readouterr().out


def test_of_too_many_texts_some_are_drawn(
    text_encoder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tt.build_model(str(text_encoder), tt.tasks.Classification(["a", "b"]))
    texts = [(str(number),) for number in range(30)]
    assert pseudo_labelling._some(texts, model, 1) is texts
    monkeypatch.setattr(pseudo_labels, "MOST_CELLS", 20)
    found = pseudo_labelling._some(texts, model, 1)
    assert len(found) == 10 and found == sorted(found, key=texts.index)
    assert found != pseudo_labelling._some(texts, model, 2)


@pytest.mark.parametrize(
    ("options", "received"),
    [
        (["--few-shot", "on"], "--few-shot on"),
        (["--few-shot", "auto"], "--few-shot auto"),
        (["--refit"], "--refit"),
        (["--block", "cnn"], "a head that reads token vectors"),
        (["--task", "multi-label"], "--task multi-label"),
        (["--task", "regression"], "--task regression"),
        (["--task", "token-classification"], "--task token-classification"),
        (["--unlabelled", "{a}"], "each blank or a text of these"),
        (["--unlabelled", "{folder}/nowhere.txt"], "nowhere.txt"),
        (["--data", "{one}"], "of one class"),
        (
            ["--unlabelled", "{other}"],
            "called as those of the training file, review, or one a line",
        ),
    ],
)
def test_what_it_is_no_use_for_is_refused(
    text_encoder: Path,
    sentiment: Any,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    options: list[str],
    received: str,
) -> None:
    words = [*files(tmp_path, sentiment), "--encoder", str(text_encoder)]
    one = tmp_path / "one.jsonl"
    rows = [{"review": text, "label": "x", "weight": 1} for text in sentiment[0][:8]]
    rows += [{"review": "other", "label": "y", "weight": 0}]
    one.write_text("\n".join(map(json.dumps, rows)), "utf-8")
    words = [w for w in words if w != "--quick" or options[0] != "--few-shot"]
    (tmp_path / "other.jsonl").write_text('{"body": "a film"}', "utf-8")
    places = {
        "other": tmp_path / "other.jsonl",
        "a": tmp_path / "a.jsonl",
        "folder": tmp_path,
        "one": one,
    }
    more = [option.format(**places) for option in options]
    if one.name in " ".join(more):
        more += ["--weight", "weight"]
        words = [w.replace("v.jsonl", "one.jsonl") for w in words]
    assert cli.main([*words, "--unlabelled", str(tmp_path / "u.csv"), *more]) == 2
    error = capsys.readouterr().err.strip()
    assert received in " ".join(error.split()) and "Traceback" not in error
    assert not (tmp_path / "out").exists()
