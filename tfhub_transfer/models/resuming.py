"""Models whose training can go on after they were saved, where Keras' own forget."""

import keras

from tfhub_transfer.models import counting
from tfhub_transfer.optimization import optimizers
from tfhub_transfer.private import keras_saving
from tfhub_transfer.runtime.replicas import Step

_KNOWN = "optimizer_knows"


class Resumable(counting.CountsRows):
    """A model that is saved with all that its optimizer knows, and gets all of it back.

    Keras builds the optimizer of a loaded model on the weights that train now. One that has seen
    groups thaw knows others too, in another order, and would lose what it knew of all.
    """

    def make_train_function(self, force: bool = False) -> Step | None:
        """As of `keras.Model`, after which the optimizer knows all that trains now."""
        if getattr(self.optimizer, "built", False):
            optimizers.extend(self, self.trainable_variables)
        return super().make_train_function(force)

    def get_compile_config(self) -> dict[str, object]:
        """As of `keras.Model`; in a file with the places of the weights that the optimizer knows.

        Not elsewhere: a clone is a plain `keras.Model`, which can't compile with them.
        """
        config = super().get_compile_config()
        if not (config and keras_saving.is_saving()):
            return config
        return {**config, _KNOWN: optimizers.places(self)}

    def compile_from_config(self, config: dict[str, object]) -> None:
        """As of `keras.Model`, but the optimizer is built on the weights that it knew."""
        if _KNOWN not in config:
            super().compile_from_config(config)
            return
        config = keras.saving.deserialize_keras_object(config)
        known = config.pop(_KNOWN)
        self.compile(**config)
        optimizers.build_on(self, known)
