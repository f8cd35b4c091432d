"""SetFit on few labels; prints one JSON line. Run by a Python that has setfit and torch.

Default settings (one epoch of all pairs in batches of 16, oversampled, rate 2e-5, its own logistic
regression), but no more than `--steps`, without which the pairs of 77 classes would take hours;
with `--full` just as many.
"""

import argparse
import json
import os
import sys
import tempfile
import time

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import numpy as np
from datasets import Dataset
from setfit import SetFitModel, Trainer, TrainingArguments


def _epoch(labels: list[int]) -> float:
    """The steps of one epoch: pairs of a class, or of two, whichever are more, twice."""
    count = np.bincount(labels)
    alike = (count * (count + 1) // 2).sum()
    other = (count.sum() ** 2 - (count**2).sum()) // 2
    return 2 * max(alike, other) / 16


def main() -> None:
    """Rows come on standard input: `train` and `test`, each texts and labels."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--weights", required=True)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--full", action="store_true")
    options = parser.parse_args()
    rows = json.load(sys.stdin)
    (train, labels), (test, truth) = rows["train"], rows["test"]
    model = SetFitModel.from_pretrained(options.weights, device="cpu", local_files_only=True)
    with tempfile.TemporaryDirectory() as folder:
        settings = TrainingArguments(
            output_dir=folder,
            max_steps=options.steps if options.full or _epoch(labels) > options.steps else -1,
            seed=options.seed,
            eval_strategy="no",
            save_strategy="no",
            report_to="none",
        )
        data = Dataset.from_dict({"text": train, "label": labels})
        began, spent = time.perf_counter(), time.process_time()
        Trainer(model=model, args=settings, train_dataset=data).train()
        seconds, cpu = time.perf_counter() - began, time.process_time() - spent
    answers = np.array(model.predict(test, show_progress_bar=False))
    found = {"accuracy": float((answers == np.array(truth)).mean())}
    print(json.dumps({**found, "full": options.full, "seconds": seconds, "cpu_seconds": cpu}))


if __name__ == "__main__":
    main()
