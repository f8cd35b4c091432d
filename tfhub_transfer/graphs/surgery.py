"""Surgery on SavedModel graphs. Knows TensorFlow's graphs, knows no BERT."""

import dataclasses
import functools
import inspect
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, TypeAlias

import numpy as np
import tensorflow as tf
from tensorflow.core.framework import attr_value_pb2, node_def_pb2
from tensorflow.core.protobuf import saved_model_pb2

from tfhub_transfer.private import tensorflow_graphs
from tfhub_transfer.shapes import Features

GRAPH_FILE = "saved_model.pb"
_RANDOM_OPS = frozenset(
    {"RandomUniform", "RandomStandardNormal", "TruncatedNormal", "RandomUniformInt"}
)
_PASSING = frozenset({"Identity", "ReadVariableOp", "Snapshot"})
_PLACEHOLDERS = frozenset({"Placeholder", "PlaceholderWithDefault", "_Arg"})
_PRODUCTS = frozenset({"MatMul", "BatchMatMul", "BatchMatMulV2", "BatchMatMulV3", "Einsum"})
_FACTORS = 2
_WRITERS = ("Assign", "ResourceScatter", "ResourceApply")


class NotFlat(Exception):
    """The call can't be written as a flat graph of plain operations; the message says why."""


@dataclasses.dataclass(frozen=True, slots=True)
class Ref:
    """One output of one node."""

    node: str
    index: int = 0


# Seed and step, int64 [2], of which random operations are functions once they are rewritten so; a
# flat graph has it beside its inputs, under a name that no operation of a SavedModel can have.
RANDOM_STATE = Ref("random state")
# The tensor, or list of tensors, behind each key.
Refs: TypeAlias = Mapping[str, Ref | Sequence[Ref]]
# Gives the value of a variable, or some of its rows: only those get a gradient, then.
Read: TypeAlias = Callable[[tf.Variable, tf.Tensor | None], tf.Tensor]


class Rewrite(NamedTuple):
    """A cheaper way to compute a node's output: from `inputs`, by `emit(*tensors)`.

    Nodes that nothing else needs are then never made. `acts_as` is the operation that decides in
    which precision it computes, where that isn't the node's own.
    """

    inputs: tuple[Ref, ...]
    emit: Callable[..., tf.Tensor]
    acts_as: str = ""


class Rounded(NamedTuple):
    """What of a flat graph computes in bfloat16; a cast stands where the type changes.

    Attributes:
        nodes: Nodes that compute so throughout.
        products: Nodes of a product and a bias, of which the product does. They give float32.
        by_batch: Those of `nodes` that do only if both factors have as many matrices: of one that
            is spread over those of the other the gradient is a sum.
    """

    nodes: frozenset[str] = frozenset()
    products: frozenset[str] = frozenset()
    by_batch: frozenset[str] = frozenset()

    def inputs(self, name: str, read: Sequence[tuple[Ref, tf.Tensor]]) -> list[tf.Tensor]:
        """What a node is given of the tensors that it reads, each with the node that made it."""
        made = []
        throughout = name in self.nodes and not (name in self.by_batch and _is_spread(read))
        for place, (ref, tensor) in enumerate(read):
            low = throughout or (name in self.products and place < _FACTORS)
            # A cast for each who reads it: TensorFlow joins them, but not the sums of gradients,
            # which are of float32 so.
            if low and tensor.dtype == tf.float32:
                tensor = tf.cast(tensor, tf.bfloat16)
            elif not low and ref.node in self.nodes and tensor.dtype == tf.bfloat16:
                tensor = tf.cast(tensor, tf.float32)
            made.append(tensor)
        return made


EXACT = Rounded()


def _is_spread(read: Sequence[tuple[Ref, tf.Tensor]]) -> bool:
    """Whether a factor may have fewer matrices than the other, as far as is known while tracing.

    Sizes of which nothing is known count as equal: they are those of the batch.
    """
    one, other = (tensor.shape[:-2] for _, tensor in read)
    return one.rank is None or other.rank is None or one.as_list() != other.as_list()


class FlatGraph:
    """One call of a SavedModel as a flat list of operations that can be replayed elsewhere.

    Replayed operations are ordinary ones of the graph that is being traced: gradients, XLA,
    `tf.distribute` and TensorFlow's own graph optimizer see through them, while a call of a
    SavedModel's function is a closed box to all four.

    Args:
        nodes: The operations by name, in the form of a `GraphDef`.
        inputs: The tensor behind each key of the inputs.
        outputs: The tensor, or list of tensors, behind each key of the outputs.
        variables: The variable behind each resource placeholder.
    """

    def __init__(
        self,
        nodes: dict[str, node_def_pb2.NodeDef],
        inputs: Mapping[str, Ref],
        outputs: Refs,
        variables: Mapping[str, tf.Variable],
    ) -> None:
        self.nodes, self.inputs, self.outputs = nodes, inputs, outputs
        self.variables = variables
        self.rewrites: dict[str, Rewrite] = {}
        # What was found to compute in bfloat16, by whether biases do too.
        self.roundings: dict[bool, Rounded] = {}

    @property
    def is_random(self) -> bool:
        """Whether it takes `RANDOM_STATE`."""
        return any(RANDOM_STATE in rewrite.inputs for rewrite in self.rewrites.values())

    def resolve(self, ref: Ref) -> Ref:
        """The tensor itself, whatever operations only pass it on."""
        while self.nodes[ref.node].op in _PASSING:
            ref = self.node_inputs(ref.node)[0]
        return ref

    def node_inputs(self, name: str) -> list[Ref]:
        """What a node computes from; control inputs don't count."""
        # Nothing in a flat graph has effects (`_check`), so that no order has to be kept.
        return [_ref(text) for text in self.nodes[name].input if not text.startswith("^")]

    def consumers(self) -> dict[str, list[str]]:
        """The names of the nodes that read each node, passing ones left out."""
        found: dict[str, list[str]] = {}
        for name, node in self.nodes.items():
            if node.op not in _PASSING:
                for ref in self.node_inputs(name):
                    found.setdefault(self.resolve(ref).node, []).append(name)
        return found

    def reads(self, wanted: Iterable[Ref]) -> list[tf.Variable]:
        """The variables that `wanted` depends on."""
        order = self.order([self.resolve(r) for r in wanted], set())
        needed = {ref.node for name in order for ref in self.needed(name)}
        # Sorted, for a set of names has another order in each process.
        return [self.variables[name] for name in sorted(needed) if name in self.variables]

    def is_clean_cut(self, cut: Ref, wanted: Iterable[Ref]) -> bool:
        """Whether with `cut` at hand `wanted` needs no matrix product that `cut` needed too.

        Shapes and masks may well be computed on both sides.
        """
        cut = self.resolve(cut)
        below = self.order([cut], set())
        above = self.order([self.resolve(r) for r in wanted], {cut})
        return not _products(self, below) & _products(self, above)

    def replay(
        self,
        wanted: Sequence[Ref],
        given: Mapping[Ref, tf.Tensor],
        read: Read,
        rounded: Rounded = EXACT,
    ) -> list[tf.Tensor]:
        """Makes the operations that `wanted` depends on, in the graph that is being traced.

        Args:
            wanted: What to compute.
            given: Tensors that are at hand; nothing below them is made.
            read: Gives a variable's value, or its rows if row numbers are given.
            rounded: What computes in bfloat16, of float32 cast to it. What is wanted is float32 as
                ever.

        Returns:
            The tensors wanted, in their order.
        """
        done = {self.resolve(ref): tensor for ref, tensor in given.items()}
        targets = [self.resolve(ref) for ref in wanted]

        def value(ref: Ref) -> tf.Tensor:
            if ref.node in self.variables:
                return read(self.variables[ref.node], None)
            return done[ref]

        for name in self.order(targets, set(done)):
            if self.nodes[name].op == "ResourceGather" and name not in self.rewrites:
                table, rows = self.needed(name)
                tensors = [read(self.variables[table.node], value(rows))]
            else:
                inputs = [(ref, value(ref)) for ref in self.needed(name)]
                tensors = self._make(name, rounded.inputs(name, inputs))
            done.update({Ref(name, i): t for i, t in enumerate(tensors)})
        return rounded.inputs("", [(ref, value(ref)) for ref in targets])

    def _make(self, name: str, inputs: list[tf.Tensor]) -> list[tf.Tensor]:
        if name in self.rewrites:
            return [self.rewrites[name].emit(*inputs)]
        if self.nodes[name].op in _PLACEHOLDERS:
            raise KeyError(f"no tensor was given for the input {name}")
        return _emit(self.nodes[name], inputs)

    def order(self, wanted: Iterable[Ref], given: set[Ref]) -> list[str]:
        """Names of the nodes that `wanted` depends on, each after those that it needs.

        Args:
            wanted: Tensors, resolved.
            given: Tensors at hand, resolved; what they depend on isn't followed.
        """
        order: dict[str, None] = {}
        # No recursion: an encoder of 24 layers is thousands of operations deep.
        stack = [(ref, False) for ref in wanted]
        while stack:
            ref, ready = stack.pop()
            if ref in given or ref.node in order or ref.node in self.variables:
                continue
            if ready:
                order[ref.node] = None
                continue
            stack.append((ref, True))
            stack += [(ref, False) for ref in self.needed(ref.node)]
        return list(order)

    def needed(self, name: str) -> list[Ref]:
        """The tensors, resolved, that a node is made of, rewritten or as it stands."""
        inputs = self.rewrites[name].inputs if name in self.rewrites else self.node_inputs(name)
        return [self.resolve(ref) for ref in inputs]

    def acts_as(self, name: str) -> str:
        """The operation that a node is, rewritten or as it stands."""
        rewrite = self.rewrites.get(name)
        return (rewrite.acts_as if rewrite else "") or self.nodes[name].op


def flatten(
    call: Callable[[Features], Mapping[str, tf.Tensor]],
    inputs: Mapping[str, tf.TensorSpec],
    variables: Sequence[tf.Variable],
) -> FlatGraph:
    """Traces a call and inlines every function that it calls.

    Args:
        call: Takes a dictionary of tensors and gives one of tensors or lists of tensors.
        inputs: Shape and type of each input.
        variables: Those that the call may read.

    Raises:
        NotFlat: If the call does more than compute: loops, tables, writing to variables.
    """
    # A graph of its own, also where the encoder is first called while another is traced.
    with tf.init_scope():
        traced = tf.function(call, autograph=False).get_concrete_function(dict(inputs))
    handles = {
        id(part.handle): variable
        for variable in variables
        # Under a strategy a graph captures one of the copies behind a variable.
        for part in getattr(variable, "values", (variable,))
    }
    read: dict[str, tf.Variable] = {}
    for outer, inner in traced.graph.captures:
        if id(outer) not in handles:
            raise NotFlat("it reads something that isn't one of its variables")
        read[inner.op.name] = handles[id(outer)]
    _clear_collections(traced)
    inlined = tensorflow_graphs.inlined(traced)
    flat = FlatGraph(
        {node.name: node for node in (*inlined.node, _random_state())},
        # TensorFlow flattens a dictionary by its sorted keys; what is captured comes behind.
        dict(zip(sorted(inputs), [_ref(t.name) for t in traced.inputs])),
        tf.nest.map_structure(lambda t: _ref(t.name), dict(traced.structured_outputs)),
        read,
    )
    _check(flat)
    return flat


def _products(flat: FlatGraph, names: Iterable[str]) -> set[str]:
    return {name for name in names if flat.nodes[name].op in _PRODUCTS}


def _clear_collections(function: tf.types.experimental.ConcreteFunction) -> None:
    """They are of no use to a concrete function, and TensorFlow warns of what it can't write."""
    for name in function.graph.get_all_collection_keys():
        function.graph.clear_collection(name)


def constant(flat: FlatGraph, ref: Ref) -> np.ndarray | None:
    """The value of a constant as a NumPy array; `None` if the tensor isn't one."""
    node = flat.nodes[flat.resolve(ref).node]
    return tf.make_ndarray(node.attr["value"].tensor) if node.op == "Const" else None


def _check(flat: FlatGraph) -> None:
    # Among all nodes: what writes may hang on a control input, which isn't followed below.
    if any(node.op.startswith(_WRITERS) for node in flat.nodes.values()):
        raise NotFlat("it writes to its variables")
    for name in flat.order([flat.resolve(r) for r in tf.nest.flatten(flat.outputs)], set()):
        node = flat.nodes[name]
        # These are never made: the ones are given, of the others `_make` reads rows.
        if node.op in _PLACEHOLDERS or node.op == "ResourceGather":
            continue
        if not tensorflow_graphs.knows(node.op) or not hasattr(tf.raw_ops, node.op):
            raise NotFlat(f"it holds the operation {node.op}")
        if any(attribute.HasField("func") for attribute in node.attr.values()):
            raise NotFlat(f"it calls functions by the operation {node.op}")


def _random_state() -> node_def_pb2.NodeDef:
    return node_def_pb2.NodeDef(name=RANDOM_STATE.node, op="Placeholder")


def _ref(text: str) -> Ref:
    name, _, index = text.partition(":")
    return Ref(name, int(index or 0))


def _emit(node: node_def_pb2.NodeDef, inputs: list[tf.Tensor]) -> list[tf.Tensor]:
    """Makes one operation like `node`."""
    if node.op == "Const":
        return [tf.constant(tf.make_ndarray(node.attr["value"].tensor))]
    definition = tensorflow_graphs.definition(node.op)
    inferred: set[str] = set()
    arguments: dict[str, object] = {}
    rest = list(inputs)
    for argument in definition.input_arg:
        # `tf.raw_ops` takes no types and numbers that it can see from the inputs.
        inferred |= {argument.type_attr, argument.number_attr, argument.type_list_attr}
        many = argument.number_attr or argument.type_list_attr
        if many:
            count = node.attr[many].i or len(node.attr[many].list.type)
            arguments[argument.name], rest = rest[:count], rest[count:]
        else:
            arguments[argument.name], rest = rest[0], rest[1:]
    for attribute in definition.attr:
        if attribute.name not in inferred and attribute.name in node.attr:
            arguments[attribute.name] = _plain(node.attr[attribute.name])
    names = _python_names(node.op)
    return tf.nest.flatten(
        getattr(tf.raw_ops, node.op)(**{names.get(k, k): v for k, v in arguments.items()})
    )


@functools.cache
def _python_names(op: str) -> dict[str, str]:
    """Arguments that go by another name in Python, such as `axis` for `reduction_indices`."""
    definition = tensorflow_graphs.definition(op)
    known = [a.name for a in (*definition.input_arg, *definition.attr)]
    taken = [p for p in inspect.signature(getattr(tf.raw_ops, op)).parameters if p != "name"]
    renamed = [a.name for a in (*definition.input_arg, *definition.attr) if a.name not in taken]
    inferred = {a.type_attr for a in definition.input_arg}
    inferred |= {a.number_attr for a in definition.input_arg}
    inferred |= {a.type_list_attr for a in definition.input_arg}
    renamed = [name for name in renamed if name not in inferred]
    return dict(zip(renamed, [p for p in taken if p not in known]))


def _plain(value: attr_value_pb2.AttrValue) -> object:
    """An attribute as the Python value that `tf.raw_ops` takes."""
    kind = value.WhichOneof("value")
    if kind == "type":
        return tf.as_dtype(value.type)
    if kind == "shape":
        return tf.TensorShape(value.shape)
    if kind == "list":
        fields = [values for _, values in value.list.ListFields()]
        return list(fields[0]) if fields else []
    return getattr(value, kind)


def write_seeded(source: Path, target: Path, seed: int) -> bool:
    """Copies a SavedModel with seeds given to its unseeded random operations.

    Dropout inside a SavedModel was traced when the model was exported, so
    `tf.random.set_seed` doesn't reach it; unseeded, it differs from run to run.

    Args:
        source: The SavedModel's folder.
        target: An existing empty folder; weights and assets are linked there, not copied.
        seed: The seed. Every operation gets its own stream.

    Returns:
        Whether there was anything to seed; if not, nothing is written.
    """
    model = saved_model_pb2.SavedModel.FromString((source / GRAPH_FILE).read_bytes())
    unseeded = [node for node in _nodes(model) if _is_unseeded(node)]
    # From 1: two seeds of 0 mean none.
    for stream, node in enumerate(unseeded, start=1):
        node.attr["seed"].i, node.attr["seed2"].i = seed, stream
    if not unseeded:
        return False
    (target / GRAPH_FILE).write_bytes(model.SerializeToString())
    for item in source.iterdir():
        if item.name in ("variables", "assets"):
            _link(item, target / item.name)
    return True


def _nodes(model: saved_model_pb2.SavedModel) -> list[node_def_pb2.NodeDef]:
    graphs = [meta.graph_def for meta in model.meta_graphs]
    # A seed's streams are numbered in this order.
    inner = [
        n for graph in graphs for function in graph.library.function for n in function.node_def
    ]
    return inner + [node for graph in graphs for node in graph.node]


def _is_unseeded(node: node_def_pb2.NodeDef) -> bool:
    if node.op not in _RANDOM_OPS:
        return False
    return node.attr["seed"].i == 0 and node.attr["seed2"].i == 0


def _link(source: Path, target: Path) -> None:
    try:
        target.symlink_to(source.absolute(), target_is_directory=True)
    except OSError:  # where links need rights that the user lacks
        shutil.copytree(source, target)
