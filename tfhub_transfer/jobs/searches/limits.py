"""When a search ends: by the number of its trials, or by the clock, the last training included."""

import dataclasses
import math
import time
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import keras_tuner

from tfhub_transfer.reporting import searches
from tfhub_transfer.tuning.space import ENCODER

# What a later trial of Hyperband goes on behind.
_BEFORE = "tuner/trial_id"
# What is known of a trial that is over, by the names in `trials.jsonl`.
Known = Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class Ending:
    """What follows the trials.

    Attributes:
        last: How many times as long as a trial the last training is.
        beside: Seconds for what else there is to do, beside measuring.
        measured: Rows that are measured, for each one that the first trial was the first to encode.
        measuring: Seconds that measuring takes at least. Where all vectors of trials were stored by
            an earlier command the first trial encodes nothing, and tells nothing of it.
    """

    last: float = 1.0
    beside: float = 0.0
    measured: float = 0.0
    measuring: float = 0.0


class Limits:
    """When a search ends.

    Args:
        trials: The most trials, if there is such a number.
        minutes: For all of it, the last training too.
        started: When this run began, by `time.monotonic`.
        spent: Seconds that earlier runs of the same search took.
        ending: What follows.
        cuts: Whether a trial is cut off when its time is up. Then one begins that may end in time;
            else one that will, as far as others alike tell.

    Attributes:
        trials: As it was given.
        cuts: Whether a trial may be cut off.
        taken: The name of the trial that the last training would be of now; `None`, and it counts
            as the longest, where nobody knows.
    """

    def __init__(
        self,
        trials: int | None,
        minutes: float | None,
        started: float,
        spent: float = 0.0,
        ending: Ending | None = None,
        cuts: bool = False,
    ) -> None:
        self.trials, self.cuts = trials, cuts and minutes is not None
        self.taken: str | None = None
        self._seconds = math.inf if minutes is None else 60.0 * minutes
        self._started, self._ending = started - spent, ending or Ending()

    @property
    def elapsed(self) -> float:
        """Seconds that the search has taken so far, over all its runs."""
        return time.monotonic() - self._started

    @property
    def ends(self) -> float:
        """When the time is up, by `time.monotonic`; never, if nobody says how much there is."""
        return self._started + self._seconds

    def leaves_time(self, over: Sequence[Known], values: Known | None = None) -> bool:
        """Whether there is time for another trial, and for the last training.

        Args:
            over: What is known of the trials that are over.
            values: Those of the trial, if they are known: how far the encoder thaws says most of
                how long one takes. Else it may be as short as the shortest so far.
        """
        if not over:
            return True
        following = self._following(over, values)
        return following + self._ahead(over, following) < self._seconds

    def minutes_at_least(self, over: Sequence[Known]) -> float | None:
        """How many minutes it takes, where the first trial and the last training are too long.

        Args:
            over: What is known of the trials that are over.

        Returns:
            `None` if they aren't.
        """
        ahead = self._ahead(over, 0.0)
        return ahead / 60.0 if len(over) == 1 and ahead > self._seconds else None

    def is_up(self, over: Sequence[Known], seconds: float) -> bool:
        """Whether a trial that is being trained leaves no time for the last training.

        Args:
            over: What is known of the trials that are over; the first of all is never cut off.
            seconds: How long it has taken so far, which the last training takes if it is of that.
        """
        return bool(over) and self._ahead(over, seconds) >= self._seconds

    def _ahead(self, over: Sequence[Known], following: float) -> float:
        """Seconds of the whole, if the last training began now."""
        known = _lengths(over)
        longest = known.get(self.taken or "", max(known.values()))
        training = max(longest, following) * self._ending.last
        measuring = max(self._ending.measuring, self._measuring(over, known))
        return self.elapsed + training + measuring + self._ending.beside

    def _measuring(self, over: Sequence[Known], known: Mapping[str, float]) -> float:
        """Seconds that the test split takes, by what encoding took the first trial.

        As long as none alike has followed, how much of its time that was isn't known: its training
        and the measuring of the test split take as long as it at most, where they are as large.
        """
        first = over[0]
        made = float(first["seconds"]) - known[first["trial"]]
        alike = [each for each in over if _depth(each["values"]) == _depth(first["values"])]
        if len(alike) > 1:
            return max(0.0, made) * self._ending.measured
        return float(first["seconds"]) * max(0.0, self._ending.measured - self._ending.last)

    def _following(self, over: Sequence[Known], values: Known | None) -> float:
        """Seconds that the next trial takes, of which less is known the fewer there were."""
        known = _lengths(over)
        if self.cuts:  # the first makes for all of them what nobody knows how long it took
            known = {name: each for name, each in known.items() if not searches.is_first(name)}
        alike = [each for each in over if values and _depth(each["values"]) == _depth(values)]
        found = [known[each["trial"]] for each in alike if each["trial"] in known]
        all_of_them = [*known.values()] or [0.0]
        if values is None or self.cuts:
            return min(found or all_of_them)
        return max(found or all_of_them)


def _lengths(over: Sequence[Known]) -> dict[str, float]:
    """Seconds that each trial would take once more, by its name.

    The first of a depth makes vectors, ids and outputs of frozen layers that the others find, and
    that are there for it, too, if it is trained once more.
    """
    before = {each["trial"]: each["values"].get(_BEFORE) for each in over}
    own = {each["trial"]: float(each["seconds"]) for each in over}
    others: dict[str, list[float]] = {}
    firsts: dict[str, Any] = {}
    for each in over:
        depth = repr(_depth(each["values"]))
        if firsts.setdefault(depth, each["trial"]) != each["trial"]:
            others.setdefault(depth, []).append(own[each["trial"]])
    found = {**own}
    for depth, name in firsts.items():
        found[name] = min(own[name], max(others.get(depth, [math.inf])))
    for name in own:  # with the rounds that it goes on behind
        earlier = before[name]
        while earlier in own:
            found[name] += own[earlier]
            earlier = before[earlier]
    return found


def _depth(values: Known) -> dict[str, Any]:
    """How far the encoder thaws in a trial, and which, if there are several."""
    return {n: v for n, v in values.items() if n.startswith((ENCODER, "unfreeze"))}


class Cut(keras.callbacks.Callback):
    """Ends a trial once its time is up.

    Args:
        limits: When that is.
        over: What is known of the trials that are over.

    Attributes:
        is_late: Whether it did.
    """

    def __init__(self, limits: Limits, over: Sequence[Known]) -> None:
        super().__init__()
        self.is_late = False
        self._limits, self._over, self._began = limits, over, time.monotonic()

    def __deepcopy__(self, memo: object) -> "Cut":
        """Itself: it is one for all trainings of a trial, of which KerasTuner copies callbacks."""
        return self

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        """Looks at the clock."""
        del batch, logs
        if self._limits.is_up(self._over, time.monotonic() - self._began):
            self.is_late = True
            raise keras_tuner.errors.FailedTrialError("no time was left to end it")
