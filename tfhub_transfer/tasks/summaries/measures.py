"""Numbers of a report on summaries: ROUGE, beside the first sentences and the best ones."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from tfhub_transfer.data import Examples
from tfhub_transfer.reporting import groups, metrics
from tfhub_transfer.reporting.contents import Mark, Mistake, Slice
from tfhub_transfer.reporting.metrics import Numbers, Resampled
from tfhub_transfer.tasks import rouge
from tfhub_transfer.tasks.summaries.layout import documents, places
from tfhub_transfer.tasks.trial import MISTAKES, Laid, Trial, answers_of
from tfhub_transfer.texts.joining import spaced

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
    # The best choice is greedy and heeds ROUGE-2 too, so a model's ROUGE-1 can be higher.
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


def report_on(trial: Trial, written: Sequence[Texts], most: int) -> None:
    """Fills a report on summaries; see `Task.report_on`.

    Args:
        trial: The report, the model, and what is put to it.
        written: The summaries that people wrote, one or more for each document.
        most: The most sentences of a summary.
    """
    report, examples = trial.report, trial.examples
    split = documents(examples)
    found = trial.timed(lambda: trial.model.predict_text(examples))
    summaries = [answer["summary"] for answer in found]
    gained = scores(summaries, written)
    report.metrics = measure(gained)
    report.intervals = intervals(gained, trial.seed)
    choices = best_choices(split, written)
    best = oracle(split, choices)
    highest = scores(best, written)
    shown = [" ".join(document) for document in split], best, summaries
    report.mistakes = mistakes(shown, highest[:, 0] - gained[:, 0], MISTAKES)
    _mark_sentences(trial, choices, found)
    report.slices = slices(shown[0], gained, trial.seed)
    trial.note_answers(written, summaries, dict(zip(report.metrics, gained.T)))
    report.baselines["lead"] = measure(scores(lead(split, most), written))
    report.baselines["oracle"] = measure(highest)


def _mark_sentences(
    trial: Trial, choices: Sequence[Sequence[int]], found: Sequence[dict[str, Any]]
) -> None:
    """Shows in the documents of mistakes what was chosen and what the best choice is."""
    mistaken, texts = trial.report.mistakes, trial.examples.texts[0]
    rows = [mistake["row"] for mistake in mistaken]
    split = places([texts[row] for row in rows]) if rows else []
    for mistake, row, of_text in zip(mistaken, rows, split):
        chosen = [(one["start"], one["end"]) for one in found[row]["sentences"]]
        mistake["passage"] = spaced(texts[row])
        mistake["marks"] = highlights([of_text[i] for i in choices[row]], chosen)


def rouge1_of(
    layout: Laid, examples: Examples, written: Sequence[Texts]
) -> Callable[[Sequence[np.ndarray]], float]:
    """What makes ROUGE-1 of a model's scores of sentences; see `Task.whole_measure`.

    Args:
        layout: The model's.
        examples: Documents.
        written: The summaries that people wrote, one or more for each document.
    """
    state = layout.prepare(*(tf.constant(column, tf.string) for column in examples.texts))[1]
    # Most summaries are the same as an epoch ago.
    known: dict[tuple[int, str], float] = {}

    def rouge1(found: Sequence[np.ndarray]) -> float:
        # `prepare` ends with an empty row.
        answers = answers_of(layout, state, [*found, found[0][:0]])
        keys = [(row, answer["summary"]) for row, answer in enumerate(answers)]
        new = [key for key in keys if key not in known]
        if new:
            rated = scores([text for _, text in new], [written[row] for row, _ in new])
            known.update(zip(new, rated[:, 0].tolist()))
        return float(np.mean([known[key] for key in keys]))

    return rouge1
