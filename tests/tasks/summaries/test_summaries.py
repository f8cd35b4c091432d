"""Extractive summaries, from data to exported answers."""

import itertools
import json
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfhub_transfer as tt
from tfhub_transfer.tasks import TASKS, ExtractiveSummarization, Head
from tfhub_transfer.tasks.layouts import documents
from tfhub_transfer.tasks.summaries.task import SentenceChoice, SentenceRanking, TopTarget
from tfhub_transfer.texts.joining import WORD_END

DULL = [
    "Bad movie story in movie.",
    "The story was the movie was bad?",
    "A movie, a story, a bad movie!",
    "In story in bad the.",
]
TOLD = ["Good film acting.", "Acting was good film.", "Film good the acting."]


def articles(number: int, seed: int = 0) -> tt.data.Examples:
    """Documents in which one sentence, at any place, is what the summary says."""
    generator = np.random.default_rng(seed)
    texts, summaries = [], []
    for _ in range(number):
        sentences = generator.choice(DULL, generator.integers(1, 6)).tolist()
        told = str(generator.choice(TOLD))
        sentences.insert(int(generator.integers(0, len(sentences) + 1)), told)
        texts.append(" ".join(sentences))
        summaries.append([told, "zebra"] if generator.random() < 0.5 else told)
    return tt.data.Examples.from_lists(texts, summaries)


@pytest.fixture(scope="module")
def trained(bert_encoder: Path, train_whole: Any) -> tt.TransferModel:
    keras.utils.set_random_seed(0)
    train = articles(80)
    task = ExtractiveSummarization().adapt(train.labels)
    model = tt.build_model(str(bert_encoder), task, optimizer=keras.optimizers.Adam(5e-3))
    return train_whole(model, train, epochs=6)


def test_a_model_learns_to_choose_and_is_measured_beside_lead_and_oracle(
    trained: tt.TransferModel,
) -> None:
    assert trained.task.sentences == 1
    report = tt.evaluate(trained, articles(60, 2))
    lead, oracle = report.baselines["lead"], report.baselines["oracle"]
    for name in ("rouge1", "rouge2", "rougeL"):
        assert lead[name] + 0.1 < report.metrics[name] <= oracle[name] + 1e-9
        low, high = report.intervals.get(name, (1.0, 1.0))  # none where all is right
        assert low <= report.metrics[name] <= high
    assert oracle["rouge1"] == 1.0
    assert "Better than first sentences" in str(report)
    gaps = [row["badness"] for row in report.mistakes]
    assert gaps == sorted(gaps, reverse=True)
    assert all(row["predicted"] != row["true"] for row in report.mistakes)
    for row in report.mistakes:  # what is marked is what was chosen, and what would be best
        for side in ("predicted", "true"):
            marks = [mark for mark in row["marks"] if mark["side"] == side]
            texts = [row["passage"][mark["start"] : mark["end"]] for mark in marks]
            assert " ".join(texts) == row[side]


def test_a_sentence_has_the_mean_of_its_tokens_or_the_first(bert_encoder: Path) -> None:
    text = "Good unfilm. Bad movie, story. The."
    for pooling in ("mean", "first"):
        head = Head(dropout=0.0, pooling=pooling)
        model = tt.build_model(str(bert_encoder), ExtractiveSummarization(1), head)
        rows = model.cut(tt.data.Examples.from_lists([text, "A film. " * 20]))
        batch = model.preprocessor(rows.examples.texts[0])
        ids = {k: v for k, v in batch.items() if k != "word_starts"}
        tokens = model.encoder(ids, training=False)["sequence_output"].numpy()[0]
        pieces = [len(p) for p in model.preprocessor.words(rows.examples.texts[0][:1]).to_list()[0]]
        bounds = np.cumsum([1, *pieces])
        parts = [tokens[a:b] for a, b in itertools.pairwise(bounds)]
        vectors = np.stack([p.mean(0) if pooling == "mean" else p[0] for p in parts])
        dense = model.get_layer("scores")
        expected = vectors @ dense.kernel.numpy() + dense.bias.numpy()
        np.testing.assert_allclose(model.predict_scores([text])[0], expected, atol=1e-5)


def test_padding_counts_neither_in_losses_nor_in_the_metric() -> None:
    truth = np.array([[0.5, 0.1, -1, -1], [0.0, 0.2, 0.4, -1]], np.float32)
    logits = np.array([[1.0, 2.0, 9.0, 9.0], [0.0, 1.0, 2.0, 9.0]], np.float32)[..., None]

    def softmax(values: np.ndarray) -> np.ndarray:
        return np.exp(values) / np.exp(values).sum()

    rows = [(truth[0, :2], logits[0, :2, 0]), (truth[1, :3], logits[1, :3, 0])]
    ranked = [-(softmax(t / 0.05) * np.log(softmax(z))).sum() for t, z in rows]
    assert float(SentenceRanking()(truth, logits)) == pytest.approx(np.mean(ranked), rel=1e-5)
    chosen = [
        np.mean([-t * np.log(1 / (1 + np.exp(-z))) - (1 - t) * np.log(1 / (1 + np.exp(z)))])
        for t, z in rows
    ]
    assert float(SentenceChoice()(truth, logits)) == pytest.approx(np.mean(chosen), rel=1e-5)
    metric = TopTarget()
    metric.update_state(truth, logits)
    assert float(metric.result()) == pytest.approx((0.1 + 0.4) / 2)


@pytest.mark.slow
@pytest.mark.parametrize("targets", ["rouge", "oracle"])
def test_targets_follow_the_summaries(targets: str, bert_encoder: Path) -> None:
    task = ExtractiveSummarization(1, targets)
    document, label = ["It rained.", "The cat sat.", "Nobody came."], ["dogs", "the cat sat"]
    target = task.target(document, label)
    assert target[1] == 1.0 and max(target[0], target[2]) < 0.2
    model = tt.build_model(str(bert_encoder), task)
    shares = task.shares(tf.ragged.constant([[0.0, 2.0], [], [1.0]])).to_list()
    wanted = [[0.5, 0.8808], [], [0.7311]] if targets == "oracle" else [[0.1192, 0.8808], [], [1]]
    assert [pytest.approx(row, abs=1e-4) for row in wanted] == shares
    rows = articles(8)
    model.fit(model.preprocess(rows, 4), epochs=1, verbose=0)
    assert len(task.decode(model.predict_scores(rows[:1]))[0]["scores"]) == len(
        documents(rows[:1])[0]
    )


TEXTS = [
    "Bad movie story. Good film acting! “Ünïcode 東 movie?” The end. ",
    "",
    "  story  ",
    "\n\n".join(["Good film", "bad. Movie story", " ", "Film good the acting"]),
    "Good film acting. " * 3 + "Bad movie story in movie. " * 40 + "Acting was good film.",
]


@pytest.mark.slow
# In float32 every task is exported in `test_doors`.
@pytest.mark.parametrize("precision", ["bfloat16"])
def test_exports_give_sentences_with_their_places(
    trained: tt.TransferModel, tmp_path: Path, precision: str
) -> None:
    trained.task.sentences = 2
    try:
        loaded = tt.load_saved_model(tt.export_saved_model(trained, tmp_path, precision=precision))
        served, expected = loaded.predict(TEXTS, batch_size=2), trained.predict_text(TEXTS)
    finally:
        trained.task.sentences = 1
    for row, text in enumerate(TEXTS):
        chosen = expected[row]["sentences"]
        assert served["sentence_count"][row] == len(chosen)
        assert expected[row]["summary"] == " ".join(sentence["text"] for sentence in chosen)
        for at, sentence in enumerate(chosen):
            assert served["sentence"][row, at].decode() == sentence["text"]
            assert served["score"][row, at] == pytest.approx(sentence["score"], abs=0.05)
            assert text[sentence["start"] : sentence["end"]] == sentence["text"]
            place = served["start"][row, at], served["end"][row, at]
            assert text[slice(*place)] == sentence["text"]
            # In bfloat16 rounding may choose another one of equal sentences.
            if text.count(sentence["text"]) == 1:
                assert place == (sentence["start"], sentence["end"])
    assert [len(answer["sentences"]) for answer in expected[:4]] == [2, 0, 1, 2]
    assert expected[0]["sentences"][0]["text"] == "Good film acting!" or (
        expected[0]["sentences"][1]["text"] == "Good film acting!"
    )


def test_what_repeats_a_chosen_sentence_is_passed_over(trained: tt.TransferModel) -> None:
    trained.task.sentences = 3
    try:
        [answer] = trained.predict_text(["Good film acting. Bad movie. Good film acting. The end."])
    finally:
        trained.task.sentences = 1
    texts = [sentence["text"] for sentence in answer["sentences"]]
    assert sorted(texts) == ["Bad movie.", "Good film acting.", "The end."]


def test_predictions_survive_saving(trained: tt.TransferModel, tmp_path: Path) -> None:
    trained.save(tmp_path / "model.keras")
    again = tt.load_model(tmp_path / "model.keras")
    assert again.predict_text(TEXTS) == trained.predict_text(TEXTS)
    assert again.task.get_config() == {"sentences": 1, "targets": "rouge"}


def test_long_documents_lose_no_sentence(bert_encoder: Path) -> None:
    model = tt.build_model(str(bert_encoder), ExtractiveSummarization(2), sequence_length=24)
    text = " ".join([*DULL, *TOLD] * 20)
    rows = model.cut(tt.data.Examples.from_lists([text, "Good film."]))
    spoken = [s for row in rows.examples.texts[0][:-1] for s in row.split(WORD_END)]
    assert spoken == [*DULL, *TOLD] * 20 and len(rows) > 40
    assert rows.owners.tolist() == [0] * (len(rows) - 1) + [1]
    assert [len(scores) for scores in model.predict_scores([text, "Good film."])] == [140, 1]
    [answer] = model.predict_text([text])
    for sentence in answer["sentences"]:
        assert text[sentence["start"] : sentence["end"]] == sentence["text"]
    # A sentence that is longer than the encoder alone is cut, and has a score.
    assert len(model.predict_scores(["good " * 100 + "film. A movie."])[0]) == 2


def test_a_document_of_fifty_thousand_words_is_summarised(trained: tt.TransferModel) -> None:
    text = "Bad movie story in movie. " * 9999 + "Good film acting. The end."
    [answer] = trained.predict_text([text])
    [sentence] = answer["sentences"]
    assert text[sentence["start"] : sentence["end"]] == sentence["text"] == "Good film acting."


@pytest.mark.slow
def test_xla_compiles_a_step(bert_encoder: Path) -> None:
    rows = articles(8)
    model = tt.build_model(str(bert_encoder), ExtractiveSummarization(1), sequence_length=32)
    model.encoder.freeze_to(-1)
    model.jit_compile = True
    before = [w.numpy() for w in model.trainable_weights]
    model.fit(model.preprocess(rows, 8), epochs=2, verbose=0)
    assert any((a != b.numpy()).any() for a, b in zip(before, model.trainable_weights))


# Data ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["document", "sentences"])
@pytest.mark.parametrize("label", ["summary", "summaries"])
def test_documents_and_summaries_are_read(tmp_path: Path, text: str, label: str) -> None:
    sentences = ["Dr. A said. So", "Yes."]
    row = {
        text: sentences if text == "sentences" else "Dr. Abe said so. Yes.",
        label: ["a", "b"] if label == "summaries" else "a",
    }
    path = tmp_path / "data.jsonl"
    path.write_text(json.dumps(row) + "\n", encoding="utf-8")
    read = tt.data.read(path)
    wanted = sentences if text == "sentences" else ["Dr. Abe said so.", "Yes."]
    assert documents(read) == [wanted]
    assert read.labels == [row[label]]


def test_the_number_of_sentences_is_learned() -> None:
    learned = ExtractiveSummarization().adapt([["One. Two. Three.", "One. Two."], "One. Two"])
    assert learned.sentences == 2
    assert ExtractiveSummarization(5).adapt(["One."]).sentences == 5
    assert not ExtractiveSummarization().is_adapted and "extractive-summarization" in TASKS


@pytest.mark.parametrize(
    ("text", "label", "message"),
    [
        (["One. Two.", " \n"], ["a", "b"], "every document must have a sentence.*1 blank.*row 2"),
        (["One. Two.", "One"], ["a", " "], "label 2: expected a summary"),
        (["One. Two.", "One"], ["a", []], "label 2: expected a summary"),
        (["One. Two.", "One"], ["a", 7], "label 2: expected a summary.*'7'"),
        (["One", "Two."], ["a", "b"], "nothing to choose.*2 documents"),
    ],
)
def test_bad_data_is_named(text: list[str], label: list[Any], message: str, bert: Any) -> None:
    rows = tt.data.Examples.from_lists(text, label)
    good = articles(2)
    with pytest.raises(tt.InputError, match=message):
        tt.fine_tune(bert, rows, good, epochs=1)
    with pytest.raises(tt.InputError, match=message):
        tt.evaluate(bert, rows)


@pytest.fixture(scope="module")
def bert(bert_encoder: Path) -> tt.TransferModel:
    return tt.build_model(str(bert_encoder), ExtractiveSummarization(1))


def test_a_document_of_one_sentence_is_its_own_summary(bert: tt.TransferModel) -> None:
    mixed = tt.data.Examples.from_lists(["One film.", "Good. Bad."], ["film", "bad"])
    bert.fit(bert.preprocess(mixed, 2), verbose=0)
    [answer] = bert.predict_text(["One film."])
    assert answer["summary"] == "One film." and answer["sentences"][0]["score"] == 1.0


def test_bad_arguments_are_refused(bert_encoder: Path, text_encoder: Path) -> None:
    with pytest.raises(
        tt.InputError, match="`sentences` must be a whole number from 1 to .* Received: 0"
    ):
        ExtractiveSummarization(0)
    with pytest.raises(tt.InputError, match="`targets` must be one of rouge, oracle"):
        ExtractiveSummarization(1, "labels")
    with pytest.raises(tt.InputError, match="doesn't know"):
        tt.build_model(str(bert_encoder), ExtractiveSummarization())
    with pytest.raises(tt.InputError, match="pooling mean or first.*'attention'"):
        tt.build_model(str(bert_encoder), ExtractiveSummarization(1), Head(pooling="attention"))
    with pytest.raises(tt.InputError, match="token vectors"):
        tt.build_model(str(text_encoder), ExtractiveSummarization(1))
