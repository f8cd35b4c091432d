"""Heads that train in one compiled model: to the bit what they would be alone."""

import contextlib
import types
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import tfhub_transfer as tt
from tfhub_transfer.tasks.objective import Objective
from tfhub_transfer.tasks.whole.task import SmoothedCrossentropy
from tfhub_transfer.training import feeding, reused_heads


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[keras.Model]:
    """The models that were compiled for heads."""
    found, plain = [], feeding.compiled

    def noting(*given: Any) -> keras.Model:
        found.append(plain(*given))
        return found[-1]

    monkeypatch.setattr(feeding, "compiled", noting)
    return found


@pytest.fixture(scope="module")
def splits(sentiment: Any) -> tuple[Any, Any]:
    examples = tt.data.Examples.from_lists(*sentiment)
    return examples[:28], examples[28:]


def trained(
    folder: Path, splits: Any, head: Any, rate: float, among: Any = None, **how: Any
) -> tuple[Any, Any]:
    tt.runtime.seed_everything(3)
    task = how.pop("task", None) or tt.tasks.Classification(["negative", "positive"])
    model = tt.build_model(str(folder), task, tt.Head(**head), sequence_length=24)
    for change in how.pop("changes", ()):
        change(model)
    plan = tt.Plan(head_learning_rate=rate, head_epochs=3, seed=3, verbose=0)
    with contextlib.nullcontext() if among is None else reused_heads.among(among):
        history = tt.fine_tune(model, *splits, unfreeze="none", plan=plan, **how)
    return model, history


def check_alike(one: tuple[Any, Any], other: tuple[Any, Any]) -> None:
    assert one[1].history == other[1].history
    # Seeds and steps of dropout among them, which later stages go on from.
    mine, its = ([*each.weights, *each.variables] for each, _ in (one, other))
    assert len(mine) == len(its) >= 4
    for a, b in zip(mine, its):
        np.testing.assert_array_equal(np.asarray(a.value), np.asarray(b.value))


def test_they_share_a_model_and_are_what_they_would_be_alone(
    text_encoder: Path, splits: Any, made: list[keras.Model]
) -> None:
    among = reused_heads.Reused()
    heads = [
        ({"dropout": 0.2, "hidden_units": 4}, 1e-2),
        ({"dropout": 0.6, "hidden_units": 4}, 3e-3),
    ]
    together = [trained(text_encoder, splits, *each, among) for each in heads]
    assert len(made) == 1
    for one, each in zip(together, heads, strict=True):
        check_alike(one, trained(text_encoder, splits, *each))
    assert len(made) == 3


def _form(folder: Path, change: Any = None, at_once: int = 8, **head: Any) -> str | None:
    task = tt.tasks.Classification(["negative", "positive"])
    head = {"dropout": 0.2, "hidden_units": 4, **head}
    model = tt.build_model(str(folder), task, tt.Head(**head), sequence_length=24)
    if change is not None:
        change(model)
    training: Any = types.SimpleNamespace(model=model, checkpoint=None)
    return reused_heads._form(training, model.head_model(), at_once)


def _with_another_loss(model: Any) -> None:
    loss = SmoothedCrossentropy(0.2)
    model.compile(model.optimizer, loss, **model.layout.objective.measures())


def _with_a_metric(model: Any) -> None:
    top = keras.metrics.SparseTopKCategoricalAccuracy(k=1, name="top")
    model.compile(model.optimizer, model.loss, metrics=["accuracy", top])


def _with_another_activation(model: Any) -> None:
    model.get_layer("hidden").activation = keras.activations.tanh


def _with_an_objective(model: Any) -> None:
    model.layout.objective = type("Own", (Objective,), {})(model.task)


def test_what_makes_other_steps_is_another_form_or_none(text_encoder: Path) -> None:
    usual = _form(text_encoder)
    assert usual is not None
    # What may be set anew makes no difference, whatever layers are called.
    assert _form(text_encoder, dropout=0.5) == usual
    others = [
        *(_form(text_encoder, dropout=0.0), _form(text_encoder, hidden_units=8)),
        *(_form(text_encoder, l2=1e-3), _form(text_encoder, at_once=4)),
        *(_form(text_encoder, _with_another_loss), _form(text_encoder, _with_another_activation)),
    ]
    assert None not in others and len({usual, *others}) == 7
    # Metrics, or an objective, of one's own may be anything.
    assert [_form(text_encoder, each) for each in (_with_a_metric, _with_an_objective)] == [
        None
    ] * 2


class _Asks(keras.callbacks.Callback):
    """Notes what the whole model answers while a head trains."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[Any] = []

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.asked.append([w.numpy().copy() for w in self.whole.trainable_weights])


def test_who_asks_the_whole_model_in_between_finds_what_was_learned(
    text_encoder: Path, splits: Any
) -> None:
    found = []
    for among in (reused_heads.Reused(), None):
        asks = _Asks()
        trained(
            *(text_encoder, splits, {"dropout": 0.2}, 1e-2, among),
            callbacks=[asks],
            changes=[lambda model, asks=asks: setattr(asks, "whole", model)],
        )
        found.append(asks.asked)
    assert len(found[0]) == 3
    for mine, its in zip(*found, strict=True):
        for a, b in zip(mine, its, strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("count", [20, 24])
def test_few_vectors_come_in_the_very_batches_of_many(count: int) -> None:
    features = np.arange(2.0 * count, dtype="float32").reshape(count, 2)
    given = features, np.arange(count), 8
    usual, few = feeding.of_vectors(*given, 5), feeding.of_few_vectors(*given, 5)
    assert [each.shape[0] for each in few.element_spec] == [None, None]
    steps, found = -(-count // 8), iter(few)
    for epoch in range(3):
        usual.epochs.begin(epoch)
        for expected in usual:
            for a, b in zip(expected, next(found), strict=True):
                np.testing.assert_array_equal(a, b)
    plain, quick = list(feeding.of_vectors(*given)), list(feeding.of_few_vectors(*given))
    assert len(plain) == len(quick) == steps
    for one, other in zip(plain, quick):
        for a, b in zip(one, other, strict=True):
            np.testing.assert_array_equal(a, b)


def test_what_is_kept_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = reused_heads.Reused()
    numbers = [np.full((4, 2), each, "float32") for each in range(20)]
    with reused_heads.among(kept):
        first, steps = reused_heads.of_vectors(numbers[0], np.arange(4), 2, 0)
        assert steps == 2
        assert reused_heads.of_vectors(numbers[0], np.arange(4), 2, 0)[0] is first
        # Other vectors, labels, sizes and seeds are other batches.
        others = [(numbers[1], np.arange(4), 2, 0), (numbers[0], np.arange(4)[::-1], 2, 0)]
        others += [(numbers[0], np.arange(4), 4, 0), (numbers[0], np.arange(4), 2, 1)]
        assert all(reused_heads.of_vectors(*each)[0] is not first for each in others)
        for each in numbers:
            reused_heads.of_vectors(each, np.arange(4), 2)
        assert reused_heads.of_vectors(numbers[0], np.arange(4), 2, 0)[0] is not first
        monkeypatch.setattr(reused_heads, "_MOST_BYTES", 8)
        assert reused_heads.of_vectors(numbers[0], np.arange(4), 2, 0)[1] is None
    assert len(kept._splits) <= 12
    assert reused_heads.of_vectors(numbers[0], np.arange(4), 2, 0)[1] is None
