"""What pages ask of the reports that they show, which stand above them; nothing here runs."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from tfhub_transfer.reporting import contents
from tfhub_transfer.reporting.standings import Standing


class Single(Protocol):
    """A `reports.Report`."""

    task: str
    encoder: str
    examples: dict[str, int | None]
    metrics: contents.Numbers
    class_names: list[str] | None
    baselines: dict[str, contents.Numbers]
    per_class: list[contents.ClassScores]
    confusion: list[list[int]] | None
    mistakes: list[contents.Mistake]
    history: contents.History
    seconds: dict[str, float]
    warnings: list[str]
    notes: list[str]
    entities: contents.Entities
    slices: list[contents.Slice]
    weak_spots: contents.WeakSpots
    learning_curve: contents.LearningCurve
    thresholds: contents.Thresholds | None
    attention: list[contents.Attention]
    setup: Mapping[str, object]
    profile: str
    standing: Standing

    def verdict(self) -> str | None: ...

    def judged_by(self) -> str | None: ...

    def spread(self, name: str) -> str: ...


class Difference(Protocol):
    """A `paired.Difference`: of the model of all tasks to the one of a task alone."""

    @property
    def metric(self) -> str: ...

    @property
    def first(self) -> float: ...

    @property
    def second(self) -> float: ...

    @property
    def interval(self) -> contents.Interval | None: ...

    @property
    def standing(self) -> Standing: ...

    @property
    def value(self) -> float: ...

    @property
    def better(self) -> bool | None: ...


class Several(Protocol):
    """A `joint_reports.JointReport`."""

    task: str
    encoder: str
    alone: dict[str, contents.Numbers]
    seconds: dict[str, float]
    alone_seconds: dict[str, float]
    history: contents.History
    notes: list[str]

    @property
    def reports(self) -> Mapping[str, Single]: ...

    @property
    def differences(self) -> Mapping[str, Difference]: ...

    @property
    def warnings(self) -> Sequence[str]: ...

    def sharing(self) -> dict[str, str]: ...

    def cost(self) -> list[str]: ...

    def folders(self) -> dict[str, str]: ...
