"""Spans of characters, as annotation tools export them, to words and their tags."""

import dataclasses
from collections.abc import Iterable
from typing import TypeGuard

from tfhub_transfer.data.forms import words
from tfhub_transfer.data.forms.base import TAGS, TOKENS
from tfhub_transfer.errors import InputError
from tfhub_transfer.shapes import Row

# What tools call the two ends of a span, and its kind.
_STARTS = ("start", "start_offset", "begin", "beginOffset", "start_char")
_ENDS = ("end", "end_offset", "endOffset", "stop", "end_char")
_KINDS = ("label", "labels", "type", "entity_type", "tag", "entity", "entity_group", "category")
_OUTSIDE = "O"


@dataclasses.dataclass(frozen=True)
class Span:
    """A piece of a text, by its characters from `start` to before `end`, and of which kind."""

    start: int
    end: int
    kind: str
    text: str | None = None


@dataclasses.dataclass
class Tally:
    """What happened to the spans of a file, for a line of its profile."""

    cut: int = 0
    lost: int = 0
    first: str = ""

    def note(self) -> list[str]:
        """A line, where something has to be said."""
        if not self.cut:
            return []
        lost = f"; {self.lost} share a word with the one before and are left out" * bool(self.lost)
        return [
            f"{self.cut} spans end inside of words and were widened to them{lost}: {self.first}"
        ]


def is_span(value: object) -> bool:
    """Whether a value is a span: `[start, end, kind]`, or an object with such keys.

    Args:
        value: Anything from JSON.

    Example:

    >>> is_span([0, 4, "person"]), is_span({"start": 0, "end": 4, "label": "person"})
    (True, True)
    """
    return of(value) is not None


def of(value: object) -> Span | None:
    """A span of what a tool wrote as one; `None` if it is something else.

    Args:
        value: As for `is_span`.
    """
    text: object = None
    if isinstance(value, (list, tuple)):
        start, end, kind = value if len(value) == 3 else (None, None, None)
    elif isinstance(value, dict):
        start, end, kind = (_first(value, keys) for keys in (_STARTS, _ENDS, _KINDS))
        kind = kind[0] if isinstance(kind, list) and len(kind) == 1 else kind
        text = value.get("text")
    else:
        return None
    if not (_is_place(start) and _is_place(end) and isinstance(kind, str)):
        return None
    return Span(start, end, kind, text if isinstance(text, str) else None)


def _is_place(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)


def _first(value: Row, keys: tuple[str, ...]) -> object:
    return next((value[key] for key in keys if key in value), None)


def tagged(text: str, found: Iterable[Span], place: str, tally: Tally) -> dict[str, list[str]]:
    """Words of a text and their tags, in IOB2.

    Args:
        text: The text.
        found: Its spans; equal ones count once.
        place: The row, for messages.
        tally: Counts spans that end inside of words: these get the whole word.

    Returns:
        `tokens` and `tags`.

    Raises:
        InputError: If a span lies outside of the text, holds none, isn't what it says it holds, or
            overlaps another.
    """
    pieces = words.places(text)
    tags = [_OUTSIDE] * len(pieces)
    end = 0
    for span in _sorted(text, found, place):
        if span.start < end:
            raise InputError(
                f"{place}: spans overlap, and a word has one tag only; keep the outer or the inner "
                f"one. Received: {text[span.start : span.end]!r} ({span.kind}) inside or across "
                "the one before"
            )
        end = span.end
        held = [i for i, (a, b) in enumerate(pieces) if a < span.end and b > span.start]
        if pieces[held[0]][0] < span.start or pieces[held[-1]][1] > span.end:
            tally.cut += 1
            whole = text[pieces[held[0]][0] : pieces[held[-1]][1]]
            tally.first = tally.first or f"{place}, {text[span.start : span.end]!r} in {whole!r}"
        free = [i for i in held if tags[i] == _OUTSIDE]
        tally.lost += not free
        for i in free:
            tags[i] = f"{'B' if i == free[0] else 'I'}-{span.kind}"
    return {TOKENS: [text[a:b] for a, b in pieces], TAGS: tags}


def _sorted(text: str, found: Iterable[Span], place: str) -> list[Span]:
    """Spans in order, each once, without the spaces around them."""
    checked = {_checked(text, span, place) for span in found}
    return sorted(checked, key=lambda span: (span.start, -span.end, span.kind))


def _checked(text: str, span: Span, place: str) -> Span:
    start, end = span.start, span.end
    # Tools in browsers count units of UTF-16, of which an emoji has two.
    if span.text is not None and text[start:end] != span.text:
        start, end = _of_utf16(text, start), _of_utf16(text, end)
        if text[start:end] != span.text:
            start, end = span.start, span.end
    if not 0 <= start < end <= len(text) or not span.kind.strip():
        raise InputError(
            f"{place}: a span must lie in its text, of {len(text)} characters, and have a label. "
            f"Received: {span.start} to {span.end}, {span.kind!r}"
        )
    if span.text is not None and text[start:end] != span.text:
        raise InputError(
            f"{place}: a span must hold the text that it says; the text was changed after it was "
            f"annotated. Received: {text[start:end]!r} where {span.text!r} is expected"
        )
    while start < end and text[start].isspace():
        start += 1
    while start < end and text[end - 1].isspace():
        end -= 1
    if not words.places(text[start:end]):
        raise InputError(f"{place}: a span must hold a word. Received: {text[start:end]!r}")
    return Span(start, end, span.kind.strip())


def _of_utf16(text: str, place: int) -> int:
    """A place counted in units of UTF-16, as JavaScript does, in characters."""
    units = text.encode("utf-16-le", "surrogatepass")[: 2 * max(0, place)]
    return len(units.decode("utf-16-le", "ignore"))
