"""Rows, or a stream of them, as batches for `fit` and `evaluate`."""

import dataclasses
import functools
import math
from collections.abc import Callable, Mapping

import numpy as np
import tensorflow as tf

from tfhub_transfer.data import Examples, Stream, streamed, weighing
from tfhub_transfer.data.batching import (
    FEW_BUCKETS,
    MAP_THREADS,
    MOST_BUCKETS,
    InOrder,
    LengthBatches,
    bucket_lengths,
    in_turn,
    pick,
    ready,
)
from tfhub_transfer.data.passes import Epochs, Seeds, shuffled
from tfhub_transfer.errors import InputError
from tfhub_transfer.incoming import choices, ranges
from tfhub_transfer.models import filling, shares
from tfhub_transfer.models.shares import Share, Step
from tfhub_transfer.private import tensorflow_data
from tfhub_transfer.tasks import Task
from tfhub_transfer.tasks.layouts import Ids, Layout, Rows

AUTO = "auto"
# Rows of a stream among which one is drawn: the file itself may be larger than memory.
_SHUFFLE_BUFFER = 10_000


@dataclasses.dataclass(frozen=True)
class Order:
    """Which rows come in which batches.

    Attributes:
        batch_size: Rows in a batch: of average length, or if `static` in each.
        seed: Of the shuffling; `None` for the order of the rows.
        share: Which of the rows.
        static: Whether all batches have as many rows.
        few: Whether they are of few shapes: a few lengths, each with as many rows, of which the
            longest have the fewest, unless `static`.
        multiple: What numbers of rows are multiples of where shapes are few, unless `static`.
    """

    batch_size: int
    seed: int | None = None
    share: Share = dataclasses.field(default_factory=Share)
    static: bool = False
    few: bool = False
    multiple: int = 1

    @classmethod
    def of(
        cls,
        batch_size: object,
        seed: int | None,
        shard: object,
        static: bool | str,
        replicas: int | None = None,
    ) -> "Order":
        """What a user asked for, checked.

        Args:
            batch_size: As for `TransferModel.preprocess`, as are the others.
            seed: Of the shuffling; `None` for the order of the rows.
            shard: Which of the rows.
            static: `"auto"`, or whether all batches have as many rows.
            replicas: On how many what is compiled for each shape runs; `None` if nothing is.

        Raises:
            InputError: If a number is out of range.
        """
        size = ranges.whole_number("batch_size", batch_size, *ranges.BATCH_SIZE)
        share = shares.parse(shard)
        if not isinstance(static, str) or static != AUTO:
            static = choices.flag("static_batches", static)
            return cls(size, seed, share, static, static and replicas is not None)
        if replicas is None:
            return cls(size, seed, share)
        return cls(size, seed, share, few=True, multiple=replicas)

    def unlabelled(self) -> "Order":
        """The same for rows without labels, which can only be answered: each, and nothing else.

        Whatever is compiled for their shapes, then. What was asked to be static stays so.
        """
        return self if self.static else dataclasses.replace(self, few=False, multiple=1)

    def filled(self, task: Task) -> str | None:
        """In what rows weigh alike, if some fill batches up.

        Args:
            task: What they are to teach.
        """
        if self.static or not self.few:
            return filling.BY_EPOCH if self.static else None
        return filling.BY_UNIT if task.loss_by_unit else filling.BY_BATCH

    def rows(
        self,
        given: Examples | Rows,
        cut: Callable[[Examples | Rows], Rows],
        units: Callable[[Examples], np.ndarray | None],
    ) -> tuple[Rows, Step | None]:
        """This share's rows; and how many the others have, where all go in step.

        Weights of rows are made relative to all of them, whatever the share.

        Args:
            given: Examples, or rows; of several tasks by name.
            cut: Examples to rows.
            units: How often each row counts in the mean that the loss is; see `Objective.units`.
        """
        _require_rows(given)
        if self.share.count == 1:
            return cut(given), None
        if not self.static and not weighing.are_weighed(given):
            return cut(self.share.of(given)), None
        # An example may have any number of rows, so only all of them say what weighs 1, and how
        # many batches a worker needs whose share has the most.
        rows = cut(given)
        counts = units(rows.examples) if isinstance(rows, Rows) else None
        rows = weighing.among_all(rows, counts)
        return self.share.of(rows), self.share.step(rows) if self.static else None

    @property
    def size(self) -> int:
        """Rows in a batch in the order of the rows, or if `static`."""
        return math.ceil(self.batch_size / self.multiple) * self.multiple

    def batches(self, rows: int) -> int:
        """How many batches so many rows are, in the order of the rows or if `static`."""
        return math.ceil(rows / self.size)

    def by_length(self, lengths: np.ndarray) -> tuple[filling.Batches, LengthBatches]:
        """Row numbers of shuffled batches of like length, and what they are cut by.

        Args:
            lengths: The length of each row `[n]`.
        """
        at_most = FEW_BUCKETS if self.few else MOST_BUCKETS
        how = self.batch_size, True, self.seed or 0, at_most, self.static, self.multiple
        found = LengthBatches(lengths, *how)
        few = self.few and not self.static
        return filling.Filled(found, found.filled_rows) if few else found, found


def _require_rows(given: object) -> None:
    """Raises `InputError` if there are no rows, of one task or of one among several."""
    if isinstance(given, Mapping):
        for each in given.values():
            _require_rows(each)
    elif isinstance(given, (Examples, Rows)) and not len(given):
        raise InputError("expected rows to make batches of, at least one. Received: none")


def of_ids(
    ids: Ids, layout: Layout, order: Order, step: Step | None = None
) -> tuple[tf.data.Dataset, float | None]:
    """Batches of rows, and where they come by length the share of their tokens that are padding.

    Args:
        ids: The rows.
        layout: What pads them.
        order: Which rows come in which batches.
        step: How many rows shares have that go in step; these are all if not given.

    Returns:
        A dataset of `(inputs, labels)`, with weights behind if there are some, or of `inputs`.
    """
    step = step or Step(len(ids.lost), len(ids.lost))
    order = order if ids.labels is not None else order.unlabelled()
    rows, by_length, lengths = _ordered(ids, order, step)
    by = order.filled(layout.task)
    padded = order.batches(step.most) * order.size

    def gather(indices: tf.Tensor) -> object:
        real = None
        if by:
            indices, real = filling.there(indices)
        picked = {key: tf.gather(value, indices) for key, value in ids.columns.items()}
        inputs = layout.pad(picked, lengths)
        found: tuple = (inputs,)
        if ids.labels is not None:
            length = functools.partial(layout.labels_length, inputs=inputs, lengths=lengths)
            targets = pick(ids.labels, indices, length)
            if real is not None:
                times = filling.factor(step.mean, padded) if order.static else None
                targets = filled(ids.labels, targets, layout.task, real, times)
            found = (layout.taught(inputs, targets[0]), *targets)
        found = filling.of_size(found, order.size) if order.static else found
        return found if len(found) > 1 else inputs

    dataset = Epochs(rows, len(rows)).dataset(
        tf.TensorSpec([None], tf.int64), lambda given: ready(given.map(gather, MAP_THREADS))
    )
    dataset = in_turn(dataset, by_length is not None, by_length)
    filling.note(dataset, by)
    if by_length is None:
        return dataset, None
    return dataset, by_length.padding_filled if order.few else by_length.padding


def first_of(ids: Ids, layout: Layout, order: Order) -> tuple[np.ndarray, dict[str, tf.Tensor]]:
    """The rows of the first batch that `of_ids` makes, by their numbers, and its inputs.

    Args:
        ids: The rows.
        layout: What pads them.
        order: Which rows come in which batches.

    Returns:
        The numbers of rows, without any that only fill the batch up; and those rows, padded.
    """
    if ids.labels is None:
        order = order.unlabelled()
    rows, _, lengths = _ordered(ids, order, Step(len(ids.lost), len(ids.lost)))
    found = next(rows.of_pass(0))
    found = found[found >= 0]
    picked = {key: tf.gather(value, found) for key, value in ids.columns.items()}
    return found, layout.pad(picked, lengths)


def _ordered(
    ids: Ids, order: Order, step: Step
) -> tuple[filling.Batches, LengthBatches | None, np.ndarray | None]:
    """Row numbers of batches, what put those of like length together, and what to pad to."""
    count, size = len(ids.lost), order.size
    rows: filling.Batches = InOrder(count, size)
    by_length, lengths = None, None
    if order.seed is not None:
        rows, by_length = order.by_length(ids.lengths)
        lengths = by_length.buckets
    elif order.few:
        longest = np.maximum.reduceat(ids.lengths, range(0, count, size))  # of each batch
        lengths = bucket_lengths(longest, FEW_BUCKETS)
    if order.static or (order.few and by_length is None):
        rows = filling.Filled(rows, size, order.batches(step.most))
    return rows, by_length, lengths


def filled(
    of: object, picked: tuple, task: Task, real: tf.Tensor, times: float | None = None
) -> tuple[object, object]:
    """Labels and weights of a batch of which not all rows are there.

    Args:
        of: The labels of all rows.
        picked: Those of the batch, and weights if there are any.
        task: The task.
        real: Which rows are there, bool `[batch]`.
        times: What a row weighs in the mean over an epoch; `None` for that over the batch.
    """
    of = of[0] if isinstance(of, tuple) else of
    labels, *given = picked
    if given:
        weights = given[0]
    else:
        shape = [tf.size(real), 1] if isinstance(of, tf.RaggedTensor) else [tf.size(real)]
        weights = tf.ones(shape)
    factor = filling.factor_of_batch(real) if times is None else tf.constant(times, tf.float32)
    if task.loss_by_unit:
        # That of a batch is a mean over its words, whatever its rows; it weighs as its rows do.
        factor *= tf.reduce_mean(tf.cast(real, tf.float32))
    # Without labels of its own a loss takes the texts of other rows for wrong answers.
    labels = filling.blank(labels, of, real, every=not task.needs_labels)
    return labels, filling.weigh(weights, real, factor)


def of_stream(stream: Stream, layout: Layout, order: Order) -> tf.data.Dataset:
    """Batches of rows that are read on the way.

    Args:
        stream: The rows.
        layout: What makes ids of them.
        order: Which rows come in which batches.

    Returns:
        A dataset of `(inputs, labels)`, with weights behind if there are some.

    Raises:
        InputError: If the task is trained from memory alone.
    """
    require_streamable(layout.task)
    share, size = order.share, order.size
    every = len(stream)
    mine = stream.shard(share.index, share.count)
    count = len(mine)
    if every:  # a stream of no rows says so itself, when it is read
        share.require(count, every)
    rows = _rows(mine, layout)
    # Before they are shuffled, or the copy would wait for a whole buffer.
    first = rows.take(1)
    batches, times = order.batches(count), 1.0
    if order.static:
        batches = order.batches(len(stream.shard(0, share.count)))  # the first has the most
        times = filling.factor(every / share.count, batches * size)
    by = order.filled(layout.task)
    lengths = _few_lengths(layout.preprocessor.sequence_length) if order.few else None

    def one_pass(seed: tf.Tensor) -> tf.data.Dataset:
        found = rows if order.seed is None else shuffled(rows, _SHUFFLE_BUFFER, seed)
        if by:
            found = filling.stream(found, first, batches * size - count, times)
        return found.batch(size, drop_remainder=bool(by))

    def made(texts: tuple[tf.Tensor, ...], *targets: tf.Tensor) -> tuple:
        if by == filling.BY_BATCH:
            labels, weights = targets
            real = filling.are_there(weights)
            targets = labels, filling.weigh(weights, real, filling.factor_of_batch(real))
        found = (layout.batch(*texts, lengths=lengths), *targets)
        return filling.of_size(found, size) if by else found

    def batched(seeds: tf.data.Dataset) -> tf.data.Dataset:
        return ready(seeds.flat_map(one_pass).map(made, MAP_THREADS))

    passes = Epochs(Seeds(order.seed or 0), batches)
    # A function of the dataset goes through them, and holds no object of Python.
    passes.note(reads=rows)
    dataset = passes.dataset(tf.TensorSpec([], tf.int64), batched)
    dataset = in_turn(dataset, order.seed is not None)
    filling.note(dataset, by)
    return dataset


def require_streamable(task: Task) -> None:
    """Raises `InputError` if a task's rows are made of whole examples, in memory.

    Args:
        task: The task.
    """
    if not task.one_row:
        raise InputError(
            f"the {task.name} task is trained from memory: read the file with `data.read`. "
            "Received: a stream"
        )


def _few_lengths(longest: int) -> np.ndarray:
    """Lengths to pad rows to of which nobody knows how long they are."""
    shares = np.arange(1, FEW_BUCKETS + 1) / FEW_BUCKETS
    return np.unique(np.ceil(shares * longest).astype(np.int64))


def _rows(stream: Stream, layout: Layout) -> tf.data.Dataset:
    """Texts, label and weight, if there is one, row by row."""
    objective = layout.objective
    columns = 2 if layout.task.pair else 1
    # tf.data asks for shape and type before it reads a row.
    some = objective.encode([objective.example_label()])
    labels = tf.TensorSpec([None, *some.shape[1:]], some.dtype)
    weights = (tf.TensorSpec([None], tf.float32),) if stream.weight else ()
    spec = ((tf.TensorSpec([None], tf.string),) * columns, labels, *weights)
    chunks = functools.partial(streamed.chunks, stream, objective, layout)
    return tensorflow_data.with_its_functions(
        lambda: tf.data.Dataset.from_generator(chunks, output_signature=spec)
    ).unbatch()
