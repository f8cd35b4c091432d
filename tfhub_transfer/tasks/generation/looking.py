"""Which pieces of a text a decoder looks at while it writes the pieces of an answer."""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from tfhub_transfer.heads.decoder import Decoder, Remembered
from tfhub_transfer.reporting.contents import Attention
from tfhub_transfer.shapes import Array
from tfhub_transfer.tasks.generation.vocabulary import BOS, TargetVocabulary

# More pieces of either are no table that anybody reads.
_MOST_SOURCE, _MOST_ANSWER = 24, 40
_END = "(end)"


def read_shares(decoder: Decoder, state: Remembered, ids: Array) -> Array:
    """How much of each place of the source is read for each piece, `[rows, pieces, source]`.

    Args:
        decoder: What wrote the texts.
        state: What it remembers of their sources.
        ids: Their pieces, int32 `[rows, pieces]`.
    """
    given = np.pad(ids, [[0, 0], [1, 0]], constant_values=BOS)[:, :-1]
    cache, found = decoder.empty(len(ids), state), []
    for place in range(given.shape[1]):
        at = tf.constant(given[:, place], tf.int32), tf.constant(place)
        _, cache, read = decoder.step_reading(*at, cache, state)
        found.append(np.asarray(read))
    return np.stack(found, axis=1)


def pictures(
    vocabulary: TargetVocabulary,
    sources: Sequence[Sequence[str]],
    answers: Sequence[Sequence[int]],
    read: Array,
) -> list[Attention]:
    """What a report shows of it: what is read most, in the order of the text.

    Args:
        vocabulary: The pieces of answers.
        sources: The pieces of each source, to read.
        answers: The pieces of each answer, its end not among them.
        read: As of `read_shares`, of the pieces of each answer and of its end.
    """
    found: list[Attention] = []
    for source, ids, weights in zip(sources, answers, read):
        written = [*vocabulary.pieces(ids), _END][:_MOST_ANSWER]
        own = weights[: len(written), : len(source)]
        most = np.sort(np.argsort(-own.max(axis=0), kind="stable")[:_MOST_SOURCE])
        found.append(
            {
                "source": [source[place] for place in most],
                "answer": written,
                "weights": [[round(float(x), 4) for x in row[most]] for row in own],
            }
        )
    return found
