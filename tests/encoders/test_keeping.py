"""Every encoder that a model can be built on can be kept in a `.keras` file, trained as it is."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from saved_model_factory import Tracked

import tfhub_transfer as tt
from tfhub_transfer.encoders import conversion

VECTORS = "good 1 0 0\nbad 0 1 0\nfilm 0 0 1\nmovie 0 0.5 1\n"
TEXTS = ["good film", "bad movie", "the worst", ""]


def word_vectors(folder: Path) -> Path:
    """What `convert glove.txt` writes."""
    source = folder.with_suffix(".txt")
    source.write_text(VECTORS, encoding="utf-8")
    conversion.convert_word_vectors(source, folder)
    return folder


def write(folder: Path, root: Any, call: Callable[[tf.Tensor], tf.Tensor]) -> Path:
    """A text encoder: strings `[n]` to what `call` gives."""
    root.__call__ = tf.function(call, [tf.TensorSpec([None], tf.string)], autograph=False)
    tf.saved_model.save(root, str(folder))
    return folder


def lengths(texts: tf.Tensor) -> tf.Tensor:
    return tf.cast(tf.strings.unicode_decode(texts, "UTF-8").to_tensor(shape=[None, 3]), tf.float32)


def without_variables(folder: Path) -> Path:
    """Nothing but arithmetic."""
    return write(folder, Tracked(), lengths)


def under_another_name(name: str) -> Callable[[Path], Path]:
    """One variable, kept under a name that means something to a checkpoint."""

    def make(folder: Path) -> Path:
        root, scale = Tracked(), tf.Variable([1.0, 2.0, 3.0])
        setattr(root, name, scale)
        return write(folder, root, lambda texts: lengths(texts) * scale)

    return make


MADE = {
    "word vectors": word_vectors,
    "no variables": without_variables,
    **{f"a variable called {n}": under_another_name(n) for n in ("a.b/c", "variables")},
}
KINDS = (
    "text_encoder_frozen",
    "bert_encoder",
    "albert_encoder",
    "list_style_encoder",
    "bert_odd_variables",
    "bert_without_lists",
    "bert_frozen",
    "static-minilm-256",
)


@pytest.mark.parametrize(
    "kind", [*MADE, *(pytest.param(kind, marks=pytest.mark.slow) for kind in KINDS)]
)
def test_it_is_kept(kind: str, make_encoder: Callable[[str], Path], tmp_path: Path) -> None:
    packaged = kind == "static-minilm-256"
    folder = MADE[kind](tmp_path / "encoder") if kind in MADE else None
    handle = kind if packaged else str(folder or make_encoder(kind))
    model = tt.build_model(handle, tt.tasks.Classification(["a", "b"]))
    for weight in model.weights:  # as training does
        if weight.dtype == "float32":
            weight.assign(np.asarray(weight) * 1.25 + 0.01)
    expected = model.predict_scores(TEXTS)
    model.save(tmp_path / "model.keras")
    if folder is not None:
        folder.rename(tmp_path / "gone")
    again = tt.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(again.predict_scores(TEXTS), expected)
    again.save(tmp_path / "again.keras")


def test_what_cannot_be_kept_is_refused_before_anything_is_trained(tmp_path: Path) -> None:
    folder = under_another_name("root")(tmp_path / "encoder")
    with pytest.raises(tt.InputError, match="can't be put into a `.keras` file.*called `root`"):
        tt.build_model(str(folder), tt.tasks.Classification(["a", "b"]))
