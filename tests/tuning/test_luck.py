"""Which trial is taken, and how much of what trials differ by is luck."""

import math
import statistics

import numpy as np
import pytest

from tfhub_transfer.tuning.luck import Choice, Scored, choose, noise, spread, standard_error


def scored(trial: str, scores: tuple[float, ...], groups: int = 0) -> Scored:
    return Scored(trial, scores, groups)


def test_the_spread_is_the_standard_deviation_of_the_trainings() -> None:
    scores = (0.8, 0.9, 0.7, 0.85)
    found = scored("0", scores)
    assert found.score == pytest.approx(statistics.fmean(scores))
    assert found.spread == spread(scores) == pytest.approx(statistics.stdev(scores))
    assert found.standard_error == pytest.approx(statistics.stdev(scores) / 2)
    assert spread((0.5,)) is None and standard_error((0.5,)) is None


def test_of_single_numbers_the_best_and_first_is_taken() -> None:
    trials = [scored("0", (0.5,)), scored("1", (0.9,), 3), scored("2", (0.9,))]
    assert choose(trials, "max").trial == "1"
    assert choose(trials, "min").trial == "0"
    assert "single number" in choose(trials, "max").reason


# Means .80, .82 and .78 with standard errors .01, .05 and .001: bounds .79, .77, .779.
STEADY, WIDE, LOW = (0.79, 0.80, 0.81), (0.7334, 0.82, 0.9066), (0.778, 0.78, 0.782)


@pytest.mark.parametrize("direction", ["max", "min"])
def test_the_best_bound_is_taken_not_the_best_mean(direction: str) -> None:
    sign = 1 if direction == "max" else -1
    rows = (("0", LOW, 2), ("1", WIDE, 2), ("2", STEADY, 2))
    trials = [scored(n, tuple(sign * v for v in row), groups) for n, row, groups in rows]
    way = "less" if direction == "max" else "plus"
    assert choose(trials, direction) == Choice("2", f"the best mean {way} its standard error")


@pytest.mark.parametrize("direction", ["max", "min"])
def test_what_is_cheaper_is_taken_within_one_standard_error(direction: str) -> None:
    sign = 1 if direction == "max" else -1
    error = statistics.stdev(STEADY) / math.sqrt(3)  # .00577

    def taken(by: float, groups: int) -> Choice:
        other = tuple(sign * (v - by) for v in STEADY)
        best = scored("0", tuple(sign * v for v in STEADY), 3)
        return choose([best, scored("1", other, groups)], direction)

    near, far = error * 0.99, error * 1.01
    assert taken(near, 1) == Choice(
        "1", "within one standard error of trial 0, and it thaws 1 groups, not 3"
    )
    assert taken(near, 3).trial == taken(far, 1).trial == taken(near, 4).trial == "0"


def test_what_is_taken_is_never_below_another_by_more_than_its_standard_error() -> None:
    generator = np.random.default_rng(0)
    for _ in range(200):
        rows = generator.normal(generator.normal(0, 0.02, (6, 1)), 0.03, (6, 4))
        trials = [scored(str(at), tuple(row), at % 3) for at, row in enumerate(rows)]
        taken = trials[int(choose(trials, "max").trial)]
        for other in trials:
            assert other.standard_error is not None
            assert taken.score >= other.score - other.standard_error


def test_noise_is_what_is_known_of_made_up_numbers() -> None:
    """Trials differ by .02, trainings by .03; folds by much, which moves no trial past another."""
    generator = np.random.default_rng(1)
    trials, trainings = 4000, 5
    folds = generator.normal(0, 0.5, (1, trainings))
    rows = generator.normal(0, 0.02, (trials, 1)) + folds
    rows = rows + generator.normal(0, 0.03, (trials, trainings))
    wanted = (0.03**2 / trainings) / (0.02**2 + 0.03**2 / trainings)
    assert noise(rows.tolist()) == pytest.approx(wanted, abs=0.02)
    alike = generator.normal(0, 0.03, (trials, trainings)) + folds
    assert noise(alike.tolist()) == pytest.approx(1.0, abs=0.05)


def test_noise_is_what_is_found_by_hand() -> None:
    """Two trials of two trainings: differences 1 and 3, so 2 between, and 1 off it in each half."""
    # Means 0 and 2, whose variance is 2; residuals +-.5, squares 1 in all, of 1 degree: 1 / 2 / 2.
    assert noise([(0.0, 0.0), (1.0, 3.0)]) == pytest.approx(0.25)
    # What all folds add to all trials changes nothing.
    assert noise([(0.0, 9.0), (1.0, 12.0)]) == pytest.approx(0.25)
    assert noise([(0.0, 1.0), (1.0, 0.0)]) == 1.0
    assert noise([(0.5,), (0.6,)]) is None and noise([(0.5, 0.6)]) is None
    assert noise([(0.5, 0.6), (0.5, 0.6)]) is None
