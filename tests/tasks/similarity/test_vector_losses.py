"""Losses over vectors against what their papers' formulas give, computed here with numpy."""

from typing import Any

import keras
import numpy as np
import pytest

from tfhub_transfer.tasks.similarity import losses


def unit(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    vectors = np.random.default_rng(seed).normal(size=shape).astype("float32")
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def test_cosine_error_is_in_the_scale_of_the_labels() -> None:
    vectors = unit((5, 2, 8))
    labels = np.array([0, 1, 2, 3, 5], "float32")
    expected = ((vectors[:, 0] * vectors[:, 1]).sum(-1) - labels / 5) ** 2
    assert float(losses.CosineError(0, 5)(labels, vectors)) == pytest.approx(expected.mean(), 1e-5)


def test_contrastive_loss() -> None:
    vectors, labels = unit((6, 2, 4)), np.array([0, 1, 0, 1, 0, 1])
    distance = 1 - (vectors[:, 0] * vectors[:, 1]).sum(-1)
    apart = np.maximum(0.8 - distance, 0) ** 2
    expected = np.where(labels, distance**2, apart) / 2
    made = losses.Contrastive(0.8)(labels, vectors)
    assert float(made) == pytest.approx(expected.mean(), rel=1e-5)


def test_triplet_loss_is_that_of_squared_distances() -> None:
    a, p, n = np.moveaxis(unit((7, 3, 4)), 1, 0)
    expected = np.maximum(((a - p) ** 2).sum(-1) - ((a - n) ** 2).sum(-1) + 0.2, 0)
    made = losses.Triplet(0.2)(np.zeros(7), np.stack([a, p, n], axis=1))
    assert float(made) == pytest.approx(expected.mean(), rel=1e-5)


def in_batch(numbers: np.ndarray, vectors: np.ndarray, scale: float) -> float:
    """Row by row, in words: own second text against all others that can be wrong."""
    total = 0.0
    for row, own in enumerate(numbers):
        wrong = []
        for other, texts in enumerate(numbers):
            for column in range(1, numbers.shape[1]):
                right = column == 1 and (other == row or texts[0] == own[0])
                if not right and texts[column] not in own[:2]:
                    wrong.append(vectors[row, 0] @ vectors[other, column])
        best = scale * (vectors[row, 0] @ vectors[row, 1])
        total += np.log(np.exp(best) + np.exp(scale * np.array(wrong)).sum()) - best
    return total / len(numbers)


@pytest.mark.parametrize("texts", (2, 3))
def test_what_occurs_twice_in_a_batch_is_no_negative(texts: int) -> None:
    vectors = unit((6, texts, 5))
    numbers = np.arange(6 * texts).reshape(6, texts)
    numbers[1, 1] = numbers[0, 1]  # the same answer to two questions
    numbers[3, 0] = numbers[2, 0]  # the same question with two answers
    numbers[4, 1] = numbers[5, 0]  # a question that answers another
    apart = np.arange(6 * texts).reshape(6, texts)
    # At a high scale the nearest candidate is all that counts; at a low one each of them does.
    for scale in (1.0, 20.0):
        made = losses.InBatchNegatives(scale)(numbers, vectors)
        assert float(made) == pytest.approx(in_batch(numbers, vectors, scale), rel=1e-4)
        assert float(losses.InBatchNegatives(scale)(apart, vectors)) > float(made)


def test_a_pair_alone_has_nothing_to_be_told_from() -> None:
    assert float(losses.InBatchNegatives()(np.array([[0, 1]]), unit((1, 2, 3)))) == 0


def test_the_correlation_of_labels_far_from_zero() -> None:
    generator, vectors = np.random.default_rng(3), unit((400, 2, 4))
    cosines = (vectors[:, 0] * vectors[:, 1]).sum(axis=1)
    labels = 20_000.0 + cosines + generator.normal(0, 0.5, 400)
    metric = losses.CosineCorrelation(labels.min(), labels.max())
    for start in range(0, 400, 16):
        rows = slice(start, start + 16)
        metric.update_state(labels[rows].astype("float32"), vectors[rows].astype("float32"))
    expected = np.corrcoef(cosines, labels)[0, 1]
    assert float(metric.result()) == pytest.approx(expected, abs=1e-3)
    again = losses.CosineCorrelation.from_config(metric.get_config())
    assert (again.low, again.high) == (labels.min(), labels.max())


@pytest.mark.parametrize("label", [0.8, 0.1, 1.0])
def test_nothing_goes_with_labels_that_are_all_alike(label: float) -> None:
    metric = losses.CosineCorrelation()
    for _ in range(25):
        metric.update_state(np.full(16, label, "float32"), unit((16, 2, 4)).astype("float32"))
    assert float(metric.result()) == 0.0


def test_metrics() -> None:
    vectors, labels = unit((9, 2, 3)), np.random.default_rng(1).normal(size=9) * 3 + 2
    correlation = losses.CosineCorrelation()
    for rows in (slice(0, 4), slice(4, 9)):
        correlation.update_state(labels[rows], vectors[rows])
    cosines = (vectors[:, 0] * vectors[:, 1]).sum(-1)
    assert float(correlation.result()) == pytest.approx(
        np.corrcoef(cosines, labels)[0, 1], rel=1e-3
    )
    near = unit((8, 1, 4))
    triplets = np.concatenate([near, near, -near], axis=1)
    triplets[0, 1:] = triplets[0, :0:-1]
    accuracy = losses.TripletAccuracy()
    accuracy.update_state(np.zeros(8), triplets)
    assert float(accuracy.result()) == pytest.approx(7 / 8)
    first = losses.RankedFirst()
    first.update_state(np.arange(16).reshape(8, 2), triplets[:, :2])
    assert float(first.result()) == pytest.approx(7 / 8)


@pytest.mark.parametrize(
    "loss",
    [
        losses.CosineError(1.0, 3.0),
        losses.Contrastive(0.7),
        losses.Triplet(0.4),
        losses.InBatchNegatives(15.0),
    ],
    ids=lambda loss: type(loss).__name__,
)
def test_losses_survive_saving(loss: Any) -> None:
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(loss))
    vectors = unit((4, 3, 5))
    shape = (4, 3) if isinstance(loss, losses.InBatchNegatives) else (4,)
    labels = np.arange(np.prod(shape)).reshape(shape) % 2
    assert float(again(labels, vectors)) == float(loss(labels, vectors))
