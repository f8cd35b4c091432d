"""Replicas on logical CPUs, in processes of their own (see `replicas_job`)."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import processes
import pytest
import samples

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", autouse=True)
def _end() -> Iterator[None]:
    yield
    processes.end()


def run(case: str, encoder: Path, output: Path, devices: int = 2) -> dict[str, Any]:
    server = processes.server("runtime/replicas_job.py")
    print(json.dumps([case, devices, str(encoder), str(output)]), file=server.stdin, flush=True)
    status = server.stdout.readline().strip()
    error = output / "error.txt"
    assert status == "0", error.read_text("utf-8") if error.exists() else status
    return json.loads((output / "seen.json").read_text(encoding="utf-8"))


def test_they_train_thaw_save_and_export(bert_encoder: Path, tmp_path: Path) -> None:
    seen = run("whole", bert_encoder, tmp_path)
    assert seen["equal"]
    assert seen["moved"] == ["layer_1", "pooler"]
    assert seen["identical"] == ["embeddings", "layer_0"]
    assert seen["reload"] == 0.0
    assert seen["export"] < 1e-5
    assert seen["accuracy"][0] == seen["accuracy"][1]


def test_heads_train_on_many_rows(bert_still: Path, tmp_path: Path) -> None:
    """On stored vectors, through the encoder where token vectors aren't kept, and of each task."""
    seen = run("many", bert_still, tmp_path)
    assert sorted(seen) == ["nothing stored", "several", "stored"]
    for name, found in seen.items():
        assert found["equal"] and found["moved"] > 1e-3, name


def test_rows_weigh_and_drop_as_on_one_device(bert_encoder: Path, tmp_path: Path) -> None:
    """With dropout in encoder and head: what replicas draw is what one device does."""
    seen = run("weights", bert_encoder, tmp_path)
    assert seen["equal"] and seen["moved"] > 1e-3
    assert seen["far"] < 1e-6
    assert seen["gone"], "TensorFlow holds the model"


@pytest.mark.parametrize("cases", ["usual", pytest.param("all", marks=pytest.mark.exhaustive)])
def test_whatever_a_model_is_compiled_with(cases: str, bert_encoder: Path, tmp_path: Path) -> None:
    """Losses that are no means, clipping, penalties, metrics that count."""
    (tmp_path / cases).mkdir()
    for name, seen in run("compiled", bert_encoder, tmp_path / cases).items():
        assert seen["moved"] > 1e-4, name
        assert seen["equal"], name
        assert seen["far"] < 1e-6, name
        assert seen["curves"] < 1e-6, name


def test_other_methods_give_what_one_device_gives(bert_encoder: Path, tmp_path: Path) -> None:
    """Batches by hand, arrays; what can't be exact is refused."""
    seen = run("hand", bert_encoder, tmp_path)
    assert seen["far"] < 1e-6
    refused = seen["refused"]
    assert "give the dataset itself" in refused["dealt out"]
    assert "begins at 0" in refused["begins at 1"]
    assert "is to be added up" in refused["means"]
    assert "XLA compiles the steps of one device" in refused["XLA at once"]
    assert "XLA compiles the steps of one device" in refused["XLA"]
    assert "leave `gradient_accumulation_steps` out" in refused["gathers"]


def test_a_batch_teaches_the_same_whichever_came_first(bert_encoder: Path, tmp_path: Path) -> None:
    """To the bit: a training that goes on begins with another batch."""
    seen = run("first", bert_encoder, tmp_path)
    assert all(seen["equal"]) and seen["losses"] == 2, seen


_IN_CI = ("token-classification", 3)


def _rows() -> list[Any]:
    """Rows of the table of tasks by the number of devices; one of them runs in CI, in part."""
    every = [(name, devices) for devices in (2, 4) for name in samples.ROWS]
    return [_IN_CI, *(pytest.param(*row, marks=pytest.mark.exhaustive) for row in every)]


@pytest.mark.parametrize(("row", "devices"), _rows())
def test_they_learn_what_one_device_learns(
    row: str, devices: int, bert_encoder: Path, tmp_path: Path
) -> None:
    """A head, what is above the boundary, and through the encoder; with dropout."""
    parts = "above" if (row, devices) == _IN_CI else "all"
    (tmp_path / parts).mkdir()
    seen = run(row, bert_encoder, tmp_path / parts, devices)
    assert seen["moved"] > 1e-3
    assert seen["equal"] and seen["far"] < 1e-6 and seen["loss"] < 1e-6
