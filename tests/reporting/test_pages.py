"""Pages of reports: marks in texts, tables, what a browser may do; numbers beside other ways."""

import base64
import collections
import dataclasses
import hashlib
import html
import json
import random
import re
import shutil
import subprocess
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.stats
import sklearn.metrics as sk
from hostile import texts as hostile_texts
from parsed_pages import Parsed

import tfhub_transfer as tt
from tfhub_transfer.data import Examples
from tfhub_transfer.encoders.preprocessing import Truncation
from tfhub_transfer.evaluation.measuring import evaluate
from tfhub_transfer.models.seen import Seen
from tfhub_transfer.reporting import (
    confidence_bins,
    groups,
    metrics,
    operating_points,
    plots,
    standings,
)
from tfhub_transfer.reporting.joint_reports import JointReport
from tfhub_transfer.reporting.operating_points import Answers
from tfhub_transfer.reporting.pages import joint as joint_page
from tfhub_transfer.reporting.pages import markup, passages
from tfhub_transfer.reporting.pages import report as report_page
from tfhub_transfer.reporting.reports import Report
from tfhub_transfer.tasks import layouts
from tfhub_transfer.tasks.questions import measures as answer_evaluation
from tfhub_transfer.tasks.summaries import measures as summary_evaluation
from tfhub_transfer.tasks.tagging import entity_outcomes, schemes
from tfhub_transfer.tasks.tagging import measures as word_evaluation
from tfhub_transfer.texts import joining


# What a page may hold of elements: nothing else comes from data or is fetched.
class Fake:
    """A model that gives answers made beforehand, whatever it is asked."""

    preprocessor, seen_texts, training_examples, scope = None, Seen(), None, None

    def __init__(self, task: Any, **answers_given: Any) -> None:
        self.parts = {"": self}
        self.task, self.history_ = task, {"loss": [0.7, 0.5], "val_loss": [0.6, 0.5]}
        self.encoder = types.SimpleNamespace(handle="fake", dialect="bert")
        self.layout = types.SimpleNamespace(check=lambda examples: None, by_unit=False)
        self.__dict__.update(answers_given)

    def count_truncation(self, examples: Examples) -> Truncation:
        return Truncation(0, len(examples), 0)


def saved(report: Report, folder: Path) -> tuple[str, list[dict[str, Any]]]:
    """A report's page, and its predictions as they are read back."""
    report.save(folder)
    lines = (folder / "predictions.jsonl").read_text("utf-8").split("\n")[:-1]
    return (folder / "report.html").read_text("utf-8"), list(map(json.loads, lines))


# Marks in texts ---------------------------------------------------------------------------------


def _plain(marked: str) -> str:
    """What a reader sees of a text, without the labels."""
    return html.unescape(re.sub(r"<[^>]*>", "", re.sub(r"<small>.*?</small>", "", marked)))


def test_marks_cover_what_they_are_of_on_any_texts() -> None:
    generator = random.Random(0)
    for text in hostile_texts(60):
        text = text[:400]
        places = [sorted(generator.choices(range(len(text) + 1), k=2)) for _ in range(6)]
        marks = [
            {"start": a, "end": b, "side": side, "kind": "right", "label": ""}
            for (a, b), side in zip(places, ["true", "predicted"] * 3)
        ]
        shown = passages.marked(text, marks, around=1000)
        assert _plain(shown) == tt.errors.visible(text)
        # Character by character: those under a mark of each side are in an element that says it.
        for side in ("true", "predicted"):
            wanted = "".join(
                tt.errors.visible(c)
                for i, c in enumerate(text)
                if any(m["start"] <= i < m["end"] and m["side"] == side for m in marks)
            )
            found = re.findall(
                rf'<mark class="[^"]*\b{side}\b[^"]*">(.*?)</mark>', shown, re.DOTALL
            )
            assert "".join(map(_plain, found)) == wanted


def test_of_a_long_text_what_is_near_a_mark_is_shown_in_whole_words() -> None:
    words = [f"word{i}" for i in range(1000)]
    text = " ".join(words)
    places = [text.index(word) for word in ("word300", "word310", "word900")]
    marks = [
        {"start": a, "end": a + 7, "side": "true", "kind": "missed", "label": "x"} for a in places
    ]
    shown = _plain(passages.marked(text, marks))
    parts = shown.split(" … ")
    assert [part.count("word3") > 0 for part in parts] == [False, True, False, False]
    assert parts[0] == parts[3] == "" and "word310" in parts[1] and "word900" in parts[2]
    assert set(shown.replace("…", "").split()) <= set(words)
    assert len(shown) < 1000


def test_places_outside_of_a_text_are_no_marks() -> None:
    bad = [(-1, 2), (2, 99), (3, 3), (3, 1)]
    marks = [{"start": a, "end": b, "side": "true", "kind": "right", "label": "x"} for a, b in bad]
    assert passages.marked("In Rome.", marks) == "In Rome."


# Numbers, each beside another way to it ---------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
def test_precision_and_recall_by_threshold_equal_scikit_learn(seed: int) -> None:
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, 2, 300)
    scores = generator.random(300).round(2).astype("float32")  # with ties, some on thresholds
    own = 0.35
    found = operating_points.table(Answers(labels == 1, scores, int(labels.sum()), "x", own))
    thresholds = [point["threshold"] for point in found["points"]]
    assert thresholds == pytest.approx(sorted({own, *np.arange(1, 20) / 20}))
    for point in found["points"]:
        given = scores >= point["threshold"]
        precision, recall, f1, _ = sk.precision_recall_fscore_support(
            labels, given, average="binary", zero_division=0
        )
        assert (point["recall"], point["f1"]) == pytest.approx((recall, f1))
        assert point["precision"] == (pytest.approx(precision) if given.any() else None)
        assert point["given"] == given.sum()
    curve = sk.precision_recall_curve(labels, scores)
    for precision, recall, threshold in zip(*curve):
        same = operating_points.table(
            Answers(labels == 1, scores, int(labels.sum()), "x", float(threshold))
        )
        [point] = [p for p in same["points"] if p["threshold"] == float(threshold)]
        assert (point["precision"], point["recall"]) == pytest.approx((precision, recall))


def test_thresholds_of_cosines_lie_among_them() -> None:
    scores = np.array([-0.5, 0.1, 0.3])
    found = operating_points.table(Answers(np.array([False, True, True]), scores, 2, "pairs", 0.2))
    assert all(-0.5 < p["threshold"] < 0.3 for p in found["points"]) and len(found["points"]) == 20
    nobody = operating_points.table(Answers(np.zeros(2, bool), np.array([0.1, 0.2]), 0, "x"))
    assert {p["recall"] for p in nobody["points"]} == {None}


@pytest.mark.parametrize("rows", [1, 19, 20, 21, 400])
@pytest.mark.parametrize("seed", range(3))
def test_small_bins_of_confidence_are_put_together(rows: int, seed: int) -> None:
    generator = np.random.default_rng(seed)
    confidence = generator.beta(6, 2, rows).astype("float32")
    right = generator.random(rows) < confidence
    found = confidence_bins.pooled(right, confidence)
    assert sum(found["count"]) == rows
    assert min(found["count"]) >= min(20, rows)
    # Row by row, in order of the confidence: a bin ends where 20 are in it and a fifteenth ends.
    order = np.argsort(confidence, kind="stable")
    bins: list[list[int]] = [[]]
    for place, row in enumerate(order):
        bins[-1].append(row)
        after = confidence[order[place + 1]] if place + 1 < rows else 1.0
        if len(bins[-1]) >= 20 and int(after * 15) > int(confidence[row] * 15):
            bins.append([])
    if len(bins) > 1 and len(bins[-1]) < 20:
        bins[-2:] = [bins[-2] + bins[-1]]
    assert found["count"] == [len(members) for members in bins]
    for number, members in enumerate(bins):
        assert found["confidence"][number] == pytest.approx(confidence[members].mean(), rel=1e-5)
        test = scipy.stats.binomtest(int(right[members].sum()), len(members))
        interval = test.proportion_ci(method="wilson")
        assert found["accuracy"][number] == pytest.approx(right[members].mean())
        assert found["low"][number] == pytest.approx(interval.low, abs=1e-9)
        assert found["high"][number] == pytest.approx(interval.high, abs=1e-9)


@pytest.mark.parametrize(("rows", "besides"), [(400, ""), (30, ",\n0.015 in the bins drawn here")])
def test_a_picture_of_other_bins_than_the_error_says_so(
    rows: int, besides: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    confidence = np.repeat(np.array([0.55, 0.85, 0.95]), [rows // 2, rows // 4, rows // 2])
    right = np.arange(len(confidence)) % 5 > 0
    titles: list[str] = []
    monkeypatch.setattr(plots, "caption", lambda axes, title, *rest: titles.append(title))
    pooled = confidence_bins.pooled(right, confidence)
    found = metrics.calibration(right, confidence)
    plots.reliability({**found, "pooled": pooled})
    assert titles[0] == f"Reliability (expected calibration error {found['ece']:.3f}{besides})"


def _tagged(generator: random.Random, words: int) -> list[str]:
    tags: list[str] = []
    while len(tags) < words:
        kind, length = generator.choice("ab"), generator.randint(1, 4)
        tags += [f"B-{kind}", *[f"I-{kind}"] * (length - 1)] if generator.random() < 0.5 else ["O"]
    return tags[:words]


def test_outcomes_of_entities_equal_a_search_word_by_word() -> None:
    generator = random.Random(1)
    every: collections.Counter[str] = collections.Counter()
    for _ in range(300):
        own, made = _tagged(generator, 12), _tagged(generator, 12)
        rows = entity_outcomes.outcomes(own, made, "IOB2")
        wanted = collections.Counter(row.kind for row in rows)
        assert wanted == _searched(own, made)
        every += wanted
        # Each entity is in one outcome, and is in it as it is.
        for column, tags in ((1, own), (2, made)):
            present = [row[column] for row in rows if row[column] is not None]
            assert sorted(present) == sorted(schemes.entities(tags))
        both = set(schemes.entities(own)) & set(schemes.entities(made))
        assert wanted["right"] == len(both)
    assert set(every) == set(entity_outcomes.KINDS)


def _searched(own: list[str], made: list[str]) -> collections.Counter[str]:
    """Kinds of outcomes: the likest pair is taken out again and again, of sets of words."""
    true = {(k, frozenset(range(a, b))) for k, a, b in schemes.entities(own)}
    given = {(k, frozenset(range(a, b))) for k, a, b in schemes.entities(made)}
    found: collections.Counter[str] = collections.Counter()
    while True:
        pairs = [(t, g) for t in true for g in given if t[1] & g[1]]
        if not pairs:
            break
        t, g = min(
            pairs,
            key=lambda p: (
                p[0][1] != p[1][1],
                p[0][0] != p[1][0],
                -len(p[0][1] & p[1][1]),
                min(p[0][1]),
                min(p[1][1]),
            ),
        )
        names = {
            (True, True): "right",
            (True, False): "wrong type",
            (False, True): "wrong boundary",
            (False, False): "wrong type and boundary",
        }
        found[names[t[1] == g[1], t[0] == g[0]]] += 1
        true.remove(t)
        given.remove(g)
    found["missed"] += len(true)
    found["spurious"] += len(given)
    return +found


def test_scores_of_entities_by_group_add_up_to_those_of_all() -> None:
    generator = random.Random(2)
    truth, made = ([_tagged(generator, 9) for _ in range(50)] for _ in range(2))
    texts = [joining.join_words(generator.choices("uvwxyz", k=9)) for _ in truth]
    rows = word_evaluation.outcomes(truth, made, "IOB2")
    train = texts[:5], truth[:5]
    found = word_evaluation.slices(texts, rows, train, "IOB2")
    assert [one["by"] for one in found] == [
        "length of the entity",
        "whether training has the entity",
    ]
    whole = schemes.entity_scores(truth, made)["micro"]
    for one in found:
        count, given = (sum(row[name] for row in one["rows"]) for name in ("count", "given"))
        hits = sum((row["recall"] or 0) * row["count"] for row in one["rows"])
        assert count == whole["support"]
        assert (hits / given, hits / count) == pytest.approx((whole["precision"], whole["recall"]))
    known = {
        " ".join(joining.split_words(text)[a:b])
        for text, tags in zip(*train)
        for _, a, b in schemes.entities(tags)
    }
    seen = sum(
        " ".join(joining.split_words(text)[a:b]) in known
        for text, tags in zip(texts, truth)
        for _, a, b in schemes.entities(tags)
    )
    assert {row["group"]: row["count"] for row in found[1]["rows"]}["seen"] == seen
    lengths = collections.Counter(
        min(b - a, 4) for tags in truth for _, a, b in schemes.entities(tags)
    )
    assert [row["count"] for row in found[0]["rows"]] == [lengths[n] for n in (1, 2, 3, 4)]


def test_questions_are_told_apart_by_the_word_that_asks() -> None:
    asked = {
        "Who was it?": "who",
        "In WHICH year?": "which",
        "By how much?": "how much",
        "How did it end?": "how",
        "Name the river.": "other",
        "¿Quién fue?": "other",
        "": "other",
    }
    assert {text: answer_evaluation.question_word(text) for text in asked} == asked


def test_groups_of_lengths_hold_every_text_and_few_are_put_together() -> None:
    generator = random.Random(0)
    for _ in range(40):
        counts = [generator.choice([0, 1, 4, 9, 30, 70, 150, 300, 900]) for _ in range(30)]
        keys, names = groups.lengths(["w " * count for count in counts])
        assert len(names) == len(set(names)) <= 5
        for count, key in zip(counts, keys):
            assert key in names
            low, high = {
                "up to": lambda n: (0, n[-1]),
                "over ": lambda n: (n[0] + 1, 10**9),
            }.get(key[:5], lambda n: (n[0], n[-1]))(list(map(int, re.findall(r"\d+", key))))
            assert low <= count <= high, (count, key)
    assert groups.lengths(["a b", "a"]) == (["all", "all"], ["all"])
    assert groups.means("x", groups.lengths(["a b", "a"]), {"y": np.ones(2)}) == []


def test_intervals_of_large_groups_are_those_of_the_bootstrap(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    values = np.random.default_rng(0).beta(6, 2, 3000)
    keys = ["a", "b"] * 1500, ["a", "b"]

    def rows() -> list[dict[str, Any]]:
        [found] = groups.means("x", keys, {"f1": values})
        return found["rows"]

    drawn = rows()
    monkeypatch.setattr(groups, "_MANY", 10)
    for one, other in zip(drawn, rows(), strict=True):
        mine = values[one["group"] == "b" :: 2]
        assert one["f1"] == other["f1"] == mine.mean()
        ends = scipy.stats.norm.interval(0.95, mine.mean(), mine.std() / len(mine) ** 0.5)
        assert (other["low"], other["high"]) == pytest.approx(ends, abs=1e-9)
        assert (one["low"], one["high"]) == pytest.approx(ends, abs=1e-3)


@pytest.mark.parametrize(
    ("name", "less"),
    [
        ("rmse", True),
        ("ece", True),
        ("val_loss", True),
        ("size_mae", True),
        ("mean_squared_error", True),
        ("accuracy", False),
        ("rouge1", False),
        ("pearson", False),
        ("recall_at_1", False),
        ("error_type_accuracy", False),
        ("loss_f1", False),
        ("errors", False),
    ],
)
def test_the_winner_is_marked_whichever_way_is_better(name: str, less: bool) -> None:
    assert standings.less_is_better(name) is less
    task = "classification"
    baselines = {"majority": {name: 0.2}, "tfidf_logistic_regression": {name: 0.9}}
    report = Report(task, "e", {}, {name: 0.5}, baselines=baselines)
    [best] = re.findall(r'<b class="best">([\d.]+)</b>', report.files()["report.html"].decode())
    assert best == ("0.2000" if less else "0.9000")


CELLS = [
    ["0.5 (now)", "0.05", "0.95", "-", "0.45"],
    ["#10", "#9", "#1"],
    ["1,024", "12", "3e-05", "-1.5"],
    ["12 %", "3 %", "-"],
    ["0.71 to 0.83", "0.8 to 0.9", "0.08 to 0.1"],
    ["film 10", "film 9", "0.5 (now)", "-", "2"],
]
RISING = [
    ["0.05", "0.45", "0.5 (now)", "0.95", "-"],
    ["#1", "#9", "#10"],
    ["-1.5", "3e-05", "12", "1,024"],
    ["3 %", "12 %", "-"],
    ["0.08 to 0.1", "0.71 to 0.83", "0.8 to 0.9"],
    ["0.5 (now)", "2", "film 9", "film 10", "-"],
]


@pytest.mark.skipif(shutil.which("node") is None, reason="no JavaScript without node")
@pytest.mark.parametrize("down", [False, True])
def test_columns_sort_by_number_where_all_cells_have_one(down: bool) -> None:
    script = re.search(r"const isMissing.*?(?=const sortBy)", markup.SCRIPT, re.S)[0]
    sort = f"cells.map((texts) => texts.sort(ranked(texts, {str(down).lower()})))"
    code = f"{script} const cells = {json.dumps(CELLS)}; console.log(JSON.stringify({sort}))"
    done = subprocess.run(["node", "-e", code], capture_output=True, text=True, check=True)
    wanted = [sorted(set(row) - {"-"}, key=row.index, reverse=down) for row in RISING]
    assert json.loads(done.stdout) == [
        [*row, *({"-"} & set(texts))] for row, texts in zip(wanted, RISING)
    ]


def test_who_knows_the_answers_wins_nothing() -> None:
    baselines = {"lead": {"rouge1": 0.3}, "oracle": {"rouge1": 0.9}}
    report = Report("extractive-summarization", "e", {}, {"rouge1": 0.5}, baselines=baselines)
    page = report.files()["report.html"].decode()
    assert re.findall(r'<b class="best">([\d.]+)</b>', page) == ["0.5000"]
    assert report.verdict() == "Better than first sentences: rouge1 0.500 against 0.300."


def test_the_verdict_says_every_baseline_in_one_sentence_or_two() -> None:
    baselines = {"majority": {"accuracy": 0.5}, "tfidf_logistic_regression": {"accuracy": 0.7}}
    report = Report("classification", "e", {}, {"accuracy": 0.8}, baselines=baselines)
    assert report.verdict() == (
        "Better than TF-IDF + LR: accuracy 0.800 against 0.700. Beside it: majority 0.500."
    )
    del report.baselines["tfidf_logistic_regression"]
    assert report.verdict() == "Better than majority: accuracy 0.800 against 0.500."


# Whole pages ------------------------------------------------------------------------------------


def _row_scores(rows: list[dict[str, Any]], names: list[str]) -> dict[str, float]:
    return {name: float(np.mean([row[name] for row in rows])) for name in names}


def _answer_report(monkeypatch: pytest.MonkeyPatch) -> tuple[Report, list[str], list[str]]:
    contexts = [
        "The <b>bridge</b> of Rome was finished in 1990 by Ada. " + "And so on. " * 60,
        "Nobody knows. " * 3,
        "It rained in 2001 & 2002.",
    ]
    asked = ["When <was> it?", "Who did it?", "In what years?"]
    labels: list[Any] = [
        [{"text": "1990", "answer_start": contexts[0].index("1990")}],
        [],
        [{"text": "2001 & 2002", "answer_start": 13}],
    ]
    found = [
        {"answer": "Ada", "score": 0.9, "start": contexts[0].index("Ada"), "margin": 1.0},
        {"answer": "Nobody", "score": 0.4, "start": 0, "margin": 1.0},
        {"answer": "2001 & 2002", "score": 0.8, "start": 13, "margin": 1.0},
    ]
    found = [{**row, "end": row["start"] + len(row["answer"])} for row in found]
    task = tt.tasks.QuestionAnswering(unanswerable=True)
    examples = Examples.from_lists(asked, labels, contexts)
    monkeypatch.setattr(answer_evaluation, "_answered", lambda trial: ([], found))
    return evaluate(Fake(task), examples), contexts, asked


def test_answers_are_marked_in_their_contexts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    report, contexts, asked = _answer_report(monkeypatch)
    page, rows = saved(report, tmp_path)
    Parsed(page)
    marks = re.findall(r'<mark class="([^"]*)">([^<]*)</mark>', page)
    assert ("true missed", "1990") in marks and ("predicted spurious", "Ada") in marks
    assert ("predicted spurious", "Nobody") in marks
    assert "When &lt;was&gt; it?" in page and "&lt;b&gt;bridge&lt;/b&gt;" in page
    assert [row["texts"] for row in rows] == [list(pair) for pair in zip(asked, contexts)]
    means = _row_scores(rows, ["f1", "exact_match"])
    assert means == pytest.approx({name: report.metrics[name] for name in means})
    by = {one["by"]: {row["group"]: row for row in one["rows"]} for one in report.slices}
    assert by["question word"]["what"]["f1"] == 1.0 and by["question word"]["who"]["f1"] == 0.0
    assert {row["count"] for row in by["length of the context"].values()} == {1, 2} or len(
        by["length of the context"]
    ) == 3
    # Of three answers given, one is right; of two questions with an answer, one.
    point = report.thresholds["points"][0]
    assert (point["precision"], point["recall"], point["given"]) == (1 / 3, 1 / 2, 3)


def test_a_right_answer_and_a_missing_one_are_marked_as_such() -> None:
    gold = [("1990", 10), ("in 1990", 7), ("1990", 10)]
    found = {"answer": "1990", "start": 10, "end": 14}
    marks = answer_evaluation.highlights(gold, found)
    assert {mark["kind"] for mark in marks} == {"right"} and len(marks) == 3
    silent = answer_evaluation.highlights(gold, {"answer": "", "start": -1, "end": -1})
    assert [mark["side"] for mark in silent] == ["true", "true"]
    assert {mark["kind"] for mark in silent} == {"missed"}
    assert answer_evaluation.highlights([], {"answer": "", "start": -1, "end": -1}) == []


def test_sentences_chosen_and_best_are_marked_where_they_stand(tmp_path: Path) -> None:
    documents = ["It rained. The cat sat there! A dog came.", "One is here.\u2028Two <i>are</i>."]
    references = ["the cat sat there", "two i are i"]
    chosen = [[0, 1], [0]]
    split = layouts.places(documents)
    assert [[d[a:b] for a, b in own] for d, own in zip(documents, split)] == [
        ["It rained.", "The cat sat there!", "A dog came."],
        ["One is here.", "Two <i>are</i>."],
    ]
    found = []
    for document, own, numbers in zip(documents, split, chosen):
        made = [{"text": document[a:b], "start": a, "end": b} for a, b in (own[i] for i in numbers)]
        found.append({"summary": " ".join(one["text"] for one in made), "sentences": made})
    task = tt.tasks.ExtractiveSummarization(2)
    report = evaluate(
        Fake(task, predict_text=lambda texts: found), Examples.from_lists(documents, references)
    )
    page, rows = saved(report, tmp_path)
    Parsed(page)
    marks = re.findall(r'<mark class="([^"]*)">([^<]*)</mark>', page)
    assert ("predicted spurious", "It rained.") in marks
    assert ("true predicted right", "The cat sat there!") in marks
    assert ("predicted spurious", "One is here.") in marks
    assert ("true missed", "Two &lt;i&gt;are&lt;/i&gt;.") in marks
    assert _row_scores(rows, ["rouge1", "rouge2", "rougeL"]) == pytest.approx(report.metrics)
    assert summary_evaluation.highlights([], []) == []


def test_entities_are_spans_in_colours_that_say_what_became_of_them(tmp_path: Path) -> None:
    words = "Ada of New York met <b>Kurt</b> at ACME in Rome today".split()
    own = [
        "B-person",
        "O",
        "B-place",
        "I-place",
        "O",
        "B-person",
        "O",
        "B-firm",
        "O",
        "B-place",
        "O",
    ]
    made = ["B-person", "O", "B-place", "O", "O", "O", "O", "B-place", "O", "B-place", "B-firm"]
    texts, truth = [joining.join_words(words)], [own]
    task = tt.tasks.TokenClassification().adapt(truth)
    task.sequences = lambda scores: [made]
    train = Examples.from_lists([joining.join_words(["rome", "x"])], [["B-place", "O"]])
    flat = [np.full((len(words), 5), 0.2, "float32")]
    report = evaluate(
        Fake(task, predict_scores=lambda examples: flat), Examples.from_lists(texts, truth), train
    )
    # Of the five that were given, each sure by a fifth, two are right.
    assert sum(report.calibration["count"]) == 5
    assert report.metrics["ece"] == pytest.approx(2 / 5 - 0.2)
    page, rows = saved(report, tmp_path)
    Parsed(page)
    assert report.entities["counts"] == {
        "right": 2,
        "missed": 1,
        "spurious": 1,
        "wrong type": 1,
        "wrong boundary": 1,
        "wrong type and boundary": 0,
    }
    expected = [
        '<mark class="true predicted right">Ada<small>person</small></mark>',
        '<mark class="true predicted wrong-boundary">New</mark>'
        '<mark class="true wrong-boundary"> York<small>place</small></mark>',
        '<mark class="true missed">&lt;b&gt;Kurt&lt;/b&gt;<small>person</small></mark>',
        '<mark class="true predicted wrong-type">ACME<small>place, is firm</small></mark>',
        '<mark class="predicted spurious">today<small>firm</small></mark>',
    ]
    for mark in expected:
        assert mark in page
    assert {(r["true"], r["predicted"], r["count"]) for r in report.entities["confusion"]} == {
        ("person", "person", 1),
        ("place", "place", 2),
        ("person", None, 1),
        ("firm", "place", 1),
        (None, "firm", 1),
    }
    by = {one["by"]: {row["group"]: row for row in one["rows"]} for one in report.slices}
    assert by["whether training has the entity"]["seen"] == {
        "group": "seen", "count": 1, "given": 1, "precision": 1.0, "recall": 1.0, "f1": 1.0,
    }  # fmt: skip
    [row] = rows
    assert (row["true"], row["predicted"]) == (own, made)
    f1 = 2 * row["right_entities"] / (row["entities"] + row["given_entities"])
    assert f1 == pytest.approx(report.metrics["f1"])
    assert row["right_words"] / row["words"] == pytest.approx(report.metrics["accuracy"])


def test_plain_tags_have_only_their_wrong_words_marked(tmp_path: Path) -> None:
    own, made = [["DET", "NOUN", "VERB"]], [["DET", "VERB", "VERB"]]
    task = tt.tasks.TokenClassification().adapt(own)
    task.sequences = lambda scores: made
    examples = Examples.from_lists([joining.join_words(["a", "dog", "ran"])], own)
    flat = [np.full((3, 3), 1 / 3, "float32")]
    report = evaluate(Fake(task, predict_scores=lambda examples: flat), examples)
    page, _ = saved(report, tmp_path)
    assert report.entities["counts"] == {"right": 2, "wrong type": 1}
    assert report.metrics["ece"] == pytest.approx(2 / 3 - 1 / 3)
    shown = 'a <mark class="true predicted wrong-type">dog<small>VERB, is NOUN</small></mark> ran'
    assert shown in page


@pytest.fixture(scope="module")
def classified(tmp_path_factory: pytest.TempPathFactory) -> tuple[Report, str, list[Any]]:
    names = ["3 stars", "food, drinks", "x" * 60]
    labels = np.random.default_rng(0).integers(0, 3, 90)
    scores = np.random.default_rng(1).dirichlet([1] * 3, 90).astype("float32")
    texts = [f"text {'long ' * (i % 30)}<i>{i}</i>" for i in range(90)]
    task = tt.tasks.Classification(names)
    examples = Examples.from_lists(texts, [names[i] for i in labels])
    report = evaluate(Fake(task, predict_scores=lambda e, allow_nan: scores), examples)
    report.setup = {"arguments": {"epochs": 3, "data": "<in>.csv"}, "versions": {"keras": "3"}}
    report.profile = "rows <3>"
    page, rows = saved(report, tmp_path_factory.mktemp("report"))
    assert [row["scores"] for row in rows] == [pytest.approx(row, rel=1e-6) for row in scores]
    return report, page, rows


def test_what_training_kept_is_said_with_its_curves(classified: Any) -> None:
    kept = "Top 2 groups thawed: kept none of <4> epochs"
    told = dataclasses.replace(classified[0], history={"loss": [1.0], "kept": [kept]})
    made = report_page.page(told, {"curves": b"\x89PNG"})
    Parsed(made)
    training = made.partition("<h2>Training</h2>")[2]
    assert "kept none of &lt;4&gt; epochs</li>" in training and "How it was trained" in training
    assert "<h2>Data</h2>" in training.partition("rows &lt;3&gt;")[0]


def test_several_tasks_are_judged_each_beside_its_baselines(classified: Any) -> None:
    one = dataclasses.replace(
        classified[0], baselines={"majority": {"accuracy": 0.9}}, warnings=["majority beats <it>"]
    )
    joint = JointReport("e", {"a/<b>": one, "size": Report("regression", "e", {}, {"rmse": 2.0})})
    made = joint_page.page(joint, {})
    parsed = Parsed(made)
    accuracy, spread = one.metrics["accuracy"], one.spread("accuracy")
    first, second = parsed.rows[1:3]
    assert first == [
        "a/<b>", "accuracy", f"{accuracy:.4f}", spread, "majority 0.9000", "-", "-", "90"
    ]  # fmt: skip
    assert second[:3] == ["size", "rmse", "2.0000"]
    assert 'href="a/%3Cb%3E/report.html"' in made
    assert "a/&lt;b&gt;: majority beats &lt;it&gt;" in made
    assert "Worse than majority: accuracy" in made and "No baseline to compare with." in made
    assert ">alone</th>" not in made
    alone = JointReport("e", joint.reports, {"size": {"rmse": 1.5}})
    assert ">alone</th>" in joint_page.page(alone, {}) and "1.5000" in joint_page.page(alone, {})


def test_predictions_say_what_the_report_says(classified: Any) -> None:
    report, _, rows = classified
    assert [row["row"] for row in rows] == list(range(90))
    right = [row["true"] == row["predicted"] for row in rows]
    assert [bool(row["accuracy"]) for row in rows] == right
    assert np.mean(right) == pytest.approx(report.metrics["accuracy"])
    assert "predictions" not in report.to_dict()
    labels = [report.class_names.index(row["true"]) for row in rows]
    area = sk.roc_auc_score(labels, [row["scores"] for row in rows], multi_class="ovr")
    assert area == pytest.approx(report.metrics["roc_auc"])
    [by_length] = report.slices
    hits = sum(row["accuracy"] * row["count"] for row in by_length["rows"])
    assert hits / 90 == pytest.approx(report.metrics["accuracy"])
    point = report.thresholds["points"][0]
    assert point["precision"] == pytest.approx(report.metrics["accuracy"])


def test_mistakes_are_a_table_to_sort_and_filter_with_all_texts(classified: Any) -> None:
    report, page, _ = classified
    parsed = Parsed(page)
    [place] = [i for i, row in enumerate(parsed.rows) if row[-1:] == ["text"]]
    shown = parsed.rows[place + 1 : place + 1 + len(report.mistakes)]
    assert [row[-1] for row in shown] == [mistake["text"] for mistake in report.mistakes]
    assert [row[0] for row in shown] == [mistake["true"] for mistake in report.mistakes]
    assert '<table class="filtered">' in page
    assert page.count(" data-pick>") == 2
    assert "Setup" in page and "arguments: epochs" in page and "&lt;in&gt;.csv" in page
    assert "<pre>rows &lt;3&gt;</pre>" in page


def test_answers_that_are_long_are_whole_on_the_page_and_heads_have_spaces_between() -> None:
    long = " ".join(f"word{place}" for place in range(100))
    baselines: Any = {"copy": {"bleu": 0.5}, "nearest": {"bleu": 0.6}}
    report = Report("translation", "e", {}, {"bleu": 1.0}, baselines=baselines)
    report.mistakes = [{"row": 0, "true": long, "predicted": "x", "badness": 1.0, "text": "y"}]
    page = report.files()["report.html"].decode()
    assert long in page and long[:399] + "…" in page
    head, row = str(report).splitlines()[1:3]
    assert "  nearest training example" in head and len(head) == len(row)


def test_names_break_between_words_and_heads_never_inside_one(classified: Any) -> None:
    assert markup.breakable("exact_match of it") == "exact_<wbr>match of it"
    assert markup.breakable("x" * 60) == f"{'x' * 24}<wbr>{'x' * 24}<wbr>{'x' * 12}"
    assert markup.breakable("<b>_&") == "&lt;b&gt;_<wbr>&amp;"
    heads = re.search(r"\nth\{([^}]*)\}", markup.STYLE)
    assert heads and "overflow-wrap:normal" in heads[1] and "hyphens:none" in heads[1]


def test_a_browser_may_run_the_pages_own_script_and_fetch_nothing(classified: Any) -> None:
    page = classified[1]
    parsed = Parsed(page)
    [policy] = [
        a["content"] for tag, a in parsed.attributes if "content" in a and "http-equiv" in a
    ]
    parts = dict(part.strip().split(" ", 1) for part in str(policy).split(";"))
    assert parts["default-src"] == "'none'" and parts["img-src"] == "data:"
    for kind, tag in (("script-src", "script"), ("style-src", "style")):
        [inside] = re.findall(rf"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(inside.encode("utf-8")).digest()).decode()
        assert parts[kind] == f"'sha256-{digest}'"
    for tag, attributes in parsed.attributes:
        assert not any(name.startswith("on") for name in attributes), attributes
        assert "style" not in attributes
        if tag == "img":
            assert str(attributes["src"]).startswith("data:image/png;base64,")
    script = markup.SCRIPT
    for asking in (
        "http",
        "import",
        "fetch",
        "innerHTML",
        "eval",
        "document.write",
        "localStorage",
    ):
        assert asking not in script
    assert "prefers-color-scheme:dark" in markup.STYLE and "@media print" in markup.STYLE


def test_of_too_many_classes_the_best_score_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tfhub_transfer.tasks.reportable._MOST_SCORES", 5)
    task = tt.tasks.Classification(["a", "b", "c"])
    examples = Examples.from_lists(["x", "y"], ["a", "b"])
    report = evaluate(Fake(task, predict_scores=lambda e, allow_nan: np.eye(3)[:2]), examples)
    assert [row["score"] for row in report.predictions] == [1.0, 1.0]
    assert "scores" not in report.predictions[0]
    assert any("highest score of each text only" in note for note in report.notes)


def test_answers_that_are_no_numbers_are_predictions_all_the_same(tmp_path: Path) -> None:
    task = tt.tasks.Regression(2.0, 1.0)
    examples = Examples.from_lists(["x", "y"], [1.0, 2.0])
    given = np.array([1.5, np.nan])
    report = evaluate(Fake(task, predict_scores=lambda e, allow_nan: given), examples)
    _, rows = saved(report, tmp_path)
    assert [row["predicted"] for row in rows] == [1.5, None]
    assert [row["mse"] for row in rows] == [0.25, None]


@pytest.mark.parametrize("kind", ["classification", "multi-label"])
def test_no_class_is_made_up_where_there_is_no_answer(kind: str, tmp_path: Path) -> None:
    names = ["a", "b", "c"]
    given = np.array([[0.7, 0.2, 0.1], [np.nan] * 3, [0.1, np.nan, 0.8]])
    if kind == "classification":
        task, labels = tt.tasks.Classification(names), ["a", "b", "c"]
    else:
        task, labels = tt.tasks.MultiLabel(names), [["a"], ["b"], ["c"]]
    examples = Examples.from_lists(["x", "y", "z"], labels)
    model = Fake(task, predict_scores=lambda e, allow_nan: given)
    report = evaluate(model, examples)
    page, rows = saved(report, tmp_path)
    first = "a" if kind == "classification" else ["a"]
    assert [row["predicted"] for row in rows] == [first, None, None]
    assert rows[1]["scores"] == [None] * 3 and rows[2]["scores"] == [0.1, None, 0.8]
    assert [row["accuracy"] for row in rows] == [1.0, 0.0, 0.0]
    assert report.metrics["accuracy"] == pytest.approx(1 / 3)
    assert {m["row"]: m["predicted"] for m in report.mistakes} == {1: None, 2: None}
    shown = [row for row in Parsed(page).rows if row[-1] in ("y", "z")]
    assert [row[1] for row in shown] == ["-", "-"]


def test_shares_of_a_group_have_the_interval_of_the_whole() -> None:
    right = np.ones(3000)
    groups_of = [["a"] * 2990 + ["b"] * 10, ["a", "b"]]
    found = groups.means("length", (groups_of[0], groups_of[1]), {"accuracy": right})[0]["rows"]
    for row in found:
        low, high = scipy.stats.binomtest(row["count"], row["count"]).proportion_ci(method="wilson")
        assert (row["low"], row["high"]) == pytest.approx((low, high), abs=1e-6)


def test_counts_and_shares_are_told_apart() -> None:
    rows = [{"badness": 1.0}, {"badness": 3.0}]
    assert report_page._are_counts(rows, "badness")
    assert not report_page._are_counts(rows[:1], "badness")
    assert not report_page._are_counts([*rows, {"badness": 0.5}], "badness")


def test_what_training_kept_is_said_once() -> None:
    kept = "Head on the frozen encoder: kept epoch 1 of 3"
    report = Report("classification", "e", {"test": 9}, {"accuracy": 0.5}, notes=[kept, "other"])
    report.history = {"kept": [kept]}
    page = report_page.page(report, {})
    assert page.count(kept) == 1 and "other" in page


def test_examples_of_several_tasks_are_unknown_if_those_of_one_are() -> None:
    reports = {
        name: Report("classification", "e", {"train": count}, {})
        for name, count in zip("abc", (5, None, 3))
    }
    assert JointReport("e", reports).examples == {"train": None}
