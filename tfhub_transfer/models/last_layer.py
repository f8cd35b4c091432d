"""The layer that makes a model's scores, by whose weights it is known whether it was trained on.

Models may share an encoder, and one of them have it trained where the others' last layers stay: so
of what answers hang on the encoder's weights count, too.
"""

import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

import keras
import numpy as np

from tfhub_transfer.models.scope import Scope
from tfhub_transfer.tasks.conformal import Limits

NAME = "scores"
# Of an encoder count the weights that are no larger, which all its layers have and whatever trains
# a layer changes; of one that has none, rows so many apart: to look at all takes seconds.
_SMALL, _ROWS = 4096, 1024


class Scoring(Protocol):
    """What of a model has such a layer, or consists of models that have one."""

    encoder: Any

    @property
    def layers(self) -> Sequence[keras.layers.Layer]:
        """All of its layers."""

    @property
    def task(self) -> Any:
        """What it answers."""

    scope: Scope | None

    @property
    def parts(self) -> Mapping[str, Any]:
        """The models that it consists of, by name of the task."""


def mark(model: Scoring) -> str:
    """What tells the weights that make a model's scores from others.

    Args:
        model: The model. Where it has no layer `scores`, all count that aren't the encoder's.
    """
    named = [layer for layer in model.layers if layer.name == NAME]
    own = named or [layer for layer in model.layers if layer is not model.encoder]
    weights = [each for layer in own for each in layer.get_weights()]
    return hashlib.sha256(b"".join(each.tobytes() for each in weights)).hexdigest()[:16]


def stamp(model: Scoring) -> str:
    """What tells the weights that a model's answers hang on from others: those of the encoder, too.

    Args:
        model: The model.
    """
    digests = sorted(hashlib.sha256(each.tobytes()).digest() for each in _some(model.encoder))
    return f"{mark(model)}-{hashlib.sha256(b''.join(digests)).hexdigest()[:16]}"


def forget_void(model: Scoring) -> None:
    """Takes away what `conformalize` and `learn_scope` found where the model was trained on since.

    Args:
        model: The model.
    """
    for part in model.parts.values():
        limits: Limits | None = part.task.limits
        if limits is None and part.scope is None:
            continue
        found = stamp(part)
        # Older files have the last layer's mark alone.
        known = (found, found.partition("-")[0])
        if limits is not None and limits.mark not in known:
            part.task.limits = None
        if part.scope is not None and part.scope.mark not in known:
            part.scope = None


def _some(encoder: keras.layers.Layer) -> Iterator[np.ndarray]:
    """Of an encoder's weights those by which it is known from itself after more training."""
    small = [each for each in encoder.weights if math.prod(each.shape) <= _SMALL]
    yield from (keras.ops.convert_to_numpy(each) for each in small)
    if not small:
        for each in encoder.weights:
            rows = np.unique(np.linspace(0, each.shape[0] - 1, _ROWS).astype(int))
            yield keras.ops.convert_to_numpy(keras.ops.take(each, rows, axis=0))
