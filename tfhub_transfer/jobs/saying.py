"""What jobs say while they work: results on standard output, decisions on standard error."""

import sys
from typing import Any

from tfhub_transfer import progress
from tfhub_transfer.errors import visible


def say(text: str) -> None:
    """Prints to standard output at once, without control characters from data.

    Args:
        text: What to say.
    """
    progress.say(visible(text))


def say_notes(read: Any) -> None:
    """Says on standard error what was decided while a file was read.

    Args:
        read: Examples, a stream of them, answers or vectors; or several by their names.
    """
    for each in read.values() if isinstance(read, dict) else (read,):
        source = "standard input" if str(each.source) == "-" else each.source
        for note in each.notes:
            print(visible(f"{source}: {note}"), file=sys.stderr)
