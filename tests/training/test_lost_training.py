"""Training whose loss is no number: every way to train stops, and keeps nothing."""

from pathlib import Path
from typing import Any

import keras
import pytest
import samples

import tfhub_transfer as tt
from tfhub_transfer import cli
from tfhub_transfer.optimization import planning
from tfhub_transfer.recipes import distillation
from tfhub_transfer.training import heads

LOST = "training fell apart: the loss is no finite number"


def lost(*args: Any, **kwargs: Any) -> Any:
    """A loss that is NaN, as a far too high rate makes it."""
    return lambda y_true, y_pred: keras.ops.mean(y_pred, axis=-1) * float("nan")


def build(row: str, encoder: Path, rate: float = 1e30) -> Any:
    sample = samples.ROWS[row]
    optimizer = keras.optimizers.SGD(rate)
    return tt.build_model(str(encoder), sample.task(), sample.head, optimizer=optimizer)


def test_the_head(text_encoder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, examples = build("classification", text_encoder), samples.ROWS["classification"].examples
    monkeypatch.setattr(planning, "HEAD_RATE", 1e38)  # which `Plan` itself refuses
    plan = tt.Plan(verbose=0)
    with pytest.raises(tt.InputError, match=LOST):
        tt.fine_tune(model, examples, examples, plan=plan)


def test_a_thawed_encoder(text_encoder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heads.Head, "run", lambda *args: 0.0)
    model, examples = build("regression", text_encoder), samples.ROWS["regression"].examples
    with pytest.raises(tt.InputError, match=f"{LOST} by step . of epoch 1"):
        tt.fine_tune(model, examples, examples, batch_size=2, plan=tt.Plan(verbose=0))


@pytest.mark.slow
@pytest.mark.parametrize(
    "row", ["token-classification", "question-answering", "similarity", "multi-task"]
)
def test_what_is_trained_above_a_boundary(
    row: str, bert_encoder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if row == "similarity":  # cosines are finite, however far the weights are out
        monkeypatch.setattr(tt.tasks.Similarity, "loss", lost)
    model, examples = build(row, bert_encoder), samples.ROWS[row].examples
    plan = tt.Plan(head_epochs=1, verbose=0)
    with pytest.raises(tt.InputError, match=LOST):
        tt.fine_tune(model, examples, examples, epochs=2, unfreeze=1, batch_size=2, plan=plan)


@pytest.mark.slow
def test_a_distilled_model(text_encoder: Path) -> None:
    examples = samples.ROWS["regression"].examples
    teacher, student = (build("regression", text_encoder) for _ in range(2))
    plan = tt.Plan(head_epochs=1, verbose=0)
    with pytest.raises(tt.InputError, match=LOST):
        distillation.distill(teacher, student, examples, examples, plan=plan, batch_size=2)


def test_a_fit_of_ones_own(text_encoder: Path) -> None:
    model, examples = build("regression", text_encoder), samples.ROWS["regression"].examples
    model.encoder.freeze_to(0)
    batches = model.preprocess(examples, 2)
    with pytest.raises(tt.InputError, match=LOST):
        model.fit(batches, epochs=2, callbacks=[tt.FiniteLoss()], verbose=0)


def test_a_command_leaves_nothing(
    text_encoder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tt.tasks.Classification, "loss", lost)
    rows = "".join(f"good {i},a\nbad {i},b\n" for i in range(20))
    (tmp_path / "rows.csv").write_text(f"text,label\n{rows}", encoding="utf-8")
    words = ["train", "--task", "classification", "--data", tmp_path / "rows.csv"]
    words += ["--encoder", text_encoder, "--output", tmp_path / "out"]
    assert cli.main([str(word) for word in words]) == 2
    error = capsys.readouterr().err
    [line] = [each for each in error.splitlines() if "error:" in each]
    assert LOST in line and "--learning-rate" in line
    assert [path.name for path in tmp_path.iterdir()] == ["rows.csv"]
