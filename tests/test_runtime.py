"""Strategies, precision, seeds."""

import random

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfhub_transfer import runtime
from tfhub_transfer.errors import InputError

OPTION = "auto_mixed_precision_onednn_bfloat16"


def draws(seed: int | None) -> list[np.ndarray]:
    """What Python, NumPy, TensorFlow and a Keras layer draw after a seed."""
    if seed is not None:
        runtime.seed_everything(seed)
    layer = keras.layers.Dense(4)
    layer.build((2, 3))
    shuffled = list(range(100))
    random.shuffle(shuffled)
    made = (shuffled, np.random.rand(3), tf.random.uniform([3]).numpy(), layer.kernel.numpy())
    return [np.asarray(each) for each in made]


def test_a_seed_repeats_whatever_is_drawn() -> None:
    first, second, other, unseeded = draws(3), draws(3), draws(4), draws(None)
    for one, same, another, next_one in zip(first, second, other, unseeded):
        np.testing.assert_array_equal(one, same)
        assert not np.array_equal(one, another)
        assert not np.array_equal(one, next_one)


def test_precision_is_set_inside_and_reset_after(monkeypatch: pytest.MonkeyPatch) -> None:
    def is_on() -> bool:
        return bool(tf.config.optimizer.get_experimental_options().get(OPTION, False))

    with runtime.precision("bfloat16") as chosen:
        assert chosen == "bfloat16"
        assert is_on()
        with runtime.precision("float32"), runtime.precision() as inner:
            assert inner == runtime.choose_precision() == "float32"
            assert not is_on()
        assert is_on()
    assert not is_on()
    monkeypatch.setattr(runtime, "_surrounding", [])
    with runtime.precision("auto") as chosen:
        assert chosen == ("bfloat16" if runtime.has_bfloat16() else "float32")
        assert is_on() == runtime.has_bfloat16()


@pytest.mark.slow  # with TensorFlow's graph optimizer, which puts the casts in
@pytest.mark.skipif(not runtime.has_bfloat16(), reason="this machine has no bfloat16 units")
def test_bfloat16_rounds_products_and_nothing_else() -> None:
    generator = np.random.default_rng(0)
    a, b = generator.normal(size=(2, 64, 64)).astype("float32")

    def product(precision: str) -> np.ndarray:
        with runtime.precision(precision):
            return tf.function(lambda x, y: tf.matmul(x, y))(a, b).numpy()

    plain, rounded = product("float32"), product("bfloat16")
    np.testing.assert_allclose(plain, a @ b, atol=1e-4)
    far = np.abs(rounded - plain).max() / np.abs(plain).max()
    assert 1e-4 < far < 2e-2 and rounded.dtype == np.float32


def test_one_device_needs_no_strategy() -> None:
    for name in ("auto", "none"):
        assert runtime.strategy(name).num_replicas_in_sync == 1


def test_xla_only_where_asked_for() -> None:
    assert [runtime.use_jit(name) for name in runtime.JIT] == [False, True, False]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: runtime.seed_everything(-1), "`seed` must be a whole number .*Received: -1"),
        (lambda: runtime.strategy("many"), "`strategy` must be one of auto, none, mirrored"),
        (lambda: runtime.use_jit("yes"), "`jit` must be one of auto, on, off"),
        (lambda: runtime.precision("fp8").__enter__(), "`precision` must be one of"),
    ],
)
def test_refusals(call: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        call()  # type: ignore[operator]
