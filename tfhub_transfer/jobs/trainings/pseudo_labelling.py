"""A training that learns from unlabelled texts too, as `--unlabelled` asks."""

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tfhub_transfer import data, progress, runtime
from tfhub_transfer.errors import InputError
from tfhub_transfer.evaluation.measuring import Report
from tfhub_transfer.incoming import wording
from tfhub_transfer.jobs.inputs import read_splits, read_texts, undescribed
from tfhub_transfer.jobs.options.training import TrainJob
from tfhub_transfer.jobs.saying import say
from tfhub_transfer.jobs.three_splits import Splits
from tfhub_transfer.jobs.trainings import back_translating, training
from tfhub_transfer.models.transfer import TransferModel
from tfhub_transfer.recipes import pseudo_labels
from tfhub_transfer.recipes.active_learning.pools import same
from tfhub_transfer.reporting.joint_reports import JointReport
from tfhub_transfer.runtime import cluster
from tfhub_transfer.tasks import TASKS, nearness
from tfhub_transfer.training.finetuning import History, fine_tune

# What it is called in `training.json`.
PLANNED = "pseudo_labels"


def train(job: TrainJob) -> Report | JointReport | None:
    """As `back_translating.train`; with labels for unlabelled texts, where a job names such.

    Args:
        job: What to do.

    Raises:
        InputError: As `training.train`; if the task isn't one class for each text, the file has no
            texts that are others than those of the splits, or an option is no use beside this.
    """
    if job.unlabelled is None:
        return back_translating.train(job)
    _require_possible(job)
    splits, _ = read_splits(job)
    assert isinstance(splits, Splits)
    texts = unseen(read_unlabelled(job, splits), splits)
    return training.train(job, functools.partial(_fit, texts))


def _require_possible(job: TrainJob) -> None:
    others = {
        # It would draw together, and be judged by, what has one class as nobody said.
        f"--few-shot {job.few_shot}": job.few_shot != "off",
        "--back-translate": job.back_translate,
    }
    does = "gives labels to texts by their vectors, before the head learns, in one process"
    require_vectors(job, f"--unlabelled {job.unlabelled}", does, others)


def require_vectors(job: TrainJob, given: str, does: str, others: Mapping[str, object]) -> None:
    """Refuses what more texts to learn from can't be judged beside, by vectors of whole texts.

    Args:
        job: What to do.
        given: The option that asks for it, with its value.
        does: What the option does, in words.
        others: Further options by their names, and whether they are given.

    Raises:
        InputError: If the task isn't one class for each text, or such an option is given.
    """
    kind, option = TASKS.get(job.task), given.split(" ", 1)[0]
    if kind is None or kind.calibrated_by != "softmax" or kind.needs_tokens:
        raise InputError(
            f"`{option}` is for tasks of one class for each text: classification; leave it out. "
            f"Received: {given}, --task {job.task}"
        )
    odd = {
        "--refit": job.refit,
        "--workers": job.workers > 1,
        "several processes": cluster.place().count > 1,
        "a head that reads token vectors": job.block != "none" or job.pooling == "attention",
        **others,
    }
    for name, present in odd.items():
        if present:
            raise InputError(f"`{option}` {does}; leave one of both out. Received: {name}")


@progress.stage("Reading unlabelled texts", final=False)
def read_unlabelled(job: TrainJob, splits: Splits) -> list[tuple[str, ...]]:
    """The texts of the file, each with its second one where the splits have pairs.

    Args:
        job: What names the file, and its columns.
        splits: What is learned from.

    Raises:
        InputError: If the file is unusable.
    """
    assert job.unlabelled is not None
    pair = splits.train.is_pair
    given = [column for column in (job.text, job.text_pair) if column]
    expected = (
        "unlabelled texts stand in columns called as those of the training file"
        + (f", {', '.join(given)}" if given else "")
        + (", in pairs" if pair else ", or one a line of a file called .txt")
    )
    with undescribed(job.unlabelled, ("--text", "--text-pair", "text"), expected):
        read = read_texts(job.unlabelled, pair, job, {})
    return [each if pair else (each,) for each in read]


def unseen(texts: Sequence[tuple[str, ...]], splits: Splits) -> list[tuple[str, ...]]:
    """The texts that are no row of any split, without blank ones, and each once.

    A text of validation or test whose label nobody gave would yet be one that the model had seen.

    Args:
        texts: The texts of each row.
        splits: What is learned from, judged by and measured on.

    Raises:
        InputError: If there are none.
    """
    parts = (splits.train, splits.validation, splits.test)
    known = {_folded(row) for part in parts for row in zip(*part.texts)}
    kept: dict[tuple[str, ...], tuple[str, ...]] = {}
    for row in texts:
        if all(text.strip() for text in row) and _folded(row) not in known:
            kept.setdefault(_folded(row), row)
    if not kept:
        raise InputError(
            "unlabelled texts are to be others than those of training, validation and test; give "
            f"more. Received: {wording.counted(len(texts), 'row')}, each blank or a text of these"
        )
    if left := len(texts) - len(kept):
        rows = wording.counted(left, "row")
        say(wording.wrapped(f"Left out, as blank, there twice, or texts of a split: {rows}"))
    return [*kept.values()]


def _folded(row: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(map(same, row))


def _fit(
    texts: Sequence[tuple[str, ...]],
    model: TransferModel,
    train_split: data.Examples,
    validation: data.Examples,
    **how: Any,
) -> History:
    """As `fine_tune`, which learns from labels of unlabelled texts too where these help."""
    plan = how["plan"]
    own = _some(texts, model, plan.seed)
    found = _judged(own, model, train_split, validation, plan.seed)
    say(wording.wrapped(str(found)))
    together = train_split
    if found.labels is not None:
        together = with_labels(train_split, own, found.labels, model.task.class_names)
        labelled = wording.counted(len(data.weighing.taught(train_split)), "labelled text")
        say(f"Trained on {labelled} and {len(found.labels.rows):,} more")
    # What was drawn so far depends on how many texts there are.
    runtime.seed_everything(plan.seed)
    history = fine_tune(model, together, validation, **how)
    history.plan[PLANNED] = str(found)
    return history


def _some(
    texts: Sequence[tuple[str, ...]], model: TransferModel, seed: int
) -> Sequence[tuple[str, ...]]:
    """All texts, or as many as labels of so many classes can be spread over."""
    most = pseudo_labels.MOST_CELLS // len(model.task.class_names)
    if len(texts) <= most:
        return texts
    say(wording.wrapped(f"Of {len(texts):,} unlabelled texts {most:,} are drawn, for memory"))
    drawn = np.sort(np.random.default_rng(seed).permutation(len(texts))[:most])
    return [texts[row] for row in drawn]


def _judged(
    texts: Sequence[tuple[str, ...]],
    model: TransferModel,
    train_split: data.Examples,
    validation: data.Examples,
    seed: int,
) -> pseudo_labels.Judged:
    taught = data.weighing.taught(train_split)
    parts = [taught, data.Examples.from_lists(*_columns(texts)), validation]
    known, others, judges = (nearness.unit(model.compute_features(part)) for part in parts)
    classes, truth = (np.asarray(model.task.encode(part.labels)) for part in (taught, validation))
    if len(np.unique(classes)) < 2:
        raise InputError(
            "labels for unlabelled texts need labelled ones of two classes that teach; leave "
            f"`--unlabelled` out. Received: {wording.counted(len(classes), 'text')} of one class"
        )
    rounds = pseudo_labels.FOLDS + 1
    with progress.stage("Giving labels to unlabelled texts", rounds, final=False) as stage:
        asked = (judges, truth)
        return pseudo_labels.judge(
            known, classes, others, asked, seed, functools.partial(stage.add, 1)
        )


def _columns(texts: Sequence[tuple[str, ...]]) -> tuple[Any, ...]:
    """What `Examples.from_lists` takes of rows: texts, no labels, and perhaps second texts."""
    columns = [list(column) for column in zip(*texts)]
    return (columns[0], None, *columns[1:])


def with_labels(
    train_split: data.Examples,
    texts: Sequence[tuple[str, ...]],
    labels: pseudo_labels.Labels,
    names: Sequence[str],
) -> data.Examples:
    """Labelled texts, and those whose labels nobody gave, which count as much as these are sure.

    Args:
        train_split: The labelled ones.
        texts: The others, as rows.
        labels: Labels of some of them.
        names: The names of the classes.
    """
    chosen = [texts[row] for row in labels.rows]
    firsts, _, *seconds = _columns(chosen)
    more = data.Examples.from_lists(
        firsts,
        [names[each] for each in labels.classes],
        seconds[0] if seconds else None,
        weight=[float(each) for each in labels.confidences],
    )
    own = train_split
    if own.weight is None:
        columns = {**own.columns, data.weighing.WEIGHT: [1.0] * len(own)}
        own = dataclasses.replace(own, columns=columns, weight=data.weighing.WEIGHT)
    return data.pool(own, more)
