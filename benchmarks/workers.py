"""Steps of processes that train together, of one batch and of a growing one; what more would cost.

python benchmarks/workers.py

Each process has one core; three share two. The network here is the machine's own, so what others
would take is computed: `2 (n - 1) / n` times the gradients, as all-reduce in a ring sends them.
"""

import functools
import json
import os
import socket
import subprocess
import sys
from typing import Any

import harness

STAGES = ("frozen", "boundary", "thawed")
NETWORKS = (10, 100)  # Gbit/s
MILLION = 1_000_000
BATCH = 32
# How many processes, and rows of the batch of all of them.
TOGETHER = ((1, BATCH), (2, BATCH), (3, BATCH), (2, 2 * BATCH))


def main() -> None:
    """Measures, computes and prints."""
    options = harness.parse(harness.arguments(__doc__), ("data_folder", "encoder"))
    turn = {
        f"{stage}, {count} x {batch // count}": functools.partial(
            together, options, stage, count, batch
        )
        for stage in STAGES
        for count, batch in TOGETHER
    }
    runs = harness.in_turn(turn, options.repeat)
    rows: list[list[Any]] = []
    for stage in STAGES:
        made = [runs[f"{stage}, {count} x {batch // count}"] for count, batch in TOGETHER]
        times = [harness.median(each, "seconds") for each in made]
        one, size = times[0], made[0][0]["gradient_mb"]
        rows.append(
            [
                stage,
                size,
                *(1000 * each for each in times),
                one / times[1],
                *(
                    min(count, os.cpu_count() or 1) * core_hours(batch, seconds)
                    for (count, batch), seconds in zip(TOGETHER, times, strict=True)
                ),
                *(core_hours(BATCH, one + sent(size, gigabits)) for gigabits in NETWORKS),
                *(1000 * sent(size, gigabits) for gigabits in NETWORKS),
            ]
        )
    names = ["1 process", "2", "3", "2 of 32 rows each"]
    header = ["32 rows a step", "gradients MB", *(f"{name}, ms" for name in names)]
    header += ["speed-up of 2", *(f"{name}, core hours a million rows" for name in names)]
    header += [f"many of 32 rows each, at {each} Gbit/s: the same" for each in NETWORKS]
    header += [f"ms a step, sent at {each} Gbit/s" for each in NETWORKS]
    harness.report("workers", header, rows, runs)


def core_hours(batch: int, seconds: float) -> float:
    """What a million rows take one core, at so many seconds a step."""
    return MILLION / batch * seconds / 3600


def sent(megabytes: float, gigabits: int) -> float:
    """Seconds of a step that sending gradients takes, among many."""
    return 2 * megabytes * 8e-3 / gigabits


def together(options: Any, stage: str, count: int, batch: int) -> dict[str, Any]:
    """What the first of so many processes printed."""
    script = str(harness.RUNS / "worker.py")
    given = ["--data-folder", options.data_folder, "--encoder", options.encoder]
    addresses = [f"127.0.0.1:{port}" for port in ports(count)]
    started = []
    for index in range(count):
        environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
        if count > 1:
            task = {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}}
            environment["TF_CONFIG"] = json.dumps(task)
        command = [sys.executable, script, stage, *given, "--core", str(index)]
        command += ["--batch", str(batch)]
        started.append(
            subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
        )
    said = [each.communicate()[0] for each in started]
    if any(each.returncode for each in started):
        sys.exit(f"{stage} in {count} processes failed")
    found: dict[str, Any] = json.loads(said[0].strip().splitlines()[-1])
    return found


def ports(count: int) -> list[int]:
    """Some that nobody listens at."""
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    found = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return found


if __name__ == "__main__":
    main()
