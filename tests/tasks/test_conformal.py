"""Thresholds, sets and intervals read off rows left out: beside brute force and other libraries."""

import math

import numpy as np
import pytest

from tfhub_transfer.tasks import conformal
from tfhub_transfer.tasks.conformal import NEVER, Limits


def drawn(rows: int, classes: int = 4, seed: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Shares of classes, and classes drawn by sharper ones."""
    generator = np.random.default_rng(seed)
    logits = generator.normal(0, 2, (rows, classes))
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return shares, np.array([generator.choice(classes, p=row) for row in shares])


@pytest.mark.parametrize("most_wrong", [0.01, 0.05, 0.2, 0.9])
@pytest.mark.parametrize("digits", [1, 8])
def test_so_many_are_accepted_as_may_be(most_wrong: float, digits: int) -> None:
    """Of all thresholds that there are, that which accepts the most; ties stay together."""
    scores, truth = drawn(300)
    sure, right = scores.max(axis=1).round(digits), scores.argmax(axis=1) == truth
    found = conformal.accepted_from(sure, right, most_wrong)
    best = 0
    for threshold in np.unique(sure):
        taken = sure >= threshold
        if (~right)[taken].mean() <= most_wrong:
            best = max(best, int(taken.sum()))
    assert int((sure >= found).sum()) == best and (found == NEVER) == (best == 0)
    # Half-way to the next, so that rounding makes no other answer.
    assert found == NEVER or np.abs(sure - found).min() > 10.0 ** (-digits - 1)


def test_where_all_or_none_are_right_all_or_none_are_accepted() -> None:
    sure = np.array([0.9, 0.5, 0.7])
    assert conformal.accepted_from(sure, np.array([True] * 3), 0.1) < 0.5
    assert conformal.accepted_from(sure, np.array([False] * 3), 0.1) == NEVER


@pytest.mark.parametrize(("rows", "coverage"), [(40, 0.9), (199, 0.95), (30, 0.5), (19, 0.95)])
def test_cutoffs_are_quantiles_of_one_more_row(rows: int, coverage: float) -> None:
    """As by NumPy's own quantile of the scores that the truth lacks, at the level of `n + 1`."""
    scores, truth = drawn(rows, classes=2)
    truth[:] = 1  # one class, so that the common one is its own
    lacks = 1.0 - scores[:, 1]
    level = math.ceil((rows + 1) * coverage) / rows
    wanted = 1.0 - np.quantile(lacks, min(level, 1.0), method="inverted_cdf")
    assert conformal.set_cutoffs(scores, truth, coverage)[1] == pytest.approx(wanted)
    assert (scores[:, 1] >= wanted - 1e-12).mean() >= coverage


def test_rare_classes_have_the_cutoff_of_all() -> None:
    scores, truth = drawn(400)
    truth = np.where(truth == 3, 0, truth)
    truth[:5] = 3
    found = conformal.set_cutoffs(scores, truth, 0.9)
    own = np.sort(scores[np.arange(400), truth])
    assert found[3] == own[400 - math.ceil(401 * 0.9)]
    first = np.sort(scores[truth == 1, 1])
    assert found[1] == first[len(first) - math.ceil((len(first) + 1) * 0.9)]


@pytest.mark.parametrize("coverage", [0.8, 0.9])
def test_sets_hold_the_truth_so_often_of_each_class(coverage: float) -> None:
    """On rows that they weren't read off, over many draws: what the theorem promises."""
    held = np.zeros(4)
    for seed in range(30):
        cutoffs = conformal.set_cutoffs(*drawn(400, seed=seed), coverage)
        scores, truth = drawn(2000, seed=1000 + seed)
        inside = scores[np.arange(2000), truth] >= cutoffs[truth]
        held += [inside[truth == place].mean() / 30 for place in range(4)]
    assert (np.abs(held - coverage) < 0.02).all()


def test_intervals_hold_the_truth_so_often() -> None:
    generator = np.random.default_rng(0)
    held = []
    for _ in range(200):
        width = conformal.half_width(generator.normal(0, 2, 99), 0.9)
        held.append(math.erf(width / 2 / math.sqrt(2)))
    # Of 99 rows the 90th of 100: exactly 0.9 on average.
    assert np.mean(held) == pytest.approx(0.9, abs=0.006)
    assert conformal.half_width(np.array([1.0, -3.0, 2.0]), 0.5) == 2.0
    assert conformal.half_width(np.array([1.0, -3.0, 2.0]), 0.9) == math.inf


@pytest.mark.parametrize(("coverage", "rows"), [(None, 20), (0.5, 20), (0.95, 20), (0.99, 99)])
def test_so_many_rows_are_needed(coverage: float | None, rows: int) -> None:
    assert conformal.rows_needed(coverage) == rows
    if coverage is not None:
        assert conformal.half_width(np.arange(rows) + 1.0, coverage) < math.inf


def test_limits_come_back_from_json() -> None:
    limits = Limits(0.5, 0.05, (0.1, 0.2), None, 0.9, 30, "ab")
    assert Limits.from_config({**vars(limits), "cutoffs": [0.1, 0.2]}) == limits
    assert Limits.from_config(None) is None


@pytest.mark.parametrize("labels", [0, 3])
def test_of_too_few_labels_together_sets_hold_every_class(labels: int) -> None:
    """However many texts there are: those without a label say nothing of how often it is held."""
    truth = np.zeros((200, 2), bool)
    truth[:labels, 0] = True
    scores = np.random.default_rng(1).random((200, 2))
    np.testing.assert_array_equal(conformal.label_cutoffs(scores, truth, 0.9), [0.0, 0.0])


def test_small_classes_have_one_cutoff_of_their_rows() -> None:
    """Of sets and of labels alike; a class alone that is too small has that of all."""
    random = np.random.default_rng(5)
    counts = [60, 15, 12, 9]
    truth = np.repeat(range(4), counts)
    scores = random.random((len(truth), 4)) + np.where(truth == 0, 1.0, 0.0)[:, None]
    own = scores[np.arange(len(truth)), truth]
    large, small = np.sort(own[:60])[60 - 55], np.sort(own[60:])[36 - 34]  # 0.9 of 61, of 37
    found = conformal.set_cutoffs(scores, truth, 0.9)
    np.testing.assert_array_equal(found, [large, small, small, small])
    labels = np.eye(4, dtype=bool)[truth]
    np.testing.assert_array_equal(conformal.label_cutoffs(scores, labels, 0.9), found)
    all_of_them = np.sort(own[:75])[75 - 69]  # 0.9 of 76
    found = conformal.set_cutoffs(scores[:75], truth[:75], 0.9)
    np.testing.assert_array_equal(found, [large, *[all_of_them] * 3])
