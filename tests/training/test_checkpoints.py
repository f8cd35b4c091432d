"""Training that is killed goes on, and ends as if nothing had happened: the same to the bit."""

import os
import shutil
import signal
import threading
import warnings
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfhub_transfer as tt
from tfhub_transfer.optimization import optimizers
from tfhub_transfer.recipes import distillation
from tfhub_transfer.storage import scratch, signals
from tfhub_transfer.storage.notes import Lasting
from tfhub_transfer.training import checkpoints, describing, finetuning, identity, unfreezing
from tfhub_transfer.training.checkpoints import Checkpoint
from tfhub_transfer.training.snapshots import Snapshots

LONG = [pytest.mark.slow, pytest.mark.exhaustive]
PLAN = tt.Plan(verbose=0, seed=3, head_epochs=3, unfreezing_epochs=1.0)


@pytest.fixture(scope="module")
def splits(sentiment: Any) -> tuple[Any, Any]:
    examples = tt.data.Examples.from_lists(*sentiment)
    return examples[:28], examples[28:]


@pytest.fixture(autouse=True)
def every_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if each of them took long."""
    monkeypatch.setattr(checkpoints, "LEAST_SECONDS", 0.0)
    monkeypatch.setattr(checkpoints, "_TIMES", 0)


class Killed(BaseException):
    """What nothing in the package catches, as nothing outlives a kill."""


class Kill(keras.callbacks.Callback):
    """Kills when a batch of an epoch begins, counted through all stages."""

    def __init__(self, epoch: int | None = None, batch: int = 0) -> None:
        super().__init__()
        self.at, self.began = (epoch, batch), list[int]()

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.began.append(epoch)

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        if (self.began[-1], batch) == self.at:
            raise Killed


def build(folder: Path, seed: int = 7, several: bool = False, **head: Any) -> Any:
    tt.runtime.seed_everything(seed)
    task: Any = tt.tasks.Classification(["negative", "positive"])
    if several:
        task = {"one": task, "two": tt.tasks.Classification(["negative", "positive"])}
    head = {"dropout": 0.3, **head}
    return tt.build_model(str(folder), task, tt.Head(**head), sequence_length=24)


def tune(model: Any, splits: Any, **more: Any) -> Any:
    given = splits
    if isinstance(model, tt.MultiTaskModel):
        given = [{"one": split, "two": split[::2]} for split in splits]
    how = {"epochs": 3, "unfreeze": 1, "batch_size": 8, "plan": PLAN, **more}
    return tt.fine_tune(model, *given, **how)


def killed(model: Any, splits: Any, kill: Kill, **more: Any) -> None:
    with pytest.raises(Killed):
        tune(model, splits, callbacks=kill, **more)


def arrays(model: Any) -> list[np.ndarray]:
    every = (*model.weights, *model.optimizer.variables)
    return [keras.ops.convert_to_numpy(v.value) for v in every]


def check_same(one: Any, other: Any) -> None:
    for a, b in zip(arrays(one), arrays(other), strict=True):
        np.testing.assert_array_equal(a, b)
    assert one.history_ == other.history_


@pytest.fixture(scope="module")
def whole(text_encoder: Path, splits: Any) -> Any:
    model = build(text_encoder)
    tune(model, splits)
    return model


@pytest.mark.parametrize(
    "kill",
    [
        pytest.param((0, 0), id="before anything", marks=LONG),
        pytest.param((2, 0), id="in the head", marks=LONG),
        pytest.param((4, 1), id="in what thaws"),
    ],
)
def test_a_killed_training_goes_on_to_the_bit(
    kill: tuple[int, int], whole: Any, text_encoder: Path, splits: Any, tmp_path: Path
) -> None:
    model, first = build(text_encoder), Kill(*kill)
    killed(model, splits, first, checkpoint=tmp_path / "notes")
    # Whatever the head of the next process begins with: all is in the notes.
    model, second = build(text_encoder, seed=8), Kill()
    history = tune(model, splits, checkpoint=tmp_path / "notes", callbacks=second)
    check_same(whole, model)
    assert second.began[0] == kill[0] and second.began[-1] == 5
    assert len(history.history["loss"]) == 6
    assert list(tmp_path.iterdir()) == []  # nothing is left of it


class Worse(Kill):
    """Says that each epoch is worse than the one before."""

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        logs.update({"val_loss": 1.0 + epoch, "val_accuracy": 1.0 / (2 + epoch)})


def test_the_best_epoch_may_be_one_before_the_kill(
    text_encoder: Path, splits: Any, tmp_path: Path
) -> None:
    whole, how = build(text_encoder), {"unfreeze": "none", "checkpoint": tmp_path / "notes"}
    tune(whole, splits, unfreeze="none", callbacks=Worse())
    assert whole.history_["best_epoch"] == [0]
    killed(build(text_encoder), splits, Worse(2), **how)
    model = build(text_encoder, seed=8)
    tune(model, splits, callbacks=Worse(), **how)
    check_same(whole, model)


class KillEach(Kill):
    """Kills at some steps, each once; counts the batches that trained since the last kill."""

    def __init__(self, *steps: int) -> None:
        super().__init__()
        self.steps, self.trained = [*steps], 0

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        if self.steps and self.trained == self.steps[0]:
            self.steps.pop(0)
            self.trained = 0
            raise Killed
        self.trained += 1


KINDS = [
    pytest.param("text_encoder", {}, id="words", marks=pytest.mark.slow),
    pytest.param("bert_still", {}, id="vectors", marks=LONG),
    pytest.param("bert_still", {"pooling": "attention"}, id="tokens", marks=LONG),
    pytest.param("bert_still", {"several": True}, id="several", marks=LONG),
]


@pytest.mark.exhaustive
@pytest.mark.slow
def test_what_thawed_within_an_epoch_stays_thawed(
    bert_still: Path, splits: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unfreezing, "STAGE_STEPS", 0)
    plan = tt.Plan(verbose=0, head_epochs=1, unfreezing_epochs=1.0)
    how = {"plan": plan, "epochs": 1, "unfreeze": 3, "batch_size": 4}
    whole, model = build(bert_still), build(bert_still)
    tune(whole, splits, **how)
    assert len(whole.history_["thawed_groups"]) == 3
    notes = Checkpoint(Lasting(tmp_path / "notes"), minutes=0.0)
    killed(model, splits, Kill(1, 5), checkpoint=notes, **how)
    notes.folder.release()
    model = build(bert_still)
    tune(model, splits, checkpoint=tmp_path / "notes", **how)
    check_same(whole, model)


@pytest.mark.parametrize(("kind", "how"), KINDS)
def test_killed_within_epochs_again_and_again(
    kind: str, how: dict[str, Any], make_encoder: Any, splits: Any, tmp_path: Path
) -> None:
    """Two batches after each begin, which are one more than it needs to get on at all."""
    folder = make_encoder(kind)
    whole = build(folder, **how)
    tune(whole, splits)
    kill, kills = KillEach(*[3] * 40), 0
    while True:
        notes = Checkpoint(Lasting(tmp_path / "notes"), minutes=0.0)
        model = build(folder, seed=7 + kills, **how)
        try:
            tune(model, splits, checkpoint=notes, callbacks=kill)
        except Killed:
            kills += 1
            notes.folder.release()
            if kills > 2 and kind == "text_encoder":
                kill.steps.clear()  # it has seen enough
            continue
        break
    assert kills > 2
    check_same(whole, model)


@pytest.mark.exhaustive
@pytest.mark.slow
def test_a_stream_goes_on_in_its_order(text_encoder: Path, splits: Any, tmp_path: Path) -> None:
    table = dict(zip(("text", "label"), (splits[0].texts[0], splits[0].labels), strict=True))
    rows = tt.data.stream(table), splits[1]
    whole = build(text_encoder)
    tune(whole, rows)
    model = build(text_encoder)
    for kill in (Kill(1), Kill(4)):
        killed(model, rows, kill, checkpoint=tmp_path / "notes")
        model = build(text_encoder, seed=8)
    tune(model, rows, checkpoint=tmp_path / "notes")
    check_same(whole, model)


@pytest.mark.exhaustive
@pytest.mark.slow
def test_stages_of_ones_own_go_on_too(text_encoder: Path, splits: Any, tmp_path: Path) -> None:
    class Polishing(tt.Stage):
        name = "polishing"

        def run(self, training: Any) -> float:
            training.model.encoder.trainable = False
            for weight in training.model.encoder.weights:
                weight.assign(weight * 1.01)  # what is frozen may be moved all the same
            batches = training.model.preprocess(training.train, 8, seed=1)
            first = training.fit(self, batches, epochs=3)
            return max(first, training.fit(self, batches, epochs=1))

    plan = tt.Plan(verbose=0, head_epochs=1, stages=lambda usual: [usual[0], Polishing(), usual[1]])
    whole = build(text_encoder)
    tune(whole, splits, plan=plan)
    for seed, kill in ((7, Kill(2)), (8, Kill(4, 1)), (8, Kill(6))):
        killed(build(text_encoder, seed=seed), splits, kill, plan=plan, checkpoint=tmp_path / "n")
    model = build(text_encoder, seed=9)
    tune(model, splits, plan=plan, checkpoint=tmp_path / "n")
    check_same(whole, model)


@pytest.mark.exhaustive
@pytest.mark.slow
def test_early_stopping_goes_on_waiting(text_encoder: Path, splits: Any, tmp_path: Path) -> None:
    def stop() -> keras.callbacks.EarlyStopping:
        return keras.callbacks.EarlyStopping("val_loss", min_delta=9.0, patience=1)

    told: list[list[int]] = []
    for kills in ([None], [1, None]):
        for epoch in kills:
            own = [stop(), Kill(epoch)]
            how = {"checkpoint": tmp_path / "n", "callbacks": own, "unfreeze": "none"}
            if epoch is None:
                tune(build(text_encoder), splits, **how)
            else:
                with pytest.raises(Killed):
                    tune(build(text_encoder), splits, **how)
        told.append(own[1].began)
    assert (told[0], told[1]) == ([0, 1], [1])
    keeps = keras.callbacks.EarlyStopping(restore_best_weights=True)
    with pytest.raises(tt.InputError, match="leave `restore_best_weights` out.*Received: EarlySt"):
        tune(build(text_encoder), splits, checkpoint=tmp_path / "n", callbacks=keeps)


@pytest.mark.exhaustive
@pytest.mark.slow
def test_averages_are_not_taken_for_weights(
    text_encoder: Path, splits: Any, tmp_path: Path
) -> None:
    """At an epoch's end they stand in the weights' place, so that nothing is noted there."""

    def averaging() -> Any:
        model = build(text_encoder)
        optimizer = keras.optimizers.SGD(0.5, use_ema=True, ema_momentum=0.5)
        model.compile(optimizer, model.task.loss(), metrics=["accuracy"])
        return model

    whole = averaging()
    tune(whole, splits)
    killed(averaging(), splits, Kill(5), checkpoint=tmp_path / "notes")
    model = averaging()
    tune(model, splits, checkpoint=tmp_path / "notes")
    check_same(whole, model)


@pytest.mark.exhaustive
@pytest.mark.slow
def test_a_run_that_is_killed_at_the_very_end_thaws_what_had_thawed(
    whole: Any, text_encoder: Path, splits: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*args: Any) -> None:
        raise Killed

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(finetuning, "_finish", die)
        tune(build(text_encoder), splits, checkpoint=tmp_path / "notes")
    model, kill = build(text_encoder, seed=8), Kill()
    tune(model, splits, checkpoint=tmp_path / "notes", callbacks=kill)
    assert kill.began == []
    check_same(whole, model)
    flags = [[v.trainable for v in each.encoder.weights] for each in (whole, model)]
    assert flags[0] == flags[1] and any(flags[0])


@pytest.mark.exhaustive
@pytest.mark.slow
def test_a_stage_behind_trains_what_had_thawed(
    text_encoder: Path, splits: Any, tmp_path: Path
) -> None:
    class Behind(tt.Stage):
        name = "behind"

        def run(self, training: Any) -> float:
            batches = training.model.preprocess(training.train, 8, seed=1)
            return max(training.fit(self, batches, epochs=1) for _ in range(2))

    def plan() -> tt.Plan:
        return tt.Plan(verbose=0, head_epochs=1, stages=lambda usual: [*usual, Behind()])

    whole, how = build(text_encoder), {"epochs": 1, "checkpoint": tmp_path / "notes"}
    tune(whole, splits, plan=plan(), epochs=1)
    killed(build(text_encoder), splits, Kill(2, 1), plan=plan(), **how)
    model = build(text_encoder, seed=8)
    tune(model, splits, plan=plan(), **how)
    check_same(whole, model)


class StopAt(Kill):
    """Stops training in the midst of an epoch, and kills before validation has judged it."""

    def __init__(self, *at: int, kills: bool) -> None:
        super().__init__(*at)
        self.kills = kills

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        pass

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.model.stop_training |= (self.began[-1], batch) == self.at

    def on_test_begin(self, logs: Any = None) -> None:
        if self.kills and self.model.stop_training:
            raise Killed


@pytest.mark.exhaustive
@pytest.mark.slow
def test_what_stops_in_the_midst_of_an_epoch_trains_no_other(
    text_encoder: Path, splits: Any, tmp_path: Path
) -> None:
    whole = build(text_encoder)
    tune(whole, splits, callbacks=StopAt(4, 1, kills=False))
    notes = Checkpoint(Lasting(tmp_path / "notes"), minutes=0.0)
    killed(build(text_encoder), splits, StopAt(4, 1, kills=True), checkpoint=notes)
    notes.folder.release()
    model, again = build(text_encoder), StopAt(4, 1, kills=False)
    tune(model, splits, checkpoint=tmp_path / "notes", callbacks=again)
    assert again.began == [4]
    check_same(whole, model)


@pytest.mark.exhaustive
@pytest.mark.slow
def test_callbacks_of_keras_go_on_between_stages_too(
    text_encoder: Path, splits: Any, tmp_path: Path
) -> None:
    def own(place: Path, kill: Kill) -> list[Any]:
        table = keras.callbacks.CSVLogger(place / "curves.csv")
        best = keras.callbacks.ModelCheckpoint(place / "best.keras", save_best_only=True)
        return [table, best, kill]

    found = []
    for kills in ([Kill()], [Kill(2), Kill(3), Kill(5), Kill()]):
        place = tmp_path / str(len(kills))
        place.mkdir()
        for kill in kills:
            callbacks = own(place, kill)
            how = {"checkpoint": tmp_path / "notes", "callbacks": callbacks}
            if kill.at == (None, 0):
                tune(build(text_encoder), splits, **how)
            else:
                with pytest.raises(Killed):
                    tune(build(text_encoder), splits, **how)
                callbacks[0].csv_file.close()  # as a process does that dies
        lines = (place / "curves.csv").read_text().splitlines()
        found.append((lines, callbacks[1].best))
    assert found[0] == found[1] and len(found[0][0]) == 7


# Signals ----------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_signal_is_noted_at_the_end_of_the_step(
    whole: Any, text_encoder: Path, splits: Any, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    usual = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    request.addfinalizer(lambda: signal.signal(signal.SIGTERM, usual))

    class Send(Kill):
        def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
            if (self.began[-1], batch) == self.at:
                os.kill(os.getpid(), signal.SIGTERM)

    with (
        pytest.raises(signals.Interrupted),
        signals.handled(),
        Checkpointed(tmp_path) as notes,
    ):
        tune(build(text_encoder), splits, checkpoint=notes, callbacks=Send(4, 1))
    model, again = build(text_encoder, seed=8), Kill()
    with Checkpointed(tmp_path) as notes:
        tune(model, splits, checkpoint=notes, callbacks=again)
    assert again.began[0] == 4  # in its third batch
    check_same(whole, model)


class Checkpointed:
    """Notes that only signals make within an epoch, let go in the end."""

    def __init__(self, folder: Path) -> None:
        self.notes = Checkpoint(Lasting(folder / "notes"))

    def __enter__(self) -> Checkpoint:
        return self.notes

    def __exit__(self, *error: object) -> None:
        self.notes.folder.release()


# Replicas ----------------------------------------------------------------------------------------


def test_the_optimizer_goes_on_among_replicas(text_encoder: Path) -> None:
    with tf.distribute.OneDeviceStrategy("CPU:0").scope():  # which asks for its scope as others do
        first, other = build(text_encoder), build(text_encoder)
    with first.distribute_strategy.scope():
        first.optimizer.build(first.weights[::-1])
    known = optimizers.places(first)
    checkpoints._build_optimizer(other, known)
    assert known == optimizers.places(other) == [*range(len(first.weights))][::-1]


# What isn't gone on with -------------------------------------------------------------------------


@pytest.fixture(scope="module")
def left(text_encoder: Path, splits: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a training left that was killed in its head."""
    folder = tmp_path_factory.mktemp("left") / "notes"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checkpoints, "LEAST_SECONDS", 0.0)
        patch.setattr(checkpoints, "_TIMES", 0)
        killed(build(text_encoder), splits, Kill(2), checkpoint=folder)
    assert sorted(p.name for p in folder.glob("[!.]*")) == [
        *("epoch.npz", "history.csv", "stage.npz"),
    ]
    return folder


@pytest.fixture
def notes(left: Path, tmp_path: Path) -> Path:
    return shutil.copytree(left, tmp_path / "notes")


def began(model: Any, splits: Any, folder: Path, **more: Any) -> tuple[int, list[str]]:
    """With which epoch a training begins, and what it warns of."""
    kill = Kill()
    kill.on_train_batch_begin = _die  # type: ignore[method-assign]
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        killed(model, splits, kill, checkpoint=folder, **more)
    own = [
        str(each.message)
        for each in told
        if "checkpoint" in str(each.message) or "an earlier training" in str(each.message)
    ]
    return kill.began[0], own


def _die(batch: int, logs: Any = None) -> None:
    raise Killed


CHANGES: dict[str, tuple[dict[str, Any], str]] = {
    "epochs": ({"epochs": 4}, "epochs of fine_tuning was 3 and is 4"),
    "groups": ({"unfreeze": "none"}, "stages was head, fine_tuning and is head"),
    "batch": ({"batch_size": 9}, "batch_size of fine_tuning was 8 and is 9"),
    "seed": (
        {"plan": tt.Plan(verbose=0, seed=4, head_epochs=3)},
        "seed of the plan was 3 and is 4",
    ),
}


@pytest.mark.parametrize("name", CHANGES)
def test_another_training_begins_anew_and_says_why(
    name: str, text_encoder: Path, splits: Any, notes: Path
) -> None:
    how, said = CHANGES[name]
    epoch, told = began(build(text_encoder), splits, notes, **how)
    assert epoch == 0 and len(told) == 1 and said in told[0]


def test_what_a_stage_is_told_is_part_of_it() -> None:
    class Polishing(tt.Stage):
        name = "polishing"

        def __init__(self, rates: Any) -> None:
            self.rates, self._kept = rates, object()

        def run(self, training: Any) -> None:
            pass

    def facts(rates: Any, weight: Any = None) -> Any:
        plan = tt.Plan(class_weight=weight)
        return identity.as_json(identity.of_plan(plan, [Polishing(rates)]))

    class Other(Polishing):
        def run(self, training: Any) -> None:
            training.judge()

    one, other = (identity.of_plan(tt.Plan(), [kind(0.1)]) for kind in (Polishing, Other))
    assert identity.changed(one, other) == ["code of polishing changed"]
    weight = {np.int64(0): np.float32(0.5), np.int64(1): 2}
    before = facts([0.1, 0.2], weight)
    assert identity.changed(before, facts((0.1, 0.2), {0: 0.5, 1: 2})) == []
    assert identity.changed(before, facts([0.1, 0.3], weight)) == [
        "rates of polishing was [0.1, 0.2] and is [0.1, 0.3]"
    ]
    assert identity.changed(before, facts({"x": [0.5] * 99}, weight)) == [
        "rates of polishing changed"
    ]
    assert identity.changed(before, facts([0.1, 0.2])) == [
        "class_weight of the plan was {'0': 0.5, '1': 2} and is not given"
    ]


def test_labels_are_told_by_their_values() -> None:
    def facts(*labels: Any) -> Any:
        return identity.of_examples("x", tt.data.Examples.from_lists(["a", "b"], [*labels]))

    assert facts(*np.array([1.0, 2.5])) == facts(1.0, 2.5) != facts(1.0, 2.0)
    many = [f"label {number}" for number in range(20)]
    assert facts({*many}, {"x"}) == facts({*many[::-1]}, {"x"}) != facts({*many[1:]}, {"x"})


def weighed(delta: float) -> Any:
    def loss(labels: Any, scores: Any) -> Any:
        return delta * keras.losses.mean_squared_error(labels, scores)

    return loss


class Focal(keras.Loss):
    def __init__(self, gamma: float) -> None:
        super().__init__()
        self.gamma = gamma

    def call(self, labels: Any, scores: Any) -> Any:
        return (labels - scores) ** self.gamma


SCALE = 1.0
SHARES = tf.constant([1.0, 5.0])


def scaled(labels: Any, scores: Any) -> Any:
    return SHARES[0] * by_scale(keras.losses.mean_squared_error(labels, scores))


def by_scale(value: Any) -> Any:
    return value * SCALE


def held(shares: Any) -> Any:
    return lambda labels, scores: shares[0] * keras.losses.mean_squared_error(labels, scores)


def test_code_and_what_it_reads_are_part_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def told(value: Any) -> str:
        return str(describing.described(value))

    usual = told(scaled)
    assert told(scaled) == usual != told(weighed(1.0))
    assert told(held(tf.constant([1.0]))) == told(held(tf.constant([1.0])))
    assert told(held(tf.constant([1.0]))) != told(held(tf.constant([2.0])))
    assert told(tf.function(weighed(1.0))) != told(tf.function(weighed(2.0)))
    for name, other in (
        ("SCALE", 2.0),
        ("SHARES", tf.constant([2.0, 5.0])),
        ("by_scale", lambda value: value),
    ):
        with monkeypatch.context() as patch:
            patch.setitem(scaled.__globals__, name, other)
            assert told(scaled) != usual
    before = told(Focal(2.0))
    monkeypatch.setattr(Focal, "call", lambda self, labels, scores: labels - scores)
    assert told(Focal(2.0)) != before


LEARNED: dict[str, Any] = {
    "another name": lambda: ("mae", None, None),
    "a setting": lambda: (keras.losses.Huber(2.0), None, None),
    "one's own": lambda: (Focal(2.0), None, None),
    "of one's own, another": lambda: (Focal(3.0), None, None),
    "a function": lambda: (weighed(1.0), None, None),
    "what it holds": lambda: (weighed(2.0), None, None),
    "a weight": lambda: ("mse", [0.5], None),
    "metrics": lambda: ("mse", None, ["mae"]),
    "made metrics": lambda: ("mse", None, [keras.metrics.Mean(), keras.metrics.Accuracy()]),
    "named metrics": lambda: ("mse", None, [keras.metrics.Accuracy(name="right")]),
}


def test_other_losses_and_metrics_are_other_trainings(text_encoder: Path) -> None:
    tt.runtime.seed_everything(7)
    model = tt.build_model(str(text_encoder), tt.tasks.Regression(mean=0.0, deviation=1.0))
    usual, found = identity.of_model(model), []
    assert usual == identity.as_json(identity.of_model(model))
    for make in LEARNED.values():
        pair = []
        for _ in range(2):
            loss, weights, metrics = make()
            more = {"loss_weights": weights, "metrics": metrics, "jit_compile": False}
            model.compile(model.optimizer, loss, **more)
            pair.append(identity.of_model(model))
        assert pair[0] == pair[1]
        found.append((pair[0]["loss"], pair[0]["metrics"]))
        assert {n for n in usual if pair[0][n] != usual[n]} <= {"loss", "metrics"}
    assert len({*found}) == len(found)
    objective = model.layout.objective
    told = [
        describing.described(distillation._Taught(objective, heat).loss()) for heat in (1.0, 1.0, 2)
    ]
    assert told[0] == told[1] != told[2]


def test_other_texts_labels_and_models_are_other_trainings(
    text_encoder: Path, splits: Any, notes: Path
) -> None:
    assert began(build(text_encoder), splits, notes) == (2, [])
    train, validation = splits
    flipped = ["positive" if label == "negative" else "negative" for label in train.labels]
    other = tt.data.Examples.from_lists(train.texts[0], flipped)
    changed = {
        "the examples to train on changed": (build(text_encoder), (other, validation)),
        "the examples to judge by changed": (build(text_encoder), (train, validation[1:])),
        "head changed": (build(text_encoder, dropout=0.2), splits),
    }
    for said, (model, given) in changed.items():
        copied = shutil.copytree(notes, notes.with_name(said))
        epoch, told = began(model, given, copied)
        assert epoch == 0 and said in told[0] and "built anew" not in told[0]
    model = build(text_encoder)
    model.encoder.weights[0].assign(model.encoder.weights[0] * 2)
    epoch, told = began(model, splits, notes)
    assert epoch == 0 and "encoder changed" in told[0]
    assert "; what goes on is a model built anew, which hasn't trained" in told[0]


@pytest.mark.parametrize("name", ["stage", "epoch"])
def test_what_is_damaged_is_never_used(
    name: str, text_encoder: Path, splits: Any, notes: Path
) -> None:
    whole = (notes / f"{name}.npz").read_bytes()
    generator = np.random.default_rng(0)
    for kind in ("cut", "emptied", *["flipped"] * 40):
        broken = bytearray(whole[: len(whole) // 2] if kind == "cut" else whole)
        if kind == "flipped":
            broken[generator.integers(len(whole))] ^= 1 << int(generator.integers(8))
        (notes / f"{name}.npz").write_bytes(b"" if kind == "emptied" else broken)
        folder = Lasting(notes)
        try:
            found = folder.read(name)
        except Exception as error:
            assert type(error).__name__ == "Damaged"
        else:  # what nothing depends on, as the times of files in an archive
            (notes / f"{name}.npz").write_bytes(whole)
            again = folder.read(name)
            assert found is not None and again is not None and found.record == again.record
            assert all((a == again.arrays[k]).all() for k, a in found.arrays.items())
        folder.release()
    (notes / f"{name}.npz").write_bytes(whole[:-10])
    epoch, told = began(build(text_encoder), splits, notes)
    assert epoch == 0 and len(told) == 1 and "damaged" in told[0]


def test_only_goes_on_or_refuses(
    text_encoder: Path, splits: Any, notes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def resume(mode: str, folder: Path, **more: Any) -> int:
        held = Lasting(folder)
        try:
            return began(build(text_encoder), splits, Checkpoint(held, mode), **more)[0]  # type: ignore[arg-type]
        finally:
            held.release()

    assert resume("only", notes) == 2
    with monkeypatch.context() as patch:
        patch.setattr(checkpoints, "VERSION", checkpoints.VERSION + 1)
        with pytest.raises(tt.InputError, match="can't: version of checkpoints was 1 and is 2"):
            resume("only", notes)
    with pytest.raises(tt.InputError, match="can't: epochs of fine_tuning was 3 and is 4. Leave"):
        tune(build(text_encoder), splits, epochs=4, checkpoint=Checkpoint(Lasting(notes), "only"))
    with pytest.raises(tt.InputError, match="goes on with.*there is no checkpoint. Leave it out"):
        Checkpoint(Lasting(notes.with_name("none")), "only").check()
    again = shutil.copytree(notes, notes.with_name("again"))
    assert resume("never", again) == 0


def test_one_process_at_a_time_and_nothing_of_others(text_encoder: Path, tmp_path: Path) -> None:
    held = Lasting(tmp_path / "deep" / "notes")
    with pytest.raises(tt.InputError, match="another process trains there.*Received: .*notes"):
        Lasting(tmp_path / "deep" / "notes")
    held.release()
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "diary.txt").touch()
    with pytest.raises(tt.InputError, match="holds nothing else.*Received: .*diary.txt"):
        Lasting(tmp_path)
    Lasting(tmp_path, ours=True).discard()  # of an output, as a viewer of files leaves it
    assert [path.name for path in tmp_path.iterdir()] == ["diary.txt"]
    with pytest.raises(tt.InputError, match="a checkpoint is a folder.*which is a file"):
        Lasting(tmp_path / "diary.txt")


def test_notes_take_no_more_than_a_tenth_of_the_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [100.0]
    notes = Checkpoint(Lasting(tmp_path / "notes"))
    monkeypatch.setattr(checkpoints, "_TIMES", 10)
    monkeypatch.setattr(checkpoints.time, "perf_counter", lambda: clock[0])

    def take() -> Any:  # copies of all weights, say, by a slow device
        clock[0] += 3.0
        return {"a": np.zeros(3)}

    notes.note({}, take)
    due = []
    for _ in range(2):
        clock[0] += 20.0
        due.append(notes.is_due())
    assert due == [False, True]
    notes.folder.discard()


@pytest.mark.parametrize("how", [pytest.param("full", marks=pytest.mark.slow), "needed"])
def test_a_full_disk_costs_the_notes_alone(
    how: str, text_encoder: Path, splits: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*args: Any) -> None:
        raise OSError(28, "No space left on device")

    taken, take = list[Any](), Snapshots.take

    def counted(*args: Any, **kwargs: Any) -> Any:
        taken.append(args)
        return take(*args, **kwargs)

    monkeypatch.setattr(Snapshots, "take", counted)
    notes = Checkpoint(Lasting(tmp_path / "notes"), minutes=0.0)
    if how == "full":
        monkeypatch.setattr(Lasting, "write", full)
    else:
        monkeypatch.setattr(Lasting, "free", 2_000_000)
        notes.spare = 1_999_999  # of the output
    model = build(text_encoder)
    with pytest.warns(UserWarning, match=r"no checkpoint can be written \(No space left on devi"):
        history = tune(model, splits, checkpoint=notes, unfreeze="none")
    assert len(history.history["loss"]) == 3 and list(tmp_path.rglob("*.npz")) == []
    assert len(taken) == 1  # before the stage, not at each step
    notes.folder.release()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.exhaustive
@pytest.mark.slow
def test_a_folder_that_goes_costs_the_notes_alone(
    text_encoder: Path, splits: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Remove(Kill):
        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            os.chdir(tmp_path / "other")
            if epoch == 2:
                shutil.rmtree(tmp_path / "notes")

        def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
            there.append((tmp_path / "notes" / "epoch.npz").exists())

    there = list[bool]()
    (tmp_path / "other").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.warns(UserWarning, match="no checkpoint can be written"):
        history = tune(
            build(text_encoder), splits, checkpoint="notes", callbacks=Remove(), epochs=1
        )
    assert len(history.history["loss"]) == 4 and there[:3] == [False, True, False]
    assert [path.name for path in tmp_path.rglob("*")] == ["other"]


def test_a_sudden_end_leaves_the_notes(
    text_encoder: Path, splits: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What another thread removed, on the way to it, is no full disk."""
    notes, usual = Checkpoint(Lasting(tmp_path / "notes")), Lasting.write

    def write(folder: Any, name: str, *given: Any) -> None:
        if name == "epoch":
            monkeypatch.setattr(scratch, "_sudden", threading.Event())
            monkeypatch.setattr(scratch, "_live", set())
            scratch.discard_all()
            raise FileNotFoundError
        usual(folder, name, *given)

    monkeypatch.setattr(Lasting, "write", write)
    killed(build(text_encoder), splits, Kill(1), checkpoint=notes, unfreeze="none")
    assert not notes.folder.is_empty
    notes.folder.release()


def test_what_others_do_to_the_folder_is_no_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: Any, **kwargs: Any) -> None:
        raise OSError(30, "Read-only file system")

    held = Lasting(tmp_path / "notes")
    held.write("stage", {}, {"a": np.zeros(3)})
    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", refuse)
        held.remove("stage")
        held.discard()
    assert (tmp_path / "notes" / "stage.npz").is_file()
    first = Lasting(tmp_path / "notes")
    shutil.rmtree(tmp_path / "notes")
    with pytest.raises(OSError, match="its folder was removed"):
        first.write("stage", {}, {})
    second = Lasting(tmp_path / "notes")  # of another process, as if
    second.write("stage", {}, {})
    with pytest.raises(OSError, match="its folder was removed"):
        first.write("stage", {}, {})
    first.remove("stage")
    assert first.is_empty and not second.is_empty
    first.discard()
    assert second.read("stage") is not None
    second.discard()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_what_a_stage_says_may_be_no_json(text_encoder: Path, splits: Any, tmp_path: Path) -> None:
    class Odd(tt.Stage):
        name = "odd"

        def run(self, training: Any) -> None:
            pass

        def state(self) -> Any:
            return {"set": {1, 2}}

    plan = tt.Plan(verbose=0, stages=lambda usual: [Odd()])
    with pytest.warns(UserWarning, match="no checkpoint can be written .*not JSON serializable"):
        tune(build(text_encoder), splits, plan=plan, checkpoint=tmp_path / "notes")


@pytest.mark.slow
def test_a_mistake_that_is_none_of_the_training_leaves_the_notes(
    text_encoder: Path, splits: Any, tmp_path: Path
) -> None:
    class Full(Kill):
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            if epoch == 1:
                raise tt.InputError("the model can't be saved. Received: a full disk")

    with pytest.raises(tt.InputError, match="a full disk"):
        tune(build(text_encoder), splits, checkpoint=tmp_path / "notes", callbacks=Full())
    assert began(build(text_encoder), splits, tmp_path / "notes") == (1, [])


@pytest.mark.slow
def test_what_fell_apart_is_not_gone_on_with(
    text_encoder: Path, splits: Any, tmp_path: Path
) -> None:
    class Spoil(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            for weight in self.model.trainable_weights:
                weight.assign(weight * float("nan"))

    with pytest.raises(tt.InputError, match="training fell apart"):
        tune(build(text_encoder), splits, checkpoint=tmp_path / "notes", callbacks=Spoil())
    assert list(tmp_path.iterdir()) == []
