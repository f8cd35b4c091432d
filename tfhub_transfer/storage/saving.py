"""`.keras` files, written: whole, with nothing left behind, and how large they will be."""

import contextlib
import contextvars
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from tfhub_transfer.errors import InputError, one_line
from tfhub_transfer.private import keras_saving
from tfhub_transfer.storage import atomic, opening

_within: contextvars.ContextVar[Path | None] = contextvars.ContextVar("_within", default=None)
keras_saving.gather_assets_in(_within.get)

# How archives begin, and what Keras 2 wrote by default.
_MODELS = (b"PK\3\4", b"\x89HDF")


def check(path: Path, overwrite: bool) -> None:
    """Refuses a place for a model in which it would be lost, or something else would be.

    Args:
        path: The file.
        overwrite: Whether a model that is there may be replaced.

    Raises:
        InputError: If it isn't named `.keras`, is no plain file, or is there already.
    """
    if path.suffix != ".keras":  # Keras' other forms hold neither graph nor vocabulary
        raise InputError(f"a model's file must be named `.keras`. Received: {path}")
    opening.require_utf8(path)
    opening.require(path)
    if not path.exists():
        return
    if not overwrite:
        raise InputError(
            "the file is there already; name another one, or give `overwrite=True`. "
            f"Received: {path}"
        )
    begins = opening.read_bytes(path, 4)
    # An empty file holds nothing that could be lost.
    if begins and begins not in _MODELS:
        raise InputError(
            "the file is there already and isn't a model, so it isn't replaced; move it away, or "
            f"name another one. Received: {path}"
        )


def save(path: Path, write: Callable[[Path], None]) -> None:
    """Writes a `.keras` file; it appears whole, or what was there stays.

    Args:
        path: The file; its folder is made if need be.
        write: Keras' own way to write it, called with another path.

    Raises:
        InputError: If it can't be written.
    """
    try:
        with atomic.file(path) as scratch, _assets_beside(scratch):
            write(scratch)
    # h5py says `RuntimeError` of a disk that fills, TensorFlow has a word of its own.
    except (OSError, RuntimeError, tf.errors.OpError) as error:
        reason = one_line(str(error), 300)
        raise InputError(f"the model can't be saved ({reason}). Received: {path}") from error


@contextlib.contextmanager
def _assets_beside(path: Path) -> Iterator[None]:
    """Keras gathers assets beside the file, and not among the temporary folders.

    Those may be on a full disk too, and Keras leaves them there if it fails. Files that other
    threads save or load meanwhile go the usual way.
    """
    before = _within.set(path.parent)
    try:
        yield
    finally:
        _within.reset(before)


def sizes(weights: Iterable[keras.Variable], trained: Iterable[keras.Variable]) -> tuple[int, int]:
    """Bytes that the file of a trained model and its export will have at least.

    Args:
        weights: All weights of the model.
        trained: Those of which the optimizer keeps two moments.
    """
    # Of float32.
    whole, moments = (sum(4 * int(np.prod(w.shape)) for w in some) for some in (weights, trained))
    # The export has bfloat16, or more.
    return whole + 2 * moments, whole // 2
