"""The cache of vectors: rows a second, and eight processes that share it while others evict.

    python benchmarks/stores.py [--rows 200000]

Writes `benchmarks/stores.json`.
"""

import argparse
import collections
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import harness
import numpy as np

RESULTS = Path(__file__).with_suffix(".json")
WIDTH = 384
PROCESSES = 8
TEXTS, SHARED_WIDTH = 4000, 64

# Each process asks for the same texts in its own order; stores of its own make others give way.
SHARE = """
import sys
import numpy as np
from tfhub_transfer.storage import names, stores
stores.ROWS_AT_ONCE = 200
number, texts, width = map(int, sys.argv[1:4])
order = np.random.default_rng(number).permutation(texts)
asked = names.digests([[f"text {n}" for n in order]])
computed, wrong, other_wrong = [], 0, 0
vectors, lost = np.empty((texts, width), "float32"), np.empty(texts, "int32")
for turn in range(3):
    def compute(rows):
        computed.extend((turn, int(n)) for n in order[rows])
        return np.repeat(order[rows, None], width, axis=1).astype("float32"), order[rows]
    stores.VectorStore(64 * "0", width).complete(asked, vectors, lost, compute)
    wrong += int((vectors != order[:, None]).any(axis=1).sum()) + int((lost != order).sum())
    own = lambda rows: (np.full((len(rows), width), number, "float32"), rows)
    name = f"{number}{turn % 2}".rjust(64, "f")
    stores.VectorStore(name, width).complete(asked, vectors, lost, own)
    wrong += int((vectors != number).any(axis=1).sum())
print(wrong, *(n for _, n in computed))
"""


def speed(rows: int) -> dict[str, Any]:
    """Rows a second: written in parts, then read 1,000 at random and all in order."""
    from tfhub_transfer.storage import names, stores

    rng = np.random.default_rng(0)
    made = rng.standard_normal((rows, WIDTH), dtype="float32")
    asked = names.digests([[str(n) for n in range(rows)]])
    vectors, lost = np.empty((rows, WIDTH), "float32"), np.zeros(rows, "int32")

    def seconds(order: np.ndarray, compute: Any) -> float:
        started = time.perf_counter()
        store = stores.VectorStore(64 * "1", WIDTH)
        store.complete(asked[order], vectors[: len(order)], lost[: len(order)], compute)
        return time.perf_counter() - started

    everything = np.arange(rows)
    write = seconds(everything, lambda some: (made[some], lost[some]))
    opening = min(seconds(everything[:1], None) for _ in range(3))
    store = stores.VectorStore(64 * "1", WIDTH)
    store.complete(asked[:1], vectors[:1], lost[:1], lambda some: (made[some], lost[some]))
    times = []
    for _ in range(50):
        order = rng.permutation(rows)[:1000]
        started = time.perf_counter()
        store.complete(asked[order], vectors[:1000], lost[:1000], lambda some: None)
        times.append(time.perf_counter() - started)
        assert (vectors[:1000] == made[order]).all()
    return {
        "rows": rows,
        "width": WIDTH,
        "written a second": round(rows / write),
        "opened and one row, ms": round(1000 * opening, 1),
        "read 1,000 at random, rows a second": round(1000 / float(np.median(times))),
        "read all, rows a second": round(rows / seconds(everything, None)),
    }


def shared() -> dict[str, Any]:
    """Errors, wrong vectors, and how often each text was computed by eight processes."""
    command = [sys.executable, "-c", SHARE]
    # Room for half of what all stores hold together.
    most = (1 + 2 * PROCESSES) * TEXTS * (4 * SHARED_WIDTH + 24) // 2
    environment = {**os.environ, "TFHUB_TRANSFER_CACHE_BYTES": str(most)}
    started = [
        subprocess.Popen(
            [*command, str(number), str(TEXTS), str(SHARED_WIDTH)],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(PROCESSES)
    ]
    ended = [(job, *job.communicate()) for job in started]
    counts: collections.Counter[str] = collections.Counter()
    wrong = 0
    for _, out, _ in ended:
        first, *computed = out.split()
        wrong += int(first)
        counts.update(computed)
    return {
        "processes": PROCESSES,
        "texts": TEXTS,
        "errors": sum(job.returncode != 0 for job, _, _ in ended),
        "warnings": sum("Warning" in err for _, _, err in ended),
        "wrong vectors": wrong,
        "a text was computed at most": max(counts.values()),
        "texts by times computed": dict(sorted(collections.Counter(counts.values()).items())),
    }


def main() -> None:
    """Prints and writes both tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=200_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as cache:
        os.environ["TFHUB_TRANSFER_CACHE_DIR"] = cache
        found = {"machine": harness.machine(), "speed": speed(options.rows), "shared": shared()}
    print(json.dumps(found, indent=1))
    RESULTS.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
