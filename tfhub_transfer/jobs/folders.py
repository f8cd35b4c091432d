"""Folders that `train` writes: the model in them, what ended early there, what was recorded."""

import contextlib
from collections.abc import Callable
from pathlib import Path

from tfhub_transfer import progress
from tfhub_transfer.errors import InputError
from tfhub_transfer.models.building import load_model
from tfhub_transfer.models.encoding import (
    MODEL_FILE,
    Record,
    model_file,
    no_model,
    read_record,
)
from tfhub_transfer.models.transfer import TransferModel
from tfhub_transfer.storage import keeping, opening

INTERRUPTED_FILE = "interrupted.keras"


def is_model(handle: str) -> bool:
    """Whether a teacher's name is that of a trained model, rather than an encoder's.

    Args:
        handle: The name.
    """
    return model_file(handle) is not None


@progress.stage("Loading the model", final=False)
def load(folder: Path, trust_code: bool) -> tuple[TransferModel, Record]:
    """A trained model and what its training recorded; nothing, where there is no record.

    Args:
        folder: What `train` wrote, or a `.keras` file.
        trust_code: Whether the model may hold operations that do more than compute.

    Raises:
        InputError: If there is no model, or an unusable one.
    """
    folder = opening.path_of(folder)
    if folder.is_file() or (folder / "model.weights.h5").is_file():
        return load_model(folder, trust_code), {}
    if not (folder / MODEL_FILE).exists():
        if (folder / INTERRUPTED_FILE).exists():
            raise InputError(
                "the training ended early there; give the model as trained until then, "
                f"{folder / INTERRUPTED_FILE}, or train again. Received: {folder}"
            )
        raise no_model(folder)
    known = read_record(folder)
    return load_model(folder / MODEL_FILE, trust_code), known


def kept(
    write: Callable[[Path], None],
    output: Path,
    unless: Callable[[BaseException], bool] = lambda error: False,
) -> contextlib.AbstractContextManager[None]:
    """Whatever ends the body early, the model as trained so far is kept; see `keeping.kept`.

    Args:
        write: Writes it to a path.
        output: The folder of the training.
        unless: Whether an error leaves nothing that is worth it.
    """
    path = output / INTERRUPTED_FILE
    return keeping.kept(write, path, "ask it with `tfhub-transfer predict {}`", unless)
