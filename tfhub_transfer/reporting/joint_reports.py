"""What an evaluation of several tasks found, each beside what it reached alone."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

from tfhub_transfer.errors import InputError, visible
from tfhub_transfer.incoming.wording import shown, wrapped
from tfhub_transfer.reporting import paired, plots
from tfhub_transfer.reporting.contents import History, Numbers
from tfhub_transfer.reporting.pages import joint
from tfhub_transfer.reporting.paired import Difference
from tfhub_transfer.reporting.reports import Report, as_json, jsonable, write
from tfhub_transfer.shapes import Json
from tfhub_transfer.texts import joining

_SEEDS = (
    "together and alone were trained once each: the intervals are about other test examples, and "
    "another seed may change as much"
)


@dataclasses.dataclass
class JointReport:
    """The reports of several tasks that learned on one encoder.

    Attributes:
        encoder: Handle of the encoder.
        reports: The report of each task, by name.
        alone: Metrics of models that learned one task alone, by the names of tasks, as far as
            they are known.
        seconds: Wall-clock seconds of each stage of the joint training.
        differences: By how much each task is better together than alone, where both are known.
        alone_seconds: Wall-clock seconds of the training of each task alone, as far as known.
        history: Curves of the joint training, if it is known.
        notes: What was left out and why.
    """

    encoder: str
    reports: dict[str, Report]
    alone: dict[str, Numbers] = dataclasses.field(default_factory=dict)
    seconds: dict[str, float] = dataclasses.field(default_factory=dict)
    differences: dict[str, Difference] = dataclasses.field(default_factory=dict)
    alone_seconds: dict[str, float] = dataclasses.field(default_factory=dict)
    history: History = dataclasses.field(default_factory=dict)
    notes: list[str] = dataclasses.field(default_factory=list)

    task = "multi-task"

    def compare(self, alone: Mapping[str, Report], seed: int = 0) -> None:
        """Puts beside each task what a model reached that learned it alone.

        Args:
            alone: Reports on the same test examples, by names of tasks.
            seed: Seed of the bootstrap.
        """
        for name, other in alone.items():
            own = self.reports[name]
            self.alone[name] = other.metrics
            if "training" in other.seconds:
                self.alone_seconds[name] = other.seconds["training"]
            numbers, rows = (own.metrics, other.metrics), (own.predictions, other.predictions)
            found = paired.difference(own.standing, numbers, rows, seed)
            if found is not None:
                self.differences[name] = found
        if self.differences and _SEEDS not in self.notes:
            self.notes.append(_SEEDS)

    def sharing(self) -> dict[str, str]:
        """A sentence for each task that was also trained alone: whether sharing helped it."""
        return {name: f"{name}: {self._worth(name)}" for name in self.alone}

    def cost(self) -> list[str]:
        """A sentence on how long all together trained and each alone, where that is known."""
        together, alone = self.seconds.get("training"), list(self.alone_seconds.values())
        if together is None or not alone:
            return []
        each = f"{len(alone)} of them alone {sum(alone):,.1f} s in all"
        return [
            f"All {len(self.reports)} tasks together were trained in {together:,.1f} s, {each}."
        ]

    def _worth(self, name: str) -> str:
        found = self.differences.get(name)
        if found is None:
            return "Whether sharing helped can't be told: no number is known of both."
        numbers = f"{found.metric} {shown(found.first, 3)} together, {shown(found.second, 3)} alone"
        spread = joint.spread(found.interval)
        told = (
            f"{numbers} (difference {found.value:+.3f}{', 95 % interval ' * bool(spread)}{spread})"
        )
        if found.alike:
            return f"Sharing made no difference, example by example: {numbers}."
        if found.better is not None:
            return f"Sharing {'helped' if found.better else 'hurt'}: {told}."
        if found.interval is not None:
            return f"Sharing made no clear difference: {told}."
        return f"Too little is known to tell whether sharing helped: {told}."

    @property
    def metrics(self) -> Numbers:
        """All metrics, by name of the task and of the metric with `_` between."""
        return {
            f"{name}_{metric}": value
            for name, report in self.reports.items()
            for metric, value in report.metrics.items()
        }

    @property
    def examples(self) -> dict[str, int | None]:
        """Numbers of examples of all tasks together, by split."""
        splits: dict[str, int | None] = {}
        for report in self.reports.values():
            for split, count in report.examples.items():
                known = splits.get(split, 0)
                splits[split] = None if known is None or count is None else known + count
        return splits

    def to_dict(self) -> dict[str, Json]:
        """The report as JSON: each task's own under `tasks`, without pictures."""
        said = self.sharing()
        told: dict[str, object] = {
            "task": self.task,
            "encoder": self.encoder,
            "examples": self.examples,
            "metrics": self.metrics,
            "warnings": self.warnings,
            "notes": self.notes,
            "alone": self.alone,
            "sharing": {name: self._compared(name, said[name]) for name in self.alone},
            "seconds": self.seconds,
            "history": self.history,
            "tasks": {name: report.to_dict() for name, report in self.reports.items()},
        }
        return {name: jsonable(value) for name, value in told.items()}

    def _compared(self, name: str, said: str) -> dict[str, object]:
        found = self.differences.get(name)
        numbers: dict[str, object] = {}
        if found is not None:
            numbers = {
                "metric": found.metric,
                "together": found.first,
                "alone": found.second,
                "difference": found.value,
                "interval": found.interval,
                "helped": found.better,
            }
        return {**numbers, "seconds": self.alone_seconds.get(name), "said": said}

    def folders(self) -> dict[str, str]:
        """The folder of each task's own report, also where folders `A` and `a` are one."""
        found: dict[str, str] = {}
        for name in self.reports:
            taken, folder = {other.casefold() for other in found.values()}, name
            while folder.casefold() in taken:
                folder += "_"
            found[name] = folder
        return found

    def save(self, folder: str | Path) -> Path:
        """Writes `report.json` and `report.html`, and each task's report in a folder of its name.

        Args:
            folder: Where to write; made if it isn't there. An earlier report there is replaced.

        Raises:
            InputError: If it can't be written, or would replace a file that isn't ours.
        """
        return write(self.files(), folder)

    def files(self) -> dict[str, bytes]:
        """What `save` writes, by name."""
        folders = self.folders()
        own = {name: report.files() for name, report in self.reports.items()}
        files = {
            f"{folders[name]}/{file}": content
            for name, written in own.items()
            for file, content in written.items()
        }
        pictures = {
            name: written["curves.png"] for name, written in own.items() if "curves.png" in written
        }
        curve = plots.curves(self._together())
        if curve:
            pictures[joint.TOGETHER] = files["curves.png"] = curve
        files["report.json"] = as_json(self.to_dict()).encode("utf-8")
        files["report.html"] = joint.page(self, pictures).encode("utf-8")
        return files

    def _together(self) -> History:
        """Of the curves those that aren't some task's own."""
        names = ("loss", "val_loss", "thawed_groups", "best_epoch")
        return {name: self.history[name] for name in names if name in self.history}

    def __str__(self) -> str:
        lines = [f"{len(self.reports)} tasks with {self.encoder}", *_aligned(self._rows())]
        said = [
            f"{name}: {_counted(own)}{own.verdict() or joint.NO_BASELINE}"
            for name, own in self.reports.items()
        ]
        said += [*self.sharing().values(), *self.cost()]
        # What training kept was said as it went, and stands with the curves.
        notes = [
            f"{name}: {note}"
            for name, own in self.reports.items()
            for note in own.notes
            if note not in own.history.get("kept", [])
        ]
        said += [f"WARNING: {warning}" for warning in self.warnings]
        said += [f"note: {note}" for note in [*notes, *self.notes]]
        return visible("\n".join([*lines, *map(wrapped, said)]))

    @property
    def warnings(self) -> list[str]:
        """Why the numbers of a task may mislead, with its name."""
        return [f"{name}: {w}" for name, report in self.reports.items() for w in report.warnings]

    def _rows(self) -> list[list[str]]:
        """A table for the screen, with its heads; what wasn't trained alone has no column."""
        heads = ["task", "metric", "together", "95 %", *(["alone"] if self.alone else [])]
        return [heads] + [
            [name, metric, shown(value), report.spread(metric)]
            + ([shown(self.alone.get(name, {}).get(metric))] if self.alone else [])
            for name, report in self.reports.items()
            for metric, value in report.metrics.items()
        ]


def check_alone(alone: Mapping[str, object], texts: Mapping[str, Sequence[Sequence[str]]]) -> None:
    """Refuses, before anything is measured, reports that can't be compared with those to come.

    Args:
        alone: What should be reports of tasks alone, by name.
        texts: Columns of texts that each task is to be measured on.

    Raises:
        InputError: If one is no report, or of another task or other examples.
    """
    for name, report in alone.items():
        if name not in texts:
            raise InputError(
                f"`alone` goes by the names of tasks, {', '.join(texts)}. Received: {name!r}"
            )
        if not isinstance(report, Report):
            raise InputError(
                "`alone` holds what `evaluate` gave of a model of that task alone. Received: "
                f"{name!r} with {type(report).__name__}"
            )
        own = [[joining.spaced(text) for text in column] for column in texts[name]]
        if report.predictions and not paired.are_of(report.predictions, own):
            raise InputError(
                f"{name}: measure the model of this task alone on the same examples, in the same "
                f"order, or nothing can be compared. Received: {len(report.predictions)} others"
            )


def _aligned(rows: list[list[str]]) -> list[str]:
    """Rows as lines; the first two columns are names."""
    wide = [max(map(len, column)) for column in zip(*rows)]
    return [
        "  ".join(
            cell.ljust(width) if place < 2 else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, wide))
        ).rstrip()
        for row in rows
    ]


def _counted(report: Report) -> str:
    counts = [f"{n:,} {split}" for split, n in report.examples.items() if n is not None]
    return f"{', '.join(counts)} examples. " if counts else ""
