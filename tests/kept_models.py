"""What lies in `tests/kept/`: opened, asked and compared; see the README there.

`make_kept_models.py` writes it by these functions, `test_kept_models.py` reads it by them.
"""

import json
import tarfile
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfhub_transfer as tt

FOLDER = Path(__file__).with_name("kept")
# A model's graph is in its file and in its export: this finds what is the same in both.
SUFFIX = ".tar.xz"
# Scores of one model on processors of several makers; after one more step of training, in which an
# optimizer divides by what it knows of the gradients, they differ more.
RELATIVE, ABSOLUTE = 1e-4, 1e-5
AFTER_A_STEP = 10.0


class Kept(NamedTuple):
    """One kept thing, unpacked: its folder, and what was asked of it and answered."""

    folder: Path
    told: dict[str, Any]


def names() -> list[str]:
    """What is kept."""
    return sorted(path.name.removesuffix(SUFFIX) for path in FOLDER.glob(f"*{SUFFIX}"))


def unpack(name: str, folder: Path) -> Kept:
    """Unpacks what is kept by this name into a folder of its own."""
    with tarfile.open(FOLDER / f"{name}{SUFFIX}") as archive:
        archive.extractall(folder, filter="data")
    told = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    return Kept(folder, told)


def plain(value: Any) -> Any:
    """Answers as JSON has them, floats with all the digits that single precision has."""
    if isinstance(value, dict):
        return {str(key): plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(each) for each in value]
    if isinstance(value, tf.Tensor):
        value = value.numpy()
    if isinstance(value, (np.ndarray, np.generic)):
        return plain(value.tolist())
    if isinstance(value, bytes):
        return value.decode("utf-8")
    return float(f"{value:.9g}") if isinstance(value, float) else value


def near(value: Any, times: float = 1.0) -> Any:
    """What answers are to equal: words and whole numbers exactly, scores but for rounding."""
    if isinstance(value, dict):
        return {key: near(each, times) for key, each in value.items()}
    if isinstance(value, list):
        return [near(each, times) for each in value]
    if isinstance(value, float):
        return pytest.approx(value, rel=RELATIVE * times, abs=ABSOLUTE * times)
    return value


def texts_of(asked: Any) -> Any:
    """Questions as a user gives them: JSON has no tuples, which pairs are."""
    if isinstance(asked, dict):
        return {name: texts_of(each) for name, each in asked.items()}
    return [tuple(each) if isinstance(each, list) else each for each in asked]


def examples_of(given: Any) -> Any:
    """Examples out of columns of texts and labels; those of several tasks by name."""
    if "texts" not in given:
        return {name: examples_of(each) for name, each in given.items()}
    first, *others = given["texts"]
    return tt.data.Examples.from_lists(first, given["labels"], *others)


def answers(model: tt.TransferModel, told: dict[str, Any]) -> Any:
    """What the model answers to the questions."""
    return plain(model.predict_text(texts_of(told["asked"])))


def next_step(model: tt.TransferModel, told: dict[str, Any]) -> dict[str, Any]:
    """Trains one step more: its loss, and what is answered then, which the optimizer decides."""
    batches = model.preprocess(examples_of(told["examples"]), 4, shuffle=False).take(1)
    [loss] = model.fit(batches, verbose=0).history["loss"]
    return {"loss": plain(float(loss)), "answers": answers(model, told)}


def served_answers(folder: Path, served: list[dict[str, Any]]) -> list[Any]:
    """What an export gives for each of several questions to its signatures."""
    model = tt.load_saved_model(folder)
    return [plain(model.predict(_columns(each), signature=each["signature"])) for each in served]


def _columns(each: dict[str, Any]) -> Any:
    words = each["signature"].endswith("words")
    return each["texts"] if words else texts_of(each["texts"])


def of_encoders(folder: Path, told: dict[str, Any]) -> dict[str, Any]:
    """Vectors of encoders that lie in folders, and ids of a preprocessor that does."""
    texts, known = told["asked"], told["encoders"]
    return {
        "vectors": {name: plain(tt.encode_text(str(folder / name), texts)) for name in known},
        "ids": plain(tt.Preprocessor(str(folder / "preprocessor"))(texts)),
    }


def of_strings(path: Path, texts: list[str]) -> Any:
    """What a Keras model of strings gives, loaded by Keras itself, which must know our layers."""
    assert tt.Encoder and tt.Preprocessor  # registered when their modules are first imported
    model = keras.saving.load_model(path)
    return plain(model.predict(tf.constant(texts), verbose=0))
