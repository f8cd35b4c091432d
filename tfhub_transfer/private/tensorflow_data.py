"""What a dataset of tf.data was made from, which no public name tells."""

from typing import Any

import tensorflow as tf


def inputs(dataset: tf.data.Dataset) -> list[Any]:
    """The datasets that one was made from, as `dataset.map` makes it from `dataset`.

    `tf.data.Dataset._inputs`, with TensorFlow 2.21. What one sets on a dataset isn't on those that
    are made from it.

    Args:
        dataset: The one.
    """
    return list(dataset._inputs())
