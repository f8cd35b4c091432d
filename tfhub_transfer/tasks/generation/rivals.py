"""What needs no decoder: copying the text, its last turn, its first sentences."""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from tfhub_transfer.texts import sentences
from tfhub_transfer.texts.joining import WORD_END, is_listed, spaced, split_words


def copied(texts: Sequence[str]) -> list[str]:
    """Each text as it is, lists of words with spaces between.

    Args:
        texts: What is asked.
    """
    return list(map(spaced, texts))


def last_turns(texts: Sequence[str]) -> list[str]:
    r"""The newest turn of each conversation, which says nothing new.

    Args:
        texts: Turns, each in a line of its own, or as lists.

    Example:

    >>> last_turns(["Hello!\nHow are you?"])
    ['How are you?']
    """
    return [_last(text) for text in texts]


def _last(text: str) -> str:
    turns = split_words(text) if is_listed(text) else text.splitlines()
    return next((turn.strip() for turn in reversed(turns) if turn.strip()), "")


def lead(texts: Sequence[str], most: int) -> list[str]:
    """The first sentences of each text.

    Args:
        texts: Plain texts, or lists of sentences.
        most: How many sentences.

    Example:

    >>> lead(["It rained. Nobody came. It went on."], 2)
    ['It rained. Nobody came.']
    """
    plain = [text for text in texts if not is_listed(text)]
    found = iter(sentences.split(tf.constant(plain, tf.string), WORD_END)[0].to_list())
    rows = [split_words(t) if is_listed(t) else [s.decode() for s in next(found)] for t in texts]
    return [" ".join(row[:most]) for row in rows]


def usual_count(targets: Sequence[str]) -> int:
    """How many sentences targets have, on average, at least 1.

    Args:
        targets: Plain texts.
    """
    lengths = sentences.split(tf.constant(list(targets), tf.string), WORD_END)[0].row_lengths()
    return max(1, round(float(np.mean(lengths.numpy())))) if len(targets) else 1
