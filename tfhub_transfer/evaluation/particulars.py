"""What a report says beside its numbers: of each example, of groups of them, of thresholds."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tfhub_transfer.data import Examples
from tfhub_transfer.reporting import groups, predictions
from tfhub_transfer.reporting.operating_points import Answers
from tfhub_transfer.reporting.reports import Report
from tfhub_transfer.tasks.layouts import places
from tfhub_transfer.tasks.questions import answers
from tfhub_transfer.tasks.questions import measures as answer_evaluation
from tfhub_transfer.tasks.similarity import measures as similarity_evaluation
from tfhub_transfer.tasks.summaries import measures as summary_evaluation
from tfhub_transfer.tasks.whole.measures import add_thresholds
from tfhub_transfer.texts.joining import spaced

# Scores of all classes are among the predictions up to so many, rows times classes.
_MOST_SCORES = 1_000_000


def add_rows(
    report: Report,
    examples: Examples,
    answered: tuple[Sequence[Any], Sequence[Any]],
    numbers: Mapping[str, Any],
) -> None:
    """Adds the answer to each example; see `predictions.rows`.

    Args:
        report: The report on these examples.
        examples: What was asked.
        answered: What is right, and what a model answered.
        numbers: What each example contributes to numbers of the report.
    """
    report.predictions = predictions.rows(examples.texts, *answered, numbers)


def add_whole(
    report: Report,
    examples: Examples,
    answered: tuple[Sequence[Any], Sequence[Any], np.ndarray],
    numbers: dict[str, np.ndarray],
    seed: int,
) -> None:
    """Adds the answer to each text, and the numbers by its length.

    Args:
        report: The report on these examples.
        examples: What was asked.
        answered: What is right, what a model answered, and its scores `[n]` or `[n, classes]`.
        numbers: What each example contributes `[n]`.
        seed: Seed of the bootstrap.
    """
    true, given, scores = answered
    if all(np.isfinite(column).all() for column in numbers.values()):
        keys = groups.lengths([" ".join(texts) for texts in zip(*examples.texts)])
        report.slices = groups.means("length of the text", keys, numbers, seed)
    more = {}
    if scores.ndim > 1 and scores.size <= _MOST_SCORES:
        more = {"scores": scores}
    elif scores.ndim > 1:
        more = {"score": scores.max(axis=1)}
        report.notes.append(
            "predictions.jsonl has the highest score of each text only: of "
            f"{scores.shape[1]:,} classes and {len(scores):,} texts there are too many"
        )
    add_rows(report, examples, (true, given), {**numbers, **more})


def add_answers(
    report: Report,
    examples: Examples,
    golds: Sequence[Sequence[answers.Span]],
    found: Sequence[dict[str, Any]],
    seed: int,
) -> None:
    """Adds the answer to each question, numbers by its kind, and what a threshold brings.

    Mistakes get their context with the answers marked in it.

    Args:
        report: The report on these examples; it has its mistakes.
        examples: Questions and contexts.
        golds: Texts and offsets of each question's right answers.
        found: What `predict_text` answered.
        seed: Seed of the bootstrap.
    """
    questions, contexts = examples.texts
    for mistake in report.mistakes:
        row = mistake["row"]
        mistake["question"], mistake["passage"] = questions[row], contexts[row]
        mistake["marks"] = answer_evaluation.highlights(golds[row], found[row])
    truths = [[text for text, _ in spans] for spans in golds]
    predicted = [row["answer"] for row in found]
    scores = np.array([row["score"] for row in found])
    gained = answers.scores(truths, predicted)
    numbers = {"exact_match": gained[:, 0], "f1": gained[:, 1], "score": scores}
    add_rows(report, examples, (truths, predicted), numbers)
    report.slices = answer_evaluation.slices(examples.texts, gained, seed)
    given = np.array(list(map(bool, predicted)))
    if given.any():
        right, wanted = gained[given, 0] == 1, sum(map(bool, truths))
        add_thresholds(report, Answers(right, scores[given], wanted, "answers that match exactly"))


def mark_sentences(
    report: Report,
    texts: Sequence[str],
    choices: Sequence[Sequence[int]],
    found: Sequence[dict[str, Any]],
) -> None:
    """Shows in the documents of mistakes what was chosen and what the best choice is.

    Args:
        report: The report; it has its mistakes.
        texts: All documents.
        choices: The best choice of each, as numbers of sentences.
        found: What `predict_text` answered.
    """
    rows = [mistake["row"] for mistake in report.mistakes]
    split = places([texts[row] for row in rows]) if rows else []
    for mistake, row, of_text in zip(report.mistakes, rows, split):
        chosen = [(one["start"], one["end"]) for one in found[row]["sentences"]]
        mistake["passage"] = spaced(texts[row])
        mistake["marks"] = summary_evaluation.highlights([of_text[i] for i in choices[row]], chosen)


def add_pairs(
    report: Report, examples: Examples, truth: Any, columns: Sequence[Any], scores: np.ndarray
) -> None:
    """Adds the score of each example, and what a threshold brings where labels are 0 and 1.

    Args:
        report: The report on these examples.
        examples: Texts to compare.
        truth: A `Truth` of similarity's measures.
        columns: Unit vectors of each column of texts.
        scores: Their scores `[n]`.
    """
    own: list[Any] = [None] * len(examples)
    numbers: dict[str, np.ndarray] = {}
    if truth.labels is None:
        numbers = similarity_evaluation.outcomes(truth, columns)
    else:
        own = truth.labels.tolist()
    add_rows(report, examples, (own, [float(score) for score in scores]), numbers)
    if truth.kind == "binary":
        right, of = truth.labels == 1, "pairs that count as 1"
        add_thresholds(report, Answers(right, scores, int(right.sum()), of, report.threshold))
