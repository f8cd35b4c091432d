"""What was found wrong with data, row by row: lines for a screen, a table, and a page."""

import csv
import dataclasses
import io
import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tfhub_transfer.errors import InputError, visible
from tfhub_transfer.incoming import wording
from tfhub_transfer.reporting import findings
from tfhub_transfer.reporting.findings import Finding, Found, Row
from tfhub_transfer.reporting.pages import faults
from tfhub_transfer.storage import atomic

SUSPECTS, PAGE, RECORD = "suspects.csv", "check.html", "check.json"


@dataclasses.dataclass(frozen=True)
class DataReport:
    """What was found in data; `str(report)` says it, a line each.

    Attributes:
        source: Where the data come from.
        task: The task that they were taken for; `None` without labels.
        rows: All rows, of all splits.
        findings: What was looked for, whether or not something was found.
        not_looked_at: What wasn't, and why.
        notes: What was decided on the way.
    """

    source: str
    task: str | None
    rows: Sequence[Row]
    findings: Sequence[Finding]
    not_looked_at: Mapping[str, str]
    notes: Sequence[str] = ()

    @property
    def found(self) -> list[Finding]:
        """The findings that there are rows, classes or columns of."""
        return [each for each in self.findings if each.count]

    def suspects(self) -> list[dict[str, Any]]:
        """Rows that something is wrong with, the most suspicious first, for a table.

        Each row is there once, with all that was found of it: `split`, `row` (its number in the
        source), its texts, `label`, `suggested` (a label), `score` (from 0 to 1) and `why`.
        """
        by_row: dict[int, list[Found]] = {}
        for found in itertools.chain.from_iterable(f.rows for f in self.findings if f.suspicious):
            by_row.setdefault(found.row, []).append(found)
        order = sorted(by_row, key=lambda row: (-max(f.score for f in by_row[row]), row))
        return [self._suspect(row, by_row[row]) for row in order]

    def _suspect(self, row: int, found: Sequence[Found]) -> dict[str, Any]:
        own, told = self.rows[row], sorted(found, key=lambda each: -each.score)
        suggested = next((f.suggested for f in told if f.suggested is not None), None)
        return {
            **_placed(own),
            "suggested": findings.spelled(suggested),
            "score": round(told[0].score, 4),
            "why": "; ".join(each.why for each in told),
        }

    def record(self) -> dict[str, Any]:
        """All of it as JSON can hold it."""
        counts: dict[str, int] = {}
        for row in self.rows:
            counts[row.split] = counts.get(row.split, 0) + 1
        return {
            "source": self.source,
            "task": self.task,
            "rows": counts,
            "findings": [self._recorded(finding) for finding in self.findings],
            "not_looked_at": dict(self.not_looked_at),
            "notes": list(self.notes),
        }

    def _recorded(self, finding: Finding) -> dict[str, Any]:
        rows = [
            {
                **{n: v for n, v in _placed(self.rows[f.row]).items() if n in ("split", "row")},
                **{n: v for n, v in dataclasses.asdict(f).items() if n != "row" and v is not None},
            }
            for f in finding.rows
        ]
        facts = [dict(zip(finding.heads, cells)) for cells in finding.cells]
        plain = {n: getattr(finding, n) for n in ("name", "count", "says", "advice")}
        return {**plain, "rows": rows, "facts": facts}

    def html(self) -> str:
        """The page, with everything in it."""
        told = self.source, self.task, self.notes
        return faults.page(told, self.rows, self.findings, self.not_looked_at)

    def save(self, folder: Path) -> None:
        """Writes `suspects.csv`, `check.html` and `check.json`.

        Args:
            folder: The folder; made if need be.

        Raises:
            InputError: If it can't be written, or a file there isn't ours.
        """
        contents = {
            SUSPECTS: _table(self._columns(), self.suspects()),
            PAGE: self.html(),
            RECORD: json.dumps(self.record(), ensure_ascii=False, indent=1) + "\n",
        }
        try:
            atomic.files(
                Path(folder),
                {n: text.encode("utf-8", "backslashreplace") for n, text in contents.items()},
            )
        except OSError as error:
            raise InputError(f"the check can't be written ({error}). Received: {folder}") from error

    def _columns(self) -> list[str]:
        texts = list(findings.names_of_texts(len(self.rows[0].texts)))
        return ["split", "row", *texts, "label", "suggested", "score", "why"]

    def __str__(self) -> str:
        return visible("\n".join(self._lines()))

    def _lines(self) -> Iterator[str]:
        wide = max([len(each.name) for each in self.findings] + [0])
        for each in self.findings:
            yield wording.wrapped(f"{each.name:<{wide}}  {each.count:>6,}  {each.says}")
        for what, why in self.not_looked_at.items():
            yield wording.wrapped(f"not looked at: {what}: {why}")


def _placed(row: Row) -> dict[str, Any]:
    texts = dict(zip(findings.names_of_texts(len(row.texts)), row.texts))
    return {"split": row.split, "row": row.number, **texts, "label": findings.spelled(row.label)}


def _table(heads: Sequence[str], rows: Sequence[Mapping[str, object]]) -> str:
    """A table as CSV, with its heads also where there is no row."""
    lines = []
    for cells in (heads, *([row[name] for name in heads] for row in rows)):
        made = io.StringIO(newline="")
        # With both signs at their ends, a text that holds either is put in quotes.
        csv.writer(made, lineterminator="\r\n").writerow(cells)
        lines.append(made.getvalue().removesuffix("\r\n") + "\n")
    return "".join(lines)
