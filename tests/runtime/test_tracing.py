"""What is asked again and again answers as it did at first."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import samples
import tensorflow as tf

import tfhub_transfer as tt
from tfhub_transfer import runtime
from tfhub_transfer.runtime import tracing

ROWS = ("token-classification", "question-answering", "extractive-summarization")


@pytest.mark.parametrize(
    "row",
    [
        ROWS[0],
        *(pytest.param(r, marks=[pytest.mark.slow, pytest.mark.exhaustive]) for r in ROWS[1:]),
    ],
)
def test_answers_stay_the_same_to_the_bit(
    row: str, bert_encoder: Path, heard: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Operation by operation, then as graphs, for any number of texts; traced once, unheard."""
    sample = samples.ROWS[row]
    model = tt.build_model(str(bert_encoder), sample.task(), sample.head, sequence_length=24)
    model.layout.learn(sample.examples)
    asked = [sample.asked[:1], sample.asked, sample.asked[1:4], sample.asked[3:4]]
    monkeypatch.setattr(tracing, "EAGER_CALLS", 4)
    expected = [model.predict_text(texts) for texts in asked]
    traced: list[Any] = []
    usual = tf.function
    monkeypatch.setattr(tf, "function", lambda *a, **k: (traced.append(a), usual(*a, **k))[1])
    assert [model.predict_text(texts) for texts in asked] == expected
    assert len(traced) == 2
    assert heard == []


# Keras alone makes optimizer and metrics while it traces, and what makes variables is traced twice.
@pytest.mark.parametrize("row", ["classification", "token-classification", "multi-task"])
def test_a_step_is_traced_once(
    row: str, bert_encoder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sample, traced = samples.ROWS[row], list[str]()
    for name in ("train_step", "test_step"):
        monkeypatch.setattr(runtime.Replicated, name, heard(name, traced))
    model = tt.build_model(str(bert_encoder), sample.task(), sample.head, sequence_length=24)
    model.encoder.freeze_to(-1)
    batches = model.preprocess(sample.examples, 16)
    first = model.evaluate(batches, verbose=0)
    assert len(np.ravel(first)) > 1
    history = model.fit(batches, epochs=2, validation_data=batches, verbose=0).history
    assert traced == ["test_step", "train_step"]
    assert np.isfinite([each[-1] for each in history.values()]).all()
    names = [each.path for each in model.optimizer.variables]
    usual = keras.optimizers.deserialize(keras.optimizers.serialize(model.optimizer))
    with keras.name_scope(usual.name):
        usual.build(model.trainable_variables)
    assert names == [each.path for each in usual.variables]


def heard(name: str, traced: list[str]) -> Any:
    """A step that tells that it is traced."""
    usual = getattr(runtime.Replicated, name)

    def step(self: Any, data: Any) -> Any:
        traced.append(name)
        return usual(self, data)

    return step


class OwnStep(runtime.Replicated):
    """Two kinds of labels, and a number that is trained and of which Keras knows nothing."""

    def train_step(self, data: Any) -> Any:
        x, (_, hard) = data
        with tf.GradientTape() as tape:
            scores = self(x, training=True) * self.warmth
            loss = self.compute_loss(x, hard, scores)
        trained = [self.trainable_variables[0], self.warmth]
        self.optimizer.apply_gradients(zip(tape.gradient(loss, trained), trained))
        return self.compute_metrics(x, hard, scores)


def test_what_a_step_of_ones_own_needs_is_made_by_it() -> None:
    x = np.linspace(-1, 1, 32, dtype="float32").reshape(16, 2)
    hard = np.arange(16) % 2
    given = keras.Input((2,))
    model = OwnStep(given, keras.layers.Dense(2, activation="softmax")(given))
    model.warmth = keras.Variable(1.0)
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    rows = tf.data.Dataset.from_tensor_slices((x, (np.eye(2, dtype="float32")[hard], hard)))
    found = model.fit(rows.batch(8), shuffle=False, verbose=0)
    assert "accuracy" in found.history
    assert type(model.metrics[1].metrics[0]).__name__ == "SparseCategoricalAccuracy"
    assert len(model.optimizer.variables) == 2 + 2 * 2  # of what it moves alone


def test_what_is_set_later_is_heeded() -> None:
    settings: dict[str, Any] = {"by": 2.0, "names": ["a", "b"]}

    def scaled(values: tf.Tensor) -> tf.Tensor:
        return values * settings["by"], tf.gather(tf.constant(settings["names"]), [0])

    repeated = tracing.Repeated(scaled, lambda: settings)

    def found() -> tuple[list[float], bytes]:
        numbers, names = repeated(tf.constant([1.0, 2.0]))
        return numbers.numpy().tolist(), names.numpy()[0]

    for _ in range(5):
        assert found() == ([2.0, 4.0], b"a")
    settings["by"] = 3.0
    for _ in range(5):
        assert found() == ([3.0, 6.0], b"a")
    settings["names"].reverse()  # the list itself is another
    for _ in range(5):
        assert found() == ([3.0, 6.0], b"b")


@pytest.mark.slow
def test_words_that_are_learned_later_count(bert_encoder: Path, monkeypatch: Any) -> None:
    """Of models that are asked between two trainings, say."""
    monkeypatch.setattr(tracing, "EAGER_CALLS", 0)
    sample = samples.ROWS["token-classification"]
    model = tt.build_model(str(bert_encoder), sample.task(), sample.head)

    def words() -> list[str]:
        return [word["text"] for word in model.predict_text(["In the U.S."])[0]["words"]]

    assert words() == ["In", "the", "U", ".", "S", "."]
    rows = tt.data.Examples.from_lists([["U.S."], ["good"]], [["O"], ["O"]])
    model.layout.learn(rows)
    assert words() == ["In", "the", "U.S."]
