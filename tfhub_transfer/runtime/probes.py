"""Whether answers are answers: an encoder's first ones to a few rows, and those of a model."""

import functools
from collections.abc import Sequence
from typing import Protocol, TypeAlias

import numpy as np
import tensorflow as tf

from tfhub_transfer.errors import InputError, one_line
from tfhub_transfer.runtime import precision_choice, products
from tfhub_transfer.shapes import Features

ROWS, LENGTH = 3, 8
# How many ids, and segments, an encoder may know: as many as of most, or as few as there can be.
_KNOWN = ((30, 2), (30, 1), (5, 2), (5, 1), (2, 1))
_REAL = ((8,), (5,), (3,))
_TEXTS = ("a good film", "the weather in Rome is bad today", "12 new cars")

# Texts, or ids by the keys of an encoder's inputs.
Given: TypeAlias = tf.Tensor | Features


class Call(Protocol):
    """What is asked of the call of an encoder, a `loading.Functions`."""

    @property
    def dialect(self) -> str: ...

    def __call__(self, inputs: Given, training: bool) -> object: ...

    def answer(self, inputs: Given) -> object: ...


def first_answers(
    functions: Call, names: tuple[str, ...], handle: str
) -> tuple[Given, list[tf.Tensor]]:
    """What an encoder is asked first, and all that it answers.

    To ids, that is rows of 8, 5 and 3 tokens in the BERT dialect, else to three texts. It is called
    outside of any graph, in float32, as the graph stands: who asks again asks the same function,
    and TensorFlow has it ready then, which takes several times as long as the answer.

    Args:
        functions: Its call.
        names: The keys of its inputs, in the BERT dialect: word ids, mask and segments.
        handle: Its handle, for a message.

    Raises:
        InputError: If the call fails.
    """
    # Under a strategy that has copies of variables only the outer function knows which to read.
    copied = tf.distribute.has_strategy()
    call = functools.partial(functions, training=False) if copied else functions.answer
    failure: Exception = ValueError("it was asked nothing")
    for ids, segments in _KNOWN:
        with tf.init_scope(), precision_choice.precision("float32"), products.unoptimized():
            given = _given(functions, names, ids, segments)
            try:
                return given, tf.nest.flatten(call(given))
            except tf.errors.InvalidArgumentError as error:  # perhaps an id that it doesn't know
                failure = error
            except Exception as error:  # TensorFlow raises a dozen kinds here
                failure = error
                # Smaller ids wouldn't mend it.
                break
    raise InputError(
        "the encoder can't be used: it fails when it is asked; it is damaged, or takes other rows "
        f"of texts than those of TF Hub. Received: {handle} ({one_line(str(failure), 200)})"
    ) from failure


def _given(functions: Call, names: tuple[str, ...], ids: int, segments: int) -> Given:
    if functions.dialect != "bert":
        return tf.constant(_TEXTS)
    rows = np.arange(ROWS * LENGTH).reshape(ROWS, LENGTH)
    probe = (rows % ids, np.arange(LENGTH) < _REAL, rows % segments)
    return {name: tf.constant(value, tf.int32) for name, value in zip(names, probe)}


def ask(functions: Call, names: tuple[str, ...], handle: str, allow_nan: bool = False) -> None:
    """Calls an encoder once, outside of any graph; not under a strategy.

    There a SavedModel can be called within a replica only; a loss that isn't finite tells too.

    Args:
        functions: Its call, a `loading.Functions`.
        names: The keys of its inputs, in the BERT dialect.
        handle: Its handle, for a message.
        allow_nan: Whether it may answer with anything, as long as there is a row for each.

    Raises:
        InputError: If it fails, gives another number of rows than it got, or no finite numbers;
            or, to ids that differ, the same for each. (Texts may differ in words that it doesn't
            know.)
    """
    if tf.distribute.has_strategy():
        return
    by_ids = functions.dialect == "bert"
    arrays = [output.numpy() for output in first_answers(functions, names, handle)[1]]
    if any(len(array) != ROWS for array in arrays):
        found = f"{min(map(len, arrays))} rows for {ROWS} texts"
    elif allow_nan:
        return
    elif not all(np.isfinite(array).all() for array in arrays):
        found = "numbers that aren't finite (NaN)"
    elif by_ids and all((array == array[:1]).all() for array in arrays):
        found = "the same vectors whatever it is asked"
    else:
        return
    raise InputError(
        f"the encoder can't be used: it answers with {found}; it is damaged, or its training went "
        f"wrong. Received: {handle}"
    )


def require_numbers(
    scores: Sequence[np.ndarray] | np.ndarray,
    texts: Sequence[object],
    owners: Sequence[int] | np.ndarray | None = None,
) -> None:
    """Refuses scores that are NaN, and names the first text that they answer.

    Args:
        scores: Of each row, an array `[rows, ...]` or a list of arrays.
        texts: What each row was made of, for the message.
        owners: The number of the text that each row is part of, if that is known.

    Raises:
        InputError: If one of them is NaN.
    """
    # An array in one look; row by row takes long and only finds out whose row it is.
    if isinstance(scores, np.ndarray) and not np.isnan(scores).any():
        return
    row = next((i for i, each in enumerate(scores) if np.isnan(each).any()), None)
    if row is None:
        return
    place = "" if owners is None else f"text {int(owners[row]) + 1}, "
    raise InputError(
        "the model answers with NaN: its training diverged or its file is damaged; train it again, "
        f"at a lower learning rate. Received: {place}{str(texts[row])[:60]!r}"
    )
