"""Waiting for other processes: until somebody listens where each of them does."""

import os
import signal
import socket
import threading
from collections.abc import Iterator

import pytest

from tfhub_transfer.errors import InputError
from tfhub_transfer.runtime import meeting
from tfhub_transfer.storage import signals


@pytest.fixture
def ports() -> Iterator[list[int]]:
    """Three that are free, unless somebody else takes one."""
    taken = [socket.create_server(("", 0)) for _ in range(3)]
    found = [each.getsockname()[1] for each in taken]
    for each in taken:
        each.close()
    yield found


def test_all_wait_for_the_last(ports: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    """And leave their ports to whoever listens there next, as TensorFlow does."""
    monkeypatch.setattr(meeting, "_EVERY", 0.01)
    addresses = [f"127.0.0.1:{ports[0]}", f"localhost:{ports[1]}", f"[::ffff:127.0.0.1]:{ports[2]}"]
    there: list[int] = []
    servers = []

    def wait(place: int) -> None:
        meeting.wait(addresses[place], addresses[:place] + addresses[place + 1 :])
        there.append(place)
        servers.append(socket.create_server(("", ports[place]), backlog=9))

    threads = [threading.Thread(target=wait, args=(place,), daemon=True) for place in range(3)]
    for each in threads[:2]:
        each.start()
    for each in threads[:2]:
        each.join(0.3)
    assert there == []
    threads[2].start()
    for each in threads:
        each.join(30)
    assert sorted(there) == [0, 1, 2]
    for server in servers:
        server.close()


def test_a_port_of_somebody_else(ports: list[int]) -> None:
    with (
        socket.create_server(("", ports[0])),
        pytest.raises(InputError, match=f"must be free; .* Received: a:{ports[0]} \\(Address"),
    ):
        meeting.wait(f"a:{ports[0]}", [])
    meeting.wait(f"a:{ports[0]}", [])  # nobody is missed


def test_signals_are_heard_meanwhile(ports: list[int]) -> None:
    waits = threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGTERM))
    with signals.handled(), pytest.raises(signals.Interrupted) as heard:
        waits.start()
        meeting.wait(f"a:{ports[0]}", ["no.such.host.invalid:1", f"127.0.0.1:{ports[1]}"])
    assert heard.value.number == signal.SIGTERM
    socket.create_server(("", ports[0])).close()
