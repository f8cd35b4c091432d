"""Texts of which some have labels: checked, each counted once."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from tfhub_transfer.errors import InputError
from tfhub_transfer.incoming import values
from tfhub_transfer.incoming.wording import class_name, listed, require_text
from tfhub_transfer.recipes.active_learning.linear_heads import Label


def same(text: str) -> str:
    """What texts share that are equal but for case and blanks.

    Args:
        text: Any text.

    Example:

    >>> same(" A  good film")
    'a good film'
    """
    return " ".join(text.split()).casefold()


def label_of(label: object) -> Label:
    """A label as classes are spelled, or of several all of them in order.

    Args:
        label: A class, or a list of classes.

    Raises:
        InputError: If it is no name of a class.

    Example:

    >>> label_of(1.0), label_of(["b", "a"])
    ('1', ('a', 'b'))
    """
    label = values.plain(label)
    if isinstance(label, (list, tuple, set, frozenset)):
        return tuple(sorted({class_name(each) for each in label}))
    return class_name(label)


def names_of(label: Label) -> tuple[str, ...]:
    """The classes of a label.

    Args:
        label: As `label_of` gives it.
    """
    return (label,) if isinstance(label, str) else label


def checked(texts: Sequence[str]) -> list[str]:
    """Texts as they are, if they are.

    Args:
        texts: Single texts.

    Raises:
        InputError: If one is something else; the message names its row.
    """
    return [require_text(text, f"row {n} of the texts") for n, text in enumerate(listed(texts), 1)]


@dataclasses.dataclass(frozen=True)
class Pool:
    """Texts with what is known of them; of each that comes again the first row stands for all.

    Attributes:
        texts: All texts.
        labels: What is known, by rows that stand for themselves.
        rows: All of these rows; blank texts have none.
    """

    texts: list[str]
    labels: dict[int, Label]
    rows: np.ndarray

    @classmethod
    def of(cls, texts: Sequence[str], labels: Sequence[object] | None) -> "Pool":
        """Checks texts and labels.

        Args:
            texts: Single texts.
            labels: For each its class, or a list of its classes, or `None`.

        Raises:
            InputError: If one is something else, or they don't go together.
        """
        read = checked(texts)
        given = [None] * len(read) if labels is None else listed(labels)
        if len(given) != len(read):
            raise InputError(
                "expected a label for each text, None where there is none. Received: "
                f"{len(read):,} texts, {len(given):,} labels"
            )
        first: dict[str, int] = {}
        for row, text in enumerate(read):
            if text.strip():
                first.setdefault(same(text), row)
        # Of equal texts the last label holds.
        known = {
            first[same(text)]: label_of(label)
            for text, label in zip(read, given)
            if text.strip() and not values.is_missing(label)
        }
        if len({isinstance(label, str) for label in known.values()}) > 1:
            raise InputError(
                "expected one class for each text, or a list of classes for each. Received: both"
            )
        return cls(read, known, np.array(list(first.values()), int))

    @property
    def known(self) -> tuple[np.ndarray, list[Label]]:
        """Rows with a label, in order, and these labels."""
        rows = sorted(self.labels)
        return np.array(rows, int), [self.labels[row] for row in rows]

    def free(self) -> np.ndarray:
        """Rows without a label."""
        return np.array([row for row in self.rows.tolist() if row not in self.labels], int)
