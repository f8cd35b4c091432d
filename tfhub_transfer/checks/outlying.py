"""Texts that are like no others: far from their nearest neighbours."""

import numpy as np

from tfhub_transfer.tasks import nearness

NEIGHBOURS = 10
# So many times the middle half's width above it: what Tukey (1977) calls outside. His "far out", 3,
# is beyond what one less a cosine can be.
_FAR = 1.5


def distances(vectors: np.ndarray, count: int = NEIGHBOURS) -> np.ndarray:
    """How far each vector is from its nearest others, in the mean: one less the cosine, `[n]`.

    Args:
        vectors: Of all texts `[n, d]`.
        count: How many of the nearest count; fewer if there aren't as many.
    """
    if len(vectors) < 2:
        return np.zeros(len(vectors))
    places, cosines = nearness.nearest(vectors, vectors, count + 1)
    itself = places == np.arange(len(vectors))[:, None]
    # One that is equal to many may not be among its own nearest: then the last goes.
    itself[~itself.any(axis=1), -1] = True
    others = cosines[~itself].reshape(len(vectors), -1)
    return np.asarray(1 - others.mean(axis=1), "float64")


def far(distances: np.ndarray) -> np.ndarray:
    """Places of those that are far out, the farthest first.

    Args:
        distances: As `distances` gives them.
    """
    if not len(distances):
        return np.zeros(0, int)
    low, high = np.percentile(distances, [25, 75])
    order = np.argsort(-distances, kind="stable")
    return np.asarray(order[distances[order] > high + _FAR * max(high - low, 1e-6)])
