"""Everything that is looked for in data, in one go."""

import copy
import dataclasses
from collections.abc import Iterator, Mapping

import numpy as np

from tfhub_transfer import progress
from tfhub_transfer.checks import cross_validation, gathered, of_labels, of_texts, outlying
from tfhub_transfer.checks.cross_validation import FOLDS, LEAST, Judged
from tfhub_transfer.checks.gathered import CLASSES, NUMBERS, OTHERS, SETS, Gathered
from tfhub_transfer.data import Examples
from tfhub_transfer.data.label_columns import MOST_CLASSES
from tfhub_transfer.encoders.preprocessing import make_preprocessor
from tfhub_transfer.errors import InputError
from tfhub_transfer.incoming import ranges
from tfhub_transfer.incoming.wording import counted
from tfhub_transfer.models import encoding, seen
from tfhub_transfer.models.encoding import Encodes
from tfhub_transfer.models.transfer import TransferModel, require_model
from tfhub_transfer.reporting.data_reports import DataReport
from tfhub_transfer.reporting.findings import Finding, Found
from tfhub_transfer.tasks import Regression, Task, layouts, nearness

# Rows that an encoder reads: of more, so many that are drawn.
MOST_ENCODED = 20_000
# In this order they are told: what may be wrong first, then what to know.
_ORDER = (
    *("suspect labels", "contradictions", "leakage", "giveaways", "blank texts", "missing labels"),
    *("small classes", "classes alike", "outliers", "duplicates", "near duplicates", "cut texts"),
    *("scripts", "languages"),
)
# Texts that are counted at once.
_CHUNK = 10_000
_NAMES = {1: ("text",), 2: ("text_a", "text_b")}
_HELD_OUT = ("validation", "test")


def check(
    examples: Examples | Mapping[str, Examples],
    task: Task | None = None,
    encoder: Encodes = "auto",
    model: TransferModel | None = None,
    sequence_length: int | None = None,
    seed: int = 0,
) -> DataReport:
    """Looks for what is wrong with labelled texts, and changes none of them.

    Blank, repeated, nearly repeated and cut texts; texts of one split in another (leakage); the
    same text with different labels; labels that a linear head on the encoder's vectors doubts
    which hasn't seen them (confident learning, Northcutt et al. 2021, by cross-validation that
    keeps near duplicates together); texts that are like no others; other scripts and
    languages; classes that are too small or too alike; columns and words that give the label away.

    Args:
        examples: What to look at, or several splits by name: `train`, `validation`, `test`. A
            label may be `None`.
        task: What the labels are of; told by them if not given.
        encoder: What makes vectors, as for `encode_text`. One that was trained on these labels
            would doubt none of them.
        model: A trained model, whose own answers are taken for rows of validation and test that it
            wasn't trained on.
        sequence_length: The most tokens that are read of a text; the model's or the task's own if
            not given.
        seed: Of the folds, and of rows that are drawn.

    Returns:
        What was found; `save` writes it.

    Raises:
        InputError: If labels aren't of the task, or the model answers other data.

    Example:

    >>> report = check({"train": train, "test": test})
    >>> [finding.name for finding in report.found]
    [...]
    """
    seed = ranges.whole_number("seed", seed, *ranges.SEED)
    if task is not None and (not isinstance(task, Task) or task.several):
        raise InputError(
            "`task` must be one task, such as `tasks.Classification()`, or be left out. "
            f"Received: {type(task).__name__}, {str(task)[:80]!r}"
        )
    if model is not None:
        _require_classes(model)
    # Labels are read as the model's, as those that look like numbers may be names of its classes.
    data = gathered.gather(examples, task if task or model is None else model.task)
    if model is not None:
        _require_suited(data, model)
    left: dict[str, str] = {}
    with progress.stage("Looking at texts", final=False):
        found = [of_texts.blank(data)]
        if data.kind is not None and len(data.labelled) < len(data.rows):
            found.append(of_texts.unlabelled(data))
        found += [of_texts.repeated(data), of_texts.near(data)]
        if len(data.splits) > 1:
            found.append(of_texts.leaked(data))
        else:
            left["leakage"] = "there is one split only; give `--validation` and `--test`, too"
        if data.kind in (CLASSES, SETS, NUMBERS):
            found.append(of_texts.torn(data))
        found += [of_texts.other_scripts(data), of_texts.mixed_languages(data)]
    base = encoding.vector_model(encoder)
    found.append(_cut(data, base, model, sequence_length))
    found += _of_vectors(data, base, model, seed, left)
    if data.kind in (CLASSES, SETS):
        found += [of_labels.small_classes(data), of_labels.given_away(data, seed)]
    left |= _not_looked_at(data)
    found.sort(key=lambda each: _ORDER.index(each.name))
    source = " and ".join(dict.fromkeys(each.source for each in data.splits.values()))
    named = None if data.task is None or data.kind is None else data.task.name
    notes = [f"{e.source}: {note}" for e in data.splits.values() for note in e.notes]
    return DataReport(source, named, data.rows, found, left, notes)


def _require_classes(model: TransferModel) -> None:
    """Refuses a model whose answers are compared with no labels."""
    require_model(model)
    task = model.task
    if task.several or not task.one_row or not task.class_names:
        raise InputError(
            "a model's answers are compared with labels that are classes, and its answers must be "
            f"some; leave `model` (`--model`) out. Received: the {task.name} task"
        )


def _require_suited(data: Gathered, model: TransferModel) -> None:
    """Refuses data that a model doesn't answer."""
    task, pairs = model.task, len(data.rows[0].texts) > 1
    kind = SETS if task.calibrated_by == "sigmoid" else CLASSES
    if data.kind != kind or task.pair != pairs:
        named = "none" if data.task is None else data.task.name
        raise InputError(
            "the model must answer data of this form, one class or sets of them, single texts or "
            "pairs; name their columns, or leave `model` (`--model`) out. "
            f"Received: the {task.name} task, and data of {named}{' in pairs' if pairs else ''}"
        )


def _not_looked_at(data: Gathered) -> dict[str, str]:
    """What of labels wasn't looked at because of what they are."""
    if data.kind is None:
        return {"labels": "there are none"}
    if data.kind == OTHERS:
        assert data.task is not None
        what = "contradictions, suspect labels, classes, giveaways"
        return {what: f"labels of the {data.task.name} task are no classes or numbers of texts"}
    if data.kind == NUMBERS:
        return {"classes, giveaways": "labels are numbers"}
    if data.kind == SETS:
        return {"classes alike": "a text may have any number of them"}
    return {}


# Cut texts ------------------------------------------------------------------------------------


def _cut(
    data: Gathered, base: TransferModel, model: TransferModel | None, length: int | None
) -> Finding:
    """Rows that the model, or else the encoder, doesn't read whole."""
    layout = _layout(data, base, length) if model is None or length is not None else model.layout
    width = len(data.rows[0].texts)
    lost = np.zeros(len(data.rows), int)
    done = 0
    for split in data.splits.values():
        # The third of a triplet is read by itself, as the others are then.
        for texts in zip(split.texts) if width > 2 else (split.texts,):
            for start in range(0, len(split), _CHUNK):
                some = [column[start : start + _CHUNK] for column in texts]
                rows = layout.cut(Examples(dict(zip(_NAMES[len(some)], some))))
                own = layout.lost(rows, layout.encode_and_count(rows.examples.texts)[1])
                lost[done + start : done + start + len(own)] += own.astype(int)
        done += len(split)
    return of_texts.cut(data, lost, layout.preprocessor.sequence_length)


def _layout(data: Gathered, base: TransferModel, length: int | None) -> layouts.Layout:
    """How a model of the task on this encoder would read the texts."""
    encoder, width = base.encoder, len(data.rows[0].texts)
    # A copy, since whose task it is may ask something else of it.
    task = copy.copy(base.task if data.task is None else data.task)
    if (task.needs_tokens and encoder.dialect == "text") or (task.one_row and width > 2):
        task = Regression(mean=0.0, deviation=1.0)
    if task.one_row:
        task.pair = width == 2
    layout = layouts.find(task)
    if length is None and task.sequence_length is not None:
        length = min(filter(None, (task.sequence_length, encoder.max_sequence_length)))
    layout.adopt(make_preprocessor(encoder, None, length))
    return layout


# Vectors --------------------------------------------------------------------------------------


def _of_vectors(
    data: Gathered,
    base: TransferModel,
    model: TransferModel | None,
    seed: int,
    left: dict[str, str],
) -> Iterator[Finding]:
    """Findings by the encoder's vectors: texts that are like no others, labels in doubt."""
    rows = np.flatnonzero(~data.blank)
    if len(rows) > MOST_ENCODED:
        rows = np.sort(np.random.default_rng(seed).permutation(rows)[:MOST_ENCODED])
        left[f"outliers and labels of {len(data.rows) - len(rows):,} rows"] = (
            f"{MOST_ENCODED:,} rows are drawn for what needs vectors"
        )
    if len(rows) < LEAST:
        left["outliers, suspect labels"] = f"that needs {LEAST} rows"
        return
    with progress.stage("Vectors", final=False):
        vectors = _vectors(data, base, rows)
    yield _outliers(rows, vectors)
    if data.kind in (CLASSES, SETS, NUMBERS):
        yield from _doubts(data, (rows, vectors), model, seed, left)


def _vectors(data: Gathered, base: TransferModel, rows: np.ndarray) -> np.ndarray:
    """Vectors of rows `[n, d]`, of length 1; of pairs both, their product and their distance."""
    columns = data.texts(rows).texts
    own = [_encoded(base, each) for each in columns]
    if len(own) == 1:
        return own[0]
    first, second = own[0], own[1]
    return nearness.unit(np.hstack([*own, first * second, np.abs(first - second)]))


def _encoded(base: TransferModel, texts: list[str]) -> np.ndarray:
    """Vectors of texts, each different one encoded once, as contexts of many questions are."""
    place = {text: at for at, text in enumerate(dict.fromkeys(texts))}
    vectors = nearness.unit(np.asarray(base.compute_features(Examples({"text": [*place]}))))
    return np.asarray(vectors[[place[text] for text in texts]])


def _outliers(rows: np.ndarray, vectors: np.ndarray) -> Finding:
    away = outlying.distances(vectors)
    found = [
        Found(int(rows[at]), of_texts.ODD, f"{away[at]:.2f} from its nearest texts in the mean")
        for at in outlying.far(away).tolist()
    ]
    usual = float(np.median(away))
    return Finding(
        "outliers",
        len(found),
        f"{counted(len(found), 'text')} far from all others; the median is {usual:.2f} from its "
        f"{outlying.NEIGHBOURS} nearest (one less the cosine)"
        if found
        else "no text is far from all others",
        "see whether they belong to these data: another language or subject, noise, a broken row",
        found,
    )


def _doubts(
    data: Gathered,
    given: tuple[np.ndarray, np.ndarray],
    model: TransferModel | None,
    seed: int,
    left: dict[str, str],
) -> Iterator[Finding]:
    """Labels that models doubt which haven't seen them, and classes that they mistake."""
    rows, vectors = given
    known = np.isin(rows, data.labelled)
    rows, vectors = rows[known], vectors[known]
    labels = [data.rows[row].label for row in rows.tolist()]
    if data.kind != NUMBERS and of_labels.class_count(data) > MOST_CLASSES:
        left["suspect labels, classes alike"] = f"more than {MOST_CLASSES:,} classes"
        return
    parts = cross_validation.folds(data.near[rows], labels, seed) if labels else None
    if parts is None or len(set(labels)) < 2:
        what = "suspect labels, classes alike" if data.kind == CLASSES else "suspect labels"
        left[what] = f"that needs {LEAST} labelled rows that differ, and two classes"
        return
    with progress.stage("Cross-validation", FOLDS, final=False) as stage:
        if data.kind == NUMBERS:
            numbers = np.array(labels, float)
            judged = cross_validation.of_numbers(vectors, numbers, parts, stage.add)
        else:
            judged = cross_validation.of_classes(vectors, labels, parts, stage.add)
    judged = dataclasses.replace(judged, rows=rows[judged.rows])
    if data.kind != NUMBERS and not of_labels.learned(data, judged):
        by = "" if model is None else " by cross-validation"
        alike = ", classes alike" if data.kind == CLASSES else ""
        left[f"suspect labels{by}{alike}"] = (
            "models that haven't seen them give no more of the labels than "
            f"{'chance' if data.kind == SETS else 'the most frequent class'}"
        )
        judged = Judged(judged.rows[:0], judged.answers[:0], judged.classes)
    both = [judged] if model is None else _with_model(data, judged, model, left)
    if any(len(own.rows) for own in both):
        yield of_labels.suspects(data, both)
    if data.kind == CLASSES and len(judged.rows):
        yield of_labels.alike_classes(data, judged)


def _with_model(
    data: Gathered, judged: Judged, model: TransferModel, left: dict[str, str]
) -> list[Judged]:
    """Answers of a trained model to rows that it wasn't trained on, and others' as they are."""
    classes = set(model.task.class_names or ())
    held = np.flatnonzero(data.of(*_HELD_OUT) & ~data.blank)
    names = [gathered.names_of(data.rows[row].label) for row in held.tolist()]
    suits = [own is not None and classes.issuperset(own) for own in names]
    held = held[np.array(suits, bool)]
    if len(held):
        digests = seen.digests(data.texts(held).texts)
        learned = [getattr(model.seen_texts, name) for name in seen.SPLITS]
        held = held[~np.isin(digests, np.concatenate(learned))]
    if not len(held):
        left["the model's answers"] = (
            "it was trained on each row of validation and test, or doesn't know their classes"
        )
        return [judged]
    with progress.stage("Asking the model", final=False):
        answers = np.asarray(model.predict_scores(data.texts(held)), float)
    others = ~np.isin(judged.rows, held)
    rest = Judged(judged.rows[others], judged.answers[others], judged.classes)
    return [rest, Judged(held, answers, tuple(model.task.class_names or ()))]
