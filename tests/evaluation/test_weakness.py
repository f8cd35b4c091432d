"""Weak spots: counts, numbers, intervals and chances beside NumPy, SciPy and scikit-learn."""

import itertools
from typing import Any

import numpy as np
import pytest
import scipy.stats
import sklearn.metrics as sk

from tfhub_transfer.evaluation import slicing, weakness
from tfhub_transfer.evaluation.slicing import Group
from tfhub_transfer.reporting import standings, weak_spots
from tfhub_transfer.reporting.contents import WeakSpot
from tfhub_transfer.reporting.standings import Faults
from tfhub_transfer.tasks import Classification, MultiLabel, Regression
from tfhub_transfer.tasks.tagging import schemes
from tfhub_transfer.tasks.tagging.task import faults_of_tags

ROWS = 400


def right_or_wrong(seed: int = 0) -> Faults:
    lost = (np.random.default_rng(seed).random(ROWS) < 0.2).astype(float)
    return Faults("accuracy", lost, np.ones(ROWS))


def errors(seed: int = 0) -> Faults:
    """Absolute errors, some of them large, as those of real regressions are."""
    lost = np.random.default_rng(seed).gamma(0.5, 2.0, ROWS)
    return Faults("mae", lost, np.ones(ROWS))


def some(count: int, seed: int = 1, name: str = "web") -> Group:
    rows = np.zeros(ROWS, bool)
    rows[np.random.default_rng(seed).permutation(ROWS)[:count]] = True
    return Group("source", name, rows)


def only(faults: Faults, *groups: Group, low: bool = False) -> WeakSpot:
    return weakness.found(faults, groups, low)["rows"][0]


def test_a_share_is_that_of_its_rows_with_wilsons_interval_and_fishers_chance() -> None:
    faults, group = right_or_wrong(), some(60)
    spot = only(faults, group)
    wrong, others = faults.lost[group.rows] == 1, faults.lost[~group.rows] == 1
    assert spot["count"] == 60
    assert spot["value"] == pytest.approx(sk.accuracy_score(np.zeros(60), wrong))
    assert spot["rest"] == pytest.approx((~others).mean())
    low, high = scipy.stats.binomtest(int((~wrong).sum()), 60).proportion_ci(method="wilson")
    assert (spot["low"], spot["high"]) == pytest.approx((low, high))
    table = [[wrong.sum(), (~wrong).sum()], [others.sum(), (~others).sum()]]
    assert spot["p"] == pytest.approx(scipy.stats.fisher_exact(table, "greater").pvalue)
    # So many mistakes fewer there would be at the others' rate, of all that there are.
    spared = wrong.sum() - 60 * others.mean()
    assert spot["harm"] == pytest.approx(spared / faults.lost.sum())


@pytest.mark.parametrize("count", [25, 150, 260])
def test_the_chance_of_a_mean_is_that_of_a_permutation_test(count: int) -> None:
    faults, group = errors(), some(count)
    lost = faults.lost + 0.4 * group.rows
    spot = only(faults._replace(lost=lost), group, low=True)

    def gap(mine: np.ndarray, others: np.ndarray, axis: int = -1) -> np.ndarray:
        return mine.mean(axis=axis) - others.mean(axis=axis)

    sides = lost[group.rows], lost[~group.rows]
    drawn = scipy.stats.permutation_test(
        sides, gap, n_resamples=20_000, alternative="greater", random_state=0
    )
    assert spot["p"] == pytest.approx(drawn.pvalue, rel=0.25, abs=0.004)
    assert spot["below"] == pytest.approx(gap(*sides))
    assert spot["below"] == pytest.approx(drawn.statistic)


def test_the_interval_of_a_mean_is_that_of_a_bootstrap() -> None:
    faults, group = errors(), some(100)
    spot = only(faults, group, low=True)
    drawn = scipy.stats.bootstrap(
        (faults.lost[group.rows],), np.mean, n_resamples=4000, method="percentile", rng=1
    ).confidence_interval
    assert (spot["low"], spot["high"]) == pytest.approx((drawn.low, drawn.high), rel=0.06)


def test_the_interval_of_many_is_that_of_a_normal_mean() -> None:
    lost = np.random.default_rng(0).gamma(2.0, 1.0, 6000)
    rows = np.arange(6000) < 3000
    spot = only(Faults("mae", lost, np.ones(6000)), Group("source", "web", rows), low=True)
    mine = lost[:3000]
    low, high = scipy.stats.norm.interval(0.95, mine.mean(), mine.std() / np.sqrt(3000))
    assert (spot["low"], spot["high"]) == pytest.approx((low, high))


def test_few_rows_have_no_bootstrap() -> None:
    spot = only(errors(), some(10), low=True)
    assert spot["low"] is spot["high"] is None


def test_f1_of_sets_is_that_of_scikit_learn() -> None:
    generator, names = np.random.default_rng(0), ["a", "b", "c"]
    truth, given = generator.random((2, ROWS, 3)) < 0.4
    rows: list[Any] = [
        {
            "true": list(itertools.compress(names, own)),
            "predicted": list(itertools.compress(names, made)),
        }
        for own, made in zip(truth, given)
    ]
    faults = weakness.faults_of(MultiLabel(names).standing, rows)
    assert faults is not None and faults.number == "micro_f1"
    group = some(80)
    spot = only(faults, group)
    sides = {"value": group.rows, "rest": ~group.rows}
    for name, mine in sides.items():
        score = sk.f1_score(truth[mine], given[mine], average="micro")
        assert spot[name] == pytest.approx(score)  # type: ignore[literal-required]


def test_f1_of_entities_is_theirs_and_plain_tags_have_accuracy() -> None:
    generator = np.random.default_rng(0)
    tags = np.array(["O", "B-x", "B-y"], dtype=object)
    truth, given = tags[generator.integers(0, 3, (2, ROWS, 4))].tolist()
    rows: list[Any] = []
    for own, made in zip(truth, given):
        wanted, found = set(schemes.entities(own)), set(schemes.entities(made))
        rows.append(
            {
                "right_words": sum(a == b for a, b in zip(own, made)),
                "words": len(own),
                "right_entities": len(wanted & found),
                "entities": len(wanted),
                "given_entities": len(found),
            }
        )
    group = some(90)
    faults = faults_of_tags(rows)
    assert faults is not None and faults.number == "f1"
    mine = [[part[row] for row in np.flatnonzero(group.rows)] for part in (truth, given)]
    score = schemes.entity_scores(*mine)["micro"]["f1"]
    assert only(faults, group)["value"] == pytest.approx(score)
    plain = faults_of_tags([{**row, "entities": 0, "given_entities": 0} for row in rows])
    assert plain is not None and plain.number == "accuracy"
    right = np.mean([a == b for own, made in zip(*mine) for a, b in zip(own, made)])
    assert only(plain, group)["value"] == pytest.approx(right)


def test_a_group_without_entities_is_not_told() -> None:
    of = np.ones(ROWS)
    of[:50] = 0
    group = Group("source", "empty", of == 0)
    assert weakness.found(Faults("f1", of / 2, of), [group], low=False) == {}


def test_several_tries_are_corrected_as_holm_has_it() -> None:
    chances = np.random.default_rng(0).random(12) ** 3
    found = weakness.corrected(chances.tolist())
    for level in np.linspace(0.001, 0.99, 400):
        # Holm's own words: from the least on, each is rejected until the first that isn't.
        rejected, left = set(), len(chances)
        for row in np.argsort(chances):
            if chances[row] > level / left:
                break
            rejected.add(int(row))
            left -= 1
        assert rejected == {row for row, each in enumerate(found) if each <= level}


def test_chance_alone_makes_hardly_any_weak_spot() -> None:
    generator, weak = np.random.default_rng(0), 0
    for _ in range(150):
        lost = (generator.random(300) < 0.15).astype(float)
        groups = [Group("word", str(i), generator.random(300) < 0.2) for i in range(30)]
        rows = weakness.found(Faults("accuracy", lost, np.ones(300)), groups, low=False)["rows"]
        weak += any(map(weak_spots.is_weak, rows))
    assert weak <= 12  # of 150, where 5 % are 7.5


@pytest.mark.parametrize("kind", ["shares", "errors", "counts"])
def test_words_and_columns_together_are_weak_by_chance_in_5_of_100(kind: str) -> None:
    generator, weak, times = np.random.default_rng(0), 0, 200
    columns = [(generator.integers(0, 6, 300) == i) for i in range(6)]
    words = [generator.random(300) < 0.15 for _ in range(40)]
    groups = [Group("source", str(i), rows) for i, rows in enumerate(columns)]
    groups += [Group(slicing.WORD, str(i), rows) for i, rows in enumerate(words)]
    for _ in range(times):
        of = generator.poisson(2.0, 300) if kind == "counts" else np.ones(300, int)
        lost = {
            "shares": lambda: generator.random(300) < 0.3,
            "errors": lambda: generator.gamma(0.5, 2.0, 300),
            "counts": lambda of=of: generator.binomial(of, 0.3),
        }[kind]()
        faults = Faults("number", lost.astype(float), of.astype(float))
        rows = weakness.found(faults, groups, low=True)["rows"]
        weak += any(map(weak_spots.is_weak, rows))
    # Of 200 with 5 % each more than 17 are there once in 50 times.
    assert weak <= 17


def test_the_groups_that_cost_most_come_first() -> None:
    faults, large, small = right_or_wrong(), some(200, 1, "large"), some(20, 2, "small")
    lost = faults.lost.copy()
    lost[large.rows] = np.random.default_rng(3).random(200) < 0.4
    lost[np.flatnonzero(small.rows)[:14]] = 1
    found = weakness.found(faults._replace(lost=lost), [small, large], low=False)
    assert [row["group"] for row in found["rows"]] == ["large", "small"]
    assert found["rows"][1]["below"] > found["rows"][0]["below"]
    assert all(row["beyond_chance"] for row in found["rows"])
    assert found["whole"] == pytest.approx(1 - lost.mean())


def test_of_words_the_worst_are_shown_and_all_count() -> None:
    faults = right_or_wrong()
    words = [Group(slicing.WORD, str(seed), some(50, seed).rows) for seed in range(40)]
    found = weakness.found(faults, [some(60), *words], low=False)
    assert found["looked_at"] == 41
    shown = [row for row in found["rows"] if row["by"] == slicing.WORD]
    assert len(shown) == 10
    # Words are tries of their own, and hide nothing that was asked for.
    [asked] = [row for row in found["rows"] if row["by"] == "source"]
    assert asked["p_corrected"] == pytest.approx(min(2 * asked["p"], 1))
    likeliest = min(shown, key=lambda row: row["p"])
    assert likeliest["p_corrected"] == pytest.approx(min(2 * 40 * likeliest["p"], 1))
    # Where there are no words nothing else is tried.
    [alone] = weakness.found(faults, [some(60)], low=False)["rows"]
    assert alone["p_corrected"] == alone["p"] == asked["p"]
    every = {
        str(seed): faults.lost[word.rows].mean() - faults.lost[~word.rows].mean()
        for seed, word in enumerate(words)
    }
    assert {row["group"] for row in shown} == {*sorted(every, key=lambda name: -every[name])[:10]}


def test_what_costs_nothing_harms_nothing() -> None:
    spot = only(Faults("accuracy", np.zeros(ROWS), np.ones(ROWS)), some(50))
    assert (spot["harm"], spot["below"], spot["p"], spot["beyond_chance"]) == (0, 0, 1, False)


def test_numbers_of_tasks() -> None:
    rows: list[Any] = [{"accuracy": 1.0, "mae": 2.0, "sentence_chrf": 25.0}]
    found = weakness.faults_of(Classification().standing, rows)
    assert found is not None and (found.number, *found.lost) == ("accuracy", 0.0)
    found = weakness.faults_of(Regression().standing, rows)
    assert found is not None and (found.number, *found.lost) == ("mae", 2.0)
    found = weakness.faults_of(standings.of("translation"), rows)
    assert found is not None and (found.number, *found.lost) == ("sentence_chrf", 75.0)
    assert only(found._replace(lost=np.full(ROWS, 75.0), of=np.ones(ROWS)), some(9))["value"] == 25
    # Above 1, so that nobody knows what is lost; a row that doesn't say; none at all.
    assert weakness.faults_of(standings.of("other"), [{"accuracy": 7.0}]) is None
    assert weakness.faults_of(standings.of("other"), [{"row": 1}]) is None
    assert weakness.faults_of(standings.of("other"), []) is None


def test_sentences_are_of_what_is_weak_alone() -> None:
    lost = right_or_wrong().lost
    group = some(100)
    lost[group.rows] = np.arange(100) % 2
    found = weakness.found(Faults("accuracy", lost, np.ones(ROWS)), [group, some(90, 7)], low=False)
    [said] = weak_spots.of_groups(found)
    harm = found["rows"][0]["harm"]
    rest = 1 - lost[~group.rows].mean()
    assert said == (
        f"Weak spot: source web, 100 examples: accuracy 0.500 against {rest:.3f} of the others; "
        f"as good as they, it would spare {100 * harm:.1f} % of all errors."
    )
    assert {weak_spots.verdict(row) for row in found["rows"]} >= {"weak"}
    assert weak_spots.of_groups({}) == []
