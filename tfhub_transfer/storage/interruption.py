"""Signals that end a run: each of the three as Ctrl-C, and the second at once."""

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator
from typing import Any

from tfhub_transfer.storage import scratch

# What a terminal, a scheduler and a closed connection send.
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupted(KeyboardInterrupt):
    """A signal that asks the process to end.

    Attributes:
        number: The signal's number.
    """

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


class _State:
    """What came so far; signals reach the main thread only, so nobody else changes it."""

    received: int | None = None
    held = 0


@contextlib.contextmanager
def handled() -> Iterator[None]:
    """Turns SIGINT, SIGTERM and SIGHUP into `Interrupted` while the body runs.

    A second signal ends the process at once, with status 128 + its number, after what is half
    written was removed. Signals that the process was told to ignore, as `nohup` does with SIGHUP,
    stay ignored. Outside of the main thread nothing changes.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    usual = {number: signal.getsignal(number) for number in _SIGNALS}
    _State.received = None
    try:
        for number, handler in usual.items():
            if handler is not signal.SIG_IGN:
                signal.signal(number, _handle)
        yield
    finally:
        for number, handler in usual.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)


def _handle(number: int, frame: Any) -> None:
    if _State.received is not None:
        scratch.discard_all()
        sys.stderr.flush()
        os._exit(128 + number)
    _State.received = number
    if not _State.held:
        raise Interrupted(number)


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
