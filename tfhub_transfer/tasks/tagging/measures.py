"""Numbers of a report on tags of words: shares of words and of entities, beside a baseline."""

import collections
from collections.abc import Sequence
from typing import Protocol

import numpy as np

from tfhub_transfer.reporting import metrics
from tfhub_transfer.reporting.contents import ClassScores, Entities, Mistake, Slice
from tfhub_transfer.reporting.metrics import Numbers, Resampled
from tfhub_transfer.tasks.tagging import certainty, entity_outcomes, schemes
from tfhub_transfer.tasks.tagging.entity_outcomes import Outcome
from tfhub_transfer.tasks.trial import MISTAKES, Trial
from tfhub_transfer.texts import joining

Tags = Sequence[Sequence[str]]


class Tagged(certainty.Calibrated, Protocol):
    """A task of tags, as far as its report asks it."""

    scheme: str | None

    def named(self, labels: Sequence[object]) -> list[list[str]]:
        """Tags of each text by their names."""

    def sequences(self, scores: np.ndarray | Sequence[np.ndarray]) -> list[list[str]]:
        """Scores of each text's words to its tags."""


def report_on(task: Tagged, trial: Trial) -> None:
    """Fills a report on tags of words; see `Task.report_on`.

    Args:
        task: The model's task.
        trial: The report, the model, and what is put to it.
    """
    report, examples, scheme = trial.report, trial.examples, task.scheme
    scores = trial.timed(lambda: trial.model.predict_scores(examples))
    truth, predicted = task.named(examples.labels), task.sequences(scores)
    report.metrics = measure(truth, predicted, scheme)
    report.per_class = per_class(truth, predicted, scheme)
    report.intervals = intervals(truth, predicted, scheme, trial.seed)
    rows = outcomes(truth, predicted, scheme)
    report.entities = summed(rows, scheme)
    certainty.describe(task, report, scores, (truth, predicted), rows)
    texts = examples.texts[0]
    report.mistakes = mistakes(texts, (truth, predicted), rows, scheme, MISTAKES)
    trial.note_answers(truth, predicted, contributions(truth, predicted))
    train = trial.train
    known = None if train is None else (train.texts[0], task.named(train.labels))
    report.slices = slices(texts, rows, known, scheme)
    if known is not None:
        report.baselines["usual_tag"] = measure(truth, usual_tags(known, texts), scheme)


def measure(truth: Tags, predicted: Tags, scheme: str | None) -> Numbers:
    """Metrics of the tags of sentences.

    Args:
        truth: The tags of each sentence.
        predicted: As many that a model gave.
        scheme: The tags' scheme, or `None` for plain tags.

    Returns:
        `accuracy`, the share of words with the right tag; with a scheme `precision`, `recall` and
        `f1` of entities over all types, as seqeval counts them; without, `macro_f1` over the tags.
    """
    right, words = np.sum(_counts(truth, predicted)[:, :2], axis=0)
    numbers: Numbers = {"accuracy": float(right / words) if words else None}
    if scheme is None:
        found = per_class(truth, predicted, scheme)
        return {**numbers, "macro_f1": float(np.mean([row["f1"] for row in found]))}
    micro = schemes.entity_scores(truth, predicted)["micro"]
    return {**numbers, **{name: micro[name] for name in ("precision", "recall", "f1")}}


def per_class(truth: Tags, predicted: Tags, scheme: str | None) -> list[ClassScores]:
    """Precision, recall, F1 and support of each type of entity, or of each plain tag."""
    if scheme is not None:
        found = schemes.entity_scores(truth, predicted)
        return [
            {
                "class": name,
                "precision": row["precision"],
                "recall": row["recall"],
                "f1": row["f1"],
                "support": int(row["support"]),
            }
            for name, row in found.items()
            if name != "micro"
        ]
    wanted, given = (
        np.array([tag for tags in rows for tag in tags]) for rows in (truth, predicted)
    )
    names = np.unique(np.concatenate([wanted, given]))
    one_hot = ((tags[:, None] == names).astype(int) for tags in (wanted, given))
    return metrics.per_class(next(one_hot), next(one_hot), names.tolist())


def intervals(
    truth: Tags, predicted: Tags, scheme: str | None, seed: int
) -> dict[str, tuple[float, float]]:
    """95 % bootstrap intervals; what is drawn are sentences, whose words aren't independent."""
    counts = _counts(truth, predicted).astype(float)

    def resampled(weights: np.ndarray) -> Resampled:
        right, words, hits, wanted, given = (weights @ column for column in counts.T)
        with np.errstate(invalid="ignore", divide="ignore"):
            numbers = {"accuracy": right / words}
        if scheme is None:
            return numbers
        # As in `measure`, a share of nothing is 0.
        rates = {"precision": metrics.ratio(hits, given), "recall": metrics.ratio(hits, wanted)}
        return {**numbers, **rates, "f1": metrics.ratio(2 * hits, wanted + given)}

    return metrics.intervals(resampled, len(truth), seed)


def _counts(truth: Tags, predicted: Tags) -> np.ndarray:
    """For each sentence: right words, words, right entities, entities wanted, entities given."""
    rows = []
    for own, made in zip(truth, predicted, strict=True):
        wanted, given = set(schemes.entities(own)), set(schemes.entities(made))
        right = sum(a == b for a, b in zip(own, made, strict=True))
        rows.append([right, len(own), len(wanted & given), len(wanted), len(given)])
    return np.array(rows).reshape(-1, 5)


def usual_tags(train: tuple[Sequence[str], Tags], texts: Sequence[str]) -> list[list[str]]:
    """The baseline: each word's most frequent tag in training, else the most frequent of all.

    Args:
        train: Texts of joined words, and their tags.
        texts: Texts of joined words.
    """
    seen: dict[str, collections.Counter[str]] = collections.defaultdict(collections.Counter)
    every: collections.Counter[str] = collections.Counter()
    for text, tags in zip(*train, strict=True):
        for word, tag in zip(joining.split_words(text), tags, strict=True):
            seen[word.lower()][tag] += 1
            every[tag] += 1
    usual = {word: counts.most_common(1)[0][0] for word, counts in seen.items()}
    [(most, _)] = every.most_common(1)
    return [[usual.get(w.lower(), most) for w in joining.split_words(text)] for text in texts]


def outcomes(truth: Tags, predicted: Tags, scheme: str | None) -> list[list[Outcome]]:
    """What became of the entities of each sentence; without a scheme, of its words."""
    pairs = zip(truth, predicted, strict=True)
    return [entity_outcomes.outcomes(own, made, scheme) for own, made in pairs]


def summed(rows: Sequence[Sequence[Outcome]], scheme: str | None) -> Entities:
    """The outcomes of all sentences: `counts` of each kind, and the `confusion` of types.

    Args:
        rows: From `outcomes`.
        scheme: The tags' scheme, or `None` for plain tags.
    """
    every = [row for sentence in rows for row in sentence]
    counts = entity_outcomes.counts(every)
    if scheme is None:  # a word has a tag and is given one
        counts = {kind: counts[kind] for kind in (entity_outcomes.RIGHT, entity_outcomes.TYPE)}
    return {
        "of": "words" if scheme is None else "entities",
        "counts": counts,
        "confusion": entity_outcomes.confusion(every),
    }


def slices(
    texts: Sequence[str],
    rows: Sequence[Sequence[Outcome]],
    train: tuple[Sequence[str], Tags] | None,
    scheme: str | None,
) -> list[Slice]:
    """Scores of entities by their length, and by whether training has them (as `groups.means`).

    Args:
        texts: Texts of joined words.
        rows: From `outcomes`.
        train: Texts of joined words, and their tags; `None` if they aren't known.
        scheme: The tags' scheme, or `None` for plain tags.
    """
    every = [(place, row) for place, sentence in enumerate(rows) for row in sentence]
    found: list[Slice] = []
    if scheme is not None:
        length = entity_outcomes.length
        found += entity_outcomes.scores_by("length of the entity", every, length)
    if train is None:
        return found
    spelled = entity_outcomes.spelled
    known: set[str] = set()
    for text, tags in zip(*train, strict=True):
        words = joining.split_words(text)
        known |= {spelled(words, one) for one in entity_outcomes.found(tags, scheme)}
    split = list(map(joining.split_words, texts))

    def group(sentence: int, entity: schemes.Entity) -> str:
        return "seen" if spelled(split[sentence], entity) in known else "not seen"

    what = "the word" if scheme is None else "the entity"
    return found + entity_outcomes.scores_by(f"whether training has {what}", every, group)


def contributions(truth: Tags, predicted: Tags) -> dict[str, np.ndarray]:
    """What each sentence contributes to the numbers, by name `[n]`, which are ratios of sums."""
    names = ("right_words", "words", "right_entities", "entities", "given_entities")
    return dict(zip(names, _counts(truth, predicted).T))


def mistakes(
    texts: Sequence[str],
    tags: tuple[Tags, Tags],
    rows: Sequence[Sequence[Outcome]],
    scheme: str | None,
    most: int,
) -> list[Mistake]:
    """The sentences with the largest number of wrong words.

    Args:
        texts: Texts of joined words.
        tags: Their tags, and those that a model gave.
        rows: From `outcomes`.
        scheme: The tags' scheme, or `None` for plain tags.
        most: How many mistakes at most.

    Returns:
        For each its `row`, `text`, tags that are `true` and `predicted`, the number of wrong words
        as `badness`; and as `passage` the text again with its `marks` and their `kinds`. A right
        entity is marked, a plain tag only where it is wrong.
    """
    wrong = [sum(a != b for a, b in zip(*pair)) for pair in zip(*tags)]
    worst = sorted(range(len(wrong)), key=lambda row: -wrong[row])[:most]
    return [
        {
            "row": row,
            "text": " ".join(joining.split_words(texts[row])),
            "true": " ".join(tags[0][row]),
            "predicted": " ".join(tags[1][row]),
            "badness": float(wrong[row]),
            **_marked(joining.split_words(texts[row]), rows[row], scheme),
        }
        for row in worst
        if wrong[row]
    ]


def _marked(words: list[str], rows: Sequence[Outcome], scheme: str | None) -> Mistake:
    found = {row.kind for row in rows if row.kind != entity_outcomes.RIGHT}
    # Of words that all have a tag, the right ones would hide the others.
    shown = [row for row in rows if row.kind in found or scheme is not None]
    return {
        "passage": " ".join(words),
        "marks": entity_outcomes.highlights(words, shown),
        "kinds": [kind for kind in entity_outcomes.KINDS if kind in found],
    }
