"""Texts to ask about in every form in which people have them: the same answers, or a line."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import samples
import tensorflow as tf
from libraries import held, of_library

import tfhub_transfer as tt
from tfhub_transfer.data import Examples, text_forms
from tfhub_transfer.texts import joining

TEXTS = ["good film", "bad movie", "the worst"]
OTHERS = ["a film", "the movie", "bad story"]


class Pair(NamedTuple):
    text_b: str
    text_a: str


def lazily(given: Any) -> Any:
    return given() if callable(given) else given


@pytest.mark.parametrize(
    "given",
    [
        TEXTS,
        tuple(TEXTS),
        np.array(TEXTS),
        np.array(TEXTS, object),
        np.array(TEXTS)[:, None],
        lambda: (text for text in TEXTS),
        dict.fromkeys(TEXTS).keys(),
        {"text": TEXTS, "label": [1, 0, 1]},
        {"id": range(3), "text": np.array(TEXTS)},
        [{"text": text, "id": 1} for text in TEXTS],
        np.array([(text, 1) for text in TEXTS], [("text", "O"), ("id", "i4")]),
        Examples.from_lists(TEXTS, [1, 0, 1]),
        tf.constant(TEXTS),
        tf.data.Dataset.from_tensor_slices(TEXTS),
        tf.data.Dataset.from_tensor_slices({"text": TEXTS}),
        of_library("pandas", lambda pd: pd.Series(TEXTS, index=[7, 8, 9])),
        of_library("pandas", lambda pd: pd.Index(TEXTS)),
        of_library("pandas", lambda pd: pd.DataFrame({"id": [1, 2, 3], "text": TEXTS})),
        of_library("pandas", lambda pd: list(pd.DataFrame({"text": TEXTS}).itertuples())),
        of_library("pandas", lambda pd: pd.Series(TEXTS, dtype="category")),
        of_library("pyarrow", lambda pa: pa.array(TEXTS)),
        of_library("pyarrow", lambda pa: pa.table({"id": [1, 2, 3], "text": TEXTS})),
        of_library("datasets", lambda hf: held(hf, {"text": TEXTS})),
        of_library("datasets", lambda hf: held(hf, {"text": TEXTS})["text"]),
    ],
)
def test_single_texts(given: Any) -> None:
    assert text_forms.columns(lazily(given), ["text"]) == [TEXTS]


@pytest.mark.parametrize(
    "given",
    [
        list(zip(TEXTS, OTHERS)),
        tuple(zip(TEXTS, OTHERS)),
        [[a, b] for a, b in zip(TEXTS, OTHERS)],
        np.array(list(zip(TEXTS, OTHERS))),
        zip,
        {"text_b": OTHERS, "text_a": TEXTS, "label": [0, 1, 0]},
        [{"text_b": b, "text_a": a} for a, b in zip(TEXTS, OTHERS)],
        [Pair(text_a=a, text_b=b) for a, b in zip(TEXTS, OTHERS)],
        Examples.from_lists(TEXTS, None, OTHERS),
        tf.data.Dataset.from_tensor_slices((TEXTS, OTHERS)),
        of_library("pandas", lambda pd: pd.DataFrame({"text_b": OTHERS, "text_a": TEXTS})),
        of_library("pyarrow", lambda pa: pa.table({"text_b": OTHERS, "text_a": TEXTS})),
        of_library("datasets", lambda hf: held(hf, {"text_b": OTHERS, "text_a": TEXTS})),
    ],
)
def test_pairs_by_their_names(given: Any) -> None:
    given = zip(TEXTS, OTHERS) if given is zip else lazily(given)
    assert text_forms.columns(given, ["text_a", "text_b"]) == [TEXTS, OTHERS]


def test_other_names_of_columns() -> None:
    asked = {"context": TEXTS, "question": OTHERS}
    for given in (asked, {"text_b": TEXTS, "text_a": OTHERS}, list(zip(OTHERS, TEXTS))):
        assert text_forms.columns(given, ["question", "context"]) == [OTHERS, TEXTS]
    words = [text.split() for text in TEXTS]
    joined = [joining.join_words(each) for each in words]
    for given in ({"tokens": words, "text": TEXTS}, words, [tuple(each) for each in words]):
        assert text_forms.columns(given, ["text"], listed=True) == [joined]
    assert text_forms.columns({"text": TEXTS}, ["text"], listed=True) == [TEXTS]
    for name in ("document", "text"):
        assert text_forms.columns({name: TEXTS}, ["document"], listed=True) == [TEXTS]
    assert text_forms.columns({"sentences": words}, ["document"], listed=True) == [joined]


SINGLE, PAIRS = ["text"], ["text_a", "text_b"]


@pytest.mark.parametrize(
    ("given", "signature", "message"),
    [
        ("good film", SINGLE, "put a single one in brackets. Received: one string"),
        ({"text": "good film"}, SINGLE, "one string, 'good film', for column 'text'"),
        ({"review": TEXTS}, SINGLE, "reads the column 'text', and there is none.*'review'"),
        ({}, SINGLE, "Received: no columns"),
        ({"train": {"text": TEXTS}}, SINGLE, "Received: 'train'"),
        ({"text": {"text": TEXTS}}, SINGLE, "Received: dict for column 'text'"),
        (set(TEXTS), SINGLE, "a set has no order"),
        ({"text": set(TEXTS)}, SINGLE, "a set has no order.*for column 'text'"),
        (5, SINGLE, "expected a list of texts; give one. Received: int"),
        (np.array("a"), SINGLE, "expected a list of texts"),
        ([["good", "film"]], SINGLE, "row 1 of the texts is a list of 2; the model reads single"),
        (["a", ("a", "b")], SINGLE, "row 2 of the texts is a list of 2"),
        (list(zip(TEXTS, [1, 0, 1])), SINGLE, "row 1 of the texts is a list of 2"),
        (
            [{"text": "a"}, {"txt": "b"}],
            SINGLE,
            "row 2 of the texts lacks 'text'; .* Received: 'txt'",
        ),
        (TEXTS, PAIRS, r"reads pairs: expected a list of \(text_a, text_b\)"),
        ((TEXTS, OTHERS), PAIRS, "reads pairs: expected a list of"),
        ((TEXTS[:2], OTHERS[:2]), PAIRS, "two lists in a tuple could be two columns or two rows"),
        ({"text": TEXTS}, PAIRS, "reads the column 'text_a', and there is none"),
        (["ab", "cd"], PAIRS, "reads pairs: expected a list of"),
        ({"a": TEXTS}, ["question", "context"], "the column 'question' or 'text_a'"),
    ],
    # Not of the values: sets are written in another order by each process.
    ids=lambda value: value[:30] if isinstance(value, str) else None,
)
def test_what_holds_no_texts_is_named(given: Any, signature: list[str], message: str) -> None:
    with pytest.raises(tt.InputError, match=message):
        text_forms.columns(given, signature)


def test_columns_twice_by_one_name_are_refused() -> None:
    pd = pytest.importorskip("pandas")
    twice = pd.DataFrame([["a", "b"]], columns=["text", "text"])
    with pytest.raises(tt.InputError, match="Received: DataFrame for column 'text'"):
        text_forms.columns(twice, SINGLE)


# Models ------------------------------------------------------------------------------------------

EMPTY: dict[str, Any] = {"regression": (0,), "similarity": (0,), "classification": (0, 3)}


@pytest.fixture(scope="module")
def model(bert_encoder: Path) -> Iterator[Callable[[str], Any]]:
    """Models of rows of `samples.ROWS`, untrained, each made once."""
    made: dict[str, Any] = {}

    def make(row: str) -> Any:
        sample = samples.ROWS[row]
        if row not in made:
            made[row] = tt.build_model(str(bert_encoder), sample.task(), sample.head)
        return made[row]

    yield make


@pytest.mark.parametrize(
    "row",
    [
        row
        if row in ("classification", "similarity")
        else pytest.param(row, marks=pytest.mark.slow)
        for row in samples.ROWS
    ],
)
def test_models_answer_any_form_alike(row: str, model: Callable[[str], Any]) -> None:
    asked = model(row)
    if row == "multi-task":
        sample = samples.ROWS[row].asked
        tables = {"kind": {"text": sample["kind"]}, "pair": dict(zip(PAIRS, zip(*sample["pair"])))}
        assert asked.predict_text(tables) == asked.predict_text(sample)
        assert asked.predict_text({"kind": [], "pair": []}) == {"kind": [], "pair": []}
        return
    names, texts = asked.layout.signature, samples.ROWS[row].asked[:3]
    table = dict(zip(names, zip(*texts) if asked.task.pair else [texts]))
    records = [dict(zip(names, each if asked.task.pair else [each])) for each in texts]
    expected = asked.predict_text(texts)
    assert asked.predict_text(table) == asked.predict_text(records) == expected
    assert asked.predict_text([]) == asked.predict_text({name: [] for name in names}) == []
    found = asked.predict_scores([])
    assert list(found) == [] and (
        asked.layout.by_unit or found.shape == EMPTY.get(row, found.shape)
    )
    single = {"text": [str(text) for text in TEXTS], "id": [1, 2, 3]}
    np.testing.assert_array_equal(asked.encode_text(single), asked.encode_text(TEXTS))
    assert asked.encode_text([]).shape == (0, 16)
    with pytest.raises(tt.InputError, match="the model reads"):
        asked.predict_text({"review": TEXTS})


def test_what_trains_and_measures_wants_examples(model: Callable[[str], Any]) -> None:
    asked = model("classification")
    for given in ({"text": TEXTS, "label": ["a"] * 3}, TEXTS):
        for call in (
            lambda given=given: tt.evaluate(asked, given),
            lambda given=given: tt.fine_tune(asked, given, given),
            lambda given=given: asked.preprocess(given),
        ):
            with pytest.raises(tt.InputError, match="expected examples: make them with `data.read"):
                call()
    with pytest.raises(tt.InputError, match="reads pairs|built for single texts"):
        asked.predict_text(Examples.from_lists(TEXTS, None, OTHERS))


@pytest.mark.slow
def test_exports_take_the_same_forms(model: Callable[[str], Any], tmp_path: Path) -> None:
    served = tt.load_saved_model(
        tt.export_saved_model(model("classification"), tmp_path, "float32")
    )
    expected = served.predict(TEXTS)["scores"]
    for given in ({"text": TEXTS}, [{"text": text} for text in TEXTS], [t.encode() for t in TEXTS]):
        np.testing.assert_array_equal(served.predict(given)["scores"], expected)
    assert served.predict([])["scores"].shape == (0, 3)
    with pytest.raises(tt.InputError, match="reads the column 'text'"):
        served.predict({"review": TEXTS})
    np.testing.assert_array_equal(served.encode({"text": TEXTS}), served.encode(TEXTS))


def test_examples_are_asked_as_they_were_read() -> None:
    table = {"body": ["a"], "document": ["other"], "q": ["b"], "question": ["other"]}
    read = tt.data.read(table, text="body", label="q")
    assert text_forms.columns(read, ["text"]) == [["a"]]
    pairs = tt.data.read(table, text="q", text_pair="body", label="document")
    assert text_forms.columns(pairs, ["question", "context"]) == [["b"], ["a"]]
