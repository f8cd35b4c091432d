"""Moving averages of weights: what an optimizer with `use_ema` trains a model for."""

import keras
import numpy as np

from tfhub_transfer.private import keras_optimizers
from tfhub_transfer.shapes import Logs


class Averaged(keras.callbacks.Callback):
    """Has the averages in the model while an epoch is judged, and kept.

    At the end of `fit` Keras puts them in the weights' place. So what validation measures, and what
    callbacks behind this one see at the end of an epoch, is what the epoch would leave; training
    goes on from the weights themselves. The averages begin with the weights that `fit` begins with.
    Unlike `keras.callbacks.SwapEMAWeights` it may have an optimizer that keeps none.
    """

    def __init__(self) -> None:
        super().__init__()
        self._trained: list[tuple[keras.Variable, np.ndarray]] = []

    def on_train_begin(self, logs: Logs | None = None) -> None:
        self._trained = []
        # Another optimizer may have trained them since, as that of the head.
        for weight, average in self._pairs():
            average.assign(weight)

    def on_test_begin(self, logs: Logs | None = None) -> None:
        """As Keras does, before the validation after an epoch."""
        pairs = self._pairs()
        self._trained = [(weight, keras.ops.convert_to_numpy(weight)) for weight, _ in pairs]
        for weight, average in pairs:
            weight.assign(average)

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        for weight, value in self._trained:
            weight.assign(value)
        self._trained = []

    def _pairs(self) -> list[tuple[keras.Variable, keras.Variable]]:
        """Each weight and its average."""
        optimizer = self.model.optimizer
        optimizer = getattr(optimizer, "inner_optimizer", optimizer)
        if not (getattr(optimizer, "use_ema", False) and optimizer.built):
            return []
        return list(zip(keras_optimizers.known(optimizer), keras_optimizers.averages(optimizer)))
