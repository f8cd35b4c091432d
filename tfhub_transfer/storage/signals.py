"""Signals that end a run: each of the three as Ctrl-C, and the second at once."""

import atexit
import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import TypeAlias

from tfhub_transfer.storage import scratch

# What a terminal, a scheduler and a closed connection send.
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# As Python has them; `None` is one that wasn't installed from Python.
_Handler: TypeAlias = Callable[[int, FrameType | None], object] | int | None


class Interrupted(KeyboardInterrupt):
    """A signal that asks the process to end.

    Attributes:
        number: The signal's number.
    """

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


def exit_status(number: int) -> int:
    """That of a process that a signal ended, as shells give it: 128 and the signal's number."""
    return 128 + number


class _State:
    """What came so far; signals reach the main thread only, so nobody else changes it."""

    received: int | None = None
    held = 0
    lasting = False


def to_the_end() -> None:
    """Does what `handled` does until the process has ended: for a process that is one command.

    To be called before anything else is imported, so that what it does at exit comes last.
    """
    _State.lasting = True
    _install()
    atexit.register(_end)


def _end() -> None:
    """Without the system's own end of a process in which signals still kill, in any order."""
    if _State.received is not None:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError):
                stream.flush()
        scratch.discard_all()
        os._exit(exit_status(_State.received))


def _install() -> dict[int, _Handler]:
    """Handles the signals that aren't ignored; what handled them before."""
    usual: dict[int, _Handler] = {number: signal.getsignal(number) for number in _SIGNALS}
    for number, handler in usual.items():
        if handler is not signal.SIG_IGN:
            signal.signal(number, _handle)
    return usual


@contextlib.contextmanager
def handled() -> Iterator[None]:
    """Turns SIGINT, SIGTERM and SIGHUP into `Interrupted` while the body runs.

    A second signal ends the process at once, with status 128 + its number, after what is half
    written was removed. Signals that the process was told to ignore, as `nohup` does with SIGHUP,
    stay ignored. Outside of the main thread nothing changes.
    """
    if _State.lasting or threading.current_thread() is not threading.main_thread():
        yield
        return
    usual: dict[int, _Handler] = {}
    _State.received = None
    try:
        usual = _install()
        yield
    finally:
        for number, handler in usual.items():
            # What wasn't installed from Python can't be put back from there.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        _State.received = None


def _handle(number: int, frame: FrameType | None) -> None:
    if _State.received is not None:
        scratch.discard_all()
        sys.stderr.flush()
        # Whoever asks twice doesn't wait for what `sys.exit` would still do.
        os._exit(exit_status(number))
    _State.received = number
    if not _State.held:
        raise Interrupted(number)


@contextlib.contextmanager
def told_apart() -> Iterator[None]:
    """What fails in the body after a signal came has failed of the signal: `Interrupted`.

    Libraries in other languages that call Python back make errors of their own of what it raises.
    """
    try:
        yield
    except Exception as error:
        if _State.received is None:
            raise
        raise Interrupted(_State.received) from error


def pending() -> int | None:
    """The number of a signal that came and waits, as of `held`; `None` if there is none."""
    return _State.received


@contextlib.contextmanager
def held() -> Iterator[None]:
    """Keeps a first signal waiting until the body has ended: for moves that belong together."""
    before = _State.received
    _State.held += 1
    try:
        yield
    finally:
        _State.held -= 1
        if _State.received != before and not _State.held:
            raise Interrupted(_State.received or signal.SIGINT)
