"""The best sentences of documents, without repetition."""

import numpy as np
import pytest
import tensorflow as tf

from tfhub_transfer.tasks.summaries import selection


def expected(scores: list[float], pieces: list[list[int]], most: int) -> list[int]:
    """The definition, step by step."""
    taken: list[int] = []
    seen: set[tuple[int, ...]] = set()
    for place in sorted(range(len(scores)), key=lambda i: -scores[i]):
        own = set(zip(pieces[place], pieces[place][1:], pieces[place][2:]))
        if len(taken) < most and not own & seen:
            taken.append(place)
            seen |= own
    return sorted(taken)


@pytest.mark.parametrize("most", [1, 2, 3, 20])
@pytest.mark.parametrize("vocabulary", [3, 30522])
def test_it_is_the_greedy_choice_of_any_documents(most: int, vocabulary: int) -> None:
    generator = np.random.default_rng(most)
    counts = [4, 0, 1, 9, 0, 15, 2]
    scores = [np.round(generator.normal(size=n), 1).astype(np.float32).tolist() for n in counts]
    pieces = [
        [generator.integers(0, vocabulary, generator.integers(1, 7)).tolist() for _ in range(n)]
        for n in counts
    ]
    flat = [sentence for document in pieces for sentence in document]
    inputs = tf.ragged.constant(scores, tf.float32), tf.ragged.constant(flat, tf.int32)
    wanted = [expected(s, p, most) for s, p in zip(scores, pieces)]
    for run in (selection.choose, tf.function(selection.choose)):
        chosen = inputs[0].with_values(run(*inputs, most)).to_list()
        assert [np.flatnonzero(row).tolist() for row in chosen] == wanted


def test_a_trigram_of_another_document_blocks_nothing() -> None:
    same = tf.ragged.constant([[1, 2, 3], [4, 5, 6], [1, 2, 3], [0, 1, 2, 3]], tf.int32)
    scores = tf.ragged.constant([[0.9, 0.1], [0.9, 0.8]])
    assert selection.choose(scores, same, 2).numpy().tolist() == [True, True, True, False]


def test_no_documents_and_no_sentences_are_fine() -> None:
    nothing = tf.RaggedTensor.from_row_lengths(tf.zeros([0], tf.int32), tf.zeros([0], tf.int64))
    scores = tf.RaggedTensor.from_row_lengths(tf.zeros([0]), tf.constant([0, 0], tf.int64))
    assert selection.choose(scores, nothing, 3).shape == (0,)


def test_of_scores_that_differ_by_rounding_the_earlier_is_taken() -> None:
    pieces = tf.ragged.constant([[1], [2], [3]], tf.int32)
    scores = tf.ragged.constant([[-7.9281, -7.928099, -7.92]])
    assert selection.choose(scores[:, :2], pieces[:2], 1).numpy().tolist() == [True, False]
    assert selection.choose(scores, pieces, 1).numpy().tolist() == [False, False, True]
