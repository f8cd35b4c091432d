"""Reports: numbers against scikit-learn and by hand, baselines, degenerate splits, files."""

import json
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sklearn.metrics as sk

from tfhub_transfer import metrics
from tfhub_transfer.data import Examples
from tfhub_transfer.errors import InputError
from tfhub_transfer.evaluation import Report, evaluate
from tfhub_transfer.tasks import Classification, MultiLabel, Regression

PNG = b"\x89PNG\r\n"


class FakeModel:
    """Answers given scores, whatever the texts."""

    def __init__(self, task: Any, scores: np.ndarray) -> None:
        self.task, self.scores = task, scores
        self.encoder = types.SimpleNamespace(handle="fake <encoder>")
        self.training_examples: Examples | None = None
        self.history_ = {
            "loss": [0.7, 0.5, 0.4],
            "val_loss": [0.6, 0.5, 0.5],
            "thawed_groups": [(1.0, 2)],
        }

    def predict_scores(self, examples: Examples) -> np.ndarray:
        return self.scores[: len(examples)]


def noisy(labels: np.ndarray, classes: int, seed: int = 0) -> np.ndarray:
    raw = np.random.default_rng(seed).random((len(labels), classes))
    raw[np.arange(len(labels)), labels] += 0.4
    return (raw / raw.sum(axis=1, keepdims=True)).astype("float32")


def texts(labels: list[Any]) -> list[str]:
    return [
        f"{'wonderful' if str(x) in 'ac' else 'dreadful'} number {i}" for i, x in enumerate(labels)
    ]


@pytest.fixture(scope="module")
def classified() -> tuple[Report, np.ndarray, np.ndarray]:
    task = Classification(["a", "b", "c"])
    ids = np.random.default_rng(1).integers(0, 3, 200)
    names = [task.class_names[i] for i in ids]
    scores = noisy(ids, 3)
    test = Examples.from_lists(texts(names), names)
    train = Examples.from_lists(texts(names[::-1]), names[::-1])
    return evaluate(FakeModel(task, scores), test, train=train), ids, scores


def test_classification_equals_scikit_learn(classified: Any) -> None:
    report, labels, scores = classified
    predicted = scores.argmax(1)
    expected = {
        "accuracy": sk.accuracy_score(labels, predicted),
        "macro_f1": sk.f1_score(labels, predicted, average="macro"),
        "micro_f1": sk.f1_score(labels, predicted, average="micro"),
        "precision": sk.precision_score(labels, predicted, average="macro"),
        "recall": sk.recall_score(labels, predicted, average="macro"),
        "roc_auc": sk.roc_auc_score(labels, scores, multi_class="ovr"),
    }
    for name, value in expected.items():
        assert report.metrics[name] == pytest.approx(value, abs=1e-6), name
    np.testing.assert_array_equal(report.confusion, sk.confusion_matrix(labels, predicted))
    assert [row["support"] for row in report.per_class] == np.bincount(labels).tolist()
    low, high = report.intervals["accuracy"]
    assert low < report.metrics["accuracy"] < high
    assert high - low == pytest.approx(4 * np.sqrt(0.25 * 0.75 / 200), rel=0.35)


def test_baselines_stand_beside(classified: Any) -> None:
    report, labels, _ = classified
    assert set(report.baselines) == {"majority", "tfidf_logistic_regression"}
    share = np.bincount(labels).max() / len(labels)
    assert report.baselines["majority"]["accuracy"] == pytest.approx(share)
    assert report.baselines["tfidf_logistic_regression"]["accuracy"] > share
    table = str(report)
    assert "TF-IDF + LR" in table
    assert len(table.splitlines()) < 24


def test_worst_mistakes_are_wrong_and_most_confident_first(classified: Any) -> None:
    report, labels, scores = classified
    wrong = scores.argmax(1) != labels
    assert len(report.mistakes) == 20
    assert report.mistakes[0]["badness"] == pytest.approx(scores.max(1)[wrong].max())
    assert all(m["true"] != m["predicted"] for m in report.mistakes)
    badness = [m["badness"] for m in report.mistakes]
    assert badness == sorted(badness, reverse=True)


def test_calibration_by_hand() -> None:
    right = np.array([True, False, True, True])
    found = metrics.calibration(right, np.array([0.95, 0.95, 0.55, 0.55]))
    assert found["ece"] == pytest.approx((abs(0.5 - 0.95) * 2 + abs(1.0 - 0.55) * 2) / 4)
    assert found["count"] == [2, 2]


@pytest.mark.parametrize("seed", range(3))
def test_quick_numbers_equal_the_slow_ones(seed: int) -> None:
    generator = np.random.default_rng(seed)
    labels, predicted = generator.integers(0, 5, (2, 60))
    quick = metrics.quick_classification(labels, predicted)
    assert quick["macro_f1"] == pytest.approx(sk.f1_score(labels, predicted, average="macro"))
    truth, guess = generator.integers(0, 2, (2, 50, 4))
    quick = metrics.quick_multi_label(truth, guess)
    assert quick["micro_f1"] == pytest.approx(sk.f1_score(truth, guess, average="micro"))
    assert quick["macro_f1"] == pytest.approx(sk.f1_score(truth, guess, average="macro"))
    assert quick["accuracy"] == pytest.approx(sk.accuracy_score(truth, guess))


def test_multi_label(tmp_path: Path) -> None:
    task = MultiLabel(["x", "y"])
    truth = np.random.default_rng(0).integers(0, 2, (80, 2))
    scores = np.clip(truth * 0.5 + np.random.default_rng(1).random((80, 2)) * 0.6, 0, 1)
    names = [[n for n, v in zip("xy", row) if v] for row in truth]
    examples = Examples.from_lists(texts(names), names)
    report = evaluate(FakeModel(task, scores), examples, train=examples)
    predicted = (scores >= 0.5).astype(int)
    assert report.metrics["micro_f1"] == pytest.approx(
        sk.f1_score(truth, predicted, average="micro")
    )
    assert report.metrics["accuracy"] == pytest.approx((truth == predicted).all(1).mean())
    assert report.baselines["tfidf_logistic_regression"]["micro_f1"] is not None
    report.save(tmp_path)
    assert (tmp_path / "roc_pr.png").exists()


def test_regression(tmp_path: Path) -> None:
    labels = np.linspace(0, 5, 50)
    scores = labels + np.random.default_rng(0).normal(0, 0.5, 50)
    examples = Examples.from_lists([f"t{i}" for i in range(50)], labels.tolist())
    report = evaluate(FakeModel(Regression(2.5, 1.5), scores), examples, train=examples)
    error = scores - labels.astype("float32")
    assert report.metrics["rmse"] == pytest.approx(np.sqrt((error**2).mean()), rel=1e-5)
    assert report.metrics["pearson"] == pytest.approx(np.corrcoef(labels, scores)[0, 1], rel=1e-5)
    assert report.baselines["majority"]["pearson"] is None
    assert report.mistakes[0]["badness"] == pytest.approx(np.abs(error).max(), rel=1e-5)
    report.save(tmp_path)
    assert (tmp_path / "scatter.png").exists()


def test_saved_files_are_whole_and_safe(classified: Any, tmp_path: Path) -> None:
    report = classified[0]
    report.mistakes[0]["text"] = "<script>alert(1)</script>"
    report.save(tmp_path / "deep" / "report")
    folder = tmp_path / "deep" / "report"
    found = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    assert found["metrics"]["accuracy"] == report.metrics["accuracy"]
    assert found["examples"] == {"train": 200, "validation": None, "test": 200}
    for name in ("confusion", "roc_pr", "reliability", "curves"):
        assert (folder / f"{name}.png").read_bytes().startswith(PNG)
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "<script>" not in page
    assert "fake &lt;encoder&gt;" in page
    assert page.count("data:image/png;base64,") == 4
    assert "http://" not in page.replace("http://www.w3.org", "")


DEGENERATE = {
    "one class": (np.zeros(5, int), noisy(np.zeros(5, int), 3)),
    "constant scores": (np.array([0, 1, 2]), np.full((3, 3), 1 / 3)),
    "one example": (np.array([1]), noisy(np.array([1]), 3)),
    "all right": (np.array([0, 1, 2]), np.eye(3)),
}


@pytest.mark.parametrize("kind", DEGENERATE)
def test_degenerate_splits_neither_crash_nor_warn(kind: str, tmp_path: Path) -> None:
    labels, scores = DEGENERATE[kind]
    task = Classification(["a", "b", "c"])
    examples = Examples.from_lists(["t"] * len(labels), [task.class_names[i] for i in labels])
    train = Examples.from_lists(["", "t", "u"], ["a", "b", "c"])
    report = evaluate(FakeModel(task, scores), examples, train=train)
    assert "NaN" not in json.dumps(report.to_dict())
    if kind in ("one class", "one example"):
        assert report.metrics["roc_auc"] is None or kind == "one class"
        assert any("not defined" in note for note in report.notes)
    report.save(tmp_path)


def test_constant_target_has_no_correlation() -> None:
    examples = Examples.from_lists(["a", "b"], [1.0, 1.0])
    report = evaluate(FakeModel(Regression(1.0, 1.0), np.array([1.0, 2.0])), examples)
    assert report.metrics["pearson"] is None
    assert report.metrics["spearman"] is None
    assert report.metrics["mae"] == pytest.approx(0.5)


def test_without_training_split_baselines_are_left_out_and_it_says_so() -> None:
    task = Classification(["a", "b"])
    examples = Examples.from_lists(["x", "y"], ["a", "b"])
    report = evaluate(FakeModel(task, np.eye(2)), examples)
    assert report.baselines == {}
    assert any("no baselines" in note for note in report.notes)
    quiet = evaluate(FakeModel(task, np.eye(2)), examples, baselines=False)
    assert not any("no baselines" in note for note in quiet.notes)


def test_many_classes_stay_legible() -> None:
    names = [f"intent number {i}" for i in range(77)]
    ids = np.arange(770) % 77
    task = Classification(names)
    examples = Examples.from_lists(["t"] * 770, [names[i] for i in ids])
    report = evaluate(FakeModel(task, noisy(ids, 77)), examples)
    assert report.pictures["confusion"].startswith(PNG)
    assert len(report.per_class) == 77


def test_refuses_nothing_and_unwritable_folders(classified: Any, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="at least one example"):
        evaluate(FakeModel(Classification(["a", "b"]), np.eye(2)), Examples.from_lists([], []))
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match="the report can't be written"):
        classified[0].save(tmp_path / "file" / "report")
