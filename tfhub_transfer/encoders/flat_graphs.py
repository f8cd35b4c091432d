"""An encoder's call as plain operations, which can be cut between two layers."""

import warnings
from collections.abc import Callable, Sequence

import keras
import tensorflow as tf

from tfhub_transfer import runtime
from tfhub_transfer.encoders import calls, loading
from tfhub_transfer.graphs import rounding, surgery
from tfhub_transfer.private import tensorflow_graphs
from tfhub_transfer.runtime import precision_choice, probes
from tfhub_transfer.shapes import Features

# How far a flat graph may be from the SavedModel, on a probe.
_PROBE_TOLERANCE = 1e-4


class FlatGraphs:
    """The flat graphs of an encoder of the BERT dialect, each made when first asked for.

    Beside the layer, not in it: Keras tracks every dictionary that a layer holds.

    Args:
        handle: The encoder's, for messages.
        functions: The SavedModel's own call.
        variables: The variables that it reads.
        weights: What each is to Keras, which says whether it is frozen.
    """

    def __init__(
        self,
        handle: str,
        functions: loading.Functions,
        variables: Sequence[tf.Variable],
        weights: Sequence[keras.Variable],
    ) -> None:
        self._handle, self._functions, self._variables = handle, functions, variables
        self._weights = {id(v): w for v, w in zip(variables, weights)}
        self._made: dict[bool, surgery.FlatGraph | None] = {}

    def get(self, training: bool) -> surgery.FlatGraph | None:
        """The graph of a call in that mode; `None`, with a warning the first time, if none."""
        if training not in self._made:
            try:
                self._made[training] = runtime.outside_of_replicas(lambda: self._flat(training))
            except surgery.NotFlat as reason:
                self._made[training] = None
                warnings.warn(
                    f"the encoder {self._handle} runs as it was saved, which is slower: {reason}",
                    stacklevel=3,
                )
        return self._made[training]

    def _flat(self, training: bool) -> surgery.FlatGraph:
        flat = self._functions.flatten(training, self._variables)
        # In training dropout differs from call to call, so nothing could be compared.
        if not training:
            if flat.is_random:
                raise surgery.NotFlat("its answers are random")
            self._check_equal(flat)
        return flat

    def run(
        self, flat: surgery.FlatGraph, inputs: Features, draw: Callable[[], tf.Tensor]
    ) -> calls.Outputs:
        """What the encoder answers.

        Args:
            flat: One of its graphs.
            inputs: Ids. With the output of a layer beside them only the layers above run, and
                those of all layers aren't answered.
            draw: Gives seed and step, and counts the step; asked once, if anything is random.
        """
        given, wanted = _ids(flat, inputs), flat.outputs
        if flat.is_random:
            given[surgery.RANDOM_STATE] = draw()
        for layer, ref in enumerate(_layers(flat)):
            if calls.boundary_input(layer) in inputs:
                given[ref] = inputs[calls.boundary_input(layer)]
                wanted = _whole(flat.outputs)
        made = flat.replay(tf.nest.flatten(wanted), given, self.read, self._rounded(flat))
        return tf.nest.pack_sequence_as(wanted, made)

    def boundary(self) -> int | None:
        """The highest layer whose output nothing thawed reaches, while all above is computed."""
        # Below the cut it runs as in inference, above it as in training.
        flats = [self.get(training) for training in (False, True)]
        whole = [flat for flat in flats if flat is not None]
        if len(whole) < len(flats):
            return None
        thawed = {variable for variable, w in self._weights.items() if w.trainable}
        for layer in reversed(range(len(_layers(whole[0])))):
            if all(_can_cut(flat, layer, thawed) for flat in whole):
                return layer
        return None

    def below(self, layer: int, inputs: Features) -> tf.Tensor:
        """The output of a layer as in inference, `[batch, length, dimension]`, in bfloat16.

        Args:
            layer: One that `boundary` gave.
            inputs: Ids.
        """
        flat = self.get(False)
        assert flat is not None
        with precision_choice.without_gradients():
            rounded = self._rounded(flat)
        [output] = flat.replay([_layers(flat)[layer]], _ids(flat, inputs), self.read, rounded)
        # Half the disk; on three data sets accuracy was that of float32 within the range of seeds.
        return tf.cast(output, tf.bfloat16)

    def read(self, variable: tf.Variable, rows: tf.Tensor | None) -> tf.Tensor:
        """A variable's value, or some rows of it; no gradient flows into a frozen one."""
        weight = self._weights[id(variable)]
        value = weight.value if rows is None else tf.nn.embedding_lookup(weight.value, rows)
        value = tf.convert_to_tensor(value)
        return value if weight.trainable else tf.stop_gradient(value)

    def _rounded(self, flat: surgery.FlatGraph) -> surgery.Rounded:
        """What computes in bfloat16, as is chosen here."""
        if not precision_choice.rounds_products():
            return surgery.EXACT
        # XLA makes one kernel of them whatever their types.
        fused = precision_choice.is_without_gradients() and not tensorflow_graphs.compiled()
        return rounding.of(flat, fused)

    def _check_equal(self, flat: surgery.FlatGraph) -> None:
        """Runs the graph and the SavedModel's own call on a few ids."""
        inputs, own = probes.first_answers(self._functions, loading.BERT_INPUTS, self._handle)
        with tf.init_scope(), runtime.precision("float32"):
            given = {ref: inputs[key] for key, ref in flat.inputs.items()}
            made = flat.replay(tf.nest.flatten(flat.outputs), given, self.read)
            worst = max(float(tf.reduce_max(tf.abs(a - b))) for a, b in zip(own, made))
        # Not `worst > ...`, which NaN would pass.
        if not worst <= _PROBE_TOLERANCE:
            raise surgery.NotFlat(f"rewritten, it differs by {worst:.1e} on a probe")


def _ids(flat: surgery.FlatGraph, inputs: Features) -> dict[surgery.Ref, tf.Tensor]:
    return {ref: tf.cast(inputs[key], tf.int32) for key, ref in flat.inputs.items()}


def _layers(flat: surgery.FlatGraph) -> Sequence[surgery.Ref]:
    """Where the output of each layer stands."""
    found = flat.outputs.get(calls.LAYER_OUTPUTS, ())
    return () if isinstance(found, surgery.Ref) else found


def _whole(outputs: surgery.Refs) -> surgery.Refs:
    """Without the outputs of single layers."""
    return {key: value for key, value in outputs.items() if key != calls.LAYER_OUTPUTS}


def _can_cut(flat: surgery.FlatGraph, layer: int, thawed: set[int]) -> bool:
    cut = _layers(flat)[layer]
    whole = tf.nest.flatten(_whole(flat.outputs))
    reached = {id(variable) for variable in flat.reads([cut])}
    return not reached & thawed and flat.is_clean_cut(cut, whole)
