"""How many steps and which rates suit which task, encoder and number of rows.

    python benchmarks/defaults.py --data-folder DATA --encoder minilm-l3-384 --encoder FOLDER \
        --job tags --job questions --rows 200 --rows 1000 --seeds 1
    python benchmarks/defaults.py --table

Each line printed, and appended to `benchmarks/defaults.jsonl`, is one run: settings, the headline
on a fixed part of the test split, seconds. What is there already isn't run again, so a grid can be
stopped and go on. `--table` compares what `fine_tune` does by itself with the best of the grid.

Of a cell (data, rows, encoder, seed) the head is trained once with each setting of heads; every
setting of the thawed encoder starts from the head that the default gives.
"""

import argparse
import dataclasses
import datetime
import itertools
import json
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import harness
import numpy as np

import tfhub_transfer as tt
from tfhub_transfer.models import building
from tfhub_transfer.optimization import planning

RESULTS = Path(__file__).parent / "defaults.jsonl"
TEST_ROWS = 500
# Validation rows beside so many training rows; 0 is all.
SIZES = {200: 200, 1000: 300, 0: 1000}
# The head as it is: it moves by nothing in this one epoch.
STILL = {"head_epochs": 1, "head_learning_rate": 1e-12}
NEVER = 1000
EMBEDDINGS = 2e-3


@dataclasses.dataclass(frozen=True)
class Job:
    """One data set as one task."""

    folder: str
    task: str
    sequence_length: int | None = None


JOBS = {
    "tags": Job("wnut17", "token-classification"),
    "parts_of_speech": Job("ud_english_ewt", "token-classification"),
    "questions": Job("squad_v1_dev", "question-answering"),
    "sentiment": Job("sst2", "classification"),
    "intents": Job("banking77", "classification"),
    "emotions": Job("go_emotions", "multi-label"),
    "grades": Job("stsb/en", "regression"),
    "summaries": Job("scitldr_a", "extractive-summarization"),
    "similarity": Job("stsb/en", "similarity"),
}
# Steps at least (0: four epochs), and the peak rate as a multiple of one that stays the same: 1e-4
# for a BERT, 2e-3 for embeddings alone.
THAWED = [(0, 1), (200, 3), (200, 1), (400, 3), (400, 1), (100, 3), (100, 1), (800, 3)]
# Steps of the head, and its rate; without steps 10 epochs.
HEADS = [(400, 5e-3), (0, 5e-3), (400, 2e-3), (800, 2e-3), (800, 5e-3)]


def read(job: Job, folder: str) -> list[Any]:
    """Training, validation and test examples."""
    columns = {"text": "tokens", "label": "tags"} if job.task == "token-classification" else {}
    base = Path(folder) / job.folder
    return [
        tt.data.read(str(next(base.glob(f"{split}.jsonl*"))), **columns)
        for split in ("train", "validation", "test")
    ]


def drawn(examples: Any, rows: int, seed: int) -> Any:
    """So many of the examples; all for 0."""
    order = np.random.default_rng(seed).permutation(len(examples))
    return examples[order[:rows]] if rows else examples


class Cell:
    """One data set, so many rows of it, one encoder, one seed."""

    def __init__(self, name: str, encoder: str, rows: int, seed: int, folder: str) -> None:
        job = JOBS[name]
        train, validation, test = read(job, folder)
        self.key = {"job": name, "encoder": Path(encoder).name, "rows": rows, "seed": seed}
        self.train = drawn(train, rows, seed)
        self.validation = drawn(validation, SIZES[rows], seed)
        self.test = drawn(test, TEST_ROWS, 0)
        kind = tt.tasks.TASKS[job.task]
        task = kind(**({"pair": train.is_pair} if kind.layout == "whole" else {}))
        tt.runtime.seed_everything(seed)
        self.model = tt.build_model(encoder, task.adapt(train.labels))
        self.seed, self.start = seed, self.model.get_weights()

    def run(self, setting: dict[str, Any], **given: Any) -> dict[str, Any]:
        """Trains, and measures on the test split."""
        task, started = self.model.task, time.perf_counter()
        plan = tt.Plan(seed=self.seed, verbose=0, **given.pop("plan", {}))
        tt.runtime.seed_everything(self.seed)
        history = tt.fine_tune(self.model, self.train, self.validation, plan=plan, **given)
        trained = time.perf_counter() - started
        found = tt.evaluate(self.model, self.test, baselines=False).metrics
        name = next(name for name in task.standing.judged if found.get(name) is not None)
        monitor = history.outcomes[-1]
        return {
            **self.key,
            **setting,
            "metric": name,
            "test": round(float(found[name] or 0.0), 4),
            "validation": round(monitor.value, 4),
            "kept": [monitor.epoch, monitor.epochs],
            "curve": [round(v, 4) for v in history.history.get(str(monitor.metric), [])],
            "plan": history.plan,
            "seconds": {k: round(v, 1) for k, v in history.seconds.items()},
            "trained": round(trained, 1),
            "date": datetime.date.today().isoformat(),
        }

    def again(self, weights: list[np.ndarray]) -> None:
        """The model as it was, with an optimizer that knows nothing."""
        task = self.model.task
        optimizer = building.default_optimizer(self.model.encoder)
        self.model.encoder.trainable = False
        self.model.compile(optimizer, task.loss(), jit_compile=False, **task.measures())
        self.model.encoder.freeze_to(0)
        self.model.set_weights(weights)

    def heads(self, wanted: list[tuple[int, float]]) -> Iterator[dict[str, Any]]:
        """One run for each setting of the head; the model ends with the default's."""
        for steps, rate in wanted:
            self.again(self.start)
            planning.HEAD_STEPS, planning.MOST_PASSES = steps or 1, NEVER
            setting = {"stage": "head", "steps": steps, "rate": rate}
            yield self.run(setting, unfreeze="none", plan={"head_learning_rate": rate})

    def thawed(self, wanted: list[tuple[int, int]]) -> Iterator[dict[str, Any]]:
        """One run for each setting of the thawed encoder, from the model's head as it is."""
        weights, usual = self.model.get_weights(), planning.usual_rate(self.model.encoder)[0]
        usual = EMBEDDINGS if usual == planning.EMBEDDING_RATE else usual
        for steps, factor in wanted:
            self.again(weights)
            planning.THAWED_STEPS, planning.MOST_PASSES = steps or 1, NEVER
            setting = {"stage": "thawed", "steps": steps, "rate": factor}
            plan = {**STILL, "learning_rate": factor * usual}
            yield self.run(setting, epochs=None if steps else 4, plan=plan)

    def default(self) -> dict[str, Any]:
        """What `fine_tune` does by itself."""
        self.again(self.start)
        return self.run({"stage": "default", "steps": None, "rate": None})


def key(run: dict[str, Any]) -> tuple[Any, ...]:
    """What tells runs apart."""
    names = ("job", "encoder", "rows", "seed", "stage", "steps", "rate")
    return tuple(run[name] for name in names)


def known() -> list[dict[str, Any]]:
    """The runs of the file."""
    lines = RESULTS.read_text("utf-8").splitlines() if RESULTS.exists() else []
    return [json.loads(line) for line in lines]


def run_cell(name: str, encoder: str, rows: int, seed: int, options: Any) -> None:
    """Runs what is missing of a cell, and writes it line by line."""
    base = (name, Path(encoder).name, rows, seed)
    done = {key(run) for run in known()}
    heads = [each for each in HEADS[: options.heads] if (*base, "head", *each) not in done]
    thawed = [each for each in THAWED[: options.thawed] if (*base, "thawed", *each) not in done]
    default = options.default and (*base, "default", None, None) not in done
    if JOBS[name].task == "similarity":
        heads = []
    if not heads and not thawed and not default:
        return
    usual = planning.HEAD_STEPS, planning.THAWED_STEPS, planning.MOST_PASSES
    cell = Cell(name, encoder, rows, seed, options.data_folder)

    def write(runs: Iterator[dict[str, Any]]) -> None:
        for run in runs:
            shown = {k: v for k, v in run.items() if k not in ("plan", "curve", "date")}
            print(json.dumps(shown), flush=True)
            if run["stage"] != "again":
                with RESULTS.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(run) + "\n")

    if default:
        write(iter([cell.default()]))
    write(cell.heads([each for each in heads if each != HEADS[0]]))
    if thawed or HEADS[0] in heads:
        planning.HEAD_STEPS = usual[0]
        if JOBS[name].task != "similarity":
            again = cell.heads(HEADS[:1])
            write(again if HEADS[0] in heads else ({**run, "stage": "again"} for run in again))
        write(cell.thawed(thawed))
    planning.HEAD_STEPS, planning.THAWED_STEPS, planning.MOST_PASSES = usual


def main() -> None:
    """Runs the cells, or prints the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--data-folder", default=os.environ.get("BENCH_DATA"))
    add("--encoder", action="append", default=[])
    add("--job", action="append", choices=JOBS)
    add("--rows", action="append", type=int, choices=SIZES)
    add("--seeds", type=int, default=1)
    add("--heads", type=int, default=1, help="how many of the settings of heads, from the first")
    add("--thawed", type=int, default=4, help="how many of those of the thawed encoder")
    add("--default", action="store_true", help="also what `fine_tune` does by itself")
    add("--table", action="store_true")
    options = parser.parse_args()
    if options.table:
        table()
        return
    for seed, rows, name, encoder in itertools.product(
        range(options.seeds), options.rows or SIZES, options.job or JOBS, options.encoder
    ):
        try:
            run_cell(name, encoder, rows, seed, options)
        except tt.InputError as error:
            print(f"{name}, {encoder}, {rows}: {error}", file=sys.stderr, flush=True)


def described(setting: tuple[Any, ...]) -> str:
    """A setting in words."""
    stage, steps, rate = setting
    if stage == "default":
        return "the default"
    if stage == "head":
        return f"{steps or 'few'} steps of the head alone at {rate}"
    return f"{steps or 'few'} steps at {rate} x 1e-4 (2e-3)"


def table() -> None:
    """The best of the grid beside the old default, and beside what `fine_tune` does by itself."""
    runs, rows = known(), []
    cells: dict[tuple[Any, ...], dict[tuple[Any, ...], list[float]]] = {}
    for run in runs:
        cell = cells.setdefault((run["job"], run["rows"], run["encoder"]), {})
        cell.setdefault((run["stage"], run["steps"], run["rate"]), []).append(run["test"])
    for name, cell in sorted(cells.items(), key=lambda item: [*JOBS].index(item[0][0])):
        means = {setting: float(np.mean(values)) for setting, values in cell.items()}
        if all(setting[0] == "head" for setting in means):
            continue
        best = max(means, key=lambda setting: means[setting])
        old, new = means.get(("thawed", 0, 1)), means.get(("default", None, None))
        seeds = max(map(len, cell.values()))
        shown = ["-" if each is None else each for each in (old, new, means[best])]
        rows.append([name[0], name[1] or "all", name[2], seeds, *shown, described(best)])
    header = ["job", "rows", "encoder", "seeds", "four epochs", "default", "best", "which"]
    harness.report("defaults", header, rows, [])


if __name__ == "__main__":
    main()
