"""Tasks that give an answer to each word of a text."""

import collections
import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence

import keras
import numpy as np
import tensorflow as tf

from tfhub_transfer.data import Examples
from tfhub_transfer.errors import InputError, placed
from tfhub_transfer.heads.settings import Head
from tfhub_transfer.incoming.wording import class_name, listed
from tfhub_transfer.reporting import metrics, paired
from tfhub_transfer.reporting.standings import Faults, Standing
from tfhub_transfer.runtime import full_precision
from tfhub_transfer.tasks import class_labels, temperatures
from tfhub_transfer.tasks.base import Task
from tfhub_transfer.tasks.reportable import Joined, Readable
from tfhub_transfer.tasks.tagging import measures, schemes, viterbi
from tfhub_transfer.tasks.trial import Cut, Laid, Trial
from tfhub_transfer.tasks.whole.measures import Answered
from tfhub_transfer.texts import joining

# What fills up the labels of a batch, and counts for nothing.
NO_TAG = -1
# Sentences whose tags are found together; all are padded to the longest.
_AT_ONCE = 1024
# Scores of tags that a temperature is fitted to: more change it by nothing to speak of.
_MOST_SCORES = 2**24
# From tag to tag, of all of these together: of a thousand tags a sentence alone has a million.
_MOST_WAYS = 2**24
# Numbers of tags of words are ratios of sums over the sentences.
_SUMS = {
    "accuracy": (("right_words",), ("words",)),
    "precision": (("right_entities",), ("given_entities",)),
    "recall": (("right_entities",), ("entities",)),
    "f1": (("right_entities", "right_entities"), ("entities", "given_entities")),
}


def parts_of_tags(name: str, rows: Sequence[Answered]) -> paired.Parts | None:
    """What rows contribute to a number on tags of words.

    Args:
        name: The number's.
        rows: Answers, as `predictions.rows` has them.
    """
    sides = [paired.numbers_of(rows, names) for names in _SUMS.get(name, ())]
    known = [side.sum(axis=1) for side in sides if side is not None]
    if len(known) < 2:
        return None
    sums = np.stack(known, axis=1)
    return paired.Parts(sums, lambda w: metrics.ratio(w @ sums[:, 0], w @ sums[:, 1]))


def faults_of_tags(rows: Sequence[Answered]) -> Faults | None:
    """What rows cost F1 of entities: those that are missing or spurious; of plain tags wrong words.

    Args:
        rows: Answers, as `predictions.rows` has them.
    """
    for name in ("f1", "accuracy"):
        found = parts_of_tags(name, rows)
        if found is not None and found.parts[:, 1].any():
            return Faults(name, found.parts[:, 1] - found.parts[:, 0], found.parts[:, 1])
    return None


@keras.saving.register_keras_serializable(package="tfhub_transfer")
class TokenClassification(Task):
    """A tag for each word: entities in IOB1, IOB2 or BIOES, or plain tags as parts of speech are.

    A word is judged by the vector of its first word piece (Devlin et al. 2019, section 5.3). Where
    tags follow a scheme, answers are the likeliest sequence that the scheme allows.

    A label is a list of tags, or of their numbers from 0 where `class_names` are given.

    Args:
        class_names: The tags, in the order of the scores; learned by `adapt` if not given.
        scheme: `"IOB1"`, `"IOB2"`, `"BIOES"`, or `None` for plain tags; learned by `adapt` along
            with the tags.
        segmentation: What is one word in plain texts, a `joining.Segmentation` as a dictionary;
            learned from the words that a model is trained on if not given.

    Example:

    >>> task = TokenClassification().adapt([["B-person", "I-person", "O"]])
    >>> task.scheme, task.class_names
    ('IOB2', ['B-person', 'I-person', 'O'])
    """

    name = "token-classification"
    needs_tokens = True
    layout = "words"
    loss_by_unit = True
    whole_answers = "val_entity_f1"
    # The best of the grid of `benchmarks/defaults.py`, at 200 and 1,000 rows.
    narrow_rate = 3e-4
    options = ("class_names",)
    calibrated_by = "softmax"
    # A temperature alone changes no answer: all ways through a sentence are divided alike.
    calibrated_by_class = False
    claimed = "words with a tag for each"
    standing = Standing(
        "f1",
        rival="usual_tag",
        baselines={"usual_tag": "usual tags"},
        badness="wrong words",
        columns=("kinds",),
        picked=True,
        legend={
            "gold": "underlined: what is right",
            "given": "on a ground: what the model gave, in the colour of what became of it",
        },
        # Any tag may be in any sentence.
        without_interval=frozenset({"ece", "macro_f1"}),
        parts=parts_of_tags,
        faults=faults_of_tags,
    )

    def __init__(
        self,
        class_names: Sequence[str] | None = None,
        scheme: str | None = None,
        segmentation: Mapping[str, object] | None = None,
    ) -> None:
        super().__init__(pair=False)
        if scheme not in (None, *schemes.SCHEMES):
            raise InputError(
                f"`scheme` must be one of {', '.join(schemes.SCHEMES)}, or None. "
                f"Received: {scheme!r}"
            )
        self.class_names = None if class_names is None else [*map(class_name, listed(class_names))]
        class_labels.require_apart(self.class_names or [])
        self.scheme = scheme
        self.segmentation = None if segmentation is None else _segmentation(segmentation)

    @property
    def monitor(self) -> tuple[str, str]:  # type: ignore[override]
        """Entities are judged whole; plain tags word by word."""
        return "val_accuracy" if self.scheme is None else "val_entity_f1", "max"

    @property
    def is_adapted(self) -> bool:
        return self.class_names is not None

    def read_labels(self, labels: Sequence[object]) -> list[list[str]]:
        read = functools.partial(class_labels.tags, known=self.class_names or ())
        return class_labels.by_row(read, labels)

    def adapt(self, labels: Sequence[object]) -> "TokenClassification":
        if self.class_names is not None:
            self.scheme = self.scheme or schemes.find_scheme(self.named(labels))
        else:
            sequences = self.read_labels(labels)
            counts = collections.Counter(tag for tags in sequences for tag in tags)
            if len(counts) < 2:
                raise InputError(
                    "at least two tags are needed to learn to tell them apart; check the tags "
                    f"column. Received: {sorted(counts)}"
                )
            self.scheme = schemes.find_scheme(sequences)
            class_labels.require_apart(sorted(counts))
            self.class_names, self.learned = sorted(counts), True
        return self

    def encode(self, labels: Sequence[object]) -> tf.RaggedTensor:
        """Tags of each text to a ragged int32 `[n, (words)]` of their numbers."""
        found = self._places(labels)
        numbers = np.array([place for row in found for place in row], np.int32)
        return tf.RaggedTensor.from_row_lengths(numbers, list(map(len, found)))

    def named(self, labels: Sequence[object]) -> list[list[str]]:
        """Tags of each text by their names, whatever the labels `[n]` give.

        Raises:
            InputError: If a label is no list of tags, or a tag isn't known.
        """
        names = self.class_names or []
        return [[names[place] for place in row] for row in self._places(labels)]

    def _places(self, labels: Sequence[object]) -> list[list[int]]:
        self.require_adapted()
        sequences = self.read_labels(labels)

        def unknown(strange: list[str]) -> InputError:
            return class_labels.unknown("tag", self.learned, strange, self.class_names or [])

        return class_labels.places(sequences, self.class_names or [], not self.learned, unknown)

    @classmethod
    def claims(cls, texts: Sequence[object], labels: Sequence[object]) -> bool:
        if not all(isinstance(label, list) for label in labels):
            return False
        joined = [text for text in texts if isinstance(text, str) and joining.is_listed(text)]
        if len(joined) < len(texts):
            return False
        rows = [
            (joining.split_words(text), tags)
            for text, tags in zip(joined, labels)
            if isinstance(tags, list)
        ]
        # Units with spaces are sentences, which may happen to be as many as the labels.
        spaced = any(len(word.split()) > 1 for words, _ in rows for word in words)
        return not spaced and all(len(words) == len(tags) for words, tags in rows)

    def check(self, examples: Examples) -> None:
        """Raises `InputError` if a word has no tag, or one that is unknown."""
        with placed(examples):
            labels = self.read_labels(examples.labels)
        for row, (text, tags) in enumerate(zip(examples.texts[0], labels)):
            words = joining.split_words(text)
            if len(words) != len(tags):
                raise InputError(
                    f"{examples.place(row)}: every word must have a tag; mend the row. "
                    f"Received: {len(words)} words and {len(tags)} tags, "
                    f"in {' '.join(words)[:60]!r}"
                )
        self.encode(examples.labels)

    def outputs(self, features: keras.KerasTensor, head: Head) -> keras.KerasTensor:
        penalty = keras.regularizers.L2(head.l2) if head.l2 else None
        names = self.class_names or []
        return full_precision.Dense(
            len(names), "softmax", kernel_regularizer=penalty, name="scores"
        )(features)

    def loss(self) -> keras.Loss:
        return keras.losses.SparseCategoricalCrossentropy(ignore_class=NO_TAG)

    def metrics(self) -> list[keras.Metric]:
        return [WordAccuracy(name="accuracy")]

    def confident_rows(
        self, scores: Joined, labels: Sequence[object], seed: int
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Words, those of a sentence together; of many sentences some."""
        classes, places = len(self.class_names or []), self._places(labels)
        sizes = [classes * len(row) for row in places]
        taken = temperatures.some_rows(sizes, _MOST_SCORES, seed)
        shares = np.concatenate([scores[row] for row in taken])
        truth = np.concatenate([places[row] for row in taken]).astype(int)
        owners = np.repeat(taken, [len(places[row]) for row in taken])
        return shares, np.eye(classes)[truth], owners

    def sequences(self, scores: np.ndarray | Sequence[np.ndarray]) -> list[list[str]]:
        """Scores of each text's words `[words, tags]` to its tags.

        Args:
            scores: Probabilities; one array for each text.
        """
        names = self.class_names or []
        steps = schemes.allowed_steps(names, self.scheme)
        tags: list[list[str]] = []
        at_once = max(1, min(_AT_ONCE, _MOST_WAYS // max(1, len(names)) ** 2))
        for start in range(0, len(scores), at_once):
            some = scores[start : start + at_once]
            # In float32, as exports do, so that a report judges the very tags that are served.
            flat = np.concatenate(some).astype(np.float32)
            rows = tf.RaggedTensor.from_row_lengths(flat, list(map(len, some)))
            best = rows.with_values(viterbi.best_tags(rows, steps)).to_list()
            tags += [[names[place] for place in row] for row in best]
        return tags

    def decode(self, scores: np.ndarray | Sequence[np.ndarray]) -> list[Readable]:
        return [{"tags": tags} for tags in self.sequences(scores)]

    def whole_measure(
        self, layout: Laid, examples: Examples, rows: Cut
    ) -> Callable[[Sequence[np.ndarray]], float]:
        truth = self.named(examples.labels)

        def measure(scores: Sequence[np.ndarray]) -> float:
            predicted = self.sequences(layout.join(scores, rows))
            return float(measures.measure(truth, predicted, self.scheme)["f1"] or 0.0)

        return measure

    def report_on(self, trial: Trial) -> None:
        measures.report_on(self, trial)

    def get_config(self) -> dict[str, object]:
        known = None if self.segmentation is None else dataclasses.asdict(self.segmentation)
        config = {"class_names": self.class_names, "scheme": self.scheme, "segmentation": known}
        return {**config, **self.learned_config()}


@keras.saving.register_keras_serializable(package="tfhub_transfer")
class WordAccuracy(keras.metrics.Mean):
    """Share of words with the right tag: tags `[batch, words]`, -1 where there is no word."""

    def update_state(
        self,
        y_true: keras.KerasTensor,
        y_pred: keras.KerasTensor,
        sample_weight: keras.KerasTensor | None = None,
    ) -> None:
        right = keras.ops.equal(
            keras.ops.cast(y_true, "int32"), keras.ops.cast(keras.ops.argmax(y_pred, -1), "int32")
        )
        # Rows of other tasks, and those that fill up a batch, have no tag: no weight is needed.
        counted = keras.ops.not_equal(keras.ops.cast(y_true, "int32"), NO_TAG)
        # Word by word: of `[batch, words]` Keras takes means, in which words of long batches weigh
        # less, however long padding makes them.
        flat = [
            keras.ops.reshape(keras.ops.cast(each, "float32"), [-1]) for each in (right, counted)
        ]
        super().update_state(*flat)


def _segmentation(given: Mapping[str, object]) -> joining.Segmentation:
    """From a dictionary, which may be out of a file."""
    names = ("shapes", "words", "apart")
    tuples: dict[str, tuple[str, ...]] = {}
    for name in names:
        found = given.get(name, ())
        if isinstance(found, (list, tuple)) and all(isinstance(word, str) for word in found):
            tuples[name] = tuple(found)
    if len(tuples) < len(names) or not set(given) <= {*names, "negation"}:
        raise InputError(
            f"`segmentation` has lists of strings, {', '.join(names)}, and `negation`. "
            f"Received: {str(dict(given))[:100]}"
        )
    return joining.Segmentation(**tuples, negation=bool(given.get("negation", False)))
