"""The same command goes on where an earlier one was interrupted, and says where it doesn't."""

import csv
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import tfhub_transfer as tt
from tfhub_transfer.callbacks.best_weights import FellApart
from tfhub_transfer.jobs.options.training import TrainJob
from tfhub_transfer.jobs.trainings import training
from tfhub_transfer.optimization import planning
from tfhub_transfer.storage.notes import Lasting, of_output
from tfhub_transfer.training.heads import Head


@pytest.fixture
def rows(sentiment: Any, tmp_path: Path) -> Path:
    lines = [f'"{text}",{label}' for text, label in zip(*sentiment, strict=True)]
    path = tmp_path / "rows.csv"
    path.write_text("text,label\n" + "\n".join(lines), encoding="utf-8")
    return path


def words(rows: Path, encoder: Path, *more: Any) -> list[Any]:
    given = ["train", "--task", "classification", "--data", rows, "--encoder", encoder]
    return [*given, "--output", rows.parent / "out", *more]


@pytest.mark.slow
def test_a_command_goes_on_where_it_ended(
    rows: Path, text_encoder: Path, run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(*args: Any, **kwargs: Any) -> None:
        raise RuntimeError("a bug")

    command = words(rows, text_encoder, "--quick")
    output = rows.parent / "out"
    with monkeypatch.context() as patch:
        patch.setattr(training, "evaluate", failing)
        status, _, error = run(*command)
    notes = of_output(output)
    assert status == 1 and f"the same command goes on from {notes}" in error
    there = sorted(path.name for path in rows.parent.iterdir())
    assert there == [notes.name, "out", "rows.csv"] and (output / "interrupted.keras").is_file()
    # Another one may not take the place of what is there.
    with pytest.warns(UserWarning, match="doesn't go on with it: --seed was 0 and is 5"):
        status, _, error = run(*command, "--seed", 5)
    assert status == 2 and "isn't empty" in error and "goes on from" not in error
    status, _, error = run(*command, "--seed", 5, "--resume", "only")
    assert status == 2 and "can't: --seed was 0 and is 5. Leave it out" in error
    assert "goes on from" not in error
    status, _, error = run(*command, "--resume", "never")
    assert status == 2 and "isn't empty" in error and "goes on from" not in error
    text = rows.read_text("utf-8")
    rows.write_text(text.replace(",negative", ",positive", 5), "utf-8")
    with pytest.warns(UserWarning, match="doesn't go on with it: the examples to train on changed"):
        status, _, error = run(*command)
    assert status == 2 and "isn't empty" in error and "goes on from" not in error
    assert (output / "interrupted.keras").is_file()
    rows.write_text(text, "utf-8")
    (output / "notes.txt").touch()
    status, _, error = run(*command)
    assert status == 2 and "isn't empty" in error
    (output / "notes.txt").unlink()
    shutil.copytree(notes, rows.parent / "copy")
    monkeypatch.setattr(Head, "run", failing)  # it has trained
    status, out, error = run(*command, "--resume", "only")
    assert status == 0, error
    assert "Going on after stage 1" in out and "Written to" in out
    assert (output / "model.keras").is_file() and not (output / "interrupted.keras").exists()
    record = json.loads((output / "training.json").read_text("utf-8"))
    with open(output / "history.csv", encoding="utf-8", newline="") as file:
        losses = [float(row["loss"]) for row in csv.DictReader(file)]
    assert losses == record["history"]["loss"]
    assert sorted(path.name for path in rows.parent.iterdir()) == ["copy", "out", "rows.csv"]
    # As if the last moment had been that of the kill.
    (rows.parent / "copy").rename(notes)
    status, _, error = run(*command)
    assert status == 2 and "isn't empty" in error and not notes.exists()


def test_what_ended_before_it_began_leaves_nothing(
    rows: Path, text_encoder: Path, run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard = []

    def refuse(*args: Any, checkpoint: Any, **kwargs: Any) -> None:
        heard.append(checkpoint)
        raise tt.InputError("no such label. Received: x")

    monkeypatch.setattr(training, "fine_tune", refuse)
    status, _, error = run(*words(rows, text_encoder, "--quick"))
    assert status == 2 and "no such label" in error and "so far" not in error
    assert sorted(path.name for path in rows.parent.iterdir()) == ["rows.csv"]
    # What the disk is to have room for: the model's file, at least.
    assert heard[0].spare > 0
    # From then on a mistake isn't all of it.
    plain = TrainJob(task="classification", data=(rows,), output=rows.parent / "out")
    for begun, error, left in (
        (False, tt.InputError("x"), True),
        (True, tt.InputError("x"), False),
        (True, FellApart("x"), True),
        (False, OSError("x"), False),
    ):
        heard[0].has_begun = begun
        assert training._left_nothing(plain, heard[0], error) is left


def test_two_at_a_time_and_nothing_to_go_on_from(rows: Path, text_encoder: Path, run: Any) -> None:
    command = words(rows, text_encoder)
    held = Lasting(of_output(rows.parent / "out"))
    status, _, error = run(*command)
    assert status == 2 and "another process trains there at this moment" in error
    held.release()
    status, _, error = run(*command, "--resume", "only")
    assert status == 2 and "there is no checkpoint" in error
    assert sorted(path.name for path in rows.parent.iterdir()) == ["rows.csv"]


# Kills -------------------------------------------------------------------------------------------

# Notes as often as can be, so that a kill finds the most moments; a head that is soon done.
DRIVER = """
import sys
from tfhub_transfer.__main__ import run
from tfhub_transfer.optimization import planning
from tfhub_transfer.training import checkpoints
checkpoints.LEAST_SECONDS = 0.0
planning.HEAD_STEPS = 20
run()
"""


def start(command: list[Any]) -> "subprocess.Popen[str]":
    given = [sys.executable, "-c", DRIVER, *map(str, command)]
    return subprocess.Popen(
        given, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )


def finish(command: list[Any]) -> str:
    process = start(command)
    try:
        out, error = process.communicate(timeout=300)
    finally:
        process.kill()
    assert process.returncode == 0, error
    return out


def wait_for(notes: Path, process: "subprocess.Popen[str]", changes: int) -> None:
    """Until the notes have changed so often, or the run has ended."""
    seen: set[int] = set()
    while process.poll() is None and len(seen) < changes:
        for path in notes.glob("*.npz"):
            try:
                seen.add(path.stat().st_mtime_ns)
            except FileNotFoundError:
                continue
        time.sleep(0.002)


def weights(output: Path) -> list[np.ndarray]:
    model = tt.load_model(output / "model.keras")
    every = (*model.weights, *model.optimizer.variables)
    return [keras.ops.convert_to_numpy(v) for v in every]


def check_killed(kills: int, rows: Path, encoder: Path, wait: Callable[..., None]) -> list[str]:
    """Kills so often, then lets it end, and compares; what was said of going on."""
    command = words(rows, encoder, "--epochs", 6, "--unfreeze", "all", "--batch-size", 2)
    reference = rows.parent / "reference"
    finish([*command[:-8], "--output", reference, *command[-6:]])
    notes = of_output(rows.parent / "out")
    for number in range(kills):
        process = start([*command, "--checkpoint-minutes", 0.0001])
        wait(notes, process, number)
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        assert not (rows.parent / "out").exists()
    said = finish([*command, "--checkpoint-minutes", 0.0001]).splitlines()
    for one, other in zip(weights(reference), weights(rows.parent / "out"), strict=True):
        np.testing.assert_array_equal(one, other)
    assert sorted(p.name for p in rows.parent.iterdir()) == ["out", "reference", "rows.csv"]
    return [line for line in said if line.startswith("Going on")]


@pytest.mark.slow
def test_a_kill(rows: Path, text_encoder: Path, run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """What another process left, and what nobody interrupted, is done in this one."""
    monkeypatch.setattr(planning, "HEAD_STEPS", 20)
    command = words(rows, text_encoder, "--epochs", 4, "--unfreeze", "all", "--batch-size", 2)
    notes, output = of_output(rows.parent / "out"), rows.parent / "out"
    assert run(*command)[0] == 0
    output.rename(rows.parent / "reference")
    process = start([*command, "--checkpoint-minutes", 0.0001])
    wait_for(notes, process, 4)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert not output.exists()
    status, out, error = run(*command)
    assert status == 0 and "Going on after" in out, error
    for one, other in zip(weights(rows.parent / "reference"), weights(output), strict=True):
        np.testing.assert_array_equal(one, other)
    assert sorted(p.name for p in rows.parent.iterdir()) == ["out", "reference", "rows.csv"]


@pytest.mark.slow
@pytest.mark.exhaustive
def test_ten_kills_at_random_moments(rows: Path, bert_still: Path) -> None:
    moments = random.Random(0)

    def wait(notes: Path, process: Any, number: int) -> None:
        if number % 2:
            wait_for(notes, process, moments.randint(1, 12))
            time.sleep(moments.uniform(0.0, 0.2))
        else:
            time.sleep(moments.uniform(2.0, 20.0))

    assert check_killed(10, rows, bert_still, wait)
