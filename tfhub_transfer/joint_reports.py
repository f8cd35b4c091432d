"""What an evaluation of several tasks found, each beside what it reached alone."""

import dataclasses
from pathlib import Path
from typing import Any
from urllib.parse import quote

from tfhub_transfer import standings
from tfhub_transfer.errors import visible
from tfhub_transfer.metrics import Numbers
from tfhub_transfer.pages.markup import breakable, escaped, page, table, warned
from tfhub_transfer.reports import Report, as_json, write
from tfhub_transfer.wording import shown


@dataclasses.dataclass
class JointReport:
    """The reports of several tasks that learned on one encoder.

    Attributes:
        encoder: Handle of the encoder.
        reports: The report of each task, by name.
        alone: Metrics of models that learned one task alone, by the names of tasks, as far as
            they are known.
        seconds: Wall-clock seconds of each stage of the joint training.
    """

    encoder: str
    reports: dict[str, Report]
    alone: dict[str, Numbers] = dataclasses.field(default_factory=dict)
    seconds: dict[str, float] = dataclasses.field(default_factory=dict)

    task = "multi-task"

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

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON: each task's own under `tasks`, without pictures."""
        return {
            "task": self.task,
            "encoder": self.encoder,
            "examples": self.examples,
            "metrics": self.metrics,
            "warnings": self.warnings,
            "alone": self.alone,
            "seconds": self.seconds,
            "tasks": {name: report.to_dict() for name, report in self.reports.items()},
        }

    def save(self, folder: str | Path) -> Path:
        """Writes `report.json` and `report.html`, and each task's report in a folder of its name.

        Args:
            folder: Where to write; made if it isn't there. An earlier report there is replaced.

        Raises:
            InputError: If it can't be written, or would replace a file that isn't ours.
        """
        files = {
            f"{name}/{file}": content
            for name, report in self.reports.items()
            for file, content in report.files().items()
        }
        files["report.json"] = as_json(self.to_dict()).encode("utf-8")
        files["report.html"] = self._page().encode("utf-8")
        return write(files, folder)

    def __str__(self) -> str:
        lines = [f"{len(self.reports)} tasks with {self.encoder}"]
        lines.append(f"{'task':<20}{'metric':<14}{'together':>10}{'alone':>10}")
        for task, metric, together, alone in self._rows():
            lines.append(f"{task:<20}{metric:<14}{together:>10}{alone:>10}")
        notes = [f"{name}: {n}" for name, report in self.reports.items() for n in report.notes]
        lines += [f"WARNING: {warning}" for warning in self.warnings]
        return visible("\n".join([*lines, *(f"note: {note}" for note in notes)]))

    @property
    def warnings(self) -> list[str]:
        """Why the numbers of a task may mislead, with its name."""
        return [f"{name}: {w}" for name, report in self.reports.items() for w in report.warnings]

    def _rows(self) -> list[list[str]]:
        return [
            [name, metric, shown(value), shown(self.alone.get(name, {}).get(metric))]
            for name, report in self.reports.items()
            for metric, value in report.metrics.items()
        ]

    def _page(self) -> str:
        tasks = list(self.reports)
        verdicts = [f"{name}: {self.reports[name].verdict() or 'no baseline'}" for name in tasks]
        items = "".join(f"<li>{escaped(verdict)}</li>" for verdict in verdicts)
        parts = [
            "<h1>Several tasks on one encoder</h1>",
            f'<p class="soft">Encoder: {escaped(self.encoder)}</p>',
            warned(self.warnings),
            f'<ul class="verdict">{items}</ul>',
            self._judged(),
            "<h2>All metrics</h2>",
            self._metrics_table(),
        ]
        return page(f"{self.task} with {self.encoder}", parts)

    def _judged(self) -> str:
        """What each task is judged by, beside its baselines."""
        rows = []
        for name, report in self.reports.items():
            known = (m for m in standings.judged(report.task) if report.metrics.get(m) is not None)
            metric = next(known, "")
            beside = [
                f"{standings.baseline_name(report.task, rival)} {shown(numbers.get(metric))}"
                for rival, numbers in report.baselines.items()
            ]
            counts = [report.examples.get(split) for split in ("train", "test")]
            numbers = [shown(report.metrics.get(metric)), report.spread(metric)]
            row = [_link(name), breakable(metric), *numbers, escaped(", ".join(beside))]
            rows.append(row + ["-" if count is None else f"{count:,}" for count in counts])
        heads = ["task", "judged by", "together", "95 % interval", "baselines", "train", "test"]
        return table(heads, rows, text=(0, 1, 4))

    def _metrics_table(self) -> str:
        rows = [[_link(task), breakable(metric), *rest] for task, metric, *rest in self._rows()]
        heads = ["task", "metric", "learned together", "alone"]
        if not self.alone:
            heads, rows = heads[:-1], [row[:-1] for row in rows]
        return table(heads, rows, text=(0, 1))


def _link(task: str) -> str:
    """The name of a task, which leads to its own page."""
    return f'<a href="{quote(task)}/report.html">{escaped(task)}</a>'
