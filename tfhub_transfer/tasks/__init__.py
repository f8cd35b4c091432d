"""What a model is trained to answer: one class for each task, behind the interface `Task`."""

from tfhub_transfer.tasks.base import Head, Task
from tfhub_transfer.tasks.sequence_level import Classification, MultiLabel, Regression
from tfhub_transfer.tasks.similarity import Similarity
from tfhub_transfer.tasks.token_level import TokenClassification

TASKS: dict[str, type[Task]] = {
    task.name: task
    for task in (Classification, MultiLabel, Regression, TokenClassification, Similarity)
}

__all__ = [
    "TASKS",
    "Classification",
    "Head",
    "MultiLabel",
    "Regression",
    "Similarity",
    "Task",
    "TokenClassification",
]
