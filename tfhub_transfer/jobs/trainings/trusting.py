"""What a training has its model say of its answers: `--coverage`, `--abstain` and `--scope`."""

from collections.abc import Mapping

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
    asked = _asked(job)
    if not asked:
        return
    if job.scope and not _with_scope(task):
        scoping.require_scope(task)
    shares = _shares(job, task)
    for name in asked:
        # Of several tasks each heeds what it knows, and one must.
        if name != "scope" and not any(name in own for own in shares.values()):
            given = {"coverage": None, "abstain": None, name: getattr(job, name)}
            conformalizing.require_asked(task, **given)
    if getattr(job, "refit", False):
        raise InputError(
            "with `--refit` all rows teach, and none is left to tell how far answers can be "
            f"trusted; leave one of both out. Received: --refit and --{asked[0]}"
        )
    for name, own in splits.by_task().items():
        if name in shares or (job.scope and name in _with_scope(task)):
            conformalizing.require_rows(len(own.validation), shares.get(name, {}).get("coverage"))


def limited(job: TrainJob, model: TransferModel, splits: Splits | JointSplits) -> Told | None:
    """Has a trained model say how far its answers can be trusted, if that was asked for.

    Args:
        job: What to do.
        model: The model, whose scores are scaled already.
        splits: What was read.

    Returns:
        What `conformalize` returns, to be recorded; of several tasks by name.
    """
    shares = _shares(job, model.task)
    if not shares:
        return None
    with progress.stage("Seeing on validation how far to trust answers", final=False):
        rows = {name: own.validation for name, own in splits.by_task().items()}
        told = {
            name: conformalizing.conformalize(model.parts[name], rows[name], **_both(own))
            for name, own in shares.items()
        }
    return told if model.task.several else told[""]


def scoped(job: TrainJob, model: TransferModel, splits: Splits | JointSplits) -> Told | None:
    """Has a trained model say how near a text lies to those of the training, if that was asked for.

    Args:
        job: What to do.
        model: The model, whose scores are scaled already.
        splits: What was read.

    Returns:
        What `learn_scope` returns, to be recorded; of several tasks by name.
    """
    if not job.scope:
        return None
    with progress.stage("Seeing how far from the training texts lie", final=False):
        parts = splits.by_task()
        told = {
            name: scoping.learn_scope(
                model.parts[name], parts[name].train, parts[name].validation, job.seed
            )
            for name in _with_scope(model.task)
        }
    return told if model.task.several else told[""]


def _asked(job: TrainJob) -> list[str]:
    """The options that ask for something."""
    given = {"coverage": job.coverage, "abstain": job.abstain, "scope": job.scope or None}
    return [name for name, value in given.items() if value is not None]


def _shares(job: TrainJob, task: Task) -> dict[str, dict[str, float]]:
    """What is asked of each task that heeds it, by its name."""
    given = {"coverage": job.coverage, "abstain": job.abstain}
    found = {
        name: {n: v for n, v in given.items() if v is not None and n in own.promises}
        for name, own in task.parts.items()
    }
    return {name: own for name, own in found.items() if own}


def _both(own: Mapping[str, float]) -> dict[str, float | None]:
    """What `conformalize` takes, which asks for a coverage where nothing is said of it."""
    return {name: own.get(name) for name in ("coverage", "abstain")}


def _with_scope(task: Task) -> list[str]:
    """Tasks that have vectors to be near to, by their names."""
    return [name for name, own in task.parts.items() if scoping.has_scope(own)]
