"""Versions side by side: the oldest of ours go, each at once, and nothing of anybody else."""

import os
import shutil
import warnings
from pathlib import Path
from typing import Any

import pytest

from tfhub_transfer.errors import InputError
from tfhub_transfer.storage import atomic, retention


def write(folder: Path) -> None:
    """What a version may hold."""
    (folder / "variables").mkdir()
    (folder / "saved_model.pb").write_text("graph")
    (folder / "variables" / "data").write_text("numbers")


def numbers(parent: Path) -> list[str]:
    return sorted(path.name for path in parent.iterdir())


def test_the_newest_of_ours_stay_and_all_of_others(tmp_path: Path) -> None:
    (tmp_path / "2").mkdir()
    (tmp_path / "11").mkdir()
    (tmp_path / "11" / "saved_model.pb").touch()
    shutil.copytree(tmp_path, tmp_path / "elsewhere")
    made = [atomic.numbered(tmp_path, write) for _ in range(4)]
    assert [path.name for path in made] == ["12", "13", "14", "15"]
    (tmp_path / "1").symlink_to(made[0], target_is_directory=True)
    (tmp_path / "x3").symlink_to(made[0])
    assert retention.keep_newest(tmp_path, 2) == made[:2]
    assert numbers(tmp_path) == ["1", "11", "14", "15", "2", "elsewhere", "x3"]
    assert retention.keep_newest(tmp_path, 2) == retention.keep_newest(tmp_path, 9) == []


def test_a_folder_holds_versions_of_one_format(tmp_path: Path) -> None:
    """Else a server would load the newest, which it can't, and `keep` remove what it serves."""
    (tmp_path / "7").mkdir()  # somebody else's
    retention.require_alike(tmp_path / "none", "*.tflite")
    retention.require_alike(tmp_path, "*.tflite")
    made = atomic.numbered(tmp_path, write)
    retention.require_alike(tmp_path, "saved_model.pb")
    with pytest.raises(InputError, match=rf"a folder of its own\. Received: {made}, without"):
        retention.require_alike(tmp_path, "*.tflite")


def test_a_version_holds_none_and_the_last_number_is_the_last(tmp_path: Path) -> None:
    made = atomic.numbered(tmp_path, write)
    with pytest.raises(InputError, match=rf"the folder around it\. Received: {made}, which"):
        retention.require_alike(made, "saved_model.pb")
    (tmp_path / str(2**63 - 1)).mkdir()
    with pytest.raises(InputError, match="no server takes a version behind 9223372036854775807"):
        retention.require_alike(tmp_path, "saved_model.pb")


def test_nines_are_older_than_tens(tmp_path: Path) -> None:
    (tmp_path / "8").mkdir()
    made = [atomic.numbered(tmp_path, write) for _ in range(3)]
    assert retention.keep_newest(tmp_path, 1) == made[:2]
    assert numbers(tmp_path) == ["11", "8"]


def test_what_somebody_put_into_a_version_is_kept_with_it(tmp_path: Path) -> None:
    made = [atomic.numbered(tmp_path, write) for _ in range(3)]
    (made[0] / "variables" / "notes.txt").touch()
    with pytest.warns(UserWarning, match=f"older version {made[0]} stays: variables/notes.txt in"):
        assert retention.keep_newest(tmp_path, 1) == [made[1]]
    assert numbers(tmp_path) == ["1", "3"]


def test_a_version_leaves_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is removed file by file has no number any longer."""
    seen: list[list[str]] = []
    remove = shutil.rmtree

    def look(path: Any, *args: Any, **kwargs: Any) -> None:
        seen.append([name for name in numbers(tmp_path) if name.isdigit()])
        remove(path, *args, **kwargs)

    for _ in range(2):
        atomic.numbered(tmp_path, write)
    monkeypatch.setattr(shutil, "rmtree", look)
    retention.keep_newest(tmp_path, 1)
    assert seen == [["2"]]


def test_what_cannot_be_removed_stays_and_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: Any) -> None:
        raise PermissionError(13, "Permission denied")

    for _ in range(2):
        atomic.numbered(tmp_path, write)
    monkeypatch.setattr(os, "rename", refuse)
    with pytest.warns(UserWarning, match="older version .* stays: .*Permission denied"):
        assert retention.keep_newest(tmp_path, 1) == []
    assert numbers(tmp_path) == ["1", "2"]


def test_one_that_another_process_removes_is_no_concern(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(2):
        atomic.numbered(tmp_path, write)
    rename = os.rename

    def late(source: Path, target: Path) -> None:
        shutil.rmtree(source)
        rename(source, target)

    monkeypatch.setattr(os, "rename", late)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert retention.keep_newest(tmp_path, 1) == []
    assert numbers(tmp_path) == ["2"]
