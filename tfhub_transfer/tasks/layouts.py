"""How texts become rows that an encoder reads at once, and scores of rows become answers."""

from collections.abc import Iterable

from tfhub_transfer.errors import InputError
from tfhub_transfer.heads.settings import Head
from tfhub_transfer.tasks.base import Task
from tfhub_transfer.tasks.generation.layout import Generated, Turns
from tfhub_transfer.tasks.layout import Ids, Layout, Rows, asked, encoder_inputs, of_rows
from tfhub_transfer.tasks.questions.layout import Windows
from tfhub_transfer.tasks.several.layout import Joint, balance
from tfhub_transfer.tasks.summaries.layout import Sentences, documents, places
from tfhub_transfer.tasks.tagging.layout import Words
from tfhub_transfer.tasks.towers import Towers
from tfhub_transfer.tasks.whole.layout import Whole

LAYOUTS: dict[str, type[Layout]] = {
    "whole": Whole,
    "towers": Towers,
    "words": Words,
    "windows": Windows,
    "sentences": Sentences,
    "written": Generated,
    "turns": Turns,
}


def find(task: Task, head: Head | None = None) -> Layout:
    """The layout of a task, by the name that the task gives.

    Args:
        task: The task.
        head: Its head; `Head()` if not given.

    Raises:
        InputError: If the head wants two towers where texts don't come in pairs, or the task's
            layout isn't known.
    """
    head = head or Head()
    if task.layout not in LAYOUTS:
        raise InputError(
            f"the `layout` of a task is one of {', '.join(LAYOUTS)}. Received: {task.layout!r} of "
            f"the {task.name} task"
        )
    if not head.towers:
        return LAYOUTS[task.layout](task, head)
    if task.layout not in ("whole", "towers"):
        raise InputError(
            "two towers answer for whole texts; leave `towers` (`--towers`) out. "
            f"Received: the {task.name} task"
        )
    if not task.pair:
        raise InputError(
            "two towers read pairs of texts; give a second text column (`--text-pair`; in Python "
            "a task of `pair=True`), or leave `towers` out. "
            f"Received: the {task.name} task for single texts"
        )
    return Towers(task, head)


def counts(answers: Iterable[str]) -> dict[str, str]:
    """Answers of an export that are padded, each with the one that says how many are no padding.

    Args:
        answers: The names of all that one signature of it gives.

    Example:

    >>> counts(["sentence", "sentence_count"])
    {'sentence': 'sentence_count'}
    """
    given = set(answers)
    groups = [group for layout in LAYOUTS.values() for group in layout.counted.items()]
    return {
        name: count
        for count, padded in groups
        if count in given
        for name in padded
        if name in given
    }


__all__ = [
    "LAYOUTS",
    "Ids",
    "Joint",
    "Layout",
    "Rows",
    "asked",
    "balance",
    "counts",
    "documents",
    "encoder_inputs",
    "find",
    "of_rows",
    "places",
]
