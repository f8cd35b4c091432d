"""What a search found, read out of the records of its trials; it knows no tuner."""

import dataclasses
import itertools
import json
import math
from collections.abc import Mapping, Sequence
from typing import TypeAlias

import numpy as np
import scipy.stats
from sklearn.ensemble import RandomForestRegressor
from sklearn.model_selection import KFold

from tfhub_transfer.incoming import wording

# A trial that is over, as `trials.jsonl` has it.
Record: TypeAlias = Mapping[str, object]
# A value of a setting as it is shown: a number, or words for anything else.
Value: TypeAlias = float | str

COMPLETED = "COMPLETED"
# What `Hyperband` notes among the values; of these only the epochs say how a trial was trained.
_OF_TUNER, _EPOCHS = "tuner/", "tuner/epochs"
# Numbers of so few values, some of them taken again, are choices, each with a place of its own.
_MOST_CHOICES = 8
# Of scores that are noise alone, a forest explained up to 0.12 of those of 15 trials, of 8 settings
# each (48 draws); of two settings that make the scores, with the same noise, 0.10 and more.
FEWEST_TRIALS, _LEAST_EXPLAINED = 15, 0.1
_FOLDS, _TREES, _DRAWS = 10, 60, 20


@dataclasses.dataclass(frozen=True, eq=False)
class Trial:
    """A trial that is over.

    Attributes:
        name: What it is called.
        score: The number that it is judged by; `None` if it failed.
        scores: That of each of its trainings, if they are known.
        spread: The standard deviation of these, where there are several.
        error: The standard error of the score, likewise.
        values: Those of its settings, as they are shown.
        seconds: How long it took.
        ended: Seconds of the search at its end; `None` where nobody knows how long trials took.
        reason: Why it failed.
    """

    name: str
    score: float | None
    scores: tuple[float, ...]
    spread: float | None
    error: float | None
    values: Mapping[str, Value]
    seconds: float | None
    ended: float | None
    reason: str


@dataclasses.dataclass(frozen=True, eq=False)
class Setting:
    """What trials differ in.

    Attributes:
        name: What it is called.
        choices: Its values, where each is one of few; else `None`, and they are numbers.
        numbers: The value of each trial `[n]`, of choices the place among them; NaN where a trial
            has none.
        log: Whether each power of ten was as likely.
    """

    name: str
    choices: tuple[Value, ...] | None
    numbers: np.ndarray
    log: bool


@dataclasses.dataclass(frozen=True)
class Effects:
    """How much of the differences between trials goes with which setting.

    Attributes:
        shares: By name of the setting, from 0 to 1; empty where that can't be told.
        explained: The share that they explain together, of trials that weren't looked at.
        said: What there is to know of it, in a sentence.
    """

    shares: Mapping[str, float]
    explained: float | None
    said: str


@dataclasses.dataclass(frozen=True)
class Search:
    """What a search found.

    Attributes:
        objective: What trials are judged by.
        low: Whether less of it is better.
        trials: In the order of their ends.
        default: The trial of what would be without a search, if there is one.
        noise: Which share of the variance of trials' scores is noise, if that is known.
        chosen_by: How the best was chosen, in a sentence; empty where it just has the best score.
        command: What trains the best once more; empty if nobody knows.
        log: The settings of which each power of ten was as likely.
        chosen: The name of the trial that was chosen, if it isn't that of the best score.
    """

    objective: str
    low: bool
    trials: Sequence[Trial]
    default: Trial | None = None
    noise: float | None = None
    chosen_by: str = ""
    command: str = ""
    log: frozenset[str] = frozenset()
    chosen: str | None = None

    @property
    def completed(self) -> list[Trial]:
        """The trials that came to an end."""
        return [trial for trial in self.trials if trial.score is not None]

    @property
    def failed(self) -> list[Trial]:
        """The others."""
        return [trial for trial in self.trials if trial.score is None]

    @property
    def ranked(self) -> list[Trial]:
        """The trials that came to an end, by score, the best first; of equals the earlier."""
        return sorted(self.completed, key=lambda t: (t.score or 0.0) * (1 if self.low else -1))

    @property
    def best(self) -> Trial | None:
        """The trial that was chosen; `None` if all failed."""
        named = [trial for trial in self.completed if trial.name == self.chosen]
        return next(iter([*named, *self.ranked]), None)

    @property
    def settings(self) -> list[Setting]:
        """All settings that some trial has, in the order in which trials have them."""
        names = dict.fromkeys(itertools.chain.from_iterable(t.values for t in self.trials))
        return [_setting(name, self.trials, name in self.log) for name in names]

    @property
    def varied(self) -> list[Setting]:
        """The settings in which trials differ that came to an end or failed."""
        return [each for each in self.settings if len({*_known(each.numbers)}) > 1]

    def best_so_far(self) -> list[float | None]:
        """The best score of each trial and those that ended before it; `None` before the first."""
        found: list[float | None] = []
        for trial in self.trials:
            known = [s for s in (trial.score, found[-1] if found else None) if s is not None]
            found.append((min if self.low else max)(known) if known else None)
        return found

    def gain(self) -> float | None:
        """By how much the best is better than the default; `None` where there is no default."""
        if self.best is None or self.default is None or self.default.score is None:
            return None
        assert self.best.score is not None
        found = self.best.score - self.default.score
        return -found if self.low else found

    def gain_error(self) -> float | None:
        """The standard error of the gain; `None` where trials were trained once."""
        if self.gain() is None or self.best is self.default:
            return None
        assert self.best is not None and self.default is not None
        own, other = self.best.error, self.default.error
        return None if own is None or other is None else math.hypot(own, other)


def read(records: Sequence[Record], told: Mapping[str, object]) -> Search:
    """What a search found, out of what was noted of it.

    Args:
        records: A trial each, by the names in `trials.jsonl`. What isn't there isn't known:
            without `ended` the trials ran one behind the other, without `spread` each is one
            training. A score that is no number is that of a failed trial.
        told: What is known of them all, by the names in `best.json`; `log` has the settings of
            which each power of ten was as likely. Where `default` is, the first trial is that.
    """
    found = [_trial(record, "default" in told) for record in records]
    trials = sorted(_ended(found), key=lambda trial: trial.ended or 0.0)
    firsts = [trial for trial in trials if is_first(trial.name)]
    return Search(
        objective=str(told["objective"]),
        low=told["direction"] == "min",
        trials=trials,
        default=firsts[0] if firsts and "default" in told else None,
        noise=_number(told.get("noise")),
        chosen_by=str(told.get("chosen_by") or ""),
        command=str(told.get("command") or ""),
        log=frozenset(_names(told.get("log"))),
        chosen=None if told.get("trial") is None else str(told["trial"]),
    )


def _names(given: object) -> list[str]:
    return [str(name) for name in given] if isinstance(given, (list, tuple)) else []


def is_first(name: str) -> bool:
    """Whether KerasTuner calls the first trial of a search so: `0`, or `00` of a hundred.

    Args:
        name: What a trial is called.

    Example:

    >>> [is_first(name) for name in ("0", "000", "10")]
    [True, True, False]
    """
    return not name.strip("0")


def _trial(record: Record, has_default: bool) -> Trial:
    name = str(record["trial"])
    score = _number(record.get("score")) if record.get("status") == COMPLETED else None
    given, values = record.get("scores"), record.get("values")
    scores = [_number(each) for each in given] if isinstance(given, (list, tuple)) else []
    known = tuple(each for each in scores if each is not None) if score is not None else ()
    reason = str(record.get("reason") or "")
    if score is None and not reason:
        reason = f"its score is no number: {record.get('score')}"
    # The first trial is the default, and `Hyperband` trains it whole.
    whole = has_default and is_first(name)
    return Trial(
        name,
        score,
        known,
        _number(record.get("spread")),
        _number(record.get("standard_error")),
        _values(values if isinstance(values, Mapping) else {}, whole),
        _number(record.get("seconds")),
        _number(record.get("ended")),
        reason,
    )


def _values(values: Mapping[str, object], whole: bool) -> dict[str, Value]:
    kept = () if whole else (_EPOCHS,)
    return {
        str(name): _value(value)
        for name, value in values.items()
        if not str(name).startswith(_OF_TUNER) or name in kept
    }


def _value(value: object) -> Value:
    number = _number(value)
    if number is not None:
        return number
    return value if isinstance(value, str) else _words(value)


def _words(value: object) -> str:
    try:
        return (
            json.dumps(value, ensure_ascii=False) if isinstance(value, (list, dict)) else str(value)
        )
    except (TypeError, ValueError):
        return str(value)


def _number(value: object) -> float | None:
    """A number as Python's own, if it is one; whether something is so is none."""
    plain = value.item() if isinstance(value, np.generic) else value
    if isinstance(plain, bool) or not isinstance(plain, (int, float)) or not math.isfinite(plain):
        return None
    return plain


def _ended(trials: list[Trial]) -> list[Trial]:
    """Trials with when they ended, as far as it is known how long they took."""
    if any(trial.ended is None and trial.seconds is None for trial in trials):
        return [dataclasses.replace(trial, ended=None) for trial in trials]
    sums = itertools.accumulate(trial.seconds or 0.0 for trial in trials)
    if any(trial.ended is None for trial in trials):
        return [dataclasses.replace(trial, ended=end) for trial, end in zip(trials, sums)]
    return trials


def _setting(name: str, trials: Sequence[Trial], log: bool) -> Setting:
    found = [trial.values.get(name) for trial in trials]
    given = [value for value in found if value is not None]
    numbers = [value for value in given if not isinstance(value, str)]
    distinct = len({*given})
    if len(numbers) == len(given) and not 0 < distinct <= min(_MOST_CHOICES, len(given) - 1):
        places = [math.nan if value is None else float(value) for value in found]
        return Setting(name, None, np.array(places), log and min(numbers, default=0) > 0)
    choices: list[Value] = [*sorted({*numbers})]
    choices += dict.fromkeys(value for value in given if isinstance(value, str))
    where = {value: place for place, value in enumerate(choices)}
    numbered = [math.nan if value is None else float(where[value]) for value in found]
    return Setting(name, tuple(choices), np.array(numbered), False)


def _known(numbers: np.ndarray) -> np.ndarray:
    found: np.ndarray = numbers[~np.isnan(numbers)]
    return found


# How much goes with which setting ---------------------------------------------------------------


def effects(search: Search) -> Effects:
    """How much of the differences between trials goes with which setting, alone and with others.

    A random forest (Breiman 2001, https://doi.org/10.1023/A:1010933404324) learns the ranks of the
    scores, and is asked of trials that it hasn't seen. Half of what its squared error grows by,
    where a setting's value is that of any other trial, is this setting's share of the variance:
    its total Sobol index (Gregorutti et al. 2017, https://doi.org/10.1007/s11222-016-9646-1,
    proposition 1), as far as the forest finds it. Ranks, for one trial that went astray would else
    be all that there is to explain. A value that a trial doesn't have counts as the middle one of
    the others, so that what its absence does is the effect of what it depends on.

    Args:
        search: What a search found.

    Returns:
        The shares, which are no more than what was tried shows: a tuner that draws near what was
        good tries little of the rest.
    """
    rows = np.array([trial.score is not None for trial in search.trials], dtype=bool)
    scores = np.array([trial.score for trial in search.completed], dtype=float)
    varied = [each for each in search.varied if len({*_known(each.numbers[rows])}) > 1]
    if not varied or len({*scores.tolist()}) < 2:
        return Effects({}, None, "The trials that came to an end don't differ.")
    if len(scores) < FEWEST_TRIALS:
        said = (
            f"Too few trials to tell what a setting does: {len(scores)} came to an end, "
            f"{FEWEST_TRIALS} are the least."
        )
        return Effects({}, None, said)
    columns = np.stack([_filled(each.numbers[rows], each.choices) for each in varied], axis=1)
    ranks = scipy.stats.rankdata(scores)
    own, swapped = _errors(columns, ranks)
    variance = float(((ranks - ranks.mean()) ** 2).mean())
    explained = 1.0 - own / variance
    if explained < _LEAST_EXPLAINED:
        said = (
            "What a setting does can't be told from these trials: a forest of trees that learns "
            "most of them can't foretell from their settings which of the others are good."
        )
        return Effects({}, max(explained, 0.0), said)
    grown = np.clip((swapped - own) / (2.0 * variance), 0.0, 1.0)
    shares = {each.name: float(share) for each, share in zip(varied, grown)}
    said = (
        f"From their settings a forest of trees foretells {percent(explained)} of the order of "
        "trials that it hasn't seen; a share says how much goes with a setting, alone or with "
        "others."
    )
    return Effects(shares, explained, said)


def _filled(numbers: np.ndarray, choices: Sequence[Value] | None) -> np.ndarray:
    """A column without gaps."""
    known = _known(numbers)
    # Of choices one that there is.
    middle = np.sort(known)[len(known) // 2] if choices else np.median(known)
    filled: np.ndarray = np.where(np.isnan(numbers), middle, numbers)
    return filled


def _errors(columns: np.ndarray, ranks: np.ndarray) -> tuple[float, np.ndarray]:
    """The mean squared error of a forest, and that where a column's values are drawn anew.

    Args:
        columns: Values `[trials, settings]`.
        ranks: What is to be foretold `[trials]`.

    Returns:
        The error, and for each column that with draws in its place `[settings]`.
    """
    count, width = columns.shape
    generator = np.random.default_rng(0)
    own, swapped = 0.0, np.zeros(width)
    for kept, left in KFold(_FOLDS, shuffle=True, random_state=0).split(columns):
        forest = RandomForestRegressor(_TREES, min_samples_leaf=2, random_state=0)
        forest.fit(columns[kept], ranks[kept])
        own += float(((forest.predict(columns[left]) - ranks[left]) ** 2).sum())
        rows = np.tile(columns[left], (width, _DRAWS, 1, 1))
        for column in range(width):
            drawn = generator.choice(columns[:, column], (_DRAWS, len(left)))
            rows[column, :, :, column] = drawn
        found = forest.predict(rows.reshape(-1, width)).reshape(width, _DRAWS, len(left))
        swapped += ((found - ranks[left]) ** 2).mean(axis=1).sum(axis=1)
    return own / count, swapped / count


# What there is to say of it ---------------------------------------------------------------------


def verdict(search: Search) -> str:
    """What came of a search, in a sentence."""
    best, default, count = search.best, search.default, len(search.trials)
    if best is None:
        return f"None of {count} trials came to an end."
    if best.score != search.ranked[0].score:  # the best but for luck thaws more
        of = f"taken of {count} trials"
    else:
        of = "the only trial" if count == 1 else f"the best of {count} trials"
    reached = f"{search.objective} {_score(best.score)}"
    if default is None:
        return f"Trial {best.name} is {of}: {reached}."
    if best is default:
        return f"The default is {of}: {reached}. Nothing is gained."
    gain, error = search.gain(), search.gain_error()
    if gain is None:
        return f"Trial {best.name} is {of}: {reached}; the default failed."
    how = f"{_score(abs(gain))} {'better' if gain >= 0 else 'worse'}"
    how += "" if error is None else f", standard error {_score(error)}"
    return f"Trial {best.name} is {of}: {reached}, the default {_score(default.score)} ({how})."


def on_luck(search: Search) -> list[str]:
    """What there is to say of how much of it is luck, a sentence each."""
    said = []
    if search.noise is not None:
        said.append(
            f"{percent(search.noise)} of the variance of the trials' scores is noise: training the "
            "same settings once more changes them by as much."
        )
    elif not any(len(trial.scores) > 1 for trial in search.trials):
        said.append(
            "Each trial was trained once: what another seed or another split would change isn't "
            "known."
        )
    gain, error = search.gain(), search.gain_error()
    if gain is not None and error is not None and abs(gain) < 2 * error:
        said.append(
            f"From the default the best differs by {_score(abs(gain))}, which is less than two "
            f"standard errors ({_score(error)} each): no clear difference."
        )
    if len(search.completed) > 1:
        said.append(
            "The best of many trials owes a part of its score to luck, the more trials the more: "
            "what is left of the gain, only examples tell that no trial was judged by."
        )
    return said


def percent(share: float) -> str:
    """A share as it is shown.

    Example:

    >>> percent(0.274)
    '27 %'
    """
    return f"{100 * share:.0f} %"


def _score(value: float | None) -> str:
    return wording.shown(value)
