"""Two reports on the same examples: numbers beside other ways to compute them; refusals."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tfhub_transfer as tt
from tfhub_transfer import cli, tasks
from tfhub_transfer.reporting import comparisons
from tfhub_transfer.reporting.comparisons import Measured

ROWS = 60
assert tasks.TASKS  # each says how it stands in reports


def report(seed: int, share: float, **changed: Any) -> Measured:
    """Answers of which so many are right."""
    generator = np.random.default_rng(seed)
    right = generator.random(ROWS) < share
    rows: list[Any] = [
        {
            **{"row": at, "texts": [f"text {at}"], "true": "ab"[at % 2], "accuracy": float(own)},
            "predicted": "ab"[at % 2] if own else "ab"[1 - at % 2],
        }
        for at, own in enumerate(right)
    ]
    numbers = {"accuracy": float(right.mean()), "ece": 0.1 * seed, "roc_auc": None}
    return Measured(**{"task": "classification", "metrics": numbers, "rows": rows, **changed})


def test_what_changed_is_counted_and_judged() -> None:
    first, second = report(1, 0.6), report(2, 0.9)
    found = comparisons.compare(first, second)
    one, other = ({row["row"] for row in m.rows if row["accuracy"]} for m in (first, second))
    assert found.counts == (
        len(one & other),
        len(one - other),
        len(other - one),
        60 - len(one | other),
    )
    # Twice the tail of the binomial distribution, term by term.
    low, count = min(found.counts[1:3]), sum(found.counts[1:3])
    tail = sum(math.comb(count, k) for k in range(low + 1)) / 2**count
    assert found.p_value == pytest.approx(min(1.0, 2 * tail))
    assert [each.metric for each in found.differences] == ["accuracy", "ece"]
    assert found.by == "accuracy" and found.differences[0].better is False
    interval = found.differences[0].interval
    assert interval is not None and interval[0] < found.differences[0].value < interval[1] < 0
    assert len(found.changed) == len(one ^ other)
    gains = [each.gain for each in found.changed]
    assert gains == sorted(gains) and gains.count(-1.0) == len(one - other)


def test_examples_in_another_order_are_the_same() -> None:
    first, second = report(1, 0.6), report(2, 0.9)
    order = np.random.default_rng(0).permutation(ROWS)
    turned = Measured(second.task, second.metrics, [second.rows[at] for at in order])
    assert comparisons.compare(first, turned) == comparisons.compare(first, second)
    # Equal texts keep the order that they have among themselves.
    rows: list[Any] = [
        {"row": at, "texts": ["same"], "true": "a", "predicted": "ab"[at % 2], "accuracy": at % 2}
        for at in range(4)
    ]
    alike = Measured("classification", {"accuracy": 0.5}, rows)
    assert comparisons.compare(alike, alike).changed == []
    # Of two labels each finds its own.
    rows = [{**row, "true": "ab"[at % 2]} for at, row in enumerate(rows)]
    one, other = (Measured("classification", {"accuracy": 0.5}, own) for own in (rows, rows[::-1]))
    assert comparisons.compare(one, other).counts == (2, 0, 0, 2)


def test_what_nobody_can_compare_is_refused() -> None:
    first = report(1, 0.6)
    for other, message in (
        (report(2, 0.9, task="regression"), "of one task can be compared. Received: class"),
        (
            report(2, 0.9, rows=report(2, 0.9).rows[:50]),
            "on the same examples.*60 and 50.*10 and 0",
        ),
        (
            report(2, 0.9, rows=[{**row, "true": "a"} for row in report(2, 0.9).rows]),
            "know the same labels.*Received: 30 other labels, first of row 1: 'b' and 'a'",
        ),
    ):
        with pytest.raises(tt.InputError, match=message) as error:
            comparisons.compare(first, other)
        assert "\n" not in str(error.value)


def test_without_numbers_of_rows_answers_are_compared_alone() -> None:
    """As of F1 of tags, or answers that no number has."""
    bare = [
        report(seed, 0.5, rows=[{k: v for k, v in row.items() if k != "accuracy"} for row in rows])
        for seed, rows in ((1, report(1, 0.5).rows), (2, report(2, 0.5).rows))
    ]
    found = comparisons.compare(*bare)
    assert (found.counts, found.p_value, found.by) == (None, None, None)
    assert found.changed and found.changed[0].gain is None
    assert found.differences[0].interval is None


def test_of_errors_less_is_better() -> None:
    rows: list[Any] = [
        {"row": at, "texts": [str(at)], "true": 1.0, "predicted": 1.0 + at, "mae": float(at)}
        for at in range(40)
    ]
    worse = [
        {**row, "predicted": row["predicted"] + 1 + at % 2, "mae": row["mae"] + 1 + at % 2}
        for at, row in enumerate(rows)
    ]
    first = Measured("regression", {"mae": 19.5}, rows)
    found = comparisons.compare(first, Measured("regression", {"mae": 21.0}, worse))
    assert found.counts is None and {each.gain for each in found.changed} == {-1.0, -2.0}
    assert found.differences[0].better is True
    # Off by one at most: 1 is wrong, and nothing is counted as right.
    near, off = (
        [{**row, "mae": float(at % 2 == own)} for at, row in enumerate(rows)] for own in (0, 2)
    )
    found = comparisons.compare(
        Measured("ordinal-regression", {"mae": 0.5}, near),
        Measured("ordinal-regression", {"mae": 0.0}, off),
    )
    assert found.counts is None and found.p_value is None and found.by == "mae"


# By command -------------------------------------------------------------------------------------


def written(folder: Path, found: Measured, inside: str = "") -> Path:
    place = folder / inside
    place.mkdir(parents=True, exist_ok=True)
    told = {"task": found.task, "metrics": found.metrics}
    (place / "report.json").write_text(json.dumps(told), "utf-8")
    lines = "\n".join(map(json.dumps, found.rows))
    (place / "predictions.jsonl").write_text(lines, "utf-8")
    return folder


def run(*words: object) -> int:
    return cli.main(["compare", *map(str, words)])


def test_the_command_says_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = written(tmp_path / "a", report(1, 0.6), "report")  # as `train` leaves it
    second = written(tmp_path / "b", report(2, 0.9))  # as `evaluate` does
    output = tmp_path / "changed.jsonl"
    assert run(first, second, "--show", 2, "--output", output) == 0
    said = capsys.readouterr().out
    found = comparisons.compare(report(1, 0.6), report(2, 0.9))
    accuracy = found.differences[0]
    [line] = [line for line in said.splitlines() if line.startswith("accuracy  ")]
    assert line.split()[1:4] == [
        *(f"{accuracy.first:.4f}", f"{accuracy.second:.4f}", f"{-accuracy.value:+.4f}")
    ]
    assert line.endswith("better") and "McNemar's exact test: p = " in said
    assert f"{len(found.changed)} answers changed: " in said and said.count("true ") == 2
    rows = [json.loads(line) for line in output.read_text("utf-8").splitlines()]
    assert [row["row"] for row in rows] == [each.first["row"] for each in found.changed]
    assert {*rows[0]} == {"row", "texts", "true", "first", "second", "gain"}
    assert run(first, second, "--output", output) == 2  # it is there
    capsys.readouterr()
    assert run(first, second) == 0 and capsys.readouterr().out.count("true ") == 5  # the usual
    assert run(first, first) == 0
    assert "0 answers changed" in capsys.readouterr().out


def test_several_tasks_are_compared_one_by_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, seed in (("a", 1), ("b", 2)):
        for task in ("mood", "topic"):
            written(tmp_path / name, report(seed, 0.7), f"report/{task}")
        told = json.dumps({"tasks": {"mood": {}, "topic": {}}})
        (tmp_path / name / "report" / "report.json").write_text(told, "utf-8")
    assert run(tmp_path / "a", tmp_path / "b", "--output", tmp_path / "c.csv") == 0
    said = capsys.readouterr().out
    assert "\nmood:\n" in said and "\ntopic:\n" in said
    assert (tmp_path / "c.csv").read_text("utf-8").startswith("task,row,texts,true,first,second")
    assert run(tmp_path / "a", tmp_path / "b" / "report" / "mood") == 2
    assert "of the same tasks can be compared" in capsys.readouterr().err


def test_answers_that_are_read_are_never_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = (written(tmp_path / n, report(s, 0.6)) for n, s in (("a", 1), ("b", 2)))
    assert run(first, first) == 0 and "-0.0000" not in capsys.readouterr().out
    for folder in (first, second):
        [answers] = folder.rglob("predictions.jsonl")
        before = answers.read_bytes()
        assert run(first, second, "--output", answers, "--overwrite") == 2
        assert answers.read_bytes() == before


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda p: (p / "report.json").unlink(), "no report there; expected a folder that"),
        (lambda p: (p / "predictions.jsonl").unlink(), "evaluate the model again"),
        (lambda p: (p / "predictions.jsonl").write_text("[1]\n"), "the report is damaged"),
        (lambda p: (p / "predictions.jsonl").write_text('{"row": 1'), "the report is damaged"),
        (lambda p: (p / "report.json").write_text("{}"), "the report is damaged"),
        (
            lambda p: (p / "predictions.jsonl").write_text('{"row": 0, "texts": ["a"]}\n'),
            "the report is damaged",
        ),
        (
            lambda p: (p / "report.json").write_text('{"task": "a", "metrics": {"b": [1]}}'),
            "the report is damaged",
        ),
        (lambda p: (p / "report.json").write_text("[]"), "JSON"),
    ],
)
def test_what_is_no_report_is_one_line(
    spoil: Any, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = (written(tmp_path / n, report(s, 0.6)) for n, s in (("a", 1), ("b", 2)))
    spoil(second)
    assert run(first, second, "--output", tmp_path / "c.csv") == 2
    said = " ".join(capsys.readouterr().err.split())
    assert message in said and "Traceback" not in said
    assert not (tmp_path / "c.csv").exists()
