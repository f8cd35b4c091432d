"""One answer for a whole text, or for a pair of texts that the encoder reads together."""

import keras

from tfhub_transfer.encoders.encoder import CODE_POINTS, Encoder
from tfhub_transfer.heads import layers
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
