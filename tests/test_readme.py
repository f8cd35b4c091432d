"""What the README and the guides in `docs` show can be copied out and run, Python and commands.

Section by section, each of which finds the files that it speaks of in the current folder, made of
packaged samples and of sentences with a pattern. `"auto"` is a tiny encoder, so that training takes
a second.
"""

import io
import json
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest

import tfhub_transfer as tt
from tfhub_transfer import cli
from tfhub_transfer.encoders import registry
from tfhub_transfer.jobs.options.training import TASKS

REPOSITORY = Path(__file__).resolve().parents[1]
README = REPOSITORY / "README.md"
DOCS = REPOSITORY / "docs"
GUIDES = sorted([*DOCS.glob("*.md"), *DOCS.glob("tasks/*.md")])
# What installs, what needs a server or weights that don't come with the package.
_ELSEWHERE = (
    *("pip install", "tensorflow_model_server", "curl", "path/to/", "glove"),
    *("serve out", "docker compose", "client.py", "check-export reviews", "at a terminal"),
)


def sections() -> dict[str, list[tuple[str, str]]]:
    """Language and text of the code blocks of each section, by its title."""
    found: dict[str, list[tuple[str, str]]] = {}
    for page in (README, *GUIDES):
        parts = re.split(r"^## (.+)$", page.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
        for title, text in zip(parts[::2], parts[1::2]):
            assert title not in found, f"{page.name}: a second section {title!r}"
            found[title] = re.findall(r"^```(\w+)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    return found


SECTIONS = sections()
WITH_PYTHON = [t for t, blocks in SECTIONS.items() if any(kind == "python" for kind, _ in blocks)]
# They train heads over tokens, which takes long even with a tiny encoder.
_LONG = (
    *"Ordered Tags Questions Summaries Similarity Several Going Unfreezing Fast Smaller".split(),
    *("A Keras model", "Models of", "Numbers", "Classes of", "From ", "A stage", "A share", "XLA"),
    *("Searching", "Before a search"),
)
PYTHON = [
    pytest.param(title, marks=pytest.mark.slow) if title.startswith(_LONG) else title
    for title in WITH_PYTHON
]


def commands(title: str) -> list[str]:
    """The lines of a section's shell blocks that can run here."""
    lines = "".join(text for kind, text in SECTIONS[title] if kind == "bash").splitlines()
    return [line for line in lines if not any(word in line for word in _ELSEWHERE)]


WITH_COMMANDS = [title for title in SECTIONS if commands(title)]


# The files that sections speak of ----------------------------------------------------------------


def _rows(path: str, rows: list[dict[str, Any]]) -> None:
    file = Path(path)
    if file.suffix == ".csv":
        names = list(rows[0])
        lines = [",".join(names), *(",".join(f'"{row[n]}"' for n in names) for row in rows)]
    else:
        lines = [json.dumps(row) for row in rows]
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")


def reviews(label: str = "sentiment", count: int = 90) -> None:
    examples = tt.data.read(registry.samples_path(), label="sentiment")[:count]
    rows = [
        {"review": t.replace('"', ""), label: y} for t, y in zip(*examples.texts, examples.labels)
    ]
    _rows("reviews.csv", rows)
    _rows("more_reviews.csv", rows[:20])
    _rows("more_reviews.txt", [])
    Path("more_reviews.txt").write_text("\n".join(r["review"] for r in rows[:20]), "utf-8")


def tagged() -> None:
    names = ["Anna", "Rome", "Bert", "Paris"]
    lines = []
    for number in range(60):
        first, second = names[number % 4], names[(number + 1) % 4]
        lines.append(f"{first} B-person\nlives O\nin O\n{second} B-place\n")
    for name in ("news.conll", "validation.conll"):
        Path(name).write_text("\n".join(lines), encoding="utf-8")


def asked() -> None:
    for name in ("train-v2.0.json", "dev-v2.0.json"):
        paragraphs = []
        for number in range(30):
            place = ("Rome", "Paris", "Oslo")[number % 3]
            context = f"Anna number {number} lives in {place}."
            answer = {"text": place, "answer_start": context.index(place)}
            asked = {"id": f"{number}a", "question": "Where does Anna live?", "answers": [answer]}
            silent = {"id": f"{number}b", "question": "Who is Bert?", "answers": []}
            qas = [{**asked, "is_impossible": False}, {**silent, "is_impossible": True}]
            paragraphs.append({"context": context, "qas": qas})
        data = {"version": "v2.0", "data": [{"title": "Anna", "paragraphs": paragraphs}]}
        Path(name).write_text(json.dumps(data), encoding="utf-8")


def papers() -> None:
    rows = [
        {
            "document": f"It rained {n} days. We found a cure for {n} colds. Lunch was good.",
            "summary": f"A cure for {n} colds.",
        }
        for n in range(40)
    ]
    _rows("papers.jsonl", rows)
    _rows("validation.jsonl", rows[:10])


def translated() -> None:
    rows = [{"source": f"{n} good films", "target": f"{n} gute Filme"} for n in range(40)]
    _rows("train.jsonl", rows)
    _rows("validation.jsonl", rows[:10])
    _rows("test.jsonl", rows[:10])


def paraphrases() -> None:
    examples = tt.data.read(registry.samples_path().with_name("paraphrases.csv"))
    rows = [
        {"text_a": a.replace('"', ""), "text_b": b.replace('"', ""), "score": float(y)}
        for a, b, y in zip(*examples.texts, examples.labels)
    ]
    _rows("pairs.csv", rows)
    _rows("validation.csv", rows[:30])
    Path("library.txt").write_text("\n".join(r["text_a"] for r in rows), encoding="utf-8")


def pairs() -> None:
    reviews(count=240)  # of which validation has enough to say how far to trust answers
    kinds = ("yes", "no")
    rows = [{"premise": f"a {n}", "hypothesis": f"b {n}", "label": kinds[n % 2]} for n in range(40)]
    _rows("pairs.csv", rows)
    _rows("more.csv", [{"review": f"a film without a label, number {n}"} for n in range(30)])


def labelled() -> None:
    names = ("toxic", "insult", "threat")
    rows = [{"text": f"{names[n % 3]} words {n}", **dict.fromkeys(names, 0)} for n in range(60)]
    for n, row in enumerate(rows):
        row[names[n % 3]] = 1
    _rows("comments.csv", rows)


def pooled() -> None:
    reviews()
    kept = tt.data.read("reviews.csv", text="review", label="sentiment")
    both = zip(kept.texts[0], kept.labels)
    rows = [{"text": text, "label": label} for text, label in both if label != "neutral"]
    _rows("pool.csv", [{"text": row["text"]} for row in rows])
    _rows("answered.csv", rows[:30])
    _rows("labelled.csv", [{**row, "reason": "given"} for row in rows])
    reasons = ("typical", "random")
    _rows("labelled.jsonl", [{**row, "reason": reasons[n % 2]} for n, row in enumerate(rows)])


def unlabelled() -> None:
    pooled()
    Path("labelled.csv").unlink()


def priced() -> None:
    _rows("prices.csv", [{"text": f"chair of size {n}", "price": 100 + n} for n in range(60)])


def reported() -> None:
    for name, right in (("out_before", 5), ("out_after", 9)):
        folder = Path(name) / "report"
        folder.mkdir(parents=True)
        told = {"task": "classification", "metrics": {"accuracy": right / 10}}
        (folder / "report.json").write_text(json.dumps(told), "utf-8")
        rows = [
            {"row": n, "texts": [f"text {n}"], "true": "a", "accuracy": float(n < right)}
            | {"predicted": "a" if n < right else "b"}
            for n in range(10)
        ]
        (folder / "predictions.jsonl").write_text("\n".join(map(json.dumps, rows)), "utf-8")


def answered() -> None:
    saved()
    tt.export_saved_model(tt.load_model("out/model.keras"), "out/serving")


def ordered() -> None:
    grades, stars = ("poor", "fair", "good", "great"), (1, 2, 4, 5)
    rows = [{"text": f"{grades[n % 4]} film {n}", "stars": stars[n % 4]} for n in range(60)]
    _rows("reviews.csv", rows)
    _rows("validation.csv", rows[:20])
    _rows("essays.csv", [{"text": row["text"], "label": row["text"].split()[0]} for row in rows])


def counts() -> None:
    _rows("counts.csv", [{"text": "and ".join(["a film "] * n), "label": n} for n in range(1, 9)])


def several() -> None:
    reviews("label")
    tagged()
    kinds = ("entailment", "neutral", "contradiction")
    rows = [{"text_a": f"a {n}", "text_b": f"b {n}", "label": kinds[n % 3]} for n in range(60)]
    _rows("pairs.csv", rows)
    _rows("test.csv", rows[:12])
    [(_, settings)] = [b for b in SECTIONS["Several tasks on one encoder"] if b[0] == "json"]
    Path("tasks.json").write_text(settings, encoding="utf-8")


def saved(classes: Sequence[str] = ("negative", "positive"), name: str = "model") -> None:
    model = tt.build_model("auto", tt.tasks.Classification(classes))
    Path("out").mkdir()
    model.save(f"out/{name}.keras")


def of_reviews(name: str = "model") -> None:
    reviews()
    labels = tt.data.read("reviews.csv", text="review", label="sentiment").labels
    saved(sorted(set(labels)), name)


def sliced() -> None:
    of_reviews()
    examples = tt.data.read("more_reviews.csv", text="review", label="sentiment")
    pairs = enumerate(zip(*examples.texts, examples.labels))
    rows = [{"text": t, "label": y, "source": "web", "language": n % 2} for n, (t, y) in pairs]
    _rows("more_reviews.csv", rows)


def trained() -> None:
    reviews()
    words = ["train", "--task", "classification", "--data", "reviews.csv", "--text", "review"]
    words += ["--label", "sentiment", "--epochs", "1", "--unfreeze", "none"]
    assert cli.main([*words, "--output", "out_large"]) == 0


FILES: dict[str, Callable[[], None]] = {
    "Five lines of Python": reviews,
    "A Keras model of your own": lambda: None,
    "Models of your own": lambda: None,
    "The same on the command line": reviews,
    "Classes of texts": pairs,
    "Several labels a text": labelled,
    "Which texts to label": pooled,
    "Labels given in other tools": unlabelled,
    "Labels from Python": reviews,
    "Numbers": priced,
    "From Python": of_reviews,
    "From a model to answers": answered,
    "Weak spots": sliced,
    "Two models side by side": reported,
    "Serving": saved,
    "The kit": saved,
    "Does an export answer as its model?": answered,
    "Ordered classes: stars, grades, degrees": ordered,
    "A task of your own": counts,
    "Tags of words: entities, parts of speech": tagged,
    "Questions: answers found in a text": asked,
    "Summaries: the sentences that say it all": papers,
    "Translation: a decoder on any encoder": translated,
    "Similarity and search": paraphrases,
    "Several tasks on one encoder": several,
    "What it says on the way": lambda: None,
    "Going on with the weights alone": lambda: of_reviews("interrupted"),
    "Unfreezing by hand": reviews,
    "A stage of your own": reviews,
    "A share of the rows, batches of one size": reviews,
    "XLA": reviews,
    "Fast, and what that costs": saved,
    "By hand, with TF_CONFIG": lambda: None,
    "Searching by one command": reviews,
    "Searching from Python": reviews,
    "Before a search": reviews,
    "Your own encoder": lambda: None,
    "Smaller models and encoders: distillation": trained,
}


def taken_for_granted(title: str) -> dict[str, Any]:
    """Names that a section uses and an earlier one made."""
    names: dict[str, Any] = {"tt": tt, "np": np}
    if title.startswith(
        (
            *("Unfreezing by hand", "A stage", "A share", "XLA", "Smaller models", "Searching"),
            "Before a search",
        )
    ):
        examples = tt.data.read("reviews.csv", text="review", label="sentiment")
        names["train"], names["validation"] = examples[:60], examples[60:]
        names["task"] = tt.tasks.Classification().adapt(examples.labels)
    if title.startswith(("A stage", "A share", "XLA")):
        names["model"] = tt.build_model("auto", names["task"])
    if title == "Labels from Python":
        examples = tt.data.read("reviews.csv", text="review", label="sentiment")
        known = dict(zip(examples.texts[0], examples.labels))
        names |= {"texts": examples.texts[0], "ask": known.get}
    if title == "A Keras model of your own":
        names["texts"], names["labels"] = ["a good film", "bad"] * 20, [1, 0] * 20
    if title == "Similarity and search":
        names["texts"] = ["playing the guitar", "a parcel"]
        model = tt.build_model("auto", tt.tasks.Similarity(low=0, high=5))
        np.save("library.npy", model.encode_text(names["texts"]))
    if title == "Several tasks on one encoder":
        tasks = {"sentiment": tt.data.read("reviews.csv", text="review")}
        tasks["inference"] = tt.data.read("pairs.csv")
        names["validation"] = names["test"] = {n: e[:30] for n, e in tasks.items()}
        single = tt.tasks.Classification().adapt(tasks["sentiment"].labels)
        alone = tt.build_model("auto", single)
        tt.export_saved_model(tt.build_model("auto", {"sentiment": single}), "out/serving")
        names["report"] = tt.evaluate(alone, names["test"]["sentiment"], baselines=False)
    if title == "Smaller models and encoders: distillation":
        large, another, small = (tt.build_model("auto", names["task"]) for _ in range(3))
        names |= {"large": large, "another": another, "small": small}
        names["more_texts"] = names["train"].texts[0][:10]
        names["texts"] = [f"{text} {n}" for n in range(3) for text in names["train"].texts[0]]
        _link("large_encoder")
    return names


def _link(name: str) -> None:
    """The folder of a packaged encoder, of three layers, under a name in the current one."""
    Path(name).symlink_to(registry.known_encoders()[0].handle, target_is_directory=True)


@pytest.fixture
def current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to be in."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def tiny(make_encoder: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes "auto" mean a tiny encoder that reads texts as long as the packaged one does."""
    monkeypatch.setattr(registry, "DEFAULT_ENCODER", str(make_encoder("long_encoder")))


PAGES = [README, *GUIDES, REPOSITORY / "SECURITY.md", REPOSITORY / "CONTRIBUTING.md"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        name, _, section = target.partition("#")
        if name.startswith(("http://", "https://")):
            continue
        linked = (page.parent / name).resolve() if name else page
        assert linked.exists(), f"{page.name} links to {target}"
        if section:
            titles = re.findall(r"^#+ (.+)$", linked.read_text(encoding="utf-8"), re.MULTILINE)
            anchors = [re.sub(r"[^\w -]", "", each.lower()).replace(" ", "-") for each in titles]
            assert section in anchors, f"{page.name} links to {target}"


def test_the_readme_is_short_and_leads_to_every_guide() -> None:
    text = README.read_text(encoding="utf-8")
    assert len(text.split()) < 1500  # ten minutes, with the tables
    assert len(text.encode()) <= 8192
    for page in GUIDES:
        assert f"(docs/{page.relative_to(DOCS).as_posix()})" in text, page.name
        assert "../README.md)" in page.read_text(encoding="utf-8"), page.name


def test_every_task_has_a_row() -> None:
    text = README.read_text(encoding="utf-8")
    cells = re.findall(r"^\| (.*?) \|", text, re.M)
    rows = [re.findall(r"`([a-z-]+)`", cell) for cell in cells if "`" in cell]
    assert [task for task in TASKS if not any(task in row for row in rows)] == []
    assert "docs/tasks/generation.md" in text


def test_every_section_with_code_is_known() -> None:
    assert {*WITH_PYTHON, *WITH_COMMANDS} == set(FILES)


# What the report of a section's `train` has: the data to evaluate once more, metrics and baselines.
REPORTS = {
    "Tags of words: entities, parts of speech": {
        "validation.conll": ({"accuracy", "precision", "recall", "f1"}, {"usual_tag"})
    },
    "Questions: answers found in a text": {
        "dev-v2.0.json": (
            {
                *("exact_match", "f1", "unanswerable"),
                *("answerable_exact_match", "answerable_f1"),
            },
            {"likeliest_sentence", "no_answer"},
        )
    },
    "Summaries: the sentences that say it all": {
        "validation.jsonl": ({"rouge1", "rouge2", "rougeL"}, {"lead", "oracle"})
    },
}
ASKED = {
    "Tags of words: entities, parts of speech": "Anna lives in Rome",
    "Questions: answers found in a text": "Where does Anna live?",
    "Summaries: the sentences that say it all": (
        "It rained. We found a cure for colds. Lunch was good."
    ),
}


def run_python(title: str) -> None:
    FILES[title]()
    names = taken_for_granted(title)
    with mock.patch.dict(tt.tasks.TASKS):  # a section may add one
        for text in [text for kind, text in SECTIONS[title] if kind == "python"]:
            exec(compile(text, title, "exec"), names)


@pytest.mark.parametrize("title", PYTHON)
def test_its_python_runs(title: str, current_folder: Path, tiny: None) -> None:
    run_python(title)


@pytest.mark.slow
@pytest.mark.parametrize("title", WITH_COMMANDS)
def test_its_commands_run(
    title: str, current_folder: Path, tiny: None, capsys: pytest.CaptureFixture[str]
) -> None:
    FILES[title]()
    if title == "Smaller models and encoders: distillation":
        texts = [f"good film number {n}" for n in range(150)]
        Path("texts.txt").write_text("\n".join(texts), encoding="utf-8")
    for line in commands(title):
        run(line, capsys)
    for data, names in REPORTS.get(title, {}).items():
        report = json.loads(Path("out/report/report.json").read_text(encoding="utf-8"))
        assert {"metrics", "baselines", "task", "encoder", "seconds"} <= set(report)
        assert (set(report["metrics"]), set(report["baselines"])) == names
        answers = [json.loads(x) for x in capsys.readouterr().out.splitlines() if x[:1] == "{"]
        assert len(answers) == 1 and ASKED[title] in answers[0].values()
        run(f"tfhub-transfer evaluate out --data {data} --output again", capsys)
        again = json.loads(Path("again/report.json").read_text(encoding="utf-8"))
        assert set(again["metrics"]) == names[0]


@pytest.mark.slow
def test_its_five_lines_run_with_the_packaged_encoder(current_folder: Path) -> None:
    run_python("Five lines of Python")


def run(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    """One line of a shell: a command of ours, an `echo` into one or into a file, a `grep`."""
    words = shlex.split(line, comments=True)
    if words[0] == "grep":
        subprocess.run(line, shell=True, check=True)
        return
    given = ""
    if words[0] == "echo":
        given, sign, *words = words[1] + "\n", *words[2:]
        if sign == ">":
            Path(words[0]).write_text(given, encoding="utf-8")
            return
        assert sign == "|"
    assert words[0] == "tfhub-transfer", line
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stdin", io.StringIO(given))
        status = cli.main(words[1:])
    assert status == 0, f"{line}\n{capsys.readouterr().err}"
