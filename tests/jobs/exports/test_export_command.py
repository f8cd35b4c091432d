"""The command `export`: the next version, of what was trained, as asked for."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tfhub_transfer as tt
from tfhub_transfer.jobs.exports import exporting


@pytest.fixture(scope="module")
def trained(text_encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that need not know anything."""
    task = tt.tasks.Classification(["bad", "good"])
    path = tmp_path_factory.mktemp("trained") / "model.keras"
    tt.build_model(str(text_encoder), task).save(path)
    return path


def test_each_export_is_the_next_version_and_answers_as_the_model(
    trained: Path, tmp_path: Path, run: Any
) -> None:
    for number in (1, 2):
        status, out, _ = run("export", trained, "--output", tmp_path / "served")
        assert (status, out) == (0, f"Written to {tmp_path / 'served' / str(number)}\n")
    texts = ["a good film", "bad", ""]
    found = tt.load_saved_model(tmp_path / "served").predict(texts)["scores"]
    expected = [list(a["scores"].values()) for a in tt.load_model(trained).predict_text(texts)]
    np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "auto"])
def test_the_precision_is_the_one_asked_for(
    precision: str, trained: Path, tmp_path: Path, run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = []
    made = tmp_path / "served" / "1"
    monkeypatch.setattr(exporting, "export_saved_model", lambda *a: given.append(a[1:]) or made)
    monkeypatch.setattr(exporting.kit, "write", lambda version, name: [])
    assert run("export", trained, "--output", made.parent, "--precision", precision)[0] == 0
    assert given == [(made.parent, precision, None, None)]
    given.clear()
    assert run("export", trained, "--output", made.parent, "--top-k", 2, "--keep", "3")[0] == 0
    assert given == [(made.parent, "auto", 2, 3)]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--data", "test.csv"], "are for `--format litert` and `--format onnx`"),
        (["--calibrate", "test.csv"], "are for `--format litert` and `--format onnx`"),
        (["--format", "litert", "--top-k", "2"], "`--top-k` is for `--format saved_model`"),
        (["--format", "onnx", "--precision", "int8"], "for ONNX is of float32"),
        (["--format", "litert"], "reads ids, and this encoder texts"),
        (["--precision", "float16"], "precision"),
    ],
)
def test_options_of_another_format_are_refused(
    options: list[str], message: str, trained: Path, tmp_path: Path, run: Any
) -> None:
    status, _, said = run("export", trained, "--output", tmp_path / "served", *options)
    assert status != 0
    assert message in " ".join(said.split())
    assert not (tmp_path / "served").exists()


@pytest.mark.slow
def test_files_for_small_devices_are_measured_beside_the_model(
    bert_encoder: Path, tmp_path: Path, run: Any
) -> None:
    task = tt.tasks.Classification(["bad", "good"])
    tt.build_model(str(bert_encoder), task).save(tmp_path / "model.keras")
    data = tmp_path / "test.csv"
    data.write_text("text,label\n" + "a good film,good\nthe film was bad,bad\n" * 5)
    made = tmp_path / "out"
    given = ("export", tmp_path / "model.keras", "--output", made, "--format", "litert")
    more = ("--precision", "all", "--data", data, "--calibrate", data)
    status, out, err = run(*given, *more)
    assert status == 0, err
    for name in ("float32", "float16", "int8", "int8_calibrated"):
        assert f"{name}.tflite: " in out + err
    assert "accuracy" in out + err
    assert f"Written to {made / '1'}" in out
