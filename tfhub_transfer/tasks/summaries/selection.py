"""The best sentences of documents that don't repeat one another; TensorFlow operations only."""

import tensorflow as tf

from tfhub_transfer.runtime.masking import NEVER

# What the order of sums may make of equal scores.
_ROUNDING = 1e-5


def choose(scores: tf.RaggedTensor, pieces: tf.RaggedTensor, most: int) -> tf.Tensor:
    """Which sentences make the summary, bool `[all sentences]`.

    Sentences are taken by score, the earlier of those that are equal but for rounding, so that
    batches of another size choose alike; one that shares three word pieces in a row with a sentence
    already taken is passed over (trigram blocking, Paulus et al. 2018,
    https://arxiv.org/abs/1705.04304, section 2.5). The best one is always taken.

    Args:
        scores: Of each sentence, `[n, (sentences)]`.
        pieces: Word pieces of each sentence, int32 `[all sentences, (pieces)]`.
        most: Sentences of a summary.
    """
    rows = tf.cast(scores.value_rowids(), tf.int32)
    documents = tf.cast(scores.nrows(), tf.int32)
    keys, owners, count = _trigrams(pieces, rows)
    values = scores.flat_values
    total = tf.size(values)
    places = tf.range(total)

    def step(number: tf.Tensor, taken: tf.Tensor, free: tf.Tensor) -> tuple[tf.Tensor, ...]:
        offered = tf.where(free, values, NEVER)
        best = tf.gather(tf.math.unsorted_segment_max(offered, rows, documents), rows)
        first = tf.where(free & (values >= best - _ROUNDING), places, total)
        first = tf.math.unsorted_segment_min(first, rows, documents)
        now = tf.equal(tf.gather(first, rows), places)
        # What the sentence just taken holds, and who else holds any of it.
        used = _any(tf.gather(now, owners), keys, count)
        repeats = _any(tf.gather(used, keys), owners, total)
        return number + 1, taken | now, free & ~now & ~repeats

    start = (tf.constant(0), tf.zeros_like(values, tf.bool), tf.ones_like(values, tf.bool))
    return tf.while_loop(lambda number, *_: number < most, step, start)[1]


def _trigrams(pieces: tf.RaggedTensor, rows: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Numbers of the trigrams, the same for the same trigram of a document; owners; how many.

    Numbers of pairs come first, so that no product of three overflows.
    """
    values = tf.cast(pieces.flat_values, tf.int64)
    sentences = tf.cast(pieces.value_rowids(), tf.int32)
    here = tf.equal(sentences[2:], sentences[:-2])
    a, b, c = (tf.boolean_mask(each, here) for each in (values[:-2], values[1:-1], values[2:]))
    owners = tf.boolean_mask(sentences[2:], here)
    known = tf.reduce_max(tf.concat([values, [0]], axis=0)) + 1
    number = tf.cast(tf.gather(rows, owners), tf.int64)
    for piece in (a, b, c):
        _, found = tf.unique(number * known + piece)
        number = tf.cast(found, tf.int64)
    keys = tf.cast(number, tf.int32)
    return keys, owners, tf.reduce_max(tf.concat([keys, [-1]], axis=0)) + 1


def _any(flags: tf.Tensor, segments: tf.Tensor, count: tf.Tensor) -> tf.Tensor:
    """Whether any flag of each segment is set."""
    return tf.math.unsorted_segment_max(tf.cast(flags, tf.int32), segments, count) > 0
