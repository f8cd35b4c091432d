"""A tokenizer as a TF Hub preprocessor has it: ids of texts, special tokens, packed rows."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import tensorflow as tf

from tfhub_transfer.encoders import hub_format
from tfhub_transfer.encoders.tokenizers import packing
from tfhub_transfer.storage import atomic
from tfhub_transfer.storage.scratch import temporary


class Splitter(Protocol):
    """What cuts texts into pieces."""

    def ids(self, texts: tf.Tensor) -> tf.RaggedTensor:
        """Strings `[n]` to int32 ids `[n, (pieces)]` or `[n, (words), (pieces)]`."""


@dataclasses.dataclass(frozen=True)
class Tokenizer:
    """What a Hugging Face folder says of its tokenizer.

    Attributes:
        splitter: Texts to ids; a `tf.Module`.
        packing: What stands around texts.
        pieces: What each id stands for.
        spaced: Whether a word alone is to be read as one behind a space.
    """

    splitter: Splitter
    packing: packing.Packing
    pieces: Sequence[str]
    spaced: bool = False

    def save(self, folder: Path) -> None:
        """Writes it as a TF Hub preprocessor, as a whole folder.

        Args:
            folder: The folder to write.

        Raises:
            InputError: If it can't be written, or there is something already.
        """
        with temporary() as work, atomic.part(folder) as scratch:
            vocab = work / "vocab.txt"
            # One a line, whatever it is.
            lines = (
                each.replace("\n", "<0x0A>").replace("\r", "<0x0D>") + "\n" for each in self.pieces
            )
            vocab.write_text("".join(lines), encoding="utf-8", newline="\n")
            tf.saved_model.save(hub_format.preprocessor(_Saved(self, vocab)), str(scratch))


class _Saved(tf.train.Checkpoint):
    """As `hub_format.WordPieces`, of another family."""

    def __init__(self, tokenizer: Tokenizer, vocab: Path) -> None:
        super().__init__()
        self._splitter = tokenizer.splitter
        self._special = tokenizer.packing.special(len(tokenizer.pieces), tokenizer.spaced)
        # Nothing here reads it; who shows pieces does.
        self.vocab_file = tf.saved_model.Asset(str(vocab))

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)], autograph=False)
    def __call__(self, texts: tf.Tensor) -> tf.RaggedTensor:
        """Strings `[batch]` to int32 ids `[batch, (pieces)]` or `[batch, (words), (pieces)]`."""
        return self._splitter.ids(texts)

    @tf.function(input_signature=[], autograph=False)
    def get_special_tokens_dict(self) -> dict[str, tf.Tensor]:
        """Ids of the special tokens, the size of the vocabulary, how pairs are packed."""
        return {key: tf.constant(value, tf.int32) for key, value in self._special.items()}

    def pack(
        self, segments: Sequence[tf.RaggedTensor], seq_length: tf.Tensor
    ) -> dict[str, tf.Tensor]:
        """One text or two as rows of `seq_length` tokens, cut and padded."""
        flat = [s.merge_dims(1, -1) if s.shape.rank > 2 else s for s in segments]
        length = tf.cast(seq_length, tf.int32)
        fitting = packing.room(length, len(flat), self._special)
        tokens, types = packing.packed(flat, fitting, self._special)
        shape = tf.stack([tf.cast(tokens.nrows(), tf.int32), length])
        padding = self._special[packing.PADDING]
        rows = (
            tokens.to_tensor(default_value=padding, shape=shape),
            tf.ones_like(tokens).to_tensor(shape=shape),
            types.to_tensor(shape=shape),
        )
        return dict(zip(hub_format.INPUT_KEYS, rows, strict=True))
