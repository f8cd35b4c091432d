"""Layers by PyTorch's conventions in NumPy, for tests that compute what an encoder should give."""

import math
from collections.abc import Callable, Mapping

import numpy as np
import scipy.special

Tensors = Mapping[str, np.ndarray]

ACTIVATIONS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "gelu": lambda x: x * 0.5 * (1 + scipy.special.erf(x / math.sqrt(2))),
    "gelu_new": lambda x: (
        0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * np.power(x, 3))))
    ),
    "relu": lambda x: np.maximum(x, 0),
}


def linear(tensors: Tensors, x: np.ndarray, name: str) -> np.ndarray:
    """`torch.nn.Linear`, whose weight is [outputs, inputs]."""
    return x @ tensors[f"{name}.weight"].T + tensors[f"{name}.bias"]


def norm(tensors: Tensors, x: np.ndarray, name: str, epsilon: float = 0.0) -> np.ndarray:
    """`torch.nn.LayerNorm` of the last axis."""
    spread = np.sqrt(x.var(-1, keepdims=True) + epsilon)
    scaled = (x - x.mean(-1, keepdims=True)) / spread
    return scaled * tensors[f"{name}.weight"] + tensors[f"{name}.bias"]
