"""`tt.check` on data with everything planted in it, and what is written of it."""

import csv
import dataclasses
import datetime
import io
import json
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hostile import texts as hostile_texts
from parsed_pages import Parsed
from sklearn.metrics import average_precision_score, roc_auc_score

import tfhub_transfer as tt
from tfhub_transfer.checks import checking, gathered, of_labels, of_texts
from tfhub_transfer.checks.cross_validation import Judged
from tfhub_transfer.data import Examples
from tfhub_transfer.encoders import registry
from tfhub_transfer.models import encoding
from tfhub_transfer.reporting import findings
from tfhub_transfer.reporting.data_reports import DataReport
from tfhub_transfer.reporting.findings import Finding, Found, Row
from tfhub_transfer.tasks import Classification, MultiLabel, Regression

WORDS = [f"word{n}" for n in range(50)]


@pytest.fixture(scope="module")
def encoder(make_encoder: Callable[[str], Path]) -> Any:
    return encoding.vector_model(str(make_encoder("text_encoder")))


def drawn(rows: int, seed: int = 0) -> list[str]:
    """Texts that differ much."""
    generator = np.random.default_rng(seed)
    return [f"{' '.join(generator.choice(WORDS, 9))} {row}" for row in range(rows)]


def found(report: DataReport, name: str) -> list[int]:
    """Rows that a finding names, by their places."""
    [own] = [each for each in report.findings if each.name == name]
    return [each.row for each in own.rows]


def test_what_is_planted_is_found_and_nothing_changes(encoder: Any) -> None:
    texts = drawn(60)
    texts[5] = "  "
    texts[11] = texts[10].upper()  # a duplicate
    texts[21] = texts[20] + "!"  # nearly, and torn
    texts[30] = "Совсем другой язык здесь"
    labels: list[Any] = ["ab"[row % 2] for row in range(60)]
    labels[11], labels[40] = labels[10], None
    train = Examples(
        {"text": texts, "label": labels, "id": [f"{x}-1" for x in labels]}, "x.csv", "label"
    )
    test = Examples.from_lists([texts[50], f"{texts[51]}?", "quite new"], ["a", "b", "a"])
    before = [*texts], [*labels]
    report = checking.check({"train": train, "test": test}, encoder=encoder)
    assert (texts, labels) == before and report.task == "classification"
    assert found(report, "blank texts") == [5]
    assert found(report, "missing labels") == [40]
    assert found(report, "duplicates") == [11]
    assert found(report, "near duplicates") == [20, 21]
    assert sorted(found(report, "contradictions")) == [20, 21]
    assert found(report, "leakage") == [60, 61]
    assert found(report, "scripts") == [30]
    assert [each.count for each in report.findings if each.name == "giveaways"] == [1]
    [exact, near] = [each for f in report.findings if f.name == "leakage" for each in f.rows]
    assert exact.score == 1 and 0.8 <= near.score < 1 and "row 52 of train" in near.why


def test_other_languages_of_one_script_are_found(encoder: Any) -> None:
    """Where it is certain; what is too short to tell is left out of the counts."""
    texts = [f"The {word} of the house was painted again last week." for word in WORDS] * 3
    texts = [f"{text} {row}" for row, text in enumerate(texts)]
    texts[4] = "Die Tür des Hauses wurde letzte Woche wieder gestrichen."
    texts[7] = "ok"
    report = checking.check(Examples.from_lists(texts, None), encoder=encoder)
    assert found(report, "languages") == [4] and not found(report, "scripts")
    [own] = [each for each in report.findings if each.name == "languages"]
    assert own.rows[0].why == "in de" and f"of {len(texts) - 1} rows" in own.says
    assert "in another language than most" in own.says


def test_of_very_many_rows_some_are_asked_for_their_language(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(of_texts, "_MOST_TOLD", 20)
    texts = ["The train to the coast was late again."] * 45
    texts[3] = texts[4] = "Der Zug an die Küste hatte wieder Verspätung."
    own = of_texts.mixed_languages(gathered.gather(Examples.from_lists(texts, None)))
    assert [each.row for each in own.rows] == [3]  # of each third row
    assert "of 15 rows of which that is certain, of 15 that were looked at" in own.says


def test_the_same_text_with_other_labels_is_torn(encoder: Any) -> None:
    texts = drawn(30)
    texts[3] = texts[2] = texts[1]
    texts[9] = texts[8]
    labels = ["ab"[row % 2] for row in range(30)]
    labels[1:4] = ["a", "a", "b"]
    report = checking.check(Examples.from_lists(texts, labels), encoder=encoder)
    told = {e.row: e for f in report.findings if f.name == "contradictions" for e in f.rows}
    assert sorted(told) == [1, 2, 3, 8, 9]
    assert told[3].suggested == "a" and told[3].score == pytest.approx(2 / 3)
    assert told[1].suggested is None and told[1].score == pytest.approx(1 / 3)
    assert told[8].score == told[9].score == 0.5
    assert told[8].suggested is told[9].suggested is None
    # A number may differ a little.
    numbers = [float(row) for row in range(30)]
    numbers[1:4], numbers[8:10] = [5.0, 5.5, 29.0], [7.0, 7.5]
    report = checking.check(Examples.from_lists(texts, numbers), encoder=encoder)
    told = {e.row: e for f in report.findings if f.name == "contradictions" for e in f.rows}
    assert sorted(told) == [1, 2, 3] and told[3].suggested == 5.5


def test_rows_that_only_one_split_has_are_no_leak(encoder: Any) -> None:
    splits = {"train": Examples.from_lists(["a b", "a b"]), "test": Examples.from_lists(["c", "c"])}
    report = checking.check(splits, encoder=encoder)
    assert found(report, "leakage") == [] and found(report, "duplicates") == [1, 3]
    assert "2 rows repeating 2 others of their split" in str(report)
    assert (
        report.not_looked_at == {**report.not_looked_at, "labels": "there are none"}
        and report.task is None
    )


def test_cut_texts_are_those_that_lose_tokens(make_encoder: Callable[[str], Path]) -> None:
    length = 8
    base = encoding.vector_model(str(make_encoder("bert_still")))
    texts = ["good " * count for count in (3, 9, 20, 6, 15)]
    report = checking.check(Examples.from_lists(texts), encoder=base, sequence_length=length)
    # Two tokens are special.
    lost = {row: len(t.split()) + 2 - length for row, t in enumerate(texts)}
    wanted = sorted((row for row in lost if lost[row] > 0), key=lambda row: -lost[row])
    assert found(report, "cut texts") == wanted
    [own] = [each for each in report.findings if each.name == "cut texts"]
    assert f"{sum(lost[row] for row in wanted)} tokens are lost" in own.says


@pytest.mark.parametrize(
    ("labels", "task", "left"),
    [
        ([["x"], [], ["x", "y"], ["y"]] * 10, "multi-label", "classes alike"),
        ([0.5, 2.0, 1.25, 4.0] * 10, "regression", "classes, giveaways"),
        ([["B-x", "O"]] * 40, "token-classification", "contradictions"),
        ([[{"text": "good", "answer_start": 0}]] * 40, "question-answering", "contradictions"),
        (["a"] * 40, "classification", "suspect labels"),
    ],
)
def test_other_labels_say_what_was_not_looked_at(
    labels: list[Any], task: str, left: str, encoder: Any
) -> None:
    pair = drawn(40, 1) if task.startswith("question") else None
    texts: list[Any] = drawn(40)
    if task.startswith("token"):
        texts = [text.split()[:2] for text in texts]
    examples = Examples.from_lists(texts, labels, text_pair=pair)
    report = checking.check(examples, encoder=encoder)
    assert report.task == task and any(what.startswith(left) for what in report.not_looked_at)
    assert found(report, "blank texts") == []


def test_few_rows_are_looked_at_as_far_as_they_go(encoder: Any) -> None:
    report = checking.check(Examples.from_lists(["one", "two"], ["a", "b"]), encoder=encoder)
    assert "that needs 20 rows" in report.not_looked_at.values()
    assert [each.name for each in report.found] == ["small classes"]


def test_more_classes_than_anybody_has_are_not_learned(
    encoder: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checking, "MOST_CLASSES", 3)
    examples = Examples.from_lists(drawn(40), [*"abcd"] * 10)
    report = checking.check(examples, encoder=encoder)
    assert report.not_looked_at["suspect labels, classes alike"] == "more than 3 classes"


def test_of_many_rows_some_are_drawn(encoder: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checking, "MOST_ENCODED", 40)
    monkeypatch.setattr(of_labels, "learned", lambda *given: True)
    examples = Examples.from_lists(drawn(100), ["a", "b"] * 50)
    report = checking.check(examples, encoder=encoder)
    [said] = [what for what in report.not_looked_at if "rows" in what]
    assert said == "outliers and labels of 60 rows" and "of 40 labels" in str(report)


# Labels ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def flipped() -> tuple[Examples, np.ndarray]:
    """The packaged sample, of which every twentieth topic is another."""
    sample = tt.data.read(str(registry.samples_path()), text="text", label="topic")
    labels, names = list(sample.labels), sorted({*sample.labels})
    wrong = np.random.default_rng(0).permutation(len(sample))[: len(sample) // 20]
    for row in wrong.tolist():
        labels[row] = names[(names.index(labels[row]) + 1) % len(names)]
    columns = {"text": sample.texts[0], "label": labels}
    return Examples(columns, "sample", "label"), np.isin(np.arange(len(sample)), wrong)


@pytest.mark.slow
def test_flipped_labels_stand_above_others(flipped: tuple[Examples, np.ndarray]) -> None:
    examples, wrong = flipped
    report = checking.check(examples)
    scores = np.zeros(len(examples))
    for own in report.findings:
        if own.name == "suspect labels":
            for each in own.rows:
                scores[each.row] = each.score
                assert each.suggested != examples.labels[each.row]
    assert average_precision_score(wrong, scores) > 0.25  # 0.05 by chance


class Fake:
    """A model that says one thing of every text, and has seen some."""

    def __init__(self, task: Any, answers: list[float], seen: Any) -> None:
        self.task, self.seen_texts, self._answers = task, seen, answers
        self.asked: list[str] = []
        self.layout: Any = None

    def predict_scores(self, examples: Examples) -> np.ndarray:
        self.asked += examples.texts[0]
        return np.array([self._answers] * len(examples))


@pytest.mark.parametrize("learned", [True, False])
def test_a_model_judges_what_it_was_not_trained_on(
    learned: bool, encoder: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(of_labels, "learned", lambda *given: learned)
    texts = drawn(60)
    train = Examples.from_lists(texts[:40], ["a", "b"] * 20)
    test = Examples.from_lists(texts[40:], ["a", "b"] * 9 + ["c", "b"])
    seen = encoder.seen_texts.with_texts("train", [[texts[:42]]])
    task = Classification(["b", "a"])
    task.learned = True
    model: Any = Fake(task, [0.9, 0.1], seen)
    model.layout = encoder.layout
    report = checking.check({"train": train, "test": test}, encoder=encoder, model=model)
    # Two were seen, and of one the model doesn't know the class.
    assert model.asked == [text for row, text in enumerate(texts) if row > 41 and row != 58]
    told = [e for f in report.findings if f.name == "suspect labels" for e in f.rows]
    scores = [each.score for each in told]
    # Of models that learned nothing the trained one alone is believed.
    assert scores == sorted(scores, reverse=True) and (len({*scores}) > 1) is learned
    assert ("suspect labels by cross-validation, classes alike" in report.not_looked_at) != learned
    by_model = [
        each for each in told if each.why.startswith("a model that hasn't seen it gives b 90%")
    ]
    assert {each.row for each in by_model} == {row for row in range(42, 58) if row % 2 == 0}
    assert all(each.score == pytest.approx(0.9) for each in by_model)


def test_a_model_reads_numbers_as_its_classes_and_what_it_cannot_judge_is_said(
    encoder: Any,
) -> None:
    texts = drawn(60)
    splits = {
        "train": Examples.from_lists(texts[:40], [0, 1] * 20),
        "test": Examples.from_lists(texts[40:], [0, 1] * 10),
    }
    model: Any = Fake(Classification(["no", "yes"]), [0.9, 0.1], encoder.seen_texts)
    model.layout = encoder.layout
    report = checking.check(splits, encoder=encoder, model=model)
    assert len(model.asked) == 20 and {row.label for row in report.rows} == {"no", "yes"}
    model.asked = []
    report = checking.check(splits["train"], encoder=encoder, model=model)
    sets = Examples.from_lists(texts[:20], [["b"], [], ["c", "a"], ["a"]] * 5)
    several = checking.check(sets, MultiLabel(["c", "b", "a"]), encoder)
    assert {row.label for row in several.rows} == {("b",), (), ("c", "a"), ("a",)}
    with pytest.raises(tt.InputError, match="odd"):
        checking.check(Examples.from_lists(["a"], ["odd"]), Classification(["no", "yes"]), encoder)
    assert model.asked == [] and "the model's answers" in report.not_looked_at


def test_a_model_of_another_form_is_refused(encoder: Any) -> None:
    classes = Examples.from_lists(["a", "b"], ["x", "y"])
    numbers = Examples.from_lists(["a", "b"], [0.5, 1.5])
    sets = Examples.from_lists(["a", "b"], [["x"], ["y", "x"]])
    model: Any = Fake(Classification(["x", "y"]), [], None)  # type: ignore[arg-type]
    # Without a task labels are the model's, so that naming one would mend nothing.
    with pytest.raises(tt.InputError, match=r"Received: .*0\.5"):
        checking.check(numbers, encoder=encoder, model=model)
    with pytest.raises(tt.InputError, match="one class or sets of them.*data of regression"):
        checking.check(numbers, Regression(), encoder, model)
    with pytest.raises(
        tt.InputError, match=r"leave `model` \(`--model`\) out.*the regression task"
    ):
        checking.check(classes, encoder=encoder, model=encoder)
    with pytest.raises(tt.InputError, match=r"Received: .*'x'"):
        checking.check(sets, encoder=encoder, model=model)
    with pytest.raises(tt.InputError, match="one class or sets of them.*data of multi-label"):
        checking.check(sets, MultiLabel(["x", "y"]), encoder, model)


def test_labels_that_look_like_numbers_are_classes_of_the_model(encoder: Any) -> None:
    texts = drawn(40)
    splits = {
        "train": Examples.from_lists(texts[:20], [n / 8 for n in range(20)]),
        "test": Examples.from_lists(texts[20:], [n / 8 for n in range(20)]),
    }
    names = [str(n / 8).removesuffix(".0") for n in range(20)]
    model: Any = Fake(Classification(names), [0.05] * 20, encoder.seen_texts)
    model.layout = encoder.layout
    report = checking.check(splits, encoder=encoder, model=model)
    assert report.task == "classification" and {row.label for row in report.rows} == {*names}


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({}, "mapping of train, validation, test"),
        ({"dev": Examples.from_lists(["a"])}, "Received: 'dev'"),
        ({"train": Examples({"text": []})}, "must have rows"),
        (
            {"train": Examples.from_lists(["a"]), "test": Examples.from_lists(["a"], None, ["b"])},
            "as many texts a row",
        ),
        ({"train": "a.csv"}, "expected examples"),
    ],
)
def test_splits_that_do_not_go_together_are_refused(given: Any, says: str) -> None:
    with pytest.raises(tt.InputError, match=f"{says}.*Received" if "Rec" not in says else says):
        checking.check(given)


# What is written ------------------------------------------------------------------------------


def hostile_report() -> DataReport:
    texts = [*hostile_texts(30), "=1+1", 'a,b\n"c"']
    rows = [Row("train", n + 2, (text,), ("a", text[:9])) for n, text in enumerate(texts)]
    some = [Found(n, n / 40, f"why {text}", text, n) for n, text in enumerate(texts)]
    others = [Found(3, 0.99, "more"), Found(4, 0.0, "less")]
    facts = [("<b>", 0.5, 3), (texts[0], 1.0, 1000)]
    return DataReport(
        "<i>x</i>.csv",
        "classification",
        rows,
        [
            Finding("suspect labels", len(some), "says <script>", "do it", some),
            Finding("leakage", 2, "two", "do", others),
            Finding("classes", 2, "of classes", "do", heads=("a", "b", "c"), cells=facts),
            Finding("scripts", 1, "one", "do", [Found(0, 1.0, "passed")], suspicious=False),
            Finding("nothing", 0, "nothing at all", "do"),
        ],
        {"<u>": "because"},
        ("a note",),
    )


def test_files_hold_each_row_once_the_most_suspicious_first(tmp_path: Path) -> None:
    report = hostile_report()
    report.save(tmp_path / "out")
    assert sorted(p.name for p in (tmp_path / "out").iterdir() if p.name[0] != ".") == [
        "check.html",
        "check.json",
        "suspects.csv",
    ]
    content = (tmp_path / "out" / "suspects.csv").read_bytes().decode("utf-8")
    read = list(csv.DictReader(io.StringIO(content, newline="")))
    assert [*read[0]] == ["split", "row", "text", "label", "suggested", "score", "why"]
    assert len(read) == len(report.rows) == len({row["row"] for row in read})
    scores = [float(row["score"]) for row in read]
    assert scores == sorted(scores, reverse=True) and scores[0] == 0.99
    assert read[0]["why"].startswith("more; why ") and read[0]["row"] == "5"
    known = json.loads((tmp_path / "out" / "check.json").read_text("utf-8"))
    assert known["rows"] == {"train": len(report.rows)} and known["not_looked_at"]
    assert [each["count"] for each in known["findings"]] == [len(report.rows), 2, 2, 1, 0]
    assert known["findings"][0]["rows"][5]["why"] == f"why {report.rows[5].texts[0]}"
    assert known["findings"][2]["facts"][1]["c"] == 1000


def test_the_page_shows_hostile_rows_and_runs_nothing_of_them() -> None:
    report = hostile_report()
    page = Parsed(report.html())
    cells = {cell for row in page.rows for cell in row}
    assert "why =1+1" in cells and "less" in cells and "nothing at all" in cells
    assert "says <script>" in cells and "<u>" in cells and "passed" in cells
    assert sum(tag == "script" for tag, _ in page.attributes) == 1
    many = [dataclasses.replace(report.findings[0].rows[0], row=0)] * 500
    report = dataclasses.replace(
        report, findings=[dataclasses.replace(report.findings[0], rows=many)]
    )
    assert "And 300 more, in check.json." in report.html()
    # With the heads of the overview and of the rows, and the overview's only row.
    assert len(Parsed(report.html()).rows) == 200 + 2 + 1 + 1 + len(report.not_looked_at)


def test_a_table_without_rows_has_its_heads(tmp_path: Path) -> None:
    rows = [Row("train", 1, ("a", "b"), None)]
    DataReport("x", None, rows, [], {}).save(tmp_path)
    assert (tmp_path / "suspects.csv").read_text() == (
        "split,row,text_a,text_b,label,suggested,score,why\n"
    )


@pytest.mark.parametrize("kind", [str, np.str_, np.int64, np.bool_, datetime.datetime])
def test_columns_of_any_plain_kind_are_looked_at(kind: Any, encoder: Any) -> None:
    first, second = (
        (datetime.datetime(2020, 1, 1), datetime.datetime(2021, 1, 1))
        if kind is datetime.datetime
        else (kind(0), kind(1))
    )
    columns = {"text": drawn(40), "label": ["a", "b"] * 20, "x": [first, second] * 20}
    report = checking.check(Examples(columns, target="label"), encoder=encoder)
    [own] = [each for each in report.findings if each.name == "giveaways"]
    assert [cells[0] for cells in own.cells] == ["x"]


@pytest.mark.parametrize("labels", [["", "a", "b", "a"] * 10, [" ", "a"] * 20])
def test_a_blank_label_is_a_missing_one(labels: list[str], encoder: Any) -> None:
    report = checking.check(Examples.from_lists(drawn(40), labels), encoder=encoder)
    wanted = [row for row, label in enumerate(labels) if not label.strip()]
    assert report.task == "classification" and found(report, "missing labels") == wanted


def test_sets_of_a_single_class_are_judged(encoder: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(of_labels, "learned", lambda *given: True)
    labels = [["x"] if row % 3 else [] for row in range(40)]
    report = checking.check(Examples.from_lists(drawn(40), labels), encoder=encoder)
    [own] = [each for each in report.findings if each.name == "suspect labels"]
    assert report.task == "multi-label" and {each.suggested for each in own.rows} <= {("x",), ()}
    for each in own.rows:
        assert each.suggested != report.rows[each.row].label and 0.0 <= each.score <= 1.0


@pytest.mark.parametrize("what", ["task", "model"])
def test_names_are_no_tasks_or_models(what: str, encoder: Any) -> None:
    with pytest.raises(tt.InputError, match=f"{what}.*Received: str"):
        checking.check(Examples.from_lists(["a"], ["x"]), encoder=encoder, **{what: "name"})  # type: ignore[arg-type]


def test_numbers_keep_their_digits() -> None:
    numbers = [1234567.1, 1234567.2, 0.1, 1e-9, -2.0, 3e22]
    assert [float(findings.spelled(each)) for each in numbers] == numbers
    assert findings.spelled(-2.0) == "-2" and findings.spelled(1234567.0) == "1234567"


def test_labels_are_spelled_as_they_are_read() -> None:
    assert findings.spelled([{"text": "é"}]) == '[{"text": "é"}]' and findings.spelled(()) == ""


@pytest.mark.parametrize(("right", "learned"), [(61, True), (60, False), (40, False)])
def test_models_that_learned_nothing_doubt_nothing(right: int, learned: bool) -> None:
    rows = [Row("train", n, ("a",), "ab"[n % 2]) for n in range(100)]
    data: Any = types.SimpleNamespace(rows=rows, kind="classes")
    answers = np.array(
        [[n % 2 == 0, n % 2] if n < right else [n % 2, n % 2 == 0] for n in range(100)]
    )
    judged = Judged(np.arange(100), answers.astype(float), ("a", "b"))
    assert of_labels.learned(data, judged) is learned


def test_of_sets_models_that_rank_none_of_the_classes_doubt_nothing() -> None:
    generator = np.random.default_rng(0)
    members = generator.random((200, 3)) < 0.2
    rows = [
        Row("train", n, ("a",), tuple(c for c, own in zip("xyz", each) if own))
        for n, each in enumerate(members)
    ]
    data: Any = types.SimpleNamespace(rows=rows, kind="sets")
    chance = generator.random((200, 3)) / 3
    for answers, wanted in ((chance, False), (chance + members * 0.1, True), (1 - members, False)):
        judged = Judged(np.arange(200), np.asarray(answers, float), ("x", "y", "z"))
        assert of_labels.learned(data, judged) is wanted
    # By areas under curves and their errors where there is nothing to tell.
    aucs = [roc_auc_score(members[:, at], chance[:, at]) for at in range(3)]
    errors = [np.sqrt(201 / (12 * n * (200 - n))) for n in members.sum(axis=0)]
    told = sum((auc - 0.5) / error for auc, error in zip(aucs, errors)) / np.sqrt(3)
    assert bool(told > 2) is of_labels.learned(
        data, Judged(np.arange(200), chance, ("x", "y", "z"))
    )
