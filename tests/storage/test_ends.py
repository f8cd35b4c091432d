"""Work that ends early or badly: full disks, places that can't be written, signals, kills.

Nothing that was learned is lost, and nothing half-written stays.
"""

import contextlib
import errno
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from string import ascii_lowercase
from typing import Any

import keras
import numpy as np
import pytest
import samples
import tensorflow as tf

import tfhub_transfer as tt
from tfhub_transfer import cli
from tfhub_transfer.encoders import hub_format
from tfhub_transfer.encoders.bert_shapes import BertShape, bert_variable_shapes
from tfhub_transfer.errors import InputError
from tfhub_transfer.jobs.trainings import training
from tfhub_transfer.recipes import distillation, encoder_distillation, students
from tfhub_transfer.storage import atomic, keeping, saving, signals
from tfhub_transfer.training import finetuning

NOBODY = 65534
FULL = OSError(errno.ENOSPC, "No space left on device")
Run = subprocess.CompletedProcess[str]


def python(code: str, *arguments: Any, **given: Any) -> Run:
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, **given)


def names(folder: Path) -> list[str]:
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


@pytest.fixture
def temporaries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder for temporary files, that other tests don't use."""
    folder = tmp_path / "temporaries"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@pytest.fixture
def elsewhere(
    tmp_path: Path, temporaries: Path, monkeypatch: pytest.MonkeyPatch
) -> dict[str, Path]:
    """The places that are tried if the output can't be written."""
    places = {"current": tmp_path / "current", "home": tmp_path / "home", "temporary": temporaries}
    for name in ("current", "home"):
        places[name].mkdir()
    monkeypatch.chdir(places["current"])
    monkeypatch.setenv("HOME", str(places["home"]))
    return places


# What was learned is written somewhere --------------------------------------------------------


@pytest.mark.parametrize("full", [0, 1, 2, 3])
def test_if_a_place_is_full_the_next_is_tried(
    full: int, tmp_path: Path, elsewhere: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    tried = []

    def write(path: Path) -> None:
        tried.append(path)
        if len(tried) <= full:
            raise FULL
        atomic.write_text(path, "learned")

    target = tmp_path / "out" / "model.keras"
    with pytest.raises(OSError, match="why"), keeping.kept(write, target, "use {}"):
        raise OSError("why")
    folders = [target.parent, *elsewhere.values()]
    assert [path.parent for path in tried] == folders[: full + 1]
    assert tried[-1].read_text() == "learned" and tried[-1].suffix == ".keras"
    said = capsys.readouterr().err
    assert said == f"\nit failed: the model as trained so far is in {tried[-1]}; use {tried[-1]}\n"
    if full:
        assert not target.parent.exists()
        assert tried[-1].stat().st_mode & 0o777 == 0o600
    else:
        assert atomic.foreign(target.parent) is None  # `--overwrite` may replace it


def test_if_every_place_is_full_it_says_so(
    tmp_path: Path, elsewhere: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    def write(path: Path) -> None:
        raise FULL

    with pytest.raises(KeyboardInterrupt), keeping.kept(write, tmp_path / "out", ""):
        raise KeyboardInterrupt
    said = capsys.readouterr().err
    assert said.startswith("\ninterrupted: the model as trained so far could be written nowhere: ")
    assert said.count("No space left on device") == 4 and said.count("\n") == 2


def test_a_signal_waits_until_it_is_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def write(path: Path) -> None:
        with atomic.file(path) as scratch:
            os.kill(os.getpid(), signal.SIGTERM)
            scratch.write_text("whole")

    with (
        pytest.raises(KeyboardInterrupt, match="SIGTERM"),
        signals.handled(),
        keeping.kept(write, tmp_path / "model", "use {}"),
    ):
        raise FULL
    assert (tmp_path / "model").read_text() == "whole"
    assert f"it failed: the model as trained so far is in {tmp_path}" in capsys.readouterr().err


def test_what_is_not_worth_it_is_not_kept(tmp_path: Path) -> None:
    def is_input(error: BaseException) -> bool:
        return isinstance(error, InputError)

    with pytest.raises(InputError), keeping.kept(Path.touch, tmp_path / "x", "", is_input):
        raise InputError("lost")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(OSError), keeping.kept(Path.touch, tmp_path / "x", "", is_input):
        raise FULL
    assert (tmp_path / "x").is_file()


# Full disks -----------------------------------------------------------------------------------


@contextlib.contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """As on a disk that fills; the system doesn't spare root."""
    usual = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, usual[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, usual)


@pytest.fixture(scope="module")
def model(text_encoder: Path) -> Any:
    sample = samples.ROWS["classification"]
    return tt.build_model(str(text_encoder), sample.task(), sample.head)


@pytest.mark.parametrize("size", [100, 1_000, 6_000, 20_000])
def test_a_save_that_fails_leaves_nothing(
    size: int, model: Any, tmp_path: Path, temporaries: Path
) -> None:
    with (
        files_of_at_most(size),
        pytest.raises(InputError, match=r"can't be saved \(.*File too large.*Received: .*m\.keras"),
    ):
        model.save(tmp_path / "out" / "m.keras")
    assert [p.name for p in tmp_path.iterdir()] == ["temporaries"]
    assert list(temporaries.iterdir()) == []


def test_a_save_needs_no_temporary_folder(
    model: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(tempfile, "tempdir", str(tmp_path / "full"))
        model.save(tmp_path / "m.keras")
    texts = ["a good film"]
    assert tt.load_model(tmp_path / "m.keras").predict_text(texts) == model.predict_text(texts)
    assert [p.name for p in tmp_path.iterdir()] == ["m.keras"]


def words(text_encoder: Path, folder: Path, *more: str) -> list[str]:
    rows = "".join(f"good {i},a\nbad {i},b\n" for i in range(20))
    (folder / "rows.csv").write_text(f"text,label\n{rows}", encoding="utf-8")
    given = ["train", "--task", "classification", "--data", folder / "rows.csv"]
    given += ["--encoder", text_encoder, "--output", folder / "out", *more]
    return [str(word) for word in given]


def quick(model: Any, train: Any, *args: Any, **kwargs: Any) -> Any:
    """Instead of training."""
    for weight in model.head_model().weights:
        weight.assign_add(np.ones(weight.shape) * 0.5)
    model.training_examples = train
    return finetuning.History({}, {}, None, None)


def test_a_disk_that_fills_loses_no_training(
    text_encoder: Path,
    tmp_path: Path,
    elsewhere: dict[str, Path],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(training, "fine_tune", quick)
    save = keras.Model.save

    def full(model: Any, path: Path, **given: Any) -> None:
        save(model, path, **given)
        if Path(path).is_relative_to(tmp_path / "out") or ".out.partial" in str(path):
            os.truncate(path, 1000)
            raise FULL

    monkeypatch.setattr(keras.Model, "save", full)
    assert cli.main(words(text_encoder, tmp_path)) == 2
    note, error = capsys.readouterr().err.strip().splitlines()
    [found] = elsewhere["current"].iterdir()
    assert f"it failed: the model as trained so far is in {found}; ask it with" in note
    assert "error: the model can't be saved ([Errno 28] No space left on device)" in error
    assert error.endswith(f"Received: {tmp_path / 'out' / 'model.keras'}")
    assert tt.load_model(found).predict_text(["a good film"])
    assert [p.name for p in tmp_path.iterdir() if not p.is_dir()] == ["rows.csv"]
    assert not (tmp_path / "out").exists() and not list(tmp_path.glob(".out*"))


def no_export(*given: Any, **more: Any) -> None:
    raise tf.errors.ResourceExhaustedError(None, None, f"{given[1]}/variables; no space left")


def no_file(path: Path, *given: Any, **more: Any) -> None:
    raise OSError(errno.ENOSPC, "No space left on device", str(path))


LATE = {
    "the export": (tf.saved_model, "save", no_export, "the export failed.*out/serving"),
    "the report": (atomic, "write_bytes", no_file, "the report can't be written.*out/report"),
}


@pytest.mark.parametrize(
    "what",
    ["the export", pytest.param("the report", marks=pytest.mark.slow)],
)
def test_whatever_fails_late_names_what_the_user_named(
    what: str,
    text_encoder: Path,
    tmp_path: Path,
    temporaries: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """And the model lies where the message says, as it was trained."""
    trained = []

    def train(model: Any, *given: Any, **more: Any) -> Any:
        trained.append(model)
        return quick(model, *given, **more)

    monkeypatch.setattr(training, "fine_tune", train)
    monkeypatch.chdir(tmp_path)
    owner, name, fails, message = LATE[what]
    given = [word.replace(f"{tmp_path}/", "") for word in words(text_encoder, tmp_path)]
    with monkeypatch.context() as patched:
        patched.setattr(owner, name, fails)
        assert cli.main([*given[:5], "--encoder", str(text_encoder), "--output", "a/out"]) == 2
    note, error = capsys.readouterr().err.strip().splitlines()[-2:]
    assert "partial-" not in note + error
    assert re.search(message, error)
    found = re.search(r"the model as trained so far is in (.*?); ask it", note)
    assert found is not None
    texts = ["a good film"]
    assert tt.load_model(found[1]).predict_text(texts) == trained[0].predict_text(texts)


def test_room_is_asked_for_before_training(
    text_encoder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    free = atomic._ROOM + 1_000_000
    monkeypatch.setattr(shutil, "disk_usage", lambda path: type("Free", (), {"free": free})())
    monkeypatch.setattr(saving, "sizes", lambda *weights: (free, 1))
    monkeypatch.setattr(training, "fine_tune", lambda *a, **k: pytest.fail("it trained"))
    assert cli.main(words(text_encoder, tmp_path)) == 2
    error = capsys.readouterr().err
    assert "no space left for the output: expected at least 21 MB free" in error
    assert error.count("\n") == 1
    assert [p.name for p in tmp_path.iterdir()] == ["rows.csv"]


def test_the_size_that_is_foretold_is_that_of_the_file(bert_encoder: Path, tmp_path: Path) -> None:
    sample = samples.ROWS["regression"]
    model = tt.build_model(str(bert_encoder), sample.task(), sample.head)
    model.encoder.freeze_to(0)
    model.optimizer.build(model.trainable_variables)
    model.save(tmp_path / "m.keras")
    least, export = saving.sizes(model.weights, model.trainable_variables)
    stored = (tmp_path / "m.keras").stat().st_size
    graph = sum(p.stat().st_size for p in bert_encoder.rglob("*") if "variables" not in str(p))
    assert least <= stored <= least + graph + 200_000
    version = tt.export_saved_model(model, tmp_path / "serving")
    assert export <= sum(path.stat().st_size for path in version.rglob("*"))
    with files_of_at_most(least - 1), pytest.raises(InputError, match="longest file"):
        atomic.check_room(tmp_path / "out", least, export)


# Places that can't be written -----------------------------------------------------------------


@contextlib.contextmanager
def ordinary_user() -> Iterator[None]:
    """Permissions don't bind root."""
    if os.getuid():
        yield
        return
    groups = os.getgroups()
    os.setgroups([])
    os.setresuid(NOBODY, NOBODY, 0)
    try:
        yield
    finally:
        os.setresuid(0, 0, 0)
        os.setgroups(groups)


@pytest.fixture
def shared() -> Iterator[Path]:
    """A folder that every user may enter and write."""
    folder = Path(tempfile.mkdtemp(dir="/tmp"))
    folder.chmod(0o777)
    yield folder
    for path in folder.rglob("*"):
        if path.is_dir():
            path.chmod(0o777)
    shutil.rmtree(folder)


@pytest.mark.parametrize(
    ("mode", "inner", "message"),
    [
        (0o555, None, "belongs to another user or is read-only"),
        (0o777, 0o555, "belongs to another user or is read-only. Received: .*serving"),
        (0o777, 0o777, None),
    ],
)
def test_an_output_that_cant_be_replaced_is_refused_before(
    mode: int, inner: int | None, message: str | None, shared: Path
) -> None:
    out = shared / "out"
    with ordinary_user(), atomic.folder(out) as folder:
        (folder / "serving").mkdir()
        (folder / "serving" / "a").touch()
    (out / "serving").chmod(inner or 0o777)
    out.chmod(mode)
    with ordinary_user():
        if message:
            with pytest.raises(InputError, match=message):
                atomic.check_output(out, overwrite=True)
        else:
            atomic.check_output(out, overwrite=True)
            with atomic.folder(out, overwrite=True) as folder:
                (folder / "b").touch()
    assert names(out)[-1] == ("b" if message is None else "serving/a")
    assert [p.name for p in shared.iterdir()] == ["out"]


@pytest.mark.parametrize("mode", [0o555, 0o1777])
@pytest.mark.skipif(os.getuid() != 0, reason="only root makes folders for another user")
def test_a_folder_of_another_user_or_in_one_is_filled(mode: int, shared: Path) -> None:
    """One that can't be renamed, as what is around it belongs to root: it is filled instead."""
    (shared / "around" / "out").mkdir(parents=True)
    (shared / "around" / "out").chmod(0o777)
    (shared / "around").chmod(mode)
    with ordinary_user():
        atomic.check_output(shared / "around" / "out")
        with atomic.folder(shared / "around" / "out") as folder:
            (folder / "a").touch()
        (shared / "closed").mkdir(0o555)
        with pytest.raises(InputError, match=r"can't be written \(Permission denied\)"):
            atomic.check_output(shared / "closed" / "out")
    assert names(shared) == ["around/out/.tfhub-transfer", "around/out/a"]


@pytest.mark.parametrize("error", [errno.EROFS, errno.EACCES, errno.EDQUOT, errno.ENOSPC])
def test_what_a_disk_says_is_told_before_any_work(
    error: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`os.access` knows of a read-only one, and not of quotas and other machines' permissions."""

    def mkdir(path: Path, *args: Any, **kwargs: Any) -> None:
        raise OSError(error, os.strerror(error), str(path))

    monkeypatch.setattr(Path, "mkdir", mkdir)
    message = rf"can't be written \({os.strerror(error)}\). Received: .*out$"
    with pytest.raises(InputError, match=message):
        atomic.check_output(tmp_path / "new" / "out")
    monkeypatch.undo()
    assert list(tmp_path.iterdir()) == []


def test_a_fresh_volume_is_empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Though many file systems keep a folder of their own in their root."""
    out = tmp_path / "out"
    (out / "lost+found").mkdir(parents=True)
    with pytest.raises(InputError, match="isn't empty"):
        atomic.check_output(out)
    monkeypatch.setattr(atomic.os.path, "ismount", lambda path: Path(path) == out)
    for overwrite in (False, True):
        atomic.check_output(out, overwrite)
        with atomic.folder(out, overwrite) as folder:
            (folder / "a").touch()
    assert sorted(p.name for p in out.iterdir()) == [".tfhub-transfer", "a", "lost+found"]


# Distillation ---------------------------------------------------------------------------------


def struck(weights: Any) -> None:
    for weight in weights:
        weight.assign_add(np.ones(weight.shape) * 0.25)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(10)


@pytest.mark.slow
def test_distillation_of_a_model_that_is_interrupted_keeps_the_student(
    text_encoder: Path,
    model: Any,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model.save(tmp_path / "teacher.keras")
    taught = []

    def interrupted(model: Any, *args: Any, **kwargs: Any) -> None:
        taught.append(model)
        struck(model.head_model().weights)

    monkeypatch.setattr(distillation, "fine_tune", interrupted)
    rows = "".join(f"good {i},{c}\n" for i in range(20) for c in model.task.class_names)
    (tmp_path / "rows.csv").write_text(f"text,label\n{rows}", encoding="utf-8")
    given = ["distill", tmp_path / "teacher.keras", "--data", tmp_path / "rows.csv"]
    given += ["--encoder", text_encoder, "--output", tmp_path / "out"]
    assert cli.main([str(word) for word in given]) == 143
    saved = tmp_path / "out" / "interrupted.keras"
    assert f"interrupted: the model as trained so far is in {saved}" in capsys.readouterr().err
    texts = ["a good film"]
    assert tt.load_model(saved).predict_text(texts) == taught[0].predict_text(texts)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out", "rows.csv", "teacher.keras"]
    assert atomic.foreign(saved.parent) is None


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BERT of two layers that students can be cut out of."""
    folder = tmp_path_factory.mktemp("teacher")
    pieces = [*hub_format.SPECIAL_TOKENS, *ascii_lowercase, *(f"##{c}" for c in ascii_lowercase)]
    vocab = folder / "vocab.txt"
    vocab.write_text("".join(f"{piece}\n" for piece in pieces), encoding="utf-8")
    shape = BertShape(2, 8, 2, 16, len(pieces), 16, mean_pooling=True)
    generator = np.random.default_rng(0)
    values = {
        name: generator.normal(scale=0.3, size=size).astype(np.float32)
        for name, size in bert_variable_shapes(shape).items()
    }
    info = {"name": "tiny", "dialect": "bert", "dimension": 8, "layers": 2, "lower_case": True}
    hub_format.save(hub_format.bert_encoder(values, shape, vocab, True), folder / "tiny", info)
    hub_format.save_preprocessor(folder / "tiny" / "preprocessor", vocab, True)
    return folder / "tiny"


@pytest.fixture(scope="module")
def distilled(teacher: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Distills into a folder, as the command does."""
    start, large = tmp_path_factory.mktemp("start") / "start", tt.Encoder(str(teacher))
    students.make_student(large, start, layers=1)
    texts = [f"{a}{b} {c}{a}" for a in "abcdef" for b in "abcde" for c in "abcd"]

    def distill(output: Path) -> None:
        with signals.handled():
            encoder_distillation.distill_encoder(large, start, texts, output)

    return distill


@pytest.mark.slow
@pytest.mark.parametrize("what", ["signal", "full disk"])
def test_distillation_of_an_encoder_that_ends_early_keeps_the_student(
    what: str,
    distilled: Any,
    tmp_path: Path,
    elsewhere: dict[str, Path],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    trained = []

    def fit(large: Any, small: Any, *args: Any) -> Any:
        trained.append(small)
        if what == "signal":
            struck(small.weights)
        return {}

    def write(anatomy: Any, folder: Path, more: Any) -> None:
        if what == "full disk" and re.search(r"/\.?out[./]", str(folder)):
            raise FULL
        np.savez(
            folder / "encoder.npz", **{k.replace("/", "."): v for k, v in anatomy.values.items()}
        )

    monkeypatch.setattr(encoder_distillation, "_fit", fit)
    monkeypatch.setattr(students.Anatomy, "write", write)
    wanted = KeyboardInterrupt if what == "signal" else InputError
    with pytest.raises(wanted, match="SIGTERM|could not be written: no space left on the disk"):
        distilled(tmp_path / "out")
    if what == "signal":
        saved = tmp_path / "out" / encoder_distillation.INTERRUPTED
        assert atomic.foreign(tmp_path / "out") is None
    else:
        [saved] = elsewhere["current"].iterdir()
        assert not (tmp_path / "out").exists()
    said = capsys.readouterr().err
    assert f"the model as trained so far is in {saved}; give it as `--encoder {saved}`" in said
    found = np.load(saved / "encoder.npz")
    for name, weight in trained[0].named_weights().items():
        np.testing.assert_array_equal(found[name.replace("/", ".")], weight.numpy())
    assert not list(tmp_path.glob(".*"))


@pytest.mark.slow
def test_distillation_of_an_encoder_stops_at_a_loss_that_is_no_number(
    distilled: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        encoder_distillation._Student, "_similarity", lambda *args: tf.constant(np.nan)
    )
    with pytest.raises(InputError, match="training fell apart: the loss is no finite number"):
        distilled(tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


# Kills in the middle of a move ----------------------------------------------------------------

MOVES = """
import os, pathlib, sys
from tfhub_transfer.storage import atomic, scratch
target, last = pathlib.Path(sys.argv[1]), int(sys.argv[2])
atomic._is_fixed = lambda path: path == target
replace, done = os.replace, []
def counted(source, to):
    if sys._getframe(1).f_code.co_name == "_move":
        if len(done) == last:
            os._exit(9)
        done.append(to)
    replace(source, to)
os.replace = counted
atomic.check_output(target, True)
with atomic.folder(target, True) as folder:
    for name in ("a", "b", "new/c"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("new")
if last == len(done):  # before the scratch folder goes
    os._exit(9)
"""
AFTER = [".tfhub-transfer", "a", "b", "new/c"]


@pytest.mark.parametrize("last", [0, 1, 3, 4, 5, 7])
def test_a_move_into_a_mount_is_finished_by_the_next_run(last: int, tmp_path: Path) -> None:
    target = tmp_path / "out"
    with atomic.folder(target) as folder:
        for name in ("a", "old", "x/y"):
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_text("old")
    assert python(MOVES, target, last).returncode == 9
    with pytest.warns(UserWarning, match=f"had finished; its work is in place now, in {target}"):
        atomic.check_output(target, overwrite=True)
    assert names(tmp_path) == [f"out/{name}" for name in AFTER]
    assert {(target / name).read_text() for name in AFTER[1:]} == {"new"}
    assert atomic.foreign(target) is None


@pytest.mark.parametrize("last", [0, 2, 4])
@pytest.mark.parametrize("theirs", ["b", "x/notes.txt", "notes.txt"])
def test_files_of_others_outlive_it(last: int, theirs: str, tmp_path: Path) -> None:
    target = tmp_path / "out"
    with atomic.folder(target) as folder:
        (folder / "x").mkdir()
        (folder / "x" / "y").write_text("old")
    assert python(MOVES, target, last).returncode == 9
    (target / theirs).parent.mkdir(exist_ok=True)
    written_over = (target / theirs).exists()
    (target / theirs).write_text("theirs")
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        if written_over:
            atomic.check_output(target, overwrite=True)
        else:
            with pytest.raises(InputError, match=f"{re.escape(f'Received: {target / theirs}')}$"):
                atomic.check_output(target, overwrite=True)
    assert (target / theirs).read_text() == "theirs"
    in_place = theirs == "notes.txt" or written_over  # else it is in the way
    assert in_place == any("its work is in place now" in str(each.message) for each in told)
    assert in_place == (not list(target.glob(".out.partial-*/new")))


# Signals --------------------------------------------------------------------------------------

TWICE = """
import os, signal, sys, threading, time
sys.argv[0:] = ["tfhub-transfer", *sys.argv[1:]]
pause, moment = float(sys.argv[1]), sys.argv[2]
for number in (signal.SIGINT, signal.SIGHUP):
    signal.signal(number, signal.SIG_DFL)
from tfhub_transfer import __main__, cli
import atexit, pathlib
from tfhub_transfer.storage import atomic
def send(times):
    for _ in range(times):
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(pause)
def main():
    if moment == "at the end":
        atexit.register(lambda: (send(2), time.sleep(0.2)))
        return 0
    try:
        with atomic.folder(pathlib.Path(sys.argv[3]) / "out") as folder:
            (folder / "a").touch()
            threading.Thread(target=send, args=(2,), daemon=True).start()
            time.sleep(5)
    except KeyboardInterrupt as error:
        return 128 + error.number
cli.main = main
__main__.run()
"""


@pytest.mark.parametrize("moment", ["at work", "at the end"])
@pytest.mark.parametrize("pause", [0.0, 0.001, 0.02])
def test_two_signals_at_any_distance_are_one_end(pause: float, moment: str, tmp_path: Path) -> None:
    done = python(TWICE, pause, moment, tmp_path)
    assert done.returncode == 143, done.stderr
    assert list(tmp_path.iterdir()) == []
