"""Trials of several trainings: folds and seeds."""

import types
from pathlib import Path
from typing import Any

import keras_tuner
import numpy as np
import pytest

import tfhub_transfer as tt
from tfhub_transfer.callbacks.best_weights import FellApart
from tfhub_transfer.models.building import default_optimizer
from tfhub_transfer.training import finetuning
from tfhub_transfer.tuning import TransferHyperModel, luck, repeats, shared, trials

# One training is some epochs of a head, and two of a thawed encoder.
VALUES = {"unfreeze": 1, "learning_rate": 2e-3, "dropout": 0.2}
FIXED = {
    **dict.fromkeys(("layer_decay", "batch_size", "hidden_units", "head_learning_rate")),
    "epochs": 2,
}
SPACE = {**FIXED, "unfreeze": [0, 1], "learning_rate": [1e-3, 2e-3], "dropout": [0.1, 0.2]}


def task() -> Any:
    return tt.tasks.Classification(["negative", "positive"])


def hypermodel(folder: Path, splits: Any, **more: Any) -> TransferHyperModel:
    given = {"space": SPACE, "sequence_length": 24, "plan": tt.Plan(head_epochs=4, seed=5)}
    return TransferHyperModel(str(folder), task(), *splits, **{**given, **more})


def by_hand(folder: Path, fold: Any, seed: int, depth: int) -> tuple[Any, dict[str, float]]:
    """One training without any of this, and what `val_accuracy` and `val_loss` were."""
    tt.runtime.seed_everything(seed)
    encoder = tt.Encoder(str(folder))
    optimizer = default_optimizer(encoder, VALUES["learning_rate"])
    head = tt.Head(dropout=VALUES["dropout"])
    model = tt.build_model(encoder, task(), head, optimizer, sequence_length=24)
    plan = tt.Plan(head_epochs=4, seed=seed, verbose=0)
    history = tt.fine_tune(model, *fold, 2, depth, plan=plan)
    place = history.best_epoch
    return model, {name: history.history[name][place] for name in ("val_accuracy", "val_loss")}


@pytest.mark.parametrize(
    ("depth", "seeds"), [(0, (5,)), pytest.param(1, (5, 6), marks=pytest.mark.slow)]
)
def test_a_trial_is_worth_the_mean_of_its_trainings_to_the_digit(
    text_encoder: Path, splits: Any, depth: int, seeds: tuple[int, ...]
) -> None:
    made = hypermodel(text_encoder, splits, folds=2, seeds=len(seeds))
    pooled = tt.data.pool(*splits)
    first, second = tt.data.folds(pooled, 2, seed=5)
    assert made.folds == ((second, first), (first, second)) and made.trainings == 2 * len(seeds)
    hp = keras_tuner.HyperParameters()
    hp.values = {**VALUES, "unfreeze": depth}
    model = made.build(hp)
    found = made.fit(hp, model)
    folds = [(second, first), (first, second)]
    alone = [by_hand(text_encoder, fold, seed, depth) for seed in seeds for fold in folds]
    for name in ("val_accuracy", "val_loss"):
        assert found[name] == np.mean([each[name] for _, each in alone])
    assert repeats.scores_of(found) == tuple(each["val_accuracy"] for _, each in alone)
    assert len({each["val_loss"] for _, each in alone}) == len(alone)
    # The model that the tuner has is still that of the first training.
    for mine, its in zip(model.get_weights(), alone[0][0].get_weights()):
        np.testing.assert_array_equal(mine, its)
    thawed = [name for name, group in model.encoder.layer_groups if group[0].trainable]
    assert thawed == [name for name, _ in model.encoder.layer_groups][-1:][:depth]


def test_behind_the_last_seed_comes_the_first(text_encoder: Path, splits: Any) -> None:
    made = hypermodel(text_encoder, splits, plan=tt.Plan(seed=2**32 - 1), seeds=2)
    made._training = 1
    assert made._seed == 0


@pytest.mark.parametrize("folds", [1, 2])
def test_several_values_may_judge_together(
    text_encoder: Path, splits: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folds: int
) -> None:
    """KerasTuner counts what is to be high as negative, and adds."""
    made = hypermodel(text_encoder, splits, folds=folds)
    worth = {"val_accuracy": 0.75, "val_loss": 0.5}
    monkeypatch.setattr(made, "_worth", lambda *given: dict(worth))
    both = [made.objective, keras_tuner.Objective("val_loss", "min")]
    tuner = keras_tuner.RandomSearch(made, both, max_trials=1, directory=tmp_path)
    tuner.search(verbose=0)
    [trial] = tuner.oracle.trials.values()
    assert trial.score == -0.25 and trials.scores_of(trial) == (-0.25,) * folds
    # One that nobody reports is KerasTuner's to refuse.
    odd = keras_tuner.oracles.RandomSearchOracle(
        [*both, keras_tuner.Objective("odd", "min")]
    ).objective
    assert repeats.told(worth, odd) == worth


def test_what_is_kept_of_a_search_says_which_trial_to_take(
    text_encoder: Path, splits: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Scores as a training would give them, so that nothing trains."""
    made = hypermodel(text_encoder, splits, folds=3)
    given = {  # by dropout and depth
        (0.1, 1): (0.70, 0.80, 0.90),
        (0.2, 1): (0.79, 0.80, 0.81),
        (0.1, 0): (0.788, 0.798, 0.808),
        (0.2, 0): (0.1, 0.2, 0.3),
    }

    def worth(hp: Any, model: Any, how: Any, others: Any) -> dict[str, float]:
        row = given[hp.values["dropout"], hp.values["unfreeze"]]
        return {"val_accuracy": row[made._training], "val_loss": 1.0}

    monkeypatch.setattr(made, "_worth", worth)
    tuner = keras_tuner.GridSearch(
        made, made.objective, seed=1, directory=tmp_path, project_name="s"
    )
    tuner.search(verbose=0)
    first = tuner.oracle.get_trial(tuner.oracle.start_order[0])
    assert first.score == pytest.approx(0.80) and trials.scores_of(first) == given[0.1, 1]
    choice = made.best(tuner)
    assert tuner.oracle.trials[choice.trial].hyperparameters.values["dropout"] == 0.1
    assert "thaws 0 groups, not 1" in choice.reason
    search = tt.tuning.report_of(tuner).search
    assert search.noise == luck.noise([each.scores for each in made.scored(tuner)])
    assert search.default is not None and search.default.scores == given[0.1, 1]
    with pytest.raises(tt.InputError, match="so there is none to take.*Received: 0 trials"):
        made.best(keras_tuner.GridSearch(made, made.objective, directory=tmp_path / "other"))
    again = keras_tuner.GridSearch(
        made, made.objective, seed=1, directory=tmp_path, project_name="s"
    )
    assert made.scored(again) == made.scored(tuner) and made.best(again) == choice


def test_one_training_that_falls_apart_is_a_failed_trial(
    text_encoder: Path, splits: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = hypermodel(text_encoder, splits, folds=2)
    told: list[Any] = []

    def second_fails(*given: Any, **more: Any) -> Any:
        told.append(given)
        if len(told) == 2:
            raise FellApart("the loss is no finite number")
        return types.SimpleNamespace(
            best_epoch=0, history={}, outcomes=[types.SimpleNamespace(value=1)], epochs=1
        )

    monkeypatch.setattr(finetuning, "fine_tune", second_fails)
    hp = keras_tuner.HyperParameters()
    hp.values = {"unfreeze": 0, "dropout": 0.1}
    with pytest.raises(keras_tuner.errors.FailedTrialError, match="training 2 of 2: the loss is"):
        made.fit(hp, made.build(hp))
    assert made.build(hp) is not None and made._training == 0


def test_what_a_trial_was_is_told_without_another_model(
    bert_encoder: Path, splits: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = hypermodel(bert_encoder, splits, space={"pooling": ["auto", "mean"]})

    def told(depth: int) -> object:
        hp = keras_tuner.HyperParameters()
        hp.values = {"unfreeze": depth, "pooling": "mean"}
        return made.chosen(hp)["unfreeze"]

    assert told(3) == 2  # built once, as nobody knows it
    monkeypatch.setattr(made, "_make", None)
    assert told(3) == 2 and told(2) == 1 and told(0) == 0


def test_ids_are_made_once_for_each_text_and_found_in_any_order(
    bert_encoder: Path, splits: Any
) -> None:
    made = hypermodel(bert_encoder, splits, space={"unfreeze": 0})
    model = made.build(keras_tuner.HyperParameters())
    first, second = ([splits[0].texts[0][at] for at in row] for row in ((0, 1, 2), (3, 2, 0, 3)))
    plain, lost = model.layout.encode_and_count([second])
    made_of: list[str] = []
    encode = model.layout.encode_and_count

    def counted(texts: Any) -> Any:
        made_of.extend(texts[0])
        return encode(texts)

    model.layout.encode_and_count = counted  # type: ignore[method-assign]
    with made._grounds[""].ids.used_by(model):
        model.layout.encode_and_count([first])
        found, its = model.layout.encode_and_count([second])
        model.layout.encode_and_count([first + second])
    assert {*made_of[:3]} == {*first} and {*made_of[3:]} == {second[0]}
    assert {n: each.to_list() for n, each in found.items()} == {
        n: each.to_list() for n, each in plain.items()
    }
    np.testing.assert_array_equal(its, lost)


def test_hyperband_is_refused(text_encoder: Path, splits: Any, tmp_path: Path) -> None:
    made = hypermodel(text_encoder, splits, seeds=2, space={**SPACE, "epochs": None})
    tuner = keras_tuner.Hyperband(
        made, made.objective, max_epochs=3, directory=tmp_path, project_name="s"
    )
    with pytest.raises(ValueError, match="by RandomSearch, .*Received: 2 trainings a trial"):
        tuner.search(verbose=0)


def test_several_tasks_are_folded_each_by_itself(splits: Any) -> None:
    joint = tt.tasks.MultiTask({"a": task(), "b": task()})
    train, validation = ({"a": each, "b": each[:10]} for each in splits)
    found = repeats.folded(joint, train, validation, 2, 0)
    assert len(found) == 2
    for (taught, judged), (other, its) in zip(found, found[::-1]):
        assert judged == other and taught == its
        assert [*judged] == ["a", "b"] and abs(len(judged["b"]) - 10) <= 1


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"folds": 0}, "`folds` must be a whole number from 1"),
        ({"folds": True}, "`folds` must be a whole number .*Received: True"),
        ({"folds": 2.5}, "`folds` must be a whole number"),
        ({"seeds": 0}, "`seeds` must be a whole number from 1"),
        ({"folds": 1000}, "too few texts that differ for 1000 folds"),
    ],
)
def test_repeats_that_cant_be_are_one_line(
    text_encoder: Path, splits: Any, more: Any, message: str
) -> None:
    with pytest.raises(tt.InputError, match=message) as error:
        hypermodel(text_encoder, splits, **more)
    assert "\n" not in str(error.value)


def test_a_loss_is_tried_where_the_labels_suit_it(text_encoder: Path, splits: Any) -> None:
    texts = splits[0].texts[0]

    def pairs(labels: list[float]) -> Any:
        return tt.data.Examples.from_lists(texts[:8], labels * 4, text_pair=texts[8:16])

    def built(*labels: float) -> TransferHyperModel:
        task, rows = tt.tasks.Similarity(low=0, high=1), pairs([*labels])
        space = {"loss": ["cosine", "contrastive"], "unfreeze": 0}
        return TransferHyperModel(str(text_encoder), task, rows, rows, space=space)

    hp = keras_tuner.HyperParameters()
    hp.values = {"loss": "contrastive"}
    assert built(0, 1).build(hp).task.objective == "contrastive"
    with pytest.raises(tt.InputError, match="0.5"):
        built(0, 0.5)


def test_a_stream_is_not_folded(splits: Any) -> None:
    stream = tt.data.stream({"text": ["a", "b"], "label": [0, 1]})
    with pytest.raises(tt.InputError, match="folds are drawn from examples in memory"):
        repeats.folded(task(), stream, splits[1], 2, 0)


def test_what_is_lent_on_belongs_to_no_model_that_waits(text_encoder: Path) -> None:
    """Two models that were built before either was trained."""
    lends = shared.SharedEncoder(str(text_encoder))
    models: list[Any] = []
    for _ in range(2):
        model = type("Model", (), {"encoder": lends.lend(0), "unread_groups": ()})()
        lends.lent(model)
        models.append(model)
    first, second = (model.encoder for model in models)
    assert first is not second
    with lends.lent_on(models[0]):
        assert all(lends.lend(0) is not own for own in (first, second))
    # That which was lent last is lent on as ever.
    third = type("Model", (), {"encoder": lends.lend(0), "unread_groups": ()})()
    lends.lent(third)
    with lends.lent_on(third):
        assert lends.lend(0) is third.encoder
