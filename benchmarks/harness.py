"""What the scripts of this folder share: runs in turn, medians, one table, one JSON file.

Every measurement is a process of its own that prints one JSON line. Ours and the peers' take turns,
so that what else the machine does falls on both; only ratios taken so are worth anything.
"""

import argparse
import datetime
import json
import os
import platform
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
RUNS = HERE / "runs"
# A peer is run at both, and its better one counts.
PRECISIONS = ("bfloat16", "float32")


def arguments(description: str | None) -> argparse.ArgumentParser:
    """The options that every script takes; the defaults come from the environment."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--data-folder", default=os.environ.get("BENCH_DATA"), help="BENCH_DATA: the data sets")
    add("--encoder", default=os.environ.get("BENCH_ENCODER"), help="BENCH_ENCODER: TF Hub encoder")
    add("--weights", default=os.environ.get("BENCH_WEIGHTS"), help="BENCH_WEIGHTS: Hugging Face's")
    add("--peer-python", default=os.environ.get("BENCH_PEER_PYTHON"), help="BENCH_PEER_PYTHON")
    add("--repeat", type=int, default=int(os.environ.get("BENCH_REPEAT", "3")))
    return parser


def parse(parser: argparse.ArgumentParser, needs: Sequence[str]) -> argparse.Namespace:
    """The options, or an end with status 2 if one that is needed is missing."""
    options = parser.parse_args()
    for name in needs:
        if not getattr(options, name):
            flag = "--" + name.replace("_", "-")
            parser.error(f"give {flag}, or set BENCH_{name.removesuffix('_folder').upper()}")
    return options


def ours(options: argparse.Namespace, job: str, *extra: str, **environment: str) -> dict[str, Any]:
    """One run of `runs/ours.py`."""
    command = [sys.executable, str(RUNS / "ours.py"), job, "--data-folder", options.data_folder]
    return _run([*command, "--encoder", options.encoder, *extra], environment)


def peer(options: argparse.Namespace, job: str, *extra: str, **environment: str) -> dict[str, Any]:
    """One run of `runs/peers.py`, by the peers' own Python."""
    command = [options.peer_python, str(RUNS / "peers.py"), job, "--data-folder"]
    return _run([*command, options.data_folder, "--weights", options.weights, *extra], environment)


def in_turn(
    runs: Mapping[str, Any], repeat: int, key: str = "seconds"
) -> dict[str, list[dict[str, Any]]]:
    """Every run `repeat` times, all once before any twice.

    Args:
        runs: A function without arguments for each name, giving what a run printed.
        repeat: How often.
        key: What to show of each run while it goes on.
    """
    done: dict[str, list[dict[str, Any]]] = {name: [] for name in runs}
    for _ in range(repeat):
        for name, run in runs.items():
            done[name].append(run())
            print(f"  {name}: {done[name][-1].get(key)}", file=sys.stderr, flush=True)
    return done


def median(done: Sequence[Mapping[str, Any]], key: str) -> float:
    """The median of one value over runs."""
    return float(statistics.median(run[key] for run in done))


def best(
    runs: Mapping[str, Sequence[Mapping[str, Any]]], prefix: str, key: str
) -> tuple[str, float]:
    """The fastest of the runs whose names begin so, and its median."""
    found = {name: median(done, key) for name, done in runs.items() if name.startswith(prefix)}
    fastest = min(found, key=lambda name: found[name])
    return fastest, found[fastest]


def report(name: str, header: Sequence[str], rows: Sequence[Sequence[Any]], raw: Any) -> None:
    """Prints a table and writes it, with every single run and the machine, to `<name>.json`."""
    shown = [[f"{v:.3g}" if isinstance(v, float) else str(v) for v in row] for row in rows]
    print("| " + " | ".join(header) + " |")
    print("|" + "---|" * len(header))
    for row in shown:
        print("| " + " | ".join(row) + " |")
    record = {
        "date": datetime.date.today().isoformat(),
        "machine": machine(),
        "table": [dict(zip(header, row)) for row in shown],
        "runs": raw,
    }
    (HERE / f"{name}.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def goes_on(
    parser: argparse.ArgumentParser, results: Path
) -> tuple[argparse.Namespace, list[dict[str, Any]]]:
    """Options of a script that runs what isn't there, seed by seed, or with `--table` shows it.

    Args:
        parser: From `arguments`, with the script's own options.
        results: Where its lines are.

    Returns:
        The options, and the lines that are there.
    """
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--table", action="store_true")
    options = parse(parser, () if "--table" in sys.argv else ("data_folder",))
    return options, noted(results)


def noted(results: Path) -> list[dict[str, Any]]:
    """The lines of a file of results that goes on; none, if it isn't there."""
    lines = results.read_text(encoding="utf-8").splitlines() if results.exists() else []
    return [json.loads(line) for line in lines]


def note(results: Path, line: Mapping[str, Any]) -> None:
    """Adds a line to a file of results, with date and machine, and shows it."""
    told = {**line, "date": datetime.date.today().isoformat(), "machine": machine()}
    with results.open("a", encoding="utf-8") as file:
        file.write(json.dumps(told) + "\n")
    print(json.dumps(told), flush=True)


def machine() -> dict[str, Any]:
    """What the numbers were taken on."""
    info = Path("/proc/cpuinfo")
    text = info.read_text(encoding="utf-8") if info.exists() else ""
    models = [line.split(":")[1].strip() for line in text.splitlines() if "model name" in line]
    units = [unit for unit in ("avx512f", "avx512_bf16", "amx_bf16") if unit in text]
    return {
        "cpu": models[0] if models else platform.processor(),
        "cores": os.cpu_count(),
        "units": units,
        "python": platform.python_version(),
    }


def _run(command: list[str], environment: Mapping[str, str]) -> dict[str, Any]:
    done = subprocess.run(
        command,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{done.stderr[-3000:]}")
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return found
