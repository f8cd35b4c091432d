"""The scaling of a model's scores, in the weights of its last layer: nothing else need know."""

import dataclasses

import keras
import numpy as np

from tfhub_transfer.models import last_layer
from tfhub_transfer.models.transfer import TransferModel
from tfhub_transfer.tasks.temperatures import Scaling


def can_be_put(model: TransferModel) -> bool:
    """Whether a dense layer makes the scores, as it doesn't where a task has layers of its own.

    Args:
        model: The model.
    """
    last = next((layer for layer in model.layers if layer.name == last_layer.NAME), None)
    return isinstance(last, keras.layers.Dense) and last.use_bias


def put(model: TransferModel, scaling: Scaling) -> None:
    """Scales a model's logits; what was put before is taken back first.

    Divided into the weights of the layer that makes the logits, the scaling costs nothing, is in
    every export, and stays float32 there as those weights do.

    Args:
        model: A model whose task is `calibrated_by` something.
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
    layer = _last(model)
    kernel, bias = layer.get_weights()
    layer.set_weights([kernel * np.float32(factor), (bias * factor + added).astype(bias.dtype)])


def _last(model: TransferModel) -> keras.layers.Layer:
    return model.get_layer(last_layer.NAME)
