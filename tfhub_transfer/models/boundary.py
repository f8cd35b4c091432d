"""The moving boundary: train the top layers from stored outputs of the frozen ones below.

What lies below the lowest thawed layer is a fixed function of the text, so it is computed once for
each text and not once for each step. Its token vectors lie on disk in bfloat16 and the part of the
graph above them is all that a step runs. The frozen part runs without dropout, as a frozen function
should; in a training step through the whole encoder it would run with it.
"""

import functools
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TypeAlias

import keras
import numpy as np
import tensorflow as tf

from tfhub_transfer import progress, runtime
from tfhub_transfer.data import batching
from tfhub_transfer.data.passes import Epochs
from tfhub_transfer.encoders.calls import boundary_input
from tfhub_transfer.encoders.encoder import Encoder
from tfhub_transfer.encoders.loading import BERT_INPUTS
from tfhub_transfer.heads import layers
from tfhub_transfer.models import batches, counting, filling
from tfhub_transfer.runtime import precision_choice
from tfhub_transfer.storage import budget, names
from tfhub_transfer.storage.stores import TokenStore
from tfhub_transfer.tasks import JointLoss
from tfhub_transfer.tasks.layouts import Ids, Layout
from tfhub_transfer.texts.joining import WORD_STARTS

_ROWS = 64
# The scores of a row, `[units, ...]` or `[...]`; of several tasks by name.
Scores: TypeAlias = "np.ndarray | dict[str, np.ndarray]"


# The ids of texts by name, `[texts, tokens]`.
Columns: TypeAlias = "dict[str, tf.RaggedTensor]"


class Above(counting.CountsRows, JointLoss):
    """Layers of a model, those above a boundary or all, as another model that trains."""


class Boundary:
    """Stored token vectors at one layer's end, and batches of them for the layers above.

    Args:
        encoder: The encoder, frozen up to that layer at least.
        layout: What turns the texts of rows into ids.
        layer: The index in `encoder_outputs`.
    """

    def __init__(self, encoder: Encoder, layout: Layout, layer: int) -> None:
        self.encoder, self.layout, self.layer = encoder, layout, layer
        self.input_name = boundary_input(layer)
        precision = runtime.choose_precision("auto", encoder.dimension)
        self.key = names.key(encoder.fingerprint(), layout.preprocessor.fingerprint(), precision)

    def store(self, ids: Ids) -> "StoredTokens | None":
        """Passes rows through the frozen layers; `None`, with a warning, if the disk lacks room.

        Args:
            ids: The rows.
        """
        tokens = self.tokens(singles(ids), ids.digest)
        return None if tokens is None else StoredTokens(self, ids, tokens)

    def tokens(self, single: Columns, digest: bytes) -> TokenStore | None:
        """The token vectors of texts, as of `store`.

        Args:
            single: Their ids, by name.
            digest: What tells them from others.
        """
        lengths = single["input_word_ids"].row_lengths().numpy()
        name = names.key(self.key, str(self.layer), digest)
        tokens = TokenStore(name, lengths, self.encoder.token_dimension)
        with progress.part() as steps:
            filled = tokens.fill(lambda rows: self._run(single, lengths, rows, steps))
        if not filled:
            warnings.warn(
                f"every layer runs in every step: {tokens.size / 1e9:.1f} GB for the outputs of "
                f"the frozen ones are more than {budget.SIZE_VARIABLE} or the disk allows",
                stacklevel=2,
            )
            return None
        return tokens

    def _run(
        self,
        encoded: Columns,
        lengths: np.ndarray,
        wanted: np.ndarray,
        steps: progress.Counter,
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Wanted rows and their padded token vectors, batch by batch."""
        below = tf.function(lambda inputs: self.encoder.below(self.layer, inputs), autograph=False)
        below = below.get_concrete_function(
            {key: tf.TensorSpec([None, None], tf.int32) for key in BERT_INPUTS}
        )
        by_length = batching.LengthBatches.in_order(lengths[wanted], _ROWS)
        steps.expect(len(by_length))
        for places in by_length:
            rows = wanted[places]
            picked = {key: tf.gather(value, rows) for key, value in encoded.items()}
            padded = self.layout.pad(picked, by_length.buckets)
            yield rows, below({key: padded[key] for key in BERT_INPUTS}).numpy()
            steps.add()

    def model_above(
        self,
        encoded: layers.Encoded,
        inputs: Mapping[str, keras.KerasTensor],
        outputs: keras.KerasTensor | dict[str, keras.KerasTensor],
    ) -> keras.Model:
        """The layers above the boundary as a model of their own, sharing every weight.

        Args:
            encoded: What the encoder gives inside of the whole model.
            inputs: The whole model's inputs by name.
            outputs: The whole model's outputs.
        """
        names = list(inputs)
        rest = keras.Model([*tensors(encoded), *inputs.values()], outputs)
        shapes = {name: tensor.shape[1:] for name, tensor in inputs.items()}
        given = {n: keras.Input(shapes[n], dtype="int32", name=n) for n in names}
        whole = (*shapes[BERT_INPUTS[0]], self.encoder.token_dimension)
        given[self.input_name] = keras.Input(whole, name=self.input_name)
        read = (*BERT_INPUTS, self.input_name)
        above = self.encoder({name: given[name] for name in read})
        return Above(given, rest([*tensors(above), *(given[n] for n in names)]))


def singles(ids: Ids) -> Columns:
    """The ids of each text of rows; in towers each of a row's has vectors of its own."""
    return {k: v if v.ragged_rank == 1 else v.values for k, v in ids.columns.items()}


def tensors(encoded: layers.Encoded) -> list[keras.KerasTensor]:
    """The tensors of what an encoder gives that heads can start from, in a fixed order."""
    if isinstance(encoded, Mapping):  # lists in it are of all layers
        return [encoded[key] for key in sorted(encoded) if not isinstance(encoded[key], list)]
    return [tensor for each in encoded for tensor in tensors(each)]


class JoinedTokens:
    """The token vectors of texts that lie in several stores, as `TokenStore` gives them.

    Args:
        stores: The stores.
        files: Which of them has each text `[n]`.
        places: As which of its own `[n]`.
    """

    def __init__(self, stores: Sequence[TokenStore], files: np.ndarray, places: np.ndarray) -> None:
        self._stores, self._files, self._places = stores, files, places
        self.width = stores[0].width
        self.lengths = np.empty(len(files), np.int64)
        for number, store in enumerate(stores):
            here = files == number
            self.lengths[here] = store.lengths[places[here]]

    def padded(self, rows: np.ndarray, length: int) -> np.ndarray:
        """Vectors bfloat16 `[b, length, width]` of these texts, with zeros after each one's end."""
        rows = np.asarray(rows)
        found = None
        for number, store in enumerate(self._stores):
            here = self._files[rows] == number
            if here.any():
                given = store.padded(self._places[rows[here]], length)
                if found is None:
                    found = np.zeros((len(rows), *given.shape[1:]), given.dtype)
                found[here] = given
        assert found is not None  # of a batch without rows nobody asks
        return found


class StoredTokens:
    """The token vectors of rows, for `fit`."""

    def __init__(self, boundary: Boundary, ids: Ids, tokens: TokenStore | JoinedTokens) -> None:
        self._boundary, self._ids, self._tokens = boundary, ids, tokens

    def batches(
        self, batch_size: int, seed: int = 0, replicas: int | None = None
    ) -> tuple[tf.data.Dataset, float]:
        """Shuffled batches of like length for `Boundary.model_above`, and the share of padding.

        Args:
            batch_size: Rows in a batch of average length.
            seed: Seed of the shuffling.
            replicas: On how many what is compiled for each shape runs; `None` if nothing is.

        Returns:
            A dataset of `(inputs, labels)`, and the share of its tokens that are padding. Where
            shapes are few, of `(inputs, labels, weights)`.
        """
        order = batches.Order(batch_size, seed, few=replicas is not None, multiple=replicas or 1)
        ids, layout = self._ids, self._boundary.layout
        task = layout.task
        numbers_of, rows = order.by_length(self._lengths())

        def read(numbers: Iterator[np.ndarray]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
            for batch in numbers:
                known = filling.copied(batch)
                yield batch, self._vectors(known, self._padded(known, rows.buckets))

        def join(batch: tf.Tensor, vectors: tf.Tensor) -> tuple:
            real = None
            if order.few:
                batch, real = filling.there(batch)
            inputs = self._inputs(batch, vectors, rows.buckets)
            length = functools.partial(layout.labels_length, inputs=inputs, lengths=rows.buckets)
            wanted = batching.pick(ids.labels, batch, length)
            if real is not None:
                wanted = batches.filled(ids.labels, wanted, task, real)
            return layout.taught(inputs, wanted[0]), *wanted

        spec = (
            tf.TensorSpec([None], tf.int64),
            # Half the bytes of float32, and accuracy as with them (`benchmarks/README.md`).
            tf.TensorSpec([None, *self._inner(), None, self._tokens.width], tf.bfloat16),
        )
        dataset = Epochs(numbers_of, len(numbers_of)).dataset(
            spec, lambda given: batching.ready(given.map(join, batching.MAP_THREADS)), read
        )
        filling.note(dataset, order.filled(task))
        return dataset, rows.padding_filled if order.few else rows.padding

    def answering(self, model: keras.Model) -> Callable[[np.ndarray], list[Scores]]:
        """What asks a `Boundary.model_above` for the scores of rows, each cut to its units.

        Args:
            model: The model, whose weights are those of the moment when it is asked.

        Returns:
            A function of row numbers, which gives the scores of each row in their order.
        """
        # Batches come in up to 32 lengths, which one graph takes: it is traced for any.
        spec = {tensor.name: tf.TensorSpec(tensor.shape, tensor.dtype) for tensor in model.inputs}
        run = tf.function(
            lambda given: model(given, training=False), input_signature=[spec], autograph=False
        )
        starts = self._ids.columns.get(WORD_STARTS)
        units = None if starts is None else starts.row_lengths().numpy()

        def ask(wanted: np.ndarray) -> list[Scores]:
            by_length = batching.LengthBatches.in_order(self._lengths()[wanted], _ROWS)
            found: dict[int, Scores] = {}
            for places in by_length:
                rows = wanted[places]
                vectors = self._vectors(rows, self._padded(rows, by_length.buckets))
                given = self._inputs(tf.constant(rows), tf.constant(vectors), by_length.buckets)
                with precision_choice.without_gradients():  # it is traced when first called
                    scores = run({name: given[name] for name in spec})
                scores = tf.nest.map_structure(lambda each: each.numpy(), scores)
                for at, (place, row) in enumerate(zip(places, rows)):
                    found[place] = _of_row(scores, at, None if units is None else units[row])
            return [found[place] for place in range(len(wanted))]

        return ask

    def _single(self) -> np.ndarray:
        """The numbers of each row's texts."""
        ids = self._ids.columns["input_word_ids"]
        return np.arange(len(self._tokens.lengths)).reshape(int(ids.nrows()), -1)

    def _inner(self) -> tuple[int, ...]:
        """The axes between rows and tokens."""
        ids = self._ids.columns["input_word_ids"]
        return () if ids.ragged_rank == 1 else self._single().shape[1:]

    def _lengths(self) -> np.ndarray:
        """The length of each row's longest text."""
        return self._ids.with_beside(self._tokens.lengths[self._single()].max(axis=1))

    def _padded(self, rows: np.ndarray, lengths: np.ndarray) -> int:
        """What the ids of these rows are padded to, of these lengths."""
        # Of these rows alone: it is asked for each batch.
        longest = self._tokens.lengths[self._single()[rows]].max()
        return int(lengths[np.searchsorted(lengths, longest)])

    def _vectors(self, rows: np.ndarray, length: int) -> np.ndarray:
        found = self._tokens.padded(self._single()[rows].ravel(), length)
        return found.reshape(len(rows), *self._inner(), *found.shape[1:])

    def _inputs(
        self, rows: tf.Tensor, vectors: tf.Tensor, lengths: np.ndarray
    ) -> dict[str, tf.Tensor]:
        """What `Boundary.model_above` reads of some rows."""
        picked = {key: tf.gather(value, rows) for key, value in self._ids.columns.items()}
        inputs = self._boundary.layout.pad(picked, lengths)
        return {**inputs, self._boundary.input_name: tf.cast(vectors, tf.float32)}


def _of_row(scores: Scores, at: int, units: int | None) -> Scores:
    """The scores of one row of a batch, or of several tasks by name, cut to its units."""
    return tf.nest.map_structure(lambda each: each[at][:units], scores)
