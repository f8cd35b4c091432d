"""Runs of pieces that come only once in a text (Paulus et al. 2018, section 2.5)."""

import tensorflow as tf

from tfhub_transfer.runtime.masking import NEVER


def without_repeats(scores: tf.Tensor, words: tf.Tensor, place: tf.Tensor, count: int) -> tf.Tensor:
    """Scores of what may come, `NEVER` for what would end a run that is there already.

    Args:
        scores: Of each piece `[rows, vocabulary]`.
        words: What stands so far `[rows, max_length]`.
        place: Where the next piece will stand.
        count: How many pieces a run has.
    """
    windows = words.shape[1] - count + 1
    if windows < 1:
        return scores
    # A run that begins at a place is whole if its last piece stands there already.
    repeated = tf.broadcast_to(tf.range(windows) + count <= place, [tf.shape(words)[0], windows])
    for part in range(count - 1):
        last = words[:, tf.maximum(place - (count - 1) + part, 0)]
        repeated = tf.logical_and(repeated, words[:, part : part + windows] == last[:, None])
    rows = tf.broadcast_to(tf.range(tf.shape(words)[0])[:, None], tf.shape(repeated))
    places = tf.stack([rows, words[:, count - 1 :]], axis=-1)
    # No logarithm of a probability is above 0.
    return tf.tensor_scatter_nd_min(scores, places, tf.where(repeated, NEVER, 0.0))
