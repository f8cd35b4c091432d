"""What a job trains on, judges by and measures on: three splits, of one task or of several."""

import dataclasses
from collections.abc import Mapping

from tfhub_transfer.data import Examples


@dataclasses.dataclass(frozen=True)
class Splits:
    """The three splits that a job works on.

    Attributes:
        train: What teaches.
        validation: What epochs are judged by.
        test: What is measured.
    """

    train: Examples
    validation: Examples
    test: Examples

    def by_task(self) -> dict[str, "Splits"]:
        """The splits of each task; those of one task alone have no name."""
        return {"": self}

    def counts(self) -> dict[str, int]:
        """How many examples each split has."""
        return {name: len(each) for name, each in vars(self).items()}


@dataclasses.dataclass(frozen=True)
class JointSplits:
    """Those of a job of several tasks, each `{name: examples}`; the attributes as of `Splits`."""

    train: Mapping[str, Examples]
    validation: Mapping[str, Examples]
    test: Mapping[str, Examples]

    @classmethod
    def of(cls, parts: Mapping[str, Splits]) -> "JointSplits":
        """Those of each task, by its name."""
        return cls(
            {name: own.train for name, own in parts.items()},
            {name: own.validation for name, own in parts.items()},
            {name: own.test for name, own in parts.items()},
        )

    def by_task(self) -> dict[str, Splits]:
        """The splits of each task."""
        parts = self.train, self.validation, self.test
        return {name: Splits(*(part[name] for part in parts)) for name in self.train}
