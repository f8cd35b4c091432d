"""What a frozen encoder gave, kept on disk: one vector a text, or one a token.

A store belongs to everything that its vectors depend on: weights, graph, preprocessor, length,
precision. All of it goes into the store's name, so another encoder, or the same one after a step of
training, has another store, and a stale vector is never read.
"""

import contextlib
import fcntl
import os
import weakref
from collections.abc import Callable, Iterator

import ml_dtypes
import numpy as np

from tfhub_transfer.caching import RECORDS, folder, has_room

_RECORD = np.dtype([("digest", "S16"), ("lost", "<i4")])
_BFLOAT16 = np.dtype(ml_dtypes.bfloat16)
_VECTORS = "vectors"


class TokenStore:
    """bfloat16 vectors of every token of a list of texts, in one file, whole or not there.

    Args:
        name: From `caching.key`; it stands for the texts too.
        lengths: The number of tokens of each text `[n]`.
        width: The length of a vector.
    """

    def __init__(self, name: str, lengths: np.ndarray, width: int) -> None:
        root = folder()
        self._folder = None if root is None else root / name
        self.lengths, self.width = np.asarray(lengths, np.int64), width
        self._starts = np.concatenate([[0], np.cumsum(self.lengths)])
        self._file: int | None = None

    @property
    def size(self) -> int:
        """Bytes on disk."""
        return int(self._starts[-1]) * self.width * _BFLOAT16.itemsize

    def fill(self, compute: Callable[[], Iterator[tuple[np.ndarray, np.ndarray]]]) -> bool:
        """Writes what isn't there yet; says whether it is there now.

        Args:
            compute: Gives row numbers `[b]` and their vectors `[b, length, width]`, padded, until
                every row had its turn. It is called only if there is room and nothing is stored.
        """
        if self._folder is None:
            return False
        try:
            if not (self._folder / RECORDS).exists():
                if not has_room(self._folder, self.size):
                    return False
                self._write(compute())
            os.utime(self._folder / RECORDS)
            # Opened once: another process may make room, and the file lives as long as it's open.
            self._file = os.open(self._folder / _VECTORS, os.O_RDONLY)
            weakref.finalize(self, os.close, self._file)
        except OSError:
            return False
        return True

    # Reads and writes at a place, not a memory map, whose pages count as the process's own memory.

    def _write(self, computed: Iterator[tuple[np.ndarray, np.ndarray]]) -> None:
        assert self._folder is not None
        self._folder.mkdir(parents=True, exist_ok=True)
        scratch = self._folder / f"{_VECTORS}.{os.getpid()}"
        with open(scratch, "wb") as file:
            for rows, vectors in computed:
                for row, vector in zip(rows, np.asarray(vectors, _BFLOAT16)):
                    kept = np.ascontiguousarray(vector[: self.lengths[row]])
                    os.pwrite(file.fileno(), kept.tobytes(), self._place(row))
            os.ftruncate(file.fileno(), self.size)
        os.replace(scratch, self._folder / _VECTORS)
        (self._folder / RECORDS).touch()  # its being there says that the vectors are whole

    def _place(self, row: int) -> int:
        return int(self._starts[row]) * self.width * _BFLOAT16.itemsize

    def padded(self, rows: np.ndarray, length: int) -> np.ndarray:
        """Vectors bfloat16 `[b, length, width]` of these rows, with zeros after each text's end."""
        assert self._file is not None
        batch = np.zeros((len(rows), length, self.width), _BFLOAT16)
        for place, row in enumerate(rows):
            size = self._place(row + 1) - self._place(row)
            data = os.pread(self._file, size, self._place(row))
            batch[place, : self.lengths[row]] = np.frombuffer(data, _BFLOAT16).reshape(
                -1, self.width
            )
        return batch


class VectorStore:
    """Float32 vectors by the name of their text, in two files that only grow.

    Processes may share one: each appends under a lock, and reads what was whole before.

    Args:
        name: From `caching.key`.
        width: The length of a vector.

    Example:

    >>> store = VectorStore(caching.key("encoder", "preprocessor"), width=2)
    >>> store.add(caching.digests([["a text"]]), np.zeros((1, 2), "float32"), np.zeros(1, "int32"))
    True
    >>> store.find(caching.digests([["a text", "another"]])).tolist()
    [0, -1]
    """

    def __init__(self, name: str, width: int) -> None:
        root = folder()
        self.width = width
        self._folder = None if root is None else root / name
        self._records = np.empty(0, _RECORD)
        self._rows: dict[bytes, int] = {}
        self._load()

    def find(self, names: np.ndarray) -> np.ndarray:
        """The row of each name, int64 `[n]`; -1 where there is none."""
        return np.array([self._rows.get(name, -1) for name in names], np.int64)

    def take(self, rows: np.ndarray) -> np.ndarray:
        """Vectors float32 `[n, width]` of these rows."""
        assert self._folder is not None
        kept = np.memmap(
            self._folder / _VECTORS, "<f4", "r", shape=(len(self._records), self.width)
        )
        order = np.argsort(rows, kind="stable")  # one way through the file
        taken = np.empty((len(rows), self.width), "float32")
        taken[order] = kept[rows[order]]
        return taken

    def lost(self, rows: np.ndarray) -> np.ndarray:
        """How many tokens truncation cost each of these rows, int32 `[n]`."""
        return self._records["lost"][rows]

    def add(self, names: np.ndarray, vectors: np.ndarray, lost: np.ndarray) -> bool:
        """Appends vectors; says whether they were kept, which a lack of room may prevent."""
        if self._folder is None or not has_room(self._folder, vectors.nbytes):
            return False
        records = np.empty(len(names), _RECORD)
        records["digest"], records["lost"] = names, lost
        try:
            with self._locked():
                self._load()
                self._append(records, np.ascontiguousarray(vectors, "<f4"))
                self._load()
        except OSError:
            return False
        return True

    def _append(self, records: np.ndarray, vectors: np.ndarray) -> None:
        """Vectors first: those without a record, of a process that died, are written over."""
        assert self._folder is not None
        with open(self._folder / _VECTORS, "ab") as file:
            file.truncate(len(self._records) * self.width * 4)
            vectors.tofile(file)
        with open(self._folder / RECORDS, "ab") as file:
            file.truncate(len(self._records) * _RECORD.itemsize)
            records.tofile(file)

    def _load(self) -> None:
        path = None if self._folder is None else self._folder / RECORDS
        if path is None or not path.exists():
            return
        whole = min(
            path.stat().st_size // _RECORD.itemsize,
            (path.parent / _VECTORS).stat().st_size // (4 * self.width),
        )
        with contextlib.suppress(OSError):
            os.utime(path)  # the stores that nobody asks for go first
        known = len(self._records)
        self._records = np.fromfile(path, _RECORD, count=whole)
        for row in range(known, whole):
            self._rows.setdefault(bytes(self._records["digest"][row]), row)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        assert self._folder is not None
        self._folder.mkdir(parents=True, exist_ok=True)
        with open(self._folder / "lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
