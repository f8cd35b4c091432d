"""What the machine is asked: seeds, distribution strategy, XLA, versions."""

import contextlib
import contextvars
import platform
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import keras
import numpy as np
import tensorflow as tf

from tfhub_transfer.incoming import choices, ranges
from tfhub_transfer.runtime import cluster, tpus

STRATEGIES = ("auto", "none", "mirrored", "multiworker", "tpu")
Made = TypeVar("Made")
JIT = ("auto", "on", "off")
_compiling: contextvars.ContextVar[bool] = contextvars.ContextVar("compiling", default=False)


def seed_everything(seed: int) -> None:
    """Seeds Python, NumPy and TensorFlow: the same seed gives the same weights on one machine.

    Args:
        seed: A whole number from 0 to 2**32 - 1.

    Raises:
        InputError: If `seed` is outside that range.

    Example:

    >>> seed_everything(7)
    """
    seed = ranges.whole_number("seed", seed, *ranges.SEED)
    keras.utils.set_random_seed(seed)


def strategy(name: str = "auto") -> tf.distribute.Strategy:
    """The `tf.distribute` strategy of that name; build the model inside its `scope()`.

    Args:
        name: `"none"` for one device, `"mirrored"` for a copy on each local GPU (or on each
            logical CPU; one device alone trains as by `"none"`), `"multiworker"` for the processes
            that `TF_CONFIG` names, which has to be asked for before anything else of TensorFlow,
            `"tpu"` for the cores of a TPU, `"auto"` for processes where there are several, and for
            mirrored where there are several GPUs.

    Raises:
        InputError: If `name` isn't one of these, or processes can't meet, or no TPU
            answers.

    Example:

    >>> with strategy("none").scope():
    ...     model = build_model("auto", task)
    """
    choices.one_of("strategy", name, STRATEGIES)
    if name == "multiworker" or (name == "auto" and cluster.configured().count > 1):
        return cluster.strategy()
    if name == "tpu":
        return tpus.strategy()
    gpus = tf.config.list_logical_devices("GPU")
    if name == "none" or (name == "auto" and len(gpus) < 2):
        return tf.distribute.get_strategy()
    devices = gpus or tf.config.list_logical_devices("CPU")
    if len(devices) == 1:  # there is nothing to mirror
        return tf.distribute.get_strategy()
    return tf.distribute.MirroredStrategy([device.name for device in devices])


def to_meet(name: str) -> list[str]:
    """The addresses of the processes that have to be there before a strategy can be.

    Args:
        name: The strategy's.

    Raises:
        InputError: If what names the processes is unusable.
    """
    return cluster.to_meet() if name in ("auto", "multiworker") else []


def outside_of_replicas(function: Callable[[], Made]) -> Made:
    """What a function gives where there is no strategy around it, nor a replica's graph.

    A SavedModel can be called neither in the scope of a strategy nor traced within a replica.
    """
    if not tf.distribute.has_strategy():
        return function()
    # A thread of its own has none of these around it.
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(function).result()


def use_jit(name: str = "auto") -> bool:
    """Whether to compile training steps with XLA. `"auto"` is what a surrounding `Runtime` says.

    Without one it is off: XLA compiles a SavedModel as it comes anew for every shape of batch,
    which costs seconds a step, so it is never chosen without being asked for.

    Raises:
        InputError: If `name` isn't `"auto"`, `"on"` or `"off"`.

    Example:

    >>> use_jit("off")
    False
    """
    choices.one_of("jit", name, JIT)
    return name == "on" or (name == "auto" and _compiling.get())


@contextlib.contextmanager
def compiled_if(chosen: bool) -> Iterator[None]:
    """What `use_jit("auto")` says inside."""
    token = _compiling.set(chosen)
    try:
        yield
    finally:
        _compiling.reset(token)


def start(name: str = "none") -> None:
    """Makes TensorFlow look at its devices now, so that what it prints then comes at one time.

    Args:
        name: The strategy that is to be used; several processes have to meet before.

    Raises:
        InputError: As `strategy`.
    """
    strategy(name)
    tf.config.list_logical_devices()


def versions() -> dict[str, str]:
    """Versions of what results depend on, for records of a run.

    Example:

    >>> sorted(versions())
    ['keras', 'numpy', 'python', 'tensorflow']
    """
    return {
        "python": platform.python_version(),
        "tensorflow": tf.__version__,
        "keras": keras.__version__,
        "numpy": np.__version__,
    }
