"""A linear head on vectors, which learns in a moment from what is labelled."""

import warnings
from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.multiclass import OneVsRestClassifier
from sklearn.preprocessing import MultiLabelBinarizer

# Of vectors of length 1; chosen on SST-2 and Banking77 with 16 to 462 labels.
STRENGTH = 10.0
_MOST_STEPS = 300
# A class, or of texts with any number of them all of a text.
Label: TypeAlias = str | tuple[str, ...]


def learns(labels: Sequence[Label]) -> bool:
    """Whether there is something to tell apart.

    Args:
        labels: Of all texts that are labelled.
    """
    return len(set(labels)) > 1


class LinearHead:
    """Logistic regression on vectors: of one class a text, or of each class on its own.

    Args:
        vectors: Of the labelled texts `[n, d]`.
        labels: Their labels: names, or of texts with any number of classes tuples of names.
        strength: How far the weights may go, as scikit-learn's `C`.

    Attributes:
        several: Whether a text may have any number of classes.
        classes: The names of all that occur, in the order of the scores.
    """

    def __init__(
        self, vectors: np.ndarray, labels: Sequence[Label], strength: float = STRENGTH
    ) -> None:
        self.several = not isinstance(labels[0], str)
        one = LogisticRegression(C=strength, max_iter=_MOST_STEPS)
        if self.several:
            sets = MultiLabelBinarizer()
            truth = sets.fit_transform(labels)
            self.classes = list(map(str, sets.classes_))
            self._made = OneVsRestClassifier(one)
        else:
            truth, self._made = np.array(labels, object), one
            self.classes = sorted(set(map(str, labels)))
        with warnings.catch_warnings():
            # Of a class that all have, or one that stopped early: what it answers is good enough
            # to choose by, and is measured.
            warnings.simplefilter("ignore", ConvergenceWarning)
            warnings.simplefilter("ignore", UserWarning)
            self._made.fit(vectors, truth)

    def scores(self, vectors: np.ndarray) -> np.ndarray:
        """Probabilities of classes `[n, classes]`.

        Args:
            vectors: Of any texts `[n, d]`.
        """
        # Of sets of a single class scikit-learn gives that it isn't there, too, in front.
        return np.asarray(self._made.predict_proba(vectors))[:, -len(self.classes) :]

    def answers(self, scores: np.ndarray) -> list[Label]:
        """What scores say, as labels.

        Args:
            scores: As `scores` gives them.
        """
        if not self.several:
            return [self.classes[best] for best in scores.argmax(axis=1)]
        names = np.array(self.classes, object)
        return [tuple(names[row >= 0.5]) for row in scores]
