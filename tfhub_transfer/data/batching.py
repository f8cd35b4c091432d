"""Rows of like length into batches, so that little is padded and few shapes of batch occur."""

import dataclasses
import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TypeAlias

import numpy as np
import tensorflow as tf

from tfhub_transfer.errors import InputError
from tfhub_transfer.incoming import ranges
from tfhub_transfer.shapes import Features

# What a loss wants of rows: a number or several each, also by the name of a task.
Labels: TypeAlias = "np.ndarray | tf.Tensor | tf.RaggedTensor | Mapping[str, Labels]"

MAP_THREADS = 2

# Each shape of batch costs a compilation under XLA, and a set of oneDNN kernels without.
MOST_BUCKETS = 12
# Under XLA, where a shape costs as much as many steps.
FEW_BUCKETS = 4
# Without gradients a shape costs less than what it saves.
INFERENCE_BUCKETS = 32
# So many rows are worth a batch of their own there: 400 news took a third of the time that they
# took in batches of 128, most of which was padding.
_WORTH = 8
# Batches under way at once without gradients: a second fills the gaps between a graph's operations.
STREAMS = 2
# Quantiles stand for more different lengths than these: the work grows with their square.
_CANDIDATES = 256


def bucket_lengths(lengths: Sequence[int] | np.ndarray, at_most: int = MOST_BUCKETS) -> np.ndarray:
    """The lengths to pad to, at most so many, with which the fewest tokens are padded.

    Found exactly, by dynamic programming over the lengths that occur (over 256 quantiles of them,
    where there are more).

    Args:
        lengths: The length of each row `[n]`.
        at_most: How many lengths to pad to.

    Returns:
        Ascending lengths, the last of them the longest row's.

    Example:

    >>> bucket_lengths([3, 3, 4, 9, 10, 10], at_most=2).tolist()
    [4, 10]
    """
    # Not 0: rows of a batch are counted by dividing through these.
    lengths = np.maximum(np.asarray(lengths, np.int64), 1)
    if not len(lengths):
        return np.ones(1, np.int64)
    ends = np.unique(lengths)
    if len(ends) > _CANDIDATES:
        ends = np.unique(np.quantile(lengths, np.linspace(0, 1, _CANDIDATES), method="higher"))
    rows = np.searchsorted(np.sort(lengths), ends, side="right")
    below = np.concatenate([[0], rows])
    # cost[i, j]: tokens of the rows above ends[i - 1], up to ends[j], padded to ends[j].
    cost = np.where(
        np.arange(len(ends) + 1)[:, None] <= np.arange(len(ends))[None],
        (rows[None] - below[:, None]) * ends[None].astype(float),
        np.inf,
    )
    best, choices = cost[0], []
    for _ in range(min(at_most, len(ends)) - 1):
        total = best[:, None] + cost[1:]
        choices.append(np.argmin(np.vstack([best[None], total]), axis=0) - 1)
        best = np.minimum(best, total.min(axis=0))
    at, taken = len(ends) - 1, []
    for choice in reversed(choices):
        if choice[at] >= 0:
            taken.append(ends[at])
            at = choice[at]
    return np.array([*sorted([*taken, ends[at]])])


class LengthBatches:
    """Row numbers of batches of like length; going through it again shuffles with another seed.

    A batch holds about as many tokens as any other, not as many rows: the shorter the rows, the
    more of them, up to twice `batch_size`, and at least half of it.

    Args:
        lengths: The length of each row `[n]`.
        batch_size: Rows in a batch of average length.
        shuffle: Whether to shuffle within and between lengths; if not, the longest come first.
        seed: Seed of the shuffling.
        at_most: How many lengths to pad to.
        same_rows: Whether batches have as many rows, not as many tokens; the last may have fewer.
        multiple: What all of these numbers of rows are multiples of.

    Attributes:
        buckets: The lengths to pad to, ascending.

    Raises:
        InputError: If the batch size is below 1.

    Example:

    >>> [rows.tolist() for rows in LengthBatches([4, 8, 4, 4, 4], 2, shuffle=False)]
    [[1], [4, 3], [2, 0]]
    """

    def __init__(
        self,
        lengths: Sequence[int] | np.ndarray,
        batch_size: int,
        shuffle: bool = True,
        seed: int = 0,
        at_most: int = MOST_BUCKETS,
        same_rows: bool = False,
        multiple: int = 1,
    ) -> None:
        batch_size = ranges.whole_number("batch_size", batch_size, *ranges.BATCH_SIZE)
        self._lengths = np.asarray(lengths, np.int64)
        self._rows: np.ndarray
        # Few rows in many buckets would come in batches that aren't full.
        self._part(min(at_most, max(1, len(self._lengths) // (2 * batch_size))), batch_size)
        if same_rows:
            self._rows = np.full_like(self._rows, batch_size)
        self._rows = -(-self._rows // multiple) * multiple
        self._shuffle, self._seed = shuffle, seed
        self._worth = len(self._lengths) + 1
        self._passes = itertools.count()

    @classmethod
    def in_order(cls, lengths: Sequence[int] | np.ndarray, batch_size: int) -> "LengthBatches":
        """Batches for answers alone, the longest rows first: smaller ones, if that saves padding.

        Args:
            lengths: The length of each row `[n]`.
            batch_size: Rows in a batch of average length, where there are many.

        Raises:
            InputError: If the batch size is below 1.
        """
        made = cls(lengths, batch_size, shuffle=False)
        made._worth = _WORTH
        made._part(min(INFERENCE_BUCKETS, max(1, len(made._lengths) // _WORTH)), batch_size)
        return made

    def _part(self, most: int, batch_size: int) -> None:
        """Chooses the lengths to pad to, and how many rows batches of each have."""
        self.buckets = bucket_lengths(self._lengths, most)
        self._bucket = np.searchsorted(self.buckets, self._lengths)
        mean = np.mean(self.buckets[self._bucket]) if len(self._lengths) else 0.0
        rows = np.round(batch_size * float(mean) / self.buckets).astype(int)
        self._rows = np.clip(rows, max(1, batch_size // 2), 2 * batch_size)

    def __len__(self) -> int:
        # Whatever the order: how many batches there are depends on the buckets alone.
        return len(self._cut(np.argsort(self._lengths)))

    def __iter__(self) -> Iterator[np.ndarray]:
        return self.of_pass(next(self._passes))

    def of_pass(self, number: int) -> Iterator[np.ndarray]:
        """The batches of the pass of that number, from 0: where they are shuffled, as no other."""
        if not self._shuffle:
            order = np.argsort(self._lengths, kind="stable")
            yield from (batch[::-1] for batch in reversed(self._cut(order)))
            return
        # By the number of the pass, so that a resumed run, which `skip`s some, has the same order.
        generator = np.random.default_rng(self._seed + number)
        batches = self._cut(generator.permutation(len(self._lengths)))
        yield from (batches[i] for i in generator.permutation(len(batches)))

    def skip(self, passes: int) -> None:
        """Leaves out passes, as of epochs that another process has trained."""
        for _ in range(passes):
            next(self._passes)

    def padded_length(self, rows: np.ndarray) -> int:
        """The length that a batch of these rows is padded to."""
        return int(self.buckets[self._bucket[rows].max()])

    def filled_rows(self, rows: np.ndarray) -> int:
        """How many rows a batch of these has, where all of one length have as many."""
        # Never fewer than there are: rows that join a longer bucket are fewer than their own takes.
        return int(self._rows[self._bucket[rows].max()])

    @property
    def padding(self) -> float:
        """The share of a pass's tokens that are padding."""
        return self._padding(len)

    @property
    def padding_filled(self) -> float:
        """The same where batches have `filled_rows`."""
        return self._padding(self.filled_rows)

    def _padding(self, count: Callable[[np.ndarray], int]) -> float:
        batches = self._cut(np.argsort(self._lengths, kind="stable"))
        padded = sum(count(rows) * self.padded_length(rows) for rows in batches)
        return 1.0 - float(self._lengths.sum()) / max(float(padded), 1.0)

    def _cut(self, order: np.ndarray) -> list[np.ndarray]:
        """Whole batches of each bucket; few rows left over join those of the next longer one."""
        batches: list[np.ndarray] = []
        left = order[:0]
        for index, size in enumerate(self._rows):
            rows = np.concatenate([left, order[self._bucket[order] == index]])
            whole = len(rows) // size * size
            batches += np.split(rows[:whole], whole // size) if whole else []
            left = rows[whole:]
            if len(left) >= self._worth:
                batches.append(left)
                left = order[:0]
        return [*batches, left] if len(left) else batches


def longest(encoded: Mapping[str, tf.RaggedTensor]) -> np.ndarray:
    """The length of each row's longest text int `[n]`.

    Args:
        encoded: Ragged ids `[n, (length)]`, or of several texts `[n, texts, (length)]`.
    """
    found = []
    for value in encoded.values():
        flat = value if value.ragged_rank == 1 else value.values
        found.append(flat.row_lengths().numpy().reshape(int(value.nrows()), -1).max(axis=1))
    return np.asarray(np.max(found, axis=0))


def pick(
    labels: "Labels | tuple[Labels, ...]",
    rows: tf.Tensor,
    length_of: Callable[..., tf.Tensor],
) -> tuple[Labels, ...]:
    """The labels of some rows, and their weights if they have any; ragged labels padded with -1.

    Args:
        labels: One for each row, or a ragged tensor of several, or a dictionary of such; or a pair
            of labels and weights.
        rows: Row numbers `[batch]`.
        length_of: What ragged ones of some rows are padded to; of those in a dictionary it is given
            the `name` too.
    """

    def gather(of_rows: Labels, **known: str) -> Labels:
        if isinstance(of_rows, dict):
            return {name: gather(value, name=name) for name, value in of_rows.items()}
        picked = tf.gather(of_rows, rows)
        if not isinstance(picked, tf.RaggedTensor):
            return picked
        return picked.to_tensor(-1, shape=tf.stack([tf.size(rows), length_of(picked, **known)]))

    return tuple(map(gather, labels if isinstance(labels, tuple) else (labels,)))


def weighed(
    batches: tf.data.Dataset, class_weight: Mapping[int, float] | None
) -> dict[str, tf.data.Dataset | Mapping[int, float] | None]:
    """Batches and the weights of their classes, for `fit`.

    Keras takes the latter with batches that have no weights of rows; here the product is made.

    Args:
        batches: Of `(inputs, labels)` or `(inputs, labels, weights)`.
        class_weight: `{place: weight}`, or nothing.
    """
    spec = batches.element_spec
    if not class_weight or not isinstance(spec, tuple) or len(spec) != 3:
        return {"x": batches, "class_weight": class_weight}
    table = [float(class_weight[place]) for place in range(len(class_weight))]

    def times(
        inputs: Features, labels: tf.Tensor, weights: tf.Tensor
    ) -> tuple[Features, tf.Tensor, tf.Tensor]:
        by_class = tf.gather(tf.constant(table, weights.dtype), tf.cast(labels, tf.int32))
        return inputs, labels, weights * by_class

    return {"x": batches.map(times), "class_weight": None}


def ready(dataset: tf.data.Dataset) -> tf.data.Dataset:
    """Batches made while the model works, by a fixed number of threads.

    `AUTOTUNE` tries other numbers at ever longer intervals, and the end of a pass was seen to wait
    for the next of them: 41 or 82 seconds instead of 38.
    """
    options = tf.data.Options()
    options.autotune.enabled = False
    return dataset.prefetch(MAP_THREADS).with_options(options)


@dataclasses.dataclass(frozen=True)
class InOrder:
    """Row numbers of each batch in the order of the rows."""

    rows: int
    batch_size: int

    def __len__(self) -> int:
        return math.ceil(self.rows / self.batch_size)

    def __iter__(self) -> Iterator[np.ndarray]:
        return self.of_pass(0)

    def of_pass(self, number: int) -> Iterator[np.ndarray]:
        """The same, whatever the number of the pass."""
        yield from np.array_split(
            np.arange(self.rows), range(self.batch_size, self.rows, self.batch_size)
        )


def in_turn(
    dataset: tf.data.Dataset, shuffled: bool = True, rows: LengthBatches | None = None
) -> tf.data.Dataset:
    """Notes of batches that their rows come in another order each time.

    Args:
        dataset: The batches.
        shuffled: Whether they do.
        rows: What orders them, if passes of it can be left out.
    """
    dataset.comes_in_turn = shuffled
    dataset.skip_passes = rows.skip if rows is not None else None
    return dataset


def require_order(given: object = None, *_: object, **named: object) -> None:
    """Raises `InputError` if answers to batches couldn't be told apart, as their rows are shuffled.

    Args:
        given: What `keras.Model.predict` was given for `x`.
        **named: What it was given by name.
    """
    if getattr(named.get("x", given), "comes_in_turn", False):
        raise InputError(
            "answers would come in the order of shuffled batches, which nobody knows: use "
            "`model.predict_scores(examples)`, or `model.preprocess(examples, shuffle=False)`. "
            "Received: batches of `preprocess` that shuffles"
        )
