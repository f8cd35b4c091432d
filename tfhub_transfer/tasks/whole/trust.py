"""How far answers to whole texts can be trusted, said beside them and in reports."""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from tfhub_transfer.reporting import metrics, plots
from tfhub_transfer.reporting.contents import Trust
from tfhub_transfer.reporting.reports import Report
from tfhub_transfer.tasks import conformal
from tfhub_transfer.tasks.conformal import Limits
from tfhub_transfer.tasks.reportable import Readable

# Of scores in float32: one that is as high but for rounding belongs to the set.
_ROUNDING = 1e-6


def of_classes(
    scores: np.ndarray, truth: np.ndarray, coverage: float | None, abstain: float | None
) -> Limits:
    """What rows that the model wasn't trained on say of its answers.

    Args:
        scores: `[n, classes]`.
        truth: The right classes `[n]`.
        coverage: How often a set is to hold the right class, if there are to be any.
        abstain: Which share of accepted answers may be wrong, if not all are to be accepted.
    """
    sure, right = scores.max(axis=1), scores.argmax(axis=1) == truth
    cutoffs = () if coverage is None else conformal.set_cutoffs(scores, truth, coverage) - _ROUNDING
    return Limits(
        accept_from=None if abstain is None else conformal.accepted_from(sure, right, abstain),
        most_wrong=abstain,
        cutoffs=tuple(map(float, cutoffs)),
        coverage=coverage,
        rows=len(truth),
    )


def of_numbers(
    scores: np.ndarray, truth: np.ndarray, coverage: float | None, abstain: float | None = None
) -> Limits:
    """As `of_classes`, of answers that are numbers `[n]`.

    Args:
        scores: `[n]`.
        truth: What is right `[n]`.
        coverage: How often an interval is to hold it.
        abstain: None; numbers are not accepted or refused.
    """
    assert coverage is not None and abstain is None
    off = scores.astype("float64") - truth.astype("float64")
    width = conformal.half_width(off, coverage)
    return Limits(half_width=width, coverage=coverage, rows=len(truth))


def beside_classes(
    limits: Limits | None, names: Sequence[str], scores: tf.Tensor
) -> dict[str, tf.Tensor]:
    """What an export answers beside a class.

    Args:
        limits: What is known, if anything.
        names: The classes.
        scores: `[batch, classes]`.

    Returns:
        `accepted` bool `[batch]`; `label_set` bool and `label_names` strings `[batch, classes]`.
    """
    found: dict[str, tf.Tensor] = {}
    if limits is None:
        return found
    if limits.accept_from is not None:
        least = tf.constant(limits.accept_from, scores.dtype)
        found["accepted"] = tf.reduce_max(scores, axis=-1) >= least
    if limits.cutoffs:
        likeliest = tf.one_hot(tf.argmax(scores, -1), len(names), on_value=True, off_value=False)
        found["label_set"] = likeliest | (scores >= tf.constant(limits.cutoffs, scores.dtype))
        # TF Serving answers row by row, for which every output needs one of each.
        found["label_names"] = tf.tile(tf.constant(names)[None], [tf.shape(scores)[0], 1])
    return found


def told_of_classes(
    limits: Limits | None, names: Sequence[str], scores: np.ndarray
) -> list[Readable]:
    """The same for readers: `accepted`, and the names in `label_set`, the likeliest first.

    Args:
        limits: What is known, if anything.
        names: The classes.
        scores: `[n, classes]`.
    """
    found: list[Readable] = [{} for _ in scores]
    if limits is None:
        return found
    if limits.accept_from is not None:
        for row, own in zip(found, accepted(limits, scores)):
            row["accepted"] = bool(own)
    if limits.cutoffs:
        for row, own, sure in zip(found, sets(limits, scores), scores):
            row["label_set"] = [names[at] for at in np.argsort(-sure, kind="stable") if own[at]]
    return found


def accepted(limits: Limits, scores: np.ndarray) -> np.ndarray:
    """Whether each answer is accepted `[n]`; all are, where nothing else was asked for.

    Args:
        limits: What is known.
        scores: `[n, classes]`.
    """
    least = -np.inf if limits.accept_from is None else limits.accept_from
    found: np.ndarray = scores.max(axis=1) >= np.asarray(least, scores.dtype)
    return found


def sets(limits: Limits, scores: np.ndarray) -> np.ndarray:
    """Whether each class belongs to the set of each answer `[n, classes]`.

    Args:
        limits: What is known.
        scores: `[n, classes]`.
    """
    likeliest = np.eye(scores.shape[1], dtype=bool)[scores.argmax(axis=1)]
    found: np.ndarray = likeliest | (scores >= np.asarray(limits.cutoffs, scores.dtype))
    return found


def bounds(limits: Limits, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """From where to where a number lies so often, each `[n]`.

    Args:
        limits: What is known.
        scores: `[n]`.
    """
    width = np.asarray(limits.half_width, scores.dtype)
    return scores - width, scores + width


def beside_numbers(limits: Limits | None, scores: tf.Tensor) -> dict[str, tf.Tensor]:
    """What an export answers beside a number: `lower` and `upper`, both as the number itself.

    Args:
        limits: What is known, if anything.
        scores: `[batch]`.
    """
    if limits is None:
        return {}
    width = tf.constant(limits.half_width, scores.dtype)
    return {"lower": scores - width, "upper": scores + width}


def told_of_numbers(limits: Limits | None, scores: np.ndarray) -> list[Readable]:
    """The same for readers.

    Args:
        limits: What is known, if anything.
        scores: `[n]`.
    """
    if limits is None:
        return [{} for _ in scores]
    return [{"lower": float(a), "upper": float(b)} for a, b in zip(*bounds(limits, scores))]


def effects(limits: Limits, scores: np.ndarray) -> Trust:
    """What limits do to answers: the share that is accepted, the mean size of sets.

    Args:
        limits: What is known.
        scores: `[n, classes]`.
    """
    found: Trust = {}
    if limits.accept_from is not None:
        found["accepted"] = float(accepted(limits, scores).mean())
    if limits.cutoffs:
        found["set_size"] = float(sets(limits, scores).sum(axis=1).mean())
    return found


def describe_classes(
    report: Report, limits: Limits | None, labels: np.ndarray, scores: np.ndarray
) -> None:
    """Adds to a report what became of limits on rows that they weren't read off.

    Args:
        report: The report.
        limits: What is known, if anything.
        labels: The right classes `[n]`.
        scores: `[n, classes]`.
    """
    if limits is None:
        return
    found = report.trust = {**effects(limits, scores), "rows": limits.rows}
    if limits.accept_from is not None:
        right, taken = scores.argmax(axis=1) == labels, accepted(limits, scores)
        found["wrong_of_accepted"] = float((~right)[taken].mean()) if taken.any() else None
        wrong = f", of which {_share(~right[taken])} are wrong" if taken.any() else ""
        sure = scores.max(axis=1)
        report.pictures["selective"] = plots.selective(
            right, sure, float(taken.mean()), 1.0 - (limits.most_wrong or 0.0)
        )
        report.notes.append(
            f"{taken.sum()} of {len(right)} answers are accepted{wrong}; of all "
            f"{1 - right.mean():.1%} are wrong, and asked for were {limits.most_wrong:.1%} at most"
        )
    if limits.cutoffs:
        held = sets(limits, scores)[np.arange(len(labels)), labels]
        found["coverage"] = float(held.mean())
        report.notes.append(
            f"the right class is in {_share(held)} of sets, of {found['set_size']:.2f} classes on "
            f"average; asked for were {limits.coverage:.1%} of each class"
        )


def describe_numbers(
    report: Report, limits: Limits | None, labels: np.ndarray, scores: np.ndarray
) -> None:
    """As `describe_classes`, of numbers `[n]`.

    Args:
        report: The report.
        limits: What is known, if anything.
        labels: What is right `[n]`.
        scores: What was answered `[n]`.
    """
    if limits is None:
        return
    low, high = bounds(limits, scores)
    held, width = (labels >= low) & (labels <= high), limits.half_width
    report.trust = {"coverage": float(held.mean()), "half_width": width, "rows": limits.rows}
    report.notes.append(
        f"what is right lies at most {width:.4g} below or above the answer "
        f"in {_share(held)} of rows; asked for were {limits.coverage:.1%}"
    )


def _share(flags: np.ndarray) -> str:
    """The share that is true, with Wilson's 95 % interval."""
    share = float(flags.mean())
    low, high = metrics.wilson(share, len(flags))
    return f"{share:.1%} ({low:.1%} to {high:.1%})"
