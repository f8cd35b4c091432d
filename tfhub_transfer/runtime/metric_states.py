"""What metrics have counted, where the first replica of all counts for the others.

As a whole a count is summed over the replicas of all processes, which have to ask for it together.
"""

import keras
import numpy as np
import tensorflow as tf

from tfhub_transfer.runtime import cluster


def of_first(of: tf.distribute.Strategy, variable: keras.Variable) -> np.ndarray:
    """What the first replica of this process has counted; in the chief it is what all have.

    Args:
        of: The strategy.
        variable: Of a metric.
    """
    return np.asarray(of.experimental_local_results(variable.value)[0])


def give(of: tf.distribute.Strategy, variable: keras.Variable, value: np.ndarray) -> None:
    """Lets a metric go on from what `of_first` gave in the chief.

    Args:
        of: The strategy.
        variable: Of a metric.
        value: What it had counted.
    """
    if of.num_replicas_in_sync == 1:
        variable.assign(value)
        return
    first = cluster.place(of).index == 0
    # Not by the variable as a whole, which would divide it among them, and round.
    for number, each in enumerate(of.experimental_local_results(variable.value)):
        each.assign(value if first and number == 0 else np.zeros_like(value))
