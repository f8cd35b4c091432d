"""Batches whose order only seed and epoch decide, however often somebody begins to go through them.

Keras makes more iterators than it goes through, a strategy reads ahead in some of them, and a run
that goes on after a kill makes fewer: an order by the number of an iterator is another one then.
"""

import itertools
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import numpy as np
import tensorflow as tf

from tfhub_transfer.private import tensorflow_data

# Beside the number of a pass: with both 0 TensorFlow takes a seed of its own.
_SEED = 1


class InPasses(Protocol):
    """What gives something for each pass over rows, such as their numbers, batch by batch."""

    def __iter__(self) -> Iterator[Any]:
        """Of the next pass."""

    def of_pass(self, number: int) -> Iterator[Any]:
        """Of the pass of that number, from 0."""


class Seeds:
    """A seed for each pass over rows, for what shuffles them.

    Args:
        seed: That of the first pass.
    """

    def __init__(self, seed: int) -> None:
        self._seed, self._passes = seed, itertools.count()

    def __iter__(self) -> Iterator[np.int64]:
        return self.of_pass(next(self._passes))

    def of_pass(self, number: int) -> Iterator[np.int64]:
        """The seed of the pass of that number."""
        yield np.int64(self._seed + number)


class Epochs:
    """The passes of one epoch after the other.

    Until `begin` says which epoch it is, each time through is the next pass, as `rows` count them;
    after `end` too, where all are others than those of the epochs that are over.

    Args:
        rows: What gives them.
        batches: How many batches a pass has.
    """

    def __init__(self, rows: InPasses, batches: int) -> None:
        self._rows, self.batches = rows, batches
        self._epoch: int | None = None
        self._passes, self._past = 1, 0
        self._later: Iterator[int] | None = None
        self._all: tf.data.Dataset | None = None
        self._notes: dict[str, object] = {}

    def __iter__(self) -> Iterator[Any]:
        if self._epoch is None:
            if self._later is None:
                return iter(self._rows)
            return self._rows.of_pass(next(self._later))
        first = self._past + self._epoch * self._passes
        return itertools.chain.from_iterable(
            map(self._rows.of_pass, range(first, first + self._passes))
        )

    def begin(self, epoch: int) -> None:
        """From now on who goes through it gets this epoch, counted from 0."""
        self._epoch = epoch

    def end(self, epochs: int) -> None:
        """A training is over that had so many epochs, or might have had; `begin` begins another."""
        self._past += epochs * self._passes
        self._passes = 1
        # Not what `rows` count: how many iterators a `fit` makes, nobody knows.
        self._epoch, self._later = None, itertools.count(self._past)

    def dataset(
        self,
        spec: object,
        batch: Callable[[tf.data.Dataset], tf.data.Dataset],
        read: Callable[[Iterator[Any]], Iterator[object]] = iter,
    ) -> tf.data.Dataset:
        """A dataset of one pass an epoch.

        Args:
            spec: What `rows` give, or `read`.
            batch: Makes batches of a dataset of that.
            read: Makes what Python adds to it.
        """

        # Python hands out numbers or seeds only; the rest is parallel graph code.
        def all_of_it() -> tf.data.Dataset:
            given = tf.data.Dataset.from_generator(lambda: read(iter(self)), output_signature=spec)
            return batch(given)

        self._all = tensorflow_data.with_its_functions(all_of_it)
        return self.again()

    def again(self, passes: int = 1, past: int = 0) -> tf.data.Dataset:
        """The same with so many passes an epoch, without its first batches.

        Args:
            passes: How many.
            past: How many batches are left out.
        """
        assert self._all is not None
        self._passes = passes
        left = self._all.skip(past) if past else self._all
        count = passes * self.batches - past
        dataset = left.apply(tf.data.experimental.assert_cardinality(count))
        for name, note in self._notes.items():
            setattr(dataset, name, note)
        dataset.epochs = self
        return dataset

    def note(self, **notes: object) -> None:
        """What else is known of the batches, as attributes of the datasets to come."""
        self._notes |= notes


def shuffled(rows: tf.data.Dataset, among: int, seed: tf.Tensor) -> tf.data.Dataset:
    """Rows in an order that a seed decides, which may be a tensor, as in functions of a dataset.

    `tf.data.Dataset.shuffle` compares its seed with 0 in Python, which a tensor can't be.

    Args:
        rows: The rows.
        among: Of how many rows one is drawn.
        seed: The seed, int64.
    """
    flat = tf.nest.flatten(rows.element_spec)
    made = tf.raw_ops.ShuffleDataset(
        input_dataset=tf.data.experimental.to_variant(rows),
        buffer_size=tf.constant(among, tf.int64),
        seed=seed,
        seed2=tf.constant(_SEED, tf.int64),
        output_types=[each.dtype for each in flat],
        output_shapes=[each.shape for each in flat],
        reshuffle_each_iteration=False,
    )
    return tf.data.experimental.from_variant(made, rows.element_spec)


def permutation(count: int, seed: tf.Tensor) -> tf.Tensor:
    """The numbers below `count` in an order that a seed decides, int64 `[count]`."""
    numbers = tf.range(tf.constant(count, tf.int64))
    return tf.random.experimental.stateless_shuffle(numbers, tf.stack([seed, _SEED]))
