"""A build and a fit leave nothing behind, and take nothing from models that live."""

import contextlib
import functools
import gc
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorflow.python.framework import op_callbacks, ops

import tfhub_transfer as tt
from tfhub_transfer.optimization import optimizers
from tfhub_transfer.private import tensorflow_gradients

TASK = ["negative", "positive"]


@pytest.fixture(autouse=True)
def collected() -> Iterator[None]:
    """As users have it: `conftest` leaves old objects alone."""
    gc.collect()
    yield
    gc.collect()


def registered() -> set[str]:
    return set(ops.gradient_registry._registry)


def graphs() -> int:
    return sum(type(each).__name__ == "FuncGraph" for each in gc.get_objects())


@contextlib.contextmanager
def handles() -> Iterator[set[str]]:
    """Attributes of variables that are made eagerly: for each TensorFlow keeps 36 kB for good."""
    found = set()

    def note(operation: str, inputs: Any, attributes: Any, *_: Any, **of: Any) -> None:
        if of.get("graph") is None and operation == "VarHandleOp":
            found.add(str(attributes))

    op_callbacks.add_op_callback(note)
    try:
        yield found
    finally:
        op_callbacks.remove_op_callback(note)


def build(encoder: Any) -> Any:
    return tt.build_model(encoder, tt.tasks.Classification(TASK), sequence_length=16)


def tune(encoder: Any, examples: Any, unfreeze: int) -> list[Any]:
    """What a training must not keep alive."""
    model = build(encoder)
    plan = tt.Plan(head_epochs=1, verbose=0)
    tt.fine_tune(model, examples, examples, 1, unfreeze, plan=plan)
    return [weakref.ref(each) for each in (model, model.encoder, model.optimizer)]


def test_a_training_leaves_nothing_behind(
    bert_still: Path, sentiment: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Through stored token vectors, from a stream, and with the head alone."""
    examples = tt.data.Examples.from_lists(*sentiment)
    table = dict(zip(("text", "label"), (examples.texts[0], examples.labels), strict=True))
    before, known = registered(), graphs()
    held = tune(str(bert_still), examples, 1)
    gc.collect()
    assert not any(each() for each in held)
    assert registered() == before and graphs() == known
    model = build(str(bert_still))
    model.fit(model.preprocess(tt.data.stream(table)), verbose=0)
    held = [weakref.ref(each) for each in (model, model.encoder)]
    del model
    gc.collect()
    assert not any(each() for each in held)
    assert registered() == before and graphs() == known


def test_a_training_names_no_variable_that_none_before_named(
    bert_still: Path, sentiment: Any
) -> None:
    """But those that dropout counts by."""
    examples = tt.data.Examples.from_lists(*sentiment)
    with handles() as first:
        tune(str(bert_still), examples, 1)
    with handles() as second:
        tune(str(bert_still), examples, 1)
    new = {each for each in second - first if "seed_generator" not in each}
    assert len(first) > 20 and not new


@pytest.mark.parametrize("name", ["adam", "adamw", "AdamW", "lars", "rmsprop"])
def test_an_optimizer_by_name_is_called_as_the_first_of_its_kind(name: str) -> None:
    assert optimizers.get(name).name == optimizers.get(name).name != ""
    assert "_1" not in optimizers.get(name).name


class Turned(keras.layers.Layer):
    """A layer with a gradient of its own, in a graph that is traced once."""

    def __init__(self) -> None:
        super().__init__()
        self.turn = tf.function(tf.custom_gradient(lambda x: (x, lambda upstream: -2.0 * upstream)))

    def call(self, inputs: Any) -> Any:
        return self.turn(inputs)

    def compute_output_shape(self, shape: Any) -> Any:
        return shape


@pytest.mark.slow
def test_what_lives_trains_on(bert_still: Path, sentiment: Any) -> None:
    """An encoder that outlives its model; a layer's own gradient, after the step that made it."""
    texts, labels = sentiment
    encoder = tt.Encoder(str(bert_still))
    model = build(encoder)
    batches = model.preprocess(tt.data.Examples.from_lists(texts, labels), shuffle=False)
    ids = next(iter(batches))[0]

    def gradient() -> np.ndarray:
        with tf.GradientTape() as tape:
            answer = tf.reduce_sum(encoder(ids, training=False)["pooled_output"] ** 2)
        weight = encoder.trainable_weights[-1]
        return tf.convert_to_tensor(tape.gradient(answer, weight.value)).numpy()

    encoder.trainable = True
    before = gradient()
    model.fit(batches, verbose=0)
    values = [np.array(weight) for weight in encoder.weights]
    del model
    gc.collect()
    after = gradient()
    assert not np.array_equal(before, after)
    again = build(encoder)
    again.fit(batches, verbose=0)
    for weight, value in zip(encoder.weights, values):
        weight.assign(value)
    np.testing.assert_array_equal(gradient(), after)
    layer, inputs = Turned(), keras.Input((3,))
    made = tt.runtime.Replicated(
        inputs, keras.layers.Dense(1)(layer(keras.layers.Dense(3)(inputs)))
    )
    made.compile("sgd", "mse")
    x = np.ones((4, 3), "float32")
    made.fit(x, x[:, :1], verbose=0)
    with tf.GradientTape() as tape:
        point = tf.constant(x)
        tape.watch(point)
        answer = layer.turn(point)
    np.testing.assert_array_equal(tape.gradient(answer, point), -2.0 * x)


def test_batches_live_as_long_as_somebody_goes_through_them(sentiment: Any) -> None:
    """Whatever was made of them, when nothing else of them is left."""
    texts, labels = sentiment
    model = build("auto")
    examples = tt.data.Examples.from_lists(texts, labels)
    stream = tt.data.stream({"text": texts, "label": labels})

    def goes_through(rows: Any) -> int:
        left = iter(model.preprocess(rows, 4).map(lambda x, y: y).prefetch(1))
        first = len(next(left))
        gc.collect()
        return first + sum(len(each) for each in left)

    assert goes_through(examples) == goes_through(stream) == len(texts)
    distributed = tf.distribute.get_strategy().experimental_distribute_dataset(
        model.preprocess(examples, 4)
    )
    gc.collect()
    assert sum(len(y) for _, y in distributed) == len(texts)


def test_a_gradient_of_ones_own_may_be_anything_that_can_be_called() -> None:
    """Where sums over replicas are looked for among those of a step."""

    @tf.custom_gradient
    def square(x: tf.Tensor) -> tuple[tf.Tensor, Any]:
        if x.shape.rank == 7:
            never = 2.0

        def back(upstream: tf.Tensor) -> tf.Tensor:
            return never if x.shape.rank == 7 else 2.0 * x * upstream

        return x * x, functools.partial(back) if x.shape.rank == 2 else back

    for rank in (1, 2):
        x = tf.Variable(tf.fill([1] * rank, 3.0))

        @tf.function
        def step(x: tf.Variable = x) -> tf.Tensor:
            with tensorflow_gradients.forgotten(), tf.GradientTape() as tape:
                made = square(x)
            return tape.gradient(made, x)

        np.testing.assert_array_equal(step(), np.full([1] * rank, 6.0))


def test_batches_made_in_a_graph_keep_what_they_call(text_encoder: Path, sentiment: Any) -> None:
    model = build(str(text_encoder))
    stream = tt.data.stream({"text": sentiment[0][:4], "label": sentiment[1][:4]})

    def rows() -> tf.Tensor:
        batches = model.preprocess(stream, batch_size=2)
        return batches.reduce(0, lambda count, batch: count + tf.size(batch[1]))

    made = tf.function(rows, autograph=False).get_concrete_function()
    gc.collect()
    assert int(made()) == 4
