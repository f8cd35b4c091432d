"""How far answers to whole texts can be trusted, said beside them and in reports."""

from collections.abc import Sequence
from typing import NamedTuple

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


class Scored(NamedTuple):
    """Scores of classes, with what is answered.

    Attributes:
        scores: `[n, classes]`.
        answers: The places of the classes that are answered, int `[n]`.
        ordered: Whether classes have an order, so that sets of them are without gaps.
    """

    scores: np.ndarray
    answers: np.ndarray
    ordered: bool = False

    @property
    def confidence(self) -> np.ndarray:
        """The score of each answer `[n]`."""
        return np.asarray(self.scores[np.arange(len(self.answers)), self.answers])


def of_classes(
    made: Scored, truth: np.ndarray, coverage: float | None, abstain: float | None
) -> Limits:
    """What rows that the model wasn't trained on say of its answers.

    Args:
        made: Its answers.
        truth: The right classes `[n]`.
        coverage: How often a set is to hold the right class, if there are to be any.
        abstain: Which share of accepted answers may be wrong, if not all are to be accepted.
    """
    sure, right = made.confidence, made.answers == truth
    cutoffs: np.ndarray = np.empty(0)
    if coverage is not None:
        cutoffs = conformal.set_cutoffs(made.scores, truth, coverage) - _ROUNDING
    return Limits(
        accept_from=None if abstain is None else conformal.accepted_from(sure, right, abstain),
        most_wrong=abstain,
        cutoffs=tuple(map(float, cutoffs)),
        coverage=coverage,
        rows=len(truth),
    )


def of_sets(
    scores: np.ndarray, truth: np.ndarray, coverage: float | None, abstain: float | None = None
) -> Limits:
    """As `of_classes`, of texts that may have any number of them.

    Args:
        scores: `[n, classes]`.
        truth: Whether a text has a class, bool `[n, classes]`.
        coverage: How often a set is to hold a class that a text has.
        abstain: None; sets of classes are not accepted or refused.
    """
    assert coverage is not None and abstain is None
    cutoffs = conformal.label_cutoffs(scores, truth, coverage) - _ROUNDING
    return Limits(cutoffs=tuple(map(float, cutoffs)), coverage=coverage, rows=len(truth))


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
    limits: Limits | None,
    names: Sequence[str],
    scores: tf.Tensor,
    answers: tf.Tensor,
    ordered: bool,
) -> dict[str, tf.Tensor]:
    """What an export answers beside a class.

    Args:
        limits: What is known, if anything.
        names: The classes.
        scores: `[batch, classes]`.
        answers: The places of the classes that are answered, int `[batch]`.
        ordered: Whether classes have an order.

    Returns:
        `accepted` bool `[batch]`; `label_set` bool and `label_names` strings `[batch, classes]`.
    """
    found: dict[str, tf.Tensor] = {}
    if limits is None:
        return found
    if limits.accept_from is not None:
        least = tf.constant(limits.accept_from, scores.dtype)
        found["accepted"] = tf.gather(scores, answers, batch_dims=1) >= least
    if limits.cutoffs:
        answered = tf.one_hot(answers, len(names), on_value=True, off_value=False)
        inside = answered | (scores >= tf.constant(limits.cutoffs, scores.dtype))
        found["label_set"] = _without_gaps(inside) if ordered else inside
        # TF Serving answers row by row, for which every output needs one of each.
        found["label_names"] = tf.tile(tf.constant(names)[None], [tf.shape(scores)[0], 1])
    return found


def _without_gaps(inside: tf.Tensor) -> tf.Tensor:
    """The same sets, with all that lies between their first class and their last."""
    counts = tf.cast(inside, tf.int32)
    so_far, from_here = tf.cumsum(counts, axis=-1), tf.cumsum(counts, axis=-1, reverse=True)
    return (so_far > 0) & (from_here > 0)


def beside_labels(
    limits: Limits | None, scores: tf.Tensor, predicted: tf.Tensor
) -> dict[str, tf.Tensor]:
    """What an export answers beside any number of classes: `label_set` bool `[batch, classes]`.

    Args:
        limits: What is known, if anything.
        scores: `[batch, classes]`.
        predicted: Whether each class is given, bool `[batch, classes]`.
    """
    if limits is None:
        return {}
    return {"label_set": predicted | (scores >= tf.constant(limits.cutoffs, scores.dtype))}


def told_of_classes(limits: Limits | None, names: Sequence[str], made: Scored) -> list[Readable]:
    """The same for readers: `accepted`, and the names in `label_set`, the likeliest first.

    Args:
        limits: What is known, if anything.
        names: The classes.
        made: The answers. Of ordered classes the names are in their order.
    """
    found: list[Readable] = [{} for _ in made.scores]
    if limits is None:
        return found
    if limits.accept_from is not None:
        for row, own in zip(found, accepted(limits, made)):
            row["accepted"] = bool(own)
    if limits.cutoffs:
        for row, own, sure in zip(found, sets(limits, made), made.scores):
            order = range(len(names)) if made.ordered else np.argsort(-sure, kind="stable").tolist()
            row["label_set"] = [names[at] for at in order if own[at]]
    return found


def told_of_labels(
    limits: Limits | None, names: Sequence[str], scores: np.ndarray, given: np.ndarray
) -> list[Readable]:
    """The same, of any number of classes, the likeliest first.

    Args:
        limits: What is known, if anything.
        names: The classes.
        scores: `[n, classes]`.
        given: Whether each class is given, bool `[n, classes]`.
    """
    if limits is None:
        return [{} for _ in scores]
    inside = label_sets(limits, scores, given)
    return [
        {"label_set": [names[at] for at in np.argsort(-sure, kind="stable") if own[at]]}
        for own, sure in zip(inside, scores)
    ]


def accepted(limits: Limits, made: Scored) -> np.ndarray:
    """Whether each answer is accepted `[n]`; all are, where nothing else was asked for.

    Args:
        limits: What is known.
        made: The answers.
    """
    least = -np.inf if limits.accept_from is None else limits.accept_from
    found: np.ndarray = made.confidence >= np.asarray(least, made.scores.dtype)
    return found


def sets(limits: Limits, made: Scored) -> np.ndarray:
    """Whether each class belongs to the set of each answer `[n, classes]`.

    Args:
        limits: What is known.
        made: The answers.
    """
    found = label_sets(limits, made.scores, np.eye(made.scores.shape[1], dtype=bool)[made.answers])
    if made.ordered:
        ahead, behind = (np.maximum.accumulate(f, axis=1) for f in (found, found[:, ::-1]))
        found = ahead & behind[:, ::-1]
    return found


def label_sets(limits: Limits, scores: np.ndarray, given: np.ndarray) -> np.ndarray:
    """Whether each class is given, or may be right `[n, classes]`.

    Args:
        limits: What is known.
        scores: `[n, classes]`.
        given: Whether each class is given, bool `[n, classes]`.
    """
    return np.asarray(given | (scores >= np.asarray(limits.cutoffs, scores.dtype)))


def mean_size(limits: Limits, scores: np.ndarray, given: np.ndarray) -> float:
    """How many classes the sets of texts hold that may have any number of them, in the mean.

    Args:
        limits: What is known.
        scores: `[n, classes]`.
        given: Whether each class is given, bool `[n, classes]`.
    """
    return float(label_sets(limits, scores, given).sum(axis=1).mean())


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


def effects(limits: Limits, made: Scored) -> Trust:
    """What limits do to answers: the share that is accepted, the mean size of sets.

    Args:
        limits: What is known.
        made: The answers.
    """
    found: Trust = {}
    if limits.accept_from is not None:
        found["accepted"] = float(accepted(limits, made).mean())
    if limits.cutoffs:
        found["set_size"] = float(sets(limits, made).sum(axis=1).mean())
    return found


def describe_classes(
    report: Report, limits: Limits | None, labels: np.ndarray, made: Scored
) -> None:
    """Adds to a report what became of limits on rows that they weren't read off.

    Args:
        report: The report.
        limits: What is known, if anything.
        labels: The right classes `[n]`.
        made: The answers.
    """
    if limits is None:
        return
    found = report.trust = {**effects(limits, made), "rows": limits.rows}
    if limits.accept_from is not None:
        right, taken = made.answers == labels, accepted(limits, made)
        found["wrong_of_accepted"] = float((~right)[taken].mean()) if taken.any() else None
        wrong = f", of which {_share(~right[taken])} are wrong" if taken.any() else ""
        report.pictures["selective"] = plots.selective(
            right, made.confidence, float(taken.mean()), 1.0 - (limits.most_wrong or 0.0)
        )
        report.notes.append(
            f"{taken.sum()} of {len(right)} answers are accepted{wrong}; of all "
            f"{1 - right.mean():.1%} are wrong, and asked for were {limits.most_wrong:.1%} at most"
        )
    if limits.cutoffs:
        held = sets(limits, made)[np.arange(len(labels)), labels]
        found["coverage"] = float(held.mean())
        report.notes.append(
            f"the right class is in {_share(held)} of sets, of {found['set_size']:.2f} classes on "
            f"average; asked for were {limits.coverage:.1%} of each class"
        )


def describe_labels(
    report: Report,
    limits: Limits | None,
    labels: np.ndarray,
    scores: np.ndarray,
    given: np.ndarray,
) -> None:
    """As `describe_classes`, of texts that may have any number of them.

    Args:
        report: The report.
        limits: What is known, if anything.
        labels: Whether a text has a class, bool `[n, classes]`.
        scores: `[n, classes]`.
        given: Whether each class is given, bool `[n, classes]`.
    """
    if limits is None:
        return
    made = label_sets(limits, scores, given)
    size = float(made.sum(axis=1).mean())
    found = report.trust = {"set_size": size, "rows": limits.rows}
    held, right = made[labels], given[labels]
    if len(held):
        found["coverage"] = float(held.mean())
        report.notes.append(
            f"{_share(held)} of the labels are in the sets of their texts, of {size:.2f} classes "
            f"on average ({right.mean():.1%} are given); asked for were {limits.coverage:.1%} of "
            "each class"
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
