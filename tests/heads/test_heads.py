"""Layers between encoder and answer against the same in NumPy."""

import re
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import samples

import tfhub_transfer as tt
from tfhub_transfer.heads import layers


def vectors(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def test_masked_mean_is_the_mean_of_what_is_there() -> None:
    tokens, mask = vectors(3, 4, 5), np.array([[1, 1, 0, 0], [1, 1, 1, 1], [0, 0, 0, 0]])
    found = layers.MaskedMean()(tokens, present=mask).numpy()
    expected = [tokens[0, :2].mean(0), tokens[1].mean(0), np.zeros(5)]
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_attention_weighs_what_is_there_by_its_learned_score() -> None:
    tokens, mask = vectors(2, 4, 5), np.array([[1, 1, 1, 0], [1, 0, 0, 0]])
    layer = layers.AttentionPooling()
    found = layer(tokens, present=mask).numpy()
    for row in range(2):
        own = tokens[row][mask[row] == 1]
        hidden = np.tanh(own @ layer.project.kernel.numpy() + layer.project.bias.numpy())
        scores = np.exp(hidden @ layer.score.kernel.numpy())
        np.testing.assert_allclose(found[row], (own * scores / scores.sum()).sum(0), atol=1e-5)


def test_words_have_the_vectors_at_their_places() -> None:
    tokens, starts = vectors(2, 5, 3), np.array([[1, 3, 4], [2, 0, 0]])
    found = layers.WordVectors()(tokens, starts=starts).numpy()
    np.testing.assert_array_equal(found[0], tokens[0, [1, 3, 4]])
    np.testing.assert_array_equal(found[1, 0], tokens[1, 2])


@pytest.mark.parametrize("seed", range(5))
def test_sentences_have_the_means_of_their_tokens(seed: int) -> None:
    """From one start to the next; the last one up to [SEP], which is no part of it."""
    generator = np.random.default_rng(seed)
    tokens = vectors(4, 12, 3, seed=seed)
    counts = generator.integers(1, 4, 4)
    mask, starts = np.zeros((4, 12), int), np.zeros((4, 3), int)
    expected = np.zeros((4, 3, 3))
    for row, count in enumerate(counts):
        lengths = generator.integers(1, 4, count)
        bounds = np.cumsum([1, *lengths])
        starts[row, :count] = bounds[:-1]
        mask[row, : bounds[-1] + 1] = 1
        for number in range(count):
            expected[row, number] = tokens[row, bounds[number] : bounds[number + 1]].mean(0)
    found = layers.SentenceMeans()(tokens, starts=starts, present=mask).numpy()
    for row, count in enumerate(counts):
        np.testing.assert_allclose(found[row, :count], expected[row, :count], atol=1e-5)


def test_pairs_are_compared_by_u_v_their_distance_and_their_product() -> None:
    u, v = vectors(3, 4), vectors(3, 4, seed=1)
    found = np.asarray(layers.compared(u, v))
    np.testing.assert_allclose(found, np.concatenate([u, v, abs(u - v), u * v], 1), rtol=1e-6)


def test_the_maximum_is_of_what_is_there() -> None:
    tokens, mask = vectors(2, 4, 5), np.array([[1, 1, 0, 0], [1, 1, 1, 1]])
    found = layers.MaskedMax()(tokens, present=mask).numpy()
    np.testing.assert_array_equal(found, [tokens[0, :2].max(0), tokens[1].max(0)])
    present = layers.PresentVectors()(tokens, present=mask).numpy()
    np.testing.assert_array_equal(present, tokens * mask[..., None])


def test_texts_of_a_packed_pair_have_their_own_means() -> None:
    tokens = vectors(1, 6, 3)
    tokens[0, [0, 3]] = 0.0  # special tokens
    present, kinds = np.array([[1, 1, 1, 1, 1, 0]]), np.array([[0, 0, 0, 0, 1, 0]])
    first, second = layers.SegmentMeans()(tokens, present=present, kinds=kinds)
    np.testing.assert_allclose(first.numpy(), tokens[:, 1:3].mean(1), atol=1e-6)
    np.testing.assert_allclose(second.numpy(), tokens[:, 4], atol=1e-6)


PICTURES = {
    "classification": ["pooled_output", "dropout", "scores"],
    "regression": ["pooled_output", "dropout", "scores", "raw_units", "score"],
    "token-classification": ["sequence_output", "words", "dropout", "scores"],
    "classification in towers": [
        *("pooled_output", "text_a", "text_b", "difference", "absolute", "product"),
        *("features", "dropout", "scores"),
    ],
    "multi-task": ["head_of_kind", "head_of_pair"],
}


@pytest.mark.parametrize("row", PICTURES)
def test_a_summary_names_what_stands_where(row: str, bert_encoder: Path) -> None:
    keras.backend.clear_session()
    sample = samples.ROWS[row]
    model: Any = tt.build_model(str(bert_encoder), sample.task(), sample.head)
    lines: list[str] = []
    model.summary(print_fn=lambda line, **_: lines.append(line), line_length=200)
    found = re.findall(r"│ (\w+) \((\w+)\)", "\n".join(lines))
    names = [name for name, kind in found if kind != "InputLayer"]
    assert names == ["encoder", *PICTURES[row]]
