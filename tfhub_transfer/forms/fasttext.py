"""Files of fastText: labels as `__label__name`, and a text, in each line."""

import re
from collections.abc import Iterator

from tfhub_transfer.forms import opening
from tfhub_transfer.forms.base import LABEL, TEXT, File, Form, Row

_LABEL = re.compile(r"(?:(?<=\s)|^)__label__(\S+)(?:\s+|$)")


def looks_like(file: File) -> bool:
    """Whether the first line that says something begins with a label.

    Args:
        file: The file.
    """
    first = next((line for line in opening.lines(file) if line.strip()), "")
    return first.lstrip().startswith("__label__")


def form(file: File) -> Form:
    """Texts with their label; with lists of labels, if a line has several or none.

    Args:
        file: The file.
    """
    counts = {len(_LABEL.findall(line)) for line in opening.lines(file) if line.strip()}
    several = counts != {1}
    notes = ["some lines have several labels or none: labels are lists"] if several else []
    return Form([TEXT, LABEL], lambda: _rows(file, several), "line", notes)


def _rows(file: File, several: bool) -> Iterator[Row]:
    for number, line in enumerate(opening.lines(file), start=1):
        if not line.strip():
            continue
        labels = _LABEL.findall(line)
        text = _LABEL.sub("", line.rstrip("\r\n")).strip()
        yield number, {TEXT: text, LABEL: labels if several else labels[0]}
