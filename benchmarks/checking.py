"""Labels that look wrong: how far up flipped ones stand, beside cleanlab on the same probabilities.

    python benchmarks/checking.py --seeds 5 --peer-python PEER

Of a training split 5 % of the labels become another that is drawn: another class, a set of classes
with one exchanged (GoEmotions), another row's number that is a standard deviation away or more
(STS-B). A linear head on the packaged encoder's vectors answers each row by folds that it hasn't
learned from, as `check` does; these answers rank the labels here and in cleanlab, which is another
Python's (`--peer-python`). One line a data set and seed is appended to `checking.jsonl`; what is
there isn't run again. `--table` shows means and spreads over seeds.
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
from tfhub_transfer.checks import checking, confident, cross_validation, gathered
from tfhub_transfer.models import encoding
from tfhub_transfer.recipes.active_learning import pools

RESULTS = Path(__file__).parent / "checking.jsonl"
DATA = {
    "banking77": "classes",
    "sst2": "classes",
    "ag_news": "classes",
    "go_emotions": "sets",
    "stsb": "numbers",
}
FILES = {"stsb": "stsb/en/train.jsonl*"}
FLIPPED, MOST_ROWS = 0.05, 5000
# cleanlab's ways to rank, its default first.
METHODS = {
    "classes": ("self_confidence", "normalized_margin", "confidence_weighted_entropy"),
    "sets": ("self_confidence", "normalized_margin", "confidence_weighted_entropy"),
    "numbers": ("outre", "residual"),
}
# What cleanlab's Python runs: scores of each way to rank, and which rows it filters.
PEER = """
import json, sys, time
import numpy as np
from cleanlab import filter, multilabel_classification, rank, regression
given = np.load(sys.argv[1])
kind, methods, told, labels = sys.argv[3], sys.argv[4].split(","), given["told"], given["labels"]
quality = rank.get_label_quality_scores
issues = lambda: filter.find_label_issues(labels, told, n_jobs=1)
if kind == "sets":
    labels = [np.flatnonzero(row).tolist() for row in labels]
    quality = multilabel_classification.get_label_quality_scores
    issues = lambda: multilabel_classification.filter.find_label_issues(labels, told, n_jobs=1)
if kind == "numbers":
    quality = regression.rank.get_label_quality_scores
    issues = lambda: np.zeros(len(labels), bool)
made, seconds = {}, {}
for method in methods:
    started = time.perf_counter()
    made[method] = quality(labels, told, method=method)
    seconds[method] = time.perf_counter() - started
started = time.perf_counter()
made["issues"] = issues()
seconds["issues"] = time.perf_counter() - started
np.savez(sys.argv[2], **made)
print(json.dumps(seconds))
"""


def flipped(labels: list[Any], kind: str, seed: int) -> tuple[list[Any], np.ndarray]:
    """Labels of which some are another now, and which these are."""
    generator = np.random.default_rng(seed)
    every = [] if kind == "numbers" else map(pools.names_of, labels)
    names = sorted({name for each in every for name in each})
    rows = generator.permutation(len(labels))[: round(FLIPPED * len(labels))]
    found = list(labels)
    for row in rows:
        if kind == "classes":
            others = [name for name in names if name != labels[row]]
            found[row] = str(generator.choice(others))
        elif kind == "sets":
            others = [name for name in names if name not in labels[row]]
            kept = [*generator.permutation(labels[row])][1:]
            found[row] = tuple(sorted([*kept, str(generator.choice(others))]))
        else:
            away = np.abs(np.array(labels) - labels[row]) >= np.std(labels)
            found[row] = float(generator.choice(np.array(labels)[away]))
    return found, np.isin(np.arange(len(labels)), rows)


def run(options: Any, model: Any, data: str, seed: int) -> dict[str, Any]:
    """Both rankings of one data set and seed."""
    kind = DATA[data]
    pattern = FILES.get(data, f"{data}/train.jsonl*")
    path = str(next(Path(options.data_folder).glob(pattern)))
    columns = {"text": "text", "label": "label"}
    if data == "stsb":
        columns = {"text": "text_a", "text_pair": "text_b", "label": "score"}
    train = tt.data.read(path, **columns)
    chosen = np.sort(np.random.default_rng(0).permutation(len(train))[:MOST_ROWS])
    labels, wrong = flipped(_labels(train[chosen].labels, kind), kind, seed)
    task = {"sets": tt.tasks.MultiLabel, "numbers": tt.tasks.Regression}.get(
        kind, tt.tasks.Classification
    )
    started = time.perf_counter()
    whole = gathered.gather({"train": train[chosen]}, task())
    groups = whole.near
    near = time.perf_counter() - started
    vectors = checking._vectors(whole, model, np.arange(len(labels)))
    parts = cross_validation.folds(groups, labels, seed)
    assert parts is not None
    started = time.perf_counter()
    if kind == "numbers":
        judged = cross_validation.of_numbers(vectors, np.array(labels), parts, lambda: None)
    else:
        judged = cross_validation.of_classes(vectors, labels, parts, lambda: None)
    folds = time.perf_counter() - started
    given = _given([labels[row] for row in judged.rows], judged.classes, kind)
    started = time.perf_counter()
    score, doubt, estimated = ours(judged.answers, given, kind)
    took = time.perf_counter() - started
    truth = wrong[judged.rows]
    told = {
        "ap": float(average_precision_score(truth, score)),
        **_filtered(doubt, truth),
        "estimated": estimated,
    }
    seconds = {"near duplicates": near, "folds": folds, "ranking": took}
    peer = _peer(options.peer_python, judged.answers, given, truth, kind)
    line = {"data": data, "seed": seed, "rows": len(labels), "ours": told, "seconds": seconds}
    return {**line, "cleanlab": peer}


def ours(answers: np.ndarray, given: np.ndarray, kind: str) -> tuple[np.ndarray, np.ndarray, float]:
    """The score of each row, which are in doubt, and the estimated share that is wrong."""
    if kind == "numbers":
        apart = confident.spreads(given - answers)
        return apart, apart >= confident.FAR, 0.0
    if kind == "classes":
        doubt = confident.in_doubt(answers, given)
        return confident.suspicion(answers, given), doubt, confident.wrong(answers, given)
    score, doubt = np.zeros(given.shape), np.zeros(given.shape, bool)
    for at, (told, own) in enumerate(zip(answers.T, given.T.astype(int))):
        both = np.stack([1 - told, told], axis=1)
        score[:, at] = confident.suspicion(both, own)
        doubt[:, at] = confident.in_doubt(both, own)
    return score.max(axis=1), doubt.any(axis=1), 0.0


def _labels(labels: Any, kind: str) -> list[Any]:
    if kind == "sets":
        return [tuple(sorted(map(str, label))) for label in labels]
    return [float(label) if kind == "numbers" else str(label) for label in labels]


def _given(labels: list[Any], classes: tuple[str, ...], kind: str) -> np.ndarray:
    if kind == "numbers":
        return np.array(labels, float)
    if kind == "sets":
        return np.array([[name in label for name in classes] for label in labels])
    return np.searchsorted(classes, np.array(labels))


def _filtered(doubt: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    return {
        "filtered": int(doubt.sum()),
        "precision": float(truth[doubt].mean()) if doubt.any() else 0.0,
        "recall": float(doubt[truth].mean()),
    }


def _peer(
    python: str, told: np.ndarray, given: np.ndarray, truth: np.ndarray, kind: str
) -> dict[str, Any]:
    methods = METHODS[kind]
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "given.npz", Path(folder) / "made.npz"
        np.savez(source, labels=given, told=told)
        command = [python, "-c", PEER, str(source), str(target), kind, ",".join(methods)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        made = np.load(target)
        # What cleanlab calls quality is high where a label is right.
        scores = {m: float(average_precision_score(truth, -made[m])) for m in methods}
        seconds = json.loads(done.stdout.strip().splitlines()[-1])
        return {"ap": scores, **_filtered(made["issues"], truth), "seconds": seconds}


def table() -> None:
    """Means over seeds, as Markdown."""
    runs = harness.noted(RESULTS)
    for kinds in (("classes", "sets"), ("numbers",)):
        methods = METHODS[kinds[0]]
        print("| data | seeds | ours | " + " | ".join(f"cleanlab, {m}" for m in methods) + " |")
        print("|---|---|---|" + "---|" * len(methods))
        for data in (name for name, kind in DATA.items() if kind in kinds):
            own = [run for run in runs if run["data"] == data]
            if own:
                cells = [_mean([run["ours"]["ap"] for run in own])]
                cells += [_mean([run["cleanlab"]["ap"][m] for run in own]) for m in methods]
                print(f"| {data} | {len(own)} | " + " | ".join(cells) + " |")
        print()
    print("| data | in doubt | right of these | found | cleanlab | right | found |")
    print("|---" * 7 + "|")
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
    parser.add_argument("--only", nargs="+", choices=DATA, default=[*DATA])
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
