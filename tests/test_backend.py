"""Keras must compute with TensorFlow, and TensorFlow has no reason to complain in normal use."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import tensorflow as tf

import tfhub_transfer as tt
from tfhub_transfer import backend, runtime

TEXTS = ["a good film", "the worst movie", "good", "bad acting, bad story"] * 10
LABELS = ["good", "bad", "good", "bad"] * 10


def started(*words: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    given = {k: v for k, v in os.environ.items() if not k.startswith("KERAS_")}
    return subprocess.run(
        [sys.executable, *words],
        env={**given, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.mark.parametrize("name", ["jax", "torch", "openvino", "numpy"])
def test_another_backend_is_one_line_on_the_command_line(name: str) -> None:
    done = started("-m", "tfhub_transfer", "predict", "out", KERAS_BACKEND=name)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert "set KERAS_BACKEND=tensorflow before Keras is imported" in done.stderr
    assert f"Received: the backend '{name}', from KERAS_BACKEND" in done.stderr
    assert started("-m", "tfhub_transfer", "--help", KERAS_BACKEND=name).returncode == 0


def test_settings_of_keras_count_too(tmp_path: Path) -> None:
    (tmp_path / "keras.json").write_text('{"backend": "jax"}', encoding="utf-8")
    code = "import tfhub_transfer as tt\ntry: tt.build_model\nexcept tt.InputError as e: print(e)"
    said = started("-c", code, KERAS_HOME=str(tmp_path)).stdout
    assert said.endswith(f"Received: the backend 'jax', from {tmp_path / 'keras.json'}\n")
    tensorflow = {"KERAS_HOME": str(tmp_path), "KERAS_BACKEND": "tensorflow"}
    command = "from tfhub_transfer import backend; backend.require_tensorflow(); print('fine')"
    assert started("-c", command, **tensorflow).stdout == "fine\n"
    (tmp_path / "keras.json").write_text("{", encoding="utf-8")  # Keras passes it over as well
    assert started("-c", command, KERAS_HOME=str(tmp_path)).stdout == "fine\n"
    backend.require_tensorflow()  # what this process has imported


def build(encoder: Path) -> Any:
    return tt.build_model(str(encoder), tt.tasks.Classification(["bad", "good"]))


def test_asking_many_models_is_no_retracing(text_encoder: Path, heard: list[str]) -> None:
    """TensorFlow counts by line of code, whichever model it is of."""
    for size in range(1, 7):
        build(text_encoder).predict_text(TEXTS[:size])
    assert heard == []


@pytest.mark.slow
def test_normal_use_is_no_retracing(bert_encoder: Path, heard: list[str], tmp_path: Path) -> None:
    every = tt.data.Examples.from_lists(TEXTS, LABELS)
    plan = tt.Plan(head_epochs=2, verbose=0)
    for fold in range(2):
        model = build(bert_encoder)
        tt.fine_tune(model, every[: 21 + fold], every[30:37], 1, 1, batch_size=5, plan=plan)
        tt.evaluate(model, every[: 11 + fold], baselines=False)
        for size in (1, 2, 3, 5, 7, 11):
            model.predict_text(TEXTS[:size])
            model.predict_scores(TEXTS[:size])
    served = tt.load_saved_model(tt.export_saved_model(model, tmp_path))
    for size in (1, 2, 3, 5, 7, 11):
        served.predict(TEXTS[:size])
    assert heard == []


def called(function: Any, *numbers: int) -> None:
    for number in numbers:
        function(number)


def test_each_function_of_keras_is_counted_by_itself(heard: list[str]) -> None:
    def made() -> Any:
        return tf.function(lambda number: tf.constant(1) * number)

    functions = [made() for _ in range(6)]
    for function in functions:
        runtime.counted_alone(function)
        called(function, 1)
    assert heard == []
    called(functions[0], *range(2, 8))  # which is traced for each number
    assert len(heard) == 2 and "triggered tf.function retracing" in heard[0]


@pytest.mark.slow
def test_short_trainings_are_no_retracing(text_encoder: Path, heard: list[str]) -> None:
    """As in a search: each traces its own functions."""
    rows = tt.data.Examples.from_lists(TEXTS, LABELS)[:4]
    for _ in range(6):
        model = build(text_encoder)
        batches = model.preprocess(rows, shuffle=False)
        model.fit(batches, verbose=0)
        model.evaluate(batches, verbose=0)
        model.predict(batches, verbose=0)
    assert heard == []


@pytest.mark.slow
@pytest.mark.exhaustive
@pytest.mark.parametrize("block", ["none", "cnn"])
def test_fine_tuning_many_models_is_no_retracing(
    block: str, bert_encoder: Path, heard: list[str]
) -> None:
    every = tt.data.Examples.from_lists(TEXTS, LABELS)
    plan = tt.Plan(head_epochs=1, verbose=0)
    for _ in range(5):
        task, head = tt.tasks.Classification(["bad", "good"]), tt.Head(block=block)
        model = tt.build_model(str(bert_encoder), task, head, sequence_length=16)
        tt.fine_tune(model, every[:8], every[30:34], 1, 1, batch_size=4, plan=plan)
    assert heard == []
