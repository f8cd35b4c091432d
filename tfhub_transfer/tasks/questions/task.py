"""Tasks whose answer is a span of the text."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar, cast

import keras
import numpy as np
import tensorflow as tf

from tfhub_transfer.data import Examples
from tfhub_transfer.errors import InputError
from tfhub_transfer.heads.settings import Head
from tfhub_transfer.incoming import choices, ranges, usual
from tfhub_transfer.reporting.standings import Standing
from tfhub_transfer.runtime import full_precision
from tfhub_transfer.runtime.masking import NEVER
from tfhub_transfer.tasks.base import Task
from tfhub_transfer.tasks.questions import answers, certainty, measures
from tfhub_transfer.tasks.reportable import Joined
from tfhub_transfer.tasks.temperatures import Choice
from tfhub_transfer.tasks.trial import Cut, Laid, Trial

# What a candidate is, added up: nothing, the start, the end of the answer.
START, END = 1, 2
# What fills up the labels of a batch, and is no candidate.
NO_CANDIDATE = -1


@keras.saving.register_keras_serializable(package="tfhub_transfer")
class QuestionAnswering(Task):
    """A question and its context: which words of the context are the answer, if any.

    After Devlin et al. 2019, sections 4.2 and 4.3: each word of the context, and `[CLS]` for no
    answer, has a score as start and as end; the answer is the span of the highest sum. Words are
    those of BERT's basic tokenizer, judged by their first word piece. Where training has questions
    without an answer, an answer is given if its score exceeds that of no answer by `threshold`.

    Args:
        max_answer_words: The most words of an answer, at least 1.
        unanswerable: Whether there are questions without an answer; learned by `adapt`. If not,
            every question gets one.
        threshold: See above; tuned on the validation split by `fine_tune`.

    Example:

    >>> answers = [[{"text": "Rome", "answer_start": 7}], []]
    >>> QuestionAnswering().adapt(answers).unanswerable
    True
    """

    name = "question-answering"
    needs_tokens = True
    layout = "windows"
    monitor = ("val_f1", "max")
    whole_answers = "val_f1"
    sequence_length = usual.QUESTION_LENGTH
    learned_baselines = False
    # A frozen encoder tells next to nothing about spans.
    head_epochs = 1
    usual_columns: ClassVar = {"text": "question", "text_pair": "context", "label": "answers"}
    calibrated_by = "spans"
    # A context must not be known from another of its questions.
    kept_together = "text_b"
    claimed = "questions with their answers"
    standing = Standing(
        "f1",
        rival="likeliest_sentence",
        baselines={"likeliest_sentence": "likely sentence", "no_answer": "no answer"},
        badness="score",
        legend={
            "right": "answer that is right",
            "spurious": "answer of the model",
            "missed": "what is right",
        },
    )

    def __init__(
        self,
        # The number of BERT's script for SQuAD, which counts word pieces.
        max_answer_words: int = 30,
        unanswerable: bool | None = None,
        threshold: float = 0.0,
    ) -> None:
        super().__init__(pair=True)
        self.max_answer_words = ranges.whole_number(
            "max_answer_words", max_answer_words, *ranges.SIZE
        )
        if unanswerable is not None:
            unanswerable = choices.flag("unanswerable", unanswerable)
        self.unanswerable = unanswerable
        self.threshold = ranges.real_number("threshold", threshold, -ranges.MOST, ranges.MOST)

    @classmethod
    def claims(cls, texts: Sequence[object], labels: Sequence[object]) -> bool:
        found = [
            each for label in labels for each in (label if isinstance(label, list) else [label])
        ]
        return any(isinstance(each, dict) and "answer_start" in each for each in found)

    @property
    def is_adapted(self) -> bool:
        return True  # there are no classes to know

    def adapt(self, labels: Sequence[object]) -> "QuestionAnswering":
        if self.unanswerable is None:
            self.unanswerable = any(not answers.of_label(label) for label in labels)
        return self

    def check(self, examples: Examples) -> None:
        """Raises `InputError` on a blank text, and on an answer that isn't at its offset."""
        questions, contexts = examples.texts
        names = examples.columns.get("id", [None] * len(examples))
        labels = examples.labels if examples.target else [None] * len(examples)
        for row, (question, context, label) in enumerate(zip(questions, contexts, labels)):
            place = examples.place(row)
            place += "" if names[row] is None else f" (id {names[row]!r})"
            _require_text(question, "question", place)
            _require_text(context, "context", place)
            if label is not None:
                answers.checked(label, context, place)

    def encode(self, labels: Sequence[object]) -> tf.RaggedTensor:
        """What each candidate of each window is, to a ragged int32 `[windows, (candidates)]`.

        A candidate is 0, or 1 for the start of the answer, 2 for its end, or 3 for both.
        """
        codes = [np.asarray(of_window, np.int32) for of_window in labels]
        # NumPy joins no empty list, hence the first.
        flat = np.concatenate([np.zeros(0, np.int32), *codes])
        return tf.RaggedTensor.from_row_lengths(flat, list(map(len, codes)))

    def outputs(self, features: keras.KerasTensor, head: Head) -> keras.KerasTensor:
        """Scores of start and end, `[batch, candidates, 2]`; no softmax, they are compared."""
        penalty = keras.regularizers.L2(head.l2) if head.l2 else None
        return full_precision.Dense(2, kernel_regularizer=penalty, name="scores")(features)

    def loss(self) -> keras.Loss:
        return SpanCrossentropy()

    def metrics(self) -> list[keras.Metric]:
        return [SpanAccuracy(name="span_accuracy")]

    def tune(self, examples: Examples, predict: Callable[[], list[dict[str, Any]]]) -> None:
        """Sets the threshold to that of the highest F1 on these questions."""
        truths = [[text for text, _ in answers.of_label(label)] for label in examples.labels]
        if not self.unanswerable:
            return
        # All questions are answered at first: the threshold is chosen among these answers.
        self.threshold = -np.inf
        found = predict()
        margins = np.array([answer["margin"] for answer in found])
        given = [answer["answer"] for answer in found]
        self.threshold = answers.best_threshold(truths, given, margins)

    def fit_scaling(
        self, layout: Laid, scores: Joined, examples: Examples, seed: int, biases: bool
    ) -> Choice:
        return certainty.likeliest(layout, cast(certainty.Windows, scores), examples, seed)

    def rescale(
        self, layers: Mapping[str, keras.layers.Layer], factor: float, added: np.ndarray
    ) -> None:
        super().rescale(layers, factor, added)
        self.threshold *= factor  # as the margins are that it is compared with

    def take_choices(self, other: Any) -> None:
        """Takes `threshold`, which is of scaled scores; as `Task.take_choices`."""
        self.threshold = self.threshold if other is None else other.threshold

    def decode(self, scores: Iterable[np.ndarray]) -> list[dict[str, object]]:
        return [{"scores": np.asarray(found).tolist()} for found in scores]

    def whole_measure(
        self, layout: Laid, examples: Examples, rows: Cut
    ) -> Callable[[Sequence[np.ndarray]], float]:
        return measures.f1_of(layout, examples)

    def report_on(self, trial: Trial) -> None:
        measures.report_on(self, trial)

    def get_config(self) -> dict[str, object]:
        return {
            "max_answer_words": self.max_answer_words,
            "unanswerable": self.unanswerable,
            "threshold": self.threshold,
            **self.learned_config(),
        }


def _require_text(text: str, kind: str, place: str) -> None:
    if not text.strip():
        raise InputError(
            f"{place}: the {kind} is blank; expected a text, so fill it in or drop the row. "
            f"Received: {text!r}"
        )


@keras.saving.register_keras_serializable(package="tfhub_transfer")
class SpanCrossentropy(keras.losses.Loss):
    """Mean cross-entropy of start and end, each over the candidates of a window.

    Devlin et al. 2019, section 4.2. Labels `[batch, candidates]` as `QuestionAnswering.encode` has
    them, -1 where there is no candidate; scores `[batch, candidates, 2]`.
    """

    def __init__(self, name: str = "loss", **kwargs: Any) -> None:
        super().__init__(name=name, **kwargs)

    def call(self, y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
        wanted, scores = _targets(y_true, y_pred)
        logs = keras.ops.log_softmax(scores, axis=1)
        return -keras.ops.sum(wanted * logs, axis=(1, 2)) / 2


@keras.saving.register_keras_serializable(package="tfhub_transfer")
class SpanAccuracy(keras.metrics.Mean):
    """Share of windows with both ends right, no answer counted as a span of its own.

    Rows without a candidate, which are those of other tasks, don't count.
    """

    def update_state(
        self, y_true: tf.Tensor, y_pred: tf.Tensor, sample_weight: tf.Tensor | None = None
    ) -> None:
        wanted, scores = _targets(y_true, y_pred)
        same = keras.ops.equal(keras.ops.argmax(wanted, axis=1), keras.ops.argmax(scores, axis=1))
        counted = keras.ops.any(keras.ops.not_equal(y_true, NO_CANDIDATE), axis=-1)
        super().update_state(keras.ops.all(same, axis=-1), keras.ops.cast(counted, "float32"))


def _targets(y_true: tf.Tensor, y_pred: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """What each candidate should be, 0 or 1, and scores of candidates, `[batch, candidates, 2]`."""
    codes = keras.ops.cast(y_true, "int32")
    starts = keras.ops.equal(codes % 2, 1) & keras.ops.not_equal(codes, NO_CANDIDATE)
    ends = keras.ops.greater_equal(codes, END)
    wanted = keras.ops.cast(keras.ops.stack([starts, ends], axis=-1), y_pred.dtype)
    counted = keras.ops.not_equal(codes, NO_CANDIDATE)[..., None]
    return wanted, keras.ops.where(counted, y_pred, NEVER)
