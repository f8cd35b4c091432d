"""Whether what `train --learning-curve` expects of twice the labels comes true.

    python benchmarks/more_labels.py --data-folder DATA --vectors FOLDER --seeds 5

Each run draws so many training texts with their labels, and an eighth as many for validation, as
`train` splits a file, and asks for the curve as it does. What comes is measured: the accuracy on
the whole test split of a linear head that learned from twice the training labels, less that of one
from those that there are. Vectors, the packaged encoder's, are computed once and kept in FOLDER.
One line a run is appended to `more_labels.jsonl`; what is there isn't run again. `--table` shows
means, and how often what came lies within one and two errors of what was expected.
"""

import statistics
from pathlib import Path
from typing import Any

import harness
import numpy as np

import tfhub_transfer as tt
from tfhub_transfer.jobs.trainings import more_labels
from tfhub_transfer.models import encoding
from tfhub_transfer.recipes.active_learning import learning_curves
from tfhub_transfer.tasks import nearness

RESULTS = Path(__file__).parent / "more_labels.jsonl"
SIZES = {
    "sst2": (32, 64, 128, 256, 512, 1024, 2048, 3072),
    "ag_news": (32, 64, 128, 256, 512, 1024, 1792),
    "banking77": (154, 308, 616, 1232, 2464, 4096),
}


def encoded(data: str, split: str, options: Any) -> tuple[np.ndarray, np.ndarray]:
    """Unit vectors and labels of a split."""
    kept = Path(options.vectors) / f"{data}_{split}.npz"
    if not kept.exists():
        path = next((Path(options.data_folder) / data).glob(f"{split}.jsonl*"))
        read = tt.data.read(str(path), text="text", label="label")
        vectors = np.asarray(encoding.vector_model("auto").compute_features(read))
        kept.parent.mkdir(parents=True, exist_ok=True)
        np.savez(kept, x=nearness.unit(vectors), y=np.array(read.labels, "U"))
    found = np.load(kept, allow_pickle=False)
    return found["x"], found["y"]


def run(data: str, size: int, seed: int, options: Any) -> dict[str, Any]:
    """What is expected of twice the labels, and what came."""
    (vectors, names), (test, truth) = (encoded(data, each, options) for each in ("train", "test"))
    order = np.random.default_rng((seed, size)).permutation(len(vectors))
    known = np.append(order[:size], order[2 * size : 2 * size + size // 8])
    labels = [str(name) for name in names[known]]
    told = more_labels.curve_of(vectors[known], labels, size, seed)
    assert told is not None
    both, every = np.concatenate([vectors, test]), [*map(str, names), *map(str, truth)]
    judges = np.arange(len(vectors), len(both))
    now, then = (
        learning_curves.accuracy(both, every, order[:count], judges) for count in (size, 2 * size)
    )
    keys = ("accuracy", "gain", "error")
    return {"now": now, "came": then - now, **{key: told[key] for key in keys}}  # type: ignore[literal-required]


def table(lines: list[dict[str, Any]]) -> None:
    """Means over seeds, as Markdown; then how far off all were, in errors."""
    print("| data, labels | seeds | accuracy | expected | its error | came | spread |")
    print("|---|---|---|---|---|---|---|")
    for data, sizes in SIZES.items():
        for size in sizes:
            own = [line for line in lines if (line["data"], line["labels"]) == (data, size)]
            if not own:
                continue
            means = [statistics.mean(line[key] for line in own) for key in ("now", "gain", "error")]
            came = [line["came"] for line in own]
            spread = statistics.stdev(came) if len(came) > 1 else 0.0
            cells = f"{means[0]:.3f} | {means[1]:+.3f} | {means[2]:.3f}"
            shown = f"{cells} | {statistics.mean(came):+.3f} | {spread:.3f}"
            print(f"| {data}, {size} | {len(own)} | {shown} |")
    for data in SIZES:
        own = [line for line in lines if line["data"] == data]
        off = np.array([(line["came"] - line["gain"]) / line["error"] for line in own])
        bias = statistics.mean(line["gain"] - line["came"] for line in own)
        within = ", ".join(f"{(abs(off) <= n).mean():.2f} within {n}" for n in (1, 2))
        print(f"{data}: {len(own)} runs, expected {bias:+.4f} too much; {within} errors")


def main() -> None:
    """Runs what isn't there, or shows what is."""
    parser = harness.arguments(__doc__)
    parser.add_argument("--only", nargs="+", choices=[*SIZES], default=[*SIZES])
    parser.add_argument("--vectors", default="vectors", help="where vectors are kept")
    options, lines = harness.goes_on(parser, RESULTS)
    if options.table:
        table(lines)
        return
    for seed in range(options.seeds):
        for data in options.only:
            for size in SIZES[data]:
                what = {"data": data, "labels": size, "seed": seed}
                if not any(what.items() <= line.items() for line in lines):
                    harness.note(RESULTS, {**what, **run(data, size, seed, options)})


if __name__ == "__main__":
    main()
