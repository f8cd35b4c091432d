"""A SavedModel from disk to a callable of known dialect, and its graph back to disk."""

import contextlib
import json
import math
import re
import shutil
import weakref
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol, TypeAlias

import keras
import numpy as np
import tensorflow as tf
import tensorflow_text  # noqa: F401  registers the ops that text SavedModels are made of

from tfhub_transfer.encoders import calls
from tfhub_transfer.encoders.recorded import OutputShape
from tfhub_transfer.errors import InputError
from tfhub_transfer.graphs import randomness, rewriting, safety, surgery
from tfhub_transfer.graphs.safety import SavedObject
from tfhub_transfer.incoming import choices
from tfhub_transfer.private import tensorflow_graphs
from tfhub_transfer.storage import atomic, marks, opening, records
from tfhub_transfer.storage.scratch import new_temporary, temporary

# What a folder says of its encoder, to be written as JSON.
Facts: TypeAlias = dict[str, object]

BERT_INPUTS = calls.BERT_INPUTS
# Of models that give a tuple, as the first versions of TF Hub had it.
LIST_OUTPUTS = ("pooled_output", "sequence_output")

_CHECKPOINT = "variables/variables"
_FACTS = "tfhub_transfer.json"
# In the folder of a graph whose weights are elsewhere, of which the stub has one.
_GRAPH_ALONE = "weights_are_in_the_model_file"
_VALUE = "/.ATTRIBUTES/VARIABLE_VALUE"
_SLOT = "/.OPTIMIZER_SLOT/"
# How "/" and "." are spelled inside of an attribute's name.
_ESCAPED = re.compile(r"\.([S.])")


class Functions:
    """The callable of a SavedModel, with its dialect and the differences of its versions."""

    def __init__(self, loaded: SavedObject, folder: Path) -> None:
        call = getattr(loaded, "__call__", None)  # noqa: B004  it is saved functions
        functions = list(getattr(call, "concrete_functions", None) or [])
        if not functions:
            raise InputError(_why_not_callable(loaded, folder))
        self._call: tf.types.experimental.PolymorphicFunction = call
        # Any of them will do: what was saved of one call differs in `training` alone.
        arguments, keywords = functions[0].structured_input_signature
        self._takes_training = any(_mentions_training(f) for f in functions)
        inputs = arguments[0] if arguments else next(iter(keywords.values()), None)
        self.dialect, self._style = _dialect(inputs, folder)
        self.outputs = _output_shapes(functions[0].structured_outputs, self.dialect, folder)
        self.captured = {id(v) for f in functions for v in f.graph.variables}

    def __call__(self, inputs: calls.Inputs, training: bool) -> calls.Outputs:
        return self._ask(self._call, inputs, training)

    def answer(self, inputs: calls.Inputs) -> calls.Outputs:
        """As calling it for inference, outside of any graph, in half the time at the first call.

        TensorFlow makes another function around the saved one, for each shape of the inputs.
        """
        for function in self._call.concrete_functions:
            # Called as it is, it would take rows of any number.
            specs = tf.nest.flatten(function.structured_input_signature)
            wanted = [spec for spec in specs if isinstance(spec, tf.TensorSpec)]
            if not all(map(tf.TensorSpec.is_compatible_with, wanted, tf.nest.flatten(inputs))):
                continue
            with contextlib.suppress(TypeError):  # as one for training says
                return self._ask(function, inputs, False)
        return self(inputs, False)

    def _ask(
        self, call: Callable[..., object], inputs: calls.Inputs, training: bool
    ) -> calls.Outputs:
        if self.dialect == "bert":
            # Three and int32: a SavedModel takes nothing else.
            ids = {key: tf.cast(inputs[key], tf.int32) for key in BERT_INPUTS}
            inputs = ids if self._style == "dict" else list(ids.values())
        result = call(inputs, training=training) if self._takes_training else call(inputs)
        return {key: value for key, value in _named(result).items() if key in self.outputs}

    def flatten(self, training: bool, variables: Sequence[tf.Variable]) -> surgery.FlatGraph:
        """The call as a flat graph, in forms that TensorFlow fuses; for the BERT dialect.

        Raises:
            surgery.NotFlat: If it can't be written so.
        """
        ids = {key: tf.TensorSpec([None, None], tf.int32) for key in BERT_INPUTS}
        flat = surgery.flatten(lambda inputs: self(inputs, training), ids, variables)
        flat.rewrites.update({**rewriting.find(flat), **randomness.find(flat)})
        return flat


def load(
    folder: Path, existing: list[tf.Variable] | None = None, trust_code: bool = False
) -> tuple[SavedObject, list[tf.Variable]]:
    """Loads a SavedModel and lists its variables in order of creation.

    Args:
        folder: The SavedModel's folder.
        existing: Variables to bind the graph to instead of new ones: the loader asks for them in
            the same order each time, and only a stub of a checkpoint is read.
        trust_code: Whether it may hold operations that do more than compute; see `safety`.

    Raises:
        InputError: If it may not be loaded, or TensorFlow can't load it.
    """
    created: list[tf.Variable] = []

    def creator(next_creator: Callable[..., tf.Variable], **kwargs: object) -> tf.Variable:
        variable = next_creator(**kwargs) if existing is None else existing[len(created)]
        if not variable.shape.is_compatible_with(kwargs.get("shape")):
            raise ValueError(f"a variable of shape {kwargs['shape']}, not {variable.shape}")
        wanted = tf.as_dtype(kwargs.get("dtype") or variable.dtype)
        if wanted != variable.dtype:
            raise ValueError(f"a variable of {wanted.name}, not {variable.dtype.name}")
        created.append(variable)
        return variable

    opening.require_all(folder)
    _require_stored(folder)
    if existing is None and (folder / _GRAPH_ALONE).exists():
        raise InputError(
            "these are the files of an encoder that came out of a `.keras` file, and its weights "
            "are in that: give the file, the encoder itself, or the folder that "
            f"`tt.load_model(file).encoder.save(folder)` writes. Received: {folder}"
        )

    # Where there are no variables there is no stub either, and nothing that would be left out.
    options = tf.saved_model.LoadOptions(allow_partial_checkpoint=bool(existing))
    seeded = new_temporary()
    try:
        with tf.variable_creator_scope(creator):
            copy = _seeded(folder, seeded.new)
            loaded = safety.load_checked(folder, trust_code, options, copy)
    except Exception as error:  # TensorFlow raises a dozen kinds here, all meaning "unusable"
        seeded.discard()
        if isinstance(error, InputError):
            raise
        raise InputError(_why_not_loadable(error, folder)) from error
    # The loaded object names its assets by their paths, so the folder lives as long as it does.
    weakref.finalize(loaded, seeded.discard)
    return loaded, created


def _require_stored(folder: Path) -> None:
    """Refuses weights whose index asks for more memory than their files hold numbers."""
    if not (folder / f"{_CHECKPOINT}.index").is_file():
        return  # as of a model without variables; what else is missing, the loader says
    try:
        reader = tf.train.load_checkpoint(str(folder / _CHECKPOINT))
        types = reader.get_variable_to_dtype_map()
        wanted = sum(
            math.prod(shape) * types[key].size
            for key, shape in reader.get_variable_to_shape_map().items()
            # Of strings the index doesn't tell how long they are.
            if types[key].is_floating or types[key].is_integer or types[key].is_bool
        )
    except Exception as error:  # of TensorFlow, of several kinds
        raise InputError(_why_not_loadable(error, folder)) from error
    found = sum(path.stat().st_size for path in (folder / "variables").glob("*.data-*"))
    if wanted > found:
        reason = ValueError(f"{found} bytes of weights, where their index says {wanted}")
        raise InputError(_why_not_loadable(reason, folder))


def _seeded(folder: Path, copy: Path) -> Path:
    """The SavedModel itself, or a seeded copy, if `tf.random.set_seed` was called."""
    seed = tf.compat.v1.random.get_seed(None)[0]
    return copy if seed is not None and surgery.write_seeded(folder, copy, seed) else folder


def _why_not_loadable(error: Exception, folder: Path) -> str:
    reason = " ".join(str(error).split())
    if "not registered" in reason:
        hint = "it needs an op that this TensorFlow and tensorflow-text lack; install their package"
    elif (folder / "tfhub_module.pb").exists():
        hint = "it is a TF1 Hub module; use a TF2 SavedModel"
    else:
        hint = "its files are damaged or incomplete; download or convert it again"
    return f"the SavedModel can't be loaded: {hint}. Received: {folder} ({reason[:200]})"


def _why_not_callable(loaded: SavedObject, folder: Path) -> str:
    if (folder / "tfhub_module.pb").exists() or hasattr(loaded, "graph"):
        what = "it was made for TensorFlow 1 (a TF1 Hub module or a signatures-only model)"
    else:
        what = "it has no `__call__` with saved signatures"
    return (
        f"the SavedModel isn't a usable encoder: {what}; expected a TF2 text encoder from TF Hub, "
        f"or one made by `tfhub-transfer convert`. Received: {folder}"
    )


def _mentions_training(function: tf.types.experimental.ConcreteFunction) -> bool:
    arguments, keywords = function.structured_input_signature
    return "training" in keywords or len(arguments) > 1 or _has_argument(function, "training")


def _has_argument(function: tf.types.experimental.ConcreteFunction, name: str) -> bool:
    names = getattr(getattr(function, "function_type", None), "parameters", {})
    return name in names


def _dialect(inputs: object, folder: Path) -> tuple[str, str]:
    flat = keras.tree.flatten(inputs)
    if isinstance(inputs, dict) and set(inputs) == set(BERT_INPUTS):
        return "bert", "dict"
    if isinstance(inputs, (list, tuple)) and len(flat) == 3:
        return "bert", "list"
    if len(flat) == 1 and getattr(flat[0], "dtype", None) == tf.string:
        return "text", "string"
    raise InputError(
        "the SavedModel isn't a text encoder: expected one string input, or the three of BERT "
        f"({', '.join(BERT_INPUTS)}). Received: {folder} which takes {inputs}"
    )


def _named(result: object) -> calls.Outputs:
    if isinstance(result, dict):
        return dict(result)
    if isinstance(result, (list, tuple)):
        return dict(zip(LIST_OUTPUTS, result))
    return {"default": result}


def _output_shapes(result: object, dialect: str, folder: Path) -> dict[str, OutputShape]:
    """Records what a call returns as JSON: `[length?, dimension]` of each float output."""
    shapes: dict[str, OutputShape] = {}
    for key, value in _named(result).items():
        flat = keras.tree.flatten(value)
        if not flat or any(t.dtype != tf.float32 or t.shape.rank not in (2, 3) for t in flat):
            continue
        dims = [[None] * (t.shape.rank - 2) + [t.shape[-1]] for t in flat]
        shapes[key] = dims if isinstance(value, (list, tuple)) else dims[0]
    if set(BERT_INPUTS) <= set(_named(result)):
        raise InputError(
            "the SavedModel is a preprocessor, which makes ids of texts; give it as `preprocessor` "
            f"(`--preprocessor`) and an encoder beside it. Received: {folder}"
        )
    if shapes.get("default") == [1]:
        raise InputError(
            "the SavedModel is no encoder: it gives one number for each text, as a finished "
            f"classifier does; give the encoder that it was made of. Received: {folder}"
        )
    needed = "default" if dialect == "text" else "pooled_output"
    if needed not in shapes and "sequence_output" not in shapes:
        raise InputError(
            f"the SavedModel isn't a usable encoder: it gives no `{needed}` of known width; "
            f"expected a float vector for each text. Received: {folder}, giving {sorted(shapes)}"
        )
    return shapes


def copy_graph(source: Path, target: Path) -> None:
    """Copies a SavedModel without its weights: graph, assets, and a stub of a checkpoint.

    Args:
        source: The SavedModel's folder.
        target: An existing folder.
    """
    for name in ("saved_model.pb", "fingerprint.pb", _FACTS):
        if (source / name).exists():
            shutil.copy2(source / name, target / name)
    if (source / "assets").is_dir():
        shutil.copytree(source / "assets", target / "assets", dirs_exist_ok=True)
    if (source / f"{_CHECKPOINT}.index").is_file():
        (target / "variables").mkdir(exist_ok=True)
        _write_stub(source / "variables", target / "variables")


def mark_graph(folder: Path) -> None:
    """Notes of a folder that `copy_graph` wrote that it is no encoder by itself.

    Args:
        folder: The folder.
    """
    (folder / _GRAPH_ALONE).touch()


class _Tuned(Protocol):
    """What is asked of an `Encoder` that is to be written as a SavedModel."""

    handle: str
    write_preprocessor: Callable[[Path], Mapping[str, object]] | None

    @property
    def folder(self) -> Path: ...
    @property
    def saved_model(self) -> SavedObject: ...
    @property
    def dialect(self) -> str: ...
    @property
    def dimension(self) -> int: ...
    @property
    def output_names(self) -> tuple[str, ...]: ...
    @property
    def do_lower_case(self) -> bool | None: ...


def save(
    encoder: _Tuned, folder: str | Path, preprocessor: Path | None, overwrite: bool = False
) -> None:
    """Writes a SavedModel with the weights that an encoder has now, as a whole folder.

    Args:
        encoder: An `Encoder`.
        folder: The folder to write.
        preprocessor: The folder of its preprocessor, if no model gave it one.
        overwrite: Whether a folder there that this package wrote is replaced.

    Raises:
        InputError: If it can't be written, or would replace what this package didn't write.
    """
    source = encoder.folder
    overwrite = choices.flag("overwrite", overwrite)
    with atomic.part(opening.path_of(folder), overwrite) as scratch:
        copy_graph(source, scratch)
        # Its stub is enough where the weights go another way; here they follow.
        shutil.rmtree(scratch / "variables", ignore_errors=True)
        tf.train.Checkpoint(root=encoder.saved_model).write(str(scratch / _CHECKPOINT))
        beside = scratch / "preprocessor"
        case: Mapping[str, object] = {"lower_case": encoder.do_lower_case}
        if encoder.write_preprocessor is not None:
            case = encoder.write_preprocessor(beside)
        elif preprocessor is not None:
            # A mark is of the folder that was written as a whole, which is the encoder's here.
            shutil.copytree(preprocessor, beside, ignore=shutil.ignore_patterns(marks.MARK))
        facts = _facts(encoder, source, case)
        (scratch / _FACTS).write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")


def _facts(encoder: _Tuned, source: Path, case: Mapping[str, object]) -> Facts:
    """What is to be known of a tuned encoder; what was measured of the one before isn't its own."""
    known = records.read(source / _FACTS) if (source / _FACTS).exists() else {}
    kept: Facts = {key: known[key] for key in ("layers", "language") if key in known}
    if encoder.write_preprocessor is None:
        own: Facts = {key: known[key] for key in ("lower_case", "strip_accents") if key in known}
        case = {**case, **own}
    made: Facts = {
        **kept,
        "dialect": encoder.dialect,
        "dimension": encoder.dimension,
        "outputs": list(encoder.output_names),
        **{key: value for key, value in case.items() if value is not None},
        "tuned_from": encoder.handle,
    }
    # Of one that was tuned again.
    return {**made, "tuned_before_from": known["tuned_from"]} if "tuned_from" in known else made


def require_copyable(folder: Path) -> None:
    """Refuses a SavedModel that no `.keras` file could hold, before anything is trained.

    Args:
        folder: The SavedModel's folder.

    Raises:
        InputError: If its graph can't be copied.
    """
    try:
        with temporary() as scratch:
            copy_graph(folder, scratch)
    except Exception as error:  # TensorFlow raises a dozen kinds here
        reason = " ".join(str(error).split())[:200]
        raise InputError(
            "the encoder can't be put into a `.keras` file, so what it learns would be lost; "
            "write it again by `tf.saved_model.save`, with its variables as attributes of the "
            f"object. Received: {folder} ({type(error).__name__}: {reason})"
        ) from error


def _write_stub(source: Path, target: Path) -> None:
    """Writes a checkpoint of the smallest variable alone: the loader wants at least one to match.

    A key of a checkpoint is the path of attributes from the root object to the variable. Without
    variables the checkpoint is copied as it is.
    """
    found = str(source / "variables")
    shapes = [
        (int(np.prod(shape)), key.removesuffix(_VALUE))
        for key, shape in tf.train.list_variables(found)
        if key.endswith(_VALUE) and _SLOT not in key
    ]
    if not shapes:
        shutil.copytree(source, target, dirs_exist_ok=True)
        return
    # A checkpoint of one object has another one of this name.
    usable = [(size, path) for size, path in shapes if path.split("/")[0] != "root"]
    if not usable:
        raise ValueError("its only variable is called `root`, which a checkpoint can't hold alone")
    path = min(usable)[1]
    node: tf.Variable = tf.Variable(tf.train.load_variable(found, path + _VALUE))
    for escaped in reversed(path.split("/")):
        # Not a `Checkpoint`, which has a `save_counter` of its own.
        parent = tensorflow_graphs.node()
        setattr(parent, _ESCAPED.sub(lambda m: "/" if m[1] == "S" else ".", escaped), node)
        node = parent
    tf.train.Checkpoint(node).write(str(target / "variables"))


def smallest(variables: Sequence[tf.Variable]) -> list[tf.Variable]:
    """The variables as small as the one in a stub, which loading the stub may overwrite."""
    least = min((int(np.prod(v.shape)) for v in variables), default=0)
    return [v for v in variables if int(np.prod(v.shape)) == least]
