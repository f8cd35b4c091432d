"""Which process of a search one is, and what speaks at the other end of a connection."""

import os
import socket
from pathlib import Path
from typing import Any

import pytest

from tfhub_transfer.errors import InputError
from tfhub_transfer.jobs.options.tuning import TuneJob
from tfhub_transfer.jobs.processes import roles
from tfhub_transfer.jobs.processes.roles import HOST, ID, PORT, Lines, Place
from tfhub_transfer.jobs.searches import tuning

ALL = {ID: "chief", HOST: "127.0.0.1", PORT: "8000"}


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Any:
    def tell(**given: str) -> None:
        for name in ALL:
            monkeypatch.delenv(name, raising=False)
        for name, value in given.items():
            monkeypatch.setenv(name, value)

    return tell


def test_three_variables_are_a_place(told: Any) -> None:
    told()
    assert roles.place_here() is None
    told(**dict.fromkeys(ALL, " "))
    assert roles.place_here() is None
    told(**ALL)
    place = roles.place_here()
    assert place == Place("chief", "127.0.0.1", 8000) and place.is_chief
    with roles.unseen():
        assert not {*ALL} & {*os.environ} and roles.place_here() is None
    assert roles.place_here() == place
    told(**ALL | {ID: "worker0"})
    worker = roles.place_here()
    assert worker is not None and not worker.is_chief and worker.address == "127.0.0.1:8000"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({ID: "chief"}, f"set all three, or none. Received: {ID}=chief, and no {HOST}"),
        ({HOST: "a", PORT: "1"}, f"Received: {HOST}=a, and no {ID}"),
        ({ID: "chief", HOST: "a"}, f"and no {PORT}"),
        (ALL | {PORT: "http"}, f"a number from 1 to 65535, .*Received: {PORT}=http"),
        (ALL | {PORT: "0"}, f"Received: {PORT}=0"),
        (ALL | {PORT: "65536"}, f"Received: {PORT}=65536"),
        (ALL | {ID: "Chief"}, f"in small letters, .*Received: {ID}=Chief"),
    ],
)
def test_half_of_a_place_is_refused_before_any_work(
    given: dict[str, str], message: str, told: Any
) -> None:
    told(**given)
    with pytest.raises(InputError, match=message) as error:
        tuning.tune(TuneJob("classification", "nowhere.csv", Path("out")))
    assert "\n" not in str(error.value)


def test_python_starts_no_workers(told: Any) -> None:
    told()
    with pytest.raises(InputError, match="started by the command .* Received: workers=2"):
        tuning.tune(TuneJob("classification", "nowhere.csv", Path("out"), workers=2))


def test_a_chief_needs_a_port_of_its_own() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        place = Place("chief", *taken.getsockname())
        with pytest.raises(InputError, match="a port that is free there; .*Address already in use"):
            roles.listening(place)
    with pytest.raises(InputError, match=r"an address of the chief's machine, .*192\.0\.2\.1:80"):
        roles.listening(Place("chief", "192.0.2.1", 8000))
    # Once it has gone nobody is there, not even who asks.
    assert roles.connected(place) is None


def test_messages_come_whole_however_they_arrive() -> None:
    here, there = socket.socketpair()
    with here, there:
        lines = Lines(here)
        there.sendall(b'{"score": 0.1, "wor')
        assert lines.arrived() == []
        there.sendall(b'st": -Infinity}\n{"b": 1}\n{')
        assert lines.arrived() == [{"score": 0.1, "worst": float("-inf")}, {"b": 1}]
        Lines(there).send({"name": "ü", "score": 1 / 3})
        lines = Lines(here)
        assert lines.answer() == {"name": "ü", "score": 1 / 3}
        for odd in (b"GET / HTTP/1.1\n", b"[1]\n"):
            there.sendall(odd)
            with pytest.raises(OSError, match="no message"):
                lines.answer()
        there.close()
        with pytest.raises(OSError, match="has gone"):
            lines.answer()
