"""Fine-tuning to a peer's accuracy, and one epoch of it, beside the Hugging Face Trainer.

python benchmarks/fine_tuning.py
"""

import functools

import harness


def main() -> None:
    """Measures and prints."""
    parser = harness.arguments(__doc__)
    parser.add_argument("--epochs", type=int, default=2, help="ours")
    options = harness.parse(parser, ("data_folder", "encoder", "weights", "peer_python"))
    run: dict[str, list[dict[str, object]]] = {"ours": [], "Trainer": [], "epoch": []}
    for seed in range(options.repeat):
        seeded = ("--seed", str(seed))
        epochs = ("--epochs", str(options.epochs))
        turn = {
            "ours": functools.partial(harness.ours, options, "fine-tune", *epochs, *seeded),
            "epoch": functools.partial(harness.ours, options, "epoch", *seeded),
            "Trainer": functools.partial(harness.peer, options, "fine-tune", *seeded),
        }
        for name, done in harness.in_turn(turn, 1).items():
            run[name] += done
    for done in run["Trainer"]:
        done["epoch"] = min(done["epoch_seconds"])  # type: ignore[call-overload]
    ours, theirs = (harness.median(run[name], "seconds") for name in ("ours", "Trainer"))
    epoch, their_epoch = (
        harness.median(run["epoch"], "seconds"),
        harness.median(run["Trainer"], "epoch"),
    )
    scores = {name: harness.median(run[name], "accuracy") for name in ("ours", "Trainer")}
    rows = [
        ["Trainer bf16, grouped, 3 epochs", theirs, scores["Trainer"], "1", ""],
        [f"ours, {options.epochs} epochs", ours, scores["ours"], ours / theirs, "<= 0.7"],
        ["Trainer, one epoch", their_epoch, "", "1", ""],
        ["ours, one epoch, all layers", epoch, "", epoch / their_epoch, "<= 1.0"],
    ]
    header = ["fine-tuning, SST-2", "seconds", "test accuracy", "ratio", "aim"]
    harness.report("fine_tuning", header, rows, run)


if __name__ == "__main__":
    main()
