"""BLEU, chrF and their like: the numbers of sacreBLEU, of each draw of rows as well."""

import itertools

import numpy as np
import pytest
import sacrebleu

from tfhub_transfer.reporting.standings import Standing
from tfhub_transfer.tasks import rouge
from tfhub_transfer.tasks.generation import measures, scoring
from tfhub_transfer.tasks.generation.scoring import Judge

WORDS = "the a cat cats sat on mat mats . , dog 3.5 (red) run running".split()
NAMES = (
    *("bleu", "chrf", "rouge1", "rouge2", "rougeL", "exact_match"),
    *("distinct_1", "distinct_2", "repetition"),
)


def text(generator: np.random.Generator, most: int) -> str:
    return " ".join(generator.choice(WORDS, generator.integers(0, most)))


def corpus(
    rows: int, most: int, seed: int, several: bool = False
) -> tuple[list[str], list[list[str]]]:
    """Answers that have something of their references."""
    generator = np.random.default_rng(seed)
    references = [
        [text(generator, most) or "the" for _ in range(generator.integers(1, 4) if several else 1)]
        for _ in range(rows)
    ]
    answers = []
    for own in references:
        words = own[0].split()
        kept = [word for word in words if generator.random() < 0.8]
        answers.append(" ".join([*kept, *text(generator, 4).split()]))
    return answers, references


def streams(references: list[list[str]]) -> list[list[str | None]]:
    return list(map(list, itertools.zip_longest(*references)))


@pytest.mark.parametrize("several", [False, True])
@pytest.mark.parametrize(("rows", "most"), [(1, 20), (3, 3), (50, 25), (200, 6)])
def test_numbers_are_those_of_sacrebleu(rows: int, most: int, several: bool) -> None:
    for seed in range(3):
        answers, references = corpus(rows, most, seed, several)
        judge = Judge(references, ("bleu", "chrf"))
        found = judge.score(answers).numbers()
        bleu = sacrebleu.corpus_bleu(answers, streams(references), force=True).score
        chrf = sacrebleu.corpus_chrf(answers, streams(references)).score
        assert found["bleu"] == pytest.approx(bleu, abs=1e-9)
        assert found["chrf"] == pytest.approx(chrf, abs=1e-9)
    theirs = sacrebleu.BLEU(force=True)
    theirs.corpus_score(answers, streams(references))
    assert judge.signatures()["bleu"] == str(theirs.get_signature())
    assert judge.signatures()["chrf"].startswith("nrefs:")


def test_any_draw_of_rows_has_its_own_numbers() -> None:
    answers, references = corpus(30, 12, 0)
    found = Judge(references, ("bleu", "chrf", "rouge1", "repetition")).score(answers)
    generator = np.random.default_rng(1)
    drawn = generator.integers(0, 30, (20, 30))
    weights = np.array([np.bincount(rows, minlength=30) for rows in drawn], float)
    resampled = found.resampled(weights)
    for draw, rows in enumerate(drawn):
        own = [answers[row] for row in rows]
        theirs = [[references[row][0] for row in rows]]
        bleu = sacrebleu.corpus_bleu(own, theirs, force=True).score
        assert resampled["bleu"][draw] == pytest.approx(bleu, abs=1e-9)
        chrf = sacrebleu.corpus_chrf(own, theirs).score
        assert resampled["chrf"][draw] == pytest.approx(chrf, abs=1e-9)
        means = np.mean([rouge.score(*pair) for pair in zip(own, zip(*theirs))], axis=0)
        assert resampled["rouge1"][draw] == pytest.approx(means[0])


def test_rows_alone_are_those_of_sacrebleu() -> None:
    answers, references = corpus(100, 9, 3, several=True)
    found = Judge(references, ("bleu", "chrf")).score(answers)
    pairs = list(zip(answers, references))
    bleu = [sacrebleu.BLEU(effective_order=True).sentence_score(*pair).score for pair in pairs]
    chrf = [sacrebleu.sentence_chrf(*pair).score for pair in pairs]
    np.testing.assert_allclose(found.each("bleu"), bleu, atol=1e-9)
    np.testing.assert_allclose(found.each("chrf"), chrf, atol=1e-9)


def test_some_rows_are_a_corpus_of_their_own() -> None:
    answers, references = corpus(40, 10, 4)
    mine = np.arange(40) % 3 == 0
    part = Judge(references, NAMES).score(answers).of(mine).numbers()
    own = [answers[row] for row in np.flatnonzero(mine)]
    again = Judge([references[row] for row in np.flatnonzero(mine)], NAMES).score(own).numbers()
    for name, value in part.items():
        assert value == pytest.approx(again[name]), name
    assert {*NAMES} - {*part} == {*scoring.VARIETY}


def test_answers_of_nothing_are_worth_nothing() -> None:
    found = Judge([["a b"], ["c", "d e"]], NAMES).score(["", " "])
    numbers = found.numbers()
    assert [numbers[name] for name in NAMES[:6]] == [0.0] * 6
    # Of no words no share is known.
    assert [numbers[name] for name in NAMES[6:]] == [None] * 3
    assert found.each("repetition").tolist() == [0.0, 0.0]
    right = Judge([["a b c d"]] * 2, NAMES).score(["a b c d", " a b c d\n"]).numbers()
    assert right["bleu"] == pytest.approx(100) and right["exact_match"] == 1.0
    assert right["rougeL"] == 1.0


def test_variety_is_counted_over_all_answers() -> None:
    answers = ["I do not know . I do not know .", "I do not know !", "Yes"]
    found = Judge([["x"]] * 3, ("distinct_1", "distinct_2", "repetition")).score(answers)
    numbers = found.numbers()
    # Words: i do not know, twice; once; yes.
    assert numbers["distinct_1"] == pytest.approx(5 / 13)
    # Pairs: i-do do-not not-know, know-i, of 7 + 3.
    assert numbers["distinct_2"] == pytest.approx(4 / 10)
    # Three words: in the first answer i-do-not and do-not-know come again, of 6; 2 in the second.
    assert numbers["repetition"] == pytest.approx(2 / 8)
    assert found.each("repetition").tolist() == pytest.approx([2 / 6, 0, 0])


def test_scripts_without_spaces_have_another_tokenizer() -> None:
    han, kana, thai = "我们今天去公园散步。", "今日は公園へ行きました。", "วันนี้ฉันไปสวน"
    assert scoring.tokenizer_of([[han]] * 3) == "zh"
    assert scoring.tokenizer_of([[kana]]) == scoring.tokenizer_of([[thai]]) == "char"
    assert scoring.tokenizer_of([["Ein Hund, 我"], ["und noch einer"]]) == "13a"
    assert scoring.tokenizer_of([["123 ..."]]) == "13a"
    judge = Judge([[han]], ("bleu",))
    assert "tok:zh" in judge.signatures()["bleu"]
    theirs = sacrebleu.corpus_bleu([han[:-3]], [[han]], tokenize="zh").score
    assert judge.score([han[:-3]]).numbers()["bleu"] == pytest.approx(theirs, abs=1e-9)


def test_intervals_hold_the_number_and_narrow_with_rows() -> None:
    wide = []
    for rows in (40, 640):
        answers, references = corpus(rows, 15, 5)
        found = Judge(references, ("bleu", "chrf", "exact_match")).score(answers)
        bounds = scoring.intervals(found, 0)
        numbers = found.numbers()
        for name in ("bleu", "chrf", "exact_match"):
            low, high = bounds[name]
            assert low < (numbers[name] or 0.0) < high or name == "exact_match"
        wide.append(bounds["bleu"][1] - bounds["bleu"][0])
    # Four times the square root of the rows: a quarter as wide.
    assert 2.5 < wide[0] / wide[1] < 6


def test_two_models_are_compared_row_by_row() -> None:
    answers, references = corpus(100, 15, 6)
    judge = Judge(references, ("bleu", "chrf"))
    whole = judge.score(answers)
    # A little less of a third of the answers: within either interval, and plainly worse.
    worse = [text if row % 3 else " ".join(text.split()[1:]) for row, text in enumerate(answers)]
    found = scoring.compared(Standing("bleu"), (whole, judge.score(worse)), "chrf")
    assert found.interval is not None and found.better is True and not found.alike
    assert found.first - found.second == pytest.approx(found.value)
    assert found.interval[0] < found.value < found.interval[1]
    low, high = scoring.intervals(whole, 0)["chrf"]
    assert low < found.second < high
    again = scoring.compared(Standing("bleu"), (whole, whole), "bleu")
    assert again.alike and again.better is None
    # Where all draws say the same there is no doubt.
    none, every = judge.score([""] * 100), judge.score([own[0] for own in references])
    assert scoring.compared(Standing("chrf"), (none, every), "chrf").better is False
    # Row by row it is what a bootstrap by hand says.
    generator = np.random.default_rng(0)
    drawn = [generator.integers(0, 100, 100) for _ in range(50)]
    by_hand = [
        sacrebleu.corpus_chrf([answers[r] for r in rows], [[references[r][0] for r in rows]]).score
        - sacrebleu.corpus_chrf([worse[r] for r in rows], [[references[r][0] for r in rows]]).score
        for rows in drawn
    ]
    spread = float(np.std(by_hand)) * 4 / (found.interval[1] - found.interval[0])
    assert 0.7 < spread < 1.4


def test_rows_of_predictions_hold_what_two_reports_are_compared_by() -> None:
    answers, references = corpus(30, 12, 7, several=True)
    rows = [
        {"true": own[0] if len(own) == 1 else own, "predicted": given, "rouge1": 0.5}
        for given, own in zip(answers, references)
    ]
    for name in ("bleu", "chrf", "rouge1", "exact_match"):
        found = measures.parts(name, rows)
        assert found is not None
        numbers = Judge(references, (name,)).score(answers).numbers()
        assert found.measure(np.ones((1, 30)))[0] == pytest.approx(numbers[name])
    assert measures.parts("distinct_1", rows) is None
    assert measures.parts("bleu", [*rows, {"true": "a", "predicted": None}]) is None
