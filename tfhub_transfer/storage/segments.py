"""One file of vectors with their names, written once and never changed.

A header, then a record for each row (name, tokens lost, checksum), then the rows, float32. The
checksum of the records stands in the header, that of a row in its record.
"""

import os
import secrets
import struct
import weakref
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tfhub_transfer.errors import InputError
from tfhub_transfer.storage import opening
from tfhub_transfer.storage.scratch import new_file

_HEADER = struct.Struct("<8sIQI")  # magic, width, rows, checksum of the records
ENDING = ".vectors"
_MAGIC = b"tfhubtv1"
_RECORD = np.dtype([("name", "S16"), ("lost", "<i4"), ("sum", "<u4")])
# Rows that are read at a time, so that a large read needs little memory.
_READ_ROWS = 4096


class Damaged(Exception):
    """A file isn't what was written."""


class Segment:
    """One file, open for reading.

    Args:
        path: The file.
        width: The length of a vector.

    Attributes:
        names: The names of all rows `[n]`.
        size: Bytes of the file.

    Raises:
        Damaged: If its records aren't what was written.
        OSError: If it can't be read.
    """

    def __init__(self, path: Path, width: int) -> None:
        try:
            self._file, self._width = opening.descriptor(path), width
        except InputError as error:
            raise Damaged("it is no plain file") from error
        weakref.finalize(self, os.close, self._file)
        start = os.pread(self._file, _HEADER.size, 0)
        # Filled up: of a file that is too short the checks say so, not the unpacking.
        magic, its, count, total = _HEADER.unpack(start.ljust(_HEADER.size, b"\0"))
        self.size = os.fstat(self._file).st_size
        self._first = _HEADER.size + count * _RECORD.itemsize
        if (magic, its) != (_MAGIC, width) or self.size != self._first + 4 * width * count:
            raise Damaged("its size or header is wrong")
        records = os.pread(self._file, count * _RECORD.itemsize, _HEADER.size)
        if len(records) != count * _RECORD.itemsize or zlib.crc32(records) != total:
            raise Damaged("its records fail their checksum")
        found = np.frombuffer(records, _RECORD)
        self.names, self._lost, self._sums = (found[key].copy() for key in found.dtype.names or ())

    def read(
        self, rows: np.ndarray, places: np.ndarray, vectors: np.ndarray, lost: np.ndarray
    ) -> None:
        """Copies rows of the file to places of arrays.

        Raises:
            Damaged: If one of them isn't what was written.
        """
        order = np.argsort(rows, kind="stable")  # one way through the file
        for start in range(0, len(rows), _READ_ROWS):
            part = order[start : start + _READ_ROWS]
            data = self._rows(rows[part])
            vectors[places[part]] = np.frombuffer(data, "<f4").reshape(-1, self._width)
            lost[places[part]] = self._lost[rows[part]]

    def _rows(self, rows: np.ndarray) -> bytes:
        """The bytes of rows, in rising order, each of them checked."""
        size = 4 * self._width
        # Neighbours are read together.
        ends = np.flatnonzero(np.diff(rows) != 1) + 1
        runs = zip([0, *ends.tolist()], [*ends.tolist(), len(rows)])
        starts = (self._first + rows * size).tolist()
        read = [os.pread(self._file, size * (b - a), starts[a]) for a, b in runs if b > a]
        joined = b"".join(read)
        data = memoryview(joined)
        sums = [zlib.crc32(data[at : at + size]) for at in range(0, len(data), size)]
        if len(data) != size * len(rows) or sums != self._sums[rows].tolist():
            raise Damaged("a row fails its checksum")
        return joined


class Index:
    """Where each name stands in several files.

    Args:
        segments: The files.
    """

    def __init__(self, segments: Sequence[Segment]) -> None:
        sizes = [len(segment.names) for segment in segments]
        names = np.concatenate([np.empty(0, "S16"), *(segment.names for segment in segments)])
        heads = _heads(names)
        order = np.argsort(heads, kind="stable")
        self._names, self._heads = names[order], heads[order]
        self._files = np.repeat(np.arange(len(sizes)), sizes)[order]
        self._rows = np.concatenate([np.empty(0, int), *map(np.arange, sizes)])[order]

    def find(self, names: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The number of the file of each name, -1 where there is none, and its row in it."""
        if not len(self._names):
            return np.full(len(names), -1), np.zeros(len(names), int)
        at = np.minimum(np.searchsorted(self._heads, _heads(names)), len(self._names) - 1)
        return np.where(self._names[at] == names, self._files[at], -1), self._rows[at]


def _heads(names: np.ndarray) -> np.ndarray:
    """The first half of each name as a number: ten times quicker to find.

    Names are digests, so heads differ; of two that share one only the first is ever found.
    """
    halves = np.ascontiguousarray(names).view(np.uint8).reshape(-1, names.dtype.itemsize)[:, :8]
    return np.ascontiguousarray(halves).view("<u8").ravel()


def write_segment(folder: Path, names: np.ndarray, vectors: np.ndarray, lost: np.ndarray) -> None:
    """Writes rows into a new file of a folder, which appears whole.

    Args:
        folder: The store's folder; it is made.
        names: Names `S16` `[n]`, each once.
        vectors: Float32 `[n, width]`.
        lost: Int32 `[n]`.
    """
    records = np.empty(len(names), _RECORD)
    records["name"], records["lost"] = names, lost
    rows = np.ascontiguousarray(vectors, "<f4")
    records["sum"] = [zlib.crc32(row) for row in rows]
    listed = records.tobytes()
    folder.mkdir(parents=True, exist_ok=True)
    handle, scratch = new_file(folder)
    try:
        with open(handle, "wb") as file:
            file.write(_HEADER.pack(_MAGIC, rows.shape[1], len(rows), zlib.crc32(listed)))
            file.write(listed)
            rows.tofile(file)
            file.flush()
            # While it is open, and so held: nobody sweeps it away. Not synced: what a crash
            # tears fails its checksums, and is computed again.
            os.replace(scratch, folder / f"{secrets.token_hex(8)}{ENDING}")
    finally:
        scratch.unlink(missing_ok=True)
