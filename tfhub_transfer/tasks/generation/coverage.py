"""What of a text the decoder has read while it wrote, and what is lost by what it hasn't."""

from typing import Any

import tensorflow as tf

from tfhub_transfer.heads.decoder import Decoder, Remembered
from tfhub_transfer.tasks.generation.searching import Cache

# A place that nothing is read of has a logarithm all the same.
_LEAST = 1e-10


class Coverage:
    """A search's steps that add up how much they read of each place (Wu et al. 2016, eq. 14).

    It is the attention of the decoder's last layer to the places of the memory, the mean of its
    heads, of all steps, that of the end among them.

    Args:
        decoder: What is searched.
        state: What it remembers of the texts.
        present: 1 where there is a memory, `[batch, source]`.
        weight: What the sum of logarithms is multiplied by.
    """

    def __init__(
        self, decoder: Decoder, state: Remembered, present: tf.Tensor, weight: float
    ) -> None:
        self._decoder, self._state, self._weight = decoder, state, weight
        self._present = tf.cast(present, tf.float32)

    def step(self, ids: tf.Tensor, place: tf.Tensor, cache: Cache) -> tuple[tf.Tensor, Cache]:
        """As `searching.Step`, of what `empty` gives."""
        own, read = cache
        scores, own, more = self._decoder.step_reading(ids, place, own, self._state)
        return scores, (own, read + more)

    def empty(self, rows: tf.Tensor) -> Any:
        """What is known before the first step, of so many hypotheses."""
        nothing = tf.zeros([rows, tf.shape(self._present)[1]])
        return self._decoder.empty(rows, self._state), nothing

    def lost(self, cache: Cache) -> tf.Tensor:
        """What is added to the score of each hypothesis that ends, `[rows]`."""
        read = tf.maximum(tf.minimum(cache[1], 1.0), _LEAST)
        present = tf.repeat(self._present, tf.shape(read)[0] // tf.shape(self._present)[0], axis=0)
        return self._weight * tf.reduce_sum(tf.math.log(read) * present, axis=-1)
