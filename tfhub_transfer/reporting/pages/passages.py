"""Texts with places marked in them: what is right, and what a model gave."""

import itertools
from collections.abc import Iterable, Sequence

from tfhub_transfer.reporting.contents import Mark
from tfhub_transfer.reporting.pages.markup import escaped

_AROUND = 120
# Characters of a text; a page that is too large isn't read.
MOST = 4000
# So far away a space may be for a word to stay whole; some scripts have none.
_WORD = 24


def marked(text: str, marks: Sequence[Mark], around: int = _AROUND) -> str:
    """A text as HTML, with places marked; of a long one only what is near them.

    What is right is underlined, what a model gave has a ground; both have the colour of the kind.

    Args:
        text: The text.
        marks: Each a `start` and `end` in characters, a `side`, `"true"` or `"predicted"`, a
            `kind`, and a `label` to stand behind it, which may be empty. They may overlap.
        around: Characters to show before the first mark, behind the last and on both sides of any
            other; a text hardly longer than that is shown whole.

    Example:

    >>> mark = {"start": 3, "end": 7, "side": "true", "kind": "missed", "label": "city"}
    >>> marked("In Rome.", [mark])
    'In <mark class="true missed">Rome<small>city</small></mark>.'
    """
    inside = [mark for mark in marks if 0 <= mark["start"] < mark["end"] <= len(text)]
    shown = [_whole_words(text, *window) for window in _windows(len(text), inside, around)]
    ends = (*((mark["start"], mark["end"]) for mark in inside), *shown)
    cuts = {0, len(text), *itertools.chain.from_iterable(ends)}
    parts: list[str] = []
    written, window = 0, 0
    starting = sorted(inside, key=lambda mark: mark["start"])
    open_marks: list[Mark] = []
    places = sorted(cuts)
    for start, end in itertools.pairwise(places):
        open_marks = [mark for mark in open_marks if mark["end"] > start]
        while starting and starting[0]["start"] == start:
            open_marks.append(starting.pop(0))
        while window < len(shown) and shown[window][1] <= start:
            window += 1
        if window == len(shown) or start < shown[window][0] or written > MOST:
            if not parts or parts[-1] != " … ":
                parts.append(" … ")
            continue
        parts.append(_segment(text[start:end], open_marks, end))
        written += end - start
    return "".join(parts)


def _windows(length: int, marks: Iterable[Mark], around: int) -> list[tuple[int, int]]:
    """The parts of a text that are shown, apart from each other and in order."""
    near = sorted((mark["start"] - around, mark["end"] + around) for mark in marks)
    found: list[tuple[int, int]] = []
    for start, end in near or [(0, 3 * around)]:
        # What is left out should be worth its dots.
        start, end = (0 if start < around else start), (length if length - end < around else end)
        if found and start <= found[-1][1] + around:
            found[-1] = found[-1][0], max(found[-1][1], end)
        else:
            found.append((start, end))
    return found


def _whole_words(text: str, start: int, end: int) -> tuple[int, int]:
    """A part of a text, a little wider or narrower so that no word is cut, where there are any."""
    before = text.rfind(" ", max(0, start - _WORD), start + 1)
    behind = text.find(" ", end, end + _WORD)
    return (before + 1 if before >= 0 and start else start), (behind if behind >= 0 else end)


def _segment(text: str, marks: Sequence[Mark], end: int) -> str:
    """A piece of text that the same marks are on from its first to its last character."""
    if not marks:
        return escaped(text)
    sides = sorted({mark["side"] for mark in marks}, reverse=True)
    # The model's own comes first: where both are, they are of one kind, or it says which.
    kind = min(marks, key=lambda mark: mark["side"])["kind"]
    labels = dict.fromkeys(mark["label"] for mark in marks if mark["end"] == end and mark["label"])
    behind = "".join(f"<small>{escaped(label)}</small>" for label in labels)
    names = escaped(" ".join((*sides, kind.replace(" ", "-"))))
    return f'<mark class="{names}">{escaped(text)}{behind}</mark>'
