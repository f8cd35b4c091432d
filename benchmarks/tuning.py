"""What a search is worth: the default's test score, and what three tuners find, by command.

    python benchmarks/tuning.py --job sst2 --seeds 3
    python benchmarks/tuning.py --table

Of each data set, seed and tuner one line is appended to `benchmarks/tuning.jsonl`: the test score
of what `tune` (or, for the default, `train`) wrote, validation's, minutes. `hyperband` has the
minutes that `random` took. What is there already isn't run again. `--table` shows means over
seeds. Seeds draw the rows as well.
"""

import dataclasses
import datetime
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import harness
import numpy as np

import tfhub_transfer as tt
from tfhub_transfer.storage import opening

RESULTS = Path(__file__).parent / "tuning.jsonl"
KINDS = ("default", "random", "bayesian", "hyperband")
SPLITS = ("train", "validation", "test")


@dataclasses.dataclass(frozen=True)
class Job:
    """One data set: options of the command, rows, what is reported."""

    folder: str
    words: tuple[str, ...]
    metric: str
    rows: int | None = None
    per_class: int | None = None
    validation_rows: int = 300


TEXT = ("--task", "classification", "--text", "text", "--label", "label")
TAGS = ("--task", "token-classification", "--text", "tokens", "--label", "tags")
PAIRS = ("--task", "regression", "--text", "text_a", "--text-pair", "text_b", "--label", "score")
JOBS = {
    "sst2": Job("sst2", TEXT, "accuracy", rows=1000),
    "banking77_8": Job("banking77", TEXT, "accuracy", per_class=8),
    "wnut17": Job("wnut17", TAGS, "f1", rows=1000),
    "stsb": Job("stsb/en", PAIRS, "spearman", rows=1000),
}


def write(job: Job, folder: str, seed: int, place: Path) -> list[str]:
    """Writes the rows that are trained on and judged by; the options that name them."""
    words, draw = [], np.random.default_rng(seed)
    for split in SPLITS:
        path = next((Path(folder) / job.folder).glob(f"{split}.jsonl*"))
        lines = tt.data.read(str(path), **columns(job))
        order = draw.permutation(len(lines))
        if split == "train" and job.per_class:
            labels = np.asarray(lines.labels)[order]
            each = [order[labels == name][: job.per_class] for name in np.unique(labels)]
            order = np.concatenate(each)
        elif split != "test":
            order = order[: job.rows if split == "train" else job.validation_rows]
        raw = opening.read_text(path).splitlines()
        assert len(raw) == len(lines)
        written = place / f"{split}.jsonl"
        written.write_text("\n".join(raw[at] for at in order) + "\n", encoding="utf-8")
        words += ["--data" if split == "train" else f"--{split}", str(written)]
    return words


def columns(job: Job) -> dict[str, str]:
    """The columns as `data.read` takes them."""
    given = dict(zip(job.words[::2], job.words[1::2], strict=True))
    return {k[2:].replace("-", "_"): v for k, v in given.items() if k != "--task"}


def run(name: str, kind: str, seed: int, options: Any, minutes: float | None) -> dict[str, Any]:
    """One command, and what it wrote."""
    job = JOBS[name]
    with tempfile.TemporaryDirectory() as place:
        output = Path(place) / "out"
        words = [*job.words, *write(job, options.data_folder, seed, Path(place))]
        words += ["--encoder", options.encoder, "--seed", str(seed), "--output", str(output)]
        if kind != "default":
            limit = ["--minutes", f"{minutes:.2f}"] if minutes else ["--trials", "20"]
            words = ["tune", "--tuner", kind, *limit, *words]
        else:
            words = ["train", *words]
        environment = {**os.environ, "TFHUB_TRANSFER_CACHE_DIR": f"{place}/cache"}
        started = time.perf_counter()
        command = [sys.executable, "-m", "tfhub_transfer", *words]
        subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL)
        taken = (time.perf_counter() - started) / 60
        report = json.loads((output / "report" / "report.json").read_text("utf-8"))
        found = {} if kind == "default" else json.loads((output / "best.json").read_text("utf-8"))
        lines = [] if kind == "default" else (output / "trials.jsonl").read_text().splitlines()
    trials = [json.loads(line) for line in lines]
    return {
        "job": name,
        "tuner": kind,
        "seed": seed,
        "encoder": Path(options.encoder).name,
        "metric": job.metric,
        "test": report["metrics"][job.metric],
        "examples": report["examples"],
        "minutes": round(taken, 2),
        **{k: v for k, v in found.items() if k in ("objective", "score", "default", "values")},
        "trials": len(trials),
        "failed": sum(each["status"] != "COMPLETED" for each in trials),
        "scores": [each["score"] for each in trials],
        "machine": harness.machine(),
        "date": datetime.date.today().isoformat(),
    }


def known() -> list[dict[str, Any]]:
    """The lines that are there."""
    lines = RESULTS.read_text("utf-8").splitlines() if RESULTS.exists() else []
    return [json.loads(line) for line in lines]


def table() -> None:
    """Means over seeds, their spread, and how far a search lies beside the default."""
    print("| data | tuner | seeds | test | spread | beside the default | trials | minutes |")
    print("|---|---|---|---|---|---|---|---|")
    runs = known()
    for name in JOBS:
        mine = [each for each in runs if each["job"] == name]
        base = {each["seed"]: each["test"] for each in mine if each["tuner"] == "default"}
        for kind in KINDS:
            some = [each for each in mine if each["tuner"] == kind]
            if not some:
                continue
            tests = [each["test"] for each in some]
            beside = [each["test"] - base[each["seed"]] for each in some if each["seed"] in base]
            cells = [
                *(f"{name}, {some[0]['metric']}", kind, str(len(some))),
                f"{statistics.mean(tests):.4f}",
                f"{statistics.stdev(tests):.4f}" if len(tests) > 1 else "",
                f"{statistics.mean(beside):+.4f}" if beside and kind != "default" else "",
                f"{statistics.mean(each['trials'] for each in some):.0f}",
                f"{statistics.mean(each['minutes'] for each in some):.1f}",
            ]
            print("| " + " | ".join(cells) + " |")


def main() -> None:
    """Runs what is missing, line by line."""
    parser = harness.arguments(__doc__)
    parser.add_argument("--job", choices=JOBS, action="append")
    parser.add_argument("--tuner", choices=KINDS, action="append")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--table", action="store_true")
    parser.set_defaults(encoder="auto")
    options = harness.parse(parser, ())
    if options.table:
        table()
        return
    if not options.data_folder:
        parser.error("give --data-folder, or set BENCH_DATA")
    for seed in range(options.seeds):
        for name in options.job or JOBS:
            for kind in options.tuner or KINDS:
                there = {(e["job"], e["seed"], e["tuner"]): e for e in known()}
                if (name, seed, kind) in there:
                    continue
                limit = there.get((name, seed, "random"), {}).get("minutes")
                limit = limit if kind == "hyperband" else None
                done = run(name, kind, seed, options, limit)
                shown = {k: v for k, v in done.items() if k not in ("machine", "values")}
                print(json.dumps(shown), flush=True)
                with RESULTS.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(done) + "\n")


if __name__ == "__main__":
    main()
