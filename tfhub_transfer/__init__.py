"""Transfer learning for text with TensorFlow Hub encoders, in Keras 3.

Names are loaded when first used, so that importing the package, and `tfhub-transfer --help`, cost
nothing.
"""

import importlib
from typing import TYPE_CHECKING, Any

from tfhub_transfer import backend

__version__ = "0.1.0"

_HOMES = {
    "Encoder": "encoders.encoder",
    "FiniteLoss": "callbacks.best_weights",
    "Head": "tasks",
    "InputError": "errors",
    "MultiTaskModel": "models.multitask",
    "Neighbours": "models.neighbours",
    "Plan": "training.stages",
    "Preprocessor": "encoders.preprocessor_layer",
    "ProgressiveUnfreezing": "callbacks.thawing",
    "Report": "evaluation.measuring",
    "Stage": "training.stages",
    "TransferModel": "models.transfer",
    "build_model": "models.building",
    "calibrate": "evaluation.calibrating",
    "check": "checks.checking",
    "conformalize": "evaluation.conformalizing",
    "convert": "encoders.conversion",
    "encode_text": "models.encoding",
    "evaluate": "evaluation.measuring",
    "export_litert": "serving.litert",
    "export_onnx": "serving.onnx_files",
    "export_saved_model": "serving.exporting",
    "fine_tune": "training.finetuning",
    "learn_scope": "evaluation.scoping",
    "load_model": "models.building",
    "load_saved_model": "serving.served",
}
# Rooms that users name, and where each stands.
_ROOMS = {
    "data": "data",
    "registry": "encoders.registry",
    "runtime": "runtime",
    "tasks": "tasks",
    "tuning": "tuning",
}
# Modules that are named like rooms, too: `tt.schedules.WarmUpLinearDecay`.
_INSIDE = {"optimizers": "optimization.optimizers", "schedules": "optimization.schedules"}
# What does without Keras.
_PLAIN = ("InputError", "data", "registry")

# What may be given a Hugging Face folder.
_WITH_HANDLES = (
    *(
        "checks.checking",
        "encoders.encoder",
        "models.encoding",
        "models.transfer",
        "models.multitask",
        "models.building",
        "training.finetuning",
    ),
    "encoders.preprocessor_layer",
)

__all__ = ["__version__", *_HOMES, *_ROOMS]

if TYPE_CHECKING:
    from tfhub_transfer import data, runtime, tasks, tuning
    from tfhub_transfer.callbacks.best_weights import FiniteLoss
    from tfhub_transfer.callbacks.thawing import ProgressiveUnfreezing
    from tfhub_transfer.checks.checking import check
    from tfhub_transfer.encoders import registry
    from tfhub_transfer.encoders.conversion import convert
    from tfhub_transfer.encoders.encoder import Encoder
    from tfhub_transfer.encoders.preprocessor_layer import Preprocessor
    from tfhub_transfer.errors import InputError
    from tfhub_transfer.evaluation.calibrating import calibrate
    from tfhub_transfer.evaluation.conformalizing import conformalize
    from tfhub_transfer.evaluation.measuring import Report, evaluate
    from tfhub_transfer.evaluation.scoping import learn_scope
    from tfhub_transfer.models.building import build_model, load_model
    from tfhub_transfer.models.encoding import encode_text
    from tfhub_transfer.models.multitask import MultiTaskModel
    from tfhub_transfer.models.neighbours import Neighbours
    from tfhub_transfer.models.transfer import TransferModel
    from tfhub_transfer.serving.exporting import export_saved_model
    from tfhub_transfer.serving.litert import export_litert
    from tfhub_transfer.serving.onnx_files import export_onnx
    from tfhub_transfer.serving.served import load_saved_model
    from tfhub_transfer.tasks import Head
    from tfhub_transfer.training.finetuning import fine_tune
    from tfhub_transfer.training.stages import Plan, Stage


def __getattr__(name: str) -> Any:
    if name in (*_ROOMS, *_INSIDE, *_HOMES) and name not in _PLAIN:
        backend.require_tensorflow()
    if place := {**_ROOMS, **_INSIDE}.get(name):
        return importlib.import_module(f"tfhub_transfer.{place}")
    if name not in _HOMES:
        raise AttributeError(f"module 'tfhub_transfer' has no attribute {name!r}")
    # Register what makes encoders of Hugging Face folders, and of what was trained, which the
    # registry itself can't know of.
    if _HOMES[name] in _WITH_HANDLES:
        for room in ("encoders.conversion", "models.building"):
            importlib.import_module(f"tfhub_transfer.{room}")
    value = getattr(importlib.import_module(f"tfhub_transfer.{_HOMES[name]}"), name)
    # Found without this function from now on.
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
