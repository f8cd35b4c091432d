"""Names of what is kept: everything that it depends on, in one digest."""

import hashlib
from collections.abc import Sequence

import numpy as np
import tensorflow as tf
import tensorflow_text

# Raise it when what is computed from the same encoder, texts and settings changes.
COMPUTATION = 3


def key(*parts: str | bytes) -> str:
    """One name for everything that vectors depend on, in order.

    The versions of TensorFlow, of its texts and of this package's computation are always part of
    it.
    """
    digest = hashlib.sha256()
    always = (str(COMPUTATION), tf.__version__, tensorflow_text.__version__)
    for part in (*always, *parts):
        data = part.encode() if isinstance(part, str) else part
        # With its length, or "ab" and "c" would be called as "a" and "bc" are.
        digest.update(len(data).to_bytes(8, "little") + data)
    return digest.hexdigest()


def digests(columns: Sequence[Sequence[str]]) -> np.ndarray:
    """A name of 16 bytes for each row of texts `[n]`, or of pairs of texts."""
    names = np.empty(len(columns[0]), "S16")
    for row, texts in enumerate(zip(*columns)):
        digest = hashlib.blake2b(digest_size=16)
        for text in texts:
            data = text.encode("utf-8", "surrogatepass")
            digest.update(len(data).to_bytes(8, "little") + data)
        # NumPy cuts zero bytes off the end of a string of bytes.
        names[row] = digest.digest()[:15] + b"."
    return names
