"""The models that train a layer, which must know when parts of it freeze or thaw."""

import weakref
from collections.abc import Iterable
from typing import Any

import keras

# Keras gives it no public name.
from keras.src.backend.common import global_state

from tfhub_transfer.optimization import optimizers


class Trainers:
    """Models in whose train steps a layer was called, held as long as others hold them."""

    def __init__(self) -> None:
        self._models: list[weakref.ref] = []

    def note(self) -> None:
        """Remembers the model that calls the layer now, while it is traced or runs."""
        context = global_state.get_global_attribute("current_call_ctx")
        model = getattr(context, "entry_layer", None)
        if isinstance(model, keras.Model):
            others = [each for each in self._models if each() not in (None, model)]
            self._models = [*others, weakref.ref(model)]

    def update(self) -> None:
        """Makes each model trace its train step anew, at its next step.

        What was traced trains what could be trained then, whatever is frozen or thawed since.
        """
        for each in self._models:
            model = each()
            if model is not None and model.train_function is not None:
                model.train_function = _Anew(model)

    def know(self, variables: Iterable[keras.Variable]) -> bool:
        """Whether the optimizer of the last model knows these variables."""
        model = self._models[-1]() if self._models else None
        optimizer: Any = getattr(model, "optimizer", None)
        if not getattr(optimizer, "built", False):
            return False
        known = {optimizer._var_key(v) for v in optimizer._trainable_variables}
        return all(optimizer._var_key(v) in known for v in variables)


class _Anew:
    """A train step that is traced when it is first asked for, of what can be trained then."""

    def __init__(self, model: keras.Model) -> None:
        self._model = weakref.ref(model)

    def __call__(self, iterator: Any) -> Any:
        model = self._model()
        assert model is not None  # it calls
        if model.optimizer.built:
            optimizers.extend(model, model.trainable_variables)
        model.make_train_function(force=True)
        return model.train_function(iterator)


def is_loading() -> bool:
    """Whether Keras is making a whole model out of a file, whose weights follow."""
    shared = global_state.get_global_attribute("shared_objects/id_to_obj_map")
    return shared is not None
