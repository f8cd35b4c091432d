"""Families of encoders in Hugging Face's form: what each calls its sizes, settings and tensors.

A family is a row: all are Transformers whose layers end in norms, and differ in names and in which
parts there are. BERT (Devlin et al. 2019, https://arxiv.org/abs/1810.04805), DistilBERT (Sanh et
al. 2019, https://arxiv.org/abs/1910.01108), ELECTRA (Clark et al. 2020,
https://arxiv.org/abs/2003.10555), RoBERTa (Liu et al. 2019, https://arxiv.org/abs/1907.11692),
XLM-R (Conneau et al. 2020, https://arxiv.org/abs/1911.02116), CamemBERT (Martin et al. 2020,
https://arxiv.org/abs/1911.03894), MPNet (Song et al. 2020, https://arxiv.org/abs/2004.09297),
ALBERT (Lan et al. 2020, https://arxiv.org/abs/1909.11942).
"""

import dataclasses
import re
from collections.abc import Mapping
from typing import Any


@dataclasses.dataclass(frozen=True)
class Family:
    """What transformers calls the parts of one kind of encoder, and which there are.

    Attributes:
        sizes: The key of `config.json` for each size of a `BertShape`.
        rates: The same for numbers with fractions.
        activation: The key that names the activation.
        defaults: What transformers takes where `config.json` leaves a key out.
        fixed: Settings that must have one value, which is transformers' default.
        prefix: What precedes the encoder's tensors in models with a head.
        parts: The tensors of each part outside of layers, by TF Hub's names.
        layer: What precedes the tensors of a layer, with a place for its number; without one, all
            layers are one.
        layer_parts: The tensors of each part of a layer, by TF Hub's names.
        padding: The key of padding's id, up to which positions belong to no token; `None` where the
            first token has the first position.
        everywhere: A table whose first row is added at each position, as of texts that aren't told
            apart.
        projects: Whether word vectors as wide as the layers are projected all the same.
        buckets: How many rows the table of distances has.
    """

    sizes: Mapping[str, str]
    rates: Mapping[str, str]
    activation: str
    defaults: Mapping[str, Any]
    fixed: Mapping[str, object]
    prefix: str
    parts: Mapping[str, str]
    layer: str
    layer_parts: Mapping[str, str]
    padding: str | None = None
    everywhere: str | None = None
    projects: bool = False
    buckets: int = 0

    @property
    def has_pooler(self) -> bool:
        """Whether a dense layer follows upon the first token."""
        return "pooler_transform" in self.parts

    @property
    def shares_layers(self) -> bool:
        """Whether all layers are one."""
        return "{}" not in self.layer

    def tensor(self, variable: str) -> str:
        """What transformers calls a variable of TF Hub's.

        Example:

        >>> FAMILIES["distilbert"].tensor("transformer/layer_3/self_attention/query/kernel")
        'transformer.layer.3.attention.q_lin.weight'
        """
        part, _, kind = variable.rpartition("/")
        ending = "bias" if kind in ("bias", "beta") else "weight"
        layer = re.fullmatch(r"transformer/(?:layer_(\d+)/)?(.*)", part)
        if layer is None:
            return f"{self.parts[part]}.{ending}"
        return f"{self.layer.format(layer[1])}{self.layer_parts[layer[2]]}.{ending}"


_EMBEDDINGS = {
    "word_embeddings": "embeddings.word_embeddings",
    "position_embedding": "embeddings.position_embeddings",
    "embeddings/layer_norm": "embeddings.LayerNorm",
}
_TYPES = "embeddings.token_type_embeddings"
_SIZES = {
    "layers": "num_hidden_layers",
    "hidden": "hidden_size",
    "heads": "num_attention_heads",
    "intermediate": "intermediate_size",
    "vocabulary": "vocab_size",
    "positions": "max_position_embeddings",
}
_BERT = Family(
    sizes={**_SIZES, "segments": "type_vocab_size"},
    rates={
        "epsilon": "layer_norm_eps",
        "dropout": "hidden_dropout_prob",
        "attention_dropout": "attention_probs_dropout_prob",
    },
    activation="hidden_act",
    defaults={
        "num_hidden_layers": 12,
        "hidden_size": 768,
        "num_attention_heads": 12,
        "intermediate_size": 3072,
        "vocab_size": 30522,
        "max_position_embeddings": 512,
        "type_vocab_size": 2,
        "layer_norm_eps": 1e-12,
        "hidden_dropout_prob": 0.1,
        "attention_probs_dropout_prob": 0.1,
        "hidden_act": "gelu",
    },
    fixed={"position_embedding_type": "absolute", "is_decoder": False},
    prefix="bert.",
    parts={**_EMBEDDINGS, "type_embeddings": _TYPES, "pooler_transform": "pooler.dense"},
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
    defaults={
        **_BERT.defaults,
        **{"hidden_size": 256, "num_attention_heads": 4, "intermediate_size": 1024},
        "embedding_size": 128,
    },
    prefix="electra.",
    parts={
        **_EMBEDDINGS,
        "type_embeddings": _TYPES,
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
    defaults={
        "n_layers": 6,
        "dim": 768,
        "n_heads": 12,
        "hidden_dim": 3072,
        "vocab_size": 30522,
        "max_position_embeddings": 512,
        "dropout": 0.1,
        "attention_dropout": 0.1,
        "activation": "gelu",
    },
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
_ROBERTA = dataclasses.replace(
    _BERT,
    sizes=_SIZES,
    defaults={**_BERT.defaults, "vocab_size": 50265, "pad_token_id": 1},
    prefix="roberta.",
    parts={**_EMBEDDINGS, "pooler_transform": "pooler.dense"},
    padding="pad_token_id",
    # Its tokenizer says 0 of all tokens, of pairs, too.
    everywhere=_TYPES,
)
_XLM_ROBERTA = dataclasses.replace(
    _ROBERTA, defaults={**_ROBERTA.defaults, "vocab_size": _BERT.defaults["vocab_size"]}
)
_MPNET = dataclasses.replace(
    _ROBERTA,
    defaults={**_ROBERTA.defaults, "vocab_size": 30527},
    # Its code knows no other padding, whatever `config.json` says.
    fixed={"relative_attention_num_buckets": 32, "pad_token_id": 1},
    prefix="mpnet.",
    parts={**_ROBERTA.parts, "relative_attention_bias": "encoder.relative_attention_bias"},
    layer_parts={
        **_BERT.layer_parts,
        "self_attention/query": "attention.attn.q",
        "self_attention/key": "attention.attn.k",
        "self_attention/value": "attention.attn.v",
        "self_attention/attention_output": "attention.attn.o",
        "self_attention_layer_norm": "attention.LayerNorm",
    },
    everywhere=None,
    buckets=32,
)
_ALBERT = dataclasses.replace(
    _ELECTRA,
    defaults={
        **_ELECTRA.defaults,
        **{"hidden_size": 4096, "num_attention_heads": 64, "intermediate_size": 16384},
        **{"vocab_size": 30000, "hidden_act": "gelu_new"},
        **{"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0},
    },
    fixed={**_BERT.fixed, "num_hidden_groups": 1, "inner_group_num": 1},
    prefix="albert.",
    parts={
        **_EMBEDDINGS,
        "type_embeddings": _TYPES,
        "embedding_projection": "encoder.embedding_hidden_mapping_in",
        "pooler_transform": "pooler",
    },
    layer="encoder.albert_layer_groups.0.albert_layers.0.",
    layer_parts={
        "self_attention/query": "attention.query",
        "self_attention/key": "attention.key",
        "self_attention/value": "attention.value",
        "self_attention/attention_output": "attention.dense",
        "self_attention_layer_norm": "attention.LayerNorm",
        "intermediate": "ffn",
        "output": "ffn_output",
        "output_layer_norm": "full_layer_layer_norm",
    },
    projects=True,
)
# By `model_type` of config.json.
FAMILIES: Mapping[str, Family] = {
    "bert": _BERT,
    "distilbert": _DISTILBERT,
    "electra": _ELECTRA,
    "roberta": _ROBERTA,
    "xlm-roberta": _XLM_ROBERTA,
    "camembert": _XLM_ROBERTA,
    "mpnet": _MPNET,
    "albert": _ALBERT,
}
# From transformers' names of activations to those of `BertShape`.
ACTIVATIONS: Mapping[str, str] = {
    "gelu": "gelu",
    "gelu_new": "gelu_new",
    "gelu_pytorch_tanh": "gelu_new",
    "relu": "relu",
}
