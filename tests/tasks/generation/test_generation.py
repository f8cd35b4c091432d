"""Texts out: what a decoder is taught, what it then writes, and that all ways to ask agree."""

import copy
import dataclasses
import json
import pickle
import re
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import keras_tuner
import numpy as np
import pytest
import sacrebleu
import tensorflow as tf

import tfhub_transfer as tt
from tfhub_transfer.data.batching import LengthBatches
from tfhub_transfer.errors import InputError
from tfhub_transfer.jobs import inputs, settling
from tfhub_transfer.jobs.asking import Answers
from tfhub_transfer.jobs.options.asking import PredictJob
from tfhub_transfer.serving.served import ServedModel
from tfhub_transfer.tasks import Dialogue, Head, Search, TextGeneration, Translation
from tfhub_transfer.tasks.generation import layout as layouts
from tfhub_transfer.tasks.generation.task import Perplexity, PieceAccuracy, TextCrossentropy
from tfhub_transfer.tasks.generation.vocabulary import BOS, EOS, PAD

SOURCES = ["good film", "bad movie", "the worst story", "a good story play"] * 6
TARGETS = ["guter Film", "böser Film", "die schlimmste Geschichte", "ein Stück"] * 6


def pairs() -> tt.data.Examples:
    return tt.data.Examples.from_lists(SOURCES, TARGETS)


def build(encoder: Path, task: Any = None, **kwargs: Any) -> tt.TransferModel:
    keras.utils.set_random_seed(1)
    task = task or Translation(decoder_width=32, search={"beams": 3, "n_best": 2})
    return tt.build_model(
        str(encoder), task.adapt(TARGETS), Head(dropout=0.0), sequence_length=16, **kwargs
    )


@pytest.fixture(scope="module")
def trained(encoder_folder: Path, make_encoder: Any) -> tt.TransferModel:
    return taught(build(make_encoder("bert_encoder")))


def taught(model: tt.TransferModel) -> tt.TransferModel:
    """The model with a decoder that knows the pairs by heart."""
    model.compile(keras.optimizers.Adam(5e-3), model.task.loss())
    model.fit(model.preprocess(pairs(), 24), epochs=80, verbose=0)
    return model


def likelihoods(model: tt.TransferModel, source: str, pieces: list[int]) -> np.ndarray:
    """The logarithm of the probability of each piece and of the end, of the model's own graph."""
    inputs = model.layout.batch(tf.constant([source]))
    targets = tf.constant([[BOS, *pieces, EOS]])
    read = {name: each for name, each in inputs.items() if name != "terms"}
    scores = model({**read, layouts.TARGETS: targets}, training=False)
    return np.asarray(scores)[0, :, 0]


def pieces_of(model: tt.TransferModel, text: str) -> list[int]:
    found: list[int] = model.task.vocabulary.tokenize([text]).to_list()[0]
    return found


# What is learned ----------------------------------------------------------------------------------


def test_it_learns_what_it_is_taught(trained: tt.TransferModel) -> None:
    found = [answer["text"] for answer in trained.predict_text(SOURCES[:4])]
    assert found == TARGETS[:4]


def test_loss_and_metrics_are_those_of_the_pieces_that_are_there() -> None:
    generator = np.random.default_rng(0)
    wanted = np.array([[5, 6, 3], [7, 3, -1], [-1, -1, -1]])
    made = -generator.uniform(0.1, 3, (3, 3, 3)).astype(np.float32)
    made[..., 2] = [[1, 0, 1], [0, 1, 1], [1, 1, 1]]
    each = -(0.8 * made[..., 0] + 0.2 * made[..., 1])
    rows = [each[0].mean(), each[1, :2].mean(), 0.0]
    loss = TextCrossentropy(0.2)
    np.testing.assert_allclose(loss(wanted, made), np.mean(rows), rtol=1e-6)
    pieces = np.concatenate([made[0, :, 0], made[1, :2, 0]])
    perplexity, accuracy = Perplexity(), PieceAccuracy()
    for row in range(3):
        perplexity.update_state(wanted[row : row + 1], made[row : row + 1])
        accuracy.update_state(wanted[row : row + 1], made[row : row + 1])
    np.testing.assert_allclose(perplexity.result(), np.exp(-pieces.mean()), rtol=1e-6)
    assert float(accuracy.result()) == pytest.approx(3 / 5)


def test_a_batch_teaches_pieces_behind_their_beginning(bert_encoder: Path) -> None:
    model = build(bert_encoder)
    [(inputs, labels)] = list(model.preprocess(pairs()[:4], 4, shuffle=False))
    for row, text in enumerate(TARGETS[:4]):
        pieces = [*pieces_of(model, text), EOS]
        assert [each for each in labels[row].numpy() if each != -1] == pieces
        read = inputs[layouts.TARGETS][row].numpy()
        assert read[: len(pieces) + 1].tolist() == [BOS, *pieces]
        assert (read[len(pieces) + 1 :] == PAD).all()


@pytest.mark.parametrize(("most", "count", "length"), [(40, 33, 40), (40, 3, 8), (90, 70, 90)])
def test_what_is_written_has_room_whatever_lengths_texts_have(
    bert_encoder: Path, most: int, count: int, length: int
) -> None:
    model = build(bert_encoder, Translation(decoder_width=32, answer_length=most))
    labels = tf.ragged.constant([[5] * count, [6]], dtype=tf.int32)
    for lengths in (np.array([8, 16, 64]), np.array([8])):
        assert int(model.layout.labels_length(labels, {}, lengths)) == length


def test_what_is_too_long_is_cut_and_has_no_end() -> None:
    task = Translation(answer_length=4).adapt(TARGETS)
    codes = task.encode(["e", "die schlimmste Geschichte, die ich kenne"]).to_list()
    assert codes[0][-1] == EOS and len(codes[0]) <= 4
    assert len(codes[1]) == 4 and EOS not in codes[1]
    long = sum(len(row) > 4 for row in task.vocabulary.tokenize(TARGETS).to_list())
    [doubt] = task.doubts()
    assert doubt.startswith(f"of 24 targets {long} have more than 4 pieces") and long
    assert not Translation().adapt(TARGETS).doubts()


def test_short_targets_of_long_texts_have_no_more_places_than_the_decoder(
    bert_encoder: Path,
) -> None:
    task = Translation(decoder_width=16, answer_length=2)
    model = build(bert_encoder, task)
    long = tt.data.Examples.from_lists(["good film play story movie " * 3] * 8, TARGETS[:8])
    model.compile("sgd", model.task.loss())
    [(_, labels)] = list(model.preprocess(long, 8))
    assert labels.shape == (8, 2)
    model.fit(model.preprocess(long, 8), verbose=0)


def test_stored_vectors_teach_as_the_whole_model_does(bert_encoder: Path) -> None:
    model = build(bert_encoder)
    model.encoder.trainable = False
    boundary = model.boundary()
    stored = boundary.store(model.to_ids(pairs()))
    above = model.model_above(boundary)
    batches, _ = stored.batches(8)
    whole = model.evaluate(model.preprocess(pairs(), 8), verbose=0, return_dict=True)
    part = above.evaluate(batches, verbose=0, return_dict=True)
    assert part == pytest.approx(whole, rel=2e-2)  # vectors are stored in bfloat16


def test_the_decoder_begins_with_the_top_of_the_encoder(bert_encoder: Path) -> None:
    model = build(bert_encoder, Translation())
    layer = model.get_layer(layouts.DECODER).layers[0]
    weights = model.encoder.named_weights()
    [name] = [n for n in weights if n.endswith("layer_1/intermediate/kernel")]
    np.testing.assert_array_equal(layer.inner.kernel, weights[name])


@pytest.mark.slow
def test_thawed_layers_and_decoder_have_rates_of_their_own(bert_encoder: Path) -> None:
    model = build(bert_encoder)
    decoder = model.get_layer(layouts.DECODER)
    before = decoder.table.numpy(), model.encoder.weights[0].numpy()
    train = model.preprocess(pairs(), 8)
    made = tt.ProgressiveUnfreezing(start_epoch=0, epochs_per_group=0.01)
    made.head_factor = 1e-6
    model.fit(train, epochs=2, callbacks=[made], verbose=0)
    moved = np.abs(decoder.table.numpy() - before[0]).max()
    assert moved < 1e-6
    assert (
        max(np.abs(w.numpy() - v).max() for w, v in zip(model.encoder.weights[:1], before[1:]))
        > 1e-6
    )


# What is written ----------------------------------------------------------------------------------


def test_scores_are_those_of_the_texts_that_are_given(trained: tt.TransferModel) -> None:
    penalty = trained.task.search.length_penalty
    for source, answer in zip(SOURCES[:4], trained.predict_text(SOURCES[:4])):
        for text, score in zip(answer["texts"], answer["scores"]):
            each = likelihoods(trained, source, pieces_of(trained, text))
            assert score == pytest.approx(each.sum() / ((5 + len(each)) / 6) ** penalty, abs=1e-4)


def test_one_beam_takes_the_likeliest_piece_each_time(trained: tt.TransferModel) -> None:
    task = trained.task
    before, task.search = task.search, Search(beams=1)
    try:
        found = trained.predict_text(["film story bad"])[0]["text"]
    finally:
        task.search = before
    decoder, pieces = trained.get_layer(layouts.DECODER), list[int]()
    memory = trained.encoder(trained.layout.batch(tf.constant(["film story bad"])))
    present = trained.layout.batch(tf.constant(["film story bad"]))["input_mask"]
    size = task.vocabulary.size
    memory = tf.repeat(memory["sequence_output"], size - EOS, axis=0)
    present = tf.repeat(present, size - EOS, axis=0)
    for _ in range(task.answer_length):
        tried = [[BOS, *pieces, piece] for piece in range(EOS, size)]
        scores = decoder(memory, present, tf.constant(tried))[:, -1, 0]
        best = int(np.argmax(scores)) + EOS
        if best == EOS:
            break
        pieces.append(best)
    assert found == task.vocabulary.detokenize(tf.constant([pieces])).numpy()[0].decode("utf-8")


def test_how_it_searches_may_change_later(trained: tt.TransferModel) -> None:
    before = trained.task.search
    try:
        trained.task.search = Search(beams=2, max_length=1)
        [short] = trained.predict_text(SOURCES[:1])
        assert len(pieces_of(trained, short["text"])) <= 1 and "texts" not in short
    finally:
        trained.task.search = before
    assert len(trained.predict_text(SOURCES[:1])[0]["texts"]) == 2


def test_many_hypotheses_are_followed_of_few_texts_at_a_time(
    trained: tt.TransferModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual, encoder = trained.task.search, trained.encoder
    assert trained.layout.rows_at_once(encoder, 128) == 128
    every = trained.predict_text(SOURCES[:4])
    # Three beams of 32 pieces, for each of which keys and values have 32 numbers.
    own = max(trained.task.vocabulary.size, 2 * 32 * usual.max_length)
    monkeypatch.setattr(layouts, "_NUMBERS", 2 * 3 * own)
    assert trained.layout.rows_at_once(encoder, 128) == 2
    sizes = []
    in_order = LengthBatches.in_order
    monkeypatch.setattr(
        LengthBatches, "in_order", lambda *given: sizes.append(given[1]) or in_order(*given)
    )
    few = trained.predict_text(SOURCES[:4])
    assert sizes == [2] and [each["texts"] for each in few] == [each["texts"] for each in every]
    assert Search(beams=9, n_best=2).hypotheses == 9
    assert Search(beams=9, n_best=2, sample=True).hypotheses == 2


def test_a_file_and_an_export_write_the_same(trained: tt.TransferModel, tmp_path: Path) -> None:
    asked = [*SOURCES[:4], "", "film " * 40, "Füße 🙂 bad"]
    wanted = trained.predict_text(asked)
    trained.save(tmp_path / "model.keras")
    again = tt.load_model(tmp_path / "model.keras").predict_text(asked)
    served = ServedModel(tt.export_saved_model(trained, tmp_path / "serving")).predict(asked)
    for row, answer in enumerate(wanted):
        assert again[row]["texts"] == answer["texts"]
        assert again[row]["scores"] == pytest.approx(answer["scores"], abs=1e-4)
        assert [each.decode("utf-8") for each in served["texts"][row]] == answer["texts"]
        assert served["text"][row].decode("utf-8") == answer["text"]
        assert served["score"][row] == pytest.approx(answer["score"], abs=1e-4)
    may_be_told_how_long_each_is(trained, ServedModel(tmp_path / "serving"), asked[:6])


def may_be_told_how_long_each_is(
    model: tt.TransferModel, served: ServedModel, asked: list[str]
) -> None:
    most = [1, 2, 3, 99, 0, -5]
    found = served.answer("max_length", {"text": asked, "max_length": most})
    before = model.task.search
    try:
        for row, count in enumerate(most[:3]):
            model.task.search = dataclasses.replace(before, max_length=count)
            [answer] = model.predict_text(asked[row : row + 1])
            assert [each.decode("utf-8") for each in found["texts"][row]] == answer["texts"]
            np.testing.assert_allclose(found["scores"][row], answer["scores"], atol=1e-4)
    finally:
        model.task.search = before
    # Below 1, and where more is allowed than there would be, all is as ever.
    usual = served.answer("serving_default", {"text": asked})
    for name in usual:
        if usual[name].dtype == object:
            np.testing.assert_array_equal(found[name][3:], usual[name][3:])
        else:  # beside other texts, which are done sooner, sums differ in their last digit
            np.testing.assert_allclose(found[name][3:], usual[name][3:], rtol=1e-6)


@pytest.mark.slow
def test_an_encoder_of_one_vector_has_a_memory_of_one(text_encoder: Path, tmp_path: Path) -> None:
    model = taught(build(text_encoder, Translation(decoder_width=32, search={"beams": 2})))
    answers = [each["text"] for each in model.predict_text(SOURCES[:4])]
    assert answers == TARGETS[:4]
    served = ServedModel(tt.export_saved_model(model, tmp_path / "serving")).predict(SOURCES[:4])
    assert [each.decode("utf-8") for each in served["text"]] == answers


# What answers are told ----------------------------------------------------------------------------

TERMS = {"film": "Streifen", "story": "Sage", "good film": "ein guter Hit"}


@pytest.fixture
def told(trained: tt.TransferModel) -> Iterator[tt.TransferModel]:
    """The model that knows the pairs by heart, which may be told how to search."""
    before = trained.task.search
    yield trained
    trained.task.search = before


def test_terms_are_in_answers_and_others_stay_as_they_are(
    told: tt.TransferModel, tmp_path: Path
) -> None:
    asked = [*SOURCES[:4], "a bad Film", "", "film story film", "films"]
    before = told.predict_text(asked)
    how = told.task.search
    told.task.search = dataclasses.replace(how, glossary=TERMS)
    answers = told.predict_text(asked)
    wanted = [["ein guter Hit"], [], ["Sage"], ["Sage"], ["Streifen"], [], ["Streifen", "Sage"], []]
    for row, terms in enumerate(wanted):
        answer = answers[row]
        assert answer.pop("missing_terms") == []
        if not terms:
            assert answer["texts"] == before[row]["texts"]
            assert answer["scores"] == pytest.approx(before[row]["scores"], abs=1e-5)
        for text, score in zip(answer["texts"], answer["scores"]):
            assert all(re.search(rf"(?<!\w){term}(?!\w)", text) for term in terms)
            each = likelihoods(told, asked[row], pieces_of(told, text))
            # Where its pieces are those that its text has, too.
            if terms and score != pytest.approx(each.sum() / ((5 + len(each)) / 6), abs=1e-3):
                assert score < each.sum() / ((5 + len(each)) / 6)
    told.save(tmp_path / "model.keras")
    again = tt.load_model(tmp_path / "model.keras").predict_text(asked)
    served = ServedModel(tt.export_saved_model(told, tmp_path / "serving")).predict(asked)
    for row, answer in enumerate(answers):
        assert again[row]["texts"] == answer["texts"] and again[row]["missing_terms"] == []
        assert [each.decode("utf-8") for each in served["texts"][row]] == answer["texts"]
    assert not any(term for row in served["missing_terms"] for term in row)


def test_what_has_no_room_is_said_to_be_missing(told: tt.TransferModel) -> None:
    told.task.search = Search(beams=2, max_length=2, glossary=TERMS)
    [answer, other] = told.predict_text(["the film story", "bad movie"])
    assert answer["missing_terms"] == [
        term for term in ("Streifen", "Sage") if term not in answer["text"].split()
    ]
    assert answer["missing_terms"] and other["missing_terms"] == []


def test_nobody_is_trained_by_a_glossary(told: tt.TransferModel) -> None:
    told.task.search = dataclasses.replace(told.task.search, glossary=TERMS)
    [(inputs, _)] = list(told.preprocess(pairs()[:4], 4, shuffle=False))
    assert "terms" not in inputs
    assert told.evaluate(told.preprocess(pairs()[:4], 4, shuffle=False), verbose=0)


def test_texts_begin_as_they_are_told(told: tt.TransferModel) -> None:
    told.task.search = Search(beams=2, begin="ein")
    assert all(each["text"].startswith("ein") for each in told.predict_text(SOURCES[:4]))
    ids = told.task.begin
    assert ids == tuple(pieces_of(told, "ein"))
    told.task.search = Search(beams=1, begin=ids)
    assert all(each["text"].startswith("ein") for each in told.predict_text(SOURCES[:4]))
    size = told.task.vocabulary.size
    for odd in (size, BOS, EOS):
        with pytest.raises(InputError, match=f"whose ids are 4 to {size - 1}; .*: {odd}$"):
            told.task.search = Search(begin=(odd,))
    with pytest.raises(InputError, match="`begin`.*: half a character"):
        told.task.search = Search(begin="\udcff")
    with pytest.raises(InputError, match="can't begin with more pieces"):
        told.task.search = Search(begin="ein guter Film", max_length=2)


@pytest.mark.parametrize(
    "beams", [3, pytest.param(1, marks=(pytest.mark.slow, pytest.mark.exhaustive))]
)
def test_what_is_left_unread_costs_what_is_read_of_it(told: tt.TransferModel, beams: int) -> None:
    weight = 0.5
    told.task.search = Search(beams=beams, n_best=beams, coverage_penalty=weight)
    decoder, asked = told.get_layer(layouts.DECODER), ["good film", "the worst story"]
    for source, answer in zip(asked, told.predict_text(asked)):
        inputs = told.layout.batch(tf.constant([source]))
        present = inputs["input_mask"]
        state = decoder.start(told.encoder(inputs)["sequence_output"], present)
        for text, score in zip(
            answer.get("texts", [answer["text"]]), answer.get("scores", [answer["score"]])
        ):
            pieces, total = pieces_of(told, text), 0.0
            cache, read = decoder.empty(1, state), np.zeros(present.shape[1])
            for place, (last, piece) in enumerate(zip([BOS, *pieces], [*pieces, EOS])):
                scores, cache, more = decoder.step_reading(
                    tf.constant([last]), tf.constant(place), cache, state
                )
                total, read = total + float(scores[0, piece]), read + more[0].numpy()
            there = read[present.numpy()[0] == 1]
            assert there.sum() == pytest.approx(len(pieces) + 1, abs=1e-4)
            lost = weight * np.log(np.minimum(there, 1)).sum()
            length = ((5 + len(pieces) + 1) / 6) ** told.task.search.length_penalty
            assert score == pytest.approx(total / length + lost, abs=1e-3)


def test_commands_are_told_terms_and_beginnings(
    told: tt.TransferModel, tmp_path: Path, run: Any
) -> None:
    told.save(tmp_path / "model.keras")
    source, terms = tmp_path / "texts.txt", tmp_path / "terms.csv"
    source.write_text("good film\nbad movie\n", "utf-8")
    terms.write_text("source,target\nfilm,Streifen\n", "utf-8")
    words = ["predict", tmp_path / "model.keras", source, "--n-best", 1, "--glossary", terms]
    status, out, err = run(*words, "--begin", "das Stück", "--coverage-penalty", 0.2)
    assert status == 0, err
    found = [json.loads(line) for line in out.splitlines()]
    assert "Streifen" in found[0]["text"].split()
    assert all(row["missing_terms"] == [] for row in found)
    assert all(row["text"].startswith("das Stück") for row in found)
    assert "Streifen" not in found[1]["text"]


def test_a_glossary_has_two_columns_that_are_full(tmp_path: Path) -> None:
    job = PredictJob(tmp_path, glossary=str(tmp_path / "terms.csv"), beams=2)
    for text, message in (
        ("source,target\nfilm,\n", "line 2: a glossary has a term and what stands for it"),
        ("source,target\n", "the glossary has no terms|no rows"),
        ("a,b\nfilm,x\n", "call them so in .*terms.csv. Received: 'a', 'b'"),
        # What these options say is said of the texts that are asked.
        ("source,target\nfilm,a,b\n", "a comma; convert it: .*Received: .*terms.csv, line 2: 3 fi"),
    ):
        (tmp_path / "terms.csv").write_text(text, "utf-8")
        with pytest.raises(InputError, match=message):
            settling.said(job)
    (tmp_path / "terms.csv").write_text("n,target,source\n1,Streifen,film\n", "utf-8")
    assert settling.said(job) == {"beams": 2, "glossary": [("film", "Streifen")]}
    with pytest.raises(InputError, match="not among those that are drawn"):
        Search(sample=True, glossary=TERMS)


# Conversations ------------------------------------------------------------------------------------


def conversation(encoder: Path, length: int = 16) -> tt.TransferModel:
    keras.utils.set_random_seed(1)
    task = Dialogue(decoder_width=32).adapt(TARGETS)
    return tt.build_model(str(encoder), task, Head(dropout=0.0), sequence_length=length)


def test_turns_are_lines_or_lists(bert_encoder: Path) -> None:
    model = conversation(bert_encoder)
    lines = tt.data.Examples.from_lists(["good film\nbad movie", "good\r\n\nfilm"], TARGETS[:2])
    listed = tt.data.Examples.from_lists(
        [["good film", "bad movie"], ["good", "film"]], TARGETS[:2]
    )
    cut = [list(model.cut(each).examples.texts[0]) for each in (lines, listed)]
    assert cut[0] == cut[1] == ["good film | bad movie", "good | film"]


def test_who_asks_may_give_lists_of_turns_too(bert_encoder: Path, tmp_path: Path) -> None:
    model = conversation(bert_encoder)
    lists = [["good film", "bad movie"], ["the worst"], ["good", "film", "story"]]
    told = model.predict_text(["\n".join(turns) for turns in lists])
    # Each turn apart: with spaces between they would be one.
    assert told != model.predict_text([" ".join(turns) for turns in lists])
    assert model.predict_text(lists) == told
    file = tmp_path / "asked.jsonl"
    file.write_text("".join(json.dumps({"turns": turns}) + "\n" for turns in lists), "utf-8")
    found = list(Answers(model, str(file), {"text": "turns"}))
    assert [{"text": each["text"], "score": each["score"]} for each in found] == told


def test_the_newest_turns_that_fit_are_read(bert_encoder: Path) -> None:
    model = conversation(bert_encoder, length=8)
    # [CLS] and [SEP] leave six pieces, of which a mark takes one.
    turns = ["the worst story", "good film", "bad movie play"]
    texts = ["\n".join(turns), "bad\ngood film\nbad movie play", "film " * 30]
    rows, _ = model.layout.prepare(tf.constant(texts))
    found = [text.decode("utf-8") for text in rows[0].numpy()]
    assert found[0] == found[1] == "good film | bad movie play"
    assert found[2].split() == ["film"] * 30
    ids = model.layout.batch(rows[0])["input_word_ids"]
    assert ids.shape[1] <= 8


# What is refused ----------------------------------------------------------------------------------


@pytest.mark.parametrize("label", [None, "", "  ", [], ["gut", ""], {"a": 1}])
def test_what_is_no_text_is_refused(label: object) -> None:
    with pytest.raises(InputError, match="expected a text to be written"):
        Translation().adapt(["gut", label])


def test_answers_that_come_again_are_no_classes_to_split_by() -> None:
    rows = [(f"Hello {row}", f"Bye {row // 2}") for row in range(40)]
    examples = tt.data.Examples.from_lists(*map(list, zip(*rows)))
    job: Any = types.SimpleNamespace(task="dialogue", seed=0)
    splits = inputs._split(examples, {}, job)
    assert [len(splits.train), len(splits.validation), len(splits.test)] == [32, 4, 4]


def test_sentences_that_come_again_are_no_classes_either() -> None:
    rows = [(f"Hello {row}", f"See you later, {row // 2}.") for row in range(40)]
    texts, answers = map(list, zip(*rows))
    parts = tt.data.split(tt.data.Examples.from_lists(texts, answers))
    assert [len(part) for part in parts] == [32, 4, 4]
    # A few that come often are names, whatever they say.
    agreed = ["I agree with this.", "I don't agree with it."] * 20
    parts = tt.data.split(tt.data.Examples.from_lists(texts, agreed))
    assert all(part.labels.count(agreed[0]) * 2 == len(part) for part in parts)


def test_words_of_a_text_are_no_texts_that_are_right() -> None:
    words = [["Zwei", "Hunde", "spielen", "."], ["Ein", "Hund", "und", "ein", "Hund"]] * 3
    with pytest.raises(InputError, match="the words of one: join them.*Received: .*'Hunde'"):
        Translation().adapt([*words, "gut"])
    # One word each, and all of them right; and several texts.
    right = [["Auto", "Wagen", "Fahrzeug", "Karre"], ["Haus", "Heim", "Bau", "Bude"]]
    task = Translation().adapt(right)
    assert "of 2 targets 2 are lists, of texts that are all right" in task.doubts()[0]
    sentences = [["Es geht nicht.", "Nein.", "Nein.", "Das geht nicht."]]
    assert Translation().adapt([*sentences, "Ja."]).doubts()[0].startswith("of 2 targets 1 are")


def test_words_for_nothing_are_texts() -> None:
    task = Translation().adapt(["NA", "NULL", "nan", "n/a"])
    assert task.right(["NA", ["NULL", "nan"]]) == [["NA"], ["NULL", "nan"]]


def test_texts_are_no_names_of_classes() -> None:
    rows = [{"text": f"a text {n}", "label": f"ein Text mit {n}"} for n in range(30)]
    read = tt.data.read(rows)
    with pytest.raises(InputError, match="with a text to be written.*give `--task translation`"):
        inputs._require_suited(read, tt.tasks.Classification())
    for other in (Dialogue(), TextGeneration(), tt.tasks.ExtractiveSummarization()):
        inputs._require_suited(read, other)
    few = [{**row, "label": f"kind of row {n % 3}"} for n, row in enumerate(rows)]
    inputs._require_suited(tt.data.read(few), tt.tasks.Classification())


def test_turns_that_are_left_out_are_counted(bert_encoder: Path) -> None:
    model = conversation(bert_encoder, length=8)
    turns = ["the worst story\ngood film\nbad movie play", "good film", "film " * 30]
    examples = tt.data.Examples.from_lists(turns, ["gut"] * 3)
    cut = model.count_truncation(examples)
    [oldest] = model.preprocessor.pieces(tf.constant(["the worst story"])).row_lengths().numpy()
    assert (cut.texts, cut.of, cut.tokens) == (2, 3, oldest + 24)
    model.preprocess(examples)
    assert model.truncation == cut


def test_numbers_are_no_texts_to_write() -> None:
    with pytest.raises(InputError, match="expected a text to be written"):
        TextGeneration().adapt([1.5, 2.0])


def test_a_search_is_one_or_its_arguments() -> None:
    task = Translation(search={"beams": 2})
    task.search = {"beams": 3, "n_best": 2}  # type: ignore[assignment]
    assert task.search == Search(beams=3, n_best=2)
    for odd in (5, {"beam": 2}, [2]):
        with pytest.raises(
            InputError, match="`search` must be a `tasks.Search`.*beams, length_pen"
        ):
            Translation(search=odd)  # type: ignore[arg-type]


def test_a_search_that_says_no_length_has_that_of_answers() -> None:
    task = Translation(answer_length=300, search={"beams": 2})
    assert task.search.max_length == 300
    task.search = Search(beams=3)
    assert task.search.max_length == 300


def test_several_right_texts_are_one_to_learn_and_all_to_measure() -> None:
    task = Translation().adapt([["gut", "fein"], "schlecht"])
    assert task.right([["gut", "fein"], "schlecht"]) == [["gut", "fein"], ["schlecht"]]
    first, _ = task.encode([["gut", "fein"], "schlecht"]).to_list()
    assert first == task.encode(["gut"]).to_list()[0]


def test_the_command_searches_as_it_is_told(
    trained: tt.TransferModel, tmp_path: Path, run: Any
) -> None:
    trained.save(tmp_path / "model.keras")
    source = tmp_path / "texts.txt"
    source.write_text("good film\nbad movie\n", "utf-8")
    status, out, _ = run("predict", tmp_path / "model.keras", source, "--n-best", 3)
    assert status == 0
    found = [json.loads(line) for line in out.splitlines()]
    assert [each["source"] for each in found] == ["good film", "bad movie"]
    assert all(len(each["texts"]) == 3 and each["text"] == each["texts"][0] for each in found)
    status, _, told = run("predict", tmp_path / "model.keras", source, "--n-best", 5)
    assert status == 2 and "no more texts can be the best" in told
    pairs = tmp_path / "pairs.txt"
    pairs.write_text("good film\tguter Film\nbad movie\tböser Film\n", "utf-8")
    status, out, _ = run("predict", tmp_path / "model.keras", pairs)
    rows = [json.loads(line) for line in out.splitlines()]
    assert status == 0 and [row["source"] for row in rows] == ["good film", "bad movie"]
    assert [row["text"] for row in rows] == [row["text"] for row in found]
    status, _, told = run("predict", tmp_path / "model.keras", source, "--seed", 5)
    assert status == 2 and "give `--sample` too. Received: --seed 5" in told


def test_a_head_has_nothing_to_say_but_dropout(bert_encoder: Path) -> None:
    task = Translation().adapt(TARGETS)
    with pytest.raises(InputError, match="heeds `dropout` alone"):
        tt.build_model(str(bert_encoder), task, Head(hidden_units=8))
    assert tt.build_model(str(bert_encoder), task, Head(dropout=0.3)).head.dropout == 0.3


def test_a_runtime_without_a_search_is_refused(trained: tt.TransferModel, tmp_path: Path) -> None:
    for export in (tt.export_litert, tt.export_onnx):
        with pytest.raises(InputError, match="search for texts"):
            export(trained, tmp_path / "small")
    assert not (tmp_path / "small").exists()


def test_a_task_is_copied_and_carried(trained: tt.TransferModel) -> None:
    trained.predict_text(SOURCES[:1])
    for again in (copy.deepcopy(trained.task), pickle.loads(pickle.dumps(trained.task))):
        assert again.encode(TARGETS).to_list() == trained.task.encode(TARGETS).to_list()
        assert again.search == trained.task.search


def test_a_search_may_choose_the_layers(bert_encoder: Path, tmp_path: Path) -> None:
    task = Translation(decoder_width=32).adapt(TARGETS)
    space = {"decoder_layers": (1, 2)}
    made = tt.tuning.TransferHyperModel(
        str(bert_encoder), task, pairs(), pairs(), space=space, sequence_length=16
    )
    found = keras_tuner.GridSearch(
        made, keras_tuner.Objective("val_perplexity", "min"), directory=tmp_path, max_trials=3
    )
    shown = made.build(found.oracle.get_space())
    assert len(shown.get_layer(layouts.DECODER).layers) == 1


@pytest.mark.slow
def test_epochs_say_what_whole_answers_are_worth(bert_encoder: Path) -> None:
    model = build(bert_encoder, Translation(decoder_width=32))
    history = tt.fine_tune(
        model, pairs(), pairs()[:4], epochs=1, unfreeze=1, plan=tt.Plan(head_epochs=2)
    )
    assert len(history.history["val_bleu"]) == len(history.history["val_loss"]) == 3
    assert model.task.get_config()["search"] is None  # nobody has said how
    greedy = Search(beams=1, max_length=model.task.answer_length)
    assert model.task.search == Search(max_length=model.task.answer_length) != greedy
    model.task.search = greedy
    answers = [answer["text"] for answer in model.predict_text(SOURCES[:4])]
    wanted = sacrebleu.corpus_bleu(answers, [TARGETS[:4]]).score
    if history.outcomes[-1].epoch == 1:
        assert history.history["val_bleu"][-1] == pytest.approx(wanted)


def test_a_report_has_numbers_and_rivals(trained: tt.TransferModel) -> None:
    report = tt.evaluate(trained, pairs()[:8], train=pairs())
    assert report.metrics["chrf"] == pytest.approx(100.0) and report.metrics["exact_match"] == 1
    assert report.baselines["nearest"]["chrf"] == pytest.approx(100.0)
    assert report.baselines["copy"]["chrf"] < 50


@pytest.mark.slow
def test_two_files_of_lines_are_data_of_the_command(
    bert_encoder: Path, tmp_path: Path, run: Any
) -> None:
    sides = tmp_path / "train.en", tmp_path / "train.de"
    numbered = [[f"{n} {text}" for n, text in enumerate(each * 2)] for each in (SOURCES, TARGETS)]
    for path, lines in zip(sides, numbered):
        path.write_text("\n".join(lines) + "\n", "utf-8")
    words = ["--task", "translation", "--encoder", bert_encoder, "--quick"]
    status, _, told = run("train", *words, "--data", *sides, "--output", tmp_path / "out")
    assert status == 0, told
    record = json.loads((tmp_path / "out" / "training.json").read_text("utf-8"))
    assert record["arguments"]["data"] == f"{{{sides[0]},{sides[1]}}}"
    status, _, told = run(
        *("evaluate", tmp_path / "out", "--data", *sides, "--output", tmp_path / "report")
    )
    assert status == 0, told
    three = [*sides, sides[0]]
    status, _, told = run("train", *words, "--data", *three, "--output", tmp_path / "more")
    assert status == 2 and "takes a file, or two" in told
    sides[1].write_text("eins\n", "utf-8")
    status, _, told = run("train", *words, "--data", *sides, "--output", tmp_path / "more")
    assert status == 2 and "48 lines" in told and not (tmp_path / "more").exists()
