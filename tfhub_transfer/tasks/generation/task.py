"""Tasks whose answer is a text."""

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import keras
import numpy as np
import tensorflow as tf

from tfhub_transfer.data import Examples
from tfhub_transfer.errors import InputError, placed
from tfhub_transfer.heads.settings import Head
from tfhub_transfer.incoming import ranges, usual, values
from tfhub_transfer.incoming.choices import flag
from tfhub_transfer.runtime import full_precision
from tfhub_transfer.tasks import class_labels
from tfhub_transfer.tasks.base import Task
from tfhub_transfer.tasks.generation import measures, scoring
from tfhub_transfer.tasks.generation.searching import Search
from tfhub_transfer.tasks.generation.vocabulary import EOS, TargetVocabulary
from tfhub_transfer.tasks.reportable import Joined, Readable
from tfhub_transfer.tasks.trial import Answers, Trial

# What an answer should hold and doesn't, of terms of a glossary.
MISSING = "missing_terms"
_SEARCH = tuple(field.name for field in dataclasses.fields(Search))
# What fills up labels, and is no piece.
NO_PIECE = -1
# The most pieces of an answer where targets are short: one may be longer than all that were seen.
_LEAST_ROOM, _ROOM = 32, 1.25
# Lists that have more on average may be words. Of so many targets the first tell what all are.
_MOST_RIGHT, _FIRST = 3, 20
# Words of a class's name on average; sentences have more.
_WORDS_OF_A_NAME = 3
# Of so many answers a report shows what was read.
_LOOKED_AT = 3


@keras.saving.register_keras_serializable(package="tfhub_transfer")
class TextGeneration(Task):
    """A text for each text: a decoder over any encoder writes it, piece by piece.

    A Transformer decoder (Vaswani et al. 2017) reads the encoder's token vectors, or the one vector
    of a text, and begins with the weights of the encoder's top layers where their shapes fit (Rothe
    et al. 2020). A label is the text to be written.

    Args:
        vocabulary: The pieces that texts are written in, a `TargetVocabulary` or what its
            `to_string` gave; learned by `adapt` from the training targets.
        vocabulary_size: How many pieces `adapt` is to learn; as many as suit the data if not given.
        answer_length: The most pieces of an answer; a quarter more than the longest target has, 32
            at least, if not given.
        decoder_layers: Layers of the decoder, 1 to 6.
        decoder_width: Of its vectors; as wide as the encoder's if not given, which lets it begin
            with the encoder's weights.
        label_smoothing: Share of the probability that goes to all pieces, 0 to below 1.
        copies: Whether pieces of the text that is read may be copied into the answer (See et al.
            2017, "Get To The Point"): names and numbers of a text in the same language.
        search: How an answer is looked for, a `Search` or its arguments.

    Raises:
        InputError: If an argument is out of range.

    Example:

    >>> task = TextGeneration().adapt(["ein Haus", "zwei Häuser", "kein Haus"])
    >>> task.is_adapted
    True
    """

    name = "text-generation"
    layout = "written"
    learns = ("vocabulary", "answer_length")
    monitor = ("val_perplexity", "min")
    usual_columns: ClassVar = {"text": "source", "label": "target"}
    head_settings = ("dropout",)
    samples = 64
    # A decoder is as deep as what is usually fine-tuned, and mostly new.
    head_rate = 1e-3
    head_warmup = usual.WARMUP
    head_factor = 5.0
    options = ("decoder_layers", "vocabulary_size", "answer_length", "label_smoothing", "copies")
    learned_baselines = False
    claimed = "texts with a text to be written beside each"
    # What such texts are judged by, and what they are beside.
    kind: ClassVar[measures.Kind] = measures.TEXT
    standing = measures.TEXT.standing()

    def __init__(
        self,
        vocabulary: TargetVocabulary | str | None = None,
        vocabulary_size: int | None = None,
        answer_length: int | None = None,
        decoder_layers: int = 1,
        decoder_width: int | None = None,
        label_smoothing: float = usual.SMOOTHING,
        copies: bool = False,
        search: Search | Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(pair=False)
        if isinstance(vocabulary, str):
            vocabulary = TargetVocabulary.from_string(vocabulary)
        self.vocabulary = vocabulary
        whole, given = ranges.whole_number, ranges.given
        self.vocabulary_size = given(whole, "vocabulary_size", vocabulary_size, *ranges.PIECES)
        self.answer_length = given(whole, "answer_length", answer_length, *ranges.ANSWER)
        self.decoder_width = given(whole, "decoder_width", decoder_width, *ranges.SIZE)
        self.decoder_layers = whole("decoder_layers", decoder_layers, *ranges.DECODER_LAYERS)
        self.label_smoothing = ranges.real_number(
            "label_smoothing", label_smoothing, 0.0, ranges.BELOW_ONE, True
        )
        self.copies = flag("copies", copies)
        self.reads_alone = self.copies  # the text in pieces of its own vocabulary, too
        self._measured, self._cut, self._several = False, (0, 0), 0
        self._how: dict[str, Any] = {}
        if search is not None:
            self.search = search

    @property
    def search(self) -> Search:
        """How an answer is looked for; it has `answer_length` pieces at most."""
        longest = self.answer_length or ranges.ANSWER[1]
        most = min(self._how.get("max_length", longest), longest)
        return Search(**{**self._how, "max_length": most})

    @search.setter
    def search(self, search: Search | Mapping[str, Any]) -> None:
        """Sets it, for whatever is asked from now on."""
        given = _search(search)
        if self.vocabulary is not None:
            _begin(given, self.vocabulary)
        self._how = {name: getattr(given, name) for name in _SEARCH}

    @property
    def begin(self) -> tuple[int, ...]:
        """The pieces that every answer begins with.

        Raises:
            InputError: If they are more than an answer may have, or none of the vocabulary.
        """
        self.require_adapted()
        assert self.vocabulary is not None
        return _begin(self.search, self.vocabulary)

    @classmethod
    def claims(cls, texts: Sequence[object], labels: Sequence[object]) -> bool:
        """Whether labels are texts of some words that hardly come again."""
        plain = [label for label in labels if isinstance(label, str)]
        if len(plain) < max(_FIRST, len(labels)):
            return False
        words = sum(len(label.split()) for label in plain) / len(plain)
        return len({*plain}) >= 0.9 * len(plain) and words >= _WORDS_OF_A_NAME

    @property
    def is_adapted(self) -> bool:
        return self.vocabulary is not None and self.answer_length is not None

    def adapt(self, labels: Sequence[object]) -> "TextGeneration":
        """Learns the pieces of the texts to be written, and how many a text has at most.

        Args:
            labels: The texts to be written.

        Raises:
            InputError: If one is no text, or there are too few to learn from.
        """
        _require_no_words(labels)
        texts = [each[0] for each in self.right(labels)]
        self._several = len(_listed(labels))
        if self.vocabulary is None:
            self.vocabulary = TargetVocabulary.learn(texts, self.vocabulary_size)
        lengths = self.vocabulary.tokenize(texts).row_lengths().numpy()
        if self.answer_length is None:
            room = int(np.clip(lengths.max() * _ROOM, _LEAST_ROOM, ranges.ANSWER[1]))
            self.answer_length, self._measured = room, True
        self._cut = int(np.sum(lengths > self.answer_length)), len(texts)
        return self

    def doubts(self) -> list[str]:
        cut, count = self._cut
        found = []
        if self._several:
            found.append(
                f"of {count:,} targets {self._several:,} are lists, of texts that are all right: "
                "the first is learned, reports take each"
            )
        if not cut:
            return found
        return [
            *found,
            f"of {count:,} targets {cut:,} have more than {self.answer_length} pieces: they are "
            "cut, and teach no end; allow more (`--answer-length`, up to "
            f"{ranges.ANSWER[1]}), or give shorter ones",
        ]

    def read_labels(self, labels: Sequence[object]) -> list[str | list[str]]:
        """Each label as the text that it is, or as a list of the texts that are all right."""
        read = class_labels.by_row(_texts, labels)
        return [texts[0] if len(texts) == 1 else texts for texts in read]

    def right(self, labels: Sequence[object]) -> list[list[str]]:
        """The texts that are right, one or more for each label `[n]`; the first is to be learned.

        Raises:
            InputError: If one is blank, or no text.
        """
        return class_labels.by_row(_texts, labels)

    def check(self, examples: Examples) -> None:
        with placed(examples):
            self.read_labels(examples.labels)

    def encode(self, labels: Sequence[object]) -> tf.RaggedTensor:
        """The pieces of each text and the end, ragged int32 `[n, (pieces)]`.

        A text of more than `answer_length` pieces is cut, and has no end.
        """
        self.require_adapted()
        assert self.vocabulary is not None and self.answer_length is not None
        pieces = self.vocabulary.tokenize([each[0] for each in self.right(labels)])
        ends = tf.fill([pieces.nrows(), 1], tf.constant(EOS, pieces.dtype))
        found: tf.RaggedTensor = tf.concat([pieces, ends], axis=1)[:, : self.answer_length]
        return found

    def example_label(self) -> object:
        return ""

    def outputs(self, features: keras.KerasTensor, head: Head) -> keras.KerasTensor:
        """What the decoder says of each piece of the right text, `[batch, pieces, 3]`."""
        return full_precision.named(features, "scores")

    def loss(self) -> keras.Loss:
        return TextCrossentropy(self.label_smoothing)

    def metrics(self) -> list[keras.Metric]:
        return [Perplexity(name="perplexity"), PieceAccuracy(name="accuracy")]

    def require_imitable(self) -> None:
        """What others write can be learned, as any text can."""

    def worth(self, value: float) -> float:
        # The loss of a piece: a perplexity of hundreds would be all of a mean.
        return -math.log(value)

    # Answers ---------------------------------------------------------------------------------

    def answer(self, scores: tf.Tensor) -> dict[str, tf.Tensor]:
        """Pieces, as `layout.Generated` finds them, to texts.

        Returns:
            `text` strings `[n]` and `score` float32 `[n]`; where a search gives several, `texts`
            and `scores` `[n, best]` too, the best first. Of a search with a glossary the layout
            adds `missing_terms`.
        """
        assert self.vocabulary is not None
        best, ids = tf.shape(scores)[1], tf.cast(scores[..., 1:], tf.int32)
        flat = tf.reshape(ids, [-1, ids.shape[-1] or tf.shape(ids)[-1]])
        texts = tf.reshape(self.vocabulary.detokenize(flat), [-1, best])
        found = {"text": texts[:, 0], "score": scores[:, 0, 0]}
        if self.search.n_best > 1:
            found |= {"texts": texts, "scores": scores[..., 0]}
        return found

    def readable(self, found: Mapping[str, tf.Tensor]) -> list[Readable]:
        made: list[Readable] = []
        columns = {name: np.asarray(column).tolist() for name, column in found.items()}
        for row in range(len(columns["text"])):
            answer: Readable = {name: _plain(column[row]) for name, column in columns.items()}
            if MISSING in columns:
                answer[MISSING] = [_plain(term) for term in columns[MISSING][row] if term]
            made.append(answer)
        return made

    def scores_of(self, outputs: Joined) -> Joined:
        """The score of each answer, float32 `[n, best]`."""
        return np.asarray(outputs)[..., 0]

    def decode(self, scores: np.ndarray) -> list[Readable]:
        return [{"scores": np.asarray(row).tolist()} for row in scores]

    def main_part(self, answer: Readable) -> object:
        return answer["text"]

    @property
    def sampled_names(self) -> tuple[str, ...]:
        return self.kind.names[:1]

    def sampled(
        self, examples: Examples, answer: Callable[[Examples], Answers]
    ) -> dict[str, float]:
        """The first number of reports, of the likeliest piece at each place."""
        how, most = self._how, self.search.max_length
        self.search = Search(beams=1, max_length=most)
        try:
            written = [str(each["text"]) for each in answer(examples)]
        finally:
            self._how = how
        name = self.kind.names[0]
        found = scoring.Judge(self.right(examples.labels), (name,)).score(written).numbers()
        return {name: float(found[name] or 0.0)}

    def report_on(self, trial: Trial) -> None:
        measures.report_on(trial, self.right, self.kind)
        layout: Any = trial.model.layout
        some = trial.report.predictions[:_LOOKED_AT]
        answers = [str(row["predicted"]) for row in some]
        texts = trial.examples.texts[0][: len(some)]
        trial.report.attention = layout.looked_at(trial.model, texts, answers)

    def as_options(self) -> dict[str, object]:
        said = super().as_options()
        return {**said, "answer_length": None} if self._measured else said

    def get_config(self) -> dict[str, object]:
        return {
            "vocabulary": self.vocabulary.to_string() if self.vocabulary else None,
            "vocabulary_size": self.vocabulary_size,
            "answer_length": self.answer_length,
            "decoder_layers": self.decoder_layers,
            "decoder_width": self.decoder_width,
            "label_smoothing": self.label_smoothing,
            "copies": self.copies,
            "search": self._how or None,
        }


def _begin(search: Search, vocabulary: TargetVocabulary) -> tuple[int, ...]:
    """The pieces that a search has texts begin with."""
    begin = search.begin
    if isinstance(begin, str):
        # As tensorflow-text has it, a text begins with a space, which nobody sees.
        begin = tuple(vocabulary.inside(f" {begin.strip()}")) if begin.strip() else ()
    odd = [piece for piece in begin if not EOS < piece < vocabulary.size]
    if odd:
        raise InputError(
            f"texts begin with pieces, whose ids are {EOS + 1} to {vocabulary.size - 1}; give "
            f"such ids in `begin`, or a text (`--begin`). Received: {odd[0]}"
        )
    search.require_room(len(begin))
    return begin


def _search(given: object) -> Search:
    """A search, or one of its arguments by name."""
    known = [*_SEARCH]
    if isinstance(given, Search):
        return given
    if isinstance(given, Mapping) and {*given} <= {*known}:
        return Search(**given)
    raise InputError(
        f"`search` must be a `tasks.Search`, or some of its arguments by name: {', '.join(known)}. "
        f"Received: {str(given)[:60]}"
    )


def _texts(label: object) -> list[str]:
    """The texts that a label holds, one or more."""
    label = values.plain(label)
    listed = label if isinstance(label, list) and label else [label]
    if not all(isinstance(text, str) and text.strip() for text in listed):
        raise InputError(
            "expected a text to be written, or a list of texts that are all right, none of them "
            f"blank; drop the row. Received: {str(label)[:60]!r}"
        )
    return list(listed)


def _listed(labels: Sequence[object]) -> list[list[object]]:
    """Labels that are lists of several texts."""
    found = [label for label in map(values.plain, labels) if isinstance(label, list)]
    return [label for label in found if len(label) > 1]


def _require_no_words(labels: Sequence[object]) -> None:
    """Refuses lists of words: what is one text in pieces would be taken for many right ones."""
    listed = _listed(labels)
    words = [str(each) for label in listed for each in label]
    if len(words) <= _MOST_RIGHT * len(listed) or any(len(each.split()) > 1 for each in words):
        return
    # Texts of one word that are all right differ, and none is a full stop.
    told = [len({*map(str, row)}) < len(row) or not all(map(_has_letters, row)) for row in listed]
    if sum(told) * 4 >= len(told):
        raise InputError(
            "a list is of texts that are all right, and these look like the words of one: join "
            f'them, as with `" ".join(words)`. Received: {str(listed[told.index(True)])[:60]}'
        )


def _has_letters(word: object) -> bool:
    return any(sign.isalnum() for sign in str(word))


def _plain(value: object) -> object:
    if isinstance(value, list):
        return [_plain(each) for each in value]
    return value.decode("utf-8") if isinstance(value, bytes) else value


@keras.saving.register_keras_serializable(package="tfhub_transfer")
class Translation(TextGeneration):
    """A text in another language; see `TextGeneration`.

    Example:

    >>> Translation().adapt(["ein Haus", "zwei Häuser", "kein Haus"]).name
    'translation'
    """

    name = "translation"
    kind = measures.TRANSLATION
    standing = measures.TRANSLATION.standing()


@keras.saving.register_keras_serializable(package="tfhub_transfer")
class AbstractiveSummarization(TextGeneration):
    """A summary of a document in words of its own; see `TextGeneration`.

    As in Liu and Lapata 2019, "Text Summarization with Pretrained Encoders". What chooses sentences
    of the document is `ExtractiveSummarization`.

    Example:

    >>> AbstractiveSummarization().adapt(["It works.", "It failed twice."]).name
    'abstractive-summarization'
    """

    name = "abstractive-summarization"
    kind = measures.SUMMARY
    standing = measures.SUMMARY.standing()
    usual_columns: ClassVar = {"text": "document", "label": "summary"}


@keras.saving.register_keras_serializable(package="tfhub_transfer")
class Dialogue(TextGeneration):
    """The next turn of a conversation; see `TextGeneration`.

    A text is all turns so far, each in a line of its own, or a list of them, the newest last. Of
    more than fit the newest are read.

    Example:

    >>> Dialogue().adapt(["Hello!", "At nine.", "Good bye."]).name
    'dialogue'
    """

    name = "dialogue"
    kind = measures.DIALOGUE
    standing = measures.DIALOGUE.standing()
    layout = "turns"
    usual_columns: ClassVar = {"text": "turns", "label": "answer"}


@keras.saving.register_keras_serializable(package="tfhub_transfer")
class TextCrossentropy(keras.losses.Loss):
    """Cross-entropy of the pieces of each text, their mean; with label smoothing.

    Labels `[batch, pieces]` are numbers of pieces, -1 where there is none; scores
    `[batch, pieces, 3]` are as `Decoder` gives them: log probabilities of the right piece, and the
    mean of those of all pieces. Smoothing is that of Szegedy et al. 2016, section 7.
    """

    def __init__(self, smoothing: float = 0.0, name: str = "loss", **kwargs: Any) -> None:
        super().__init__(name=name, **kwargs)
        self.smoothing = smoothing

    def call(self, y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
        there = _there(y_true)
        own, mean = y_pred[..., 0], y_pred[..., 1]
        each = -(1.0 - self.smoothing) * own - self.smoothing * mean
        count = keras.ops.maximum(keras.ops.sum(there, axis=-1), 1.0)
        return keras.ops.sum(each * there, axis=-1) / count

    def get_config(self) -> dict[str, object]:
        return {**super().get_config(), "smoothing": self.smoothing}


@keras.saving.register_keras_serializable(package="tfhub_transfer")
class Perplexity(keras.metrics.Mean):
    """The exponential of the mean negative log probability of a piece, over all texts."""

    def update_state(
        self, y_true: tf.Tensor, y_pred: tf.Tensor, sample_weight: tf.Tensor | None = None
    ) -> None:
        there = keras.ops.reshape(_there(y_true), [-1])
        super().update_state(-keras.ops.reshape(y_pred[..., 0], [-1]), there)

    def result(self) -> tf.Tensor:
        return keras.ops.exp(super().result())


@keras.saving.register_keras_serializable(package="tfhub_transfer")
class PieceAccuracy(keras.metrics.Mean):
    """Share of pieces that are the likeliest behind those before them."""

    def update_state(
        self, y_true: tf.Tensor, y_pred: tf.Tensor, sample_weight: tf.Tensor | None = None
    ) -> None:
        there = keras.ops.reshape(_there(y_true), [-1])
        super().update_state(keras.ops.reshape(y_pred[..., 2], [-1]), there)


def _there(y_true: tf.Tensor) -> tf.Tensor:
    """1 where there is a piece, `[batch, pieces]`."""
    return keras.ops.cast(keras.ops.not_equal(keras.ops.cast(y_true, "int32"), NO_PIECE), "float32")
