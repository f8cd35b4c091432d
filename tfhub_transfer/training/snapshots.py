"""The numbers that a training has come to, as arrays by name: all that may have moved."""

import hashlib
from collections.abc import Mapping

import keras
import numpy as np

from tfhub_transfer.errors import InputError
from tfhub_transfer.models.transfer import TransferModel

Arrays = dict[str, np.ndarray]


class Snapshots:
    """Takes snapshots of a model in training, and gives them to another that begins alike.

    Weights of the encoder that are as they were are left out: another has the same.

    Args:
        model: The whole model, before it trains.
    """

    def __init__(self, model: TransferModel) -> None:
        self._model = model
        self._groups = {id(v): v for _, group in model.encoder.layer_groups for v in group}
        self._first = {key: _digest(v) for key, v in self._groups.items()}
        self._moved: set[int] = set()

    def take(self, *others: keras.Model, settled: bool = False) -> Arrays:
        """Weights, optimizers' state and random numbers.

        Args:
            *others: Models over layers of the whole one that train in its place.
            settled: Whether a stage has just ended: whatever it did to frozen weights is seen then.
        """
        for key, variable in self._groups.items():
            moves = _digest(variable) != self._first[key] if settled else variable.trainable
            self._moved |= {key} if moves else set()
        return {
            name: keras.ops.convert_to_numpy(variable)
            for name, variable in self._named(*others).items()
            if self._moves(variable)
        }

    def give(self, arrays: Mapping[str, np.ndarray], *others: keras.Model) -> None:
        """Sets what a snapshot holds, or nothing if it doesn't fit.

        Args:
            arrays: What `take` gave; others are passed over.
            *others: As for `take`.

        Raises:
            InputError: If it is one of another model.
        """
        named = self._named(*others)
        given = {name: array for name, array in arrays.items() if name.startswith(_MINE)}
        needed = {name for name, v in named.items() if id(v) not in self._groups}
        odd = [name for name, array in given.items() if not _takes(named.get(name), array)]
        if odd or needed - given.keys():
            raise InputError(
                "the checkpoint is one of another model, though all that is known of it is alike; "
                f"remove its folder, and train anew. Received: {[*odd, *needed - given.keys()][0]}"
            )
        for name, array in given.items():
            named[name].assign(array)
            self._moved |= {id(named[name])} & self._groups.keys()

    def kept(self, model: keras.Model, weights: list[np.ndarray] | None) -> Arrays:
        """Earlier weights of a model, without those that can't have moved since.

        Args:
            model: The model.
            weights: In the order of `model.weights`; `None` if there are none.
        """
        pairs = [] if weights is None else zip(model.weights, weights)
        return {
            f"{_KEPT}{place}": array
            for place, (variable, array) in enumerate(pairs)
            if self._moves(variable)
        }

    def unpacked(self, model: keras.Model, arrays: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        """All weights of which `kept` gave some; the others are as they are now."""
        now = [keras.ops.convert_to_numpy(each) for each in model.weights]
        return [arrays.get(f"{_KEPT}{place}", array) for place, array in enumerate(now)]

    def _moves(self, variable: keras.Variable) -> bool:
        return id(variable) not in self._groups or id(variable) in self._moved

    def _named(self, *others: keras.Model) -> dict[str, keras.Variable]:
        """Variables by their places, since names differ from process to process."""
        found: dict[str, keras.Variable] = {}
        seen: set[int] = set()
        for number, model in enumerate((self._model, *others)):
            for kind, variables in (("model", _of_model(model)), ("optimizer", _state(model))):
                for place, variable in enumerate(variables):
                    if id(variable) not in seen:
                        seen.add(id(variable))
                        found[f"{_MINE}{number}/{kind}/{place}"] = variable
        return found


_MINE, _KEPT = "of ", "best "


def _of_model(model: keras.Model) -> list[keras.Variable]:
    """Weights, and where random numbers come from, as of dropout; metrics begin anew."""
    metrics = {id(v) for v in model.metrics_variables}
    return [v for v in model.variables if id(v) not in metrics]


def _state(model: keras.Model) -> list[keras.Variable]:
    optimizer = model.optimizer
    return list(optimizer.variables) if getattr(optimizer, "built", False) else []


def _takes(variable: keras.Variable | None, array: np.ndarray) -> bool:
    if variable is None:
        return False
    kind = keras.backend.standardize_dtype(variable.dtype)
    return tuple(variable.shape) == array.shape and kind == array.dtype.name


def _digest(variable: keras.Variable) -> bytes:
    data = np.ascontiguousarray(keras.ops.convert_to_numpy(variable))
    return hashlib.blake2b(data.tobytes(), digest_size=16).digest()
