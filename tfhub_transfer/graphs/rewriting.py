"""Slow patterns of TF Hub's graphs in forms that TensorFlow's back ends fuse.

Dense layers by `Einsum`, or as products of batches, become `MatMul` + `BiasAdd`, and GELU by `Pow`,
`Erfc` or division becomes the form of which oneDNN makes one kernel with the dense layer before it
(https://github.com/tensorflow/tensorflow, core/grappler/optimizers/remapper.cc). Layer norm is
spelt so that oneDNN's own rewrite doesn't match it: that one, in TensorFlow 2.21, drops the epsilon
and computes with 0.001. Roots and shares don't depend on what stands beside them.

Every rule looks at operations and constants only, never at names.
"""

import math
from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import numpy as np
import tensorflow as tf

from tfhub_transfer.graphs.surgery import FlatGraph, Ref, Rewrite, constant
from tfhub_transfer.runtime import precision_choice

_SQRT_HALF, _SQRT_TWO = math.sqrt(0.5), math.sqrt(2.0)
# GELU by tanh, as Hendrycks and Gimpel 2016 have it.
_TANH_SCALE, _CUBIC = math.sqrt(2.0 / math.pi), 0.044715
_AXES = "abcdefgh"


class X(NamedTuple):
    """In a pattern: any tensor, the same wherever the name is the same."""

    name: str


# `X`, a number, or `(operation, *inputs)`.
Pattern: TypeAlias = "X | float | str | tuple[Pattern, ...]"


class _Dense(NamedTuple):
    """A product with a matrix: `[..., inputs]` by a kernel that reshapes to `[inputs, units]`."""

    x: Ref
    kernel: Ref
    contracted: int
    bias: Ref | None = None


def find(flat: FlatGraph) -> dict[str, Rewrite]:
    """Every node of the graph that has a cheaper form.

    Args:
        flat: The graph; it is not changed.
    """
    readers = flat.consumers()
    # Products first: a bias is known by the product that it is added to.
    products = {name: _einsum_dense(flat, name) or _matmul_dense(flat, name) for name in flat.nodes}
    dense = {name: d for name, d in products.items() if d}
    for name in list(flat.nodes):
        added = _with_bias(flat, name, dense, readers)
        if added:
            dense[name] = added
    found = {name: _dense_rewrite(d, None) for name, d in dense.items()}
    for name in flat.nodes:
        for rule in (_gelu, _root, _softmax, _layer_norm, _transpose, _new_axes):
            rewrite = rule(flat, name, dense)
            if rewrite is not None:
                found[name] = rewrite
    return found


# Dense layers -------------------------------------------------------------------------------


def _einsum_dense(flat: FlatGraph, name: str) -> _Dense | None:
    """`Einsum` that contracts the last axes of one tensor with the first of a variable."""
    node = flat.nodes[name]
    if node.op != "Einsum" or len(flat.node_inputs(name)) != 2:
        return None
    left, _, result = node.attr["equation"].s.decode().partition("->")
    x, kernel = left.split(",")
    contracted = [c for c in kernel if c in x]
    count = len(contracted)
    fits = count and kernel.startswith(x[-count:]) and result == x[:-count] + kernel[count:]
    given, weights = (flat.resolve(ref) for ref in flat.node_inputs(name))
    # Attention multiplies activations by `Einsum`, too, which are no dense layers.
    if not fits or weights.node not in flat.variables:
        return None
    return _Dense(given, weights, count)


def _matmul_dense(flat: FlatGraph, name: str) -> _Dense | None:
    """`tf.matmul` of `[batch, length, inputs]` by a variable, whose gradient would add up rows."""
    node = flat.nodes[name]
    if node.op != "BatchMatMulV2" or node.attr["adj_x"].b or node.attr["adj_y"].b:
        return None
    given, weights = (flat.resolve(ref) for ref in flat.node_inputs(name))
    if weights.node not in flat.variables or flat.variables[weights.node].shape.rank != 2:
        return None
    return _Dense(given, weights, 1)


def _with_bias(
    flat: FlatGraph, name: str, dense: dict[str, _Dense], readers: dict[str, list[str]]
) -> _Dense | None:
    if flat.nodes[name].op not in ("AddV2", "BiasAdd"):
        return None
    product, bias = (flat.resolve(ref) for ref in flat.node_inputs(name))
    if product.node not in dense or bias.node not in flat.variables:
        return None
    made = dense[product.node]
    units = flat.variables[made.kernel.node].shape[made.contracted :]
    # A product that something else reads has to stay as it is.
    if made.bias or len(readers[product.node]) > 1 or flat.variables[bias.node].shape != units:
        return None
    return made._replace(bias=bias)


def _dense_rewrite(dense: _Dense, activation: Callable[[tf.Tensor], tf.Tensor] | None) -> Rewrite:
    """Two-dimensional inside, because only such a product fuses with what follows it."""

    def emit(x: tf.Tensor, kernel: tf.Tensor, *bias: tf.Tensor) -> tf.Tensor:
        units = kernel.shape[dense.contracted :]
        matrix = tf.reshape(kernel, [-1, units.num_elements()])
        y = tf.matmul(tf.reshape(x, [-1, matrix.shape[0]]), matrix)
        for each in bias:
            # A rounded product may have a bias that isn't.
            y = tf.nn.bias_add(tf.cast(y, each.dtype), tf.reshape(each, [-1]))
        y = y if activation is None else activation(y)
        shape = tf.concat([tf.shape(x)[: -dense.contracted], units], axis=0)
        # A reshape to a computed shape forgets the sizes that are known.
        known = x.shape[: -dense.contracted].concatenate(units)
        y = tf.reshape(y, shape)
        y.set_shape(known)  # without an operation, which LiteRT wouldn't have
        return y

    inputs = (dense.x, dense.kernel, dense.bias)
    return Rewrite(tuple(ref for ref in inputs if ref is not None), emit, "MatMul")


# Activations ----------------------------------------------------------------------------------


def _gelu(flat: FlatGraph, name: str, dense: dict[str, _Dense]) -> Rewrite | None:
    if flat.nodes[name].op != "Mul":
        return None
    half = ("Mul", X("x"), 0.5)
    # `tf.nn.gelu` says `Erfc`, TF Hub's BERTs say `Pow` and `Tanh`: neither is fused as it stands.
    shapes: list[tuple[Pattern, Callable[[tf.Tensor], tf.Tensor]]] = [
        (("Mul", half, ("Erfc", ("Mul", ("Neg", X("x")), _SQRT_HALF))), _gelu_by_erf),
        (("Mul", half, ("Erfc", ("Mul", X("x"), -_SQRT_HALF))), _gelu_by_erf),
        (("Mul", half, ("AddV2", ("Erf", ("RealDiv", X("x"), _SQRT_TWO)), 1.0)), _gelu_by_erf),
        (("Mul", half, ("AddV2", ("Erf", ("Mul", X("x"), _SQRT_HALF)), 1.0)), _gelu_by_erf),
        (("Mul", X("x"), ("Mul", ("AddV2", _tanh_part(), 1.0), 0.5)), _gelu_by_tanh),
        (("Mul", half, ("AddV2", _tanh_part(), 1.0)), _gelu_by_tanh),
    ]
    for pattern, emit in shapes:
        bound = match(flat, Ref(name), pattern)
        if bound is not None:
            x = bound["x"]
            # Without a bias nothing is fused, and a rounded product would round what follows.
            if x.node in dense and dense[x.node].bias:
                return _dense_rewrite(dense[x.node], emit)
            return Rewrite((x,), emit, "Erf")
    return None


def _tanh_part() -> Pattern:
    cube = ("Mul", ("Pow", X("x"), 3.0), _CUBIC)
    return ("Tanh", ("Mul", ("AddV2", X("x"), cube), _TANH_SCALE))


def _gelu_by_erf(x: tf.Tensor) -> tf.Tensor:
    return (0.5 * (1.0 + tf.math.erf(x * _SQRT_HALF))) * x


def _gelu_by_tanh(x: tf.Tensor) -> tf.Tensor:
    # In another order of these factors nothing fuses, and exports, whose constants TensorFlow moves
    # elsewhere, round otherwise than the model that they are of.
    inner = _TANH_SCALE * (x + _CUBIC * (x * tf.square(x)))
    return (0.5 * x) * (1.0 + tf.tanh(inner))


# Layer norm -----------------------------------------------------------------------------------


def _layer_norm(flat: FlatGraph, name: str, dense: dict[str, _Dense]) -> Rewrite | None:
    """`tf.nn.moments` and `tf.nn.batch_normalization`, as the Model Garden's encoders have it."""
    del dense
    if flat.nodes[name].op != "AddV2":
        return None
    mean = ("Mean", X("x"), X("axis"))
    spread = ("SquaredDifference", X("x"), ("StopGradient", mean))
    variance = ("Mean", spread, X("axis_2"))
    scale = ("Mul", ("Rsqrt", ("AddV2", variance, X("epsilon"))), X("gamma"))
    pattern = ("AddV2", ("Mul", X("x"), scale), ("Sub", X("beta"), ("Mul", mean, scale)))
    bound = match(flat, Ref(name), pattern)
    if bound is None:
        return None
    one, other, epsilon = (constant(flat, bound[key]) for key in ("axis", "axis_2", "epsilon"))
    if one is None or other is None or epsilon is None or not one.size == other.size == 1:
        return None
    axis, value = int(one.reshape(-1)[0]), float(epsilon)
    if int(other.reshape(-1)[0]) != axis:
        return None

    def emit(x: tf.Tensor, gamma: tf.Tensor, beta: tf.Tensor) -> tf.Tensor:
        centre = tf.reduce_mean(x, axis, keepdims=True)
        spread = tf.reduce_mean(tf.math.squared_difference(x, centre), axis, keepdims=True)
        return (x - centre) * _reciprocal_root(spread + value) * gamma + beta

    return Rewrite((bound["x"], bound["gamma"], bound["beta"]), emit, "Mean")


def _root(flat: FlatGraph, name: str, dense: dict[str, _Dense]) -> Rewrite | None:
    del dense
    if flat.nodes[name].op != "Rsqrt":
        return None
    (given,) = flat.node_inputs(name)
    return Rewrite((given,), _reciprocal_root)


def _softmax(flat: FlatGraph, name: str, dense: dict[str, _Dense]) -> Rewrite | None:
    del dense
    if flat.nodes[name].op != "Softmax":
        return None
    (given,) = flat.node_inputs(name)
    return Rewrite((given,), _shares, "Softmax")


def _shares(x: tf.Tensor) -> tf.Tensor:
    """`tf.nn.softmax`; of answers whose products are rounded, the same whatever is masked beside.

    The order in which float32 numbers are added up depends on how many there are, and with it the
    last bit of all shares. Powers of 8 bits add up exactly, but for what is smaller than 2**-16 of
    the largest.
    """
    if not (precision_choice.rounds_products() and precision_choice.is_without_gradients()):
        return tf.nn.softmax(x)
    powers = tf.exp(x - tf.reduce_max(x, -1, keepdims=True))
    powers = tf.cast(tf.cast(powers, tf.bfloat16), tf.float32)
    return powers / tf.reduce_sum(powers, -1, keepdims=True)


def _reciprocal_root(x: tf.Tensor) -> tf.Tensor:
    """`tf.math.rsqrt`, the same for a number wherever it stands, where products are rounded.

    TensorFlow's own takes most numbers by the vector and those left over one by one, which differ
    in the last bit. Rounded to bfloat16 that is one of eight: a text's answer would depend on how
    many tokens there are beside it. Roots and quotients are exact either way, but of 1: TensorFlow
    makes a reciprocal of that, which is another vector's.
    """
    return tf.math.sqrt(x) / x if precision_choice.rounds_products() else tf.math.rsqrt(x)


# Transposition ---------------------------------------------------------------------------------


def _transpose(flat: FlatGraph, name: str, dense: dict[str, _Dense]) -> Rewrite | None:
    """`Transpose` as `Einsum`: oneDNN's own takes 80 microseconds before it moves anything."""
    del dense
    if flat.nodes[name].op != "Transpose":
        return None
    given, permutation = flat.node_inputs(name)
    axes = constant(flat, permutation)
    if axes is None or axes.size > len(_AXES):
        return None
    letters = _AXES[: axes.size]
    equation = f"{letters}->{''.join(letters[axis] for axis in axes)}"
    return Rewrite((given,), lambda x: tf.einsum(equation, x))


# New axes ---------------------------------------------------------------------------------------


def _new_axes(flat: FlatGraph, name: str, dense: dict[str, _Dense]) -> Rewrite | None:
    """`x[:, tf.newaxis, tf.newaxis, :]` as `ExpandDims`: LiteRT can't of tensors of any size."""
    del dense
    node = flat.nodes[name]
    if node.op != "StridedSlice" or not node.attr["new_axis_mask"].i:
        return None
    given, *_, strides = flat.node_inputs(name)
    steps = constant(flat, strides)
    new, *whole = (node.attr[f"{each}_mask"].i for each in ("new_axis", "begin", "end"))
    if steps is None or node.attr["shrink_axis_mask"].i or node.attr["ellipsis_mask"].i:
        return None
    axes = [axis for axis in range(steps.size) if new >> axis & 1]
    kept = [axis for axis in range(steps.size) if axis not in axes]
    if not all(steps[axis] == 1 and all(mask >> axis & 1 for mask in whole) for axis in kept):
        return None

    def emit(x: tf.Tensor) -> tf.Tensor:
        for axis in axes:
            x = tf.expand_dims(x, axis)
        return x

    return Rewrite((given,), emit, "ExpandDims")


# Matching -------------------------------------------------------------------------------------


def match(flat: FlatGraph, ref: Ref, pattern: Pattern) -> dict[str, Ref] | None:
    """What the names of a pattern stand for, if the graph above `ref` has its shape.

    Args:
        flat: The graph.
        ref: The tensor at the root.
        pattern: An `X`, a number (a constant of that value), or `(operation, *inputs)`. The inputs
            of `Mul` and `AddV2` match in either order; `StopGradient` needn't be there.
    """
    bound: dict[str, Ref] = {}
    return bound if _match(flat, flat.resolve(ref), pattern, bound) else None


def _match(flat: FlatGraph, ref: Ref, pattern: Pattern, bound: dict[str, Ref]) -> bool:
    if isinstance(pattern, X):
        return bound.setdefault(pattern.name, ref) == ref
    if isinstance(pattern, float):
        # Close, because graphs hold their constants in float32.
        value = constant(flat, ref)
        return value is not None and value.size == 1 and bool(np.isclose(float(value), pattern))
    op, wanted = pattern[0], pattern[1:]
    if op == "StopGradient" and flat.nodes[ref.node].op != op:
        return _match(flat, ref, wanted[0], bound)
    inputs = [flat.resolve(r) for r in flat.node_inputs(ref.node)]
    if flat.nodes[ref.node].op != op or len(inputs) != len(wanted):
        return False
    orders = [wanted, wanted[::-1]] if op in ("Mul", "AddV2") else [wanted]
    for order in orders:
        # What half a match has bound must not stand in the way of the other order.
        trial = dict(bound)
        if all(_match(flat, r, p, trial) for r, p in zip(inputs, order)):
            bound.update(trial)
            return True
    return False
