"""Pieces of a page: texts from data made harmless, tables, pictures, and the page around them."""

import base64
import hashlib
import html
import re
from collections.abc import Sequence
from pathlib import Path

from tfhub_transfer.errors import visible
from tfhub_transfer.incoming.wording import shown

_HERE = Path(__file__).parent
STYLE = (_HERE / "page.css").read_text("utf-8")
SCRIPT = (_HERE / "page.js").read_text("utf-8")
LONGEST_CELL = 80
# Behind an underscore, and in what is too long to be a word.
_BREAKS = re.compile(r"_+(?=[^\s_])|[^\s_]{24}(?=[^\s_])")
_WIDE = 1.9  # times as wide as high


def escaped(text: str) -> str:
    """A text from data as HTML that shows it, and nothing that it might ask for."""
    return html.escape(visible(text))


def page(title: str, parts: Sequence[str]) -> str:
    """A page of parts that are HTML already; empty ones are left out.

    The page's own script sorts and filters tables; without it all is there. A browser is told to
    run nothing else and to fetch nothing, whatever got into the page.
    """
    title, policy = escaped(title), escaped(_policy())
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        f"<style>{STYLE}</style></head>\n<body><main>\n"
        + "\n".join(part for part in parts if part)
        + f"\n</main><script>{SCRIPT}</script></body></html>\n"
    )


def _policy() -> str:
    style, script = (
        base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode("ascii")
        for text in (STYLE, SCRIPT)
    )
    return (
        f"default-src 'none'; img-src data:; style-src 'sha256-{style}'; "
        f"script-src 'sha256-{script}'"
    )


def table(
    heads: Sequence[str],
    rows: Sequence[Sequence[str]],
    text: tuple[int, ...],
    pick: tuple[int, ...] | None = None,
    stacked: bool = False,
) -> str:
    """A table that can be sorted, of cells that are HTML already.

    Args:
        heads: Names of the columns, HTML as well.
        rows: Cells of each row.
        text: The columns that aren't numbers.
        pick: If given, rows can be filtered, by words and by the values of these columns.
        stacked: Whether cells stand below each other on a narrow screen, as they do with `pick`.
    """
    kinds = [' class="text"' if column in text else "" for column in range(len(heads))]
    picked = [" data-pick" if column in (pick or ()) else "" for column in range(len(heads))]
    header = "".join(
        f'<th scope="col"{kind}{of}>{head}</th>' for kind, of, head in zip(kinds, picked, heads)
    )
    # On a narrow screen each cell has its column's name before it.
    body = "".join(
        "<tr>"
        + "".join(
            f'<td{kind} data-head="{head}">{cell}</td>'
            for kind, head, cell in zip(kinds, heads, row)
        )
        + "</tr>\n"
        for row in rows
    )
    of_card = " stacked" if stacked else ""
    of_card, of_table = (of_card, "") if pick is None else (" long stacked", ' class="filtered"')
    return (
        f'<div class="card{of_card}"><table{of_table}><thead><tr>{header}</tr></thead>\n'
        f"<tbody>{body}</tbody></table></div>"
    )


def fold(title: str, inside: str) -> str:
    """What is shown when its title is clicked, and on paper."""
    return f"<details><summary>{title}</summary>{inside}</details>"


def warned(warnings: Sequence[str]) -> str:
    """A box that can't be overlooked."""
    items = "".join(f"<li>{escaped(warning)}</li>" for warning in warnings)
    return f'<div class="warnings" role="alert"><ul>{items}</ul></div>' if warnings else ""


def noted(notes: Sequence[str]) -> str:
    """What there is to say besides."""
    items = "".join(f"<li>{escaped(note)}</li>" for note in notes)
    return f'<ul class="soft">{items}</ul>' if notes else ""


def figure(title: str, content: bytes, says: str | None = None) -> str:
    """A picture that is part of the page.

    Args:
        title: What it shows.
        content: A PNG.
        says: What it says, for those who don't see it; the title, if not given.
    """
    data, says = base64.b64encode(content).decode("ascii"), escaped(title if says is None else says)
    title = escaped(title)
    # A PNG begins with its width and height; one of two panels can't be read at a phone's width.
    width, height = (int.from_bytes(content[at : at + 4], "big") for at in (16, 20))
    wide = ' class="wide"' if width > _WIDE * height else ""
    return (
        f"<figure{wide}><figcaption>{title}</figcaption>"
        f'<img alt="{says}" src="data:image/png;base64,{data}"></figure>'
    )


def cell(value: object) -> str:
    """A value of data as a cell: short, and escaped; of a list each part by itself."""
    if value is None:
        return "-"
    if isinstance(value, float):
        return shown(value, 3)
    if isinstance(value, (list, tuple)):
        return ", ".join(f"<span>{cell(part)}</span>" for part in value) or "none"
    return breakable(short(str(value), LONGEST_CELL))


def breakable(text: str) -> str:
    """A name as HTML whose lines may end behind `_`, and inside of what is far too long."""
    parts = _BREAKS.sub(lambda found: f"{found.group()}\0", visible(text)).split("\0")
    return "<wbr>".join(map(html.escape, parts))


def short(text: str, most: int) -> str:
    """A text of so many characters at most."""
    return text if len(text) <= most else text[: most - 1] + "…"
