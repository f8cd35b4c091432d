"""How texts and pairs are packed: which ids stand around them, and how many between two."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TypeAlias

import tensorflow as tf
import tensorflow_text as tf_text

# Of ids and numbers by the names that `get_special_tokens_dict` of a TF Hub preprocessor gives, and
# of three that are this package's: what stands between the texts of a pair, how many segments are
# told apart, whether a word alone is read as one behind a space.
Special: TypeAlias = Mapping[str, int]
START, END, PADDING = "start_of_sequence_id", "end_of_segment_id", "padding_id"
MASK, UNKNOWN = "mask_id", "unknown_id"
_SEPARATORS, _SEGMENTS, _SPACED = "pair_separators", "segments", "words_after_space"


@dataclasses.dataclass(frozen=True)
class Packing:
    """What stands around texts: `[CLS] a [SEP] b [SEP]`, or `<s> a </s></s> b </s>`.

    Attributes:
        start: Id of what begins a row.
        end: Id of what ends each text.
        padding: Id of what fills rows up.
        unknown: Id of unknown pieces, where there are any.
        mask: Id of what stands for a piece to guess.
        separators: How many `end` stand between the texts of a pair.
        segments: Into how many types a pair's tokens fall.
    """

    start: int
    end: int
    padding: int
    unknown: int | None
    mask: int | None
    separators: int
    segments: int

    def special(self, size: int, spaced: bool) -> dict[str, int]:
        """What `get_special_tokens_dict` of a preprocessor says.

        Args:
            size: How many pieces there are.
            spaced: Whether a word alone is read as one behind a space.
        """
        ids = {START: self.start, END: self.end, PADDING: self.padding}
        ids |= {MASK: self.mask} if self.mask is not None else {}
        ids |= {UNKNOWN: self.unknown} if self.unknown is not None else {}
        more = {_SEPARATORS: self.separators, _SEGMENTS: self.segments, _SPACED: int(spaced)}
        return {**ids, "vocab_size": size, **more}


def separators(special: Special) -> int:
    """How many `END` stand between the texts of a pair; TF Hub's own preprocessors put one."""
    return special.get(_SEPARATORS, 1)


def are_spaced(special: Special) -> bool:
    """Whether a word alone is to be read as one behind a space."""
    return bool(special.get(_SPACED, 0))


def ids(special: Special) -> frozenset[int]:
    """The ids that packing adds, and no text has."""
    return frozenset(special[name] for name in (START, END, PADDING, MASK) if name in special)


def room(length: int | tf.Tensor, columns: int, special: Special) -> int | tf.Tensor:
    """How many pieces of one text, or of two, fit into a row of `length` tokens.

    Args:
        length: Tokens of a row.
        columns: How many texts are packed.
        special: Ids and numbers.

    Example:

    >>> room(16, 2, {}), room(16, 2, {"pair_separators": 2})
    (13, 12)
    """
    return length - 2 - (columns - 1) * separators(special)


def packed(
    segments: Sequence[tf.RaggedTensor], fitting: int | tf.Tensor, special: Special
) -> tuple[tf.RaggedTensor, tf.RaggedTensor]:
    """Texts as rows with all that stands around them, and the type of each token.

    Args:
        segments: Ids of one text or of two, int32 `[batch, (pieces)]`.
        fitting: How many of these pieces a row has at most, as `room` says.
        special: Ids and numbers.

    Returns:
        Both int32 `[batch, (tokens)]`. Where a pair is too long, its longer text is cut, as
        `bert_pack_inputs` of TF Hub's preprocessors does.
    """
    trimmed = tf_text.RoundRobinTrimmer(fitting).trim(list(segments))
    start, end = (tf.constant(special[name], tf.int32) for name in (START, END))
    more = separators(special) - 1
    if len(trimmed) > 1 and more:
        between = tf.fill([trimmed[1].nrows(), tf.constant(more, tf.int64)], end)
        trimmed = [trimmed[0], tf.concat([between, trimmed[1]], axis=1)]
    tokens, types = tf_text.combine_segments(trimmed, start, end)
    types = tf.cast(types, tf.int32)
    return tokens, tf.zeros_like(types) if special.get(_SEGMENTS, 2) == 1 else types
