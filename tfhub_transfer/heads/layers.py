"""Keras layers between an encoder's outputs and a task's answers."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import keras

from tfhub_transfer.encoders.encoder import CODE_POINTS, Encoder
from tfhub_transfer.encoders.loading import BERT_INPUTS
from tfhub_transfer.errors import InputError
from tfhub_transfer.heads.settings import Head
from tfhub_transfer.private import keras_layers
from tfhub_transfer.runtime import full_precision
from tfhub_transfer.runtime.dropout import Dropout
from tfhub_transfer.runtime.masking import NEVER
from tfhub_transfer.texts.joining import WORD_STARTS

Tensors: TypeAlias = Mapping[str, keras.KerasTensor]
# What an encoder gave by name; of pairs of texts that it read one by one, twice.
Encoded: TypeAlias = Tensors | Sequence[Tensors]
Shape: TypeAlias = tuple[int, ...]

# As in Kim 2014.
CNN_WIDTHS = (3, 4, 5)


class _Pooling(keras.layers.Layer):
    """Takes Keras' own masks, as a BiLSTM passes them on, and ends them: no time axis is left."""

    def __init__(self, **kwargs: Any) -> None:
        # Whatever Keras' policy: from the encoder's vectors on all is float32.
        super().__init__(**{"dtype": "float32", **kwargs})
        self.supports_masking = True

    def compute_mask(
        self, inputs: keras.KerasTensor, previous_mask: keras.KerasTensor | None
    ) -> None:
        return None


@keras.saving.register_keras_serializable(package="tfhub_transfer")
class MaskedMean(_Pooling):
    """Mean of vectors `[..., length, d]` where `present` `[..., length]` is 1: `[..., d]`."""

    def call(self, vectors: keras.KerasTensor, present: keras.KerasTensor) -> keras.KerasTensor:
        return _mean(vectors, present)


def _mean(vectors: keras.KerasTensor, present: keras.KerasTensor) -> keras.KerasTensor:
    weights = keras.ops.cast(present, vectors.dtype)[..., None]
    total = keras.ops.sum(vectors * weights, axis=-2)
    return total / keras.ops.maximum(keras.ops.sum(weights, axis=-2), 1.0)


@keras.saving.register_keras_serializable(package="tfhub_transfer")
class MaskedMax(_Pooling):
    """Maximum of vectors `[batch, length, d]` where `present` `[batch, length]` is 1: `[batch, d]`.

    Over time, as in Kim 2014.
    """

    def call(self, vectors: keras.KerasTensor, present: keras.KerasTensor) -> keras.KerasTensor:
        hide = (1.0 - keras.ops.cast(present, "float32")[..., None]) * NEVER
        return keras.ops.max(vectors + hide, axis=1)


@keras.saving.register_keras_serializable(package="tfhub_transfer")
class PresentVectors(_Pooling):
    """Vectors `[batch, length, d]`, zeros where `present` `[batch, length]` is 0."""

    def call(self, vectors: keras.KerasTensor, present: keras.KerasTensor) -> keras.KerasTensor:
        return vectors * keras.ops.cast(present, "float32")[..., None]


@keras.saving.register_keras_serializable(package="tfhub_transfer")
class VectorAt(_Pooling):
    """Of vectors `[batch, n, d]` those at one place: `[batch, d]`."""

    def __init__(self, place: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.place = place

    def call(self, vectors: keras.KerasTensor) -> keras.KerasTensor:
        return vectors[:, self.place]

    def get_config(self) -> dict[str, object]:
        return {**super().get_config(), "place": self.place}


@keras.saving.register_keras_serializable(package="tfhub_transfer")
class SegmentMeans(_Pooling):
    """The mean vector of each text of a packed pair, of `[batch, length, d]`: two of `[batch, d]`.

    Special tokens, whose vectors are all zeros, don't count.
    """

    def call(
        self, vectors: keras.KerasTensor, present: keras.KerasTensor, kinds: keras.KerasTensor
    ) -> tuple[keras.KerasTensor, ...]:
        spoken = keras.ops.any(keras.ops.not_equal(vectors, 0.0), axis=-1)
        spoken = present * keras.ops.cast(spoken, present.dtype)
        second = spoken * kinds
        return tuple(_mean(vectors, each) for each in (spoken - second, second))


@keras.saving.register_keras_serializable(package="tfhub_transfer")
class AttentionPooling(_Pooling):
    """Weighted mean of vectors `[batch, length, d]`, the weights learned: `[batch, d]`.

    The word attention of Yang et al. 2016, "Hierarchical Attention Networks".
    """

    def build(self, vectors_shape: Shape, present_shape: Shape | None = None) -> None:
        self.project = full_precision.Dense(vectors_shape[-1], "tanh")
        # A bias is the same at every place, and softmax doesn't see it.
        self.score = full_precision.Dense(1, use_bias=False)
        self.project.build(vectors_shape)
        self.score.build(vectors_shape)

    def call(self, vectors: keras.KerasTensor, present: keras.KerasTensor) -> keras.KerasTensor:
        scores = self.score(self.project(vectors))[..., 0]
        scores = keras.ops.where(keras.ops.cast(present, "bool"), scores, NEVER)
        weights = keras.ops.softmax(scores, axis=-1)
        return keras.ops.sum(vectors * weights[..., None], axis=1)


@keras.saving.register_keras_serializable(package="tfhub_transfer")
class WordVectors(_Pooling):
    """Vectors `[batch, length, d]` at the places `starts` `[batch, words]`: `[batch, words, d]`."""

    def call(self, vectors: keras.KerasTensor, starts: keras.KerasTensor) -> keras.KerasTensor:
        return keras.ops.take_along_axis(vectors, starts[..., None], axis=1)


@keras.saving.register_keras_serializable(package="tfhub_transfer")
class SentenceMeans(_Pooling):
    """Means of vectors `[batch, length, d]` from one place to the next: `[batch, sentences, d]`.

    Sentences begin at `starts` `[batch, sentences]`, 0 where there is none; the last one ends
    before the last place where `present` `[batch, length]` is 1, which is [SEP].
    """

    def call(
        self, vectors: keras.KerasTensor, starts: keras.KerasTensor, present: keras.KerasTensor
    ) -> keras.KerasTensor:
        ops = keras.ops
        # In float32, for a mean is a small difference of two large sums.
        sums = ops.cumsum(ops.cast(vectors, "float32"), axis=1)
        sums = ops.pad(sums, [[0, 0], [1, 0], [0, 0]])
        following = ops.pad(starts[:, 1:], [[0, 0], [0, 1]])
        last = ops.sum(ops.cast(present, "int32"), axis=1, keepdims=True) - 1
        ends = ops.where(following > 0, following, last)
        total = ops.take_along_axis(sums, ends[..., None], axis=1)
        total -= ops.take_along_axis(sums, starts[..., None], axis=1)
        count = ops.maximum(ops.cast(ends - starts, "float32"), 1.0)
        return ops.cast(total / count[..., None], vectors.dtype)


@keras.saving.register_keras_serializable(package="tfhub_transfer")
class TransformerBlock(keras.layers.Layer):
    """One post-norm Transformer layer (Vaswani et al. 2017) over vectors `[batch, length, d]`."""

    def __init__(self, inner_units: int, dropout: float, **kwargs: Any) -> None:
        super().__init__(**{"dtype": full_precision.policy(), **kwargs})
        self.inner_units, self.dropout_rate = inner_units, dropout

    def build(self, vectors_shape: Shape, present_shape: Shape | None = None) -> None:
        width = vectors_shape[-1]
        # Heads are of equal width; with a width that is odd there is one.
        heads = max(h for h in (8, 4, 2, 1) if width % h == 0)
        exact = self.dtype_policy
        self.attention = keras.layers.MultiHeadAttention(
            heads, width // heads, dropout=self.dropout_rate, dtype=exact
        )
        self.norms = [keras.layers.LayerNormalization(dtype=exact) for _ in range(2)]
        self.inner = keras.layers.Dense(self.inner_units, "gelu", dtype=exact)
        self.outer = keras.layers.Dense(width, dtype=exact)
        self.dropout = Dropout(self.dropout_rate, dtype=exact)
        self.attention.build(vectors_shape, vectors_shape)
        keras_layers.drop_by(self.attention, Dropout)
        for norm in self.norms:
            norm.build(vectors_shape)
        self.inner.build(vectors_shape)
        self.outer.build((*vectors_shape[:-1], self.inner_units))

    def call(
        self, vectors: keras.KerasTensor, present: keras.KerasTensor, training: bool | None = None
    ) -> keras.KerasTensor:
        allowed = keras.ops.cast(present, "bool")[:, None, :]
        attended = self.attention(vectors, vectors, attention_mask=allowed, training=training)
        vectors = self.norms[0](vectors + self.dropout(attended, training=training))
        inner = self.outer(self.inner(vectors))
        added = vectors + self.dropout(inner, training=training)
        return self.norms[1](added)

    def compute_output_shape(
        self, vectors_shape: Shape, present_shape: Shape | None = None
    ) -> Shape:
        return vectors_shape

    def get_config(self) -> dict[str, object]:
        return {
            **super().get_config(),
            "inner_units": self.inner_units,
            "dropout": self.dropout_rate,
        }


def encode(encoder: Encoder, inputs: Tensors) -> Tensors:
    """Inputs of a model, of which some may be for its head alone, to what the encoder gives."""
    text = encoder.dialect == "text"
    read = inputs[CODE_POINTS] if text else {key: inputs[key] for key in BERT_INPUTS}
    given: Tensors = encoder(read)
    return given


def features(
    encoder: Encoder, encoded: Encoded, inputs: Tensors, head: Head, pair: bool
) -> keras.KerasTensor:
    """What `encode` gave to the vector that the head starts from, `[batch, dimension]`.

    Pairs are one packed sequence for BERT. Where texts can't meet inside the encoder, in a text
    embedding or static word-piece vectors, each gets its own vector and the head starts from
    `u, v, |u-v|, u*v` (Conneau et al. 2017, InferSent).

    Raises:
        InputError: If the head reads tokens and the encoder gives no token vectors.
    """
    pooling = _pooling(encoder, head)
    if pooling != "pooled_output" and "pooler" in dict(encoder.layer_groups):
        encoder.mark_unread("pooler")
    if not isinstance(encoded, Mapping):
        vectors = (
            full_precision.named(o["default"], f"default_{x}") for o, x in zip(encoded, "ab")
        )
        return compared(*vectors)
    if pair and head.block == "none" and not encoder.is_contextual:
        tokens, ids = _named(encoded, "sequence_output"), inputs
        means = SegmentMeans(name="segment_means")
        return compared(*means(tokens, present=ids["input_mask"], kinds=ids["input_type_ids"]))
    if pooling == "pooled_output":
        key = "pooled_output" if "pooled_output" in encoded else "default"
        return _named(encoded, key)
    tokens, mask = _named(encoded, "sequence_output"), inputs["input_mask"]
    return _pool(_block(tokens, mask, head), mask, pooling, head)


def vectors_apart(
    encoder: Encoder, encoded: Encoded, inputs: Tensors, head: Head
) -> keras.KerasTensor:
    """What `encode` gave to one vector for each text, `[batch, texts, dimension]`.

    Raises:
        InputError: If the head would pool in a way that its own training changes.
    """
    if head.block != "none" or head.pooling == "attention":
        raise InputError(
            "where texts are compared by their vectors these are the encoder's own: leave `block` "
            "at none, and pool with auto, pooled_output, mean or first. "
            f"Received: block={head.block!r}, pooling={head.pooling!r}"
        )
    if _pooling(encoder, head) != "pooled_output" and "pooler" in dict(encoder.layer_groups):
        encoder.mark_unread("pooler")
    return _vectors(encoder, encoded, inputs, head)


def word_vectors(
    encoder: Encoder, encoded: Encoded, inputs: Tensors, head: Head
) -> keras.KerasTensor:
    """What `encode` gave to the vectors that the head starts from, `[batch, words, dimension]`.

    A word has the vector of its first word piece.

    Raises:
        InputError: If the encoder gives no token vectors.
    """
    if head.pooling not in ("auto", "first"):
        raise InputError(
            "a word has the vector of its first word piece; leave `pooling` at auto. "
            f"Received: pooling={head.pooling!r}"
        )
    tokens = _tokens(encoder, encoded, inputs, head, "words")
    return WordVectors(name="words")(tokens, starts=inputs[WORD_STARTS])


def sentence_vectors(
    encoder: Encoder, encoded: Encoded, inputs: Tensors, head: Head
) -> keras.KerasTensor:
    """What `encode` gave to the vectors that the head starts from, `[batch, sentences, dimension]`.

    A sentence has the mean of its tokens' vectors, or with `pooling="first"` that of its first one.

    Raises:
        InputError: If the encoder gives no token vectors, or the head pools in another way.
    """
    if head.pooling not in ("auto", "mean", "first"):
        raise InputError(
            "the vector of a sentence is the mean of its tokens' or that of the first; choose "
            f"pooling mean or first. Received: pooling={head.pooling!r}"
        )
    tokens = _tokens(encoder, encoded, inputs, head, "sentences")
    if head.pooling == "first":
        return WordVectors(name="sentences")(tokens, starts=inputs[WORD_STARTS])
    return SentenceMeans(name="sentences")(
        tokens, starts=inputs[WORD_STARTS], present=inputs["input_mask"]
    )


def _tokens(
    encoder: Encoder, encoded: Encoded, inputs: Tensors, head: Head, judged: str
) -> keras.KerasTensor:
    """Token vectors `[batch, length, dimension]`, through the head's block."""
    if "sequence_output" not in encoder.output_names:
        raise InputError(
            f"answers for {judged} need token vectors, but this encoder gives only whole-text "
            f"vectors; use a BERT-like encoder. Received: {encoder.handle}"
        )
    if "pooler" in dict(encoder.layer_groups):
        encoder.mark_unread("pooler")
    tokens = _named(encoded, "sequence_output")
    return _block(tokens, inputs["input_mask"], head)


def compared(u: keras.KerasTensor, v: keras.KerasTensor) -> keras.KerasTensor:
    """Vectors `[batch, d]` of two texts to `u, v, |u-v|, u*v` `[batch, 4 d]` (Conneau 2017)."""
    difference = keras.ops.abs(keras.layers.Subtract(dtype="float32", name="difference")([u, v]))
    product = keras.layers.Multiply(dtype="float32", name="product")([u, v])
    return keras.layers.Concatenate(dtype="float32", name="features")([u, v, difference, product])


def _named(encoded: Encoded, key: str) -> keras.KerasTensor:
    """One of the encoder's outputs, under its name in a summary."""
    assert isinstance(encoded, Mapping)  # pairs that are read one by one have names of their own
    return full_precision.named(encoded[key], key)


def hidden(vector: keras.KerasTensor, head: Head) -> keras.KerasTensor:
    """Dropout and the hidden layer, if any: `[batch, dimension]` to `[batch, units]`."""
    vector = Dropout(head.dropout, dtype="float32", name="dropout")(vector)
    if not head.hidden_units:
        return vector
    penalty = keras.regularizers.L2(head.l2) if head.l2 else None
    vector = full_precision.Dense(
        head.hidden_units, head.activation, kernel_regularizer=penalty, name="hidden"
    )(vector)
    return Dropout(head.dropout, dtype="float32", name="hidden_dropout")(vector)


def sentence_vector(encoder: Encoder, inputs: Tensors, head: Head) -> keras.KerasTensor:
    """The encoder's own vector of each text, pooled as the head pools.

    Args:
        encoder: The encoder.
        inputs: Ids `[batch, length]`, or `[batch, texts, length]`.
        head: What says how to pool.

    Returns:
        `[batch, dimension]`, or `[batch, texts, dimension]`.
    """
    bert = encoder.dialect == "bert"
    read = {key: inputs[key] for key in BERT_INPUTS} if bert else inputs[CODE_POINTS]
    outputs = encoder(read, training=False)
    if encoder.source.information.get("normalized") and _pooling(encoder, head) == "pooled_output":
        # As its makers give vectors to others; heads read what comes before.
        return _named(outputs, "default")
    return _vectors(encoder, outputs, inputs, head)


def _vectors(encoder: Encoder, outputs: Encoded, inputs: Tensors, head: Head) -> keras.KerasTensor:
    pooling = "text" if encoder.dialect == "text" else _pooling(encoder, head)
    key = "pooled_output" if "pooled_output" in outputs else "default"
    given = _named(outputs, key if pooling in ("text", "pooled_output") else "sequence_output")
    if pooling == "first":
        return given[..., 0, :]
    if pooling == "mean":
        return MaskedMean()(given, present=inputs["input_mask"])
    return given


def _pooling(encoder: Encoder, head: Head) -> str:
    has_tokens = "sequence_output" in encoder.output_names
    if head.needs_tokens and not has_tokens:
        wanted = f"block {head.block!r}" if head.block != "none" else f"pooling {head.pooling!r}"
        raise InputError(
            f"the head ({wanted}) reads token vectors, but this encoder gives only whole-text "
            "vectors; use a BERT-like encoder, or a head without it. "
            f"Received: {encoder.handle}"
        )
    has_pooled = {"pooled_output", "default"} & set(encoder.output_names)
    if head.pooling == "pooled_output" and not has_pooled:
        raise InputError(
            "this encoder gives token vectors only; pool them with mean, first or attention. "
            f"Received: {encoder.handle} with pooling='pooled_output'"
        )
    if head.pooling != "auto":
        return head.pooling
    # A block works on token vectors, which `pooled_output` has left behind.
    return "pooled_output" if has_pooled and head.block == "none" else "mean"


def _block(tokens: keras.KerasTensor, mask: keras.KerasTensor, head: Head) -> keras.KerasTensor:
    if head.block == "cnn":
        # A filter at the end of a text reaches into the padding, whose vectors aren't zeros.
        tokens = PresentVectors(name="present")(tokens, present=mask)
        filters = [
            keras.layers.Conv1D(
                head.block_units,
                width,
                # As many places as there are tokens, so that the mask still fits.
                padding="same",
                activation="relu",
                dtype=full_precision.policy(),
                name=f"cnn_{width}",
            )(tokens)
            for width in CNN_WIDTHS
        ]
        return keras.layers.Concatenate(dtype="float32", name="cnn")(filters)
    if head.block == "bilstm":
        lstm = full_precision.LSTM(head.block_units, return_sequences=True)
        return keras.layers.Bidirectional(lstm, dtype=full_precision.policy(), name="bilstm")(
            tokens, mask=keras.ops.cast(mask, "bool")
        )
    if head.block == "transformer":
        return TransformerBlock(head.block_units, head.dropout, name="transformer")(
            tokens, present=mask
        )
    return tokens


def _pool(
    tokens: keras.KerasTensor, mask: keras.KerasTensor, pooling: str, head: Head
) -> keras.KerasTensor:
    if head.block == "cnn" and head.pooling == "auto":
        return MaskedMax(name="max_pooling")(tokens, present=mask)
    if pooling == "first":
        return VectorAt(0, name="first_token")(tokens)
    if pooling == "attention":
        return AttentionPooling(name="attention_pooling")(tokens, present=mask)
    return MaskedMean(name="mean_pooling")(tokens, present=mask)
