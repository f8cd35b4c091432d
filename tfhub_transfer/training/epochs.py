"""The epochs of `fit` as the progress of a stage: one line, whatever there is to report."""

import math
import sys
import time
from collections.abc import Callable

import keras

from tfhub_transfer import progress
from tfhub_transfer.shapes import Logs


class EpochsShown(keras.callbacks.Callback):
    """Shows where `fit` is, in the place of Keras' own bar, which has a line of each metric.

    Args:
        stage: The stage that training is.
        headlines: What of the values that Keras reports is told first, by the names to show.
        lines: Whether each epoch leaves a line on standard output.

    Example:

    >>> with progress.stage("Training") as stage:
    ...     history = model.fit(
    ...         model.preprocess(train), epochs=2, callbacks=[EpochsShown(stage)], verbose=0
    ...     )
    >>> stage.fraction()
    1.0
    """

    # Keras may call it from another thread, and needn't wait for a GPU to tell it of the values.
    async_safe = True

    def __init__(
        self,
        stage: progress.Stage,
        headlines: Callable[[Logs], Logs] | None = None,
        lines: bool = False,
    ) -> None:
        super().__init__()
        self._stage, self._lines = stage, lines
        self._headlines = headlines or (lambda logs: {})
        self._epoch, self._rows, self._judged = 0, 0, 0
        self._values: list[str] = []

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        self._stage.total = self.params["epochs"]

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        self._epoch, self._began = epoch, time.perf_counter()
        self._show(0)

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        self._rows = max(self._rows, batch + 1)
        self._show(batch + 1)

    def on_test_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        """As `on_train_batch_end`, of the validation after each epoch."""
        self._judged = max(self._judged, batch + 1)
        self._show(self._rows + batch + 1)

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        found = logs or {}
        first = {"loss": found.get("loss", math.nan), **self._headlines(found)}
        self._values = [f"{name} {value:.4f}" for name, value in first.items()]
        self._epoch = epoch + 1
        self._show(0)
        if self._lines:
            others = {name: value for name, value in found.items() if name not in first}
            seconds = progress.lasting(time.perf_counter() - self._began)
            told = [*self._values, *(f"{name} {float(v):.4f}" for name, v in others.items())]
            head = [f"epoch {epoch + 1} of {self.params['epochs']}", seconds]
            line = progress.fitted(self._stage.name, head, tuple(told), progress.MOST_COLUMNS)
            progress.say(line)

    def _show(self, steps: int) -> None:
        """Batches of an epoch are the share of it that they were in the one before."""
        epochs = self.params["epochs"]
        known = max(self.params["steps"] or 0, self._rows if self._epoch else 0) + self._judged
        self._stage.done = self._epoch + min(steps / known if known else 0.0, 1.0)
        self._stage.tell(f"epoch {min(self._epoch + 1, epochs)} of {epochs}", *self._values)


class Counted(keras.callbacks.Callback):
    """Counts the batches of `evaluate` as steps of a stage.

    Args:
        stage: The stage, of as many steps.
    """

    def __init__(self, stage: progress.Stage) -> None:
        super().__init__()
        self._stage = stage

    def on_test_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """As Keras does; several at once count as they are."""
        self._stage.add(batch + 1 - self._stage.done)


def show(verbose: int | str) -> int:
    """What `Plan.verbose` means here: one line a stage, or also one an epoch.

    Args:
        verbose: 0, 1, 2 or `"auto"`.
    """
    if verbose == "auto":
        return 1 if sys.stdout.isatty() else 2
    return int(verbose)
