"""Sizes of Transformer encoders, and the variables that follow from them, by TF Hub's names."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class PooledDense:
    """A dense layer behind the pooling.

    Attributes:
        width: Of what it gives.
        activation: `linear`, `tanh`, `relu` or `gelu`.
    """

    width: int
    activation: str


@dataclasses.dataclass(frozen=True)
class BertShape:
    """Sizes and rates of an encoder like BERT: what its `config.json` says.

    Attributes:
        segments: How many texts of a row are told apart; 0 where they aren't, as in DistilBERT.
        mean_pooling: Whether the mean of the tokens is `pooled_output`.
        pooler: Whether a dense layer makes `pooled_output` of the first token; else it is that.
        embedding: Width of the word vectors where a dense layer makes `hidden` of it, as in ELECTRA
            and ALBERT; it may be `hidden` too.
        activation: `gelu`, `gelu_new` (by tanh) or `relu`.
        shared: Whether all layers are one, applied `layers` times, as in ALBERT.
        buckets: How many kinds of distances between tokens are told apart, whose bias attention
            adds to its scores, as in MPNet; 0 where none are.
        dense: What follows upon the pooling, as in sentence-transformers' folders.
        normalized: Whether `default` is `pooled_output` made a vector of length 1.

    Example:

    >>> BertShape(layers=6, hidden=384, heads=12, intermediate=1536).head_size
    32
    """

    layers: int
    hidden: int
    heads: int
    intermediate: int
    vocabulary: int = 30522
    positions: int = 512
    segments: int = 2
    epsilon: float = 1e-12
    dropout: float = 0.1
    attention_dropout: float = 0.1
    mean_pooling: bool = False
    pooler: bool = True
    embedding: int | None = None
    activation: str = "gelu"
    shared: bool = False
    buckets: int = 0
    dense: tuple[PooledDense, ...] = ()
    normalized: bool = False

    @property
    def head_size(self) -> int:
        """Width of one attention head."""
        return self.hidden // self.heads

    @property
    def width(self) -> int:
        """Width of the word vectors."""
        return self.hidden if self.embedding is None else self.embedding

    @property
    def pooled_width(self) -> int:
        """Width of `pooled_output`."""
        return self.dense[-1].width if self.dense else self.hidden

    def layer(self, index: int) -> str:
        """What precedes the names of a layer's variables."""
        return "transformer/" if self.shared else f"transformer/layer_{index}/"


def bert_variable_shapes(shape: BertShape) -> dict[str, tuple[int, ...]]:
    """Name and shape of every variable of a TF Hub BERT encoder, bottom to top.

    Example:

    >>> tiny = BertShape(layers=1, hidden=8, heads=2, intermediate=16)
    >>> bert_variable_shapes(tiny)["transformer/layer_0/self_attention/query/kernel"]
    (8, 2, 4)
    """
    h, heads, size, wide = shape.hidden, shape.heads, shape.head_size, shape.intermediate
    names: dict[str, tuple[int, ...]] = {
        "word_embeddings/embeddings": (shape.vocabulary, shape.width),
        "position_embedding/embeddings": (shape.positions, shape.width),
    }
    if shape.segments:
        names["type_embeddings/embeddings"] = (shape.segments, shape.width)
    names |= {f"embeddings/layer_norm/{kind}": (shape.width,) for kind in ("gamma", "beta")}
    if shape.embedding is not None:
        at = "embedding_projection/"
        names |= {f"{at}kernel": (shape.width, h), f"{at}bias": (h,)}
    if shape.buckets:
        names["relative_attention_bias/embeddings"] = (shape.buckets, heads)
    for index in range(1 if shape.shared else shape.layers):
        at = shape.layer(index)
        for part in ("query", "key", "value"):
            names[f"{at}self_attention/{part}/kernel"] = (h, heads, size)
            names[f"{at}self_attention/{part}/bias"] = (heads, size)
        names[f"{at}self_attention/attention_output/kernel"] = (heads, size, h)
        names[f"{at}self_attention/attention_output/bias"] = (h,)
        names[f"{at}self_attention_layer_norm/gamma"] = (h,)
        names[f"{at}self_attention_layer_norm/beta"] = (h,)
        names |= {f"{at}intermediate/kernel": (h, wide), f"{at}intermediate/bias": (wide,)}
        names |= {f"{at}output/kernel": (wide, h), f"{at}output/bias": (h,)}
        names |= {f"{at}output_layer_norm/gamma": (h,), f"{at}output_layer_norm/beta": (h,)}
    if shape.pooler and not shape.mean_pooling:
        names |= {"pooler_transform/kernel": (h, h), "pooler_transform/bias": (h,)}
    width = h
    for index, layer in enumerate(shape.dense):
        at = f"pooler_dense_{index}/"
        names |= {f"{at}kernel": (width, layer.width), f"{at}bias": (layer.width,)}
        width = layer.width
    return names
