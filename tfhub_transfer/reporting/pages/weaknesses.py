"""Weak spots on a report's page: groups of examples, those first that cost most."""

from tfhub_transfer.incoming.wording import shown
from tfhub_transfer.reporting import weak_spots
from tfhub_transfer.reporting.contents import LearningCurve, WeakSpot, WeakSpots
from tfhub_transfer.reporting.pages import markup
from tfhub_transfer.reporting.pages.markup import cell, escaped

# Of those that are no worse than by chance, shown without being asked for.
_MORE = 10
_TEXT = (0, 1, 8)


def sections(found: WeakSpots) -> list[str]:
    """The section of weak spots; nothing where no groups were looked at.

    Args:
        found: As a report has them.
    """
    rows = found.get("rows", [])
    if not rows:
        return []
    weak = sum(map(weak_spots.is_weak, rows))
    first = max(_MORE, *(place + 1 for place, row in enumerate(rows) if weak_spots.is_weak(row)), 0)
    number = escaped(found["number"].replace("_", " "))
    parts = ["<h2>Weak spots</h2>", f'<p class="soft">{_said(found, weak)}</p>']
    parts.append(_table(rows[:first], number))
    if len(rows) > first:
        parts.append(markup.fold(f"{len(rows) - first} more", _table(rows[first:], number)))
    return parts


def _said(found: WeakSpots, weak: int) -> str:
    told = f"{weak} are" if weak != 1 else "1 is"
    return (
        f"Groups of examples beside all others ({escaped(found['number'])} of all "
        f"{shown(found['whole'], 3)}), those first that cost most: the share of all errors that "
        f"would be spared if they were answered as well as the others. {found['looked_at']:,} were "
        f"looked at; {told if weak else 'none is'} worse by more than chance (at 5 % for all "
        "together: words and others apart, each at half of it, by Holm). Of words the worst are "
        "shown. "
        "Groups overlap: their shares don't add up."
    )


def _table(rows: list[WeakSpot], number: str) -> str:
    heads = ["by", "group", "count", number, f"95 % of {number}", "the others", "below them"]
    return markup.table([*heads, "of all errors", ""], list(map(_cells, rows)), text=_TEXT)


def _cells(spot: WeakSpot) -> list[str]:
    low, high = spot["low"], spot["high"]
    between = "" if low is None else f"{shown(low, 3)} to {shown(high, 3)}"
    return [
        cell(spot["by"]),
        cell(spot["group"]),
        f"{spot['count']:,}",
        shown(spot["value"], 3),
        between,
        shown(spot["rest"], 3),
        shown(spot["below"], 3),
        f"{100 * spot['harm']:.1f} %",
        weak_spots.verdict(spot),
    ]


def curve_section(found: LearningCurve) -> list[str]:
    """The section of what more labels would bring; nothing where nobody asked.

    Args:
        found: As a report has it.
    """
    rows = [
        [f"{count:,}", shown(accuracy, 3)]
        for count, accuracy in zip(found.get("labels", []), found.get("accuracy", []))
    ]
    said = weak_spots.of_more_labels(found)
    heads = ["labels", "accuracy of a linear head"]
    parts = [f'<p class="soft">{escaped(each)}</p>' for each in said]
    return ["<h2>More labels</h2>", *parts, markup.table(heads, rows, text=())] if rows else []
