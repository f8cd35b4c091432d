"""Memory that is freed stays with the process, whatever TensorFlow asked of glibc."""

import ctypes
import resource

import pytest
import tensorflow as tf

from tfhub_transfer import runtime
from tfhub_transfer.runtime import allocation

SIZE, TIMES = 20 << 20, 20
PAGES = SIZE // resource.getpagesize()


def pages_taken() -> int:
    """Pages that the kernel had to map while a block was taken, filled and freed many times."""
    libc = ctypes.CDLL(None)
    libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
    libc.free.argtypes = [ctypes.c_void_p]

    def once() -> None:
        block = libc.malloc(SIZE)
        ctypes.memset(block, 1, SIZE)
        libc.free(block)

    once()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(TIMES):
        once()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


def test_what_is_freed_is_taken_again() -> None:
    with runtime.precision("float32"):
        pass
    if not allocation.keep_freed():
        pytest.skip("something else than glibc allocates here, or the environment says how")
    list(tf.data.Dataset.from_generator(lambda: iter([1]), output_signature=tf.TensorSpec([])))
    assert pages_taken() < PAGES  # TensorFlow alone: each time all of them


def test_what_the_environment_says_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MALLOC_TRIM_THRESHOLD_", "131072")
    assert not allocation.keep_freed.__wrapped__()


def test_other_systems_allocate_as_they_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda name: object())
    assert not allocation.keep_freed.__wrapped__()
