"""A small model alone, and taught by a large one fine-tuned on the same data: SST-2, three seeds.

python benchmarks/task_distillation.py --encoder MINILM --student auto
"""

import os
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

import harness

UNLABELLED = ("imdb", "amazon_mds/books", "amazon_mds/dvd")


def main() -> None:
    """Measures and prints."""
    parser = harness.arguments(__doc__)
    parser.add_argument("--student", default="auto")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--unlabelled", type=int, default=7000, help="sentences of reviews")
    options = harness.parse(parser, ("data_folder", "encoder"))
    with tempfile.TemporaryDirectory() as caches:
        os.environ["TFHUB_TRANSFER_CACHE_DIR"] = caches
        runs = [measure(options, seed) for seed in range(options.repeat)]
    rows = []
    alone = statistics.median(run["student alone"] for run in runs)
    for name in runs[0]:
        median = statistics.median(run[name] for run in runs)
        aim = ">= +0.005" if name.startswith("taught") else ""
        rows.append([name, f"{median:.4f}", f"{median - alone:+.4f}", aim])
    header = ["SST-2 test accuracy", "median", "against alone", "aim"]
    harness.report("task_distillation", header, rows, runs)


def measure(options: Any, seed: int) -> dict[str, float]:
    """Test accuracy of teacher, student alone, and student taught with and without more texts."""
    sys.path.insert(0, str(harness.RUNS))
    import ours
    import packaged_encoder

    import tfhub_transfer as tt
    from tfhub_transfer.recipes import distillation

    options.dataset, options.every, options.rows, options.seed = "sst2", 1, 0, seed
    options.sequence_length = None
    train, validation, test = (ours.read(options, s) for s in ("train", "validation", "test"))
    folder = Path(options.data_folder)
    more = [
        text
        for name in UNLABELLED
        for text in packaged_encoder.texts_of(next((folder / name).glob("train.jsonl*")))
        if len(text) < packaged_encoder.WHOLE
    ]
    more = more[:: max(1, len(more) // options.unlabelled)][: options.unlabelled]
    plan = tt.Plan(verbose=0, seed=seed)
    fine_tuning = {"epochs": options.epochs, "plan": plan}

    def model(encoder: str) -> tt.TransferModel:
        tt.runtime.seed_everything(seed)
        return tt.build_model(encoder, tt.tasks.Classification().adapt(train.labels))

    def accuracy(trained: tt.TransferModel) -> float:
        truth = trained.task.encode(test.labels)
        return float((trained.predict_scores(test).argmax(axis=-1) == truth).mean())

    teacher, alone = model(options.encoder), model(options.student)
    tt.fine_tune(teacher, train, validation, **fine_tuning)
    tt.fine_tune(alone, train, validation, **fine_tuning)
    found = {"teacher": accuracy(teacher), "student alone": accuracy(alone)}
    for name, texts in (("taught", None), (f"taught, {len(more)} more texts", more)):
        student = model(options.student)
        distillation.distill(teacher, student, train, validation, texts, **fine_tuning)
        found[name] = accuracy(student)
    print(f"  seed {seed}: {found}", file=sys.stderr, flush=True)
    return found


if __name__ == "__main__":
    main()
