"""SavedModels that others sent: nothing of one is loaded before all that it could do is known.

A SavedModel is a program. TensorFlow has operations that read and write files, talk to other
machines or call Python, and `tf.saved_model.load` runs functions of the file by itself (it fills
tables and restores weights). So the file is read first, as data: each operation of its graph and of
each of its functions must be on the list in `allowed_operations.txt`, or call a function of this
very file. What the list leaves out, and why, is in `tests/denied_operations.txt`.

Two things need files, and are known by what they are instead: the saver, which nothing that is
loaded may call, and tables whose file is an asset. `SECURITY.md` says what isn't checked.
"""

import functools
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path, PureWindowsPath
from typing import Any, Protocol

import tensorflow as tf
from tensorflow.core.framework import function_pb2, node_def_pb2, types_pb2
from tensorflow.core.protobuf import meta_graph_pb2

from tfhub_transfer.errors import InputError
from tfhub_transfer.graphs import savers, wire
from tfhub_transfer.incoming import choices
from tfhub_transfer.private import tensorflow_graphs
from tfhub_transfer.storage import opening

GRAPH_FILE = "saved_model.pb"
LIST_FILE = Path(__file__).with_name("allowed_operations.txt")

# Its second input is the file's name.
_TABLE_FROM_FILE, _FILE_INPUT = "InitializeTableFromTextFileV2", 1
_CALLS = ("PartitionedCall", "StatefulPartitionedCall")
# Of these types a tensor in the file would be a handle to something outside of it: another model's
# table, say.
_HANDLES = (types_pb2.DT_RESOURCE, types_pb2.DT_VARIANT)
# These make a tensor of whatever type they are told out of bytes.
_FROM_BYTES = ("ParseTensor", "DeserializeSparse", "DeserializeManySparse")
_USES_OF_VARIABLES = ("AssignVariableOp", "ReadVariableOp", "VarIsInitializedOp")
# How deep calls of functions go that hand an asset on; a model that was saved, loaded and saved
# again has one more.
_MOST_CALLS = 20
_MOST_SHOWN = 80
_DAMAGED = "its files are damaged or incomplete; download or convert it again"


class SavedObject(Protocol):
    """What TensorFlow makes of a SavedModel: its attributes are whatever its makers gave it."""

    def __getattr__(self, name: str) -> Any: ...

    def __call__(self, *args: object, **kwargs: object) -> Any: ...


class _Unusable(Exception):
    """Nothing that trust could mend."""


def load_checked(
    folder: Path,
    trust_code: bool = False,
    options: tf.saved_model.LoadOptions | None = None,
    copy: Path | None = None,
) -> SavedObject:
    """`tf.saved_model.load` of a SavedModel that passed `check_saved_model`; the only door.

    Args:
        folder: The SavedModel's folder.
        trust_code: Whether whoever made it is trusted, so that nothing is checked.
        options: TensorFlow's `LoadOptions`.
        copy: What to load instead: a copy of `folder` that the caller made, with links into it.

    Raises:
        InputError: If it isn't allowed. Whatever TensorFlow raises if it can't load it.
    """
    check_saved_model(folder, trust_code)
    return tf.saved_model.load(str(folder if copy is None else copy), options=options)


def check_saved_model(folder: Path, trust_code: bool = False) -> None:
    """Makes sure that a SavedModel can do nothing but compute, without loading it.

    Links are followed first, and must end inside of the folder; in a cache of Hugging Face's form,
    `snapshots/...` beside `blobs`, in that store; or, if the graph itself is a link, at the same
    places in the folder of the graph.

    Args:
        folder: The SavedModel's folder.
        trust_code: Whether whoever made it is trusted, so that nothing is checked.

    Raises:
        InputError: If it holds an operation that isn't on the list, reads a file that isn't an
            asset, or can't be loaded at all.
    """
    folder = opening.path_of(folder)
    # Pipes and devices are refused whoever is trusted.
    opening.require_all(folder)
    if choices.flag("trust_code", trust_code):
        return
    for problem in _problems(folder):
        raise InputError(
            f"the SavedModel isn't loaded, for it could do more than compute: {problem}. If you "
            "trust whoever made it, say so: `--trust-code`, in Python `trust_code=True` (Keras' "
            f"`safe_mode=False`). Received: {folder}"
        )


def allowed_operations() -> frozenset[str]:
    """The names of the operations that a SavedModel may consist of."""
    return frozenset(LIST_FILE.read_text(encoding="utf-8").split())


_allowed = functools.cache(allowed_operations)


def _problems(folder: Path) -> Iterator[str]:
    try:
        yield from _in_files(folder)
        model = wire.read_saved_model(folder / GRAPH_FILE)
        yield from _in_model(folder, model.meta_graphs)
    except _Unusable as error:
        raise _not_loadable(folder, str(error)) from error
    except (OSError, ValueError, IndexError) as error:
        raise _not_loadable(folder, _DAMAGED, str(error)) from error


def _not_loadable(folder: Path, why: str, reason: str = "") -> InputError:
    more = f" ({reason})" if reason else ""
    return InputError(f"the SavedModel can't be loaded: {why}. Received: {folder}{more}")


def _in_model(folder: Path, graphs: Sequence[meta_graph_pb2.MetaGraphDef]) -> Iterator[str]:
    if not graphs:  # nor has a file of no bytes
        raise _Unusable(_DAMAGED)
    if len(graphs) != 1:
        yield f"it holds {len(graphs)} graphs, expected one"
        return
    [meta] = graphs
    if not meta.HasField("object_graph_def"):
        # TensorFlow would load it in its old way, by running the saver.
        raise _Unusable("it was made for TensorFlow 1 (a TF1 Hub module, or signatures only)")
    yield from _in_assets(folder, meta)
    yield from _in_names(meta.graph_def.library.function)
    yield from _in_graph(savers.Calls(meta))


# Files --------------------------------------------------------------------------------------------


def _in_files(folder: Path) -> Iterator[str]:
    root = folder.resolve()
    homes = {root, *_blobs(root)}
    # Installers that link file by file leave each where it was, beside the graph.
    origin = (root / GRAPH_FILE).resolve().parent
    for path in _links(root):
        target, place = path.resolve(), path.relative_to(root)
        if not target.exists():
            raise _Unusable(f"{_DAMAGED} (a link that leads nowhere, {_shown(str(place))})")
        if not homes & {target, *target.parents} and target != origin / place:
            yield f"a link that leads out of its folder, {_shown(str(place))}"
    # TensorFlow might load that one, which nobody has looked at.
    for name in ("saved_model.pbtxt", "saved_model.cpb"):
        if (root / name).exists():
            yield f"another graph, {name}, beside {GRAPH_FILE}"


def _links(root: Path) -> Iterator[Path]:
    for folder, folders, files in os.walk(root):
        paths = (Path(folder) / name for name in (*folders, *files))
        yield from (path for path in paths if path.is_symlink())


def _blobs(root: Path) -> list[Path]:
    """Where Hugging Face's cache keeps the files behind the links of one of its folders."""
    return [p.parent / "blobs" for p in root.parents if p.name == "snapshots"][:1]


def _in_assets(folder: Path, meta: meta_graph_pb2.MetaGraphDef) -> Iterator[str]:
    for asset in meta.asset_file_def:
        # A path of Windows knows both slashes, and drives.
        name = PureWindowsPath(asset.filename)
        inside = not name.anchor and ".." not in name.parts
        path = folder / "assets" / asset.filename
        if inside and not os.path.lexists(path):
            raise _Unusable(f"{_DAMAGED} (the asset {_shown(asset.filename)} is missing)")
        if not inside or not path.is_file():
            yield f"an asset that isn't a file in `assets`, {_shown(asset.filename)}"


# Operations ---------------------------------------------------------------------------------------


def _in_names(functions: Iterable[function_pb2.FunctionDef]) -> Iterator[str]:
    seen = set()
    for function in functions:
        name = function.signature.name
        # Its name would let a node pass as a call that runs the operation.
        if tensorflow_graphs.knows(name):
            yield f"a function that is named as an operation, {_shown(name)}"
        # Only one of them would be looked at.
        if name in seen:
            yield f"two functions of one name, {_shown(name)}"
        seen.add(name)


def _in_graph(calls: "savers.Calls") -> Iterator[str]:
    unknown = calls.callers.keys() - calls.functions.keys()
    if unknown:
        yield f"a call of a function that isn't in the file, {_shown(min(unknown))}"
    assets, allowed, found = _Assets(calls), _allowed(), calls.savers()
    for where, nodes in calls.bodies:
        if where in found:
            foreign = savers.foreign(calls.functions[where])
            yield from (_operation(node, where) for node in foreign)
            continue
        for node in nodes:
            if node.op in allowed or node.op in calls.functions:
                if _holds_handle(node):
                    yield f"a handle as a constant, in {_operation(node, where)}"
            elif node.op != _TABLE_FROM_FILE or not assets.fill(node, where):
                yield _operation(node, where)


def _operation(node: node_def_pb2.NodeDef, where: str | None) -> str:
    if not tensorflow_graphs.knows(node.op):
        raise _Unusable(
            f"it needs an op that this TensorFlow and tensorflow-text lack, {_shown(node.op)}; "
            "install their package, or convert it again if its files may be damaged"
        )
    place = "the main graph" if where is None else f"the function {_shown(where)}"
    return f"the operation `{node.op}` in {place}"


def _holds_handle(node: node_def_pb2.NodeDef) -> bool:
    if node.op == "Const":
        return node.attr["value"].tensor.dtype in _HANDLES
    return node.op in _FROM_BYTES and any(a.type in _HANDLES for a in node.attr.values())


def _shown(name: str) -> str:
    """A name out of the file, without what a terminal would obey."""
    return repr(name if len(name) <= _MOST_SHOWN else name[:_MOST_SHOWN] + "...")


# Tables -------------------------------------------------------------------------------------------


class _Assets:
    """Which tensors are the paths of assets, wherever they come from."""

    def __init__(self, calls: "savers.Calls") -> None:
        self.calls = calls
        self.names = {asset.tensor_info.name.split(":")[0] for asset in calls.meta.asset_file_def}
        self._known: dict[tuple[str, str], bool] = {}

    def fill(self, table: node_def_pb2.NodeDef, where: str | None) -> bool:
        """Whether the file of a table is an asset in every call of the function that it is in."""
        ref = table.input[_FILE_INPUT]
        return self._has(ref) if where is None else self._is_given(ref, where, 0)

    def _is_given(self, ref: str, where: str, depth: int) -> bool:
        """Whether a tensor of a function is an argument, and an asset in each call of it."""
        # What calls itself is not known yet, and that counts as no.
        if (where, ref) not in self._known:
            self._known[where, ref] = False
            self._known[where, ref] = self._looked_up(ref, where, depth)
        return self._known[where, ref]

    def _looked_up(self, ref: str, where: str, depth: int) -> bool:
        signature = self.calls.functions[where].signature
        arguments = [a.name for a in signature.input_arg]
        # An argument that is a list takes several inputs, and those behind it move.
        lists = any(a.number_attr or a.type_list_attr for a in signature.input_arg)
        if ref not in arguments or lists or depth > _MOST_CALLS:
            return False
        at = arguments.index(ref)
        return self._is_bound(where, at - len(arguments)) and all(
            # Other operations that call functions, as `If`, have inputs of their own before.
            node is not None
            and (node.op in _CALLS or node.op == where)
            and (
                self._has(node.input[at])
                if caller is None
                else self._is_given(node.input[at], caller, depth + 1)
            )
            for caller, node in self.calls.callers[where]
        )

    def _is_bound(self, name: str, from_end: int) -> bool:
        """Whether Python gives an asset to an argument, if it can call the function at all."""
        objects = self.calls.meta.object_graph_def
        if name not in self.calls.exported:
            return True
        if name not in objects.concrete_functions:
            return False
        bound = objects.concrete_functions[name].bound_inputs
        given = len(bound) + from_end
        return given >= 0 and objects.nodes[bound[given]].WhichOneof("kind") == "asset"

    def _has(self, ref: str) -> bool:
        """Whether a tensor of the main graph is an asset, or read from a variable of only such."""
        main = self.calls.main
        node = main.get(ref.split(":")[0])
        if node is None or node.op != "ReadVariableOp":
            return node is not None and node.name in self.names
        variable = main.get(node.input[0])
        if variable is None or variable.op != "VarHandleOp":
            return False
        users = [n for n in main.values() if variable.name in (i.split(":")[0] for i in n.input)]
        written = {n.input[1].split(":")[0] for n in users if n.op == "AssignVariableOp"}
        only = all(n.op in _USES_OF_VARIABLES for n in users)
        return only and bool(written) and written <= self.names
