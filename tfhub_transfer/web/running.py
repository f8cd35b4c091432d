"""A server from its first request to its last: what was accepted is answered before it ends."""

import contextlib
import logging
import socket
import threading
import time
from collections.abc import Callable

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


def serve(
    app: ASGIApp, listening: socket.socket, seconds: float, started: Callable[[], None]
) -> None:
    """Answers until a signal comes; then no new requests, and those under way to their end.

    Args:
        app: What answers.
        listening: A bound socket.
        seconds: How long requests under way may take to end.
        started: Is called once requests are answered.

    Raises:
        KeyboardInterrupt: Of the signal, once all is answered.
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
    # Beside the main thread, which signals reach: there they mean what they mean to any command.
    thread = threading.Thread(target=server.run, args=([listening],), name="server")
    thread.start()
    try:
        while thread.is_alive() and not server.started:
            time.sleep(0.01)
        if server.started:
            started()
        while thread.is_alive():
            thread.join(1.0)
    finally:
        server.should_exit = True
        thread.join()
        with contextlib.suppress(OSError):
            listening.close()
