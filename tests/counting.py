"""A task of one's own in one file, as users write it: how many of something a text speaks of."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

import tfhub_transfer as tt


@tt.tasks.register
class Counting(tt.tasks.Task):
    """A count from 0 for each text, by Poisson regression."""

    name = "counting"
    monitor = ("val_deviance", "min")

    def __init__(self, mean: float | None = None, pair: bool = False) -> None:
        super().__init__(pair)
        self.mean = mean

    learns = ("mean",)

    @property
    def is_adapted(self) -> bool:
        return self.mean is not None

    def adapt(self, labels: Sequence[Any]) -> "Counting":
        self.mean = float(np.mean(self.encode(labels))) if self.mean is None else self.mean
        return self

    def encode(self, labels: Sequence[Any]) -> np.ndarray:
        counts = np.array([float(label) for label in labels], "float32")
        if (counts < 0).any():
            raise tt.InputError(f"counts are at least 0. Received: {counts.min():g}")
        return counts

    def outputs(self, features: Any, head: tt.Head) -> Any:
        start = keras.initializers.Constant(np.log(self.mean or 1.0))
        logs = keras.layers.Dense(1, bias_initializer=start, dtype="float32", name="logs")(features)
        return keras.layers.Activation("exponential", dtype="float32", name="counts")(logs)

    def loss(self) -> Any:
        return keras.losses.Poisson()

    def metrics(self) -> list[Any]:
        return [keras.metrics.MeanMetricWrapper(deviance, name="deviance")]

    def answer(self, scores: Any) -> dict[str, Any]:
        return {"score": scores[:, 0]}

    def decode(self, scores: np.ndarray) -> list[dict[str, Any]]:
        return [{"count": float(count)} for count in np.reshape(scores, -1)]

    def get_config(self) -> dict[str, Any]:
        return {"mean": self.mean, "pair": self.pair}


@keras.saving.register_keras_serializable(package="counting")
def deviance(y_true: Any, y_pred: Any) -> Any:
    """Of Poisson's distribution, for each row; less is better."""
    wanted = keras.ops.reshape(keras.ops.cast(y_true, "float32"), (-1,))
    made = keras.ops.maximum(keras.ops.reshape(y_pred, (-1,)), 1e-7)
    logs = keras.ops.log(keras.ops.maximum(wanted, 1e-7) / made)
    return 2 * (wanted * logs - wanted + made)
