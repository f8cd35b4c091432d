r"""Byte-level byte-pair encoding, as GPT-2 and RoBERTa have it, in TensorFlow's operations.

A text falls into words by one regular expression (Radford et al. 2019, "Language Models are
Unsupervised Multitask Learners"), and each word's bytes are merged pair by pair, the pair that was
learned first before others (Sennrich et al. 2016, https://arxiv.org/abs/1508.07909). SentencePiece
merges whatever pair makes a known piece; here only pairs of the list do.
"""

from collections.abc import Mapping, Sequence

import tensorflow as tf

from tfhub_transfer.encoders.pieces.normalizing import BLANK, NUL, Step, without_nul
from tfhub_transfer.errors import InputError
from tfhub_transfer.private import tensorflow_texts
from tfhub_transfer.texts import splitting
from tfhub_transfer.texts.joining import WORD_END

_BLANKS = f"[{BLANK}]+"
# GPT-2's, without what it says of spaces that no word follows; and what isn't of these is one too.
_WORD = rf"'s|'t|'re|'ve|'m|'ll|'d| ?\p{{L}}+| ?\p{{N}}+| ?[^{BLANK}\p{{L}}\p{{N}}]+"
# Longer words are merged apart, so that others needn't wait for them.
_LONG = 64
_NONE = tf.int32.max


def byte_signs() -> list[str]:
    """The character by which a vocabulary writes each of the 256 bytes.

    Example:

    >>> byte_signs()[ord("a")], byte_signs()[ord(" ")]
    ('a', 'Ġ')
    """
    printed = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printed]
    signs = {byte: chr(byte) for byte in printed}
    signs |= {byte: chr(0x100 + place) for place, byte in enumerate(others)}
    return [signs[byte] for byte in range(256)]


class BytePairs(tf.Module):
    """Texts to the pieces that bytes are merged to.

    Args:
        vocabulary: The id of each piece, spelled by `byte_signs`.
        merges: Pairs of pieces in the order in which they were learned.
        prefix_space: Whether a text begins with a space, if it doesn't already.
        before: What is done to texts first.

    Raises:
        InputError: If a byte has no piece, or a merge is of pieces, or to one, that aren't there.
    """

    def __init__(
        self,
        vocabulary: Mapping[str, int],
        merges: Sequence[tuple[str, str]],
        prefix_space: bool = False,
        before: Step = tf.identity,
    ) -> None:
        super().__init__()
        _require_pieces(vocabulary, merges)
        self._in_order = _are_in_order(merges)
        self._prefix_space, self._before = prefix_space, before
        self._bytes = [vocabulary[sign] for sign in byte_signs()]
        self._made = [vocabulary[first + second] for first, second in merges]
        self._reach = max((len(first + second) for first, second in merges), default=1)
        self._most = max(vocabulary.values()) + 1
        keys = [vocabulary[first] * self._most + vocabulary[second] for first, second in merges]
        # A table of nothing is refused, and -1 no pair has.
        ranks = [*range(len(keys)), _NONE]
        initializer = tf.lookup.KeyValueTensorInitializer(
            tf.constant([*keys, -1], tf.int64), tf.constant(ranks, tf.int32)
        )
        self._ranks = tf.lookup.StaticHashTable(initializer, _NONE)

    def ids(self, texts: tf.Tensor) -> tf.RaggedTensor:
        """Strings `[n]` to int32 ids `[n, (pieces)]`, as graph code."""
        texts = tf.strings.regex_replace(splitting.without_mark(texts), WORD_END, " ")
        texts = self._before(texts)
        if self._prefix_space:
            texts = tf.strings.regex_replace(texts, r"\A([^ ])", r" \1")
        # Splitting forgets what is behind a U+0000.
        words = _words(without_nul(texts))
        # Each word is merged once, however often it occurs.
        different, places = tf.unique(words.flat_values, tf.int64)
        different = tf.strings.regex_replace(different, NUL, "\0")
        return words.with_values(tf.gather(self._merged(different), places)).merge_dims(1, 2)

    def _merged(self, words: tf.Tensor) -> tf.RaggedTensor:
        """Different words `[n]` to ids `[n, (pieces)]`."""
        are_long = tf.strings.length(words) > _LONG
        order = tf.concat([tf.where(~are_long)[:, 0], tf.where(are_long)[:, 0]], axis=0)
        both = [
            self._together(tf.boolean_mask(words, which), near)
            for which, near in ((~are_long, False), (are_long, True))
        ]
        return tf.gather(tf.concat(both, axis=0), tf.math.invert_permutation(order))

    def _together(self, words: tf.Tensor, near: bool) -> tf.RaggedTensor:
        """As `_merged`; all go on until the last is done.

        Args:
            words: `[n]`.
            near: Whether places far from each other in a word needn't wait for each other.
        """
        lengths = tf.strings.length(words)
        every = tf.io.decode_raw(tf.strings.reduce_join(words, axis=0), tf.uint8)
        symbols = tf.gather(tf.constant(self._bytes, tf.int32), tf.cast(every, tf.int32))
        count = tf.size(words)
        owners = tf.repeat(tf.range(count), lengths)
        state = (tf.range(tf.size(symbols)), symbols, tf.ones_like(symbols, tf.bool))
        flexible = tf.TensorShape([None])
        _, symbols, there = tf.while_loop(
            lambda active, *_: tf.size(active) > 0,
            lambda *now: self._step(owners, count, near, now),
            state,
            shape_invariants=(flexible, flexible, flexible),
        )
        left = tf.math.unsorted_segment_sum(tf.cast(there, tf.int64), owners, count)
        return tf.RaggedTensor.from_row_lengths(
            tf.boolean_mask(symbols, there), left, validate=False
        )

    def _step(
        self,
        owners: tf.Tensor,
        count: tf.Tensor,
        near: bool,
        state: tuple[tf.Tensor, tf.Tensor, tf.Tensor],
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Merges in each word the pair that was learned first, wherever it stands.

        Args:
            owners: The word of each symbol `[all]`.
            count: How many words there are.
            near: As of `_together`.
            state: The places `[some]` of symbols that words have which aren't done; the symbols
                `[all]`; which of them are still there `[all]`.
        """
        active, symbols, there = state
        now, owner = tf.gather(symbols, active), tf.gather(owners, active)
        first, second = tf.cast(now[:-1], tf.int64), tf.cast(now[1:], tf.int64)
        ranks = self._ranks.lookup(first * self._most + second)
        ranks = tf.where(owner[:-1] == owner[1:], ranks, _NONE)
        best = tf.math.unsorted_segment_min(ranks, owner[:-1], count)
        first_of_all = tf.gather(best, owner[:-1])
        if near and self._in_order:
            # No piece is longer, so that what is merged farther away can't reach here before.
            first_of_all = _least_around(ranks, self._reach)
        hits = (ranks < _NONE) & (ranks == first_of_all)
        if near and self._in_order:
            hits = _whole_runs(hits, ranks, first == second)
        chosen = _apart(hits) if self._in_order else _firsts(hits, owner[:-1], count)
        left, right = tf.boolean_mask(active[:-1], chosen), tf.boolean_mask(active[1:], chosen)
        made = tf.gather(tf.constant([*self._made, 0]), tf.boolean_mask(ranks, chosen))
        symbols = tf.tensor_scatter_nd_update(symbols, left[:, None], made)
        gone = tf.zeros_like(right, tf.bool)
        there = tf.tensor_scatter_nd_update(there, right[:, None], gone)
        going_on = tf.gather(there, active) & (tf.gather(best, owner) < _NONE)
        return tf.boolean_mask(active, going_on), symbols, there


def _least_around(ranks: tf.Tensor, reach: int) -> tf.Tensor:
    """For each place the least of those up to `reach` places away, `[n]`."""
    least, width, window = tf.pad(ranks, [[reach, reach]], constant_values=_NONE), 1, 2 * reach + 1
    while 2 * width <= window:
        least, width = tf.minimum(least[:-width], least[width:]), 2 * width
    size = tf.size(ranks)
    return tf.minimum(least[:size], least[window - width :][:size])


def _whole_runs(hits: tf.Tensor, ranks: tf.Tensor, twins: tf.Tensor) -> tf.Tensor:
    """Hits without those in parts of "aaaa": which of its pairs are merged, its beginning says.

    Args:
        hits: Bool `[n]`.
        ranks: Of each pair.
        twins: Whether a pair is of the same symbol twice.
    """
    same = twins[1:] & twins[:-1] & (ranks[1:] == ranks[:-1])
    runs = tf.cumsum(tf.concat([[0], tf.cast(~same, tf.int32)], axis=0)[: tf.size(hits)])
    whole = tf.math.segment_min(tf.cast(hits, tf.int32), runs)
    return tf.gather(whole, runs) > 0


def _apart(hits: tf.Tensor) -> tf.Tensor:
    """Of hits in a row every other one, bool `[n]`: the pairs of "aaaa" overlap."""
    before = tf.concat([[False], hits[:-1]], axis=0)[: tf.size(hits)]
    begins = hits & ~before
    places = tf.range(tf.size(hits))
    of_run = tf.maximum(tf.cumsum(tf.cast(begins, tf.int32)) - 1, 0)
    starts = tf.concat([tf.boolean_mask(places, begins), [0]], axis=0)
    return hits & ((places - tf.gather(starts, of_run)) % 2 == 0)


def _firsts(hits: tf.Tensor, owners: tf.Tensor, count: tf.Tensor) -> tf.Tensor:
    """Of the hits in each word the first, bool `[n]`."""
    places = tf.range(tf.size(hits))
    first = tf.math.unsorted_segment_min(tf.where(hits, places, _NONE), owners, count)
    return hits & (places == tf.gather(first, owners))


def _words(texts: tf.Tensor) -> tf.RaggedTensor:
    """Texts `[n]` to GPT-2's words `[n, (words)]`: a word has a space before it, if there is one.

    Of several spaces the last belongs to the word that follows, and is a word itself if it is no
    plain space; all before it are one.
    """
    found, _, _, splits = tensorflow_texts.split(texts, _BLANKS, _BLANKS)
    parts = tf.RaggedTensor.from_row_splits(found, splits, validate=False)
    blank = tf.strings.regex_full_match(found, _BLANKS)
    owner = tf.concat([parts.value_rowids(), [-1]], axis=0)
    followed = blank & (owner[:-1] == owner[1:])
    last = tf.strings.regex_replace(found, r"(?s)\A.*(.)\z", r"\1")
    spaced = tf.concat([[False], (followed & (last == " "))[:-1]], axis=0)[: tf.size(found)]
    # What is blank, by itself: all of it, or what is before its last character, and that.
    head = tf.where(followed, tf.strings.regex_replace(found, r"(?s)\A(.*).\z", r"\1"), found)
    tail = tf.where(followed & (last != " "), last, "")
    blanks = tf.where(blank[:, None], tf.stack([head, tail], axis=1), "")
    blanks = tf.ragged.boolean_mask(blanks, tf.strings.length(blanks) > 0)
    texts = tf.where(spaced, " ", "") + tf.where(blank, "", found)
    inner, _, _, splits = tensorflow_texts.split(texts, _WORD, _WORD)
    words = tf.RaggedTensor.from_row_splits(inner, splits, validate=False)
    return parts.with_values(tf.concat([blanks, words], axis=1)).merge_dims(1, 2)


def _require_pieces(vocabulary: Mapping[str, int], merges: Sequence[tuple[str, str]]) -> None:
    lacking = [sign for sign in byte_signs() if sign not in vocabulary]
    if lacking:
        raise InputError(
            "a vocabulary of bytes has a piece for each of the 256, as those of RoBERTa and GPT-2 "
            f"have; take a tokenizer that was made so. Received: none for {lacking[0]!r}"
        )
    for pair in merges:
        if not {*pair, "".join(pair)} <= vocabulary.keys():
            raise InputError(
                "each merge is of two pieces of the vocabulary to a third; take files that belong "
                f"together. Received: {' '.join(pair)!r}"
            )


def _are_in_order(merges: Sequence[tuple[str, str]]) -> bool:
    """Whether each merge comes after all that make its parts: then places don't wait for others."""
    made = {first + second: rank for rank, (first, second) in enumerate(merges)}
    return all(made.get(part, -1) < rank for rank, pair in enumerate(merges) for part in pair)
