"""How many tokens: what of texts was cut off (`preprocessing` cuts), how far batches are padded."""

import dataclasses

import numpy as np
import tensorflow as tf

# Lengths are rounded up to a multiple of this, so that few shapes of batch occur.
LENGTH_STEP = 4


@dataclasses.dataclass(frozen=True)
class Truncation:
    """How much of the texts was cut off: `texts` of `of` lost `tokens` tokens in all."""

    texts: int
    of: int
    tokens: int

    @classmethod
    def count(cls, lost: np.ndarray) -> "Truncation":
        """Sums up the tokens lost by each text `[n]`."""
        return cls(int(np.sum(lost > 0)), len(lost), int(np.sum(lost)))

    def __add__(self, more: "Truncation") -> "Truncation":
        return Truncation(self.texts + more.texts, self.of + more.of, self.tokens + more.tokens)

    def __str__(self) -> str:
        return f"{self.texts} of {self.of} texts were cut, {self.tokens} tokens lost"


def padded_length(rows: tf.RaggedTensor, lengths: np.ndarray | None, at_most: int) -> tf.Tensor:
    """How long all rows of a batch become.

    Args:
        rows: Of any lengths `[batch, (length)]`.
        lengths: Ascending lengths, of which the batch gets the least that holds its rows; if not
            given, it gets its own, rounded up a little.
        at_most: The most that its own are rounded up to.
    """
    # Texts may all be empty, and a batch has a place even then.
    longest = tf.maximum(tf.reduce_max(tf.cast(rows.row_lengths(), tf.int32)), 1)
    if lengths is None:
        # Rounding up must not pass the encoder's last position.
        return tf.minimum(-(-longest // LENGTH_STEP) * LENGTH_STEP, at_most)
    known = tf.constant(lengths, tf.int32)
    return known[tf.minimum(tf.searchsorted(known, longest[None])[0], len(lengths) - 1)]


def to_dense(rows: tf.RaggedTensor, length: tf.Tensor, padding: int = 0) -> tf.Tensor:
    """Rows `[batch, (length)]` as int32 `[batch, length]`.

    Args:
        rows: Of any lengths; what doesn't fit is left out.
        length: How long all become.
        padding: What stands behind them.
    """
    rows = tf.cast(rows, tf.int32)
    return rows.to_tensor(
        default_value=padding, shape=tf.stack([tf.cast(rows.nrows(), tf.int32), length])
    )


def most_pieces(room: int) -> int:
    """The most pieces of a word that still stand whole in one of two windows that overlap by half.

    A window is what a question leaves of the room, at least half of it; of a word with more pieces
    the rest is left out.

    Args:
        room: Word pieces that a question and a window may have together.
    """
    return max(1, room // 2 // 2)


def pieces_before(counts: tf.RaggedTensor) -> tf.Tensor:
    """How many word pieces of its own text stand before each word `[all words]`.

    Args:
        counts: Word pieces of each word `[n, (words)]`.
    """
    before = tf.cumsum(counts.flat_values, exclusive=True)
    first = tf.gather(tf.pad(before, [[0, 1]]), counts.row_starts())
    return before - tf.gather(first, counts.value_rowids())
