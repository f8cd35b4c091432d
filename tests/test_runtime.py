"""Strategies, precision, seeds."""

import json
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfhub_transfer import runtime
from tfhub_transfer.errors import InputError

OPTION = "auto_mixed_precision_onednn_bfloat16"


def test_two_replicas_train_thaw_and_save(bert_encoder: Path, tmp_path: Path) -> None:
    job = Path(__file__).parent / "mirrored_job.py"
    command = [sys.executable, str(job), str(bert_encoder), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    seen = json.loads((tmp_path / "seen.json").read_text(encoding="utf-8"))
    assert (seen["replicas"], seen["copies"], seen["equal"]) == (2, [2], True)
    assert seen["moved"] == ["layer_2", "pooler"]
    assert seen["identical"] == ["embeddings", "layer_0", "layer_1"]
    assert seen["reload"] == 0.0
    assert seen["export"] < 1e-5
    assert seen["tasks"] == {"similarity": True, "tags": True, "several": True}


def test_seed_repeats_weights() -> None:
    def draw() -> np.ndarray:
        runtime.seed_everything(3)
        return keras.layers.Dense(4).build((2, 3)) or np.random.rand(3)

    np.testing.assert_array_equal(draw(), draw())


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
