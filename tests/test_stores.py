"""What is kept on disk: found again, never stale, never more than allowed, whole or not at all."""

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tfhub_transfer as tt
from tfhub_transfer import caching
from tfhub_transfer.stores import TokenStore, VectorStore
from tfhub_transfer.tasks import Classification

ZERO = np.zeros(1, "int32")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(caching.FOLDER_VARIABLE, str(tmp_path))
    return tmp_path / "vectors"


def test_vectors_are_found_by_text_in_another_process_too() -> None:
    names = caching.digests([["a", "b", "c"]])
    vectors = np.arange(6, dtype="float32").reshape(3, 2)
    first = VectorStore("k", 2)
    assert first.add(names, vectors, np.array([0, 5, 0], "int32"))
    for store in (first, VectorStore("k", 2)):
        rows = store.find(caching.digests([["c", "new", "b"]]))
        assert rows.tolist() == [2, -1, 1]
        np.testing.assert_array_equal(store.take(rows[[0, 2]]), vectors[[2, 1]])
        assert store.lost(rows[[0, 2]]).tolist() == [0, 5]
    assert VectorStore("other", 2).find(names).tolist() == [-1, -1, -1]


def test_two_writers_lose_nothing() -> None:
    one, other = VectorStore("k", 1), VectorStore("k", 1)
    one.add(caching.digests([["a"]]), np.ones((1, 1), "float32"), ZERO)
    other.add(caching.digests([["b"]]), np.full((1, 1), 2.0, "float32"), ZERO)
    both = VectorStore("k", 1)
    rows = both.find(caching.digests([["a", "b"]]))
    assert both.take(rows).tolist() == [[1.0], [2.0]]


def test_what_a_dying_process_left_is_written_over(cache: Path) -> None:
    store = VectorStore("k", 2)
    store.add(caching.digests([["a"]]), np.ones((1, 2), "float32"), ZERO)
    for name, junk in (("vectors", b"12345"), ("records", b"12")):
        with open(cache / "k" / name, "ab") as file:
            file.write(junk)
    again = VectorStore("k", 2)
    again.add(caching.digests([["b"]]), np.full((1, 2), 3.0, "float32"), ZERO)
    found = VectorStore("k", 2)
    rows = found.find(caching.digests([["a", "b"]]))
    assert found.take(rows).tolist() == [[1.0, 1.0], [3.0, 3.0]]


def test_the_least_recently_used_give_way(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(caching.SIZE_VARIABLE, "1000")
    vectors = np.zeros((1, 100), "float32")
    for age, name in ((100, "old"), (50, "newer")):
        VectorStore(name, 100).add(caching.digests([["a"]]), vectors, ZERO)
        then = time.time() - age
        os.utime(cache / name / caching.RECORDS, (then, then))
    assert VectorStore("third", 100).add(caching.digests([["a"]]), vectors, ZERO)
    assert sorted(p.name for p in cache.iterdir()) == ["newer", "third"]
    assert not VectorStore("large", 400).add(
        caching.digests([["a"]]), np.zeros((1, 400), "f4"), ZERO
    )


def test_an_empty_variable_keeps_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(caching.FOLDER_VARIABLE, "")
    store = VectorStore("k", 2)
    assert not store.add(caching.digests([["a"]]), np.ones((1, 2), "float32"), ZERO)
    assert not TokenStore("k", np.array([1]), 2).fill(lambda: iter(()))
    assert not list(tmp_path.iterdir())


def test_a_pair_is_not_its_texts_run_together() -> None:
    [one] = caching.digests([["ab"], ["c"]])
    [other] = caching.digests([["a"], ["bc"]])
    [turned] = caching.digests([["c"], ["ab"]])
    assert len({one, other, turned}) == 3


def token_batches() -> Iterator[tuple[np.ndarray, np.ndarray]]:
    yield np.array([2, 0]), np.stack([np.full((3, 2), 7.0), np.full((3, 2), 5.0)])
    yield np.array([1]), np.full((1, 1, 2), 6.0)


def test_tokens_come_back_padded_with_zeros() -> None:
    lengths = np.array([2, 1, 3])
    store = TokenStore("t", lengths, 2)
    assert store.size == 6 * 2 * 2
    assert store.fill(token_batches)
    padded = store.padded(np.array([1, 0]), 4).astype("float32")
    assert padded[..., 0].tolist() == [[6, 0, 0, 0], [5, 5, 0, 0]]
    again = TokenStore("t", lengths, 2)
    assert again.fill(lambda: pytest.fail("it is there"))
    np.testing.assert_array_equal(
        again.padded(np.array([2]), 3).astype("float32"), np.full((1, 3, 2), 7)
    )


def test_half_written_tokens_are_not_there() -> None:
    def broken() -> Iterator[Any]:
        yield from list(token_batches())[:1]
        raise OSError(28, "No space left on device")

    lengths = np.array([2, 1, 3])
    assert not TokenStore("t", lengths, 2).fill(broken)
    assert TokenStore("t", lengths, 2).fill(token_batches)


def test_features_pass_the_encoder_once(
    bert_encoder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    run = tt.TransferModel._run_and_count

    def counted(self: Any, name: str, examples: Any, *rest: Any) -> Any:
        seen.append(len(examples))
        return run(self, name, examples, *rest)

    monkeypatch.setattr(tt.TransferModel, "_run_and_count", counted)
    task = Classification(["n", "p"])
    model = tt.build_model(str(bert_encoder), task, sequence_length=16)
    rows = tt.data.Examples.from_lists(["good", "bad film", "good", "the worst"])
    first = model.compute_features(rows)
    assert seen == [3]  # two are equal
    np.testing.assert_array_equal(first[0], first[2])
    again = tt.build_model(str(bert_encoder), task, sequence_length=16)
    np.testing.assert_array_equal(again.compute_features(rows), first)
    assert seen == [3]
    other = tt.build_model(str(bert_encoder), task, sequence_length=12)
    other.compute_features(rows)
    assert seen == [3, 3]
    weight = model.encoder.layer_groups[1][1][0]
    weight.assign(weight.value + 0.1)
    assert np.abs(model.compute_features(rows) - first).max() > 1e-4
    assert seen == [3, 3, 3]


def test_features_beyond_the_memory_budget_train_from_a_file(
    bert_encoder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(caching, "MOST_MEMORY", 100)
    task = Classification(["n", "p"])
    rows = tt.data.Examples.from_lists([f"good {'film ' * n}" for n in range(20)], ["n", "p"] * 10)
    model = tt.build_model(str(bert_encoder), task, sequence_length=16)
    assert isinstance(model.compute_features(rows), np.memmap)
    plan = tt.Plan(head_epochs=2, verbose=0)
    history = tt.fine_tune(model, rows, rows, unfreeze="none", plan=plan)
    assert len(history.history["loss"]) == 2
