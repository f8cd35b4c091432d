"""Training above the moving boundary is training the whole graph with the layers below frozen."""

import dataclasses
import warnings
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import tfhub_transfer as tt
from tfhub_transfer.callbacks.best_weights import KeepBest
from tfhub_transfer.models.boundary import Boundary
from tfhub_transfer.storage import budget
from tfhub_transfer.tasks import Classification, Head

TEXTS = ["a good film", "the worst movie", "good " * 9, "bad"] * 6
LABELS = ["positive", "negative"] * 12


@pytest.fixture
def examples() -> tt.data.Examples:
    return tt.data.Examples.from_lists(TEXTS, LABELS)


def build(encoder: Path, **kwargs: Any) -> tt.TransferModel:
    keras.utils.set_random_seed(3)
    task = Classification(["negative", "positive"])
    return tt.build_model(str(encoder), task, sequence_length=24, **kwargs)


def test_the_boundary_lies_below_the_lowest_thawed_layer(bert_encoder: Path) -> None:
    encoder = tt.Encoder(str(bert_encoder))
    names = [name for name, _ in encoder.layer_groups]
    found = []
    for thawed in range(1, len(names) + 1):
        encoder.freeze_to(-thawed)
        found.append((names[-thawed], encoder.boundary()))
    layers = sum(name.startswith("layer_") for name in names)
    for name, layer in found:
        number = name.removeprefix("layer_")
        below = layers - 1 if name == "pooler" else int(number) - 1 if number.isdigit() else -1
        assert layer == (below if below >= 0 else None), name


def test_shared_layers_have_no_boundary(albert_encoder: Path) -> None:
    encoder = tt.Encoder(str(albert_encoder))
    encoder.freeze_to(-1 - ("pooler" in dict(encoder.layer_groups)))
    assert encoder.boundary() is None


@pytest.mark.parametrize("head", (None, Head(block="cnn"), Head(pooling="mean")))
def test_the_part_above_answers_as_the_whole(
    bert_encoder: Path, head: Any, examples: tt.data.Examples
) -> None:
    model = build(bert_encoder, head=head)
    model.encoder.freeze_to(-1 - ("pooler" in dict(model.encoder.layer_groups)))
    boundary = model.boundary()
    above = model.model_above(boundary)
    numbered = dataclasses.replace(
        model.to_ids(examples), labels=np.arange(len(TEXTS), dtype="float32")
    )
    batches, padding = boundary.store(numbered).batches(batch_size=8)
    assert 0 <= padding < 0.5
    scores = np.empty((len(TEXTS), 2), "float32")
    for inputs, rows in batches:
        scores[rows.numpy().astype(int)] = above(inputs, training=False)
    # What was stored has the 8 bits of a bfloat16.
    np.testing.assert_allclose(scores, model.predict_scores(TEXTS), atol=5e-3)
    assert {id(w) for w in above.weights} == {id(w) for w in model.weights}


def test_training_above_freezes_below_and_moves_the_model(
    bert_encoder: Path, examples: tt.data.Examples
) -> None:
    model = build(bert_encoder, optimizer=keras.optimizers.Adam(1e-2))
    before = {n: [v.numpy() for v in vs] for n, vs in model.encoder.layer_groups}
    seen = []

    original = tt.TransferModel.model_above

    def spy(self: Any, boundary: Boundary) -> keras.Model:
        seen.append(boundary.layer)
        return original(self, boundary)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tt.TransferModel, "model_above", spy)
        patch.setattr(KeepBest, "restore", lambda self: None)
        plan = tt.Plan(head_epochs=1, verbose=0)
        history = tt.fine_tune(model, examples, examples, 2, 1, batch_size=8, plan=plan)
    assert len(seen) == 1
    assert history.padding is not None
    moved = [
        name
        for name, vs in model.encoder.layer_groups
        if any((v.numpy() != b).any() for v, b in zip(vs, before[name]))
    ]
    assert moved == [model.encoder.layer_groups[-1][0]]
    assert len(history.history["loss"]) == 1 + 2
    assert int(model.optimizer.iterations) > 0


def test_vectors_are_stored_once_and_not_for_another_encoder(
    bert_encoder: Path, examples: tt.data.Examples, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []
    run = Boundary._run

    def counted(self: Boundary, *args: Any) -> Any:
        calls.append(self.layer)
        return run(self, *args)

    monkeypatch.setattr(Boundary, "_run", counted)
    model = build(bert_encoder)
    model.encoder.freeze_to(-1)
    rows = model.to_ids(tt.data.Examples.from_lists(["once only"]))
    for _ in range(2):
        assert model.boundary().store(rows) is not None
    assert len(calls) == 1
    weight = model.encoder.layer_groups[0][1][0]
    weight.assign(weight.value + 1.0)
    model.boundary().store(rows)
    assert len(calls) == 2


@pytest.mark.slow
def test_without_room_the_whole_graph_trains_and_says_so(
    bert_encoder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(budget.SIZE_VARIABLE, "100")
    examples = tt.data.Examples.from_lists([f"{text} {text}" for text in TEXTS], LABELS)
    model = build(bert_encoder)
    plan = tt.Plan(head_epochs=1, verbose=0)
    with pytest.warns(UserWarning, match="every layer runs in every step: .* GB") as caught:
        tt.fine_tune(model, examples, examples, 1, 1, batch_size=8, plan=plan)
    assert len([w for w in caught if "every layer" in str(w.message)]) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        plan = tt.Plan(head_epochs=1, boundary=False, verbose=0)
        tt.fine_tune(model, examples, examples, 1, 1, batch_size=8, plan=plan)


@pytest.mark.slow
def test_a_head_that_reads_tokens_trains_on_stored_ones(
    bert_encoder: Path, examples: tt.data.Examples, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = build(bert_encoder, head=Head(pooling="attention"))
    layers = sum(name.startswith("layer_") for name, _ in model.encoder.layer_groups)
    seen = []
    original = tt.TransferModel.model_above

    def spy(self: Any, boundary: Boundary) -> keras.Model:
        seen.append(boundary.layer)
        return original(self, boundary)

    monkeypatch.setattr(tt.TransferModel, "model_above", spy)
    before = [w.numpy() for w in model.encoder.weights]
    plan = tt.Plan(head_epochs=8, head_learning_rate=0.05, verbose=0)
    history = tt.fine_tune(model, examples, examples, unfreeze="none", plan=plan)
    assert seen == [layers - 1]
    assert history.truncation is not None and history.padding is None
    assert history.history["loss"][-1] < history.history["loss"][0]
    for old, new in zip(before, model.encoder.weights):
        np.testing.assert_array_equal(old, new.numpy())
    # The head that was trained above is the model's own.
    judged = model.evaluate(model.preprocess(examples, shuffle=False), verbose=0)[0]
    assert judged == pytest.approx(min(history.history["val_loss"]), abs=0.01)
