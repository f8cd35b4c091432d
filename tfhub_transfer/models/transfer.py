"""The Keras model of encoder and task: ids in, scores out, with text and answers beside."""

import contextlib
import dataclasses
import functools
import json
import math
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfhub_transfer import progress, runtime
from tfhub_transfer.data import Examples, Stream, streamed, text_forms, weighing
from tfhub_transfer.data.batching import (
    INFERENCE_BUCKETS,
    MAP_THREADS,
    STREAMS,
    InOrder,
    LengthBatches,
    in_turn,
    longest,
    pick,
    ready,
    require_order,
)
from tfhub_transfer.encoders import hub_preprocessors
from tfhub_transfer.encoders.encoder import Encoder
from tfhub_transfer.encoders.preprocessing import TextPreprocessor, Truncation, load_preprocessor
from tfhub_transfer.errors import InputError
from tfhub_transfer.heads import layers
from tfhub_transfer.heads.settings import Head
from tfhub_transfer.incoming import ranges
from tfhub_transfer.models import compiling, fitting, resuming
from tfhub_transfer.models.boundary import Boundary, tensors
from tfhub_transfer.models.seen import Seen
from tfhub_transfer.runtime import probes
from tfhub_transfer.storage import budget, names, opening, saving
from tfhub_transfer.storage.stores import VectorStore
from tfhub_transfer.tasks import Task, layouts
from tfhub_transfer.tasks.layouts import Ids, Layout, Rows
from tfhub_transfer.texts.joining import WORD_STARTS

EVALUATION_BATCH = 128


@keras.saving.register_keras_serializable(package="tfhub_transfer")
class TransferModel(resuming.Resumable):
    """A functional Keras model of an encoder and a task head, with text in and answers out beside.

    What it is given in `fit`, `evaluate` and `predict` are ids, made by `preprocess`; no string
    enters the graph. Make one with `build_model`.

    Attributes:
        encoder: The `Encoder` layer.
        task: The `Task`, which knows the labels.
        layout: How the task's texts become rows for the encoder (see `tasks.layouts.Layout`).
        preprocessor: The `TextPreprocessor`, which turns text into ids.
        truncation: What the last call of `preprocess` cut off, or `None`.
        padding: The share of padding among the tokens of the last shuffled call, or `None`.
        training_examples: The examples that `fine_tune` trained on, or `None`.
        seen_texts: Digests of the texts that `fine_tune` saw, saved with the model.
        history_: Curves of `fine_tune`, a dictionary of lists, one value an epoch.
    """

    def __init__(
        self, encoder: Encoder, task: Task, head: Head, preprocessor: TextPreprocessor | None
    ) -> None:
        layout = layouts.find(task, head)
        encoder.mark_unread()  # its head says what it doesn't read
        inputs = layout.inputs(encoder)
        encoded = layout.encode(encoder, inputs)
        features = layout.features(encoder, encoded, inputs)
        hidden = layers.hidden(features, head) if task.has_head else features
        outputs = task.outputs(hidden, head)
        super().__init__(inputs=inputs, outputs=outputs, name="transfer_model")
        self.features = features
        self._wiring = Wiring(encoded, outputs)
        self._remember(encoder, task, head, layout, preprocessor)

    def _remember(
        self, encoder: Encoder, task: Any, head: Head, layout: Layout, preprocessor: Any
    ) -> None:
        self._layout = layout
        self.encoder, self.task, self.head = encoder, task, head
        self.unread_groups = encoder.unread
        if preprocessor is not None:
            self._adopt(preprocessor)
        self.truncation: Truncation | None = None
        self.padding: float | None = None
        self.training_examples: Examples | None = None
        self.seen_texts = Seen()
        self.history_: dict[str, list[Any]] = {}
        self._functions: dict[str, Any] = {}
        self._traced_at: str | None = None

    # Text to ids -----------------------------------------------------------------------------

    def preprocess(
        self,
        examples: Examples | Rows | Stream,
        batch_size: int = 32,
        shuffle: bool = True,
        seed: int = 0,
    ) -> tf.data.Dataset:
        """Turns examples into batches for `fit` and `evaluate`.

        Rows of like length share a batch, so little is padded, and every pass shuffles anew.

        Args:
            examples: `Examples`, or what `cut` gave, or a `Stream` for files larger than memory.
            batch_size: Rows in a batch of average length; short rows come in larger batches, long
                ones in smaller.
            shuffle: Whether to shuffle; if not, batches keep the order of the examples.
            seed: Seed of the shuffling.

        Returns:
            A dataset of `(inputs, labels)`, with the weights of rows behind if the examples have
            some, or of `inputs` alone if there are no labels.

        Raises:
            InputError: If a label is unknown to the task, or the columns don't suit it.
        """
        batch_size = ranges.whole_number("batch_size", batch_size, *ranges.BATCH_SIZE)
        if isinstance(examples, Stream):
            return self._preprocess_stream(examples, batch_size, seed if shuffle else None)
        ids = self.to_ids(weighing.taught(examples) if shuffle else examples)
        self.truncation = Truncation.count(ids.lost)
        if not shuffle:
            return self._batches(ids, InOrder(len(ids.lost), batch_size), None)
        self.layout.learn(examples)  # what is shuffled is to be trained on
        rows = LengthBatches(ids.lengths, batch_size, seed=seed)
        self.padding = rows.padding
        return in_turn(self._batches(ids, rows, rows.buckets), True, rows)

    def cut(self, examples: Examples | Rows) -> Rows:
        """Examples in rows that fit the encoder; a text that needs no cutting is one row.

        Raises:
            InputError: If the columns or labels don't suit the task.
        """
        if isinstance(examples, Rows):
            return examples
        self.layout.check(examples)
        cut = self.layout.cut(examples)
        return cut if isinstance(cut, dict) else weighing.spread(cut, examples)

    def to_ids(self, examples: Examples | Rows) -> Ids:
        """Examples, cut into rows, as ids and labels that are not yet padded."""
        return self.layout.to_ids(self.cut(examples))

    def count_truncation(self, examples: Examples | Rows) -> Truncation:
        """What the model's `sequence_length` cuts off these examples, however many rows each is."""
        rows = self.cut(examples)
        lost = self.layout.encode_and_count(rows.examples.texts)[1]
        return Truncation.count(self.layout.lost(rows, lost))

    def _batches(self, ids: Ids, rows: Any, lengths: np.ndarray | None) -> tf.data.Dataset:
        def gather(indices: tf.Tensor) -> Any:
            picked = {key: tf.gather(value, indices) for key, value in ids.columns.items()}
            inputs = self.layout.pad(picked, lengths)
            if ids.labels is None:
                return inputs
            length = tf.shape(next(iter(inputs.values())))[1]
            return inputs, *pick(ids.labels, indices, length)

        # Python only hands out row numbers, once a batch; the rest is parallel graph code.
        spec = tf.TensorSpec([None], tf.int64)
        dataset = tf.data.Dataset.from_generator(lambda: iter(rows), output_signature=spec)
        dataset = dataset.apply(tf.data.experimental.assert_cardinality(len(rows)))
        return ready(dataset.map(gather, MAP_THREADS))

    def _preprocess_stream(
        self, stream: Stream, batch_size: int, seed: int | None
    ) -> tf.data.Dataset:
        columns = 2 if self.task.pair else 1
        objective = self.layout.objective
        some = objective.encode([objective.example_label()])
        labels = tf.TensorSpec([None, *some.shape[1:]], some.dtype)
        weights = (tf.TensorSpec([None], tf.float32),) if stream.weight else ()
        spec = ((tf.TensorSpec([None], tf.string),) * columns, labels, *weights)
        chunks = functools.partial(streamed.chunks, stream, objective, self.layout)
        dataset = tf.data.Dataset.from_generator(chunks, output_signature=spec).unbatch()
        if seed is not None:
            dataset = dataset.shuffle(10_000, seed=seed)
        dataset = dataset.batch(batch_size)
        batches = math.ceil(len(stream) / batch_size)
        dataset = dataset.apply(tf.data.experimental.assert_cardinality(batches))
        dataset = dataset.map(lambda texts, *y: (self.layout.batch(*texts), *y), MAP_THREADS)
        return in_turn(ready(dataset), seed is not None)

    @property
    def layout(self) -> Layout:
        """How the task's texts become rows for the encoder, and scores of rows answers."""
        return self._layout

    @property
    def task(self) -> Any:
        """What the model is trained to answer, which knows the labels."""
        return self._layout.task

    @task.setter
    def task(self, task: Any) -> None:
        """Puts another in its place, of the same head."""
        self._layout.task = task

    @property
    def preprocessor(self) -> TextPreprocessor:
        """What turns text into ids."""
        return self._layout.preprocessor

    # Answers ---------------------------------------------------------------------------------

    def predict_scores(
        self,
        examples: Examples | Sequence[Any],
        batch_size: int = EVALUATION_BATCH,
        allow_nan: bool = False,
    ) -> Any:
        """Scores of each text, in the order given.

        Args:
            examples: `Examples`, or as for `predict_text`.
            batch_size: Rows in a batch; rows are sorted by length, so little is padded.
            allow_nan: Whether scores may be NaN, as after a training that diverged.

        Raises:
            InputError: If the columns don't suit the task, or scores are NaN.

        Returns:
            Class probabilities float32 `[n, classes]`, or for regression scores `[n]`; for tags of
            words a list of `[words, tags]`.
        """
        if not isinstance(examples, Examples):
            examples = self._asked(examples)
            examples = self.layout.in_units(examples) if len(examples) else examples
        if not len(examples):
            classes = len(self.task.class_names or [])
            shape = (0, classes) if classes else (0,)
            return [] if self.layout.by_unit else np.zeros(shape, np.float32)
        rows = self.cut(examples)
        scores = self._run("answer", rows.examples, batch_size)
        if not allow_nan:
            probes.require_numbers(scores, rows.examples.texts[-1], rows.owners)
        scores = self.layout.join(scores, rows)
        return self.task.scores_of(scores)

    def predict_text(self, texts: Iterable[Any]) -> list[dict[str, Any]]:
        """One readable answer for each text, or for each pair `(a, b)`.

        Args:
            texts: Any number of strings, or of pairs of strings: a list, array, series or iterator;
                or a dictionary, a table (pandas, pyarrow, `datasets`) or a list of dictionaries,
                with texts under the names that an export's signature has: `text`; `text_a` and
                `text_b`; `question` and `context`; `document`. For tags of words also lists of
                words, `tokens`, which are answered as they are, with places in the words joined by
                spaces.

        Raises:
            InputError: If the texts don't suit the task, or answers are NaN.

        Returns:
            For classification `{"label", "scores"}`, for ordered classes their `rank` too, for
            multi-label `{"labels", "scores"}`, for regression and similarity `{"score"}`, for tags
            of words `{"words", "entities"}`, for questions `{"answer", "score", "start", "end",
            "margin"}`, for summaries `{"summary", "sentences"}`.
        """
        columns = self._asked(texts).texts
        if not columns[0]:
            return []
        layout = self.layout
        asked = [tf.constant(column, tf.string) for column in columns]
        rows, state = layout.prepare_again(*asked) if layout.by_unit else layout.prepare(*asked)
        plain = [[text.decode("utf-8") for text in column.numpy()] for column in rows]
        scores = self._run("answer", layouts.of_rows(plain))
        whole = len(plain[0]) == len(columns[0])
        probes.require_numbers(scores, plain[-1], np.arange(len(scores)) if whole else None)
        if not layout.by_unit:
            return layout.readable(layout.answer(state, scores))
        ragged = tf.RaggedTensor.from_row_lengths(np.concatenate(scores), list(map(len, scores)))
        return layout.readable(layout.answer_again(state, ragged))

    def encode_text(
        self, texts: Iterable[str], batch_size: int = EVALUATION_BATCH, normalize: bool = False
    ) -> np.ndarray:
        """The encoder's vector of each single text, float32 `[n, dimension]`.

        Args:
            texts: Single texts, also where the model answers pairs; in forms as for
                `predict_text`.
            batch_size: Rows in a batch.
            normalize: Whether to give vectors of length 1, whose products are cosines. Those of a
                similarity model are, whether asked for or not: they are what it compares.
        """
        columns = text_forms.columns(texts, ["text"])
        if not columns[0]:
            return np.zeros((0, self.encoder.dimension), np.float32)
        vectors = self._run("vector", Examples.from_lists(columns[0]), batch_size)
        return np.asarray(keras.ops.normalize(vectors, axis=-1)) if normalize else vectors

    def _asked(self, texts: Any) -> Examples:
        """Texts in any of their forms as columns, without labels."""
        if isinstance(texts, Examples):
            self.layout.check(texts)
            return texts
        signature = self.layout.signature
        listed = self.layout.by_unit and len(signature) == 1  # a context's places are of one text
        columns = text_forms.columns(texts, signature, listed)
        return layouts.asked(columns)

    @property
    def sequence_length(self) -> int:
        """The most tokens of a text, special tokens counted; longer ones are cut."""
        return self.preprocessor.sequence_length

    @property
    def has_fixed_features(self) -> bool:
        """Whether what the head starts from depends on the encoder alone, so can be stored."""
        return self.layout.has_fixed_features

    def compute_features(
        self, examples: Examples | Rows, batch_size: int = EVALUATION_BATCH, verbose: bool = False
    ) -> np.ndarray:
        """What the head starts from, for each example in order: float32 `[n, features]`.

        Each text passes through the encoder once: what was computed is kept on disk (see
        `storage`) for the next head, the next run, the next fold. What is larger than
        `budget.MOST_MEMORY` comes as a memory-mapped array.
        """
        cut = self.cut(examples).examples
        lost = np.empty(len(cut), "int32")

        def compute(rows: np.ndarray) -> Any:
            with progress.part(worth=len(rows)):
                return self._run_and_count("features", cut[rows], batch_size)

        steps = progress.step("Features", len(cut), always=verbose)
        with steps as counter, runtime.precision("auto", self.encoder.dimension):
            store = VectorStore(self._features_key(), self.features.shape[-1])
            features = budget.array((len(cut), store.width))
            store.complete(names.digests(cut.texts), features, lost, compute, counter.expect)
        self.truncation = Truncation.count(lost)
        return features

    def _features_key(self) -> str:
        head = {"block": self.head.block, "pooling": self.head.pooling, "pair": self.task.pair}
        head |= {"towers": True} if self.head.towers else {}
        return names.key(
            json.dumps(head),
            self.encoder.fingerprint(),
            self.preprocessor.fingerprint(),
            runtime.choose_precision("auto", self.encoder.dimension),
        )

    def head_model(self) -> keras.Model:
        """The head as a model of its own, `[n, features]` to answers, sharing its weights."""
        return runtime.Replicated(self.features, self.outputs, name="head")

    def boundary(self) -> Boundary | None:
        """Where the thawed part of the encoder begins, if the graph can be cut there."""
        if self.encoder.dialect != "bert":
            return None
        layer = self.encoder.boundary()
        return None if layer is None else Boundary(self.encoder, self.layout, layer)

    def model_above(self, boundary: Boundary) -> keras.Model:
        """The part of this model above a boundary, compiled alike, sharing weights and optimizer.

        Training it trains this model. It reads what `Boundary.store` keeps.
        """
        inputs = {tensor.name: tensor for tensor in self.inputs}
        above = boundary.model_above(self._wiring.encoded, inputs, self._wiring.outputs)
        self.compile_alike(above, self.optimizer)
        return above

    def compile_alike(
        self, other: keras.Model, optimizer: Any, steps_at_once: int | None = None
    ) -> None:
        """Compiles another model over the same layers with the loss and metrics of this one.

        Args:
            other: The model.
            optimizer: Its optimizer.
            steps_at_once: Keras' `steps_per_execution`; as this model's own if not given.
        """
        compiling.alike(self, other, optimizer, steps_at_once)

    def above_encoder(self, name: str) -> keras.Model:
        """The head as a model that starts from all that the encoder gives, sharing its weights.

        Args:
            name: The model's name.

        Returns:
            A model of a list: `tensors` of what the encoder gives, then this model's inputs.
        """
        given = [*tensors(self._wiring.encoded), *self.inputs]
        return runtime.Replicated(given, self._wiring.outputs, name=name)

    def _run(self, name: str, examples: Examples, batch_size: int = EVALUATION_BATCH) -> Any:
        answers, lost = self._run_and_count(name, examples, batch_size)
        self.truncation = Truncation.count(lost)
        return answers

    def _run_and_count(self, name: str, examples: Examples, batch_size: int) -> Any:
        """Runs a graph on all rows, sorted by length; answers in the rows' own order."""
        if not len(examples):
            raise InputError("expected at least one text. Received: none")
        # Vectors are those of single texts, whatever the task.
        reader: Any = self.preprocessor if name == "vector" else self.layout
        encoded, lost = reader.encode_and_count(examples.texts)
        batches = LengthBatches(
            longest(encoded), batch_size, shuffle=False, at_most=INFERENCE_BUCKETS
        )
        width = self.encoder.dimension
        with (
            progress.part(f"{name.removesuffix('s')}s", len(batches)) as steps,
            runtime.precision("auto", width) as precision,
            ThreadPoolExecutor(STREAMS) as streams,
        ):
            compiled = self._compiled(name, precision)

            def run(rows: np.ndarray) -> np.ndarray:
                picked = {key: tf.gather(value, rows) for key, value in encoded.items()}
                padded = reader.pad(picked, batches.buckets)
                with runtime.precision(precision):  # of this thread
                    return compiled({key: padded[key] for key in wanted}).numpy()

            order, wanted = list(batches), compiled.structured_input_signature[0][0]
            parts = []
            for part in streams.map(run, order):
                parts.append(part)
                steps.add()
        if name == "answer" and self.layout.by_unit:
            counts = encoded[WORD_STARTS].row_lengths().numpy()
            made = {i: row for rows, part in zip(order, parts) for i, row in zip(rows, part)}
            return [made[i][:count] for i, count in enumerate(counts)], lost
        joined = np.concatenate(parts)
        answers = np.empty_like(joined)
        answers[np.concatenate(order)] = joined
        return answers, lost

    def _compiled(self, name: str, precision: str) -> Any:
        """One graph for each thing that can be asked of the model, whatever the batch's shape."""
        key = f"{name} {precision}"
        if key not in self._functions:
            functions = {"answer": self.answer, "vector": self.vector, "features": self._features}
            make = layouts.encoder_inputs if name == "vector" else self.layout.inputs
            spec = {
                key: tf.TensorSpec(tensor.shape, tensor.dtype)
                for key, tensor in make(self.encoder).items()
            }
            made = tf.function(functions[name], input_signature=[spec], autograph=False)
            # TensorFlow warns of retracing when one line of code is traced for several models.
            self._functions[key] = made.get_concrete_function()
        return self._functions[key]

    def answer(self, inputs: dict[str, tf.Tensor]) -> tf.Tensor:
        """Encoder inputs to scores, as a graph for `predict_scores` and exports."""
        return self(inputs, training=False)

    def vector(self, inputs: dict[str, tf.Tensor]) -> tf.Tensor:
        """Encoder inputs to the encoder's vectors, as a graph for `encode_text` and exports."""
        return self.layout.vectors(layers.sentence_vector(self.encoder, inputs, self.head))

    def _features(self, inputs: dict[str, tf.Tensor]) -> tf.Tensor:
        return keras.Model(self.inputs, self.features)(inputs, training=False)

    # Training --------------------------------------------------------------------------------

    def fit(self, x: Any = None, *args: Any, **kwargs: Any) -> Any:
        """As `keras.Model.fit`; first sizes a warm-up schedule of the optimizer to this run.

        With `initial_epoch` the run is that which began so many epochs ago.
        """
        self.encoder.mark_unread(*self.unread_groups)
        given = fitting.arguments(self, super().fit, x, *args, **kwargs)
        with self._at_precision():
            return super().fit(**given)

    def evaluate(self, *args: Any, **kwargs: Any) -> Any:
        """As `keras.Model.evaluate`, at the precision of `runtime.precision`."""
        fitting.require_ids("evaluate", *args[:1], kwargs.get("x"))
        with self._at_precision():
            return super().evaluate(*args, **kwargs)

    def predict(self, *args: Any, **kwargs: Any) -> Any:
        """As `keras.Model.predict`, at the precision of `runtime.precision`."""
        fitting.require_ids("predict", *args[:1], kwargs.get("x"))
        require_order(*args, **kwargs)
        with self._at_precision():
            return super().predict(*args, **kwargs)

    @contextlib.contextmanager
    def _at_precision(self) -> Iterator[None]:
        of_width = runtime.precision("auto", self.encoder.dimension)
        with of_width as precision, streamed.errors_alone():
            self.trace_for_replicas()
            if self._traced_at not in (None, precision):
                # What was traced keeps the precision that it was traced with.
                self.train_function = self.test_function = self.predict_function = None
            self._traced_at = precision
            yield

    def trace_for_replicas(self) -> None:
        """Traces the encoder's SavedModel, which can't be done inside of a replica."""
        if self.distribute_strategy.num_replicas_in_sync > 1:
            for training in (False, True):
                self.encoder.flat_graph(training)

    # Saving ----------------------------------------------------------------------------------

    def save(self, filepath: str | Path, overwrite: bool = True, **kwargs: Any) -> None:
        """As `keras.Model.save`; the file appears whole, or what was there stays.

        Args:
            filepath: A `.keras` file; its folder is made if need be.
            overwrite: Whether a file that is there is replaced.
            **kwargs: As for Keras.

        Raises:
            InputError: If it is named otherwise, can't be written, or would replace what isn't a
                model.
        """
        path = opening.path_of(filepath)
        saving.check(path, overwrite)
        saving.save(path, functools.partial(super().save, **kwargs))

    def get_config(self) -> dict[str, Any]:
        serialize = keras.saving.serialize_keras_object
        return {
            "encoder": serialize(self.encoder),
            "task": serialize(self.task),
            "head": self.head.__dict__,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> "TransferModel":
        deserialize = keras.saving.deserialize_keras_object
        encoder, task = deserialize(config["encoder"]), deserialize(config["task"])
        return cls(encoder, task, Head(**config["head"]), None)

    def save_assets(self, dir_path: str) -> None:
        """Puts the preprocessor, vocabulary and all, into the `.keras` file; and what was seen."""
        self.preprocessor.write(Path(dir_path) / "preprocessor")
        self.seen_texts.save(Path(dir_path) / "seen")

    def load_assets(self, dir_path: str) -> None:
        """Takes the preprocessor out of the `.keras` file."""
        self.seen_texts = Seen.load(Path(dir_path) / "seen")
        folder = Path(dir_path) / "preprocessor"
        preprocessor = load_preprocessor(folder, self.encoder.trust_code)
        preprocessor.require_fit(self.encoder)
        self._adopt(preprocessor)

    def _adopt(self, preprocessor: TextPreprocessor) -> None:
        self.layout.adopt(preprocessor)
        self.encoder.write_preprocessor = functools.partial(hub_preprocessors.write, preprocessor)


@dataclasses.dataclass(frozen=True)
class Wiring:
    """Parts of the functional graph; in a class, because Keras tracks plain dictionaries."""

    encoded: Any
    outputs: Any
    models: dict[str, Any] = dataclasses.field(default_factory=dict)
