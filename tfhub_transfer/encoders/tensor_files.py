"""Weights in safetensors form (https://huggingface.co/docs/safetensors), of one file or several."""

from pathlib import Path

import ml_dtypes
import numpy as np
import safetensors

from tfhub_transfer.errors import InputError
from tfhub_transfer.storage import opening, records

WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
# These may hold code, or need the library that wrote them.
_OTHERS = ("pytorch_model.bin", "pytorch_model.bin.index.json", "tf_model.h5", "flax_model.msgpack")

# Not by `safetensors.numpy`, which knows no bfloat16. Weights in whole numbers are quantized.
_FLOATS = {
    "F64": np.float64,
    "F32": np.float32,
    "F16": np.float16,
    "BF16": ml_dtypes.bfloat16,
}


def has_weights(folder: Path) -> bool:
    """Whether a folder holds weights, whole or in parts."""
    return any((folder / name).is_file() for name in (WEIGHTS, INDEX))


def require_weights(folder: Path) -> None:
    """Refuses a folder without weights in this form.

    Raises:
        InputError: If there are none; the message says how to make them of PyTorch's own.
    """
    if has_weights(folder):
        return
    others = [name for name in _OTHERS if (folder / name).is_file()]
    found = f"{folder} with {others[0]}" if others else folder
    raise InputError(
        f"Weights must be in safetensors form, as {WEIGHTS} (or in parts, with {INDEX}); "
        f"{WEIGHTS} is missing. Others are read by transformers (from_pretrained) and written so "
        f"again (save_pretrained). Received: {found}"
    )


def read_folder(folder: Path) -> dict[str, np.ndarray]:
    """The tensors of a folder by name, in one file or those that its index names.

    Raises:
        InputError: A file is missing or damaged, or the index names what is no file of the folder.
    """
    if (folder / WEIGHTS).is_file():
        return read_file(folder / WEIGHTS)
    tensors: dict[str, np.ndarray] = {}
    for name in _parts(folder / INDEX):
        tensors |= read_file(folder / name)
    return tensors


def _parts(index: Path) -> list[str]:
    named = records.take(records.read(index), "weight_map", dict, index, {})
    names = sorted({str(name) for name in named.values()})
    # A name with folders in it may lead anywhere.
    wrong = [n for n in names if Path(n).name != n or not (index.parent / n).is_file()]
    if wrong or not names:
        raise InputError(
            f"{INDEX} must name files that lie beside it; download all parts of the model. "
            f"Received: {(wrong or ['nothing'])[0]} in {index}"
        )
    return names


def read_file(path: Path) -> dict[str, np.ndarray]:
    """The tensors of one file that hold fractions, by name and of the type that they are kept in.

    Raises:
        InputError: The file is missing or damaged.
    """
    opening.require(path)
    try:
        found = safetensors.deserialize(opening.read_bytes(path))
        return {
            name: np.frombuffer(each["data"], _FLOATS[each["dtype"]]).reshape(each["shape"])
            for name, each in found
            if each["dtype"] in _FLOATS
        }
    except (safetensors.SafetensorError, OSError, ValueError, TypeError, KeyError) as error:
        raise InputError(
            f"{path.name} can't be read, it may be truncated ({error}). Received: {path}"
        ) from error
