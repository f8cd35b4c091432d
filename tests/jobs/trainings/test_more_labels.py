"""`train --learning-curve`: what twice the labels would bring, beside the curve's own formula."""

import json
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from parsed_pages import Parsed

from tfhub_transfer.data import Examples
from tfhub_transfer.errors import InputError
from tfhub_transfer.heads.settings import Head
from tfhub_transfer.jobs.three_splits import Splits
from tfhub_transfer.jobs.trainings import more_labels
from tfhub_transfer.recipes.active_learning import learning_curves
from tfhub_transfer.reporting import weak_spots
from tfhub_transfer.tasks import MultiLabel
from tfhub_transfer.tasks.nearness import unit

ROWS = 60


def blobs(rows: int, seed: int = 0) -> tuple[np.ndarray, list[Any]]:
    """Vectors of four classes that overlap."""
    generator = np.random.default_rng(seed)
    own = generator.integers(0, 4, rows)
    vectors = np.eye(4)[own] + generator.normal(scale=0.6, size=(rows, 4))
    return unit(vectors), [f"class {each}" for each in own]


def test_the_gain_is_that_of_the_curve_through_the_means() -> None:
    vectors, labels = blobs(200)
    found = more_labels.curve_of(vectors, labels, 180, seed=3)
    assert found is not None
    order = np.random.default_rng(3).permutation(200)
    measured = learning_curves.measured(vectors[order], [labels[row] for row in order], 3)
    assert measured is not None
    sizes, accuracies = measured
    assert (found["labels"], found["now"], found["more"]) == (sizes, 180, 180)
    assert found["accuracy"] == pytest.approx(accuracies.mean(axis=0).tolist())
    expected = learning_curves.expected(sizes, accuracies, now=180, more=180)
    assert (found["gain"], found["error"]) == (expected.value, expected.error)
    assert 0 < found["gain"] < 1 - found["accuracy"][-1] and found["error"] > 0


def test_sets_of_classes_are_right_in_whatever_order_the_task_has_them() -> None:
    task = MultiLabel(["zebra", "ant", "10", "9"])
    sets = Examples.from_lists(["a", "b", "c"], [["zebra", "ant"], ["9", "10"], []])
    assert more_labels._names(task, sets) == [("ant", "zebra"), ("10", "9"), ()]
    _, own = blobs(80)
    names = [["zebra", "ant"], ["9"], ["10", "9"], []]
    given = Examples.from_lists(["t"] * 80, [names[int(each[-1])] for each in own])
    labels = more_labels._names(task, given)
    found = more_labels.curve_of(np.eye(4)[[int(e[-1]) for e in own]], labels, 70, seed=0)
    assert found is not None and found["sets"] and found["accuracy"][-1] == 1
    [said] = weak_spots.of_more_labels(found)
    assert "points of texts with all labels right, as heads" in said
    [said] = weak_spots.of_more_labels({**found, "sets": False})
    assert "points of accuracy, as heads" in said


def test_of_many_rows_some_are_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(more_labels, "MOST", 50)
    found = more_labels.curve_of(*blobs(200), 180, seed=0)
    assert found is not None and found["labels"][-1] == 40  # of which a fifth judges


def test_labels_that_are_alike_tell_nothing() -> None:
    vectors, _ = blobs(50)
    assert more_labels.curve_of(vectors, ["a"] * 50, 40, seed=0) is None


@pytest.fixture
def words(text_encoder: Path, tmp_path: Path) -> list[object]:
    data = tmp_path / "data.csv"
    rows = [f"a {'good' if row % 2 else 'bad'} film {row},{row % 2}" for row in range(ROWS)]
    data.write_text("\n".join(["text,label", *rows]), "utf-8")
    return ["train", "--data", data, "--encoder", text_encoder, "--output", tmp_path / "out"]


def test_the_report_says_what_twice_the_labels_bring(
    words: list[object], tmp_path: Path, run: Any
) -> None:
    asked = [*words, "--task", "classification", "--quick", "--learning-curve"]
    status, out, error = run(*asked)
    assert status == 0, error
    report = json.loads((tmp_path / "out" / "report" / "report.json").read_text("utf-8"))
    found, taught = report["learning_curve"], report["examples"]["train"]
    assert (found["now"], found["more"]) == (taught, taught)
    assert f"With {2 * taught} training labels instead of {taught} expect" in " ".join(out.split())
    page = Parsed((tmp_path / "out" / "report" / "report.html").read_text("utf-8"))
    shown = [row for row in page.rows if row and row[0] == str(found["labels"][-1])]
    assert [f"{found['accuracy'][-1]:.3f}"] in [row[1:] for row in shown]


def test_what_has_no_classes_is_said_before_any_training(
    words: list[object], tmp_path: Path, run: Any
) -> None:
    status, _, error = run(*words, "--task", "regression", "--learning-curve")
    assert status == 2 and error.count("\n") == 1
    assert "what more labels would bring is told of texts with classes" in error
    assert not (tmp_path / "out").exists()


def test_a_head_that_reads_token_vectors_has_no_curve() -> None:
    model: Any = types.SimpleNamespace(has_fixed_features=False, head=Head(pooling="attention"))
    job: Any = types.SimpleNamespace(learning_curve=True)
    with pytest.raises(
        InputError, match=r"leave `--learning-curve` out\. Received: a head with att"
    ):
        more_labels.twice_the_labels(job, model, Splits(*[Examples({})] * 3))


def test_few_labels_are_too_few(words: list[object], tmp_path: Path, run: Any) -> None:
    rows = [f"a film {row},{row % 2}" for row in range(20)]
    (tmp_path / "data.csv").write_text("\n".join(["text,label", *rows]), "utf-8")
    status, _, error = run(*words, "--task", "classification", "--learning-curve")
    assert status == 2 and "of fewer than 20 labels a learning curve would be one of" in error
