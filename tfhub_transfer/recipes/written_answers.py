"""Texts that trained models write, as what a smaller one learns (Kim and Rush 2016)."""

import json
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from tfhub_transfer import progress, runtime
from tfhub_transfer.data import Examples
from tfhub_transfer.data.usual_columns import LABEL, TEXT
from tfhub_transfer.data.weighing import WEIGHT
from tfhub_transfer.models import forward
from tfhub_transfer.models.transfer import TransferModel
from tfhub_transfer.storage import names
from tfhub_transfer.storage.stores import VectorStore


def with_answers(
    teachers: Sequence[TransferModel],
    train: Examples,
    more: Examples | None,
    share: float,
    heard: bool = False,
) -> Examples:
    """Labelled texts, and texts whose answers teachers wrote, as examples with weights.

    A text comes with its label, if that counts, and once for each teacher with what that one
    writes; its rows weigh as much together as it does. What a teacher leaves blank, its label says.

    Args:
        teachers: Models of one task, each of which answers as its task is set to search.
        train: Labelled examples.
        more: Texts without labels, if there are any.
        share: The weight of all teachers together; the label has the rest.
        heard: Whether it is told how far they are.
    """
    count = len(train) + (0 if more is None else len(more))
    with progress.stage("Teachers' answers", count * len(teachers), "answers", always=heard):
        of_train = [_written(teacher, train) for teacher in teachers]
        of_more = [] if more is None else [_written(teacher, more) for teacher in teachers]
    own, rows = teachers[0].task.right(train.labels), list[tuple[str, str, float]]()
    weights = train.weights or [1.0] * len(train)
    mean = sum(weights) / max(1, len(weights))
    for text, right, weight, *written in zip(train.texts[0], own, weights, *of_train):
        rows += _rows(text, right[0], written, weight, share)
    for text, *written in zip(more.texts[0] if more else (), *of_more):
        rows += _rows(text, None, written, mean, 1.0)
    texts, labels, counted = map(list, zip(*rows))
    columns = {TEXT: texts, LABEL: labels, WEIGHT: counted}
    return Examples(columns, source=train.source, target=LABEL, weight=WEIGHT)


def _rows(
    text: str, label: str | None, written: Sequence[str], weight: float, share: float
) -> list[tuple[str, str, float]]:
    """What a text has for answers, each once, with what it weighs."""
    found: dict[str, float] = {}
    if label is not None:
        found[label] = (1.0 - share) * weight
    for answer in written:
        said = answer if answer.strip() else label
        if said is not None:
            found[said] = found.get(said, 0.0) + share * weight / len(written)
    return [(text, answer, weighs) for answer, weighs in found.items() if weighs or not weight]


def _written(teacher: TransferModel, examples: Examples) -> list[str]:
    """What a teacher writes to each text, which is kept on disk as pieces."""
    task, width = teacher.task, 1 + teacher.task.search.max_length
    encoder = {id(weight) for weight in teacher.encoder.weights}
    above = [w.numpy().tobytes() for w in teacher.weights if id(w) not in encoder]
    name = names.key(
        "written",
        teacher.encoder.fingerprint(),
        teacher.preprocessor.fingerprint(),
        runtime.choose_precision("auto", teacher.encoder.dimension),
        type(task).__qualname__,
        json.dumps(task.get_config(), sort_keys=True, default=str),
        *above,
    )
    found = np.empty((len(examples), width), np.float32)

    def compute(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        made = forward.run(teacher, forward.ANSWER, teacher.cut(examples[rows]).examples)
        # The best of each text, its score before its pieces.
        return np.asarray(made)[:, 0], np.zeros(len(rows), np.int32)

    with progress.part(worth=len(examples)) as steps:
        lost = np.empty(len(found), np.int32)
        store = VectorStore(name, width)
        store.complete(names.digests(examples.texts), found, lost, compute, steps.expect)
    if not len(found):
        return []
    texts = task.answer(tf.constant(found[:, None]))["text"].numpy()
    return [text.decode("utf-8") for text in texts]
