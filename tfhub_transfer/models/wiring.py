"""A model in parts, each a model of its own over the same weights: the head, what has thawed."""

import dataclasses

import keras

from tfhub_transfer import runtime
from tfhub_transfer.heads import layers
from tfhub_transfer.models import compiling, counting, given_ids
from tfhub_transfer.models.boundary import Above, Boundary, tensors


@dataclasses.dataclass(frozen=True)
class Wiring:
    """Tensors of the functional graph; in a class, because Keras tracks plain dictionaries.

    Attributes:
        encoded: What the encoder gives.
        outputs: What the model answers; by name of several tasks.
    """

    encoded: layers.Encoded
    outputs: keras.KerasTensor | dict[str, keras.KerasTensor]


class InParts(given_ids.GivenIds):
    """A model of which parts train in its place, stage by stage.

    Attributes:
        features: What the head starts from, if there is one head.
    """

    features: keras.KerasTensor
    _wiring: Wiring

    def head_model(self) -> keras.Model:
        """The head as a model of its own, `[n, features]` to answers, sharing its weights."""
        return counting.CountsRows(self.features, self.outputs, name="head")

    def above_encoder(self, name: str) -> keras.Model:
        """The head as a model that starts from all that the encoder gives, sharing its weights.

        Args:
            name: The model's name.

        Returns:
            A model of a list: `tensors` of what the encoder gives, then this model's inputs.
        """
        given = [*tensors(self._wiring.encoded), *self.inputs]
        return runtime.Replicated(given, self._wiring.outputs, name=name)

    def once_more(self) -> keras.Model:
        """The same layers as another model, which may have another optimizer."""
        return Above(self.inputs, self._wiring.outputs)

    def boundary(self) -> Boundary | None:
        """Where the thawed part of the encoder begins, if the graph can be cut there."""
        if self.encoder.dialect != "bert":
            return None
        layer = self.encoder.boundary()
        return None if layer is None else Boundary(self.encoder, self.layout, layer)

    def model_above(self, boundary: Boundary) -> keras.Model:
        """The part of this model above a boundary, compiled alike, sharing weights and optimizer.

        Training it trains this model. It reads what `Boundary.store` keeps.
        """
        inputs = {tensor.name: tensor for tensor in self.inputs}
        above = boundary.model_above(self._wiring.encoded, inputs, self._wiring.outputs)
        self.compile_alike(above, self.optimizer)
        return above

    def compile_alike(
        self,
        other: keras.Model,
        optimizer: keras.optimizers.Optimizer,
        steps_at_once: int | None = None,
        measured: bool = True,
    ) -> None:
        """Compiles another model over the same layers with the loss and metrics of this one.

        Args:
            other: The model.
            optimizer: Its optimizer.
            steps_at_once: Keras' `steps_per_execution`; as this model's own if not given.
            measured: Whether it has this one's metrics too.
        """
        compiling.alike(self, other, optimizer, steps_at_once, measured)
