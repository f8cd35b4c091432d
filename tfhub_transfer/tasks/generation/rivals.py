"""What needs no decoder: copying the text, its first sentences, the answer to the nearest one."""

from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf

from tfhub_transfer.texts import sentences
from tfhub_transfer.texts.joining import WORD_END, is_listed, spaced, split_words

# Cosines that are in memory together: 64 MB.
_CELLS = 16_000_000


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
    vectors = _unit(encode(flat)) if flat else np.zeros((0, 1), "float32")
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


def nearest(known: np.ndarray, asked: np.ndarray, most: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """The texts whose vectors are most like those of others, a translation memory.

    Args:
        known: Vectors of texts whose answers are known `[m, d]`.
        asked: Vectors of others `[n, d]`.
        most: How many for each; fewer if there aren't as many.

    Returns:
        Rows of the known ones, the nearest first (of equally near ones the first), and their
        cosines, both `[n, most]`.

    Example:

    >>> rows, near = nearest(np.eye(3), np.array([[0.0, 2.0, 0.1]]))
    >>> rows.tolist(), near.round(3).tolist()
    ([[1]], [[0.999]])
    """
    most = min(most, len(known))
    columns, rows = _unit(known).T, _unit(asked)
    step = max(1, _CELLS // max(len(known), 1))
    places, cosines = [np.zeros((0, most), int)], [np.zeros((0, most))]
    for start in range(0, len(rows), step):
        near = rows[start : start + step] @ columns
        order = _highest(near, most)
        places.append(order)
        cosines.append(np.take_along_axis(near, order, axis=1))
    return np.concatenate(places), np.concatenate(cosines)


def _highest(values: np.ndarray, most: int) -> np.ndarray:
    """Places of the highest values of each row, the highest first `[n, most]`."""
    if most == 1:
        return np.asarray(values.argmax(axis=1))[:, None]
    return np.argsort(-values, axis=1, kind="stable")[:, :most]


def _unit(vectors: np.ndarray) -> np.ndarray:
    vectors = np.asarray(vectors, "float32")
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.where(lengths > 0, lengths, 1.0)
