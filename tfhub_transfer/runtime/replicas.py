"""Models that train on replicas."""

import inspect
from collections.abc import Callable, Iterator
from typing import TypeAlias

import tensorflow as tf

from tfhub_transfer.private import keras_training, tensorflow_gradients, tensorflow_graphs
from tfhub_transfer.runtime import precision_choice
from tfhub_transfer.shapes import Logs

# What Keras calls for each step; it gives the functions of training and testing their names only.
Step: TypeAlias = Callable[[Iterator[object]], object]


class Replicated(keras_training.BuiltOnOneShare):
    """A model that trains on replicas whose shares of a batch differ in size.

    Before its first step Keras builds what a loss or metric may hold, from the mean of the
    replicas' shares, which must be of one shape for that; here from the first replica's.

    Its functions are its own also where TensorFlow counts how often one is traced. What TensorFlow
    notes of a step for good ends with its tracing.

    All replicas compute at the precision of the thread that asks for a step: a block of `precision`
    is of one thread, and each replica is traced by one of its own.
    """

    _around: str | None = None

    @property
    def distribute_strategy(self) -> tf.distribute.Strategy:
        """As Keras has it, whose steps ask for it before they run on replicas."""
        if not _in_replica():
            self._around = precision_choice.surrounding()
        return super().distribute_strategy

    def call(
        self, inputs: object, training: bool | None = None, mask: object = None, **kwargs: object
    ) -> object:
        """As Keras does."""
        if self._around is None or not _in_replica():
            return super().call(inputs, training, mask, **kwargs)
        with precision_choice.precision(self._around):
            return super().call(inputs, training, mask, **kwargs)

    def train_step(self, data: object) -> Logs:
        """As Keras does."""
        with tensorflow_gradients.forgotten():
            logs: Logs = super().train_step(data)
        return logs

    def make_train_function(self, force: bool = False) -> Step | None:
        """As Keras does."""
        made = super().make_train_function(force)
        counted_alone(self.train_function)
        return made

    def make_test_function(self, force: bool = False) -> Step | None:
        """As Keras does."""
        made = super().make_test_function(force)
        counted_alone(self.test_function)
        return made

    def make_predict_function(self, force: bool = False) -> Step | None:
        """As Keras does."""
        made = super().make_predict_function(force)
        counted_alone(self.predict_function)
        return made


def _in_replica() -> bool:
    return tf.distribute.has_strategy() and not tf.distribute.in_cross_replica_context()


def counted_alone(function: Callable[..., object] | None) -> None:
    """Lets TensorFlow count the tracings of graphs that a function calls each by itself.

    It counts by lines of code, to warn of a function that is traced again and again. Keras makes
    the functions of all models in the same lines, so that five short trainings, as in a search or
    a cross-validation, look like one function traced five times (tensorflow/tensorflow#42441).
    Counted by itself, one that really is still warns.

    Args:
        function: What Keras calls for each step, or a `tf.function`.
    """
    waiting: list[object] = [function]
    seen: set[int] = set()
    while waiting:
        found = waiting.pop()
        if id(found) in seen:
            continue
        seen.add(id(found))
        if isinstance(found, tf.types.experimental.PolymorphicFunction):
            tensorflow_graphs.count_alone(found)
            found = found.python_function
        # Keras wraps what it traces in functions that hold it.
        if inspect.isfunction(found):
            waiting += [cell.cell_contents for cell in found.__closure__ or ()]
