"""XLA compiles each stage of a training at most four times, whatever the texts."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import compilations
import keras
import pytest
from samples import ROWS, of_lengths

import tfhub_transfer as tt
from tfhub_transfer.training.stages import Training

CI = ("classification", "token-classification")
REST = [pytest.param(n, marks=pytest.mark.exhaustive) for n in sorted(set(ROWS) - set(CI))]
EVERY = pytest.mark.parametrize("name", [*CI, *REST])


def split(examples: Any, start: int, end: int) -> Any:
    if isinstance(examples, dict):
        return {name: each[start:end] for name, each in examples.items()}
    return examples[start:end]


@pytest.mark.slow
@EVERY
@pytest.mark.parametrize(
    "boundary", [True, pytest.param(False, marks=pytest.mark.exhaustive)], ids=["above", "whole"]
)
def test_a_stage_compiles_at_most_four_times(
    name: str,
    boundary: bool,
    make_encoder: Callable[[str], Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whatever is compiled in a stage counts, as TensorFlow's profiler tells of it."""
    found: dict[str, int] = {}
    usual = Training.advance

    def advance(training: Training) -> bool:
        stage = training.stages[training.done].name if len(found) < len(training.stages) else ""
        with compilations.counted() as made:
            more = usual(training)
        found[stage] = made.count
        return more

    monkeypatch.setattr(Training, "advance", advance)
    sample = ROWS[name]
    keras.utils.set_random_seed(3)
    model = tt.build_model(
        str(make_encoder("bert_encoder")), sample.task(), sample.head, sequence_length=32
    )
    model.jit_compile = True
    rows = of_lengths(sample.examples)
    # Without XLA a group would thaw in each epoch.
    plan = tt.Plan(boundary=boundary, head_epochs=2, unfreezing_epochs=2.0, verbose=0)
    given = split(rows, 0, 32), split(rows, 32, 40)
    tt.fine_tune(model, *given, epochs=2, unfreeze=2, batch_size=2, plan=plan)
    # Nor does what only judges: what a model is worth where no head alone says so.
    assert found.pop("", 0) == found.pop("standing", 0) == 0
    assert all(1 <= count <= 4 for count in found.values()), found
