"""Marks around fields that aren't usual, backslashes before them: read as they were written."""

import csv
import random
from pathlib import Path
from typing import Any

import pytest

from tfhub_transfer import data
from tfhub_transfer.data import reading
from tfhub_transfer.errors import InputError

PIECES = ['"', "'", "''", "a", "b ", ", ", "'x'", "\\", '\\"', "|", "~x~", "\n", "it's", "\t"]
# How Python's csv module, and with it pandas, writes a table.
DIALECTS: dict[str, dict[str, Any]] = {
    "usual": {},
    "all": {"quoting": csv.QUOTE_ALL},
    "single": {"quotechar": "'"},
    "single, all": {"quotechar": "'", "quoting": csv.QUOTE_ALL},
    "single, texts": {"quotechar": "'", "quoting": csv.QUOTE_NONNUMERIC},
    "bars": {"quotechar": "|", "quoting": csv.QUOTE_ALL},
    "tildes": {"quotechar": "~"},
    "dollars; semicolons": {"quotechar": "$", "quoting": csv.QUOTE_ALL, "delimiter": ";"},
    "backslashes": {"doublequote": False, "escapechar": "\\"},
    "backslashes, all": {"doublequote": False, "escapechar": "\\", "quoting": csv.QUOTE_ALL},
    "backslashes, unquoted": {"quoting": csv.QUOTE_NONE, "escapechar": "\\"},
    "backslashes, tabs": {"quoting": csv.QUOTE_NONE, "escapechar": "\\", "delimiter": "\t"},
}
# Of these a line of its own ends a row, whatever stands before it.
LINES = ("backslashes, unquoted", "backslashes, tabs")


def write(path: Path, rows: list[list[str]], **dialect: Any) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, **dialect).writerows(rows)
    return path


@pytest.mark.parametrize("name", DIALECTS)
def test_tables_are_read_as_their_writer_meant_them(name: str, tmp_path: Path) -> None:
    """At random: right, or refused; and with texts as people write them, right."""
    generator = random.Random(7)
    # A backslash alone is doubled as well, and may as well have been two.
    odd = ("\n", "\\") if name in LINES else ("\\",) if "escapechar" in DIALECTS[name] else ()
    pieces = [each for each in PIECES if each not in odd]
    wrong, refused = [], 0
    for _ in range(30):
        texts = ["".join(generator.choices(pieces, k=generator.randint(1, 4))) for _ in range(8)]
        rows = [["text", "label"], *([text, generator.choice("xy")] for text in texts)]
        path = write(tmp_path / "x.csv", rows, **DIALECTS[name])
        try:
            found = [[row["text"], row["label"]] for _, row in reading.Table(path)]
        except (InputError, KeyError):
            refused += 1
            continue
        wrong += [] if found == rows[1:] else [(texts, found)]
    assert not wrong
    assert refused <= (0 if name in ("usual", "all", "single, all") else 20)
    plain = ["good, very", 'she said "no"', "it's", "a 'quote'", "", "C:", "naïve; café", "fine"]
    rows = [["text", "label"], *([text, "xy"[i % 2]] for i, text in enumerate(plain))]
    read = data.read(write(tmp_path / "x.csv", rows, **DIALECTS[name]))
    assert read.texts == (plain,)
    assert bool(read.notes) == (name not in ("usual", "all"))


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("it's,a\n'b',c\n", ["it's", "'b'"]),
        ("'its',a\nb,c\n", ["'its'", "b"]),  # one alone may be a quotation
        ("''tis',a\n'b',c\n", ["''tis'", "'b'"]),
        ("b,a\n***c***,c\n", ["b", "***c***"]),
        ('"{""a"": ""x\\""y""}",a\nb,c\n', ['{"a": "x\\"y"}', "b"]),
        ('C:\\"x",a\nb,c\n', ['C:\\"x"', "b"]),
    ],
)
def test_marks_of_texts_stay(body: str, expected: list[str], tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text("text,label\n" + body, encoding="utf-8")
    read = data.read(path)
    assert (read.texts, read.notes) == ((expected,), ())


def test_marks_may_be_named(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text("text,label\n'it''s',a\nb,c\n", encoding="utf-8")
    note = "fields are quoted with '; `--quoting standard` reads otherwise"
    for quoting, text, notes in (
        ("auto", "it's", (note,)),
        ("'", "it's", ()),
        ("standard", "'it''s'", ()),
        ("none", "'it''s'", ()),
    ):
        read = data.read(data.File(path, quoting=quoting))
        assert (read.texts[0][0], read.notes) == (text, notes)
    path.write_text("text,label\n'a, b',c\nit's,d\n", encoding="utf-8")
    with pytest.raises(InputError, match="expected 2 fields.*or say with `--quoting` what fields"):
        data.read(path)


def test_the_start_of_a_large_file_tells(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where it ends inside of a text of several lines."""
    monkeypatch.setattr("tfhub_transfer.data.forms.marks._LINES", 12)
    texts = [f"it's {i},\nas said\nbefore" for i in range(20)]
    rows = [["text", "label"], *([text, "x"] for text in texts)]
    read = data.read(write(tmp_path / "x.csv", rows, quotechar="'", lineterminator="\n"))
    assert read.texts == (texts,)
