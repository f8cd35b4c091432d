"""Several trainings of one trial: by which folds, and what they are worth together."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tfhub_transfer import data
from tfhub_transfer.data import Stream
from tfhub_transfer.errors import InputError
from tfhub_transfer.incoming import ranges
from tfhub_transfer.tasks import Task

# What a training of a trial was judged by, among the values that its tuner is told: by its place.
_SCORE = "training/"
# Examples to learn from, and to judge by; of several tasks by name.
Fold = tuple[Any, Any]


def folded(task: Task, train: Any, validation: Any, count: object, seed: int) -> tuple[Fold, ...]:
    """What the trainings of a trial learn from and are judged by, fold by fold.

    Each example of both splits is judged once; what `data.split` keeps together is in one fold.

    Args:
        task: The task, or several in one.
        train: As for `fine_tune`.
        validation: Likewise.
        count: How many folds; of 1 the two splits are what there is.
        seed: Of the draw.

    Raises:
        InputError: If the examples can't be folded so.
    """
    count = ranges.whole_number("folds", count, 1, ranges.FOLDS[1])
    if count == 1:
        return ((train, validation),)
    taught, judged = task.apart(train), task.apart(validation)
    if any(isinstance(each, Stream) for each in taught.values()):
        raise InputError(
            "folds are drawn from examples in memory: read the file with `data.read`, or search "
            "with `seeds` alone. Received: a stream"
        )
    parts = {
        name: _parts(each, [taught[name], judged[name]], count, seed)
        for name, each in task.parts.items()
    }
    found = []
    for at in range(count):
        learned = {name: data.pool(*own[:at], *own[at + 1 :]) for name, own in parts.items()}
        pair = learned, {name: own[at] for name, own in parts.items()}
        found.append(pair if task.several else tuple(next(iter(each.values())) for each in pair))
    return tuple(found)


def _parts(task: Task, splits: Sequence[Any], count: int, seed: int) -> tuple[Any, ...]:
    pooled = data.pool(*splits)
    kept = task.kept_together
    return data.folds(pooled, count, seed, kept if kept in pooled.columns else None)


def require_losses(task: Task, losses: Sequence[Any], folds: Sequence[Fold]) -> None:
    """Refuses losses that the labels don't suit, before a trial finds out.

    Args:
        task: The task.
        losses: Some of its own.
        folds: What is learned from and judged by.

    Raises:
        InputError: If one doesn't suit.
    """
    for own in map(task.with_loss, losses):
        for train, validation in folds:
            own.check_training(train)
            own.check(validation)


def together(worth: Sequence[Mapping[str, float]], objective: Any) -> dict[str, float]:
    """The means of what each training of a trial is worth, and what each was judged by.

    Args:
        worth: What each is worth, by the names of Keras' reports, in their order.
        objective: KerasTuner's, which may be of several values.
    """
    names = [name for name in worth[0] if all(name in each for each in worth)]
    found = {name: float(np.mean([each[name] for each in worth])) for name in names}
    scores = [float(objective.get_value(each)) for each in worth]
    return {**told(found, objective), **{f"{_SCORE}{at}": s for at, s in enumerate(scores)}}


def told(worth: Mapping[str, float], objective: Any) -> dict[str, float]:
    """What a trial is worth, with an objective of several values by the name that it has.

    KerasTuner makes one itself of Keras' curves only, and refuses other values without it.

    Args:
        worth: By the names of Keras' reports.
        objective: KerasTuner's.
    """
    several = {each.name for each in getattr(objective, "objectives", ())}
    if not several or not several <= worth.keys():
        return dict(worth)
    return {**worth, objective.name: float(objective.get_value(worth))}


def scores_of(metrics: Mapping[str, float]) -> tuple[float, ...]:
    """What each training of a trial was judged by, in their order; none, if there was but one.

    Args:
        metrics: All values of a trial, by name.
    """
    own = {int(n.removeprefix(_SCORE)): v for n, v in metrics.items() if n.startswith(_SCORE)}
    return tuple(float(own[at]) for at in sorted(own))


def without_scores(metrics: Mapping[str, float]) -> dict[str, float]:
    """The values of a trial that Keras reports.

    Args:
        metrics: As of `scores_of`.
    """
    return {name: value for name, value in metrics.items() if not name.startswith(_SCORE)}
