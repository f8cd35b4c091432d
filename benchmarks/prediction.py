"""Texts a second and milliseconds a request of an exported model, beside the peers' fastest.

python benchmarks/prediction.py
"""

import argparse
import functools
from collections.abc import Callable
from typing import Any

import harness

DATA = {
    "SST-2 test": ("--dataset", "sst2", "--sequence-length", "128"),
    "1000 IMDB reviews at 256": ("--dataset", "imdb", "--every", "5", "--sequence-length", "256"),
}


def _turn(options: argparse.Namespace, job: str, *extra: str) -> dict[str, Callable[[], Any]]:
    """Both sides at both precisions."""
    return {
        f"{side} {p}": functools.partial(run, options, job, "--precision", p, *extra)
        for p in harness.PRECISIONS
        for side, run in (("peer", harness.peer), ("ours", harness.ours))
    }


def main() -> None:
    """Measures and prints."""
    needs = ("data_folder", "encoder", "weights", "peer_python")
    options = harness.parse(harness.arguments(__doc__), needs)
    rows, raw = [], {}
    for name, chosen in DATA.items():
        runs = harness.in_turn(_turn(options, "predict", *chosen), options.repeat)
        texts = runs["ours bfloat16"][0]["texts"]
        ours, theirs = (texts / harness.best(runs, who, "seconds")[1] for who in ("ours", "peer"))
        rows.append([f"{name}, texts/s", ours, theirs, ours / theirs, ">= 1.2"])
        raw[name] = runs
    runs = harness.in_turn(_turn(options, "latency"), options.repeat)
    ours, theirs = (harness.best(runs, who, "seconds")[0] for who in ("ours", "peer"))
    for shown, way, part, aim in (
        ("one request, p50 ms, beside the pipeline", "pipeline", "p50", "<= 0.7"),
        ("one request, p99 ms, beside the pipeline", "pipeline", "p99", "<= 0.8"),
        ("one request, p50 ms, beside the bare model", "bare", "p50", ""),
    ):
        own = 1e3 * harness.median(runs[ours], part)
        other = 1e3 * harness.median([run[way] for run in runs[theirs]], part)
        rows.append([shown, own, other, own / other, aim])
    raw["latency"] = runs
    header = ["exported model", "ours", "best peer", "ratio", "aim"]
    harness.report("prediction", header, rows, raw)


if __name__ == "__main__":
    main()
