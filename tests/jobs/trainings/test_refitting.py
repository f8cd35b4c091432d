"""`--refit`: once more on training and validation split, as long as was best for validation."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tfhub_transfer as tt
from tfhub_transfer.errors import InputError
from tfhub_transfer.jobs.inputs import read_splits
from tfhub_transfer.jobs.options.training import TrainJob
from tfhub_transfer.jobs.options.tuning import TuneJob
from tfhub_transfer.jobs.searches.tuning import tune
from tfhub_transfer.jobs.three_splits import JointSplits, Splits
from tfhub_transfer.jobs.trainings import refitting
from tfhub_transfer.jobs.trainings.training import train
from tfhub_transfer.models.building import default_optimizer

lists = tt.data.Examples.from_lists
TEXTS = [f"a good film {i}" for i in range(40)] + [f"the worst movie {i}" for i in range(40)]
LABELS = ["positive"] * 40 + ["negative"] * 40


@pytest.mark.slow
def test_the_model_is_what_the_python_gives(text_encoder: Path, tmp_path: Path, run: Any) -> None:
    path, output = tmp_path / "rows.csv", tmp_path / "out"
    rows = "".join(f"{text},{label}\n" for text, label in zip(TEXTS, LABELS))
    path.write_text(f"text,label\n{rows}", "utf-8")
    words = ["train", "--task", "classification", "--data", path, "--encoder", text_encoder]
    words += ["--output", output, "--refit", "--epochs", "3", "--unfreeze", "1"]
    status, _, error = run(*map(str, words))
    assert status == 0, error
    # The same by hand.
    splits = tt.data.split(tt.data.read(str(path)))
    task = tt.tasks.Classification()
    task.adapt(splits[0].labels)

    def built() -> Any:
        tt.runtime.seed_everything(0)
        encoder = tt.Encoder(str(text_encoder))
        return tt.build_model(encoder, task, optimizer=default_optimizer(encoder))

    judged = tt.fine_tune(built(), *splits[:2], 3, 1, plan=tt.Plan(verbose=0))
    model, whole = built(), tt.data.pool(*splits[:2])
    plan = tt.Plan(verbose=0, ends=judged.ends)
    tt.fine_tune(model, whole, splits[1], 3, 1, plan=plan)
    found = tt.load_model(output / "model.keras")
    for mine, its in zip(found.get_weights(), model.get_weights()):
        np.testing.assert_array_equal(mine, its)
    record = json.loads((output / "training.json").read_text("utf-8"))
    assert [each["epoch"] for each in record["outcomes"]] == [e.epoch for e in judged.outcomes]
    assert not [name for name in record["history"] if name.startswith("val_")]
    assert "val_" not in (output / "history.csv").read_text("utf-8")
    assert record["arguments"]["refit"] is True
    report = json.loads((output / "report" / "report.json").read_text("utf-8"))
    assert report["metrics"]["accuracy"] == tt.evaluate(model, splits[2]).metrics["accuracy"]


def test_weights_of_one_file_alone_are_refused_with_what_mends_it(tmp_path: Path) -> None:
    path, other = tmp_path / "rows.csv", tmp_path / "judge.csv"
    rows = "".join(f"{t},{label},2\n" for t, label in zip(TEXTS, LABELS))
    path.write_text(f"text,label,w\n{rows}", "utf-8")
    other.write_text("text,label,w\na good play,positive,1\nthe worst play,negative,1\n", "utf-8")
    given: Any = {"task": "classification", "output": tmp_path / "out", "weight": "w"}
    message = "leave `--validation` out, .*weights in .*rows.csv, and .*judge.csv"
    for job in (
        TrainJob(data=str(path), validation=str(other), refit=True, **given),
        TuneJob(data=str(path), validation=str(other), folds=2, **given),
    ):
        with pytest.raises(InputError, match=message):
            (train if isinstance(job, TrainJob) else tune)(job)
    splits, _ = read_splits(TrainJob(data=str(path), **given))
    assert isinstance(splits, Splits)
    pooled = refitting.pooled(splits).train
    assert isinstance(pooled, tt.data.Examples) and pooled.weight == splits.train.weight is not None


def test_all_but_the_test_split_teaches() -> None:
    parts = [lists(TEXTS[at::3], LABELS[at::3]) for at in range(3)]
    found = refitting.pooled(Splits(*parts))
    assert isinstance(found, Splits) and found.validation is parts[1] and found.test is parts[2]
    assert found.train.texts[0] == TEXTS[0::3] + TEXTS[1::3]
    joint = refitting.pooled(JointSplits.of({"a": Splits(*parts), "b": Splits(*parts)}))
    assert isinstance(joint, JointSplits) and joint.train["b"] == found.train


@pytest.mark.parametrize(
    ("more", "said"), [({"alone": True}, "--alone"), ({"workers": 2}, "several")]
)
def test_what_isnt_trained_once_more_is_one_line(more: Any, said: str) -> None:
    job = TrainJob("classification", "rows.csv", Path("out"), refit=True, **more)
    with pytest.raises(InputError, match=f"Received: --refit and {said}"):
        refitting.require_possible(job)
