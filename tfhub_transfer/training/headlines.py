"""The number that a report judges a task by, of a model's answers while it still trains.

Of tags it is the F1 of entities, of answers to questions that of words, of summaries ROUGE-1: each
of whole answers, as users get them, which no mean over the rows of a batch is.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

import keras
import numpy as np

from tfhub_transfer.data import Examples
from tfhub_transfer.models import forward
from tfhub_transfer.models.transfer import TransferModel
from tfhub_transfer.runtime import cluster
from tfhub_transfer.tasks import Task
from tfhub_transfer.tasks.layouts import Rows

# Of a larger validation split so many examples are drawn.
MOST_EXAMPLES = 1000

# Of the units of a row; of several tasks by name.
Scores: TypeAlias = np.ndarray | Mapping[str, np.ndarray]


class Headline:
    """What one task's answers to examples are worth.

    Args:
        model: The task's `TransferModel`.
        examples: With labels.
        rows: The same, cut into rows.
        seed: Of the draw of examples, if there are too many.

    Attributes:
        name: As Keras is to report it.
        places: The rows that are asked, of those given.
        rows: These rows.
    """

    def __init__(self, model: TransferModel, examples: Examples, rows: Rows, seed: int) -> None:
        self.name = model.task.monitor[0]
        self.model = model
        drawn = np.random.default_rng(seed).permutation(len(examples))
        # Sorted, as `searchsorted` below needs it.
        chosen = np.sort(drawn[:MOST_EXAMPLES])
        self.of = len(examples)
        self.places = np.flatnonzero(np.isin(rows.owners, chosen))
        owners = np.searchsorted(chosen, rows.owners[self.places])
        self.examples = examples[chosen]
        self.rows = Rows(rows.examples[self.places], owners, len(chosen))
        self._measure = model.task.whole_measure(model.layout, self.examples, self.rows)

    def value(self, scores: list[np.ndarray] | None = None) -> float:
        """The number.

        Args:
            scores: Of the units of each row; the model itself is asked if not given.
        """
        if scores is None:
            scores = list(forward.run(self.model, forward.ANSWER, self.rows.examples))
        return float(self._measure(scores))


def of_task(task: Task) -> bool:
    """Whether a task is judged by one of these numbers."""
    return task.whole_answers is not None and task.monitor[0] == task.whole_answers


def find(
    model: TransferModel,
    validation: Examples | Mapping[str, Examples],
    rows: Rows | Mapping[str, Rows],
    seed: int,
) -> dict[str, Headline]:
    """The headline of each task that has one, by its name; `""` for a task alone.

    Args:
        model: The model.
        validation: Examples; by name for several tasks.
        rows: The same in rows.
        seed: Of the draw of examples.
    """
    if isinstance(validation, Examples) and isinstance(rows, Rows):
        return {"": Headline(model, validation, rows, seed)} if of_task(model.task) else {}
    assert isinstance(validation, Mapping) and isinstance(rows, Mapping)
    return {
        name: Headline(single, validation[name], rows[name], seed)
        for name, single in model.parts.items()
        if of_task(single.task)
    }


class Judge(keras.callbacks.Callback):
    """Adds headlines to what Keras reports at the end of each epoch.

    It stands before the callbacks that read them.

    Args:
        found: From `find`.
        ask: Gives scores of rows by number, where the rows of one task after the other are counted;
            the whole model is asked if not given.
        sizes: How many rows each task has, by name.
    """

    def __init__(
        self,
        found: Mapping[str, Headline],
        ask: Callable[[np.ndarray], Sequence[Scores]] | None = None,
        sizes: Mapping[str, int] | None = None,
    ) -> None:
        super().__init__()
        self._found, self._ask, self._sizes = dict(found), ask, dict(sizes or {"": 0})

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        if logs is not None:
            logs.update(self.values())

    def values(self) -> dict[str, float]:
        """Each number by the name that it goes by in Keras' reports."""
        found, first = {}, 0
        for name, size in self._sizes.items():
            if name in self._found:
                headline = self._found[name]
                named = headline.name.replace("val_", f"val_{name}_", 1) if name else headline.name
                ask = functools.partial(self._value, name, first)
                found[named] = cluster.decided(headline.model.distribute_strategy, ask)
            first += size
        return found

    def _value(self, name: str, first: int) -> float:
        headline = self._found[name]
        return headline.value(self._scores(name, headline.places + first))

    def _scores(self, name: str, rows: np.ndarray) -> list[np.ndarray] | None:
        if self._ask is None:
            return None
        scores = self._ask(rows)
        return [row[name] if isinstance(row, Mapping) else row for row in scores]
