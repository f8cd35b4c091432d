"""What of a text may be copied into its answer: its words, in the pieces that answers consist of.

An encoder's own pieces would do only for answers in its vocabulary, which has no capitals, say, and
doesn't give a text back as it was. So a text is cut twice, and each piece of an answer's vocabulary
is told where in the encoder's pieces it stands. Both cut at spaces first: word by word is enough to
know that, whatever the encoder's tokenizer is.
"""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from tfhub_transfer.encoders.preprocessing import BertPreprocessor, TextPreprocessor
from tfhub_transfer.encoders.token_counts import padded_length, pieces_before, to_dense
from tfhub_transfer.private import tensorflow_texts
from tfhub_transfer.tasks.generation.vocabulary import PAD, TargetVocabulary

# Ids of pieces, and the places of the memory that they stand at, `[batch, pieces]`.
NAMES = ("source_ids", "source_places")
# Texts that are cut at a time, of any number of them.
_CHUNK = 4096
# What `tf.strings.split` splits at, and a word with what of it precedes the word.
_SPACES = "[\\t-\\r ]*"
_WORD = _SPACES + "[^\\t-\\r ]+"
# A small vocabulary has more pieces for a text than the encoder's; twice as many are rare.
_TIMES = 2


class Sources:
    """Cuts texts into what may be copied of them.

    Args:
        vocabulary: The pieces of answers; `None` where nothing is copied.
        preprocessor: What makes the encoder's pieces of the same texts.

    Attributes:
        most: The most pieces of a text; what is behind them can't be copied.
    """

    def __init__(self, vocabulary: TargetVocabulary | None, preprocessor: TextPreprocessor) -> None:
        self._vocabulary, self._preprocessor = vocabulary, preprocessor
        self.most = _TIMES * preprocessor.sequence_length

    def __call__(self, texts: tf.Tensor) -> dict[str, tf.RaggedTensor]:
        """Texts `[n]` to ragged int32 `[n, (pieces)]` by the names of `NAMES`, as graph code.

        What the encoder doesn't read, since a text is too long for it, isn't among them.
        """
        if self._vocabulary is None:
            return {}
        words = tf.strings.split(texts)
        pieces = self._vocabulary.tokenize(words.flat_values)
        places, there = self._places(words, self._read(texts, words), pieces)
        of_texts = words.with_values(pieces.with_values(there)).merge_dims(1, 2)
        return {
            name: tf.ragged.boolean_mask(of_texts.with_values(values), of_texts)[:, : self.most]
            for name, values in zip(NAMES, (pieces.values, places))
        }

    def of_all(self, texts: Sequence[str]) -> dict[str, tf.RaggedTensor]:
        """The same of any number of texts, not as graph code."""
        chunks = [
            self(tf.constant(list(texts[start : start + _CHUNK]), tf.string))
            for start in range(0, len(texts), _CHUNK)
        ]
        return {name: tf.concat([each[name] for each in chunks], axis=0) for name in NAMES}

    def pad(
        self, columns: dict[str, tf.RaggedTensor], lengths: np.ndarray | None = None
    ) -> dict[str, tf.Tensor]:
        """What is copied of a batch, int32 `[batch, length]`, with 0 behind each text's pieces.

        Args:
            columns: As `__call__` gives them, maybe among others.
            lengths: To what all is padded, as for `TextPreprocessor.pad`.
        """
        if self._vocabulary is None:
            return {}
        length = padded_length(columns[NAMES[0]], lengths, self.most)
        return {name: to_dense(columns[name], length, PAD) for name in NAMES}

    def _read(self, texts: tf.Tensor, words: tf.RaggedTensor) -> tf.Tensor:
        """What of the texts each word is for the encoder's tokenizer, with spaces if it reads them.

        Args:
            texts: `[n]`.
            words: Their words `[n, (words)]`.
        """
        reader = self._preprocessor
        if not isinstance(reader, BertPreprocessor) or not reader.reads_spaces:
            return words.flat_values
        spaced = tf.strings.regex_replace(texts, _SPACES + r"\z", "")
        found, _, _, _ = tensorflow_texts.split(spaced, _WORD, _WORD)
        return found

    def _places(
        self, words: tf.RaggedTensor, read: tf.Tensor, pieces: tf.RaggedTensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Where in the memory each piece stands `[all pieces]`, and whether it is read there."""
        if not isinstance(self._preprocessor, BertPreprocessor):
            # A memory of one vector says of every piece the same.
            none = tf.zeros_like(pieces.values)
            return none, tf.ones_like(none, tf.bool)
        counts = words.with_values(self._preprocessor.tokenize(read).row_lengths())
        owners, sizes = pieces.value_rowids(), pieces.row_lengths()
        begin, own, each = (
            tf.gather(x, owners) for x in (pieces_before(counts) + 1, counts.flat_values, sizes)
        )
        # Of words that both cut otherwise the same share is the same place.
        within = tf.ragged.range(sizes).flat_values * own // each
        # Behind [CLS]; the last place is that of [SEP].
        places = tf.cast(begin + within, tf.int32)
        return places, places < self._preprocessor.sequence_length - 1
