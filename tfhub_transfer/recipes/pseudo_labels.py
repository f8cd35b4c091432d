"""Unlabelled texts as more to learn from: labels spread to them, or a head gives them some."""

import dataclasses
import math
import warnings
from collections.abc import Callable, Mapping

import numpy as np
import scipy.sparse
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier, kneighbors_graph
from sklearn.semi_supervised import LabelSpreading

from tfhub_transfer.recipes import contrasts

# Neighbours of each text, and how much of its labels a text has from these instead of its own:
# of 0.2, 0.8 and 0.95 the last was best on Banking77 and AG News with 1 to 64 labels a class.
NEIGHBOURS, SHARE = 10, 0.95
# Steps from neighbour to neighbour; those that lie further off are given next to nothing.
_STEPS = 30
# Which share of the texts a head labels before it learns from them, round by round.
ROUNDS = (0.2, 0.4, 0.6, 0.8, 1.0)
FOLDS = 3
# Texts that a head learns from at most while ways are judged, and texts times classes that labels
# spread over, of which some four tables of eight bytes each are made.
MOST_TAUGHT, MOST_CELLS = 20_000, 25_000_000
# Which share of a head's right answers so many nearest labelled texts must give, by themselves, for
# labels to spread: on SST-2, where they give less, labels that spread were wrong twice in five.
NEARLY, NEAREST = 0.95, 5
SELF_TRAINING, SPREADING = "self-training", "spreading"
WAYS = {"": "without", SELF_TRAINING: "by self-training", SPREADING: "by spreading"}
_INVERSE_PENALTY, _MOST_STEPS = 10.0, 200


@dataclasses.dataclass(frozen=True, eq=False)
class Labels:
    """Labels that nobody gave.

    Attributes:
        rows: Which of the unlabelled texts have one, int `[m]`.
        classes: Their classes, int `[m]`.
        confidences: How sure each is, of 0 to 1, float `[m]`.
    """

    rows: np.ndarray
    classes: np.ndarray
    confidences: np.ndarray

    def some(self, most: int, seed: int) -> "Labels":
        """These, or a sample of them where there are more.

        Args:
            most: How many at most.
            seed: Of the drawing.
        """
        if len(self.rows) <= most:
            return self
        kept = np.sort(np.random.default_rng(seed).permutation(len(self.rows))[:most])
        return Labels(self.rows[kept], self.classes[kept], self.confidences[kept])


def graph(vectors: np.ndarray) -> scipy.sparse.csr_array:
    """Which texts are among the nearest of which, either way: sparse 0 and 1 `[n, n]`.

    Args:
        vectors: Unit vectors of texts `[n, d]`.
    """
    count = min(NEIGHBOURS, len(vectors) - 1)
    found = kneighbors_graph(vectors, count, mode="connectivity", include_self=False)
    return scipy.sparse.csr_matrix(found.maximum(found.T))


def spread(near: scipy.sparse.csr_array, classes: np.ndarray) -> Labels:
    """Labels go from text to text along neighbours (Zhou et al. 2003, label spreading).

    Args:
        near: As `graph` gives it.
        classes: Of each text its class, or -1, int `[n]`.

    Returns:
        Labels of the texts that had none; of those only that something reached.
    """
    made = LabelSpreading(kernel=lambda *_: near, alpha=SHARE, max_iter=_STEPS)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        # Of the vectors it needs no more than how many there are.
        made.fit(np.zeros((len(classes), 1)), classes)
    shares = made.label_distributions_
    rows = np.flatnonzero((classes < 0) & (shares.max(axis=1) > 0))
    best = shares[rows].argmax(axis=1)
    return Labels(rows, made.classes_[best], shares[rows, best])


def self_train(
    known: np.ndarray, classes: np.ndarray, vectors: np.ndarray, seed: int = 0
) -> Labels:
    """A head labels texts, learns from those it is surest of, and labels more.

    Round by round it takes more of them, of each class as large a share as it has of the labels
    that are known: else the class that is easiest to be sure of would take all.

    Args:
        known: Unit vectors of the labelled texts `[m, d]`.
        classes: Their classes, int `[m]`.
        vectors: Unit vectors of the others `[n, d]`.
        seed: Of what is drawn of more texts than a head learns from at once, `MOST_TAUGHT`.
    """
    names, counts = np.unique(classes, return_counts=True)
    shares, found = counts / counts.sum(), None
    for part in ROUNDS:
        some = found if found is None else found.some(MOST_TAUGHT, seed)
        head = learned(known, classes, vectors, some)
        found = _surest(head.predict_proba(vectors), names, part * len(vectors) * shares)
    assert found is not None
    return found


def _surest(scores: np.ndarray, names: np.ndarray, most: np.ndarray) -> Labels:
    """Of the texts that each class is said of so many that are said so most surely."""
    said, sure = scores.argmax(axis=1), scores.max(axis=1)
    order = np.argsort(-sure, kind="stable")
    own = [order[said[order] == at][: math.ceil(count)] for at, count in enumerate(most)]
    rows = np.sort(np.concatenate(own))
    return Labels(rows, names[said[rows]], sure[rows])


def learned(
    known: np.ndarray, classes: np.ndarray, vectors: np.ndarray, more: Labels | None
) -> LogisticRegression:
    """A linear head, from labels that are known and perhaps from such that nobody gave.

    Args:
        known: Unit vectors of the labelled texts `[m, d]`.
        classes: Their classes, int `[m]`.
        vectors: Unit vectors of the others `[n, d]`.
        more: Labels of some of them, each counting as much as it is sure.
    """
    x, y, weights = known, classes, np.ones(len(classes))
    if more is not None:
        x = np.concatenate([x, vectors[more.rows]])
        y = np.concatenate([y, more.classes])
        weights = np.concatenate([weights, more.confidences])
    head = LogisticRegression(C=_INVERSE_PENALTY, max_iter=_MOST_STEPS)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return head.fit(x, y, sample_weight=weights)


@dataclasses.dataclass(frozen=True, eq=False)
class Judged:
    """What labels that nobody gave are worth.

    Attributes:
        way: What is best: `"spreading"`, `"self-training"`, or `None` for leaving them out.
        labels: The labels that it gives; `None` for none.
        right: How many texts a head answers rightly that learns from them too, by each way; as
            `""` without.
        nearest: How many the nearest labelled texts answer rightly by themselves.
        asked: How many texts were asked.
        apart: How many of them are of a validation split; the others were left out in turn.
    """

    way: str | None
    labels: Labels | None
    right: Mapping[str, int]
    nearest: int
    asked: int
    apart: int

    def __str__(self) -> str:
        ways = ", ".join(f"{self._share(self.right[way])} {told}" for way, told in WAYS.items())
        near = f"{self._share(self.nearest)} by the nearest labelled texts alone"
        judges = f"{self.asked - self.apart:,} training labels left out in turn"
        judges += f" and {self.apart:,} of validation" if self.apart else ""
        kept = "none kept" if self.way is None else f"kept those of {self.way}"
        return f"labels for unlabelled texts: accuracy {ways}; {near}; on {judges}; {kept}"

    def _share(self, right: int) -> str:
        return f"{right / max(self.asked, 1):.4f}"


def judge(
    known: np.ndarray,
    classes: np.ndarray,
    vectors: np.ndarray,
    validation: tuple[np.ndarray, np.ndarray] | None = None,
    seed: int = 0,
    told: Callable[[], object] = lambda: None,
) -> Judged:
    """Tries which labels of unlabelled texts help a linear head, if any do.

    Three parts of the labelled texts are left out in turn: for labels to come by, and for heads to
    learn. A validation split is asked besides, of what all labelled texts bring. The labels are
    taken with which most answers are right, where more are than without any. Those that spread can
    be far off: only where it is more by over one standard error, the root of how many answers
    became right or wrong, and where the nearest labelled texts answer nearly as well as a head.

    Args:
        known: Unit vectors of the labelled texts `[m, d]`, of two classes or more.
        classes: Their classes, int `[m]`.
        vectors: Unit vectors of the unlabelled ones `[n, d]`.
        validation: Unit vectors of texts that nothing learns from `[v, d]`, and their classes.
        seed: Of all that is drawn.
        told: Called once each of the `FOLDS + 1` rounds is over.
    """
    trial = _Trial(known, classes, vectors, seed)
    fold = contrasts.folds(classes, FOLDS, seed)
    for each in range(FOLDS):
        given, left = fold != each, fold == each
        if left.any() and len(np.unique(classes[given])) > 1:
            trial.ask(trial.ways(given), given, (known[left], classes[left]))
        told()
    whole = np.ones(len(classes), bool)
    ways = trial.ways(whole)
    apart = 0 if validation is None else len(validation[1])
    if validation is not None and apart:
        trial.ask(ways, whole, validation)
    told()
    right = trial.right
    gained = right[SPREADING] - right[""]
    spreads = trial.nearest >= NEARLY * right[""] and gained > math.sqrt(trial.changed[SPREADING])
    better = [w for w in WAYS if right[w] > right[""] and (spreads or w != SPREADING)]
    best = max(better, key=lambda way: right[way], default=None)
    return Judged(best, ways.get(best or ""), right, trial.nearest, trial.asked, apart)


class _Trial:
    """Labelled and unlabelled texts, of which heads learn, and what these answered.

    Attributes:
        right: How many texts heads answered rightly, by each way.
        changed: Of how many texts each way changed whether the answer is right.
        nearest: How many the nearest labelled texts did.
        asked: How many there were.
    """

    def __init__(
        self, known: np.ndarray, classes: np.ndarray, vectors: np.ndarray, seed: int
    ) -> None:
        self._known, self._classes, self._vectors, self._seed = known, classes, vectors, seed
        self._near = graph(np.concatenate([known, vectors]))
        self.right, self.changed = dict.fromkeys(WAYS, 0), dict.fromkeys(WAYS, 0)
        self.nearest, self.asked = 0, 0

    def ways(self, given: np.ndarray) -> dict[str, Labels | None]:
        """Labels by each way, from those of some of the labelled texts, bool `[m]`."""
        own = np.where(given, self._classes, -1)
        unknown = np.full(len(self._vectors), -1)
        # Labelled texts that are left out are places to pass, and nothing more.
        reached = spread(self._near, np.concatenate([own, unknown]))
        theirs = reached.rows >= len(own)
        fields = (reached.classes[theirs], reached.confidences[theirs])
        by_head = self_train(self._known[given], own[given], self._vectors, self._seed)
        spread_ones = Labels(reached.rows[theirs] - len(own), *fields)
        return {"": None, SELF_TRAINING: by_head, SPREADING: spread_ones}

    def ask(
        self,
        ways: Mapping[str, Labels | None],
        given: np.ndarray,
        asked: tuple[np.ndarray, np.ndarray],
    ) -> None:
        """Lets heads answer that learned from each way's labels too.

        Args:
            ways: As `ways` gives them.
            given: The labelled texts that they are of, bool `[m]`.
            asked: Unit vectors of texts, and their classes.
        """
        known, classes = self._known[given], self._classes[given]
        found = {}
        for way, labels in ways.items():
            some = labels if labels is None else labels.some(MOST_TAUGHT, self._seed)
            head = learned(known, classes, self._vectors, some)
            found[way] = head.predict(asked[0]) == asked[1]
            self.right[way] += int(found[way].sum())
            self.changed[way] += int((found[way] != found[""]).sum())
        # Of few labels a class, more neighbours would be of others.
        count = min(NEAREST, max(1, len(known) // len(np.unique(classes))))
        nearest = KNeighborsClassifier(count).fit(known, classes)
        self.nearest += int((nearest.predict(asked[0]) == asked[1]).sum())
        self.asked += len(asked[1])
