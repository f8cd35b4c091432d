"""Few tagged sentences: `fine_tune` as it is beside the Hugging Face Trainer, WNUT 17.

    python benchmarks/small_tags.py --rows 500 --seeds 3

Both start from all-MiniLM-L6-v2, learn from the same sentences, choose by the same 300 of the
validation split, and are counted by the same lines on the whole test split (`runs/entities.py`).
The Trainer runs at its own default rate and at those that small sets want; seconds are of training
with its looks at the validation split, from ids on; CPU seconds say the same beside other work.
"""

import functools

import harness

DATA = ("--dataset", "wnut17", "--sequence-length", "256")
# Rate and epochs of the Trainer: its default; what its users take for few rows; longer.
PEERS = {"default": ("5e-5", "3"), "small sets": ("3e-4", "10"), "longer": ("2e-4", "20")}


def main() -> None:
    """Measures and prints."""
    parser = harness.arguments(__doc__)
    parser.add_argument("--rows", action="append", type=int, help="default: 500 and 2000")
    parser.add_argument("--seeds", type=int, default=1)
    options = harness.parse(parser, ("data_folder", "encoder", "weights", "peer_python"))
    table, runs = [], {}
    for rows in options.rows or (500, 2000):
        for seed in range(options.seeds):
            given = (*DATA, "--rows", str(rows), "--seed", str(seed))
            turn = {"ours": functools.partial(harness.ours, options, "small-tags", *given)}
            for name, (rate, epochs) in PEERS.items():
                settings = ("--learning-rate", rate, "--epochs", epochs)
                call = functools.partial(harness.peer, options, "small-tags", *given, *settings)
                turn[f"Trainer, {name}: {epochs} epochs at {rate}"] = call
            for name, done in harness.in_turn(turn, 1).items():
                runs.setdefault(f"{rows}: {name}", []).extend(done)
    for name, done in runs.items():
        means = [harness.median(done, key) for key in ("f1", "seconds", "cpu_seconds")]
        table.append([name, len(done), *means])
    header = ["sentences: who", "seeds", "entity F1, median", "seconds", "CPU seconds"]
    harness.report("small_tags", header, table, runs)


if __name__ == "__main__":
    main()
