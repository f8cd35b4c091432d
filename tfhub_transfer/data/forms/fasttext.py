"""Files of fastText: labels as `__label__name`, and a text, in each line.

doccano writes them through a CSV writer: lines with commas or quotes are quoted, and a text may go
on in the next line.
"""

import csv
import re
from collections.abc import Iterator

from tfhub_transfer.data.forms import opening, quoting
from tfhub_transfer.data.forms.base import LABEL, TEXT, File, Form, Numbered
from tfhub_transfer.errors import InputError

_LABEL = re.compile(r"(?:(?<=\s)|^)__label__(\S+)(?:\s|$)")
_LAST = re.compile(r"(\s+__label__\S+)+\s*$")
_COMMENT = re.compile(r"\s__comment__\S+")  # of doccano
_QUOTED = '"__label__'


def looks_like(file: File) -> bool:
    """Whether the first line that says something begins with a label.

    Args:
        file: The file.
    """
    first = next((line for line in opening.lines(file) if line.strip()), "")
    return first.lstrip().startswith(("__label__", _QUOTED))


def form(file: File) -> Form:
    """Texts with their label; with lists of labels, if a line has several or none.

    Args:
        file: The file.

    Raises:
        InputError: If a quoted line isn't closed.
    """
    quoted = any(line.startswith(_QUOTED) for line in opening.lines(file))
    # All of the file: one line with several labels, or none, makes lists of all.
    counts = {len(_LABEL.findall(line)) for _, line in _lines(file, quoted)}
    several = counts != {1}
    notes = ["lines are quoted, as doccano writes them"] if quoted else []
    notes += ["some lines have several labels or none: labels are lists"] if several else []
    return Form([TEXT, LABEL], lambda: _rows(file, quoted, several), "line", notes)


def _lines(file: File, quoted: bool) -> Iterator[tuple[int, str]]:
    if not quoted:
        numbered = enumerate(opening.lines(file), start=1)
        yield from ((number, line) for number, line in numbered if line.strip())
        return
    # Nothing else separates fields: a line with a comma is quoted whole.
    reader = quoting.reader(opening.lines(file), ",", quoting.STANDARD)
    number = 1
    try:
        for fields in reader:
            if fields:
                yield number, ",".join(fields)
            number = reader.line_num + 1
    except csv.Error as error:
        raise InputError(
            f"{file}, line {number}: some lines are quoted whole, but this isn't closed. "
            f"Received: {error}"
        ) from error


def _rows(file: File, quoted: bool, several: bool) -> Iterator[Numbered]:
    for number, line in _lines(file, quoted):
        labels = _LABEL.findall(line)
        text = _LABEL.sub("", _LAST.sub("", line.rstrip("\r\n")))
        if quoted:  # where a space stands before comments, of which there may be none
            text = _COMMENT.sub("", text).removesuffix(" ")
        yield number, {TEXT: text, LABEL: labels if several else labels[0]}
