"""Whole answers to a few examples while a model trains: shown along, and judging nothing."""

import functools
from collections.abc import Sequence

import keras
import numpy as np

from tfhub_transfer.models.transfer import TransferModel
from tfhub_transfer.runtime import cluster
from tfhub_transfer.tasks.layouts import Rows


class Sampled(keras.callbacks.Callback):
    """Adds the numbers of `Task.sampled` to what Keras reports at the end of each epoch.

    It stands before the callbacks that read them.

    Args:
        whole: The model that answers, of which what trains is a part.
        rows: The validation split in rows, one of each example.
        seed: Of the draw, if there are more than the task wants.
        name: The task's, if it is one of several.
    """

    def __init__(self, whole: TransferModel, rows: Rows, seed: int, name: str = "") -> None:
        super().__init__()
        drawn = np.random.default_rng(seed).permutation(len(rows))[: whole.task.samples]
        self._named = f"val_{name}_" if name else "val_"
        self._whole, self._examples = whole, rows.examples[np.sort(drawn)]

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """As Keras calls it."""
        if logs is not None:
            logs.update(self.values())

    def values(self) -> dict[str, float]:
        """Each number by the name that it goes by in Keras' reports."""
        strategy, task = self._whole.distribute_strategy, self._whole.task
        found = {}
        for name, value in task.sampled(self._examples, self._whole.predict_text).items():
            found[f"{self._named}{name}"] = cluster.decided(
                strategy, functools.partial(float, value)
            )
        return found


def of(model: TransferModel, validation: object, seed: int) -> Sequence[Sampled]:
    """What samples a model's answers, if its task wants that.

    Args:
        model: The model.
        validation: Its validation split in rows; by name of several tasks.
        seed: Of the draw.
    """
    given = model.task.apart(validation)
    return [
        Sampled(part, rows, seed, name)
        for name, part in model.parts.items()
        if part.task.samples and isinstance(rows := given[name], Rows)
    ]
