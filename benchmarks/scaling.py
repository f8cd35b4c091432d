"""Twice the rows: time and memory of fine-tuning the top two layers on IMDB, 5,000 and 10,000 rows.

python benchmarks/scaling.py
"""

import functools

import harness


def main() -> None:
    """Measures and prints."""
    options = harness.parse(harness.arguments(__doc__), ("data_folder", "encoder"))
    chosen = ("--dataset", "imdb", "--unfreeze", "2", "--epochs", "1", "--sequence-length", "256")
    turn = {
        str(rows): functools.partial(
            harness.ours, options, "fine-tune", *chosen, "--rows", str(rows)
        )
        for rows in (5000, 10000)
    }
    runs = harness.in_turn(turn, 1)
    rows = []
    for key, unit, aim in (("seconds", "s", "<= 2.1"), ("peak_mb", "MB", "<= 1.1")):
        small, large = (harness.median(runs[name], key) for name in turn)
        rows.append([f"{key} ({unit})", small, large, large / small, aim])
    header = ["IMDB, top 2 layers, 1 epoch", "5,000 rows", "10,000 rows", "ratio", "aim"]
    harness.report("scaling", header, rows, runs)


if __name__ == "__main__":
    main()
