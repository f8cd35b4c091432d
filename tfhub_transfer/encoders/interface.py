"""What an encoder reads and gives, as far as its recorded shapes tell."""

from collections.abc import Sequence

import keras

from tfhub_transfer.encoders import calls, variable_groups
from tfhub_transfer.encoders.recorded import Spec


class Interface:
    """An encoder seen from outside, known before there is a graph.

    Args:
        spec: What is recorded of it.
    """

    def __init__(self, spec: Spec) -> None:
        self.spec = spec
        self.dialect, self.outputs = spec["dialect"], spec["outputs"]

    @property
    def dimension(self) -> int:
        """The width of the vector of a whole text."""
        return self._width("pooled_output" if "pooled_output" in self.outputs else "default")

    @property
    def token_dimension(self) -> int:
        """The width of a token's vector."""
        return self._width("sequence_output")

    @property
    def positions(self) -> int | None:
        """The number of positions it can tell apart; `None` if it sets no limit."""
        for variable in self.spec["variables"]:
            if variable_groups.POSITIONS.search(variable["name"]):
                return int(variable["shape"][0])
        return None

    def symbolic(self, inputs: calls.Inputs) -> calls.Outputs:
        """What calling it gives, while Keras builds a model.

        Args:
            inputs: Ids or code points by name, or texts; tensors without numbers.
        """
        shape = tuple(calls.ids_of(inputs).shape)
        rows, length = (shape[:-1], shape[-1]) if len(shape) > 1 else (shape, None)

        def tensor(last: Sequence[object]) -> keras.KerasTensor:
            inner = (length,) if len(last) == 2 else ()
            return keras.KerasTensor((*rows, *inner, last[-1]), dtype="float32")

        found = {}
        # Whoever gives the output of a layer gets none of the layers', of which some never run.
        cut = self.dialect == "bert" and set(inputs) - set(calls.BERT_INPUTS)
        for key, shapes in self.outputs.items():
            if not (cut and key == calls.LAYER_OUTPUTS):
                layers = [each for each in shapes if isinstance(each, list)]
                found[key] = [tensor(each) for each in layers] if layers else tensor(shapes)
        return found

    def _width(self, key: str) -> int:
        last = self.outputs[key][-1]
        assert isinstance(last, int)  # only the outputs of layers are in a list
        return last
