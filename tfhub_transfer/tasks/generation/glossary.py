"""Terms that must be translated as they are told: which of them a text holds, and their pieces."""

import dataclasses
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal, TypeAlias

import numpy as np
import tensorflow as tf

from tfhub_transfer.errors import InputError
from tfhub_transfer.incoming import wording
from tfhub_transfer.tasks.generation.vocabulary import EOS, TargetVocabulary
from tfhub_transfer.texts import splitting
from tfhub_transfer.texts.signs import SIGN

# A term and what stands for it in an answer.
Pair: TypeAlias = tuple[str, str]

# Terms of one text, of which each makes a search longer; and pieces of one.
MOST_TERMS, MOST_PIECES = 8, 24
_MOST_PAIRS = 100_000
# Thai to Lao, Myanmar and Khmer, kana: scripts that write no spaces between words, of which BERT
# makes no words of one sign, as it does of ideographs.
_UNSPACED = ((0x0E00, 0x0EFF), (0x1000, 0x109F), (0x1780, 0x17FF), (0x3040, 0x30FF))
_RANGES = "".join(rf"\x{{{low:X}}}-\x{{{high:X}}}" for low, high in _UNSPACED)
_SIGN = f"{SIGN}|[{_RANGES}]"
_BUCKETS = 2**63 - 1
# Any odd number mixes the words of a term in their order.
_MIX = 0x9E3779B97F4A7C15 - 2**64
_SPACE = "\u2581"


def read_pairs(given: object) -> tuple[Pair, ...]:
    """A glossary in any of its forms as pairs, each term once.

    Args:
        given: A dictionary of terms to what stands for them, or pairs of both.

    Raises:
        InputError: If it is none, a term is blank, or one stands for two.
    """
    rows = list(given.items()) if isinstance(given, Mapping) else given
    if not isinstance(rows, Sequence) or isinstance(rows, str) or not all(map(_is_pair, rows)):
        raise InputError(
            "a glossary is a dictionary of terms and of what stands for them in answers, or pairs "
            f"of both, none of them blank. Received: {str(given)[:60]}"
        )
    if len(rows) > _MOST_PAIRS:
        raise InputError(
            f"a glossary has {_MOST_PAIRS:,} terms at most; leave some out. Received: {len(rows):,}"
        )
    for number, row in enumerate(rows, start=1):
        wording.require_whole_label(row, f"row {number} of a glossary")
    found: dict[str, str] = {}
    for term, target in ((str(own).strip(), str(other).strip()) for own, other in rows):
        if found.setdefault(term, target) != target:
            raise _said_twice(term, found[term], target)
    return tuple(found.items())


def _said_twice(term: str, *targets: str) -> InputError:
    return InputError(
        "a term of a glossary stands for one thing; leave the other out. "
        f"Received: {term!r} for {targets[0]!r} and {targets[1]!r}"
    )


def _spellings(pairs: Sequence[Pair]) -> list[Pair]:
    """Each term as it is written, and with its accents in the other of the ways of Unicode.

    Texts of a Mac's file names or of a PDF have `e` and an accent, where others have one sign.
    """
    forms: tuple[Literal["NFC"], Literal["NFD"]] = ("NFC", "NFD")
    found = {(unicodedata.normalize(form, term), to): None for term, to in pairs for form in forms}
    return list(dict.fromkeys([*pairs, *found]))


def _is_pair(row: object) -> bool:
    if not isinstance(row, Sequence) or isinstance(row, str) or len(row) != 2:
        return False
    return all(isinstance(each, str) and each.strip() for each in row)


@dataclasses.dataclass(frozen=True)
class _Windows:
    """Terms of one number of words, by what their words are hashed to.

    Attributes:
        words: How many.
        hashes: In ascending order, int64 `[m]`.
        terms: Which terms they are, int32 `[m]`.
        small: Whether case doesn't matter.
    """

    words: int
    hashes: np.ndarray
    terms: np.ndarray
    small: bool


class Finder:
    """Finds whole words among texts, as graph code.

    A phrase that has a capital is found as it is written; one without, also where a text has
    capitals.

    Args:
        phrases: What is looked for, one word or more each.
        exact: Whether case matters also where there is no capital.

    Raises:
        InputError: If one has no word.
    """

    def __init__(self, phrases: Sequence[str], exact: bool = False) -> None:
        words = splitting.split(tf.constant(list(phrases), tf.string), _SIGN)
        small = [not exact and phrase == phrase.lower() for phrase in phrases]
        counts = words.row_lengths().numpy()
        if not counts.all():
            raise InputError(
                "a term of a glossary has a word at least, or a sign; leave it out. "
                f"Received: {phrases[int(counts.argmin())]!r}"
            )
        hashed = np.split(_hashed(words.flat_values).numpy(), np.cumsum(counts)[:-1])
        groups: dict[tuple[int, bool], list[tuple[int, int]]] = {}
        for term, own in enumerate(hashed):
            key = int(counts[term]), small[term]
            groups.setdefault(key, []).append((_mixed_by_hand(own), term))
        self._windows = []
        # A longer phrase wins over a shorter one, and one that is written just so over another.
        for (count, is_small), found in sorted(groups.items(), key=lambda g: (-g[0][0], g[0][1])):
            hashes, terms = (np.array(each) for each in zip(*sorted(found)))
            self._windows.append(_Windows(count, hashes, terms.astype(np.int32), is_small))

    def alike(self) -> list[tuple[int, int]]:
        """Pairs of phrases of the same words, the first of which alone is found."""
        return [
            (int(own.terms[place]), int(own.terms[place + 1]))
            for own in self._windows
            for place in np.flatnonzero(own.hashes[1:] == own.hashes[:-1])
        ]

    def find(self, texts: tf.Tensor) -> tf.RaggedTensor:
        """The phrases that texts hold, in their order, int32 `[n, (found)]`: their numbers from 0.

        Of two of which one lies inside of the other it is the longer one.

        Args:
            texts: Strings in UTF-8 `[n]`.
        """
        words = splitting.split(texts, _SIGN)
        found = tf.fill(tf.shape(words.flat_values), -1)
        lengths = tf.zeros_like(found, tf.int64)
        for own, term in self._matches(words):
            here = (term >= 0) & (found < 0)
            found = tf.where(here, term, found)
            lengths = tf.where(here, tf.constant(own.words, tf.int64), lengths)
        kept = (found >= 0) & ~_inside(lengths, self._windows[0].words)
        return tf.ragged.boolean_mask(words.with_values(found), words.with_values(kept))

    def find_all(self, texts: tf.Tensor) -> tf.RaggedTensor:
        """As `find`, also what lies inside of others, in any order.

        Args:
            texts: Strings in UTF-8 `[n]`.
        """
        words = splitting.split(texts, _SIGN)
        rows = [
            tf.ragged.boolean_mask(words.with_values(term), words.with_values(term >= 0))
            for _, term in self._matches(words)
        ]
        return tf.concat(rows, axis=1)

    def _matches(self, words: tf.RaggedTensor) -> Iterator[tuple[_Windows, tf.Tensor]]:
        """For each number of words, the longest first, what begins at each word; -1 for nothing."""
        flat = words.flat_values
        ends = tf.repeat(words.row_splits[1:], words.row_lengths())
        places = tf.range(tf.size(flat, tf.int64), dtype=tf.int64)
        hashes = _hashed(flat), _hashed(tf.strings.lower(flat, "utf-8"))
        for own in self._windows:
            term = _looked_up(own, _mixed(hashes[own.small], own.words))
            yield own, tf.where(places + own.words <= ends, term, -1)


def _hashed(words: tf.Tensor) -> tf.Tensor:
    return tf.strings.to_hash_bucket_fast(words, _BUCKETS)


def _mixed(hashes: tf.Tensor, count: int) -> tf.Tensor:
    """One number of so many words from each place on; of what is over the end, something."""
    padded = tf.pad(hashes, [[0, count - 1]])
    mixed = tf.zeros_like(hashes)
    for word in range(count):
        mixed = mixed * tf.constant(_MIX, tf.int64) + padded[word : word + tf.size(hashes)]
    return mixed


def _mixed_by_hand(hashes: np.ndarray) -> int:
    mixed = 0
    for each in hashes.tolist():
        mixed = (mixed * _MIX + each) % 2**64
    return mixed - 2**64 if mixed >= 2**63 else mixed


def _looked_up(own: _Windows, mixed: tf.Tensor) -> tf.Tensor:
    """The number of the term with each hash, -1 where there is none."""
    hashes, terms = tf.constant(own.hashes, tf.int64), tf.constant(own.terms)
    place = tf.minimum(tf.searchsorted(hashes, mixed), len(own.hashes) - 1)
    return tf.where(tf.gather(hashes, place) == mixed, tf.gather(terms, place), -1)


def _inside(lengths: tf.Tensor, most: int) -> tf.Tensor:
    """Which of what was found lies inside of something longer that begins before."""
    inside = tf.zeros_like(lengths, tf.bool)
    for back in range(1, most):
        before = tf.pad(lengths, [[back, 0]])[: tf.size(lengths)]
        inside |= (before >= back + lengths) & (lengths > 0)
    return inside


class Glossary:
    """Terms of texts, and what stands for each in an answer.

    Args:
        pairs: As `read_pairs` gives them, at least one.
        vocabulary: The pieces of answers.

    Raises:
        InputError: If what stands for a term has too many pieces, or one term stands for two.
    """

    def __init__(self, pairs: Sequence[Pair], vocabulary: TargetVocabulary) -> None:
        # Two terms may stand for one: then it must come once.
        self.targets = list(dict.fromkeys(target for _, target in pairs))
        numbers = {target: number for number, target in enumerate(self.targets)}
        spelled = _spellings(pairs)
        self._of_term = np.array([numbers[target] for _, target in spelled], np.int32)
        self._sources = Finder([term for term, _ in spelled])
        self._require_one_each(spelled)
        self._answers = Finder(self.targets, exact=True)
        # Of targets that differ in spaces alone each is there where the first of them is.
        self._words = np.arange(len(self.targets))
        for first, other in self._answers.alike():
            self._words[other] = self._words[first]
        pieces = [_pieces(target, vocabulary) for target in self.targets]
        longest = max(map(len, pieces))
        if longest > MOST_PIECES:
            [odd, *_] = [t for t, own in zip(self.targets, pieces) if len(own) == longest]
            raise InputError(
                f"what stands for a term has {MOST_PIECES} pieces at most; give a shorter one. "
                f"Received: {odd!r}, which has {longest}"
            )
        self.pieces = np.zeros((len(pieces), longest), np.int32)
        for row, own in enumerate(pieces):
            self.pieces[row, : len(own)] = own
        self.closed = _are_words([target[-1] for target in self.targets])
        self.goes_on = _going_on(vocabulary)

    def find(self, texts: tf.Tensor) -> tf.RaggedTensor:
        """What must be in the answers to texts, int32 `[n, (terms)]`: numbers of targets from 1.

        Of more than `MOST_TERMS` of a text the first ones.

        Args:
            texts: Strings in UTF-8 `[n]`.
        """
        rows = self._all(texts).to_tensor(-1)
        first = _firsts(rows)
        kept = tf.ragged.boolean_mask(rows, first & (rows >= 0))
        return kept[:, :MOST_TERMS] + 1

    def missing(self, texts: tf.Tensor, answers: tf.Tensor) -> tf.Tensor:
        """What answers should hold and don't, strings `[n, most]`, with empty ones behind.

        It looks at the words of both, and at nothing that a search has done.

        Args:
            texts: Strings in UTF-8 `[n]`.
            answers: To them, likewise.
        """
        wanted = self._all(texts).to_tensor(-1)
        there = self._answers.find_all(answers).to_tensor(-2)
        words = tf.gather(tf.constant(self._words, tf.int32), tf.maximum(wanted, 0))
        held = tf.reduce_any(words[..., None] == there[:, None, :], -1)
        lacks = tf.ragged.boolean_mask(wanted, _firsts(wanted) & (wanted >= 0) & ~held)
        names = tf.gather(tf.constant(self.targets), lacks.flat_values)
        return lacks.with_values(names).to_tensor("")

    def _require_one_each(self, spelled: Sequence[Pair]) -> None:
        for pair in self._sources.alike():
            (term, target), (_, other) = (spelled[place] for place in pair)
            if target != other:
                raise _said_twice(term, target, other)

    def _all(self, texts: tf.Tensor) -> tf.RaggedTensor:
        found = self._sources.find(texts)
        return found.with_values(tf.gather(tf.constant(self._of_term), found.flat_values))


def _firsts(rows: tf.Tensor) -> tf.Tensor:
    """Where a number is in its row for the first time."""
    count = tf.shape(rows)[1]
    before = tf.range(count)[:, None] > tf.range(count)
    return ~tf.reduce_any((rows[:, :, None] == rows[:, None, :]) & before, -1)


def _pieces(target: str, vocabulary: TargetVocabulary) -> list[int]:
    """The pieces of what stands for a term, with a space before it where its script has some."""
    if target[0].isalpha() and not _are_words([target[0]])[0]:
        return vocabulary.inside(target)
    return vocabulary.inside(f" {target}")


def _are_words(signs: Sequence[str]) -> np.ndarray:
    """Whether letters beside each sign belong to the same word, bool `[n]`."""
    words = splitting.split(tf.constant([f"a{sign}a" for sign in signs], tf.string), _SIGN)
    found: np.ndarray = words.row_lengths().numpy() == 1
    return found


def _going_on(vocabulary: TargetVocabulary) -> np.ndarray:
    """Which pieces go on with the word that is before them, bool `[size]`; bytes may."""
    pieces = vocabulary.pieces(range(vocabulary.size))
    found = _are_words([piece[:1].replace(_SPACE, " ") for piece in pieces])
    found |= np.array([len(piece) == 6 and piece.startswith("<0x") for piece in pieces])
    found[: EOS + 1] = False
    return found
