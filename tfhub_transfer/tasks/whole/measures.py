"""What a report says of answers to whole texts: of classes, of several at once, of numbers."""

from collections.abc import Sequence
from typing import Any, TypeAlias, cast

import numpy as np

from tfhub_transfer.reporting import confidence_bins, metrics, operating_points, paired, plots
from tfhub_transfer.reporting.contents import Calibration
from tfhub_transfer.reporting.operating_points import Answers
from tfhub_transfer.reporting.reports import Report
from tfhub_transfer.reporting.standings import Faults
from tfhub_transfer.tasks import temperatures

_PAIRS = 20
# A row of predictions, whose columns depend on the task.
Answered: TypeAlias = dict[str, Any]


def describe_classes(
    report: Report,
    labels: np.ndarray,
    scores: np.ndarray,
    seed: int,
    before: np.ndarray | None = None,
) -> None:
    """Adds to a report what there is to say of one class for each text.

    Args:
        report: It has its metrics and `class_names`.
        labels: Classes `[n]`.
        scores: Their probabilities `[n, classes]`.
        seed: Seed of the bootstrap.
        before: What the scores were before they were scaled, if they are.
    """
    names = report.class_names or []
    predicted, truth = scores.argmax(axis=1), np.eye(len(names), dtype=int)[labels]
    add_confusion(report, labels, predicted)
    add_calibration(report, labels == predicted, scores.max(axis=1))
    if before is not None:
        losses = [temperatures.loss(each, truth, "softmax").mean() for each in (scores, before)]
        right = labels == before.argmax(axis=1)
        add_uncalibrated(report, right, before.max(axis=1), losses)
    report.intervals = metrics.intervals(
        lambda weights: metrics.resampled_classification(weights, labels, scores),
        len(labels),
        seed,
        # Of one class a text micro F1 is the accuracy, so a share of rows too.
        shares=dict.fromkeys(("accuracy", "micro_f1"), len(labels)),
    )
    add_curves(report, truth, scores)
    if len(names) == 2:
        given = Answers(labels == 1, scores[:, 1], int((labels == 1).sum()), names[1], 0.5)
    else:
        of = "the likeliest class of each text"
        given = Answers(labels == predicted, scores.max(axis=1), len(labels), of)
    add_thresholds(report, given)


def add_confusion(report: Report, labels: np.ndarray, predicted: np.ndarray) -> None:
    """Adds what was taken for what, and how well each class is told.

    Args:
        report: The report, with `class_names`.
        labels: Classes `[n]`.
        predicted: Those that were answered `[n]`.
    """
    names = report.class_names or []
    matrix = metrics.confusion_matrix(labels, predicted, len(names))
    report.confusion = matrix.tolist()
    one_hot = np.eye(len(names), dtype=int)
    report.per_class = metrics.per_class(one_hot[labels], one_hot[predicted], names)
    pairs = metrics.most_confused(matrix, _PAIRS)
    report.pictures["confusion"] = plots.confusion(matrix, names, pairs)


def describe_sets(
    report: Report,
    truth: np.ndarray,
    scores: np.ndarray,
    threshold: np.ndarray,
    seed: int,
    before: np.ndarray | None = None,
) -> None:
    """Adds to a report what there is to say of any number of classes for each text.

    Args:
        report: It has its metrics and `class_names`.
        truth: A 0 or a 1 for each class `[n, classes]`.
        scores: A score for each `[n, classes]`.
        threshold: From which score on a class is given `[classes]` or `[]`.
        seed: Seed of the bootstrap.
        before: What the scores were before they were scaled, if they are.
    """
    names = report.class_names or []
    report.per_class = metrics.per_class(truth, (scores >= threshold).astype(int), names)
    add_calibration(report, truth.ravel() == 1, scores.ravel())
    if before is not None:
        losses = [temperatures.loss(each, truth, "sigmoid").mean() for each in (scores, before)]
        add_uncalibrated(report, truth.ravel() == 1, before.ravel(), losses)
    report.intervals = metrics.intervals(
        lambda weights: metrics.resampled_multi_label(weights, truth, scores, threshold),
        len(truth),
        seed,
        shares={"accuracy": len(truth)},
    )
    add_curves(report, truth, scores)
    right = truth.ravel() == 1
    of = "labels of all classes together"
    own = float(threshold) if threshold.ndim == 0 else None
    add_thresholds(report, Answers(right, scores.ravel(), int(right.sum()), of, own))


def describe_numbers(report: Report, labels: np.ndarray, scores: np.ndarray, seed: int) -> None:
    """Adds to a report what there is to say of a number for each text, where all are finite.

    Args:
        report: It has its metrics.
        labels: The right numbers `[n]`.
        scores: Those that were answered `[n]`.
        seed: Seed of the bootstrap.
    """
    if not np.isfinite(scores).all():
        return
    report.intervals = metrics.intervals(
        lambda weights: metrics.resampled_regression(weights, labels, scores), len(labels), seed
    )
    report.pictures["scatter"] = plots.scatter(labels, scores)


def add_curves(report: Report, truth: np.ndarray, scores: np.ndarray) -> None:
    """Adds how well each class is ranked, and the picture of the calibration.

    Args:
        report: The report, with `class_names`.
        truth: A 0 or a 1 for each class `[n, classes]`.
        scores: A score for each `[n, classes]`.
    """
    names = report.class_names or []
    report.curves = metrics.curves(truth, scores, names, plots.MOST_CURVES)
    picture = plots.roc_and_pr(report.curves)
    if picture:
        report.pictures["roc_pr"] = picture
    if report.calibration:
        report.pictures["reliability"] = plots.reliability(report.calibration)
    left_out = [name for name, found in zip(names, truth.sum(axis=0)) if not found]
    if left_out and picture:
        some = ", ".join(left_out[:5]) + (", ..." if len(left_out) > 5 else "")
        report.notes.append(
            f"roc_auc, pr_auc: {len(left_out)} of {len(names)} classes don't occur in the test "
            f"split and are left out ({some})"
        )


def add_thresholds(report: Report, given: Answers) -> None:
    """Adds precision and recall by threshold, with their picture."""
    report.thresholds = operating_points.table(given)
    report.pictures["thresholds"] = plots.thresholds(report.thresholds)


def add_calibration(report: Report, right: np.ndarray, confidence: np.ndarray) -> None:
    """Adds whether confidence can be believed.

    Args:
        report: The report.
        right: Whether each answer is right `[n]`.
        confidence: Its score `[n]`.
    """
    report.calibration = _reliability(right, confidence)


def _reliability(right: np.ndarray, confidence: np.ndarray) -> Calibration:
    found, pooled = (f(right, confidence) for f in (metrics.calibration, confidence_bins.pooled))
    return cast(Calibration, {**found, "pooled": pooled})


def add_uncalibrated(
    report: Report, right: np.ndarray, confidence: np.ndarray, losses: Sequence[float]
) -> None:
    """Adds what the confidence of the same answers was worth before it was scaled.

    Args:
        report: The report, with its calibration.
        right: Whether each answer was right then `[n]`.
        confidence: Its score then `[n]`.
        losses: The mean negative log-likelihood of what is right, now and then, in nats.
    """
    if report.calibration is None:
        return
    found = report.calibration["before"] = _reliability(right, confidence)
    report.notes.append(
        "scores are scaled as fits the validation split: their log loss here is "
        f"{losses[0]:.3f}, and would be {losses[1]:.3f} without; their expected calibration error, "
        f"which takes more examples to tell, {report.calibration['ece']:.3f} and {found['ece']:.3f}"
    )


# Two models -------------------------------------------------------------------------------------


def parts_of_sets(name: str, rows: Sequence[Answered]) -> paired.Parts | None:
    """What rows contribute to numbers on sets of classes: F1 is a ratio of sums over them.

    Args:
        name: The number's.
        rows: Answers, as `predictions.rows` has them.
    """
    if name != "micro_f1":
        return paired.means(name, rows)
    parts = np.array(list(map(_overlap, rows)), dtype="float64")
    return paired.Parts(parts, lambda w: metrics.ratio(w @ parts[:, 0], w @ parts[:, 1]))


def faults_of_sets(rows: Sequence[Answered]) -> Faults | None:
    """What rows cost micro F1: labels that are missing, or given too many.

    Args:
        rows: Answers, as `predictions.rows` has them.
    """
    twice, every = np.array(list(map(_overlap, rows)), dtype="float64").T
    return Faults("micro_f1", every - twice, every)


def _overlap(row: Answered) -> tuple[int, int]:
    """Above and below the line of F1: twice the labels right and given, and all of either."""
    true, given = set(row["true"] or ()), set(row["predicted"] or ())
    return 2 * len(true & given), len(true) + len(given)


def parts_of_numbers(name: str, rows: Sequence[Answered]) -> paired.Parts | None:
    """What rows contribute to correlations and errors: what is right, and what was answered.

    Args:
        name: The number's.
        rows: Answers, as `predictions.rows` has them.
    """
    both = paired.numbers_of(rows, ("true", "predicted"))
    if both is None:
        return None

    def measure(weights: np.ndarray) -> np.ndarray:
        found = metrics.resampled_regression(weights, both[:, 0], both[:, 1])
        return found.get(name, np.full(len(weights), np.nan))

    return paired.Parts(both, measure)
