"""Steps of one, two and three processes that train together, and what more of them would cost.

python benchmarks/workers.py

Each process has one core; three share two. The network here is the machine's own, so what others
would take is computed: `2 (n - 1) / n` times the gradients, as all-reduce in a ring sends them.
"""

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


def main() -> None:
    """Measures, computes and prints."""
    options = harness.parse(harness.arguments(__doc__), ("data_folder", "encoder"))
    turn = {
        f"{stage}, {count}": lambda stage=stage, count=count: together(options, stage, count)
        for stage in STAGES
        for count in (1, 2, 3)
    }
    runs = harness.in_turn(turn, options.repeat)
    rows: list[list[Any]] = []
    for stage in STAGES:
        one, two, three = (harness.median(runs[f"{stage}, {n}"], "seconds") for n in (1, 2, 3))
        size, batch = (runs[f"{stage}, 1"][0][key] for key in ("gradient_mb", "batch"))
        rows.append(
            [
                stage,
                size,
                *(1000 * each for each in (one, two, three)),
                one / two,
                MILLION / batch * one / 3600,
                *(overtakes(size, one, gigabits) for gigabits in NETWORKS),
            ]
        )
    header = ["32 rows a step", "gradients MB", "1 process ms", "2 ms", "3 ms", "speed-up of 2"]
    header += ["hours a million rows, 1 core"]
    header += [f"ms a step, sent at {each} Gbit/s" for each in NETWORKS]
    harness.report("workers", header, rows, runs)


def overtakes(megabytes: float, seconds: float, gigabits: int) -> float:
    """Milliseconds of a step that sending takes, among many."""
    return 2 * megabytes * 8e-3 / gigabits * 1000


def together(options: Any, stage: str, count: int) -> dict[str, Any]:
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
