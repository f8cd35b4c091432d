"""Files and folders that appear whole or not at all, and never in the place of somebody's work.

What is written is staged beside its target, synced and renamed. What was there is renamed aside
first and removed last. A folder that can't be renamed because it is a mount is filled entry by
entry. Folders carry a mark that lists what was written into them; nothing else is ever replaced.
"""

import contextlib
import errno
import glob
import os
import re
import resource
import shutil
import stat
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

from tfhub_transfer.errors import InputError
from tfhub_transfer.storage import budget, opening, signals
from tfhub_transfer.storage.aliases import called
from tfhub_transfer.storage.marks import (
    MARK,
    add_to_mark,
    foreign,
    is_passed,
    mark,
    marked,
    tell_around,
    tops,
    write_mark,
)
from tfhub_transfer.storage.scratch import (
    Scratch,
    if_dead,
    is_finished,
    is_scratch,
    recover,
    remove_empty,
    share,
    sweep,
)

# So much must be free on a disk before work begins; jobs that know more ask for more.
_ROOM = 20_000_000
# Of a file's name on most systems 255, less what a scratch folder adds.
_LONGEST_NAME = 230
_CANNOT_SYNC = (errno.EINVAL, errno.ENOTSUP, errno.EBADF)


@contextlib.contextmanager
def file(target: Path) -> Iterator[Path]:
    """Gives a path of the same name elsewhere; what is written there becomes the file at the end.

    Args:
        target: The file; one that is there is replaced, and a link is followed.

    Raises:
        OSError: If it can't be written; a file that is there stays as it was.
    """
    target, shown = _real(target), target
    made = [parent for parent in target.parents if not parent.exists()]
    scratch = _beside(target)
    try:
        with called(scratch.new / target.name, shown), called(scratch.new, shown.parent):
            yield scratch.new / target.name
            _sync(scratch.new / target.name)
        with signals.held():
            os.replace(scratch.new / target.name, target)
            with contextlib.suppress(OSError):  # the file is whole, and there
                add_to_mark(target)
        _sync(target.parent)
    finally:
        scratch.discard()
        remove_empty(made)


def write_text(target: Path, text: str) -> None:
    """Writes a file of UTF-8 text, whole or not at all."""
    write_bytes(target, text.encode("utf-8"))


def write_bytes(target: Path, content: bytes) -> None:
    """Writes a file, whole or not at all."""
    with file(target) as scratch:
        scratch.write_bytes(content)


def move(source: Path, target: Path) -> None:
    """Moves a file, whole or not at all, also to another file system; till then it stays."""
    with file(target) as scratch:
        try:
            os.link(source, scratch)
        except OSError:  # another file system, or one without links
            shutil.copyfile(source, scratch)
    source.unlink()


def mark_alone(target: Path) -> None:
    """Marks a folder in which nothing but one file or folder of ours lies."""
    add_to_mark(_real(target), alone=True)


def files(folder: Path, contents: Mapping[str, bytes]) -> None:
    """Writes files into a folder that may hold others, and remembers that they are ours.

    Args:
        folder: The folder; made if need be.
        contents: What to write, by name in the folder.

    Raises:
        InputError: If one would replace a file that this package didn't write; nothing is written.
        OSError: If one can't be written.
    """
    check_files(folder, contents)
    place = _real(folder)
    place.mkdir(parents=True, exist_ok=True)
    if not any(map(is_scratch, place.parents)):
        # First, so that whatever happens none of them is taken for somebody else's.
        known = {p.relative_to(place).as_posix() for p in marked(place)}
        write_mark(place, sorted((known | set(contents)) - {MARK}))
        tell_around(place)
    for name, content in contents.items():
        write_bytes(place / name, content)


@contextlib.contextmanager
def folder(target: Path, overwrite: bool = False) -> Iterator[Path]:
    """Gives an empty folder; afterwards what it holds is the target, or nothing has changed.

    Ask `check_output` before the work; what is there is looked at again after it. Folders that a
    dead process left beside the target are removed, or put in place if they were finished.

    Args:
        target: The folder to write.
        overwrite: Whether what this package wrote there is replaced.

    Raises:
        InputError: If what is finished can't be moved, or may not be by now; it stays, and the
            message says where.
        OSError: If nothing can be written there.
    """
    target, shown = _real(target), target
    made = [parent for parent in target.parents if not parent.exists()]
    scratch = _within(target) if _is_fixed(target) else _beside(target)
    try:
        with called(scratch.new, shown):
            yield scratch.new
    except BaseException:
        scratch.discard()
        remove_empty(made)
        raise
    with signals.held():
        _commit(scratch, target, overwrite)


@contextlib.contextmanager
def part(target: Path, overwrite: bool = False) -> Iterator[Path]:
    """As `folder`, asked for first, for what may also be a part of a folder that is being written.

    Args:
        target: The folder to write.
        overwrite: Whether what this package wrote there is replaced.

    Raises:
        InputError: If it can't be written, or would replace what this package didn't write.
    """
    shown = opening.path_of(target)
    target = _real(shown)
    if any(map(is_scratch, target.parents)):  # whole with what is around it, or not at all
        target.mkdir(parents=True, exist_ok=True)
        yield target
        return
    check_output(shown, overwrite)
    try:
        with folder(shown, overwrite) as scratch:
            yield scratch
    except OSError as error:
        raise InputError(f"the folder can't be written ({error}). Received: {shown}") from error
    add_to_mark(target)


def numbered(parent: Path, write: Callable[[Path], None]) -> Path:
    """Writes a folder beside those that are there, under the next number; others may do the same.

    Args:
        parent: The folder of numbered folders; made if need be.
        write: Fills the empty folder that it is called with.

    Returns:
        The new folder.

    Raises:
        OSError: If it can't be written.
    """
    opening.require_utf8(parent)
    _real(parent).mkdir(parents=True, exist_ok=True)
    sweep(parent, ".version.partial-*")
    scratch = Scratch(parent, ".version.partial-")
    try:
        with called(scratch.new, parent):
            write(scratch.new)
            share(scratch.new)
            mark(scratch.new)
            _sync_all(scratch.new)
        with signals.held():
            return _rename_to_next(scratch.new, parent)
    finally:
        scratch.discard()


def check_output(
    target: Path,
    overwrite: bool = False,
    inputs: Iterable[str | Path] = (),
) -> None:
    """Refuses an output, before any work, that can't be written or would destroy something.

    Args:
        target: The folder to write.
        overwrite: Whether a folder that this package wrote may be replaced.
        inputs: What is read; names that are no paths of files or folders are passed over.

    Raises:
        InputError: If it is a file, isn't empty, holds a file that this package didn't write, is or
            holds or lies in an input, is or holds the current folder or the home folder, or can't
            be written.
    """
    _check_name(opening.path_of(target))
    target, shown = _real(target), target
    if target.exists() and not target.is_dir():
        raise InputError(f"the output must be a folder. Received: {shown}, which is a file")
    opening.require_folder_name(shown)
    _check_place(target, shown, inputs)
    _recover(target)
    _resume(target)
    if target.exists():
        _check_content(target, shown, overwrite)
        _check_folders(target)
    check_room(target, _ROOM)
    _try(target, shown)


def check_room(target: Path, *sizes: int) -> None:
    """Refuses an output, before the work, for which the disk has no room.

    Args:
        target: The folder to write.
        sizes: Bytes that each of its larger files will have at least.

    Raises:
        InputError: If that is more than there is, or than a file may have.
    """
    parent = next(p for p in (_real(target), *_real(target).parents) if p.exists())
    free, (limit, _) = shutil.disk_usage(parent).free, resource.getrlimit(resource.RLIMIT_FSIZE)
    if free < sum(sizes):
        raise InputError(
            f"no space left for the output: expected at least {sum(sizes) / 1e6:.0f} MB free. "
            f"Received: {target} with {free / 1e6:.0f} MB"
        )
    if resource.RLIM_INFINITY != limit < max(sizes):
        raise InputError(
            f"the longest file of the output will have {max(sizes) / 1e6:.0f} MB or more, and the "
            f"system allows less (`ulimit -f`). Received: {limit / 1e6:.0f} MB"
        )


def check_files(folder: Path, names: Iterable[str]) -> None:
    """Refuses to write files where others lie that this package didn't write.

    Args:
        folder: The folder; there may be none.
        names: Names in it.

    Raises:
        InputError: If one of them is somebody else's, or no plain file.
    """
    folder = opening.path_of(folder)
    if folder.exists() and not folder.is_dir():
        raise InputError(f"the output must be a folder. Received: {folder}, which is a file")
    for path in (_real(folder / name) for name in names):
        if path.exists() and not any(path in marked(parent) for parent in path.parents):
            raise InputError(
                "there is a file that this package didn't write, and it is never replaced; move "
                f"it away, or name another folder. Received: {path}"
            )
        opening.require(path)


def check_file(
    target: Path,
    begins: bytes,
    overwrite: bool = False,
    inputs: Iterable[str | Path] = (),
) -> None:
    """Refuses an output that is a single file, before any work, as `check_output` does folders.

    Args:
        target: The file to write.
        begins: How such files begin.
        overwrite: Whether one that is there may be replaced, if it is of this kind.
        inputs: What is read.

    Raises:
        InputError: If it is a folder, is there already, is of another kind or one of the inputs,
            or can't be written.
    """
    _check_name(opening.path_of(target))
    target, shown = _real(target), target
    opening.require(target)
    if _identities([target]) & _identities(map(opening.path_of, filter(None, inputs))):
        raise InputError(
            f"the output must lie apart from what is read; name another. Received: {shown}"
        )
    if target.exists() and not overwrite:
        raise InputError(
            "the output exists; name another one, or give `--overwrite` (`overwrite=True`). "
            f"Received: {shown}"
        )
    if target.exists() and opening.read_bytes(target, len(begins)) not in (b"", begins):
        raise InputError(
            "the output exists and is a file of another kind, which is never replaced; move it "
            f"away, or name another one. Received: {shown}"
        )
    check_room(target.parent, _ROOM)
    _try(target, shown)


def _check_name(target: Path) -> None:
    opening.require_utf8(target)
    path, name = os.path.realpath(target), target.name
    if re.search(r"[*?\[\]\0]", path):
        raise InputError(
            "the output's path may not hold any of `*?[]`, which TensorFlow takes for patterns. "
            f"Received: {target}"
        )
    if len(name.encode()) > _LONGEST_NAME:
        raise InputError(f"the name may have {_LONGEST_NAME} bytes at most. Received: {name}")
    if os.path.islink(path):
        raise InputError(f"the output is a link to itself. Received: {target}")


def _check_place(target: Path, shown: Path, inputs: Iterable[str | Path]) -> None:
    for what, find in (("current", Path.cwd), ("home", Path.home), ("root", lambda: Path("/"))):
        try:
            place = _real(find())
        except (OSError, RuntimeError):  # it was removed, or nobody knows it
            continue
        if target == place or target in place.parents:
            raise InputError(
                f"the output would replace the {what} folder or one around it; name a new folder. "
                f"Received: {shown}"
            )
    cache = budget.folder()
    if cache is not None and target in _real(cache).parents:
        raise InputError(
            "the cache would lie in the output; name another place with "
            f"{budget.FOLDER_VARIABLE}. Received: {shown}, and {cache}"
        )
    for given in inputs:
        source = _real(Path(given))
        if not given or not source.exists():
            continue
        inside = _identities([source]) & _identities([target, *target.parents])
        around = _identities([target]) & _identities([source, *source.parents])
        if inside or around:
            raise InputError(
                f"the output must lie apart from what is read, {given}; name another folder. "
                f"Received: {shown}"
            )


def _identities(paths: Iterable[Path]) -> set[tuple[int, int]]:
    """What paths stand for, also where one folder is mounted at two places."""
    states = [path.stat() for path in paths if path.exists()]
    return {(state.st_dev, state.st_ino) for state in states}


def _check_content(target: Path, shown: Path, overwrite: bool) -> None:
    left = [path for path in target.iterdir() if not is_passed(path)]
    if left and not overwrite:
        raise InputError(
            "the output folder exists and isn't empty; name another one, or give `--overwrite` "
            f"(`overwrite=True`). Received: {shown}"
        )
    found = foreign(target)
    if found is not None:
        raise InputError(
            "the output folder holds a file that this package didn't write, and `--overwrite` "
            f"removes none of those; move it away, or name another folder. Received: {found}"
        )


def _check_folders(target: Path) -> None:
    """What is to be replaced is moved, and then removed; both need leave."""
    for root, folders, _ in os.walk(target):
        folders[:] = [f for f in folders if not is_passed(Path(root, f))]
        if not os.access(root, os.R_OK | os.W_OK | os.X_OK):
            raise InputError(
                "the output folder can't be written, as it, or a folder in it, belongs to another "
                f"user or is read-only. Received: {root}"
            )


def _try(target: Path, shown: Path) -> None:
    """Writes where the work will be staged: permissions alone don't say what a disk allows."""
    parent = next(p for p in (target.parent, *target.parents) if p.exists())
    try:
        probe = Scratch(target if _is_fixed(target) else parent, _prefix(target))
        try:
            (probe.new / "probe").write_bytes(b"\0")
        finally:
            probe.discard()
    except OSError as error:
        raise InputError(
            f"the output folder can't be written ({error.strerror or error}). Received: {shown}"
        ) from error


# Staging ------------------------------------------------------------------------------------------


def _prefix(target: Path) -> str:
    return f".{target.name}.partial-"


def _pattern(target: Path) -> str:
    # A scratch folder's name has eight characters more.
    return f"{glob.escape(_prefix(target))}????????"


def _beside(target: Path) -> Scratch:
    target.parent.mkdir(parents=True, exist_ok=True)
    _recover(target)
    return Scratch(target.parent, _prefix(target))


def _within(target: Path) -> Scratch:
    sweep(target, _pattern(target))
    return Scratch(target, _prefix(target))


def _recover(target: Path) -> None:
    recover(target, _pattern(target))
    sweep(target.parent, ".*.partial-*")


def _is_fixed(target: Path) -> bool:
    """Whether a folder can't be renamed: it is a mount, or what holds it doesn't allow that."""
    if not target.is_dir():
        return False
    around, user = target.parent.stat(), os.geteuid()
    sticky = around.st_mode & stat.S_ISVTX and user not in (0, around.st_uid, target.stat().st_uid)
    writable = os.access(target.parent, os.W_OK | os.X_OK)
    return os.path.ismount(target) or bool(sticky) or not writable


def _rename_to_next(source: Path, parent: Path) -> Path:
    while True:
        numbers = [int(p.name) for p in parent.iterdir() if re.fullmatch(r"[0-9]+", p.name)]
        target = parent / str(max(numbers, default=0) + 1)
        try:
            os.rename(source, target)
        except OSError:
            if not target.exists():
                raise
        else:
            _sync(parent)
            tell_around(_real(target))
            return target


def _commit(scratch: Scratch, target: Path, overwrite: bool) -> None:
    """Puts finished work in place. From here on it is never deleted."""
    try:
        # Some disks say only here that they are full.
        share(scratch.new)
        mark(scratch.new)
        _sync_all(scratch.new)
        scratch.finish()
        if target.exists():  # perhaps since the work began
            _check_content(target, target, overwrite)
        if scratch.folder.parent == target or not _swap(scratch, target):
            _move_entries(scratch, target)
        _sync(target.parent)
    except (OSError, InputError) as error:
        with contextlib.suppress(OSError):
            scratch.finish()
        scratch.release()
        raise InputError(
            f"the output couldn't be moved to its place ({error}); the finished work lies in "
            f"{scratch.new}: move it yourself. Received: {target}"
        ) from error
    scratch.discard()


def _swap(scratch: Scratch, target: Path) -> bool:
    """Renames the whole folder; `False` if the target is a mount that nobody could tell."""
    if target.exists():
        try:
            os.replace(target, scratch.old)
        except OSError:
            return False
    try:
        os.replace(scratch.new, target)
    except OSError:
        if scratch.old.exists():
            os.replace(scratch.old, target)
        raise
    return True


def _move_entries(scratch: Scratch, target: Path) -> None:
    """Moves what a folder holds; its mark goes first and comes last."""
    inner = scratch
    if scratch.folder.parent != target:  # another file system, as it turned out
        inner = Scratch(target, _prefix(target))
        try:
            shutil.copytree(scratch.new, inner.new, dirs_exist_ok=True, symlinks=True)
            _sync_all(inner.new)
        except BaseException:
            inner.discard()
            raise
        inner.finish()
    inner.old.mkdir()
    there = [path for path in target.iterdir() if not is_passed(path)]
    _move(there, inner.old, MARK)
    _move(inner.new.iterdir(), target)
    inner.discard()


def _move(entries: Iterable[Path], to: Path, first: str = "") -> None:
    """Renames entries; one of them first, and the mark of a folder last."""
    for path in sorted(entries, key=lambda path: (path.name != first, path.name == MARK)):
        os.replace(path, to / path.name)


def _resume(target: Path) -> None:
    """Finishes what `_move_entries` had begun when its process was killed.

    Raises:
        InputError: If files of others are in the way.
    """
    for folder in target.glob(_pattern(target)) if target.is_dir() else ():
        with if_dead(folder) as is_dead:
            if is_dead and is_finished(folder):
                if (folder / "new" / MARK).exists():  # it comes last
                    _move_the_rest(folder / "new", folder / "old", target)
                shutil.rmtree(folder, ignore_errors=True)
                warnings.warn(
                    f"a run that was killed had finished; its work is in place now, in {target}",
                    stacklevel=2,
                )


def _move_the_rest(new: Path, old: Path, target: Path) -> None:
    before = marked(target) | {target / p.relative_to(old) for p in marked(old)}
    coming = tops(marked(new), new)
    done = coming - {path.name for path in new.iterdir()}
    aside = [target / name for name in tops(before, target) - done if (target / name).exists()]
    others = [p for top in aside for p in (top, *top.rglob("*")) if not p.is_dir()]
    blocking = [path for path in others if path not in before]
    blocking += [p for name in coming - done if (p := target / name).exists() and p not in aside]
    if blocking:
        raise InputError(
            f"a run that was killed had finished, and its work lies in {new}; it can't be put in "
            f"place, because of a file that this package didn't write. Received: {blocking[0]}"
        )
    old.mkdir(exist_ok=True)
    _move(aside, old, MARK)
    _move(new.iterdir(), target)
    _sync(target)


# Down to the disk ---------------------------------------------------------------------------------


def _real(path: Path) -> Path:
    return Path(os.path.realpath(os.path.expanduser(path)))


def _sync_all(place: Path) -> None:
    for root, _, files in os.walk(place):
        for name in files:
            _sync(Path(root) / name)
        _sync(Path(root))


def _sync(path: Path) -> None:
    """Waits until a file, or the list of a folder's files, is on the disk."""
    opened = os.open(path, os.O_RDONLY)
    try:
        os.fsync(opened)
    except OSError as error:
        # Not every file system can; a full disk is another matter.
        if error.errno not in _CANNOT_SYNC:
            raise
    finally:
        os.close(opened)
