"""One step of training equals what NumPy makes of the formulas: weights, smoothing, masks, sums."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import tfhub_transfer as tt
from tfhub_transfer.optimization.schedules import WarmUpLinearDecay
from tfhub_transfer.tasks import Classification, Head, MultiLabel, Regression, TokenClassification

RATE = 0.5
TEXTS = ["good film", "bad movie", "the worst film of all", "good acting", "a story", "film"]
NAMES = ["a", "b", "b", "c", "a", "b"]
SEVERAL = [["a"], [], ["a", "b"], ["c"], ["b"], ["a", "b", "c"]]
NUMBERS = [1.0, 5.0, 2.0, 8.0, 3.0, 4.0]
WEIGHTS = np.array([1.0, 0.0, 2.5, 0.5, 3.0, 1.0])


def softmax(logits: np.ndarray) -> np.ndarray:
    shares = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return shares / shares.sum(axis=-1, keepdims=True)


def make(folder: Path, task: Any, **settings: Any) -> Any:
    keras.utils.set_random_seed(0)
    optimizer = keras.optimizers.SGD(RATE, **settings)
    model: Any = tt.build_model(str(folder), task, Head(dropout=0.0), optimizer=optimizer)
    model.encoder.trainable = False
    return model


def head_of(model: Any) -> list[np.ndarray]:
    layer = model.get_layer("scores")
    return [layer.kernel.numpy().astype("float64"), layer.bias.numpy().astype("float64")]


def features_of(model: Any, inputs: Any) -> np.ndarray:
    below = keras.Model(model.inputs, model.get_layer("scores").input)
    return below(inputs, training=False).numpy().astype("float64")


def wanted(task: Any, labels: np.ndarray, logits: np.ndarray) -> np.ndarray:
    """The gradient of each row's loss by its logits."""
    if task.name == "regression":
        standard = (labels - task.mean) / task.deviation
        return 2.0 * (logits - standard[:, None])
    if task.name == "multi-label":
        return (1 / (1 + np.exp(-logits)) - labels) / logits.shape[1]
    smoothing, classes = task.label_smoothing, logits.shape[1]
    return softmax(logits) - (np.eye(classes)[labels] * (1 - smoothing) + smoothing / classes)


TASKS = {
    "classes": (Classification(["a", "b", "c"]), NAMES),
    "smoothed": (Classification(["a", "b", "c"], label_smoothing=0.3), NAMES),
    "several": (MultiLabel(["a", "b", "c"]), SEVERAL),
    "numbers": (Regression(3.0, 2.0), NUMBERS),
    "tiny numbers": (Regression(3e-40, 2e-40), [1e-40 * each for each in NUMBERS]),
}


@pytest.mark.parametrize(
    ("name", "weighted"),
    [
        ("smoothed", True),
        ("several", True),
        ("tiny numbers", True),
        *(
            pytest.param(name, False, marks=[pytest.mark.slow, pytest.mark.exhaustive])
            for name in TASKS
        ),
        *(pytest.param(name, True, marks=pytest.mark.slow) for name in ("classes", "numbers")),
    ],
)
def test_a_step_is_that_of_the_formula(name: str, weighted: bool, text_encoder: Path) -> None:
    task, labels = TASKS[name]
    model = make(text_encoder, task)
    data = tt.data.Examples.from_lists(TEXTS, labels, weight=WEIGHTS if weighted else None)
    [(inputs, truth, *_)] = model.preprocess(data, 20, shuffle=False)
    kernel, bias = head_of(model)
    features, truth = features_of(model, inputs), truth.numpy()
    weights = WEIGHTS / WEIGHTS.mean() if weighted else np.ones(6)
    gradient = wanted(task, truth, features @ kernel + bias) * weights[:, None] / 6
    model.fit(model.preprocess(data, 20, shuffle=False), epochs=1, verbose=0)
    found = head_of(model)
    np.testing.assert_allclose(found[0], kernel - RATE * features.T @ gradient, atol=2e-6)
    np.testing.assert_allclose(found[1], bias - RATE * gradient.sum(axis=0), atol=2e-6)


def test_class_weights_are_weights_of_rows(text_encoder: Path) -> None:
    task = Classification(["a", "b", "c"])
    of_class = task.class_weights(NAMES)
    assert of_class == {0: 6 / (3 * 2), 1: 6 / (3 * 3), 2: 6 / (3 * 1)}
    data, ends = tt.data.Examples.from_lists(TEXTS, NAMES), []
    rows = np.array([of_class["abc".index(name)] for name in NAMES])
    for by_class in (True, False):
        model = make(text_encoder, task)
        batches = model.preprocess(data, 20, shuffle=False)
        if not by_class:
            batches = batches.map(lambda x, y: (x, y, rows))
        model.fit(batches, epochs=2, verbose=0, class_weight=of_class if by_class else None)
        ends.append(head_of(model))
    for one, other in zip(*ends):
        np.testing.assert_allclose(one, other, atol=1e-6)


def test_words_that_are_padding_teach_nothing(bert_still: Path) -> None:
    """The mean is over words, so that a row's padding changes nothing of it."""
    tags = [["A" if word == "good" else "B" for word in text.split()] for text in TEXTS]
    joined = [tt.texts.joining.join_words(text.split()) for text in TEXTS]
    task = TokenClassification(["A", "B"])
    model = make(bert_still, task)
    data = tt.data.Examples.from_lists(joined, tags)
    [(inputs, truth)] = model.preprocess(data, 20, shuffle=False)
    kernel, bias = head_of(model)
    features, truth = features_of(model, inputs), truth.numpy()
    there = truth >= 0
    assert there.sum() == sum(map(len, tags)) < there.size
    flat = features[there]
    gradient = softmax(flat @ kernel + bias) - np.eye(2)[truth[there]]
    # Keras' own mean: over all places of the batch, of which those without a word add nothing.
    counted = model.compute_loss(inputs, truth, model(inputs, training=False))
    losses = -np.log(softmax(flat @ kernel + bias)[np.arange(len(flat)), truth[there]])
    over = float(losses.sum() / counted)
    assert over == pytest.approx(len(flat), rel=1e-4)
    model.fit(model.preprocess(data, 20, shuffle=False), epochs=1, verbose=0)
    found = head_of(model)
    np.testing.assert_allclose(found[0], kernel - RATE * flat.T @ gradient / over, atol=1e-5)
    np.testing.assert_allclose(found[1], bias - RATE * gradient.sum(axis=0) / over, atol=1e-5)


def test_clipped_gradients_keep_their_direction(text_encoder: Path) -> None:
    steps = []
    for settings in ({}, {"global_clipnorm": 0.01}):
        model = make(text_encoder, Classification(["a", "b", "c"]), **settings)
        before = head_of(model)
        data = tt.data.Examples.from_lists(TEXTS, NAMES)
        model.fit(model.preprocess(data, 20, shuffle=False), epochs=1, verbose=0)
        steps.append(np.concatenate([(a - b).ravel() for a, b in zip(head_of(model), before)]))
    plain, clipped = steps
    assert np.linalg.norm(clipped) == pytest.approx(RATE * 0.01, rel=1e-3)
    np.testing.assert_allclose(
        clipped / np.linalg.norm(clipped), plain / np.linalg.norm(plain), atol=1e-3
    )


def test_accumulated_gradients_are_those_of_the_whole(text_encoder: Path) -> None:
    """Three batches of two rows are one of six; the schedule counts as the optimizer does."""
    data, ends = tt.data.Examples.from_lists(TEXTS, NAMES), []
    for size, settings in ((6, {}), (2, {"gradient_accumulation_steps": 3})):
        model = make(text_encoder, Classification(["a", "b", "c"]), **settings)
        [(inputs, truth)] = model.preprocess(data, 20, shuffle=False)
        model.fit(inputs, truth, batch_size=size, epochs=1, shuffle=False, verbose=0)
        ends.append(head_of(model))
    for one, other in zip(*ends):
        np.testing.assert_allclose(one, other, atol=1e-6)


def test_a_schedule_counts_batches_where_gradients_are_accumulated(text_encoder: Path) -> None:
    keras.utils.set_random_seed(0)
    schedule = WarmUpLinearDecay(0.1)
    optimizer = keras.optimizers.SGD(schedule, gradient_accumulation_steps=3)
    model: Any = tt.build_model(
        str(text_encoder), Classification(["a", "b", "c"]), optimizer=optimizer
    )
    data = tt.data.Examples.from_lists(TEXTS, NAMES)
    for run in range(2):
        model.fit(model.preprocess(data, 2, shuffle=False), epochs=2, verbose=0)
        assert (schedule.start, schedule.total_steps) == (6 * run, 6)
        assert float(schedule(6 * run + 5)) == pytest.approx(0.1 / 6)
        assert float(schedule(6 * run + 6)) == 0.0
