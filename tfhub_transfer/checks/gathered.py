"""Rows of all splits together, with their labels as the task reads them."""

import dataclasses
import functools
from collections.abc import Mapping, Sequence

import numpy as np

from tfhub_transfer.checks import duplicates, guessing
from tfhub_transfer.data import Examples, require_examples
from tfhub_transfer.errors import InputError, placed
from tfhub_transfer.incoming import values
from tfhub_transfer.reporting.findings import Row
from tfhub_transfer.tasks import Task
from tfhub_transfer.texts import joining

SPLITS = ("train", "validation", "test")
# What labels are to the checks: a class each, sets of classes, numbers, or what only a task knows.
CLASSES, SETS, NUMBERS, OTHERS = "classes", "sets", "numbers", "others"


@dataclasses.dataclass(frozen=True)
class Gathered:
    """The rows of all splits.

    Attributes:
        splits: The examples of each split.
        rows: All rows, split after split.
        task: What their labels are of; `None` where none has one.
        kind: What labels are to the checks; `None` where none has one.
    """

    splits: Mapping[str, Examples]
    rows: Sequence[Row]
    task: Task | None
    kind: str | None

    @functools.cached_property
    def normalized(self) -> list[tuple[str, ...]]:
        """Texts as they are compared."""
        return [tuple(map(duplicates.normalized, row.texts)) for row in self.rows]

    @functools.cached_property
    def blank(self) -> np.ndarray:
        """Whether one of a row's texts is blank, bool `[n]`."""
        return np.array([not all(texts) for texts in self.normalized], bool)

    @functools.cached_property
    def same(self) -> np.ndarray:
        """The first row with the same texts, int `[n]`."""
        return duplicates.same(self.normalized)

    @functools.cached_property
    def near(self) -> np.ndarray:
        """The first row that a row is connected with by nearly the same texts, int `[n]`."""
        firsts = np.array([row for row in np.unique(self.same) if not self.blank[row]], int)
        pairs = [
            (int(firsts[one]), int(firsts[other]))
            for one, other in duplicates.near_pairs([self.normalized[row] for row in firsts])
        ]
        return np.asarray(duplicates.joined(len(self.rows), pairs)[self.same])

    @functools.cached_property
    def labelled(self) -> np.ndarray:
        """Rows that have a label, int `[m]`."""
        return np.flatnonzero([row.label is not None for row in self.rows])

    def of(self, *splits: str) -> np.ndarray:
        """Whether each row is of one of some splits, bool `[n]`.

        Args:
            *splits: Their names.
        """
        return np.array([row.split in splits for row in self.rows], bool)

    def texts(self, rows: np.ndarray) -> Examples:
        """Rows as examples of texts without labels.

        Args:
            rows: Places of the rows.
        """
        columns = zip(*(self.rows[row].texts for row in rows.tolist()))
        names = ("text",) if len(self.rows[0].texts) == 1 else ("text_a", "text_b", "text_c")
        return Examples(dict(zip(names, map(list, columns))))


def gather(given: Examples | Mapping[str, Examples], task: Task | None = None) -> Gathered:
    """Puts the rows of splits together.

    Args:
        given: Examples, or those of `train`, `validation` and `test` by name; a label may be
            `None`.
        task: What the labels are of; told by them if not given.

    Raises:
        InputError: If they don't go together, or a label isn't of the task.
    """
    splits = dict(given) if isinstance(given, Mapping) else {"train": given}
    if not splits or set(splits) - set(SPLITS):
        raise InputError(
            f"expected examples, or a mapping of {', '.join(SPLITS)} to such. "
            f"Received: {', '.join(map(repr, splits)) or 'none'}"
        )
    for examples in splits.values():
        require_examples(examples)
    forms = {len(examples.texts) for examples in splits.values()}
    if len(forms) > 1 or not all(map(len, splits.values())):
        raise InputError(
            "the splits must have rows, and as many texts a row; name their columns alike. "
            f"Received: {'; '.join(map(repr, splits.values()))}"
        )
    splits = {name: splits[name] for name in SPLITS if name in splits}
    read = {name: _labels(examples) for name, examples in splits.items()}
    known = [label for own in read.values() for label in own if label is not None]
    if not known:
        return Gathered(splits, _rows(splits, read), None, None)
    if task is None:
        first = next(iter(splits.values()))
        task = guessing.task_of(first.texts[0], known)
    if not task.needs_labels:
        return Gathered(splits, _rows(splits, read), task, OTHERS)
    told = {name: _read(splits[name], own, task) for name, own in read.items()}
    return Gathered(splits, _rows(splits, told), task, _kind(task, told))


def _labels(examples: Examples) -> list[object]:
    if examples.target is None:
        return [None] * len(examples)
    return [None if _is_blank(label) else label for label in examples.labels]


def _is_blank(label: object) -> bool:
    return values.is_missing(label) or (isinstance(label, str) and not label.strip())


def _read(examples: Examples, labels: list[object], task: Task) -> list[object]:
    """Labels as the task reads them; missing ones of sets are those of no class."""
    if task.takes_blank:
        labels = [[] if label is None else label for label in labels]
    there = [row for row, label in enumerate(labels) if label is not None]
    if not there:
        return labels
    with placed(examples[there]):
        plain = _plain([labels[row] for row in there], task)
    for row, label in zip(there, plain):
        labels[row] = tuple(label) if isinstance(label, list) else label
    return labels


def _plain(labels: list[object], task: Task) -> list[object]:
    """Labels as the task reads them; numbers that stand for names which were given are these."""
    if not task.class_names or task.learned or not task.one_row:
        return list(task.read_labels(labels))
    names = task.class_names
    places = task.encode(labels)
    if places.ndim == 1:
        return [names[int(place)] for place in places]
    return [[names[place] for place in np.flatnonzero(row)] for row in places]


def _kind(task: Task, told: Mapping[str, list[object]]) -> str:
    some = next(label for own in told.values() for label in own if label is not None)
    if not task.one_row:
        return OTHERS
    if isinstance(some, str):
        return CLASSES
    return SETS if isinstance(some, tuple) else NUMBERS


def _rows(splits: Mapping[str, Examples], labels: Mapping[str, list[object]]) -> list[Row]:
    found = []
    for name, examples in splits.items():
        numbers = examples.numbers or range(1, len(examples) + 1)
        for number, texts, label in zip(numbers, zip(*examples.texts), labels[name]):
            found.append(Row(name, int(number), tuple(map(joining.spaced, texts)), label))
    return found


def names_of(label: object) -> tuple[str, ...] | None:
    """The classes of a label; `None` of a row without one.

    Args:
        label: Of rows whose labels are classes, or sets of them.
    """
    if label is None:
        return None
    return tuple(map(str, label)) if isinstance(label, tuple) else (str(label),)
