"""Questions on contexts, from data to exported answers."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfhub_transfer as tt
from tfhub_transfer.encoders.preprocessing import make_preprocessor
from tfhub_transfer.encoders.token_counts import most_pieces
from tfhub_transfer.runtime.masking import NEVER
from tfhub_transfer.tasks import QuestionAnswering, layouts
from tfhub_transfer.tasks.layouts import Layout
from tfhub_transfer.tasks.questions import answers, spans
from tfhub_transfer.tasks.questions import layout as windows
from tfhub_transfer.texts.joining import WORD_END

LENGTH = 24
ANSWER = "good film"


def questions(number: int, seed: int = 0, silent: float = 0.3) -> tt.data.Examples:
    """Contexts of 1 to 30 words of which two, in most of them, answer the question."""
    generator = np.random.default_rng(seed)
    contexts, labels = [], []
    for _ in range(number):
        words = generator.choice(["movie", "story", "plot", "scene"], generator.integers(1, 30))
        place = int(generator.integers(0, len(words)))
        before, after = " ".join(words[:place]), " ".join(words[place:])
        before += " " if before else ""
        answered = generator.random() >= silent
        contexts.append(f"{before}{ANSWER} {after}" if answered else before + after)
        labels.append([{"text": ANSWER, "answer_start": len(before)}] if answered else [])
    return tt.data.Examples.from_lists(["what is it like?"] * number, labels, contexts)


@pytest.fixture(scope="module")
def trained(bert_encoder: Path) -> tt.TransferModel:
    keras.utils.set_random_seed(0)
    train = questions(120)
    task = QuestionAnswering().adapt(train.labels)
    optimizer = keras.optimizers.Adam(5e-3)
    model = tt.build_model(str(bert_encoder), task, optimizer=optimizer, sequence_length=LENGTH)
    plan = tt.Plan(verbose=0, head_learning_rate=0.05, head_epochs=2)
    tt.fine_tune(model, train, questions(50, 1), epochs=5, unfreeze="all", batch_size=8, plan=plan)
    return model


@pytest.fixture(scope="module")
def layout(bert_encoder: Path) -> Layout:
    return _layout(bert_encoder)


def _layout(encoder: Path | str, length: int = LENGTH) -> Layout:
    made = layouts.find(QuestionAnswering(unanswerable=True))
    made.adopt(make_preprocessor(tt.Encoder(str(encoder)), sequence_length=length))
    return made


def test_a_model_learns_to_answer_and_to_be_silent(trained: tt.TransferModel) -> None:
    report = tt.evaluate(trained, questions(60, 2))
    assert report.metrics["f1"] > 0.9 and report.metrics["unanswerable"] > 0.8
    assert report.metrics["f1"] > report.baselines["likeliest_sentence"]["f1"]
    assert report.baselines["no_answer"]["unanswerable"] == 1.0
    low, high = report.intervals["answerable_exact_match"]
    assert low <= report.metrics["answerable_exact_match"] <= high
    assert "likely sentence" in str(report)
    assert trained.task.threshold != 0.0  # it was tuned
    for row in report.mistakes:
        marked = {
            side: {row["passage"][m["start"] : m["end"]] for m in row["marks"] if m["side"] == side}
            for side in ("predicted", "true")
        }
        assert marked["predicted"] == {row["predicted"]} - {"(no answer)"}
        assert marked["true"] == (set() if row["true"] == "(no answer)" else set(row["true"]))


TEXTS = [
    ("What is it like?", "A good film."),
    ("what is it like?", "plot"),
    ("what", ""),
    ("", "naïve 東京 good film"),
    ("what is it like? " * 20, "movie story " * 40 + "Ünïcode good film 😀 " + "plot " * 30),
]


def test_answers_stand_where_they_say(trained: tt.TransferModel) -> None:
    found = trained.predict_text(TEXTS)
    assert [answer["answer"] for answer in found][:3] == [ANSWER, "", ""]
    assert found[4]["answer"] == ANSWER
    margins = [answer["margin"] for answer in found]
    assert margins.pop(2) == windows.NO_MARGIN < min(margins) - 100  # there is no word
    for (_, context), answer in zip(TEXTS, found):
        assert 0 <= answer["score"] <= 1
        if answer["answer"]:
            assert context[answer["start"] : answer["end"]] == answer["answer"]
        else:
            assert (answer["start"], answer["end"]) == (-1, -1)


@pytest.mark.slow
# In float32 every task is exported in `test_doors`.
@pytest.mark.parametrize("precision", ["bfloat16"])
def test_exports_answer_as_the_model_does(
    trained: tt.TransferModel, tmp_path: Path, precision: str
) -> None:
    loaded = tt.load_saved_model(tt.export_saved_model(trained, tmp_path, precision=precision))
    served = loaded.predict(TEXTS, batch_size=2)
    for row, answer in enumerate(trained.predict_text(TEXTS)):
        assert served["answer"][row].decode() == answer["answer"]
        assert (served["start"][row], served["end"][row]) == (answer["start"], answer["end"])
        assert served["score"][row] == pytest.approx(answer["score"], abs=0.05)
    assert loaded.predict([])["answer"].shape == (0,)


def test_predictions_survive_saving(trained: tt.TransferModel, tmp_path: Path) -> None:
    trained.save(tmp_path / "model.keras")
    again = tt.load_model(tmp_path / "model.keras")
    assert again.predict_text(TEXTS) == trained.predict_text(TEXTS)
    assert again.task.get_config() == trained.task.get_config()


def test_without_unanswerable_questions_every_one_is_answered(bert_encoder: Path) -> None:
    rows = questions(8, silent=0.0)
    task = QuestionAnswering().adapt(rows.labels)
    model = tt.build_model(str(bert_encoder), task, sequence_length=LENGTH)
    tt.fine_tune(model, rows, rows, unfreeze="none", plan=tt.Plan(verbose=0, head_epochs=1))
    assert task.unanswerable is False and task.threshold == 0.0
    found = model.predict_text([("what?", "plot"), ("what?", " ")])
    assert found[0]["answer"] == "plot" and found[1]["answer"] == ""
    assert found[1]["score"] == 0.0


@pytest.mark.slow
def test_xla_compiles_a_step(bert_encoder: Path) -> None:
    rows = questions(8)
    task = QuestionAnswering().adapt(rows.labels)
    model = tt.build_model(str(bert_encoder), task, sequence_length=LENGTH)
    model.encoder.freeze_to(-1)
    model.jit_compile = True
    before = [w.numpy() for w in model.trainable_weights]
    model.fit(model.preprocess(rows, 8), epochs=2, verbose=0)
    assert all((a != b.numpy()).any() for a, b in zip(before, model.trainable_weights))


# Windows -------------------------------------------------------------------------------------


def test_every_word_stands_whole_in_a_window() -> None:
    generator = np.random.default_rng(0)
    for _ in range(40):
        room = int(generator.integers(5, 40))
        longest = most_pieces(room)
        counts = [
            generator.integers(1, longest + 1, generator.choice([0, 1, 3, 50, 200])).tolist()
            for _ in range(4)
        ]
        asked = generator.integers(0, 60, 4)
        pieces = tf.ragged.constant(counts, tf.int32, ragged_rank=1)
        cut = spans.cut(pieces, tf.constant(asked), room)
        first, end, owners = (x.numpy() for x in (cut.first, cut.end, cut.owners))
        bounds = np.cumsum([0, *map(len, counts)])
        flat = pieces.flat_values.numpy()
        for text in range(4):
            width = room - min(asked[text], room - room // 2)
            rows = np.flatnonzero(owners == text)
            seen = {w for row in rows for w in range(first[row], end[row])}
            assert seen == set(range(bounds[text], bounds[text + 1]))
            assert all(flat[first[row] : end[row]].sum() <= width for row in rows)
            assert len(rows) == 1 or sum(counts[text]) > width
            assert len(rows) >= 1


@pytest.mark.parametrize("silent", [True, False])
def test_the_best_span_is_the_best_of_all(silent: bool) -> None:
    generator = np.random.default_rng(0)
    for most in (1, 2, 5, 40):
        first, end, owners = np.array([[0, 9, 0], [3, 12, 0], [12, 12, 1], [12, 13, 2]]).T
        slices = spans.Slices(*(tf.constant(x, tf.int32) for x in (first, end, owners)))
        scores = generator.normal(size=(4, 12, 2)).astype(np.float32) * 3
        found = spans.best(tf.constant(scores), slices, most, silent)
        for text in (0, 2):
            rows = np.flatnonzero(owners == text)
            counts = {row: end[row] - first[row] for row in rows}
            pairs = {
                (first[r] + i, first[r] + j): scores[r, i + 1, 0] + scores[r, j + 1, 1]
                for r in rows
                for i in range(counts[r])
                for j in range(i, min(counts[r], i + most))
            }
            null = min(rows, key=lambda row: scores[row, 0].sum())
            quiet = scores[null, 0].sum()
            # A word may be in two windows, and of its two scores the higher one counts.
            by_rows = [
                scores[r, i + 1, 0] + scores[r, j + 1, 1]
                for r in rows
                for i in range(counts[r])
                for j in range(i, min(counts[r], i + most))
            ]
            best = max(by_rows)
            shares = [scores[r, 1 : counts[r] + 1] for r in rows]
            shares += [scores[null, :1]] if silent else []
            total = np.log(np.exp(np.concatenate(shares)).sum(axis=0)).sum()
            span = int(found.first[text]), int(found.last[text])
            assert span in pairs and span[1] - span[0] < most
            np.testing.assert_allclose(found.margin[text], best - quiet, rtol=1e-4)
            np.testing.assert_allclose(found.log_score[text], best - total, rtol=1e-4)
        assert found.margin[1] < NEVER / 2  # a text without words


def test_rows_hold_the_question_and_places_of_words(layout: Layout) -> None:
    context = "the plot is unfilmable, but " + "good " * 40 + "film!"
    label = [{"text": "film", "answer_start": context.rindex("film")}]
    question = "what is it like, and was there more? " * 3
    rows = layout.cut(tt.data.Examples.from_lists([question], [label], [context]))
    assert len(rows) > 3 and set(rows.owners) == {0}
    encoded, _ = layout.encode_and_count(rows.examples.texts)
    preprocessor: Any = layout.preprocessor
    for row, text in enumerate(rows.examples.texts[1]):
        places = encoded["word_starts"][row].numpy()
        ids = encoded["input_word_ids"][row].numpy()
        assert places[0] == 0 and len(places) == len(text.split(WORD_END)) + 1
        pieces = preprocessor.pieces(tf.constant(text.split(WORD_END))).to_list()
        assert ids[places[1:]].tolist() == [word[0] for word in pieces]
        types = encoded["input_type_ids"][row].numpy()
        assert types[places[1]] == 1 and types[places[1] - 1] == 0
        assert len(ids) <= LENGTH
    found = [np.flatnonzero(codes).tolist() for codes in rows.examples.labels]
    in_window = [text.split(WORD_END)[-2:] == ["film", "!"] for text in rows.examples.texts[1]]
    words = [text.split(WORD_END) for text in rows.examples.texts[1]]
    assert found == [[len(w) - 1] if inside else [0] for w, inside in zip(words, in_window)]
    assert any(in_window) and not all(in_window)


@pytest.mark.slow
def test_a_context_of_fifty_thousand_words_loses_none(
    bert_encoder: Path, trained: tt.TransferModel, tmp_path: Path
) -> None:
    words = np.random.default_rng(0).choice(["movie", "plot", "scene", "é"], 50_000).tolist()
    words[40_000:40_000] = ANSWER.split()
    context = " ".join(words)
    label = [{"text": ANSWER, "answer_start": len(" ".join(words[:40_000])) + 1}]
    rows = tt.data.Examples.from_lists(["what?"], [label], [context])
    layout = _layout(bert_encoder)
    cut = layout.cut(rows)
    assert layout.encode_and_count(cut.examples.texts)[1].sum() == 0
    _, state = layout.prepare(tf.constant(rows.texts[0]), tf.constant(rows.texts[1]))
    first, end = state.slices.first.numpy(), state.slices.end.numpy()
    assert set(np.concatenate([np.arange(a, b) for a, b in zip(first, end)])) == set(range(50_002))
    assert sum(codes[0] == 0 for codes in cut.examples.labels) >= 1  # a window has the answer
    [found] = trained.predict_text(list(zip(*rows.texts)))
    served = tt.load_saved_model(tt.export_saved_model(trained, tmp_path, precision="float32"))
    again = served.predict(list(zip(*rows.texts)))
    assert (again["start"][0], again["end"][0]) == (found["start"], found["end"])


def _told(layout: Layout, examples: tt.data.Examples) -> list[dict[str, Any]]:
    """The answers that scores give which say what the labels say."""
    codes = layout.task.encode(layout.cut(examples).examples.labels)
    flat = codes.flat_values
    ends = tf.stack([tf.equal(flat % 2, 1), tf.greater_equal(flat, 2)], axis=-1)
    scores = codes.with_values(10 * tf.cast(ends, tf.float32))
    _, state = layout.prepare(*(tf.constant(texts, tf.string) for texts in examples.texts))
    return layout.readable(layout.answer(state, scores))


def test_labels_give_the_answers_back(layout: Layout) -> None:
    rows = questions(60, 3)
    given = [answer["answer"] for answer in _told(layout, rows)]
    assert given == [label[0]["text"] if label else "" for label in rows.labels]


@pytest.mark.slow
@pytest.mark.data
def test_labels_give_the_answers_of_squad_back(data_folder: Path) -> None:
    """An answer of each question comes back, but for one: `four` where the text has `fourth`."""
    layout = _layout("auto", 384)
    layout.task = QuestionAnswering(max_answer_words=1000, unanswerable=False)
    lost, count = [], 0
    for split in ("train", "validation", "test"):
        rows = tt.data.read(next((data_folder / "squad_v1_dev").glob(f"{split}.jsonl*")))
        for row, found in enumerate(_told(layout, rows)):
            texts = {text for text, _ in answers.of_label(rows.labels[row])}
            assert rows.texts[1][row][found["start"] : found["end"]] == found["answer"]
            lost += [] if found["answer"] in texts else [rows.columns["id"][row]]
        count += len(rows)
    assert count == 10_570
    assert lost == ["56dfa1d34a1a83140091ebd4"]


def test_of_several_answers_one_that_ends_where_words_do() -> None:
    starts, ends = np.array([0, 6, 10]), np.array([5, 9, 14])
    assert windows.word_span([("b", 7), ("abc", 6)], starts, ends) == (1, 1)
    assert windows.word_span([("b", 7)], starts, ends) == (1, 1)
    assert windows.word_span([(" abc  defg", 5)], starts, ends) == (1, 2)
    assert windows.word_span([], starts, ends) is None


def test_padding_counts_neither_in_loss_nor_in_accuracy() -> None:
    task = QuestionAnswering()
    labels = tf.constant([[0, 1, 2, -1], [3, 0, -1, -1]])
    scores = np.zeros((2, 4, 2), np.float32)
    scores[:, 2:] = 9.0  # in the second row only where there is no candidate
    expected = [(np.log(2 + np.exp(9)) + np.log(2 + np.exp(9)) - 9) / 2, np.log(2)]
    assert float(task.loss()(labels, scores)) == pytest.approx(np.mean(expected), rel=1e-5)
    [accuracy] = task.metrics()
    accuracy.update_state(labels, scores)
    assert float(accuracy.result()) == 0.5


# Bad input -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("question", "context", "label", "message"),
    [
        ("who?", "", [], "line 2 .id 'b'.: the context is blank"),
        (" ", "plot", [], "line 2 .id 'b'.: the question is blank"),
        ("who?", "the plot", [{"text": "plot", "answer_start": 3}], "'b'.*isn't at its offset"),
        ("who?", "the plot", "plot", "'b'.*expected answers as"),
    ],
)
def test_bad_rows_are_named(
    bert_encoder: Path, tmp_path: Path, question: str, context: str, label: Any, message: str
) -> None:
    rows = [
        {"id": "a", "question": "what?", "context": "plot", "answers": []},
        {"id": "b", "question": question, "context": context, "answers": label},
    ]
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    model = tt.build_model(str(bert_encoder), QuestionAnswering(), sequence_length=LENGTH)
    with pytest.raises(tt.InputError, match=message):
        tt.fine_tune(model, tt.data.read(path), tt.data.read(path))


def test_what_doesnt_suit_is_refused(bert_encoder: Path, text_encoder: Path) -> None:
    with pytest.raises(tt.InputError, match="`max_answer_words` must be a whole number from 1"):
        QuestionAnswering(max_answer_words=0)
    with pytest.raises(tt.InputError, match="token vectors"):
        tt.build_model(str(text_encoder), QuestionAnswering())
    model = tt.build_model(str(bert_encoder), QuestionAnswering())
    with pytest.raises(tt.InputError, match="`question` and `context`.*one column"):
        model.preprocess(tt.data.Examples.from_lists(["what?"], [[]]))


def test_a_long_question_is_cut_once_however_many_windows_there_are(bert_encoder: Path) -> None:
    task = tt.tasks.QuestionAnswering(unanswerable=True)
    model = tt.build_model(str(bert_encoder), task, sequence_length=24)
    rows = tt.data.Examples.from_lists(["good " * 50], None, ["film " * 200])
    cut = model.cut(rows)
    assert len(cut) > 10
    lost = model.layout.encode_and_count(cut.examples.texts)[1]
    assert lost.min() == lost.max() > 30  # of the question, in each of them
    assert dataclasses.astuple(model.count_truncation(rows)) == (1, 1, lost[0])
