"""What people try first, and what they are told where it can't work."""

import io
import json
import re
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tfhub_transfer as tt
from tfhub_transfer import cli
from tfhub_transfer.data import reading
from tfhub_transfer.storage import keeping, signals

ROWS = "".join(f"a good film {i},positive\nthe worst movie {i},negative\n" for i in range(10))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, text_encoder: Path) -> Path:
    """What `train` writes, as far as it is asked here: of texts in a column `review`."""
    folder = tmp_path_factory.mktemp("newcomers")
    model = tt.build_model(str(text_encoder), tt.tasks.Classification(["negative", "positive"]))
    model.save(folder / "model.keras")
    record = {"columns": {"text": "review", "label": "sentiment"}}
    (folder / "training.json").write_text(json.dumps(record), encoding="utf-8")
    (folder / "reviews.csv").write_text(f"review,sentiment\n{ROWS}", encoding="utf-8")
    return folder


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Any:
    def call(*words: Any, given: str = "") -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "stdin", io.StringIO(given))
        status = cli.main([str(word) for word in words])
        return status, *capsys.readouterr()

    return call


# What is piped in -----------------------------------------------------------------------------

TABLES = {
    "id,text\n1,a\n": ("the header of a table", ".csv"),
    ",text,label\n0,a,b\n": ("the header of a table", ".csv"),  # with pandas' index
    '"id","text"\n1,a\n': ("the header of a table", ".csv"),
    "\ufeffid,text\n1,a\n": ("the header of a table", ".csv"),
    "id;text\r\n1;a\r\n": ("the header of a table", ".csv"),
    "text\tlabel\na\tb\n": ("the header of a table", ".tsv"),
    "question\tcontext\na\tb\n": ("the header of a table", ".tsv"),
    "id,review\n1,a\n": ("the header of a table", ".csv"),
    '{"text": "a"}\n': ("JSON", ".jsonl"),
    '{"id": 1, "review": "a"}\n': ("JSON", ".jsonl"),
    '[{"text": "a"}, {"text": "b"}]': ("JSON", ".json"),
    '[{"text": "a"},\n{"text": "b"}]': ("JSON", ".json"),
    '{\n "text": "a"\n}\n': ("JSON", ".json"),
    '[\n {"text": "a"}\n]\n': ("JSON", ".json"),
}
LINES = [
    "text",
    "a text, say\nmore",
    "Text, label and all",
    "id,title",
    "text, please, and context",
    "text,",
    "text,and behind that whatever a text has to say to whoever reads it",
    "{curly} or not",
    '{"level": "error", "message": "text"}',
    "[1] a footnote",
    "",
]


@pytest.mark.parametrize("pair", [False, True])
@pytest.mark.parametrize("given", TABLES)
def test_a_table_isnt_read_as_lines(
    given: str, pair: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(given))
    what, ending = TABLES[given]
    message = f"standard input is read as lines of text, and this is {what}.*{ending}"
    with pytest.raises(tt.InputError, match=message):
        list(reading.line_chunks("-", pair, columns=["review", None]))


@pytest.mark.parametrize("given", LINES)
def test_lines_that_only_look_odd_are_texts(given: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(given))
    found = [line for lines in reading.line_chunks("-", columns=["review"]) for line in lines]
    assert found == given.splitlines()
    later = f"first\n{next(iter(TABLES))}"  # only what stands at the top is a header
    monkeypatch.setattr(sys, "stdin", io.StringIO(later))
    assert len(next(reading.line_chunks("-"))) == 3


@pytest.mark.parametrize("command", ["predict", "encode"])
def test_the_header_of_the_training_is_known_as_one(command: str, folder: Path, run: Any) -> None:
    table = (folder / "reviews.csv").read_text(encoding="utf-8")
    status, out, err = run(command, folder, given=table)
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert "this is the header of a table; put it into a file whose name ends in `.csv`" in err


# Words of the command line ---------------------------------------------------------------------


@pytest.mark.parametrize("command", ["predict", "encode"])
def test_what_is_read_may_stand_behind_options(
    command: str, folder: Path, tmp_path: Path, run: Any
) -> None:
    table, ending = folder / "reviews.csv", "jsonl" if command == "predict" else "npy"
    output = tmp_path / f"answers.{ending}"
    assert run(command, folder, "--output", output, table)[0] == 0
    first = output.read_bytes()
    assert run(command, folder, table, "--output", output, "--overwrite")[0] == 0
    assert output.read_bytes() == first
    status, out, _ = run(command, folder, "--trust-code", "-", given="a good film\n")
    assert status == 0 and json.loads(out)["text"] == "a good film"
    for words in (["--output", output, table, table], ["--frobnicate"], [table, "more"]):
        status, _, err = run(command, folder, *words)
        assert status == 2 and re.search("nothing else to name here|there is no option", err)


def test_vectors_are_of_the_column_that_was_trained_on(folder: Path, tmp_path: Path) -> None:
    from tfhub_transfer.models import encoding

    texts, vectors = next(iter(encoding.encode_file(str(folder), str(folder / "reviews.csv"))))
    assert texts[:2] == ["a good film 0", "the worst movie 0"]
    np.testing.assert_allclose(vectors[:2], tt.encode_text(folder, texts[:2]), atol=1e-5)
    (tmp_path / "other.csv").write_text("text,id\nfine,1\n", encoding="utf-8")
    assert next(iter(encoding.encode_file(str(folder), str(tmp_path / "other.csv"))))[0] == ["fine"]


def test_the_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        cli.main(["--version"])
    assert capsys.readouterr().out == f"tfhub-transfer {tt.__version__}\n"


# Folders that hold something else --------------------------------------------------------------


def test_a_demo_replaces_demos_only(tmp_path: Path, run: Any) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    status, _, err = run("demo", "--output", tmp_path)
    assert status == 2 and "holds no demo; name another one with `--output`" in err
    assert [p.name for p in tmp_path.iterdir()] == ["mine.txt"]


def test_what_lies_there_instead_is_named(folder: Path, tmp_path: Path, run: Any) -> None:
    (tmp_path / "interrupted.keras").write_bytes(b"")
    status, _, err = run("predict", tmp_path, given="a text\n")
    assert status == 2 and f"give the model as trained until then, {tmp_path}/interrupted" in err
    with pytest.raises(tt.InputError, match=rf"such as {folder}/model.keras. Received"):
        tt.load_model(folder)
    (tmp_path / "serving").mkdir()
    with pytest.raises(tt.InputError, match=rf"such as {tmp_path}/serving. Received"):
        tt.load_saved_model(tmp_path)


# In a notebook --------------------------------------------------------------------------------


def test_examples_show_themselves_in_a_line() -> None:
    examples = tt.data.Examples.from_lists(["a"] * 3000, ["b"] * 3000)
    assert repr(examples) == "Examples(3,000 rows of text, label; lists)"
    assert repr(tt.data.Examples({})) == "Examples(0 rows of ; lists)"


@pytest.mark.parametrize("given", [("reviews.csv",), (tt.data.Examples.from_lists(["a"]), [1])])
def test_a_profile_is_of_examples(given: Any) -> None:
    with pytest.raises(tt.InputError, match=r"expected examples, as `data.read\(file\)` gives"):
        tt.data.profile(*given)


# Data that hardly mean what was asked for --------------------------------------------------------


@pytest.mark.parametrize(
    ("names", "said"),
    [
        ([f"{n / 2:g}" for n in range(10)], ["0.5, 1.5, 2.5, "]),
        ([str(n) for n in range(1, 12)], []),  # stars, or numbers of classes
        ([*(f"{n / 2:g}" for n in range(10)), "none"], []),
        (["0.5", "1.5"], []),
    ],
)
def test_classes_that_are_amounts_are_doubted(
    names: list[str], said: list[str], text_encoder: Path
) -> None:
    from tfhub_transfer.evaluation import cautions

    model = tt.build_model(str(text_encoder), tt.tasks.Classification(names))
    found = model.task.doubts()
    assert [each.split("such as ")[1].split("and what")[0] for each in found] == said
    rows = [
        tt.data.Examples.from_lists([f"{part} {name}"], [name])
        for part, name in zip(("a good film", "a bad one", "none"), names * 2)
    ]
    splits = types.SimpleNamespace(train=rows[0], validation=rows[1], test=rows[-1])
    assert set(found) <= set(cautions.before_training(model, splits))


# Signals that end in a library of another language ----------------------------------------------


def test_a_failure_of_an_interruption_is_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with (
        pytest.raises(signals.Interrupted, match="SIGHUP"),
        signals.handled(),
        keeping.kept(Path.touch, tmp_path / "model", "use {}"),
    ):
        monkeypatch.setattr(signals._State, "received", 1)
        raise RuntimeError("error_already_set called while Python error indicator not set")
    assert capsys.readouterr().err.startswith("\ninterrupted: the model as trained so far is in ")
    with pytest.raises(RuntimeError), signals.told_apart():  # the next one has its own reasons
        raise RuntimeError
