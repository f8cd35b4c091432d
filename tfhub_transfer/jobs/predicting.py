"""A trained model's answers to a file, as `predict` gives them: printed, or in another file."""

import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import cast

from tfhub_transfer import data, progress, runtime
from tfhub_transfer.data import reading, writing
from tfhub_transfer.encoders import (
    conversion,  # noqa: F401  teaches the registry to convert Hugging Face folders
)
from tfhub_transfer.encoders.encoder import Encoder
from tfhub_transfer.errors import InputError
from tfhub_transfer.incoming import wording
from tfhub_transfer.jobs import asking, folders
from tfhub_transfer.jobs.asking import Answers
from tfhub_transfer.jobs.inputs import (
    Columns,
    file_of,
    read_labelled,
    training_split,
    undescribed,
)
from tfhub_transfer.jobs.options.asking import PredictJob
from tfhub_transfer.jobs.saying import say, say_notes
from tfhub_transfer.jobs.settling import said, settle
from tfhub_transfer.jobs.shards import running
from tfhub_transfer.jobs.shards.records import Output, digest
from tfhub_transfer.models.encoding import (
    MODEL_FILE,
    RECORD_FILE,
    ColumnNames,
    Record,
    precision_of,
)
from tfhub_transfer.models.neighbours import USUAL, Neighbours
from tfhub_transfer.models.transfer import TransferModel
from tfhub_transfer.recipes import zero_shot
from tfhub_transfer.storage import opening, records


def answer(job: PredictJob) -> None:
    """Answers every text of a file, or of standard input, into a file or as lines of JSON.

    Args:
        job: What to do.

    Raises:
        InputError: If one of them is unusable.
    """
    if running.is_asked(job):
        _answer_shards(job)
        return
    if job.output is not None:
        _write(job, job.output)
        return
    answers = predict(job)
    # On a terminal the answers themselves show how far it is.
    for each in answers if sys.stdout.isatty() else asking.shown(answers):
        # At once, for whoever reads them through a pipe.
        print(wording.json_line(each), flush=True)
    say_notes(answers)


def predict(job: PredictJob) -> Answers:
    """Answers for every text of a file, or of standard input, in order and without holding it.

    Args:
        job: What to do.

    Returns:
        The answers, computed while they are gone through.

    Raises:
        InputError: If one of them is unusable.
    """
    source = file_of(job, job.source)
    named = job.columns({})
    # Before the model is loaded, where the source alone tells.
    _require_table(job, named and reading.is_lines(source))
    model, record = _loaded(job)
    model, known = _of_task(model, record.get("columns", {}), job.task)
    settle(model, job)
    columns = job.columns({"text": known.get("text"), "text_pair": known.get("text_pair")})
    _require_table(job, named and asking.is_lines(model, source, columns))
    near = _neighbours(job, model, known, record)
    return Answers(model, source, columns, precision_of(record), neighbours=near)


def _loaded(job: PredictJob) -> tuple[TransferModel, Record]:
    """The model of a job; of an encoder and descriptions of classes the one that they make."""
    if job.descriptions is None:
        return folders.load(job.folder, job.trust_code)
    # A handle is no path, which has one slash only.
    name = re.sub(r"^(https?):/(?!/)", r"\1://", str(job.folder))
    told = zero_shot.parsed(records.read(job.descriptions))
    with progress.stage("Encoding descriptions of classes", final=False):
        return zero_shot.build(Encoder(name, trust_code=job.trust_code), told), {}


def _answer_shards(job: PredictJob) -> None:
    assert job.output is not None
    if job.descriptions is not None:
        raise InputError(
            "classes by descriptions are answered one file at a time; build the model in Python, "
            "by the recipe zero_shot, save it, and give that. Received: --descriptions "
            f"{job.descriptions}, and several files"
        )
    work = running.Work(job, Output(job.output), load)
    model = opening.path_of(job.folder)
    files = [model] if model.is_file() else [model / MODEL_FILE, model / RECORD_FILE]
    if not files[0].exists():
        folders.load(job.folder, job.trust_code)  # which says what is there instead
    told = {**job.columns({}), "task": job.task, **running.told(job), **said(job), **_near(job)}
    # Of files their bytes count; terms of a glossary may be many.
    for name in ("neighbours_from", "glossary"):
        source = getattr(job, name)
        if source is not None:
            told[name] = source
            told[f"{name}_digest"] = digest([opening.path_of(source)])
    running.answer(work, {"command": "predict", "model": digest(files), **told}, [job.folder])


def load(job: PredictJob) -> running.Ask:
    """What asks the model of a job the texts of one file after the other.

    Args:
        job: What to do.

    Raises:
        InputError: If the model is unusable.
    """
    model, record = folders.load(job.folder, job.trust_code)
    model, known = _of_task(model, record.get("columns", {}), job.task)
    settle(model, job)
    columns = job.columns({"text": known.get("text"), "text_pair": known.get("text_pair")})
    near = _neighbours(job, model, known, record)

    def ask(file: data.File, bad: reading.Bad) -> Answers:
        _require_table(job, job.columns({}) and asking.is_lines(model, file, columns))
        return Answers(model, file, columns, precision_of(record), bad=bad, neighbours=near)

    return ask


def _near(job: PredictJob) -> dict[str, object]:
    """What is said of neighbours, if anything."""
    given = {"neighbours": job.neighbours, "neighbours_from": job.neighbours_from}
    return {name: value for name, value in given.items() if value is not None}


def _neighbours(
    job: PredictJob, model: TransferModel, known: ColumnNames, record: Record
) -> Neighbours | None:
    """What gives the nearest labelled texts, if a job asks for them; its vectors are computed."""
    if not _near(job):
        return None
    if job.neighbours_from is not None:
        found: object = _read_near(job, model, known, job.neighbours_from)
    else:
        found = training_split(record)
        if job.task is not None and isinstance(found, Mapping):
            found = found.get(job.task)
    if not isinstance(found, data.Examples):
        raise InputError(
            "the file that the model was trained on isn't there any longer, or not known; give "
            "labelled texts with `--neighbours-from`. "
            f"Received: --neighbours {job.neighbours}, and {job.folder}"
        )
    with (
        progress.stage("Encoding what is known", final=False),
        runtime.precision(precision_of(record), model.encoder.dimension),
    ):
        return Neighbours(model, found, job.neighbours or USUAL)


def _read_near(
    job: PredictJob, model: TransferModel, known: ColumnNames, source: str
) -> data.Examples | Mapping[str, data.Examples]:
    """Labelled texts of a file; columns that the job names are those of what is asked."""
    names = {**model.task.usual_columns, **known}
    named = " and ".join(str(names.get(name, name)) for name in ("text", "label"))
    expected = (
        f"labelled texts to look among have the columns of the training, {named}; call them so: "
        "`--text` and `--label` are of the texts that are asked"
    )
    with undescribed(source, ("--text", "--label"), expected):
        return read_labelled(file_of(job, source), model.task, known)


def _require_table(job: PredictJob, unless: object) -> None:
    if unless:
        reading.refuse_columns(map(str, job.columns({}).values()), job.source)


def _write(job: PredictJob, output: Path) -> None:
    """Writes the answers to a file, whole or not at all; its name ends in what `writing` knows."""
    given = (job.neighbours_from, job.glossary, job.descriptions)
    beside = [str(each) for each in given if each is not None]
    writing.check(output, job.overwrite, (job.folder, job.source, *beside))
    answers = predict(job)
    answers.exact = writing.keeps_types(output)
    spread = (answers.name(asking.SCORES),)
    rows = asking.shown(answers, answers.count())
    count = writing.write(rows, output, spread, answers.types)
    say(f"Written to {output}: {wording.counted(count, 'answer')}; {answers.cut}")
    say_notes(answers)


def _of_task(
    model: TransferModel, columns: Columns, name: str | None
) -> tuple[TransferModel, ColumnNames]:
    """The model of one task and the names of its columns."""
    if not model.task.several:
        if name is None:
            return model, cast(ColumnNames, columns)
        raise InputError(f"the model has one task only; leave `--task` out. Received: {name}")
    if name is None or name not in model.parts:
        raise InputError(
            f"the model has several tasks, {', '.join(model.parts)}; name one with `--task`. "
            f"Received: {name or 'none'}"
        )
    return model.parts[name], cast(Mapping[str, ColumnNames], columns).get(name, {})
