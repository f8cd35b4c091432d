"""A training that learns from what describes its classes too, as `--descriptions` asks."""

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tfhub_transfer import data, progress, runtime
from tfhub_transfer.errors import InputError
from tfhub_transfer.evaluation.measuring import Report
from tfhub_transfer.incoming import wording
from tfhub_transfer.jobs.inputs import read_splits
from tfhub_transfer.jobs.options.training import TrainJob
from tfhub_transfer.jobs.saying import say
from tfhub_transfer.jobs.trainings import pseudo_labelling, training
from tfhub_transfer.models.transfer import TransferModel
from tfhub_transfer.recipes import class_descriptions, zero_shot
from tfhub_transfer.reporting.joint_reports import JointReport
from tfhub_transfer.storage import records
from tfhub_transfer.tasks import nearness
from tfhub_transfer.training.finetuning import History, fine_tune

# What it is called in `training.json`.
PLANNED = "descriptions"


def train(job: TrainJob) -> Report | JointReport | None:
    """As `pseudo_labelling.train`; with descriptions of classes, where a job names such.

    Args:
        job: What to do.

    Raises:
        InputError: As `training.train`; if the task isn't one class for each single text, the file
            doesn't describe each class, or an option is no use beside this.
    """
    if job.descriptions is None:
        return pseudo_labelling.train(job)
    _require_possible(job)
    told = zero_shot.parsed(records.read(job.descriptions))
    splits, task = read_splits(job)
    [own] = splits.by_task().values()
    if own.train.is_pair:
        raise InputError(
            "classes are described by single texts, and pairs are others; leave `--descriptions` "
            f"out. Received: {job.descriptions}, and pairs"
        )
    texts = of_classes(told, task.class_names or [], str(job.descriptions))
    return training.train(job, functools.partial(_fit, texts))


def _require_possible(job: TrainJob) -> None:
    pseudo_labelling.require_vectors(
        job,
        f"--descriptions {job.descriptions}",
        "adds texts to learn from, judged by their vectors before the head learns, in one process",
        {"--unlabelled": job.unlabelled},
    )


def of_classes(
    told: Mapping[str, Sequence[str]], names: Sequence[str], source: str
) -> list[tuple[str, int]]:
    """Each description, and the place of its class.

    Args:
        told: The texts of each class, by its name.
        names: The classes, in order.
        source: What the texts were read from.

    Raises:
        InputError: If they are of other classes.
    """
    found = {wording.class_name(name): texts for name, texts in told.items()}
    lacking = [name for name in names if name not in found]
    others = [name for name in found if name not in names]
    if lacking or others:
        which = f"{lacking[0]!r} without one" if lacking else f"{others[0]!r}, which is none"
        raise InputError(
            "each class needs a description, by its name: "
            f"{', '.join(map(repr, names[:5]))}{', ...' if len(names) > 5 else ''}. "
            f"Received: {source}, with {which}"
        )
    return [(text, at) for at, name in enumerate(names) for text in found[name]]


def _fit(
    told: Sequence[tuple[str, int]],
    model: TransferModel,
    train_split: data.Examples,
    validation: data.Examples,
    **how: Any,
) -> History:
    """As `fine_tune`, which learns from descriptions of classes too where these help."""
    plan = how["plan"]
    texts = [(text,) for text, _ in told]
    classes = np.array([at for _, at in told])
    found = _judged(texts, classes, model, (train_split, validation), plan.seed)
    say(wording.wrapped(str(found)))
    together = train_split
    if found.kept:
        labels = class_descriptions.as_labels(classes)
        names = model.task.class_names
        together = pseudo_labelling.with_labels(train_split, texts, labels, names)
    # What was drawn so far is no part of a training.
    runtime.seed_everything(plan.seed)
    history = fine_tune(model, together, validation, **how)
    history.plan[PLANNED] = str(found)
    return history


def _judged(
    texts: Sequence[tuple[str, ...]],
    classes: np.ndarray,
    model: TransferModel,
    splits: tuple[data.Examples, data.Examples],
    seed: int,
) -> class_descriptions.Judged:
    train_split, validation = splits
    taught = data.weighing.taught(train_split)
    described = data.Examples.from_lists([text for (text,) in texts])
    vectors = [
        nearness.unit(model.compute_features(part)) for part in (taught, described, validation)
    ]
    own, judges = (np.asarray(model.task.encode(e.labels)) for e in (taught, validation))
    if len(np.unique(own)) < 2:
        raise InputError(
            "descriptions are judged beside labelled texts of two classes that teach; leave "
            f"`--descriptions` out. Received: {wording.counted(len(own), 'text')} of one class"
        )
    rounds = class_descriptions.FOLDS + 1
    with progress.stage("Judging descriptions of classes", rounds, final=False) as stage:
        return class_descriptions.judge(
            (vectors[0], own),
            (vectors[1], classes),
            (vectors[2], judges),
            seed,
            functools.partial(stage.add, 1),
        )
