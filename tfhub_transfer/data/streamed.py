"""Chunks of a stream as training reads them inside of TensorFlow: mistakes come out as one line."""

import contextlib
import re
from collections.abc import Iterator, Sequence
from typing import Protocol

import numpy as np
import tensorflow as tf

from tfhub_transfer.data.examples import Examples, Stream
from tfhub_transfer.errors import InputError, RowError

# How TensorFlow quotes what a Python function raised.
_QUOTED = re.compile(rf"\b{InputError.__name__}: (.+)")


class _Task(Protocol):
    """What encodes labels, as tasks do."""

    def encode(self, labels: Sequence[object]) -> np.ndarray:
        """Labels as what the loss wants, one for each row."""


class _Layout(Protocol):
    """What checks texts, as the layouts of tasks do."""

    def check(self, examples: Examples) -> None:
        """Raises `InputError` if a text can't be read."""


def chunks(
    stream: Stream, task: _Task, layout: _Layout
) -> Iterator[tuple[tuple[list[str], ...] | np.ndarray, ...]]:
    """Texts and encoded labels of each chunk, and weights, 1 in the mean, if the rows have any.

    Args:
        stream: The rows.
        task: What encodes labels.
        layout: What checks texts.

    Raises:
        InputError: If a row is unusable; it names the file and its line.
    """
    for chunk in stream:
        layout.check(chunk)
        found = tuple(chunk.texts), _encoded(chunk, task)
        weights = np.array(chunk.weights or [], np.float32) / stream.mean_weight
        yield (*found, weights) if stream.weight else found


def _encoded(chunk: Examples, task: _Task) -> np.ndarray:
    try:
        return task.encode(chunk.labels)
    except InputError as error:
        # Which row it is, not every message says: the first that fails alone.
        for row, label in enumerate(chunk.labels):
            try:
                task.encode([label])
            except InputError as own:
                said = own.reason if isinstance(own, RowError) else str(own)
                raise InputError(f"{chunk.place(row)}: {said}") from error
        raise


@contextlib.contextmanager
def errors_alone() -> Iterator[None]:
    """Raises the user's mistake alone where TensorFlow wraps it, as it does in datasets.

    Raises:
        InputError: In the place of TensorFlow's error around it.
    """
    try:
        yield
    except tf.errors.OpError as error:
        found = _QUOTED.search(str(error.message))
        if found is None:
            raise
        raise InputError(found.group(1).strip()) from None
