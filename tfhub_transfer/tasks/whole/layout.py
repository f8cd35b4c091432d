"""One answer for a whole text, or for a pair of texts that the encoder reads together."""

from typing import Any

import keras

from tfhub_transfer.encoders.encoder import CODE_POINTS, Encoder
from tfhub_transfer.heads import layers
from tfhub_transfer.heads.settings import Head
from tfhub_transfer.runtime import full_precision
from tfhub_transfer.tasks.layout import Inputs, Layout, int_inputs


class Whole(Layout):
    """A row is an example: a text, or a pair packed into one sequence."""

    @property
    def signature(self) -> tuple[str, ...]:
        return ("text_a", "text_b") if self.task.pair else ("text",)

    def inputs(self, encoder: Encoder) -> Inputs:
        if self.task.pair and encoder.dialect == "text":
            return int_inputs([f"{CODE_POINTS}_a", f"{CODE_POINTS}_b"])
        return super().inputs(encoder)

    def encode(self, encoder: Encoder, inputs: Inputs) -> layers.Encoded:
        if self.task.pair and encoder.dialect == "text":
            return [encoder(inputs[f"{CODE_POINTS}_{x}"]) for x in "ab"]
        return super().encode(encoder, inputs)

    def features(
        self, encoder: Encoder, encoded: layers.Encoded, inputs: Inputs
    ) -> keras.KerasTensor:
        return layers.features(encoder, encoded, inputs, self.head, self.task.pair)

    @property
    def has_fixed_features(self) -> bool:
        return self.head.block == "none" and self.head.pooling != "attention"


def last_dense(
    units: int, activation: str, head: Head, name: str = "scores", **dense: Any
) -> keras.layers.Layer:
    """The layer behind a head's features, in full precision, with the head's penalty.

    Args:
        units: How many numbers it makes.
        activation: What makes scores of them.
        head: The settings of the head.
        name: What it is called.
        **dense: Others of `keras.layers.Dense`.
    """
    penalty = keras.regularizers.L2(head.l2) if head.l2 else None
    return full_precision.Dense(units, activation, kernel_regularizer=penalty, name=name, **dense)
