"""Examples in folds, and several put together."""

import collections
from typing import Any

import pytest

from tfhub_transfer.data import Examples, folds, pool

lists = Examples.from_lists


def test_each_row_is_in_one_fold_and_the_same_texts_in_one() -> None:
    texts = [f"text {i % 31}" for i in range(100)]
    examples = lists(texts, [i % 3 for i in range(100)])
    parts = folds(examples, 4, seed=3)
    assert sorted(t for part in parts for t in part.texts[0]) == sorted(texts)
    seen = [{*part.texts[0]} for part in parts]
    assert sum(map(len, seen)) == 31 and len(set.union(*seen)) == 31
    assert max(map(len, parts)) - min(map(len, parts)) <= 2 * 4  # rows of two texts
    again, other = folds(examples, 4, seed=3), folds(examples, 4, seed=4)
    assert again == parts != other


def test_classes_keep_their_shares_and_rare_ones_are_spread() -> None:
    labels = ["a"] * 50 + ["b"] * 20 + ["c"] * 5 + ["d"] * 2
    parts = folds(lists([f"text {i}" for i in range(77)], labels), 5)
    counts = [collections.Counter(part.labels) for part in parts]
    assert [(each["a"], each["b"], each["c"]) for each in counts] == [(10, 4, 1)] * 5
    assert sorted(map(len, parts)) == [15, 15, 15, 16, 16]


def test_a_column_keeps_rows_together() -> None:
    texts = [f"question {i}" for i in range(40)]
    examples = lists(texts, ["a"] * 40, text_pair=[f"context {i // 5}" for i in range(40)])
    parts = folds(examples, 4, together="text_b")
    assert [len(part) for part in parts] == [10] * 4
    assert sum(len({*part.columns["text_b"]}) for part in parts) == 8


@pytest.mark.parametrize(
    ("count", "more", "message"),
    [
        (1, {}, "`count` must be a whole number from 2"),
        (4, {}, "too few texts that differ for 4 folds.*Received: 3 in lists"),
        (2, {"together": "odd"}, "`together` must be one of the columns .*'odd'"),
    ],
)
def test_folds_that_cant_be_are_one_line(count: int, more: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        folds(lists(["a", "b", "c", "c"], ["x", "y", "x", "x"]), count, **more)


def test_examples_are_put_together_with_what_all_have() -> None:
    first = Examples(
        {"text": ["a", "b"], "label": [0, 1], "more": [1, 2]}, "f.csv", "label", numbers=[2, 3]
    )
    second = Examples({"text": ["c"], "label": [1]}, "f.csv", "label", numbers=[9])
    made = pool(first, second)
    assert made.columns == {"text": ["a", "b", "c"], "label": [0, 1, 1]} and made.target == "label"
    assert made.place(2) == "f.csv, row 9"
    other = pool(first, lists(["c"], [1]))
    assert other.source == "f.csv and lists" and other.place(2) == "f.csv and lists, row 3"
    weighed = lists(["a"], [0], weight=[0.5])
    assert pool(weighed, weighed).weights == [0.5, 0.5]


@pytest.mark.parametrize(
    "other",
    [lists(["b"]), lists(["b"], [1], text_pair=["c"]), lists(["b"], [1], weight=[1.0])],
)
def test_examples_of_different_forms_are_not_put_together(other: Any) -> None:
    with pytest.raises(ValueError, match="only examples of one form can be put together") as error:
        pool(lists(["a"], [0]), other)
    assert "\n" not in str(error.value)
