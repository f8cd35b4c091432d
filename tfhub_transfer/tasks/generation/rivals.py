"""What needs no decoder: copying the text, its last turn, its first sentences."""

from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf

from tfhub_transfer.tasks.nearness import unit
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
    return [" ".join(row[:most]) for row in in_sentences(texts)]


def in_sentences(texts: Sequence[str]) -> list[list[str]]:
    """The sentences of each text.

    Args:
        texts: Plain texts, or lists of sentences.

    Example:

    >>> in_sentences(["It rained. Nobody came."])
    [['It rained.', 'Nobody came.']]
    """
    plain = [text for text in texts if not is_listed(text)]
    found = iter(sentences.split(tf.constant(plain, tf.string), WORD_END)[0].to_list())
    return [split_words(t) if is_listed(t) else [s.decode() for s in next(found)] for t in texts]


def central(
    rows: Sequence[Sequence[str]], encode: Callable[[Sequence[str]], np.ndarray], most: int
) -> list[str]:
    """Of each text the sentences that are most like all of its sentences: an extractive summary.

    It needs no training: a sentence counts by the cosine of its vector to the mean of all, as in
    Radev et al. 2004, "Centroid-based summarization of multiple documents".

    Args:
        rows: The sentences of each text.
        encode: Sentences `[m]` to vectors `[m, d]`.
        most: How many sentences; they stand in the order of the text.
    """
    flat = [sentence for row in rows for sentence in row]
    vectors = unit(encode(flat)) if flat else np.zeros((0, 1), "float32")
    found, start = [], 0
    for row in rows:
        own = vectors[start : start + len(row)]
        start += len(row)
        near = own @ own.sum(axis=0) if row else np.zeros(0)
        best = sorted(np.argsort(-near, kind="stable")[:most])
        found.append(" ".join(row[place] for place in best))
    return found


def usual_count(targets: Sequence[str]) -> int:
    """How many sentences targets have, on average, at least 1.

    Args:
        targets: Plain texts.
    """
    lengths = sentences.split(tf.constant(list(targets), tf.string), WORD_END)[0].row_lengths()
    return max(1, round(float(np.mean(lengths.numpy())))) if len(targets) else 1
