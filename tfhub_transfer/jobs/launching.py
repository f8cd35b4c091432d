"""Several processes on this machine that do one training, as several machines would.

Only the standard library is imported: the processes import TensorFlow, this one needs none of it.
"""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any

from tfhub_transfer.errors import InputError, visible

VARIABLE = "TF_CONFIG"
# Seconds that the others have to end after the first one did; by themselves, then when told to.
_PATIENCE, _MERCY = 30.0, 5.0
_LINES = 5
# Of a process that ended because another one did: as `sysexits.h` calls it, a failure that the same
# command may not meet again.
TRY_AGAIN = 75


def asked(job: object) -> bool:
    """Whether a job is to be done by several processes that this one starts.

    Args:
        job: The options of a command.
    """
    return getattr(job, "workers", 1) > 1


def launch(job: Any, words: Sequence[str]) -> int:
    """Starts the processes, passes on what the first says, and ends all of them.

    Args:
        job: The options.
        words: The command line that they are from.

    Returns:
        The exit status of the first process.

    Raises:
        InputError: If it is told of other processes too.
    """
    count, strategy = job.workers, job.strategy
    if strategy not in ("auto", "multiworker"):
        raise InputError(
            "`--workers` makes processes that train as one, by the strategy multiworker; leave "
            f"`--strategy` out. Received: --workers {count} --strategy {strategy}"
        )
    if os.environ.get(VARIABLE, "").strip():
        raise InputError(
            f"{VARIABLE} names the processes of a training already; leave `--workers` out, or "
            f"unset it. Received: --workers {count} and {VARIABLE}={os.environ[VARIABLE]}"
        )
    with tempfile.TemporaryFile() as errors, _ended() as started:
        for index, config in enumerate(_configs(count)):
            started.append(_start(words, config, count, errors if index else None))
        status = _followed(started)
        others = [each.poll() for each in started[1:]]
        if status == TRY_AGAIN and any(other not in (0, None, TRY_AGAIN) for other in others):
            _tell(errors)
    return status


def _configs(count: int) -> list[str]:
    """The variable of each process, with ports that are free."""
    with contextlib.ExitStack() as held:
        taken = [held.enter_context(socket.socket()) for _ in range(count)]
        for each in taken:
            each.bind(("127.0.0.1", 0))
        addresses = [f"127.0.0.1:{each.getsockname()[1]}" for each in taken]
    cluster = {"worker": addresses}
    return [
        json.dumps({"cluster": cluster, "task": {"type": "worker", "index": index}})
        for index in range(count)
    ]


def _start(
    words: Sequence[str], config: str, count: int, errors: IO[bytes] | None
) -> subprocess.Popen[bytes]:
    """A process of them; the first speaks for all."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    threads = str(max(1, (cores or 1) // count))
    given = {VARIABLE: config, "PYTHONPATH": _with_package(), "PYTHONSAFEPATH": "1"}
    shared = dict.fromkeys(("TF_NUM_INTRAOP_THREADS", "OMP_NUM_THREADS"), threads)
    return subprocess.Popen(
        [sys.executable, "-m", "tfhub_transfer", *words, "--workers", "1"],
        env={**shared, **os.environ, **given},
        stdin=subprocess.DEVNULL,
        stdout=None if errors is None else subprocess.DEVNULL,
        stderr=errors,
        # Ctrl-C reaches this process alone, which passes it on.
        start_new_session=True,
    )


def _with_package() -> str:
    """Where they find this package."""
    own = str(Path(__file__).resolve().parents[2])
    return os.pathsep.join([own, *filter(None, [os.environ.get("PYTHONPATH")])])


def _followed(started: Sequence[subprocess.Popen[bytes]]) -> int:
    """Waits for the end of the first, which comes soon after that of another; its exit status."""
    first, *others = started
    end = None
    while first.poll() is None:
        if end is None and any(other.poll() for other in others):
            end = time.monotonic() + _PATIENCE
        if end is not None and time.monotonic() > end:
            first.terminate()
            end = time.monotonic() + _PATIENCE
        time.sleep(0.1)
    status = first.returncode
    _wait(others, _PATIENCE if status == 0 else 2 * _MERCY)
    return 128 - status if status < 0 else status


@contextlib.contextmanager
def _ended() -> Iterator[list[subprocess.Popen[bytes]]]:
    """Processes, which have ended when the body has; a signal goes to the first of them."""
    started: list[subprocess.Popen[bytes]] = []
    try:
        yield started
    except KeyboardInterrupt as error:
        number = getattr(error, "number", signal.SIGINT)
        for each in started[:1]:  # which notes how far it is while the others are there
            each.send_signal(number)
            _wait([each], _PATIENCE)
        raise
    finally:
        for each in started:
            if each.poll() is None:
                each.terminate()
        _wait(started, _MERCY)
        for each in started:
            if each.poll() is None:
                each.kill()
                each.wait()


def _wait(some: Sequence[subprocess.Popen[bytes]], seconds: float) -> None:
    end = time.monotonic() + seconds
    for each in some:
        with contextlib.suppress(subprocess.TimeoutExpired):
            each.wait(max(0.0, end - time.monotonic()))


def _tell(errors: IO[bytes]) -> None:
    """Says what another process said last, where the first only knows that it ended."""
    errors.seek(0)
    lines = errors.read().decode("utf-8", "replace").splitlines()
    for line in lines[-_LINES:]:
        print(visible(line), file=sys.stderr)
