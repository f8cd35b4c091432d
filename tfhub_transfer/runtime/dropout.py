"""Dropout whose masks are a function: of a seed, a stream, a step and the row.

Philox 4x32-10 (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3") makes a block of
16 bytes of a key, which are here seed and stream, and a counter: the step, and the block's place in
the whole batch. So a step can be repeated; XLA draws the same masks; a training goes on in the
stream once its state comes back, however often its graph is traced; and what replicas draw are
slices of the mask that one device draws.
"""

import secrets
from collections.abc import Mapping, MutableMapping
from typing import Any

import keras
import tensorflow as tf

from tfhub_transfer.private import tensorflow_options
from tfhub_transfer.shapes import Array

# `tf.random.Algorithm.PHILOX`, as operations have it.
PHILOX = 1
_BLOCK_BYTES, _WORDS = 16, 4
# Numbers that half of a word can be.
_HALF_WORDS = 65536
_SEEDS = 2**32
_SAVED = "random_state"


def generator() -> keras.random.SeedGenerator:
    """What holds a seed and counts steps, from 0: `next` gives both, int64 `[2]`, as one state.

    The seed is that of `keras.utils.set_random_seed` or `tf.random.set_seed`; without any, it is
    another each time. Nothing else is drawn, so that weights are those that they would be.
    """
    seed = tensorflow_options.global_seed()
    return keras.random.SeedGenerator(
        secrets.randbelow(_SEEDS) if seed is None else int(seed) % _SEEDS
    )


def save(state: keras.random.SeedGenerator, store: MutableMapping[str, Array]) -> None:
    """Puts seed and step among what a layer saves, where Keras leaves them out."""
    store[_SAVED] = keras.ops.convert_to_numpy(state.state)


def load(state: keras.random.SeedGenerator, store: Mapping[str, Array]) -> None:
    """Takes up seed and step; what older files don't have stays as it is."""
    if _SAVED in store:
        state.state.assign(store[_SAVED])


def place(state: tf.Tensor, stream: int, block: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Key and counter, uint64 `[1]` and `[2]`, of TensorFlow's stateless random operations.

    Args:
        state: Seed and step, int64 `[2]`.
        stream: Which of those that draw at the same step; below 2**32.
        block: The first block to be drawn, int64.
    """
    # Both of them whole in the key: a mix of several numbers may be that of others.
    seeded = tf.bitwise.left_shift(state[:1], tf.constant(32, tf.int64))
    key = tf.bitwise.bitwise_or(seeded, tf.constant(stream, tf.int64))
    return tf.bitcast(key, tf.uint64), tf.bitcast(tf.stack([block, state[1]]), tf.uint64)


def replica() -> "tf.Tensor | int":
    """The number of the replica that computes this, among all of them."""
    context = tf.distribute.get_replica_context()
    return 0 if context is None else context.replica_id_in_sync_group


def numbers(state: tf.Tensor, stream: int, count: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
    """Random bits: this replica's share, by its place, of those that all replicas draw.

    Shares are taken to be equal.

    Args:
        state: Seed and step, int64 `[2]`.
        stream: Which of those that draw at the same step.
        count: How many numbers, int32.
        dtype: uint16 or uint32.

    Returns:
        `[count]` numbers of the type, every one as likely.
    """
    within = _BLOCK_BYTES // dtype.size
    own = tf.cast(replica(), tf.int32)
    # Before the share there may be a part of a block; shapes must not depend on the replica.
    blocks = (count + 2 * (within - 1)) // within
    first = tf.cast(own, tf.int64) * tf.cast(count, tf.int64) // within
    key, counter = place(state, stream, first)
    drawn = tf.raw_ops.StatelessRandomUniformFullIntV2(
        shape=[blocks * _WORDS], key=key, counter=counter, alg=PHILOX, dtype=tf.uint32
    )
    flat = drawn if dtype == tf.uint32 else tf.reshape(tf.bitcast(drawn, dtype), [-1])
    # All in int32, which is on the host where the rest is on a GPU.
    begin = own % within * (count % within) % within
    return tf.slice(flat, [begin], [count])


def kept(state: tf.Tensor, stream: int, shape: tf.Tensor, rate: float) -> tf.Tensor:
    """A mask of what dropout keeps: bool of `shape`, false with the probability `rate`.

    Random bits are the dear part of dropout on a CPU, so a number takes 16 of them.

    Args:
        state: Seed and step, int64 `[2]`.
        stream: Which of the masks of the same step.
        shape: Of the mask, int32; the replica's share of rows comes first.
        rate: Above 0, below 1.
    """
    return _at_least(tf.constant(_threshold(rate), tf.uint16), state, stream, shape)


def _threshold(rate: float) -> int:
    return min(round(rate * _HALF_WORDS), _HALF_WORDS - 1)


def _at_least(threshold: tf.Tensor, state: tf.Tensor, stream: int, shape: tf.Tensor) -> tf.Tensor:
    halves = numbers(state, stream, tf.reduce_prod(shape), tf.uint16)
    return tf.reshape(halves, shape) >= threshold


def uniform(state: tf.Tensor, stream: int, shape: tf.Tensor) -> tf.Tensor:
    """Numbers from 0 to below 1, float32 of `shape`, in steps of 2**-23, as TensorFlow's own.

    Args:
        state: Seed and step, int64 `[2]`.
        stream: Which of those that draw at the same step.
        shape: Of the result, int32; the replica's share of rows comes first.
    """
    words = numbers(state, stream, tf.reduce_prod(shape), tf.uint32)
    mantissa = tf.bitwise.right_shift(words, tf.constant(9, tf.uint32))
    return tf.reshape(tf.cast(mantissa, tf.float32) * 2.0**-23, shape)


# Keras files states by the names of classes, so it keeps that of its parent.
@keras.saving.register_keras_serializable(package="tfhub_transfer")
class Dropout(keras.layers.Dropout):
    """Dropout by such masks; seed and step are saved with the layer.

    Keras' own gives every replica the same mask, and forgets its state in a file.
    """

    def call(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        if not training or self.rate in (0, 1) or self.noise_shape is not None:
            return super().call(inputs, training)
        mask = kept(self.seed_generator.next(), 0, tf.shape(inputs), self.rate)
        return tf.where(mask, inputs * (1.0 / (1.0 - self.rate)), tf.zeros([], inputs.dtype))

    def save_own_variables(self, store: MutableMapping[str, Array]) -> None:
        if self.rate > 0:
            save(self.seed_generator, store)

    def load_own_variables(self, store: Mapping[str, Array]) -> None:
        if self.rate > 0:
            load(self.seed_generator, store)


class DropoutAsSet(Dropout):
    """The same, with a rate that may be another one later, without anything traced anew.

    Whether there is any dropout at all stays as it was at first.
    """

    rate: float

    def __init__(self, rate: float, **kwargs: Any) -> None:
        super().__init__(rate, **kwargs)
        # Of TensorFlow, as variables of Keras would be weights of the layer.
        self._threshold = tf.Variable(0, dtype=tf.int32, trainable=False)
        self._scale = tf.Variable(1.0, dtype=tf.float32, trainable=False)
        self.set_rate(rate)

    def set_rate(self, rate: float) -> None:
        """Sets the rate.

        Args:
            rate: Above 0 if it was so at first, and below 1.
        """
        assert (rate > 0) == (self.rate > 0)
        self.rate = rate
        self._threshold.assign(_threshold(rate))
        self._scale.assign(1.0 / (1.0 - rate))

    def call(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        if not training or not self.rate:
            return super().call(inputs, training)
        state, shape = self.seed_generator.next(), tf.shape(inputs)
        mask = _at_least(tf.cast(self._threshold, tf.uint16), state, 0, shape)
        return tf.where(mask, inputs * self._scale, tf.zeros([], inputs.dtype))
