"""Layers and products that stay exact while the encoder's become bfloat16 (`runtime.precision`).

TensorFlow's rewrite takes every float32 product of a graph, and what stands between two of them;
no annotation keeps anything from it. But it leaves float64 alone, and what is between operations
that it doesn't know. What stands above the encoder is small, so there products are in float64
where the encoder's are rounded, and such operations stand around all the rest.
(https://github.com/tensorflow/tensorflow, core/grappler/optimizers/auto_mixed_precision_lists.h)
"""

from collections.abc import Mapping
from typing import Any, Self, TypeAlias

import keras
import tensorflow as tf

from tfhub_transfer.runtime import precision_choice

# A tensor, of TensorFlow or one that a functional model is made of.
Values: TypeAlias = tf.Tensor | keras.KerasTensor


@keras.saving.register_keras_serializable(package="tfhub_transfer")
class FullPrecision(keras.DTypePolicy):
    """Variables are float32; so is what is computed, or float64 where products are rounded.

    Unlike `keras.mixed_precision` policies it is asked anew by every trace.
    """

    def __init__(self, name: str = "float32") -> None:
        super().__init__(name)

    @property
    def compute_dtype(self) -> str:
        """`float32`, or `float64` in graphs whose products are rounded."""
        return "float64" if precision_choice.rounds_products() else super().compute_dtype

    def convert_input(self, x: Values, autocast: bool, dtype: str | None) -> Values:
        """As Keras' own; the rewrite doesn't see through it."""
        made = super().convert_input(x, autocast, dtype)
        return shield(made) if made is not x and precision_choice.rounds_products() else made


def policy() -> FullPrecision:
    """The `dtype` of a Keras layer whose products are to stay exact; its outputs may be float64."""
    return FullPrecision()


@keras.saving.register_keras_serializable(package="tfhub_transfer")
class Shield(keras.Operation):
    """Passes on what it is given; the rewrite doesn't see through it, there and back."""

    def call(self, values: tf.Tensor) -> tf.Tensor:
        # Bands are of matrices; what has fewer axes is no product.
        if not precision_choice.rounds_products() or values.shape.rank < 2:
            return values
        return tf.linalg.band_part(values, -1, -1)  # all bands: TensorFlow hands on the input

    def compute_output_spec(self, values: keras.KerasTensor) -> keras.KerasTensor:
        return keras.KerasTensor(values.shape, values.dtype)


def shield(values: Values, name: str | None = None) -> Values:
    """The same values `[..., a, b]`, so that what follows isn't rounded as what came before.

    Args:
        values: A tensor, of Keras or of TensorFlow.
        name: What a summary calls them.
    """
    return Shield(name=name)(values)


class _Exact:
    """Layers of this policy; Keras' configurations keep of a policy its name only."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{"dtype": policy(), **kwargs})

    @classmethod
    def from_config(cls, config: Mapping[str, object]) -> Self:
        """Makes the layer again, with this policy."""
        return cls(**{**config, "dtype": policy()})


# Keras files weights by the names of classes, so these keep those of their parents.
@keras.saving.register_keras_serializable(package="tfhub_transfer")
class Dense(_Exact, keras.layers.Dense):
    """A dense layer from float32 to float32 whose product stays exact."""

    def call(self, inputs: Values, training: bool | None = None) -> Values:
        return single(super().call(inputs, training))


@keras.saving.register_keras_serializable(package="tfhub_transfer")
class LSTM(_Exact, keras.layers.LSTM):
    """An LSTM whose products stay exact, also the two that `Bidirectional` makes of it."""


def matmul(a: Values, b: Values) -> Values:
    """The exact product of float32 matrices, as float32."""
    if not precision_choice.rounds_products():
        return keras.ops.matmul(a, b)
    exact = [shield(keras.ops.cast(values, "float64")) for values in (a, b)]
    return single(keras.ops.matmul(*exact))


def single(values: Values) -> Values:
    """What a layer of this policy gave, as float32."""
    return keras.ops.cast(shield(values), "float32")
