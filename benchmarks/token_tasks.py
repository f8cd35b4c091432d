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
    options = harness.parse(parser, ("data_folder", "encoder", "weights", "peer_python"))
    rows, runs = [], {}
    for name, (folder, task, job, every, length) in JOBS.items():
        extra = ("--dataset", folder, "--every", str(every), "--sequence-length", str(length))
        extra += ("--epochs", "2")
        turn = {
            "ours": functools.partial(harness.ours, options, "epoch", "--task", task, *extra),
            "Trainer": functools.partial(harness.peer, options, job, *extra),
        }
        runs[name] = harness.in_turn(turn, options.repeat)
        ours, theirs = (harness.median(runs[name][who], "seconds") for who in ("ours", "Trainer"))
        rows.append([name, theirs, ours, theirs / ours, ">= 1.0"])
    header = ["one epoch", "Trainer, seconds", "ours, seconds", "our speed / theirs", "aim"]
    harness.report("token_tasks", header, rows, runs)


if __name__ == "__main__":
    main()
