"""What more labels would bring, as a training says with `--learning-curve`."""

import numpy as np

from tfhub_transfer import progress
from tfhub_transfer.data import Examples
from tfhub_transfer.errors import InputError
from tfhub_transfer.jobs.options.training import TrainJob
from tfhub_transfer.jobs.three_splits import JointSplits, Splits
from tfhub_transfer.models.transfer import TransferModel
from tfhub_transfer.recipes.active_learning import learning_curves
from tfhub_transfer.recipes.active_learning.linear_heads import Label
from tfhub_transfer.reporting.contents import LearningCurve
from tfhub_transfer.tasks import Task
from tfhub_transfer.tasks.nearness import unit

# Of more rows so many are drawn: heads of all sizes learn in seconds then.
MOST = 4000


def require_curve(job: TrainJob, task: Task, splits: Splits | JointSplits) -> None:
    """Refuses, while nothing has been spent, a curve that can't be told.

    Args:
        job: What is to be done.
        task: Its task.
        splits: What was read.

    Raises:
        InputError: If it can't.
    """
    if not _asks(job):
        return
    if task.several or not task.one_row or not task.class_names:
        raise InputError(
            "what more labels would bring is told of texts with classes; leave `--learning-curve` "
            f"out. Received: the {task.name} task"
        )
    count = sum(len(each) for own in splits.by_task().values() for each in _labelled(own))
    if count < learning_curves.LEAST_LABELS:
        raise InputError(
            f"of fewer than {learning_curves.LEAST_LABELS} labels a learning curve would be one of "
            "luck; label more, or leave `--learning-curve` out. "
            f"Received: {count} for training and validation"
        )


def twice_the_labels(
    job: TrainJob, model: TransferModel, splits: Splits | JointSplits
) -> LearningCurve | None:
    """What as many labels again are expected to bring, if that was asked for.

    Linear heads learn from parts of the labels, on vectors of the encoder as it is before training,
    and are asked the labels of others (see `learning_curves.measured`).

    Args:
        job: What is to be done.
        model: The model, which hasn't learned yet.
        splits: What was read.

    Returns:
        The curve; `None` if nobody asked, or all labels are alike.

    Raises:
        InputError: If the model's head has no vectors to start from.
    """
    if not _asks(job):
        return None
    if not model.has_fixed_features:
        raise InputError(
            "a learning curve is that of heads on vectors that a frozen encoder gives, and this "
            "head reads more; leave `--learning-curve` out. "
            f"Received: a head with {model.head.pooling} pooling and the block {model.head.block}"
        )
    [own] = splits.by_task().values()
    with progress.stage("Asking heads what more labels would bring", final=False):
        parts = _labelled(own)
        vectors = unit(np.concatenate([model.compute_features(part) for part in parts]))
        labels = [label for part in parts for label in _names(model.task, part)]
        return curve_of(vectors, labels, len(own.train), job.seed)


def curve_of(
    vectors: np.ndarray, labels: list[Label], taught: int, seed: int
) -> LearningCurve | None:
    """The curve of labelled vectors, and what it expects of as many labels again.

    Args:
        vectors: Of length 1 `[n, d]`.
        labels: Their labels.
        taught: How many of them teach.
        seed: Of what is drawn.
    """
    some = np.random.default_rng(seed).permutation(len(labels))[:MOST]
    found = learning_curves.measured(vectors[some], [labels[row] for row in some], seed)
    if found is None:
        return None
    sizes, accuracies = found
    gain = learning_curves.expected(sizes, accuracies, now=taught, more=taught)
    return {
        "labels": sizes,
        "sets": not isinstance(labels[0], str),
        "accuracy": [float(each) for each in accuracies.mean(axis=0)],
        "now": taught,
        "more": taught,
        "gain": gain.value,
        "error": gain.error,
    }


def _labelled(own: Splits) -> tuple[Examples, Examples]:
    return own.train, own.validation


def _names(task: Task, examples: Examples) -> list[Label]:
    """Labels as heads take them: a class, or of texts with any number of them all of a text."""
    classes = task.class_names or []
    encoded = np.asarray(task.encode(examples.labels))
    if encoded.ndim == 1:
        return [classes[int(each)] for each in encoded]
    # In the order in which heads answer, whatever that of the task's classes is.
    return [tuple(sorted(classes[at] for at in np.flatnonzero(row > 0.5))) for row in encoded]


def _asks(job: TrainJob) -> bool:
    """Students of `distill` learn from more than labels, and have no such option."""
    return getattr(job, "learning_curve", False)
