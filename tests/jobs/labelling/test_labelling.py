"""`label` as a command: asked at a terminal, or through files, and gone on with."""

import contextlib
import csv
import json
from pathlib import Path
from typing import Any

import pytest

from tfhub_transfer.jobs.labelling import labelling, terminals
from tfhub_transfer.recipes.active_learning import Gain, Judged

TEXTS = [f"a {kind} film {number}" for number in range(20) for kind in ("good", "bad")]


@pytest.fixture
def words(tmp_path: Path, text_encoder: Path) -> list[Any]:
    """The words of a command whose pool has blank texts and repeats."""
    pool = tmp_path / "pool.csv"
    pool.write_text("\n".join(["review", *TEXTS, "A GOOD FILM 0", '" "']) + "\n")
    output = ["--output", tmp_path / "out.csv"]
    more = ["--text", "review", "--batch", "10", "--encoder", text_encoder]
    return ["label", "--data", pool, *output, *more]


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What somebody types, to be filled; a terminal is taken for granted."""
    given: list[str] = []
    monkeypatch.setattr(terminals, "require", lambda: None)
    monkeypatch.setattr(terminals, "forget", lambda: None)
    monkeypatch.setattr(terminals, "by_keys", lambda wanted: contextlib.nullcontext())
    for name in ("key", "line"):
        monkeypatch.setattr(terminals, name, lambda: given.pop(0) if given else None)
    return given


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "out.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_a_sitting_ends_with_the_budget_and_is_gone_on_with(
    words: list[Any], typed: list[str], tmp_path: Path, run: Any
) -> None:
    typed += ["1", "2"] * 3 + ["s", "q"]
    status, out, _ = run(*words, "--labels", "bad,good")
    assert status == 0 and "2 of 42 texts are blank or come again" in out
    assert "Classes (one key): 1 bad, 2 good" in out and "6 labels; the same command" in out
    first = rows(tmp_path)
    assert len(first) == 6 and {row["reason"] for row in first} <= {"typical", "random"}
    skipped = json.loads((tmp_path / "out.skipped.jsonl").read_text())["text"]
    typed += ["1", "2"] * 8
    status, out, _ = run(*words, "--labels", "bad,good", "--budget", "22")
    found = rows(tmp_path)
    assert status == 0 and found[:6] == first and len(found) == 22
    assert len({row["text"] for row in found}) == 22 and not typed
    assert "random text" in out and "10 more labels: expected" in out
    assert "`--budget 22` is reached" in out and "nothing left" not in out
    assert "22 labels; the same command with a larger `--budget` goes on" in out
    assert {row["reason"] for row in found} == {"typical", "margin", "random"}
    assert run(*words, "--labels", "bad,good", "--format", "csv", "--batch", "99")[0] == 0
    with (tmp_path / "out.after-22.csv").open(encoding="utf-8", newline="") as file:
        left = {row["text"] for row in csv.DictReader(file)}
    asked = {skipped, *(row["text"] for row in found)}
    assert left == set(TEXTS) - asked and len(asked) == 23


def test_as_many_texts_measure_as_one_says(
    words: list[Any], typed: list[str], tmp_path: Path, run: Any
) -> None:
    typed += ["1", "2"] * 9 + ["s"] + ["1"] * 30
    status, out, _ = run(*words, "--labels", "bad,good", "--random-share", "0.5")
    reasons = [row["reason"] for row in rows(tmp_path)]
    assert status == 0 and len(reasons) == 39 and reasons[:10].count("random") == 5
    assert "there is nothing left to ask, 1 were skipped" in out
    assert "39 labels; the same command goes on" in out


def test_classes_may_come_as_they_are_needed(
    words: list[Any], typed: list[str], tmp_path: Path, run: Any
) -> None:
    typed += ["+news", "ne", "+art", "1", "q"]
    assert run(*words)[0] == 0
    assert [row["label"] for row in rows(tmp_path)] == ["news", "news", "art", "news"]
    typed += ["?", "2", "q"]
    status, out, _ = run(*words)
    assert status == 0 and "1 art, 2 news" in out and rows(tmp_path)[-1]["label"] == "news"


def test_any_number_of_classes(
    words: list[Any], typed: list[str], tmp_path: Path, run: Any
) -> None:
    typed += ["1,2", "-", "2", "q"]
    words = [*words, "--task", "multi-label", "--labels", "a,b"]
    assert run(*words)[0] == 0
    assert [json.loads(row["label"]) for row in rows(tmp_path)] == [["a", "b"], [], ["b"]]
    typed += ["1"] * 10
    assert run(*words, "--budget", "13")[0] == 0 and len(rows(tmp_path)) == 13


def test_through_a_file_and_back(words: list[Any], tmp_path: Path, run: Any) -> None:
    # What other commands call so are devices.
    status, out, _ = run(*words, "--format", "csv", "--strategy", "typical")
    asked = tmp_path / "out.after-0.csv"
    assert status == 0 and f"Written to {asked}: 10 texts" in out
    with asked.open(encoding="utf-8", newline="") as file:
        batch = list(csv.DictReader(file))
    assert {row["text"] for row in batch} <= set(TEXTS) and not (tmp_path / "out.csv").exists()
    before = asked.stat().st_mtime_ns
    assert run(*words, "--format", "csv")[0] == 0 and asked.stat().st_mtime_ns == before
    answers = tmp_path / "answers.csv"
    lines = [f"{row['text']},{row['text'].split()[1]},{row['reason']}" for row in batch[:9]]
    answers.write_text("\n".join(["text,label,reason", *lines, f"{batch[9]['text']},,x"]))
    status, out, _ = run(*words, "--answers", answers, "--format", "label-studio")
    assert status == 0 and "9 labels are new, 0 known" in out and "1 row without a label yet" in out
    assert "random text: accuracy" in out and '<Choice value="bad"/>' in out
    assert len(rows(tmp_path)) == 9
    tasks = json.loads((tmp_path / "out.after-9.json").read_text())
    assert len(tasks) == 10 and any("predictions" in task for task in tasks)
    assert {task["data"]["text"] for task in tasks}.isdisjoint(row["text"] for row in batch[:9])
    answers.write_text(f"text,label\n{batch[0]['text']},odd\nanother text,good\n")
    status, out, _ = run(*words, "--answers", answers)
    assert "1 label is new, 1 known" in out and "1 text with another label in" in out
    assert rows(tmp_path)[-1] == {"text": "another text", "label": "good", "reason": "given"}
    # A file of that name by somebody else stays.
    (tmp_path / "out.after-10.jsonl").write_text("mine")
    status, _, err = run(*words, "--format", "doccano")
    assert status == 2 and "such a batch is there and may be filled in already" in err
    assert (tmp_path / "out.after-10.jsonl").read_text() == "mine"


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ([], "labels are typed at a terminal"),
        (["--format", "csv", "--labels", "a"], "`--labels` takes at least two classes"),
        (["--format", "csv", "--labels", "a,a"], "`--labels` takes at least two classes"),
        (["--format", "csv", "--label", "x"], "`--label` names a column of the answers"),
        (["--format", "csv", "--text", "nowhere"], "no column 'nowhere'"),
        (["--format", "csv", "--strategy", "entropy"], "`--strategy` must be one of auto"),
        (["--format", "csv", "--output", "out.txt"], "must end in .csv, .tsv, .jsonl"),
        (["--format", "csv", "--budget", "0"], "`--budget` must be a whole number from 1"),
    ],
)
def test_mistakes(more: list[str], message: str, words: list[Any], run: Any) -> None:
    status, _, err = run(*words, *more)
    assert (status, err.count("\n")) == (2, 1) and message in err, err


def test_classes_of_the_output_must_be_among_those_named(
    words: list[Any], tmp_path: Path, run: Any
) -> None:
    (tmp_path / "out.csv").write_text("text,label,reason\na film,Good,given\n")
    status, _, err = run(*words, "--format", "csv", "--labels", "bad,good")
    assert (status, err.count("\n")) == (2, 1)
    assert "a class that `--labels` lacks" in err and '"a film"' in err and "with Good" in err


def test_lines_have_no_columns(words: list[Any], tmp_path: Path, run: Any) -> None:
    (tmp_path / "pool.txt").write_text("a film\na book\n")
    status, _, err = run(*words, "--data", tmp_path / "pool.txt", "--format", "csv")
    assert status == 2 and "lines of text have no columns" in err and "review" in err


@pytest.fixture
def pairs(tmp_path: Path, words: list[Any]) -> list[Any]:
    """The words of a command whose pool has pairs, one of them half and one of them twice."""
    own = [f"{text},it is {text.split()[1]}" for text in TEXTS]
    lines = ["premise,hypothesis", *own, "a half, ", own[0].upper()]
    (tmp_path / "pool.csv").write_text("\n".join(lines) + "\n")
    return [*words[:5], "--text", "premise", "--text-pair", "hypothesis", *words[7:]]


def test_pairs_are_asked_with_both_texts(
    pairs: list[Any], typed: list[str], tmp_path: Path, run: Any
) -> None:
    typed += ["1", "2"] * 10
    more = ["--labels", "no,yes", "--random-share", "0.3"]
    status, out, err = run(*pairs, *more, "--budget", "20")
    assert status == 0, err
    assert "2 of 42 pairs are blank or come again" in out and "[1 of 20" in out
    first, *_ = found = rows(tmp_path)
    assert f"text_a: {first['text_a']}\ntext_b: {first['text_b']}\n" in out
    assert list(first) == ["text_a", "text_b", "label", "reason"] and len(found) == 20
    assert {row["text_b"] for row in found} == {"it is good", "it is bad"}
    assert len({row["text_a"] for row in found}) == 20
    assert sum(row["reason"] == "random" for row in found) >= 6 and "random texts: accuracy" in out
    typed += ["s", "q"]
    assert run(*pairs, *more)[0] == 0
    assert set(json.loads((tmp_path / "out.skipped.jsonl").read_text())) == {"text_a", "text_b"}
    status, out, _ = run(*pairs, *more, "--format", "label-studio", "--batch", "99")
    assert status == 0 and "19 pairs to label" in out and 'name="text_b"' in out
    # What is written is what `train` reads.
    words = ["train", "--task", "classification", "--data", tmp_path / "out.csv", *pairs[-2:]]
    assert run(*words, "--output", tmp_path / "model", "--unfreeze", "none")[0] == 0
    answers = tmp_path / "answers.csv"
    answers.write_text("text_a,text_b,label\na book,it is good,yes\n")
    status, out, _ = run(*pairs, *more, "--answers", answers)
    assert status == 0 and "1 label is new, 0 known" in out
    told = {"text_a": "a book", "text_b": "it is good", "label": "yes", "reason": "given"}
    assert rows(tmp_path)[-1] == told


def test_columns_of_pairs_have_usual_names(words: list[Any], tmp_path: Path, run: Any) -> None:
    (tmp_path / "pairs.csv").write_text("text_a,text_b\na,b\nc,d\n")
    words = [*words[:2], tmp_path / "pairs.csv", *words[3:5], "--format", "csv", *words[-2:]]
    assert run(*words)[0] == 0
    with (tmp_path / "out.after-0.csv").open(encoding="utf-8", newline="") as file:
        asked = {(row["text_a"], row["text_b"]) for row in csv.DictReader(file)}
    assert asked == {("a", "b"), ("c", "d")}


def test_what_is_not_known_is_said() -> None:
    assert labelling.told(Judged(0), 20) == [
        "Accuracy: not known yet; it needs two classes, and random texts",
        "What more labels would bring: not known yet",
    ]
    said = labelling.told(Judged(1, 1.0, (0.2, 1.0), Gain(-0.001, 0.02)), 5)
    assert said[0] == "By the 1 random text: accuracy 1.000 (95 %: 0.200 to 1.000)"
