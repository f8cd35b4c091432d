"""Which of many texts to label next, as functions of their vectors and of a model's scores."""

import dataclasses
import warnings
from collections.abc import Callable, Iterator
from typing import TypeAlias

import numpy as np
from sklearn.cluster import KMeans, MiniBatchKMeans
from sklearn.exceptions import ConvergenceWarning

# Of Hacohen et al. 2022: of how many nearest neighbours the mean distance counts; how many texts
# the smallest cluster has that is asked about before the others are; the most clusters.
NEIGHBOURS, LEAST_OF_A_CLUSTER, MOST_CLUSTERS = 20, 5, 500
# Texts between whose groups a batch of close calls is dealt out, for each that is wanted.
CANDIDATES = 10
# Above so many clusters, as in the paper, k-means goes by parts of the texts.
_WHOLE_CLUSTERS = 50
_ROWS_AT_ONCE = 1024
# More texts than these are clustered by a sample of them.
MOST_TEXTS = 50_000
# Distances that are in memory together: 64 MB.
_CELLS = 16_000_000


@dataclasses.dataclass(frozen=True)
class Candidates:
    """What a strategy chooses from.

    Attributes:
        vectors: Of all texts, float32 `[n, d]`, of length 1.
        labelled: Rows that have a label.
        free: Rows that may be asked for; none of them has a label.
        count: How many are wanted, no more than are free.
        closeness: How close the answer to each text was, `[n]`: the least first is the nearest to
            another answer. `None` where no model could learn yet.
        classes: How many classes the labels have.
        seed: Of all that is drawn.
    """

    vectors: np.ndarray
    labelled: np.ndarray
    free: np.ndarray
    count: int
    closeness: np.ndarray | None = None
    classes: int = 0
    seed: int = 0


# Rows to ask for, the most wanted first `[count]`.
Strategy: TypeAlias = Callable[[Candidates], np.ndarray]


def drawn(given: Candidates) -> np.ndarray:
    """Any texts, each as likely as the others.

    Args:
        given: What is chosen from.

    Returns:
        Rows `[count]`.
    """
    generator = np.random.default_rng((given.seed, len(given.labelled)))
    return np.asarray(generator.permutation(given.free)[: given.count])


def typical(given: Candidates) -> np.ndarray:
    """The most typical texts of the largest clusters in which nothing is labelled (TypiClust).

    Hacohen et al. 2022, "Active Learning on a Budget: Opposite Strategies Suit High and Low
    Budgets": there are as many clusters as labels when the batch has them; a text is as typical as
    its mean distance to its nearest neighbours in its cluster is small. It needs no label.

    Args:
        given: What is chosen from.

    Returns:
        Rows `[count]`, those of the largest clusters first.
    """
    rows = _sample(given)
    wanted = min(len(given.labelled) + given.count, MOST_CLUSTERS, len(rows))
    own = clusters(given.vectors[rows], wanted, given.seed)
    free, labelled = np.isin(rows, given.free), np.isin(rows, given.labelled)
    known = np.bincount(own[labelled], minlength=wanted)
    left = np.bincount(own[free], minlength=wanted)

    def order(cluster: int) -> Iterator[int]:
        """Its free rows, the most typical first."""
        inside = np.flatnonzero(own == cluster)
        found = inside[np.argsort(-typicality(given.vectors[rows[inside]]), kind="stable")]
        return iter(rows[found[free[found]]].tolist())

    turns = _turns(known, np.bincount(own, minlength=wanted), left, given.count)
    # Only of those whose turn comes, since large ones take long.
    orders = {cluster: order(cluster) for cluster in set(turns)}
    return np.array([next(orders[cluster]) for cluster in turns], int)


def _turns(known: np.ndarray, sizes: np.ndarray, left: np.ndarray, count: int) -> list[int]:
    """Clusters, one after the other: the largest among those with the fewest labels."""
    known, left, turns = known.copy(), left.copy(), list[int]()
    while len(turns) < count and left.any():
        waiting = np.flatnonzero(left).tolist()
        best = min(waiting, key=lambda c: (sizes[c] < LEAST_OF_A_CLUSTER, known[c], -sizes[c]))
        turns.append(best)
        known[best] += 1
        left[best] -= 1
    return turns


def typicality(vectors: np.ndarray) -> np.ndarray:
    """How typical each vector of a cluster is: one by its mean distance to its nearest neighbours.

    Args:
        vectors: Of the cluster `[n, d]`.

    Returns:
        Numbers `[n]`; of one that is alone 1.

    Example:

    >>> typicality(np.array([[0.0], [1.0], [3.0]])).round(3).tolist()
    [0.5, 0.667, 0.4]
    """
    count = len(vectors)
    nearest = min(NEIGHBOURS, count - 1)
    if nearest < 1:
        return np.ones(count)
    vectors = np.asarray(vectors, "float64")
    squares = (vectors**2).sum(axis=1)
    found = np.empty(count)
    step = max(1, _CELLS // count)
    for start in range(0, count, step):
        part = slice(start, start + step)
        far = squares[part, None] + squares - 2 * vectors[part] @ vectors.T
        own = np.arange(len(far))
        far[own, start + own] = np.inf
        far = np.partition(far, nearest - 1, axis=1)[:, :nearest]
        found[part] = np.sqrt(np.maximum(far, 0)).mean(axis=1)
    # Of texts that are all equal the first is as good as any.
    return 1 / np.maximum(found, 1e-9)


def margin(given: Candidates) -> np.ndarray:
    """The texts whose two likeliest answers are nearest to each other.

    Args:
        given: What is chosen from, with a closeness.

    Returns:
        Rows `[count]`, the closest call first.
    """
    assert given.closeness is not None
    order = np.argsort(given.closeness[given.free], kind="stable")
    return np.asarray(given.free[order[: given.count]])


def clustered_margin(given: Candidates) -> np.ndarray:
    """Of the closest calls one from each group of texts that are alike.

    After Citovsky et al. 2021, "Batch Active Learning at Scale", with k-means: without groups a
    batch may be twenty times the same.

    Args:
        given: What is chosen from, with a closeness.

    Returns:
        Rows `[count]`, the closest call first.
    """
    close = margin(dataclasses.replace(given, count=CANDIDATES * given.count))
    if len(close) <= given.count:
        return close
    own = clusters(given.vectors[close], given.count, given.seed)
    # They stand in order, so the first of each group is its closest call.
    _, first = np.unique(own, return_index=True)
    others = np.setdiff1d(np.arange(len(close)), first)
    order = np.concatenate([np.sort(first), others])
    return np.asarray(close[order[: given.count]])


def margins(probabilities: np.ndarray) -> np.ndarray:
    """How much likelier the likeliest class is than the next.

    Args:
        probabilities: Of each class `[n, classes]`.

    Returns:
        Numbers `[n]`.

    Example:

    >>> margins(np.array([[0.5, 0.3, 0.2], [0.1, 0.8, 0.1]])).round(3).tolist()
    [0.2, 0.7]
    """
    highest = -np.partition(-probabilities, 1, axis=1)[:, :2]
    return np.asarray(highest[:, 0] - highest[:, 1])


def margins_of_sets(probabilities: np.ndarray) -> np.ndarray:
    """How far the class that is most in doubt is from one half, where each is there or not.

    Args:
        probabilities: Of each class `[n, classes]`.

    Returns:
        Numbers `[n]`.

    Example:

    >>> margins_of_sets(np.array([[0.9, 0.4], [0.1, 0.95]])).round(3).tolist()
    [0.1, 0.4]
    """
    return np.asarray(np.abs(probabilities - 0.5).min(axis=1))


def clusters(vectors: np.ndarray, count: int, seed: int) -> np.ndarray:
    """To which of so many clusters each vector belongs, by k-means.

    Args:
        vectors: The vectors `[n, d]`.
        count: How many clusters; no more than vectors.
        seed: Of where they begin.

    Returns:
        Numbers of clusters `[n]`.
    """
    if count >= len(vectors):
        return np.arange(len(vectors))
    settings = {"n_init": 1, "random_state": seed}
    if count <= _WHOLE_CLUSTERS:
        made = KMeans(count, **settings)
    else:
        made = MiniBatchKMeans(count, batch_size=_ROWS_AT_ONCE, **settings)
    with warnings.catch_warnings():
        # Of vectors that are equal there are fewer clusters, which is no news here.
        warnings.simplefilter("ignore", ConvergenceWarning)
        return np.asarray(made.fit_predict(vectors))


def _sample(given: Candidates) -> np.ndarray:
    """The rows that are clustered: all, or what is labelled with as many others as there may be."""
    others = np.setdiff1d(np.arange(len(given.vectors)), given.labelled)
    room = MOST_TEXTS - len(given.labelled)
    if len(others) > room:
        others = np.random.default_rng(given.seed).permutation(given.free)[: max(room, given.count)]
    return np.sort(np.concatenate([given.labelled, others]).astype(int))
