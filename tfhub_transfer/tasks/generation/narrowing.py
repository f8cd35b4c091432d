"""The loop of a search, whose batch gets smaller as its texts are done.

Of texts sorted by length the longest answer has twice the pieces of the mean: what is done would be
half of what is computed.
"""

from collections.abc import Callable
from typing import Any, TypeAlias

import tensorflow as tf

# Tensors in tuples of any form. The first axis of each is texts, or hypotheses, those of one text
# side by side.
Tensors: TypeAlias = Any
# One place further: of the place, what is followed and the cache, to both.
Further: TypeAlias = Callable[[tf.Tensor, Tensors, Tensors], tuple[Tensors, Tensors]]


def followed(further: Further, now: Tensors, cache: Tensors, length: int) -> Tensors:
    """Goes from place to place until all is done, and returns what there is then.

    Args:
        further: What goes further.
        now: What is followed at first; its `done` says of which texts nothing is, any longer.
        cache: At first; axes that grow have no size.
        length: The last place.
    """
    shapes = _kept(now), _grown(cache)
    return _looped(further, (tf.constant(0), now, cache), length, 0, shapes)[1]


def followed_by_fewer(
    of: Callable[[tf.Tensor], Further], now: Tensors, cache: Tensors, length: int
) -> Tensors:
    """The same; but once half of the texts that are followed are done only the others are.

    Args:
        of: What goes further with some texts, by their numbers `[n]`.
        now: As of `followed`.
        cache: Likewise.
        length: Likewise.
    """
    batch = tf.shape(now.done)[0]
    # As they are at first: outside of a graph a cache that has grown has a size.
    kept, grown = _kept(now), _grown(cache)

    def going(place: tf.Tensor, texts: tf.Tensor, *_: Tensors) -> tf.Tensor:
        return tf.logical_and(place <= length, tf.size(texts) > 0)

    def body(
        place: tf.Tensor, texts: tf.Tensor, some: Tensors, cache: Tensors, whole: Tensors
    ) -> tuple[Tensors, ...]:
        count = tf.size(texts)
        state = place, some, cache
        place, some, cache = _looped(of(texts), state, length, count // 2, (kept, grown))
        whole = tf.nest.map_structure(
            lambda old, new: tf.tensor_scatter_nd_update(old, _rows(texts, batch, old), new),
            whole,
            some,
        )
        left = tf.cast(tf.where(tf.logical_not(some.done))[:, 0], tf.int32)
        some, cache = tf.nest.map_structure(
            lambda each: tf.gather_nd(each, _rows(left, count, each)), (some, cache)
        )
        return place, tf.gather(texts, left), some, cache, whole

    start = (tf.constant(0), tf.range(batch), now, cache, now)
    shapes = (tf.TensorShape([]), tf.TensorShape([None]), kept, grown, kept)
    return tf.while_loop(going, body, start, shape_invariants=shapes)[-1]


def _looped(
    further: Further,
    state: tuple[tf.Tensor, Tensors, Tensors],
    length: int,
    fewest: tf.Tensor | int,
    shapes: tuple[Tensors, Tensors],
) -> tuple[tf.Tensor, Tensors, Tensors]:
    """Goes on from a place while more than the fewest texts aren't done.

    Args:
        further: What goes further.
        state: The next place, what is followed, and the cache.
        length: The last place.
        fewest: The fewest texts.
        shapes: Of what is followed and of the cache, whatever place it is.

    Returns:
        The next place, what is followed then, and the cache.
    """

    def going(place: tf.Tensor, now: Tensors, cache: Tensors) -> tf.Tensor:
        left = tf.reduce_sum(tf.cast(tf.logical_not(now.done), tf.int32))
        return tf.logical_and(place <= length, left > fewest)

    def body(place: tf.Tensor, now: Tensors, cache: Tensors) -> tuple[tf.Tensor, Tensors, Tensors]:
        now, cache = further(place, now, cache)
        for tensors, own in zip((now, cache), shapes):
            tf.nest.map_structure(lambda tensor, shape: tensor.set_shape(shape), tensors, own)
        return place + 1, now, cache

    found: tuple[tf.Tensor, Tensors, Tensors] = tf.while_loop(
        going, body, state, shape_invariants=(tf.TensorShape([]), *shapes)
    )
    return found


def _rows(texts: tf.Tensor, count: tf.Tensor, values: tf.Tensor) -> tf.Tensor:
    """Where in values of so many texts those of some are, `[rows, 1]`."""
    each = tf.shape(values)[0] // count
    return tf.reshape(texts[:, None] * each + tf.range(each), [-1, 1])


def _kept(now: Tensors) -> Tensors:
    return tf.nest.map_structure(lambda x: tf.TensorShape([None, *x.shape[1:]]), now)


def _grown(cache: Tensors) -> Tensors:
    return tf.nest.map_structure(
        lambda x: tf.TensorShape([None, *(size or None for size in x.shape[1:])]), cache
    )
