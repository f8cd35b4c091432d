"""Whole jobs from files to files: what the commands `train`, `evaluate`, `predict`, `demo` do."""

import contextlib
import dataclasses
import functools
import json
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from tfhub_transfer import (
    conversion,  # noqa: F401  teaches the registry to convert Hugging Face folders
    data,
    reading,
    registry,
    runtime,
)
from tfhub_transfer.builders import build_model, default_optimizer, load_model
from tfhub_transfer.encoder import Encoder
from tfhub_transfer.encoding import MODEL_FILE, RECORD_FILE, read_record
from tfhub_transfer.errors import InputError, visible
from tfhub_transfer.evaluation import Report, evaluate
from tfhub_transfer.finetuning import History, Plan, fine_tune, groups_to_thaw
from tfhub_transfer.job_data import (
    Splits,
    TrainJob,
    columns_of,
    file_of,
    head_of,
    read_labelled,
    read_splits,
)
from tfhub_transfer.joint_reports import JointReport
from tfhub_transfer.models import TransferModel
from tfhub_transfer.multitask import MultiTaskModel
from tfhub_transfer.recipes import distillation, encoder_distillation, students
from tfhub_transfer.recipes.distillation import Imitation
from tfhub_transfer.recipes.encoder_distillation import Schedule as EncoderSchedule
from tfhub_transfer.served import load_saved_model
from tfhub_transfer.serving import export_saved_model
from tfhub_transfer.storage import atomic, budget
from tfhub_transfer.storage.scratch import temporary
from tfhub_transfer.tasks import Task

INTERRUPTED_FILE = "interrupted.keras"


@dataclasses.dataclass(frozen=True)
class DistillJob(TrainJob):
    """The arguments of the command `distill` where the teacher is a trained model."""

    teachers: tuple[Path, ...] = ()
    unlabelled: str | None = None
    temperature: float = Imitation.temperature
    share: float = Imitation.share


@dataclasses.dataclass(frozen=True)
class EncoderJob:
    """The arguments of the command `distill` where the teacher is an encoder."""

    teacher: str
    data: str
    output: Path
    text: str | None = None
    layers: int = 3
    hidden: int | None = None
    vocabulary: int | None = None
    quoting: str = "auto"
    delimiter: str | None = None
    encoding: str | None = None
    schedule: EncoderSchedule = dataclasses.field(default_factory=EncoderSchedule)
    overwrite: bool = False
    trust_code: bool = False


def train(job: TrainJob, fit: Callable[..., History] | None = None) -> Report:
    """Trains, evaluates and exports a model into `job.output`, which appears whole or not at all.

    Args:
        job: What to do.
        fit: What trains, called as `fine_tune`, which does if not given.

    Returns:
        The report on the test split.

    Raises:
        InputError: If a file, an option or the output folder is unusable.
    """
    _check_output(job)
    runtime.seed_everything(job.seed)
    splits, task = read_splits(job)
    with runtime.strategy(job.strategy).scope():
        model = _build(job, task)
    for name, own in splits.by_task().items():
        say((f"{name}:\n" if name else "") + data.profile(own.train, own.validation, own.test))
    with runtime.precision(job.precision), atomic.folder(job.output, job.overwrite) as scratch:
        record = _fit(job, model, splits, scratch, fit or fine_tune)
        with _kept(model, job.output, scratch / MODEL_FILE):
            report = _finish(model, splits, record, scratch)
    say(f"{report}\n\nWritten to {job.output}: {MODEL_FILE}, serving/1, report, {RECORD_FILE}")
    return report


def distill(job: DistillJob) -> Report:
    """Trains a model that imitates others, evaluates and exports it, as `train` does.

    Args:
        job: What to do; its task, columns and classes are the teachers'.

    Raises:
        InputError: If a file, an option or the output folder is unusable.
    """
    _check_output(job)
    loaded = [_load(folder, job.trust_code) for folder in job.teachers]
    teachers = [model for model, _ in loaded]
    more = None if job.unlabelled is None else _texts(job.unlabelled, teachers[0].task.pair, job)
    imitation = Imitation(job.temperature, job.share)
    fit = functools.partial(_imitate, teachers, more, imitation)
    columns = loaded[0][1].get("columns", {})
    given = {
        name: getattr(job, name) or columns.get(name) for name in ("text", "text_pair", "label")
    }
    return train(dataclasses.replace(job, task=teachers[0].task.name, **given), fit)


def _imitate(
    teachers: list[TransferModel],
    more: list[Any] | None,
    imitation: Imitation,
    model: TransferModel,
    train_split: data.Examples,
    validation: data.Examples,
    **fine_tuning: Any,
) -> History:
    return distillation.distill(
        teachers, model, train_split, validation, more, imitation, **fine_tuning
    )


def distill_encoder(job: EncoderJob) -> None:
    """Cuts a student out of an encoder and trains it on a file of texts, without labels.

    Args:
        job: What to do.

    Raises:
        InputError: If a file, an option or the output folder is unusable.
    """
    atomic.check_output(job.output, job.overwrite, (job.data, job.teacher))
    texts = _texts(job.data, False, job)
    teacher = Encoder(job.teacher, trust_code=job.trust_code)
    pieces = None
    if job.vocabulary is not None:
        pieces = students.corpus_vocabulary(teacher, texts, job.vocabulary)
    with temporary() as work, atomic.folder(job.output, job.overwrite) as scratch:
        students.make_student(teacher, work / "start", job.layers, job.hidden, pieces)
        made = work / job.output.name
        curves = encoder_distillation.distill_encoder(
            teacher, work / "start", texts, made, schedule=job.schedule
        )
        shutil.copytree(made, scratch, dirs_exist_ok=True)
        (scratch / "distillation.json").write_text(json.dumps(curves, indent=1) + "\n", "utf-8")
    say(f"Written to {job.output}; give it as `--encoder`")


def _texts(source: str, pair: bool, job: Any) -> list[Any]:
    """The texts of a table, or of the lines of a `.txt` file; pairs as tuples."""
    file = file_of(job, source)
    if reading.is_lines(file):
        chunks: Iterable[list[Any]] = reading.line_chunks(file, pair)
    else:
        columns = {"text": job.text, "text_pair": getattr(job, "text_pair", None)}
        read = data.stream(file, **columns, require_label=False)
        chunks = (list(zip(*c.texts)) if pair else list(c.texts[0]) for c in read)
    return [text for chunk in chunks for text in chunk]


def is_model(handle: str) -> bool:
    """Whether a teacher's name is that of a trained model, rather than an encoder's."""
    return handle.endswith(".keras") or (Path(handle) / MODEL_FILE).exists()


def evaluate_folder(
    folder: Path,
    source: str | data.File,
    output: Path,
    overwrite: bool = False,
    trust_code: bool = False,
) -> Report:
    """Evaluates a trained folder on a labelled file and writes the report.

    Args:
        folder: What `train` wrote, or a `.keras` file.
        source: The labelled file.
        output: Where the report goes.
        overwrite: Whether `output` may exist.
        trust_code: Whether the model may hold operations that do more than compute.

    Raises:
        InputError: If one of them is unusable.
    """
    atomic.check_output(output, overwrite, (folder, str(source)))
    model, record = _load(folder, trust_code)
    examples = read_labelled(source, model.task, record.get("columns", {}))
    say_notes(examples)
    with runtime.precision(record.get("precision", "auto")):
        report = evaluate(model, examples, train=_training_split(record))
    with atomic.folder(output, overwrite) as scratch:
        report.save(scratch)
    say(f"{report}\n\nWritten to {output}")
    return report


def predict(
    folder: Path, source: str | data.File, task: str | None = None, trust_code: bool = False
) -> Iterator[dict[str, Any]]:
    """Answers for every text of a file, or of standard input, in order and without holding it.

    Args:
        folder: What `train` wrote, or a `.keras` file.
        source: A table as for training, a `.txt` file with one text a line, or `-` for the lines of
            standard input. In lines, the texts of a pair are separated by a tab.
        task: The name of the task to answer, for a model of several.
        trust_code: Whether the model may hold operations that do more than compute.

    Raises:
        InputError: If one of them is unusable.
    """
    model, record = _load(folder, trust_code)
    model, known = _of_task(model, record.get("columns", {}), task)
    columns: dict[str, Any] = {key: known.get(key) for key in ("text", "text_pair")}
    if reading.is_lines(source):
        chunks = reading.line_chunks(source, model.task.pair)
    else:
        read = data.stream(source, **columns, require_label=False)
        say_notes(read)
        chunks = (_asked(model, chunk) for chunk in read)
    for texts in chunks:
        with runtime.precision(record.get("precision", "auto")):
            answers = model.predict_text(texts)
        for text, answer in zip(texts, answers):
            shown = [text] if isinstance(text, str) else text
            yield {**dict(zip(model.layout.signature, shown)), **answer}


def say_notes(read: Any) -> None:
    """Says on standard error what was decided while a file was read.

    Args:
        read: Examples, a stream of them, or several by their names.
    """
    for each in read.values() if isinstance(read, dict) else (read,):
        for note in each.notes:
            print(visible(f"{each.source}: {note}"), file=sys.stderr)


def _asked(model: TransferModel, chunk: data.Examples) -> list[Any]:
    """The texts of a table, or tuples of them."""
    model.layout.check(chunk)
    return list(zip(*chunk.texts)) if model.task.pair else list(chunk.texts[0])


def _of_task(
    model: TransferModel, columns: dict[str, Any], name: str | None
) -> tuple[TransferModel, dict[str, Any]]:
    """The model of one task and the names of its columns."""
    if not isinstance(model, MultiTaskModel):
        if name is None:
            return model, columns
        raise InputError(f"the model has one task only; leave `--task` out. Received: {name}")
    if name not in model.models:
        raise InputError(
            f"the model has several tasks, {', '.join(model.models)}; name one with `--task`. "
            f"Received: {name or 'none'}"
        )
    return model.models[name], columns.get(name, {})


def demo(output: Path) -> Report:
    """Shows the main job on the packaged sample: train, evaluate, export, load back, ask.

    Args:
        output: Where to write; an earlier demo there is replaced.
    """
    job = TrainJob(
        task="classification",
        data=str(registry.samples_path()),
        output=output,
        text="text",
        label="topic",
        encoder="auto",
        unfreeze="auto",
        epochs=15,
        batch_size=16,
        overwrite=_is_demo(output),
    )
    report = train(job)
    served = load_saved_model(output / "serving")
    say("\nThe exported model, loaded back and asked with plain strings:")
    texts = [
        "I was charged twice this month, please sort it out",
        "Where is my parcel? It should have been here on Monday",
        "Just wanted to say how happy I am with it, thank you!",
    ]
    answers = served.predict(texts)
    for text, label, scores in zip(texts, answers["label"], answers["scores"]):
        say(f"  {label.decode():>10} ({scores.max():.2f})  {text}")
    say(f"\nThe report with its plots: {output / 'report' / 'report.html'}")
    return report


def _is_demo(output: Path) -> bool:
    """Whether an earlier demo is all that lies there."""
    found = read_record(output).get("arguments") if (output / RECORD_FILE).exists() else {}
    return (
        isinstance(found, dict)
        and Path(str(found.get("data"))).name == registry.samples_path().name
    )


def say(text: str) -> None:
    """Prints to standard output at once, without control characters from data."""
    print(visible(text), flush=True)


def _build(job: TrainJob, task: Task) -> TransferModel:
    encoder = job.encoder
    head = head_of(job)
    if head.needs_tokens or task.needs_tokens:
        registry.require_token_vectors(encoder, task.name)
    layer = Encoder(encoder, trust_code=job.trust_code)
    groups_to_thaw(layer, job.unfreeze)
    model = build_model(
        layer,
        task,
        head,
        optimizer=default_optimizer(layer, job.learning_rate),
        preprocessor=job.preprocessor,
        sequence_length=job.sequence_length,
    )
    if runtime.use_jit(job.jit):
        if layer.dialect == "text":
            raise InputError(
                "XLA can't compile a text-embedding encoder, which works on strings; leave `--jit` "
                f"off or use a BERT-like encoder. Received: {job.encoder}"
            )
        model.jit_compile = True
    return model


def _fit(
    job: TrainJob,
    model: TransferModel,
    splits: Splits,
    scratch: Path,
    fit: Callable[..., History],
) -> dict[str, Any]:
    weights = (
        data.class_weights(model.task.encode(splits.train.labels).tolist())
        if job.class_weights
        else None
    )
    plan = Plan(class_weight=weights, seed=job.seed)
    fingerprint = model.encoder.fingerprint()  # of what it starts from
    started = time.perf_counter()
    with _kept(model, job.output):
        history = fit(
            model,
            splits.train,
            splits.validation,
            epochs=job.epochs,
            unfreeze=job.unfreeze,
            batch_size=job.batch_size,
            plan=plan,
        )
        model.save(scratch / MODEL_FILE)
    truncation = history.truncation
    return {
        "arguments": {k: v for k, v in _plain(job).items() if v is not None},
        "columns": columns_of(job),
        "seed": job.seed,
        "precision": runtime.choose_precision(),
        "versions": runtime.versions(),
        "encoder": {"handle": model.encoder.handle, "fingerprint": fingerprint},
        "truncation": dataclasses.asdict(truncation) if truncation else None,
        "padding": history.padding,
        "seconds": {**history.seconds, "training": time.perf_counter() - started},
        "history": model.history_,
    }


def _finish(model: TransferModel, splits: Splits, record: dict[str, Any], scratch: Path) -> Report:
    started = time.perf_counter()
    report = evaluate(model, splits.test, train=splits.train)
    for name, own in splits.by_task().items():
        of_task = report.reports[name] if isinstance(report, JointReport) else report
        of_task.examples.update(own.counts())
    record["seconds"]["evaluation"] = time.perf_counter() - started
    started = time.perf_counter()
    export_saved_model(model, scratch / "serving")
    record["seconds"]["export"] = time.perf_counter() - started
    report.seconds.update(record["seconds"])
    report.save(scratch / "report")
    (scratch / RECORD_FILE).write_text(json.dumps(record, indent=1) + "\n", "utf-8")
    return report


def _plain(job: TrainJob) -> dict[str, Any]:
    text = json.dumps(dataclasses.asdict(job), default=str)
    return json.loads(text)


@contextlib.contextmanager
def _kept(model: TransferModel, output: Path, saved: Path | None = None) -> Iterator[None]:
    """Whatever ends the body early, a signal or a failure, what the model has learned is kept.

    Args:
        model: The model.
        output: The output folder, which gets one file.
        saved: The file of the model, if it is trained and saved already. If not, an `InputError`
            keeps nothing: a loss that isn't finite leaves nothing that is worth it.
    """
    try:
        yield
    except (Exception, KeyboardInterrupt) as error:
        if saved is not None or not isinstance(error, InputError):
            path = output / INTERRUPTED_FILE
            if saved is None:
                model.save(path)
            else:
                atomic.move(saved, path)
            atomic.mark_alone(path)
            what = "interrupted" if isinstance(error, KeyboardInterrupt) else "it failed"
            print(
                f"\n{what}: the model as trained so far is in {visible(str(path))}; ask it with "
                f"`tfhub-transfer predict {visible(str(path))}`",
                file=sys.stderr,
            )
        raise


def _load(folder: Path, trust_code: bool) -> tuple[TransferModel, dict[str, Any]]:
    if folder.is_file():
        return load_model(folder, trust_code), {}
    if not (folder / MODEL_FILE).exists():
        raise InputError(
            f"no {MODEL_FILE} there; expected a folder that `tfhub-transfer train` wrote, or a "
            f"`.keras` file. Received: {folder}"
        )
    known = read_record(folder)
    return load_model(folder / MODEL_FILE, trust_code), known


def _training_split(record: dict[str, Any]) -> data.Examples | None:
    """The training split again, for the baselines, if its file is still there."""
    try:
        names = {field.name for field in dataclasses.fields(TrainJob)}
        given = {k: v for k, v in record["arguments"].items() if k in names}
        if reading.would_download(given.get("data")):
            return None
        job = TrainJob(**{**given, "output": Path()})
        return read_splits(job)[0].train
    except (ValueError, LookupError, TypeError, AttributeError, OSError):
        return None  # the record may be from elsewhere, where such a file was


def _check_output(job: TrainJob) -> None:
    """Refuses before any work what would fail, or destroy something, after it."""
    named = ("data", "validation", "test", "encoder", "preprocessor", "unlabelled")
    inputs = [str(getattr(job, name)) for name in named if getattr(job, name, None)]
    inputs += map(str, getattr(job, "teachers", ()))
    atomic.check_output(job.output, job.overwrite, inputs)
    budget.most()
