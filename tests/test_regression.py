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
from tfhub_transfer.tasks.sequence_level import ScaledError, ScaledSquaredError

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
        (1e6, 1.0),
        pytest.param(-3e-25, 1e-26, marks=pytest.mark.slow),
        pytest.param(1e35, 1e34, marks=pytest.mark.slow),
    ],
)
def test_any_scale_is_learned_alike(
    mean: float, spread: float, plain: Any, text_encoder: Path
) -> None:
    scaled = examples(lambda z: (mean + spread * z).tolist())
    models = [plain[0], trained(text_encoder, scaled)]
    reports = [plain[1], tt.evaluate(models[1], scaled)]
    fine = 2e-3 if mean / spread < 1e5 else 0.1  # float32 tells a million and its next apart
    errors = [report.metrics["rmse"] for report in reports]
    assert errors[1] / spread == pytest.approx(errors[0], rel=fine) and errors[0] < 0.5
    assert reports[1].metrics["pearson"] == pytest.approx(reports[0].metrics["pearson"], abs=0.01)
    # Baselines and what training shows are in the user's units too.
    majority = [report.baselines["majority"]["rmse"] for report in reports]
    assert majority[1] / spread == pytest.approx(majority[0], rel=fine)
    shown = [model.history_["val_rmse"][-1] for model in models]
    assert shown[1] / spread == pytest.approx(shown[0], rel=max(fine, 0.05))
    assert models[1].history_["val_loss"][-1] == pytest.approx(
        models[0].history_["val_loss"][-1], rel=max(fine, 0.05)
    )
    answer = models[1].predict_text(scaled.texts[0][:1])[0]["score"]
    assert abs(answer - scaled.labels[0]) < 3 * spread


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([1e-40, 3e-40], "spread by more than 1e-30.*other units.*from 1e-40 to 3e-40"),
        ([-2e38, 2e38], "must be below 1e.37"),
        ([1e9, 1e9 + 1], "take 1000000000.5 off each. Received: scores around 1e.09, spread"),
        ([2.0, 2.0], "same score.*Received: 2.0 in all 2 rows"),
        ([0.1, 0.1, 0.1], "same score.*Received: 0.1 in all 3 rows"),
    ],
)
def test_what_float32_cannot_tell_apart_is_refused(labels: list[float], message: str) -> None:
    with pytest.raises(tt.InputError, match=message):
        Regression().adapt(labels)


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


@pytest.mark.slow
def test_numbers_among_several_tasks_are_in_their_own_units(bert_still: Path) -> None:
    data = {
        "size": examples(lambda z: (1e6 + 1e5 * z).tolist()),
        "kind": examples(lambda z: np.where(z > 0, "a", "b").tolist()),
    }
    tasks = {"size": Regression(), "kind": tt.tasks.Classification()}
    task = tt.tasks.MultiTask(tasks).adapt({name: each.labels for name, each in data.items()})
    keras.utils.set_random_seed(0)
    model: Any = tt.build_model(str(bert_still), task, Head(dropout=0.0))
    history = tt.fine_tune(model, data, data, epochs=2, unfreeze=1, plan=PLAN)
    report = tt.evaluate(model, data)
    rmse = report.reports["size"].metrics["rmse"]
    assert rmse < 0.8e5
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
