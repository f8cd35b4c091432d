"""Texts out of a decoder's steps, as a graph: the likeliest piece, beams, or drawn by chance.

What is searched is abstract: a step that takes the last piece of each hypothesis to how likely each
next one is. A text of n pieces takes n + 1 steps, since that it ends is a piece too, which counts
in its score and isn't among its ids; where a text has the most pieces that it may have, it ends, as
unlikely as that may be. So every score is the probability of a whole text.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import tensorflow as tf

from tfhub_transfer.errors import InputError
from tfhub_transfer.incoming import ranges, wording
from tfhub_transfer.incoming.choices import flag
from tfhub_transfer.runtime import dropout
from tfhub_transfer.runtime.masking import NEVER
from tfhub_transfer.tasks.generation import narrowing
from tfhub_transfer.tasks.generation.fresh_runs import without_repeats
from tfhub_transfer.tasks.generation.glossary import Pair, read_pairs

# Tensors whose first axis is hypotheses, in tuples of any form.
Cache: TypeAlias = Any
# The last piece of each hypothesis `[rows]`, its place, and the cache of the places before, to the
# logarithms of the next ones' probabilities `[rows, vocabulary]`, and the cache with this place.
Step: TypeAlias = Callable[[tf.Tensor, tf.Tensor, Cache], tuple[tf.Tensor, Cache]]

# The cache of hypotheses behind their ends to what is added to the score of each, `[rows]`, 0 at
# most: a penalty, which no further piece makes larger.
Penalty: TypeAlias = Callable[[Cache], tf.Tensor]

# What fills rows up.
PAD = 0
# A hypothesis that is worse holds something that may not be.
VOID = NEVER / 2

# Another one than masks of dropout are drawn from by the same seed.
_STREAM = 1
_LENGTH = (1, 10_000)


@dataclasses.dataclass(frozen=True)
class Signs:
    """Ids that aren't words.

    Args:
        begin: Stands before the first piece.
        end: Stands behind the last.
        never: Others that no text has, beside `begin` and 0.
    """

    begin: int
    end: int
    never: tuple[int, ...] = ()


@dataclasses.dataclass(frozen=True)
class Search:
    """How texts are searched for.

    Args:
        beams: How many hypotheses of each text are followed at a time; 1 takes the likeliest piece
            at each place. Of no account where pieces are drawn.
        length_penalty: By how much long texts are spared: the logarithm of a text's probability is
            divided by ((5 + n) / 6) to the power of this, where n counts its pieces and its end
            (Wu et al. 2016, "Google's Neural Machine Translation System"); 0 for not at all.
        max_length: The most pieces of a text, without its end; a task's `answer_length` where that
            is fewer.
        min_length: The fewest.
        no_repeat: Runs of so many pieces come once in a text at most; 0 lets all repeat.
        n_best: How many texts to give, the best first.
        sample: Whether pieces are drawn by chance, as likely as they are.
        temperature: Divides logarithms of probabilities before drawing: below 1 for less chance.
        top_k: Draw from so many likeliest pieces; 0 for all.
        top_p: Draw from the fewest pieces that together are at least so likely (Holtzman et al.
            2020, "The Curious Case of Neural Text Degeneration").
        seed: What is drawn is the same with the same seed, in a batch of the same size.
        begin: What every text begins with, as a text, or as ids of its pieces.
        glossary: Terms and what stands for each in a text: a text that answers one which holds such
            a term holds that as a whole word (see `glossary.Finder` for what is found).
        coverage_penalty: By how much texts lose that leave parts of what they answer unread, as
            seen by the decoder's attention: this times the sum of the logarithms of what each place
            is given of it by all pieces together, 1 at most, is added to a score (Wu et al. 2016,
            equation 14); 0 for not at all.
        thorough: Whether to go on until no open hypothesis can win however long it becomes. By
            default a text is done once none would win if it ended at once.

    Raises:
        InputError: If a value is outside its range, or of no use beside the others.

    Example:

    >>> Search(beams=4, n_best=2).n_best
    2
    """

    beams: int = 4
    length_penalty: float = 1.0
    max_length: int = ranges.ANSWER[1]
    min_length: int = 0
    no_repeat: int = 0
    n_best: int = 1
    sample: bool = False
    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    seed: int = 0
    begin: str | tuple[int, ...] = ()
    glossary: Mapping[str, str] | Sequence[Pair] = ()
    coverage_penalty: float = 0.0
    thorough: bool = False

    def __post_init__(self) -> None:
        for name, value in self._checked().items():
            object.__setattr__(self, name, value)
        if not self.sample and self.n_best > self.beams:
            raise InputError(
                "of so many beams no more texts can be the best; give `beams` (`--beams`) of at "
                f"least `n_best`. Received: beams={self.beams}, n_best={self.n_best}"
            )
        if not self.sample and (self.temperature != 1 or self.top_k or self.top_p != 1):
            raise InputError(
                "`temperature`, `top_k` and `top_p` are for drawing; give `sample=True` "
                "(`--sample`) too. "
                f"Received: temperature={self.temperature}, top_k={self.top_k}, top_p={self.top_p}"
            )
        if self.glossary and self.sample:
            raise InputError(
                "terms of a glossary are looked for among the likeliest texts, not among those "
                "that are drawn; leave `glossary` or `sample` out. "
                f"Received: {len(self.glossary):,} terms, sample=True"
            )
        if not isinstance(self.begin, str):
            self.require_room(len(self.begin))

    def require_room(self, count: int) -> None:
        """Raises `InputError` if texts can't begin with so many pieces."""
        if count > self.max_length:
            raise InputError(
                "texts can't begin with more pieces than they may have; give a larger "
                f"`max_length`. Received: {count} pieces, max_length={self.max_length}"
            )

    @property
    def hypotheses(self) -> int:
        """How many are followed of each text."""
        if self.sample:
            return self.n_best
        # Beside those without any, there are some with all terms, and with parts of them.
        return 4 * (self.beams + 1) if self.glossary else self.beams

    def _checked(self) -> dict[str, object]:
        whole, real = ranges.whole_number, ranges.real_number
        most = whole("max_length", self.max_length, *_LENGTH)
        begin = self.begin
        if isinstance(begin, str):
            wording.require_whole(begin, "`begin` (`--begin`)")
        else:
            listed = begin if isinstance(begin, Sequence) else [begin]
            begin = tuple(whole("begin", piece, *ranges.SIZE) for piece in listed)
        return {
            "beams": whole("beams", self.beams, *ranges.BEAMS),
            "length_penalty": real(
                "length_penalty", self.length_penalty, *ranges.LENGTH_PENALTY, closed=True
            ),
            "max_length": most,
            "min_length": whole("min_length", self.min_length, 0, most),
            "no_repeat": whole("no_repeat", self.no_repeat, 0, _LENGTH[1]),
            "n_best": whole("n_best", self.n_best, *ranges.BEAMS),
            "sample": flag("sample", self.sample),
            "temperature": real(
                "temperature", self.temperature, *ranges.DRAWING_TEMPERATURE, closed=True
            ),
            "top_k": whole("top_k", self.top_k, 0, ranges.SIZE[1]),
            "top_p": real("top_p", self.top_p, *ranges.SHARE),
            "seed": whole("seed", self.seed, *ranges.SEED),
            "begin": begin,
            "glossary": read_pairs(self.glossary),
            "coverage_penalty": real(
                "coverage_penalty", self.coverage_penalty, *ranges.COVERAGE_PENALTY, closed=True
            ),
            "thorough": flag("thorough", self.thorough),
        }


@dataclasses.dataclass(frozen=True)
class Found:
    """What a search found, the best first.

    Attributes:
        ids: Pieces of texts without their ends, int32 `[batch, n_best, max_length]`, then 0.
        scores: float32 `[batch, n_best]`: the logarithm of each text's probability, divided by the
            penalty of its length; `masking.NEVER` where there is no such text.
        lengths: How many pieces each has, int32 `[batch, n_best]`.
    """

    ids: tf.Tensor
    scores: tf.Tensor
    lengths: tf.Tensor


def find(
    step: Step,
    empty: Callable[[tf.Tensor], Cache],
    batch: tf.Tensor | int,
    signs: Signs,
    search: Search,
    begin: tf.Tensor | Sequence[int] | None = None,
    most: tf.Tensor | int | None = None,
) -> Found:
    """Searches for the texts of a batch.

    Args:
        step: What is searched. Hypotheses of one text stand side by side.
        empty: The cache at the place 0 of so many hypotheses; axes of length 0 may grow.
        batch: As of `Rules.of`.
        signs: Likewise.
        search: Likewise.
        begin: Likewise.
        most: Likewise.
    """
    return find_by(step, empty, Rules.of(batch, signs, search, begin, most))


def find_by(
    step: Step,
    empty: Callable[[tf.Tensor], Cache],
    rules: "Rules",
    penalty: Penalty | None = None,
    of: Callable[[tf.Tensor], Step] | None = None,
) -> Found:
    """Searches for texts by the rules of a batch.

    Args:
        step: As of `find`.
        empty: Likewise.
        rules: What holds for the texts.
        penalty: What is added to scores of texts that end, of the cache behind the step that did.
        of: The step of some of the texts, by their numbers `[n]`. If it is given, texts that are
            done are left out; but not where pieces are drawn, which depends on the batch's size.
    """
    search = rules.search
    if search.sample or search.beams == 1:
        return _by_piece(step, empty, rules, penalty, None if search.sample else of)
    return _by_beams(step, empty, rules, penalty, of)


# What may come next -------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Rules:
    """What holds for a batch's texts; make it with `of`.

    Attributes:
        batch: How many there are.
        signs: The vocabulary's.
        search: How to search.
        forced: The piece that must come at a place, `[batch, max_length + 1]`; -1 for any.
        ends: The place at which each text ends at the latest, `[batch]`.
    """

    batch: tf.Tensor
    signs: Signs
    search: Search
    forced: tf.Tensor
    ends: tf.Tensor

    @classmethod
    def of(
        cls,
        batch: tf.Tensor | int,
        signs: Signs,
        search: Search,
        begin: tf.Tensor | Sequence[int] | None = None,
        most: tf.Tensor | int | None = None,
    ) -> "Rules":
        """What holds for the texts of a batch.

        Args:
            batch: How many texts.
            signs: The vocabulary's.
            search: How.
            begin: Ids that each text begins with, `[batch, n]`, then 0, or those of all, `[n]`; the
                ids of `search.begin` if not given.
            most: The most pieces, of all texts or of each, `[batch]`, if fewer than those of
                `search`.
        """
        length = search.max_length
        ends = tf.minimum(tf.cast(length if most is None else most, tf.int32), length)
        ends = tf.broadcast_to(ends, [batch])
        given = search.begin if begin is None else begin
        assert not isinstance(given, str)  # the vocabulary has made ids of it
        pieces = tf.convert_to_tensor(given, tf.int32)[..., : length + 1]
        # Whoever gives none gives no axis of texts, either.
        pieces = tf.broadcast_to(pieces, [batch, tf.shape(pieces)[-1]])
        pieces = tf.pad(pieces, [[0, 0], [0, length + 1]])[:, : length + 1]
        pieces = tf.where(pieces == PAD, -1, pieces)
        late = tf.range(length + 1) >= ends[:, None]
        return cls(
            tf.convert_to_tensor(batch), signs, search, tf.where(late, signs.end, pieces), ends
        )

    def of_some(self, texts: tf.Tensor) -> "Rules":
        """What holds for some of the texts, by their numbers `[n]`."""
        forced, ends = tf.gather(self.forced, texts), tf.gather(self.ends, texts)
        return dataclasses.replace(self, batch=tf.size(texts), forced=forced, ends=ends)

    @property
    def banned(self) -> tuple[int, ...]:
        """Pieces that never come."""
        return tuple({PAD, self.signs.begin, *self.signs.never} - {self.signs.end})

    def apply(self, scores: tf.Tensor, words: tf.Tensor, place: tf.Tensor) -> tf.Tensor:
        """Scores `[rows, vocabulary]` of what comes behind words `[rows, max_length]`."""
        free, size = scores, scores.shape[-1]
        if self.search.no_repeat:
            free = without_repeats(free, words, place, self.search.no_repeat)
        hidden = np.zeros(size, np.float32)
        hidden[[piece for piece in self.banned if piece < size]] = NEVER
        early = tf.cast(place < self.search.min_length, tf.float32)
        free += tf.constant(hidden) + early * tf.constant(_one(self.signs.end, size) * NEVER)
        forced = tf.repeat(self.forced[:, place], tf.shape(scores)[0] // self.batch)

        def obeying() -> tf.Tensor:
            only = tf.where(tf.range(size) == forced[:, None], scores, NEVER)
            return tf.where(forced[:, None] < 0, free, only)

        return tf.cond(tf.reduce_any(forced >= 0), obeying, lambda: free)

    def spared(self, totals: tf.Tensor, count: tf.Tensor) -> tf.Tensor:
        """Logarithms of probabilities of texts with so many pieces, ends included, as scores."""
        power = self.search.length_penalty
        return totals / tf.pow((5.0 + tf.cast(count, tf.float32)) / 6.0, power)


def _one(piece: int, size: int) -> np.ndarray:
    found: np.ndarray = (np.arange(size) == piece).astype(np.float32)
    return found


# Piece by piece -----------------------------------------------------------------------------------


def _by_piece(
    step: Step,
    empty: Callable[[tf.Tensor], Cache],
    rules: Rules,
    penalty: Penalty | None,
    of: Callable[[tf.Tensor], Step] | None,
) -> Found:
    """Takes one piece at each place: the likeliest, or one that is drawn."""
    search = rules.search
    each, length = (search.n_best if search.sample else 1), search.max_length
    rows = rules.batch * each

    def further(
        step: Step, rules: Rules, place: tf.Tensor, now: _Lone, cache: Cache
    ) -> tuple[_Lone, Cache]:
        scores, cache = step(now.last, place, cache)
        scores = rules.apply(scores, now.words, place)
        piece = _drawn(scores, place, search) if search.sample else _likeliest(scores)
        gained = tf.gather(scores, piece, batch_dims=1)
        # What can't go on ends here too; its score says that it is none.
        over = tf.logical_or(piece == rules.signs.end, gained < VOID)
        word = tf.where(tf.logical_or(now.done, over), PAD, piece)
        words = tf.where(tf.range(length) == place, word[:, None], now.words)
        totals = now.totals + tf.where(now.done, 0.0, gained)
        lost = now.lost if penalty is None else tf.where(now.done, now.lost, penalty(cache))
        return _Lone(piece, words, totals, lost, tf.logical_or(now.done, over)), cache

    now = _Lone(
        last=tf.fill([rows], rules.signs.begin),
        words=tf.zeros([rows, length], tf.int32),
        totals=tf.zeros([rows]),
        lost=tf.zeros([rows]),
        done=tf.zeros([rows], tf.bool),
    )
    now = _followed(further, step, rules, of, now, empty(rows))
    void = now.totals < VOID
    words = tf.where(void[:, None], PAD, now.words)
    lengths = tf.reduce_sum(tf.cast(words != PAD, tf.int32), 1)
    scores = tf.where(void, NEVER, rules.spared(now.totals, lengths + 1) + now.lost)
    shape = [rules.batch, each]
    scores, order = tf.math.top_k(tf.reshape(scores, shape), each)
    words = tf.gather(tf.reshape(words, [*shape, length]), order, batch_dims=1)
    return Found(words, scores, tf.gather(tf.reshape(lengths, shape), order, batch_dims=1))


class _Lone(NamedTuple):
    """Hypotheses of which each goes on by itself.

    Attributes:
        last: The last piece, `[rows]`.
        words: All of them, `[rows, max_length]`.
        totals: Logarithms of their probabilities, `[rows]`.
        lost: What is added to their scores, `[rows]`.
        done: Which ended, `[rows]`.
    """

    last: tf.Tensor
    words: tf.Tensor
    totals: tf.Tensor
    lost: tf.Tensor
    done: tf.Tensor


def _likeliest(scores: tf.Tensor) -> tf.Tensor:
    return tf.argmax(scores, -1, tf.int32)


def _drawn(scores: tf.Tensor, place: tf.Tensor, search: Search) -> tf.Tensor:
    """A piece for each row, by chance: the largest of what has noise added (Gumbel 1954)."""
    scores, ids, size = scores / search.temperature, None, scores.shape[-1]
    if search.top_k or search.top_p < 1:
        scores, ids = tf.math.top_k(scores, min(search.top_k or size, size))
    if search.top_p < 1:
        shares = tf.nn.softmax(scores)
        before = tf.cumsum(shares, axis=-1, exclusive=True)
        scores = tf.where(before < search.top_p, scores, NEVER * 1e3)
    seed = tf.stack([tf.constant(search.seed, tf.int64), tf.cast(place, tf.int64)])
    chance = dropout.uniform(seed, _STREAM, tf.shape(scores))
    piece = _likeliest(scores - tf.math.log(-tf.math.log(chance)))
    return piece if ids is None else tf.gather(ids, piece, batch_dims=1)


# By beams -----------------------------------------------------------------------------------------


class Beams(NamedTuple):
    """Hypotheses that are open, the best first, and the best of those that ended.

    Attributes:
        last: The last piece of open ones, `[batch * beams]`.
        words: Their pieces, `[batch, beams, max_length]`.
        totals: Logarithms of their probabilities, `[batch, beams]`.
        done: Of which texts nothing that is open can win, `[batch]`.
        ended: Pieces of those that ended, `[batch, n_best, max_length]`.
        scores: Theirs, `[batch, n_best]`.
        lengths: How many pieces they have, `[batch, n_best]`.
    """

    last: tf.Tensor
    words: tf.Tensor
    totals: tf.Tensor
    done: tf.Tensor
    ended: tf.Tensor
    scores: tf.Tensor
    lengths: tf.Tensor


def _by_beams(
    step: Step,
    empty: Callable[[tf.Tensor], Cache],
    rules: Rules,
    penalty: Penalty | None,
    of: Callable[[tf.Tensor], Step] | None,
) -> Found:
    """Follows the best open hypotheses, and keeps the best that ended apart from them."""
    batch, beams, length = rules.batch, rules.search.beams, rules.search.max_length

    def further(
        step: Step, rules: Rules, place: tf.Tensor, now: Beams, cache: Cache
    ) -> tuple[Beams, Cache]:
        batch = rules.batch
        scores, cache = step(now.last, place, cache)
        scores = rules.apply(scores, tf.reshape(now.words, [-1, length]), place)
        size = scores.shape[-1]
        totals = tf.reshape(scores, [batch, beams, size]) + now.totals[..., None]
        # Of twice as many at least half don't end: each hypothesis ends in one way.
        best, index = tf.math.top_k(tf.reshape(totals, [batch, -1]), min(2, size) * beams)
        parents, pieces = index // size, index % size
        ends = pieces == rules.signs.end
        open_totals, chosen = tf.math.top_k(tf.where(ends, NEVER, best), beams)
        lost = lost_by(penalty, cache, rules.batch)
        ended = merged(now, rules, place, best, tf.where(ends, parents, -1)[:, :beams], lost)
        parents, pieces = (tf.gather(each, chosen, batch_dims=1) for each in (parents, pieces))
        words = tf.gather(now.words, parents, batch_dims=1)
        words = tf.where(tf.range(length) == place, pieces[..., None], words)
        rows = tf.reshape(parents + tf.range(batch)[:, None] * beams, [-1])
        cache = tf.nest.map_structure(lambda each: tf.gather(each, rows), cache)
        done = tf.logical_or(now.done, is_decided(ended[1], open_totals, rules, place))
        return Beams(tf.reshape(pieces, [-1]), words, open_totals, done, *ended), cache

    now = beginning(rules, beams)
    now = _followed(further, step, rules, of, now, empty(batch * beams))
    return Found(now.ended, now.scores, now.lengths)


def beginning(rules: Rules, count: tf.Tensor | int) -> Beams:
    """What there is before the first piece.

    Args:
        rules: The batch's.
        count: How many hypotheses of each text are followed.
    """
    batch, best, length = rules.batch, rules.search.n_best, rules.search.max_length
    # One hypothesis to begin with: as many alike would stay alike.
    first = tf.where(tf.range(count) == 0, 0.0, NEVER)
    return Beams(
        last=tf.fill([batch * count], rules.signs.begin),
        words=tf.zeros([batch, count, length], tf.int32),
        totals=tf.broadcast_to(first, [batch, count]),
        done=tf.zeros([batch], tf.bool),
        ended=tf.zeros([batch, best, length], tf.int32),
        scores=tf.fill([batch, best], NEVER),
        lengths=tf.zeros([batch, best], tf.int32),
    )


def lost_by(penalty: Penalty | None, cache: Cache, batch: tf.Tensor) -> tf.Tensor | None:
    """What each hypothesis loses if it ends here, `[batch, hypotheses]`, if there is a penalty.

    Args:
        penalty: As of `find`.
        cache: Behind the step.
        batch: How many texts.
    """
    return None if penalty is None else tf.reshape(penalty(cache), [batch, -1])


def merged(
    now: Beams,
    rules: Rules,
    place: tf.Tensor,
    best: tf.Tensor,
    parents: tf.Tensor,
    lost: tf.Tensor | None = None,
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Words, scores and lengths of the best that ended, with those that end at this place.

    Only what is among the best of all continuations, as many as there are beams, ends: that a text
    is over is nearly always a little likely, and a search that believes it gives empty texts.

    Args:
        now: What was before.
        rules: The batch's.
        place: The place.
        best: Totals of continuations, `[batch, more than beams]`.
        parents: Which hypotheses end, -1 for none, `[batch, beams]`.
        lost: What is added to the score of each hypothesis that ends, `[batch, hypotheses]`.
    """
    totals = best[:, : rules.search.beams]
    real = tf.logical_and(parents >= 0, totals > VOID)
    real = tf.logical_and(real, tf.logical_not(now.done)[:, None])
    scores = rules.spared(totals, place + 1)
    if lost is not None:
        scores += tf.gather(lost, tf.maximum(parents, 0), batch_dims=1)
    scores = tf.where(real, scores, NEVER)
    scores, chosen = tf.math.top_k(tf.concat([now.scores, scores], 1), rules.search.n_best)
    words = tf.gather(now.words, tf.maximum(parents, 0), batch_dims=1)
    words = tf.where(real[..., None], words, PAD)
    words = tf.gather(tf.concat([now.ended, words], 1), chosen, batch_dims=1)
    lengths = tf.concat([now.lengths, tf.where(real, place, 0)], 1)
    return words, scores, tf.gather(lengths, chosen, batch_dims=1)


def is_decided(scores: tf.Tensor, totals: tf.Tensor, rules: Rules, place: tf.Tensor) -> tf.Tensor:
    """Of which texts no open hypothesis can win any longer, `[batch]`.

    Args:
        scores: Of those that ended, `[batch, n_best]`.
        totals: Of those that are open, the best first, `[batch, hypotheses]`.
        rules: The batch's.
        place: The place.
    """
    # Logarithms only fall; so does the score, unless the penalty grows with the length.
    count = rules.ends + 1 if rules.search.thorough else place + 2
    reachable = rules.spared(totals[:, 0], count)
    return tf.logical_or(totals[:, 0] < VOID, scores[:, -1] >= reachable)


def _followed(
    further: Callable[..., Any],
    step: Step,
    rules: Rules,
    of: Callable[[tf.Tensor], Step] | None,
    now: Any,
    cache: Cache,
) -> Any:
    """Goes from place to place until all is done, and returns what there is then."""
    length = rules.search.max_length
    if of is None:
        return narrowing.followed(functools.partial(further, step, rules), now, cache, length)

    def of_some(texts: tf.Tensor) -> narrowing.Further:
        return functools.partial(further, of(texts), rules.of_some(texts))

    return narrowing.followed_by_fewer(of_some, now, cache, length)
