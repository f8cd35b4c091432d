"""The first question to an encoder: whatever its sizes, it is answered or said in one line."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from saved_model_factory import Tracked

import tfhub_transfer as tt
from tfhub_transfer.encoders import hub_format
from tfhub_transfer.encoders.bert_shapes import BertShape, bert_variable_shapes

PIECES = (*hub_format.SPECIAL_TOKENS, "good", "film", *"abcdefghijklmnopqrstuvwxyz")


def bert(
    folder: Path, pieces: int, segments: int = 2, positions: int = 8, scale: float = 0.3
) -> Path:
    """A BERT of one layer, with so many word pieces, segments and positions."""
    vocab = folder.with_suffix(".txt")
    vocab.write_text("".join(f"{piece}\n" for piece in PIECES[:pieces]), encoding="utf-8")
    shape = BertShape(1, 4, 1, 8, pieces, positions, segments, mean_pooling=True)
    generator = np.random.default_rng(0)
    values = {
        name: generator.normal(scale=scale, size=size).astype(np.float32)
        for name, size in bert_variable_shapes(shape).items()
    }
    info = {"name": "tiny", "dialect": "bert", "dimension": 4, "layers": 1, "lower_case": True}
    hub_format.save(hub_format.bert_encoder(values, shape, vocab, True), folder, info)
    hub_format.save_preprocessor(folder / "preprocessor", vocab, True)
    return folder


@pytest.mark.parametrize(("pieces", "segments"), [(5, 1), (21, 2)])
@pytest.mark.filterwarnings("error:the encoder .* runs as it was saved")
def test_small_vocabularies_are_right(pieces: int, segments: int, tmp_path: Path) -> None:
    """Also as a graph of its own, which is compared by a question too."""
    folder = bert(tmp_path / "encoder", pieces, segments)
    encoder = tt.Encoder(str(folder))
    assert encoder.flat_graph(training=False) is not None
    model = tt.build_model(encoder, tt.tasks.Classification(["a", "b"]), sequence_length=8)
    saved = tf.saved_model.load(str(folder))
    ids = model.preprocessor.encode([tf.constant(["good film", "a"])])
    given = model.preprocessor.pad(ids)
    expected = saved(given, training=False)["pooled_output"].numpy()
    vectors = model.encode_text(["good film", "a"], normalize=False)
    np.testing.assert_allclose(vectors, expected, rtol=0, atol=1e-6)


def text_encoder(folder: Path, call: Callable[[tf.Tensor], tf.Tensor], rows: int | None) -> Path:
    root = Tracked()
    root.scale = tf.Variable(2.0)
    signature = [tf.TensorSpec([rows], tf.string)]
    root.__call__ = tf.function(lambda t: call(t) * root.scale, signature, autograph=False)
    tf.saved_model.save(root, str(folder))
    return folder


def counted(texts: tf.Tensor) -> tf.Tensor:
    return tf.cast(tf.strings.length(texts), tf.float32)[:, tf.newaxis] * tf.ones([1, 2])


def failing(texts: tf.Tensor) -> tf.Tensor:
    with tf.control_dependencies([tf.debugging.assert_less(tf.size(texts), 1, "a word too many")]):
        return counted(texts)


@pytest.mark.parametrize(
    ("call", "rows", "message"),
    [
        (failing, None, "fails when it is asked.*a word too many"),
        (counted, 1, "fails when it is asked"),
        (lambda texts: counted(texts)[:2], None, "2 rows for 3 texts"),
        (lambda texts: counted(texts) * np.inf, None, "aren't finite"),
    ],
)
def test_what_cannot_be_used_is_one_line(
    call: Any, rows: int | None, message: str, tmp_path: Path
) -> None:
    folder = text_encoder(tmp_path / "encoder", call, rows)
    with pytest.raises(tt.InputError, match=f"the encoder can't be used.*{message}.*") as raised:
        tt.Encoder(str(folder), trust_code=True)
    assert str(folder) in str(raised.value)


def test_the_same_vector_for_all_is_refused(tmp_path: Path) -> None:
    folder = bert(tmp_path / "encoder", 9, scale=0.0)
    with pytest.raises(tt.InputError, match="the same vectors whatever it is asked"):
        tt.Encoder(str(folder))


def test_an_encoder_is_made_ready_once(tmp_path: Path) -> None:
    """What loading asks and what building a model compares is one function of TensorFlow."""
    encoder = tt.Encoder(str(bert(tmp_path / "encoder", 30)))
    call = encoder.saved_model.__call__
    assert call.experimental_get_tracing_count() == 0
    encoder.flat_graph(training=False)
    assert call.experimental_get_tracing_count() == 1  # that of rows of any number and length
