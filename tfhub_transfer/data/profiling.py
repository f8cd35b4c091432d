"""A data set on one screen: rows, lengths, classes, what stands out."""

import collections
import math
import textwrap
from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np

from tfhub_transfer.data import label_columns, outliers
from tfhub_transfer.errors import InputError
from tfhub_transfer.incoming import values, wording

# What stands for no label in some files, and for a class in others.
_NONE = ("na", "n/a", "none", "null", "-", "?", "unlabeled", "unlabelled")


class Split(Protocol):
    """What is described: `data.Examples`, or what has as much of it."""

    @property
    def columns(self) -> Mapping[str, Sequence[object]]:
        """Cells by column."""

    @property
    def target(self) -> str | None:
        """The column of labels; `None` if there are none."""

    @property
    def texts(self) -> tuple[Sequence[str], ...]:
        """One list of texts, or several for pairs and triplets."""

    @property
    def notes(self) -> Sequence[str]:
        """What was decided while they were read."""


def profile(train: Split, validation: Split | None = None, test: Split | None = None) -> str:
    """Describes a data set on one screen: rows, classes, lengths, duplicates across splits.

    Args:
        train: The training split, `data.Examples`.
        validation: The validation split.
        test: The test split.

    Raises:
        InputError: If one of them isn't examples.

    Example:

    >>> print(profile(train, validation, test))
                   rows  blank  repeated...
    train            32      0         0...
    """
    splits = {"train": train, "validation": validation, "test": test}
    given = {name: examples for name, examples in splits.items() if examples is not None}
    for name, examples in given.items():
        if not hasattr(examples, "texts"):
            raise InputError(
                "expected examples, as `data.read(file)` gives. Received: "
                f"{type(examples).__name__} for {name}"
            )
    lines = [
        f"{'':<11}{'rows':>8}{'blank':>7}{'repeated':>10}"
        f"{'words: median':>16}{'90 %':>6}{'most':>7}"
        f"{'characters: median':>20}{'90 %':>7}{'most':>8}"
    ]
    for name, examples in given.items():
        lines.append(_profile_line(name, examples))
    said = [f"read: {note}" for note in dict.fromkeys(n for e in given.values() for n in e.notes)]
    for line in said + _shared_lines(given) + _label_lines(train) + _weight_lines(train):
        lines += textwrap.wrap(line, 99, subsequent_indent="    ")
    return "\n".join(lines)


def _profile_line(name: str, examples: Split) -> str:
    """Counts of one split; lengths are of whole rows, both texts of a pair together."""
    rows = [" ".join(texts) for texts in zip(*examples.texts)]
    blank = sum(not row.strip() for row in rows)
    words = _percentiles([len(row.split()) for row in rows])
    characters = _percentiles([len(row) for row in rows])
    return (
        f"{name:<11}{len(rows):>8}{blank:>7}{len(rows) - len(set(rows)):>10}"
        f"{words[0]:>16}{words[1]:>6}{words[2]:>7}"
        f"{characters[0]:>20}{characters[1]:>7}{characters[2]:>8}"
    )


def _percentiles(lengths: list[int]) -> list[int]:
    return [round(p) for p in np.percentile(lengths or [0], [50, 90, 100])]


def _shared_lines(given: Mapping[str, Split]) -> list[str]:
    texts = {name: set(zip(*examples.texts)) for name, examples in given.items()}
    names = list(texts)
    shared = [
        f"also in {a}: {wording.counted(len(texts[a] & texts[b]), 'text')} of {b}"
        for i, a in enumerate(names)
        for b in names[i + 1 :]
        if texts[a] & texts[b]
    ]
    return [f"duplicates: {'; '.join(shared)}"] if shared else []


def _label_lines(train: Split) -> list[str]:
    """The classes with their counts, or the range of numbers; and labels that contradict."""
    labels = train.columns[train.target] if train.target else []
    names = [name for label in labels for name in label_columns.shown(label)]
    counts = collections.Counter(str(name) for name in names)
    lines = []
    if any(isinstance(name, dict) for name in names):
        silent = sum(not (x.get("text") if isinstance(x, dict) else x) for x in labels)
        lines.append(f"labels: answers; {silent} of {len(labels)} questions have none")
    elif counts and label_columns.repeat(len(counts), len(labels)):
        shown = [f"{textwrap.shorten(k, 32)} {n}" for k, n in counts.most_common(12)]
        rest = f", and {len(counts) - 12} more" if len(counts) > 12 else ""
        lines.append(f"labels: {len(counts)} ({', '.join(shown)}{rest})")
    elif numbers := _numbers(names):
        low, middle, high = np.percentile(numbers, [0, 50, 100])
        lines.append(f"labels: numbers from {low:g} to {high:g}, median {middle:g}")
    lines += _outlier_lines(_numbers(names)) + _name_lines(list(counts))
    answers: dict[tuple[str, ...], set[str]] = collections.defaultdict(set)
    for texts, label in zip(zip(*train.texts), labels):
        answers[texts].add(str(label))
    torn = sum(len(found) > 1 for found in answers.values())
    return (
        [*lines, f"contradictions: {wording.counted(torn, 'text')} with more than one label"]
        if torn
        else lines
    )


def _weight_lines(train: Split) -> list[str]:
    weights = getattr(train, "weights", None)
    if weights is None:
        return []
    low, middle, high = np.percentile(weights, [0, 50, 100])
    silent = sum(weight == 0 for weight in weights)
    none = f"; {wording.counted(silent, 'row')} of 0, to teach nothing" if silent else ""
    return [f"weights: numbers from {low:g} to {high:g}, median {middle:g}{none}"]


def _name_lines(names: list[str]) -> list[str]:
    """Classes that may be slips: for none, and such that differ in capitals alone."""
    alike: dict[str, list[str]] = collections.defaultdict(list)
    for name in names:
        alike[name.casefold()].append(name)
    if len(names) > label_columns.MOST_CLASSES:
        return []
    lines = []
    none = sorted(n for n in names if n.casefold() in _NONE or (n and values.is_nothing(n)))
    if none:
        lines.append(
            f"missing: {', '.join(none)} is a class; if it stands for no label, drop its rows"
        )
    found = [" and ".join(sorted(each)) for each in alike.values() if len(each) > 1]
    if found:
        lines.append(
            f"capitals: {', '.join(found[:5])} are classes of their own; if not, write them alike"
        )
    return lines


def _outlier_lines(numbers: list[float]) -> list[str]:
    far, spreads = outliers.far_values(numbers)
    if not far:
        return []
    shown = ", ".join(f"{value:g}" for value in far[:5]) + (", ..." if len(far) > 5 else "")
    return [
        f"outliers: {len(far)} of {len(numbers)} labels, {shown}, lie up to {spreads:.3g} robust "
        "spreads from the others; if they are slips or codes, mend them: regression learns little "
        "beside them"
    ]


def _numbers(labels: list[object]) -> list[float]:
    """The labels as numbers; empty if one isn't."""
    found = []
    for label in labels:
        found.append(values.number(label))
        if math.isnan(found[-1]):
            return []
    return found
