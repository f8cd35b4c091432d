"""Answers to many files, each by itself: what is done stays done, and bad rows end nothing."""

import collections
import dataclasses
import itertools
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any, Protocol, TypeAlias

from tfhub_transfer import data, progress
from tfhub_transfer.data import reading, writing
from tfhub_transfer.encoders.preprocessing import Truncation
from tfhub_transfer.errors import InputError, one_line, visible
from tfhub_transfer.incoming import wording
from tfhub_transfer.jobs.asking import RENAMED, SCORES, Answers
from tfhub_transfer.jobs.options import declaring
from tfhub_transfer.jobs.saying import say
from tfhub_transfer.jobs.shards import beam, finding
from tfhub_transfer.jobs.shards.finding import Shard
from tfhub_transfer.jobs.shards.records import BAD, SUMMARY, Outcome, Output
from tfhub_transfer.shapes import Row
from tfhub_transfer.storage import atomic
from tfhub_transfer.storage.scratch import temporary

# Asks a model the texts of one file; bad rows go to what it is given beside.
Ask: TypeAlias = Callable[[data.File, reading.Bad], Answers]

_FORM = declaring.names_of(declaring.Form)
# Shards that failed, of which the reason is shown; the summary has it of all.
_SHOWN = 5


class Job(Protocol):
    """The options that say what is gone through, where to, and how."""

    @property
    def data(self) -> str | None: ...
    @property
    def output(self) -> Path | None: ...
    @property
    def form(self) -> str | None: ...
    @property
    def runner(self) -> str: ...
    @property
    def runner_options(self) -> str | None: ...
    @property
    def overwrite(self) -> bool: ...
    @property
    def source(self) -> str: ...


def is_asked(job: Job, standard_input: str = "-") -> bool:
    """Whether a job goes through shards; refuses what goes with the one way only.

    Args:
        job: Its options.
        standard_input: What its source is if none is named.

    Raises:
        InputError: If options don't go together.
    """
    if job.data is None:
        given = {"--form": job.form, "--runner-options": job.runner_options}
        given["--runner"] = "beam" if job.runner == "beam" else None
        for option, value in given.items():
            if value is not None:
                raise InputError(
                    f"`{option}` is for shards; name these with `--data`. Received: {value}"
                )
        return False
    if job.source != standard_input:
        raise InputError(
            "shards stand in the place of a file; leave one of the two out, and put patterns in "
            f"quotes. Received: {job.source}, and --data {job.data}"
        )
    if job.output is None:
        raise InputError(
            "answers to shards are files; name a folder for them with `--output`. "
            f"Received: --data {job.data}"
        )
    if job.runner_options is not None and job.runner == "local":
        raise InputError(
            "options of a runner are Beam's; give `--runner beam`, too. "
            f"Received: --runner-options {job.runner_options}"
        )
    return True


def told(job: Job) -> dict[str, object]:
    """The options of any such job that answers depend on.

    Args:
        job: Its options.
    """
    return {name: getattr(job, name) for name in ("form", *_FORM)}


@dataclasses.dataclass(frozen=True)
class Work:
    """What a process must know to answer shards; it can be sent to another one.

    Attributes:
        job: The options of the command.
        output: The folder of the answers.
        load: Makes of the options what asks the model.
    """

    job: Job
    output: Output
    load: Callable[[Any], Ask]

    def answer(self, ask: Ask, shard: Shard) -> Outcome:
        """Answers a shard: its file, the file of its bad rows and its record are there then.

        Args:
            ask: What `load` gave.
            shard: The shard.

        Raises:
            InputError: If something can't be written. What can't be read is part of the outcome.
        """
        start = time.monotonic()
        with temporary() as scratch, (scratch / "bad.jsonl").open("w", encoding="utf-8") as lines:
            bad = _Bad(lines, shard.source)
            try:
                found = self._answered(ask, shard, bad)
            except _UnreadableError as error:
                found = dataclasses.replace(error.begun, failed=str(error))
                bad.write(None, str(error), None)
            lines.close()
            seconds = round(time.monotonic() - start, 3)
            found = dataclasses.replace(found, bad=bad.count, seconds=seconds)
            self._keep(shard, found, scratch / "bad.jsonl")
        return found

    def _answered(self, ask: Ask, shard: Shard, bad: "_Bad") -> Outcome:
        begun = Outcome(os.path.realpath(shard.source), 0, 0)
        try:
            begun = Outcome.begun(shard.source)
            form = {name: getattr(self.job, name) for name in _FORM}
            file = reading.Tolerant(shard.source, **form)
            if reading.is_blank(file):
                return begun
            answers = ask(file, bad.row)
        except (InputError, OSError) as error:
            raise _UnreadableError(begun, error) from error
        target = self.output.answers(shard)
        answers.exact = writing.keeps_types(target)
        rows = _read(begun, answers)
        first = next(rows, None)
        if first is None:
            return dataclasses.replace(begun, notes=tuple(answers.notes))
        count = writing.write(
            itertools.chain([first], rows), target, (answers.name(SCORES),), answers.types
        )
        return dataclasses.replace(
            begun,
            answers=count,
            written=target.stat().st_size,
            cut=(answers.cut.texts, answers.cut.tokens),
            notes=tuple(note for note in answers.notes if str(answers.cut) not in note),
        )

    def _keep(self, shard: Shard, found: Outcome, bad: Path) -> None:
        """Puts bad rows and record in place; what an earlier run left for the shard is gone."""
        try:
            if found.written is None:
                self.output.answers(shard).unlink(missing_ok=True)
            self.output.bad(shard).unlink(missing_ok=True)
            if bad.stat().st_size:
                atomic.move(bad, self.output.bad(shard))
            self.output.keep(shard, found)
        except OSError as error:
            raise InputError(
                f"the file can't be written. Received: {self.output.answers(shard)} ({error})"
            ) from error


class _UnreadableError(Exception):
    """A shard can't be read to its end; nothing else is wrong."""

    def __init__(self, begun: Outcome, error: Exception) -> None:
        super().__init__(one_line(str(error)))
        self.begun = begun


def _read(begun: Outcome, answers: Answers) -> Iterator[Row]:
    """The answers; what fails while they are read is told apart from what fails in writing."""
    try:
        yield from answers
    except (InputError, OSError) as error:
        raise _UnreadableError(begun, error) from error


class _Bad:
    """Writes rows without an answer, a line of JSON each."""

    def __init__(self, file: IO[str], source: str) -> None:
        self._file, self._source, self.count = file, source, 0

    def row(self, number: int, row: Row, reason: str) -> None:
        """Takes a row by its number, as `reading.Bad` does."""
        self.count += 1
        self.write(number, reason, row.given if isinstance(row, reading.Unread) else row)

    def write(self, number: int | None, reason: str, given: object) -> None:
        """Writes a line; of the shard as a whole, if there is no number."""
        line = {"file": self._source, "row": number, "reason": reason, "given": given}
        self._file.write(wording.json_line(writing.plain(line)) + "\n")


def answer(work: Work, about: dict[str, object], inputs: Sequence[str | Path]) -> None:
    """Answers all shards of a job that aren't done yet.

    Args:
        work: What is to be done.
        about: What answers depend on beside shards, by names that say it to the user.
        inputs: What is read beside the shards.

    Raises:
        InputError: If something is unusable: before any work; or, at its end, if a shard couldn't
            be read, or no row of them all could be answered.
    """
    job, output = work.job, work.output
    if job.runner == "beam":
        beam.check(job.runner_options)
    found = finding.find(job.data or "", output.place, job.form)
    output.check(about, found, job.overwrite, inputs)
    ask = work.load(job)
    with output.held(about, found, job.overwrite):
        left = _left(output, found)
        if job.runner == "beam" and left:
            del ask  # each of its processes loads its own
            beam.run(work, left, job.runner_options)
        else:
            _in_turn(work, ask, left)
        outcomes = {shard.name: output.outcome(shard) for shard in found}
        output.summarize(_summary(outcomes))
    _tell(output, outcomes, len(found) - len(left))


def _left(output: Output, found: Sequence[Shard]) -> list[Shard]:
    """The shards that aren't done, or were changed since."""
    left = []
    for shard in found:
        outcome = output.outcome(shard)
        if outcome is None or outcome.failed:
            left.append(shard)
            continue
        now = Outcome.begun(shard.source)
        if not outcome.is_of(now):
            if outcome.source != now.source:
                raise InputError(
                    f"{shard.name} in the output is of another shard, {outcome.source}; name "
                    "another folder, or give `--overwrite` to begin anew. "
                    f"Received: {shard.source}"
                )
            print(visible(f"{shard.source} was changed: answered anew"), file=sys.stderr)
            left.append(shard)
    return left


def _in_turn(work: Work, ask: Ask, left: Sequence[Shard]) -> None:
    answers = done = 0
    with progress.stage("Answering", len(left), "shards", final=False) as stage:
        try:
            for shard in left:
                with progress.part(worth=1):
                    answers += work.answer(ask, shard).answers
                done += 1
                stage.tell(f"{answers:,} answers", shard.name)
        except KeyboardInterrupt:
            said = f"{done:,} of {len(left):,} shards were answered; the same command goes on"
            print(said, file=sys.stderr)
            raise


def _summary(outcomes: dict[str, Outcome | None]) -> dict[str, object]:
    """What `_summary.json` holds: counters of all shards, whenever they were answered."""
    known = [outcome for outcome in outcomes.values() if outcome is not None]
    failed = {name: each.failed for name, each in outcomes.items() if each and each.failed}
    notes = collections.Counter(note for each in known for note in each.notes)
    return {
        "shards": len(outcomes),
        "answered": sum(each.written is not None for each in known),
        "empty": sum(each.written is None and not each.failed for each in known),
        "failed": failed,
        "answers": sum(each.answers for each in known),
        "bad_rows": sum(each.bad for each in known),
        "texts_cut": sum(each.cut[0] for each in known),
        "tokens_lost": sum(each.cut[1] for each in known),
        "seconds": round(sum(each.seconds for each in known), 3),
        "notes": dict(notes),
    }


def _named_apart(known: Sequence[Outcome]) -> bool:
    """Whether a part of the answers has another name in one file of them than in another."""
    written = [each.notes for each in known if each.written is not None]
    named = {next((n for n in notes if n.startswith(RENAMED)), "") for notes in written}
    return len(named) > 1


def _tell(output: Output, outcomes: dict[str, Outcome | None], before: int) -> None:
    """Says what was done; raises of what couldn't be."""
    known = [outcome for outcome in outcomes.values() if outcome is not None]
    count, bad = sum(each.answers for each in known), sum(each.bad for each in known)
    cut = Truncation(sum(each.cut[0] for each in known), count, sum(each.cut[1] for each in known))
    failed = {name: each.failed for name, each in outcomes.items() if each and each.failed}
    done = len(outcomes) - len(failed)
    parts = [f"{done:,} of {len(outcomes):,} shards", wording.counted(count, "answer")]
    parts[0] += f" ({before:,} done before)" if before else ""
    parts += [f"{wording.counted(bad, 'bad row')} in {output.place / BAD}"] if bad else []
    say(f"Written to {output.place}: {', '.join(parts)}; {cut}")
    for note in dict.fromkeys(note for each in known for note in each.notes):
        print(visible(note), file=sys.stderr)
    if _named_apart(known):
        print(
            "WARNING: only some shards have columns that are called as answers: a name such as "
            "`label` is a column in their files and the answer in the others; the folder _records "
            "says which, and answers that are read as one table need columns of one kind",
            file=sys.stderr,
        )
    for reason in list(failed.values())[:_SHOWN]:
        print(visible(reason), file=sys.stderr)
    if failed:
        raise InputError(
            f"{len(failed):,} of {len(outcomes):,} shards couldn't be read; mend them and give the "
            f"same command again, which goes on with these ({output.place / SUMMARY} has all). "
            f"Received: {next(iter(failed))}"
        )
    if bad and not count:
        raise InputError(
            f"no row could be answered; {output.place / BAD} says why of each. "
            f"Received: {bad:,} rows"
        )
