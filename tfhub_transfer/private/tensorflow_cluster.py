"""Whether another process of a cluster is there, which no public name of TensorFlow tells."""

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
