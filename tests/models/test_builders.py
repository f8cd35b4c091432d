"""Models of every task, head and encoder kind: plain functional Keras models without strings."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfhub_transfer as tt
from tfhub_transfer.tasks import Classification, Head, MultiLabel, Regression

TEXTS = ["a good film", "", "the worst movie", "good good good bad film of the story", "bad"]


def examples(task: Any, n: int = 8) -> tt.data.Examples:
    texts = (TEXTS * n)[:n]
    labels = {
        "classification": ["positive", "negative"],
        "multi-label": ["funny|sad", "sad"],
        "regression": [0.5, 4.0],
    }[task.name]
    return tt.data.Examples.from_lists(
        texts, (labels * n)[:n], text_pair=texts[::-1] if task.pair else None
    )


def tasks(pair: bool) -> list[Any]:
    return [
        Classification(["negative", "positive"], pair=pair, label_smoothing=0.1),
        MultiLabel(["funny", "sad"], pair=pair),
        Regression(2.0, 1.5, pair=pair),
    ]


KINDS = [("bert_encoder", True), ("list_style_encoder", False), ("text_encoder", True)]
# What they have in common is in `test_doors`.
COMBINATIONS = [
    pytest.param(index, *kind, marks=() if index == place == 2 else pytest.mark.slow)
    for index in range(3)
    for place, kind in enumerate(KINDS)
]


@pytest.mark.slow
@pytest.mark.exhaustive
@pytest.mark.parametrize(("index", "kind", "pair"), COMBINATIONS)
def test_every_task_trains_saves_and_loads(
    index: int, kind: str, pair: bool, make_encoder: Callable, tmp_path: Path
) -> None:
    task = tasks(pair)[index]
    model = tt.build_model(str(make_encoder(kind)), task, sequence_length=24)
    assert isinstance(model, keras.Model)
    assert all(tensor.dtype == "int32" for tensor in model.inputs)
    data = examples(task)
    model.fit(model.preprocess(data, batch_size=4), epochs=1, verbose=0)
    expected = model.predict_scores(data)
    assert expected.shape == ((8,) if task.name == "regression" else (8, 2))
    by_keras = model.predict(model.preprocess(data, 3, shuffle=False), verbose=0)
    np.testing.assert_allclose(np.reshape(by_keras, expected.shape), expected, atol=1e-5)
    model.save(tmp_path / "model.keras")
    again = tt.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(again.predict_scores(data), expected)
    rows = list(zip(*data.texts)) if pair else data.texts[0]
    assert again.predict_text(rows) == model.predict_text(rows)
    again.fit(again.preprocess(data, batch_size=4), epochs=1, verbose=0)


@pytest.mark.parametrize(
    "head",
    [
        Head(pooling="attention"),
        *(
            pytest.param(head, marks=pytest.mark.slow)
            for head in (
                Head(pooling="mean"),
                Head(pooling="first", hidden_units=5, l2=0.01),
                Head(block="cnn", block_units=3, pooling="mean"),
                Head(block="cnn", block_units=3),
                Head(block="transformer", block_units=6, pooling="first"),
                Head(block="bilstm", block_units=3),
            )
        ),
    ],
    ids=lambda h: f"{h.block}-{h.pooling}",
)
def test_every_head_trains_saves_and_ignores_padding(
    head: Head, bert_encoder: Path, tmp_path: Path
) -> None:
    keras.utils.set_random_seed(0)  # three filters can all be dead by chance
    task = Classification(["negative", "positive"])
    model = tt.build_model(str(bert_encoder), task, head=head, sequence_length=24)
    assert "pooler" not in dict(model.encoder.layer_groups)
    data = examples(task)
    before = [w.numpy() for w in model.trainable_weights]
    model.fit(model.preprocess(data, 4), epochs=1, verbose=0)
    assert all((w.numpy() != b).any() for w, b in zip(model.trainable_weights, before))
    alone = np.concatenate([model.predict_scores([text]) for text in TEXTS])
    np.testing.assert_allclose(model.predict_scores(TEXTS), alone, atol=1e-5)
    model.save(tmp_path / "model.keras")
    again = tt.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(again.predict_scores(TEXTS), model.predict_scores(TEXTS))


def test_text_pairs_become_u_v_difference_and_product(text_encoder: Path) -> None:
    model = tt.build_model(str(text_encoder), Regression(0.0, 1.0, pair=True))
    pair = tt.data.Examples.from_lists(["good film"], text_pair=["bad"])
    u, v = model.encode_text(["good film", "bad"])
    expected = np.concatenate([u, v, np.abs(u - v), u * v])
    np.testing.assert_allclose(model.compute_features(pair)[0], expected, rtol=1e-6)


def test_static_vectors_compare_the_texts_of_a_pair() -> None:
    model = tt.build_model("static-minilm-256", Regression(0.0, 1.0, pair=True))
    assert not model.encoder.is_contextual
    pair = tt.data.Examples.from_lists(["a good film"], text_pair=["bad acting, sadly"])
    u, v = model.encode_text(["a good film", "bad acting, sadly"])
    expected = np.concatenate([u, v, np.abs(u - v), u * v])
    np.testing.assert_allclose(model.compute_features(pair)[0], expected, rtol=1e-5, atol=1e-6)


def test_batches_hold_rows_of_like_length_and_every_row_once(bert_encoder: Path) -> None:
    model = tt.build_model(str(bert_encoder), Regression(0.0, 1.0), sequence_length=32)
    lengths = np.random.default_rng(0).integers(1, 28, 200)
    data = tt.data.Examples.from_lists(["good " * n for n in lengths], list(map(float, lengths)))
    dataset = model.preprocess(data, batch_size=10, seed=4)
    assert 18 <= int(dataset.cardinality()) <= 24
    passes = [[(x["input_mask"].numpy(), y.numpy()) for x, y in dataset] for _ in range(2)]
    for batches in passes:
        assert sorted(np.concatenate([y for _, y in batches])) == sorted(lengths)
        padded = sum(mask.size for mask, _ in batches)
        assert padded < 1.3 * sum(mask.sum() for mask, _ in batches)
    orders = [np.concatenate([y for _, y in batches]).tolist() for batches in passes]
    assert orders[0] != orders[1]
    again = [y.numpy().tolist() for _, y in model.preprocess(data, batch_size=10, seed=4)]
    assert np.concatenate(again).tolist() == orders[0]


def test_a_stream_trains_like_examples(text_encoder: Path, tmp_path: Path) -> None:
    path = tmp_path / "data.csv"
    rows = [f"good film {i},positive\nbad movie {i},negative" for i in range(20)]
    path.write_text("text,label\n" + "\n".join(rows) + "\n", encoding="utf-8")
    task = Classification(["negative", "positive"])
    model = tt.build_model(str(text_encoder), task)
    stream = tt.data.stream(str(path), chunk_rows=7)
    dataset = model.preprocess(stream, batch_size=8)
    labels = np.concatenate([y.numpy() for _, y in dataset])
    assert sorted(labels) == [0] * 20 + [1] * 20
    validation = tt.data.read(str(path))
    plan = tt.Plan(head_epochs=1, verbose=0)
    history = tt.fine_tune(model, stream, validation, epochs=1, unfreeze=1, plan=plan)
    assert len(history.history["loss"]) == 2


@pytest.mark.parametrize("optimizer", ["sgd", "Adam", "lamb", "LARS", keras.optimizers.Nadam()])
def test_optimizer_by_name_or_object(optimizer: Any, bert_encoder: Path) -> None:
    model = tt.build_model(
        str(bert_encoder), Regression(0.0, 1.0), optimizer=optimizer, loss="huber"
    )
    expected = optimizer if isinstance(optimizer, str) else "nadam"
    assert type(model.optimizer).__name__.lower() == expected.lower()
    assert model.loss == "huber"


def test_refusals(bert_encoder: Path, text_encoder: Path, tmp_path: Path) -> None:
    task = Classification(["negative", "positive"])
    with pytest.raises(tt.InputError, match="doesn't know its labels"):
        tt.build_model(str(bert_encoder), Classification())
    with pytest.raises(tt.InputError, match="reads token vectors"):
        tt.build_model(str(text_encoder), task, head=Head(block="cnn"))
    with pytest.raises(tt.InputError, match="`optimizer` must be one of .*Received: 'adamm'"):
        tt.build_model(str(bert_encoder), task, optimizer="adamm")
    model = tt.build_model(str(bert_encoder), task)
    with pytest.raises(tt.InputError, match="built for single texts"):
        model.preprocess(tt.data.Examples.from_lists(["a"], ["positive"], text_pair=["b"]))
    with pytest.raises(tt.InputError, match="expected a list of texts"):
        model.predict_text("one string")
    assert model.predict_text([]) == []
    with pytest.raises(tt.InputError, match="`batch_size` must be a whole number"):
        model.preprocess(tt.data.Examples.from_lists(["a"], ["positive"]), batch_size=0)
    with pytest.raises(tt.InputError, match="no such model file"):
        tt.load_model(tmp_path / "none.keras")
    (tmp_path / "bad.keras").write_bytes(b"not a zip")
    with pytest.raises(tt.InputError, match="isn't a model that"):
        tt.load_model(tmp_path / "bad.keras")
    keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)]).save(tmp_path / "other.keras")
    with pytest.raises(tt.InputError, match="another kind of Keras model"):
        tt.load_model(tmp_path / "other.keras")


@pytest.mark.slow
def test_xla_trains_the_bert_dialect(bert_encoder: Path) -> None:
    task = Classification(["negative", "positive"])
    model = tt.build_model(str(bert_encoder), task, sequence_length=16)
    model.compile("adam", task.loss(), jit_compile=True)
    model.encoder.freeze_to(-1)
    model.fit(model.preprocess(examples(task), 8), epochs=1, verbose=0)
    assert tf.executing_eagerly()
    assert int(model.optimizer.iterations) == 1


@pytest.mark.parametrize("pair", [False, True])
def test_answers_that_are_no_numbers_are_refused_by_the_number_of_their_text(
    pair: bool, text_encoder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tt.build_model(str(text_encoder), Classification(["a", "b"], pair=pair))
    rows: Any = list(zip(TEXTS, TEXTS[::-1])) if pair else TEXTS
    run = model._run

    def spoilt(*args: Any) -> np.ndarray:
        scores = run(*args)
        scores[2:4, 1] = np.nan
        return scores

    monkeypatch.setattr(model, "_run", spoilt)
    for ask in (model.predict_text, model.predict_scores):
        with pytest.raises(tt.InputError, match="answers with NaN.*Received: text 3, '") as caught:
            ask(rows)
        assert "\n" not in str(caught.value)
    assert np.isnan(model.predict_scores(rows, allow_nan=True)).sum() == 2


def test_weights_without_numbers_are_noticed_when_asked(text_encoder: Path, tmp_path: Path) -> None:
    model = tt.build_model(str(text_encoder), Classification(["a", "b"]))
    weights = model.encoder.variables[0]
    weights.assign(weights * np.nan)
    model.save(tmp_path / "model.keras")
    again = tt.load_model(tmp_path / "model.keras")
    with pytest.raises(tt.InputError, match="answers with NaN.*Received: text 1, 'a good film'"):
        again.predict_text(TEXTS)
    served = tt.load_saved_model(tt.export_saved_model(again, tmp_path / "serving"))
    with pytest.raises(tt.InputError, match="answers with NaN.*Received: text 1, 'a good film'"):
        served.predict(TEXTS)
