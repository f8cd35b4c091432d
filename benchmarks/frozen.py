"""A frozen encoder and a head, from raw text: ours, sentence-transformers, and the tutorial's way.

python benchmarks/frozen.py
"""

import argparse
import sys

import harness


def main() -> None:
    """Measures and prints."""
    parser = harness.arguments(__doc__)
    parser.add_argument("--tutorial", action="store_true", help="needs tf_keras; 100 s more")
    options = harness.parse(parser, ("data_folder", "encoder", "weights", "peer_python"))
    runs = harness.in_turn(
        {
            "ours": lambda: harness.ours(options, "frozen"),
            "sentence-transformers": lambda: harness.peer(options, "frozen"),
        },
        options.repeat,
    )
    theirs = harness.median(runs["sentence-transformers"], "seconds")
    cold, warm = (harness.median(runs["ours"], key) for key in ("seconds", "warm_seconds"))
    scores = {name: harness.median(done, "accuracy") for name, done in runs.items()}
    rows = [
        ["sentence-transformers bf16 + LR", theirs, scores["sentence-transformers"], "1", ""],
        ["ours, first run", cold, scores["ours"], cold / theirs, "<= 0.7"],
        ["ours, caches warm", warm, "", f"{warm / cold:.2f} of our first", "<= 0.1"],
    ]
    if options.tutorial:
        local = argparse.Namespace(
            **{**vars(options), "peer_python": sys.executable, "weights": options.encoder}
        )
        epoch = harness.peer(local, "tutorial")
        runs["tutorial"] = [epoch]
        whole = 5 * epoch["seconds"]
        rows.append(["tf_keras tutorial, 5 x one epoch", whole, "", cold / whole, "<= 0.02"])
    header = ["frozen encoder + head, SST-2", "seconds", "test accuracy", "ratio", "aim"]
    harness.report("frozen", header, rows, runs)


if __name__ == "__main__":
    main()
