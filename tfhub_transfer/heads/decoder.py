"""A Transformer's decoder over what an encoder gave: scores of given texts, and steps of a search."""

import dataclasses
import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import keras
import numpy as np
import tensorflow as tf

from tfhub_transfer.encoders import variable_groups
from tfhub_transfer.runtime import full_precision
from tfhub_transfer.runtime.dropout import Dropout
from tfhub_transfer.runtime.masking import NEVER
from tfhub_transfer.shapes import Array

Shape: TypeAlias = tuple[int | None, ...]
# Keys and values of attention, each `[rows, heads, places, width of a head]`.
KeysValues: TypeAlias = tuple[tf.Tensor, tf.Tensor]
# Those of every layer, of the places that are behind.
Cache: TypeAlias = tuple[KeysValues, ...]

# BERT's own, lest norms that come from an encoder give something else.
_EPSILON = 1e-12
# The logarithm of a copy that can't be is this one's, and no infinity.
_TINY = 1e-30
# What is as likely as the likeliest up to rounding is the likeliest.
_ROUNDING = 1e-5
# An encoder's weights, by their plain names.
_WORDS = "word_embeddings/embeddings"
_POSITIONS = ("position_embedding/embeddings", "type_embeddings/embeddings")
_ATTENTION = ("query", "key", "value", "attention_output")
_FEED_FORWARD = ("intermediate", "output")


@dataclasses.dataclass(frozen=True)
class Copying:
    """What may be copied of each text.

    Attributes:
        keys: `[batch, source, width]`.
        sources: Ids `[batch, source]`.
        shown: Where there is something to copy, `[batch, source]`.
        same: 1.0 where what is shown (second axis) is the piece at a place (third axis).
    """

    keys: tf.Tensor
    sources: tf.Tensor
    shown: tf.Tensor
    same: tf.Tensor


@dataclasses.dataclass(frozen=True)
class Remembered:
    """What a decoder reads at every place, made once for each text.

    Attributes:
        bias: `[batch, 1, 1, source]`, added to the scores of cross attention.
        cross: Keys and values of cross attention, for each layer.
        copying: What may be copied, of a decoder that copies.
        places: How many places a cache has from the beginning; `None`: it grows with each step.
    """

    bias: tf.Tensor
    cross: Cache
    copying: Copying | None
    places: int | None


@keras.saving.register_keras_serializable(package="tfhub_transfer")
class Attention(keras.layers.Layer):
    """Attention of several heads (Vaswani et al. 2017) to keys and values that are there already."""

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

    def keys_values(self, memory: tf.Tensor) -> KeysValues:
        """Keys and values of `[rows, places, width]`, each `[rows, heads, places, size]`."""
        both = self.key_value(memory)
        size = tf.shape(both)
        parted = tf.reshape(both, [size[0], size[1], 2, self.heads, self.width // self.heads])
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
        size, each = tf.shape(vectors), self.width // self.heads
        queries = tf.reshape(self.query(vectors), [size[0], size[1], self.heads, each])
        queries = tf.transpose(queries, [0, 2, 1, 3]) * (1.0 / math.sqrt(each))
        weights = tf.nn.softmax(tf.matmul(queries, keys, transpose_b=True) + bias)
        mixed = tf.matmul(self.dropout(weights, training=training), values)
        mixed = tf.reshape(tf.transpose(mixed, [0, 2, 1, 3]), [size[0], size[1], self.width])
        return self.output_layer(mixed)


@keras.saving.register_keras_serializable(package="tfhub_transfer")
class DecoderLayer(keras.layers.Layer):
    """Self-attention to what is behind, attention to the memory, feed-forward."""

    def __init__(
        self,
        heads: int,
        width: int,
        inner_units: int,
        dropout: float,
        pre_norm: bool,
        **kwargs: Any,
    ) -> None:
        super().__init__(**{"dtype": full_precision.policy(), **kwargs})
        self.width, self.inner_units, self.pre_norm = width, inner_units, pre_norm
        self.own = Attention(heads, width, dropout, name="own")
        self.cross = Attention(heads, width, dropout, name="cross")
        self.inner = full_precision.Dense(inner_units, "gelu", name="inner")
        self.outer = full_precision.Dense(width, name="outer")
        # Of self-attention, cross attention and feed-forward: before each, or after.
        self.norms = [_norm(f"norm_{number}") for number in range(3)]
        self.dropout = Dropout(dropout, dtype=self.dtype_policy)

    def build(self, shape: Shape) -> None:
        vectors = (None, None, self.width)
        for layer in (self.own, self.cross, self.inner, *self.norms):
            layer.build(vectors)
        self.outer.build((None, None, self.inner_units))

    def before(self, number: int, vectors: tf.Tensor) -> tf.Tensor:
        """What the first, second or third part reads."""
        return self.norms[number](vectors) if self.pre_norm else vectors

    def after(
        self, number: int, vectors: tf.Tensor, added: tf.Tensor, training: bool
    ) -> tf.Tensor:
        """Vectors, and what the part made of them."""
        vectors = vectors + self.dropout(added, training=training)
        return vectors if self.pre_norm else self.norms[number](vectors)

    def call(
        self,
        vectors: tf.Tensor,
        own: KeysValues,
        own_bias: tf.Tensor,
        cross: KeysValues,
        cross_bias: tf.Tensor,
        training: bool = False,
    ) -> tf.Tensor:
        """Vectors `[batch, n, width]` to the same; `own` may have a row for each of them.

        Where it has, as in a search, they are hypotheses at one place and not places of one text.
        """
        read = self.before(0, vectors)
        lone = tf.reshape(read, [tf.shape(own[0])[0], -1, self.width])
        attended = self.own(lone, *own, own_bias, training=training)
        attended = tf.reshape(attended, tf.shape(vectors))
        vectors = self.after(0, vectors, attended, training)
        attended = self.cross(self.before(1, vectors), *cross, cross_bias, training=training)
        vectors = self.after(1, vectors, attended, training)
        made = self.outer(self.inner(self.before(2, vectors)))
        return self.after(2, vectors, made, training)


@keras.saving.register_keras_serializable(package="tfhub_transfer")
class Decoder(keras.layers.Layer):
    """A memory and the pieces of a text so far to how likely each next piece is.

    A Transformer's decoder (Vaswani et al. 2017) whose output embedding is its input embedding. Of
    a text of n pieces it reads n + 1: one that says where it begins, and the pieces.

    Args:
        vocabulary_size: How many pieces there are; 0 fills rows up.
        width: Of its vectors; a memory of another width passes a dense layer first.
        layers: How many.
        heads: Of every attention; they part `width` evenly.
        inner_units: Width of the feed-forward parts.
        max_length: The most pieces of a text, without its beginning and its end.
        dropout: Share that is dropped while training.
        pre_norm: Whether norms stand before each part, which trains more calmly when there are
            many layers, or behind, as in BERT, whose weights then do what they did.
        copies: Whether a piece can be copied of the source, as in See et al. 2017, "Get To The
            Point"; the source is read in the same vocabulary then.
    """

    def __init__(
        self,
        vocabulary_size: int,
        width: int,
        layers: int = 1,
        heads: int = 4,
        inner_units: int = 1024,
        max_length: int = 128,
        dropout: float = 0.1,
        pre_norm: bool = False,
        copies: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**{"dtype": full_precision.policy(), **kwargs})
        self.supports_masking = True
        self.vocabulary_size, self.width, self.heads = vocabulary_size, width, heads
        self.inner_units, self.max_length = inner_units, max_length
        self.dropout_rate, self.pre_norm, self.copies = dropout, pre_norm, copies
        self.layers = [
            DecoderLayer(heads, width, inner_units, dropout, pre_norm, name=f"layer_{number}")
            for number in range(layers)
        ]
        self.norm, self.last_norm = _norm("norm"), _norm("last_norm") if pre_norm else None
        self.project = full_precision.Dense(width, name="project")
        self.dropout = Dropout(dropout, dtype=self.dtype_policy)
        self.adapter: keras.layers.Layer | None = None
        if copies:
            self.copy_query = full_precision.Dense(width, name="copy_query")
            self.copy_key = full_precision.Dense(width, name="copy_key")
            self.gate = full_precision.Dense(1, name="gate")

    def build(
        self,
        memory_shape: Shape,
        present_shape: Shape | None = None,
        targets_shape: Shape | None = None,
        sources_shape: Shape | None = None,
    ) -> None:
        width, normal = self.width, keras.initializers.RandomNormal
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
        extra = [self.copy_query, self.copy_key, self.gate] if self.copies else []
        last = [] if self.last_norm is None else [self.last_norm]
        for layer in (*self.layers, self.norm, *last, self.project, *extra):
            layer.build((None, None, width))

    # Texts that are there -------------------------------------------------------------------------

    def call(
        self,
        memory: tf.Tensor,
        present: tf.Tensor,
        targets: tf.Tensor,
        sources: tf.Tensor | None = None,
        training: bool = False,
    ) -> tf.Tensor:
        """How likely a text is, piece by piece.

        Args:
            memory: `[batch, source, width of the memory]`; source is 1 of one vector for a text.
            present: 1 where there is a memory, `[batch, source]`.
            targets: Ids `[batch, n + 1]`: where a text begins, its pieces, where it ends, then 0.
            sources: Ids of the source at the places of the memory, `[batch, source]`, where the
                decoder copies; 0 at what must not be copied.
            training: Whether dropout drops.

        Returns:
            Of each piece behind the first, float32 `[batch, n, 3]`: the logarithm of its
            probability, the mean of the logarithms of the whole vocabulary's (for smoothing of
            labels), and 1.0 where the piece is the likeliest of all.
        """
        state = self.start(memory, present, sources)
        ids, gold = targets[:, :-1], targets[:, 1:]
        count = tf.shape(ids)[1]
        vectors = self._embedded(ids, tf.convert_to_tensor(self.positions)[:count], training)
        ahead = (1.0 - tf.linalg.band_part(tf.ones([count, count]), -1, 0)) * NEVER
        for layer, cross in zip(self.layers, state.cross):
            own = layer.own.keys_values(layer.before(0, vectors))
            vectors = layer(vectors, own, ahead, cross, state.bias, training=training)
        vectors = self._projected(vectors)
        return self._scores(vectors, gold, state.copying)

    def compute_output_shape(
        self,
        memory_shape: Shape,
        present_shape: Shape | None = None,
        targets_shape: Shape | None = None,
        sources_shape: Shape | None = None,
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
            "width": self.width,
            "layers": len(self.layers),
            "heads": self.heads,
            "inner_units": self.inner_units,
            "max_length": self.max_length,
            "dropout": self.dropout_rate,
            "pre_norm": self.pre_norm,
            "copies": self.copies,
        }

    # Texts that are searched for -----------------------------------------------------------------

    def start(
        self,
        memory: tf.Tensor,
        present: tf.Tensor,
        sources: tf.Tensor | None = None,
        places: int | None = None,
    ) -> Remembered:
        """What every step reads, of arguments as of `call`.

        Args:
            memory: `[batch, source, width of the memory]`.
            present: `[batch, source]`.
            sources: `[batch, source]`, where the decoder copies.
            places: How many places caches have from the beginning, for XLA, which has tensors of
                one size; by default they grow with each step, which is faster on a CPU.
        """
        if self.adapter is not None:
            memory = self.adapter(memory)
        bias = (1.0 - tf.cast(present, tf.float32))[:, None, None, :] * NEVER
        cross = tuple(layer.cross.keys_values(memory) for layer in self.layers)
        copying = self._copying(memory, present, sources) if self.copies else None
        return Remembered(bias, cross, copying, places)

    def empty(self, rows: tf.Tensor | int, state: Remembered) -> Cache:
        """The cache of so many hypotheses at the place 0; axes that will grow are of length 0."""
        shape = [rows, self.heads, state.places or 0, self.width // self.heads]
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
        position = tf.gather(tf.convert_to_tensor(self.positions), place)
        vectors = self._embedded(ids[:, None], position, False)
        # The hypotheses of a text stand where a text's places stand: they share its memory.
        vectors = tf.reshape(vectors, [tf.shape(state.bias)[0], -1, self.width])
        bias = _behind(place, state.places)
        filled = []
        for layer, own, cross in zip(self.layers, cache, state.cross):
            read = tf.reshape(layer.before(0, vectors), [-1, 1, self.width])
            own = _filled(own, layer.own.keys_values(read), place, state.places)
            vectors = layer(vectors, own, bias, cross, state.bias)
            filled.append(own)
        vectors = self._projected(vectors)
        found = tf.nn.log_softmax(self._logits(vectors))
        if state.copying is not None:
            found = self._with_copies(vectors, found, state.copying)
        return tf.reshape(found, [-1, self.vocabulary_size]), tuple(filled)

    # What both share ------------------------------------------------------------------------------

    def _embedded(self, ids: tf.Tensor, positions: tf.Tensor, training: bool) -> tf.Tensor:
        vectors = tf.nn.embedding_lookup(tf.convert_to_tensor(self.table), ids) + positions
        return self.dropout(self.norm(vectors), training=training)

    def _projected(self, vectors: tf.Tensor) -> tf.Tensor:
        return self.project(vectors if self.last_norm is None else self.last_norm(vectors))

    def _logits(self, vectors: tf.Tensor) -> tf.Tensor:
        """Of `[batch, n, width]`: `[batch, n, vocabulary]`."""
        flat = tf.reshape(vectors, [-1, self.width])
        logits = tf.matmul(flat, tf.convert_to_tensor(self.table), transpose_b=True)
        logits = logits + tf.convert_to_tensor(self.bias)
        return tf.reshape(logits, [*tf.unstack(tf.shape(vectors)[:2]), self.vocabulary_size])

    def _logits_of(self, vectors: tf.Tensor, ids: tf.Tensor) -> tf.Tensor:
        """Of `[batch, n, width]`, for ids `[batch, m]` alone: `[batch, n, m]`."""
        known = tf.nn.embedding_lookup(tf.convert_to_tensor(self.table), ids)
        bias = tf.gather(tf.convert_to_tensor(self.bias), ids)[:, None, :]
        return tf.matmul(vectors, known, transpose_b=True) + bias

    def _scores(self, vectors: tf.Tensor, gold: tf.Tensor, copying: Copying | None) -> tf.Tensor:
        logits = self._logits(vectors)
        found = -tf.nn.sparse_softmax_cross_entropy_with_logits(gold, logits)
        # The mean of a product is one with the mean: no second pass over the whole vocabulary, and
        # the normalizer is what the loss took off the piece's own logit.
        table, bias = tf.convert_to_tensor(self.table), tf.convert_to_tensor(self.bias)
        mean = tf.linalg.matvec(vectors, tf.reduce_mean(table, 0)) + tf.reduce_mean(bias)
        own = tf.reduce_sum(vectors * tf.nn.embedding_lookup(table, gold), -1)
        normalizer = own + tf.gather(bias, gold) - found
        best = tf.reduce_max(tf.stop_gradient(logits), -1) - normalizer
        mean -= normalizer
        if copying is not None:
            found, mean, best = self._mixed_scores(
                vectors, gold, copying, (found, mean, best, normalizer)
            )
        likeliest = tf.stop_gradient(tf.cast(found >= best - _ROUNDING, tf.float32))
        return tf.stack([found, mean, likeliest], axis=-1)

    # Copies ---------------------------------------------------------------------------------------

    def _copying(
        self, memory: tf.Tensor, present: tf.Tensor, sources: tf.Tensor | None
    ) -> Copying:
        assert sources is not None
        shown = tf.logical_and(tf.cast(present, tf.bool), sources != 0)
        same = tf.logical_and(sources[:, :, None] == sources[:, None, :], shown[:, :, None])
        return Copying(self.copy_key(memory), sources, shown, tf.cast(same, tf.float32))

    def _copied(self, vectors: tf.Tensor, copying: Copying) -> tuple[tf.Tensor, ...]:
        """Shares of each place of the source, `[batch, n, source]`, and two logarithms `[.., 1]`.

        They are those of what is made of the vocabulary, and of what is copied.
        """
        scores = tf.matmul(self.copy_query(vectors), copying.keys, transpose_b=True)
        scores *= 1.0 / math.sqrt(self.width)
        shares = tf.nn.softmax(tf.where(copying.shown[:, None, :], scores, NEVER))
        shares *= tf.cast(copying.shown, tf.float32)[:, None, :]
        some = tf.reduce_any(copying.shown, -1)[:, None, None]
        gate = tf.where(some, self.gate(vectors), NEVER)
        return shares, tf.math.log_sigmoid(-gate), tf.math.log_sigmoid(gate)

    def _with_copies(self, vectors: tf.Tensor, made: tf.Tensor, copying: Copying) -> tf.Tensor:
        """The whole vocabulary's, `[batch, n, vocabulary]`; pieces not in the source are made."""
        copied = self._copied(vectors, copying)
        size = tf.shape(made)
        count = size[0] * size[1]
        ids = tf.repeat(copying.sources, size[1], axis=0)
        rows = tf.broadcast_to(tf.range(count)[:, None], tf.shape(ids))
        flat = tf.reshape(made, [count, self.vocabulary_size])
        places = tf.stack([rows, ids], axis=-1)
        of_sources = tf.reshape(tf.gather_nd(flat, places), [size[0], size[1], -1])
        mixed = _at_sources(of_sources, copied, copying)
        # A piece that comes several times has the same at all of its places.
        flat = tf.tensor_scatter_nd_update(
            tf.reshape(made + copied[1], [count, self.vocabulary_size]),
            places,
            tf.reshape(mixed, tf.shape(ids)),
        )
        return tf.reshape(flat, size)

    def _mixed_scores(
        self,
        vectors: tf.Tensor,
        gold: tf.Tensor,
        copying: Copying,
        made: tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor],
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Piece, mean and best as `_scores` has them, where copying is possible too."""
        found, mean, best, normalizer = made
        copied = self._copied(vectors, copying)
        shares, keep, copy = copied
        plain = self._logits_of(vectors, copying.sources) - normalizer[..., None]
        mixed = _at_sources(plain, copied, copying)
        here = tf.cast(gold[:, :, None] == copying.sources[:, None, :], tf.float32)
        at_gold = _log(tf.reduce_sum(shares * here, -1))
        found = _either(keep[..., 0] + found, copy[..., 0] + at_gold)
        # Each piece of the source once, however often it comes.
        once = tf.cast(copying.shown, tf.float32) / tf.maximum(tf.reduce_sum(copying.same, 1), 1.0)
        more = tf.reduce_sum((mixed - keep - plain) * once[:, None, :], -1)
        mean += keep[..., 0] + more / self.vocabulary_size
        best = tf.maximum(best + keep[..., 0], tf.reduce_max(tf.stop_gradient(mixed), -1))
        return found, mean, best

    # An encoder's weights -------------------------------------------------------------------------

    def warm_start(
        self, weights: Mapping[str, Any], layers: Sequence[int], words: bool = False
    ) -> list[str]:
        """Takes over an encoder's weights where they fit, as Rothe et al. 2020 do.

        Self-attention, feed-forward parts, norms and positions come from a BERT; attention to the
        memory is new. Of each part all is taken, or nothing where a shape doesn't fit.

        Args:
            weights: Variables or arrays by their names, as of `Encoder.named_weights`.
            layers: For each layer of the decoder the number of the encoder's, from 0.
            words: Whether the vocabulary is the encoder's too, and so the table.

        Returns:
            The names of what was taken.
        """
        taken = _Taken(weights)
        count = self.max_length + 1
        taken.into(
            # What BERT adds for a first text, it adds at every place.
            _Part(_POSITIONS, [self.positions], lambda v: [v[0][:count] + v[1][:1]])
        )
        taken.into(_norm_part(self.norm, "embeddings/layer_norm"))
        if words:
            taken.into(_Part([_WORDS], [self.table], list))
        for layer, number in zip(self.layers, layers):
            for part in _layer_parts(layer, number):
                taken.into(part)
        if self.last_norm is not None:
            taken.into(_norm_part(self.last_norm, f"layer_{layers[-1]}/output_layer_norm"))
        return list(dict.fromkeys(taken.names))


def _norm(name: str) -> keras.layers.Layer:
    return keras.layers.LayerNormalization(
        epsilon=_EPSILON, dtype=full_precision.policy(), name=name
    )


def _behind(place: tf.Tensor, places: int | None) -> tf.Tensor:
    """What hides the places of a cache that nothing stands at yet."""
    if places is None:
        return tf.zeros([])
    return tf.where(tf.range(places) <= place, 0.0, NEVER)


def _filled(
    cache: KeysValues, new: KeysValues, place: tf.Tensor, places: int | None
) -> KeysValues:
    """A layer's cache with what belongs to one place, `[rows, heads, 1, size]`."""
    if places is None:
        keys, values = (tf.concat([old, one], 2) for old, one in zip(cache, new))
        return keys, values
    here = tf.equal(tf.range(places), place)[:, None]
    keys, values = (tf.where(here, one, old) for old, one in zip(cache, new))
    return keys, values


def _log(shares: tf.Tensor) -> tf.Tensor:
    return tf.math.log(tf.maximum(shares, _TINY))


def _either(one: tf.Tensor, other: tf.Tensor) -> tf.Tensor:
    """The logarithm of the sum of what two are logarithms of."""
    return tf.reduce_logsumexp(tf.stack([one, other]), 0)


def _at_sources(made: tf.Tensor, copied: tuple[tf.Tensor, ...], copying: Copying) -> tf.Tensor:
    """The logarithm of the probability of each piece of the source, made or copied."""
    shares, keep, copy = copied
    return _either(keep + made, copy + _log(tf.matmul(shares, copying.same)))


@dataclasses.dataclass(frozen=True)
class _Part:
    """What is taken over as a whole.

    Attributes:
        names: An encoder's weights, by plain names.
        variables: What they are put into.
        make: The weights as the variables have them.
    """

    names: Sequence[str]
    variables: Sequence[keras.Variable]
    make: Callable[[list[Array]], list[Array]]


class _Taken:
    """An encoder's weights by plain names, and which of them a decoder took.

    Attributes:
        names: The latter, as they were given.
    """

    def __init__(self, weights: Mapping[str, Any]) -> None:
        self._given = {variable_groups.plain_name(name): name for name in weights}
        self._weights = weights
        self.names: list[str] = []

    def into(self, part: _Part) -> None:
        """Sets all variables of a part, or none where a weight isn't there or doesn't fit."""
        found = [self._given.get(name, self._given.get(_shared(name))) for name in part.names]
        names = [name for name in found if name is not None]
        if len(names) < len(found):
            return
        made = part.make([keras.ops.convert_to_numpy(self._weights[name]) for name in names])
        if [value.shape for value in made] == [tuple(v.shape) for v in part.variables]:
            for variable, value in zip(part.variables, made):
                variable.assign(value)
            self.names += names


def _shared(name: str) -> str:
    """Of a layer that stands for all of them, as ALBERT's does."""
    return re.sub(r"^layer_\d+/", "layer/", name)


def _norm_part(norm: keras.layers.Layer, name: str) -> _Part:
    return _Part([f"{name}/gamma", f"{name}/beta"], [norm.gamma, norm.beta], list)


def _layer_parts(layer: DecoderLayer, number: int) -> list[_Part]:
    at = f"layer_{number}"
    attention_norm, last = f"{at}/self_attention_layer_norm", f"{at}/output_layer_norm"
    parts = [_attention_part(layer.own, f"{at}/self_attention"), _feed_forward_part(layer, at)]
    if not layer.pre_norm:
        return [*parts, _norm_part(layer.norms[0], attention_norm), _norm_part(layer.norms[2], last)]
    # A norm behind one part is the norm before the next: what each part reads is as it was.
    below = f"layer_{number - 1}/output_layer_norm" if number else "embeddings/layer_norm"
    return [*parts, _norm_part(layer.norms[0], below), _norm_part(layer.norms[2], attention_norm)]


def _attention_part(attention: Attention, at: str) -> _Part:
    names = [f"{at}/{part}/{kind}" for part in _ATTENTION for kind in ("kernel", "bias")]
    dense = (attention.query, attention.key_value, attention.output_layer)
    width, heads = attention.width, attention.heads

    def make(values: list[Array]) -> list[Array]:
        if values[0].shape != (width, heads, width // heads):
            return []  # as many numbers in other heads are another function
        query, query_bias, key, key_bias, value, value_bias, output, output_bias = values
        both = [np.reshape(each, (width, -1)) for each in (key, value)]
        return [
            query.reshape(width, -1),
            query_bias.reshape(-1),
            np.concatenate(both, axis=1),
            np.concatenate([key_bias.reshape(-1), value_bias.reshape(-1)]),
            output.reshape(-1, output.shape[-1]),
            output_bias,
        ]

    return _Part(names, [each for d in dense for each in (d.kernel, d.bias)], make)


def _feed_forward_part(layer: DecoderLayer, at: str) -> _Part:
    names = [f"{at}/{part}/{kind}" for part in _FEED_FORWARD for kind in ("kernel", "bias")]
    dense = (layer.inner, layer.outer)
    return _Part(names, [each for d in dense for each in (d.kernel, d.bias)], list)
