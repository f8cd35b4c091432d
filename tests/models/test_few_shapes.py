"""What XLA compiles for each shape: batches of few shapes, whose steps are those of their rows."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from samples import ROWS, of_lengths

import tfhub_transfer as tt
from tfhub_transfer.models import filling

SIZE = 4
# One by words, one that compares texts, several; `--all` takes every one.
QUICK = ("token-classification", "similarity", "multi-task")
SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in sorted(set(ROWS) - set(QUICK))]
EVERY = pytest.mark.parametrize("name", [*QUICK, *SLOW])


def built(name: str, encoder: Path) -> tuple[Any, Any]:
    """A model whose answers differ, and examples of many lengths that don't fill whole batches."""
    sample = ROWS[name]
    keras.utils.set_random_seed(3)
    model = tt.build_model(str(encoder), sample.task(), sample.head, sequence_length=24)
    generator = np.random.default_rng(0)
    for weight in model.trainable_weights:
        weight.assign(generator.normal(0.0, 1.0, weight.shape))
    examples = of_lengths(sample.examples)
    if isinstance(examples, dict):
        return model, {key: each[: 37 - 2 * i] for i, (key, each) in enumerate(examples.items())}
    return model, examples[:37]


def few(model: Any, examples: Any, **options: Any) -> tf.data.Dataset:
    """The batches that XLA is given, made fit to be compared without it, where nothing compiles."""
    model.jit_compile = True
    batches = model.preprocess(examples, SIZE, **options)
    model.jit_compile = False
    return batches


def shapes(batches: tf.data.Dataset) -> list[tuple[int, ...]]:
    """The shapes of the inputs of batches, the largest for each."""
    found = [batch[0] if isinstance(batch, tuple) else batch for batch in batches]
    return [max(tuple(each.shape) for each in batch.values()) for batch in found]


@EVERY
@pytest.mark.parametrize("shuffle", [True, False])
def test_batches_are_of_few_shapes_and_hold_each_row_once(
    name: str, shuffle: bool, make_encoder: Callable[[str], Path]
) -> None:
    model, examples = built(name, make_encoder("bert_encoder"))
    batches = few(model, examples, shuffle=shuffle)
    for _ in range(2):  # of another order
        found = shapes(batches)
        assert 1 < len(set(found)) <= 4
        rows = {shape[1:]: shape[0] for shape in found}
        assert set(found) == {(count, *rest) for rest, count in rows.items()}
    real = sum(float(tf.reduce_sum(filling.counted(w))) for *_, w in batches)
    cut = model.cut(examples)
    assert real == sum(map(len, cut.values() if isinstance(cut, dict) else [cut]))


def alone(batch: Any) -> Any:
    """A batch without the rows that fill it up, and with weights as users give them."""
    x, y, weights = batch
    real = filling.counted(weights).numpy() > 0
    x, y, weights = tf.nest.map_structure(lambda each: tf.boolean_mask(each, real), (x, y, weights))
    return x, y, weights, int(real.sum())


def loss_by_hand(model: Any, x: Any, y: Any, weights: Any) -> tf.Tensor:
    """The mean over the rows of a batch, or their words; of several tasks their shares."""
    answers = model(x, training=True)
    if not isinstance(answers, dict):
        return model.task.loss()(y, answers)
    total, rows = 0.0, len(next(iter(x.values())))
    for name, part in model.task.parts.items():
        own = tf.reshape(weights[name], [rows, -1])[:, 0] > 0
        if tf.reduce_any(own):
            loss = part.loss()(tf.boolean_mask(y[name], own), tf.boolean_mask(answers[name], own))
            total += loss * float(tf.reduce_mean(tf.cast(own, tf.float32)))
    return total


@EVERY
def test_steps_are_those_of_the_rows_alone(name: str, make_encoder: Callable[[str], Path]) -> None:
    """Weights after an epoch, and the loss of it: a loop by hand over what the batches hold."""
    model, examples = built(name, make_encoder("bert_still"))
    model.encoder.freeze_to(-1)
    model.compile(keras.optimizers.SGD(0.05), model.loss, jit_compile=False)
    start, batches = model.get_weights(), few(model, examples)
    batches.epochs.begin(0)
    kept = list(batches)
    assert len(kept) >= 8 and any(alone(b)[3] < len(filling.counted(b[2])) for b in kept)
    losses = []
    for x, y, weights, rows in map(alone, kept):
        with tf.GradientTape() as tape:
            loss = loss_by_hand(model, x, y, weights)
        trained = [each.value for each in model.trainable_weights]
        # A batch may have no row of one task among several.
        zero = tf.UnconnectedGradients.ZERO
        for weight, gradient in zip(trained, tape.gradient(loss, trained, None, zero)):
            weight.assign_sub(0.05 * tf.convert_to_tensor(gradient))
        losses.append((float(loss), rows))
    wanted, (values, counts) = model.get_weights(), zip(*losses)
    model.set_weights(start)
    batches.epochs.begin(0)
    found = model.fit(batches, verbose=0).history["loss"]
    assert found == pytest.approx([np.average(values, weights=counts)], rel=2e-6)
    assert any((one != other).any() for one, other in zip(start, wanted))
    for one, other in zip(model.get_weights(), wanted):
        np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-6)


@EVERY
def test_losses_and_metrics_are_those_without_xla(
    name: str, make_encoder: Callable[[str], Path]
) -> None:
    model, examples = built(name, make_encoder("bert_encoder"))
    plain = model.preprocess(examples, SIZE, shuffle=False)
    wanted = model.evaluate(plain, verbose=0, return_dict=True)
    found = model.evaluate(few(model, examples, shuffle=False), verbose=0, return_dict=True)
    assert len(found) > 1
    assert found == pytest.approx(wanted, rel=1e-6, abs=1e-6)
