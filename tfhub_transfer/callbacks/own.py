"""Callbacks of users' own: beside thawing in one `fit`, and in all stages of `fine_tune`."""

import re
import string
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import keras

from tfhub_transfer.callbacks.thawing import ProgressiveUnfreezing
from tfhub_transfer.errors import InputError
from tfhub_transfer.optimization import optimizers
from tfhub_transfer.shapes import Logs
from tfhub_transfer.storage import saving

# One callback, lists of any depth, or nothing: as `fit` of Keras takes them.
Given: TypeAlias = "keras.callbacks.Callback | Sequence[object] | None"
Optimizer: TypeAlias = "keras.optimizers.Optimizer | None"

_SETS_RATES = (keras.callbacks.LearningRateScheduler, keras.callbacks.ReduceLROnPlateau)
_READERS = (
    keras.callbacks.EarlyStopping,
    keras.callbacks.ModelCheckpoint,
    keras.callbacks.ReduceLROnPlateau,
)
# What these keep from epoch to epoch.
_COUNTED = ("wait", "best", "best_epoch", "stopped_epoch", "cooldown_counter")
# What can't be meant in stages, each with an optimizer of its own, and what to do instead.
_IN_ONE_FIT = "give it to `model.fit`, with `tt.ProgressiveUnfreezing` to thaw"
_REFUSED = (
    (keras.callbacks.BackupAndRestore, "its backup is of one model, not of several stages"),
    (keras.callbacks.SwapEMAWeights, "the head trains by an optimizer that keeps no averages"),
    (ProgressiveUnfreezing, "`fine_tune` thaws by itself, `unfreeze` says how many groups"),
)


def listed(callbacks: Given) -> list[keras.callbacks.Callback]:
    """Callbacks in one list, in whatever form Keras takes them.

    Args:
        callbacks: One, a list of any depth, or nothing.

    Raises:
        InputError: If there is something else among them.
    """
    if callbacks is None:
        return []
    if isinstance(callbacks, keras.callbacks.CallbackList):
        return list(callbacks.callbacks)
    found = keras.tree.flatten(callbacks)
    odd = [each for each in found if not isinstance(each, keras.callbacks.Callback)]
    if odd:
        made = f", such as {odd[0].__name__}(...)" if isinstance(odd[0], type) else ""
        raise InputError(f"`callbacks` takes Keras callbacks{made}. Received: {odd[0]!r:.80}")
    return found


def check(callbacks: Given, optimizer: Optimizer) -> None:
    """Refuses, before anything trains, callbacks that would fail in the middle or do nothing.

    Args:
        callbacks: As `keras.Model.fit` takes them.
        optimizer: The model's.

    Raises:
        InputError: If one sets the learning rate of an optimizer whose rate follows a schedule; or
            one thaws by a monitored value, which a backup doesn't hold, where another restores one.
    """
    found = listed(callbacks)
    schedule = optimizers.rate(optimizer)
    setting = [each for each in found if isinstance(each, _SETS_RATES)]
    if setting and callable(schedule) and not isinstance(schedule, keras.Variable):
        raise InputError(
            "the optimizer's learning rate follows a schedule, which a callback can't set; leave "
            "the callback out, or give `build_model` an optimizer whose rate is a number, such as "
            "`optimizer=keras.optimizers.AdamW(1e-4)`. "
            f"Received: {type(setting[0]).__name__}, and {type(schedule).__name__}"
        )
    restored = any(isinstance(each, keras.callbacks.BackupAndRestore) for each in found)
    waiting = [e for e in found if isinstance(e, ProgressiveUnfreezing) and e.monitor is not None]
    if restored and waiting:
        raise InputError(
            "a backup doesn't hold how long a group has waited for a monitored value; thaw by "
            "epochs, or leave BackupAndRestore out. Received: "
            f"ProgressiveUnfreezing(monitor={waiting[0].monitor!r})"
        )


def going_on(callbacks: Given, go_on: Callable[[int], None]) -> Given:
    """Callbacks, with one more where one restores a backup.

    Args:
        callbacks: As `keras.Model.fit` takes them.
        go_on: Called with the epoch that training begins with, once the backup is restored.
    """
    found = listed(callbacks)
    restores = any(isinstance(each, keras.callbacks.BackupAndRestore) for each in found)
    return [*found, _GoesOn(go_on)] if restores else callbacks


class _GoesOn(keras.callbacks.Callback):
    """Says with which epoch training really begins."""

    def __init__(self, go_on: Callable[[int], None]) -> None:
        super().__init__()
        self._go_on: Callable[[int], None] | None = go_on

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        # A backup is restored when training begins; which epoch follows shows only here.
        if self._go_on is not None:
            self._go_on(epoch)
            self._go_on = None


def check_stages(callbacks: Given, optimizer: Optimizer, thaws: bool, tasks: int) -> None:
    """Refuses, before anything trains, callbacks that can't serve in every stage of `fine_tune`.

    Args:
        callbacks: Those of the user.
        optimizer: The model's, which trains what thaws.
        thaws: Whether anything does.
        tasks: How many tasks the model has.

    Raises:
        InputError: As of `check` and `optimizers.require`; or if one is meant for a single `fit`,
            or is to write what isn't a model's file.
    """
    for each in listed(callbacks):
        for kind, reason in _REFUSED:
            if isinstance(each, kind):
                raise InputError(
                    f"`fine_tune` can't take {kind.__name__}: {reason}; {_IN_ONE_FIT}. "
                    f"Received: {kind.__name__}"
                )
        if isinstance(each, keras.callbacks.CSVLogger) and tasks > 1:
            raise InputError(
                "the heads of several tasks report other columns than all tasks together, which "
                "one CSV file can't hold; `history.history` has them. Received: CSVLogger"
            )
        if getattr(each, "save_best_only", False) and tasks > 1:
            raise InputError(
                "the heads of several tasks report values that can't be compared, so that the best "
                "of all would be a model of one task; leave `save_best_only` out: `fine_tune` ends "
                f"with the best weights. Received: {type(each).__name__}(save_best_only=True)"
            )
        if isinstance(each, keras.callbacks.ModelCheckpoint) and not each.save_weights_only:
            saving.check(Path(each.filepath), overwrite=True)
    if thaws:
        optimizers.require(optimizer)
        check(callbacks, optimizer)


def check_going_on(callbacks: Given) -> None:
    """Refuses what can't go on in another process.

    Args:
        callbacks: Those of the user.

    Raises:
        InputError: If one keeps weights, of which a checkpoint knows nothing.
    """
    for each in listed(callbacks):
        if getattr(each, "restore_best_weights", False):
            raise InputError(
                "a checkpoint doesn't hold the weights that a callback keeps; leave "
                "`restore_best_weights` out: `fine_tune` ends with the best weights. "
                f"Received: {type(each).__name__}(restore_best_weights=True)"
            )


def check_names(callbacks: Given, reported: Collection[str]) -> None:
    """Refuses, before anything trains, Keras' own callbacks that wait for what nobody reports.

    They would fail at the end of the first epoch, or do nothing but warn. What stands behind a
    callback of the user's own may get values from that.

    Args:
        callbacks: Those of the user.
        reported: The names of all values that training reports.

    Raises:
        InputError: If one monitors another value, or names a file after one.
    """
    reported = {*reported}
    for each in listed(callbacks):
        if not type(each).__module__.startswith("keras."):
            return
        if not isinstance(each, _READERS):
            continue
        saves = isinstance(each, keras.callbacks.ModelCheckpoint)
        wanted = [] if saves and not each.save_best_only else [each.monitor]
        if saves:
            fields = [name for _, name, _, _ in string.Formatter().parse(each.filepath) if name]
            wanted += [name for name in fields if name not in ("epoch", "batch")]
        for name in wanted:
            if name not in reported and _of_twins(name) not in reported:
                raise InputError(
                    f"{type(each).__name__} asks for a value that training doesn't report; "
                    f"expected one of {', '.join(sorted(reported))}. Received: {name!r}"
                )
        if isinstance(each, keras.callbacks.ReduceLROnPlateau):
            # Keras puts the rate among the values that callbacks behind this one see.
            reported.add("learning_rate")


def _of_twins(name: str) -> str:
    """A value's name without what Keras adds to it where there are several of that name."""
    return re.sub(r"_\d+$", "", name.replace("weighted_", "", 1))


class Throughout(keras.callbacks.Callback):
    """Callbacks in all stages of a training, whose epochs count on from stage to stage.

    Each stage is a training of its own to them: it begins, ends, and has its own model, which
    shares its weights with the whole one. `ModelCheckpoint` gets the whole one, to save that; a
    file of `CSVLogger` goes on.

    Args:
        callbacks: Those of the user.
        whole: The model that all stages train parts of.

    Attributes:
        past: How many epochs there were so far.
        goes_on: Whether the next stage to begin has epochs that another process has trained.
    """

    # No `CallbackList`: that gives each a copy of the logs, to which some add.

    def __init__(self, callbacks: Given, whole: keras.Model) -> None:
        super().__init__()
        self._own, self._whole = listed(callbacks), whole
        self.past = self._begun = 0
        self.goes_on = False

    def set_params(self, params: Mapping[str, object]) -> None:
        """As Keras does."""
        super().set_params(params)
        self._tell("set_params", params)

    def set_model(self, model: keras.Model) -> None:
        """As Keras does."""
        super().set_model(model)
        for each in self._own:
            saves = isinstance(each, keras.callbacks.ModelCheckpoint)
            each.set_model(self._whole if saves else model)

    def on_train_begin(self, logs: Logs | None = None) -> None:
        self._begun = self.past
        files = [each for each in self._own if isinstance(each, keras.callbacks.CSVLogger)]
        begun = self._begun or self.goes_on
        anew = [each for each in files if begun and not each.append]
        for each in anew:
            each.append = True
        self._tell("on_train_begin", logs)
        for each in anew:
            each.append = False
        self.goes_on = False

    def on_train_end(self, logs: Logs | None = None) -> None:
        self._tell("on_train_end", logs)
        for each in self._own:
            if isinstance(each, keras.callbacks.CSVLogger):
                each.append_header = True  # Keras leaves it off for files to come

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        self._tell("on_epoch_begin", self._begun + epoch, logs)

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        self.past = self._begun + epoch + 1
        self._tell("on_epoch_end", self._begun + epoch, logs)

    def on_train_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        self._tell("on_train_batch_begin", batch, logs)

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        self._tell("on_train_batch_end", batch, logs)

    def on_test_begin(self, logs: Logs | None = None) -> None:
        self._tell("on_test_begin", logs)

    def on_test_end(self, logs: Logs | None = None) -> None:
        self._tell("on_test_end", logs)

    def on_test_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        """As Keras does."""
        self._tell("on_test_batch_begin", batch, logs)

    def on_test_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """As Keras does."""
        self._tell("on_test_batch_end", batch, logs)

    def state(self) -> dict[str, object]:
        """How long those of Keras have waited, as JSON can say it; others keep what they know."""
        own = [[type(each).__name__, _counts(each)] for each in self._own]
        return {"past": self.past, "own": own}

    def go_on(self, state: Mapping[str, Any]) -> None:
        """Becomes what another was, in a stage that has begun, or between two.

        Args:
            state: What `state` gave.
        """
        self.past = state["past"]
        for each, (kind, counts) in zip(self._own, state["own"]):
            # Others may have been given since.
            for name, value in counts.items() if kind == type(each).__name__ else ():
                setattr(each, name, value)

    def _tell(self, hook: str, *given: object) -> None:
        for each in self._own:
            getattr(each, hook)(*given)


def _counts(callback: keras.callbacks.Callback) -> dict[str, float | None]:
    """What a callback of Keras counts and compares with."""
    if not type(callback).__module__.startswith("keras."):
        return {}
    found = {name: getattr(callback, name) for name in _COUNTED if hasattr(callback, name)}
    return {
        name: value if value is None or isinstance(value, int) else float(value)
        for name, value in found.items()
    }
