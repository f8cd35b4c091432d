"""Shares of the work: which rows are in which, and that nothing of a row gets lost on the way."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

import tfhub_transfer as tt
from tfhub_transfer.data import Examples, Stream

SIZES = [(1, 1), (7, 1), (7, 2), (7, 3), (6, 3), (7, 7), (2, 5)]


def table(folder: Path, rows: int) -> Path:
    """A table with a blank line in it, so that numbers of lines aren't those of rows."""
    lines = [f"film {row},{'ab'[row % 2]},{row + 1},{row * row}" for row in range(rows)]
    path = folder / "x.csv"
    path.write_text("\n".join(["text,label,weight,other", "", *lines, ""]), encoding="utf-8")
    return path


def of_mask(examples: Examples, index: int, count: int) -> Examples:
    """A shard as masks choose rows."""
    return examples[np.arange(len(examples)) % count == index]


def alike(one: Examples, other: Examples) -> bool:
    """Whether two hold the same, also what their comparison leaves out."""
    numbers = [None if each.numbers is None else [*each.numbers] for each in (one, other)]
    return one == other and numbers[0] == numbers[1] and one.unit == other.unit


def in_memory(stream: Stream) -> list[Examples]:
    """Chunks with the notes that only the whole has."""
    return [dataclasses.replace(chunk, notes=stream.notes) for chunk in stream]


@pytest.mark.parametrize(("rows", "count"), SIZES)
def test_shards_are_all_rows_once(rows: int, count: int, tmp_path: Path) -> None:
    examples = tt.data.read(table(tmp_path, rows), weight="weight")
    examples = dataclasses.replace(examples, notes=("said",))
    shards = [examples.shard(index, count) for index in range(count)]
    for index, shard in enumerate(shards):
        assert alike(shard, of_mask(examples, index, count))
        assert shard.notes == ("said",) and shard.weight == "weight" and shard.target == "label"
        assert list(shard.numbers or []) == [3 + row for row in range(index, rows, count)]
    sizes = [len(shard) for shard in shards]
    assert sum(sizes) == rows and max(sizes) - min(sizes) <= 1
    assert shards[0].place(0) == f"{tmp_path}/x.csv, line 3"


@pytest.mark.parametrize(("rows", "count"), SIZES)
@pytest.mark.parametrize("chunk_rows", [2, 100])
def test_shards_of_a_stream_are_those_of_its_rows(
    rows: int, count: int, chunk_rows: int, tmp_path: Path
) -> None:
    path = table(tmp_path, rows)
    examples = tt.data.read(path, weight="weight")
    stream = tt.data.stream(path, weight="weight", chunk_rows=chunk_rows)
    for index in range(count):
        shard = stream.shard(index, count)
        wanted = of_mask(examples, index, count)
        assert len(shard) == len(wanted)
        parts = [wanted[i : i + chunk_rows] for i in range(0, len(wanted), chunk_rows)]
        found = in_memory(shard)
        assert len(found) == len(parts) and all(map(alike, found, parts))
        given = [row["other"] for _, rows_of in shard.with_rows() for row in rows_of]
        assert given == wanted.columns["other"]
        # What a weight counts is the same in all of them, also in an empty one.
        assert shard.mean_weight == stream.mean_weight == (rows + 1) / 2
    assert len(stream) == rows and sum(map(len, stream)) == rows


def test_a_shard_has_shards(tmp_path: Path) -> None:
    path = table(tmp_path, 11)
    examples, stream = tt.data.read(path), tt.data.stream(path)
    for first in range(3):
        for second in range(2):
            wanted = examples.shard(first, 3).shard(second, 2)
            assert alike(wanted, of_mask(of_mask(examples, first, 3), second, 2))
            (found,) = in_memory(stream.shard(first, 3).shard(second, 2))
            assert alike(found, wanted)


def test_lists_have_shards_without_numbers() -> None:
    shard = Examples.from_lists(["a", "b", "c"], text_pair=["x", "y", "z"]).shard(1, 2)
    assert shard.texts == (["b"], ["y"]) and shard.numbers is None and shard.target is None


@pytest.mark.parametrize(
    ("index", "count", "message"),
    [
        (0, 0, "`count` must be a whole number from 1 to 10,000,000. Received: 0"),
        (0, -2, "`count` must be a whole number from 1 to 10,000,000. Received: -2"),
        (0, True, "`count` must be a whole number from 1 to 10,000,000. Received: True"),
        (2, 2, "`index` must be a whole number from 0 to 1. Received: 2"),
        (-1, 2, "`index` must be a whole number from 0 to 1. Received: -1"),
        (0.5, 2, "`index` must be a whole number from 0 to 1. Received: 0.5"),
    ],
)
def test_there_must_be_such_a_shard(index: int, count: int, message: str) -> None:
    for whole in (Examples.from_lists(["a"]), tt.data.stream({"text": ["a"], "label": ["x"]})):
        with pytest.raises(tt.InputError, match=message):
            whole.shard(index, count)


def test_only_the_rows_of_a_shard_are_checked(tmp_path: Path) -> None:
    path = table(tmp_path, 4)
    path.write_text(path.read_text("utf-8").replace("film 2,a", "film 2,"), encoding="utf-8")
    stream = tt.data.stream(path)
    assert [chunk.labels for chunk in stream.shard(1, 2)] == [["b", "b"]]
    with pytest.raises(tt.InputError, match="x.csv, line 5: column 'label' must hold a label"):
        list(stream.shard(0, 2))


def test_a_shard_of_no_rows_is_an_error_where_there_are_none_at_all(tmp_path: Path) -> None:
    stream = tt.data.stream(table(tmp_path, 0))
    for shard in (stream, stream.shard(0, 2), stream.shard(1, 2)):
        with pytest.raises(tt.InputError, match="the file has no rows below its header"):
            list(shard)


def test_a_shard_says_which_labels_it_leaves_out() -> None:
    rows = {"text": ["a", "b", "c", "d"], "label": ["x", None, "y", "z"]}
    stream = tt.data.stream(rows, require_label=False)
    assert [chunk.target for chunk in stream.shard(0, 2)] == ["label"] and not stream.notes
    assert [chunk.target for chunk in stream.shard(1, 2)] == [None]
    assert stream.notes == ("labels are left out, for 1 of 2 rows lack one, as row 2 does",)
