"""The learning rate range test: its losses are a plain loop's, and it leaves nothing changed."""

import random
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import samples
import tensorflow as tf

import tfhub_transfer as tt
from tfhub_transfer.training import feeding
from tfhub_transfer.tuning import LearningRates, find_learning_rate, found_rates, range_tests
from tfhub_transfer.tuning.found_rates import Watched, steepest

STEPS = 14
SILENT = tt.Plan(verbose=0)


@pytest.fixture(scope="module")
def train(sentiment: Any) -> Any:
    return tt.data.Examples.from_lists(*sentiment)


def build(folder: Path, optimizer: Any = None, **head: Any) -> Any:
    keras.utils.set_random_seed(0)
    task = tt.tasks.Classification(["negative", "positive"])
    return tt.build_model(str(folder), task, tt.Head(**head), optimizer, sequence_length=24)


def stepped(model: Any, batches: list[Any], rates: Any, factors: dict[int, float]) -> list[float]:
    """Losses of a loop of one's own, by plain gradient descent."""
    losses = []
    loss = keras.losses.get(model.loss) if isinstance(model.loss, str) else model.loss
    variables = model.trainable_variables
    for (x, y, *weights), rate in zip(batches, rates):
        with tf.GradientTape() as tape:
            found = loss(y, model(x, training=True), *weights)
        losses.append(float(found))
        for variable, gradient in zip(variables, tape.gradient(found, variables)):
            gradient = tf.convert_to_tensor(gradient)
            variable.assign_sub(rate * factors.get(id(variable), 1.0) * gradient)
    return losses


# Numbers -----------------------------------------------------------------------------------------


def test_losses_of_a_head_are_those_of_a_loop_by_hand(text_encoder: Path, train: Any) -> None:
    """With the head's dropout, on stored vectors, more steps than there are batches."""
    model = build(text_encoder, dropout=0.3)
    found = find_learning_rate(model, train, rates=(1e-4, 1.0), steps=STEPS, batch_size=16)
    np.testing.assert_allclose(found.rates, [1e-4 * 1e4 ** (n / 13) for n in range(14)])
    batches = feeding.of_vectors(
        model.compute_features(train),
        np.array([["negative", "positive"].index(label) for label in train.labels]),
        16,
        0,
    )
    assert int(batches.cardinality()) == 3 and not found.diverged
    head, optimizer = model.head_model(), keras.optimizers.Adam()
    head.compile(optimizer, model.loss)
    losses = []
    for (x, y), rate in zip((batch for _ in range(5) for batch in batches), found.rates):
        optimizer.learning_rate = rate
        head.reset_metrics()
        losses.append(float(head.train_on_batch(x, y)))
    np.testing.assert_allclose(found.losses, losses, rtol=2e-5)


@pytest.mark.slow
def test_losses_of_thawed_layers_are_those_of_a_loop_by_hand(bert_still: Path, train: Any) -> None:
    """By the model's own kind of optimizer, with a rate for each layer, and weights of rows."""
    model = build(bert_still, keras.optimizers.SGD(0.5), dropout=0.0)
    weights = [1.0, 3.0] * 20
    weighed = tt.data.Examples.from_lists(*train.texts, train.labels, weight=weights)
    plan = tt.Plan(verbose=0, boundary=False, layer_decay=0.5, seed=3)
    found = find_learning_rate(model, weighed, 3, (1e-3, 3.0), STEPS, 16, plan)
    batches = model.preprocess(weighed, 16, seed=3)
    several = [batch for _ in range(6) for batch in batches][:STEPS]
    assert int(batches.cardinality()) < STEPS
    model.encoder.freeze_to(-3)
    groups = reversed(model.encoder.layer_groups[-3:])
    factors = {id(v): 0.5**depth for depth, (_, vs) in enumerate(groups) for v in vs}
    assert len(set(factors.values())) == 3
    expected = stepped(model, several, found.rates, factors)
    np.testing.assert_allclose(found.losses, expected, rtol=2e-4)


@pytest.mark.slow
@pytest.mark.exhaustive
def test_what_frozen_layers_gave_is_as_good_as_texts(bert_still: Path, train: Any) -> None:
    model = build(bert_still, keras.optimizers.SGD(0.5), dropout=0.0)
    plans = [tt.Plan(verbose=0, boundary=each) for each in (True, False)]
    stored, whole = [find_learning_rate(model, train, 2, (1e-3, 1.0), STEPS, plan=p) for p in plans]
    # The former are kept in bfloat16.
    np.testing.assert_allclose(stored.losses, whole.losses, rtol=5e-3)


@pytest.mark.parametrize("curvature", [0.01, 1.0, 300.0])
def test_the_suggestion_on_a_quadratic_is_in_its_decade(curvature: float) -> None:
    """Of `c w^2 / 2` by gradient descent, which is quickest at `1 / c` and diverges at `2 / c`."""
    rates = np.geomspace(1e-5 / curvature, 1e2 / curvature, 100)
    weight, watched = 3.0, Watched(100)
    for rate in rates:
        watched.add(curvature * weight**2 / 2)
        weight -= rate * curvature * weight
        if watched.diverged:
            break
    assert watched.diverged and len(watched.losses) < 100
    count = len(watched.losses)
    losses, smoothed = np.array(watched.losses), np.array(watched.smoothed)
    found = steepest(rates[:count], losses, smoothed)
    # With rates that grow by q a step the loss is `exp(-2 c rate / ln q)`: steepest at `ln q / 2c`.
    expected = np.log(rates[1] / rates[0]) / (2 * curvature)
    assert found is not None and 0.5 < found / expected < 2.0
    assert 0.03 / curvature < found < 0.3 / curvature


def test_smoothing_is_the_mean_of_losses_weighed_by_age() -> None:
    losses = [3.0, 1.0, 2.0, 5.0]
    watched = Watched(4)
    for each in losses:
        watched.add(each)
    expected = [
        np.average(losses[: n + 1], weights=[0.9 ** (n - at) for at in range(n + 1)])
        for n in range(4)
    ]
    np.testing.assert_allclose(watched.smoothed, expected)


def test_noise_suggests_nothing_and_no_number_is_the_end() -> None:
    rates = np.geomspace(1e-5, 10, 100)
    told = []
    for seed in range(200):
        watched = Watched(100)
        for loss in np.random.default_rng(seed).normal(0.7, 0.1, 100):
            watched.add(loss)
        told.append(steepest(rates, np.array(watched.losses), np.array(watched.smoothed)))
        assert not watched.diverged
    assert sum(each is not None for each in told) <= 10  # 2.5 % of 1,000 others
    watched.add(float("nan"))
    assert watched.diverged and len(watched.losses) == 100


# What stays --------------------------------------------------------------------------------------


def state(model: Any) -> list[Any]:
    """All that a training depends on."""
    variables = [*model.variables, *model.optimizer.variables]
    flags = [v.trainable for v in model.encoder.named_weights().values()]
    told = [model.truncation, model.padding, model.encoder.trainable, model.encoder.unread]
    told += [model.train_function, model.test_function, model.predict_function, model.optimizer]
    told += [model.encoder.get_config()["known"], model.loss]
    drawn = [random.getstate(), np.random.get_state()[1].tolist()]
    return [[v.numpy().tolist() for v in variables], flags, told, drawn]


@pytest.mark.slow
def test_all_is_left_as_it_was(
    bert_encoder: Path, train: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To the bit: also after an error, and after Ctrl-C."""
    model = build(bert_encoder, dropout=0.3)
    model.encoder.freeze_to(-1)
    model.fit(model.preprocess(train[:8], 8), verbose=0)
    before = state(model)
    tf.random.set_seed(5)
    drawn = tf.random.uniform([3]).numpy()
    tf.random.set_seed(5)
    found = find_learning_rate(model, train, 3, rates=(1e-2, 10.0), steps=10, plan=SILENT)
    assert np.ptp(found.losses) > 0 and state(model) == before
    added = Watched.add
    for error in (ValueError, KeyboardInterrupt):

        def add(watched: Watched, loss: float, error: Any = error) -> None:
            added(watched, loss)
            if len(watched.losses) == 4:
                raise error

        monkeypatch.setattr(Watched, "add", add)
        with pytest.raises(error):
            find_learning_rate(model, train, rates=(1e-2, 10.0), steps=10, plan=SILENT)
        assert state(model) == before
    np.testing.assert_array_equal(tf.random.uniform([3]).numpy(), drawn)


@pytest.mark.slow
@pytest.mark.exhaustive
def test_training_goes_on_as_if_nothing_had_been(text_encoder: Path, train: Any) -> None:
    trained = []
    for tests in (False, True):
        model = build(text_encoder, dropout=0.3)
        if tests:
            find_learning_rate(model, train, "all", steps=10, plan=SILENT)
            find_learning_rate(model, train, steps=10, plan=SILENT)
        tt.fine_tune(model, train[:30], train[30:], 1, plan=tt.Plan(verbose=0, head_epochs=2))
        trained.append(model.get_weights())
    for mine, other in zip(*trained, strict=True):
        np.testing.assert_array_equal(mine, other)


# Every task, whatever the data -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("row", "unfreeze"),
    [
        ("classification of pairs", "none"),
        *(
            pytest.param(row, unfreeze, marks=[pytest.mark.slow, pytest.mark.exhaustive])
            for row in samples.ROWS
            for unfreeze in ("none", 1)
        ),
    ],
)
def test_every_task(row: str, unfreeze: Any, bert_encoder: Path) -> None:
    sample = samples.ROWS[row]
    model = tt.build_model(str(bert_encoder), sample.task(), sample.head)
    if unfreeze == "none" and not model.task.has_head:
        with pytest.raises(tt.InputError, match="has no head"):
            find_learning_rate(model, sample.examples, unfreeze)
        return
    before = [v.numpy() for v in model.variables]
    found = find_learning_rate(model, sample.examples, unfreeze, steps=10, plan=SILENT)
    assert len(found.losses) == len(found.rates) <= 10 and np.isfinite(found.losses).all()
    for mine, was in zip(model.variables, before, strict=True):
        np.testing.assert_array_equal(mine.numpy(), was)


def test_several_tasks_through_the_encoder(text_encoder: Path) -> None:
    sample = samples.ROWS["multi-task"]
    model = tt.build_model(str(text_encoder), sample.task(), sample.head)
    found = find_learning_rate(model, sample.examples, steps=10, plan=SILENT)
    assert len(found.losses) and found.trained == "the head"


def test_few_rows_come_again_and_streams_are_read(
    text_encoder: Path, train: Any, tmp_path: Path
) -> None:
    model = build(text_encoder, dropout=0.0)
    one = find_learning_rate(model, train[:1], steps=12, plan=SILENT)
    assert len(one.losses) == 12 and one.losses[-1] < one.losses[0]
    twice = tt.Plan(verbose=0, class_weight={0: 2.0, 1: 2.0})
    doubled = find_learning_rate(model, train[:1], steps=12, plan=twice)
    # By Adam, to which the scale of a loss is all one.
    np.testing.assert_allclose(doubled.losses, 2 * one.losses, rtol=1e-2)
    lines = [f'"{t}",{y}' for t, y in zip(train.texts[0], train.labels)]
    (tmp_path / "rows.csv").write_text("\n".join(["text,label", *lines]), "utf-8")
    streamed = find_learning_rate(
        model, tt.data.stream(tmp_path / "rows.csv"), steps=12, batch_size=16, plan=SILENT
    )
    assert len(streamed.losses) == 12


# What is refused, and shown ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"steps": 3}, "steps"),
        ({"rates": (1.0, 0.1)}, "`rates` go from a lower to a higher one"),
        ({"rates": 0.1}, "`rates` are two numbers"),
        ({"rates": (0.0, 0.1)}, "rates"),
        ({"unfreeze": 9}, "unfreeze"),
        ({"batch_size": 0}, "batch_size"),
    ],
)
def test_mistakes_are_one_line(text_encoder: Path, train: Any, given: Any, message: str) -> None:
    model = build(text_encoder)
    with pytest.raises(tt.InputError, match=message):
        find_learning_rate(model, train, **given)


def test_examples_that_dont_suit_are_refused(text_encoder: Path, train: Any) -> None:
    model = build(text_encoder)
    with pytest.raises(tt.InputError, match="every class must be among"):
        find_learning_rate(model, tt.data.Examples.from_lists(["a"], ["else"]))
    with pytest.raises(tt.InputError, match="at least one each"):
        find_learning_rate(model, train[:0])


def test_a_loss_that_is_no_number_from_the_start_is_refused(text_encoder: Path, train: Any) -> None:
    model = build(text_encoder)
    model.set_weights([np.full_like(w, np.nan) for w in model.get_weights()])
    with pytest.raises(tt.InputError, match="no finite number at the first step"):
        find_learning_rate(model, train, "all", steps=10, plan=SILENT)


def test_a_picture_and_a_line(tmp_path: Path) -> None:
    rates = np.geomspace(1e-4, 1.0, 30)
    losses = np.linspace(2.0, 1.0, 30)
    found = LearningRates(rates, losses, losses, 0.01, True, "the head")
    assert repr(found) == (
        "the head: suggestion 1.0e-02; 30 steps at rates from 1.0e-04 to 1.0e+00, where the loss "
        "diverged"
    )
    figure = found.plot(tmp_path / "rates.png")
    assert (tmp_path / "rates.png").read_bytes().startswith(b"\x89PNG")
    [axes] = figure.axes
    assert axes.get_xscale() == "log"
    np.testing.assert_allclose(axes.lines[1].get_ydata(), losses)
    assert axes.lines[2].get_xdata()[0] == 0.01 and figure._repr_png_().startswith(b"\x89PNG")
    none = LearningRates(rates, losses, losses, None, False, "the head")
    assert "no suggestion" in repr(none) and len(none.plot().axes[0].lines) == 2
    with pytest.raises(tt.InputError, match="can't be written"):
        none.plot(tmp_path / "rates.odd")


def test_numbers_that_the_guide_names() -> None:
    assert (range_tests.STEPS, found_rates.MEMORY) == (100, 0.9)
    assert round(np.log(0.5) / np.log(0.9)) == 7
