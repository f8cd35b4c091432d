"""What sentence-transformers' files say becomes of the tokens of a text, and what precedes texts.

Reimers and Gurevych 2019, https://arxiv.org/abs/1908.10084; the files are those that
https://sbert.net writes: `modules.json`, a folder for each module, and
`config_sentence_transformers.json`.
"""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tfhub_transfer.encoders import tensor_files
from tfhub_transfer.encoders.bert_shapes import PooledDense
from tfhub_transfer.errors import InputError
from tfhub_transfer.storage import records

MODULES, SETTINGS = "modules.json", "config_sentence_transformers.json"
_POOLING = "1_Pooling"
# From ways of pooling, as its versions before 6 and since name them.
_POOLINGS = {
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_cls_token": "first",
    "mean": "mean",
    "cls": "first",
}
# From PyTorch's classes to activations of `PooledDense`.
_ACTIVATIONS = {"Tanh": "tanh", "Identity": "linear", "ReLU": "relu", "GELU": "gelu"}
# By which name a text is asked with that other texts are compared to.
_ASKED = "query"


@dataclasses.dataclass(frozen=True)
class SentenceModules:
    """What follows upon an encoder's layers, and what precedes its texts.

    Attributes:
        pooling: `mean`, `first`, or `None` where it isn't told.
        dense: The dense layers that follow upon it.
        values: Kernel and bias of each by TF Hub's names, `pooler_dense_0/kernel` and so on.
        normalized: Whether the vector is made one of length 1 in the end.
        prompts: Texts that precede texts, by name.
        prompt: The one that precedes a text by itself, or nothing.
    """

    pooling: str | None
    dense: tuple[PooledDense, ...] = ()
    values: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)
    normalized: bool = False
    prompts: Mapping[str, str] = dataclasses.field(default_factory=dict)
    prompt: str = ""

    def information(self) -> dict[str, object]:
        """What `tfhub_transfer.json` is to say of them beside the pooling; only what there is."""
        said = {
            "dense": [layer.activation for layer in self.dense],
            "normalized": self.normalized,
            "prompts": dict(self.prompts),
            "prompt": self.prompt,
        }
        return {key: value for key, value in said.items() if value}


def read(source: Path, prompt: str | None = None) -> SentenceModules:
    """Reads the modules of a folder; of a folder without any, nothing is told.

    Args:
        source: The folder.
        prompt: What is to precede a text by itself: the name of one of the folder's prompts, or any
            text. If not given, the folder's `default_prompt_name`, or else its `query`.

    Raises:
        InputError: If a file is missing or damaged, or a module is none that is known.
    """
    if not (source / MODULES).is_file():
        found = SentenceModules(_read_pooling(source / _POOLING / "config.json"))
    else:
        found = SentenceModules(None)
        for kind, path in _listed(source):
            found = _followed(found, kind, path, source)
    prompts, chosen = _read_prompts(source, prompt)
    return dataclasses.replace(found, prompts=prompts, prompt=chosen)


def _listed(source: Path) -> list[tuple[str, Path]]:
    """Kind and folder of each module, in order."""
    rows = records.read_list(source / MODULES)
    told = [row if isinstance(row, dict) else {} for row in rows]
    names = [(str(row.get("type", "")).rpartition(".")[2], row.get("path", "")) for row in told]
    for _, path in names:
        # A path may lead anywhere.
        if not isinstance(path, str) or path != Path(path).name:
            raise InputError(
                f"{MODULES} must name folders that lie beside it. Received: {path!r} in "
                f"{source / MODULES}"
            )
    return [(kind, source / path) for kind, path in names]


def _followed(found: SentenceModules, kind: str, path: Path, source: Path) -> SentenceModules:
    """With one module more."""
    if kind == "Transformer" and path == source and found == SentenceModules(None):
        return found
    if kind == "Dropout":  # nothing but while it is trained
        return found
    if not found.normalized:
        if kind == "Pooling" and found.pooling is None and not found.dense:
            return dataclasses.replace(found, pooling=_read_pooling(path / "config.json"))
        if kind == "Dense" and found.pooling is not None:
            return _with_dense(found, path)
        if kind == "Normalize":
            return dataclasses.replace(found, normalized=True)
    raise InputError(
        f"{MODULES} may name Transformer (in the folder itself), Pooling, Dense and Normalize, in "
        f"this order; take a model of these. Received: {kind or 'no type'!r} in {source / MODULES}"
    )


def _read_pooling(path: Path) -> str | None:
    """What becomes of the tokens: `mean`, `first`, or it isn't told."""
    told = records.read(path) if path.is_file() else {}
    modes = [key for key, value in told.items() if key.startswith("pooling_mode_") and value]
    named = told.get("pooling_mode", modes)
    modes = named if isinstance(named, list) else [named]
    if not told or not modes:
        return None
    if len(modes) > 1 or str(modes[0]) not in _POOLINGS:
        raise InputError(
            "sentence-transformers' pooling must be the mean of the tokens or the first one "
            "(pooling_mode_mean_tokens or pooling_mode_cls_token alone). Received: "
            f"{' and '.join(map(str, modes))} in {path}"
        )
    if told.get("include_prompt", True) is not True:
        raise InputError(
            "sentence-transformers' pooling must count the tokens of prompts (include_prompt). "
            f"Received: {told['include_prompt']!r} in {path}"
        )
    return _POOLINGS[str(modes[0])]


def _with_dense(found: SentenceModules, folder: Path) -> SentenceModules:
    path = folder / "config.json"
    told: dict[str, Any] = records.read(path)
    for key, wanted in (("module_input_name", "sentence_embedding"), ("use_residual", False)):
        if (told.get(key) or wanted) != wanted:
            raise InputError(
                f"A Dense of sentence-transformers must have {key} {wanted!r}. Received: "
                f"{told[key]!r} in {path}"
            )
    act = str(told.get("activation_function") or "Tanh").rpartition(".")[2]
    if act not in _ACTIVATIONS:
        raise InputError(
            f"A Dense of sentence-transformers must have one of {', '.join(_ACTIVATIONS)} as "
            f"activation_function. Received: {told['activation_function']!r} in {path}"
        )
    kernel, bias = _read_linear(folder)
    at = f"pooler_dense_{len(found.dense)}"
    return dataclasses.replace(
        found,
        dense=(*found.dense, PooledDense(kernel.shape[1], _ACTIVATIONS[act])),
        values={**found.values, f"{at}/kernel": kernel, f"{at}/bias": bias},
    )


def _read_linear(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """Kernel [inputs, outputs] and bias [outputs] of a `torch.nn.Linear`."""
    tensor_files.require_weights(folder)
    tensors = tensor_files.read_folder(folder)
    weight = tensors.get("linear.weight", np.zeros(0))
    bias = tensors.get("linear.bias", np.zeros(weight.shape[:1]))
    if weight.ndim != 2 or min(weight.shape) < 1 or bias.shape != weight.shape[:1]:
        raise InputError(
            "The weights of a Dense of sentence-transformers must be linear.weight [outputs, "
            f"inputs] and linear.bias [outputs]. Received: {weight.shape} and {bias.shape} in "
            f"{folder}"
        )
    kernel = np.ascontiguousarray(weight.T, np.float32)
    return kernel, np.asarray(bias, np.float32)


def _read_prompts(source: Path, asked: str | None) -> tuple[dict[str, str], str]:
    """All that precede texts, and the one that does where a text is by itself."""
    path = source / SETTINGS
    told = records.read(path) if path.is_file() else {}
    given = records.take(told, "prompts", dict, path, {}) or {}
    prompts = {str(name): text for name, text in given.items() if text}
    for name, text in prompts.items():
        if not isinstance(text, str):
            raise InputError(f"A prompt must be a text. Received: {text!r} as {name!r} in {path}")
    if asked is not None:
        return prompts, prompts.get(asked, asked)
    usual = records.take(told, "default_prompt_name", str, path) or _ASKED
    return prompts, prompts.get(usual, "")
