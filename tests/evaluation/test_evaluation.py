"""Reports: numbers against scikit-learn and by hand, baselines, degenerate splits, files."""

import dataclasses
import json
import types
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pytest
import scipy.stats
import sklearn.metrics as sk

from tfhub_transfer import progress
from tfhub_transfer.data import Examples
from tfhub_transfer.encoders.preprocessing import Truncation
from tfhub_transfer.errors import InputError
from tfhub_transfer.evaluation.measuring import Report, evaluate
from tfhub_transfer.models.seen import Seen
from tfhub_transfer.reporting import metrics, plots
from tfhub_transfer.tasks import Classification, MultiLabel, Regression

PNG = b"\x89PNG\r\n"


class FakeModel:
    """Answers given scores, whatever the texts."""

    def __init__(self, task: Any, scores: np.ndarray) -> None:
        self.task, self.scores = task, scores
        self.head = types.SimpleNamespace(towers=False)
        self.encoder = types.SimpleNamespace(handle="fake <encoder>", dialect="bert")
        self.layout = types.SimpleNamespace(check=lambda examples: None, by_unit=False)
        self.training_examples: Examples | None = None
        self.preprocessor, self.seen_texts, self.scope = None, Seen(), None
        self.parts = {"": self}
        self.history_ = {
            "loss": [0.7, 0.5, 0.4],
            "val_loss": [0.6, 0.5, 0.5],
            "thawed_groups": [(1.0, 2)],
        }

    def count_truncation(self, examples: Examples) -> Truncation:
        return Truncation(0, len(examples), 0)

    def predict_scores(self, examples: Examples, allow_nan: bool = False) -> np.ndarray:
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
    assert len(report.mistakes) == min(100, wrong.sum())
    assert report.mistakes[0]["badness"] == pytest.approx(scores.max(1)[wrong].max())
    assert all(m["true"] != m["predicted"] for m in report.mistakes)
    badness = [m["badness"] for m in report.mistakes]
    assert badness == sorted(badness, reverse=True)


def test_calibration_by_hand() -> None:
    right = np.array([True, False, True, True])
    found = metrics.calibration(right, np.array([0.95, 0.95, 0.95, 0.55]))
    assert found["ece"] == pytest.approx((abs(2 / 3 - 0.95) * 3 + abs(1.0 - 0.55)) / 4)
    assert found["count"] == [1, 3]


def drawn(weights: np.ndarray) -> np.ndarray:
    """The rows that one resample holds, each as often as it was drawn."""
    return np.repeat(np.arange(len(weights)), weights.astype(int))


@pytest.mark.parametrize("seed", range(3))
def test_resampled_numbers_equal_those_of_the_resampled_rows(seed: int) -> None:
    generator = np.random.default_rng(seed)
    weights = generator.multinomial(60, [1 / 60] * 60, size=4).astype(float)
    labels = generator.integers(0, 4, 60)
    # Rounded, so that there are ties.
    scores = generator.dirichlet([1] * 4, 60).round(1)
    truth, guesses = generator.integers(0, 2, (60, 3)), generator.random((60, 3)).round(1)
    x, y = generator.random((2, 60)).round(1)
    binary = labels // 2, generator.dirichlet([1, 1], 60).round(1)
    found = [
        metrics.resampled_classification(weights, labels, scores),
        metrics.resampled_classification(weights, *binary),
        metrics.resampled_multi_label(weights, truth, guesses, 0.5),
        metrics.resampled_regression(weights, x, y),
    ]
    for number, rows in enumerate(map(drawn, weights)):
        expected = [
            metrics.classification(labels[rows], scores[rows]),
            metrics.classification(binary[0][rows], binary[1][rows]),
            metrics.multi_label(truth[rows], guesses[rows], 0.5),
            metrics.regression(x[rows], y[rows]),
        ]
        for resampled, numbers in zip(found, expected):
            assert set(resampled) == set(numbers) - {"ece"}
            for name, values in resampled.items():
                assert values[number] == pytest.approx(numbers[name], abs=1e-6), name


def test_intervals_of_a_mean_are_those_of_the_normal_distribution() -> None:
    values = np.random.default_rng(0).normal(10, 2, 400)
    low, high = metrics.intervals(lambda w: {"mean": w @ values / 400}, 400)["mean"]
    wide = 1.96 * values.std() / 20
    assert (low, high) == pytest.approx((values.mean() - wide, values.mean() + wide), abs=0.03)
    again = metrics.intervals(lambda w: {"mean": w @ values / 400}, 400)["mean"]
    other = metrics.intervals(lambda w: {"mean": w @ values / 400}, 400, seed=1)["mean"]
    assert (low, high) == again != other


def test_what_most_resamples_cannot_tell_has_no_interval() -> None:
    def numbers(weights: np.ndarray) -> dict[str, np.ndarray]:
        some = weights[:, 0]
        return {"nothing": some * np.nan, "y": some, "always": some * 0 + 1, "share": some * 0 + 1}

    assert set(metrics.intervals(numbers, 20)) == {"y"}
    assert metrics.intervals(numbers, 19) == {}
    assert metrics.intervals(numbers, 4, shares={"share": 4}) == {"share": metrics.wilson(1.0, 4)}
    assert metrics.intervals(numbers, 1, shares={"share": 1}) == {}


@pytest.mark.parametrize("count", [2, 4, 7, 50, 1000])
def test_the_interval_of_a_share_holds_what_a_test_would_not_refuse(count: int) -> None:
    """Wilson's is the score test turned round: at its ends 1.96 is what it gives."""
    for right in {0, 1, count // 2, count}:
        share = right / count
        low, high = metrics.wilson(share, count)
        shares = np.linspace(0, 1, 1_000_001)
        with np.errstate(divide="ignore", invalid="ignore"):
            deviation = np.abs(share - shares) / np.sqrt(shares * (1 - shares) / count)
        inside = shares[(deviation <= scipy.stats.norm.ppf(0.975)) | (shares == share)]
        assert (low, high) == pytest.approx((inside[0], inside[-1]), abs=2e-6)


def test_four_right_examples_prove_little(tmp_path: Path) -> None:
    """The bootstrap would say that accuracy lies from 1.0 to 1.0."""
    task, names = Classification(["a", "b"]), ["a", "b", "a", "b"]
    examples = Examples.from_lists(texts(names), names)
    report = evaluate(FakeModel(task, np.eye(2)[[0, 1, 0, 1]]), examples, train=examples)
    assert report.intervals == {
        name: pytest.approx((0.5101, 1.0), abs=1e-4) for name in ("accuracy", "micro_f1")
    }
    assert any(
        "macro_f1" in note and "fewer than 20 examples look more certain" in note
        for note in report.notes
    )
    some = Examples.from_lists([f"t{i}" for i in range(4)], [1.0, 2.0, 3.0, 5.0])
    report = evaluate(
        FakeModel(Regression(2.5, 1.5), np.array([1.0, 2.0, 3.0, 4.0])), some, train=some
    )
    assert report.intervals == {}
    assert "Too few examples to tell it from TF-IDF + ridge" in str(report)


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
    assert set(report.intervals) == {"mse", "rmse", "mae", "pearson", "spearman"}
    assert "TF-IDF + ridge" in str(report)
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
    for name in ("confusion", "roc_pr", "reliability", "curves", "thresholds"):
        assert (folder / f"{name}.png").read_bytes().startswith(PNG)
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "<script>alert" not in page
    assert "fake &lt;encoder&gt;" in page
    assert page.count("data:image/png;base64,") == 5
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
        assert report.metrics["roc_auc"] is None
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


ODD_NAMES = {
    "dollars": ["$x^$", "_", "c$_{"],
    "signs without a glyph": ["😀", "交易", "ok 好"],
    "endless": ["a" * 300, "b " * 150, "c\nd\te\0"],
    "markup": ["<b>x</b>", "&amp;", '"quoted"'],
    "right to left": ["שלום", "مرحبا", ""],
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", ODD_NAMES)
def test_any_name_of_a_class_can_be_drawn(kind: str, tmp_path: Path) -> None:
    names = ODD_NAMES[kind]
    ids = np.arange(30) % 3
    task: Any = Classification(["a", "b", "c"])
    task.class_names = names  # some of which no task would take any longer
    task.check = lambda examples: None
    task.encode = lambda labels: np.array([names.index(x) for x in labels])
    examples = Examples.from_lists(["t"] * 30, [names[i] for i in ids])
    report = evaluate(FakeModel(task, noisy(ids, 3)), examples)
    report.save(tmp_path)
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert page.count("data:image/png;base64,") == 5
    assert "<b>x</b>" not in page
    assert len(report.curves) == 3


def test_printable_names() -> None:
    assert plots.printable("交易", 3) == "#3"
    assert plots.printable("good 好", 0) == "good □"
    assert plots.printable("card\n lost ", 0) == "card lost"
    assert plots.printable("x" * 100, 0) == "x" * 25 + "…"


def test_answers_that_are_no_numbers_are_noted(tmp_path: Path) -> None:
    scores = noisy(np.array([0, 1, 0, 1]), 2)
    scores[1] = np.nan
    examples = Examples.from_lists(list("wxyz"), ["a", "b", "a", "b"])
    report = evaluate(FakeModel(Classification(["a", "b"]), scores), examples)
    assert any(note.startswith("1 of 4 answers aren't finite") for note in report.notes)
    assert report.metrics["accuracy"] <= 0.75
    # Wrong whatever the label is: no class has the luck to be the answer.
    nothing = FakeModel(Classification(["a", "b"]), np.full((4, 2), np.nan))
    for label in "ab":
        report = evaluate(nothing, Examples.from_lists(list("wxyz"), [label] * 4))
        assert report.metrics["accuracy"] == report.metrics["recall"] == 0.0
    several = FakeModel(MultiLabel(["a", "b"]), np.array([[np.nan, 0.1], [0.9, np.inf]]))
    report = evaluate(several, Examples.from_lists(list("wx"), [[], ["a", "b"]]))
    assert report.metrics["accuracy"] == 0.0
    assert report.metrics["micro_f1"] == 0.5  # of three cells with a 1 one is right

    numbers = Examples.from_lists(list("xyz"), [1.0, 2.0, 3.0])
    diverged = FakeModel(Regression(2.0, 1.0), np.array([1.0, np.inf, 3.0]))
    report = evaluate(diverged, numbers, train=numbers)
    assert set(report.metrics.values()) == {None}
    assert report.baselines["majority"]["mae"] == pytest.approx(2 / 3)
    assert report.verdict() is None
    report.save(tmp_path)
    text = (tmp_path / "report.json").read_text(encoding="utf-8")
    assert json.loads(text, parse_constant=pytest.fail)["metrics"]["mse"] is None


def test_classes_that_do_not_occur_are_left_out_of_areas_and_named() -> None:
    labels = np.arange(40) % 2
    scores = noisy(labels, 3)
    examples = Examples.from_lists(["t"] * 40, ["ab"[i] for i in labels])
    report = evaluate(FakeModel(Classification(["a", "b", "zebra"]), scores), examples)
    areas = [sk.roc_auc_score(labels == c, scores[:, c]) for c in (0, 1)]
    assert report.metrics["roc_auc"] == pytest.approx(np.mean(areas))
    assert any("1 of 3 classes don't occur" in n and "zebra" in n for n in report.notes)
    assert report.per_class[2]["support"] == 0


WORDLESS = {
    "no words": (["", " "], ["a", "b"], "hold no words"),
    "one class": (["x", "y"], ["a", "a"], "one class only"),
}


@pytest.mark.parametrize("kind", WORDLESS)
def test_a_poor_training_split_still_has_the_majority_beside_it(kind: str) -> None:
    words, labels, reason = WORDLESS[kind]
    examples = Examples.from_lists(["x", "y", "z"], ["a", "a", "b"])
    model = FakeModel(Classification(["a", "b"]), noisy(np.array([0, 0, 1]), 2))
    report = evaluate(model, examples, train=Examples.from_lists(words, labels))
    assert report.baselines["majority"]["accuracy"] == pytest.approx(2 / 3)
    assert set(report.baselines) == {"majority"}
    assert [n for n in report.notes if n.startswith("baseline tfidf") and reason in n]


def test_baselines_of_pairs_read_both_texts() -> None:
    labels = ["a", "b"] * 20
    pairs = Examples.from_lists(
        ["same"] * 40, labels, ["left" if x == "a" else "right" for x in labels]
    )
    model = FakeModel(Classification(["a", "b"], pair=True), np.full((40, 2), 0.5))
    report = evaluate(model, pairs, train=pairs)
    assert report.baselines["tfidf_logistic_regression"]["accuracy"] == 1.0
    assert report.mistakes[0]["text"] == "same | right"


def test_baselines_know_classes_that_training_lacks() -> None:
    train = Examples.from_lists(["x", "y", "x", "y"], ["a", "c", "a", "c"])
    test = Examples.from_lists(["x", "y", "z"], ["a", "c", "b"])
    model = FakeModel(Classification(["a", "b", "c"]), np.eye(3)[[0, 2, 1]])
    report = evaluate(model, test, train=train)
    assert report.baselines["tfidf_logistic_regression"]["accuracy"] == pytest.approx(2 / 3)
    assert report.verdict() is not None


def test_verdict_is_no_better_than_the_interval() -> None:
    def verdict(
        interval: tuple[float, float], mine: float, task: str = "classification", rows: int = 100
    ) -> Any:
        name = "accuracy" if task == "classification" else "rmse"
        return Report(
            task,
            "e",
            {"test": rows},
            {name: mine},
            intervals={name: interval},
            baselines={"tfidf_logistic_regression": {name: 0.7}},
        ).verdict()

    assert verdict((0.75, 0.85), 0.8) == "Better than TF-IDF + LR: accuracy 0.800 against 0.700."
    assert verdict((0.5, 0.65), 0.6).startswith("Worse than")
    assert verdict((0.65, 0.85), 0.8).startswith("No clear difference")
    assert verdict((0.5, 0.65), 0.6, "regression").startswith("Better than TF-IDF + ridge")
    # Wilson's interval of three examples is one, but no verdict.
    assert verdict((0.75, 0.85), 0.8, rows=3).startswith("Too few examples to tell it from TF-IDF")


def test_curves_are_drawn_with_and_without_validation() -> None:
    assert plots.curves({}) is None
    assert plots.curves({"loss": [float("nan")], "thawed_groups": [(0.0, 1)]}) is None
    assert (plots.curves({"loss": [1.0, 0.5]}) or b"").startswith(PNG)
    both = {"loss": [1.0, 0.5], "val_loss": [1.0, float("nan")], "learning_rate": [0.1, 0.1]}
    plain = plots.curves(both)
    assert (plain or b"").startswith(PNG)
    assert plots.curves({**both, "thawed_groups": [(1.0, 2), (1.0, 3)]}) != plain
    assert plots.curves({**both, "best_epoch": [0], "kept": ["what it says"]}) != plain
    assert plots.curves({**both, "best_epoch": [], "kept": []}) == plain
    assert plots.curves({**both, "best_epoch": [7]}) == plain  # the plan of another run


def test_most_confused_by_hand() -> None:
    matrix = np.array([[5, 0, 3], [7, 1, 0], [0, 0, 9]])
    assert metrics.most_confused(matrix, 5) == [(1, 0, 7), (0, 2, 3)]
    assert metrics.most_confused(matrix, 1) == [(1, 0, 7)]


def test_json_is_the_report_with_numbers_on_one_line(classified: Any, tmp_path: Path) -> None:
    report = dataclasses.replace(classified[0], notes=["as [\n 1,\n 2\n] is"])
    report.save(tmp_path)
    text = (tmp_path / "report.json").read_text(encoding="utf-8")
    assert json.loads(text) == json.loads(json.dumps(report.to_dict()))
    assert str(report.confusion[0]) in text


def test_matplotlib_of_the_user_is_left_alone(classified: Any, tmp_path: Path) -> None:
    before = dict(matplotlib.rcParams), matplotlib.get_backend()
    classified[0].save(tmp_path)
    assert (dict(matplotlib.rcParams), matplotlib.get_backend()) == before


def test_who_measures_knows_how_far_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[tuple[str, float | None]] = []
    monkeypatch.setattr(metrics, "_CELLS_AT_ONCE", 40 * 250)  # four parts

    class Linear:
        def fit(self, *given: object) -> None:
            told.append((stage.line(80), stage.fraction()))

        def predict(self, features: Any) -> np.ndarray:
            return np.zeros(features.shape[0])

    def mean(weights: np.ndarray) -> dict[str, np.ndarray]:
        told.append((stage.line(80).partition("  ")[0], stage.fraction()))
        return {"mean": weights.mean(axis=1) + weights[:, 0]}

    with progress.stage("Measuring") as stage:
        metrics.baseline_scores((Linear(), Linear()), (["a", "b"], ["c"]), np.zeros(2), 0)
        metrics.intervals(mean, 40)
    begun, *parts = told[2:]
    assert told[:2] == [("Measuring: a baseline", None)] * 2
    assert begun == ("Measuring", None)  # of all rows, before any is drawn
    assert parts == [("Measuring: intervals", share) for share in (0.0, 0.25, 0.5, 0.75)]
