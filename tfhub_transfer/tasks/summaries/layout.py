"""A score for each sentence: documents to sentences with their places, scores to summaries.

What leads from a plain document to its summary is TensorFlow, so that an exported model answers as
`predict_text` does. Offsets count Unicode code points, as Python's strings do.
"""

from collections.abc import Mapping
from typing import ClassVar, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from tfhub_transfer.data import Examples
from tfhub_transfer.encoders.encoder import Encoder
from tfhub_transfer.errors import InputError
from tfhub_transfer.heads import layers
from tfhub_transfer.tasks import units
from tfhub_transfer.tasks.layout import Inputs, Layout, Rows, of_rows
from tfhub_transfer.tasks.reportable import Scores
from tfhub_transfer.tasks.summaries import selection
from tfhub_transfer.texts import sentences
from tfhub_transfer.texts.joining import ALONE, WORD_END

# What an answer says of each sentence of a summary.
_CHOSEN = ("sentence", "score", "start", "end")


class _State(NamedTuple):
    """What `answer` must know of the documents: sentences, their pieces, how many a row has."""

    places: tuple[tf.RaggedTensor, tf.RaggedTensor, tf.RaggedTensor]
    pieces: tf.RaggedTensor
    lengths: tf.Tensor


class Sentences(Layout):
    """A row is a document, or a part of one that is too long; its units are sentences."""

    by_unit = True
    counted: ClassVar[Mapping[str, tuple[str, ...]]] = {"sentence_count": _CHOSEN}

    @property
    def signature(self) -> tuple[str, ...]:
        return ("document",)

    def features(
        self, encoder: Encoder, encoded: layers.Encoded, inputs: Inputs
    ) -> keras.KerasTensor:
        return layers.sentence_vectors(encoder, encoded, inputs, self.head)

    def check(self, examples: Examples) -> None:
        super().check(examples)
        if examples.target is not None:  # a blank document has an answer, but can't be learned from
            documents(examples)

    def cut(self, examples: Examples) -> Rows:
        """Documents in rows that fit; labels become what each sentence's score is to learn.

        Raises:
            InputError: If a document is blank, a summary is missing, or there is nothing to choose.
        """
        labelled = examples.target is not None
        if labelled:
            self.task.check(examples)
        found = documents(examples)
        pairs = zip(found, examples.labels if labelled else [])
        labels = [self.task.target(*pair) for pair in pairs] if labelled else None
        texts = [WORD_END.join(document) for document in found]
        return units.cut_long(of_rows([texts], labels), self.preprocessor)

    def join(self, scores: Scores, rows: Rows) -> list[np.ndarray]:
        return units.joined(scores, rows)

    def prepare(self, *texts: tf.Tensor) -> tuple[tuple[tf.Tensor, ...], _State]:
        places = _split(texts[0])
        rows = units.cut_rows(places[0], self.preprocessor)
        pieces = self.preprocessor.pieces(places[0].flat_values)
        return (units.join(rows),), _State(places, pieces, rows.row_lengths())

    def answer(
        self, state: _State, scores: tf.Tensor | tf.RaggedTensor
    ) -> dict[str, tf.Tensor | tf.RaggedTensor]:
        """The sentences of each summary in the order of the document.

        Returns:
            Each `[n, (chosen)]`: `sentence`, `score`, `start`, `end`; with `sentence_count` int64
            `[n]`, how many were chosen.
        """
        places, pieces, lengths = state
        logits = places[0].with_values(units.of_units(scores, lengths).flat_values[:, 0])
        chosen = logits.with_values(selection.choose(logits, pieces, self.task.sentences))
        columns = (places[0], self.task.shares(logits), *places[1:])
        found = {n: tf.ragged.boolean_mask(c, chosen) for n, c in zip(_CHOSEN, columns)}
        return {**found, "sentence_count": found["sentence"].row_lengths()}

    def readable(self, found: Mapping[str, tf.RaggedTensor]) -> list[dict[str, object]]:
        """One dictionary a text: `summary`, and its `sentences`, each with its place."""
        columns = (found[name].to_list() for name in _CHOSEN)
        answers: list[dict[str, object]] = []
        for texts, *numbers in zip(*columns):
            texts = [text.decode("utf-8", errors="replace") for text in texts]
            chosen = [
                {"text": text, "score": score, "start": start, "end": end}
                for text, score, start, end in zip(texts, *numbers)
            ]
            answers.append({"summary": " ".join(texts), "sentences": chosen})
        return answers


def _split(texts: tf.Tensor) -> tuple[tf.RaggedTensor, tf.RaggedTensor, tf.RaggedTensor]:
    """As `sentences.split`; a list of one sentence stays one too."""
    return sentences.split(tf.strings.regex_replace(texts, ALONE, WORD_END), WORD_END)


def documents(examples: Examples) -> list[list[str]]:
    """The sentences of each document.

    Raises:
        InputError: If a document is blank, or all that have labels are of one sentence, so that
            there is nothing to learn or to measure.
    """
    texts = examples.texts[0]
    split = _split(tf.constant(texts, tf.string))[0].to_list()
    blank = [row for row, document in enumerate(split) if not document]
    if blank:
        raise InputError(
            "every document must have a sentence; drop the rows without. Received: "
            f"{len(blank)} blank, the first in {examples.place(blank[0])}"
        )
    found = [[sentence.decode("utf-8") for sentence in document] for document in split]
    if examples.target is not None and all(len(document) == 1 for document in found):
        raise InputError(
            "every document has one sentence only, so there is nothing to choose; give longer "
            "ones, or their sentences as lists if they lack full stops. Received: "
            f"{len(found)} documents in {examples.source}, such as {found[0][0][:60]!r}"
        )
    return found


def places(texts: list[str]) -> list[list[tuple[int, int]]]:
    """Start and end in characters of the sentences of each text, as `documents` has them."""
    _, starts, ends = _split(tf.constant(texts, tf.string))
    return [list(zip(*pair)) for pair in zip(starts.to_list(), ends.to_list())]
