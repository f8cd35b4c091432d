"""Tags of words, from data to exported answers."""

import json
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfhub_transfer as tt
from tfhub_transfer.tasks import Head, TokenClassification, segmentation
from tfhub_transfer.tasks.tagging import layout as words
from tfhub_transfer.tasks.tagging import measures as word_evaluation
from tfhub_transfer.tasks.tagging import schemes, viterbi
from tfhub_transfer.texts.joining import WORD_END

UNITS = {
    "good film": ["B-plus", "I-plus"],
    "bad": ["B-minus"],
    "movie": ["O"],
    "story": ["O"],
    "acting": ["O"],
}


def sentences(number: int, seed: int = 0) -> tt.data.Examples:
    """Sentences of one to eight of the units, with their tags."""
    generator = np.random.default_rng(seed)
    texts, tags = [], []
    for _ in range(number):
        chosen = generator.choice(list(UNITS), generator.integers(1, 9)).tolist()
        texts.append(" ".join(chosen).split())
        tags.append([tag for unit in chosen for tag in UNITS[unit]])
    return tt.data.Examples.from_lists(texts, tags)


@pytest.fixture(scope="module")
def trained(bert_encoder: Path, train_whole: Any) -> tt.TransferModel:
    keras.utils.set_random_seed(0)
    train = sentences(120)
    task = TokenClassification().adapt(train.labels)
    model = tt.build_model(str(bert_encoder), task, optimizer=keras.optimizers.Adam(5e-3))
    return train_whole(model, train, epochs=8)


def test_a_model_learns_to_tag_and_is_measured_beside_usual_tags(trained: tt.TransferModel) -> None:
    test = sentences(60, 2)
    report = tt.evaluate(trained, test)
    assert report.metrics["f1"] > 0.9
    assert report.baselines["usual_tag"]["f1"] == 1.0  # here each word has one tag
    assert {row["class"] for row in report.per_class} == {"plus", "minus"}
    low, high = report.intervals.get("f1", (1.0, 1.0))  # none where all is right
    assert low <= report.metrics["f1"] <= high
    assert "usual tags" in str(report)


def test_scores_are_one_row_a_word(trained: tt.TransferModel) -> None:
    test = sentences(20, 3)
    scores = trained.predict_scores(test)
    counts = [len(tags) for tags in test.labels]
    assert [row.shape for row in scores] == [(n, 4) for n in counts]
    alone = trained.predict_scores(test[3:4])[0]
    np.testing.assert_allclose(alone, scores[3], atol=1e-5)


def test_a_word_has_the_vector_of_its_first_piece(bert_encoder: Path) -> None:
    task = TokenClassification(["a", "b"])
    model = tt.build_model(str(bert_encoder), task, Head(dropout=0.0))
    text = WORD_END.join(["unfilm", "good", "moviezz"])
    batch = model.preprocessor([text])
    pieces = model.preprocessor.words(tf.constant([text])).to_list()[0]
    assert len(pieces[0]) > 1
    starts = np.cumsum([1, *map(len, pieces)])[:-1]
    np.testing.assert_array_equal(batch["word_starts"].numpy()[0, :3], starts)
    ids = {k: v for k, v in batch.items() if k != "word_starts"}
    tokens = model.encoder(ids, training=False)["sequence_output"].numpy()[0]
    dense = model.get_layer("scores")
    expected = tf.nn.softmax(tokens[starts] @ dense.kernel.numpy() + dense.bias.numpy())
    np.testing.assert_allclose(model.predict_scores([text.split(WORD_END)])[0], expected, atol=1e-5)


def test_padding_counts_neither_in_loss_nor_in_accuracy() -> None:
    task = TokenClassification(["a", "b"])
    truth = np.array([[0, 1, -1, -1], [1, -1, -1, -1]])
    made = np.full((2, 4, 2), [0.9, 0.1], np.float32)
    loss = float(task.loss()(truth, made))
    assert loss == pytest.approx(-(np.log(0.9) + 2 * np.log(0.1)) / 3, rel=1e-5)
    [accuracy] = task.metrics()
    accuracy.update_state(truth, made)
    assert float(accuracy.result()) == pytest.approx(1 / 3)


def test_long_sentences_lose_no_word(bert_encoder: Path) -> None:
    task = TokenClassification(["B-a", "I-a", "O"], "IOB2")
    model = tt.build_model(str(bert_encoder), task, sequence_length=12)
    generator = np.random.default_rng(0)
    long = generator.choice([*UNITS][1:], 100).tolist()
    examples = tt.data.Examples.from_lists([long], [["O"] * 100])
    cut = model.cut(examples)
    parts, owners = cut.examples, cut.owners
    assert [w for text in parts.texts[0] for w in text.split(WORD_END)] == long
    assert set(owners) == {0} and len(parts) > 8
    assert all(model.preprocessor.encode_all([[t]])[1].tokens == 0 for t in parts.texts[0])
    assert len(model.predict_scores(examples)[0]) == 100
    model.preprocess(examples)
    assert model.truncation.tokens == 0
    # And a plain text is cut at the same places.
    words = model.predict_text([" ".join(long)])[0]["words"]
    assert [word["text"] for word in words] == " ".join(long).split()
    scores = model.predict_scores(examples)[0]
    sure = [row[task.class_names.index(word["tag"])] for row, word in zip(scores, words)]
    np.testing.assert_allclose([word["score"] for word in words], sure, atol=1e-5)


TEXTS = [
    "good film bad Acting",
    "",
    "  Ünïcode bad film! 東 good",
    "story",
    "good bad film " * 30,
]


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_exports_give_entities_with_their_places(
    trained: tt.TransferModel, tmp_path: Path, precision: str
) -> None:
    folder = tt.export_saved_model(trained, tmp_path, precision=precision)
    loaded = tt.load_saved_model(folder)
    vectors = trained.encode_text(TEXTS)
    np.testing.assert_allclose(loaded.encode(TEXTS), vectors, atol=0.05 * np.abs(vectors).max())
    served = loaded.predict(TEXTS, batch_size=2)
    expected = trained.predict_text(TEXTS)
    for row, text in enumerate(TEXTS):
        entities = expected[row]["entities"]
        assert served["entity_count"][row] == len(entities)
        for at, entity in enumerate(entities):
            assert served["entity"][row, at].decode() == entity["text"]
            assert served["type"][row, at].decode() == entity["type"]
            assert text[entity["start"] : entity["end"]] == entity["text"]
            assert served["entity_start"][row, at] == entity["start"]
            assert served["entity_score"][row, at] == pytest.approx(entity["score"], abs=0.05)
        assert [w["text"] for w in expected[row]["words"]] == [
            w.decode() for w in served["word"][row, : served["word_count"][row]]
        ]
    listed = [["good", "film", "bad"], ["a", "story"]]
    answers, again = loaded.predict(listed), loaded.predict(listed, signature="words")
    assert [w.decode() for w in again["word"][1, :2]] == listed[1]
    for name, values in answers.items():
        np.testing.assert_array_equal(again[name], values)
    with pytest.raises(tt.InputError, match="reads texts as lists of words"):
        loaded.predict(["good film"], signature="words")
    kinds = [(e["text"], e["type"]) for e in expected[0]["entities"]]
    assert kinds == [("good film", "plus"), ("bad", "minus")]


def test_predictions_survive_saving(trained: tt.TransferModel, tmp_path: Path) -> None:
    trained.save(tmp_path / "model.keras")
    again = tt.load_model(tmp_path / "model.keras")
    assert again.predict_text(TEXTS) == trained.predict_text(TEXTS)
    assert again.task.scheme == "IOB2"


@pytest.mark.parametrize("scheme", [*schemes.SCHEMES, None])
def test_tags_of_many_sentences_at_once_are_the_best_of_each(scheme: str | None) -> None:
    names = ["O", "B-a", "I-a", "B-b", "I-b", *(["E-a", "S-a"] if scheme == "BIOES" else [])]
    steps = schemes.allowed_steps(names, scheme)
    generator = np.random.default_rng(0)
    lengths = [3, 1, 0, 7, 2, 5]
    rows = [generator.dirichlet(np.ones(len(names)), n).reshape(n, len(names)) for n in lengths]
    together = np.concatenate(rows).astype(np.float32)
    found = viterbi.best_tags(tf.RaggedTensor.from_row_lengths(together, lengths), steps)
    alone = [tf.RaggedTensor.from_row_lengths(row.astype(np.float32), [len(row)]) for row in rows]
    expected = [viterbi.best_tags(row, steps).numpy() for row in alone]
    np.testing.assert_array_equal(found.numpy(), np.concatenate(expected))
    task = TokenClassification(names, scheme)
    judged = [tag for tags in task.sequences(rows) for tag in tags]  # as reports are
    assert judged == [names[place] for place in found.numpy()]


def test_entities_end_with_their_sentence() -> None:
    task, texts = (
        TokenClassification(["I-a", "O"], "IOB1"),
        tf.constant(["Anna", "Bert Carl lives"]),
    )
    scores = tf.constant([[0.9, 0.1], [0.9, 0.1], [0.9, 0.1], [0.1, 0.9]])
    found = words.answer(task, texts, segmentation.split(texts), scores)
    assert found["entity"].to_list() == [[b"Anna"], [b"Bert Carl"]]


def spelled(found: dict[str, Any]) -> list[list[tuple[str, int, int]]]:
    """The entities of each text that its answer has, with their characters."""
    columns = (found[name].to_list() for name in ("type", "entity_start", "entity_end"))
    return [[(k.decode(), a, b) for k, a, b in zip(*row)] for row in zip(*columns)]


@pytest.mark.parametrize("letters", ["IB", "IBES", "MBES", "ILBU", "MBEW"])
def test_exports_spell_the_entities_that_reports_count(letters: str) -> None:
    """The graph's rules and those of Python, of any sequence of tags, allowed or not."""
    names = ["O", *(f"{letter}-{kind}" for letter in letters for kind in ("a", "b"))]
    generator = np.random.default_rng(len(letters))
    lengths = generator.integers(0, 9, 300)
    texts = tf.constant([" ".join(f"w{place}" for place in range(n)) for n in lengths])
    places = segmentation.split(texts)
    assert places[0].row_lengths().numpy().tolist() == lengths.tolist()

    def counted(tags: list[list[str]]) -> list[list[tuple[str, int, int]]]:
        starts, ends = (each.to_list() for each in places[1:3])
        return [
            [(kind, starts[row][a], ends[row][b - 1]) for kind, a, b in schemes.entities(each)]
            for row, each in enumerate(tags)
        ]

    numbers = generator.integers(0, len(names), lengths.sum())
    given = {"word": places[0], "start": places[1], "end": places[2]}
    given["score"] = places[0].with_values(tf.ones(len(numbers)))
    made = words._entities(names, texts, given, tf.constant(numbers))
    tags = places[0].with_values(tf.gather(tf.constant(names), numbers)).to_list()
    assert spelled(made) == counted([[tag.decode() for tag in row] for row in tags])
    scores = generator.dirichlet(np.ones(len(names)), len(numbers)).astype(np.float32)
    for scheme in ("IOB1", "IOB2") if letters == "IB" else ("BIOES",):
        task = TokenClassification(names, scheme)
        found = words.answer(task, texts, places, tf.constant(scores))
        judged = task.sequences(np.split(scores, lengths.cumsum()[:-1]))
        assert spelled(found) == counted(judged)


def test_words_of_plain_texts_have_their_places() -> None:
    texts = ["Anna Müller lives\tin São Paulo, 東京.", "", "  it's "]
    found, starts, ends = (value.to_list() for value in segmentation.split(tf.constant(texts)))
    for text, row, a, b in zip(texts, found, starts, ends):
        assert [text[i:j] for i, j in zip(a, b)] == [word.decode() for word in row]
    assert [w.decode() for w in found[2]] == ["it", "'", "s"]
    assert len(found[0]) == 10 and found[1] == []


@pytest.mark.slow
def test_xla_compiles_a_step(bert_encoder: Path) -> None:
    rows = sentences(8)
    task = TokenClassification().adapt(rows.labels)
    model = tt.build_model(str(bert_encoder), task, sequence_length=24)
    model.encoder.freeze_to(-1)
    model.jit_compile = True
    model.make_train_function()
    before = [w.numpy() for w in model.trainable_weights]
    model.fit(model.preprocess(rows, 8), epochs=2, verbose=0)
    assert all((a != b.numpy()).any() for a, b in zip(before, model.trainable_weights))


# Data ----------------------------------------------------------------------------------------


def test_words_and_tags_are_read_from_tables_and_conll(tmp_path: Path) -> None:
    rows = [{"tokens": ["EU", "rejects"], "tags": ["B-ORG", "O"]}, {"tokens": ["#"], "tags": ["O"]}]
    table = tmp_path / "data.jsonl"
    table.write_text("\n".join(map(json.dumps, rows)) + "\n", encoding="utf-8")
    conll = tmp_path / "data.conll"
    conll.write_text("-DOCSTART- -X- O\n\nEU NNP B-ORG\nrejects VBZ O\n\n\n# O\n", encoding="utf-8")
    for path in (table, conll):
        read = tt.data.read(path)
        assert read.texts[0] == [f"EU{WORD_END}rejects", "#"]
        assert read.labels == [["B-ORG", "O"], ["O"]]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (
            '{"tokens": ["a", "b"], "tags": ["O"]}',
            "line 2: column 'tokens': every word must have a tag.*2 words",
        ),
        ('{"tokens": ["a", "b"], "tags": "O"}', "every word must have a tag.*2 words and 1 tags"),
        ('{"tokens": [], "tags": []}', "line 2: column 'tokens' must hold a word"),
        ('{"tokens": ["a", 1], "tags": ["O", "O"]}', "line 2: column 'tokens' must hold a text"),
    ],
)
def test_rows_that_dont_fit_are_named(tmp_path: Path, line: str, message: str) -> None:
    path = tmp_path / "data.jsonl"
    path.write_text('{"tokens": ["a"], "tags": ["O"]}\n' + line + "\n", encoding="utf-8")
    with pytest.raises(tt.InputError, match=message):
        tt.data.read(path)


def test_a_word_without_a_tag_is_named(tmp_path: Path) -> None:
    path = tmp_path / "data.conll"
    path.write_text("EU B-ORG\nrejects\n", encoding="utf-8")
    with pytest.raises(tt.InputError, match="line 2: expected a word and its tag"):
        tt.data.read(path)


def test_bad_tags_are_refused(bert_encoder: Path, text_encoder: Path) -> None:
    task = TokenClassification().adapt([["B-a", "O"]])
    with pytest.raises(tt.InputError, match="must occur in the training split.*B-b"):
        task.encode([["B-b"]])
    with pytest.raises(tt.InputError, match="at least two tags"):
        TokenClassification().adapt([["O"]])
    with pytest.raises(tt.InputError, match="`scheme` must be one of"):
        TokenClassification(["a", "b"], "IOB3")
    model = tt.build_model(str(bert_encoder), task)
    odd = tt.data.Examples.from_lists([["a", "b"]], [["O"]])
    with pytest.raises(tt.InputError, match="every word must have a tag.*2 words and 1 tags"):
        model.preprocess(odd)
    with pytest.raises(tt.InputError, match="token vectors"):
        tt.build_model(str(text_encoder), task)


def test_plain_tags_have_no_entities(bert_encoder: Path) -> None:
    task = TokenClassification().adapt([["NOUN", "VERB", "NOUN"]])
    model = tt.build_model(str(bert_encoder), task)
    [answer] = model.predict_text(["good film"])
    assert set(answer) == {"words"}
    assert {word["tag"] for word in answer["words"]} <= {"NOUN", "VERB"}
    found = word_evaluation.measure([["NOUN", "VERB"]], [["NOUN", "NOUN"]], None)
    assert found == {"accuracy": 0.5, "macro_f1": pytest.approx(1 / 3)}
