"""What is written appears whole or not at all, and nothing that others wrote is ever replaced."""

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tfhub_transfer.errors import InputError
from tfhub_transfer.storage import atomic, budget, scratch, signals


def names(folder: Path) -> list[str]:
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


def write(target: Path, *files: str, overwrite: bool = False) -> None:
    atomic.check_output(target, overwrite)
    with atomic.folder(target, overwrite) as folder:
        for name in files:
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_text(name)


def test_a_folder_appears_whole_and_nothing_beside_it(tmp_path: Path) -> None:
    with atomic.folder(tmp_path / "deep" / "out") as folder:
        (folder / "a").write_text("1")
        assert not (tmp_path / "deep" / "out").exists()
    assert names(tmp_path) == ["deep/out/.tfhub-transfer", "deep/out/a"]
    assert os.stat(tmp_path / "deep" / "out").st_mode & 0o777 == 0o777 & ~_umask()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_a_failure_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), atomic.folder(tmp_path / "deep" / "out") as folder:
        (folder / "a").write_text("1")
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


def test_a_failure_leaves_what_was_there(tmp_path: Path) -> None:
    write(tmp_path / "out", "old")
    with pytest.raises(OSError, match="full"), atomic.folder(tmp_path / "out"):
        raise OSError(errno.ENOSPC, "full")
    assert names(tmp_path) == ["out/.tfhub-transfer", "out/old"]


def test_overwriting_replaces_what_was_written(tmp_path: Path) -> None:
    write(tmp_path / "out", "old", "sub/old")
    with pytest.raises(InputError, match="isn't empty; name another one, or give `--overwrite`"):
        write(tmp_path / "out", "new")
    write(tmp_path / "out", "new", overwrite=True)
    assert names(tmp_path) == ["out/.tfhub-transfer", "out/new"]


@pytest.mark.parametrize("name", ["notes.txt", "sub/notes.txt", ".hidden", "linked"])
def test_overwriting_never_deletes_what_others_wrote(tmp_path: Path, name: str) -> None:
    write(tmp_path / "out", "old", "sub/old")
    if name == "linked":
        (tmp_path / "elsewhere").mkdir()
        (tmp_path / "out" / name).symlink_to(tmp_path / "elsewhere")
    else:
        (tmp_path / "out" / name).write_text("mine")
    with pytest.raises(InputError, match=f"removes none of those.* Received: .*{name}$"):
        write(tmp_path / "out", "new", overwrite=True)
    assert (tmp_path / "out" / "old").read_text() == "old"


def test_a_folder_without_a_mark_is_somebody_elses(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "model.keras").write_text("mine")
    with pytest.raises(InputError, match=r"Received: .*model\.keras$"):
        write(tmp_path / "out", "new", overwrite=True)
    for mark in ("{", "[]", '{"wrote": 3}', '{"wrote": ["../../x"]}', "[" * 100_000):
        (tmp_path / "out" / atomic.MARK).write_text(mark)
        with pytest.raises(InputError, match="didn't write"):
            write(tmp_path / "out", "new", overwrite=True)


def test_a_file_that_is_added_to_our_folder_is_ours(tmp_path: Path) -> None:
    write(tmp_path / "out", "old")
    atomic.write_text(tmp_path / "out" / "report.json", "{}")
    write(tmp_path / "out", "new", overwrite=True)
    assert names(tmp_path) == ["out/.tfhub-transfer", "out/new"]


def test_several_outputs_in_a_folder_are_no_output(tmp_path: Path) -> None:
    write(tmp_path / "runs" / "a", "x")
    write(tmp_path / "runs" / "b", "x")
    with pytest.raises(InputError, match="removes none of those"):
        write(tmp_path / "runs", "new", overwrite=True)
    write(tmp_path / "out", "model")
    write(tmp_path / "out" / "backup", "x")
    with pytest.raises(InputError, match=r"Received: .*backup"):
        write(tmp_path / "out", "new", overwrite=True)


def test_a_later_version_beside_one_of_an_output_is_part_of_it(tmp_path: Path) -> None:
    """And what is written beside versions; elsewhere in the output nothing is."""
    out = tmp_path / "out"

    def version(folder: Path) -> None:
        (folder / "graph").touch()

    with atomic.folder(out) as folder:
        (folder / "model").touch()
        atomic.numbered(folder / "serving", version)
    for number in ("2", "3"):
        assert atomic.numbered(out / "serving", version) == out / "serving" / number
        atomic.files(out / "serving", {"kit": b""})
    atomic.check_output(out, overwrite=True)
    # The versions alone are several outputs, and none.
    with pytest.raises(InputError, match="removes none of those"):
        atomic.check_output(out / "serving", overwrite=True)
    atomic.numbered(out / "other", version)
    with pytest.raises(InputError, match=r"Received: .*other"):
        atomic.check_output(out, overwrite=True)
    shutil.rmtree(out / "other")
    (out / "serving" / "3" / "mine").touch()
    with pytest.raises(InputError, match=r"Received: .*mine"):
        atomic.check_output(out, overwrite=True)
    (out / "serving" / "3" / "mine").unlink()
    write(out, "new", overwrite=True)
    assert names(tmp_path) == ["out/.tfhub-transfer", "out/new"]


@pytest.mark.parametrize("overwrite", [False, True])
def test_what_came_during_the_work_is_not_replaced(overwrite: bool, tmp_path: Path) -> None:
    message = "holds a file that this package didn't write" if overwrite else "isn't empty"
    with (
        pytest.raises(InputError, match=f"couldn't be moved .*{message}.*lies in (.*)/new:"),
        atomic.folder(tmp_path / "out", overwrite) as folder,
    ):
        (folder / "a").write_text("finished")
        (tmp_path / "out").mkdir()
        (tmp_path / "out" / "notes.txt").write_text("mine")
    assert (tmp_path / "out" / "notes.txt").read_text() == "mine"
    [left] = tmp_path.glob(".out.partial-*/new/a")
    assert left.read_text() == "finished"


def test_a_name_like_a_scratch_folders_is_not_enough(tmp_path: Path) -> None:
    write(tmp_path / "out", "old")
    for name in (".notes.partial-draft", ".notes.partial-abcd1234"):
        (tmp_path / "out" / name).mkdir()
        (tmp_path / "out" / name / "thesis.txt").touch()
        with pytest.raises(InputError, match=r"Received: .*thesis\.txt"):
            write(tmp_path / "out", "new", overwrite=True)
        shutil.rmtree(tmp_path / "out" / name)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("a[1]", "patterns"),
        ("*", "patterns"),
        ("a\udcff", "must be UTF-8"),
        ("x" * 240, "230 bytes at most"),
        ("loop", "a link to itself"),
    ],
)
def test_names_that_fail_later_are_refused_before(name: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    with pytest.raises(InputError, match=message):
        atomic.check_output(tmp_path / name)


def test_one_place_under_two_names_is_one_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As of a folder that is mounted twice."""
    for name in ("mounted", "data"):
        (tmp_path / name).mkdir()
    stat = Path.stat
    monkeypatch.setattr(
        Path, "stat", lambda path, **k: stat(tmp_path / "data" if path.name == "mounted" else path)
    )
    with pytest.raises(InputError, match="apart from what is read"):
        atomic.check_output(tmp_path / "mounted", True, [tmp_path / "data"])


@pytest.mark.parametrize(
    ("output", "message"),
    [
        (".", "replace the current folder"),
        ("..", "replace the current folder or one around it"),
        ("/", "replace the current folder or one around it"),
        ("~", "replace the home folder"),
        ("model", "apart from what is read, model"),
        ("model/report", "apart from what is read, model"),
        ("around", "apart from what is read, around/data.csv"),
        ("link", "apart from what is read, model"),
        ("file", "must be a folder"),
    ],
)
def test_an_output_must_lie_apart(
    output: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = tmp_path / "home" / "work"
    for name in ("model", "around"):
        (work / name).mkdir(parents=True)
    (work / "around" / "data.csv").touch()
    (work / "file").touch()
    (work / "link").symlink_to(work / "model")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path / "elsewhere" if output == "~" else work)
    with pytest.raises(InputError, match=message):
        atomic.check_output(
            Path(output).expanduser(),
            overwrite=True,
            inputs=["model", "around/data.csv", "auto", "tfds:glue/sst2", ""],
        )
    assert (work / "around" / "data.csv").exists()


def test_a_link_to_a_folder_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "out").symlink_to(tmp_path / "disk")
    write(tmp_path / "out", "new")
    assert (tmp_path / "out").is_symlink()
    assert names(tmp_path / "disk") == [".tfhub-transfer", "new"]


def test_a_mount_is_filled_entry_by_entry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _forbid_renaming(tmp_path / "out", monkeypatch)
    for told in (True, False):
        monkeypatch.setattr(
            atomic.os.path, "ismount", lambda path, told=told: told and Path(path).name == "out"
        )
        (tmp_path / "out").mkdir(exist_ok=True)
        write(tmp_path / "out", "old", "sub/old", overwrite=True)
        write(tmp_path / "out", "new", "sub/new", overwrite=True)
        assert names(tmp_path) == ["out/.tfhub-transfer", "out/new", "out/sub/new"]


def _forbid_renaming(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the system does with a mount."""
    replace = os.replace

    def busy(source: Path, to: Path) -> None:
        if target in (Path(source), Path(to)):
            raise OSError(errno.EBUSY, "Device or resource busy")
        replace(source, to)

    monkeypatch.setattr(atomic.os, "replace", busy)


def test_finished_work_is_never_deleted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(atomic, "_move_entries", lambda *a: _raise(OSError(errno.EIO, "broken")))
    (tmp_path / "out").mkdir()
    _forbid_renaming(tmp_path / "out", monkeypatch)
    with pytest.raises(InputError, match="couldn't be moved .*broken.* lies in .*new: move it"):
        write(tmp_path / "out", "a")
    [left] = tmp_path.glob(".out.partial-*")
    assert (left / "new" / "a").read_text() == "a"
    with pytest.warns(UserWarning, match=f"had finished; its work lies in {left}"):
        write(tmp_path / "other", "b")
    assert (left / "new" / "a").exists()


def _raise(error: Exception) -> None:
    raise error


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    (tmp_path / "real").write_text("old")
    (tmp_path / "file.npy").symlink_to(tmp_path / "real")
    with pytest.raises(ValueError, match="x"), atomic.file(tmp_path / "file.npy") as path:
        assert path.name == "real"
        path.write_text("half")
        raise ValueError("x")
    assert (tmp_path / "file.npy").read_text() == "old"
    atomic.write_text(tmp_path / "file.npy", "new")
    assert (tmp_path / "real").read_text() == "new"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file.npy", "real"]


def test_numbers_go_on(tmp_path: Path) -> None:
    (tmp_path / "7").mkdir()
    (tmp_path / "x8").mkdir()

    def write_and_be_overtaken(folder: Path) -> None:
        (folder / "a").touch()
        (tmp_path / "8").mkdir()
        (tmp_path / "8" / "b").touch()

    assert atomic.numbered(tmp_path, write_and_be_overtaken) == tmp_path / "9"
    assert names(tmp_path) == ["8/b", "9/.tfhub-transfer", "9/a"]


# Processes that die -------------------------------------------------------------------------------

DIES = """
import os, pathlib, sys
from tfhub_transfer.storage import atomic, scratch
moment, target = sys.argv[1], pathlib.Path(sys.argv[2])
die = lambda *a: os._exit(9)
if moment == "synced":
    atomic._sync_all = die
if moment == "finished":
    atomic._swap = die
if moment in ("aside", "placed"):
    replace, done = os.replace, []
    def counted(source, to):
        if pathlib.Path(to).name in ("old", target.name):
            done.append(to)
        replace(source, to)
        if len(done) == {"aside": 1, "placed": 2}[moment] and to == done[-1]:
            die()
    os.replace = counted
with atomic.folder(target, True) as folder:
    (folder / "new").write_text("new")
    if moment == "writing":
        die()
"""


@pytest.mark.parametrize("moment", ["writing", "synced", "finished", "aside", "placed"])
def test_after_a_death_the_folder_is_whole_and_no_litter_stays(moment: str, tmp_path: Path) -> None:
    target = tmp_path / "out"
    write(target, "old")
    assert subprocess.call([sys.executable, "-c", DIES, moment, str(target)]) == 9
    if moment == "finished":
        with pytest.warns(UserWarning, match="a run that was killed had finished"):
            write(tmp_path / "next", "x")
        assert names(target) == [".tfhub-transfer", "old"]
        return
    before = names(target) if target.exists() else None
    assert before == {
        "aside": None,
        "placed": [".tfhub-transfer", "new"],
    }.get(moment, [".tfhub-transfer", "old"])
    with pytest.raises(InputError, match="isn't empty"):
        atomic.check_output(target)
    write(tmp_path / "next", "x")
    assert (target / ("new" if moment in ("aside", "placed") else "old")).exists()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["next", "out"]


def test_the_living_are_left_alone(tmp_path: Path) -> None:
    with atomic.folder(tmp_path / "out") as folder:
        (folder / "a").write_text("1")
        write(tmp_path / "other", "b")
        assert (folder / "a").exists()
    assert (tmp_path / "out" / "a").exists()


def test_temporary_folders_of_the_dead_are_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scratch.tempfile, "gettempdir", lambda: str(tmp_path))
    code = (
        "import os, sys; from tfhub_transfer.storage import scratch\n"
        "with scratch.temporary() as folder:\n (folder / 'x').touch(); os._exit(9)"
    )
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    assert subprocess.call([sys.executable, "-c", code], env=environment) == 9
    [dead] = tmp_path.iterdir()
    (tmp_path / "tfhub_transfer_of_another").mkdir()  # without a lock it isn't ours
    with scratch.temporary() as folder:
        assert not dead.exists()
        assert folder.is_dir()
    assert [p.name for p in tmp_path.iterdir()] == ["tfhub_transfer_of_another"]


# Signals ------------------------------------------------------------------------------------------

SIGNALLED = """
import os, pathlib, signal, sys, time
from tfhub_transfer.storage import atomic, signals
how, target = sys.argv[1], pathlib.Path(sys.argv[2])
for number in (signal.SIGINT, signal.SIGHUP):  # in the background they may be ignored
    signal.signal(number, signal.SIG_DFL)
try:
    with signals.handled(), atomic.folder(target) as folder:
        (folder / "new").write_text("new")
        if how == "moving":
            held = atomic._commit
            def commit(*a):
                os.kill(os.getpid(), signal.SIGTERM)
                held(*a)
            atomic._commit = commit
        else:
            try:
                os.kill(os.getpid(), getattr(signal, how.split()[0]))
                time.sleep(10)
            except KeyboardInterrupt:
                if "twice" in how:
                    os.kill(os.getpid(), signal.SIGTERM)
                    time.sleep(10)
                raise
except KeyboardInterrupt as error:
    print("cleaned up")
    sys.exit(128 + error.number)
print("went on")
"""


@pytest.mark.parametrize(
    ("how", "status", "said", "left"),
    [
        ("SIGINT", 130, "cleaned up", []),
        ("SIGTERM", 143, "cleaned up", []),
        ("SIGHUP", 129, "cleaned up", []),
        ("SIGINT twice", 143, "", []),
        ("moving", 143, "cleaned up", ["out/.tfhub-transfer", "out/new"]),
    ],
)
def test_signals_end_a_run_cleanly(
    how: str, status: int, said: str, left: list[str], tmp_path: Path
) -> None:
    command = [sys.executable, "-c", SIGNALLED, how, str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout.strip()) == (status, said), done.stderr
    assert names(tmp_path) == left


def test_what_is_ignored_stays_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    usual = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with signals.handled():
            os.kill(os.getpid(), signal.SIGHUP)
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
            assert signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL
    finally:
        signal.signal(signal.SIGHUP, usual)
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_a_full_disk_is_an_error_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: type("Free", (), {"free": 10_000_000})())
    with pytest.raises(InputError, match="at least 20 MB free. Received: .*out with 10 MB"):
        write(tmp_path / "out", "a")
    assert list(tmp_path.iterdir()) == []


def test_marks_list_what_was_written(tmp_path: Path) -> None:
    write(tmp_path / "out", "b", "sub/a")
    listed = json.loads((tmp_path / "out" / atomic.MARK).read_text())
    assert listed == {"by": "tfhub-transfer", "wrote": ["b", "sub/a"]}
    assert atomic.foreign(tmp_path / "out") is None


def test_errors_say_the_names_that_the_user_gave(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with (
        pytest.raises(OSError) as told,
        atomic.folder(Path("sub/out")) as outer,
        atomic.file(outer / "inner" / "file") as inner,
    ):
        raise OSError(28, f"full, says {inner}", str(inner), None, str(outer / "x"))
    assert told.value.args == (28, "full, says sub/out/inner/file")
    assert (told.value.filename, told.value.filename2) == ("sub/out/inner/file", "sub/out/x")
    # What is shortened inside has the short names by then.
    with (
        pytest.raises(InputError, match="^cut: sub/out/1/variables$"),
        atomic.folder(Path("sub/out")) as outer,
    ):
        try:
            atomic.numbered(outer, lambda new: _raise(ValueError(f"{new}/1/variables are many")))
        except ValueError as error:
            raise InputError(f"cut: {str(error)[:19]}") from error


def test_a_part_is_whole_with_what_is_around_it_and_else_by_itself(tmp_path: Path) -> None:
    with atomic.folder(tmp_path / "out") as scratch, atomic.part(scratch / "part") as folder:
        assert folder == scratch / "part"
        (folder / "a").touch()
    with atomic.part(tmp_path / "out" / "later") as folder:
        assert folder != tmp_path / "out" / "later"
        (folder / "b").touch()
    assert sorted(names(tmp_path / "out")) == [
        ".tfhub-transfer",
        "later/.tfhub-transfer",
        "later/b",
        "part/a",
    ]
    assert atomic.foreign(tmp_path / "out") is None
    later, alone = (atomic.part(tmp_path / name) for name in ("out/later", "alone"))
    with pytest.raises(InputError, match="exists and isn't empty"), later:
        pass
    with pytest.raises(InputError, match="can't be written.*full.*Received: .*alone$"), alone:
        raise OSError("full")
    assert not (tmp_path / "alone").exists()


@pytest.mark.parametrize("missing", ["current", "home"])
def test_there_may_be_no_current_folder_and_no_home(
    missing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    error = FileNotFoundError() if missing == "current" else RuntimeError("no home")
    monkeypatch.setattr(Path, "cwd" if missing == "current" else "home", lambda: _raise(error))
    atomic.check_output(tmp_path / "out")
    with pytest.raises(InputError, match="would replace the (root|current|home) folder"):
        atomic._check_place(Path("/"), Path("/"), ())


@pytest.mark.parametrize("step", ["mark", "_sync_all"])
def test_a_disk_that_says_only_at_the_end_that_it_is_full_loses_nothing(
    step: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(atomic, step, lambda folder: _raise(OSError(28, "No space left")))
    with (
        pytest.raises(InputError, match="No space left.*the finished work lies in") as told,
        atomic.folder(tmp_path / "out") as folder,
    ):
        (folder / "a").write_text("work")
    place = str(told.value).split("lies in ")[1].split(": move")[0]
    assert (Path(place) / "a").read_text() == "work"
    monkeypatch.undo()
    with pytest.warns(UserWarning, match="had finished; its work lies in"):
        scratch.sweep(tmp_path, ".*.partial-*")
    assert (Path(place) / "a").read_text() == "work"


def test_a_signal_while_it_waits_for_the_disk_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(atomic, "_sync_all", lambda folder: os.kill(os.getpid(), signal.SIGTERM))
    with (
        pytest.raises(KeyboardInterrupt, match="SIGTERM"),
        signals.handled(),
        atomic.folder(tmp_path / "out") as folder,
    ):
        (folder / "a").write_text("work")
    assert names(tmp_path) == ["out/.tfhub-transfer", "out/a"]


def test_numbers_follow_a_link_to_a_folder_that_is_not_there_yet(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "new" / "folder")
    assert atomic.numbered(tmp_path / "link", lambda new: None) == tmp_path / "link" / "1"
    assert (tmp_path / "new" / "folder" / "1").is_dir()
    with pytest.raises(InputError, match="name must be UTF-8"):
        atomic.numbered(tmp_path / os.fsdecode(b"\xff"), lambda new: None)


def test_the_cache_may_not_lie_in_the_output(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would be there before the output is, and be taken for somebody else's."""
    monkeypatch.setenv("TFHUB_TRANSFER_CACHE_DIR", str(tmp_path / "out" / "cache"))
    with pytest.raises(InputError, match="would lie in the output.*TFHUB_TRANSFER_CACHE_DIR"):
        atomic.check_output(tmp_path / "out")
    atomic.check_output(tmp_path / "other")


def test_without_a_home_nothing_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TFHUB_TRANSFER_CACHE_DIR", raising=False)
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)  # as for a user whom nobody knows
    assert budget.folder() is None


@pytest.mark.parametrize("umask", [0o077, 0o027, 0o002])
def test_permissions_are_those_of_the_umask(umask: int, tmp_path: Path) -> None:
    """Also of what was copied from a read-only place, or was made by TensorFlow for its owner."""

    def fill(folder: Path) -> None:
        (folder / "part").mkdir()
        (folder / "part" / "a").touch()
        (folder / "part" / "a").chmod(0o400)
        (folder / "part").chmod(0o500)
        (folder / "b").touch()

    before = os.umask(umask)
    try:
        with atomic.folder(tmp_path / "out") as folder:
            fill(folder)
        atomic.numbered(tmp_path / "serving", fill)
    finally:
        os.umask(before)
    for path in tmp_path.rglob("*"):
        assert path.stat().st_mode & 0o777 == (0o777 if path.is_dir() else 0o666) & ~umask, path
