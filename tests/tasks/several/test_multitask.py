"""Several tasks on one encoder: joint training, answers, files."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from several_samples import pairs, sentiments, splits, write

import tfhub_transfer as tt
from tfhub_transfer import cli
from tfhub_transfer.tasks import Classification, Head, MultiTask, Regression, TokenClassification
from tfhub_transfer.tasks.layouts import balance


def make_task(**settings: Any) -> MultiTask:
    tasks = {
        "sentiment": Classification(),
        "praise": Regression(pair=True),
        "tags": TokenClassification(),
    }
    labels = {name: examples.labels for name, examples in splits(0).items()}
    return MultiTask(tasks, **settings).adapt(labels)


@pytest.fixture(scope="module")
def trained(bert_encoder: Path) -> Any:
    keras.utils.set_random_seed(0)
    model = tt.build_model(
        str(bert_encoder),
        make_task(),
        optimizer=keras.optimizers.Adam(5e-3),
    )
    plan = tt.Plan(verbose=0, head_epochs=4, head_learning_rate=0.03, patience=9)
    train = {**splits(0), "praise": pairs(120)}  # which is the hardest of them
    model.fine_history = tt.fine_tune(
        model, train, splits(1), epochs=8, unfreeze="all", batch_size=8, plan=plan
    )
    return model


@pytest.mark.slow
def test_all_tasks_learn_on_one_encoder(trained: Any) -> None:
    for name, examples in splits(2).items():
        report = tt.evaluate(trained.models[name], examples, baselines=False)
        score = report.metrics["spearman" if name == "praise" else "accuracy"]
        assert score > (0.2 if name == "praise" else 0.75), name
    curves = trained.fine_history.history
    watched = {"val_tags_accuracy", "val_sentiment_accuracy", "val_praise_loss"}
    assert {"loss", *watched} <= set(curves)


@pytest.mark.slow
def test_the_models_share_the_encoder_and_give_the_same_answers(trained: Any) -> None:
    encoders = {id(model.encoder) for model in trained.models.values()}
    assert encoders == {id(trained.encoder)}
    examples = splits(3, 12)
    batch = trained.preprocess(examples, batch_size=40, shuffle=False)
    [(inputs, labels, weights)] = list(batch)
    together = trained(inputs, training=False)
    scores = trained.predict_scores(examples)
    start = 0
    for name, own in examples.items():
        rows = slice(start, start + len(own))
        start += len(own)
        made = together[name].numpy()[rows]
        if name == "tags":
            for row, expected in zip(made, scores[name]):
                np.testing.assert_allclose(row[: len(expected)], expected, atol=1e-5)
            continue
        np.testing.assert_allclose(made.reshape(np.shape(scores[name])), scores[name], atol=1e-5)
        assert weights[name].numpy()[rows].all() and weights[name].numpy().sum() == len(own)
    assert (labels["tags"].numpy()[: len(examples["sentiment"])] == -1).all()


@pytest.mark.slow
def test_a_saved_model_answers_and_is_judged_alike(trained: Any, tmp_path: Path) -> None:
    trained.save(tmp_path / "model.keras")
    again: Any = tt.load_model(tmp_path / "model.keras")
    texts = {
        "sentiment": ["good film", "bad"],
        "praise": [("good", "good")],
        "tags": ["bad film"],
    }
    assert again.predict_text(texts) == trained.predict_text(texts)
    # What either would learn from is the same.
    rows = [next(iter(model.preprocess(splits(0, 4), 40))) for model in (trained, again)]
    losses = [
        float(model.compute_loss(x, y, model(x, training=False), weights))
        for model, (x, y, weights) in zip((trained, again), rows)
    ]
    assert losses[0] == losses[1]


@pytest.mark.slow
# In float32 every task is exported in `test_doors`.
@pytest.mark.parametrize("precision", ["bfloat16"])
def test_one_export_serves_all_tasks(trained: Any, tmp_path: Path, precision: str) -> None:
    served = tt.load_saved_model(tt.export_saved_model(trained, tmp_path, precision))
    texts = {
        "sentiment": ["good film", "bad"],
        "praise": [("good", "a"), ("bad", "good")],
        "tags": ["bad film", "good"],
    }
    expected = trained.predict_text(texts)
    found = {name: served.predict(each, signature=name) for name, each in texts.items()}
    assert [a["label"] for a in expected["sentiment"]] == [
        label.decode() for label in found["sentiment"]["label"]
    ]
    scores = [answer["score"] for answer in expected["praise"]]
    np.testing.assert_allclose(found["praise"]["score"], scores, atol=0.05)
    tags = [word["tag"] for word in expected["tags"][0]["words"]]
    assert [tag.decode() for tag in found["tags"]["tag"][0]] == tags
    vectors = trained.encode_text(["good film"])
    np.testing.assert_allclose(served.encode(["good film"]), vectors, atol=0.1)
    with pytest.raises(
        tt.InputError,
        match="answers encode, praise, sentiment, tags, tags_words; name one.*'other'",
    ):
        served.predict(["a"], signature="other")
    with pytest.raises(tt.InputError, match=r"expected a list of \(text_a, text_b\)"):
        served.predict(["a"], signature="praise")


@pytest.mark.slow
def test_one_report_shows_tasks_beside_what_they_reach_alone(trained: Any, tmp_path: Path) -> None:
    tests = splits(2)
    single = tt.evaluate(trained.models["sentiment"], tests["sentiment"])
    other = dataclasses.replace(single, metrics={**single.metrics, "accuracy": 0.1234})
    alone = {"sentiment": other}
    report = tt.evaluate(trained, tests, alone=alone)
    assert set(report.reports) == {"sentiment", "praise", "tags"}
    assert report.metrics["sentiment_accuracy"] == single.metrics["accuracy"]
    assert "usual_tag" in report.reports["tags"].baselines
    report.save(tmp_path / "report")
    written = json.loads((tmp_path / "report" / "report.json").read_text())
    assert written["task"] == "multi-task" and written["examples"]["test"] == 48 + 24 + 16
    assert written["alone"]["sentiment"] == alone["sentiment"].metrics
    assert (tmp_path / "report" / "tags" / "report.html").exists()
    page = (tmp_path / "report" / "report.html").read_text()
    assert "learned together" in page and 'href="praise/report.html"' in page
    [line] = [x for x in str(report).splitlines() if x.split()[:2] == ["sentiment", "accuracy"]]
    assert line.split()[2] == f"{single.metrics['accuracy']:.4f}" and line.split()[-1] == "0.1234"
    # The answers don't bear that number out, so nothing is said to be likely.
    assert "Too little is known to tell whether sharing helped" in report.sharing()["sentiment"]


def test_a_step_moves_only_what_has_thawed(bert_encoder: Path) -> None:
    model: Any = tt.build_model(str(bert_encoder), make_task(), optimizer="sgd")
    model.encoder.freeze_to(-1)
    before = {name: w.value.numpy() for name, w in model.encoder.named_weights().items()}
    top = {id(v) for _, vs in model.encoder.layer_groups[-1:] for v in vs}
    kernel = model.models["tags"].get_layer("scores").kernel
    head = kernel.numpy()
    model.fit(model.preprocess(splits(0), 8), epochs=1, verbose=0)
    for name, weight in model.encoder.named_weights().items():
        same = np.array_equal(before[name], weight.value.numpy())
        assert same or id(weight) in top, name
    now = model.encoder.named_weights()
    assert any(not np.array_equal(before[name], now[name].value.numpy()) for name in now)
    assert not np.array_equal(head, kernel.numpy())


def test_a_loss_without_weight_teaches_nothing(bert_encoder: Path) -> None:
    task = make_task(weights={"sentiment": 0.0, "praise": 1.0, "tags": 1.0})
    model: Any = tt.build_model(str(bert_encoder), task, Head(dropout=0.0), optimizer="sgd")
    model.encoder.trainable = False
    kernels = [model.models[name].get_layer("scores").kernel for name in ("sentiment", "tags")]
    before = [kernel.numpy() for kernel in kernels]
    model.fit(model.preprocess(splits(0), 8), epochs=1, verbose=0)
    assert np.array_equal(before[0], kernels[0].numpy())
    assert not np.array_equal(before[1], kernels[1].numpy())


def mean_losses(model: Any, batch: Any) -> dict[str, tuple[float, float]]:
    """Of each task the mean loss of its own rows, or words, in NumPy; and their share of rows."""
    inputs, labels, _ = batch
    made = {name: each.numpy() for name, each in model(inputs, training=False).items()}
    labels = {name: each.numpy() for name, each in labels.items()}
    found, start, total = {}, 0, len(next(iter(inputs.values())))
    counts = {"sentiment": 12, "praise": 6, "tags": 4}
    for name, count in counts.items():
        own = slice(start, start + count)
        start += count
        truth, answers = labels[name][own], made[name][own]
        if name == "praise":
            losses = ((truth - answers[:, 0]) / model.task.tasks[name].deviation) ** 2
        elif name == "sentiment":
            losses = -np.log(answers[np.arange(count), truth])
        else:
            places = [(r, w) for r, w in np.ndindex(*truth.shape) if truth[r, w] >= 0]
            losses = np.array([-np.log(answers[r, w, truth[r, w]]) for r, w in places])
        found[name] = float(np.mean(losses)), count / total
    assert start == total
    return found


def rows_of_all(model: Any) -> Any:
    """One batch: 12 rows of the first task, 6 of the second, 4 of the third."""
    [batch] = list(model.preprocess(splits(0, 12), 40, shuffle=False))
    return batch


@pytest.mark.parametrize("weights", [None, {"tags": 3.0, "praise": 0.5}])
def test_rows_of_all_tasks_weigh_alike(bert_encoder: Path, weights: Any) -> None:
    head = Head(dropout=0.0, hidden_units=4, l2=0.1)
    model: Any = tt.build_model(str(bert_encoder), make_task(weights=weights), head, "sgd")
    batch = rows_of_all(model)
    means = mean_losses(model, batch)
    expected = sum((weights or {}).get(n, 1.0) * m * share for n, (m, share) in means.items())
    squares = [float(np.sum(w.numpy() ** 2)) for w in kernels_of_heads(model)]
    expected += 0.1 * sum(squares)
    inputs, labels, of_rows = batch
    total = model.compute_loss(inputs, labels, model(inputs, training=False), of_rows)
    assert float(total) == pytest.approx(expected, rel=1e-5)
    # Keras reports each task's loss by itself, and computes it once.
    calls = []
    model.loss["tags"].call = counted(model.loss["tags"].call, calls)
    told = model.evaluate(*batch[:2], sample_weight=of_rows, return_dict=True, verbose=0)
    assert told["loss"] == pytest.approx(expected, rel=1e-5)
    for name, (mean, _) in means.items():
        assert told[f"{name}_loss"] == pytest.approx(mean, rel=1e-5), name
    assert 1 <= len(calls) <= 2  # Keras builds by shapes once, then traces once
    again = model.evaluate(*batch[:2], sample_weight=of_rows, return_dict=True, verbose=0)
    assert again["tags_loss"] == pytest.approx(means["tags"][0], rel=1e-5)


def counted(function: Any, calls: list[Any]) -> Any:
    def call(*args: Any) -> Any:
        calls.append(args)
        return function(*args)

    return call


def kernels_of_heads(model: Any) -> list[Any]:
    """What the L2 penalty is on."""
    layers = [each.get_layer(n) for each in model.models.values() for n in ("hidden", "scores")]
    return [layer.kernel for layer in layers]


@pytest.mark.slow
def test_uncertainties_are_learned_and_weigh_the_losses(bert_encoder: Path, tmp_path: Path) -> None:
    head = Head(dropout=0.0, hidden_units=4, l2=0.1)
    model: Any = tt.build_model(str(bert_encoder), make_task(weights="uncertainty"), head)
    model.compile("sgd", model.loss, **model.task.measures())
    batch = rows_of_all(model)
    inputs, labels, weights = batch
    layer = model.get_layer("uncertainty")
    layer.log_variance.assign([0.5, -1.0, 0.25])
    total = model.compute_loss(inputs, labels, model(inputs, training=False), weights)
    means = mean_losses(model, batch)
    expected = 0.1 * sum(float(np.sum(w.numpy() ** 2)) for w in kernels_of_heads(model))
    for name, s in zip(layer.names, [0.5, -1.0, 0.25]):
        mean, share = means[name]
        expected += np.exp(-s) * mean * share + s / 2
    assert float(total) == pytest.approx(expected, rel=1e-5)
    before = layer.log_variance.numpy()
    plan = tt.Plan(verbose=0, head_epochs=1)
    tt.fine_tune(model, splits(0), splits(1), epochs=2, unfreeze=1, batch_size=8, plan=plan)
    assert not np.array_equal(before, layer.log_variance.numpy())
    model.save(tmp_path / "model.keras")
    again: Any = tt.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(
        again.get_layer("uncertainty").log_variance, layer.log_variance.numpy()
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "weights"),
    [
        pytest.param("sentiment", None, marks=pytest.mark.exhaustive),
        pytest.param("praise", None, marks=pytest.mark.exhaustive),
        pytest.param("sentiment", "uncertainty", marks=pytest.mark.exhaustive),
        ("praise", "uncertainty"),
    ],
)
def test_one_task_may_be_several(text_encoder: Path, name: str, weights: Any) -> None:
    task = MultiTask({name: make_task().tasks[name]}, weights)
    model: Any = tt.build_model(str(text_encoder), task)
    train, validation = ({name: splits(seed, 12)[name]} for seed in (0, 1))
    plan = tt.Plan(verbose=0, head_epochs=1)
    history = tt.fine_tune(model, train, validation, epochs=1, unfreeze=1, plan=plan)
    assert history.history["loss"]
    assert set(model.predict_scores(validation)) == {name}


def test_losses_by_name_and_by_function(text_encoder: Path) -> None:
    tasks = {name: make_task().tasks[name] for name in ("sentiment", "praise")}
    losses = {
        "sentiment": "sparse_categorical_crossentropy",
        "praise": lambda truth, made: keras.ops.mean(keras.ops.abs(truth - made), axis=-1),
    }
    model: Any = tt.build_model(str(text_encoder), tasks, Head(dropout=0.0), loss=losses)
    examples = {name: splits(0, 12)[name] for name in tasks}
    [(inputs, labels, weights)] = list(model.preprocess(examples, 40, shuffle=False))
    told = model.evaluate(inputs, labels, sample_weight=weights, return_dict=True, verbose=0)
    scores = model.predict_scores(examples)
    far = np.abs(scores["praise"] - np.array(examples["praise"].labels)).mean()
    assert told["praise_loss"] == pytest.approx(far, rel=1e-5)


def test_small_tasks_come_more_often_with_a_lower_power(bert_encoder: Path) -> None:
    model: Any = tt.build_model(str(bert_encoder), make_task())
    rows = model.cut(splits(0, 48))  # 48, 24 and 16 rows
    assert [len(r) for r in balance(rows, 1.0, 0).values()] == [48, 24, 16]
    assert [len(r) for r in balance(rows, 0.0, 0).values()] == [48, 48, 48]
    half = balance(rows, 0.5, 0)
    shares = np.array([len(r) for r in half.values()]) / sum(map(len, half.values()))
    np.testing.assert_allclose(
        shares, np.sqrt([48, 24, 16]) / np.sqrt([48, 24, 16]).sum(), atol=0.01
    )
    assert all(set(rows[n].examples.texts[0]) == set(half[n].examples.texts[0]) for n in rows)


@pytest.mark.slow
@pytest.mark.parametrize("encoder", ("text_encoder", "albert_encoder"))
def test_other_encoders_learn_several_tasks(
    encoder: str, make_encoder: Any, tmp_path: Path
) -> None:
    names = ["sentiment", "praise"] + ["tags"] * (encoder != "text_encoder")
    tasks = {name: make_task().tasks[name] for name in names}
    model: Any = tt.build_model(str(make_encoder(encoder)), tasks)
    train, validation = ({n: splits(seed)[n] for n in names} for seed in (0, 1))
    plan = tt.Plan(verbose=0, head_epochs=1)
    tt.fine_tune(model, train, validation, epochs=1, unfreeze="all", plan=plan)
    model.save(tmp_path / "model.keras")
    again: Any = tt.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(
        again.predict_scores(validation)["praise"], model.predict_scores(validation)["praise"]
    )


def test_a_group_that_one_head_reads_can_thaw(bert_encoder: Path) -> None:
    tasks = {"sentiment": Classification(["a", "b"]), "tags": TokenClassification(["x", "y"])}
    both = tt.build_model(str(bert_encoder), tasks)
    assert "pooler" in dict(both.encoder.layer_groups)
    one = tt.build_model(str(bert_encoder), {"tags": tasks["tags"]})
    assert "pooler" not in dict(one.encoder.layer_groups)


def test_bad_input_is_named(bert_encoder: Path, text_encoder: Path) -> None:
    with pytest.raises(tt.InputError, match="expected at least one task"):
        tt.build_model("auto", {})
    with pytest.raises(tt.InputError, match="names of tasks become signatures.*'my task'"):
        MultiTask({"my task": Classification(["a", "b"])})
    with pytest.raises(tt.InputError, match="`weights` must be 'uncertainty' or a number"):
        MultiTask({"a": Classification(["a", "b"])}, weights={"b": 1.0})
    with pytest.raises(tt.InputError, match="`alpha` must be a number from 0 to 1"):
        MultiTask({"a": Classification(["a", "b"])}, alpha=2.0)
    with pytest.raises(
        tt.InputError, match="heads go by the names of several tasks, sentiment.*'other'"
    ):
        tt.build_model(str(bert_encoder), make_task(), {"other": Head()})
    with pytest.raises(tt.InputError, match="doesn't know its labels"):
        tt.build_model(str(bert_encoder), {"a": Classification()})
    with pytest.raises(tt.InputError, match="token vectors"):
        tt.build_model(str(text_encoder), make_task())
    model: Any = tt.build_model(str(bert_encoder), make_task())
    with pytest.raises(
        tt.InputError, match="expected examples by name of each task, as in .*sentiment"
    ):
        tt.fine_tune(model, sentiments(4), sentiments(4))
    missing = {"sentiment": sentiments(4)}
    with pytest.raises(tt.InputError, match="Received: sentiment$"):
        model.preprocess(missing)


@pytest.mark.slow
def test_the_commands_take_several_tasks(
    bert_encoder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kinds = {"sentiment": "classification", "praise": "regression", "tags": "token-classification"}
    tasks = {
        name: {"task": kinds[name], "data": write(tmp_path, f"{name}.jsonl", examples)}
        for name, examples in splits(0, 60).items()
    }
    (tmp_path / "tasks.json").write_text(json.dumps({"tasks": tasks, "alpha": 0.5}))
    words = ["train", "--task", "multi-task", "--data", str(tmp_path / "tasks.json")]
    more = ["--encoder", str(bert_encoder), "--epochs", "1", "--output", str(tmp_path / "out")]
    assert cli.main([*words, *more]) == 0
    assert "sentiment:" in capsys.readouterr().out
    report = json.loads((tmp_path / "out" / "report" / "report.json").read_text())
    assert {"sentiment_accuracy", "praise_spearman", "tags_accuracy"} <= set(report["metrics"])
    assert report["tasks"]["tags"]["examples"]["train"] == 16
    assert "usual_tag" in report["tasks"]["tags"]["baselines"]
    (tmp_path / "in.txt").write_text("good film\nbad\n")
    asked = ["predict", str(tmp_path / "out"), str(tmp_path / "in.txt")]
    assert cli.main([*asked, "--task", "sentiment"]) == 0
    answers = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [a["text"] for a in answers] == ["good film", "bad"] and "label" in answers[0]
    assert cli.main(asked) == 2
    assert "sentiment, praise, tags; name one with `--task`" in capsys.readouterr().err
    again = ["evaluate", str(tmp_path / "out"), "--data", str(tmp_path / "tasks.json")]
    assert cli.main([*again, "--output", str(tmp_path / "again")]) == 0
    assert (tmp_path / "again" / "praise" / "report.html").exists()
    assert tt.load_saved_model(tmp_path / "out" / "serving").predict(["bad"], signature="tags")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[1]", 'expected a JSON file {"tasks"'),
        ("{", 'expected a JSON file {"tasks"'),
        ('{"tasks": {}}', "expected at least one task"),
        ('{"tasks": {"a": {"task": "classification"}}}', "each task has `task` and `data`"),
        ('{"tasks": {"a": {"data": "a.csv", "texts": "b"}}}', "each task has `task` and `data`"),
        ('{"tasks": {"a": {"data": "a.csv"}, "a": {"data": "b.csv"}}}', "a more than once"),
        ('{"tasks": {"a": {"task": "multi-task", "data": "a.csv"}}}', "`--task` must be one of"),
        ('{"tasks": {"a": {"task": "regression", "data": "a.csv"}}}', "no such file"),
    ],
)
def test_a_bad_file_of_tasks_costs_nothing(
    content: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "tasks.json").write_text(content)
    words = ["train", "--task", "multi-task", "--data", str(tmp_path / "tasks.json")]
    assert cli.main([*words, "--output", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
    assert not (tmp_path / "out").exists()
