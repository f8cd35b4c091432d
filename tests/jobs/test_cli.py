"""The command line: whole jobs, and one clear line with status 2 for every mistake."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tfhub_transfer as tt
from tfhub_transfer import cli
from tfhub_transfer.storage import atomic

GOOD = "text,label\n" + "".join(
    f"a good film {i},positive\nthe worst movie {i},negative\n" for i in range(30)
)


@pytest.fixture
def good(tmp_path: Path) -> Path:
    path = tmp_path / "good.csv"
    path.write_text(GOOD, encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, text_encoder: Path) -> Path:
    folder = tmp_path_factory.mktemp("job")
    (folder / "good.csv").write_text(GOOD, encoding="utf-8")
    words = ["train", "--task", "classification", "--data", folder / "good.csv"]
    words += ["--encoder", text_encoder, "--output", folder / "out", "--epochs", 1, "--seed", 1]
    assert cli.main([str(word) for word in words]) == 0
    return folder / "out"


def test_train_writes_what_the_contract_says(trained: Path) -> None:
    assert (trained / "model.keras").is_file()
    assert (trained / "serving" / "1" / "saved_model.pb").is_file()
    report = json.loads((trained / "report" / "report.json").read_text(encoding="utf-8"))
    assert {"task", "encoder", "examples", "metrics", "seconds"} <= set(report)
    assert report["task"] == "classification"
    assert sum(report["examples"][k] for k in ("train", "validation", "test")) == 60
    assert 0 <= report["metrics"]["accuracy"] <= 1
    assert any("6 validation examples are too few" in note for note in report["notes"])
    assert set(report["baselines"]) == {"majority", "tfidf_logistic_regression"}
    assert (trained / "report" / "report.html").is_file()
    assert list((trained / "report").glob("*.png"))
    record = json.loads((trained / "training.json").read_text(encoding="utf-8"))
    assert record["seed"] == 1
    assert record["precision"] in ("float32", "bfloat16")
    if record["measured"]:  # what said which of them pays here
        assert record["measured"].keys() == {"cpu", "width", "seconds"}
    assert len(record["encoder"]["fingerprint"]) == 64
    assert {"head", "training", "evaluation", "export"} <= set(record["seconds"])
    assert {"tensorflow", "keras"} <= set(record["versions"])
    assert report["setup"]["arguments"] == record["arguments"]
    assert report["profile"] == record["profile"] and "labels: 2" in record["profile"]
    rows = (trained / "report" / "predictions.jsonl").read_text("utf-8").splitlines()
    assert len(rows) == report["examples"]["test"]
    assert not [p for p in trained.parent.iterdir() if p.name.startswith(".")]


def test_a_quick_look_leaves_the_encoder_and_exports_nothing(
    text_encoder: Path, good: Path, tmp_path: Path, run: Any
) -> None:
    words = ["train", "--task", "classification", "--data", good, "--encoder", text_encoder]
    status, _, error = run(*words, "--output", tmp_path / "out", "--quick", "--unfreeze", "2")
    assert status == 2 and error.count("\n") == 1 and "leave one of" in error
    status, _, error = run(*words, "--output", tmp_path / "out", "--quick", "--epochs", "2")
    assert status == 2 and error.count("\n") == 1 and "`--epochs` is of a thawed" in error
    assert not (tmp_path / "out").exists()
    words += ["--precision", "bfloat16"]
    status, out, _ = run(*words, "--output", tmp_path / "out", "--quick")
    assert status == 0 and "serving" not in out
    assert "computes in float32: it has no products" in " ".join(out.split())
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"model.keras", "report", "history.csv", "training.json", ".tfhub-transfer"}
    record = json.loads((tmp_path / "out" / "training.json").read_text(encoding="utf-8"))
    assert [outcome["stage"] for outcome in record["outcomes"]] == ["head"]
    assert record["precision"] == "float32"  # as it computed, whatever was asked for
    model = tt.load_model(tmp_path / "out" / "model.keras")
    assert model.encoder.fingerprint() == record["encoder"]["fingerprint"]  # as it was
    status, out, _ = run("evaluate", tmp_path / "out", "--data", good, "--output", tmp_path / "r")
    assert status == 0 and "accuracy" in out


def test_predict_reads_lines_and_tables(
    trained: Path, tmp_path: Path, run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "in.txt").write_text("a good film\n\nbad 🙂\n", encoding="utf-8")
    status, out, _ = run("predict", trained, tmp_path / "in.txt")
    answers = [json.loads(line) for line in out.splitlines()]
    assert status == 0
    assert [a["text"] for a in answers] == ["a good film", "", "bad 🙂"]
    expected = tt.load_model(trained / "model.keras").predict_text(["a good film"])[0]
    assert answers[0]["label"] == expected["label"]
    assert answers[0]["scores"] == pytest.approx(expected["scores"], abs=1e-6)
    (tmp_path / "in.jsonl").write_text('{"text": "a good film"}\n', encoding="utf-8")
    status, out, _ = run("predict", trained / "model.keras", tmp_path / "in.jsonl")
    assert json.loads(out)["scores"] == pytest.approx(expected["scores"], abs=1e-6)
    monkeypatch.setattr(sys, "stdin", iter(["a good film\n"]))
    status, out, _ = run("predict", trained)
    assert json.loads(out)["label"] == expected["label"]


def test_evaluate_writes_a_report_with_baselines(
    trained: Path, good: Path, tmp_path: Path, run: Any
) -> None:
    status, out, _ = run("evaluate", trained, "--data", good, "--output", tmp_path / "report")
    assert status == 0
    report = json.loads((tmp_path / "report" / "report.json").read_text(encoding="utf-8"))
    assert report["examples"]["test"] == 60
    assert "tfidf_logistic_regression" in report["baselines"]
    assert "accuracy" in out


@pytest.mark.slow
@pytest.mark.parametrize("task", ["multi-label", "regression", "pairs"])
def test_other_tasks_run_whole(task: str, text_encoder: Path, tmp_path: Path, run: Any) -> None:
    rows = []
    for i in range(40):
        good = i % 2
        text = f"{'good' if good else 'bad'} film {i}"
        label = {"multi-label": "praise|film" if good else "film|anger"}.get(task, good * 4 + 0.5)
        key = "score" if task != "multi-label" else "label"
        texts = {"text_a": text, "text_b": "a movie"} if task == "pairs" else {"text": text}
        rows.append(json.dumps({**texts, key: label}))
    (tmp_path / "data.jsonl").write_text("\n".join(rows) + "\n", encoding="utf-8")
    name = "regression" if task == "pairs" else task
    words = ["train", "--task", name, "--data", tmp_path / "data.jsonl", "--epochs", 1]
    status, out, err = run(*words, "--encoder", text_encoder, "--output", tmp_path / "out")
    assert status == 0 and "error" not in err, err
    report = json.loads((tmp_path / "out" / "report" / "report.json").read_text(encoding="utf-8"))
    assert ("micro_f1" if task == "multi-label" else "spearman") in report["metrics"]
    if task == "pairs":
        (tmp_path / "in.txt").write_text("a good film\tbad\n", encoding="utf-8")
        status, out, _ = run("predict", tmp_path / "out", tmp_path / "in.txt")
        assert set(json.loads(out)) == {"text_a", "text_b", "score"}
        (tmp_path / "in.txt").write_text("no tab\n", encoding="utf-8")
        status, _, err = run("predict", tmp_path / "out", tmp_path / "in.txt")
        assert (status, err.count("\n")) == (2, 1)
        assert "line 1: the model reads pairs" in err


def test_encoders_lists_and_gives_json(run: Any) -> None:
    status, out, _ = run("encoders")
    assert status == 0
    assert "small_bert" in out
    for encoder in tt.registry.known_encoders()[:2]:
        assert encoder.packaged and encoder.speed > 1.5
        assert encoder.scores["SST-2 frozen"] > 0.75
        assert f"{encoder.name}: {encoder.size_mb} MB, speed {encoder.speed}" in out
    status, out, _ = run("encoders", "--json")
    known = json.loads(out)
    assert known[0]["packaged"]
    assert {"handle", "dimension", "outputs"} <= set(known[0])


def csv(*rows: str, header: str = "text,label") -> bytes:
    return ("\n".join([header, *rows]) + "\n").encode()


MANY = [f"text {i},{i}" for i in range(5000)]
FEW = [f"good {i},a\nbad {i},b" for i in range(20)]
BAD_FILES: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "empty"),
    "header only": (csv(), "row"),
    "encoding": (csv(*FEW) + "caf\xe9,a\n".encode("latin-1"), "UTF-8"),
    "quotes": (csv('"never closed,a', *FEW), "quote"),
    "few fields": (csv(*FEW, "only one field"), "field"),
    "missing label": (csv(*FEW, "a text,"), "label"),
    "one class": (csv(*[f"text {i},a" for i in range(20)]), "two classes"),
    "numbers": (csv(*MANY), "regression"),
    "blank": (csv(*["  ,a", "  ,b"] * 10), "text"),
    "no column": (csv("a,b", header="words,label"), "text"),
}


@pytest.mark.parametrize("kind", BAD_FILES)
def test_bad_files_cost_nothing(kind: str, text_encoder: Path, tmp_path: Path, run: Any) -> None:
    content, word = BAD_FILES[kind]
    (tmp_path / "bad.csv").write_bytes(content)
    words = ["--data", tmp_path / "bad.csv", "--encoder", text_encoder]
    status, _, err = run("train", "--task", "classification", *words, "--output", tmp_path / "out")
    assert (status, err.count("\n")) == (2, 1), err
    assert err.startswith("tfhub-transfer: error: ")
    assert word in err
    assert [p.name for p in tmp_path.iterdir()] == ["bad.csv"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--data", "none.csv"], "none.csv"),
        (["--text", "review"], "review"),
        (["--label", "sentiment"], "sentiment"),
        (["--encoder", "bert-of-all"], "bert-of-all"),
        (["--encoder", "http://127.0.0.1:9/encoder/1"], "127.0.0.1"),
        (["--encoder", "EMPTY"], "isn't a SavedModel|SavedModel"),
        (["--unfreeze", "99"], "a number up to 1"),
        (["--block", "cnn"], "token vectors"),
        (["--epochs", "0"], "`--epochs` must be a whole number from 1"),
        (["--batch-size", "0"], "`--batch-size` must be a whole number from 1"),
        (["--learning-rate", "-1"], "above 0"),
        (["--sequence-length", "3"], "`--sequence-length` must be"),
        (["--jit", "on"], "XLA can't compile a text-embedding"),
        (["--seed", "-3"], "`--seed` must be"),
        (["--test", "none.csv"], "none.csv"),
    ],
    ids=lambda x: "-".join(x) if isinstance(x, list) else "",
)
def test_bad_options_cost_nothing(
    options: list[str], message: str, text_encoder: Path, good: Path, tmp_path: Path, run: Any
) -> None:
    (tmp_path / "empty").mkdir()
    options = [str(tmp_path / "empty") if word == "EMPTY" else word for word in options]
    words = ["--data", good, "--encoder", text_encoder, "--output", tmp_path / "out"]
    status, _, err = run("train", "--task", "classification", *words, *options)
    assert (status, err.count("\n")) == (2, 1), err
    assert any(part in err for part in message.split("|"))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["empty", "good.csv"]


def test_output_that_is_there_is_not_touched(
    text_encoder: Path, good: Path, tmp_path: Path, run: Any
) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("mine", encoding="utf-8")
    words = ["--data", good, "--encoder", text_encoder, "--output", tmp_path / "out"]
    status, _, err = run("train", "--task", "classification", *words)
    assert status == 2
    assert "exists and isn't empty" in err
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["mine.txt"]
    status, _, err = run("train", "--task", "classification", *words, "--overwrite")
    assert status == 2
    assert "didn't write" in err and str(tmp_path / "out" / "mine.txt") in err
    assert (tmp_path / "out" / "mine.txt").read_text(encoding="utf-8") == "mine"


def test_a_report_may_not_replace_its_model(trained: Path, good: Path, run: Any) -> None:
    for output in (trained, trained / "report", trained.parent):
        words = ["--data", good, "--output", output, "--overwrite"]
        status, _, err = run("evaluate", trained, *words)
        assert status == 2
        assert "the output must lie apart from what is read" in err
    assert (trained / "model.keras").is_file() and (trained / "report" / "report.json").is_file()


def test_answers_may_not_replace_what_is_read(
    trained: Path, good: Path, tmp_path: Path, run: Any
) -> None:
    near, told = tmp_path / "near.csv", tmp_path / "told.jsonl"
    near.write_bytes(good.read_bytes())
    told.write_text('{"a": "good", "b": "bad"}\n')
    for option, file in (("--neighbours-from", near), ("--descriptions", told)):
        before = file.read_bytes()
        words = [good, option, file, "--output", file, "--overwrite"]
        status, _, err = run("predict", trained, *words)
        assert status == 2 and "the output must lie apart from what is read" in err
        assert file.read_bytes() == before


@pytest.mark.slow
def test_training_is_not_lost_when_nobody_reads_on(
    text_encoder: Path, good: Path, tmp_path: Path
) -> None:
    words = ["train", "--task", "classification", "--data", good, "--encoder", text_encoder]
    command = [sys.executable, "-m", "tfhub_transfer", *words, "--output", tmp_path / "out"]
    head = subprocess.Popen(["head", "-1"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    done = subprocess.run(command, stdout=head.stdin, stderr=subprocess.PIPE, check=False)
    assert head.communicate()[0].count(b"\n") == 1
    assert done.returncode == 0
    # A slow machine also reports in between, in lines of two spaces.
    lines = [line for line in done.stderr.splitlines() if b"  " not in line]
    assert [line.split(b":")[0].split(b",")[0] for line in lines] == [
        *(b"Features", b"Measuring", b"Exporting to serving/1"),
    ]
    assert {"model.keras", "serving", "report"} <= {p.name for p in (tmp_path / "out").iterdir()}


@pytest.mark.slow
def test_what_was_written_is_replaced(
    trained: Path, text_encoder: Path, good: Path, tmp_path: Path, run: Any
) -> None:
    shutil.copytree(trained, tmp_path / "out")
    words = ["--data", good, "--encoder", text_encoder, "--output", tmp_path / "out", "--seed", 2]
    status, _, _ = run("train", "--task", "classification", *words, "--epochs", 1, "--overwrite")
    assert status == 0
    assert json.loads((tmp_path / "out" / "training.json").read_text("utf-8"))["seed"] == 2


def test_class_seen_only_in_test_is_said(
    text_encoder: Path, good: Path, tmp_path: Path, run: Any
) -> None:
    (tmp_path / "test.csv").write_text("text,label\nfine,neutral\n", encoding="utf-8")
    words = ["--data", good, "--test", tmp_path / "test.csv", "--encoder", text_encoder]
    status, _, err = run("train", "--task", "classification", *words, "--output", tmp_path / "out")
    assert status == 2
    assert "every class must occur in the training split" in err
    assert "neutral" in err


@pytest.mark.slow
def test_odd_texts_train_and_predict(text_encoder: Path, tmp_path: Path, run: Any) -> None:
    odd = [
        "",
        "   ",
        "a\\u0000b",
        "\\ud83d\\ude42",
        "\\u0645\\u0631\\u062d\\u0628\\u0627",
        "x" * 100_000,
    ]
    rows = [f'{{"text": "{t} good {i}", "label": "a"}}' for i, t in enumerate(odd * 3)]
    rows += [f'{{"text": "{t}", "label": "b"}}' for t in odd * 3]
    (tmp_path / "odd.jsonl").write_text("\n".join(rows) + "\n", encoding="utf-8")
    words = ["--data", tmp_path / "odd.jsonl", "--encoder", text_encoder, "--epochs", 1]
    status, _, err = run("train", "--task", "classification", *words, "--output", tmp_path / "out")
    assert status == 0 and "error" not in err, err
    status, out, _ = run("predict", tmp_path / "out", tmp_path / "odd.jsonl")
    assert status == 0
    assert len(out.splitlines()) == 36


def test_no_space_left_is_one_line(
    text_encoder: Path, good: Path, tmp_path: Path, run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    words = ["--data", good, "--encoder", text_encoder, "--output", tmp_path / "out"]
    status, _, err = run("train", "--task", "classification", *words)
    assert status == 2
    assert "no space left" in err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_interrupted_training_leaves_a_usable_model(
    number: int,
    request: pytest.FixtureRequest,
    text_encoder: Path,
    good: Path,
    tmp_path: Path,
    run: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from tfhub_transfer.jobs.trainings import training

    usual = signal.signal(number, signal.SIG_DFL)  # tests in the background may ignore some
    request.addfinalizer(lambda: signal.signal(number, usual))
    models = []

    def interrupted(model: Any, *args: Any, **kwargs: Any) -> None:
        for weight in model.head_model().weights:
            weight.assign_add(np.ones(weight.shape) * 0.5)
        models.append(model)
        os.kill(os.getpid(), number)
        time.sleep(10)

    monkeypatch.setattr(training, "fine_tune", interrupted)
    words = ["--data", good, "--encoder", text_encoder, "--output", tmp_path / "out"]
    status, _, err = run("train", "--task", "classification", *words)
    assert status == 128 + number
    saved = tmp_path / "out" / "interrupted.keras"
    assert f"interrupted: the model as trained so far is in {saved}" in err
    texts = ["a good film"]
    assert tt.load_model(saved).predict_text(texts) == models[0].predict_text(texts)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["good.csv", "out"]
    assert [p.name for p in saved.parent.glob("[!.]*")] == ["interrupted.keras"]
    before = saved.read_bytes()
    status, _, err = run("train", "--task", "classification", *words)
    assert status == 2 and "isn't empty" in err  # another run never replaces it unasked
    assert saved.read_bytes() == before
    assert atomic.foreign(saved.parent) is None  # but may, if it is asked to


@pytest.mark.parametrize(
    "error",
    [
        pytest.param(OSError(28, "No space left on device"), marks=pytest.mark.slow),
        RuntimeError("a bug"),
    ],
)
def test_a_failure_after_training_keeps_the_model(
    error: Exception,
    text_encoder: Path,
    good: Path,
    tmp_path: Path,
    run: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from tfhub_transfer.jobs.trainings import training

    def failing(*args: Any, **kwargs: Any) -> None:
        raise error

    monkeypatch.setattr(training, "evaluate", failing)
    words = ["--data", good, "--encoder", text_encoder, "--output", tmp_path / "out"]
    status, _, err = run("train", "--task", "classification", *words, "--unfreeze", "none")
    assert status == (2 if isinstance(error, OSError) else 1)
    saved = tmp_path / "out" / "interrupted.keras"
    assert f"it failed: the model as trained so far is in {saved}" in err
    assert tt.load_model(saved).predict_text(["a good film"])
    # What was noted on the way is there, too, for the same command to go on from.
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        *(".out.partial-training", "good.csv", "out")
    ]


def test_a_bug_is_status_1_with_its_traceback(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from tfhub_transfer.encoders import registry

    def broken() -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr(registry, "known_encoders", broken)
    status, _, err = run("encoders")
    assert status == 1
    assert "Traceback" in err


def test_help_is_there_for_every_command() -> None:
    command = [sys.executable, "-m", "tfhub_transfer"]
    for words in (
        [],
        *[[c] for c in ("demo", "encoders", "convert", "train", "distill", "evaluate", "predict")],
    ):
        done = subprocess.run(
            [*command, *words, "--help"], capture_output=True, text=True, check=False
        )
        assert (done.returncode, done.stderr) == (0, "")
        assert "usage: tfhub-transfer" in done.stdout
