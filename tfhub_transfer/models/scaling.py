"""The scaling of a model's scores, in the weights of its last layers: nothing else need know."""

import dataclasses

import keras
import numpy as np

from tfhub_transfer.models import last_layer
from tfhub_transfer.models.transfer import TransferModel
from tfhub_transfer.tasks.temperatures import Scaling


def can_be_put(model: TransferModel) -> bool:
    """Whether its task knows what makes the scores, as it doesn't of layers of one's own.

    Args:
        model: The model.
    """
    return model.task.can_rescale(_layers(model))


def put(model: TransferModel, scaling: Scaling) -> None:
    """Scales a model's logits; what was put before is taken back first.

    Divided into the weights of what makes the logits, the scaling costs nothing, is in
    every export, and stays float32 there as those weights do.

    Args:
        model: A model for which `can_be_put` holds.
        scaling: What its logits become.
    """
    take_back(model)
    _times(model, 1.0 / scaling.temperature, np.array(scaling.bias or 0.0))
    model.task.calibration = dataclasses.replace(scaling, mark=last_layer.mark(model))


def take_back(model: TransferModel) -> None:
    """Makes a model's logits what they were before `put`, but for rounding.

    Args:
        model: The model; one that was trained on since is left as it is.
    """
    scaling = current(model)
    if scaling is not None:
        temperature = scaling.temperature
        _times(model, temperature, -np.array(scaling.bias or 0.0) * temperature)
    model.task.calibration = None


def current(model: TransferModel) -> Scaling | None:
    """What was `put`, if the model's last layer still is as it was then.

    Args:
        model: The model.
    """
    scaling = model.task.calibration
    if scaling is None or scaling.mark != last_layer.mark(model):
        return None
    return scaling


def _times(model: TransferModel, factor: float, added: np.ndarray) -> None:
    model.task.rescale(_layers(model), factor, added)


def _layers(model: TransferModel) -> dict[str, keras.layers.Layer]:
    return {layer.name: layer for layer in model.layers}
