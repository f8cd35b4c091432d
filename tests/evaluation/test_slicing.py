"""Groups of examples: by columns of any kind, by length, script and words."""

import datetime

import numpy as np
import pyarrow
import pytest

from tfhub_transfer.data import Examples
from tfhub_transfer.errors import InputError
from tfhub_transfer.evaluation import slicing


def examples(**columns: list[object]) -> Examples:
    rows = len(next(iter(columns.values())))
    return Examples(
        {"text": ["good"] * rows, "label": ["a"] * rows, **columns}, "test.csv", target="label"
    )


def counts(cells: object) -> dict[str, int]:
    return {
        each.name: int(each.rows.sum()) for each in slicing.groups_of_columns({"source": cells})
    }  # type: ignore[dict-item]


def test_values_are_groups_and_blank_cells_are_one() -> None:
    cells = ["web"] * 7 + [" web"] + ["mail"] * 6 + ["", " ", None, float("nan")]
    assert counts(cells) == {"mail": 6, "web": 8, slicing.BLANK: 4}


def test_rare_values_are_one_group_and_so_are_those_beyond_twenty() -> None:
    assert counts(["web"] * 9 + ["a", "b", "c", "c"]) == {"web": 9, slicing.OTHERS: 4}
    assert counts(["web"] * 9 + ["a"]) == {"a": 1, "web": 9}  # which needs no other name
    found = counts([f"value {i:02}" for i in range(30) for _ in range(40 - i)])
    assert len(found) == 21
    assert found[slicing.OTHERS] == sum(40 - i for i in range(20, 30))


def test_few_numbers_are_values_and_many_are_quarters() -> None:
    assert counts([1, 2, 2.0, "3"] * 6) == {"1": 6, "2": 12, "3": 6}
    assert counts([True, False] * 30) == {"False": 30, "True": 30}
    numbers = np.random.default_rng(0).permutation(100)
    assert counts(numbers) == {"0 to 24": 25, "25 to 49": 25, "50 to 74": 25, "75 to 99": 25}
    assert counts([str(each) for each in numbers]) == counts(numbers)
    found = counts([0] * 80 + [*range(1, 41)])
    assert found == {"0": 80, "1 to 10": 10, "11 to 40": 30}


@pytest.mark.parametrize(
    "as_given", [str, lambda day: day, np.datetime64, lambda day: f"{day}T10:00:00+02:00"]
)
def test_many_dates_are_quarters(as_given: object) -> None:
    days = [datetime.date(2024, 1, 1) + datetime.timedelta(days) for days in range(40)]
    found = counts([as_given(day) for day in days])  # type: ignore[operator]
    assert list(found.values()) == [10] * 4
    assert next(iter(found)).startswith("2024-01-01")
    assert " to 2024-01-10" in next(iter(found))


@pytest.mark.parametrize(
    "cells",
    [
        [datetime.timedelta(minutes=i) for i in range(40)],
        [np.timedelta64(i, "s") for i in range(40)],
        [datetime.time(i // 2, 30 * (i % 2)) for i in range(40)],
        [f"{i // 2:02}:{30 * (i % 2):02}" for i in range(40)],
        [float("inf"), *range(39)],
    ],
)
def test_times_and_what_is_infinite_are_quarters(cells: list[object]) -> None:
    assert list(counts(cells).values()) == [10] * 4


@pytest.mark.parametrize("nothing", ["NA", "nan", "NULL", "#N/A", None, " "])
def test_what_stands_for_no_number_is_blank_among_numbers(nothing: object) -> None:
    numbers = [str(i / 4) for i in range(40)]
    assert counts([*numbers, nothing, nothing]) == {**counts(numbers), slicing.BLANK: 2}


def test_a_word_for_nothing_may_be_a_value_among_others() -> None:
    countries = ["NA"] * 6 + ["DE"] * 7
    assert counts(countries) == {"DE": 7, "NA": 6}


def test_columns_that_are_called_as_groups_of_texts_are_no_such_groups() -> None:
    groups = slicing.groups_of_columns({name: ["a", "b"] * 5 for name in ("word", "script", "of")})
    assert [group.by for group in groups] == [
        *["column word"] * 2,
        *["column script"] * 2,
        *["of"] * 2,
    ]


def test_names_come_as_arrays_and_values_as_tables() -> None:
    given = examples(source=["a", "b"], **{" of ": ["x", "y"]})
    expected = {"source": ["a", "b"]}
    assert slicing.columns(given, np.array(["source"])) == expected  # type: ignore[arg-type]
    assert slicing.columns(given, pyarrow.table({"source": ["a", "b"]})) == expected  # type: ignore[arg-type]
    assert slicing.columns(given, {"source": np.array([["a"], ["b"]])}) == expected
    assert slicing.columns(given, " of ") == {" of ": ["x", "y"]}
    assert slicing.columns(given, "source, of ") == expected | {" of ": ["x", "y"]}


def test_columns_by_name_by_part_and_by_values() -> None:
    given = examples(source=["a", "b"], about=[{"site": "x"}, {"site": "y"}])
    assert slicing.columns(given, None) == {}
    assert slicing.columns(given, "source,about.site") == {
        "source": ["a", "b"],
        "about.site": ["x", "y"],
    }
    assert slicing.columns(given, ["source", "source"]) == {"source": ["a", "b"]}
    assert slicing.columns(given, {"of": np.array([1, 2])}) == {"of": [1, 2]}
    comma = examples(**{"a,b": [1, 2]})
    assert slicing.columns(comma, "a,b") == {"a,b": [1, 2]}


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ("sauce", "test.csv has no column 'sauce' beside texts and labels; slice by one of 'sour"),
        ("label", "has no column 'label' beside"),
        ("text", "has no column 'text' beside"),
        ("", "has no column ''"),
        ("about.cite", "has no column 'about.cite'"),
        ("about", "or a part of its values behind a full stop. Received: a dictionary in 'about'"),
        ({"of": [1]}, "a value for each example to evaluate on, which are 2. Received: 1 of 'of'"),
        (
            {"of": 5},
            "`slices` has a list for each name, with a value for each example. Received: int",
        ),
        (
            {"of": "ab"},
            "has a list for each name, with a value for each example. Received: a string",
        ),
        ({"of": np.array(5)}, "has a list for each name, with a value for each example. Received"),
        ({"of": {1, 2}}, "has a list for each name, with a value for each example. Received: set"),
        (b"source", "`slices` are names of columns, or a dictionary of their values by name"),
        ({"source"}, "`slices` are names of columns, or a dictionary of their values by name"),
        (7, "`slices` are names of columns, or a dictionary of their values by name. Received: in"),
    ],
)
def test_what_is_no_column_is_said(asked: object, message: str) -> None:
    given = examples(source=["a", "b"], about=[{"site": "x"}, {"site": "y"}])
    with pytest.raises(InputError) as caught:
        slicing.columns(given, asked)  # type: ignore[arg-type]
    assert message in str(caught.value)
    with pytest.raises(InputError, match=r"it has no other; leave it out \(`slices`"):
        slicing.columns(Examples.from_lists(["a"], ["b"]), "source")


def test_of_several_tasks_each_has_its_own_columns() -> None:
    parts = {"one": examples(source=["a"]), "other": examples(source=["b"], day=["1"])}
    assert slicing.columns_of_tasks(parts, "source,day") == {
        "one": {"source": ["a"]},
        "other": {"source": ["b"], "day": ["1"]},
    }
    # A comma may be in the name of one task's column, which others don't have.
    parts["one"] = examples(**{"a,b": ["c"]})
    assert slicing.columns_of_tasks(parts, "a,b") == {"one": {"a,b": ["c"]}, "other": {}}
    with pytest.raises(InputError, match="has no column 'sauce'"):
        slicing.columns_of_tasks(parts, ["source", "sauce"])
    with pytest.raises(InputError, match="are names of columns that their examples have"):
        slicing.columns_of_tasks(parts, {"source": ["a"]})


def named(texts: list[str]) -> dict[tuple[str, str], np.ndarray]:
    return {(each.by, each.name): each.rows for each in slicing.groups_of_texts(texts)}


def test_texts_are_grouped_by_length_script_and_words() -> None:
    generator = np.random.default_rng(0)
    texts = [" ".join(generator.choice(["film", "Not", "plot"], count + 1)) for count in range(120)]
    texts += ["хороший фильм"] * 30 + ["7"] * 5
    found = named(texts)
    words = np.array([len(text.split()) for text in texts])
    lengths = {name: rows for (by, name), rows in found.items() if by == "length in words"}
    assert list(lengths) == ["1 to 4", "5 to 43", "44 to 82", "83 to 120"] or len(lengths) == 4
    for name, rows in lengths.items():
        low, high = (int(each) for each in name.split(" to "))
        np.testing.assert_array_equal(rows, (words >= low) & (words <= high))
    assert sum(rows.sum() for rows in lengths.values()) == len(texts)
    assert found["script", "Cyrillic"].sum() == 30
    assert found["script", "Latin"].sum() == 120
    assert ("script", slicing.NO_LETTERS) not in found  # of five texts
    # Both Russian words stand in the same texts; those of most texts tell nothing apart.
    assert [name for by, name in found if by == slicing.WORD] == ["фильм"]


def test_texts_are_grouped_by_language_where_there_are_several() -> None:
    """Languages of 20 texts; what nobody is sure of is in no group, and one language is none."""
    english = [f"The train was late again, and it was number {at}." for at in range(30)]
    german = [f"Der Zug hatte wieder Verspätung, und es war Nummer {at}." for at in range(25)]
    french = [f"Le train était encore en retard, c'était le {at}." for at in range(4)]
    texts = [*english, *german, *french, *(["ok"] * 9)]
    found = named(texts)
    languages = {name: rows for (by, name), rows in found.items() if by == slicing.LANGUAGE}
    assert list(languages) == ["de", "en"]
    np.testing.assert_array_equal(np.flatnonzero(languages["en"]), range(30))
    np.testing.assert_array_equal(np.flatnonzero(languages["de"]), range(30, 55))
    alone = named([*english, *english, *french, *(["ok"] * 30)])
    assert not [name for by, name in alone if by == slicing.LANGUAGE]


def test_a_word_is_in_the_texts_that_hold_it() -> None:
    generator = np.random.default_rng(0)
    vocabulary = ["film", "plot", "not", "bad", "good", "isn't", "fine"]
    texts = [" ".join(generator.choice(vocabulary, 3)).capitalize() for _ in range(200)]
    found = {name: rows for (by, name), rows in named(texts).items() if by == slicing.WORD}
    assert {*found} == {*vocabulary}
    for word, rows in found.items():
        expected = [word in text.lower().split() for text in texts]
        np.testing.assert_array_equal(rows, expected)


def test_texts_without_spaces_are_measured_in_characters() -> None:
    found = named(["好" * (1 + i) for i in range(80)])
    assert {by for by, _ in found} == {"length in characters"}
    assert ("length in characters", "1 to 20") in found


def test_few_or_equal_texts_have_no_groups() -> None:
    assert named(["good film", "a bad film indeed"] * 15) == {}
    assert named(["good film"] * 100) == {}
    assert named([""] * 100) == {}
