"""Steps as a TPU takes them: one program of XLA, every shape known, nothing left to the host."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import pytest
import tensorflow as tf
from samples import ROWS, of_lengths

import tfhub_transfer as tt

QUICK = "token-classification"
REST = [pytest.param(name, marks=pytest.mark.exhaustive) for name in sorted(set(ROWS) - {QUICK})]
# What a program of XLA says to its host, or asks of it.
HOST = {"infeed", "outfeed", "send", "send-done", "recv", "recv-done", "custom-call"}


def program(step: Callable[[Any], Any], batch: Any) -> tuple[Any, str]:
    """The graph of a step on a batch of known shapes, and what XLA makes of it."""
    compiled = tf.function(step, jit_compile=True, autograph=False)
    spec = tf.nest.map_structure(lambda each: tf.TensorSpec(each.shape, each.dtype), batch)
    graph = compiled.get_concrete_function(spec).graph
    return graph, compiled.experimental_get_compiler_ir(batch)(stage="hlo")


def assert_whole(step: Callable[[Any], Any], batch: Any) -> None:
    graph, hlo = program(step, batch)
    operations = graph.get_operations()
    assert not [each.name for each in operations if "PyFunc" in each.type]
    outputs = [output for each in operations for output in each.outputs]
    assert not [output.name for output in outputs if output.dtype == tf.string]
    codes = set(re.findall(r"^\s*(?:ROOT )?%\S+ = .*? ([a-z0-9-]+)\(", hlo, re.M))
    assert {"parameter", "dot"} <= codes and not codes & HOST
    assert "<=" not in hlo  # as shapes have it of which only the most is known


@pytest.mark.slow
@pytest.mark.parametrize("name", [QUICK, *REST])
def test_steps_of_every_task_are_one_program(
    name: str, make_encoder: Callable[[str], Path]
) -> None:
    sample = ROWS[name]
    keras.utils.set_random_seed(3)
    encoder = str(make_encoder("bert_encoder"))
    model = tt.build_model(encoder, sample.task(), sample.head, sequence_length=24)
    model.encoder.freeze_to(-1)
    model.jit_compile = True
    batches = model.preprocess(of_lengths(sample.examples), 4)
    model.jit_compile = False
    batch = next(iter(batches))
    model.train_on_batch(*batch)  # which makes what metrics and optimizer hold
    assert_whole(model.train_step, batch)
    assert_whole(model.test_step, batch)
    assert_whole(model.predict_step, batch[0])


def test_what_asks_the_host_is_seen() -> None:
    def step(x: Any) -> Any:
        return tf.strings.length(tf.strings.as_string(x))

    compiled = tf.function(step, autograph=False)
    graph = compiled.get_concrete_function(tf.TensorSpec([2], tf.int32)).graph
    assert [o for each in graph.get_operations() for o in each.outputs if o.dtype == tf.string]
    with pytest.raises(ValueError, match="unsupported operations"):
        assert_whole(step, tf.constant([1, 2]))
