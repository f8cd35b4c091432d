"""Labels in every form in which people have them: the same numbers as in the plain one, or a line.

What pandas, pyarrow and `datasets` hold is tried where they are installed.
"""

import csv
import decimal
import enum
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from libraries import held, of_library

import tfhub_transfer as tt
from tfhub_transfer import cli
from tfhub_transfer.data import Examples
from tfhub_transfer.incoming import values
from tfhub_transfer.jobs import inputs
from tfhub_transfer.tasks import (
    Classification,
    MultiLabel,
    Regression,
    Similarity,
    TokenClassification,
    references,
)
from tfhub_transfer.tasks.questions import answers
from tfhub_transfer.texts import joining


class Verdict(enum.StrEnum):
    BAD = "n"


class Grade(enum.IntEnum):
    HIGH = 1


def given(label: Any, count: int = 3) -> list[Any]:
    """Labels as examples hold them."""
    return Examples.from_lists(["a text"] * count, label).labels


# One class a text --------------------------------------------------------------------------------

WORDS = [
    ["p", "n", "p"],
    ("p", "n", "p"),
    np.array(["p", "n", "p"]),
    np.array(["p", "n", "p"], object),
    np.array([["p"], ["n"], ["p"]]),
    [" p", "n ", "p"],
    [["p"], ("n",), {"p"}],
    ["['p']", '["n"]', "['p']"],
    [{"p": 1, "n": 0}, {"p": 0.0, "n": True}, {"n": False, "p": "1"}],
    ["p", Verdict.BAD, "p"],
    {"label": ["p", "n", "p"]},
    {"p": [1, 0, 1], "n": [0, 1, 0]},
    of_library("pandas", lambda pd: pd.Series(["p", "n", "p"], dtype="category")),
    of_library("pandas", lambda pd: pd.Categorical(["p", "n", "p"])),
    of_library("pandas", lambda pd: pd.Series(["p", "n", "p"], dtype="string")),
    of_library("pandas", lambda pd: pd.DataFrame({"y": ["p", "n", "p"]})),
    of_library("pyarrow", lambda pa: pa.array(["p", "n", "p"]).dictionary_encode()),
    of_library("datasets", lambda hf: held(hf, {"y": ["p", "n", "p"]})["y"]),
]
NUMBERS = [
    [1, 0, 1],
    [1.0, 0, 1],
    ["1", "0", "1.0"],
    np.array([1, 0, 1], "int8"),
    np.array([1.0, 0.0, 1.0], "float32"),
    np.array([[1], [0], [1]]),
    [np.int64(1), np.float32(0), np.str_("1")],
    [decimal.Decimal("1"), decimal.Decimal("0.0"), 1],
    [Grade.HIGH, 0, 1],
    ["[1]", "[0]", "[1.]"],
    of_library("pandas", lambda pd: pd.Series([1, 0, 1], dtype="Int64")),
    of_library("pyarrow", lambda pa: pa.array([1, 0, 1])),
]


def read_lazily(label: Any) -> Any:
    return label() if callable(label) else label


@pytest.mark.parametrize("label", WORDS)
def test_one_class_a_text_by_name(label: Any) -> None:
    labels = given(read_lazily(label))
    task = Classification().adapt(labels)
    assert task.class_names == ["n", "p"]
    assert task.encode(labels).tolist() == [1, 0, 1]


@pytest.mark.parametrize("label", [*NUMBERS, tf.constant([1, 0, 1]), [True, False, True]])
def test_one_class_a_text_by_number(label: Any) -> None:
    """Learned they are names in the order of numbers, and places where names were given."""
    labels = given(read_lazily(label))
    task = Classification().adapt(labels)
    assert task.class_names in (["0", "1"], ["False", "True"])
    assert task.encode(labels).tolist() == [1, 0, 1]
    named = Classification(["n", "p"]).adapt(labels)
    assert named.class_names == ["n", "p"]
    assert named.encode(labels).tolist() == [1, 0, 1]


def test_numbers_mean_nothing_to_names_that_were_learned() -> None:
    task = Classification().adapt(["p", "n"])
    restore = keras.saving.deserialize_keras_object
    again = restore(keras.saving.serialize_keras_object(task))
    for each in (task, again):
        with pytest.raises(
            tt.InputError, match="give the task `class_names` .*in the order of the"
        ):
            each.encode([0, 1])
    given_names = restore(keras.saving.serialize_keras_object(Classification(["p", "n"])))
    assert given_names.encode([0, 1]).tolist() == [0, 1]


@pytest.mark.parametrize(
    ("label", "message"),
    [
        (None, "label 2: a label is missing"),
        (float("nan"), "label 2: a label is missing"),
        ("", "label 2: a label is missing"),
        (" NaN ", "label 2: a label is missing"),
        ([], "one class for each text is expected; where texts have several or none"),
        (["p", "n"], r"multi-label task. Received: a list of 2, \['p', 'n'\]"),
        ({"p", "n"}, "use the multi-label task"),
        ("['p', 'n']", "use the multi-label task. Received: a string of 2"),
        ([0, 1], r"give the place, as `labels.argmax\(axis=1\)` does"),
        (np.array([0.0, 1.0]), r"give the place, as `labels.argmax\(axis=1\)` does"),
        ({"p": 0.7, "n": 0.3}, "must say 0 or 1 for each class; make shares.*Received: 'p': 0.7"),
        ({"text": "p"}, "must say 0 or 1 for each class"),
        ({}, "Received: an empty dictionary"),
        (b"p", "must be a string or a number.*Received: bytes"),
        (np.datetime64("2020-01-01"), "must be a string or a number.*Received: a date"),
        (enum.Enum("Kind", "GOOD").GOOD, "its own `.name`|label's own `.name`"),
        (1j, "must be a string or a number.*complex"),
        (float("inf"), "must be a string or a number"),
        (float("-inf"), "must be a string or a number"),
        (object(), "must be a string or a number.*object"),
        (2, "numbers of classes go from 0 to 1"),
        (-1, "every class must be among `class_names`"),
        ("neutral", "every class must be among `class_names`"),
    ],
)
def test_what_is_no_class_is_named(label: Any, message: str) -> None:
    first = 0 if isinstance(label, int) else "p"
    with pytest.raises(tt.InputError, match=message):
        Classification(["n", "p"]).encode([first, label])


def test_missing_values_of_pandas_are_missing() -> None:
    pd = pytest.importorskip("pandas")
    for missing in (pd.NA, pd.NaT):
        with pytest.raises(tt.InputError, match="row 2 of label must hold a label"):
            given(pd.Series(["a", missing, "b"], dtype=object))


# Several classes a text --------------------------------------------------------------------------

ABC = ["a", "b", "c"]
HOT = [[1, 1, 0], [0, 0, 1], [0, 0, 0]]
# Each says a and b, then c, then nothing.
SEVERAL = [
    [["a", "b"], ["c"], []],
    [("b", "a"), ("c",), ()],
    [{"a", "b"}, {"c"}, set()],
    [np.array(["a", "b"]), np.array(["c"]), np.array([])],
    [np.array(["a", "b"], object), np.array(["c"], object), np.array([], object)],
    ["a|b", "c", ""],
    [" a | b ", "c|", " "],
    ["['a', 'b']", "['c']", "[]"],
    ['["a", "b"]', '["c"]', "[]"],
    ["['a' 'b']", "['c']", "[]"],
    ["{'a', 'b'}", "{'c'}", "set()"],
    ["('a', 'b')", "('c',)", "()"],
    ["array(['a', 'b'], dtype=object)", "array(['c'], dtype=object)", "array([], dtype=object)"],
    ["[np.str_('a'), np.str_('b')]", "[np.str_('c')]", "[]"],
    [{"a": 1, "b": 1.0, "c": 0}, {"a": False, "b": "0", "c": True}, dict.fromkeys("abc", 0)],
    {"a": [1, 0, 0], "b": ["1", "0", "0.0"], "c": [False, True, False]},
    HOT,
    np.array(HOT),
    np.array(HOT, "float32"),
    np.array(HOT, bool),
    [[True, True, False], [False, False, True], [False] * 3],
    ["[1 1 0]", "[0 0 1]", "[0. 0. 0.]"],
    ["1|1|0", "0|0|1", "0|0|0"],
    [[0, 1], [2], []],
    ["[0, 1]", "[2]", "[]"],
    ["{a,b}", "{c}", "{}"],  # PostgreSQL
    ['{"a","b"}', '{"c"}', "{}"],
    ['c("a", "b")', 'list("c")', "character(0)"],  # R
    of_library("scipy.sparse", lambda sparse: sparse.csr_matrix(np.array(HOT))),
    of_library("pandas", lambda pd: pd.Series([["a", "b"], ["c"], []])),
    of_library("pandas", lambda pd: pd.DataFrame(HOT, columns=ABC)),
    of_library("pyarrow", lambda pa: pa.array([["a", "b"], ["c"], []])),
    of_library("pyarrow", lambda pa: pa.table(dict(zip("abc", np.array(HOT).T)))),
    of_library("datasets", lambda hf: held(hf, {"y": [["a", "b"], ["c"], []]})["y"]),
]


@pytest.mark.parametrize("label", [*SEVERAL, tf.ragged.constant([["a", "b"], ["c"], []])])
def test_several_classes_a_text(label: Any) -> None:
    assert MultiLabel(ABC).encode(given(read_lazily(label))).tolist() == HOT


@pytest.mark.parametrize("label", [SEVERAL[0], SEVERAL[2], SEVERAL[5], SEVERAL[9], SEVERAL[14]])
def test_several_classes_a_text_are_learned(label: Any) -> None:
    task = MultiLabel().adapt(given(label))
    assert task.class_names == ABC
    assert task.encode(given(label)).tolist() == HOT


def test_a_separator_is_said_where_it_could_be_part_of_a_name() -> None:
    task = MultiLabel(label_separator=",").adapt(["a, b", "c,", ""])
    assert task.class_names == ABC
    assert task.encode(["b,a", "['c']", ""]).tolist() == HOT
    again = type(task).from_config(task.get_config())
    assert again.encode(["b,a"]).tolist() == HOT[:1]
    assert MultiLabel(label_separator=" ").adapt(["a  b", "c"]).class_names == ABC
    # Brackets around all and quotes around each are no part of names.
    for written in ("[a, b]", "{a,b}", "{a, b}", '"a","b"', "'a', 'b'"):
        assert task.encode([written, "c", ""]).tolist() == HOT, written
    for names in ("a,b", "a;b"):
        with pytest.raises(tt.InputError, match="label 1: one name with a comma or several"):
            MultiLabel().adapt([names, "c"])
    # Where a bar separates, or the name is known, the comma is part of it.
    comma = MultiLabel().adapt(["Action, Drama|War", "Action, Drama"])
    assert comma.class_names == ["Action, Drama", "War"]
    assert comma.encode(["Action, Drama"]).tolist() == [[1, 0]]
    with pytest.raises(tt.InputError, match="`label_separator` must be what stands between"):
        MultiLabel(label_separator="")


@pytest.mark.parametrize(
    ("names", "labels", "message"),
    [
        (None, [[0, 1, 1], [1, 0, 0]], "need its name: give the task `class_names`"),
        (None, np.array([[0, 1], [1, 0]]), "need its name: give the task `class_names`"),
        (None, np.eye(3, dtype=bool), "need its name: give the task `class_names`"),
        (None, ["1|0|1", "0|0|1"], "need its name: give the task `class_names`"),
        (ABC, [[1, 0, 0, 1]], "as many as a row has values.*and 3 given classes"),
        (["a", "b"], [[0, 1], [1]], r"can mean two things, \[0, 1\] both or the second"),
        (["0", "1"], [[0, 1], [1, 0]], "can mean two things"),
        (ABC, [["a"], None], "label 2: a label is missing.*a text without any class has"),
        (ABC, [["a", None]], "label 1: a label is missing"),
        (ABC, ["[a, b]"], "in brackets, but no list of quoted names"),
        (ABC, [[["a"]]], "must be a string or a number.*Received: a list"),
        (ABC, [{"a": 0.5}], "make shares a 0 or a 1 first"),
        (ABC, [{"a": -1}], "drop rows that nobody judged. Received: 'a': -1"),
        (ABC, [[0, 7]], "numbers of classes go from 0 to 2"),
        (ABC, ["a|z"], "every class must be among `class_names`"),
    ],
    ids=repr,
)
def test_rows_that_could_mean_anything_are_named(names: Any, labels: Any, message: str) -> None:
    task = MultiLabel(names)
    with pytest.raises(tt.InputError, match=message):
        task.adapt(list(labels)).encode(list(labels))


def test_numbers_may_be_names_of_several_classes() -> None:
    task = MultiLabel().adapt([[3, 10], [1], ["3"]])
    assert task.class_names == ["1", "3", "10"]
    assert task.encode([(10.0, 1)]).tolist() == [[1, 0, 1]]
    assert MultiLabel(["0", "1", "2"]).encode([[0, 1, 1], [1, 0, 0]]).tolist() == [
        [0, 1, 1],
        [1, 0, 0],
    ]
    # Two classes: rows of two are multi-hot, one number is a place.
    assert MultiLabel(["a", "b"]).encode([[0, 1], [1, 1]]).tolist() == [[0, 1], [1, 1]]
    assert MultiLabel(["a", "b"]).encode([[1], [0], []]).tolist() == [[0, 1], [1, 0], [0, 0]]


# Tags, numbers, summaries, answers ----------------------------------------------------------------

TAGS = ["O", "B-x", "I-x"]


@pytest.mark.parametrize(
    "label",
    [
        [["B-x", "I-x"], ["O"]],
        [("B-x", "I-x"), ("O",)],
        [np.array(["B-x", "I-x"]), np.array(["O"])],
        ["['B-x', 'I-x']", '["O"]'],
        ["['B-x' 'I-x']", "['O']"],
        [[1, 2], [0]],
        [np.array([1, 2]), np.array([0])],
        [[1.0, 2.0], ["0"]],
        ["[1 2]", "[0]"],
        of_library("pyarrow", lambda pa: pa.array([[1, 2], [0]])),
    ],
)
def test_tags_and_their_numbers(label: Any) -> None:
    """Also their scheme is learned, which is why a given list of names may go without."""
    labels = given(read_lazily(label), 2)
    task = TokenClassification(TAGS).adapt(labels)
    assert (task.class_names, task.scheme) == (TAGS, "IOB2")
    assert task.encode(labels).to_list() == [[1, 2], [0]]
    assert task.named(labels) == [["B-x", "I-x"], ["O"]]


@pytest.mark.parametrize(
    ("label", "message"),
    [
        ("O B-x", 'label 1: expected the tags of a text\'s words as a list.*written as ."O"'),
        (None, "expected the tags of a text's words as a list"),
        (["O", None], "label 1: a label is missing"),
        ([0, 3], "numbers of classes go from 0 to 2"),
        ([0, -100], "every tag must be among `class_names`"),
        ([0, "B-x"], "every tag must be among `class_names`"),
    ],
    ids=repr,
)
def test_what_are_no_tags_is_named(label: Any, message: str) -> None:
    with pytest.raises(tt.InputError, match=message):
        TokenClassification(TAGS).encode([label])


@pytest.mark.parametrize("task", [Regression(0.0, 1.0), Similarity(low=0.0, high=5.0)])
def test_numbers_in_their_forms(task: Any) -> None:
    forms = [2.5, "2.5", " 2.5 ", np.float32(2.5), decimal.Decimal("2.5"), [2.5], np.array([2.5])]
    assert task.encode([*forms, tf.constant(2.5)]).tolist() == [2.5] * (len(forms) + 1)
    for odd in (None, [1, 2], {"a": 1}, "high", "1,5", 1j, float("nan")):
        with pytest.raises(tt.InputError, match="needs finite numbers as labels; .*Received: "):
            task.encode([odd])


def test_summaries_and_answers_as_tables_write_them() -> None:
    assert references("['It works.', 'It does.']") == ["It works.", "It does."]
    assert references(np.array(["It works."], object)) == ["It works."]
    assert references("[see below] It works.") == ["[see below] It works."]
    spelled = '[{"text": "Rome", "answer_start": 0}]'
    assert answers.of_label(spelled) == [("Rome", 0)]
    assert tt.tasks.QuestionAnswering().adapt([spelled, "[]"]).unanswerable
    with pytest.raises(tt.InputError, match="expected answers as"):
        answers.of_label("Rome")


@pytest.mark.parametrize(
    "text",
    [
        *("[see below]", "[Intro]", "(not spam)", "(1)", "[1-3]", "[,]", "(0, 10]", "[0, 10)"),
        *("{unknown}", "{", "[", "[:", "{a}{b}", "[a] b", "('90s)", "{see: 1}", "Counter"),
    ],
)
def test_brackets_alone_make_no_list(text: str) -> None:
    assert values.spelled(text) is None
    assert Classification([text, "b"]).encode([text]).tolist() == [0]


# How Python, JSON, NumPy and others write that the class is p.
DICTIONARIES = [
    "{'p': 1, 'n': 0}",
    '{"p": 1, "n": 0}',
    "{'p': True, 'n': False}",
    '{"p": true, "n": false}',
    "{'p': np.float64(1.0), 'n': np.int64(0)}",
    "Counter({'p': 1})",
    "OrderedDict({'p': 1, 'n': 0})",
    "defaultdict(<class 'int'>, {'p': 1})",
    "{'p': 1}",
]


@pytest.mark.parametrize("text", DICTIONARIES)
def test_dictionaries_written_as_text_are_dictionaries(text: str) -> None:
    assert Classification().adapt([text, "n"]).class_names == ["n", "p"]
    assert MultiLabel(["n", "p"]).encode([text, "n|p"]).tolist() == [[0, 1], [1, 1]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"neg": 0.2, "pos": 0.8}', "must say 0 or 1 for each class; make shares.*'neg': 0.2"),
        ("{'label': 'pos', 'score': 0.9}", "must say 0 or 1 for each class.*'label': 'pos'"),
        ('{"neg": 0, "po', "can't be read: it is cut off, or holds more"),
        ("{'neg': nan}", "can't be read"),
        ("['a'b']", "can't be read.*several as a JSON list"),
        ("[1, 2", "can't be read"),
        ('[[0, 5, "PER"]]', "can't be read: it is cut off, or holds more than names and numbers"),
        ("[(0, 5, 'PER')]", "can't be read"),
        ('[{"start": 0}]', "can't be read"),
        ("Counter({'a'", "can't be read"),
    ],
)
def test_what_was_written_as_text_and_is_no_class_is_named(text: str, message: str) -> None:
    for task in (Classification(["a", "b"]), MultiLabel(["a", "b"])):
        with pytest.raises(tt.InputError, match=f"label 2: .*{message}"):
            task.encode(["a", text])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("['it''s']", ["it's"]),
        ("['it''s', 'b']", ["it's", "b"]),
        ('["say ""x"""]', ['say "x"']),
        ("['', 'a''']", ["", "a'"]),
        ("['' 'a']", ["", "a"]),
        ('c("a", "it\'s")', ["a", "it's"]),
        ("['a\nb']", ["a\nb"]),
    ],
)
def test_lists_of_sql_and_r(text: str, expected: list[str]) -> None:
    assert values.written(text) == expected
    if "" not in expected:
        task = MultiLabel([*expected, "other"])
        assert task.encode([text]).tolist() == [[1] * len(expected) + [0]]
    several = len(expected) > 1
    with pytest.raises(
        tt.InputError, match="multi-label" if several else "every class must be among"
    ):
        Classification(["x", "y"]).encode([text])


def test_arrays_of_postgresql(tmp_path: Path) -> None:
    assert values.braced('{a,"b, c","say \\"x\\"",NULL}') == ["a", "b, c", 'say "x"', None]
    for text in ("{see below}", "{a: 1}", "{a=b,c}", "{a,}", "{a}{b}", "a,b"):
        assert values.braced(text) is None
    with pytest.raises(tt.InputError, match="use the multi-label task. Received: a string of 2"):
        Classification(["a", "b"]).encode(["{a,b}"])
    path = tmp_path / "a.csv"
    path.write_text('tokens,tags\n"{The,""a b"",cat}","{O,O,B-x}"\n', encoding="utf-8")
    read = tt.data.read(path)
    assert TokenClassification(TAGS).encode(read.labels).to_list() == [[0, 0, 1]]
    assert read.texts == tt.data.Examples.from_lists([["The", "a b", "cat"]]).texts


def test_a_column_of_what_other_languages_write_is_no_column_of_names() -> None:
    odd = ["{neg=0.2, pos=0.8}", "{neg=0.1, pos=0.9}", "{neg: 1}", "a"]
    with pytest.raises(tt.InputError, match="most labels are in brackets.*Received: '{neg"):
        Classification().adapt(odd)
    # One of many may be called so.
    assert Classification().adapt(["{a: b}", "b", "c"]).class_names == ["b", "c", "{a: b}"]


# Files -------------------------------------------------------------------------------------------

TEXTS = [f"text {i}" for i in range(6)]
ROWS: list[list[str]] = [["a", "b"], ["c"], [], ["b"], ["a", "b", "c"], ["c"]]


def flags(row: list[str], true: Any, false: Any) -> dict[str, Any]:
    return {name: true if name in row else false for name in ABC}


FILES: dict[str, tuple[Callable[[list[str]], dict[str, Any]], dict[str, Any], dict[str, Any]]] = {
    "bars.csv": (lambda row: {"y": "|".join(row)}, {"label": "y"}, {}),
    "commas.csv": (lambda row: {"y": ", ".join(row)}, {"label": "y"}, {"label_separator": ","}),
    "spaces.tsv": (lambda row: {"y": " ".join(row)}, {"label": "y"}, {"label_separator": " "}),
    "python.csv": (lambda row: {"y": str(row)}, {"label": "y"}, {}),
    "json.csv": (lambda row: {"y": json.dumps(row)}, {"label": "y"}, {}),
    "numpy.csv": (lambda row: {"y": str(np.array(row))}, {"label": "y"}, {}),
    "flags.csv": (lambda row: flags(row, 1, 0), {"label": "a,b,c"}, {}),
    "booleans.csv": (lambda row: flags(row, True, False), {"label": ABC}, {}),
    "floats.tsv": (lambda row: flags(row, 1.0, 0.0), {"label": "c, a, b"}, {}),
    "lists.jsonl": (lambda row: {"y": row}, {"label": "y"}, {}),
    "cats.jsonl": (lambda row: {"y": flags(row, 1.0, 0.0)}, {"label": "y"}, {}),
    "flags.jsonl": (lambda row: flags(row, True, False), {"label": "a,b,c"}, {}),
    "hot.jsonl": (
        lambda row: {"y": list(flags(row, 1, 0).values())},
        {"label": "y"},
        {"class_names": ABC},
    ),
    "numbers.jsonl": (
        lambda row: {"y": [ABC.index(name) for name in row]},
        {"label": "y"},
        {"class_names": ABC},
    ),
}


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    if path.suffix == ".jsonl":
        path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
        return path
    with path.open("w", newline="", encoding="utf-8") as file:
        delimiter = "\t" if path.suffix == ".tsv" else ","
        writer = csv.DictWriter(file, list(rows[0]), delimiter=delimiter)
        writer.writeheader()
        writer.writerows(rows)
    return path


@pytest.mark.parametrize("name", FILES)
def test_several_classes_from_any_file(name: str, tmp_path: Path) -> None:
    columns, reading, settings = FILES[name]
    rows = [
        {"text": text, "id": i, **columns(row)} for i, (text, row) in enumerate(zip(TEXTS, ROWS))
    ]
    examples = tt.data.read(write(tmp_path / name, rows), require_label="or blank", **reading)
    task = MultiLabel(**settings).adapt(examples.labels)
    assert task.class_names == ABC
    assert task.encode(examples.labels).tolist() == MultiLabel(ABC).encode(ROWS).tolist()
    assert list(map(int, examples.columns["id"])) == list(range(6))


def test_class_labels_of_a_parquet_file_are_names(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    names = {"names": ["n", "p"], "_type": "ClassLabel"}
    features = {
        "one": names,
        "many": {"feature": names, "_type": "List"},
        "old": [names],
        "text": {"dtype": "string", "_type": "Value"},
    }
    table = pa.table(
        {"text": ["x", "y"], "one": [1, 0], "many": [[1, 0], []], "old": [[0], [1]], "sure": [1, 0]}
    )
    known = {b"huggingface": json.dumps({"info": {"features": features}}).encode()}
    parquet.write_table(table.replace_schema_metadata(known), tmp_path / "rows.parquet")
    for column, wanted in (
        ("one", ["p", "n"]),
        ("many", [["p", "n"], []]),
        ("old", [["n"], ["p"]]),
        ("sure", [1, 0]),
    ):
        assert tt.data.read(tmp_path / "rows.parquet", label=column).labels == wanted


def test_words_and_tags_written_as_text(tmp_path: Path) -> None:
    for text, label in (("tokens", "tags"), ("words", "ner")):
        rows = [
            {text: "['EU', \"isn't\"]", label: "['B-x', 'O']"},
            {text: "['no']", label: "['O']"},
        ]
        path = write(tmp_path / "tags.csv", rows)
        examples = tt.data.read(path, text=text, label=label)
        assert [each.split(joining.WORD_END) for each in examples.texts[0]] == [
            ["EU", "isn't"],
            ["no"],
        ]
        assert examples.labels == [["B-x", "O"], ["O"]]
        TokenClassification().adapt(examples.labels).check(examples)


@pytest.mark.parametrize(
    ("rows", "label", "message"),
    [
        ([{"a": 1, "b": 0}, {"a": -1, "b": 0}], "a,b", "line 3: column 'a' must say 0 or 1.*'-1'"),
        ([{"a": 1, "b": 0.5}], "a,b", "line 2: column 'b' must say 0 or 1.*make shares"),
        ([{"a": 1, "b": ""}], "a,b", "line 2: column 'b' must say 0 or 1"),
        ([{"a": "", "b": ""}], "a,b", "line 2: column 'a,b' must hold a label"),
        ([{"a": 1, "b": 0}], "a,z", "no column 'z' for the label"),
        ([{"a": 1, "b": 0}], "a,a", "label columns must differ"),
        ([{"a": ""}], "a", "line 2: column 'a' must hold a label"),
    ],
    ids=repr,
)
def test_label_columns_are_checked(rows: Any, label: str, message: str, tmp_path: Path) -> None:
    path = write(tmp_path / "rows.csv", [{"text": "x", **row} for row in rows])
    with pytest.raises(tt.InputError, match=message):
        tt.data.read(path, label=label)


def test_several_label_columns_may_be_absent_where_none_is_needed(tmp_path: Path) -> None:
    path = write(tmp_path / "rows.csv", [{"text": "x", "a": 1}])
    assert tt.data.read(path, label="a,b", require_label=False).target is None
    with pytest.raises(tt.InputError, match="`require_label` must be True, False or 'or blank'"):
        tt.data.read(path, label="a", require_label="blank")


def test_a_column_whose_name_holds_a_comma_is_one(tmp_path: Path) -> None:
    path = write(tmp_path / "rows.csv", [{"text": "x", "a,b": "p"}, {"text": "y", "a,b": "n"}])
    assert tt.data.read(path, label="a,b").labels == ["p", "n"]


# Weights of classes ------------------------------------------------------------------------------


def test_weights_go_by_the_places_of_classes() -> None:
    task = Classification().adapt([2, 2, 2, 1])
    assert task.class_weights(["2", 2.0, 2, 1]) == {0: 2.0, 1: pytest.approx(2 / 3)}
    assert Classification(["x", "y", "z"]).class_weights(["x", "y"]) == {0: 1.0, 1: 1.0, 2: 1.0}
    with pytest.raises(tt.InputError, match="one class for each row; .*Received: no labels"):
        task.class_weights([])
    for other in (MultiLabel(ABC), Regression(0.0, 1.0), TokenClassification(TAGS)):
        with pytest.raises(tt.InputError, match=f"leave them out. Received: the {other.name}"):
            other.class_weights([["a"]])


def test_a_rare_class_is_found_with_weights() -> None:
    """Of texts that look alike a third is rare; weights by label would weigh the others more."""
    vectors = np.array([[1.0, 0.0]] * 42 + [[0.0, 1.0]] * 18, "float32")
    labels = [2] * 54 + [1] * 6
    task = Classification().adapt(labels)

    def recall(weights: Any) -> float:
        keras.utils.set_random_seed(1)
        inputs = keras.Input((2,))
        model = keras.Model(inputs, task.outputs(inputs, tt.Head()))
        model.compile(keras.optimizers.Adam(0.3), task.loss())
        for _ in range(40):
            model.train_on_batch(vectors, task.encode(labels), class_weight=weights)
        answers = task.decode(model.predict_on_batch(vectors[54:]))
        return float(np.mean([answer["label"] == "1" for answer in answers]))

    assert recall(None) == 0.0
    assert recall(task.class_weights(labels)) == 1.0


def test_weights_that_go_by_something_else_are_refused(text_encoder: Path) -> None:
    examples = Examples.from_lists(["good", "bad"], [2, 1])
    task = Classification().adapt(examples.labels)
    model = tt.build_model(str(text_encoder), task)
    for odd in ({1: 5.0, 2: 0.5}, {"1": 5.0, "2": 0.5}, {0: 1.0}, {0: 1.0, 1: -1.0}):
        with pytest.raises(tt.InputError, match="class weights"):
            tt.fine_tune(model, examples, examples, plan=tt.Plan(class_weight=odd))
        with pytest.raises(tt.InputError, match="class weights"):
            model.fit(model.preprocess(examples), class_weight=odd)
    with pytest.raises(
        tt.InputError, match="class weights are for tasks where each text has one class"
    ):
        MultiLabel(ABC).check_class_weights({0: 1.0, 1: 1.0, 2: 1.0})


# The command line --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--task", "classification", "--label-separator", ","], "for the multi-label task"),
        (
            ["--task", "multi-label", "--class-weights"],
            "for the tasks classification, ordinal-regression; leave it out. Received: --c",
        ),
        (
            ["--task", "regression", "--class-weights"],
            "for the tasks classification, ordinal-regression; leave it out. Received: --c",
        ),
        (["--task", "multi-label"], "one name with a comma or several names?"),
        (["--task", "classification", "--label", "a,b"], "column 'a' must say 0 or 1"),
    ],
)
def test_odd_labels_are_one_line(
    words: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [
        {"text": f"x {i}", "label": "p, q" if i % 2 else "q", "a": 2, "b": 0} for i in range(30)
    ]
    path = write(tmp_path / "rows.csv", rows)
    assert cli.main(["train", *words, "--data", str(path), "--output", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
    assert not (tmp_path / "out").exists()


FORMS: dict[str, tuple[Callable[[list[str]], dict[str, Any]], list[str]]] = {
    "lists.jsonl": (lambda row: {"label": row}, []),
    "bars.csv": (lambda row: {"label": "|".join(row)}, []),
    "python.csv": (lambda row: {"label": str(row)}, []),
    "commas.csv": (lambda row: {"label": ", ".join(row)}, ["--label-separator", ","]),
    "flags.csv": (lambda row: flags(row, 1, 0), ["--label", "a,b,c"]),
}


def write_form(name: str, folder: Path) -> Path:
    good, bad = ["good film", ["a", "b"]], ["bad film", ["c"]]
    rows = [(f"{text} {i}", row) for i in range(20) for text, row in (good, bad, ["film", []])]
    columns, _ = FORMS[name]
    return write(folder / name, [{"text": text, **columns(row)} for text, row in rows])


def test_rows_part_alike_from_any_form(tmp_path: Path) -> None:
    """Which rows train and which measure must not depend on how labels were written."""

    def splits(**job: Any) -> Any:
        read, task = inputs.read_splits(inputs.TrainJob(output=tmp_path / "out", **job))
        return [
            (part.texts, task.encode(part.labels).tolist(), profile(part))
            for part in vars(read).values()
        ]

    def profile(part: Examples) -> str:
        return tt.data.profile(part).partition("labels")[2]

    several = [
        splits(
            task="multi-label",
            data=str(write_form(name, tmp_path)),
            label="a,b,c" if name == "flags.csv" else None,
            label_separator="," if name == "commas.csv" else None,
        )
        for name in FORMS
    ]
    assert "3 (" in several[0][0][2]
    assert all(each == several[0] for each in several)
    numbers = {"int.jsonl": int, "float.jsonl": float, "float.csv": float, "text.jsonl": str}
    single = {task: [] for task in ("classification", "regression")}
    for name, made in numbers.items():
        rows = [{"text": f"t {i}", "label": made(i % 11)} for i in range(66)]
        path = write(tmp_path / name, rows)
        for task, found in single.items():
            found.append(splits(task=task, data=str(path)))
    assert all(each == found[0] for found in single.values() for each in found)


def test_one_class_in_several_spellings_parts_as_one() -> None:
    texts = [f"text {i}" for i in range(60)]
    spelled = (int, float, str, lambda number: f" {number} ")
    mixed = [spelled[i % 4](i // 4 % 3) for i in range(60)]
    whole = tt.data.split(Examples.from_lists(texts, [i // 4 % 3 for i in range(60)]), seed=3)
    found = tt.data.split(Examples.from_lists(texts, mixed), seed=3)
    assert [part.texts for part in found] == [part.texts for part in whole]


@pytest.mark.slow
def test_commands_give_the_same_numbers_for_any_form(text_encoder: Path, tmp_path: Path) -> None:
    found = {}
    for name in ("lists.jsonl", "commas.csv", "flags.csv"):
        out = tmp_path / f"{name} out"
        words = ["train", "--task", "multi-label", *FORMS[name][1], "--epochs", "1"]
        words += ["--data", str(write_form(name, tmp_path)), "--output", str(out)]
        assert cli.main([*words, "--encoder", str(text_encoder)]) == 0
        found[name] = _metrics(out / "report")
    assert found["commas.csv"] == found["lists.jsonl"] == found["flags.csv"]
    # Columns and separator are the model's own.
    words = ["evaluate", str(tmp_path / "flags.csv out"), "--data", str(tmp_path / "flags.csv")]
    assert cli.main([*words, "--output", str(tmp_path / "again")]) == 0
    assert _metrics(tmp_path / "again").keys() == found["flags.csv"].keys()


def _metrics(folder: Path) -> Any:
    return json.loads((folder / "report.json").read_text(encoding="utf-8"))["metrics"]


@pytest.mark.parametrize("label", [decimal.Decimal("Infinity"), decimal.Decimal("-Infinity")])
def test_endless_decimals_are_no_classes(label: Any) -> None:
    with pytest.raises(tt.InputError):
        Classification().adapt([label, "a"])
