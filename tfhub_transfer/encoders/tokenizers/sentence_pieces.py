"""SentencePiece models whose ids are those of a family's own tokenizer, and their graph.

Kudo and Richardson 2018, https://arxiv.org/abs/1808.06226. Families number a model's pieces in
their own ways, XLM-R as fairseq does; here a model is written whose own numbers are these, so that
nothing needs to be added or looked up afterwards.
"""

import hashlib
from collections.abc import Collection, Sequence

import sentencepiece
import tensorflow as tf
import tensorflow_text as tf_text
from google.protobuf.message import DecodeError
from sentencepiece import sentencepiece_model_pb2

from tfhub_transfer.encoders.tokenizers import charsmaps
from tfhub_transfer.encoders.tokenizers.normalizing import Step
from tfhub_transfer.errors import InputError
from tfhub_transfer.texts import splitting
from tfhub_transfer.texts.joining import WORD_END

_Model = sentencepiece_model_pb2.ModelProto
_Piece = _Model.SentencePiece
SPACE = "▁"
# All of Unicode's White_Space but a plain space.
_BLANKS = (
    "\t\n\v\f\r\x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
    "\u2028\u2029\u202f\u205f\u3000"
)
# Other characters that tables replace by spaces.
_OTHERS = "\u200b\u200c\u200d\u200e\u200f\u2581\ufeff\ufffd"


class SentencePieces(tf.Module):
    """Texts to SentencePiece's pieces.

    Args:
        model: A model, as its own library reads it.
        before: What is done to texts before the model's own replacements.
        all_blanks: Whether all of Unicode's spaces part words, also those that the model keeps.
        last_space: Whether a space that ends a text is a piece.

    Raises:
        InputError: If it is none.
    """

    def __init__(
        self,
        model: bytes,
        before: Step = tf.identity,
        all_blanks: bool = True,
        last_space: bool = False,
    ) -> None:
        super().__init__()
        processor = _loaded(model)
        self._model, self._before = model, before
        table = _Model.FromString(model).normalizer_spec.precompiled_charsmap
        found = {each: charsmaps.replaced_by(table, each) for each in _BLANKS}
        kept = [each for each in _BLANKS if found[each] is None] if all_blanks else [WORD_END]
        self._blanks = "[" + "".join(rf"\x{{{ord(each):X}}}" for each in kept) + "]"
        spaces = [each for each in _BLANKS + _OTHERS if charsmaps.replaced_by(table, each) == " "]
        self._ends_in_space = "(?s).*[ " + "".join(rf"\x{{{ord(s):X}}}" for s in spaces) + "]"
        self._last = int(processor.piece_to_id(SPACE)) if last_space else None

    def ids(self, texts: tf.Tensor) -> tf.RaggedTensor:
        """Strings `[n]` to int32 ids `[n, (pieces)]`, as graph code."""
        texts = self._before(splitting.without_mark(texts))
        if self._blanks != "[]":
            texts = tf.strings.regex_replace(texts, self._blanks, " ")
        # Of operations of one name TensorFlow has one model in all that was loaded together.
        name = f"pieces_{hashlib.sha256(self._model).hexdigest()[:16]}"
        found = tf_text.SentencepieceTokenizer(model=self._model, name=name).tokenize(texts)
        if self._last is None:
            return found
        ends = tf.cast(tf.strings.regex_full_match(texts, self._ends_in_space), tf.int64)
        last = tf.fill([tf.reduce_sum(ends)], self._last)
        return tf.concat([found, tf.RaggedTensor.from_row_lengths(last, ends, validate=False)], 1)


def of_pieces(
    pieces: Sequence[tuple[str, float]],
    unknown: int,
    special: Collection[int],
    table: bytes = b"",
    bytes_too: bool = False,
) -> bytes:
    """A Unigram model.

    Args:
        pieces: Each piece and its score, in the order of ids.
        unknown: The id of unknown pieces.
        special: Ids that no text has.
        table: What replaces characters (`charsmaps`).
        bytes_too: Whether characters without a piece are written in bytes.

    Raises:
        InputError: If the pieces make no model.
    """
    made = _Model()
    for number, (piece, score) in enumerate(pieces):
        kind = _Piece.CONTROL if number in special else _Piece.NORMAL
        if bytes_too and len(piece) == 6 and piece.startswith("<0x"):
            kind = _Piece.BYTE
        made.pieces.add(
            piece=piece, score=score, type=_Piece.UNKNOWN if number == unknown else kind
        )
    made.trainer_spec.model_type = sentencepiece_model_pb2.TrainerSpec.UNIGRAM
    made.trainer_spec.byte_fallback = bytes_too
    made.trainer_spec.unk_id = unknown
    made.trainer_spec.vocab_size = len(pieces)
    spec = made.normalizer_spec
    spec.name, spec.precompiled_charsmap = "custom", charsmaps.as_tokenizers_read(table)
    model = bytes(made.SerializeToString())
    _loaded(model)
    return model


def parsed(model: bytes, source: object) -> sentencepiece_model_pb2.ModelProto:
    """A model as its parts.

    Args:
        model: The bytes of a file.
        source: What to call it in a message.

    Raises:
        InputError: If it is none.
    """
    try:
        found = _Model.FromString(model)
    except DecodeError as error:
        raise InputError(
            f"a SentencePiece model is expected; take the file again. Received: {source}"
        ) from error
    if not found.pieces:
        raise InputError(
            f"a SentencePiece model has pieces; take the file again. Received: none in {source}"
        )
    return found


def numbered(
    model: sentencepiece_model_pb2.ModelProto,
    first: Sequence[str],
    skipped: int,
    last: Sequence[str],
) -> bytes:
    """A model with a family's own pieces around those that it has.

    Args:
        model: What its file holds.
        first: Pieces of the family that come first.
        skipped: How many of the model's pieces these stand for.
        last: Pieces of the family that come last.

    Raises:
        InputError: If the pieces make no model.

    Example:

    >>> from sentencepiece.sentencepiece_model_pb2 import ModelProto
    >>> model = ModelProto()
    >>> for piece, kind in (("<unk>", 2), ("<s>", 3), ("</s>", 3), ("a", 1)):
    ...     _ = model.pieces.add(piece=piece, score=-1.0, type=kind)
    >>> made = numbered(model, ("<s>", "<pad>", "</s>", "<unk>"), 3, ("<mask>",))
    >>> [each.piece for each in ModelProto.FromString(made).pieces]
    ['<s>', '<pad>', '</s>', '<unk>', 'a', '<mask>']
    """
    made, own = _Model(), list(model.pieces)[skipped:]
    made.CopyFrom(model)
    del made.pieces[:]
    for piece in first:
        unknown = piece == "<unk>"
        made.pieces.add(piece=piece, type=_Piece.UNKNOWN if unknown else _Piece.CONTROL)
    made.pieces.extend(own)
    for piece in last:
        made.pieces.add(piece=piece, type=_Piece.CONTROL)
    numbers = {each.piece: number for number, each in enumerate(made.pieces)}
    spec = made.trainer_spec
    spec.unk_id, spec.vocab_size = numbers.get("<unk>", 0), len(made.pieces)
    spec.bos_id, spec.eos_id, spec.pad_id = -1, -1, -1
    table = made.normalizer_spec.precompiled_charsmap
    made.normalizer_spec.precompiled_charsmap = charsmaps.as_tokenizers_read(table)
    written = bytes(made.SerializeToString())
    _loaded(written)
    return written


def _loaded(model: bytes) -> sentencepiece.SentencePieceProcessor:
    try:
        return sentencepiece.SentencePieceProcessor(model_proto=model)
    except (RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())[:120]
        raise InputError(
            "the tokenizer's pieces make no SentencePiece model; take the files again. "
            f"Received: {reason}"
        ) from error
