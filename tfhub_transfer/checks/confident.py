"""Labels in doubt, by probabilities of models that haven't seen them (confident learning).

Northcutt et al. 2021, "Confident Learning: Estimating Uncertainty in Dataset Labels". All functions
take out-of-sample probabilities float `[n, classes]` and places of the given labels int `[n]`.
"""

import numpy as np

# Beyond so many robust spreads a number is said to be in doubt.
FAR = 3.0
# A standard deviation in medians of distances from the median, of normally distributed numbers.
_OF_MEDIAN = 1.4826


def thresholds(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """How sure the model is of each class where it is given, in the mean `[classes]`.

    Args:
        probabilities: As for all.
        labels: As for all.

    Returns:
        Of a class that isn't given infinity: nothing can be sure enough.
    """
    count = np.bincount(labels, minlength=probabilities.shape[1])
    own = probabilities[np.arange(len(labels)), labels]
    total = np.bincount(labels, own, minlength=probabilities.shape[1])
    return np.where(count > 0, total / np.maximum(count, 1), np.inf)


def counted(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The class that each row is counted for, int `[n]`; -1 of rows that are sure of none.

    The likeliest among those of which the model is at least as sure as where they are given.

    Args:
        probabilities: As for all.
        labels: As for all.
    """
    sure = probabilities >= thresholds(probabilities, labels) - 1e-12
    best = np.where(sure, probabilities, -1.0).argmax(axis=1)
    return np.where(sure.any(axis=1), best, -1)


def joint_shares(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The estimated share of rows of each given label and each true one `[given, true]`.

    Counts of confident rows, scaled so that given labels have the shares that they have.

    Args:
        probabilities: As for all.
        labels: As for all.
    """
    classes = probabilities.shape[1]
    told = counted(probabilities, labels)
    sure = told >= 0
    found = np.zeros((classes, classes))
    np.add.at(found, (labels[sure], told[sure]), 1.0)
    given = np.bincount(labels, minlength=classes)
    # Of a class of which nothing is sure, all are taken for right.
    empty = found.sum(axis=1) == 0
    found[empty, empty] = 1.0
    return np.asarray(found / found.sum(axis=1, keepdims=True) * (given / len(labels))[:, None])


def wrong(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """The estimated share of labels that are wrong.

    Args:
        probabilities: As for all.
        labels: As for all.
    """
    return float(1 - np.trace(joint_shares(probabilities, labels)))


def suspicion(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """How suspicious each label is, from 0 to 1 `[n]`: one less what the model gives it.

    Args:
        probabilities: As for all.
        labels: As for all.
    """
    return np.asarray(1 - probabilities[np.arange(len(labels)), labels])


def in_doubt(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Whether a row is sure enough of another class, which is its likeliest, too, bool `[n]`.

    Args:
        probabilities: As for all.
        labels: As for all.
    """
    told = counted(probabilities, labels)
    return (told >= 0) & (told != labels) & (probabilities.argmax(axis=1) != labels)


def alike(given: np.ndarray, answered: np.ndarray, classes: int) -> np.ndarray:
    """How often two classes are taken for each other, of all rows of both `[classes, classes]`.

    Args:
        given: Places of the given labels `[n]`.
        answered: Places of those that a model gives that hasn't seen them `[n]`.
        classes: How many there are.

    Returns:
        Above the diagonal the shares, elsewhere 0.
    """
    counts = np.zeros((classes, classes))
    np.add.at(counts, (given, answered), 1.0)
    rows = counts.sum(axis=1)
    of_both = np.maximum(rows[:, None] + rows, 1.0)
    return np.asarray(np.triu((counts + counts.T) / of_both, k=1))


def spreads(residuals: np.ndarray) -> np.ndarray:
    """How many robust standard deviations each number is from the median `[n]`.

    Args:
        residuals: What is left of numbers where a model that hasn't seen them is subtracted.
    """
    apart = np.abs(residuals - np.median(residuals))
    spread = _OF_MEDIAN * float(np.median(apart))
    return np.asarray(apart / spread if spread > 0 else np.zeros(len(apart)))
