"""Reports on texts that were written: numbers, mistakes, rivals, and who wins."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import sacrebleu

from tfhub_transfer.data import Examples
from tfhub_transfer.evaluation.measuring import Report
from tfhub_transfer.reporting import paired
from tfhub_transfer.tasks.generation import measures
from tfhub_transfer.tasks.generation.measures import DIALOGUE, SUMMARY, TRANSLATION, Kind
from tfhub_transfer.tasks.trial import Trial

NOUNS = "cat dog bird house tree river stone cloud".split()
VERBS = "sees likes finds passes".split()


def sentence(row: int, words: int = 1) -> str:
    noun = NOUNS[row % 8]
    return " ".join(
        f"the {noun} {VERBS[row // 8 % 4]} a {NOUNS[(row + k) % 8]}" for k in range(words)
    )


@dataclasses.dataclass
class Writer:
    """A model that gives what it is told to."""

    answers: list[str]
    asked: int = 0

    def predict_text(self, texts: Any) -> list[dict[str, Any]]:
        assert len(texts) == len(self.answers)
        return [{"text": text, "score": 0.0} for text in self.answers]

    def encode_text(self, texts: Sequence[str]) -> np.ndarray:
        """Words counted."""
        self.asked += len(texts)
        words = sorted({word for noun in (*NOUNS, *VERBS, "the", "a") for word in [noun]})
        return np.array([[text.lower().split().count(word) for word in words] for text in texts])


def right(labels: Sequence[object]) -> list[list[str]]:
    return [
        [str(each) for each in label] if isinstance(label, list) else [str(label)]
        for label in labels
    ]


def reported(
    kind: Kind, answers: list[str], test: Examples, train: Examples | None = None
) -> Report:
    report = Report("text-generation", "e", {"test": len(test)}, {}, standing=kind.standing())
    trial = Trial(report, Writer(answers), test, train, 0, lambda: None)  # type: ignore[arg-type, return-value]
    measures.report_on(trial, right, kind)
    return report


def made(rows: range, several: bool = False) -> Examples:
    sources = [sentence(row, 1 + row % 3) for row in rows]
    targets = [text.upper() for text in sources]
    labels = [[text, f"{text} !"] if several else text for text in targets]
    return Examples.from_lists(sources, labels)


def test_a_report_has_the_numbers_of_sacrebleu() -> None:
    test = made(range(40), several=True)
    answers = [own[0].replace("A", "AN", row % 2) for row, own in enumerate(right(test.labels))]
    report = reported(TRANSLATION, answers, test)
    columns = list(map(list, zip(*right(test.labels))))
    assert report.metrics["bleu"] == pytest.approx(sacrebleu.corpus_bleu(answers, columns).score)
    assert report.metrics["chrf"] == pytest.approx(sacrebleu.corpus_chrf(answers, columns).score)
    assert report.metrics["exact_match"] == 0.5
    assert list(report.metrics) == ["bleu", "chrf", "exact_match"]
    assert {*report.intervals} == {*report.metrics}
    for name, (low, high) in report.intervals.items():
        assert low < (report.metrics[name] or 0) < high
    # How it was counted stands beside.
    said = next(
        note
        for note in report.notes
        if note.startswith("bleu is sacreBLEU's, from 0 to 100: nrefs:2|")
    )
    assert "tok:13a" in said and "version:" in said
    report.to_dict()
    report.files()
    assert report.judged_by() == "bleu" and "bleu" in str(report)


def test_mistakes_are_the_answers_with_least_in_common() -> None:
    test = made(range(30))
    answers = [text for (text,) in right(test.labels)]
    answers[3], answers[7], answers[9] = "", answers[7][:-2], " ".join(answers[9].split()[:3])
    report = reported(TRANSLATION, answers, test)
    assert [mistake["row"] for mistake in report.mistakes] == [3, 9, 7]
    assert report.mistakes[0]["badness"] == pytest.approx(100)
    worst = report.mistakes[1]
    chrf = sacrebleu.sentence_chrf(answers[9], right(test.labels)[9]).score
    assert worst["badness"] == pytest.approx(100 - chrf)
    assert worst["text"] == test.texts[0][9] and worst["predicted"] == answers[9]
    assert worst["true"] == test.labels[9]


def test_numbers_by_length_are_those_of_the_group() -> None:
    test = made(range(60))
    answers = [text.replace("CAT", "COW") for (text,) in right(test.labels)]
    report = reported(TRANSLATION, answers, test)
    [found] = report.slices
    assert found["by"] == "length of the text"
    assert sum(int(row["count"] or 0) for row in found["rows"]) == 60
    first = found["rows"][0]
    mine = [row for row, text in enumerate(test.texts[0]) if len(text.split()) <= 5]
    assert first["group"] == "up to 5 words" and first["count"] == len(mine)
    theirs = sacrebleu.corpus_bleu(
        [answers[row] for row in mine], [[test.labels[row] for row in mine]]
    ).score
    assert first["bleu"] == pytest.approx(theirs)
    assert first["low"] < first["bleu"] < first["high"]  # type: ignore[operator]


def test_a_baseline_that_wins_is_said_to() -> None:
    train, test = made(range(96)), made(range(96, 128))
    # Sentences of the test are those of the training; the model's answers lack a word.
    poor = [" ".join(text.split()[:-1]) for (text,) in right(test.labels)]
    report = reported(TRANSLATION, poor, test, train)
    assert list(report.baselines) == ["copy", "nearest"]
    assert report.baselines["nearest"]["bleu"] == pytest.approx(100)
    assert report.baselines["copy"]["bleu"] == 0.0
    [won] = report.warnings
    assert won.startswith("nearest training example WINS: bleu ") and "95 %" in won
    gap = report.metrics["bleu"] - 100.0  # type: ignore[operator]
    assert f"against 100.000, a difference of {gap:.3f} (" in won
    lost = next(note for note in report.notes if note.startswith("copying the text"))
    assert "this model wins" in lost
    # It is said once, beside the one sentence that compares, which is about the nearest one.
    assert not report.beaten() and not any("nearest" in note for note in report.notes)
    assert "nearest training example" in (report.verdict() or "")


def test_chance_is_no_victory() -> None:
    test = made(range(40))
    answers = [text for (text,) in right(test.labels)]
    # Each lacks a word of as many rows.
    mine = [" ".join(text.split()[:-1]) if row % 2 else text for row, text in enumerate(answers)]
    copied = Examples.from_lists(
        [text if row % 2 else " ".join(text.split()[:-1]) for row, text in enumerate(answers)],
        answers,
    )
    report = reported(TRANSLATION, mine, copied)
    note = next(note for note in report.notes if note.startswith("copying"))
    assert "no clear difference" in note
    same = reported(TRANSLATION, list(copied.texts[0]), copied)
    assert any("all answers are as good" in note for note in same.notes)
    few = reported(TRANSLATION, mine[:5], copied[:5])
    assert any("too few examples to tell" in note for note in few.notes)


def test_documents_have_first_sentences_for_a_rival() -> None:
    said = [sentence(row).capitalize() for row in range(21)]
    sources = [f"{said[row]}. It rains. {said[row + 1]}." for row in range(20)]
    test = Examples.from_lists(sources, [f"{sentence(row)}." for row in range(20)])
    report = reported(SUMMARY, [sentence(row + 2) for row in range(20)], test)
    assert list(report.baselines) == ["copy", "lead", "central"]
    learned = reported(SUMMARY, [sentence(row + 2) for row in range(20)], test, test)
    assert list(learned.baselines) == ["copy", "lead", "central", "nearest", "extractive"]
    assert learned.baselines["extractive"]["rouge1"] == 1.0  # it saw that the first one is it
    few = reported(SUMMARY, [sentence(row + 2) for row in range(20)], test, test[:9])
    assert "extractive" not in few.baselines
    assert list(report.metrics) == ["rouge1", "rouge2", "rougeL", "chrf"]
    assert report.baselines["lead"]["rouge1"] == 1.0
    assert any(note.startswith("first sentences WINS: rouge1 ") for note in report.warnings)


def test_answers_in_dialogues_are_measured_for_variety() -> None:
    turns = [f"Hello!\n{sentence(row)}" for row in range(25)]
    test = Examples.from_lists(turns, [sentence(row) for row in range(25)])
    report = reported(DIALOGUE, ["i do not know"] * 25, test)
    assert report.metrics["distinct_1"] == pytest.approx(4 / 100)
    assert report.metrics["distinct_2"] == pytest.approx(3 / 75)
    assert report.metrics["repetition"] == 0.0
    assert "distinct_1" not in report.intervals
    # The last turn is the right answer here.
    assert report.baselines["last_turn"]["bleu"] == pytest.approx(100)
    assert any(note.startswith("repeating the last turn WINS") for note in report.warnings)
    assert report.standing.less_is_better("repetition")


def test_of_many_training_examples_some_are_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measures, "_MOST_KNOWN", 10)
    monkeypatch.setattr(measures, "_MOST_LEARNED", 15)
    train, test = made(range(32)), made(range(32, 54))
    answers = [text for (text,) in right(test.labels)]
    report = reported(TRANSLATION, answers, test, train)
    assert "baseline nearest: of 32 training examples 10 were drawn" in report.notes
    assert set(report.baselines) == {"copy", "nearest"}
    report = reported(SUMMARY, answers, test, train)
    assert "baseline extractive: of 32 training examples 15 were drawn" in report.notes


def test_two_reports_are_compared_by_their_rows() -> None:
    test = made(range(40))
    answers = [text for (text,) in right(test.labels)]
    worse = [" ".join(text.split()[:-1]) if row % 2 else text for row, text in enumerate(answers)]
    first, second = (reported(TRANSLATION, each, test) for each in (answers, worse))
    rows = first.predictions, second.predictions
    assert rows[0][0]["true"] == test.labels[0] and rows[1][1]["predicted"] == worse[1]
    assert rows[1][1]["sentence_bleu"] < 100.0  # type: ignore[operator]
    found = paired.difference(first.standing, (first.metrics, second.metrics), rows)
    assert found is not None and found.metric == "bleu" and found.better is True
    assert found.interval is not None and found.interval[0] > 0
