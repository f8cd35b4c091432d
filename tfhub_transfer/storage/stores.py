"""What a frozen encoder gave, kept on disk: one vector a text, or one a token.

A store belongs to everything that its vectors depend on: weights, graph, preprocessor, length,
precision. All of it goes into the store's name, so another encoder, or the same one after a step of
training, has another store, and a stale vector is never read.

Stores consist of files that are written aside, renamed, and never changed. Any number of processes
may read, write and evict at once: a reader keeps the files open that it has seen. Every row has a
checksum; what fails it is set aside and computed again.
"""

import contextlib
import os
import warnings
import weakref
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import ml_dtypes
import numpy as np

from tfhub_transfer.errors import InputError
from tfhub_transfer.storage import budget, opening
from tfhub_transfer.storage.scratch import locked, new_file, sweep_files
from tfhub_transfer.storage.segments import ENDING, Damaged, Index, Segment, write_segment

# Rows that are computed before they go to the store, in one turn.
ROWS_AT_ONCE = 10_000
# More files than these are written together into one.
_MOST_SEGMENTS = 24
# A process that computes gets so long, before others do its work too.
_PATIENCE_SECONDS = 600.0
_BFLOAT16 = np.dtype(ml_dtypes.bfloat16)

Vectors = tuple[np.ndarray, np.ndarray]


class VectorStore:
    """Float32 vectors by the name of their text, for any number of processes.

    Args:
        name: From `names.key`.
        width: The length of a vector.

    Example:

    >>> store = VectorStore(names.key("encoder", "preprocessor"), width=2)
    >>> texts = names.digests([["a text", "another", "a text"]])
    >>> vectors, lost = np.empty((3, 2), "float32"), np.empty(3, "int32")
    >>> store.complete(texts, vectors, lost, lambda rows: (np.ones((len(rows), 2)), 0 * rows))
    2
    >>> store.complete(texts, vectors, lost, lambda rows: (np.ones((len(rows), 2)), 0 * rows))
    0
    """

    def __init__(self, name: str, width: int) -> None:
        root = budget.folder()
        self.width = width
        self._folder = None if root is None else root / name
        self._segments: dict[str, Segment] = {}
        self._indexed, self._index = list[str](), Index([])

    def complete(
        self,
        names: np.ndarray,
        vectors: np.ndarray,
        lost: np.ndarray,
        compute: Callable[[np.ndarray], Vectors],
        expect: Callable[[int], None] = lambda count: None,
    ) -> int:
        """Fills in the vectors of all rows: what is stored is read, the rest computed and kept.

        Equal names are computed once, and by one process, also if several ask at the same time.

        Args:
            names: From `names.digests`, `[n]`.
            vectors: Float32 `[n, width]`, to be filled.
            lost: Int32 `[n]`, to be filled: how many tokens truncation cost each text.
            compute: Called with row numbers `[m]`; gives their vectors and what they lost.
            expect: Called before, with how many rows it will be called for in all.

        Returns:
            How many rows were computed.
        """
        missing = self._read(names, np.arange(len(names)), vectors, lost)
        _, first, place = np.unique(names[missing], return_index=True, return_inverse=True)
        count = 0
        expect(len(first))
        for part in _parts(missing[np.sort(first)]):
            with turn(self._folder):
                # Once more, now that it is our turn: whose turn it was may have computed them.
                still = self._read(names, part, vectors, lost)
                if len(still):
                    vectors[still], lost[still] = compute(still)
                    self._add(names[still], vectors[still], lost[still])
                    count += len(still)
        # One row stands for all that are equal to it.
        for part in _parts(np.flatnonzero(first[place] != np.arange(len(missing)))):
            copies, origins = missing[part], missing[first[place[part]]]
            vectors[copies], lost[copies] = vectors[origins], lost[origins]
        return count

    def _read(
        self, names: np.ndarray, rows: np.ndarray, vectors: np.ndarray, lost: np.ndarray
    ) -> np.ndarray:
        """Fills in what is stored of these rows; the others."""
        if self._folder is None or not len(rows):
            return rows
        self._refresh()
        files, places = self._index.find(names[rows])
        for number, file in enumerate(self._indexed):
            here = files == number
            try:
                self._segments[file].read(places[here], rows[here], vectors, lost)
            except Damaged as damage:
                self._set_aside(file, damage)
                files[here] = -1
        return rows[files < 0]

    def _refresh(self) -> None:
        """Opens the files that are new since, and forgets those that are gone."""
        assert self._folder is not None
        there, known = _files(self._folder), dict(self._segments)
        self._segments = {file: known[file] for file in there if file in known}
        for file in set(there) - set(known):
            try:
                self._segments[file] = Segment(self._folder / file, self.width)
            except Damaged as damage:
                self._set_aside(file, damage)
            except OSError:  # another process made room, or one file of many
                continue
        if list(self._segments) != self._indexed:
            self._indexed, self._index = list(self._segments), Index(list(self._segments.values()))
        budget.used(self._folder)

    def _set_aside(self, file: str, damage: Exception) -> None:
        assert self._folder is not None
        self._segments.pop(file, None)  # the index follows when the files are looked at again
        warnings.warn(
            f"a file of the cache is damaged ({damage}) and was set aside; its vectors are "
            f"computed again: {self._folder / file}",
            stacklevel=2,
        )
        with contextlib.suppress(OSError):
            os.replace(self._folder / file, self._folder / f"{file}.damaged")

    def _add(self, names: np.ndarray, vectors: np.ndarray, lost: np.ndarray) -> bool:
        """Keeps vectors; says whether it did, which a lack of room may prevent."""
        if self._folder is None or not budget.has_room(self._folder, vectors.nbytes):
            return False
        try:
            sweep_files(self._folder)
            write_segment(self._folder, names, vectors, lost)
            if len(_files(self._folder)) > _MOST_SEGMENTS:
                self._merge()
        except OSError as error:
            budget.off(error)
            return False
        return True

    def _merge(self) -> None:
        """Writes all files as one. Readers of the old ones keep them open until they look again."""
        assert self._folder is not None
        self._refresh()
        olds = dict(self._segments)
        size = sum(segment.size for segment in olds.values())
        if not budget.has_room(self._folder, size):
            return
        names = np.unique(np.concatenate([segment.names for segment in olds.values()]))
        rows = np.arange(len(names))
        vectors, lost = np.empty((len(rows), self.width), "float32"), np.empty(len(rows), "int32")
        if len(self._read(names, rows, vectors, lost)):
            return  # something was damaged or evicted meanwhile
        write_segment(self._folder, names, vectors, lost)
        for file in olds:
            with contextlib.suppress(OSError):
                os.unlink(self._folder / file)


class TokenStore:
    """bfloat16 vectors of every token of a list of texts, in one file, whole or not there.

    Args:
        name: From `names.key`; it stands for the texts too.
        lengths: The number of tokens of each text `[n]`.
        width: The length of a vector.
    """

    def __init__(self, name: str, lengths: np.ndarray, width: int) -> None:
        root = budget.folder()
        self._folder = None if root is None else root / name
        self.lengths, self.width = np.asarray(lengths, np.int64), width
        self._starts = np.concatenate([[0], np.cumsum(self.lengths)])
        self._file: int | None = None
        self._sums = np.empty(0, "<u4")

    @property
    def size(self) -> int:
        """Bytes on disk."""
        return self._place(len(self.lengths)) + 4 * len(self.lengths)

    def fill(self, compute: Callable[[np.ndarray], Iterator[Vectors]]) -> bool:
        """Writes what isn't there yet; says whether it is there now.

        Args:
            compute: Called with row numbers; gives row numbers `[b]` and their vectors
                `[b, length, width]`, padded, until each of them had its turn. It is called only if
                there is room and nothing is stored, and for rows that turn out damaged.
        """
        self._compute = compute
        if self._folder is None:
            return False
        try:
            if not self._open():
                if not budget.has_room(self._folder, self.size):
                    return False
                with turn(self._folder):
                    # Another process may have written it while we waited.
                    if not self._open():
                        self._write(compute(np.flatnonzero(self.lengths)))
                        return self._open()
        except OSError as error:
            budget.off(error)
            return False
        return True

    @property
    def _path(self) -> Path:
        assert self._folder is not None
        return self._folder / "tokens"

    def _open(self) -> bool:
        """Opened once: another process may make room, and a file lives as long as it's open."""
        try:
            file = opening.descriptor(self._path)
        except FileNotFoundError:
            return False
        except InputError:  # nothing that was written here
            os.unlink(self._path)
            return False
        sums = os.pread(file, 4 * len(self.lengths), self._place(len(self.lengths)))
        if os.fstat(file).st_size != self.size:
            os.close(file)
            os.unlink(self._path)
            return False
        self._file, self._sums = file, np.frombuffer(sums, "<u4")
        weakref.finalize(self, os.close, file)
        budget.used(self._path.parent)
        return True

    # Reads and writes at a place, not a memory map, whose pages count as the process's own memory.

    def _write(self, computed: Iterator[Vectors]) -> None:
        sums = np.zeros(len(self.lengths), "<u4")
        self._path.parent.mkdir(parents=True, exist_ok=True)
        sweep_files(self._path.parent)
        handle, scratch = new_file(self._path.parent)
        try:
            with open(handle, "wb") as file:
                for rows, vectors in computed:
                    for row, vector in zip(rows, np.asarray(vectors, _BFLOAT16)):
                        data = np.ascontiguousarray(vector[: self.lengths[row]]).tobytes()
                        os.pwrite(file.fileno(), data, self._place(row))
                        sums[row] = zlib.crc32(data)
                os.pwrite(file.fileno(), sums.tobytes(), self._place(len(self.lengths)))
                os.replace(scratch, self._path)
        finally:
            scratch.unlink(missing_ok=True)

    def _place(self, row: int) -> int:
        return int(self._starts[row]) * self.width * int(_BFLOAT16.itemsize)

    def padded(self, rows: np.ndarray, length: int) -> np.ndarray:
        """Vectors bfloat16 `[b, length, width]` of these rows, with zeros after each text's end."""
        batch = np.zeros((len(rows), length, self.width), _BFLOAT16)
        damaged = [place for place, row in enumerate(rows) if not self._copy(row, batch[place])]
        if damaged:
            self._again(np.asarray(rows), damaged, batch)
        return batch

    def _copy(self, row: int, into: np.ndarray) -> bool:
        """Reads one row; says whether it was whole."""
        assert self._file is not None
        size = self._place(row + 1) - self._place(row)
        data = os.pread(self._file, size, self._place(row))
        whole = (len(data) == size and zlib.crc32(data) == self._sums[row]) or not size
        if whole:
            into[: self.lengths[row]] = np.frombuffer(data, _BFLOAT16).reshape(-1, self.width)
        return whole

    def _again(self, rows: np.ndarray, damaged: list[int], batch: np.ndarray) -> None:
        warnings.warn(
            f"a file of the cache is damaged and its rows are computed again: {self._path}",
            stacklevel=3,
        )
        with contextlib.suppress(OSError):
            os.unlink(self._path)  # the next run writes it anew
        wanted = np.unique(rows[damaged])
        for found, vectors in self._compute(wanted):
            made = dict(zip(found, np.asarray(vectors, _BFLOAT16)))
            for place in damaged:
                row = rows[place]
                if row in made:
                    batch[place, : self.lengths[row]] = made[row][: self.lengths[row]]


@contextlib.contextmanager
def turn(store: Path | None) -> Iterator[None]:
    """Lets one process at a time compute what a store lacks; nobody waits for ever."""
    with contextlib.ExitStack() as held:
        if store is not None:
            try:
                store.parent.mkdir(parents=True, exist_ok=True)
                # Beside the store, because that may be evicted meanwhile.
                held.enter_context(
                    locked(store.with_name(f".{store.name}.lock"), _PATIENCE_SECONDS)
                )
            except OSError as error:
                budget.off(error)
        yield


def _files(folder: Path) -> list[str]:
    """The names of a store's files; none if it was evicted."""
    try:
        return sorted(name for name in os.listdir(folder) if name.endswith(ENDING))
    except FileNotFoundError:
        return []
    except OSError as error:
        budget.off(error)
        return []


def _parts(rows: np.ndarray) -> list[np.ndarray]:
    return [rows[start : start + ROWS_AT_ONCE] for start in range(0, len(rows), ROWS_AT_ONCE)]
