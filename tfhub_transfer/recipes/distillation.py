"""A trained model, or several, teach a smaller one to answer as they do."""

import contextlib
import dataclasses
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeAlias

import keras
import numpy as np
import tensorflow as tf

from tfhub_transfer import progress, runtime
from tfhub_transfer.data import Examples, weighing
from tfhub_transfer.errors import InputError
from tfhub_transfer.incoming import ranges, usual
from tfhub_transfer.models import compiling
from tfhub_transfer.models.transfer import TransferModel, require_model
from tfhub_transfer.recipes import written_answers
from tfhub_transfer.storage import names
from tfhub_transfer.storage.stores import VectorStore
from tfhub_transfer.tasks import Task
from tfhub_transfer.tasks.objective import Objective
from tfhub_transfer.training.epochs import show
from tfhub_transfer.training.finetuning import fine_tune
from tfhub_transfer.training.history import History
from tfhub_transfer.training.stages import planned

# Texts, or pairs of texts; of which kind the task says.
Unlabelled: TypeAlias = Examples | Sequence[Any]
# Encoded answers to what the task's labels and the teachers' scores are in them.
_Parts = Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]]


@dataclasses.dataclass(frozen=True)
class Imitation:
    """How much a student heeds its teachers, and how.

    Args:
        temperature: Divides the logits of teachers and student before they are compared, so that
            small scores say something too; at least 1. Regression has none.
        share: The weight of the teachers' answers, from above 0 to 1; the labels have the rest.

    Raises:
        InputError: If a value is outside its range.
    """

    temperature: float = usual.TEMPERATURE
    share: float = usual.TEACHERS_SHARE

    def __post_init__(self) -> None:
        warmth = ranges.real_number(
            "temperature", self.temperature, *ranges.TEMPERATURE, closed=True
        )
        object.__setattr__(self, "temperature", warmth)
        share = ranges.real_number("share", self.share, *ranges.SHARE)
        object.__setattr__(self, "share", share)


def distill(
    teachers: TransferModel | Sequence[TransferModel],
    student: TransferModel,
    train: Examples,
    validation: Examples,
    unlabelled: Unlabelled | None = None,
    imitation: Imitation | None = None,
    **fine_tuning: Any,
) -> History:
    """Trains a model on labels and on the answers of trained ones (Hinton et al. 2015).

    As in https://arxiv.org/abs/1503.02531 the loss is a mixture of the task's own, on the labels,
    and of the distance from the teachers' answers: the Kullback-Leibler divergence at a temperature
    for classes, times its square; the squared error for numbers. Several teachers count by the mean
    of their answers. These are computed once for each text and kept on disk. Otherwise training
    goes as in `fine_tune`: head first, then the encoder from the top, the best epoch by validation.

    Where answers are texts, the student learns what the teachers write, as they are set to search
    (Kim and Rush 2016, https://arxiv.org/abs/1606.07947): a text comes with its label and with each
    teacher's answer, in the weights of the mixture; at a share of 1 with the teachers' alone.

    `keras.distillation.Distiller` does without stored answers and unlabelled texts: it runs the
    teacher in every step.

    Args:
        teachers: One trained model, or several, of the student's task.
        student: From `build_model`.
        train: Labelled examples.
        validation: Labelled examples to judge by; the teachers have no say there.
        unlabelled: More texts, or pairs of texts, for which only the teachers' answers count.
        imitation: Mixture and temperature; `Imitation()` if not given.
        **fine_tuning: `epochs`, `unfreeze`, `batch_size` and `plan`, as in `fine_tune`.

    Returns:
        The curves, and the seconds of each stage.

    Raises:
        InputError: If a teacher answers something else than the student, or as in `fine_tune`.

    Example:

    >>> history = distill(large, small, train, validation, unlabelled=more_texts)
    """
    imitation = imitation or Imitation()
    masters = list(teachers) if isinstance(teachers, Iterable) else [teachers]
    for each in (*masters, student):
        require_model(each)
    _check(masters, student, imitation, fine_tuning)
    heard = show(planned(fine_tuning.get("plan")).verbose) > 0
    more = (
        _without_labels(unlabelled, student.task)
        if unlabelled is not None and len(unlabelled)
        else None
    )
    learned: contextlib.AbstractContextManager[None] = contextlib.nullcontext()
    if student.task.search is not None:
        splits = (
            written_answers.with_answers(masters, train, more, imitation.share, heard),
            validation,
        )
    else:
        splits = _scored(masters, train, validation, more, imitation.share, heard)
        taught = _Taught(student.layout.objective, imitation.temperature)
        learned = compiling.learning(student, taught)
    try:
        with learned:
            return fine_tune(student, *splits, **fine_tuning)
    finally:
        # Baselines of reports learn from labels, not from what teachers say.
        student.training_examples = train


def _scored(
    teachers: Sequence[TransferModel],
    train: Examples,
    validation: Examples,
    more: Examples | None,
    share: float,
    heard: bool,
) -> tuple[Examples, Examples]:
    """Both splits with `_Answer`s for labels."""
    answers = [
        _Answer(label, share, scores)
        for label, scores in zip(train.labels, _scores(teachers, train, heard))
    ]
    columns = [list(column) for column in train.texts]
    if more is not None:
        answers += [_Answer(None, 1.0, scores) for scores in _scores(teachers, more, heard)]
        columns = [a + list(b) for a, b in zip(columns, more.texts)]
    judged = [_Answer(label, 0.0, None) for label in validation.labels]
    return _examples(columns, answers, train), _examples(validation.texts, judged)


@dataclasses.dataclass(frozen=True)
class _Answer:
    """What a label column holds here: the label, if there is one, and what the teachers say."""

    label: object
    share: float
    scores: np.ndarray | None


class _Taught(Objective):
    """Learning from labels and teachers: what the labels are here are `_Answer`s.

    Encoded, an answer is the weight of the label, that of the teachers, the label as the task
    encodes it, and the teachers' scores, side by side in one row.
    """

    def __init__(self, own: Objective, temperature: float) -> None:
        super().__init__(own.task)
        self._own, self._temperature = own, temperature
        self._width = 1 if own.task.class_names is None else len(own.task.class_names)

    def encode(self, labels: Sequence[object]) -> np.ndarray:
        given = [label for label in labels if isinstance(label, _Answer)]
        known = [a.label for a in given if a.label is not None]
        # Labels that aren't there weigh nothing; they are filled with any that is.
        filler = known[0] if known else self._own.example_label()
        hard = self._own.encode([filler if a.label is None else a.label for a in given])
        hard = np.reshape(hard, (len(given), -1)).astype(np.float32)
        # Its distance weighs nothing, but must be a number, whatever the task computes of it.
        nothing = np.full(self._width, 0.5, np.float32)
        soft = np.stack([nothing if a.scores is None else a.scores for a in given])
        weights = [[0.0 if a.label is None else 1.0 - a.share, a.share] for a in given]
        return np.concatenate([np.array(weights, np.float32), hard, soft], axis=1)

    def check(self, examples: Examples) -> None:
        self.encode(examples.labels)

    def loss(self) -> Callable[[tf.Tensor, tf.Tensor], tf.Tensor]:
        own, apart = self._own.loss(), self._distance

        def mixed(y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
            hard, soft = self._parts(y_true)
            # `call`, since the loss as a whole would reduce rows to one number.
            by_label = tf.reshape(own.call(hard, y_pred), [-1])
            return y_true[:, 0] * by_label + y_true[:, 1] * apart(soft, y_pred)

        return mixed

    def measures(self) -> dict[str, object]:
        return {"metrics": [_OnLabels(metric, self._parts) for metric in self.task.metrics()]}

    def _parts(self, y_true: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return y_true[:, 2 : -self._width], y_true[:, -self._width :]

    def _distance(self, soft: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
        """From the teachers' scores, for each row."""
        return self.task.divergence(soft, y_pred, self._temperature)


class _OnLabels(keras.metrics.Metric):
    """A task's metric, on the rows that have a label."""

    def __init__(self, metric: keras.Metric, parts: _Parts) -> None:
        super().__init__(name=metric.name)
        self._metric, self._parts = metric, parts

    def update_state(
        self, y_true: tf.Tensor, y_pred: tf.Tensor, sample_weight: tf.Tensor | None = None
    ) -> None:
        labelled = y_true[:, 0] > 0
        hard, _ = self._parts(tf.boolean_mask(y_true, labelled))
        self._metric.update_state(hard, tf.boolean_mask(y_pred, labelled))

    def result(self) -> tf.Tensor:
        return self._metric.result()

    def reset_state(self) -> None:
        self._metric.reset_state()


def _check(
    teachers: Sequence[TransferModel],
    student: TransferModel,
    imitation: Imitation,
    fine_tuning: Mapping[str, object],
) -> None:
    student.task.require_imitable()
    if student.task.search is not None and imitation.temperature != usual.TEMPERATURE:
        raise InputError(
            "a temperature is of scores, and what teachers write has none; leave it out. "
            f"Received: temperature={imitation.temperature:g}"
        )
    if not teachers:
        raise InputError("distillation takes at least one teacher. Received: none")
    if getattr(fine_tuning.get("plan"), "class_weight", None):
        raise InputError(
            "class weights weigh labels, of which a distilled model sees little; train the teacher "
            "with them. Received: plan with class_weight"
        )
    for teacher in teachers:
        student.task.require_like(teacher.task)


def _examples(
    columns: Sequence[Sequence[str]], answers: list[_Answer], labelled: Examples | None = None
) -> Examples:
    """Examples with the weights of the labelled ones, beside which others weigh 1 in the mean."""
    weights = None
    if labelled is not None and labelled.weights is not None:
        more = len(answers) - len(labelled)
        weights = [*weighing.relative(labelled.weights).tolist(), *[1.0] * more]
    pair = columns[1] if len(columns) > 1 else None
    return Examples.from_lists(columns[0], answers, pair, weight=weights)


def _without_labels(rows: Unlabelled, task: Task) -> Examples:
    if isinstance(rows, Examples):
        return rows
    if not task.pair:
        return Examples.from_lists(list(rows))
    return Examples.from_lists([a for a, _ in rows], text_pair=[b for _, b in rows])


def _scores(
    teachers: Sequence[TransferModel], examples: Examples, heard: bool = False
) -> np.ndarray:
    """The mean of the teachers' answers, float32 `[n, classes]`, or `[n, 1]` for numbers."""
    count, answers = len(examples), []
    told = progress.stage("Teachers' answers", count * len(teachers), "answers", always=heard)
    with told:
        for teacher in teachers:
            with progress.part(worth=count):
                answers.append(_answers(teacher, examples))
    mean: np.ndarray = np.mean(answers, axis=0).astype(np.float32)
    return mean


def _answers(teacher: TransferModel, examples: Examples) -> np.ndarray:
    # The encoder's fingerprint doesn't tell two heads on it apart.
    head = [weight.numpy().tobytes() for weight in teacher.head_model().weights]
    name = names.key(
        "answers",
        teacher.encoder.fingerprint(),
        teacher.preprocessor.fingerprint(),
        runtime.choose_precision("auto", teacher.encoder.dimension),
        type(teacher.task).__qualname__,
        json.dumps(teacher.task.get_config(), sort_keys=True, default=str),
        *head,
    )
    classes = teacher.task.class_names
    store = VectorStore(name, 1 if classes is None else len(classes))
    answers = np.empty((len(examples), store.width), np.float32)

    def compute(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        with progress.part(worth=len(rows)):
            made = teacher.predict_scores(examples[rows])
        return made.reshape(len(rows), -1), np.zeros(len(rows), np.int32)

    lost = np.empty(len(answers), np.int32)
    with progress.part() as steps:
        store.complete(names.digests(examples.texts), answers, lost, compute, steps.expect)
    return answers
