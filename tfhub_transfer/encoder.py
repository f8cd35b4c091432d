"""A TF Hub text SavedModel as a trainable Keras 3 layer with layer groups that freeze and thaw.

The only file that knows the names of variables inside TF Hub models.
"""

import contextlib
import hashlib
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
import tensorflow_text  # noqa: F401  registers the ops that text SavedModels are made of

from tfhub_transfer import graph, registry, runtime
from tfhub_transfer.errors import InputError

BERT_INPUTS = ("input_word_ids", "input_mask", "input_type_ids")
LIST_OUTPUTS = ("pooled_output", "sequence_output")
CODE_POINTS = "code_points"

_CHECKPOINT = "variables/variables"
_VALUE = "/.ATTRIBUTES/VARIABLE_VALUE"

_LAYER = re.compile(r"(?:^|[/_])(?:layer|block|group)_?(\d+)(?:/|$)")
_POOLER = re.compile(r"pooler")
_EMBEDDINGS = re.compile(r"embedding")
_POSITIONS = re.compile(r"position_embedding")


@keras.saving.register_keras_serializable(package="tfhub_transfer")
class Encoder(keras.layers.Layer):
    """A TF Hub text encoder as a Keras layer: frozen, thawed by groups, or trained whole.

    The layer shares the variables of the loaded SavedModel, so nothing is copied and what the
    optimizer changes is what the graph computes with. Two dialects are understood, as laid down in
    TF Hub's common SavedModel APIs (https://www.tensorflow.org/hub/common_saved_model_apis/text):

    - BERT: `{"input_word_ids", "input_mask", "input_type_ids"}`, each int32 `[batch, length]`
      (or, in older models, the three as a list), to a dictionary with `pooled_output`
      `[batch, dimension]`, `sequence_output` `[batch, length, dimension]` and, where the model
      gives them, `encoder_outputs`, a list of one `[batch, length, dimension]` per layer.
    - text embedding: strings `[batch]`, or their Unicode code points as int32 `[batch, length]`
      padded with 0, to `{"default": [batch, dimension]}`.

    Args:
        handle: A packaged name, a folder, a TF Hub or Kaggle handle, or a Hugging Face folder.
        trainable: Whether all groups start thawed. `freeze_to` sets them one by one.
        name: The layer's name.
        dtype: The layer's dtype policy. The graph inside computes as it was saved; leave it.

    Raises:
        InputError: If what `handle` names isn't a usable encoder, or `trainable=True` and it holds
            no trainable variables.

    Example:

    >>> encoder = Encoder("auto")
    >>> encoder.freeze_to(-1)  # all but the top group frozen
    >>> [name for name, _ in encoder.layer_groups]
    ['embeddings']
    """

    def __init__(
        self,
        handle: str,
        trainable: bool = False,
        name: str | None = None,
        dtype: Any = "float32",
        _spec: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(name=name or "encoder", dtype=dtype)
        self.handle = str(handle)
        self._left_out: tuple[str, ...] = ()
        self._folder: Path | None = None
        self._loaded: Any = None
        if _spec is None:
            self._load_from_handle()
        else:
            self._make_weights(_spec)
        self.built = True
        self._set_trainable(trainable)

    # Loading ---------------------------------------------------------------------------------

    def _load_from_handle(self) -> None:
        self._folder = registry.resolve(self.handle)
        self._loaded, variables = _load(self._folder)
        self._functions = _Functions(self._loaded, self._folder)
        self._spec = {
            "dialect": self._functions.dialect,
            "outputs": self._functions.outputs,
            "variables": _variable_specs(variables, self._loaded, self._functions.captured),
        }
        self._wrap(variables)

    def _make_weights(self, spec: dict[str, Any]) -> None:
        """Makes zero weights of the recorded shapes; `load_assets` or the handle gives the graph."""
        self._spec = spec
        with contextlib.suppress(InputError):
            folder = registry.resolve(self.handle)
            loaded, variables = _load(folder)
            functions = _Functions(loaded, folder)
            found = _variable_specs(variables, loaded, functions.captured)
            if [v["shape"] for v in found] == [v["shape"] for v in spec["variables"]]:
                self._folder, self._loaded, self._functions = folder, loaded, functions
                self._wrap(variables)
                return
        self._wrap([tf.Variable(tf.zeros(v["shape"], v["dtype"])) for v in spec["variables"]])

    def _wrap(self, variables: list[tf.Variable]) -> None:
        """Shares each `tf.Variable` with a `keras.Variable`, grouped from bottom to top."""
        self._raw_variables = variables
        self._weights = []
        for index, (variable, spec) in enumerate(zip(variables, self._spec["variables"])):
            # Optimizers build variable names from these, and "/" or ":" crash them.
            name = re.sub(r"[/:]", ".", spec["name"]) or f"variable_{index}"
            self._weights.append(
                keras.Variable(
                    variable, dtype=spec["dtype"], name=name, trainable=spec["trainable"]
                )
            )
        self._groups = _group(self._weights, self._spec["variables"])

    # What the encoder is ---------------------------------------------------------------------

    @property
    def dialect(self) -> str:
        """`"bert"` (three id inputs) or `"text"` (strings in)."""
        return self._spec["dialect"]

    @property
    def output_names(self) -> tuple[str, ...]:
        """The keys of the dictionary that calling the layer returns."""
        return tuple(self._spec["outputs"])

    @property
    def dimension(self) -> int:
        """The width of the vector of a whole text."""
        key = "pooled_output" if "pooled_output" in self._spec["outputs"] else "default"
        return int(self._spec["outputs"][key][-1])

    @property
    def max_sequence_length(self) -> int | None:
        """The number of positions the encoder can tell apart; `None` if it sets no limit."""
        positions = [v for v in self._spec["variables"] if _POSITIONS.search(v["name"])]
        return int(positions[0]["shape"][0]) if positions else None

    @property
    def do_lower_case(self) -> bool | None:
        """Whether the encoder wants lower-cased text, where the SavedModel says so."""
        flag = getattr(self._loaded, "do_lower_case", None)
        return None if flag is None else bool(flag.numpy() if hasattr(flag, "numpy") else flag)

    @property
    def folder(self) -> Path:
        """The folder of the SavedModel behind this layer."""
        if self._folder is None:
            raise InputError(
                "this encoder's SavedModel isn't at hand: load the whole `.keras` file, or give "
                f"`Encoder` a handle that can be found. Received: handle={self.handle!r}"
            )
        return self._folder

    def fingerprint(self) -> str:
        """SHA-256 of the SavedModel's graph and of the weights as they are now."""
        digest = hashlib.sha256((self.folder / "saved_model.pb").read_bytes())
        for weight in self._weights:
            digest.update(weight.value.numpy().tobytes())
        return digest.hexdigest()

    # Freezing and thawing --------------------------------------------------------------------

    @property
    def layer_groups(self) -> list[tuple[str, list[keras.Variable]]]:
        """`(name, variables)` of every group that can be thawed, ordered bottom to top."""
        return [(n, list(v)) for n, v in self._groups if n not in self._left_out]

    def leave_out(self, *names: str) -> None:
        """Takes groups out of `layer_groups` and freezes them: what no head reads can't learn."""
        self._left_out = names
        self._set_flags([v for n, vs in self._groups if n in names for v in vs], False)

    def freeze_to(self, n: int) -> None:
        """Freezes `layer_groups[:n]` and thaws `layer_groups[n:]`, `n` as in a Python slice.

        In a compiled model call it before training, or let `ProgressiveUnfreezing` do it: a train
        function that has been traced keeps the variables it was traced with.

        Args:
            n: `-2` leaves all but the top two groups frozen, `0` thaws all,
                `len(layer_groups)` freezes all.

        Raises:
            InputError: If `n` is outside of `-len(layer_groups)..len(layer_groups)`.
        """
        groups = self.layer_groups
        if abs(n) > len(groups):
            raise InputError(
                f"the encoder has {len(groups)} layer groups ({', '.join(g for g, _ in groups)}); "
                f"give a number up to {len(groups)}. Received: {n}"
            )
        if n != len(groups):
            self._require_trainable()
        first = n if n >= 0 else len(groups) + n
        for index, (_, variables) in enumerate(groups):
            self._set_flags(variables, index >= first)
        self._trainable = first < len(groups)

    @property
    def trainable(self) -> bool:
        """Whether any group is thawed. Setting it thaws or freezes all groups."""
        return self._trainable

    @trainable.setter
    def trainable(self, value: bool) -> None:
        self._set_trainable(bool(value))

    def _set_trainable(self, value: bool) -> None:
        if value:
            self._require_trainable()
        self._trainable = value
        for _, variables in self.layer_groups:
            self._set_flags(variables, value)

    @staticmethod
    def _set_flags(variables: list[keras.Variable], value: bool) -> None:
        for variable in variables:
            variable.trainable = value

    def _require_trainable(self) -> None:
        if not self.layer_groups:
            raise InputError(
                "this SavedModel has no trainable variables and can only be used frozen; give "
                f"`trainable=False`, or another encoder. Received: handle={self.handle!r}"
            )

    # Calling ---------------------------------------------------------------------------------

    def call(self, inputs: Any, training: bool | None = None) -> dict[str, Any]:
        if self._loaded is None:
            self.folder  # noqa: B018  raises: this layer was made from a config without its graph
        if self.dialect == "text":
            inputs = _as_strings(inputs)
        # A frozen encoder still runs in training mode (dropout) when the model trains, as in Keras;
        # a wholly frozen one is a fixed function, so it runs as in inference.
        return self._functions(inputs, bool(training) and self.trainable)

    def compute_output_spec(self, inputs: Any, training: bool | None = None) -> dict[str, Any]:
        shape = tuple(keras.tree.flatten(inputs)[0].shape)
        batch, length = shape[0], shape[1] if len(shape) > 1 else None

        def tensor(last: list[int]) -> keras.KerasTensor:
            inner = (length,) if len(last) == 2 else ()
            return keras.KerasTensor((batch, *inner, last[-1]), dtype="float32")

        outputs = self._spec["outputs"]
        return {
            key: [tensor(v) for v in value] if isinstance(value[0], list) else tensor(value)
            for key, value in outputs.items()
        }

    # Saving ----------------------------------------------------------------------------------

    def get_config(self) -> dict[str, Any]:
        thawed = [n for n, vs in self._groups if any(v.trainable for v in vs)]
        return {
            **super().get_config(),
            "handle": self.handle,
            "trainable": self.trainable,
            "thawed": thawed,
            "left_out": list(self._left_out),
            "spec": self._spec,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "Encoder":
        config = dict(config)
        thawed, left_out = config.pop("thawed"), config.pop("left_out")
        trainable, spec = config.pop("trainable"), config.pop("spec")
        layer = cls(**config, _spec=spec)
        layer.leave_out(*left_out)
        for name, variables in layer.layer_groups:
            cls._set_flags(variables, name in thawed)
        layer._trainable = trainable
        return layer

    def save_own_variables(self, store: Any) -> None:
        for index, weight in enumerate(self._weights):
            store[str(index)] = weight.value.numpy()

    def load_own_variables(self, store: Any) -> None:
        for index, weight in enumerate(self._weights):
            weight.assign(store[str(index)])

    def save_assets(self, dir_path: str) -> None:
        """Puts the graph and its assets into a `.keras` file; the weights go the usual way."""
        _copy_graph(self.folder, Path(dir_path))

    def load_assets(self, dir_path: str) -> None:
        """Runs after the weights were loaded: binds the saved graph to the variables at hand."""
        # Keras deletes `dir_path` afterwards, and what is saved again later must find its assets.
        self._folder = runtime.temporary_folder(self)
        shutil.copytree(dir_path, self._folder, dirs_exist_ok=True)
        kept = [(v, v.numpy()) for v in _smallest(self._raw_variables)]
        self._loaded, _ = _load(self._folder, self._raw_variables)
        for variable, value in kept:
            variable.assign(value)
        self._functions = _Functions(self._loaded, self._folder)


class _Functions:
    """The callable of a SavedModel, with its dialect and the differences of its versions."""

    def __init__(self, loaded: Any, folder: Path) -> None:
        self._call = getattr(loaded, "__call__", None)
        functions = list(getattr(self._call, "concrete_functions", None) or [])
        if not functions:
            raise InputError(_why_not_callable(loaded, folder))
        arguments, keywords = functions[0].structured_input_signature
        self._takes_training = any(_mentions_training(f) for f in functions)
        inputs = arguments[0] if arguments else next(iter(keywords.values()), None)
        self.dialect, self._style = _dialect(inputs, folder)
        self.outputs = _output_shapes(functions[0].structured_outputs, self.dialect, folder)
        self.captured = {id(v) for f in functions for v in f.graph.variables}

    def __call__(self, inputs: Any, training: bool) -> dict[str, Any]:
        if self.dialect == "bert":
            ids = {key: tf.cast(inputs[key], tf.int32) for key in BERT_INPUTS}
            inputs = ids if self._style == "dict" else list(ids.values())
        result = self._call(inputs, training=training) if self._takes_training else self._call(inputs)
        return {key: result_value for key, result_value in _named(result).items() if key in self.outputs}


def _load(folder: Path, existing: list[tf.Variable] | None = None) -> tuple[Any, list[tf.Variable]]:
    """Loads a SavedModel and lists its variables in order of creation.

    With `existing`, the graph is bound to those variables instead of new ones: the loader asks for
    them in the same order each time, and only a stub of a checkpoint is read.
    """
    created: list[tf.Variable] = []

    def creator(next_creator: Any, **kwargs: Any) -> tf.Variable:
        variable = next_creator(**kwargs) if existing is None else existing[len(created)]
        created.append(variable)
        return variable

    options = tf.saved_model.LoadOptions(allow_partial_checkpoint=existing is not None)
    try:
        with tf.variable_creator_scope(creator), _seeded(folder) as source:
            loaded = tf.saved_model.load(str(source), options=options)
    except Exception as error:  # TensorFlow raises a dozen kinds here, all meaning "unusable"
        raise InputError(_why_not_loadable(error, folder)) from error
    return loaded, created


@contextlib.contextmanager
def _seeded(folder: Path) -> Iterator[Path]:
    """The SavedModel itself, or, if `tf.random.set_seed` was called, a copy with that seed in it."""
    seed = tf.compat.v1.random.get_seed(None)[0]
    with tempfile.TemporaryDirectory(prefix="tfhub_transfer_") as copy:
        seeded = seed is not None and graph.write_seeded(folder, Path(copy), seed)
        yield Path(copy) if seeded else folder


def _why_not_loadable(error: Exception, folder: Path) -> str:
    reason = " ".join(str(error).split())
    if "not registered" in reason:
        hint = "it needs an op that this TensorFlow and tensorflow-text lack; install their package"
    elif (folder / "tfhub_module.pb").exists():
        hint = "it is a TF1 Hub module; use a TF2 SavedModel"
    else:
        hint = "its files are damaged or incomplete; download or convert it again"
    return f"the SavedModel can't be loaded: {hint}. Received: {folder} ({reason[:200]})"


def _why_not_callable(loaded: Any, folder: Path) -> str:
    if (folder / "tfhub_module.pb").exists() or hasattr(loaded, "graph"):
        what = "it was made for TensorFlow 1 (a TF1 Hub module or a signatures-only model)"
    else:
        what = "it has no `__call__` with saved signatures"
    return (
        f"the SavedModel isn't a usable encoder: {what}; expected a TF2 text encoder from TF Hub, "
        f"or one made by `tfhub-transfer convert`. Received: {folder}"
    )


def _mentions_training(function: Any) -> bool:
    arguments, keywords = function.structured_input_signature
    return "training" in keywords or len(arguments) > 1 or _has_argument(function, "training")


def _has_argument(function: Any, name: str) -> bool:
    names = getattr(getattr(function, "function_type", None), "parameters", {})
    return name in names


def _dialect(inputs: Any, folder: Path) -> tuple[str, str]:
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


def _named(result: Any) -> dict[str, Any]:
    if isinstance(result, dict):
        return dict(result)
    if isinstance(result, (list, tuple)):
        return dict(zip(LIST_OUTPUTS, result))
    return {"default": result}


def _output_shapes(result: Any, dialect: str, folder: Path) -> dict[str, Any]:
    """Records what a call returns as JSON: `[length?, dimension]` of each float output."""
    shapes: dict[str, Any] = {}
    for key, value in _named(result).items():
        flat = keras.tree.flatten(value)
        if not flat or any(t.dtype != tf.float32 or t.shape.rank not in (2, 3) for t in flat):
            continue
        dims = [[None] * (t.shape.rank - 2) + [t.shape[-1]] for t in flat]
        shapes[key] = dims if isinstance(value, (list, tuple)) else dims[0]
    needed = "default" if dialect == "text" else "pooled_output"
    if needed not in shapes and "sequence_output" not in shapes:
        raise InputError(
            f"the SavedModel isn't a usable encoder: it gives no `{needed}` of known width; "
            f"expected a float vector for each text. Received: {folder} which gives {sorted(shapes)}"
        )
    return shapes


def _variable_specs(
    variables: list[tf.Variable], loaded: Any, captured: set[int]
) -> list[dict[str, Any]]:
    """Name, shape, dtype of each variable, and whether training can change what is computed."""
    declared = getattr(loaded, "trainable_variables", None)
    if declared is None:
        allowed = {id(v) for v in variables if v.trainable}
    else:
        allowed = {id(v) for v in declared if isinstance(v, tf.Variable)}
    return [
        {
            "name": v.name.split(":")[0],
            "shape": v.shape.as_list(),
            "dtype": v.dtype.name,
            "trainable": v.dtype.is_floating and id(v) in allowed and _reaches(v, captured),
        }
        for v in variables
    ]


def _reaches(variable: tf.Variable, captured: set[int]) -> bool:
    """Whether the call reads the variable: a masked-language head, for one, does not."""
    components = getattr(variable, "values", (variable,))
    return any(id(v) in captured for v in (variable, *components))


def _group(
    weights: list[keras.Variable], specs: list[dict[str, Any]]
) -> list[tuple[str, list[keras.Variable]]]:
    """Sorts trainable variables into embeddings, layers, what is shared or unknown, and pooler."""
    groups: dict[tuple[int, int], tuple[str, list[keras.Variable]]] = {}
    single = sum(spec["trainable"] for spec in specs) == 1
    for weight, spec in zip(weights, specs):
        if spec["trainable"]:
            rank, name = ((0, 0), "embeddings") if single else _place(spec["name"])
            groups.setdefault(rank, (name, []))[1].append(weight)
    return [groups[rank] for rank in sorted(groups)]


def _place(name: str) -> tuple[tuple[int, int], str]:
    layer = _LAYER.search(name)
    if _POOLER.search(name):
        return (3, 0), "pooler"
    if layer and "inner_group" not in name:
        return (1, int(layer[1])), f"layer_{layer[1]}"
    if _EMBEDDINGS.search(name):
        return (0, 0), "embeddings"
    return (2, 0), "layers"


def _as_strings(inputs: Any) -> tf.Tensor:
    """Strings as they are; code points `[batch, length]`, padded with 0, joined to strings."""
    inputs = inputs[CODE_POINTS] if isinstance(inputs, dict) else inputs
    inputs = tf.convert_to_tensor(inputs)
    if inputs.dtype == tf.string:
        return inputs
    return tf.strings.unicode_encode(tf.RaggedTensor.from_tensor(inputs, padding=0), "UTF-8")


def _copy_graph(source: Path, target: Path) -> None:
    """Copies a SavedModel without its weights: graph, assets, and a stub of a checkpoint."""
    for name in ("saved_model.pb", "fingerprint.pb", "tfhub_transfer.json"):
        if (source / name).exists():
            shutil.copy2(source / name, target / name)
    if (source / "assets").is_dir():
        shutil.copytree(source / "assets", target / "assets", dirs_exist_ok=True)
    (target / "variables").mkdir(exist_ok=True)
    _write_stub(str(source / _CHECKPOINT), str(target / _CHECKPOINT))


def _write_stub(source: str, target: str) -> None:
    """Writes a checkpoint of the smallest variable alone: the loader wants at least one to match.

    A key of a checkpoint is the path of attributes from the root object to the variable.
    """
    shapes = [
        (int(np.prod(shape)), key.removesuffix(_VALUE))
        for key, shape in tf.train.list_variables(source)
        if key.endswith(_VALUE) and "." not in key.removesuffix(_VALUE)
    ]
    path = min(shapes)[1]
    node: Any = tf.Variable(tf.train.load_variable(source, path + _VALUE))
    for name in reversed(path.split("/")):
        node = tf.train.Checkpoint(**{name: node})
    node.write(target)


def _smallest(variables: list[tf.Variable]) -> list[tf.Variable]:
    """The variables as small as the one in a stub, which loading the stub may overwrite."""
    least = min(int(np.prod(v.shape)) for v in variables)
    return [v for v in variables if int(np.prod(v.shape)) == least]
