"""Texts that hang on rounding: an export may write others, and is no worse for that."""

import types
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfhub_transfer as tt
from tfhub_transfer.serving import checking, replay, warm_up
from tfhub_transfer.tasks import Translation
from tfhub_transfer.tasks.generation import layout as layouts

TARGETS = ["guter Film", "ein Stück"] * 4
GRAPH: Any = types.SimpleNamespace(width=lambda *asked: None)


@pytest.fixture(scope="module")
def model(encoder_folder: Path, make_encoder: Any) -> tt.TransferModel:
    keras.utils.set_random_seed(0)
    task = Translation(decoder_width=16, answer_length=4).adapt(TARGETS)
    return tt.build_model(str(make_encoder("bert_encoder")), task, sequence_length=16)


def unsteady(model: tt.TransferModel) -> dict[str, np.ndarray]:
    asked = [warm_up.Request("serving_default", {"text": ["good film", "bad"]})]
    expected = {
        f"1/{name}": value for name, value in checking.answered(model, asked[0], GRAPH).items()
    }
    return checking._unsteady(model, GRAPH, asked, expected)


def test_pieces_that_are_as_likely_make_texts_that_hang_on_rounding(
    model: tt.TransferModel,
) -> None:
    decoder = model.get_layer(layouts.DECODER)
    table, bias = decoder.table.numpy(), decoder.bias.numpy()
    decoder.table.assign(tf.zeros_like(table))
    try:
        found = unsteady(model)
        assert found[f"{replay.UNSTEADY}/1"].tolist() == [True, True]
        # One piece, and then the end: nothing else is nearly as likely.
        sharp = bias.copy()
        sharp[5], sharp[3] = 30.0, 15.0
        decoder.bias.assign(sharp)
        assert not unsteady(model)
        np.testing.assert_array_equal(decoder.bias, sharp)  # as it was before
    finally:
        decoder.table.assign(table)
        decoder.bias.assign(bias)


def test_rows_that_hang_on_rounding_are_not_compared() -> None:
    wanted = {"text": np.array([b"a", b"b"]), "score": np.array([1.0, 2.0])}
    found = {"text": np.array([b"a", b"c"], object), "score": np.array([1.0, 2.5])}
    assert replay.difference(found, wanted, 1e-4, unsteady=np.array([False, True])) == 0.0
    with pytest.raises(ValueError, match="text is b'c', not b'b'"):
        replay.difference(found, wanted, 1e-4, unsteady=np.array([True, False]))


def test_what_is_no_text_is_not_shaken(bert_encoder: Path) -> None:
    task = tt.tasks.Classification(["a", "b"])
    plain = tt.build_model(str(bert_encoder), task, sequence_length=16)
    with plain.layout.shaken(plain, 1e-4, 0) as shaken:
        assert not shaken
