"""A training in several processes: the chief writes, the others train in step, all end together."""

import contextlib
import dataclasses
import functools
import threading
from collections.abc import Callable, Iterator
from typing import TypeAlias

import tensorflow as tf

from tfhub_transfer import progress
from tfhub_transfer.errors import Ended, InputError
from tfhub_transfer.jobs.options.training import TrainJob
from tfhub_transfer.jobs.processes import launching
from tfhub_transfer.runtime import cluster
from tfhub_transfer.storage import scratch
from tfhub_transfer.training.history import History

Fit: TypeAlias = Callable[..., History]
Wrap: TypeAlias = Callable[[Fit], Fit]

GONE = "another process of this training has ended; start all of them again, as before, to go on"
# Between two looks at the others, and how long each has for an answer; two misses are the end.
_EVERY, _PATIENCE, _MISSES = 4.0, 4.0, 2


@contextlib.contextmanager
def in_step(job: TrainJob) -> Iterator[tuple[TrainJob, Wrap]]:
    """What this process is to do of a training; it ends with the others.

    Args:
        job: The training, as all processes were told it.

    Returns:
        The training as it is of this process, and what makes of a function that trains one after
        which the chief needs the others no longer.

    Raises:
        InputError: If it can't be done by several.
        Ended: If another process ends before.
    """
    if job.workers > 1:
        raise InputError(
            "processes are started by the command `tfhub-transfer train --workers N`, not from "
            f"Python; see docs/scaling.md. Received: workers={job.workers}"
        )
    place = cluster.place()
    if place.count == 1:
        yield job, lambda fit: fit
        return
    launching.require_shareable(job, place.count)
    with _noticing() as alone, contextlib.ExitStack() as own:
        if place.index:
            own.enter_context(progress.shown(False))
            folder = own.enter_context(scratch.temporary())
            job = dataclasses.replace(
                job, output=folder / "output", log_dir=None, resume="auto", overwrite=False
            )
        yield job, lambda fit: fit if place.index else _then(fit, alone)
        if place.index:
            cluster.together()
    if not place.index:
        _part()


def _then(fit: Fit, alone: Callable[[], None]) -> Fit:
    @functools.wraps(fit)
    def done(*given: object, **named: object) -> History:
        found = fit(*given, **named)
        alone()
        launching.say_alone()
        return found

    return done


@contextlib.contextmanager
def _noticing() -> Iterator[Callable[[], None]]:
    """The end of another process ends this one, whatever it does, until it needs none of them."""
    over = threading.Event()
    # The main thread may wait for the others, where no signal reaches it.
    _start(over, functools.partial(launching.end, GONE))
    try:
        yield over.set
    except tf.errors.OpError as error:
        if _all_answer():
            raise
        raise Ended(launching.TRY_AGAIN, GONE) from error
    finally:
        over.set()


def _part() -> None:
    """Waits until the others are done too, if they are still there: all is written."""
    over = threading.Event()
    _start(over, cluster.give_up)
    with contextlib.suppress(tf.errors.OpError):
        cluster.together()
    over.set()


def _start(over: threading.Event, gone: Callable[[], None]) -> None:
    threading.Thread(target=_watch, args=(over, gone), name="watch", daemon=True).start()


def _watch(over: threading.Event, gone: Callable[[], None]) -> None:
    """Looks after the others until it is over, or one of them has gone."""
    misses = 0
    while not over.wait(_EVERY):
        misses = 0 if _all_answer() else misses + 1
        if misses == _MISSES and not over.is_set():
            gone()
            return


def _all_answer() -> bool:
    return all(cluster.others_answer(_PATIENCE))
