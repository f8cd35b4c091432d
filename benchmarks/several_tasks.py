"""Tasks learned together on one encoder, beside models that learn one alone.

    python benchmarks/several_tasks.py --data-folder DATA --encoder DIR --seeds 3

Each line printed, and appended to `benchmarks/several_tasks.jsonl`, is one training: which tasks,
on how many rows, test metrics, seconds, versions. The tasks are those of `accuracy.py`.
"""

import argparse
import datetime
import json
import os
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import accuracy

import tfhub_transfer as tt

RESULTS = Path(__file__).parent / "several_tasks.jsonl"
SPLITS = ("train", "validation", "test")


def read(names: list[str], folder: Path) -> dict[str, dict[str, tt.data.Examples]]:
    """The splits of each task, by split and name."""
    return {
        split: {
            name: tt.data.read(accuracy.find(folder / accuracy.JOBS[name].folder, split))
            for name in names
        }
        for split in SPLITS
    }


def run(names: list[str], options: argparse.Namespace, seed: int) -> dict[str, Any]:
    """Trains on these tasks together and measures each."""
    tt.runtime.seed_everything(seed)
    splits = read(names, Path(options.data_folder))
    tasks = {
        name: tt.tasks.TASKS[accuracy.JOBS[name].task](pair=examples.is_pair).adapt(examples.labels)
        for name, examples in splits["train"].items()
    }
    task = tt.tasks.MultiTask(tasks, weights=options.weights, alpha=options.alpha)
    model = tt.build_model(options.encoder, task)
    plan = tt.Plan(seed=seed, learning_rate=options.learning_rate, verbose=options.verbose)
    started = time.perf_counter()
    tt.fine_tune(model, splits["train"], splits["validation"], options.epochs, plan=plan)
    seconds = time.perf_counter() - started
    report = tt.evaluate(model, splits["test"], baselines=False)
    return {
        "tasks": names,
        "encoder": Path(options.encoder).name,
        "epochs": options.epochs,
        "learning_rate": options.learning_rate,
        "weights": options.weights,
        "alpha": options.alpha,
        "seed": seed,
        "rows": {split: {n: len(e) for n, e in each.items()} for split, each in splits.items()},
        "accuracy": {n: round(report.metrics[f"{n}_accuracy"], 4) for n in names},
        "seconds": round(seconds, 1),
        "versions": tt.runtime.versions(),
        "date": datetime.date.today().isoformat(),
    }


def main() -> None:
    """Runs the tasks alone, then together, for each seed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--data-folder", default=os.environ.get("TFHUB_TRANSFER_DATA", "../shared/data"))
    add("--encoder", default="auto")
    add("--tasks", nargs="+", default=["sst2", "ag_news", "snli"])
    add("--only", choices=("together", "alone"))
    add("--epochs", type=int, default=3)
    add("--learning-rate", type=float)
    add("--weights")
    add("--alpha", type=float, default=1.0)
    add("--seeds", type=int, default=1)
    add("--first-seed", type=int, default=0)
    add("--verbose", type=int, default=0)
    add("--results", type=Path, default=RESULTS)
    options = parser.parse_args()
    together = [options.tasks] if options.only != "alone" else []
    alone = [[name] for name in options.tasks] if options.only != "together" else []
    for seed in range(options.first_seed, options.first_seed + options.seeds):
        for names in [*alone, *together]:
            line = json.dumps(run(names, options, seed))
            print(line, flush=True)
            with options.results.open("a", encoding="utf-8") as file:
                file.write(line + "\n")


if __name__ == "__main__":
    main()
