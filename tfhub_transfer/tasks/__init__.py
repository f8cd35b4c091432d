"""What a model is trained to answer: one class for each task, behind the interface `Task`."""

from tfhub_transfer.tasks.base import Head, Task
from tfhub_transfer.tasks.multi import JointLoss, MultiTask
from tfhub_transfer.tasks.sentence_level import ExtractiveSummarization, references
from tfhub_transfer.tasks.sequence_level import Classification, MultiLabel, Regression
from tfhub_transfer.tasks.similarity import Similarity
from tfhub_transfer.tasks.span_level import QuestionAnswering
from tfhub_transfer.tasks.token_level import TokenClassification

TASKS: dict[str, type[Task]] = {
    task.name: task
    for task in (
        Classification,
        MultiLabel,
        Regression,
        TokenClassification,
        QuestionAnswering,
        ExtractiveSummarization,
        Similarity,
    )
}

__all__ = [
    "TASKS",
    "Classification",
    "ExtractiveSummarization",
    "Head",
    "JointLoss",
    "MultiLabel",
    "MultiTask",
    "QuestionAnswering",
    "Regression",
    "Similarity",
    "Task",
    "TokenClassification",
    "references",
]
