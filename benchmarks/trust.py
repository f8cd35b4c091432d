"""Whether answers can be trusted as they say: what `tt.conformalize` promises, on the test split.

    python benchmarks/trust.py --data-folder DATA --seeds 5

Each seed draws rows, trains a head on the frozen encoder (`--thawed`: with what `auto` thaws),
scales its scores, reads 90 % sets and 5 % of wrong accepted answers off its validation rows, and
counts on the whole test split, by hand, what came of it. One line a model is appended to
`trust.jsonl`; what is there isn't run again. `--table` shows means over seeds, and the spread.
"""

import statistics
from pathlib import Path
from typing import Any

import calibration
import harness
import numpy as np

import tfhub_transfer as tt

RESULTS = Path(__file__).parent / "trust.jsonl"
COVERAGE, ABSTAIN = 0.9, 0.05
STSB = calibration.Job("stsb/en", "spearman", 1000, "Regression")
KNOWN = ("sst2", "ag_news", "banking77", "go_emotions")
JOBS = {name: calibration.JOBS[name] for name in KNOWN} | {"stsb": STSB}


def read(name: str, folder: str, seed: int) -> dict[str, tt.data.Examples]:
    """Rows of each split that a seed draws; of test all."""
    job = JOBS[name]
    if job is not STSB:
        return calibration.read(job, folder, seed)
    draw, found = np.random.default_rng(seed), {}
    for split, count in zip(calibration.SPLITS, (job.rows, job.validation_rows, None)):
        path = next((Path(folder) / job.folder).glob(f"{split}.jsonl*"))
        every = tt.data.read(str(path), text="text_a", text_pair="text_b", label="score")
        found[split] = every[draw.permutation(len(every))[:count]]
    return found


def run(name: str, seed: int, unfreeze: str, options: Any) -> dict[str, Any]:
    """Trains, asks validation, counts on test."""
    splits, numbers = read(name, options.data_folder, seed), JOBS[name] is STSB
    pair = {"pair": True} if numbers else {}
    task = getattr(tt.tasks, JOBS[name].task)(**pair).adapt(splits["train"].labels)
    model = tt.build_model(options.encoder or "auto", task, tt.Head(towers=numbers))
    plan = tt.Plan(seed=seed, verbose=0)
    tt.fine_tune(model, splits["train"], splits["validation"], unfreeze=unfreeze, plan=plan)
    tt.calibrate(model, splits["validation"], seed=seed)
    one = JOBS[name].task == "Classification"
    tt.conformalize(model, splits["validation"], COVERAGE, ABSTAIN if one else None)
    texts = splits["test"].texts
    answers = model.predict_text(list(zip(*texts)) if numbers else list(texts[0]))
    pairs = list(zip(answers, splits["test"].labels, strict=True))
    line = {"data": name, "seed": seed, "unfreeze": unfreeze, "rows": len(splits["validation"])}
    if numbers:
        return line | of_numbers(pairs)
    return line | (of_classes if one else of_labels)(pairs)


def of_numbers(pairs: list[tuple[Any, Any]]) -> dict[str, float]:
    """How often the truth lies in an interval, and how wide those are."""
    held = [each["lower"] <= true <= each["upper"] for each, true in pairs]
    width = statistics.mean(each["upper"] - each["lower"] for each, _ in pairs)
    return {"coverage": statistics.mean(held), "size": width}


def of_classes(pairs: list[tuple[Any, Any]]) -> dict[str, float]:
    """How often the truth is in a set, of all and of the worst class; what accepted answers are."""
    held = np.array([true in each["label_set"] for each, true in pairs])
    truth = np.array([true for _, true in pairs])
    taken = [(each["label"] == true) for each, true in pairs if each["accepted"]]
    return {
        "coverage": float(held.mean()),
        "worst_class": float(min(held[truth == name].mean() for name in np.unique(truth))),
        "size": statistics.mean(len(each["label_set"]) for each, _ in pairs),
        "wrong": statistics.mean(each["label"] != true for each, true in pairs),
        "accepted": len(taken) / len(pairs),
        "wrong_of_accepted": 1 - statistics.mean(taken) if taken else 0.0,
    }


def of_labels(pairs: list[tuple[Any, Any]]) -> dict[str, float]:
    """How often a label is in its text's set, of all and of the worst class; and how many given."""
    held: dict[str, list[bool]] = {}
    for each, true in pairs:
        for name in true:
            held.setdefault(name, []).append(name in each["label_set"])
    given = [name in each["labels"] for each, true in pairs for name in true]
    return {
        "coverage": statistics.mean(own for several in held.values() for own in several),
        "worst_class": min(map(statistics.mean, held.values())),
        "size": statistics.mean(len(each["label_set"]) for each, _ in pairs),
        "wrong": 1 - statistics.mean(given),
    }


def table(lines: list[dict[str, Any]]) -> None:
    """Means over seeds with their spread."""
    names = ("coverage", "worst_class", "size", "wrong", "accepted", "wrong_of_accepted")
    print("| data, what trained | seeds | " + " | ".join(names).replace("_", " ") + " |")
    print("|---" * (len(names) + 2) + "|")
    for name in JOBS:
        for unfreeze in ("none", "auto"):
            own = [e for e in lines if (e["data"], e["unfreeze"]) == (name, unfreeze)]
            if own:
                cells = [shown([e[key] for e in own if key in e]) for key in names]
                print(f"| {name}, {unfreeze} | {len(own)} | " + " | ".join(cells) + " |")


def shown(values: list[float]) -> str:
    """A mean, and the spread of several."""
    if not values:
        return ""
    spread = f" ± {statistics.stdev(values):.3f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.3f}{spread}"


def main() -> None:
    """Runs what isn't there, or shows what is."""
    parser = harness.arguments(__doc__)
    parser.add_argument("--job", choices=[*JOBS], action="append")
    parser.add_argument("--thawed", action="store_true", help="with what `auto` thaws")
    options, there = harness.goes_on(parser, RESULTS)
    if options.table:
        table(there)
        return
    known = {(line["data"], line["seed"], line["unfreeze"]) for line in there}
    unfreeze = "auto" if options.thawed else "none"
    for seed in range(options.seeds):
        for name in options.job or JOBS:
            if (name, seed, unfreeze) in known:
                continue
            line = run(name, seed, unfreeze, options)
            harness.note(RESULTS, line)


if __name__ == "__main__":
    main()
