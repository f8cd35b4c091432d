"""What TensorFlow remembers of gradients for good, and lets nobody take back."""

import contextlib
import types
from collections.abc import Iterator

from tensorflow.python.framework import ops

# What adds up, or puts together, what replicas computed: TensorFlow's, and `runtime.gathering`.
_OF_REPLICAS = ("ReplicaContextBase.all_reduce.", "ReplicaContextBase.all_gather.", "_of_all.")


@contextlib.contextmanager
def forgotten() -> Iterator[None]:
    """How to differentiate the sums over replicas that the body makes is forgotten behind it.

    `tensorflow.python.framework.ops.gradient_registry` and its `_registry`, with TensorFlow 2.21.
    An optimizer adds up gradients by `tf.distribute.ReplicaContext.all_reduce`, on one device too,
    and for each such sum an entry there holds the whole graph of the step, and so the SavedModel,
    as long as the process lives. Once a step is traced nobody asks: its gradients are in it, and
    the sums of these have none themselves. Other entries stay, for layers that were traced by the
    way may be differentiated again.
    """
    registry = ops.gradient_registry._registry
    before = set(registry)
    try:
        yield
    finally:
        for name in set(registry) - before:
            entry = registry.get(name)  # another thread may have forgotten it
            if entry is not None and _is_of_sum(entry["type"]):
                registry.pop(name, None)


def _is_of_sum(gradient: object) -> bool:
    """Whether a gradient is that of `all_reduce`, which is wrapped in functions that hold it."""
    around: list[object] = [gradient]
    for _ in range(3):
        found = [inner for each in around for inner in _functions_in(each)]
        if any(function.__qualname__.startswith(_OF_REPLICAS) for function in found):
            return True
        around = [*found]
    return False


def _functions_in(function: object) -> Iterator[types.FunctionType]:
    """Functions that one holds; a gradient of one's own may be anything that can be called."""
    for cell in (isinstance(function, types.FunctionType) and function.__closure__) or ():
        with contextlib.suppress(ValueError):  # nothing yet
            if isinstance(cell.cell_contents, types.FunctionType):
                yield cell.cell_contents
