"""What is kept on disk: found again, never stale, never more than allowed, whole or not at all."""

import os
import shutil
import time
import types
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


def test_vectors_are_found_by_text_also_when_opened_again() -> None:
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
    whole = TokenStore("t", lengths, 2)
    assert whole.fill(token_batches)
    padded = whole.padded(np.arange(3), 3).astype("float32")
    assert padded[..., 0].tolist() == [[5, 5, 0], [6, 0, 0], [7, 7, 7]]


@pytest.mark.parametrize("enough", [True, False])
def test_what_everybody_needs_of_the_disk_stays_free(
    enough: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = 8 + caching._SPARE_BYTES + int(enough)
    monkeypatch.setattr(caching.shutil, "disk_usage", lambda path: types.SimpleNamespace(free=free))
    store = VectorStore("k", 2)
    vector = np.ones((1, 2), "float32")
    assert store.add(caching.digests([["a"]]), vector, ZERO) is enough
    assert (
        TokenStore("t", np.array([2]), 2).fill(lambda: iter([(np.array([0]), np.ones((1, 2, 2)))]))
        is enough
    )


class Counted:
    """Models on one encoder, with the number of texts that passed it since it was asked last."""

    def __init__(self, encoder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.encoder, self._seen = tt.Encoder(str(encoder)), 0
        run = tt.TransferModel._run_and_count

        def counted(model: Any, name: str, examples: Any, *rest: Any) -> Any:
            self._seen += len(examples)
            return run(model, name, examples, *rest)

        monkeypatch.setattr(tt.TransferModel, "_run_and_count", counted)

    def model(self, length: int = 16, pair: bool = False, **head: Any) -> tt.TransferModel:
        task = Classification(["n", "p"], pair=pair)
        return tt.build_model(self.encoder, task, tt.Head(**head), sequence_length=length)

    def passed(self) -> int:
        seen, self._seen = self._seen, 0
        return seen


@pytest.fixture
def counted(bert_encoder: Path, monkeypatch: pytest.MonkeyPatch) -> Counted:
    return Counted(bert_encoder, monkeypatch)


ROWS = tt.data.Examples.from_lists(["good", "bad film", "good", "the worst"])


def test_features_pass_the_encoder_once(counted: Counted) -> None:
    first = counted.model().compute_features(ROWS)
    assert counted.passed() == 3  # two are equal
    np.testing.assert_array_equal(first[0], first[2])
    again = counted.model().compute_features(ROWS[::-1])
    assert counted.passed() == 0
    np.testing.assert_array_equal(again[::-1], first)
    more = tt.data.Examples.from_lists(["bad film", "new", "good"])
    found = counted.model().compute_features(more)
    assert counted.passed() == 1
    np.testing.assert_array_equal(found[[0, 2]], first[[1, 0]])


@pytest.mark.parametrize(
    "other",
    [
        {"length": 12},
        {"pooling": "mean"},
        {"pooling": "first"},
        {"pooling": "mean", "towers": True},
    ],
    ids=str,
)
def test_another_model_never_reads_stored_features(
    counted: Counted, other: dict[str, Any], cache: Path
) -> None:
    pair = "towers" in other
    texts = ROWS.texts[0]
    rows = tt.data.Examples.from_lists(texts, None, texts[::-1]) if pair else ROWS
    plain = {key: value for key, value in other.items() if pair and key != "towers"}
    before = counted.model(pair=pair, **plain).compute_features(rows)
    counted.passed()
    model = counted.model(pair=pair, **other)
    found = model.compute_features(rows)
    assert counted.passed() == len(set(zip(*rows.texts)))
    shutil.rmtree(cache)
    np.testing.assert_array_equal(found, model.compute_features(rows))
    assert "length" in other or not np.array_equal(found, before)


def test_features_of_another_precision_are_computed_anew(counted: Counted) -> None:
    for precision in ("float32", "bfloat16", "float32", "bfloat16"):
        with tt.runtime.precision(precision):
            counted.model().compute_features(ROWS)
    assert counted.passed() == 6


def test_features_of_an_encoder_that_has_learned_are_computed_anew(counted: Counted) -> None:
    model = counted.model()
    first = model.compute_features(ROWS)
    weight = model.encoder.layer_groups[1][1][0]
    weight.assign(weight.value + 0.1)
    assert np.abs(model.compute_features(ROWS) - first).max() > 1e-4
    assert counted.passed() == 6


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
