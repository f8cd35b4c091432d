"""Steps a second above the moving boundary, against the whole graph with the same layers thawed.

python benchmarks/boundary.py
"""

import functools

import harness

AIMS = {1: ">= 2.5", 2: ">= 1.8", 3: ""}


def main() -> None:
    """Measures and prints."""
    options = harness.parse(harness.arguments(__doc__), ("data_folder", "encoder"))
    turn = {
        str(top): functools.partial(
            harness.ours, options, "boundary", "--unfreeze", str(top), "--rows", "3000"
        )
        for top in AIMS
    }
    runs = harness.in_turn(turn, options.repeat)
    rows = []
    for top, aim in AIMS.items():
        above, whole = (
            1 / harness.median(runs[str(top)], key) for key in ("seconds", "whole_seconds")
        )
        rows.append([f"top {top} of 6", above, whole, above / whole, aim])
    header = ["layers thawed", "steps/s above", "steps/s whole", "ratio", "aim"]
    harness.report("boundary", header, rows, runs)


if __name__ == "__main__":
    main()
