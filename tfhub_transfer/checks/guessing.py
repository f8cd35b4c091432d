"""Which task labels are of, where nobody says."""

from collections.abc import Sequence

from tfhub_transfer.data import label_columns
from tfhub_transfer.incoming import values
from tfhub_transfer.tasks import (
    TASKS,
    Classification,
    ExtractiveSummarization,
    MultiLabel,
    Regression,
    Task,
)

_LOOKED_AT = 100
# The share of labels of several classes from which all are such; more distinct numbers are amounts.
_SEVERAL = 0.05
_MOST_GRADES = 20
# Names below which nobody can say whether they come again.
_FEW = 20


def task_of(texts: Sequence[object], labels: Sequence[object]) -> Task:
    """The task that data are taken for.

    Args:
        texts: The first column of texts.
        labels: The labels, as they were read; none of them is missing.

    Example:

    >>> task_of(["a", "b"], ["x", "y"]).name, task_of(["a", "b"], [["x"], []]).name
    ('classification', 'multi-label')
    """
    some = texts[:_LOOKED_AT], labels[:_LOOKED_AT]
    claiming = next((kind for kind in TASKS.values() if kind.claims(*some)), None)
    if claiming is not None:
        return claiming()
    several = sum(map(label_columns.is_several, labels))
    if several and several >= _SEVERAL * len(labels):
        names = [str(name) for label in labels for name in label_columns.shown(label)]
        repeat = len(names) < _FEW or label_columns.repeat(len({*names}), len(names))
        # Names that hardly come again are sentences, of which summaries are lists.
        return MultiLabel() if repeat else ExtractiveSummarization()
    numbers = [values.number(label) for label in labels]
    if all(number == number for number in numbers):
        distinct = set(numbers)
        if len(distinct) > _MOST_GRADES or any(number % 1 for number in distinct):
            return Regression()
    return Classification()
