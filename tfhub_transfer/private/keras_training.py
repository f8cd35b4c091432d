"""What Keras' models know of how they train, and say in no public way.

`Model.get_compile_config` says it as a configuration: what is made from that are other objects than
the user's, and to make it asks the optimizer for numbers that aren't known while a step is traced.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import TypeAlias

import keras
import tensorflow as tf
from keras.src.losses.losses import LossFunctionWrapper
from keras.src.utils.naming import to_snake_case


def metrics_given(model: keras.Model) -> dict[str, object]:
    """The `metrics` and `weighted_metrics` that a model was compiled with, as they were given.

    `Model._compile_metrics` with its `_user_metrics` and `_user_weighted_metrics`, with Keras
    3.15.1. `Model.metrics` has them as one, and those of layers.
    """
    compiled = model._compile_metrics  # none at all if there are no metrics
    return {
        "metrics": getattr(compiled, "_user_metrics", None),
        "weighted_metrics": getattr(compiled, "_user_weighted_metrics", None),
    }


def loss_weights_given(model: keras.Model) -> "dict[str, float] | list[float] | float | None":
    """The `loss_weights` that a model was compiled with, as they were given.

    `Model._compile_loss` with its `_user_loss_weights`, with Keras 3.15.1.
    """
    return getattr(model._compile_loss, "_user_loss_weights", None)


def begin_anew(model: keras.Model) -> None:
    """Lets `fit` begin at the epoch that it is given.

    `Model._initial_epoch`, with Keras 3.15.1: where `BackupAndRestore` began an earlier run, which
    goes before `initial_epoch` in all later ones.
    """
    model._initial_epoch = None


def share_of_replica(model: keras.Model, loss: tf.Tensor) -> tf.Tensor:
    """What a replica adds to the loss of a penalty that each of them knows whole.

    `Model._aggregate_additional_loss`, with Keras 3.15.1: Keras adds up what replicas computed.
    """
    return model._aggregate_additional_loss(loss)


def as_loss(
    function: Callable[[tf.Tensor, tf.Tensor], tf.Tensor], reduction: str | None
) -> keras.Loss:
    """A function of labels and scores as a loss.

    `keras.src.losses.losses.LossFunctionWrapper`, with Keras 3.15.1, as `compile` makes it.

    Args:
        function: Gives the loss of each example.
        reduction: As Keras' losses take it.
    """
    return LossFunctionWrapper(function, reduction=reduction)


def spelled(name: str) -> str:
    """What Keras calls a metric or a layer that has no name, by its class or function.

    `keras.src.utils.naming.to_snake_case`, with Keras 3.15.1.
    """
    return str(to_snake_case(name))


# The number of its first batch, of its last, and these batches.
Epoch: TypeAlias = tuple[int, int, Iterator[object]]


class BuiltOnOneShare(keras.Model):
    """A model whose losses and metrics are built on the first replica's share of a batch.

    `Model._maybe_symbolic_build`, which is replaced, `_symbolic_build` and `_distribute_strategy`
    (which says also that there is none), with Keras 3.15.1. Keras builds them on the mean of all
    shares, which must be of one shape for that.
    """

    def _maybe_symbolic_build(
        self, iterator: "Iterable[Epoch] | None" = None, data_batch: object = None
    ) -> None:
        if self._distribute_strategy is None or iterator is None:
            super()._maybe_symbolic_build(iterator, data_batch)
            return
        strategy = self.distribute_strategy
        _, _, batches = next(iter(iterator))
        first = tf.nest.map_structure(
            lambda value: strategy.experimental_local_results(value)[0], next(batches)
        )
        with strategy.scope():
            self._symbolic_build(data_batch=first)
