"""What TensorFlow sets or tells nowhere else: options of one thread's calls of graphs, the seed."""

import contextlib
from collections.abc import Iterator

from tensorflow.core.protobuf import config_pb2
from tensorflow.python.eager import context


@contextlib.contextmanager
def optimized(**choices: int) -> Iterator[None]:
    """Graphs that this thread calls inside are optimized with other choices.

    `tensorflow.python.eager.context`: `function_call_options`, `FunctionCallOptions`, with
    TensorFlow 2.21. `tf.config.optimizer.set_experimental_options` is for the whole process.

    Args:
        **choices: Fields of a `RewriterConfig`.
    """
    eager = context.context()
    before = eager.function_call_options
    # A copy of what holds now, so that choices of blocks around this one stay.
    config = config_pb2.ConfigProto.FromString(before.config_proto_serialized)
    for name, choice in choices.items():
        setattr(config.graph_options.rewrite_options, name, choice)
    own = context.FunctionCallOptions(before.executor_type, config)
    eager.function_call_options = own
    try:
        yield
    finally:
        # Whoever has changed TensorFlow's options since then keeps what they chose.
        if eager.function_call_options is own:
            eager.function_call_options = before


def as_in_a_new_thread() -> None:
    """Lets this thread call graphs as TensorFlow's options are now, not as they were once.

    `tensorflow.python.eager.context`: `function_call_options`, with TensorFlow 2.21. A thread keeps
    those of its first call, and hears of no others that another thread has chosen since.
    """
    context.context().function_call_options = None


def global_seed() -> int | None:
    """What `tf.random.set_seed` was given last, if anything.

    `tensorflow.python.eager.context.global_seed`, with TensorFlow 2.21.
    `tf.compat.v1.random.get_seed` tells it too, but draws a seed for an operation along with it, so
    that others follow.
    """
    seed: int | None = context.global_seed()
    return seed
