"""What users name: a name to a path, and a path to an open file, if it is a plain one.

A pipe without a writer is waited for without end, and a device has side effects or no end: so
nothing but a plain file is ever opened, in whatever folder it lies.
"""

import contextlib
import errno
import gzip
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import IO, cast

from tfhub_transfer.errors import InputError

_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}
# What Git leaves in the place of a large file that wasn't fetched.
_POINTER = b"version https://git-lfs.github.com/spec/"
# By the rules of Git LFS a pointer is smaller.
_MOST_OF_POINTER = 1024
# How files are named that commands write into folders, or read.
_OF_FILES = (".keras", ".h5", ".json", ".jsonl", ".html", ".csv", ".tsv", ".parquet", ".npy")
# Where systems have what is open already, as for `/dev/stdin` and `<(command)`.
_OPEN_ALREADY = ("/dev/stdin", "/dev/fd/", "/proc/self/fd/")


def path_of(given: object) -> Path:
    r"""The path that a user named; there may be nothing of that name.

    A `~` at its beginning is the home folder, as shells have it.

    Args:
        given: A string, or a path.

    Raises:
        InputError: If no file can have such a name: it is something else, empty, holds a NUL, is
            too long, or relative to a current folder that was removed.

    Example:

    >>> path_of("out/model.keras")
    PosixPath('out/model.keras')
    """
    if given == "":  # as a variable that isn't set; not the current folder
        raise InputError("expected a name that a file can have. Received: nothing, ''")
    try:
        path = Path(given)  # type: ignore[arg-type]  # what it refuses, we do below
        with contextlib.suppress(RuntimeError):  # there is no home
            path = path.expanduser()
        # For what the system says of the name; that nothing is there is no mistake.
        os.lstat(path)
    except (TypeError, ValueError) as error:
        kind = "" if isinstance(given, str) else f" ({type(given).__name__})"
        raise InputError(
            f"expected a name that a file can have ({error}). Received: {given!r:.200}{kind}"
        ) from error
    except OSError as error:
        if not path.is_absolute() and _is_nowhere():
            raise InputError(
                "the current folder was removed; change to another, or give the whole path. "
                f"Received: {path}"
            ) from error
        if error.errno == errno.ENAMETOOLONG:
            raise InputError(
                "expected a name that a file can have; this one is too long. "
                f"Received: {str(given)[:60]!r}, {len(str(given))} characters"
            ) from error
    return path


def _is_nowhere() -> bool:
    """Whether the folder that the process stands in was removed."""
    try:
        os.getcwd()
    except OSError:
        return True
    return False


def require_utf8(target: Path) -> None:
    """Refuses a name that TensorFlow and HDF5 can't write to.

    Raises:
        InputError: If it has bytes that aren't UTF-8.
    """
    try:
        os.path.realpath(target).encode("utf-8")
    except UnicodeEncodeError:
        raise InputError(f"the output's name must be UTF-8. Received: {str(target)!r}") from None


def require_folder_name(target: Path) -> None:
    """Refuses a name for a folder that whoever gave it must mean for a file.

    Raises:
        InputError: If it ends as names of files do, and no folder is called so yet.
    """
    if target.suffix in _OF_FILES and not target.is_dir():
        raise InputError(
            f"the output is a folder with files in it, and this is named as one of them; leave "
            f"{target.suffix} out. Received: {target}"
        )


def is_open_already(source: str) -> bool:
    """Whether a name stands for what the shell has opened, as `/dev/stdin` and `<(command)` do."""
    return source.startswith(_OPEN_ALREADY)


def require(path: Path) -> None:
    """Refuses what is there and no plain file, or only stands for one; a link is followed.

    Raises:
        InputError: If it is a folder, a pipe, a socket or a device, or a pointer of Git LFS.
    """
    with contextlib.suppress(OSError):
        state = os.stat(path)
        _require(state.st_mode, path)
        # Opened to see whether it is a pointer, which `descriptor` refuses.
        if state.st_size < _MOST_OF_POINTER:
            os.close(descriptor(path))


def require_all(folder: Path) -> None:
    """Refuses a folder that holds anything but plain files, at any depth, before one is opened.

    Raises:
        InputError: If there is a pipe, a socket or a device.
    """
    for root, _, files in os.walk(folder):
        for name in files:
            require(Path(root) / name)


def descriptor(path: Path) -> int:
    """Opens a plain file to read; never waits.

    Raises:
        InputError: If it is something else, or a pointer of Git LFS.
        OSError: If it isn't there, or can't be read.
    """
    _require(os.stat(path).st_mode, path)
    # Should it have become a pipe since, opening doesn't wait for a writer.
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        state = os.fstat(handle)
        _require(state.st_mode, path)
        if state.st_size < _MOST_OF_POINTER and os.pread(handle, len(_POINTER), 0) == _POINTER:
            raise InputError(
                "this is a pointer of Git LFS, not the file; `git lfs pull` fetches that. "
                f"Received: {path}"
            )
    except InputError:
        os.close(handle)
        raise
    return handle


def open_file(path: Path) -> IO[bytes]:
    """As `descriptor`, as a file object of bytes."""
    return open(descriptor(path), "rb")


@contextlib.contextmanager
def open_maybe_gzipped(path: Path) -> Iterator[IO[bytes]]:
    """Opens a plain file to read bytes; one that ends in `.gz` is unpacked on the way.

    Raises:
        InputError: If it is something else.
        OSError: If it isn't there, or can't be read.
    """
    with contextlib.ExitStack() as opened:
        file = opened.enter_context(open_file(path))
        if path.suffix.lower() == ".gz":
            file = cast(IO[bytes], opened.enter_context(gzip.open(file, "rb")))
        yield file


def read_bytes(path: Path, most: int = -1) -> bytes:
    """The bytes of a plain file, at most so many.

    Raises:
        InputError: If it is something else.
        OSError: If it isn't there, or can't be read.
    """
    with open_file(path) as file:
        return file.read(most)


def read_text(path: Path) -> str:
    """The UTF-8 text of a plain file, its line ends as they are.

    Raises:
        InputError: If it is something else.
        OSError: If it isn't there, or can't be read.
        UnicodeDecodeError: If it isn't UTF-8.
    """
    return read_bytes(path).decode("utf-8")


def _require(mode: int, path: Path) -> None:
    if not stat.S_ISREG(mode):
        kind = _KINDS.get(stat.S_IFMT(mode), "something else")
        raise InputError(f"expected a plain file. Received: {path}, which is {kind}")
