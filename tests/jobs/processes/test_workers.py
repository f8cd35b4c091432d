"""Processes that train as one: what they learn, who writes, how they end, and go on again."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import processes
import pytest
import samples

import tfhub_transfer as tt

pytestmark = pytest.mark.slow

TRY_AGAIN = 75


@pytest.fixture(scope="module", autouse=True)
def _end() -> Iterator[None]:
    yield
    processes.end()


def learned(output: Path, name: str) -> dict[str, np.ndarray]:
    with np.load(output / f"{name}.npz") as found:
        return dict(found)


def require_alike(output: Path, count: int) -> None:
    """That processes learned the same, to the bit, and nearly what one alone does."""
    first, alone = learned(output, "0"), learned(output, "alone")
    assert first.keys() == alone.keys() and first
    for index in range(1, count):
        other = learned(output, str(index))
        assert all(np.array_equal(first[key], other[key]) for key in alone)
    far = {key: float(np.abs(first[key] - alone[key]).max()) for key in alone}
    assert max(far.values()) < 1e-6, far


def test_two_learn_what_one_does(bert_encoder: Path, tmp_path: Path) -> None:
    """A head on stored vectors and above the boundary; by hand, thawing group by group."""
    cases = "tuned classification", "by_hand token-classification"
    processes.run("learn", 2, tmp_path, bert_encoder, *cases)
    require_alike(tmp_path, 2)


@pytest.mark.exhaustive
@pytest.mark.parametrize("row", samples.ROWS)
@pytest.mark.parametrize("function", ["tuned", "by_hand"])
def test_three_learn_what_one_does(
    function: str, row: str, bert_still: Path, tmp_path: Path
) -> None:
    processes.run("learn", 3, tmp_path, bert_still, f"{function} {row}")
    require_alike(tmp_path, 3)


@pytest.fixture
def words(bert_encoder: Path, tmp_path: Path) -> list[object]:
    """A training that takes a while, of rows that teach little."""
    rows = [f"a {('good', 'bad')[i % 2]} film {i},{('b', 'a')[i % 3 % 2]}" for i in range(60)]
    (tmp_path / "rows.csv").write_text("\n".join(["text,label", *rows]), "utf-8")
    named = {"data": tmp_path / "rows.csv", "output": tmp_path / "out", "encoder": bert_encoder}
    named |= {"task": "classification", "precision": "float32", "sequence-length": 16}
    return ["train", *(word for name, value in named.items() for word in (f"--{name}", value))]


def wait_for(happened: Callable[[], object]) -> None:
    """Until something has happened; a process that never gets there has failed."""
    end = time.monotonic() + 240
    while not happened():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.05)


def killed_in_between(place: int, output: Path, words: list[object], stage: int = 0) -> list[int]:
    """Kills one of two in the midst of a stage, some steps after it was begun or taken up."""
    children = processes.start("command", 2, output, *words)

    def noted() -> int | None:
        found = output / ".out.partial-training" / "epoch.npz"
        try:
            written = found.stat().st_mtime_ns
            with np.load(found) as held:
                record = json.loads(held["record"].tobytes())["record"]
        except OSError:  # there is none yet, or no longer
            return None
        return written if record["done"] == stage else None

    began = noted()
    wait_for(lambda: noted() not in (None, began))
    os.kill(children[place], signal.SIGKILL)
    return processes.statuses()


def said(output: Path, place: int) -> str:
    return (output / f"{place}.txt").read_text("utf-8")


def test_the_others_end_with_one_and_go_on(words: list[object], tmp_path: Path) -> None:
    """The head alone; and the chief alone has written anything in the end."""
    words = [*words, "--quick"]
    assert killed_in_between(1, tmp_path, words) == [TRY_AGAIN, -signal.SIGKILL]
    assert "another process of this training has ended" in said(tmp_path, 0)
    processes.run("command", 2, tmp_path, *words)
    assert said(tmp_path, 0).count("Going on after epoch") == 1
    there = {path.name for path in tmp_path.iterdir()}
    assert there == {"rows.csv", "out", "0.txt", "1.txt"}
    assert "Written to" not in said(tmp_path, 1)


@pytest.mark.exhaustive
def test_they_go_on_to_the_same_weights(words: list[object], tmp_path: Path) -> None:
    """With the chief killed, and the other, while the head trains and while groups thaw."""
    words = [*words, "--unfreeze", 2, "--epochs", 30, "--batch-size", 8]
    words += ["--checkpoint-minutes", 0.0001]  # at every step
    assert killed_in_between(0, tmp_path, words) == [-signal.SIGKILL, TRY_AGAIN]
    assert killed_in_between(1, tmp_path, words, 1) == [TRY_AGAIN, -signal.SIGKILL]
    assert killed_in_between(0, tmp_path, words, 1) == [-signal.SIGKILL, TRY_AGAIN]
    processes.run("command", 2, tmp_path, *words)
    assert said(tmp_path, 0).count("Going on after epoch") == 3
    learned = tt.load_model(tmp_path / "out" / "model.keras").get_weights()
    shutil.rmtree(tmp_path / "out")
    processes.run("command", 2, tmp_path, *words)
    whole = tt.load_model(tmp_path / "out" / "model.keras").get_weights()
    assert all(np.array_equal(one, other) for one, other in zip(learned, whole, strict=True))


@pytest.mark.exhaustive
def test_what_differs_is_refused_by_all(words: list[object], tmp_path: Path) -> None:
    text = (tmp_path / "rows.csv").read_text("utf-8")
    (tmp_path / "rows-1.csv").write_text(
        text.replace("film 7", "movie 7").replace("good", "fine"), "utf-8"
    )
    words = [
        *words[:1],
        *(f"{tmp_path}/rows-INDEX.csv" if str(w).endswith("rows.csv") else w for w in words[1:]),
    ]
    shutil.copy(tmp_path / "rows.csv", tmp_path / "rows-0.csv")
    processes.start("command", 2, tmp_path, *words)
    assert processes.statuses() == [2, 2]
    assert "another one differs" in said(tmp_path, 0)
    assert "beside the chief, the examples" in said(tmp_path, 1)


@pytest.mark.exhaustive
def test_workers_of_a_command(words: list[object], tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "tfhub_transfer",
        *map(str, words),
        "--quick",
        "--workers",
        "2",
    ]
    ran = subprocess.run(command, check=False, capture_output=True, text=True, timeout=500)
    assert ran.returncode == 0 and ran.stdout.count("Written to") == 1, ran.stderr
    assert tt.load_model(tmp_path / "out" / "model.keras").predict_text(["a good film"])
