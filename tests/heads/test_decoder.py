"""The decoder against the same in NumPy, and its steps against whole texts."""

import functools
import math
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfhub_transfer as tt
from tfhub_transfer.encoders.bert_shapes import BertShape, bert_variable_shapes
from tfhub_transfer.errors import InputError
from tfhub_transfer.heads import warm_start
from tfhub_transfer.heads.decoder import Decoder
from tfhub_transfer.heads.settings import DecoderForm
from tfhub_transfer.runtime import precision_choice
from tfhub_transfer.shapes import Array

VOCABULARY, MOST = 11, 6
BEGIN, END = 2, 3


def decoder(memory_width: int = 5, seed: int = 0, **form: Any) -> Decoder:
    """Tiny, with weights of which none is 0 or 1."""
    keras.utils.set_random_seed(seed)
    sizes = DecoderForm(**{"width": 8, "heads": 2, "inner_units": 12, **form})
    made = Decoder(VOCABULARY, MOST, sizes, name="decoder")
    made.build((None, None, memory_width))
    generator = np.random.default_rng(seed)
    for weight in made.weights:
        if "seed" not in weight.path:
            middle = float(weight.path.endswith("gamma"))
            weight.assign(generator.normal(middle, 0.4, weight.shape))
    return made


def batch(seed: int = 0, width: int = 5) -> dict[str, Array]:
    """Three texts of unlike lengths, one of them without anything that may be copied."""
    generator = np.random.default_rng(seed)
    present = np.array([[1, 1, 1, 1], [1, 1, 0, 0], [1, 1, 1, 0]], np.int32)
    sources = generator.integers(4, 7, (3, 4)).astype(np.int32) * present
    targets = np.zeros((3, MOST + 2), np.int32)
    for row, count in enumerate((MOST, 2, 4)):
        targets[row, : count + 2] = [BEGIN, *generator.integers(4, VOCABULARY, count), END]
    targets[0, 1:4] = sources[0, [0, 2, 2]]
    sources[2] = 0
    memory = generator.normal(size=(3, 4, width)).astype(np.float32)
    return {"memory": memory, "present": present, "targets": targets, "sources": sources}


def given(data: dict[str, Array], copies: bool) -> list[tf.Tensor]:
    names = ("memory", "present", "targets", *(("sources",) if copies else ()))
    return [tf.constant(data[name]) for name in names]


# The same in NumPy --------------------------------------------------------------------------------


def dense(x: Array, layer: Any) -> Array:
    return x @ layer.kernel.numpy() + layer.bias.numpy()


def norm(x: Array, layer: Any) -> Array:
    scaled = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-12)
    return scaled * layer.gamma.numpy() + layer.beta.numpy()


def softmax(x: Array) -> Array:
    powers = np.exp(x - x.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


def attention(layer: Any, x: Array, memory: Array) -> Array:
    """Of one text: `x` `[n, width]` to all of `memory` that it may see, one row after the other."""
    heads, size = layer.heads, layer.width // layer.heads
    both = dense(memory, layer.key_value)
    keys, values = both[:, : layer.width], both[:, layer.width :]
    mixed = []
    for head in range(heads):
        part = slice(head * size, (head + 1) * size)
        scores = dense(x, layer.query)[:, part] @ keys[:, part].T / math.sqrt(size)
        mixed.append(softmax(scores) @ values[:, part])
    return dense(np.concatenate(mixed, -1), layer.output_layer)


def part(layer: Any, number: int, x: Array, make: Any) -> Array:
    if layer.form.pre_norm:
        return x + make(norm(x, layer.norms[number]))
    return norm(x + make(x), layer.norms[number])


def backwards(layer: Any, read: Array) -> Array:
    """Each place by itself, with what is behind it alone."""
    return np.concatenate(
        [attention(layer, read[n : n + 1], read[: n + 1]) for n in range(len(read))]
    )


def feed_forward(block: Any, read: Array) -> Array:
    return dense(gelu(dense(read, block.inner)), block.outer)


def gelu(x: Array) -> Array:
    return x * 0.5 * (1 + np.vectorize(math.erf)(x / math.sqrt(2)))


def probabilities(
    layer: Decoder,
    memory: Array,
    pieces: list[int],
    sources: list[int] | None,
    places: list[int] | None = None,
) -> Array:
    """Of one text and all of its memory: how likely each next piece is behind the last of these."""
    memory = dense(memory, layer.adapter) if layer.adapter else memory
    x = layer.table.numpy()[pieces] + layer.positions.numpy()[: len(pieces)]
    x = norm(x, layer.norm)
    for block in layer.layers:
        x = part(block, 0, x, functools.partial(backwards, block.own))
        x = part(block, 1, x, functools.partial(attention, block.cross, memory=memory))
        x = part(block, 2, x, functools.partial(feed_forward, block))
    last = dense(norm(x, layer.last_norm) if layer.last_norm else x, layer.project)[-1]
    made = softmax(last @ layer.table.numpy().T + layer.bias.numpy())
    if layer.copier is None or sources is None or not any(sources):
        return made
    shown = [place for place, piece in enumerate(sources) if piece]
    own = norm(layer.table.numpy()[sources], layer.norm)
    before = np.concatenate([np.zeros_like(own[:1]), own[:-1]])
    stood = memory[: len(sources)] if places is None else memory[places]
    copier = layer.copier
    keys = dense(stood, copier.key) + own @ copier.key_own.kernel.numpy()
    keys = (keys + before @ copier.key_before.kernel.numpy())[shown]
    written = norm(layer.table.numpy()[pieces[-1]], layer.norm)
    query = dense(last, copier.query) + written @ copier.query_last.kernel.numpy()
    shares = softmax(keys @ query / math.sqrt(len(last)))
    gate = 1 / (1 + np.exp(-dense(last, layer.copier.gate)[0]))
    copied = np.zeros_like(made)
    for place, share in zip(shown, shares):
        copied[sources[place]] += share
    return (1 - gate) * made + gate * copied


@pytest.mark.parametrize("copies", [False, True])
@pytest.mark.parametrize("pre_norm", [False, True])
def test_texts_score_as_they_do_in_numpy(pre_norm: bool, copies: bool) -> None:
    layer = decoder(layers=2, pre_norm=pre_norm, copies=copies)
    data = batch()
    # One piece at least is the likeliest.
    data["targets"][2, 1] = probabilities(layer, data["memory"][2, :3], [BEGIN], None).argmax()
    found = layer(*given(data, copies)).numpy()
    assert found.shape == (3, MOST + 1, 3)
    for row, (memory, present, targets, sources) in enumerate(zip(*data.values())):
        there = int(present.sum())
        for place in range(MOST + 1):
            expected = probabilities(
                layer,
                memory[:there],
                targets[: place + 1].tolist(),
                sources[:there].tolist() if copies else None,
            )
            gold = targets[place + 1]
            np.testing.assert_allclose(
                found[row, place],
                [np.log(expected[gold]), np.log(expected).mean(), expected.argmax() == gold],
                atol=2e-5,
            )
    assert 0 < found[..., 2].mean() < 1


def test_pieces_of_the_source_stand_where_it_is_said() -> None:
    layer, data = decoder(copies=True), batch()
    sources = np.array([[5, 6, 6, 4, 7], [4, 5, 5, 0, 0], [0, 0, 0, 0, 0]], np.int32)
    stood = np.array([[0, 0, 1, 3, 3], [1, 0, 1, 0, 0], [0, 0, 0, 0, 0]], np.int32)
    memory, present, targets, _ = given(data, True)
    found = layer(memory, present, targets, tf.constant(sources), tf.constant(stood)).numpy()
    for row, count in enumerate((4, 2, 3)):
        expected = probabilities(
            layer, data["memory"][row, :count], [BEGIN], [*sources[row]], [*stood[row]]
        )
        gold = data["targets"][row, 1]
        wanted = [np.log(expected[gold]), np.log(expected).mean()]
        np.testing.assert_allclose(found[row, 0, :2], wanted, atol=2e-5)


@pytest.mark.parametrize("places", [None, MOST + 1])
@pytest.mark.parametrize(
    "form", [{}, {"layers": 2, "copies": True}, {"pre_norm": True, "width": 6, "heads": 3}]
)
def test_steps_score_as_whole_texts_do(form: dict[str, Any], places: int | None) -> None:
    """With as many hypotheses of each text as places of it: they share its memory."""
    layer, data = decoder(**form), batch()
    memory, present, targets, *sources = given(data, layer.form.copies)
    whole = layer(memory, present, targets, *sources).numpy()
    state = layer.start(memory, present, *sources, places=places)
    # Two hypotheses of each text, of which one is another text's pieces.
    both = np.stack([data["targets"], np.roll(data["targets"], 1, 0)], 1).reshape(6, -1)
    cache = layer.empty(6, state)
    for place in range(MOST + 1):
        found, cache = layer.step(tf.constant(both[:, place]), tf.constant(place), cache, state)
        np.testing.assert_allclose(np.exp(found).sum(-1), np.ones(6), atol=1e-5)
        own = found.numpy()[::2]
        gold = data["targets"][:, place + 1]
        np.testing.assert_allclose(own[range(3), gold], whole[:, place, 0], atol=1e-5)
        np.testing.assert_allclose(own.mean(-1), whole[:, place, 1], atol=1e-5)
        np.testing.assert_array_equal(own.argmax(-1) == gold, whole[:, place, 2])
        assert cache[0][0].shape[2] == (place + 1 if places is None else places)


def test_padding_of_memory_and_texts_says_nothing() -> None:
    layer, data = decoder(copies=True, layers=2), batch()
    found = layer(*given(data, True)).numpy()
    other = {name: value.copy() for name, value in data.items()}
    hidden = data["present"] == 0
    other["memory"][hidden], other["sources"][hidden] = 9.0, 5
    again = layer(*given(other, True)).numpy()
    np.testing.assert_allclose(again, found, atol=1e-6)
    # Nor does a text's rest change what was before it, or another text.
    other["targets"][1, 4:], other["memory"][0] = 7, 0.0
    again = layer(*given(other, True)).numpy()
    np.testing.assert_allclose(again[1, :3], found[1, :3], atol=1e-6)
    np.testing.assert_allclose(again[2], found[2], atol=1e-6)
    assert np.abs(again[0] - found[0]).max() > 1e-2


def test_a_memory_may_be_one_vector() -> None:
    layer, data = decoder(memory_width=8), batch(width=8)
    assert layer.adapter is None
    one = [data["memory"][:, :1], data["present"][:, :1], data["targets"]]
    found = layer(*map(tf.constant, one)).numpy()
    expected = probabilities(layer, data["memory"][1, :1], [BEGIN], None)
    np.testing.assert_allclose(found[1, 0, 1], np.log(expected).mean(), atol=1e-5)


def test_all_weights_learn() -> None:
    layer, data = decoder(copies=True, layers=2, pre_norm=True), batch()
    with tf.GradientTape() as tape:
        scores = layer(*given(data, True), training=True)
        loss = -tf.reduce_mean(scores[..., 0]) - tf.reduce_mean(scores[..., 1])
    gradients = tape.gradient(loss, [each.value for each in layer.trainable_variables])
    for variable, gradient in zip(layer.trainable_variables, gradients):
        values = tf.convert_to_tensor(gradient).numpy()
        assert np.isfinite(values).all(), variable.path
        # The same added to all keys changes no softmax.
        if not variable.path.endswith("key/bias"):
            assert np.abs(values).max() > 1e-7, variable.path


def test_gradients_are_those_of_differences() -> None:
    """The mean and the normalizer are computed by a way of their own."""
    layer, data = decoder(copies=True), batch()
    arguments = given(data, True)

    def loss() -> tf.Tensor:
        scores = layer(*arguments)
        return tf.reduce_mean(scores[..., 0]) + 0.3 * tf.reduce_mean(scores[..., 1])

    for variable in (layer.table, layer.bias, layer.copier.gate.kernel, layer.project.kernel):
        with tf.GradientTape() as tape:
            value = loss()
        slope = tf.convert_to_tensor(tape.gradient(value, variable.value)).numpy()
        before = variable.value.numpy()
        direction = np.random.default_rng(0).normal(size=before.shape).astype(np.float32)
        ends = []
        for sign in (1, -1):
            variable.assign(before + sign * 1e-2 * direction)
            ends.append(float(loss()))
        variable.assign(before)
        expected = (ends[0] - ends[1]) / 2e-2
        assert float((slope * direction).sum()) == pytest.approx(expected, rel=0.02, abs=2e-3)


def _model(form: DecoderForm) -> keras.Model:
    inputs = {
        "memory": keras.Input((None, 5), name="memory"),
        "present": keras.Input((None,), dtype="int32", name="present"),
        "targets": keras.Input((None,), dtype="int32", name="targets"),
        "sources": keras.Input((None,), dtype="int32", name="sources"),
    }
    layer = Decoder(VOCABULARY, MOST, form, name="decoder")
    scores = layer(*inputs.values())
    assert scores.shape == (None, None, 3)
    return keras.Model(inputs, scores)


def test_a_model_of_it_is_saved_and_loaded(tmp_path: Path) -> None:
    form = DecoderForm(width=8, layers=2, heads=2, inner_units=12, pre_norm=True, copies=True)
    model, data = _model(form), batch()
    expected = model(data).numpy()
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded(data).numpy(), expected)
    assert loaded.get_layer("decoder").form == form


def test_it_stays_exact_under_bfloat16(tmp_path: Path) -> None:
    form = DecoderForm(width=8, heads=2, inner_units=12, copies=True)
    with precision_choice.precision("bfloat16"):
        model, data = _model(form), batch()
        found = model(data)
        layer = model.get_layer("decoder")
        assert found.dtype == "float32"
        model.save(tmp_path / "model.keras")
    expected = probabilities(layer, data["memory"][0], [BEGIN], data["sources"][0].tolist())
    np.testing.assert_allclose(found[0, 0, 1], np.log(expected).mean(), atol=1e-5)
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(loaded(data), found, atol=1e-6)


@pytest.mark.slow
def test_xla_scores_as_others_do() -> None:
    layer, data = decoder(copies=True, layers=2), batch()
    arguments = given(data, True)
    compiled = tf.function(lambda *given: layer(*given), jit_compile=True)
    np.testing.assert_allclose(compiled(*arguments), layer(*arguments), atol=1e-5)


# An encoder's weights -----------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["bert_slash_encoder", "list_style_encoder", "albert_encoder"])
def test_layers_begin_as_an_encoders(kind: str, request: pytest.FixtureRequest) -> None:
    encoder = tt.Encoder(str(request.getfixturevalue(kind)))
    weights = {name: variable.value.numpy() for name, variable in encoder.named_weights().items()}
    layer = decoder(16, width=16, heads=2, inner_units=32, layers=2)
    before = {weight.path: weight.value.numpy() for weight in layer.weights}
    taken = warm_start.take_over(layer, encoder.named_weights(), [0, 1])

    def only(*parts: str) -> Array:
        (found,) = (value for name, value in weights.items() if name.endswith(parts))
        return found

    albert = kind == "albert_encoder"
    for number, block in enumerate(layer.layers):
        at = "transformer/" if albert else f"/layer_{number}/"
        query, value = (only(f"{at}self_attention/{x}/kernel") for x in ("query", "value"))
        np.testing.assert_array_equal(block.own.query.kernel, query.reshape(16, 16))
        np.testing.assert_array_equal(block.own.key_value.kernel[:, 16:], value.reshape(16, 16))
        merged = only(*(f"{at}self_attention{x}output/kernel" for x in ("/attention_", "_")))
        np.testing.assert_array_equal(block.own.output_layer.kernel, merged.reshape(16, 16))
        np.testing.assert_array_equal(block.outer.kernel, only(f"{at}output/kernel"))
        np.testing.assert_array_equal(
            block.norms[0].gamma, only(f"{at}self_attention_layer_norm/gamma")
        )
        np.testing.assert_array_equal(block.norms[2].beta, only(f"{at}output_layer_norm/beta"))
    changed = {w.path for w in layer.weights if not np.array_equal(w.value, before[w.path])}
    new = ("cross", "norm_1", "project", "decoder/table", "decoder/bias", "seed")
    own = ("decoder/positions", "decoder/norm") if albert else ()
    untouched = {path for path in before if any(each in path for each in (*new, *own))}
    assert changed == set(before) - untouched
    assert len(taken) == len(set(taken)) == (16 if albert else 2 * 16 + 4)
    assert set(taken) <= set(weights)


def _bert(heads: int = 2, wide: int = 12, places: int = 9, width: int = 8) -> dict[str, Array]:
    shape = BertShape(
        vocabulary=VOCABULARY,
        hidden=width,
        layers=2,
        heads=heads,
        intermediate=wide,
        positions=places,
        segments=2,
    )
    generator = np.random.default_rng(0)
    shapes = bert_variable_shapes(shape)
    return {name: generator.normal(size=size) for name, size in shapes.items()}


@pytest.mark.parametrize(
    ("other", "missing"),
    [
        ({"heads": 4}, ("self_attention/",)),
        ({"wide": 16}, ("intermediate", "output/kernel", "output/bias")),
        ({"places": MOST}, ("position_embedding", "type_embeddings")),
        ({"width": 16}, ("",)),
        ({}, ()),
    ],
)
def test_what_does_not_fit_is_left(other: dict[str, int], missing: tuple[str, ...]) -> None:
    layer, weights = decoder(layers=2), _bert(**other)
    before = {weight.path: weight.value.numpy() for weight in layer.weights}
    taken = warm_start.take_over(layer, weights, [0, 1])
    expected = {
        name
        for name in weights
        if not name.startswith(("word", "pooler"))
        and not any(each in name.replace("attention_output", "") for each in missing)
    }
    assert set(taken) == expected
    same = [np.array_equal(weight.value, before[weight.path]) for weight in layer.weights]
    assert all(same) is not bool(expected)


def test_the_top_layers_are_taken_in_order_and_words_if_asked() -> None:
    layer, weights = decoder(), _bert()
    taken = warm_start.take_over(layer, weights, [1], words=True)
    np.testing.assert_allclose(layer.table, weights["word_embeddings/embeddings"], rtol=1e-6)
    positions = weights["position_embedding/embeddings"][: MOST + 1]
    positions = positions + weights["type_embeddings/embeddings"][0]
    np.testing.assert_allclose(layer.positions, positions, rtol=1e-6)
    kernel = weights["transformer/layer_1/intermediate/kernel"]
    np.testing.assert_allclose(layer.layers[0].inner.kernel, kernel, rtol=1e-6)
    assert not any("layer_0" in name for name in taken)


def test_norms_before_parts_are_those_behind_the_parts_below() -> None:
    """So self-attention and feed-forward read what they read in the encoder."""
    layer, weights = decoder(layers=2, pre_norm=True), _bert()
    warm_start.take_over(layer, weights, [0, 1])
    for norm, name in (
        (layer.layers[0].norms[0], "embeddings/layer_norm"),
        (layer.layers[0].norms[2], "transformer/layer_0/self_attention_layer_norm"),
        (layer.layers[1].norms[0], "transformer/layer_0/output_layer_norm"),
        (layer.layers[1].norms[2], "transformer/layer_1/self_attention_layer_norm"),
        (layer.last_norm, "transformer/layer_1/output_layer_norm"),
    ):
        np.testing.assert_allclose(norm.gamma, weights[f"{name}/gamma"], rtol=1e-6)
        np.testing.assert_allclose(norm.beta, weights[f"{name}/beta"], rtol=1e-6)


def test_heads_part_the_width() -> None:
    with pytest.raises(InputError, match="give a number that divides it. Received: heads=3, width"):
        DecoderForm(width=8, heads=3)
    with pytest.raises(InputError, match="`layers` must be a whole number from 1"):
        DecoderForm(layers=0)
