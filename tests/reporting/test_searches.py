"""Reports of searches: numbers beside other ways to them, plots, and the page of any records."""

import math
import statistics
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.stats
from hostile import texts as hostile_texts
from parsed_pages import Parsed

import tfhub_transfer as tt
from tfhub_transfer.reporting import search_plots, search_reports, searches
from tfhub_transfer.reporting.search_reports import SearchReport

TOLD: dict[str, object] = {"objective": "val_accuracy", "direction": "max", "default": 0.5}
FAILED = {"status": "FAILED", "score": None, "reason": "the loss is nan. Received: nan"}


def record(number: int, score: float | None, **more: Any) -> dict[str, Any]:
    found = {"trial": str(number), "status": "COMPLETED", "score": score, "seconds": 10.0}
    return {**found, "values": {}, **more}


def repeated(scores: list[float]) -> dict[str, Any]:
    """What is noted of a trial of several trainings."""
    error = float(scipy.stats.sem(scores))
    return {"scores": scores, "spread": statistics.stdev(scores), "standard_error": error}


def drawn(count: int, seed: int, noise: float = 0.3) -> list[dict[str, Any]]:
    """Trials of which `strong` and `weak` make the score, and nothing else does."""
    generator = np.random.default_rng(seed)
    found = []
    for number in range(count):
        strong, weak, nothing = generator.random(3)
        score = 3.0 * strong + 1.5 * weak + noise * generator.normal()
        word = str(generator.choice(["a", "b"]))
        values = {"nothing": nothing, "weak": weak, "word": word, "strong": strong}
        found.append(record(number, float(score), values=values))
    return found


# Numbers ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("direction", ["min", "max"])
def test_the_best_so_far_is_the_best_of_all_that_ended_by_then(direction: str) -> None:
    scores = np.random.default_rng(3).random(40).round(2)
    records = [record(n, float(score)) for n, score in enumerate(scores)]
    records[7] |= FAILED
    records[9]["score"] = math.nan
    found = searches.read(records, {**TOLD, "direction": direction})
    lowest = np.fmin if direction == "min" else np.fmax
    known = [math.nan if n in (7, 9) else score for n, score in enumerate(scores)]
    assert found.best_so_far() == list(lowest.accumulate(known))
    assert [trial.ended for trial in found.trials] == [10.0 * n for n in range(1, 41)]
    best = min if direction == "min" else max
    assert found.best is not None and found.best.score == best(s for s in known if s == s)
    assert {trial.name for trial in found.failed} == {"7", "9"}
    assert found.failed[1].reason == "its score is no number: nan"


def test_trials_stand_in_the_order_of_their_ends() -> None:
    ends = {0: 30.0, 1: 12.0, 2: 50.0}  # of several workers
    records = [record(n, 0.1 * n, ended=end) for n, end in ends.items()]
    found = searches.read(records, TOLD)
    assert [trial.name for trial in found.trials] == ["1", "0", "2"]
    assert found.default is not None and found.default.name == "0"
    assert found.best_so_far() == [0.1, 0.1, 0.2]


def test_shares_are_those_of_a_known_function() -> None:
    found = searches.effects(searches.read(drawn(100, 0), TOLD))
    # Of the variance: of 3 u, 1.5 v and the noise, 1/12 being that of a number from 0 to 1.
    parts = {"strong": 9 / 12, "weak": 2.25 / 12, "nothing": 0.0, "word": 0.0}
    whole = sum(parts.values()) + 0.3**2
    for name, part in parts.items():
        assert found.shares[name] == pytest.approx(part / whole, abs=0.08)
    assert found.explained is not None and 0.7 < found.explained < 1 - 0.3**2 / whole
    # Of the order alone: whatever bends the scores changes nothing.
    bent = [each | {"score": math.exp(3 * each["score"])} for each in drawn(100, 0)]
    assert searches.effects(searches.read(bent, TOLD)).shares == found.shares


def test_of_noise_and_of_few_trials_nothing_is_told() -> None:
    noise = np.random.default_rng(1).random(40)
    records = [each | {"score": float(s)} for each, s in zip(drawn(40, 1), noise)]
    found = searches.effects(searches.read(records, TOLD))
    assert not found.shares and "can't be told from these trials" in found.said
    few = searches.effects(searches.read(drawn(searches.FEWEST_TRIALS - 1, 2), TOLD))
    assert not few.shares and "Too few trials to tell what a setting does: 14 came" in few.said
    alike = searches.effects(searches.read([record(n, 0.5) for n in range(30)], TOLD))
    assert not alike.shares and "don't differ" in alike.said


def test_what_a_missing_value_does_is_the_effect_of_what_it_depends_on() -> None:
    generator = np.random.default_rng(5)
    records = []
    for number in range(80):
        depth = int(generator.integers(0, 2))
        values = {"depth": depth, **({"rate": float(generator.random())} if depth else {})}
        records.append(record(number, depth + 0.1 * generator.random(), values=values))
    found = searches.effects(searches.read(records, TOLD))
    assert found.shares["depth"] > 0.5 and found.shares["rate"] < 0.05


def test_spread_and_error_are_those_of_the_trainings() -> None:
    scores = [0.7, 0.74, 0.78, 0.71]
    default, other = [0.7, 0.72, 0.7, 0.71], statistics.fmean(scores)
    records = [
        record(0, statistics.fmean(default), **repeated(default)),
        record(1, other, **repeated(scores)),
        record(2, 0.5, scores=[0.5]),
    ]
    found = searches.read(records, {**TOLD, "noise": 0.27})
    best = found.best
    assert best is not None and best.name == "1"
    assert best.spread == pytest.approx(statistics.stdev(scores))
    assert best.error == pytest.approx(scipy.stats.sem(scores))
    assert found.trials[2].spread is None and found.trials[2].error is None
    gain, error = other - statistics.fmean(default), found.gain_error()
    assert found.gain() == pytest.approx(gain)
    assert error == pytest.approx(math.hypot(scipy.stats.sem(scores), scipy.stats.sem(default)))
    said = " ".join(searches.on_luck(found))
    assert "27 % of the variance" in said and ("no clear difference" in said) == (gain < 2 * error)


def test_a_gain_is_one_whichever_way_is_better() -> None:
    for direction, sign in (("max", 1), ("min", -1)):
        records = [record(0, 0.5), record(1, 0.5 + 0.2 * sign), record(2, 0.5 - 0.2 * sign)]
        found = searches.read(records, {**TOLD, "direction": direction})
        assert found.gain() == pytest.approx(0.2)
        assert "the default 0.5000 (0.2000 better)" in searches.verdict(found)
        worse = searches.read(records, {**TOLD, "direction": direction, "trial": "2"})
        assert "(0.2000 worse)" in searches.verdict(worse)


@pytest.mark.parametrize(
    ("records", "told", "says"),
    [
        ([record(0, 0.5)], TOLD, "The default is the only trial: val_accuracy 0.5000."),
        ([record(0, 0.5), record(1, 0.4)], TOLD, "The default is the best of 2 trials"),
        (
            [record(0, 0.5), record(1, 0.51)],
            {**TOLD, "trial": "0"},
            "The default is taken of 2 trials: val_accuracy 0.5000.",
        ),
        ([record(0, None) | FAILED], TOLD, "None of 1 trials came to an end."),
        (
            [record(0, None) | FAILED, record(1, 0.5)],
            TOLD,
            "Trial 1 is the best of 2 trials: val_accuracy 0.5000; the default failed.",
        ),
        (
            [record(0, 0.5)],
            {"objective": "val_loss", "direction": "min"},
            "Trial 0 is the only trial: val_loss 0.5000.",
        ),
    ],
)
def test_a_verdict_is_of_what_there_is(records: Any, told: Any, says: str) -> None:
    assert searches.verdict(searches.read(records, told)).startswith(says)


# Plots ------------------------------------------------------------------------------------------


def test_plots_show_the_numbers() -> None:
    rates = [1e-5, None, 1e-3, 1e-4, 3e-4]
    records = [
        record(n, 0.1 * n, values={"depth": int(rate is not None), "rate": rate})
        for n, rate in enumerate(rates)
    ]
    del records[1]["values"]["rate"]
    search = searches.read(records, {**TOLD, "log": ["rate"]})
    [axes] = search_plots.over_time_figure(search).axes
    lines = {line.get_label(): line for line in axes.lines}
    steps = lines["best so far"]
    assert list(steps.get_ydata()) == search.best_so_far()
    assert list(steps.get_xdata()) == [10, 20, 30, 40, 50] and axes.get_xlabel() == "seconds"
    assert list(lines["default"].get_ydata()) == [0.0] and list(lines["best"].get_xdata()) == [50]
    depth, rate = search.varied
    assert depth.choices == (0, 1) and rate.choices is None
    report = SearchReport(search)
    panels = report.plot_effects().axes
    assert [panel.get_xscale() for panel in panels] == ["linear", "log"]
    axes = search_plots.parallel_figure(search, search.varied).axes[0]
    heights = [line.get_ydata() for line in axes.lines if len(line.get_ydata()) == 3]
    # Of the best first drawn last; each power of ten is as high as the other; the line is broken.
    by_score = sorted(heights, key=lambda height: height[2])
    assert [height[1] for height in by_score] == pytest.approx(
        [0.0, math.nan, 1.0, 0.5, math.log10(30) / 2], nan_ok=True
    )
    assert [height[2] for height in by_score] == pytest.approx([0.0, 0.25, 0.5, 0.75, 1.0])


def test_one_that_went_astray_hides_nothing() -> None:
    scores = [0.50, 0.48, 0.52, 0.49, 1e9, 0.47, 0.46]
    search = searches.read(
        [record(n, s) for n, s in enumerate(scores)], TOLD | {"direction": "min"}
    )
    [axes] = search_plots.over_time_figure(search).axes
    assert axes.get_ylim()[1] < 1 and "far worse" in axes.get_legend_handles_labels()[1]


def test_bars_of_standard_errors_are_whole() -> None:
    scores = [[0.70, 0.80, 0.90], [0.69, 0.81, 0.88], [0.71, 0.78, 0.87]]
    search = searches.read(
        [record(n, statistics.fmean(each), **repeated(each)) for n, each in enumerate(scores)], TOLD
    )
    [axes] = search_plots.over_time_figure(search).axes
    errors = [statistics.stdev(each) / math.sqrt(3) for each in scores]
    ends = [
        statistics.fmean(each) + sign * e for each, e in zip(scores, errors) for sign in (-1, 1)
    ]
    low, high = axes.get_ylim()
    assert low < min(ends) and max(ends) < high


# The page ---------------------------------------------------------------------------------------

ODD: list[Any] = [[1, "a"], None, True, False, math.inf, "<script>alert(1)</script>", "", {"a": 1}]
MANY = {f"setting_{place}": 0.1 * place for place in range(15)}
HOSTILE = [text[:200] for text in hostile_texts(20)]
PAGES = {
    "one": [record(0, 0.5, values={"dropout": 0.1})],
    "all_but_one_failed": [(record(n, None) | FAILED) if n else record(n, 0.4) for n in range(3)],
    "all_failed": [record(n, None) | FAILED for n in range(3)],
    "one_setting": [record(n, 0.1 * n, values={"dropout": 0.1 * n}) for n in range(4)],
    "fifteen_settings": [
        record(n, 0.1 * n, values={k: v * n for k, v in MANY.items()}) for n in range(4)
    ],
    "odd_values": [record(n, 0.1 * n, values={"odd": value}) for n, value in enumerate(ODD)],
    "no_times": [{"trial": str(n), "status": "COMPLETED", "score": 0.1 * n} for n in range(3)],
    "no_numbers": [record(0, 0.5), record(1, math.inf), record(2, math.nan)],
    "hostile": [
        record(n, 0.1 * n, values=dict.fromkeys(HOSTILE[:6], text), reason=text)
        | ({"status": "FAILED"} if n % 5 == 1 else {})
        for n, text in enumerate(HOSTILE)
    ],
    "hyperband": [
        record(n, 0.1 * n, values={"x": n, "tuner/epochs": n + 1, "tuner/bracket": 0})
        for n in range(3)
    ],
}


@pytest.mark.parametrize("name", PAGES)
def test_any_records_make_a_page(name: str, tmp_path: Path) -> None:
    told = {
        **TOLD,
        "command": "tfhub-transfer train --text '<b>'",
        "chosen_by": "<i>",
        "log": ["x"],
    }
    report = search_reports.of_records(PAGES[name], told)
    page = report.save(tmp_path / "tuning.html").read_text("utf-8")
    parsed = Parsed(page)
    for tag, attributes in parsed.attributes:
        assert not str(attributes.get("src", "data:image/png;base64,")).startswith("http")
        assert tag != "img" or attributes["alt"]
        assert "<wbr>" not in str(attributes.get("data-head"))
    assert "alert(1)</script>" not in page and "<b>'" not in page and "<i>" not in page
    cells = [cell for row in parsed.rows for cell in row]
    for trial in report.search.completed:
        assert f"{trial.score:.4f}" in cells or trial.score == 0
    assert page.count("the loss is nan") == sum(
        trial.reason.startswith("the loss is nan") for trial in report.search.failed
    )
    assert str(report).startswith(searches.verdict(report.search)[:20])


def test_the_page_says_what_there_is_to_know() -> None:
    records = [each | repeated([each["score"], each["score"] + 0.1]) for each in drawn(40, 7)]
    told = {**TOLD, "noise": 0.031, "command": "tfhub-transfer train --task x"}
    report = search_reports.of_records(records, told)
    parsed = Parsed(page := report.html())
    shares = {row[0]: row[1] for row in parsed.rows if row[0] in report.effects.shares}
    assert shares == {name: f"{100 * share:.0f} %" for name, share in report.effects.shares.items()}
    assert "3 % of the variance" in page and "tfhub-transfer train --task x" in page
    best, default = report.best, report.default
    assert best is not None and default is not None
    [row] = [row for row in parsed.rows if row[0] == "strong"]
    assert row[-3:-1] == [f"{each.values['strong']:.4g}" for each in (best, default)]
    # All behind a fold, the ten best before it.
    assert "All 40 trials" in page
    trials = [row[0] for row in parsed.rows if row[0].split(" ")[0].isdigit()]
    ranked = [trial.name for trial in report.search.ranked]
    assert [name.split(" ")[0] for name in trials] == ranked[:10] + ranked
    assert f"{best.name} (best)" in trials and "0 (default)" in trials
    alts = [a["alt"] for tag, a in parsed.attributes if tag == "img"]
    assert len(alts) == 4 and f"with trial {best.name}." in str(alts[0])


def test_a_page_that_cant_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "there").write_text("", "utf-8")
    report = search_reports.of_records([record(0, 0.5)], TOLD)
    with pytest.raises(tt.InputError, match="the page of a search can't be written"):
        report.save(tmp_path / "there" / "tuning.html")
