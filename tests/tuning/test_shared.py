"""What trials share: an encoder that is known again, token vectors of all folds."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

import tfhub_transfer as tt
from tfhub_transfer.encoders import registry
from tfhub_transfer.models import boundary
from tfhub_transfer.tuning import shared


def _model(encoder: Any) -> Any:
    task = tt.tasks.Classification(["negative", "positive"])
    return tt.build_model(encoder, task, sequence_length=24)


def test_an_encoder_is_read_through_once_until_it_has_learned(
    bert_encoder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, plain = [], registry.EncoderSource.fingerprint

    def counting(self: Any, weights: Any) -> Any:
        read.append(1)
        return plain(self, weights)

    monkeypatch.setattr(registry.EncoderSource, "fingerprint", counting)
    lender = shared.SharedEncoder(str(bert_encoder))
    encoder = lender.lend(0)
    first = encoder.fingerprint()
    with lender.known_again(encoder):
        read.clear()
        assert [encoder.fingerprint() for _ in range(3)] == [first] * 3 and len(read) == 1
        floats = [weight for weight in encoder.weights if weight.dtype == "float32"]
        for weight in (floats[0], floats[-1]):  # the first are looked up in
            before = weight.numpy()
            weight.value.assign_add(np.ones_like(before))
            assert encoder.fingerprint() != first
            assert encoder.fingerprint() == type(encoder).fingerprint(encoder)
            weight.assign(before)
            assert encoder.fingerprint() == first
    read.clear()
    with lender.known_again(lender.lend(1)):
        assert encoder.fingerprint() == first and not read
    assert "fingerprint" not in vars(encoder)


def test_folds_pass_each_text_through_the_frozen_layers_once(
    bert_encoder: Path, sentiment: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TFHUB_TRANSFER_CACHE_DIR", str(tmp_path))
    passed, plain = [], boundary.Boundary._run

    def counting(self: Any, encoded: Any, lengths: Any, wanted: Any, steps: Any) -> Any:
        passed.append(len(wanted))
        return plain(self, encoded, lengths, wanted, steps)

    monkeypatch.setattr(boundary.Boundary, "_run", counting)
    examples = tt.data.Examples.from_lists(*sentiment)
    folds, tokens = tt.data.folds(examples, 3, 0), shared.SharedTokens()
    model = _model(str(bert_encoder))
    model.encoder.freeze_to(-2)
    count, usual = len({*examples.texts[0]}), []
    for at, judged in enumerate(folds):
        learned = tt.data.pool(*folds[:at], *folds[at + 1 :])
        for rows in (learned, judged):
            ids = model.to_ids(rows)
            with tokens.used_by(model):
                found = model.boundary().store(ids)
            lengths = found._tokens.lengths
            numbers = np.arange(len(rows))[::-1]
            usual.append((ids, found._tokens.padded(numbers, lengths.max())))
    assert sum(passed) == count == len(examples)
    assert "boundary" not in vars(model)
    for ids, vectors in usual:
        alone = model.boundary().store(ids)
        numbers = np.arange(len(ids.lost))[::-1]
        np.testing.assert_array_equal(
            alone._tokens.padded(numbers, alone._tokens.lengths.max()), vectors
        )
    # What somebody removed meanwhile is made again.
    passed.clear()
    for path in tmp_path.rglob("tokens"):
        path.unlink()
    with tokens.used_by(model):
        again = model.boundary().store(usual[-1][0])
    assert again is not None and sum(passed) == len(folds[1]) + len(folds[2])
    # A depth of its own has others.
    model.encoder.freeze_to(-1)
    passed.clear()
    with tokens.used_by(model):
        model.boundary().store(usual[0][0])
    assert sum(passed) == len(usual[0][0].lost)
    assert isinstance(usual[0][0].columns["input_word_ids"], tf.RaggedTensor)
