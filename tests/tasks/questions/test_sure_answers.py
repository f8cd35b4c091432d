"""Scores of answers to questions that mean what they say."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfhub_transfer as tt
from tfhub_transfer.evaluation import calibrating
from tfhub_transfer.models import scaling
from tfhub_transfer.tasks import QuestionAnswering, sharpness, temperatures
from tfhub_transfer.tasks.questions import answers, certainty

MakeEncoder = Callable[[str], Path]
LENGTH = 18


def examples_of(model: Any, pairs: list[tuple[str, str]], share: float) -> tt.data.Examples:
    """Questions of whose answers such a share is right; other labels are what wasn't answered."""
    generator, labels = np.random.default_rng(3), []
    for (_, context), found in zip(pairs, model.predict_text(pairs), strict=True):
        right = generator.random() < share
        own = {"text": found["answer"], "answer_start": found["start"]}
        word = context.split()[-1] if found["answer"] != context.split()[-1] else "none"
        other = {"text": word, "answer_start": context.rindex(word)} if word in context else None
        if not right and not (model.task.unanswerable and found["answer"]):
            labels.append([other] if other else [])
        else:
            labels.append([own] if right and found["answer"] else [])
    questions, contexts = zip(*pairs)
    return tt.data.Examples.from_lists(list(questions), labels, list(contexts))


def pairs(count: int = 40) -> list[tuple[str, str]]:
    """Questions on contexts of up to 30 words, two on each, most of which are several windows."""
    generator = np.random.default_rng(0)
    words = "lovely fine dull sad film story plot actor scene movie".split()
    texts = [
        " ".join(generator.choice(words, generator.integers(2, 30))) for _ in range(count // 2)
    ]
    return [(f"what {kind}?", text) for text in texts for kind in ("film", "story")]


def sure(make_encoder: MakeEncoder, silent: bool, share: float = 0.6) -> tuple[Any, Any]:
    """A model that is far too sure, and examples."""
    keras.utils.set_random_seed(1)
    task = QuestionAnswering(unanswerable=silent)
    model = tt.build_model(str(make_encoder("bert_still")), task, sequence_length=LENGTH)
    layer, generator = model.get_layer("scores"), np.random.default_rng(0)
    layer.set_weights([generator.normal(0, 8.0, each.shape) for each in layer.get_weights()])
    asked = pairs()
    if silent:
        margins = [row["margin"] for row in model.predict_text(asked)]
        task.threshold = float(np.quantile(margins, 0.3)) + 1e-4
    return model, examples_of(model, asked, share)


def scores_at(model: Any, examples: Any, temperatures: Any) -> list[np.ndarray]:
    """What the scores of answers would be, by the graph that an export has."""
    windows = [window for own in model.predict_scores(examples) for window in own]
    state = model.layout.prepare(*(tf.constant(column) for column in examples.texts))[1]
    threshold, found = model.task.threshold, []
    for temperature in temperatures:
        flat = tf.constant(np.concatenate(windows) / np.float32(temperature))
        rows = tf.RaggedTensor.from_row_lengths(flat, list(map(len, windows)))
        model.task.threshold = threshold / temperature
        found.append(model.layout.answer(state, rows)["score"].numpy())
    model.task.threshold = threshold
    return found


def right_of(model: Any, examples: Any) -> np.ndarray:
    found = model.predict_text(list(zip(*examples.texts)))
    texts = [[text for text, _ in answers.of_label(label)] for label in examples.labels]
    return np.array(
        [
            max(answers.exact_match(t, row["answer"]) for t in each or [""]) == 1
            for each, row in zip(texts, found)
        ]
    )


def bernoulli(scores: np.ndarray, right: np.ndarray) -> float:
    wide = scores.astype("float64")
    chances = np.where(right, np.maximum(wide, 1e-30), np.maximum(1 - wide, 1e-7))
    return float(-np.log(chances).mean())


def error_of(right: np.ndarray, scores: np.ndarray) -> float:
    """Expected calibration error over 15 equal bins, written anew."""
    bins = np.clip((scores * 15).astype(int), 0, 14)
    gaps = [abs((right - scores)[bins == b].sum()) for b in range(15)]
    return float(sum(gaps) / len(scores))


@pytest.mark.parametrize("silent", [True, False])
def test_scores_are_known_at_any_temperature(silent: bool, make_encoder: MakeEncoder) -> None:
    model, examples = sure(make_encoder, silent)
    windows = model.predict_scores(examples)
    assert max(map(len, windows)) > 2
    found = certainty.answered(model.layout, examples.texts, windows)
    assert found == model.predict_text(list(zip(*examples.texts)))
    assert any(not row["answer"] for row in found) == silent
    shares = certainty.shares_of(windows, found, silent)
    tried = (1.0, 4.0, 30.0)
    for temperature, wanted in zip(tried, scores_at(model, examples, tried)):
        made = np.exp(shares.log_scores(temperature))
        np.testing.assert_allclose(made, wanted, rtol=1e-3, atol=1e-6)
    # No more sureness by less heat, wherever the best span is neither's best.
    cold, hot = (np.exp(shares.log_scores(t)) for t in (1.0, 4.0))
    assert (cold < hot - 1e-6).any() and (cold > hot + 1e-6).any()


def test_a_context_without_words_has_no_chance() -> None:
    null = np.array([[1.0, 2.0]], "float32")
    found = [{"start": -1, "margin": -1000.0}]
    assert np.exp(certainty.shares_of([[null]], found, False).log_scores()) == [0.0]
    assert np.exp(certainty.shares_of([[null]], found, True).log_scores()) == [1.0]


@pytest.mark.parametrize("silent", [True, False])
def test_answers_stay_and_their_scores_are_scaled(
    silent: bool, make_encoder: MakeEncoder, tmp_path: Path
) -> None:
    model, examples = sure(make_encoder, silent)
    asked, threshold = list(zip(*examples.texts)), model.task.threshold
    before, right = model.predict_text(asked), right_of(model, examples)
    plain = tt.evaluate(model, examples, baselines=False)
    tried = np.exp(np.linspace(-1, 3.5, 46))
    losses = [
        bernoulli(scores, right) + np.log(t) ** 2 / (2 * len(right))
        for t, scores in zip(tried, scores_at(model, examples, tried))
    ]
    told = tt.calibrate(model, examples)
    assert told["kept"] == "temperature" and told["bias"] == [] and told["examples"] == len(asked)
    assert told["losses"]["temperature"] < told["losses"]["none"]
    assert told["losses"]["none"] == pytest.approx(
        bernoulli(np.array([row["score"] for row in before]), right),
        rel=0.01,  # of float32
    )
    # The likeliest of many that were tried by the graph, which are a tenth apart.
    assert np.log(told["temperature"]) == pytest.approx(np.log(tried[np.argmin(losses)]), abs=0.1)
    assert told["temperature"] > 1.5
    assert model.task.threshold == pytest.approx(threshold / told["temperature"])
    found = model.predict_text(asked)
    for now, then in zip(found, before):
        same = ("answer", "start", "end")
        assert json.dumps([now[n] for n in same]) == json.dumps([then[n] for n in same])
        assert now["margin"] == pytest.approx(then["margin"] / told["temperature"], abs=1e-4)
    model.save(tmp_path / "model.keras")
    again = tt.load_model(tmp_path / "model.keras")
    assert again.predict_text(asked) == found
    assert scaling.current(again) == model.task.calibration
    served = tt.load_saved_model(tt.export_saved_model(again, tmp_path / "out")).predict(asked)
    np.testing.assert_allclose(served["score"], [row["score"] for row in found], atol=2e-5)
    assert [each.decode() for each in served["answer"]] == [row["answer"] for row in found]
    report = tt.evaluate(model, examples, baselines=False)
    scores = np.array([row["score"] for row in found])
    assert report.metrics["ece"] == pytest.approx(error_of(right, scores), abs=1e-6)
    assert report.calibration["before"]["ece"] == pytest.approx(plain.metrics["ece"], abs=1e-4)
    assert report.metrics["ece"] < plain.metrics["ece"] and "reliability" in report.pictures
    now, then = (
        bernoulli(np.array([row["score"] for row in each]), right) for each in (found, before)
    )
    [note] = [note for note in report.notes if "log loss here" in note]
    told_now, told_then = map(float, re.findall(r"is (\S+), and would be (\S+) without", note)[0])
    assert (told_now, told_then) == (pytest.approx(now, abs=1e-3), pytest.approx(then, rel=0.01))
    assert {**report.metrics, "ece": 0} == {**plain.metrics, "ece": 0}


def test_answers_calibrated_twice_are_as_once(make_encoder: MakeEncoder) -> None:
    model, examples = sure(make_encoder, True)
    start, threshold = model.get_layer("scores").get_weights(), model.task.threshold
    first = tt.calibrate(model, examples)
    second = tt.calibrate(model, examples)
    assert second["temperature"] == pytest.approx(first["temperature"], rel=1e-3)
    assert model.task.threshold == pytest.approx(threshold / second["temperature"])
    scaling.take_back(model)
    assert model.task.threshold == pytest.approx(threshold)
    for one, other in zip(model.get_layer("scores").get_weights(), start):
        np.testing.assert_allclose(one, other, rtol=1e-5)


def test_a_model_trained_once_more_has_the_threshold_of_the_judged_one(
    make_encoder: MakeEncoder,
) -> None:
    """It is of scaled scores, so it isn't divided once more."""
    model, examples = sure(make_encoder, True)
    other, _ = sure(make_encoder, True)
    asked = list(zip(*examples.texts))
    tt.calibrate(model, examples)
    other.task.threshold = model.task.threshold  # as of a copy of the task
    other.task.calibration = model.task.calibration
    calibrating.as_another(other, model)
    assert scaling.current(other) is not None
    for one, its in zip(other.predict_text(asked), model.predict_text(asked), strict=True):
        assert one["answer"] == its["answer"] and one["score"] == pytest.approx(its["score"])


def test_training_on_makes_it_void(make_encoder: MakeEncoder) -> None:
    model, examples = sure(make_encoder, True)
    tt.calibrate(model, examples)
    plan = tt.Plan(verbose=0, head_epochs=1)
    tt.fine_tune(model, examples, examples, unfreeze="none", plan=plan)
    assert scaling.current(model) is None
    threshold = model.task.threshold  # which was tuned anew, on scores as they are
    assert "before" not in tt.evaluate(model, examples, baselines=False).calibration
    told = tt.calibrate(model, examples)
    assert model.task.threshold == pytest.approx(threshold / told["temperature"])


def test_where_answers_tell_nothing_scores_stay(make_encoder: MakeEncoder) -> None:
    model, examples = sure(make_encoder, True, share=0.0)
    weights = model.get_layer("scores").get_weights()
    wrong = right_of(model, examples) == 0
    told = tt.calibrate(model, examples[np.flatnonzero(wrong)])
    assert told["kept"] == "none" and told["losses"] == {}
    said = f"scores aren't scaled: all {wrong.sum()} answers to validation questions are wrong"
    assert temperatures.why_not(told) == said
    one = tt.calibrate(model, examples[:1])
    assert "1 validation examples are too few" in str(temperatures.why_not(one))
    np.testing.assert_array_equal(model.get_layer("scores").get_weights()[0], weights[0])
    # No question of the file has an answer: silence is right, and says so.
    quiet = tt.data.Examples.from_lists(
        list(examples.texts[0]), [[]] * len(examples), list(examples.texts[1])
    )
    told = tt.calibrate(model, quiet)
    assert told["kept"] == "temperature" and np.isfinite(told["temperature"])
    model.task.threshold = 1e9
    assert "are right" in str(temperatures.why_not(tt.calibrate(model, quiet)))


def test_of_several_tasks_questions_have_their_own_temperature(make_encoder: MakeEncoder) -> None:
    keras.utils.set_random_seed(1)
    tasks = {"mood": tt.tasks.Classification(["bad", "good"]), "ask": QuestionAnswering(30, False)}
    model = tt.build_model(str(make_encoder("bert_still")), tasks, sequence_length=LENGTH)
    part, generator = model.parts["ask"], np.random.default_rng(0)
    layer = part.get_layer("scores")
    layer.set_weights([generator.normal(0, 8.0, each.shape) for each in layer.get_weights()])
    ask = examples_of(part, pairs(), 0.6)
    mood = tt.data.Examples.from_lists([f"a film {i}" for i in range(24)], ["bad", "good"] * 12)
    asked = list(zip(*ask.texts))
    before = model.predict_text({"ask": asked})["ask"]
    told = tt.calibrate(model, {"mood": mood, "ask": ask})
    assert told["ask"]["kept"] == "temperature" and told["ask"]["temperature"] > 1.5
    found = model.predict_text({"ask": asked})["ask"]
    assert [row["answer"] for row in found] == [row["answer"] for row in before]
    assert np.mean([row["score"] for row in found]) < np.mean([row["score"] for row in before])


# What is fitted ----------------------------------------------------------------------------------


def drawn(count: int = 300) -> tuple[certainty.Shares, np.ndarray]:
    """Answers that are right by chances of which scores are the third power's, and which are."""
    generator = np.random.default_rng(0)
    true = generator.normal(0, 1.5, (count, 12, 2))
    best = true.max(axis=1).sum(axis=1)
    totals = np.log(np.exp(true).sum(axis=1)).sum(axis=1)
    right = generator.random(count) < np.exp(best - totals)
    flat = 3 * true.reshape(-1, 2)
    return certainty.Shares(3 * best, flat, np.full(count, 12)), right


def test_the_temperature_of_answers_is_found_again() -> None:
    shares, right = drawn(2000)

    def losses(temperature: float) -> np.ndarray:
        return certainty.loss(shares.log_scores(temperature), right)

    found = sharpness.one_temperature(losses, np.arange(2000), 0)
    assert found.kept == "temperature" and found.scaling is not None
    assert found.scaling.temperature == pytest.approx(3.0, rel=0.15)
    tried = np.exp(np.linspace(0.5, 1.8, 2001))
    best = min(tried, key=lambda t: losses(t).mean() + np.log(t) ** 2 / 4000)
    assert found.scaling.temperature == pytest.approx(best, rel=1e-3)
    # What means what it says already stays.
    plain = sharpness.one_temperature(lambda t: losses(3.0 * t), np.arange(2000), 0)
    assert plain.scaling is None or plain.scaling.temperature == pytest.approx(1.0, abs=0.1)


def test_nothing_is_kept_that_costs_rows_left_out() -> None:
    """Each fold's own rows want another temperature than the others."""
    owners = np.repeat(np.arange(40), 2)
    wanted = np.where(owners % 2, 4.0, 0.25)

    def losses(temperature: float) -> np.ndarray:
        # Whichever half of the owners has a row more drags all rows, the others the more.
        return np.abs(np.log(temperature) - np.log(wanted)) + np.log(temperature) ** 2

    found = sharpness.one_temperature(losses, owners, 0)
    assert (found.kept, found.scaling) == ("none", None)
    assert found.losses["none"] <= found.losses["temperature"]


def test_questions_of_a_context_are_in_one_fold(monkeypatch: pytest.MonkeyPatch) -> None:
    shares, right = drawn()
    owners, seen = np.repeat(np.arange(60), 5), list[np.ndarray]()
    likeliest = sharpness._likeliest

    def noted(losses: Any, tried: Any, rows: np.ndarray) -> float:
        seen.append(rows)
        return likeliest(losses, tried, rows)

    monkeypatch.setattr(sharpness, "_likeliest", noted)

    def losses(temperature: float) -> np.ndarray:
        return certainty.loss(shares.log_scores(temperature), right)

    sharpness.one_temperature(losses, owners, 0)
    assert [len(np.unique(owners[rows])) for rows in seen[:5]] == [48] * 5
    assert all(len(rows) == 240 for rows in seen[:5])
    seen.clear()
    # Of fewer contexts than folds questions are told apart.
    sharpness.one_temperature(losses, np.zeros(300, int), 0)
    assert all(len(rows) == 240 for rows in seen[:5])


def test_of_many_questions_some_are_taken(
    make_encoder: MakeEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, examples = sure(make_encoder, False)
    windows = model.predict_scores(examples)
    sizes = [2 * sum(map(len, own)) for own in windows]
    monkeypatch.setattr(certainty, "_MOST_SCORES", sum(sizes) * 3 // 4)
    found = certainty.likeliest(model.layout, windows, examples, 0)
    assert 20 <= found.rows < len(examples)
