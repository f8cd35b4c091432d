"""At bfloat16 products of flat graphs are rounded, and nothing else: on any device, under XLA."""

import collections
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import ml_dtypes
import numpy as np
import pytest
import tensorflow as tf

import tfhub_transfer as tt
from tfhub_transfer.graphs import rewriting, rounding, surgery
from tfhub_transfer.graphs.surgery import FlatGraph
from tfhub_transfer.runtime import precision_choice

IDS = np.random.default_rng(0).integers(5, 90, (4, 12)).astype("int32")
IDS[1:, 7:] = IDS[2, 3:] = 0
INPUTS = {
    "input_word_ids": tf.constant(IDS),
    "input_mask": tf.constant((IDS > 0).astype("int32")),
    "input_type_ids": tf.zeros_like(IDS),
}
KINDS = ("bert_still", "albert_encoder", "list_style_encoder", "bert_prefixed_encoder")
SLOW = pytest.mark.slow
# Gives all of a variable, for graphs made by hand.
READ = lambda variable, rows: tf.convert_to_tensor(variable)  # noqa: E731
# What must never see bfloat16: norms, sums, softmax.
FULL = {"Mean", "Sum", "Rsqrt", "Reciprocal", "Sqrt", "SquaredDifference", "Softmax", "AddN"}
PRODUCTS = {"MatMul", "BatchMatMulV2", "Einsum"}


def rounded(values: np.ndarray) -> np.ndarray:
    return np.asarray(values).astype(ml_dtypes.bfloat16).astype("float64")


def distance(one: Any, other: Any) -> float:
    """Of lists of arrays as one vector, by the length of the second."""
    ones, others = (
        np.concatenate([np.ravel(np.asarray(each, "float64")) for each in tf.nest.flatten(given)])
        for given in (one, other)
    )
    return float(np.linalg.norm(ones - others) / np.linalg.norm(others))


def types(graph: tf.Graph, operation: str) -> set[tf.DType]:
    """Of what an operation computes, everywhere in a graph."""
    found = [op for op in graph.get_operations() if op.type == operation]
    return {t.dtype for op in found for t in (*op.inputs, *op.outputs) if t.dtype.is_floating}


def traced(call: Callable[[], Any], precision: str = "bfloat16", answering: bool = False) -> Any:
    with precision_choice.precision(precision), precision_choice.without_gradients(answering):
        return tf.function(call, autograph=False).get_concrete_function()


def with_rounded_factors(flat: FlatGraph) -> None:
    """Every product of two matrices becomes one of float32, of factors as bfloat16 has them."""

    def emulated(emit: Callable[..., tf.Tensor]) -> Callable[..., tf.Tensor]:
        def apply(*given: tf.Tensor) -> tf.Tensor:
            low = [tf.cast(tf.cast(each, tf.bfloat16), tf.float32) for each in given[:2]]
            return emit(*low, *given[2:])

        return apply

    for name, node in list(flat.nodes.items()):
        if name in flat.rewrites and flat.rewrites[name].acts_as in PRODUCTS:
            old = flat.rewrites[name]
            flat.rewrites[name] = old._replace(emit=emulated(old.emit))
        elif name not in flat.rewrites and node.op in PRODUCTS:
            emit = emulated(lambda *given, node=node: surgery._emit(node, list(given))[0])
            flat.rewrites[name] = surgery.Rewrite(tuple(flat.node_inputs(name)), emit)


def gradients(encoder: Any) -> list[tf.Tensor]:
    weights = [w.value for _, group in encoder.layer_groups for w in group]
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(weights)
        made = encoder(INPUTS, training=False)
        # Something that depends on every output unevenly.
        parts = [made["sequence_output"], made["pooled_output"][:, None]]
        loss = tf.add_n([tf.reduce_sum(tf.sin(3.0 * part) ** 2) for part in parts])
    found = tape.gradient(loss, weights, unconnected_gradients="zero")
    return [tf.convert_to_tensor(each) for each in found]


def of_inference(encoder: Any) -> list[tf.Tensor]:
    made = encoder(INPUTS, training=False)
    return tf.nest.flatten([made[name] for name in sorted(made)])


@pytest.mark.parametrize(
    ("kind", "call"),
    [*((kind, of_inference) for kind in KINDS), pytest.param(KINDS[0], gradients, marks=SLOW)],
)
def test_answers_are_as_far_as_rounded_factors_make_them(
    kind: str, call: Callable[[Any], list[tf.Tensor]], request: pytest.FixtureRequest
) -> None:
    encoder = tt.Encoder(str(request.getfixturevalue(kind)), trainable=True)
    plain, made = (traced(lambda: call(encoder), name)() for name in ("float32", "bfloat16"))
    assert {each.dtype for each in made} == {tf.float32}
    with_rounded_factors(encoder.flat_graph(False))
    bound = distance(traced(lambda: call(encoder), "float32")(), plain)
    # The products themselves are rounded too, and biases with them; gradients, one from another.
    assert 1e-4 < 0.3 * bound < distance(made, plain) < 3 * bound < 0.2


@pytest.mark.parametrize("recorded", [False, True])
def test_sums_norms_and_softmax_stay_float32(recorded: bool, bert_still: Path) -> None:
    encoder = tt.Encoder(str(bert_still), trainable=True)
    plain = traced(lambda: gradients(encoder) if recorded else encoder(INPUTS), "float32").graph
    call = lambda: gradients(encoder) if recorded else encoder(INPUTS)  # noqa: E731
    graph = traced(call, answering=not recorded).graph
    single = {name: types(graph, name) for name in FULL}
    assert set().union(*single.values()) == {tf.float32}
    assert all(types(graph, name) <= {tf.bfloat16} for name in PRODUCTS - {"Einsum"})
    # The gradient of a bias is a sum.
    biases = types(graph, "BiasAdd") | types(graph, "BiasAddGrad")
    assert biases == {tf.float32 if recorded else tf.bfloat16}
    assert types(plain, "MatMul") == {tf.float32}


def test_gradients_of_what_was_traced_before_are_those_of_what_is_traced_for_them(
    bert_still: Path,
) -> None:
    encoder = tt.Encoder(str(bert_still), trainable=True)
    encoder.freeze_to(-2)
    weights = [w.value for _, group in encoder.layer_groups[-2:] for w in group]
    found = []
    for before in (False, True):
        function = tf.function(lambda: encoder(INPUTS, training=False), autograph=False)
        with precision_choice.precision("bfloat16"):
            if before:
                function()
            with tf.GradientTape() as tape:
                loss = tf.reduce_sum(tf.sin(3.0 * function()["sequence_output"]) ** 2)
        made = tape.gradient(loss, weights, unconnected_gradients="zero")
        assert types(function.get_concrete_function().graph, "BiasAdd") == {tf.float32}
        found.append([tf.convert_to_tensor(each) for each in made])
    assert distance(*found) < 1e-6 < np.linalg.norm(np.concatenate([np.ravel(f) for f in found[0]]))


def test_outside_of_a_graph_it_is_as_inside(bert_still: Path) -> None:
    encoder = tt.Encoder(str(bert_still))
    plain, inside = encoder(INPUTS)["pooled_output"], traced(lambda: of_inference(encoder))()[-2]
    with precision_choice.precision("bfloat16"):
        outside = encoder(INPUTS)["pooled_output"]
    assert distance(outside, inside) < 0.5 * distance(plain, inside)


def test_one_product_is_that_of_rounded_factors() -> None:
    generator = np.random.default_rng(0)
    a, b = (generator.normal(size=(8, 8)).astype("float32") for _ in range(2))
    kernel = tf.Variable(b)
    flat = surgery.flatten(
        lambda inputs: {"y": tf.matmul(inputs["x"], kernel)},
        {"x": tf.TensorSpec([None, 8], tf.float32)},
        [kernel],
    )
    given = {flat.inputs["x"]: tf.constant(a)}
    [made] = flat.replay([flat.outputs["y"]], given, READ, rounding.find(flat, True))
    np.testing.assert_allclose(made, rounded(rounded(a) @ rounded(b)), rtol=2**-7)
    assert distance(made, rounded(rounded(a) @ rounded(b))) < 2**-10 and made.dtype == tf.float32
    [exact] = flat.replay([flat.outputs["y"]], given, READ)
    np.testing.assert_allclose(exact, a @ b, rtol=1e-5)


def test_gradients_of_biases_are_sums_of_float32() -> None:
    """TensorFlow's own kernel of bfloat16 is off by a tenth of them, of so many rows."""
    rows, units = 2048, 16
    generator = np.random.default_rng(0)
    kernel, bias = (
        tf.Variable(generator.normal(size=s).astype("float32")) for s in ((8, units), units)
    )
    x = generator.normal(size=(rows, 8)).astype("float32")
    above = generator.normal(0.3, 1, (rows, units)).astype("float32")
    flat = surgery.flatten(
        lambda inputs: {"y": tf.nn.bias_add(tf.matmul(inputs["x"], kernel), bias)},
        {"x": tf.TensorSpec([None, 8], tf.float32)},
        [kernel, bias],
    )
    rule = rounding.find(flat, False)

    @tf.function(autograph=False)
    def gradient() -> Any:
        with tf.GradientTape() as tape:
            [made] = flat.replay([flat.outputs["y"]], {flat.inputs["x"]: x}, READ, rule)
            loss = tf.reduce_sum(made * above)
        return tape.gradient(loss, [kernel, bias])

    of_kernel, of_bias = gradient()
    np.testing.assert_allclose(of_bias, above.astype("float64").sum(0), rtol=1e-5)
    expected = rounded(x).T @ rounded(above)
    assert 1e-5 < distance(of_kernel, expected) < 2**-8


# Products of [512, 3, 8] by one matrix, by how it is spelt: the second shape, and whether dense
# layers are known by it.
SPREAD: dict[str, tuple[Callable[..., tf.Tensor], tuple[int, ...], bool]] = {
    "rank": (tf.matmul, (8, 4), True),
    "one": (tf.matmul, (1, 8, 4), False),
    "transposed": (lambda x, y: tf.matmul(x, y, transpose_b=True), (8, 8), False),
    "dots": (lambda x, y: tf.einsum("...ab,...bc->...ac", x, y), (1, 8, 4), False),
}


@pytest.mark.parametrize("rewritten", [False, True])
@pytest.mark.parametrize("spelt", SPREAD)
def test_gradients_of_what_multiplies_a_batch_are_sums_of_float32(
    spelt: str, rewritten: bool
) -> None:
    product, shape, dense = SPREAD[spelt]
    generator = np.random.default_rng(0)
    factor = tf.Variable(generator.normal(size=shape).astype("float32"))
    flat = surgery.flatten(
        lambda inputs: {"y": product(inputs["x"], factor)},
        {"x": tf.TensorSpec([None, 3, 8], tf.float32)},
        [factor],
    )
    flat.rewrites = rewriting.find(flat) if rewritten else {}
    x = tf.constant(generator.normal(size=(512, 3, 8)), tf.float32)

    def found(rule: surgery.Rounded) -> tuple[tf.Graph, tf.Tensor]:
        @tf.function(autograph=False, input_signature=[tf.TensorSpec([None, 3, 8])])
        def gradient(x: tf.Tensor) -> Any:
            with tf.GradientTape() as tape:
                [made] = flat.replay([flat.outputs["y"]], {flat.inputs["x"]: x}, READ, rule)
                loss = tf.reduce_sum(tf.sin(made) + made)
            return tape.gradient(loss, factor)

        return gradient.get_concrete_function().graph, gradient(x)

    graph, made = found(rounding.find(flat, False))
    _, plain = found(surgery.EXACT)
    assert types(graph, "Sum") <= {tf.float32}
    if rewritten and dense:
        assert types(graph, "MatMul") == {tf.bfloat16} and 1e-5 < distance(made, plain) < 2**-6
    else:
        assert types(graph, "MatMul") <= {tf.float32} and distance(made, plain) < 1e-5


def test_a_product_of_batches_is_rounded() -> None:
    factor = tf.Variable(tf.ones([8]))
    flat = surgery.flatten(
        lambda inputs: {"y": tf.matmul(inputs["x"] * factor, inputs["x"], transpose_b=True)},
        {"x": tf.TensorSpec([None, None, 8], tf.float32)},
        [factor],
    )

    @tf.function(autograph=False, input_signature=[tf.TensorSpec([None, None, 8])])
    def product(x: tf.Tensor) -> Any:
        rule = rounding.find(flat, False)
        return flat.replay([flat.outputs["y"]], {flat.inputs["x"]: x}, READ, rule)

    assert types(product.get_concrete_function().graph, "BatchMatMulV2") == {tf.bfloat16}


def kinds_of(function: Callable[..., tf.Tensor], fused: bool = True) -> dict[str, str]:
    """By kind of operation whether it is rounded, of a call of `x` and two kernels."""
    kernel, other = tf.Variable(tf.eye(4)), tf.Variable(tf.eye(4))
    bias = tf.Variable(tf.ones([4]))
    flat = surgery.flatten(
        lambda inputs: {"y": function(inputs["x"], kernel, bias, other)},
        {"x": tf.TensorSpec([None, 4], tf.float32)},
        [kernel, bias, other],
    )
    found = rounding.find(flat, fused).nodes
    kinds: dict[str, set[bool]] = collections.defaultdict(set)
    for name in flat.order([flat.resolve(flat.outputs["y"])], set()):
        kinds[flat.nodes[name].op].add(name in found)
    return {kind: "".join("ny"[each] for each in sorted(seen)) for kind, seen in kinds.items()}


def test_which_operations_are_rounded() -> None:
    # Between two products, but not behind the last one.
    found = kinds_of(lambda x, k, b, o: tf.tanh(tf.matmul(tf.sigmoid(tf.matmul(x, k)), o)))
    assert (found["MatMul"], found["Sigmoid"], found["Tanh"]) == ("y", "y", "n")
    # Not with what was never a product beside it; what moves numbers about is as its input.
    found = kinds_of(lambda x, k, b, o: tf.matmul(tf.transpose(tf.matmul(x, k)) * x, o))
    assert (found["Mul"], found["Transpose"]) == ("n", "y")
    # A bias with its product, unless gradients are wanted; another sum not.
    dense = lambda x, k, b, o: tf.nn.bias_add(tf.matmul(x, k), b) + x  # noqa: E731
    found = kinds_of(dense)
    assert (found["BiasAdd"], found["AddV2"]) == ("y", "n")
    assert kinds_of(dense, fused=False)["BiasAdd"] == "n"
    # Nor a sum of two products, unless a third one reads it.
    both = lambda x, k, b, o: tf.matmul(x, k) + tf.matmul(x, o)  # noqa: E731
    for end in (tf.identity, tf.nn.softmax):
        assert kinds_of(lambda *given, end=end: end(both(*given)))["AddV2"] == "n"
    assert kinds_of(lambda x, k, b, o: tf.matmul(both(x, k, b, o), o))["AddV2"] == "y"
    # The gradient of what spreads numbers is a sum.
    spread = lambda x, k, b, o: tf.matmul(tf.tile(tf.matmul(x, k), [3, 1]), o)  # noqa: E731
    assert [kinds_of(spread, fused)["Tile"] for fused in (True, False)] == ["y", "n"]
    # On no list, or on that of sums.
    found = kinds_of(lambda x, k, b, o: tf.matmul(tf.nn.softmax(tf.cumsum(tf.matmul(x, k))), o))
    assert (found["Softmax"], found["Cumsum"]) == ("n", "n")
    # What has no two factors, or adds up one of them alone, is no product.
    for call in (
        lambda x, k, b, o: tf.einsum("ab->ba", x),
        lambda x, k, b, o: tf.einsum("ab,bc->c", x, k),
    ):
        assert [kinds_of(call, fused)["Einsum"] for fused in (True, False)] == ["n", "n"]
    dots = lambda x, k, b, o: tf.einsum("...b,bc->...c", x, k)  # noqa: E731
    assert [kinds_of(dots, fused)["Einsum"] for fused in (True, False)] == ["y", "n"]
    # Whole numbers are left alone.
    found = kinds_of(
        lambda x, k, b, o: x + tf.cast(tf.matmul(tf.cast(x, tf.int32), [[1]] * 4), "float32")
    )
    assert set(found.values()) == {"n"}


def test_gelu_behind_a_product_without_a_bias_is_float32_where_gradients_are_wanted() -> None:
    kernel = tf.Variable(tf.random.stateless_normal([4, 8], [0, 1]))
    flat = surgery.flatten(
        lambda inputs: {"y": tf.nn.gelu(tf.einsum("abc,cd->abd", inputs["x"], kernel))},
        {"x": tf.TensorSpec([None, None, 4], tf.float32)},
        [kernel],
    )
    flat.rewrites = rewriting.find(flat)
    x = tf.random.stateless_normal([2, 3, 4], [0, 2])

    @tf.function(autograph=False)
    def run() -> Any:
        rule = rounding.find(flat, False)
        return flat.replay([flat.outputs["y"]], {flat.inputs["x"]: x}, READ, rule)[0]

    graph = run.get_concrete_function().graph
    assert types(graph, "MatMul") == {tf.bfloat16}
    assert types(graph, "Erf") | types(graph, "Erfc") | types(graph, "Mul") == {tf.float32}
    product = rounded(rounded(x) @ rounded(kernel.numpy()))
    wanted = tf.nn.gelu(tf.constant(product, tf.float32))
    assert distance(run(), wanted) < 2**-8


def products_of_xla(call: Callable[[], Any], precision: str) -> collections.Counter:
    """Types of the products, sums and roots of a graph that XLA is given."""
    with precision_choice.precision(precision):
        function = tf.function(call, jit_compile=True, autograph=False)
        text = function.experimental_get_compiler_ir()(stage="hlo")
    wanted = r"= (b?f\d+)\[[^ ]* (dot|reduce|rsqrt|divide|exponential)\("
    return collections.Counter(re.findall(wanted, text))


@pytest.mark.parametrize("recorded", [False, pytest.param(True, marks=SLOW)])
def test_xla_has_products_of_bfloat16(recorded: bool, bert_still: Path) -> None:
    encoder = tt.Encoder(str(bert_still), trainable=True)
    call = (lambda: gradients(encoder)) if recorded else (lambda: encoder(INPUTS)["pooled_output"])
    plain, made = (products_of_xla(call, name) for name in ("float32", "bfloat16"))
    # Two layers of eight, segments, pooler; each has two in its gradient.
    assert plain["f32", "dot"] == made["bf16", "dot"] >= (3 * 18 - 2 if recorded else 18)
    assert made["f32", "dot"] == 0
    assert {kind for kind, operation in made if operation != "dot"} == {"f32"}


@pytest.mark.slow
def test_models_learn_under_xla_at_bfloat16(bert_still: Path, sentiment: Any) -> None:
    texts, labels = sentiment
    examples, losses = tt.data.Examples.from_lists(texts, labels), {}
    for jit, precision in ((False, "float32"), (False, "bfloat16"), (True, "bfloat16")):
        keras.utils.set_random_seed(1)
        task, head = tt.tasks.Classification(["negative", "positive"]), tt.tasks.Head(dropout=0.0)
        model = tt.build_model(str(bert_still), task, head, sequence_length=12)
        model.jit_compile = jit
        model.encoder.freeze_to(0)
        batches = model.preprocess(examples, 20, shuffle=False, static_batches=True)
        with precision_choice.precision(precision):
            history = model.fit(batches, epochs=3, verbose=0).history
        losses[jit, precision] = np.array(history["loss"])
    plain = losses.pop((False, "float32"))
    for made in losses.values():
        np.testing.assert_allclose(made, plain, rtol=0.02)
        assert (np.abs(made / plain - 1) > 1e-6).all()
