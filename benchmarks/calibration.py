"""What calibration is worth: of what says that it helps, and of what it does to the test split.

    python benchmarks/calibration.py --seeds 5

Each seed draws rows and trains twice: the head on the frozen encoder, and with what `auto` thaws
(`--frozen` leaves that out). The same model is measured on the whole test split before and after
`tt.calibrate` on its validation rows. One line a model is appended to `calibration.jsonl`; what is
there isn't run again. `--table` shows means over seeds, and the worst seed.
"""

import dataclasses
import statistics
from pathlib import Path
from typing import Any

import harness
import numpy as np

import tfhub_transfer as tt

RESULTS = Path(__file__).parent / "calibration.jsonl"


@dataclasses.dataclass(frozen=True)
class Job:
    """One data set, and of what it is measured: the score that a user looks at first."""

    folder: str
    metric: str
    rows: int
    task: str = "Classification"
    validation_rows: int = 300
    columns: tuple[str | None, str | None] = ("text", "label")
    test_rows: int | None = None


JOBS = {
    "sst2": Job("sst2", "accuracy", 1000),
    "ag_news": Job("ag_news", "accuracy", 500),
    "banking77": Job("banking77", "accuracy", 2000, validation_rows=800),
    "go_emotions": Job("go_emotions", "micro_f1", 4000, "MultiLabel", 1000),
    "wnut17": Job("wnut17", "f1", 1000, "TokenClassification", columns=("tokens", "tags")),
    "kitchen_stars": Job(
        *("amazon_mds/kitchen", "quadratic_kappa", 1440, "OrdinalRegression", 160),
        columns=("text", "score"),
    ),
    "squad": Job(
        *("squad_v1_dev", "f1", 1000, "QuestionAnswering", 300),
        columns=(None, None),
        test_rows=600,
    ),
}
SPLITS = ("train", "validation", "test")
# Numbers before and after, and what is better: less, or more.
NUMBERS = ("ece", "nll", "score", "macro_f1")


def read(job: Job, folder: str, seed: int) -> dict[str, tt.data.Examples]:
    """Rows of each split that a seed draws; of test all, but of questions."""
    draw, found = np.random.default_rng(seed), {}
    for split, count in zip(SPLITS, (job.rows, job.validation_rows, job.test_rows)):
        path = next((Path(folder) / job.folder).glob(f"{split}.jsonl*"))
        every = tt.data.read(str(path), text=job.columns[0], label=job.columns[1])
        order = draw.permutation(len(every))[:count]
        found[split] = every[order]
    return found


def measured(model: tt.TransferModel, test: tt.data.Examples, metric: str) -> dict[str, float]:
    """The numbers of a model on the test split."""
    if model.task.name == "token-classification":
        return of_tags(model, test, metric)
    if model.task.name == "question-answering":
        return of_questions(model, test, metric)
    scores = np.asarray(model.predict_scores(test), "float64")
    truth = model.task.encode(test.labels)
    found = model.task.measure(truth, scores.astype("float32"))
    if truth.ndim == 1:
        given = scores.argmax(axis=1)
        if model.task.name == "ordinal-regression":
            given = np.array([row["rank"] for row in model.task.decode(scores)])
        nll = -np.log(np.maximum(scores[np.arange(len(truth)), truth], 1e-30)).mean()
        ece = calibration_error(given == truth, scores[np.arange(len(truth)), given])
    else:
        chances = np.clip(np.where(truth > 0, scores, 1 - scores), 1e-7, 1)
        nll, ece = -np.log(chances).mean(), calibration_error(truth.ravel() > 0, scores.ravel())
    macro = found.get("macro_f1", 0.0)
    return {"ece": ece, "nll": float(nll), "score": found[metric], "macro_f1": macro}


def of_tags(model: tt.TransferModel, test: tt.data.Examples, metric: str) -> dict[str, float]:
    """The same of tags: how sure entities are by their answers, of words the loss."""
    scores = model.predict_scores(test)
    truth = np.concatenate([row.numpy() for row in model.task.encode(test.labels)])
    nll = -np.log(np.maximum(np.concatenate(scores)[np.arange(len(truth)), truth], 1e-30)).mean()
    report = tt.evaluate(model, test, baselines=False)
    found = report.metrics
    return {"ece": found["ece"], "nll": float(nll), "score": found[metric], "macro_f1": 0.0}


def of_questions(model: tt.TransferModel, test: tt.data.Examples, metric: str) -> dict[str, float]:
    """The same of answers: how sure they are of matching a right one exactly."""
    report = tt.evaluate(model, test, baselines=False)
    right = np.array([row["exact_match"] for row in report.predictions]) == 1
    scores = np.array([row["score"] for row in report.predictions], "float64")
    chances = np.where(right, np.maximum(scores, 1e-30), np.maximum(1 - scores, 1e-7))
    nll, ece = -np.log(chances).mean(), calibration_error(right, scores)
    return {"ece": ece, "nll": float(nll), "score": report.metrics[metric], "macro_f1": 0.0}


def calibration_error(right: np.ndarray, confidence: np.ndarray) -> float:
    """Expected calibration error over 15 equal bins, written anew."""
    bins = np.clip((confidence * 15).astype(int), 0, 14)
    gaps = [
        abs(right[bins == b].mean() - confidence[bins == b].mean()) * (bins == b).mean()
        for b in np.unique(bins)
    ]
    return float(sum(gaps))


def run(name: str, seed: int, ways: list[str], options: Any) -> list[dict[str, Any]]:
    """Trains, measures, calibrates, measures."""
    job, lines = JOBS[name], []
    splits = read(job, options.data_folder, seed)
    for unfreeze in ways:
        task = getattr(tt.tasks, job.task)().adapt(splits["train"].labels)
        model = tt.build_model(options.encoder or "auto", task)
        plan = tt.Plan(seed=seed, verbose=0)
        tt.fine_tune(model, splits["train"], splits["validation"], unfreeze=unfreeze, plan=plan)
        before = measured(model, splits["test"], job.metric)
        told = tt.calibrate(model, splits["validation"], seed=seed)
        after = measured(model, splits["test"], job.metric)
        lines.append(
            {
                "data": name,
                "seed": seed,
                "unfreeze": unfreeze,
                "kept": told["kept"],
                "temperature": told["temperature"],
                "thresholds": told.get("thresholds", {}).get("kept"),
                "before": before,
                "after": after,
            }
        )
    return lines


def table(lines: list[dict[str, Any]]) -> None:
    """Means over seeds, before and after; and the worst change of the score of all seeds."""
    print("| data, what trained | seeds | kept | ECE | loss | score | worst change | macro F1 |")
    print("|---|---|---|---|---|---|---|---|")
    for name in JOBS:
        for unfreeze in ("none", "auto"):
            own = [e for e in lines if (e["data"], e["unfreeze"]) == (name, unfreeze)]
            if not own:
                continue
            shown = {
                key: [statistics.mean(e[when][key] for e in own) for when in ("before", "after")]
                for key in NUMBERS
            }
            worst = min(e["after"]["score"] - e["before"]["score"] for e in own)
            kept = ", ".join(sorted({e["kept"] for e in own}))
            cells = {key: "{:.3f} to {:.3f}".format(*pair) for key, pair in shown.items()}
            print(
                f"| {name}, {unfreeze} | {len(own)} | {kept} | {cells['ece']} | {cells['nll']} "
                f"| {cells['score']} | {worst:+.3f} | {cells['macro_f1']} |"
            )


def main() -> None:
    """Runs what isn't there, or shows what is."""
    parser = harness.arguments(__doc__)
    parser.add_argument("--job", choices=[*JOBS], action="append")
    parser.add_argument("--frozen", action="store_true", help="the head alone")
    options, there = harness.goes_on(parser, RESULTS)
    if options.table:
        table(there)
        return
    known = {(line["data"], line["seed"], line["unfreeze"]) for line in there}
    for seed in range(options.seeds):
        for name in options.job or JOBS:
            every = ("none",) if options.frozen else ("none", "auto")
            ways = [way for way in every if (name, seed, way) not in known]
            for line in run(name, seed, ways, options) if ways else ():
                harness.note(RESULTS, line)


if __name__ == "__main__":
    main()
