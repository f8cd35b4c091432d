"""A TF Hub text SavedModel as a trainable Keras 3 layer with layer groups that freeze and thaw."""

import contextlib
import re
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from tfhub_transfer.encoders import binding, calls, loading, recorded, registry, variable_groups
from tfhub_transfer.encoders.flat_graphs import FlatGraphs
from tfhub_transfer.encoders.interface import Interface
from tfhub_transfer.encoders.layer_groups import LayerGroups
from tfhub_transfer.errors import InputError
from tfhub_transfer.graphs.safety import SavedObject
from tfhub_transfer.graphs.surgery import FlatGraph
from tfhub_transfer.incoming import choices
from tfhub_transfer.private import keras_saving
from tfhub_transfer.runtime import dropout, precision_choice
from tfhub_transfer.shapes import Array, Features

CODE_POINTS = calls.CODE_POINTS


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
      padded with 0, to `{"default": [batch, dimension]}`. NUL characters are spaces.

    Ids and code points may also be `[batch, texts, length]`, several texts of one example: each is
    read on its own, and every output has that axis too.

    Args:
        handle: A packaged name, a folder, a TF Hub or Kaggle handle, a Hugging Face folder, or what
            `train` wrote, for the encoder as it was trained; or a `registry.EncoderSource`.
        trainable: Whether all groups start thawed. `freeze_to` sets them one by one.
        name: The layer's name; `encoder`, `encoder_1` and so on if not given.
        dtype: The layer's dtype policy; float32 alone, since the graph inside computes as it was
            saved. Its products are in bfloat16 inside of `runtime.precision("bfloat16")`.
        trust_code: Whether the SavedModel, and its preprocessor, may hold operations that do more
            than compute: files, the network, Python. Only for makers whom you trust; see
            `SECURITY.md`. It isn't saved: who loads a file has to say so, by Keras' `safe_mode`.

    Raises:
        InputError: If what `handle` names isn't a usable encoder, it holds such an operation
            unallowed, `trainable=True` and it holds no trainable variables, or `dtype` is another
            than float32.

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
        dtype: str | keras.DTypePolicy = "float32",
        trust_code: bool = False,
        _spec: recorded.Spec | None = None,
    ) -> None:
        if _spec is None:
            _require_float32(dtype)
        super().__init__(name=name, dtype=dtype)
        trainable = choices.flag("trainable", trainable)
        # Its folder isn't at hand until something was loaded from it.
        self._source: registry.EncoderSource | None = None
        given = registry.source_of(handle)
        self.handle = given.handle
        # Writes the preprocessor of the last model on it; a function, so that nothing tracks it.
        self.write_preprocessor: Callable[[Path], Mapping[str, object]] | None = None
        # A config comes out of a file, which doesn't vouch for itself: Keras' safe mode decides.
        self.trust_code = trust_code if _spec is None else keras_saving.trusts_file()
        # Its state is among `variables`, not `weights`, as Keras has it of its own layers.
        self._dropout = dropout.generator()
        if _spec is None:
            found = binding.of_handle(given, self.trust_code)
            self._share(found.variables, found.spec())
            self._bind(found)
        else:
            self._make_weights(_spec)
        # The weights came with the SavedModel: nothing is left for Keras to build.
        self.built = True
        # Last, for it freezes groups, which are known only now.
        self.trainable = trainable

    def _make_weights(self, spec: recorded.Spec) -> None:
        """Makes weights of the recorded shapes; the handle or `load_assets` gives the graph."""
        found = binding.at_hand(self.handle, spec["variables"])
        if found is None:
            zeros = [tf.Variable(tf.zeros(v["shape"], v["dtype"])) for v in spec["variables"]]
            self._share(zeros, spec)
        else:
            self._share(found.variables, spec)
            self._bind(found)

    def _share(self, variables: list[tf.Variable], spec: recorded.Spec) -> None:
        """Shares each `tf.Variable` with a `keras.Variable`, grouped from bottom to top."""
        self._raw_variables, self._interface = variables, Interface(spec)
        self.supports_jit = self.dialect != "text"  # XLA has no strings
        self._weights: list[keras.Variable] = []
        for index, (variable, one) in enumerate(zip(variables, spec["variables"])):
            # Optimizers build variable names from these, and "/" or ":" crash them.
            name = re.sub(r"[/:]", ".", one["name"]) or f"variable_{index}"
            self._weights.append(
                keras.Variable(variable, dtype=one["dtype"], name=name, trainable=one["trainable"])
            )
        groups = variable_groups.group(self._weights, spec["variables"])
        self._groups = LayerGroups(groups, self.handle)

    def _bind(self, found: binding.Binding) -> None:
        """From now on the layer computes with this graph."""
        # An attribute of the layer, so that who exports it with TensorFlow has its tables too.
        self._source, self._loaded, self._functions = found.source, found.loaded, found.functions
        self._graphs = FlatGraphs(self.handle, found.functions, found.variables, self._weights)

    # What the encoder is ---------------------------------------------------------------------

    @property
    def dialect(self) -> str:
        """`"bert"` (three id inputs) or `"text"` (strings in)."""
        return self._interface.dialect

    @property
    def output_names(self) -> tuple[str, ...]:
        """The keys of the dictionary that calling the layer returns."""
        return tuple(self._interface.outputs)

    @property
    def dimension(self) -> int:
        """The width of the vector of a whole text."""
        return self._interface.dimension

    @property
    def token_dimension(self) -> int:
        """The width of a token's vector."""
        return self._interface.token_dimension

    @property
    def is_contextual(self) -> bool:
        """Whether a token's vector depends on the tokens around it, so that texts can meet."""
        return self.dialect == "bert" and self._groups.names != ("embeddings",)

    @property
    def max_sequence_length(self) -> int | None:
        """The number of positions the encoder can tell apart; `None` if it sets no limit."""
        return self._interface.positions

    @property
    def do_lower_case(self) -> bool | None:
        """Whether the encoder wants lower-cased text, where the SavedModel says so."""
        # Some SavedModels hold a variable of that name, others a plain flag.
        flag = None if self._source is None else getattr(self._loaded, "do_lower_case", None)
        return None if flag is None else bool(flag.numpy() if hasattr(flag, "numpy") else flag)

    @property
    def saved_model(self) -> SavedObject:
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
        return dict(zip((v["name"] for v in self._interface.spec["variables"]), self._weights))

    def fingerprint(self) -> str:
        """SHA-256 of the SavedModel's graph, its assets, and the weights as they are now."""
        return self.source.fingerprint(w.value.numpy().tobytes() for w in self._weights)

    # Freezing and thawing --------------------------------------------------------------------

    @property
    def layer_groups(self) -> list[tuple[str, list[keras.Variable]]]:
        """`(name, variables)` of every group that can be thawed, ordered bottom to top."""
        return self._groups.listed

    @property
    def left_out(self) -> tuple[str, ...]:
        """The groups that the head doesn't read, and those taken out by `leave_out`."""
        return self._groups.left_out

    @property
    def unread(self) -> tuple[str, ...]:
        """The groups that the head of the model at work doesn't read."""
        return self._groups.unread

    def leave_out(self, *names: str) -> None:
        """Takes groups out of `layer_groups` and freezes them."""
        self._groups.leave_out(names)

    def mark_unread(self, *names: str) -> None:
        """Leaves out what a head doesn't read and so can't learn, and no other groups.

        Models that share an encoder each have a head that reads others: a `TransferModel` says so
        whenever it begins to train. What is read again is frozen or thawed as it was.
        """
        self._groups.mark_unread(names)

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
        # Not by the setter, which sets all groups alike.
        self._trainable = self._groups.freeze_to(n)

    @property
    def trainable(self) -> bool:
        """Whether any group is thawed. Setting it thaws or freezes all groups."""
        return self._trainable

    @trainable.setter
    def trainable(self, value: bool) -> None:
        value = choices.flag("trainable", value)
        self._groups.set_all(value)
        self._trainable = value

    def __setattr__(self, name: str, value: object) -> None:
        # Keras doesn't set what is so already, and with one thawed group `trainable` is true.
        if name == "trainable":
            object.__setattr__(self, name, value)
        else:
            super().__setattr__(name, value)

    # Calling ---------------------------------------------------------------------------------

    def __call__(self, inputs: object, *args: object, **kwargs: object) -> calls.Outputs:
        return super().__call__(calls.checked(inputs, self.dialect), *args, **kwargs)

    def call(self, inputs: calls.Inputs, training: bool | None = None) -> calls.Outputs:
        if training:
            self._groups.trainers.note()
        self.folder  # noqa: B018  raises if the layer was made from a config without its graph
        inputs = calls.with_types(inputs)
        ids = calls.ids_of(inputs)
        if len(ids.shape) == 3:
            return calls.split_rows(
                self.call(calls.merge_rows(inputs), training), tf.shape(ids)[:2]
            )
        # A frozen encoder still runs in training mode (dropout) when the model trains, as in Keras;
        # a wholly frozen one is a fixed function, so it runs as in inference.
        training = bool(training) and self.trainable
        if self.dialect == "text":
            return self._functions(calls.as_strings(inputs), training)
        # Outside of a graph the SavedModel's own call is quicker than one operation after another;
        # but its dropout is no function of what is saved, and its products are float32.
        plain = not training and not precision_choice.rounds_products()
        own = plain and tf.executing_eagerly() and set(inputs) <= set(loading.BERT_INPUTS)
        flat = None if own else self.flat_graph(training)
        if flat is None:
            return self._functions(inputs, training)
        return self._graphs.run(flat, inputs, self._dropout.next)

    def compute_output_spec(
        self, inputs: calls.Inputs, training: bool | None = None
    ) -> calls.Outputs:
        return self._interface.symbolic(inputs)

    def flat_graph(self, training: bool = False) -> FlatGraph | None:
        """The graph inside as plain operations, or `None` where it can't be had so.

        Only the BERT dialect has one. It is compared with the SavedModel's own call on a probe
        before it is used; if they differ, or the graph holds what can't be replayed, the own call
        serves, and a warning says so once.
        """
        return self._flat_graphs.get(training) if self.dialect == "bert" else None

    def boundary(self) -> int | None:
        """The highest layer whose output nothing thawed reaches, while all above is computed.

        Returns:
            Its index in `encoder_outputs`; `None` if there is none, because thawed groups reach
            down to the embeddings, because layers share weights, or because the graph can't be cut
            there without computing something twice.
        """
        return self._flat_graphs.boundary() if self.dialect == "bert" else None

    def below(self, layer: int, inputs: Features) -> tf.Tensor:
        """The output of a layer as in inference, `[batch, length, dimension]`, in bfloat16.

        Args:
            layer: Its index in `encoder_outputs`; one that `boundary` gave.
            inputs: Ids, as for calling the encoder.
        """
        return self._flat_graphs.below(layer, inputs)

    @property
    def _flat_graphs(self) -> FlatGraphs:
        self.folder  # noqa: B018  raises if there is none
        return self._graphs

    # Saving ----------------------------------------------------------------------------------

    def get_config(self) -> dict[str, object]:
        own = {"handle": self.handle, "trainable": self.trainable, **self._groups.record()}
        return {**super().get_config(), **own, "spec": self._interface.spec}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "Encoder":
        recorded.check(config, "an encoder's configuration")
        # A file that could say so would trust itself.
        config = {key: value for key, value in config.items() if key != "trust_code"}
        groups = {key: config.pop(key, ()) for key in ("thawed", "left_out", "known")}
        trainable, spec = config.pop("trainable"), config.pop("spec")
        layer = cls(**config, _spec=spec)
        layer._groups.restore(**groups)
        # As above, not by the setter: some groups may be frozen.
        layer._trainable = trainable
        return layer

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

    def save_own_variables(self, store: MutableMapping[str, Array]) -> None:
        for index, weight in enumerate(self._weights):
            # By place, since variables of a SavedModel may have no name.
            store[str(index)] = weight.value.numpy()
        dropout.save(self._dropout, store)

    def load_own_variables(self, store: Mapping[str, Array]) -> None:
        for index, weight in enumerate(self._weights):
            weight.assign(store[str(index)])
        dropout.load(self._dropout, store)
        self._groups.settle()

    def save_assets(self, dir_path: str) -> None:
        """Puts the graph and its assets into a `.keras` file; the weights go the usual way."""
        loading.copy_graph(self.folder, Path(dir_path))

    def load_assets(self, dir_path: str) -> None:
        """Runs after the weights were loaded: binds the saved graph to the variables at hand."""
        assets, variables, spec = Path(dir_path), self._raw_variables, self._interface.spec
        self._bind(binding.of_assets(assets, self, variables, spec, self.handle, self.trust_code))


@contextlib.contextmanager
def frozen_as_it_was(encoder: Encoder) -> Iterator[None]:
    """Lets the body freeze and thaw an encoder; in the end all is as it was, also after an error.

    Args:
        encoder: The encoder.
    """
    trainable = encoder._trainable
    with encoder._groups.kept():
        try:
            yield
        finally:
            encoder._trainable = trainable


def _require_float32(dtype: object) -> None:
    try:
        if keras.dtype_policies.get(dtype).compute_dtype == "float32":
            return
    except (TypeError, ValueError):
        pass  # no policy at all
    raise InputError(
        "`dtype` must be 'float32', the graph inside computes as it was saved; for products in "
        'bfloat16 train and answer inside of `tt.runtime.precision("bfloat16")`. '
        f"Received: dtype={getattr(dtype, 'name', dtype)!r}"
    )
