"""What users name: odd names are one line at every door, and only plain files are ever opened."""

import contextlib
import gzip
import os
import shutil
import signal
import socket
import sys
import warnings
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tfhub_transfer as tt
from tfhub_transfer import cli
from tfhub_transfer.data import reading
from tfhub_transfer.encoders import conversion, hub_format, preprocessing, tensor_files
from tfhub_transfer.jobs import converting, folders, predicting
from tfhub_transfer.jobs.options.asking import PredictJob
from tfhub_transfer.models import encoding
from tfhub_transfer.recipes import students
from tfhub_transfer.reporting import reports
from tfhub_transfer.storage import atomic, names, opening
from tfhub_transfer.storage.stores import TokenStore, VectorStore

ODD = [
    ("out\0put", "expected a name that a file can have .*null byte"),
    ("\ud800.csv", "expected a name that a file can have"),
    (
        None,
        "expected a name that a file can have .*NoneType|expected a file.*NoneType|no such encoder",
    ),
    (b"x.csv", "expected a name that a file can have|expected a file.*bytes|no such encoder"),
    ("x" * 5000, "too long. Received: 'xxx.*5000 characters"),
]


@pytest.fixture(autouse=True)
def _no_hanging() -> Iterator[None]:
    """What waits for a pipe is woken."""

    def wake(*_: Any) -> None:
        raise TimeoutError("it hangs")

    usual = signal.signal(signal.SIGALRM, wake)
    signal.alarm(60)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, usual)


@pytest.fixture(scope="module")
def model(bert_encoder: Path) -> Any:
    return tt.build_model(str(bert_encoder), tt.tasks.Classification(["a", "b"]))


def doors(model: Any, name: Any, encoder: Path) -> dict[str, Callable[[], Any]]:
    """Everything public that takes a name of a file or a folder."""
    report = tt.Report("classification", "e", {}, {"accuracy": 1.0}, ["a", "b"])
    return {
        "Encoder": lambda: tt.Encoder(name),
        "build_model": lambda: tt.build_model(name, tt.tasks.Classification(["a", "b"])),
        "preprocessor": lambda: preprocessing.make_preprocessor(model.encoder, name),
        "load_model": lambda: tt.load_model(name),
        "load_saved_model": lambda: tt.load_saved_model(name),
        "encode_text": lambda: tt.encode_text(name, ["a"]),
        "read": lambda: tt.data.read(name),
        "stream": lambda: tt.data.stream(name),
        "resolve": lambda: tt.registry.resolve(name),
        "describe": lambda: tt.registry.describe(name),
        "find": lambda: tt.registry.find(name),
        "information": lambda: tt.registry.read_information(name),
        "convert from": lambda: tt.convert(name, "out"),
        "convert to": lambda: tt.convert(encoder, name, "static"),
        "huggingface": lambda: conversion.convert_huggingface(name, Path("out")),
        "vectors": lambda: conversion.convert_word_vectors(name, Path("out")),
        "student": lambda: students.make_student(name, "out"),
        "save": lambda: model.save(name),
        "report": lambda: report.save(name),
        "export": lambda: tt.export_saved_model(model, name),
        "jobs": lambda: next(iter(predicting.predict(PredictJob(name, "-")))),
    }


@pytest.mark.parametrize("name", [name for name, _ in ODD], ids=lambda name: repr(name)[:12])
def test_odd_names_are_one_line_at_every_door(
    name: Any, model: Any, bert_encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    message = dict(zip((n for n, _ in ODD), (m for _, m in ODD)))[name]
    for door, ask in doors(model, name, bert_encoder).items():
        if door == "preprocessor" and name is None:
            continue  # the encoder's own
        with pytest.raises(tt.InputError) as refused:
            ask()
        with pytest.raises(AssertionError, match=message):
            raise AssertionError(f"{door}: {refused.value}")
    assert not list(tmp_path.iterdir())


@contextlib.contextmanager
def special(kind: str, path: Path) -> Iterator[str]:
    """Puts something there that is no plain file, and says how a message calls it."""
    if kind == "socket":
        with socket.socket(socket.AF_UNIX) as listener:
            with contextlib.chdir(path.parent):  # its path may have 100 characters
                listener.bind(path.name)
            yield "a socket"
    elif kind == "link to a device":
        path.symlink_to("/dev/zero")
        yield "a device"
    else:
        os.mkfifo(path)
        yield "a pipe"


KINDS = ("pipe", "socket", "link to a device")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("ending", [".csv", ".jsonl.gz", ".parquet", ".conll", ".json", ".txt"])
def test_data_that_are_no_plain_file_are_refused(ending: str, kind: str, tmp_path: Path) -> None:
    path = tmp_path / f"data{ending}"
    with special(kind, path) as called:
        message = f"expected a plain file. Received: {path}, which is {called}"
        with pytest.raises(tt.InputError, match=message):
            if ending == ".txt":
                next(reading.line_chunks(str(path)))
            tt.data.read(path)
        with pytest.raises(tt.InputError, match="which is" if ending == ".txt" else message):
            conversion.convert_word_vectors(path, tmp_path / "out")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "place",
    ["saved_model.pb", "variables/variables.index", "assets/more.txt", "fingerprint.pb", "deep/x"],
)
def test_no_file_of_a_savedmodel_is_waited_for(
    place: str, kind: str, bert_encoder: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "encoder"
    copy(bert_encoder, folder)
    path = folder / place
    path.parent.mkdir(exist_ok=True)
    path.unlink(missing_ok=True)
    with special(kind, path):
        for trust_code in (False, True):
            with pytest.raises(tt.InputError, match=r"plain file|no saved_model\.pb"):
                tt.Encoder(str(folder), trust_code=trust_code)
            with pytest.raises(tt.InputError, match="plain file"):
                tt.load_saved_model(folder, trust_code)


def copy(source: Path, target: Path) -> None:
    for path in source.rglob("*"):
        place = target / path.relative_to(source)
        if path.is_dir():
            place.mkdir(parents=True, exist_ok=True)
        else:
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(path.read_bytes())


@pytest.mark.parametrize("kind", KINDS)
def test_records_and_marks_are_not_waited_for(kind: str, tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    ask: Any
    for ask, name, message in (
        (encoding.read_record, encoding.RECORD_FILE, "record of the training.*plain file"),
        (
            lambda folder: tt.load_model(folder / "model.keras"),
            "model.keras",
            "this is no model file",
        ),
        (tt.registry.read_information, tt.registry.INFORMATION, "plain file"),
        (lambda folder: atomic.check_output(folder, True), atomic.MARK, f"write.*{atomic.MARK}"),
    ):
        folder = tmp_path / name
        folder.mkdir()
        with special(kind, folder / name), pytest.raises(tt.InputError, match=message):
            ask(folder)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.filterwarnings("ignore:a file of the cache is damaged")
def test_stores_are_not_waited_for(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TFHUB_TRANSFER_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr("tfhub_transfer.storage.budget._SPARE_BYTES", 0)
    store = tmp_path / "vectors" / names.key("plain")
    store.mkdir(parents=True)
    texts = names.digests([["a", "b"]])
    vectors, lost = np.empty((2, 1), "float32"), np.empty(2, "int32")
    with special(kind, store / "0.vectors"), special(kind, store / "tokens"):
        made = VectorStore(store.name, 1)
        for expected in (2, 0):  # what was set aside is in nobody's way
            count = made.complete(texts, vectors, lost, lambda rows: (np.ones((2, 1)), 0 * rows))
            assert count == expected and vectors.tolist() == [[1.0], [1.0]]
        tokens = TokenStore(store.name, np.array([1, 2]), 1)
        assert tokens.fill(lambda rows: iter([(rows, np.full((2, 2, 1), 3.0))]))
        assert tokens.padded(np.array([1]), 2).astype(float).tolist() == [[[3.0], [3.0]]]


def test_a_pipe_of_the_shell_is_read_as_lines_and_is_no_table(tmp_path: Path) -> None:
    (tmp_path / "texts").write_text("a\nb\n")
    for source in ("/dev/fd/{}", "/proc/self/fd/{}"):
        with os.popen("printf 'good film\\nbad film\\n'") as pipe:
            name = source.format(pipe.fileno())
            assert reading.is_lines(name)
            assert list(reading.line_chunks(name)) == [["good film", "bad film"]]
            with pytest.raises(tt.InputError, match="can't come through a pipe.*Received: /"):
                tt.data.read(name)
    with pytest.raises(tt.InputError, match="can't come through a pipe.*Received: -"):
        tt.data.read("-")


def test_standard_input_that_is_closed_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", None)
    for name in ("-", "/dev/stdin"):
        with pytest.raises(tt.InputError, match="standard input is closed"):
            next(reading.line_chunks(name))


def test_plain_files_are_read_also_by_links(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes("é\r\n".encode())
    (tmp_path / "b.txt").symlink_to("a.txt")
    (tmp_path / "c.gz").write_bytes(gzip.compress(b"c"))
    assert opening.read_text(tmp_path / "b.txt") == "é\r\n"
    assert opening.read_bytes(tmp_path / "b.txt", 1) == b"\xc3"
    with opening.open_maybe_gzipped(tmp_path / "c.gz") as file:
        assert file.read() == b"c"
    with pytest.raises(FileNotFoundError):
        opening.descriptor(tmp_path / "none")
    opening.require(tmp_path / "none")
    opening.require_all(tmp_path)


# Standard output ----------------------------------------------------------------------------------


def test_answers_that_nobody_can_read_are_refused_before_any_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    elsewhere = ["encode", "none", "none.csv", "--output", str(tmp_path / "x.npy")]
    closed = "standard output is closed"
    for words, message in (
        (["predict", "none"], closed),
        (["encode", "none"], closed),
        (["encoders"], closed),
        (elsewhere, "no such file"),
    ):
        monkeypatch.setattr("sys.stdout", None)
        assert cli.main(words) == 2
        sys.stdout.close()  # what stands for it
        monkeypatch.undo()
        assert message in capsys.readouterr().err


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_who_has_read_enough_ends_a_command_as_a_signal_would(
    options: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    read, write = os.pipe()
    os.close(read)
    with open(write, "w") as nobody:
        monkeypatch.setattr("sys.stdout", nobody)
        assert cli.main(["encoders", *options]) == 128 + signal.SIGPIPE
        nobody.write("goes nowhere")  # as Python does at its exit
        nobody.flush()
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("name", ["stdout", "stderr"])
@pytest.mark.parametrize("reader", ["gone", "full"])
def test_what_writes_files_does_so_though_nobody_reads_what_it_says(
    name: str, reader: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    written = []

    def loud(options: Any) -> None:
        for _ in range(3):
            print("x" * 100_000, file=getattr(sys, name), flush=True)
        print("the last words", file=getattr(sys, name))
        written.append(options)

    monkeypatch.setattr(converting, "convert_source", loud)
    read, write = os.pipe()
    os.close(read)
    with open("/dev/full" if reader == "full" else write, "w") as nobody:
        with monkeypatch.context() as patch:
            patch.setattr(sys, name, nobody)
            assert cli.main(["convert", "a", "--output", "b"]) == 0
            assert getattr(sys, name) is nobody
        nobody.write("goes nowhere")  # as Python does at its exit
    assert len(written) == 1
    assert "Traceback" not in capsys.readouterr().err


def test_a_broken_pipe_elsewhere_is_an_error_like_others(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken() -> None:
        raise BrokenPipeError(32, "Broken pipe")

    monkeypatch.setattr(tt.registry, "known_encoders", broken)
    assert cli.main(["encoders"]) == 2
    assert "Broken pipe" in capsys.readouterr().err


# Other people's files -----------------------------------------------------------------------------


def test_vectors_replace_no_file_of_another_kind_and_none_unasked(tmp_path: Path) -> None:
    output = tmp_path / "vectors.npy"

    def write(overwrite: bool = False, *inputs: str) -> int:
        chunks = iter([(["a"], np.full((1, 2), 3.0, "float32"))])
        return encoding.write_vectors(chunks, output, overwrite, inputs)

    assert write() == 1
    with pytest.raises(tt.InputError, match=f"exists; name another one.*Received: {output}"):
        write()
    assert write(overwrite=True) == 1
    assert np.load(output).tolist() == [[3.0, 3.0]]
    with pytest.raises(tt.InputError, match="must lie apart from what is read"):
        write(True, str(output))
    for content in (b"my notes", b"\x93NUM"):
        output.write_bytes(content)
        with pytest.raises(tt.InputError, match="of another kind, which is never replaced"):
            write(overwrite=True)
        assert output.read_bytes() == content
    output.unlink()
    with special("pipe", output), pytest.raises(tt.InputError, match="which is a pipe"):
        write(overwrite=True)


def test_vectors_are_written_as_they_come(tmp_path: Path) -> None:
    """What NumPy writes, to the byte; a chunk that is written is held by nobody."""
    rows, output = np.random.default_rng(0).random((7, 5), "float32"), tmp_path / "vectors.npy"
    held: list[weakref.ref[np.ndarray]] = []

    def chunks() -> Iterator[tuple[list[str], np.ndarray]]:
        for at in range(0, 7, 2):
            part = rows[at : at + 2].copy()
            held.append(weakref.ref(part))
            yield ["a"] * len(part), part
            del part
            assert not any(each() is not None for each in held[:-1])

    assert encoding.write_vectors(chunks(), output) == 7
    np.save(tmp_path / "whole.npy", rows)
    assert output.read_bytes() == (tmp_path / "whole.npy").read_bytes()


def test_a_report_replaces_reports_and_nothing_else(tmp_path: Path) -> None:
    report = tt.Report("classification", "e", {}, {"accuracy": 0.5}, ["a", "b"])
    other = tt.Report("classification", "e", {}, {"accuracy": 1.0}, ["a", "b"])
    joint = reports_of({"x": report, "y": other})
    for each, place in ((report, "alone"), (joint, "several")):
        folder = tmp_path / place
        folder.mkdir()
        (folder / "notes.txt").write_text("mine")
        assert each.save(folder) == folder
        each.save(folder)  # its own it replaces
        assert (folder / "notes.txt").read_text() == "mine"
        assert atomic.foreign(folder) == folder / "notes.txt"
    assert '"accuracy": 1.0' in (tmp_path / "several" / "y" / "report.json").read_text()
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    (theirs / "report.html").write_text("mine")
    with pytest.raises(tt.InputError, match=f"didn't write.*Received: {theirs / 'report.html'}"):
        report.save(theirs)
    assert [path.name for path in theirs.iterdir()] == ["report.html"]
    with pytest.raises(tt.InputError, match="must be a folder.*which is a file"):
        report.save(theirs / "report.html")


def reports_of(parts: dict[str, reports.Report]) -> Any:
    from tfhub_transfer.reporting.joint_reports import JointReport

    return JointReport("e", parts)


def test_a_report_in_a_folder_of_ours_is_part_of_it(tmp_path: Path) -> None:
    report = tt.Report("classification", "e", {}, {"accuracy": 0.5}, ["a", "b"])
    with atomic.folder(tmp_path / "out") as scratch:
        report.save(scratch / "report")
        assert not (scratch / "report" / atomic.MARK).exists()
    report.save(tmp_path / "out" / "report")
    assert atomic.foreign(tmp_path / "out") is None


def test_models_replace_models_but_nothing_special(model: Any, tmp_path: Path) -> None:
    path = tmp_path / "x.keras"
    path.write_text("my notes")
    with pytest.raises(tt.InputError, match="isn't a model, so it isn't replaced"):
        model.save(path)
    assert path.read_text() == "my notes"
    path.write_bytes(b"")
    model.save(path)
    model.save(path)
    with pytest.raises(tt.InputError, match="is there already; name another one"):
        model.save(path, overwrite=False)
    path.unlink()
    with special("pipe", tmp_path / "x.keras"), pytest.raises(tt.InputError, match="is a pipe"):
        model.save(tmp_path / "x.keras")


def test_preprocessors_and_encoders_are_written_whole_over_nothing(
    model: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "words.txt").write_text("\n".join((*hub_format.SPECIAL_TOKENS, "good")))
    table = np.eye(6, dtype="float32")

    def encoder(folder: Path, **given: Any) -> None:
        made = hub_format.static_encoder(table, tmp_path / "words.txt", True)
        hub_format.save(made, folder, {}, **given)

    def preprocessor(folder: Path) -> None:
        hub_format.save_preprocessor(folder, tmp_path / "words.txt", True)

    for number, save in enumerate((model.preprocessor.save, encoder, preprocessor)):
        theirs, ours = tmp_path / f"theirs{number}", tmp_path / f"ours{number}"
        theirs.mkdir()
        (theirs / "vocab.txt").write_text("mine")
        with pytest.raises(tt.InputError, match="isn't empty.*Received: .*theirs"):
            save(theirs)
        save(ours)
        before = sorted(ours.rglob("*"))
        if save is not preprocessor:
            with pytest.raises(tt.InputError, match="a file that this package didn't write"):
                save(theirs, overwrite=True)
            save(ours, overwrite=True)
            assert sorted(ours.rglob("*")) == before
        assert [p.name for p in theirs.iterdir()] == ["vocab.txt"]
        assert (theirs / "vocab.txt").read_text() == "mine"
    with monkeypatch.context() as patched:
        patched.setattr(preprocessing, "_write_settings", lambda *given: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            model.preprocessor.save(tmp_path / "half")
    assert not (tmp_path / "half").exists() and not list(tmp_path.glob(".*"))
    again = preprocessing.load_preprocessor(tmp_path / "ours0")
    texts = [["a good film", "bad"]]
    for key, rows in model.preprocessor.encode_all(texts)[0].items():
        assert again.encode_all(texts)[0][key].to_list() == rows.to_list()


@pytest.mark.parametrize("name", ["m.h5", "m", "m.weights.h5", "m.zip"])
def test_a_model_is_saved_whole_or_refused(name: str, model: Any, tmp_path: Path) -> None:
    """Keras would write some of these, without graph and vocabulary, and none could be loaded."""
    with pytest.raises(tt.InputError, match="must be named `.keras`"):
        model.save(tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_an_unpacked_model_is_said_to_be_one(tmp_path: Path) -> None:
    (tmp_path / "model.weights.h5").touch()
    for load in (tt.load_model, lambda path: folders.load(path, False)):
        with pytest.raises(tt.InputError, match="that was unpacked; give the file, or pack it"):
            load(tmp_path)
    (tmp_path / "m.zip").touch()
    with pytest.raises(tt.InputError, match="expected a `.keras` file"):
        tt.load_model(tmp_path / "m.zip")


def test_a_training_that_ended_early_says_where_its_model_is(tmp_path: Path) -> None:
    (tmp_path / "interrupted.keras").touch()
    with pytest.raises(tt.InputError, match=r"ended early there; give .*/interrupted\.keras, or"):
        folders.load(tmp_path, False)


POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2146\nsize 12345\n"


@pytest.mark.parametrize(
    "name", ["saved_model.pb", "variables/variables.index", "assets/vocab.txt"]
)
def test_what_git_left_in_the_place_of_a_file_is_said(
    name: str, bert_encoder: Path, tmp_path: Path
) -> None:
    """Of a vocabulary it would be taken for three word pieces."""
    shutil.copytree(bert_encoder, tmp_path / "encoder")
    (tmp_path / "encoder" / name).write_bytes(POINTER)
    with pytest.raises(tt.InputError, match=f"`git lfs pull` fetches that.*{name}"):
        tt.Encoder(str(tmp_path / "encoder"))


@pytest.mark.parametrize("name", ["d.csv", "d.jsonl", "d.parquet", "m.keras", "m.safetensors"])
def test_pointers_are_no_data(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(POINTER)
    readers = {"m.keras": tt.load_model, "m.safetensors": tensor_files.read_file}
    read: Any = readers.get(name, tt.data.read)
    with pytest.raises(tt.InputError, match="`git lfs pull` fetches that"):
        read(tmp_path / name)


def test_home_is_home_and_nothing_is_no_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert tt.registry._named("~/e") == str(tmp_path / "e")
    (tmp_path / "d.csv").write_text("text,label\na good film,x\n")
    for path in ("~/d.csv", Path("~/d.csv")):
        file = tt.data.File(path, delimiter=",")
        assert (tt.data.read(file).labels, type(file.path)) == (["x"], type(path))
    (tmp_path / "d.csv").unlink()
    report = tt.Report("classification", "e", {}, {"accuracy": 0.5}, ["a", "b"])
    assert report.save("~/r") == tmp_path / "r"
    with pytest.raises(tt.InputError, match="expected a name.*Received: nothing"):
        report.save("")
    assert [path.name for path in tmp_path.iterdir()] == ["r"]
    atomic.write_text(Path("~/t"), "x")
    atomic.check_output(Path("~/o"))
    with atomic.folder(Path("~/o")):
        pass
    assert sorted(path.name for path in tmp_path.iterdir()) == ["o", "r", "t"]
    assert cli.main(["convert", "--output=~/c", "~/none"]) == 2
    words = ["--output=~/c", "--output=c~", "~/c", "a=~/c"]
    assert list(map(cli._expanded, words)) == [f"--output={tmp_path}/c", *words[1:]]


def test_a_current_folder_that_was_removed_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    for door in (opening.path_of, lambda path: atomic.check_output(Path(path))):
        with pytest.raises(tt.InputError, match="the current folder was removed.*Received: out"):
            door("out")
    atomic.check_output(tmp_path / "out")
    assert opening.path_of(tmp_path / "none") == tmp_path / "none"


def test_a_command_prints_a_warning_as_a_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def warns() -> list[Any]:
        text = warnings.formatwarning("the cache\nis \x1b[31moff", UserWarning, "x.py", 3, "code()")
        print(text, end="", file=sys.stderr)
        return []

    monkeypatch.setattr(tt.registry, "known_encoders", warns)
    usual = warnings.formatwarning
    assert cli.main(["encoders"]) == 0
    assert capsys.readouterr().err == "tfhub-transfer: warning: the cache is \\x1b[31moff\n"
    assert warnings.formatwarning is usual
