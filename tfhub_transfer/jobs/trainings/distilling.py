"""Models that imitate trained ones, and encoders that imitate larger ones, as `distill` makes."""

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from tfhub_transfer import data
from tfhub_transfer.encoders.encoder import Encoder
from tfhub_transfer.errors import InputError
from tfhub_transfer.jobs import folders
from tfhub_transfer.jobs.inputs import read_texts
from tfhub_transfer.jobs.options import declaring
from tfhub_transfer.jobs.options.distilling import DistillJob, Teaching
from tfhub_transfer.jobs.options.training import ENCODER_EPOCHS, TrainJob, Writing
from tfhub_transfer.jobs.processes import launching
from tfhub_transfer.jobs.saying import say
from tfhub_transfer.jobs.trainings import continuing
from tfhub_transfer.jobs.trainings.training import check_output, train
from tfhub_transfer.models.transfer import TransferModel
from tfhub_transfer.recipes import distillation, encoder_distillation, students
from tfhub_transfer.recipes.distillation import Imitation
from tfhub_transfer.recipes.encoder_distillation import Schedule
from tfhub_transfer.runtime import cluster
from tfhub_transfer.storage import atomic
from tfhub_transfer.storage.scratch import temporary
from tfhub_transfer.training.finetuning import History


@dataclasses.dataclass(frozen=True)
class TaughtJob(Teaching, TrainJob):
    """A training with teachers, as its record has it."""

    teachers: tuple[Path, ...] = dataclasses.field(default=(), kw_only=True)


def distill(job: DistillJob) -> None:
    """Trains a model that imitates others, as `train` does, or an encoder that imitates one.

    Args:
        job: What to do. A model's task, columns and classes are the teachers'.

    Raises:
        InputError: If a file, an option or the output folder is unusable.
    """
    if cluster.place().count > 1:
        launching.require_shareable(job, cluster.place().count)
    of_models = any(map(folders.is_model, job.teachers))
    _refuse_others(job, "encoders" if of_models else "models")
    if of_models:
        shared = {*declaring.names_of(DistillJob)} & {*declaring.names_of(TaughtJob)}
        given = {name: getattr(job, name) for name in shared}
        # What the task is, only the teachers know, which aren't loaded yet.
        _distill_models(TaughtJob(task="", teachers=tuple(map(Path, job.teachers)), **given))
        return
    if len(job.teachers) > 1:
        raise InputError(
            "an encoder is distilled from one; name one, or several folders that `train` wrote. "
            f"Received: {' '.join(job.teachers)}"
        )
    _distill_encoder(job, job.teachers[0])


def _refuse_others(job: DistillJob, group: str) -> None:
    """Refuses options that would do nothing."""
    usual = {field.name: field.default for field in dataclasses.fields(job)}
    given = [name for name in job.GROUPS[group] if getattr(job, name) != usual[name]]
    if given:
        what = "an encoder" if group == "encoders" else "models that `train` wrote"
        raise InputError(
            f"`--{given[0].replace('_', '-')}` is for distilling {what}; leave it out. "
            f"Received: {' '.join(job.teachers)}"
        )


def _distill_models(job: TaughtJob) -> None:
    # As `train` does, but before teachers are loaded and texts are read.
    check_output(job, replaced=continuing.is_replaced(job.output))
    loaded = [folders.load(folder, job.trust_code) for folder in job.teachers]
    teachers = [model for model, _ in loaded]
    columns = cast(Mapping[str, str], loaded[0][1].get("columns", {}))
    more = None
    if job.unlabelled is not None:
        more = read_texts(job.unlabelled, teachers[0].task.pair, job, columns)
    imitation = Imitation(job.temperature, job.share)
    fit = functools.partial(_imitate, teachers, more, imitation)
    given: dict[str, Any] = {
        name: getattr(job, name) or columns.get(name) for name in ("text", "text_pair", "label")
    }
    task = teachers[0].task
    # A student may write with less than its teacher; what isn't said is as of that one.
    said = {name: getattr(job, name) for name in declaring.names_of(Writing)}
    options = {**task.as_options(), **{n: v for n, v in said.items() if v is not None}}
    train(dataclasses.replace(job, task=task.name, **given, **options), fit)


def _imitate(
    teachers: list[TransferModel],
    more: Sequence[object] | None,
    imitation: Imitation,
    model: TransferModel,
    train_split: data.Examples,
    validation: data.Examples,
    **fine_tuning: Any,
) -> History:
    return distillation.distill(
        teachers, model, train_split, validation, more, imitation, **fine_tuning
    )


def _distill_encoder(job: DistillJob, handle: str) -> None:
    """Cuts a student out of an encoder and trains it on a file of texts, without labels."""
    schedule = Schedule(
        job.epochs or ENCODER_EPOCHS,
        job.batch_size,
        job.learning_rate or Schedule.learning_rate,
        job.sequence_length or Schedule.sequence_length,
        seed=job.seed,
        verbose=1,
    )
    atomic.check_output(job.output, job.overwrite, (job.data, handle))
    texts = read_texts(job.data, False, job, {})
    teacher = Encoder(handle, trust_code=job.trust_code)
    pieces = None
    if job.vocabulary is not None:
        pieces = students.corpus_vocabulary(teacher, texts, job.vocabulary)
    with temporary() as work:
        start = work / "start"
        students.make_student(teacher, start, job.layers, job.hidden, pieces)
        atomic.check_room(job.output, *(f.stat().st_size for f in start.rglob("*")))
        encoder_distillation.distill_encoder(
            teacher, start, texts, job.output, schedule=schedule, overwrite=job.overwrite
        )
    say(f"Written to {job.output}; give it as `--encoder`")
