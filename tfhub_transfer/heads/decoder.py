"""A Transformer's decoder over what an encoder gave: texts scored, and steps of a search."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any, TypeAlias

import keras
import tensorflow as tf

from tfhub_transfer.heads.copying import Copier, Copyable, Made
from tfhub_transfer.heads.settings import DecoderForm
from tfhub_transfer.runtime import full_precision
from tfhub_transfer.runtime.dropout import Dropout
from tfhub_transfer.runtime.masking import NEVER

Shape: TypeAlias = tuple[int | None, ...]
# Keys and values of attention, each `[rows, heads, places, width of a head]`.
KeysValues: TypeAlias = tuple[tf.Tensor, tf.Tensor]
# Those of every layer, of the places that are behind.
Cache: TypeAlias = tuple[KeysValues, ...]

# BERT's own, lest norms that come from an encoder give something else.
_EPSILON = 1e-12
# What is as likely as the likeliest up to rounding is the likeliest.
_ROUNDING = 1e-5


@dataclasses.dataclass(frozen=True)
class Remembered:
    """What a decoder reads at every place, made once for each text.

    Attributes:
        bias: `[batch, 1, 1, source]`, added to the scores of cross attention.
        cross: Keys and values of cross attention, for each layer.
        copyable: What may be copied, of a decoder that copies.
        table: The output embedding as products want it that are made anew for each place,
            `[width, vocabulary]`: of a few rows they take half the time, or less.
        places: How many places a cache has from the beginning; `None`: it grows with each step.
    """

    bias: tf.Tensor
    cross: Cache
    copyable: Copyable | None
    table: tf.Tensor
    places: int | None

    def of(self, texts: tf.Tensor) -> "Remembered":
        """What is read of some of the texts, by their numbers `[n]`."""

        def picked(values: tf.Tensor) -> tf.Tensor:
            return tf.gather(values, texts)

        bias, cross = picked(self.bias), tf.nest.map_structure(picked, self.cross)
        copyable = self.copyable and self.copyable.of(texts)
        return dataclasses.replace(self, bias=bias, cross=cross, copyable=copyable)


@keras.saving.register_keras_serializable(package="tfhub_transfer")
class Attention(keras.layers.Layer):
    """Attention of several heads (Vaswani et al. 2017) to keys and values that are there."""

    def __init__(self, heads: int, width: int, dropout: float, **kwargs: Any) -> None:
        super().__init__(**{"dtype": full_precision.policy(), **kwargs})
        self.heads, self.width = heads, width
        self.query = full_precision.Dense(width, name="query")
        # Both at once: at a single place a product costs what it costs to begin one.
        self.key_value = full_precision.Dense(2 * width, name="key_value")
        self.output_layer = full_precision.Dense(width, name="output")
        self.dropout = Dropout(dropout, dtype=self.dtype_policy)

    def build(self, shape: Shape) -> None:
        for dense in (self.query, self.key_value, self.output_layer):
            dense.build((None, None, self.width))

    def keys_values(self, vectors: tf.Tensor, rows: tf.Tensor) -> KeysValues:
        """Keys and values, `[rows, heads, places, size]`, of vectors `[rows * places, width]`."""
        both = self.key_value(vectors)
        parted = tf.reshape(both, [rows, -1, 2, self.heads, self.width // self.heads])
        keys, values = tf.unstack(tf.transpose(parted, [2, 0, 3, 1, 4]))
        return keys, values

    def call(
        self,
        vectors: tf.Tensor,
        keys: tf.Tensor,
        values: tf.Tensor,
        bias: tf.Tensor,
        training: bool = False,
    ) -> tf.Tensor:
        """Vectors `[n, width]` to the same, as many of them for each row of keys and values."""
        return self.with_weights(vectors, keys, values, bias, training)[0]

    def with_weights(
        self,
        vectors: tf.Tensor,
        keys: tf.Tensor,
        values: tf.Tensor,
        bias: tf.Tensor,
        training: bool = False,
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """As `call`, and how much of each place is read, `[rows, heads, n / rows, places]`."""
        each = self.width // self.heads
        queries = tf.reshape(self.query(vectors), [tf.shape(keys)[0], -1, self.heads, each])
        queries = tf.transpose(queries, [0, 2, 1, 3]) * (1.0 / math.sqrt(each))
        weights = tf.nn.softmax(tf.matmul(queries, keys, transpose_b=True) + bias)
        mixed = tf.matmul(self.dropout(weights, training=training), values)
        mixed = tf.reshape(tf.transpose(mixed, [0, 2, 1, 3]), [-1, self.width])
        return self.output_layer(mixed), weights


@keras.saving.register_keras_serializable(package="tfhub_transfer")
class DecoderLayer(keras.layers.Layer):
    """Self-attention to what is behind, attention to the memory, feed-forward."""

    def __init__(self, form: DecoderForm, **kwargs: Any) -> None:
        super().__init__(**{"dtype": full_precision.policy(), **kwargs})
        self.form = form
        self.own = Attention(form.heads, form.width, form.dropout, name="own")
        self.cross = Attention(form.heads, form.width, form.dropout, name="cross")
        self.inner = full_precision.Dense(form.inner_units, _gelu, name="inner")
        self.outer = full_precision.Dense(form.width, name="outer")
        # Of self-attention, cross attention and feed-forward: before each, or after.
        self.norms = [_norm(f"norm_{number}") for number in range(3)]
        self.dropout = Dropout(form.dropout, dtype=self.dtype_policy)

    def build(self, shape: Shape) -> None:
        vectors = (None, None, self.form.width)
        for layer in (self.own, self.cross, self.inner, *self.norms):
            layer.build(vectors)
        self.outer.build((None, None, self.form.inner_units))

    def before(self, number: int, vectors: tf.Tensor) -> tf.Tensor:
        """What the first, second or third part reads."""
        return self.norms[number](vectors) if self.form.pre_norm else vectors

    def after(self, number: int, vectors: tf.Tensor, added: tf.Tensor, training: bool) -> tf.Tensor:
        """Vectors, and what the part made of them."""
        vectors = vectors + self.dropout(added, training=training)
        return vectors if self.form.pre_norm else self.norms[number](vectors)

    def call(
        self,
        vectors: tf.Tensor,
        own: KeysValues,
        own_bias: tf.Tensor,
        cross: KeysValues,
        cross_bias: tf.Tensor,
        training: bool = False,
    ) -> tf.Tensor:
        """Vectors `[n, width]` to the same.

        As many stand side by side for each row of `own` and of `cross`: places of one text, or in
        a search hypotheses, which have a row of `own` each, and share their text's of `cross`.
        """
        return self.with_weights(vectors, own, own_bias, cross, cross_bias, training)[0]

    def with_weights(
        self,
        vectors: tf.Tensor,
        own: KeysValues,
        own_bias: tf.Tensor,
        cross: KeysValues,
        cross_bias: tf.Tensor,
        training: bool = False,
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """As `call`, and how much of each place of `cross` is read; see `Attention`."""
        attended = self.own(self.before(0, vectors), *own, own_bias, training=training)
        vectors = self.after(0, vectors, attended, training)
        attended, weights = self.cross.with_weights(
            self.before(1, vectors), *cross, cross_bias, training
        )
        vectors = self.after(1, vectors, attended, training)
        made = self.outer(self.inner(self.before(2, vectors)))
        return self.after(2, vectors, made, training), weights


@keras.saving.register_keras_serializable(package="tfhub_transfer")
class Decoder(keras.layers.Layer):
    """A memory and the pieces of a text so far to how likely each next piece is.

    A Transformer's decoder (Vaswani et al. 2017) whose output embedding is its input embedding. Of
    a text of n pieces it reads n + 1: one that says where it begins, and the pieces.

    Args:
        vocabulary_size: How many pieces there are; 0 fills rows up.
        max_length: The most pieces of a text, without its beginning and its end.
        form: Its size, as Keras' configurations have it or as it is.
    """

    def __init__(
        self,
        vocabulary_size: int,
        max_length: int,
        form: DecoderForm | Mapping[str, Any],
        **kwargs: Any,
    ) -> None:
        super().__init__(**{"dtype": full_precision.policy(), **kwargs})
        self.supports_masking = True
        self.vocabulary_size, self.max_length = vocabulary_size, max_length
        self.form = form if isinstance(form, DecoderForm) else DecoderForm(**form)
        self.layers = [DecoderLayer(self.form, name=f"layer_{n}") for n in range(self.form.layers)]
        self.norm = _norm("norm")
        self.last_norm = _norm("last_norm") if self.form.pre_norm else None
        self.project = full_precision.Dense(self.form.width, name="project")
        self.dropout = Dropout(self.form.dropout, dtype=self.dtype_policy)
        self.adapter: keras.layers.Layer | None = None
        copies = self.form.copies
        self.copier = Copier(self.form.width, vocabulary_size, name="copier") if copies else None

    def build(
        self,
        memory_shape: Shape,
        present_shape: Shape | None = None,
        targets_shape: Shape | None = None,
        sources_shape: Shape | None = None,
        stood_shape: Shape | None = None,
    ) -> None:
        width, normal = self.form.width, keras.initializers.RandomNormal
        # So that pieces and positions are added in the sizes that they have in BERT.
        self.table = self.add_weight(
            (self.vocabulary_size, width), normal(stddev=width**-0.5), name="table"
        )
        self.positions = self.add_weight(
            (self.max_length + 1, width), normal(stddev=0.02), name="positions"
        )
        self.bias = self.add_weight((self.vocabulary_size,), "zeros", name="bias")
        if memory_shape[-1] != width:
            self.adapter = full_precision.Dense(width, name="adapter")
            self.adapter.build((None, None, memory_shape[-1]))
        for layer in (*self.layers, self.norm, self.last_norm, self.project, self.copier):
            if layer is not None:
                layer.build((None, None, width))

    # Texts that are there -------------------------------------------------------------------------

    def call(
        self,
        memory: tf.Tensor,
        present: tf.Tensor,
        targets: tf.Tensor,
        sources: tf.Tensor | None = None,
        stood: tf.Tensor | None = None,
        training: bool = False,
    ) -> tf.Tensor:
        """How likely a text is, piece by piece.

        Args:
            memory: `[batch, source, width of the memory]`; source is 1 of one vector for a text.
            present: 1 where there is a memory, `[batch, source]`.
            targets: Ids `[batch, n + 1]`: where a text begins, its pieces, where it ends, then 0.
            sources: Ids of the source's pieces, `[batch, pieces]`, where the decoder copies; 0 at
                what must not be copied.
            stood: At which place of the memory each of them stands, `[batch, pieces]`; by default
                there are as many, in the same order.
            training: Whether dropout drops.

        Returns:
            Of each piece behind the first, float32 `[batch, n, 3]`: the logarithm of its
            probability, the mean of the logarithms of the whole vocabulary's (for smoothing of
            labels), and 1.0 where the piece is the likeliest of all.
        """
        state = self.start(memory, present, sources, stood)
        ids, gold = targets[:, :-1], targets[:, 1:]
        size = tf.shape(ids)
        rows, count = size[0], size[1]
        vectors = self._embedded(ids, tf.convert_to_tensor(self.positions)[:count], training)
        ahead = (1.0 - tf.linalg.band_part(tf.ones([count, count]), -1, 0)) * NEVER
        for layer, cross in zip(self.layers, state.cross):
            own = layer.own.keys_values(layer.before(0, vectors), rows)
            vectors = layer(vectors, own, ahead, cross, state.bias, training=training)
        vectors = self._projected(vectors)
        return self._scores(vectors, ids, gold, state.copyable)

    def compute_output_shape(
        self,
        memory_shape: Shape,
        present_shape: Shape | None = None,
        targets_shape: Shape | None = None,
        sources_shape: Shape | None = None,
        stood_shape: Shape | None = None,
    ) -> Shape:
        assert targets_shape is not None
        ids = targets_shape[1]
        return (memory_shape[0], None if ids is None else ids - 1, 3)

    def compute_mask(self, *args: Any, **kwargs: Any) -> None:
        return None

    def get_config(self) -> dict[str, object]:
        return {
            **super().get_config(),
            "vocabulary_size": self.vocabulary_size,
            "max_length": self.max_length,
            "form": dataclasses.asdict(self.form),
        }

    # Texts that are searched for -----------------------------------------------------------------

    def start(
        self,
        memory: tf.Tensor,
        present: tf.Tensor,
        sources: tf.Tensor | None = None,
        stood: tf.Tensor | None = None,
        places: int | None = None,
    ) -> Remembered:
        """What every step reads, of arguments as of `call`.

        Args:
            memory: `[batch, source, width of the memory]`.
            present: `[batch, source]`.
            sources: `[batch, pieces]`, where the decoder copies.
            stood: `[batch, pieces]`.
            places: How many places caches have from the beginning, for XLA, which has tensors of
                one size; by default they grow with each step, which is faster on a CPU.
        """
        # As `call` has it by Keras: an encoder may compute in bfloat16.
        memory = tf.cast(memory, tf.float32)
        if self.adapter is not None:
            memory = self.adapter(memory)
        bias = (1.0 - tf.cast(present, tf.float32))[:, None, None, :] * NEVER
        size = tf.shape(memory)
        flat = tf.reshape(memory, [-1, self.form.width])
        cross = tuple(layer.cross.keys_values(flat, size[0]) for layer in self.layers)
        copyable = None
        if self.copier is not None:
            copyable = self.copier.copyable(memory, present, sources, self._own(sources), stood)
        table = tf.transpose(tf.convert_to_tensor(self.table))
        return Remembered(bias, cross, copyable, table, places)

    def empty(self, rows: tf.Tensor | int, state: Remembered) -> Cache:
        """The cache of so many hypotheses at the place 0; axes that will grow are of length 0."""
        form = self.form
        shape = [rows, form.heads, state.places or 0, form.width // form.heads]
        return tuple((tf.zeros(shape), tf.zeros(shape)) for _ in self.layers)

    def step(
        self, ids: tf.Tensor, place: tf.Tensor, cache: Cache, state: Remembered
    ) -> tuple[tf.Tensor, Cache]:
        """One place further.

        Args:
            ids: The piece at the place, of hypotheses `[rows]`: as many of each text, those of one
                text side by side.
            place: Which place it is, from 0; of all hypotheses the same.
            cache: What the step before gave, or `empty`.
            state: What `start` gave of the texts.

        Returns:
            The logarithm of each next piece's probability, `[rows, vocabulary]`, and the cache.
        """
        return self.step_reading(ids, place, cache, state)[:2]

    def step_reading(
        self, ids: tf.Tensor, place: tf.Tensor, cache: Cache, state: Remembered
    ) -> tuple[tf.Tensor, Cache, tf.Tensor]:
        """As `step`, and how much the last layer reads of each place of the source.

        Args:
            ids: As of `step`.
            place: Likewise.
            cache: Likewise.
            state: Likewise.

        Returns:
            As `step`, and shares `[rows, source]`, the mean of its heads.
        """
        position = tf.gather(tf.convert_to_tensor(self.positions), place)
        vectors = self._embedded(ids[:, None], position, False)
        bias, rows = _behind(place, state.places), tf.shape(ids)[0]
        filled = []
        for layer, own, cross in zip(self.layers, cache, state.cross):
            new = layer.own.keys_values(layer.before(0, vectors), rows)
            own = _filled(own, new, place, state.places)
            vectors, weights = layer.with_weights(vectors, own, bias, cross, state.bias)
            filled.append(own)
        vectors = self._projected(vectors)
        logits = tf.matmul(vectors, state.table) + tf.convert_to_tensor(self.bias)
        found = tf.nn.log_softmax(logits)
        if self.copier is not None and state.copyable is not None:
            found = self.copier.all_pieces(vectors, self._own(ids), found, state.copyable)
        read = tf.reduce_mean(weights, axis=1)
        return found, tuple(filled), tf.reshape(read, [rows, tf.shape(read)[-1]])

    # What both share ------------------------------------------------------------------------------

    def _own(self, ids: tf.Tensor) -> tf.Tensor:
        """Pieces' own vectors, wherever they stand, of the size that the memory has."""
        found: tf.Tensor = self.norm(tf.nn.embedding_lookup(tf.convert_to_tensor(self.table), ids))
        return found

    def _embedded(self, ids: tf.Tensor, positions: tf.Tensor, training: bool) -> tf.Tensor:
        vectors = tf.nn.embedding_lookup(tf.convert_to_tensor(self.table), ids) + positions
        vectors = tf.reshape(vectors, [-1, self.form.width])
        return self.dropout(self.norm(vectors), training=training)

    def _projected(self, vectors: tf.Tensor) -> tf.Tensor:
        return self.project(vectors if self.last_norm is None else self.last_norm(vectors))

    def _scores(
        self, vectors: tf.Tensor, ids: tf.Tensor, gold: tf.Tensor, copyable: Copyable | None
    ) -> tf.Tensor:
        size, gold = tf.shape(gold), tf.reshape(gold, [-1])
        table, bias = tf.convert_to_tensor(self.table), tf.convert_to_tensor(self.bias)
        logits = tf.matmul(vectors, table, transpose_b=True) + bias
        found = -tf.nn.sparse_softmax_cross_entropy_with_logits(gold, logits)
        # The mean of a product is one with the mean: no second pass over the whole vocabulary, and
        # the normalizer is what the loss took off the piece's own logit.
        mean = tf.linalg.matvec(vectors, tf.reduce_mean(table, 0)) + tf.reduce_mean(bias)
        own = tf.reduce_sum(vectors * tf.nn.embedding_lookup(table, gold), -1)
        normalizer = own + tf.gather(bias, gold) - found
        best = tf.reduce_max(tf.stop_gradient(logits), -1) - normalizer
        made = Made(found, mean - normalizer, best, normalizer)
        if self.copier is not None and copyable is not None:
            known = tf.nn.embedding_lookup(table, copyable.sources)
            biases = tf.gather(bias, copyable.sources)
            last = tf.reshape(self._own(ids), [-1, self.form.width])
            made = self.copier.scores(vectors, last, gold, made, (known, biases), copyable)
        likeliest = tf.stop_gradient(tf.cast(made.gold >= made.best - _ROUNDING, tf.float32))
        scores = tf.stack([made.gold, made.mean, likeliest], axis=-1)
        return tf.reshape(scores, [size[0], size[1], 3])


def _gelu(x: tf.Tensor) -> tf.Tensor:
    """GELU by `Erf`, as encoders have it: `tf.nn.gelu` says `Erfc`, which not all formats have."""
    return (0.5 * (1.0 + tf.math.erf(x * math.sqrt(0.5)))) * x


def _norm(name: str) -> keras.layers.Layer:
    return keras.layers.LayerNormalization(
        epsilon=_EPSILON, dtype=full_precision.policy(), name=name
    )


def _behind(place: tf.Tensor, places: int | None) -> tf.Tensor:
    """What hides the places of a cache that nothing stands at yet."""
    if places is None:
        return tf.zeros([])
    return tf.where(tf.range(places) <= place, 0.0, NEVER)


def _filled(cache: KeysValues, new: KeysValues, place: tf.Tensor, places: int | None) -> KeysValues:
    """A layer's cache with what belongs to one place, `[rows, heads, 1, size]`."""
    if places is None:
        keys, values = (tf.concat([old, one], 2) for old, one in zip(cache, new))
        return keys, values
    here = tf.equal(tf.range(places), place)[:, None]
    keys, values = (tf.where(here, one, old) for old, one in zip(cache, new))
    return keys, values
