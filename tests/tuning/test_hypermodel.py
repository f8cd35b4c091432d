"""Trials on one shared encoder: each as if it were alone, with any of KerasTuner's tuners."""

import json
import os
import socket
import subprocess
import sys
import types
import weakref
from pathlib import Path
from typing import Any

import keras_tuner
import numpy as np
import pytest

import tfhub_transfer as tt
from tfhub_transfer.callbacks.best_weights import FellApart
from tfhub_transfer.encoders import preprocessing
from tfhub_transfer.models import forward
from tfhub_transfer.models.building import default_optimizer
from tfhub_transfer.training import finetuning
from tfhub_transfer.tuning import TransferHyperModel, trials

pytestmark = [
    # KerasTuner's weights alone come back, to a fresh optimizer.
    pytest.mark.filterwarnings("ignore:Skipping variable loading for optimizer"),
    # Of so few points nothing more can be told.
    pytest.mark.filterwarnings("ignore:The optimal value found for"),
]
# One draw of a thawed trial for each encoder, none of whose values is the default.
_RATES = {"learning_rate": 2e-3, "layer_decay": 0.7, "batch_size": 16, "head_learning_rate": 2e-3}
TEXT = {"unfreeze": 1, "hidden_units": 8, "dropout": 0.2, **_RATES}
BERT = {"unfreeze": 3, "hidden_units": 64, "dropout": 0.2, "pooling": "mean", **_RATES}
SMALL = {
    **{"unfreeze": ["none", 1], "learning_rate": [1e-4, 1e-3], "dropout": [0.1, 0.5]},
    **dict.fromkeys(("layer_decay", "batch_size", "hidden_units", "head_learning_rate")),
}


def task() -> Any:
    return tt.tasks.Classification(["negative", "positive"])


def hypermodel(folder: Path, splits: Any, space: Any = None, **more: Any) -> TransferHyperModel:
    return TransferHyperModel(
        str(folder), task(), *splits, space=space, **{"sequence_length": 24, **more}
    )


def drawn(values: dict[str, Any]) -> keras_tuner.HyperParameters:
    hp = keras_tuner.HyperParameters()
    hp.values = dict(values)
    return hp


def trained(made: TransferHyperModel, values: dict[str, Any]) -> tuple[Any, dict[str, float]]:
    hp = drawn(values)
    model = made.build(hp)
    return model, made.fit(hp, model)


def by_hand(folder: Path, splits: Any, values: dict[str, Any]) -> tuple[Any, Any]:
    """The same without any of this: an encoder of its own, `build_model` and `fine_tune`."""
    tt.runtime.seed_everything(0)
    encoder = tt.Encoder(str(folder))
    names = ("pooling", "hidden_units", "dropout")
    head = tt.Head(**{name: values[name] for name in names if name in values})
    optimizer = default_optimizer(encoder, values.get("learning_rate"))
    model = tt.build_model(encoder, task(), head, optimizer, sequence_length=24)
    rates = {n: values[n] for n in ("head_learning_rate", "layer_decay") if n in values}
    batch = values.get("batch_size", 32)
    history = tt.fine_tune(
        model, *splits, None, values["unfreeze"], batch, tt.Plan(**rates, verbose=0)
    )
    return model, history


@pytest.mark.parametrize(
    ("name", "before", "values", "unfreeze"),
    [
        ("text_encoder", {**TEXT, "learning_rate": 0.1}, TEXT, 1),
        # Pooler and two layers are 3 groups; a mean doesn't read the pooler.
        pytest.param(
            *("bert_encoder", {**BERT, "unfreeze": 4, "pooling": "first"}, BERT, 2),
            marks=pytest.mark.slow,
        ),
    ],
)
def test_a_trial_is_what_it_would_be_alone_to_the_bit(
    splits: Any, request: Any, name: str, before: Any, values: Any, unfreeze: int
) -> None:
    """Behind another one, which left the encoder, and its dropout, changed."""
    folder = request.getfixturevalue(name)
    made = hypermodel(folder, splits)
    other, _ = trained(made, before)
    del other
    model, found = trained(made, values)
    alone, history = by_hand(folder, splits, {**values, "unfreeze": unfreeze})
    assert len(model.weights) == len(alone.weights) >= 5
    for mine, its in zip(model.get_weights(), alone.get_weights()):
        np.testing.assert_array_equal(mine, its)
    # Of epochs that weren't kept, too, whose weights nobody sees.
    assert model.history_["loss"] == alone.history_["loss"]
    assert found["val_accuracy"] == history.outcomes[-1].value
    if history.best_epoch is not None:
        assert found["val_loss"] == history.history["val_loss"][history.best_epoch]


def test_all_trials_have_one_encoder_unless_somebody_keeps_a_model(
    text_encoder: Path, splits: Any
) -> None:
    made = hypermodel(text_encoder, splits)
    first = weakref.ref(made.build(drawn({**TEXT, "unfreeze": 0})))
    encoder = made.encoder
    kept = made.build(drawn(TEXT))
    assert first() is None and kept.encoder is encoder
    before = kept.predict_scores(splits[1])
    other, _ = trained(made, TEXT)
    # What somebody has is not changed under their hands.
    assert other.encoder is not encoder and made.encoder is other.encoder
    np.testing.assert_array_equal(kept.predict_scores(splits[1]), before)
    assert np.abs(other.predict_scores(splits[1]) - before).max() > 0.01


@pytest.mark.exhaustive
@pytest.mark.slow
def test_trials_share_what_was_computed(
    bert_encoder: Path, splits: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Ids of texts, vectors of a frozen encoder, and what frozen layers give."""
    monkeypatch.setenv("TFHUB_TRANSFER_CACHE_DIR", str(tmp_path))
    passed: list[str] = []

    def counted(kind: Any, name: str, what: str) -> None:
        plain = getattr(kind, name)

        def counting(*given: Any, **more: Any) -> Any:
            passed.append(what)
            return plain(*given, **more)

        monkeypatch.setattr(kind, name, counting)

    counted(preprocessing.BertPreprocessor, "_encode_and_count", "ids")
    counted(forward.Forward, "run", "vectors")
    counted(tt.Encoder, "below", "lower layers")
    made = hypermodel(bert_encoder, splits)
    frozen = {name: BERT[name] for name in ("pooling", "hidden_units", "dropout")}
    frozen |= {"unfreeze": 0, "head_learning_rate": 1e-3}
    trained(made, frozen)
    assert {*passed} == {"ids", "vectors"}
    passed.clear()
    _, found = trained(made, {**frozen, "hidden_units": 0, "dropout": 0.4})
    assert not passed and found
    thawed = {**BERT, "unfreeze": 2, "pooling": "auto"}  # with the lower layer frozen
    trained(made, thawed)
    assert "lower layers" in passed
    passed.clear()
    trained(made, {**thawed, "learning_rate": 1e-4, "hidden_units": 0})
    assert not passed


def test_an_encoder_that_is_given_stays_as_it_is(bert_encoder: Path, splits: Any) -> None:
    encoder = tt.Encoder(str(bert_encoder))
    # Its weights, not those of its file.
    for weight in encoder.weights[:3]:
        weight.assign(weight.value * 1.5)
    encoder.leave_out("pooler")
    before = [np.array(weight) for weight in encoder.weights]
    made = TransferHyperModel(encoder, task(), *splits, sequence_length=24)
    model = made.build(drawn(BERT))
    assert model.encoder is not encoder and model.encoder.left_out == ("pooler",)
    assert [name for name, _ in model.encoder.layer_groups] == ["embeddings", "layer_0", "layer_1"]
    for _, group in model.encoder.layer_groups:  # as a training would
        for weight in group:
            weight.assign(weight.value + 1.0)
    for now, old in zip(encoder.weights, before):
        np.testing.assert_array_equal(now, old)
    del model
    for now, old in zip(made.build(drawn(BERT)).encoder.weights, before):
        np.testing.assert_array_equal(now, old)


TUNERS = {
    "random": (keras_tuner.RandomSearch, {"max_trials": 3}),
    "bayesian": (keras_tuner.BayesianOptimization, {"max_trials": 3, "num_initial_points": 2}),
    "grid": (keras_tuner.GridSearch, {"max_trials": 3}),
    "hyperband": (keras_tuner.Hyperband, {"max_epochs": 3}),
}


# Hyperband's trials are those of the others, and rounds behind them.
@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [n if n == "hyperband" else pytest.param(n, marks=pytest.mark.exhaustive) for n in TUNERS],
)
def test_any_tuner_begins_with_the_librarys_own_defaults(
    text_encoder: Path, splits: Any, tmp_path: Path, name: str
) -> None:
    made = hypermodel(text_encoder, splits, SMALL)
    kind, more = TUNERS[name]
    tuner = kind(made, made.objective, seed=3, directory=tmp_path, project_name="s", **more)
    tuner.search(verbose=0)
    oracle = tuner.oracle
    first = oracle.trials[oracle.start_order[0]]
    own = {k: v for k, v in first.hyperparameters.values.items() if not k.startswith("tuner/")}
    assert own == {"unfreeze": 1, "learning_rate": 1e-3, "dropout": 0.1}
    assert {trial.status for trial in oracle.trials.values()} == {"COMPLETED"}
    if name != "bayesian":  # which may ask for the same again
        drawings = {str(trial.hyperparameters.values) for trial in oracle.trials.values()}
        assert len(drawings) == len(oracle.trials)
    _, history = by_hand(text_encoder, splits, own)
    assert first.score == history.outcomes[-1].value  # with Hyperband as well: trained whole
    # Models come back with the weights of their trial, each on an encoder of its own.
    best = oracle.get_best_trials(2)
    for trial, model in zip(best, tuner.get_best_models(2)):
        batches = model.preprocess(splits[1], shuffle=False)
        found = model.evaluate(batches, verbose=0, return_dict=True)
        assert found["accuracy"] == pytest.approx(trial.score, abs=1e-6)
    if name == "hyperband":
        later = [t for t in oracle.trials.values() if "tuner/trial_id" in t.hyperparameters.values]
        for trial in later:  # goes on where the earlier one was, and keeps what was better
            earlier = oracle.trials[trial.hyperparameters.values["tuner/trial_id"]]
            assert trial.score >= earlier.score
        assert later


def test_executions_of_one_trial_differ_by_their_seed(text_encoder: Path, splits: Any) -> None:
    made = hypermodel(text_encoder, splits, SMALL)
    hp = drawn({"unfreeze": 0, "dropout": 0.1})
    first = made.build(hp).get_weights()
    second = made.build(hp).get_weights()
    again = made.build(drawn({"unfreeze": 0, "dropout": 0.1})).get_weights()
    assert all(map(np.array_equal, first, again))
    assert not all(map(np.array_equal, first, second))


def test_what_falls_apart_is_a_failed_trial_with_its_reason(
    text_encoder: Path,
    splits: Any,
    tmp_path: Path,
    capsys: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = hypermodel(text_encoder, splits, {**SMALL, "unfreeze": 1, "dropout": 0.1})
    fine_tune = finetuning.fine_tune

    def fails_at_low_rates(*given: Any, **more: Any) -> Any:
        if given[6].learning_rate < 5e-4:
            raise FellApart("the loss is no finite number")
        return fine_tune(*given, **more)

    monkeypatch.setattr(finetuning, "fine_tune", fails_at_low_rates)
    tuner = keras_tuner.GridSearch(made, made.objective, directory=tmp_path, project_name="s")
    tuner.search(verbose=0)
    capsys.readouterr()  # KerasTuner prints where it came from
    found = [(trial.status, trial.message) for trial in tuner.oracle.trials.values()]
    assert [status for status, _ in found] == ["COMPLETED", "FAILED"]
    assert "the loss is no finite number" in found[1][1]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"optimizer": "adam"}, "a search may be told head, loss, .*Received: optimizer"),
        ({"plan": 3}, "`plan` must be the finer settings .*Received: 3"),
        ({"plan": tt.Plan(log_dir="logs")}, "all trials would write into one `log_dir`"),
        ({"space": {"odd": 1}}, "there is no such setting to search"),
    ],
)
def test_what_cant_be_searched_is_refused(
    text_encoder: Path, splits: Any, more: Any, message: str
) -> None:
    with pytest.raises(tt.InputError, match=message):
        hypermodel(text_encoder, splits, **more)


def test_a_mistake_ends_the_search(text_encoder: Path, splits: Any, tmp_path: Path) -> None:
    """KerasTuner would count any other error as a failed trial, and go on."""
    made = hypermodel(text_encoder, splits, {**SMALL, "unfreeze": 1, "epochs": [1, 2]})
    tuner = keras_tuner.RandomSearch(made, made.objective, directory=tmp_path, project_name="s")
    with pytest.raises(ValueError, match="call `search` without any. Received: 2"):
        tuner.search(*splits, verbose=0)
    with pytest.raises(ValueError, match="take them out of the space. Received: epochs=2"):
        tuner.search(epochs=2, verbose=0)


@pytest.mark.parametrize("name", ["label_smoothing", "l2"])
def test_trials_of_different_losses_are_not_compared_by_them(
    text_encoder: Path, splits: Any, tmp_path: Path, name: str
) -> None:
    """A penalty, and smoothed labels, are in the loss: the least would be that of none."""
    made = hypermodel(text_encoder, splits, {"unfreeze": 0, name: "search"})
    trials.require_comparable(made.space.searched, made.objective, made.reported)
    low, high = keras_tuner.Objective("val_loss", "min"), made.objective
    message = f"another `objective` .*, of val_accuracy.* Received: val_loss, and a space of {name}"
    for objective in (low, [low, high]):
        tuner = keras_tuner.RandomSearch(
            made, objective, max_trials=1, directory=str(tmp_path / name), overwrite=True
        )
        with pytest.raises(keras_tuner.errors.FatalValueError, match=message):
            tuner.search(verbose=0)
    fixed = hypermodel(text_encoder, splits, {"unfreeze": 0, name: 0.1})
    trials.require_comparable(fixed.space.searched, low, fixed.reported)


def test_epochs_may_be_said_for_all_trials(text_encoder: Path, splits: Any) -> None:
    made = hypermodel(text_encoder, splits, SMALL)
    heard: list[int] = []

    class Hears(tt.FiniteLoss):
        def on_train_begin(self, logs: Any = None) -> None:
            super().on_train_begin(logs)
            heard.append(self.params["epochs"])

    hp = drawn({"unfreeze": 1, "learning_rate": 1e-3, "dropout": 0.1})
    found = made.fit(hp, made.build(hp), epochs=2, callbacks=[Hears()])
    assert heard[-1] == 2 and 0 <= found[made.objective.name] <= 1


def test_several_tasks_are_judged_by_their_mean(text_encoder: Path, splits: Any) -> None:
    tasks = {"a": task(), "b": task()}
    both = [dict.fromkeys(tasks, each) for each in splits]
    made = TransferHyperModel(
        str(text_encoder), tasks, *both, space={"unfreeze": 0}, sequence_length=24
    )
    assert (made.objective.name, made.objective.direction) == ("val_mean", "max")
    _, found = trained(made, {"dropout": 0.1})
    assert found["val_mean"] == pytest.approx(
        (found["val_a_accuracy"] + found["val_b_accuracy"]) / 2
    )


def test_what_nobody_chooses_is_each_tasks_own(text_encoder: Path, splits: Any) -> None:
    names = ["negative", "positive"]
    tasks = {
        "a": tt.tasks.Classification(names, label_smoothing=0.2),
        "b": tt.tasks.Classification(names),
    }
    heads = {"a": tt.Head(hidden_units=8, l2=0.1), "b": tt.Head(dropout=0.3)}
    both = [dict.fromkeys(tasks, each) for each in splits]
    others = dict.fromkeys(("hidden_units", "head_learning_rate"))
    for space, l2 in (({}, (0.1, 0.0)), ({"l2": 0.5}, (0.5, 0.5))):
        made = TransferHyperModel(
            *(str(text_encoder), tasks, *both),
            space={"unfreeze": 0, "dropout": [0.1, 0.2], **others, **space},
            head=heads,
        )
        parts = made.build(drawn({"dropout": 0.2})).parts
        own = [parts[name].head for name in tasks]
        assert [each.hidden_units for each in own] == [8, 0]
        assert [each.dropout for each in own] == [0.2, 0.2]  # which is searched, for all of them
        assert tuple(each.l2 for each in own) == l2
        assert [parts[name].task.label_smoothing for name in tasks] == [0.2, 0.0]


def test_the_first_trial_is_told_by_its_number() -> None:
    def told(trial_id: str) -> Any:
        return [types.SimpleNamespace(trial=types.SimpleNamespace(trial_id=trial_id))]

    assert trials.is_first(told("000")) and not trials.is_first(told("010"))
    assert not trials.is_first([])


def test_what_goes_on_with_the_first_trial_of_hyperband_was_trained_as_long_as_it_needs() -> None:
    """The first is the defaults, trained whole; what it is numbered as says less."""
    given = {
        "0000": {"tuner/epochs": 2},
        "0001": {"tuner/epochs": 2},
        "0002": {"tuner/epochs": 4, "tuner/trial_id": "0000"},
        "0003": {"tuner/epochs": 4, "tuner/trial_id": "0001"},
        "0010": {"tuner/epochs": 8, "tuner/trial_id": "0002"},
        "0011": {"dropout": 0.1},
    }
    oracle = types.SimpleNamespace()
    known = {n: keras_tuner.engine.trial.Trial(drawn(values), n) for n, values in given.items()}
    oracle.get_trial = known.__getitem__
    found = {name: trials.epochs_of(oracle, trial) for name, trial in known.items()}
    own = {"0001": 2, "0003": 4}
    assert found == {**dict.fromkeys(given), **own}


class Named(tt.Stage):
    """A stage that does nothing."""

    def __init__(self, name: str) -> None:
        self.name = name

    def run(self, training: Any) -> None:
        del training


def test_a_later_round_goes_on_with_what_thaws_and_trains_no_head_anew() -> None:
    head, thawed = Named("head"), Named("fine_tuning")
    plan = trials.continued(tt.Plan())
    assert plan.arranged([head, thawed]) == [thawed]
    # Frozen there is nothing left to do but to measure.
    assert [each.name for each in plan.arranged([head])] == ["standing"]


def test_defaults_are_the_same_however_a_space_arrives() -> None:
    """KerasTuner sends it by kinds of values: what depends on a choice stands before it then."""
    hp = keras_tuner.HyperParameters()
    hp.Choice("unfreeze", [0, 1, 2], default=1)
    with hp.conditional_scope("unfreeze", [1, 2]):
        hp.Float("learning_rate", 1e-5, 1e-3, default=3e-5)
        hp.Choice("pooling", ["mean", "first"])
        with hp.conditional_scope("pooling", ["mean"]):
            hp.Int("warmup", 0, 4, default=2)
    hp.values = {"unfreeze": 0, "tuner/epochs": 2}
    arrived = keras_tuner.HyperParameters.from_proto(hp.to_proto())
    assert [each.name for each in arrived.space] != [each.name for each in hp.space]
    own = {"unfreeze": 1, "learning_rate": 3e-5, "pooling": "mean", "warmup": 2}
    for each in (hp, arrived):
        assert trials.defaults(each) == {"tuner/epochs": 2, **own}


OWN_SCRIPT = """
import json, sys
import keras_tuner
import tfhub_transfer as tt
from tfhub_transfer.optimization import planning
planning.HEAD_STEPS, planning.THAWED_STEPS = 40, 8
encoder, folder = sys.argv[1:]
texts = [f"{what} film {n}" for n in range(12) for what in ("good", "bad")]
rows = tt.data.Examples.from_lists(texts, ["negative", "positive"] * 12)
made = tt.tuning.TransferHyperModel(
    encoder, tt.tasks.Classification(["negative", "positive"]), rows[:16], rows[16:],
    space={"unfreeze": ["none", 1]}, sequence_length=24)
tuner = keras_tuner.RandomSearch(
    made, made.objective, max_trials=4, seed=1, directory=folder, project_name="own")
tuner.search(verbose=0)
found = sorted(tuner.oracle.trials.items()) if hasattr(tuner.oracle, "trials") else []
print(json.dumps([[t.status, t.score, t.hyperparameters.values] for _, t in found]))
"""


@pytest.mark.exhaustive
@pytest.mark.slow
def test_a_tuner_of_ones_own_has_kerastuners_chief_and_workers(
    text_encoder: Path, tmp_path: Path
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = str(taken.getsockname()[1])
    place = {"KERASTUNER_ORACLE_IP": "127.0.0.1", "KERASTUNER_ORACLE_PORT": port}
    found = []
    for names, folder in ((["chief", "one", "two"], "several"), ([None], "alone")):
        words = [sys.executable, "-c", OWN_SCRIPT, str(text_encoder), str(tmp_path / folder)]
        started = [
            subprocess.Popen(
                words,
                env={**os.environ, **({**place, "KERASTUNER_TUNER_ID": name} if name else {})},
                stdout=subprocess.PIPE,
                text=True,
            )
            for name in names
        ]
        said = [each.communicate(timeout=200)[0] for each in started]
        assert [each.returncode for each in started] == [0] * len(names)
        found.append(json.loads(said[0].splitlines()[-1]))
    several, alone = found
    assert [status for status, _, _ in several] == ["COMPLETED"] * 4
    # What KerasTuner sends of a score is a float32.
    assert [score for _, score, _ in several] == pytest.approx([s for _, s, _ in alone], rel=1e-6)
    assert [values for _, _, values in several] == [values for _, _, values in alone]
