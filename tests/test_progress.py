"""Lines that say how far the work is: on terminals of any kind, in files, and nowhere."""

import io
import os
import pty
import re
import sys
import threading
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tfhub_transfer import progress
from tfhub_transfer.progress import beside, fitted, lasting, part, shown, stage, width_of


class Clock:
    """Time that passes when it is told to."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


class Screen(io.StringIO):
    """A terminal of so many columns, which remembers all that was written."""

    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


def seen(written: str) -> list[str]:
    """What a terminal shows of it: a carriage return goes back, and what follows covers."""
    rows = []
    for line in written.split("\n"):
        cells: list[str] = []
        place = 0
        for character in line:
            if character == "\r":
                place = 0
                continue
            size = width_of(character)
            if size:
                cells[place : place + size] = [character, *[""] * (size - 1)]
            place += size
        rows.append("".join(cells).rstrip())
    return rows


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(progress, "_clock", clock)
    monkeypatch.setattr(progress, "_TICK_SECONDS", 1e6)  # nothing moves by itself
    monkeypatch.setattr(progress, "peak_memory", lambda: 812_000_000)
    return clock


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Screen:
    screen = Screen()
    monkeypatch.setenv("TERM", "xterm")
    watch(screen, monkeypatch)
    monkeypatch.setattr(progress, "_columns", lambda: 80)
    return screen


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    file = io.StringIO()
    watch(file, monkeypatch)
    return file


def watch(stream: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Takes a stream for standard error; pytest sets that of `sys` anew for each test."""
    monkeypatch.setattr(progress, "sys", types.SimpleNamespace(stderr=stream, stdout=sys.stdout))


@pytest.fixture(autouse=True)
def _asked_for() -> Iterator[None]:
    with shown(True):
        yield


def test_a_terminal_sees_one_line_with_the_time_left(clock: Clock, terminal: Screen) -> None:
    with stage("Features", 200, "texts") as features:
        assert seen(terminal.getvalue()) == ["Features  0 %"]
        for seconds in (10.0, 3.0, 3.0, 3.0):
            clock.now += seconds
            features.add(25)
        # By the pace since the first step: 100 are left, at 25 in 3 s.
        assert seen(terminal.getvalue()) == ["Features  50 %  12 s left"]
        features.tell("loss 0.25")
        clock.now += 3.0
        features.add(25)
        assert seen(terminal.getvalue()) == ["Features  62 %  9 s left  loss 0.25"]
    assert seen(terminal.getvalue()) == [
        "Features: 200 texts in 22 s (9/s, peak memory 812 MB)",
        "",
    ]
    assert "\x1b" not in terminal.getvalue()


def test_a_file_sees_the_last_line_alone(clock: Clock, log: io.StringIO) -> None:
    with stage("Features", 12_000, "texts") as features:
        clock.now += 15.0
        features.add(6_000)
    with stage("Loading", final=False):
        pass
    with stage("Exporting"):
        clock.now += 0.44
    assert log.getvalue().splitlines() == [
        "Features: 12,000 texts in 15 s (800/s, peak memory 812 MB)",
        "Exporting: 0.4 s (peak memory 812 MB)",
    ]


def test_a_long_stage_reports_ever_more_seldom_to_a_file(clock: Clock, log: io.StringIO) -> None:
    with stage("Features", 1000, "texts") as features:
        for _ in range(1000):
            clock.now += 1.0
            features.add(1)
    lines = log.getvalue().splitlines()
    assert lines[:2] == ["Features  3 %  16 min 10 s left", "Features  6 %  15 min 40 s left"]
    assert [line.split()[1] for line in lines[2:5]] == ["12", "24", "48"]
    assert lines[6:] == ["Features: 1,000 texts in 16 min 40 s (1/s, peak memory 812 MB)"]


@pytest.mark.parametrize("term", ["dumb"])
def test_a_dumb_terminal_is_a_file(
    term: str, clock: Clock, terminal: Screen, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", term)
    with stage("Features", 2, "texts") as features:
        clock.now += 1.0
        features.add(2)
    assert terminal.getvalue() == "Features: 2 texts in 1.0 s (2/s, peak memory 812 MB)\n"


@pytest.mark.parametrize("columns", [1, 2, 5, 10, 20, 30, 40, 80, 120, 400])
@pytest.mark.parametrize(
    "name", ["Features", "情感分析" * 20, "", "e\u0301" * 50, "👍🏽 praise", "a\tb\n"]
)
def test_a_line_never_leaves_its_row(
    name: str, columns: int, clock: Clock, terminal: Screen, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "_columns", lambda: columns)
    with stage(name, 100, final=False) as features:
        for number in range(5):
            features.tell(f"epoch {number} of 5", "loss 0.3210", *(40 * ["感 0.9"]))
            clock.now += 10.0
            features.add(15)
    for drawn in re.split(r"[\r\n]", terminal.getvalue()):
        assert width_of(drawn) <= min(columns - 1, 120) or not drawn.strip()
        assert drawn.isprintable()
    assert not any(seen(terminal.getvalue()))  # it leaves nothing


def test_what_fits_least_goes_first() -> None:
    head, details = ["37 %", "12 s left"], ("epoch 2 of 4", "loss 0.3210", "val_accuracy 0.9123")
    wide = "Head  37 %  12 s left  epoch 2 of 4  loss 0.3210  val_accuracy 0.9123"
    assert fitted("Head", head, details, 80) == wide
    assert fitted("Head", head, details, 60) == "Head  37 %  12 s left  epoch 2 of 4  loss 0.3210"
    assert fitted("Head", head, details, 40) == "Head  37 %  12 s left  epoch 2 of 4"
    assert fitted("The head of all", head, details, 25) == "The h...  37 %  12 s left"
    assert fitted("情感分析情感分析", head, (), 25) == "情感...  37 %  12 s left"
    assert fitted("Head", head, details, 10) == "37 %  1..."
    assert fitted("The head of all", [], details[:1], 10) == "The hea..."
    assert fitted("Head", [], details[:1], 20) == "Head  epoch 2 of 4"


def test_screens_without_the_signs_spell_them(terminal: Screen) -> None:
    terminal.encoding = "ascii"
    with stage("naïve"):
        pass
    assert terminal.getvalue().isascii() and "na\\xefve: " in terminal.getvalue()


def test_parts_count_for_what_they_are_worth(clock: Clock, terminal: Screen) -> None:
    shares = []
    with stage("Features", 220, "examples") as features:
        for count in (200, 20):
            with part(worth=count), part("Features", count) as steps:
                steps.expect(count // 2)  # the others are known
                for _ in range(2):
                    with part(worth=count // 4), part("texts", 10) as batches:
                        batches.add(5)
                        shares.append(features.fraction())
                        batches.add(5)
    assert shares == pytest.approx([50 / 220, 150 / 220, 205 / 220, 215 / 220])
    assert features.done == 220 and features.fraction() == 1.0
    # What knows no number of its own shows its part's.
    with stage("Measuring") as measuring:
        with part("answers", 4) as answers:
            clock.now += 2.0
            answers.add(1)
            assert seen(terminal.getvalue())[-1] == "Measuring: answers  25 %  6 s left"
        clock.now += 5.0
        measuring.add(0)
        assert seen(terminal.getvalue())[-1] == "Measuring  7 s"
        with part("baselines"):
            clock.now += 5.0
            measuring.add(0)
            assert seen(terminal.getvalue())[-1] == "Measuring: baselines  12 s"


def test_what_the_clock_ends_has_no_more_time_left_than_that(
    clock: Clock, terminal: Screen
) -> None:
    with stage("Trials") as endless, part("epochs", 4) as epochs:
        endless.ends = clock.now + 90.0
        for seconds, told in ((30.0, "60 s"), (50.0, "10 s"), (40.0, "0 s")):
            clock.now += seconds
            epochs.add(1)
            assert f"  {told} left  " in endless.line(80) and "%" not in endless.line(80)
    with stage("Trials", 4) as counted:
        for _ in range(2):
            clock.now += 6.0
            counted.add(1)
        for ends, told in ((100.0, "12 s"), (5.0, "5 s")):
            counted.ends = clock.now + ends
            assert counted.line(80) == f"Trials  50 %  {told} left"


def test_time_left_is_never_negative_nor_wild(clock: Clock, terminal: Screen) -> None:
    with stage("Odd", 10) as odd:
        for step in (5, 3, 9, -12, 0, 40, 2):
            clock.now += 1.0
            odd.add(step)
            assert 0.0 <= (odd.fraction() or 0.0) <= 1.0
        odd.expect(0)
        clock.now += 1.0
        odd.add(0)
    assert "-" not in terminal.getvalue()
    assert "100 %" in terminal.getvalue()


def test_what_is_printed_meanwhile_stands_in_a_line_of_its_own(
    clock: Clock, terminal: Screen, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdout", terminal)  # where `print` writes
    with stage("Features", 4, final=False) as features:
        progress.say("an epoch")
        clock.now += 1.0
        features.add(1)
        terminal.write("a warning of many words, more than are in the line\n")
        clock.now += 1.0
        features.add(1)
        assert seen(terminal.getvalue()) == [
            "an epoch",
            "a warning of many words, more than are in the line",
            "Features  50 %  2 s left",
        ]


def test_a_stage_within_takes_the_place(clock: Clock, terminal: Screen) -> None:
    with stage("Outer", 2, "things") as outer:
        with stage("Inner", 2, "steps") as inner:
            clock.now += 1.0
            outer.add(1)
            inner.add(1)
            assert seen(terminal.getvalue()) == ["Inner  50 %  1 s left"]
        clock.now += 1.0
        outer.add(0)
        assert seen(terminal.getvalue())[:-1] == [
            "Inner: 2 steps in 1.0 s (2/s, peak memory 812 MB)"
        ]
        assert seen(terminal.getvalue())[-1].startswith("Outer  50 %")


def test_a_stage_that_fails_is_taken_away(clock: Clock, terminal: Screen, log: Any) -> None:
    for stream in (terminal, log):
        with pytest.MonkeyPatch.context() as patched, pytest.raises(KeyboardInterrupt):
            watch(stream, patched)
            with stage("Features", 2):
                raise KeyboardInterrupt
        assert not any(seen(stream.getvalue()))
    assert progress._SCREEN._stages == []


def test_nobody_who_did_not_ask_is_shown_anything(clock: Clock, terminal: Screen) -> None:
    with shown(False), stage("Features", 2, "texts") as features, part("of", 2) as steps:
        clock.now += 100.0
        steps.add(1)
        features.add(1)
    heard = []
    thread = threading.Thread(target=lambda: heard.append(quietly()))
    thread.start()
    thread.join()
    assert terminal.getvalue() == "" and heard == [None]


def quietly() -> None:
    with stage("Features", 2, "texts"), part() as steps:
        steps.add(1)


def test_two_threads_share_the_line(clock: Clock, terminal: Screen) -> None:
    both = threading.Barrier(2)

    def work(name: str) -> None:
        with shown(True), progress.titled(name), stage("Features", 50, "texts") as features:
            both.wait()
            for _ in range(50):
                clock.now += 0.11
                features.add(1)
            both.wait()

    threads = [threading.Thread(target=work, args=(name,)) for name in ("one", "two")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    rows = seen(terminal.getvalue())
    assert sorted(row[: len("one: Features: 50 texts")] for row in rows) == [
        "",
        "one: Features: 50 texts",
        "two: Features: 50 texts",
    ]


class Gone(Screen):
    """A terminal that was closed."""

    def write(self, text: str) -> int:
        raise BrokenPipeError(32, "Broken pipe")


@pytest.mark.parametrize("kind", ["gone", "closed", "none", "bare"])
def test_work_goes_on_when_nobody_reads(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    streams: dict[str, Any] = {"gone": Gone(), "closed": Screen(), "none": None, "bare": object()}
    streams["closed"].close()
    watch(streams[kind], monkeypatch)
    with stage("Features", 2, "texts") as features:
        features.add(2)
    assert features.done == 2
    assert progress.spelled("naïve")


def test_a_real_terminal_tells_its_width(monkeypatch: pytest.MonkeyPatch) -> None:
    import fcntl
    import struct
    import termios

    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 40, 0, 0))
    with open(follower, "w", encoding="utf-8") as screen:
        watch(screen, monkeypatch)
        monkeypatch.setenv("TERM", "xterm")
        assert progress._columns() == 40
        with stage("Reading a file of a long name, which is cut", 10, "texts") as features:
            features.tell("and details")
            features.show()
        fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 0, 0, 0, 0))
        monkeypatch.setenv("COLUMNS", "0")
        assert progress._columns() == 80
        data = b""
        while b"texts in" not in data:
            data += os.read(leader, 10_000)
        written = data.decode().replace("\r\n", "\n")
    os.close(leader)
    drawn = [each for each in written.split("\r") if each.strip() and "\n" not in each]
    assert drawn and all(width_of(each) <= 39 for each in drawn)
    assert seen(written)[0].startswith("Reading a file of a long name, which is cut: 10 texts in")


def test_times_in_words() -> None:
    times = [0, 0.04, 9.94, 9.96, 59.4, 119, 120, 125, 3599, 3600, 7260, 360_000]
    assert [lasting(seconds) for seconds in times] == [
        *("0.0 s", "0.0 s", "9.9 s", "10 s", "59 s", "119 s", "2 min", "2 min 5 s"),
        *("59 min 59 s", "1 h", "2 h 1 min", "100 h"),
    ]
    assert lasting(-3) == "0.0 s" and lasting(3.4, 0) == "3 s"


def test_memory_is_what_the_system_says() -> None:
    block = bytearray(60_000_000)
    block[::4096] = b"x" * len(block[::4096])
    held = int(Path("/proc/self/statm").read_text("ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")
    # The system counts in its own time.
    assert 0.95 * held <= progress.peak_memory() < 100 * held
    assert progress.pace(0.0, 5, "texts").startswith(" (peak memory ")
    assert progress.pace(0.5, 5, "texts").startswith(" (10 texts/s, peak memory ")


def test_what_is_beside_tells_where_nothing_else_does(clock: Clock, terminal: Screen) -> None:
    with stage("Reading") as reading:
        with beside(200) as first, beside(10) as second:
            second.add(5)  # of two at a time the first
            first.add(50)
            assert reading.fraction() == 0.25
        assert reading.fraction() is None
        with part("rows", 10) as rows, beside(4) as third:
            third.add(3)
            rows.add(1)
            assert reading.fraction() == 0.1
    with stage("Answering", 10) as answering, beside(4) as file:
        file.add(4)
        assert answering.fraction() == 0.0
    with beside(3) as alone:  # of no stage
        alone.add(3)
