"""What a model is trained for, as one object: labels as arrays, loss, metrics, weights."""

from collections.abc import Mapping, Sequence
from typing import TypeAlias

import keras
import numpy as np
import tensorflow as tf

from tfhub_transfer.data import Examples, weighing
from tfhub_transfer.data.batching import weighed
from tfhub_transfer.errors import InputError
from tfhub_transfer.tasks.base import Task

Labels: TypeAlias = "np.ndarray | tf.RaggedTensor"
# What the loss wants of rows; with the weight of each, if rows have any.
Targets: TypeAlias = "Labels | tuple[Labels, np.ndarray] | None"


class Objective:
    """What a task asks of a model that learns it.

    A recipe that has other labels, or another loss, derives from it, wraps the one of the model,
    and puts its own in place for the time of a training: `compiling.learning`.

    Args:
        task: The task.
    """

    def __init__(self, task: Task) -> None:
        self.task = task

    def encode(self, labels: Sequence[object]) -> Labels:
        """Labels `[n]` to what the loss wants.

        Raises:
            InputError: If a label is unknown to the task.
        """
        return self.task.encode(labels)

    def example_label(self) -> object:
        """Some label that `encode` takes, to see what it makes of it."""
        return self.task.example_label()

    def check(self, examples: Examples) -> None:
        """Raises `InputError` if examples to train on, or to judge by, don't suit."""
        self.task.check_training(examples)

    def loss(self) -> keras.Loss:
        """The loss that fits `encode`; of several tasks one each, by name."""
        return self.task.loss()

    def measures(self) -> dict[str, object]:
        """What `keras.Model.compile` takes besides optimizer and loss: fresh metrics."""
        return self.task.measures()

    def targets(self, examples: Examples) -> Targets:
        """What the loss wants of rows; weights are relative, 1 in the mean, also of more rows.

        Args:
            examples: The rows, as examples.

        Returns:
            One for each row, or a pair with their weights, if they have any; `None` without labels.

        Raises:
            InputError: If a label is unknown to the task, or every weight is 0; or a task of one's
                own makes more or fewer of the labels.
        """
        if examples.target is None:
            return None
        labels = self.encode(examples.labels)
        made = int(labels.nrows()) if isinstance(labels, tf.RaggedTensor) else len(labels)
        if made != len(examples):
            raise InputError(
                "`encode` of a task makes one of each label, so that it is its row's. "
                f"Received: {made:,} of {len(examples):,} from {type(self.task).__name__}"
            )
        if examples.weights is None:
            return labels
        # These are relative to all rows of which this is a share, and must stay so.
        if weighing.is_relative(examples):
            weights = np.array(examples.weights, np.float32)
        else:
            weights = weighing.relative(examples.weights, self._counts(labels))
        # Labels of units are `[rows, units]`: each unit weighs as its row.
        return labels, weights[:, None] if isinstance(labels, tf.RaggedTensor) else weights

    def units(self, examples: Examples) -> np.ndarray | None:
        """How often each row counts in the mean that the loss is; `None` if alike.

        Args:
            examples: The rows, as examples.
        """
        if not self.task.loss_by_unit or examples.target is None:
            return None
        return self._counts(self.encode(examples.labels))

    def _counts(self, labels: Labels) -> np.ndarray | None:
        by_unit = self.task.loss_by_unit and isinstance(labels, tf.RaggedTensor)
        return _units(labels) if by_unit else None

    def fed(
        self, batches: tf.data.Dataset, class_weight: Mapping[int, float] | None = None
    ) -> dict[str, object]:
        """Batches as `fit` takes them, with the weights of classes.

        Args:
            batches: Of what `targets` gave, and inputs before it.
            class_weight: `{place in class_names: weight}`.
        """
        return weighed(batches, class_weight)


def _units(labels: tf.RaggedTensor) -> np.ndarray:
    """How many units each row has."""
    return labels.row_lengths().numpy()
