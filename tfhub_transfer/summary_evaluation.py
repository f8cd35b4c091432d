"""Numbers of a report on summaries: ROUGE, beside the first sentences and the best ones."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from tfhub_transfer import metrics, rouge
from tfhub_transfer.metrics import Numbers, Resampled

Texts = Sequence[str]


def scores(summaries: Texts, references: Sequence[Texts]) -> np.ndarray:
    """`rouge.score` of each document, float64 `[n, rouge.NAMES]`.

    Args:
        summaries: What a model chose.
        references: The summaries that people wrote, one or more for each document.
    """
    pairs = zip(summaries, references, strict=True)
    return np.array([rouge.score(summary, written) for summary, written in pairs])


def measure(found: np.ndarray) -> Numbers:
    """Means over the documents of what `scores` gave."""
    return dict(zip(rouge.NAMES, map(float, found.mean(axis=0))))


def intervals(found: np.ndarray, seed: int) -> dict[str, tuple[float, float]]:
    """95 % bootstrap intervals; what is drawn are documents."""

    def resampled(weights: np.ndarray) -> Resampled:
        means = weights @ found / weights.sum(axis=1, keepdims=True)
        return dict(zip(rouge.NAMES, means.T))

    return metrics.intervals(resampled, len(found), seed)


def lead(documents: Sequence[Texts], most: int) -> list[str]:
    """The baseline: the first sentences of each document, joined."""
    return [" ".join(sentences[:most]) for sentences in documents]


def oracle(documents: Sequence[Texts], references: Sequence[Texts]) -> list[str]:
    """The sentences of each document that come nearest to its references, joined.

    No choice of sentences can do much better; a document that shares no word has its first one.
    """
    found = (rouge.oracle(*pair) or [0] for pair in zip(documents, references, strict=True))
    return [" ".join(texts[i] for i in best) for texts, best in zip(documents, found)]


def mistakes(
    texts: tuple[Texts, Texts, Texts], gaps: np.ndarray, most: int
) -> list[dict[str, Any]]:
    """The documents whose summary is farthest from the best that could be chosen.

    Args:
        texts: Documents, their best summaries, and those that a model gave.
        gaps: By how much the best is better `[n]`.
        most: How many to show.
    """
    worst = [int(row) for row in np.argsort(-gaps, kind="stable")[:most] if gaps[row] > 0]
    return [
        {
            "row": row,
            "text": texts[0][row],
            "true": texts[1][row],
            "predicted": texts[2][row],
            "badness": float(gaps[row]),
        }
        for row in worst
    ]
