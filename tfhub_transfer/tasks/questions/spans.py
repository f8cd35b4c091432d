"""Contexts to overlapping windows of words, and scores of windows back to the best span.

Everything is TensorFlow and runs over all texts at once, here and inside an exported model.
"""

import dataclasses
from typing import NamedTuple

import tensorflow as tf

from tfhub_transfer.encoders.token_counts import pieces_before
from tfhub_transfer.runtime.masking import NEVER


class Slices(NamedTuple):
    """Which words of which text each window holds, int32 `[windows]`, text by text.

    Attributes:
        first: A window's first word, counted over the words of all texts.
        end: The word after its last.
        owners: The text that it is of.
    """

    first: tf.Tensor
    end: tf.Tensor
    owners: tf.Tensor

    @property
    def words(self) -> tf.Tensor:
        """How many words each window holds."""
        return self.end - self.first


@dataclasses.dataclass(frozen=True)
class Spans:
    """The best span of each text `[n]`.

    Attributes:
        first: Its first word, counted over the words of all texts.
        last: Its last word.
        log_score: Log-probability of its start and its end, over all slices.
        null_log_score: The same of no answer.
        margin: Score of the span less that of no answer.
    """

    first: tf.Tensor
    last: tf.Tensor
    log_score: tf.Tensor
    null_log_score: tf.Tensor
    margin: tf.Tensor


def cut(counts: tf.RaggedTensor, question_pieces: tf.Tensor, room: int) -> Slices:
    """Cuts texts into windows that overlap by half, so that a word is whole in one of them.

    A question takes at most half of the room, its window of the text the rest; the next window
    begins half a window later (the document stride of Devlin et al. 2019). A text that fits is one
    window, as is an empty one.

    Args:
        counts: Word pieces of each word `[n, (words)]`, at least one each and at most
            `token_counts.most_pieces(room)`, so that none is longer than half of a window.
        question_pieces: Word pieces of each text's question `[n]`.
        room: Word pieces that a question and a window may have together.
    """
    counts = tf.cast(counts, tf.int32)
    width = room - tf.minimum(tf.cast(question_pieces, tf.int32), room - room // 2)
    stride = width - width // 2
    begins = pieces_before(counts)
    totals = tf.reduce_sum(counts, axis=1)
    number = tf.maximum(0, -(-(totals - width) // stride)) + 1
    owners = tf.repeat(tf.range(tf.size(totals)), number)
    place = tf.ragged.range(number).flat_values * tf.gather(stride, owners)
    # One search for all texts: pieces are counted on from text to text.
    text_begins = tf.gather(tf.cumsum(totals, exclusive=True), counts.value_rowids())
    starts = begins + text_begins
    place += tf.gather(tf.cumsum(totals, exclusive=True), owners)
    first = tf.searchsorted(starts, place, side="left")
    limit = place + tf.gather(width, owners)
    end = tf.searchsorted(starts + counts.flat_values, limit, side="right")
    text_end = tf.gather(tf.cast(counts.row_limits(), tf.int32), owners)
    first = tf.minimum(first, text_end)
    return Slices(first, tf.clip_by_value(end, first, text_end), owners)


def best(scores: tf.Tensor, slices: Slices, most_words: int, silent: bool) -> Spans:
    """The best span of each text, over all of its windows, by its start's and end's joint score.

    Scores of different windows are compared as they are; probabilities are shares of all windows'
    starts, and of all ends (the shared normalisation of Clark and Gardner 2018,
    https://aclanthology.org/P18-1078). No answer scores as in the window that is least in favour
    of it, as in the script of BERT for SQuAD 2.0: one window with the answer is enough.

    Args:
        scores: Scores of starts and ends of each window's candidates `[windows, candidates, 2]`: no
            answer, then its words, then padding of any value.
        slices: The words of each window.
        most_words: The most words of a span.
        silent: Whether no answer is among what probabilities are shares of.

    Returns:
        Spans; where a text has no words, the margin is below `NEVER / 2`.
    """
    # No answer and a word at least, so that there is something to choose from.
    dense = tf.pad(scores, [[0, 0], [0, 2], [0, 0]], constant_values=NEVER)
    inside = tf.sequence_mask(slices.words + 1, tf.shape(dense)[1])
    dense = tf.where(inside[..., tf.newaxis], dense, NEVER)
    null = tf.reduce_sum(dense[:, 0], axis=-1)
    quietest = _highest_row(-null, slices.owners)
    start, end = dense[:, 1:, 0], dense[:, 1:, 1]
    row, first, last = _best_pair(start, end, slices.owners, most_words)
    found = _at(start, row, first) + _at(end, row, last)
    # Of each text one window's no answer, or none.
    asked = tf.equal(tf.range(tf.size(null)), tf.gather(quietest, slices.owners)) & silent
    shares = tf.concat([tf.where(asked[:, None, None], dense[:, :1], NEVER), dense[:, 1:]], axis=1)
    total = tf.reduce_sum(_log_sums(shares, slices.owners), axis=-1)
    null = tf.gather(null, quietest)
    words = tf.gather(slices.first, row)
    return Spans(words + first, words + last, found - total, null - total, found - null)


def _best_pair(
    start: tf.Tensor, end: tf.Tensor, owners: tf.Tensor, most_words: int
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Row, first and last column of each owner's highest `start + end` within `most_words`."""
    wide = tf.pad(end, [[0, 0], [0, most_words - 1]], constant_values=NEVER)
    # For each start the best end that it may have; which it is, is asked of the winners only.
    reached = tf.nn.max_pool1d(wide[..., tf.newaxis], most_words, 1, "VALID")[..., 0]
    joint = start + reached
    row = _highest_row(tf.reduce_max(joint, axis=1), owners)
    first = tf.argmax(tf.gather(joint, row), axis=1, output_type=tf.int32)
    columns = first[:, tf.newaxis] + tf.range(most_words)
    ends = tf.gather(tf.gather(wide, row), columns, batch_dims=1)
    return row, first, first + tf.argmax(ends, axis=1, output_type=tf.int32)


def _highest_row(values: tf.Tensor, owners: tf.Tensor) -> tf.Tensor:
    """The first row of each owner with its highest value, int32 `[n]`."""
    highest = tf.gather(tf.math.segment_max(values, owners), owners)
    rows = tf.range(tf.size(values))
    return tf.math.segment_min(tf.where(values >= highest, rows, tf.size(values)), owners)


def _at(values: tf.Tensor, row: tf.Tensor, column: tf.Tensor) -> tf.Tensor:
    return tf.gather_nd(values, tf.stack([row, column], axis=1))


def _log_sums(values: tf.Tensor, owners: tf.Tensor) -> tf.Tensor:
    """Log of the sum of exponentials over all rows `[rows, candidates, 2]` of an owner `[n, 2]`."""
    highest = tf.math.segment_max(tf.reduce_max(values, axis=1), owners)
    reduced = tf.exp(values - tf.gather(highest, owners)[:, tf.newaxis])
    return highest + tf.math.log(tf.math.segment_sum(tf.reduce_sum(reduced, axis=1), owners))
