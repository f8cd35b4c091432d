"""One of several processes that train together is killed: when the others end, and with what.

    python benchmarks/worker_ends.py [--workers N] [--rows N]

Starts processes by `TF_CONFIG`, and kills (`kill -9`) one of them, the last or the chief, while
features are computed, while a head trains on them, and while all layers do; the next ones go on
with the same training. Writes `benchmarks/worker_ends.json`: seconds from the kill to the end of
the last of the others, and their exit statuses, 75 where they say that the same command may go on.
"""

import argparse
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import harness
import numpy as np

from tfhub_transfer.jobs.processes import launching

RESULTS = Path(__file__).with_suffix(".json")
WORDS = "plot film story cast end music hero scene joke road night town voice dog sea war".split()
MOMENTS = ("features", "head", "fine tuning")
# Seconds in which a moment has to come, and the others have to end.
_LONGEST = 600.0


def rows(count: int, path: Path) -> None:
    """Writes so many texts, no two alike, of which features take a while."""
    picked = np.random.default_rng(0).integers(0, len(WORDS), (count, 12))
    lines = [
        f"{' '.join(WORDS[at] for at in each)} {number},{'ab'[each[0] % 2]}"
        for number, each in enumerate(picked)
    ]
    path.write_text("\n".join(["text,label", *lines]) + "\n", encoding="utf-8")


def started(root: Path, workers: int) -> list["subprocess.Popen[bytes]"]:
    """The command in so many processes, each with a part of the cores."""
    words = ["train", "--task", "classification", "--data", root / "rows.csv", "--encoder", "auto"]
    words += ["--epochs", 2, "--checkpoint-minutes", 0.02, "--output", root / "out"]
    threads = str(max(1, (os.cpu_count() or 1) // workers))
    shared = {**os.environ, "TFHUB_TRANSFER_CACHE_DIR": str(root / "cache")}
    shared |= {"TF_NUM_INTRAOP_THREADS": threads, "OMP_NUM_THREADS": threads}
    return [
        subprocess.Popen(
            [sys.executable, "-m", "tfhub_transfer", *map(str, words)],
            env={**shared, "TF_CONFIG": config},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for config in launching._configs(workers)
    ]


def moment(root: Path, began: float) -> str:
    """Where a training is that has begun, or gone on, since then."""
    notes = root / ".out.partial-training"
    try:
        written = (notes / "epoch.npz").stat().st_mtime
        with np.load(notes / "epoch.npz") as found:
            done = json.loads(found["record"].tobytes())["record"]["done"]
    except OSError:
        vectors = [each.stat().st_mtime for each in (root / "cache").rglob("*.vectors")]
        return MOMENTS[0] if max(vectors, default=0.0) > began else ""
    return MOMENTS[1 + done] if written > began else ""


def ended(root: Path, workers: int, wanted: str, place: int) -> dict[str, Any]:
    """What became of the others once one was killed at such a moment."""
    began = time.time()
    every = started(root, workers)
    while (found := moment(root, began)) != wanted:
        assert found in ("", *MOMENTS[: MOMENTS.index(wanted)]), f"{wanted} went by"
        assert all(each.poll() is None for each in every) and time.time() - began < _LONGEST, found
        time.sleep(0.05)
    every[place].send_signal(signal.SIGKILL)
    since = time.perf_counter()
    others = [each for each in every if each is not every[place]]
    statuses = [each.wait(_LONGEST) for each in others]
    seconds = round(time.perf_counter() - since, 1)
    every[place].wait()
    who = "worker" if place else "chief"
    return {"while": wanted, "killed": who, "seconds": seconds, "others": statuses}


def main() -> None:
    """Prints a line for each, and writes all of them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rows", type=int, default=20_000)
    options = parser.parse_args()
    root, found = Path(tempfile.mkdtemp(prefix="worker-ends-")), []
    rows(options.rows, root / "rows.csv")
    for wanted, place in itertools.product(MOMENTS, (options.workers - 1, 0)):
        found.append(ended(root, options.workers, wanted, place))
        print(found[-1], flush=True)
    shutil.rmtree(root)
    every = {"machine": harness.machine(), "processes": options.workers, "rows": found}
    RESULTS.write_text(json.dumps(every, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
