"""Text to ids: packing, truncation, padding, and where the vocabulary comes from."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

import tfhub_transfer as tt
from tfhub_transfer.preprocessing import load_preprocessor, make_preprocessor

TEXTS = ["a good film", "", "this is the worst movie", "émigré 🙂 قصة"]


@pytest.fixture(scope="module")
def encoder(bert_encoder: Path) -> tt.Encoder:
    return tt.Encoder(str(bert_encoder))


def test_one_text_is_packed_between_special_tokens(encoder: tt.Encoder, factory: Any) -> None:
    batch = make_preprocessor(encoder)(["a good film"])
    words = [factory.VOCABULARY[i] for i in batch["input_word_ids"].numpy()[0]]
    assert words == ["[CLS]", "a", "good", "film", "[SEP]", "[PAD]", "[PAD]", "[PAD]"]
    assert batch["input_mask"].numpy().tolist() == [[1, 1, 1, 1, 1, 0, 0, 0]]
    assert batch["input_type_ids"].numpy().tolist() == [[0] * 8]
    assert {t.dtype for t in batch.values()} == {tf.int32}


def test_pair_is_packed_as_two_segments(encoder: tt.Encoder, factory: Any) -> None:
    batch = make_preprocessor(encoder)(["good"], ["bad film"])
    words = [factory.VOCABULARY[i] for i in batch["input_word_ids"].numpy()[0]]
    assert words[:6] == ["[CLS]", "good", "[SEP]", "bad", "film", "[SEP]"]
    assert batch["input_type_ids"].numpy()[0, :6].tolist() == [0, 0, 0, 1, 1, 1]


@pytest.mark.slow
def test_equals_the_tf_hub_preprocessor(encoder: tt.Encoder, preprocessor: Path) -> None:
    expected = tf.saved_model.load(str(preprocessor))(tf.constant(TEXTS))
    for own in (make_preprocessor(encoder), make_preprocessor(encoder, str(preprocessor))):
        found = own(TEXTS)
        length = found["input_word_ids"].shape[1]
        for key, value in found.items():
            np.testing.assert_array_equal(value.numpy(), expected[key].numpy()[:, :length])


def test_long_texts_are_cut_and_counted(encoder: tt.Encoder) -> None:
    made = make_preprocessor(encoder, sequence_length=10)
    encoded, truncation = made.encode_all([["good " * 20, "bad", "film " * 9]])
    assert encoded["input_word_ids"].row_lengths().numpy().tolist() == [10, 3, 10]
    assert (truncation.texts, truncation.of, truncation.tokens) == (2, 3, 12 + 1)
    assert str(truncation) == "2 of 3 texts were cut, 13 tokens lost"


def test_pairs_are_cut_fairly(encoder: tt.Encoder) -> None:
    made = make_preprocessor(encoder, sequence_length=11)
    encoded, truncation = made.encode_all([["good " * 20], ["bad " * 20]])
    assert encoded["input_type_ids"].to_list()[0] == [0] * 6 + [1] * 5
    assert truncation.tokens == 40 - 8


def test_padding_never_passes_the_last_position(encoder: tt.Encoder) -> None:
    made = make_preprocessor(encoder, sequence_length=30)
    batch = made(["good " * 50])
    assert batch["input_word_ids"].shape == (1, 30)
    encoder(batch)


def test_odd_texts_pass(encoder: tt.Encoder, text_encoder: Path) -> None:
    odd = ["", "   ", "a\x00b", "🙂🙂", "مرحبا", "x" * 200_000]
    for each in (encoder, tt.Encoder(str(text_encoder))):
        batch = make_preprocessor(each)(odd)
        assert all(t.shape[0] == len(odd) for t in batch.values())
        inputs = batch if each.dialect == "bert" else batch["code_points"]
        outputs = each(inputs)
        key = "pooled_output" if each.dialect == "bert" else "default"
        assert np.isfinite(outputs[key].numpy()).all()


@pytest.mark.slow
@pytest.mark.parametrize("kind", ("vocabulary", "saved_model", "code_points"))
def test_saved_and_loaded_is_equal(
    kind: str, tmp_path: Path, encoder: tt.Encoder, preprocessor: Path, text_encoder: Path
) -> None:
    if kind == "code_points":
        made = make_preprocessor(tt.Encoder(str(text_encoder)))
    else:
        made = make_preprocessor(encoder, str(preprocessor) if kind == "saved_model" else None, 16)
    made.save(tmp_path / "first")
    again = load_preprocessor(tmp_path / "first")
    (tmp_path / "first").rename(tmp_path / "gone")
    again.save(tmp_path / "second")
    expected = made(TEXTS)
    for each in (again, load_preprocessor(tmp_path / "second")):
        for key, value in each(TEXTS).items():
            np.testing.assert_array_equal(value.numpy(), expected[key].numpy())


@pytest.mark.parametrize("length", [7, 33])
def test_length_must_suit_the_encoder(length: int, encoder: tt.Encoder) -> None:
    with pytest.raises(tt.InputError, match=f"from 8 to 32, .*Received: {length}"):
        make_preprocessor(encoder, sequence_length=length)


def test_what_is_no_preprocessor_is_refused(encoder: tt.Encoder, text_encoder: Path) -> None:
    with pytest.raises(tt.InputError, match="isn't a TF Hub BERT preprocessor"):
        make_preprocessor(encoder, str(text_encoder))
