"""The chief of a search: deals out trials, hears what became of them, and sees who goes.

All of it is done by one thread, in which signals are heard: KerasTuner's oracle, which draws the
trials, is asked one question at a time.
"""

import contextlib
import select
import selectors
import socket
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from keras_tuner.engine import trial as tuner_trials

from tfhub_transfer.errors import InputError, visible
from tfhub_transfer.jobs.processes.roles import Lines, Place, listening

# Seconds between two looks at time and silence, that a worker may be silent (it says every other
# second that it is there, but where a step lets no other thread run), and that the last ones have
# to hear that it is over.
_LOOK, _SILENCE, _FAREWELL = 0.5, 60.0, 10.0
# Of a trial that each of its workers ended in.
_MOST_ENDS = 2
_ENDS = (
    tuner_trials.TrialStatus.COMPLETED,
    tuner_trials.TrialStatus.FAILED,
    tuner_trials.TrialStatus.INVALID,
)
# Whose trial it is that nobody has begun: no worker's name.
_LATER = ""
# Characters of a fact that differs.
_SHOWN = 60

Told = dict[str, Any]


class _Odd(Exception):
    """No worker says that."""


class Peer:
    """A worker at the other end of a connection.

    Args:
        link: The connection.
    """

    def __init__(self, link: socket.socket) -> None:
        self.lines = Lines(link)
        self.name = ""
        self.heard = time.monotonic()


class Chief:
    """Serves one search.

    Args:
        place: That of this process.
        own: The socket at which it listens.
    """

    def __init__(self, place: Place, own: socket.socket) -> None:
        self._place, self._own = place, own
        self._selector = selectors.DefaultSelector()
        self._peers: list[Peer] = []
        self._ends: Counter[str] = Counter()
        self._is_over, self._waits, self._is_late = False, False, False
        self._closed = threading.Event()
        self._late = threading.Thread(target=self._turn_away, daemon=True)

    def serve(
        self,
        welcome: Mapping[str, object],
        facts: Mapping[str, object],
        oracle: Any,
        leaves_time: Callable[..., bool],
        ended: Callable[[str, float], None],
    ) -> None:
        """Deals out trials until there are no more.

        Args:
            welcome: What each worker is told first.
            facts: What trials depend on, which workers must have been told alike.
            oracle: That of the tuner, which draws them.
            leaves_time: Whether there is time for another trial; of given values, if it is asked
                with them.
            ended: Called with a trial's number and its seconds once it is over.

        Raises:
            InputError: If a worker found a mistake that is everybody's.
        """
        self._oracle, self._welcome, self._facts = oracle, dict(welcome), dict(facts)
        self._leaves_time, self._ended = leaves_time, ended
        self._selector.register(self._own, selectors.EVENT_READ, None)
        while not self._done():
            self._say_for_whom_it_waits()
            self._hear_all(self._selector.select(_LOOK))
            self._forget_the_silent()
            ends = self._is_late or not self._leaves_time()
            for name in self._left_behind() if ends else ():
                self._fail(name, "its worker ended, and no time was left to begin it again")
        self._part()

    def _done(self) -> bool:
        """Whether no trial is left, and none is being trained."""
        oracle = self._oracle
        if not self._is_over and not self._being_trained():
            full = oracle.max_trials and len(oracle.end_order) >= oracle.max_trials
            self._is_over = bool(full) or self._is_late or not self._leaves_time()
        return self._is_over

    def _part(self) -> None:
        """Lets all hear that it is over, also those that come late."""
        end = time.monotonic() + _FAREWELL
        while self._peers and time.monotonic() < end:
            self._hear_all(self._selector.select(_LOOK))
        self._end_all()
        self._late.start()

    def _end_all(self) -> None:
        while self._peers:
            self._peers.pop().lines.close()
        self._selector.close()

    def _turn_away(self) -> None:
        """Tells who comes when the search is over."""
        with contextlib.suppress(OSError, ValueError):  # at the very end the socket is closed
            while not self._closed.is_set():
                if select.select([self._own], [], [], _LOOK)[0]:
                    with contextlib.suppress(OSError):  # who came may have gone
                        self._turn_one_away()

    def _turn_one_away(self) -> None:
        link, _ = self._own.accept()
        with contextlib.closing(Lines(link)) as lines:
            lines.answer()
            lines.send({"over": True})

    def close(self) -> None:
        """Ends all connections."""
        self._closed.set()
        if self._late.is_alive():
            self._late.join(2 * _LOOK)
        self._end_all()

    # What comes ---------------------------------------------------------------------------------

    def _hear_all(self, ready: Iterable[tuple[selectors.SelectorKey, int]]) -> None:
        began = time.monotonic()
        for key, _ in ready:
            self._hear(key.data)
        # While a trial is drawn nobody is heard, and who waits for it says nothing: that is no
        # silence of theirs.
        for peer in self._peers:
            peer.heard += time.monotonic() - began

    def _hear(self, peer: Peer | None) -> None:
        if peer is None:
            self._accept()
            return
        try:
            for message in peer.lines.arrived():
                # Nothing is read of what somebody sends who hasn't said who it is.
                if not peer.name and "hello" not in message:
                    raise _Odd("who doesn't say who it is isn't answered")
                peer.heard = time.monotonic()
                peer.lines.send(self._answer(peer, _understood(message)))
        except (OSError, _Odd):  # it has gone; or what speaks there is none of ours
            self._forget(peer)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            link, _ = self._own.accept()
            peer = Peer(link)
            self._peers.append(peer)
            self._selector.register(link, selectors.EVENT_READ, peer)

    def _answer(self, peer: Peer, message: Told) -> Told:
        if "hello" in message:
            return self._greet(peer, message["hello"], message["facts"])
        if "mistake" in message:
            raise InputError(message["mistake"])
        if "trial" in message:
            self._end(peer, message)
        return self._trial(peer) if "ask" in message else {}

    def _greet(self, peer: Peer, name: str, facts: Told) -> Told:
        if name in [each.name for each in self._peers]:
            return {"refused": f"another worker has this name; give each its own. Received: {name}"}
        odd = [key for key in {**self._facts, **facts} if self._facts.get(key) != facts.get(key)]
        if odd:
            first = sorted(odd)[0]
            here, there = (str(each.get(first))[:_SHOWN] for each in (self._facts, facts))
            return {
                "refused": "a worker needs the chief's own data, options and versions; start the "
                f"same command in all. Received: {first} {there}, where the chief has {here}"
            }
        peer.name = name
        self._waits = False
        _say(f"worker {name} is there")
        return {"welcome": self._welcome}

    # Trials -------------------------------------------------------------------------------------

    def _trial(self, peer: Peer) -> Told:
        """A trial for a worker; or that it is to wait, or has done enough."""
        if self._done():
            return {"over": True}
        oracle, left = self._oracle, self._left_behind()
        if peer.name not in oracle.ongoing_trials:
            if self._is_late or not self._leaves_time():
                return {"wait": True}
            if left:
                oracle.ongoing_trials[peer.name] = oracle.ongoing_trials.pop(left[0])
        found = oracle.create_trial(peer.name)
        if found.status == tuner_trials.TrialStatus.RUNNING:
            if self._leaves_time(found.hyperparameters.values):
                return {"trial": found.get_state()}
            # To KerasTuner it stays one that is trained: with more time the same command begins it.
            self._is_late = True
            oracle.ongoing_trials[_LATER] = oracle.ongoing_trials.pop(peer.name)
            return {"wait": True}
        # Others may still leave theirs behind.
        if found.status == tuner_trials.TrialStatus.STOPPED and not oracle.ongoing_trials:
            self._is_over = True
            return {"over": True}
        return {"wait": True}

    def _left_behind(self) -> list[str]:
        """Who has gone in the middle of a trial."""
        there = {each.name for each in self._peers}
        return [name for name in self._being_trained() if name not in there]

    def _being_trained(self) -> list[str]:
        """Whose trials aren't over, without the one for which no time was left."""
        ongoing = self._oracle.ongoing_trials
        return [name for name in ongoing if not (self._is_late and name == _LATER)]

    def _end(self, peer: Peer, message: Told) -> None:
        trial, oracle = message["trial"], self._oracle
        own = oracle.ongoing_trials.get(peer.name)
        if own is None or own.trial_id != trial.trial_id or trial.status not in _ENDS:
            raise _Odd("a trial of another one, or one that isn't over")
        if trial.status == tuner_trials.TrialStatus.COMPLETED:
            if oracle.objective.name not in message["metrics"]:
                raise _Odd("a trial without what it is judged by")
            oracle.update_trial(trial.trial_id, message["metrics"], step=message["step"])
        oracle.end_trial(trial)
        self._ended(trial.trial_id, message["seconds"])

    def _fail(self, name: str, reason: str) -> None:
        """Counts the trial that somebody left behind as failed."""
        trial = self._oracle.ongoing_trials[name]
        trial.status, trial.message = tuner_trials.TrialStatus.FAILED, reason
        self._oracle.end_trial(trial)
        self._ended(trial.trial_id, 0.0)

    # Who goes -----------------------------------------------------------------------------------

    def _forget(self, peer: Peer) -> None:
        self._peers.remove(peer)
        self._selector.unregister(peer.lines.link)
        peer.lines.close()
        trial = self._oracle.ongoing_trials.get(peer.name) if peer.name else None
        if trial is None:
            return
        self._ends[trial.trial_id] += 1
        if self._ends[trial.trial_id] < _MOST_ENDS:
            _say(f"worker {peer.name} has ended in trial {trial.trial_id}, which begins again")
        else:
            self._fail(peer.name, f"{_MOST_ENDS} workers ended in it")

    def _forget_the_silent(self) -> None:
        # What came while trials were drawn for others is to be heard yet.
        unheard = [key.data for key, _ in self._selector.select(0)]
        for peer in list(self._peers):
            if peer not in unheard and time.monotonic() - peer.heard > _SILENCE:
                self._forget(peer)

    def _say_for_whom_it_waits(self) -> None:
        if not any(each.name for each in self._peers) and not self._waits:
            self._waits = True
            _say(f"waiting for workers at {self._place.address}")


def _understood(message: Told) -> Told:
    """What a worker says, of the types that it has."""
    try:
        if "hello" in message:
            facts: Told = message["facts"]
            return {"hello": str(message["hello"]), "facts": {**facts}}
        if "mistake" in message:
            return {"mistake": str(message["mistake"])}
        if "trial" not in message:
            return {name: True for name in ("ask", "alive") if name in message}
        metrics = {str(name): float(v) for name, v in message.get("metrics", {}).items()}
        return {
            "trial": tuner_trials.Trial.from_state(message["trial"]),
            **{"metrics": metrics, "step": int(message.get("step", 0))},
            "seconds": float(message["seconds"]),
        }
    except Exception as error:  # of what strangers may send nothing may end the search
        raise _Odd(str(error)) from error


def _say(text: str) -> None:
    print(visible(f"tfhub-transfer: {text}"), file=sys.stderr, flush=True)


@contextlib.contextmanager
def opened(place: Place | None) -> Iterator[Chief | None]:
    """The chief of a search, if this process is it; listens from now on.

    Args:
        place: That of this process.

    Raises:
        InputError: If it can't listen there.
    """
    if place is None:
        yield None
        return
    with listening(place) as own, contextlib.closing(Chief(place, own)) as chief:
        yield chief
