"""Word pieces as BERT's, where a tokenizer.json says how texts are cleaned and cut into words."""

from collections.abc import Sequence

import tensorflow as tf
import tensorflow_text as tf_text

from tfhub_transfer.encoders.tokenizers.normalizing import BLANK, Step, without_nul
from tfhub_transfer.private import tensorflow_texts
from tfhub_transfer.texts import splitting
from tfhub_transfer.texts.joining import WORD_END

_SIGN = r"[!-/]|[:-@]|[\[-`]|[{-~]|\p{P}"
# Letters in circles and squares, and what joins letters: Unicode has them in words, too.
_LETTERS = (
    r"\x{24B6}-\x{24E9}\x{1F130}-\x{1F149}\x{1F150}-\x{1F169}\x{1F170}-\x{1F189}\x{200C}\x{200D}"
)
# What is a word by itself, by the names of tokenizer.json's pre-tokenizers; blanks part words.
SIGNS = {
    "BertPreTokenizer": _SIGN,
    "Whitespace": rf"[^\p{{L}}\p{{M}}\p{{Nd}}\p{{Nl}}\p{{Pc}}{_LETTERS}{BLANK}]+",
    "WhitespaceSplit": rf"[{BLANK}]+",
}
# A longer word is unknown; tensorflow-text counts bytes, of which a character has up to four.
_LONGEST_WORD = 100


class WordsInPieces(tf.Module):
    """Texts to words, and those to the longest pieces that they begin with.

    Args:
        pieces: The vocabulary in the order of ids.
        unknown: The piece of words that have none.
        splitting_by: A name of `SIGNS`.
        before: What is done to texts first.
    """

    def __init__(
        self, pieces: Sequence[str], unknown: str, splitting_by: str, before: Step
    ) -> None:
        super().__init__()
        self._unknown, self._sign, self._before = unknown, SIGNS[splitting_by], before
        initializer = tf.lookup.KeyValueTensorInitializer(
            tf.constant(list(pieces)), tf.range(len(pieces), dtype=tf.int64)
        )
        # The table wants a bucket at least; unknown pieces are the tokenizer's affair.
        self._table = tf.lookup.StaticVocabularyTable(initializer, 1)

    def ids(self, texts: tf.Tensor) -> tf.RaggedTensor:
        """Strings `[n]` to int32 ids `[n, (words), (pieces)]`, as graph code."""
        texts = tf.strings.regex_replace(splitting.without_mark(texts), WORD_END, " ")
        # Splitting forgets what is behind a U+0000.
        texts = without_nul(self._before(texts))
        found, _, _, splits = tensorflow_texts.split(texts, f"[{BLANK}]+|{self._sign}", self._sign)
        words = tf.RaggedTensor.from_row_splits(found, splits, validate=False)
        words = tf.ragged.boolean_mask(words, ~tf.strings.regex_full_match(words, f"[{BLANK}]*"))
        # Each word is split once, however often it occurs.
        different, places = tf.unique(words.flat_values, tf.int64)
        lengths = tf.strings.length(different, unit="UTF8_CHAR")
        short = tf.where(lengths > _LONGEST_WORD, self._unknown, different)
        tokenizer = tf_text.WordpieceTokenizer(
            self._table,
            max_bytes_per_word=4 * _LONGEST_WORD,
            token_out_type=tf.int32,
            unknown_token=self._unknown,
        )
        return words.with_values(tf.gather(tokenizer.tokenize(short), places))
