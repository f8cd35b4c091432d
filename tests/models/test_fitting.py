"""Texts where `fit`, `evaluate` and `predict` of a model take ids."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from libraries import of_library

import tfhub_transfer as tt

TEXTS, LABELS = ["good film", "bad movie"] * 4, np.array([1, 0] * 4)


@pytest.fixture(scope="module")
def model(text_encoder: Path) -> Any:
    task = tt.tasks.Classification(["negative", "positive"])
    return tt.build_model(str(text_encoder), task, optimizer="sgd")


TEXT_FORMS: dict[str, Callable[[], Any]] = {
    "list": lambda: TEXTS,
    "tuple": lambda: tuple(TEXTS),
    "one": lambda: "good film",
    "bytes": lambda: [b"good film"],
    "pairs": lambda: list(zip(TEXTS, TEXTS)),
    "array": lambda: np.array(TEXTS),
    "objects": lambda: np.array(TEXTS, object),
    "column": lambda: np.array(TEXTS)[:, None],
    "tensor": lambda: tf.constant(TEXTS),
    "dictionary": lambda: {"text": TEXTS},
    "dataset": lambda: tf.data.Dataset.from_tensor_slices(TEXTS).batch(4),
    "labelled": lambda: tf.data.Dataset.from_tensor_slices((TEXTS, LABELS)).batch(4),
    "named": lambda: tf.data.Dataset.from_tensor_slices(({"text": TEXTS}, LABELS)).batch(4),
    "examples": lambda: tt.data.Examples.from_lists(TEXTS, LABELS),
    "stream": lambda: tt.data.stream({"text": TEXTS, "label": LABELS}),
}


@pytest.mark.parametrize(
    "make",
    [
        *(pytest.param(make, id=name) for name, make in TEXT_FORMS.items()),
        of_library("pandas", lambda pd: pd.Series(TEXTS)),
        of_library("pandas", lambda pd: pd.Series(TEXTS, dtype="string")),
        of_library("pandas", lambda pd: pd.DataFrame({"text": TEXTS})),
    ],
)
def test_texts_are_refused_with_what_to_do(make: Callable[[], Any], model: Any) -> None:
    given = make()
    kind = type(given).__name__
    with pytest.raises(tt.InputError, match=rf"`fit` takes ids.*model.preprocess\(.*: {kind}"):
        model.fit(given, LABELS)
    with pytest.raises(tt.InputError, match=r"`evaluate` takes ids.*tt.evaluate\(model"):
        model.evaluate(x=given)
    with pytest.raises(tt.InputError, match=r"`predict` takes ids.*predict_text\(texts\)"):
        model.predict(given)
    with pytest.raises(tt.InputError, match="`fit` takes ids"):
        ids = model.preprocess(tt.data.Examples.from_lists(TEXTS, ["negative", "positive"] * 4))
        model.fit(ids, validation_data=given)


@pytest.mark.slow
def test_ids_in_any_form_are_taken(model: Any) -> None:
    """And what a refusal says to do works."""
    names = ["negative", "positive"] * 4
    train = tt.data.Examples.from_lists(TEXTS, names)
    batches = model.preprocess(train, batch_size=8, shuffle=False)
    [(inputs, labels)] = batches
    for given in ((inputs, labels), ({k: v.numpy() for k, v in inputs.items()}, labels.numpy())):
        assert len(model.fit(*given, epochs=1, verbose=0).history["loss"]) == 1
    model.fit(x=batches, epochs=1, verbose=0, class_weight={0: 1.0, 1: 2.0})
    assert model.predict(inputs, verbose=0).shape == (8, 2)
    model.fit(model.preprocess(train), epochs=3, verbose=0)
    assert len(model.predict_text(TEXTS)) == len(model.predict_scores(TEXTS)) == 8
    model.evaluate(model.preprocess(train, shuffle=False), verbose=0)
    assert tt.evaluate(model, train).metrics["accuracy"] >= 0
