"""Units inside of texts, as words and sentences are: joined, counted, cut into rows that fit."""

import itertools
from collections.abc import Iterable, Sequence

import numpy as np
import tensorflow as tf

from tfhub_transfer.data import Examples
from tfhub_transfer.encoders.preprocessing import BertPreprocessor
from tfhub_transfer.encoders.token_counts import pieces_before
from tfhub_transfer.errors import InputError
from tfhub_transfer.incoming import values
from tfhub_transfer.tasks.layout import Rows, of_rows
from tfhub_transfer.texts.joining import WORD_END, split_words


def of_units(scores: tf.Tensor | tf.RaggedTensor, lengths: tf.Tensor) -> tf.RaggedTensor:
    """Scores `[rows, most units, ...]`, ragged or padded, as `[rows, (units), ...]`.

    Args:
        scores: Of rows, possibly of more units than the rows have.
        lengths: The number of units of each row, int64 `[rows]`.
    """
    dense = scores.to_tensor() if isinstance(scores, tf.RaggedTensor) else scores
    return tf.RaggedTensor.from_tensor(dense, lengths)


def joined(scores: Iterable[np.ndarray], rows: Rows) -> list[np.ndarray]:
    """Scores of the units of each row, to those of the units of each example."""
    found: list[list[np.ndarray]] = [[] for _ in range(rows.count)]
    for owner, part in zip(rows.owners, scores):
        found[owner].append(part)
    return [np.concatenate(of_example) for of_example in found]


def join(words: tf.RaggedTensor) -> tf.Tensor:
    """Words `[n, (words)]` to one text `[n]` in which they can be told apart."""
    return tf.strings.reduce_join(words, axis=-1, separator=WORD_END)


def parts(counts: tf.RaggedTensor, room: int) -> tf.Tensor:
    """Of each word the part of its text that it goes to, int32 `[all words]`, from 0.

    A text that fits is one part. A longer one is cut where half the room is full, again and again,
    so that a part fits with its last word, unless that alone takes half the room.

    Args:
        counts: Word pieces of each word `[n, (words)]`.
        room: Word pieces that fit.
    """
    total = tf.gather(tf.reduce_sum(counts, axis=1), counts.value_rowids())
    part = tf.cast(pieces_before(counts), tf.int32) // max(1, room // 2)
    return tf.where(tf.cast(total, tf.int32) <= room, 0, part)


def cut_rows(words: tf.RaggedTensor, preprocessor: BertPreprocessor) -> tf.RaggedTensor:
    """Words `[n, (words)]` in rows that fit, `[rows, (words)]`, one empty row after them.

    The same cuts as `cut_long` makes, for an exported model.
    """
    counts = words.with_values(
        tf.cast(preprocessor.pieces(words.flat_values).row_lengths(), tf.int32)
    )
    # [CLS] and [SEP] take the other two.
    part = parts(counts, preprocessor.sequence_length - 2)
    most = tf.reduce_max(tf.concat([part, [0]], axis=0)) + 1
    _, rows = tf.unique(tf.cast(words.value_rowids(), tf.int32) * most + part)
    count = tf.reduce_max(tf.concat([rows, [-1]], axis=0)) + 1
    return tf.RaggedTensor.from_value_rowids(
        words.flat_values, tf.cast(rows, tf.int64), tf.cast(count, tf.int64) + 1, validate=False
    )


def _listed(label: object) -> Sequence[object]:
    """Tags as a list, also where they are written as text or are an array."""
    if isinstance(label, str):
        return values.written(label) or []
    assert isinstance(label, Iterable)  # the task has looked at it
    return list(label)


def cut_long(examples: Examples, preprocessor: BertPreprocessor) -> Rows:
    """Sentences in words that are too long, into parts that fit; others stay as they are.

    Args:
        examples: Texts of joined words, with or without tags.
        preprocessor: What says how many word pieces a word has, and how many fit.

    Returns:
        The parts, with their tags.

    Raises:
        InputError: If a sentence has more or fewer tags than words.
    """
    pieces = preprocessor.words(tf.constant(examples.texts[0], tf.string))
    counts = pieces.with_values(tf.cast(pieces.values.row_lengths(axis=1), tf.int32))
    # [CLS] and [SEP] take the other two.
    of_word = counts.with_values(parts(counts, preprocessor.sequence_length - 2)).to_list()
    tags = of_word if examples.target is None else [*map(_listed, examples.labels)]
    texts, kept, owners = [], [], []
    for row, (text, of_row, numbers) in enumerate(zip(examples.texts[0], tags, of_word)):
        words = split_words(text)
        if len(of_row) != len(words):
            raise InputError(
                f"every word must have a tag; mend the row. Received: {len(words)} words and "
                f"{len(of_row)} tags, in {' '.join(words)[:60]!r}"
            )
        bounds = [0, *(np.flatnonzero(np.diff(numbers)) + 1).tolist(), len(words)]
        for start, end in itertools.pairwise(bounds):
            texts.append(WORD_END.join(words[start:end]))
            kept.append(list(of_row[start:end]))
            owners.append(row)
    made = of_rows([texts], kept if examples.target else None)
    return Rows(made, np.array(owners), len(examples))
