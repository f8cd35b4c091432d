"""Starts processes that train as one (see `jobs/processes/workers_job.py`), for tests."""

import functools
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any


@functools.cache
def server(job: str = "jobs/processes/workers_job.py") -> subprocess.Popen[str]:
    """A process that has imported TensorFlow, and forks the others.

    Args:
        job: Its script, in the folder of the tests.
    """
    tests = Path(__file__).parent
    # The replicas are of the CPU, and the package is this one.
    given = {
        "CUDA_VISIBLE_DEVICES": "-1",
        "PYTHONPATH": f"{tests.parent}{os.pathsep}{tests}",
    }
    pipe = subprocess.PIPE
    started = subprocess.Popen(
        [sys.executable, str(tests / job)],
        env={**os.environ, **given, "TF_CPP_MIN_LOG_LEVEL": "3"},
        stdin=pipe,
        stdout=pipe,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    _started.append(started)
    return started


_started: list[subprocess.Popen[str]] = []


def end() -> None:
    """Ends those that were started."""
    while _started:
        with _started.pop() as each:
            each.stdin.close()
    server.cache_clear()


def start(case: str, count: int, output: Path, *given: object) -> list[int]:
    """Starts a case in so many processes; their ids."""
    print(json.dumps([case, count, str(output), *map(str, given)]), file=server().stdin, flush=True)
    found: list[int] = json.loads(server().stdout.readline())
    return found


def statuses() -> list[int]:
    """Their exit statuses, once all have ended."""
    found: list[int] = json.loads(server().stdout.readline())
    return found


def run(case: str, count: int, output: Path, *given: object) -> Any:
    """Runs a case to its end, which is to be a good one."""
    start(case, count, output, *given)
    found = statuses()
    errors = [each.read_text("utf-8") for each in sorted(output.glob("*.txt"))]
    assert found == [0] * count, "\n".join([str(found), *errors])
