"""What tells texts of classes that a model never saw from those of its own.

    python benchmarks/scope.py --data-folder DATA --seeds 5

Each run trains a head on the frozen encoder without some classes: of Banking77 27 of 77, which the
seed draws, of AG News each of the four in turn (seeds beyond the first leave AG News out). Asked
are the texts of the whole test split of Banking77, and 2,000 of AG News: those of the classes that
were held out are the strange ones; and 1,000 texts of the other data set, which are stranger still.
Beside `scope_score` stand the distances that it isn't, and what scores say by themselves. One line
a run is appended to `scope.jsonl`; what is there isn't run again. `--table` shows means.
"""

import statistics
from pathlib import Path
from typing import Any

import harness
import numpy as np
import sklearn.covariance
import sklearn.metrics

import tfhub_transfer as tt

RESULTS = Path(__file__).parent / "scope.jsonl"
# Rows that are drawn of each split; all where there is none.
ROWS: dict[str, dict[str, int]] = {
    "banking77": {},
    "banking77, 20 a class": {"train": 1000},
    "ag_news": {"train": 2000, "validation": 500, "test": 2000},
}
OTHER = {"banking77": "ag_news", "ag_news": "banking77"}
STRANGE = 1000
SHARE = 0.95


def folder_of(name: str) -> str:
    """That of a job's data."""
    return name.partition(",")[0]


def read(name: str, split: str, data: str, rows: int | None) -> tt.data.Examples:
    """So many rows of a split, always the same."""
    path = next((Path(data) / folder_of(name)).glob(f"{split}.jsonl*"))
    every = tt.data.read(str(path), text="text", label="label")
    return every[np.random.default_rng(0).permutation(len(every))[:rows]]


def held_out(name: str, classes: list[str], seed: int) -> list[list[str]]:
    """The classes that are held out, of each run."""
    if name == "ag_news":
        return [[each] for each in classes] if seed == 0 else []
    return [np.random.default_rng(seed).permutation(classes)[:27].tolist()]


def without(examples: tt.data.Examples, classes: list[str]) -> tt.data.Examples:
    """Those of other classes."""
    return examples[np.flatnonzero(~np.isin(list(examples.labels), classes))]


def run(name: str, seed: int, out: list[str], options: Any) -> dict[str, Any]:
    """Trains without some classes, and asks about all."""
    rows = ROWS[name]
    train, validation, test = (
        read(name, split, options.data_folder, None if split == "train" else rows.get(split))
        for split in ("train", "validation", "test")
    )
    known = without(train, out)[: rows.get("train")]
    task = tt.tasks.Classification().adapt(known.labels)
    model = tt.build_model(options.encoder or "auto", task)
    validation = without(validation, out)
    validation = validation[np.flatnonzero(np.isin(list(validation.labels), task.class_names))]
    tt.fine_tune(model, known, validation, unfreeze="none", plan=tt.Plan(seed=seed, verbose=0))
    tt.learn_scope(model, known, validation, seed)
    other = OTHER[folder_of(name)]
    strange = read(other, "test", options.data_folder, STRANGE)
    texts = [*test.texts[0], *strange.texts[0]]
    asked = model.compute_features(tt.data.Examples.from_lists(texts))
    own = np.append(~np.isin(list(test.labels), out), np.zeros(len(strange), bool))
    kinds = np.repeat(["near", "far"], [len(test), len(strange)])
    vectors, groups = model.compute_features(known), task.encode(known.labels)
    ways = {"scope_score": [row["scope_score"] for row in model.predict_text(texts)]}
    ways |= by_neighbours(vectors, asked) | by_middles(vectors, groups, asked)
    ways |= by_scores(model, asked)
    line: dict[str, Any] = {"data": name, "seed": seed, "out": out, "known": len(known)}
    line["below_5"] = float((np.array(ways["scope_score"])[own] < 0.05).mean())
    for way, values in ways.items():
        line[way] = {
            kind: told_apart(np.array(values), own, ~own & (kinds == kind))
            for kind in ("near", "far")
        }
    return line


def by_neighbours(vectors: np.ndarray, asked: np.ndarray) -> dict[str, np.ndarray]:
    """Cosines with the k-th nearest of all training vectors (Sun et al. 2022)."""
    unit = [each / np.linalg.norm(each, axis=1, keepdims=True) for each in (vectors, asked)]
    near = -np.sort(-(unit[1] @ unit[0].T), axis=1)[:, :50]
    return {f"neighbour {k}": near[:, k - 1] for k in (1, 2, 3, 5, 10, 50)}


def by_middles(vectors: np.ndarray, groups: np.ndarray, asked: np.ndarray) -> dict[str, np.ndarray]:
    """Mahalanobis distances (Lee et al. 2018), and less that to all (Ren et al. 2021)."""
    own = mahalanobis(vectors, groups, asked)
    return {
        "Mahalanobis": -own,
        "relative Mahalanobis": mahalanobis(vectors, np.zeros_like(groups), asked) - own,
    }


def mahalanobis(vectors: np.ndarray, groups: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """Squared distances to the nearest middle, the covariance being that of all groups."""
    places = np.unique(groups, return_inverse=True)[1]
    means = np.stack([vectors[places == each].mean(axis=0) for each in range(places.max() + 1)])
    fitted = sklearn.covariance.LedoitWolf(assume_centered=True).fit(vectors - means[places])
    variances, directions = np.linalg.eigh(fitted.covariance_)
    white, middles = (each @ (directions / np.sqrt(variances)) for each in (asked, means))
    squares = (white**2).sum(1)[:, None] - 2 * white @ middles.T + (middles**2).sum(1)
    found: np.ndarray = squares.min(axis=1)
    return found


def by_scores(model: tt.TransferModel, asked: np.ndarray) -> dict[str, np.ndarray]:
    """The highest score (Hendrycks and Gimpel 2017), and the energy (Liu et al. 2020)."""
    kernel, bias = model.get_layer("scores").get_weights()
    logits = (asked @ kernel + bias).astype("float64")
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
        for way in (key for key in (own or [{}])[0] if isinstance(own[0][key], dict)):
            if way == "machine":
                continue
            cells = [
                shown([line[way][kind][number] for line in own])
                for kind in ("near", "far")
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
    options, there = harness.goes_on(parser, RESULTS)
    if options.table:
        table(there)
        return
    known = [(line["data"], line["seed"], line["out"]) for line in there]
    for name in options.job or ROWS:
        classes = sorted({*read(name, "test", options.data_folder, None).labels})
        for seed in range(options.seeds):
            for out in held_out(name, classes, seed):
                if (name, seed, out) not in known:
                    harness.note(RESULTS, run(name, seed, out, options))


if __name__ == "__main__":
    main()
