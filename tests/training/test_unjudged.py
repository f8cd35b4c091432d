"""Trainings that nothing judges: they end where an earlier one was best."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import tfhub_transfer as tt
from tfhub_transfer.callbacks.best_weights import KeepBest
from tfhub_transfer.training.history import History
from tfhub_transfer.training.outcome import Outcome

lists = tt.data.Examples.from_lists
EXAMPLES = lists(
    [f"good film {i}" for i in range(20)] + [f"bad film {i}" for i in range(20)], ["a", "b"] * 20
)


def trained(folder: Path, unfreeze: int, callbacks: Any = None, **plan: Any) -> tuple[Any, Any]:
    tt.runtime.seed_everything(0)
    task = tt.tasks.Classification(["a", "b"])
    model = tt.build_model(tt.Encoder(str(folder)), task, tt.Head(hidden_units=8))
    plan = tt.Plan(**{"head_epochs": 8, "patience": 8, "verbose": 0, **plan})
    history = tt.fine_tune(model, EXAMPLES, EXAMPLES[:6], 6, unfreeze, 8, plan, callbacks)
    return model, history


class Stops(keras.callbacks.Callback):
    """Ends each stage after so many epochs, by hand."""

    def __init__(self, after: list[int]) -> None:
        super().__init__()
        self._after, self._left = after, 0

    def on_train_begin(self, logs: Any = None) -> None:
        self._left = self._after.pop(0)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self._left -= 1
        if not self._left:
            self.model.stop_training = True


def test_stages_end_after_their_share_with_the_weights_of_that_moment(
    text_encoder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, history = trained(text_encoder, 1, ends={"head": 0.375, "fine_tuning": 0.5})
    assert [(each.epochs, each.epoch) for each in history.outcomes] == [(3, 3), (3, 3)]
    with monkeypatch.context() as patch:
        patch.setattr(KeepBest, "restore", lambda self: None)
        other, _ = trained(text_encoder, 1, [Stops([3, 3])])
    for mine, its in zip(model.get_weights(), other.get_weights()):
        np.testing.assert_array_equal(mine, its)


def test_what_was_in_vain_is_left_out(text_encoder: Path) -> None:
    model, history = trained(text_encoder, 1, ends={"head": 0.01, "fine_tuning": 0})
    assert [(each.stage, each.epochs) for each in history.outcomes] == [("head", 1)]
    assert not model.encoder.trainable


def test_what_the_task_settled_while_validation_was_unseen_stays(
    text_encoder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settled: list[Any] = []
    monkeypatch.setattr(tt.tasks.Classification, "tune", lambda self, *given: settled.append(given))
    trained(text_encoder, 0, ends={"head": 0.2})
    assert not settled
    trained(text_encoder, 0, head_epochs=1)
    assert settled


def test_a_history_says_where_its_stages_were_best() -> None:
    plan = {"judged_by": {}, "head": {"epochs": 8}, "fine_tuning": {"epochs": 5}}
    kept = [
        Outcome("head", "val_loss", 6, 2, 0.5),
        Outcome("fine_tuning", "val_loss", 5, None, 0.5),
    ]
    history = History(outcomes=kept, plan=plan)
    assert history.ends == {"head": 0.25, "fine_tuning": 0.0}


@pytest.mark.parametrize(
    ("ends", "message"),
    [
        (0.5, "`ends` are shares by names of stages.*Received: 0.5"),
        ({"head": 1.5}, "`ends of head` must be a number from 0 to 1"),
        ({"haed": 0.5}, "expected some of head, fine_tuning. Received: haed"),
    ],
)
def test_ends_that_cant_be_are_one_line(text_encoder: Path, ends: Any, message: str) -> None:
    with pytest.raises(tt.InputError, match=message):
        trained(text_encoder, 1, ends=ends)
