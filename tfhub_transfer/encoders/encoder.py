"""A TF Hub text SavedModel as a trainable Keras 3 layer with layer groups that freeze and thaw."""

import contextlib
import contextvars
import re
import shutil
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

# Keras gives it no public name.
from keras.src.saving.serialization_lib import in_safe_mode

from tfhub_transfer import runtime
from tfhub_transfer.encoders import calls, loading, recorded, registry, variable_groups
from tfhub_transfer.errors import InputError
from tfhub_transfer.graphs import surgery
from tfhub_transfer.incoming import ranges
from tfhub_transfer.optimization import trainers
from tfhub_transfer.runtime import probes
from tfhub_transfer.storage.scratch import temporary_folder

CODE_POINTS = calls.CODE_POINTS
_LAYER_OUTPUTS = calls.LAYER_OUTPUTS
# How far a flat graph may be from the SavedModel, on a probe.
_PROBE_TOLERANCE = 1e-4
_FROM_FILE = contextvars.ContextVar("from_file", default=False)


def boundary_input(layer: int) -> str:
    """The key under which an `Encoder` takes the output of a layer, and runs only those above."""
    return f"{_LAYER_OUTPUTS}.{layer}"


@contextlib.contextmanager
def graphs_from_file() -> Iterator[None]:
    """While it is open, an encoder made from a configuration looks for no graph by its handle.

    For loading a file that holds the graph itself: it follows as `load_assets`.
    """
    token = _FROM_FILE.set(True)
    try:
        yield
    finally:
        _FROM_FILE.reset(token)


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
      `input_type_ids` may be left out; they are 0 then.
    - text embedding: strings `[batch]`, or their Unicode code points as int32 `[batch, length]`
      padded with 0, to `{"default": [batch, dimension]}`.

    Ids and code points may also be `[batch, texts, length]`, several texts of one example: each is
    read on its own, and every output has that axis too.

    Args:
        handle: A packaged name, a folder, a TF Hub or Kaggle handle, a Hugging Face folder, or what
            `train` wrote, for the encoder as it was trained; or a `registry.EncoderSource`.
        trainable: Whether all groups start thawed. `freeze_to` sets them one by one.
        name: The layer's name; `encoder`, `encoder_1` and so on if not given.
        dtype: The layer's dtype policy. The graph inside computes as it was saved; leave it.
        trust_code: Whether the SavedModel, and its preprocessor, may hold operations that do more
            than compute: files, the network, Python. Only for makers whom you trust; see
            `SECURITY.md`. It isn't saved: who loads a file has to say so, by Keras' `safe_mode`.

    Raises:
        InputError: If what `handle` names isn't a usable encoder, it holds such an operation
            unallowed, or `trainable=True` and it holds no trainable variables.

    Example:

    >>> encoder = Encoder("auto")
    >>> encoder.freeze_to(-1)  # all but the top group frozen
    >>> [name for name, _ in encoder.layer_groups]
    ['embeddings', 'layer_0', 'layer_1', 'layer_2']
    """

    def __init__(
        self,
        handle: registry.Named,
        trainable: bool = False,
        name: str | None = None,
        dtype: Any = "float32",
        trust_code: bool = False,
        _spec: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(name=name, dtype=dtype)
        # Its folder isn't at hand until something was loaded from it.
        self._source: registry.EncoderSource | None = None
        found = registry.source_of(handle)
        self.handle = found.handle
        self._left_out: tuple[str, ...] = ()
        self._unread = variable_groups.Unread()
        self._trainers = trainers.Trainers()
        self._thawed_in_file: list[str] | None = None
        self._loaded: Any = None
        # Writes the preprocessor of the last model on it; a function, so that nothing tracks it.
        self.write_preprocessor: Callable[[Path], dict[str, Any]] | None = None
        # A config comes out of a file, which doesn't vouch for itself: Keras' safe mode decides.
        self.trust_code = trust_code if _spec is None else in_safe_mode() is False
        if _spec is None:
            self._load_from(found)
        else:
            self._make_weights(_spec)
        self.built = True
        self._set_trainable(trainable)

    # Loading ---------------------------------------------------------------------------------

    def _load_from(self, source: registry.EncoderSource) -> None:
        self._loaded, variables = loading.load(source.folder, trust_code=self.trust_code)
        self._source = source
        loading.require_copyable(source.folder)
        self._functions = loading.Functions(self._loaded, source.folder)
        self._spec: dict[str, Any] = {
            "dialect": self._functions.dialect,
            "outputs": self._functions.outputs,
            "variables": variable_groups.specs(variables, self._loaded, self._functions.captured),
        }
        self._wrap(variables)
        # Here, because what is raised while Keras calls a layer gets a page of explanations.
        probes.ask(self._functions, loading.BERT_INPUTS, self.handle)

    def _make_weights(self, spec: dict[str, Any]) -> None:
        """Makes weights of the recorded shapes; `load_assets` gives the graph.

        So does the handle, if it names what is on this machine; nothing is ever downloaded.
        """
        self._spec = spec
        if _FROM_FILE.get() or not self._load_what_is_at_hand(spec):
            self._wrap([tf.Variable(tf.zeros(v["shape"], v["dtype"])) for v in spec["variables"]])

    def _load_what_is_at_hand(self, spec: dict[str, Any]) -> bool:
        """Whether the handle's SavedModel is on this machine and of the recorded shapes."""
        with contextlib.suppress(InputError):
            folder = registry.find(self.handle)
            if folder is None:
                return False
            loaded, variables = loading.load(folder)
            functions = loading.Functions(loaded, folder)
            found = variable_groups.specs(variables, loaded, functions.captured)
            if [v["shape"] for v in found] == [v["shape"] for v in spec["variables"]]:
                self._source = registry.EncoderSource(self.handle, folder)
                self._loaded, self._functions = loaded, functions
                self._wrap(variables)
                return True
        return False

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
        self._groups = variable_groups.group(self._weights, self._spec["variables"])
        self._graphs = _Graphs(self.handle, variables, self._weights)

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
    def is_contextual(self) -> bool:
        """Whether a token's vector depends on the tokens around it, so that texts can meet."""
        return self.dialect == "bert" and [name for name, _ in self._groups] != ["embeddings"]

    @property
    def max_sequence_length(self) -> int | None:
        """The number of positions the encoder can tell apart; `None` if it sets no limit."""
        positions = [
            v for v in self._spec["variables"] if variable_groups.POSITIONS.search(v["name"])
        ]
        return int(positions[0]["shape"][0]) if positions else None

    @property
    def do_lower_case(self) -> bool | None:
        """Whether the encoder wants lower-cased text, where the SavedModel says so."""
        flag = getattr(self._loaded, "do_lower_case", None)
        return None if flag is None else bool(flag.numpy() if hasattr(flag, "numpy") else flag)

    @property
    def saved_model(self) -> Any:
        """The loaded SavedModel, with whatever else its makers put into it."""
        self.folder  # noqa: B018  raises if there is none
        return self._loaded

    @property
    def source(self) -> registry.EncoderSource:
        """What this was loaded from: what is known of it, and what lies there."""
        if self._source is None:
            raise InputError(
                "this encoder's SavedModel isn't at hand: load the whole `.keras` file, or give "
                f"`Encoder` a handle that can be found. Received: handle={self.handle!r}"
            )
        return self._source

    @property
    def folder(self) -> Path:
        """The folder of the SavedModel behind this layer."""
        return self.source.folder

    def named_weights(self) -> dict[str, keras.Variable]:
        """The weights by the names that they have inside the SavedModel."""
        return dict(zip((v["name"] for v in self._spec["variables"]), self._weights))

    def fingerprint(self) -> str:
        """SHA-256 of the SavedModel's graph, its assets, and the weights as they are now."""
        return self.source.fingerprint(w.value.numpy().tobytes() for w in self._weights)

    # Freezing and thawing --------------------------------------------------------------------

    @property
    def layer_groups(self) -> list[tuple[str, list[keras.Variable]]]:
        """`(name, variables)` of every group that can be thawed, ordered bottom to top."""
        return [(n, list(v)) for n, v in self._groups if n not in self.left_out]

    @property
    def left_out(self) -> tuple[str, ...]:
        """The groups that the head doesn't read, and those taken out by `leave_out`."""
        return (*self._left_out, *(n for n in self.unread if n not in self._left_out))

    @property
    def unread(self) -> tuple[str, ...]:
        """The groups that the head of the model at work doesn't read."""
        return self._unread.names

    def leave_out(self, *names: str) -> None:
        """Takes groups out of `layer_groups` and freezes them."""
        variable_groups.require_names(names, self._groups)
        with self._changing():
            self._left_out = names
            self._set_flags([v for n, vs in self._groups if n in names for v in vs], False)

    def mark_unread(self, *names: str) -> None:
        """Leaves out what a head doesn't read and so can't learn, and no other groups.

        Models that share an encoder each have a head that reads others: a `TransferModel` says so
        whenever it begins to train. What is read again is frozen or thawed as it was.
        """
        if names != self.unread:
            with self._changing():
                self._unread.change(names, self._groups)

    def freeze_to(self, n: int) -> None:
        """Freezes `layer_groups[:n]` and thaws `layer_groups[n:]`, `n` as in a Python slice.

        In a model that has trained it takes effect at the next step of `fit` or `train_on_batch`,
        without compiling anew; the optimizer keeps what it knows. A train step of one's own that
        has been traced keeps the variables that it was traced with.

        Args:
            n: `-2` leaves all but the top two groups frozen, `0` thaws all,
                `len(layer_groups)` freezes all.

        Raises:
            InputError: If `n` is outside of `-len(layer_groups)..len(layer_groups)`.
        """
        n = ranges.whole_number("n", n, -ranges.LAYERS[1], ranges.LAYERS[1])
        groups = self.layer_groups
        if abs(n) > len(groups):
            raise InputError(
                f"the encoder has {len(groups)} layer groups ({', '.join(g for g, _ in groups)}); "
                f"give a number up to {len(groups)}. Received: {n}"
            )
        if n != len(groups):
            self._require_trainable()
        first = n if n >= 0 else len(groups) + n
        with self._changing():
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

    def __setattr__(self, name: str, value: Any) -> None:
        # Keras doesn't set what is so already, and with one thawed group `trainable` is true.
        if name == "trainable":
            self._set_trainable(bool(value))
        else:
            super().__setattr__(name, value)

    def _set_trainable(self, value: bool) -> None:
        if value:
            self._require_trainable()
        with self._changing():
            self._trainable = value
            for _, variables in self.layer_groups:
                self._set_flags(variables, value)

    @contextlib.contextmanager
    def _changing(self) -> Iterator[None]:
        """What freezes or thaws here takes effect in models that have trained."""
        before = [weight.trainable for weight in self._weights]
        yield
        if before != [weight.trainable for weight in self._weights]:
            self._trainers.update()

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

    def __call__(self, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        return super().__call__(calls.checked(inputs, self.dialect), *args, **kwargs)

    def call(self, inputs: Any, training: bool | None = None) -> dict[str, Any]:
        if training:
            self._trainers.note()
        inputs = calls.with_types(inputs)
        if self._loaded is None:
            self.folder  # noqa: B018  raises: the layer was made from a config without its graph
        ids = calls.ids_of(inputs)
        if len(ids.shape) == 3:
            return calls.split_rows(
                self.call(calls.merge_rows(inputs), training), tf.shape(ids)[:2]
            )
        if self.dialect == "text":
            return self._functions(calls.as_strings(inputs), bool(training) and self.trainable)
        # A frozen encoder still runs in training mode (dropout) when the model trains, as in Keras;
        # a wholly frozen one is a fixed function, so it runs as in inference.
        training = bool(training) and self.trainable
        own = tf.executing_eagerly() and set(inputs) <= set(loading.BERT_INPUTS)
        flat = None if own else self.flat_graph(training)
        if flat is None:
            return self._functions(inputs, training)
        given = _ids(flat, inputs)
        wanted = flat.outputs
        for layer, ref in enumerate(flat.outputs.get(_LAYER_OUTPUTS, ())):
            if boundary_input(layer) in inputs:
                given[ref] = inputs[boundary_input(layer)]
                wanted = _whole(flat.outputs)
        made = flat.replay(tf.nest.flatten(wanted), given, self._graphs.read)
        return tf.nest.pack_sequence_as(wanted, made)

    @property
    def token_dimension(self) -> int:
        """The width of a token's vector."""
        return int(self._spec["outputs"]["sequence_output"][-1])

    def boundary(self) -> int | None:
        """The highest layer whose output nothing thawed reaches, while all above is computed.

        Returns:
            Its index in `encoder_outputs`; `None` if there is none, because thawed groups reach
            down to the embeddings, because layers share weights, or because the graph can't be cut
            there without computing something twice.
        """
        flats = [self.flat_graph(training) for training in (False, True)]
        thawed = {id(v) for v, w in zip(self._raw_variables, self._weights) if w.trainable}
        for layer in reversed(range(len(self._spec["outputs"].get(_LAYER_OUTPUTS, ())))):
            if all(flat is not None and _can_cut(flat, layer, thawed) for flat in flats):
                return layer
        return None

    def below(self, layer: int, inputs: dict[str, tf.Tensor]) -> tf.Tensor:
        """The output of a layer as in inference, `[batch, length, dimension]`, in bfloat16.

        Args:
            layer: Its index in `encoder_outputs`; one that `boundary` gave.
            inputs: Ids, as for calling the encoder.
        """
        flat = self.flat_graph()
        assert flat is not None
        wanted = [flat.outputs[_LAYER_OUTPUTS][layer]]
        [output] = flat.replay(wanted, _ids(flat, inputs), self._graphs.read)
        return tf.cast(output, tf.bfloat16)

    def flat_graph(self, training: bool = False) -> surgery.FlatGraph | None:
        """The graph inside as plain operations, or `None` where it can't be had so.

        Only the BERT dialect has one. It is compared with the SavedModel's own call on a probe
        before it is used; if they differ, or the graph holds what can't be replayed, the own call
        serves, and a warning says so once.
        """
        return self._graphs.get(self._functions, training) if self.dialect == "bert" else None

    def compute_output_spec(self, inputs: Any, training: bool | None = None) -> dict[str, Any]:
        shape = tuple(calls.ids_of(inputs).shape)
        rows, length = (shape[:-1], shape[-1]) if len(shape) > 1 else (shape, None)

        def tensor(last: list[int]) -> keras.KerasTensor:
            inner = (length,) if len(last) == 2 else ()
            return keras.KerasTensor((*rows, *inner, last[-1]), dtype="float32")

        outputs = self._spec["outputs"]
        if self.dialect == "bert" and set(inputs) - set(loading.BERT_INPUTS):
            outputs = {key: value for key, value in outputs.items() if key != _LAYER_OUTPUTS}
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
            "known": [n for n, vs in self._groups if self._trainers.know(vs)],
            "spec": self._spec,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "Encoder":
        recorded.check(config, "an encoder's configuration")
        config = {key: value for key, value in config.items() if key != "trust_code"}
        thawed, left_out = config.pop("thawed"), config.pop("left_out")
        trainable, spec = config.pop("trainable"), config.pop("spec")
        known = config.pop("known", [])
        layer = cls(**config, _spec=spec)
        # Files of earlier versions may name groups that there are none of.
        layer.leave_out(*(name for name, _ in layer._groups if name in left_out))
        layer._thaw_only(thawed)
        layer._trainable = trainable
        if known and trainers.is_loading():
            # Keras builds the optimizer on what trains now; what is thawed is said after that.
            layer._thawed_in_file = thawed
            layer._thaw_only([*thawed, *known])
        return layer

    def _thaw_only(self, names: list[str]) -> None:
        for name, variables in self.layer_groups:
            self._set_flags(variables, name in names)

    def save(self, folder: str | Path, overwrite: bool = False) -> None:
        """Writes the encoder as it is now, in TF Hub's form, its preprocessor beside it.

        `Encoder` loads it, layer groups and all; `tfhub_transfer.json` says what it was tuned from.

        Args:
            folder: The folder to write.
            overwrite: Whether a folder there that this package wrote is replaced.

        Raises:
            InputError: If it can't be written, or would replace what this package didn't write.
        """
        known = self.write_preprocessor is not None
        beside = None if known else self.source.preprocessor
        loading.save(self, folder, beside, overwrite)

    def save_own_variables(self, store: Any) -> None:
        for index, weight in enumerate(self._weights):
            store[str(index)] = weight.value.numpy()

    def load_own_variables(self, store: Any) -> None:
        for index, weight in enumerate(self._weights):
            weight.assign(store[str(index)])
        if self._thawed_in_file is not None:
            self._thaw_only(self._thawed_in_file)
            self._thawed_in_file = None

    def save_assets(self, dir_path: str) -> None:
        """Puts the graph and its assets into a `.keras` file; the weights go the usual way."""
        loading.copy_graph(self.folder, Path(dir_path))

    def load_assets(self, dir_path: str) -> None:
        """Runs after the weights were loaded: binds the saved graph to the variables at hand."""
        # Keras deletes `dir_path` afterwards, and what is saved again later must find its assets.
        folder = temporary_folder(self)
        shutil.copytree(dir_path, folder, dirs_exist_ok=True)
        self._source = registry.EncoderSource(self.handle, folder)
        kept = [(v, v.numpy()) for v in loading.smallest(self._raw_variables)]
        self._loaded, _ = loading.load(folder, self._raw_variables, self.trust_code)
        for variable, value in kept:
            variable.assign(value)
        self._functions = loading.Functions(self._loaded, folder)
        found = {"dialect": self._functions.dialect, "outputs": self._functions.outputs}
        if any(self._spec[key] != value for key, value in found.items()):
            raise InputError(
                "the graph in the file gives something else than its configuration says. "
                f"Received: {found}"
            )
        # Of weights that a training spoilt the answers say so; there may be other uses for them.
        probes.ask(self._functions, loading.BERT_INPUTS, self.handle, allow_nan=True)
        self._graphs = _Graphs(self.handle, self._raw_variables, self._weights)


def _ids(flat: surgery.FlatGraph, inputs: dict[str, Any]) -> dict[surgery.Ref, tf.Tensor]:
    return {ref: tf.cast(inputs[key], tf.int32) for key, ref in flat.inputs.items()}


def _whole(outputs: Mapping[str, Any]) -> dict[str, Any]:
    """Without the outputs of single layers."""
    return {key: value for key, value in outputs.items() if key != _LAYER_OUTPUTS}


def _can_cut(flat: surgery.FlatGraph, layer: int, thawed: set[int]) -> bool:
    cut = flat.outputs[_LAYER_OUTPUTS][layer]
    whole = tf.nest.flatten(_whole(flat.outputs))
    reached = {id(variable) for variable in flat.reads([cut])}
    return not reached & thawed and flat.is_clean_cut(cut, whole)


class _Graphs:
    """The flat graphs of an encoder, each made when first asked for.

    Beside the layer, not in it: Keras tracks every dictionary that a layer holds.
    """

    def __init__(
        self, handle: str, variables: list[tf.Variable], weights: list[keras.Variable]
    ) -> None:
        self._handle, self._variables = handle, variables
        self._weights = {id(v): w for v, w in zip(variables, weights)}
        self._made: dict[bool, surgery.FlatGraph | None] = {}

    def get(self, functions: loading.Functions, training: bool) -> surgery.FlatGraph | None:
        """The graph of a call in that mode; `None`, with a warning the first time, if none."""
        if training not in self._made:
            try:
                flat = functions.flatten(training, self._variables)
                if not training:
                    self._check_equal(flat, functions)
                self._made[training] = flat
            except surgery.NotFlat as reason:
                self._made[training] = None
                warnings.warn(
                    f"the encoder {self._handle} runs as it was saved, which is slower: {reason}",
                    stacklevel=3,
                )
        return self._made[training]

    def read(self, variable: tf.Variable, rows: tf.Tensor | None) -> tf.Tensor:
        """A variable's value, or some rows of it; no gradient flows into a frozen one."""
        weight = self._weights[id(variable)]
        value = weight.value if rows is None else tf.nn.embedding_lookup(weight.value, rows)
        value = tf.convert_to_tensor(value)
        return value if weight.trainable else tf.stop_gradient(value)

    def _check_equal(self, flat: surgery.FlatGraph, functions: loading.Functions) -> None:
        """Runs the graph and the SavedModel's own call on a few ids."""
        inputs, own = probes.first_answers(functions, loading.BERT_INPUTS, self._handle)
        with tf.init_scope(), runtime.precision("float32"):
            given = {ref: inputs[key] for key, ref in flat.inputs.items()}
            made = flat.replay(tf.nest.flatten(flat.outputs), given, self.read)
            worst = max(float(tf.reduce_max(tf.abs(a - b))) for a, b in zip(own, made))
        if not worst <= _PROBE_TOLERANCE:
            raise surgery.NotFlat(f"rewritten, it differs by {worst:.1e} on a probe")
