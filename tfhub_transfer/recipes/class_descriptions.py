"""Texts that describe classes as more to learn from, beside few labelled ones."""

import dataclasses
from collections.abc import Callable

import numpy as np

from tfhub_transfer.recipes import contrasts, pseudo_labels
from tfhub_transfer.recipes.pseudo_labels import Labels

# What the descriptions of a class count for together, in labelled texts: of 1/2 to 8 the best or
# near it on SST-2 and Banking77 with 1 to 8 labels a class, see `benchmarks/README.md`.
WEIGHT = 4.0
FOLDS = 3


@dataclasses.dataclass(frozen=True)
class Judged:
    """What descriptions are worth.

    Attributes:
        without: How many texts a head answers rightly that learned from labelled texts alone.
        right: How many one does that learned from the descriptions, too.
        asked: How many texts were asked.
        apart: How many of them are of a validation split; the others were left out in turn.
    """

    without: int
    right: int
    asked: int
    apart: int

    @property
    def kept(self) -> bool:
        """Whether more answers are right with them."""
        return self.right > self.without

    def __str__(self) -> str:
        without, right = (f"{n / max(self.asked, 1):.4f}" for n in (self.without, self.right))
        judges = f"{self.asked - self.apart:,} training labels left out in turn"
        judges += f" and {self.apart:,} of validation" if self.apart else ""
        ways = f"accuracy {without} without, {right} with them"
        return f"descriptions of classes: {ways}; on {judges}; {'' if self.kept else 'not '}kept"


def as_labels(classes: np.ndarray) -> Labels:
    """The label of each description, which counts so that those of a class count `WEIGHT`.

    Args:
        classes: The class of each, int `[m]`.

    Example:

    >>> as_labels(np.array([0, 1, 1])).confidences.tolist()
    [4.0, 2.0, 2.0]
    """
    counts = np.bincount(classes)
    return Labels(np.arange(len(classes)), classes, WEIGHT / counts[classes])


def judge(
    known: tuple[np.ndarray, np.ndarray],
    described: tuple[np.ndarray, np.ndarray],
    validation: tuple[np.ndarray, np.ndarray],
    seed: int = 0,
    told: Callable[[], object] = lambda: None,
) -> Judged:
    """Tries whether descriptions of classes help a linear head that learns from few labels.

    Three parts of the labelled texts are left out in turn, of which those are asked whose class
    another one has; and a validation split is asked. Descriptions are worth learning from where
    more answers are right with them.

    Args:
        known: Unit vectors of the labelled texts `[n, d]`, and their classes, int `[n]`.
        described: Unit vectors of the descriptions `[m, d]`, and their classes, int `[m]`.
        validation: Of texts that nothing learns from, likewise.
        seed: Of what is drawn.
        told: Called once each of the `FOLDS + 1` rounds is over.
    """
    vectors, classes = known
    fold = contrasts.folds(classes, FOLDS, seed)
    right = np.zeros(2, int)
    asked = 0
    for each in range(FOLDS):
        given = fold != each
        left = (fold == each) & np.isin(classes, classes[given])
        if left.any() and len(np.unique(classes[given])) > 1:
            own = vectors[given], classes[given]
            right += _right(own, described, (vectors[left], classes[left]))
            asked += int(left.sum())
        told()
    apart = len(validation[1])
    if apart:
        right += _right(known, described, validation)
    told()
    return Judged(int(right[0]), int(right[1]), asked + apart, apart)


def _right(
    known: tuple[np.ndarray, np.ndarray],
    described: tuple[np.ndarray, np.ndarray],
    asked: tuple[np.ndarray, np.ndarray],
) -> np.ndarray:
    """How many answers are right without the descriptions and with them, int `[2]`."""
    ways = (None, as_labels(described[1]))
    heads = [pseudo_labels.learned(*known, described[0], way) for way in ways]
    return np.array([(head.predict(asked[0]) == asked[1]).sum() for head in heads])
