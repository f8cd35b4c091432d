"""Orders of rows that seed and epoch decide, however often somebody begins to go through them."""

import itertools
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfhub_transfer as tt
from tfhub_transfer.callbacks.best_weights import KeepBest
from tfhub_transfer.data.batching import LengthBatches
from tfhub_transfer.data.passes import Epochs, permutation, shuffled
from tfhub_transfer.training import feeding
from tfhub_transfer.training.runs import Run


def numbers(dataset: tf.data.Dataset) -> list[list[int]]:
    return [np.asarray(batch).tolist() for batch in dataset]


def of_lengths() -> tf.data.Dataset:
    rows = LengthBatches([3, 4, 5, 6] * 5, 4, seed=3)
    return Epochs(rows, len(rows)).dataset(tf.TensorSpec([None], tf.int64), lambda given: given)


def of_vectors() -> tf.data.Dataset:
    features = np.arange(20, dtype="float32")[:, None]
    batches = feeding.of_vectors(features, np.zeros(20), 8, seed=3)
    made = batches.epochs
    made._all = made._all.map(lambda vectors, labels: tf.cast(vectors[:, 0], tf.int64))
    return made.again()


def check_epochs(make: Any) -> None:
    usual = make()
    passes = [numbers(usual) for _ in range(4)]
    assert all(sorted(itertools.chain(*each)) == list(range(20)) for each in passes)
    assert len({str(each) for each in passes}) == 4
    other = make()
    for epoch in (2, 0, 3, 1):
        other.epochs.begin(epoch)
        iter(other)  # which nobody goes through
        next(iter(other))
        assert numbers(other) == passes[epoch] == numbers(other)
    twice = other.epochs.again(2)
    assert int(twice.cardinality()) == 2 * len(passes[0])
    for epoch in (1, 0):
        other.epochs.begin(epoch)
        assert numbers(twice) == passes[2 * epoch] + passes[2 * epoch + 1]
    rest = other.epochs.again(2, past=4)
    assert numbers(rest) == (passes[0] + passes[1])[4:]
    assert int(rest.cardinality()) == 2 * len(passes[0]) - 4


def test_rows_of_like_length() -> None:
    check_epochs(of_lengths)


def test_stored_vectors() -> None:
    check_epochs(of_vectors)


def test_fits_one_after_the_other_have_other_orders() -> None:
    """As those of a stage that loops over `training.fit`, whether a process goes on or not."""
    seen: list[int] = []

    class Noting(keras.Sequential):
        def train_step(self, data: Any) -> Any:
            seen.extend(np.asarray(data[1]).ravel().astype(int).tolist())
            return super().train_step(data)

    features = np.zeros((20, 1), "float32")

    def make(seed: int | None) -> Any:
        return feeding.of_vectors(features, np.arange(20.0)[:, None], 8, seed)

    def labels(batches: Any) -> list[int]:
        return [int(label) for _, batch in batches for label in np.ravel(batch)]

    usual = make(3)
    passes = [labels(usual) for _ in range(9)]
    model, batches = Noting([keras.layers.Dense(1)]), make(3)
    model.compile("sgd", "mse", run_eagerly=True)
    for epochs in (2, 1, 1):
        keep = KeepBest("val_loss", "min")
        given = model, batches, make(None), epochs, 1, [keep], keep, []
        Run(*given, lambda fed: {"x": fed}).curves()
    assert [seen[at : at + 20] for at in range(0, 80, 20)] == passes[:4]
    assert [labels(batches), labels(batches)] == passes[4:6]
    batches.epochs.begin(1)
    assert labels(batches) == passes[5]
    for times in (2, 1):  # over the rows in each epoch
        seen.clear()
        given = model, batches, make(None), 1, times, [keep], keep, []
        Run(*given, lambda fed: {"x": fed}).curves()
        assert len(seen) == 20 * times


def test_seeds_may_be_tensors_also_beside_a_seed_of_0() -> None:
    rows = tf.data.Dataset.range(20)
    found = []
    for seed in (0, 5):
        tf.keras.utils.set_random_seed(seed)
        orders = tf.data.Dataset.range(3).flat_map(lambda each: shuffled(rows, 20, each))
        found.append([int(row) for row in orders])
    assert found[0] == found[1]
    first, second, third = (found[0][at : at + 20] for at in (0, 20, 40))
    assert sorted(first) == sorted(second) == list(range(20)) and first != second != third
    orders = [permutation(20, tf.constant(each, tf.int64)).numpy().tolist() for each in (0, 0, 1)]
    assert orders[0] == orders[1] != orders[2] and sorted(orders[2]) == list(range(20))


@pytest.mark.slow
def test_a_stream_comes_in_the_order_of_its_epoch(text_encoder: Any) -> None:
    tt.runtime.seed_everything(0)
    task = tt.tasks.Regression(mean=0.0, deviation=1.0)
    model = tt.build_model(str(text_encoder), task)
    rows = tt.data.stream({"text": ["a b"] * 20, "score": list(map(float, range(20)))})

    def make() -> tf.data.Dataset:
        batches = model.preprocess(rows, 8, seed=3)
        made = batches.epochs
        made._all = made._all.map(lambda inputs, labels: tf.cast(tf.reshape(labels, [-1]), "int64"))
        return made.again()

    check_epochs(make)
