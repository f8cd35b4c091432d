"""A model whose answers another runtime computes, to be measured as ever."""

import contextlib
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import TypeAlias

import numpy as np
import tensorflow as tf

from tfhub_transfer.models.forward import ANSWER, VECTOR, Forward
from tfhub_transfer.models.transfer import TransferModel
from tfhub_transfer.serving import side_files

# Ids `[rows, ...]` by name to scores `[rows, ...]` by name.
Run: TypeAlias = Callable[[Mapping[str, np.ndarray]], Mapping[str, np.ndarray]]


def filled(
    names: Mapping[str, tf.TensorSpec], ids: Mapping[str, tf.Tensor]
) -> dict[str, np.ndarray]:
    """All inputs of a model, of which a task's own are given; the others are empty.

    Args:
        names: All inputs.
        ids: Some of them `[rows, ...]`.
    """
    given = {name: np.asarray(value) for name, value in ids.items()}
    empty = np.zeros_like(next(iter(given.values())))
    return {name: given.get(name, empty) for name in names}


@contextlib.contextmanager
def answering(model: TransferModel, run: Run) -> Iterator[TransferModel]:
    """The model, whose scores are what another runtime computes of its ids.

    Args:
        model: What was exported; it is itself again afterwards.
        run: Asks the export. It is asked by one thread at a time.
    """
    names, given = side_files.input_specs(model, 1), side_files.outputs(model)
    own = {name: part.forward for name, part in model.parts.items()}
    lock = threading.Lock()
    try:
        for name, part in model.parts.items():
            part.forward = Forward(
                part.encoder,
                part.layout,
                {ANSWER: _asked(run, lock, names, given[name]), VECTOR: part.vector},
            )
        yield model
    finally:
        for name, part in model.parts.items():
            part.forward = own[name]


def _asked(
    run: Run, lock: threading.Lock, names: Mapping[str, tf.TensorSpec], output: str
) -> Callable[[dict[str, tf.Tensor]], tf.Tensor]:
    def answer(inputs: dict[str, tf.Tensor]) -> tf.Tensor:
        keys = list(inputs)

        def ask(*values: np.ndarray) -> np.ndarray:
            with lock:
                return run(filled(names, dict(zip(keys, values))))[output]

        return tf.numpy_function(ask, [inputs[key] for key in keys], tf.float32)

    return answer
