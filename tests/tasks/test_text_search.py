"""Searches for texts against brute force, and against the same in Python."""

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from tfhub_transfer.tasks.generation import searching
from tfhub_transfer.tasks.generation.searching import Found, Search, Signs

BEGIN, END = 2, 3
SIGNS = Signs(BEGIN, END)
VOCABULARY = 6
# Of six ids two are words, beside UNK, which is a piece like any other here.
WORDS = (1, 4, 5)


class Table:
    """A model whose next piece depends on the row, the place and the two pieces before."""

    def __init__(self, rows: int, places: int, seed: int = 0, sharp: float = 2.0) -> None:
        generator = np.random.default_rng(seed)
        shape = (rows, places + 1, VOCABULARY, VOCABULARY, VOCABULARY)
        self.rows, self.scores = rows, generator.normal(0, sharp, shape)
        self.scores -= np.log(np.exp(self.scores).sum(-1, keepdims=True))
        self.scores = self.scores.astype("float32")

    def step(self, ids: tf.Tensor, place: tf.Tensor, cache: Any) -> tuple[tf.Tensor, Any]:
        hypotheses = tf.shape(ids)[0]
        rows = tf.repeat(tf.range(self.rows), hypotheses // self.rows)
        # The cache is both what a search must follow its hypotheses with, and one that grows.
        cache = tf.concat([cache, ids[:, None]], 1)
        before = tf.where(place > 0, cache[:, tf.maximum(place - 1, 0)], 0)
        index = tf.stack([rows, tf.fill([hypotheses], place), before, ids], 1)
        return tf.gather_nd(tf.constant(self.scores), index), cache

    def total(self, row: int, words: Sequence[int]) -> float:
        """The logarithm of a whole text's probability."""
        before, last, total = 0, BEGIN, 0.0
        for place, piece in enumerate([*words, END]):
            total += float(self.scores[row, place, before, last, piece])
            before, last = last, piece
        return total

    def next(self, row: int, words: Sequence[int]) -> np.ndarray:
        before, last = ([0, BEGIN, *words])[-2:]
        return self.scores[row, len(words), before, last]


def _empty(rows: tf.Tensor) -> tf.Tensor:
    return tf.zeros([rows, 0], tf.int32)


def found(
    table: Table, settings: Search, begin: Any = None, most: Any = None, xla: bool = False
) -> Found:
    """As a graph, of a batch whose size it doesn't know."""

    @tf.function(input_signature=[tf.TensorSpec([], tf.int32)])
    def run(batch: tf.Tensor) -> tuple[tf.Tensor, ...]:
        answer = searching.find(table.step, _empty, batch, SIGNS, settings, begin, most)
        return answer.ids, answer.scores, answer.lengths

    return Found(*(each.numpy() for each in run(table.rows)))


def texts_of(answer: Found, row: int) -> list[tuple[int, ...]]:
    return [tuple(ids[:count]) for ids, count in zip(answer.ids[row], answer.lengths[row])]


def penalty(words: Sequence[int], power: float) -> float:
    return ((5 + len(words) + 1) / 6) ** power


def every_text(least: int, most: int) -> list[tuple[int, ...]]:
    return [w for n in range(least, most + 1) for w in itertools.product(WORDS, repeat=n)]


@pytest.mark.parametrize("power", [0.0, 1.0])
def test_enough_beams_find_what_brute_force_finds(power: float) -> None:
    most, best = 3, 12
    table = Table(rows=3, places=most)
    settings = Search(beams=64, n_best=best, max_length=most, length_penalty=power, thorough=True)
    answer = found(table, settings)
    for row in range(table.rows):
        scored = {w: table.total(row, w) / penalty(w, power) for w in every_text(0, most)}
        expected = sorted(scored, key=scored.__getitem__, reverse=True)[:best]
        assert texts_of(answer, row) == expected
        np.testing.assert_allclose(answer.scores[row], [scored[w] for w in expected], atol=1e-5)
        assert all(not ids[len(w) :].any() for ids, w in zip(answer.ids[row], expected))


def beam_search(table: Table, row: int, settings: Search) -> list[tuple[float, tuple[int, ...]]]:
    """The same in Python, text by text."""
    power, beams = settings.length_penalty, settings.beams
    opened: list[tuple[float, tuple[int, ...]]] = [(0.0, ())]
    ended: list[tuple[float, tuple[int, ...]]] = []
    for place in range(settings.max_length + 1):
        pieces = WORDS if place < settings.max_length else ()
        candidates = [
            (total + float(table.next(row, words)[piece]), (*words, piece))
            for total, words in opened
            for piece in (*pieces, END)
        ]
        candidates.sort(reverse=True)
        ended += [
            (total / penalty(words[:-1], power), words[:-1])
            for total, words in candidates[:beams]
            if words[-1] == END
        ]
        ended = sorted(ended, reverse=True)[: settings.n_best]
        opened = [each for each in candidates if each[1][-1] != END][:beams]
        if not opened:
            break
        longest = settings.max_length if settings.thorough else place + 1
        reachable = opened[0][0] / ((5 + longest + 1) / 6) ** power
        if len(ended) == settings.n_best and ended[-1][0] >= reachable:
            break
    return ended


@pytest.mark.parametrize(
    "settings",
    [
        Search(beams=2, max_length=6),
        Search(beams=3, n_best=3, max_length=6, length_penalty=0.6),
        Search(beams=4, n_best=2, max_length=5, length_penalty=2.0, thorough=True),
    ],
)
def test_beams_go_as_they_do_in_python(settings: Search) -> None:
    table = Table(rows=8, places=settings.max_length, seed=1, sharp=1.0)
    answer = found(table, settings)
    for row in range(table.rows):
        expected = beam_search(table, row, settings)
        assert texts_of(answer, row)[: len(expected)] == [words for _, words in expected]
        np.testing.assert_allclose(
            answer.scores[row][: len(expected)], [score for score, _ in expected], atol=1e-5
        )
