"""Texts that pass one encoder on their own: towers and similarity, from data to exports."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import sklearn.metrics as sk

import tfhub_transfer as tt
from tfhub_transfer import cli
from tfhub_transfer.callbacks.best_weights import KeepBest
from tfhub_transfer.tasks import Classification, Head, MultiLabel, Regression, Similarity
from tfhub_transfer.tasks.similarity import measures as similarity_evaluation
from tfhub_transfer.tasks.similarity.task import best_threshold
from tfhub_transfer.tasks.towers import Towers

GOOD, BAD = ("good film", "great movie", "good acting"), ("bad story", "the worst movie", "bad")


def pairs(number: int, seed: int = 0) -> tt.data.Examples:
    """Pairs of good and bad texts; 1 where both are of one kind."""
    generator = np.random.default_rng(seed)
    kinds = generator.integers(0, 2, (number, 2))
    texts = [[str(generator.choice((GOOD, BAD)[kind])) for kind in row] for row in kinds]
    first, second = zip(*texts)
    return tt.data.Examples.from_lists(first, [int(a == b) for a, b in kinds], second)


def graded(number: int, seed: int = 0) -> tt.data.Examples:
    """The same with scores of 1 to 5."""
    examples = pairs(number, seed)
    scores = [1.0 + 4.0 * label for label in examples.labels]
    return tt.data.Examples.from_lists(examples.texts[0], scores, examples.texts[1])


def build(encoder: Path, task: Any, head: Head | None = None, **options: Any) -> tt.TransferModel:
    keras.utils.set_random_seed(0)
    chosen = {"optimizer": keras.optimizers.Adam(1e-2), "sequence_length": 24}
    return tt.build_model(str(encoder), task, head, **{**chosen, **options})


def fit(model: tt.TransferModel, train: Any, validation: Any, epochs: int = 4) -> Any:
    plan = tt.Plan(verbose=0, unfreezing_epochs=0.01)
    size = {"epochs": epochs, "unfreeze": "all", "batch_size": 8}
    return tt.fine_tune(model, train, validation, plan=plan, **size)


@pytest.fixture(scope="module")
def trained(bert_encoder: Path, train_whole: Any) -> tt.TransferModel:
    train = graded(120)
    model = build(bert_encoder, Similarity().adapt(train.labels), Head(pooling="mean"))
    return train_whole(model, train, epochs=4)


# Texts apart inside of the model ---------------------------------------------------------------


@pytest.mark.parametrize("kind", ["bert_encoder", "list_style_encoder", "text_encoder"])
def test_an_encoder_reads_several_texts_of_an_example(kind: str, make_encoder: Any) -> None:
    model = build(make_encoder(kind), Similarity("contrastive"))
    texts = [["good film", "bad"], ["the worst movie", "a good story"], ["", "film"]]
    together = model.encoder(_of_inputs(model, model.layout.batch(*map(list, zip(*texts)))))
    for column in range(2):
        alone = model.encoder(_of_inputs(model, model.preprocessor([row[column] for row in texts])))
        name = "pooled_output" if "pooled_output" in together else "default"
        np.testing.assert_allclose(together[name][:, column], alone[name], atol=1e-5)


def _of_inputs(model: tt.TransferModel, inputs: dict[str, Any]) -> Any:
    return inputs if model.encoder.dialect == "bert" else inputs["code_points"]


@pytest.mark.parametrize("head", [Head(), Head(pooling="mean"), Head(pooling="first")])
@pytest.mark.parametrize("kind", ["bert_encoder", "text_encoder"])
def test_answers_are_products_of_the_vectors(kind: str, head: Head, make_encoder: Any) -> None:
    if kind == "text_encoder" and head.needs_tokens:
        pytest.skip("it has no tokens to pool")
    model = build(make_encoder(kind), Similarity(low=1, high=5), head)
    rows = graded(20)
    u, v = (model.encode_text(texts) for texts in rows.texts)
    np.testing.assert_allclose(np.linalg.norm(u, axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(model.predict_scores(rows), 1 + 4 * (u * v).sum(1), atol=1e-4)


@pytest.mark.parametrize("head", [Head(towers=True), Head(towers=True, pooling="mean")])
@pytest.mark.parametrize(
    "task",
    [
        pytest.param(Classification, marks=pytest.mark.slow),
        pytest.param(MultiLabel, marks=pytest.mark.slow),
        pytest.param(Regression, marks=pytest.mark.slow),
    ],
)
def test_a_head_compares_what_two_towers_give(bert_encoder: Path, head: Head, task: Any) -> None:
    rows = pairs(12)
    model = build(bert_encoder, task(pair=True).adapt(rows.labels), head)
    u, v = (model.encode_text(texts) for texts in rows.texts)
    expected = np.concatenate([u, v, abs(u - v), u * v], axis=1)
    np.testing.assert_allclose(model.compute_features(rows), expected, atol=1e-5)
    made = model.head_model().predict(expected, verbose=0)
    scores = model.predict_scores(rows)
    np.testing.assert_allclose(scores, made.reshape(scores.shape), atol=1e-5)
    packed = build(bert_encoder, task(pair=True).adapt(rows.labels), Head(pooling=head.pooling))
    assert packed.compute_features(rows).shape == (12, u.shape[1])


PRECISIONS = ["float32", pytest.param("bfloat16", marks=pytest.mark.slow)]


@pytest.mark.exhaustive
@pytest.mark.slow
def test_towers_learn_what_a_pair_has_in_common(bert_encoder: Path, tmp_path: Path) -> None:
    train, test = pairs(240), pairs(60, 2)
    task = Classification(pair=True).adapt(train.labels)
    model = build(bert_encoder, task, Head(towers=True, pooling="mean"))
    fit(model, train, pairs(40, 1))
    report = tt.evaluate(model, test, baselines=False)
    assert report.metrics["accuracy"] > 0.9
    model.save(tmp_path / "model.keras")
    again = tt.load_model(tmp_path / "model.keras")
    assert isinstance(again.layout, Towers)
    np.testing.assert_array_equal(again.predict_scores(test), model.predict_scores(test))
    asked = list(zip(*test.texts))
    # Exports in float32 are in `test_doors`.
    loaded, tolerance = (
        tt.load_saved_model(tt.export_saved_model(model, tmp_path, "bfloat16")),
        0.05,
    )
    served = loaded.predict(asked, batch_size=8)
    np.testing.assert_allclose(served["scores"], model.predict_scores(test), atol=tolerance)
    vectors = model.encode_text(test.texts[0][:5])
    far = np.abs(loaded.encode(test.texts[0][:5]) - vectors).max()
    assert far < 10 * tolerance * np.abs(vectors).max()


@pytest.mark.slow
@pytest.mark.parametrize("unfreeze", [0, 1])
def test_the_part_above_the_boundary_answers_as_the_whole(
    bert_encoder: Path, unfreeze: int
) -> None:
    rows = graded(24)
    model = build(bert_encoder, Similarity().adapt(rows.labels))
    model.encoder.freeze_to(-unfreeze - 1)
    boundary = model.boundary()
    assert boundary is not None
    above = model.model_above(boundary)
    numbered = dataclasses.replace(model.to_ids(rows), labels=np.arange(24, dtype="float32"))
    stored = boundary.store(numbered)
    assert stored is not None
    batches, _ = stored.batches(batch_size=5)
    found = np.empty((24, 2, 16), "float32")
    for inputs, numbers in batches:
        found[numbers.numpy().astype(int)] = above(inputs, training=False)
    expected = np.stack([model.encode_text(texts) for texts in rows.texts], axis=1)
    np.testing.assert_allclose(found, expected, atol=2e-2)  # stored in bfloat16


def test_packed_pairs_and_towers_have_stores_of_their_own(bert_encoder: Path) -> None:
    rows, found = pairs(10), []
    for head in (Head(towers=True), Head()):
        model = build(bert_encoder, Classification(["0", "1"], pair=True), head)
        model.encoder.freeze_to(-2)
        stored = model.boundary().store(model.to_ids(rows))
        [inputs, _] = next(iter(stored.batches(10)[0]))
        found.append(inputs[model.boundary().input_name].shape)
    assert [len(shape) for shape in found] == [4, 3]


def test_batches_keep_a_row_for_each_label(bert_encoder: Path) -> None:
    rows = graded(21)
    model = build(bert_encoder, Similarity().adapt(rows.labels))
    sizes = []
    for inputs, labels in model.preprocess(rows, 4):
        shapes = {tuple(value.shape) for value in inputs.values()}
        assert len(shapes) == 1 and {shape[:2] for shape in shapes} == {(len(labels), 2)}
        sizes.append(len(labels))
    assert sum(sizes) == 21
    longest = model.layout.encode_and_count([["good", "a b c d e"], ["bad film", "c"]])[0]
    batch = model.layout.pad(longest)
    present = batch["input_mask"].numpy().sum(axis=2)
    assert present[0, 1] > present[0, 0] and present[1, 0] > present[1, 1]


# Similarity --------------------------------------------------------------------------------------


def test_training_raises_the_correlation(trained: tt.TransferModel) -> None:
    report = tt.evaluate(trained, graded(60, 2))
    assert report.metrics["spearman"] > 0.8
    assert {"untrained", "tfidf_cosine"} == set(report.baselines)
    assert report.metrics["spearman"] >= report.baselines["untrained"]["spearman"]
    low, high = report.intervals["spearman"]
    assert low <= report.metrics["spearman"] <= high
    assert "than untrained" in str(report) or "to untrained" in str(report)


def test_a_stage_never_leaves_a_model_worse_than_it_found_it(text_encoder: Path) -> None:
    train = graded(16)
    model = build(text_encoder, Similarity().adapt(train.labels))
    before = [w.numpy() for w in model.weights]
    # Labels that say the opposite on validation: no epoch can be better than the beginning.
    judged = graded(30, 1)
    vectors = [model.encode_text(texts) for texts in judged.texts]
    start = [float(x) for x in (vectors[0] * vectors[1]).sum(1)]
    judged = tt.data.Examples.from_lists(judged.texts[0], start, judged.texts[1])
    fit(model, train, judged, epochs=1)
    assert all((a == w.numpy()).all() for a, w in zip(before, model.weights))


@pytest.mark.slow
@pytest.mark.parametrize("precision", PRECISIONS)
def test_predictions_survive_saving_and_export(
    trained: tt.TransferModel, tmp_path: Path, precision: str
) -> None:
    asked = [("good film", "great movie"), ("", "bad"), ("Ünïcode", "good " * 40)]
    expected = [answer["score"] for answer in trained.predict_text(asked)]
    trained.save(tmp_path / "model.keras")
    again = tt.load_model(tmp_path / "model.keras")
    assert [answer["score"] for answer in again.predict_text(asked)] == expected
    assert again.task.get_config() == trained.task.get_config()
    texts = [text for pair in asked for text in pair]
    tolerance = {"float32": 1e-4, "bfloat16": 0.15}[precision]
    served = tt.load_saved_model(tt.export_saved_model(trained, tmp_path / "s", precision))
    np.testing.assert_allclose(served.predict(asked)["score"], expected, atol=tolerance)
    for some in (texts, texts[:5]):  # an even and an odd number
        found = served.encode(some)
        np.testing.assert_allclose(found, trained.encode_text(some), atol=tolerance)


@pytest.mark.slow
@pytest.mark.exhaustive
@pytest.mark.parametrize("loss", ["contrastive", "in_batch_negatives", "triplet"])
@pytest.mark.parametrize("kind", ["bert_encoder", "text_encoder"])
def test_every_loss_brings_together_what_belongs_together(
    loss: str, kind: str, make_encoder: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Whichever weights are best on validation, the last are those to look at.
    monkeypatch.setattr(KeepBest, "restore", lambda self: None)
    train, validation, test = (_examples(loss, n, seed) for seed, n in enumerate((96, 32, 48)))
    model = build(make_encoder(kind), Similarity(loss), optimizer=keras.optimizers.Adam(5e-3))
    labelled = pairs(60, 4)
    before = tt.evaluate(model, labelled, baselines=False).metrics["roc_auc"]
    history = fit(model, train, validation, epochs=4).history["loss"]
    assert history[-1] < history[0]
    after = tt.evaluate(model, labelled, baselines=False).metrics["roc_auc"]
    assert after > min(0.9, before + 0.03)
    report = tt.evaluate(model, test, train)
    # Tuned on validation by `fine_tune`, whatever is given for the baselines.
    assert report.metrics == pytest.approx(by_hand(model, test, validation), abs=1e-5)
    if loss == "contrastive":
        assert report.threshold == model.task.threshold
        assert f"threshold {report.threshold:.4f}" in str(report)
    assert set(report.baselines["untrained"]) == set(report.metrics)
    [answer] = model.predict_text([("good film", "great movie")])
    assert -1.001 <= answer["score"] <= 1.001


def by_hand(model: tt.TransferModel, test: Any, train: Any) -> dict[str, float]:
    """The report's numbers, of single vectors and one at a time."""
    columns = [model.encode_text(texts) for texts in test.texts]
    near = np.array([a @ b for a, b in zip(*columns[:2])])
    if model.task.objective == "triplet":
        far = np.array([a @ c for a, c in zip(columns[0], columns[2])])
        return {"accuracy": np.mean(near > far)}
    if model.task.objective == "in_batch_negatives":
        places = []
        pool = dict(zip(test.texts[1], columns[1]))
        for vector, own in zip(columns[0], test.texts[1]):
            nearness = {text: vector @ other for text, other in pool.items()}
            ahead = sum(value > nearness[own] for value in nearness.values())
            equal = sum(value == nearness[own] for value in nearness.values())
            places.append(1 + ahead + (equal - 1) / 2)
        return {
            "recall_at_1": np.mean(np.array(places) == 1),
            "mrr": np.mean(1 / np.array(places)),
        }
    known = [model.encode_text(texts) for texts in train.texts]
    cosines = np.array([a @ b for a, b in zip(*known)])
    tries = np.concatenate([[-1.0], np.sort(cosines), [1.0]])
    tries = (tries[1:] + tries[:-1])[::-1] / 2
    reached = [sk.f1_score(train.labels, cosines > t, zero_division=0) for t in tries]
    given, truth = near > tries[int(np.argmax(np.round(reached, 9)))], np.array(test.labels)
    return {
        "f1": sk.f1_score(truth, given),
        "accuracy": np.mean(given == truth),
        "precision": sk.precision_score(truth, given),
        "recall": sk.recall_score(truth, given),
        "roc_auc": sk.roc_auc_score(truth, near),
        "pr_auc": sk.average_precision_score(truth, near),
    }


def _examples(loss: str, number: int, seed: int) -> tt.data.Examples:
    if loss == "contrastive":
        return pairs(number, seed)
    generator = np.random.default_rng(seed)
    kinds = generator.integers(0, 2, number)
    columns = [
        [str(generator.choice((GOOD, BAD)[int(kind != flip)])) for kind in kinds]
        for flip in (0, 0, 1)
    ]
    if loss == "triplet":
        return tt.data.Examples.from_lists(columns[0], None, columns[1], columns[2])
    # Of all good texts none is a negative of another: one of a kind in a batch of two kinds.
    second = [(GOOD[0], BAD[0])[kind] for kind in kinds]
    return tt.data.Examples.from_lists(columns[0], None, second)


def test_texts_that_are_equal_have_one_number(bert_encoder: Path) -> None:
    model = build(bert_encoder, Similarity("in_batch_negatives"))
    rows = tt.data.Examples.from_lists(["a", "b", "a"], None, ["c", "a", "c"])
    assert model.cut(rows).examples.labels == [[0, 1], [2, 0], [0, 1]]


@pytest.mark.slow
def test_xla_compiles_a_step(bert_encoder: Path) -> None:
    rows = graded(8)
    model = build(bert_encoder, Similarity().adapt(rows.labels))
    model.encoder.freeze_to(-2)
    model.jit_compile = True
    model.make_train_function()
    before = [w.numpy() for w in model.trainable_weights]
    model.fit(model.preprocess(rows, 8), epochs=1, verbose=0)
    assert any((a != w.numpy()).any() for a, w in zip(before, model.trainable_weights))


# Numbers of the report ----------------------------------------------------------------------------


def test_ranks_count_equal_texts_once() -> None:
    first = np.eye(3, dtype="float32")
    second = np.array([[1, 0, 0], [0.5, 0.4, 0], [1, 0, 0]], "float32")
    numbers = np.array([0, 1, 0])
    np.testing.assert_array_equal(similarity_evaluation.ranks(first, second, numbers), [1, 1, 1.5])


def test_the_best_threshold_lies_between_the_kinds() -> None:
    labels, found = np.array([0, 0, 1, 1, 0]), np.array([0.1, 0.2, 0.8, 0.9, 0.4])
    assert best_threshold(labels, found) == pytest.approx(0.6)
    same = np.full(5, 0.5)
    assert best_threshold(labels, same) < 0.5  # all of them, or none: all have an F1
    assert best_threshold(labels[:2], found[:2]) is None


def test_the_best_threshold_is_that_of_a_search() -> None:
    generator = np.random.default_rng(0)
    for _ in range(50):
        labels = generator.integers(0, 2, 30)
        found = np.round(generator.normal(labels * 0.5, 1), 1)  # with equal ones among them
        threshold = best_threshold(labels, found)
        own = sk.f1_score(labels, found >= threshold)
        tried = [sk.f1_score(labels, found >= t, zero_division=0) for t in np.unique(found)]
        assert own == pytest.approx(max(tried)) and threshold not in found


def test_numbers_of_pairs_are_those_of_the_label_1() -> None:
    """Few pairs belong together, as in most data: averages over both labels would flatter."""
    labels = np.array([1] * 3 + [0] * 17)
    scores = np.array([0.9, 0.8, 0.1, 0.7, 0.6, *[0.2] * 15])
    truth = similarity_evaluation.Truth.of([["a"] * 20, list(map(str, range(20)))], labels)
    found = similarity_evaluation.measure(truth, [], scores, 0.5)
    expected = sk.precision_recall_fscore_support(labels, scores >= 0.5, average="binary")[:3]
    assert [found[name] for name in ("precision", "recall", "f1")] == pytest.approx(expected)
    assert found["accuracy"] == sk.accuracy_score(labels, scores >= 0.5)
    assert len({found[name] for name in ("precision", "recall", "accuracy", "f1")}) == 4
    low, high = similarity_evaluation.intervals(truth, [], scores, 0.5, 0)["f1"]
    assert low < found["f1"] < high


def test_degrees_that_happen_to_be_0_and_1_stay_degrees(bert_encoder: Path) -> None:
    task = Similarity(low=0, high=5)
    rows = tt.data.Examples.from_lists(["a", "b"], [0, 1], ["c", "d"])
    task.tune(rows, lambda: [{"score": 0.0}, {"score": 1.0}])
    assert task.threshold is None
    report = tt.evaluate(build(bert_encoder, task), rows, baselines=False)
    assert "rmse" in report.metrics and "f1" not in report.metrics
    task = Similarity(low=0, high=1)  # degrees, too, but these can only be 0 and 1
    task.tune(rows, lambda: [{"score": 0.0}, {"score": 1.0}])
    assert task.threshold == 0.5 and Similarity(**task.get_config()).threshold == 0.5
    report = tt.evaluate(build(bert_encoder, task), rows, baselines=False)
    assert report.threshold == 0.5 and "f1" in report.metrics


def test_resampled_means_are_those_of_the_rows() -> None:
    rows = similarity_evaluation.Truth.of([["a"] * 40, list(map(str, range(40)))], None)
    vectors = [np.random.default_rng(seed).normal(size=(40, 5)) for seed in range(2)]
    found = similarity_evaluation.measure(rows, vectors, np.zeros(40), None)
    low, high = similarity_evaluation.intervals(rows, vectors, np.zeros(40), None, 0)["mrr"]
    assert low < found["mrr"] < high and found["recall_at_1"] <= found["mrr"]


# Bad input ----------------------------------------------------------------------------------------


def test_bad_examples_are_refused(bert_encoder: Path) -> None:
    labelled = pairs(8)
    bare = tt.data.Examples.from_lists(labelled.texts[0], None, labelled.texts[1])
    single = tt.data.Examples.from_lists(["a"], [1])
    three = tt.data.Examples.from_lists(["a"], [1], ["b"], ["c"])
    odd = tt.data.Examples.from_lists(["a"], [0.5], ["b"])
    for task, rows, message in (
        (Similarity("contrastive"), bare, "contrastive needs a label for each pair"),
        (Similarity(low=0, high=1), bare, "cosine needs a label for each pair"),
        (Similarity("contrastive"), odd, "labels of 1 .* or 0.*0.5"),
        (Similarity("contrastive"), single, r"pairs of texts; give two columns, `text_a`"),
        (Similarity("contrastive"), three, "reads no third column"),
        (Similarity("triplet"), bare, "triplet needs three columns"),
        (Similarity("in_batch_negatives"), labelled, "reads no labels"),
    ):
        model = build(bert_encoder, task)
        with pytest.raises(tt.InputError, match=message):
            fit(model, rows, rows)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Similarity("euclid"), "`loss` must be one of cosine"),
        (lambda: Similarity(low=5, high=1), "`low` must be below `high`"),
        (lambda: Similarity("triplet", margin=0), "`margin` must be a number above 0"),
        (lambda: Similarity().adapt(["a"]), "finite numbers"),
        (lambda: Similarity().adapt([2, 2.0]), "same score"),
        (lambda: Similarity().adapt([1e9, 1e9 + 1]), "float32 numbers can't tell.*from 0 to 1"),
        (lambda: Similarity().adapt([0.0, 1e-40]), "divided by their range.*0.0 to 1e-40"),
        (lambda: Similarity().encode([1]), "doesn't know its labels"),
    ],
)
def test_bad_settings_are_refused(make: Any, message: str) -> None:
    with pytest.raises(tt.InputError, match=message):
        make()


def test_heads_that_dont_suit_towers_are_refused(bert_encoder: Path) -> None:
    for head in (Head(block="cnn"), Head(pooling="attention")):
        with pytest.raises(tt.InputError, match="the encoder's own"):
            build(bert_encoder, Similarity("triplet"), head)
    with pytest.raises(tt.InputError, match="two towers read pairs"):
        build(bert_encoder, Classification(["a", "b"]), Head(towers=True))


# Files and commands -----------------------------------------------------------------------------


def write(path: Path, rows: list[dict[str, Any]]) -> str:
    path.write_text("\n".join(map(json.dumps, rows)) + "\n", encoding="utf-8")
    return str(path)


def test_a_third_text_is_read_where_there_are_no_labels(tmp_path: Path) -> None:
    row = {"text_a": "x", "text_b": "y", "text_c": "z"}
    read = tt.data.read(write(tmp_path / "a.jsonl", [row]), require_label=False)
    assert read.texts == (["x"], ["y"], ["z"]) and read.target is None
    labelled = tt.data.read(write(tmp_path / "b.jsonl", [{**row, "label": 1}]))
    assert len(labelled.texts) == 2
    named = write(tmp_path / "c.jsonl", [{"q": "x", "good": "y", "bad": "z"}])
    read = tt.data.read(named, "q", "good", require_label=False, negative="bad")
    assert read.texts == (["x"], ["y"], ["z"])
    with pytest.raises(tt.InputError, match="a third text needs a second"):
        tt.data.read(named, "q", require_label=False, negative="bad")


@pytest.mark.slow
def test_the_commands_train_and_encode(bert_encoder: Path, tmp_path: Path, capsys: Any) -> None:
    rows = graded(60)
    table = [{"text_a": a, "text_b": b, "score": y} for a, b, y in zip(*rows.texts, rows.labels)]
    data, output = write(tmp_path / "data.jsonl", table), tmp_path / "out"
    train = ["train", "--task", "similarity", "--data", data, "--encoder", str(bert_encoder)]
    assert cli.main([*train, "--epochs", "1", "--output", str(output)]) == 0
    report = json.loads((output / "report" / "report.json").read_text())
    assert {"spearman", "pearson"} <= set(report["metrics"])
    assert set(report["baselines"]) == {"untrained", "tfidf_cosine"}
    (tmp_path / "in.txt").write_text("good film\nbad\nworst\n", encoding="utf-8")
    capsys.readouterr()
    assert cli.main(["encode", str(output), str(tmp_path / "in.txt")]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["text"] for line in lines] == ["good film", "bad", "worst"]
    model = tt.load_model(output / "model.keras")
    expected = model.encode_text(["good film", "bad", "worst"])
    np.testing.assert_allclose([line["embedding"] for line in lines], expected, atol=1e-5)
    file = tmp_path / "vectors.npy"
    assert cli.main(["encode", str(output), str(tmp_path / "in.txt"), "--output", str(file)]) == 0
    np.testing.assert_allclose(np.load(file), expected, atol=1e-5)
    served = tt.load_saved_model(output / "serving")
    far = np.abs(served.encode(["good film", "bad", "worst"]) - expected).max()
    assert far < 0.05
    again = ["evaluate", str(output), "--data", data, "--output", str(tmp_path / "again")]
    assert cli.main(again) == 0


@pytest.mark.slow
def test_the_command_trains_on_triplets(bert_encoder: Path, tmp_path: Path, capsys: Any) -> None:
    columns = _examples("triplet", 60, 0).texts
    table = [dict(zip(("text_a", "text_b", "text_c"), row)) for row in zip(*columns)]
    data, output = write(tmp_path / "data.jsonl", table), tmp_path / "out"
    train = ["train", "--task", "similarity", "--data", data, "--encoder", str(bert_encoder)]
    chosen = ["--loss", "triplet", "--epochs", "1", "--output", str(output)]
    assert cli.main([*train, *chosen]) == 0
    report = json.loads((output / "report" / "report.json").read_text())
    assert set(report["metrics"]) == {"accuracy"}
    assert cli.main([*train, "--output", str(tmp_path / "no")]) == 2
    assert "label" in capsys.readouterr().err
    wrong = ["train", "--task", "classification", "--loss", "triplet", "--data", data]
    assert cli.main([*wrong, "--output", str(tmp_path / "no")]) == 2
    assert "`--loss` is for the similarity task" in capsys.readouterr().err


@pytest.mark.slow
def test_an_encoder_encodes_alone(bert_encoder: Path, tmp_path: Path, capsys: Any) -> None:
    texts = ["good film", "bad"]
    plain = tt.encode_text(str(bert_encoder), texts)
    unit = tt.encode_text(tt.Encoder(str(bert_encoder)), texts, normalize=True)
    np.testing.assert_allclose(unit, plain / np.linalg.norm(plain, axis=1)[:, None], atol=1e-5)
    table = write(tmp_path / "data.jsonl", [{"body": text} for text in texts])
    file = tmp_path / "v.npy"
    run = ["encode", str(bert_encoder), table, "--text", "body", "--normalize"]
    assert cli.main([*run, "--output", str(file)]) == 0
    np.testing.assert_allclose(np.load(file), unit, atol=1e-5)
    assert np.load(file).dtype == np.float32


@pytest.mark.parametrize(
    ("output", "lines", "message"),
    [
        ("v.txt", "a\n", "must be a `.npy` file"),
        ("v.npy", "", "expected at least one text"),
        ("in.txt/v.npy", "a\n", "can't be written"),
    ],
)
def test_vectors_are_written_whole_or_not_at_all(
    bert_encoder: Path, tmp_path: Path, capsys: Any, output: str, lines: str, message: str
) -> None:
    (tmp_path / "in.txt").write_text(lines, encoding="utf-8")
    run = ["encode", str(bert_encoder), str(tmp_path / "in.txt")]
    assert cli.main([*run, "--output", str(tmp_path / output)]) == 2
    assert message in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["in.txt"]


def test_pairs_are_not_encoded(bert_encoder: Path, tmp_path: Path, capsys: Any) -> None:
    table = write(tmp_path / "data.jsonl", [{"text_a": "a", "text_b": "b"}])
    assert cli.main(["encode", str(bert_encoder), table]) == 2
    assert "name it with `text` (`--text`)" in capsys.readouterr().err
