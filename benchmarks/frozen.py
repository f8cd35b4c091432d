"""A frozen encoder and a head, from raw text: ours, sentence-transformers, and the tutorial's way.

python benchmarks/frozen.py
"""

import argparse
import functools
import sys

import harness


def main() -> None:
    """Measures and prints."""
    parser = harness.arguments(__doc__)
    parser.add_argument("--tutorial", action="store_true", help="needs tf_keras; 100 s more")
    options = harness.parse(parser, ("data_folder", "encoder", "weights", "peer_python"))
    turn = {
        f"sentence-transformers {p}": functools.partial(
            harness.peer, options, "frozen", "--precision", p
        )
        for p in harness.PRECISIONS
    }
    turn["ours"] = functools.partial(harness.ours, options, "frozen")
    runs = harness.in_turn(turn, options.repeat)
    best, theirs = harness.best(runs, "sentence-transformers", "seconds")
    cold, warm = (harness.median(runs["ours"], key) for key in ("seconds", "warm_seconds"))
    scores = {name: harness.median(runs[name], "accuracy") for name in (best, "ours")}
    rows = [
        [f"{best} + LR", theirs, scores[best], "1", ""],
        ["ours, first run", cold, scores["ours"], cold / theirs, "<= 0.8"],
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
