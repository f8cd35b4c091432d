"""What grows while a training runs: a line an epoch, in `history.csv` and in TensorBoard's logs.

Epochs and steps count on through all stages, and where a run goes on that was interrupted: those
that were lost, and trained again, are there once.
"""

import csv
import errno
import io
import os
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import keras

from tfhub_transfer import progress
from tfhub_transfer.errors import InputError
from tfhub_transfer.shapes import Json, Logs
from tfhub_transfer.storage import atomic, marks, notes, opening
from tfhub_transfer.training.event_files import EventFile

# What is known of an epoch: the first of `COLUMNS` counts through all stages, `stage_epoch` within
# one, both from 1; steps are those of all stages so far, the learning rate is that at its end.
# Behind them is what Keras reports.
Row: TypeAlias = dict[str, Any]
COLUMNS = ("epoch", "stage", "stage_epoch", "steps", "seconds", "learning_rate")
FILE = notes.TABLE
# Where an epoch is long its loss so far is a curve too.
BATCH_SECONDS = 10.0


class Holds(Protocol):
    """What holds the rows, and what is planned for each stage."""

    rows: list[Row]
    plan: dict[str, object]


class Sink(Protocol):
    """Where rows are written."""

    place: Path
    heard: bool

    def begin(self, rows: Sequence[Row]) -> None:
        """Holds these rows from now on: those of an earlier process, or none."""

    def add(self, rows: Sequence[Row], plan: Mapping[str, object]) -> None:
        """Adds the last one of these, and how its stage was planned."""

    def batch(self, values: Logs, step: int) -> None:
        """Adds what is known after a step of an epoch that isn't over."""


class CsvFile:
    """Rows as a table that may be read at any time, whose columns are those of all rows.

    Args:
        path: The file.
        heard: Whether it is said where it can't be written any longer.
    """

    def __init__(self, path: Path, heard: bool = True) -> None:
        self.place, self.heard = path, heard
        self._columns: list[str] = []
        self._file = 0

    def begin(self, rows: Sequence[Row]) -> None:
        """As of `Sink`."""
        self._columns = columns_of(rows)
        if not self.place.parent.is_dir():  # somebody removed it, and doesn't want it back
            raise FileNotFoundError(errno.ENOENT, "its folder was removed", str(self.place))
        atomic.write_text(self.place, as_text(rows))
        self._file = self.place.stat().st_ino

    def add(self, rows: Sequence[Row], plan: Mapping[str, object]) -> None:
        """As of `Sink`."""
        there = self.place.exists()
        if there and self.place.stat().st_ino != self._file:
            raise OSError(errno.EBUSY, "another run writes there", str(self.place))
        if not there or not rows[-1].keys() <= {*self._columns}:
            self.begin(rows)
            return
        with open(self.place, "a", encoding="utf-8", newline="") as file:
            file.write(_lines(rows[-1:], self._columns))

    def batch(self, values: Logs, step: int) -> None:
        """As of `Sink`: nothing."""


class Events:
    """Rows as curves in TensorBoard: of training and of validation, over epochs; over steps.

    Args:
        folder: The folder; each of the three has one of its own in it.
    """

    def __init__(self, folder: Path) -> None:
        self.place, self.heard = folder, True

    def begin(self, rows: Sequence[Row]) -> None:
        """As of `Sink`."""
        first = len(rows) + 1 if rows else 0
        self._of_training = EventFile(self.place / "train", first)
        self._of_validation = EventFile(self.place / "validation", first)
        self._of_steps = EventFile(self.place / "steps", _steps(rows) + 1 if rows else 0)

    def add(self, rows: Sequence[Row], plan: Mapping[str, object]) -> None:
        """As of `Sink`."""
        row, files = rows[-1], (self._of_training, self._of_validation)
        found: tuple[dict[str, float], dict[str, float]] = ({}, {})
        for name, value in row.items():
            if name not in COLUMNS[:-1] and value is not None:
                judged = name.startswith("val_")
                found[judged][f"epoch_{name.removeprefix('val_')}"] = value
        for file, values in zip(files, found):
            file.scalars(values, row["epoch"])
        if row["stage_epoch"] == 1:
            lines = "".join(f"\n| {name} | {value} |" for name, value in plan.items())
            table = f"| {row['stage']} | |\n|---|---|{lines}"
            self._of_training.text("stage", table, row["epoch"])

    def batch(self, values: Logs, step: int) -> None:
        """As of `Sink`."""
        self._of_steps.scalars({f"batch_{name}": value for name, value in values.items()}, step)


class Watch(keras.callbacks.Callback):
    """Writes down each epoch of all stages once it is over.

    Args:
        held: The history of the whole training.
        task: The task that trains, among several.
        whole: That of all of them.

    Attributes:
        trained: On how many rows the last `fit` trained, in all its epochs, if it is known.
    """

    def __init__(self, held: Holds, task: str = "", whole: "Watch | None" = None) -> None:
        super().__init__()
        self._held, self._task = held, task
        self._stage, self._plan = "", dict[str, object]()
        self._shared: _Shared = _Shared() if whole is None else whole._shared
        self._first = self._within = self.trained = 0
        self._spent = 0.0

    def of(self, task: str) -> "Watch":
        """That of one task among several, whose values go by its name."""
        return Watch(self._held, task, self)

    def write(self, sink: Sink) -> None:
        """Writes to a sink too, from the first row on."""
        self._shared.sinks.append(sink)
        self._shared.late.append(sink)

    def stage(self, name: str, plan: Mapping[str, object] | None = None) -> None:
        """What the stage is called whose epochs follow, and how it is planned."""
        self._stage, self._plan = f"{self._task} {name}".strip(), dict(plan or {})

    def begin(self) -> None:
        """The rows are others: those of a run that was interrupted."""
        self._shared.late[:] = self._shared.sinks

    def pace(self) -> str:
        """What is told of the epochs of the last `fit`, behind the time of their stage."""
        seconds = sum(row["seconds"] for row in self._held.rows[self._first :])
        return progress.pace(seconds, self.trained, "rows")

    # As Keras calls it -------------------------------------------------------------------------

    def on_train_begin(self, logs: Logs | None = None) -> None:
        self._first, self._spent = len(self._held.rows), 0.0

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        self._began, self._within = time.perf_counter(), 0

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        self._within = batch + 1
        if logs and self._shared.is_due():
            values = self._named({"loss": float(logs["loss"])})
            rows = self._held.rows
            step = _steps(rows) + self._within
            self._shared.tell(rows, lambda sink: sink.batch(values, step))

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        rows = self._held.rows
        values = {name: float(value) for name, value in (logs or {}).items()}
        row: Row = {
            "epoch": len(rows) + 1,
            "stage": self._stage,
            "stage_epoch": len(rows) + 1 - self._first,
            "steps": _steps(rows) + self._within,
            "seconds": round(self._spent + time.perf_counter() - self._began, 3),
            # A callback that lowers it notes first what the epoch had.
            "learning_rate": values.pop("learning_rate", _rate(self.model)),
        }
        # Of one's own metrics none takes the place of these.
        more = self._named(values)
        rows.append(row | {name: value for name, value in more.items() if name not in row})
        self._spent, self._within = 0.0, 0
        self._shared.tell(rows[:-1], lambda sink: sink.add(rows, self._plan))

    def _named(self, values: Logs) -> dict[str, float]:
        """Values by the names that they have where all tasks train together."""
        before = f"{self._task}_" if self._task else ""
        return {
            f"val_{before}{name[4:]}" if name.startswith("val_") else f"{before}{name}": value
            for name, value in values.items()
        }

    # To go on ----------------------------------------------------------------------------------

    def state(self) -> dict[str, object]:
        """What it knows, as JSON can say it."""
        spent = self._spent + (time.perf_counter() - self._began if self._within else 0.0)
        rows: list[Json] = [dict(row) for row in self._held.rows]
        return {"rows": rows, "first": self._first, "spent": spent}

    def go_on(self, state: Mapping[str, Any]) -> None:
        """Becomes what another was when it gave its state.

        Args:
            state: What `state` gave.
        """
        self._held.rows[:] = [dict(row) for row in state["rows"]]
        self._first, self._spent = state["first"], state["spent"]
        self.begin()


class _Shared:
    """What the watches of a training share: where they write, and what of it hasn't begun.

    Which rows there were is known once a stage has taken up where it was, so all begin late.
    """

    def __init__(self) -> None:
        self.sinks: list[Sink] = []
        self.late: list[Sink] = []
        self._told = time.monotonic()

    def is_due(self) -> bool:
        """Whether it is time to tell of an epoch that isn't over."""
        due = bool(self.sinks) and time.monotonic() - self._told >= BATCH_SECONDS
        if due:
            self._told = time.monotonic()
        return due

    def tell(self, past: Sequence[Row], what: Callable[[Sink], None]) -> None:
        """Writes; where that fails it is said, and nothing more is written there."""
        for sink in [*self.sinks]:
            try:
                if sink in self.late:
                    self.late.remove(sink)
                    sink.begin(past)
                what(sink)
            except OSError as error:
                self.sinks.remove(sink)
                if not sink.heard:
                    continue
                reason = error.strerror or error
                warnings.warn(
                    f"curves can't be written any longer ({reason}), and training goes on "
                    f"without: {sink.place}",
                    stacklevel=3,
                )


def check(folder: Path, output: Path | None = None) -> None:
    """Refuses, before anything trains, a folder for logs that can't be written.

    Args:
        folder: The folder.
        output: A folder that will be written whole.

    Raises:
        InputError: If it is a file, can't be written, another's file is in the way, or it lies in
            the output.
    """
    folder = opening.path_of(folder)
    if output is not None:
        within, whole = (Path(os.path.realpath(each)) for each in (folder, output))
        if whole in (within, *within.parents):
            raise InputError(
                "the output appears whole at the end, and logs grow from the start: name a folder "
                f"outside of it. Received: {folder} in {output}"
            )
    if folder.exists() and not folder.is_dir():
        raise InputError(
            f"`log_dir` is a folder; name another one. Received: {folder}, which is a file"
        )
    if (folder / marks.MARK).exists():
        raise InputError(
            "`log_dir` is what another training or report wrote; name another folder. "
            f"Received: {folder}"
        )
    atomic.check_file(folder / FILE, notes.TABLE_BEGINS, overwrite=True)


def columns_of(rows: Sequence[Row]) -> list[str]:
    """The columns of all rows, in the order in which they came."""
    return [*dict.fromkeys((*COLUMNS, *(name for row in rows for name in row)))]


def as_text(rows: Sequence[Row]) -> str:
    """Rows as CSV, with numbers as they are."""
    names = columns_of(rows)
    return _lines([dict(zip(names, names))], names) + _lines(rows, names)


def _lines(rows: Sequence[Row], columns: Sequence[str]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writerows(rows)
    return text.getvalue()


def _steps(rows: Sequence[Row]) -> int:
    """How many steps these rows are of."""
    return rows[-1]["steps"] if rows else 0


def _rate(model: keras.Model) -> float | None:
    """The learning rate; nothing, of an optimizer that is several."""
    optimizer = getattr(model.optimizer, "inner_optimizer", model.optimizer)
    rate = getattr(optimizer, "learning_rate", None)
    return None if rate is None else float(keras.ops.convert_to_numpy(rate))
