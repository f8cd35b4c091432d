"""The graph of a Transformer encoder, as TensorFlow Hub's encoders have it.

It is written in the forms that TensorFlow's graph optimizer can fuse on a CPU: matrix products of
two-dimensional activations followed by `BiasAdd`, GELU by `Erf`, attention scores as product, scale
and addition. Each layer asks its own input for its shape, so that the graph can be cut between
layers and fed there without the token ids.
"""

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import tensorflow as tf

from tfhub_transfer.encoders.bert_shapes import BertShape

INPUT_KEYS = ("input_word_ids", "input_mask", "input_type_ids")

# Far below any attention score, and still finite in float16 and bfloat16.
_MASKED_SCORE = -30000.0
# From here on distances between tokens are one.
_FARTHEST = 128

Weights = Mapping[str, tf.Variable]


def _layer_norm(x: tf.Tensor, weights: Weights, at: str, epsilon: float) -> tf.Tensor:
    # Not in one operation, nor so that oneDNN's rewrite finds one (`graphs.rewriting` says why).
    mean = tf.reduce_mean(x, axis=-1, keepdims=True)
    variance = tf.reduce_mean(tf.math.squared_difference(x, mean), axis=-1, keepdims=True)
    scaled = (x - mean) * tf.math.rsqrt(variance + epsilon)
    return scaled * weights[f"{at}/gamma"] + weights[f"{at}/beta"]


def _gelu(x: tf.Tensor) -> tf.Tensor:
    """GELU by `Erf`: `tf.nn.gelu` says `Erfc`, which no fused kernel is made from."""
    return (0.5 * (1.0 + tf.math.erf(x * math.sqrt(0.5)))) * x


def _gelu_new(x: tf.Tensor) -> tf.Tensor:
    """GELU as its paper approximates it (Hendrycks and Gimpel 2016, arXiv:1606.08415)."""
    return 0.5 * x * (1.0 + tf.tanh(math.sqrt(2.0 / math.pi) * (x + 0.044715 * x * x * x)))


_ACTIVATIONS = {
    "gelu": _gelu,
    "gelu_new": _gelu_new,
    "relu": tf.nn.relu,
    "tanh": tf.tanh,
    "linear": tf.identity,
}


def _dropout(x: tf.Tensor, rate: float, training: bool) -> tf.Tensor:
    return tf.nn.dropout(x, rate) if training and rate > 0.0 else x


def _dense(x: tf.Tensor, weights: Weights, at: str, width: int) -> tf.Tensor:
    """[rows, inputs] -> [rows, width]; kernels shaped by attention heads are flattened first."""
    kernel = tf.reshape(weights[f"{at}/kernel"], [-1, width])
    return tf.nn.bias_add(tf.matmul(x, kernel), tf.reshape(weights[f"{at}/bias"], [width]))


def _attention(
    x: tf.Tensor,
    added: Sequence[tf.Tensor],
    size: tf.Tensor,
    weights: Weights,
    at: str,
    shape: BertShape,
    training: bool,
) -> tf.Tensor:
    split = [size[0], size[1], shape.heads, shape.head_size]

    def heads(part: str) -> tf.Tensor:
        flat = _dense(x, weights, f"{at}/{part}", shape.hidden)
        return tf.transpose(tf.reshape(flat, split), [0, 2, 1, 3])

    scores = tf.matmul(heads("query"), heads("key"), transpose_b=True)
    scores = scores * (1.0 / math.sqrt(shape.head_size))
    for each in added:
        scores = scores + each
    shares = _dropout(tf.nn.softmax(scores), shape.attention_dropout, training)
    context = tf.transpose(tf.matmul(shares, heads("value")), [0, 2, 1, 3])
    context = tf.reshape(context, [-1, shape.hidden])
    return _dense(context, weights, f"{at}/attention_output", shape.hidden)


def _transformer_layer(
    tokens: tf.Tensor,
    added: Sequence[tf.Tensor],
    index: int,
    weights: Weights,
    shape: BertShape,
    training: bool,
) -> tf.Tensor:
    """[batch, length, hidden] -> the same; asks nothing but `tokens` for the shape.

    What is `added` to the scores of attention can be broadcast to [batch, heads, length, length].
    """
    at, size = shape.layer(index), tf.shape(tokens)
    x = tf.reshape(tokens, [-1, shape.hidden])
    mixed = _attention(x, added, size, weights, f"{at}self_attention", shape, training)
    mixed = x + _dropout(mixed, shape.dropout, training)
    x = _layer_norm(mixed, weights, f"{at}self_attention_layer_norm", shape.epsilon)
    wide = _dense(x, weights, f"{at}intermediate", shape.intermediate)
    wide = _ACTIVATIONS[shape.activation](wide)
    narrow = _dropout(_dense(wide, weights, f"{at}output", shape.hidden), shape.dropout, training)
    x = _layer_norm(x + narrow, weights, f"{at}output_layer_norm", shape.epsilon)
    return tf.identity(
        tf.reshape(x, [size[0], size[1], shape.hidden]), name=f"layer_{index}_output"
    )


def distance_buckets(buckets: int, most: int) -> np.ndarray:
    """The row of each distance from `-most` to `most` in a table of so many rows.

    As T5 has them (Raffel et al. 2020, https://arxiv.org/abs/1910.10683), and MPNet (Song et al.
    2020, https://arxiv.org/abs/2004.09297): half of them for what follows, half for what precedes;
    of each half the first half for a distance each, the others for ranges that widen up to 128.

    Example:

    >>> distance_buckets(32, 300)[[300, 299, 301, 200, 0, 600]].tolist()
    [0, 1, 17, 15, 15, 31]
    """
    distances = np.arange(-most, most + 1)
    half, exact = buckets // 2, buckets // 4
    far = np.maximum(np.abs(distances), exact).astype(np.float32) / np.float32(exact)
    # In float32, as it was when the tables were trained.
    share = np.log(far) / np.float32(math.log(_FARTHEST / exact))
    wide = np.minimum(exact + (share * np.float32(half - exact)).astype(np.int32), half - 1)
    near = np.where(np.abs(distances) < exact, np.abs(distances), wide)
    return near + np.where(distances > 0, half, 0)


def _distance_bias(length: tf.Tensor, weights: Weights, shape: BertShape) -> tf.Tensor:
    """[1, heads, length, length]: what the distance of two tokens adds to their score."""
    table = weights["relative_attention_bias/embeddings"]
    rows = tf.constant(distance_buckets(shape.buckets, shape.positions), tf.int32)
    # 0 and all to the right, then all to the left: each token's own begin one place further back.
    places = tf.math.floormod(tf.range(2 * length) + length, 2 * length) - length
    hot = tf.one_hot(tf.gather(rows, places + shape.positions), shape.buckets)
    # A sum, not a product: it is exact in bfloat16, and may be computed below a cut and above it.
    bias = tf.transpose(tf.reduce_sum(hot[:, :, tf.newaxis] * table, axis=1))
    # By copies, whose gradient is a sum.
    shifted = tf.tile(bias, [1, length])[:, : length * (2 * length - 1)]
    square = tf.reshape(shifted, [shape.heads, length, 2 * length - 1])
    return square[tf.newaxis, :, :, :length]


def _embed(
    ids: tf.Tensor, types: tf.Tensor, weights: Weights, shape: BertShape, training: bool
) -> tf.Tensor:
    size = tf.shape(ids)
    x = tf.nn.embedding_lookup(weights["word_embeddings/embeddings"], ids)
    x = x + weights["position_embedding/embeddings"][: size[1]]
    x = tf.reshape(x, [-1, shape.width])
    if shape.segments:
        # One-hot, as TF Hub's own encoders do it: this table's gradient is then dense and cheap.
        hot = tf.one_hot(tf.reshape(types, [-1]), shape.segments)
        x = x + tf.matmul(hot, weights["type_embeddings/embeddings"])
    x = _layer_norm(x, weights, "embeddings/layer_norm", shape.epsilon)
    x = _dropout(x, shape.dropout, training)
    if shape.embedding is not None:
        x = _dense(x, weights, "embedding_projection", shape.hidden)
    return tf.reshape(x, [size[0], size[1], shape.hidden])


def masked_mean(tokens: tf.Tensor, counted: tf.Tensor) -> tf.Tensor:
    """Mean over the tokens of each row, weighted.

    Args:
        tokens: [batch, length, width].
        counted: What each token counts, [batch, length]. Where nothing counts the mean is zero.

    Example:

    >>> masked_mean(tf.constant([[[1.0], [3.0], [9.0]]]), tf.constant([[1.0, 1.0, 0.0]])).numpy()
    array([[2.]], dtype=float32)
    """
    counted = counted[:, :, tf.newaxis]
    total = tf.reduce_sum(tokens * counted, axis=1)
    return total / tf.maximum(tf.reduce_sum(counted, axis=1), 1e-9)


def _pool(tokens: tf.Tensor, present: tf.Tensor, weights: Weights, shape: BertShape) -> tf.Tensor:
    pooled = tokens[:, 0]
    if shape.mean_pooling:
        pooled = masked_mean(tokens, present)
    elif shape.pooler:
        pooled = tf.tanh(_dense(pooled, weights, "pooler_transform", shape.hidden))
    for index, layer in enumerate(shape.dense):
        pooled = _dense(pooled, weights, f"pooler_dense_{index}", layer.width)
        pooled = _ACTIVATIONS[layer.activation](pooled)
    return pooled


def _unit(vectors: tf.Tensor) -> tf.Tensor:
    """Of length 1; as PyTorch divides by 1e-12 at least."""
    return tf.math.l2_normalize(vectors, axis=-1, epsilon=1e-24)


def bert_function(weights: Weights, shape: BertShape) -> Callable[..., dict]:
    """What an encoder computes, to be traced.

    Args:
        weights: A variable for each name of `bert_variable_shapes(shape)`.
        shape: Sizes and rates.

    Returns:
        A function of the three int32 inputs [batch, length] and `training`, as `bert_encoder` in
        `hub_format` has it.
    """

    def call(inputs: dict[str, tf.Tensor], training: bool = False) -> dict:
        ids, present, types = (inputs[key] for key in INPUT_KEYS)
        present = tf.cast(present, tf.float32)
        added = [(1.0 - present)[:, tf.newaxis, tf.newaxis, :] * _MASKED_SCORE]
        if shape.buckets:
            # Of the mask, which the layers read anyway, not of the ids.
            added.append(_distance_bias(tf.shape(present)[1], weights, shape))
        tokens, layers = _embed(ids, types, weights, shape, training), []
        for index in range(shape.layers):
            tokens = _transformer_layer(tokens, added, index, weights, shape, training)
            layers.append(tokens)
        pooled = _pool(tokens, present, weights, shape)
        return {
            "pooled_output": pooled,
            "default": _unit(pooled) if shape.normalized else pooled,
            "sequence_output": tokens,
            "encoder_outputs": layers,
        }

    return call
