"""What stands above the encoder is float32 whatever the encoder's products are."""

import threading
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import samples
import tensorflow as tf

import tfhub_transfer as tt
from tfhub_transfer.encoders import hub_format
from tfhub_transfer.encoders.bert_shapes import BertShape, bert_variable_shapes
from tfhub_transfer.runtime import full_precision, precision_choice
from tfhub_transfer.tasks import Classification, Head, MultiLabel, Regression

WORDS = ("good", "film", "bad", "movie", "the", "worst", "acting", "story")
HEADS = {
    "pooled": Head(dropout=0.0),
    "mean": Head(pooling="mean", dropout=0.0),
    "first": Head(pooling="first", dropout=0.0),
    "hidden": Head(hidden_units=8, dropout=0.0),
}
BLOCKS = {
    "attention": Head(pooling="attention", dropout=0.0),
    "cnn": Head(block="cnn", block_units=8, dropout=0.0),
    "bilstm": Head(block="bilstm", block_units=8, dropout=0.0),
    "transformer": Head(block="transformer", block_units=8, dropout=0.0),
}


def sentences(number: int, words: int = 6) -> list[str]:
    """Of one length: how a small encoder rounds depends on the padding, too."""
    generator = np.random.default_rng(0)
    return [" ".join(generator.choice(WORDS, words)) for _ in range(number)]


def years(texts: list[str], seed: int = 0) -> list[float]:
    """From about 1900 to 2100: each word has a share in them."""
    shares = dict(zip(WORDS, np.random.default_rng(seed).normal(0, 1, len(WORDS))))
    means = np.array([np.mean([shares[word] for word in text.split()]) for text in texts])
    return (2000 + 30 * (means - means.mean()) / means.std()).tolist()


def make(folder: Path, task: Any, head: Head, **settings: Any) -> Any:
    keras.utils.set_random_seed(1)
    return tt.build_model(str(folder), task, head, **settings)


def of_head(model: Any, features: np.ndarray) -> np.ndarray:
    """The softmax of a head with or without a hidden layer, in NumPy's float64."""
    values = features.astype("float64")
    weights = [weight.numpy().astype("float64") for weight in model.head_model().weights]
    for kernel, bias in zip(weights[:-2:2], weights[1:-2:2]):
        values = np.maximum(values @ kernel + bias, 0.0)
    logits = values @ weights[-2] + weights[-1]
    shares = np.exp(logits - logits.max(axis=1, keepdims=True))
    return shares / shares.sum(axis=1, keepdims=True)


@pytest.mark.slow
@pytest.mark.skipif(
    not precision_choice.has_bfloat16(), reason="this machine has no bfloat16 units"
)
@pytest.mark.parametrize("name", HEADS)
def test_scores_at_bfloat16_are_the_heads_own_of_the_vectors(
    name: str, bert_still: Path, tmp_path: Path
) -> None:
    model, texts = make(bert_still, Classification(["a", "b", "c"]), HEADS[name]), sentences(64)
    plain = model.predict_scores(texts)
    examples = tt.data.Examples.from_lists(texts)
    inputs = next(iter(model.preprocess(examples, 64, shuffle=False)))
    both = keras.Model(model.inputs, [model.features, *model.outputs])
    with precision_choice.precision("bfloat16"):
        run = tf.function(both, autograph=False)
        features, scores = (each.numpy() for each in run(inputs, training=False))
        predicted = model.predict_scores(texts)
        export = tt.export_saved_model(model, tmp_path)
    assert 1e-6 < np.abs(scores - plain).max() < 0.05  # the encoder's products were rounded
    np.testing.assert_allclose(scores, of_head(model, features), atol=1e-6)
    served = tt.load_saved_model(export)
    found = served.predict(texts)["scores"]
    for each in (predicted, found):
        np.testing.assert_allclose(each.astype("float64").sum(axis=1), 1.0, atol=1e-6)
        # So small an encoder's own rounding depends on the graph around it.
        np.testing.assert_allclose(each, scores, atol=0.02)
    # Who asks for an export's answers beside a model in bfloat16 gets the same.
    with precision_choice.precision("bfloat16"):
        again = served.predict(texts)["scores"]
    np.testing.assert_array_equal(again, found)


@pytest.mark.slow
@pytest.mark.skipif(
    not precision_choice.has_bfloat16(), reason="this machine has no bfloat16 units"
)
def test_heads_over_tokens_at_bfloat16_are_exported_as_they_answer(
    bert_still: Path, tmp_path: Path
) -> None:
    texts = sentences(32)
    for name, head in BLOCKS.items():
        model = make(bert_still, MultiLabel(["a", "b", "c"]), head)
        with precision_choice.precision("bfloat16"):
            scores = model.predict_scores(texts)
            export = tt.export_saved_model(model, tmp_path / name)
        found = tt.load_saved_model(export).predict(texts)["scores"]
        np.testing.assert_allclose(found, scores, atol=0.02, err_msg=name)
        np.testing.assert_allclose(scores, model.predict_scores(texts), atol=0.05, err_msg=name)
        assert len(np.unique(scores)) > 80, name


def narrow(folder: Path, width: int, factory: Any) -> Path:
    """An encoder of two layers in the form of those that `convert` writes."""
    shape = BertShape(2, width, 2, 2 * width, len(factory.VOCABULARY), 64)
    generator, values = np.random.default_rng(0), {}
    for name, size in bert_variable_shapes(shape).items():
        made = generator.normal(0, 0.3 if len(size) > 1 else 0.1, size) + name.endswith("gamma")
        values[name] = made.astype("float32")
    vocab = folder.with_name(f"vocab{width}.txt")
    vocab.write_text("\n".join(factory.VOCABULARY) + "\n", encoding="utf-8")
    facts = {"dialect": "bert", "dimension": width, "lower_case": True}
    hub_format.save(hub_format.bert_encoder(values, shape, vocab, True), folder, facts)
    return folder


def encoder_of(form: str, folder: Path, factory: Any) -> Path:
    """An encoder that `convert` writes, of some width, or one in a form of TF Hub's own."""
    if form.isdigit():
        return narrow(folder, int(form), factory)
    if form == "list":
        return factory.write_list_style_encoder(folder)
    return factory.write_bert_encoder(folder, albert=form == "albert")


def numbers_of(model: Any, asked: list[Any]) -> list[float]:
    """Every score that `predict_text` answers, in the order of the export's."""
    found: list[float] = []
    for answer in model.predict_text(asked):
        if "words" in answer:
            found += [word["score"] for word in answer["words"]]
        elif "sentences" in answer:
            found += [sentence["score"] for sentence in answer["sentences"]]
        elif "scores" in answer:
            found += answer["scores"].values()
        else:
            found.append(answer["score"])
    return found


SEEN = [("classification", "8"), ("classification", "bert")]


@pytest.mark.slow
@pytest.mark.skipif(
    not precision_choice.has_bfloat16(), reason="this machine has no bfloat16 units"
)
@pytest.mark.parametrize(
    ("row", "form"),
    [
        *SEEN,
        *(
            pytest.param(row, form, marks=pytest.mark.exhaustive)
            for form in ("8", "64", "bert", "albert", "list")
            for row in samples.ROWS
            if row != "multi-task" and (row, form) not in SEEN
        ),
    ],
)
def test_exports_at_bfloat16_are_what_predict_answers_whatever_stands_beside(
    row: str, form: str, tmp_path: Path, factory: Any
) -> None:
    """To five digits, also alone and in batches of other lengths: all round alike."""
    sample = samples.ROWS[row]
    keras.utils.set_random_seed(0)
    folder = encoder_of(form, tmp_path / "encoder", factory)
    model: Any = tt.build_model(str(folder), sample.task(), sample.head, sequence_length=24)
    asked = [text for text in sample.asked if text] * 6
    with precision_choice.precision("float32"):
        plain = numbers_of(model, asked)
    with precision_choice.precision("bfloat16"):
        served = tt.load_saved_model(tt.export_saved_model(model, tmp_path / "out"))
        made = numbers_of(model, asked)
    assert made != plain  # something was rounded
    answers = served.predict(asked)
    name = "scores" if "scores" in answers else "score"
    found = answers[name].ravel().astype("float64")
    if name == "score" and answers[name].ndim > 1:  # of words, filled up with 0
        found, made = (np.array([x for x in xs if x]) for xs in (found, made))
    np.testing.assert_allclose(found, made, atol=1e-5)
    if model.task.layout != "whole":
        return
    for size in (1, 3, 32, 33):
        with precision_choice.precision("bfloat16"):
            scores = model.predict_scores(asked, size)
        shown = served.predict(asked, size)[name].reshape(scores.shape)
        for each in (scores, shown):
            np.testing.assert_allclose(each.ravel(), made, atol=1e-5 * max(1, *map(abs, made)))
        if model.task.name == "classification":
            for each in (scores, shown):
                np.testing.assert_allclose(each.astype("float64").sum(axis=1), 1.0, atol=1e-6)


def learned(folder: Path, head: Head, precision: str) -> tuple[Any, ...]:
    """Curves, answers and their error of a model that learns years."""
    texts = sentences(160)
    examples = tt.data.Examples.from_lists(texts, years(texts))
    task = Regression().adapt(examples.labels)
    model = make(folder, task, head, optimizer=keras.optimizers.SGD(0.02))
    model.encoder.freeze_to(0)
    with precision_choice.precision(precision):
        batches = model.preprocess(examples, 16, seed=3)
        curves = model.fit(batches, epochs=3, verbose=0).history
        answers = model.predict_scores(examples)
        judged = model.evaluate(model.preprocess(examples, 16, False), verbose=0)
    rmse = float(np.sqrt(np.mean((answers - np.array(examples.labels)) ** 2)))
    assert judged[1] == pytest.approx(rmse, rel=1e-4)
    return curves["loss"], curves["rmse"], answers, rmse


@pytest.mark.slow
@pytest.mark.skipif(
    not precision_choice.has_bfloat16(), reason="this machine has no bfloat16 units"
)
def test_years_at_bfloat16_are_learned_as_at_float32(bert_still: Path, text_encoder: Path) -> None:
    # Above an encoder without products nothing is rounded, in no step.
    head = Head(hidden_units=8, dropout=0.0, l2=0.01)
    plain, other = (learned(text_encoder, head, p) for p in ("float32", "bfloat16"))
    for one, two in zip(plain, other):
        np.testing.assert_allclose(two, one, rtol=1e-5)
    # Above one with products only what these change is.
    plain, other = (learned(bert_still, HEADS["mean"], p) for p in ("float32", "bfloat16"))
    assert other[-1] == pytest.approx(plain[-1], rel=0.03)
    np.testing.assert_allclose(other[0], plain[0], rtol=0.03)


@pytest.mark.slow
def test_heads_keep_float32_under_a_policy_of_bfloat16(bert_still: Path) -> None:
    texts = sentences(6)
    for name, head in {"hidden": HEADS["hidden"], "bilstm": BLOCKS["bilstm"]}.items():
        answers = []
        for policy in ("float32", "mixed_bfloat16"):
            keras.config.set_dtype_policy(policy)
            try:
                model = make(bert_still, Classification(["a", "b", "c"]), head)
            finally:
                keras.config.set_dtype_policy("float32")
            answers.append(model.predict_scores(texts))
        np.testing.assert_allclose(answers[1], answers[0], atol=1e-6, err_msg=name)


def test_layers_are_made_again_with_their_policy() -> None:
    layer = full_precision.Dense(3, "tanh")
    values = np.random.default_rng(0).normal(size=(5, 4)).astype("float32")
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        again = full_precision.Dense.from_config(layer.get_config())
        made = again(values)
    finally:
        keras.config.set_dtype_policy("float32")
    kernel, bias = (weight.numpy().astype("float64") for weight in again.weights)
    assert (again.compute_dtype, again.units, made.dtype) == ("float32", 3, "float32")
    np.testing.assert_allclose(made, np.tanh(values @ kernel + bias), atol=1e-6)


@pytest.mark.slow
@pytest.mark.skipif(
    not precision_choice.has_bfloat16(), reason="this machine has no bfloat16 units"
)
def test_threads_beside_bfloat16_answer_in_float32(bert_still: Path) -> None:
    model, texts = make(bert_still, Classification(["a", "b"]), HEADS["pooled"]), sentences(8)
    wanted = {}
    for precision in precision_choice.PRECISIONS[1:]:
        with precision_choice.precision(precision):
            wanted[precision] = model.predict_scores(texts)
    assert not np.array_equal(*wanted.values())
    odd: list[str] = []

    def ask(precision: str, times: int) -> None:
        for _ in range(times):
            with precision_choice.precision(precision):
                if not np.array_equal(model.predict_scores(texts), wanted[precision]):
                    odd.append(precision)

    threads = [
        threading.Thread(target=ask, args=given)
        for given in (("float32", 25), ("bfloat16", 25), ("float32", 25), ("bfloat16", 25))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert odd == []
    assert not precision_choice.rounds_products()


@pytest.mark.slow
def test_vectors_at_bfloat16_are_the_same_alone() -> None:
    """Of an encoder of real size, whose last bits would show; lengths differ, so all is padded."""
    texts = tt.data.read(str(tt.registry.samples_path()), text="text", label="topic").texts[0][:24]
    model = tt.build_model("auto", tt.tasks.Classification(["a", "b"]))
    with precision_choice.precision("bfloat16"):
        together, alone = (model.encode_text(texts, size) for size in (24, 1))
    with precision_choice.precision("float32"):
        plain = model.encode_text(texts)
    assert np.abs(together - plain).max() > 1e-4  # something was rounded
    np.testing.assert_allclose(alone, together, atol=1e-5)
