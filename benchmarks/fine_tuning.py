"""Fine-tuning to a peer's accuracy, and one epoch of it, beside the Hugging Face Trainer.

python benchmarks/fine_tuning.py
"""

import functools
from typing import Any

import harness


def main() -> None:
    """Measures and prints."""
    parser = harness.arguments(__doc__)
    parser.add_argument("--precisions", nargs="+", default=harness.PRECISIONS, help="the Trainer's")
    parser.add_argument("--epochs", type=int, default=2, help="ours")
    options = harness.parse(parser, ("data_folder", "encoder", "weights", "peer_python"))
    run: dict[str, list[dict[str, Any]]] = {"ours": [], "epoch": []}
    for seed in range(options.repeat):
        seeded = ("--seed", str(seed))
        epochs = ("--epochs", str(options.epochs))
        turn = {
            "ours": functools.partial(harness.ours, options, "fine-tune", *epochs, *seeded),
            "epoch": functools.partial(harness.ours, options, "epoch", *seeded),
        }
        for p in options.precisions:
            given = ("--precision", p, *seeded)
            turn[f"Trainer {p}"] = functools.partial(harness.peer, options, "fine-tune", *given)
        for name, done in harness.in_turn(turn, 1).items():
            run.setdefault(name, []).extend(done)
    for name, done in run.items():
        for each in done if name.startswith("Trainer") else ():
            each["epoch"] = min(each["epoch_seconds"])
    best, theirs = harness.best(run, "Trainer", "seconds")
    ours, epoch = (harness.median(run[name], "seconds") for name in ("ours", "epoch"))
    their_epoch = harness.median(run[best], "epoch")
    scores = {name: harness.median(run[name], "accuracy") for name in ("ours", best)}
    rows = [
        [f"{best}, grouped, 3 epochs", theirs, scores[best], "1", ""],
        [f"ours, {options.epochs} epochs", ours, scores["ours"], ours / theirs, "<= 0.7"],
        ["Trainer, one epoch", their_epoch, "", "1", ""],
        ["ours, one epoch, all layers", epoch, "", epoch / their_epoch, "<= 1.0"],
    ]
    header = ["fine-tuning, SST-2", "seconds", "test accuracy", "ratio", "aim"]
    harness.report("fine_tuning", header, rows, run)


if __name__ == "__main__":
    main()
