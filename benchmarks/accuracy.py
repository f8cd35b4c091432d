"""Test accuracy of frozen and progressively unfrozen encoders on public data sets.

    python benchmarks/accuracy.py --data-folder DATA --job sst2 --seeds 3

Each line printed, and appended to `benchmarks/accuracy.jsonl`, is one run: what was trained, on how
many rows, test metrics, seconds for each stage, versions.
"""

import argparse
import dataclasses
import datetime
import json
import os
import platform
import sys
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import scipy.stats

import tfhub_transfer as tt

RESULTS = Path(__file__).parent / "accuracy.jsonl"


@dataclasses.dataclass(frozen=True)
class Job:
    """One data set and the settings that were chosen for it by validation."""

    folder: str
    task: str = "classification"
    pooling: str = "auto"
    epochs: int = 3
    batch_size: int = 32
    learning_rate: float | None = None
    per_class: int | None = None
    sequence_length: int | None = None
    towers: bool = False


JOBS = {
    "sst2": Job("sst2"),
    "banking77": Job("banking77", epochs=4, learning_rate=2e-4),
    "go_emotions": Job("go_emotions", "multi-label", epochs=2),
    "stsb": Job("stsb/en", "regression", epochs=4),
    "stsb_towers": Job("stsb/en", "similarity", epochs=1),
    "snli": Job("snli_small"),
    "snli_towers": Job("snli_small", towers=True),
    "ag_news": Job("ag_news"),
    "wnut17": Job("wnut17", "token-classification", epochs=5),
    "ud_english_ewt": Job("ud_english_ewt", "token-classification"),
    "squad": Job("squad_v1_dev", "question-answering", learning_rate=2e-4),
    # A quarter of the abstracts are longer than 256 word pieces; sentences should meet in one row.
    "scitldr": Job("scitldr_a", "extractive-summarization", epochs=1, sequence_length=512),
    "banking77_8": Job("banking77", per_class=8),
    "stsb_cosine": Job("stsb/en", "untrained"),
}


def find(folder: Path, split: str) -> str:
    """The file of a split, compressed or not."""
    return str(next(folder.glob(f"{split}.jsonl*")))


def few(examples: tt.data.Examples, per_class: int, seed: int) -> tt.data.Examples:
    """So many rows of each class, chosen by a seed."""
    labels = np.asarray(examples.labels)
    order = np.random.default_rng(seed).permutation(len(labels))
    taken = [order[labels[order] == name][:per_class] for name in np.unique(labels)]
    return examples[np.concatenate(taken)]


def run_cosine(job: Job, options: argparse.Namespace) -> dict[str, Any]:
    """Rank correlation of people's judgement with the cosine of untrained vectors."""
    test = tt.data.read(find(Path(options.data_folder) / job.folder, "test"))
    a, b = (tt.encode_text(options.encoder, texts, normalize=True) for texts in test.texts)
    correlation = scipy.stats.spearmanr((a * b).sum(-1), np.asarray(test.labels, float)).statistic
    return {
        "job": "stsb_cosine",
        "encoder": Path(options.encoder).name,
        "unfreeze": "untrained",
        "rows": [0, 0, len(test)],
        "metrics": {"spearman": round(float(correlation), 4)},
        "seconds": {"all": 0},
        "versions": tt.runtime.versions(),
        "date": datetime.date.today().isoformat(),
    }


def run(name: str, job: Job, options: argparse.Namespace, seed: int) -> dict[str, Any]:
    """Trains once and measures on the test split."""
    started = time.perf_counter()
    tt.runtime.seed_everything(seed)
    folder = Path(options.data_folder) / job.folder
    tagged = {"text": "tokens", "label": "tags"} if job.task == "token-classification" else {}
    train, validation, test = (
        tt.data.read(find(folder, split), **tagged) for split in ("train", "validation", "test")
    )
    train = few(train, job.per_class, seed) if job.per_class else train
    kind = tt.tasks.TASKS[job.task]
    chosen = {"pair": train.is_pair} if kind.layout == "whole" else {}
    task = kind(**chosen).adapt(train.labels)
    head = tt.Head(pooling=options.pooling or job.pooling, towers=job.towers)
    length = options.sequence_length or job.sequence_length
    model = tt.build_model(options.encoder, task, head, sequence_length=length)
    epochs = options.epochs or job.epochs
    plan = tt.Plan(
        learning_rate=options.learning_rate or job.learning_rate,
        layer_decay=options.layer_decay,
        unfreezing_epochs=options.unfreezing_epochs,
        seed=seed,
        verbose=options.verbose,
    )
    with tt.runtime.precision(options.precision) as precision:
        history = tt.fine_tune(
            model,
            train,
            validation,
            epochs=epochs,
            unfreeze=options.unfreeze,
            batch_size=options.batch_size or job.batch_size,
            plan=plan,
        )
    trained = time.perf_counter() - started
    report = tt.evaluate(model, test, baselines=False)
    best = {
        k: (max if task.monitor[1] == "max" else min)(v)
        for k, v in history.history.items()
        if k == task.monitor[0]
    }
    return {
        "job": name,
        "encoder": Path(options.encoder).name,
        "unfreeze": options.unfreeze,
        "pooling": head.pooling,
        "epochs": epochs,
        "learning_rate": plan.learning_rate,
        "layer_decay": plan.layer_decay,
        "unfreezing_epochs": plan.unfreezing_epochs,
        "sequence_length": model.sequence_length,
        "precision": precision,
        "seed": seed,
        "rows": [len(train), len(validation), len(test)],
        "best_validation": best,
        "metrics": {k: round(v, 4) for k, v in report.metrics.items() if v is not None},
        **({"baselines": report.baselines} if report.baselines else {}),
        "seconds": {k: round(v, 1) for k, v in history.seconds.items()}
        | {"all": round(trained, 1)},
        "versions": tt.runtime.versions(),
        "machine": f"{os.cpu_count()} cores, {platform.machine()}",
        "date": datetime.date.today().isoformat(),
    }


def main() -> None:
    """Runs the job for each seed and records what came out."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--data-folder", default=os.environ.get("TFHUB_TRANSFER_DATA", "../shared/data"))
    add("--job", choices=JOBS, default="sst2")
    add("--encoder", default="auto")
    add("--unfreeze", default="auto")
    add("--pooling", default=None)
    add("--epochs", type=int, default=None)
    add("--batch-size", type=int, default=None)
    add("--learning-rate", type=float, default=None)
    add("--layer-decay", type=float, default=tt.Plan.layer_decay)
    add("--unfreezing-epochs", type=float, default=tt.Plan.unfreezing_epochs)
    add("--sequence-length", type=int, default=None)
    add("--precision", default="auto")
    add("--seeds", type=int, default=1)
    add("--first-seed", type=int, default=0)
    add("--verbose", type=int, default=0)
    add("--results", type=Path, default=RESULTS)
    options = parser.parse_args()
    for seed in range(options.first_seed, options.first_seed + options.seeds):
        job = JOBS[options.job]
        cosine = job.task == "untrained"
        done = run_cosine(job, options) if cosine else run(options.job, job, options, seed)
        line = json.dumps(done)
        print(line, flush=True)
        with options.results.open("a", encoding="utf-8") as file:
            file.write(line + "\n")


if __name__ == "__main__":
    sys.exit(main())
