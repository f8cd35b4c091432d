"""`check` as a command: files in, a folder out, and what it refuses."""

import csv
import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tfhub_transfer import cli
from tfhub_transfer.checks import checking

Run = Callable[..., tuple[int, str, str]]
ROWS = [{"id": f"r{n}", "text": f"text {n} of it {n * n}", "label": "ab"[n % 2]} for n in range(24)]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "data.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, ["id", "text", "label"])
        writer.writeheader()
        writer.writerows([*ROWS[:20], {**ROWS[20], "label": ""}, {**ROWS[21], "text": ""}])
    return path


@pytest.fixture
def run(
    make_encoder: Callable[[str], Path], capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    def call(*words: object) -> tuple[int, str, str]:
        encoder = () if "--encoder" in words else ("--encoder", make_encoder("text_encoder"))
        status = cli.main(["check", *map(str, words), *map(str, encoder)])
        said = capsys.readouterr()
        return status, said.out, said.err

    return call


def test_a_folder_is_written_whole(data: Path, tmp_path: Path, run: Run) -> None:
    test = tmp_path / "test.csv"
    test.write_text(f"text,label\n{ROWS[3]['text']},b\nnew,a\n", "utf-8")
    before = data.read_bytes(), test.read_bytes()
    status, out, _ = run(data, "--test", test, "--output", tmp_path / "out")
    assert status == 0 and (data.read_bytes(), test.read_bytes()) == before
    known = json.loads((tmp_path / "out" / "check.json").read_text("utf-8"))
    assert known["rows"] == {"train": 22, "test": 2} and known["task"] == "classification"
    counts = {each["name"]: each["count"] for each in known["findings"]}
    assert counts["missing labels"] == counts["blank texts"] == counts["leakage"] == 1
    for name, count in counts.items():
        assert re.search(rf"^{name} +{count} ", out, re.MULTILINE)
    with (tmp_path / "out" / "suspects.csv").open(newline="", encoding="utf-8") as file:
        rows = {(row["split"], row["row"]): row for row in csv.DictReader(file)}
    # By the lines of the file, of which the first is the header.
    assert rows["train", "22"]["why"] == "no label" and rows["train", "23"]["text"] == ""
    assert rows["test", "2"]["why"].startswith("the same as row 5 of train")
    assert (tmp_path / "out" / "check.html").read_text("utf-8").startswith("<!doctype html>")
    # Ours is replaced only if that is asked for.
    assert run(data, "--output", tmp_path / "out")[0] == 2
    assert run(data, "--output", tmp_path / "out", "--overwrite")[0] == 0
    assert "test" not in json.loads((tmp_path / "out" / "check.json").read_text("utf-8"))["rows"]


def test_somebody_elses_folder_is_never_replaced(data: Path, tmp_path: Path, run: Run) -> None:
    own = tmp_path / "mine"
    own.mkdir()
    (own / "notes.txt").write_text("mine")
    status, _, err = run(data, "--output", own, "--overwrite")
    assert (
        status == 2 and "didn't write" in err and [p.name for p in own.iterdir()] == ["notes.txt"]
    )


def test_an_encoder_that_is_read_is_never_replaced(data: Path, tmp_path: Path, run: Run) -> None:
    # What this package wrote it would replace.
    own = tmp_path / "own"
    assert run(data, "--output", own)[0] == 0
    before = sorted(own.iterdir())
    for out in (own, own / "inside"):
        words = ("--output", out, "--overwrite", "--encoder", own)
        status, _, err = run(data, *words)
        assert status == 2 and "must lie apart from what is read" in err
    assert sorted(own.iterdir()) == before


def test_nothing_is_left_of_what_fails(
    data: Path,
    tmp_path: Path,
    run: Run,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*args: object) -> None:
        raise OSError("no more")

    monkeypatch.setattr(checking.DataReport, "html", fail)
    assert run(data, "--output", tmp_path / "out")[0] == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data.csv"]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--class-names", "a,b"), "say which with `--task`"),
        (("--task", "regression", "--class-names", "a,b"), "`--class-names` is of other tasks"),
        (("--task", "regression"), "line 2: the regression task needs finite numbers"),
        (("--test", "gone.csv"), "no such file"),
        (("--text", "gone"), "has no column"),
        (("--label", "gone"), "no row has a label in that column.*--label gone"),
        (("--model", "gone"), "no such folder"),
        (("--sequence-length", "1"), "from 8 to"),
        (("--task", "multi-task"), "--task"),
    ],
)
def test_mistakes_are_one_line(
    words: tuple[str, ...],
    says: str,
    data: Path,
    tmp_path: Path,
    run: Run,
) -> None:
    status, _, err = run(data, "--output", tmp_path / "out", *words)
    last = err.strip().splitlines()[-1]
    assert status == 2 and not (tmp_path / "out").exists()
    assert re.search(says, last) and last.startswith("tfhub-transfer: error: "), last


def test_labels_may_be_numbers_of_named_classes(tmp_path: Path, run: Run) -> None:
    path = tmp_path / "numbers.jsonl"
    lines = [json.dumps({"words": f"text {n}", "sort": n % 2}) for n in range(30)]
    path.write_text("\n".join(lines), "utf-8")
    words = ("--text", "words", "--label", "sort", "--task", "classification")
    status, _, err = run(path, "--output", tmp_path / "out", *words, "--class-names", "no,yes")
    assert status == 0, err
    known = json.loads((tmp_path / "out" / "check.json").read_text("utf-8"))
    assert known["task"] == "classification"
