"""Buckets of lengths, and batches of like length."""

import itertools

import numpy as np
import pytest

from tfhub_transfer.data.batching import LengthBatches, bucket_lengths
from tfhub_transfer.errors import InputError


def padded(lengths: np.ndarray, buckets: np.ndarray) -> int:
    return int(buckets[np.searchsorted(buckets, lengths)].sum())


@pytest.mark.parametrize("seed", range(20))
def test_buckets_are_the_best_of_all_choices(seed: int) -> None:
    generator = np.random.default_rng(seed)
    lengths = generator.integers(1, 12, generator.integers(1, 40))
    most = int(generator.integers(1, 6))
    found = bucket_lengths(lengths, most)
    different = sorted(set(lengths.tolist()))
    choices = itertools.combinations(different[:-1], min(most, len(different)) - 1)
    best = min(padded(lengths, np.array([*c, different[-1]])) for c in choices)
    assert len(found) <= most
    assert found[-1] == lengths.max()
    assert padded(lengths, found) == best


def test_buckets_of_many_lengths_and_of_none() -> None:
    lengths = np.random.default_rng(0).integers(1, 90_000, 5000)
    found = bucket_lengths(lengths, 8)
    assert len(found) == 8 and found[-1] == lengths.max()
    assert padded(lengths, found) < 1.15 * lengths.sum()
    assert bucket_lengths([]).tolist() == [1]
    assert bucket_lengths([0, 0]).tolist() == [1]


def test_batches_refuse_and_survive_nothing() -> None:
    with pytest.raises(InputError, match="`batch_size` must be a whole number from 1"):
        LengthBatches([1, 2], 0)
    assert list(LengthBatches([], 4)) == []
    assert len(LengthBatches([], 4)) == 0
    assert [len(b) for b in LengthBatches([5] * 7, 3)] != [7]
    assert sorted(len(b) for b in LengthBatches([5] * 7, 3)) == [1, 3, 3]


def test_every_row_comes_once_a_pass_and_passes_differ() -> None:
    lengths = np.random.default_rng(0).integers(1, 100, 1000)
    batches = LengthBatches(lengths, 10, seed=1)
    first, second = list(batches), list(batches)
    assert sorted(np.concatenate(first)) == list(range(1000))
    assert len(first) == len(second) == len(batches)
    assert any(not np.array_equal(a, b) for a, b in zip(first, second))
    again = LengthBatches(lengths, 10, seed=1)
    assert all(np.array_equal(a, b) for a, b in zip(first, again))


def test_batches_hold_like_lengths_and_like_numbers_of_tokens() -> None:
    lengths = np.random.default_rng(0).integers(1, 100, 1000)
    batches = LengthBatches(lengths, 10, seed=1)
    assert batches.padding < 0.12
    tokens = [lengths[rows].max() * len(rows) for rows in batches]
    assert max(tokens) < 2.5 * np.median(tokens)
    assert max(len(rows) for rows in batches) <= 20


def test_sorted_batches_begin_with_the_longest() -> None:
    lengths = np.random.default_rng(0).integers(1, 100, 1000)
    order = np.concatenate(list(LengthBatches(lengths, 10, shuffle=False)))
    assert (np.diff(lengths[order]) <= 0).all()
    assert sorted(order) == list(range(1000))


@pytest.mark.parametrize("rows", [0, 1, 7, 8, 30, 100, 400, 3000])
def test_batches_for_answers_hold_every_row_once_and_little_padding(rows: int) -> None:
    lengths = np.random.default_rng(rows).lognormal(4.0, 0.7, rows).astype(int).clip(3, 256)
    batches = [*LengthBatches.in_order(lengths, 128)]
    assert sorted(np.concatenate([np.arange(0), *batches])) == [*range(rows)]
    longest = [lengths[batch].max() for batch in batches]
    assert longest == sorted(longest, reverse=True)
    # A batch of few rows costs more than their tokens.
    assert (
        all(len(batch) >= 8 for batch in batches[1:-1]) and max(map(len, batches), default=0) <= 256
    )
    padded = sum(len(batch) * most for batch, most in zip(batches, longest))
    if rows >= 100:
        assert padded < 1.2 * lengths.sum()
