"""What takes a model says in one line that something else is none."""

from pathlib import Path
from typing import Any

import keras
import pytest

import tfhub_transfer as tt
from tfhub_transfer.recipes import distillation
from tfhub_transfer.serving import checking
from tfhub_transfer.tuning import find_learning_rate

ROWS = tt.data.Examples.from_lists(["a", "b"], ["x", "y"])
TAKE: dict[str, Any] = {
    "calibrate": lambda model: tt.calibrate(model, ROWS),
    "conformalize": lambda model: tt.conformalize(model, ROWS),
    "learn_scope": lambda model: tt.learn_scope(model, ROWS, ROWS),
    "evaluate": lambda model: tt.evaluate(model, ROWS),
    "fine_tune": lambda model: tt.fine_tune(model, ROWS, ROWS),
    "find_learning_rate": lambda model: find_learning_rate(model, ROWS),
    "export_saved_model": lambda model: tt.export_saved_model(model, "nowhere"),
    "export_litert": lambda model: tt.export_litert(model, "nowhere"),
    "export_onnx": lambda model: tt.export_onnx(model, "nowhere"),
    "check": lambda model: list(checking.check("nowhere", model)),
    "Neighbours": lambda model: tt.Neighbours(model, ROWS),
    "show_batch": lambda model: tt.data.show_batch(model, ROWS),
    "teacher": lambda model: distillation.distill(model, model, ROWS, ROWS),
    "teachers": lambda model: distillation.distill([model], model, ROWS, ROWS),
}


@pytest.mark.parametrize("name", TAKE)
def test_what_is_no_model_is_refused(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for odd in (5, None, "model.keras", Path("out"), keras.Sequential()):
        with pytest.raises(tt.InputError, match=f"model.*Received: {type(odd).__name__}"):
            TAKE[name](odd)
    assert not list(tmp_path.iterdir())
