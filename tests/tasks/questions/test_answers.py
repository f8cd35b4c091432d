"""Answers: their shapes, checks, official scores, the threshold; files that hold them."""

import collections
import json
import random
import re
import string
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tfhub_transfer as tt
from tfhub_transfer.reporting import metrics
from tfhub_transfer.tasks.questions import answers
from tfhub_transfer.tasks.questions import measures as answer_evaluation

CONTEXT = "In Rome, the Colosseum cost €27 — naïve 東京 builders."


def _official_normalized(text: str) -> str:
    """As `normalize_answer` of the official scripts is described: step after step."""
    text = "".join(c for c in text.lower() if c not in set(string.punctuation))
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", text).split())


def _official_f1(truth: str, made: str) -> float:
    """F1 by precision and recall of a bag of words, with version 2.0's rule for empty ones."""
    wanted, given = _official_normalized(truth).split(), _official_normalized(made).split()
    same = sum((collections.Counter(wanted) & collections.Counter(given)).values())
    if not wanted or not given:
        return float(wanted == given)
    if not same:
        return 0.0
    precision, recall = same / len(given), same / len(wanted)
    return 2 * precision * recall / (precision + recall)


def test_scores_are_those_of_the_official_script_on_any_texts() -> None:
    generator = random.Random(0)
    parts = ["the", "The", "a", "an", "then", "cat", "Cat's", "-", "é", " ", "  ", "u.s.", "2", ","]

    def text() -> str:
        joined = generator.choice(["", " "]).join(
            generator.choices(parts, k=generator.randint(0, 5))
        )
        return joined

    for _ in range(500):
        truths, made = [text() for _ in range(generator.randint(0, 3))], text()
        golds = [t for t in truths if _official_normalized(t)] or [""]
        exact = max(float(_official_normalized(g) == _official_normalized(made)) for g in golds)
        f1 = max(_official_f1(g, made) for g in golds)
        assert answers.scores([truths], [made])[0] == pytest.approx([exact, f1])


def test_the_threshold_is_the_best_of_all() -> None:
    generator = np.random.default_rng(0)
    for _ in range(50):
        truths = [["a b"] if x else [] for x in generator.random(12) < 0.6]
        made = generator.choice(["a b", "a", "c"], 12).tolist()
        margins = np.round(generator.normal(size=12), 1)  # with ties
        best = max(_f1_above(t, truths, made, margins) for t in [*margins, margins.min() - 1])
        found = answers.best_threshold(truths, made, margins)
        assert _f1_above(found, truths, made, margins) == pytest.approx(best)


def test_what_answers_none_is_above_what_rounding_does() -> None:
    """Exports and scaled models have margins that are off in the last digit."""
    assert answers.best_threshold([[], []], ["x", "y"], np.array([2.0, 1.0])) == 3.0
    assert answers.best_threshold([["x"], ["y"]], ["x", "y"], np.array([2.0, 1.0])) == 0.0


def _f1_above(threshold: float, truths: Any, made: list[str], margins: np.ndarray) -> float:
    given = [answer if x > threshold else "" for answer, x in zip(made, margins)]
    return float(answers.scores(truths, given)[:, 1].mean())


@pytest.mark.parametrize(
    "label",
    [
        [{"text": "Rome", "answer_start": 3}, {"text": "€27", "answer_start": 28}],
        {"text": ["Rome", "€27"], "answer_start": [3, 28]},
        {"text": np.array([b"Rome", "€27".encode()]), "answer_start": np.array([3, 28])},
    ],
)
def test_answers_come_in_either_shape(label: Any) -> None:
    assert answers.checked(label, CONTEXT, "row 1") == [("Rome", 3), ("€27", 28)]


@pytest.mark.parametrize("label", [[], {"text": [], "answer_start": []}])
def test_no_answer_is_an_empty_list(label: Any) -> None:
    assert answers.of_label(label) == []


@pytest.mark.parametrize(
    ("label", "message"),
    [
        (
            [{"text": "Rome", "answer_start": 4}],
            "row 7: the answer isn't at its offset.*at 3.*'ome,",
        ),
        ([{"text": "Rome", "answer_start": -4}], "isn't at its offset"),
        ([{"text": "Paris", "answer_start": 3}], "nowhere in the context.*'Paris' at 3.*'Rome,'"),
        ([{"text": " ", "answer_start": 2}], "an answer has no text"),
        ("Rome", "row 7: expected answers as"),
        ({"text": "Rome", "answer_start": 3}, "expected answers as"),
        ({"text": ["Rome"], "answer_start": []}, "expected answers as"),
        ([{"text": "Rome"}], "expected answers as"),
        ([{"text": "Rome", "answer_start": "x"}], "expected answers as"),
        ([{"text": 3, "answer_start": 3}], "expected answers as"),
        (None, "expected answers as"),
    ],
)
def test_bad_answers_are_named(label: Any, message: str) -> None:
    with pytest.raises(tt.InputError, match=message):
        answers.checked(label, CONTEXT, "row 7")


def test_numbers_of_a_report() -> None:
    truths, made = [["the cat"], ["dog", "a dog"], [], []], ["Cat", "red dog", "", "fish"]
    found = answer_evaluation.measure(truths, made)
    assert found == {
        "exact_match": 0.5,
        "f1": pytest.approx((1 + 2 / 3 + 1) / 4),
        "answerable_exact_match": 0.5,
        "answerable_f1": pytest.approx((1 + 2 / 3) / 2),
        "unanswerable": 0.5,
    }
    intervals = answer_evaluation.intervals(truths, made, seed=0)
    shares = {"exact_match": 4, "answerable_exact_match": 2, "unanswerable": 2}
    assert intervals == {name: metrics.wilson(0.5, count) for name, count in shares.items()}
    assert all(low <= found[name] <= high for name, (low, high) in intervals.items())
    assert set(answer_evaluation.measure(truths[:2], made[:2])) == {"exact_match", "f1"}


def test_the_baseline_is_a_sentence_with_the_questions_words() -> None:
    context = "Anna lives in Rome. Ben, who is a cook, lives in Paris! Who knows?"
    found = answer_evaluation.likeliest_sentences(["In which town is Ben a cook?"], [context])
    assert found == ["Ben, who is a cook, lives in Paris!"]
    assert answer_evaluation.likeliest_sentences(["Why?"], [""]) == [""]


def test_the_surest_wrong_answers_are_mistakes() -> None:
    found = [{"answer": a, "score": s} for a, s in (("x", 0.2), ("y", 0.9), ("", 0.5), ("b", 1.0))]
    rows = answer_evaluation.mistakes("pqrs", [["k"], ["k"], ["k", "k"], ["b c"]], found, most=2)
    assert [(r["row"], r["predicted"], r["true"]) for r in rows] == [
        (1, "y", ["k"]),
        (2, "(no answer)", ["k"]),
    ]


def test_questions_on_one_context_stay_together() -> None:
    contexts = [f"context {i // 4}" for i in range(80)]
    labels: list[Any] = [[] if i % 2 else [{"text": "x", "answer_start": 0}] for i in range(80)]
    rows = tt.data.Examples.from_lists([f"question {i}" for i in range(80)], labels, contexts)
    parts = tt.data.split(rows, seed=1, together="text_b")
    seen = [set(part.texts[1]) for part in parts]
    assert sum(map(len, seen)) == 20 and sum(map(len, parts)) == 80
    assert "labels: answers; 40 of 80 questions have none" in tt.data.profile(rows)


# Files ---------------------------------------------------------------------------------------

NESTED = {
    "version": "v2.0",
    "data": [
        {
            "title": "Rome",
            "paragraphs": [
                {
                    "context": "Rome is old.",
                    "qas": [
                        {
                            "id": "1",
                            "question": "What is old?",
                            "answers": [{"text": "Rome", "answer_start": 0}],
                            "is_impossible": False,
                        },
                        {
                            "id": "2",
                            "question": "What is new?",
                            "answers": [],
                            "plausible_answers": [{"text": "Rome", "answer_start": 0}],
                            "is_impossible": True,
                        },
                    ],
                }
            ],
        }
    ],
}
COLUMNS = {"text": "question", "text_pair": "context", "label": "answers"}


@pytest.mark.parametrize("indent", [None, 1])
def test_files_of_squad_are_read(tmp_path: Path, indent: int | None) -> None:
    path = tmp_path / "dev-v2.0.json"
    path.write_text(json.dumps(NESTED, indent=indent), encoding="utf-8")
    read = tt.data.read(path, **COLUMNS)
    assert read.texts == (["What is old?", "What is new?"], ["Rome is old."] * 2)
    assert read.labels == [[{"text": "Rome", "answer_start": 0}], []]
    assert read.columns["id"] == ["1", "2"] and read.columns["title"] == ["Rome"] * 2


def test_json_lines_in_a_json_file_stay_lines(tmp_path: Path) -> None:
    path = tmp_path / "rows.json"
    path.write_text('\n{"text": "a", "label": "x"}\n{"text": "b", "label": "y"}\n')
    assert tt.data.read(path).labels == ["x", "y"]
    path.write_text('{"text": "a", "label": "x"}\n["b"]\n')
    with pytest.raises(tt.InputError, match="line 2: expected a JSON object"):
        tt.data.read(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"data": [{"paragraphs": []}, {"title": "x"}]},
            r"data\[1\]: expected 'paragraphs' with a list",
        ),
        ({"data": [{"paragraphs": [{"qas": []}]}]}, r"paragraphs\[0\]: expected 'context' with"),
        (
            {"data": [{"paragraphs": [{"context": "c", "qas": [{"id": "1"}]}]}]},
            r"qas\[0\]: expected 'question' with a text",
        ),
        (
            {"data": [{"paragraphs": [{"context": "c", "qas": [{"question": "q"}]}]}]},
            "question 1: the row lacks 'answers'",
        ),
        ({"data": []}, "no rows"),
    ],
)
def test_odd_files_of_squad_are_refused(tmp_path: Path, change: Any, message: str) -> None:
    path = tmp_path / "odd.json"
    path.write_text(json.dumps(change), encoding="utf-8")
    with pytest.raises(tt.InputError, match=message):
        tt.data.read(path, **COLUMNS)
