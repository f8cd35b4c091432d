"""Answers found in texts: their shapes in files, checks, official scores, when to give none.

Offsets count Unicode code points, as Python does. Scores are those of the official scripts,
`evaluate-v1.1.py` (Rajpurkar et al. 2016, https://arxiv.org/abs/1606.05250) and `evaluate-v2.0.py`
(Rajpurkar et al. 2018, https://arxiv.org/abs/1806.03822).
"""

import collections
import re
import string
from collections.abc import Mapping, Sequence
from typing import Final, SupportsInt, TypedDict

import numpy as np

from tfhub_transfer.errors import InputError
from tfhub_transfer.incoming import values
from tfhub_transfer.texts import joining

TEXT: Final = "text"
START: Final = "answer_start"
Span = tuple[str, int]
_PUNCTUATION = str.maketrans("", "", string.punctuation)
_ARTICLES = re.compile(r"\b(a|an|the)\b")


class Written(TypedDict):
    """An answer as SQuAD's files write it."""

    text: str
    answer_start: int


class Found(TypedDict):
    """An answer that a model gave; `start` is below 0 where it gave none."""

    answer: str
    start: int
    end: int


def of_label(label: object) -> list[Span]:
    """The answers of one question, as files write them, as pairs of text and offset.

    Args:
        label: `[{"text", "answer_start"}, ...]`, or `{"text": [...], "answer_start": [...]}`; empty
            where the question has no answer.

    Raises:
        InputError: If it is neither.

    Example:

    >>> of_label({"text": ["Rome"], "answer_start": [7]})
    [('Rome', 7)]
    """
    label = values.written_objects(label) if isinstance(label, str) else label
    try:
        if isinstance(label, Mapping):
            texts, starts = list(label[TEXT]), list(label[START])
            if isinstance(label[TEXT], (str, bytes)) or len(texts) != len(starts):
                raise TypeError
        else:
            found = _listed(label)
            texts, starts = [each[TEXT] for each in found], [each[START] for each in found]
        return [(_text(text), _place(start)) for text, start in zip(texts, starts)]
    except (TypeError, KeyError, ValueError, OverflowError) as error:
        raise InputError(
            f'expected answers as [{{"{TEXT}": ..., "{START}": ...}}, ...], or as '
            f'{{"{TEXT}": [...], "{START}": [...]}}; empty where there is none. '
            f"Received: {str(label)[:80]}"
        ) from error


def _listed(label: object) -> list[Written]:
    if not isinstance(label, (list, tuple, np.ndarray)):
        raise TypeError
    return list(label)


def _text(value: object) -> str:
    value = value.decode("utf-8") if isinstance(value, bytes) else value
    if not isinstance(value, str):
        raise TypeError
    return joining.plain(value)  # as its context was read


def _place(value: SupportsInt) -> int:
    if isinstance(value, bool) or value != int(value):
        raise TypeError
    return int(value)


def checked(label: object, context: str, place: str) -> list[Span]:
    """`of_label` of a question, each of which stands in its context where it says.

    Args:
        label: As for `of_label`.
        context: The text with the answers.
        place: How to name the question in a message.

    Raises:
        InputError: If one doesn't.
    """
    try:
        found = of_label(label)
    except InputError as error:
        raise InputError(f"{place}: {error}") from error
    for text, start in found:
        if not text.strip():
            raise InputError(
                f"{place}: an answer has no text; a question without an answer has an empty list. "
                f"Received: {text!r} at {start}"
            )
        there = context[start : start + len(text)] if start >= 0 else ""
        if there != text:
            raise InputError(
                f"{place}: the answer isn't at its offset, which counts characters from 0; "
                f"{_advice(context, text)}. Received: {text[:60]!r} at {start}, where the context "
                f"has {there[:60]!r}"
            )
    return found


def _advice(context: str, text: str) -> str:
    first = context.find(text)
    if first < 0:
        return "it is nowhere in the context, so give it as the context spells it"
    return f"its first occurrence is at {first}"


# Scores --------------------------------------------------------------------------------------


def normalized(text: str) -> str:
    """A text as the official scripts compare it: no case, punctuation, articles, extra space.

    Example:

    >>> normalized("The  Eiffel-Tower!")
    'eiffeltower'
    """
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split())


def exact_match(truth: str, predicted: str) -> float:
    """1 if both are the same once `normalized`, else 0."""
    return float(normalized(truth) == normalized(predicted))


def overlap_f1(truth: str, predicted: str) -> float:
    """F1 of the words that both have in common, once `normalized`.

    Where one has no words, 1 if both have none, as version 2.0 has it.

    Example:

    >>> overlap_f1("the blue house", "a house")
    0.6666666666666666
    """
    wanted, given = normalized(truth).split(), normalized(predicted).split()
    if not wanted or not given:
        return float(wanted == given)
    same = sum((collections.Counter(wanted) & collections.Counter(given)).values())
    return 2 * same / (len(wanted) + len(given))


def scores(truths: Sequence[Sequence[str]], predicted: Sequence[str]) -> np.ndarray:
    """Exact match and F1 of each question, the best over its answers, float64 `[n, 2]`.

    As the scripts do, an answer of which nothing is left when it is `normalized` doesn't count, and
    the answer of a question without one is the empty text.

    Args:
        truths: The texts of each question's answers.
        predicted: What a model answered, `""` for no answer.
    """
    rows = []
    for texts, answer in zip(truths, predicted, strict=True):
        golds = [text for text in texts if normalized(text)] or [""]
        rows.append(
            (max(exact_match(g, answer) for g in golds), max(overlap_f1(g, answer) for g in golds))
        )
    return np.array(rows, np.float64).reshape(-1, 2)


def best_threshold(
    truths: Sequence[Sequence[str]], predicted: Sequence[str], margins: np.ndarray
) -> float:
    """How much better than no answer an answer must be, for the highest F1 over all questions.

    The search of `find_best_thresh` in `evaluate-v2.0.py`: every margin that occurs is tried.

    Args:
        truths: The texts of each question's answers, none where there is none.
        predicted: The best answer of each question.
        margins: Its score less that of no answer `[n]`.

    Returns:
        The threshold: an answer is given where its margin is above it.

    Example:

    >>> best_threshold([["x"], []], ["x", "y"], np.array([2.0, 1.0]))
    1.5
    """
    gained = scores(truths, predicted)[:, 1]
    silent = np.array([not any(map(normalized, texts)) for texts in truths], np.float64)
    order = np.argsort(-np.asarray(margins, np.float64), kind="stable")
    sure = np.asarray(margins, np.float64)[order]
    # total[k]: the sum of F1 if the k surest questions are answered and the others are not.
    total = np.cumsum(np.concatenate([[silent.sum()], (gained - silent)[order]]))
    # Questions of one margin are answered together or not at all.
    whole = np.concatenate([[True], sure[1:] < sure[:-1], [True]])
    most = int(np.argmax(np.where(whole, total, -np.inf)))
    if not len(sure):
        return 0.0
    # One above the highest, so that none is answered; one below the least, all.
    if most == 0:
        return float(sure[0] + 1.0)
    return float((sure[most - 1] + sure[most]) / 2 if most < len(sure) else sure[-1] - 1.0)
