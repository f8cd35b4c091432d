"""The encoder layer over every dialect of SavedModel that TF Hub knows."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfhub_transfer as tt

BERT_KINDS = (
    "bert_encoder",
    "bert_prefixed_encoder",
    "bert_slash_encoder",
    "albert_encoder",
    "list_style_encoder",
    "bert_without_variables",
    "bert_odd_variables",
    "bert_without_trainable",
    "bert_without_lists",
)
BERT_GROUPS = ["embeddings", "layer_0", "layer_1", "pooler"]


def ids(batch: int = 4, length: int = 6, seed: int = 0) -> dict[str, tf.Tensor]:
    words = np.random.default_rng(seed).integers(5, 60, (batch, length)).astype("int32")
    return {
        "input_word_ids": tf.constant(words),
        "input_mask": tf.ones_like(words),
        "input_type_ids": tf.zeros_like(words),
    }


def an_input(encoder: tt.Encoder) -> Any:
    return ids() if encoder.dialect == "bert" else tf.constant(["a good film", "bad"])


def vector(encoder: tt.Encoder, outputs: dict[str, Any]) -> np.ndarray:
    return outputs["pooled_output" if encoder.dialect == "bert" else "default"].numpy()


@pytest.mark.parametrize("kind", (*BERT_KINDS, "text_encoder"))
def test_outputs_equal_those_of_the_saved_model(kind: str, make_encoder: Callable) -> None:
    folder = make_encoder(kind)
    encoder = tt.Encoder(str(folder))
    loaded = tf.saved_model.load(str(folder))
    inputs = an_input(encoder)
    if kind == "list_style_encoder":
        expected = loaded(list(inputs.values()), training=False)[0]
    elif encoder.dialect == "bert":
        expected = loaded(inputs, training=False)["pooled_output"]
    else:
        expected = loaded(inputs)
    np.testing.assert_array_equal(vector(encoder, encoder(inputs)), expected.numpy())


@pytest.mark.parametrize("kind", BERT_KINDS)
def test_layer_groups_are_ordered_and_complete(kind: str, make_encoder: Callable) -> None:
    encoder = tt.Encoder(str(make_encoder(kind)))
    names = [name for name, _ in encoder.layer_groups]
    if kind == "albert_encoder":
        assert names == ["embeddings", "layers", "pooler"]
        return
    assert names == BERT_GROUPS
    assert [len(v) for _, v in encoder.layer_groups] == [5, 16, 16, 2]


def test_text_embedding_has_one_group(text_encoder: Path) -> None:
    encoder = tt.Encoder(str(text_encoder), trainable=True)
    assert [(n, len(v)) for n, v in encoder.layer_groups] == [("embeddings", 1)]
    assert encoder.dimension == 8
    assert encoder.max_sequence_length is None


def test_code_points_mean_the_same_as_strings(text_encoder: Path) -> None:
    encoder = tt.Encoder(str(text_encoder))
    texts = tf.constant(["a good film", "", "schön 🙂 bad"])
    points = tf.strings.unicode_decode(texts, "UTF-8").to_tensor()
    strings, numbers = encoder(texts)["default"], encoder(points)["default"]
    np.testing.assert_array_equal(strings.numpy(), numbers.numpy())


def test_nul_characters_are_spaces_in_whatever_they_come(text_encoder: Path) -> None:
    encoder = tt.Encoder(str(text_encoder))
    texts = ["good\0film", "a good film\0", "\0"]
    expected = encoder(["good film", "a good film", ""])["default"].numpy()
    points = tt.Preprocessor(encoder)(texts)
    given = [texts, tf.constant(texts), np.array(texts), np.array(texts, object), points]
    # NumPy's own strings have no NUL at their end, which makes no difference so.
    given.append(np.array([text.encode() for text in texts]))
    for each in given:
        np.testing.assert_array_equal(encoder(each)["default"].numpy(), expected)
    text = keras.Input((), dtype="string")
    model = keras.Model(text, encoder(text)["default"])
    for each in (given[1], given[3]):  # Keras takes none of NumPy's own strings
        np.testing.assert_array_equal(model.predict(each, verbose=0), expected)


def test_variables_are_shared_not_copied(bert_encoder: Path) -> None:
    encoder = tt.Encoder(str(bert_encoder), trainable=True)
    before = vector(encoder, encoder(ids()))
    for variable in encoder.layer_groups[-1][1]:
        variable.assign(keras.ops.zeros_like(variable))
    after = vector(encoder, encoder(ids()))
    assert np.abs(before).max() > 0
    np.testing.assert_array_equal(after, np.zeros_like(after))


@pytest.mark.parametrize(
    ("n", "thawed"), [(-2, BERT_GROUPS[-2:]), (0, BERT_GROUPS), (4, []), (1, BERT_GROUPS[1:])]
)
def test_freeze_to_is_a_slice(n: int, thawed: list[str], bert_encoder: Path) -> None:
    encoder = tt.Encoder(str(bert_encoder))
    encoder.freeze_to(n)
    found = [g for g, vs in encoder.layer_groups if all(v.trainable for v in vs)]
    assert found == thawed
    expected = sum(len(vs) for g, vs in encoder.layer_groups if g in thawed)
    assert len(encoder.trainable_variables) == expected
    assert encoder.trainable == bool(thawed)


def test_freeze_to_refuses_more_groups_than_there_are(bert_encoder: Path) -> None:
    with pytest.raises(tt.InputError, match="has 4 layer groups .*Received: -5"):
        tt.Encoder(str(bert_encoder)).freeze_to(-5)


@pytest.mark.parametrize("dtype", ["mixed_bfloat16", "float16", "float64", "wide", 3])
def test_a_dtype_that_would_be_ignored_is_refused(dtype: Any) -> None:
    # Before anything is looked for.
    with pytest.raises(tt.InputError, match="`dtype` must be 'float32'.*Received:") as caught:
        tt.Encoder("/no/such/encoder", dtype=dtype)
    assert "\n" not in str(caught.value)
    with pytest.raises(tt.InputError, match="/no/such/encoder"):
        tt.Encoder("/no/such/encoder", dtype=keras.DTypePolicy("float32"))


def test_training_reaches_the_graph_only_when_something_trains(bert_encoder: Path) -> None:
    encoder = tt.Encoder(str(bert_encoder), trainable=True)
    first, second = (vector(encoder, encoder(ids(), training=True)) for _ in range(2))
    assert np.abs(first - second).max() > 0  # dropout
    encoder.trainable = False
    first, second = (vector(encoder, encoder(ids(), training=True)) for _ in range(2))
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("kind", ("bert_encoder", "text_encoder", "list_style_encoder"))
def test_config_makes_an_equal_layer(kind: str, make_encoder: Callable) -> None:
    encoder = tt.Encoder(str(make_encoder(kind)))
    encoder.freeze_to(-1)
    again = tt.Encoder.from_config(encoder.get_config())
    inputs = an_input(encoder)
    np.testing.assert_array_equal(vector(encoder, encoder(inputs)), vector(again, again(inputs)))
    assert [v.trainable for v in again.variables] == [v.trainable for v in encoder.variables]


def plain_model(folder: Path) -> keras.Model:
    inputs = {k: keras.Input((None,), dtype="int32", name=k) for k in ids()}
    outputs = tt.Encoder(str(folder))(inputs)
    return keras.Model(inputs, keras.layers.Dense(2)(outputs["pooled_output"]))


def test_keras_file_needs_nothing_of_the_source(tmp_path: Path, factory: Any) -> None:
    folder = factory.write_bert_encoder(tmp_path / "encoder")
    model = plain_model(folder)
    model.layers[-2].trainable = True
    for weight in model.weights:
        weight.assign(weight + 0.01)
    expected = model(ids()).numpy()
    model.save(tmp_path / "first.keras")
    folder.rename(tmp_path / "gone")
    first = keras.saving.load_model(tmp_path / "first.keras", safe_mode=False)
    np.testing.assert_array_equal(first(ids()).numpy(), expected)
    first.save(tmp_path / "second.keras")
    del first
    second = keras.saving.load_model(tmp_path / "second.keras", safe_mode=False)
    np.testing.assert_array_equal(second(ids()).numpy(), expected)


@pytest.mark.slow
def test_keras_file_continues_training_alike(tmp_path: Path, bert_still: Path) -> None:
    model = plain_model(bert_still)
    encoder = next(x for x in model.layers if isinstance(x, tt.Encoder))
    encoder.leave_out("embeddings")
    encoder.trainable = True
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    labels = np.array([0, 1, 0, 1])
    model.train_on_batch(ids(), labels)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras", safe_mode=False)
    for each in (model, again):
        each.train_on_batch(ids(), labels)
    for one, other in zip(model.weights, again.weights):
        np.testing.assert_array_equal(one.numpy(), other.numpy())


def test_what_names_no_group_is_not_left_out(text_encoder: Path) -> None:
    encoder = tt.Encoder(str(text_encoder))
    for given in (["embeddings"], "embedding", 0, None):
        with pytest.raises(
            tt.InputError, match=r"`encoder.leave_out\('embeddings'\)`; there are embeddings"
        ):
            encoder.leave_out(given)  # type: ignore[arg-type]
    encoder.leave_out("embeddings")
    assert not encoder.layer_groups


def test_what_a_head_reads_again_learns_as_before(bert_encoder: Path) -> None:
    encoder = tt.Encoder(str(bert_encoder))
    encoder.freeze_to(-1)
    pooler = dict(encoder.layer_groups)["pooler"]
    encoder.mark_unread("pooler")
    assert "pooler" not in dict(encoder.layer_groups)
    assert not any(variable.trainable for variable in pooler)
    encoder.mark_unread()
    assert all(variable.trainable for variable in pooler)


@pytest.mark.slow
def test_clone_and_export(tmp_path: Path, bert_encoder: Path) -> None:
    model = plain_model(bert_encoder)
    clone = keras.models.clone_model(model)
    clone.set_weights(model.get_weights())
    np.testing.assert_array_equal(clone(ids()).numpy(), model(ids()).numpy())
    model.export(str(tmp_path / "exported"), verbose=False)
    served = tf.saved_model.load(str(tmp_path / "exported"))
    np.testing.assert_allclose(served.serve(ids()).numpy(), model(ids()).numpy(), atol=5e-6)


def test_assets_are_refused_when_the_graph_is_gone(bert_encoder: Path) -> None:
    config = {**tt.Encoder(str(bert_encoder)).get_config(), "handle": "/no/such/encoder"}
    orphan = tt.Encoder.from_config(config)
    for ask in (lambda: orphan.folder, orphan.boundary, orphan.flat_graph, lambda: orphan(ids())):
        with pytest.raises(tt.InputError, match="SavedModel isn't at hand"):
            ask()


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("v1_module", "TF1 [Hh]ub module"),
        ("encoder_without_call", "no `__call__`"),
        ("vision_encoder", "isn't a text encoder"),
        ("truncated_encoder", "damaged or incomplete"),
        ("unknown_op_encoder", "needs an op"),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_what_is_no_encoder_gets_one_clear_line(
    kind: str, message: str, make_encoder: Callable
) -> None:
    with pytest.raises(tt.InputError, match=message) as caught:
        tt.Encoder(str(make_encoder(kind)))
    assert "\n" not in str(caught.value)
    assert "Received: " in str(caught.value)


@pytest.mark.parametrize("kind", ("bert_frozen", "text_encoder_frozen"))
def test_nothing_to_train_is_said(kind: str, make_encoder: Callable) -> None:
    tt.Encoder(str(make_encoder(kind)))
    with pytest.raises(tt.InputError, match="no trainable variables"):
        tt.Encoder(str(make_encoder(kind)), trainable=True)


def test_auto_is_recorded_by_its_name() -> None:
    encoder = tt.Encoder("auto")
    assert encoder.handle == tt.registry.DEFAULT_ENCODER
    assert encoder.get_config()["handle"] == tt.registry.DEFAULT_ENCODER


@pytest.mark.slow
@pytest.mark.parametrize(
    "code",
    ["import tfhub_transfer.jobs.trainings.training", "import tfhub_transfer as t; t.Encoder"],
)
def test_hugging_face_folders_can_be_converted_from_everywhere(code: str) -> None:
    check = "from tfhub_transfer import registry; assert 'huggingface' in registry._converters"
    done = subprocess.run(
        [sys.executable, "-c", f"{code}; {check}"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_weights_that_are_cut_short_are_not_even_loaded(
    make_encoder: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tf.saved_model, "load", pytest.fail)
    with pytest.raises(tt.InputError, match=r"incomplete.*\d+ bytes of weights, where their index"):
        tt.Encoder(str(make_encoder("truncated_encoder")))


def write_odd(folder: Path, kind: str, answer: Callable[[Any], Any]) -> Path:
    """An encoder that answers what `answer` makes of the number of its texts."""
    root = tf.Module()
    root.variable = tf.Variable(1.0)
    if kind == "bert":
        names = ("input_word_ids", "input_mask", "input_type_ids")
        spec: Any = {name: tf.TensorSpec([None, None], tf.int32, name=name) for name in names}
    else:
        spec = tf.TensorSpec([None], tf.string)

    def call(inputs: Any) -> Any:
        rows = tf.shape(tf.nest.flatten(inputs)[0])[0]
        vectors = tf.ensure_shape(answer(rows) * root.variable, [None, 4])
        return {"pooled_output": vectors} if kind == "bert" else vectors

    root.__call__ = tf.function(call, input_signature=[spec])
    tf.saved_model.save(root, str(folder))
    return folder


ODD = {
    "NaN": (lambda rows: tf.fill([rows, 4], np.nan), "numbers that aren't finite"),
    "infinite": (lambda rows: tf.fill([rows, 4], np.inf), "numbers that aren't finite"),
    "one for all": (lambda rows: tf.ones([1, 4]), "1 rows for 3 texts"),
    "too few": (lambda rows: tf.ones([rows - 1, 4]), "2 rows for 3 texts"),
}


@pytest.mark.parametrize("kind", ["bert", "text"])
@pytest.mark.parametrize("fault", ODD)
def test_an_encoder_that_answers_nonsense_is_refused(fault: str, kind: str, tmp_path: Path) -> None:
    answer, message = ODD[fault]
    folder = write_odd(tmp_path / "odd", kind, answer)
    with pytest.raises(tt.InputError, match=f"can't be used: it answers with {message}") as caught:
        tt.Encoder(str(folder))
    assert f"Received: {folder}" in str(caught.value) and "\n" not in str(caught.value)


def test_the_same_vector_for_all_ids_is_refused_but_not_for_all_words(tmp_path: Path) -> None:
    same = lambda rows: tf.ones([rows, 4])  # noqa: E731
    texts = tt.Encoder(str(write_odd(tmp_path / "text", "text", same)))
    assert texts(tf.constant(["a", "b"]))["default"].shape == (2, 4)
    with pytest.raises(tt.InputError, match="the same vectors whatever it is asked"):
        tt.Encoder(str(write_odd(tmp_path / "bert", "bert", same)))


# What is given to an encoder ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "received"),
    [
        (["a film"], "'a film'"),
        ("a film", "'a film'"),
        (tf.constant(["a film"]), r"string \[1\]"),
        (np.array(["a film"]), r"str\d+ \[1\]"),
        (keras.Input((), dtype="string"), r"string \[None\]"),
        ({"input_word_ids": ids()["input_word_ids"]}, r"input_word_ids: int32 \[4, 6\]"),
        ({**ids(), "input_masks": ids()["input_mask"]}, "input_masks"),
        ({**ids(), "input_word_ids": tf.ones((4, 6))}, "input_word_ids: float32"),
        ({k: v[0] for k, v in ids().items()}, r"input_word_ids: int32 \[6\]"),
    ],
)
def test_what_is_no_ids_is_refused_on_one_line(
    given: Any, received: str, bert_encoder: Path
) -> None:
    with pytest.raises(
        tt.InputError, match=f"this encoder reads .*Received: .*{received}"
    ) as found:
        tt.Encoder(str(bert_encoder))(given)
    assert "\n" not in str(found.value)


def test_ids_may_come_without_types_and_in_a_list(bert_encoder: Path) -> None:
    encoder = tt.Encoder(str(bert_encoder))
    expected = vector(encoder, encoder(ids()))
    some = {name: ids()[name] for name in ("input_word_ids", "input_mask")}
    inputs = {name: keras.Input((None,), dtype="int32", name=name) for name in some}
    in_graph = keras.Model(inputs, encoder(inputs)["pooled_output"])
    plain = {name: value.numpy() for name, value in ids().items()}
    for found in (encoder(some), encoder(list(ids().values())), encoder(plain)):
        np.testing.assert_array_equal(vector(encoder, found), expected)
    np.testing.assert_allclose(in_graph(some).numpy(), expected, atol=1e-6)


def test_texts_for_an_encoder_that_reads_them(text_encoder: Path) -> None:
    encoder = tt.Encoder(str(text_encoder))
    expected = encoder(tf.constant(["a good film", "bad"]))["default"].numpy()
    for given in (["a good film", "bad"], np.array(["a good film", "bad"])):
        np.testing.assert_array_equal(encoder(given)["default"].numpy(), expected)
    with pytest.raises(
        tt.InputError, match="in a list; put a single one in brackets. Received: 'bad'"
    ):
        encoder("bad")
    with pytest.raises(tt.InputError, match="reads texts: .*Received: input_word_ids: int32"):
        encoder(ids())


def test_two_encoders_in_one_model_have_names(bert_encoder: Path, text_encoder: Path) -> None:
    keras.backend.clear_session()
    inputs = {k: keras.Input((None,), dtype="int32", name=k) for k in ids()}
    points = keras.Input((None,), dtype="int32", name="points")
    one, other = tt.Encoder(str(bert_encoder)), tt.Encoder(str(text_encoder))
    both = [one(inputs)["pooled_output"], other(points)["default"]]
    model = keras.Model({**inputs, "points": points}, keras.layers.Concatenate()(both))
    assert [each.name for each in (one, other)] == ["encoder", "encoder_1"]
    assert model.get_layer("encoder_1") is other


def test_what_only_looks_like_an_encoder_is_named(preprocessor: Path, tmp_path: Path) -> None:
    with pytest.raises(tt.InputError, match="is a preprocessor, .*give it as `preprocessor`"):
        tt.Encoder(str(preprocessor))
    finished = tf.Module()
    finished.weight = tf.Variable([[1.0]])

    def call(texts):  # type: ignore[no-untyped-def]
        lengths = tf.cast(tf.strings.length(texts), tf.float32)
        return tf.sigmoid(tf.matmul(lengths[:, None], finished.weight))

    finished.__call__ = tf.function(call, [tf.TensorSpec([None], tf.string)])
    tf.saved_model.save(finished, str(tmp_path / "finished"))
    with pytest.raises(tt.InputError, match="gives one number for each text, as a finished class"):
        tt.Encoder(str(tmp_path / "finished"))


def test_texts_in_graphs_are_those_outside(text_encoder: Path) -> None:
    encoder = tt.Encoder(str(text_encoder))
    texts = tf.constant(["good film", "bad film"])
    expected = encoder(texts)
    found = [tf.function(encoder)(texts)]
    found += list(tf.data.Dataset.from_tensors(texts).map(encoder))
    inputs = keras.Input((), dtype="string")
    found.append(keras.Model(inputs, encoder(inputs)).predict(texts, verbose=0))
    for each in found:
        assert each.keys() == expected.keys()
        for name, value in each.items():
            np.testing.assert_allclose(value, expected[name], atol=1e-6)
