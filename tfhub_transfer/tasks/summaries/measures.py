"""Numbers of a report on summaries: ROUGE, beside the first sentences and the best ones."""

from collections.abc import Sequence

import numpy as np

from tfhub_transfer.reporting import groups, metrics
from tfhub_transfer.reporting.contents import Mark, Mistake, Slice
from tfhub_transfer.reporting.metrics import Numbers, Resampled
from tfhub_transfer.tasks.summaries import rouge

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


def best_choices(documents: Sequence[Texts], references: Sequence[Texts]) -> list[list[int]]:
    """The sentences of each document that come nearest to its references.

    No choice of sentences can do much better; a document that shares no word has its first one.
    """
    return [rouge.oracle(*pair) or [0] for pair in zip(documents, references, strict=True)]


def oracle(documents: Sequence[Texts], choices: Sequence[Sequence[int]]) -> list[str]:
    """The `best_choices` of sentences, joined."""
    return [" ".join(texts[i] for i in best) for texts, best in zip(documents, choices)]


def slices(documents: Texts, found: np.ndarray, seed: int = 0) -> list[Slice]:
    """Numbers by the length of the document.

    Args:
        documents: The whole texts.
        found: From `scores`.
        seed: Seed of the bootstrap.
    """
    columns = dict(zip(rouge.NAMES, found.T))
    return groups.means("length of the document", groups.lengths(documents), columns, seed)


def highlights(best: Sequence[tuple[int, int]], chosen: Sequence[tuple[int, int]]) -> list[Mark]:
    """Sentences as places in their document (see `passages.marked`).

    Args:
        best: Start and end of those of the best choice.
        chosen: Start and end of those that a model chose.
    """
    both = set(best) & set(chosen)
    sides = [*((place, "true", "missed") for place in best)]
    sides += [(place, "predicted", "spurious") for place in chosen]
    return [
        {
            "start": place[0],
            "end": place[1],
            "side": side,
            "kind": "right" if place in both else kind,
            "label": "",
        }
        for place, side, kind in sorted(sides)
    ]


def mistakes(texts: tuple[Texts, Texts, Texts], gaps: np.ndarray, most: int) -> list[Mistake]:
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
