"""Mistakes at the command line: one true line each, and what it advises works."""

import contextlib
import io
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import tfhub_transfer as tt
from tfhub_transfer import cli
from tfhub_transfer.jobs import measuring
from tfhub_transfer.jobs.trainings import training

ROWS = range(30)


def table(header: str, *row: str) -> str:
    """A table of 30 rows; `row` alternate, with `#` for the number."""
    made = [row[i % len(row)].replace("#", str(i)) for i in ROWS]
    return "\n".join([header, *made]) + "\n"


def lines(row: Callable[[int], Any]) -> str:
    return "".join(json.dumps(row(i)) + "\n" for i in ROWS)


def asked(i: int) -> dict[str, Any]:
    answers = [{"text": "Rome", "answer_start": 14}]
    question = {"id": str(i), "question": f"Where {i}?", "answers": answers}
    return {"context": f"Anna lives in Rome {i}.", "qas": [question]}


TASKS = {"one": {"task": "classification", "data": "classes.csv"}}
FILES = {
    "classes.csv": table("text,label", "a #,x", "b #,y"),
    "reviews.csv": table("title,review,topic", "t#,a #,x", "t#,b #,y"),
    "half_pair.csv": table("text_a,label", "a #,x", "b #,y"),
    "pairs.csv": table("text_a,text_b,label", "a #,b,x", "b #,b,y"),
    "scores.csv": table("text,label", "a #,0.5#", "b #,1.5#"),
    "several.csv": table("text,label", "a #,x|y", "b #,x", "c #,y"),
    "commas.csv": table("text,label", 'a #,"x,y"', "b #,x", "c #,y"),
    "flags.csv": table("text,toxic,insult", "a #,1,0", "b #,0,1", "c #,0,0"),
    "tags.conll": "".join(f"w{i} B-x\nb O\n\n" for i in ROWS),
    "odd_tags.jsonl": lines(lambda i: {"tokens": [f"w{i}", "b"], "tags": ["O"] * (2 - (i == 7))}),
    "squad.json": json.dumps({"data": [{"paragraphs": [asked(i) for i in ROWS]}]}),
    "graded.jsonl": lines(lambda i: {"text_a": f"a {i}", "text_b": "b", "score": i % 5}),
    "alike.jsonl": lines(lambda i: {"text_a": f"a {i}", "text_b": f"b {i}"}),
    "triplets.jsonl": lines(lambda i: {"text_a": f"a {i}", "text_b": f"b {i}", "other": f"c {i}"}),
    "few.csv": "text,label\na,x\nb,y\n",
    "one.csv": table("text,label,topic", "a #,x,p", "b #,x,q"),
    "empty.csv": "",
    "header.csv": "text,label\n",
    "tasks.json": json.dumps({"tasks": TASKS}),
    "lines.txt": "a film\nanother\n",
    "book.xlsx": "PK",
}


def train(data: str, *more: str, task: str = "classification", encoder: str = "BERT") -> str:
    words = f"train --task {task} --data {data} --encoder {encoder} --output new"
    return " ".join([words, *more])


def evaluate(folder: str, data: str, *more: str) -> str:
    return " ".join(["evaluate", folder, "--data", data, "--output", "new", *more])


OF_WORDS = [
    ("train --task foo", "`--task` must be one of classification.*Received: 'foo'"),
    ("train --task clasification", "did you mean classification?"),
    ("trian", "`COMMAND` must be one of demo, .*; did you mean train?"),
    (train("classes.csv", "--seqence-length 9"), "no option `--seqence-length`; did you mean"),
    ("train --taks regression", "no option `--taks`; did you mean --task\\? Received: --taks"),
    (train("classes.csv", "--foo=3"), "no option `--foo`. Received: --foo=3; `tfhub-.* train --h"),
    (train("classes.csv", "more"), "nothing else to name here; leave it out. Received: more"),
    ("predict out a.csv b.csv", "leave it out. Received: b.csv; `tfhub-transfer predict --help`"),
    ("predict out --input lines.txt", "there is no option `--input`. Received: --input lines.txt"),
    (
        train("a.csv", "--beams 3"),
        "no option `--beams` here; evaluate, predict, export have one. R",
    ),
    ("train --data", "`--data` needs a value"),
    ("train --task regression --output x", "required: --data"),
    ("", "required: COMMAND"),
    (train("classes.csv", "--epochs two"), "`--epochs` must be a whole number from 1 to 100,000"),
    (train("classes.csv", "--batch-size 0"), "`--batch-size` .* from 1 to 65,536. Received: '0'"),
    (train("classes.csv", "--learning-rate 0"), "`--learning-rate` .* above 0, up to 1000"),
    (train("classes.csv", "--sequence-length 7"), "`--sequence-length` .* from 8 to 100,000"),
    (train("classes.csv", "--seed -1"), "`--seed` must be a whole number from 0 to 4,294,967,295"),
    (train("classes.csv", "--precision fp16"), "`--precision` .* auto, float32, bfloat16. Rec"),
    (train("classes.csv", "--jit yes"), "`--jit` must be one of auto, on, off. Received: 'yes'"),
    (train("classes.csv", "--loss mse"), "`--loss` must be one of cosine, contrastive"),
    ("distill out --data x --output y --temperature 0.5", "`--temperature` .* from 1 to 1000"),
    ("distill out --data x --output y --share 1.5", "`--share` .* above 0, up to 1"),
    ("distill out --data x --output y --layers 0", "`--layers` must .* from 1 to 1,000"),
]


@pytest.mark.parametrize(("words", "says"), OF_WORDS)
def test_words_that_cant_be_read_are_one_line(words: str, says: str, run: Any) -> None:
    status, out, err = run(*words.split())
    assert (status, out, err.count("\n")) == (2, "", 1), err
    assert re.search(says, err) and "--help` lists what there is" in err
    assert len(err) < 420


# What is typed, what is said, and what to type then, if that is not something else altogether.
MISTAKES: list[tuple[str, str, tuple[str, ...]]] = [
    (
        train("reviews.csv"),
        "no column 'text' for the text; name one of .* with `text` \\(`--text`\\)",
        (train("reviews.csv", "--text review --label topic"),),
    ),
    (
        train("reviews.csv", "--text reviw --label topic"),
        "did you mean 'review'?",
        (train("reviews.csv", "--text review --label topic"),),
    ),
    (
        train("reviews.csv", "--text review"),
        "no column 'label' for the label; name one of 'title', 'review', 'topic' with `label`",
        (train("reviews.csv", "--text review --label topic"),),
    ),
    (
        train("half_pair.csv", "--text text_a --text-pair text_b"),
        "no column 'text_b' for the second text.* \\(`--text-pair`\\)",
        (train("half_pair.csv", "--text text_a"),),
    ),
    (
        train("odd_tags.jsonl", task="token-classification"),
        "line 8: .*every word must have a tag; mend the row",
        (),
    ),
    (
        train("squad.json"),
        "questions with their answers: give `--task question-answering`",
        (train("squad.json", task="question-answering"),),
    ),
    (
        train("tags.conll", task="extractive-summarization"),
        "words with a tag for each: give `--task token-classification`",
        (train("tags.conll", task="token-classification"),),
    ),
    (
        train("classes.csv", task="token-classification"),
        "For one class a text use the classification task",
        (train("classes.csv"),),
    ),
    (
        train("scores.csv"),
        "for numbers to predict use the regression task",
        (train("scores.csv", task="regression"),),
    ),
    (
        train("classes.csv", task="regression"),
        "needs finite numbers.*choose another label column or task",
        (train("classes.csv"),),
    ),
    (
        train("classes.csv", task="question-answering"),
        "no column 'question' for the text; name one of",
        (),
    ),
    (
        train("classes.csv", task="similarity"),
        "pairs of texts; give two columns, `text_a` and `text_b`",
        (train("graded.jsonl", task="similarity"),),
    ),
    (
        train("graded.jsonl", "--loss contrastive", task="similarity"),
        "for degrees use the loss cosine",
        (train("graded.jsonl", "--loss cosine", task="similarity"),),
    ),
    (
        train("graded.jsonl", "--loss in_batch_negatives", task="similarity"),
        "take the label column out of the data; or use the loss cosine",
        (
            train("alike.jsonl", "--loss in_batch_negatives", task="similarity"),
            train("graded.jsonl", "--loss cosine", task="similarity"),
        ),
    ),
    (
        train("triplets.jsonl", "--loss triplet", task="similarity"),
        "name it with `negative` \\(`--negative`\\)",
        (
            train(
                "triplets.jsonl",
                "--loss triplet --text text_a --text-pair text_b --negative other",
                task="similarity",
            ),
        ),
    ),
    (
        train("commas.csv", task="multi-label"),
        "Say what stands between names with `label_separator` \\(`--label-separator`\\)",
        (train("commas.csv", "--label-separator ,", task="multi-label"),),
    ),
    (
        train("flags.csv", "--label toxic,insult"),
        "where texts have several or none, use the multi-label task",
        (train("flags.csv", "--label toxic,insult", task="multi-label"),),
    ),
    (
        train("few.csv"),
        "too few rows to split into 3 parts; give more rows, or files for validation and test",
        (train("few.csv", "--validation classes.csv --test classes.csv"),),
    ),
    (train("one.csv"), "check the label column", (train("one.csv", "--label topic"),)),
    (train("empty.csv"), "the file is empty; expected a header and rows", ()),
    (train("header.csv"), "no rows below its header", ()),
    (
        train("tasks.json"),
        "give `--task multi-task`, or one of the files",
        (train("tasks.json", task="multi-task"), train("classes.csv")),
    ),
    (
        train("classes.csv", task="multi-task"),
        'expected a JSON file {"tasks": {"name": ',
        (train("tasks.json", task="multi-task"),),
    ),
    (
        train("tasks.json", "--class-weights", task="multi-task"),
        "leave the option out. Received: --class-weights",
        (train("tasks.json", task="multi-task"),),
    ),
    (train("lines.txt"), "format of the file isn't known by its name; expected .csv, ", ()),
    (train("book.xlsx"), "save the sheet as CSV in UTF-8", ()),
    (train("nothing.csv"), "no such file", ()),
    (train("full"), "expected a file .* which is a folder", ()),
    (
        "train --task classification --data classes.csv --encoder NNLM --output full",
        "isn't empty; name another one",
        (train("classes.csv"),),
    ),
    (
        "train --task classification --data classes.csv --encoder NNLM --output model.keras",
        "the output is a folder with files in it.*leave .keras out",
        ("train --task classification --data classes.csv --encoder NNLM --output model",),
    ),
    (
        train("classes.csv", "--unfreeze 9"),
        "`unfreeze` must be none, auto, all or a number up to 4",
        (train("classes.csv", "--unfreeze 4"), train("classes.csv", "--unfreeze all")),
    ),
    (
        train("classes.csv", "--pooling max"),
        "`pooling` must be one of auto, pooled_output, mean, first, attention",
        (train("classes.csv", "--pooling mean"),),
    ),
    (
        train("classes.csv", "--sequence-length 1000"),
        "must be from 8 to 32, the most positions",
        (train("classes.csv", "--sequence-length 32"),),
    ),
    (
        train("classes.csv", "--towers"),
        "give a second text column \\(`--text-pair`; .*or leave `towers` out",
        (train("pairs.csv", "--towers"), train("classes.csv")),
    ),
    (
        train("classes.csv", "--jit on", encoder="NNLM"),
        "give `--jit off`, or use a BERT-like encoder",
        (train("classes.csv", "--jit off", encoder="NNLM"), train("classes.csv", "--jit on")),
    ),
    (
        "distill out --data classes.csv --output new --encoder NNLM --hidden 8",
        "`--hidden` is for distilling an encoder; leave it out",
        ("distill out --data classes.csv --output new --encoder NNLM",),
    ),
    (
        "distill BERT --data classes.csv --output new --pooling mean",
        "`--pooling` is for distilling models that `train` wrote; leave it out",
        (),
    ),
    (
        "distill BERT --data classes.csv --output new --coverage 0.9",
        "`--coverage` is for distilling models that `train` wrote; leave it out",
        (),
    ),
    (
        "distill BERT NNLM --data classes.csv --output new",
        "an encoder is distilled from one; name one",
        (),
    ),
    (
        "predict out/serving lines.txt",
        "an encoder or an export.*the model is in out: give that",
        ("predict out lines.txt",),
    ),
    (
        evaluate("out/serving/1", "classes.csv"),
        "an encoder or an export.*the model is in out: give that",
        (evaluate("out", "classes.csv"),),
    ),
    (
        "predict out/report lines.txt",
        "this is a report; the model is in out: give that",
        ("predict out lines.txt",),
    ),
    ("predict NNLM lines.txt", "an encoder or an export.*expected a folder that `tfhub", ()),
    ("predict nowhere lines.txt", "no such folder; expected a folder that `tfhub", ()),
    (
        "predict classes.csv out",
        "this is no model file; expected a `.keras` file",
        ("predict out/model.keras classes.csv",),
    ),
    (
        "predict out reviews.csv",
        "no column 'text' for the text; name one of",
        ("predict out reviews.csv --text review",),
    ),
    (
        "predict out lines.txt --text review",
        "lines of text have no columns; give a table, or leave the names of columns out",
        ("predict out lines.txt", "predict out reviews.csv --text review"),
    ),
    (
        "predict out lines.txt --task one",
        "the model has one task only; leave `--task` out",
        ("predict out lines.txt",),
    ),
    (
        "predict out lines.txt --output answers.txt",
        "the output's name must end in .jsonl",
        ("predict out lines.txt --output answers.jsonl",),
    ),
    (
        "predict out lines.txt --output classes.csv",
        "the output exists; name another one, or give `--overwrite`",
        ("predict out lines.txt --output answers.csv",),
    ),
    (
        evaluate("out", "reviews.csv", "--text review"),
        "no column 'label' for the label",
        (evaluate("out", "reviews.csv", "--text review --label topic"),),
    ),
    (
        evaluate("out", "several.csv"),
        "every class must be among `class_names`.*or remove the rows that have it",
        (evaluate("out", "classes.csv"),),
    ),
    (
        "evaluate out --data classes.csv --output report.html",
        "the output is a folder with files in it.*leave .html out",
        ("evaluate out --data classes.csv --output report",),
    ),
    (
        "encode NNLM pairs.csv",
        "one column of texts is encoded: name it with `text` \\(`--text`\\)",
        ("encode NNLM pairs.csv --text text_a",),
    ),
    (
        "encode NNLM lines.txt --output vectors.csv",
        "the output must be a `.npy` file",
        ("encode NNLM lines.txt --output vectors.npy",),
    ),
    (
        "convert BERT --output new",
        "use it as it is, or distil it with method 'static' \\(`--method static`\\)",
        (train("classes.csv", encoder="BERT"),),
    ),
    ("demo --output full", "holds no demo; name another one with `--output`", ()),
]


class _TrainsError(BaseException):
    """Nothing was refused."""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, text_encoder: Path) -> Path:
    """A folder with data, and with what `train` writes, as far as it matters here."""
    folder = tmp_path_factory.mktemp("typed")
    for name, text in FILES.items():
        (folder / name).write_text(text, encoding="utf-8")
    (folder / "full").mkdir()
    (folder / "full" / "mine.txt").write_text("mine", encoding="utf-8")
    for name in ("report", "serving/1"):
        (folder / "out" / name).mkdir(parents=True)
    model = tt.build_model(str(text_encoder), tt.tasks.Classification(["x", "y"]))
    model.save(folder / "out" / "model.keras")
    (folder / "out" / "training.json").write_text('{"precision": "float32"}', encoding="utf-8")
    (folder / "out" / "report" / "report.json").write_text("{}", encoding="utf-8")
    (folder / "out" / "serving" / "1" / "saved_model.pb").write_bytes(b"")
    return folder


@pytest.mark.parametrize(("typed", "says", "mended"), MISTAKES, ids=[row[0] for row in MISTAKES])
def test_a_mistake_is_one_true_line(
    typed: str,
    says: str,
    mended: tuple[str, ...],
    place: Path,
    text_encoder: Path,
    bert_encoder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def begin(*args: Any) -> None:
        raise _TrainsError

    monkeypatch.chdir(place)
    built = re.search("--unfreeze|--sequence-length|--jit", typed)  # what an encoder can't do
    monkeypatch.setattr(training, "_fit" if built else "_build", begin)
    known = {"BERT": str(bert_encoder), "NNLM": str(text_encoder)}

    def status(words: str) -> int:
        return cli.main([known.get(word, word) for word in words.split()])

    before = set(place.iterdir())
    monkeypatch.setattr(measuring, "evaluate", lambda *args, **more: _Measured())
    error = io.StringIO()
    with contextlib.redirect_stderr(error), contextlib.redirect_stdout(io.StringIO()):
        assert status(typed) == 2
    said = error.getvalue()
    assert said.count("\n") == 1 and re.search(says, said), said
    assert set(place.iterdir()) == before
    for words in mended:
        with contextlib.redirect_stdout(io.StringIO()):
            if words.split()[0] in ("train", "distill"):
                with pytest.raises(_TrainsError):
                    status(words)
            else:
                assert status(words) == 0
            for made in set(place.iterdir()) - before:
                assert made.name in MADE
                shutil.rmtree(made) if made.is_dir() else made.unlink()


# What commands that work leave behind.
MADE = {"answers.jsonl", "answers.csv", "vectors.npy", "new", "report"}


class _Measured:
    """As a report, for what comes after measuring."""

    def save(self, folder: Path) -> None:
        (folder / "report.json").write_text("{}", encoding="utf-8")


def test_names_made_of_other_names_are_pointed_at(text_encoder: Path) -> None:
    def warned(*names: str) -> str:
        return " ".join(tt.tasks.Classification(list(names)).doubts())

    assert "'a|b' is one class each here" in warned("a", "a|b", "b")
    assert "'a, b'" in warned("a", "b", "a, b") and not warned("a", "b;c", "c")
