"""The command `export`: the next version, of what was trained, as asked for."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tfhub_transfer as tt
from tfhub_transfer.jobs import exporting


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
