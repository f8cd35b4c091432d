"""What TensorFlow sets or tells nowhere else: options of one thread's calls of graphs, the seed."""

import contextlib
import contextvars
from collections.abc import Callable, Iterator
from typing import TypeVar

from tensorflow.core.protobuf import config_pb2, rewriter_config_pb2
from tensorflow.python.eager import context

Made = TypeVar("Made")


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


def handed_on(function: Callable[..., Made]) -> Callable[..., Made]:
    """A function that other threads call as this one would: with its options and context variables.

    As `optimized`; a thread of a replica has those of the process, and no context variables.
    """
    options = context.context().function_call_options
    known = contextvars.copy_context()

    def called(*given: object) -> Made:
        eager = context.context()
        own, eager.function_call_options = eager.function_call_options, options
        try:
            # A copy, since a context can be entered by one thread only.
            return known.copy().run(function, *given)
        finally:
            eager.function_call_options = own

    return called


def chosen() -> rewriter_config_pb2.RewriterConfig:
    """How graphs that this thread calls now are optimized.

    As `optimized`; `tf.config.optimizer.get_experimental_options` knows the process only.
    """
    serialized = context.context().function_call_options.config_proto_serialized
    return config_pb2.ConfigProto.FromString(serialized).graph_options.rewrite_options


def global_seed() -> int | None:
    """What `tf.random.set_seed` was given last, if anything.

    `tensorflow.python.eager.context.global_seed`, with TensorFlow 2.21.
    `tf.compat.v1.random.get_seed` tells it too, but draws a seed for an operation along with it, so
    that others follow.
    """
    seed: int | None = context.global_seed()
    return seed
