"""What weights alone decide is computed once, before anybody asks, and is there once."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

import tfhub_transfer as tt
from tfhub_transfer.graphs import folding
from tfhub_transfer.graphs.surgery import NotFlat
from tfhub_transfer.runtime import precision_choice

IDS = np.array([[2, 5, 6, 7, 3, 0], [2, 9, 8, 3, 0, 0]], "int32")
INPUTS = {
    "input_word_ids": tf.constant(IDS),
    "input_mask": tf.constant((IDS > 0).astype("int32")),
    "input_type_ids": tf.zeros_like(IDS),
}


def fold(function: Any, *variables: tf.Variable) -> folding.Folded:
    spec = {"x": tf.TensorSpec([None, 2], tf.float32)}
    return folding.fold(lambda inputs: {"y": function(inputs["x"])}, spec, variables)


def operations(folded: folding.Folded) -> list[tf.Operation]:
    return folded.function.graph.get_operations()


def constants(folded: folding.Folded) -> list[np.ndarray]:
    """Those of bfloat16 with rows and columns."""
    found = [op for op in folded.function.graph.get_operations() if op.type == "Const"]
    values = [tf.make_ndarray(op.get_attr("value")) for op in found]
    return [each for each in values if each.dtype == tf.bfloat16 and each.ndim > 1]


@pytest.mark.parametrize("most", [8, 7])
def test_each_weight_is_there_once_in_the_type_that_is_asked_for(
    most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folding, "MOST_CONSTANT_BYTES", most)
    kernel, bias = tf.Variable([[1.0, 2.0], [3.0, 4.0]]), tf.Variable([1.0, 2.0])
    table, unread = tf.Variable(tf.ones([9, 2])), tf.Variable(tf.ones([3, 3]))

    def call(x: tf.Tensor) -> tf.Tensor:
        for _ in range(2):
            # As rounded products are: a cast for each who reads.
            low = tf.cast(x, tf.bfloat16) @ tf.transpose(tf.cast(kernel, tf.bfloat16))
            x = tf.cast(low, tf.float32) + 2.0 * bias
        return x + tf.nn.embedding_lookup(table, tf.cast(x[:, 0], tf.int32) % 9)

    folded = fold(call, kernel, bias, table, unread)
    x = tf.constant([[0.5, 1.0], [1.0, 0.0], [3.0, -1.0]])
    np.testing.assert_array_equal(folded.function(x)[0], call(x))
    # A table of which rows are read is the variable that it was.
    assert any(each is table for each in folded.variables)
    low = [each.numpy() for each in folded.variables if each is not table and len(each.shape) > 1]
    # What the graph would be too large with is a variable.
    [once], none = (constants(folded), low) if most == 8 else (low, constants(folded))
    assert none == [] and once.dtype == tf.bfloat16
    np.testing.assert_array_equal(once.astype("float32"), tf.transpose(kernel))


def test_what_does_more_than_compute_is_refused() -> None:
    seen = tf.Variable(0.0)

    def call(x: tf.Tensor) -> tf.Tensor:
        seen.assign_add(1.0)
        return x * seen

    with pytest.raises(NotFlat, match="it writes to its variables"):
        fold(call, seen)


def test_what_is_random_stays_so() -> None:
    folded = fold(lambda x: x + tf.random.normal([2, 2]))
    one, other = (folded.function(tf.zeros([2, 2]))[0].numpy() for _ in range(2))
    assert (one != other).all()


def test_an_encoder_at_bfloat16_holds_each_weight_once(bert_encoder: Path) -> None:
    encoder = tt.Encoder(str(bert_encoder))
    spec = {k: tf.TensorSpec([None, None], tf.int32) for k in INPUTS}

    def call(inputs: Any) -> dict[str, tf.Tensor]:
        return {"pooled": encoder(inputs, training=False)["pooled_output"]}

    with precision_choice.precision("bfloat16"), precision_choice.without_gradients():
        folded = folding.fold(call, spec, [w.value for w in encoder.weights])
        expected = tf.function(call, autograph=False)(INPUTS)["pooled"]
    [pooled] = folded.function(*(INPUTS[k] for k in sorted(INPUTS)))
    np.testing.assert_array_equal(pooled, expected)
    matrices = [w for w in encoder.weights if len(w.shape) > 1 and not w.path.endswith("bias")]
    low = constants(folded)
    # Two layers of six dense ones, pooler, types of tokens; of words and positions rows are read.
    assert len(low) == 14 and len(matrices) == 16
    tables = [each for each in folded.variables if len(each.shape) > 1]
    sizes = [each.size for each in low] + [int(tf.size(each)) for each in tables]
    assert sorted(sizes) == sorted(int(tf.size(each)) for each in matrices)
    assert {each.dtype for each in tables} == {tf.float32}
    # No request computes anything of weights alone.
    read = {op.name for op in operations(folded) if op.type in ("Const", "ReadVariableOp")}
    casts = [op for op in operations(folded) if op.type == "Cast"]
    assert casts and not [op for op in casts if op.inputs[0].op.name in read]


def test_what_is_computed_twice_is_one_operation() -> None:
    kernel = tf.Variable([[1.0, 2.0], [3.0, 4.0]])

    def call(x: tf.Tensor) -> tf.Tensor:
        twice = [tf.tanh(x @ kernel) for _ in range(2)]
        parts = [tf.split(x, 2, axis=1) for _ in range(2)]
        return tf.concat([*twice, parts[0][1], parts[1][1]], axis=1)

    folded, x = fold(call, kernel), tf.constant([[0.5, 1.0], [1.0, 0.0]])
    np.testing.assert_array_equal(folded.function(x)[0], call(x))
    kinds = [each.type for each in operations(folded)]
    assert kinds.count("MatMul") == kinds.count("Tanh") == 1
