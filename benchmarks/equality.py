"""That nothing is paid for in accuracy: speed features on and off, float32 and bfloat16.

python benchmarks/equality.py
"""

import functools
import statistics

import harness

SETS = dict.fromkeys(("sst2", "ag_news", "banking77"), ("--rows", "1000"))
WAYS = {
    "float32, whole graph": ("--precision", "float32", "--plain"),
    "bfloat16, whole graph": ("--precision", "bfloat16", "--plain"),
    "bfloat16, stored activations": ("--precision", "bfloat16"),
}


def main() -> None:
    """Measures and prints."""
    options = harness.parse(harness.arguments(__doc__), ("data_folder", "encoder"))
    rows, raw = [], {}
    for name, size in SETS.items():
        medians = []
        for way, chosen in WAYS.items():
            extra = ("--dataset", name, "--unfreeze", "2", "--epochs", "2", *size, *chosen)
            done = [
                harness.ours(options, "precision", *extra, "--seed", str(seed))
                for seed in range(options.repeat)
            ]
            raw[f"{name}, {way}"] = done
            scores = [run["accuracy"] for run in done]
            medians.append(f"{statistics.median(scores):.4f} ± {_spread(scores):.4f}")
        rows.append([name, *medians])
    header = ["test accuracy, top 2 layers; median ± half the range of seeds", *WAYS]
    difference = functools.partial(harness.ours, options, "features")()
    raw["features"] = [difference]
    harness.report("equality", header, rows, raw)
    print(f"\nlargest difference of a vector in float32: {difference['largest_difference']:.1e}")


def _spread(values: list[float]) -> float:
    return (max(values) - min(values)) / 2


if __name__ == "__main__":
    main()
