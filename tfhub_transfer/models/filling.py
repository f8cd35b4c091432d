"""Batches of one number of rows, or of one for each length: rows that count for nothing fill up.

What is compiled for each shape (TPUs, XLA) or runs in step with others (several workers) needs
batches to have as many rows. Rows that fill up are copies of a real one, so that whatever is
computed of them is a number, with the weight -0.0: nothing for any loss, as 0.0 is, and told apart
from rows that a user weighs with 0, which Keras' metrics count unless they are weighted ones.
"""

import contextlib
import functools
import itertools
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sized
from typing import Protocol, TypeAlias, TypeVar

import keras
import numpy as np
import tensorflow as tf

from tfhub_transfer.errors import InputError
from tfhub_transfer.private import tensorflow_data

Batch = TypeVar("Batch")
_FILLER = -1
# In what each row weighs alike: the mean over an epoch, as of workers in step, or that of its
# batch, as where nothing fills up; in a mean over units, such as words, each weighs as it did.
BY_EPOCH, BY_BATCH, BY_UNIT = "epoch", "batch", "unit"
# What no label is: of words, candidates and sentences, and of the texts of pairs.
_NO_LABEL = -1
_REFUSED = re.compile(r"metric (.+) has no number for each row")
# -0.0 as the bits of a whole number.
_MINUS_0 = tf.int32.min
Labels: TypeAlias = "tf.Tensor | tf.RaggedTensor | Mapping[str, Labels]"


class Batches(Iterable[np.ndarray], Sized, Protocol):
    """Row numbers, batch by batch, each time it is gone through."""

    def of_pass(self, number: int) -> Iterator[np.ndarray]:
        """Those of the pass of that number, from 0."""


class Filled:
    """Row numbers of batches that all have as many; what fills them up is told apart by `there`.

    Args:
        rows: Row numbers of batches of at most `batch_size`.
        batch_size: Rows in a batch; or what gives as many for the row numbers of one.
        batches: How many batches there are to be, as of others that run in step; as many as `rows`
            has if not given.
    """

    def __init__(
        self,
        rows: Batches,
        batch_size: int | Callable[[np.ndarray], int],
        batches: int | None = None,
    ) -> None:
        self._rows = rows
        self._size = batch_size if callable(batch_size) else lambda _: batch_size
        self._batches = len(rows) if batches is None else batches

    def __len__(self) -> int:
        return self._batches

    def __iter__(self) -> Iterator[np.ndarray]:
        return self._filled(iter(self._rows))

    def of_pass(self, number: int) -> Iterator[np.ndarray]:
        """Those of the pass of that number, from 0."""
        return self._filled(self._rows.of_pass(number))

    def _filled(self, rows: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
        for batch in itertools.islice(itertools.chain(rows, self._nothing()), self._batches):
            yield np.pad(batch, (0, self._size(batch) - len(batch)), constant_values=_FILLER)

    def _nothing(self) -> Iterator[np.ndarray]:
        return itertools.repeat(np.zeros(0, np.int64))


def there(indices: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Row numbers of a batch of `Filled`, and which of its rows are there.

    Args:
        indices: Row numbers int64 `[batch]`, as `Filled` has them.

    Returns:
        Row numbers of which each is one of a row: what fills up is a copy of the batch's first row,
        whose length suits the batch. And bool `[batch]`.
    """
    real = indices != _FILLER
    # A batch of nothing but fillers has no first row; row 0 stands in.
    return tf.where(real, indices, tf.maximum(indices[0], 0)), real


def copied(indices: np.ndarray) -> np.ndarray:
    """Row numbers of a batch of `Filled` as `there` gives them, of one that has a row."""
    return np.where(indices == _FILLER, indices[0], indices)


def factor(rows: float, padded: int) -> float:
    """What each row weighs, so that the mean over all rows is 1, those that fill up included.

    The loss of a batch is a mean over all of its rows, that of an epoch the mean over batches. So
    an epoch's loss is the one of the rows alone, and each of them counts alike in its steps.

    Args:
        rows: How many there are; of workers in step in the mean.
        padded: How many there are with those that fill up.
    """
    return padded / rows if rows else 1.0


def factor_of_batch(real: tf.Tensor) -> tf.Tensor:
    """What each row of a batch weighs, so that the mean over all of it is that over its rows.

    Args:
        real: Which rows are there, bool `[batch]`.
    """
    count = tf.reduce_sum(tf.cast(real, tf.float32))
    return tf.cast(tf.size(real), tf.float32) / tf.maximum(count, 1.0)


def weigh(
    weights: tf.Tensor | Mapping[str, tf.Tensor], real: tf.Tensor, times: tf.Tensor | float
) -> tf.Tensor | dict[str, tf.Tensor]:
    """Weights of a batch whose rows may not all be there.

    Args:
        weights: Of its rows `[batch]` or `[batch, 1]`; of several tasks by name.
        real: Which rows are there, bool `[batch]`.
        times: What `factor` gave.
    """
    if isinstance(weights, Mapping):
        return {name: weigh(each, real, times) for name, each in weights.items()}
    return tf.where(_like(real, weights), weights * times, -0.0)


def blank(made: Labels, of: Labels, real: tf.Tensor, every: bool = False) -> Labels:
    """Labels of a batch without those of rows that aren't there, where a label can say so.

    Args:
        made: The labels of the batch, padded.
        of: Those that they were picked from; ragged ones are -1 where there is nothing.
        real: Which rows are there, bool `[batch]`.
        every: Whether -1 stands for nothing in labels that aren't ragged too.
    """
    if isinstance(made, Mapping):
        return {name: blank(each, of[name], real, every) for name, each in made.items()}
    if not every and not isinstance(of, tf.RaggedTensor):
        return made
    return tf.where(_like(real, made), made, tf.cast(_NO_LABEL, made.dtype))


def _like(real: tf.Tensor, values: tf.Tensor) -> tf.Tensor:
    """`[batch]` with as many axes as other values."""
    return tf.reshape(real, [-1, *[1] * (len(values.shape) - 1)])


def of_size(batch: Batch, size: int) -> Batch:
    """A batch whose number of rows is known before any is made.

    Args:
        batch: Tensors `[size, ...]`, in whatever structure.
        size: The number.
    """
    return tf.nest.map_structure(lambda each: tf.ensure_shape(each, [size, *each.shape[1:]]), batch)


def stream(
    rows: tf.data.Dataset, filler: tf.data.Dataset, missing: int, times: float
) -> tf.data.Dataset:
    """Rows one by one, `(texts, label)` or with a weight behind, and behind them what fills up.

    Args:
        rows: The rows.
        filler: The first of them, of which copies fill up.
        missing: How many copies.
        times: What `factor` gave.
    """

    def weighed(texts: tf.Tensor, label: tf.Tensor, weight: tf.Tensor = 1.0) -> tuple:
        return texts, label, tf.cast(weight, tf.float32) * times

    def filling(texts: tf.Tensor, label: tf.Tensor, *_: tf.Tensor) -> tuple:
        return texts, label, tf.constant(-0.0)

    # Kept, or each copy would begin to read the source anew.
    return rows.map(weighed).concatenate(filler.map(filling).cache().repeat(missing))


# What Keras counts -----------------------------------------------------------------------------


def filled(given: object) -> str | None:
    """In what rows weigh alike (`BY_EPOCH`, ...), if some may only fill batches up.

    Args:
        given: What `fit`, `evaluate` or `predict` was given for `x`: what `preprocess` made, or
            what tf.data or a strategy of `tf.distribute` made of that.

    Returns:
        `None` if no rows fill up, or nobody knows.
    """
    own: str | None = getattr(given, "filled", None)
    if own or not isinstance(given, (tf.data.Dataset, tf.distribute.DistributedDataset)):
        return own
    return next(filter(None, map(filled, tensorflow_data.parents(given))), None)


def note(dataset: tf.data.Dataset, by: str | None) -> None:
    """Notes of batches what `filled` is to say of them."""
    dataset.filled = by
    dataset.epochs.note(filled=by)


def counted(weights: object) -> tf.Tensor | None:
    """Which rows of a batch count, float32 `[batch]` of 0 and 1; `None` if nothing says so.

    Args:
        weights: Of rows, as Keras' steps have them; of several tasks by name.
    """
    # Of several outputs some may have none.
    given = [each for each in tf.nest.flatten(weights) if each is not None]
    if not given:
        return None
    first = tf.cast(given[0], tf.float32)
    if first.shape.rank == 0:
        return None  # one number for all rows
    if first.shape.rank != 1:
        rows = tf.shape(first)[0]
        # Not -1 columns, of which no rows would have any number.
        columns = tf.size(first) // tf.maximum(rows, 1)
        first = tf.reshape(tf.reshape(first, [rows, columns])[:, :1], [-1])
    return tf.cast(are_there(first), tf.float32)


def are_there(weights: tf.Tensor) -> tf.Tensor:
    """Which rows of a batch don't only fill it up, bool `[batch]`, by their weights, float32."""
    return tf.bitcast(weights, tf.int32) != _MINUS_0


@contextlib.contextmanager
def by_rows(mean: keras.metrics.Metric, real: tf.Tensor) -> Iterator[None]:
    """While it is open, a mean of losses of batches counts the rows that are there, and no others.

    Args:
        mean: What Keras tells the loss of a batch, with its number of rows.
        real: What `counted` gave.
    """
    # Not the instance's: replicas, each in a thread of its own, are in here at one time.
    usual = functools.partial(type(mean).update_state, mean)
    rows = tf.reduce_sum(real)
    # On the instance, which Keras calls; the class is shared with other models.
    vars(mean)["update_state"] = lambda loss, sample_weight=None: usual(loss, sample_weight=rows)
    try:
        yield
    finally:
        vars(mean).pop("update_state", None)


@contextlib.contextmanager
def left_out(
    metrics: Iterable[keras.metrics.Metric], real: tf.Tensor, known: bool = True
) -> Iterator[None]:
    """While it is open, metrics that aren't weighted leave out rows that aren't there.

    Args:
        metrics: Keras' metrics of a model.
        real: What `counted` gave.
        known: Whether there may be such rows, as `filled` tells; of batches that came through a
            file, an iterator or `train_on_batch` nothing does but their weights. Those that
            have none are counted as without this.
    """
    count = _counting if known else _looking
    found = [one for metric in metrics for one in getattr(metric, "metrics", [metric])]
    usual = {id(one): (one, vars(one).get("update_state")) for one in found}
    for one, _ in usual.values():
        # On the instance, which Keras calls; the class is shared with other models.
        vars(one)["update_state"] = count(one.name, one.update_state, real)
    try:
        yield
    finally:
        for one, own in usual.values():
            if own is None:
                del vars(one)["update_state"]
            else:
                vars(one)["update_state"] = own


def _counting(name: str, update: Callable[..., object], real: tf.Tensor) -> Callable[..., object]:
    def update_state(y_true: object, y_pred: object, sample_weight: object = None) -> object:
        if sample_weight is not None:
            return update(y_true, y_pred, sample_weight)
        try:
            return update(y_true, y_pred, real)
        # Of any kind: metrics are anyone's code, and some take no weights at all.
        except Exception as error:
            raise _not_by_row(name, (str(error).splitlines() or [""])[0]) from error

    return update_state


def _looking(name: str, update: Callable[..., object], real: tf.Tensor) -> Callable[..., object]:
    def update_state(y_true: object, y_pred: object, sample_weight: object = None) -> object:
        if sample_weight is not None:
            return update(y_true, y_pred, sample_weight)

        def counted_by(*weights: tf.Tensor) -> tf.Tensor:
            update(y_true, y_pred, *weights)
            return tf.constant(0)

        whole = tf.reduce_all(real > 0)
        try:
            # In a branch of its own, so that what fails leaves nothing in the graph.
            return tf.cond(whole, counted_by, lambda: counted_by(real))
        except Exception:  # as above
            said = f"metric {name} has no number for each row"
            with tf.control_dependencies([tf.debugging.Assert(whole, [said])]):
                return counted_by()

    return update_state


@contextlib.contextmanager
def errors_alone() -> Iterator[None]:
    """Raises `InputError` where a graph says that a metric can't leave out rows that fill up."""
    try:
        yield
    except tf.errors.InvalidArgumentError as error:
        found = _REFUSED.search(str(error.message))
        if found is None:
            raise
        raise _not_by_row(found[1], "batches with rows that fill up") from None


def _not_by_row(name: str, received: str) -> InputError:
    return InputError(
        f"metric {name!r} has no number for each row, so it can't leave out those that only fill up"
        " batches, as XLA needs them: compile without it, or give batches of "
        "`model.preprocess(examples, static_batches=False)`. "
        f"Received: {received}"
    )


def require_none(given: object = None, *_: object, **named: object) -> None:
    """Raises `InputError` if answers would hold some to rows that fill up.

    Args:
        given: What `keras.Model.predict` was given for `x`.
        **named: What it was given by name.
    """
    if filled(named.get("x", given)):
        raise InputError(
            "answers would hold some to rows that only fill up batches: use "
            "`model.predict_scores(examples)`, or "
            "`model.preprocess(examples, shuffle=False, static_batches=False)`. "
            "Received: batches of `preprocess` with static_batches=True, or for XLA"
        )
