"""A call in operations that runtimes beside TensorFlow have too."""

from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

import tensorflow as tf

from tfhub_transfer.graphs import surgery
from tfhub_transfer.graphs.surgery import FlatGraph, Rewrite
from tfhub_transfer.shapes import Features

# What stands for an operation, by the operation's name: takes its inputs.
Forms: TypeAlias = Mapping[str, Callable[..., tf.Tensor]]
# Abramowitz and Stegun 1964, 7.1.26: 1.5e-7 from the true one, which float32 can hardly tell.
_ERF_SCALE = 0.3275911
_ERF = (1.061405429, -1.453152027, 1.421413741, -0.284496736, 0.254829592)
# From here on it is 1 to the last bit of float32.
_ERF_END = 4.0


def erf(x: tf.Tensor) -> tf.Tensor:
    """`tf.math.erf` of operations that every runtime has.

    Args:
        x: Float32, of any shape.

    Example:

    >>> abs(float(erf(tf.constant(0.5))) - 0.5204999) < 1e-6
    True
    """
    return _erf(x, lambda y: 1.0 / y)


def erf_without_division(x: tf.Tensor) -> tf.Tensor:
    """As `erf`, of no quotient."""
    return _erf(x, _reciprocal)


def quotient_without_division(x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
    """`x / y` of numbers `y` above zero, of no quotient; of others it is no number.

    LiteRT's quotient of whole numbers refuses some that aren't zero
    (tensorflow/lite/kernels/div.cc compares what stands for them).
    """
    return x * _reciprocal(y)


def _reciprocal(y: tf.Tensor) -> tf.Tensor:
    root = tf.math.rsqrt(y)
    return root * root


def _erf(x: tf.Tensor, reciprocal: Callable[[tf.Tensor], tf.Tensor]) -> tf.Tensor:
    size = tf.minimum(tf.abs(x), _ERF_END)
    t = reciprocal(1.0 + _ERF_SCALE * size)
    total = tf.zeros_like(t)
    for factor in _ERF:
        total = (total + factor) * t
    return tf.sign(x) * (1.0 - total * tf.exp(-size * size))


def rewritten(
    call: Callable[[Features], Mapping[str, tf.Tensor]],
    inputs: Mapping[str, tf.TensorSpec],
    variables: Sequence[tf.Variable],
    forms: Forms,
) -> Callable[..., dict[str, tf.Tensor]]:
    """The call with other operations in the place of some.

    Args:
        call: Takes a dictionary of tensors and gives one of tensors.
        inputs: Shape and type of each input.
        variables: Those that the call may read.
        forms: What stands for an operation, by its name.

    Returns:
        A function of the inputs, in the order of their sorted names, to a dictionary as `call`
        gives, to be traced.

    Raises:
        NotFlat: If the call does more than compute.
    """
    flat = surgery.flatten(call, inputs, variables)
    for name, node in flat.nodes.items():
        if node.op in forms:
            flat.rewrites[name] = Rewrite(tuple(flat.node_inputs(name)), forms[node.op])
    return _replayed(flat)


def _replayed(flat: FlatGraph) -> Callable[..., dict[str, tf.Tensor]]:
    wanted = tf.nest.flatten(flat.outputs)

    def run(*given: tf.Tensor) -> dict[str, tf.Tensor]:
        made = flat.replay(wanted, dict(zip(flat.inputs.values(), given)), _read)
        packed: dict[str, tf.Tensor] = tf.nest.pack_sequence_as(flat.outputs, made)
        return packed

    return run


def _read(variable: tf.Variable, rows: tf.Tensor | None) -> tf.Tensor:
    return tf.convert_to_tensor(variable if rows is None else tf.gather(variable, rows))
