"""A trained model for phones and other runtimes, as `export --format litert` and `onnx` make it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from tfhub_transfer import progress
from tfhub_transfer.errors import InputError, visible
from tfhub_transfer.evaluation.measuring import evaluate
from tfhub_transfer.jobs import folders
from tfhub_transfer.jobs.inputs import file_of, read_labelled
from tfhub_transfer.jobs.options.exporting import LITERT, ExportJob
from tfhub_transfer.jobs.saying import say
from tfhub_transfer.models.encoding import ColumnNames, Record
from tfhub_transfer.models.transfer import TransferModel
from tfhub_transfer.reporting.standings import less_is_better
from tfhub_transfer.serving import elsewhere, litert, onnx_files
from tfhub_transfer.storage import opening, retention

# Of a metric from 0 to 1: what more is lost of it is said loudly.
MOST_LOST = 0.01


def export_small(job: ExportJob) -> Path:
    """Writes the next version, says how large it is, and how good where there are data.

    Args:
        job: What to do.

    Raises:
        InputError: As `export_litert` and `export_onnx`; if a file is unusable, or an option is for
            another format.
    """
    _check(job)
    model, record = folders.load(job.folder, job.trust_code)
    labelled = {name: _read(job, model, record, name) for name in ("data", "calibrate")}
    with progress.stage(f"Exporting for {job.format}", final=False):
        folder = _export(job, model, labelled["calibrate"])
    before = _scores(model, labelled["data"])
    for file in sorted(folder.iterdir()):
        if file.suffix in (".tflite", ".onnx"):
            _say(model, file, labelled["data"], before)
    return folder


def _check(job: ExportJob) -> None:
    for option, given in (("--top-k", job.top_k), ("--name", job.name)):
        if given is not None:
            raise InputError(
                f"`{option}` is for `--format saved_model`; leave it out. "
                f"Received: --format {job.format}"
            )
    kind = litert.FILES if job.format == LITERT else onnx_files.FILE
    retention.require_alike(opening.path_of(job.output), kind)
    if job.format == LITERT:
        return
    if job.calibrate is not None or job.precision not in ("auto", "float32"):
        raise InputError(
            "an export for ONNX is of float32; leave `--precision` and `--calibrate` out, and make "
            "it smaller with ONNX Runtime's own tools, or take `--format litert`. "
            f"Received: --precision {job.precision}"
        )


def _read(job: ExportJob, model: TransferModel, record: Record, option: str) -> Any:
    """Examples of the file that an option names; `None` if it names none."""
    source = getattr(job, option)
    if source is None:
        return None
    known = cast(ColumnNames, record.get("columns", {}))
    return read_labelled(file_of(job, source), model.task, job.columns(known))


def _export(job: ExportJob, model: TransferModel, calibration: Any) -> Path:
    if job.format == LITERT:
        precision = litert.FLOAT32 if job.precision == "auto" else job.precision
        return litert.export_litert(model, job.output, precision, calibration, job.keep)
    return onnx_files.export_onnx(model, job.output, job.keep)


def _scores(model: TransferModel, examples: Any) -> Mapping[str, tuple[str, float]]:
    """What each task is judged by, and how it does."""
    if examples is None:
        return {}
    report = evaluate(model, examples, baselines=False)
    reports = report.reports if model.task.several else {"": report}
    names = {task: each.judged_by() for task, each in reports.items()}
    return {task: (name, reports[task].metrics[name]) for task, name in names.items() if name}


def _say(
    model: TransferModel, file: Path, examples: Any, before: Mapping[str, tuple[str, float]]
) -> None:
    line = f"{file.name}: {file.stat().st_size / 1e6:.1f} MB"
    load = litert.load if file.suffix == ".tflite" else onnx_files.load
    lost = []
    if examples is not None:
        with elsewhere.answering(model, load(file)):
            now = _scores(model, examples)
        for task, (name, value) in now.items():
            of = f"{task}: " if task else ""
            line += f", {of}{name} {value:.3f} (the model's {before[task][1]:.3f})"
            change = before[task][1] - value
            if (-change if less_is_better(name) else change) > MOST_LOST:
                lost.append(f"{of}{name} {value:.3f} against {before[task][1]:.3f}")
    say(visible(line))
    for each in lost:
        say(visible(f"WARNING: {file.name} answers worse than the model: {each}"))
