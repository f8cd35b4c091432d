"""Where caches lie, what names them, and how much they may take."""

import contextlib
import hashlib
import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

FOLDER_VARIABLE = "TFHUB_TRANSFER_CACHE_DIR"
SIZE_VARIABLE = "TFHUB_TRANSFER_CACHE_BYTES"
MOST_BYTES = 4_000_000_000
MOST_MEMORY = 1_000_000_000
# What a full disk must keep free for everybody else.
_SPARE_BYTES = 1_000_000_000
# The file that every store has once it holds something; its age is when it was last used.
RECORDS = "records"


def folder() -> Path | None:
    """Where stores lie: `TFHUB_TRANSFER_CACHE_DIR`, if set, else `~/.cache/tfhub_transfer`.

    `None`, and nothing is kept, if the variable is set to nothing.
    """
    named = os.environ.get(FOLDER_VARIABLE)
    if named is None:
        return Path.home() / ".cache" / "tfhub_transfer" / "vectors"
    return Path(named) / "vectors" if named.strip() else None


def key(*parts: str | bytes) -> str:
    """One name for everything that vectors depend on, in order."""
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        digest.update(len(data).to_bytes(8, "little") + data)
    return digest.hexdigest()


def digests(columns: Sequence[Sequence[str]]) -> np.ndarray:
    """A name of 16 bytes for each row of texts `[n]`, or of pairs of texts."""
    names = np.empty(len(columns[0]), "S16")
    for row, texts in enumerate(zip(*columns)):
        digest = hashlib.blake2b(digest_size=16)
        for text in texts:
            data = text.encode("utf-8", "surrogatepass")
            digest.update(len(data).to_bytes(8, "little") + data)
        # NumPy cuts zero bytes off the end of a string of bytes.
        names[row] = digest.digest()[:15] + b"."
    return names


def array(shape: tuple[int, ...]) -> np.ndarray:
    """An empty float32 array: in memory, or beyond `MOST_MEMORY` bytes in a file without a name."""
    if 4 * int(np.prod(shape)) <= MOST_MEMORY:
        return np.empty(shape, "float32")
    root = folder()
    if root is not None:
        root.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=root) as file:
        return np.memmap(file, "float32", "w+", shape=shape)


def has_room(store: Path, size: int) -> bool:
    """Whether so many bytes may be added to a store; the least recently used others give way."""
    most = int(os.environ.get(SIZE_VARIABLE) or MOST_BYTES)
    with contextlib.suppress(OSError):
        store.parent.mkdir(parents=True, exist_ok=True)
    if size > most or not store.parent.is_dir():
        return False
    sizes = {path: _size(path) for path in _by_age(store.parent)}
    for path in sizes:
        if sum(sizes.values()) + size <= most:
            break
        if path != store:
            shutil.rmtree(path, ignore_errors=True)
            sizes[path] = 0
    free = shutil.disk_usage(store.parent).free
    return sum(sizes.values()) + size <= most and free > size + _SPARE_BYTES


def _by_age(root: Path) -> list[Path]:
    stores = [path for path in root.iterdir() if (path / RECORDS).exists()]
    return sorted(stores, key=lambda path: (path / RECORDS).stat().st_mtime)


def _size(store: Path) -> int:
    return sum(file.stat().st_size for file in store.iterdir())
