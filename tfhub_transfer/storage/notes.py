"""What outlives its process: how far long work has come, for whoever goes on with it.

A folder holds it, which one process at a time works in. Each file of it is whole or not there, and
is checked when it is read: numbers by name, and beside them what JSON can say. Nothing in it is
ever executed. A table of what was done lies there too, for people to read.
"""

import contextlib
import errno
import json
import os
import shutil
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import ml_dtypes  # noqa: F401  NumPy knows bfloat16 by name from here on
import numpy as np

from tfhub_transfer.errors import InputError
from tfhub_transfer.storage import atomic, opening, records
from tfhub_transfer.storage.scratch import LOCK, lasting, remove_empty, take

_ENDING = ".npz"
# Of the record among a file's arrays; those of arrays are numbers.
_RECORD = "record"
_TYPES = "types"
TABLE, TABLE_BEGINS = "history.csv", b"epoch,stage,stage_epoch,steps,"


class Damaged(Exception):
    """A file isn't what was written."""


class Saved(NamedTuple):
    """What a file holds.

    Attributes:
        record: What JSON can say.
        arrays: Numbers by name.
    """

    record: dict[str, Any]
    arrays: dict[str, np.ndarray]


def of_output(target: Path) -> Path:
    """Where the folder lies for an output: beside it, or in it, if it can only be written there.

    Args:
        target: The output folder; there may be none yet.
    """
    real = Path(os.path.realpath(os.path.expanduser(target)))
    fixed = os.path.ismount(real) or not os.access(real.parent, os.W_OK | os.X_OK)
    return lasting(real if real.is_dir() and fixed else real.parent, real.name)


class Lasting:
    """A folder of such files, held until it is let go.

    Args:
        place: The folder; made if need be.
        ours: Whether it is ours by its name, so that what others left there stands in no way.

    Raises:
        InputError: If another process holds it, it holds other files, or can't be written.
    """

    def __init__(self, place: Path, ours: bool = False) -> None:
        opening.require_utf8(place)
        # At once: the current folder may change.
        self.place = place = _absolute(place)
        if place.exists() and not place.is_dir():
            raise InputError(f"a checkpoint is a folder. Received: {place}, which is a file")
        others = [path for path in place.glob("*") if not _is_ours(path)]
        if others and not ours:
            raise InputError(
                "the folder of a checkpoint holds nothing else; name another one. "
                f"Received: {others[0]}"
            )
        # The inner ones first.
        self._made = [each for each in (place, *place.parents) if not each.exists()]
        try:
            self._lock: int | None = take(place)
        except BlockingIOError as error:
            raise InputError(
                "another process trains there at this moment; wait for its end, or name another "
                f"folder. Received: {place}"
            ) from error
        except OSError as error:
            raise _unwritable(place, error) from error

    @property
    def is_empty(self) -> bool:
        """Whether nothing was written, or nothing is left."""
        return not (self._is_held() and any(self.place.glob(f"*{_ENDING}")))

    @property
    def free(self) -> int:
        """How many bytes the disk has left.

        Raises:
            OSError: If nobody knows, as where the folder has gone.
        """
        return shutil.disk_usage(self.place).free

    def write(self, name: str, record: Mapping[str, object], arrays: Mapping[str, object]) -> None:
        """Writes a file, whole or not at all.

        Args:
            name: Its name, without ending.
            record: What JSON can say.
            arrays: Numbers by name.

        Raises:
            OSError: If it can't be written; one that is there stays.
        """
        if not self._is_held():
            raise FileNotFoundError(errno.ENOENT, "its folder was removed", str(self.place))
        held = {key: np.asarray(value) for key, value in arrays.items()}
        types = [[key, value.dtype.name] for key, value in held.items()]
        text = json.dumps({_RECORD: dict(record), _TYPES: types}).encode("utf-8")
        parts: dict[str, Any] = {str(place): value for place, value in enumerate(held.values())}
        parts[_RECORD] = np.frombuffer(text, np.uint8)
        with atomic.file(self._path(name)) as scratch, open(scratch, "wb") as file:
            # Not compressed, which would take longer than the epoch; of each part a checksum.
            np.savez(file, allow_pickle=False, **parts)

    def packed(self, name: str) -> bytes:
        """A file as it lies there, for the folder of another process; nothing, if there is none.

        Args:
            name: Its name, without ending.
        """
        path = self._path(name)
        return opening.read_bytes(path) if path.exists() else b""

    def unpack(self, name: str, data: bytes) -> None:
        """Puts a file there as it lay in another folder.

        Args:
            name: Its name, without ending.
            data: What `packed` gave.

        Raises:
            OSError: If it can't be written.
        """
        with atomic.file(self._path(name)) as scratch:
            scratch.write_bytes(data)

    def read(self, name: str) -> Saved | None:
        """What a file holds; `None` if there is none.

        Args:
            name: Its name, without ending.

        Raises:
            Damaged: If it isn't what was written.
        """
        path = self._path(name)
        try:
            if not path.exists():
                return None
            opening.require(path)
            with open(path, "rb") as file, np.load(file, allow_pickle=False) as found:
                told = records.parse(found[_RECORD].tobytes(), str(path))
                arrays = {
                    key: _typed(found[str(place)], kind)
                    for place, (key, kind) in enumerate(told[_TYPES])
                }
            return Saved(told[_RECORD], arrays)
        # All that NumPy and a ZIP file say of bytes that are others.
        except (
            *(OSError, ValueError, KeyError, TypeError, EOFError, NotImplementedError),
            *(AttributeError, RuntimeError, zipfile.BadZipFile, zlib.error),
        ) as error:
            raise Damaged(str(error)) from error

    # What can't be removed stays: nothing that was learned is lost of that.

    def remove(self, name: str) -> None:
        """Removes a file, if it is there and can be."""
        if self._is_held():
            with contextlib.suppress(OSError):
                self._path(name).unlink(missing_ok=True)

    def discard(self) -> None:
        """Removes the folder, if it can be, and lets it go."""
        for path in self.place.glob(f"*{_ENDING}"):
            self.remove(path.stem)
        self.release()

    def release(self) -> None:
        """Lets the folder go; it stays, if it holds anything."""
        if self._lock is None:
            return
        with contextlib.suppress(OSError):
            self._clear()
        os.close(self._lock)
        self._lock = None

    def _clear(self) -> None:
        if not self._is_held():
            return
        for left in filter(_is_half, self.place.iterdir()):
            shutil.rmtree(left, ignore_errors=True)  # of a process that died while it wrote
        if self.is_empty:
            # While it is held, so that who waits finds that its file has gone.
            (self.place / LOCK).unlink(missing_ok=True)
            (self.place / TABLE).unlink(missing_ok=True)
            with contextlib.suppress(OSError):
                self.place.rmdir()
            remove_empty(self._made)

    def _is_held(self) -> bool:
        """Whether the folder there is still this one: somebody may have removed it."""
        if self._lock is None:
            return False
        try:
            return os.path.samestat(os.fstat(self._lock), os.stat(self.place / LOCK))
        except OSError:
            return False

    def _path(self, name: str) -> Path:
        return self.place / f"{name}{_ENDING}"


def _absolute(place: Path) -> Path:
    try:
        return Path(os.path.abspath(place))
    except OSError as error:  # the current folder has gone
        raise _unwritable(place, error) from error


def _unwritable(place: Path, error: OSError) -> InputError:
    return InputError(
        f"the checkpoint's folder can't be written ({error.strerror or error}). Received: {place}"
    )


def _is_ours(path: Path) -> bool:
    named = path.name == LOCK or path.suffix == _ENDING or _is_half(path)
    return named or (path.name == TABLE and _is_table(path))


def _is_table(path: Path) -> bool:
    """Whether it is one of ours, which are removed in the end."""
    opening.require(path)
    return opening.read_bytes(path, len(TABLE_BEGINS)) == TABLE_BEGINS


def _is_half(path: Path) -> bool:
    return path.name.startswith(".") and ".partial-" in path.name


def _typed(array: np.ndarray, kind: str) -> np.ndarray:
    """An array of the type that it had; NumPy's files don't know all types."""
    wanted = np.dtype(kind)
    return array if array.dtype == wanted else array.view(wanted)
