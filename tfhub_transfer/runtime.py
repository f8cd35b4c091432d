"""How work is run: seeds, distribution strategy, XLA, precision."""

import contextlib
import pathlib
import platform
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfhub_transfer import ranges
from tfhub_transfer.errors import InputError

STRATEGIES = ("auto", "none", "mirrored")
PRECISIONS = ("auto", "float32", "bfloat16")
JIT = ("auto", "on", "off")
# What the `precision` blocks around us chose, the innermost last.
_surrounding: list[str] = []
_BFLOAT16 = "auto_mixed_precision_onednn_bfloat16"


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
            logical CPU, if there are several), `"auto"` for mirrored where there are several GPUs.

    Raises:
        InputError: If `name` isn't one of these.

    Example:

    >>> with strategy("none").scope():
    ...     model = build_model("auto", task)
    """
    _check("strategy", name, STRATEGIES)
    gpus = tf.config.list_logical_devices("GPU")
    if name == "none" or (name == "auto" and len(gpus) < 2):
        return tf.distribute.get_strategy()
    devices = gpus or tf.config.list_logical_devices("CPU")
    return tf.distribute.MirroredStrategy([device.name for device in devices])


@contextlib.contextmanager
def precision(name: str = "auto") -> Iterator[str]:
    """Runs what is traced inside at this precision; yields the one chosen, `float32` or `bfloat16`.

    bfloat16 is reached by a rewrite of the graph, so it works inside an opaque SavedModel: matrix
    products run in bfloat16, while weights, softmax and loss stay in float32. On a CPU without
    such units `"auto"` means float32.

    Args:
        name: `"float32"`, `"bfloat16"`, or `"auto"`: what a surrounding `precision` chose, or if
            there is none what this machine is fastest at.

    Raises:
        InputError: If `name` isn't one of these.

    Example:

    >>> with precision("bfloat16"):
    ...     history = model.fit(model.preprocess(train), epochs=3, verbose=0)
    """
    chosen = choose_precision(name)
    option = _BFLOAT16
    before = tf.config.optimizer.get_experimental_options().get(option, False)
    tf.config.optimizer.set_experimental_options({option: chosen == "bfloat16"})
    _surrounding.append(chosen)
    try:
        yield chosen
    finally:
        _surrounding.pop()
        tf.config.optimizer.set_experimental_options({option: before})


def choose_precision(name: str = "auto") -> str:
    """What `precision(name)` would choose here: `float32` or `bfloat16`.

    Raises:
        InputError: If `name` isn't `"auto"`, `"float32"` or `"bfloat16"`.
    """
    _check("precision", name, PRECISIONS)
    if name != "auto":
        return name
    if _surrounding:
        return _surrounding[-1]
    return "bfloat16" if has_bfloat16() else "float32"


def has_bfloat16() -> bool:
    """Whether this machine runs the rewritten graph on bfloat16 units (AVX-512 BF16 or AMX).

    On a GPU the answer is no: TensorFlow's rewrite there is to float16, which needs loss scaling,
    and float32 products already run as TensorFloat-32.
    """
    if tf.config.list_physical_devices("GPU"):
        return False
    flags = pathlib.Path("/proc/cpuinfo")
    text = flags.read_text(encoding="utf-8", errors="replace") if flags.exists() else ""
    return "avx512_bf16" in text or "amx_bf16" in text


def use_jit(name: str = "auto") -> bool:
    """Whether to compile training steps with XLA. `"auto"` is off.

    XLA compiles a SavedModel as it comes anew for every shape of batch, which costs seconds a
    step, so it is never chosen without being asked for.

    Raises:
        InputError: If `name` isn't `"auto"`, `"on"` or `"off"`.

    Example:

    >>> use_jit("off")
    False
    """
    _check("jit", name, JIT)
    return name == "on"


def start() -> None:
    """Makes TensorFlow look at its devices now, so that what it prints then comes at one time."""
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


def _check(argument: str, value: Any, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise InputError(f"`{argument}` must be one of {', '.join(choices)}. Received: {value!r}")


class Replicated(keras.Model):
    """A model that trains on replicas whose shares of a batch differ in size.

    Before its first step Keras builds what a loss or metric may hold, from the mean of the
    replicas' shares, which must be of one shape for that; here from the first replica's.
    """

    def _maybe_symbolic_build(self, iterator: Any = None, data_batch: Any = None) -> None:
        if self._distribute_strategy is None or iterator is None:
            super()._maybe_symbolic_build(iterator, data_batch)
            return
        strategy = self.distribute_strategy
        _, _, batches = next(iter(iterator))
        first = tf.nest.map_structure(
            lambda value: strategy.experimental_local_results(value)[0], next(batches)
        )
        with strategy.scope():
            self._symbolic_build(data_batch=first)
