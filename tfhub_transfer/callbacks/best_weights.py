"""Which epoch was the best, and its weights kept; a loss that is no number ends training."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfhub_transfer.errors import InputError
from tfhub_transfer.shapes import Logs

# A look at the loss waits for the GPU, which could have the next batch by then.
_GPU_BATCHES = 16


class FellApart(InputError):
    """A loss is no finite number: the weights are worthless, and so are those noted before."""


class KeepBest(keras.callbacks.Callback):
    """Gives the model back the weights of its best epoch when training ends.

    Unlike `keras.callbacks.EarlyStopping(restore_best_weights=True)` it also counts the weights
    that training began with, so a later stage never leaves a model worse than it found it.

    Args:
        monitor: The name of the value to judge by, or what makes it of all that Keras reports.
        mode: `"min"` or `"max"`.
        initial: The value of the weights that training begins with, if known.
        patience: Epochs without improvement before training stops; never if not given.
        start_from_epoch: The first epoch, counted from 0, after which it may stop.

    Attributes:
        best: The value of the weights that come back.
        best_epoch: The epoch, counted from 0, that they are of; `None` for those that training
            began with.
        tried: The best value of the epochs alone; `None` if none was a number.
    """

    def __init__(
        self,
        monitor: str | Callable[[Logs], float],
        mode: str,
        initial: float | None = None,
        patience: int | None = None,
        start_from_epoch: int = 0,
    ) -> None:
        super().__init__()
        self.start_from_epoch = start_from_epoch
        named = monitor if isinstance(monitor, str) else None
        self.monitor, self.mode, self.patience = monitor, direction(mode, named), patience
        self.best = initial
        self.tried: float | None = None
        self.best_epoch: int | None = None
        self._weights: list[np.ndarray] | None = None

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        self._waited = 0
        if self.best is not None:
            self._weights = self.model.get_weights()

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        found = logs or {}
        value = found[self.monitor] if isinstance(self.monitor, str) else self.monitor(found)
        if is_better(value, self.tried, self.mode):
            self.tried = value
        if is_better(value, self.best, self.mode):
            self.best, self._weights, self._waited = value, self.model.get_weights(), 0
            self.best_epoch = epoch
            return
        self._waited += 1
        late = epoch >= self.start_from_epoch
        if self.patience is not None and self._waited >= self.patience and late:
            self.model.stop_training = True

    def on_train_end(self, logs: dict[str, float] | None = None) -> None:
        self.restore()

    @property
    def best_weights(self) -> list[np.ndarray] | None:
        """The weights that come back, in the order of `model.weights`; `None` if there are none."""
        return self._weights

    def state(self) -> dict[str, object]:
        """What it knows beside them, as JSON can say it, for `go_on`."""
        best, tried = (None if v is None else float(v) for v in (self.best, self.tried))
        return {"best": best, "tried": tried, "epoch": self.best_epoch, "waited": self._waited}

    def go_on(self, state: Mapping[str, Any], weights: list[np.ndarray] | None) -> None:
        """Becomes what another was, in a training that has begun.

        Args:
            state: What `state` gave.
            weights: What `best_weights` were.
        """
        self.best, self.tried = state["best"], state["tried"]
        self.best_epoch, self._waited = state["epoch"], state["waited"]
        self._weights = weights

    def restore(self) -> None:
        """Sets the best weights seen so far."""
        if self._weights is not None:
            self.model.set_weights(self._weights)


class KeepLast(KeepBest):
    """Ends training after a share of its epochs, with the weights that there are then.

    For where nothing is left to judge by. It tells what `KeepBest` does of the last epoch.

    Args:
        share: Of the epochs, above 0 to 1.
        *judge: What `KeepBest` takes.
    """

    def __init__(self, share: float, *judge: Any) -> None:
        super().__init__(*judge)
        self._share = share

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        self.best, self.patience = None, None
        super().on_epoch_end(epoch, logs)
        # Also where the value is no number, which `KeepBest` passes over.
        self.best_epoch, self._weights = epoch, self.model.get_weights()
        if epoch + 1 >= max(1, round(self._share * self.params["epochs"])):
            self.model.stop_training = True


class FiniteLoss(keras.callbacks.Callback):
    """Stops training whose loss is no longer a finite number, by an `InputError`.

    Unlike `keras.callbacks.TerminateOnNaN`, which only ends `fit` and leaves a model that looks
    trained. What Keras reports is the mean over the epoch so far, in which such a loss stays, so
    nothing is missed by looking seldom: on a CPU after every batch; with a GPU, which a look makes
    wait, after every 16th; and at the end of each epoch, then at `val_loss` too. Batches are
    counted as Keras reports them: with `steps_per_execution`, several at once.

    Raises:
        InputError: While `fit` runs. The weights are worthless then; build the model anew.

    Example:

    >>> history = model.fit(
    ...     model.preprocess(train), epochs=3, callbacks=[FiniteLoss()], verbose=0
    ... )
    """

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        self._epoch = 0
        self._every = _GPU_BATCHES if tf.config.list_physical_devices("GPU") else 1

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        self._epoch = epoch

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        if batch % self._every == 0:
            self._check("loss", logs, f"by step {batch + 1} of epoch {self._epoch + 1}")

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        for name in ("loss", "val_loss"):
            self._check(name, logs, f"at the end of epoch {epoch + 1}")

    def _check(self, name: str, logs: dict[str, float] | None, place: str) -> None:
        # What isn't reported, as `val_loss` without validation data, is nothing wrong.
        value = float((logs or {}).get(name, 0.0))
        if not math.isfinite(value):
            raise FellApart(
                f"training fell apart: the loss is no finite number {place}, and nothing of it is "
                "kept; lower the learning rate (`learning_rate`, `--learning-rate`), or train at "
                f"float32 if that was at bfloat16 (`--precision`). Received: {name}={value}"
            )


def is_better(value: float, best: float | None, mode: str) -> bool:
    """Whether a value is the best so far; NaN never is, and anything else is better than NaN.

    Args:
        value: The value.
        best: The best of those before; `None` if there were none.
        mode: `"min"` or `"max"`.
    """
    if math.isnan(value):
        return False
    if best is None or math.isnan(best):
        return True
    return value < best if mode == "min" else value > best


def direction(mode: str, monitor: str | None) -> str:
    """Whether less or more of a value is better, `"min"` or `"max"`.

    Args:
        mode: One of these, or `"auto"`, which goes by the name.
        monitor: The name of the value.

    Raises:
        InputError: If it is another mode.
    """
    if mode not in ("auto", "min", "max"):
        raise InputError(f"`mode` must be auto, min or max. Received: {mode!r}")
    if mode != "auto":
        return mode
    shares = ("acc", "f1", "auc", "precision", "recall", "mrr", "match")
    rising = (*shares, "spearman", "pearson", "r2", "rouge", "kappa", "top_target", "top_k")
    return "max" if any(word in (monitor or "") for word in rising) else "min"
