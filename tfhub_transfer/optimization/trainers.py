"""The models that train a layer, which must know when parts of it freeze or thaw."""

import contextlib
import functools
import weakref
from collections.abc import Iterable, Iterator

import keras

from tfhub_transfer.optimization import optimizers
from tfhub_transfer.private import keras_layers, keras_optimizers
from tfhub_transfer.shapes import Logs


class Trainers:
    """Models in whose train steps a layer was called, held as long as others hold them."""

    def __init__(self) -> None:
        self._models: list[weakref.ref[keras.Model]] = []

    def note(self) -> None:
        """Remembers the model that calls the layer now, while it is traced or runs."""
        model = keras_layers.caller()
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

    @contextlib.contextmanager
    def kept(self) -> Iterator[None]:
        """In the end the models are those of before, with the train steps that they had.

        Only where by then what is frozen is what was frozen before.
        """
        before = [(each, getattr(each(), "train_function", None)) for each in self._models]
        try:
            yield
        finally:
            self._models = [each for each, _ in before]
            for each, step in before:
                if (model := each()) is not None:
                    model.train_function = step

    def know(self, variables: Iterable[keras.Variable]) -> bool:
        """Whether the optimizer of the last model knows these variables."""
        model = self._models[-1]() if self._models else None
        optimizer = getattr(model, "optimizer", None)
        if optimizer is None or not optimizer.built:
            return False
        key_of = functools.partial(keras_optimizers.key_of, optimizer)
        return set(map(key_of, variables)) <= set(map(key_of, keras_optimizers.known(optimizer)))


class _Anew:
    """A train step that is traced when it is first asked for, of what can be trained then."""

    def __init__(self, model: keras.Model) -> None:
        self._model = weakref.ref(model)

    def __call__(self, iterator: Iterator[object]) -> Logs:
        model = self._model()
        assert model is not None  # it calls
        # An optimizer that is built refuses variables that it doesn't know.
        if model.optimizer.built:
            optimizers.extend(model, model.trainable_variables)
        # Unforced, Keras gives back what stands there, which is this object.
        model.make_train_function(force=True)
        return model.train_function(iterator)
