"""`train --descriptions`: what learns from what, what is told, what is refused."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tfhub_transfer as tt
from tfhub_transfer import cli
from tfhub_transfer.jobs.trainings import described_classes
from tfhub_transfer.recipes import class_descriptions
from tfhub_transfer.recipes.class_descriptions import Judged
from tfhub_transfer.training.history import History


@pytest.fixture
def words(tmp_path: Path, sentiment: Any, text_encoder: Path) -> list[str]:
    """A command with 12 labelled texts, and 10 to judge and measure by."""
    texts, labels = sentiment
    named = {"negative": "c0", "positive": "c1"}
    rows = [json.dumps({"text": t, "label": named[n]}) for t, n in zip(texts, labels)]
    (tmp_path / "a.jsonl").write_text("\n".join(rows[:12]), "utf-8")
    (tmp_path / "v.jsonl").write_text("\n".join(rows[12:22]), "utf-8")
    told = {"c1": ["good", "a great film"], "c0": "bad"}
    (tmp_path / "classes.json").write_text(json.dumps(told), "utf-8")
    judged = str(tmp_path / "v.jsonl")
    given = ["train", "--task", "classification", "--data", str(tmp_path / "a.jsonl"), "--quick"]
    given += ["--validation", judged, "--test", judged, "--encoder", str(text_encoder)]
    return [*given, "--output", str(tmp_path / "out")]


def test_descriptions_teach_where_they_help(
    words: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    given: list[Any] = []

    def fit(model: Any, train: Any, validation: Any, **how: Any) -> History:
        given.append((train, validation))
        return tt.fine_tune(model, train, validation, **how)

    monkeypatch.setattr(described_classes, "fine_tune", fit)
    monkeypatch.setattr(class_descriptions, "judge", lambda *given: Judged(3, 4, 20, 10))
    assert cli.main([*words, "--descriptions", str(tmp_path / "classes.json")]) == 0
    told = " ".join(capsys.readouterr().out.split())
    [(train, validation)] = given
    assert list(train.texts[0][12:]) == ["bad", "good", "a great film"]
    assert list(train.labels[12:]) == ["c0", "c1", "c1"]
    assert train.weights == [1.0] * 12 + [4.0, 2.0, 2.0]
    assert len(validation) == 10 and validation.weight is None
    said = "descriptions of classes: accuracy 0.1500 without, 0.2000 with them; on 10 training"
    plan = json.loads((tmp_path / "out" / "training.json").read_text("utf-8"))["plan"]
    assert plan["descriptions"].startswith(said) and plan["descriptions"] in told
    report = json.loads((tmp_path / "out" / "report" / "report.json").read_text("utf-8"))
    assert plan["descriptions"] in report["notes"] and report["examples"]["train"] == 12


def test_what_brings_nothing_changes_nothing(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(class_descriptions, "judge", lambda *given: Judged(4, 4, 20, 10))
    found = []
    for more in ([], ["--descriptions", str(tmp_path / "classes.json")]):
        assert cli.main([*words, *more, "--overwrite"]) == 0
        found.append(tt.load_model(tmp_path / "out" / "model.keras").get_weights())
    for one, other in zip(*found):
        np.testing.assert_array_equal(one, other)


def test_vectors_and_classes_go_together(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text_encoder: Path
) -> None:
    given: list[Any] = []
    monkeypatch.setattr(
        class_descriptions, "judge", lambda *all_: given.append(all_) or Judged(1, 1, 2, 1)
    )
    assert cli.main([*words, "--descriptions", str(tmp_path / "classes.json")]) == 0
    [(known, described, validation, _, _)] = given
    assert described[1].tolist() == [0, 1, 1] and (len(known[1]), len(validation[1])) == (12, 10)
    expected = tt.encode_text(str(text_encoder), ["bad", "good", "a great film"], normalize=True)
    np.testing.assert_allclose(described[0], expected, atol=1e-6)


@pytest.mark.parametrize(
    ("options", "received"),
    [
        (["--refit"], "--refit"),
        (["--unlabelled", "{folder}/a.jsonl"], "Received: --unlabelled"),
        (["--block", "cnn"], "a head that reads token vectors"),
        (["--task", "multi-label"], "--task multi-label"),
        (["--task", "regression"], "--task regression"),
        (["--descriptions", "{folder}/nowhere.json"], "nowhere.json"),
        (["--descriptions", "{folder}/one.json"], "a description of each of two classes"),
        (["--descriptions", "{folder}/other.json"], "with 'c1' without one"),
        (["--descriptions", "{folder}/more.json"], "with 'c2', which is none"),
        (["--text", "text", "--text-pair", "label"], "pairs"),
        (["--output", "{folder}/classes.json"], "classes.json"),
    ],
)
def test_what_it_is_no_use_for_is_refused(
    options: list[str],
    received: str,
    words: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    three = {"c0": "a", "c1": "b", "c2": "c"}
    for name, told in (("one", {"c0": "a"}), ("other", {"c0": "a", "d": "b"}), ("more", three)):
        (tmp_path / f"{name}.json").write_text(json.dumps(told), "utf-8")
    before = (tmp_path / "classes.json").read_bytes()
    more = [option.format(folder=tmp_path) for option in options]
    assert cli.main([*words, "--descriptions", str(tmp_path / "classes.json"), *more]) == 2
    error = capsys.readouterr().err.strip()
    assert error.count("\n") == 0 and received in error, error
    assert not (tmp_path / "out").exists()
    assert (tmp_path / "classes.json").read_bytes() == before
