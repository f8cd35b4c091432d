"""`--workers N`: what it refuses, and how the processes end, which aren't ours here."""

import dataclasses
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import tensorflow as tf

from tfhub_transfer import cli
from tfhub_transfer.errors import Ended, InputError
from tfhub_transfer.jobs.options.training import DemoJob, TrainJob
from tfhub_transfer.jobs.options.tuning import TuneJob
from tfhub_transfer.jobs.processes import launching, workers
from tfhub_transfer.jobs.trainings import demonstration, training
from tfhub_transfer.runtime import machine

JOB = TrainJob("classification", "rows.csv", Path("out"), workers=2)
SEARCH = TuneJob("classification", "rows.csv", Path("out"), workers=2)


@pytest.mark.parametrize(
    ("words", "config", "message"),
    [
        (["--strategy", "mirrored"], "", "leave `--strategy` out. Received: --workers 2"),
        (["--strategy", "none"], "", "leave `--strategy` out. Received: --workers 2"),
        ([], "{}", "TF_CONFIG names the processes of a training already"),
        (["--workers", "0"], "", "`--workers` must be a whole number from 1 to 64"),
    ],
)
def test_what_it_refuses(
    words: list[str],
    config: str,
    message: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TF_CONFIG", config)
    train = ["train", "--task", "classification", "--data", "rows.csv", "--output", "out"]
    assert cli.main([*train, "--workers", "2", *words]) == 2
    assert message in capsys.readouterr().err


def test_it_says_for_whom_it_waits(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "to_meet", {"auto": ["a:1", "b:2"], "none": []}.get)
    monkeypatch.setattr(machine, "start", lambda name: os.write(2, b"noise"))
    with cli._tensorflow(JOB):
        pass
    assert capfd.readouterr().err == "tfhub-transfer: waiting for 2 other processes at a:1, b:2\n"
    with cli._tensorflow(dataclasses.replace(JOB, strategy="none")):
        pass
    assert capfd.readouterr().err == ""


def test_python_starts_none() -> None:
    with pytest.raises(InputError, match="started by the command .* Received: workers=2"):
        training.train(JOB)


@pytest.fixture
def as_processes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """Runs lines of Python in the place of the command, each in its process."""
    usual = subprocess.Popen

    def run(*lines: str) -> int:
        def start(command: list[str], env: dict[str, str], **more: Any) -> Any:
            task = json.loads(env["TF_CONFIG"])["task"]["index"]
            assert command[-2:] == ["--workers", "1"] and command[3:-2] == ["train"]
            known = (
                f"import os, sys, time, signal, pathlib; place = pathlib.Path({str(tmp_path)!r})\n"
            )
            return usual([sys.executable, "-c", known + lines[task]], env=env, **more)

        monkeypatch.setattr(launching.subprocess, "Popen", start)
        return launching.launch(JOB, ["train"])

    monkeypatch.delenv("TF_CONFIG", raising=False)
    monkeypatch.setattr(launching, "_PATIENCE", 0.5)
    monkeypatch.setattr(launching, "_MERCY", 0.5)
    return run


def test_the_first_speaks_for_all(as_processes: Any, capfd: pytest.CaptureFixture[str]) -> None:
    said = "print('said', os.environ['TF_CONFIG'].count('127.0.0.1:')); sys.exit(%d)"
    assert as_processes(said % 0, said % 0) == 0
    assert capfd.readouterr().out == "said 2\n"
    assert as_processes(said % 2, said % 2) == 2
    assert as_processes("os.kill(os.getpid(), signal.SIGKILL)", said % 0) == 137


def test_what_ended_another_is_told(
    as_processes: Any, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    breaks = "(place / 'broke').touch(); sys.exit('it broke')"
    # Where it is told to end, as it waits for the other.
    assert as_processes("time.sleep(600)", breaks) == 1
    own = "signal.signal(signal.SIGTERM, lambda *_: sys.exit(75)); time.sleep(600)"
    assert as_processes(own, "time.sleep(0.5); sys.exit(3)") == 75
    assert "it broke" in capfd.readouterr().err
    assert as_processes("time.sleep(600)", "os.kill(os.getpid(), signal.SIGKILL)") == 75
    assert "another process was ended by signal 9; start the command" in capfd.readouterr().err
    monkeypatch.setattr(launching, "_PATIENCE", 60.0)
    # Not where it knows itself, or needs none.
    for status, told in ((75, True), (1, True), (2, False), (0, False)):
        after = "while not (place / 'broke').exists(): time.sleep(0.01)\ntime.sleep(0.5)\n"
        assert as_processes(f"{after}sys.exit({status})", breaks) == status
        assert ("it broke" in capfd.readouterr().err) == told


@pytest.fixture
def as_search(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """Runs lines of Python in the place of a chief and its two workers."""
    usual = subprocess.Popen

    def run(*lines: str) -> int:
        def start(command: list[str], env: dict[str, str], **more: Any) -> Any:
            names = ("chief", "worker1", "worker2")
            number = names.index(env["KERASTUNER_TUNER_ID"])
            threads = max(1, len(os.sched_getaffinity(0)) // 2)
            assert env.get("OMP_NUM_THREADS") == (str(threads) if number else None)
            assert command[-2:] == ["--workers", "1"] and command[3:-2] == ["tune"]
            known = f"import os, sys, time, pathlib; place = pathlib.Path({str(tmp_path)!r})\n"
            return usual([sys.executable, "-c", known + lines[number]], env=env, **more)

        monkeypatch.setattr(launching.subprocess, "Popen", start)
        return launching.launch(SEARCH, ["tune"])

    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(launching, "_PATIENCE", 0.5)
    monkeypatch.setattr(launching, "_MERCY", 0.5)
    return run


def test_a_search_goes_on_with_any_worker(
    as_search: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    breaks = "sys.exit('it broke')"
    asks = "print(os.environ['KERASTUNER_ORACLE_IP']); time.sleep(2); (place / 'done').touch()"
    waits = "while not (place / 'done').exists(): time.sleep(0.01)\n"
    assert as_search(asks, breaks, waits) == 0
    assert capfd.readouterr().out == "127.0.0.1\n"
    # Without any it is told to end.
    assert as_search("time.sleep(600)", breaks, "sys.exit(0)") == 1
    assert "it broke" in capfd.readouterr().err
    # Also where none of them failed, so that there is nothing else to say.
    assert as_search("time.sleep(600)", "sys.exit(0)", "sys.exit(0)") == 128 + signal.SIGTERM


def test_a_search_that_is_told_of_its_processes_starts_none(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KERASTUNER_ORACLE_PORT", "8000")
    words = ["tune", "--task", "classification", "--data", "rows.csv", "--output", "out"]
    assert cli.main([*words, "--workers", "2"]) == 2
    said = capsys.readouterr().err
    assert "names the processes of a search already; leave `--workers` out" in said
    assert "Received: --workers 2 and KERASTUNER_ORACLE_PORT=8000" in said


def test_a_mistake_waits_for_nobody(as_processes: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[float] = []
    monkeypatch.setattr(launching, "_wait", lambda some, seconds: waited.append(seconds))
    assert as_processes("sys.exit(2)", "time.sleep(600)") == 2
    assert waited[0] == 0.0


def test_one_that_hears_nothing_is_killed(as_processes: Any) -> None:
    deaf = "signal.signal(signal.SIGTERM, signal.SIG_IGN); (place / 'deaf').touch(); "
    fails = "while not (place / 'deaf').exists(): time.sleep(0.01)\nsys.exit(3)"
    assert as_processes(f"{deaf}time.sleep(30)", fails) == 3


# Of a process that is told by its launcher, and tells it.
OWN = (
    f"import sys; sys.path.insert(0, {str(Path(__file__).parents[3])!r})\n"
    "from tfhub_transfer.jobs.processes import launching\n"
)


def test_the_first_ends_its_work_where_it_needs_none(as_processes: Any) -> None:
    """With more time for it than it has otherwise."""
    alone = f"{OWN}launching.heed(); launching.say_alone(); (place / 'alone').touch()\n"
    fails = "while not (place / 'alone').exists(): time.sleep(0.01)\nsys.exit(1)"
    assert as_processes(f"{alone}time.sleep(3); sys.exit(0)", fails) == 0


@pytest.mark.parametrize(
    ("waits", "status"),
    [
        ("print('ready', flush=True); time.sleep(600)", 75),
        # A step that lets no other thread run, as that in which they meet.
        ("with launching.bound(): print('ready', flush=True); C.sleep(600)", -signal.SIGIO),
    ],
)
def test_none_outlives_what_started_it(waits: str, status: int) -> None:
    own, its = socket.socketpair()
    lines = f"{OWN}import ctypes, time; C = ctypes.PyDLL(None); launching.heed()\n{waits}"
    process = subprocess.Popen(
        [sys.executable, "-c", lines],
        env={**os.environ, launching.LINK: str(its.fileno())},
        pass_fds=[its.fileno()],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    its.close()
    with process, own:
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
        own.close()
        try:
            assert process.wait(30) == status
        finally:
            process.kill()
        assert process.stderr is not None
        assert (launching.LEFT in process.stderr.read()) == (status == 75)


def test_the_end_waits_for_no_reader() -> None:
    """Of what it says last, in a pipe that is full and that nobody reads."""
    lines = f"{OWN}launching._SAYING = 0.1; launching.end('it' * 100_000)"
    with subprocess.Popen([sys.executable, "-c", lines], stderr=subprocess.PIPE) as process:
        try:
            assert process.wait(30) == 75
        finally:
            process.kill()


def test_none_outlives_the_others(as_processes: Any, tmp_path: Path) -> None:
    stays = "(place / 'id').write_text(str(os.getpid())); time.sleep(600)"
    gone = "while not (place / 'id').exists(): time.sleep(0.01)\n"
    assert as_processes(f"{gone}sys.exit(3)", stays) == 3
    assert not Path(f"/proc/{(tmp_path / 'id').read_text()}").exists()
    (tmp_path / "id").unlink()
    # One that fails takes the first with it, if that doesn't end by itself.
    assert as_processes(stays, f"{gone}sys.exit(3)") == 3


@pytest.mark.parametrize(("status", "raised"), [(0, KeyboardInterrupt), (130, Ended)])
def test_a_signal_reaches_the_first(
    status: int, raised: type[BaseException], as_processes: Any, tmp_path: Path
) -> None:
    """And is told of once, by one of the two."""
    heard = f"(place / 'heard').write_text('it'); sys.exit({status})"
    first = f"signal.signal(signal.SIGINT, lambda *_: exec({heard!r}))\n"
    ready = "(place / 'ready').write_text('it')\ntime.sleep(600)"

    other = "(place / 'other').write_text('it')\ntime.sleep(600)"

    def interrupt() -> None:
        # While the second one is being started nobody knows of it yet.
        while not all((tmp_path / name).exists() for name in ("ready", "other")):
            time.sleep(0.01)
        signal.raise_signal(signal.SIGINT)

    # Shells start what runs behind them without.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    thread = threading.Thread(target=interrupt)
    try:
        thread.start()
        with pytest.raises(raised):
            as_processes(first + ready, other)
    finally:
        thread.join()
        signal.signal(signal.SIGINT, before)
    assert (tmp_path / "heard").exists()


def test_one_that_waits_for_nobody_ends_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """At the second look in a row at which another one doesn't answer."""
    over, ended = threading.Event(), []
    looks = iter([[True, True], [True, False], [True, True], [False], [False]])
    monkeypatch.setattr(workers.cluster, "others_answer", lambda seconds: next(looks))
    monkeypatch.setattr(workers, "_EVERY", 0.001)
    workers._watch(over, lambda: ended.append("it"))
    assert ended == ["it"] and not [*looks]


@pytest.mark.parametrize("there", [True, False])
def test_the_chief_waits_in_the_end_for_who_is_there(
    there: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone, looks = threading.Event(), list[float]()

    def together() -> None:
        if there:
            while len(looks) < 5:
                pass
        elif gone.wait(60):
            raise tf.errors.UnavailableError(None, None, "another process has ended")

    monkeypatch.setattr(workers.cluster, "others_answer", lambda s: [looks.append(s) or there])
    monkeypatch.setattr(workers.cluster, "together", together)
    monkeypatch.setattr(workers.cluster, "give_up", gone.set)
    monkeypatch.setattr(workers, "_EVERY", 0.001)
    workers._part()
    assert gone.is_set() is not there


def test_one_alone_is_in_step_with_itself() -> None:
    job = TrainJob("classification", "rows.csv", Path("out"))
    with workers.in_step(job) as (own, first):
        assert own is job and first(len) is len


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["distill", "teacher"], "`distill` works in one process; unset TF_CONFIG"),
        (["train", "--task", "multi-task", "--alone"], "`--alone` trains one task after the other"),
    ],
)
def test_what_one_process_does_waits_for_no_others(
    words: list[str],
    message: str,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cluster = {"worker": ["a:1", "b:2"]}
    config = json.dumps({"cluster": cluster, "task": {"type": "worker", "index": 0}})
    monkeypatch.setattr(machine, "start", lambda name: pytest.fail("it waits"))
    monkeypatch.setenv("TF_CONFIG", config)
    words = [*words, "--data", "rows.json", "--output", "out"]
    assert cli.main(words) == 2
    said = capfd.readouterr().err
    assert message in said and "2 processes" in said and "waiting" not in said


def test_none_is_started_for_what_one_process_does(capsys: pytest.CaptureFixture[str]) -> None:
    train = ["train", "--task", "multi-task", "--data", "tasks.json", "--output", "out"]
    assert cli.main([*train, "--alone", "--workers", "2"]) == 2
    assert "leave it out, or train without others" in capsys.readouterr().err
    distill = ["distill", "teacher", "--data", "texts.txt", "--output", "out"]
    assert cli.main([*distill, "--strategy", "multiworker"]) == 2
    assert "leave `--strategy multiworker` out" in capsys.readouterr().err


def test_the_demo_asks_for_no_others(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Whatever processes the environment names: TensorFlow has begun when it trains."""
    jobs: list[TrainJob] = []
    monkeypatch.setattr(demonstration, "train", jobs.append)
    with pytest.raises(AssertionError):  # nothing was trained
        demonstration.demonstrate(DemoJob(output=tmp_path / "demo"))
    assert [job.strategy for job in jobs] == ["none"]
