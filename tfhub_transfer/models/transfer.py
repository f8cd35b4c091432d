"""The Keras model of encoder and task: ids in, scores out, with text and answers beside."""

import types
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfhub_transfer.data import Examples, Stream, weighing
from tfhub_transfer.encoders.encoder import Encoder
from tfhub_transfer.encoders.preprocessing import TextPreprocessor, Truncation
from tfhub_transfer.errors import InputError
from tfhub_transfer.heads import layers
from tfhub_transfer.heads.settings import Head
from tfhub_transfer.incoming import choices, usual
from tfhub_transfer.models import answers, batches, last_layer, showing, stored_features, wiring
from tfhub_transfer.models.forward import (
    ANSWER,
    EVALUATION_BATCH,
    FEATURES,
    SCOPED,
    VECTOR,
    Forward,
)
from tfhub_transfer.models.one_file import Config
from tfhub_transfer.models.scope import Scope
from tfhub_transfer.models.seen import Seen
from tfhub_transfer.models.shown_batches import ShownBatch
from tfhub_transfer.tasks import Task, layouts
from tfhub_transfer.tasks.layouts import Ids, Layout, Rows


def require_model(value: object) -> None:
    """Raises `InputError` unless a value is a model of this package.

    Args:
        value: What was given for one.
    """
    if not isinstance(getattr(value, "task", None), Task):
        raise InputError(
            "expected a model, as `tt.load_model` or `tt.build_model` gives it. "
            f"Received: {type(value).__name__}"
        )


@keras.saving.register_keras_serializable(package="tfhub_transfer")
class TransferModel(wiring.InParts):
    """A functional Keras model of an encoder and a task head, with text in and answers out beside.

    `fit`, `evaluate` and `predict` are given ids, made by `preprocess`; no string enters the graph.
    Make one with `build_model`.

    Attributes:
        encoder: The `Encoder` layer.
        task: The `Task`, which knows the labels.
        layout: How the task's texts become rows for the encoder, and scores of rows answers.
        preprocessor: The `TextPreprocessor`, which turns text into ids.
        truncation: What the last call that read texts cut off, or `None`.
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
        outputs = task.outputs(layout.hidden(features), head)
        super().__init__(inputs=inputs, outputs=outputs, name="transfer_model")
        self.features = features
        self._wiring = wiring.Wiring(encoded, outputs)
        self._remember(encoder, head, layout, preprocessor)

    def _remember(
        self, encoder: Encoder, head: Head, layout: Layout, preprocessor: TextPreprocessor | None
    ) -> None:
        self.encoder, self.head, self._layout = encoder, head, layout
        self.unread_groups = encoder.unread
        if preprocessor is not None:
            self._adopt(preprocessor)
        self.truncation: Truncation | None = None
        self.padding: float | None = None
        self.training_examples: Examples | None = None
        self.seen_texts = Seen()
        self.history_: dict[str, list[object]] = {}
        made = {ANSWER: self.answer, SCOPED: self.scoped_answer, VECTOR: self.vector}
        self.forward = Forward(encoder, layout, {**made, FEATURES: self._features})
        self.scope = None

    @property
    def task(self) -> Any:
        """What the model is trained to answer, which knows the labels."""
        return self._layout.task

    @task.setter
    def task(self, task: object) -> None:
        """Puts another in its place, of the same head."""
        self._layout.task = task

    @property
    def scope(self) -> Scope | None:
        """What tells how far from the training's texts others lie, if `learn_scope` was called."""
        return self._scope

    @scope.setter
    def scope(self, scope: Scope | None) -> None:
        """Puts another in its place, which answers are given with from now on."""
        self._scope = scope
        self.forward.forget(SCOPED)

    @property
    def parts(self) -> Mapping[str, "TransferModel"]:
        """The models that it consists of, by name of the task: itself, unless it has several."""
        # No dictionary, in which Keras would look for what to save, and find the model again.
        return types.MappingProxyType({"": self})

    @property
    def has_fixed_features(self) -> bool:
        """Whether what the head starts from depends on the encoder alone, so can be stored."""
        return self.layout.has_fixed_features

    # Text to ids -----------------------------------------------------------------------------

    def preprocess(
        self,
        examples: Examples | Rows | Stream,
        batch_size: int = usual.BATCH_SIZE,
        shuffle: bool = True,
        seed: int = 0,
        static_batches: bool | str = "auto",
        shard: tuple[int, int] | None = None,
    ) -> tf.data.Dataset:
        """Turns examples into batches for `fit` and `evaluate`.

        Rows of like length share a batch, so little is padded, and every pass shuffles anew.

        Args:
            examples: `Examples`, or what `cut` gave, or a `Stream` for files larger than memory.
            batch_size: Rows in a batch of average length; short rows come in larger batches,
                long ones in smaller.
            shuffle: Whether to shuffle; if not, batches keep the order of the examples.
            seed: Seed of the shuffling.
            static_batches: Whether each batch has exactly `batch_size` rows, for workers in step.
                Rows of weight 0 fill up the last; losses and metrics of an epoch
                of `fit` or `evaluate` are those of the rows alone, and so are metrics of one batch
                (`train_on_batch`), whose loss is weighed for the epoch. `"auto"` fills up batches
                where the model is compiled by XLA, which compiles each shape anew: they have at
                most 4 lengths, each with a number of rows of its own, and a batch's loss is
                the mean over its rows. Rows without labels, which `predict` answers one by one,
                fill up nothing. `False` leaves all as they are without XLA.
            shard: `(index, count)`: every `count`-th example from `index` on, for one of several
                workers with a loop of their own (the strategy `"multiworker"` wants all rows in
                each process); weights stay relative to all rows. With `static_batches` all of
                them have as many batches, and a row weighs alike in the mean of their gradients:
                the mean of their losses is that of all rows.

        Returns:
            A dataset of `(inputs, labels)`, with weights behind if rows have some, as static ones
            do, or of `inputs` alone if there are no labels.

        Raises:
            InputError: If labels or columns don't suit the task, there are no rows, or a share has
                none.
        """
        shuffle = choices.flag("shuffle", shuffle)
        how = seed if shuffle else None, shard, static_batches, self.replicas_of_shapes
        order = batches.Order.of(batch_size, *how)
        if isinstance(examples, Stream):
            return batches.of_stream(examples, self.layout, order)
        taught = weighing.taught(examples) if shuffle else examples
        rows, step = order.rows(taught, self.cut, self.layout.objective.units)
        ids = self.layout.to_ids(rows)
        self.truncation = Truncation.count(ids.lost)
        if shuffle:
            self.layout.learn(examples)  # what is shuffled is to be trained on
        dataset, padding = batches.of_ids(ids, self.layout, order, step)
        self.padding = padding if shuffle else self.padding
        return dataset

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

    def show_batch(
        self,
        examples: Examples | Stream,
        rows: int = usual.SHOWN_ROWS,
        batch_size: int = usual.BATCH_SIZE,
        shuffle: bool = True,
        seed: int = 0,
    ) -> ShownBatch:
        """As `tt.data.show_batch`: the first batch of `preprocess`, to be looked at.

        Args:
            examples: As for `preprocess`.
            rows: How many rows of it are shown.
            batch_size: As for `preprocess`.
            shuffle: Likewise.
            seed: Likewise.

        Raises:
            InputError: As `preprocess`, or if a number is out of range.
        """
        return showing.first_batch(self, examples, rows, batch_size, shuffle, seed)

    # Answers ---------------------------------------------------------------------------------

    def predict_scores(
        self,
        examples: Examples | Sequence[object],
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
        return answers.scores(self, examples, batch_size, allow_nan)

    def predict_text(self, texts: Iterable[object]) -> list[answers.Answer]:
        """One readable answer for each text, or for each pair `(a, b)`.

        Args:
            texts: Strings or pairs, in a list, array, series or iterator; or a table with the
                columns of an export's signature: `text`; `text_a`, `text_b`; `question`, `context`;
                `document`. For tags also lists of words, `tokens`, answered as they are, with
                places in the words joined by spaces.

        Raises:
            InputError: If the texts don't suit the task, or answers are NaN.

        Returns:
            For classification `{"label", "scores"}`, for ordered classes their `rank` too, for
            multi-label `{"labels", "scores"}`, for regression and similarity `{"score"}`, for tags
            of words `{"words", "entities"}`, for questions `{"answer", "score", "start", "end",
            "margin"}`, for summaries `{"summary", "sentences"}`.
        """
        return answers.readable(self, texts)

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
        return answers.encoded(self, texts, batch_size, normalize)

    def compute_features(
        self, examples: Examples | Rows, batch_size: int = EVALUATION_BATCH, verbose: bool = False
    ) -> np.ndarray:
        """What the head starts from, for each example in order: float32 `[n, features]`.

        Each text passes through the encoder once: what was computed is kept on disk for the next
        head, run or fold (see `storage`). What is larger than `budget.MOST_MEMORY` comes as a
        memory-mapped array.
        """
        found = stored_features.compute(self, self.cut(examples), batch_size, verbose)
        features, self.truncation = found
        return features

    def answer(self, inputs: dict[str, tf.Tensor]) -> tf.Tensor:
        """Encoder inputs to scores, as a graph for `predict_scores` and exports."""
        return self.layout.respond(self, inputs)

    def scoped_answer(self, inputs: dict[str, tf.Tensor]) -> tf.Tensor:
        """As `answer`, with the number of the `scope`, where there is one, behind the scores."""
        if self.scope is None:
            return self.answer(inputs)
        both = keras.Model(self.inputs, [self.outputs[0], self.features])
        scores, features = both(inputs, training=False)
        number = tf.cast(self.scope.score(features), scores.dtype)
        return tf.concat([scores, number[:, None]], axis=-1)

    def vector(self, inputs: dict[str, tf.Tensor]) -> tf.Tensor:
        """Encoder inputs to the encoder's vectors, as a graph for `encode_text` and exports."""
        return self.layout.vectors(layers.sentence_vector(self.encoder, inputs, self.head))

    def _features(self, inputs: dict[str, tf.Tensor]) -> tf.Tensor:
        return keras.Model(self.inputs, self.features)(inputs, training=False)

    # Saving ----------------------------------------------------------------------------------

    def get_config(self) -> Config:
        last_layer.forget_void(self)
        serialize = keras.saving.serialize_keras_object
        return {
            "encoder": serialize(self.encoder),
            "task": serialize(self.task),
            "head": self.head.__dict__,
        }

    @classmethod
    def from_config(cls, config: Config, custom_objects: object = None) -> "TransferModel":
        deserialize = keras.saving.deserialize_keras_object
        encoder, task = deserialize(config["encoder"]), deserialize(config["task"])
        # The preprocessor comes out of the file's assets later (`load_assets`).
        return cls(encoder, task, Head(**config["head"]), None)
