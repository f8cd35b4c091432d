"""Flat graphs compute what the SavedModel computes, gradients too, in forms that fuse."""

import collections
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

import tfhub_transfer as tt
from tfhub_transfer.graphs import rewriting, surgery
from tfhub_transfer.graphs.surgery import FlatGraph, NotFlat, Ref
from tfhub_transfer.runtime import precision_choice

IDS = np.array([[2, 5, 6, 7, 3, 0], [2, 9, 8, 3, 0, 0]], "int32")
INPUTS = {
    "input_word_ids": tf.constant(IDS),
    "input_mask": tf.constant((IDS > 0).astype("int32")),
    "input_type_ids": tf.zeros_like(IDS),
}
KINDS = ("bert_encoder", "albert_encoder", "list_style_encoder")


def flatten(function: Any, variables: Any = (), **shapes: Any) -> FlatGraph:
    specs = {k: tf.TensorSpec(shape, tf.float32) for k, shape in shapes.items()}
    return surgery.flatten(lambda inputs: {"y": function(**inputs)}, specs, list(variables))


def read(variable: tf.Variable, rows: tf.Tensor | None) -> tf.Tensor:
    return tf.convert_to_tensor(variable) if rows is None else tf.gather(variable, rows)


def replay(flat: FlatGraph, **tensors: Any) -> np.ndarray:
    given = {flat.inputs[k]: tf.constant(v, tf.float32) for k, v in tensors.items()}
    [made] = flat.replay([flat.outputs["y"]], given, read)
    return made.numpy()


def emitted(function: Any, *specs: tf.TensorSpec) -> collections.Counter:
    concrete = tf.function(function, autograph=False).get_concrete_function(*specs)
    return collections.Counter(op.type for op in concrete.graph.get_operations())


@pytest.mark.parametrize("kind", KINDS)
def test_a_flat_encoder_is_the_encoder(kind: str, request: pytest.FixtureRequest) -> None:
    encoder = tt.Encoder(str(request.getfixturevalue(kind)))
    own = encoder._functions(INPUTS, False)
    flat = tf.function(lambda inputs: encoder(inputs))(INPUTS)
    assert set(own) == set(flat)
    for one, other in zip(tf.nest.flatten(own), tf.nest.flatten(flat)):
        np.testing.assert_allclose(one, other, atol=1e-5)


def test_gradients_are_those_of_the_encoder(bert_encoder: Path) -> None:
    encoder = tt.Encoder(str(bert_encoder))
    encoder.freeze_to(-2)
    weights = [v for _, vs in encoder.layer_groups[-2:] for v in vs]
    raw = [w.value for w in weights]

    def gradients(call: Any) -> Any:
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(raw)
            loss = tf.reduce_sum(tf.square(call()["sequence_output"]))
        return tape.gradient(loss, raw)

    own = gradients(lambda: encoder._functions(INPUTS, False))
    flat = tf.function(lambda: gradients(lambda: encoder(INPUTS)))()
    for one, other, weight in zip(own, flat, weights):
        # The closed function gives zeros where the flat graph knows that nothing flows.
        one, other = (np.zeros(weight.shape) if g is None else g for g in (one, other))
        np.testing.assert_allclose(one, other, atol=1e-3, rtol=1e-3)
    assert sum(g is not None for g in flat) > 10


def test_frozen_weights_get_no_gradient_and_cost_none(bert_encoder: Path) -> None:
    encoder = tt.Encoder(str(bert_encoder))
    encoder.freeze_to(-1)
    low = encoder.layer_groups[0][1][0].value

    @tf.function
    def gradient() -> Any:
        with tf.GradientTape() as tape:
            tape.watch(low)
            loss = tf.reduce_sum(encoder(INPUTS)["sequence_output"])
        found = tape.gradient(loss, low)
        return tf.constant(1) if found is None else tf.constant(0)

    assert int(gradient()) == 1


def test_an_encoder_that_differs_when_rewritten_runs_as_saved(
    bert_encoder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wrong(flat: FlatGraph) -> Any:
        name = next(n for n in flat.nodes if flat.nodes[n].op == "Softmax")
        return {name: surgery.Rewrite(tuple(flat.node_inputs(name)), lambda x: x * 0.0)}

    monkeypatch.setattr(rewriting, "find", wrong)
    encoder = tt.Encoder(str(bert_encoder))
    own = encoder._functions(INPUTS, False)
    with pytest.warns(UserWarning, match="runs as it was saved.*it differs by"):
        flat = tf.function(lambda: encoder(INPUTS))()
    np.testing.assert_array_equal(own["sequence_output"], flat["sequence_output"])
    assert encoder.boundary() is None


def test_what_is_not_plain_computation_is_refused() -> None:
    counter = tf.Variable(0.0)
    with pytest.raises(NotFlat, match="writes to its variables"):
        flatten(lambda x: x + counter.assign_add(1.0), [counter], x=[None])
    with pytest.raises(NotFlat, match="isn't one of its variables"):
        flatten(lambda x: x + counter, [], x=[None])
    with pytest.raises(NotFlat, match="functions"):
        flatten(
            lambda x: tf.while_loop(lambda y: tf.reduce_sum(y) < 9, lambda y: [y + 1], [x])[0],
            x=[None],
        )


def test_needs_and_cuts() -> None:
    kernel, upper = tf.Variable(tf.eye(3)), tf.Variable(2.0 * tf.eye(3))

    def call(x: tf.Tensor) -> tf.Tensor:
        return tf.matmul(tf.nn.relu(tf.matmul(x, kernel)), upper)

    flat = flatten(call, [kernel, upper], x=[None, 3])
    relu = Ref(next(n for n in flat.nodes if flat.nodes[n].op == "Relu"))
    assert [v is kernel for v in flat.reads([relu])] == [True]
    assert len(flat.reads([flat.outputs["y"]])) == 2
    assert flat.is_clean_cut(relu, [flat.outputs["y"]])

    def skip(x: tf.Tensor) -> tf.Tensor:
        product = tf.matmul(x, kernel)
        return tf.matmul(tf.nn.relu(product), upper) + product

    skipping = flatten(skip, [kernel, upper], x=[None, 3])
    relu_of_it = Ref(next(n for n in skipping.nodes if skipping.nodes[n].op == "Relu"))
    assert not skipping.is_clean_cut(relu_of_it, [skipping.outputs["y"]])
    np.testing.assert_allclose(replay(flat, x=[[1.0, -1.0, 2.0]]), [[2.0, 0.0, 4.0]])
    [above] = flat.replay([flat.outputs["y"]], {relu: tf.ones([1, 3])}, read)
    np.testing.assert_allclose(above, [[2.0, 2.0, 2.0]])


def erf_by_complement(x: tf.Tensor) -> tf.Tensor:
    return 0.5 * x * tf.math.erfc(-x * 0.7071067811865476)


def tanh_by_power(x: tf.Tensor) -> tf.Tensor:
    return x * (0.5 * (1.0 + tf.tanh(0.7978845608028654 * (x + 0.044715 * tf.pow(x, 3.0)))))


@pytest.mark.parametrize(
    ("function", "gone"), ((erf_by_complement, "Erfc"), (tanh_by_power, "Pow"))
)
def test_gelu_fuses_with_the_dense_layer_before_it(function: Any, gone: str) -> None:
    kernel = tf.Variable(tf.random.stateless_normal([4, 2, 3], [1, 2]))
    bias = tf.Variable(tf.random.stateless_normal([2, 3], [3, 4]))

    def call(x: tf.Tensor) -> tf.Tensor:
        return function(tf.einsum("abc,cde->abde", x, kernel) + bias)

    flat = flatten(call, [kernel, bias], x=[None, None, 4])
    x = np.random.default_rng(0).normal(size=(2, 5, 4)).astype("float32")
    before = replay(flat, x=x)
    flat.rewrites.update(rewriting.find(flat))
    np.testing.assert_allclose(replay(flat, x=x), before, atol=1e-5)

    def made(x: tf.Tensor) -> Any:
        return flat.replay([flat.outputs["y"]], {flat.inputs["x"]: x}, read)

    ops = emitted(made, tf.TensorSpec([None, None, 4]))
    assert ops["MatMul"] == ops["BiasAdd"] == 1
    assert not ops["Einsum"] and not ops[gone]


def test_layer_norm_keeps_its_epsilon() -> None:
    gamma, beta = tf.Variable([1.0, 2.0, 3.0]), tf.Variable([0.5, 0.0, -0.5])

    def call(x: tf.Tensor) -> tf.Tensor:
        mean, variance = tf.nn.moments(x, [-1], keepdims=True)
        return tf.nn.batch_normalization(x, mean, variance, beta, gamma, 1e-12)

    flat = flatten(call, [gamma, beta], x=[None, 3])
    found = rewriting.find(flat)
    assert {flat.nodes[name].op for name in found} == {"AddV2", "Rsqrt"}
    # Values so close that another epsilon would show.
    x = [[1.0, 1.001, 1.002], [0.0, 2.0, 4.0]]
    before = replay(flat, x=x)
    flat.rewrites.update(found)
    np.testing.assert_allclose(replay(flat, x=x), before, atol=1e-3)
    assert abs(before[0, 0]) > 0.5


def test_roots_are_the_same_wherever_they_stand() -> None:
    numbers = np.random.default_rng(0).uniform(0.01, 3.0, 400).astype("float32")
    with precision_choice.precision("bfloat16"):
        ask = tf.function(rewriting._reciprocal_root, autograph=False, reduce_retracing=True)
        together = ask(tf.constant(numbers)).numpy()
        alone = [ask(tf.constant(numbers[at : at + 1])).numpy()[0] for at in range(0, 400, 10)]
    np.testing.assert_array_equal(alone, together[::10])
    np.testing.assert_allclose(together, numbers**-0.5, rtol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("task", "pair"),
    [
        ("classification", False),
        ("classification", True),
        ("multi-label", False),
        ("regression", False),
    ],
)
def test_xla_compiles_a_step_of_every_task(bert_encoder: Path, task: str, pair: bool) -> None:
    """No string and no open shape is left in what runs on the device."""
    made = tt.tasks.TASKS[task](pair=pair)
    labels: list[Any] = (
        [["a"], ["b"], ["a", "b"], ["b"]] if task == "multi-label" else ["a", "b"] * 2
    )
    labels = [0.1, 0.2, 0.3, 0.4] if task == "regression" else labels
    made.adapt(labels)
    texts = ["a good film", "the worst", "good", "bad movie"]
    rows = tt.data.Examples.from_lists(texts, labels, text_pair=texts if pair else None)
    model = tt.build_model(str(bert_encoder), made, sequence_length=16)
    model.encoder.freeze_to(-1)
    model.jit_compile = True
    model.make_train_function()
    before = [w.numpy() for w in model.trainable_weights]
    model.fit(model.preprocess(rows, 4), epochs=2, verbose=0)
    after = [w.numpy() for w in model.trainable_weights]
    assert all((one != other).any() for one, other in zip(before, after))
    assert int(model.optimizer.iterations) == 2
