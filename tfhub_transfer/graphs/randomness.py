"""Random operations of flat graphs as functions of a state that is given (`runtime.dropout`).

As they stand, their place in a stream lives in TensorFlow's kernels: it can't be saved, begins anew
with each trace, and XLA ignores their seeds.
"""

from collections.abc import Callable
from typing import TypeAlias

import tensorflow as tf

from tfhub_transfer.graphs.surgery import RANDOM_STATE, FlatGraph, Ref, Rewrite, constant
from tfhub_transfer.runtime import dropout

Emit: TypeAlias = Callable[..., tf.Tensor]
# With what each of them takes after the shape.
_STATELESS: dict[str, tuple[str, ...]] = {
    "RandomUniform": (),
    "RandomStandardNormal": (),
    "TruncatedNormal": (),
    "RandomUniformInt": ("minval", "maxval"),
}
_NAMES = {
    "RandomUniform": "StatelessRandomUniformV2",
    "RandomStandardNormal": "StatelessRandomNormalV2",
    "TruncatedNormal": "StatelessTruncatedNormalV2",
    "RandomUniformInt": "StatelessRandomUniformIntV2",
}
# Blocks between replicas, where a number takes as many as it happens to.
_APART = 2**40


def find(flat: FlatGraph) -> dict[str, Rewrite]:
    """Every random operation, and every mask of dropout, of `RANDOM_STATE`.

    Their streams are numbered as the graph's outputs need them, which is the same wherever the
    SavedModel lies and however it was loaded; names of operations aren't.

    Args:
        flat: The graph; it is not changed.
    """
    outputs = [flat.resolve(ref) for ref in tf.nest.flatten(flat.outputs)]
    drawing = [name for name in flat.order(outputs, set()) if flat.nodes[name].op in _STATELESS]
    streams = {name: number for number, name in enumerate(drawing, start=1)}
    found = {name: _drawn(flat, name, stream) for name, stream in streams.items()}
    readers = flat.consumers()
    for name, stream in streams.items():
        # Numbers that something else reads too have to be the same for both.
        if len(readers.get(name, ())) == 1 and Ref(name) not in outputs:
            [reader] = readers[name]
            mask = _mask(flat, reader, name, stream)
            found.update({} if mask is None else {reader: mask})
    return found


def _mask(flat: FlatGraph, name: str, drawn: str, stream: int) -> Rewrite | None:
    """`RandomUniform >= rate`, as `tf.nn.dropout` has it."""
    if flat.nodes[name].op != "GreaterEqual" or flat.nodes[drawn].op != "RandomUniform":
        return None
    given, bound = (flat.resolve(ref) for ref in flat.node_inputs(name))
    rate = constant(flat, bound)
    if given.node != drawn or rate is None or rate.size != 1 or not 0 < float(rate) < 1:
        return None
    share = float(rate)

    def emit(state: tf.Tensor, shape: tf.Tensor) -> tf.Tensor:
        return dropout.kept(state, stream, tf.cast(shape, tf.int32), share)

    return Rewrite((RANDOM_STATE, flat.node_inputs(drawn)[0]), emit)


def _drawn(flat: FlatGraph, name: str, stream: int) -> Rewrite:
    node = flat.nodes[name]
    inputs: tuple[Ref, ...] = (RANDOM_STATE, *flat.node_inputs(name))
    if node.op == "RandomUniform" and node.attr["dtype"].type == tf.float32:
        return Rewrite(
            inputs, lambda state, shape: dropout.uniform(state, stream, tf.cast(shape, tf.int32))
        )
    operation, names = getattr(tf.raw_ops, _NAMES[node.op]), _STATELESS[node.op]

    def emit(state: tf.Tensor, shape: tf.Tensor, *bounds: tf.Tensor) -> tf.Tensor:
        first = tf.cast(dropout.replica(), tf.int64) * _APART
        key, counter = dropout.place(state, stream, first)
        # Of whole numbers the type is that of their bounds.
        given = dict(zip(names, bounds)) or {"dtype": tf.as_dtype(node.attr["dtype"].type)}
        return operation(shape=shape, key=key, counter=counter, alg=dropout.PHILOX, **given)

    return Rewrite(inputs, emit)
