"""Which operations of a flat graph compute in bfloat16: matrix products, and what lies between them.

As TensorFlow's own rewrite for CPUs, from whose lists of operations these are
(https://github.com/tensorflow/tensorflow, core/grappler/optimizers/auto_mixed_precision_lists.h),
but of the graph that is replayed: it holds wherever that runs, also under XLA, and gradients follow
by themselves, since that of a cast is a cast. It differs in that a sum, a norm or a softmax, and
what isn't on a list, is never rounded; nor what ends in one of these, or in an answer.

Every rule looks at operations only, never at names.
"""

import tensorflow as tf

from tfhub_transfer.graphs.surgery import FlatGraph, Ref
from tfhub_transfer.private import tensorflow_graphs

# Always, since this is what bfloat16 is for.
ALLOWED = frozenset({"MatMul", "BatchMatMul", "BatchMatMulV2", "Einsum"})
# Between two products; a bias also behind one, with which it becomes one kernel.
INFERRED = frozenset(
    {
        *("Add", "AddV2", "BiasAdd", "Mul", "RealDiv", "Sub", "Square"),
        *("Elu", "Erf", "Erfc", "LeakyRelu", "Selu", "Sigmoid", "Softplus", "Softsign", "Tanh"),
    }
)
_BIASES = frozenset({"Add", "AddV2", "BiasAdd"})
# These round nothing that wasn't before them.
CLEAR = frozenset(
    {
        *("BroadcastTo", "ConcatV2", "EnsureShape", "ExpandDims", "GatherNd", "Neg"),
        *("Pack", "Relu", "Reshape", "Reverse", "ReverseV2", "Select", "SelectV2", "Slice"),
        *("Split", "SplitV", "Squeeze", "StopGradient", "StridedSlice", "Tile", "Transpose"),
        "Unpack",
    }
)


def find(flat: FlatGraph) -> frozenset[str]:
    """The nodes that compute in bfloat16, where products are to be rounded.

    Args:
        flat: The graph, with its rewrites; it is not changed.
    """
    order = flat.order([flat.resolve(ref) for ref in tf.nest.flatten(flat.outputs)], set())
    between = _before_products(flat, order)
    found: set[str] = set()
    # What is as exact in either: it waits for whoever reads it.
    neutral = {name for name in order if flat.nodes[name].op == "Const"}
    for name in order:
        if not _is_float(flat, Ref(name)):
            continue
        inputs = [ref for ref in flat.needed(name) if _is_float(flat, ref)]
        read = {ref.node for ref in inputs if ref.node not in flat.variables} - neutral
        kind = flat.acts_as(name)
        if kind in CLEAR and inputs and not read:
            neutral.add(name)
        elif kind in ALLOWED or (read and read <= found and _follows(kind, name in between)):
            found.add(name)
    return frozenset(found)


def _follows(kind: str, between: bool) -> bool:
    """Whether an operation of rounded numbers is rounded."""
    return kind in CLEAR or kind in _BIASES or (kind in INFERRED and between)


def _before_products(flat: FlatGraph, order: list[str]) -> set[str]:
    """Nodes that some product reads, at once or through others that may be rounded."""
    found: set[str] = set()
    for name in reversed(order):
        kind = flat.acts_as(name)
        if kind in ALLOWED or (name in found and (kind in CLEAR or kind in INFERRED)):
            found |= {ref.node for ref in flat.needed(name)}
    return found


def _is_float(flat: FlatGraph, ref: Ref) -> bool:
    if ref.node in flat.variables:
        return bool(flat.variables[ref.node].dtype == tf.float32)
    node = flat.nodes[ref.node]
    outputs = tensorflow_graphs.definition(node.op).output_arg
    made = outputs[min(ref.index, len(outputs) - 1)]
    types = [made.type or node.attr[made.type_attr].type, *node.attr[made.type_list_attr].list.type]
    return tf.float32.as_datatype_enum in types
