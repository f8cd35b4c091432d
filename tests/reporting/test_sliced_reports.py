"""Weak spots of whole reports: from answers to the page, of several kinds of tasks."""

import json
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sklearn.metrics as sk
from parsed_pages import Parsed

from tfhub_transfer.data import Examples
from tfhub_transfer.encoders.preprocessing import Truncation
from tfhub_transfer.errors import InputError
from tfhub_transfer.evaluation.measuring import evaluate
from tfhub_transfer.models.seen import Seen
from tfhub_transfer.reporting.contents import WeakSpot
from tfhub_transfer.reporting.reports import Report
from tfhub_transfer.reporting.standings import Standing
from tfhub_transfer.tasks import Classification, MultiLabel, OrdinalRegression, Regression

ROWS = 300
GENERATOR = np.random.default_rng(0)
SOURCES = GENERATOR.choice(["web", "mail", "app"], ROWS, p=[0.5, 0.3, 0.2]).tolist()
TEXTS = [
    " ".join(GENERATOR.choice(["film", "plot", "dull", "not", "good"], 1 + row % 9))
    for row in range(ROWS)
]


class Scored:
    """A model that gives scores made beforehand."""

    preprocessor, seen_texts, training_examples, scope = None, Seen(), None, None

    def __init__(self, task: Any, scores: np.ndarray) -> None:
        self.parts = {"": self}
        self.task, self.history_, self.scores = task, {}, scores
        self.head = types.SimpleNamespace(towers=False)
        self.encoder = types.SimpleNamespace(handle="fake", dialect="bert")
        self.layout = types.SimpleNamespace(check=lambda examples: None, by_unit=False)

    def count_truncation(self, examples: Examples) -> Truncation:
        return Truncation(0, len(examples), 0)

    def predict_scores(self, examples: Examples, allow_nan: bool = False) -> np.ndarray:
        return self.scores


def measured(task: Any, scores: np.ndarray, labels: list[Any], **how: Any) -> Report:
    columns = {"text": TEXTS, "label": labels, "source": SOURCES}
    examples = Examples(columns, "test.csv", target="label")
    report: Report = evaluate(Scored(task, scores), examples, baselines=False, **how)  # type: ignore[arg-type]
    return report


def of_source(report: Report) -> dict[str, WeakSpot]:
    rows = report.weak_spots["rows"]
    return {row["group"]: row for row in rows if row["by"] == "source"}


@pytest.fixture(scope="module")
def weak() -> Report:
    """Right but for a tenth, and for half of what comes from an app."""
    task, labels = Classification(["a", "b"]), GENERATOR.integers(0, 2, ROWS)
    odds = np.where(np.array(SOURCES) == "app", 0.5, 0.1)
    answers = np.where(GENERATOR.random(ROWS) < odds, 1 - labels, labels)
    scores = np.eye(2, dtype="float32")[answers] * 0.8 + 0.1
    return measured(task, scores, ["ab"[each] for each in labels], slices="source")


def test_accuracy_by_column_is_that_of_the_written_predictions(
    weak: Report, tmp_path: Path
) -> None:
    weak.save(tmp_path)
    lines = (tmp_path / "predictions.jsonl").read_text("utf-8").splitlines()
    rows = list(map(json.loads, lines))
    found = json.loads((tmp_path / "report.json").read_text("utf-8"))["weak_spots"]
    spots = {row["group"]: row for row in found["rows"] if row["by"] == "source"}
    assert spots.keys() == {"web", "mail", "app"}
    for source, spot in spots.items():
        mine = [row for row, own in zip(rows, SOURCES, strict=True) if own == source]
        pairs = [[row[side] for row in mine] for side in ("true", "predicted")]
        assert spot["count"] == len(mine)
        assert spot["value"] == pytest.approx(sk.accuracy_score(*pairs))
    assert found["number"] == "accuracy" and found["whole"] == weak.metrics["accuracy"]


def test_the_weak_one_comes_first_and_is_said(weak: Report, tmp_path: Path) -> None:
    first = weak.weak_spots["rows"][0]
    assert (first["group"], first["beyond_chance"]) == ("app", True)
    assert "Weak spot: source app" in str(weak)
    assert "Weak spot: source mail" not in str(weak)
    harms = [row["harm"] for row in weak.weak_spots["rows"]]
    assert harms == sorted(harms, reverse=True)
    weak.save(tmp_path)
    page = Parsed((tmp_path / "report.html").read_text("utf-8"))
    shown = [row for row in page.rows if len(row) == 9 and row[0] != "by"]
    assert [row[:2] for row in shown] == [[r["by"], r["group"]] for r in weak.weak_spots["rows"]]
    assert shown[0][2] == f"{SOURCES.count('app')}" and shown[0][-1] == "weak"
    assert {row[-1] for row in shown} == {"weak", "not worse", "no more than chance"}


def test_without_columns_texts_are_grouped_alone(weak: Report) -> None:
    labels = [row["true"] for row in weak.predictions]
    scores = np.eye(2, dtype="float32")[["ab".index(str(label)) for label in labels]]
    report = measured(Classification(["a", "b"]), scores, labels)
    assert {row["by"] for row in report.weak_spots["rows"]} == {"length in words"}
    assert all(row["harm"] == 0 for row in report.weak_spots["rows"])
    assert "Weak spot" not in str(report)


def test_errors_of_numbers_are_absolute() -> None:
    labels = GENERATOR.normal(size=ROWS).astype("float32")
    off = GENERATOR.normal(size=ROWS) * np.where(np.array(SOURCES) == "mail", 3, 1)
    report = measured(
        Regression(), (labels + off).astype("float32"), labels.tolist(), slices=["source"]
    )
    assert report.weak_spots["number"] == "mae"
    spot = of_source(report)["mail"]
    mine = np.array(SOURCES) == "mail"
    assert spot["value"] == pytest.approx(sk.mean_absolute_error(np.zeros(mine.sum()), off[mine]))
    assert spot["below"] > 1 and spot["beyond_chance"]
    assert "Weak spot: source mail" in str(report)


def test_ordered_classes_and_sets() -> None:
    labels = GENERATOR.integers(0, 3, ROWS)
    scores = GENERATOR.dirichlet([1, 1, 1], ROWS).astype("float32")
    named = [str(1 + each) for each in labels]
    report = measured(OrdinalRegression(["1", "2", "3"]), scores, named, slices="source")
    assert report.weak_spots["number"] == "mae"
    mine = np.array(SOURCES) == "web"
    ranks = np.array([row["rank"] for row in report.predictions])
    assert of_source(report)["web"]["value"] == pytest.approx(np.abs(ranks - labels)[mine].mean())
    names = ["a", "b", "c"]
    truth = GENERATOR.random((ROWS, 3)) < 0.4
    sets = [[name for name, has in zip(names, row) if has] for row in truth]
    report = measured(MultiLabel(names), scores, sets, slices="source")
    score = sk.f1_score(truth[mine], scores[mine] >= 0.5, average="micro")
    assert of_source(report)["web"]["value"] == pytest.approx(score)
    assert report.weak_spots["whole"] == pytest.approx(report.metrics["micro_f1"])


def test_values_may_be_given_and_one_value_tells_nothing() -> None:
    labels = ["a", "b"] * (ROWS // 2)
    scores = GENERATOR.dirichlet([1, 1], ROWS).astype("float32")
    task = Classification(["a", "b"])
    report = measured(task, scores, labels, slices={"place": np.array(SOURCES), "year": [7] * ROWS})
    assert {"place"} <= {row["by"] for row in report.weak_spots["rows"]}
    assert "no slices by year: all rows have one value" in report.notes
    with pytest.raises(InputError, match="test.csv has no column 'sauce' beside texts and labels"):
        measured(task, scores, labels, slices="sauce")


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        (["x"] * ROWS, "all rows have one value"),
        ([str(row) + "th" for row in range(ROWS)], "no value is in 5 rows"),
    ],
)
def test_why_a_column_tells_nothing_is_said_as_it_is(cells: list[str], message: str) -> None:
    scores = GENERATOR.dirichlet([1, 1], ROWS).astype("float32")
    report = measured(
        Classification(["a", "b"]), scores, ["a", "b"] * (ROWS // 2), slices={"word": cells}
    )
    assert f"no slices by word: {message}" in report.notes


def test_groups_without_anything_to_find_are_no_single_value() -> None:
    names, sets = ["a", "b"], [["a"] if row < 10 else [] for row in range(ROWS)]
    scores = np.full((ROWS, 2), 0.1, "float32")
    first = ["x" if row < 20 else "y" for row in range(ROWS)]
    report = measured(MultiLabel(names), scores, sets, slices={"of": first})
    assert "no slices by of: all that micro_f1 counts is in one of their groups" in report.notes


def test_answers_that_are_no_numbers_leave_slices_out_of_the_report() -> None:
    class Odd(Classification):
        def contributions(self, labels: np.ndarray, scores: np.ndarray) -> dict[str, np.ndarray]:
            lost = np.where(np.arange(len(labels)) == 3, np.nan, 1.0)
            return {"accuracy": lost}

    labels = ["a", "b"] * (ROWS // 2)
    scores = GENERATOR.dirichlet([1, 1], ROWS).astype("float32")
    report = measured(Odd(["a", "b"]), scores, labels, slices="source")
    assert report.weak_spots == {} and report.metrics["accuracy"] is not None
    assert (
        "no slices by source: not every answer costs a finite number from 0 on (accuracy)"
        in report.notes
    )


def test_a_task_whose_rows_tell_nothing_refuses() -> None:
    class Odd(Classification):
        standing = Standing("kappa", by_row=("kappa",))

    scores = GENERATOR.dirichlet([1, 1], ROWS).astype("float32")
    labels = ["a", "b"] * (ROWS // 2)
    assert measured(Odd(["a", "b"]), scores, labels).weak_spots == {}
    with pytest.raises(InputError, match="no number that each example tells by itself, to compare"):
        measured(Odd(["a", "b"]), scores, labels, slices="source")
