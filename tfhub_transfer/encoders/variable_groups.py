"""The variables of TF Hub models in groups: embeddings, layers, pooler.

The only file that knows the names of variables inside TF Hub models.
"""

import re
from collections.abc import Sequence
from typing import TypeAlias

import keras
import tensorflow as tf

from tfhub_transfer.encoders.recorded import VariableSpec
from tfhub_transfer.graphs.safety import SavedObject

# Names and variables, from bottom to top.
Groups: TypeAlias = list[tuple[str, list[keras.Variable]]]

_LAYER = re.compile(r"(?:^|[/_])(?:layer|block|group)_?(\d+)(?:/|$)")
_POOLER = re.compile(r"pooler")
_EMBEDDINGS = re.compile(r"embedding")
_PLAIN = re.compile(
    r"(?:^|/)(?:(?:transformer|encoder)/(?P<layer>layer_\d+/)?(?=self_attention|intermediate|output)"
    r"|(?=embeddings/layer_norm|embedding_postprocessor/|\w+_embeddings?/embeddings$))"
    r"(?P<part>.*)"
)
# How the first versions of a BERT called what has another name since.
_RENAMED = {
    "self_attention_output/": "self_attention/attention_output/",
    "embedding_postprocessor/position_embeddings": "position_embedding/embeddings",
    "embedding_postprocessor/type_embeddings": "type_embeddings/embeddings",
    "embedding_postprocessor/layer_norm": "embeddings/layer_norm",
}
POSITIONS = re.compile(r"position_embedding")


def specs(
    variables: Sequence[tf.Variable], loaded: SavedObject, captured: set[int]
) -> list[VariableSpec]:
    """Name, shape, dtype of each variable, and whether training can change what is computed.

    Args:
        variables: Those of the SavedModel, in order of creation.
        loaded: What TensorFlow made of it, which may name those that its makers trained.
        captured: The `id` of each variable that calling it reads.
    """
    declared = getattr(loaded, "trainable_variables", None)
    if declared is None:
        allowed = {id(v) for v in variables if v.trainable}
    else:
        # Makers of SavedModels put other things into such lists, flags and `None` among them.
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
    # Under a strategy the graph reads one of the copies that stand behind a variable.
    components = getattr(variable, "values", (variable,))
    return any(id(v) in captured for v in (variable, *components))


def group(weights: Sequence[keras.Variable], specs: Sequence[VariableSpec]) -> Groups:
    """Sorts trainable variables into embeddings, layers, what is shared or unknown, and pooler.

    Args:
        weights: The variables.
        specs: What is known of each.
    """
    groups: dict[tuple[int, int], tuple[str, list[keras.Variable]]] = {}
    # The one variable of NNLM and Swivel has no name that would tell.
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
    # Not ALBERT's `group_0/inner_group_0`: the one block that all of its layers share.
    if layer and "inner_group" not in name:
        return (1, int(layer[1])), f"layer_{layer[1]}"
    if _EMBEDDINGS.search(name):
        return (0, 0), "embeddings"
    return (2, 0), "layers"


def plain_name(name: str) -> str:
    """A Transformer's variable as TF Hub's newer BERTs call it, without what precedes.

    Layers that are one, as ALBERT's, are called `layer`; other variables keep their names.

    Example:

    >>> plain_name("bert_model/encoder/layer_1/self_attention_output/kernel")
    'layer_1/self_attention/attention_output/kernel'
    """
    found = _PLAIN.search(name)
    if found is None:
        return name
    part = found["part"]
    for old, new in _RENAMED.items():
        part = new + part.removeprefix(old) if part.startswith(old) else part
    embeddings = "embedding" in part
    return part if embeddings else (found["layer"] or "layer/") + part
