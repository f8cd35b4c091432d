"""Numbers to predict, of any size: standard units for the loss, the user's for errors."""

from typing import Any

import keras
import numpy as np

from tfhub_transfer.errors import InputError

# What float64 can hold of numbers to predict and of their squares; of its 16 digits 3 are left to
# tell apart what is so near.
LEAST_SPREAD, MOST_SCORE, MOST_RATIO = 1e-150, 1e150, 1e13
# What float32 can, with some room on either side; of its 7 digits 3 are left, too.
_FLOAT32_SPREAD, _FLOAT32_SCORE, _FLOAT32_RATIO = 1e-30, 1e34, 1e4


def dtype(mean: float, deviation: float) -> str:
    """What numbers of this mean and spread need: `float32` or `float64`.

    Args:
        mean: Their mean.
        deviation: Their standard deviation.

    Example:

    >>> dtype(2000.0, 30.0), dtype(1e9, 1.0), dtype(0.0, 1e-40)
    ('float32', 'float64', 'float64')
    """
    small = deviation < _FLOAT32_SPREAD or abs(mean) > _FLOAT32_RATIO * deviation
    return "float64" if small or abs(mean) + deviation > _FLOAT32_SCORE else "float32"


def learn(values: np.ndarray) -> tuple[float, float]:
    """Mean and standard deviation of training targets `[n]`.

    Raises:
        InputError: If they are all the same, or no float64 numbers can tell them apart.
    """
    if not len(values):
        raise InputError("expected a score for each text; give them. Received: no labels")
    mean, deviation = float(values.mean()), float(values.std())
    # The deviation of equal numbers may be what rounding left, rather than 0.
    if not deviation or np.ptp(values) == 0:
        raise InputError(
            "every training example has the same score, so there is nothing to learn; check the "
            f"label column. Received: {values[0]} in all {len(values)} rows"
        )
    if deviation < LEAST_SPREAD:
        raise InputError(
            f"scores must be spread by more than {LEAST_SPREAD:g}; give them in other units, such "
            f"as those of their spread. Received: scores from {values.min():g} to "
            f"{values.max():g}, spread by {deviation:g}"
        )
    if abs(mean) > MOST_RATIO * deviation:
        raise InputError(
            f"scores must not lie closer together than a {MOST_RATIO:g}th of their size, or few "
            f"digits tell them apart; take {mean!r} off each. "
            f"Received: scores around {mean:g}, spread by {deviation:g}"
        )
    return mean, deviation


@keras.saving.register_keras_serializable(package="tfhub_transfer")
class RawUnits(keras.layers.Rescaling):
    """Standard units to those of the targets, also where float32 can't hold them.

    Keras' own layer makes its two numbers float32 first, whatever its `dtype`.
    """

    def call(self, inputs: keras.KerasTensor) -> keras.KerasTensor:
        scale, offset = (np.asarray(x, self.compute_dtype) for x in (self.scale, self.offset))
        return keras.ops.cast(inputs, self.compute_dtype) * scale + offset


@keras.saving.register_keras_serializable(package="tfhub_transfer")
class ScaledSquaredError(keras.losses.Loss):
    """Mean squared error in units of the targets' variance: targets `[batch]` or `[batch, 1]`."""

    def __init__(self, deviation: float = 1.0, name: str = "loss", **kwargs: Any) -> None:
        super().__init__(name=name, **kwargs)
        self.deviation = deviation

    def __call__(
        self,
        y_true: keras.KerasTensor,
        y_pred: keras.KerasTensor,
        sample_weight: keras.KerasTensor | None = None,
    ) -> keras.KerasTensor:
        # Keras makes both float32 before `call`, which can't hold numbers of every size.
        error = _standard_error(y_true, y_pred, self.deviation)[:, None]
        squared = keras.losses.MeanSquaredError(self.reduction, self.name)
        return squared(keras.ops.zeros_like(error), error, sample_weight)

    def call(self, y_true: keras.KerasTensor, y_pred: keras.KerasTensor) -> keras.KerasTensor:
        return keras.ops.square(_standard_error(y_true, y_pred, self.deviation))

    def get_config(self) -> dict[str, object]:
        return {**super().get_config(), "deviation": self.deviation}


@keras.saving.register_keras_serializable(package="tfhub_transfer")
class ScaledError(keras.metrics.RootMeanSquaredError):
    """Root mean squared error, in the targets' units, whose squares no scale of them overflows."""

    def __init__(self, deviation: float = 1.0, name: str = "rmse", **kwargs: Any) -> None:
        super().__init__(name=name, **kwargs)
        self.deviation = deviation

    def update_state(
        self,
        y_true: keras.KerasTensor,
        y_pred: keras.KerasTensor,
        sample_weight: keras.KerasTensor | None = None,
    ) -> None:
        error = _standard_error(y_true, y_pred, self.deviation)
        super().update_state(keras.ops.zeros_like(error), error, sample_weight)

    def result(self) -> keras.KerasTensor:
        # Float32 holds the error in units of the spread, which may be beyond it in the user's.
        wide = keras.ops.cast(super().result(), dtype(0.0, self.deviation))
        return wide * self.deviation

    def get_config(self) -> dict[str, object]:
        return {**super().get_config(), "deviation": self.deviation}


def _standard_error(
    y_true: keras.KerasTensor, y_pred: keras.KerasTensor, deviation: float
) -> keras.KerasTensor:
    """How far answers are off in units of the targets' spread, float32 `[batch]`."""
    # Flat, or `[batch]` less `[batch, 1]` would be the difference of every pair of rows.
    made = keras.ops.reshape(keras.ops.convert_to_tensor(y_pred), (-1,))
    wanted = keras.ops.reshape(keras.ops.cast(y_true, made.dtype), (-1,))
    return keras.ops.cast((wanted - made) / deviation, "float32")
