"""`--coverage`, `--abstain` and `--scope` of several tasks: each that heeds them has its own."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tfhub_transfer as tt
from tfhub_transfer.jobs.inputs import read_splits
from tfhub_transfer.jobs.options.training import TrainJob

TEXTS = [f"a {kind} film {number}" for number in range(40) for kind in ("good", "bad")]


@pytest.fixture
def words(tmp_path: Path, text_encoder: Path) -> list[Any]:
    """A command of two tasks: classes, and numbers."""
    for name, cells in (("kind", [t.split()[1] for t in TEXTS]), ("price", [*range(80)])):
        rows = [json.dumps({"text": t, "label": c}) for t, c in zip(TEXTS, cells)]
        (tmp_path / f"{name}.jsonl").write_text("\n".join(rows[:50]), "utf-8")
        (tmp_path / f"{name}.validation.jsonl").write_text("\n".join(rows[50:]), "utf-8")
    tasks = {
        name: {
            "task": task,
            "data": str(tmp_path / f"{name}.jsonl"),
            "validation": str(tmp_path / f"{name}.validation.jsonl"),
        }
        for name, task in (("kind", "classification"), ("price", "regression"))
    }
    (tmp_path / "tasks.json").write_text(json.dumps({"tasks": tasks}), "utf-8")
    data = ["--data", tmp_path / "tasks.json", "--encoder", text_encoder, "--quick"]
    return ["train", "--task", "multi-task", *data, "--output", tmp_path / "out"]


def test_each_task_has_its_own(words: list[Any], tmp_path: Path, run: Any) -> None:
    status, _, err = run(*words, "--coverage", "0.8", "--abstain", "0.5", "--scope")
    assert status == 0, err
    record = json.loads((tmp_path / "out" / "training.json").read_text("utf-8"))
    model = tt.load_model(tmp_path / "out" / "model.keras")
    answers = model.predict_text({"kind": TEXTS, "price": TEXTS})
    assert {*answers["kind"][0]} == {"label", "scores", "accepted", "label_set", "scope_score"}
    assert {*answers["price"][0]} == {"score", "lower", "upper", "scope_score"}
    # As each has it in Python, by its own rows.
    job = TrainJob("multi-task", str(words[4]), tmp_path / "other", encoder=str(words[6]))
    splits = read_splits(job)[0].by_task()
    for name, shares in (("kind", {"coverage": 0.8, "abstain": 0.5}), ("price", {"coverage": 0.8})):
        rows = splits[name].validation
        assert len(rows) == 30 == record["limits"][name]["rows"]
        told = tt.conformalize(model.parts[name], rows, **{"abstain": None, **shares})
        for key in ("cutoffs", "half_width", "accept_from"):
            expected = json.loads(json.dumps(told[key]))
            assert record["limits"][name][key] == (
                None if expected is None else pytest.approx(expected, abs=1e-5)
            )
        tt.learn_scope(model.parts[name], splits[name].train, rows)
        again = model.predict_text({name: TEXTS[:9]})[name]
        np.testing.assert_allclose(
            [row["scope_score"] for row in again],
            [row["scope_score"] for row in answers[name][:9]],
            atol=1e-5,
        )
    report = json.loads((tmp_path / "out" / "report" / "report.json").read_text("utf-8"))
    assert {"coverage", "far"} <= {*report["tasks"]["kind"]["trust"]}


@pytest.mark.parametrize(
    ("options", "received"),
    [
        (["--abstain", "0.1"], "the multi-task task knows neither. Received: abstain"),
        (["--coverage", "0.99"], "give 99 at least"),
        (["--coverage", "0.9", "--refit"], "Received: --refit and --coverage"),
    ],
)
def test_what_no_task_heeds_is_refused(
    options: list[str], received: str, words: list[Any], tmp_path: Path, run: Any
) -> None:
    told = json.loads((tmp_path / "tasks.json").read_text("utf-8"))
    if "--abstain" in options:
        told["tasks"]["kind"] = {**told["tasks"]["price"]}
    (tmp_path / "tasks.json").write_text(json.dumps(told), "utf-8")
    status, _, err = run(*words, *options)
    assert (status, err.count("\n")) == (2, 1) and received in err, err
    assert not (tmp_path / "out").exists()
