"""Texts to words in TensorFlow: the one rule by which ids, tags, answers and exports split them.

Plain texts are split at spaces and signs, as BERT does; lists of words, which `joining` has put
together, where they were joined.
"""

import tensorflow as tf

from tfhub_transfer.private import tensorflow_texts
from tfhub_transfer.texts.joining import ALONE, WORD_END
from tfhub_transfer.texts.signs import SIGN, SPACE


def split(texts: tf.Tensor, sign: str = SIGN) -> tf.RaggedTensor:
    """Plain texts `[n]` to words `[n, (words)]`.

    Args:
        texts: Strings in UTF-8.
        sign: A pattern of what is a word of its own, whatever stands beside it.

    Example:

    >>> split(tf.constant(["It's 5 km"])).to_list()
    [[b'It', b"'", b's', b'5', b'km']]
    """
    return split_with_places(texts, sign)[0]


def split_with_places(
    texts: tf.Tensor, sign: str = SIGN
) -> tuple[tf.RaggedTensor, tf.RaggedTensor, tf.RaggedTensor]:
    """As `split`, with where each word starts and ends, in bytes.

    Args:
        texts: Strings in UTF-8.
        sign: As of `split`.
    """
    found, starts, ends, splits = tensorflow_texts.split(texts, f"{SPACE}|{sign}", sign)
    words = tf.RaggedTensor.from_row_splits(found, splits, validate=False)
    return words, words.with_values(starts), words.with_values(ends)


def are_listed(texts: tf.Tensor) -> tf.Tensor:
    """`joining.is_listed` of each text, bool `[n]`."""
    return tf.strings.regex_full_match(texts, f"(?s).*[{WORD_END}{ALONE}].*")


def plain(texts: tf.Tensor) -> tf.Tensor:
    """`joining.plain` of each text `[n]`: no list of words, whatever separators are in it."""
    return tf.strings.regex_replace(texts, f"[{WORD_END}{ALONE}]", " ")


def without_mark(texts: tf.Tensor) -> tf.Tensor:
    """Lists of words `[n]` without what says that a single word is one."""
    return tf.strings.regex_replace(texts, ALONE, "")


def listed(texts: tf.Tensor) -> tf.RaggedTensor:
    """`joining.split_words` of each text: the words of lists `[n, (words)]`."""
    return tf.strings.split(without_mark(texts), WORD_END)


def joined(words: tf.Tensor) -> tf.Tensor:
    """Words `[n, most]`, with empty ones after the last, as `joining.join_words` puts them."""
    rows = tf.RaggedTensor.from_tensor(plain(words), padding="")
    made = tf.strings.reduce_join(rows, axis=-1, separator=WORD_END)
    return tf.where(tf.equal(rows.row_lengths(), 1), made + ALONE, made)
