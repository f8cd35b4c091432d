"""What a dataset of tf.data was made from, and what it calls, which no public name tells."""

from collections.abc import Callable
from typing import Any

import tensorflow as tf


def parents(dataset: tf.data.Dataset) -> list[Any]:
    """The datasets that one was made from, as `dataset.map` makes it from `dataset`.

    `tf.data.Dataset._inputs` and `tf.distribute.DistributedDataset._original_dataset`, with
    TensorFlow 2.21. What one sets on a dataset isn't on those that are made from it.

    Args:
        dataset: The one; or what a `tf.distribute` strategy makes of one.
    """
    if isinstance(dataset, tf.distribute.DistributedDataset):
        whole = getattr(dataset, "_original_dataset", None)
        return [] if whole is None else [whole]
    return list(dataset._inputs())


def with_its_functions(make: Callable[[], tf.data.Dataset]) -> tf.data.Dataset:
    """A dataset together with which the functions of Python end that it calls.

    `_py_funcs_used_in_graph` of the outermost graph, with TensorFlow 2.21: there `from_generator`
    and `tf.numpy_function` keep them, and all that they hold, as long as the thread lives. What is
    made from a dataset holds it, and so does an iterator of any of these.

    Args:
        make: Makes the dataset.
    """
    if not tf.executing_eagerly():  # the graph is what outlives this
        return make()
    graph = tf.compat.v1.get_default_graph()
    while getattr(graph, "outer_graph", None) is not None:
        graph = graph.outer_graph
    before = {id(each) for each in getattr(graph, "_py_funcs_used_in_graph", ())}
    made = make()
    kept: list[Callable[..., object]] = getattr(graph, "_py_funcs_used_in_graph", [])
    made.calls = [each for each in kept if id(each) not in before]
    kept[:] = [each for each in kept if id(each) in before]
    return made
