"""Several processes on this machine that do one training, or one search, as machines would.

Only the standard library is imported: the processes import TensorFlow, this one needs none of it.
"""

import contextlib
import fcntl
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, TypeAlias

from tfhub_transfer.errors import Ended, InputError, visible
from tfhub_transfer.jobs.processes import roles
from tfhub_transfer.storage import scratch

VARIABLE = "TF_CONFIG"
# In a process that this one started: the number of its end of a pair of sockets. It sees there that
# the other end has gone, and says there that it needs no other process any more.
LINK = "TFHUB_TRANSFER_LAUNCHER"
# Seconds that the others have to end after the first one did; by themselves, then when told to. So
# has the first one, after which another ended.
_PATIENCE, _MERCY = 25.0, 5.0
_LINES = 5
# That a last line has to be written, which nobody may read.
_SAYING = 2.0
# Of a process that ended because another one did: as `sysexits.h` calls it, a failure that the same
# command may not meet again.
TRY_AGAIN = 75
_KILLED = "another process was ended by signal {}; start the command again, as before, to go on"
LEFT = "the command that started this process has ended; start it again, as before, to go on"


def asked(job: object) -> bool:
    """Whether a job is to be done by several processes that this one starts.

    Args:
        job: The options of a command.
    """
    return getattr(job, "workers", 1) > 1


def require_shareable(job: object, count: int) -> None:
    """Refuses, before any of them waits for another, what several processes can't do as one.

    Args:
        job: The options of a command.
        count: How many processes there are to be.

    Raises:
        InputError: If it is a job for one of them.
    """
    received = f"{count} processes" if count > 1 else "--strategy multiworker"
    if not hasattr(job, "workers"):
        raise InputError(
            f"`distill` works in one process; unset {VARIABLE}, and leave `--strategy multiworker` "
            f"out. Received: {received}"
        )
    if getattr(job, "alone", False):
        raise InputError(
            "`--alone` trains one task after the other, in one process; leave it out, or train "
            f"without others. Received: --alone and {received}"
        )


def launch(job: Any, words: Sequence[str]) -> int:
    """Starts the processes, passes on what the first says, and ends all of them.

    Args:
        job: The options.
        words: The command line that they are from.

    Returns:
        The exit status of the first process; of another one that failed, if the first had to be
        ended after it.

    Raises:
        InputError: If it is told of other processes too, or is for one alone.
        Ended: If a signal ended the first, which said so.
    """
    if hasattr(job, "tuner"):
        return _launched(words, _of_search(job.workers), needs_all=False)
    count, strategy = job.workers, job.strategy
    if strategy not in ("auto", "multiworker"):
        raise InputError(
            "`--workers` makes processes that train as one, by the strategy multiworker; leave "
            f"`--strategy` out. Received: --workers {count} --strategy {strategy}"
        )
    _require_unset(VARIABLE, "a training", count)
    require_shareable(job, count)
    threads = _threads(count)
    given = [{VARIABLE: config} for config in _configs(count)]
    return _launched(words, [(each, threads) for each in given], needs_all=True)


def _require_unset(variable: str, what: str, count: int) -> None:
    if os.environ.get(variable, "").strip():
        raise InputError(
            f"{variable} names the processes of {what} already; leave `--workers` out, or "
            f"unset it. Received: --workers {count} and {variable}={os.environ[variable]}"
        )


# What a process is told beside what this one was, and of threads if it needn't say that itself.
_Given: TypeAlias = tuple[Mapping[str, str], Mapping[str, str]]


def _of_search(count: int) -> list[_Given]:
    """A chief, who has all threads in the end and none meanwhile, and its workers."""
    for name in (roles.ID, roles.HOST, roles.PORT):
        _require_unset(name, "a search", count)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        host, port = taken.getsockname()
    names = [roles.CHIEF, *(f"worker{n}" for n in range(1, count + 1))]
    place = {roles.HOST: host, roles.PORT: str(port)}
    given = [{**place, roles.ID: name} for name in names]
    return [(each, _threads(count) if number else {}) for number, each in enumerate(given)]


def _threads(count: int) -> dict[str, str]:
    """The variables that share out this machine's cores."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    threads = str(max(1, (cores or 1) // count))
    return dict.fromkeys(("TF_NUM_INTRAOP_THREADS", "OMP_NUM_THREADS"), threads)


def _launched(words: Sequence[str], given: Sequence[_Given], needs_all: bool) -> int:
    """Starts a process for each of these, and waits for the end of the first."""
    with tempfile.TemporaryFile() as errors, contextlib.ExitStack() as held, _ended() as started:
        links = []
        for index, each in enumerate(given):
            own, its = map(held.enter_context, socket.socketpair())
            started.append(_start(words, each, errors if index else None, its))
            its.close()
            links.append(own)
        status, failed = _followed(started, links[0], needs_all)
        others = [each.poll() for each in started[1:]]
        if any(other not in (0, None, TRY_AGAIN) for other in others):
            # What the first found wrong itself, the others said too.
            failed = failed and status not in (0, 2)
            if failed or status == TRY_AGAIN:
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
    words: Sequence[str], told: _Given, errors: IO[bytes] | None, link: socket.socket
) -> subprocess.Popen[bytes]:
    """A process of them; the first speaks for all."""
    own, shared = told
    given = {**own, "PYTHONPATH": _with_package(), "PYTHONSAFEPATH": "1"}
    given[LINK] = str(link.fileno())
    return subprocess.Popen(
        [sys.executable, "-m", "tfhub_transfer", *words, "--workers", "1"],
        env={**shared, **os.environ, **given},
        stdin=subprocess.DEVNULL,
        stdout=None if errors is None else subprocess.DEVNULL,
        stderr=errors,
        pass_fds=[link.fileno()],
        # Ctrl-C reaches this process alone, which passes it on.
        start_new_session=True,
    )


def _with_package() -> str:
    """Where they find this package."""
    own = str(Path(__file__).resolve().parents[2])
    return os.pathsep.join([own, *filter(None, [os.environ.get("PYTHONPATH")])])


def _followed(
    started: Sequence[subprocess.Popen[bytes]], link: socket.socket, needs_all: bool
) -> tuple[int, bool]:
    """Waits for the end of the first, which comes soon after that of others that it needs.

    Returns:
        The exit status, and whether another one failed before.
    """
    first, *others = started
    ways = iter([first.terminate, first.kill])
    end, ended = None, False
    while first.poll() is None:
        # A search goes on with any worker that is left.
        gone = [each for each in others if (each.poll() if needs_all else each.poll() is not None)]
        if end is None and (gone if needs_all else len(gone) == len(others)):
            end = time.monotonic() + _PATIENCE
        if end is not None and time.monotonic() > end and not _is_alone(link):
            next(ways, first.kill)()
            end, ended = time.monotonic() + _PATIENCE, True
        time.sleep(0.1)
    by_signal = first.returncode < 0 or first.returncode == 128 + signal.SIGTERM
    status = _status_of(others, first.returncode) if ended and by_signal else first.returncode
    # With a mistake of the user there is nothing that they could add.
    _wait(others, {0: _PATIENCE, 2: 0.0}.get(status, 2 * _MERCY))
    return 128 - status if status < 0 else status, end is not None


def _status_of(others: Sequence[subprocess.Popen[bytes]], own: int) -> int:
    """That of the first one that failed; killed, that the same command may be tried again.

    Args:
        others: Those that ended before.
        own: The status where none of them failed: workers may have done all that there was to do.
    """
    status = next((each.returncode for each in others if each.poll()), None)
    if status is None or status > 0:
        return int(own if status is None else status)
    print(f"tfhub-transfer: {_KILLED.format(-status)}", file=sys.stderr)
    return TRY_AGAIN


def _is_alone(link: socket.socket) -> bool:
    """Whether the process at the other end has said that it needs no others."""
    try:
        return bool(link.recv(1, socket.MSG_DONTWAIT | socket.MSG_PEEK))
    except OSError:  # nothing said, or gone
        return False


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
            if each.poll() == 128 + number:  # it has said so
                raise Ended(128 + number, "") from error
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


# In a process that was started so -----------------------------------------------------------------

# Its end of the pair.
_held: list[socket.socket] = []


def heed() -> None:
    """Lets this process end with the one that started it so, if one did, however that ended."""
    given = os.environ.pop(LINK, "")
    if not given or _held:
        return
    try:
        link = socket.socket(fileno=int(given))
    except (ValueError, OSError):  # the variable is somebody else's
        return
    # It isn't for processes that this one starts, which would hold it open.
    link.set_inheritable(False)
    _held.append(link)
    threading.Thread(target=_heed, args=(link,), name="launcher", daemon=True).start()


def _heed(link: socket.socket) -> None:
    # Nothing is ever sent this way: there is something to read at the end. While a thread waits in
    # `recv`, Linux sends no SIGIO (see `bound`).
    select.select([link], [], [])
    end(LEFT)


@contextlib.contextmanager
def bound() -> Iterator[None]:
    """As `heed`, while the body does a single step, in which no other thread of Python's runs.

    The system itself sends SIGIO then, which ends the process.
    """
    if not _held:
        yield
        return
    link, usual = _held[0], fcntl.fcntl(_held[0], fcntl.F_GETFL)
    fcntl.fcntl(link, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(link, fcntl.F_SETFL, usual | os.O_ASYNC)
    try:
        if select.select([link], [], [], 0)[0]:  # it came before
            end(LEFT)
        yield
    finally:
        fcntl.fcntl(link, fcntl.F_SETFL, usual)


def say_alone() -> None:
    """Tells the process that started this one that it needs the others no more."""
    for link in _held:
        with contextlib.suppress(OSError):
            link.send(b".")


def end(message: str) -> None:
    """Ends this process at once, with `TRY_AGAIN`, from any thread and whatever the others do.

    Args:
        message: What to say before, if that can be said.
    """
    try:
        # The main thread may hold the stream, and wait for who reads it.
        last = threading.Thread(target=_say, args=(message,), daemon=True)
        last.start()
        last.join(_SAYING)
        scratch.discard_all()
    finally:
        os._exit(TRY_AGAIN)


def _say(message: str) -> None:
    print(f"tfhub-transfer: error: {message}", file=sys.stderr, flush=True)
