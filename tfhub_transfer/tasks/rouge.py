"""ROUGE of summaries, and which sentences of a document make the best one.

The numbers are those of the package `rouge-score`, a port of the original (Lin 2004,
https://aclanthology.org/W04-1013): F1 over words in small letters, the longer ones stemmed.
"""

import collections
import functools
import re
from collections.abc import Sequence

import numpy as np
from nltk.stem.porter import PorterStemmer
from rouge_score import rouge_scorer, tokenize, tokenizers

NAMES = ("rouge1", "rouge2", "rougeL")
_ENGLISH = re.compile(r"[a-zA-Z]")
_LETTER = re.compile(r"[^\W\d_]")
# One sign of scripts without spaces, or a run of letters or digits.
_WORD = re.compile(
    r"[\u0e00-\u0eff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]|"
    r"[^\W_\u0e00-\u0eff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]+"
)


class _Stemmer:
    """Porter's stemmer, which is asked for the same words again and again."""

    def __init__(self) -> None:
        self.stem = functools.lru_cache(1 << 16)(PorterStemmer().stem)


class Tokenizer(tokenizers.Tokenizer):
    """The tokenizer of `rouge-score`, which knows a to z and digits only, and one beside it.

    The other splits texts of which most letters aren't among a to z, and would lose them all: into
    words, and into signs where a script writes no spaces.
    """

    def __init__(self) -> None:
        self._stemmer = _Stemmer()

    def tokenize(self, text: str) -> list[str]:
        """A text to its words."""
        if 2 * len(_ENGLISH.findall(text)) >= len(_LETTER.findall(text)):
            return list(tokenize.tokenize(text, self._stemmer))
        return plain_words(text)


def plain_words(text: str) -> list[str]:
    """A text to its words in small letters, nothing taken off them; signs that are letters alone.

    Example:

    >>> plain_words("Two cats: 我爱猫")
    ['two', 'cats', '我', '爱', '猫']
    """
    return _WORD.findall(text.lower())


_TOKENIZER = Tokenizer()
_SCORER = rouge_scorer.RougeScorer(NAMES, tokenizer=_TOKENIZER)


def score(summary: str, references: Sequence[str]) -> list[float]:
    """`rouge1`, `rouge2` and `rougeL` F1 of a summary; of several references the best counts.

    Args:
        summary: What a model chose.
        references: What people wrote.

    Example:

    >>> score("the cat sat", ["a cat sat", "the dog"])
    [0.6666666666666666, 0.5, 0.6666666666666666]
    """
    found = _SCORER.score_multi(references, summary)
    return [found[name].fmeasure for name in NAMES]


def own_scores(sentences: Sequence[str], references: Sequence[str]) -> np.ndarray:
    """Mean of ROUGE-1 and ROUGE-2 F1 of each sentence alone `[sentences]`, at the best reference.

    Args:
        sentences: The sentences of a document.
        references: Its summaries.
    """
    counted = [_Counts(sentences, reference) for reference in references]
    best: np.ndarray = np.max([each.adding(each.none) for each in counted], axis=0)
    return best


def oracle(sentences: Sequence[str], references: Sequence[str]) -> list[int]:
    """The sentences whose summary comes nearest to a reference, found greedily, in their order.

    The sentence that raises the mean of ROUGE-1 and ROUGE-2 F1 most is added until none raises it
    (Nallapati et al. 2017, https://arxiv.org/abs/1611.04230); pairs of words are counted inside
    sentences. Of several references the one that can be met best counts. Empty where no sentence
    shares a word with a reference.

    Args:
        sentences: The sentences of a document.
        references: Its summaries, one or more.

    Example:

    >>> oracle(["It rained.", "The cat sat on a mat.", "Nobody came."], ["a cat on a mat"])
    [1]
    """
    found = [_Counts(sentences, reference).greedy() for reference in references]
    return sorted(max(found, key=lambda pair: pair[0])[1])


class _Counts:
    """How often each sentence has the words and pairs of words of one reference.

    Only those can raise a score, so a document of thousands of sentences is a small matrix.
    """

    def __init__(self, sentences: Sequence[str], reference: str) -> None:
        words = _TOKENIZER.tokenize(reference)
        own = [_TOKENIZER.tokenize(sentence) for sentence in sentences]
        # For n = 1, 2: counts [sentences, grams], of the reference [grams], lengths [sentences].
        self.grams = [_gram_counts(own, words, n) for n in (1, 2)]
        self.none = np.zeros(len(own), bool)

    def adding(self, chosen: np.ndarray) -> np.ndarray:
        """The score of the chosen together with each sentence, `[sentences]`."""
        total = np.zeros(len(chosen))
        for counts, wanted, lengths in self.grams:
            hits = np.minimum(counts[chosen].sum(0) + counts, wanted).sum(1)
            size = lengths[chosen].sum() + lengths + wanted.sum()
            total += hits / np.maximum(size, 1)  # half of F1 = 2 hits / size
        return total

    def greedy(self) -> tuple[float, list[int]]:
        """The score that adding sentence by sentence comes to, and the sentences."""
        chosen, best = self.none.copy(), 0.0
        while not chosen.all():
            scores = np.where(chosen, -1.0, self.adding(chosen))
            # Rounding alone is no gain.
            if scores.max() <= best + 1e-12:
                break
            best = float(scores.max())
            chosen[scores.argmax()] = True
        return best, np.flatnonzero(chosen).tolist()


def _gram_counts(
    sentences: list[list[str]], reference: list[str], n: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    wanted = collections.Counter(_grams(reference, n))
    place = {gram: i for i, gram in enumerate(wanted)}
    counts = np.zeros((len(sentences), len(wanted)))
    for row, words in enumerate(sentences):
        for gram in _grams(words, n):
            if gram in place:
                counts[row, place[gram]] += 1
    lengths = np.array([max(0, len(words) - n + 1) for words in sentences], float)
    return counts, np.array(list(wanted.values()), float), lengths


def _grams(words: list[str], n: int) -> list[tuple[str, ...]]:
    return list(zip(*(words[i:] for i in range(n))))
