"""The command line: parses and calls, and holds no logic; `jobs` has the commands.

Only the standard library is imported here at module level, so that `--help` answers at once;
TensorFlow is imported when a command needs it, with its start-up noise silenced.
"""

import contextlib
import importlib
import os
import signal
import sys
import warnings
from collections.abc import Iterator, Sequence

from tfhub_transfer import __version__, backend, progress, streams, usage
from tfhub_transfer.errors import Ended, InputError, one_line
from tfhub_transfer.jobs.commands import Command
from tfhub_transfer.jobs.options.training import Devices
from tfhub_transfer.jobs.processes import launching
from tfhub_transfer.storage import signals

# Of other processes, in characters.
_MOST_ADDRESSES = 200


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command.

    Args:
        arguments: Words of the command line; those of the process if not given.

    Returns:
        The exit status: 0 done, 2 the user's mistake, 128 + its number after a signal, also the
        one that others get whose answers go into a closed pipe (141, as in `predict | head`), 75
        where another process of the same training ended, so that all may be started again, 1
        anything else. What writes files does so to the end, whether or not what it says is read.
    """
    with streams.regardless("stderr"), progress.shown(True):
        return _status(arguments)


def _status(arguments: Sequence[str] | None) -> int:
    try:
        with signals.handled(), _plain_warnings():
            lost = _standard_streams()
            words = sys.argv[1:] if arguments is None else arguments
            words = [_expanded(word) for word in words]
            command, job = usage.read(_parser(), words)
            if launching.asked(job):
                return launching.launch(job, words)
            launching.heed()
            if not command.answers_on_stdout(job):
                with streams.regardless("stdout"), signals.told_apart():
                    _run(command, job)
                return 0
            if lost:
                raise InputError("nobody could read the answers: standard output is closed")
            with signals.told_apart():
                _run(command, job)
            # Here, where a pipe that nobody reads is still told apart from other failures.
            sys.stdout.flush()
    except (InputError, OSError) as error:
        if _nobody_reads(error):
            return signals.exit_status(signal.SIGPIPE)
        print(f"tfhub-transfer: error: {one_line(str(error))}", file=sys.stderr)
        return 2
    except Ended as error:
        if error.message:
            print(f"tfhub-transfer: error: {error}", file=sys.stderr)
        return error.status
    except KeyboardInterrupt as error:
        print("tfhub-transfer: interrupted", file=sys.stderr)
        return signals.exit_status(getattr(error, "number", signal.SIGINT))
    except Exception:  # a bug: the traceback is what a report of it needs
        import traceback

        traceback.print_exc()
        return 1
    return 0


@contextlib.contextmanager
def _plain_warnings() -> Iterator[None]:
    """Prints a warning as one line, without the line of code that it comes from."""
    usual = warnings.formatwarning
    warnings.formatwarning = _as_line
    try:
        yield
    finally:
        warnings.formatwarning = usual


def _as_line(message: Warning | str, *place: object, **more: object) -> str:
    return f"tfhub-transfer: warning: {one_line(str(message))}\n"


def _expanded(word: str) -> str:
    """`--output=~/x` as `--output ~/x`: shells leave the first, and a folder `~` would be made."""
    option, equals, value = word.partition("=")
    if option.startswith("--") and value.startswith("~/"):
        return f"{option}{equals}{os.path.expanduser(value)}"
    return word


def _standard_streams() -> bool:
    """Makes sure that there are three; says whether standard output was closed.

    A file that is opened next would get the number of one that is closed, and whatever is printed.
    """
    lost = sys.stdout is None
    while (opened := os.open(os.devnull, os.O_RDWR)) < 3:
        pass
    os.close(opened)
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115  it stays open
    return lost


def _nobody_reads(error: Exception) -> bool:
    """Whether who read standard output has gone, as `head` does once it has enough.

    Other programs die of the signal then. Python ignores it and would complain at its exit about
    what is still to be written; that goes nowhere now.
    """
    if not isinstance(error, BrokenPipeError):
        return False
    try:
        number = sys.stdout.fileno()
    except (OSError, ValueError):
        return False
    import select

    state = select.poll()
    state.register(number, select.POLLOUT)
    if not any(event & select.POLLERR for _, event in state.poll(0)):
        return False
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, number)
    os.close(nowhere)
    return True


def _parser() -> usage.Parser:
    return usage.parser(__version__)


def _run(command: Command, job: object) -> None:
    """Imports what runs a command, and calls it."""
    module, _, name = command.run.rpartition(".")
    with _tensorflow(job) if command.tensorflow else contextlib.nullcontext():
        room = importlib.import_module(f"tfhub_transfer.jobs.{module}")
    getattr(room, name)(job)


@contextlib.contextmanager
def _tensorflow(job: object) -> Iterator[None]:
    """Around the import of what needs it; several processes meet before it does anything."""
    # Of other commands an option of this name may be another thing.
    strategy = job.strategy if isinstance(job, Devices) else "none"
    with progress.stage("Starting TensorFlow", final=False):
        with _quiet():
            yield
            from tfhub_transfer.runtime import machine
        others = machine.to_meet(strategy)
        if others or strategy == "multiworker":
            launching.require_shareable(job, len(others) + 1)
        if others:
            count = f"{len(others)} other process{'es' if len(others) > 1 else ''}"
            where = one_line(", ".join(others), _MOST_ADDRESSES)
            print(f"tfhub-transfer: waiting for {count} at {where}", file=sys.stderr, flush=True)
        with _quiet(), launching.bound():
            machine.start(strategy)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silences what TensorFlow's C++ side prints while it starts, before it can be configured."""
    import logging

    backend.require_tensorflow()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    sys.stderr.flush()
    # The descriptor itself, which C++ writes to without a look at `sys.stderr`.
    saved = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
        os.close(nowhere)
        logging.getLogger("tensorflow").setLevel(logging.ERROR)
