"""Rows of several tasks in one batch, for one encoder."""

import copy
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfhub_transfer.data import Examples, weighing
from tfhub_transfer.encoders.encoder import Encoder
from tfhub_transfer.encoders.preprocessing import TextPreprocessor
from tfhub_transfer.heads import layers
from tfhub_transfer.heads.settings import Head
from tfhub_transfer.storage import names
from tfhub_transfer.tasks.layout import Ids, Inputs, Layout, Rows, int_inputs
from tfhub_transfer.tasks.objective import Labels
from tfhub_transfer.tasks.several.task import MultiTask


class Joint(Layout):
    """Each row is laid out by its own task; inputs that a task doesn't know are empty in its rows.

    What only teaches, such as a text to be written, each task reads by a name of its own.

    Args:
        task: A `MultiTask`.
        parts: The layout of each of its tasks.
    """

    def __init__(self, task: MultiTask, parts: Mapping[str, Layout]) -> None:
        super().__init__(task, Head())
        self.parts = dict(parts)

    def adopt(self, preprocessor: TextPreprocessor) -> None:
        super().adopt(preprocessor)
        for part in self.parts.values():
            # A copy: adopting sets `by_word`, in which tasks differ.
            part.adopt(copy.copy(preprocessor))

    def learn(  # type: ignore[override]  # by names of tasks, as all of these
        self, examples: Mapping[str, Examples]
    ) -> None:
        for name, part in self.parts.items():
            part.learn(examples[name])

    def inputs(self, encoder: Encoder) -> Inputs:
        made: Inputs = {}
        for name, part in self.parts.items():
            own = part.inputs(encoder)
            taught = int_inputs([self.input_name(name, key) for key in part.teaching])
            # The first task's input of a name stays, and all tasks read that one.
            made = {**{k: v for k, v in own.items() if k not in part.teaching}, **taught, **made}
        return made

    def input_name(self, name: str, key: str) -> str:
        """What an input of a task's own model is called in that of all.

        Args:
            name: The task's name.
            key: The input's name in its own model.
        """
        return f"{name}_{key}" if key in self.parts[name].teaching else key

    @property
    def teaching(self) -> tuple[str, ...]:
        return tuple(self.input_name(n, key) for n, p in self.parts.items() for key in p.teaching)

    def encode(self, encoder: Encoder, inputs: Inputs) -> dict[str, layers.Encoded]:
        """What the encoder gives for each task; where all read the same, it runs once."""
        if encoder.dialect != "text":
            return dict.fromkeys(self.parts, super().encode(encoder, inputs))
        return {name: part.encode(encoder, inputs) for name, part in self.parts.items()}

    def check(  # type: ignore[override]
        self, examples: Mapping[str, Examples | Rows]
    ) -> None:
        self.task.require_names(examples)
        for name, part in self.parts.items():
            given = examples[name]
            if not isinstance(given, Rows):
                part.check(given)

    def cut(  # type: ignore[override]
        self, examples: Mapping[str, Examples | Rows]
    ) -> dict[str, Rows]:
        """Examples of each task to its rows; rows stay as they are."""
        return {
            name: each
            if isinstance(each, Rows)
            else weighing.spread(self.parts[name].cut(each), each)
            for name, each in examples.items()
        }

    def to_ids(self, rows: Mapping[str, Rows]) -> Ids:  # type: ignore[override]
        """Rows of each task to ids of all, and to labels that weigh in their own task's rows."""
        made = {name: part.to_ids(rows[name]) for name, part in self.parts.items()}
        counts = {name: len(ids.lost) for name, ids in made.items()}
        keys = {key for ids in made.values() for key in ids.columns}
        columns = {
            key: tf.concat(
                [
                    ids.columns[key] if key in ids.columns else _empty(counts[name])
                    for name, ids in made.items()
                ],
                axis=0,
            )
            # A set of strings has another order in each process.
            for key in sorted(keys)
        }
        beside = [_beside(ids) for ids in made.values()]
        owner = np.repeat(list(made), list(counts.values()))
        own = {n: m.labels if isinstance(m.labels, tuple) else (m.labels,) for n, m in made.items()}
        labels = {name: _spread(own[name][0], owner == name) for name in made}
        weights = {
            name: _weights(labels[name], owner == name, _relative(rows[name].examples, *given))
            for name, (_, *given) in own.items()
        }
        digests = [f"{name} ".encode() + ids.digest for name, ids in made.items()]
        return Ids(
            columns,
            np.concatenate([ids.lost for ids in made.values()]),
            (labels, weights),
            names.key(*digests).encode("ascii"),
            np.concatenate(beside) if self.teaching else None,
        )

    def pad(
        self, encoded: dict[str, tf.RaggedTensor], lengths: np.ndarray | None = None
    ) -> dict[str, tf.Tensor]:
        """As `Layout.pad`; of what only teaches, which `taught` adds, there is nothing yet."""
        padded = super().pad(encoded, lengths)
        rows = tf.shape(next(iter(padded.values())))[0]
        return {**padded, **{key: tf.zeros([rows, 2], tf.int32) for key in self.teaching}}

    def labels_length(
        self,
        labels: tf.RaggedTensor,
        inputs: Mapping[str, tf.Tensor],
        lengths: np.ndarray | None,
        name: str = "",
    ) -> tf.Tensor:
        return self.parts[name].labels_length(labels, inputs, lengths)

    def taught(self, inputs: Mapping[str, tf.Tensor], labels: Any) -> Mapping[str, tf.Tensor]:
        found = dict(inputs)
        for name, part in self.parts.items():
            taught = part.taught({}, labels[name]) if part.teaching else {}
            found |= {self.input_name(name, key): taught[key] for key in part.teaching}
        return found

    def respond(self, model: keras.Model, inputs: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """What each task answers, by its name."""
        if not self.teaching:
            found: dict[str, tf.Tensor] = super().respond(model, inputs)
            return found
        # What learns from a text to be written answers otherwise than it learns.
        return {name: part.answer(dict(inputs)) for name, part in model.parts.items()}


def balance(rows: Mapping[str, Rows], alpha: float, seed: int) -> dict[str, Rows]:
    """Rows of each task, those of the smaller tasks more than once.

    Args:
        rows: Rows of each task.
        alpha: A task's share is in proportion to its number of rows to this power.
        seed: Seed of the draw of rows that come once more than others.
    """
    generator = np.random.default_rng(seed)
    wanted = {name: len(of_task) ** (alpha - 1.0) for name, of_task in rows.items()}
    # That of the task with most rows, each of which comes once: `alpha` is 1 at most.
    least = min(wanted.values())
    return {
        name: _repeated(of_task, wanted[name] / least, generator) for name, of_task in rows.items()
    }


def _repeated(rows: Rows, factor: float, generator: np.random.Generator) -> Rows:
    count = len(rows)
    whole, rest = divmod(round(count * factor), count)
    chosen = np.concatenate([*[np.arange(count)] * whole, generator.permutation(count)[:rest]])
    chosen = chosen.astype(int)
    return Rows(rows.examples[chosen], rows.owners[chosen], rows.count)


def _beside(ids: Ids) -> np.ndarray:
    return np.zeros(len(ids.lost), np.int64) if ids.beside is None else ids.beside


def _empty(count: int) -> tf.RaggedTensor:
    return tf.RaggedTensor.from_row_lengths(tf.zeros([0], tf.int32), tf.zeros([count], tf.int64))


def _spread(labels: Labels, own: np.ndarray) -> Labels:
    """Labels of the own rows, with zeros, or nothing in ragged ones, in all others."""
    if isinstance(labels, tf.RaggedTensor):
        lengths = np.zeros(len(own), np.int64)
        lengths[own] = labels.row_lengths().numpy()
        return tf.RaggedTensor.from_row_lengths(labels.flat_values, lengths)
    spread = np.zeros((len(own), *labels.shape[1:]), labels.dtype)
    spread[own] = labels
    return spread


def _relative(examples: Examples, given: np.ndarray | None = None) -> np.ndarray | None:
    """Weights of rows, 1 in the mean of rows: by words they may be others in the mean."""
    if given is None or weighing.is_relative(examples):
        return None if given is None else np.ravel(given)
    return weighing.relative(np.ravel(given))


def _weights(labels: Labels, own: np.ndarray, given: np.ndarray | None = None) -> np.ndarray:
    """What each own row weighs, 1 in the mean of them, and 0 for the others.

    With an axis for units where labels have one.
    """
    weights = own.astype(np.float32)
    if given is not None:
        weights[own] = given
    return weights[:, None] if isinstance(labels, tf.RaggedTensor) else weights
