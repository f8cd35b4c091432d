"""A small encoder learns from a large one, by text alone: no labels are needed."""

import dataclasses
import functools
import json
import math
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from tfhub_transfer import progress, runtime
from tfhub_transfer.callbacks.best_weights import FiniteLoss
from tfhub_transfer.encoders import conversion
from tfhub_transfer.encoders.bert_shapes import BertShape
from tfhub_transfer.encoders.encoder import Encoder
from tfhub_transfer.errors import InputError
from tfhub_transfer.incoming import choices, ranges, wording
from tfhub_transfer.optimization import optimizers
from tfhub_transfer.optimization.schedules import WarmUpLinearDecay
from tfhub_transfer.recipes.lessons import Lesson
from tfhub_transfer.recipes.students import Anatomy, bert_weights, teacher_layers
from tfhub_transfer.runtime import full_precision
from tfhub_transfer.runtime.masking import NEVER
from tfhub_transfer.shapes import Features
from tfhub_transfer.storage import atomic, keeping
from tfhub_transfer.training.epochs import EpochsShown, show

# At which the packaged `minilm-l3-384` was taught.
RATE = 4e-4
CURVES_FILE = "distillation.json"
# In the output folder, if training ends early.
INTERRUPTED = "interrupted"
# Of the texts, how many are kept apart to judge by.
VALIDATION, MOST_VALIDATION = 0.02, 1000


@dataclasses.dataclass(frozen=True)
class Losses:
    """What a student is to imitate, with the weight of each part; 0 leaves it out.

    Args:
        sentence: One less the cosine of the texts' vectors, the student's projected to the
            teacher's width if they differ (Reimers and Gurevych 2020,
            https://arxiv.org/abs/2004.09813, with the squared error).
        similarity: Mean squared difference of the cosines between all texts of a batch (Tung and
            Mori 2019, https://arxiv.org/abs/1907.09682), which needs no projection.
        hidden: Mean squared difference of token vectors, layer by layer as `teacher_layers` pairs
            them, by the teacher's variance, the student's through learned projections (Jiao et
            al. 2020, TinyBERT, https://arxiv.org/abs/1909.10351).
        relations: Kullback-Leibler divergence of the relations of queries, keys and values to
            their like in the last layer (Wang et al. 2021, MiniLMv2,
            https://arxiv.org/abs/2012.15828).

    Raises:
        InputError: If a weight is negative, or all are 0.
    """

    sentence: float = 1.0
    similarity: float = 1.0
    hidden: float = 0.0
    relations: float = 0.0

    def __post_init__(self) -> None:
        weights = dataclasses.astuple(self)
        for field in dataclasses.fields(self):
            ranges.real_number(field.name, getattr(self, field.name), 0.0, 1e6, closed=True)
        if not sum(weights):
            raise InputError(
                "the weights of `Losses` must be at least 0, and one of them above. "
                f"Received: {self}"
            )


@dataclasses.dataclass(frozen=True)
class Schedule:
    """How long and how fast a student learns.

    Args:
        epochs: Times that it sees each text.
        batch_size: Texts in a batch, of average length.
        learning_rate: Peak rate; it rises over a tenth of the steps and falls to zero.
        sequence_length: The most tokens of a text; longer ones are cut.
        embeddings: Whether the student's embeddings learn too.
        seed: Seed of the shuffling.
        verbose: As in `Plan`.

    Raises:
        InputError: If a number is none, or out of range.
    """

    epochs: int = 1
    batch_size: int = 64
    learning_rate: float = RATE
    sequence_length: int = 128
    embeddings: bool = True
    seed: int = 0
    verbose: str | int = 2

    def __post_init__(self) -> None:
        whole = {
            "epochs": ranges.EPOCHS,
            "batch_size": ranges.BATCH_SIZE,
            "sequence_length": ranges.SEQUENCE_LENGTH,
            "seed": ranges.SEED,
        }
        found: dict[str, float] = {
            name: ranges.whole_number(name, getattr(self, name), *bounds)
            for name, bounds in whole.items()
        }
        found["learning_rate"] = ranges.real_number(
            "learning_rate", self.learning_rate, *ranges.LEARNING_RATE
        )
        found["embeddings"] = choices.flag("embeddings", self.embeddings)
        for name, value in found.items():
            object.__setattr__(self, name, value)


def distill_encoder(
    teacher: str | Encoder,
    student: str | os.PathLike[str],
    texts: Sequence[str],
    output: str | os.PathLike[str],
    losses: Losses | None = None,
    schedule: Schedule | None = None,
    overwrite: bool = False,
) -> dict[str, list[float]]:
    """Trains a small encoder to give what a large one gives, and writes it.

    The teacher's text vectors are computed once for each text and kept on disk. Its token vectors,
    if a loss asks for them, are kept likewise where the cache has room for them, and computed for
    each batch where it has not. A text that the student's smaller vocabulary splits otherwise
    counts for the text vectors only.

    The curves are written beside the encoder, as `distillation.json`. Whatever ends training early,
    the encoder as trained so far is in `interrupted` in the output folder, or, where that can't be
    written, where a line on standard error says.

    Args:
        teacher: A BERT encoder in TF Hub's form, or what `Encoder` makes one of.
        student: Folder of such an encoder, as `make_student` writes it, with the teacher's
            vocabulary or a part of it.
        texts: The corpus: what the student will have to do with, or anything else.
        output: Folder to write; it must be empty or not exist yet.
        losses: What is to be imitated; `Losses()` if not given.
        schedule: How long and how fast; `Schedule()` if not given.
        overwrite: Replace what is at `output`.

    Returns:
        Curves, one value an epoch: `loss`, each part of it, and the same with `val_` for a
        fiftieth of the texts (1000 at most) that the student didn't see.

    Raises:
        InputError: If an encoder doesn't suit, there are fewer than 100 texts, the output is
            occupied, or, while it trains, the loss is no finite number.

    Example:

    >>> students.make_student("encoders/minilm", "encoders/start", layers=2)
    >>> curves = distill_encoder("encoders/minilm", "encoders/start", texts, "encoders/small")
    """
    losses, schedule = losses or Losses(), schedule or Schedule()
    given = [
        wording.require_text(text, f"row {row} of the texts")
        for row, text in enumerate(wording.listed(texts), start=1)
    ]
    # Each once: a text of both parts would be judged by what was learned by heart.
    rows = list(dict.fromkeys(text for text in given if text.strip()))
    if len(rows) < 100:
        raise InputError(f"distillation takes at least 100 different texts. Received: {len(rows)}")
    large = teacher if isinstance(teacher, Encoder) else Encoder(teacher)
    small = Encoder(str(student))
    with (
        conversion.whole_or_nothing(Path(output), overwrite, teacher, student) as folder,
        runtime.precision("auto", large.dimension),
        progress.shown(show(schedule.verbose) > 0),
    ):
        taught_by = Anatomy.of(large).info.get("name", Path(large.handle).name)
        more = {"name": Path(output).name, "made_by": f"distill_encoder from {taught_by}"}

        def write(other: Path) -> None:
            with atomic.folder(other, overwrite=True) as scratch:
                Anatomy.of(small).write(scratch, more)

        keep = functools.partial(
            keeping.kept, write, Path(output) / INTERRUPTED, "give it as `--encoder {}`"
        )
        # After a mistake of the user's there is nothing worth keeping.
        with keep(unless=lambda error: isinstance(error, InputError)):
            curves = _fit(large, small, rows, losses, schedule)
        with keep():
            Anatomy.of(small).write(folder, more)
            text = json.dumps(curves, indent=1) + "\n"
            (folder / CURVES_FILE).write_text(text, encoding="utf-8")
    return curves


def _fit(
    large: Encoder, small: Encoder, rows: list[str], losses: Losses, schedule: Schedule
) -> dict[str, list[float]]:
    student = _Student(large, small, losses)
    lesson = Lesson(large, small, student.wanted_layers, schedule.sequence_length)
    order = np.random.default_rng(schedule.seed).permutation(len(rows))
    apart = min(MOST_VALIDATION, int(VALIDATION * len(rows)))
    with progress.stage("Teacher's vectors", unit="texts") as stage:
        train, validation = (
            lesson.batches([rows[i] for i in part], schedule.batch_size, schedule.seed)
            for part in (order[apart:], order[:apart])
        )
        stage.count = len(rows)
    small.freeze_to(0 if schedule.embeddings else 1)
    rate = WarmUpLinearDecay(schedule.learning_rate)
    rate.size(0, int(train.cardinality()) * schedule.epochs)
    student.compile(
        optimizers.AdamW(rate, weight_decay=0.01, global_clipnorm=1.0), jit_compile=False
    )
    with progress.stage("Student", unit="epochs") as stage:
        fitted = student.fit(
            train,
            validation_data=validation,
            epochs=schedule.epochs,
            shuffle=False,  # they are
            callbacks=[FiniteLoss(), EpochsShown(stage, lines=show(schedule.verbose) == 2)],
            verbose=0,
        )
    curves: dict[str, list[float]] = fitted.history
    return curves


# What a student gave, by name: vectors, those of its layers, and where tokens are.
_Made = Mapping[str, tf.Tensor | list[tf.Tensor]]


class _Student(keras.Model):
    """The small encoder with its losses, for `fit`."""

    def __init__(self, large: Encoder, small: Encoder, losses: Losses) -> None:
        super().__init__(name="student")
        self.encoder = small
        teacher, own = Anatomy.of(large).shape, Anatomy.of(small).shape
        self._shares = {k: v for k, v in dataclasses.asdict(losses).items() if v}
        self._means = {k: keras.metrics.Mean(k) for k in self._shares}
        self._width = teacher.hidden
        self._project_sentence = _projection(own.hidden, teacher.hidden)
        layers = range(own.layers if losses.hidden else 0)
        self._project_tokens = [_projection(own.hidden, teacher.hidden) for _ in layers]
        self.wanted_layers = teacher_layers(teacher.layers, own.layers) if losses.hidden else []
        if losses.relations:
            self._relate = [
                _Relations(e, s, teacher.heads) for e, s in ((large, teacher), (small, own))
            ]
            self.wanted_layers.append(teacher.layers - 2)  # what the last layer reads
        self.built = True

    @property
    def metrics(self) -> list[keras.Metric]:
        return [*super().metrics, *self._means.values()]

    def call(self, inputs: Features, training: bool | None = None) -> _Made:
        # Without dropout: there is too much of what the teacher says to learn it by heart.
        present = tf.cast(inputs["input_mask"], tf.float32)
        return {**self.encoder(inputs, training=False), "present": present}

    def compute_loss(
        self,
        x: Features | None = None,
        y: Features | None = None,
        y_pred: _Made | None = None,
        *args: object,
        **kwargs: object,
    ) -> tf.Tensor:
        """The weighted sum of the parts, each of which is a metric too."""
        weighted = []
        for name, weight in self._shares.items():
            part = getattr(self, f"_{name}")(y, y_pred)
            self._means[name].update_state(part)
            weighted.append(weight * part)
        return tf.add_n(weighted)

    def _sentence(self, y: Features, made: _Made) -> tf.Tensor:
        own = _unit(self._project_sentence(made["pooled_output"]))
        return 1.0 - tf.reduce_mean(tf.reduce_sum(own * _unit(y["sentence"]), axis=-1))

    def _similarity(self, y: Features, made: _Made) -> tf.Tensor:
        own, wanted = _unit(made["pooled_output"]), _unit(y["sentence"])
        difference = tf.matmul(own, tf.transpose(own))
        difference -= tf.matmul(wanted, tf.transpose(wanted))
        rows = tf.cast(tf.shape(own)[0], tf.float32)
        # A text is always like itself, so the diagonal has nothing to say.
        return tf.reduce_sum(tf.square(difference)) / tf.maximum(rows * (rows - 1.0), 1.0)

    def _hidden(self, y: Features, made: _Made) -> tf.Tensor:
        counted = (made["present"] * y["alike"][:, tf.newaxis])[:, :, tf.newaxis]
        parts = []
        for index, (own, project) in enumerate(zip(made["encoder_outputs"], self._project_tokens)):
            wanted = y["tokens"][:, :, index * self._width : (index + 1) * self._width]
            far = tf.reduce_sum(tf.square(project(own) - wanted) * counted)
            parts.append(far / tf.maximum(tf.reduce_sum(tf.square(wanted) * counted), 1e-9))
        return tf.add_n(parts) / len(parts)

    def _relations(self, y: Features, made: _Made) -> tf.Tensor:
        present = made["present"]
        states = y["tokens"][:, :, -self._width :], made["encoder_outputs"][-2]
        teacher, own = (relate(state, present) for relate, state in zip(self._relate, states))
        counted = (present * y["alike"][:, tf.newaxis])[:, tf.newaxis, :]
        parts = []
        for wanted, log_share in zip(teacher, own):
            share = tf.exp(tf.stop_gradient(wanted))
            far = tf.reduce_sum(share * (wanted - log_share), axis=-1) * counted
            heads = tf.cast(tf.shape(far)[1], tf.float32)
            parts.append(tf.reduce_sum(far) / tf.maximum(heads * tf.reduce_sum(counted), 1e-9))
        return tf.add_n(parts) / len(parts)


class _Relations:
    """Log shares of queries among queries, keys among keys, values among values in a last layer."""

    def __init__(self, encoder: Encoder, shape: BertShape, heads: int) -> None:
        weights, at = bert_weights(encoder), f"transformer/layer_{shape.layers - 1}"
        if shape.layers < 2 or shape.hidden % heads:
            raise InputError(
                "`relations` are those of a last layer that has another below it, and are divided "
                f"among the teacher's {heads} heads. Received: {encoder.handle} of {shape.layers} "
                f"layers, {shape.hidden} wide"
            )
        self._parts = [
            [weights[f"{at}/self_attention/{part}/{kind}"] for kind in ("kernel", "bias")]
            for part in ("query", "key", "value")
        ]
        self._heads, self._width = heads, shape.hidden

    def __call__(self, state: tf.Tensor, present: tf.Tensor) -> list[tf.Tensor]:
        """The layer's input `[batch, length, width]` to three `[batch, heads, length, length]`."""
        size, each = tf.shape(state), self._width // self._heads
        mask = (1.0 - present)[:, tf.newaxis, tf.newaxis, :] * NEVER
        found = []
        for kernel, bias in self._parts:
            flat = tf.matmul(
                tf.reshape(state, [-1, self._width]),
                tf.reshape(kernel.value, [self._width, self._width]),
            )
            flat += tf.reshape(bias.value, [self._width])
            heads = tf.reshape(flat, [size[0], size[1], self._heads, each])
            heads = tf.transpose(heads, [0, 2, 1, 3])
            scores = tf.matmul(heads, heads, transpose_b=True) / math.sqrt(each) + mask
            found.append(tf.nn.log_softmax(scores))
        return found


def _projection(width: int, wanted: int) -> Callable[[tf.Tensor], tf.Tensor]:
    """From the student's width to the teacher's, where they differ; learned, and then left."""
    if width == wanted:
        project: Callable[[tf.Tensor], tf.Tensor] = tf.identity
        return project
    layer = full_precision.Dense(wanted, use_bias=False)
    layer.build((None, width))
    project = layer
    return project


def _unit(vectors: tf.Tensor) -> tf.Tensor:
    return tf.math.l2_normalize(vectors, axis=-1, epsilon=1e-9)
