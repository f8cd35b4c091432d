"""Which texts to label: accuracy by the number of labels, for each way to choose them.

    python benchmarks/labelling.py --seeds 5

Each seed begins with no label and lets `Selector` choose from the training split, whose labels it
is told; after each step a linear head on the same vectors learns from what is labelled and is
measured on the whole test split. Vectors are encoded once and kept. One line a seed and strategy is
appended to `labelling.jsonl`; what is there isn't run again. `--table` shows means over seeds.
"""

import datetime
import itertools
import json
import statistics
import sys
from pathlib import Path
from typing import Any

import harness
import numpy as np
from sklearn.metrics import recall_score

import tfhub_transfer as tt
from tfhub_transfer.models import encoding
from tfhub_transfer.recipes.active_learning import Selector, learning_curves
from tfhub_transfer.recipes.active_learning.linear_heads import LinearHead, learns
from tfhub_transfer.tasks import nearness

RESULTS = Path(__file__).parent / "labelling.jsonl"
SIZES = {"banking77": (77, 154, 231, 308, 462), "sst2": (20, 40, 80, 160)}
STRATEGIES = ("random", "typical", "margin", "clustered-margin", "auto")
# Texts chosen at a time; no more than to the next size.
BATCH = {"banking77": 77, "sst2": 20}


def read(folder: str, data: str, split: str) -> tt.data.Examples:
    """One split of a data set."""
    path = next((Path(folder) / data).glob(f"{split}.jsonl*"))
    return tt.data.read(str(path), text="text", label="label")


def grown(folder: str, data: str, strategy: str, seed: int) -> list[dict[str, Any]]:
    """Accuracies after each number of labels."""
    train, test = read(folder, data, "train"), read(folder, data, "test")
    selector = Selector(strategy=strategy, seed=seed, random_share=0)
    texts, truth = train.texts[0], list(map(str, train.labels))
    # The same vectors as the selector's own.
    both = [*texts, *test.texts[0]]
    model = encoding.vector_model("auto")
    vectors = nearness.unit(model.compute_features(tt.data.Examples.from_lists(both)))
    known: dict[int, str] = {}
    found = []
    for size in SIZES[data]:
        while len(known) < size:
            count = min(BATCH[data], size - len(known))
            labels = [known.get(row) for row in range(len(texts))]
            chosen = selector.select(texts, labels, count)
            known |= {row: truth[row] for row in chosen.rows}
        rows = sorted(known)
        labels = [known[row] for row in rows]
        answers = [labels[0]] * len(test)
        if learns(labels):
            head = LinearHead(vectors[rows], labels)
            answers = head.answers(head.scores(vectors[len(texts) :]))
        right = list(map(str, test.labels))
        accuracy = float(np.mean([a == b for a, b in zip(answers, right)]))
        macro = float(recall_score(right, answers, average="macro", zero_division=0))
        seen = len(set(labels))
        found.append({"labels": size, "accuracy": accuracy, "macro": macro, "classes": seen})
        following = next((each for each in SIZES[data] if each > size), None)
        told = following is not None and strategy == "auto"
        curve = learning_curves.measured(vectors[rows], labels, seed) if told else None
        if curve is not None and following is not None:
            gain = learning_curves.expected(*curve, now=size, more=following - size)
            found[-1] |= {"expected": gain.value, "error": gain.error}
    return found


def table() -> None:
    """Means over seeds, as Markdown."""
    runs = [json.loads(line) for line in RESULTS.read_text("utf-8").splitlines()]
    for data, sizes in SIZES.items():
        print(f"\n| {data} | " + " | ".join(map(str, sizes)) + " |")
        print("|---|" + "---|" * len(sizes))
        for strategy in STRATEGIES:
            own = [run for run in runs if (run["data"], run["strategy"]) == (data, strategy)]
            cells = []
            for number in range(len(sizes)):
                got = [run["sizes"][number]["accuracy"] for run in own]
                spread = statistics.stdev(got) if len(got) > 1 else 0.0
                cells.append(f"{statistics.mean(got):.3f} ± {spread:.3f}" if got else "")
            print(f"| {strategy} ({len(own)}) | " + " | ".join(cells) + " |")


def expected() -> None:
    """What was expected of the labels to the next size, and what came."""
    runs = [json.loads(line) for line in RESULTS.read_text("utf-8").splitlines()]
    for data, sizes in SIZES.items():
        own = [run["sizes"] for run in runs if (run["data"], run["strategy"]) == (data, "auto")]
        for number, (size, following) in enumerate(itertools.pairwise(sizes)):
            told = [each[number] for each in own if "expected" in each[number]]
            came = [e[number + 1]["accuracy"] - e[number]["accuracy"] for e in own]
            if told:
                means = [
                    statistics.mean(each[key] for each in told) for key in ("expected", "error")
                ]
                shown = f"{means[0]:+.3f} | {means[1]:.3f} | {statistics.mean(came):+.3f}"
                print(f"| {data}, {size} to {following} | {shown} |")


def main() -> None:
    """Runs what isn't there yet."""
    parser = harness.arguments(__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--only", nargs="+", choices=[*SIZES], default=[*SIZES])
    parser.add_argument("--table", action="store_true")
    if "--table" in sys.argv:
        table()
        return expected()
    options = harness.parse(parser, ("data_folder",))
    lines = RESULTS.read_text("utf-8").splitlines() if RESULTS.exists() else []
    done = {tuple(json.loads(line)[key] for key in ("data", "strategy", "seed")) for line in lines}
    for seed in range(options.seeds):
        for data in options.only:
            for strategy in STRATEGIES:
                if (data, strategy, seed) in done:
                    continue
                sizes = grown(options.data_folder, data, strategy, seed)
                line = {"data": data, "strategy": strategy, "seed": seed, "sizes": sizes}
                line["date"] = datetime.date.today().isoformat()
                with RESULTS.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(line) + "\n")
                shown = " ".join(f"{each['accuracy']:.3f}" for each in sizes)
                print(data, strategy, seed, shown, flush=True)


if __name__ == "__main__":
    main()
