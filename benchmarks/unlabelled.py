"""What labels for unlabelled texts are worth: accuracy without, by each way, and by what judges.

    python benchmarks/unlabelled.py --seeds 5

Of each data set so many training texts a class have their labels, and the others are texts without;
a linear head on the same vectors learns from them and is measured on the whole test split.
`kept` is what `train --unlabelled` would take, by the labelled texts alone left out in turn. One
line a data set, number of labels and seed is appended to `unlabelled.jsonl`; what is there isn't
run again. `--table` shows means over seeds. `--large N` times N texts of 384 numbers instead.
"""

import resource
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import harness
import numpy as np

import tfhub_transfer as tt
from tfhub_transfer.models import encoding
from tfhub_transfer.recipes import pseudo_labels
from tfhub_transfer.tasks import nearness

RESULTS = Path(__file__).parent / "unlabelled.jsonl"
LABELS = {"sst2": (4, 8, 16, 64), "ag_news": (4, 8, 16, 64), "banking77": (1, 2, 4, 8)}


def vectors(folder: str, data: str) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Unit vectors and labels of the training and the test split."""
    model, found = encoding.vector_model("auto"), {}
    for split in ("train", "test"):
        path = next((Path(folder) / data).glob(f"{split}.jsonl*"))
        read = tt.data.read(str(path), text="text", label="label")
        unit = nearness.unit(np.asarray(model.compute_features(read)))
        found[split] = unit, np.array(list(map(str, read.labels)))
    return found


def measured(splits: Any, each: int, seed: int) -> dict[str, Any]:
    """Test accuracy of a head by each way, and which way cross-validation takes."""
    (pool, names), (test, truth) = splits["train"], splits["test"]
    classes = np.unique(names, return_inverse=True)[1]
    wanted = np.unique(truth, return_inverse=True)[1]
    order = np.random.default_rng(seed).permutation(len(pool))
    known = np.concatenate([order[classes[order] == c][:each] for c in np.unique(classes)])
    others = np.setdiff1d(np.arange(len(pool)), known)
    started = time.process_time()
    found = pseudo_labels.judge(pool[known], classes[known], pool[others], seed=seed)
    took = time.process_time() - started
    trial = pseudo_labels._Trial(pool[known], classes[known], pool[others], seed)
    accuracy = {}
    for way, labels in trial.ways(np.ones(len(known), bool)).items():
        head = pseudo_labels.learned(pool[known], classes[known], pool[others], labels)
        accuracy[way] = float((head.predict(test) == wanted).mean())
    right = {way: count / found.asked for way, count in found.right.items()}
    return {
        "accuracy": accuracy,
        "judged": right,
        "nearest": found.nearest / found.asked,
        "kept": found.way or "",
        "unlabelled": len(others),
        "cpu_seconds": round(took, 1),
    }


def table(runs: list[dict[str, Any]]) -> None:
    """Means over seeds, as Markdown."""
    print("| data, labels a class | seeds | without | self-training | spreading | kept | gain |")
    print("|---|---|---|---|---|---|---|")
    for data, counts in LABELS.items():
        for count in counts:
            own = [run for run in runs if (run["data"], run["labels"]) == (data, count)]
            if not own:
                continue
            ways = [[run["accuracy"][way] for run in own] for way in pseudo_labels.WAYS]
            kept = [run["accuracy"][run["kept"]] for run in own]
            cells = [f"{statistics.mean(each):.3f}" for each in (*ways, kept)]
            gains = [a - b for a, b in zip(kept, ways[0])]
            spread = statistics.stdev(gains) if len(gains) > 1 else 0.0
            cells.append(f"{statistics.mean(gains):+.3f} ± {spread:.3f}")
            print(f"| {data}, {count} | {len(own)} | {' | '.join(cells)} |")


def large(count: int) -> None:
    """Seconds and memory for so many texts, of 77 classes with four labels each."""
    random = np.random.default_rng(0)
    centres = random.normal(size=(77, 384)).astype("float32")
    classes = random.integers(0, 77, count + 308)
    classes[:308] = np.arange(308) % 77
    drawn = random.standard_normal((len(classes), 384), dtype="float32")
    whole = nearness.unit(centres[classes] + 2 * drawn)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started, worked = time.perf_counter(), time.process_time()
    found = pseudo_labels.judge(whole[:308], classes[:308], whole[308:])
    taken, work = time.perf_counter() - started, time.process_time() - worked
    more = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    print(f"{count:,} texts: {taken:.0f} s, {work:.0f} CPU s, {more:,.0f} MB more; {found}")


def main() -> None:
    """Runs what isn't there yet."""
    parser = harness.arguments(__doc__)
    parser.add_argument("--only", nargs="+", choices=[*LABELS], default=[*LABELS])
    parser.add_argument("--large", type=int)
    if "--large" in sys.argv:
        return large(parser.parse_args().large)
    options, lines = harness.goes_on(parser, RESULTS)
    if options.table:
        return table(lines)
    for data in options.only:
        splits = None
        for count in LABELS[data]:
            for seed in range(options.seeds):
                what = {"data": data, "labels": count, "seed": seed}
                if any(what.items() <= line.items() for line in lines):
                    continue
                splits = splits or vectors(options.data_folder, data)
                harness.note(RESULTS, {**what, **measured(splits, count, seed)})


if __name__ == "__main__":
    main()
