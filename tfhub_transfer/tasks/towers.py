"""Two towers: every text of an example passes the same encoder on its own."""

import dataclasses
from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf

from tfhub_transfer.data import Examples
from tfhub_transfer.data.usual_columns import LABEL
from tfhub_transfer.encoders.encoder import Encoder
from tfhub_transfer.heads import layers
from tfhub_transfer.tasks.layout import Inputs, Layout, Rows, encoder_inputs
from tfhub_transfer.tasks.reportable import Scores


class Towers(Layout):
    """A row is an example, and holds the ids of each of its texts: `[rows, texts, length]`.

    One axis for the texts keeps one row for each label, so that batches can be cut in any place,
    as `MirroredStrategy` does. Batches are of like length by the longest text of each row.
    """

    @property
    def signature(self) -> tuple[str, ...]:
        return ("text_a", "text_b")

    def inputs(self, encoder: Encoder) -> Inputs:
        names = encoder_inputs(encoder)
        return {name: keras.Input((None, None), dtype="int32", name=name) for name in names}

    def features(
        self, encoder: Encoder, encoded: layers.Encoded, inputs: Inputs
    ) -> keras.KerasTensor:
        vectors = layers.vectors_apart(encoder, encoded, inputs, self.head)
        if not self.task.has_head:
            return vectors
        return layers.compared(
            *(layers.VectorAt(n, name=f"text_{'ab'[n]}")(vectors) for n in (0, 1))
        )

    @property
    def has_fixed_features(self) -> bool:
        return bool(self.task.has_head)

    def check(self, examples: Examples) -> None:
        super().check(examples)
        self.task.check_texts(len(examples.texts))

    def cut(self, examples: Examples) -> Rows:
        """Where the loss reads no labels, each row is labelled with the numbers of its texts."""
        if not self.task.needs_labels:
            numbers: dict[str, int] = {}
            labels = [
                [numbers.setdefault(text, len(numbers)) for text in row]
                for row in zip(*examples.texts)
            ]
            columns = {**examples.columns, LABEL: labels}
            examples = dataclasses.replace(examples, columns=columns, target=LABEL)
        return super().cut(examples)

    def encode_and_count(
        self, texts: Sequence[Sequence[str]]
    ) -> tuple[dict[str, tf.RaggedTensor], np.ndarray]:
        flat = [text for row in zip(*texts) for text in row]
        encoded, lost = self.preprocessor.encode_and_count([flat])
        together = {
            key: tf.RaggedTensor.from_uniform_row_length(value, len(texts))
            for key, value in encoded.items()
        }
        return together, lost.reshape(-1, len(texts)).sum(axis=1)

    def pad(
        self, encoded: dict[str, tf.RaggedTensor], lengths: np.ndarray | None = None
    ) -> dict[str, tf.Tensor]:
        first = next(iter(encoded.values()))
        if first.ragged_rank == 1:
            return self.preprocessor.pad(encoded, lengths)
        flat = {key: value.values for key, value in encoded.items()}
        # Every row has as many; a static number doesn't survive `tf.gather`.
        texts = tf.cast(first.row_lengths()[0], tf.int32)
        return _apart(self.preprocessor.pad(flat, lengths), texts)

    def batch(self, *texts: tf.Tensor, lengths: np.ndarray | None = None) -> dict[str, tf.Tensor]:
        flat = tf.reshape(tf.stack(texts, axis=1), [-1])
        return _apart(self.preprocessor(flat, lengths=lengths), len(texts))

    def batch_of_single(self, text: tf.Tensor) -> dict[str, tf.Tensor]:
        # An exported graph may read pairs only: two texts make one, and an empty one fills up.
        flat = tf.concat([text, tf.fill([tf.shape(text)[0] % 2], "")], axis=0)
        return _apart(self.preprocessor(flat), 2)

    def vectors(self, pooled: tf.Tensor) -> tf.Tensor:
        return pooled if self.task.has_head else keras.ops.normalize(pooled, axis=-1)

    def join(self, scores: Scores, rows: Rows) -> Scores:
        return scores if self.task.has_head else np.asarray(self.task.scores(scores))


def _apart(inputs: dict[str, tf.Tensor], texts: int | tf.Tensor) -> dict[str, tf.Tensor]:
    """Ids `[rows * texts, length]` to `[rows, texts, length]`."""
    return {
        key: tf.reshape(value, [tf.shape(value)[0] // texts, texts, tf.shape(value)[1]])
        for key, value in inputs.items()
    }
