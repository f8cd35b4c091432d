"""What is wrong with labelled data, as `check` writes it."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from tfhub_transfer import data, progress
from tfhub_transfer.checks import checking
from tfhub_transfer.data.usual_columns import LABEL
from tfhub_transfer.errors import InputError
from tfhub_transfer.incoming import values
from tfhub_transfer.jobs import folders
from tfhub_transfer.jobs.inputs import file_of
from tfhub_transfer.jobs.options.checking import CheckJob
from tfhub_transfer.jobs.saying import say
from tfhub_transfer.models import encoding
from tfhub_transfer.models.encoding import ColumnNames
from tfhub_transfer.reporting.data_reports import PAGE, RECORD, SUSPECTS
from tfhub_transfer.storage import atomic
from tfhub_transfer.tasks import TASKS, Task

_COLUMNS = tuple(ColumnNames.__annotations__)
# What is an argument of some tasks, by the same name.
_ARGUMENTS = ("label_separator", "class_names")


def check_data(job: CheckJob) -> None:
    """Writes what is wrong with labelled data; these aren't changed.

    Args:
        job: What to do.

    Raises:
        InputError: If a file, an option or the output folder is unusable.
    """
    files = {"train": job.data, "validation": job.validation, "test": job.test}
    given = {name: file for name, file in files.items() if file is not None}
    read = [*given.values(), str(job.model or ""), job.encoder]
    atomic.check_output(job.output, job.overwrite, read)
    model, columns = None, _columns(job)
    if job.model is not None:
        model, record = folders.load(job.model, job.trust_code)
        known: Any = record.get("columns", {})
        columns = {**known, **columns} if not model.task.several else columns
    task = _task(job)
    with progress.stage("Reading", final=False):
        examples = {name: _read(job, file, columns, task) for name, file in given.items()}
    encoder = encoding.vector_model(job.encoder, job.trust_code)
    report = checking.check(examples, task, encoder, model, job.sequence_length, job.seed)
    with atomic.folder(job.output, job.overwrite) as scratch:
        report.save(scratch)
    for name, own in examples.items():
        say(f"{name}: {len(own):,} rows of {own.source}")
    for note in report.notes:
        say(f"read: {note}")
    say(f"{report}\n\nWritten to {job.output}: {PAGE}, {SUSPECTS}, {RECORD}")


def _columns(job: CheckJob) -> dict[str, Any]:
    named = {name: getattr(job, name) for name in _COLUMNS}
    given = {name: column for name, column in named.items() if column is not None}
    own = TASKS[job.task].usual_columns if job.task else {}
    return given if any(name in given for name in own if name != LABEL) else {**own, **given}


def _task(job: CheckJob) -> Task | None:
    """The task that is asked for; `None` where labels are to tell."""
    said = {name: value for name in _ARGUMENTS if (value := getattr(job, name)) is not None}
    if job.task is None:
        if said:
            raise InputError(
                f"`--{next(iter(said)).replace('_', '-')}` is of a task's labels; say which with "
                f"`--task`, too. Received: {', '.join(map(str, said.values()))}"
            )
        return None
    kind: Any = TASKS[job.task]
    for name in said:
        if name not in kind.options:
            told = f"--{name.replace('_', '-')}"
            raise InputError(
                f"`{told}` is of other tasks; leave it out. Received: {told}, --task {job.task}"
            )
    names = said.get("class_names")
    if isinstance(names, str):
        said["class_names"] = values.written(names) or [n.strip() for n in names.split(",")]
    made: Task = kind(**said)
    return made


def _read(
    job: CheckJob, source: str, columns: Mapping[str, Any], task: Task | None
) -> data.Examples:
    """Rows of a file with their labels, `None` where one is missing."""
    file = file_of(job, source)
    found = data.read(file, **columns, require_label=False)
    if found.target is not None:
        return found
    # Some rows may lack one, which takes the others' with them unless each is read by itself.
    rows = [*data.stream(file, **columns, require_label=False, chunk_rows=1)] if found.notes else []
    if any(row.target is not None for row in rows):
        labels = [None if row.target is None else row.labels[0] for row in rows]
        named = {**found.columns, LABEL: labels}
        return dataclasses.replace(found, columns=named, target=LABEL, notes=())
    if job.label is not None:
        raise InputError(
            "no row has a label in that column; name another with `--label`, or leave it out. "
            f"Received: {source}, --label {job.label}"
        )
    return found
