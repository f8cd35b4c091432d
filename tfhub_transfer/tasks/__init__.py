"""What a model is trained to answer: one class for each task, behind the interface `Task`."""

from tfhub_transfer.tasks.base import Head, Task
from tfhub_transfer.tasks.sequence_level import Classification, MultiLabel, Regression

TASKS: dict[str, type[Task]] = {
    task.name: task for task in (Classification, MultiLabel, Regression)
}

__all__ = ["TASKS", "Classification", "Head", "MultiLabel", "Regression", "Task"]
