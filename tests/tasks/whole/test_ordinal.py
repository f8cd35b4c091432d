"""Ordered classes: numbers against references computed another way, labels, answers, reports."""

import warnings
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy.special import expit
from sklearn.metrics import cohen_kappa_score, mean_absolute_error

import tfhub_transfer as tt
from tfhub_transfer.jobs import measuring, predicting
from tfhub_transfer.jobs.options.asking import EvaluateJob, PredictJob
from tfhub_transfer.jobs.options.training import TrainJob
from tfhub_transfer.jobs.trainings import training
from tfhub_transfer.reporting import paired, standings
from tfhub_transfer.tasks import OrdinalRegression
from tfhub_transfer.tasks.whole.ordinal import (
    CumulativeCrossentropy,
    OrderedThresholds,
    QuadraticKappa,
    ranks,
)

GRADES = ["poor", "fair", "good", "great"]


def drawn(rows: int, classes: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Labels, of which not every class need have one, and probabilities that know a bit of them."""
    generator = np.random.default_rng(seed)
    labels = generator.choice(generator.permutation(classes)[: max(2, classes - 1)], rows)
    near = -np.abs(labels[:, None] + generator.normal(0, 1.5, (rows, 1)) - np.arange(classes))
    scores = np.exp(near + generator.normal(0, 0.5, (rows, classes)))
    return labels, (scores / scores.sum(axis=1, keepdims=True)).astype("float32")


def kappa(labels: Any, found: Any, classes: int, weights: Any = None) -> float:
    names = list(range(classes))
    return cohen_kappa_score(
        labels, found, labels=names, weights="quadratic", sample_weight=weights
    )


# Numbers ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("classes", [2, 3, 5, 9])
@pytest.mark.parametrize("seed", [1, 2])
def test_numbers_are_those_of_other_libraries(classes: int, seed: int) -> None:
    labels, scores = drawn(80, classes, seed)
    task = OrdinalRegression([f"c{i}" for i in range(classes)])
    found, numbers = ranks(scores), task.measure(labels, scores)
    assert numbers["quadratic_kappa"] == pytest.approx(kappa(labels, found, classes), abs=1e-9)
    assert numbers["mae"] == pytest.approx(mean_absolute_error(labels, found))
    assert numbers["accuracy"] == pytest.approx(np.mean(labels == found))
    assert numbers["off_by_one_accuracy"] == pytest.approx(np.mean(abs(labels - found) <= 1))
    metric = QuadraticKappa(classes)
    for part in np.split(np.arange(80), [30, 31]):
        metric.update_state(labels[part, None], scores[part])
    assert float(metric.result()) == pytest.approx(numbers["quadratic_kappa"], abs=1e-5)


def test_rows_that_weigh_twice_count_twice() -> None:
    labels, scores = drawn(60, 5, 3)
    weights = np.random.default_rng(0).integers(0, 3, 60)
    metric = QuadraticKappa(5)
    metric.update_state(labels, scores, weights)
    expected = kappa(labels, ranks(scores), 5, weights)
    assert float(metric.result()) == pytest.approx(expected, abs=1e-5)
    metric.reset_state()
    metric.update_state(labels[:1], scores[:1])
    assert float(metric.result()) == 0.0  # nothing to agree on beyond chance
    again = QuadraticKappa.from_config(metric.get_config())
    assert again.classes == 5


def test_what_one_class_cant_tell_is_none() -> None:
    scores = np.eye(3)[[1, 1, 1]]
    numbers = OrdinalRegression(["a", "b", "c"]).measure(np.array([1, 1, 1]), scores)
    assert numbers["quadratic_kappa"] is None and numbers["accuracy"] == 1.0


def test_two_models_are_compared_by_kappa_of_the_same_rows() -> None:
    task = OrdinalRegression(GRADES)
    labels, _ = drawn(80, 4, 1)
    both = [drawn(80, 4, seed)[1] for seed in (1, 9)]
    rows = []
    for scores in both:
        columns = task.beside_answers(labels, scores)
        rows.append([{k: int(v[i]) for k, v in columns.items()} for i in range(80)])
    weights = np.random.default_rng(2).integers(1, 4, (3, 80)).astype("float64")
    parts = task.standing.parts("quadratic_kappa", rows[0])
    expected = [kappa(labels, ranks(both[0]), 4, each) for each in weights]
    np.testing.assert_allclose(parts.measure(weights), expected, atol=1e-9)
    numbers = [task.measure(labels, scores) for scores in both]
    found = paired.difference(task.standing, tuple(numbers), tuple(rows))  # type: ignore[arg-type]
    assert found is not None and found.metric == "quadratic_kappa" and found.interval is not None
    assert found.value == pytest.approx(
        kappa(labels, ranks(both[0]), 4) - kappa(labels, ranks(both[1]), 4)
    )
    assert task.standing.parts("mae", [{"rank": 1}]) is None


# The last layers ----------------------------------------------------------------------------------


def by_hand(heights: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """Probabilities of classes as differences of those of being above, in double precision."""
    above = expit(heights[:, None].astype("float64") - thresholds)
    edges = np.ones((len(heights), 1)), np.zeros((len(heights), 1))
    return -np.diff(np.concatenate([edges[0], above, edges[1]], axis=1), axis=1)


@pytest.mark.parametrize("classes", [2, 3, 6])
def test_probabilities_are_those_of_cumulative_links(classes: int) -> None:
    layer = OrderedThresholds(classes)
    layer.build((None, 1))
    uniform = layer(np.zeros((1, 1), np.float32)).numpy()
    np.testing.assert_allclose(uniform, np.full((1, classes), 1 / classes), atol=1e-6)
    raw = np.random.default_rng(classes).normal(0, 2, classes - 1).astype("float32")
    layer.thresholds.assign(raw)
    thresholds = raw[0] + np.cumsum([0.0, *np.log1p(np.exp(raw[1:].astype("float64")))])
    heights = np.array([-3.0, -0.5, 0.0, 1.0, 4.0], np.float32)
    found = layer(heights[:, None]).numpy()
    np.testing.assert_allclose(found, by_hand(heights, thresholds), atol=1e-6)
    again = OrderedThresholds.from_config(layer.get_config())
    assert again.classes == classes and again.compute_output_shape((3, 1)) == (3, classes)


def test_the_loss_is_that_of_coral() -> None:
    layer = OrderedThresholds(5)
    layer.build((None, 1))
    raw = layer.thresholds.numpy()
    thresholds = raw[0] + np.cumsum([0.0, *np.log1p(np.exp(raw[1:].astype("float64")))])
    heights, labels = np.array([-4.0, -1.0, 0.3, 2.0, 5.0]), np.array([0, 3, 2, 1, 4])
    logits = heights[:, None] - thresholds
    above = labels[:, None] > np.arange(4)
    # Cao et al. 2020, equation 4: of each threshold the cross-entropy of logits.
    expected = (np.logaddexp(0, -logits) * above + np.logaddexp(0, logits) * ~above).sum(axis=1)
    made = layer(heights[:, None].astype("float32"))
    found = CumulativeCrossentropy(reduction=None)
    for given in (labels, labels[:, None], labels.astype("float32")):
        np.testing.assert_allclose(found(given, made), expected, rtol=1e-5)
    mean = CumulativeCrossentropy()(labels, made)
    assert float(mean) == pytest.approx(expected.mean(), rel=1e-5)


def test_far_heights_and_close_thresholds_give_numbers() -> None:
    layer = OrderedThresholds(4)
    layer.build((None, 1))
    layer.thresholds.assign([0.0, -40.0, 30.0])
    heights = tf.constant([[-200.0], [-20.0], [0.0], [15.0], [200.0]])
    with tf.GradientTape() as tape:
        tape.watch(heights)
        made = layer(heights)
        loss = CumulativeCrossentropy(reduction=None)(np.array([3, 0, 1, 2, 0]), made)
    assert np.isfinite(loss.numpy()).all() and (made.numpy() >= 0).all()
    assert np.isfinite(tape.gradient(loss, heights).numpy()).all()
    np.testing.assert_allclose(made.numpy().sum(axis=1), 1.0, atol=1e-6)


def test_it_learns_an_order_that_a_line_tells() -> None:
    keras.utils.set_random_seed(1)
    points = np.random.default_rng(0).uniform(-2, 2, (400, 2)).astype("float32")
    labels = np.digitize(points @ [1.0, 0.5], [-1.2, 0.1, 0.6])
    task = OrdinalRegression(GRADES)
    features = keras.Input((2,))
    model = keras.Model(features, task.outputs(features, tt.Head(l2=1e-6)))
    model.compile(keras.optimizers.Adam(0.2), task.loss(), metrics=task.metrics())
    model.fit(points, labels, epochs=25, batch_size=200, verbose=0)
    found = model.evaluate(points, labels, return_dict=True, verbose=0)
    assert found["quadratic_kappa"] > 0.95
    made = model.predict(points, verbose=0)
    raw = model.get_layer("scores").thresholds.numpy()
    weights = model.get_layer("height").kernel.numpy()[:, 0]
    first = raw[0] / weights[0]  # the first cut, in units of the first coordinate
    assert weights[1] / weights[0] == pytest.approx(0.5, abs=0.1)
    assert first == pytest.approx(-1.2, abs=0.15)
    assert task.measure(labels, made)["quadratic_kappa"] == pytest.approx(
        found["quadratic_kappa"], abs=1e-5
    )


# Labels and answers -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("labels", "names"),
    [
        ([10, 2, 1, 2], ["1", "2", "10"]),
        (["4", "5", 3.0], ["3", "4", "5"]),
        ([-1, 0, 1], ["-1", "0", "1"]),
        ([1.5, 1, 0.5], ["0.5", "1", "1.5"]),
        (np.array([3, 1, 2], np.int8), ["1", "2", "3"]),
        ([[2], [1]], ["1", "2"]),
    ],
)
def test_numbers_are_ordered_as_numbers(labels: Any, names: list[str]) -> None:
    task = OrdinalRegression().adapt(labels)
    assert task.class_names == names
    again = OrdinalRegression.from_config(task.get_config())
    assert again.class_names == names and again.learned


@pytest.mark.parametrize(
    ("labels", "alike"),
    [
        (["01", "1", "2"], "01, 1"),
        ([0, "-0", 1], "-0, 0"),
        (["1", "+1", "2"], r"\+1, 1"),
        (["1e0", 1, 2], "1, 1e0"),
        ([0.1 + 0.2, 0.3, 0.1], "0.3, 0.30000000000000004"),
    ],
)
def test_one_number_is_one_class(labels: Any, alike: str) -> None:
    with pytest.raises(tt.InputError, match=f"is one class.*Received: labels {alike}$"):
        OrdinalRegression().adapt(labels)


def test_names_are_ordered_as_they_are_given() -> None:
    task = OrdinalRegression(GRADES).adapt(["good", "poor"])
    assert task.encode(["good", "poor", "great"]).tolist() == [2, 0, 3]
    assert task.encode([2, 0, 3]).tolist() == [2, 0, 3]
    assert OrdinalRegression([5, 4, 3]).encode([3, 5]).tolist() == [2, 0]
    for odd in (True, ["a", 1, 2], ["1 star", "2 stars"]):
        with pytest.raises(tt.InputError, match="don't say which is higher"):
            OrdinalRegression().adapt(odd if isinstance(odd, list) else [True, False])


@pytest.mark.parametrize(
    ("labels", "missed"), [([1, 2, 4, 5], "3"), ([1, 2, 3], ""), ([1, 100], ""), ([0.5, 2], "")]
)
def test_a_number_between_that_no_text_has_is_pointed_at(labels: list[Any], missed: str) -> None:
    said = OrdinalRegression().adapt(labels).doubts()
    assert [f"has the label {missed}," in each for each in said] == [True] * bool(missed)
    assert not OrdinalRegression(list(map(str, labels))).doubts()
    # A number that stands for none is far from the others: nobody counts to it.
    assert not OrdinalRegression().adapt([1, 2, 3, 1e300]).doubts()


def test_the_answer_is_off_by_least_on_average() -> None:
    scores = drawn(200, 5, 7)[1]
    distances = np.abs(np.arange(5)[:, None] - np.arange(5))
    expected = (scores @ distances).argmin(axis=1)
    task = OrdinalRegression(list("abcde"))
    np.testing.assert_array_equal(ranks(scores), expected)
    answers, exported = task.decode(scores), task.answer(tf.constant(scores))
    np.testing.assert_array_equal(exported["rank"], expected)
    assert [a["rank"] for a in answers] == expected.tolist()
    assert [a["label"] for a in answers] == [b.decode() for b in exported["label"].numpy()]
    assert answers[0]["scores"] == pytest.approx(dict(zip("abcde", map(float, scores[0]))))
    assert any(a["label"] != max(a["scores"], key=a["scores"].get) for a in answers)


def test_no_answer_is_as_wrong_as_can_be() -> None:
    task, labels = OrdinalRegression(list("abcde")), np.array([0, 1, 2, 3, 4])
    broken = np.full((5, 5), np.nan)
    broken[4] = np.eye(5)[4]
    found = task.not_answered(labels, broken, np.isnan(broken).any(axis=1))
    assert ranks(found).tolist() == [4, 4, 0, 0, 4]
    assert task.badness(labels, found).tolist() == [4, 3, 2, 3, 0]


# Reports ------------------------------------------------------------------------------------------

TEXTS = [f"{'very ' * (i % 4)}good film {i}" for i in range(60)]
STARS = [i % 4 + 1 for i in range(60)]


def test_rivals_are_the_median_and_a_rounded_line() -> None:
    task = OrdinalRegression().adapt(STARS)
    labels = task.encode(STARS)
    found = task.baselines((TEXTS, TEXTS), np.where(labels == 3, 2, labels))
    plain, linear = found["majority"].scores, found["tfidf_logistic_regression"].scores
    assert plain is not None and linear is not None
    assert ranks(plain).tolist() == [2] * 60 and (linear.sum(axis=1) == 1).all()
    assert task.measure(labels, linear)["quadratic_kappa"] > 0.6
    assert task.measure(labels, plain)["quadratic_kappa"] == 0.0
    assert task.standing.baseline_name("majority") == "median"


@pytest.fixture(scope="module")
def trained(text_encoder: Path) -> tuple[Any, Any]:
    tt.runtime.seed_everything(1)
    examples = tt.data.Examples.from_lists(TEXTS, STARS)
    model = tt.build_model(str(text_encoder), OrdinalRegression().adapt(STARS))
    model.fit(model.preprocess(examples[:40]), epochs=2, verbose=0)
    return model, examples


def test_a_report_says_what_ordered_classes_are_judged_by(
    trained: tuple[Any, Any], tmp_path: Path
) -> None:
    model, examples = trained
    report = tt.evaluate(model, examples, examples)
    answers = model.predict_text(examples.texts[0])
    right = model.task.encode(STARS)
    given = np.array([answer["rank"] for answer in answers])
    if report.metrics["quadratic_kappa"] is not None:
        expected = kappa(right, given, 4)
        assert report.metrics["quadratic_kappa"] == pytest.approx(expected, abs=1e-6)
    assert report.metrics["mae"] == pytest.approx(np.abs(right - given).mean())
    assert report.standing.judged[0] == "quadratic_kappa" and "verdict" not in report.notes
    assert {"confusion", "reliability"} <= set(report.pictures)
    assert {"accuracy", "mae", "off_by_one_accuracy"} <= set(report.intervals)
    assert [row["rank"] for row in report.predictions] == given.tolist()
    assert all(m["badness"] == abs(int(m["true"]) - int(m["predicted"])) for m in report.mistakes)
    page = (report.save(tmp_path) / "report.html").read_text("utf-8")
    assert "TF-IDF + ridge" in page and ">median<" in page and "off by" in page
    assert standings.of("ordinal-regression") is report.standing


@pytest.mark.slow
def test_it_goes_through_file_and_export(trained: tuple[Any, Any], tmp_path: Path) -> None:
    model, examples = trained
    asked = [*examples.texts[0][:5], ""]
    expected = model.predict_text(asked)
    model.save(tmp_path / "model.keras")
    assert tt.load_model(tmp_path / "model.keras").predict_text(asked) == expected
    served = tt.load_saved_model(tt.export_saved_model(model, tmp_path / "out", "float32"))
    found = served.predict(asked)
    assert set(found) == {"scores", "rank", "label"}
    assert [label.decode() for label in found["label"]] == [a["label"] for a in expected]
    assert found["rank"].tolist() == [a["rank"] for a in expected]
    np.testing.assert_allclose(
        found["scores"], [list(a["scores"].values()) for a in expected], atol=1e-5
    )


@pytest.mark.slow
def test_the_command_line_trains_answers_and_measures(
    text_encoder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = [f"{text},{GRADES[star - 1]}" for text, star in zip(TEXTS, STARS)]
    (tmp_path / "grades.csv").write_text("\n".join(["text,label", *lines]), encoding="utf-8")
    source = str(tmp_path / "grades.csv")
    job = TrainJob(
        task="ordinal-regression",
        data=source,
        output=tmp_path / "out",
        class_names=",".join(GRADES),
        encoder=str(text_encoder),
        class_weights=True,
        epochs=1,
    )
    report = training.train(job)
    assert report.task == "ordinal-regression" and report.class_names == GRADES
    answers = list(predicting.predict(PredictJob(tmp_path / "out", source)))
    assert {"predicted_label", "rank", "scores"} <= set(answers[0])
    again = measuring.evaluate_folder(EvaluateJob(tmp_path / "out", source, tmp_path / "again"))
    assert again.metrics["mae"] is not None
    with pytest.raises(tt.InputError, match="don't say which is higher"):
        training.train(TrainJob("ordinal-regression", source, tmp_path / "two"))


@pytest.mark.slow
@pytest.mark.data
def test_stars_of_reviews_beat_their_rivals(data_folder: Path) -> None:
    folder = data_folder / "amazon_mds" / "kitchen"
    read = [
        tt.data.read(folder / f"{part}.jsonl", text="text", label="score")
        for part in ("train", "validation", "test")
    ]
    tt.runtime.seed_everything(0)
    model = tt.build_model("auto", OrdinalRegression().adapt(read[0].labels))
    tt.fine_tune(model, read[0], read[1], unfreeze="none", plan=tt.Plan(verbose=0))
    report = tt.evaluate(model, read[2])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert report.metrics["quadratic_kappa"] > 0.4
    median = report.baselines["majority"]
    assert report.metrics["mae"] < median["mae"]
