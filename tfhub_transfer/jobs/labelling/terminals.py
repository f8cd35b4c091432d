"""What somebody types at a terminal, a key or a line at a time."""

import contextlib
import os
import select
import sys
import termios
import tty
from collections.abc import Iterator

from tfhub_transfer.errors import InputError

# More than a key sends that isn't a character, such as an arrow.
_MOST_OF_KEY = 16
_END, _ESCAPE = b"\x04", b"\x1b"


def require() -> None:
    """Refuses to ask where nobody could answer.

    Raises:
        InputError: If standard input or output is no terminal.
    """
    for name, stream in (("input", sys.stdin), ("output", sys.stdout)):
        if not stream.isatty():
            raise InputError(
                "labels are typed at a terminal; without one write texts to a file with "
                "`--format csv`, and read it back with `--answers`. "
                f"Received: standard {name}, which is no terminal"
            )


def forget() -> None:
    """Forgets what was typed before anything was shown to answer."""
    termios.tcflush(sys.stdin, termios.TCIFLUSH)


@contextlib.contextmanager
def by_keys(wanted: bool = True) -> Iterator[None]:
    """Input comes a key at a time, not shown, while the body runs; Ctrl-C works.

    Args:
        wanted: Whether it does; else a line at a time, as ever.
    """
    if not wanted:
        yield
        return
    before = termios.tcgetattr(sys.stdin)
    try:
        tty.setcbreak(sys.stdin)
        yield
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)


def key() -> str | None:
    """The next key, `by_keys`; `None` at the end of input.

    Of what is no character of ASCII, such as an arrow, nothing is told but that it was typed.
    """
    descriptor = sys.stdin.fileno()
    read = os.read(descriptor, 1)
    if read == _ESCAPE or read > b"\x7f":
        # The rest of it is there already, and no other key.
        if select.select([descriptor], [], [], 0)[0]:
            os.read(descriptor, _MOST_OF_KEY)
        return ""
    return None if read in (b"", _END) else read.decode("ascii")


def line() -> str | None:
    """The next line; `None` at the end of input."""
    read = sys.stdin.readline()
    return read.rstrip("\n") if read else None
