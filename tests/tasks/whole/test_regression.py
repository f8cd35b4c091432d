"""Numbers to predict, of any size: standard units inside, the user's outside."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import samples

import tfhub_transfer as tt
from tfhub_transfer.recipes import distillation
from tfhub_transfer.tasks import Head, Regression
from tfhub_transfer.tasks.scales import ScaledError, ScaledSquaredError

PLAN = tt.Plan(verbose=0, head_epochs=12, head_learning_rate=0.05, patience=12)


def examples(labels: Any, number: int = 60) -> tt.data.Examples:
    """Texts whose standard score is known, with labels made of it."""
    generator = np.random.default_rng(0)
    words = np.array(["good", "film", "bad", "movie", "acting", "story"])
    shares = np.array([2.0, 0.5, -2.0, -0.5, 0.1, -0.1])
    picked = generator.integers(0, len(words), (number, 4))
    scores = shares[picked].mean(axis=1)
    scores = (scores - scores.mean()) / scores.std()
    return tt.data.Examples.from_lists([" ".join(words[row]) for row in picked], labels(scores))


def trained(folder: Path, data: tt.data.Examples) -> Any:
    keras.utils.set_random_seed(0)
    task = Regression().adapt(data.labels)
    model: Any = tt.build_model(str(folder), task, Head(dropout=0.0))
    tt.fine_tune(model, data, data, unfreeze="none", plan=PLAN)
    return model


@pytest.fixture(scope="module")
def plain(text_encoder: Path) -> Any:
    """Labels of mean 0 and spread 1, and what a model makes of them."""
    data = examples(lambda z: z.tolist())
    model = trained(text_encoder, data)
    return model, tt.evaluate(model, data)


@pytest.mark.parametrize(
    ("mean", "spread"),
    [
        (2e-40, 1e-40),  # what float32 can't hold
        pytest.param(1e6, 1.0, marks=pytest.mark.slow),  # what it doesn't tell apart
        *(
            pytest.param(2 * spread, spread, marks=[pytest.mark.slow, pytest.mark.exhaustive])
            for spread in (1e-120, 1e-30, 1e-6, 1e6, 1e30, 1e38, 1e120)
        ),
        pytest.param(1.7e12, 1.0, marks=pytest.mark.slow),
    ],
)
def test_any_scale_is_learned_alike(
    mean: float, spread: float, plain: Any, text_encoder: Path, tmp_path: Path
) -> None:
    scaled = examples(lambda z: (mean + spread * z).tolist())
    model = trained(text_encoder, scaled)
    reports = [plain[1], tt.evaluate(model, scaled)]
    # Answers in standard units are those of the model of standard numbers.
    made = model.predict_scores(scaled).astype("float64")
    np.testing.assert_allclose((made - mean) / spread, plain[0].predict_scores(scaled), atol=2e-3)
    units = {"mse": spread**2, "rmse": spread, "mae": spread, "pearson": 1.0, "spearman": 1.0}
    for name, unit in units.items():
        for of in (lambda report: report.metrics, lambda report: report.baselines["majority"]):
            values = [of(report)[name] for report in reports]
            if values[1] is not None:
                assert values[1] / unit == pytest.approx(values[0], rel=5e-3), name
        ends = [np.array(report.intervals[name]) for report in reports]
        np.testing.assert_allclose(ends[1] / unit, ends[0], rtol=0.01, err_msg=name)
    ridge = [report.baselines["tfidf_logistic_regression"]["rmse"] for report in reports]
    assert ridge[1] / spread == pytest.approx(ridge[0], rel=2e-3)
    # So is what training shows: the loss in standard units, the error in the user's.
    curves = [each.history_ for each in (plain[0], model)]
    assert curves[1]["val_rmse"][-1] / spread == pytest.approx(curves[0]["val_rmse"][-1], rel=5e-3)
    assert curves[1]["val_loss"][-1] == pytest.approx(curves[0]["val_loss"][-1], rel=5e-3)
    # And what is saved and exported.
    model.save(tmp_path / "model.keras")
    again = tt.load_model(tmp_path / "model.keras")
    served = tt.load_saved_model(tt.export_saved_model(model, tmp_path / "out", "float32"))
    answers = [row["score"] for row in model.predict_text(scaled.texts[0])]
    assert answers == [row["score"] for row in again.predict_text(scaled.texts[0])]
    np.testing.assert_allclose(served.predict(scaled.texts[0])["score"], answers, rtol=1e-6)
    assert "0.0000 " not in str(reports[1]) and np.isfinite(answers).all()


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([1e-160, 3e-160], "spread by more than 1e-150.*other units.*from 1e-160 to 3e-160"),
        ([-2.0, 1e200], "labels below 1e.150 here.*divide all labels.*Received: 1e.200"),
        ([1.0, float("nan")], "needs finite numbers as labels; .*Received: nan"),
        ([1e-40, float("-inf")], "needs finite numbers as labels; .*Received: -inf"),
        ([1e15, 1e15 + 1], "take 1000000000000000.5 off each. Received: scores around 1e.15, spr"),
        ([2.0, 2.0], "same score.*Received: 2.0 in all 2 rows"),
        ([0.1, 0.1, 0.1], "same score.*Received: 0.1 in all 3 rows"),
    ],
)
def test_what_float64_cannot_tell_apart_is_refused(labels: list[float], message: str) -> None:
    with pytest.raises(tt.InputError, match=message):
        Regression().adapt(labels)


def test_an_outlier_among_tiny_numbers_is_learned_as_it_is() -> None:
    labels = [1e-40, 2e-40, 3e-40, 4e38]
    task = Regression().adapt(labels)
    assert (task.mean, task.deviation) == (1e38, pytest.approx(np.std([0, 0, 0, 4e38])))
    assert task.encode(labels).tolist() == labels
    # What a model in float32 can't hold is refused, also behind its training.
    small = Regression().adapt([1.0, 2.0])
    assert small.encode([1e30]).dtype == "float32"
    with pytest.raises(tt.InputError, match="below 3e.38 here.*Received: -4e.38"):
        small.encode([-4e38])


def test_the_standardisation_lives_in_the_model(text_encoder: Path, tmp_path: Path) -> None:
    data = examples(lambda z: (1e6 + 1e5 * z).tolist())
    model = trained(text_encoder, data)
    other = examples(lambda z: (5.0 + z).tolist())
    # What is learned later, or judged by, changes nothing of it.
    plan = tt.Plan(verbose=0, head_epochs=1)
    tt.fine_tune(model, data, data[:7], epochs=1, unfreeze=1, plan=plan)
    model.save(tmp_path / "model.keras")
    for each in (model, tt.load_model(tmp_path / "model.keras")):
        layer = each.get_layer("raw_units")
        assert layer.dtype == "float32"
        assert layer.scale == pytest.approx(np.std(data.labels), rel=1e-9)
        assert layer.offset == pytest.approx(np.mean(data.labels), rel=1e-9)
        each.task.adapt(other.labels)
        assert each.task.mean == layer.offset
        np.testing.assert_array_equal(each.predict_scores(data), model.predict_scores(data))
    served = tt.load_saved_model(tt.export_saved_model(model, tmp_path / "out", "float32"))
    found = served.predict(data.texts[0])["score"]
    np.testing.assert_allclose(found, model.predict_scores(data), rtol=1e-5)


def test_a_task_of_the_first_version_answers_as_before() -> None:
    old = {"mean": 1e9, "deviation": 1e-3, "pair": False}  # which is no longer learned so
    task = Regression.from_config(old)
    inputs = keras.Input((4,))
    model = keras.Model(inputs, task.outputs(inputs, Head()))
    model.get_layer("scores").set_weights([np.zeros((4, 1)), np.array([2e9])])
    np.testing.assert_allclose(model(np.ones((1, 4))), [[1e9 + 2e6]], rtol=1e-6)
    assert task.get_config() == old


def test_losses_and_errors_of_weighted_rows_of_any_scale() -> None:
    truth, made = np.array([1e30, 3e30]), np.array([[2e30], [7e30]])
    weights = np.array([3.0, 1.0])
    loss = ScaledSquaredError(2e30)(truth, made, weights)
    assert float(loss) == pytest.approx((3 * 0.5**2 + 2.0**2) / 2)
    metric = ScaledError(2e30)
    metric.update_state(truth[:1], made[:1], weights[:1])
    metric.update_state(truth[1:], made[1:], weights[1:])
    wanted = np.sqrt(np.average(((truth - made[:, 0]) / 1e30) ** 2, weights=weights)) * 1e30
    assert float(metric.result()) == pytest.approx(wanted, rel=1e-6)
    again = ScaledError.from_config(metric.get_config())
    assert (again.name, again.deviation) == ("rmse", 2e30)
    # float64 numbers that float32 can't hold are the same in standard units.
    for unit in (1e-40, 1e-120, 1e120):
        wide = keras.ops.convert_to_tensor(made / 1e30 * unit, "float64")
        given = keras.ops.convert_to_tensor(truth / 1e30 * unit, "float64")
        assert float(ScaledSquaredError(2 * unit)(given, wide, weights)) == pytest.approx(
            float(loss)
        )
        metric = ScaledError(2 * unit)
        metric.update_state(given, wide, weights)
        assert float(metric.result()) == pytest.approx(wanted / 1e30 * unit, rel=1e-6)


def test_sample_weights_count(text_encoder: Path) -> None:
    """Rows that weigh nothing teach nothing: the answers to equal texts are those of the others."""
    texts = ["good film", "bad movie"] * 10
    labels = [1e6 + 1e5 * (row % 2) + 7e5 * (row >= 10) for row in range(20)]
    model: Any = tt.build_model(
        str(text_encoder),
        Regression().adapt(labels),
        Head(dropout=0.0),
        optimizer=keras.optimizers.Adam(0.1),
    )
    data = tt.data.Examples.from_lists(texts, labels)
    [(rows, wanted)] = model.preprocess(data, 20, shuffle=False)
    weights = np.array([1.0] * 10 + [0.0] * 10)
    model.fit(rows, wanted, sample_weight=weights, batch_size=20, epochs=40, verbose=0)
    made = model.predict_scores(texts[:2])
    np.testing.assert_allclose(made, labels[:2], atol=1e5)


@pytest.mark.slow
def test_a_student_learns_numbers_in_its_own_units(text_encoder: Path) -> None:
    data = examples(lambda z: (1e6 + 1e5 * z).tolist())
    teacher = trained(text_encoder, data)
    keras.utils.set_random_seed(1)
    half = data[:30]
    student = tt.build_model(str(text_encoder), Regression().adapt(half.labels), Head(dropout=0.0))
    distillation.distill(
        teacher, student, half, data, data.texts[0][30:], unfreeze="none", plan=PLAN
    )
    far = np.abs(student.predict_scores(data) - teacher.predict_scores(data)).mean()
    assert far < 3e4  # of a spread of 1e5
    tiny = tt.build_model(str(text_encoder), Regression(0.0, 1e-40), Head(dropout=0.0))
    with pytest.raises(tt.InputError, match="computes in float32.*other units.*spread by 1e-40"):
        distillation.distill(teacher, tiny, half, data)


@pytest.mark.slow
def test_numbers_among_several_tasks_are_in_their_own_units(bert_still: Path) -> None:
    data = {
        "size": examples(lambda z: (1e-40 + 1e-41 * z).tolist()),
        "kind": examples(lambda z: np.where(z > 0, "a", "b").tolist()),
    }
    tasks = {"size": Regression(), "kind": tt.tasks.Classification()}
    task = tt.tasks.MultiTask(tasks).adapt({name: each.labels for name, each in data.items()})
    keras.utils.set_random_seed(0)
    model: Any = tt.build_model(str(bert_still), task, Head(dropout=0.0))
    history = tt.fine_tune(model, data, data, epochs=2, unfreeze=1, plan=PLAN)
    report = tt.evaluate(model, data)
    rmse = report.reports["size"].metrics["rmse"]
    assert rmse < 0.8e-41
    assert history.history["val_size_rmse"][-1] == pytest.approx(rmse, rel=0.5)
    assert history.history["val_size_loss"][-1] < 1.0


def test_the_profile_names_what_lies_far_from_the_rest() -> None:
    def said(labels: list[Any]) -> str:
        texts = [f"text {n}" for n in range(len(labels))]
        profile = tt.data.profile(tt.data.Examples.from_lists(texts, labels))
        return " ".join(profile.split())

    usual = np.random.default_rng(0).normal(3, 1, 200).tolist()
    assert "outliers" not in said(usual)
    assert "outliers: 1 of 201 labels, 1e+30, lie up to" in said([*usual, 1e30])
    assert "outliers: 2 of 202 labels, 999, -99, lie up to" in said([*usual, -99.0, 999.0])
    assert "1 of 201" in said([*[1, 2, 3, 4, 5] * 40, 999])  # few different ones: grades
    assert "1 of 201" in said([*[0] * 180, *range(1, 21), 10_000])  # mostly one of them: counts
    for fine in ([0, 1] * 20, [0] * 99 + [1], ["a", "b"] * 9, [0] * 30 + [1, 2, 3], [5.0, 1e9]):
        assert "outliers" not in said(fine)


def test_every_task_of_numbers_standardises() -> None:
    task = samples.ROWS["regression"].task()
    assert (task.mean, task.deviation) == (1.875, pytest.approx(np.std(samples.NUMBERS)))


def test_what_was_given_stays_and_the_rest_is_learned() -> None:
    labels = [1.0, 3.0]
    found = [
        tt.tasks.Regression(**given).adapt(labels)
        for given in ({"mean": 5.0}, {"deviation": 4.0}, {"mean": 5.0, "deviation": 4.0})
    ]
    assert [(task.mean, task.deviation) for task in found] == [(5, 1), (2, 4), (5, 4)]
