"""Beams whose texts hold what they must: terms of a glossary, as whole words.

Hypotheses are kept apart by how many pieces of the terms they hold, so that those which hold more,
which are unlikelier, don't fall behind (Post and Vilar 2018, "Fast Lexically Constrained Decoding
with Dynamic Beam Allocation for Neural Machine Translation"; Hokamp and Liu 2017, "Lexically
Constrained Decoding for Sequence Generation Using Grid Beam Search"). How much one holds follows
from its pieces alone, so that no two hypotheses are one text. What holds most always goes on with a
term: after as many places as the terms have pieces there is a text that holds all, and no other
ends. Where nothing must be held, all is as in the search by beams.
"""

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from tfhub_transfer.runtime.masking import NEVER
from tfhub_transfer.tasks.generation import narrowing, searching
from tfhub_transfer.tasks.generation.searching import (
    VOID,
    Beams,
    Cache,
    Found,
    Penalty,
    Rules,
    Step,
)


@dataclasses.dataclass(frozen=True)
class Terms:
    """What the texts of a batch must hold.

    Attributes:
        pieces: `[batch, terms, most]`, 0 behind the last; a term without any is none.
        closed: Whether a letter behind it would make another word of it, bool `[batch, terms]`.
        goes_on: Which pieces begin with such a letter, bool `[vocabulary]`.
    """

    pieces: tf.Tensor
    closed: tf.Tensor
    goes_on: np.ndarray

    @property
    def lengths(self) -> tf.Tensor:
        """How many pieces each has, `[batch, terms]`."""
        return tf.reduce_sum(tf.cast(self.pieces != 0, tf.int32), -1)

    def that_fit(self, room: tf.Tensor) -> "Terms":
        """The first ones that so many pieces, `[batch]`, have room for; all have one at once."""
        fits = tf.cumsum(self.lengths, axis=-1) <= room[:, None]
        return dataclasses.replace(self, pieces=tf.where(fits[..., None], self.pieces, 0))


class _Held(NamedTuple):
    """How much of the terms hypotheses hold.

    Attributes:
        met: Whether a term is among its pieces, and nothing behind makes another word of it, bool
            `[batch, hypotheses, terms]`.
        reached: Of others, how many of their first pieces are its last ones.
    """

    met: tf.Tensor
    reached: tf.Tensor


class _Now(NamedTuple):
    """What `searching` follows, and what each hypothesis holds."""

    beams: Beams
    held: _Held

    @property
    def done(self) -> tf.Tensor:
        """Which texts are done."""
        return self.beams.done


def find(
    step: Step,
    empty: Callable[[tf.Tensor], Cache],
    rules: Rules,
    terms: Terms,
    penalty: Penalty | None = None,
) -> Found:
    """Searches for texts that hold terms.

    What has no room in a text is not looked for.

    Args:
        step: As of `searching.find_by`.
        empty: Likewise.
        rules: What holds for the batch's texts.
        terms: What they must hold.
        penalty: Likewise.
    """
    forced = (rules.forced >= 0) & (rules.forced != rules.signs.end)
    begun = tf.reduce_sum(tf.cast(forced, tf.int32), 1)
    search = _Search(rules, terms.that_fit(rules.ends - begun), penalty)
    length = rules.search.max_length

    def further(place: tf.Tensor, now: _Now, cache: Cache) -> tuple[_Now, Cache]:
        scores, cache = step(now.beams.last, place, cache)
        return search.further(scores, place, now, cache)

    beams = searching.beginning(rules, search.count)
    held = _Held(
        tf.zeros([rules.batch, search.count, search.terms_count], tf.bool),
        tf.zeros([rules.batch, search.count, search.terms_count], tf.int32),
    )
    now = narrowing.followed(further, _Now(beams, held), empty(rules.batch * search.count), length)
    return Found(now.beams.ended, now.beams.scores, now.beams.lengths)


class _Search:
    """One place after the other, of hypotheses by how much they hold."""

    def __init__(self, rules: Rules, terms: Terms, penalty: Penalty | None) -> None:
        self.rules, self.terms, self.penalty = rules, terms, penalty
        self.lengths = terms.lengths
        self.whole = tf.reduce_sum(self.lengths, -1)
        self.rooms = self._rooms()
        # As many hypotheses of each text as the one has that has most.
        self.count = tf.reduce_max(tf.reduce_sum(self.rooms, -1))
        self.terms_count = tf.shape(terms.pieces)[1]
        self.most = terms.pieces.shape[2]

    def _rooms(self) -> tf.Tensor:
        """How many hypotheses are followed that hold so many pieces, `[batch, pieces + 1]`."""
        beams = self.rules.search.beams
        held = tf.range(tf.reduce_max(self.whole) + 1)
        between = tf.where(held < self.whole[:, None], min(max(2, beams // 2), beams), 0)
        ends = (held == 0) | (held == self.whole[:, None])
        return tf.where(ends, beams, between)

    def further(
        self, scores: tf.Tensor, place: tf.Tensor, now: _Now, cache: Cache
    ) -> tuple[_Now, Cache]:
        """What is followed at the next place, of scores `[hypotheses, vocabulary]` of this one."""
        rules, beams, held = self.rules, now.beams, now.held
        batch, length = rules.batch, rules.search.max_length
        totals, pieces = self._candidates(scores, place, now)
        each = tf.shape(pieces)[2]
        after = self._after(beams.words, held, pieces, place)
        flat = [batch, self.count * each]
        totals, pieces = tf.reshape(totals, flat), tf.reshape(pieces, flat)
        after = _Held(*(tf.reshape(part, [*flat, self.terms_count]) for part in after))
        totals, order = tf.math.top_k(totals, flat[1])
        pieces, after = _at(pieces, order), _Held(*(_at(part, order) for part in after))
        parents, group = order // each, self._group(after)
        ends = pieces == rules.signs.end
        last = self._last(totals, ends, group)
        lost = searching.lost_by(self.penalty, cache, batch)
        merged = searching.merged(
            beams, rules, place, last[0], tf.where(last[0] > VOID, _at(parents, last[1]), -1), lost
        )
        kept = ~ends & (_rank(group, ~ends, tf.shape(self.rooms)[1]) < self._room(group))
        totals, chosen = tf.math.top_k(tf.where(kept, totals, NEVER), self.count)
        parents, pieces = _at(parents, chosen), _at(pieces, chosen)
        words = _at(beams.words, parents)
        words = tf.where(tf.range(length) == place, pieces[..., None], words)
        rows = tf.reshape(parents + tf.range(batch)[:, None] * self.count, [-1])
        cache = tf.nest.map_structure(lambda x: tf.gather(x, rows), cache)
        done = beams.done | searching.is_decided(merged[1], totals, rules, place)
        if rules.search.beams == 1:
            # Who takes the likeliest piece each time doesn't look for what may be better.
            done |= merged[1][:, 0] > VOID
        held = _Held(*(_at(part, chosen) for part in after))
        return _Now(Beams(tf.reshape(pieces, [-1]), words, totals, done, *merged), held), cache

    def _candidates(
        self, scores: tf.Tensor, place: tf.Tensor, now: _Now
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Totals and pieces of what may come next, `[batch, hypotheses, candidates]`.

        They are the likeliest pieces of each hypothesis, of which those that are none of the next
        ones of terms; behind them these, once each; and so long as a letter may undo what one
        holds, the likeliest that doesn't.
        """
        rules, size = self.rules, scores.shape[-1]
        shape = [rules.batch, self.count, size]
        length = rules.search.max_length
        free = rules.apply(scores, tf.reshape(now.beams.words, [-1, length]), place)
        scores = tf.reshape(scores, shape)
        pieces = self._next(now.held, place)
        likely = tf.where(pieces > 0, tf.gather(scores, pieces, batch_dims=2), NEVER)
        there = self._there(now.held)
        whole = tf.reduce_all(there, -1)
        ends = tf.constant(np.arange(size) == rules.signs.end)
        free = tf.reshape(free, shape) + tf.where(~whole[..., None] & ends, NEVER, 0.0)
        free = _without(free, pieces)
        best, index = tf.math.top_k(free, min(2 * rules.search.beams, size))
        new = there & ~now.held.met & ((self.lengths > 0) & self.terms.closed)[:, None]
        undoable = tf.reduce_any(new, -1)
        safe, other = tf.math.top_k(free + tf.constant(self.terms.goes_on * np.float32(NEVER)), 1)
        missing = undoable & ~tf.reduce_any(index == other, -1)
        safe = tf.where(missing[..., None], safe, NEVER)
        totals = tf.concat([best, likely, safe], -1) + now.beams.totals[..., None]
        return tf.maximum(totals, NEVER), tf.concat([index, pieces, other], -1)

    def _next(self, held: _Held, place: tf.Tensor) -> tf.Tensor:
        """The piece that each term goes on with, `[batch, hypotheses, terms]`; 0 for none."""
        at = tf.minimum(held.reached, self.most - 1)
        terms = tf.broadcast_to(
            self.terms.pieces[:, None],
            [self.rules.batch, self.count, self.terms_count, self.most],
        )
        open_ = ~held.met & (held.reached < self.lengths[:, None])
        open_ &= (self.rules.forced[:, place] < 0)[:, None, None]
        pieces = tf.where(open_, tf.gather(terms, at, batch_dims=3), 0)
        before = tf.range(self.terms_count)[:, None] > tf.range(self.terms_count)
        twice = tf.reduce_any((pieces[..., :, None] == pieces[..., None, :]) & before, -1)
        return tf.where(twice, 0, pieces)

    def _there(self, held: _Held) -> tf.Tensor:
        """Which terms a hypothesis holds, if it ended; what is no term is there always."""
        return held.met | (held.reached == self.lengths[:, None])

    def _after(self, words: tf.Tensor, held: _Held, pieces: tf.Tensor, place: tf.Tensor) -> _Held:
        """What is held with one more piece, `[batch, hypotheses, candidates, terms]`."""
        most = self.most
        padded = tf.pad(words, [[0, 0], [0, 0], [most - 1, 0]])
        last = padded[:, :, None, place : place + most - 1]
        last = tf.repeat(last, tf.shape(pieces)[2], axis=2)
        last = tf.concat([last, pieces[..., None]], -1)[..., None, :]
        terms, lengths = self.terms.pieces[:, None, None], self.lengths[:, None, None]
        goes_on = tf.gather(tf.constant(self.terms.goes_on), pieces)
        undone = goes_on[..., None] & self.terms.closed[:, None, None]
        was = (held.reached == self.lengths[:, None]) & (self.lengths[:, None] > 0)
        met = held.met[:, :, None] | (was[:, :, None] & ~undone)
        reached = tf.zeros_like(met, tf.int32)
        for count in range(1, most + 1):
            alike = tf.reduce_all(last[..., most - count :] == terms[..., :count], -1)
            reached = tf.where(alike & (lengths >= count), count, reached)
        return _Held(met, tf.where(met, 0, reached))

    def _group(self, held: _Held) -> tf.Tensor:
        """How many pieces of terms hypotheses hold, `[batch, n]`."""
        # What may still be undone shares its last pieces with what has only begun: the longest of
        # these counts, lest a step that goes on with it adds none.
        lengths, unmet = self.lengths[:, None], tf.where(held.met, 0, held.reached)
        met = tf.reduce_sum(tf.where(held.met, lengths, 0), -1)
        begun = tf.maximum(tf.reduce_max(unmet, -1), 0)
        complete = tf.reduce_all(self._there(held), -1)
        return tf.where(complete, self.whole[:, None], met + begun)

    def _room(self, group: tf.Tensor) -> tf.Tensor:
        return _at(self.rooms, group)

    def _last(
        self, totals: tf.Tensor, ends: tf.Tensor, group: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Totals of what ends here, of what holds all the best, as many as beams, and places."""
        rank = _rank(group, tf.ones_like(ends), tf.shape(self.rooms)[1])
        count = self.rules.search.beams
        real = ends & (group == self.whole[:, None]) & (rank < count)
        best, chosen = tf.math.top_k(tf.where(real, totals, NEVER), count)
        return best, chosen


def _at(values: tf.Tensor, places: tf.Tensor) -> tf.Tensor:
    """Values `[batch, n, ...]` at places `[batch, m]`."""
    return tf.gather(values, places, batch_dims=1)


def _rank(group: tf.Tensor, counted: tf.Tensor, groups: tf.Tensor) -> tf.Tensor:
    """How many of the same group stand before each, `[batch, n]`, of those that are counted."""
    own = (group[..., None] == tf.range(groups)) & counted[..., None]
    before = tf.cumsum(tf.cast(own, tf.int32), axis=1, exclusive=True)
    return tf.gather(before, group, batch_dims=2)


def _without(scores: tf.Tensor, pieces: tf.Tensor) -> tf.Tensor:
    """Scores `[batch, n, vocabulary]` with `NEVER` at pieces `[batch, n, terms]`, 0 for none."""
    shape = tf.shape(pieces)
    rows = tf.broadcast_to(tf.range(shape[0])[:, None, None], shape)
    each = tf.broadcast_to(tf.range(shape[1])[None, :, None], shape)
    # Padding is never any text's.
    return tf.tensor_scatter_nd_min(
        scores, tf.stack([rows, each, pieces], -1), tf.fill(shape, NEVER)
    )
