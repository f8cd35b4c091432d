"""What errors call the places of work in progress: by the names that the user gave."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

Given = TypeVar("Given")

# Of each folder that is being filled, what will be in its place.
_called: dict[str, str] = {}


@contextlib.contextmanager
def called(scratch: Path, target: Path) -> Iterator[None]:
    """While the body runs, errors that leave it say `target` where they would say `scratch`.

    Of bodies within each other all names are known at the innermost, before anything is shortened.

    Args:
        scratch: Where work is staged.
        target: What the user knows.
    """
    _called[str(scratch)] = str(target)
    try:
        yield
    except Exception as error:
        _rename(error)
        raise
    finally:
        _called.pop(str(scratch), None)


def _rename(error: Exception) -> None:
    # The arguments are the message of most; systems' errors keep names, TensorFlow's their text.
    error.args = tuple(map(_named, error.args))
    for attribute in ("filename", "filename2", "_message"):
        found = getattr(error, attribute, None)
        if found is not None:
            setattr(error, attribute, _named(found))


def _named(value: Given) -> Given | str:
    if not isinstance(value, str | os.PathLike):
        return value
    text = str(value)
    for scratch in sorted(_called, key=len, reverse=True):  # the inner ones first
        text = text.replace(scratch, _called[scratch])
    return text if text != str(value) else value
