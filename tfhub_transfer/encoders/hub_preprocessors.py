"""Preprocessors in TensorFlow Hub's SavedModel form, beside the encoders that they belong to."""

import shutil
from pathlib import Path

from tfhub_transfer.encoders import hub_format
from tfhub_transfer.encoders.preprocessing import TextPreprocessor
from tfhub_transfer.storage import records
from tfhub_transfer.storage.scratch import temporary


def write(preprocessor: TextPreprocessor, folder: Path) -> dict[str, bool | None]:
    """Writes a preprocessor as a SavedModel; nothing for one that its encoder can do without.

    Args:
        preprocessor: What a model reads texts by.
        folder: The folder to write.

    Returns:
        How it treats case and accents, `lower_case` and `strip_accents`, if it is made of the
        vocabulary alone; nothing if only the SavedModel knows.
    """
    with temporary() as scratch:
        preprocessor.write(scratch)
        settings = records.read(scratch / "preprocessor.json")
        if settings["kind"] == "vocabulary":
            lower_case, accents = bool(settings["lower_case"]), settings["strip_accents"]
            hub_format.save_preprocessor(folder, scratch / "vocab.txt", lower_case, accents)
            return {"lower_case": lower_case, "strip_accents": accents}
        if settings["kind"] == "saved_model":
            shutil.copytree(scratch / "saved_model", folder)
    return {}
