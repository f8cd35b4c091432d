"""Two reports on the same examples side by side, as `compare` prints them."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeAlias

from tfhub_transfer import (
    tasks,  # noqa: F401  says how each stands in reports
)
from tfhub_transfer.data import writing
from tfhub_transfer.errors import InputError
from tfhub_transfer.incoming.wording import counted, shown, wrapped
from tfhub_transfer.jobs.options.comparing import CompareJob
from tfhub_transfer.jobs.saying import say
from tfhub_transfer.reporting import comparisons
from tfhub_transfer.reporting.comparisons import Changed, Comparison, Measured
from tfhub_transfer.storage import opening, records

# Folder of a report in the output of a training; its files.
_INSIDE, _REPORT, _ANSWERS = "report", "report.json", "predictions.jsonl"
# Below this share of chance a change is called one.
_LEVEL = 0.05
_EXCERPT = 100

# A report, or those of several tasks by name.
_Read: TypeAlias = dict[str, Measured]


def compare_reports(job: CompareJob) -> None:
    """Prints by how much the second of two reports is better or worse, and what changed.

    Args:
        job: What to do.

    Raises:
        InputError: If one of them is no report, or they are of other tasks or examples.
    """
    if job.output is not None:
        read = [file for each in (job.first, job.second) for file in _files(each)]
        writing.check(job.output, job.overwrite, read)
    first, second = _read(job.first), _read(job.second)
    if set(first) != set(second):
        raise InputError(
            "two reports of the same tasks can be compared. Received: "
            f"{', '.join(filter(None, first)) or 'one task'} and "
            f"{', '.join(filter(None, second)) or 'one task'}"
        )
    say(f"first:  {job.first}\nsecond: {job.second}")
    found = {
        name: comparisons.compare(each, second[name], job.seed) for name, each in first.items()
    }
    for name, each in found.items():
        say("\n".join([f"\n{name}:" if name else "", *_lines(each, job.show)]))
    if job.output is not None:
        count = writing.write(_rows(found), job.output)
        say(f"\nWritten to {job.output}: {count} answers that changed")


def _place(folder: Path) -> Path:
    """Where a report lies, if there is one."""
    place = opening.path_of(folder)
    inside = place / _INSIDE
    return inside if (inside / _REPORT).is_file() else place


def _files(folder: Path) -> list[Path]:
    """What is read of a report, or of those of several tasks."""
    place = _place(folder)
    return [*place.glob(_ANSWERS), *place.glob(f"*/{_ANSWERS}")]


def _read(folder: Path) -> _Read:
    """A report, or those of several tasks."""
    place = _place(folder)
    if not (place / _REPORT).is_file():
        raise InputError(
            "no report there; expected a folder that `train`, `tune` or `evaluate` wrote. "
            f"Received: {folder}"
        )
    told = records.read(place / _REPORT)
    if "tasks" not in told:
        return {"": _measured(place, told)}
    own = {}
    for each in sorted(place.iterdir()):
        if (each / _REPORT).is_file():
            own[each.name] = _measured(each, records.read(each / _REPORT))
    return own


def _measured(place: Path, told: dict[str, Any]) -> Measured:
    path = place / _ANSWERS
    try:
        text = opening.read_text(path)
        rows = [json.loads(line) for line in text.split("\n") if line]
        kinds = {"row": int, "texts": list}
        if not all(isinstance(row.get(n), kind) for row in rows for n, kind in kinds.items()):
            raise ValueError("rows lack what an example is")
        if not all({"true", "predicted"} <= {*row} for row in rows):
            raise ValueError("rows lack what is right, or answers")
        numbers = {str(name): value for name, value in told["metrics"].items()}
        if not all(value is None or isinstance(value, (int, float)) for value in numbers.values()):
            raise ValueError("a metric is no number")
        return Measured(str(told["task"]), numbers, rows)
    except OSError as error:
        raise InputError(
            f"a report has its answers beside it ({error.strerror}); evaluate the model again. "
            f"Received: {path}"
        ) from error
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise InputError(
            f"the report is damaged; evaluate the model again. Received: {path} ({error!r:.80})"
        ) from error


def _lines(found: Comparison, most: int) -> list[str]:
    """What there is to say of two reports."""
    wide = max([len(each.metric) for each in found.differences] + [0])
    lines = [
        counted(found.examples, "example"),
        f"{'':<{wide}}     first    second    second - first",
    ]
    for each in found.differences:
        value = each.second - each.first
        ends = (
            "" if each.interval is None else f"{-each.interval[1]:+.3f} to {-each.interval[0]:+.3f}"
        )
        better = each.better
        said = {None: "", False: "better", True: "worse"}[better]
        row = f"{each.metric:<{wide}}  {shown(each.first, 4):>8}  {shown(each.second, 4):>8}"
        lines.append(f"{row}  {value:+8.4f}  {ends}  {said}".rstrip())
    if found.counts is not None:
        lines.append(_counted(found))
    lines.append(f"{counted(len(found.changed), 'answer')} changed{_in_all(found)}")
    for own in found.changed[:most]:
        lines += _told(own)
    return lines


def _counted(found: Comparison) -> str:
    assert found.counts is not None and found.p_value is not None
    _, only_first, only_second, _ = found.counts
    sure = "chance alone explains that" if found.p_value >= _LEVEL else "hardly by chance"
    return wrapped(
        f"{found.by}: the first alone has {only_first:,} right, the second alone {only_second:,}: "
        f"{sure} (McNemar's exact test: p = {found.p_value:.2g})"
    )


def _in_all(found: Comparison) -> str:
    gains = [each.gain for each in found.changed if each.gain is not None]
    if not gains:
        return ""
    worse, better = sum(g < 0 for g in gains), sum(g > 0 for g in gains)
    return f": {worse:,} for the worse, {better:,} for the better"


def _told(each: Changed) -> list[str]:
    texts: Any = each.first["texts"]
    text = " | ".join(" ".join(str(t).split()) for t in texts)
    mark = "" if each.gain is None else "- " if each.gain < 0 else "+ " if each.gain > 0 else "  "
    return [
        f"  {mark}{text[:_EXCERPT]}{'...' if len(text) > _EXCERPT else ''}",
        f"      true {_short(each.first['true'])}, first {_short(each.first['predicted'])}, second "
        f"{_short(each.second['predicted'])}",
    ]


def _short(value: object) -> str:
    text = str(value)
    return f"{text[:_EXCERPT]}..." if len(text) > _EXCERPT else text


def _rows(found: dict[str, Comparison]) -> Iterator[dict[str, object]]:
    """A row for each answer that changed."""
    for name, each in found.items():
        for own in each.changed:
            yield {
                **({"task": name} if name else {}),
                "row": own.first["row"],
                "texts": own.first["texts"],
                "true": own.first["true"],
                "first": own.first["predicted"],
                "second": own.second["predicted"],
                "gain": own.gain,
            }
