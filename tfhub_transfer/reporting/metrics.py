"""Numbers of a report: metrics, calibration, intervals, and what baselines answer.

What the data can't tell (one class only, a constant score) is `None` in point estimates and NaN in
single resamples; nothing here raises or warns because of it.
"""

import math
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple, Protocol, TypeAlias

import numpy as np
import scipy.stats
import sklearn.metrics as sk
from scipy.sparse import csr_matrix
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.exceptions import ConvergenceWarning
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.multiclass import OneVsRestClassifier

from tfhub_transfer import progress
from tfhub_transfer.reporting import contents
from tfhub_transfer.reporting.contents import ClassScores, Curve, Reliability

Numbers: TypeAlias = contents.Numbers
Resampled: TypeAlias = dict[str, np.ndarray]

# As Guo et al. 2017 have it.
BINS = 15
# Fewer rows than these are too like each other when they are drawn again.
LEAST_ROWS = 20
# Of a normal distribution 95 % lie within so many standard deviations.
NORMAL = 1.959963984540054
RESAMPLES = 1000
# Areas under curves are sorted anew for each class: beyond this many cells (rows x classes) a
# thousand resamples of them take longer than anybody waits for a report.
MOST_CELLS_FOR_AREAS = 250_000
# Weights of resamples that are in memory together: 32 MB.
_CELLS_AT_ONCE = 4_000_000
# A plot shows no more, and of each class of a large split `report.json` would have megabytes.
_POINTS_OF_A_CURVE = 200


def classification(labels: np.ndarray, scores: np.ndarray) -> Numbers:
    """Metrics of labels `[n]` and class probabilities `[n, classes]`.

    `precision`, `recall` and `macro_f1` are means over the classes that occur among labels or
    answers. ROC and precision-recall areas are those of the second class if there are two, else
    means of one-versus-rest over the classes that occur among the labels.
    """
    predicted = scores.argmax(axis=1)
    occurring = np.unique(np.concatenate([labels, predicted]))
    # Without `zero_division` scikit-learn warns of classes that were never answered.
    mean = {"labels": occurring, "average": "macro", "zero_division": 0}
    numbers: Numbers = {
        "accuracy": float((labels == predicted).mean()),
        "macro_f1": float(sk.f1_score(labels, predicted, **mean)),
        # Every answer is one class, so that micro F1 is the accuracy.
        "micro_f1": float((labels == predicted).mean()),
        "precision": float(sk.precision_score(labels, predicted, **mean)),
        "recall": float(sk.recall_score(labels, predicted, **mean)),
    }
    numbers |= _areas(*_measured_columns(_one_hot(labels, scores.shape[1]), scores))
    return {**numbers, "ece": calibration(labels == predicted, scores.max(axis=1))["ece"]}


def multi_label(labels: np.ndarray, scores: np.ndarray, threshold: float | np.ndarray) -> Numbers:
    """Metrics of label indicators `[n, classes]` and scores `[n, classes]`.

    `threshold` is one for all classes, or one for each. `accuracy` is the share of texts whose
    whole set of labels is right; `precision` and `recall` are micro averages, areas are means over
    the classes that occur.
    """
    truth, predicted = labels.astype(int), (scores >= threshold).astype(int)
    # Not by scikit-learn, which takes a single column for labels of two classes.
    sums = [x.sum(axis=0, dtype="float64") for x in (truth & predicted, truth, predicted)]
    micro = _averaged(*(x.sum(keepdims=True) for x in sums))
    numbers: Numbers = {
        "accuracy": float((truth == predicted).all(axis=1).mean()),
        "macro_f1": float(_averaged(*sums)["macro_f1"].mean()),
        "micro_f1": float(micro["macro_f1"][0]),
        "precision": float(micro["precision"][0]),
        "recall": float(micro["recall"][0]),
    }
    return numbers | _areas(truth, scores)


def regression(labels: np.ndarray, scores: np.ndarray) -> Numbers:
    """Errors and correlations of targets `[n]` and predictions `[n]`, in the targets' units.

    All are `None` if a prediction isn't finite; correlations also where one side is constant.
    """
    numbers: Numbers = dict.fromkeys(("mse", "rmse", "mae", "pearson", "spearman"))
    if not np.isfinite(scores).all():
        return numbers
    labels, scores = labels.astype("float64"), scores.astype("float64")
    numbers["mse"] = float(sk.mean_squared_error(labels, scores))
    numbers["rmse"] = float(sk.root_mean_squared_error(labels, scores))
    numbers["mae"] = float(sk.mean_absolute_error(labels, scores))
    if _varies(labels) and _varies(scores):
        numbers["pearson"] = float(scipy.stats.pearsonr(_standard(labels), _standard(scores))[0])
        numbers["spearman"] = float(scipy.stats.spearmanr(labels, scores)[0])
    return numbers


def _varies(values: np.ndarray) -> bool:
    """Whether values differ by more than rounding; SciPy warns about those that don't."""
    return bool(np.ptp(values) > 1e-12 * float(np.abs(values).max()))


def _standard(values: np.ndarray) -> np.ndarray:
    """Around 0 and of size 1, as correlations don't depend on that; their products do."""
    values = values - values.mean()
    scaled: np.ndarray = values / np.abs(values).max()
    return scaled


def _one_hot(labels: np.ndarray, classes: int) -> np.ndarray:
    rows: np.ndarray = np.eye(classes, dtype=int)[labels]
    return rows


def _measured_columns(truth: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The columns whose areas are measured: of two classes the second says all."""
    return (truth[:, 1:], scores[:, 1:]) if scores.shape[1] == 2 else (truth, scores)


def usable_columns(truth: np.ndarray) -> list[int]:
    """Columns of indicators `[n, classes]` that hold both kinds, so that they have curves."""
    found = truth.sum(axis=0)
    return [int(c) for c in np.flatnonzero((found > 0) & (found < len(truth)))]


def _areas(truth: np.ndarray, scores: np.ndarray) -> Numbers:
    """Areas under ROC and precision-recall curves, over columns that hold both kinds."""
    usable = usable_columns(truth)
    if not usable:
        return {"roc_auc": None, "pr_auc": None}
    roc = [sk.roc_auc_score(truth[:, c], scores[:, c]) for c in usable]
    area = [sk.average_precision_score(truth[:, c], scores[:, c]) for c in usable]
    return {"roc_auc": float(np.mean(roc)), "pr_auc": float(np.mean(area))}


def curves(truth: np.ndarray, scores: np.ndarray, names: list[str], most: int) -> list[Curve]:
    """ROC and precision-recall curves of the most frequent classes, one against the rest.

    Args:
        truth: Indicators `[n, classes]`.
        scores: Scores `[n, classes]`.
        names: The classes.
        most: How many of them.

    Returns:
        For each `class` its `number`, `roc_auc`, `pr_auc` and the points `false_positive_rate`,
        `true_positive_rate`, `recall`, `precision`, thinned to some two hundred; the most frequent
        first. Of two exclusive classes only the second: the other curve says the same.
    """
    exclusive = len(names) == 2 and bool((truth.sum(axis=1) == 1).all())
    usable = sorted(usable_columns(truth), key=lambda c: -truth[:, c].sum())
    return [
        _curve(names[c], c, truth[:, c], scores[:, c])
        for c in ([c for c in usable if c == 1] if exclusive else usable)[:most]
    ]


def _curve(name: str, number: int, truth: np.ndarray, scores: np.ndarray) -> Curve:
    false, true, _ = sk.roc_curve(truth, scores)
    precision, recall, _ = sk.precision_recall_curve(truth, scores)
    areas = _areas(truth[:, None], scores[:, None])
    return {
        "class": name,
        "number": number,
        "roc_auc": areas["roc_auc"],
        "pr_auc": areas["pr_auc"],
        "false_positive_rate": _thinned(false),
        "true_positive_rate": _thinned(true),
        "recall": _thinned(recall),
        "precision": _thinned(precision),
    }


def _thinned(points: np.ndarray) -> list[float]:
    few = min(len(points), _POINTS_OF_A_CURVE)
    kept = points[np.linspace(0, len(points) - 1, few).round().astype(int)]
    return [round(float(x), 4) for x in kept]


def calibration(right: np.ndarray, confidence: np.ndarray) -> Reliability:
    """Expected calibration error over 15 equal bins of confidence (Guo et al. 2017).

    Args:
        right: Whether each prediction is right `[n]`.
        confidence: The score of each predicted class `[n]`.

    Returns:
        `ece`, and for each bin that isn't empty its `confidence`, `accuracy` and `count`.
    """
    bins = np.clip((confidence * BINS).astype(int), 0, BINS - 1)
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


def per_class(truth: np.ndarray, predicted: np.ndarray, names: list[str]) -> list[ClassScores]:
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


def confusion_matrix(labels: np.ndarray, predicted: np.ndarray, classes: int) -> np.ndarray:
    """Counts `[true, predicted]` of all classes, also of those that don't occur."""
    counts = np.bincount(labels * classes + predicted, minlength=classes**2)
    return counts.reshape(classes, classes)


def most_confused(matrix: np.ndarray, most: int) -> list[tuple[int, int, int]]:
    """The largest cells `(true, predicted, count)` beside the diagonal, largest first."""
    wrong = matrix * (1 - np.eye(len(matrix), dtype=int))
    order = np.argsort(-wrong, axis=None, kind="stable")[:most]
    cells = [(int(i // len(matrix)), int(i % len(matrix))) for i in order]
    return [(true, guess, int(wrong[true, guess])) for true, guess in cells if wrong[true, guess]]


def intervals(
    measure: Callable[[np.ndarray], Resampled],
    rows: int,
    seed: int = 0,
    shares: Mapping[str, int] | None = None,
) -> dict[str, tuple[float, float]]:
    """95 % intervals: Wilson's of shares of rows, else by percentiles of the bootstrap.

    The bootstrap (Efron 1979) draws the rows anew 1000 times. Of few rows, or of rows that are all
    right, its draws agree more than new rows would: a number gets no interval then, nor where most
    draws can't tell it.

    Args:
        measure: Row weights `[resamples, rows]` (how often each row was drawn) to the numbers of
            each resample.
        rows: How many rows there are; fewer than two have no intervals, fewer than `LEAST_ROWS`
            only those of shares.
        seed: Seed of the resampling.
        shares: Of numbers that are shares of rows which are right, of how many rows.

    Example:

    >>> values = np.arange(30.0)
    >>> low, high = intervals(lambda w: {"mean": w @ values / 30}, 30)["mean"]
    """
    if rows < 2:
        return {}
    whole = measure(np.ones((1, rows)))
    found = {
        name: wilson(float(whole[name][0]), count)
        for name, count in (shares or {}).items()
        if name in whole and count
    }
    if rows < LEAST_ROWS:
        return found
    parts = []
    with progress.part("intervals", RESAMPLES) as steps:
        for weights in _resamples(rows, seed):
            parts.append(measure(weights))
            steps.add(len(weights))
    for name in (name for name in whole if name not in found):
        values = np.concatenate([part[name] for part in parts])
        values = values[np.isfinite(values)]
        if len(values) > RESAMPLES // 2:
            low, high = map(float, np.percentile(values, [2.5, 97.5]))
            if low < high:
                found[name] = (low, high)
    return found


def wilson(share: float, count: int) -> tuple[float, float]:
    """The 95 % interval of a share of `count` independent rows (Wilson 1927).

    Example:

    >>> [round(end, 3) for end in wilson(1.0, 4)]
    [0.51, 1.0]
    """
    odd = NORMAL**2 / count
    middle = share + odd / 2
    spread = NORMAL * math.sqrt(share * (1 - share) / count + odd / count / 4)
    low, high = ((middle + side) / (1 + odd) for side in (-spread, spread))
    # Not 3e-17, by rounding, where nothing or all is right.
    return max(0.0, low) if share > 0 else 0.0, min(1.0, high) if share < 1 else 1.0


def _resamples(rows: int, seed: int) -> Iterator[np.ndarray]:
    """How often each row is drawn, `[some resamples, rows]`, in parts that fit into memory."""
    generator = np.random.default_rng(seed)
    some = max(1, _CELLS_AT_ONCE // rows)
    for start in range(0, RESAMPLES, some):
        count = min(some, RESAMPLES - start)
        drawn = generator.integers(0, rows, (count, rows)) + np.arange(count)[:, None] * rows
        weights = np.bincount(drawn.ravel(), minlength=count * rows)
        yield weights.reshape(count, rows).astype("float64")


def resampled_classification(
    weights: np.ndarray, labels: np.ndarray, scores: np.ndarray
) -> Resampled:
    """The numbers of `classification` (but `ece`, which resampling biases) for row weights.

    Args:
        weights: How often each row counts `[resamples, n]`.
        labels: Classes `[n]`.
        scores: Class probabilities `[n, classes]`.
    """
    truth = _one_hot(labels, scores.shape[1])
    given = _one_hot(scores.argmax(axis=1), scores.shape[1])
    hits, support, answers = (weights @ x.astype("float64") for x in (truth & given, truth, given))
    occurring = support + answers > 0
    accuracy = hits.sum(axis=1) / weights.sum(axis=1)
    found = {"accuracy": accuracy, "micro_f1": accuracy}
    for name, total in _averaged(hits, support, answers).items():
        found[name] = (total * occurring).sum(axis=1) / occurring.sum(axis=1)
    return found | _resampled_areas(weights, *_measured_columns(truth, scores))


def resampled_multi_label(
    weights: np.ndarray, labels: np.ndarray, scores: np.ndarray, threshold: float | np.ndarray
) -> Resampled:
    """The numbers of `multi_label` for row weights `[resamples, n]`."""
    truth, given = labels.astype(int), (scores >= threshold).astype(int)
    exact = (truth == given).all(axis=1).astype("float64")
    sums = [weights @ x.astype("float64") for x in (truth & given, truth, given)]
    micro = _averaged(*(x.sum(axis=1) for x in sums))
    found = {
        "accuracy": weights @ exact / weights.sum(axis=1),
        "macro_f1": _averaged(*sums)["macro_f1"].mean(axis=1),
        "micro_f1": micro["macro_f1"],
        "precision": micro["precision"],
        "recall": micro["recall"],
    }
    return found | _resampled_areas(weights, truth, scores)


def _averaged(hits: np.ndarray, support: np.ndarray, answers: np.ndarray) -> Resampled:
    """F1, precision and recall of counts, 0 where there is nothing to divide by."""
    return {
        "macro_f1": ratio(2 * hits, support + answers),
        "precision": ratio(hits, answers),
        "recall": ratio(hits, support),
    }


def ratio(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    """One number by another, 0 where there is nothing to divide by."""
    made: np.ndarray = np.zeros_like(above)
    np.divide(above, below, out=made, where=below > 0)
    return made


def _resampled_areas(weights: np.ndarray, truth: np.ndarray, scores: np.ndarray) -> Resampled:
    """Mean areas over the classes that hold both kinds in a resample; NaN where none does."""
    if truth.size > MOST_CELLS_FOR_AREAS:
        return {}
    # Rows are put in another order for each class: they have to lie together in memory. Counts
    # up to sixteen million are exact in float32.
    columns = np.ascontiguousarray(weights.T, dtype="float32")
    total = np.zeros((3, len(weights)))
    for column in usable_columns(truth):
        roc, area = _weighted_areas(columns, truth[:, column], scores[:, column])
        total += np.nan_to_num(np.stack([roc, area, np.isfinite(roc)]))
    told = np.where(total[2] > 0, total[2], np.nan)
    return {"roc_auc": total[0] / told, "pr_auc": total[1] / told}


def _weighted_areas(
    weights: np.ndarray, truth: np.ndarray, scores: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Areas under the ROC curve (trapezoids) and average precision of each resample.

    Args:
        weights: How often each row counts `[n, resamples]`.
        truth: Which rows are of the class `[n]`.
        scores: Their scores `[n]`.
    """
    order = np.argsort(-scores, kind="stable")
    # Both areas rise only at steps (rows of equal score) that hold a row of the class.
    rows = np.flatnonzero(truth[order])
    ordered = scores[order]
    first = np.searchsorted(-ordered, -ordered[rows], side="left")
    last = np.searchsorted(-ordered, -ordered[rows], side="right") - 1
    until = np.cumsum(weights[order], axis=0)
    # Where `first` is 0 there is no row before it, and what -1 takes is left out.
    before = np.where(first[:, None] > 0, until[first - 1], 0.0)
    own = weights[order[rows]].astype("float64")
    ranks = np.vstack([np.zeros(own.shape[1]), np.cumsum(own, axis=0)])
    step = ordered[rows]
    hits_before = ranks[np.searchsorted(-step, -step, side="left")]
    hits = ranks[np.searchsorted(-step, -step, side="right")]
    positives = ranks[-1]
    negatives = until[-1] - positives
    # A row of the class is outranked by the misses above it and by half of those on its step.
    misses, misses_before = until[last] - hits, before - hits_before
    beaten = negatives - (misses + misses_before) / 2
    both = np.where((positives > 0) & (negatives > 0), 1.0, np.nan)
    precision = ratio(hits, until[last].astype("float64"))
    scale = np.maximum(positives, 1)
    return (
        both * np.einsum("nr,nr->r", own, beaten) / (scale * np.maximum(negatives, 1)),
        both * np.einsum("nr,nr->r", own, precision) / scale,
    )


def resampled_regression(weights: np.ndarray, labels: np.ndarray, scores: np.ndarray) -> Resampled:
    """The numbers of `regression` for row weights `[resamples, n]`."""
    labels, scores = labels.astype("float64"), scores.astype("float64")
    total, error = weights.sum(axis=1), scores - labels
    mse = weights @ error**2 / total
    found = {"mse": mse, "rmse": np.sqrt(mse), "mae": weights @ np.abs(error) / total}
    if not (_varies(labels) and _varies(scores)):
        return found
    ranks = [_weighted_ranks(weights, x) for x in (labels, scores)]
    everywhere = [np.broadcast_to(_standard(x), weights.shape) for x in (labels, scores)]
    found["pearson"] = _weighted_correlation(weights, *everywhere)
    found["spearman"] = _weighted_correlation(weights, *ranks)
    return found


def _weighted_ranks(weights: np.ndarray, values: np.ndarray) -> np.ndarray:
    """The middle rank of each row in each resample `[resamples, n]`; equal values share one."""
    order = np.argsort(values, kind="stable")
    ends = np.append(np.flatnonzero(np.diff(values[order])), len(order) - 1)
    until = np.cumsum(weights[:, order], axis=1)[:, ends]
    middle = until - (np.diff(until, axis=1, prepend=0.0) - 1) / 2
    step = np.empty(len(values), dtype=int)
    step[order] = np.repeat(np.arange(len(ends)), np.diff(ends, prepend=-1))
    return middle[:, step]


def _weighted_correlation(weights: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Pearson's correlation of `x` and `y` in each resample `[resamples]`; NaN if one is flat."""
    total = weights.sum(axis=1, keepdims=True)
    x = x - (weights * x).sum(axis=1, keepdims=True) / total
    y = y - (weights * y).sum(axis=1, keepdims=True) / total
    both, alone, other = (np.einsum("rn,rn,rn->r", weights, *p) for p in ((x, y), (x, x), (y, y)))
    scale = np.sqrt(alone * other)
    made: np.ndarray = np.full_like(both, np.nan)
    np.divide(both, scale, out=made, where=scale > 1e-12 * len(x[0]))
    return made


class Estimator(Protocol):
    """What is asked of a model of scikit-learn; those that have it are asked `predict_proba`."""

    def fit(self, X: csr_matrix, y: np.ndarray) -> object: ...

    def predict(self, X: csr_matrix) -> np.ndarray: ...


# What answers without a look at the text, and a linear model.
Estimators: TypeAlias = tuple[Estimator, Estimator]


class BaselineAnswer(NamedTuple):
    """Scores of a baseline like those of a model, or `None`, and what there is to say of it."""

    scores: np.ndarray | None
    note: str = ""


def baseline_scores(
    estimators: Estimators,
    texts: tuple[list[str], list[str]],
    labels: np.ndarray,
    classes: int,
) -> dict[str, BaselineAnswer]:
    """What a model without transfer answers: the majority class, and TF-IDF with a linear model.

    The second is on sublinear TF-IDF of words and pairs of words.

    Args:
        estimators: What answers without a look at the text, and the linear model, as `of_classes`,
            `of_sets` and `of_numbers` make them.
        texts: Texts to train on `[n]` and to answer `[m]`.
        labels: Labels of the former, `[n]` or indicators `[n, classes]`.
        classes: The number of classes; 0 of numbers.

    Returns:
        `majority` and `tfidf_logistic_regression`, with scores `[m]` or `[m, classes]`.
    """
    # The majority class looks at no words: it is there even when no text has any.
    empty = csr_matrix((len(texts[0]), 1)), csr_matrix((len(texts[1]), 1))
    plain, linear = estimators
    words = _tf_idf(*texts)
    if words is None:
        learned = BaselineAnswer(None, "left out, the training texts hold no words")
    elif isinstance(linear, LogisticRegression) and len(np.unique(labels)) < 2:
        learned = BaselineAnswer(None, "left out, the training split holds one class only")
    else:
        learned = _answer(linear, words, labels, classes)
    return {
        "majority": _answer(plain, empty, labels, classes),
        "tfidf_logistic_regression": learned,
    }


def _tf_idf(train: list[str], test: list[str]) -> tuple[csr_matrix, csr_matrix] | None:
    if not any(text.strip() for text in train):
        return None
    # Signs and words of one letter count too, unlike by default: "don't", "!" and "I" tell a lot.
    vectorizer = TfidfVectorizer(
        ngram_range=(1, 2), sublinear_tf=True, token_pattern=r"(?u)\b\w+\b|[^\w\s]"
    )
    with progress.part("words for a baseline", len(train) + len(test)) as steps:
        own, other = (_counted(texts, steps) for texts in (train, test))
        return vectorizer.fit_transform(own), vectorizer.transform(other)


def _counted(texts: list[str], steps: progress.Counter) -> Iterator[str]:
    for text in texts:
        yield text
        steps.add()


def of_classes() -> Estimators:
    """The majority class, and logistic regression."""
    return DummyClassifier(), LogisticRegression(max_iter=1000)


def of_sets() -> Estimators:
    """The same for each class on its own."""
    plain, linear = of_classes()
    return OneVsRestClassifier(plain), OneVsRestClassifier(linear)


def of_numbers(plain: str = "mean") -> Estimators:
    """The mean, or the `"median"`, and ridge regression."""
    return DummyRegressor(strategy=plain), Ridge()


def _answer(
    estimator: Estimator,
    features: tuple[csr_matrix, csr_matrix],
    labels: np.ndarray,
    classes: int,
) -> BaselineAnswer:
    if labels.dtype == np.float64:  # numbers beyond float32, whose squares can be beyond float64
        mean, spread = labels.mean(), labels.std() or 1.0
        made = _answer(estimator, features, ((labels - mean) / spread).astype("float32"), classes)
        return made._replace(scores=mean + spread * np.asarray(made.scores))
    # How far it is, scikit-learn doesn't say.
    with progress.part("a baseline"), warnings.catch_warnings(record=True) as caught:
        # scikit-learn also warns of classes that no training text has, which is no news here.
        warnings.simplefilter("always")
        estimator.fit(features[0], labels)
    early = any(issubclass(found.category, ConvergenceWarning) for found in caught)
    note = "stopped before it converged" if early else ""
    if not hasattr(estimator, "predict_proba"):
        return BaselineAnswer(np.asarray(estimator.predict(features[1]), dtype="float64"), note)
    found = np.asarray(estimator.predict_proba(features[1]), dtype="float64")
    if labels.ndim == 1:
        # A class may be missing from the training split.
        scores = np.zeros((len(found), classes))
        # Whoever has `predict_proba` has these.
        scores[:, estimator.classes_] = found  # type: ignore[attr-defined]
        found = scores
    return BaselineAnswer(found, note)
