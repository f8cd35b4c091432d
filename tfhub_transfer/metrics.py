"""Numbers of a report: metrics by scikit-learn and SciPy, calibration, bootstrap intervals.

Every function leaves out what the data can't tell (one class only, a constant score) instead of
raising, warning, or giving NaN.
"""

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.stats
import sklearn.metrics as sk

Numbers = dict[str, float | None]

BINS = 15
RESAMPLES = 1000


def classification(labels: np.ndarray, scores: np.ndarray) -> Numbers:
    """Metrics of labels `[n]` and class probabilities `[n, classes]`.

    `precision` and `recall` are means over classes (macro). ROC and PR areas are those of the
    second class for two classes, else means of one-versus-rest over classes that occur.
    """
    predicted = scores.argmax(axis=1)
    occurring = np.unique(np.concatenate([labels, predicted]))
    mean = {"labels": occurring, "average": "macro", "zero_division": 0}
    numbers: Numbers = {
        "accuracy": float((labels == predicted).mean()),
        "macro_f1": float(sk.f1_score(labels, predicted, **mean)),
        "micro_f1": float(sk.f1_score(labels, predicted, average="micro")),
        "precision": float(sk.precision_score(labels, predicted, **mean)),
        "recall": float(sk.recall_score(labels, predicted, **mean)),
    }
    truth = np.eye(scores.shape[1], dtype=int)[labels]
    columns = [1] if scores.shape[1] == 2 else list(range(scores.shape[1]))
    numbers |= _areas(truth[:, columns], scores[:, columns])
    return {**numbers, "ece": calibration(labels == predicted, scores.max(axis=1))["ece"]}


def multi_label(labels: np.ndarray, scores: np.ndarray, threshold: float) -> Numbers:
    """Metrics of label indicators `[n, classes]` and scores `[n, classes]`.

    `accuracy` is the share of texts whose whole set of labels is right.
    """
    truth, predicted = labels.astype(int), (scores >= threshold).astype(int)
    numbers: Numbers = {
        "accuracy": float((truth == predicted).all(axis=1).mean()),
        "macro_f1": float(sk.f1_score(truth, predicted, average="macro", zero_division=0)),
        "micro_f1": float(sk.f1_score(truth, predicted, average="micro", zero_division=0)),
        "precision": float(sk.precision_score(truth, predicted, average="micro", zero_division=0)),
        "recall": float(sk.recall_score(truth, predicted, average="micro", zero_division=0)),
    }
    return numbers | _areas(truth, scores)


def regression(labels: np.ndarray, scores: np.ndarray) -> Numbers:
    """Errors and correlations of targets `[n]` and predictions `[n]`, in the targets' units."""
    error = scores - labels
    numbers: Numbers = {
        "mse": float((error**2).mean()),
        "rmse": float(np.sqrt((error**2).mean())),
        "mae": float(np.abs(error).mean()),
        "pearson": None,
        "spearman": None,
    }
    if len(labels) > 1 and np.ptp(labels) > 0 and np.ptp(scores) > 0:
        numbers["pearson"] = float(scipy.stats.pearsonr(labels, scores)[0])
        numbers["spearman"] = float(scipy.stats.spearmanr(labels, scores)[0])
    return numbers


def _areas(truth: np.ndarray, scores: np.ndarray) -> Numbers:
    """Areas under ROC and precision-recall curves, over columns that hold both kinds."""
    usable = [c for c in range(truth.shape[1]) if 0 < truth[:, c].sum() < len(truth)]
    if not usable:
        return {"roc_auc": None, "pr_auc": None}
    roc = [sk.roc_auc_score(truth[:, c], scores[:, c]) for c in usable]
    area = [sk.average_precision_score(truth[:, c], scores[:, c]) for c in usable]
    return {"roc_auc": float(np.mean(roc)), "pr_auc": float(np.mean(area))}


def calibration(right: np.ndarray, confidence: np.ndarray) -> dict[str, Any]:
    """Expected calibration error over 15 equal bins of confidence (Guo et al. 2017).

    Args:
        right: Whether each prediction is right `[n]`.
        confidence: The score of each predicted class `[n]`.

    Returns:
        `ece`, and for each bin that isn't empty its `confidence`, `accuracy` and `count`.
    """
    bins = np.minimum((confidence * BINS).astype(int), BINS - 1)
    counts = np.bincount(bins, minlength=BINS)
    filled = counts > 0
    accuracy = np.bincount(bins, right, BINS)[filled] / counts[filled]
    mean = np.bincount(bins, confidence, BINS)[filled] / counts[filled]
    ece = float((np.abs(accuracy - mean) * counts[filled]).sum() / len(right))
    return {
        "ece": ece,
        "confidence": mean.tolist(),
        "accuracy": accuracy.tolist(),
        "count": counts[filled].tolist(),
    }


def per_class(truth: np.ndarray, predicted: np.ndarray, names: list[str]) -> list[dict[str, Any]]:
    """Precision, recall, F1 and support of each class, of indicators `[n, classes]`."""
    precision, recall, f1, support = sk.precision_recall_fscore_support(
        truth, predicted, average=None, zero_division=0
    )
    return [
        {
            "class": name,
            "precision": float(precision[i]),
            "recall": float(recall[i]),
            "f1": float(f1[i]),
            "support": int(support[i]),
        }
        for i, name in enumerate(names)
    ]


def intervals(
    measure: Callable[[np.ndarray, np.ndarray], Numbers],
    labels: np.ndarray,
    scores: np.ndarray,
    names: tuple[str, ...],
    seed: int = 0,
) -> dict[str, tuple[float, float]]:
    """95 % percentile intervals by the bootstrap (Efron 1979), 1000 resamples of the rows.

    Args:
        measure: Labels and scores to numbers; called once for each resample.
        labels: Labels `[n, ...]`.
        scores: Scores `[n, ...]`.
        names: The numbers to give intervals for.
        seed: Seed of the resampling.
    """
    if len(labels) < 2:
        return {}
    generator = np.random.default_rng(seed)
    draws: dict[str, list[float]] = {name: [] for name in names}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for _ in range(RESAMPLES):
            rows = generator.integers(0, len(labels), len(labels))
            numbers = measure(labels[rows], scores[rows])
            for name in names:
                value = numbers.get(name)
                if value is not None:
                    draws[name].append(value)
    return {
        name: (float(np.percentile(v, 2.5)), float(np.percentile(v, 97.5)))
        for name, v in draws.items()
        if v
    }


def quick_classification(labels: np.ndarray, predicted: np.ndarray) -> Numbers:
    """Accuracy and macro F1 of classes `[n]`, fast enough to be resampled a thousand times."""
    classes = int(max(labels.max(), predicted.max())) + 1
    hits = np.bincount(labels[labels == predicted], minlength=classes)
    total = np.bincount(labels, minlength=classes) + np.bincount(predicted, minlength=classes)
    occurring = total > 0
    f1 = 2 * hits[occurring] / total[occurring]
    return {"accuracy": float((labels == predicted).mean()), "macro_f1": float(f1.mean())}


def quick_multi_label(truth: np.ndarray, predicted: np.ndarray) -> Numbers:
    """Accuracy, micro and macro F1 of indicators `[n, classes]`, fast enough to be resampled."""
    hits = (truth & predicted).sum(axis=0)
    total = truth.sum(axis=0) + predicted.sum(axis=0)
    f1 = np.divide(2 * hits, total, out=np.zeros(len(total)), where=total > 0)
    return {
        "accuracy": float((truth == predicted).all(axis=1).mean()),
        "micro_f1": float(2 * hits.sum() / max(1, total.sum())),
        "macro_f1": float(f1.mean()),
    }
