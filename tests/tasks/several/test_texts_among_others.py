"""A task that writes texts among several on one encoder."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import keras
import numpy as np
import pytest
from several_samples import sentiments

import tfhub_transfer as tt
from tfhub_transfer.errors import InputError
from tfhub_transfer.tasks import Classification, Dialogue, Head, MultiTask, Search, Translation
from tfhub_transfer.training import heads as heads_alone

WORDS = {"good": "guter", "film": "Film", "bad": "böser", "movie": "Streifen"}


def translations(number: int, seed: int = 0) -> tt.data.Examples:
    texts = sentiments(number, seed).texts[0]
    targets = [" ".join(map(WORDS.__getitem__, text.split())) for text in texts]
    return tt.data.Examples.from_lists(texts, targets)


def splits(number: int = 24, seed: int = 0) -> dict[str, tt.data.Examples]:
    return {
        "feeling": sentiments(number, seed),
        "german": translations(number // 2, seed + 10),
        "reply": translations(number // 3, seed + 20),
    }


def make_task(**settings: Any) -> MultiTask:
    how = Search(beams=2, max_length=12)
    tasks = {
        "feeling": Classification(),
        "german": Translation(decoder_width=16, label_smoothing=0.1, search=how),
        "reply": Dialogue(decoder_width=16, label_smoothing=0.0, search=how),
    }
    return MultiTask(tasks, **settings).adapt({n: each.labels for n, each in splits().items()})


def build(encoder: Path, **settings: Any) -> Any:
    keras.utils.set_random_seed(1)
    return tt.build_model(str(encoder), make_task(**settings), Head(dropout=0.0), "sgd")


@pytest.mark.slow
@pytest.mark.parametrize(
    "weights",
    [{"german": 3.0, "feeling": 0.5}, pytest.param(None, marks=pytest.mark.exhaustive)],
)
def test_the_loss_is_the_sum_of_each_tasks_own(bert_encoder: Path, weights: Any) -> None:
    model = build(bert_encoder, weights=weights)
    examples = splits()
    [(inputs, labels, of_rows)] = list(model.preprocess(examples, 99, shuffle=False))
    total = float(model.compute_loss(inputs, labels, model(inputs, training=False), of_rows))
    expected, rows = 0.0, sum(map(len, examples.values()))
    for name, own in examples.items():
        alone = model.models[name]
        [(x, y)] = list(alone.preprocess(own, 99, shuffle=False))
        mean = float(alone.task.loss()(y, alone(x, training=False)))
        expected += (weights or {}).get(name, 1.0) * mean * len(own) / rows
    assert total == pytest.approx(expected, rel=1e-5)
    told = model.evaluate(inputs, labels, sample_weight=of_rows, return_dict=True, verbose=0)
    assert told["loss"] == pytest.approx(expected, rel=1e-5)
    alone = model.models["german"]
    own = alone.evaluate(alone.preprocess(examples["german"], 99), return_dict=True, verbose=0)
    assert told["german_perplexity"] == pytest.approx(own["perplexity"], rel=1e-4)
    assert told["german_loss"] == pytest.approx(own["loss"], rel=1e-5)


def test_the_loss_of_a_piece_judges_beside_shares() -> None:
    logs = {"val_feeling_accuracy": 0.75, "val_german_perplexity": np.e, "val_reply_perplexity": 1}
    assert make_task().judge(logs) == pytest.approx((0.75 - 1.0 + 0.0) / 3)


def test_what_thawing_has_to_beat_is_judged_as_it_is() -> None:
    """The mean of the heads alone, of which each has its number, is that of all together."""
    task = make_task()
    numbers = {"feeling": 0.75, "german": 281.0, "reply": 3.0}
    training: Any = SimpleNamespace(model=SimpleNamespace(task=task))
    heads = []
    for name, value in numbers.items():
        heads.append(heads_alone.Head(name))
        heads[-1].restore({"value": value})
    logs = {f"val_{n}_{each.monitor[0][4:]}": numbers[n] for n, each in task.tasks.items()}
    risen = [head.risen(training) for head in heads]
    assert np.mean(risen) == pytest.approx(task.judge(logs))
    assert min(risen) > -6.0


def test_what_is_written_has_its_share_of_a_batch(bert_encoder: Path) -> None:
    model = build(bert_encoder)
    examples = splits(4)
    asked = examples["german"]
    long = [" ".join([label] * 3) for label in asked.labels]
    examples["german"] = tt.data.Examples.from_lists(asked.texts[0], long)
    ids = model.to_ids(examples)
    written = ids.labels[0]["german"].row_lengths().numpy()
    read = ids.columns["input_word_ids"].row_lengths().numpy()
    assert written[:4].sum() == 0 and (written[4:6] > read[4:6]).all()
    np.testing.assert_array_equal(ids.lengths[:6], [*read[:4], *written[4:6]])


@pytest.mark.slow
def test_they_learn_and_every_way_to_ask_agrees(bert_encoder: Path, tmp_path: Path) -> None:
    model = build(bert_encoder)
    plan = tt.Plan(verbose=0, head_epochs=1, patience=9)
    history = tt.fine_tune(
        model, splits(48), splits(8, 1), epochs=2, unfreeze="all", batch_size=8, plan=plan
    )
    curves = history.history
    watched = {"val_feeling_accuracy", "val_german_perplexity", "val_german_bleu", "val_reply_bleu"}
    assert watched <= set(curves)
    assert curves["val_german_perplexity"][-1] < curves["val_german_perplexity"][0]
    # The pooler is read by one of them, whatever the others answer in between.
    asked = {name: each.texts[0] for name, each in splits(8, 2).items()}
    expected = model.predict_text(asked)
    assert "pooler" not in model.encoder.unread
    model.save(tmp_path / "model.keras")
    assert tt.load_model(tmp_path / "model.keras").predict_text(asked) == expected
    served = tt.load_saved_model(tt.export_saved_model(model, tmp_path / "serving"))
    for name, texts in asked.items():
        found = served.predict(texts, signature=name)
        key = "label" if name == "feeling" else "text"
        assert [v.decode() for v in found[key]] == [answer[key] for answer in expected[name]]
    vectors = model.encode_text(asked["feeling"])
    np.testing.assert_allclose(served.encode(asked["feeling"]), vectors, atol=1e-3)
    report = tt.evaluate(model, splits(8, 3))
    assert {"german_bleu", "reply_distinct_1", "feeling_accuracy"} <= set(report.metrics)
    with pytest.raises(InputError, match="search for texts outside of the model.*translation"):
        tt.export_litert(model, tmp_path / "model.tflite")
    with pytest.raises(InputError, match="once; give another `precision`.*searches for texts"):
        tt.export_saved_model(model, tmp_path / "bytes", "int8")
