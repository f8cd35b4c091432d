"""The folder of the answers to shards: what it was begun with, what is done, what is wrong.

Beside a file of answers for each shard it holds, under names that whoever reads tables passes over,
`_job.json` (what it was begun with), `_records/` (a file for each shard that was gone through),
`_bad/` (rows without an answer) and `_summary.json`. Each file is whole or not there, and the
record of a shard comes last: a shard without one is gone through again.
"""

import contextlib
import dataclasses
import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tfhub_transfer.errors import InputError
from tfhub_transfer.jobs.shards.finding import Shard
from tfhub_transfer.storage import atomic, marks, opening, records, scratch

JOB, SUMMARY, BAD, RECORDS = "_job.json", "_summary.json", "_bad", "_records"
# So much must be free before the work goes on, as before it begins.
_ROOM = 20_000_000
_PIECE = 1 << 20


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What became of a shard.

    Attributes:
        source: The shard's path, whole.
        size: Its bytes.
        modified: When it was changed last, in nanoseconds.
        answers: How many rows have answers.
        bad: How many have none.
        written: Bytes of the file of answers; there is none if nothing was answered.
        cut: Texts of which something was cut off, and tokens that were.
        seconds: How long it took.
        notes: What was decided while it was read.
        failed: Why it couldn't be read to its end, so that there are no answers; else nothing.
    """

    source: str
    size: int
    modified: int
    answers: int = 0
    bad: int = 0
    written: int | None = None
    cut: tuple[int, int] = (0, 0)
    seconds: float = 0.0
    notes: tuple[str, ...] = ()
    failed: str = ""

    @classmethod
    def begun(cls, source: str) -> "Outcome":
        """That of a shard that is about to be read, as it is now.

        Args:
            source: The shard's path.

        Raises:
            OSError: If it isn't there any longer.
        """
        state = os.stat(source)
        return cls(os.path.realpath(source), state.st_size, state.st_mtime_ns)

    def is_of(self, other: "Outcome") -> bool:
        """Whether it is that of the same bytes, as far as size and time tell."""
        return (self.size, self.modified) == (other.size, other.modified)


@dataclasses.dataclass(frozen=True)
class Output:
    """The folder.

    Args:
        place: Its path.
    """

    place: Path

    def __post_init__(self) -> None:
        real = os.path.realpath(os.path.expanduser(self.place))
        object.__setattr__(self, "place", Path(real))

    def answers(self, shard: Shard) -> Path:
        """The file of a shard's answers."""
        return self.place / shard.name

    def bad(self, shard: Shard) -> Path:
        """The file of a shard's rows without an answer."""
        return self.place / BAD / f"{shard.name}.jsonl"

    def record(self, shard: Shard) -> Path:
        """The file that says what became of a shard."""
        return self.place / RECORDS / f"{shard.name}.json"

    def check(
        self,
        job: Mapping[str, object],
        shards: Sequence[Shard],
        overwrite: bool,
        inputs: Iterable[str | Path],
    ) -> None:
        """Refuses, before any work, an output that can't be gone on with or begun.

        Args:
            job: What its answers depend on beside the shards, by names that say it to the user.
            shards: What it is for.
            overwrite: Whether what this package wrote there is removed.
            inputs: What is read beside the shards.

        Raises:
            InputError: If it holds others' files, was begun with something else, or answers of
                other shards of the same names.
        """
        begun = None if overwrite else self._begun()
        if begun is None:
            atomic.check_output(self.place, overwrite, inputs)
            return
        job = json.loads(json.dumps(job))  # as it was written: with lists, not tuples
        changed = [name for name in {**job, **begun} if job.get(name) != begun.get(name)]
        if changed:
            raise InputError(
                f"the output was begun with other values of {', '.join(changed)}; name another "
                "folder, or give `--overwrite` to begin anew. Received: "
                f"{self.place} with {changed[0]} {begun.get(changed[0])}, not "
                f"{job.get(changed[0])}"
            )
        known = marks.marked(self.place)
        for path in self._paths(shards):
            if path.exists() and path not in known:
                raise InputError(
                    "there is a file that this package didn't write, and it is never replaced; "
                    f"move it away, or name another folder. Received: {path}"
                )
        atomic.check_room(self.place, _ROOM)

    def _begun(self) -> dict[str, Any] | None:
        """What it was begun with; `None` if it wasn't."""
        path = self.place / JOB
        if not path.exists() or path not in marks.marked(self.place):
            return None
        return records.read(path)

    def _paths(self, shards: Sequence[Shard]) -> Iterator[Path]:
        yield from (self.place / name for name in (JOB, SUMMARY, scratch.LOCK))
        for shard in shards:
            yield from (self.answers(shard), self.bad(shard), self.record(shard))

    @contextlib.contextmanager
    def held(
        self, job: Mapping[str, object], shards: Sequence[Shard], overwrite: bool
    ) -> Iterator[None]:
        """Begins it, or goes on with it; nobody else does meanwhile.

        Args:
            job: As for `check`, which was asked.
            shards: What it is for.
            overwrite: Whether what this package wrote there is removed.

        Raises:
            InputError: If another process works there, or it can't be written.
        """
        made = [each for each in (self.place, *self.place.parents) if not each.exists()]
        try:
            # Before it is held, whose folder would be its process's alone.
            self.place.mkdir(parents=True, exist_ok=True)
            lock = scratch.take(self.place)
        except BlockingIOError as error:
            raise InputError(
                "another process writes there at this moment; wait for its end, or name another "
                f"folder. Received: {self.place}"
            ) from error
        except OSError as error:
            raise self._unwritable(error) from error
        try:
            self._begin(job, shards, overwrite)
            yield
        finally:
            with contextlib.suppress(OSError):
                (self.place / scratch.LOCK).unlink(missing_ok=True)
            os.close(lock)
            scratch.remove_empty(made)

    def _begin(self, job: Mapping[str, object], shards: Sequence[Shard], overwrite: bool) -> None:
        try:
            if overwrite:
                self._clear()
            known = marks.marked(self.place)
            # First, and all of them: none is ever taken for somebody else's.
            names = {path.relative_to(self.place).as_posix() for path in self._paths(shards)}
            names |= {path.relative_to(self.place).as_posix() for path in known}
            marks.write_mark(self.place, sorted(names - {marks.MARK}))
            if not (self.place / JOB).exists():
                self._write(self.place / JOB, job)
        except OSError as error:
            raise self._unwritable(error) from error

    def _clear(self) -> None:
        ours = marks.marked(self.place)
        # The record of a shard goes before its answers: without these it would be believed.
        ours_first = sorted(ours, key=lambda path: RECORDS not in path.parts)
        for path in ours_first:
            if path.name not in (scratch.LOCK, marks.MARK):
                path.unlink(missing_ok=True)
        scratch.remove_empty(sorted((p for p in self.place.rglob("*") if p.is_dir()), reverse=True))

    def outcome(self, shard: Shard) -> Outcome | None:
        """What became of a shard; `None` if it wasn't gone through, or what was written has gone.

        Raises:
            InputError: If the record is damaged.
        """
        path = self.record(shard)
        if not path.exists():
            return None
        found = records.read(path)
        try:
            found = {**found, "cut": tuple(found["cut"]), "notes": tuple(found["notes"])}
            outcome = Outcome(**found)
            size = None if outcome.written is None else self.answers(shard).stat().st_size
        except FileNotFoundError:
            return None
        except (KeyError, TypeError) as error:
            raise InputError(
                f"the file is damaged; remove it, and its shard is gone through again ({error}). "
                f"Received: {path}"
            ) from error
        return outcome if size == outcome.written else None

    def keep(self, shard: Shard, outcome: Outcome) -> None:
        """Writes down what became of a shard, once all else of it is written.

        Raises:
            OSError: If it can't be written.
        """
        self._write(self.record(shard), dataclasses.asdict(outcome))

    def summarize(self, summary: Mapping[str, object]) -> None:
        """Writes the summary.

        Raises:
            InputError: If it can't be written.
        """
        try:
            self._write(self.place / SUMMARY, summary)
        except OSError as error:
            raise self._unwritable(error) from error

    def _write(self, path: Path, content: Mapping[str, object]) -> None:
        atomic.write_text(path, json.dumps(content, indent=1) + "\n")

    def _unwritable(self, error: OSError) -> InputError:
        return InputError(
            f"the output folder can't be written ({error.strerror or error}). "
            f"Received: {self.place}"
        )


def digest(paths: Iterable[Path]) -> str:
    """What the bytes of files are told by, and of all that lies in folders, in order.

    Args:
        paths: Files or folders; those that aren't there are passed over.
    """
    found = hashlib.sha256()
    for path in paths:
        inner = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
        for each in inner if path.exists() else ():
            found.update(f"{each.name}\0{each.stat().st_size}\0".encode("utf-8", "replace"))
            with opening.open_file(each) as file:
                while piece := file.read(_PIECE):
                    found.update(piece)
    return found.hexdigest()[:32]
