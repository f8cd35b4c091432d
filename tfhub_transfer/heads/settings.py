"""What stands between an encoder and an answer, as users set it."""

import dataclasses

from tfhub_transfer.errors import InputError
from tfhub_transfer.incoming import ranges, usual
from tfhub_transfer.incoming.choices import flag, one_of

POOLINGS = ("auto", "pooled_output", "mean", "first", "attention")
BLOCKS = ("none", "cnn", "bilstm", "transformer")


@dataclasses.dataclass(frozen=True)
class Head:
    """What stands between the encoder and the answer.

    Args:
        pooling: How token vectors become one vector: `"pooled_output"` (the encoder's own, also
            what `"auto"` takes where there is one), `"mean"` of the tokens that aren't padding,
            `"first"` token, or learned `"attention"` (Yang et al. 2016, HAN).
        block: A trainable block over the token vectors before pooling: `"cnn"` (Kim 2014, widths
            3, 4, 5), `"bilstm"`, `"transformer"` (one layer), or `"none"`.
        block_units: Width of the block: filters for each CNN width, LSTM units each way, or the
            inner width of the Transformer's feed-forward part.
        hidden_units: Width of a hidden layer; 0 for none.
        activation: Activation of the hidden layer.
        dropout: Share of features dropped before each dense layer while training, 0 to below 1.
        l2: Weight of the L2 penalty on the head's kernels.
        towers: Whether each text of a pair passes the encoder on its own, and the head compares
            their vectors (`u, v, |u-v|, u*v`, Conneau et al. 2017), instead of both together.

    Raises:
        InputError: If a value is outside its range.

    Example:

    >>> model = build_model("auto", task, Head(hidden_units=64, dropout=0.2))
    """

    pooling: str = "auto"
    block: str = "none"
    block_units: int = 64
    hidden_units: int = 0
    activation: str = "relu"
    dropout: float = usual.DROPOUT
    l2: float = 0.0
    towers: bool = False

    def __post_init__(self) -> None:
        one_of("pooling", self.pooling, POOLINGS)
        one_of("block", self.block, BLOCKS)
        if self.block != "none" and self.pooling == "pooled_output":
            raise InputError(
                "a block works on token vectors, which `pooled_output` has left behind; pool its "
                "outputs with mean, first or attention. "
                f"Received: block={self.block!r}, pooling={self.pooling!r}"
            )
        found = {
            "block_units": ranges.whole_number("block_units", self.block_units, *ranges.SIZE),
            "hidden_units": ranges.whole_number(
                "hidden_units", self.hidden_units, 0, ranges.SIZE[1]
            ),
            "dropout": ranges.real_number("dropout", self.dropout, 0.0, ranges.BELOW_ONE, True),
            "l2": ranges.real_number("l2", self.l2, *ranges.WEIGHT, closed=True),
            "towers": flag("towers", self.towers),
        }
        for name, value in found.items():
            object.__setattr__(self, name, value)

    @property
    def needs_tokens(self) -> bool:
        """Whether the head reads `sequence_output`."""
        return self.block != "none" or self.pooling in ("mean", "first", "attention")


@dataclasses.dataclass(frozen=True)
class DecoderForm:
    """The size of a decoder, which writes texts.

    Args:
        width: Of its vectors; an encoder's of another width pass a dense layer first.
        layers: How many.
        heads: Of every attention; they part `width` evenly.
        inner_units: Width of the feed-forward parts.
        dropout: Share that is dropped while training, 0 to below 1.
        pre_norm: Whether norms stand before each part, which trains more calmly where there are
            many layers, or behind, as in BERT, whose weights then do what they did.
        copies: Whether pieces can be copied of the source, as in See et al. 2017, "Get To The
            Point"; it is cut into pieces of the same vocabulary then, too.

    Raises:
        InputError: If a value is outside its range.

    Example:

    >>> DecoderForm(width=384, heads=12, inner_units=1536).layers
    1
    """

    width: int = 384
    layers: int = 1
    heads: int = 12
    inner_units: int = 1536
    dropout: float = usual.DROPOUT
    pre_norm: bool = False
    copies: bool = False

    def __post_init__(self) -> None:
        whole = ranges.whole_number
        found = {
            "width": whole("width", self.width, *ranges.SIZE),
            "layers": whole("layers", self.layers, *ranges.LAYERS),
            "heads": whole("heads", self.heads, *ranges.SIZE),
            "inner_units": whole("inner_units", self.inner_units, *ranges.SIZE),
            "dropout": ranges.real_number("dropout", self.dropout, 0.0, ranges.BELOW_ONE, True),
            "pre_norm": flag("pre_norm", self.pre_norm),
            "copies": flag("copies", self.copies),
        }
        for name, value in found.items():
            object.__setattr__(self, name, value)
        if self.width % self.heads:
            raise InputError(
                "`heads` part `width` evenly; give a number that divides it. "
                f"Received: heads={self.heads}, width={self.width}"
            )
