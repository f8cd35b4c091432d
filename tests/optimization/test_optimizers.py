"""Steps of optimizers and rates over time, against formulas and against Keras' own."""

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfhub_transfer as tt
from tfhub_transfer.models.fitting import size_schedule
from tfhub_transfer.optimization import optimizers
from tfhub_transfer.optimization.schedules import WarmUpLinearDecay


def steps(optimizer: Any, start: np.ndarray, gradients: Any) -> np.ndarray:
    variable = keras.Variable(start)
    for gradient in gradients:
        optimizer.apply([tf.constant(gradient)], [variable])
    return variable.numpy()


# Optimizers ---------------------------------------------------------------------------------------


def test_adamw_is_that_of_keras() -> None:
    generator = np.random.default_rng(3)
    start = generator.normal(size=(7, 5)).astype("float32")
    gradients = generator.normal(size=(4, 7, 5)).astype("float32")
    kinds = (keras.optimizers.AdamW, tt.optimizers.AdamW)
    own, theirs = (
        steps(kind(0.01, weight_decay=0.1, global_clipnorm=1.0), start, gradients) for kind in kinds
    )
    np.testing.assert_allclose(own, theirs, atol=1e-6)


def some_rows() -> tf.IndexedSlices:
    return tf.IndexedSlices(tf.ones([3, 3]), tf.constant([4, 1, 4]), tf.constant([6, 3]))


def test_adamw_leaves_rows_alone_that_no_batch_mentions() -> None:
    start = np.ones((6, 3), "float32")
    table = keras.Variable(start)
    optimizer = tt.optimizers.AdamW(0.1, weight_decay=0.1)
    optimizer.apply([some_rows()], [table])
    moved = (table.numpy() != start).any(axis=1)
    assert moved.tolist() == [False, True, False, False, True, False]
    whole = keras.Variable(start)
    dense = tt.optimizers.AdamW(0.1, weight_decay=0.1)
    dense.apply([tf.convert_to_tensor(some_rows())], [whole])
    np.testing.assert_allclose(table.numpy()[[1, 4]], whole.numpy()[[1, 4]], atol=1e-6)


def test_rows_count_in_the_norm_that_all_gradients_are_clipped_by() -> None:
    optimizer = tt.optimizers.AdamW(0.1, global_clipnorm=1.0)
    rows = tf.IndexedSlices(tf.fill([2, 2], 3.0), tf.constant([0, 1]), tf.constant([4, 2]))
    dense = tf.constant([8.0])
    clipped = optimizer._clip_gradients([rows, dense])
    norm = np.sqrt(4 * 9 + 64)
    np.testing.assert_allclose(clipped[0].values.numpy(), np.full((2, 2), 3 / norm), rtol=1e-6)
    np.testing.assert_allclose(clipped[1].numpy(), [8 / norm], rtol=1e-6)


def test_lars_scales_each_matrix_and_no_vector() -> None:
    """You et al. 2017, equation 6, with weight decay and without momentum."""
    generator = np.random.default_rng(0)
    weights, gradient = generator.normal(size=(2, 3, 4)).astype("float32")
    optimizer = optimizers.Lars(0.5, momentum=0.0, trust=0.02, layer_weight_decay=0.1)
    whole = gradient + 0.1 * weights
    local = 0.02 * np.linalg.norm(weights) / np.linalg.norm(whole)
    np.testing.assert_allclose(
        steps(optimizer, weights, [gradient]), weights - 0.5 * local * whole, rtol=1e-5
    )
    plain = optimizers.Lars(0.5, momentum=0.0)
    np.testing.assert_allclose(
        steps(plain, weights[0], [gradient[0]]), weights[0] - 0.5 * gradient[0], rtol=1e-6
    )


def test_rates_of_single_variables_are_set_and_taken_back() -> None:
    high, low = keras.Variable([1.0, 1.0]), keras.Variable([1.0, 1.0])
    optimizer = keras.optimizers.SGD(0.5)
    gradients = [tf.constant([1.0, 2.0])] * 2
    rates = optimizers.LayerRates(optimizer, [(low, 0.1), (high, 1.0)])
    rates.announce()
    optimizer.apply(gradients, [high, low])
    np.testing.assert_allclose(high.numpy(), [0.5, 0.0])
    np.testing.assert_allclose(low.numpy(), [0.95, 0.9], rtol=1e-6)
    for _ in range(2):
        # Not announced; and then taken back.
        optimizer.apply(gradients, [high, low])
        rates.remove()
    np.testing.assert_allclose(high.numpy(), [-0.5, -2.0])
    np.testing.assert_allclose(low.numpy(), [-0.05, -1.1], atol=1e-6)
    assert optimizer.update_step == rates._plain


def test_rates_that_were_never_taken_back_do_not_multiply() -> None:
    variable, gradients = keras.Variable([1.0]), [tf.constant([1.0])]
    optimizer = keras.optimizers.SGD(1.0)
    own = optimizer.update_step
    for _ in range(2):
        rates = optimizers.LayerRates(optimizer, [(variable, 0.5)])
    rates.announce()
    optimizer.apply(gradients, [variable])
    np.testing.assert_allclose(variable.numpy(), [0.5])
    rates.remove()
    assert optimizer.update_step == own


def test_rates_that_are_all_one_change_nothing() -> None:
    optimizer = keras.optimizers.SGD(0.5)
    optimizers.LayerRates(optimizer, [(keras.Variable(1.0), 1.0)]).announce()
    assert "update_step" not in vars(optimizer)


@pytest.mark.parametrize("make", [keras.optimizers.Adam, tt.optimizers.AdamW])
def test_more_variables_can_come_and_the_state_stays(make: Any) -> None:
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2), keras.layers.Dense(1)])
    model.compile(make(0.1), "mse")
    below, top = model.layers
    x, y = np.ones((4, 2), "float32"), np.ones((4, 1), "float32")
    below.trainable = False
    model.make_train_function(force=True)
    model.train_on_batch(x, y)
    kernel = top.kernel
    places = model.optimizer._trainable_variables_indices
    before = model.optimizer._momentums[places[model.optimizer._var_key(kernel)]].numpy()
    assert np.abs(before).max() > 0
    below.trainable = True
    optimizers.extend(model, model.trainable_variables)
    places = model.optimizer._trainable_variables_indices
    assert len(places) == 4
    after = model.optimizer._momentums[places[model.optimizer._var_key(kernel)]].numpy()
    np.testing.assert_array_equal(before, after)
    assert int(model.optimizer.iterations) == 1
    old = below.kernel.numpy()
    model.make_train_function(force=True)
    model.train_on_batch(x, y)
    assert not np.array_equal(old, below.kernel.numpy())


def test_names_of_optimizers() -> None:
    assert isinstance(optimizers.get("ADAMW"), tt.optimizers.AdamW)
    assert optimizers.get(None) is None
    with pytest.raises(tt.InputError, match="`optimizer` must be one of .*Received: 'adamm'"):
        optimizers.get("adamm")


# Schedules ----------------------------------------------------------------------------------------


def rates(schedule: WarmUpLinearDecay, *at: int) -> list[float]:
    return [float(schedule(step)) for step in at]


def test_the_rate_rises_over_the_warm_up_and_falls_to_zero() -> None:
    schedule = WarmUpLinearDecay(2.0, warmup=0.2, total_steps=20)
    # Four steps up; then down, so that the step after the last one would have none.
    up = [0.5, 1.0, 1.5, 2.0]
    down = [2.0 * (20 - step) / 17 for step in range(4, 21)]
    assert rates(schedule, *range(21)) == pytest.approx([*up, *down], rel=1e-6)
    assert rates(schedule, 30) == [0.0]


def test_a_run_begins_where_it_is_told() -> None:
    schedule = WarmUpLinearDecay(1.0, total_steps=10)
    plain = rates(schedule, *range(10))
    schedule.size(100, 10)
    assert rates(schedule, *range(100, 110)) == pytest.approx(plain)
    schedule.size(0, 10, peak=3.0)
    assert rates(schedule, *range(10)) == pytest.approx([3 * rate for rate in plain])


def test_without_a_known_end_the_rate_stays_at_its_peak() -> None:
    schedule = WarmUpLinearDecay(1.0)
    assert rates(schedule, 0, 49, 99, 5000) == pytest.approx([0.01, 0.5, 1.0, 1.0])


def test_a_schedule_is_saved_with_its_run() -> None:
    schedule = WarmUpLinearDecay(0.3, 0.5, 8, start=2)
    again = WarmUpLinearDecay.from_config(schedule.get_config())
    assert rates(again, *range(12)) == rates(schedule, *range(12))


@pytest.mark.parametrize("arguments", [(0.0,), (-1.0,), (1.0, 1.0), (1.0, -0.1)])
def test_impossible_schedules_are_refused(arguments: tuple[float, ...]) -> None:
    with pytest.raises(tt.InputError, match="`(peak|warmup)` must be a number (above|from) 0"):
        WarmUpLinearDecay(*arguments)


def test_a_schedule_inside_of_another_optimizer_is_sized() -> None:
    schedule = WarmUpLinearDecay(1e-3)
    optimizer = keras.optimizers.LossScaleOptimizer(keras.optimizers.Adam(schedule))
    size_schedule(optimizer, 50)
    assert schedule.total_steps == 50
