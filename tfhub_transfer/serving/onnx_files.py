"""Models out for ONNX runtimes: ids in and scores out, rows and lengths as they come."""

import importlib
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from tfhub_transfer import runtime
from tfhub_transfer.errors import InputError
from tfhub_transfer.graphs import portable, surgery
from tfhub_transfer.incoming import ranges
from tfhub_transfer.models.transfer import TransferModel
from tfhub_transfer.runtime import precision_choice
from tfhub_transfer.serving import litert, side_files
from tfhub_transfer.serving.elsewhere import Run
from tfhub_transfer.serving.signatures import with_arguments
from tfhub_transfer.shapes import Features
from tfhub_transfer.storage import opening, retention

FILE = "model.onnx"
# The newest that tf2onnx 1.17 writes.
_OPSET = 18
# Keras' GELU has it, ONNX hasn't.
_FORMS: portable.Forms = {"Erfc": lambda x: 1.0 - tf.math.erf(x)}


def export_onnx(model: TransferModel, folder: str | Path, keep: int | None = None) -> Path:
    """Writes the next version of a model for ONNX runtimes, with all that is needed to ask it.

    `model.onnx` takes ids of any number of rows and any length, int32 `[batch, length]` by the
    names that `model.json` lists (in towers `[batch, 2, length]`), and gives scores as
    `export_litert` says, with the same files beside it.

    Args:
        model: A trained model, with an encoder of word pieces.
        folder: The model's folder; versions are numbered folders in it, `1` first.
        keep: As of `export_saved_model`.

    Returns:
        The folder of the version, which appears whole or not at all.

    Raises:
        InputError: If tf2onnx isn't there, the encoder reads texts, ONNX lacks an operation of the
            model, or `folder` can't be written.

    Example:

    >>> export_onnx(model, "out/onnx")
    PosixPath('out/onnx/1')
    """
    keep = None if keep is None else ranges.whole_number("keep", keep, *ranges.VERSIONS)
    retention.require_alike(opening.path_of(folder), FILE)
    side_files.check(model, "ONNX")
    content = _converted(model)

    def write(scratch: Path) -> None:
        (scratch / FILE).write_bytes(content)
        side_files.write(model, scratch, {FILE: {"bytes": len(content)}})

    return litert.versions_of(folder, write, keep)


def load(file: Path) -> Run:
    """What a file answers, through ONNX Runtime.

    Args:
        file: What `export_onnx` wrote.

    Returns:
        Takes ids `[rows, ...]` by name, and gives scores `[rows, ...]` by name.
    """
    session = _module("onnxruntime").InferenceSession(str(file), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]

    def run(ids: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        return dict(zip(names, session.run(names, dict(ids))))

    return run


def _converted(model: TransferModel) -> bytes:
    tf2onnx, onnx = _module("tf2onnx"), _module("onnx")
    specs = side_files.input_specs(model, None)
    with runtime.precision("float32"), precision_choice.without_gradients():
        call = with_arguments(_call(model, specs), list(specs))
        traced = tf.function(call, input_signature=[*specs.values()], autograph=False)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                made, _ = tf2onnx.convert.from_function(
                    traced, input_signature=[*specs.values()], opset=_OPSET
                )
            # What it doesn't know it writes as it stands.
            onnx.checker.check_model(made)
        except Exception as error:  # of any class: it says so of all that it lacks
            reason = " ".join(str(error).split())[:200]
            raise InputError(
                "tf2onnx can't write this model; export it with `export_saved_model`. "
                f"Received: {reason}"
            ) from error
    content: bytes = made.SerializeToString()
    return content


def _call(
    model: TransferModel, specs: Mapping[str, tf.TensorSpec]
) -> Callable[..., dict[str, tf.Tensor]]:
    """Ids, in the order of their names, to scores; as it stands where it has loops."""

    def call(ids: Features) -> dict[str, tf.Tensor]:
        return side_files.named_scores(model, ids)

    try:
        return portable.rewritten(call, specs, [w.value for w in model.weights], _FORMS)
    except surgery.NotFlat:
        return lambda *ids: call(dict(zip(specs, ids)))


def _module(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise InputError(
            "exports for ONNX need tf2onnx, onnx and onnxruntime: "
            f"`pip install 'tfhub-transfer[onnx]'`. Received: {error}"
        ) from error
