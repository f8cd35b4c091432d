"""KerasTuner searches over `build_model` as its users would write it."""

from pathlib import Path
from typing import Any

import keras_tuner
import numpy as np
import pytest

import tfhub_transfer as tt


# The best model starts with a fresh optimizer, as with any Keras model.
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Skipping variable loading for optimizer")
def test_three_trials(bert_encoder: Path, sentiment: Any, tmp_path: Path) -> None:
    texts, labels = sentiment
    examples = tt.data.Examples.from_lists(texts, labels)
    task = tt.tasks.Classification(["negative", "positive"])
    batches = tt.build_model(str(bert_encoder), task, sequence_length=24)

    def hypermodel(hp: keras_tuner.HyperParameters) -> tt.TransferModel:
        head = tt.Head(dropout=hp.Float("dropout", 0.0, 0.5), hidden_units=hp.Choice("h", [0, 8]))
        return tt.build_model(str(bert_encoder), task, head=head, sequence_length=24)

    tuner = keras_tuner.RandomSearch(
        hypermodel, "val_accuracy", max_trials=3, seed=1, directory=tmp_path, project_name="search"
    )
    tuner.search(
        batches.preprocess(examples[:28]),
        validation_data=batches.preprocess(examples[28:], shuffle=False),
        epochs=2,
        callbacks=[tt.ProgressiveUnfreezing(start_epoch=1, num_groups=1)],
        verbose=0,
    )
    trials = tuner.oracle.get_best_trials(3)
    assert len(trials) == 3
    assert len({str(trial.hyperparameters.values) for trial in trials}) == 3
    scores = [trial.score for trial in trials]
    # The best model comes back with the weights that earned it its score.
    best, validation = tuner.get_best_models(1)[0], examples[28:]
    right = [a["label"] == y for a, y in zip(best.predict_text(validation.texts[0]), labels[28:])]
    assert np.mean(right) == pytest.approx(scores[0])
