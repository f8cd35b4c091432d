r"""Answers to pieces and back: a SentencePiece vocabulary that is learned from the targets.

What was tokenized comes back whole, whatever it was: no normalization, spaces as they are, and
bytes where a character is in no piece (Kudo and Richardson 2018, https://arxiv.org/abs/1808.06226).
Two things need care for that. SentencePiece writes a space as U+2581 and makes every U+2581 a space
again, so one that was in a text is spelled in two characters in between, by rules that stand in the
model itself. And the library inside of tensorflow-text takes all spaces off a text's beginning if
the model puts one there, so that is done here, in the graph.
"""

import base64
import binascii
import collections
import functools
import hashlib
import io
import tempfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import sentencepiece
import tensorflow as tf
import tensorflow_text as tf_text
from google.protobuf.message import DecodeError
from sentencepiece import sentencepiece_model_pb2

from tfhub_transfer.errors import InputError
from tfhub_transfer.incoming import ranges, wording

PAD, UNK, BOS, EOS = 0, 1, 2, 3
# Usual sizes. 256 pieces are bytes.
SIZES = (2_000, 16_000)
# A piece for so many bytes of targets: 8,000 for 29,000 sentences of twelve words. Larger ones have
# pieces that are too seldom to be learned (Gowda and May 2020,
# https://aclanthology.org/2020.findings-emnlp.352), smaller ones make answers longer.
_BYTES_A_PIECE = 256
# Below the usual sizes: every piece should occur some times.
_LEAST, _BYTES_A_SMALL_PIECE = 320, 32
# What is learned from: 8 MB take some ten seconds and 250 MB of memory, a hundred thousand
# sentences; of more targets some are drawn.
_SAMPLE, _LONGEST = 8_000_000, 10_000
# Of all characters so many are signs that are pieces; up to half of all pieces may be that.
_COVERAGE = 0.9995
# Learning adds numbers up in as many parts: another number makes other pieces in the last places.
_THREADS = 4
_SEEDS = 200_000
_MOST_BYTES = 64_000_000
# U+2581 stands for a space; what it is spelled with, and that itself, are spelled too.
_RULES = "2581\tE000 E002\nE000\tE000 E001\n"
_BACK = "E000 E002\t2581\nE000 E001\tE000\n"
_PROBE = " \u2581\ue000\ue001 é\n\t<0x0A> \U0001f600"


class TargetVocabulary:
    r"""The pieces that answers consist of.

    Ids: `PAD` 0, `UNK` 1 (which no text has), `BOS` 2, `EOS` 3, then bytes and pieces. As text the
    first four are nothing.

    Every text comes back as it was: line breaks, spaces at either end, U+0000, emoji. Strings that
    aren't UTF-8 don't, nor do ids whose bytes make no UTF-8 (U+FFFD stands for them).

    Args:
        model: A SentencePiece model, as `learn` makes it.

    Raises:
        InputError: If it is none, or can't give back what it is given.

    Example:

    >>> vocabulary = TargetVocabulary.learn(["Ein Hund rennt.", "Zwei Hunde."])
    >>> vocabulary.detokenize(vocabulary.tokenize(["Ein  Hund\n"])).numpy()[0]
    b'Ein  Hund\n'
    """

    def __init__(self, model: bytes) -> None:
        self._model = model
        self._processor = _loaded(model)

    @classmethod
    def learn(cls, texts: Sequence[str], size: int | None = None) -> "TargetVocabulary":
        """The vocabulary of some targets: the same each time for the same ones in the same order.

        Args:
            texts: The targets of the training split. Of more than 8 MB some are drawn, of each the
                first 10,000 characters.
            size: The most pieces, 512 to 64,000; by how much text there is if not given, 2,000 to
                16,000 (fewer for less than 54 kB). Few texts don't have as many.

        Raises:
            InputError: If there is no text, or `size` is out of range.
        """
        if size is not None:
            size = ranges.whole_number("vocabulary_size", size, *ranges.PIECES)
        given = [wording.require_text(text, f"row {row} of the targets")
                 for row, text in enumerate(texts, start=1)]  # fmt: skip
        sample = list(_drawn(given))
        if not any(text.strip() for text in sample):
            raise InputError(
                "a vocabulary is learned from targets, and these hold no text; give rows whose "
                f"targets say something. Received: {len(given):,} targets, all empty or blank"
            )
        signs = _frequent(sample)
        # Scripts of many signs need a piece for each, and some for words.
        size = size or max(
            usual_size(sum(map(_bytes, given))), min(_LEAST + 2 * len(signs), SIZES[1])
        )
        return cls(_learned(_of(signs[: (size - _LEAST) // 2], sample), size))

    @property
    def model(self) -> bytes:
        """The SentencePiece model, as its own library reads it."""
        return self._model

    @property
    def size(self) -> int:
        """How many pieces there are, the first four included."""
        return int(self._processor.vocab_size())

    def tokenize(self, texts: tf.Tensor) -> tf.RaggedTensor:
        """Texts `[n]` to ids, int32 `[n, (pieces)]`, as graph code; nothing is put around them.

        Args:
            texts: Strings in UTF-8. An empty one has no pieces.
        """
        given = tf.convert_to_tensor(texts, tf.string)
        return self._tokenize(given) if tf.inside_function() else self._graphs[0](given)

    def detokenize(self, ids: tf.Tensor | tf.RaggedTensor) -> tf.Tensor:
        """Ids to texts, strings `[n]`, as graph code that an export may hold.

        Args:
            ids: int32 `[n, pieces]`, with `PAD` wherever there is none, or ragged.
        """
        if tf.inside_function():
            return self._detokenize(ids)
        rows = ids if isinstance(ids, tf.RaggedTensor) else tf.RaggedTensor.from_tensor(ids)
        return self._graphs[1](rows)

    @functools.cached_property
    def _graphs(self) -> tuple[Callable[..., Any], Callable[..., Any]]:
        """Both as graphs of their own, each of which holds the model.

        Outside of a graph TensorFlow's operation holds it, and forgets it whenever an option of the
        graph optimizer is set.
        """
        texts = tf.TensorSpec([None], tf.string)
        ids = tf.RaggedTensorSpec([None, None], tf.int32)
        return (
            tf.function(self._tokenize, input_signature=[texts], autograph=False),
            tf.function(self._detokenize, input_signature=[ids], autograph=False),
        )

    @property
    def _operation(self) -> tf_text.SentencepieceTokenizer:
        # Of operations of one name TensorFlow has one model in all that was loaded together: an
        # export of several vocabularies would write all texts in the first that is asked.
        name = f"vocabulary_{hashlib.sha256(self._model).hexdigest()[:16]}"
        return tf_text.SentencepieceTokenizer(model=self._model, name=name)

    def _tokenize(self, texts: tf.Tensor) -> tf.RaggedTensor:
        return self._operation.tokenize(tf.strings.regex_replace(texts, r"(?s)\A(.)", r" \1"))

    def _detokenize(self, ids: tf.Tensor | tf.RaggedTensor) -> tf.Tensor:
        return tf.strings.regex_replace(self._operation.detokenize(ids), r"\A ", "")

    def inside(self, text: str) -> list[int]:
        """The ids of what stands within a text, without a space before it.

        Args:
            text: Any.
        """
        return list(map(int, self._processor.encode(text)))

    def pieces(self, ids: Sequence[int]) -> list[str]:
        """What ids stand for, to read: U+2581 for a space, `<0x0A>` for a byte.

        Args:
            ids: Numbers from 0 to `size - 1`.
        """
        return [self._processor.id_to_piece(int(each)) for each in ids]

    def get_config(self) -> dict[str, str]:
        """What tells one vocabulary from another."""
        return {"model": self.to_string()}

    def to_string(self) -> str:
        """The vocabulary as ASCII, for a configuration; see `from_string`."""
        return base64.b64encode(zlib.compress(self._model, 9)).decode("ascii")

    @classmethod
    def from_string(cls, written: str) -> "TargetVocabulary":
        """The vocabulary that `to_string` wrote.

        Args:
            written: What it returned.

        Raises:
            InputError: If it is damaged.
        """
        try:
            unpacking = zlib.decompressobj()
            model = unpacking.decompress(base64.b64decode(written, validate=True), _MOST_BYTES)
        except (binascii.Error, zlib.error, ValueError, TypeError) as error:
            raise _damaged(written, str(error)) from error
        # Its checksum is at the end: what was cut short has none.
        if not unpacking.eof or unpacking.unused_data:
            raise _damaged(written, "too short or too long")
        return cls(model)

    def __deepcopy__(self, memo: object) -> "TargetVocabulary":
        return self  # which nothing changes

    def __reduce__(self) -> tuple[type["TargetVocabulary"], tuple[bytes]]:
        return type(self), (self._model,)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, TargetVocabulary) and self._model == other._model

    def __hash__(self) -> int:
        return hash(self._model)


def usual_size(count: int) -> int:
    """The most pieces that so many bytes of targets should have.

    Example:

    >>> usual_size(2_000), usual_size(100_000), usual_size(2_050_000), usual_size(10**9)
    (382, 2000, 8007, 16000)
    """
    least = min(SIZES[0], _LEAST + count // _BYTES_A_SMALL_PIECE)
    return min(max(count // _BYTES_A_PIECE, least), SIZES[1])


def _bytes(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-8"))


def _drawn(texts: Sequence[str]) -> Iterator[str]:
    """As many texts as are learned from, in an order that is the same each time."""
    room = _SAMPLE
    for row in np.random.default_rng(0).permutation(len(texts)):
        text = texts[row][:_LONGEST]
        room -= _bytes(text)
        if room < 0:
            return
        if text:
            yield text


def _learned(texts: Sequence[str], size: int) -> bytes:
    """The model of texts that hold something."""
    made = io.BytesIO()
    with tempfile.TemporaryDirectory() as folder:
        rules, back = Path(folder, "rules.tsv"), Path(folder, "back.tsv")
        rules.write_text(_RULES, encoding="ascii")
        back.write_text(_BACK, encoding="ascii")
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=(f" {text}" for text in texts),
            model_writer=made,
            model_type="unigram",
            vocab_size=size,
            hard_vocab_limit=False,
            pad_id=PAD,
            unk_id=UNK,
            bos_id=BOS,
            eos_id=EOS,
            unk_surface="",
            byte_fallback=True,
            character_coverage=1.0,
            required_chars="\u2581",
            normalization_rule_tsv=str(rules),
            denormalization_rule_tsv=str(back),
            add_dummy_prefix=False,
            remove_extra_whitespaces=False,
            max_sentence_length=8 * _LONGEST,
            seed_sentencepiece_size=_SEEDS,
            num_threads=_THREADS,
            minloglevel=2,
        )
    return _without_paths(made.getvalue())


def _frequent(texts: Sequence[str]) -> list[str]:
    """The signs that all but a few characters are, the most frequent first."""
    counts: collections.Counter[str] = collections.Counter()
    for text in texts:
        counts.update(text)
    # Of as frequent ones in the order of Unicode, not of the rows.
    ordered = sorted(counts, key=lambda sign: (-counts[sign], sign))
    shares = np.cumsum([counts[sign] for sign in ordered]) / counts.total()
    return ordered[: int(np.searchsorted(shares, _COVERAGE)) + 1]


def _of(signs: Sequence[str], texts: Sequence[str]) -> list[str]:
    """Texts with spaces where other signs are, which bytes are for."""
    others = {ord(sign): " " for sign in {*"".join(texts)} - {*signs}}
    return [text.translate(others) for text in texts] if others else list(texts)


def _without_paths(model: bytes) -> bytes:
    """A model that doesn't name the files it was made by, which differ each time."""
    parsed = sentencepiece_model_pb2.ModelProto.FromString(model)
    for part in (parsed.normalizer_spec, parsed.denormalizer_spec):
        part.ClearField("normalization_rule_tsv")
    return bytes(parsed.SerializeToString(deterministic=True))


def _loaded(model: bytes) -> sentencepiece.SentencePieceProcessor:
    try:
        parsed = sentencepiece_model_pb2.ModelProto.FromString(model)
        found = sentencepiece.SentencePieceProcessor(model_proto=model)
        ids = [found.pad_id(), found.unk_id(), found.bos_id(), found.eos_id()]
        whole = found.decode(found.encode(_PROBE)) == _PROBE
    except (DecodeError, RuntimeError, OSError, TypeError) as error:
        raise _damaged(model, str(error)) from error
    # tensorflow-text takes a space off the beginning if it is to put one there.
    if ids != [PAD, UNK, BOS, EOS] or not whole or parsed.normalizer_spec.add_dummy_prefix:
        raise InputError(
            "a vocabulary of answers must give back what it is given, and have the ids 0 to 3 for "
            "padding, unknown, beginning and end; learn one with "
            "`tt.tasks.TargetVocabulary.learn(texts)`. "
            f"Received: a SentencePiece model of {found.vocab_size():,} pieces with {ids}"
        )
    return found


def _damaged(given: object, why: str) -> InputError:
    size = len(given) if isinstance(given, (str, bytes)) else 0
    return InputError(
        "the vocabulary of answers is damaged; take the file from where it was first written, or "
        f"train again. Received: {size:,} characters ({why.splitlines()[0] if why else 'none'})"
    )
