"""A trained model on labelled data, as `evaluate` does."""

from typing import cast

from tfhub_transfer import progress, runtime
from tfhub_transfer.errors import InputError
from tfhub_transfer.evaluation.measuring import Report, evaluate, require_slices
from tfhub_transfer.jobs import folders, run_records
from tfhub_transfer.jobs.inputs import file_of, read_labelled, training_split
from tfhub_transfer.jobs.options.asking import EvaluateJob
from tfhub_transfer.jobs.saying import say, say_notes
from tfhub_transfer.jobs.settling import settle
from tfhub_transfer.models.encoding import ColumnNames, precision_of
from tfhub_transfer.reporting.joint_reports import JointReport
from tfhub_transfer.storage import atomic


def evaluate_folder(job: EvaluateJob) -> Report | JointReport:
    """Evaluates a trained folder on a labelled file and writes the report.

    Args:
        job: What to do.

    Raises:
        InputError: If one of them is unusable.
    """
    atomic.check_output(job.output, job.overwrite, (job.folder, job.data))
    model, record = folders.load(job.folder, job.trust_code)
    settle(model, job)
    columns = job.columns({})
    if columns and model.task.several:
        raise InputError(
            "the columns of several tasks are said in the JSON file, for each. Received: "
            f"{', '.join(map(str, columns.values()))}"
        )
    run_records.recall(model, record)
    # Of several tasks no columns are named, so that those of each stay as they are.
    known = cast(ColumnNames, record.get("columns", {}))
    examples = read_labelled(file_of(job, job.data), model.task, job.columns(known))
    say_notes(examples)
    with (
        progress.stage("Measuring, beside baselines", final=False),
        runtime.precision(precision_of(record), model.encoder.dimension),
    ):
        require_slices(model, model.task.apart(examples), job.slice)
        report = evaluate(model, examples, train=training_split(record), slices=job.slice)
    run_records.describe(report, record)
    with atomic.folder(job.output, job.overwrite) as scratch:
        report.save(scratch)
    say(f"{report}\n\nWritten to {job.output}")
    return report
