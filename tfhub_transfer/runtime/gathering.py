"""Rows of a batch that replicas share: each computes some, and knows what all have computed.

A loss may be anything of its batch: a mean over words, weights, other rows as wrong answers. So
each replica has the loss of the whole batch, as one device has it, from its own rows and what the
others computed of theirs. A weight before that point gets from each replica the gradient through
its own rows, and the sum over replicas is the whole.
"""

from collections.abc import Callable
from typing import Any, TypeVar

import tensorflow as tf

Given = TypeVar("Given")


def how_many() -> int:
    """How many replicas there are, of all processes together."""
    return int(tf.distribute.get_strategy().num_replicas_in_sync)


def count(given: object) -> "int | tf.Tensor":
    """How many rows a batch has: a number where its shape says so.

    Args:
        given: Tensors `[rows, ...]`, in whatever structure.
    """
    first = next(each for each in tf.nest.flatten(given) if each is not None)
    static = first.shape[0]
    return tf.shape(first)[0] if static is None else int(static)


def rows_of_replica(given: Given, rows: "int | tf.Tensor") -> Given:
    """This replica's rows of a batch. All have as many; the last row stands in for those missing.

    Args:
        given: Tensors `[rows, ...]`, in whatever structure.
        rows: How many.

    Returns:
        `[ceil(rows / replicas), ...]`.
    """
    each = _each(rows)
    at = tf.minimum(_replica() * each + tf.range(each), rows - 1)
    return tf.nest.map_structure(
        lambda value: value if value is None else tf.gather(value, at), given
    )


def of_all(made: Given, rows: "int | tf.Tensor") -> Given:
    """What all replicas computed of the rows of a batch, in the order of the batch.

    The gradient of what is the same on each replica, divided by their number, is right behind it.

    Args:
        made: What this replica computed of `rows_of_replica`, in whatever structure.
        rows: How many there are.

    Returns:
        `[rows, ...]`, the same on each replica.
    """
    return tf.nest.map_structure(lambda value: _of_all(value, rows), made)


def _of_all(made: tf.Tensor, rows: "int | tf.Tensor") -> tf.Tensor:
    context = tf.distribute.get_replica_context()
    # Outside of what has a gradient: replicas wait for each other in threads without its tape.
    gathered = context.all_gather(tf.stop_gradient(made), axis=0)
    each, times = count(made), how_many()

    @tf.custom_gradient
    def placed(made: tf.Tensor, gathered: tf.Tensor) -> tuple[tf.Tensor, Callable[..., Any]]:
        def gradient(upstream: tf.Tensor) -> tuple[tf.Tensor, None]:
            # Each replica has the same from there, and would add its own. Of known size, for XLA.
            begin = [_replica() * each, *[0] * (len(upstream.shape) - 1)]
            mine = tf.slice(upstream, begin, tf.concat([[each], tf.shape(upstream)[1:]], 0))
            return mine * tf.cast(times, upstream.dtype), None

        return tf.identity(gathered), gradient

    static = rows if isinstance(rows, int) else None
    return tf.ensure_shape(placed(made, gathered)[:rows], [static, *made.shape[1:]])


def by_first(update: Callable[[], object]) -> None:
    """Calls what changes variables that are summed over replicas on the first of them alone."""
    if tf.distribute.get_replica_context() is None:  # while Keras builds a model
        update()
        return
    number = tf.get_static_value(_replica())
    if number is None:  # on TPUs one program is that of all replicas

        def updated() -> tf.Tensor:
            update()
            return tf.constant(0)

        tf.cond(tf.equal(_replica(), 0), updated, lambda: tf.constant(0))
    elif number == 0:
        update()


def of_first(values: Given) -> Given:
    """What the first replica has, on each of them.

    Args:
        values: Numbers, in whatever structure.
    """
    context, is_first = tf.distribute.get_replica_context(), tf.equal(_replica(), 0)
    return tf.nest.map_structure(
        lambda each: context.all_reduce(
            tf.distribute.ReduceOp.SUM, tf.where(is_first, each, tf.zeros_like(each))
        ),
        values,
    )


def alike(given: object) -> tf.Tensor:
    """Whether all replicas have been given the same, bool.

    Args:
        given: Numbers, in whatever structure.
    """
    context = tf.distribute.get_replica_context()
    every = context.all_gather(tf.reshape(_digest(given), [1]), axis=0)
    return tf.reduce_all(tf.equal(every, every[0]))


def _digest(given: object) -> tf.Tensor:
    """A number of what is given, in its order, int64; whole, so that all machines make the same."""
    found = tf.constant(0, tf.int64)
    for each in tf.nest.flatten(given):
        if each is not None:
            value = tf.reshape(each, [-1])
            bits = tf.bitcast(tf.cast(value, tf.float32), tf.int32)
            places = tf.range(1, tf.size(bits, tf.int64) + 1, dtype=tf.int64)
            found = 31 * found + tf.reduce_sum(tf.cast(bits, tf.int64) * places)
    return found


def _each(rows: "int | tf.Tensor") -> "int | tf.Tensor":
    return (rows + how_many() - 1) // how_many()


def _replica() -> "int | tf.Tensor":
    context = tf.distribute.get_replica_context()
    number = context.replica_id_in_sync_group
    static = tf.get_static_value(number) if tf.is_tensor(number) else number
    return tf.cast(number, tf.int32) if static is None else int(static)
