"""What a preprocessor is called with, in any of its forms, as columns of string tensors."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfhub_transfer.encoders import calls
from tfhub_transfer.errors import InputError
from tfhub_transfer.incoming import values, wording
from tfhub_transfer.texts import joining

_PAIR, _TEXT, _WORDS = ("text_a", "text_b"), ("text",), ("tokens",)


def columns(given: object, words: bool) -> tuple[calls.Tensor, ...]:
    """One tensor of strings, or two of pairs: `[batch]`, of words `[batch, words]`.

    Words have empty strings behind the last of each text. A tensor of one text alone has no axis
    for the batch, and keeps none.

    Args:
        given: Texts, pairs, words, or a dictionary or table of such; tensors may be symbolic.
        words: Whether texts are lists of words.

    Raises:
        InputError: If it is something else.

    Example:

    >>> [column.numpy().tolist() for column in columns([("a", "b"), ("c", "d")], words=False)]
    [[b'a', b'c'], [b'b', b'd']]
    """
    if isinstance(given, tf.data.Dataset):
        raise InputError(
            "a data set of texts is mapped: `dataset.map(preprocessor)`. "
            "Received: a tf.data.Dataset"
        )
    if hasattr(type(given), "texts"):  # a table may have a column of that name
        raise InputError(
            "examples go through `model.preprocess(examples)`; here give their columns of texts, "
            f"`preprocessor(tuple(examples.texts))`. Received: {type(given).__name__}"
        )
    read = _words if words else _texts
    found = tuple(read(column) for column in _apart(given, words))
    sizes = [each.shape[0] for each in found if calls.rank(each)]
    if len({size for size in sizes if size is not None}) > 1:
        raise InputError(
            "each first text of a pair has a second one, so there are as many of both. "
            f"Received: {sizes[0]} and {sizes[1]}"
        )
    return found


def are_strings(given: object) -> bool:
    """Whether labels are texts, as of pairs that were given in two arguments."""
    if hasattr(given, "dtype"):
        dtype = calls.dtype(given)
        first = np.asanyarray(given).ravel()[:1].tolist() if dtype == "object" else []
        return dtype.startswith(("str", "bytes")) or isinstance([*first, 0][0], (str, bytes))
    flat = given
    while isinstance(flat, (list, tuple)) and flat:
        flat = flat[0]
    return isinstance(flat, (str, bytes))


def _apart(given: object, words: bool) -> Sequence[object]:
    names = None if calls.is_tensor(given) else values.column_names(given)
    if names is not None:
        table: Any = given  # known by its columns alone, whoever's it is
        return [table[name] for name in _chosen(names, words)]
    if not isinstance(given, (list, tuple)):
        return [given]
    twins = isinstance(given, tuple) and len(given) == 2
    if twins and not words and not any(isinstance(each, (str, bytes)) for each in given):
        if all(isinstance(each, tuple) and len(each) == 2 for each in given):
            raise InputError(
                "two tuples of two could be two columns or two pairs; give columns as lists, "
                f"`(firsts, seconds)`, or pairs in a list. Received: {str(given)[:80]}"
            )
        return given
    tensors = [each for each in given if calls.is_tensor(each)]
    if tensors:
        alone = any(calls.rank(each) == 0 for each in tensors)  # texts of their own
        if len(tensors) != len(given) or len(given) > 2 or (alone and len(given) == 2):
            raise InputError(
                "expected one tensor of strings, or two of pairs; `tf.stack` makes one of many. "
                f"Received: {len(given)} of them"
            )
        return given
    if words:
        return [given]
    if given and all(isinstance(row, tuple) and len(row) == 2 for row in given):
        return list(zip(*given))
    return [given]


def _chosen(names: Sequence[str], words: bool) -> tuple[str, ...]:
    wanted = (_WORDS,) if words else (_TEXT, _PAIR)
    for each in wanted:
        if set(each) <= set(names):
            return each
    listed = " or ".join(", ".join(each) for each in wanted)
    raise InputError(
        f"expected columns {listed}; rename yours, or give them alone. "
        f"Received: {', '.join(map(repr, names))}"
    )


def _texts(column: object) -> calls.Tensor:
    if calls.is_tensor(column) and calls.rank(column) == 0 and column.dtype == tf.string:
        return column
    rows = column if isinstance(column, (list, tuple)) else ()
    if any(isinstance(row, (list, tuple)) for row in rows):
        raise InputError(
            "a text is one string; give pairs as `(firsts, seconds)`, and lists of words to a "
            f"preprocessor with `words=True`. Received: {str(rows[0])[:60]}"
        )
    return calls.as_texts(column)


def _words(column: object) -> calls.Tensor:
    if calls.is_tensor(column):
        ragged = isinstance(column, tf.RaggedTensor)
        # Of Keras' own tensors the first axis is always that of the batch.
        dense = not isinstance(column, tf.SparseTensor)
        ranks = (2,) if isinstance(column, keras.KerasTensor) or ragged else (1, 2)
        flat = dense and calls.rank(column) in ranks
        if calls.dtype(column) != "string" or not flat:
            raise InputError(
                "expected words, strings [batch, words] or ragged. "
                f"Received: {calls.described(column)}"
            )
        return column.to_tensor("") if ragged else column
    rows: list[list[object]] = []
    for number, row in enumerate(map(values.decoded, wording.listed(column)), start=1):
        place = f"row {number} of the texts"
        if not isinstance(row, list):
            raise InputError(
                f"{place}: with `words=True` a text is a list of its words. Received: {row!r:.80}"
            )
        for word in row:
            wording.require_text(word, place)
        joining.require_last(row, place)
        rows.append(row)
    every = tf.constant([word for row in rows for word in row], tf.string)
    lengths = np.array([len(row) for row in rows], "int64")
    return tf.RaggedTensor.from_row_lengths(every, lengths).to_tensor("")
