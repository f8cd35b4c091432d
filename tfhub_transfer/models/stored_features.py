"""What heads start from, computed once for each text and kept on disk."""

import json
from typing import Protocol

import keras
import numpy as np

from tfhub_transfer import progress, runtime
from tfhub_transfer.encoders.encoder import Encoder
from tfhub_transfer.encoders.preprocessing import Truncation
from tfhub_transfer.incoming import choices
from tfhub_transfer.models.forward import FEATURES, Forward
from tfhub_transfer.storage import budget, names
from tfhub_transfer.storage.stores import VectorStore
from tfhub_transfer.tasks.layouts import Layout, Rows


class Featured(Protocol):
    """What of a model makes features."""

    encoder: Encoder
    features: keras.KerasTensor
    forward: Forward

    @property
    def layout(self) -> Layout:
        """What turns texts into ids, and knows the head."""


def compute(
    model: Featured, rows: Rows, batch_size: int, verbose: bool
) -> tuple[np.ndarray, Truncation]:
    """The features of rows `[rows, features]`, out of the store as far as it has them.

    Args:
        model: A `TransferModel`.
        rows: The rows.
        batch_size: How many of them pass the encoder at once.
        verbose: Whether to say how far it is, also where progress isn't shown.

    Returns:
        The features, and what was cut off the rows.
    """
    verbose = choices.flag("verbose", verbose)
    examples = rows.examples
    lost = np.empty(len(examples), "int32")

    def made(wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        with progress.part(worth=len(wanted)):
            found, cut = model.forward.run(FEATURES, examples[wanted], batch_size)
            return np.asarray(found), cut

    steps = progress.step("Features", len(examples), always=verbose)
    with steps as counter, runtime.precision("auto", model.encoder.dimension):
        store = VectorStore(key(model), model.features.shape[-1])
        features = budget.array((len(examples), store.width))
        store.complete(names.digests(examples.texts), features, lost, made, counter.expect)
    return features, Truncation.count(lost)


def key(model: Featured) -> str:
    """What the features of a text depend on beside the text.

    Args:
        model: A `TransferModel`.
    """
    layout = model.layout
    head = {"block": layout.head.block, "pooling": layout.head.pooling, "pair": layout.task.pair}
    head |= {"towers": True} if layout.head.towers else {}
    return names.key(
        json.dumps(head),
        model.encoder.fingerprint(),
        layout.preprocessor.fingerprint(),
        runtime.choose_precision("auto", model.encoder.dimension),
    )
