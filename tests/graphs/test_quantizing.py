"""Products of bytes: what is rounded, to what, and that nothing else is lost."""

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from tfhub_transfer.graphs import folding, quantizing
from tfhub_transfer.graphs.surgery import NotFlat

RNG = np.random.default_rng(0)
X = (RNG.normal(size=(7, 40)) * 10.0 ** RNG.integers(-3, 3, (7, 1))).astype("float32")
MATRIX = (RNG.normal(size=(40, 9)) * 10.0 ** RNG.integers(-3, 3, 9)).astype("float32")
# On both sides of zero by far, as what comes out of an activation is.
LOPSIDED = np.abs(X) + 3.0


def in_bytes(values: np.ndarray, axis: int) -> np.ndarray:
    """What is left of a matrix after it was rounded, as float64."""
    most = np.abs(values.astype("float64")).max(axis=axis, keepdims=True)
    return np.rint(values / most * 127) / 127 * most


def fold(function: Any, *variables: tf.Variable, low: Any = None) -> folding.Folded:
    spec = {"x": tf.TensorSpec([None, 40], tf.float32)}
    low = variables if low is None else low
    return folding.fold(lambda given: {"y": function(given["x"])}, spec, variables, low)


def matrices(folded: folding.Folded) -> list[np.ndarray]:
    """The constants of bytes."""
    found = [op for op in folded.function.graph.get_operations() if op.type == "Const"]
    values = [tf.make_ndarray(op.get_attr("value")) for op in found]
    return [value for value in values if value.dtype == np.int8]


@pytest.mark.parametrize("x", [X, LOPSIDED, -LOPSIDED], ids=["around zero", "above", "below"])
def test_a_product_is_that_of_what_was_rounded(x: np.ndarray) -> None:
    kernel = tf.Variable(MATRIX)
    [found] = fold(lambda given: given @ kernel, kernel).function(tf.constant(x))
    expected = in_bytes(x, 1) @ in_bytes(MATRIX, 0)
    # By the size of rows and columns, of which sums may be near zero.
    size = np.abs(x).max(1)[:, None] * np.abs(MATRIX).max(0) * len(MATRIX)
    assert np.abs(found.numpy() - expected).max() > 0
    np.testing.assert_allclose(found.numpy() / size, expected / size, atol=2e-5)


def test_a_row_is_rounded_by_itself() -> None:
    """Or a text's answer would depend on what stands beside it."""
    kernel = tf.Variable(MATRIX)
    function = fold(lambda given: given @ kernel, kernel).function
    [together] = function(tf.constant(X))
    for row in range(len(X)):
        [alone] = function(tf.constant(X[row : row + 1]))
        np.testing.assert_array_equal(alone[0], together[row])


def test_zeros_stay_zeros_and_what_is_no_number_none() -> None:
    kernel = tf.Variable(np.where(np.arange(9) == 4, 0.0, MATRIX))
    x = X.copy()
    x[2], x[3, 5] = 0.0, np.nan
    [found] = fold(lambda given: given @ kernel, kernel).function(tf.constant(x))
    assert (np.abs(found.numpy()[2]) < 1e-20).all() and np.isnan(found.numpy()[3]).all()
    np.testing.assert_allclose(found.numpy()[[0, 1, 4], 4], 0.0, atol=1e-6)


@pytest.mark.parametrize("most", [10**9, 0], ids=["constants", "variables"])
def test_each_matrix_is_there_once_and_only_those_that_are_named(
    most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folding, "MOST_CONSTANT_BYTES", most)
    square = RNG.normal(size=(40, 40)).astype("float32")
    inner, turned, head = tf.Variable(square), tf.Variable(MATRIX.T), tf.Variable(MATRIX[:9])

    def call(x: tf.Tensor) -> tf.Tensor:
        low = tf.matmul((x @ inner) @ inner, turned, transpose_b=True)
        return low @ head

    folded = fold(call, inner, turned, head, low=[inner, turned])
    expected = in_bytes(X, 1) @ in_bytes(square, 0)
    expected = in_bytes(in_bytes(expected, 1) @ in_bytes(square, 0), 1) @ in_bytes(MATRIX, 0)
    [found] = folded.function(tf.constant(X))
    np.testing.assert_allclose(found, expected @ MATRIX[:9], rtol=0.02, atol=0.02 * found[0, 0])
    bytes_ = matrices(folded) or [v.numpy() for v in folded.variables if v.dtype == tf.int8]
    assert sorted(each.shape for each in bytes_) == [(40, 9), (40, 40)]
    assert any(each is head for each in folded.variables)
    assert not any(each is inner or each is turned for each in folded.variables)


def test_rows_of_a_table_are_rounded_by_row() -> None:
    table, kernel = tf.Variable(MATRIX), tf.Variable(MATRIX)

    def call(x: tf.Tensor) -> tf.Tensor:
        rows = tf.cast(tf.math.floormod(x[:, :3], 40.0), tf.int32)
        return tf.nn.embedding_lookup(table, rows) + (x @ kernel)[:, None] * 0.0

    folded = fold(call, table, kernel)
    [found] = folded.function(tf.constant(X))
    rows = np.floor(np.mod(X[:, :3], 40)).astype(int)
    np.testing.assert_allclose(found, in_bytes(MATRIX, 1)[rows], rtol=1e-5)
    assert [v.shape.as_list() for v in folded.variables if v.dtype == tf.int8] == [[40, 9]]


def test_what_has_no_product_is_refused() -> None:
    shift = tf.Variable(X[0])
    with pytest.raises(NotFlat, match="no product with a weight"):
        fold(lambda given: given + shift, shift)
    with pytest.raises(NotFlat, match="no product with a weight"):
        fold(lambda given: tf.matmul(given, given, transpose_b=True), shift)


def test_no_number_moves_by_more_than_half_a_step() -> None:
    values, scale = quantizing.rounded(MATRIX, axis=0)
    assert (values.dtype, scale.dtype, scale.shape) == (np.int8, np.float32, (9,))
    assert (np.abs(values).max(axis=0) == 127).all()
    assert (np.abs(values * scale - MATRIX) <= 0.5001 * scale).all()
