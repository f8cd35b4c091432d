"""Text to ids: packing, truncation, padding, and where the vocabulary comes from."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tokenizer_ids

import tfhub_transfer as tt
from tfhub_transfer.encoders import hub_format
from tfhub_transfer.encoders.preprocessing import load_preprocessor, make_preprocessor

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


# As Hugging Face ----------------------------------------------------------------------------------

# Made by tokenizers 0.23.3 (see `tokenizer_ids.py`).
REFERENCE = json.loads(tokenizer_ids.FILE.read_text(encoding="utf-8"))
SETTINGS = [(lower, strip) for lower in (False, True) for strip in (False, True)]


def small_encoder(folder: Path, lower_case: bool, strip: bool | None) -> Path:
    """A static encoder over the reference's vocabulary, with a vector of its own for each piece."""
    words = REFERENCE["vocabulary"]
    vocab = folder.with_name("vocab.txt")
    vocab.write_text("".join(f"{word}\n" for word in words), encoding="utf-8")
    table = np.random.default_rng(0).normal(size=(len(words), 8)).astype("float32")
    info = {"dialect": "bert", "dimension": 8, "lower_case": lower_case, "strip_accents": strip}
    hub_format.save(hub_format.static_encoder(table, vocab, lower_case), folder, info)
    return folder


@pytest.mark.parametrize(("lower_case", "strip"), [*SETTINGS, (True, None), (False, None)])
def test_ids_are_those_of_hugging_face(
    lower_case: bool, strip: bool | None, tmp_path: Path
) -> None:
    encoder = tt.Encoder(str(small_encoder(tmp_path / "encoder", lower_case, strip)))
    made = make_preprocessor(encoder, sequence_length=512)
    made.save(tmp_path / "saved")
    stripped = lower_case if strip is None else strip
    wanted = REFERENCE["ids"][f"lower_case={lower_case} strip_accents={stripped}"]
    for each in (made, load_preprocessor(tmp_path / "saved")):
        found = each.tokenize(tf.constant(tokenizer_ids.TEXTS)).to_list()
        for text, own, theirs in zip(tokenizer_ids.TEXTS, found, wanted):
            assert own == theirs, text


@pytest.mark.parametrize(
    ("lower_case", "strip"),
    [(True, False), *(pytest.param(*s, marks=pytest.mark.slow) for s in SETTINGS)],
)
def test_an_export_reads_the_same_ids(lower_case: bool, strip: bool, tmp_path: Path) -> None:
    folder = small_encoder(tmp_path / "encoder", lower_case, strip)
    model = tt.build_model(str(folder), tt.tasks.Classification(["a", "b"]))
    served = tt.load_saved_model(tt.export_saved_model(model, tmp_path / "served", "float32"))
    table = model.encoder.named_weights()["word_embeddings/embeddings"].numpy()
    wanted = REFERENCE["ids"][f"lower_case={lower_case} strip_accents={strip}"]
    means = [table[ids[:254]].mean(axis=0) if ids else np.zeros(8) for ids in wanted]
    np.testing.assert_allclose(served.encode(tokenizer_ids.TEXTS), means, atol=1e-5)
