"""Exports side by side, and beside what others use: size, cold start, latencies, texts a second.

    python benchmarks/exports.py [--earlier CHECKOUT] [--repeat 1] [--every 2] [--work FOLDER]

A head is trained on SST-2, frozen encoder, and exported at each precision, for TF Serving, LiteRT
and ONNX; `--earlier` exports by another checkout of this package too. The peers are Hugging Face's
pipeline and ONNX Runtime on the same weights, each at two precisions, with a head of random
numbers: their scores say nothing, and aren't given. Each is then loaded and asked by a process of
its own (`runs/served.py`), all in turns. What is written stays in `--work`, if given, and is there
for the next run. Writes `benchmarks/exports.json`.
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
from typing import Any, NamedTuple

import harness

PRECISIONS = ("float32", "bfloat16", "int8")
LITE = ("float32", "int8")
_MEASURE = harness.RUNS / "served.py"
_WRITTEN = "written.json"


class Asked(NamedTuple):
    """What a process loads, by which Python, and what is known of how it was written."""

    kind: str
    path: Path
    python: str
    written: dict[str, float]


def write(encoder: str, data: str, folder: Path, formats: list[str]) -> dict[str, Any]:
    """Trains a head and exports it; seconds of each export, which a process of its own prints."""
    import tfhub_transfer as tt

    train, validation = (
        tt.data.read(f"{data}/sst2/{name}.jsonl") for name in ("train", "validation")
    )
    tt.runtime.seed_everything(0)
    task = tt.tasks.Classification().adapt(train.labels)
    model = tt.build_model(encoder, task)
    tt.fine_tune(model, train[:3000], validation, unfreeze="none", plan=tt.Plan(verbose=0))
    makes: dict[str, Callable[[], Path]] = {
        precision: functools.partial(tt.export_saved_model, model, folder / precision, precision)
        for precision in PRECISIONS
    }
    if "small" in formats:
        makes |= {
            f"litert {p}": functools.partial(tt.export_litert, model, folder / f"litert {p}", p)
            for p in LITE
        }
        makes["onnx"] = functools.partial(tt.export_onnx, model, folder / "onnx")
    found = {}
    for name in [name for name in makes if name in formats or "small" in formats]:
        wall, cpu = time.perf_counter(), time.process_time()
        version = makes[name]()
        spent = time.perf_counter() - wall, time.process_time() - cpu
        files = [p for p in version.rglob("*") if p.is_file()]
        # Of small formats the file that is loaded.
        counted = [p for p in files if p.suffix in (".tflite", ".onnx")] or files
        found[name] = {
            "export s": spent[0],
            "export CPU s": spent[1],
            "MB": sum(p.stat().st_size for p in counted) / 1e6,
        }
    return found


def _run(python: str, *command: str, tree: str | None = None) -> dict[str, Any]:
    """What a process of its own printed last."""
    env = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    if tree:
        env["PYTHONPATH"] = tree
    done = subprocess.run([python, *command], env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stderr[-3000:])
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def _once(folder: Path, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What was written into a folder, and what was said of it; at a second time only the latter."""
    note = folder / _WRITTEN
    if not note.exists():
        folder.mkdir(parents=True, exist_ok=True)
        note.write_text(json.dumps(make()), encoding="utf-8")
    found: dict[str, Any] = json.loads(note.read_text(encoding="utf-8"))
    return found


def _ours(options: argparse.Namespace, work: Path) -> dict[str, Asked]:
    found = {}
    trees = {"earlier ": options.earlier, "": os.environ.get("PYTHONPATH")}
    for name, tree in trees.items():
        if name and not tree:
            continue
        folder, formats = work / (name.strip() or "now"), "float32,bfloat16" if name else "small"
        command = (__file__, "write", options.encoder, options.data_folder, str(folder), formats)
        make = functools.partial(_run, sys.executable, *command, tree=tree)
        for each, written in _once(folder, make).items():
            version = folder / each / "1"
            kind, path = "saved_model", version
            if each.startswith("litert"):
                kind, path = "litert", version / f"{each.split()[1]}.tflite"
            elif each == "onnx":
                kind, path = "onnx", version / "model.onnx"
            called = {"litert": each.replace("litert", "LiteRT,"), "onnx": "ONNX, float32"}
            label = called.get(kind, f"SavedModel, {each}")
            found[name + label] = Asked(kind, path, sys.executable, written)
    return found


def _peers(options: argparse.Namespace, work: Path) -> dict[str, Asked]:
    folder, python = work / "peers", options.peer_python
    command = (str(_MEASURE), "write", str(folder), "--weights", options.weights)
    sizes = _once(folder, functools.partial(_run, python, *command))
    kinds = {
        "Hugging Face pipeline, float32": ("pipeline", "float32", "float32"),
        "Hugging Face pipeline, bfloat16": ("pipeline", "bfloat16", "bfloat16"),
        "ONNX Runtime, float32": ("onnx_runtime", "onnx/model.onnx", "model.onnx"),
        "ONNX Runtime, int8": ("onnx_runtime", "onnx/int8.onnx", "int8.onnx"),
    }
    return {
        name: Asked(kind, folder / path, python, {"MB": sizes[size]})
        for name, (kind, path, size) in kinds.items()
    }


def main() -> None:
    """Measures and prints."""
    parser = harness.arguments(__doc__)
    parser.add_argument("--earlier", help="another checkout, to compare with")
    parser.add_argument("--every", type=int, default=2, help="of how many texts one is asked")
    parser.add_argument("--work", type=Path, help="where exports are, or are to be")
    parser.add_argument("--write-only", action="store_true")
    options = harness.parse(parser, ("data_folder", "encoder", "weights", "peer_python"))
    with tempfile.TemporaryDirectory() as scratch:
        work = (options.work or Path(scratch)).resolve()
        asked = {**_ours(options, work), **_peers(options, work)}
        if options.write_only:
            return
        more = ("--data-folder", options.data_folder, "--every", str(options.every))
        runs = {
            name: functools.partial(
                _run, each.python, str(_MEASURE), each.kind, str(each.path), *more
            )
            for name, each in asked.items()
        }
        done = harness.in_turn(runs, options.repeat, "cold s")
    keys = list(next(iter(done.values()))[0])
    header = ["", "export s", "export CPU s", "MB", *keys]
    rows = []
    for name, found in done.items():
        known = [asked[name].written.get(key, "") for key in header[1:4]]
        rows.append(
            [name, *known, *(harness.median(found, key) if key in found[0] else "" for key in keys)]
        )
    written = {name: each.written for name, each in asked.items()}
    harness.report("exports", header, rows, {"written": written, "served": done})


def _child(arguments: list[str]) -> None:
    encoder, data, folder, formats = arguments
    print(json.dumps(write(encoder, data, Path(folder), formats.split(","))))


if __name__ == "__main__":
    if sys.argv[1:2] == ["write"]:
        _child(sys.argv[2:])
    else:
        main()
