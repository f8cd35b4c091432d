"""Searches for texts against brute force, and against the same in Python."""

import dataclasses
import functools
import itertools
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from tfhub_transfer.errors import InputError
from tfhub_transfer.heads.decoder import Decoder
from tfhub_transfer.heads.settings import DecoderForm
from tfhub_transfer.runtime.masking import NEVER
from tfhub_transfer.shapes import Array
from tfhub_transfer.tasks.generation import constrained, searching
from tfhub_transfer.tasks.generation.constrained import Terms
from tfhub_transfer.tasks.generation.searching import Found, Rules, Search, Signs

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
        return self.of(tf.range(self.rows))(ids, place, cache)

    def of(self, texts: tf.Tensor) -> searching.Step:
        """The step of some of the texts."""
        return functools.partial(self._step, texts)

    def _step(
        self, texts: tf.Tensor, ids: tf.Tensor, place: tf.Tensor, cache: Any
    ) -> tuple[tf.Tensor, Any]:
        hypotheses = tf.shape(ids)[0]
        rows = tf.repeat(texts, hypotheses // tf.size(texts))
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
    table: Table,
    settings: Search,
    begin: Any = None,
    most: Any = None,
    signs: Signs = SIGNS,
    narrows: bool = True,
    terms: Any = None,
) -> Found:
    """As a graph, of a batch whose size it doesn't know."""
    of = table.of if narrows else None

    @tf.function(input_signature=[tf.TensorSpec([], tf.int32)])
    def run(batch: tf.Tensor) -> tuple[tf.Tensor, ...]:
        rules = Rules.of(batch, signs, settings, begin, most)
        if terms is not None:
            answer = constrained.find(table.step, _empty, rules, terms)
        else:
            answer = searching.find_by(table.step, _empty, rules, of=of)
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
        # Where a text is done, others that are longer would still become better.
        Search(beams=3, max_length=6, length_penalty=4.0),
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


# Settings -----------------------------------------------------------------------------------------


def greedy(table: Table, row: int, settings: Search) -> tuple[int, ...]:
    words: tuple[int, ...] = ()
    while len(words) < settings.max_length:
        scores = table.next(row, words)
        piece = max((*WORDS, END), key=lambda piece: scores[piece])
        if piece == END:
            break
        words = (*words, piece)
    return words


def test_one_beam_takes_the_likeliest_piece_each_time() -> None:
    settings = Search(beams=1, max_length=6, length_penalty=0.7)
    table = Table(rows=16, places=6)
    answer = found(table, settings)
    assert answer.ids.shape == (16, 1, 6) and answer.scores.shape == (16, 1)
    texts = [texts_of(answer, row)[0] for row in range(16)]
    assert texts == [greedy(table, row, settings) for row in range(16)]
    assert len({len(text) for text in texts}) > 2
    expected = [table.total(row, text) / penalty(text, 0.7) for row, text in enumerate(texts)]
    np.testing.assert_allclose(answer.scores[:, 0], expected, atol=1e-5)


EVERY_KIND = [
    Search(beams=1, max_length=6),
    Search(beams=3, n_best=3, max_length=6),
    Search(sample=True, n_best=2, max_length=6, top_k=3),
]
_MORE = (pytest.mark.slow, pytest.mark.exhaustive)
BEAMS_FIRST = [
    pytest.param(EVERY_KIND[0], marks=_MORE, id="likeliest"),
    pytest.param(EVERY_KIND[1], id="beams"),
    pytest.param(EVERY_KIND[2], marks=_MORE, id="drawn"),
]


@pytest.mark.parametrize("settings", EVERY_KIND, ids=["likeliest", "beams", "drawn"])
def test_the_best_come_first_and_are_scored_as_whole_texts(settings: Search) -> None:
    table = Table(rows=6, places=6, sharp=1.0)
    answer = found(table, settings)
    for row in range(table.rows):
        texts, scores = texts_of(answer, row), answer.scores[row]
        expected = [table.total(row, text) / penalty(text, 1.0) for text in texts]
        np.testing.assert_allclose(scores, expected, atol=1e-5)
        assert list(scores) == sorted(scores, reverse=True)
        assert settings.sample or len(set(texts)) == len(texts)
        assert not any({0, BEGIN, END} & set(text) for text in texts)


@pytest.mark.parametrize("settings", EVERY_KIND[:2], ids=["likeliest", "beams"])
def test_a_batch_answers_as_each_of_its_texts(settings: Search) -> None:
    """Though some of them end long before others."""
    table = Table(rows=4, places=6, sharp=1.5)
    answer = found(table, settings)
    assert len({int(each) for each in answer.lengths[:, 0]}) > 1
    for row in (0, 3):
        alone = Table(rows=1, places=6)
        alone.scores = table.scores[row : row + 1]
        only = found(alone, settings)
        assert texts_of(only, 0) == texts_of(answer, row)
        np.testing.assert_allclose(only.scores[0], answer.scores[row], atol=1e-6)


@pytest.mark.parametrize("settings", EVERY_KIND, ids=["likeliest", "beams", "drawn"])
def test_texts_that_are_done_are_left_out(settings: Search) -> None:
    """Where half are, or more; what is drawn depends on how many stand beside it."""
    rows: list[int] = []

    class Counting(Table):
        def _step(self, texts: tf.Tensor, ids: tf.Tensor, *rest: Any) -> tuple[tf.Tensor, Any]:
            tf.numpy_function(lambda n: rows.append(int(n)), [tf.size(ids)], [])
            return super()._step(texts, ids, *rest)

    table = Counting(rows=8, places=6)
    most = np.array([0, 6, 1, 2, 2, 2, 3, 4])
    settings = dataclasses.replace(settings, min_length=6, thorough=True)
    answer, all_rows = found(table, settings, most=most), [*rows]
    rows.clear()
    whole = found(table, settings, most=most, narrows=False)
    for name in ("ids", "scores", "lengths"):
        np.testing.assert_array_equal(getattr(answer, name), getattr(whole, name))
    assert rows == [8 * settings.hypotheses] * 7
    texts = [8] * 7 if settings.sample else [8, 8, 8, 3, 3, 1, 1]
    assert all_rows == [each * settings.hypotheses for each in texts]


@pytest.mark.parametrize("settings", EVERY_KIND, ids=["likeliest", "beams", "drawn"])
def test_lengths_are_kept(settings: Search) -> None:
    settings = dataclasses.replace(settings, min_length=2)
    most = np.array([2, 3, 5, 9])
    table = Table(rows=4, places=6)
    answer = found(table, settings, most=most)
    assert (answer.lengths >= 2).all()
    assert (answer.lengths <= np.minimum(most, 6)[:, None]).all()
    # All of one length, and of one that is less than the fewest.
    assert (found(table, settings, most=1).lengths == 1).all()


def test_what_may_not_come_back_does_not() -> None:
    table = Table(rows=8, places=9)
    settings = Search(beams=1, max_length=9, min_length=3)
    free = found(table, dataclasses.replace(settings, min_length=9))
    for size in (1, 3):
        kept = found(table, dataclasses.replace(settings, no_repeat=size))
        assert kept.lengths.all()
        for row in range(table.rows):
            assert not _repeats(texts_of(kept, row)[0], size)
        assert any(_repeats(texts_of(free, row)[0], size) for row in range(table.rows))


def _repeats(words: tuple[int, ...], size: int) -> bool:
    runs = [words[n : n + size] for n in range(len(words) - size + 1)]
    return len(set(runs)) < len(runs)


def test_no_repeat_is_no_more_than_it_says() -> None:
    """Against all texts whose runs are unlike."""
    most, best = 3, 6
    table = Table(rows=2, places=most)
    settings = Search(beams=64, n_best=best, max_length=most, no_repeat=2, thorough=True)
    answer = found(table, settings)
    for row in range(table.rows):
        scored = {
            words: table.total(row, words) / penalty(words, 1.0)
            for words in every_text(0, most)
            if len(set(itertools.pairwise(words))) == max(len(words) - 1, 0)
        }
        expected = sorted(scored, key=scored.__getitem__, reverse=True)[:best]
        assert texts_of(answer, row) == expected


def test_texts_begin_as_they_are_told() -> None:
    table = Table(rows=3, places=5)
    own = np.array([[4, 5], [1, 0], [0, 0]])
    for settings in (Search(beams=1, max_length=5), Search(beams=3, max_length=5), EVERY_KIND[2]):
        answer = found(table, dataclasses.replace(settings, begin=(5, 1), max_length=5))
        assert all(text[:2] == (5, 1) for row in range(3) for text in texts_of(answer, row))
        answer = found(table, dataclasses.replace(settings, max_length=5), begin=own)
        for row, begin in enumerate(own):
            told = tuple(piece for piece in begin if piece)
            for text, score in zip(texts_of(answer, row), answer.scores[row]):
                assert text[: len(told)] == told
                expected = table.total(row, text) / penalty(text, 1.0)
                assert score == pytest.approx(expected, abs=1e-5)


def test_what_begins_and_what_ends_may_be_one_sign() -> None:
    table = Table(rows=4, places=4)
    table.scores[:, 0, :, END] = table.scores[:, 0, :, BEGIN]
    table.scores[:, 1, END] = table.scores[:, 1, BEGIN]
    settings = Search(beams=1, max_length=4)
    answer = found(table, settings)
    again = found(table, settings, signs=Signs(END, END, never=(BEGIN,)))
    assert texts_of(again, 0) == texts_of(answer, 0)
    assert (again.lengths > 0).any()


def test_where_nothing_may_come_there_is_no_text() -> None:
    """Three words that come once each, and no end before the fifth."""
    table = Table(rows=2, places=6)
    for beams in (1, 2):
        settings = Search(beams=beams, n_best=beams, max_length=6, min_length=5, no_repeat=1)
        answer = found(table, settings)
        assert not answer.ids.any() and not answer.lengths.any()
        assert (answer.scores == NEVER).all()


@pytest.mark.parametrize("thorough", [False, True])
def test_a_text_that_is_done_stays_as_it_is(thorough: bool) -> None:
    """Though another goes on, and what is open would win if it became long: that is thorough."""
    table = Table(rows=2, places=6)
    shares = np.full(table.scores.shape, 1e-6)
    shares[0, ..., 1] = 1  # once begun, a text goes on
    shares[0, 0, ..., [1, END]] = [[[0.4]], [[0.5]]]
    shares[:, 6, ..., END] = 1
    shares[1, :6, ..., [1, 4]] = 0.5
    table.scores = np.log(shares).astype("float32")
    answer = found(table, Search(beams=2, max_length=6, thorough=thorough))
    expected = (1,) * 6 if thorough else ()
    assert texts_of(answer, 0)[0] == expected
    score = table.total(0, expected) / penalty(expected, 1.0)
    assert answer.scores[0, 0] == pytest.approx(score, abs=1e-5)
    assert answer.lengths[1, 0] == 6


# Terms that texts must hold -----------------------------------------------------------------------


def _terms(
    rows: Sequence[Sequence[Sequence[int]]], closed: bool = False, goes_on: Sequence[int] = ()
) -> Terms:
    made = np.zeros((len(rows), max(map(len, rows)), 3), np.int32)
    for row, own in enumerate(rows):
        for number, term in enumerate(own):
            made[row, number, : len(term)] = term
    letters = np.isin(np.arange(VOCABULARY), goes_on)
    return Terms(tf.constant(made), tf.fill(made.shape[:2], closed), letters)


def _holds(words: Sequence[int], term: Sequence[int], closed: bool, goes_on: Sequence[int]) -> bool:
    behind = [*words, END]
    return any(
        tuple(words[at : at + len(term)]) == tuple(term)
        and not (closed and behind[at + len(term)] in goes_on)
        for at in range(len(words) - len(term) + 1)
    )


# Of one, of two with a piece in common, of one that is a part of another, of none.
TOLD = [[[4, 5]], [[1, 4], [4]], [[5, 4], [4, 5]], [], [[4]], [[4], [4, 5], [1]]]


@pytest.mark.parametrize("closed", [False, True])
def test_enough_beams_find_the_best_texts_that_hold_their_terms(closed: bool) -> None:
    most, best = 4, 8
    table = Table(rows=len(TOLD), places=most, sharp=1.0)
    settings = Search(beams=250, n_best=best, max_length=most, thorough=True)
    answer = found(table, settings, terms=_terms(TOLD, closed, [5]))
    for row, terms in enumerate(TOLD):
        scored = {
            words: table.total(row, words) / penalty(words, 1.0)
            for words in every_text(0, most)
            if all(_holds(words, term, closed, [5]) for term in terms)
        }
        expected = sorted(scored, key=scored.__getitem__, reverse=True)[:best]
        assert texts_of(answer, row)[: len(expected)] == expected
        scores = answer.scores[row][: len(expected)]
        np.testing.assert_allclose(scores, [scored[w] for w in expected], atol=1e-5)
        # There may be no more.
        assert (answer.scores[row][len(expected) :] == NEVER).all()


@pytest.mark.parametrize(
    "settings",
    [
        Search(beams=1, max_length=6),
        Search(beams=2, max_length=5, no_repeat=1),
        Search(beams=4, n_best=3, max_length=6),
        Search(beams=4, max_length=6, min_length=3, length_penalty=0.0),
    ],
)
def test_terms_are_always_there_and_others_stay_to_the_letter(settings: Search) -> None:
    told = [TOLD[n % len(TOLD)] for n in range(40)]
    table = Table(rows=len(told), places=6, seed=3, sharp=3.0)
    plain = found(table, settings)
    lacks = 0
    for closed in (False, True):
        answer = found(table, settings, terms=_terms(told, closed, [5]))
        for row, terms in enumerate(told):
            texts = texts_of(answer, row)
            if not terms:
                assert texts == texts_of(plain, row)
                np.testing.assert_array_equal(answer.scores[row], plain.scores[row])
                continue
            real = [text for text, score in zip(texts, answer.scores[row]) if score > NEVER / 2]
            assert texts[0] in real
            for text in real:
                assert all(_holds(text, term, closed, [5]) for term in terms)
            expected = table.total(row, texts[0]) / penalty(texts[0], settings.length_penalty)
            assert answer.scores[row, 0] == pytest.approx(expected, abs=1e-4)
            lacks += not all(_holds(texts_of(plain, row)[0], t, closed, [5]) for t in terms)
    assert lacks > 20


def test_terms_that_have_no_room_are_left_out() -> None:
    table = Table(rows=3, places=6)
    told = [[[4, 5], [1]], [[4, 5], [1]], [[5]]]
    answer = found(table, Search(beams=2, max_length=6), most=[2, 3, 1], terms=_terms(told))
    assert texts_of(answer, 0) == [(4, 5)] and texts_of(answer, 2) == [(5,)]
    assert texts_of(answer, 1)[0] in [(4, 5, 1), (1, 4, 5)]
    # What a text begins with has its room, and may be a term.
    settings = Search(beams=2, max_length=3, begin=(4, 5))
    answer = found(table, settings, terms=_terms(told))
    assert all(text[:2] == (4, 5) for row in range(3) for text in texts_of(answer, row))
    assert texts_of(answer, 0)[0] == (4, 5, 1)


def test_no_term_at_all_is_the_search_by_beams() -> None:
    table = Table(rows=4, places=6, sharp=1.0)
    for beams in (1, 3):
        settings = Search(beams=beams, max_length=6)
        without = found(table, settings)
        answer = found(
            table,
            settings,
            terms=Terms(
                tf.zeros([4, 0, 3], tf.int32), tf.zeros([4, 0], tf.bool), np.zeros(VOCABULARY, bool)
            ),
        )
        for part in ("ids", "scores", "lengths"):
            np.testing.assert_array_equal(getattr(answer, part), getattr(without, part))


# What is left unread ------------------------------------------------------------------------------


@pytest.mark.parametrize("beams", [1, 64])
def test_what_is_left_unread_costs_what_it_says(beams: int) -> None:
    """A step reads as much of three places as a table says for each piece before."""
    most, weight = 3, 0.7
    table = Table(rows=2, places=most)
    reads = np.random.default_rng(5).dirichlet([0.5] * 3, VOCABULARY).astype("float32")

    def step(ids: tf.Tensor, place: tf.Tensor, cache: Any) -> tuple[tf.Tensor, Any]:
        scores, before = table.step(ids, place, cache[0])
        return scores, (before, cache[1] + tf.gather(reads, ids))

    def empty(rows: tf.Tensor) -> Any:
        return _empty(rows), tf.zeros([rows, 3])

    def lost(cache: Any) -> tf.Tensor:
        return weight * tf.reduce_sum(tf.math.log(tf.minimum(cache[1], 1.0)), -1)

    def by_hand(words: Sequence[int]) -> float:
        read = sum(reads[piece] for piece in (BEGIN, *words))
        return float(weight * np.log(np.minimum(read, 1)).sum())

    settings = Search(
        beams=beams, n_best=min(beams, 6), max_length=most, thorough=True, coverage_penalty=weight
    )
    rules = Rules.of(table.rows, SIGNS, settings)
    answer = searching.find_by(step, empty, rules, lost)
    answer = Found(*(each.numpy() for each in (answer.ids, answer.scores, answer.lengths)))
    for row in range(table.rows):
        scored = {
            words: table.total(row, words) / penalty(words, 1.0) + by_hand(words)
            for words in every_text(0, most)
        }
        texts = texts_of(answer, row)
        np.testing.assert_allclose(answer.scores[row], [scored[t] for t in texts], atol=1e-5)
        if beams > 1:
            assert texts == sorted(scored, key=scored.__getitem__, reverse=True)[: len(texts)]


# Drawing ------------------------------------------------------------------------------------------


def _shares(scores: Array, temperature: float, top_k: int, top_p: float) -> Array:
    """How often each piece is drawn, in NumPy."""
    scores = scores.astype("float64") / temperature
    scores[[0, BEGIN]] = -np.inf
    order = np.argsort(-scores)
    shares = np.exp(scores - scores.max())
    shares[order[top_k or len(order) :]] = 0
    shares /= shares.sum()
    enough = int(np.searchsorted(np.cumsum(shares[order]), top_p)) + 1
    shares[order[enough:]] = 0
    return shares / shares.sum()


@pytest.mark.parametrize(
    ("temperature", "top_k", "top_p"),
    [(1.0, 0, 1.0), (0.5, 0, 1.0), (3.0, 3, 1.0), (1.0, 0, 0.6), (1.5, 3, 0.7)],
)
def test_pieces_are_drawn_as_often_as_they_are_likely(
    temperature: float, top_k: int, top_p: float
) -> None:
    rows = 4000
    table = Table(rows=1, places=1, sharp=1.0)
    table.rows, table.scores = rows, np.repeat(table.scores, rows, 0)
    settings = Search(sample=True, max_length=1, temperature=temperature, top_k=top_k, top_p=top_p)
    answer = found(table, settings)
    first = np.where(answer.lengths[:, 0] == 0, END, answer.ids[:, 0, 0])
    often = np.bincount(first, minlength=VOCABULARY) / rows
    expected = _shares(table.next(0, ()), temperature, top_k, top_p)
    np.testing.assert_allclose(often, expected, atol=0.03)
    assert not often[expected == 0].any()


def test_the_seed_says_what_is_drawn() -> None:
    table = Table(rows=8, places=6, sharp=0.5)
    settings = Search(sample=True, n_best=3, max_length=6, seed=1)
    answer, again = found(table, settings), found(table, settings)
    np.testing.assert_array_equal(answer.ids, again.ids)
    other = found(table, dataclasses.replace(settings, seed=2))
    assert (other.ids != answer.ids).any()
    # Each text of a batch, and each of the best, is drawn for itself; so is each place.
    assert len({text for row in range(8) for text in texts_of(answer, row)}) > 8


# A decoder ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def decoder() -> Decoder:
    """Tiny, of weights that say something; four pieces beside the signs."""
    layer = Decoder(8, 4, DecoderForm(width=8, layers=2, heads=2, inner_units=8, copies=True))
    layer.build((None, None, 6))
    generator = np.random.default_rng(0)
    for weight in layer.weights:
        if "seed" not in weight.path:
            middle = float(weight.path.endswith("gamma"))
            weight.assign(generator.normal(middle, 0.5, weight.shape))
    return layer


class Writer(tf.Module):
    """A decoder's search as an export has it."""

    def __init__(
        self,
        decoder: Decoder,
        settings: Search,
        places: int | None = None,
        most: Any = None,
        narrows: bool = True,
    ) -> None:
        super().__init__()
        self.decoder, self.settings, self.places = decoder, settings, places
        self.most, self.narrows = most, narrows and places is None

    def find(self, memory: tf.Tensor, present: tf.Tensor, sources: tf.Tensor) -> dict[str, Any]:
        state = self.decoder.start(memory, present, sources, places=self.places)

        def of(texts: tf.Tensor | None) -> searching.Step:
            some = state if texts is None else state.of(texts)
            return lambda ids, place, cache: self.decoder.step(ids, place, cache, some)

        answer = searching.find_by(
            of(None),
            lambda rows: self.decoder.empty(rows, state),
            Rules.of(tf.shape(memory)[0], SIGNS, self.settings, most=self.most),
            of=of if self.narrows else None,
        )
        return vars(answer)

    def graph(self, **options: Any) -> Any:
        specs = [
            tf.TensorSpec([None, None, 6], tf.float32, "memory"),
            tf.TensorSpec([None, None], tf.int32, "present"),
            tf.TensorSpec([None, None], tf.int32, "sources"),
        ]
        return tf.function(self.find, specs, **options)


def _memory(rows: int = 3) -> list[tf.Tensor]:
    generator = np.random.default_rng(1)
    present = np.array([[1, 1, 1, 1], [1, 1, 0, 0], [1, 1, 1, 0]], np.int32)[:rows]
    sources = generator.integers(4, 8, (rows, 4)).astype(np.int32) * present
    memory = generator.normal(size=(rows, 4, 6)).astype(np.float32)
    return [tf.constant(each) for each in (memory, present, sources)]


def _teacher_forced(decoder: Decoder, given: list[tf.Tensor], texts: list[Any]) -> Array:
    """Of every row all of these texts: the logarithms of their probabilities, `[rows, texts]`."""
    targets = np.zeros((len(texts), max(map(len, texts)) + 2), np.int32)
    for row, text in enumerate(texts):
        targets[row, : len(text) + 2] = [BEGIN, *text, END]
    memory, present, sources = (tf.repeat(each, len(texts), 0) for each in given)
    every = tf.tile(tf.constant(targets), [given[0].shape[0], 1])
    scores = decoder(memory, present, every, sources).numpy()[..., 0]
    totals = (scores * (every.numpy()[:, 1:] != 0)).sum(-1)
    return totals.reshape(-1, len(texts))


@pytest.mark.parametrize("places", [None, 5])
def test_a_decoders_beams_find_what_brute_force_finds(decoder: Decoder, places: int | None) -> None:
    most, best = 2, 5
    settings = Search(beams=32, n_best=best, max_length=most, thorough=True)
    given = _memory()
    answer = Writer(decoder, settings, places).graph()(*given)
    pieces = (1, 4, 5, 6, 7)
    texts = [w for n in range(most + 1) for w in itertools.product(pieces, repeat=n)]
    totals = _teacher_forced(decoder, given, texts)
    scores = totals / [penalty(text, 1.0) for text in texts]
    for row in range(3):
        expected = np.argsort(-scores[row])[:best]
        found = [tuple(i[:n]) for i, n in zip(answer["ids"][row].numpy(), answer["lengths"][row])]
        assert found == [texts[each] for each in expected]
        np.testing.assert_allclose(answer["scores"][row], scores[row][expected], atol=1e-5)


@pytest.mark.parametrize("beams", [1, 3])
def test_what_is_left_of_a_batch_reads_its_own_memory(decoder: Decoder, beams: int) -> None:
    settings = Search(beams=beams, max_length=4, min_length=4)
    most = [1, 1, 4]  # the last one is left alone
    answer, whole = (
        Writer(decoder, settings, most=most, narrows=narrows).find(*_memory())
        for narrows in (True, False)
    )
    np.testing.assert_array_equal(answer["lengths"][:, 0], most)
    np.testing.assert_array_equal(answer["ids"], whole["ids"])
    np.testing.assert_allclose(answer["scores"], whole["scores"], atol=1e-5)


@pytest.mark.parametrize("settings", BEAMS_FIRST)
def test_an_export_answers_batches_of_all_sizes(
    decoder: Decoder, settings: Search, tmp_path: Path
) -> None:
    settings = dataclasses.replace(settings, max_length=4)
    writer = Writer(decoder, settings)
    tf.saved_model.save(writer, str(tmp_path), signatures=writer.graph())
    loaded = tf.saved_model.load(str(tmp_path)).signatures["serving_default"]
    for rows in (3, 1):
        memory, present, sources = _memory(rows)
        answer = loaded(memory=memory, present=present, sources=sources)
        expected = writer.find(memory, present, sources)
        np.testing.assert_array_equal(answer["ids"], expected["ids"])
        np.testing.assert_allclose(answer["scores"], expected["scores"], atol=1e-5)
        assert answer["ids"].shape == (rows, settings.n_best, 4)


@pytest.mark.slow
@pytest.mark.parametrize("settings", BEAMS_FIRST)
def test_xla_finds_the_same(decoder: Decoder, settings: Search) -> None:
    settings = dataclasses.replace(settings, max_length=4, no_repeat=2, begin=(4,))
    given = _memory()
    answer = Writer(decoder, settings, places=5).graph(jit_compile=True)(*given)
    expected = Writer(decoder, settings).graph()(*given)
    np.testing.assert_array_equal(answer["ids"], expected["ids"])
    # It rounds in another order.
    np.testing.assert_allclose(answer["scores"], expected["scores"], rtol=2e-5)


# Mistakes -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"beams": 0}, "`beams` must be a whole number from 1 to 256. Received: 0"),
        ({"max_length": 2.5}, "`max_length` must be a whole number"),
        ({"min_length": 9, "max_length": 8}, "`min_length` must be a whole number from 0 to 8"),
        ({"length_penalty": -1}, "`length_penalty` must be a number from 0 to 10"),
        ({"temperature": 0, "sample": True}, "`temperature` must be a number from 0.01 to 100"),
        ({"top_p": 0, "sample": True}, "`top_p` must be a number above 0, up to 1"),
        ({"sample": "yes"}, "`sample` must be True or False"),
        ({"begin": ("a",)}, "`begin` must be a whole number"),
        (
            {"beams": 2, "n_best": 3},
            "give `beams` (`--beams`) of at least `n_best`. Received: beams=2",
        ),
        ({"top_k": 4}, "are for drawing; give `sample=True` (`--sample`) too. Received: temp"),
        ({"begin": (4, 5), "max_length": 1}, "give a larger `max_length`. Received: 2 pieces"),
    ],
)
def test_mistakes_are_told(given: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError, match=re.escape(says)):
        Search(**given)
