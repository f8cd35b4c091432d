"""SavedModels that would do harm, each in one way: what `safety` has to refuse.

Most are text encoders, strings `[n]` -> `[n, 2]`, with something between; the rest are genuine ones
with a line of their protocol buffer changed. What they do is harmless: they write, or read, one
file, the canary.
"""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import tensorflow as tf
from saved_model_factory import Tracked, write_text_encoder
from tensorflow.core.protobuf import saved_model_pb2

CHANGED = "written by the model"


# --- what a traced function does ----------------------------------------------------------------


def _write(path: str, texts: tf.Tensor) -> tf.Tensor:
    tf.io.write_file(path, CHANGED)
    return texts


def _write_in_a_called_function(path: str, texts: tf.Tensor) -> tf.Tensor:
    inner = tf.function(lambda given: _write(path, given), autograph=False)
    return tf.function(lambda given: inner(given), autograph=False)(texts)


def _write_behind_a_control_dependency(path: str, texts: tf.Tensor) -> tf.Tensor:
    with tf.control_dependencies([tf.io.write_file(path, CHANGED)]):
        return tf.identity(texts)


def _write_in_a_loop(path: str, texts: tf.Tensor) -> tf.Tensor:
    def body(i: tf.Tensor) -> tuple[tf.Tensor]:
        tf.io.write_file(path, CHANGED)
        return (i + 1,)

    tf.while_loop(lambda i: i < tf.size(texts), body, [tf.constant(0)])
    return texts


def _write_in_a_branch(path: str, texts: tf.Tensor) -> tf.Tensor:
    return tf.cond(tf.size(texts) > 0, lambda: _write(path, texts), lambda: texts)


def _read_file(path: str, texts: tf.Tensor) -> tf.Tensor:
    return texts + tf.io.read_file(path)


def _matching_files(path: str, texts: tf.Tensor) -> tf.Tensor:
    return texts + tf.strings.reduce_join(tf.io.matching_files(path + "*"))


def _python(path: str, texts: tf.Tensor) -> tf.Tensor:
    def change(given: Any) -> Any:
        Path(path).write_text(CHANGED)
        return given

    return tf.ensure_shape(tf.numpy_function(change, [texts], tf.string), [None])


def _eager_python(path: str, texts: tf.Tensor) -> tf.Tensor:
    def change(given: Any) -> Any:
        Path(path).write_text(CHANGED)
        return given

    return tf.ensure_shape(tf.py_function(change, [texts], tf.string), [None])


def _print_to_a_file(path: str, texts: tf.Tensor) -> tf.Tensor:
    tf.print(CHANGED, output_stream=f"file://{path}")
    return texts


def _debug(path: str, texts: tf.Tensor) -> tf.Tensor:
    return tf.raw_ops.DebugIdentity(input=texts, tensor_name="t:0", debug_urls=[f"file://{path}"])


def _dump(path: str, texts: tf.Tensor) -> tf.Tensor:
    writer = tf.raw_ops.SummaryWriter(shared_name="w")
    tf.raw_ops.CreateSummaryFileWriter(
        writer=writer, logdir=path, max_queue=1, flush_millis=1, filename_suffix=""
    )
    return texts


def _abort(path: str, texts: tf.Tensor) -> tf.Tensor:
    tf.raw_ops.Abort(error_msg=CHANGED)
    return texts


def _map_memory(path: str, texts: tf.Tensor) -> tf.Tensor:
    mapped = tf.raw_ops.ImmutableConst(dtype=tf.uint8, shape=[1], memory_region_name=path)
    return texts + tf.strings.as_string(mapped[0])


def _dataset(path: str, texts: tf.Tensor) -> tf.Tensor:
    lines = tf.data.TextLineDataset(path)
    return texts + lines.reduce(tf.constant(""), lambda joined, line: joined + line)


def _save(path: str, texts: tf.Tensor) -> tf.Tensor:
    tf.raw_ops.SaveV2(prefix=path, tensor_names=["t"], shape_and_slices=[""], tensors=[texts])
    return texts


def _restore(path: str, texts: tf.Tensor) -> tf.Tensor:
    found = tf.raw_ops.RestoreV2(
        prefix=path, tensor_names=["t"], shape_and_slices=[""], dtypes=[tf.string]
    )
    return texts + tf.strings.reduce_join(found[0])


def _foreign_handle(path: str, texts: tf.Tensor) -> tf.Tensor:
    handle = tf.raw_ops.ParseTensor(serialized=tf.constant(b""), out_type=tf.resource)
    value = tf.raw_ops.ReadVariableOp(resource=handle, dtype=tf.string)
    return texts + tf.reshape(value, [])


TRACED: dict[str, tuple[Callable[[str, tf.Tensor], tf.Tensor], str]] = {
    "WriteFile in the call": (_write, "`WriteFile` in the function"),
    "WriteFile in a called function": (_write_in_a_called_function, "`WriteFile`"),
    "WriteFile behind a control dependency": (_write_behind_a_control_dependency, "`WriteFile`"),
    "WriteFile in a loop's body": (_write_in_a_loop, "`WriteFile`"),
    "WriteFile in a branch": (_write_in_a_branch, "`WriteFile`"),
    "ReadFile reaches the output": (_read_file, "`ReadFile`"),
    "MatchingFiles": (_matching_files, "`MatchingFiles`"),
    "PyFunc": (_python, "`PyFunc`"),
    "EagerPyFunc": (_eager_python, "`EagerPyFunc`"),
    "PrintV2 into a file": (_print_to_a_file, "`PrintV2`"),
    "DebugIdentity": (_debug, "`DebugIdentity`"),
    "a writer of summaries": (_dump, "`SummaryWriter`|`CreateSummaryFileWriter`"),
    "Abort": (_abort, "`Abort`"),
    "ImmutableConst": (_map_memory, "`ImmutableConst`"),
    "a data pipeline over a file": (_dataset, "Dataset`"),
    "SaveV2 in the call": (_save, "`SaveV2`"),
    "RestoreV2 in the call": (_restore, "`RestoreV2`"),
    "a handle made of bytes": (_foreign_handle, "a handle as a constant.*`ParseTensor`"),
}


def _encoder(act: Callable[[tf.Tensor], tf.Tensor]) -> Tracked:
    """An encoder that acts on its texts first: two numbers a text, its length and a weight."""
    root = Tracked()
    root.weight = tf.Variable([1.0])
    root.variables = root.trainable_variables = [root.weight]

    def call(texts: tf.Tensor) -> tf.Tensor:
        length = tf.cast(tf.strings.length(act(texts)), tf.float32)
        return tf.stack([length, tf.ones_like(length) * root.weight], axis=1)

    strings = [tf.TensorSpec([None], tf.string)]
    root.__call__ = tf.function(call, strings, autograph=False)
    return root


# --- what is written otherwise ------------------------------------------------------------------


def _initializer(folder: Path, canary: Path) -> None:
    class Initializer(tf.lookup.KeyValueTensorInitializer):
        """Runs when the model is loaded."""

        def initialize(self, table: Any) -> Any:
            tf.io.write_file(str(canary), CHANGED)
            return super().initialize(table)

    root = _encoder(lambda texts: texts + tf.strings.as_string(root.table.lookup(texts)))
    keys = Initializer(["a"], [1], tf.string, tf.int64)
    root.table = tf.lookup.StaticHashTable(keys, 0)
    canary.unlink()  # the table was filled here, too
    tf.saved_model.save(root, str(folder))


def _gradient(folder: Path, canary: Path) -> None:
    @tf.custom_gradient
    def scaled(x: tf.Tensor) -> Any:
        def gradient(upstream: tf.Tensor) -> tf.Tensor:
            with tf.control_dependencies([tf.io.write_file(str(canary), CHANGED)]):
                return tf.identity(upstream)

        return x * 2.0, gradient

    root = _encoder(lambda texts: texts)
    root.scaled = tf.function(scaled, [tf.TensorSpec([], tf.float32)], autograph=False)
    options = tf.saved_model.SaveOptions(experimental_custom_gradients=True)
    tf.saved_model.save(root, str(folder), options=options)


# --- what is changed in a genuine file -----------------------------------------------------------


def change(folder: Path, by: Callable[[Any], None]) -> None:
    """Changes the `SavedModel` of a folder."""
    path = folder / "saved_model.pb"
    model = saved_model_pb2.SavedModel.FromString(path.read_bytes())
    by(model)
    path.write_bytes(model.SerializeToString())


def function_with(meta: Any, operation: str) -> Any:
    """The first function of a graph that holds an operation."""
    library = meta.graph_def.library.function
    return next(f for f in library if any(n.op == operation for n in f.node_def))


def _node(function: Any, operation: str) -> Any:
    return next(node for node in function.node_def if node.op == operation)


def _constant(function: Any, name: str, value: str) -> str:
    node = function.node_def.add(name=name, op="Const")
    node.attr["dtype"].type = tf.string.as_datatype_enum
    node.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(value))
    return f"{name}:output:0"


def _table_from_elsewhere(model: Any, canary: Path) -> None:
    function = function_with(model.meta_graphs[0], "InitializeTableFromTextFileV2")
    node = _node(function, "InitializeTableFromTextFileV2")
    node.input[1] = _constant(function, "elsewhere", str(canary))


def _table_through_a_branch(model: Any, canary: Path) -> None:
    """The initializer as a branch of `If`, whose inputs start one later than those of a call.

    A string that isn't empty is true: the asset takes the place of the condition.
    """
    meta = model.meta_graphs[0]
    function = function_with(meta, "InitializeTableFromTextFileV2")
    [caller] = [n for n in meta.graph_def.node if n.attr["f"].func.name == function.signature.name]
    elsewhere = meta.graph_def.node.add(name="elsewhere", op="Const")
    elsewhere.attr["dtype"].type = tf.string.as_datatype_enum
    elsewhere.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(str(canary)))
    caller.op = "If"
    caller.input.insert(1, "elsewhere")
    for branch in ("then_branch", "else_branch"):
        caller.attr[branch].func.name = function.signature.name
    del caller.attr["f"]


def _table_behind_a_list(model: Any, canary: Path) -> None:
    """The initializer's file as its second argument, and as the first a list of two."""
    meta = model.meta_graphs[0]
    function = function_with(meta, "InitializeTableFromTextFileV2")
    [caller] = [n for n in meta.graph_def.node if n.attr["f"].func.name == function.signature.name]
    asset = caller.input[0]
    first = function.signature.input_arg[0]
    listed = type(first)(name="listed", type=first.type, number_attr="N")
    function.signature.input_arg.insert(0, listed)
    elsewhere = meta.graph_def.node.add(name="elsewhere", op="Const")
    elsewhere.attr["dtype"].type = tf.string.as_datatype_enum
    elsewhere.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(str(canary)))
    caller.attr["f"].func.attr["N"].i = 2
    caller.input[:1] = [asset, asset, "elsewhere"]


def _saver(model: Any) -> Any:
    return function_with(model.meta_graphs[0], "SaveV2")


def _write_in_the_saver(model: Any, canary: Path) -> None:
    saver = _saver(model)
    node = saver.node_def.add(name="write", op="WriteFile")
    node.input.extend([_constant(saver, "a", str(canary)), _constant(saver, "b", CHANGED)])


def _saver_of_one_file(model: Any, canary: Path) -> None:
    saver = _saver(model)
    _node(saver, "SaveV2").input[0] = _constant(saver, "a", str(canary))


def _saver_that_is_called(model: Any, canary: Path) -> None:
    name = _saver(model).signature.name
    function = function_with(model.meta_graphs[0], "StaticRegexReplace")
    node = function.node_def.add(name="save", op="StatefulPartitionedCall")
    node.attr["f"].func.name = name


def _saver_that_is_offered(model: Any, canary: Path) -> None:
    node = model.meta_graphs[0].object_graph_def.nodes.add()
    node.bare_concrete_function.concrete_function_name = _saver(model).signature.name


def _saver_fed_by_the_file(model: Any, canary: Path) -> None:
    meta = model.meta_graphs[0]
    name = meta.saver_def.filename_tensor_name.split(":")[0]
    node = next(n for n in meta.graph_def.node if n.name == name)
    node.op = "Const"
    node.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(str(canary)))


def _two_graphs(model: Any, canary: Path) -> None:
    model.meta_graphs.add().CopyFrom(model.meta_graphs[0])


def _no_objects(model: Any, canary: Path) -> None:
    model.meta_graphs[0].ClearField("object_graph_def")


def _named_as_an_operation(model: Any, canary: Path) -> None:
    model.meta_graphs[0].graph_def.library.function.add().signature.name = "AddV2"


def _two_of_one_name(model: Any, canary: Path) -> None:
    functions = model.meta_graphs[0].graph_def.library.function
    functions.add().CopyFrom(functions[0])


def _foreign_function(model: Any, canary: Path) -> None:
    function = function_with(model.meta_graphs[0], "StaticRegexReplace")
    node = function.node_def.add(name="call", op="StatefulPartitionedCall")
    node.attr["f"].func.name = "of_another_model"


def _listen(model: Any, canary: Path) -> None:
    function_with(model.meta_graphs[0], "StaticRegexReplace").node_def.add(name="s", op="RpcServer")


def _in_the_main_graph(model: Any, canary: Path) -> None:
    model.meta_graphs[0].graph_def.node.add(name="read", op="ReadFile")


def _constant_handle(model: Any, canary: Path) -> None:
    function = function_with(model.meta_graphs[0], "StaticRegexReplace")
    node = function.node_def.add(name="handle", op="Const")
    node.attr["dtype"].type = node.attr["value"].tensor.dtype = tf.resource.as_datatype_enum


def _asset_elsewhere(model: Any, canary: Path) -> None:
    model.meta_graphs[0].asset_file_def[0].filename = f"../../{canary.name}"


def _asset_at_the_root(model: Any, canary: Path) -> None:
    model.meta_graphs[0].asset_file_def[0].filename = str(canary)


CHANGED_FILES: dict[str, tuple[Callable[[Any, Path], None], str]] = {
    "a table from a file that is no asset": (
        _table_from_elsewhere,
        "`InitializeTableFromTextFileV2`",
    ),
    "a table by way of a branch": (_table_through_a_branch, "`InitializeTableFromTextFileV2`"),
    "a table behind a list": (_table_behind_a_list, "`InitializeTableFromTextFileV2`"),
    "a saver that writes another file": (_write_in_the_saver, "`WriteFile`"),
    "a saver of one file": (_saver_of_one_file, "`SaveV2`"),
    "a saver that the model calls": (
        _saver_that_is_called,
        "`SaveV2`|`MergeV2Checkpoints`|`RestoreV2`",
    ),
    "a saver that Python can call": (_saver_that_is_offered, "`SaveV2`|`MergeV2Checkpoints`"),
    "a saver fed by the file": (
        _saver_fed_by_the_file,
        "`SaveV2`|`MergeV2Checkpoints`|`RestoreV2`",
    ),
    "two graphs": (_two_graphs, "it holds 2 graphs, expected one"),
    "no objects, the old way of loading": (_no_objects, "made for TensorFlow 1"),
    "a function named as an operation": (_named_as_an_operation, "named as an operation, 'AddV2'"),
    "two functions of one name": (_two_of_one_name, "two functions of one name"),
    "a function of another model": (_foreign_function, "isn't in the file, 'of_another_model'"),
    "RpcServer": (_listen, "`RpcServer`"),
    "ReadFile in the main graph": (_in_the_main_graph, "`ReadFile` in the main graph"),
    "a handle as a constant": (_constant_handle, "a handle as a constant"),
    "an asset above the folder": (_asset_elsewhere, "an asset that isn't a file in `assets`"),
    "an asset by its whole path": (_asset_at_the_root, "an asset that isn't a file in `assets`"),
}


# --- what is about the folder --------------------------------------------------------------------


def _linked_asset(folder: Path, canary: Path) -> None:
    [asset] = (folder / "assets").iterdir()
    asset.unlink()
    asset.symlink_to(canary)


def _linked_folder(folder: Path, canary: Path) -> None:
    (folder / "variables").rename(canary.parent / "variables")
    (folder / "variables").symlink_to(canary.parent / "variables")


def _second_graph(folder: Path, canary: Path) -> None:
    (folder / "saved_model.pbtxt").write_text("")


CHANGED_FOLDERS: dict[str, tuple[Callable[[Path, Path], None], str]] = {
    "an asset that is a link": (_linked_asset, "a link that leads out of its folder, 'assets/"),
    "weights that are a link": (_linked_folder, "a link that leads out of its folder, 'variables'"),
    "a second graph as text": (_second_graph, "another graph, saved_model.pbtxt"),
}

_WRITTEN: dict[str, tuple[Callable[[Path, Path], None], str]] = {
    "WriteFile in an initializer": (_initializer, "`WriteFile`"),
    "WriteFile in a gradient": (_gradient, "`WriteFile`"),
}

#: Every kind, and what the refusal has to say (a regular expression).
KINDS: dict[str, str] = {
    name: message
    for kinds in (TRACED, _WRITTEN, CHANGED_FILES, CHANGED_FOLDERS)
    for name, (_, message) in kinds.items()  # type: ignore[attr-defined]
}


def write(kind: str, folder: Path, genuine: Path | None = None) -> Path:
    """Writes the model of a kind into `folder / "model"`, with its canary beside.

    Args:
        kind: One of `KINDS`.
        folder: An existing empty folder.
        genuine: A text encoder to be changed; one is written if not given.

    Returns:
        The canary, a file; `folder / "model"` is the SavedModel.
    """
    model, canary = folder / "model", folder / "canary"
    canary.write_text("untouched\n")
    if kind in TRACED:
        act = TRACED[kind][0]
        tf.saved_model.save(_encoder(lambda texts: act(str(canary), texts)), str(model))
    elif kind in _WRITTEN:
        _WRITTEN[kind][0](model, canary)
    else:
        if genuine is None:
            write_text_encoder(model)
        else:
            shutil.copytree(genuine, model)
        if kind in CHANGED_FILES:
            change(model, lambda read: CHANGED_FILES[kind][0](read, canary))
        else:
            CHANGED_FOLDERS[kind][0](model, canary)
    canary.write_text("untouched\n")
    return canary
