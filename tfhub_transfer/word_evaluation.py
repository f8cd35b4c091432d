"""Numbers of a report on tags of words: shares of words and of entities, beside a baseline."""

import collections
from collections.abc import Sequence
from typing import Any

import numpy as np

from tfhub_transfer import metrics, tagging
from tfhub_transfer.metrics import Numbers, Resampled

Tags = Sequence[Sequence[str]]


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
    micro = tagging.entity_scores(truth, predicted)["micro"]
    return {**numbers, **{name: micro[name] for name in ("precision", "recall", "f1")}}


def per_class(truth: Tags, predicted: Tags, scheme: str | None) -> list[dict[str, Any]]:
    """Precision, recall, F1 and support of each type of entity, or of each plain tag."""
    if scheme is not None:
        found = tagging.entity_scores(truth, predicted)
        return [{"class": name, **row} for name, row in found.items() if name != "micro"]
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
        wanted, given = set(tagging.entities(own)), set(tagging.entities(made))
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
        for word, tag in zip(tagging.split_words(text), tags, strict=True):
            seen[word.lower()][tag] += 1
            every[tag] += 1
    usual = {word: counts.most_common(1)[0][0] for word, counts in seen.items()}
    [(most, _)] = every.most_common(1)
    return [[usual.get(w.lower(), most) for w in tagging.split_words(text)] for text in texts]


def mistakes(texts: Sequence[str], truth: Tags, predicted: Tags, most: int) -> list[dict[str, Any]]:
    """The sentences with the largest number of wrong words."""
    wrong = [sum(a != b for a, b in zip(*pair)) for pair in zip(truth, predicted)]
    worst = sorted(range(len(wrong)), key=lambda row: -wrong[row])[:most]
    return [
        {
            "row": row,
            "text": " ".join(tagging.split_words(texts[row])),
            "true": " ".join(truth[row]),
            "predicted": " ".join(predicted[row]),
            "badness": float(wrong[row]),
        }
        for row in worst
        if wrong[row]
    ]
