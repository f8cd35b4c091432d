"""Memory that a step frees stays with the process, for the next step to take.

glibc learns which sizes a program frees and takes again, up to 32 MB, and keeps these. TensorFlow
ends that for the whole process: at the first Python generator that it reads it has all given back
that lies free behind the last 128 KB ("Memory patch applied", `generator_dataset_op.cc`), and from
then on the kernel maps, clears and takes back every tensor of every step, page by page. After a
training that costs a seventh more time for features (`benchmarks/README.md`).
"""

import ctypes
import functools
import os
from collections.abc import Iterator

import tensorflow as tf

from tfhub_transfer.private import tensorflow_cluster

# Of `mallopt`, https://man7.org/linux/man-pages/man3/mallopt.3.html.
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
# Tensors of a batch of 32 x 128 tokens of BERT base have 50 MB; glibc up to 2.34 takes 32 at most.
_LARGEST = (64 << 20, 32 << 20)
# Twice as much, as glibc does by itself.
_FREE = 128 << 20
# What whoever runs the process has decided stands.
_OWN = ("GLIBC_TUNABLES", "MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_", "MALLOC_TOP_PAD_")


def keep_freed() -> bool:
    """Has this process keep what it frees, from when TensorFlow has begun; where glibc allocates.

    Returns:
        Whether it does. Not on other systems, nor where the environment says how to allocate.
    """
    # What it hasn't begun yet may still be told of devices, threads and other processes.
    return tensorflow_cluster.has_begun() and _keep()


@functools.cache
def _keep() -> bool:
    libc = _glibc()
    if libc is None or any(name in os.environ for name in _OWN):
        return False
    _let_tensorflow_choose()
    large = any(libc.mallopt(_MMAP_THRESHOLD, size) for size in _LARGEST)
    return bool(libc.mallopt(_TRIM_THRESHOLD, _FREE)) and large


def _glibc() -> ctypes.CDLL | None:
    """The process' own functions, if they are glibc's."""
    try:
        libc = ctypes.CDLL(None)
    except (OSError, TypeError):  # Windows has none so
        return None
    return libc if hasattr(libc, "gnu_get_libc_version") else None


def _let_tensorflow_choose() -> None:
    """TensorFlow chooses once, and what is chosen after it holds."""

    def nothing() -> Iterator[int]:
        yield from ()

    with tf.init_scope():
        signature = tf.TensorSpec([], tf.int32)
        list(tf.data.Dataset.from_generator(nothing, output_signature=signature))
