"""Exports side by side: size, cold start, latencies, texts a second, test score, by precision.

    python benchmarks/exports.py [--earlier CHECKOUT] [--repeat 3]

A head is trained on SST-2, frozen encoder, and exported at each precision; `--earlier` does so by
another checkout of this package too. Each export is then loaded by processes of their own, in
turns, as a server loads it: by TensorFlow's session loader. Time is CPU time of the whole process,
of all threads, which says more than a clock on a machine that does other work. Peers take their
turns in `runs` of `main`. Writes `benchmarks/exports.json`.
"""

import argparse
import functools
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import harness

PRECISIONS = ("float32", "bfloat16", "int8")
_TEXT = "it was a very good film with a surprising end and fine actors , though slow in places"
_CALLS = {1: 200, 32: 30}


def write(encoder: str, data: str, folder: Path, precisions: list[str]) -> dict[str, Any]:
    """Trains a head and exports it; seconds of each export, which a process of its own prints."""
    import tfhub_transfer as tt

    train, validation = (
        tt.data.read(f"{data}/sst2/{name}.jsonl") for name in ("train", "validation")
    )
    tt.runtime.seed_everything(0)
    task = tt.tasks.Classification().adapt(train.labels)
    model = tt.build_model(encoder, task)
    tt.fine_tune(model, train[:3000], validation, unfreeze="none", plan=tt.Plan(verbose=0))
    found = {}
    for precision in precisions:
        wall, cpu = time.perf_counter(), time.process_time()
        version = tt.export_saved_model(model, folder / precision, precision)
        found[precision] = {
            "export s": time.perf_counter() - wall,
            "export CPU s": time.process_time() - cpu,
            "MB": sum(p.stat().st_size for p in version.rglob("*") if p.is_file()) / 1e6,
        }
    return found


def serve(folder: Path, data: str) -> dict[str, float]:
    """Loads an export as a server does and asks it; CPU time since TensorFlow was imported."""
    import resource

    import numpy as np
    import tensorflow as tf
    import tensorflow_text  # noqa: F401  registers its operations

    v1 = tf.compat.v1
    started = time.process_time()
    session = v1.Session(graph=tf.Graph())
    with session.graph.as_default():
        meta = v1.saved_model.loader.load(session, ["serve"], str(folder))
    signature = meta.signature_def["serving_default"]
    fetched = [signature.outputs[name].name for name in ("scores", "label")]

    def ask(texts: list[str]) -> Any:
        return session.run(fetched, {signature.inputs["text"].name: texts})

    ask([_TEXT])
    found = {"cold CPU s": time.process_time() - started}
    found["cold MB"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    for size, calls in _CALLS.items():
        ask([_TEXT] * size)
        clocks, before = [], time.process_time()
        for _ in range(calls):
            clock = time.perf_counter()
            ask([_TEXT] * size)
            clocks.append(time.perf_counter() - clock)
        found[f"CPU ms, batch {size}"] = 1e3 * (time.process_time() - before) / calls
        for share in (50, 99):
            found[f"p{share} ms, batch {size}"] = 1e3 * float(np.percentile(clocks, share))
    rows = [json.loads(line) for line in Path(data, "sst2", "test.jsonl").read_text().splitlines()]
    rows.sort(key=lambda row: len(row["text"]))
    before, right = time.process_time(), 0
    for start in range(0, len(rows), 64):
        batch = rows[start : start + 64]
        labels = ask([row["text"] for row in batch])[1]
        right += sum(a.decode() == str(row["label"]) for a, row in zip(labels, batch))
    found["texts a CPU second"] = len(rows) / (time.process_time() - before)
    found["test accuracy"] = right / len(rows)
    return found


def _by(python_path: str | None, *command: str) -> dict[str, Any]:
    """What a process of its own printed last."""
    env = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    if python_path:
        env["PYTHONPATH"] = python_path
    asked = [sys.executable, __file__, *command]
    done = subprocess.run(asked, env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stderr[-3000:])
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def _child(arguments: list[str]) -> None:
    job, *rest = arguments
    if job == "write":
        encoder, data, folder, precisions = rest
        print(json.dumps(write(encoder, data, Path(folder), precisions.split(","))))
    else:
        print(json.dumps(serve(Path(rest[0]), rest[1])))


def main() -> None:
    """Measures and prints."""
    parser = harness.arguments(__doc__)
    parser.add_argument("--earlier", help="another checkout, to compare with")
    options: argparse.Namespace = harness.parse(parser, ("data_folder", "encoder"))
    with tempfile.TemporaryDirectory() as work:
        folders: dict[str, Path] = {}
        written: dict[str, Any] = {}
        trees = {"earlier ": options.earlier, "": os.environ.get("PYTHONPATH")}
        for name, tree in trees.items():
            wanted = PRECISIONS[:2] if name else PRECISIONS
            if name and not tree:
                continue
            place = Path(work, name.strip() or "now")
            given = (options.encoder, options.data_folder, str(place), ",".join(wanted))
            found = _by(tree, "write", *given)
            written |= {name + precision: found[precision] for precision in wanted}
            folders |= {name + precision: place / precision / "1" for precision in wanted}
        runs: dict[str, Callable[[], dict[str, Any]]] = {
            name: functools.partial(_by, None, "serve", str(folder), options.data_folder)
            for name, folder in folders.items()
        }
        done = harness.in_turn(runs, options.repeat, "cold CPU s")
    keys = list(next(iter(done.values()))[0])
    header = ["export", *next(iter(written.values())), *keys]
    rows = [
        [name, *written[name].values(), *(harness.median(runs_, key) for key in keys)]
        for name, runs_ in done.items()
    ]
    harness.report("exports", header, rows, {"written": written, "served": done})


if __name__ == "__main__":
    if sys.argv[1:2] and sys.argv[1] in ("write", "serve"):
        _child(sys.argv[1:])
    else:
        main()
