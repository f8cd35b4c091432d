"""Layers that compute in float32 whatever Keras' policy is, as all does above an encoder.

Files name these classes.
"""

from collections.abc import Mapping
from typing import Any, Self, TypeAlias

import keras
import tensorflow as tf

# A tensor, of TensorFlow or one that a functional model is made of.
Values: TypeAlias = tf.Tensor | keras.KerasTensor


@keras.saving.register_keras_serializable(package="tfhub_transfer")
class FullPrecision(keras.DTypePolicy):
    """Variables are float32; so is what is computed."""

    def __init__(self, name: str = "float32") -> None:
        super().__init__(name)


def policy() -> FullPrecision:
    """The `dtype` of a Keras layer whose products are to stay exact."""
    return FullPrecision()


@keras.saving.register_keras_serializable(package="tfhub_transfer")
class Shield(keras.Operation):
    """Passes on what it is given."""

    def call(self, values: tf.Tensor) -> tf.Tensor:
        return values

    def compute_output_spec(self, values: keras.KerasTensor) -> keras.KerasTensor:
        return keras.KerasTensor(values.shape, values.dtype)


def named(values: Values, name: str) -> Values:
    """The same values, under a name of their own.

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
    """A dense layer of float32."""


@keras.saving.register_keras_serializable(package="tfhub_transfer")
class LSTM(_Exact, keras.layers.LSTM):
    """An LSTM of float32, also the two that `Bidirectional` makes of it."""
