"""A batch as its encoder gets it, printed and as HTML."""

import dataclasses
import textwrap
from collections.abc import Sequence

from tfhub_transfer.errors import one_line, visible
from tfhub_transfer.reporting.pages.markup import escaped

_COLUMNS = 100
# Of a longer row, or of what was cut off one, the first and the last are shown.
_MOST, _LAST = 60, 10
_INDENT = "    "
_UNKNOWN = "[UNK]"


@dataclasses.dataclass(frozen=True)
class Read:
    """What the encoder gets of a row at once: one text, or a packed pair.

    Attributes:
        pieces: Word pieces, special tokens among them, in their order; none of an encoder that
            takes strings.
        special: Which of them packing added.
        segments: The segment of each.
        padding: How many tokens of padding, or signs, stand behind them in this batch.
        text: The text itself, of an encoder that takes strings.
        cut: What was cut off: word pieces, or of strings signs.
    """

    pieces: tuple[str, ...] = ()
    special: tuple[bool, ...] = ()
    segments: tuple[int, ...] = ()
    padding: int = 0
    text: str | None = None
    cut: tuple[str, ...] = ()

    @property
    def length(self) -> int:
        """How many tokens, or signs of a string, without padding."""
        return len(self.pieces) if self.text is None else len(self.text)


@dataclasses.dataclass(frozen=True)
class Unit:
    """A word, or a sentence, that has a score of its own.

    Attributes:
        text: The unit.
        pieces: Its word pieces; none if it didn't fit.
        label: Its label in words; `None` without labels.
    """

    text: str
    pieces: tuple[str, ...]
    label: str | None


@dataclasses.dataclass(frozen=True)
class Row:
    """A row of a batch.

    Attributes:
        place: Where its example stands in the data.
        task: The name of its task, among several.
        part: Which of the rows of its example it is, from 1, and how many there are.
        texts: The example's texts, as they were given.
        read: What the encoder gets of it; of two towers one for each text.
        units: Its words or sentences, where these have scores.
        lost: How many tokens were cut off.
        label: The example's label as it was given; `None` without labels.
        target: What the loss wants, if that is said otherwise.
        weight: How much the row teaches, 1 in the mean; `None` if all teach alike.
    """

    place: str
    task: str
    part: tuple[int, int]
    texts: tuple[str, ...]
    read: tuple[Read, ...]
    units: tuple[Unit, ...]
    lost: int
    label: str | None
    target: str | None
    weight: float | None


@dataclasses.dataclass(frozen=True, repr=False)
class ShownBatch:
    """The first batch of a training, as the encoder gets it.

    Printed it is text; notebooks show a table.

    Attributes:
        rows: The rows that are shown.
        count: How many rows the batch has.
        length: How many tokens, or signs of a string, each row has with padding.
        padding: The share of padding among them.
        cut: How many of all rows of the batch were cut.
        lost: How many tokens they lost.
        sequence_length: The most tokens that a row may have; `None` where strings are read.
    """

    rows: tuple[Row, ...]
    count: int
    length: int
    padding: float
    cut: int
    lost: int
    sequence_length: int | None

    def __repr__(self) -> str:
        head = textwrap.fill(self._head(), _COLUMNS)
        return "\n\n".join([head, *map(_text_of, self.rows), *self._left()])

    def _repr_html_(self) -> str:
        head = f"<p>{escaped(self._head())}</p>"
        heads = "".join(f"<th>{name}</th>" for name in ("row", "label", "what the encoder gets"))
        rows = "".join(map(_html_of, self.rows))
        left = "".join(f"<p>{escaped(each)}</p>" for each in self._left())
        return f"<div>{head}<table><tr>{heads}</tr>{rows}</table>{left}</div>"

    def _head(self) -> str:
        what = "tokens" if self.sequence_length is not None else "signs"
        said = [f"A batch of {_many(self.count, 'row')}, {self.length} {what} each"]
        said.append(f"{self.padding:.0%} padding")
        if self.cut:
            at = f" at sequence_length {self.sequence_length}" if self.sequence_length else ""
            said.append(f"{_many(self.cut, 'row')} cut, {self.lost} {what} lost{at}")
        else:
            said.append("nothing cut")
        if self.sequence_length is None:
            said.append("the encoder gets the texts themselves")
        unknown = sum(row_unknown(row) for row in self.rows)
        if unknown:
            said.append(f"{_many(unknown, 'unknown piece')} in those shown")
        return "; ".join(said)

    def _left(self) -> list[str]:
        left = self.count - len(self.rows)
        return [f"... and {_many(left, 'more row')}"] if left else []


def row_unknown(row: Row) -> int:
    """How many pieces of a row the vocabulary doesn't have.

    Args:
        row: The row.
    """
    return sum(each.pieces.count(_UNKNOWN) for each in row.read)


def _many(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"


def _titles(row: Row) -> list[str]:
    number, of = row.part
    found = [row.place, *([f"task {row.task}"] if row.task else [])]
    return [*found, *([f"row {number} of {of} of this example"] if of > 1 else [])]


def _labels(row: Row) -> list[str]:
    found = [] if row.label is None else [f"label {row.label}"]
    found += [] if row.target is None else [f"target {row.target}"]
    return found + ([] if row.weight is None else [f"weight {row.weight:.3g}"])


def _sizes(read: Read) -> str:
    what = "piece" if read.text is None else "sign"
    return f"{_many(read.length, what)} + {read.padding} padding"


def _text_of(row: Row) -> str:
    head = " | ".join(one_line(each, 200) for each in (*_titles(row), *_labels(row)))
    lines = [head]
    for read in row.read:
        pieces = _some(read.pieces) if read.text is None else [one_line(read.text, 600)]
        lines += [*_wrapped(" ".join(map(_seen, pieces))), f"{_INDENT}({_sizes(read)})"]
        lines += _wrapped("cut off: " + _joined(read)) if read.cut else []
    if row.units:
        lines += _wrapped("units: " + " | ".join(_some([*map(_unit, row.units)])))
    return "\n".join(lines)


def _joined(read: Read) -> str:
    between = " " if read.text is None else ""
    return f"{between.join(map(_seen, _some(read.cut)))} ({len(read.cut)})"


def _unit(unit: Unit) -> str:
    pieces = " ".join(unit.pieces) if unit.pieces else "cut off"
    label = "" if unit.label is None else f" = {unit.label or '-'}"
    return _seen(f"{one_line(unit.text, 60)} [{pieces}]{label}")


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(
        text,
        _COLUMNS,
        initial_indent=_INDENT,
        subsequent_indent=_INDENT,
        break_on_hyphens=False,
    ) or [_INDENT]


def _seen(text: str) -> str:
    return " ".join(visible(text).split(" "))


def _some(all_of_them: Sequence[str]) -> list[str]:
    """All, or the first and last, with how many are left out between."""
    left = len(all_of_them) - _MOST
    if left <= 0:
        return list(all_of_them)
    return [*all_of_them[: _MOST - _LAST], f"... {left} more ...", *all_of_them[-_LAST:]]


# As HTML, in colours that stand out on light and dark grounds ------------------------------------

_CHIP = "display:inline-block;margin:1px;padding:0 3px;border:1px solid"
_COLOURS = ("#2563a8", "#b45f1d")  # of segments
_GREY, _RED = "#8a8f98", "#c0392b"


def _html_of(row: Row) -> str:
    titles = "<br>".join(map(escaped, _titles(row)))
    labels = "<br>".join(escaped(one_line(each, 200)) for each in _labels(row))
    read = "".join(map(_html_of_read, row.read))
    units = " ".join(_chip(_unit(each), _GREY) for each in row.units)
    return f"<tr><td>{titles}</td><td>{labels}</td><td>{read}<div>{units}</div></td></tr>"


def _html_of_read(read: Read) -> str:
    if read.text is not None:
        inside = f'<bdi dir="auto">{escaped(one_line(read.text, 4000))}</bdi>'
    else:
        colours = [_colour(*each) for each in zip(read.pieces, read.special, read.segments)]
        inside = "".join(map(_chip, read.pieces, colours))
    cut = f"<div>cut off: <s>{escaped(_joined(read))}</s></div>" if read.cut else ""
    return f"<div>{inside} <small>{_sizes(read)}</small></div>{cut}"


def _colour(piece: str, special: bool, segment: int) -> str:
    if piece == _UNKNOWN:
        return _RED
    return _GREY if special else _COLOURS[segment % len(_COLOURS)]


def _chip(text: str, colour: str) -> str:
    return f'<bdi style="{_CHIP} {colour}">{escaped(text)}</bdi>'
