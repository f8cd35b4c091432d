"""Whether confidence means what it says, with bins too small to tell put together."""

import numpy as np

from tfhub_transfer.reporting.contents import Bins
from tfhub_transfer.reporting.metrics import BINS, NORMAL

# Of a bin; the share of right ones among fewer says next to nothing.
LEAST = 20


def pooled(right: np.ndarray, confidence: np.ndarray, least: int = LEAST) -> Bins:
    """Accuracy against confidence in bins of at least so many answers, with intervals.

    Neighbours among the 15 equal bins are put together until they hold enough; what is left at the
    top goes to the bin below it.

    Args:
        right: Whether each prediction is right `[n]`.
        confidence: Its score `[n]`, from 0 to 1.
        least: Answers that a bin must hold; a smaller set is one bin.

    Returns:
        For each bin its mean `confidence`, the `accuracy`, its 95 % interval `low` to `high`
        (Wilson 1927) and the `count`.
    """
    places = np.clip((confidence * BINS).astype(int), 0, BINS - 1)
    groups: list[list[int]] = [[]]
    counts = np.bincount(places, minlength=BINS)
    for place in range(BINS):
        if counts[groups[-1]].sum() >= least:
            groups.append([])
        groups[-1].append(place)
    if len(groups) > 1 and counts[groups[-1]].sum() < least:
        rest = groups.pop()
        groups[-1] += rest
    members = [np.isin(places, group) for group in groups]
    hits = np.array([right[rows].sum() for rows in members], "float64")
    total = np.array([rows.sum() for rows in members], "float64")
    low, high = share_interval(hits, total)
    return {
        "confidence": [float(confidence[rows].mean()) for rows in members],
        "accuracy": (hits / total).tolist(),
        "low": low.tolist(),
        "high": high.tolist(),
        "count": total.astype(int).tolist(),
    }


def share_interval(hits: np.ndarray, total: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The 95 % score interval of shares (Wilson 1927).

    Args:
        hits: How often each happened `[n]`.
        total: Out of how many `[n]`, none of them 0.
    """
    square = NORMAL**2
    middle = (hits + square / 2) / (total + square)
    wide = NORMAL * np.sqrt(hits * (total - hits) / total + square / 4) / (total + square)
    return np.clip(middle - wide, 0, 1), np.clip(middle + wide, 0, 1)
