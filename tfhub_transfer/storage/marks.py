"""Which files of a folder this package wrote: each folder of ours has a list of them."""

import contextlib
import json
import os
from collections.abc import Iterable
from pathlib import Path

from tfhub_transfer.errors import InputError
from tfhub_transfer.storage import opening
from tfhub_transfer.storage.scratch import is_scratch

MARK = ".tfhub-transfer"
_MOST_OF_MARK = 64 << 20


def foreign(place: Path) -> Path | None:
    """The first file in a folder that this package didn't write; `None` if it wrote them all.

    The mark of a folder inside counts only if the mark around it lists it: several outputs in one
    folder are no output.
    """
    ours: set[Path] = set()
    for root, folders, files in os.walk(place, onerror=_unreadable):
        here = Path(root)
        if here == place or here / MARK in ours:
            ours.update(marked(here))
        folders[:] = sorted(f for f in folders if not is_passed(here / f))
        odd = [f for f in folders if (here / f).is_symlink() or os.path.ismount(here / f)]
        for name in sorted([*files, *odd]):
            if here / name not in ours:
                return here / name
    return None


def is_passed(path: Path) -> bool:
    """Whether a folder counts as nothing: scratch, or what file systems keep in their root."""
    found = path.name == "lost+found" and os.path.ismount(path.parent)
    return found or is_scratch(path)


def _unreadable(error: OSError) -> None:
    raise InputError(
        f"the output folder can't be read whole. Received: {error.filename}"
    ) from error


def marked(place: Path) -> set[Path]:
    """The files that the mark of a folder lists, and the mark."""
    try:
        listed = json.loads(opening.read_bytes(place / MARK, _MOST_OF_MARK))["wrote"]
        return {place / MARK, *(place / str(name) for name in listed)}
    # No mark that can be read: nothing there counts as ours, so nothing is replaced.
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return set()


def mark(place: Path) -> None:
    """Marks a folder and all that is in it as ours."""
    files = sorted(p for p in place.rglob("*") if not p.is_dir() or p.is_symlink())
    write_mark(place, [p.relative_to(place).as_posix() for p in files])


def add_to_mark(target: Path, alone: bool = False) -> None:
    """A file that was added to a folder of ours is ours; so may be one that is alone there."""
    known, added = marked(target.parent), {target}
    if target.is_dir():
        added = {path for path in target.rglob("*") if not path.is_dir()}
    if (known and not added <= known) or (alone and list(target.parent.iterdir()) == [target]):
        names = {p.relative_to(target.parent).as_posix() for p in known | added}
        write_mark(target.parent, sorted(names - {MARK}))


def tell_around(place: Path) -> None:
    """A marked folder that came to be within an output is part of it, where a part was before.

    As a later version of an export is, beside the one that training wrote. Elsewhere in an output
    it is nobody's but who put it there. Where the mark can't be written it is somebody else's.

    Args:
        place: The folder, which has a mark.
    """
    for around in place.parents:
        known = marked(around)
        parts = {parent for path in known for parent in path.parents} - {around}
        if place / MARK not in known and {place, place.parent} & parts:
            names = {path.relative_to(around).as_posix() for path in {*known, place / MARK}}
            with contextlib.suppress(OSError):  # the folder is whole, and there
                write_mark(around, sorted(names - {MARK}))


def tops(paths: Iterable[Path], folder: Path) -> set[str]:
    """The names in a folder by which one comes to these paths.

    Args:
        paths: Files and folders in it, at any depth.
        folder: The folder.
    """
    return {path.relative_to(folder).parts[0] for path in paths}


def write_mark(place: Path, names: list[str]) -> None:
    """Writes the mark of a folder, whole or not at all, with these names of files."""
    text = json.dumps({"by": "tfhub-transfer", "wrote": names}, indent=1) + "\n"
    fresh = place / f"{MARK}.new"
    try:
        fresh.write_text(text, encoding="utf-8")
        os.replace(fresh, place / MARK)
    finally:
        fresh.unlink(missing_ok=True)
