"""ROUGE, and the sentences that would score best."""

import itertools

import numpy as np
import pytest
from rouge_score import rouge_scorer

from tfhub_transfer.tasks import rouge

WORDS = "the cats sat on mats running ran quickly café 3 x".split()


def text(generator: np.random.Generator, most: int) -> str:
    return " ".join(generator.choice(WORDS, generator.integers(1, most)))


def test_scores_are_those_of_rouge_score() -> None:
    generator = np.random.default_rng(0)
    scorer = rouge_scorer.RougeScorer(rouge.NAMES, use_stemmer=True)
    for _ in range(100):
        made, references = text(generator, 20), [text(generator, 12) for _ in range(3)]
        theirs = scorer.score_multi(references, made)
        assert rouge.score(made, references) == [theirs[n].fmeasure for n in rouge.NAMES]


def test_own_scores_are_those_of_each_sentence_alone() -> None:
    generator = np.random.default_rng(1)
    for _ in range(50):
        sentences = [text(generator, 9) for _ in range(6)]
        reference = text(generator, 12)
        wanted = [np.mean(rouge.score(s, [reference])[:2]) for s in sentences]
        np.testing.assert_allclose(rouge.own_scores(sentences, [reference]), wanted)


def test_the_oracle_is_seldom_worse_than_the_best_of_all_subsets() -> None:
    generator = np.random.default_rng(2)
    gaps = []
    for _ in range(30):
        # A sign between sentences keeps pairs of words inside them: "x" is no word of references.
        sentences = [text(generator, 6).replace("x", "3") for _ in range(6)]
        reference = text(generator, 10).replace("x", "3")

        def value(chosen: list[int], own: list[str] = sentences, ref: str = reference) -> float:
            return float(np.mean([_f1(own, ref, chosen, n) for n in (1, 2)]))

        subsets = [list(c) for n in range(1, 7) for c in itertools.combinations(range(6), n)]
        best, single = max(map(value, subsets)), max(value([i]) for i in range(6))
        found = value(rouge.oracle(sentences, [reference]))
        assert single - 1e-9 <= found <= best + 1e-9
        gaps.append(best - found)
    assert np.mean(gaps) < 0.02


def _f1(sentences: list[str], reference: str, chosen: list[int], n: int) -> float:
    """F1 of the chosen sentences, pairs of words counted inside sentences: by hand."""
    tokens = rouge.Tokenizer().tokenize

    def grams(words: list[str]) -> list[tuple[str, ...]]:
        return list(zip(*(words[i:] for i in range(n))))

    made = [g for i in chosen for g in grams(tokens(sentences[i]))]
    wanted = grams(tokens(reference))
    hits = sum(min(made.count(g), wanted.count(g)) for g in set(wanted))
    return 2 * hits / max(1, len(made) + len(wanted))


def test_the_oracle_stops_when_nothing_is_gained() -> None:
    sentences = ["A cat sat.", "It rained a lot in town.", "The mat was red."]
    assert rouge.oracle(sentences, ["the cat sat, the mat was red"]) == [0, 2]
    assert rouge.oracle(sentences, ["nothing alike", "it rained"]) == [1]
    assert rouge.oracle(sentences, ["zebra"]) == []


def test_a_document_of_thousands_of_sentences_has_an_oracle() -> None:
    generator = np.random.default_rng(3)
    sentences = [text(generator, 20) for _ in range(3000)]
    wanted = [7, 1500, 2999]
    for place in wanted:
        sentences[place] = f"unique{place} and other words{place} stand here{place}"
    assert rouge.oracle(sentences, [". ".join(sentences[i] for i in wanted)]) == wanted


def test_other_scripts_are_measured_too() -> None:
    assert rouge.score("我爱猫", ["我爱狗"])[0] == pytest.approx(2 / 3)
    assert rouge.score("кот сидел дома", ["кот сидел"])[0] == pytest.approx(0.8)
    assert rouge.oracle(["我爱猫。", "下雨了。"], ["下雨"]) == [1]
