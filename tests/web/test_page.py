"""The page in a browser: answers of every kind, hostile texts, files, keyboard, narrow screens."""

import csv
import io
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from web_client import client

from tfhub_transfer.web.app import About
from tfhub_transfer.web.rest import PREDICT, Signature
from tfhub_transfer.web.servable import Servable

sync_api = pytest.importorskip("playwright.sync_api", reason="needs Playwright and Chromium")
BROWSER = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = [
    pytest.mark.skipif(BROWSER is None, reason="needs Playwright and Chromium"),
    pytest.mark.slow,
]
# What a page must show as it is, and never run.
EVIL = '<img src=x onerror="document.title=\'broken\'"> <script>alert(1)</script> & "q"'


def strings(*values: str) -> np.ndarray:
    found = np.empty(len(values), object)
    found[:] = [value.encode() for value in values]
    return found


def tagged(text: str) -> dict[str, Any]:
    """An entity behind an emoji, whose places count characters."""
    start = text.index("Rome")
    end = start + 4
    words = {"word": [["Rome"]], "tag": [["B-place"]], "score": [[0.9]], "start": [[start]]}
    words |= {"end": [[end]], "word_count": [1], "entity_count": [1]}
    entity = {"entity": [["Rome"]], "type": [[EVIL]], "entity_score": [[0.9]]}
    return {**words, **entity, "entity_start": [[start]], "entity_end": [[end]]}


# By the name of a signature: inputs, and what is answered to one row.
KINDS: dict[str, tuple[tuple[str, ...], Any]] = {
    "classes": (("text",), lambda t: {"label": [EVIL], "label_id": [0], "scores": [[0.75, 0.25]]}),
    "labels": (
        ("text",),
        lambda t: {
            "label_names": [["a", "b"]],
            "predicted": [[False, True]],
            "scores": [[0.125, 0.875]],
        },
    ),
    "number": (("text_a", "text_b"), lambda a, b: {"score": [1.5]}),
    "unsure": (
        ("text",),
        lambda t: (
            {"label": ["a"], "label_id": [0], "scores": [[0.5, 0.375, 0.125]], "accepted": [False]}
            | {"label_set": [[True, True, False]], "label_names": [["a", EVIL, "c"]]}
        ),
    ),
    "between": (("text",), lambda t: {"score": [1.5], "lower": [0.25], "upper": [2.75]}),
    "near": (
        ("text",),
        lambda t: {
            "label_names": [["a", "b"]],
            "predicted": [[False, True]],
            "scores": [[0.125, 0.875]],
            "scope_score": [0.25],
        },
    ),
    "tags": (("text",), tagged),
    "question": (
        ("question", "context"),
        lambda q, c: (
            {"answer": ["Rome"], "score": [0.5], "margin": [1.0]}
            | {"start": [c.index("Rome")], "end": [c.index("Rome") + 4]}
        ),
    ),
    "summary": (
        ("document",),
        lambda d: (
            {"sentence": [["B."]], "score": [[0.5]], "start": [[3]], "end": [[5]]}
            | {"sentence_count": [1]}
        ),
    ),
    "written": (
        ("text",),
        lambda t: (
            {"text": [t], "score": [-0.5]} | {"texts": [[t, "other"]], "scores": [[-0.5, -1.25]]}
        ),
    ),
    "encode": (("text",), lambda t: {"embedding": [[float(len(t)), 1.0]]}),
}


class Written(Servable):
    """A model whose answers are written down here."""

    def __init__(self) -> None:
        self.name, self.version = "m<b>", 3
        self.signatures = {
            name: Signature(name, PREDICT, dict.fromkeys(inputs, 0), together=False)
            for name, (inputs, _) in KINDS.items()
        }

    def answer(self, signature: Signature, inputs: Any) -> dict[str, np.ndarray]:
        """Row by row."""
        make = KINDS[signature.name][1]
        rows = [make(*(t.decode() for t in row)) for row in zip(*inputs.values())]
        joined = {name: [row[name][0] for row in rows] for name in rows[0]}
        return {name: _array(values) for name, values in joined.items()}

    def tasks(self) -> Iterator[dict[str, Any]]:
        """As the real one."""
        for name, (inputs, make) in KINDS.items():
            outputs = [*make(*["Rome"] * len(inputs))]
            classes = [EVIL, "other"] if name == "classes" else []
            yield {"signature": name, "inputs": inputs, "outputs": outputs, "classes": classes}


def _array(values: list[Any]) -> np.ndarray:
    found = np.array(values)
    if found.dtype.kind != "U":
        return found.astype("float32") if found.dtype.kind == "f" else found
    return np.vectorize(str.encode, [object])(found)


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    about = About(examples={"classes": [[EVIL], ["short"]], "tags": [["In Rome"]]})
    with client(Written(), about) as web:
        yield web.address


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as started:
        found = started.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        yield found
        found.close()


@pytest.fixture(params=[1100, 390])
def page(request: pytest.FixtureRequest, browser: Any, address: str) -> Iterator[Any]:
    """The page; it may neither complain, nor ask another server, nor be wider than the screen."""
    found = browser.new_page(viewport={"width": request.param, "height": 800})
    said: list[str] = []
    # Chromium notes each answer that is an error; which are meant to come.
    found.on("console", lambda line: "status of 400" in line.text or said.append(line.text))
    found.on("pageerror", lambda error: said.append(str(error)))
    found.on("dialog", lambda dialog: said.append(dialog.message))
    found.on(
        "request",
        lambda sent: sent.url.startswith((address, "blob:", "data:")) or said.append(sent.url),
    )
    found.goto(address)
    found.wait_for_selector("#ask:not([hidden])")
    yield found
    assert not said
    assert found.title() == "Try m<b>"
    assert found.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert found.locator("main img, main script").count() == 0
    found.close()


def ask(page: Any, *texts: str) -> str:
    for area, text in zip(page.locator("textarea").all(), texts, strict=True):
        area.fill(text)
    page.click("#go")
    page.wait_for_selector("#answer:not([hidden])")
    return str(page.locator("#found").inner_text())


def choose(page: Any, name: str) -> None:
    page.get_by_role("button", name=name, exact=True).click()


def test_every_kind_of_answer(page: Any) -> None:
    found = ask(page, EVIL)
    assert EVIL in found and "75.0 %" in found and "other" in found
    choose(page, "labels")
    found = ask(page, "x")
    assert found.startswith("b") and page.locator(".bars .first .name").inner_text() == "b"
    choose(page, "number")
    assert ask(page, "x", "y") == "1.500"
    choose(page, "unsure")
    found = ask(page, "x")
    assert f"Not sure enough to be accepted. May be right: a, {EVIL}." in found
    choose(page, "between")
    assert ask(page, "x").split("\n\n") == ["1.500", "Between 0.2500 and 2.750."]
    choose(page, "near")
    assert "Of other texts 25.0 % lie farther from what it was trained on." in ask(page, "x")
    choose(page, "tags")
    ask(page, f"🙂 {EVIL} 👍🏽 in Rome now")
    mark = page.locator("#found mark")
    assert mark.inner_text() == f"Rome{EVIL}"
    assert page.locator("#found .passage").inner_text().endswith(f"in Rome{EVIL} now")
    choose(page, "question")
    assert "50.0 %" in ask(page, "Where?", f"🙂 {EVIL}: Rome.")
    assert page.locator("#found mark").inner_text() == "Rome"
    choose(page, "summary")
    ask(page, "A. B. C.")
    assert page.locator("#found mark").inner_text() == "B."
    choose(page, "written")
    assert ask(page, f"{EVIL}\n  two").startswith(f"{EVIL}\n  two\n")
    assert page.locator("#found td").all_inner_texts()[2:] == ["other", "-1.250"]
    choose(page, "nearest texts")
    found = ask(page, "xxx", "x\n\nyyy\nlonger text")
    assert found.split("\n")[0] == "yyy" and "1.000" in found


def test_examples_are_asked_by_one_click_and_the_command_is_shown(page: Any) -> None:
    page.locator("#tries button").nth(1).click()
    page.wait_for_selector("#answer:not([hidden])")
    assert page.locator("textarea").input_value() == "short"
    page.locator("#raw summary").click()
    command = page.locator("#command").inner_text()
    assert '{"signature_name":"classes","instances":["short"]}' in command
    assert "/v1/models/m%3Cb%3E:predict" in command


def test_by_keyboard_and_for_who_listens(page: Any) -> None:
    names = set()
    for _ in range(30):
        page.keyboard.press("Tab")
        names.add(page.evaluate("document.activeElement.id || document.activeElement.textContent"))
    assert {"go", "file", "classes", "nearest texts"} <= names
    page.locator("textarea").focus()
    page.keyboard.type("good")
    page.keyboard.press("Control+Enter")
    page.wait_for_selector("#answer:not([hidden])")
    assert page.get_by_role("status").inner_text() == "Answered."
    assert page.get_by_label("text", exact=True).count() == 1
    pressed = page.locator("nav button[aria-pressed=true]")
    assert pressed.inner_text() == "classes"
    unnamed = page.evaluate(
        "[...document.querySelectorAll('button, input, textarea')]"
        ".filter((e) => !(e.labels?.length || e.textContent.trim() || e.ariaLabel)).length"
    )
    assert unnamed == 0


def test_a_file_becomes_a_table_and_files(page: Any, tmp_path: Path) -> None:
    rows = [{"id": str(i), "text": f'{i}, "{EVIL}"', "label": "x"} for i in range(70)]
    lines = io.StringIO()
    written = csv.DictWriter(lines, [*rows[0]])
    written.writeheader()
    written.writerows(rows)
    path = tmp_path / "reviews.csv"
    path.write_text(lines.getvalue(), "utf-8")
    page.set_input_files("#file", path)
    page.wait_for_selector("#many:not([hidden])")
    assert page.locator("#table tbody tr").count() == 70
    assert page.locator("#status").inner_text() == "70 rows answered."
    read: dict[str, list[dict[str, Any]]] = {}
    for name in ("csv", "jsonl"):
        with page.expect_download() as waited:
            page.click(f"#as-{name}")
        assert waited.value.suggested_filename == f"reviews-answers.{name}"
        text = Path(waited.value.path()).read_text("utf-8")
        read["jsonl"] = [json.loads(line) for line in text.splitlines()] if name == "jsonl" else []
        if name == "csv":
            read["csv"] = list(csv.DictReader(io.StringIO(text)))
    for found in read.values():
        assert [{key: row[key] for key in rows[0]} for row in found] == rows
        assert {row["prediction"] for row in found} == {EVIL}
        # The file has a column of that name already.
        assert {row["predicted_label"] for row in found} == {EVIL}
        assert {float(row["scores.other"]) for row in found} == {0.25}


def test_mistakes_are_said(page: Any, tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text("id,review\n1,x\n", "utf-8")
    page.set_input_files("#file", path)
    page.wait_for_selector("#failed:not([hidden])")
    assert "expected a column 'text'" in page.get_by_role("alert").inner_text()
    choose(page, "nearest texts")
    page.click("#go")
    page.wait_for_selector("#failed:not([hidden])")
    assert page.get_by_role("alert").inner_text() == "Give texts to compare, one a line."
