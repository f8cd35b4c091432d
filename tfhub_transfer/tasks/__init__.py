"""What a model is trained to answer: one class for each task, behind the interface `Task`."""

import inspect
import re
from typing import TypeVar

import keras

from tfhub_transfer.errors import InputError
from tfhub_transfer.heads.settings import Head
from tfhub_transfer.reporting import standings
from tfhub_transfer.reporting.standings import Standing
from tfhub_transfer.tasks.base import Task
from tfhub_transfer.tasks.generation.searching import Search
from tfhub_transfer.tasks.generation.task import (
    AbstractiveSummarization,
    Dialogue,
    TextGeneration,
    Translation,
)
from tfhub_transfer.tasks.generation.vocabulary import TargetVocabulary
from tfhub_transfer.tasks.questions.task import QuestionAnswering
from tfhub_transfer.tasks.several.task import JointLoss, MultiTask
from tfhub_transfer.tasks.similarity.task import Similarity
from tfhub_transfer.tasks.summaries.task import ExtractiveSummarization, references
from tfhub_transfer.tasks.tagging.task import TokenClassification
from tfhub_transfer.tasks.whole.amounts import Regression
from tfhub_transfer.tasks.whole.ordinal import OrdinalRegression
from tfhub_transfer.tasks.whole.task import Classification, MultiLabel

Kind = TypeVar("Kind", bound=type[Task])

TASKS: dict[str, type[Task]] = {
    task.name: task
    for task in (
        Classification,
        MultiLabel,
        Regression,
        OrdinalRegression,
        TokenClassification,
        QuestionAnswering,
        ExtractiveSummarization,
        Similarity,
        Translation,
        AbstractiveSummarization,
        Dialogue,
        TextGeneration,
    )
}
# Taken at once: a name of one's own may be registered anew, one of ours may not.
_OURS = (*TASKS, MultiTask.name)
for _kind in TASKS.values():
    standings.register(_kind.name, _kind.standing)
# Not ours, so that nothing registered can pass for one of our classes in a file.
_PACKAGE = "own_tasks"


def register(kind: Kind) -> Kind:
    """Gives a task of one's own a place among ours: a decorator of its class.

    Models of it load from `.keras` files wherever the class was registered, and jobs find it by its
    `name`. `build_model` takes any task, registered or not.

    Args:
        kind: A subclass of `Task`.

    Returns:
        The class itself.

    Raises:
        InputError: If it is no task, lacks a method, or has the name of one of ours.

    Example:

    >>> @register
    ... class Toxicity(Classification):
    ...     name = "toxicity"
    >>> TASKS.pop("toxicity") is Toxicity
    True
    """
    if not (isinstance(kind, type) and issubclass(kind, Task)):
        raise InputError(
            f"`register` takes a subclass of `tasks.Task`. Received: {str(kind)[:80]!r}"
        )
    missing = sorted(getattr(kind, "__abstractmethods__", ()))
    if inspect.isabstract(kind):
        raise InputError(
            "a task has all methods of `tasks.Task`; write the others too. "
            f"Received: {kind.__name__} without {', '.join(missing)}"
        )
    name = getattr(kind, "name", None)
    if not isinstance(name, str) or not re.fullmatch("[a-z][a-z0-9-]*", name) or name in _OURS:
        raise InputError(
            "a task of one's own has a `name` in small letters, digits and -, and none of "
            f"{', '.join(_OURS)}. Received: {kind.__name__} called {name!r}"
        )
    keras.saving.register_keras_serializable(package=_PACKAGE, name=name)(kind)
    TASKS[name] = kind
    # Where a task doesn't name its own, the class has a property there.
    if isinstance(kind.standing, Standing):
        standings.register(name, kind.standing)
    return kind


def is_ours(task: Task) -> bool:
    """Whether a task is one of this package, and none of one's own.

    Args:
        task: The task.
    """
    return task.name in _OURS


__all__ = [
    "TASKS",
    "AbstractiveSummarization",
    "Classification",
    "Dialogue",
    "ExtractiveSummarization",
    "Head",
    "JointLoss",
    "MultiLabel",
    "MultiTask",
    "OrdinalRegression",
    "QuestionAnswering",
    "Regression",
    "Search",
    "Similarity",
    "TargetVocabulary",
    "Task",
    "TextGeneration",
    "TokenClassification",
    "Translation",
    "references",
    "register",
]
