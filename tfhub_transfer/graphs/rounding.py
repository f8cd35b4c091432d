"""Which operations of a flat graph compute in bfloat16: products, and what lies between them.

By lists of operations as TensorFlow's own rewrite for CPUs has them
(https://github.com/tensorflow/tensorflow, core/grappler/optimizers/auto_mixed_precision_lists.h),
but of the graph that is replayed: it holds wherever that runs, on accelerators and under XLA too,
and gradients follow by themselves, since that of a cast is a cast. Unlike there a sum, a norm or a
softmax, and what is on no list, is never rounded; nor what ends in one of these, or in an answer.

Every rule looks at operations only, never at names.
"""

import tensorflow as tf

from tfhub_transfer.graphs.surgery import FlatGraph, Ref, Rounded
from tfhub_transfer.private import tensorflow_graphs

# Always, since this is what bfloat16 is for; but see `_is_product`.
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
        *("BroadcastTo", "ConcatV2", "EnsureShape", "ExpandDims", "GatherNd", "Neg", "Pack"),
        *("Relu", "Reshape", "Reverse", "ReverseV2", "Select", "SelectV2", "Slice", "Split"),
        *("SplitV", "Squeeze", "StopGradient", "StridedSlice", "Tile", "Transpose", "Unpack"),
    }
)
# Of these, though, the gradient may be a sum.
_SPREADING = frozenset({"BroadcastTo", "GatherNd", "Select", "SelectV2", "Tile"})
# And of this one, where one factor has less of a batch than the other.
_SPREADING_PRODUCT = "BatchMatMulV2"


def of(flat: FlatGraph, fused: bool) -> Rounded:
    """As `find`, looked for once and kept with the graph, whose names it holds."""
    if fused not in flat.roundings:
        flat.roundings[fused] = find(flat, fused)
    return flat.roundings[fused]


def find(flat: FlatGraph, fused: bool) -> Rounded:
    """What computes in bfloat16, where products are to be rounded.

    Args:
        flat: The graph, with its rewrites; it is not changed.
        fused: Whether biases and activations behind products are rounded too, so that each becomes
            one kernel with its product. Not where gradients are wanted: TensorFlow's kernel for
            that of a bias adds up bfloat16, and of 2,048 rows is off by a tenth.
    """
    order = flat.order([flat.resolve(ref) for ref in tf.nest.flatten(flat.outputs)], set())
    between = _before_products(flat, order) if fused else set()
    found: set[str] = set()
    products: set[str] = set()
    by_batch: set[str] = set()
    clear = CLEAR if fused else CLEAR - _SPREADING
    # What is as exact in either: it waits for whoever reads it.
    neutral = {name for name in order if flat.nodes[name].op == "Const"}
    for name in order:
        inputs = [ref for ref in flat.needed(name) if _is_float(flat, ref)]
        if not inputs or not _is_float(flat, Ref(name)):
            continue
        read = [ref.node for ref in inputs if ref.node not in {*flat.variables, *neutral}]
        kind = flat.acts_as(name)
        if _is_product(flat, name, fused):
            (found if fused or len(inputs) == 2 else products).add(name)
            if kind == _SPREADING_PRODUCT and not fused:
                by_batch.add(name)
        elif kind in CLEAR and not read:
            neutral.add(name)
        elif read and found.issuperset(read):
            alone = len(read) == 1
            if kind in clear or (fused and _follows(kind, alone, name in between)):
                found.add(name)
    return Rounded(frozenset(found), frozenset(products), frozenset(by_batch))


def _is_product(flat: FlatGraph, name: str, fused: bool) -> bool:
    """Whether an operation is a product, and neither it nor a wanted gradient adds up more."""
    kind = flat.acts_as(name)
    if kind != "Einsum":
        return kind in ALLOWED
    equation = flat.nodes[name].attr["equation"].s.decode()
    given, _, result = equation.partition("->")
    terms = [*given.split(","), result]
    labels = set("".join(terms)) - set(". ")
    # A label of one term alone is summed over, or copied; `...` may be copied for one of the two.
    alone = any(sum(label in term for term in terms) == 1 for label in labels)
    return len(terms) > 2 and not alone and (fused or "..." not in equation)


def _follows(kind: str, alone: bool, between: bool) -> bool:
    """Whether an operation that computes of rounded numbers is rounded.

    Args:
        kind: The operation.
        alone: Whether one of its inputs is rounded and all others are weights: a sum of two
            products has no bias.
        between: Whether a product reads it.
    """
    return (kind in _BIASES and alone) or (kind in INFERRED and between)


def _before_products(flat: FlatGraph, order: list[str]) -> set[str]:
    """Nodes that some product reads, at once or through others that may be rounded."""
    found: set[str] = set()
    for name in reversed(order):
        kind = flat.acts_as(name)
        passes = name in found and (kind in CLEAR or kind in INFERRED)
        if passes or _is_product(flat, name, fused=True):
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
