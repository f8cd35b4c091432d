"""Precision: when products of matrices are in bfloat16, and whether that pays here."""

import contextlib
import contextvars
import functools
import json
from collections.abc import Iterator
from pathlib import Path

import tensorflow as tf

from tfhub_transfer.errors import InputError
from tfhub_transfer.incoming import choices
from tfhub_transfer.runtime import allocation, cluster, products
from tfhub_transfer.storage import atomic, budget, names

PRECISIONS = ("auto", "float32", "bfloat16")


# What the `precision` block around us chose, if there is one.
_surrounding: contextvars.ContextVar[str | None] = contextvars.ContextVar("precision", default=None)
# Whether nobody wants gradients of what is traced here.
_answering: contextvars.ContextVar[bool] = contextvars.ContextVar("answering", default=False)
# How many times as fast bfloat16 must be for its 8 bits to be worth it.
_LEAST_GAIN = 1.1
_MEASURED_FILE = "precision.json"
# That of the packaged encoder.
_USUAL_WIDTH = 384


@contextlib.contextmanager
def precision(name: str = "auto", width: int = _USUAL_WIDTH) -> Iterator[str]:
    """Runs what is traced inside at this precision; yields the one chosen, `float32` or `bfloat16`.

    At bfloat16 the matrix products of the encoder's graph run so, on any device, with and without
    XLA; weights, sums, norms, softmax, and everything from the encoder's vectors on are float32. So
    is an encoder that has no `flat_graph`. Where there is no block, `"auto"` is what this kind of
    CPU was faster at when that was measured, once for encoders of about this width. A block holds
    for its own thread: one that is started inside opens its own.

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
    allocation.keep_freed()  # whatever computes comes this way
    outside = _surrounding.get()
    with products.as_traced():
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


def precision_of_all(
    of: tf.distribute.Strategy, name: str = "auto", width: int = _USUAL_WIDTH
) -> contextlib.AbstractContextManager[str]:
    """Runs the body at a precision; which one `"auto"` is, the chief of several processes decides.

    Args:
        of: The strategy, whose processes all call this.
        name: As for `precision`.
        width: As for `precision`.

    Raises:
        InputError: If `name` is none.
    """
    check_precision(name)

    def chosen() -> float:
        return PRECISIONS.index(choose_precision(name, width))

    return precision(PRECISIONS[int(cluster.decided(of, chosen))], width)


def check_precision(name: str) -> None:
    """Raises `InputError` unless this is a name of a precision; measures nothing."""
    choices.one_of("precision", name, PRECISIONS)


def surrounding() -> str | None:
    """What the block around chose, `float32` or `bfloat16`; `None` where there is none."""
    return _surrounding.get()


def rounds_products() -> bool:
    """Whether the products of encoders are in bfloat16 where they are traced here."""
    return _surrounding.get() == "bfloat16"


@contextlib.contextmanager
def without_gradients(answering: bool = True) -> Iterator[None]:
    """Says of what is traced inside that nobody ever wants its gradients.

    Only there biases are rounded with their products, which is faster, and whose gradients would be
    sums of bfloat16. A tape needn't be open yet where a function is traced, so who answers says so.

    Args:
        answering: `False` takes it back inside of such a block.
    """
    outside = _answering.get()
    _answering.set(answering)
    try:
        yield
    finally:
        _answering.set(outside)


def is_without_gradients() -> bool:
    """Whether a `without_gradients` is around this."""
    return _answering.get()


def has_bfloat16() -> bool:
    """Whether this machine's CPU has bfloat16 units (AVX-512 BF16 or AMX), and does the work.

    On a GPU the answer is no: float32 products already run as TensorFloat-32 there.
    """
    return products.has_units() and not tf.config.list_physical_devices("GPU")


@functools.cache
def measured_products(width: int) -> dict[str, float]:
    """Seconds of a layer's product on this kind of CPU at `float32` and `bfloat16`.

    Measured when first asked for and kept beside the stores (see `storage.budget`), by the CPU's
    model, TensorFlow's version, what is computed and the width; where nothing can be kept, measured
    in each process.

    Args:
        width: One of `products.WIDTHS`.
    """
    stores = budget.folder()
    # What was measured of another way to compute decides nothing of this one.
    way = f"TensorFlow {tf.__version__}, computation {names.COMPUTATION}"
    name = f"{products.cpu_model()}, {way}, width {width}"
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
        # JSON that is nested too deep is a `RecursionError`.
        return {}
    wanted = products.PRECISIONS
    return {
        name: {precision: float(seconds[precision]) for precision in wanted}
        for name, seconds in (kept.items() if isinstance(kept, dict) else ())
        if isinstance(seconds, dict) and all(_is_time(seconds.get(each)) for each in wanted)
    }


def _is_time(value: object) -> bool:
    # `json` reads NaN and Infinity as numbers, too.
    return isinstance(value, float) and 0 < value < float("inf")
