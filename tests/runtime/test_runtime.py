"""Strategies, precision, seeds."""

import contextlib
import json
import random
import threading
from collections.abc import Iterator
from concurrent import futures
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf import config_pb2, rewriter_config_pb2
from tensorflow.python.eager import context

import tfhub_transfer as tt
from tfhub_transfer.errors import InputError
from tfhub_transfer.models import building
from tfhub_transfer.runtime import machine, precision_choice, products, running
from tfhub_transfer.storage import names as storage_names


def draws(seed: int | None) -> list[np.ndarray]:
    """What Python, NumPy, TensorFlow and a Keras layer draw after a seed."""
    if seed is not None:
        machine.seed_everything(seed)
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


def test_a_model_that_is_first_asked_inside_leaves_the_precision_as_it_is(
    bert_encoder: Path,
) -> None:
    with precision_choice.precision("bfloat16"):
        encoder = tt.Encoder(str(bert_encoder))
        assert precision_choice.rounds_products()
        encoder.flat_graph()
        assert precision_choice.rounds_products()
    assert not precision_choice.rounds_products()


def test_precision_is_set_inside_and_reset_after() -> None:
    before = tf.config.optimizer.get_experimental_options()
    is_on = precision_choice.rounds_products
    with precision_choice.precision("bfloat16") as chosen:
        assert chosen == "bfloat16" and is_on()
        with precision_choice.precision("float32"), precision_choice.precision() as inner:
            assert inner == precision_choice.choose_precision() == "float32"
            assert not is_on()
        assert is_on()
        # Nothing of it is TensorFlow's own, which all threads would share.
        assert tf.config.optimizer.get_experimental_options() == before
    assert not is_on()
    with pytest.raises(RuntimeError), precision_choice.precision("bfloat16"):
        raise RuntimeError
    assert not is_on() and precision_choice.choose_precision() == "float32"


def test_tensorflow_rewrites_nothing_of_what_was_traced() -> None:
    def chosen() -> int:
        serialized = context.context().function_call_options.config_proto_serialized
        options = config_pb2.ConfigProto.FromString(serialized).graph_options.rewrite_options
        return int(options.auto_mixed_precision_onednn_bfloat16)

    before = chosen()
    with precision_choice.precision("float32"):
        assert chosen() == rewriter_config_pb2.RewriterConfig.OFF
    assert chosen() == before


def test_what_others_set_inside_stays() -> None:
    option = {"layout_optimizer": False}
    try:
        with precision_choice.precision("bfloat16"):
            tf.config.optimizer.set_experimental_options(option)
        assert option.items() <= tf.config.optimizer.get_experimental_options().items()
        assert not precision_choice.rounds_products()
    finally:
        tf.config.optimizer.set_experimental_options({"layout_optimizer": True})


class Looks(tt.runtime.Replicated):
    """A model that notes in which threads it is called, and whether products are rounded there."""

    def call(self, *given: Any, **named: Any) -> Any:
        seen.append((threading.current_thread(), precision_choice.rounds_products()))
        return super().call(*given, **named)


seen: list[Any] = []


def test_replicas_compute_at_the_precision_around_them() -> None:
    with tf.distribute.MirroredStrategy(["CPU:0"]).scope():
        inputs = keras.Input((2,))
        model = Looks(inputs, keras.layers.Dense(1)(inputs))
        model.compile("sgd", "mse", run_eagerly=False)
    x = np.ones((4, 2), "float32")
    for ask in (
        lambda: model.fit(x, x[:, :1], verbose=0),
        lambda: model.evaluate(x, x[:, :1], verbose=0),
        lambda: model.predict(x, verbose=0),
    ):
        seen.clear()
        with precision_choice.precision("bfloat16"):
            ask()
        others = [rounds for thread, rounds in seen if thread is not threading.current_thread()]
        assert others and all(others)
    assert not precision_choice.rounds_products()


def test_answers_to_batches_are_traced_once() -> None:
    inputs = keras.Input((2,))
    model = Looks(inputs, keras.layers.Dense(1)(inputs))
    for _ in range(2):
        seen.clear()
        for _ in range(3):
            model.predict_on_batch(np.ones((4, 2), "float32"))
    assert not seen


def test_precision_holds_for_its_own_thread_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision_choice, "has_bfloat16", lambda: False)
    seen: list[Any] = []

    def look() -> None:
        seen.append((precision_choice.rounds_products(), precision_choice.choose_precision()))

    with precision_choice.precision("bfloat16"):
        for _ in range(2):
            thread = threading.Thread(target=look)
            thread.start()
            thread.join()
        assert precision_choice.rounds_products()
    assert seen == [(False, "float32")] * 2


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[dict[str, Any]]:
    """A machine with bfloat16 units that are as fast as the test says, and what it looked at."""
    said: dict[str, Any] = {"seconds": {"float32": 0.3, "bfloat16": 0.1}, "widths": []}

    def measure(width: int) -> dict[str, float]:
        said["widths"].append(width)
        return dict(said["seconds"])

    monkeypatch.setenv("TFHUB_TRANSFER_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(products, "measure", measure)
    monkeypatch.setattr(products, "cpu_model", lambda: "one")
    monkeypatch.setattr(precision_choice, "has_bfloat16", lambda: True)
    token = precision_choice._surrounding.set(None)
    precision_choice.measured_products.cache_clear()
    yield said
    precision_choice.measured_products.cache_clear()
    precision_choice._surrounding.reset(token)


def test_auto_is_what_was_measured_once_for_each_kind_of_cpu_and_width(
    measured: dict[str, Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert not precision_choice.was_measured()
    assert [precision_choice.choose_precision() for _ in range(2)] == ["bfloat16"] * 2
    precision_choice.measured_products.cache_clear()  # as in another process
    measured["seconds"] = {"float32": 0.2, "bfloat16": 0.3}  # as with AVX-512 BF16 but no AMX
    assert precision_choice.choose_precision() == "bfloat16" and measured["widths"] == [384]
    # Small products may not pay where large ones do; those of about one width are one.
    assert [precision_choice.choose_precision("auto", width) for width in (8, 100, 128)] == [
        "float32"
    ] * 3
    with precision_choice.precision("auto", 130) as chosen:
        assert chosen == "float32" == precision_choice.choose_precision("auto", 400)
    assert (
        measured["widths"] == [384, 128]
        and precision_choice.choose_precision("auto", 400) == "bfloat16"
    )
    monkeypatch.setattr(products, "cpu_model", lambda: "another")
    precision_choice.measured_products.cache_clear()
    assert precision_choice.choose_precision() == "float32" and measured["widths"] == [
        384,
        128,
        384,
    ]
    kept = json.loads((tmp_path / "precision.json").read_text("utf-8"))
    way = f"TensorFlow {tf.__version__}, computation {storage_names.COMPUTATION}"
    ends = (f"{way}, width {width}" for width in (384, 128, 384))
    names = [f"{cpu}, {end}" for cpu, end in zip(("one", "one", "another"), ends)]
    fast, slow = {"float32": 0.3, "bfloat16": 0.1}, measured["seconds"]
    assert kept == dict(zip(names, (fast, slow, slow)))
    assert precision_choice.was_measured()


def test_models_ask_for_the_width_of_their_encoder(
    measured: dict[str, Any], text_encoder: Path, tmp_path: Path
) -> None:
    measured["seconds"] = {"float32": 0.1, "bfloat16": 0.3}
    widths = iter([1000, 520, 250, 130, 700])
    encoder = tt.Encoder(str(text_encoder))
    model: Any = tt.build_model(encoder, tt.tasks.Classification(["a", "b"]))
    examples = tt.data.Examples.from_lists(["good", "bad"], ["a", "b"])
    plan = tt.Plan(head_epochs=1, verbose=0)
    with pytest.MonkeyPatch.context() as patch:
        for ask in (
            lambda: model.predict_text(["good"]),
            lambda: model.evaluate(model.preprocess(examples), verbose=0),
            lambda: tt.fine_tune(model, examples, examples, 1, unfreeze="none", plan=plan),
            lambda: tt.export_saved_model(model, tmp_path / "out"),
            lambda: model.compute_features(examples),
        ):
            width = next(widths)
            patch.setattr(tt.Encoder, "dimension", property(lambda self, width=width: width))
            ask()
    assert measured["widths"] == [1024, 512, 256, 128, 768]


@pytest.mark.parametrize("text", ["", "[]", '{"x": 3}', "[" * 100_000, '{"a": {"float32": NaN}}'])
def test_what_is_no_measurement_is_measured_anew(
    measured: dict[str, Any], tmp_path: Path, text: str
) -> None:
    (tmp_path / "precision.json").write_text(text, "utf-8")
    assert precision_choice.choose_precision() == "bfloat16" and measured["widths"] == [384]
    assert len(json.loads((tmp_path / "precision.json").read_text("utf-8"))) == 1


def test_where_nothing_is_kept_it_is_measured_too(
    measured: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TFHUB_TRANSFER_CACHE_DIR", "")
    assert precision_choice.choose_precision() == "bfloat16" and measured["widths"] == [384]


def test_a_layer_is_measured_at_both_precisions() -> None:
    seconds = products.measure(128)
    assert set(seconds) == {"float32", "bfloat16"}
    assert all(0 < each < 60 for each in seconds.values())
    assert not precision_choice.rounds_products() and products.cpu_model()


@pytest.mark.slow  # with TensorFlow's graph optimizer, which puts its casts in
@pytest.mark.skipif(
    not precision_choice.has_bfloat16(), reason="this machine has no bfloat16 units"
)
def test_what_tensorflow_rewrites_to_bfloat16_is_float32_inside_a_block() -> None:
    generator = np.random.default_rng(0)
    a, b = generator.normal(size=(2, 64, 64)).astype("float32")
    product = tf.function(lambda x, y: tf.matmul(x, y), autograph=False)
    option = "auto_mixed_precision_onednn_bfloat16"
    tf.config.optimizer.set_experimental_options({option: True})
    try:
        with futures.ThreadPoolExecutor(1) as other:  # a thread of its own has no block around it
            assert np.abs(other.submit(product, a, b).result() - a @ b).max() > 1e-2
        for name in ("float32", "bfloat16"):
            with precision_choice.precision(name):
                np.testing.assert_allclose(product(a, b), a @ b, atol=1e-4)
    finally:
        tf.config.optimizer.set_experimental_options({option: False})


def test_one_device_needs_no_strategy() -> None:
    for name in ("auto", "none", "mirrored"):
        assert machine.strategy(name) is tf.distribute.get_strategy()


def test_a_strategy_of_one_device_is_as_good_as_none(
    text_encoder: Path, bert_encoder: Path
) -> None:
    """As users make it who may have one GPU or several."""
    task = tt.tasks.Classification(["a", "b"])
    for encoder in map(str, (text_encoder, bert_encoder)):
        answers = []
        for scope in (contextlib.nullcontext(), tf.distribute.MirroredStrategy(["CPU:0"]).scope()):
            machine.seed_everything(3)
            with scope:
                model = tt.build_model(encoder, task)
            answers.append(model.predict_scores(["a good film", "bad"]))
        np.testing.assert_array_equal(*answers)


def test_a_runtime_seeds_rounds_and_compiles_what_is_built_inside(
    bert_encoder: Path, text_encoder: Path
) -> None:
    task = tt.tasks.Classification(["a", "b"])
    kernels = []
    for seed in (7, 7, 8):
        made = tt.runtime.Runtime("none", "float32", jit_compile=seed == 8, seed=seed)
        with made.scope() as strategy:
            assert strategy.num_replicas_in_sync == 1
            assert tt.runtime.choose_precision() == "float32"
            model = tt.build_model(str(bert_encoder), task)
        assert model.jit_compile is (seed == 8)
        kernels.append(model.layers[-1].kernel.numpy())
    np.testing.assert_array_equal(kernels[0], kernels[1])
    assert not np.array_equal(kernels[0], kernels[2])
    assert tt.build_model("auto", task).jit_compile is False
    with (
        tt.runtime.Runtime(jit_compile=True).scope(),
        pytest.raises(InputError, match="XLA can't compile a text-embedding encoder"),
    ):
        tt.build_model(str(text_encoder), task)


def test_a_runtime_leaves_precision_to_the_width_of_encoders(
    measured: dict[str, Any], tmp_path: Path
) -> None:
    with tt.runtime.Runtime("none").scope():
        assert precision_choice.surrounding() is None
        with precision_choice.precision("bfloat16"), tt.runtime.Runtime("none").scope():
            assert tt.runtime.choose_precision() == "bfloat16"


def test_a_tpu_takes_no_strings(
    text_encoder: Path, bert_encoder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Tpu(tf.distribute.TPUStrategy):
        num_replicas_in_sync = 8

        def __init__(self) -> None: ...

    text, ids = tt.Encoder(str(text_encoder)), tt.Encoder(str(bert_encoder))
    monkeypatch.setattr(building.tf.distribute, "get_strategy", Tpu)
    with pytest.raises(InputError, match="works on strings; without a TPU"):
        building.compiles(text, "auto")
    assert building.compiles(ids, "on") and not building.compiles(ids, "auto")


def test_xla_only_where_asked_for() -> None:
    assert [machine.use_jit(name) for name in machine.JIT] == [False, True, False]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: machine.seed_everything(-1), "`seed` must be a whole number .*Received: -1"),
        (lambda: machine.strategy("many"), "`strategy` must be one of auto, none, mirrored"),
        (lambda: machine.use_jit("yes"), "`jit` must be one of auto, on, off"),
        (lambda: running.Runtime("many"), "`strategy` must be one of auto, none, mirrored"),
        (lambda: running.Runtime(precision="8"), "`precision` must be one of"),
        (lambda: running.Runtime(jit_compile="on"), "`jit_compile` must be True, False or"),
        (lambda: running.Runtime(seed=-1), "`seed` must be a whole number .*Received: -1"),
        (lambda: precision_choice.precision("fp8").__enter__(), "`precision` must be one of"),
    ],
)
def test_refusals(call: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        call()  # type: ignore[operator]
