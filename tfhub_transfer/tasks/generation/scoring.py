"""What texts are worth beside those that people wrote: BLEU, chrF, ROUGE, and how varied they are.

BLEU (Papineni et al. 2002, https://aclanthology.org/P02-1040) and chrF (Popović 2015,
https://aclanthology.org/W15-3049) are those of `sacrebleu`, from 0 to 100 as everybody has them;
all other numbers are from 0 to 1. They are numbers of a whole corpus, and no means of its rows:
what is kept of each row are counts, of which any draw of rows has its own BLEU in no time.
"""

import collections
import dataclasses
import itertools
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF

from tfhub_transfer.reporting import metrics, paired
from tfhub_transfer.reporting.metrics import Numbers, Resampled
from tfhub_transfer.reporting.standings import Standing
from tfhub_transfer.tasks import rouge

Texts = Sequence[str]

# Numbers of all answers together, which no draw of rows has: it holds some of them twice.
VARIETY = ("distinct_1", "distinct_2")
# A group of so many words that was there before in the same answer repeats it; those of two words
# come again in good texts, too.
_REPEATED = 3
_ORDERS = 4
_BETA = 2.0
_HAN = r"\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
# Thai to Lao and Khmer, kana, and Han: scripts that write no spaces between words.
_UNSPACED = re.compile(rf"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff{_HAN}]")
_OF_HAN = re.compile(f"[{_HAN}]")
_LETTER = re.compile(r"[^\W\d_]")


@dataclasses.dataclass(frozen=True)
class Scored:
    """Answers with what each contributes to each number.

    Attributes:
        parts: By name of the number, counts `[n, k]` of which it is made.
        fixed: Numbers of all answers together.
    """

    parts: Mapping[str, np.ndarray]
    fixed: Mapping[str, float | None] = dataclasses.field(default_factory=dict)

    @property
    def count(self) -> int:
        """How many answers there are."""
        return len(next(iter(self.parts.values())))

    def resampled(self, weights: np.ndarray) -> Resampled:
        """The numbers, `[draws]` each, for weights of rows `[draws, n]`; NaN where there is none.

        Args:
            weights: How often each row counts.
        """
        return {name: _of_sums(name, weights @ part) for name, part in self.parts.items()}

    def numbers(self) -> Numbers:
        """The numbers of all rows, each once."""
        whole = self.resampled(np.ones((1, self.count)))
        found: Numbers = {name: float(value[0]) for name, value in whole.items()}
        known = {n: v if v is not None and np.isfinite(v) else None for n, v in found.items()}
        return {**known, **self.fixed}

    def each(self, name: str) -> np.ndarray:
        """A number of every row alone `[n]`, 0 where there is none.

        BLEU is that of sentences then, which leaves out groups of more words than there are.

        Args:
            name: Of the number, one of `parts`.
        """
        values = (
            bleu(self.parts[name], True) if name == "bleu" else _of_sums(name, self.parts[name])
        )
        known: np.ndarray = np.nan_to_num(values)
        return known

    def of(self, rows: np.ndarray) -> "Scored":
        """Some of the answers, without numbers of all.

        Args:
            rows: Which `[n]`, bool.
        """
        return Scored({name: part[rows] for name, part in self.parts.items()})


class Judge:
    """Scores answers to the same questions, of as many models as there are.

    BLEU tells words apart as its usual tokenizer `13a` does; references in Chinese by `zh`, those
    in other scripts without spaces, such as Japanese or Thai, sign by sign. `signatures` says how.

    Args:
        references: The texts that are right, one or more for each row.
        names: Numbers: `bleu`, `chrf`, `rouge1`, `rouge2`, `rougeL`, `exact_match`, `distinct_1`,
            `distinct_2` (Li et al. 2016, the share of different words and pairs of words among all)
            and `repetition` (the share of three words in a row that were there before in the same
            answer).

    Example:

    >>> judge = Judge([["the cat sat on the mat"]], ("bleu", "chrf", "exact_match"))
    >>> found = judge.score(["the cat sat on a mat"]).numbers()
    >>> {name: round(value, 1) for name, value in found.items()}
    {'bleu': 53.7, 'chrf': 66.0, 'exact_match': 0.0}
    """

    def __init__(self, references: Sequence[Texts], names: Sequence[str]) -> None:
        self.references, self.names = [list(own) for own in references], tuple(names)
        # Rows have unlike numbers of references, and sacreBLEU takes as many lists as the most.
        columns = list(map(list, itertools.zip_longest(*self.references)))
        self._sacre: dict[str, Any] = {}
        if "bleu" in names:
            split = tokenizer_of(self.references)
            self._sacre["bleu"] = _Bleu(tokenize=split, force=True, references=columns)
        if "chrf" in names:
            self._sacre["chrf"] = _Chrf(references=columns)

    def signatures(self) -> dict[str, str]:
        """What says how sacreBLEU counted, by name of the number."""
        return {name: str(own.get_signature()) for name, own in self._sacre.items()}

    def score(self, answers: Texts) -> Scored:
        """What answers are worth.

        Args:
            answers: As many as there are rows of references.
        """
        parts: dict[str, np.ndarray] = {}
        rouges = [name for name in self.names if name in rouge.NAMES]
        if rouges:
            pairs = zip(answers, self.references, strict=True)
            found = np.array([rouge.score(*pair) for pair in pairs])
            parts |= {name: _means(found[:, rouge.NAMES.index(name)]) for name in rouges}
        for name, own in self._sacre.items():
            own.corpus_score(list(answers), None)
            parts[name] = np.array(own.rows, "float64")
        if "exact_match" in self.names:
            pairs = zip(answers, self.references, strict=True)
            parts["exact_match"] = _means(np.array([is_exact(*pair) for pair in pairs], "float64"))
        if "repetition" in self.names:
            parts["repetition"] = np.array([_repeated(rouge.plain_words(text)) for text in answers])
        # In the order that they were asked for.
        ordered = {name: parts[name] for name in self.names if name in parts}
        return Scored(ordered, {n: _distinct(answers, n) for n in self.names if n in VARIETY})


def is_exact(answer: str, references: Texts) -> bool:
    """Whether an answer is one of the references, but for spaces around it.

    Args:
        answer: What was given.
        references: What is right.
    """
    return answer.strip() in {text.strip() for text in references}


def tokenizer_of(references: Sequence[Texts]) -> str:
    """Which of sacreBLEU's tokenizers suits texts: `13a`, `zh` or `char`.

    Example:

    >>> tokenizer_of([["Ein Hund."]]), tokenizer_of([["我爱猫。"]]), tokenizer_of([["猫が好き。"]])
    ('13a', 'zh', 'char')
    """
    # A thousand rows tell.
    text = "".join(own[0] for own in references[:: max(1, len(references) // 1000)])
    unspaced = len(_UNSPACED.findall(text))
    if 2 * unspaced <= len(_LETTER.findall(text)):
        return "13a"
    # Japanese has kana between.
    return "zh" if 10 * len(_OF_HAN.findall(text)) > 9 * unspaced else "char"


def intervals(found: Scored, seed: int) -> dict[str, tuple[float, float]]:
    """95 % intervals over rows; see `metrics.intervals`.

    Args:
        found: What answers are worth.
        seed: Seed of the bootstrap.
    """
    return metrics.intervals(found.resampled, found.count, seed, {"exact_match": found.count})


def compared(
    standing: Standing, found: tuple[Scored, Scored], name: str, seed: int = 0
) -> paired.Difference:
    """By how much one model is better than another, and whether other rows would say so too.

    The interval is that of the paired bootstrap (Koehn 2004, https://aclanthology.org/W04-3250):
    the same rows are drawn for both.

    Args:
        standing: How the task stands in reports.
        found: What the answers of both to the same questions are worth.
        name: Of the number.
        seed: Seed of the bootstrap.
    """
    parts = tuple(each.parts[name] for each in found)

    def resampled(weights: np.ndarray) -> Resampled:
        first, second = (_of_sums(name, weights @ part) for part in parts)
        return {"difference": first - second}

    first, second = (each.numbers()[name] or 0.0 for each in found)
    interval = metrics.intervals(resampled, found[0].count, seed).get("difference")
    alike = bool(np.array_equal(parts[0], parts[1]))
    if interval is None and not alike and found[0].count >= metrics.LEAST_ROWS:
        # All draws agree, as where one has every row right and the other none.
        interval = (first - second, first - second)
    return paired.Difference(name, first, second, interval, alike, standing)


class _Bleu(BLEU):  # type: ignore[misc,unused-ignore]
    """Keeps what it would add up: of each row lengths, right groups of words, and all of them."""

    def _aggregate_and_compute(self, stats: Any) -> Any:
        self.rows = stats
        return super()._aggregate_and_compute(stats)


class _Chrf(CHRF):  # type: ignore[misc,unused-ignore]
    """Keeps what it would add up: of each row, of 1 to 6 characters, answer, reference, both."""

    def _aggregate_and_compute(self, stats: Any) -> Any:
        self.rows = stats
        return super()._aggregate_and_compute(stats)


# Counts to numbers --------------------------------------------------------------------------------


def _of_sums(name: str, sums: np.ndarray) -> np.ndarray:
    if name == "bleu":
        return bleu(sums)
    if name == "chrf":
        return chrf(sums)
    return _ratio(sums[:, 0], sums[:, 1], np.nan)


def bleu(sums: np.ndarray, by_row: bool = False) -> np.ndarray:
    """BLEU `[n]` of counts, with exponential smoothing, as sacreBLEU has it.

    Args:
        sums: Words of the answer and of the reference, right groups of 1 to 4 words, and all
            groups, `[n, 10]`.
        by_row: Whether groups of more words than there are don't count, as suits single sentences.
    """
    own, other = sums[:, 0], sums[:, 1]
    right, total = sums[:, 2 : 2 + _ORDERS], sums[:, 2 + _ORDERS :]
    there = total > 0
    missed = (right == 0) & there
    # Each order without anything right counts half as much as the one before.
    halved = total * 2.0 ** np.cumsum(missed, axis=1)
    precision = 100 * np.where(missed, _ratio(1.0, halved), _ratio(right, total))
    logs = np.log(np.where(there, precision, 1.0)).sum(axis=1)
    orders = there.sum(axis=1) if by_row else np.full(len(sums), _ORDERS)
    known = right.any(axis=1) & (by_row | there.all(axis=1))
    brevity = np.where(own < other, np.exp(1 - _ratio(other, own)), 1.0)
    return np.where(known, brevity * np.exp(_ratio(logs, orders)), 0.0)


def chrf(sums: np.ndarray) -> np.ndarray:
    """chrF2 `[n]` of counts, as sacreBLEU has it.

    Args:
        sums: For 1 to 6 characters, how many groups of them the answer has, the reference, and
            both, `[n, 18]`.
    """
    own, other, both = (sums[:, place::3] for place in range(3))
    there = (own > 0) & (other > 0)
    orders = there.sum(axis=1)
    precision = _ratio((_ratio(both, own) * there).sum(axis=1), orders)
    recall = _ratio((_ratio(both, other) * there).sum(axis=1), orders)
    factor = _BETA**2
    return 100 * _ratio((1 + factor) * precision * recall, factor * precision + recall)


def _ratio(top: np.ndarray | float, below: np.ndarray, empty: float = 0.0) -> np.ndarray:
    """A quotient, and `empty` where there is nothing to divide by."""
    some = below > 0
    return np.where(some, top / np.where(some, below, 1.0), empty)


def _means(values: np.ndarray) -> np.ndarray:
    """What rows contribute to a mean: a value, and one row."""
    return np.stack([values, np.ones(len(values))], axis=1)


def _repeated(words: Texts) -> tuple[float, float]:
    """Groups of words that were there before, and all groups."""
    groups = list(zip(*(words[start:] for start in range(_REPEATED))))
    return float(len(groups) - len({*groups})), float(len(groups))


def _distinct(answers: Texts, name: str) -> float | None:
    """The share of different groups of words among all of all answers."""
    order = int(name[-1])
    counts: collections.Counter[tuple[str, ...]] = collections.Counter()
    for text in answers:
        words = rouge.plain_words(text)
        counts.update(zip(*(words[start:] for start in range(order))))
    return len(counts) / counts.total() if counts else None
