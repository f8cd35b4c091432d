"""A search of several processes: which of them this one is, and what they say to each other.

KerasTuner's variables name them. What it would send itself are scores as float32, and no reasons;
it waits an hour for who has gone. So each message is a line of JSON here, whose numbers are exact,
on a connection whose end the other side sees.
"""

import contextlib
import dataclasses
import json
import os
import re
import socket
import time
from collections.abc import Iterator
from typing import Any

from tfhub_transfer.errors import InputError

ID, HOST, PORT = "KERASTUNER_TUNER_ID", "KERASTUNER_ORACLE_IP", "KERASTUNER_ORACLE_PORT"
CHIEF = "chief"
# Bytes of a message: of a trial with its values there are some thousand.
MOST_BYTES = 16 * 2**20
# Seconds that the other side may take to read or to send what it has, and a chief to answer: for
# each who asks it may draw a trial first, of which KerasTuner's `bayesian` takes many seconds once
# there are some dozens.
PATIENCE, ANSWER = 20.0, 600.0
# Until the system gives up a machine that has fallen silent: asked when nothing came for so many
# seconds, every so many, so often; and with something on the way, in milliseconds.
_SILENT = {"TCP_KEEPIDLE": 10, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 3, "TCP_USER_TIMEOUT": 25_000}
_LAST_PORT = 65_535
_SHOWN = 100


@dataclasses.dataclass(frozen=True)
class Place:
    """Which process of a search one is.

    Attributes:
        name: What it is called; the chief's has `chief` in it.
        host: That of the chief.
        port: Where the chief listens.
    """

    name: str
    host: str
    port: int

    @property
    def is_chief(self) -> bool:
        """Whether it deals out the trials, rather than train them."""
        return CHIEF in self.name

    @property
    def address(self) -> str:
        """The chief's, as one writes it."""
        return f"{self.host}:{self.port}"


def place_here() -> Place | None:
    """The place that the environment gives this process; none, where it searches alone.

    Raises:
        InputError: If the variables say only half of it, or something else.
    """
    given = {name: os.environ.get(name, "").strip() for name in (ID, HOST, PORT)}
    missing = [name for name, value in given.items() if not value]
    if len(missing) == len(given):
        return None
    if missing:
        [first, *_] = (f"{name}={value:.{_SHOWN}}" for name, value in given.items() if value)
        raise InputError(
            f"{ID}, {HOST} and {PORT} make one search of several processes; set all three, or "
            f"none. Received: {first}, and no {missing[0]}"
        )
    return Place(_name(given[ID]), given[HOST], _port(given[PORT]))


def _name(given: str) -> str:
    if CHIEF in given.lower() and CHIEF not in given:
        raise InputError(
            f"{ID} is `{CHIEF}` in one process, in small letters, and another name in each of the "
            f"others. Received: {ID}={given:.{_SHOWN}}"
        )
    return given


def _port(given: str) -> int:
    port = int(given) if re.fullmatch("[0-9]{1,5}", given, re.ASCII) else 0
    if not 0 < port <= _LAST_PORT:
        raise InputError(
            f"{PORT} must be a number from 1 to {_LAST_PORT}, a port of the chief's machine that "
            f"nobody else has. Received: {PORT}={given:.{_SHOWN}}"
        )
    return port


@contextlib.contextmanager
def unseen() -> Iterator[None]:
    """Hides the variables while the body runs: there KerasTuner's tuners work as if alone."""
    taken = {name: os.environ.pop(name) for name in (ID, HOST, PORT) if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(taken)


def listening(place: Place) -> socket.socket:
    """Listens where workers look for the chief.

    Args:
        place: That of this process.

    Raises:
        InputError: If that can't be.
    """
    try:
        [found, *_] = socket.getaddrinfo(place.host, place.port, type=socket.SOCK_STREAM)
        made = socket.create_server(found[4][:2], family=found[0])
    except OSError as error:
        raise InputError(
            f"{HOST} and {PORT} must be an address of the chief's machine, and a port that is free "
            f"there; name others. Received: {place.address} ({error.strerror or error})"
        ) from error
    # So that one that went away while it was to be accepted is nothing to wait for.
    made.setblocking(False)
    return made


def connected(place: Place) -> socket.socket | None:
    """A connection with the chief; none, while nobody listens there.

    Args:
        place: That of this process.
    """
    try:
        made = socket.create_connection((place.host, place.port), PATIENCE)
    except OSError:  # also while nobody knows the name
        return None
    # On one machine the system may give it the very port that it asks.
    if made.getsockname() == made.getpeername():
        made.close()
        time.sleep(0.1)
        return None
    return made


class Lines:
    """Messages of one connection.

    Args:
        link: The connection.
    """

    def __init__(self, link: socket.socket) -> None:
        self.link = link
        self._held = b""
        link.settimeout(PATIENCE)
        link.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in _SILENT.items():
            if hasattr(socket, name) and link.family != socket.AF_UNIX:  # not every system has all
                link.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)

    def send(self, message: dict[str, Any]) -> None:
        """Sends a message.

        Args:
            message: What JSON can say.

        Raises:
            OSError: If nobody takes it.
        """
        self.link.sendall(json.dumps(message).encode("utf-8") + b"\n")

    def arrived(self) -> list[dict[str, Any]]:
        """The messages that are whole, once something has come; waits for it.

        Raises:
            OSError: If nothing comes in time, the other side has gone, or it is no message.
        """
        found = self.link.recv(2**16)
        if not found:
            raise ConnectionResetError("the other side has gone")
        *whole, self._held = (self._held + found).split(b"\n")
        if len(self._held) > MOST_BYTES:
            raise ConnectionAbortedError("no message is so long")
        try:
            messages = [json.loads(each) for each in whole]
        except (ValueError, RecursionError) as error:
            raise ConnectionAbortedError("no message") from error
        if not all(isinstance(each, dict) for each in messages):
            raise ConnectionAbortedError("no message")
        return messages

    def answer(self) -> dict[str, Any]:
        """The one message that comes next.

        Raises:
            OSError: As `arrived`.
        """
        while not (found := self.arrived()):
            pass
        return found[0]

    def close(self) -> None:
        """Ends the connection."""
        self.link.close()
