"""A task of one's own, written in one file (`counting.py`), through the public doors alone."""

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import keras
import numpy as np
import pytest
from sklearn.metrics import mean_poisson_deviance

import tfhub_transfer as tt
from tfhub_transfer.jobs import measuring, predicting
from tfhub_transfer.jobs.options.asking import EvaluateJob, PredictJob
from tfhub_transfer.jobs.options.distilling import DistillJob
from tfhub_transfer.jobs.options.training import TrainJob
from tfhub_transfer.jobs.trainings import distilling, training
from tfhub_transfer.reporting.standings import Standing
from tfhub_transfer.training import headlines

# Whoever registers a task has it in every table of tasks; other tests have theirs made already.
with mock.patch.dict(tt.tasks.TASKS):
    from counting import Counting

ROWS = [(f"{' and '.join(['film'] * (i % 4 + 1))} number {i}", i % 4 * 2 + 1) for i in range(48)]


@pytest.fixture(autouse=True)
def _registered() -> Iterator[None]:
    with mock.patch.dict(tt.tasks.TASKS):
        tt.tasks.register(Counting)
        yield


@pytest.fixture
def source(tmp_path: Path) -> Path:
    lines = [json.dumps({"text": text, "label": count}) for text, count in ROWS]
    path = tmp_path / "counts.jsonl"
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def splits() -> tuple[Any, Any, Any]:
    whole = tt.data.Examples.from_lists(*map(list, zip(*ROWS)))
    return tt.data.split(whole, (0.6, 0.2, 0.2), seed=1)


@pytest.fixture(scope="module")
def trained(bert_encoder: Path, splits: Any) -> Any:
    train, validation, _ = splits
    tt.runtime.seed_everything(2)
    model = tt.build_model(str(bert_encoder), Counting().adapt(train.labels), sequence_length=16)
    below = {name: [v.numpy() for v in vs] for name, vs in model.encoder.layer_groups}
    plan = tt.Plan(verbose=0, head_epochs=2, learning_rate=0.01, head_learning_rate=0.05)
    model.history = tt.fine_tune(model, train, validation, epochs=1, unfreeze=1, plan=plan)
    model.before = below
    return model


def test_it_trains_and_thaws(trained: Any) -> None:
    moved = [
        name
        for name, weights in trained.encoder.layer_groups
        if any((a != b.numpy()).any() for a, b in zip(trained.before[name], weights))
    ]
    kept = trained.history.outcomes[-1]
    assert moved == [trained.encoder.layer_groups[-1][0]] or kept.epoch == 0
    assert "val_deviance" in trained.history_
    assert trained.history.outcomes[-1].metric == "val_deviance"


def test_it_answers_saves_and_loads(trained: Any, tmp_path: Path) -> None:
    asked = [text for text, _ in ROWS[:4]]
    answers = trained.predict_text(asked)
    assert [list(answer) for answer in answers] == [["count"]] * 4
    trained.save(tmp_path / "model.keras")
    again = tt.load_model(tmp_path / "model.keras")
    assert isinstance(again.task, Counting) and again.task.mean == trained.task.mean
    assert again.predict_text(asked) == answers


@pytest.mark.slow
def test_it_exports(trained: Any, tmp_path: Path) -> None:
    asked = [text for text, _ in ROWS[:4]]
    served = tt.load_saved_model(tt.export_saved_model(trained, tmp_path / "serving", "float32"))
    expected = [answer["count"] for answer in trained.predict_text(asked)]
    np.testing.assert_allclose(served.predict(asked)["score"], expected, atol=1e-5)


def test_its_report_says_what_its_loss_and_metrics_say(
    trained: Any, splits: Any, tmp_path: Path
) -> None:
    train, _, test = splits
    report = tt.evaluate(trained, test, train)
    made = [answer["count"] for answer in trained.predict_text(test.texts[0])]
    by_hand = mean_poisson_deviance(test.labels, made)
    assert report.metrics["deviance"] == pytest.approx(by_hand, rel=1e-4)
    assert report.metrics["loss"] == pytest.approx(
        np.mean(np.array(made) - np.array(test.labels) * np.log(made)), rel=1e-4
    )
    assert report.judged_by() == "deviance" and report.standing.less_is_better("deviance")
    assert report.verdict() is None and report.baselines == {}
    assert "no baselines: the counting task names none" in report.notes
    assert [row["true"] for row in report.predictions] == [float(x) for x in test.labels]
    assert [row["predicted"] for row in report.predictions] == pytest.approx(made, abs=1e-5)
    worst = [mistake["badness"] for mistake in report.mistakes]
    assert worst == sorted(worst, reverse=True)
    page = (report.save(tmp_path) / "report.html").read_text("utf-8")
    assert "<h1>Counting</h1>" in page and "deviance" in page and ">loss<" in page
    assert json.loads((tmp_path / "report.json").read_text("utf-8"))["task"] == "counting"


def test_its_author_says_more_where_that_is_wanted(splits: Any, text_encoder: Path) -> None:
    class Compared(Counting):
        name = "compared"
        standing = Standing("deviance", {"deviance": True}, "usual", {"usual": "the mean"})

        def baselines(self, texts: Any, labels: np.ndarray) -> dict[str, Any]:
            constant = np.full((len(texts[1]), 1), labels.mean(), "float32")
            return {"usual": mock.Mock(scores=constant, note="")}

    train, _, test = splits
    model = tt.build_model(str(text_encoder), Compared().adapt(train.labels))
    report = tt.evaluate(model, test, train)
    assert report.baselines["usual"]["deviance"] == pytest.approx(
        mean_poisson_deviance(test.labels, [np.mean(train.labels)] * len(test)), rel=1e-4
    )
    said = report.verdict() or ""
    assert "the mean: deviance" in said
    report.metrics["deviance"] = 0.0
    report.intervals.clear()
    report.examples["test"] = 100
    assert (report.verdict() or "").startswith("Better than the mean: deviance 0.000")


@pytest.mark.slow
def test_it_learns_beside_other_tasks(splits: Any, text_encoder: Path, tmp_path: Path) -> None:
    train, validation, test = splits
    parts = {
        "size": Counting().adapt(train.labels),
        "stars": tt.tasks.OrdinalRegression().adapt(train.labels),
    }
    model = tt.build_model(str(text_encoder), parts)
    twice = [dict.fromkeys(parts, split) for split in (train, validation, test)]
    plan = tt.Plan(verbose=0, head_epochs=1)
    tt.fine_tune(model, twice[0], twice[1], epochs=1, plan=plan)
    answers = model.predict_text({"size": ["film"], "stars": ["film"]})
    assert list(answers["size"][0]) == ["count"] and "rank" in answers["stars"][0]
    report = tt.evaluate(model, twice[2], twice[0])
    assert {"size_deviance", "stars_quadratic_kappa"} <= set(report.metrics)
    assert (report.save(tmp_path / "report") / "size" / "report.html").exists()
    model.save(tmp_path / "both.keras")
    assert tt.load_model(tmp_path / "both.keras").predict_text({"size": ["film"]}) == {
        "size": answers["size"]
    }


@pytest.mark.slow
@pytest.mark.parametrize("kind", [Counting, tt.tasks.OrdinalRegression])
@pytest.mark.filterwarnings("ignore:Skipping variable loading for optimizer")
def test_it_is_tuned(kind: Any, splits: Any, text_encoder: Path, tmp_path: Path) -> None:
    import keras_tuner

    train, validation, _ = splits
    task = kind().adapt(train.labels)
    batches = tt.build_model(str(text_encoder), task, sequence_length=16)

    def build(hp: Any) -> Any:
        head = tt.Head(dropout=hp.Float("dropout", 0.0, 0.5), hidden_units=hp.Choice("h", [0, 8]))
        return tt.build_model(str(text_encoder), task, head=head, sequence_length=16)

    metric, direction = task.monitor
    tuner = keras_tuner.RandomSearch(
        build, keras_tuner.Objective(metric, direction), 2, seed=1, directory=tmp_path
    )
    tuner.search(
        batches.preprocess(train),
        validation_data=batches.preprocess(validation, shuffle=False),
        epochs=2,
        callbacks=[tt.ProgressiveUnfreezing(start_epoch=1, num_groups=1)],
        verbose=0,
    )
    trials = tuner.oracle.get_best_trials(2)
    assert len({trial.score for trial in trials}) == 2
    best = tuner.get_best_models(1)[0]
    found = best.evaluate(
        batches.preprocess(validation, shuffle=False), return_dict=True, verbose=0
    )
    assert found[metric.removeprefix("val_")] == pytest.approx(trials[0].score, rel=1e-3, abs=1e-5)


@pytest.mark.slow
def test_whole_jobs_find_it_by_its_name(source: Path, text_encoder: Path, tmp_path: Path) -> None:
    job = TrainJob("counting", str(source), tmp_path / "out", encoder=str(text_encoder), epochs=1)
    report = training.train(job)
    assert report.task == "counting" and "deviance" in report.metrics
    answers = list(predicting.predict(PredictJob(tmp_path / "out", str(source))))
    assert len(answers) == len(ROWS) and "count" in answers[0]
    again = measuring.evaluate_folder(
        EvaluateJob(tmp_path / "out", str(source), tmp_path / "again")
    )
    assert again.judged_by() == "deviance"
    with pytest.raises(tt.InputError, match="has no classes; leave `--class-names` out"):
        training.train(dataclasses.replace(job, class_names="a,b", output=tmp_path / "two"))
    with pytest.raises(tt.InputError, match=r"far one answer is from another.*Received: Counting"):
        teacher, source = (str(tmp_path / "out"),), str(source)
        distilling.distill(
            DistillJob(teacher, source, tmp_path / "three", encoder=str(text_encoder), epochs=1)
        )


def test_slices_that_no_row_tells_are_refused_before_any_training(
    text_encoder: Path, tmp_path: Path
) -> None:
    class Silent(Counting):
        name = "silent"

        def contributions(self, labels: Any, scores: Any) -> dict[str, np.ndarray]:
            return {"other": np.zeros(len(labels))}

    def never(*_: object, **__: object) -> None:
        raise AssertionError("it was trained")

    rows = [{"text": f"film {i}", "label": i % 5, "source": "ab"[i % 2]} for i in range(40)]
    (tmp_path / "counts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    asked = {"encoder": str(text_encoder), "quick": True, "slice": "source"}
    tt.tasks.register(Silent)
    try:
        job = TrainJob("silent", str(tmp_path / "counts.jsonl"), tmp_path / "out", **asked)  # type: ignore[arg-type]
        with pytest.raises(tt.InputError, match="the silent task has no number that each exam"):
            training.train(job, fit=never)  # type: ignore[arg-type]
        with pytest.raises(AssertionError, match="it was trained"):
            training.train(dataclasses.replace(job, slice=None), fit=never)  # type: ignore[arg-type]
    finally:
        tt.tasks.TASKS.pop("silent")


def test_what_is_no_task_or_has_a_name_of_ours_is_refused() -> None:
    with pytest.raises(tt.InputError, match=r"none of classification, .*called 'regression'"):
        tt.tasks.register(type("Own", (Counting,), {"name": "regression"}))
    assert tt.tasks.TASKS["regression"] is tt.tasks.Regression
    replaced = type("Counting", (Counting,), {"name": "counting"})
    assert tt.tasks.register(replaced) is replaced is tt.tasks.TASKS["counting"]
    tt.tasks.register(Counting)


def squared(y_true: Any, y_pred: Any) -> Any:
    """As users write it: Keras fits the shapes to one another before it calls a loss."""
    return keras.ops.mean(keras.ops.square(y_true - y_pred), axis=-1)


class Squared(Counting):
    """The same with a function as loss, and metrics by name and as a function."""

    name = "squared"
    monitor = ("val_loss", "min")

    def loss(self) -> Any:
        return squared

    def metrics(self) -> list[Any]:
        return ["mse", keras.losses.mean_absolute_error]


def test_losses_of_any_form_are_those_that_training_sees() -> None:
    labels, scores = np.array([1, 3, 5, 7]), np.array([[1.0], [3.0], [5.0], [9.0]], "float32")
    found = Squared(1.0).measure(labels, scores)
    assert found == {"loss": 1.0, "mean_squared_error": 1.0, "mean_absolute_error": 0.5}
    np.testing.assert_array_equal(Squared(1.0).badness(labels, scores), [0, 0, 0, 4])


def test_metrics_that_a_loss_would_choose_are_refused() -> None:
    task = type("Chosen", (Squared,), {"metrics": lambda self: ["accuracy"]})(1.0)
    with pytest.raises(tt.InputError, match="depends on the loss; give the object.*'accuracy'"):
        task.measure(np.zeros(2), np.zeros((2, 1)))


def test_whole_answers_judge_under_their_own_name_only() -> None:
    for name, judged in (("val_f1", True), ("val_loss", False)):
        kind = type("Asked", (tt.tasks.QuestionAnswering,), {"monitor": (name, "max")})
        assert headlines.of_task(kind()) is judged


def test_a_task_that_calls_no_other_constructor_reads_single_texts() -> None:
    kind = type("Own", (Counting,), {"__init__": lambda self: None})
    assert kind().pair is False
