"""What a search is worth: the default's test score, and what three tuners find, by command.

    python benchmarks/tuning.py --job sst2 --seeds 3
    python benchmarks/tuning.py --space heads
    python benchmarks/tuning.py --table

Of each data set, seed and tuner one line is appended to `benchmarks/tuning.jsonl`: the test score
of what `tune` (or, for the default, `train`) wrote, validation's, minutes by the clock and of all
cores. `hyperband` has the minutes that `random` took. What is there already isn't run again.
`--table` shows means over seeds. Seeds draw the rows as well. The commands of one data set and seed
share stored vectors, so that the first one alone encodes.

`--space heads` leaves the encoder frozen in all trials and in the default (`--fix unfreeze=none`,
`--unfreeze none`): what is searched is the head alone, on stored vectors, a minute or two a search
where `all`, which thaws, takes hours.
"""

import dataclasses
import datetime
import json
import os
import resource
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
# What each space adds to the command of the default, and to that of a search.
SPACES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "all": ((), ()),
    "heads": (("--unfreeze", "none"), ("--fix", "unfreeze=none")),
}
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


def run(
    name: str, kind: str, seed: int, options: Any, minutes: float | None, caches: str
) -> dict[str, Any]:
    """One command, and what it wrote."""
    job = JOBS[name]
    with tempfile.TemporaryDirectory() as place:
        output = Path(place) / "out"
        words = [*job.words, *write(job, options.data_folder, seed, Path(place))]
        words += ["--encoder", options.encoder, "--seed", str(seed), "--output", str(output)]
        frozen, fixed = SPACES[options.space]
        if kind != "default":
            limit = ["--minutes", f"{minutes:.2f}"] if minutes else ["--trials", options.trials]
            words = ["tune", "--tuner", kind, *limit, *fixed, *words]
        else:
            words = ["train", *frozen, *words]
        environment = {**os.environ, "TFHUB_TRANSFER_CACHE_DIR": caches}
        started, worked = time.perf_counter(), cpu_seconds()
        command = [sys.executable, "-m", "tfhub_transfer", *words]
        subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL)
        taken, work = (time.perf_counter() - started) / 60, (cpu_seconds() - worked) / 60
        report = json.loads((output / "report" / "report.json").read_text("utf-8"))
        found = {} if kind == "default" else json.loads((output / "best.json").read_text("utf-8"))
        lines = [] if kind == "default" else (output / "trials.jsonl").read_text().splitlines()
    trials = [json.loads(line) for line in lines]
    return {
        "job": name,
        "space": options.space,
        "tuner": kind,
        "seed": seed,
        "encoder": Path(options.encoder).name,
        "metric": job.metric,
        "test": report["metrics"][job.metric],
        "metrics": {k: v for k, v in report["metrics"].items() if isinstance(v, float)},
        "examples": report["examples"],
        "minutes": round(taken, 2),
        "cpu_minutes": round(work, 2),
        **{k: v for k, v in found.items() if k in ("objective", "score", "default", "values")},
        "trials": len(trials),
        "failed": sum(each["status"] != "COMPLETED" for each in trials),
        "scores": [each["score"] for each in trials],
        "machine": harness.machine(),
        "date": datetime.date.today().isoformat(),
    }


def cpu_seconds() -> float:
    """What all commands that have ended took of all cores, which other work hardly changes."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def known() -> list[dict[str, Any]]:
    """The lines that are there."""
    lines = RESULTS.read_text("utf-8").splitlines() if RESULTS.exists() else []
    return [json.loads(line) for line in lines]


def table(space: str) -> None:
    """Means over seeds, their spread, and how far a search lies beside the default."""
    header = "data, tuner, seeds, test, spread, beside the default, trials, minutes, CPU minutes"
    print("| " + " | ".join(header.split(", ")) + " |")
    print("|---" * 9 + "|")
    runs = [each for each in known() if each["space"] == space]
    for name in JOBS:
        mine = [each for each in runs if each["job"] == name]
        base = {each["seed"]: each["test"] for each in mine if each["tuner"] == "default"}
        for kind in KINDS:
            some = [each for each in mine if each["tuner"] == kind]
            if some:
                print("| " + " | ".join(row(some, base)) + " |")


def row(some: list[dict[str, Any]], base: dict[int, float]) -> list[str]:
    """The cells of one data set and tuner."""
    tests = [each["test"] for each in some]
    # Each beside the default of its own seed, which has its rows.
    beside = [each["test"] - base[each["seed"]] for each in some if each["seed"] in base]
    first, tuned = some[0], some[0]["tuner"] != "default"
    return [
        *(f"{first['job']}, {first['metric']}", first["tuner"], str(len(some))),
        f"{statistics.mean(tests):.4f}",
        spread(tests),
        f"{statistics.mean(beside):+.4f} {spread(beside, '± ')}" if beside and tuned else "",
        f"{statistics.mean(each['trials'] for each in some):.0f}" if tuned else "",
        mean_of(some, "minutes"),
        mean_of(some, "cpu_minutes"),  # the first runs had none
    ]


def mean_of(some: list[dict[str, Any]], key: str) -> str:
    """A mean of those that have it."""
    values = [each[key] for each in some if key in each]
    return f"{statistics.mean(values):.1f}" if values else ""


def spread(values: list[float], before: str = "") -> str:
    """The standard deviation over seeds, if there are several."""
    return f"{before}{statistics.stdev(values):.4f}" if len(values) > 1 else ""


def main() -> None:
    """Runs what is missing, line by line."""
    parser = harness.arguments(__doc__)
    parser.add_argument("--job", choices=JOBS, action="append")
    parser.add_argument("--tuner", choices=KINDS, action="append")
    parser.add_argument("--space", choices=SPACES, default="all")
    parser.add_argument("--trials", default="20", help="of random and bayesian")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--table", action="store_true")
    parser.set_defaults(encoder="auto")
    options = harness.parse(parser, ())
    if options.table:
        table(options.space)
        return
    if not options.data_folder:
        parser.error("give --data-folder, or set BENCH_DATA")
    for seed in range(options.seeds):
        for name in options.job or JOBS:
            with tempfile.TemporaryDirectory() as caches:
                for kind in options.tuner or KINDS:
                    run_if_missing(name, kind, seed, options, caches)


def run_if_missing(name: str, kind: str, seed: int, options: Any, caches: str) -> None:
    """One command, if its line isn't there."""
    there = {(e["job"], e["space"], e["seed"], e["tuner"]): e for e in known()}
    if (name, options.space, seed, kind) in there:
        return
    limit = there.get((name, options.space, seed, "random"), {}).get("minutes")
    done = run(name, kind, seed, options, limit if kind == "hyperband" else None, caches)
    shown = {k: v for k, v in done.items() if k not in ("machine", "values")}
    print(json.dumps(shown), flush=True)
    with RESULTS.open("a", encoding="utf-8") as file:
        file.write(json.dumps(done) + "\n")


if __name__ == "__main__":
    main()
