"""Honest measurement: metrics with intervals, beside baselines on the same split, with mistakes."""

import functools
import time
from collections.abc import Mapping
from typing import Any

import numpy as np

from tfhub_transfer.data import Examples, require_examples
from tfhub_transfer.encoders.encoder import Encoder
from tfhub_transfer.errors import InputError
from tfhub_transfer.evaluation import cautions, particulars
from tfhub_transfer.incoming import ranges
from tfhub_transfer.models.multitask import MultiTaskModel
from tfhub_transfer.models.transfer import TransferModel
from tfhub_transfer.reporting import joint_reports, metrics, plots
from tfhub_transfer.reporting.contents import Mistake
from tfhub_transfer.reporting.joint_reports import JointReport
from tfhub_transfer.reporting.reports import Report
from tfhub_transfer.tasks import references
from tfhub_transfer.tasks.layouts import documents
from tfhub_transfer.tasks.questions import answers
from tfhub_transfer.tasks.questions import measures as answer_evaluation
from tfhub_transfer.tasks.similarity import measures as similarity_evaluation
from tfhub_transfer.tasks.similarity.task import best_threshold
from tfhub_transfer.tasks.summaries import measures as summary_evaluation
from tfhub_transfer.tasks.tagging import measures as word_evaluation

MISTAKES = 100
# Training pairs on which the threshold of a cosine is found.
_THRESHOLD_ROWS = 2000
_AT_ONCE = 4096


def evaluate(
    model: TransferModel,
    examples: Any,
    train: Any = None,
    baselines: bool = True,
    seed: int = 0,
    alone: Mapping[str, Any] | None = None,
) -> Any:
    """Measures a model on examples that it hasn't seen, beside two baselines.

    The baselines are the majority class (the mean, for regression) and TF-IDF of words and pairs
    of words with logistic regression (ridge regression; one for each class of multi-label data).
    They are trained on the training split and measured on the same examples. For similarity they
    are the encoder as it was before training, and the cosine of TF-IDF vectors.

    Args:
        model: A trained model.
        examples: The test split; that of each task, `{name: examples}`, for a model of several.
        train: What to train the baselines on; what `fine_tune` trained on, if not given.
        baselines: Whether to train and measure the baselines.
        seed: Seed of the bootstrap.
        alone: For a model of several tasks, `{name: report}` of models that learned one task alone,
            on the same examples, to be compared with.

    Returns:
        A `Report`, or a `JointReport` of several.

    Raises:
        InputError: If there are no examples, or a label is unknown to the task; or if reports of
            tasks alone are of other tasks or examples.

    Example:

    >>> report = evaluate(model, test)
    >>> report.save("out/report")
    PosixPath('out/report')
    """
    seed = ranges.whole_number("seed", seed, *ranges.SEED)
    if isinstance(model, MultiTaskModel):
        return _evaluate_tasks(model, examples, train, baselines, seed, alone or {})
    if alone:
        raise InputError(
            "`alone` is for a model of several tasks, whose reports of each alone it holds; leave "
            "it out. "
            f"Received: the {model.task.name} task"
        )
    task: Any = model.task
    if task.layout not in _MEASURES:
        raise InputError(
            f"`evaluate` knows tasks of the layouts {', '.join(_MEASURES)}. Received: {task.name!r}"
        )
    require_examples(examples)
    if not len(examples):
        raise InputError("expected at least one example to evaluate on. Received: none")
    train = model.training_examples if train is None else train
    if train is not None:
        require_examples(train)
    model.layout.check(examples)
    task.check(examples)
    report = Report(
        task=task.name,
        encoder=str(model.encoder.handle),
        examples={
            "train": None if train is None else len(train),
            "validation": None,
            "test": len(examples),
        },
        metrics={},
        class_names=task.class_names,
        history=dict(model.history_),
        standing=task.standing,
    )
    known = train
    if not baselines:
        train = None
    elif train is None and task.layout in ("whole", "words", "towers"):  # others need none
        report.notes.append("no baselines: the training split isn't at hand")
    _MEASURES[task.layout](report, model, examples, train, seed)
    _note_intervals(report, len(examples))
    cautions.add(report, model, examples, known)
    return report


def _evaluate_tasks(
    model: MultiTaskModel,
    examples: Any,
    train: Any,
    baselines: bool,
    seed: int,
    alone: Mapping[str, Any],
) -> JointReport:
    model.layout.check(examples)
    for name, own in examples.items():
        if not len(own):
            raise InputError(f"{name}: expected examples to evaluate on. Received: none")
    joint_reports.check_alone(alone, {name: own.texts for name, own in examples.items()})
    train = model.training_examples if train is None else train
    reports = {
        name: evaluate(single, examples[name], train and train[name], baselines, seed)
        for name, single in model.models.items()
    }
    report = JointReport(str(model.encoder.handle), reports, history=dict(model.history_))
    report.compare(alone, seed)
    return report


def _measure_whole(
    report: Report, model: TransferModel, examples: Examples, train: Examples | None, seed: int
) -> None:
    task: Any = model.task
    labels = task.encode(examples.labels)
    predict = functools.partial(model.predict_scores, allow_nan=True)
    answered = _timed(report, predict, examples)
    scores = _finite(report, task, answered, labels)
    report.metrics = task.measure(labels, scores)
    missing = sorted(name for name, value in report.metrics.items() if value is None)
    if missing:
        report.notes.append(f"{', '.join(missing)}: not defined on this split")
    task.describe(report, labels, scores, seed)
    report.mistakes = _mistakes(task, examples, labels, scores)
    true = [task.readable_label(label) for label in labels]
    # Some at a time: an answer holds the scores of all classes.
    parts = (scores[start : start + _AT_ONCE] for start in range(0, len(scores), _AT_ONCE))
    given = [task.main_part(answer) for part in parts for answer in task.decode(part)]
    numbers = task.contributions(labels, scores)
    # What counts as wrong where there is no answer is no answer for that.
    known = np.isfinite(answered.reshape(len(answered), -1)).all(axis=1)
    given = [answer if is_known else None for answer, is_known in zip(given, known)]
    for mistake in report.mistakes:
        mistake["predicted"] = given[mistake["row"]]
    particulars.add_whole(report, examples, (true, given, answered), numbers, seed)
    for name, column in task.beside_answers(labels, scores).items():
        for row, value in zip(report.predictions, column.tolist()):
            row[name] = value
    if train is not None:
        _add_baselines(report, task, train, examples)


def _timed(report: Report, function: Any, argument: Any) -> Any:
    started = time.perf_counter()
    result = function(argument)
    passed = time.perf_counter() - started
    report.seconds["prediction"] = report.seconds.get("prediction", 0.0) + passed
    return result


def _measure_words(
    report: Report, model: TransferModel, examples: Examples, train: Examples | None, seed: int
) -> None:
    task: Any = model.task
    predicted = task.sequences(_timed(report, model.predict_scores, examples))
    truth = task.named(examples.labels)
    report.metrics = word_evaluation.measure(truth, predicted, task.scheme)
    report.per_class = word_evaluation.per_class(truth, predicted, task.scheme)
    report.intervals = word_evaluation.intervals(truth, predicted, task.scheme, seed)
    texts, both = examples.texts[0], (truth, predicted)
    rows = word_evaluation.outcomes(truth, predicted, task.scheme)
    report.entities = word_evaluation.summed(rows, task.scheme)
    report.mistakes = word_evaluation.mistakes(texts, both, rows, task.scheme, MISTAKES)
    counts = word_evaluation.contributions(truth, predicted)
    particulars.add_rows(report, examples, (truth, predicted), counts)
    known = None if train is None else (train.texts[0], task.named(train.labels))
    report.slices = word_evaluation.slices(texts, rows, known, task.scheme)
    if known is not None:
        usual = word_evaluation.usual_tags(known, texts)
        report.baselines["usual_tag"] = word_evaluation.measure(truth, usual, task.scheme)


def _measure_windows(
    report: Report, model: TransferModel, examples: Examples, train: Examples | None, seed: int
) -> None:
    questions, contexts = examples.texts
    found = _timed(report, model.predict_text, list(zip(questions, contexts)))
    golds = list(map(answers.of_label, examples.labels))
    truths = [[text for text, _ in spans] for spans in golds]
    predicted = [row["answer"] for row in found]
    report.metrics = answer_evaluation.measure(truths, predicted)
    report.intervals = answer_evaluation.intervals(truths, predicted, seed)
    report.mistakes = answer_evaluation.mistakes(questions, truths, found, MISTAKES)
    particulars.add_answers(report, examples, golds, found, seed)
    likely = answer_evaluation.likeliest_sentences(questions, contexts)
    report.baselines["likeliest_sentence"] = answer_evaluation.measure(truths, likely)
    if not all(truths):
        silent = answer_evaluation.measure(truths, [""] * len(truths))
        report.baselines["no_answer"] = silent


def _measure_sentences(
    report: Report, model: TransferModel, examples: Examples, train: Examples | None, seed: int
) -> None:
    task: Any = model.task
    written, split = list(map(references, examples.labels)), documents(examples)
    found = _timed(report, model.predict_text, examples)
    summaries = [answer["summary"] for answer in found]
    scores = summary_evaluation.scores(summaries, written)
    report.metrics = summary_evaluation.measure(scores)
    report.intervals = summary_evaluation.intervals(scores, seed)
    choices = summary_evaluation.best_choices(split, written)
    best = summary_evaluation.oracle(split, choices)
    highest = summary_evaluation.scores(best, written)
    shown = [" ".join(document) for document in split], best, summaries
    gaps = highest[:, 0] - scores[:, 0]
    report.mistakes = summary_evaluation.mistakes(shown, gaps, MISTAKES)
    particulars.mark_sentences(report, examples.texts[0], choices, found)
    report.slices = summary_evaluation.slices(shown[0], scores, seed)
    numbers = dict(zip(report.metrics, scores.T))
    particulars.add_rows(report, examples, (written, summaries), numbers)
    lead = summary_evaluation.scores(summary_evaluation.lead(split, task.sentences), written)
    report.baselines["lead"] = summary_evaluation.measure(lead)
    report.baselines["oracle"] = summary_evaluation.measure(highest)


def _measure_similarity(
    report: Report, model: TransferModel, examples: Examples, train: Examples | None, seed: int
) -> None:
    task: Any = model.task
    labels = None if examples.target is None else np.array(task.numbers(examples.labels))
    truth = similarity_evaluation.Truth.of(examples.texts, labels, task.is_wide)
    known = _for_threshold(task, truth, train, seed)
    # The model's own is of the validation split, and needs no other.
    tuned = known if task.threshold is None else None
    columns, scores, threshold = _compared(
        task, lambda texts: _timed(report, model.encode_text, texts), examples, tuned
    )
    if truth.kind == "binary":
        threshold = threshold if task.threshold is None else task.threshold
        _note_threshold(report, threshold, tuned is None)
    report.metrics = similarity_evaluation.measure(truth, columns, scores, threshold)
    report.intervals = similarity_evaluation.intervals(truth, columns, scores, threshold, seed)
    report.intervals = {k: v for k, v in report.intervals.items() if k in report.metrics}
    if labels is not None and truth.kind == "graded":
        report.pictures["scatter"] = plots.scatter(labels, scores)
    report.mistakes = _farthest(examples, truth, columns, scores)
    particulars.add_pairs(report, examples, truth, columns, scores)
    if train is None:
        return
    started = time.perf_counter()
    for name, encode in _untrained(report, model, train).items():
        found = _compared(task, encode, examples, known)
        report.baselines[name] = similarity_evaluation.measure(truth, *found)
    report.seconds["baselines"] = time.perf_counter() - started


def _note_threshold(report: Report, threshold: float | None, validated: bool) -> None:
    report.threshold = threshold
    if threshold is None:
        report.notes.append(
            "no accuracy, F1, precision and recall: the threshold of the score is found on "
            "labelled pairs, of validation (`fine_tune`) or of training, and there are none"
        )
        return
    where = "validation" if validated else "training pairs, as none was tuned on validation"
    report.notes.append(
        f"threshold {threshold:.4f}: pairs of this score and above count as 1; it has the highest "
        f"F1 on {where}"
    )


def _compared(
    task: Any, encode: Any, examples: Examples, tuned: Examples | None
) -> tuple[list[Any], np.ndarray, float | None]:
    """Vectors of each column, answers, and the threshold that suits other examples."""
    columns = [encode(texts) for texts in examples.texts]
    scores = task.score(similarity_evaluation.cosines(columns[0], columns[1]))
    if tuned is None:
        return columns, scores, None
    near = similarity_evaluation.cosines(*(encode(texts) for texts in tuned.texts[:2]))
    return columns, scores, best_threshold(np.array(task.numbers(tuned.labels)), task.score(near))


def _for_threshold(task: Any, truth: Any, train: Examples | None, seed: int) -> Examples | None:
    if truth.kind != "binary" or train is None or not task.is_binary(train):
        return None
    return train[np.random.default_rng(seed).permutation(len(train))[:_THRESHOLD_ROWS]]


def _untrained(report: Report, model: TransferModel, train: Examples) -> dict[str, Any]:
    """The encoder as it was before training, and TF-IDF, each as texts to vectors."""
    every = [text for column in train.texts for text in column]
    found: dict[str, Any] = {}
    try:
        encoder = Encoder(model.encoder.handle, trust_code=model.encoder.trust_code)
    except InputError:
        report.notes.append("baseline untrained: left out, the encoder itself isn't at hand")
    else:
        found["untrained"] = TransferModel(
            encoder, model.task, model.head, model.preprocessor
        ).encode_text
    if any(text.strip() for text in every):
        found["tfidf_cosine"] = lambda texts: similarity_evaluation.tf_idf(every, [texts])[0]
    return found


def _farthest(
    examples: Examples, truth: Any, columns: list[Any], scores: np.ndarray
) -> list[Mistake]:
    badness = similarity_evaluation.badness(truth, columns, scores)
    worst = [int(i) for i in np.argsort(-badness, kind="stable")[:MISTAKES] if badness[i] > 0]
    return [
        {
            "row": row,
            "text": " | ".join(column[row] for column in examples.texts),
            "true": "-" if examples.target is None else examples.labels[row],
            "predicted": float(scores[row]),
            "badness": float(badness[row]),
        }
        for row in worst
    ]


_MEASURES = {
    "whole": _measure_whole,
    "towers": _measure_similarity,
    "words": _measure_words,
    "windows": _measure_windows,
    "sentences": _measure_sentences,
}


def _finite(report: Report, task: Any, scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Answers that aren't numbers are noted; the task says what they count as."""
    bad = ~np.isfinite(scores.reshape(len(scores), -1)).all(axis=1)
    if not bad.any():
        return scores
    report.notes.append(
        f"{bad.sum()} of {len(bad)} answers aren't finite numbers; has the training diverged?"
    )
    return task.not_answered(labels, scores, bad)


def _note_intervals(report: Report, rows: int) -> None:
    """Says what has no interval, and why; `ece` never has one, as resampling biases it."""
    never = report.standing.without_interval
    known = {name for name, value in report.metrics.items() if value is not None} - never
    without = sorted(known - set(report.intervals))
    if without:
        large = rows * len(report.class_names or []) > metrics.MOST_CELLS_FOR_AREAS
        reason = "too many rows and classes to resample" if large else "these rows can't tell them"
        if rows < metrics.LEAST_ROWS:
            reason = f"fewer than {metrics.LEAST_ROWS} examples look more certain than they are"
        report.notes.append(f"no interval for {', '.join(without)}: {reason}")


def _mistakes(
    task: Any, examples: Examples, labels: np.ndarray, scores: np.ndarray
) -> list[Mistake]:
    """The most confident wrong answers, or the largest errors."""
    badness = task.badness(labels, scores)
    worst = [int(i) for i in np.argsort(-badness, kind="stable")[:MISTAKES] if badness[i] > 0]
    answers = task.decode(scores[worst]) if worst else []
    return [
        {
            "row": row,
            "text": " | ".join(column[row] for column in examples.texts),
            "true": task.readable_label(labels[row]),
            "predicted": task.main_part(answer),
            "badness": float(badness[row]),
        }
        for row, answer in zip(worst, answers)
    ]


def _add_baselines(report: Report, task: Any, train: Examples, test: Examples) -> None:
    started = time.perf_counter()
    labels, truth = task.encode(train.labels), task.encode(test.labels)
    # A pair's texts are put together.
    rows = [[" ".join(texts) for texts in zip(*part.texts)] for part in (train, test)]
    answers = task.baselines((rows[0], rows[1]), labels)
    if not answers:
        report.notes.append(f"no baselines: the {task.name} task names none")
    for name, answer in answers.items():
        if answer.scores is not None:
            report.baselines[name] = task.measure(truth, answer.scores)
        if answer.note:
            report.notes.append(f"baseline {name}: {answer.note}")
    report.seconds["baselines"] = time.perf_counter() - started
