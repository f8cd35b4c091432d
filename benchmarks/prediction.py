"""Texts a second and milliseconds a request of an exported model, beside the peers' fastest.

python benchmarks/prediction.py
"""

import functools

import harness

DATA = {
    "SST-2 test": ("--dataset", "sst2", "--sequence-length", "128"),
    "1000 IMDB reviews at 256": ("--dataset", "imdb", "--every", "5", "--sequence-length", "256"),
}


def main() -> None:
    """Measures and prints."""
    needs = ("data_folder", "encoder", "weights", "peer_python")
    options = harness.parse(harness.arguments(__doc__), needs)
    rows, raw = [], {}
    for name, chosen in DATA.items():
        runs = harness.in_turn(
            {
                "ours": functools.partial(harness.ours, options, "predict", *chosen),
                "peer": functools.partial(harness.peer, options, "predict", *chosen),
            },
            options.repeat,
        )
        texts = runs["ours"][0]["texts"]
        ours, theirs = (texts / harness.median(runs[key], "seconds") for key in ("ours", "peer"))
        rows.append([f"{name}, texts/s", ours, theirs, ours / theirs, ">= 1.2"])
        raw[name] = runs
    precisions = ("bfloat16", "float32")
    turn = {
        f"{side} {p}": functools.partial(run, options, "latency", "--precision", p)
        for p in precisions
        for side, run in (("peer", harness.peer), ("ours", harness.ours))
    }
    runs = harness.in_turn(turn, options.repeat)
    best = {
        side: min(1e3 * harness.median(runs[f"{side} {p}"], "seconds") for p in precisions)
        for side in ("ours", "peer")
    }
    rows.append(
        ["one request, ms", best["ours"], best["peer"], best["ours"] / best["peer"], "<= 0.7"]
    )
    raw["latency"] = runs
    header = ["exported model", "ours", "best peer", "ratio", "aim"]
    harness.report("prediction", header, rows, raw)


if __name__ == "__main__":
    main()
