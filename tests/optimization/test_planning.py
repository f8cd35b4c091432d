"""How many steps and which rate, where nobody says."""

from pathlib import Path
from typing import Any

import keras
import pytest

import tfhub_transfer as tt
from tfhub_transfer.optimization import planning
from tfhub_transfer.optimization.schedules import WarmUpLinearDecay
from tfhub_transfer.tasks import (
    Classification,
    MultiLabel,
    QuestionAnswering,
    Regression,
    TokenClassification,
)


@pytest.fixture(autouse=True)
def usual(monkeypatch: pytest.MonkeyPatch) -> None:
    """Numbers that other tests may have changed."""
    for name, value in {"HEAD_STEPS": 400, "THAWED_STEPS": 300}.items():
        monkeypatch.setattr(planning, name, value)


@pytest.mark.parametrize(
    ("steps", "epochs", "passes", "reason"),
    [
        (1, 4, 10, "40 passes at most"),
        (7, 10, 4, "40 passes at most"),
        (10, 10, 3, "300 steps at least"),
        (32, 10, 1, "300 steps at least"),
        (75, 4, 1, "4 epochs"),
        (1000, 4, 1, "4 epochs"),
    ],
)
def test_few_rows_get_steps_enough(steps: int, epochs: int, passes: int, reason: str) -> None:
    stage = planning.thawed(steps, None, None)
    assert (stage.epochs, stage.passes) == (epochs, passes)
    assert stage.steps == steps * epochs * passes
    assert stage.steps >= min(300, 40 * steps) and stage.steps >= 4 * steps
    assert stage.chosen_by == {"epochs": reason}


def test_what_the_user_says_is_done() -> None:
    for stage in (
        planning.thawed(3, 2, 1),
        planning.head_on_vectors(3, 2, 1),
        planning.head_on_tokens(TokenClassification(), 3, True, 2, 1),
    ):
        assert (stage.epochs, stage.passes, stage.steps, stage.patience) == (2, 1, 6, 1)
        assert stage.chosen_by == {"epochs": "user"} and stage.start_from_epoch == 0
        assert str(stage) == "up to 2 epochs, 6 steps"


def test_more_epochs_are_never_fewer_steps() -> None:
    usual, more = planning.thawed(7, None, None), planning.thawed(7, 50, None)
    assert usual.patience * usual.passes <= more.patience * more.passes
    tags = planning.head_on_tokens(TokenClassification(), 7, True, 50, None)
    assert tags.start_from_epoch * 7 >= 90 and tags.patience == 25


def test_heads_get_as_many_steps_whatever_they_read() -> None:
    vectors = planning.head_on_vectors(4, None, None)
    assert (vectors.epochs, vectors.steps, vectors.patience) == (100, 400, 15)
    assert planning.head_on_vectors(100, None, None).epochs == 30
    tokens = planning.head_on_tokens(TokenClassification(), 16, True, None, None)
    assert (tokens.passes, tokens.steps) == (2, 416)
    assert tokens.start_from_epoch * 32 >= 96
    assert planning.head_on_tokens(TokenClassification(), 16, False, None, None).steps <= 128
    assert planning.head_on_tokens(QuestionAnswering(), 50, True, None, None).epochs == 1


def test_rates_go_by_task_and_width(bert_encoder: Path, text_encoder: Path) -> None:
    encoder = tt.Encoder(str(bert_encoder))
    tags, kinds = TokenClassification(["O", "B-a"], "IOB2"), Classification(["a", "b"])
    assert planning.usual_rate(encoder)[0] == planning.usual_rate(encoder, [kinds])[0] == 1e-4
    assert planning.usual_rate(encoder, [tags])[0] == 3e-4
    assert planning.usual_rate(encoder, [kinds, tags])[0] == 1e-4
    assert planning.usual_rate(encoder, [MultiLabel(["a", "b"])])[0] == 3e-4
    vectors, years = tt.Encoder(str(text_encoder)), Regression()
    assert planning.usual_rate(vectors) == (6e-3, "encoder: embeddings alone")
    assert planning.usual_rate(vectors, [kinds, tags])[0] == 6e-3
    slow = (2e-3, "encoder: embeddings alone of regression")
    assert planning.usual_rate(vectors, [years]) == slow
    assert planning.usual_rate(vectors, [kinds, years]) == slow
    wide: Any = type("Wide", (), {"layer_groups": [("layer_0", [])], "dimension": 768})
    assert planning.usual_rate(wide, [tags]) == (5e-5, "encoder: over 512 wide")


def rate_of(encoder: Path, given: float | None, optimizer: Any = None) -> tuple[Any, str]:
    task = TokenClassification(["O", "B-a"], "IOB2")
    model = tt.build_model(str(encoder), task, optimizer=optimizer)
    made = planning.set_rate(model, given)
    schedule = model.optimizer._learning_rate
    if isinstance(schedule, WarmUpLinearDecay):
        assert made[0] == schedule.peak
    elif isinstance(schedule, keras.Variable):
        assert made[0] == pytest.approx(float(schedule.numpy()))
    return made


def test_a_rate_that_someone_chose_stays(bert_encoder: Path) -> None:
    assert rate_of(bert_encoder, None)[0] == 3e-4
    assert rate_of(bert_encoder, 2e-5) == (2e-5, "user")
    chosen = keras.optimizers.Adam(WarmUpLinearDecay(7e-5))
    assert rate_of(bert_encoder, None, chosen) == (7e-5, "user")
    assert rate_of(bert_encoder, None, keras.optimizers.Adam(0.25)) == (0.25, "user")
    decay = keras.optimizers.schedules.ExponentialDecay(0.1, 10, 0.9)
    assert rate_of(bert_encoder, None, keras.optimizers.SGD(decay)) == (None, "user")


def test_that_nobody_chose_it_is_saved_with_the_model() -> None:
    again = WarmUpLinearDecay.from_config(WarmUpLinearDecay(1e-3, usual=True).get_config())
    assert again.usual and not WarmUpLinearDecay(1e-3).usual


def test_fine_tuning_says_what_chose_what(
    text_encoder: Path, sentiment: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planning, "HEAD_STEPS", 32)
    examples = tt.data.Examples.from_lists(*sentiment)
    task = Classification(["negative", "positive"])
    model = tt.build_model(str(text_encoder), task)
    plan = tt.Plan(verbose=0, patience=2)
    history = tt.fine_tune(model, examples[:20], examples[20:], 1, 1, plan=plan)
    head, top = history.plan["head"], history.plan["fine_tuning"]
    assert head["steps"] == 32 and head["learning_rate"] == 5e-3
    assert head["chosen_by"] == {"epochs": "32 steps at least", "learning_rate": "usual"}
    assert (top["epochs"], top["steps"], top["learning_rate"]) == (1, 1, 6e-3)
    assert top["chosen_by"] == {"epochs": "user", "learning_rate": "encoder: embeddings alone"}
    assert history.plan["judged_by"] == {"metric": "val_accuracy"}
