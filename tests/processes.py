"""Starts processes that train as one (see `jobs/workers_job.py`), for tests."""

import functools
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any


@functools.cache
def server() -> subprocess.Popen[str]:
    """A process that has imported TensorFlow, and forks the others."""
    job = Path(__file__).with_name("jobs") / "workers_job.py"
    # The replicas are of the CPU, and the package is this one.
    given = {
        "CUDA_VISIBLE_DEVICES": "-1",
        "PYTHONPATH": f"{job.parents[2]}{os.pathsep}{job.parents[1]}",
    }
    pipe = subprocess.PIPE
    return subprocess.Popen(
        [sys.executable, str(job)],
        env={**os.environ, **given, "TF_CPP_MIN_LOG_LEVEL": "3"},
        stdin=pipe,
        stdout=pipe,
        stderr=subprocess.DEVNULL,
        text=True,
    )


def end() -> None:
    """Ends it, if it was started."""
    if server.cache_info().currsize:
        with server():
            server().stdin.close()
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
