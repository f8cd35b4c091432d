"""Scores that mean what they say: what is fitted, what is kept, and where it goes."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy.special import expit, log_softmax, logit, softmax

import tfhub_transfer as tt
from tfhub_transfer import cli
from tfhub_transfer.models import scaling
from tfhub_transfer.tasks import temperatures
from tfhub_transfer.tasks.tagging import task as tagging_task
from tfhub_transfer.tasks.temperatures import Scaling
from tfhub_transfer.texts import joining

ROWS = 400
CLASSES = 3


def drawn(sharpness: float, bias: Any = 0.0, rows: int = ROWS) -> tuple[np.ndarray, np.ndarray]:
    """Scores of a softmax that is too sure by a factor, and classes drawn by what is true."""
    generator = np.random.default_rng(5)
    true = generator.normal(0.0, 1.5, (rows, CLASSES))
    classes = [generator.choice(CLASSES, p=row) for row in softmax(true + bias, axis=1)]
    return softmax(true * sharpness, axis=1).astype("float32"), np.eye(CLASSES)[classes]


def ordered(sharpness: float, rows: int = ROWS) -> tuple[np.ndarray, np.ndarray]:
    """The same of ordered classes: heights among thresholds."""
    generator = np.random.default_rng(7)
    true = generator.normal(0.0, 2.0, (rows, 1)) - np.array([-1.5, 1.0])

    def shares(margins: np.ndarray) -> np.ndarray:
        ends = np.ones((rows, 1)), np.zeros((rows, 1))
        return -np.diff(np.hstack([ends[0], expit(margins), ends[1]]), axis=1)

    classes = [generator.choice(CLASSES, p=row) for row in shares(true)]
    return shares(true * sharpness).astype("float32"), np.eye(CLASSES)[classes]


def chances(sharpness: float, rows: int = ROWS) -> tuple[np.ndarray, np.ndarray]:
    """The same of a sigmoid for each class."""
    generator = np.random.default_rng(6)
    true = generator.normal(-1.0, 1.5, (rows, CLASSES))
    truth = (generator.random((rows, CLASSES)) < expit(true)).astype("float64")
    return expit(true * sharpness).astype("float32"), truth


@pytest.mark.parametrize("link", ["softmax", "sigmoid"])
def test_the_temperature_is_the_likeliest(link: Any) -> None:
    """Beside a prior as heavy as one row, of all temperatures that were tried one by one."""
    scores, truth = (drawn if link == "softmax" else chances)(2.5)
    found = temperatures.fitted(scores, truth, link, biased=False)

    def loss(temperature: float) -> float:
        given = np.log(scores) if link == "softmax" else logit(scores.astype("float64"))
        if link == "softmax":
            losses = -(log_softmax(given / temperature, axis=1) * truth).sum(axis=1)
        else:
            made = expit(given / temperature)
            losses = -np.log(np.where(truth > 0, made, 1 - made)).mean(axis=1)
        return float(losses.mean() + np.log(temperature) ** 2 / (2 * len(scores)))

    tried = np.exp(np.linspace(-2, 2, 8001))
    best = tried[np.argmin([loss(each) for each in tried])]
    assert found.temperature == pytest.approx(best, rel=1e-3)
    assert 2.0 < found.temperature < 3.0 and not found.bias


@pytest.mark.parametrize("link", ["softmax", "sigmoid"])
def test_biases_are_where_the_loss_is_flat(link: Any) -> None:
    """Each class then is expected as often as it occurs, but for the prior of one row."""
    scores, truth = drawn(2.0, [1.0, 0.0, -1.0]) if link == "softmax" else chances(2.0)
    found = temperatures.fitted(scores, truth, link, biased=True)
    expected = found.applied(scores, link).sum(axis=0)
    if link == "softmax":
        np.testing.assert_allclose(truth.sum(axis=0) - expected, found.bias, atol=0.01)
        assert found.bias[0] > 0.5 and found.bias[2] < -0.5
    else:
        terms = (truth.sum(axis=0) - expected) / CLASSES
        np.testing.assert_allclose(terms, found.bias, atol=0.01)


@pytest.mark.parametrize("link", ["softmax", "sigmoid", "cumulative"])
def test_what_is_applied_is_undone(link: Any) -> None:
    scores, _ = {"softmax": drawn, "sigmoid": chances, "cumulative": ordered}[link](1.0)
    scaling_ = Scaling(1.7, (0.3, -0.2, 0.0) if link != "cumulative" else ())
    there = scaling_.applied(scores, link)
    assert np.abs(there - scores).max() > 0.1
    np.testing.assert_allclose(scaling_.undone(there, link), scores, atol=1e-6)


def test_what_helps_rows_left_out_is_kept() -> None:
    assert temperatures.chosen(*drawn(3.0), "softmax").kept == temperatures.TEMPERATURE
    assert temperatures.chosen(*drawn(1.5, [2.0, 0, -2.0]), "softmax").kept == temperatures.BIASED
    found = temperatures.chosen(*drawn(3.0, rows=19), "softmax")
    assert (found.kept, found.scaling, found.losses) == (temperatures.NONE, None, {})


def test_rows_without_a_class_say_nothing_of_it() -> None:
    """A validation split of its own may lack a class: the others would be given in its place."""
    scores, truth = drawn(1.5, [2.0, 0, -2.0])
    lacking = truth[:, 2] == 0
    found = temperatures.chosen(scores[lacking], truth[lacking], "softmax")
    assert found.kept != temperatures.BIASED and set(found.losses) == {"none", "temperature"}
    alone = truth[:, 0] == 1
    assert alone.sum() > 50
    found = temperatures.chosen(scores[alone], truth[alone], "softmax")
    assert (found.kept, found.losses) == (temperatures.NONE, {})


def test_a_label_that_no_row_has_keeps_its_scores_apart() -> None:
    scores, truth = chances(1.0)
    truth[:, 1] = 0.0
    found = temperatures.fitted(scores, truth, "sigmoid", biased=True)
    assert found.bias[1] == 0.0 and found.bias[0] != 0.0
    assert temperatures.chosen(scores, 0.0 * truth, "sigmoid").losses == {}


def test_nothing_is_kept_that_loses() -> None:
    """Scores that already mean what they say: by how much rows left out lose is said."""
    kept = set()
    for rows in (40, 60, 80, 100):
        found = temperatures.chosen(*drawn(1.0, rows=rows), "softmax")
        kept.add(found.kept)
        best = min(found.losses, key=lambda name: found.losses[name])
        if found.kept == temperatures.NONE:
            assert best != temperatures.TEMPERATURE and found.scaling is None
    assert temperatures.NONE in kept


def test_a_report_says_how_scores_were_scaled_or_why_not() -> None:
    assert str(Scaling(1.63)) == "all logits divided by 1.63"
    said = str(Scaling(0.5, (0.2, -0.31, 0.0)))
    assert said == "all logits divided by 0.50, -0.31 to +0.20 added for each class"
    losses = {"none": 0.44, "temperature": 0.4491, "temperature and bias": 0.5}
    told = {"kept": "none", "examples": 60, "losses": losses}
    why = temperatures.why_not(told) or ""
    assert "60 validation examples nothing helps" in why
    assert why.endswith(
        "(log loss 0.440 as they are, 0.449 by temperature, 0.500 by temperature and bias)"
    )
    assert "19 validation examples are too few" in str(
        temperatures.why_not({**told, "examples": 19, "losses": {}})
    )
    assert "all 60 validation examples have the same label" in str(
        temperatures.why_not({**told, "losses": {}})
    )
    assert temperatures.why_not({**told, "kept": "temperature"}) is None
    assert temperatures.why_not({}) is None


def test_rare_classes_and_certain_answers_are_bounded() -> None:
    """A class that validation doesn't have, and rows that are all right, say nothing for sure."""
    scores = np.full((30, 3), [0.98, 0.01, 0.01], "float32")
    truth = np.eye(3)[[0] * 30]
    found = temperatures.fitted(scores, truth, "softmax", biased=True)
    assert np.isfinite([found.temperature, *found.bias]).all()
    assert 0.2 < found.temperature < 1.0 and max(map(abs, found.bias)) < 3.0
    certain = np.eye(3, dtype="float32")[[0] * 15 + [1] * 15]
    with np.errstate(all="raise"):
        made = temperatures.chosen(certain, certain, "softmax")
    assert made.scaling is None or np.isfinite(made.scaling.temperature)


# Models ----------------------------------------------------------------------------------------


TEXTS = ["what a lovely film", "a dull and sad story", "the actor was fine", "a weak plot"]


def sure(
    make_encoder: Callable[[str], Path], kind: str = "classification", towers: bool = False
) -> tuple[Any, Any]:
    """A model that is far too sure, and examples."""
    keras.utils.set_random_seed(1)
    pair = towers
    names = ["bad", "fine", "good"]
    task = tt.tasks.Classification(names, pair) if kind != "multi-label" else None
    task = task or tt.tasks.MultiLabel(names)
    head = tt.Head(towers=True) if towers else None
    model = tt.build_model(str(make_encoder("bert_still")), task, head, sequence_length=16)
    layer = model.get_layer("scores")
    generator = np.random.default_rng(0)
    # A sigmoid any surer is 1 in float32, of which nobody knows by how much.
    wide = 1.0 if kind == "multi-label" else 3.0
    layer.set_weights([generator.normal(0, wide, each.shape) for each in layer.get_weights()])
    texts = [f"{text} {word}" for text in TEXTS for word in "one two three four five six".split()]
    labels: list[Any] = [names[i] for i in generator.integers(0, 3, len(texts))]
    if kind == "multi-label":
        labels = [[name] for name in labels]
    return model, tt.data.Examples.from_lists(texts, labels, texts[::-1] if pair else None)


@pytest.mark.parametrize("kind", ["classification", "multi-label", "towers"])
def test_scores_are_those_of_scaled_logits_everywhere(
    kind: str, make_encoder: Callable[[str], Path], tmp_path: Path
) -> None:
    """In the model, in its file, in its export; and the same as by hand."""
    model, examples = sure(make_encoder, kind, kind == "towers")
    before = model.predict_scores(examples)
    told = tt.calibrate(model, examples)
    assert told["kept"] != "none" and told["temperature"] > 1.5 and told["examples"] == 24
    assert told["losses"][told["kept"]] < told["losses"]["none"]
    link = "sigmoid" if kind == "multi-label" else "softmax"
    logits = np.log(before) if link == "softmax" else logit(before.astype("float64"))
    made = logits / told["temperature"] + (told["bias"] or 0.0)
    wanted = expit(made) if link == "sigmoid" else softmax(made, axis=1)
    np.testing.assert_allclose(model.predict_scores(examples), wanted, atol=2e-5)
    model.save(tmp_path / "model.keras")
    again = tt.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(again.predict_scores(examples), wanted, atol=2e-5)
    assert scaling.current(again) == model.task.calibration
    tt.export_saved_model(again, tmp_path / "serving")
    served = tf.saved_model.load(str(tmp_path / "serving" / "1")).signatures["serving_default"]
    names = ["texts"] if kind != "towers" else ["text_a", "text_b"]
    given = dict(zip(sorted(served.structured_input_signature[1]), examples.texts))
    assert len(given) == len(names)
    found = served(**{name: tf.constant(list(column)) for name, column in given.items()})
    np.testing.assert_allclose(found["scores"], wanted, atol=2e-5)


def test_calibrating_twice_is_as_once(make_encoder: Callable[[str], Path]) -> None:
    model, examples = sure(make_encoder)
    start = model.get_layer("scores").get_weights()
    first = tt.calibrate(model, examples)
    second = tt.calibrate(model, examples)
    assert second["temperature"] == pytest.approx(first["temperature"], rel=1e-4)
    scaling.take_back(model)
    for one, other in zip(model.get_layer("scores").get_weights(), start):
        np.testing.assert_allclose(one, other, rtol=1e-5)


def test_a_report_says_what_it_was_before(make_encoder: Callable[[str], Path]) -> None:
    model, examples = sure(make_encoder)
    plain = tt.evaluate(model, examples, baselines=False)
    assert plain.calibration and "before" not in plain.calibration
    tt.calibrate(model, examples)
    report = tt.evaluate(model, examples, baselines=False)
    assert report.calibration["before"]["ece"] == pytest.approx(plain.metrics["ece"], abs=1e-4)
    assert report.metrics["ece"] < plain.metrics["ece"] - 0.1
    [note] = [note for note in report.notes if "scaled" in note]
    assert note.endswith(f" and {plain.metrics['ece']:.3f}")
    truth = model.task.encode(examples.labels)
    scores = model.predict_scores(examples).astype("float64")
    loss = -np.log(scores[np.arange(len(truth)), truth]).mean()
    assert f"log loss here is {loss:.3f}," in note
    # Training on makes what was fitted void.
    layer = model.get_layer("scores")
    layer.set_weights([1.1 * each for each in layer.get_weights()])
    assert "before" not in tt.evaluate(model, examples, baselines=False).calibration


def test_each_of_several_tasks_is_calibrated(make_encoder: Callable[[str], Path]) -> None:
    keras.utils.set_random_seed(1)
    tasks = {
        "mood": tt.tasks.Classification(["bad", "good"]),
        "stars": tt.tasks.Regression(2.0, 1.0),
    }
    model = tt.build_model(str(make_encoder("bert_still")), tasks, sequence_length=16)
    part = model.parts["mood"]
    kernel, bias = part.get_layer("scores").get_weights()
    part.get_layer("scores").set_weights([kernel * 30, bias + np.array([-3.0, 3.0])])
    texts = [f"{text} {i}" for text in TEXTS for i in range(8)]
    mood = tt.data.Examples.from_lists(texts, ["bad", "good"] * 16)
    stars = tt.data.Examples.from_lists(texts, [float(i) for i in range(32)])
    told = tt.calibrate(model, {"mood": mood, "stars": stars})
    assert told["stars"] == {} and told["mood"]["kept"] != "none"
    joint = model.predict_scores({"mood": mood})["mood"]
    np.testing.assert_allclose(joint, part.predict_scores(mood), atol=1e-6)
    assert np.abs(joint - 0.5).max() < 0.45
    with pytest.raises(tt.InputError, match="examples by name of each task"):
        tt.calibrate(model, {"other": mood})


def sure_of_tags(make_encoder: Callable[[str], Path], scheme: str | None) -> tuple[Any, Any]:
    """A tagger that is far too sure, and sentences of unlike length."""
    keras.utils.set_random_seed(1)
    names = ["B-film", "I-film", "O"] if scheme else ["NOUN", "OTHER", "VERB"]
    task = tt.tasks.TokenClassification(names, scheme)
    model = tt.build_model(str(make_encoder("bert_still")), task, sequence_length=16)
    layer, generator = model.get_layer("scores"), np.random.default_rng(0)
    layer.set_weights([generator.normal(0, 3.0, each.shape) for each in layer.get_weights()])
    words = [f"{text} {end}".split() for text in TEXTS for end in ("", "a", "a b", "c d e", "f g")]
    plain = tt.data.Examples.from_lists(
        words, [["O" if scheme else "VERB"] * len(w) for w in words]
    )
    # Of what it says two of three are right.
    tags = model.task.sequences(model.predict_scores(plain))
    for row in tags:
        for at in range(len(row)):
            row[at] = names[generator.integers(0, 3)] if generator.random() < 0.4 else row[at]
            if row[at] == "I-film" and (at == 0 or row[at - 1] == "O"):
                row[at] = "B-film"  # what is inside of nothing begins something
    return model, tt.data.Examples.from_lists(words, tags)


@pytest.mark.parametrize("scheme", ["IOB2", None])
def test_tags_are_scaled_by_one_temperature(
    scheme: str | None, make_encoder: Callable[[str], Path], tmp_path: Path
) -> None:
    model, examples = sure_of_tags(make_encoder, scheme)
    texts = [" ".join(row) for row in map(joining.split_words, examples.texts[0])]
    before = model.predict_scores(examples)
    plain, answers = tt.evaluate(model, examples, baselines=False), model.predict_text(texts)
    told = tt.calibrate(model, examples)
    assert told["kept"] == "temperature" and told["bias"] == [] and told["examples"] == len(texts)
    # The likeliest temperature, found by trying many.
    truth = [row.numpy() for row in model.task.encode(examples.labels)]
    flat, right = np.concatenate(before).astype("float64"), np.concatenate(truth)

    def loss(temperature: float) -> float:
        shares = softmax(np.log(flat) / temperature, axis=1)
        prior = np.log(temperature) ** 2 / (2 * len(right))  # as heavy as one word
        return float(-np.log(shares[np.arange(len(right)), right]).mean() + prior)

    best = min(np.exp(np.linspace(-1, 4, 5001)), key=loss)
    assert told["temperature"] == pytest.approx(best, rel=2e-3) and best > 1.5
    wanted = [softmax(np.log(each) / told["temperature"], axis=1) for each in before]
    for found, own in zip(model.predict_scores(examples), wanted):
        np.testing.assert_allclose(found, own, atol=2e-5)
    # No answer is another one, but for its scores; nor in the export.
    again = model.predict_text(texts)
    tags = [[[word["tag"] for word in row["words"]] for row in each] for each in (answers, again)]
    assert tags[0] == tags[1]
    tt.export_saved_model(model, tmp_path / "serving")
    served = tf.saved_model.load(str(tmp_path / "serving" / "1")).signatures["serving_default"]
    found = served(tf.constant(texts))["score"].numpy()
    for scores, row in zip(found, again):
        np.testing.assert_allclose(
            scores[: len(row["words"])], [word["score"] for word in row["words"]], atol=2e-5
        )
    report = tt.evaluate(model, examples, baselines=False)
    assert report.calibration["before"]["ece"] == pytest.approx(plain.metrics["ece"], abs=1e-4)
    now, then = (
        -np.log(np.concatenate(each)[np.arange(len(right)), right]).mean()
        for each in (wanted, before)
    )
    assert now < then - 0.1
    assert any(f"is {now:.3f}, and would be {then:.3f} without" in note for note in report.notes)
    assert report.metrics["f1" if scheme else "accuracy"] == pytest.approx(
        plain.metrics["f1" if scheme else "accuracy"]
    )
    assert "reliability" in report.pictures
    # As many answers are judged as are given, with the scores that they have.
    part = "entities" if scheme else "words"
    given = [one["score"] for row in again for one in row[part]]
    bins = report.calibration
    assert sum(bins["count"]) == len(given)
    assert np.dot(bins["count"], bins["confidence"]) == pytest.approx(sum(given), rel=1e-4)


def test_the_temperature_of_ordered_classes_is_the_likeliest() -> None:
    scores, truth = ordered(2.5)
    margins = temperatures.logits(scores, "cumulative")
    above = scores.astype("float64")[:, ::-1].cumsum(axis=1)[:, ::-1][:, 1:]
    known = above < 0.999  # nearer to 1 float32 tells the other classes alone
    np.testing.assert_allclose(margins[known], logit(above[known]), rtol=1e-3, atol=1e-3)
    found = temperatures.fitted(scores, truth, "cumulative", biased=False)
    tried = np.exp(np.linspace(-2, 2, 8001))

    def loss(temperature: float) -> float:
        chance = expit(margins / temperature)
        shares = np.hstack([1 - chance[:, :1], chance[:, :1] - chance[:, 1:], chance[:, 1:]])
        losses = -np.log(np.maximum((shares * truth).sum(axis=1), 1e-300))
        return float(losses.mean() + np.log(temperature) ** 2 / (2 * len(scores)))

    assert found.temperature == pytest.approx(min(tried, key=loss), rel=1e-3)
    assert 2.0 < found.temperature < 3.0 and not found.bias
    # Any sureness is a number, and no slope is lost in it.
    sure = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, 1.0, 0.0]] * 10, "float32")
    with np.errstate(all="raise", under="ignore"):
        made = temperatures.chosen(sure, np.eye(3)[[0, 2, 0] * 10], "cumulative", biases=False)
    assert made.scaling is not None and made.scaling.temperature > 2.0


def sure_of_order(make_encoder: Callable[[str], Path]) -> tuple[Any, Any]:
    """A model of grades that is far too sure, and texts with grades near to its own."""
    keras.utils.set_random_seed(1)
    names = ["poor", "fair", "good", "great"]
    task = tt.tasks.OrdinalRegression(names)
    model = tt.build_model(str(make_encoder("bert_still")), task, sequence_length=16)
    generator = np.random.default_rng(0)
    height, last = model.get_layer("height"), model.get_layer("scores")
    texts = [f"{text} {word}" for text in TEXTS for word in "one two three four five six".split()]
    height.set_weights([generator.normal(0, 16.0, each.shape) for each in height.get_weights()])
    made = keras.Model(model.inputs, height.output)
    [(ids, *_)] = model.preprocess(tt.data.Examples.from_lists(texts, names * 6), 64).take(1)
    heights = made.predict(ids, verbose=0)[:, 0]
    low, *_, high = np.quantile(heights, [0.25, 0.5, 0.75])
    gap = (high - low) / 2
    last.set_weights([np.array([low, gap, gap], "float32")])
    found = [names.index(row["label"]) for row in model.predict_text(texts)]
    off = generator.choice([-1, 0, 1], len(texts), p=[0.25, 0.5, 0.25])
    labels = [names[place] for place in np.clip(np.array(found) + off, 0, 3)]
    return model, tt.data.Examples.from_lists(texts, labels)


def test_ordered_classes_are_scaled_by_one_temperature(
    make_encoder: Callable[[str], Path], tmp_path: Path
) -> None:
    model, examples = sure_of_order(make_encoder)
    texts = list(examples.texts[0])
    before, answers = model.predict_scores(examples), model.predict_text(texts)
    start = [model.get_layer(name).get_weights()[0] for name in ("height", "scores")]
    plain = tt.evaluate(model, examples, baselines=False)
    told = tt.calibrate(model, examples)
    assert told["kept"] == "temperature" and told["bias"] == [] and told["temperature"] > 1.5
    # By hand: heights and thresholds, divided.
    rises = np.append(start[1][:1], np.logaddexp(0, start[1][1:]))
    above = temperatures.logits(before, "cumulative")
    gaps = -np.diff(above, axis=1)
    np.testing.assert_allclose(gaps, np.broadcast_to(rises[1:], gaps.shape), rtol=1e-3)
    chance = expit(above / told["temperature"])
    ends = np.ones((len(texts), 1))
    wanted = -np.diff(np.hstack([ends, chance, 0 * ends]), axis=1)
    np.testing.assert_allclose(model.predict_scores(examples), wanted, atol=2e-5)
    again = model.predict_text(texts)
    assert [row["label"] for row in again] == [row["label"] for row in answers]
    model.save(tmp_path / "model.keras")
    loaded = tt.load_model(tmp_path / "model.keras")
    assert scaling.current(loaded) == model.task.calibration
    served = tt.load_saved_model(tt.export_saved_model(loaded, tmp_path / "out")).predict(texts)
    np.testing.assert_allclose(served["scores"], wanted, atol=2e-5)
    assert [name.decode() for name in served["label"]] == [row["label"] for row in answers]
    report = tt.evaluate(model, examples, baselines=False)
    assert report.calibration["before"]["ece"] == pytest.approx(plain.metrics["ece"], abs=1e-4)
    assert report.metrics["ece"] < plain.metrics["ece"] and "reliability" in report.pictures
    places = model.task.encode(examples.labels)
    now, then = (-np.log(x[np.arange(len(texts)), places]).mean() for x in (wanted, before))
    assert any(f"is {now:.3f}, and would be {then:.3f} without" in note for note in report.notes)
    assert {**report.metrics, "ece": 0} == {**plain.metrics, "ece": 0}
    # Twice is as once, and it can be taken back.
    assert tt.calibrate(model, examples)["temperature"] == pytest.approx(
        told["temperature"], rel=1e-3
    )
    scaling.take_back(model)
    for name, weights in zip(("height", "scores"), start):
        np.testing.assert_allclose(model.get_layer(name).get_weights()[0], weights, rtol=1e-3)


def test_words_of_a_sentence_are_in_one_fold(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a sentence would tell how sure to be of its other words."""
    generator = np.random.default_rng(0)
    owners = np.repeat(np.arange(50), 6)
    truth = np.eye(2)[np.repeat(generator.integers(0, 2, 50), 6)]
    scores = softmax(generator.normal(0, 2, (300, 2)), axis=1)
    fitted, seen = temperatures.fitted, list[int]()

    def noted(rows: np.ndarray, *given: Any) -> Any:
        places = [np.flatnonzero((scores == row).all(axis=1))[0] for row in rows]
        seen.append(len(set(owners[places])))
        assert len(rows) == 6 * seen[-1]  # whole sentences
        return fitted(rows, *given)

    monkeypatch.setattr(temperatures, "fitted", noted)
    found = temperatures.chosen(scores, truth, "softmax", biases=False, owners=owners)
    assert seen[:5] == [40] * 5 and found.rows == 50
    # Of fewer than twenty sentences nothing is fitted, whatever their words.
    few = owners < 19
    assert temperatures.chosen(scores[few], truth[few], "softmax", owners=owners[few]).rows == 19
    assert not temperatures.chosen(scores[few], truth[few], "softmax", owners=owners[few]).losses


def test_of_many_words_some_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    task = tt.tasks.TokenClassification(["A", "B"])
    labels = [["A"] * (1 + row % 3) for row in range(30)]
    scores = [np.full((len(row), 2), 0.5, "float32") for row in labels]
    assert len(task.confident_rows(scores, labels, 0)[0]) == 60
    monkeypatch.setattr(tagging_task, "_MOST_SCORES", 40)
    shares, truth, owners = task.confident_rows(scores, labels, 0)
    assert 17 <= len(shares) <= 20 and len(shares) == len(truth) == len(owners)
    assert all((owners == row).sum() in (0, len(labels[row])) for row in range(30))
    assert not np.array_equal(owners, task.confident_rows(scores, labels, 1)[2])


def test_without_classes_there_is_nothing_to_do(make_encoder: Callable[[str], Path]) -> None:
    task = tt.tasks.Regression(2.0, 1.0)
    model = tt.build_model(str(make_encoder("bert_still")), task, sequence_length=16)
    examples = tt.data.Examples.from_lists(TEXTS, [1.0, 2.0, 3.0, 4.0])
    assert tt.calibrate(model, examples) == {}
    with pytest.raises(tt.InputError, match="seed"):
        tt.calibrate(model, examples, seed=-1)


class Own(tt.tasks.Classification):
    """A task made of another, with a last layer of its own."""

    def outputs(self, features: Any, head: Any) -> Any:
        return keras.layers.Dense(3, "softmax", name="mine")(features)


class OwnOrder(tt.tasks.OrdinalRegression):
    """The same of ordered classes."""

    def outputs(self, features: Any, head: Any) -> Any:
        return keras.layers.Dense(3, "softmax", name="scores")(features)


@pytest.mark.parametrize("kind", [Own, OwnOrder])
def test_layers_of_ones_own_are_left_alone(
    kind: Any, make_encoder: Callable[[str], Path], tmp_path: Path
) -> None:
    """Of which nobody knows what they do."""
    encoder = str(make_encoder("bert_still"))
    model = tt.build_model(encoder, kind(["bad", "fine", "good"]), sequence_length=16)
    examples = tt.data.Examples.from_lists(TEXTS * 6, ["bad", "fine", "good"] * 8)
    before = model.predict_scores(examples)
    assert tt.calibrate(model, examples) == {} and model.task.calibration is None
    np.testing.assert_array_equal(model.predict_scores(examples), before)
    assert "before" not in tt.evaluate(model, examples, baselines=False).calibration


@pytest.mark.slow
@pytest.mark.parametrize("refit", [False, True])
def test_train_calibrates_unless_told_not_to(
    refit: bool, make_encoder: Callable[[str], Path], tmp_path: Path
) -> None:
    """Answers of the same classes; with `--refit` too, whose model has the judged one's scaling."""
    words = {"good": "lovely fine superb", "bad": "dull weak sad"}
    rows = [
        {"text": f"a {word} story number {i}", "label": label if i % 9 else "bad"}
        for i in range(40)
        for label, some in words.items()
        for word in some.split()
    ]
    data = tmp_path / "data.jsonl"
    data.write_text("\n".join(map(json.dumps, rows)), "utf-8")
    scores, records = {}, {}
    for how in ("auto", "off"):
        out = tmp_path / how
        encoder = str(make_encoder("text_encoder"))
        given = ["--data", str(data), "--output", str(out), "--encoder", encoder]
        more = ["--refit"] if refit else []
        assert (
            cli.main(["train", "--task", "classification", "--calibration", how, *given, *more])
            == 0
        )
        records[how] = json.loads((out / "training.json").read_text("utf-8"))["calibration"]
        model = tt.load_model(out / "model.keras")
        scores[how] = model.predict_scores(tt.data.Examples.from_lists([r["text"] for r in rows]))
    assert records["off"] is None and records["auto"]["kept"] != "none"
    found = Scaling(records["auto"]["temperature"], tuple(records["auto"]["bias"]))
    np.testing.assert_allclose(found.applied(scores["off"], "softmax"), scores["auto"], atol=1e-5)
    notes = json.loads((tmp_path / "auto/report/report.json").read_text("utf-8"))["notes"]
    assert any("scores are scaled as fits" in note for note in notes)
    assert f"calibration: {found}" in notes
