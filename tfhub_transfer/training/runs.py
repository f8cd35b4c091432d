"""One `fit` of a stage: told which epoch it is, noted as it goes, taken up where it was killed."""

import dataclasses
import functools
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import keras
import tensorflow as tf

from tfhub_transfer.callbacks.best_weights import KeepBest
from tfhub_transfer.data.passes import Epochs
from tfhub_transfer.models import counting
from tfhub_transfer.optimization import optimizers
from tfhub_transfer.optimization.schedules import WarmUpLinearDecay
from tfhub_transfer.runtime import cluster, metric_states
from tfhub_transfer.shapes import Json, Logs
from tfhub_transfer.storage import signals
from tfhub_transfer.training.checkpoints import Checkpoint
from tfhub_transfer.training.snapshots import Arrays

Curves = dict[str, list[float]]
# What metrics hold in the midst of an epoch, among the arrays of a checkpoint.
_METRIC = "metric "
# Seconds that a process stays in step with the chief when it is told to end.
_MERCY = 10.0


class GoesOn(Protocol):
    """A callback that becomes what another was."""

    def state(self) -> dict[str, object]:
        """What it knows, as JSON can say it."""

    def go_on(self, state: Mapping[str, Any]) -> None:
        """Becomes what another was when it gave its state, in a training that has begun."""


@dataclasses.dataclass(frozen=True)
class Run:
    """What a `fit` is to do.

    Attributes:
        model: What trains.
        batches: A pass over the rows.
        validation: What judges.
        epochs: How many.
        passes: Over the rows in each epoch.
        callbacks: What hears of it, in that order.
        keep: The one of them that keeps the best weights.
        others: Those of them that decide anything else.
        fed: Makes of batches what `fit` is given.
        steps: How many batches an epoch has, where they have no end.
    """

    model: keras.Model
    batches: tf.data.Dataset
    validation: tf.data.Dataset
    epochs: int
    passes: int
    callbacks: Sequence[keras.callbacks.Callback]
    keep: KeepBest
    others: Sequence[keras.callbacks.Callback]
    fed: Callable[[tf.data.Dataset], dict[str, Any]]
    steps: int | None = None

    def curves(self, checkpoint: Checkpoint | None = None) -> Curves:
        """Trains.

        Args:
            checkpoint: What notes how far it is.

        Returns:
            The curves, with the epochs of processes before.
        """
        turn = _Turn(self.batches, self.validation)
        try:
            with counting.judged_without_xla(self.model):
                return self._curves(checkpoint, [turn, *self.callbacks])
        finally:
            turn.end(self.epochs)

    def _curves(
        self, checkpoint: Checkpoint | None, told: Sequence[keras.callbacks.Callback]
    ) -> Curves:
        if checkpoint is None or not self._can_go_on() or not checkpoint.first_fit():
            found: Curves = self._fit(self._all(), told, 0, self.epochs).history
            return found
        notes = _Notes(self, checkpoint)
        # The first signal waits until what was learned by then is noted.
        with signals.held():
            first = notes.epoch
            if notes.step:
                self._rest([*told, notes], notes)
            else:
                self._fit(self._all(), [*told, notes], first, self.epochs)
        return notes.curves

    def _can_go_on(self) -> bool:
        """Whether rows come in the order of their epoch, and all that decides can be noted."""
        ordered = isinstance(getattr(self.batches, "epochs", None), Epochs)
        # From the end of an epoch to the next one's begin averages stand in the weights' place.
        optimizer = getattr(self.model.optimizer, "inner_optimizer", self.model.optimizer)
        averages = getattr(optimizer, "use_ema", False)
        return ordered and not averages and all(hasattr(each, "go_on") for each in self.others)

    def _all(self, past: int = 0) -> tf.data.Dataset:
        order = getattr(self.batches, "epochs", None)
        if isinstance(order, Epochs) and (self.passes > 1 or past):
            return order.again(self.passes, past)
        return self.batches.repeat(self.passes) if self.passes > 1 else self.batches

    def _fit(
        self,
        batches: tf.data.Dataset,
        callbacks: Sequence[keras.callbacks.Callback],
        first: int,
        last: int,
    ) -> keras.callbacks.History:
        return self.model.fit(
            **self.fed(batches),
            validation_data=self.validation,
            steps_per_epoch=self.steps,
            initial_epoch=first,
            epochs=last,
            shuffle=False,  # they are
            callbacks=list(callbacks),
            verbose=0,
        )

    def _rest(self, callbacks: Sequence[keras.callbacks.Callback], notes: "_Notes") -> None:
        """Trains from the midst of an epoch: the rest of it, then the others, as one training."""
        epoch, step = notes.epoch, notes.step
        # Keras makes metrics in the first step, and what these hold comes before it.
        self.model.evaluate(self.validation.take(1), verbose=0)
        whole = _AsOne(callbacks, {"epochs": self.epochs, "steps": notes.steps}, step)
        self._fit(self._all(step), [whole], epoch, epoch + 1)
        whole.past = 0
        if not self.model.stop_training and epoch + 1 < self.epochs:
            self._fit(self._all(), [whole], epoch + 1, self.epochs)
        whole.end()


class _Turn(keras.callbacks.Callback):
    """Tells what orders rows which epoch it is."""

    def __init__(self, *batches: tf.data.Dataset) -> None:
        super().__init__()
        orders = [getattr(each, "epochs", None) for each in batches]
        self._orders = [each for each in orders if isinstance(each, Epochs)]

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        for each in self._orders:
            each.begin(epoch)

    def end(self, epochs: int) -> None:
        """Tells it that a training of so many epochs is over."""
        for each in self._orders:
            each.end(epochs)


class _Notes(keras.callbacks.Callback):
    """The last of the callbacks: what it notes is what the others decided."""

    def __init__(self, run: Run, checkpoint: Checkpoint) -> None:
        super().__init__()
        self._run, self._checkpoint = run, checkpoint
        self._saved = checkpoint.taken_up()
        past: dict[str, Any] = {} if self._saved is None else self._saved.record
        self.curves: Curves = past.get("curves", {})
        self.epoch, self.step = past.get("epoch", 0), past.get("step", 0)
        if past.get("stopped"):
            self.epoch = run.epochs
        order = run.batches.epochs
        self.steps = run.passes * order.batches
        self._asked: float | None = None

    def on_train_begin(self, logs: Logs | None = None) -> None:
        if self._saved is None:
            return
        record, arrays = self._saved
        model, snapshots = self.model, self._checkpoint.snapshots
        for each in self._run.others:  # a user may have given another number of callbacks
            state = record["others"].get(type(each).__name__)
            if state is not None:
                each.go_on(state)
        if not model.optimizer.built:  # as Keras does in the first step
            with model.distribute_strategy.scope():
                model.optimizer.build(model.trainable_variables)
        snapshots.give(arrays, model)
        kept = snapshots.unpacked(model, arrays) if record["keeps"] else None
        self._run.keep.go_on(record["keep"], kept)
        schedule = optimizers.rate(model.optimizer)
        if isinstance(schedule, WarmUpLinearDecay):
            schedule.size(*record["schedule"])

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        if self._saved is not None and self.step:
            for place, variable in enumerate(self.model.metrics_variables):
                metric_states.give(
                    self.model.distribute_strategy,
                    variable,
                    self._saved.arrays[f"{_METRIC}{place}"],
                )
        self._saved, self.step, self.epoch = None, 0, epoch

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        if batch + 1 >= self.steps or self.model.stop_training:
            return  # the epoch's end is near
        signal = self._signal()
        if signal or self._checkpoint.is_due(within_epoch=True):
            self._note(self.epoch, batch + 1)
        if signal:
            raise signals.Interrupted(signal)

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        for name, value in (logs or {}).items():
            self.curves.setdefault(name, []).append(float(value))
        signal, last = self._signal(), epoch + 1 == self._run.epochs
        if signal or (self._checkpoint.is_due() and not last):
            self._note(epoch + 1, 0)
        if signal:
            raise signals.Interrupted(signal)

    def _signal(self) -> int | None:
        """The number of a signal that ends the training here.

        The chief of several processes may have got it too, and needs the others to get to the end
        of its step, where it notes how far it is.
        """
        signal, now = signals.pending(), time.monotonic()
        if signal is None or cluster.place(self.model.distribute_strategy).index == 0:
            return signal
        self._asked = self._asked or now
        return signal if now - self._asked > _MERCY else None

    def _note(self, epoch: int, step: int) -> None:
        model, run, snapshots = self.model, self._run, self._checkpoint.snapshots
        schedule = optimizers.rate(model.optimizer)
        record: dict[str, Json | object] = {
            "epoch": epoch,
            "step": step,
            "stopped": bool(model.stop_training),
            "curves": self.curves,
            "keep": run.keep.state(),
            "keeps": run.keep.best_weights is not None,
            "others": {type(each).__name__: each.state() for each in run.others},
            "schedule": [schedule.start, schedule.total_steps, schedule.peak]
            if isinstance(schedule, WarmUpLinearDecay)
            else None,
        }

        def take() -> Arrays:
            arrays = snapshots.take(model)
            arrays |= snapshots.kept(model, run.keep.best_weights)
            if step:
                first = functools.partial(metric_states.of_first, model.distribute_strategy)
                found = map(first, model.metrics_variables)
                arrays |= {f"{_METRIC}{place}": value for place, value in enumerate(found)}
            return arrays

        self._checkpoint.note(record, take)


class _AsOne(keras.callbacks.Callback):
    """Callbacks to which several calls of `fit` are one training.

    Args:
        callbacks: Which.
        params: What the training is, as Keras tells callbacks.
        past: How many batches of the epoch are past that is under way.
    """

    def __init__(
        self, callbacks: Sequence[keras.callbacks.Callback], params: dict[str, Any], past: int
    ) -> None:
        super().__init__()
        self._all, self._params, self.past = callbacks, params, past
        self._begun = False
        self._logs: Logs | None = None

    def set_model(self, model: keras.Model) -> None:
        """As Keras does."""
        super().set_model(model)
        if not self._begun:
            self._tell("set_params", {"verbose": 0, **self._params})
            self._tell("set_model", model)

    def on_train_begin(self, logs: Logs | None = None) -> None:
        if not self._begun:
            self._begun = True
            self._tell("on_train_begin", logs)

    def end(self) -> None:
        """Tells that training is over."""
        self._tell("on_train_end", self._logs)

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        self._tell("on_epoch_begin", epoch, logs)

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        self._logs = logs
        self._tell("on_epoch_end", epoch, logs)

    def on_train_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        self._tell("on_train_batch_begin", self.past + batch, logs)

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        self._tell("on_train_batch_end", self.past + batch, logs)

    def on_test_begin(self, logs: Logs | None = None) -> None:
        self._tell("on_test_begin", logs)

    def on_test_end(self, logs: Logs | None = None) -> None:
        self._tell("on_test_end", logs)

    def on_test_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        """As Keras does."""
        self._tell("on_test_batch_begin", batch, logs)

    def on_test_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        self._tell("on_test_batch_end", batch, logs)

    def _tell(self, hook: str, *given: object) -> None:
        for each in self._all:
            getattr(each, hook)(*given)
