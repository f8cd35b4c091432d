"""Waiting until all processes of a cluster are there, where signals are still heard.

TensorFlow's own waiting is a single step, in which nothing of Python's runs, and it takes SIGTERM
for news of its own and goes on (tsl's `SigtermNotifier`). So it begins only when nobody is missed.
"""

import contextlib
import socket
import time
from collections.abc import Sequence

from tfhub_transfer.errors import InputError

# Seconds that one has to answer, and between two looks at those that didn't.
_PATIENCE, _EVERY = 1.0, 0.2
# Of those that ask at a time.
_MOST = 4096


def wait(own: str, others: Sequence[str]) -> None:
    """Returns once somebody listens at all addresses: a process that waits too, or is past that.

    Args:
        own: `host:port` of this process, whose port is listened at meanwhile and free afterwards.
        others: Those of the others.

    Raises:
        InputError: If something else listens at the port of this one.
    """
    port = int(own.rpartition(":")[2])
    try:
        listening = _listen(port)
    except OSError as error:
        raise InputError(
            "the port of this process must be free; end what listens there, name another one, or "
            f"give each process an index of its own. Received: {own} ({error.strerror or error})"
        ) from error
    missed = list(others)
    # Who asks is never answered, so that nothing holds the port when it is closed.
    with listening:
        while missed:
            missed = [each for each in missed if not _listens(each)]
            if missed:
                time.sleep(_EVERY)


def _listen(port: int) -> socket.socket:
    """At all addresses of this machine, as TensorFlow does."""
    if socket.has_dualstack_ipv6():
        with contextlib.suppress(OSError):  # compiled in, but turned off
            return socket.create_server(
                ("", port), family=socket.AF_INET6, backlog=_MOST, dualstack_ipv6=True
            )
    return socket.create_server(("", port), backlog=_MOST)


def _listens(address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), _PATIENCE) as asked:
            # On one machine the system may give it the very port that it asks.
            return asked.getsockname() != asked.getpeername()
    except OSError:  # also while nobody knows the name
        return False
