"""A server from its first request to its last: what was accepted is answered before it ends."""

import contextlib
import logging
import socket
import threading
from collections.abc import Callable, Iterator

from tfhub_transfer.errors import InputError

try:
    import prometheus_client  # noqa: F401  what `metrics` imports, said with the others
    import uvicorn
    from starlette.types import ASGIApp
except ImportError as error:
    raise InputError(
        "serving needs what an extra holds: `pip install 'tfhub-transfer[serve]'`. "
        f"Received: an environment without {error.name}"
    ) from error

# Connections at once; each holds little, and those beyond are refused.
_MOST_CONNECTIONS = 1000
_MOST_WAITING = 2048


def listen(host: str, port: int) -> socket.socket:
    """A socket that is bound: before a model is loaded, which takes seconds.

    Args:
        host: An address of this machine, or a name of one.
        port: 0 for any that is free.

    Raises:
        InputError: If there is no such address, or somebody else has the port.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        found = socket.socket(family, kind, protocol)
    except (OSError, UnicodeError) as error:
        raise InputError(
            "`--host` is an address of this machine, such as 127.0.0.1 or 0.0.0.0. "
            f"Received: {host} ({error})"
        ) from error
    try:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind(address)
    except OSError as error:
        found.close()
        raise InputError(
            "can't listen there; name another `--port`, or 0 for any that is free. "
            f"Received: {host}:{port} ({error.strerror})"
        ) from error
    return found


def address_of(listening: socket.socket) -> str:
    """Where a browser finds the server.

    Args:
        listening: Its socket.
    """
    host, port = listening.getsockname()[:2]
    everywhere = host in ("0.0.0.0", "::")
    name = "localhost" if everywhere else f"[{host}]" if ":" in host else host
    return f"http://{name}:{port}"


@contextlib.contextmanager
def answering(
    app: ASGIApp, listening: socket.socket, seconds: float
) -> Iterator[Callable[[], None]]:
    """Answers while the body runs; then no new requests, and those under way to their end.

    Args:
        app: What answers.
        listening: A bound socket, which is closed at the end.
        seconds: How long requests under way may take to end.

    Yields:
        What waits until the server ends by itself, which it does only by a fault.
    """
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        lifespan="on",
        ws="none",
        proxy_headers=False,
        server_header=False,
        limit_concurrency=_MOST_CONNECTIONS,
        backlog=_MOST_WAITING,
        timeout_graceful_shutdown=max(1, round(seconds)),
    )
    server = uvicorn.Server(config)
    # Not `Thread.join`: when a signal cuts it short, Python 3.11 takes the thread for ended.
    ended = threading.Event()

    def run() -> None:
        try:
            server.run([listening])
        finally:
            ended.set()

    def wait() -> None:
        # In pieces: a signal is heard between them.
        while not ended.wait(1.0):
            pass

    # Beside the main thread, which signals reach: there they mean what they mean to any command.
    threading.Thread(target=run, name="server").start()
    try:
        while not (server.started or ended.wait(0.01)):
            pass
        yield wait
    finally:
        server.should_exit = True
        ended.wait()
        with contextlib.suppress(OSError):
            listening.close()
