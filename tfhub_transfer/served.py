"""Exported models loaded back."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_text  # noqa: F401  registers the ops of the preprocessor

from tfhub_transfer.batching import INFERENCE_BUCKETS, STREAMS, LengthBatches
from tfhub_transfer.errors import InputError


class ServedModel:
    """An exported model loaded back: it needs TensorFlow and tensorflow-text only.

    Args:
        folder: A version's folder, or the folder of versions, of which the newest is taken.

    Raises:
        InputError: If there is no exported model.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = _newest(Path(folder))
        self._loaded = tf.saved_model.load(str(self.folder))

    def predict(self, texts: Sequence[Any], batch_size: int = 64) -> dict[str, np.ndarray]:
        """What the signature `serving_default` gives for these texts, or pairs `(a, b)`.

        Args:
            texts: Any number of them; they are answered in batches of like length.
            batch_size: Texts in a batch.

        Returns:
            Each of the signature's answers `[n, ...]`, in the order of the texts.

        Raises:
            InputError: If the batch size is below 1.
        """
        rows = list(texts)
        pair = bool(rows) and not isinstance(rows[0], str)
        columns = [tf.constant(list(c), tf.string) for c in (zip(*rows) if pair else [rows])]
        function = self._loaded.signatures["serving_default"]
        names = ("text_a", "text_b") if pair else tuple(function.structured_input_signature[1])

        def run(batch: np.ndarray) -> dict[str, np.ndarray]:
            answers = function(**{n: tf.gather(c, batch) for n, c in zip(names, columns)})
            return {key: value.numpy() for key, value in answers.items()}

        lengths = self._loaded.lengths_of(*columns).numpy()
        batches = list(LengthBatches(lengths, batch_size, False, at_most=INFERENCE_BUCKETS))
        batches = batches or [np.arange(0)]
        with ThreadPoolExecutor(STREAMS) as streams:
            parts = list(streams.map(run, batches))
        place = np.argsort(np.concatenate(batches))
        return {key: _joined([part[key] for part in parts])[place] for key in parts[0]}

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """The encoder's vector of each text, float32 `[n, dimension]`."""
        text = tf.constant(list(texts), tf.string)
        return self._loaded.signatures["encode"](text=text)["embedding"].numpy()


def _joined(parts: list[np.ndarray]) -> np.ndarray:
    """One array of parts, of which some may be wider than others, as words and entities are."""
    widest = np.max([part.shape[1:] for part in parts], axis=0)
    wide = []
    for part in parts:
        missing = [(0, 0), *((0, most - has) for most, has in zip(widest, part.shape[1:]))]
        filler: Any = b"" if part.dtype == object else 0
        wide.append(np.pad(part, missing, constant_values=filler))
    return np.concatenate(wide)


def load_saved_model(folder: str | Path) -> ServedModel:
    """Loads what `export_saved_model` wrote.

    Args:
        folder: A version's folder, or the folder of versions, of which the newest is taken.

    Raises:
        InputError: If there is no exported model.

    Example:

    >>> load_saved_model("out/serving").predict(["What a lovely film"])["label"]
    """
    return ServedModel(folder)


def _newest(folder: Path) -> Path:
    if (folder / "saved_model.pb").exists():
        return folder
    versions = [p for p in folder.glob("*") if p.name.isdigit() and (p / "saved_model.pb").exists()]
    if not versions:
        raise InputError(
            "no exported model there; expected a folder that `export_saved_model` wrote. "
            f"Received: {folder}"
        )
    return max(versions, key=lambda p: int(p.name))
