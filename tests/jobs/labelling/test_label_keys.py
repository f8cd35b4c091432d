"""What is typed: classes by keys, numbers and names; undo, skip, quit; a real terminal."""

import os
import pty
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import tfhub_transfer as tt
from tfhub_transfer.jobs.labelling import terminals
from tfhub_transfer.jobs.labelling.exchange import Asked
from tfhub_transfer.jobs.labelling.keys import Keys, Odd, Wish
from tfhub_transfer.jobs.labelling.label_files import Kept, Skipped
from tfhub_transfer.jobs.labelling.sessions import Session

MANY = [f"topic {number}" for number in range(1, 13)]
CASES = [
    (["bad", "good"], False, True, {"1": "bad", "2": "good", "3": Odd, "x": Odd, "": Odd}),
    (
        ["bad", "good"],
        False,
        True,
        {"u": Wish.UNDO, "s": Wish.SKIP, "q": Wish.QUIT, "?": Wish.HELP},
    ),
    (
        MANY,
        False,
        True,
        {"12": MANY[11], "1": MANY[0], "topic 3": MANY[2], "topic": Odd, "13": Odd},
    ),
    (["unsure", "sure"], False, False, {"un": "unsure", "SU": "sure", "u": Wish.UNDO, "+x": "x"}),
    (["sure", "sure not"], False, False, {"sure": "sure", "sure ": "sure", "su": Odd, "+": Odd}),
    # Numbers that are names of classes are no places.
    (["1", "0"], False, True, {"1": "1", "0": "0", "2": Odd}),
    (["10", "20"], False, True, {"10": "10", "1": Odd, "2": Odd}),
    (["a", "b"], True, True, {"1,2": ("a", "b"), "2": ("b",), "-": (), "1,9": Odd, "2, 2": ("b",)}),
    (["a", "b"], True, True, {",": Odd, " , ,": Odd}),
    (["a", "b"], True, True, {"+c": Odd}),
    (["a"], True, False, {"+c,1": ("a", "c"), "2": ("c",)}),
]


@pytest.mark.parametrize(("classes", "several", "closed", "typed"), CASES)
def test_what_is_typed(classes: list[str], several: bool, closed: bool, typed: Any) -> None:
    keys = Keys(classes, several, closed)
    for word, expected in typed.items():
        found = keys.understood(word)
        assert isinstance(found, Odd) if expected is Odd else found == expected, word


def test_one_key_is_enough_for_few_classes() -> None:
    assert Keys(MANY[:9], False, True).single and not Keys(MANY[:10], False, True).single
    assert not Keys(["a", "b"], True, True).single and not Keys(["a", "b"], False, False).single
    assert Keys(["0", "1"], False, True).single and not Keys(["0", "10"], False, True).single
    said = "\n".join(Keys(["a", "b"], True, False).help())
    assert "1 a, 2 b" in said and "None of them: -" in said and "A new class: +" in said


class Sitting:
    """A session whose answers are known."""

    def __init__(self, folder: Path, *typed: str, keys: Keys | None = None) -> None:
        self.said: list[str] = []
        self.kept = Kept(folder / "out.csv", False)
        given: Iterator[str] = iter(typed)
        self.session = Session(
            self.kept,
            keys or Keys(["bad", "good"], False, True),
            lambda: next(given, None),
            self.said.append,
            9,
            Skipped(self.kept.path),
        )
        self.goes_on = self.session.ask(
            [Asked(text, "typical") for text in ("one", "two", "three")]
        )

    @property
    def labels(self) -> list[tuple[str, Any]]:
        return [(row.text, row.label) for row in self.kept.rows]


def test_labels_are_kept_as_they_are_given(tmp_path: Path) -> None:
    sitting = Sitting(tmp_path, "1", "?", "x", "2", "1")
    assert sitting.goes_on
    assert sitting.labels == [("one", "bad"), ("two", "good"), ("three", "bad")]
    assert any("[2 of 9, 1 more" in each and "two" in each for each in sitting.said)
    assert Kept(tmp_path / "out.csv", False).rows == sitting.kept.rows


def test_undo_takes_back_labels_and_what_was_skipped(tmp_path: Path) -> None:
    sitting = Sitting(tmp_path, "u", "1", "s", "u", "u", "2", "s", "1")
    assert sitting.goes_on and sitting.labels == [("one", "good"), ("three", "bad")]
    assert sitting.session.skipped.texts == ["two"]
    assert "nothing to undo since this sitting began" in sitting.said


@pytest.mark.parametrize("last", [["q"], []])
def test_who_quits_has_lost_nothing(last: list[str], tmp_path: Path) -> None:
    sitting = Sitting(tmp_path, "1", *last)
    assert not sitting.goes_on and sitting.labels == [("one", "bad")]


def test_texts_cant_play_with_the_terminal(tmp_path: Path) -> None:
    sitting = Sitting(tmp_path, "q")
    sitting.session.ask([Asked("\x1b[31mred", "typical")])
    assert r"\x1b[31mred" in sitting.said[-1]


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """A terminal in the place of standard input; what is written to it is typed."""
    typing, typed = pty.openpty()
    with os.fdopen(typed, "r") as stream:
        monkeypatch.setattr(sys, "stdin", stream)
        yield typing
    os.close(typing)


def test_keys_of_a_terminal(terminal: int) -> None:
    with terminals.by_keys():
        os.write(terminal, b"1x")
        assert [terminals.key(), terminals.key()] == ["1", "x"]
        for odd in (b"\x1b[A", "ü".encode()):
            os.write(terminal, odd)
            assert terminals.key() == ""
        os.write(terminal, b"ahead")
        terminals.forget()
        os.write(terminal, b"2\x04")
        assert [terminals.key(), terminals.key()] == ["2", None]
    with terminals.by_keys(False):
        os.write(terminal, b"a line\n")
        assert terminals.line() == "a line"


def test_nobody_is_asked_where_nobody_is(monkeypatch: pytest.MonkeyPatch) -> None:
    with open(os.devnull) as nowhere, pytest.raises(tt.InputError) as caught:
        monkeypatch.setattr(sys, "stdin", nowhere)
        terminals.require()
    assert re.search("`--format csv`.*Received: standard input, which is no", str(caught.value))
