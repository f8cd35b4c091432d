"""A model trained, measured and exported into a folder, as `train` does."""

import dataclasses
import functools
import json
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from tfhub_transfer import data, progress, runtime
from tfhub_transfer.callbacks.best_weights import FellApart
from tfhub_transfer.data import weighing
from tfhub_transfer.encoders import (
    conversion,  # noqa: F401  teaches the registry to convert Hugging Face folders
    registry,
)
from tfhub_transfer.encoders.encoder import Encoder
from tfhub_transfer.errors import InputError
from tfhub_transfer.evaluation import calibrating, cautions, slicing
from tfhub_transfer.evaluation.measuring import Report, evaluate, require_slices
from tfhub_transfer.incoming import wording
from tfhub_transfer.jobs import run_records
from tfhub_transfer.jobs.folders import kept
from tfhub_transfer.jobs.inputs import (
    Joint,
    columns_of,
    head_of,
    joint_of,
    read_splits,
    sources,
)
from tfhub_transfer.jobs.options import declaring
from tfhub_transfer.jobs.options.training import TrainJob
from tfhub_transfer.jobs.processes import workers
from tfhub_transfer.jobs.saying import say
from tfhub_transfer.jobs.three_splits import JointSplits, Splits
from tfhub_transfer.jobs.trainings import continuing, more_labels, refitting, sharing, trusting
from tfhub_transfer.models.building import build_model, compiles, default_optimizer
from tfhub_transfer.models.encoding import MODEL_FILE, RECORD_FILE, Record
from tfhub_transfer.models.transfer import TransferModel
from tfhub_transfer.recipes import few_shot
from tfhub_transfer.reporting.joint_reports import JointReport
from tfhub_transfer.runtime import cluster, products
from tfhub_transfer.serving.exporting import export_saved_model, require_exportable
from tfhub_transfer.storage import atomic, budget, saving
from tfhub_transfer.storage.scratch import temporary
from tfhub_transfer.tasks import Task, is_ours, temperatures
from tfhub_transfer.tasks.temperatures import Told
from tfhub_transfer.training import watching
from tfhub_transfer.training.checkpoints import Checkpoint
from tfhub_transfer.training.finetuning import History, Plan, fine_tune, groups_to_thaw

# Options that nothing but a thawed encoder has a use for, beside how far it thaws.
_OF_THAWED = ("epochs", "learning_rate", "optimizer", "warmup", "layer_decay")
# What was tried for all of a training, in the words of its plan; the report has it, too.
_SAID = ("pseudo_labels", "back_translation", "descriptions")

Fit: TypeAlias = Callable[..., History]
# The text of a file, or what writes a file or folder.
Beside: TypeAlias = str | Callable[[Path], None]


def train(
    job: TrainJob, fit: Fit | None = None, beside: Mapping[str, Beside] | None = None
) -> Report | JointReport | None:
    """Trains, evaluates and exports a model into `job.output`, which appears whole or not at all.

    Args:
        job: What to do.
        fit: What trains, called as `fine_tune`, which does if not given.
        beside: What is to appear with the rest, by name: a file's text, or what writes it.

    Returns:
        The report on the test split; `None` in a process that only trains in step with others.

    Raises:
        InputError: If a file, an option or the output folder is unusable.
        Ended: If another process of the same training ended.
    """
    with workers.in_step(job) as (own, first):
        return _whole(own, first(fit or fine_tune), beside or {})


def _whole(job: TrainJob, fit: Fit, beside: Mapping[str, Beside]) -> Report | JointReport | None:
    joint = joint_of(job)
    continuing.forget_finished(job.output)
    replaced = continuing.is_replaced(job.output)
    check_output(job, joint, replaced)
    if _refits(job):
        refitting.require_possible(job)
    job = _quickened(job)
    with continuing.noted(job, _plain(job)) as notes:
        if replaced:  # what lies there is of another training, where it begins anew
            notes.before_anew = functools.partial(check_output, job, joint)
        notes.check()
        model, splits, done = _train(job, joint, notes, fit, replaced, beside)
    if done is None:
        return None
    report, record = done
    exported = [] if job.quick else ["serving/1"]
    written = [MODEL_FILE, *exported, "report", watching.FILE, RECORD_FILE]
    say(f"{report}\n\nWritten to {job.output}: {', '.join(written)}")
    if job.alone and isinstance(report, JointReport):
        _train_alone(job, model, splits.by_task(), (report, record), fit)
    return report


def _train(
    job: TrainJob,
    joint: Joint | None,
    notes: Checkpoint,
    fit: Fit,
    replaced: bool,
    beside: Mapping[str, Beside],
) -> tuple[TransferModel, Splits | JointSplits, tuple[Report | JointReport, Record] | None]:
    runtime.seed_everything(job.seed)
    splits, task = read_splits(job, joint)
    trusting.require_tellable(job, task, splits)
    require_columns(job, splits)
    more_labels.require_curve(job, task, splits)
    whole = refitting.pooled(splits) if _refits(job) else splits
    model = build_within(job, task, registry.source_of(job.encoder))
    require_told(job, task, splits, model)
    notes.spare = _check_room(job, model) if cluster.is_chief() else 0
    # Before hours of training, not after them.
    if _few_shot(job) == "on":
        few_shot.require(model, splits.train)
    if not job.quick:
        require_exportable(model)
    if cluster.is_chief():
        say_of_texts(model, splits)
    precision = _precision(job, model)
    if cluster.is_chief() and job.precision not in ("auto", precision):
        said = f"the encoder {model.encoder.handle} computes in {precision}: it has no products"
        say(wording.wrapped(f"WARNING: {said} that can be rounded to {job.precision}"))
    with (
        runtime.precision_of_all(model.distribute_strategy, precision, model.encoder.dimension),
        atomic.folder(job.output, job.overwrite or replaced) as scratch,
    ):
        curve = more_labels.twice_the_labels(job, model, splits) if cluster.is_chief() else None
        done = _fit(job, model, (splits, whole), scratch, notes, fit)
        if done is None:
            return model, splits, None
        model, learned = done
        learned["seconds"]["training"] += notes.seconds
        record: Record = {**_asked(job, joint), **learned, "learning_curve": curve}
        # The model is whole: if its report or export fails, it is moved out of what is thrown away.
        with kept(functools.partial(atomic.move, scratch / MODEL_FILE), job.output):
            report = _finish(job, model, (splits, whole), record, scratch)
            for name, text in beside.items():
                if callable(text):
                    text(scratch / name)
                else:
                    (scratch / name).write_text(text, "utf-8")
    return model, splits, (report, record)


def say_of_texts(model: TransferModel, splits: Splits | JointSplits) -> None:
    """Says what splits hold, and what is wrong with their texts, before hours are spent on them.

    Args:
        model: What is to be trained.
        splits: What was read.
    """
    for name, own in splits.by_task().items():
        say((f"{name}:\n" if name else "") + data.profile(own.train, own.validation, own.test))
        for warning in cautions.before_training(model.parts[name], own):
            say(wording.wrapped(f"WARNING: {warning}"))
    prompt = getattr(model.preprocessor, "prompt", "")
    if prompt:
        said = f"texts by themselves are read behind {prompt!r}, as their encoder was trained"
        say(wording.wrapped(f"{said}; `tfhub-transfer convert` makes one that does otherwise"))


def _train_alone(
    job: TrainJob,
    model: TransferModel,
    parts: Mapping[str, Splits],
    told: tuple[JointReport, Record],
    fit: Callable[..., History],
) -> None:
    """Trains each task alone too, now that all together are safe, and adds it to their report."""
    report, record = told
    # By itself a task might have another length, and then more than the sharing would differ.
    job = dataclasses.replace(job, sequence_length=model.sequence_length, log_dir=None)
    build = functools.partial(build_within, job, source=model.encoder.source)
    how = functools.partial(fit, **_fine_tuning(job))
    trainer = sharing.Trainer(model.task, build, how, job.seed)
    with runtime.precision(_precision(job, model), model.encoder.dimension):
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
    usual = {field.name: field.default for field in dataclasses.fields(job)}
    odd = [name for name in _OF_THAWED if getattr(job, name) != usual[name]]
    if odd:
        raise InputError(
            "`--quick` trains the head alone, as long as it needs; "
            f"`--{odd[0].replace('_', '-')}` is of a thawed encoder: leave it out. "
            "Received: --quick and that"
        )
    if getattr(job, "few_shot", "off") == "on":
        raise InputError(
            "`--quick` trains the head alone, and `--few-shot on` the encoder first; leave one of "
            "both out. Received: --quick and --few-shot on"
        )
    return dataclasses.replace(job, unfreeze="none")


@progress.stage("Loading the encoder", final=False)
def build_within(job: TrainJob, task: Task, source: registry.EncoderSource) -> TransferModel:
    """A model to train, on the devices that a job names.

    Args:
        job: The job.
        task: The task, which knows its labels.
        source: Where the encoder comes from.

    Raises:
        InputError: As `build_model`.
    """
    with runtime.strategy(job.strategy).scope():
        return _build(job, task, source)


def _build(job: TrainJob, task: Task, source: registry.EncoderSource) -> TransferModel:
    head = head_of(job)
    if head.needs_tokens or task.needs_tokens:
        registry.require_token_vectors(source, task.name)
    layer = Encoder(source, trust_code=job.trust_code)
    groups_to_thaw(layer, job.unfreeze)
    model = build_model(
        layer,
        task,
        head,
        optimizer=default_optimizer(layer, job.learning_rate, job.optimizer, job.warmup),
        preprocessor=job.preprocessor,
        sequence_length=job.sequence_length,
    )
    model.jit_compile = compiles(layer, job.jit)
    return model


def _check_room(job: TrainJob, model: TransferModel) -> int:
    """Refuses an output that finds no room on the disk; how many bytes it will have at least."""
    groups, encoder = model.encoder.layer_groups, model.encoder
    ways = [job.unfreeze] if _few_shot(job) == "off" else [job.unfreeze, "auto"]
    count = max(groups_to_thaw(encoder, each) for each in ways)
    thawed = groups[len(groups) - count :]
    trained = [weight for _, weights in thawed for weight in weights]
    sizes = saving.sizes(model.weights, trained)
    atomic.check_room(job.output, *sizes)
    return sum(sizes)


def _fit(
    job: TrainJob,
    model: TransferModel,
    read: tuple[Splits | JointSplits, Splits | JointSplits],
    scratch: Path,
    notes: Checkpoint,
    fit: Fit,
) -> tuple[TransferModel, Record] | None:
    """Trains; the model to keep, and what is known of it. `None` of another process than the chief.

    Args:
        job: What to do.
        model: The model.
        read: The splits, and those that a refitted model learns from.
        scratch: Where to write it.
        notes: What notes how far it is.
        fit: What trains.
    """
    splits, whole = read
    weights = None
    if job.class_weights:  # of what teaches; several tasks have none
        [own] = splits.by_task().values()
        weights = model.task.class_weights(weighing.taught(own.train).labels)
    fingerprint = model.encoder.fingerprint()  # of what it starts from, so before `fit`
    started = time.perf_counter()
    with kept(model.save, job.output, functools.partial(_left_nothing, job, notes)):
        how = _fine_tuning(job, weights)
        history = fit(model, splits.train, splits.validation, **how, checkpoint=notes)
    if not cluster.is_chief():
        return None
    with kept(model.save, job.output):
        calibrated = _calibrated(job, model, splits)
        limits = trusting.limited(job, model, splits)
        scope = trusting.scoped(job, model, splits)
    if _refits(job):
        judged, build = model, functools.partial(build_within, job)
        with kept(model.save, job.output):
            model, history = refitting.again(model, history, build, whole, how)
            calibrating.as_another(model, judged)
    with kept(model.save, job.output):
        model.save(scratch / MODEL_FILE)
        (scratch / watching.FILE).write_text(watching.as_text(history.rows), "utf-8")
    truncation = history.truncation
    return model, {
        "seed": job.seed,
        "precision": runtime.choose_precision(),
        "measured": _measured(job, model),
        "versions": runtime.versions(),
        "encoder": {
            "handle": model.encoder.handle,
            "fingerprint": fingerprint,
            **model.encoder.source.provenance,
        },
        "truncation": dataclasses.asdict(truncation) if truncation else None,
        "padding": history.padding,
        "seconds": {**history.seconds, "training": time.perf_counter() - started},
        "plan": history.plan,
        "outcomes": [dataclasses.asdict(outcome) for outcome in history.outcomes],
        "calibration": calibrated,
        "limits": limits,
        "scope": scope,
        **run_records.curves(model),
    }


def _calibrated(job: TrainJob, model: TransferModel, splits: Splits | JointSplits) -> Told | None:
    """Scales scores as the validation split has it, unless told not to; what came of it."""
    if job.calibration == "off" or not any(p.task.calibrated_by for p in model.parts.values()):
        return None
    with progress.stage("Calibrating on validation", final=False):
        return calibrating.calibrate(
            model, splits.validation, job.seed, biases=not job.class_weights
        )


def _refits(job: TrainJob) -> bool:
    """Whether a model is to be trained once more; students of `distill` are not."""
    return getattr(job, "refit", False)


def require_columns(job: TrainJob, splits: Splits | JointSplits) -> None:
    """Refuses, while nothing has been spent, columns to slice by that no test example has.

    Args:
        job: What is to be done.
        splits: What was read.

    Raises:
        InputError: If there is no such column.
    """
    tests = {name: own.test for name, own in splits.by_task().items()}
    slicing.columns_of_tasks(tests, _slices(job))


def require_told(
    job: TrainJob, task: Task, splits: Splits | JointSplits, model: TransferModel | None = None
) -> None:
    """Refuses slices of a task of one's own that doesn't say what each answer costs.

    Args:
        job: What is to be done.
        task: Its task.
        splits: What was read.
        model: A model of the task, trained or not; made if it is needed and not given.

    Raises:
        InputError: If it doesn't.
    """
    if not _slices(job) or all(map(is_ours, task.parts.values())):
        return
    tests = {name: own.test for name, own in splits.by_task().items()}
    require_slices(
        model or build_within(job, task, registry.source_of(job.encoder)), tests, _slices(job)
    )


def _slices(job: TrainJob) -> str | Sequence[str] | None:
    """What the report is sliced by; students of `distill` have no such option."""
    return getattr(job, "slice", None)


def _few_shot(job: TrainJob) -> str:
    """Whether texts of a class are drawn together first; not of students and first looks."""
    return "off" if job.quick else getattr(job, "few_shot", "off")


def _left_nothing(job: TrainJob, notes: Checkpoint, error: BaseException) -> bool:
    """Whether nothing is to be kept: nothing was learned, it fell apart, or the chief has it."""
    if not cluster.is_chief():
        return True
    # Or while the model that back-translates was learning.
    early = isinstance(error, InputError) or getattr(job, "back_translate", None) is not None
    return isinstance(error, FellApart) or (early and not notes.has_begun)


def _asked(job: TrainJob, joint: Joint | None) -> Record:
    arguments = {name: value for name, value in _plain(job).items() if value is not None}
    return {"arguments": arguments, "columns": columns_of(job, joint)}


def _fine_tuning(job: TrainJob, weights: dict[int, float] | None = None) -> dict[str, object]:
    """What `fine_tune` is told, beside model and examples."""
    return {
        "epochs": job.epochs,
        "unfreeze": job.unfreeze,
        "batch_size": job.batch_size,
        "plan": Plan(
            head_learning_rate=job.head_learning_rate,
            layer_decay=job.layer_decay,
            class_weight=weights,
            seed=job.seed,
            verbose=1,
            stages=None if _few_shot(job) == "off" else few_shot.first(_few_shot(job)),
            log_dir=job.log_dir,
        ),
    }


def _precision(job: TrainJob, model: TransferModel) -> str:
    """What is asked for, where the encoder has a graph that can compute in either precision."""
    return "float32" if model.encoder.flat_graph() is None else job.precision


def _measured(job: TrainJob, model: TransferModel) -> Mapping[str, object] | None:
    """What `--precision auto` was decided by; `None` where there was nothing to decide."""
    if _precision(job, model) != "auto" or not runtime.was_measured():
        return None
    width = products.measured_width(model.encoder.dimension)
    seconds = runtime.measured_products(width)
    return {"cpu": products.cpu_model(), "width": width, "seconds": seconds}


def _finish(
    job: TrainJob,
    model: TransferModel,
    read: tuple[Splits | JointSplits, Splits | JointSplits],
    record: Record,
    scratch: Path,
) -> Report | JointReport:
    started, (splits, whole) = time.perf_counter(), read
    tested = sum(len(own.test) for own in splits.by_task().values())
    with progress.stage("Measuring, beside baselines", unit="test examples") as stage:
        report = evaluate(model, splits.test, train=whole.train, slices=_slices(job))
        stage.count = tested
    for name, own in splits.by_task().items():
        of_task = report.reports[name] if isinstance(report, JointReport) else report
        of_task.examples.update(own.counts())
        told: Any = record["calibration"] or {}
        of_task.notes += [t for t in (record["plan"].get(each) for each in _SAID) if t]
        if said := temperatures.why_not(told.get(name, {}) if name else told):
            of_task.notes.append(said)
    profiles = {
        name: data.profile(own.train, own.validation, own.test)
        for name, own in splits.by_task().items()
    }
    record["profile"] = profiles if isinstance(report, JointReport) else profiles[""]
    if isinstance(report, Report) and record["learning_curve"]:
        report.learning_curve = record["learning_curve"]
    run_records.describe(report, record)
    record["seconds"]["evaluation"] = time.perf_counter() - started
    if not job.quick:
        started = time.perf_counter()
        with progress.stage("Exporting to serving/1"):
            export_saved_model(model, scratch / "serving")
        record["seconds"]["export"] = time.perf_counter() - started
    report.seconds.update(record["seconds"])
    with progress.stage("Writing the report", final=False):
        report.save(scratch / "report")
    (scratch / RECORD_FILE).write_text(run_records.as_text(record), "utf-8")
    return report


def _plain(job: TrainJob) -> dict[str, object]:
    given = dataclasses.asdict(job)
    # As `--help` has them; the fields of a dataclass begin with those that it inherits.
    order = dict.fromkeys((*declaring.names_of(type(job)), *given))
    return json.loads(json.dumps({name: given[name] for name in order}, default=str))


def check_output(job: TrainJob, joint: Joint | None = None, replaced: bool = False) -> None:
    """Refuses before any work what would fail, or destroy something, after it.

    Args:
        job: What is to be done.
        joint: As for `read_splits`.
        replaced: Whether what lies there may be replaced, though nobody said so.

    Raises:
        InputError: If a file, an option or the output folder is unusable.
    """
    named = ("encoder", "preprocessor", "unlabelled", "back_translate", "descriptions")
    inputs = [str(getattr(job, name)) for name in named if getattr(job, name, None)]
    inputs += [*sources(job, joint), *map(str, getattr(job, "teachers", ()))]
    atomic.check_output(job.output, job.overwrite or replaced, inputs)
    if job.log_dir is not None:
        watching.check(job.log_dir, job.output)
    budget.most()  # raises, if the variable that says it is no size
    with temporary():  # which the work will need
        pass
