"""Transformer encoders' forward pass in NumPy, against which converted ones are checked."""

import math
from collections.abc import Callable, Mapping

import numpy as np
import scipy.special

from tfhub_transfer.encoders.bert_shapes import BertShape

Arrays = Mapping[str, np.ndarray]


def _gelu(x: np.ndarray) -> np.ndarray:
    """By its definition: x times the share of a normal distribution below x."""
    return x * scipy.special.ndtr(x)


def _gelu_new(x: np.ndarray) -> np.ndarray:
    """Hendrycks and Gimpel's approximation by tanh, said by the logistic function."""
    return x * scipy.special.expit(math.sqrt(8.0 / math.pi) * (x + 0.044715 * x**3))


def _relu(x: np.ndarray) -> np.ndarray:
    return np.where(x > 0.0, x, 0.0)


_REFERENCE_ACTIVATIONS: Mapping[str, Callable[[np.ndarray], np.ndarray]] = {
    "gelu": _gelu,
    "gelu_new": _gelu_new,
    "relu": _relu,
    "tanh": np.tanh,
    "linear": np.asarray,
}


def reference_outputs(
    values: Arrays,
    shape: BertShape,
    ids: np.ndarray,
    mask: np.ndarray,
    types: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """The forward pass of BERT (Devlin et al. 2019, https://arxiv.org/abs/1810.04805) in float64.

    With what the other families leave out or add, as the shape says.

    Args:
        values: Weights under TF Hub's names.
        shape: Sizes.
        ids: Integers [batch, length].
        mask: One for tokens and zero for padding, [batch, length].
        types: Segment numbers [batch, length].

    Returns:
        The last layer's outputs [batch, length, hidden] and `pooled_output` [batch, pooled_width].
    """
    # Not the word vectors, the largest table by far: of them only the rows looked up are cast.
    w = {name: value.astype(np.float64) for name, value in values.items() if "word" not in name}
    x = values["word_embeddings/embeddings"][ids].astype(np.float64)
    x = x + w["position_embedding/embeddings"][: ids.shape[1]]
    x = x + (w["type_embeddings/embeddings"][types] if shape.segments else 0.0)
    x = _reference_norm(x, w, "embeddings/layer_norm", shape)
    if shape.embedding is not None:
        x = x @ w["embedding_projection/kernel"] + w["embedding_projection/bias"]
    bias = _distance_biases(w, shape, ids.shape[1]) if shape.buckets else np.zeros(1)
    for index in range(shape.layers):
        at = shape.layer(index)
        x = x + _reference_attention(x, mask, bias, w, f"{at}self_attention")
        x = _reference_norm(x, w, f"{at}self_attention_layer_norm", shape)
        wide = x @ w[f"{at}intermediate/kernel"] + w[f"{at}intermediate/bias"]
        wide = _REFERENCE_ACTIVATIONS[shape.activation](wide)
        x = x + wide @ w[f"{at}output/kernel"] + w[f"{at}output/bias"]
        x = _reference_norm(x, w, f"{at}output_layer_norm", shape)
    return x, _reference_pooled(x, mask, w, shape)


def _reference_pooled(x: np.ndarray, mask: np.ndarray, w: Arrays, shape: BertShape) -> np.ndarray:
    pooled = x[:, 0]
    if shape.mean_pooling:
        pooled = (x * mask[..., None]).sum(1) / mask.sum(1, keepdims=True)
    elif shape.pooler:
        pooled = np.tanh(pooled @ w["pooler_transform/kernel"] + w["pooler_transform/bias"])
    for index, layer in enumerate(shape.dense):
        at = f"pooler_dense_{index}"
        pooled = _REFERENCE_ACTIVATIONS[layer.activation](
            pooled @ w[f"{at}/kernel"] + w[f"{at}/bias"]
        )
    return pooled


def _reference_norm(x: np.ndarray, w: Arrays, at: str, shape: BertShape) -> np.ndarray:
    scaled = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + shape.epsilon)
    return scaled * w[f"{at}/gamma"] + w[f"{at}/beta"]


def _distance_biases(w: Arrays, shape: BertShape, length: int) -> np.ndarray:
    """[heads, length, length]; a range of distances begins where it is so many times the first."""
    half, exact = shape.buckets // 2, shape.buckets // 4
    begins = exact * (128 / exact) ** (np.arange(1, half - exact) / (half - exact))
    ahead = np.arange(length) - np.arange(length)[:, None]
    wide = exact + np.searchsorted(begins, np.abs(ahead), side="right")
    rows = np.where(np.abs(ahead) < exact, np.abs(ahead), wide) + np.where(ahead > 0, half, 0)
    return w["relative_attention_bias/embeddings"][rows].transpose(2, 0, 1)


def _reference_attention(
    x: np.ndarray, mask: np.ndarray, bias: np.ndarray, w: Arrays, at: str
) -> np.ndarray:
    query, key, value = (
        np.einsum("bld,dhs->bhls", x, w[f"{at}/{part}/kernel"])
        + w[f"{at}/{part}/bias"][None, :, None, :]
        for part in ("query", "key", "value")
    )
    scores = query @ key.swapaxes(-1, -2) / math.sqrt(query.shape[-1]) + bias
    shares = scipy.special.softmax(np.where(mask[:, None, None, :] == 1, scores, -np.inf), axis=-1)
    mixed = np.einsum("bhls,hsd->bld", shares @ value, w[f"{at}/attention_output/kernel"])
    return mixed + w[f"{at}/attention_output/bias"]
