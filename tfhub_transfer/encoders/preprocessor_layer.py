"""`tt.Preprocessor`: text to what an encoder reads, as a Keras layer for one's own models."""

import json
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeAlias, TypedDict

import keras
import numpy as np
import tensorflow as tf

from tfhub_transfer.encoders import calls, given_texts, preprocessing, registry
from tfhub_transfer.encoders.encoder import CODE_POINTS, Encoder
from tfhub_transfer.encoders.loading import BERT_INPUTS
from tfhub_transfer.errors import InputError
from tfhub_transfer.graphs import wire
from tfhub_transfer.incoming import choices
from tfhub_transfer.private import keras_layers, keras_saving
from tfhub_transfer.storage import atomic, opening, records
from tfhub_transfer.texts import splitting
from tfhub_transfer.texts.joining import WORD_STARTS

Source: TypeAlias = "str | Path | Encoder"

PADDING = ("longest", "sequence_length")
# What lives in this process: clones share what their originals have, wherever that came from.
_live: "weakref.WeakValueDictionary[str, preprocessing.TextPreprocessor]" = (
    weakref.WeakValueDictionary()
)


class _Recorded(TypedDict):
    """What a file says of a preprocessor before its vocabulary is read."""

    dialect: str
    positions: int | None
    fingerprint: str


@keras.saving.register_keras_serializable(package="tfhub_transfer")
class Preprocessor(keras.layers.Layer):
    """Text to what an encoder reads, as a Keras layer: in `tf.data`, by itself, or in a model.

    It gives a dictionary that an `Encoder` takes as it is: for a BERT `input_word_ids`,
    `input_mask` and `input_type_ids`, each int32 `[batch, length]`; for a text embedding, which
    reads texts itself and has nothing to prepare, `code_points` `[batch, length]`, the Unicode
    code points of the whole text, so that models hold no strings. The ids are those of
    `TransferModel.preprocess`; of a model that was built with `preprocessor=`, give the same here.

    It is called with texts, and passes labels and weights through, as Keras' own do:
    `preprocessor(x)`, `preprocessor(x, y)`, `preprocessor(x, y, sample_weight)`. Texts are

    - a list, array, series or string tensor `[batch]`;
    - pairs, packed as one sequence: two of these in a tuple, `(firsts, seconds)`, or a list of
      tuples of two; of a text embedding each has its own, `code_points_a` and `code_points_b`;
    - with `words=True` lists of words: Python's, a ragged tensor, or a dense one with empty strings
      behind the last word of each text. `word_starts` `[batch, length]` then says where in
      `sequence_output` the first piece of each word stands; behind the last word, and where it was
      cut off, 0;
    - a dictionary or a table with a column `text`; `text_a` and `text_b`; or with `words=True`
      `tokens`.

    In `tf.data`, batched or not: `dataset.batch(32).map(preprocessor)`. A text alone, a string
    tensor without an axis, gives ids without the batch axis, as long as `sequence_length` for a
    BERT. In a model whose inputs are strings it is for serving; train on ids, which XLA and
    several devices can take.

    Args:
        source: An `Encoder`, or what names one (see `Encoder`): a name, a folder, a handle. Or a TF
            Hub preprocessor, or a folder that `save` wrote.
        sequence_length: The most tokens of a text, or of a packed pair, special tokens counted; 256
            if not given, or what the encoder can take.
        words: Whether each text is a list of its words.
        padding: `"longest"`, to the longest of a batch, rounded up a little; `"sequence_length"`,
            so that all batches are of one shape.
        preprocessor: Handle or folder of a TF Hub preprocessor, if not the encoder's own.
        trust_code: As for `Encoder`.
        **kwargs: Keras' own, such as `name`.

    Raises:
        InputError: If nothing is known of `source`, or an option doesn't suit the encoder; when
            called, if what is given isn't texts.

    Example:

    >>> encoder = Encoder("auto")
    >>> preprocessor = Preprocessor(encoder, sequence_length=64)
    >>> ids = preprocessor(["What a lovely film", "Dull"])
    >>> encoder(ids)["pooled_output"].shape
    TensorShape([2, 384])
    """

    def __init__(
        self,
        source: Source,
        sequence_length: int | None = None,
        words: bool = False,
        padding: str = "longest",
        preprocessor: str | None = None,
        trust_code: bool = False,
        **kwargs: Any,
    ) -> None:
        recorded = kwargs.pop("_recorded", None)
        super().__init__(**{"dtype": "int32", **kwargs})
        # Strings are neither cast nor compiled.
        keras_layers.take_strings(self)
        self.supports_jit = False
        self.built = True
        if padding not in PADDING:
            raise InputError(
                f"`padding` must be one of {', '.join(PADDING)}. Received: {padding!r}"
            )
        self._options = _Options(source, preprocessor, choices.flag("words", words), padding)
        # A file doesn't vouch for itself: Keras' safe mode decides.
        self.trust_code = trust_code if recorded is None else keras_saving.trusts_file()
        self._engine: preprocessing.TextPreprocessor | None = None
        if recorded is None:
            self._adopt(*self._options.make(sequence_length, trust_code))
        else:
            self._remember(sequence_length, recorded)

    def _adopt(self, engine: preprocessing.TextPreprocessor, positions: int | None) -> None:
        if engine.dialect == "text" and (self.words or self.padding != PADDING[0]):
            raise InputError(
                "a text embedding reads texts whole and as long as they are: leave out `words` and "
                f"`padding`, or use a BERT-like encoder. Received: {self.source}"
            )
        engine.by_word = self.words
        self._engine, self._positions = engine, positions
        self.dialect, self.sequence_length = engine.dialect, engine.sequence_length
        self._fingerprint: str | None = None

    def _remember(self, sequence_length: Any, recorded: _Recorded) -> None:
        """Takes what a configuration says; the vocabulary follows, or is in this process."""
        self.dialect, self.sequence_length = str(recorded["dialect"]), int(sequence_length)
        self._positions, self._fingerprint = recorded["positions"], str(recorded["fingerprint"])
        self._engine = _live.get(self._fingerprint)

    # What it is --------------------------------------------------------------------------------

    @property
    def source(self) -> str:
        """What it was made of: a name, a handle or a folder."""
        return self._options.source

    @property
    def words(self) -> bool:
        """Whether each text is a list of its words."""
        return self._options.words

    @property
    def padding(self) -> str:
        """How far ids are padded, `"longest"` or `"sequence_length"`."""
        return self._options.padding

    def fingerprint(self) -> str:
        """SHA-256 of everything that ids depend on: settings, vocabulary, graph."""
        if self._fingerprint is None:
            self._fingerprint = self._at_hand().fingerprint()
        return self._fingerprint

    def _at_hand(self) -> preprocessing.TextPreprocessor:
        if self._engine is None:
            with tf.init_scope():  # also while a graph is traced that calls it
                self._engine = self._made_again()
        return self._engine

    def _made_again(self) -> preprocessing.TextPreprocessor:
        """Of a configuration alone: what its source, if that is on this machine, still gives."""
        if self._options.are_at_hand():
            made, _ = self._options.make(self.sequence_length, self.trust_code)
            made.by_word = self.words
            if made.fingerprint() == self._fingerprint:
                return made
        raise InputError(
            "this preprocessor's vocabulary isn't at hand, or has changed: load the whole `.keras` "
            f"file, or make a new one. Received: source={self.source!r}"
        )

    @property
    def compute_dtype(self) -> str:
        """What a `Sequential` model that begins with it reads."""
        return "string"

    variable_dtype = compute_dtype  # it has none; Keras would cast from one to the other

    def inputs(self, pairs: bool = False) -> dict[str, keras.KerasTensor]:
        """Inputs by name for a model that is fed what calling this gives.

        Args:
            pairs: Whether it is called with pairs.

        Example:

        >>> inputs = Preprocessor(encoder).inputs()
        >>> model = keras.Model(inputs, encoder(inputs)["pooled_output"])
        """
        length = self.sequence_length if self.padding == PADDING[1] else None
        names = self._names(2 if choices.flag("pairs", pairs) else 1)
        return {name: keras.Input((length,), dtype="int32", name=name) for name in names}

    # Calling -----------------------------------------------------------------------------------

    @tf.autograph.experimental.do_not_convert
    def __call__(
        self, texts: object, y: object = None, sample_weight: object = None, **kwargs: object
    ) -> Any:
        if y is not None and given_texts.are_strings(y):
            raise InputError(
                "the second of what it is called with is labels, and these are strings: give pairs "
                "of texts in a tuple, `preprocessor((firsts, seconds))`; of labels make numbers. "
                f"Received: {calls.described(y)}"
            )
        columns = given_texts.columns(texts, self.words)
        if self.words and len(columns) > 1:
            raise InputError("with `words=True` there is one list of words a text. Received: pairs")
        ids = super().__call__(columns, **kwargs)
        return keras.utils.pack_x_y_sample_weight(ids, y, sample_weight)

    def call(self, texts: Sequence[calls.Tensor]) -> dict[str, tf.Tensor]:
        engine = self._at_hand()
        alone = calls.rank(texts[0]) == int(self.words)
        columns = [_joined(each) if self.words else tf.reshape(each, [-1]) for each in texts]
        whole = self.padding == PADDING[1] or (alone and self.dialect == "bert")
        lengths = np.array([self.sequence_length]) if whole else None
        padded = engine.pad(engine.encode(columns), lengths)
        shape = [None, self.sequence_length if whole else None]
        made = {name: tf.ensure_shape(padded[name], shape) for name in self._names(len(columns))}
        return {name: value[0] for name, value in made.items()} if alone else made

    def compute_output_spec(self, texts: Sequence[calls.Tensor]) -> dict[str, keras.KerasTensor]:
        length = self.sequence_length if self.padding == PADDING[1] else None
        shape = (texts[0].shape[0], length)
        names = self._names(len(texts))
        return {name: keras.KerasTensor(shape, "int32") for name in names}

    def _names(self, columns: int) -> tuple[str, ...]:
        """The keys of what calling it with so many columns of texts gives."""
        if self.dialect == "bert":
            return (*BERT_INPUTS, WORD_STARTS) if self.words else BERT_INPUTS
        return (CODE_POINTS,) if columns == 1 else (f"{CODE_POINTS}_a", f"{CODE_POINTS}_b")

    # Saving ------------------------------------------------------------------------------------

    def save(self, folder: str | Path, overwrite: bool = False) -> None:
        """Writes it as a folder, of which `Preprocessor(folder)` makes it again.

        Args:
            folder: The folder to write; it appears whole.
            overwrite: Whether a folder there that this package wrote is replaced.

        Raises:
            InputError: If it can't be written, or would replace what this package didn't write.
        """
        overwrite = choices.flag("overwrite", overwrite)
        with atomic.part(opening.path_of(folder), overwrite) as scratch:
            self._at_hand().write(scratch)
            settings = scratch / preprocessing.SETTINGS
            more = {"padding": self.padding, "positions": self._positions}
            settings.write_text(json.dumps({**records.read(settings), **more}, indent=1) + "\n")

    def get_config(self) -> dict[str, object]:
        # A clone is made of this configuration, and finds the vocabulary by it.
        _live[self.fingerprint()] = self._at_hand()
        return {
            **super().get_config(),
            "source": self.source,
            "sequence_length": self.sequence_length,
            "words": self.words,
            "padding": self.padding,
            "preprocessor": self._options.preprocessor,
            "recorded": {
                "dialect": self.dialect,
                "positions": self._positions,
                "fingerprint": self.fingerprint(),
            },
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "Preprocessor":
        given = {name: value for name, value in config.items() if name != "recorded"}
        return cls(**given, _recorded=config["recorded"])

    def save_assets(self, dir_path: str) -> None:
        """Puts vocabulary and settings into a `.keras` file."""
        self._at_hand().write(Path(dir_path))

    def load_assets(self, dir_path: str) -> None:
        """Takes them out again."""
        engine = preprocessing.load_preprocessor(Path(dir_path), self.trust_code)
        found = (engine.dialect, engine.sequence_length, engine.by_word)
        if found != (self.dialect, self.sequence_length, self.words):
            raise InputError(
                "the preprocessor in the file has other settings than its configuration says. "
                f"Received: {found}"
            )
        self._engine = engine


class _Options:
    """What it was made of. Beside the layer, which would take an encoder for a part of itself."""

    def __init__(self, source: Source, preprocessor: str | None, words: bool, padding: str) -> None:
        self.encoder = source if isinstance(source, Encoder) else None  # files may be its own
        self.source = source.handle if isinstance(source, Encoder) else str(source)
        self._named = source if isinstance(source, registry.EncoderSource) else self.source
        self.preprocessor, self.words, self.padding = preprocessor, words, padding

    def are_at_hand(self) -> bool:
        """Whether making it asks no network, because all that it may read is on this machine."""
        if _is_saved(self.source):
            return True
        known = registry.describe(self.source)
        own = known.preprocessor if known is not None else None
        wanted = [self.source, self.preprocessor or own]
        return all(registry.find(each) is not None for each in wanted if each is not None)

    def make(
        self, length: int | None, trust_code: bool
    ) -> tuple[preprocessing.TextPreprocessor, int | None]:
        """What turns texts into ids, and the positions that its encoder has, as far as is known."""
        encoder = self.encoder
        if encoder is None:
            if _is_saved(self.source):
                self._refuse_another("a preprocessor that was saved")
                return self._load(opening.path_of(self.source), length, trust_code)
            source = registry.source_of(self._named)
            if _is_preprocessor(source.folder):
                self._refuse_another("a preprocessor itself")
                return preprocessing.of_saved_model(source.folder, length, trust_code), None
            encoder = Encoder(source, trust_code=trust_code)
        if encoder.dialect == "text":
            self._refuse_another("a text embedding, which reads texts as they are")
        made = preprocessing.make_preprocessor(encoder, self.preprocessor, length)
        return made, encoder.max_sequence_length

    def _refuse_another(self, what: str) -> None:
        if self.preprocessor is not None:
            raise InputError(
                f"{self.source} is {what}; leave `preprocessor` out. "
                f"Received: preprocessor={self.preprocessor!r}"
            )

    def _load(
        self, folder: Path, length: int | None, trust_code: bool
    ) -> tuple[preprocessing.TextPreprocessor, int | None]:
        """What `save` wrote, with its padding where none was asked for."""
        made = preprocessing.load_preprocessor(folder, trust_code)
        settings = records.read(folder / preprocessing.SETTINGS)
        positions = records.take(settings, "positions", int, folder)
        if length is not None:
            made.sequence_length = preprocessing.checked_length(length, positions)
        self.words = self.words or made.by_word
        if self.padding == PADDING[0]:
            self.padding = records.take(settings, "padding", str, folder, PADDING[0])
        return made, positions


def _is_saved(source: str) -> bool:
    return (opening.path_of(source) / preprocessing.SETTINGS).is_file()


def _is_preprocessor(folder: Path) -> bool:
    """Whether a SavedModel is a preprocessor of TF Hub; it isn't loaded for that."""
    try:
        [graph] = wire.read_saved_model(folder / registry.GRAPH).meta_graphs
        nodes = graph.object_graph_def.nodes
        names = {child.local_name: child.node_id for child in nodes[0].children}
        inner = nodes[names["tokenize"]].children if "tokenize" in names else ()
    except (OSError, ValueError, IndexError):
        return False  # what is wrong with it, loading says
    return any(child.local_name == "get_special_tokens_dict" for child in inner)


def _joined(words: tf.Tensor) -> tf.Tensor:
    """Words `[batch, words]`, empty ones behind, or those of one text, as texts `[batch]`."""
    return splitting.joined(words if words.shape.rank == 2 else words[tf.newaxis])
