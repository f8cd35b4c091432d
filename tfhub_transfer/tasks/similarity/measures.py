"""Numbers of a report on texts that are compared by their vectors, one matrix a column of texts."""

import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol, TypeAlias, TypeVar

import numpy as np
import scipy.sparse
import scipy.stats
from sklearn.feature_extraction.text import TfidfVectorizer

from tfhub_transfer.data import Examples
from tfhub_transfer.errors import InputError
from tfhub_transfer.reporting import metrics, plots
from tfhub_transfer.reporting.metrics import Numbers, Resampled
from tfhub_transfer.reporting.operating_points import Answers
from tfhub_transfer.reporting.reports import Report
from tfhub_transfer.tasks.trial import Trial, worst
from tfhub_transfer.tasks.whole.measures import add_thresholds

Kind = TypeVar("Kind")
# Unit vectors of texts, or the sparse ones of words.
Matrix: TypeAlias = "np.ndarray | scipy.sparse.csr_matrix"
# Texts to vectors.
Encode: TypeAlias = "Callable[[Sequence[str]], Matrix]"

# Rows of the matrix of all texts against all, which may be too large as a whole.
_AT_ONCE = 1000
# Training pairs on which the threshold of a cosine is found.
_THRESHOLD_ROWS = 2000
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
    # scikit-learn's own pattern drops words of one letter and all signs, a text's only ones maybe.
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
    # Without a threshold the areas alone mean something, which need none.
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

    # The others are shares of rows, with Wilson's interval; reciprocal ranks aren't.
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


def best_threshold(labels: np.ndarray, found: np.ndarray) -> float | None:
    """The answer from which on saying 1 has the highest F1.

    Args:
        labels: 0 or 1 `[n]`.
        found: Answers `[n]`.

    Returns:
        A number between two answers; `None` if no label is 1, or all are.

    Example:

    >>> best_threshold(np.array([0, 1, 1]), np.array([0.25, 0.5, 0.75]))
    0.375
    """
    if len(set(labels.tolist())) < 2:
        return None
    order = np.argsort(-found, kind="stable")
    right, given = np.cumsum(labels[order]), np.arange(1, len(labels) + 1)
    f1 = 2 * right / (given + labels.sum())
    # Between equal answers no threshold can lie.
    ordered = np.append(found[order].astype("float64"), found.min() - 1)
    f1[ordered[:-1] == ordered[1:]] = -1
    best = int(f1.argmax())
    return float(ordered[best : best + 2].mean())


class Compared(Protocol):
    """A task that compares texts, as far as its report asks it."""

    threshold: float | None

    @property
    def is_wide(self) -> bool:
        """Whether degrees are on another scale than 0 to 1."""

    def numbers(self, labels: Sequence[object]) -> list[float]:
        """Labels as numbers."""

    def is_binary(self, examples: Examples) -> bool:
        """Whether labels are 0 and 1 alone."""

    def score(self, cosines: np.ndarray) -> np.ndarray:
        """Cosines to answers."""


def report_on(task: Compared, trial: Trial) -> None:
    """Fills a report on texts that are compared; see `Task.report_on`.

    Args:
        task: The model's task.
        trial: The report, the model, and what is put to it.
    """
    report, examples, train, seed = trial.report, trial.examples, trial.train, trial.seed
    labels = None if examples.target is None else np.array(task.numbers(examples.labels))
    truth = Truth.of(examples.texts, labels, task.is_wide)
    known = _for_threshold(task, truth, train, seed)
    # The model's own is of the validation split, and needs no other.
    tuned = known if task.threshold is None else None
    columns, scores, threshold = _compared(
        task, lambda texts: trial.timed(lambda: trial.model.encode_text(texts)), examples, tuned
    )
    if truth.kind == "binary":
        threshold = threshold if task.threshold is None else task.threshold
        _note_threshold(report, threshold, tuned is None)
    report.metrics = measure(truth, columns, scores, threshold)
    found = intervals(truth, columns, scores, threshold, seed)
    report.intervals = {name: each for name, each in found.items() if name in report.metrics}
    if labels is not None and truth.kind == "graded":
        report.pictures["scatter"] = plots.scatter(labels, scores)
    off = badness(truth, columns, scores)
    report.mistakes = [
        trial.mistake(
            row,
            "-" if examples.target is None else examples.labels[row],
            float(scores[row]),
            float(off[row]),
        )
        for row in worst(off)
    ]
    _show_answers(trial, truth, columns, scores)
    if train is None:
        return
    started = time.perf_counter()
    for name, encode in _untrained(trial, train).items():
        report.baselines[name] = measure(truth, *_compared(task, encode, examples, known))
    report.seconds["baselines"] = time.perf_counter() - started


def _note_threshold(report: Report, threshold: float | None, validated: bool) -> None:
    report.threshold = threshold
    if threshold is None:
        report.notes.append(
            "no accuracy, F1, precision and recall: the threshold of the score is found on "
            "labelled pairs, of validation (`fine_tune`) or of training, and there are none"
        )
        return
    where = "validation" if validated else "training pairs, as none was tuned on validation"
    report.notes.append(
        f"threshold {threshold:.4f}: pairs of this score and above count as 1; it has the highest "
        f"F1 on {where}"
    )


def _compared(
    task: Compared, encode: Encode, examples: Examples, tuned: Examples | None
) -> tuple[list[Matrix], np.ndarray, float | None]:
    """Vectors of each column, answers, and the threshold that suits other examples."""
    columns = [encode(texts) for texts in examples.texts]
    scores = task.score(cosines(columns[0], columns[1]))
    if tuned is None:
        return columns, scores, None
    near = cosines(*(encode(texts) for texts in tuned.texts[:2]))
    return columns, scores, best_threshold(np.array(task.numbers(tuned.labels)), task.score(near))


def _for_threshold(
    task: Compared, truth: Truth, train: Examples | None, seed: int
) -> Examples | None:
    if truth.kind != "binary" or train is None or not task.is_binary(train):
        return None
    return train[np.random.default_rng(seed).permutation(len(train))[:_THRESHOLD_ROWS]]


def _untrained(trial: Trial, train: Examples) -> dict[str, Encode]:
    """The encoder as it was before training, and TF-IDF, each as texts to vectors."""
    every = [text for column in train.texts for text in column]
    found: dict[str, Encode] = {}
    try:
        found["untrained"] = trial.untrained().encode_text
    except InputError:
        trial.report.notes.append("baseline untrained: left out, the encoder itself isn't at hand")
    # Of blank texts alone TF-IDF raises.
    if any(text.strip() for text in every):
        found["tfidf_cosine"] = lambda texts: tf_idf(every, [texts])[0]
    return found


def _off(truth: Truth, scores: np.ndarray, threshold: float | None) -> dict[str, np.ndarray]:
    """What each example with a label contributes to a number that is a mean."""
    labels = np.asarray(truth.labels)
    if truth.kind == "graded":
        return {"mae": np.abs(scores.astype("float64") - labels)}
    if threshold is None:
        return {}
    return {"accuracy": ((scores >= threshold) == (labels == 1)).astype("float64")}


def _show_answers(
    trial: Trial, truth: Truth, columns: Sequence[Matrix], scores: np.ndarray
) -> None:
    """Adds the score of each example, and what a threshold brings where labels are 0 and 1."""
    own: list[object] = [None] * len(trial.examples)
    numbers: dict[str, np.ndarray] = {}
    if truth.labels is None:
        numbers = outcomes(truth, columns)
    else:
        own = truth.labels.tolist()
        numbers = _off(truth, scores, trial.report.threshold)
    trial.note_answers(own, [float(score) for score in scores], numbers)
    if truth.labels is not None and truth.kind == "binary":
        right, of = np.equal(truth.labels, 1), "pairs that count as 1"
        wanted = int(right.sum())
        add_thresholds(trial.report, Answers(right, scores, wanted, of, trial.report.threshold))
