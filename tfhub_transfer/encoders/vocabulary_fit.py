"""How well a vocabulary fits texts: pieces a word and unknown pieces, beside its own language's.

A BERT reads a language that it wasn't made for in splinters of words, and learns little from them.
The encoder's own languages are those of the samples here that its vocabulary fits about best.
"""

import csv
import dataclasses
import functools
import string
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf

from tfhub_transfer.encoders import registry
from tfhub_transfer.encoders.preprocessing import BertPreprocessor, TextPreprocessor
from tfhub_transfer.texts import joining, splitting

ENGLISH = "English"
# Texts and characters of each that are looked at.
_TEXTS, _CHARACTERS = 500, 2000
# Fewer words tell nothing.
_FEW_WORDS = 50
# A sample's language is the encoder's own if its words fall into so many times the pieces of the
# best one's, at most, and no more of these are unknown.
_OWN, _UNKNOWN = 1.5, 0.02
# Of words so many more are unknown in texts of another language, at least.
_MANY_WORDS = 0.2
# Texts fit badly if they have so many times the pieces of the encoder's own language. Measured on
# English vocabularies: English texts 1.01 to 1.2 (tweets), French 1.5, German and Indonesian 2.
_BADLY, _BADLY_OF_SHORT_SAMPLE = 1.35, 1.6
# Thai, Lao, Khmer, Burmese and kana have no spaces between words, which have some four letters.
_SPACED = r"[^\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}\p{Hiragana}\p{Katakana}]"
_LETTERS_A_WORD = 4
_IDEOGRAPH, _IDEOGRAPHS_A_WORD = r"\p{Han}", 1.6
# Such a tokenizer has a sign in the piece of the word before it as often as not.
_SIGNS_ALONE = r"\A[\p{P}\p{S}]\z"
# No vocabulary has it: an Egyptian hieroglyph.
_UNHEARD_OF = "\U00013080"
# The first article of the Universal Declaration of Human Rights.
_SAMPLES = {
    "German": "Alle Menschen sind frei und gleich an Würde und Rechten geboren. Sie sind mit "
    "Vernunft und Gewissen begabt und sollen einander im Geiste der Brüderlichkeit begegnen.",
    "French": "Tous les êtres humains naissent libres et égaux en dignité et en droits. Ils sont "
    "doués de raison et de conscience et doivent agir les uns envers les autres dans un esprit de "
    "fraternité.",
    "Spanish": "Todos los seres humanos nacen libres e iguales en dignidad y derechos y, dotados "
    "como están de razón y conciencia, deben comportarse fraternalmente los unos con los otros.",
    "Italian": "Tutti gli esseri umani nascono liberi ed eguali in dignità e diritti. Essi sono "
    "dotati di ragione e di coscienza e devono agire gli uni verso gli altri in spirito di "
    "fratellanza.",
    "Portuguese": "Todos os seres humanos nascem livres e iguais em dignidade e em direitos. "
    "Dotados de razão e de consciência, devem agir uns para com os outros em espírito de "
    "fraternidade.",
    "Dutch": "Alle mensen worden vrij en gelijk in waardigheid en rechten geboren. Zij zijn "
    "begiftigd met verstand en geweten, en behoren zich jegens elkander in een geest van "
    "broederschap te gedragen.",
    "Russian": "Все люди рождаются свободными и равными в своем достоинстве и правах. Они "
    "наделены разумом и совестью и должны поступать в отношении друг друга в духе братства.",
    "Chinese": "人人生而自由，在尊严和权利上一律平等。"
    "他们赋有理性和良心，并应以兄弟关系的精神相对待。",
}


@dataclasses.dataclass(frozen=True)
class Fit:
    """How a vocabulary fits texts.

    Attributes:
        words: The words that were looked at.
        pieces_per_word: Word pieces a word.
        unknown: The share of pieces that are unknown.
        languages: What it was compared with: the encoder's own languages.
        own_pieces_per_word: The same of these; of several, of the one that fits worst.
        own_unknown: The same.
    """

    words: int
    pieces_per_word: float
    unknown: float
    languages: tuple[str, ...]
    own_pieces_per_word: float
    own_unknown: float

    @property
    def is_bad(self) -> bool:
        """Whether the vocabulary was made for other texts."""
        if self.words < _FEW_WORDS and self.unknown < 0.5:
            return False
        times = _BADLY if self.languages == (ENGLISH,) else _BADLY_OF_SHORT_SAMPLE
        splintered = self.pieces_per_word > times * self.own_pieces_per_word
        return splintered or self.unknown > self.own_unknown + _UNKNOWN

    def __str__(self) -> str:
        return (
            f"{self.pieces_per_word:.2f} pieces a word and {self.unknown:.1%} of them unknown, "
            f"beside {self.own_pieces_per_word:.2f} and {self.own_unknown:.1%} in "
            f"{', '.join(self.languages)}"
        )


@dataclasses.dataclass(frozen=True)
class WordFit:
    """How a vocabulary of words fits texts.

    Attributes:
        words: The words that were looked at.
        unknown: The share of them that it hasn't, in no spelling that encoders look up.
        languages: What it was compared with: the encoder's own language.
        own_unknown: The same of it.
    """

    words: int
    unknown: float
    languages: tuple[str, ...]
    own_unknown: float

    @property
    def is_bad(self) -> bool:
        """Whether the vocabulary was made for other texts."""
        return self.words >= _FEW_WORDS and self.unknown > self.own_unknown + _MANY_WORDS

    def __str__(self) -> str:
        return (
            f"{self.unknown:.1%} of the words are unknown, beside {self.own_unknown:.1%} in "
            f"{', '.join(self.languages)}"
        )


def measure(
    preprocessor: TextPreprocessor, columns: Sequence[Sequence[str]], folder: Path | None = None
) -> Fit | WordFit | None:
    """How the vocabulary of a preprocessor, or of an encoder of words, fits texts.

    Args:
        preprocessor: What splits texts into pieces.
        columns: Columns of texts; of many texts some are looked at.
        folder: The encoder's SavedModel.

    Returns:
        `None` for encoders that split texts themselves and whose vocabulary can't be read.
    """
    texts = [joining.plain(text) for row in zip(*columns) for text in row]
    some = texts[:: -(-len(texts) // _TEXTS) or 1]
    if not isinstance(preprocessor, BertPreprocessor):
        known = None if folder is None else _words_of(folder)
        return None if known is None else _of_words(known, some)
    words, pieces, unknown = _counted(preprocessor, some)
    own = _own(preprocessor)
    if not words or not own:
        return None
    worst = max(own, key=lambda name: own[name][0])
    return Fit(words, pieces, unknown, tuple(own), *own[worst])


def _words_of(folder: Path) -> frozenset[str] | None:
    """The words of an encoder that has them in a file, one a line, as NNLM and Swivel do."""
    found = sorted((folder / "assets").glob("*.txt"))
    if len(found) != 1:
        return None
    try:
        lines = found[0].read_text("utf-8", errors="replace").splitlines()
    except OSError:
        return None
    return frozenset(line.split("\t")[0] for line in lines) or None


def _of_words(known: frozenset[str], texts: Sequence[str]) -> WordFit | None:
    words, unknown = _unknown(known, texts)
    samples = {ENGLISH: _english(), **{name: (text,) for name, text in _SAMPLES.items()}}
    own = {name: _unknown(known, of_language)[1] for name, of_language in samples.items()}
    best = min(own, key=lambda name: own[name])
    return WordFit(words, unknown, (best,), own[best]) if words else None


def _unknown(known: frozenset[str], texts: Sequence[str]) -> tuple[int, float]:
    """How many words there are, and the share that isn't known."""
    words = [word for text in texts for word in text[:_CHARACTERS].split()]
    # Some look up words as they are, others without their case and signs around them.
    missing = sum(
        known.isdisjoint((word, word.lower(), bare, bare.lower()))
        for word in words
        if (bare := word.strip(string.punctuation))
    )
    return len(words), missing / max(len(words), 1)


def _own(preprocessor: BertPreprocessor) -> dict[str, tuple[float, float]]:
    """Pieces a word and share of unknown ones of the encoder's own languages, best first."""
    samples = {ENGLISH: _english(), **{name: (text,) for name, text in _SAMPLES.items()}}
    found = {name: _counted(preprocessor, texts)[1:] for name, texts in samples.items()}
    known = {name: fit for name, fit in found.items() if fit[1] <= _UNKNOWN}
    best = min((fit[0] for fit in known.values()), default=0.0)
    return {name: fit for name, fit in known.items() if fit[0] <= _OWN * best}


@functools.cache
def _english() -> tuple[str, ...]:
    """The packaged sample."""
    with registry.samples_path().open(encoding="utf-8", newline="") as file:
        return tuple(row["text"] for row in csv.DictReader(file))


def _counted(preprocessor: BertPreprocessor, texts: Sequence[str]) -> tuple[int, float, float]:
    """Words, pieces a word, and the share of pieces that are unknown."""
    cut = tf.constant([text[:_CHARACTERS] for text in texts], tf.string)
    pieces = preprocessor.in_words(cut)
    if pieces.ragged_rank > 1:
        words = int(tf.size(pieces.values.row_lengths()))
    else:
        words = _words_without_tokenizer(cut)
    ids = pieces.flat_values.numpy()
    unknown = _unknown_id(preprocessor)
    share = 0.0 if unknown is None or not len(ids) else float(np.mean(ids == unknown))
    return words, len(ids) / max(words, 1), share


def _words_without_tokenizer(texts: tf.Tensor) -> int:
    """Words as BERT has them, for tokenizers that know none; scripts without spaces by letters."""
    words = tf.strings.regex_replace(splitting.split(texts).flat_values, _SIGNS_ALONE, "")
    words = tf.boolean_mask(words, tf.strings.length(words) > 0)
    letters = tf.strings.length(tf.strings.regex_replace(words, _SPACED, ""), unit="UTF8_CHAR")
    count = tf.reduce_sum(tf.where(letters > 0, -(-letters // _LETTERS_A_WORD), 1))
    # Each of these is a word by itself for BERT, and half of one or more for its readers.
    alone = tf.reduce_sum(tf.cast(tf.strings.regex_full_match(words, _IDEOGRAPH), tf.int32))
    return int(count) - int(alone) + round(int(alone) / _IDEOGRAPHS_A_WORD)


def _unknown_id(preprocessor: BertPreprocessor) -> int | None:
    if preprocessor.unknown_id is not None:
        return preprocessor.unknown_id
    # TF Hub's preprocessors don't say which id is that of unknown pieces; this text is one.
    unheard_of = preprocessor.tokenize(tf.constant([_UNHEARD_OF])).flat_values.numpy()
    return int(unheard_of[0]) if len(unheard_of) == 1 else None
