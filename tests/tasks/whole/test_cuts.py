"""Thresholds of classes: the best of all that there are, kept only if rows left out agree."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy.special import expit
from sklearn.metrics import f1_score

import tfhub_transfer as tt
from tfhub_transfer.evaluation import calibrating
from tfhub_transfer.tasks.whole import cuts

CLASSES = 3


def drawn(shift: Any, rows: int = 300) -> tuple[np.ndarray, np.ndarray]:
    """Scores that are too low by a shift of the logits of each class, and what is right."""
    generator = np.random.default_rng(2)
    true = generator.normal(-1.0, 2.0, (rows, CLASSES))
    truth = (generator.random((rows, CLASSES)) < expit(true)).astype("float64")
    return expit(true - np.array(shift)).astype("float32"), truth


@pytest.mark.parametrize("levels", [None, 7])
def test_the_best_threshold_is_the_best_of_all_tried(levels: int | None) -> None:
    """Also among scores of which many are equal."""
    scores, truth = (each[:, 0] for each in drawn([1.0] * CLASSES, 90))
    if levels:
        scores = np.round(scores * levels) / levels
    found = cuts.best_cut(scores, truth > 0.5)
    tried = [f1_score(truth, scores >= t, zero_division=0) for t in np.linspace(0, 1, 2001)]
    assert f1_score(truth, scores >= found) == pytest.approx(max(tried))
    assert cuts.best_cut(scores, np.zeros(len(scores), bool)) == 0.5


def test_what_rows_left_out_agree_with_is_kept() -> None:
    each = cuts.best_cuts(*drawn([0.0, 2.0, -2.0]), 0.5)
    assert each.kept == cuts.EACH and len(each.thresholds) == CLASSES
    assert each.thresholds[1] < each.thresholds[0] < each.thresholds[2]
    one = cuts.best_cuts(*drawn([2.0] * CLASSES), 0.5)
    assert one.micro_f1[cuts.ONE] > one.micro_f1[cuts.PLAIN] + 0.05
    few = cuts.best_cuts(*drawn([2.0] * CLASSES, 19), 0.5)
    assert few == cuts.Cuts(cuts.PLAIN, (), {})
    _, truth = drawn([0.0] * CLASSES, 40)
    sure = np.where(truth > 0, 0.9, 0.1)
    assert cuts.best_cuts(sure, truth, 0.5).kept == cuts.PLAIN


def test_a_rare_class_has_the_common_threshold() -> None:
    scores, truth = drawn([2.0, 2.0, 0.0])
    truth[:, 2] = 0.0
    truth[:9, 2] = 1.0
    found = cuts.for_each(scores, truth > 0.5)
    assert found[2] == cuts.best_cut(scores.ravel(), truth.ravel() > 0.5)
    assert found[2] != cuts.best_cut(scores[:, 2], truth[:, 2] > 0.5)


def test_thresholds_are_the_models_everywhere(
    make_encoder: Callable[[str], Path], tmp_path: Path
) -> None:
    """In answers, metrics, the file and the export; a baseline has the plain one."""
    keras.utils.set_random_seed(1)
    names = ["joy", "anger", "fear"]
    encoder = str(make_encoder("bert_still"))
    model = tt.build_model(encoder, tt.tasks.MultiLabel(names), sequence_length=16)
    model.task.thresholds = (0.2, 0.9, 0.4)
    model.save(tmp_path / "model.keras")
    model = tt.load_model(tmp_path / "model.keras")
    assert model.task.thresholds == (0.2, 0.9, 0.4)
    texts = ["what a lovely film", "a dull story", "so sad"]
    scores = model.predict_scores(tt.data.Examples.from_lists(texts))
    wanted = [[n for n, s, c in zip(names, row, (0.2, 0.9, 0.4)) if s >= c] for row in scores]
    plain = [[n for n, s in zip(names, row) if s >= 0.5] for row in scores]
    assert wanted != plain and [a["labels"] for a in model.predict_text(texts)] == wanted
    tt.export_saved_model(model, tmp_path / "serving")
    served = tf.saved_model.load(str(tmp_path / "serving/1")).signatures["serving_default"]
    [name] = served.structured_input_signature[1]
    flags = served(**{name: tf.constant(texts)})["predicted"].numpy()
    assert [[n for n, flag in zip(names, row) if flag] for row in flags] == wanted
    truth = np.array([[n in row for n in names] for row in wanted], "float32")
    assert model.task.measure(truth, scores)["accuracy"] == 1.0
    assert model.task.measure_rival(truth, scores)["accuracy"] < 1.0
    assert (model.task.contributions(truth, scores)["accuracy"] == 1.0).all()
    assert (model.task.badness(truth, scores) == 0.0).all()
    config = json.loads(json.dumps(model.task.get_config()))
    with pytest.raises(tt.InputError, match="one for each class.*2 for 3 classes"):
        tt.tasks.MultiLabel.from_config({**config, "thresholds": [0.1, 0.2]})


def test_calibrate_chooses_them(make_encoder: Callable[[str], Path]) -> None:
    keras.utils.set_random_seed(1)
    encoder = str(make_encoder("bert_still"))
    model = tt.build_model(encoder, tt.tasks.MultiLabel(["a", "b"]), sequence_length=16)
    texts = [f"{word} {i}" for i in range(30) for word in ("lovely", "dull")]
    labels = [["a"] if "lovely" in text else ["a", "b"] for text in texts]
    examples = tt.data.Examples.from_lists(texts, labels)
    told = tt.calibrate(model, examples)["thresholds"]
    assert set(told["micro_f1"]) == {cuts.PLAIN, cuts.ONE, cuts.EACH}
    assert told["micro_f1"][told["kept"]] == max(told["micro_f1"].values())
    assert model.task.thresholds == tuple(told["thresholds"].values())
    again = tt.calibrate(model, examples)["thresholds"]
    assert again["kept"] == told["kept"]
    other = tt.build_model(encoder, tt.tasks.MultiLabel(["a", "b"]), sequence_length=16)
    calibrating.as_another(other, model)
    assert other.task.thresholds == model.task.thresholds != ()
    # They were of other weights.
    tt.fine_tune(model, examples, examples, unfreeze="none", plan=tt.Plan(verbose=0))
    assert model.task.thresholds == ()
