"""What a job finds out once is handed on: nobody looks up, hashes or reads it again."""

import collections
import contextlib
import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import samples

import tfhub_transfer as tt
from tfhub_transfer.data import reading
from tfhub_transfer.encoders import registry
from tfhub_transfer.jobs import inputs, vectors
from tfhub_transfer.jobs.options.asking import EncodeJob
from tfhub_transfer.jobs.options.training import TrainJob
from tfhub_transfer.jobs.trainings import training
from tfhub_transfer.models import encoding

Count = Callable[..., None]


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> tuple[collections.Counter[str], Count]:
    """A counter, and what makes it count the calls of a function by what it is called with."""
    found: collections.Counter[str] = collections.Counter()

    def count(
        place: Any, name: str, key: Callable[..., str] = lambda *given: str(given[0])
    ) -> None:
        inner = getattr(place, name)

        def outer(*given: Any, **more: Any) -> Any:
            found[f"{name} {key(*given)}"] += 1
            return inner(*given, **more)

        monkeypatch.setattr(place, name, outer)

    return found, count


def second(*given: Any) -> str:
    return str(given[1])


@pytest.fixture
def place(tmp_path: Path, text_encoder: Path) -> Path:
    """A folder with an encoder that says what it is, and texts with labels."""
    shutil.copytree(text_encoder, tmp_path / "encoder")
    facts = {"dialect": "text", "dimension": 8, "tuned_from": "another"}
    (tmp_path / "encoder" / registry.INFORMATION).write_text(json.dumps(facts))
    rows = [("good film", "yes"), ("bad movie", "no"), ("a good story", "yes"), ("the worst", "no")]
    lines = [f"{text} {number},{label}" for number in range(10) for text, label in rows]
    (tmp_path / "a.csv").write_text("\n".join(["text,label", *lines]) + "\n")
    return tmp_path


def test_a_training_looks_up_reads_and_hashes_once(
    place: Path, counted: tuple[collections.Counter[str], Count], monkeypatch: pytest.MonkeyPatch
) -> None:
    found, count = counted
    folder, data = place / "encoder", place / "a.csv"
    count(registry, "_named")
    count(registry, "_checked")
    count(registry, "read_information")
    count(vars(registry.EncoderSource)["_files"], "func")  # which hashes them
    count(reading.Table, "__init__", second)
    monkeypatch.setattr(training, "evaluate", lambda *given, **more: _Report())
    job = TrainJob("classification", str(data), place / "out", encoder=str(folder), quick=True)
    with contextlib.redirect_stdout(io.StringIO()):
        training.train(job)
    assert found[f"_checked {folder}"] == found[f"read_information {folder}"] == 1
    assert found[f"func {folder}"] == 1
    assert found[f"__init__ {data}"] == 1
    record = json.loads((place / "out" / encoding.RECORD_FILE).read_text())
    encoder = tt.Encoder(str(folder))
    assert record["encoder"] == {
        "handle": str(folder), "fingerprint": encoder.fingerprint(), "tuned_from": "another",
    }  # fmt: skip


class _Report(tt.Report):
    """One that nothing was measured for."""

    def __init__(self) -> None:
        super().__init__("classification", "x", {}, {})

    def __str__(self) -> str:
        return "nothing"

    def save(self, *given: Any, **more: Any) -> None:
        """Draws nothing."""


def test_the_file_of_several_tasks_is_read_once(
    place: Path, counted: tuple[collections.Counter[str], Count], monkeypatch: pytest.MonkeyPatch
) -> None:
    found, count = counted
    own = {"task": "classification", "data": "a.csv", "label": "label"}
    path = place / "tasks.json"
    path.write_text(json.dumps({"tasks": {"a": own, "b": own}, "alpha": 0.5}))
    count(inputs, "_settings")
    seen = {}

    def begin(job: Any, task: Any, source: Any) -> None:
        seen.update(task=task, source=source)
        raise KeyboardInterrupt

    monkeypatch.setattr(training, "_build", begin)
    job = TrainJob("multi-task", str(path), place / "out", encoder="auto")
    with pytest.raises(KeyboardInterrupt):
        training.train(job)
    assert found[f"_settings {path}"] == 1
    assert seen["task"].alpha == 0.5 and seen["source"].handle == registry.DEFAULT_ENCODER
    splits, _ = inputs.read_splits(job)
    assert inputs.columns_of(job) == {"a": {"label": "label"}, "b": {"label": "label"}}
    alone = TrainJob("classification", str(place / "a.csv"), place / "out", label="label")
    assert splits.by_task()["b"] == inputs.read_splits(alone)[0]


def test_vectors_of_a_folder_read_its_record_once(
    place: Path, counted: tuple[collections.Counter[str], Count], capsys: pytest.CaptureFixture[str]
) -> None:
    found, count = counted
    count(encoding, "read_record")
    count(registry, "_checked")
    folder = place / "encoder"
    vectors.encode(EncodeJob(str(folder), str(place / "a.csv")))
    assert found == {f"read_record {folder}": 1, f"_checked {folder}": 1}
    assert len(capsys.readouterr().out.splitlines()) == 40


def test_what_was_looked_up_goes_wherever_a_handle_goes(
    place: Path, counted: tuple[collections.Counter[str], Count]
) -> None:
    found, count = counted
    folder = place / "encoder"
    source = registry.EncoderSource(folder)
    expected = tt.encode_text(str(folder), ["good film", "bad"])
    count(registry, "_checked")
    count(registry, "read_information")
    assert registry.resolve(source) == registry.find(source) == source.folder == folder
    known = registry.describe(source)
    assert known == registry.describe(str(folder)) and known is not None and known.dimension == 8
    assert source.provenance == registry.provenance(folder) == {"tuned_from": "another"}
    encoder = tt.Encoder(source)
    assert encoder.handle == str(source) == str(folder) and encoder.source is source
    assert encoder.fingerprint() == tt.Encoder(str(folder)).fingerprint()
    np.testing.assert_array_equal(tt.encode_text(source, ["good film", "bad"]), expected)
    model = tt.build_model(source, samples.ROWS["classification"].task())
    assert model.encoder.source is source
    assert tt.Preprocessor(source).source == str(folder)
    # It is an encoder, whatever else lies in its folder.
    (folder / encoding.MODEL_FILE).write_text("no model")
    np.testing.assert_array_equal(tt.encode_text(source, ["good film", "bad"]), expected)
    # Of those by the string, one each, and of what was looked up one.
    assert found[f"_checked {folder}"] == 2 and found[f"read_information {folder}"] == 3


def test_of_an_encoder_out_of_a_file_its_own_files_are_hashed(place: Path, tmp_path: Path) -> None:
    encoder = tt.Encoder(str(place / "encoder"))
    expected = encoder.fingerprint()
    # Whatever lies there later isn't what was loaded.
    (place / "encoder" / registry.GRAPH).write_bytes(b"another")
    assert encoder.fingerprint() == expected
    weight = encoder.weights[0]
    weight.assign(weight + 1)
    assert encoder.fingerprint() != expected


def test_auto_is_the_packaged_one_by_its_name() -> None:
    source = registry.EncoderSource("auto")
    assert source.handle == registry.DEFAULT_ENCODER and source.known is not None
    assert source.known.packaged and source.folder == registry.resolve("auto")
    assert registry.source_of(source) is source
    with pytest.raises(tt.InputError, match="no such encoder.*Received: nowhere$"):
        registry.EncoderSource("nowhere").folder  # noqa: B018  it is looked up when asked for
