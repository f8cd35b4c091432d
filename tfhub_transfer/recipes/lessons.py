"""What a large encoder gives for a corpus, for a small one to learn: computed once, and kept."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import tensorflow as tf

from tfhub_transfer import progress, runtime
from tfhub_transfer.data import batching
from tfhub_transfer.encoders.encoder import Encoder
from tfhub_transfer.encoders.loading import BERT_INPUTS
from tfhub_transfer.encoders.preprocessing import make_preprocessor
from tfhub_transfer.errors import InputError
from tfhub_transfer.private import tensorflow_data
from tfhub_transfer.recipes.students import Anatomy
from tfhub_transfer.runtime import precision_choice, threads
from tfhub_transfer.shapes import Features
from tfhub_transfer.storage import budget, names
from tfhub_transfer.storage.stores import TokenStore, VectorStore

# Texts of average length that the teacher reads at once, and batches that it may be ahead by.
_ROWS = 64
_AHEAD = 16
# Ids of texts `[n, (length)]`, by the name of the encoder's input.
_Rows = dict[str, tf.RaggedTensor]


class Lesson:
    """What a teacher has to say of texts, in batches of its student's ids.

    Args:
        large: The teacher.
        small: The student, with the teacher's word pieces or some of them.
        layers: The teacher's layers of which token vectors are wanted.
        sequence_length: The most tokens of a text; longer ones are cut.

    Raises:
        InputError: If the student has a word piece that the teacher hasn't.
    """

    def __init__(
        self, large: Encoder, small: Encoder, layers: Sequence[int], sequence_length: int
    ) -> None:
        self._large, self._layers = large, list(layers)
        self._width = len(self._layers) * large.token_dimension
        limits = (encoder.max_sequence_length or sequence_length for encoder in (large, small))
        sequence_length = min(sequence_length, *limits)
        self._of_large, self._of_small = (
            make_preprocessor(encoder, sequence_length=sequence_length)
            for encoder in (large, small)
        )
        self._pieces = _numbers_in_teacher(large, small)
        self._key = names.key(
            large.fingerprint(),
            self._of_large.fingerprint(),
            runtime.choose_precision("auto", large.dimension),
        )

    def batches(self, texts: list[str], batch_size: int, seed: int = 0) -> tf.data.Dataset:
        """Batches of `(ids, targets)`, of like length and shuffled anew in every pass.

        Args:
            texts: The texts.
            batch_size: Texts in a batch of average length.
            seed: Seed of the shuffling.

        Returns:
            A dataset of the student's inputs and of `sentence` float32 `[batch, dimension]`, the
            teacher's text vectors; `tokens` float32 `[batch, length, layers * dimension]`, its
            token vectors; and `alike` float32 `[batch]`, 1 where both split a text alike. Where
            they don't, `tokens` says nothing.
        """
        of_large, _ = self._of_large.encode_and_count([texts])
        of_small, _ = self._of_small.encode_and_count([texts])
        alike = _alike(of_large, of_small, self._pieces)
        lengths = of_small["input_word_ids"].row_lengths().numpy()
        sentences = self._sentences(texts, of_large)
        # Nothing is kept of texts that are split otherwise, as their tokens don't correspond.
        tokens = self._tokens(texts, of_large, np.where(alike, lengths, 0))
        rows = batching.LengthBatches(lengths, batch_size, seed=seed)

        def read() -> Iterator[tuple[np.ndarray, ...]]:
            for batch in rows:
                length = rows.padded_length(batch)
                yield batch, sentences[batch], tokens(batch, length), alike[batch]

        def join(
            batch: tf.Tensor, sentence: tf.Tensor, tokens: tf.Tensor, same: tf.Tensor
        ) -> tuple[Features, Features]:
            picked = {key: tf.gather(value, batch) for key, value in of_small.items()}
            targets = {"sentence": sentence, "tokens": tf.cast(tokens, tf.float32), "alike": same}
            return self._of_small.pad(picked, rows.buckets), targets

        spec = (
            tf.TensorSpec([None], tf.int64),
            tf.TensorSpec([None, sentences.shape[1]], tf.float32),
            tf.TensorSpec([None, None, self._width], tf.bfloat16),
            tf.TensorSpec([None], tf.float32),
        )
        dataset = tensorflow_data.with_its_functions(
            lambda: tf.data.Dataset.from_generator(read, output_signature=spec)
        )
        dataset = dataset.apply(tf.data.experimental.assert_cardinality(len(rows)))
        return batching.ready(dataset.map(join, batching.MAP_THREADS))

    def _sentences(self, texts: list[str], encoded: _Rows) -> np.ndarray:
        """The teacher's vector of each text `[n, dimension]`, from disk where it is known."""
        store = VectorStore(names.key("pooled", self._key), self._large.dimension)
        vectors = budget.array((len(texts), store.width))

        def compute(wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            for rows, made in self._run("pooled_output", encoded, wanted):
                vectors[rows] = made
                steps.add(len(rows))
            return vectors[wanted], np.zeros(len(wanted), np.int32)

        lost = np.empty(len(texts), np.int32)
        with progress.part("of texts") as steps:
            store.complete(names.digests([texts]), vectors, lost, compute, steps.expect)
        return vectors

    def _tokens(
        self, texts: list[str], encoded: _Rows, lengths: np.ndarray
    ) -> Callable[[np.ndarray, int], np.ndarray]:
        """The teacher's token vectors of some rows: read from disk if they fit, or computed."""
        if not self._width:
            return lambda rows, length: np.zeros((len(rows), length, 0), tf.bfloat16.as_numpy_dtype)
        layers = ",".join(map(str, self._layers))
        name = names.key("tokens", self._key, layers, names.digests([texts]).tobytes())
        store = TokenStore(name, lengths, self._width)
        with progress.part("of tokens"):
            filled = store.fill(lambda rows: self._run("tokens", encoded, rows))
        if filled:
            return store.padded
        answer = self._answers("tokens")

        def compute(rows: np.ndarray, length: int) -> np.ndarray:
            picked = {key: tf.gather(value, rows) for key, value in encoded.items()}
            made: np.ndarray = answer(self._of_large.pad(picked, np.array([length]))).numpy()
            return made

        return compute

    def _run(
        self, what: str, encoded: _Rows, rows: np.ndarray
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        answer = self._answers(what)
        picked = {key: tf.gather(value, rows) for key, value in encoded.items()}
        lengths = picked["input_word_ids"].row_lengths().numpy()
        batches = batching.LengthBatches.in_order(lengths, _ROWS)

        def run(batch: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            some = {key: tf.gather(value, batch) for key, value in picked.items()}
            return rows[batch], answer(self._of_large.pad(some, batches.buckets)).numpy()

        order = list(batches)
        # So many at a time, because all at once would run far ahead of what is read.
        for start in range(0, len(order), _AHEAD):
            some = order[start : start + _AHEAD]
            yield from threads.side_by_side(run, some, batching.STREAMS)

    def _answers(self, what: str) -> Callable[[Features], tf.Tensor]:
        """The teacher's text vectors, or its wanted layers' token vectors side by side."""

        def answer(inputs: Features) -> tf.Tensor:
            given = self._large(inputs, training=False)
            if what == "pooled_output":
                return given[what]
            layers = [given["encoder_outputs"][index] for index in self._layers]
            return tf.cast(tf.concat(layers, axis=-1), tf.bfloat16)

        spec = {key: tf.TensorSpec([None, None], tf.int32) for key in BERT_INPUTS}
        chosen = runtime.choose_precision("auto", self._large.dimension)
        with runtime.precision(chosen), precision_choice.without_gradients():
            traced = tf.function(answer, autograph=False).get_concrete_function(spec)

        def ask(inputs: Features) -> tf.Tensor:
            with runtime.precision(chosen):  # of whichever thread asks
                return traced(inputs)

        return ask


def _numbers_in_teacher(large: Encoder, small: Encoder) -> np.ndarray:
    """For each of the student's word pieces its id in the teacher's vocabulary."""
    numbers = {piece: number for number, piece in enumerate(Anatomy.of(large).pieces)}
    own = Anatomy.of(small).pieces
    unknown = [piece for piece in own if piece not in numbers]
    if unknown:
        raise InputError(
            "the student's word pieces must be the teacher's, or some of them; make it with "
            f"`make_student`. Received: {unknown[0]!r}, which the teacher hasn't"
        )
    return np.array([numbers[piece] for piece in own])


def _alike(of_large: _Rows, of_small: _Rows, numbers: np.ndarray) -> np.ndarray:
    """1.0 for each text that both split into the same word pieces, 0.0 for others `[n]`."""
    ids = [encoded["input_word_ids"] for encoded in (of_large, of_small)]
    lengths = [rows.row_lengths().numpy() for rows in ids]
    same: np.ndarray = lengths[0] == lengths[1]
    kept = [tf.ragged.boolean_mask(rows, same) for rows in ids]
    differ = kept[0].flat_values.numpy() != numbers[kept[1].flat_values.numpy()]
    rows = np.flatnonzero(same)[kept[0].value_rowids().numpy()]
    same[rows[differ]] = False
    return same.astype(np.float32)
