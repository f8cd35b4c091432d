"""A worker of a search: trains the trials that the chief gives it."""

import contextlib
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from typing import Any

import keras_tuner
from keras_tuner.engine import trial as tuner_trials

from tfhub_transfer.errors import Ended, InputError, visible
from tfhub_transfer.jobs.processes import launching
from tfhub_transfer.jobs.processes.roles import ANSWER, Lines, Place, connected

GONE = (
    "the chief of this search has ended, or took this worker for dead; start what has ended again, "
    "as before, to go on"
)
# Seconds between two signs of life, two looks for the chief, and two questions for a trial.
_BEAT, _EVERY, _WAIT = 2.0, 0.5, 0.2


class Remote:
    """What a tuner asks of an oracle, asked of the chief.

    Args:
        lines: The connection.
        objective: What trials are judged by.
    """

    def __init__(self, lines: Lines, objective: Any) -> None:
        self.objective, self.verbose = objective, 0
        self._lines, self._lock = lines, threading.Lock()
        self._trial: Any = None
        self._began = 0.0
        self._told: dict[str, Any] = {}

    # What KerasTuner calls ----------------------------------------------------------------------

    def create_trial(self, tuner_id: str) -> Any:
        """A trial, once there is one; one with the status STOPPED, when there are no more.

        Args:
            tuner_id: Not needed: the chief knows who asks.
        """
        del tuner_id
        while "wait" in (found := self._ask({"ask": True})):
            time.sleep(_WAIT)
        if "trial" not in found:
            status = tuner_trials.TrialStatus.STOPPED
            return tuner_trials.Trial(keras_tuner.HyperParameters(), status=status)
        self._trial = tuner_trials.Trial.from_state(found["trial"])
        self._began = time.monotonic()
        return self._trial

    def get_trial(self, trial_id: str) -> Any:
        """The trial that is being trained.

        Args:
            trial_id: Its number.
        """
        assert trial_id == self._trial.trial_id
        return self._trial

    def update_trial(self, trial_id: str, metrics: Mapping[str, float], step: int = 0) -> None:
        """Notes what a trial is worth, which goes to the chief at its end.

        Args:
            trial_id: Its number.
            metrics: Values by name.
            step: The epoch that they are of.
        """
        assert trial_id == self._trial.trial_id
        self._told = {"metrics": {name: float(v) for name, v in metrics.items()}, "step": step}

    def end_trial(self, trial: Any) -> None:
        """Tells the chief, in one message, what became of a trial.

        Args:
            trial: The trial.
        """
        seconds = time.monotonic() - self._began
        told, self._told = self._told, {}
        self._ask({"trial": trial.get_state(), **told, "seconds": seconds})

    # --------------------------------------------------------------------------------------------

    def say_mistake(self, message: str) -> None:
        """Tells the chief of a mistake that ends the whole search.

        Args:
            message: The mistake.
        """
        with contextlib.suppress(Ended):
            self._ask({"mistake": message})

    @contextlib.contextmanager
    def alive(self) -> Iterator[None]:
        """Says again and again that this process is there; it ends when the chief has ended."""
        over = threading.Event()
        threading.Thread(target=self._beat, args=(over,), name="beat", daemon=True).start()
        try:
            yield
        finally:
            over.set()
            self._lines.close()

    def _beat(self, over: threading.Event) -> None:
        while not over.wait(_BEAT):
            try:
                self._ask({"alive": True})
            except Ended as error:
                if not over.is_set():
                    launching.end(error.message)

    def _ask(self, message: dict[str, Any]) -> dict[str, Any]:
        try:
            with self._lock:
                self._lines.send(message)
                return self._lines.answer()
        except OSError as error:
            raise Ended(launching.TRY_AGAIN, GONE) from error


def joined(place: Place, facts: Mapping[str, object]) -> tuple[Lines, dict[str, Any]] | None:
    """The connection with the chief, and what it says first; none, if the search is over.

    Waits for it as long as it takes.

    Args:
        place: That of this process.
        facts: What trials depend on.

    Raises:
        InputError: If the chief refuses.
        Ended: If it ends meanwhile.
    """
    told = False
    while (link := connected(place)) is None:
        if not told:
            told = True
            said = f"tfhub-transfer: worker {place.name} waits for the chief at {place.address}"
            print(visible(said), file=sys.stderr, flush=True)
        time.sleep(_EVERY)
    lines = Lines(link)
    with contextlib.ExitStack() as open_till_then:
        open_till_then.callback(lines.close)
        found = _greeted(lines, place, facts)
        if "refused" in found:
            raise InputError(str(found["refused"]))
        if "welcome" not in found:
            return None
        open_till_then.pop_all()
    return lines, dict(found["welcome"])


def _greeted(lines: Lines, place: Place, facts: Mapping[str, object]) -> dict[str, Any]:
    """What the chief answers, which may still be reading its data."""
    lines.link.settimeout(None)
    try:
        lines.send({"hello": place.name, "facts": dict(facts)})
        found = lines.answer()
        lines.link.settimeout(ANSWER)
    except OSError as error:
        raise Ended(launching.TRY_AGAIN, GONE) from error
    return found
