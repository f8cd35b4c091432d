"""Who looks at a folder of versions while exports come and go sees whole ones only."""

import json
import shutil
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

import tfhub_transfer as tt
from tfhub_transfer.serving import exporting
from tfhub_transfer.storage.marks import MARK

EXPORTS = 20


class Poller(threading.Thread):
    """Looks for versions as a server does, and reads each that is new.

    Attributes:
        seen: The versions that it read.
        broken: What was wrong with one that is still there.
    """

    def __init__(self, parent: Path) -> None:
        super().__init__()
        self.seen: set[str] = set()
        self.broken: list[str] = []
        self._parent, self._stop_looking = parent, threading.Event()

    def run(self) -> None:
        while not self._stop_looking.is_set():
            self._look()

    def stop(self) -> None:
        self._stop_looking.set()
        self.join()
        self._look()

    def _look(self) -> None:
        for version in self._parent.iterdir():
            if version.name.isdigit() and version.name not in self.seen:
                try:
                    read(version)
                    self.seen.add(version.name)
                except Exception as error:
                    # One that was removed meanwhile is gone as a whole.
                    if version.exists():
                        self.broken.append(f"{version.name}: {error}")


def read(version: Path) -> None:
    """Reads all that a version says it holds."""
    graph = saved_model_pb2.SavedModel.FromString((version / "saved_model.pb").read_bytes())
    assert graph.meta_graphs[0].signature_def["serving_default"].outputs
    weights = tf.train.load_checkpoint(str(version / "variables" / "variables"))
    for name in weights.get_variable_to_shape_map():
        assert np.asarray(weights.get_tensor(name)).size
    for name in json.loads((version / MARK).read_text("utf-8"))["wrote"]:
        assert (version / name).is_file()


@pytest.fixture(scope="module")
def model(text_encoder: Path) -> tt.TransferModel:
    return tt.build_model(str(text_encoder), tt.tasks.Classification(["bad", "good"]))


@pytest.mark.parametrize(
    ("written", "keep"),
    [
        *(("copied", None), ("copied", 2)),
        pytest.param("real", 2, marks=pytest.mark.slow),
        pytest.param("real", None, marks=[pytest.mark.slow, pytest.mark.exhaustive]),
    ],
)
def test_a_poller_sees_whole_versions_only(
    written: str,
    keep: int | None,
    model: tt.TransferModel,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    once = tt.export_saved_model(model, tmp_path / "once")
    if written == "copied":

        def copy(model: Any, folder: Path, *more: Any) -> None:
            shutil.copytree(once, folder, dirs_exist_ok=True)
            (folder / MARK).unlink()

        monkeypatch.setattr(exporting, "_write", copy)
    parent = tmp_path / "serving"
    parent.mkdir()
    poller = Poller(parent)
    poller.start()
    try:
        for number in range(1, EXPORTS + 1):
            assert tt.export_saved_model(model, parent, keep=keep) == parent / str(number)
    finally:
        poller.stop()
    assert poller.broken == []
    left = range(1 if keep is None else EXPORTS + 1 - keep, EXPORTS + 1)
    assert {int(path.name) for path in parent.iterdir()} == set(left)
    assert poller.seen >= set(map(str, left))
