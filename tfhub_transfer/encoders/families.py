"""Families of encoders in Hugging Face's form: what each calls its sizes, settings and tensors.

A family is a row: all are Transformers whose layers end in norms, and differ in names and in which
parts there are. BERT (Devlin et al. 2019, https://arxiv.org/abs/1810.04805), DistilBERT (Sanh et
al. 2019, https://arxiv.org/abs/1910.01108), ELECTRA (Clark et al. 2020,
https://arxiv.org/abs/2003.10555).
"""

import dataclasses
import re
from collections.abc import Mapping


@dataclasses.dataclass(frozen=True)
class Family:
    """What transformers calls the parts of one kind of encoder.

    Attributes:
        sizes: The key of `config.json` for each size of a `BertShape`.
        rates: The same for numbers that `config.json` may leave out.
        activation: The key that names the activation.
        fixed: Settings that must have one value, which is transformers' default.
        prefix: What precedes the encoder's tensors in models with a head.
        parts: The tensors of each part outside of layers, by TF Hub's names.
        layer: What precedes the tensors of a layer, with a place for its number.
        layer_parts: The tensors of each part of a layer, by TF Hub's names.
    """

    sizes: Mapping[str, str]
    rates: Mapping[str, str]
    activation: str
    fixed: Mapping[str, object]
    prefix: str
    parts: Mapping[str, str]
    layer: str
    layer_parts: Mapping[str, str]

    @property
    def has_segments(self) -> bool:
        """Whether a text's number within a pair is embedded."""
        return "type_embeddings" in self.parts

    @property
    def has_pooler(self) -> bool:
        """Whether a dense layer follows upon the first token."""
        return "pooler_transform" in self.parts

    def tensor(self, variable: str) -> str:
        """What transformers calls a variable of TF Hub's.

        Example:

        >>> FAMILIES["distilbert"].tensor("transformer/layer_3/self_attention/query/kernel")
        'transformer.layer.3.attention.q_lin.weight'
        """
        part, _, kind = variable.rpartition("/")
        ending = "bias" if kind in ("bias", "beta") else "weight"
        layer = re.fullmatch(r"transformer/layer_(\d+)/(.*)", part)
        if layer is None:
            return f"{self.parts[part]}.{ending}"
        return f"{self.layer.format(layer[1])}{self.layer_parts[layer[2]]}.{ending}"


_EMBEDDINGS = {
    "word_embeddings": "embeddings.word_embeddings",
    "position_embedding": "embeddings.position_embeddings",
    "embeddings/layer_norm": "embeddings.LayerNorm",
}
_BERT = Family(
    sizes={
        "layers": "num_hidden_layers",
        "hidden": "hidden_size",
        "heads": "num_attention_heads",
        "intermediate": "intermediate_size",
        "vocabulary": "vocab_size",
        "positions": "max_position_embeddings",
    },
    rates={
        "epsilon": "layer_norm_eps",
        "dropout": "hidden_dropout_prob",
        "attention_dropout": "attention_probs_dropout_prob",
    },
    activation="hidden_act",
    fixed={"position_embedding_type": "absolute", "is_decoder": False},
    prefix="bert.",
    parts={
        **_EMBEDDINGS,
        "type_embeddings": "embeddings.token_type_embeddings",
        "pooler_transform": "pooler.dense",
    },
    layer="encoder.layer.{}.",
    layer_parts={
        "self_attention/query": "attention.self.query",
        "self_attention/key": "attention.self.key",
        "self_attention/value": "attention.self.value",
        "self_attention/attention_output": "attention.output.dense",
        "self_attention_layer_norm": "attention.output.LayerNorm",
        "intermediate": "intermediate.dense",
        "output": "output.dense",
        "output_layer_norm": "output.LayerNorm",
    },
)
_ELECTRA = dataclasses.replace(
    _BERT,
    sizes={**_BERT.sizes, "embedding": "embedding_size"},
    prefix="electra.",
    parts={
        **_EMBEDDINGS,
        "type_embeddings": "embeddings.token_type_embeddings",
        "embedding_projection": "embeddings_project",
    },
)
_DISTILBERT = Family(
    sizes={
        "layers": "n_layers",
        "hidden": "dim",
        "heads": "n_heads",
        "intermediate": "hidden_dim",
        "vocabulary": "vocab_size",
        "positions": "max_position_embeddings",
    },
    rates={"dropout": "dropout", "attention_dropout": "attention_dropout"},
    activation="activation",
    fixed={},
    prefix="distilbert.",
    parts=_EMBEDDINGS,
    layer="transformer.layer.{}.",
    layer_parts={
        "self_attention/query": "attention.q_lin",
        "self_attention/key": "attention.k_lin",
        "self_attention/value": "attention.v_lin",
        "self_attention/attention_output": "attention.out_lin",
        "self_attention_layer_norm": "sa_layer_norm",
        "intermediate": "ffn.lin1",
        "output": "ffn.lin2",
        "output_layer_norm": "output_layer_norm",
    },
)
# By `model_type` of config.json.
FAMILIES: Mapping[str, Family] = {"bert": _BERT, "distilbert": _DISTILBERT, "electra": _ELECTRA}
# From transformers' names of activations to those of `BertShape`.
ACTIVATIONS: Mapping[str, str] = {
    "gelu": "gelu",
    "gelu_new": "gelu_new",
    "gelu_pytorch_tanh": "gelu_new",
    "relu": "relu",
}
