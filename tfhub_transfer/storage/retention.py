"""Numbered folders, of which the newest count: the older ones removed, each at once."""

import os
import re
import warnings
from collections.abc import Callable
from pathlib import Path

from tfhub_transfer.errors import InputError
from tfhub_transfer.storage import atomic, marks
from tfhub_transfer.storage.scratch import Scratch

# As of those that come: what a dead process left is swept by the next one (`atomic.numbered`).
_LEAVING = ".version.partial-"
# Numbers of versions are int64 to TF Serving.
_LAST = 2**63 - 1


def require_alike(parent: Path, file: str) -> None:
    """Refuses, before any work, a folder in which versions of ours are of another format.

    A server loads the newest of all numbers, whatever it is, and `keep_newest` would remove what it
    answers with.

    Args:
        parent: The folder of numbered folders; there may be none.
        file: What each version of the format holds, as a pattern.

    Raises:
        InputError: If one of ours holds no such file, it is a version itself, or the next number
            would be more than servers count to.
    """
    if any(parent.glob(file)):
        raise InputError(
            "versions lie in numbered folders of a folder, and that is one of them; give the "
            f"folder around it. Received: {parent}, which holds {file}"
        )
    numbers = [int(p.name) for p in parent.glob("*") if re.fullmatch(r"[0-9]+", p.name)]
    if max(numbers, default=0) >= _LAST:
        raise InputError(
            f"no server takes a version behind {_LAST}; rename the folder of that number. "
            f"Received: {parent / str(max(numbers))}"
        )
    ours = sorted(path for path in parent.glob("*") if _is_ours(path))
    other = next((path for path in ours if not any(path.glob(file))), None)
    if other is not None:
        raise InputError(
            "versions of another format lie there, and a server would take the newest of all; give "
            f"each format a folder of its own. Received: {other}, without {file}"
        )


def next_version(parent: Path, write: Callable[[Path], None], keep: int | None) -> Path:
    """Writes the next numbered folder, whole or not at all, and removes what is older than wanted.

    Args:
        parent: The folder of numbered folders; made if need be.
        write: Fills the empty folder that it is called with.
        keep: As of `keep_newest`; all stay if `None`.

    Returns:
        The new folder.

    Raises:
        OSError: If it can't be written.
    """
    made = atomic.numbered(parent, write)
    if keep is not None:
        keep_newest(parent, keep)
    return made


def keep_newest(parent: Path, keep: int) -> list[Path]:
    """Removes the oldest of the numbered folders that this package wrote.

    Each is renamed before it is removed, so that whoever looks sees all of it or nothing. Folders
    of others don't count, and stay. One of ours in which something of others lies stays too, with a
    warning.

    Args:
        parent: The folder of numbered folders.
        keep: How many of ours stay, the newest; at least 1.

    Returns:
        Those that were removed, the oldest first.
    """
    ours = [path for path in parent.iterdir() if _is_ours(path)]
    oldest = sorted(ours, key=lambda path: int(path.name))[:-keep]
    return [path for path in oldest if _is_removed(path)]


def _is_ours(path: Path) -> bool:
    marked = not path.is_symlink() and (path / marks.MARK).is_file()
    return marked and re.fullmatch(r"[0-9]+", path.name) is not None


def _is_removed(path: Path) -> bool:
    """Whether it is gone now by our hand, which it isn't if it may not be."""
    try:
        found = marks.foreign(path)
        if found is None:
            _remove(path)
            return True
        why = f"{found.relative_to(path)} in it was written by somebody else"
    except FileNotFoundError:  # another process has removed it
        return False
    except (OSError, InputError) as error:
        why = str(error)
    warnings.warn(f"the older version {path} stays: {why}", stacklevel=4)
    return False


def _remove(path: Path) -> None:
    scratch = Scratch(path.parent, _LEAVING)
    try:
        os.rename(path, scratch.old)
    finally:
        scratch.discard()
