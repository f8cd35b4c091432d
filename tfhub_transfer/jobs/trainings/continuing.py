"""Trainings by command that go on where they were interrupted."""

import contextlib
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from tfhub_transfer.errors import visible
from tfhub_transfer.jobs.folders import INTERRUPTED_FILE
from tfhub_transfer.jobs.options.training import TrainJob
from tfhub_transfer.models.encoding import RECORD_FILE
from tfhub_transfer.storage.marks import MARK, is_passed
from tfhub_transfer.storage.notes import Lasting, of_output
from tfhub_transfer.training.checkpoints import Checkpoint

# What changes no weight; or is known better by what is read there: texts, weights of an encoder.
_BESIDE = {
    *("output", "overwrite", "resume", "checkpoint_minutes", "alone", "trust_code", "log_dir"),
    *("workers", "slice", "learning_curve"),
    *("data", "validation", "test", "encoder", "preprocessor", "teachers", "unlabelled"),
    "descriptions",
}


@contextlib.contextmanager
def noted(job: TrainJob, arguments: Mapping[str, object]) -> Iterator[Checkpoint]:
    """The notes of a training, beside its output; once the body is done they are gone.

    Args:
        job: The training.
        arguments: What it was told, by the names of its options.

    Raises:
        InputError: If another process trains there, or it has to go on and can't.
    """
    facts = {
        f"--{name.replace('_', '-')}": value
        for name, value in arguments.items()
        if name not in _BESIDE
    }
    folder = Lasting(of_output(job.output), ours=True)
    notes = None
    try:
        notes = Checkpoint(folder, job.resume, job.checkpoint_minutes, facts)
        yield notes
        folder.discard()
    finally:
        goes_on = notes is not None and notes.goes_on and not folder.is_empty
        folder.release()
        if goes_on:
            how = " without `--resume never`" if job.resume == "never" else ""
            said = f"the same command{how} goes on from {folder.place}"
            print(visible(said), file=sys.stderr)


def forget_finished(output: Path) -> None:
    """Removes notes of a training whose output is there, as a kill in the last moment leaves them.

    Args:
        output: The folder.

    Raises:
        InputError: If another process trains there.
    """
    record, noted_at = output / RECORD_FILE, _noted_at(output)
    if noted_at and record.is_file() and record.stat().st_mtime_ns > max(noted_at):
        Lasting(of_output(output), ours=True).discard()


def is_replaced(output: Path) -> bool:
    """Whether an output holds nothing but what an interrupted training left that may go on.

    Args:
        output: The folder.
    """
    if not _noted_at(output) or not output.is_dir():
        return False
    there = {path.name for path in output.iterdir() if not is_passed(path)}
    return there <= {INTERRUPTED_FILE, MARK}


def _noted_at(output: Path) -> list[int]:
    """When the notes beside an output were written; none, where it can have none."""
    try:
        return [path.stat().st_mtime_ns for path in of_output(output).glob("*.npz")]
    except (OSError, ValueError):  # a name that no file can have is refused elsewhere
        return []
