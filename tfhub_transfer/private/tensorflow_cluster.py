"""Other processes of a cluster, which may have gone; no public name of TensorFlow asks for them."""

import tensorflow as tf
from tensorflow.python.eager import context


def does_answer(job: str, index: int, seconds: float) -> bool:
    """Whether a task of the cluster answers in time.

    `tensorflow.python.eager.context.Context.check_collective_ops_peer_health`, with TensorFlow
    2.21. By itself TensorFlow aborts what processes do together, some time after one has gone; what
    one does alone it doesn't.

    Args:
        job: Its type, such as `"worker"`.
        index: Which of these it is.
        seconds: How long it has.
    """
    task = f"/job:{job}/replica:0/task:{index}"
    try:
        context.context().check_collective_ops_peer_health(task, timeout_in_ms=int(1000 * seconds))
    except tf.errors.OpError:
        return False
    return True


def has_begun() -> bool:
    """Whether TensorFlow has done anything yet, after which no cluster can be joined.

    `tensorflow.python.eager.context.Context._context_handle`, with TensorFlow 2.21: what it makes
    with its first operation, or look at its devices.
    """
    return context.context()._context_handle is not None


def give_up(reason: str) -> None:
    """What processes do together fails from now on, with `tf.errors.OpError`, also what waits.

    `tensorflow.python.eager.context.Context.abort_collective_ops`, with TensorFlow 2.21, which does
    so by itself some minutes after a process has gone.

    Args:
        reason: What the error says.
    """
    context.context().abort_collective_ops(tf.errors.UNAVAILABLE, reason)
