"""A call of which all that depends on weights alone is computed once, before anybody asks."""

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import NamedTuple, TypeAlias

import numpy as np
import tensorflow as tf
from tensorflow.core.framework import node_def_pb2

from tfhub_transfer.graphs import quantizing, surgery
from tfhub_transfer.graphs.surgery import FlatGraph, Ref
from tfhub_transfer.private import tensorflow_graphs
from tfhub_transfer.shapes import Features


class Table(NamedTuple):
    """Rows of bytes, of which each has its own scale."""

    rows: tf.Variable
    scale: tf.Variable


Kept: TypeAlias = tf.Variable | np.ndarray | Table
# Those of an encoder of 12 layers of 768 are 170 MB; no graph can be written beyond 2 GB.
MOST_CONSTANT_BYTES = 250_000_000
_FLOATS = (tf.float32, tf.bfloat16)


class Folded(NamedTuple):
    """A call without anything that could have been computed before it.

    Attributes:
        function: From the flat inputs, in the order of their names, to the list of flat outputs.
        variables: Those that it reads, each once; whoever saves the function saves them beside it.
    """

    function: tf.types.experimental.ConcreteFunction
    variables: list[tf.Variable]


def fold(
    call: Callable[[Features], Mapping[str, tf.Tensor]],
    inputs: Mapping[str, tf.TensorSpec],
    variables: Sequence[tf.Variable],
    in_bytes: Sequence[tf.Variable] = (),
) -> Folded:
    """Computes what weights alone decide: of those that are cast to bfloat16, the casts.

    Matrices of bfloat16 become constants up to `MOST_CONSTANT_BYTES`: of a constant TensorFlow's
    kernel sorts the numbers as it multiplies them once, of a variable in each request, which was
    half the time of a short text. Others stay variables and never enter the graph, for a constant
    is copied again and again where a graph is written and loaded. So do vectors: TensorFlow's
    optimizer moves constant ones about for seconds, where a server loads the graph. Numbers are
    constants, at which it looks while it fuses operations. What is computed twice is once.

    Args:
        call: Takes a dictionary of tensors and gives one of tensors or lists of tensors.
        inputs: Shape and type of each input.
        variables: Those that the call may read.
        in_bytes: Those of float32 of which products and rows are of 8 bits (see `quantizing`).

    Raises:
        NotFlat: If the call does more than compute, or there is nothing to be of 8 bits.
    """
    flat = surgery.flatten(call, inputs, variables)
    wanted = tf.nest.flatten(flat.outputs)
    _merge(flat, wanted)
    matrices = _in_bytes(flat, wanted, in_bytes) if in_bytes else {}
    settled = _settled(flat, wanted)
    kept = {**_kept(flat, list(dict.fromkeys(settled.values()))), **_sized(matrices)}
    tables = _tables(flat, wanted, in_bytes)
    found = {
        id(variable): tables.get(name) or kept.get(Ref(name), variable)
        for name, variable in flat.variables.items()
    }

    def run(*given: tf.Tensor) -> list[tf.Tensor]:
        values = {ref: _read(each) for ref, each in kept.items()}
        known = {ref: values[settled.get(ref, ref)] for ref in (*settled, *matrices)}
        # TensorFlow flattens a dictionary by its sorted keys, and so does `flatten`.
        known.update(zip(flat.inputs.values(), given))
        return flat.replay(wanted, known, lambda variable, rows: _read(found[id(variable)], rows))

    specs = [inputs[name] for name in sorted(inputs)]
    function = tf.function(run, input_signature=specs, autograph=False).get_concrete_function()
    return Folded(function, [*function.variables])


def _merge(flat: FlatGraph, wanted: Sequence[Ref]) -> None:
    """Lets what computes the same be one operation, as where an encoder is called twice.

    TensorFlow would find it too, whenever the graph is loaded.
    """
    firsts: dict[Hashable, str] = {}
    for name in flat.order([flat.resolve(ref) for ref in wanted], set()):
        if _computes(flat, name) and _gives_one(flat, name):
            first = firsts.setdefault((_kind(flat, name), *flat.needed(name)), name)
            if first != name:
                flat.nodes[name] = node_def_pb2.NodeDef(name=name, op="Identity", input=[first])


def _gives_one(flat: FlatGraph, name: str) -> bool:
    """Whether an operation has one output."""
    outputs = tensorflow_graphs.definition(flat.nodes[name].op).output_arg
    return len(outputs) == 1 and not outputs[0].number_attr and not outputs[0].type_list_attr


def _in_bytes(
    flat: FlatGraph, wanted: Sequence[Ref], variables: Sequence[tf.Variable]
) -> dict[Ref, np.ndarray]:
    """Rewrites products with what depends on these variables alone; their matrices of bytes."""
    settled, found = _settled(flat, wanted), {}
    known = {id(variable) for variable in variables}
    for name in flat.order([flat.resolve(ref) for ref in wanted], set()):
        if flat.nodes[name].op == "MatMul" and not flat.nodes[name].attr["transpose_a"].b:
            factor, matrix = flat.needed(name)
            own = flat.variables.get(matrix.node)
            read = {id(each) for each in (flat.reads([matrix]) if own is None else [own])}
            if matrix in settled and factor not in settled and read <= known:
                found[name] = settled[matrix]
    if not found:
        raise surgery.NotFlat("it has no product with a weight")
    with tf.init_scope():
        refs = list(dict.fromkeys(found.values()))
        values = {ref: each.numpy() for ref, each in zip(refs, flat.replay(refs, {}, _read))}
    return quantizing.quantize(flat, found, values)


def _sized(matrices: Mapping[Ref, np.ndarray]) -> dict[Ref, Kept]:
    """Matrices of bytes as constants, or as variables where a graph would be too large."""
    size = sum(matrix.nbytes for matrix in matrices.values())
    with tf.init_scope():
        return {
            ref: matrix if size <= MOST_CONSTANT_BYTES else tf.Variable(matrix)
            for ref, matrix in matrices.items()
        }


def _tables(
    flat: FlatGraph, wanted: Sequence[Ref], variables: Sequence[tf.Variable]
) -> dict[str, Table]:
    """Those of these variables of which only rows are read, in bytes, by what reads them."""
    known, found = {id(variable) for variable in variables}, {}
    targets = [flat.resolve(ref) for ref in wanted]
    for name in flat.order(targets, set()):
        table = flat.needed(name)[0].node if flat.nodes[name].op == "ResourceGather" else ""
        if id(flat.variables.get(table)) in known:
            with tf.init_scope():
                value = flat.variables[table].numpy()
                rows, scale = quantizing.rounded(value, axis=1)
                found[table] = Table(tf.Variable(rows), tf.Variable(scale))
    return found


def _settled(flat: FlatGraph, wanted: Sequence[Ref]) -> dict[Ref, Ref]:
    """What depends on weights alone and is read by what doesn't, each with the first that is alike.

    A weight is cast anew for each who reads it, and in each call of the encoder.
    """
    targets = [flat.resolve(ref) for ref in wanted]
    read = dict.fromkeys(targets)
    alike = {name: name for name in flat.variables}
    firsts: dict[Hashable, str] = {}
    for name in flat.order(targets, set()):
        needed = flat.needed(name)
        if _computes(flat, name) and all(ref.node in alike for ref in needed):
            inputs = tuple(Ref(alike[ref.node], ref.index) for ref in needed)
            alike[name] = firsts.setdefault((_kind(flat, name), inputs), name)
        else:
            # Of a table only rows are read.
            rows_only = flat.nodes[name].op == "ResourceGather"
            read.update(dict.fromkeys(needed[1:] if rows_only else needed))
    return {ref: Ref(alike[ref.node], ref.index) for ref in read if ref.node in alike}


def _kept(flat: FlatGraph, refs: Sequence[Ref]) -> dict[Ref, Kept]:
    """What a graph reads for each of these tensors, which is computed here."""
    with tf.init_scope():
        made = dict(zip(refs, flat.replay(refs, {}, _read)))
        rounded = [each for each in made.values() if each.dtype == tf.bfloat16]
        size = sum(int(tf.size(each)) * tf.bfloat16.size for each in rounded)
        variable = (tf.float32,) if size <= MOST_CONSTANT_BYTES else (tf.float32, tf.bfloat16)
        return {
            ref: _variable(flat, ref, value)
            if value.dtype in (variable if _is_matrix(value) else _FLOATS) and tf.size(value) > 1
            else value.numpy()  # a tensor would become an input of the graph
            for ref, value in made.items()
        }


def _variable(flat: FlatGraph, ref: Ref, value: tf.Tensor) -> tf.Variable:
    """One of a value: that which it was read from, if nothing was computed of it."""
    found = flat.variables.get(ref.node)
    return tf.Variable(value) if found is None else found


def _kind(flat: FlatGraph, name: str) -> Hashable:
    """What an operation computes, whatever it is called and reads."""
    node = flat.nodes[name]
    return node.op, *(
        (key, node.attr[key].SerializeToString(deterministic=True)) for key in sorted(node.attr)
    )


def _computes(flat: FlatGraph, name: str) -> bool:
    """Whether an operation gives the same for the same, whenever it is asked."""
    operation = flat.nodes[name].op
    # Rows of a variable: `replay` reads them as it reads any value.
    if operation == "ResourceGather":
        return True
    definition = tensorflow_graphs.definition(operation)
    opaque = any(each.type == tf.variant.as_datatype_enum for each in definition.output_arg)
    return "Placeholder" not in operation and not definition.is_stateful and not opaque


def _is_matrix(tensor: tf.Tensor) -> bool:
    """Whether it is long in more than one way."""
    return bool(tf.size(tensor) > max([1, *tensor.shape]))


def _read(kept: Kept, rows: tf.Tensor | None = None) -> tf.Tensor:
    if isinstance(kept, Table):
        values, scale = (_read(each, rows) for each in kept)
        return tf.cast(values, tf.float32) * scale[..., None]
    return tf.convert_to_tensor(kept if rows is None else tf.nn.embedding_lookup(kept, rows))
