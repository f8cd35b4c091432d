"""The number that a report judges a task by, of a model's answers while it still trains.

Of tags it is the F1 of entities, of answers to questions that of words, of summaries ROUGE-1: each
of whole answers, as users get them, which no mean over the rows of a batch is.
"""

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

import keras
import numpy as np
import tensorflow as tf

from tfhub_transfer.data import Examples
from tfhub_transfer.models.multitask import MultiTaskModel
from tfhub_transfer.models.transfer import TransferModel
from tfhub_transfer.tasks import Task, references
from tfhub_transfer.tasks.layouts import Rows
from tfhub_transfer.tasks.questions import answers
from tfhub_transfer.tasks.questions import measures as answer_evaluation
from tfhub_transfer.tasks.summaries import measures as summary_evaluation
from tfhub_transfer.tasks.tagging import measures as word_evaluation

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
        chosen = np.sort(drawn[:MOST_EXAMPLES])
        self.of = len(examples)
        self.places = np.flatnonzero(np.isin(rows.owners, chosen))
        owners = np.searchsorted(chosen, rows.owners[self.places])
        self.examples = examples[chosen]
        self.rows = Rows(rows.examples[self.places], owners, len(chosen))
        self._measure: Callable[[list[np.ndarray]], float] = _MEASURES[model.task.whole_answers][1](
            self
        )

    def value(self, scores: list[np.ndarray] | None = None) -> float:
        """The number.

        Args:
            scores: Of the units of each row; the model itself is asked if not given.
        """
        if scores is None:
            scores = self.model._run("answer", self.rows.examples)
        return self._measure(scores)


def of_task(task: Task) -> bool:
    """Whether a task is judged by one of these numbers."""
    whole = task.whole_answers
    return whole in _MEASURES and task.monitor[0] == _MEASURES[whole][0]


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
    assert isinstance(model, MultiTaskModel)
    assert isinstance(validation, Mapping) and isinstance(rows, Mapping)
    return {
        name: Headline(single, validation[name], rows[name], seed)
        for name, single in model.models.items()
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
                found[named] = headline.value(self._scores(name, headline.places + first))
            first += size
        return found

    def _scores(self, name: str, rows: np.ndarray) -> list[np.ndarray] | None:
        if self._ask is None:
            return None
        scores = self._ask(rows)
        return [row[name] if isinstance(row, Mapping) else row for row in scores]


def _entity_f1(headline: Headline) -> Callable[[list[np.ndarray]], float]:
    task, layout = headline.model.task, headline.model.layout
    truth = task.named(headline.examples.labels)

    def measure(scores: list[np.ndarray]) -> float:
        predicted = task.sequences(layout.join(scores, headline.rows))
        return float(word_evaluation.measure(truth, predicted, task.scheme)["f1"] or 0.0)

    return measure


def _answer_f1(headline: Headline) -> Callable[[list[np.ndarray]], float]:
    layout = copy.copy(headline.model.layout)
    layout.task = copy.copy(layout.task)
    state = layout.prepare(*_tensors(headline.examples))[1]
    labels = map(answers.of_label, headline.examples.labels)
    truths = [[text for text, _ in spans] for spans in labels]
    if layout.task.unanswerable:
        # The threshold is the last thing that is chosen, so that of these answers counts.
        layout.task.threshold = -np.inf

    def measure(scores: list[np.ndarray]) -> float:
        found = layout.readable(layout.answer(state, _ragged(scores)))
        given = [row["answer"] for row in found]
        if layout.task.unanswerable:
            margins = np.array([row["margin"] for row in found])
            threshold = answers.best_threshold(truths, given, margins)
            given = [a if m > threshold else "" for a, m in zip(given, margins)]
        return float(answer_evaluation.measure(truths, given)["f1"] or 0.0)

    return measure


def _rouge1(headline: Headline) -> Callable[[list[np.ndarray]], float]:
    layout = headline.model.layout
    state = layout.prepare(*_tensors(headline.examples))[1]
    written = list(map(references, headline.examples.labels))
    # Most summaries are the same as an epoch ago.
    known: dict[tuple[int, str], float] = {}

    def measure(scores: list[np.ndarray]) -> float:
        # `prepare` ends with an empty row.
        found = layout.readable(layout.answer(state, _ragged([*scores, scores[0][:0]])))
        keys = [(row, answer["summary"]) for row, answer in enumerate(found)]
        new = [key for key in keys if key not in known]
        if new:
            rated = summary_evaluation.scores(
                [text for _, text in new], [written[row] for row, _ in new]
            )
            known.update(zip(new, rated[:, 0].tolist()))
        return float(np.mean([known[key] for key in keys]))

    return measure


# By what the task calls its whole answers; of use where that is what a good epoch is told by.
_MEASURES = {
    "entities": ("val_entity_f1", _entity_f1),
    "answers": ("val_f1", _answer_f1),
    "summaries": ("val_rouge1", _rouge1),
}


def _tensors(examples: Examples) -> list[tf.Tensor]:
    return [tf.constant(column, tf.string) for column in examples.texts]


def _ragged(scores: list[np.ndarray]) -> tf.RaggedTensor:
    return tf.RaggedTensor.from_row_lengths(np.concatenate(scores), list(map(len, scores)))
