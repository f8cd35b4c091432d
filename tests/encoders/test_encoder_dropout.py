"""An encoder's dropout is a function of seed and step, which files hold and nothing restarts."""

import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import tensorflow as tf

import tfhub_transfer as tt
from tfhub_transfer.encoders.calls import boundary_input
from tfhub_transfer.heads.layers import TransformerBlock

SEED = 7
LONG = [pytest.mark.slow, pytest.mark.exhaustive]


def ids(rows: int = 3, length: int = 5) -> dict[str, tf.Tensor]:
    words = np.random.default_rng(0).integers(5, 60, (rows, length)).astype("int32")
    return {
        "input_word_ids": tf.constant(words),
        "input_mask": tf.ones_like(words),
        "input_type_ids": tf.zeros_like(words),
    }


def build(folder: Path, thawed: int = 0) -> tt.Encoder:
    tt.runtime.seed_everything(SEED)
    encoder = tt.Encoder(str(folder))
    encoder.freeze_to(thawed)
    return encoder


def place(encoder: tt.Encoder) -> list[int]:
    """Seed and step."""
    weights = {id(weight) for weight in encoder.weights}
    [state] = [each for each in encoder.variables if id(each) not in weights]
    return [int(number) for number in state.numpy()]


def ask(encoder: tt.Encoder, inputs: Any, jit: bool = False) -> np.ndarray:
    """One step in training, traced anew."""
    step = tf.function(lambda x: encoder(x, training=True), autograph=False, jit_compile=jit)
    return step(inputs)["sequence_output"].numpy()


@pytest.mark.parametrize(
    "kind",
    [
        "bert_encoder",
        pytest.param("albert_encoder", marks=LONG),
        pytest.param("list_style_encoder", marks=LONG),
    ],
)
def test_a_step_can_be_repeated_and_the_next_is_another(kind: str, make_encoder: Any) -> None:
    encoder = build(make_encoder(kind))
    assert place(encoder) == [SEED, 0]
    first, second = (ask(encoder, ids()) for _ in range(2))
    assert place(encoder) == [SEED, 2] and np.abs(first - second).max() > 0.1
    again = build(make_encoder(kind))
    np.testing.assert_array_equal(ask(again, ids()), first)
    # Operation by operation too.
    np.testing.assert_allclose(
        again(ids(), training=True)["sequence_output"], second, rtol=1e-5, atol=1e-5
    )


@pytest.mark.exhaustive
@pytest.mark.slow
def test_inference_and_what_drops_nothing_draw_nothing(
    bert_encoder: Path, bert_still: Path
) -> None:
    encoder, still = build(bert_encoder), build(bert_still)
    encoder(ids())
    frozen = build(bert_encoder, 4)
    for each in (still, frozen):
        np.testing.assert_allclose(ask(each, ids()), ask(each, ids()), rtol=0)
    assert place(encoder) == place(still) == place(frozen) == [SEED, 0]


@pytest.mark.exhaustive
@pytest.mark.slow
def test_gradients_are_of_the_masks_of_the_answer(bert_encoder: Path) -> None:
    """A small step along it, with the same masks, lowers the loss by its square."""
    encoder = build(bert_encoder)
    weight = encoder.named_weights()["transformer/layer_0/output/bias"]

    @tf.function
    def loss() -> tf.Tensor:
        with tf.GradientTape() as tape:
            found = tf.reduce_mean(encoder(ids(), training=True)["sequence_output"][..., 0] ** 2)
        return found, tape.gradient(found, weight.value)

    state = encoder.variables[-1]
    before, gradient = loss()
    state.assign([SEED, 0])
    weight.assign_sub(1e-2 * gradient)
    after, _ = loss()
    expected = -1e-2 * float(tf.reduce_sum(gradient**2))
    assert float(after - before) == pytest.approx(expected, rel=0.1)


@pytest.mark.exhaustive
@pytest.mark.slow
def test_layers_above_a_boundary_draw_as_in_the_whole(bert_encoder: Path) -> None:
    whole, above = build(bert_encoder), build(bert_encoder, -2)
    outputs = whole(ids(), training=True)
    layer = above.boundary()
    assert layer == 0
    given = {**ids(), boundary_input(layer): outputs["encoder_outputs"][layer]}
    np.testing.assert_allclose(ask(above, given), outputs["sequence_output"], rtol=1e-5, atol=1e-5)


def test_texts_of_one_example_draw_apart(bert_encoder: Path) -> None:
    encoder = build(bert_encoder)
    same = {key: tf.stack([value, value], 1) for key, value in ids().items()}
    found = ask(encoder, same)
    assert found.shape == (3, 2, 5, 16) and np.abs(found[:, 0] - found[:, 1]).max() > 0.1
    assert place(encoder) == [SEED, 1]


@pytest.mark.slow
def test_nothing_but_variables_grows(bert_encoder: Path, tmp_path: Path) -> None:
    encoder = build(bert_encoder)
    assert len(encoder.variables) == len(encoder.weights) + 1
    assert len(encoder.named_weights()) == len(encoder.weights)
    assert sum(len(variables) for _, variables in encoder.layer_groups) < len(encoder.variables)
    ask(encoder, ids())
    before = encoder.fingerprint()
    ask(encoder, ids())
    assert encoder.fingerprint() == before
    encoder.save(tmp_path / "saved")
    names = [
        {name for name, _ in tf.train.list_variables(str(folder / "variables" / "variables"))}
        for folder in (bert_encoder, tmp_path / "saved")
    ]
    assert len(names[1]) <= len(names[0])


# Going on ----------------------------------------------------------------------------------------

TEXTS = ["a good film", "the worst movie", "good good", "bad"] * 4
LABELS = ["positive", "negative"] * 8


def model_on(folder: Path) -> tt.TransferModel:
    tt.runtime.seed_everything(SEED)
    task = tt.tasks.Classification(["negative", "positive"])
    head = tt.Head(dropout=0.3, hidden_units=4)
    model = tt.build_model(str(folder), task, head, optimizer="adam", sequence_length=16)
    model.encoder.freeze_to(-1)
    return model


def fit(model: Any, epochs: int) -> Any:
    examples = tt.data.Examples.from_lists(TEXTS, LABELS)
    for _ in range(epochs):
        model.fit(model.preprocess(examples, 8, shuffle=False), epochs=1, verbose=0)
    return model


def check_equal(one: Any, other: Any) -> None:
    for a, b in zip(one.variables, other.variables, strict=True):
        np.testing.assert_array_equal(a.numpy(), b.numpy(), err_msg=a.path)


def traced_anew(model: Any, folder: Path) -> Any:
    model.make_train_function(force=True)
    return model


def through_a_file(model: Any, folder: Path) -> Any:
    model.save(folder / "model.keras")
    return tt.load_model(folder / "model.keras")


def through_weights(model: Any, folder: Path) -> Any:
    """And an optimizer of its own, as `BackupAndRestore` has them."""
    model.save_weights(folder / "a.weights.h5")
    again = model_on(Path(model.encoder.handle))
    again.optimizer.build(again.trainable_variables)
    again.load_weights(folder / "a.weights.h5")
    return again


@pytest.fixture(scope="module")
def uninterrupted(bert_encoder: Path) -> Any:
    return fit(model_on(bert_encoder), 2)


@pytest.mark.slow
@pytest.mark.parametrize(
    "interrupt",
    [
        through_a_file,
        pytest.param(traced_anew, marks=pytest.mark.exhaustive),
        pytest.param(through_weights, marks=pytest.mark.exhaustive),
    ],
)
def test_training_goes_on_in_the_stream(
    interrupt: Callable[..., Any], uninterrupted: Any, bert_encoder: Path, tmp_path: Path
) -> None:
    model = fit(interrupt(fit(model_on(bert_encoder), 1), tmp_path), 1)
    assert place(model.encoder) == [SEED, 4]
    check_equal(uninterrupted, model)


@pytest.mark.slow
def test_a_file_of_earlier_code_begins_at_the_first_step(
    bert_encoder: Path, tmp_path: Path
) -> None:
    model = model_on(bert_encoder)
    model.encoder.variables[-1].assign([3, 9])
    model.save(tmp_path / "model.keras")
    with zipfile.ZipFile(tmp_path / "model.keras") as archive:
        archive.extractall(tmp_path / "parts")
    gone: list[str] = []
    with h5py.File(tmp_path / "parts" / "model.weights.h5", "a") as file:
        file.visit(lambda name: gone.append(name) if name.endswith("random_state") else None)
        for name in gone:
            del file[name]
    assert len(gone) == 3
    with zipfile.ZipFile(tmp_path / "old.keras", "w") as archive:
        for path in (tmp_path / "parts").rglob("*"):
            if path.is_file():
                archive.write(path, path.relative_to(tmp_path / "parts"))
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        old = tt.load_model(tmp_path / "old.keras")
    assert place(old.encoder) == [SEED, 0]
    np.testing.assert_array_equal(old.predict_scores(TEXTS), model.predict_scores(TEXTS))


def test_heads_drop_alike_inside_of_attention() -> None:
    """A Transformer block has three masks, all of them in files."""
    block = TransformerBlock(8, 0.5)
    vectors, present = np.ones((2, 3, 4), "float32"), np.ones((2, 3), "int32")
    block(vectors, present=present, training=True)
    weights = {id(weight) for weight in block.weights}
    states = [v.numpy().tolist() for v in block.variables if id(v) not in weights]
    assert sorted(step for _, step in states) == [1, 2]
    store: dict[str, Any] = {}
    block.attention._dropout_layer.save_own_variables(store)
    assert store["random_state"].tolist() in states


@pytest.mark.exhaustive
@pytest.mark.slow
def test_xla_draws_the_same_masks(bert_encoder: Path) -> None:
    plain, compiled = build(bert_encoder), build(bert_encoder)
    for inputs in (ids(), ids(2, 9)):
        found = ask(compiled, inputs, jit=True)
        np.testing.assert_allclose(found, ask(plain, inputs), rtol=1e-4, atol=1e-4)
    assert place(compiled) == [SEED, 2]
