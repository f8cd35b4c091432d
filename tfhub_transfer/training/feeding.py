"""What stages train on: stored vectors, what frozen layers gave, or texts through the encoder."""

from collections.abc import Callable, Mapping, Sequence

import keras
import numpy as np
import tensorflow as tf

from tfhub_transfer import progress
from tfhub_transfer.data import Stream
from tfhub_transfer.data.batching import ready
from tfhub_transfer.data.passes import Epochs, Seeds, permutation
from tfhub_transfer.optimization import optimizers, planning
from tfhub_transfer.optimization.schedules import WarmUpLinearDecay
from tfhub_transfer.private import tensorflow_data
from tfhub_transfer.runtime import cluster
from tfhub_transfer.tasks.layouts import Rows
from tfhub_transfer.tasks.objective import Targets
from tfhub_transfer.training import headlines
from tfhub_transfer.training.stages import FROZEN_BATCH, Feed, Training


def of_vectors(
    features: np.ndarray, targets: Targets, batch_size: int, seed: int | None = None
) -> tf.data.Dataset:
    """Batches of stored vectors, shuffled anew in every epoch if there is a seed.

    Args:
        features: What a head starts from `[n, features]`, in memory or mapped from a file.
        targets: What its loss wants of each, with weights or without.
        batch_size: Rows in a batch.
        seed: Of the shuffling.
    """
    wanted = targets if isinstance(targets, tuple) else (targets,)  # with weights of rows
    held, count = _reader(features), len(features)

    def picked(numbers: tf.data.Dataset) -> tf.data.Dataset:
        return ready(numbers.map(lambda n: (held(n), *(tf.gather(each, n) for each in wanted))))

    if seed is None:  # without a generator, whose iterators take longer to make than such a pass
        in_order = tf.data.Dataset.range(count).batch(batch_size)
        return tensorflow_data.with_its_functions(lambda: picked(in_order))

    def one_pass(seed_of_pass: tf.Tensor) -> tf.data.Dataset:
        # Numbers are shuffled: vectors would all lie in the buffer.
        numbers = permutation(count, seed_of_pass)
        return tf.data.Dataset.from_tensor_slices(numbers).batch(batch_size)

    passes = Epochs(Seeds(seed), -(-count // batch_size))
    return passes.dataset(
        tf.TensorSpec([], tf.int64), lambda seeds: picked(seeds.flat_map(one_pass))
    )


def of_few_vectors(
    features: np.ndarray, targets: np.ndarray, batch_size: int, seed: int | None = None
) -> tf.data.Dataset:
    """The very batches of `of_vectors`, in less time, of so few vectors as may lie there twice.

    An iterator, and each of its steps, costs more than such a batch does to train on. So one goes
    through all passes, which have no end if there is a seed, and whole passes are put in order.

    Args:
        features: As there, in memory; likewise the others.
        targets: What the loss wants of each, without weights.
        batch_size: Rows in a batch.
        seed: Of the shuffling.
    """
    held = tf.constant(features), tf.constant(targets)
    if seed is None:
        return ready(_cut(held, batch_size))

    def one_pass(number: tf.Tensor) -> tf.data.Dataset:
        order = permutation(len(features), seed + number)
        return _cut([tf.gather(each, order) for each in held], batch_size)

    return ready(tf.data.Dataset.counter().flat_map(one_pass))


def _cut(values: Sequence[tf.Tensor], size: int) -> tf.data.Dataset:
    """Rows in their order in batches, the last of which may be smaller."""
    whole = int(values[0].shape[0]) // size
    first = tuple(tf.reshape(v[: whole * size], (whole, size, *v.shape[1:])) for v in values)
    rest = tf.data.Dataset.from_tensors(tuple(v[whole * size :] for v in values))
    found = tf.data.Dataset.from_tensor_slices(first)
    if whole * size < values[0].shape[0]:
        found = found.concatenate(rest)
    # However many rows there are, batches of any size, so that nothing is traced for one size.
    spec = tuple(tf.TensorSpec((None, *v.shape[1:]), v.dtype) for v in values)
    return tf.data.experimental.from_variant(tf.data.experimental.to_variant(found), spec)


def _reader(features: np.ndarray) -> Callable[[tf.Tensor], tf.Tensor]:
    """What gives the vectors of rows by their numbers."""
    # What is mapped is too large to be held, and is read batch by batch.
    if not isinstance(features, np.memmap):
        held = tf.constant(features)
        return lambda rows: tf.gather(held, rows)

    def read(rows: tf.Tensor) -> tf.Tensor:
        found = tf.numpy_function(lambda n: features[n], [rows], tf.float32)
        return tf.ensure_shape(found, (None, features.shape[1]))

    return read


def above_boundary(training: Training, rows: Rows | Stream, batch_size: int) -> Feed | None:
    """The thawed top as a model of its own, with batches of what the frozen layers give it.

    Args:
        training: The training, whose encoder is as frozen as it is to be at its most thawed.
        rows: What to train on.
        batch_size: Rows in a batch of it.

    Returns:
        `None` if no layer stays frozen, or nothing can be stored.
    """
    model, plan = training.model, training.plan
    boundary = model.boundary() if plan.boundary else None
    if boundary is None or isinstance(rows, Stream):
        return None
    batches, paddings = [], []
    with progress.stage("Token vectors", unit="rows") as stage:
        ids = [model.to_ids(each) for each in (rows, training.validation)]
        stage.expect(sum(len(each.lost) for each in ids))
        for each, size in zip(ids, (batch_size, FROZEN_BATCH)):
            with progress.part(worth=len(each.lost)):
                stored = boundary.store(each)
            # All processes train alike, also where the disk of one lacks room.
            if not cluster.everywhere(model.distribute_strategy, stored is not None):
                stage.final = False
                return None
            assert stored is not None
            made, padding = stored.batches(size, plan.seed, model.replicas_of_shapes)
            batches.append(made)
            paddings.append(padding)
    with model.distribute_strategy.scope():
        above = model.model_above(boundary)
    judged = model.task.apart(training.validation)
    sizes = {name: len(judged[name]) for name in model.parts}  # in the order of the rows
    assert stored is not None  # the last one is that of the rows to judge by
    judge = headlines.Judge(training.found, stored.answering(above), sizes)
    known = None, paddings[0], count(rows)
    return Feed(above, batches[0], batches[1], [judge, *training.samplers()], *known)


def through_encoder(training: Training, rows: Rows | Stream, batch_size: int) -> Feed:
    """The whole model, with batches of ids.

    Args:
        training: The training.
        rows: What to train on.
        batch_size: Rows in a batch of it.
    """
    model = training.model
    batches = model.preprocess(rows, batch_size, seed=training.plan.seed)
    # A stream is read while it trains, so nothing of it is counted yet.
    counted = (None, None) if isinstance(rows, Stream) else (model.truncation, model.padding)
    validation = model.preprocess(training.validation, FROZEN_BATCH)
    return Feed(model, batches, validation, training.judges(), *counted, count(rows))


def count(rows: Rows | Stream | Mapping[str, Rows]) -> int:
    """How many rows there are, of several tasks in all."""
    return sum(map(len, rows.values())) if isinstance(rows, Mapping) else len(rows)


def compiled(
    training: Training,
    make: Callable[[], keras.Model],
    steps_at_once: int | None = None,
    steps: int | None = None,
) -> keras.Model:
    """Another model over layers of a training's, with an optimizer for heads of its own.

    Args:
        training: The training.
        make: Makes it.
        steps_at_once: Keras' `steps_per_execution`; as the whole model's if not given.
        steps: How many it trains at most, for tasks whose head's rate rises and falls.
    """
    model = training.model
    with model.distribute_strategy.scope():
        made = make()
        optimizer = _head_optimizer(head_rate(training), model.task.head_warmup, steps)
        model.compile_alike(made, optimizer, steps_at_once)
    return made


def head_rate(training: Training) -> float:
    """The learning rate of heads in a training."""
    return planning.head_rate(training.model.task, training.plan.head_learning_rate)[0]


def _head_optimizer(
    rate: float, warmup: float | None, steps: int | None
) -> keras.optimizers.Optimizer:
    kind = keras.optimizers.Adam
    if warmup is None:
        return kind(rate, name=optimizers.named(kind))
    # What is as deep as a decoder needs what a Transformer needs (Vaswani et al. 2017, 5.3).
    schedule = WarmUpLinearDecay(rate, warmup, steps)
    return kind(schedule, global_clipnorm=1.0, name=optimizers.named(kind))
