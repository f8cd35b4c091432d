"""Shares of the work for several workers: disjoint, together all rows, and in step if asked for."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tfhub_transfer as tt
from tfhub_transfer.models import shares
from tfhub_transfer.tasks import (
    Classification,
    MultiTask,
    QuestionAnswering,
    TokenClassification,
)

TEXTS = [f"{'good ' * (i % 5)}film" for i in range(11)]
# Each row has a label of its own, so that labels tell rows apart.
NAMES = [f"n{i:02}" for i in range(11)]
ROWS = tt.data.Examples.from_lists(TEXTS, NAMES)


@pytest.fixture(scope="module")
def model(make_encoder: Callable[[str], Path]) -> tt.TransferModel:
    return tt.build_model(str(make_encoder("text_encoder")), Classification(NAMES))


def rows_of(dataset: Any) -> list[int]:
    """The rows that are in it, by their labels; not those that fill up."""
    found: list[int] = []
    for _, labels, *weights in dataset:
        real = np.ones(len(labels)) if not weights else weights[0].numpy()
        found += labels.numpy()[real > 0].tolist()
        dataset.seen = getattr(dataset, "seen", 0) + 1
    assert dataset.seen == int(dataset.cardinality())
    return found


@pytest.mark.parametrize("static", [False, True])
@pytest.mark.parametrize("count", [pytest.param(1, marks=pytest.mark.slow), 3])
@pytest.mark.parametrize("source", ["examples", "stream"])
def test_shares_are_disjoint_and_together_all_rows(
    model: Any, source: str, count: int, static: bool
) -> None:
    table = {"text": TEXTS, "label": NAMES}
    given = ROWS if source == "examples" else tt.data.stream(table, chunk_rows=4)
    for shuffle in (False, True):
        batches = [
            model.preprocess(given, 2, shuffle, shard=(index, count), static_batches=static)
            for index in range(count)
        ]
        found = [rows_of(each) for each in batches]
        for index, rows in enumerate(found):
            wanted = list(range(11))[index::count]
            assert sorted(rows) == wanted if shuffle else rows == wanted
        assert sorted(row for rows in found for row in rows) == list(range(11))
        sizes = {int(each.cardinality()) for each in batches}
        assert not static or sizes == {-(-len(range(0, 11, count)) // 2)}


def test_a_share_is_that_of_sliced_examples(model: Any) -> None:
    shared = model.preprocess(ROWS, 2, False, shard=(np.int64(1), np.int32(3)))
    sliced = model.preprocess(ROWS[1::3], 2, False)
    for one, other in zip(shared, sliced, strict=True):
        for a, b in zip(one[0].values(), other[0].values(), strict=True):
            np.testing.assert_array_equal(a, b)
        np.testing.assert_array_equal(one[1], other[1])


@pytest.mark.slow
def test_rows_of_an_example_stay_together_and_workers_in_step(
    make_encoder: Callable[[str], Path],
) -> None:
    """The first share has long texts, each of many rows; the others have as many batches."""
    encoder = str(make_encoder("bert_encoder"))
    words = [["good"] * (60 if i % 3 == 0 else 2) for i in range(9)]
    tags = tt.data.Examples.from_lists(words, [["O"] * len(row) for row in words])
    contexts = ["good film bad movie " * (9 if i % 3 == 0 else 1) for i in range(9)]
    asked = tt.data.Examples.from_lists(
        ["good"] * 9, [[{"text": "film", "answer_start": 5}]] * 9, contexts
    )
    for task, examples in (
        (TokenClassification(["O", "B-a"]), tags),
        (QuestionAnswering(unanswerable=False), asked),
    ):
        model = tt.build_model(encoder, task, sequence_length=16)
        whole = model.cut(examples)
        sizes = [int(np.sum(whole.owners % 3 == index)) for index in range(3)]
        assert sizes[0] > 2 * sizes[1]
        batches = [
            list(model.preprocess(examples, 2, shard=(index, 3), static_batches=True))
            for index in range(3)
        ]
        assert {len(each) for each in batches} == {-(-sizes[0] // 2)}
        for size, each in zip(sizes, batches):
            assert sum(int(np.sum(weights.numpy() > 0)) for *_, weights in each) == size
        given = model.preprocess(whole, 2, False, shard=(1, 3))
        assert sum(int(labels.shape[0]) for _, labels in given) == sizes[1]


def test_several_tasks_are_shared_out_each() -> None:
    rows = {"a": ROWS, "b": ROWS[:5]}
    found = [shares.parse((index, 2)).of(rows) for index in range(2)]
    assert [len(each["a"]) for each in found] == [6, 5]  # type: ignore[index]
    assert [len(each["b"]) for each in found] == [3, 2]  # type: ignore[index]
    assert shares.parse((0, 2)).step(rows) == shares.Step(9, 8.0)


def weights_of(dataset: Any) -> list[float]:
    """Of rows in their order, without those that fill up."""
    found = np.concatenate([weights.numpy() for *_, weights in dataset])
    return found[~np.signbit(found)].tolist()


@pytest.mark.parametrize("static", [False, True])
@pytest.mark.parametrize("source", ["examples", "rows", "stream"])
def test_weights_are_those_among_all_rows(model: Any, source: str, static: bool) -> None:
    """A share whose rows all weigh 3 learns from them thrice as much as one of rows of 1."""
    columns = {"text": TEXTS, "label": NAMES, "weight": [1.0, 3.0] * 5 + [0.0]}
    given: Any = tt.data.stream(columns, weight="weight", chunk_rows=4)
    if source != "stream":
        given = tt.data.Examples.from_lists(TEXTS, NAMES, weight=columns["weight"])
        given = model.cut(given) if source == "rows" else given
    (whole,) = [weights_of(model.preprocess(given, 11, False, static_batches=static))]
    padded = 12 / 11 if static else 1.0  # of each share, in batches of 3 rows
    for index in range(2):
        batches = model.preprocess(given, 3, False, shard=(index, 2), static_batches=static)
        found = weights_of(batches)
        assert found == pytest.approx([padded * weight for weight in whole[index::2]])


@pytest.mark.parametrize("static", [False, True])
def test_weights_of_tagged_rows_are_relative_to_the_words_of_all(
    static: bool, make_encoder: Callable[[str], Path]
) -> None:
    """Of which some come in several rows."""
    words = [["good"] * (30 if row == 1 else row % 3 + 1) for row in range(5)]
    tags = [["O"] * len(row) for row in words]
    given = tt.data.Examples.from_lists(words, tags, weight=[1.0, 3.0, 1.0, 2.0, 0.5])
    task = TokenClassification(["O", "B-a"])
    model = tt.build_model(str(make_encoder("bert_encoder")), task, sequence_length=16)
    rows = model.cut(given)
    whole = np.concatenate([np.ravel(w) for *_, w in model.preprocess(rows, 16, False)])
    for index in range(2):
        batches = model.preprocess(given, 16, False, shard=(index, 2), static_batches=static)
        found = np.concatenate([np.ravel(weights) for *_, weights in batches])
        found = found[~np.signbit(found)]
        mine = whole[rows.owners % 2 == index]
        # What fills up makes each row weigh more.
        np.testing.assert_allclose(found / found[0], mine / mine[0], rtol=1e-6)
        if not static:
            np.testing.assert_allclose(found, mine, rtol=1e-6)


def test_a_share_of_weights_0_goes_in_step(model: Any) -> None:
    given = tt.data.Examples.from_lists(TEXTS[:4], NAMES[:4], weight=[0.0, 2.0, 0.0, 2.0])
    batches = model.preprocess(given, 2, False, shard=(0, 2), static_batches=True)
    assert weights_of(batches) == [0.0, 0.0]
    assert weights_of(model.preprocess(given, 2, False, shard=(1, 2))) == [2.0, 2.0]


def test_weights_of_several_tasks_are_those_among_all_rows(
    make_encoder: Callable[[str], Path],
) -> None:
    tasks = {"a": Classification(NAMES), "b": Classification(NAMES)}
    model = tt.build_model(str(make_encoder("text_encoder")), MultiTask(tasks))
    weighed = tt.data.Examples.from_lists(TEXTS[:4], NAMES[:4], weight=[1.0, 3.0, 1.0, 3.0])
    given = {"a": weighed, "b": ROWS[:4]}
    for index, wanted in enumerate([0.5, 1.5]):
        ((_, _, weights),) = model.preprocess(given, 4, False, shard=(index, 2))
        assert weights["a"].numpy().tolist() == [wanted, wanted, 0.0, 0.0]
        assert weights["b"].numpy().tolist() == [0.0, 0.0, 1.0, 1.0]


@pytest.mark.parametrize("source", ["examples", "stream"])
def test_rows_of_unequal_shares_weigh_alike(model: Any, source: str) -> None:
    """In the mean over workers, of which the last has one row less."""
    given: Any = ROWS
    if source == "stream":
        given = tt.data.stream({"text": TEXTS, "label": NAMES}, chunk_rows=4)
    shared = [
        weights_of(model.preprocess(given, 4, False, shard=(index, 3), static_batches=True))
        for index in range(3)
    ]
    assert list(map(len, shared)) == [4, 4, 3]
    np.testing.assert_allclose(np.concatenate(shared), 12 / 11, rtol=1e-6)


def test_a_bad_row_of_another_share_is_its_own_affair(model: Any) -> None:
    labels = [*NAMES[:5], "unknown", *NAMES[6:]]
    stream = tt.data.stream({"text": TEXTS, "label": labels}, chunk_rows=4)
    assert rows_of(model.preprocess(stream, 2, False, shard=(0, 2))) == [0, 2, 4, 6, 8, 10]
    with pytest.raises(Exception, match="unknown"):
        list(model.preprocess(stream, 2, False, shard=(1, 2)))


@pytest.mark.parametrize("static", [False, True])
@pytest.mark.parametrize("shard", [None, (1, 2)])
def test_a_stream_without_rows_says_so(
    model: Any, shard: Any, static: bool, tmp_path: Path
) -> None:
    (tmp_path / "x.csv").write_text("text,label\n", encoding="utf-8")
    batches = model.preprocess(
        tt.data.stream(tmp_path / "x.csv"), shard=shard, static_batches=static
    )
    with pytest.raises(Exception, match="the file has no rows below its header"):
        list(batches)


@pytest.mark.parametrize(
    ("shard", "message"),
    [
        ((2, 2), r"`shard's index` must be a whole number from 0 to 1\. Received: 2"),
        ((-1, 2), r"`shard's index` must be a whole number from 0 to 1\. Received: -1"),
        ((0, 0), r"`shard's count` must be a whole number from 1 to .*\. Received: 0"),
        ((0, -3), r"`shard's count` must be a whole number from 1 to .*\. Received: -3"),
        ((0.0, 2), r"`shard's index` must be a whole number .*\. Received: 0.0"),
        ((True, 2), r"`shard's index` must be a whole number .*\. Received: True"),
        ((0, 2.5), r"`shard's count` must be a whole number .*\. Received: 2.5"),
        (("0", "2"), r"`shard` must be two whole numbers, \(index, count\).*\('0', '2'\)"),
        ((1,), r"`shard` must be two whole numbers, \(index, count\).*Received: \(1,\)"),
        (3, r"`shard` must be two whole numbers, \(index, count\).*Received: 3"),
        ("1/3", r"`shard` must be two whole numbers, \(index, count\).*Received: '1/3'"),
        ((11, 12), r"each share must have a row; make fewer shares of 11 rows"),
    ],
)
def test_what_is_no_share_is_refused(model: Any, shard: Any, message: str) -> None:
    for given in (ROWS, tt.data.stream({"text": TEXTS, "label": NAMES})):
        with pytest.raises(tt.InputError, match=message) as caught:
            model.preprocess(given, shard=shard)
        assert "\n" not in str(caught.value)
