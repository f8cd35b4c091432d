"""Texts, labels and names from hostile hands: refused with their row, or shown as what they are."""

import io
import json
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tfhub_transfer as tt
from tfhub_transfer import cli, errors, tasks
from tfhub_transfer.data import reading
from tfhub_transfer.incoming import wording
from tfhub_transfer.reporting import plots
from tfhub_transfer.reporting.joint_reports import JointReport
from tfhub_transfer.reporting.pages import joint as joint_page
from tfhub_transfer.reporting.pages import markup
from tfhub_transfer.reporting.reports import Report
from tfhub_transfer.texts import joining

HALF = "cut \ud83d here"
HOSTILE = [
    "</script><script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "<svg/onload=alert(1)>",
    "\x1b[31mred\x1b[0m\x07",
    "abc\u202edcba\u2066",
    "zero\u200bwidth\ufeff",
    "N\0UL",
    "C1 \x9b31m",
    "$\\frac{1}{0}$ and $",
    "two\nlines\rover",
    "漢字 हिन्दी 🙂",
    "long " * 200,
]

# Half characters --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("row", "more"),
    [
        ({"text": HALF, "label": "a"}, {}),
        ({"text": "a", "label": HALF}, {}),
        ({"text": "a", "label": ["a", HALF]}, {}),
        ({"text_a": "a", "text_b": HALF, "label": "a"}, {}),
        ({"text_a": "a", "text_b": "b", "text_c": HALF}, {"require_label": False}),
        ({"tokens": ["a", HALF.replace(" ", "")], "tags": ["O", "O"]}, {}),
        ({"tokens": ["a", "b"], "tags": ["O", HALF.replace(" ", "")]}, {}),
        ({"question": "q", "context": HALF, "answers": []}, {}),
        ({"question": "q", "context": "a", "answers": [{"text": HALF, "answer_start": 0}]}, {}),
        ({"question": "q", "context": "a", "answers": {"text": [HALF], "answer_start": [0]}}, {}),
        ({"document": HALF, "summary": "a"}, {}),
        ({"document": "a", "summaries": ["a", HALF]}, {}),
        ({"sentences": ["a", HALF], "summary": "a"}, {}),
    ],
    ids=str,
)
def test_half_a_character_in_a_file_is_refused(
    row: dict[str, Any], more: dict[str, Any], tmp_path: Path
) -> None:
    good = json.loads(json.dumps(row).replace("\\ud83d", "x"))
    path = tmp_path / "rows.jsonl"
    path.write_text(f"{json.dumps(good)}\n{json.dumps(row)}\n", encoding="utf-8")
    with pytest.raises(tt.InputError, match=r"rows.jsonl, line 2.*half a character.*\\ud83d"):
        tt.data.read(path, **more)


def test_half_a_character_in_a_squad_file_or_a_column_is_refused(tmp_path: Path) -> None:
    asked = {"question": HALF, "answers": [], "is_impossible": True}
    squad = {"data": [{"paragraphs": [{"context": "a", "qas": [asked]}]}]}
    (tmp_path / "squad.json").write_text(json.dumps(squad))
    with pytest.raises(tt.InputError, match="question 1: column 'question'.*half a character"):
        tt.data.read(tmp_path / "squad.json")
    (tmp_path / "names.jsonl").write_text(json.dumps({"text": "a", "label": 1, HALF: 2}) + "\n")
    with pytest.raises(tt.InputError, match="the name of a column: half a character"):
        tt.data.read(tmp_path / "names.jsonl")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ((["a", HALF],), "row 2 of text: half a character"),
        ((["a", "b"], ["x", HALF]), "row 2 of label: half a character"),
        ((["a"], None, [HALF]), "row 1 of text_b: half a character"),
        ((["a"], None, ["b"], [HALF]), "row 1 of text_c: half a character"),
        ((["a", None],), r"row 2 of text: every text must be a string. Received: None"),
        ((["a", float("nan")],), "row 2 of text.*nan"),
        (([b"a"],), "row 1 of text.*b'a' .bytes"),
        (([5],), "row 1 of text.*5 .int"),
        ((["a", ["b"]],), "row 2 of text"),
        (("abc",), "expected a list of texts. Received: one string"),
        (({"a": 1},), "expected a list of texts. Received: dict"),
        ((5,), "expected a list of texts. Received: int"),
        ((np.array("abc"),), "expected a list of texts"),
        (({"a"},), "a set has no order.*Received: set"),
        ((np.zeros(2, [("text", "U1")]),), "of a table name a column. Received: ndarray"),
        ((["a", "b"], ["x", None]), "row 2 of label must hold a label; fill it in or drop the row"),
        ((["a"], "x"), "expected a list of texts. Received: one string"),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_lists_are_checked_row_by_row(given: tuple[Any, ...], message: str) -> None:
    with pytest.raises(tt.InputError, match=message):
        tt.data.Examples.from_lists(*given)


@pytest.mark.parametrize(
    "given",
    [["a"], ("a",), np.array(["a"]), iter(["a"]), dict.fromkeys("a").keys(), (t for t in "a")],
    ids=lambda given: type(given).__name__,
)
def test_lists_come_in_many_forms(given: Any) -> None:
    assert tt.data.Examples.from_lists(given).texts == (["a"],)


def test_lines_are_refused_by_their_number(monkeypatch: pytest.MonkeyPatch) -> None:
    # As Python reads bytes that aren't UTF-8 where no language is set.
    stdin = io.TextIOWrapper(io.BytesIO(b"fine\nbad \xff\n"), "utf-8", errors="surrogateescape")
    monkeypatch.setattr(sys, "stdin", stdin)
    with pytest.raises(tt.InputError, match="name its encoding.*byte 0xff in line 2"):
        list(reading.line_chunks("-"))


# Classes ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (HALF, "half a character"),
        ("a\0b", "none of them NUL"),
        ("x" * 1001, "at most 1,000 characters.*1,001 characters, 'xxx"),
        (b"bytes", "named by a string or a number. Received: b'bytes'"),
        (None, "named by a string or a number"),
        (float("nan"), "named by a string or a number"),
        ({"a": 1}, "named by a string or a number"),
        (["a"], "named by a string or a number"),
    ],
    ids=lambda value: repr(value)[:20],
)
@pytest.mark.parametrize(
    "make", [tasks.Classification, tasks.MultiLabel, tasks.TokenClassification]
)
def test_odd_names_of_classes_are_refused(make: Any, name: Any, message: str) -> None:
    with pytest.raises(tt.InputError, match=message):
        make(["good", name])


def test_numbers_are_names_in_any_form() -> None:
    given = [1, 1.0, "1", np.int64(1), np.float32(1.0), np.str_("1"), " 1 "]
    assert {wording.class_name(label) for label in given} == {"1"}
    assert wording.class_name(True) == "True"
    task = tasks.TokenClassification().adapt([[0, 1], [1.0, "0"]])
    assert task.class_names == ["0", "1"]
    assert task.encode([[1, 0.0]]).to_list() == [[1, 0]]


def test_a_long_label_is_one_short_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = "".join(f"good {i},{'x' * 100_000}\nbad {i},b\n" for i in range(20))
    (tmp_path / "rows.csv").write_text(f"text,label\n{rows}", encoding="utf-8")
    words = ["train", "--task", "classification", "--data", str(tmp_path / "rows.csv")]
    assert cli.main([*words, "--output", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert "at most 1,000 characters" in error
    assert error.count("\n") == 1 and len(error) < 2100


# Terminals --------------------------------------------------------------------------------------


def test_what_turns_or_hides_text_is_spelled() -> None:
    assert errors.visible("\x1b[2J\x9b\u202e\ufeff\0\r") == r"\x1b[2J\x9b\u202e\ufeff\x00\x0d"
    ordinary = "naïve 漢字 हिन्दी 👩‍👩‍👧 نمی‌خواهم\n\tß"
    assert errors.visible(ordinary) == ordinary
    for text in HOSTILE:
        assert not any(ord(c) < 32 or 127 <= ord(c) < 160 for c in errors.one_line(text))


def test_a_message_is_one_short_line_whatever_it_quotes() -> None:
    shown = str(tt.InputError(f"no such class. Received: {HOSTILE[3]}\n{'x' * 10**6} end"))
    assert shown.startswith("no such class. Received: \\x1b[31mred")
    assert shown.endswith("x end")
    assert len(shown) == errors.MOST_CHARACTERS and "\n" not in shown


def test_json_lines_hold_what_they_hold() -> None:
    value = {text: [text] for text in HOSTILE}
    line = wording.json_line(value)
    assert json.loads(line) == value
    assert not any(c in line for c in "\x1b\x9b\u202e\u2066\n")


# Pages and pictures -----------------------------------------------------------------------------


def _report(text: str) -> Report:
    row = {"class": text, "precision": 1.0, "recall": 1.0, "f1": 1.0, "support": 1}
    mark = {"start": 0, "end": len(text) // 2, "side": "true", "kind": "missed", "label": text}
    mistake = {"row": 0, "text": text, "true": [text], "predicted": text, "badness": 1.0}
    marked = {**mistake, "question": text, "passage": text, "marks": [mark]}
    types = [{"true": text, "predicted": "b", "count": 1}]
    spot = {"by": text, "group": text, "count": 1, "value": 0.5, "low": None, "high": None}
    spot |= {"rest": 1.0, "below": 0.5, "harm": 0.5, "p": 0.0, "p_corrected": 0.0}
    spot |= {"beyond_chance": True}
    point = {"threshold": 0.5, "precision": None, "recall": 1.0, "f1": 0.5, "given": 1}
    return Report(
        "classification",
        text,
        {"test": 1, text: 2},
        {"accuracy": 0.5, text: float("nan")},
        [text, "b", "c"],
        baselines={"tfidf_logistic_regression": {"accuracy": 0.4}},
        per_class=[row, {**row, "class": "b"}, {**row, "class": "c"}],
        confusion=[[0, 1, 0], [0, 1, 0], [1, 0, 0]],
        mistakes=[mistake, marked],
        history={"loss": [1.0, 0.5]},
        seconds={text: 1.0},
        notes=[text],
        entities={"of": "entities", "counts": {"right": 1}, "confusion": types},
        slices=[{"by": text, "rows": [{"group": text, "count": 1, "f1": 1.0}]}],
        weak_spots={"number": text, "whole": 0.5, "looked_at": 1, "rows": [spot]},
        thresholds={"of": text, "own": None, "points": [point]},
        setup={text: {text: [text]}},
        profile=text,
        predictions=[{"row": 0, "texts": [text], "true": text, "predicted": text}],
    )


@pytest.fixture(params=HOSTILE, ids=lambda text: repr(text)[:20])
def text(request: pytest.FixtureRequest) -> Iterator[str]:
    yield request.param


def test_a_page_shows_and_does_nothing_that_data_ask_for(text: str, tmp_path: Path) -> None:
    report = _report(text)
    report.save(tmp_path)
    found = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    assert found["encoder"] == text and found["mistakes"][0]["text"] == text
    lines = (tmp_path / "predictions.jsonl").read_text(encoding="utf-8")
    assert json.loads(lines)["texts"] == [text] and lines.count("\n") == 1
    assert not any(c in lines for c in "\x1b\x9b\u202e\u2066")
    joint = JointReport(text, {text: report})
    own = f"<script>{markup.SCRIPT}</script>"
    for page in (
        (tmp_path / "report.html").read_text(encoding="utf-8"),
        joint_page.page(joint, {}),
    ):
        assert page.count(own) == 1
        page = page.replace(own, "")
        for wrong in ("<script", "<img src=x", "<svg", "onerror=alert(1)>", "\x1b", "\x9b", "\0"):
            assert wrong not in page
        assert not any(mark in page for mark in "\u202e\u2066\u200b\ufeff")
        assert markup.escaped(text)[:60] in page
    for shown in (str(report), str(joint)):
        assert not any(c in shown for c in "\x1b\x07\x9b\0\u202e\u2066\r")


def test_a_page_of_half_characters_is_written(tmp_path: Path) -> None:
    # A file's name may hold what UTF-8 can't spell.
    report = _report(HALF)
    report.save(tmp_path)
    found = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    assert found["encoder"] == HALF
    assert r"cut \ud83d here" in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_pictures_show_any_name() -> None:
    names = [*HOSTILE, *(f"class {i}" for i in range(12))]
    matrix = np.eye(len(names), dtype=int)
    matrix[0, 1:] = 1
    pairs = [(0, i, 1) for i in range(1, len(HOSTILE))]
    curve = {"false_positive_rate": [0, 1], "true_positive_rate": [0, 1], "recall": [0, 1]}
    more = {"precision": [1, 0], "roc_auc": 0.5, "pr_auc": 0.5}
    point = {"threshold": 0.5, "precision": None, "recall": 1.0, "f1": 0.5}
    curves = [{**curve, **more, "class": n, "number": i} for i, n in enumerate(names[:8])]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        few = names[:12]
        for picture in (
            plots.confusion(matrix, names, pairs),
            plots.confusion(matrix[:12, :12], few, pairs),
            plots.roc_and_pr(curves),
            *(plots.thresholds({"of": name, "own": 0.5, "points": [point]}) for name in names),
        ):
            assert picture is not None and picture.startswith(b"\x89PNG")


def test_words_with_line_separators_are_texts() -> None:
    assert joining.plain(f"a{joining.WORD_END}b") == "a b"


def test_a_tilde_is_home_in_names_of_files_alone() -> None:
    assert cli._expanded("--label-separator=~") == "--label-separator=~"
    assert cli._expanded("--output=~/x") == f"--output={Path.home()}/x"
