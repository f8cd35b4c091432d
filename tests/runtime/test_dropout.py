"""Masks are those of Philox as NumPy computes it, and each replica draws its slice of the whole."""

import random
from pathlib import Path
from typing import Any
from unittest import mock

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfhub_transfer.runtime import dropout
from tfhub_transfer.runtime.dropout import Dropout


def philox(seed: int, stream: int, step: int, blocks: int) -> np.ndarray:
    """Philox 4x32-10 as in Salmon et al. 2011: the words of the first blocks, uint32."""
    low = np.uint64(2**32 - 1)
    place = np.arange(blocks, dtype=np.uint64)
    counter = [place & low, place >> np.uint64(32), *np.full((2, blocks), 0, np.uint64)]
    counter[2] += np.uint64(step % 2**32)
    counter[3] += np.uint64(step // 2**32)
    keys = np.array([stream, seed], np.uint64)
    for _ in range(10):
        first, second = np.uint64(0xD2511F53) * counter[0], np.uint64(0xCD9E8D57) * counter[2]
        counter = [
            (second >> np.uint64(32)) ^ counter[1] ^ keys[0],
            second & low,
            (first >> np.uint64(32)) ^ counter[3] ^ keys[1],
            first & low,
        ]
        keys = (keys + np.array([0x9E3779B9, 0xBB67AE85], np.uint64)) & low
    return np.stack(counter, 1).astype(np.uint32).ravel()


def state(seed: int, step: int) -> tf.Tensor:
    return tf.constant([seed, step], tf.int64)


@pytest.mark.parametrize(
    ("seed", "stream", "step"),
    [(0, 0, 0), (7, 1, 0), (7, 1, 1), (2**32 - 1, 2**32 - 1, 2**40 + 3), (10**9, 3, 2**32)],
)
def test_a_mask_is_that_of_philox_in_numpy(seed: int, stream: int, step: int) -> None:
    shape, rate = (5, 3, 7), 0.3
    words = philox(seed, stream, step, 27)
    halves = words.view(np.uint16)[: np.prod(shape)].reshape(shape)
    found = dropout.kept(state(seed, step), stream, tf.constant(shape), rate)
    np.testing.assert_array_equal(found, halves >= round(rate * 65536))
    numbers = dropout.uniform(state(seed, step), stream, tf.constant(shape)).numpy()
    np.testing.assert_array_equal(
        numbers.ravel(), (words[: np.prod(shape)] >> 9).astype("float32") * np.float32(2**-23)
    )


@pytest.mark.parametrize("rate", [1e-9, 0.1, 0.5, 1 - 1e-9])
def test_a_mask_drops_its_share(rate: float) -> None:
    found = dropout.kept(state(1, 2), 3, tf.constant([1000, 1001]), rate).numpy()
    assert abs(found.mean() - (1 - rate)) < 0.002
    if 0.01 < rate < 0.99:
        for one, other in ((found[:, :-1], found[:, 1:]), (found[:-1], found[1:])):
            assert abs(np.corrcoef(one.ravel(), other.ravel())[0, 1]) < 0.005


def test_seeds_streams_and_steps_have_masks_of_their_own() -> None:
    shape = tf.constant([40, 50])
    places = [(1, 1, 1), (2, 1, 1), (1, 2, 1), (1, 1, 2), (1, 0, 0), (0, 1, 0), (0, 0, 1)]
    masks = [dropout.kept(state(a, c), b, shape, 0.5).numpy().ravel() for a, b, c in places]
    correlations = np.corrcoef(masks) - np.eye(len(masks))
    assert np.abs(correlations).max() < 0.1


@pytest.mark.parametrize("shape", [(1, 1), (2, 8), (3, 5), (1, 9), (2, 2, 3)])
def test_replicas_draw_the_slices_of_what_one_device_draws(shape: tuple[int, ...]) -> None:
    rows, rest = shape[0], shape[1:]
    draws = {
        "kept": lambda size: dropout.kept(state(5, 6), 7, tf.constant(size), 0.4),
        "uniform": lambda size: dropout.uniform(state(5, 6), 7, tf.constant(size)),
    }
    for draw in draws.values():
        whole = draw((rows * 4, *rest)).numpy()
        for number in range(4):
            with mock.patch.object(dropout, "replica", return_value=number):
                own = draw((rows, *rest))
            np.testing.assert_array_equal(own, whole[number * rows : (number + 1) * rows])


# Seeds -------------------------------------------------------------------------------------------


def started(generator: Any) -> list[int]:
    return [int(number) for number in generator.state.numpy()]


def test_the_seed_is_the_one_that_was_set_and_nothing_else_is_drawn() -> None:
    keras.utils.set_random_seed(2**32 - 1)
    expected = random.random(), np.random.random(), float(tf.random.uniform([]))
    keras.utils.set_random_seed(2**32 - 1)
    assert started(dropout.generator()) == [2**32 - 1, 0] == started(dropout.generator())
    assert (random.random(), np.random.random(), float(tf.random.uniform([]))) == expected
    tf.random.set_seed(-1)
    assert started(dropout.generator()) == [2**32 - 1, 0]
    with mock.patch.object(dropout.tensorflow_options, "global_seed", return_value=None):
        assert started(dropout.generator()) != started(dropout.generator())


# The layer ---------------------------------------------------------------------------------------


def test_a_layer_scales_what_it_keeps_and_counts_its_steps() -> None:
    layer = Dropout(0.25, seed=11)
    ones = np.ones((20, 30), "float32")
    calls = [layer(ones, training=True).numpy() for _ in range(2)]
    for step, found in enumerate(calls):
        mask = dropout.kept(state(11, step), 0, tf.constant(ones.shape), 0.25).numpy()
        np.testing.assert_allclose(found, mask / 0.75, rtol=1e-6)
    assert started(layer.seed_generator) == [11, 2]
    np.testing.assert_array_equal(layer(ones), ones)
    np.testing.assert_array_equal(Dropout(0.0)(ones, training=True), ones)
    assert started(layer.seed_generator) == [11, 2]
    rows = Dropout(0.5, noise_shape=(None, 1), seed=1)(ones, training=True).numpy()
    assert (rows == rows[:, :1]).all()


def test_a_file_holds_where_a_layer_stands(tmp_path: Path) -> None:
    """One that Keras' own layer wrote holds nothing of it, and loads too."""

    def model(kind: Any) -> keras.Model:
        return keras.Sequential([keras.Input((9,)), kind(0.5, seed=3), keras.layers.Dense(2)])

    ones, first, path = np.ones((4, 9), "float32"), model(Dropout), tmp_path / "a.weights.h5"
    first(ones, training=True)
    first.save_weights(path)
    again = model(Dropout)
    again.load_weights(path)
    np.testing.assert_array_equal(first(ones, training=True), again(ones, training=True))
    model(keras.layers.Dropout).save_weights(path)
    again.load_weights(path)
    assert started(again.layers[0].seed_generator) == [3, 2]


def test_a_rate_that_is_set_drops_what_one_from_the_beginning_does() -> None:
    values = tf.random.stateless_normal([50, 7], [1, 2])
    later = dropout.DropoutAsSet(0.9, seed=3)
    step = tf.function(lambda x: later(x, training=True))
    for rate in (0.9, 0.1, 1e-9, 1 - 1e-9):
        usual = Dropout(rate, seed=3)
        later.set_rate(rate)
        for _ in range(2):
            later.seed_generator.state.assign(usual.seed_generator.state)
            np.testing.assert_array_equal(step(values), usual(values, training=True))
        np.testing.assert_array_equal(later(values, training=False), values)
    assert step.experimental_get_tracing_count() == 1
    assert not later.weights and len(later.variables) == 1
    none = dropout.DropoutAsSet(0.0)
    np.testing.assert_array_equal(none(values, training=True), values)
    with pytest.raises(AssertionError):
        none.set_rate(0.1)
