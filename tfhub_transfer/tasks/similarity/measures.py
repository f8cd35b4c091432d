"""Numbers of a report on texts that are compared by their vectors, one matrix a column of texts."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TypeAlias, TypeVar

import numpy as np
import scipy.sparse
import scipy.stats
from sklearn.feature_extraction.text import TfidfVectorizer

from tfhub_transfer.reporting import metrics
from tfhub_transfer.reporting.metrics import Numbers, Resampled

Kind = TypeVar("Kind")
# Unit vectors of texts, or the sparse ones of words.
Matrix: TypeAlias = "np.ndarray | scipy.sparse.csr_matrix"

# Rows of the matrix of all texts against all, which may be too large as a whole.
_AT_ONCE = 1000
_BINARY = ("accuracy", "precision", "recall", "f1", "roc_auc", "pr_auc")


@dataclasses.dataclass(frozen=True)
class Truth:
    """What is known of examples.

    Attributes:
        kind: `"graded"` or `"binary"` labels, or `"pairs"` or `"triplets"` without labels.
        labels: Float `[n]` where there are labels.
        numbers: Numbers of the second texts `[n]`, equal where the texts are.
    """

    kind: str
    labels: np.ndarray | None
    numbers: np.ndarray

    @classmethod
    def of(
        cls, texts: Sequence[Sequence[str]], labels: np.ndarray | None, wide: bool = False
    ) -> "Truth":
        """Tells by the columns of texts and the labels, if there are any.

        Args:
            texts: Columns of texts.
            labels: Numbers `[n]`, if there are any.
            wide: Whether degrees are learned on another scale than 0 to 1, of which these labels
                may happen to be 0 and 1 only.
        """
        numbers = np.unique(np.array(texts[1], dtype=object), return_inverse=True)[1]
        if labels is None:
            return cls("triplets" if len(texts) == 3 else "pairs", None, numbers)
        kind = "binary" if not wide and set(np.unique(labels)) <= {0.0, 1.0} else "graded"
        return cls(kind, labels, numbers)


def cosines(first: Matrix, second: Matrix) -> np.ndarray:
    """Row by row, of unit vectors `[n, d]`, dense or sparse: `[n]`."""
    product = first.multiply(second) if hasattr(first, "multiply") else first * second
    return np.asarray(product.sum(axis=1), dtype="float64").reshape(-1)


def tf_idf(train: Sequence[str], texts: Sequence[Sequence[str]]) -> list[scipy.sparse.csr_matrix]:
    """The baseline's vectors: TF-IDF of words at unit length, one sparse matrix a column.

    Args:
        train: Texts to count words in.
        texts: Columns of texts.
    """
    counts = TfidfVectorizer(sublinear_tf=True, token_pattern=r"(?u)\b\w+\b|[^\w\s]").fit(train)
    return [counts.transform(column) for column in texts]


def outcomes(truth: Truth, columns: Sequence[Matrix]) -> dict[str, np.ndarray]:
    """What each example without a label contributes, `[n]`; a metric is the mean.

    Args:
        truth: What is known of the examples.
        columns: Unit vectors of each column of texts `[n, d]`.

    Returns:
        For triplets `accuracy`; for pairs `recall_at_1` and `mrr`, among all second texts.
    """
    if truth.kind == "triplets":
        near, far = (cosines(columns[0], column) for column in columns[1:])
        return {"accuracy": (near > far).astype(float)}
    place = ranks(columns[0], columns[1], truth.numbers)
    return {"recall_at_1": (place == 1).astype(float), "mrr": 1.0 / place}


def ranks(first: Matrix, second: Matrix, numbers: np.ndarray) -> np.ndarray:
    """The place of each example's second text among all different ones, from 1, `[n]`.

    Args:
        first: Unit vectors `[n, d]` of what is searched for.
        second: Unit vectors `[n, d]` of what is found.
        numbers: Which of the latter are the same text `[n]`.
    """
    _, chosen, place = np.unique(numbers, return_index=True, return_inverse=True)
    pool = second[chosen]
    found = []
    for start in range(0, first.shape[0], _AT_ONCE):
        near = first[start : start + _AT_ONCE] @ pool.T
        near = np.asarray(near.todense() if hasattr(near, "todense") else near)
        own = near[np.arange(len(near)), place[start : start + _AT_ONCE]]
        # Of equally near ones the own comes in the middle.
        ahead = (near > own[:, None]).sum(axis=1)
        found.append(1 + ahead + ((near == own[:, None]).sum(axis=1) - 1) / 2)
    return np.concatenate(found)


def measure(
    truth: Truth, columns: Sequence[Matrix], scores: np.ndarray, threshold: float | None
) -> Numbers:
    """Metrics of one way to make vectors.

    Args:
        truth: What is known of the examples.
        columns: Unit vectors of each column of texts `[n, d]`.
        scores: Answers `[n]`, in the labels' units where they are graded.
        threshold: From which score on an answer says 1, for binary labels; `None` if nothing
            tells it. Precision, recall and F1 are those of the label 1.
    """
    if truth.labels is None:
        return {name: float(values.mean()) for name, values in outcomes(truth, columns).items()}
    if truth.kind == "graded":
        return metrics.regression(truth.labels, scores)
    known = _BINARY if threshold is not None else _BINARY[4:]
    found = _of_label_1(
        metrics.multi_label(truth.labels[:, None], scores[:, None], threshold or 0.0)
    )
    return {name: found[name] for name in known}


def _of_label_1(found: Mapping[str, Kind]) -> dict[str, Kind]:
    """Numbers of one column: their micro average is that of the label 1."""
    return {**found, "f1": found["micro_f1"]}


def intervals(
    truth: Truth, columns: Sequence[Matrix], scores: np.ndarray, threshold: float | None, seed: int
) -> dict[str, tuple[float, float]]:
    """95 % intervals of what `measure` gives."""
    labels, threshold = truth.labels, threshold or 0.0
    each = {} if labels is not None else outcomes(truth, columns)

    def resampled(weights: np.ndarray) -> Resampled:
        if labels is None:
            total = weights.sum(axis=1)
            return {name: weights @ values / total for name, values in each.items()}
        if truth.kind == "graded":
            return metrics.resampled_regression(weights, labels, scores)
        of_column = labels[:, None], scores[:, None]
        return _of_label_1(metrics.resampled_multi_label(weights, *of_column, threshold))

    counted = [name for name in ("accuracy", *each) if name != "mrr"]
    shares = dict.fromkeys(counted, len(truth.numbers))
    return metrics.intervals(resampled, len(truth.numbers), seed, shares)


def badness(truth: Truth, columns: Sequence[Matrix], scores: np.ndarray) -> np.ndarray:
    """How wrong each answer is `[n]`; 0 or less where it is right.

    For graded labels the share of examples by which its place is off; for binary ones the distance
    of the cosine from the label; for pairs how many texts are nearer than the own; for triplets by
    how much the third is nearer than the second.
    """
    if truth.kind == "triplets":
        near, far = (cosines(columns[0], column) for column in columns[1:])
        wrong: np.ndarray = far - near
    elif truth.labels is None:
        wrong = ranks(columns[0], columns[1], truth.numbers) - 1
    elif truth.kind == "binary":
        wrong = np.abs(scores - truth.labels)
    else:
        places = [scipy.stats.rankdata(values) for values in (truth.labels, scores)]
        wrong = np.abs(places[0] - places[1]) / len(scores)
    return wrong
