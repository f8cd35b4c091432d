"""Training that goes on: after saving and loading, and after groups froze or thawed."""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfhub_transfer as tt
from tfhub_transfer.optimization import optimizers


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
    [
        "default",
        pytest.param("averages", marks=pytest.mark.slow),
        *(
            pytest.param(name, marks=[pytest.mark.slow, pytest.mark.exhaustive])
            for name in [*OPTIMIZERS][2:]
        ),
    ],
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


@pytest.mark.parametrize("several", [False, True])
def test_a_clone_answers_and_trains(several: bool, text_encoder: Path, train: Any) -> None:
    model = build(text_encoder)
    inputs, labels = next(iter(model.preprocess(train)))
    if several:
        model = tt.build_model(str(text_encoder), {"one": model.task, "two": model.task})
    clone = keras.models.clone_model(model)
    clone.set_weights(model.get_weights())
    wanted = model.predict_on_batch(inputs)
    keras.tree.map_structure(np.testing.assert_array_equal, clone.predict_on_batch(inputs), wanted)
    labels = {"one": labels, "two": labels} if several else labels
    assert np.isfinite(clone.train_on_batch(inputs, labels)[0])
    keras.tree.map_structure(np.testing.assert_array_equal, model.predict_on_batch(inputs), wanted)


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


@pytest.mark.parametrize(
    "name",
    [
        "momentum",
        *(pytest.param(n, marks=pytest.mark.slow) for n in ("default", "averages", "scaled")),
    ],
)
def test_a_checkpoint_of_tensorflow_holds_what_has_thawed(
    name: str, text_encoder: Path, train: Any, tmp_path: Path
) -> None:
    """Into the same model, and into one whose optimizer knew all from the beginning."""
    model, again = (build(text_encoder, OPTIMIZERS[name]()) for _ in range(2))
    batches = model.preprocess(train, 14, shuffle=False)
    model.fit(batches, verbose=0)
    model.encoder.freeze_to(0)
    model.fit(batches, verbose=0)
    path = tf.train.Checkpoint(model=model, optimizer=model.optimizer).write(str(tmp_path / "c"))
    before = arrays(model)
    again.encoder.freeze_to(0)
    again.optimizer.build(again.trainable_variables)
    model.fit(batches, verbose=0)
    for each in (model, again):
        status = tf.train.Checkpoint(model=each, optimizer=each.optimizer).read(path)
        status.assert_consumed()
        for a, b in zip(arrays(each), before, strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("known", ["all", [0, 0], [99], [-1], [True], {"0": 1}])
def test_what_a_file_says_of_the_optimizer_is_checked(known: Any) -> None:
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile("adam", "mse")
    with pytest.raises(tt.InputError, match="must be places among the model's 2.*Received"):
        optimizers.build_on(model, known)


# Freezing and thawing of what has trained -------------------------------------------------------

IDS = {k: np.ones((8, 5), "int32") for k in ("input_word_ids", "input_mask", "input_type_ids")}
SCORES = np.arange(8.0)


def plain(folder: Path, optimizer: Any = "adam") -> tuple[keras.Model, tt.Encoder]:
    """A model of the user's own."""
    inputs = {name: keras.Input((None,), dtype="int32", name=name) for name in IDS}
    encoder = tt.Encoder(str(folder))
    model = keras.Model(inputs, keras.layers.Dense(1)(encoder(inputs)["pooled_output"]))
    model.compile(optimizer, "mse")
    return model, encoder


def fit(model: keras.Model, encoder: tt.Encoder, **settings: Any) -> list[float]:
    """How far the weights of each group moved at most."""
    before = [[v.numpy() for v in vs] for _, vs in encoder.layer_groups]
    settings = {"verbose": 0, "shuffle": False, **settings}
    model.fit(IDS, SCORES, **settings)
    groups = [vs for _, vs in encoder.layer_groups]
    return [
        max(float(np.abs(v.numpy() - old).max()) for v, old in zip(vs, olds, strict=True))
        for vs, olds in zip(groups, before, strict=True)
    ]


def thawed(encoder: tt.Encoder) -> list[bool]:
    return [all(v.trainable for v in vs) for _, vs in encoder.layer_groups]


def test_freezing_and_thawing_take_effect_after_fit(text_encoder: Path) -> None:
    encoder = tt.Encoder(str(text_encoder))
    points = keras.Input((None,), dtype="int32")
    model = keras.Model(points, keras.layers.Dense(1)(encoder(points)["default"]))
    model.compile("adam", "mse")
    letters = np.full((8, 5), ord("a"), "int32")

    def moves() -> bool:
        before = encoder.layer_groups[0][1][0].numpy()
        model.fit(letters, SCORES, verbose=0)
        return not np.array_equal(before, encoder.layer_groups[0][1][0].numpy())

    assert not moves()
    encoder.freeze_to(0)
    assert moves() and moves()
    encoder.trainable = False
    assert not moves() and int(model.optimizer.iterations) == 4


@pytest.mark.slow
def test_each_group_freezes_and_thaws_after_fit(bert_still: Path) -> None:
    model, encoder = plain(bert_still)
    assert not any(fit(model, encoder))
    encoder.freeze_to(-1)
    assert [x > 0 for x in fit(model, encoder)] == [False, False, False, True]
    encoder.trainable = True  # it was, of one group
    assert all(fit(model, encoder))
    encoder.freeze_to(4)
    assert not any(fit(model, encoder))
    assert int(model.optimizer.iterations) == 4


def test_the_attribute_thaws_and_freezes_all_groups(bert_still: Path) -> None:
    encoder = tt.Encoder(str(bert_still))
    encoder.freeze_to(-2)
    encoder.trainable = True
    assert thawed(encoder) == [True] * 4
    encoder.freeze_to(-2)
    model = keras.Sequential([encoder])
    model.trainable = False
    model.trainable = True
    assert thawed(encoder) == [True] * 4
    encoder.trainable = False
    assert thawed(encoder) == [False] * 4 and not encoder.trainable


@pytest.mark.slow
def test_a_plain_model_gets_its_optimizer_back(bert_still: Path, tmp_path: Path) -> None:
    model, encoder = plain(bert_still)
    fit(model, encoder, epochs=2, callbacks=[tt.ProgressiveUnfreezing(1, num_groups=4)])
    model.save(tmp_path / "model.keras")
    with warnings.catch_warnings():
        warnings.filterwarnings("error", "Skipping variable loading")
        again = keras.saving.load_model(tmp_path / "model.keras", safe_mode=False)
    found = next(layer for layer in again.layers if isinstance(layer, tt.Encoder))
    assert thawed(found) == thawed(encoder) == [False, False, False, True]
    check_equal(model, again)
    for each, own in ((model, encoder), (again, found)):
        fit(each, own)
    check_equal(model, again)
    assert len(keras.models.clone_model(model).trainable_variables) == 4


class OfOnesOwn(keras.Model):
    """Built by its first batch; one layer is never called."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.encoder, self.last = tt.Encoder(str(folder)), keras.layers.Dense(1)
        self.unused = keras.layers.Dense(1)

    def call(self, inputs: Any, training: bool = False) -> Any:
        return self.last(self.encoder(inputs, training=training)["pooled_output"])


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:`build..` was called on layer")
def test_groups_thaw_in_a_model_that_its_first_batch_builds(bert_still: Path) -> None:
    model = OfOnesOwn(bert_still)
    model.compile("adam", "mse")
    callback = tt.ProgressiveUnfreezing(start_epoch=1, num_groups=2)
    moves = fit(model, model.encoder, epochs=3, batch_size=4, callbacks=[callback])
    assert [x > 0 for x in moves] == [False, False, True, True]
    assert callback.thawed_at == [(1.0, 1), (2.0, 2)]
    assert int(model.optimizer.iterations) == 6
    assert len(model.optimizer._trainable_variables) == 16 + 2 + 2


class Interrupt(keras.callbacks.Callback):
    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        raise KeyboardInterrupt


@pytest.mark.slow
def test_rates_of_layers_end_with_their_run_also_if_it_is_interrupted(bert_still: Path) -> None:
    model, encoder = plain(bert_still, keras.optimizers.SGD(0.1))
    start = model.get_weights()
    encoder.trainable = True

    def step(*callbacks: Any) -> np.ndarray:
        model.set_weights(start)
        # In the second epoch all groups have thawed.
        try:
            return np.array(fit(model, encoder, initial_epoch=1, epochs=2, callbacks=callbacks))
        except KeyboardInterrupt:
            return np.zeros(4)

    def decay() -> Any:
        return tt.ProgressiveUnfreezing(0, 1e-6, layer_decay=0.5)

    whole, falling = step(), [0.125, 0.25, 0.5, 1.0]
    np.testing.assert_allclose(step(decay()) / whole, falling, rtol=0.05)
    np.testing.assert_array_equal(step(), whole)
    assert not step(decay(), Interrupt()).any()
    np.testing.assert_array_equal(step(), whole)
    np.testing.assert_allclose(step(decay()) / whole, falling, rtol=0.05)


def test_heads_on_one_encoder_leave_out_what_they_do_not_read(bert_still: Path, train: Any) -> None:
    encoder = tt.Encoder(str(bert_still))
    task = tt.tasks.Classification(["negative", "positive"])
    pooled = tt.build_model(encoder, task, optimizer="adam", sequence_length=24)
    encoder.freeze_to(-1)
    tags = tt.build_model(encoder, tt.tasks.TokenClassification(["O", "B-a"]), sequence_length=24)
    assert [name for name, _ in encoder.layer_groups] == ["embeddings", "layer_0", "layer_1"]
    assert encoder.left_out == ("pooler",) and not pooled.trainable_variables[2:]
    before = encoder.layer_groups[-1][1][0].numpy()
    pooled.fit(pooled.preprocess(train, 14), verbose=0)
    name, variables = encoder.layer_groups[-1]
    assert name == "pooler" and not np.array_equal(variables[0].numpy(), before)
    encoder.mark_unread(*tags.unread_groups)
    assert encoder.left_out == ("pooler",) and not any(v.trainable for v in variables)


def test_each_group_has_all_of_the_patience() -> None:
    callback = tt.ProgressiveUnfreezing(start_epoch=3, monitor="val", mode="min", patience=2)
    callback._begin = lambda: True  # type: ignore[method-assign]
    callback._limit, callback._thawed, callback._waited, callback._best = 3, 0, 0, None
    found: list[int] = []

    def thaw(count: int) -> None:
        callback._thawed = count

    callback._thaw = thaw  # type: ignore[method-assign]
    for epoch in range(7):
        callback.on_epoch_end(epoch, {"val": 1.0})
        found.append(callback._thawed)
    assert found == [0, 0, 1, 1, 2, 2, 3]
