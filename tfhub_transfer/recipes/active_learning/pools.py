"""Texts of which some have labels: checked, each counted once."""

import dataclasses
from collections.abc import Sequence
from typing import TypeAlias, cast, overload

import numpy as np

from tfhub_transfer.errors import InputError
from tfhub_transfer.incoming import values
from tfhub_transfer.incoming.wording import class_name, listed, require_text
from tfhub_transfer.recipes.active_learning.linear_heads import Label

# What is labelled: one text, or a pair of them.
Text: TypeAlias = str | tuple[str, str]


def parts(text: Text) -> tuple[str, ...]:
    """The texts of what is labelled: one or two.

    Args:
        text: A text, or a pair.
    """
    return (text,) if isinstance(text, str) else text


@overload
def same(text: str) -> str: ...
@overload
def same(text: Text) -> Text: ...
def same(text: Text) -> Text:
    """What texts share that are equal but for case and blanks.

    Args:
        text: Any text, or a pair.

    Example:

    >>> same(" A  good film"), same(("A cat", "An  animal"))
    ('a good film', ('a cat', 'an animal'))
    """
    found = [" ".join(part.split()).casefold() for part in parts(text)]
    return found[0] if isinstance(text, str) else (found[0], found[1])


def is_blank(text: Text) -> bool:
    """Whether nobody could label it: a text, or one of a pair, says nothing.

    Args:
        text: A text, or a pair.
    """
    return not all(part.strip() for part in parts(text))


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


def checked(texts: Sequence[Text]) -> list[Text]:
    """Texts as they are, if they are: single ones, or pairs as tuples.

    Args:
        texts: Single texts, or pairs of them.

    Raises:
        InputError: If one is something else than the others; the message names its row.
    """
    given = [values.plain(text) for text in listed(texts)]
    places = [f"row {n} of the texts" for n in range(1, len(given) + 1)]
    if not any(map(_is_many, given)):
        return [require_text(text, place) for text, place in zip(given, places)]
    read: list[Text] = []
    for each, place in zip(given, places):
        if not _is_many(each) or len(cast(list[object], each)) != 2:
            raise InputError(
                f"{place}: expected a pair of texts, as in other rows; give single texts or pairs, "
                f"all alike. Received: {each!r:.60}"
            )
        first, second = cast(list[object], each)
        read.append((require_text(first, place), require_text(second, place)))
    return read


def _is_many(given: object) -> bool:
    return isinstance(given, (tuple, list))


@dataclasses.dataclass(frozen=True)
class Pool:
    """Texts with what is known of them; of each that comes again the first row stands for all.

    Attributes:
        texts: All texts, or all pairs.
        labels: What is known, by rows that stand for themselves.
        rows: All of these rows; blank texts have none.
    """

    texts: list[Text]
    labels: dict[int, Label]
    rows: np.ndarray

    @classmethod
    def of(cls, texts: Sequence[Text], labels: Sequence[object] | None) -> "Pool":
        """Checks texts and labels.

        Args:
            texts: Single texts, or pairs.
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
        first: dict[Text, int] = {}
        for row, text in enumerate(read):
            if not is_blank(text):
                first.setdefault(same(text), row)
        # Of equal texts the last label holds.
        known = {
            first[same(text)]: label_of(label)
            for text, label in zip(read, given)
            if not is_blank(text) and not values.is_missing(label)
        }
        if len({isinstance(label, str) for label in known.values()}) > 1:
            raise InputError(
                "expected one class for each text, or a list of classes for each. Received: both"
            )
        return cls(read, known, np.array(list(first.values()), int))

    @property
    def is_pair(self) -> bool:
        """Whether what is labelled are pairs of texts."""
        return bool(self.texts) and not isinstance(self.texts[0], str)

    @property
    def known(self) -> tuple[np.ndarray, list[Label]]:
        """Rows with a label, in order, and these labels."""
        rows = sorted(self.labels)
        return np.array(rows, int), [self.labels[row] for row in rows]

    def free(self) -> np.ndarray:
        """Rows without a label."""
        return np.array([row for row in self.rows.tolist() if row not in self.labels], int)
