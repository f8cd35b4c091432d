"""When a search ends: its clock is one that the tests turn."""

import copy
import math
import time
import types
from pathlib import Path
from typing import Any
from unittest import mock

import keras_tuner
import pytest

from tfhub_transfer.jobs.options.tuning import TuneJob
from tfhub_transfer.jobs.searches import tuners
from tfhub_transfer.jobs.searches.limits import Cut, Ending, Limits


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    found = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: found[0])
    return found


def over(*trials: tuple[float, int], **more: Any) -> list[dict[str, Any]]:
    """Trials that took so long, and thawed so many groups."""
    return [
        {"trial": str(at), "seconds": seconds, "values": {"unfreeze": depth, **more}}
        for at, (seconds, depth) in enumerate(trials)
    ]


def ends(limits: Limits, now: list[float], trials: Any, values: Any = None) -> float:
    """The last moment at which a trial may begin, in tenths of a second."""
    found = math.nan
    for tenth in range(700):
        now[0] = tenth / 10
        if limits.leaves_time(trials, values):
            found = now[0]
    return found


FROZEN, THAWED = {"unfreeze": 0}, {"unfreeze": 1}
# The first has made what the others find: of itself it takes no longer than the longest of them.
TRIALS = over((30.0, 0), (14.0, 1), (6.0, 0), (5.0, 0))


def test_time_is_kept_with_the_last_training_in_it(now: list[float]) -> None:
    limits = Limits(None, 1.0, 0.0, 20.0)
    assert limits.leaves_time([])  # one trial at least
    # 20 s before, 14 of the last training, and the next trial: 5 as the shortest, 6 or 14 as known.
    for values, most in ((None, 21.0), (FROZEN, 20.0), (THAWED, 12.0), ({"unfreeze": 2}, 12.0)):
        assert ends(limits, now, TRIALS, values) == pytest.approx(most - 0.1)
    # What is there to do beside it takes from that.
    assert ends(Limits(None, 1.0, 0.0, 20.0, Ending(beside=3.0)), now, TRIALS) == pytest.approx(
        17.9
    )
    # Where a trial is four trainings the last one is a quarter of it: 3.5 s.
    assert ends(Limits(None, 1.0, 0.0, 20.0, Ending(0.25)), now, TRIALS) == pytest.approx(31.4)
    # Measuring takes what is known of it, though the first trial encoded nothing.
    assert ends(Limits(None, 1.0, 0.0, 20.0, Ending(measuring=4.0)), now, TRIALS) == pytest.approx(
        16.9
    )
    assert ends(Limits(7, None, 0.0), now, TRIALS) == 69.9


def test_the_last_training_is_of_what_would_be_taken_now(now: list[float]) -> None:
    limits = Limits(None, 1.0, 0.0)
    limits.taken = "0"  # 6 s without what it made for the others; or the next one, if that is best
    assert ends(limits, now, TRIALS, FROZEN) == pytest.approx(60 - 6 - 6 - 0.1)
    assert ends(limits, now, TRIALS, THAWED) == pytest.approx(60 - 14 - 14 - 0.1)
    limits.taken = "1"
    assert ends(limits, now, TRIALS, FROZEN) == pytest.approx(60 - 6 - 14 - 0.1)


def test_a_round_of_hyperband_is_as_long_as_all_that_it_goes_on_behind(now: list[float]) -> None:
    trials = over((9.0, 1), (3.0, 1), (4.0, 1), (5.0, 1))
    trials[2]["values"]["tuner/trial_id"] = "1"
    trials[3]["values"]["tuner/trial_id"] = "2"
    limits = Limits(None, 1.0, 0.0)
    limits.taken = "3"
    # The shortest round, and 12 s in the end.
    assert ends(limits, now, trials) == pytest.approx(60 - 3 - 12 - 0.1)


def test_what_may_be_cut_off_begins_if_it_may_end_in_time(now: list[float]) -> None:
    limits = Limits(None, 1.0, 0.0, cuts=True)
    limits.taken = "2"
    assert ends(limits, now, TRIALS, FROZEN) == pytest.approx(60 - 5 - 6 - 0.1)
    # How long one takes of itself isn't known of the first: it may be quick.
    limits.taken = "0"
    assert ends(limits, now, TRIALS[:1], FROZEN) == pytest.approx(60 - 30 - 0.1)
    assert ends(limits, now, TRIALS[:1]) == pytest.approx(60 - 30 - 0.1)
    assert not Limits(3, None, 0.0, cuts=True).cuts  # nobody said how long


def test_the_test_split_takes_as_long_as_what_the_first_trial_encoded(now: list[float]) -> None:
    limits = Limits(None, 1.0, 0.0, ending=Ending(measured=0.5))
    limits.taken = "0"
    # 30 s were 6 of itself and 24 for as many rows as two test splits; then a trial of 6, and 6.
    assert ends(limits, now, TRIALS, FROZEN) == pytest.approx(60 - 6 - 6 - 12 - 0.1)
    # What it was isn't known of one alone: of 10 s the last training takes what encoding didn't.
    alone = over((10.0, 0))
    assert ends(limits, now, alone) == pytest.approx(60 - 10 - 10 - 0.1)
    twice = Limits(None, 1.0, 0.0, ending=Ending(measured=2.0))
    assert ends(twice, now, alone) == pytest.approx(60 - 10 - 20 - 0.1)


def test_a_trial_ends_once_its_time_is_up(now: list[float]) -> None:
    limits = Limits(None, 1.0, 0.0, cuts=True)
    limits.taken, now[0] = "2", 40.0
    cut = Cut(limits, TRIALS)
    assert copy.deepcopy([cut])[0] is cut
    now[0] = 49.9  # in the end, 10 s of itself, if it is taken
    cut.on_train_batch_begin(0)
    now[0] = 50.1
    with pytest.raises(keras_tuner.errors.FailedTrialError, match="no time was left to end it"):
        cut.on_train_batch_begin(1)
    assert cut.is_late
    first = Cut(limits, [])
    first.on_train_batch_begin(0)
    assert not first.is_late


def test_it_is_said_when_the_defaults_alone_take_longer(now: list[float]) -> None:
    limits = Limits(None, 1.0, 0.0, 5.0, Ending(beside=2.0))
    for at, trials, least in ((25.0, over((24.0, 0)), None), (36.0, over((24.0, 0)), 67.0 / 60)):
        now[0] = at
        assert limits.minutes_at_least(trials) == (least and pytest.approx(least))
    assert limits.minutes_at_least(over((24.0, 0), (24.0, 0))) is None
    assert Limits(3, None, 0.0).minutes_at_least(over((24.0, 0))) is None


@pytest.mark.parametrize(("minutes", "end"), [(2.0, 100.0), (None, math.inf)])
def test_what_a_search_shows_knows_when_its_time_is_up(
    now: list[float], monkeypatch: pytest.MonkeyPatch, minutes: float | None, end: float
) -> None:
    """Two minutes from 10 s on, of which an earlier run took 30 s."""
    made, ends = mock.Mock(**{"taken.return_value": None}), list[float]()
    made.search = lambda verbose: ends.append(made.stage.ends)
    monkeypatch.setattr(tuners, "_tuner", lambda *given: made)
    earlier = [{**each, "status": "COMPLETED", "ended": 30.0} for each in over((5.0, 0))]
    notes: Any = types.SimpleNamespace(trials=earlier, place=Path("notes"))
    hypermodel: Any = types.SimpleNamespace(trainings=1)
    now[0] = 15.0
    job = TuneJob("classification", "rows.csv", Path("out"), tuner="grid", minutes=minutes)
    tuners.search(job, hypermodel, mock.Mock(), notes, (10.0, 12.0), Ending())
    assert ends == [end]


class Trained:
    """A tuner whose trials take ten seconds a batch, of which there are four."""

    clock: list[float]

    def __init__(self, limits: Limits, trials: list[Any]) -> None:
        self.limits, self.notes = limits, types.SimpleNamespace(trials=trials)
        self.oracle = mock.Mock(objective=keras_tuner.Objective("val_loss", "min"), trials={"0": 1})

    def run_trial(self, trial: Any, callbacks: Any = ()) -> float:
        for batch in range(4):
            for each in callbacks:
                each.on_train_batch_begin(batch)
            self.clock[0] += 10
        return 0.5


@pytest.mark.parametrize(("at", "ends_well"), [(4, True), (15, False)])
def test_what_was_cut_off_is_no_trial(now: list[float], at: float, ends_well: bool) -> None:
    kind: Any = type("Own", (tuners._Noted, Trained), {"clock": now})
    limits = Limits(None, 1.0, 0.0, ending=Ending(0.5), cuts=True)
    own = kind(limits, over((30.0, 0)))
    trial, noted = mock.Mock(trial_id="1"), mock.Mock()
    trial.hyperparameters.values = FROZEN
    own.over, now[0] = noted, at
    own.on_trial_begin(trial)
    assert own.run_trial(trial) == (0.5 if ends_well else {"val_loss": math.inf})
    own.on_trial_end(trial)
    assert noted.called == ends_well and own.oracle.end_trial.called
    if not ends_well:  # none follows, and the same command with more time begins this one
        assert own.oracle.max_trials == 1


def in_time(tuner: str, limits: Limits, place: Path) -> Any:
    """What draws trials as `search` sets it up, over a space of one depth and one rate."""

    def build(hp: keras_tuner.HyperParameters) -> None:
        hp.Choice("unfreeze", [1, 0])
        hp.Float("rate", 0.1, 0.9)

    goal = keras_tuner.Objective("val_loss", "min")
    more: dict[str, Any] = {"num_initial_points": 2} if tuner == "bayesian" else {}
    made = tuners.KINDS[tuner](build, objective=goal, seed=3, directory=str(place), **more)
    for at, value in enumerate([0.1, 0.2, 0.9, 0.8] if more else []):
        trial = made.oracle.create_trial(f"t{at}")
        trial.hyperparameters.values.update(unfreeze=int(at < 2))  # which is the better
        trial.status, trial.score = "COMPLETED", value
    return tuners._InTime(made.oracle, limits, types.SimpleNamespace(trials=TRIALS))  # type: ignore[arg-type]


@pytest.mark.filterwarnings("ignore:The optimal value found for")
@pytest.mark.parametrize("tuner", ["random", "bayesian"])
def test_a_trial_that_does_not_fit_is_drawn_anew(
    now: list[float], tuner: str, tmp_path: Path
) -> None:
    limits = Limits(None, 1.0, 0.0, cuts=True)
    limits.taken = "2"
    draw = in_time(tuner, limits, tmp_path)
    now[0] = 20.0  # 40 left, and the last training of 6: either fits
    depths = {draw(f"a{at}")["values"]["unfreeze"] for at in range(12)}
    assert 1 in depths
    now[0] = 45.0  # 15 left: one of 5 s fits, and one of 14 doesn't
    drawn = [draw(f"b{at}") for at in range(12)]
    assert {each["status"] for each in drawn} == {"RUNNING"}
    assert {each["values"]["unfreeze"] for each in drawn} == {0}
    assert all(0.1 <= each["values"]["rate"] <= 0.9 for each in drawn)
    now[0] = 52.0  # none does; the tuner is told so by the draw itself, and ends
    assert {draw(f"c{at}")["status"] for at in range(3)} == {"RUNNING"}


def test_a_trial_drawn_anew_is_none_that_was_tried(now: list[float]) -> None:
    hp = keras_tuner.HyperParameters()
    hp.Choice("unfreeze", [1, 0])
    hp.Choice("rate", [0.1, 0.2])
    goal = keras_tuner.Objective("val_loss", "min")
    oracle = keras_tuner.oracles.RandomSearchOracle(objective=goal, hyperparameters=hp, seed=1)
    limits = Limits(None, 1.0, 0.0, cuts=True)
    limits.taken, now[0] = "2", 45.0
    known = keras_tuner.HyperParameters()
    known.values = {"unfreeze": 0, "rate": 0.1}
    oracle.trials = {"0": types.SimpleNamespace(hyperparameters=known)}
    draw = tuners._InTime(oracle, limits, types.SimpleNamespace(trials=TRIALS))  # type: ignore[arg-type]
    # The oracle's own draws don't know of a trial that was put there by hand.
    draw._draw = lambda name: {"status": "RUNNING", "values": {"unfreeze": 1, "rate": 0.1}}
    assert {draw(str(at))["values"]["rate"] for at in range(8)} == {0.2}
