"""What tells texts of classes that a model never saw from those of its own.

    python benchmarks/scope.py --data-folder DATA --vectors FOLDER --seeds 5

Each run leaves some classes out of the training split: of Banking77 27 of 77, which the seed draws,
of AG News each of the four in turn. A tenth of what is left is set aside, as validation; on the
vectors of the rest, the packaged encoder's, a linear head is fitted, as one on a frozen encoder is.
Asked is the test split, of AG News 4,000 of it: those of the classes that were left out are the
strange ones, and 1,000 texts of the other data set, which are stranger still. Beside the product's
own score (`models/scope.py`) stand the distances that it isn't, and what scores say by themselves.
Vectors are computed once and kept in FOLDER. One line a run is appended to `scope.jsonl`; what is
there isn't run again. `--table` shows means.
"""

import statistics
from pathlib import Path
from typing import Any

import harness
import numpy as np
import sklearn.covariance
import sklearn.linear_model
import sklearn.metrics

import tfhub_transfer as tt
from tfhub_transfer.models import scope

RESULTS = Path(__file__).parent / "scope.jsonl"
# How many training texts are drawn; all where there is none.
ROWS: dict[str, int | None] = {"banking77": None, "banking77, 800": 800, "ag_news": None}
ROWS["ag_news, 400"] = 400
OTHER = {"banking77": "ag_news", "ag_news": "banking77"}
STRANGE = 1000
MOST = {"train": 10_000, "test": 4000}
SHARE = 0.95
WAYS = ("near", "far")


def folder_of(name: str) -> str:
    """That of a job's data."""
    return name.partition(",")[0]


def encoded(name: str, split: str, options: Any) -> tuple[np.ndarray, np.ndarray]:
    """Vectors and labels of a split; of a larger one of so many texts, drawn."""
    kept = Path(options.vectors) / f"{folder_of(name)}_{split}.npz"
    if not kept.exists():
        path = next((Path(options.data_folder) / folder_of(name)).glob(f"{split}.jsonl*"))
        every = tt.data.read(str(path), text="text", label="label")
        every = every[np.random.default_rng(0).permutation(len(every))[: MOST[split]]]
        kept.parent.mkdir(parents=True, exist_ok=True)
        vectors = tt.encode_text(options.encoder or "auto", every.texts[0])
        np.savez(kept, x=vectors, y=np.array(every.labels, "U"))
    found = np.load(kept, allow_pickle=False)
    return found["x"], found["y"]


def held_out(name: str, classes: list[str], seed: int) -> list[list[str]]:
    """The classes that are held out, of each run."""
    if folder_of(name) == "ag_news":
        return [[each] for each in classes]
    return [np.random.default_rng(seed).permutation(classes)[:27].tolist()]


def run(name: str, seed: int, out: list[str], options: Any) -> dict[str, Any]:
    """Learns without some classes, and asks about all."""
    vectors, labels = encoded(name, "train", options)
    known = np.random.default_rng(seed).permutation(np.flatnonzero(~np.isin(labels, out)))
    left_out, known = np.split(known, [len(known) // 10])
    known = known[: ROWS[name]]
    test, truth = encoded(name, "test", options)
    strange = encoded(OTHER[folder_of(name)], "test", options)[0][:STRANGE]
    asked = np.concatenate([test, strange])
    own = np.append(~np.isin(truth, out), np.zeros(len(strange), bool))
    kinds = np.repeat(WAYS, [len(test), len(strange)])
    kept = known[scope.sampled(len(known), vectors.shape[1], seed)]
    near = scope.learned(vectors[kept], vectors[left_out]).score(asked).numpy()
    ways = {"scope_score": near} | by_neighbours(vectors[known], asked)
    ways |= by_middles(vectors[known], labels[known], asked)
    ways |= by_scores(vectors[known], labels[known], asked)
    return {
        **{"data": name, "seed": seed, "out": out, "known": len(known)},
        "below_5": float((near[own] < 0.05).mean()),
        "ways": {
            way: {kind: told_apart(each, own, ~own & (kinds == kind)) for kind in WAYS}
            for way, each in ways.items()
        },
    }


def by_neighbours(vectors: np.ndarray, asked: np.ndarray) -> dict[str, np.ndarray]:
    """Cosines with the k-th nearest of all training vectors (Sun et al. 2022)."""
    unit = [each / np.linalg.norm(each, axis=1, keepdims=True) for each in (vectors, asked)]
    near = -np.sort(-(unit[1] @ unit[0].T), axis=1)[:, :50]
    return {f"neighbour {k}": near[:, k - 1] for k in (1, 2, 3, 5, 10, 50)}


def by_middles(vectors: np.ndarray, labels: np.ndarray, asked: np.ndarray) -> dict[str, np.ndarray]:
    """Mahalanobis distances (Lee et al. 2018), and less that to all (Ren et al. 2021)."""
    groups = np.unique(labels, return_inverse=True)[1]
    own = mahalanobis(vectors, groups, asked)
    return {
        "Mahalanobis": -own,
        "relative Mahalanobis": mahalanobis(vectors, np.zeros_like(groups), asked) - own,
    }


def mahalanobis(vectors: np.ndarray, groups: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """Squared distances to the nearest middle, the covariance being that of all groups."""
    means = np.stack([vectors[groups == each].mean(axis=0) for each in range(groups.max() + 1)])
    fitted = sklearn.covariance.LedoitWolf(assume_centered=True).fit(vectors - means[groups])
    variances, directions = np.linalg.eigh(fitted.covariance_)
    white, middles = (each @ (directions / np.sqrt(variances)) for each in (asked, means))
    squares = (white**2).sum(1)[:, None] - 2 * white @ middles.T + (middles**2).sum(1)
    found: np.ndarray = squares.min(axis=1)
    return found


def by_scores(vectors: np.ndarray, labels: np.ndarray, asked: np.ndarray) -> dict[str, np.ndarray]:
    """The highest score (Hendrycks and Gimpel 2017), and the energy (Liu et al. 2020)."""
    head = sklearn.linear_model.LogisticRegression(C=10.0, max_iter=500).fit(vectors, labels)
    logits = head.decision_function(asked)
    most = logits.max(axis=1)
    energy = most + np.log(np.exp(logits - most[:, None]).sum(axis=1))
    return {"highest score": np.exp(most - energy), "energy": energy}


def told_apart(values: np.ndarray, own: np.ndarray, strange: np.ndarray) -> dict[str, float]:
    """AUROC, and the share of strange texts that is taken where 95 % of the model's own are."""
    truth = np.repeat([1, 0], [own.sum(), strange.sum()])
    joined = np.append(values[own], values[strange])
    least = np.quantile(values[own], 1 - SHARE)
    return {
        "auroc": float(sklearn.metrics.roc_auc_score(truth, joined)),
        "fpr": float((values[strange] >= least).mean()),
    }


def table(lines: list[dict[str, Any]]) -> None:
    """Means over runs with their spread."""
    print("| data | way | AUROC | FPR at 95 % TPR | AUROC, other data | FPR, other data |")
    print("|---|---|---|---|---|---|")
    for name in ROWS:
        own = [line for line in lines if line["data"] == name]
        for way in own[0]["ways"] if own else ():
            cells = [
                shown([line["ways"][way][kind][number] for line in own])
                for kind in WAYS
                for number in ("auroc", "fpr")
            ]
            print(f"| {name} | {way} | " + " | ".join(cells) + " |")
        if own:
            below = shown([line["below_5"] for line in own])
            print(f"{name}: {len(own)} runs; of its own texts {below} have less than 0.05")


def shown(values: list[float]) -> str:
    """A mean, and the spread of several."""
    spread = f" ± {statistics.stdev(values):.3f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.3f}{spread}"


def main() -> None:
    """Runs what isn't there, or shows what is."""
    parser = harness.arguments(__doc__)
    parser.add_argument("--job", choices=[*ROWS], action="append")
    parser.add_argument("--vectors", default="vectors", help="where vectors are kept")
    options, there = harness.goes_on(parser, RESULTS)
    if options.table:
        table(there)
        return
    known = [(line["data"], line["seed"], line["out"]) for line in there]
    for name in options.job or ROWS:
        classes = np.unique(encoded(name, "test", options)[1]).tolist()
        for seed in range(options.seeds):
            for out in held_out(name, classes, seed):
                if (name, seed, out) not in known:
                    harness.note(RESULTS, run(name, seed, out, options))


if __name__ == "__main__":
    main()
