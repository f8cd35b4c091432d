"""What takes long says how far it is: one line a stage on standard error, one form for all.

On a terminal the line is drawn anew while the stage lasts: its name, its share, the time left, and
details as far as there is room. It uses no escape codes, and the cursor waits at its start, so that
whatever else is printed meanwhile takes its place. Elsewhere, in files, pipes, notebooks and dumb
terminals, a stage is a single line at its end; one that lasts says in between how far it is, ever
more seldom.

Nothing is shown unless someone asked for it, as the command line does, and `fine_tune` where it is
to be heard. What runs inside of a stage counts its steps as a `part` of it, whether shown or not.
"""

import contextlib
import contextvars
import math
import os
import resource
import shutil
import sys
import threading
import time
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

# Of a line, however wide the terminal.
MOST_COLUMNS = 120
_USUAL_COLUMNS = 80
_TICK_SECONDS = 0.5
_REDRAW_SECONDS = 0.1
# Where nothing can be drawn anew; doubled after each.
_FIRST_REPORT_SECONDS = 30.0
_CUT = "..."
# Bytes in what the system tells of memory.
_PEAK_UNIT = 1 if sys.platform == "darwin" else 1024
# Of less a pace would be one of the clock.
_LEAST_SECONDS = 0.05

_clock = time.monotonic

Held = TypeVar("Held")


class Counter:
    """How far something is, of which other counters may be parts.

    Args:
        name: What it is called on the screen, if at all.
        total: How many steps there are, if known.
        worth: How many steps of what it is a part of it stands for.

    Attributes:
        done: How many steps are done.
    """

    def __init__(self, name: str = "", total: float | None = None, worth: float = 0) -> None:
        self.name, self.total, self.worth = name, total, worth
        self.done: float = 0
        self.inner: Counter | None = None
        self.stage: Stage | None = None

    def add(self, steps: float = 1) -> None:
        """Counts steps as done."""
        self.done += steps
        if self.stage is not None:
            self.stage.changed()

    def expect(self, total: float) -> None:
        """Sets how many steps there are in all, once that is known."""
        self.total = total

    def fraction(self) -> float | None:
        """The share that is done, from 0 to 1; `None` if nobody knows."""
        inner = self.inner
        below = None if inner is None else inner.fraction()
        if self.total is None:
            return below
        if self.total <= 0:
            return 1.0
        within = 0.0 if inner is None or below is None else inner.worth * below
        return max(0.0, min(1.0, (self.done + within) / self.total))


class Stage(Counter):
    """A counter with a line of its own.

    Args:
        name: What is done, such as `"Features"`.
        total: How many steps there are, if known.
        unit: What the steps are called in the line at the end; they aren't told if not given.
        final: Whether there is a line at the end.
        shown: Whether there are lines at all.

    Attributes:
        result: What the line at the end tells; the number of steps if not given.
        final: Whether there is a line at the end.
        count: How many steps that line tells, if not those that were counted.
        ends: When all is over at the latest, by `time.monotonic`; endless if no clock says that.
    """

    def __init__(self, name: str, total: float | None, unit: str, final: bool, shown: bool) -> None:
        super().__init__(name, total)
        self.stage, self.unit, self.result = self, unit, ""
        self.final, self._shown = final, shown
        self._live = shown and _draws()
        self._details: tuple[str, ...] = ()
        self._over = threading.Event()
        self._started = self._drawn = _clock()
        self._next_report = _FIRST_REPORT_SECONDS
        self.count, self.ends = total, math.inf
        self._base: tuple[float, float] | None = None
        self._before = 0.0

    def tell(self, *details: str) -> None:
        """What the line tells besides, the most important first."""
        self._details = details
        self.changed()

    def line(self, width: int) -> str:
        """The line as it is now, in at most so many columns."""
        now, fraction = _clock(), self.fraction()
        if self.total is None and math.isfinite(self.ends):
            fraction = None  # it would be that of a part
        head = []
        if self.total is None and self.done and self.unit:
            head.append(f"{self.done:,.0f} {self.unit}")
        elif fraction is not None:
            head.append(f"{int(100 * fraction)} %")
        left = min(self._left(fraction, now), max(0.0, self.ends - now))
        head += [f"{lasting(left, 0)} left"] if math.isfinite(left) else []
        if len(head) < 2 and now - self._started >= 1:
            head.append(lasting(now - self._started, 0))
        return fitted(self._named(), head, self._details, width)

    def _named(self) -> str:
        """The name; where only a part of it is counted, that of the part too."""
        inner = self.inner if self.total is None and not self.done else None
        while inner is not None and not inner.name:
            inner = inner.inner
        return self.name if inner is None else f"{self.name}: {inner.name}"

    def _left(self, fraction: float | None, now: float) -> float:
        """Seconds, by the pace since the first step, which often takes longest, if it is known."""
        if fraction is None:
            return math.inf
        if self._base is None or fraction < self._before:  # another part has begun
            self._base = (now, fraction) if fraction else None
        self._before = fraction
        if self._base is None:
            return math.inf
        since, before = self._base
        if fraction == before:
            since, before = self._started, 0.0
        return max(0.0, (now - since) * (1 - fraction) / (fraction - before))

    def changed(self) -> None:
        """Shows where it is, unless it did so just now."""
        if self._shown and _clock() - self._drawn >= _REDRAW_SECONDS:
            self.show()

    def show(self) -> None:
        """Draws the line, or reports in a line of its own where it is time for one."""
        self._drawn = _clock()
        if self._live:
            _SCREEN.draw(self)
        elif self._drawn - self._started >= self._next_report:
            self._next_report *= 2
            _SCREEN.report(self)

    def begin(self) -> None:
        """Shows that it has begun, and from then on the time that passes."""
        if self._shown:
            _SCREEN.enter(self)
            self.show()
            threading.Thread(target=self._tick, daemon=True).start()

    def _tick(self) -> None:
        while not self._over.wait(_TICK_SECONDS):
            self.show()

    def end(self, well: bool) -> None:
        """Takes the line away; says in its place what was done.

        Args:
            well: Whether it came to its end.
        """
        self._over.set()
        if self._shown:
            _SCREEN.leave(self)
        if self._shown and self.final and well:
            _SCREEN.say(self.summary())

    def summary(self) -> str:
        """The line at the end."""
        told, count, seconds = self.result, 0.0, _clock() - self._started
        if not told and self.unit:
            count = self.done if self.count is None else self.count
            told = f"{count:,.0f} {self.unit}"
        lasted = f"{lasting(seconds)}{pace(seconds, count)}"
        return f"{self.name}: {told} in {lasted}" if told else f"{self.name}: {lasted}"


class _Screen:
    """Standard error, of which one stage at a time has the last line."""

    def __init__(self) -> None:
        # Taken twice by one thread where `report` calls `say`.
        self._lock = threading.RLock()
        self._stages: list[Stage] = []
        self._width = 0

    def enter(self, stage: Stage) -> None:
        with self._lock:
            self._stages.append(stage)

    def leave(self, stage: Stage) -> None:
        with self._lock:
            self._stages.remove(stage)
            self._clear()

    def draw(self, stage: Stage) -> None:
        """Draws a stage's line, if no other began later: its own, or one of another thread."""
        with self._lock:
            if not self._stages or self._stages[-1] is not stage:
                return
            # The last column stays free: terminals that it fills may go on to the next line.
            text = stage.line(min(MOST_COLUMNS, _columns() - 1))
            size = width_of(text)
            _write("\r" + text + " " * (self._width - size) + "\r")
            self._width = size

    def report(self, stage: Stage) -> None:
        """The same as a line that stays, of any stage that isn't over."""
        with self._lock:
            if stage in self._stages:
                self.say(stage.line(MOST_COLUMNS))

    @contextlib.contextmanager
    def free(self) -> Iterator[None]:
        """While it lasts, no stage has a line."""
        with self._lock:
            self._clear()
            yield

    def say(self, text: str) -> None:
        """A line that stays."""
        with self.free():
            _write(f"{spelled(text)}\n")

    def _clear(self) -> None:
        if self._width:
            _write("\r" + " " * self._width + "\r")
            self._width = 0


_SCREEN = _Screen()
_shown: contextvars.ContextVar[bool] = contextvars.ContextVar("_shown", default=False)
_title: contextvars.ContextVar[str] = contextvars.ContextVar("_title", default="")
_current: contextvars.ContextVar[Counter | None] = contextvars.ContextVar("_current", default=None)


@contextlib.contextmanager
def _held(variable: contextvars.ContextVar[Held], value: Held) -> Iterator[None]:
    before = variable.get()
    variable.set(value)
    try:
        yield
    finally:
        variable.set(before)


def shown(on: bool) -> contextlib.AbstractContextManager[None]:
    """Whether stages are shown that begin in the body, in this thread.

    Args:
        on: Whether they are.
    """
    return _held(_shown, on)


def titled(title: str) -> contextlib.AbstractContextManager[None]:
    """What stands before the names of stages that begin in the body, in this thread.

    Args:
        title: Such as a task's name, where there are several.
    """
    return _held(_title, title)


@contextlib.contextmanager
def stage(
    name: str,
    total: float | None = None,
    unit: str = "",
    final: bool = True,
    always: bool = False,
) -> Iterator[Stage]:
    """A stage of the work: a line while it lasts, and one at its end.

    A stage inside of another one takes its place meanwhile. One that fails has no line at the end.

    Args:
        name: What is done, such as `"Features"`.
        total: How many steps there are, if known.
        unit: What the steps are called, such as `"texts"`.
        final: Whether there is a line at the end; where something else says it all, there is none.
        always: Whether it is shown whoever asked.

    Example:

    >>> with shown(False), stage("Features", 200, "texts") as features:
    ...     features.add(100)
    ...     features.fraction()
    0.5
    """
    title = _title.get()
    begun = Stage(f"{title}: {name}" if title else name, total, unit, final, _shown.get() or always)
    before, well = _current.get(), False
    _current.set(begun)
    begun.begin()
    try:
        yield begun
        well = True
    finally:
        _current.set(before)
        begun.end(well)


@contextlib.contextmanager
def part(name: str = "", total: float | None = None, worth: float = 0) -> Iterator[Counter]:
    """Steps that are part of the stage, or of the part, around them, if there is one.

    Args:
        name: What is done, for the stages that don't know by themselves how far they are.
        total: How many steps there are, if known.
        worth: For how many steps of what is around them they stand, which has so many more done in
            the end.

    Example:

    >>> with stage("Features", 200) as features:
    ...     with part(worth=100), part("texts", 40) as texts:
    ...         texts.add(10)
    ...         features.fraction()
    0.125
    """
    around = _current.get()
    counter = Counter(name, total, worth)
    if around is not None:
        around.inner, counter.stage = counter, around.stage
    _current.set(counter)
    try:
        yield counter
    finally:
        _current.set(around)
        if around is not None:
            around.inner = None
            around.add(worth)


@contextlib.contextmanager
def beside(total: float) -> Iterator[Counter]:
    """Steps of the stage around them while nothing else tells how far it is.

    For what begins and ends at any time, as a file that is read while others are open.

    Args:
        total: How many steps there are.

    Example:

    >>> with stage("Reading") as reading, beside(200) as bytes_read:
    ...     bytes_read.add(50)
    ...     reading.fraction()
    0.25
    """
    around, counter = _current.get(), Counter("", total)
    if around is not None and around.inner is None and around.total is None:
        around.inner, counter.stage = counter, around.stage
    try:
        yield counter
    finally:
        if around is not None and around.inner is counter:
            around.inner = None


def step(
    name: str, total: float | None = None, worth: float = 0, always: bool = False
) -> contextlib.AbstractContextManager[Counter]:
    """A `part`, or a stage where nothing is around it.

    Args:
        name: What is done.
        total: How many steps there are, if known.
        worth: For how many steps of what is around it stands.
        always: Whether it is a stage in any case that is shown, with a line at its end.
    """
    if always or _current.get() is None:
        return stage(name, total, final=always, always=always)
    return part("", total, worth)


def say(text: str) -> None:
    """Prints to standard output, not into the line of a stage.

    Args:
        text: A line, or several.
    """
    with _SCREEN.free():
        print(text, flush=True)


def lasting(seconds: float, digits: int = 1) -> str:
    """A time in two numbers at most.

    Args:
        seconds: The time.
        digits: Behind the point, of less than ten seconds.

    Example:

    >>> lasting(0.43), lasting(15.2), lasting(200), lasting(5_000)
    ('0.4 s', '15 s', '3 min 20 s', '1 h 23 min')
    """
    seconds = max(0.0, seconds)
    # From here on one decimal would round to 10.0.
    if seconds < 9.95:
        return f"{seconds:.{digits}f} s"
    whole = round(seconds)
    for size, unit, below, smaller in ((3600, "h", 60, "min"), (60, "min", 1, "s")):
        if whole >= 2 * size or (size == 3600 and whole >= size):
            rest = whole % size // below
            return f"{whole // size} {unit}" + (f" {rest} {smaller}" if rest else "")
    return f"{whole} s"


def pace(seconds: float, count: float = 0, unit: str = "") -> str:
    """How fast something was, and the most memory so far, to stand behind a time.

    Args:
        seconds: How long it took.
        count: How many it did; nothing is said of what took no time, or did none.
        unit: What they are called.

    Example:

    >>> pace(2.0, 3_000, "texts").split(", peak")[0]
    ' (1,500 texts/s'
    """
    each = f" {unit}" if unit else ""
    fast = f"{count / seconds:,.0f}{each}/s, " if count and seconds >= _LEAST_SECONDS else ""
    memory = peak_memory()
    size = f"{memory / 1e9:.1f} GB" if memory >= 1e9 else f"{memory / 1e6:.0f} MB"
    return f" ({fast}peak memory {size})"


def peak_memory() -> int:
    """The most bytes of memory that this process has had at any time."""
    with contextlib.suppress(OSError, StopIteration):
        lines = Path("/proc/self/status").read_text("utf-8").splitlines()
        return 1024 * int(next(line for line in lines if line.startswith("VmHWM:")).split()[1])
    # On Linux this would be that of the process which started this one, if it had more.
    return _PEAK_UNIT * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def fitted(name: str, head: list[str], details: tuple[str, ...], width: int) -> str:
    """A line of at most so many columns: first the details go, then the end of the name.

    Args:
        name: What is done.
        head: How far it is.
        details: What else may be told.
        width: Columns of the terminal.

    Example:

    >>> fitted("Features", ["37 %", "12 s left"], ("epoch 2 of 4", "loss 0.3"), 40)
    'Features  37 %  12 s left  epoch 2 of 4'
    >>> fitted("Features of the test", ["37 %", "12 s left"], (), 30)
    'Features o...  37 %  12 s left'
    """
    tail = "  ".join(head)
    if tail:
        name = _cut(spelled(name), max(0, width - len(tail) - 2))
        line = f"{name}  {tail}" if name else _cut(tail, width)
    else:
        line = _cut(spelled(name), width)
    for detail in map(spelled, details):
        if width_of(line) + 2 + width_of(detail) > width:
            break
        line += f"  {detail}"
    return line


def _cut(text: str, width: int) -> str:
    if width_of(text) <= width:
        return text
    kept, used = "", len(_CUT)
    for character in text:
        used += width_of(character)
        if used > width:
            break
        kept += character
    return kept + _CUT if kept else ""


def width_of(text: str) -> int:
    """How many columns a terminal needs for a text.

    Args:
        text: The text.

    Example:

    >>> width_of("naïve"), width_of("情感")
    (5, 4)
    """
    return sum(map(_width, text))


def _width(character: str) -> int:
    if unicodedata.category(character) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def spelled(text: str) -> str:
    """A text as the screen shows it: on one line, and in the screen's own characters.

    Args:
        text: The text.
    """
    # The two joiners stay: emoji, Persian and Indic scripts need them.
    line = "".join(c if c.isprintable() or c in "\u200c\u200d" else " " for c in text)
    encoding = getattr(sys.stderr, "encoding", None) or "utf-8"
    return line.encode(encoding, "backslashreplace").decode(encoding, "replace")


def _draws() -> bool:
    """Whether a line on standard error can be drawn anew."""
    try:
        return sys.stderr.isatty() and os.environ.get("TERM", "") != "dumb"
    except (AttributeError, ValueError):  # there is none, or it is closed
        return False


def _columns() -> int:
    try:
        # `shutil` asks standard output, which may be a file while this is a terminal.
        found = os.get_terminal_size(sys.stderr.fileno()).columns
    except (OSError, ValueError, AttributeError):
        found = shutil.get_terminal_size((_USUAL_COLUMNS, 24)).columns
    return found or _USUAL_COLUMNS


def _write(text: str) -> None:
    """Nobody need read it: what shows how far the work is never ends it."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        sys.stderr.write(text)
        sys.stderr.flush()
