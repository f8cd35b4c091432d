"""Whole jobs from files to files: what the commands `train`, `evaluate`, `predict`, `demo` do."""

import contextlib
import dataclasses
import functools
import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tfhub_transfer import (
    cautions,
    conversion,  # noqa: F401  teaches the registry to convert Hugging Face folders
    data,
    products,
    progress,
    reading,
    registry,
    runtime,
    saving,
    weighing,
    writing,
)
from tfhub_transfer.builders import build_model, default_optimizer, load_model
from tfhub_transfer.encoder import Encoder
from tfhub_transfer.encoding import MODEL_FILE, RECORD_FILE, no_model, read_record
from tfhub_transfer.errors import InputError, visible
from tfhub_transfer.evaluation import Report, evaluate
from tfhub_transfer.finetuning import History, Plan, fine_tune, groups_to_thaw
from tfhub_transfer.jobs import asking, run_records, sharing
from tfhub_transfer.jobs.asking import Answers
from tfhub_transfer.jobs.inputs import (
    Splits,
    TrainJob,
    columns_of,
    head_of,
    read_labelled,
    read_splits,
    read_texts,
    sources,
    training_split,
)
from tfhub_transfer.joint_reports import JointReport
from tfhub_transfer.models import TransferModel
from tfhub_transfer.multitask import MultiTaskModel
from tfhub_transfer.recipes import distillation, encoder_distillation, students
from tfhub_transfer.recipes.distillation import Imitation
from tfhub_transfer.recipes.encoder_distillation import Schedule as EncoderSchedule
from tfhub_transfer.served import load_saved_model
from tfhub_transfer.serving import export_saved_model
from tfhub_transfer.storage import atomic, budget, keeping, opening
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
    job = _quickened(job)
    runtime.seed_everything(job.seed)
    splits, task = read_splits(job)
    model = _build_within(job, task)
    _check_room(job, model)
    for name, own in splits.by_task().items():
        say((f"{name}:\n" if name else "") + data.profile(own.train, own.validation, own.test))
        single = model.models[name] if isinstance(model, MultiTaskModel) else model
        for warning in cautions.before_training(single, own):
            say(f"WARNING: {warning}")
    width = model.encoder.dimension
    with (
        runtime.precision(job.precision, width),
        atomic.folder(job.output, job.overwrite) as scratch,
    ):
        record = _fit(job, model, splits, scratch, fit or fine_tune)
        with _kept(functools.partial(atomic.move, scratch / MODEL_FILE), job.output):
            report = _finish(job, model, splits, record, scratch)
    written = [MODEL_FILE, *([] if job.quick else ["serving/1"]), "report", RECORD_FILE]
    say(f"{report}\n\nWritten to {job.output}: {', '.join(written)}")
    if job.alone:
        _train_alone(job, model, splits, (report, record), fit or fine_tune)
    return report


def _train_alone(
    job: TrainJob,
    model: TransferModel,
    splits: Splits,
    told: tuple[Any, dict[str, Any]],
    fit: Callable[..., History],
) -> None:
    """Trains each task alone too, now that all together are safe, and adds it to their report."""
    report, record = told
    job = dataclasses.replace(job, sequence_length=model.sequence_length)
    build = functools.partial(_build_within, job)
    how = functools.partial(fit, **_fine_tuning(job))
    trainer = sharing.Trainer(model.task, build, how, job.seed)

    parts = splits.by_task()
    with runtime.precision(job.precision, model.encoder.dimension):
        sharing.compare(report, record, parts, trainer, job.output / RECORD_FILE)
    say(f"Added to {job.output}: report, {RECORD_FILE}")


def _quickened(job: TrainJob) -> TrainJob:
    """The job with what `quick` stands for."""
    if not job.quick:
        return job
    if job.unfreeze not in ("auto", "none"):
        raise InputError(
            "`--quick` trains the head alone; leave one of `--quick` and `--unfreeze` out. "
            f"Received: --unfreeze {job.unfreeze}"
        )
    if job.epochs is not None or job.learning_rate is not None:
        raise InputError(
            "`--quick` trains the head alone, as long as it needs; `--epochs` and "
            "`--learning-rate` are of a thawed encoder: leave them out. Received: --quick and one"
        )
    return dataclasses.replace(job, unfreeze="none")


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
    columns = loaded[0][1].get("columns", {})
    more = None
    if job.unlabelled is not None:
        more = read_texts(job.unlabelled, teachers[0].task.pair, job, columns)
    imitation = Imitation(job.temperature, job.share)
    fit = functools.partial(_imitate, teachers, more, imitation)
    given = {
        name: getattr(job, name) or columns.get(name) for name in ("text", "text_pair", "label")
    }
    separator = getattr(teachers[0].task, "label_separator", None)
    given["label_separator"] = job.label_separator or separator
    names = None if teachers[0].task.learned else getattr(teachers[0].task, "class_names", None)
    given["class_names"] = job.class_names or names
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
    texts = read_texts(job.data, False, job, {})
    teacher = Encoder(job.teacher, trust_code=job.trust_code)
    pieces = None
    if job.vocabulary is not None:
        pieces = students.corpus_vocabulary(teacher, texts, job.vocabulary)
    with temporary() as work:
        start = work / "start"
        students.make_student(teacher, start, job.layers, job.hidden, pieces)
        atomic.check_room(job.output, *(f.stat().st_size for f in start.rglob("*")))
        encoder_distillation.distill_encoder(
            teacher, start, texts, job.output, schedule=job.schedule, overwrite=job.overwrite
        )
    say(f"Written to {job.output}; give it as `--encoder`")


def is_model(handle: str) -> bool:
    """Whether a teacher's name is that of a trained model, rather than an encoder's."""
    return handle.endswith(".keras") or (opening.path_of(handle) / MODEL_FILE).exists()


@dataclasses.dataclass(frozen=True)
class AskJob:
    """The arguments of the commands `predict` and `evaluate`; see their `--help`.

    Args:
        folder: What `train` wrote, or a `.keras` file.
        source: What to read: to predict as for `asking.Answers`, to evaluate a labelled file.
        output: A file of answers, or the folder of a report.
        task: The name of the task to answer, for a model of several.
        text: The column of texts; the training's if not given, as are the next two.
        text_pair: The column with the second text of each pair.
        label: The column of labels.
        negative: The column with the third text of each triplet, to evaluate.
        overwrite: Whether `output` may exist.
        trust_code: Whether the model may hold operations that do more than compute.
    """

    folder: Path
    source: str | data.File
    output: Path | None = None
    task: str | None = None
    text: str | None = None
    text_pair: str | None = None
    label: str | Sequence[str] | None = None
    negative: str | None = None
    overwrite: bool = False
    trust_code: bool = False

    def columns(self, known: dict[str, Any]) -> dict[str, Any]:
        """Names of columns: those of the training, but where others are given."""
        names = ("text", "text_pair", "label", "negative")
        given = {name: getattr(self, name) for name in names}
        return {**known, **{name: column for name, column in given.items() if column is not None}}


def evaluate_folder(job: AskJob) -> Report:
    """Evaluates a trained folder on a labelled file and writes the report.

    Args:
        job: What to do; it has an output.

    Raises:
        InputError: If one of them is unusable.
    """
    output = job.output or Path()
    atomic.check_output(output, job.overwrite, (job.folder, str(job.source)))
    model, record = _load(job.folder, job.trust_code)
    columns = job.columns({})
    if columns and isinstance(model, MultiTaskModel):
        raise InputError(
            "the columns of several tasks are said in the JSON file, for each. Received: "
            f"{', '.join(map(str, columns.values()))}"
        )
    run_records.recall(model, record)
    examples = read_labelled(job.source, model.task, job.columns(record.get("columns", {})))
    say_notes(examples)
    with (
        progress.stage("Measuring, beside baselines", final=False),
        runtime.precision(record.get("precision", "auto"), model.encoder.dimension),
    ):
        report = evaluate(model, examples, train=training_split(record))
    run_records.describe(report, record)
    with atomic.folder(output, job.overwrite) as scratch:
        report.save(scratch)
    say(f"{report}\n\nWritten to {output}")
    return report


def predict(job: AskJob) -> Answers:
    """Answers for every text of a file, or of standard input, in order and without holding it.

    Args:
        job: What to do.

    Returns:
        The answers, computed while they are gone through.

    Raises:
        InputError: If one of them is unusable.
    """
    named = job.columns({})
    _require_table(job, named and reading.is_lines(job.source))
    model, record = _load(job.folder, job.trust_code)
    model, known = _of_task(model, record.get("columns", {}), job.task)
    columns = job.columns({key: known.get(key) for key in ("text", "text_pair")})
    _require_table(job, named and asking.is_lines(model, job.source, columns))
    return Answers(model, job.source, columns, record.get("precision", "auto"))


def _require_table(job: AskJob, unless: Any) -> None:
    if unless:
        reading.refuse_columns(map(str, job.columns({}).values()), job.source)


def predict_to_file(job: AskJob) -> None:
    """Writes the answers for every text of a file, or of standard input, whole or not at all.

    Args:
        job: What to do; it has an output, whose name ends in what `writing` knows.

    Raises:
        InputError: If one of them is unusable.
    """
    output = job.output or Path()
    writing.check(output, job.overwrite, (job.folder, str(job.source)))
    answers = predict(job)
    answers.exact = writing.keeps_types(output)
    spread = (answers.name(asking.SCORES),)
    rows = asking.shown(answers, answers.count())
    count = writing.write(rows, output, spread, answers.types)
    say(f"Written to {output}: {count:,} answers; {answers.cut}")
    say_notes(answers)


def say_notes(read: Any) -> None:
    """Says on standard error what was decided while a file was read.

    Args:
        read: Examples, a stream of them, answers or vectors; or several by their names.
    """
    for each in read.values() if isinstance(read, dict) else (read,):
        source = "standard input" if str(each.source) == "-" else each.source
        for note in each.notes:
            print(visible(f"{source}: {note}"), file=sys.stderr)


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
    ours = _is_demo(output)
    if not ours and output.is_dir() and any(output.iterdir()):
        raise InputError(
            "the folder exists and holds no demo; name another one with `--output`. "
            f"Received: {output}"
        )
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
        overwrite=ours,
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
    progress.say(visible(text))


@progress.stage("Loading the encoder", final=False)
def _build_within(job: TrainJob, task: Task) -> TransferModel:
    with runtime.strategy(job.strategy).scope():
        return _build(job, task)


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
                "XLA can't compile a text-embedding encoder, which works on strings; give `--jit "
                f"off`, or use a BERT-like encoder. Received: {job.encoder}"
            )
        model.jit_compile = True
    return model


def _check_room(job: TrainJob, model: TransferModel) -> None:
    groups, encoder = model.encoder.layer_groups, model.encoder
    thawed = groups[len(groups) - groups_to_thaw(encoder, job.unfreeze) :]
    trained = [weight for _, weights in thawed for weight in weights]
    atomic.check_room(job.output, *saving.sizes(model.weights, trained))


def _fit(
    job: TrainJob,
    model: TransferModel,
    splits: Splits,
    scratch: Path,
    fit: Callable[..., History],
) -> dict[str, Any]:
    weights = None
    if job.class_weights:  # of what teaches
        weights = model.task.class_weights(weighing.taught(splits.train).labels)
    fingerprint = model.encoder.fingerprint()  # of what it starts from
    started = time.perf_counter()
    # A loss that isn't finite leaves nothing that is worth it.
    with _kept(model.save, job.output, InputError):
        history = fit(model, splits.train, splits.validation, **_fine_tuning(job, weights))
    with _kept(model.save, job.output):
        model.save(scratch / MODEL_FILE)
    truncation = history.truncation
    return {
        "arguments": {k: v for k, v in _plain(job).items() if v is not None},
        "columns": columns_of(job),
        "seed": job.seed,
        "precision": runtime.choose_precision(),
        "measured": _measured(job, model.encoder.dimension),
        "versions": runtime.versions(),
        "encoder": {
            "handle": model.encoder.handle,
            "fingerprint": fingerprint,
            **registry.provenance(model.encoder.folder),
        },
        "truncation": dataclasses.asdict(truncation) if truncation else None,
        "padding": history.padding,
        "seconds": {**history.seconds, "training": time.perf_counter() - started},
        "plan": history.plan,
        "outcomes": [dataclasses.asdict(outcome) for outcome in history.outcomes],
        **run_records.curves(model),
    }


def _fine_tuning(job: TrainJob, weights: dict[int, float] | None = None) -> dict[str, Any]:
    """What `fine_tune` is told, beside model and examples."""
    return {
        "epochs": job.epochs,
        "unfreeze": job.unfreeze,
        "batch_size": job.batch_size,
        "plan": Plan(class_weight=weights, seed=job.seed, verbose=1),
    }


def _measured(job: TrainJob, width: int) -> dict[str, Any] | None:
    """What `--precision auto` was decided by; `None` where there was nothing to decide."""
    if job.precision != "auto" or not runtime.was_measured():
        return None
    width = products.measured_width(width)
    seconds = runtime.measured_products(width)
    return {"cpu": products.cpu_model(), "width": width, "seconds": seconds}


def _finish(
    job: TrainJob,
    model: TransferModel,
    splits: Splits,
    record: dict[str, Any],
    scratch: Path,
) -> Report:
    started = time.perf_counter()
    tested = sum(len(own.test) for own in splits.by_task().values())
    with progress.stage("Measuring, beside baselines") as stage:
        report = evaluate(model, splits.test, train=splits.train)
        stage.result = f"{tested:,} test examples"
    for name, own in splits.by_task().items():
        of_task = report.reports[name] if isinstance(report, JointReport) else report
        of_task.examples.update(own.counts())
    profiles = {
        name: data.profile(own.train, own.validation, own.test)
        for name, own in splits.by_task().items()
    }
    record["profile"] = profiles if isinstance(report, JointReport) else profiles[""]
    run_records.describe(report, record)
    record["seconds"]["evaluation"] = time.perf_counter() - started
    if not job.quick:
        started = time.perf_counter()
        with progress.stage("Exporting to serving/1"):
            export_saved_model(model, scratch / "serving")
        record["seconds"]["export"] = time.perf_counter() - started
    report.seconds.update(record["seconds"])
    report.save(scratch / "report")
    (scratch / RECORD_FILE).write_text(run_records.as_text(record), "utf-8")
    return report


def _plain(job: TrainJob) -> dict[str, Any]:
    text = json.dumps(dataclasses.asdict(job), default=str)
    return json.loads(text)


def _kept(
    write: Callable[[Path], None], output: Path, *unless: type[Exception]
) -> contextlib.AbstractContextManager[None]:
    """Whatever ends the body early, the model as trained so far is kept; see `keeping.kept`."""
    path = output / INTERRUPTED_FILE
    return keeping.kept(write, path, "ask it with `tfhub-transfer predict {}`", unless)


@progress.stage("Loading the model", final=False)
def _load(folder: Path, trust_code: bool) -> tuple[TransferModel, dict[str, Any]]:
    folder = opening.path_of(folder)
    if folder.is_file() or (folder / "model.weights.h5").is_file():
        return load_model(folder, trust_code), {}
    if not (folder / MODEL_FILE).exists():
        if (folder / INTERRUPTED_FILE).exists():
            raise InputError(
                "the training ended early there; give the model as trained until then, "
                f"{folder / INTERRUPTED_FILE}, or train again. Received: {folder}"
            )
        raise no_model(folder)
    known = read_record(folder)
    return load_model(folder / MODEL_FILE, trust_code), known


def _check_output(job: TrainJob) -> None:
    """Refuses before any work what would fail, or destroy something, after it."""
    named = ("encoder", "preprocessor", "unlabelled")
    inputs = [str(getattr(job, name)) for name in named if getattr(job, name, None)]
    inputs += [*sources(job), *map(str, getattr(job, "teachers", ()))]
    atomic.check_output(job.output, job.overwrite, inputs)
    budget.most()
    with temporary():  # which the work will need
        pass
