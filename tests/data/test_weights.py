"""Weights of rows: a row of weight 2 teaches what it does when it comes twice, one of 0 nothing."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import samples
import tensorflow as tf

import tfhub_transfer as tt
from tfhub_transfer.data import weighing
from tfhub_transfer.jobs import inputs
from tfhub_transfer.recipes import distillation
from tfhub_transfer.tasks import objective
from tfhub_transfer.tasks.objective import Objective

TEXTS = ["good film", "bad movie", "the worst film", "good acting"]
NAMES = ["a", "b", "a", "b"]
WEIGHTS = [2.0, 0.0, 1.0, 1.0]
# The rows as they are without weights.
TWICE = [0, 0, 2, 3]


# Reading them -----------------------------------------------------------------------------------

FORMS: dict[str, Callable[[], Any]] = {
    "numbers": lambda: {"text": TEXTS, "label": NAMES, "w": WEIGHTS},
    "written": lambda: {"text": TEXTS, "label": NAMES, "w": [" 2", "0.0", "1", "1e0"]},
    "numpy": lambda: {"text": TEXTS, "label": NAMES, "w": np.array(WEIGHTS, "float32")},
    "column": lambda: {"text": TEXTS, "label": NAMES, "w": np.array(WEIGHTS)[:, None]},
    "rows": lambda: [{"text": t, "label": n, "w": w} for t, n, w in zip(TEXTS, NAMES, WEIGHTS)],
}


@pytest.mark.parametrize("form", FORMS)
def test_a_column_of_weights_is_read(form: str) -> None:
    read = tt.data.read(FORMS[form](), weight="w")
    assert read.weights == WEIGHTS
    assert [*tt.data.stream(FORMS[form](), weight="w", chunk_rows=3)][1].weights == [1.0]
    assert tt.data.read(FORMS[form]()).weights is None


def test_the_third_of_tf_data_is_a_weight() -> None:
    made = tf.data.Dataset.from_tensor_slices((TEXTS, NAMES, WEIGHTS))
    for each in (made, made.batch(3)):
        read = tt.data.read(each)
        assert (read.texts[0], read.labels, read.weights) == (TEXTS, NAMES, WEIGHTS)


def test_weights_go_with_their_rows() -> None:
    examples = tt.data.Examples.from_lists(
        [f"text {i}" for i in range(40)], ["a", "b"] * 20, weight=list(range(40))
    )
    assert examples[[3, 1]].weights == [3.0, 1.0]
    for part in tt.data.split(examples, seed=3):
        assert [f"text {weight:.0f}" for weight in part.weights or []] == part.texts[0]
    assert "weights: numbers from 0 to 39, median 19.5; 1 row of 0" in tt.data.profile(examples)
    assert weighing.taught(examples).texts[0] == examples.texts[0][1:]
    assert weighing.without(examples).weights is None


def test_each_of_several_tasks_may_have_weights(tmp_path: Path) -> None:
    rows = [{"text": f"text {i}", "label": "ab"[i % 2], "w": i} for i in range(40)]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    own = {"task": "classification", "data": "a.jsonl"}
    tasks = tmp_path / "tasks.json"
    tasks.write_text(json.dumps({"tasks": {"one": {**own, "weight": "w"}, "two": own}}), "utf-8")
    job = inputs.TrainJob("multi-task", str(tasks), tmp_path / "out")
    train = inputs.read_splits(job)[0].train
    assert [f"text {weight:.0f}" for weight in train["one"].weights] == train["one"].texts[0]
    assert train["two"].weights is None
    assert "weight" not in str(inputs.columns_of(job))  # what is measured needs none
    with pytest.raises(tt.InputError, match="said in the JSON file.*Received: --weight"):
        inputs.read_splits(dataclasses.replace(job, weight="w"))


@pytest.mark.parametrize(
    "odd", ["", None, float("nan"), float("inf"), -1, "x", True, [1, 2], "1,5", 1e39]
)
def test_what_is_no_weight_is_named(odd: Any) -> None:
    message = "row 2: column 'w' must hold a weight: a number from 0 on.*Received"
    table = {"text": TEXTS[:2], "label": NAMES[:2], "w": [1.0, odd]}
    with pytest.raises(tt.InputError, match=message):
        tt.data.read([dict(zip(table, row)) for row in zip(*table.values())], weight="w")
    with pytest.raises(tt.InputError, match="row 2 of weight must hold a weight"):
        tt.data.Examples.from_lists(TEXTS[:2], NAMES[:2], weight=[1.0, odd])


def test_weights_must_be_there_and_one_a_row() -> None:
    with pytest.raises(tt.InputError, match="one row must have a weight above 0.*all 0"):
        tt.data.Examples.from_lists(TEXTS, NAMES, weight=[0.0] * 4)
    with pytest.raises(tt.InputError, match=r"one length. Received: .*'weight': 2"):
        tt.data.Examples.from_lists(TEXTS, NAMES, weight=[1.0, 2.0])
    with pytest.raises(tt.InputError, match="no column 'weigth' for the weight; did you mean 'w"):
        tt.data.read({"text": TEXTS, "label": NAMES, "weight": WEIGHTS}, weight="weigth")
    stream = tt.data.stream({"text": TEXTS, "label": NAMES, "w": [0] * 4}, weight="w")
    with pytest.raises(tt.InputError, match="at least one row must have a weight above 0"):
        len(stream)


# What they do -----------------------------------------------------------------------------------


def build(folder: Path, task: Any, head: Any = None, **settings: Any) -> Any:
    keras.utils.set_random_seed(0)
    optimizer = keras.optimizers.SGD(0.1, **settings)
    head = head or tt.Head(dropout=0.0)
    return tt.build_model(str(folder), task, head, optimizer, sequence_length=24)


def steps(model: Any, *batches: tf.data.Dataset) -> list[list[np.ndarray]]:
    """All weights after training on each of these, every time from the same ones."""
    before, found = model.get_weights(), []
    model.encoder.freeze_to(0)
    for each in batches:
        model.set_weights(before)
        model.fit(each, epochs=1, verbose=0)
        found.append([weight.astype("float64") for weight in model.get_weights()])
        moved = [np.abs(a - b).max() for a, b in zip(found[-1], before)]
        assert max(moved) > 1e-4
    return found


def check_alike(one: list[np.ndarray], other: list[np.ndarray], within: float = 2e-6) -> None:
    for a, b in zip(one, other, strict=True):
        np.testing.assert_allclose(a, b, atol=within)


def weighed(examples: Any, weights: Any = WEIGHTS) -> Any:
    columns = {**examples.columns, "weight": weights}
    return dataclasses.replace(examples, columns=columns, weight="weight")


USUAL = ("token-classification",)
LONG = [pytest.mark.slow, pytest.mark.exhaustive]


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[] if name in USUAL else LONG[: 1 + (" " in name)])
        for name in samples.ROWS
        if name != "multi-task"
    ],
)
def test_a_row_of_weight_2_is_that_row_twice(name: str, bert_still: Path) -> None:
    sample = samples.ROWS[name]
    few = sample.examples[:4]
    if name == "token-classification":  # its mean is over words: rows of several lengths
        words = [text.split() for text in TEXTS]
        tags = [["B-a" if word == "good" else "O" for word in row] for row in words]
        few = tt.data.Examples.from_lists(words, tags)
    model = build(bert_still, sample.task(), sample.head)
    check_alike(
        *steps(
            model,
            model.preprocess(weighed(few), 128, shuffle=False),
            model.preprocess(few[TWICE], 128, shuffle=False),
        )
    )


def test_what_is_cut_into_rows_weighs_alike_in_each(bert_still: Path) -> None:
    words = [["good"] * 50, ["bad", "film"]]
    examples = tt.data.Examples.from_lists(words, [["B-a"] * 50, ["O", "O"]], weight=[2, 1])
    model = build(bert_still, tt.tasks.TokenClassification(["B-a", "O"]))
    rows = model.cut(examples)
    assert len(rows) > 2
    assert rows.examples.weights == [2.0] * (len(rows) - 1) + [1.0]


def test_rows_of_no_weight_are_no_negatives(bert_still: Path) -> None:
    """Shuffled for training they are left out; a loss over a batch would see them."""
    pairs = tt.data.Examples.from_lists(TEXTS, None, TEXTS[::-1], weight=[1, 0, 3, 1])
    model = build(bert_still, tt.tasks.Similarity("in_batch_negatives"))
    [(inputs, _, weights)] = model.preprocess(pairs, 8)
    assert len(inputs["input_word_ids"]) == 3
    np.testing.assert_allclose(sorted(weights.numpy()), [0.6, 0.6, 1.8], rtol=1e-6)


@pytest.mark.slow
def test_several_tasks_weigh_their_rows(bert_still: Path) -> None:
    """Relative to each other, so that a task has the share of its rows."""
    tasks = {
        "kind": tt.tasks.Classification(["a", "b"]),
        "tags": tt.tasks.TokenClassification(["A", "B"]),
    }
    words = [text.split() for text in TEXTS]
    tags = [["A" if word == "good" else "B" for word in row] for row in words]
    plain = {
        "kind": tt.data.Examples.from_lists(TEXTS, NAMES),
        "tags": tt.data.Examples.from_lists(words, tags),
    }
    model = build(bert_still, tasks)
    given = {"kind": weighed(plain["kind"], [20.0, 0.0, 10.0, 10.0]), "tags": plain["tags"]}
    twice = {"kind": plain["kind"][TWICE], "tags": plain["tags"]}
    batches = [model.preprocess(each, 128, shuffle=False) for each in (given, twice)]
    check_alike(*steps(model, *batches))


def test_a_stream_weighs_as_the_table_in_memory(text_encoder: Path) -> None:
    table = {"text": TEXTS, "label": NAMES, "w": WEIGHTS}
    model = build(text_encoder, tt.tasks.Classification(["a", "b"]))
    batches = [
        model.preprocess(tt.data.read(table, weight="w"), 128, shuffle=False),
        model.preprocess(tt.data.stream(table, weight="w", chunk_rows=3), 128, shuffle=False),
    ]
    check_alike(*steps(model, *batches))


@pytest.mark.slow
def test_accumulated_batches_weigh_as_one(text_encoder: Path) -> None:
    examples, found = tt.data.Examples.from_lists(TEXTS, NAMES, weight=WEIGHTS), []
    for size, settings in ((4, {}), (2, {"gradient_accumulation_steps": 2})):
        model = build(text_encoder, tt.tasks.Classification(["a", "b"]), **settings)
        found += steps(model, model.preprocess(examples, size, shuffle=False))
    check_alike(*found)


def test_weights_of_classes_multiply_them(text_encoder: Path) -> None:
    model = build(text_encoder, tt.tasks.Classification(["a", "b"]))
    plain, by_class = tt.data.Examples.from_lists(TEXTS, NAMES), {0: 0.5, 1: 3.0}
    rows = [weight * by_class["ab".index(name)] for weight, name in zip(WEIGHTS, NAMES)]
    wanted = model.preprocess(plain, 8, shuffle=False).map(lambda x, y: (x, y, rows))
    [given] = steps(model, wanted)
    again = build(text_encoder, tt.tasks.Classification(["a", "b"]))
    again.encoder.freeze_to(0)
    batches = again.preprocess(weighed(plain), 8, shuffle=False)
    again.fit(batches, class_weight=by_class, verbose=0)
    check_alike(given, again.get_weights())


@pytest.fixture
def stages(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What the stages of `fine_tune` are given, one after the other."""
    found: list[Any] = []
    usual = objective.weighed

    def note(*given: Any) -> Any:
        found.append(usual(*given))
        return found[-1]

    monkeypatch.setattr(objective, "weighed", note)
    return found


@pytest.mark.parametrize(
    ("kind", "pooling", "groups"),
    [
        ("text_encoder", "auto", 1),
        pytest.param("bert_encoder", "attention", 1, marks=pytest.mark.slow),
    ],
)
def test_every_stage_gets_the_weights(
    kind: str, pooling: str, groups: int, make_encoder: Any, sentiment: Any, stages: Any
) -> None:
    """Above the boundary, on stored vectors and through the encoder; validation has none."""
    weights = [0.0, *range(1, 40)]
    examples = tt.data.Examples.from_lists(*sentiment, weight=weights)
    train, validation = examples[:28], examples[28:]
    task = tt.tasks.Classification(["negative", "positive"])
    model = build(make_encoder(kind), task, tt.Head(pooling=pooling, dropout=0.0))
    by_class = {0: 1.0, 1: 2.0}
    plan = tt.Plan(head_epochs=1, class_weight=by_class, verbose=0)
    history = tt.fine_tune(model, train, validation, epochs=1, unfreeze=groups, plan=plan)
    names = sentiment[1][1:28]
    wanted = [
        w * by_class[task.class_names.index(n)]
        for w, n in zip(weighing.relative(range(1, 28)), names)
    ]
    assert len(stages) == 2
    for given in stages:
        assert given["class_weight"] is None
        found = np.concatenate([batch[2].numpy().ravel() for batch in given["x"]])
        np.testing.assert_allclose(np.sort(found), np.sort(wanted), rtol=1e-6)
    assert len(model.training_examples) == 27
    # What it is judged by counts all rows alike.
    alike = model.evaluate(
        model.preprocess(weighing.without(validation), shuffle=False), verbose=0, return_dict=True
    )
    within = 1e-5 if kind == "text_encoder" else 1e-3  # stored tokens are in bfloat16
    assert np.isclose(alike["loss"], history.history["val_loss"], rtol=within).any()


def test_a_student_learns_by_weights_of_labels(
    text_encoder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What has no label weighs as much as a labelled row does in the mean."""
    found: list[Any] = []
    monkeypatch.setattr(distillation, "fine_tune", lambda *given, **_: found.append(given))
    teacher, student = (build(text_encoder, tt.tasks.Classification(["a", "b"])) for _ in range(2))
    labelled = tt.data.Examples.from_lists(TEXTS, NAMES, weight=[4, 2, 1, 1])
    distillation.distill(teacher, student, labelled, labelled, ["more"])
    assert found[0][1].weights == [2.0, 1.0, 0.5, 0.5, 1.0]


@pytest.mark.slow
def test_the_command_takes_a_column_of_weights(
    text_encoder: Path, sentiment: Any, run: Any, tmp_path: Path
) -> None:
    rows = [{"text": t, "label": n, "w": i % 3} for i, (t, n) in enumerate(zip(*sentiment))]
    data = tmp_path / "data.jsonl"
    data.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    words = ["train", "--task", "classification", "--data", data, "--encoder", text_encoder]
    status, out, err = run(*words, "--weight", "w", "--quick", "--output", tmp_path / "out")
    assert status == 0, err
    assert "weights: numbers from 0 to 2" in out
    status, _, err = run(*words, "--weight", "v", "--output", tmp_path / "other")
    assert (status, "no column 'v' for the weight" in err) == (2, True)
    # Evaluation asks for no weights.
    bare = tmp_path / "bare.jsonl"
    kept = [json.dumps({"text": row["text"], "label": row["label"]}) for row in rows]
    bare.write_text("\n".join(kept), encoding="utf-8")
    status, _, err = run(
        "evaluate", tmp_path / "out", "--data", bare, "--output", tmp_path / "report"
    )
    assert status == 0, err


def test_weights_of_tagged_rows_are_1_in_the_mean_of_words() -> None:
    """Not of rows: the loss is a mean over words."""
    words = [["good"], ["a", "bad", "film"], ["so", "so"]]
    tags = [["O"] * len(row) for row in words]
    examples = tt.data.Examples.from_lists(words, tags, weight=[1.0, 5.0, 2.0])
    task = tt.tasks.TokenClassification(["O", "B-a", "I-a"])
    _, weights = Objective(task).targets(examples)
    # (1 x 1 + 3 x 5 + 2 x 2) / 6 words
    np.testing.assert_allclose(weights[:, 0], np.array([1.0, 5.0, 2.0]) * 6 / 20, rtol=1e-6)
