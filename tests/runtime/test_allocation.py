"""Memory that is freed stays with the process, whatever TensorFlow asked of glibc."""

import ctypes
import resource
import subprocess
import sys

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
    tf.constant(0)  # before TensorFlow has begun nothing is done
    with runtime.precision("float32"):
        pass
    if not allocation.keep_freed():
        pytest.skip("something else than glibc allocates here, or the environment says how")
    list(tf.data.Dataset.from_generator(lambda: iter([1]), output_signature=tf.TensorSpec([])))
    assert pages_taken() < PAGES  # TensorFlow alone: each time all of them


def test_what_the_environment_says_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MALLOC_TRIM_THRESHOLD_", "131072")
    assert not allocation._keep.__wrapped__()


def test_other_systems_allocate_as_they_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda name: object())
    assert not allocation._keep.__wrapped__()


def test_earlier_versions_take_less(monkeypatch: pytest.MonkeyPatch) -> None:
    set_to: dict[int, int] = {}

    class Earlier:
        gnu_get_libc_version = None

        def mallopt(self, what: int, value: int) -> int:
            if what == allocation._MMAP_THRESHOLD and value > 32 << 20:
                return 0
            set_to[what] = value
            return 1

    monkeypatch.setattr(ctypes, "CDLL", lambda name: Earlier())
    assert allocation._keep.__wrapped__()
    assert set_to == {-3: 32 << 20, -1: 128 << 20}


def test_a_block_of_precision_starts_nothing() -> None:
    script = """
import tensorflow as tf
from tfhub_transfer import runtime
with runtime.precision("float32"):
    pass
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
print(len(tf.config.list_logical_devices("CPU")))
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert done.stdout.split() == ["2"], done.stderr
