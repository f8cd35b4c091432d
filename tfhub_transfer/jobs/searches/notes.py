"""How far a search is, for whoever goes on with it: trials that are over, and KerasTuner's files.

KerasTuner writes its files one by one, in place: a kill in the wrong moment leaves half of one. So
after each trial all of them are written once more, together, whole or not at all; a search that
goes on begins with these.
"""

import contextlib
import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeAlias

from tfhub_transfer.errors import InputError
from tfhub_transfer.storage import atomic, opening
from tfhub_transfer.storage.notes import of_output
from tfhub_transfer.storage.scratch import take

PROJECT = "search"
# What is known of a trial that is over, as JSON can say it.
Trial: TypeAlias = dict[str, Any]
_STATE, _TOKEN = "state.json", "token"


class TrialNotes:
    """The folder of a search, held by its process.

    Args:
        output: The folder that the search will write; this one lies beside it.

    Attributes:
        place: The folder.
        trials: What is known of each trial that is over.

    Raises:
        InputError: If another process searches there.
    """

    def __init__(self, output: Path) -> None:
        self.place = _place(output)
        self.trials: list[Trial] = []
        self._facts: Mapping[str, object] = {}
        self._other: Path | None = None
        try:
            self._lock = take(self.place)
        except BlockingIOError as error:
            raise InputError(
                "another process searches there at this moment; wait for its end, or name another "
                f"output. Received: {output}"
            ) from error

    @property
    def project(self) -> Path:
        """Where KerasTuner writes."""
        return self.place / PROJECT

    def begin(self, facts: Mapping[str, object]) -> str | None:
        """Takes up the search that was interrupted, if it is the same one.

        Args:
            facts: What trials depend on, as JSON can say it.

        Returns:
            What is to be said of it, if anything.
        """
        self._facts = json.loads(json.dumps(facts))
        known = self._read()
        if known is None or known["facts"] != self._facts:
            if known is not None:
                self._set_aside(known["facts"])
            shutil.rmtree(self.project, ignore_errors=True)
            return None if known is None else f"another search was interrupted there: {_CHANGED}"
        self._take_back()
        self.trials = known["trials"]
        for path in self.project.rglob("*.json"):
            path.unlink()
        for name, text in known["files"].items():
            (self.project / name).parent.mkdir(parents=True, exist_ok=True)
            (self.project / name).write_text(text, encoding="utf-8")
        return f"goes on behind {len(self.trials)} trials in {self.place}"

    def note(self, trial: Trial) -> None:
        """Notes a trial that is over, and how KerasTuner stands now.

        Args:
            trial: What is known of it.
        """
        self.trials.append(trial)
        found = sorted(self.project.rglob("*.json"))
        files = {p.relative_to(self.project).as_posix(): p.read_text("utf-8") for p in found}
        state = {"facts": self._facts, "trials": self.trials, "files": files}
        atomic.write_text(self.place / _STATE, json.dumps(state))
        if self._other is not None:  # whose trials are no longer noted
            shutil.rmtree(self._other, ignore_errors=True)
            self._other = None

    def forget_weights(self, trials: Collection[str]) -> None:
        """Removes the weights that KerasTuner wrote.

        Args:
            trials: The trials whose weights they are.
        """
        for name in trials:
            for path in (self.project / f"trial_{name}").glob("*.weights.h5"):
                path.unlink(missing_ok=True)

    def token(self) -> str:
        """What tells who reads it there that this is the folder: see `shared_place`."""
        made = secrets.token_hex(16)
        (self.place / _TOKEN).write_text(made, "utf-8")
        return made

    def discard(self) -> None:
        """Removes the folder: the output is there."""
        shutil.rmtree(self.place, ignore_errors=True)

    def release(self) -> None:
        """Lets the folder go; it is gone, if no trial is over."""
        if self.place.is_dir() and not (self.place / _STATE).exists():
            self.discard()
        os.close(self._lock)

    def _set_aside(self, facts: Mapping[str, object]) -> None:
        """Keeps the weights of another search until a trial of this one is over.

        Till then that search is the one that is noted, and its command goes on with it.
        """
        self._other = self._aside(facts)
        if self.project.is_dir() and not self._other.exists():
            self.project.rename(self._other)

    def _take_back(self) -> None:
        """Takes the weights back that another search, which is forgotten, set aside."""
        aside = self._aside(self._facts)
        if aside.is_dir():
            shutil.rmtree(self.project, ignore_errors=True)
            aside.rename(self.project)

    def _aside(self, facts: Mapping[str, object]) -> Path:
        told = json.dumps(facts, sort_keys=True).encode("utf-8")
        return self.place / f"{PROJECT}-{hashlib.sha256(told).hexdigest()[:16]}"

    def _read(self) -> dict[str, Any] | None:
        try:
            found = json.loads(opening.read_text(self.place / _STATE))
        except (OSError, ValueError):
            return None
        whole = isinstance(found, dict) and {"facts", "trials", "files"} <= set(found)
        return found if whole else None


_CHANGED = "data, encoder or options differ, so this one begins anew"


def _place(output: Path) -> Path:
    return of_output(output.with_name(f"{output.name}.tune"))


def shared_place(output: Path, token: str) -> Path | None:
    """The folder of the search that another process holds, if this one sees it, too.

    Args:
        output: The folder that the search will write, as this process calls it.
        token: What the other one has written there.
    """
    place = _place(output)
    try:
        return place if opening.read_text(place / _TOKEN) == token else None
    except OSError:
        return None


@contextlib.contextmanager
def noted(output: Path) -> Iterator[TrialNotes]:
    """The notes of a search; once the body is done they are gone.

    Args:
        output: The folder that it will write.
    """
    notes = TrialNotes(output)
    try:
        yield notes
        notes.discard()
    finally:
        notes.release()
