"""Callbacks of users: in every stage of `fine_tune`, and beside thawing in `fit`, in any order."""

import csv
import json
import re
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import tfhub_transfer as tt
from tfhub_transfer.callbacks import own as own_callbacks
from tfhub_transfer.models import compiling
from tfhub_transfer.optimization.optimizers import AdamW

callbacks = keras.callbacks


@pytest.fixture(scope="module")
def splits(sentiment: Any) -> tuple[Any, Any]:
    examples = tt.data.Examples.from_lists(*sentiment)
    return examples[:28], examples[28:]


def build(folder: Path, optimizer: Any = None, **settings: Any) -> tt.TransferModel:
    keras.utils.set_random_seed(0)
    task = tt.tasks.Classification(["negative", "positive"])
    head = tt.Head(dropout=0.0, **settings)
    return tt.build_model(str(folder), task, head, optimizer, sequence_length=24)


class Diary(callbacks.Callback):
    """Writes down what it is told."""

    def __init__(self) -> None:
        super().__init__()
        self.trained: list[Any] = []
        self.epochs: list[tuple[int, dict[str, float]]] = []
        self.told: list[str] = []

    def on_train_begin(self, logs: Any = None) -> None:
        self.trained.append(self.model)

    def on_train_end(self, logs: Any = None) -> None:
        self.told.append("end")

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.epochs.append((epoch, dict(logs or {})))

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.told.append("batch")

    def on_test_end(self, logs: Any = None) -> None:
        self.told.append("test")


@pytest.mark.parametrize(
    ("kind", "pooling"),
    [("text_encoder", "auto"), pytest.param("bert_encoder", "mean", marks=pytest.mark.slow)],
)
def test_callbacks_reach_every_stage(
    kind: str, pooling: str, make_encoder: Any, splits: Any, tmp_path: Path
) -> None:
    model, diary = build(make_encoder(kind), "sgd", pooling=pooling), Diary()
    file, kept = tmp_path / "log.csv", tmp_path / "best.keras"
    own = [
        diary,
        callbacks.CSVLogger(file),
        callbacks.LearningRateScheduler(lambda epoch: 0.1 / (1 + epoch)),
        [callbacks.ModelCheckpoint(kept, monitor="val_loss", save_best_only=True)],
        callbacks.TensorBoard(tmp_path / "board"),
        callbacks.TerminateOnNaN(),
    ]
    plan = tt.Plan(head_epochs=2, verbose=0)
    history = tt.fine_tune(model, *splits, epochs=3, unfreeze=1, plan=plan, callbacks=own)
    assert [epoch for epoch, _ in diary.epochs] == [0, 1, 2, 3, 4]
    assert len(diary.trained) == diary.told.count("end") == 2
    assert diary.trained[0] is not diary.trained[1]
    assert {"batch", "test"} < {*diary.told}
    assert [logs["val_loss"] for _, logs in diary.epochs] == history.history["val_loss"]
    np.testing.assert_allclose(
        history.history["learning_rate"], [0.1 / (1 + epoch) for epoch in range(5)], rtol=1e-5
    )
    rows = list(csv.DictReader(file.read_text(encoding="utf-8").splitlines()))
    assert [row["epoch"] for row in rows] == ["0", "1", "2", "3", "4"]
    assert [float(row["loss"]) for row in rows] == pytest.approx(history.history["loss"])
    # What was saved is the whole model, as of its best epoch.
    again = tt.load_model(kept)
    batches = again.preprocess(splits[1], shuffle=False)
    found = again.evaluate(batches, verbose=0, return_dict=True)
    # Stored tokens are in bfloat16.
    within = 1e-5 if kind == "text_encoder" else 2e-3
    assert found["loss"] == pytest.approx(min(history.history["val_loss"]), rel=within)


def test_a_callback_ends_a_stage_and_begins_anew_in_the_next(
    text_encoder: Path, splits: Any
) -> None:
    stop = callbacks.EarlyStopping("val_loss", min_delta=1e9, patience=1)
    plan, log = tt.Plan(head_epochs=5, verbose=0), callbacks.CSVLogger("/dev/null")
    model, diary = build(text_encoder), Diary()
    tt.fine_tune(model, *splits, epochs=4, plan=plan, callbacks=[stop, diary, log])
    assert [epoch for epoch, _ in diary.epochs] == [0, 1, 2, 3]
    assert (log.append, log.append_header) == (False, True)  # for the next fit


@pytest.mark.slow
def test_the_head_of_each_task_has_the_callbacks(text_encoder: Path, splits: Any) -> None:
    task = tt.tasks.Classification(["negative", "positive"])
    model, diary = tt.build_model(str(text_encoder), {"one": task, "two": task}), Diary()
    train, validation = ({"one": part, "two": part} for part in splits)
    plan = tt.Plan(head_epochs=2, verbose=0)
    tt.fine_tune(model, train, validation, epochs=1, plan=plan, callbacks=diary)
    assert [epoch for epoch, _ in diary.epochs] == [0, 1, 2, 3, 4]
    assert len({id(each) for each in diary.trained}) == 3
    assert "val_one_loss" in diary.epochs[-1][1]
    assert "val_accuracy" in diary.epochs[0][1]
    with pytest.raises(tt.InputError, match="one CSV file can't hold.*Received: CSVLogger"):
        tt.fine_tune(model, train, validation, callbacks=callbacks.CSVLogger("x.csv"))


REFUSED = {
    "backup": (lambda: callbacks.BackupAndRestore("x"), "BackupAndRestore: its backup is of one"),
    "averages": (lambda: callbacks.SwapEMAWeights(), "SwapEMAWeights: the head trains by"),
    "thawing": (lambda: tt.ProgressiveUnfreezing(), "`fine_tune` thaws by itself"),
    "rate": (
        lambda: callbacks.LearningRateScheduler(lambda epoch: 0.1),
        "follows a schedule.*AdamW.*Received: LearningRateScheduler, and WarmUpLinearDecay",
    ),
    "plateau": (
        lambda: callbacks.ReduceLROnPlateau(),
        "follows a schedule.*Received: ReduceLROnPlateau, and WarmUpLinearDecay",
    ),
    "no such value": (
        lambda: callbacks.EarlyStopping("val_f1", mode="max"),
        "EarlyStopping asks for .* expected one of accuracy, loss, val_accuracy, val_loss. "
        "Received: 'val_f1'",
    ),
    "a file named after none": (
        lambda: callbacks.ModelCheckpoint("{epoch}-{val_f1:.2f}.keras"),
        "ModelCheckpoint asks for a value that training doesn't report.*Received: 'val_f1'",
    ),
    "no file of a model": (
        lambda: callbacks.ModelCheckpoint("model.h5"),
        "a model's file must be named `.keras`. Received: model.h5",
    ),
    "no instance": (lambda: callbacks.EarlyStopping, r"such as EarlyStopping\(\.\.\.\)"),
    "text": (lambda: "early_stopping", "takes Keras callbacks. Received: 'early_stopping'"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_serve_in_stages_is_refused_before_training(
    name: str, text_encoder: Path, splits: Any
) -> None:
    make, message = REFUSED[name]
    model = build(text_encoder)
    before = model.get_weights()
    with pytest.raises(tt.InputError, match=message):
        tt.fine_tune(model, *splits, callbacks=[make()])
    for one, other in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_what_others_report_may_be_waited_for() -> None:
    check, stop = own_callbacks.check_names, callbacks.EarlyStopping("mine", mode="min")
    check([Diary(), stop], ["loss"])  # a diary's entry, for all that is known
    check([callbacks.ModelCheckpoint("{epoch}.keras", "none")], ["loss"])  # it saves each
    rate = callbacks.ModelCheckpoint("{learning_rate}.keras")
    check([callbacks.ReduceLROnPlateau("loss"), rate], ["loss"])
    for asked in ([stop], [rate], [callbacks.ReduceLROnPlateau("mine")]):
        with pytest.raises(tt.InputError, match="expected one of loss. Received: "):
            check(asked, ["loss"])


def several(variable: Any) -> keras.optimizers.Optimizer:
    return keras.optimizers.Adam()


@pytest.mark.parametrize(
    ("optimizer", "received"),
    [(None, "none"), (keras.optimizers.MultiOptimizer(several), "MultiOptimizer")],
)
def test_no_optimizer_that_can_thaw_is_told_before_anything_trains(
    optimizer: Any, received: str, text_encoder: Path, splits: Any
) -> None:
    model = build(text_encoder)
    model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"])
    before = model.get_weights()
    for train in (
        lambda: tt.fine_tune(model, *splits),
        lambda: fit(model, splits[0], []),
    ):
        with pytest.raises(tt.InputError, match=f"trained by one optimizer.*Received: {received}"):
            train()
    for one, other in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_rate_that_a_function_gives_is_that_of_a_number(text_encoder: Path, splits: Any) -> None:
    found = []
    for rate in (0.1, lambda: 0.1):
        model = build(text_encoder, keras.optimizers.SGD(rate))
        thaw = tt.ProgressiveUnfreezing(0, layer_decay=0.5)
        model.fit(model.preprocess(splits[0], 14, shuffle=False), verbose=0, callbacks=[thaw])
        found.append(model.get_weights())
    for one, other in zip(*found, strict=True):
        np.testing.assert_array_equal(one, other)
    with pytest.raises(tt.InputError, match="a callback can't set.*Received: ReduceLROnPlateau"):
        fit(model, splits[0], [callbacks.ReduceLROnPlateau()])


def test_a_head_alone_has_a_rate_that_callbacks_set(text_encoder: Path, splits: Any) -> None:
    model, plan = build(text_encoder), tt.Plan(head_epochs=2, verbose=0)
    scheduler = callbacks.LearningRateScheduler(lambda epoch, rate: rate / 2)
    history = tt.fine_tune(model, *splits, unfreeze="none", plan=plan, callbacks=[scheduler])
    assert history.history["learning_rate"] == pytest.approx([2.5e-3, 1.25e-3])


# By hand ----------------------------------------------------------------------------------------


def fit(model: Any, train: Any, own: list[Any], **settings: Any) -> Any:
    thaw = tt.ProgressiveUnfreezing(start_epoch=1)
    batches = model.preprocess(train, 14, shuffle=settings.pop("shuffle", False))
    judged = model.preprocess(train, shuffle=False)
    place = settings.pop("thaw_at", len(own))
    given = [*own[:place], thaw, *own[place:]]
    return model.fit(
        batches, validation_data=judged, epochs=4, verbose=0, callbacks=given, **settings
    )


class Killed(RuntimeError):
    pass


class Kill(callbacks.Callback):
    def __init__(self, epoch: int) -> None:
        super().__init__()
        self.epoch = epoch

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        if epoch == self.epoch:
            raise Killed


def arrays(model: Any) -> list[np.ndarray]:
    return [keras.ops.convert_to_numpy(v) for v in (*model.weights, *model.optimizer.variables)]


@pytest.mark.parametrize(
    ("kind", "first"),
    [
        ("text_encoder", True),
        pytest.param("text_encoder", False, marks=pytest.mark.slow),
        pytest.param("bert_still", True, marks=pytest.mark.slow),
        pytest.param("bert_still", False, marks=[pytest.mark.slow, pytest.mark.exhaustive]),
    ],
)
def test_a_killed_run_goes_on_from_its_backup(
    kind: str, first: bool, make_encoder: Any, splits: Any, tmp_path: Path
) -> None:
    """In either order, to the weights and the state of a run that nothing killed."""
    folder = make_encoder(kind)
    whole = build(folder)
    fit(whole, splits[0], [], shuffle=True)
    backup = callbacks.BackupAndRestore(tmp_path / "backup")
    with pytest.raises(Killed):
        own = [backup, Kill(3)]
        fit(build(folder), splits[0], own, thaw_at=1 if first else 0, shuffle=True)
    assert json.loads((tmp_path / "backup/training_metadata.json").read_text())["epoch"] == 3
    again = build(folder)
    diary = Diary()
    anew = callbacks.BackupAndRestore(tmp_path / "backup")
    fit(again, splits[0], [anew, diary], thaw_at=1 if first else 0, shuffle=True)
    assert [epoch for epoch, _ in diary.epochs] == [3]
    for one, other in zip(arrays(whole), arrays(again), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)


@pytest.mark.slow
def test_an_interrupted_run_goes_on_in_the_same_process(
    text_encoder: Path, splits: Any, tmp_path: Path
) -> None:
    """As who runs a cell of a notebook again; the schedule is at the step of the backup."""
    whole, model = build(text_encoder), build(text_encoder)
    fit(whole, splits[0], [])

    class Interrupt(callbacks.Callback):
        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            if int(self.model.optimizer.iterations) == 5:  # in the middle of the third epoch
                raise Killed

    with pytest.raises(Killed):
        fit(model, splits[0], [callbacks.BackupAndRestore(tmp_path / "b"), Interrupt()])
    fit(model, splits[0], [callbacks.BackupAndRestore(tmp_path / "b")])
    for one, other in zip(arrays(whole), arrays(model), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)
    # The next run begins at its beginning.
    batches = model.preprocess(splits[0], 14)
    assert len(model.fit(batches, epochs=1, verbose=0).history["loss"]) == 1


def test_a_backup_does_not_hold_what_a_monitor_waits_for(text_encoder: Path, splits: Any) -> None:
    model = build(text_encoder)
    own = [callbacks.BackupAndRestore("x"), tt.ProgressiveUnfreezing(monitor="val_loss")]
    with pytest.raises(tt.InputError, match="a backup doesn't hold.*monitor='val_loss'"):
        model.fit(model.preprocess(splits[0]), callbacks=own)


BY_HAND = {
    "scheduler": lambda folder: callbacks.LearningRateScheduler(lambda epoch: 0.1 / (1 + epoch)),
    "plateau": lambda folder: callbacks.ReduceLROnPlateau("val_loss", min_delta=9, patience=1),
    "checkpoint": lambda folder: callbacks.ModelCheckpoint(folder / "a.keras"),
    "stopping": lambda folder: callbacks.EarlyStopping("val_loss", restore_best_weights=True),
    "board": lambda folder: callbacks.TensorBoard(folder / "board"),
    "log": lambda folder: callbacks.CSVLogger(folder / "a.csv"),
    "averages": lambda folder: callbacks.SwapEMAWeights(swap_on_epoch=True),
    "no number": lambda folder: callbacks.TerminateOnNaN(),
}


LONG = [pytest.mark.slow, pytest.mark.exhaustive]


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=LONG[: 1 + (n not in ("scheduler", "averages"))]) for n in BY_HAND],
)
def test_others_beside_thawing_in_any_order(
    name: str, text_encoder: Path, splits: Any, tmp_path: Path
) -> None:
    found = []
    for place in (0, 1):
        model = build(text_encoder, AdamW(0.1, use_ema=name == "averages"))
        history = fit(model, splits[0], [BY_HAND[name](tmp_path)], thaw_at=place).history
        assert len(history["loss"]) == 4
        if name == "scheduler":
            assert history["learning_rate"] == pytest.approx([0.1, 0.05, 0.1 / 3, 0.025])
        if name == "plateau":
            assert history["learning_rate"][-1] < 1e-3
        found.append(arrays(model))
    for one, other in zip(*found, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)


def test_a_schedule_and_what_sets_rates_are_refused_by_hand(
    text_encoder: Path, splits: Any
) -> None:
    model = build(text_encoder)
    with pytest.raises(tt.InputError, match=r"optimizer=keras.optimizers.AdamW\(1e-4\)"):
        fit(model, splits[0], [callbacks.ReduceLROnPlateau()])
    assert not int(model.optimizer.iterations)


def top_two(y_true: Any, y_pred: Any) -> Any:
    """A metric as a function."""
    return keras.ops.max(y_pred, axis=-1)


def test_values_go_by_the_names_that_keras_gives_them() -> None:
    named = type("TopTwo", (), {"__call__": lambda self, y, p: top_two(y, p)})()
    given = {"metrics": [keras.metrics.AUC, top_two, named, "mse"]}
    # Keras counts those of a process.
    names = {re.sub(r"^auc_\d+$", "auc", name) for name in compiling.metric_names(given)}
    assert names == {"auc", "top_two", "mse"}
    waits = keras.callbacks.EarlyStopping(monitor="val_lost")
    logger = keras.callbacks.CSVLogger("log.csv")
    own_callbacks.check_names([keras.callbacks.EarlyStopping("val_weighted_auc_1")], ["val_auc"])
    with pytest.raises(tt.InputError, match="doesn't report.*Received: 'val_lost'"):
        own_callbacks.check_names([logger, waits], ["val_loss"])
