"""A chief and its workers: who trains what, who goes, and what of it is kept."""

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras_tuner
import pytest

from tfhub_transfer.errors import Ended, InputError
from tfhub_transfer.jobs.processes import launching, roles
from tfhub_transfer.jobs.processes.roles import Lines, Place
from tfhub_transfer.jobs.searches import chief, tuners, worker
from tfhub_transfer.jobs.searches.chief import Chief
from tfhub_transfer.jobs.searches.worker import Remote, joined

FACTS = {"seed": 0, "data": "sha256:ab"}
OBJECTIVE = keras_tuner.Objective("val_accuracy", "max")


class Search:
    """A chief in a thread of its own."""

    def __init__(self, folder: Path, trials: int = 3, kind: Any = None) -> None:
        hp = keras_tuner.HyperParameters()
        hp.Choice("dropout", [0.0, 0.1, 0.2], default=0.1)
        hp.Choice("units", [0, 8])
        kind = kind or keras_tuner.oracles.RandomSearchOracle
        self.oracle = kind(OBJECTIVE, max_trials=trials, hyperparameters=hp, seed=1)
        self.oracle._set_project_dir(folder, "search")
        self.oracle.verbose = 0
        own = roles.listening(Place("chief", "127.0.0.1", free_port()))
        self.place = Place("worker", *own.getsockname())
        self.own, self.chief = own, Chief(self.place, own)
        self.links: list[Lines] = []
        self.time, self.ended, self.error = True, list[tuple[str, float]](), list[Exception]()
        self.too_long: Any = None
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    def _serve(self) -> None:
        welcome = {"precision": "float32"}
        try:
            self.chief.serve(
                *(welcome, FACTS, self.oracle, self._leaves_time),
                lambda *given: self.ended.append(given),
            )
        except InputError as error:
            self.error.append(error)
            self.chief.close()  # as behind `opened`

    def _leaves_time(self, values: Any = None) -> bool:
        return self.time and (values is None or values != self.too_long)

    def join(self, name: str, facts: Any = None) -> Remote:
        found = joined(Place(name, self.place.host, self.place.port), facts or FACTS)
        assert found is not None and found[1] == {"precision": "float32"}
        self.links.append(found[0])
        return Remote(found[0], OBJECTIVE)

    def end(self) -> None:
        self.thread.join(20)
        assert not self.thread.is_alive()


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
        return port


@pytest.fixture
def search(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Search]:
    monkeypatch.setattr(chief, "_LOOK", 0.02)
    monkeypatch.setattr(chief, "_FAREWELL", 0.2)
    monkeypatch.setattr(worker, "_WAIT", 0.02)
    monkeypatch.setattr(worker, "ANSWER", 30.0)  # of a chief that is gone none comes
    made = Search(tmp_path)
    yield made
    made.time = False
    with contextlib.suppress(KeyError):  # of what a test left behind
        made.oracle.ongoing_trials.clear()
    for each in made.links:
        each.close()
    made.end()
    made.chief.close()
    made.own.close()


def done(remote: Remote, trial: Any, score: float) -> None:
    remote.update_trial(trial.trial_id, {"val_accuracy": score, "val_loss": 1 / 3}, step=2)
    trial.status = "COMPLETED"
    remote.end_trial(trial)


def test_trials_are_dealt_out_once_and_kept_to_the_digit(
    search: Search, capfd: pytest.CaptureFixture[str]
) -> None:
    one, two = search.join("one"), search.join("two")
    first, second = one.create_trial("one"), two.create_trial("two")
    assert [first.trial_id, second.trial_id] == ["0", "1"]
    assert first.hyperparameters.values == search.oracle.trials["0"].hyperparameters.values
    done(two, second, 0.1 + 0.2)
    second.hyperparameters.values["dropout"] = 0.25  # nobody's any longer
    first.status, first.message = "FAILED", "it fell apart"
    one.end_trial(first)
    third = one.create_trial("one")
    waits = threading.Timer(0.2, lambda: done(one, third, 0.5))
    waits.start()
    # All trials are dealt out; one might still come back.
    assert two.create_trial("two").status == "STOPPED" and len(search.ended) == 3
    waits.join()
    assert one.create_trial("one").status == "STOPPED"
    one._lines.close(), two._lines.close()
    search.end()
    trials = search.oracle.trials
    assert [name for name, _ in search.ended] == ["1", "0", "2"]
    assert trials["1"].score == 0.1 + 0.2 and trials["1"].best_step == 2
    assert trials["1"].metrics.get_best_value("val_loss") == 1 / 3
    assert (trials["0"].status, trials["0"].message) == ("FAILED", "it fell apart")
    assert search.ended[2][1] >= 0.2
    # Who comes late hears that it is over, also behind one that went away.
    socket.create_connection((search.place.host, search.place.port), 10).close()
    assert joined(Place("late", search.place.host, search.place.port), FACTS) is None
    assert "worker one is there" in capfd.readouterr().err


def test_a_trial_whose_worker_goes_begins_again_and_fails_the_second_time(
    search: Search, capfd: pytest.CaptureFixture[str]
) -> None:
    one = search.join("one")
    left = one.create_trial("one")
    one._lines.close()
    two = search.join("two")
    again = two.create_trial("two")
    assert again.trial_id == left.trial_id
    assert again.hyperparameters.values == left.hyperparameters.values
    two._lines.close()
    # The same name may come again; that trial killed both.
    one = search.join("one")
    third = one.create_trial("one")
    assert third.trial_id == "1"
    failed = search.oracle.trials["0"]
    assert (failed.status, failed.message) == ("FAILED", "2 workers ended in it")
    assert search.ended == [("0", 0.0)]
    done(one, third, 0.5)
    assert "worker one has ended in trial 0, which begins again" in capfd.readouterr().err
    one._lines.close()


def test_without_time_nothing_begins_again(search: Search) -> None:
    one, two = search.join("one"), search.join("two")
    kept, left = one.create_trial("one"), two.create_trial("two")
    two._lines.close()
    search.time = False
    done(one, kept, 0.5)
    assert one.create_trial("one").status == "STOPPED"
    failed = search.oracle.trials[left.trial_id]
    assert failed.status == "FAILED" and "no time was left" in failed.message
    one._lines.close()
    search.end()


def test_a_trial_that_would_end_too_late_is_not_dealt_out(search: Search) -> None:
    one, two, three = map(search.join, ("one", "two", "three"))
    first, second = one.create_trial("one"), two.create_trial("two")
    search.too_long = {}
    drawn = search.oracle.populate_space

    def late(trial_id: str) -> Any:
        found = drawn(trial_id)
        search.too_long = found["values"]
        return found

    search.oracle.populate_space = late
    ends = [
        threading.Timer(0.2, lambda: done(one, first, 0.5)),
        threading.Timer(0.3, two._lines.close),
    ]
    for each in ends:
        each.start()
    assert three.create_trial("three").status == "STOPPED"
    for each in ends:
        each.join()
    # One that is trained is waited for; of the others none begins any more.
    assert one.create_trial("one").status == "STOPPED"
    one._lines.close(), three._lines.close()
    search.end()
    trials = search.oracle.trials
    assert [trials[name].status for name in "012"] == ["COMPLETED", "FAILED", "RUNNING"]
    assert [name for name, _ in search.ended] == ["0", second.trial_id]
    # With more time the same command begins it: KerasTuner trains again what wasn't over.
    search.oracle.save()
    search.oracle.reload()
    assert search.oracle.create_trial("four").trial_id == "2"
    search.oracle.ongoing_trials.clear()


def test_a_mistake_ends_the_search(search: Search) -> None:
    one = search.join("one")
    one.create_trial("one")
    one.say_mistake("`x` must be y. Received: z")
    search.thread.join(10)
    assert [str(each) for each in search.error] == ["`x` must be y. Received: z"]


@pytest.mark.parametrize(
    ("name", "facts", "message"),
    [
        ("one", FACTS, "another worker has this name; give each its own. Received: one"),
        ("two", {**FACTS, "seed": 1}, "start the same command in all. Received: seed 1, .* 0"),
        ("two", {"seed": 0}, "Received: data None, where the chief has sha256:ab"),
    ],
)
def test_who_does_something_else_is_refused(
    name: str, facts: dict[str, Any], message: str, search: Search
) -> None:
    one = search.join("one")
    with pytest.raises(InputError, match=message):
        search.join(name, facts)
    assert one.create_trial("one").trial_id == "0"
    one._lines.close()


STRANGE = (
    *(b"GET / HTTP/1.1\r\n\r\n", b'{"ask": true}', b'{"hello": 1}', b"\x00" * 9, b"[" * 99_999),
    b'{"hello": "x", "facts": [[1, 2]]}',
    # More than a float holds, of a trial.
    b'{"trial": 1, "metrics": {"a": 1' + b"0" * 400 + b'}, "seconds": 1}',
)


def test_what_isnt_a_worker_is_sent_away(search: Search) -> None:
    for said in STRANGE:
        with socket.create_connection((search.place.host, search.place.port), 10) as link:
            link.sendall(said + b"\n")
            with contextlib.suppress(ConnectionResetError):
                assert link.recv(100) == b""
    one = search.join("one")
    trial = one.create_trial("one")
    # Nor is one who tells of a trial that isn't its own, or of numbers that aren't any.
    odd: tuple[dict[str, Any], ...] = (
        {"trial": {**trial.get_state(), "status": "FAILED"}, "seconds": 1.0},
        {"trial": trial.get_state(), "step": float("inf"), "seconds": 1.0},
        {"trial": trial.get_state(), "metrics": {"val_accuracy": 10**400}, "seconds": 1.0},
    )
    for at, message in enumerate(odd):
        with pytest.raises(Ended):
            search.join(f"other{at}")._ask(message)
        assert search.thread.is_alive()  # or the next one would wait for it for good
    # Nor is one who tells of a trial that isn't its own, or isn't over.
    for name, changed in (("two", {"status": "FAILED"}), ("three", {"trial_id": "1"})):
        with pytest.raises(Ended):
            other = search.join(name)
            own = other.create_trial(name)
            assert own.trial_id == "1"
            other._ask({"trial": {**trial.get_state(), **changed}, "seconds": 1.0})
    done(one, trial, 0.5)
    assert search.oracle.trials[trial.trial_id].score == 0.5
    one._lines.close()


def test_silence_is_an_end_too(search: Search, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "_BEAT", 0.05)
    silent, one = search.join("silent"), search.join("one")
    left = silent.create_trial("silent")
    with one.alive():
        monkeypatch.setattr(chief, "_SILENCE", 0.3)
        time.sleep(0.6)
        assert one.create_trial("one").trial_id == left.trial_id


def test_a_chief_that_draws_for_long_loses_nobody(
    search: Search, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As with `bayesian` behind a hundred trials."""
    monkeypatch.setattr(chief, "_SILENCE", 0.5)
    monkeypatch.setattr(roles, "PATIENCE", 0.1)
    one, two = search.join("one"), search.join("two")
    draw = search.oracle.populate_space

    def slowly(trial_id: str) -> Any:
        time.sleep(1.0)
        return draw(trial_id)

    search.oracle.populate_space = slowly
    first = one.create_trial("one")
    second = two.create_trial("two")
    assert [first.trial_id, second.trial_id] == ["0", "1"]
    # Nor who said nothing while it waited, or while a trial was drawn for another one.
    done(one, first, 0.5)
    done(two, second, 0.5)
    assert [name for name, _ in search.ended] == ["0", "1"]
    for each in (one, two):  # that a machine is gone is seen all the same
        assert each._lines.link.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        if hasattr(socket, "TCP_USER_TIMEOUT"):
            option = socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT
            assert each._lines.link.getsockopt(*option) == 25_000


def test_a_chief_may_draw_for_long(search: Search, monkeypatch: pytest.MonkeyPatch) -> None:
    """Longer than others are patient: of `bayesian` a trial is drawn in seconds, or minutes."""
    monkeypatch.setattr(roles, "PATIENCE", 0.2)
    monkeypatch.setattr(chief, "_SILENCE", 0.8)
    monkeypatch.setattr(worker, "_BEAT", 0.05)
    monkeypatch.setattr(launching, "end", lambda message: None)
    drawn = search.oracle.populate_space

    def slowly(trial_id: str) -> Any:
        time.sleep(1.2)
        return drawn(trial_id)

    two, one = search.join("two"), search.join("one")
    with two.alive():
        second = two.create_trial("two")
        search.oracle.populate_space = slowly
        first = one.create_trial("one")
        done(two, second, 0.5)
        done(one, first, 0.5)
    assert [name for name, _ in search.ended] == ["0", "1"]


def test_a_worker_ends_with_the_chief(monkeypatch: pytest.MonkeyPatch) -> None:
    ended = threading.Event()
    monkeypatch.setattr(worker, "_BEAT", 0.02)
    monkeypatch.setattr(launching, "end", lambda message: ended.set())
    here, there = socket.socketpair()
    remote = Remote(Lines(here), OBJECTIVE)
    with remote.alive():
        there.close()
        assert ended.wait(10)
        with pytest.raises(Ended, match="the chief of this search has ended") as error:
            remote.create_trial("one")
        assert error.value.status == 75


def test_a_worker_waits_for_the_chief_and_says_so(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    place = Place("one", "127.0.0.1", free_port())
    looks = iter([None, None, KeyboardInterrupt()])

    def connected(asked: Place) -> None:
        found = next(looks)
        if found is not None:
            raise found

    monkeypatch.setattr(worker, "_EVERY", 0.001)
    monkeypatch.setattr(worker, "connected", connected)
    with pytest.raises(KeyboardInterrupt):
        joined(place, FACTS)
    assert capfd.readouterr().err == (
        f"tfhub-transfer: worker one waits for the chief at {place.address}\n"
    )


def test_a_grid_is_gone_through_by_several_and_goes_on_where_it_was(tmp_path: Path) -> None:
    kind = keras_tuner.oracles.GridSearchOracle
    found = []
    for folder, ends_first in (("alone", True), ("several", False)):
        (tmp_path / folder).mkdir()
        hp = keras_tuner.HyperParameters()
        hp.Choice("units", [0, 8])
        with hp.conditional_scope("units", [8]):
            hp.Choice("rate", [1e-3, 1e-4, 1e-5])
        hp.Choice("dropout", [0.0, 0.1])

        def made(place: Path = tmp_path / folder, hp: Any = hp) -> Any:
            oracle = kind(OBJECTIVE, hyperparameters=hp.copy())
            oracle._set_project_dir(place, "search")
            oracle.verbose = 0
            return oracle

        oracle = made()
        if not ends_first:
            oracle.populate_space = tuners._Grid(oracle)
        values = []
        for number in range(99):
            trial = oracle.create_trial(f"worker{number}")
            if trial.status != "RUNNING":
                break
            values.append(trial.hyperparameters.values)
            if ends_first:
                oracle.update_trial(trial.trial_id, {"val_accuracy": 0.5})
                trial.status = "COMPLETED"
                oracle.end_trial(trial)
            elif number == 4:
                # As after a kill, with KerasTuner's own files.
                oracle.save()
                oracle = made()
                oracle.reload()
                oracle.populate_space = tuners._Grid(oracle)
                again = [oracle.create_trial(f"worker{n}").trial_id for n in range(5)]
                assert {*again} == {*oracle.trials}
        # Two depths of which one has three rates, by two of dropout.
        assert len(values) == 8
        assert trial.status == ("STOPPED" if ends_first else "IDLE")
        found.append(values)
    assert found[0] == found[1]
