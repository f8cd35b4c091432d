"""Whether texts of a pair pass the encoder together or apart, as a setting of a search."""

import json
import shlex
from pathlib import Path
from typing import Any

import keras_tuner
import numpy as np
import pytest

import tfhub_transfer as tt
from tfhub_transfer.jobs.options.training import TrainJob
from tfhub_transfer.jobs.options.tuning import TuneJob
from tfhub_transfer.jobs.searches import tuning
from tfhub_transfer.models.building import default_optimizer

WORDS = ("a good film", "the worst movie", "a kind crowd", "what a bad day")
ROWS = [(first, second, first == second) for first in WORDS for second in WORDS] * 3
FIXED = {
    **{"unfreeze": "none", "pooling": "mean", "hidden_units": 0, "dropout": 0.0},
    "head_learning_rate": 5e-3,
}


def task() -> Any:
    return tt.tasks.Regression(pair=True)


def examples(rows: list[Any]) -> Any:
    first, second, alike = zip(*rows)
    scores = [1.0 if each else 0.0 for each in alike]
    return tt.data.Examples.from_lists(first, scores, text_pair=second)


def by_hand(folder: Path, train: Any, validation: Any, towers: bool) -> Any:
    """The same without a search."""
    tt.runtime.seed_everything(0)
    encoder = tt.Encoder(str(folder))
    head = tt.Head(pooling="mean", dropout=0.0, towers=towers)
    own = task().adapt(train.labels)
    model = tt.build_model(encoder, own, head, default_optimizer(encoder), sequence_length=16)
    plan = tt.Plan(head_learning_rate=5e-3, verbose=0)
    tt.fine_tune(model, train, validation, None, 0, 32, plan)
    return model


@pytest.mark.parametrize("folds", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_each_trial_reads_pairs_as_a_model_of_its_own_does(bert_encoder: Path, folds: int) -> None:
    """One behind the other, so that neither has what was stored of the other's texts."""
    train, validation = examples(ROWS), examples(ROWS[:16])
    made = tt.tuning.TransferHyperModel(
        str(bert_encoder),
        task().adapt(train.labels),
        *(train, validation),
        space=FIXED,
        folds=folds,
        sequence_length=16,
    )
    kernels = []
    for drawn in ("no", "yes", "no"):
        hp = keras_tuner.HyperParameters()
        hp.values = {"towers": drawn}
        model = made.build(hp)
        assert model.head.towers == (drawn == "yes") and made.chosen(hp)["towers"] == drawn
        made.fit(hp, model)
        if folds == 1:
            alone = by_hand(bert_encoder, train, validation, drawn == "yes")
            for mine, its in zip(model.get_weights(), alone.get_weights(), strict=True):
                np.testing.assert_array_equal(mine, its)
        kernels.append(model.get_weights()[-2])
    assert kernels[1].shape[0] == 4 * kernels[0].shape[0]  # u, v, |u-v|, u*v
    np.testing.assert_array_equal(kernels[0], kernels[2])


def test_the_command_that_is_told_has_the_option() -> None:
    job = TuneJob(task="regression", data=(Path("a"),), output=Path("b"), towers=True)
    plain = tuning._plain(job)
    assert plain.towers
    for drawn, towers in (("yes", True), ("no", False)):
        arguments = tuning._as_options({"unfreeze": 0, "towers": drawn})
        assert arguments["towers"] is towers
        told = TrainJob(task="regression", data=(Path("a"),), output=Path("b"), **arguments)
        assert ("--towers" in shlex.split(tuning.command_of(told))) == towers


@pytest.mark.slow
def test_a_search_of_a_frozen_encoder_finds_that_pairs_are_better_apart(
    bert_encoder: Path, tmp_path: Path, run: Any
) -> None:
    lines = [{"text_a": a, "text_b": b, "score": float(alike)} for a, b, alike in ROWS]
    for name, rows in (("train", lines), ("validation", lines[:16]), ("test", lines[:16])):
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (tmp_path / f"{name}.jsonl").write_text(text, encoding="utf-8")
    fixed = [f"--fix={name}={value}" for name, value in FIXED.items()]
    words = [
        *("tune", "--task", "regression", "--data", tmp_path / "train.jsonl"),
        *("--validation", tmp_path / "validation.jsonl", "--test", tmp_path / "test.jsonl"),
        *("--text", "text_a", "--text-pair", "text_b", "--label", "score", *fixed),
        *("--encoder", bert_encoder, "--output", tmp_path / "out", "--tuner", "grid"),
    ]
    status, _, error = run(*map(str, words))
    assert status == 0, error
    best = json.loads((tmp_path / "out" / "best.json").read_text("utf-8"))
    assert best["trials"] == 2 and best["values"]["towers"] == "yes"
    assert best["score"] < best["default"] and "--towers" in shlex.split(best["command"])
    assert tt.load_model(tmp_path / "out" / "model.keras").head.towers
