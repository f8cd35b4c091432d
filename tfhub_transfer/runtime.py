"""How work is run: seeds, distribution strategy, XLA, precision."""

import contextlib
import contextvars
import functools
import inspect
import json
import platform
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfhub_transfer import products
from tfhub_transfer.errors import InputError
from tfhub_transfer.incoming import ranges
from tfhub_transfer.storage import atomic, budget

STRATEGIES = ("auto", "none", "mirrored")
PRECISIONS = ("auto", "float32", "bfloat16")
JIT = ("auto", "on", "off")
# What the `precision` block around us chose, if there is one.
_surrounding: contextvars.ContextVar[str | None] = contextvars.ContextVar("precision", default=None)
# How many times as fast bfloat16 must be for its 8 bits to be worth it.
_LEAST_GAIN = 1.1
_MEASURED_FILE = "precision.json"
_USUAL_WIDTH = 384


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
def precision(name: str = "auto", width: int = _USUAL_WIDTH) -> Iterator[str]:
    """Runs what is traced inside at this precision; yields the one chosen, `float32` or `bfloat16`.

    bfloat16 is reached by a rewrite of the graph, so it works inside an opaque SavedModel: the
    encoder's matrix products run in bfloat16, while weights, and everything from the encoder's
    vectors on, stay in float32. Where there is no block, `"auto"` is what this kind of CPU was
    faster at when that was measured, once for encoders of about this width. A block holds for its
    own thread: one that is started inside opens its own.

    Args:
        name: `"float32"`, `"bfloat16"`, or `"auto"`: what a surrounding `precision` chose, or if
            there is none what this machine is fastest at.
        width: The encoder's `dimension`, on which it depends.

    Raises:
        InputError: If `name` isn't one of these.

    Example:

    >>> with precision("bfloat16"):
    ...     history = model.fit(model.preprocess(train), epochs=3, verbose=0)
    """
    chosen = choose_precision(name, width)
    outside = _surrounding.get()
    with products.rewritten(chosen == "bfloat16"):
        _surrounding.set(chosen)
        try:
            yield chosen
        finally:
            _surrounding.set(outside)


def choose_precision(name: str = "auto", width: int = _USUAL_WIDTH) -> str:
    """What `precision(name, width)` would choose here: `float32` or `bfloat16`.

    Raises:
        InputError: If `name` isn't `"auto"`, `"float32"` or `"bfloat16"`.
    """
    check_precision(name)
    if name != "auto":
        return name
    surrounding = _surrounding.get()
    if surrounding is not None:
        return surrounding
    if not has_bfloat16():
        return "float32"
    seconds = measured_products(products.measured_width(width))
    return "bfloat16" if seconds["float32"] > _LEAST_GAIN * seconds["bfloat16"] else "float32"


def check_precision(name: str) -> None:
    """Raises `InputError` unless this is a name of a precision; measures nothing."""
    _check("precision", name, PRECISIONS)


def rounds_products() -> bool:
    """Whether products of what is traced here become bfloat16, unless they are kept from it."""
    return _surrounding.get() == "bfloat16" and not tf.config.list_physical_devices("GPU")


def has_bfloat16() -> bool:
    """Whether this machine runs the rewritten graph on bfloat16 units (AVX-512 BF16 or AMX).

    On a GPU the answer is no: TensorFlow's rewrite there is to float16, which needs loss scaling,
    and float32 products already run as TensorFloat-32.
    """
    return products.has_units() and not tf.config.list_physical_devices("GPU")


@functools.cache
def measured_products(width: int) -> dict[str, float]:
    """Seconds of a layer's product on this kind of CPU at `float32` and `bfloat16`.

    Measured when first asked for and kept beside the stores (see `storage.budget`), by the CPU's
    model, TensorFlow's version and the width; where nothing can be kept, measured in each process.

    Args:
        width: One of `products.WIDTHS`.
    """
    stores = budget.folder()
    name = f"{products.cpu_model()}, TensorFlow {tf.__version__}, width {width}"
    known = {} if stores is None else _read_measured(stores.parent / _MEASURED_FILE)
    if name not in known:
        known[name] = products.measure(width)
        if stores is not None:
            with contextlib.suppress(OSError, InputError):
                stores.parent.mkdir(parents=True, exist_ok=True)
                text = json.dumps(known, indent=1) + "\n"
                atomic.write_text(stores.parent / _MEASURED_FILE, text)
    return known[name]


def was_measured() -> bool:
    """Whether `measured_products` has decided something in this process."""
    return measured_products.cache_info().currsize > 0


def _read_measured(path: Path) -> dict[str, dict[str, float]]:
    """What was kept, without what is no measurement."""
    try:
        kept = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    wanted = products.PRECISIONS
    return {
        name: {precision: float(seconds[precision]) for precision in wanted}
        for name, seconds in (kept.items() if isinstance(kept, dict) else ())
        if isinstance(seconds, dict) and all(_is_time(seconds.get(each)) for each in wanted)
    }


def _is_time(value: Any) -> bool:
    return isinstance(value, float) and 0 < value < float("inf")


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

    Its functions are its own also where TensorFlow counts how often one is traced.
    """

    def make_train_function(self, force: bool = False) -> Any:
        """As Keras does."""
        made = super().make_train_function(force)
        counted_alone(self.train_function)
        return made

    def make_test_function(self, force: bool = False) -> Any:
        """As Keras does."""
        made = super().make_test_function(force)
        counted_alone(self.test_function)
        return made

    def make_predict_function(self, force: bool = False) -> Any:
        """As Keras does."""
        made = super().make_predict_function(force)
        counted_alone(self.predict_function)
        return made

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


def counted_alone(function: Any) -> None:
    """Lets TensorFlow count the tracings of graphs that a function calls each by itself.

    It counts by lines of code, to warn of a function that is traced again and again. Keras makes
    the functions of all models in the same lines, so that five short trainings, as in a search or
    a cross-validation, look like one function traced five times (tensorflow/tensorflow#42441).
    Counted by itself, one that really is still warns.

    Args:
        function: What Keras calls for each step, or a `tf.function`.
    """
    waiting, seen = [function], set()
    while waiting:
        found = waiting.pop()
        if id(found) in seen:
            continue
        seen.add(id(found))
        if isinstance(found, tf.types.experimental.PolymorphicFunction):
            found._key_for_call_stats = found  # without this part of TensorFlow it has no effect
            found = found.python_function
        if inspect.isfunction(found):
            waiting += [cell.cell_contents for cell in found.__closure__ or ()]
