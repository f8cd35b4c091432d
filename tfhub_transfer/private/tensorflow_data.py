"""What a dataset of tf.data was made from, which no public name tells."""

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
