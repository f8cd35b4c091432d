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
from tfhub_transfer.models.batches import Order, of_ids

SIZE = 4
# One by words, one that compares texts, several; `--all` takes every one.
CI = ("token-classification", "similarity", "multi-task")
_MARKS = [pytest.mark.slow, pytest.mark.exhaustive]
EVERY = pytest.mark.parametrize(
    "name",
    [
        *(pytest.param(name, marks=_MARKS[:1]) for name in CI),
        *(pytest.param(name, marks=_MARKS) for name in sorted(set(ROWS) - set(CI))),
    ],
)


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


def few(model: Any, examples: Any, size: int = SIZE, **options: Any) -> tf.data.Dataset:
    """The batches that XLA is given, made fit to be compared without it, where nothing compiles."""
    model.jit_compile = True
    batches = model.preprocess(examples, size, **options)
    model.jit_compile = False
    return batches


def shapes(batches: tf.data.Dataset) -> list[tuple[int, ...]]:
    """The shapes of the inputs of batches, the largest for each."""
    found = [batch[0] if isinstance(batch, tuple) else batch for batch in batches]
    return [max(tuple(each.shape) for each in batch.values()) for batch in found]


@pytest.fixture(scope="module")
def classifier(make_encoder: Callable[[str], Path]) -> tuple[Any, Any]:
    return built("classification", make_encoder("bert_still"))


@pytest.mark.parametrize("shuffle", [True, False])
def test_batches_are_of_few_shapes_and_hold_each_row_once(shuffle: bool, classifier: Any) -> None:
    batches = few(*classifier, size=2, shuffle=shuffle)
    for _ in range(2):  # of another order
        found = shapes(batches)
        assert len(set(found)) == 4
        rows = {shape[1:]: shape[0] for shape in found}
        assert set(found) == {(count, *rest) for rest, count in rows.items()}
        counts = [rows[length] for length in sorted(rows)]
        assert counts == ([3, 2, 2, 1] if shuffle else [2] * 4)
    real = np.concatenate([filling.counted(w) for *_, w in batches])
    assert real.sum() == 37
    assert batches.cardinality() == len(found)


@pytest.mark.parametrize("shuffle", [True, False])
def test_without_xla_nothing_fills_up(shuffle: bool, classifier: Any) -> None:
    model, examples = classifier
    made, plain = (
        model.preprocess(examples, 2, shuffle, static_batches=how) for how in ("auto", False)
    )
    model.jit_compile = True
    asked = model.preprocess(examples, 2, shuffle, static_batches=False)
    model.jit_compile = False
    kept = [list(each) for each in (made, plain, asked)]
    assert len({len(each) for each in kept}) == 1 and (
        1 in dict(shapes(made)) or len(set(shapes(made))) > 4
    )
    for first, *others in zip(*kept):
        assert len(first) == 2
        for other in others:
            tf.nest.map_structure(np.testing.assert_array_equal, first, other)


def test_rows_without_labels_are_each_answered(classifier: Any) -> None:
    model, examples = classifier
    asked = tt.data.Examples.from_lists(examples.texts[0])
    batches = few(model, asked, size=4, shuffle=False)
    scores = model.predict(batches, verbose=0)
    np.testing.assert_allclose(scores, model.predict_scores(asked), atol=1e-6)


def test_static_batches_are_of_few_lengths_too(classifier: Any) -> None:
    for shuffle in (True, False):
        found = shapes(few(*classifier, size=2, shuffle=shuffle, static_batches=True))
        assert {rows for rows, _ in found} == {2} and len(set(found)) == 4


@pytest.mark.parametrize("name", ["fit", "evaluate"])
def test_steps_made_for_one_batch_are_not_those_of_an_epoch(name: str, classifier: Any) -> None:
    """Losses of an epoch are those of its rows, whatever was traced first."""
    model, examples = classifier
    batches = few(model, examples)
    single, found = ("train_on_batch", "test_on_batch")[name == "evaluate"], []
    for before in (False, True):
        model.compile(keras.optimizers.SGD(0.0), model.loss, jit_compile=False)
        for batch in list(batches) if before else ():
            getattr(model, single)(*batch)
        made = getattr(model, name)(batches, verbose=0)
        found.append(made.history["loss"][0] if name == "fit" else made)
    assert found[1] == pytest.approx(found[0], rel=1e-6)


def test_a_share_has_its_rows(classifier: Any) -> None:
    for shuffle in (True, False):
        rows = 0.0
        for index in range(2):
            batches = few(*classifier, size=2, shuffle=shuffle, shard=(index, 2))
            assert len(set(shapes(batches))) <= 4
            rows += sum(float(tf.reduce_sum(filling.counted(w))) for *_, w in batches)
        assert rows == 37


def test_streams_are_of_few_shapes(classifier: Any) -> None:
    model, examples = classifier
    stream = tt.data.stream({"text": examples.texts[0], "label": list(examples.labels)})
    batches = few(model, stream)
    made = list(batches)
    found = shapes(made)
    assert set(found) <= {(SIZE, length) for length in (6, 12, 18, 24)}
    losses = [float(loss_by_hand(model, *alone(batch)[:3], model.task)) for batch in made]
    kept = [alone(batch)[3] for batch in made]
    assert sum(kept) == 37 and min(kept) < SIZE
    model.compile("sgd", model.loss, jit_compile=False)
    loss = model.evaluate(batches, verbose=0, return_dict=True)["loss"]
    assert loss == pytest.approx(np.average(losses, weights=kept), rel=1e-6)


def test_rows_are_dealt_out_to_replicas_evenly(classifier: Any) -> None:
    model, examples = classifier
    ids = model.to_ids(examples)
    for seed in (None, 0):
        order = Order(6, seed, few=True, multiple=4)
        batches, _ = of_ids(ids, model.layout, order)
        assert {rows % 4 for rows, _ in shapes(batches)} == {0}


def alone(batch: Any) -> Any:
    """A batch without the rows that fill it up, and with weights as users give them."""
    x, y, weights = batch
    real = filling.counted(weights).numpy() > 0
    x, y, weights = tf.nest.map_structure(lambda each: tf.boolean_mask(each, real), (x, y, weights))
    return x, y, weights, int(real.sum())


def loss_by_hand(model: Any, x: Any, y: Any, weights: Any, task: Any) -> tf.Tensor:
    """The mean over the rows of a batch, or their words; of several tasks their shares."""
    answers = model(x, training=True)
    if not isinstance(answers, dict):
        return task.loss()(y, answers)
    total, rows = 0.0, len(next(iter(x.values())))
    for name, part in task.parts.items():
        own = tf.reshape(weights[name], [rows, -1])[:, 0] > 0
        if tf.reduce_any(own):
            loss = part.loss()(tf.boolean_mask(y[name], own), tf.boolean_mask(answers[name], own))
            total += loss * float(tf.reduce_mean(tf.cast(own, tf.float32)))
    return total


def steps_by_hand(trained: Any, model: Any, kept: list[Any]) -> tuple[list[float], list[Any]]:
    """The losses of plain gradient steps over batches without filling, and the weights after."""
    losses, variables = [], [each.value for each in trained.trainable_weights]
    for x, y, weights, _ in kept:
        with tf.GradientTape() as tape:
            loss = loss_by_hand(trained, x, y, weights, model.task)
        # A batch may have no row of one task among several.
        gradients = tape.gradient(loss, variables, None, tf.UnconnectedGradients.ZERO)
        for variable, gradient in zip(variables, gradients):
            variable.assign_sub(0.05 * tf.convert_to_tensor(gradient))
        losses.append(float(loss))
    return losses, model.get_weights()


def farthest(one: Any, other: Any) -> float:
    """The largest difference of two arrays, random states among them."""
    return float(np.abs(np.subtract(one, other, dtype="float64")).max(initial=0.0))


@EVERY
@pytest.mark.parametrize("above", [False, True], ids=["whole", "above the boundary"])
def test_steps_are_those_of_the_rows_alone(
    name: str, above: bool, make_encoder: Callable[[str], Path]
) -> None:
    """Weights after an epoch, and the loss of it: a loop by hand over what the batches hold."""
    model, examples = built(name, make_encoder("bert_still"))
    model.encoder.freeze_to(-1)
    model.compile(keras.optimizers.SGD(0.05), model.loss, jit_compile=False)
    trained, batches = model, few(model, examples)
    if above:
        boundary = model.boundary()
        trained, stored = model.model_above(boundary), boundary.store(model.to_ids(examples))
        batches, _ = stored.batches(SIZE, replicas=1)
    start = model.get_weights()
    batches.epochs.begin(0)
    kept = [alone(batch) for batch in batches]
    assert len(kept) >= 8 and any(rows < SIZE for *_, rows in kept)
    values, wanted = steps_by_hand(trained, model, kept)
    model.set_weights(start)
    turned = [(*tf.nest.map_structure(lambda each: each[::-1], b[:3]), b[3]) for b in kept]
    _, turned_weights = steps_by_hand(trained, model, turned)
    # Sums in another order: a decoder with weights this large passes 1e-6 by rounding alone.
    rounding = max(farthest(one, other) for one, other in zip(wanted, turned_weights))
    assert rounding < 1e-4
    model.set_weights(start)
    batches.epochs.begin(0)
    found = trained.fit(batches, shuffle=False, verbose=0).history["loss"]
    counts = [rows for *_, rows in kept]
    assert found == pytest.approx([np.average(values, weights=counts)], rel=2e-6)
    assert any((one != other).any() for one, other in zip(start, wanted))
    for one, other in zip(model.get_weights(), wanted):
        np.testing.assert_allclose(one, other, rtol=1e-6, atol=max(1e-6, 4 * rounding))


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
