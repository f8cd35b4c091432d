"""Texts to what a decoder reads of them, and the pieces that it wrote to texts.

In training the decoder is given the right text and says how likely each of its pieces is; asked, it
writes one itself, in a search that is a part of the graph.
"""

import contextlib
import dataclasses
from collections.abc import Hashable, Iterator, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfhub_transfer.data import Examples
from tfhub_transfer.data.usual_columns import TEXT
from tfhub_transfer.encoders.encoder import CODE_POINTS, Encoder
from tfhub_transfer.encoders.loading import BERT_INPUTS
from tfhub_transfer.encoders.preprocessing import BertPreprocessor
from tfhub_transfer.encoders.token_counts import padded_length
from tfhub_transfer.errors import InputError
from tfhub_transfer.heads import layers, warm_start
from tfhub_transfer.heads.decoder import Decoder, Remembered
from tfhub_transfer.heads.settings import DecoderForm, Head
from tfhub_transfer.reporting.contents import Attention
from tfhub_transfer.tasks.base import Task
from tfhub_transfer.tasks.generation import (
    constrained,
    instructions,
    looking,
    pointers,
    searching,
)
from tfhub_transfer.tasks.generation.coverage import Coverage
from tfhub_transfer.tasks.generation.task import NO_PIECE
from tfhub_transfer.tasks.generation.vocabulary import BOS, EOS, PAD, UNK
from tfhub_transfer.tasks.layout import Ids, Inputs, Rows, State, int_inputs, of_rows
from tfhub_transfer.texts.joining import ALONE, WORD_END, spaced

# Of a `Head`, what no decoder has.
_UNHEEDED = ("pooling", "block", "hidden_units", "l2", "towers")
TARGETS = "target_ids"
DECODER = "decoder"
# What stands between turns, of a text and of a list; and what the encoder reads there.
_BETWEEN, _MARK = f"[\\r\\n{WORD_END}{ALONE}]+", " | "
# Of rows, how many pieces of turns were left out, which no preprocessor sees.
_LEFT_OUT = "left out"
_SIGNS = searching.Signs(BOS, EOS, (UNK,))
# Numbers that all hypotheses of a batch have at a time: 256 MB, and as much again some times while
# they are sorted. Of usual ones, 4 beams of 128 texts, that is no bound.
_NUMBERS = 64_000_000


class Generated(instructions.Told):
    """A row is a text; its answer is a text that a decoder writes."""

    def __init__(self, task: Task, head: Head) -> None:
        odd = [name for name in _UNHEEDED if getattr(head, name) != getattr(Head(), name)]
        if odd:
            raise InputError(
                "where answers are texts a decoder is the head, which of a `Head` heeds `dropout` "
                "alone; leave the others out, or give `decoder_layers`. "
                f"Received: {', '.join(f'{name}={getattr(head, name)!r}' for name in odd)}"
            )
        super().__init__(task, head)

    @property
    def signature(self) -> tuple[str, ...]:
        return ("text",)

    # Inside of the Keras model -----------------------------------------------------------------

    def inputs(self, encoder: Encoder) -> Inputs:
        return {**self.read_inputs(encoder), **int_inputs([TARGETS])}

    def asked_inputs(self, encoder: Encoder) -> Inputs:
        return {**self.read_inputs(encoder), **self.told_inputs()}

    def read_inputs(self, encoder: Encoder) -> Inputs:
        """Those that are made of a text alone."""
        return {**super().inputs(encoder), **int_inputs(self._of_sources)}

    @property
    def _of_sources(self) -> tuple[str, ...]:
        """Inputs that say what may be copied, in the order that a decoder takes them."""
        return pointers.NAMES if self.task.copies else ()

    @property
    def teaching(self) -> tuple[str, ...]:
        return (TARGETS,)

    def features(
        self, encoder: Encoder, encoded: layers.Encoded, inputs: Inputs
    ) -> keras.KerasTensor:
        """What the decoder says of the right text, `[batch, pieces, 3]`; see `Decoder`."""
        memory, present = self._memory(encoder, encoded, inputs)
        if "sequence_output" in encoder.output_names and "pooler" in dict(encoder.layer_groups):
            encoder.mark_unread("pooler")
        task = self.task
        width = task.decoder_width or int(memory.shape[-1])
        heads, inner = _form(encoder, width)
        form = DecoderForm(
            width=width,
            layers=task.decoder_layers,
            heads=heads,
            inner_units=inner,
            dropout=self.head.dropout,
            copies=task.copies,
        )
        decoder = Decoder(task.vocabulary.size, task.answer_length, form, name=DECODER)
        return decoder(memory, present, inputs[TARGETS], *self._copied(encoder, inputs))

    def hidden(self, features: keras.KerasTensor) -> keras.KerasTensor:
        """The same: nothing stands between a decoder and its answer."""
        return features

    def _memory(
        self, encoder: Encoder, encoded: layers.Encoded, inputs: Mapping[str, tf.Tensor]
    ) -> tuple[keras.KerasTensor, keras.KerasTensor]:
        """What the decoder reads of a text, `[batch, length, width]`, and where that is no padding.

        A text whose encoder gives one vector is a memory of one.
        """
        assert isinstance(encoded, Mapping)  # a pair would be read one by one
        if "sequence_output" in encoder.output_names:
            return encoded["sequence_output"], inputs[BERT_INPUTS[1]]
        vector = encoded["default" if "default" in encoded else "pooled_output"]
        one = keras.ops.expand_dims(vector, 1)
        return one, keras.ops.ones_like(one[..., 0], dtype="int32")

    def _copied(self, encoder: Encoder, inputs: Mapping[str, tf.Tensor]) -> list[tf.Tensor]:
        """What may be copied, and where in the memory it stands, of tasks that copy."""
        found = [inputs[name] for name in self._of_sources]
        if found and "sequence_output" not in encoder.output_names:
            found[1] = keras.ops.zeros_like(found[0])
        return found

    @contextlib.contextmanager
    def shaken(self, model: keras.Model, most: float, seed: int) -> Iterator[bool]:
        """Of two pieces that are as likely, one is followed, and the texts part there for good."""
        bias = model.get_layer(DECODER).bias
        before = bias.numpy()
        noise = np.random.default_rng(seed).normal(0.0, most, before.shape)
        bias.assign(before + noise.astype(before.dtype))
        try:
            yield True
        finally:
            bias.assign(before)

    def warm_start(self, model: keras.Model) -> None:
        """Gives the decoder what its layers and those at the encoder's top have in common."""
        weights = {n: w.value.numpy() for n, w in model.encoder.named_weights().items()}
        layers_below = [name for name, _ in model.encoder.layer_groups if name.startswith("layer_")]
        count = self.task.decoder_layers
        top = range(len(layers_below))[-count:]
        warm_start.take_over(model.get_layer(DECODER), weights, [*top])

    # Examples to rows and back -----------------------------------------------------------------

    @property
    def ids_depend_on(self) -> Hashable:
        return super().ids_depend_on, self.task.vocabulary if self.task.copies else None

    def encode_and_count(
        self, texts: Sequence[Sequence[str]]
    ) -> tuple[dict[str, tf.RaggedTensor], np.ndarray]:
        encoded, lost = super().encode_and_count(texts)
        if self.task.copies:
            encoded |= self._sources.of_all(texts[0])
        return encoded, lost

    def batch(self, *texts: tf.Tensor, lengths: np.ndarray | None = None) -> dict[str, tf.Tensor]:
        made = super().batch(*texts, lengths=lengths)
        return {**made, **self._sources.pad(self._sources(texts[0]), lengths)}

    def pad(
        self, encoded: dict[str, tf.RaggedTensor], lengths: np.ndarray | None = None
    ) -> dict[str, tf.Tensor]:
        read = {name: value for name, value in encoded.items() if name not in pointers.NAMES}
        return {**super().pad(read, lengths), **self._sources.pad(encoded, lengths)}

    @property
    def _sources(self) -> pointers.Sources:
        task = self.task
        return pointers.Sources(task.vocabulary if task.copies else None, self.preprocessor)

    def to_ids(self, rows: Rows) -> Ids:
        found = super().to_ids(rows)
        beside = [found.columns[name].row_lengths() for name in self._of_sources[:1]]
        if found.labels is not None:
            labels = found.labels[0] if isinstance(found.labels, tuple) else found.labels
            beside.append(labels.row_lengths())
        # What is written, and what may be copied, take their share of a batch, as what is read.
        lengths = [each.numpy().astype(np.int64) for each in beside]
        return dataclasses.replace(found, beside=np.max(lengths, axis=0)) if lengths else found

    def labels_length(
        self, labels: tf.RaggedTensor, inputs: Mapping[str, tf.Tensor], lengths: np.ndarray | None
    ) -> tf.Tensor:
        most = self.task.answer_length
        if lengths is not None:
            # Those of texts that are read may be too few for what is written, or more places than
            # a decoder has.
            lengths = np.array([*(each for each in lengths if each < most), most])
        return padded_length(labels, lengths, most)

    def taught(self, inputs: Mapping[str, tf.Tensor], labels: tf.Tensor) -> Mapping[str, tf.Tensor]:
        pieces = tf.where(labels == NO_PIECE, PAD, labels)
        begun = tf.pad(pieces, [[0, 0], [1, 0]], constant_values=BOS)
        return {**inputs, TARGETS: begun}

    # Answers -------------------------------------------------------------------------------------

    @property
    def asked_how(self) -> Hashable:
        found: Hashable = self.task.search
        return found

    def rows_at_once(self, encoder: Encoder, rows: int) -> int:
        how, task = self.task.search, self.task
        width = task.decoder_width or encoder.dimension
        # Each has a score of every piece, and keys and values of every place.
        own = max(task.vocabulary.size, 2 * task.decoder_layers * width * how.max_length)
        of_sources = self._sources.most**2 if task.copies else 1
        found: int = min(rows, _NUMBERS // (how.hypotheses * own), _NUMBERS // of_sources)
        return max(1, found)

    def respond(self, model: keras.Model, inputs: Mapping[str, tf.Tensor]) -> tf.Tensor:
        """Pieces of the best texts, behind the score of each, float32 `[batch, best, 1 + pieces]`.

        What is behind the last piece of a text is 0.
        """
        encoder, decoder = model.encoder, model.get_layer(DECODER)
        read = inputs[CODE_POINTS] if encoder.dialect == "text" else _of_bert(inputs)
        encoded = encoder(read, training=False)
        memory, present = self._memory(encoder, encoded, inputs)
        state = decoder.start(memory, present, *self._copied(encoder, inputs))

        found = self._searched(decoder, state, present, inputs)
        return tf.concat([found.scores[..., None], tf.cast(found.ids, tf.float32)], axis=-1)

    def _searched(
        self,
        decoder: Decoder,
        state: Remembered,
        present: tf.Tensor,
        inputs: Mapping[str, tf.Tensor],
    ) -> searching.Found:
        """The best texts of a batch of which the decoder remembers `state`."""

        def of(texts: tf.Tensor | None) -> searching.Step:
            some = state if texts is None else state.of(texts)
            return lambda ids, place, cache: decoder.step(ids, place, cache, some)

        def empty(rows: tf.Tensor) -> searching.Cache:
            return decoder.empty(rows, state)

        how, lost, step = self.task.search, None, of(None)
        if how.coverage_penalty:
            coverage = Coverage(decoder, state, present, how.coverage_penalty)
            step, empty, lost = coverage.step, coverage.empty, coverage.lost
        begin, most = self.task.begin, self.most(inputs)
        rules = searching.Rules.of(tf.shape(present)[0], _SIGNS, how, begin, most)
        terms = self.terms(inputs)
        if terms is None:
            # What was read is of all texts of the batch: none is left out.
            return searching.find_by(step, empty, rules, lost, None if lost else of)
        return constrained.find(step, empty, rules, terms, lost)

    def looked_at(
        self, model: keras.Model, texts: Sequence[str], answers: Sequence[str]
    ) -> list[Attention]:
        """What of some texts is read while their answers are written.

        Nothing, where the decoder has one vector of a text, and so nothing to choose from.

        Args:
            model: The whole model.
            texts: As an example has them.
            answers: What it wrote.
        """
        encoder, reader = model.encoder, self.preprocessor
        if not isinstance(reader, BertPreprocessor) or encoder.dialect == "text":
            return []
        if "sequence_output" not in encoder.output_names or not texts:
            return []
        rows, _ = self.prepare(tf.constant(list(texts), tf.string))
        inputs, vocabulary = self.batch(*rows), self.task.vocabulary
        encoded = encoder(_of_bert(inputs), training=False)
        memory, present = self._memory(encoder, encoded, inputs)
        decoder = model.get_layer(DECODER)
        state = decoder.start(memory, present, *self._copied(encoder, inputs))
        written = [row[: self.task.answer_length] for row in vocabulary.tokenize(answers).to_list()]
        ids = tf.keras.utils.pad_sequences(
            [[*row, EOS] for row in written], padding="post", value=PAD
        )
        pieces = [
            reader.spelled(own[: int(there.sum())].tolist())
            for own, there in zip(inputs[BERT_INPUTS[0]].numpy(), present.numpy())
        ]
        read = looking.read_shares(decoder, state, ids)
        return looking.pictures(vocabulary, pieces, written, read)


def _form(encoder: Encoder, width: int) -> tuple[int, int]:
    """Heads and inner units: those of the encoder's layers, so that their weights fit.

    Of others they are what is usual: 64 numbers for a head, four times the width inside.
    """
    heads, inner = max(n for n in range(1, width // 64 + 2) if width % n == 0), 4 * width
    for name, weight in encoder.named_weights().items():
        shape = tuple(weight.shape)
        if name.endswith("query/kernel") and len(shape) == 3 and shape[0] == width:
            heads = int(shape[1])
        elif name.endswith("intermediate/kernel") and shape[0] == width:
            inner = int(shape[1])
    return heads, inner


def _of_bert(inputs: Mapping[str, Any]) -> dict[str, Any]:
    return {key: inputs[key] for key in BERT_INPUTS}


def _left_out(rows: Rows) -> np.ndarray:
    return np.array(rows.examples.columns.get(_LEFT_OUT, np.zeros(len(rows))), np.int64)


class Turns(Generated):
    """A row is a conversation so far; its answer is the next turn."""

    @property
    def takes_lists(self) -> bool:
        return True

    def check(self, examples: Examples) -> None:
        columns = {TEXT: [spaced(text) for text in examples.texts[0]]}
        super().check(examples if examples.is_pair else Examples(columns))

    def cut(self, examples: Examples) -> Rows:
        newest, left_out = self._newest(tf.constant(examples.texts[0], tf.string))
        labels = examples.labels if examples.target else None
        made = of_rows([[text.decode("utf-8") for text in newest.numpy()]], labels)
        columns = {**made.columns, _LEFT_OUT: left_out.numpy().tolist()}
        made = dataclasses.replace(made, columns=columns)
        return Rows(made, np.arange(len(examples)), len(examples))

    def lost(self, rows: Rows, lost: np.ndarray) -> np.ndarray:
        return super().lost(rows, lost + _left_out(rows))

    def to_ids(self, rows: Rows) -> Ids:
        found = super().to_ids(rows)
        return dataclasses.replace(found, lost=found.lost + _left_out(rows))

    def prepare(self, *texts: tf.Tensor) -> tuple[tuple[tf.Tensor, ...], State]:
        return super().prepare(self._newest(texts[0])[0])

    def _newest(self, texts: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """The newest turns that fit, with a mark between them; as graph code.

        And how many pieces of those before them are left out.
        """
        left_out = tf.zeros(tf.shape(texts), tf.int64)
        turns = tf.strings.split(tf.strings.regex_replace(texts, _BETWEEN, "\n"), "\n")
        turns = tf.ragged.boolean_mask(turns, tf.strings.length(turns) > 0)
        if isinstance(self.preprocessor, BertPreprocessor):
            pieces = self.preprocessor.pieces(turns.flat_values).row_lengths()
            lengths = turns.row_lengths()
            pieces_of = turns.with_values(pieces)
            sizes = (pieces_of + 1).to_tensor()
            behind = tf.cumsum(sizes, axis=1, reverse=True)
            # [CLS] and [SEP] take two places, and no mark stands behind the newest turn, which is
            # read even if it must be cut.
            fits = behind - 1 <= self.preprocessor.sequence_length - 2
            newest = tf.range(tf.shape(sizes, out_type=tf.int64)[1]) == lengths[:, None] - 1
            read = tf.RaggedTensor.from_tensor(fits | newest, lengths)
            turns = tf.ragged.boolean_mask(turns, read)
            left = tf.ragged.boolean_mask(pieces_of, tf.logical_not(read))
            left_out = tf.reduce_sum(left, axis=1)
        return tf.strings.reduce_join(turns, axis=-1, separator=_MARK), left_out
