"""Training that goes on: after saving and loading, and after groups froze or thawed."""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import tfhub_transfer as tt
from tfhub_transfer import optimizers


@pytest.fixture(scope="module")
def train(sentiment: Any) -> Any:
    return tt.data.Examples.from_lists(*sentiment)[:28]


def build(folder: Path, optimizer: Any = None) -> tt.TransferModel:
    task = tt.tasks.Classification(["negative", "positive"])
    head = tt.Head(dropout=0.0)
    return tt.build_model(str(folder), task, head, optimizer, sequence_length=24)


def arrays(model: keras.Model) -> list[np.ndarray]:
    """All numbers of a model and of its optimizer."""
    every = (*model.weights, *model.optimizer.variables)
    return [keras.ops.convert_to_numpy(v.value) for v in every]


def check_equal(one: keras.Model, other: keras.Model) -> None:
    for a, b in zip(arrays(one), arrays(other), strict=True):
        np.testing.assert_array_equal(a, b)


OPTIMIZERS: dict[str, Callable[[], Any]] = {
    "default": lambda: None,
    "averages": lambda: keras.optimizers.Adam(1e-2, use_ema=True, amsgrad=True),
    "momentum": lambda: keras.optimizers.SGD(0.1, momentum=0.9),
    "muon": lambda: keras.optimizers.Muon(1e-2),
    "accumulated": lambda: keras.optimizers.Adam(1e-2, gradient_accumulation_steps=2),
    "scaled": lambda: keras.optimizers.LossScaleOptimizer(keras.optimizers.Adam(1e-2)),
    "lars": lambda: optimizers.Lars(1.0),
}


def check_it_goes_on(model: Any, train: Any, epochs: int, path: Path, load: Any) -> Any:
    """Trains, saves, loads, trains both by one epoch more: equal to the bit."""
    callback = tt.ProgressiveUnfreezing(start_epoch=1, num_groups=len(model.encoder.layer_groups))
    model.fit(model.preprocess(train, 14), epochs=epochs, callbacks=[callback], verbose=0)
    model.save(path)
    with warnings.catch_warnings():
        warnings.filterwarnings("error", "Skipping variable loading")
        again = load(path)
    known = sum(len(variables) for _, variables in model.encoder.layer_groups) + 2
    assert len(again.optimizer._trainable_variables) == known
    check_equal(model, again)
    for each in (model, again):
        each.fit(each.preprocess(train, 14, shuffle=False), epochs=1, verbose=0)
    check_equal(model, again)
    return again


@pytest.mark.parametrize(
    "name",
    [n if n == "default" else pytest.param(n, marks=pytest.mark.slow) for n in OPTIMIZERS],
)
def test_training_goes_on_from_a_file_as_without_it(
    name: str, text_encoder: Path, train: Any, tmp_path: Path
) -> None:
    """The optimizer knows the encoder, which is frozen yet."""
    model = build(text_encoder, OPTIMIZERS[name]())
    again = check_it_goes_on(model, train, 1, tmp_path / "model.keras", tt.load_model)
    assert len(again.trainable_variables) == 2
    steps = again.optimizer.iterations
    assert int(steps) == (2 if name == "accumulated" else 4)


@pytest.mark.slow
@pytest.mark.parametrize("load", [tt.load_model, keras.saving.load_model], ids=["tt", "keras"])
def test_training_goes_on_from_a_file_with_some_groups_thawed(
    load: Any, bert_still: Path, train: Any, tmp_path: Path
) -> None:
    again = check_it_goes_on(build(bert_still), train, 2, tmp_path / "model.keras", load)
    assert len(again.trainable_variables) == 2 + 2


def test_a_model_that_never_trained_has_no_state_to_lose(
    text_encoder: Path, tmp_path: Path
) -> None:
    build(text_encoder).save(tmp_path / "model.keras")
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        assert not tt.load_model(tmp_path / "model.keras").optimizer.built


def test_averages_of_what_the_optimizer_learns_of_late_begin_where_it_is() -> None:
    """An average that began at 0 would halve these weights in one step of a rate of nearly 0."""
    first, second = keras.layers.Dense(1, use_bias=False), keras.layers.Dense(1, use_bias=False)
    model = keras.Sequential([keras.Input((1,)), first, second])
    second.trainable = False
    optimizer = keras.optimizers.SGD(1e-9, use_ema=True, ema_momentum=0.5)
    model.compile(optimizer, "mse")
    rows = np.ones((8, 1), "float32")
    model.fit(rows, rows, verbose=0)
    before = [w.numpy() for w in model.weights]
    second.trainable = True
    optimizers.extend(model, model.trainable_variables)
    model.make_train_function(force=True)
    model.fit(rows, rows, verbose=0)
    np.testing.assert_allclose([w.numpy() for w in model.weights], before, rtol=1e-6)


def test_a_scale_of_the_loss_is_kept_when_the_optimizer_learns_of_more(
    text_encoder: Path, train: Any
) -> None:
    model = build(text_encoder, keras.optimizers.LossScaleOptimizer(keras.optimizers.Adam(1e-3)))
    model.fit(model.preprocess(train, 14), epochs=2, verbose=0)
    before = len(model.optimizer.variables)
    model.encoder.freeze_to(0)
    optimizers.extend(model, model.trainable_variables)
    # Two for the one weight more, and nothing beside.
    assert len(model.optimizer.variables) == before + 2
    assert int(model.optimizer.step_counter) == 4


@pytest.mark.parametrize("known", ["all", [0, 0], [99], [-1], [True], {"0": 1}])
def test_what_a_file_says_of_the_optimizer_is_checked(known: Any) -> None:
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile("adam", "mse")
    with pytest.raises(tt.InputError, match="must be places among the model's 2.*Received"):
        optimizers.build_on(model, known)
