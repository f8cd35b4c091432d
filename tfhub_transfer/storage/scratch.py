"""Folders for work in progress: gone with their owner, or with whoever comes after its death.

Each holds a file that its process has locked (flock). The system frees the lock when the process
ends, however it ends, on whichever host it ran; a number of a process would say nothing there.
"""

import contextlib
import errno
import fcntl
import math
import os
import random
import re
import shutil
import stat
import tempfile
import threading
import time
import warnings
import weakref
from collections.abc import Iterable, Iterator
from pathlib import Path

LOCK = ".tfhub-transfer.lock"
# What the name of a folder ends with that is kept for whoever goes on with what a dead process did.
_LASTING = "training"
_TEMPORARY = "tfhub_transfer_"
_NEW = "new-"
_LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789_"
# As `secrets` has it, which brings OpenSSL into each start of a command.
_RANDOM = random.SystemRandom()
# A folder whose content is finished has this file: it only waits to be moved.
_FINISHED = ".finished"
_live: "set[Scratch]" = set()
_swept: set[Path] = set()
_sudden = threading.Event()


class Scratch:
    """A folder that its process holds.

    Args:
        parent: Where to make it.
        prefix: What its name begins with.

    Attributes:
        folder: The folder.
        new: An empty folder in it.
        old: A name in it, for what is to be replaced.
    """

    def __init__(self, parent: Path, prefix: str) -> None:
        self._lock: int | None = None
        self.folder = _unused(parent, prefix)
        self.new, self.old = self.folder / "new", self.folder / "old"
        _live.add(self)  # before it is there: a signal may come at any time
        try:
            # Nobody else's until all is whole; `new`, which becomes the output, has the umask's.
            self.folder.mkdir(0o700)
            self._lock = hold(self.folder / LOCK)
            self.new.mkdir()
        except FileExistsError:  # one in 10^12 is another's
            self.release()
            raise
        except BaseException:
            self.discard()
            raise

    def finish(self) -> None:
        """From now on the content is never removed by others, whatever happens to the process."""
        (self.folder / _FINISHED).touch()
        _live.discard(self)

    def discard(self) -> None:
        """Removes the folder with all that is in it."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self.release()

    def release(self) -> None:
        """Lets go of the folder and leaves it where it is."""
        _live.discard(self)
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def _unused(parent: Path, prefix: str) -> Path:
    return parent / f"{prefix}{''.join(_RANDOM.choice(_LETTERS) for _ in range(8))}"


def discard_all() -> None:
    """Removes every unfinished folder of this process, for its sudden end."""
    _sudden.set()
    for each in list(_live):
        shutil.rmtree(each.folder, ignore_errors=True)


def ends() -> bool:
    """Whether this process is at its sudden end: what it writes may be gone under its hands."""
    return _sudden.is_set()


def sweep(parent: Path, pattern: str) -> None:
    """Removes folders of dead processes, and says where a dead process left finished work.

    Args:
        parent: Where they lie.
        pattern: What their names are like.
    """
    for folder in parent.glob(pattern):
        if folder.name.endswith(f"-{_LASTING}"):
            continue
        with if_dead(folder) as is_dead:
            if is_dead and is_finished(folder) and any((folder / "new").glob("*")):
                warnings.warn(
                    f"a run that was killed had finished; its work lies in {folder / 'new'}",
                    stacklevel=2,
                )
            elif is_dead:
                shutil.rmtree(folder, ignore_errors=True)


def recover(target: Path, pattern: str) -> None:
    """Finishes the move that a dead process had begun.

    Args:
        target: What was to be written; nothing happens if it is there.
        pattern: What the names of its scratch folders are like.
    """
    for folder in () if target.exists() else target.parent.glob(pattern):
        with if_dead(folder) as is_dead:
            new = folder / "new"
            whole = is_finished(folder) and new.is_dir()
            if is_dead and whole and not target.exists():
                os.replace(new, target)


def share(folder: Path) -> None:
    """Gives what lies in a folder the permissions that the folder was made with, at least.

    TensorFlow has its own for some files, and copies have those of what they were copied from: a
    group would be kept out that the umask lets in, or the owner.
    """
    allowed = stat.S_IMODE(folder.stat().st_mode) & 0o777
    for path in folder.rglob("*"):
        state = path.lstat()
        wanted = allowed if stat.S_ISDIR(state.st_mode) else allowed & 0o666
        if not stat.S_ISLNK(state.st_mode) and wanted & ~state.st_mode:
            path.chmod(stat.S_IMODE(state.st_mode) | wanted)


def remove_empty(folders: Iterable[Path]) -> None:
    """Removes those that are empty, of folders that were made for work that came to nothing."""
    for each in folders:
        with contextlib.suppress(OSError):
            each.rmdir()


def is_finished(folder: Path) -> bool:
    """Whether what a scratch folder holds is whole, and only waits to be moved."""
    return (folder / _FINISHED).exists()


def is_scratch(folder: Path) -> bool:
    """Whether a folder is one of these, by its name and its lock, whoever made it."""
    named = re.fullmatch(r"\..*\.partial-[a-z0-9_]{8}", folder.name, re.DOTALL)
    return bool(named) and (folder / LOCK).is_file()


def lasting(parent: Path, name: str) -> Path:
    """A scratch folder that outlives its process, for an output of that name: nobody sweeps it."""
    return parent / f".{name}.partial-{_LASTING}"


def take(folder: Path) -> int:
    """Holds a folder, made if need be, until the descriptor that it gives is closed.

    Raises:
        BlockingIOError: If another process holds it.
        OSError: If it can't be made.
    """
    while True:
        folder.mkdir(0o700, parents=True, exist_ok=True)
        try:
            lock = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
        except FileNotFoundError:  # who held it has removed the folder in this moment
            continue
        if _locks(lock) is False:
            os.close(lock)
            raise BlockingIOError(errno.EAGAIN, "another process holds it", str(folder))
        if os.fstat(lock).st_nlink:
            return lock
        os.close(lock)


def temporary_folder(owner: object) -> Path:
    """Makes an empty folder among the system's temporary ones, removed when its owner is.

    Args:
        owner: Any object that can be weakly referenced.
    """
    made = new_temporary()
    weakref.finalize(owner, made.discard)
    return made.new


@contextlib.contextmanager
def temporary() -> Iterator[Path]:
    """Gives an empty folder among the system's temporary ones for as long as the body runs."""
    made = new_temporary()
    try:
        yield made.new
    finally:
        made.discard()


def new_temporary() -> Scratch:
    """Makes a scratch folder among the system's temporary ones; whoever asks discards it."""
    parent = Path(tempfile.gettempdir())
    if parent not in _swept:  # once a process is often enough
        _swept.add(parent)
        sweep(parent, f"{_TEMPORARY}*")
    return Scratch(parent, _TEMPORARY)


@contextlib.contextmanager
def locked(path: Path, patience: float = math.inf) -> Iterator[None]:
    """Runs the body in one process at a time; one that dies lets go, and no file stays.

    Args:
        path: The file that is locked.
        patience: After so many seconds the body runs all the same, as it does at once where the
            file system knows no locks.

    Raises:
        OSError: If the file can't be made.
    """
    lock = hold(path, patience)
    try:
        yield
    finally:
        if lock is not None:
            # While it is held, so that who waits finds that its file has gone (see `hold`).
            path.unlink(missing_ok=True)
            os.close(lock)


def hold(path: Path, patience: float = math.inf) -> int | None:
    """Locks a file, made if need be, until the descriptor is closed.

    Args:
        path: The file.
        patience: Seconds to wait for another holder.

    Returns:
        The descriptor, or `None` if another still holds it, or the file system knows no locks.
    """
    end = time.monotonic() + patience
    while True:
        lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
        got = _locks(lock)
        if got and os.fstat(lock).st_nlink:
            return lock
        os.close(lock)  # who held it before has removed the file, or another holds it
        if got is None or time.monotonic() >= end:
            return None
        if not got:
            # flock itself would wait without a limit.
            time.sleep(0.05)


def new_file(folder: Path) -> tuple[int, Path]:
    """Makes a file that its process holds, in a folder where `sweep_files` removes dead ones.

    Returns:
        Its descriptor and its path, `new-` and a random word.
    """
    while True:
        path = folder / f"{_NEW}{os.urandom(8).hex()}"
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
        _locks(handle)
        if os.fstat(handle).st_nlink:
            return handle, path
        os.close(handle)  # swept in the moment before it was locked


def sweep_files(folder: Path) -> None:
    """Removes files of `new_file` whose process died."""
    for path in folder.glob(f"{_NEW}*"):
        lock = hold(path, patience=0)
        if lock is not None:
            path.unlink(missing_ok=True)
            os.close(lock)


@contextlib.contextmanager
def if_dead(folder: Path) -> Iterator[bool]:
    """Says whether nobody holds a scratch folder; if so it is held while the body runs."""
    try:
        lock = os.open(folder / LOCK, os.O_RDWR)
    except OSError:  # without a lock it isn't ours, or is being made, or can't be judged
        yield False
        return
    try:
        yield bool(_locks(lock))
    finally:
        os.close(lock)


def _locks(lock: int) -> bool | None:
    """Whether a descriptor got its lock; `None` where there are no locks."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True
