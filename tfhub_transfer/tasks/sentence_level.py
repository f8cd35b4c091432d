"""Tasks that judge each sentence of a document."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfhub_transfer.errors import InputError
from tfhub_transfer.tasks.base import Head, Task

# What fills up the targets of a batch, and counts for nothing.
NO_SENTENCE = -1.0
TARGETS = ("rouge", "oracle")
TEMPERATURE = 0.05


@keras.saving.register_keras_serializable(package="tfhub_transfer")
class ExtractiveSummarization(Task):
    name = "extractive-summarization"
    needs_tokens = True
    per_word = True
    monitor = ("val_top_target", "max")

    def __init__(self, sentences: int | None = None, targets: str = "rouge", temperature=TEMPERATURE) -> None:
        super().__init__(pair=False)
        self.sentences = sentences
        self.targets = targets
        self.temperature=temperature

    @property
    def is_adapted(self) -> bool:
        return True

    def adapt(self, labels: Sequence[Any]) -> "ExtractiveSummarization":
        return self

    def encode(self, labels: Sequence[Any]) -> Any:
        values = np.array([v for row in labels for v in row], np.float32)
        return tf.RaggedTensor.from_row_lengths(values, [len(row) for row in labels])

    def outputs(self, features: keras.KerasTensor, head: Head) -> keras.KerasTensor:
        penalty = keras.regularizers.L2(head.l2) if head.l2 else None
        return keras.layers.Dense(1, kernel_regularizer=penalty, dtype="float32", name="scores")(
            features
        )

    def loss(self) -> Any:
        return BinarySentenceLoss() if self.targets == "oracle" else ListLoss(self.temperature)

    def metrics(self) -> list[Any]:
        return [TopTarget(name="top_target")]

    def decode(self, scores: Any) -> list[dict[str, Any]]:
        return []

    def get_config(self) -> dict[str, Any]:
        return {"sentences": self.sentences, "targets": self.targets, "temperature": self.temperature}


@keras.saving.register_keras_serializable(package="tfhub_transfer")
class ListLoss(keras.losses.Loss):
    def __init__(self, temperature: float = TEMPERATURE, name: str = "loss", **kwargs: Any) -> None:
        super().__init__(name=name, **kwargs)
        self.temperature = temperature

    def call(self, y_true: Any, y_pred: Any) -> Any:
        truth, logits, there = _flat(y_true, y_pred)
        wanted = keras.ops.softmax(keras.ops.where(there, truth / self.temperature, -1e9), axis=-1)
        found = keras.ops.log_softmax(keras.ops.where(there, logits, -1e9), axis=-1)
        return -keras.ops.sum(wanted * keras.ops.where(there, found, 0.0), axis=-1)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "temperature": self.temperature}


@keras.saving.register_keras_serializable(package="tfhub_transfer")
class BinarySentenceLoss(keras.losses.Loss):
    def __init__(self, name: str = "loss", **kwargs: Any) -> None:
        super().__init__(name=name, **kwargs)

    def call(self, y_true: Any, y_pred: Any) -> Any:
        truth, logits, there = _flat(y_true, y_pred)
        each = keras.ops.binary_crossentropy(keras.ops.where(there, truth, 0.0), logits, from_logits=True)
        weights = keras.ops.cast(there, "float32")
        return keras.ops.sum(each * weights, axis=-1) / keras.ops.maximum(keras.ops.sum(weights, axis=-1), 1.0)


@keras.saving.register_keras_serializable(package="tfhub_transfer")
class TopTarget(keras.metrics.Mean):
    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        truth, logits, there = _flat(y_true, y_pred)
        best = keras.ops.argmax(keras.ops.where(there, logits, -1e9), axis=-1)
        super().update_state(keras.ops.take_along_axis(truth, best[:, None], axis=1)[:, 0])


def _flat(y_true: Any, y_pred: Any) -> Any:
    logits = keras.ops.cast(y_pred, "float32")[..., 0]
    truth = keras.ops.cast(y_true, "float32")
    return truth, logits, truth > NO_SENTENCE / 2
