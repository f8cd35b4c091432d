"""Tasks whose answer needs several runs of the model, through the public doors alone."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfhub_transfer as tt
from tfhub_transfer.jobs.options.training import TrainJob
from tfhub_transfer.jobs.trainings import training
from tfhub_transfer.models.forward import Forward

NAMES = ["bad", "good"]
TEXTS = ["good good film", "the worst movie", "good acting", "bad", "", "bad film movie"] * 4
TRUE = ["good", "bad", "good", "bad", "bad", "good"] * 4


class Masking(tt.tasks.Classification):
    """The class of a text without the word that speaks most for what is answered at first."""

    name = "masking"

    def answers(self, run: Any, texts: Any) -> dict[str, Any]:
        words = [text.decode().split() for text in texts[0].numpy()]
        first = np.asarray(run(texts[0]))
        rows = [(row, place) for row, own in enumerate(words) for place in range(len(own))]
        without = np.asarray(run([_without(words[row], place) for row, place in rows]))
        best = [-1] * len(words)
        least = first.max(axis=1) + 1.0
        for (row, place), scores in zip(rows, without):
            if scores[first[row].argmax()] < least[row]:
                best[row], least[row] = place, scores[first[row].argmax()]
        last = run([_without(own, place) for own, place in zip(words, best)])
        masked = [own[place] if own else "" for own, place in zip(words, best)]
        return {"scores": last, "word": tf.constant(masked)}

    def readable(self, found: Any) -> list[dict[str, Any]]:
        words = [word.decode() for word in found["word"].numpy()]
        return [{**a, "word": word} for a, word in zip(super().readable(found), words)]


class Averaging(tt.tasks.Classification):
    """The mean of what is said of a text, and of it without its first words: graph code."""

    name = "averaging"

    def answers(self, run: Any, texts: Any) -> dict[str, Any]:
        rest = [texts[0]]
        for _ in range(2):
            rest.append(tf.strings.regex_replace(rest[-1], r"^\s*\S+\s*", ""))
        return self.answer(sum(run(each) for each in rest) / 3.0)

    served = answers


def _without(words: list[str], place: int) -> str:
    return " ".join(word for at, word in enumerate(words) if at != place)


@pytest.fixture(autouse=True)
def _registered() -> Iterator[None]:
    with mock.patch.dict(tt.tasks.TASKS):
        tt.tasks.register(Masking)
        tt.tasks.register(Averaging)
        yield


@pytest.fixture
def models(text_encoder: Path) -> Any:
    """A model of one run, and makes others of the same weights."""
    keras.utils.set_random_seed(5)
    plain = tt.build_model(str(text_encoder), tt.tasks.Classification(NAMES))

    def alike(kind: Any) -> Any:
        made = tt.build_model(str(text_encoder), kind(NAMES))
        made.set_weights(plain.get_weights())
        return made

    return plain, alike


def by_hand(plain: Any) -> tuple[np.ndarray, list[str]]:
    """Scores of texts without their best word, and this word, of a model that is asked one text."""
    found, masked = [], []
    for text in TEXTS:
        words = text.split()
        first = plain.predict_scores([text])[0]
        left = [
            plain.predict_scores([_without(words, at)])[0][first.argmax()]
            for at in range(len(words))
        ]
        best = int(np.argmin(left)) if left else -1
        found.append(plain.predict_scores([_without(words, best)])[0])
        masked.append(words[best] if words else "")
    return np.array(found), masked


def test_answers_and_reports_are_those_of_the_last_run(models: Any, tmp_path: Path) -> None:
    plain, alike = models
    model = alike(Masking)
    expected, masked = by_hand(plain)
    with mock.patch.object(Forward, "run", autospec=True, side_effect=Forward.run) as run:
        answers = model.predict_text(TEXTS)
    assert run.call_count == 3
    assert [answer["word"] for answer in answers] == masked
    scores = np.array([[answer["scores"][name] for name in NAMES] for answer in answers])
    np.testing.assert_allclose(scores, expected, atol=1e-5)
    assert np.abs(plain.predict_scores(TEXTS) - expected).max() > 1e-3  # asked again it says else
    np.testing.assert_allclose(model.predict_scores(TEXTS), expected, atol=1e-5)

    test = tt.data.Examples.from_lists(TEXTS, TRUE)
    report = tt.evaluate(model, test, baselines=False)
    wanted = np.array([NAMES.index(name) for name in TRUE])
    assert report.metrics["accuracy"] == np.mean(expected.argmax(axis=1) == wanted)
    assert [row["predicted"] for row in report.predictions] == [
        NAMES[place] for place in expected.argmax(axis=1)
    ]
    model.save(tmp_path / "model.keras")
    assert tt.load_model(tmp_path / "model.keras").predict_text(TEXTS) == answers


def test_what_was_cut_is_said_of_the_texts_alone(bert_encoder: Path) -> None:
    model = tt.build_model(str(bert_encoder), Masking(NAMES), sequence_length=8)
    model.predict_text(["good film bad movie good film bad", "good"])
    assert model.truncation is not None and model.truncation.texts == 1
    assert model.predict_text([]) == []


def test_an_export_that_would_answer_otherwise_is_refused_first(
    models: Any, text_encoder: Path, tmp_path: Path
) -> None:
    model = models[1](Masking)
    with pytest.raises(tt.InputError, match=r"asks the model more than once.*Received: Masking"):
        tt.export_saved_model(model, tmp_path / "serving")
    assert not (tmp_path / "serving").exists()
    rows = tmp_path / "rows.csv"
    rows.write_text("text,label\n" + "\n".join(f"{t},{n}" for t, n in zip(TEXTS, TRUE) if t))
    job = TrainJob("masking", str(rows), tmp_path / "out", encoder=str(text_encoder))
    with (
        mock.patch.object(training, "fine_tune") as fit,
        pytest.raises(tt.InputError, match="`--quick`"),
    ):
        training.train(job)
    assert not fit.called and not (tmp_path / "out").exists()


@pytest.mark.slow
def test_a_task_that_says_how_is_exported(models: Any, tmp_path: Path) -> None:
    plain, alike = models
    model = alike(Averaging)
    texts = ["good good film", "the worst movie of all"]
    parts = [texts, ["good film", "worst movie of all"], ["film", "movie of all"]]
    expected = sum(plain.predict_scores(part) for part in parts) / 3
    np.testing.assert_allclose(model.predict_scores(texts), expected, atol=1e-5)
    served = tt.load_saved_model(tt.export_saved_model(model, tmp_path / "serving", "float32"))
    np.testing.assert_allclose(served.predict(texts)["scores"], expected, atol=1e-5)
