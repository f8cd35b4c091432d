"""Who calls what in a SavedModel, and which of its functions are its saver.

Each SavedModel holds two functions that TensorFlow itself doesn't call when it loads one: one
writes the weights to a file, one reads them. They are recognised by what they are: the graph's
`SaverDef` names the nodes that call them, nothing else does, the file is what a loader feeds, and
they consist of few operations.
"""

import collections
import functools
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import TypeAlias

from tensorflow.core.framework import attr_value_pb2, function_pb2, node_def_pb2
from tensorflow.core.protobuf import meta_graph_pb2

Nodes: TypeAlias = Iterable[node_def_pb2.NodeDef]

# What the savers of genuine SavedModels consist of, from TensorFlow 2.0 on.
_OPERATIONS = frozenset(
    """SaveV2 RestoreV2 MergeV2Checkpoints ShardedFilename StringJoin StaticRegexFullMatch Select
    Pack Const Identity NoOp ReadVariableOp DisableCopyOnRead AssignVariableOp LookupTableExportV2
    LookupTableImportV2 Cast""".split()
)
# Which inputs of an operation are names of files.
_FILE_NAMES = {"SaveV2": (0,), "RestoreV2": (0,), "MergeV2Checkpoints": (0, 1)}
# What is appended to the file's name: ".part", "_temp_0123abcd/part".
_PART = re.compile(rb"_?[A-Za-z0-9_]*\.?[A-Za-z0-9_]*(/part)?")


class Calls:
    """A graph with its functions, and for each of these who calls it.

    Args:
        meta: The graph, as it stands in the file.

    Attributes:
        functions: A `FunctionDef` for each name.
        bodies: `(where, nodes)`: of the main graph, which is nowhere (`None`), and each function.
        callers: For each name that is called `[(where, node)]`; the node of a gradient is `None`.
    """

    def __init__(self, meta: meta_graph_pb2.MetaGraphDef) -> None:
        self.meta = meta
        library = meta.graph_def.library
        self.functions = {f.signature.name: f for f in library.function}
        self.bodies: list[tuple[str | None, Nodes]] = [(None, meta.graph_def.node)]
        self.bodies += [(name, function.node_def) for name, function in self.functions.items()]
        self.callers: dict[str, list[tuple[str | None, node_def_pb2.NodeDef | None]]]
        self.callers = collections.defaultdict(list)
        for where, nodes in self.bodies:
            for node in nodes:
                for name in _called(node, self.functions):
                    self.callers[name].append((where, node))
        for gradient in (*library.gradient, *library.registered_gradients):
            self.callers[gradient.gradient_func].append((None, None))

    @functools.cached_property
    def main(self) -> dict[str, node_def_pb2.NodeDef]:
        """The nodes of the main graph, by name."""
        return _by_name(self.meta.graph_def.node)

    def savers(self) -> set[str | None]:
        """The functions of the `SaverDef` that nothing but its nodes can call."""
        saver = self.meta.saver_def
        names = [n.split(":")[0] for n in (saver.save_tensor_name, saver.restore_op_name)]
        file_name = saver.filename_tensor_name.split(":")[0]
        if file_name not in self.main or self.main[file_name].op != "Placeholder":
            return set()
        found: set[str | None] = set()
        for node in (self.main[name] for name in names if name in self.main):
            name = node.attr["f"].func.name
            if (
                list(node.input[:1]) == [file_name]
                and node.name not in self._read
                and name in self.functions.keys() - self.exported
                and self.callers[name] == [(None, node)]
            ):
                found.add(name)
        return found

    @functools.cached_property
    def exported(self) -> set[str]:
        """The names of the functions that can be called from Python once the file is loaded."""
        objects = self.meta.object_graph_def
        names = set(objects.concrete_functions)
        for node in objects.nodes:
            names.update(node.function.concrete_functions)
            names.add(node.bare_concrete_function.concrete_function_name)
        return names

    @functools.cached_property
    def _read(self) -> set[str]:
        """The nodes of the main graph that something reads, or runs after."""
        inputs = {i.lstrip("^").split(":")[0] for n in self.meta.graph_def.node for i in n.input}
        for signature in self.meta.signature_def.values():
            inputs |= {tensor.name.split(":")[0] for tensor in signature.outputs.values()}
        for value in self.meta.collection_def.values():
            inputs |= {name.split(":")[0] for name in value.node_list.value}
        return inputs


def foreign(function: function_pb2.FunctionDef) -> Iterator[node_def_pb2.NodeDef]:
    """The nodes that a saver has no need of, or whose file isn't named after its first argument.

    Args:
        function: That of a saver.
    """
    body = _Body(function)
    for node in function.node_def:
        files = _FILE_NAMES.get(node.op, ())
        if node.op not in _OPERATIONS or not all(body.is_file_name(node.input[i]) for i in files):
            yield node


class _Body:
    def __init__(self, function: function_pb2.FunctionDef) -> None:
        self.nodes = _by_name(function.node_def)
        self.given = function.signature.input_arg[0].name

    def is_file_name(self, ref: str, depth: int = 0) -> bool:
        """Whether a tensor is the name that was given, or that with something harmless behind."""
        if ref == self.given:
            return True
        node = self.nodes.get(ref.split(":")[0])
        # A few steps lead there; names in a circle would have no end.
        if node is None or depth > 8:
            return False
        inputs = [i for i in node.input if not i.startswith("^")]
        follow = functools.partial(self.is_file_name, depth=depth + 1)
        if node.op == "StringJoin":
            return follow(inputs[0]) and all(map(self._is_part, inputs[1:]))
        if node.op == "Pack":
            return all(map(follow, inputs))
        return node.op in ("Identity", "ShardedFilename") and follow(inputs[0])

    def _is_part(self, ref: str) -> bool:
        node = self.nodes.get(ref.split(":")[0])
        # TensorFlow's saver takes one ending for files on s3 and another for all else.
        if node is not None and node.op == "Select":
            return all(self._is_part_constant(i) for i in node.input[1:3])
        return self._is_part_constant(ref)

    def _is_part_constant(self, ref: str) -> bool:
        node = self.nodes.get(ref.split(":")[0])
        if node is None or node.op != "Const":
            return False
        return all(map(_PART.fullmatch, node.attr["value"].tensor.string_val))


def _called(
    node: node_def_pb2.NodeDef, functions: Mapping[str, function_pb2.FunctionDef]
) -> Iterator[str]:
    """The names of the functions that a node calls: its operation, or what its attributes name."""
    if node.op in functions:
        yield node.op
    yield from _named(node.attr.values())


def _named(values: Iterable[attr_value_pb2.AttrValue]) -> Iterator[str]:
    for value in values:
        kind = value.WhichOneof("value")
        if kind != "func" and kind != "list":
            continue
        for function in [value.func] if kind == "func" else value.list.func:
            yield function.name
            yield from _named(function.attr.values())


def _by_name(nodes: Nodes) -> dict[str, node_def_pb2.NodeDef]:
    listed = list(nodes)
    found = {node.name: node for node in listed}
    # Only one of them would be looked at.
    if len(found) != len(listed):
        raise ValueError("a graph holds two nodes of one name")
    return found
