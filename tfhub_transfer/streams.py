"""Standard streams that a command writes to while its work is elsewhere."""

import contextlib
import os
import sys
from collections.abc import Iterator
from typing import TextIO


class _Regardless:
    """A stream that what can't be written to it is lost on, and nothing else.

    Whoever read it has gone, as `head` does once it has enough; or a log's disk is full.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> object:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        with self._tried():
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with self._tried():
            self._stream.flush()

    @contextlib.contextmanager
    def _tried(self) -> Iterator[None]:
        try:
            yield
        except OSError:
            with contextlib.suppress(OSError, ValueError):  # of streams that are no files
                # Also what waits to be written, which Python would complain of at its exit.
                nowhere = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, self._stream.fileno())
                os.close(nowhere)


@contextlib.contextmanager
def regardless(name: str) -> Iterator[None]:
    """While it lasts, a standard stream that can no longer be written to ends nothing.

    Args:
        name: `"stdout"` or `"stderr"`.
    """
    usual = getattr(sys, name)
    if usual is None:
        yield
        return
    wrapped = _Regardless(usual)
    setattr(sys, name, wrapped)
    try:
        yield
        wrapped.flush()
    finally:
        # Unless somebody has put another one there meanwhile.
        if getattr(sys, name) is wrapped:
            setattr(sys, name, usual)
