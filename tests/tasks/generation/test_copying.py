"""What may be copied of a text, and a model that copies: all ways to ask it agree."""

import itertools
import json
import re
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfhub_transfer as tt
from tfhub_transfer.encoders.preprocessing import make_preprocessor
from tfhub_transfer.errors import InputError
from tfhub_transfer.serving.served import ServedModel
from tfhub_transfer.tasks import Head, Search, TargetVocabulary, TextGeneration
from tfhub_transfer.tasks.generation import layout as layouts
from tfhub_transfer.tasks.generation.pointers import NAMES, Sources
from tfhub_transfer.tasks.generation.vocabulary import BOS, EOS, PAD

SOURCES = ["Good Film zzy", "bad movie 1234", "the worst story", "a good story play"] * 6
TARGETS = ["Film zzy Good", "movie 1234", "The worst Story!", "story play good"] * 6
ASKED = [*SOURCES[:4], "zzy Story 99", "", "  ", "Film " * 40, "Füße 🙂\u00a0bad", "x\x00\ny"]


def build(encoder: Path, **kwargs: Any) -> tt.TransferModel:
    keras.utils.set_random_seed(1)
    task = TextGeneration(decoder_width=32, copies=True, **kwargs).adapt(TARGETS)
    return tt.build_model(str(encoder), task, Head(dropout=0.0), sequence_length=16)


def pairs() -> tt.data.Examples:
    return tt.data.Examples.from_lists(SOURCES, TARGETS)


@pytest.fixture(scope="module")
def trained(encoder_folder: Path, make_encoder: Any) -> tt.TransferModel:
    model = build(make_encoder("bert_encoder"), search={"beams": 3, "n_best": 2})
    model.compile(keras.optimizers.Adam(5e-3), model.task.loss())
    model.fit(model.preprocess(pairs(), 24), epochs=40, verbose=0)
    return model


# What may be copied -------------------------------------------------------------------------------


def test_pieces_are_those_of_answers_and_stand_in_their_own_word(bert_encoder: Path) -> None:
    """Word by word in Python: a place belongs to the word that the piece is of."""
    preprocessor = make_preprocessor(tt.Encoder(str(bert_encoder)), sequence_length=16)
    vocabulary = TargetVocabulary.learn(TARGETS)
    found = Sources(vocabulary, preprocessor)(tf.constant(ASKED))
    for text, ids, places in zip(ASKED, *(found[name].to_list() for name in NAMES)):
        expected, allowed, start = [], [], 1
        for word in re.split("[ \t-\r]+", text.strip(" ")) if text.strip() else []:
            own = vocabulary.tokenize([word]).to_list()[0]
            # Nothing is read of what is no word to the encoder; there stands what comes next.
            count = int(preprocessor.tokenize(tf.constant([word])).row_lengths()[0])
            expected += own
            allowed += [(start, start + max(count, 1))] * len(own)
            start += count
        known = len(ids)
        assert ids == expected[:known]
        assert all(first <= place < last for place, (first, last) in zip(places, allowed))
        assert places == sorted(places) and all(place < 15 for place in places)
        # All is there that the encoder reads.
        assert known == 32 or all(last > 15 for _, last in allowed[known:])


def test_both_ends_of_a_word_stand_apart(bert_encoder: Path) -> None:
    preprocessor = make_preprocessor(tt.Encoder(str(bert_encoder)), sequence_length=16)
    vocabulary = TargetVocabulary.learn(["ab cd"] * 3)
    found = Sources(vocabulary, preprocessor)(tf.constant(["film zyxw"]))
    # The encoder has a piece for `film`, and one for each letter of the other.
    pieces = vocabulary.pieces(found[NAMES[0]].to_list()[0])
    cut = pieces.index("\u2581", 1)
    places = found[NAMES[1]].to_list()[0]
    assert set(places[:cut]) == {1} and places[cut:] == [2, 2, 3, 4, 5]


def test_encoders_of_one_vector_have_all_pieces_in_one_place(text_encoder: Path) -> None:
    model = build(text_encoder)
    batch = model.layout.batch(tf.constant(["Good Film zzy", ""]))
    assert not batch[NAMES[1]].numpy().any()
    assert (batch[NAMES[0]].numpy() != PAD).sum(axis=1).tolist()[1] == 0
    assert len(model.predict_text(ASKED)) == len(ASKED)


def test_other_vocabularies_are_other_ids(bert_encoder: Path) -> None:
    one, other = build(bert_encoder), build(bert_encoder)
    assert one.layout.ids_depend_on == other.layout.ids_depend_on
    other.task.vocabulary = TargetVocabulary.learn(SOURCES)
    assert one.layout.ids_depend_on != other.layout.ids_depend_on


# What is made of it -------------------------------------------------------------------------------


def test_scores_are_those_of_the_texts_that_are_given(trained: tt.TransferModel) -> None:
    penalty = trained.task.search.length_penalty
    inputs = trained.layout.batch(tf.constant(ASKED))
    found = np.asarray(trained.answer(inputs))
    assert found.shape[:2] == (len(ASKED), 2)
    for best in range(2):
        ids = found[:, best, 1:].astype(np.int32)
        counts = (ids != PAD).sum(axis=1)
        targets = np.zeros((len(ASKED), ids.shape[1] + 2), np.int32)
        targets[:, 0], targets[:, 1:-1] = BOS, ids
        targets[range(len(ASKED)), counts + 1] = EOS
        given = {**inputs, layouts.TARGETS: tf.constant(targets)}
        each = np.asarray(trained(given, training=False))[..., 0]
        totals = np.where(targets[:, 1:] != PAD, each, 0.0).sum(axis=1)
        expected = totals / ((5 + counts + 1) / 6) ** penalty
        np.testing.assert_allclose(found[:, best, 0], expected, rtol=1e-5, atol=1e-5)


def test_beams_find_the_best_of_all_texts(trained: tt.TransferModel) -> None:
    """Of a model that knows little all texts of two pieces and less, each scored by itself."""
    source, task = "zzy Story 99", trained.task
    before, size = task.search, task.vocabulary.size
    inputs = trained.layout.batch(tf.constant([source]))
    copied = [int(each) for each in set(inputs[NAMES[0]].numpy()[0].tolist()) - {PAD}]
    some = [*copied, *range(EOS + 1, size, 29)]
    texts = [(), *((one,) for one in some), *itertools.product(some, some)]
    targets = np.zeros((len(texts), 4), np.int32)
    for row, text in enumerate(texts):
        targets[row, : len(text) + 2] = [BOS, *text, EOS]
    given = {name: tf.repeat(value, len(texts), axis=0) for name, value in inputs.items()}
    scores = trained({**given, layouts.TARGETS: tf.constant(targets)}, training=False)[..., 0]
    totals = np.where(targets[:, 1:] != PAD, scores, 0).sum(axis=1)
    task.search = Search(beams=32, max_length=2, length_penalty=0.0, thorough=True)
    try:
        [answer] = trained.predict_text([source])
    finally:
        task.search = before
    assert answer["score"] >= totals.max() - 1e-5
    pieces = tuple(task.vocabulary.tokenize([answer["text"]]).to_list()[0])
    if pieces in texts:
        assert answer["score"] == pytest.approx(totals[texts.index(pieces)], abs=1e-5)


def test_a_file_and_an_export_write_the_same(trained: tt.TransferModel, tmp_path: Path) -> None:
    wanted = trained.predict_text(ASKED)
    assert [each["text"] for each in wanted[:4]] == TARGETS[:4]
    trained.save(tmp_path / "model.keras")
    again = tt.load_model(tmp_path / "model.keras").predict_text(ASKED)
    served = ServedModel(tt.export_saved_model(trained, tmp_path / "serving")).predict(ASKED)
    for row, answer in enumerate(wanted):
        assert again[row]["texts"] == answer["texts"]
        assert [each.decode("utf-8") for each in served["texts"][row]] == answer["texts"]
        assert served["scores"][row] == pytest.approx(answer["scores"], abs=1e-4)


def test_stored_vectors_teach_as_the_whole_model_does(bert_encoder: Path) -> None:
    model = build(bert_encoder)
    model.encoder.trainable = False
    boundary = model.boundary()
    # A text whose pieces for copying are more than the encoder's, and than those of any answer.
    long = tt.data.Examples.from_lists([*SOURCES[:4], "zyx " * 12], [*TARGETS[:4], "good"])
    stored = boundary.store(model.to_ids(long))
    assert int(model.to_ids(long).lengths.max()) > 16
    batches, _ = stored.batches(8)
    whole = model.evaluate(model.preprocess(long, 8), verbose=0, return_dict=True)
    part = model.model_above(boundary).evaluate(batches, verbose=0, return_dict=True)
    assert part == pytest.approx(whole, rel=2e-2)  # vectors are stored in bfloat16


def test_large_sources_are_searched_few_at_a_time(bert_encoder: Path) -> None:
    model = build(bert_encoder)
    encoder = model.encoder
    assert model.layout.rows_at_once(encoder, 128) == 128
    model.layout.preprocessor.sequence_length = 1024
    assert model.layout.rows_at_once(encoder, 128) == 64_000_000 // 2048**2


@pytest.mark.slow
def test_the_command_copies_where_it_is_told(bert_encoder: Path, tmp_path: Path, run: Any) -> None:
    file = tmp_path / "data.jsonl"
    rows = [
        {"document": f"{n} {a}", "summary": f"{b} {n}"}
        for n, (a, b) in enumerate(zip(SOURCES, TARGETS))
    ]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows * 2), "utf-8")
    words = ["--task", "abstractive-summarization", "--encoder", bert_encoder, "--copies"]
    status, _, told = run(
        *("train", *words, "--data", file, "--output", tmp_path / "out", "--epochs", 1),
        *("--sequence-length", 16, "--unfreeze", 1),
    )
    assert status == 0, told
    model = tt.load_model(tmp_path / "out" / "model.keras")
    assert model.task.copies and model.task.get_config()["copies"]
    status, out, told = run("check-export", tmp_path / "out")
    assert status == 0, out + told


def test_who_asks_for_no_copies_has_none(bert_encoder: Path) -> None:
    task = TextGeneration(decoder_width=16).adapt(TARGETS)
    model = tt.build_model(str(bert_encoder), task, sequence_length=16)
    assert not {*NAMES} & {each.name for each in model.inputs}
    with pytest.raises(InputError, match="`copies`"):
        TextGeneration(copies="yes")  # type: ignore[arg-type]
