"""Models that train on replicas; the private parts of Keras and TensorFlow that it takes."""

import inspect
from typing import Any

import keras
import tensorflow as tf


class Replicated(keras.Model):
    """A model that trains on replicas whose shares of a batch differ in size.

    Before its first step Keras builds what a loss or metric may hold, from the mean of the
    replicas' shares, which must be of one shape for that; here from the first replica's.

    Its functions are its own also where TensorFlow counts how often one is traced.
    """

    def make_train_function(self, force: bool = False) -> Any:
        """As Keras does."""
        made = super().make_train_function(force)
        counted_alone(self.train_function)
        return made

    def make_test_function(self, force: bool = False) -> Any:
        """As Keras does."""
        made = super().make_test_function(force)
        counted_alone(self.test_function)
        return made

    def make_predict_function(self, force: bool = False) -> Any:
        """As Keras does."""
        made = super().make_predict_function(force)
        counted_alone(self.predict_function)
        return made

    def _maybe_symbolic_build(self, iterator: Any = None, data_batch: Any = None) -> None:
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


def counted_alone(function: Any) -> None:
    """Lets TensorFlow count the tracings of graphs that a function calls each by itself.

    It counts by lines of code, to warn of a function that is traced again and again. Keras makes
    the functions of all models in the same lines, so that five short trainings, as in a search or
    a cross-validation, look like one function traced five times (tensorflow/tensorflow#42441).
    Counted by itself, one that really is still warns.

    Args:
        function: What Keras calls for each step, or a `tf.function`.
    """
    waiting, seen = [function], set()
    while waiting:
        found = waiting.pop()
        if id(found) in seen:
            continue
        seen.add(id(found))
        if isinstance(found, tf.types.experimental.PolymorphicFunction):
            found._key_for_call_stats = found  # without this part of TensorFlow it has no effect
            found = found.python_function
        if inspect.isfunction(found):
            waiting += [cell.cell_contents for cell in found.__closure__ or ()]
