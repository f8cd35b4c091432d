"""Labels that look wrong: how far up flipped ones stand, beside cleanlab on the same probabilities.

    python benchmarks/checking.py --seeds 5 --peer-python PEER

Of a training split 5 % of the labels become another, drawn class. A linear head on the packaged
encoder's vectors answers each row by folds that it hasn't learned from, as `check` does; these
probabilities rank the labels here and in cleanlab, which is another Python's (`--peer-python`). One
line a data set and seed is appended to `checking.jsonl`; what is there isn't run again. `--table`
shows means and spreads over seeds.
"""

import json
import statistics
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import harness
import numpy as np
from sklearn.metrics import average_precision_score

import tfhub_transfer as tt
from tfhub_transfer.checks import confident, cross_validation, gathered
from tfhub_transfer.models import encoding
from tfhub_transfer.tasks import nearness

RESULTS = Path(__file__).parent / "checking.jsonl"
DATA = ("banking77", "sst2", "ag_news")
FLIPPED, MOST_ROWS = 0.05, 5000
METHODS = ("self_confidence", "normalized_margin", "confidence_weighted_entropy")
# What cleanlab's Python runs: scores of each way to rank, and which rows it filters.
PEER = """
import json, sys, time
import numpy as np
from cleanlab.filter import find_label_issues
from cleanlab.rank import get_label_quality_scores
given = np.load(sys.argv[1])
labels, told = given["labels"], given["told"]
made, seconds = {}, {}
for method in %r:
    started = time.perf_counter()
    made[method] = get_label_quality_scores(labels, told, method=method)
    seconds[method] = time.perf_counter() - started
started = time.perf_counter()
made["issues"] = find_label_issues(labels, told, n_jobs=1)
seconds["issues"] = time.perf_counter() - started
np.savez(sys.argv[2], **made)
print(json.dumps(seconds))
"""


def flipped(labels: list[str], seed: int) -> tuple[list[str], np.ndarray]:
    """Labels of which some are another class now, and which these are."""
    generator, names = np.random.default_rng(seed), sorted(set(labels))
    rows = generator.permutation(len(labels))[: round(FLIPPED * len(labels))]
    found = list(labels)
    for row in rows:
        found[row] = str(generator.choice([name for name in names if name != labels[row]]))
    return found, np.isin(np.arange(len(labels)), rows)


def run(options: Any, model: Any, data: str, seed: int) -> dict[str, Any]:
    """Both rankings of one data set and seed."""
    path = next((Path(options.data_folder) / data).glob("train.jsonl*"))
    train = tt.data.read(str(path), text="text", label="label")
    chosen = np.sort(np.random.default_rng(0).permutation(len(train))[:MOST_ROWS])
    train = train[chosen]
    vectors = nearness.unit(np.asarray(model.compute_features(train)))
    labels, wrong = flipped(list(map(str, train.labels)), seed)
    started = time.perf_counter()
    groups = gathered.gather(train).near
    near = time.perf_counter() - started
    parts = cross_validation.folds(groups, labels, seed)
    assert parts is not None
    started = time.perf_counter()
    judged = cross_validation.of_classes(vectors, labels, parts, lambda: None)
    folds = time.perf_counter() - started
    given = np.searchsorted(judged.classes, np.array(labels)[judged.rows])
    started = time.perf_counter()
    score, doubt = (f(judged.answers, given) for f in (confident.suspicion, confident.in_doubt))
    took = time.perf_counter() - started
    truth = wrong[judged.rows]
    ours = {
        "ap": float(average_precision_score(truth, score)),
        **_filtered(doubt, truth),
        "estimated": confident.wrong(judged.answers, given),
    }
    seconds = {"near duplicates": near, "folds": folds, "ranking": took}
    peer = _peer(options.peer_python, judged.answers, given, truth)
    line = {"data": data, "seed": seed, "rows": len(labels), "ours": ours, "seconds": seconds}
    return {**line, "cleanlab": peer}


def _filtered(doubt: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    return {
        "filtered": int(doubt.sum()),
        "precision": float(truth[doubt].mean()) if doubt.any() else 0.0,
        "recall": float(doubt[truth].mean()),
    }


def _peer(python: str, told: np.ndarray, given: np.ndarray, truth: np.ndarray) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "given.npz", Path(folder) / "made.npz"
        np.savez(source, labels=given, told=told)
        command = [python, "-c", PEER % (METHODS,), str(source), str(target)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        made = np.load(target)
        # What cleanlab calls quality is high where a label is right.
        scores = {m: float(average_precision_score(truth, -made[m])) for m in METHODS}
        seconds = json.loads(done.stdout.strip().splitlines()[-1])
        return {"ap": scores, **_filtered(made["issues"], truth), "seconds": seconds}


def table() -> None:
    """Means over seeds, as Markdown."""
    runs = harness.noted(RESULTS)
    print("| data | seeds | ours | " + " | ".join(f"cleanlab, {m}" for m in METHODS) + " |")
    print("|---|---|---|" + "---|" * len(METHODS))
    for data in DATA:
        own = [run for run in runs if run["data"] == data]
        if own:
            cells = [_mean([run["ours"]["ap"] for run in own])]
            cells += [_mean([run["cleanlab"]["ap"][m] for run in own]) for m in METHODS]
            print(f"| {data} | {len(own)} | " + " | ".join(cells) + " |")
    print(
        "\n| data | in doubt | right of these | found | cleanlab | right | found |\n"
        + "|---" * 7
        + "|"
    )
    for data in DATA:
        own = [run for run in runs if run["data"] == data]
        if own:
            cells = [
                _mean([run[who][what] for run in own], 0 if what == "filtered" else 3)
                for who in ("ours", "cleanlab")
                for what in ("filtered", "precision", "recall")
            ]
            print(f"| {data} | " + " | ".join(cells) + " |")


def _mean(found: list[float], digits: int = 3) -> str:
    spread = statistics.stdev(found) if len(found) > 1 else 0.0
    return f"{statistics.mean(found):.{digits}f} ± {spread:.{digits}f}"


def main() -> None:
    """Runs what isn't there yet."""
    parser = harness.arguments(__doc__)
    parser.add_argument("--only", nargs="+", choices=DATA, default=DATA)
    options, done = harness.goes_on(parser, RESULTS)
    if options.table:
        return table()
    if not options.peer_python:
        parser.error("give --peer-python, or set BENCH_PEER_PYTHON: one that has cleanlab")
    known = {(line["data"], line["seed"]) for line in done}
    model = encoding.vector_model("auto")
    for seed in range(options.seeds):
        for data in options.only:
            if (data, seed) not in known:
                harness.note(RESULTS, run(options, model, data, seed))


if __name__ == "__main__":
    main()
