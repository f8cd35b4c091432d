"""Models whose losses and metrics are those of the rows that are there, whatever fills batches."""

import contextlib
from collections.abc import Iterator
from typing import Any

import keras
import tensorflow as tf

from tfhub_transfer import runtime
from tfhub_transfer.models import filling
from tfhub_transfer.private import keras_losses
from tfhub_transfer.runtime.replicas import Step
from tfhub_transfer.shapes import Logs


class CountsRows(runtime.Replicated):
    """A model that Keras trains on batches of `preprocess`, of which some rows only fill up."""

    # Whether what judges isn't compiled though what trains is.
    _tests_without_xla: bool = False
    jit_compile: bool  # a property of Keras'
    # Of the rows of the batch under way, the share of those that don't only fill it up.
    _share_there: Any = 1.0
    # In what rows of the batches of now weigh alike, as `filling.filled` says, and of those for
    # which training and testing were traced.
    _filled: str | None = None
    _fit_filled: str | None = None
    _evaluate_filled: str | None = None

    @property
    def replicas_of_shapes(self) -> int | None:
        """On how many replicas what is compiled for each shape of batch runs, if anything is."""
        strategy = self.distribute_strategy
        if self.jit_compile or isinstance(strategy, tf.distribute.TPUStrategy):
            return int(strategy.num_replicas_in_sync)
        return None

    def fit(self, x: object = None, *args: object, **kwargs: object) -> keras.callbacks.History:
        """As `keras.Model.fit`."""
        with self._leaving_out(filling.filled(x)):
            self._train_as_filled()
            return super().fit(x, *args, **kwargs)

    def evaluate(self, x: object = None, *args: object, **kwargs: object) -> Any:
        """As `keras.Model.evaluate`."""
        with self._leaving_out(filling.filled(x)):
            self._test_as_filled()
            return super().evaluate(x, *args, **kwargs)

    def train_on_batch(self, *args: object, **kwargs: object) -> Any:
        """As `keras.Model.train_on_batch`."""
        self._train_as_filled()
        return super().train_on_batch(*args, **kwargs)

    def test_on_batch(self, *args: object, **kwargs: object) -> Any:
        """As `keras.Model.test_on_batch`."""
        self._test_as_filled()
        return super().test_on_batch(*args, **kwargs)

    def make_test_function(self, force: bool = False) -> Step | None:
        """As Keras does; without XLA if so asked."""
        if not (self.jit_compile and self._tests_without_xla):
            return super().make_test_function(force)
        self.jit_compile = False
        try:
            return super().make_test_function(force)
        finally:
            self.jit_compile = True

    def train_step(self, data: object) -> Logs:
        """As Keras does, but the loss of an epoch is that of its rows."""
        with self._losses_by_row(data):
            return super().train_step(data)

    def test_step(self, data: object) -> Logs:
        """As Keras does, but the loss is that of all rows."""
        with self._losses_by_row(data):
            found: Logs = super().test_step(data)
        return found

    def compute_metrics(
        self, x: object, y: object, y_pred: object, sample_weight: object = None
    ) -> dict[str, object]:
        """As `keras.Model.compute_metrics`, but rows that only fill up batches don't count."""
        # Whether some fill up is known of some batches; of all others their weights tell.
        real = filling.counted(sample_weight)
        # In the scope of a strategy Keras builds metrics on numbers that a branch can't keep.
        if real is None or (not self._filled and tf.distribute.has_strategy()):
            return super().compute_metrics(x, y, y_pred, sample_weight)
        for metric in self.metrics:
            # Keras makes what `compile` was given in the midst of the first step: one too late.
            if not getattr(metric, "built", True):
                metric.build(y, y_pred)
        if self._filled == filling.BY_BATCH:
            # Not what they weigh in the mean over their batch, or those of full ones weighed less.
            share = tf.reduce_mean(real)
            sample_weight = tf.nest.map_structure(lambda each: each * share, sample_weight)
        with filling.left_out(self.metrics, real, known=bool(self._filled)):
            return super().compute_metrics(x, y, y_pred, sample_weight)

    def _train_as_filled(self) -> None:
        """Has training traced anew if what was traced is of batches filled otherwise."""
        if self._fit_filled != self._filled:
            self.train_function = None
        self._fit_filled = self._filled

    def _test_as_filled(self) -> None:
        """The same of testing."""
        if self._evaluate_filled != self._filled:
            self.test_function = None
        self._evaluate_filled = self._filled

    @contextlib.contextmanager
    def _losses_by_row(self, data: object) -> Iterator[None]:
        real = filling.counted(keras.utils.unpack_x_y_sample_weight(data)[2])
        if real is None or self._filled not in (filling.BY_BATCH, filling.BY_UNIT):
            yield
            return
        self._share_there = tf.reduce_mean(real)
        try:
            with filling.by_rows(keras_losses.mean_of_batches(self), real):
                yield
        finally:
            self._share_there = 1.0

    @contextlib.contextmanager
    def _leaving_out(self, filled: str | None) -> Iterator[None]:
        """While it is open, losses and metrics leave out rows that fill up, if there may be some.

        `fit` calls `evaluate`, whose batches may be others.
        """
        before, self._filled = self._filled, filled
        try:
            yield
        finally:
            self._filled = before


@contextlib.contextmanager
def judged_without_xla(model: keras.Model) -> Iterator[None]:
    """While it is open, what judges a model isn't compiled by XLA.

    It would be for each shape once more, which takes longer than it gains. Predictions aren't
    either.

    Args:
        model: A model that trains, if it is of ours and compiled.
    """
    if not (isinstance(model, CountsRows) and model.jit_compile) or model._tests_without_xla:
        yield
        return
    model._tests_without_xla, model.test_function = True, None
    try:
        yield
    finally:
        model._tests_without_xla, model.test_function = False, None
