"""Data that programs hold in memory: what was meant, or a line; never another meaning in silence.

The plainest form of each is the reference.
"""

import datetime
import decimal
import enum
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from libraries import held, of_library

import tfhub_transfer as tt
from tfhub_transfer import data
from tfhub_transfer.data import Examples, batching, selecting
from tfhub_transfer.incoming import values, wording
from tfhub_transfer.tasks import Classification, MultiLabel, Regression, TokenClassification
from tfhub_transfer.texts import joining

TEXTS, LABELS = ["good film", "bad movie", "the worst"], ["p", "n", "p"]
DAYS = np.array(["2020-01-01", "2021-01-01", "2020-01-01"], "datetime64[ns]")


class Stars(int, enum.Enum):
    """As people wrote numbers with names before there was `IntEnum`."""

    LOW = 0
    HIGH = 1


def given(label: Any) -> list[Any]:
    return Examples.from_lists(TEXTS, label).labels


# Values ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("days", [DAYS, list(DAYS), DAYS.astype("datetime64[D]"), DAYS - DAYS[0]])
def test_dates_are_no_numbers(days: Any) -> None:
    """NumPy makes numbers of those that count nanoseconds, and only of those."""
    with pytest.raises(tt.InputError, match="must be a string or a number.*(a date|span of time)"):
        Classification().adapt(given(days))
    with pytest.raises(tt.InputError, match="needs finite numbers as labels"):
        Regression().adapt(given(days))


def test_dates_are_no_texts() -> None:
    assert values.plain(DAYS[0]) == datetime.datetime(2020, 1, 1)
    assert values.plain(DAYS)[1] == datetime.datetime(2021, 1, 1)
    with pytest.raises(tt.InputError, match="must hold a text.*2020-01-01"):
        data.read({"text": DAYS, "label": LABELS})


@pytest.mark.parametrize(
    "hidden",
    [
        np.ma.array([1, 7, 0], mask=[0, 1, 0]),
        np.ma.array(["a", "b", "c"], mask=[0, 1, 0]),
        [1, np.ma.masked, 0],
        [1, decimal.Decimal("NaN"), 0],
    ],
)
def test_what_an_array_hides_is_missing(hidden: Any) -> None:
    with pytest.raises(tt.InputError, match="row 2 of label must hold a label"):
        given(hidden)
    with pytest.raises(tt.InputError, match="row 2: column 'label' must hold a label"):
        data.read({"text": TEXTS, "label": hidden})
    rows = np.ma.array([[1, 0], [1, 1], [0, 0]], mask=[[0, 0], [0, 1], [0, 0]])
    with pytest.raises(tt.InputError, match="label 2: a label is missing"):
        MultiLabel(["a", "b"]).encode(given(rows))


def test_members_of_number_enums_are_their_numbers() -> None:
    labels = given([Stars.HIGH, 0, 1])
    task = Classification().adapt(labels)
    assert task.class_names == ["0", "1"]
    assert task.encode(labels).tolist() == [1, 0, 1]


# Names of classes --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["café", "cafe\u0301", "c"], r"look alike.*('caf\\xe9'|'cafe\\u0301') and '"),
        (["a b", "a\u00a0b", "c"], r"look alike.*'a b' and 'a\\xa0b'"),
        (["a b", "a  b", "c"], "look alike.*'a ? b' and 'a ? b'"),
        (["\ufeffa", "a", "c"], "look alike"),
        (["a\u200b", "a", "c"], "look alike"),
        ([True, 1, 0], "true and false in several ways.*0, 1, True"),
        (["true", "True", "False"], "true and false in several ways"),
    ],
)
def test_classes_that_look_alike_are_refused(names: list[Any], message: str) -> None:
    for learn in (
        lambda: Classification().adapt(given(names)),
        lambda: MultiLabel().adapt([[name] for name in map(str, names)]),
        lambda: TokenClassification().adapt([list(map(str, names))]),
    ):
        with pytest.raises(tt.InputError, match=message):
            learn()
    assert Classification().adapt(["Pos", "pos", "neg"]).class_names == ["Pos", "neg", "pos"]
    assert "capitals: Pos and pos" in data.profile(Examples.from_lists(TEXTS, ["Pos", "pos", "a"]))
    assert Classification().adapt(["True", "False", "unknown"]).class_names is not None


@pytest.mark.parametrize(
    "name",
    [datetime.date(2020, 1, 1), np.array(["p"]), enum.Enum("Kind", "GOOD").GOOD, float("inf")],
)
def test_what_names_no_class(name: Any) -> None:
    with pytest.raises(tt.InputError, match="a class must be named by a string or a number"):
        Classification([name, "n"])
    with pytest.raises(tt.InputError, match="none may be blank. Received"):
        Classification(["", "n"])
    assert wording.class_name(decimal.Decimal("1")) == "1"


@pytest.mark.parametrize("mark", ["NULL", "\\N", "<NA>", "#N/A", "NaT", " ", "nan"])
def test_marks_of_databases_are_no_classes(mark: str, tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text(f"text,label\na,x\nb,{mark}\n")
    if mark == " ":
        with pytest.raises(tt.InputError, match="line 3: column 'label' must hold a label"):
            data.read(path)
    assert data.read(path, require_label=False).target is None
    with pytest.raises(tt.InputError, match="label 2: a label is missing"):
        Classification(["x", "y"]).encode(["x", mark])


def test_what_may_be_missing_is_said() -> None:
    said = data.profile(Examples.from_lists(TEXTS, ["NA", "a", "a"]))
    assert "missing: NA is a class; if it stands for no label, drop its rows" in said
    assert "missing" not in data.profile(Examples.from_lists(TEXTS, LABELS))


FRAME = {"a": [1, 0, 1], "b": [0, 1, 1]}


@pytest.mark.parametrize("make", [Classification, MultiLabel, TokenClassification, Regression])
@pytest.mark.parametrize("odd", ["123", {"1", "2"}, {"1": "a", "2": "b"}, 1, None, b"12"])
def test_labels_are_one_for_each_text(make: Any, odd: Any) -> None:
    """A string would be gone through by its characters, a table by its columns."""
    task = make(0.0, 1.0) if make is Regression else make(["1", "2", "3"])
    for call in (task.encode, task.read_labels):
        with pytest.raises(tt.InputError, match="expected labels, one for each text"):
            call(odd)
    with pytest.raises(tt.InputError, match="expected labels, one for each text"):
        make().adapt(odd)


@pytest.mark.parametrize("table", [FRAME, of_library("pandas", lambda pd: pd.DataFrame(FRAME))])
def test_tables_of_labels_are_read_by_rows(table: Any) -> None:
    table = table() if callable(table) else table
    task = MultiLabel().adapt(table)
    assert task.class_names == ["a", "b"]
    assert task.encode(table).tolist() == [[1, 0], [0, 1], [1, 1]]
    with pytest.raises(tt.InputError, match="label 3: one class for each text is expected"):
        Classification().adapt(table)
    one = {"y": ["b", "a", "a"]}
    assert Classification().adapt(one).encode(one).tolist() == [1, 0, 0]
    assert MultiLabel(["a", "b"]).encode(each for each in [["a"], []]).tolist() == [[1, 0], [0, 0]]
    with pytest.raises(tt.InputError, match="expected a score for each text"):
        Regression().adapt([])


# Several classes ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([[0.9, 0.1], [0.2, 0.8]], r"make shares a 0 or a 1 first.*0.9 in \[0.9, 0.1\]"),
        (np.array([[1, 0], [0.5, 0.5]]), "make shares a 0 or a 1 first"),
        ([[1, -1], [-1, 1]], r"leave out what pads a list.*-1 in \[1, -1\]"),
        ([[0, 1], [2, -1]], "leave out what pads a list"),
    ],
)
def test_shares_and_padding_are_no_classes(labels: Any, message: str) -> None:
    for names in (None, ["a", "b"]):
        with pytest.raises(tt.InputError, match=message):
            MultiLabel(names).adapt(list(labels)).encode(list(labels))
    assert MultiLabel(["-1", "0.5"]).encode([[-1], [0.5]]).tolist() == [[1, 0], [0, 1]]


def test_numbers_of_two_classes_mean_the_same_in_every_part() -> None:
    """[0, 1] is both of them, or the second; which, only other rows of the data can say."""
    for first, then in (([[0], [1]], [[0, 1]]), ([[1, 0], [1, 1]], [[0], [1]])):
        task = MultiLabel(["a", "b"])
        task.encode(first)
        with pytest.raises(tt.InputError, match="for places of classes in one part"):
            task.encode(then)
    task = MultiLabel(["a", "b"])
    assert task.encode([[1, 0], [0, 1]]).tolist() == task.encode([["a"], ["b"]]).tolist()
    assert task.encode([[1, 1]]).tolist() == [[1, 1]]


# Tables ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("label", "message"),
    [
        ({"x", "y", "z"}, "each a list or an array; 'label' is none. Received: set"),
        ({"x": 1, "y": 2, "z": 3}, "'label' is none. Received: dict"),
        (np.array("a"), "'label' is none. Received: ndarray"),
        ((each for each in LABELS[:2]), "of one length.*'label': 2"),
    ],
)
def test_columns_without_an_order_are_refused(label: Any, message: str) -> None:
    with pytest.raises(tt.InputError, match=message):
        data.read({"text": TEXTS, "label": label})


def test_columns_are_read_again_and_again() -> None:
    stream = data.stream({"text": iter(TEXTS), "label": iter(LABELS)}, chunk_rows=2)
    for _ in range(2):
        assert [label for chunk in stream for label in chunk.labels] == LABELS
    tensors = {"text": tf.constant(TEXTS), "label": tf.constant([1, 0, 1])}
    assert data.read(tensors).columns == {"text": TEXTS, "label": [1, 0, 1]}
    with pytest.raises(tt.InputError, match="half a character"):
        data.read({"text": [b"\xff", b"a", b"b"], "label": LABELS})


@pytest.mark.parametrize(
    "table",
    [
        of_library("pandas", lambda pd: pd.DataFrame([*zip(TEXTS, LABELS)], index=[5, 1, 1])),
        of_library("datasets", lambda hf: held(hf, {"0": TEXTS, "1": LABELS})),
        {0: TEXTS, 1: LABELS},
    ],
)
def test_columns_may_be_named_by_numbers(table: Any) -> None:
    found = data.read(table() if callable(table) else table, text=0, label=1)  # type: ignore[arg-type]
    assert (found.texts[0], found.labels) == (TEXTS, LABELS)


def test_what_a_data_set_makes_of_its_rows_is_read() -> None:
    hf = pytest.importorskip("datasets")
    shout = held(hf, {"text": TEXTS, "label": LABELS}).with_transform(
        lambda rows: {"text": [text.upper() for text in rows["text"]], "label": rows["label"]}
    )
    assert data.read(shout).texts[0] == [text.upper() for text in TEXTS]


def of_generator(*rows: Any, **shape: Any) -> tf.data.Dataset:
    return tf.data.Dataset.from_generator(lambda: iter(rows), **shape)


SLICES = tf.data.Dataset.from_tensor_slices


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (
            lambda: SLICES((TEXTS, TEXTS, LABELS, [1, 2, 3])),
            r"\(text, label, weight\).*elements of 4",
        ),
        (
            lambda: SLICES((TEXTS, TEXTS, LABELS)),
            r"a weight being a float; two texts are a tuple, \(\(first, second\)",
        ),
        (lambda: SLICES((TEXTS, LABELS)).repeat(), "repeats without end; leave `repeat` out"),
        (
            lambda: of_generator((b"a", 1), output_types=(tf.string, tf.int32)),
            "the shapes of texts and labels must be known",
        ),
        (
            lambda: SLICES({"tokens": [["a", "b"], ["c", ""]], "tags": [[1, 0], [1, 0]]}),
            "row 2: column 'tokens': the last word of a list can't be empty.*leave padding out",
        ),
    ],
)
def test_data_sets_of_tensorflow_that_say_more(made: Callable[[], Any], message: str) -> None:
    with pytest.raises(tt.InputError, match=message):
        data.read(made())


def test_columns_of_one_text_are_texts() -> None:
    single = SLICES(([[text] for text in TEXTS], [1, 0, 1]))
    for each in (single, single.batch(2), SLICES((TEXTS, [1, 0, 1]))):
        assert data.read(each).columns == {"text": TEXTS, "label": [1, 0, 1]}


@pytest.mark.parametrize(
    "chosen",
    [
        [True, False, True],
        np.array([True, False, True], object),
        tf.constant([True, False, True]),
        [0, 2],
        (-3, -1),
        np.array([0, 2], "uint8"),
        range(0, 3, 2),
        slice(None, None, 2),
        iter([0, 2]),
        of_library("pandas", lambda pd: pd.Series([True, False, True], index=[2, 1, 0])),
        of_library("pandas", lambda pd: pd.Series([True, False, True], dtype="boolean")),
        of_library("pandas", lambda pd: pd.Index([0, 2])),
    ],
)
def test_rows_are_chosen_by_place(chosen: Any) -> None:
    found = Examples.from_lists(TEXTS, [1, 2, 3])[chosen() if callable(chosen) else chosen]
    assert found.columns == {"text": [TEXTS[0], TEXTS[2]], "label": [1, 3]}


@pytest.mark.parametrize(
    "chosen", [[True, False], [True] * 4, [0, True, 1], [0.0], [3], [-4], ["0"], "text", 1, [[0]]]
)
def test_rows_that_there_are_not(chosen: Any) -> None:
    with pytest.raises(tt.InputError, match="rows are chosen by a slice, by a list of numbers"):
        selecting.row_numbers(chosen, 3)


def test_what_wants_examples_says_so() -> None:
    table = {"text": TEXTS, "label": LABELS}
    for call in (data.split, data.profile):
        with pytest.raises(tt.InputError, match="expected examples"):
            call(table)  # type: ignore[operator]
    with pytest.raises(tt.InputError, match="`together` must be one of the columns 'text'"):
        data.split(Examples.from_lists(TEXTS), together="document")


# Words -------------------------------------------------------------------------------------------


def test_padding_is_no_word() -> None:
    padded = np.array([["good", "film"], ["bad", ""]])
    for call in (
        lambda: Examples.from_lists(padded, [[1, 0], [1, 0]]),
        lambda: data.read({"tokens": padded.tolist(), "tags": [["A", "B"], ["A", "B"]]}),
        lambda: tt.data.text_forms.columns(padded, ["text"], listed=True),
    ):
        with pytest.raises(tt.InputError, match="the last word of a list can't be empty"):
            call()
    joining.require_last(["a", "", "b"], "row 1")
    joining.require_last([""], "row 1")


# Models ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def model(bert_encoder: Path) -> Any:
    return tt.build_model(str(bert_encoder), Classification(["n", "p"]))


def test_answers_to_shuffled_batches_are_refused(model: Any) -> None:
    examples = Examples.from_lists(TEXTS, LABELS)
    right = model.predict(model.preprocess(examples, shuffle=False), verbose=0)
    np.testing.assert_allclose(right, model.predict_scores(examples), atol=1e-6)
    streamed = data.stream({"text": TEXTS, "label": LABELS})
    batching.require_order(model.preprocess(streamed, shuffle=False))
    for shuffled in (model.preprocess(examples), model.preprocess(streamed)):
        for ask in (lambda b=shuffled: model.predict(b), lambda b=shuffled: model.predict(x=b)):
            with pytest.raises(tt.InputError, match="answers would come in the order of shuffled"):
                ask()
    batching.require_order()
    with pytest.raises(tt.InputError, match="expected examples.*dict"):
        tt.evaluate(model, examples, train={"text": TEXTS, "label": LABELS})


def test_weights_of_classes_may_be_numpys(model: Any) -> None:
    model.task.check_class_weights({np.int64(0): np.float32(1), 1: 2})
    with pytest.raises(tt.InputError, match="class weights must be finite numbers"):
        model.task.check_class_weights({0: np.float32("nan"), 1: 2})


def test_tags_written_as_text_train(bert_encoder: Path) -> None:
    words, tags = [["good", "film"], ["bad"]], [["B-x", "O"], ["O"]]
    task = TokenClassification(["O", "B-x"]).adapt(tags)
    asked = tt.build_model(str(bert_encoder), task)
    plain = asked.cut(Examples.from_lists(words, tags)).examples.columns
    assert (
        asked.cut(Examples.from_lists(words, ['["B-x", "O"]', "['O']"])).examples.columns == plain
    )
