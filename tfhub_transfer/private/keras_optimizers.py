"""What Keras' optimizers know of variables, and say in no public way."""

import contextlib
from collections.abc import Callable, Iterable, Iterator
from typing import TypeAlias

import keras
import tensorflow as tf
from keras.src.backend.tensorflow.optimizer import filter_empty_gradients

# Of a table of which a batch mentions some rows, these.
Gradient: TypeAlias = tf.Tensor | tf.IndexedSlices
# Keras passes either its own wrapper or what is in it.
Weight: TypeAlias = keras.Variable | tf.Variable
# What a learning rate may be given as, and what is kept of it.
Schedule: TypeAlias = keras.optimizers.schedules.LearningRateSchedule
Rate: TypeAlias = float | keras.Variable | Schedule | Callable[[], float]


def key_of(optimizer: keras.optimizers.Optimizer, variable: Weight) -> str:
    """What an optimizer knows a variable by.

    `Optimizer._var_key`, with Keras 3.15.1. Inside a replica a variable is another object than
    outside, or bare; no public name says that they are one.
    """
    return str(optimizer._var_key(variable))


def known(optimizer: keras.optimizers.Optimizer) -> list[keras.Variable]:
    """The variables that an optimizer was built with, in its order; none before.

    `Optimizer._trainable_variables`, with Keras 3.15.1. `variables` are those of its own state.
    """
    return list(optimizer._trainable_variables)


def place(optimizer: keras.optimizers.Optimizer, variable: Weight) -> int:
    """The place of a variable among those that an optimizer was built with.

    `Optimizer._get_variable_index`, with Keras 3.15.1; also of what a replica has of it.
    """
    return int(optimizer._get_variable_index(variable))


def slots(
    optimizer: keras.optimizers.Optimizer,
) -> dict[str, list[keras.Variable | None]]:
    """The lists with one state variable for each variable that is trained, by attribute.

    Such as `_momentums`; found by their form, with Keras 3.15.1, since each optimizer has its own
    names. `variables` has them all in one list, not which is whose, nor where some have none.
    """
    count = len(known(optimizer))
    return {
        name: list(value)
        for name, value in vars(optimizer).items()
        if isinstance(value, list)
        # These have the form, and are the weights themselves and all state in one list.
        and name not in ("_trainable_variables", "_variables")
        and len(value) == count
        and all(v is None or isinstance(v, keras.Variable) for v in value)
    }


def forget(optimizer: keras.optimizers.Optimizer, state: keras.Variable) -> None:
    """Takes a state variable from an optimizer, which is about to make it anew.

    `Optimizer._untrack_variable`, with Keras 3.15.1, which itself calls it where a rate is another;
    and `_non_append_mutation`, `_external_modification` and `_last_wrapped_list_snapshot` of the
    list `_variables`, with TensorFlow 2.21: TensorFlow won't export a list that lost elements, nor
    put it into a `tf.train.Checkpoint`, lest they be restored by their old places. What is made
    anew takes these places, each of them, as in an optimizer that was built so at once.
    """
    optimizer._untrack_variable(state)
    held = optimizer._variables
    held._non_append_mutation = held._external_modification = False
    held._last_wrapped_list_snapshot = list(held)


def averages(optimizer: keras.optimizers.Optimizer) -> list[keras.Variable]:
    """The moving averages of the variables that an optimizer was built with, in its order.

    `Optimizer._model_variables_moving_average`, with Keras 3.15.1; there with `use_ema` only.
    """
    return list(optimizer._model_variables_moving_average)


def rate(optimizer: keras.optimizers.Optimizer) -> Rate | None:
    """What a learning rate is made of: a variable, a schedule, a function.

    `Optimizer._learning_rate`, with Keras 3.15.1. `learning_rate` asks a schedule, and gives the
    number that holds now.
    """
    # A model that wasn't compiled has no optimizer.
    return getattr(optimizer, "_learning_rate", None)


def steps(optimizer: keras.optimizers.Optimizer) -> tf.Variable:
    """How many steps were taken, as a variable that a graph reads.

    `Optimizer._iterations`, with Keras 3.15.1. Where gradients accumulate, `iterations` counts
    several steps as one.
    """
    return optimizer._iterations.value


@contextlib.contextmanager
def given_sums(optimizer: keras.optimizers.Optimizer | None) -> Iterator[None]:
    """Gradients that an optimizer is given inside are sums over all replicas already.

    `Optimizer._all_reduce_sum_gradients`, which is replaced, and `inner_optimizer` of one that
    scales losses, with Keras 3.15.1. Keras adds up what each replica clipped, and accumulated.
    To be opened around `Strategy.run`, not by each of the replicas.

    Args:
        optimizer: The optimizer, if there is one.
    """
    inner = getattr(optimizer, "inner_optimizer", optimizer)
    if inner is None:
        yield
        return
    vars(inner)["_all_reduce_sum_gradients"] = _as_given
    try:
        yield
    finally:
        del vars(inner)["_all_reduce_sum_gradients"]


def _as_given(
    pairs: Iterable[tuple[Gradient | None, Weight]],
) -> list[tuple[Gradient | None, Weight]]:
    given = list(pairs)
    filter_empty_gradients(given)  # which warns of weights without, and refuses none at all
    return given


class OpenAdamW(keras.optimizers.AdamW):
    """`keras.optimizers.AdamW` for a subclass that moves variables, decays and clips by itself.

    With Keras 3.15.1. Its own passes of `_apply_weight_decay` don't know which rows of a table a
    batch mentions.
    """

    def moments(self, variable: Weight) -> list[tf.Variable]:
        """Of a variable: `_momentums` and `_velocities`, of which `variables` has one list."""
        index = place(self, variable)
        return [each[index].value for each in (self._momentums, self._velocities)]

    def decays(self, variable: Weight) -> bool:
        """Whether it isn't among those of `exclude_from_weight_decay`: `_use_weight_decay`."""
        return bool(self._use_weight_decay(variable))

    def clipped(self, gradients: list[Gradient]) -> list[Gradient]:
        """Gradients as this optimizer clips them; for `_clip_gradients`, and by it."""
        return list(super()._clip_gradients(gradients))

    def _clip_gradients(self, grads: list[Gradient]) -> list[Gradient]:
        return self.clipped(grads)

    def _apply_weight_decay(self, variables: list[keras.Variable]) -> None:
        """Nothing: `update_step` decays."""
