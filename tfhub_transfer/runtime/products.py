"""Matrix products in bfloat16: whether they pay on this machine; graphs that run as they stand.

TensorFlow keeps what its optimizer does for the whole process, but the options that a call of a
graph takes along for each thread. Only the latter are touched here, so no thread changes what
another one computes, and nothing stays on.
"""

import contextlib
import functools
import math
import pathlib
import platform
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import tensorflow as tf
from tensorflow.core.protobuf import rewriter_config_pb2

from tfhub_transfer.private import tensorflow_options

PRECISIONS = ("float32", "bfloat16")
# Widths of encoders for which products are measured; others count as the next of these.
WIDTHS = (128, 256, 384, 512, 768, 1024)
_ROWS, _CALLS = 512, 6
_CPU_INFO = pathlib.Path("/proc/cpuinfo")


def as_traced() -> contextlib.AbstractContextManager[None]:
    """Graphs that this thread calls inside compute in the types that they were traced with.

    TensorFlow can rewrite all products of a process to bfloat16, if somebody wants that of it.
    """
    off = rewriter_config_pb2.RewriterConfig.OFF
    return tensorflow_options.optimized(auto_mixed_precision_onednn_bfloat16=off)


def unoptimized() -> contextlib.AbstractContextManager[None]:
    """Graphs that this thread calls inside run as they stand.

    Optimizing a graph takes longer than asking it once.
    """
    return tensorflow_options.optimized(disable_meta_optimizer=True)


def has_units() -> bool:
    """Whether this CPU has instructions for bfloat16 (AVX-512 BF16 or AMX), by its flags."""
    text = _cpu_info()
    return "avx512_bf16" in text or "amx_bf16" in text


def cpu_model() -> str:
    """What the CPU calls itself, with its instructions for bfloat16."""
    lines = dict(
        [part.strip() for part in line.split(":", 1)]
        for line in _cpu_info().splitlines()
        if ":" in line
    )
    # Clouds hide the model, which then is the same for machines with and without AMX.
    flags = [flag for flag in lines.get("flags", "").split() if flag.endswith("bf16")]
    return " ".join([lines.get("model name") or platform.machine(), *sorted(flags)])


def measured_width(width: int) -> int:
    """The width whose products are measured for an encoder: the nearest of `WIDTHS`, by ratio.

    Example:

    >>> measured_width(312), measured_width(8), measured_width(4096)
    (256, 128, 1024)
    """
    return min(WIDTHS, key=lambda known: abs(math.log(known / width)))


def measure(width: int) -> dict[str, float]:
    """Seconds of a dense layer with GELU, forward and backward, by precision: the best of some.

    Args:
        width: That of the layer's input, as of an encoder's tokens; its output is four times that.
    """
    # A thread of its own has no graph, tape or strategy around it.
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(_measure, width).result()


def _measure(width: int) -> dict[str, float]:
    given = [
        tf.random.stateless_normal(shape, [0, 7], stddev=0.05)
        for shape in ([_ROWS, width], [width, 4 * width], [4 * width])
    ]
    steps = {
        name: tf.function(functools.partial(_step, tf.as_dtype(name)), autograph=False)
        for name in PRECISIONS
    }
    best = dict.fromkeys(PRECISIONS, math.inf)
    # In turns, and the best of each: other work beside only ever makes a call slower.
    for call in range(_CALLS + 1):  # the first one optimizes the graph and doesn't count
        for name, step in steps.items():
            with as_traced():
                seconds = _seconds(step, given)
            best[name] = min(best[name], seconds if call else math.inf)
    return best


def _seconds(step: Callable[..., list[tf.Tensor]], given: list[tf.Tensor]) -> float:
    started = time.perf_counter()
    for tensor in step(*given):
        # Asked for, since a tensor may be there before its numbers are.
        tensor.numpy()
    return time.perf_counter() - started


def _step(dtype: tf.DType, x: tf.Tensor, kernel: tf.Tensor, bias: tf.Tensor) -> list[tf.Tensor]:
    with tf.GradientTape() as tape:
        tape.watch([x, kernel, bias])
        # As flat graphs have it in training: what is rounded is the product alone.
        product = tf.matmul(tf.cast(x, dtype), tf.cast(kernel, dtype))
        y = tf.nn.bias_add(tf.cast(product, tf.float32), bias)
        # GELU in the form that TensorFlow fuses with the product, as encoders' flat graphs have it.
        y = (0.5 * (1.0 + tf.math.erf(y * math.sqrt(0.5)))) * y
        loss = tf.reduce_sum(y * y)
    return tape.gradient(loss, [x, kernel, bias])


def _cpu_info() -> str:
    return _CPU_INFO.read_text(encoding="utf-8", errors="replace") if _CPU_INFO.exists() else ""
