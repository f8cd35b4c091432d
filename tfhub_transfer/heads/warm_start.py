"""An encoder's weights in a decoder, as Rothe et al. 2020 begin to train one."""

import dataclasses
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np

from tfhub_transfer.encoders import variable_groups
from tfhub_transfer.heads.decoder import Attention, Decoder, DecoderLayer
from tfhub_transfer.shapes import Array

# An encoder's weights, by their plain names.
_WORDS = "word_embeddings/embeddings"
_POSITIONS = ("position_embedding/embeddings", "type_embeddings/embeddings")
_ATTENTION = ("query", "key", "value", "attention_output")
_FEED_FORWARD = ("intermediate", "output")


def take_over(
    decoder: Decoder, weights: Mapping[str, Any], layers: Sequence[int], words: bool = False
) -> list[str]:
    """Puts an encoder's weights into a decoder where they fit.

    Self-attention, feed-forward parts, norms and positions come from a BERT; attention to the
    memory is new. Of each part all is taken, or nothing where a shape doesn't fit.

    Args:
        decoder: What they are put into; built.
        weights: Variables or arrays by their names, as of `Encoder.named_weights`.
        layers: For each layer of the decoder the number of the encoder's, from 0.
        words: Whether the vocabulary is the encoder's too, and so the table.

    Returns:
        The names of what was taken.
    """
    taken = _Taken(weights)
    count = decoder.max_length + 1
    # What BERT adds for a first text, it adds at every place.
    taken.into(_Part(_POSITIONS, [decoder.positions], lambda v: [v[0][:count] + v[1][:1]]))
    taken.into(_norm_part(decoder.norm, "embeddings/layer_norm"))
    if words:
        taken.into(_Part([_WORDS], [decoder.table], list))
    for layer, number in zip(decoder.layers, layers):
        for part in _layer_parts(layer, number):
            taken.into(part)
    if decoder.last_norm is not None:
        taken.into(_norm_part(decoder.last_norm, f"layer_{layers[-1]}/output_layer_norm"))
    return list(dict.fromkeys(taken.names))


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
    if not layer.form.pre_norm:
        return [
            *parts,
            _norm_part(layer.norms[0], attention_norm),
            _norm_part(layer.norms[2], last),
        ]
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
