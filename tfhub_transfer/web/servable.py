"""An export as a server knows it: a name, a version, signatures, what is told of them."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import tensorflow as tf
from google.protobuf import json_format

from tfhub_transfer.errors import one_line
from tfhub_transfer.graphs import safety, wire
from tfhub_transfer.serving.served import ENCODE, ServedModel, labels_file
from tfhub_transfer.storage import opening
from tfhub_transfer.tasks import layouts
from tfhub_transfer.web.refusing import Refusal
from tfhub_transfer.web.rest import PREDICT, Rows, Signature, Target

# How lines of TensorFlow's messages begin that say where in a graph something is.
_WHERE = ("Graph execution error", "Detected at node", "<stack traces", "File ", "[[")
# What TensorFlow raises for inputs that a graph can't take; anything else is a fault of ours.
_UNUSABLE = (tf.errors.InvalidArgumentError, tf.errors.OutOfRangeError)


class Servable:
    """What answers requests for one model.

    Args:
        served: The export.
        name: What the model is called in paths.
        labels: Versions by the labels that paths may name them by.
    """

    def __init__(
        self, served: ServedModel, name: str, labels: Mapping[str, int] | None = None
    ) -> None:
        self._served, self.name, self._numbers = served, name, labels or {}
        folder = served.folder.name
        self.version = int(folder) if folder.isdecimal() else 1
        graph = wire.read_saved_model(served.folder / safety.GRAPH_FILE).meta_graphs[0]
        self._defined = dict(graph.signature_def)
        self.signatures = {name: self._signature(name) for name in served.signatures}

    def _signature(self, name: str) -> Signature:
        given = self._served.signatures[name].structured_input_signature[1]
        inputs = {each: given[each].shape.rank - 1 for each in self._served.inputs_of(name)}
        outputs = dict(sorted(self._served.signatures[name].structured_outputs.items()))
        counts = layouts.counts(outputs)
        wide = {each for each, spec in outputs.items() if None in spec.shape[1:]}
        return Signature(
            name,
            self._defined[name].method_name or PREDICT,
            inputs,
            tuple(outputs),
            counts,
            # Whatever else is as wide as the widest row of a batch would tell of other rows.
            wide <= counts.keys(),
            frozenset(name for name, spec in given.items() if spec.dtype == tf.int32),
        )

    def signature(self, name: str) -> Signature:
        """One of the signatures.

        Args:
            name: What it is called.

        Raises:
            Refusal: If there is none of that name.
        """
        if name not in self.signatures:
            raise Refusal(
                400,
                f'Serving signature name: "{one_line(name, 100)}" not found in signature def; '
                f"there are {', '.join(sorted(self.signatures))}",
            )
        return self.signatures[name]

    def require(self, target: Target) -> None:
        """Makes sure that a path names this model, and its version if it names one.

        Args:
            target: What it names.

        Raises:
            Refusal: If it is another.
        """
        asked = target.version
        if target.label is not None:
            if target.label not in self._numbers:
                label = one_line(target.label, 100)
                raise Refusal(400, f"Unrecognized servable version label: {label}")
            asked = self._numbers[target.label]
        if target.model == self.name and asked in (None, self.version):
            return
        name = one_line(target.model, 100)
        if target.verb == "status":
            of = "" if asked is None else f" with version {asked}"
            raise Refusal(404, f"Could not find any versions of model {name}{of}")
        wanted = f"Latest({name})"
        if asked is not None:
            wanted = f"Specific({name}, {asked})"
        raise Refusal(404, f"Servable not found for request: {wanted}; there is {self.name}")

    def status(self) -> dict[str, Any]:
        """What is told of the model's versions."""
        fine = {"error_code": "OK", "error_message": ""}
        told = {"version": str(self.version), "state": "AVAILABLE", "status": fine}
        return {"model_version_status": [told]}

    def metadata(self) -> dict[str, Any]:
        """What is told of the model's signatures."""
        defined = {
            name: json_format.MessageToDict(
                each, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
            )
            for name, each in self._defined.items()
        }
        spec = {"name": self.name, "signature_name": "", "version": str(self.version)}
        return {
            "model_spec": spec,
            "metadata": {"signature_def": {"signature_def": defined}},
        }

    def answer(self, signature: Signature, inputs: Mapping[str, Rows]) -> dict[str, np.ndarray]:
        """Answers one batch.

        Args:
            signature: Who answers.
            inputs: Rows by the names of its inputs; lists in them may be of different lengths.

        Raises:
            Refusal: If the graph can't take them.
        """
        given = {n: _even(rows) if signature.inputs[n] else rows for n, rows in inputs.items()}
        try:
            return self._served.answer(signature.name, given)
        except _UNUSABLE as error:
            raise Refusal(400, one_line(_reason(error.message), 500)) from error

    def tasks(self) -> Iterator[dict[str, Any]]:
        """What a page is to know of the signatures that people ask: all but other ways to them."""
        own = [*self._served.tasks, *({ENCODE} & self.signatures.keys())]
        for name in own:
            signature = self.signatures[name]
            yield {
                "signature": name,
                "inputs": [*signature.inputs],
                "outputs": [*signature.outputs],
                "classes": self._classes(name),
            }

    def _classes(self, name: str) -> list[str]:
        path = self._served.folder / "assets" / labels_file(name)
        # `splitlines` would end lines at more than an export does.
        names = opening.read_text(path).split("\n")[:-1] if path.is_file() else []
        scores = self._served.signatures[name].structured_outputs.get("scores")
        # None are better than those of other classes, as in an export of names with line ends.
        suit = scores is None or scores.shape[-1] in (None, len(names))
        return names if suit else []


def _reason(message: str) -> str:
    """What is wrong, of a message that says first where in the graph."""
    lines = [line.strip() for line in message.splitlines()]
    told = [line for line in lines if line and not line.startswith(_WHERE)]
    return told[0] if told else message


def _even(rows: Rows) -> np.ndarray:
    """Lists of strings `[n, most]`, filled up with empty ones, which stand for nothing."""
    most = max((len(row) for row in rows), default=0)
    filled = np.full((len(rows), most), b"", object)
    for place, row in enumerate(rows):
        filled[place, : len(row)] = row
    return filled
