"""Where caches lie, and how much they may take."""

import contextlib
import errno
import math
import os
import re
import shutil
import tempfile
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from tfhub_transfer.errors import InputError

if TYPE_CHECKING:
    import numpy as np

FOLDER_VARIABLE = "TFHUB_TRANSFER_CACHE_DIR"
SIZE_VARIABLE = "TFHUB_TRANSFER_CACHE_BYTES"
MOST_BYTES = 4_000_000_000
MOST_MEMORY = 1_000_000_000
# What a full disk must keep free for everybody else.
_SPARE_BYTES = 1_000_000_000
# As `names.key` names them.
_STORE = re.compile(r"[0-9a-f]{64}")
_warned: set[str] = set()


def folder() -> Path | None:
    """Where stores lie: `TFHUB_TRANSFER_CACHE_DIR`, if set, else `~/.cache/tfhub_transfer`.

    `None`, and nothing is kept, if the variable is set to nothing, or there is no home.
    """
    named = os.environ.get(FOLDER_VARIABLE)
    if named is None:
        home = os.path.expanduser("~")
        return Path(home, ".cache", "tfhub_transfer", "vectors") if os.path.isabs(home) else None
    return Path(named) / "vectors" if named.strip() else None


def array(shape: tuple[int, ...]) -> "np.ndarray":
    """An empty float32 array: in memory, or beyond `MOST_MEMORY` bytes in a file without a name."""
    import numpy as np

    if 4 * math.prod(shape) <= MOST_MEMORY:
        return np.empty(shape, "float32")
    root = folder()
    try:
        if root is not None:
            root.mkdir(parents=True, exist_ok=True)
        return _mapped(root, shape)
    except OSError as error:
        off(error)
        return _mapped(None, shape)


def _mapped(root: Path | None, shape: tuple[int, ...]) -> "np.ndarray":
    import numpy as np  # not with the module, which commands without arrays import too

    # The mapping keeps the file, which has no name any more, until the array goes.
    with tempfile.TemporaryFile(dir=root) as file:
        return np.memmap(file, "float32", "w+", shape=shape)


def has_room(store: Path, size: int) -> bool:
    """Whether so many bytes may be added to a store; the least recently used others give way.

    Args:
        store: The store's folder; it is made.
        size: Bytes to be added.
    """
    limit = most()
    try:
        store.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        off(error)
        return False
    # Before any other gives way to what can't be kept in any case.
    if size > limit:
        return False
    sizes = {path: _size(path) for path in _by_age(store.parent)}
    for path in sizes:
        if sum(sizes.values()) + size <= limit:
            break
        if path != store:
            shutil.rmtree(path, ignore_errors=True)
            sizes[path] = 0
    if sum(sizes.values()) + size > limit:
        return False
    if shutil.disk_usage(store.parent).free <= size + _SPARE_BYTES:
        off(OSError(errno.ENOSPC, f"less than {_SPARE_BYTES / 1e9:g} GB left", str(store.parent)))
        return False
    return True


def used(store: Path) -> None:
    """Notes that a store was asked for: those that nobody asks for go first."""
    with contextlib.suppress(OSError):
        os.utime(store)


def is_full(error: BaseException) -> bool:
    """Whether an error says that no space is left on a disk, whoever tried to write.

    Args:
        error: Python's own; or of TensorFlow or HDF5, which have words for it alone.
    """
    said = os.strerror(errno.ENOSPC)
    return getattr(error, "errno", None) == errno.ENOSPC or said in str(error)


def off(error: OSError) -> None:
    """Says, once for each place, that nothing is kept."""
    reason = f"{error.strerror}: {error.filename}" if error.filename else str(error)
    place = str(folder())
    if place not in _warned:
        _warned.add(place)
        warnings.warn(
            f"the cache is off, so every run computes anew: {reason}; name another place with "
            f"{FOLDER_VARIABLE}",
            stacklevel=3,
        )


def most() -> int:
    """How many bytes all stores may take together.

    Raises:
        InputError: If `TFHUB_TRANSFER_CACHE_BYTES` isn't a number.
    """
    given = os.environ.get(SIZE_VARIABLE) or str(MOST_BYTES)
    try:
        # 4e9 says how many bytes, too.
        return int(float(given))
    except (ValueError, OverflowError):
        raise InputError(f"{SIZE_VARIABLE} must be a number of bytes. Received: {given}") from None


def _by_age(root: Path) -> list[Path]:
    """The stores, the least recently used first; another process may be removing some."""
    ages = {}
    for path in root.iterdir():
        with contextlib.suppress(OSError):
            # Only what is named as a store; nobody else's folder ever gives way.
            if _STORE.fullmatch(path.name) and path.is_dir() and not path.is_symlink():
                ages[path] = path.stat().st_mtime
    return sorted(ages, key=ages.__getitem__)


def _size(store: Path) -> int:
    total = 0
    with contextlib.suppress(OSError):
        for file in store.iterdir():
            with contextlib.suppress(OSError):
                total += file.stat().st_size
    return total
