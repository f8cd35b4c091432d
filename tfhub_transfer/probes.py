"""Whether answers are answers: an encoder's first ones to a few rows, and those of a model."""

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from tfhub_transfer import runtime
from tfhub_transfer.errors import InputError

ROWS, LENGTH = 3, 16
# Ids that every vocabulary has.
_IDS = 30
_REAL = ((16,), (9,), (4,))
_TEXTS = ("a good film", "the weather in Rome is bad today", "12 new cars")


def ids(names: tuple[str, ...]) -> dict[str, tf.Tensor]:
    """Rows for the BERT dialect, int32 `[3, 16]`, of 16, 9 and 4 tokens.

    Args:
        names: The keys of word ids, mask and segments.
    """
    rows = np.arange(ROWS * LENGTH).reshape(ROWS, LENGTH) % _IDS
    probe = (rows, np.arange(LENGTH) < _REAL, rows % 2)
    with tf.init_scope():
        return {name: tf.constant(value, tf.int32) for name, value in zip(names, probe)}


def ask(functions: Any, names: tuple[str, ...], handle: str, allow_nan: bool = False) -> None:
    """Calls an encoder once, outside of any graph; not under a strategy of several replicas.

    There a SavedModel can be called within a replica only; a loss that isn't finite tells too.

    Args:
        functions: Its call, a `loading.Functions`.
        names: The keys of its inputs, in the BERT dialect.
        handle: Its handle, for a message.
        allow_nan: Whether it may answer with anything, as long as there is a row for each.

    Raises:
        InputError: If it gives another number of rows than it got, or no finite numbers; or, to
            ids that differ, the same for each. (Texts may differ in words that it doesn't know.)
    """
    if tf.distribute.get_strategy().num_replicas_in_sync > 1:
        return
    by_ids = functions.dialect == "bert"
    with tf.init_scope(), runtime.precision("float32"), _unoptimized():
        given = ids(names) if by_ids else tf.constant(_TEXTS)
        outputs = tf.nest.flatten(functions(given, False))
    arrays = [output.numpy() for output in outputs]
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


@contextlib.contextmanager
def _unoptimized() -> Iterator[None]:
    """Calls what is called inside as it stands: optimizing a graph takes longer than asking once.

    Models run other graphs, which are made of this one and optimized then.
    """
    option = "disable_meta_optimizer"
    before = tf.config.optimizer.get_experimental_options().get(option, False)
    tf.config.optimizer.set_experimental_options({option: True})
    try:
        yield
    finally:
        tf.config.optimizer.set_experimental_options({option: before})


def require_numbers(scores: Any, texts: Sequence[Any], owners: Any = None) -> None:
    """Refuses scores that are NaN, and names the first text that they answer.

    Args:
        scores: Of each row, an array `[rows, ...]` or a list of arrays.
        texts: What each row was made of, for the message.
        owners: The number of the text that each row is part of, if that is known.

    Raises:
        InputError: If one of them is NaN.
    """
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
