"""What training did, on one screen."""

import itertools
import os
import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from tfhub_transfer.errors import InputError
from tfhub_transfer.reporting import plots
from tfhub_transfer.training import histories
from tfhub_transfer.training.outcome import Outcome, task_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LINES, COLUMNS = 24, 100
_LEFT_OUT = "..."
_KEPT = "kept"
_LEAST_ROWS = 6
_MOST_NAME = 12


def table(
    curves: Mapping[str, Sequence[float]],
    head_epochs: int,
    thawed: Sequence[tuple[float, int]],
    best_epoch: int | None,
    outcomes: Sequence[Outcome],
    seconds: Mapping[str, float],
) -> str:
    """A table of epochs, with what was kept and how long it took: 24 lines of 100 columns at most.

    Args:
        curves: One value an epoch by name, the head's epochs first.
        head_epochs: How many of them trained the head alone.
        thawed: `(epoch, number of groups thawed from the top)`.
        best_epoch: The place, from 0, of the epoch whose weights the model has.
        outcomes: What each stage kept.
        seconds: Of each stage.
    """
    spent = ", ".join(f"{name.replace('_', ' ')} {each:.1f}" for name, each in seconds.items())
    feet = [*_told(outcomes), *textwrap.wrap(f"Seconds: {spent}" if spent else "", COLUMNS)]
    names = _columns(curves, outcomes)
    epochs = len(curves[names[0]]) if names else 0
    heads = ["stage", "epoch", "groups", *names]
    spans = _spans(outcomes, head_epochs, epochs)
    rows = [
        [
            *_place(spans, place),
            str(max((count for at, count in thawed if at < place + 1), default=0)),
            *(_number(curves[name][place]) for name in names),
            _KEPT if place == best_epoch else "",
        ]
        for place in range(epochs)
    ]
    ends = {0, epochs - 1, best_epoch}
    ends |= {each for _, first in spans if first for each in (first - 1, first)}
    shown = _some(rows, ends, LINES - len(feet) - 1)
    lines = _aligned([[*heads, ""], *shown]) if rows else ["no epochs"]
    return "\n".join([*lines, *feet])


def draw(curves: histories.Curves, path: str | os.PathLike[str] | None = None) -> "Figure":
    """The curves as a figure, which is also written if there is a path.

    Args:
        curves: As for `plots.curves`.
        path: A file whose name ends in what matplotlib knows, such as `.png`.

    Raises:
        InputError: If there is nothing to draw, or the file can't be written.
    """
    figure = plots.curves_figure(curves)
    if figure is None:
        raise InputError("there are no curves to draw: no epoch was trained. Received: none")
    if path is not None:
        plots.write(figure, path)
    return figure


def _spans(outcomes: Sequence[Outcome], head_epochs: int, epochs: int) -> list[tuple[str, int]]:
    """What each stage is called whose curves there are, and the place of its first epoch."""
    told = {"head": "head", "fine_tuning": "thawed"}
    own = [each for each in outcomes if not task_of(each.stage)]
    stages = [(told.get(each.stage, each.stage)[:_MOST_NAME], each.epochs) for each in own]
    if sum(count for _, count in stages) != epochs:  # of curves alone, as of an early end
        stages = [("head", head_epochs), ("thawed", epochs - head_epochs)]
    firsts = itertools.accumulate((count for _, count in stages), initial=0)
    return [(name, first) for (name, count), first in zip(stages, firsts) if count > 0]


def _place(spans: Sequence[tuple[str, int]], place: int) -> tuple[str, str]:
    """The stage of an epoch, and its number in that, from 1."""
    name, first = [span for span in spans if span[1] <= place][-1]
    return name, str(place + 1 - first)


def _columns(curves: Mapping[str, Sequence[float]], outcomes: Sequence[Outcome]) -> list[str]:
    """The losses, what was judged by, and what else there is room for."""
    epochs = len(curves.get("loss", ()))
    known = [name for name, values in curves.items() if len(values) == epochs and epochs]
    judged = [_curve_of(outcome) for outcome in outcomes]
    later = [name for name in known if name.startswith("val_") and not name.endswith("_loss")]
    order = list(dict.fromkeys(["loss", "val_loss", *judged, *later, *known]))
    room, found = COLUMNS - len("stage   epoch  groups  ") - len(_KEPT) - 2, list[str]()
    for name in order:
        size = max(len(name), 8) + 2
        if name in known and size <= room:
            found.append(name)
            room -= size
    return found


def _curve_of(outcome: Outcome) -> str:
    """The name of the curve that a stage was judged by; of a task it has the task's name in it."""
    task = task_of(outcome.stage)
    return outcome.metric.replace("val_", f"val_{task}_", 1) if task else outcome.metric


def _some(rows: list[list[str]], wanted: set[int | None], most: int) -> list[list[str]]:
    """All rows, or those that are wanted, with those beside them, and a mark for what is missing.

    What is left out is in the middle of a stage.
    """
    if len(rows) <= most:
        return rows
    chosen = sorted(place for place in wanted if isinstance(place, int) and 0 <= place < len(rows))
    near = sorted(range(len(rows)), key=lambda row: min(abs(row - place) for place in chosen))
    # Marks of gaps take lines too, so it may have to be fewer rows.
    for count in range(most, 0, -1):
        kept = sorted({*chosen, *near[:count]})
        gaps = sum(after - before > 1 for before, after in itertools.pairwise(kept))
        if len(kept) + gaps <= most:
            break
    shown = []
    for before, place in zip([-1, *kept], kept):
        if place - before > 1:
            missing = f"{place - before - 1:,} more"
            shown.append([_LEFT_OUT, missing, *[""] * (len(rows[0]) - 2)])
        shown.append(rows[place])
    return shown


def _told(outcomes: Sequence[Outcome]) -> list[str]:
    """What each stage kept, in as many lines as leave room for epochs."""
    lines = [line for outcome in outcomes for line in textwrap.wrap(str(outcome), COLUMNS)]
    most = LINES - 3 - _LEAST_ROWS
    if len(lines) > most:
        lines = [*lines[: most - 3], _LEFT_OUT, *lines[-2:]]
    return lines


def _number(value: float) -> str:
    small = 1e-3 <= abs(value) < 1e5 or value == 0
    return f"{value:.4f}" if small else f"{value:.2e}"


def _aligned(rows: list[list[str]]) -> list[str]:
    """Columns under their names, the first to the left."""
    widths = [max(map(len, column)) for column in zip(*rows)]
    lines = []
    for row in rows:
        cells = [row[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(row[1:], widths[1:]))]
        lines.append("  ".join(cells).rstrip()[:COLUMNS])
    return lines
