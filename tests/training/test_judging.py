"""Training with what users compiled themselves."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfhub_transfer as tt
from tfhub_transfer.models import compiling
from tfhub_transfer.training import judging

CROSSENTROPY = "sparse_categorical_crossentropy"


@pytest.fixture(scope="module")
def splits(sentiment: Any) -> tuple[Any, Any]:
    examples = tt.data.Examples.from_lists(*sentiment)
    return examples[:28], examples[28:]


def build(folder: Path, *args: Any, **settings: Any) -> tt.TransferModel:
    """A model that was compiled anew."""
    task = tt.tasks.Classification(["negative", "positive"])
    model = tt.build_model(str(folder), task, tt.Head(dropout=0.0), sequence_length=24)
    if args:
        model.compile(*args, **settings)
    return model


def confidence(y_true: Any, y_pred: Any) -> Any:
    return tf.reduce_max(y_pred, axis=-1)


SETTINGS: dict[str, dict[str, Any]] = {
    "own function": {"metrics": [confidence]},
    "several steps at once": {
        "metrics": ["sparse_top_k_categorical_accuracy"],
        "steps_per_execution": 2,
    },
    "eager": {"metrics": [], "run_eagerly": True},
    "weighted": {"weighted_metrics": ["sparse_categorical_crossentropy"]},
}


@pytest.mark.parametrize(
    "name",
    [
        "own function",
        pytest.param("several steps at once", marks=pytest.mark.slow),
        *(
            pytest.param(name, marks=[pytest.mark.slow, pytest.mark.exhaustive])
            for name in [*SETTINGS][2:]
        ),
    ],
)
@pytest.mark.parametrize(
    "kind",
    [
        "text_encoder",
        pytest.param("bert_encoder", marks=[pytest.mark.slow, pytest.mark.exhaustive]),
    ],
)
def test_own_metrics_are_reported_and_the_loss_judges(
    kind: str, name: str, make_encoder: Any, splits: Any
) -> None:
    settings = SETTINGS[name]
    model = build(make_encoder(kind), keras.optimizers.SGD(0.5), CROSSENTROPY, **settings)
    assert judging.monitor(model) == ("val_loss", "min")
    plan = tt.Plan(head_epochs=2, head_learning_rate=0.1, verbose=0)
    found = tt.fine_tune(model, *splits, epochs=2, plan=plan).history
    own = [*settings.get("metrics", []), *settings.get("weighted_metrics", [])]
    own = [m if isinstance(m, str) else getattr(m, "name", None) or m.__name__ for m in own]
    assert set(found) == {f"{v}{n}" for v in ("", "val_") for n in ("loss", *own)}
    assert {len(values) for values in found.values()} == {4}
    kept = model.evaluate(model.preprocess(splits[1], shuffle=False), verbose=0, return_dict=True)
    np.testing.assert_allclose(kept["loss"], min(found["val_loss"]), rtol=1e-5)
    for metric in own:
        assert np.isclose(kept[metric], found[f"val_{metric}"], rtol=1e-5).any()


def test_the_tasks_number_judges_where_it_is_reported(text_encoder: Path, splits: Any) -> None:
    assert judging.monitor(build(text_encoder)) == ("val_accuracy", "max")
    model = build(text_encoder, "sgd", CROSSENTROPY, metrics=[confidence, "accuracy"])
    assert judging.monitor(model) == ("val_accuracy", "max")
    tasks = {"one": model.task, "other": tt.tasks.Classification(["a", "b"])}
    several = tt.build_model(str(text_encoder), tasks)
    assert judging.monitor(several) == several.task.monitor
    several.compile("sgd", several.loss, metrics={"one": [confidence], "other": [confidence]})
    assert judging.monitor(several) == ("val_loss", "min")


def named(name: str, measure: Any = confidence) -> keras.metrics.Metric:
    return keras.metrics.MeanMetricWrapper(measure, name=name)


def test_metrics_of_one_name_are_both_reported(text_encoder: Path, splits: Any) -> None:
    both = [named("sure"), named("sure", lambda y_true, y_pred: 2.0 * confidence(y_true, y_pred))]
    model = build(text_encoder, "sgd", CROSSENTROPY, metrics=both)
    plan = tt.Plan(head_epochs=1, verbose=0)
    found = tt.fine_tune(model, *splits, epochs=1, plan=plan).history
    assert set(found) == {f"{v}{n}" for v in ("", "val_") for n in ("loss", "sure", "sure_1")}
    np.testing.assert_allclose(2 * np.array(found["val_sure"]), found["val_sure_1"], rtol=1e-5)


@pytest.mark.parametrize("name", ["accuracy", "val_accuracy", "loss"])
def test_no_other_metric_is_taken_for_what_judges(
    name: str, text_encoder: Path, splits: Any
) -> None:
    for metrics in ([named(name)], [keras.metrics.AUC(), named(name)]):
        model = build(text_encoder, "sgd", CROSSENTROPY, metrics=metrics)
        usual = model.layout.objective.measures()
        assert compiling.metrics_of_ones_own(model, usual)["metrics"] == metrics
        with pytest.raises(tt.InputError, match=f"taken for that.*a metric named '{name}'"):
            tt.fine_tune(model, *splits)
    again = build(text_encoder, "sgd", CROSSENTROPY, metrics=[*model.task.metrics()])
    assert not compiling.metrics_of_ones_own(again, model.layout.objective.measures())
    judging.require_trainable(again, again.cut(splits[1]))


def test_metrics_of_tasks_are_their_own_whatever_they_are_set_to(text_encoder: Path) -> None:
    two = {"price": tt.tasks.Regression(0.0, 1.0), "size": tt.tasks.Regression(0.0, 2.0)}
    several = tt.build_model(str(text_encoder), two)
    usual = several.layout.objective.measures()
    [one], [other] = usual["weighted_metrics"].values()
    assert one.name == other.name and one.get_config() != other.get_config()
    assert not compiling.metrics_of_ones_own(several, usual)
    assert judging.monitor(several) == several.task.monitor
    many = tt.build_model(str(text_encoder), tt.tasks.MultiLabel(["a", "b"]))
    many.task.threshold = 0.3
    assert not compiling.metrics_of_ones_own(many, many.layout.objective.measures())

    def of_tasks() -> Any:
        def accuracy(y_true: Any, y_pred: Any) -> Any:
            return confidence(y_true, y_pred)

        return [accuracy]

    assert not compiling.others(of_tasks(), of_tasks())
    alike = [keras.metrics.MeanAbsoluteError("off"), keras.metrics.MeanSquaredError("off")]
    assert not compiling.others(alike, alike)
    assert compiling.others([confidence], of_tasks())


DECAY = keras.optimizers.schedules.ExponentialDecay(0.1, 10, 0.9)


@pytest.mark.parametrize(
    ("loss", "metrics", "message"),
    [
        ("categorical_crossentropy", None, "must have the same rank"),
        (CROSSENTROPY, [keras.metrics.F1Score()], "FBetaScore expects 2D"),
        (CROSSENTROPY, ["categorical_crossentropy"], "same rank"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_trains(
    loss: str, metrics: Any, message: str, text_encoder: Path, splits: Any
) -> None:
    model = build(text_encoder, "sgd", loss, metrics=metrics)
    before = model.get_weights()
    with pytest.raises(tt.InputError, match=f"loss and metrics .* classification .*{message}"):
        tt.fine_tune(model, *splits)
    for one, other in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_losses_of_several_tasks_are_tried_before_anything_trains(text_encoder: Path) -> None:
    tasks: Any = {"one": tt.tasks.Classification(["a", "b"]), "two": tt.tasks.Regression(0.0, 1.0)}
    model = tt.build_model(str(text_encoder), tasks)
    train = {
        "one": tt.data.Examples.from_lists(["x", "y"] * 4, ["a", "b"] * 4),
        "two": tt.data.Examples.from_lists(["x", "y"] * 4, [0.0, 1.0] * 4),
    }
    rows: Any = model.cut(train)
    for losses in ({"one": CROSSENTROPY, "two": "mae"}, {"one": tasks["one"].loss(), "two": "mae"}):
        model.compile("sgd", losses)
        judging.require_trainable(model, rows)
    for losses in ({"one": "categorical_crossentropy", "two": "mse"}, {"one": CROSSENTROPY}):
        model.compile("sgd", losses)
        with pytest.raises(tt.InputError, match="loss and metrics .* multi-task task gives them"):
            tt.fine_tune(model, train, train)


@pytest.mark.parametrize("given", [{"one": 10.0, "two": 0.0}, None])
def test_own_weights_of_losses_count_above_a_boundary(given: Any, bert_still: Path) -> None:
    tasks = {name: tt.tasks.Classification(["a", "b"]) for name in ("one", "two")}
    several = tt.tasks.MultiTask(tasks, weights={"one": 3.0, "two": 1.0})
    model = tt.build_model(str(bert_still), several, tt.Head(dropout=0.0), sequence_length=24)
    model.compile("sgd", dict.fromkeys(tasks, CROSSENTROPY), loss_weights=given)
    model.encoder.freeze_to(-1)
    boundary = model.boundary()
    assert boundary is not None
    rows: Any = {n: tt.data.Examples.from_lists(["a film", "bad"], ["a", "b"]) for n in tasks}
    inputs, *wanted = next(iter(model.preprocess(model.cut(rows), shuffle=False)))
    stored = {boundary.input_name: model.encoder.below(boundary.layer, inputs)}
    above = model.model_above(boundary).test_on_batch({**inputs, **stored}, *wanted)
    whole = model.test_on_batch(inputs, *wanted, return_dict=True)
    weights = given or {"one": 1.0, "two": 1.0}
    # Half of the rows are of each task.
    assert whole["loss"] == pytest.approx(
        sum(weights[name] * whole[f"{name}_loss"] for name in tasks) / 2, rel=1e-5
    )
    assert np.ravel(above)[0] == pytest.approx(whole["loss"], rel=1e-2)


def test_a_schedule_of_ones_own_takes_no_other_rate(text_encoder: Path, splits: Any) -> None:
    for optimizer in (
        keras.optimizers.SGD(DECAY),
        keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(DECAY)),
    ):
        model = build(text_encoder, optimizer, CROSSENTROPY, metrics=["accuracy"])
        with pytest.raises(tt.InputError, match="schedule of its own.*0.01 and ExponentialDecay"):
            tt.fine_tune(model, *splits, plan=tt.Plan(learning_rate=0.01))


def test_what_judges_is_reported(text_encoder: Path, splits: Any) -> None:
    model = build(text_encoder, keras.optimizers.Adam(1e-2), CROSSENTROPY)
    plan = tt.Plan(head_epochs=1, verbose=0)
    history = tt.fine_tune(model, *splits, epochs=2, unfreeze=1, plan=plan)
    assert len(history.history[judging.monitor(model)[0]]) == 3
    model._compile_metrics = None  # as of a model that never had any
    assert judging.monitor(model) == ("val_loss", "min")
