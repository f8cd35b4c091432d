"""What needs no decoder: copying the text, its last turn, its first sentences or its best."""

from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf
from sklearn.linear_model import RidgeCV

from tfhub_transfer.tasks import rouge
from tfhub_transfer.tasks.nearness import unit
from tfhub_transfer.texts import sentences
from tfhub_transfer.texts.joining import WORD_END, is_listed, spaced, split_words

# Of ridge regressions on vectors of length 1.
_STRENGTHS = (0.1, 1.0, 10.0, 100.0)


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
    near = [own @ own.sum(axis=0) for own in _vectors(rows, encode)]
    return _best(rows, near, most)


def extracted(
    known: Sequence[Sequence[str]],
    summaries: Sequence[Sequence[str]],
    rows: Sequence[Sequence[str]],
    encode: Callable[[Sequence[str]], np.ndarray],
    most: int,
) -> list[str]:
    """Of each text the sentences that a model chooses, which learned it from others' summaries.

    The plainest model that does: a ridge regression on a sentence's vector, how near that lies to
    all of its text's, the sentence's place and its length. It learns by how much ROUGE of a
    sentence alone is above the mean of its text's sentences; its strength is chosen by rows left
    out.

    Args:
        known: The sentences of each text that it learns from; two with several sentences at least.
        summaries: What is right for each of them.
        rows: The sentences of each text asked.
        encode: Sentences `[m]` to vectors `[m, d]`.
        most: How many sentences; they stand in the order of the text.
    """
    learned = RidgeCV(alphas=_STRENGTHS).fit(
        np.concatenate(_features(known, encode)),
        np.concatenate([_gains(*each) for each in zip(known, summaries, strict=True)]),
    )
    asked = _features(rows, encode)
    return _best(rows, [learned.predict(own) if len(own) else own[:, 0] for own in asked], most)


def _gains(row: Sequence[str], summaries: Sequence[str]) -> np.ndarray:
    """What each sentence is worth alone, beside the others of its text."""
    worth = rouge.own_scores(row, summaries) if row else np.zeros(0)
    gained: np.ndarray = worth - worth.mean() if len(worth) else worth
    return gained


def _features(
    rows: Sequence[Sequence[str]], encode: Callable[[Sequence[str]], np.ndarray]
) -> list[np.ndarray]:
    """What is known of each text's sentences `[sentences, d + 4]`."""
    found = []
    for row, own in zip(rows, _vectors(rows, encode), strict=True):
        place = np.arange(len(row))
        whole = unit(own.sum(axis=0, keepdims=True))[0] if row else own.sum(axis=0)
        length = np.log1p([len(sentence.split()) for sentence in row])
        shape = (own @ whole, place == 0, place / max(1, len(row) - 1), length)
        found.append(np.column_stack([own, *shape]))
    return found


def _vectors(
    rows: Sequence[Sequence[str]], encode: Callable[[Sequence[str]], np.ndarray]
) -> list[np.ndarray]:
    """The vectors of each text's sentences, of length 1."""
    if not rows:
        return []
    flat = [sentence for row in rows for sentence in row]
    vectors = unit(np.asarray(encode(flat))) if flat else np.zeros((0, 1), "float32")
    return np.split(vectors, np.cumsum(list(map(len, rows)))[:-1])


def _best(rows: Sequence[Sequence[str]], scores: Sequence[np.ndarray], most: int) -> list[str]:
    """Of each text the sentences with the highest scores, in the order of the text."""
    best = [np.sort(np.argsort(-own, kind="stable")[:most]) for own in scores]
    return [" ".join(row[at] for at in own) for row, own in zip(rows, best, strict=True)]


def usual_count(targets: Sequence[str]) -> int:
    """How many sentences targets have, on average, at least 1.

    Args:
        targets: Plain texts.
    """
    lengths = sentences.split(tf.constant(list(targets), tf.string), WORD_END)[0].row_lengths()
    return max(1, round(float(np.mean(lengths.numpy())))) if len(targets) else 1
