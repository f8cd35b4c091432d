"""Functions of tensors that are called again and again, as graphs."""

from collections.abc import Callable, Mapping
from typing import Generic, TypeVar

import tensorflow as tf

# To trace a function costs as much as to run it a dozen times operation by operation.
EAGER_CALLS = 2


Given = TypeVar("Given")


class Repeated(Generic[Given]):
    """A function that runs as it stands at first, and as a graph when it is called once more.

    Operation by operation thousands of small steps cost a tenth of a second for one short text; as
    a graph they cost a few milliseconds, but tracing it costs a second, which whoever asks once
    needn't spend. Both give the same.

    Args:
        function: Takes and gives tensors, plain and ragged, in tuples and dictionaries.
        settings: Gives what the function reads beside them, by name. What it becomes as a graph is
            forgotten when one of these is another.
    """

    def __init__(
        self, function: Callable[..., Given], settings: Callable[[], Mapping[str, object]]
    ) -> None:
        self._function, self._settings = function, settings
        self._known: dict[str, object] | None = None
        self._calls = 0
        self._graph: Callable[..., Given] | None = None

    def __call__(self, *given: object) -> Given:
        now = {name: _copy(value) for name, value in self._settings().items()}
        if now != self._known:
            self._known, self._calls, self._graph = now, 0, None
        self._calls += 1
        if self._calls <= EAGER_CALLS:
            return self._function(*given)
        graph = self._graph
        if graph is None:
            spec = tf.nest.map_structure(_of_any_size, given)
            # Without AutoGraph, which takes its time and finds nothing to rewrite here.
            made = tf.function(self._function, autograph=False)
            # TensorFlow warns of retracing when one line of code is traced for several objects.
            self._graph = graph = made.get_concrete_function(*spec)
        return graph(*given)


def _copy(value: object) -> object:
    # A list that somebody changes in place would always be what it was.
    return list(value) if isinstance(value, list) else value


def _of_any_size(
    value: tf.Tensor | tf.RaggedTensor,
) -> tf.TensorSpec | tf.RaggedTensorSpec:
    rank = len(value.shape)
    if not isinstance(value, tf.RaggedTensor):
        return tf.TensorSpec([None] * rank, value.dtype)
    ragged = value.ragged_rank
    shape = [None] * (ragged + 1) + value.shape.as_list()[ragged + 1 :]
    return tf.RaggedTensorSpec(shape, value.dtype, ragged, value.row_splits.dtype)
