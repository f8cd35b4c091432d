"""One epoch of tagging and of reading, every layer training, beside the Hugging Face Trainer.

python benchmarks/token_tasks.py
"""

import functools

import harness

# Data set, our task, the peer's job, every how many rows, the most tokens of a row.
JOBS = {
    "tagging, WNUT 17": ("wnut17", "token-classification", "tag", 1, 256),
    "reading, SQuAD 1.1 dev": ("squad_v1_dev", "question-answering", "answer", 8, 384),
}


def main() -> None:
    """Measures and prints."""
    parser = harness.arguments(__doc__)
    parser.add_argument("--precisions", nargs="+", default=harness.PRECISIONS, help="the Trainer's")
    parser.add_argument("--jobs", nargs="+", default=[*JOBS], choices=JOBS)
    options = harness.parse(parser, ("data_folder", "encoder", "weights", "peer_python"))
    rows, runs = [], {}
    for name in options.jobs:
        folder, task, job, every, length = JOBS[name]
        extra = ("--dataset", folder, "--every", str(every), "--sequence-length", str(length))
        extra += ("--epochs", "2")
        turn = {
            f"Trainer {p}": functools.partial(harness.peer, options, job, "--precision", p, *extra)
            for p in options.precisions
        }
        turn["ours"] = functools.partial(harness.ours, options, "epoch", "--task", task, *extra)
        runs[name] = harness.in_turn(turn, options.repeat)
        best, theirs = harness.best(runs[name], "Trainer", "seconds")
        ours = harness.median(runs[name]["ours"], "seconds")
        rows.append([f"{name}, {best}", theirs, ours, ours / theirs, "<= 0.9"])
    header = ["one epoch", "Trainer, seconds", "ours, seconds", "ratio", "aim"]
    harness.report("token_tasks", header, rows, runs)


if __name__ == "__main__":
    main()
