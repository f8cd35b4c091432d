"""Texts in whatever form to a model's scores, readable answers and vectors."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol, TypeAlias

import keras
import numpy as np
import tensorflow as tf

from tfhub_transfer.data import Examples, text_forms
from tfhub_transfer.encoders.encoder import Encoder
from tfhub_transfer.incoming import choices
from tfhub_transfer.models import forward, last_layer
from tfhub_transfer.models import scope as scopes
from tfhub_transfer.runtime import probes
from tfhub_transfer.tasks import Task, layouts
from tfhub_transfer.tasks.layouts import Layout, Rows
from tfhub_transfer.tasks.reportable import Joined

# What a text is answered, by what: a label, its scores, entities, places in the text.
Answer: TypeAlias = dict[str, Any]


class Answering(forward.Asked, last_layer.Scoring, Protocol):
    """What of a model answers."""

    encoder: Encoder

    @property
    def output_shape(self) -> tuple[int | None, ...]:
        """Of its scores."""

    @property
    def layout(self) -> Layout:
        """Texts to rows, scores of rows to answers."""

    @property
    def task(self) -> Task:
        """What is answered."""

    def cut(self, examples: Examples | Rows) -> Rows:
        """Examples to rows that fit."""


def scores(model: Answering, examples: object, batch_size: int, allow_nan: bool) -> Joined:
    """As `TransferModel.predict_scores`."""
    layout, task = model.layout, model.task
    allow_nan = choices.flag("allow_nan", allow_nan)
    if isinstance(examples, Examples):
        found = examples
    else:
        found = asked(layout, examples)
        # `Examples` hold units already; what users give may be plain texts.
        found = layout.in_units(found) if len(found) else found
    if not len(found):
        classes = len(task.class_names or [])
        shape = (0, classes) if classes else (0,)
        return [] if layout.by_unit else np.zeros(shape, np.float32)
    rows = model.cut(found)
    if task.runs_again:
        return task.scores_in(by_name(model, found.texts, batch_size, allow_nan))
    made = forward.run(model, forward.ANSWER, rows.examples, batch_size)
    if not allow_nan:
        probes.require_numbers(made, rows.examples.texts[-1], rows.owners)
    return task.scores_of(layout.join(made, rows))


def readable(model: Answering, texts: object) -> list[Answer]:
    """As `TransferModel.predict_text`."""
    columns = asked(model.layout, texts).texts
    if not columns[0]:
        return []
    found = by_name(model, columns)
    made = model.layout.readable(found)
    if scopes.SCORE not in found:
        return made
    near = np.asarray(found[scopes.SCORE])
    return [{**answer, scopes.SCORE: float(own)} for answer, own in zip(made, near)]


def by_name(
    model: Answering,
    texts: Sequence[Sequence[str]],
    batch_size: int = forward.EVALUATION_BATCH,
    allow_nan: bool = False,
) -> Mapping[str, tf.Tensor]:
    """Texts to answers by name, as the model's layout has them, in as many runs as the task needs.

    Afterwards the model's `truncation` is that of the texts themselves, whatever else was asked.

    Args:
        model: What answers.
        texts: Columns of texts `[n]`, at least one row.
        batch_size: Rows in a batch.
        allow_nan: Whether scores may be no numbers.

    Raises:
        InputError: If they are, and may not.
    """
    last_layer.forget_void(model)
    layout = model.layout
    cuts, beside = [], {}
    # Not where another runtime answers, which gives scores alone.
    scope = model.scope if model.forward.can(forward.SCOPED) else None
    graph = forward.ANSWER if scope is None else forward.SCOPED

    def run(*columns: Sequence[str] | tf.Tensor) -> tf.Tensor:
        given = [tf.convert_to_tensor(column, tf.string).numpy() for column in columns]
        if not len(given[0]):
            return np.zeros((0, *model.output_shape[1:]), np.float32)
        plain = [[text.decode("utf-8") for text in column] for column in given]
        made, told = scopes.apart(
            scope, forward.run(model, graph, layouts.of_rows(plain), batch_size)
        )
        beside.update(told)
        cuts.append(model.truncation)
        if not allow_nan:
            # Only rows that are the user's texts, one each, can be named by number.
            whole = len(plain[0]) == len(texts[0])
            probes.require_numbers(made, plain[-1], np.arange(len(made)) if whole else None)
        if not layout.by_unit:
            return made
        return tf.RaggedTensor.from_row_lengths(np.concatenate(made), list(map(len, made)))

    given = [tf.constant(column, tf.string) for column in texts]
    rows, state = layout.prepare_again(*given) if layout.by_unit else layout.prepare(*given)
    found = layout.answers(run, rows, state)
    model.truncation = cuts[0] if cuts else None
    return {**found, **beside}


def encoded(model: Answering, texts: Iterable[str], batch_size: int, normalize: bool) -> np.ndarray:
    """As `TransferModel.encode_text`."""
    normalize = choices.flag("normalize", normalize)
    columns = text_forms.columns(texts, ["text"])
    if not columns[0]:
        return np.zeros((0, model.encoder.dimension), np.float32)
    made = forward.run(model, forward.VECTOR, Examples.from_lists(columns[0]), batch_size)
    return np.asarray(keras.ops.normalize(made, axis=-1) if normalize else made)


def asked(layout: Layout, texts: object) -> Examples:
    """Texts in any of their forms as columns, without labels.

    Args:
        layout: What knows the names of the columns.
        texts: As for `TransferModel.predict_text`, or `Examples`, which stay as they are.

    Raises:
        InputError: If they don't suit.
    """
    if isinstance(texts, Examples):
        layout.check(texts)
        return texts
    signature: Sequence[str] = layout.signature
    listed = layout.takes_lists and len(signature) == 1  # a context's places are of one text
    return layouts.asked(text_forms.columns(texts, signature, listed))
