"""Optimizers that average weights: what is judged, seen and kept are the averages."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import tfhub_transfer as tt


class Weights(keras.callbacks.Callback):
    """The weights before and after each step of the last stage, and at its epochs' ends."""

    def on_train_begin(self, logs: Any = None) -> None:
        self.steps = [self.model.get_weights()]
        self.ends: list[tuple[int, list[np.ndarray]]] = []

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.steps.append(self.model.get_weights())

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.ends.append((len(self.steps), self.model.get_weights()))


def check_equal(one: list[np.ndarray], other: list[np.ndarray]) -> None:
    for value, wanted in zip(one, other, strict=True):
        np.testing.assert_allclose(value, wanted, atol=1e-6)


def test_averages_are_judged_seen_and_kept(text_encoder: Path, sentiment: Any) -> None:
    examples = tt.data.Examples.from_lists(*sentiment)
    train, validation = examples[:28], examples[28:]
    task = tt.tasks.Classification(["negative", "positive"])
    plan = tt.Plan(head_epochs=1, head_learning_rate=1e-3, verbose=0)
    steps: dict[bool, list[list[np.ndarray]]] = {}
    for averages in (False, True):
        keras.utils.set_random_seed(0)
        optimizer = keras.optimizers.SGD(0.5, use_ema=averages, ema_momentum=0.5)
        model = tt.build_model(str(text_encoder), task, tt.Head(dropout=0.0), optimizer)
        seen = Weights()
        history = tt.fine_tune(model, train, validation, 3, "all", 14, plan, seen)
        steps[averages] = seen.steps
    # It goes on from the weights themselves, as without averages.
    for one, other in zip(steps[False], steps[True], strict=True):
        check_equal(one, other)
    for again in (False, True):
        if again:  # averages of the first time are none of the second
            history = tt.fine_tune(model, train, validation, 3, "all", 14, plan, seen)
        average, ends = seen.steps[0], {}
        for count, weights in enumerate(seen.steps[1:], start=2):
            # Of an optimizer's very first step Keras takes the weights after it.
            first = count == 2 and not again
            average = weights if first else [(a + w) / 2 for a, w in zip(average, weights)]
            ends[count] = average
        for count, weights in seen.ends:
            check_equal(weights, ends[count])
        kept = history.outcomes[-1].epoch
        check_equal(model.get_weights(), seen.ends[kept - 1][1] if kept else seen.steps[0])
        batches = model.preprocess(validation, 64, shuffle=False)
        if kept:
            loss = model.evaluate(batches, verbose=0, return_dict=True)["loss"]
            told = history.history["val_loss"][history.head_epochs + kept - 1]
            assert loss == pytest.approx(told, rel=1e-5)
        else:
            assert again
