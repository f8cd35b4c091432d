"""Shares of the rows, one for each of several workers: every so-many-th row."""

import dataclasses
from collections.abc import Mapping
from typing import Any, TypeAlias, TypeVar

import numpy as np

from tfhub_transfer.data import Examples
from tfhub_transfer.errors import InputError
from tfhub_transfer.incoming import ranges
from tfhub_transfer.tasks.layouts import Rows

# Examples or rows; of several tasks by name.
Given: TypeAlias = "Examples | Rows | Mapping[str, Given]"
Some = TypeVar("Some")


@dataclasses.dataclass(frozen=True)
class Step:
    """How many rows shares have that go in step.

    Attributes:
        most: Of the largest share, which all need as many batches as.
        mean: Of all, so that a row weighs alike in each of them.
    """

    most: int
    mean: float


@dataclasses.dataclass(frozen=True)
class Share:
    """Every `count`-th example from `index` on. All shares together are all examples, once each."""

    index: int = 0
    count: int = 1

    def of(self, given: Some) -> Some:
        """Those examples, or the rows that are of those examples, in their order.

        Args:
            given: What to share out.

        Raises:
            InputError: If there are none for this share.
        """
        return given if self.count == 1 else self._of(given)

    def _of(self, given: object) -> Any:
        if isinstance(given, Mapping):
            return {name: self._of(each) for name, each in given.items()}
        if isinstance(given, Rows):
            mine = np.flatnonzero(given.owners % self.count == self.index)
            found: Rows | Examples = Rows(given.examples[mine], given.owners[mine], given.count)
        elif isinstance(given, Examples):
            found = given[self.index :: self.count]
        else:
            return given  # which the layout refuses
        self.require(len(found), len(given))
        return found

    def require(self, found: int, rows: int) -> None:
        """Raises `InputError` if a share has no rows.

        Args:
            found: How many it has.
            rows: How many there are.
        """
        if not found:
            raise InputError(
                f"each share must have a row; make fewer shares of {rows:,} rows. "
                f"Received: shard={(self.index, self.count)}"
            )

    def step(self, given: Given) -> "Step":
        """What all shares of these rows have to know of each other to go in step.

        Args:
            given: All rows.
        """
        counts = self._counts(given)
        return Step(int(counts.max()), float(counts.mean()))

    def _counts(self, given: Given) -> np.ndarray:
        """The number of rows of each share, int `[count]`."""
        if isinstance(given, Mapping):
            return np.sum([self._counts(each) for each in given.values()], axis=0)
        owners = given.owners if isinstance(given, Rows) else np.arange(len(given))
        return np.bincount(owners % self.count, minlength=self.count)


def parse(shard: object) -> Share:
    """What a user means by `shard`.

    Args:
        shard: `(index, count)`, or `None` for all rows.

    Raises:
        InputError: If it is something else, or the index is none of a share.

    Example:

    >>> parse((1, 4))
    Share(index=1, count=4)
    """
    if shard is None:
        return Share()
    pair = list(shard) if isinstance(shard, (tuple, list, np.ndarray)) else []
    if len(pair) != 2 or any(isinstance(each, str) for each in pair):
        raise InputError(
            "`shard` must be two whole numbers, (index, count): every count-th row from index on. "
            f"Received: {shard!r}"
        )
    count = ranges.whole_number("shard's count", pair[1], *ranges.SIZE)
    return Share(ranges.whole_number("shard's index", pair[0], 0, count - 1), count)
