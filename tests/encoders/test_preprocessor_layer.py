"""`tt.Preprocessor`: text in all its forms to the ids of a `TransferModel`, in Keras models."""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfhub_transfer as tt
from tfhub_transfer.encoders import preprocessor_layer, registry

TEXTS = ["a good film", "bad", "this is the worst movie of all"]
OTHERS = ["the story", "a very good book", "no"]
WORDS = [["the", "worst", "film"], ["unlike"], ["a", "", "book"]]


@pytest.fixture(scope="module")
def encoder(bert_encoder: Path) -> tt.Encoder:
    return tt.Encoder(str(bert_encoder))


@pytest.fixture(scope="module")
def reads(encoder: tt.Encoder) -> tt.Preprocessor:
    return tt.Preprocessor(encoder)


@pytest.fixture(scope="module")
def reads_words(encoder: tt.Encoder) -> tt.Preprocessor:
    return tt.Preprocessor(encoder, words=True)


def check_equal(found: dict[str, Any], wanted: dict[str, Any]) -> None:
    assert list(found) == list(wanted)
    for name, value in wanted.items():
        np.testing.assert_array_equal(found[name].numpy(), np.asarray(value), name)


CASES = {
    "text": (tt.tasks.Classification(["a", "b"]), (TEXTS,), TEXTS, {}),
    "cut": (tt.tasks.Classification(["a", "b"]), (["good " * 50],), ["good " * 50], {}),
    "pair": (tt.tasks.Classification(["a", "b"], pair=True), (TEXTS, OTHERS), (TEXTS, OTHERS), {}),
    "words": (tt.tasks.TokenClassification(["O", "B-a"]), (WORDS,), WORDS, {"words": True}),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("kind", ["bert_encoder", "text_encoder"])
def test_ids_are_those_of_a_transfer_model(
    case: str, kind: str, make_encoder: Callable[[str], Path]
) -> None:
    task, columns, given, options = CASES[case]
    if options and kind == "text_encoder":
        pytest.skip("text embeddings give no vectors of words")
    encoder = tt.Encoder(str(make_encoder(kind)))
    model = tt.build_model(encoder, task)
    examples = tt.data.Examples.from_lists(columns[0], None, *columns[1:])
    [wanted] = model.preprocess(examples, shuffle=False)
    found = tt.Preprocessor(encoder, **options)(given)
    check_equal({name: found[name] for name in wanted}, wanted)
    assert set(found) == set(wanted)


class Series:
    """As pandas has them."""

    def __init__(self, rows: list[str]) -> None:
        self.rows, self.dtype, self.index = rows, np.dtype(object), range(7, 7 + len(rows))

    def __iter__(self) -> Any:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)


FORMS: dict[str, Callable[[], Any]] = {
    "tuple": lambda: tuple(TEXTS),
    "array": lambda: np.array(TEXTS),
    "array of objects": lambda: np.array(TEXTS, object),
    "array of bytes": lambda: np.array(TEXTS, "S"),
    "array [n, 1]": lambda: np.array(TEXTS)[:, None],
    "tensor": lambda: tf.constant(TEXTS),
    "tensor [n, 1]": lambda: tf.constant(TEXTS)[:, None],
    "series": lambda: Series(TEXTS),
    "dictionary": lambda: {"text": TEXTS, "label": [0, 1, 0]},
    "dictionary of tensors": lambda: {"text": tf.constant(TEXTS)},
}


@pytest.mark.parametrize("form", FORMS)
def test_texts_in_all_their_forms(form: str, reads: tt.Preprocessor) -> None:
    check_equal(reads(FORMS[form]()), reads(TEXTS))


@pytest.mark.parametrize("form", [n for n in FORMS if not n.startswith("dict")])
def test_a_text_embedding_takes_the_same_forms(form: str, text_encoder: Path) -> None:
    encoder = tt.Encoder(str(text_encoder))
    wanted = encoder(tf.constant(TEXTS))["default"].numpy()
    np.testing.assert_array_equal(encoder(FORMS[form]())["default"].numpy(), wanted)
    ids = tt.Preprocessor(encoder)(FORMS[form]())
    np.testing.assert_array_equal(encoder(ids)["default"].numpy(), wanted)


def test_pairs_and_words_in_all_their_forms(
    reads: tt.Preprocessor, reads_words: tt.Preprocessor
) -> None:
    pairs = reads((TEXTS, OTHERS))
    for given in (
        list(zip(TEXTS, OTHERS)),
        (np.array(TEXTS), tf.constant(OTHERS)[:, None]),
        [tf.constant(TEXTS), tf.constant(OTHERS)],
        tuple(zip(*zip(TEXTS, OTHERS))),
        {"text_a": TEXTS, "text_b": OTHERS, "label": [1, 0, 1]},
    ):
        check_equal(reads(given), pairs)
    words = reads_words(WORDS)
    for given in (
        tuple(WORDS),
        tf.ragged.constant(WORDS),
        tf.ragged.constant(WORDS).to_tensor(""),
        {"tokens": WORDS},
        [np.array(row) for row in WORDS],
    ):
        check_equal(reads_words(given), words)


def test_words_stand_where_it_says(encoder: tt.Encoder, factory: Any) -> None:
    reads = tt.Preprocessor(encoder, words=True, sequence_length=12)
    ids = reads([["unlikely", "the", "film"] * 2])  # ten pieces fit; the first word has six
    starts = ids["word_starts"].numpy()[0].tolist()
    assert starts == [1, 7, 8, 9] + [0] * 8
    pieces = [factory.VOCABULARY[i] for i in ids["input_word_ids"].numpy()[0]]
    assert [pieces[at] for at in starts if at] == ["un", "the", "film", "un"]
    encoder(ids)  # which has no use for them


def test_nothing_is_nothing(reads: tt.Preprocessor, reads_words: tt.Preprocessor) -> None:
    assert reads([])["input_word_ids"].shape[0] == 0
    assert reads_words([])["word_starts"].shape[0] == 0
    check_equal(reads_words([[], ["a"]]), reads_words(tf.constant([[""], ["a"]])))


REFUSED: dict[str, tuple[Any, str]] = {
    "one": ("one text", r"in a list; put a single one in brackets. Received: 'one text'"),
    "missing": (["a", None], "row 2 of the texts: every text must be a string. Received: None"),
    "not a number": (["a", float("nan")], "row 2 of the texts: .*Received: nan"),
    "numbers": ([1, 2], "row 1 of the texts: .*Received: 1"),
    "ids": (tf.constant([1, 2]), r"expected texts, strings \[batch\]. Received: int32 \[2\]"),
    "bytes": ([b"a", b"\xff"], "row 2 of the texts: bytes must be UTF-8"),
    "half": (["\ud83d"], "row 1 of the texts: half a character"),
    "lists": ([["a", "b"]], r"pairs as `\(firsts, seconds\)`, and lists of words .*words=True"),
    "ragged": (tf.ragged.constant([["a"], ["b", "c"]]), r"expected texts, strings \[batch\]"),
    "array of pairs": (np.array([["a", "b"], ["c", "d"]]), "row 1 of the texts: every text"),
    "two by two": ((("a", "b"), ("c", "d")), "could be two columns or two pairs"),
    "set": ({"a", "b"}, "a set has no order"),
    "other columns": ({"review": ["a"]}, "columns text or text_a, text_b; .*Received: 'review'"),
    "many tensors": ([tf.constant("a")] * 3, "one tensor of strings, or two of pairs"),
    "too few": ((["a"], ["b", "c"]), "as many of both. Received: 1 and 2"),
    "too few in a column": ({"text_a": ["a", "b"], "text_b": ["c"]}, "Received: 2 and 1"),
    "sparse": (tf.sparse.from_dense(["a"]), r"expected texts, strings \[batch\]"),
    "examples": (
        tt.data.Examples.from_lists(["a"]),
        r"`preprocessor\(tuple\(examples.texts\)\)`. Received: Examples",
    ),
    "data set": (tf.data.Dataset.from_tensor_slices(TEXTS), r"`dataset.map\(preprocessor\)`"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_no_text_is_one_line(case: str, reads: tt.Preprocessor) -> None:
    given, message = REFUSED[case]
    with pytest.raises(tt.InputError, match=message) as caught:
        reads(given)
    assert "\n" not in str(caught.value)


def test_what_is_no_list_of_words_is_one_line(reads_words: tt.Preprocessor) -> None:
    for given, message in (
        (TEXTS, "row 1 of the texts: with `words=True` a text is a list of its words"),
        ([["a", ""]], "row 1 of the texts: the last word of a list can't be empty"),
        ([["a", None]], "row 1 of the texts: every text must be a string. Received: None"),
        (tf.sparse.from_dense([["a"]]), r"expected words, strings \[batch, words\] or ragged"),
        (tf.constant([[1]]), r"expected words, strings \[batch, words\] or ragged"),
        ((tf.constant([["a"]]), tf.constant([["b"]])), "one list of words a text"),
    ):
        with pytest.raises(tt.InputError, match=message):
            reads_words(given)


def test_texts_as_labels_are_asked_about(reads: tt.Preprocessor) -> None:
    for labels in (["a", "b"], np.array(["a", "b"]), np.array(["a"], object), tf.constant(["a"])):
        with pytest.raises(
            tt.InputError, match=r"`preprocessor\(\(firsts, seconds\)\)`; of labels"
        ):
            reads(TEXTS, labels)
    ids, labels, weights = reads(TEXTS, [0, 1, 0], [1.0, 0.5, 1.0])
    check_equal(ids, reads(TEXTS))
    assert (labels, weights) == ([0, 1, 0], [1.0, 0.5, 1.0])


# In tf.data ---------------------------------------------------------------------------------------


def slices(*parts: Any) -> tf.data.Dataset:
    return tf.data.Dataset.from_tensor_slices(parts[0] if len(parts) == 1 else parts)


def test_in_data_sets_with_labels(reads: tt.Preprocessor) -> None:
    [(ids, labels)] = slices(TEXTS, [0, 1, 0]).batch(3).map(reads)
    check_equal(ids, reads(TEXTS))
    assert labels.numpy().tolist() == [0, 1, 0]
    with pytest.raises(tt.InputError, match=r"`preprocessor\(\(firsts, seconds\)\)`"):
        slices(TEXTS, OTHERS).batch(3).map(reads)


@pytest.mark.slow
def test_in_data_sets_of_other_forms(reads: tt.Preprocessor, reads_words: tt.Preprocessor) -> None:
    [ids] = slices({"text": TEXTS, "label": [0, 1, 0]}).batch(3).map(reads)
    check_equal(ids, reads(TEXTS))
    [ids] = slices(TEXTS, OTHERS).batch(3).map(lambda a, b: reads((a, b)))
    check_equal(ids, reads((TEXTS, OTHERS)))
    [ids] = slices(tf.ragged.constant(WORDS)).batch(3).map(reads_words)
    check_equal(ids, reads_words(WORDS))


def test_single_texts_in_data_sets_are_of_one_length(
    encoder: tt.Encoder, reads: tt.Preprocessor, text_encoder: Path
) -> None:
    fixed = tt.Preprocessor(encoder, padding="sequence_length")
    [(ids, _)] = slices(TEXTS, [0, 1, 0]).map(reads).batch(3)
    check_equal(ids, fixed(TEXTS))
    assert ids["input_mask"].shape == (3, 32)
    assert ids["input_mask"].numpy().sum() == reads(TEXTS)["input_mask"].numpy().sum()
    [spec, _] = slices(TEXTS, [0, 1, 0]).batch(3).map(fixed).element_spec
    assert spec["input_mask"].shape == (None, 32)
    points = tt.Preprocessor(str(text_encoder))
    [ids] = slices(TEXTS).map(points).padded_batch(3)
    check_equal(ids, points(TEXTS))


# Where it comes from ------------------------------------------------------------------------------


@pytest.mark.slow
def test_from_any_source(
    reads: tt.Preprocessor, bert_encoder: Path, preprocessor: Path, bert_with_preprocessor: Path
) -> None:
    wanted = reads(TEXTS)
    for source in (str(bert_encoder), preprocessor, bert_with_preprocessor):
        check_equal(tt.Preprocessor(source)(TEXTS), wanted)
    given = tt.Preprocessor(str(bert_encoder), preprocessor=str(preprocessor), sequence_length=8)
    check_equal(given(TEXTS), tt.Preprocessor(preprocessor, sequence_length=8)(TEXTS))


def test_options_are_checked(encoder: tt.Encoder, text_encoder: Path) -> None:
    for options, message in (
        ({"sequence_length": 33}, "from 8 to 32"),
        ({"padding": "max_length"}, "one of longest, sequence_length. Received: 'max_length'"),
    ):
        with pytest.raises(tt.InputError, match=message):
            tt.Preprocessor(encoder, **options)
    for options in ({"words": True}, {"padding": "sequence_length"}):
        with pytest.raises(tt.InputError, match="leave out `words` and `padding`"):
            tt.Preprocessor(str(text_encoder), **options)
    with pytest.raises(tt.InputError, match="no such encoder: .*Received: nonsuch"):
        tt.Preprocessor("nonsuch")


@pytest.mark.parametrize("kind", ["bert_encoder", "preprocessor", "text_encoder"])
def test_saved_and_made_again(
    kind: str, make_encoder: Callable[[str], Path], tmp_path: Path
) -> None:
    made = tt.Preprocessor(str(make_encoder(kind)), sequence_length=12)
    made.save(tmp_path / "saved")
    again = tt.Preprocessor(tmp_path / "saved")
    (tmp_path / "saved").rename(tmp_path / "moved")
    again.save(tmp_path / "second")
    for each in (again, tt.Preprocessor(tmp_path / "second")):
        check_equal(each((TEXTS, OTHERS)), made((TEXTS, OTHERS)))
        assert (each.sequence_length, each.fingerprint()) == (12, made.fingerprint())


def test_a_saved_one_keeps_its_options(encoder: tt.Encoder, tmp_path: Path) -> None:
    made = tt.Preprocessor(encoder, sequence_length=12, words=True, padding="sequence_length")
    made.save(tmp_path / "saved")
    again = tt.Preprocessor(tmp_path / "saved")
    check_equal(again(WORDS), made(WORDS))
    assert tt.Preprocessor(tmp_path / "saved", sequence_length=20).sequence_length == 20
    with pytest.raises(tt.InputError, match="from 8 to 32"):
        tt.Preprocessor(tmp_path / "saved", sequence_length=40)


# In models ----------------------------------------------------------------------------------------


def own_model(encoder: tt.Encoder, reads: tt.Preprocessor) -> keras.Model:
    text = keras.Input((), dtype="string", name="text")
    vector = encoder(reads(text))["pooled_output"]
    return keras.Model(text, keras.layers.Dense(2, name="scores")(vector))


@pytest.mark.slow
def test_a_model_of_strings_is_saved_and_cloned(
    bert_encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder = tt.Encoder(str(bert_encoder))
    model = own_model(encoder, tt.Preprocessor(encoder, sequence_length=16, name="reads"))
    wanted = model.predict(tf.constant(TEXTS), verbose=0)
    model.save(tmp_path / "own.keras")
    clone = keras.models.clone_model(model)
    clone.set_weights(model.get_weights())
    for each in (keras.saving.load_model(tmp_path / "own.keras"), clone):
        np.testing.assert_allclose(each.predict(tf.constant(TEXTS), verbose=0), wanted, atol=1e-6)
        assert each.get_layer("reads").sequence_length == 16
    # The file holds the vocabulary: neither the name nor this process is asked.
    monkeypatch.setattr(preprocessor_layer, "_live", {})
    monkeypatch.setattr(registry, "find", lambda handle: None)
    again = keras.saving.load_model(tmp_path / "own.keras")
    np.testing.assert_allclose(again.predict(tf.constant(TEXTS), verbose=0), wanted, atol=1e-6)


def test_a_configuration_finds_the_same_or_says_so(
    encoder: tt.Encoder, reads: tt.Preprocessor, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = reads.get_config()
    monkeypatch.setattr(preprocessor_layer, "_live", {})
    check_equal(tt.Preprocessor.from_config(config)(TEXTS), reads(TEXTS))
    for changed in ({"source": "nonsuch"}, {"sequence_length": 9}):
        other = tt.Preprocessor.from_config({**config, **changed})
        with pytest.raises(tt.InputError, match="vocabulary isn't at hand, or has changed"):
            other(TEXTS)


def test_symbolic_inputs(reads: tt.Preprocessor, reads_words: tt.Preprocessor) -> None:
    for shape in ((), (1,)):
        given = reads(keras.Input(shape, dtype="string"))
        assert {name: tensor.shape for name, tensor in given.items()} == dict.fromkeys(
            ("input_word_ids", "input_mask", "input_type_ids"), (None, None)
        )
    words = reads_words(keras.Input((None,), dtype="string"))
    assert list(words)[-1] == "word_starts"
    for given in (keras.Input((3,), dtype="string"), keras.Input((), dtype="int32")):
        with pytest.raises(tt.InputError, match="expected texts, .*such as `keras.Input"):
            reads(given)


class Own(keras.Model):
    """A model as people write them who subclass."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.encoder = tt.Encoder(str(folder))
        self.reads = tt.Preprocessor(self.encoder)
        self.scores = keras.layers.Dense(2)

    def call(self, texts: Any, training: bool = False) -> Any:
        return self.scores(self.encoder(self.reads(texts), training=training)["pooled_output"])


@pytest.mark.slow
def test_a_subclassed_model_holds_both(bert_still: Path, tmp_path: Path) -> None:
    model = Own(bert_still)
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    thaw = tt.ProgressiveUnfreezing(start_epoch=1, epochs_per_group=1, num_groups=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of Keras, on models that aren't built
        model.fit(slices(TEXTS, [0, 1, 0]).batch(3), epochs=2, verbose=0, callbacks=[thaw])
    assert model.encoder.trainable
    wanted = model.predict(tf.constant(TEXTS), verbose=0)
    model.save_weights(tmp_path / "own.weights.h5")
    other = Own(bert_still)
    other(tf.constant(TEXTS))
    other.load_weights(tmp_path / "own.weights.h5")
    np.testing.assert_allclose(other.predict(tf.constant(TEXTS), verbose=0), wanted, atol=1e-6)
