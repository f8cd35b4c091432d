"""Whether two values of TensorFlow are one place in memory, which no public name tells."""

import numpy as np
import tensorflow as tf


def is_shared(one: tf.Tensor, other: tf.Tensor) -> bool:
    """Whether two tensors are one buffer, so that nobody has written to a variable in between.

    The buffer protocol of `EagerTensor`, and how a `tf.Variable` is written to, with TensorFlow
    2.21: what was read of a variable is its own buffer, which TensorFlow leaves as it is as long as
    anybody holds it: it writes to a copy then. The buffer of `assign` becomes the variable's.

    Args:
        one: What was read of a variable, or assigned to it, and is held since.
        other: What is read of it now.

    Returns:
        Never true of what differs; false of what can't be told, such as memory of a GPU.
    """
    try:
        places = [np.asarray(memoryview(each)) for each in (one, other)]
    except (TypeError, ValueError, BufferError):
        return False
    first, second = (each.__array_interface__["data"][0] for each in places)
    return bool(first == second and places[0].nbytes == places[1].nbytes > 0)
