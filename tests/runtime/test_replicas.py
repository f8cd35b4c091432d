"""Two replicas on two logical CPUs, in processes of their own (see `replicas_job`)."""

import functools
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import samples

pytestmark = pytest.mark.slow


@functools.cache
def server() -> subprocess.Popen[str]:
    """A process that has imported TensorFlow, and forks one for each case."""
    job = Path(__file__).with_name("replicas_job.py")
    # The replicas are of the CPU, and the package is this one.
    given = {
        "CUDA_VISIBLE_DEVICES": "-1",
        "PYTHONPATH": f"{job.parents[2]}{os.pathsep}{job.parents[1]}",
    }
    pipe = subprocess.PIPE
    return subprocess.Popen(
        [sys.executable, str(job)],
        env={**os.environ, **given},
        stdin=pipe,
        stdout=pipe,
        stderr=subprocess.DEVNULL,
        text=True,
    )


@pytest.fixture(scope="module", autouse=True)
def _end() -> Iterator[None]:
    yield
    if server.cache_info().currsize:
        with server():
            server().stdin.close()
        server.cache_clear()


def run(case: str, encoder: Path, output: Path) -> dict[str, Any]:
    print(json.dumps([case, str(encoder), str(output)]), file=server().stdin, flush=True)
    status = server().stdout.readline().strip()
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


def test_shares_of_a_batch_may_differ(bert_encoder: Path, tmp_path: Path) -> None:
    seen = run("uneven", bert_encoder, tmp_path)
    assert seen == {"similarity": True, "tags": True, "several": True}


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


@pytest.mark.exhaustive
@pytest.mark.parametrize("row", samples.ROWS)
def test_they_learn_what_one_device_learns(row: str, bert_still: Path, tmp_path: Path) -> None:
    """From more rows than one batch of each."""
    seen = run(row, bert_still, tmp_path)
    assert seen["moved"] > 1e-3
    assert seen["equal"] and seen["far"] < 1e-6
