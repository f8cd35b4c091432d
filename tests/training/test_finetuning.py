"""Freezing and thawing: frozen weights stay identical to the bit, thawed ones move."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import tfhub_transfer as tt
from tfhub_transfer.callbacks.best_weights import KeepBest
from tfhub_transfer.optimization import optimizers
from tfhub_transfer.training.finetuning import groups_to_thaw
from tfhub_transfer.training.outcome import Outcome, best_epoch

OPTIMIZERS = {
    "adam": lambda: keras.optimizers.Adam(1e-2),
    "adamw": lambda: keras.optimizers.AdamW(1e-2, weight_decay=0.1),
    "momentum": lambda: keras.optimizers.SGD(0.1, momentum=0.9, clipnorm=1.0),
    "lamb": lambda: keras.optimizers.Lamb(1e-2),
    "lars": lambda: optimizers.Lars(1.0),
    "ema": lambda: keras.optimizers.Adam(1e-2, use_ema=True),
    "default": lambda: None,
}
KINDS = ("bert_encoder", "albert_encoder", "list_style_encoder", "text_encoder")


@pytest.fixture(scope="module")
def splits(sentiment: Any) -> tuple[Any, Any]:
    texts, labels = sentiment
    examples = tt.data.Examples.from_lists(texts, labels)
    return examples[:28], examples[28:]


def build(folder: Path, optimizer: Any = None, **kwargs: Any) -> tt.TransferModel:
    task = tt.tasks.Classification(["negative", "positive"])
    return tt.build_model(str(folder), task, optimizer=optimizer, sequence_length=24, **kwargs)


def snapshot(encoder: tt.Encoder) -> dict[str, list[np.ndarray]]:
    return {name: [v.numpy() for v in vs] for name, vs in encoder.layer_groups}


def check_moved(encoder: tt.Encoder, before: dict[str, list[np.ndarray]], thawed: int) -> None:
    groups = encoder.layer_groups
    for index, (name, variables) in enumerate(groups):
        for variable, old in zip(variables, before[name]):
            same = np.array_equal(variable.numpy(), old)
            if index < len(groups) - thawed:
                assert same, f"{name}: {variable.name} is frozen and moved"
            else:
                assert not same, f"{name}: {variable.name} is thawed and stayed"


@pytest.mark.exhaustive
@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [n if n == "adam" else pytest.param(n, marks=pytest.mark.slow) for n in OPTIMIZERS],
)
@pytest.mark.parametrize("kind", ("bert_encoder", "text_encoder"))
def test_callback_with_each_optimizer(
    kind: str, name: str, make_encoder: Callable, splits: Any
) -> None:
    model = build(make_encoder(kind), OPTIMIZERS[name]())
    before = snapshot(model.encoder)
    thawed = min(2, len(model.encoder.layer_groups))
    callback = tt.ProgressiveUnfreezing(start_epoch=1, epochs_per_group=1, num_groups=thawed)
    model.fit(model.preprocess(splits[0], 14), epochs=thawed + 1, callbacks=[callback], verbose=0)
    check_moved(model.encoder, before, thawed)


@pytest.mark.slow
@pytest.mark.parametrize(
    "kind",
    [k if k in KINDS[::3] else pytest.param(k, marks=pytest.mark.slow) for k in KINDS],
)
def test_recipe_with_each_encoder(
    kind: str, make_encoder: Callable, splits: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Whichever weights are best on validation, the last are those to look at.
    monkeypatch.setattr(KeepBest, "restore", lambda self: None)
    model = build(make_encoder(kind))
    before = snapshot(model.encoder)
    thawed = min(2, len(before))
    plan = tt.Plan(learning_rate=1e-2, head_epochs=2, verbose=0)
    history = tt.fine_tune(model, *splits, epochs=2, unfreeze=thawed, plan=plan)
    check_moved(model.encoder, before, thawed)
    assert history.head_epochs == 2
    assert len(history.history["val_loss"]) == 4
    assert {"features", "head", "fine_tuning"} <= set(history.seconds)
    assert history.truncation is not None
    assert (history.truncation.texts, history.truncation.of) == (0, 28)


def test_truncation_is_reported(
    bert_encoder: Path, splits: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    task = tt.tasks.Classification(["negative", "positive"])
    model = tt.build_model(str(bert_encoder), task, sequence_length=8)
    long = tt.data.Examples.from_lists(["good film " * 10, "bad"], ["positive", "negative"])
    plan = tt.Plan(head_epochs=1, verbose=2)
    history = tt.fine_tune(model, long, splits[1], unfreeze="none", plan=plan)
    assert (history.truncation.texts, history.truncation.tokens) == (1, 20 - 6)
    assert "At 8 tokens 1 of 2 texts were cut, 14 tokens lost" in capsys.readouterr().out


def test_each_stage_thaws_one_group_more(bert_encoder: Path, splits: Any) -> None:
    model = build(bert_encoder)
    seen: list[int] = []
    record = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: seen.append(len(model.encoder.trainable_variables))
    )
    callback = tt.ProgressiveUnfreezing(start_epoch=1, epochs_per_group=1, num_groups=3)
    model.fit(model.preprocess(splits[0]), epochs=5, callbacks=[callback, record], verbose=0)
    assert seen == [0, 2, 18, 34, 34]
    assert callback.thawed_at == [(1.0, 1), (2.0, 2), (3.0, 3)]


@pytest.mark.slow
def test_recipe_thaws_one_by_one_where_there_are_steps_enough(
    bert_encoder: Path, splits: Any
) -> None:
    def stages(batch_size: int) -> list[int]:
        model = build(bert_encoder)
        plan = tt.Plan(head_epochs=1, unfreezing_epochs=1.0, verbose=0)
        history = tt.fine_tune(
            model, *splits, epochs=1, unfreeze=3, batch_size=batch_size, plan=plan
        )
        return [count for _, count in history.thawed_groups]

    assert stages(batch_size=1) == [1, 2, 3]
    assert stages(batch_size=7) == [3]


@pytest.mark.slow
def test_thaws_when_the_monitored_value_stops_improving(bert_encoder: Path, splits: Any) -> None:
    model = build(bert_encoder, keras.optimizers.SGD(1e-12))
    callback = tt.ProgressiveUnfreezing(
        start_epoch=0, monitor="val_accuracy", patience=2, num_groups=2
    )
    validation = model.preprocess(splits[1], shuffle=False)
    model.fit(
        model.preprocess(splits[0]),
        validation_data=validation,
        epochs=4,
        callbacks=[callback],
        verbose=0,
    )
    assert callback.thawed_at == [(0.0, 1), (2.0, 2)]


def test_works_in_a_plain_keras_model(bert_encoder: Path) -> None:
    names = ("input_word_ids", "input_mask", "input_type_ids")
    inputs = {k: keras.Input((None,), dtype="int32", name=k) for k in names}
    encoder = tt.Encoder(str(bert_encoder))
    model = keras.Model(inputs, keras.layers.Dense(1)(encoder(inputs)["pooled_output"]))
    model.compile("adam", "mse")
    x = {k: np.ones((8, 5), "int32") for k in names}
    y = np.arange(8.0)
    model.fit(x, y, epochs=1, verbose=0)
    before, momentum = snapshot(encoder), model.optimizer._momentums[0].numpy()
    callback = tt.ProgressiveUnfreezing(start_epoch=0, num_groups=1)
    model.fit(x, y, epochs=1, callbacks=[callback], verbose=0)
    check_moved(encoder, before, 1)
    assert int(model.optimizer.iterations) == 2
    # The second gradient is much like the first one; a momentum that had been forgotten would be a
    # tenth of it alone.
    place = model.optimizer._get_variable_index(model.layers[-1].kernel)
    again = model.optimizer._momentums[place].numpy()
    assert np.abs(again - 1.9 * momentum).sum() < np.abs(again - momentum).sum()


def test_growing_keeps_the_state_of_the_optimizer(bert_encoder: Path, splits: Any) -> None:
    model = build(bert_encoder, keras.optimizers.Adam(1e-2))
    model.fit(model.preprocess(splits[0]), epochs=2, verbose=0)
    old = [v.numpy() for v in (*model.optimizer._momentums, *model.optimizer._velocities)]
    model.encoder.freeze_to(-1)
    optimizers.extend(model, model.trainable_variables)
    new = model.optimizer
    assert int(new.iterations) == 2
    assert len(new._momentums) == 4
    # The pooler's two come first, as in the model.
    for value, slot in zip(old, (*new._momentums[2:], *new._velocities[2:])):
        np.testing.assert_array_equal(value, slot.numpy())
    assert all((v.numpy() == 0).all() for v in (*new._momentums[:2], *new._velocities[:2]))


@pytest.mark.slow
def test_saved_while_thawed_the_optimizer_comes_back(
    bert_encoder: Path, splits: Any, tmp_path: Path
) -> None:
    model = build(bert_encoder, keras.optimizers.Adam(1e-2))
    callback = tt.ProgressiveUnfreezing(start_epoch=1, num_groups=2)
    model.fit(model.preprocess(splits[0], 14), epochs=3, callbacks=[callback], verbose=0)
    model.save(tmp_path / "model.keras")
    again = tt.load_model(tmp_path / "model.keras")
    assert len(again.trainable_variables) == 2 + 2 + 16
    for one, other in zip(model.optimizer.variables, again.optimizer.variables, strict=True):
        np.testing.assert_array_equal(
            keras.ops.convert_to_numpy(one.value), keras.ops.convert_to_numpy(other.value)
        )
    model.export(str(tmp_path / "exported"), verbose=False)


@pytest.mark.slow
def test_layer_decay_scales_the_steps(bert_encoder: Path, splits: Any) -> None:
    def moves(decay: float) -> list[float]:
        keras.utils.set_random_seed(3)
        model = build(bert_encoder, keras.optimizers.SGD(0.5))
        before = snapshot(model.encoder)
        callback = tt.ProgressiveUnfreezing(0, 1e-6, layer_decay=decay)
        data = model.preprocess(splits[0], 28, shuffle=False)
        # One step, and in the second epoch, when every group has thawed.
        model.fit(data, initial_epoch=1, epochs=2, callbacks=[callback], verbose=0)
        after = snapshot(model.encoder)
        return [max(float(np.abs(a - b).max()) for a, b in zip(after[g], before[g])) for g in after]

    plain, decayed = moves(1.0), moves(0.5)
    ratios = [d / p for d, p in zip(decayed, plain)]
    # float32 weights round the tiny steps, hence the tolerance.
    np.testing.assert_allclose(ratios, [0.5**3, 0.5**2, 0.5, 1.0], rtol=0.05)


def test_best_weights_come_back_even_those_before_training(bert_encoder: Path, splits: Any) -> None:
    model = build(bert_encoder, keras.optimizers.SGD(100.0))
    before = model.get_weights()
    keep = KeepBest("val_loss", "min", initial=0.0)
    validation = model.preprocess(splits[1], shuffle=False)
    model.fit(
        model.preprocess(splits[0]),
        validation_data=validation,
        epochs=1,
        callbacks=[keep],
        verbose=0,
    )
    for old, new in zip(before, model.get_weights()):
        np.testing.assert_array_equal(old, new)


def test_head_on_stored_features_equals_head_through_the_encoder(
    bert_encoder: Path, splits: Any
) -> None:
    model = build(bert_encoder)
    features = model.compute_features(splits[0])
    through_head = model.head_model().predict(features, verbose=0)
    np.testing.assert_allclose(through_head, model.predict_scores(splits[0]), atol=1e-6)


@pytest.mark.slow
def test_same_seed_same_weights(bert_encoder: Path, splits: Any) -> None:
    def run() -> list[np.ndarray]:
        tt.runtime.seed_everything(11)
        model = build(bert_encoder)
        plan = tt.Plan(head_epochs=2, seed=11, verbose=0)
        tt.fine_tune(model, *splits, epochs=1, unfreeze=1, plan=plan)
        return model.get_weights()

    for one, other in zip(run(), run()):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    ("unfreeze", "expected"), [("none", 0), ("all", 4), ("auto", 3), ("3", 3), (2, 2)]
)
def test_groups_to_thaw(unfreeze: Any, expected: int, bert_encoder: Path) -> None:
    assert groups_to_thaw(tt.Encoder(str(bert_encoder)), unfreeze) == expected


@pytest.mark.parametrize("unfreeze", ["99", "-1", "some", 1.5])
def test_groups_to_thaw_refuses(unfreeze: Any, bert_encoder: Path) -> None:
    with pytest.raises(tt.InputError, match=r"a number up to 4, .*embeddings, layer_0"):
        groups_to_thaw(tt.Encoder(str(bert_encoder)), unfreeze)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"start_epoch": -1}, "`start_epoch` must be a whole number from 0"),
        ({"epochs_per_group": 0}, "`epochs_per_group` must be a number above 0"),
        ({"num_groups": 0}, "`num_groups` must be a whole number from 1"),
        ({"layer_decay": 1.5}, "`layer_decay` must be a number above 0, up to 1"),
        ({"mode": "up"}, "`mode` must be auto, min or max"),
    ],
)
def test_callback_refuses(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(tt.InputError, match=message):
        tt.ProgressiveUnfreezing(**arguments)


def test_callback_refuses_a_model_without_encoder_and_too_many_groups(
    bert_encoder: Path, splits: Any
) -> None:
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile("adam", "mse")
    with pytest.raises(tt.InputError, match="holds no"):
        model.fit(np.ones((2, 2)), np.ones(2), callbacks=[tt.ProgressiveUnfreezing()], verbose=0)
    model = build(bert_encoder)
    callback = tt.ProgressiveUnfreezing(num_groups=9)
    with pytest.raises(tt.InputError, match="give `num_groups` up to 4. Received: 9"):
        model.fit(model.preprocess(splits[0]), callbacks=[callback], verbose=0)


@pytest.mark.parametrize("kind", ("bert_encoder", "text_encoder"))
def test_schedule_is_sized_to_each_run(kind: str, make_encoder: Callable, splits: Any) -> None:
    model = build(make_encoder(kind))
    schedule = model.optimizer._learning_rate
    model.fit(model.preprocess(splits[0], 14), epochs=5, verbose=0)
    assert (schedule.start, schedule.total_steps) == (0, 10)
    assert float(schedule(0)) == pytest.approx(schedule.peak)
    assert float(schedule(9)) == pytest.approx(schedule.peak * 1 / 10)
    model.fit(model.preprocess(splits[0], 14), epochs=1, verbose=0)
    assert (schedule.start, schedule.total_steps) == (10, 2)


def test_fine_tune_refuses_bad_arguments(bert_encoder: Path, splits: Any) -> None:
    model = build(bert_encoder)
    with pytest.raises(tt.InputError, match="`epochs` must be a whole number from 1"):
        tt.fine_tune(model, *splits, epochs=0)
    odd = tt.data.Examples.from_lists(["a"], ["neutral"])
    with pytest.raises(tt.InputError, match="every class must (occur in|be among)"):
        tt.fine_tune(model, splits[0], odd)
    with pytest.raises(tt.InputError, match="`learning_rate` must be a number above 0"):
        tt.fine_tune(model, *splits, plan=tt.Plan(learning_rate=-1.0, head_epochs=1, verbose=0))


@pytest.mark.parametrize("pooling", ["auto", pytest.param("attention", marks=pytest.mark.slow)])
def test_class_weights_reach_every_stage(pooling: str, bert_encoder: Path, splits: Any) -> None:
    """Where all rows weigh nothing there is no loss, with stored features and without."""
    model = build(bert_encoder, head=tt.Head(pooling=pooling))
    plan = tt.Plan(head_epochs=1, class_weight={0: 0.0, 1: 0.0}, verbose=0)
    history = tt.fine_tune(model, *splits, epochs=1, unfreeze=1, plan=plan)
    assert history.history["loss"] == [0.0, 0.0]
    assert min(history.history["val_loss"]) > 0


def test_what_is_traced_at_one_precision_doesnt_run_at_another(
    bert_encoder: Path, splits: Any
) -> None:
    model = build(bert_encoder)
    batches = model.preprocess(splits[0], 14, shuffle=False)

    def functions() -> tuple[Any, Any]:
        model.predict(batches, verbose=0)
        model.evaluate(batches, verbose=0)
        return model.predict_function, model.test_function

    first, again = functions(), functions()
    with tt.runtime.precision("bfloat16"):
        other = functions()
    assert all(a is b for a, b in zip(first, again))
    assert not any(a is b for a, b in zip(first, other))


def best_of(values: list[float], mode: str = "min", **settings: Any) -> tuple[Any, float]:
    """What `KeepBest` takes for the best of an epoch's values, and the weight it gives back."""
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, use_bias=False)])
    keep = KeepBest("val", mode, **settings)
    keep.set_model(model)
    model.set_weights([np.full((1, 1), -1.0)])
    keep.on_train_begin()
    for epoch, value in enumerate(values):
        model.set_weights([np.full((1, 1), float(epoch))])
        keep.on_epoch_end(epoch, {"val": value})
    keep.on_train_end()
    return keep, float(model.get_weights()[0][0, 0])


@pytest.mark.parametrize("mode", ["min", "max"])
def test_no_number_is_never_the_best(mode: str) -> None:
    nan = float("nan")
    keep, kept = best_of([nan, 2.0, nan], mode)
    assert (keep.best, keep.best_epoch, kept) == (2.0, 1, 1.0)
    keep, kept = best_of([3.0, 3.0], mode, initial=nan)
    assert (keep.best, keep.best_epoch, kept) == (3.0, 0, 0.0)
    keep, kept = best_of([nan, nan], mode)
    assert (keep.best, keep.best_epoch, kept) == (None, None, 1.0)
    keep, kept = best_of([nan, nan], mode, initial=1.0)
    assert (keep.best, kept) == (1.0, -1.0)


def test_no_number_is_waited_out_before_a_group_thaws() -> None:
    callback = tt.ProgressiveUnfreezing(start_epoch=0, monitor="val", mode="min", patience=2)
    callback._begin = lambda: True  # type: ignore[method-assign]
    callback._limit, callback._thawed, callback._waited, callback._best = 3, 1, 0, None
    thawed: list[int] = []
    callback._thaw = thawed.append  # type: ignore[method-assign]
    for epoch, value in enumerate([float("nan"), 2.0, 1.0, float("nan")]):
        callback.on_epoch_end(epoch, {"val": value})
    assert thawed == [] and callback._best == 1.0
    callback.on_epoch_end(4, {"val": 1.5})
    assert thawed == [2]


class Rates(keras.callbacks.Callback):
    """The learning rate of every step; and training may be cut off after an epoch."""

    def __init__(self, cut: bool = False) -> None:
        super().__init__()
        self.seen: list[float] = []
        self.cut = cut

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        optimizer = self.model.optimizer
        self.seen.append(float(optimizer._learning_rate(optimizer.iterations - 1)))

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.model.stop_training = self.cut


def test_a_run_that_goes_on_goes_on_with_its_schedule(text_encoder: Path, splits: Any) -> None:
    def rates(model: Any, *args: Any, cut: bool = False, **kwargs: Any) -> list[float]:
        watch = Rates(cut)
        model.fit(
            model.preprocess(splits[0], 7, seed=1), *args, callbacks=[watch], verbose=0, **kwargs
        )
        return watch.seen

    whole, parts = build(text_encoder), build(text_encoder)
    wanted = rates(whole, epochs=4)
    assert len(wanted) == 4 * int(whole.preprocess(splits[0], 7).cardinality())
    found = [rates(parts, epochs=4, initial_epoch=start, cut=True) for start in range(4)]
    np.testing.assert_allclose(np.concatenate(found), wanted, rtol=1e-6)
    # By place as by name: `fit(x, y, batch_size, epochs)`. And a second run is one of its own.
    np.testing.assert_allclose(rates(whole, None, None, 4), wanted, rtol=1e-6)


def test_a_stream_keeps_its_order_or_is_shuffled_by_seed(
    text_encoder: Path, tmp_path: Path
) -> None:
    numbers = [float(n) for n in range(40)]
    rows = "".join(f"good film {n},{n}\n" for n in numbers)
    (tmp_path / "rows.csv").write_text(f"text,label\n{rows}", encoding="utf-8")
    stream = tt.data.stream(tmp_path / "rows.csv")
    model = tt.build_model(str(text_encoder), tt.tasks.Regression(0.0, 1.0))

    def order(**settings: Any) -> list[float]:
        batches = model.preprocess(stream, 8, **settings)
        return [float(y) for _, labels in batches for y in labels]

    assert order(shuffle=False) == numbers
    first = order(seed=3)
    assert first == order(seed=3) != order(seed=4)
    assert first != numbers and sorted(first) == numbers
    passes = model.preprocess(stream, 8, seed=3)
    two = [[float(y) for _, labels in passes for y in labels] for _ in range(2)]
    assert two[0] == first != two[1]


def test_a_stage_says_what_it_kept(
    bert_encoder: Path, splits: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    model = build(bert_encoder)
    plan = tt.Plan(learning_rate=3.0, head_epochs=3, verbose=2)
    history = tt.fine_tune(model, *splits, epochs=2, unfreeze=1, plan=plan)
    head, thawed = history.outcomes
    # By Keras' own numbers: the head by the least loss, whatever comes after by accuracy.
    curves = history.history
    assert head.epoch == 1 + int(np.argmin(curves["val_loss"][:3])) and head.epochs == 3
    assert head.value == pytest.approx(curves["val_accuracy"][head.epoch - 1])
    later = curves["val_accuracy"][3:]
    assert thawed.before == head.value and thawed.tried == pytest.approx(max(later))
    assert (thawed.epoch is not None) == (max(later) > head.value)
    found = model.evaluate(model.preprocess(splits[1], shuffle=False), verbose=0, return_dict=True)
    assert found["accuracy"] == pytest.approx(history.history["val_accuracy"][history.best_epoch])
    shown = capsys.readouterr().out
    said = " ".join(shown.split())
    assert str(head) in said and str(thawed).partition("). Try")[0] in said
    report = tt.evaluate(model, splits[1])
    assert str(thawed) in report.notes and report.history["best_epoch"] == [history.best_epoch]


def test_outcomes_in_words() -> None:
    lost = Outcome("fine_tuning", "val_accuracy", 4, None, 0.8125, 0.8125, 0.8, groups=3)
    won = dataclasses.replace(lost, epoch=2, value=0.9, groups=1)
    head = Outcome("head", "val_accuracy", 9, 7, 0.8125)
    assert str(head) == "Head on the frozen encoder: kept epoch 7 of 9, val_accuracy 0.8125"
    assert str(won) == "Top group thawed: kept epoch 2 of 4, val_accuracy 0.9000 (before 0.8125)"
    assert "kept none of 4 epochs" in str(lost) and "0.8125 before them (best 0.8000)" in str(lost)
    assert "or fewer groups" in str(lost) and "groups (" not in str(
        dataclasses.replace(lost, groups=1)
    )
    assert won.lines(3.21) == f"{won}, 3.2 s"
    lines = lost.lines(18.5, "a task: ").splitlines()
    assert lines[0].startswith("a task: Top 3") and max(map(len, lines)) <= 120
    whole = " ".join(line.strip() for line in lines)
    assert "(best 0.8000), 18.5 s. Try a lower" in whole
    of_task = dataclasses.replace(head, stage="topic head")
    assert str(of_task).startswith("topic: Head on the frozen encoder: kept")
    assert "no number" in str(dataclasses.replace(lost, tried=float("nan")))
    assert best_epoch([head, won], 9) == 10 and best_epoch([head, lost], 9) == 6
    assert best_epoch([lost], 0) is None and best_epoch([won], 0) == 1
