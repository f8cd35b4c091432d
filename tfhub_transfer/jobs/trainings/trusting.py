"""What a training has its model say of its answers: `--coverage`, `--abstain` and `--scope`."""

from tfhub_transfer import progress
from tfhub_transfer.errors import InputError
from tfhub_transfer.evaluation import conformalizing, scoping
from tfhub_transfer.jobs.options.training import TrainJob
from tfhub_transfer.jobs.three_splits import JointSplits, Splits
from tfhub_transfer.models.transfer import TransferModel
from tfhub_transfer.tasks import Task
from tfhub_transfer.tasks.temperatures import Told


def require_tellable(job: TrainJob, task: Task, splits: Splits | JointSplits) -> None:
    """Refuses, while nothing has been spent, what can't be told in the end.

    Args:
        job: What is to be done.
        task: Its task.
        splits: What was read.

    Raises:
        InputError: If it can't.
    """
    asked, coverage = _asked(job), None
    if not asked:
        return
    if job.scope:
        scoping.require_scope(task)
    if _promises(job):
        coverage, _ = conformalizing.require_asked(task, job.coverage, job.abstain)
    if getattr(job, "refit", False):
        raise InputError(
            "with `--refit` all rows teach, and none is left to tell how far answers can be "
            f"trusted; leave one of both out. Received: --refit and --{asked[0]}"
        )
    conformalizing.require_rows(len(splits.validation), coverage)


def limited(job: TrainJob, model: TransferModel, splits: Splits | JointSplits) -> Told | None:
    """Has a trained model say how far its answers can be trusted, if that was asked for.

    Args:
        job: What to do.
        model: The model, whose scores are scaled already.
        splits: What was read.

    Returns:
        What `conformalize` returns, to be recorded.
    """
    if not _promises(job):
        return None
    with progress.stage("Seeing on validation how far to trust answers", final=False):
        [own] = splits.by_task().values()
        return conformalizing.conformalize(model, own.validation, job.coverage, job.abstain)


def scoped(job: TrainJob, model: TransferModel, splits: Splits | JointSplits) -> Told | None:
    """Has a trained model say how near a text lies to those of the training, if that was asked for.

    Args:
        job: What to do.
        model: The model, whose scores are scaled already.
        splits: What was read.

    Returns:
        What `learn_scope` returns, to be recorded.
    """
    if not job.scope:
        return None
    with progress.stage("Seeing how far from the training texts lie", final=False):
        [own] = splits.by_task().values()
        return scoping.learn_scope(model, own.train, own.validation, job.seed)


def _asked(job: TrainJob) -> list[str]:
    """The options that ask for something."""
    given = {"coverage": job.coverage, "abstain": job.abstain, "scope": job.scope or None}
    return [name for name, value in given.items() if value is not None]


def _promises(job: TrainJob) -> bool:
    return job.coverage is not None or job.abstain is not None
