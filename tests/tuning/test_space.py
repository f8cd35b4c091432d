"""What a search looks through: names, values, ranges; and what is refused of them."""

from pathlib import Path
from typing import Any

import keras_tuner
import pytest

import tfhub_transfer as tt
from tfhub_transfer.tuning import SEARCHED, SETTINGS, Range
from tfhub_transfer.tuning.space import Space, known_settings

TASK = tt.tasks.Classification(["a", "b"])


@pytest.fixture(scope="module")
def encoder(bert_encoder: Path) -> tt.Encoder:
    """BERT of 2 layers, whose groups are embeddings, layer_0, layer_1 and pooler."""
    return tt.Encoder(str(bert_encoder))


def space(encoder: Any, given: Any = None, task: Any = TASK, **plan: Any) -> Space:
    return Space(known_settings(encoder, task, None, tt.Plan(**plan)), given)


def test_every_setting_is_known_and_the_defaults_are_the_librarys(encoder: tt.Encoder) -> None:
    made = space(encoder)
    assert {*made.known} == {*SETTINGS} - {
        "loss",
        "encoder",
        "decoder_layers",
        "towers",
    }  # of which there is one
    assert {*made.searched} == {*SEARCHED} - {"towers"}
    # As `fine_tune`, `Plan`, `Head` and `default_optimizer` have them, written down anew.
    assert made.defaults() == {
        **{"unfreeze": 3, "optimizer": "adamw", "learning_rate": 1e-4, "warmup": 0.1},
        **{"layer_decay": 0.9, "epochs": 0, "batch_size": 32, "pooling": "auto", "block": "none"},
        **{"hidden_units": 0, "dropout": 0.1, "l2": 0.0, "head_learning_rate": 5e-3},
        "label_smoothing": 0.0,
    }
    head, plan = tt.Head(), tt.Plan()
    found = made.defaults()
    assert (head.dropout, head.l2, plan.layer_decay) == (0.1, 0.0, 0.9)
    assert all(found[name] == getattr(head, name) for name in ("pooling", "block", "hidden_units"))


def test_what_an_encoder_or_a_task_has_no_use_for_is_no_setting(
    encoder: tt.Encoder, text_encoder: Path
) -> None:
    plain = {*space(tt.Encoder(str(text_encoder))).known}
    assert {*SETTINGS} - plain == {
        *("pooling", "block", "loss", "encoder", "decoder_layers", "towers"),
    }
    tags = tt.tasks.TokenClassification(["O", "B-a"])
    known = {*space(encoder, task=tags).known}
    without = {"pooling", "label_smoothing", "loss", "encoder", "decoder_layers", "towers"}
    assert {*SETTINGS} - known == without
    alike = {*space(encoder, task=tt.tasks.Similarity()).known}
    assert {*SETTINGS} - alike == {
        *("block", "hidden_units", "dropout", "l2", "head_learning_rate", "label_smoothing"),
        *("encoder", "decoder_layers", "towers"),
    }
    written = {*space(encoder, task=tt.tasks.Translation().adapt(["ein Haus"])).known}
    assert {*SETTINGS} - written == {
        *("pooling", "block", "hidden_units", "l2", "loss", "encoder", "towers"),
    }


def test_texts_of_a_pair_are_searched_apart_where_they_may_meet(
    encoder: tt.Encoder, text_encoder: Path
) -> None:
    pairs = tt.tasks.Classification(["a", "b"], pair=True)
    made = space(encoder, task=pairs)
    assert made.searched["towers"] == ["no", "yes"] and made.defaults()["towers"] == "no"
    for said in (True, "yes", 1):
        assert space(encoder, {"towers": said}, pairs).fixed["towers"] == "yes"
    assert space(encoder, {"towers": [False, True]}, pairs).searched["towers"] == ["no", "yes"]
    # Who asked for them has them, even where all that is searched is named.
    for given in (None, {"towers": "search"}):
        own = Space(known_settings(encoder, pairs, tt.Head(towers=True), tt.Plan()), given)
        assert own.fixed["towers"] == "yes"
    with pytest.raises(tt.InputError, match="`towers` must be one of no, yes. .*'perhaps'"):
        space(encoder, {"towers": ["no", "perhaps"]}, pairs)
    with pytest.raises(tt.InputError, match="`towers` must be True or False. Received: 2"):
        space(encoder, {"towers": 2}, pairs)
    for other, task in ((tt.Encoder(str(text_encoder)), pairs), (encoder, TASK)):
        with pytest.raises(tt.InputError, match="this encoder and task have no such setting"):
            space(other, {"towers": "yes"}, task)


def test_losses_are_those_that_learn_from_the_same_labels(encoder: tt.Encoder) -> None:
    alike = tt.tasks.Similarity("contrastive")
    made = space(encoder, {"loss": "search"}, alike)
    assert made.searched["loss"] == ["contrastive", "cosine"]
    assert made.defaults()["loss"] == "contrastive"
    graded, paired = tt.tasks.Similarity(low=0, high=5), tt.tasks.Similarity("in_batch_negatives")
    for task in (graded, paired):
        with pytest.raises(tt.InputError, match="this encoder and task have no such setting"):
            space(encoder, {"loss": "search"}, task)
    cosine = alike.with_loss("cosine")
    assert cosine.get_config() == tt.tasks.Similarity().adapt([0, 1]).get_config()
    assert cosine.with_loss("contrastive").get_config() == alike.get_config()


def test_what_is_left_to_the_library_needs_no_use(text_encoder: Path) -> None:
    given = dict.fromkeys(SETTINGS) | {"dropout": "search", "unfreeze": "none"}
    made = space(tt.Encoder(str(text_encoder)), given)
    assert {*made.searched} == {"dropout"}
    assert made.defaults() == {
        **{"unfreeze": 0, "hidden_units": 0, "dropout": 0.1, "l2": 0.0},
        **{"head_learning_rate": 5e-3, "label_smoothing": 0.0},
    }


def test_a_frozen_trial_has_no_settings_of_a_thawed_one(encoder: tt.Encoder) -> None:
    made, hp = space(encoder), keras_tuner.HyperParameters()
    assert made.draw(hp) == made.defaults()
    names = {each.name: [c.name for c in each.conditions] for each in hp.space}
    thawed = {"learning_rate", "layer_decay", "batch_size"}
    assert {name for name, on in names.items() if on} == thawed
    frozen = keras_tuner.HyperParameters()
    frozen.values["unfreeze"] = 0
    drawn = made.draw(frozen)
    assert not thawed & {*drawn} and not {"warmup", "epochs", "optimizer"} & {*drawn}
    assert drawn["dropout"] == 0.1 and not thawed & {*frozen.values}


def test_a_setting_is_fixed_narrowed_and_widened(encoder: tt.Encoder) -> None:
    given = {
        **{"dropout": 0.3, "pooling": ["mean", "attention"], "epochs": "search"},
        **{"learning_rate": Range(1e-6, 1e-2, log=True), "batch_size": Range(4, 12, step=4)},
        **{"unfreeze": ["none", 1, "auto", "all"], "hidden_units": Range(16, 512, log=True)},
        "l2": ["0.1", 0.1],
    }
    made = space(encoder, given)
    hp = keras_tuner.HyperParameters()
    drawn = made.draw(hp)
    known = {each.name: each for each in hp.space}
    assert not {"dropout", "l2"} & {*known} and (drawn["dropout"], drawn["l2"]) == (0.3, 0.1)
    assert known["pooling"].values == ["mean", "attention"] and drawn["pooling"] == "mean"
    assert known["epochs"].values == [0, 2, 4, 8, 16] and drawn["epochs"] == 0
    rate = known["learning_rate"]
    assert (rate.min_value, rate.max_value, rate.sampling) == (1e-6, 1e-2, "log")
    # The default, or what is next to it.
    assert rate.default == 1e-4 and known["batch_size"].values == [4, 8, 12]
    assert drawn["batch_size"] == 12 and known["unfreeze"].values == [0, 1, 3, 4]
    assert drawn["hidden_units"] == 16 and isinstance(drawn["hidden_units"], int)


def test_usual_values_hold_a_default_of_ones_own(encoder: tt.Encoder) -> None:
    known = known_settings(encoder, TASK, tt.Head(dropout=0.15, pooling="attention"), tt.Plan())
    made = Space(known, None)
    assert made.searched["dropout"] == [0.0, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5]
    assert made.defaults()["dropout"] == 0.15 and made.defaults()["pooling"] == "attention"


def test_steps_are_the_numbers_that_one_would_write(encoder: tt.Encoder) -> None:
    assert Range(0.6, 1.0, step=0.1).stepped() == [0.6, 0.7, 0.8, 0.9, 1.0]
    assert space(encoder, {"layer_decay": Range(0.6, 1.0, step=0.1)}).defaults()[
        "layer_decay"
    ] == pytest.approx(0.9, abs=0)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"droput": 0.1}, "no such setting to search; expected some of unfreeze, .*'droput'"),
        ({"dropout": 1.0}, "`dropout` must be a number from 0 to below 1. Received: 1.0"),
        ({"dropout": [0.1, "much"]}, "`dropout` must be a number .*'much'"),
        ({"dropout": []}, "`dropout` needs a value at least. Received: none"),
        ({"unfreeze": 9}, "`unfreeze` must be none, auto, all or a number up to 4"),
        ({"pooling": ["mean", "max"]}, "`pooling` must be one of auto, .*'max'"),
        ({"pooling": Range(0, 1)}, r"`pooling` is no number; give a list of its values.*Range\("),
        ({"batch_size": Range(0.5, 8)}, "`batch_size` must be a whole number .*0.5"),
        ({"learning_rate": Range(0, 1)}, "`learning_rate` must be a number above 0"),
        ({"unfreeze": 0, "layer_decay": "search"}, "a frozen encoder has no use for that.*decay"),
        ({"block": "cnn", "pooling": ["auto", "pooled_output"]}, "take one of both out.*'cnn'"),
    ],
)
def test_what_cant_be_searched_is_one_line(encoder: Any, given: Any, message: str) -> None:
    with pytest.raises(tt.InputError, match=message) as error:
        space(encoder, given)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ((1, 1), "from a number to a larger one. Received: 1 to 1"),
        ((0, 1, True), "both above 0. Received: 0 to 1"),
        ((1, 2, True, 0.5), "give one of `step` and `log`"),
        ((0, 1, False, 1e-4), "a step gives up to 1000 values"),
        ((0, float("nan")), "`high` must be a number"),
    ],
)
def test_what_is_no_range_is_one_line(given: Any, message: str) -> None:
    with pytest.raises(tt.InputError, match=message):
        Range(*given)
