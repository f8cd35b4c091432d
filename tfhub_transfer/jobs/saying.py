"""What jobs say while they work: results on standard output, decisions on standard error."""

import sys
from collections.abc import Mapping, Sequence
from typing import Protocol

from tfhub_transfer import progress
from tfhub_transfer.errors import visible


class Noted(Protocol):
    """What was read, and what was decided on the way.

    Attributes:
        source: What it is called.
        notes: What was decided, a line each.
    """

    @property
    def source(self) -> object:
        """What it is called."""

    @property
    def notes(self) -> Sequence[str]:
        """What was decided, a line each."""


def say(text: str) -> None:
    """Prints to standard output at once, without control characters from data.

    Args:
        text: What to say.
    """
    progress.say(visible(text))


def say_notes(read: Noted | Mapping[str, Noted]) -> None:
    """Says on standard error what was decided while a file was read.

    Args:
        read: Examples, a stream of them, answers or vectors; or several by their names.
    """
    for each in read.values() if isinstance(read, Mapping) else (read,):
        source = "standard input" if str(each.source) == "-" else each.source
        for note in each.notes:
            print(visible(f"{source}: {note}"), file=sys.stderr)
