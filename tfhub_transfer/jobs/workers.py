"""A training in several processes: the chief writes, the others train in step, all end together."""

import contextlib
import dataclasses
import os
import sys
import threading
from collections.abc import Iterator

import tensorflow as tf

from tfhub_transfer import progress
from tfhub_transfer.errors import Ended, InputError
from tfhub_transfer.jobs.launching import TRY_AGAIN
from tfhub_transfer.jobs.training_options import TrainJob
from tfhub_transfer.runtime import cluster
from tfhub_transfer.storage import scratch

GONE = "another process of this training has ended; start all of them again, as before, to go on"
# Between two looks at the others, and how long each has for an answer; two misses are the end.
_EVERY, _PATIENCE, _MISSES = 4.0, 4.0, 2


@contextlib.contextmanager
def in_step(job: TrainJob) -> Iterator[TrainJob]:
    """Gives what this process is to do of a training, and ends with the others.

    Args:
        job: The training, as all processes were told it.

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
        yield job
        return
    if job.alone:
        raise InputError(
            "`--alone` trains one task after the other, in one process; leave it out, or train "
            f"without others. Received: --alone and {place.count} processes"
        )
    with _noticing(), contextlib.ExitStack() as own:
        if place.index:
            own.enter_context(progress.shown(False))
            folder = own.enter_context(scratch.temporary())
            job = dataclasses.replace(
                job, output=folder / "output", log_dir=None, resume="auto", overwrite=False
            )
        yield job
    _leave(place)


@contextlib.contextmanager
def _noticing() -> Iterator[None]:
    """While the body runs, the end of another process ends this one, whatever it does."""
    over = threading.Event()
    watch = threading.Thread(target=_watch, args=(over,), name="watch", daemon=True)
    watch.start()
    try:
        yield
    except tf.errors.OpError as error:
        if _all_answer():
            raise
        raise Ended(TRY_AGAIN, GONE) from error
    finally:
        over.set()


def _watch(over: threading.Event) -> None:
    misses = 0
    while not over.wait(_EVERY):
        misses = 0 if _all_answer() else misses + 1
        if misses == _MISSES and not over.is_set():
            # The main thread may wait for the others, where no signal reaches it.
            scratch.discard_all()
            print(f"tfhub-transfer: error: {GONE}", file=sys.stderr, flush=True)
            os._exit(TRY_AGAIN)


def _all_answer() -> bool:
    return all(cluster.others_answer(_PATIENCE))


def _leave(place: cluster.Place) -> None:
    """Waits for the end of all: of the chief, that is, which still writes."""
    try:
        cluster.together()
    except tf.errors.OpError as error:
        if place.index:
            raise Ended(TRY_AGAIN, GONE) from error
