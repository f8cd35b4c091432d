"""While a model trains it is judged by what `evaluate` says of the same examples."""

import dataclasses
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import samples

import tfhub_transfer as tt
from tfhub_transfer.tasks import Classification, MultiTask
from tfhub_transfer.training import headlines, judging

# What a report calls the number.
METRICS = {
    "token-classification": "f1",
    "question-answering": "f1",
    "extractive-summarization": "rouge1",
}
ANSWERS = [{"text": "film", "answer_start": 5}]


def examples_of(name: str) -> tt.data.Examples:
    """Examples with several answers, some of them long, and some without."""
    if name == "token-classification":
        words = [["good", "film"], ["bad", "movie", "the"], ["good", "good", "acting"]] * 8
        tags = [["B-a", "I-a"], ["O", "B-b", "O"], ["B-a", "B-a", "O"]] * 8
        words.append(["good", "film", "bad"] * 120)  # more than one row
        return tt.data.Examples.from_lists(words, [*tags, ["B-a", "I-a", "O"] * 120])
    if name == "question-answering":
        contexts = ["good film", "the movie story bad", "good film acting " * 30] * 8
        labels = [ANSWERS, [], ANSWERS] * 8
        return tt.data.Examples.from_lists(["what is it?"] * len(contexts), labels, contexts)
    texts = ["Good film. Bad movie. The story.", "Bad movie story. Good acting. The film."] * 12
    texts.append("Good film acting. Bad movie. " * 40)
    summaries = [["Good film.", "zebra"], "Good acting film."] * 12
    return tt.data.Examples.from_lists(texts, [*summaries, "Bad movie."])


def build(name: str, encoder: Path) -> tt.TransferModel:
    keras.utils.set_random_seed(1)
    task = samples.ROWS[name].make().adapt(examples_of(name).labels)
    optimizer = keras.optimizers.Adam(5e-3)
    return tt.build_model(str(encoder), task, optimizer=optimizer, sequence_length=24)


@pytest.fixture(scope="module", params=METRICS)
def some(request: pytest.FixtureRequest, bert_encoder: Path) -> Any:
    """A model that is right here and wrong there, by chance, and examples."""
    model = build(request.param, bert_encoder)
    [last] = [layer for layer in model._flatten_layers() if layer.name.startswith("scores")]
    generator = np.random.default_rng(0 if request.param == "token-classification" else 3)
    last.kernel.assign(generator.normal(size=last.kernel.shape) * 3.0)
    return model, examples_of(request.param)


def test_a_headline_is_what_a_report_says(some: Any) -> None:
    model, examples = some
    [headline] = headlines.find(model, examples, model.cut(examples), 0).values()
    assert judging.monitor(model) == judging.head_monitor(model) == (headline.name, "max")
    value = headline.value()
    if model.task.name == "question-answering":  # whose threshold is chosen last of all
        model.task.tune(examples, lambda: model.predict_text(list(zip(*examples.texts))))
    expected = tt.evaluate(model, examples, baselines=False).metrics[METRICS[model.task.name]]
    assert 0.0 < expected < 1.0
    assert value == headline.value() == pytest.approx(expected, abs=1e-12)


def test_of_stored_vectors_it_is_the_same(some: Any) -> None:
    model, examples = some
    rows = model.cut(examples)
    found = headlines.find(model, examples, rows, 0)
    model.encoder.freeze_to(-1)
    boundary = model.boundary()
    ask = boundary.store(model.to_ids(rows)).answering(model.model_above(boundary))
    numbers = np.arange(len(rows))
    for near, exact in zip(ask(numbers), model._run("answer", rows.examples), strict=True):
        np.testing.assert_allclose(near, exact, 0.02, 0.1)  # stored in bfloat16
    [(name, value)] = headlines.Judge(found, ask).values().items()
    assert value == pytest.approx(found[""].value(), abs=0.05)
    assert name == found[""].name


def test_of_many_examples_some_are_drawn(some: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    model, examples = some
    monkeypatch.setattr(headlines, "MOST_EXAMPLES", 7)
    [headline] = headlines.find(model, examples, model.cut(examples), 3).values()
    assert (len(headline.examples), headline.of) == (7, len(examples))
    if model.task.name == "question-answering":
        tuned = headline.examples
        model.task.tune(tuned, lambda: model.predict_text(list(zip(*tuned.texts))))
    expected = tt.evaluate(model, headline.examples, baselines=False).metrics
    assert headline.value() == pytest.approx(expected[METRICS[model.task.name]], abs=1e-12)
    assert judging.described(model, {"": headline})["examples"] == [7, len(examples)]


def test_each_of_several_tasks_has_its_own(bert_encoder: Path) -> None:
    names = {"ask": "question-answering", "tag": "token-classification"}
    examples: dict[str, Any] = {task: examples_of(name)[:9] for task, name in names.items()}
    examples["kind"] = tt.data.Examples.from_lists(["good", "bad"] * 4, ["a", "b"] * 4)
    tasks = {task: samples.ROWS[name].make() for task, name in names.items()}
    task = MultiTask({"kind": Classification(), **tasks})
    task.adapt({name: each.labels for name, each in examples.items()})
    model = tt.build_model(str(bert_encoder), task, sequence_length=24)
    rows = model.cut(examples)
    found = headlines.find(model, examples, rows, 0)
    values = headlines.Judge(found, sizes=dict.fromkeys(found, 0)).values()
    assert set(values) == {"val_ask_f1", "val_tag_entity_f1"}
    model.encoder.freeze_to(-1)
    boundary = model.boundary()
    ask = boundary.store(model.to_ids(rows)).answering(model.model_above(boundary))
    sizes = {name: len(rows[name]) for name in model.models}
    for name, single in model.models.items():
        if name == "kind":
            continue
        scores = single._run("answer", rows[name].examples)
        first = [*sizes].index(name) and sum([*sizes.values()][: [*sizes].index(name)])
        stored = [row[name] for row in ask(np.arange(len(scores)) + first)]
        for near, exact in zip(stored, scores, strict=True):
            np.testing.assert_allclose(near, exact, 0.02, 0.1)
    above = headlines.Judge(found, ask, sizes).values()
    assert above == pytest.approx(values, abs=0.05)
    logs = {**above, "val_kind_accuracy": 0.5}
    assert task.judge(logs) == pytest.approx((sum(above.values()) + 0.5) / 3)


def test_stages_are_judged_by_it_and_say_so(
    bert_encoder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    examples = examples_of("token-classification")
    model = build("token-classification", bert_encoder)
    plan = tt.Plan(head_epochs=2, head_learning_rate=0.02, verbose=2)
    history = tt.fine_tune(model, examples, examples, epochs=2, unfreeze=1, plan=plan)
    curve = history.history["val_entity_f1"]
    assert len(curve) == 2 + 2
    head, top = history.outcomes
    assert head.metric == top.metric == "val_entity_f1"
    assert head.value == max(curve[:2]) == curve[head.epoch - 1]
    assert top.value == max(curve)
    measured = tt.evaluate(model, examples, baselines=False).metrics["f1"]
    assert measured == pytest.approx(top.value, abs=0.03)  # the layers below are stored in bfloat16
    said = capsys.readouterr().out
    assert "val_entity_f1" in said and "up to 2 epochs" in said
    assert history.plan["judged_by"] == {"metric": "val_entity_f1", "examples": [25, 25]}
    assert history.plan["head"]["chosen_by"] == {"epochs": "user", "learning_rate": "user"}


@pytest.mark.slow
@pytest.mark.parametrize("name", METRICS)
@pytest.mark.parametrize("unfreeze", ["none", "all"])
def test_what_is_kept_is_what_a_report_says(name: str, unfreeze: str, bert_encoder: Path) -> None:
    examples = examples_of(name)
    model = build(name, bert_encoder)
    plan = tt.Plan(head_epochs=2, head_learning_rate=0.02, boundary=False, verbose=0)
    history = tt.fine_tune(model, examples, examples, epochs=2, unfreeze=unfreeze, plan=plan)
    expected = tt.evaluate(model, examples, baselines=False).metrics[METRICS[name]]
    assert history.outcomes[-1].value == pytest.approx(expected, abs=1e-9)


def test_plain_tags_are_judged_word_by_word() -> None:
    task = dataclasses.replace(samples.ROWS["token-classification"]).make()
    assert task.adapt([["NOUN", "VERB"]]).monitor == ("val_accuracy", "max")
    assert not headlines.of_task(task)
