"""The layer that makes a model's scores, by whose weights it is known whether it was trained on."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import keras

from tfhub_transfer.models.scope import Scope
from tfhub_transfer.tasks.conformal import Limits

NAME = "scores"


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


def forget_void(model: Scoring) -> None:
    """Takes away what `conformalize` and `learn_scope` found where the model was trained on since.

    Args:
        model: The model.
    """
    for part in model.parts.values():
        part.task.limits = known_limits(part)
        if part.scope is not None and part.scope.mark != mark(part):
            part.scope = None


def known_limits(model: Scoring) -> Limits | None:
    """What `conformalize` found of a model of one task, if it wasn't trained on since.

    Args:
        model: The model.
    """
    limits: Limits | None = model.task.limits
    return limits if limits is not None and limits.mark == mark(model) else None
