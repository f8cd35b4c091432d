"""Numbers of a report on answers found in texts, beside what common words alone find."""

import copy
import re
from collections.abc import Callable, Mapping, Sequence
from typing import cast

import numpy as np
import tensorflow as tf

from tfhub_transfer.data import Examples
from tfhub_transfer.reporting import groups, metrics, operating_points
from tfhub_transfer.reporting.contents import Mark, Mistake, Slice
from tfhub_transfer.reporting.metrics import Numbers, Resampled
from tfhub_transfer.tasks.questions import answers, certainty
from tfhub_transfer.tasks.trial import MISTAKES, Answers, Laid, Trial, answers_of
from tfhub_transfer.tasks.whole.measures import add_thresholds

Truths = Sequence[Sequence[str]]

NAMES = ("exact_match", "f1")
_ASKING = ("who", "whom", "whose", "what", "which", "when", "where", "why", "how")
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+")


def measure(truths: Truths, predicted: Sequence[str]) -> Numbers:
    """Metrics of answers to questions, shares from 0 to 1.

    Args:
        truths: The texts of each question's right answers, none where there is none.
        predicted: What a model answered, `""` for no answer.

    Returns:
        `exact_match` and `f1`, means over the questions, as the official SQuAD scripts have them;
        where some questions have no answer, also those of the ones with an answer
        (`answerable_exact_match`, `answerable_f1`) and the share of right silence (`unanswerable`).
    """
    found = answers.scores(truths, predicted)
    return {
        name: float(column[rows].mean())
        for name, column, rows in _columns(truths, found)
        if rows.any()
    }


def _columns(truths: Truths, found: np.ndarray) -> list[tuple[str, np.ndarray, np.ndarray]]:
    """Each number's name, its values for all questions, and the questions that it is about."""
    every = np.ones(len(truths), bool)
    answered = np.array([bool(texts) for texts in truths], bool)
    columns = [(name, found[:, i], every) for i, name in enumerate(NAMES)]
    if answered.all():
        return columns
    parts = [(f"answerable_{name}", found[:, i], answered) for i, name in enumerate(NAMES)]
    return [*columns, *parts, ("unanswerable", found[:, 0], ~answered)]


def intervals(
    truths: Truths, predicted: Sequence[str], seed: int
) -> dict[str, tuple[float, float]]:
    """95 % intervals over questions."""
    columns = _columns(truths, answers.scores(truths, predicted))

    def resampled(weights: np.ndarray) -> Resampled:
        with np.errstate(invalid="ignore", divide="ignore"):
            return {
                name: (weights @ (column * rows)) / (weights @ rows.astype(np.float64))
                for name, column, rows in columns
                if rows.any()
            }

    shares = {name: int(rows.sum()) for name, _, rows in columns if not name.endswith("f1")}
    return metrics.intervals(resampled, len(truths), seed, shares)


def likeliest_sentences(questions: Sequence[str], contexts: Sequence[str]) -> list[str]:
    """The baseline: the context's sentence that has most of the question's words.

    Whole sentences, as nothing is learned; the sliding window of Rajpurkar et al. 2016 (section 5)
    is this idea with phrases of parse trees for sentences. Of equals it is the shorter one.

    Args:
        questions: The questions.
        contexts: Their contexts, as many.
    """
    return [_likeliest(*pair) for pair in zip(questions, contexts, strict=True)]


def _likeliest(question: str, context: str) -> str:
    words = _words(question)
    sentences = _SENTENCE_END.split(context.strip())
    return max(sentences, key=lambda sentence: (len(words & _words(sentence)), -len(sentence)))


def _words(text: str) -> set[str]:
    return set(answers.normalized(text).split())


def mistakes(
    questions: Sequence[str], truths: Truths, found: Sequence[Mapping[str, object]], most: int
) -> list[Mistake]:
    """The answers without a word of a right one of which the model is surest.

    Args:
        questions: The questions.
        truths: The texts of each one's right answers.
        found: `{"answer", "score"}` of each.
        most: How many mistakes at most.
    """
    gained = answers.scores(truths, [str(row["answer"]) for row in found])[:, 1]
    wrong = np.flatnonzero(gained == 0)
    sure = np.array([row["score"] for row in found])
    worst = wrong[np.argsort(-sure[wrong], kind="stable")][:most]
    return [
        {
            "row": int(row),
            "text": questions[row],
            "true": list(dict.fromkeys(truths[row])) or "(no answer)",
            "predicted": found[row]["answer"] or "(no answer)",
            "badness": float(sure[row]),
        }
        for row in worst
    ]


def question_word(question: str) -> str:
    """The word that asks, in English; "other" where there is none.

    Example:

    >>> question_word("In what year did it end?"), question_word("How many were there?")
    ('what', 'how many')
    """
    words = re.findall(r"\w+", question.casefold())
    for place, word in enumerate(words):
        if word in _ASKING:
            more = [*words[place + 1 :], ""][0]
            return f"how {more}" if word == "how" and more in ("many", "much", "long") else word
    return "other"


def slices(texts: Sequence[Sequence[str]], found: np.ndarray, seed: int = 0) -> list[Slice]:
    """F1 and exact match by the word that asks and by the length of the context.

    Args:
        texts: Questions and contexts.
        found: Exact match and F1 of each, from `answers.scores`.
        seed: Seed of the bootstrap.
    """
    columns = {"f1": found[:, 1], "exact_match": found[:, 0]}
    asked = list(map(question_word, texts[0]))
    frequent = sorted(set(asked), key=lambda word: (word == "other", -asked.count(word), word))
    return [
        *groups.means("question word", (asked, frequent), columns, seed),
        *groups.means("length of the context", groups.lengths(texts[1]), columns, seed),
    ]


def highlights(golds: Sequence[answers.Span], found: answers.Found) -> list[Mark]:
    """A question's right answers and a model's as places in the context (see `passages.marked`).

    Args:
        golds: Texts and offsets of the right answers.
        found: `{"answer", "start", "end"}`; a start below 0 where none was given.
    """
    right = answers.scores([[text for text, _ in golds]], [found["answer"]])[0, 0] == 1
    # Several people gave SQuAD's answers, often the same one.
    places = [(start, start + len(text), "true") for text, start in dict.fromkeys(golds)]
    if found["start"] >= 0:
        places.append((found["start"], found["end"], "predicted"))
    kinds = {"true": "right" if right else "missed", "predicted": "right" if right else "spurious"}
    return [
        {"start": start, "end": end, "side": side, "kind": kinds[side], "label": ""}
        for start, end, side in places
    ]


def report_on(task: certainty.Calibrated, trial: Trial) -> None:
    """Fills a report on answers to questions; see `Task.report_on`.

    Args:
        task: The model's task.
        trial: The report, the model, and what is put to it.
    """
    report, (questions, contexts) = trial.report, trial.examples.texts
    windows, found = trial.timed(lambda: _answered(trial))
    golds = list(map(answers.of_label, trial.examples.labels))
    truths = [[text for text, _ in spans] for spans in golds]
    predicted = [row["answer"] for row in found]
    report.metrics = measure(truths, predicted)
    report.intervals = intervals(truths, predicted, trial.seed)
    report.mistakes = mistakes(questions, truths, found, MISTAKES)
    for mistake in report.mistakes:
        row = mistake["row"]
        mistake["question"], mistake["passage"] = questions[row], contexts[row]
        answer, start, end = (found[row][part] for part in ("answer", "start", "end"))
        placed: answers.Found = {"answer": answer, "start": start, "end": end}
        mistake["marks"] = highlights(golds[row], placed)
    scores = np.array([row["score"] for row in found])
    gained = answers.scores(truths, predicted)
    numbers = {"exact_match": gained[:, 0], "f1": gained[:, 1], "score": scores}
    trial.note_answers(truths, predicted, numbers)
    certainty.describe(task, report, windows, found, gained[:, 0] == 1)
    report.slices = slices(trial.examples.texts, gained, trial.seed)
    given = np.array(list(map(bool, predicted)))
    if given.any():
        right, wanted = gained[given, 0] == 1, sum(map(bool, truths))
        of = "answers that match exactly"
        add_thresholds(report, operating_points.Answers(right, scores[given], wanted, of))
    likely = likeliest_sentences(questions, contexts)
    report.baselines["likeliest_sentence"] = measure(truths, likely)
    if not all(truths):
        report.baselines["no_answer"] = measure(truths, [""] * len(truths))


def _answered(trial: Trial) -> tuple[certainty.Windows, Answers]:
    """The scores of each question's windows, and its answer."""
    windows = cast(certainty.Windows, trial.model.predict_scores(trial.examples))
    return windows, certainty.answered(trial.model.layout, trial.examples.texts, windows)


def f1_of(layout: Laid, examples: Examples) -> Callable[[Sequence[np.ndarray]], float]:
    """What makes F1 of a model's scores of windows; see `Task.whole_measure`.

    Args:
        layout: The model's.
        examples: Questions and contexts with their answers.
    """
    # Copies, since the threshold that is set below isn't for the model.
    layout = copy.copy(layout)
    layout.task = copy.copy(layout.task)
    state = layout.prepare(*(tf.constant(column, tf.string) for column in examples.texts))[1]
    truths = [[text for text, _ in answers.of_label(label)] for label in examples.labels]
    if layout.task.unanswerable:
        # The threshold is the last thing that is chosen, so that of these answers counts.
        layout.task.threshold = -np.inf

    def f1(scores: Sequence[np.ndarray]) -> float:
        found = answers_of(layout, state, scores)
        given = [row["answer"] for row in found]
        if layout.task.unanswerable:
            margins = np.array([row["margin"] for row in found])
            threshold = answers.best_threshold(truths, given, margins)
            given = [a if m > threshold else "" for a, m in zip(given, margins)]
        return float(measure(truths, given)["f1"] or 0.0)

    return f1
