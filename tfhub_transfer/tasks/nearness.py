"""The nearest of many vectors, by cosine."""

import numpy as np

# Cosines that are in memory together: 64 MB.
_CELLS = 16_000_000


def nearest(known: np.ndarray, asked: np.ndarray, most: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """The texts whose vectors are most like those of others, a translation memory.

    Args:
        known: Vectors of texts whose answers are known `[m, d]`.
        asked: Vectors of others `[n, d]`.
        most: How many for each; fewer if there aren't as many.

    Returns:
        Rows of the known ones, the nearest first (of equally near ones the first), and their
        cosines, both `[n, most]`.

    Example:

    >>> rows, near = nearest(np.eye(3), np.array([[0.0, 2.0, 0.1]]))
    >>> rows.tolist(), near.round(3).tolist()
    ([[1]], [[0.999]])
    """
    most = min(most, len(known))
    columns, rows = unit(known).T, unit(asked)
    step = max(1, _CELLS // max(len(known), 1))
    places, cosines = [np.zeros((0, most), int)], [np.zeros((0, most))]
    for start in range(0, len(rows), step):
        near = rows[start : start + step] @ columns
        order = _highest(near, most)
        places.append(order)
        # Products of rounded numbers end a little above 1, where no angle has such a cosine.
        cosines.append(np.minimum(np.take_along_axis(near, order, axis=1), 1.0))
    return np.concatenate(places), np.concatenate(cosines)


def _highest(values: np.ndarray, most: int) -> np.ndarray:
    """Places of the highest values of each row, the highest first `[n, most]`."""
    if most == 1:
        return np.asarray(values.argmax(axis=1))[:, None]
    # To find the least of them takes an eighth of what it takes to put all in order.
    least = -np.partition(-values, most - 1, axis=1)[:, most - 1]
    found = np.empty((len(values), most), int)
    for row, own in enumerate(values):
        # So that what is no number has some place, too.
        (places,) = np.nonzero(~(own < least[row]))
        found[row] = places[np.argsort(-own[places], kind="stable")][:most]
    return found


def unit(vectors: np.ndarray) -> np.ndarray:
    """Vectors `[n, d]` of length 1, float32; those of nothing stay nothing.

    Args:
        vectors: Of any length.
    """
    vectors = np.asarray(vectors, "float32")
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.where(lengths > 0, lengths, 1.0)
