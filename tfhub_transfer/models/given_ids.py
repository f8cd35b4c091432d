"""Keras' `fit`, `evaluate` and `predict` of models that read ids, at one precision each time."""

import contextlib
import functools
from collections.abc import Iterator
from typing import Any

import keras

from tfhub_transfer import runtime
from tfhub_transfer.data import streamed
from tfhub_transfer.data.batching import require_order
from tfhub_transfer.models import filling, fitting, one_file
from tfhub_transfer.runtime import precision_choice


class GivenIds(one_file.InOneFile):
    """A model of an encoder that Keras trains on what `preprocess` made.

    Attributes:
        unread_groups: Groups of the encoder that the model's head doesn't read.
    """

    unread_groups: tuple[str, ...]
    # What was traced keeps the precision that it was traced with.
    _traced_at: str | None = None

    def call(
        self, inputs: Any, training: bool | None = None, mask: Any = None, **kwargs: Any
    ) -> Any:
        """As of any functional model, also of a list in the order of `inputs`.

        So TensorFlow Lite's converter (`from_keras_model`) asks every model of several inputs.
        """
        if isinstance(inputs, (list, tuple)) and len(inputs) == len(self.inputs):
            inputs = {tensor.name: each for tensor, each in zip(self.inputs, inputs)}
        return super().call(inputs, training=training, mask=mask, **kwargs)

    def fit(self, x: object = None, *args: object, **kwargs: object) -> keras.callbacks.History:
        """As `keras.Model.fit`; first sizes a warm-up schedule of the optimizer to this run.

        With `initial_epoch` the run is that which began so many epochs ago.
        """
        self.encoder.mark_unread(*self.unread_groups)
        usual = functools.partial(keras.Model.fit, self)
        given = fitting.arguments(self, usual, x, *args, **kwargs)
        with self._one_precision(), self._at_precision():
            return super().fit(**given)

    def evaluate(self, *args: object, **kwargs: object) -> Any:
        """As `keras.Model.evaluate`, at the precision of `runtime.precision`."""
        fitting.require_ids("evaluate", *args[:1], kwargs.get("x"))
        with self._one_precision(), self._at_precision(answering=True):
            return super().evaluate(*args, **kwargs)

    def predict(self, *args: object, **kwargs: object) -> Any:
        """As `keras.Model.predict`, at the precision of `runtime.precision`."""
        fitting.require_ids("predict", *args[:1], kwargs.get("x"))
        require_order(*args, **kwargs)
        filling.require_none(*args, **kwargs)
        with self._at_precision(answering=True):
            return super().predict(*args, **kwargs)

    # A batch at a time uses the graphs of `fit`, `evaluate` and `predict`, and makes them.

    def train_on_batch(self, *args: object, **kwargs: object) -> Any:
        """As `keras.Model.train_on_batch`; metrics leave out rows that only fill up the batch."""
        with self._one_precision(), self._at_precision():
            return super().train_on_batch(*args, **kwargs)

    def test_on_batch(self, *args: object, **kwargs: object) -> Any:
        """As `keras.Model.test_on_batch`; metrics leave out rows that only fill up the batch."""
        with self._one_precision(), self._at_precision(answering=True):
            return super().test_on_batch(*args, **kwargs)

    def predict_on_batch(self, *args: object, **kwargs: object) -> Any:
        """As `keras.Model.predict_on_batch`, at the precision of `runtime.precision`."""
        with self._at_precision(answering=True):
            return super().predict_on_batch(*args, **kwargs)

    def _one_precision(self) -> contextlib.AbstractContextManager[str]:
        """One precision of all processes that train or measure together."""
        width = self.encoder.dimension
        return runtime.precision_of_all(self.distribute_strategy, "auto", width)

    @contextlib.contextmanager
    def _at_precision(self, answering: bool = False) -> Iterator[None]:
        of_width = runtime.precision("auto", self.encoder.dimension)
        gradients = precision_choice.without_gradients(answering)
        with of_width as precision, gradients, streamed.errors_alone(), filling.errors_alone():
            if self._traced_at not in (None, precision):
                self.train_function = self.test_function = self.predict_function = None
            self._traced_at = precision
            yield
