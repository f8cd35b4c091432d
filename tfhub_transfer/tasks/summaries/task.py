"""Tasks that judge each sentence of a document."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfhub_transfer.data import Examples
from tfhub_transfer.errors import InputError, placed
from tfhub_transfer.heads.settings import Head
from tfhub_transfer.incoming import ranges, values
from tfhub_transfer.reporting.standings import Standing
from tfhub_transfer.runtime import full_precision
from tfhub_transfer.runtime.masking import NEVER
from tfhub_transfer.tasks import class_labels, rouge
from tfhub_transfer.tasks.base import Task
from tfhub_transfer.tasks.summaries import measures
from tfhub_transfer.tasks.trial import Cut, Laid, Trial
from tfhub_transfer.texts import sentences
from tfhub_transfer.texts.joining import WORD_END

TARGETS = ("rouge", "oracle")
# What fills up the targets of a batch, and counts for nothing.
NO_SENTENCE = -1.0
# How sharply the target prefers the best sentence to others, in units of ROUGE F1. ROUGE-1 on the
# validation part of SciTLDR, a linear layer over frozen all-MiniLM-L6-v2: 0.387 at 0.03, 0.386 at
# 0.05, 0.382 at 0.1; with oracle targets 0.383; at 0.05 with each first token's vector 0.383.
TEMPERATURE = 0.05


@keras.saving.register_keras_serializable(package="tfhub_transfer")
class ExtractiveSummarization(Task):
    """The sentences of a document that make its best summary.

    A label is the summary that people wrote, a string, or a list of several of the same document.
    Each sentence gets a score in the context of the others. With `targets="rouge"` scores learn to
    be spread over a document as ROUGE is over its sentences, each measured alone (listwise
    cross-entropy, as in ListNet, Cao et al. 2007). With `"oracle"` each is asked whether it is
    among those that a greedy search chose with the references at hand (Nallapati et al. 2017,
    SummaRuNNer; Liu and Lapata 2019, BERTSum).

    Args:
        sentences: The most sentences of a summary, at least 1; learned by `adapt` if not given.
        targets: What scores are to learn, `"rouge"` or `"oracle"`.

    Raises:
        InputError: If an argument is out of range.

    Example:

    >>> ExtractiveSummarization().adapt(["It works.", "One. Two."]).sentences
    2
    """

    name = "extractive-summarization"
    needs_tokens = True
    layout = "sentences"
    learns = ("sentences",)
    monitor = ("val_rouge1", "max")
    whole_answers = "val_rouge1"
    learned_baselines = False
    standing = Standing(
        "rouge1",
        rival="lead",
        baselines={"lead": "first sentences", "oracle": "best choice"},
        badness="best is better by",
        columns=(),
        legend={
            "right": "chosen, as in the best choice",
            "spurious": "chosen",
            "missed": "in the best choice, not chosen",
        },
    )

    def __init__(self, sentences: int | None = None, targets: str = "rouge") -> None:
        super().__init__(pair=False)
        sentences = ranges.given(ranges.whole_number, "sentences", sentences, *ranges.SIZE)
        if targets not in TARGETS:
            raise InputError(
                f"`targets` must be one of {', '.join(TARGETS)}. Received: {targets!r}"
            )
        self.sentences, self.targets = sentences, targets

    @property
    def is_adapted(self) -> bool:
        return self.sentences is not None

    def adapt(self, labels: Sequence[object]) -> "ExtractiveSummarization":
        """Learns how many sentences a summary has: as many as those that people wrote, on average.

        Args:
            labels: A summary, or several, for each document.

        Raises:
            InputError: If a summary is missing.
        """
        if self.sentences is None:
            written = [text for each in class_labels.by_row(references, labels) for text in each]
            found = sentences.split(tf.constant(written), WORD_END)[0].row_lengths().numpy()
            self.sentences = max(1, round(float(np.mean(found))))
        return self

    def read_labels(self, labels: Sequence[object]) -> list[object]:
        class_labels.by_row(references, labels)
        return list(labels)

    def check(self, examples: Examples) -> None:
        with placed(examples):
            self.read_labels(examples.labels)

    def target(self, document: Sequence[str], label: object) -> list[float]:
        """What the scores of a document's sentences are to learn, one number from 0 to 1 each.

        Args:
            document: The sentences.
            label: The summary, or several.
        """
        summaries = references(label)
        if self.targets == "oracle":
            best = set(rouge.oracle(document, summaries))
            return [float(place in best) for place in range(len(document))]
        shares: list[float] = rouge.own_scores(document, summaries).tolist()
        return shares

    def encode(self, labels: Sequence[object]) -> tf.RaggedTensor:
        """What `target` gave for each text, to a ragged float32 `[n, (sentences)]`."""
        rows = [np.asarray(row, np.float32) for row in labels]
        flat = np.concatenate([np.zeros(0, np.float32), *rows])
        return tf.RaggedTensor.from_row_lengths(flat, list(map(len, rows)))

    def outputs(self, features: keras.KerasTensor, head: Head) -> keras.KerasTensor:
        penalty = keras.regularizers.L2(head.l2) if head.l2 else None
        return full_precision.Dense(1, kernel_regularizer=penalty, name="scores")(features)

    def loss(self) -> keras.Loss:
        return SentenceChoice() if self.targets == "oracle" else SentenceRanking()

    def metrics(self) -> list[keras.Metric]:
        return [TopTarget(name="top_target")]

    def shares(self, logits: tf.RaggedTensor) -> tf.RaggedTensor:
        """Scores of sentences as a user reads them, from 0 to 1, as graph code.

        Args:
            logits: Model outputs `[n, (sentences)]`.

        Returns:
            With ROUGE targets each sentence's share of its document's, which sum up to 1; with
            oracle targets the probability that it belongs to the summary.
        """
        if self.targets == "oracle":
            return logits.with_values(tf.sigmoid(logits.flat_values))
        rows, count = logits.value_rowids(), logits.nrows()
        top = tf.gather(tf.math.unsorted_segment_max(logits.flat_values, rows, count), rows)
        weights = tf.exp(logits.flat_values - top)
        total = tf.gather(tf.math.unsorted_segment_sum(weights, rows, count), rows)
        return logits.with_values(weights / total)

    def decode(self, scores: Iterable[np.ndarray]) -> list[dict[str, object]]:
        """The scores of each document's sentences, without a choice, which needs their words."""
        found = [np.reshape(row, [-1]) for row in scores]
        values = np.concatenate(found) if found else np.zeros(0, np.float32)
        ragged = tf.RaggedTensor.from_row_lengths(values, list(map(len, found)))
        return [{"scores": row} for row in self.shares(ragged).to_list()]

    def whole_measure(
        self, layout: Laid, examples: Examples, rows: Cut
    ) -> Callable[[Sequence[np.ndarray]], float]:
        return measures.rouge1_of(layout, examples, list(map(references, examples.labels)))

    def report_on(self, trial: Trial) -> None:
        written = list(map(references, trial.examples.labels))
        measures.report_on(trial, written, self.sentences or 1)

    def get_config(self) -> dict[str, object]:
        return {"sentences": self.sentences, "targets": self.targets}


def references(label: object) -> list[str]:
    """The summaries that a label holds, one or more.

    Args:
        label: A string, or a list of strings.

    Raises:
        InputError: If there is none, or one is blank or no text.
    """
    label = values.plain(label)
    listed = values.written(label) if isinstance(label, str) else label
    found: list[object] = listed if isinstance(listed, list) and listed else [label]
    found = found if all(isinstance(text, str) for text in found) else [label]
    if not all(isinstance(text, str) and not values.is_nothing(text) for text in found):
        raise InputError(
            "expected a summary, or a list of summaries of the same document, none of them blank. "
            f"Received: {str(label)[:60]!r}"
        )
    return list(map(str, found))


@keras.saving.register_keras_serializable(package="tfhub_transfer")
class SentenceRanking(keras.losses.Loss):
    """Cross-entropy of two distributions over a text's sentences, each a softmax.

    Targets `[batch, sentences]` are ROUGE F1, -1 where there is no sentence, and are divided by
    `temperature`; scores are logits `[batch, sentences, 1]`.
    """

    def __init__(self, temperature: float = TEMPERATURE, name: str = "loss", **kwargs: Any) -> None:
        super().__init__(name=name, **kwargs)
        self.temperature = temperature

    def call(self, y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
        truth, logits, there = _aligned(y_true, y_pred)
        wanted = keras.ops.softmax(keras.ops.where(there, truth / self.temperature, NEVER))
        found = keras.ops.log_softmax(keras.ops.where(there, logits, NEVER))
        # The softmax of a row without sentences is spread over padding, and must count 0.
        return -keras.ops.sum(wanted * keras.ops.where(there, found, 0.0), axis=-1)

    def get_config(self) -> dict[str, object]:
        return {**super().get_config(), "temperature": self.temperature}


@keras.saving.register_keras_serializable(package="tfhub_transfer")
class SentenceChoice(keras.losses.Loss):
    """Binary cross-entropy, the mean over a text's sentences.

    Targets `[batch, sentences]` are 1 or 0, and -1 where there is no sentence; scores are logits
    `[batch, sentences, 1]`.
    """

    def __init__(self, name: str = "loss", **kwargs: Any) -> None:
        super().__init__(name=name, **kwargs)

    def call(self, y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
        truth, logits, there = _aligned(y_true, y_pred)
        each = keras.ops.softplus(logits) - keras.ops.where(there, truth, 0.0) * logits
        count = keras.ops.sum(keras.ops.cast(there, "float32"), axis=-1)
        total = keras.ops.sum(keras.ops.where(there, each, 0.0), axis=-1)
        return total / keras.ops.maximum(count, 1.0)


@keras.saving.register_keras_serializable(package="tfhub_transfer")
class TopTarget(keras.metrics.Mean):
    """The mean target of the sentence with the highest score of each text.

    Its ROUGE; or with oracle targets, the share of texts where the oracle chose it too.
    """

    def update_state(
        self, y_true: tf.Tensor, y_pred: tf.Tensor, sample_weight: tf.Tensor | None = None
    ) -> None:
        truth, logits, there = _aligned(y_true, y_pred)
        best = keras.ops.argmax(keras.ops.where(there, logits, NEVER), axis=-1)
        found = keras.ops.take_along_axis(truth, best[:, None], axis=1)[:, 0]
        # Rows of other tasks have no sentence.
        super().update_state(found, keras.ops.cast(keras.ops.any(there, axis=-1), "float32"))


def _aligned(y_true: tf.Tensor, y_pred: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Targets, logits, and where there is a sentence, each `[batch, sentences]`."""
    truth = keras.ops.cast(y_true, "float32")
    return truth, keras.ops.cast(y_pred, "float32")[..., 0], truth > NO_SENTENCE / 2
