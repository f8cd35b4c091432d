"""Random operations of flat graphs are functions of a state that is given."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from tfhub_transfer.graphs import randomness, surgery
from tfhub_transfer.graphs.surgery import RANDOM_STATE, FlatGraph, Ref
from tfhub_transfer.runtime import dropout


def flatten(call: Callable[[tf.Tensor], tf.Tensor]) -> FlatGraph:
    spec = {"x": tf.TensorSpec([None, None], tf.float32)}
    flat = surgery.flatten(lambda inputs: {"y": call(inputs["x"])}, spec, [])
    flat.rewrites.update(randomness.find(flat))
    return flat


def run(flat: FlatGraph, x: tf.Tensor, seed: int = 1, step: int = 0) -> np.ndarray:
    given = {flat.inputs["x"]: x, RANDOM_STATE: tf.constant([seed, step], tf.int64)}

    def read(variable: tf.Variable, rows: tf.Tensor | None) -> tf.Tensor:
        raise AssertionError("there are no variables")

    def replay() -> list[tf.Tensor]:
        output = flat.outputs["y"]
        assert isinstance(output, Ref)
        return flat.replay([output], given, read)

    traced = tf.function(replay, autograph=False).get_concrete_function()
    kinds = {op.type for op in traced.graph.get_operations()}
    assert not kinds & set(randomness._STATELESS), "its state is in the kernel"
    [made] = traced()
    return made.numpy()


ONES = tf.ones([31, 33])


def test_masks_of_dropout_are_those_of_their_streams() -> None:
    def call(x: tf.Tensor) -> tf.Tensor:
        return tf.nn.dropout(tf.nn.dropout(x, 0.1), 0.5)

    flat = flatten(call)
    assert flat.is_random and not flatten(lambda x: x + 1.0).is_random
    found, state = run(flat, ONES, 4, 9), tf.constant([4, 9], tf.int64)
    masks = [
        dropout.kept(state, stream, tf.shape(ONES), rate).numpy()
        for stream, rate in ((1, 0.1), (2, 0.5))
    ]
    np.testing.assert_allclose(found, masks[0] * masks[1] / 0.9 / 0.5, rtol=1e-6)
    np.testing.assert_array_equal(found, run(flatten(call), ONES, 4, 9))
    assert (found != run(flat, ONES, 4, 10)).any() and (found != run(flat, ONES, 5, 9)).any()


@pytest.mark.parametrize(
    ("call", "mean", "spread"),
    [
        (lambda x: tf.random.uniform(tf.shape(x)), 0.5, 12**-0.5),
        (lambda x: tf.random.uniform(tf.shape(x), 2.0, 4.0), 3.0, 2 * 12**-0.5),
        (lambda x: tf.floor(x * 0.8 + tf.random.uniform(tf.shape(x))), 0.8, 0.4),
        (lambda x: tf.cast(tf.random.uniform(tf.shape(x), dtype=tf.float64), tf.float32), 0.5, 0.3),
        (lambda x: tf.random.normal(tf.shape(x)), 0.0, 1.0),
        (lambda x: tf.random.truncated_normal(tf.shape(x)), 0.0, 0.88),
        (lambda x: tf.cast(tf.random.uniform(tf.shape(x), 1, 4, tf.int32), tf.float32), 2.0, 0.82),
    ],
    ids=["uniform", "bounds", "floor", "float64", "normal", "truncated", "whole"],
)
def test_other_random_numbers_are_functions_too(call: Any, mean: float, spread: float) -> None:
    flat = flatten(call)
    found = run(flat, ONES)
    assert abs(found.mean() - mean) < 0.1 and abs(found.std() - spread) < 0.1
    np.testing.assert_array_equal(found, run(flat, ONES))
    assert (found != run(flat, ONES, step=1)).any()


def test_numbers_that_more_than_a_mask_reads_are_the_same_for_both() -> None:
    def call(x: tf.Tensor) -> tf.Tensor:
        drawn = tf.random.uniform(tf.shape(x))
        return tf.where(drawn >= 0.5, drawn, 1.0)

    assert run(flatten(call), ONES).min() >= 0.5
