"""Whether confidence means what it says, with bins too small to tell put together."""

import numpy as np

from tfhub_transfer.reporting import metrics
from tfhub_transfer.reporting.contents import Bins
from tfhub_transfer.reporting.metrics import BINS

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
    shares = [float(right[rows].mean()) for rows in members]
    total = [int(rows.sum()) for rows in members]
    ends = [metrics.wilson(share, count) for share, count in zip(shares, total)]
    return {
        "confidence": [float(confidence[rows].mean()) for rows in members],
        "accuracy": shares,
        "low": [low for low, _ in ends],
        "high": [high for _, high in ends],
        "count": total,
    }
