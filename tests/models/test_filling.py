"""Batches of one number of rows: losses and metrics are those of the rows that are there."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from samples import ROWS

import tfhub_transfer as tt
from tfhub_transfer.data import streamed
from tfhub_transfer.models import filling
from tfhub_transfer.tasks import Classification, Similarity

NEAR = {"rel": 1e-6, "abs": 1e-6}
TEXTS = ["good film", "bad", "the worst", "good acting good", "bad movie"] * 3
NAMES = ["a", "b", "b", "a", "c"] * 3
OTHERS = ["film", "bad story", "worst", "acting", "movie"]
EXAMPLES = tt.data.Examples.from_lists(TEXTS[:13], NAMES[:13])


@pytest.fixture(scope="module")
def model(make_encoder: Callable[[str], Path]) -> tt.TransferModel:
    keras.utils.set_random_seed(3)
    task = Classification(["a", "b", "c"])
    model = tt.build_model(str(make_encoder("text_encoder")), task, tt.Head(dropout=0.0))
    return spread(model)


def spread(model: Any) -> Any:
    """A model whose answers differ, so that it matters which rows count."""
    generator = np.random.default_rng(0)
    for weight in model.trainable_weights:
        weight.assign(generator.normal(0.0, 1.0, weight.shape))
    return model


def shortened(examples: Any) -> Any:
    """Of rows that don't fill whole batches."""
    if isinstance(examples, dict):
        return {name: each[: 37 - i] for i, (name, each) in enumerate(examples.items())}
    return examples[:37]


def evaluated(model: Any, examples: Any, size: int = 8, **options: Any) -> dict[str, float]:
    batches = model.preprocess(examples, size, shuffle=False, **options)
    return model.evaluate(batches, verbose=0, return_dict=True)


# One by words, one that compares texts; `--all` takes every one.
QUICK = ("token-classification", "similarity")
SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in sorted(set(ROWS) - set(QUICK))]


@pytest.mark.parametrize("name", [*QUICK, *SLOW])
def test_losses_and_metrics_are_those_of_the_rows(
    name: str, make_encoder: Callable[[str], Path]
) -> None:
    sample = ROWS[name]
    keras.utils.set_random_seed(3)
    encoder = str(make_encoder("bert_encoder"))
    model = spread(tt.build_model(encoder, sample.task(), sample.head, sequence_length=24))
    examples = shortened(sample.examples)
    found = evaluated(model, examples, static_batches=True)
    assert found == pytest.approx(evaluated(model, examples), **NEAR)
    assert len(found) > 1


def test_losses_and_metrics_are_those_of_numpy(model: Any) -> None:
    scores = model.predict_scores(EXAMPLES)
    places = np.array(["abc".index(name) for name in EXAMPLES.labels])
    loss = -np.log(scores[np.arange(13), places])
    right = scores.argmax(axis=1) == places
    for shuffle in (False, True):
        batches = model.preprocess(EXAMPLES, 4, shuffle, static_batches=True)
        assert [len(labels) for _, labels, _ in batches] == [4] * 4
        assert batches.element_spec[1].shape == [4]
        found = model.evaluate(batches, verbose=0, return_dict=True)
        assert found == pytest.approx({"loss": loss.mean(), "accuracy": right.mean()}, **NEAR)
        weights = np.concatenate([w for *_, w in batches])
        assert sorted(weights == 0)[:13] == [False] * 13 and (weights == 0).sum() == 3
        assert weights.mean() == pytest.approx(1.0)


@pytest.mark.parametrize("metric", ["usual", "weighted"])
def test_weights_of_users_stay_what_they_are(model: Any, metric: str) -> None:
    """Keras counts a row of weight 0 in metrics, unless they are weighted ones."""
    given = [0.0, 1.0, 2.0, 0.0, 3.0, 1.0, 1.0, 0.0, 2.0, 1.0, 4.0, 1.0, 0.0]
    examples = tt.data.Examples.from_lists(TEXTS[:13], NAMES[:13], weight=given)
    compiled = {"usual": "metrics", "weighted": "weighted_metrics"}[metric]
    model.compile(loss="sparse_categorical_crossentropy", **{compiled: ["accuracy"]})
    found = evaluated(model, examples, 4, static_batches=True)
    assert found == pytest.approx(evaluated(model, examples, 4), **NEAR)
    scores = model.predict_scores(examples)
    right = scores.argmax(axis=1) == np.array(["abc".index(name) for name in NAMES[:13]])
    wanted = right.mean() if metric == "usual" else np.average(right, weights=given)
    assert found["accuracy"] == pytest.approx(wanted)


def test_an_epoch_of_one_batch_is_that_of_its_rows(model: Any) -> None:
    """The same step as of the rows alone, to rounding."""
    model.compile(
        keras.optimizers.SGD(0.1), "sparse_categorical_crossentropy", metrics=["accuracy"]
    )
    start, ends = model.get_weights(), []
    for static in (False, True):
        model.set_weights(start)
        batches = model.preprocess(EXAMPLES, 16, shuffle=False, static_batches=static)
        curves = model.fit(batches, epochs=2, verbose=0).history
        ends.append((curves, model.get_weights()))
    model.set_weights(start)
    assert ends[0][0]["loss"] == pytest.approx(ends[1][0]["loss"], **NEAR)
    assert ends[0][0]["accuracy"] == ends[1][0]["accuracy"]
    for plain, static in zip(ends[0][1], ends[1][1]):
        np.testing.assert_allclose(plain, static, rtol=1e-5, atol=1e-6)


def test_other_rows_of_a_batch_are_told_from_what_fills_up(
    make_encoder: Callable[[str], Path],
) -> None:
    for loss in ("in_batch_negatives", "triplet"):
        third = ["the movie", "good", "story", "film", "acting"] if loss == "triplet" else None
        given = tt.data.Examples.from_lists(TEXTS[:5], None, OTHERS, third)
        model = tt.build_model(str(make_encoder("text_encoder")), Similarity(loss))
        found = evaluated(model, given, 4, static_batches=True)
        assert found == pytest.approx(evaluated(model, given, 4), **NEAR)


def test_a_stream_has_batches_of_one_size_too(model: Any) -> None:
    columns = {"text": TEXTS[:13], "label": NAMES[:13]}
    stream = tt.data.stream(columns, chunk_rows=5)
    batches = model.preprocess(stream, 4, shuffle=True, static_batches=True)
    assert [labels.shape[0] for _, labels, _ in batches] == [4] * 4
    assert batches.element_spec[1].shape == [4]
    model.compile(loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    found = model.evaluate(batches, verbose=0, return_dict=True)
    assert found == pytest.approx(evaluated(model, EXAMPLES), **NEAR)


def mean_score(y_true: Any, y_pred: Any) -> Any:
    """One number for each batch, as Keras takes it from functions."""
    return keras.ops.mean(y_pred[:, 0])


def test_metrics_by_batch_are_as_ever_without_static_batches(model: Any) -> None:
    """Also in a model that has seen static ones, of the same shapes."""
    weighed = tt.data.Examples.from_lists(TEXTS[:8], NAMES[:8], weight=[1.0, 3.0] * 4)
    optimizer = keras.optimizers.SGD(0.0)
    model.compile(optimizer, "sparse_categorical_crossentropy", metrics=[mean_score])
    static = model.preprocess(weighed, 4, False, static_batches=True)
    wanted = pytest.approx(model.predict_scores(weighed)[:, 0].mean(), rel=1e-5)
    plain = model.preprocess(weighed, 4, False)
    for refused in (False, True, True):
        assert model.evaluate(plain, verbose=0, return_dict=True)["mean_score"] == wanted
        assert model.fit(plain, verbose=0).history["mean_score"] == [wanted]
        for asked in (model.evaluate, model.fit) if refused else ():
            with pytest.raises(tt.InputError, match="^metric 'mean_score' has no number") as caught:
                asked(static, verbose=0)
            assert "\n" not in str(caught.value)
    unweighed = model.preprocess(EXAMPLES[:8], 4, False)
    curves = model.fit(unweighed, class_weight={0: 1.0, 1: 2.0, 2: 3.0}, verbose=0).history
    assert curves["mean_score"] == [wanted]


@pytest.mark.parametrize("static", ["x", "validation_data", "both"])
def test_batches_to_train_on_and_to_judge_by_may_differ(model: Any, static: str) -> None:
    optimizer = keras.optimizers.SGD(0.0)
    model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"])
    wanted = evaluated(model, EXAMPLES)["accuracy"]
    for _ in range(2):
        given = {
            name: model.preprocess(EXAMPLES, 8, False, static_batches=static in (name, "both"))
            for name in ("x", "validation_data")
        }
        curves = model.fit(**given, epochs=2, verbose=0).history
        for name in ("accuracy", "val_accuracy"):
            assert curves[name] == pytest.approx([wanted] * 2), name


def test_what_tf_data_makes_of_static_batches_is_known(model: Any) -> None:
    made = model.preprocess(EXAMPLES, 8, False, static_batches=True)
    strategy = tf.distribute.MirroredStrategy(["cpu:0"])
    assert filling.filled(strategy.experimental_distribute_dataset(made)) == filling.BY_EPOCH
    made = made.map(lambda *batch: batch).take(9).prefetch(1)
    model.compile(loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    found = model.evaluate(made, verbose=0, return_dict=True)
    assert found == pytest.approx(evaluated(model, EXAMPLES), **NEAR)
    with pytest.raises(tt.InputError, match="answers would hold some to rows that only fill up"):
        model.predict(made)
    assert not filling.filled(tf.data.Dataset.range(3).map(lambda x: x))


@pytest.fixture
def static(model: Any) -> Any:
    optimizer = keras.optimizers.SGD(0.0)
    model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model.preprocess(EXAMPLES, 8, False, static_batches=True)


def saved(batches: tf.data.Dataset, folder: Path) -> tf.data.Dataset:
    batches.save(str(folder / "batches"))
    return tf.data.Dataset.load(str(folder / "batches"))


def made_by_python(batches: tf.data.Dataset, folder: Path) -> tf.data.Dataset:
    spec = batches.element_spec
    return tf.data.Dataset.from_generator(lambda: iter(batches), output_signature=spec)


THROUGH: dict[str, Callable[[Any, Path], Any]] = {
    "an iterator": lambda batches, folder: (each for each in batches),
    "a file": saved,
    "Python": made_by_python,
}


@pytest.mark.filterwarnings("ignore:Your input ran out of data")
@pytest.mark.filterwarnings("ignore:`shuffle=True` was passed")
@pytest.mark.parametrize("way", THROUGH)
def test_batches_that_nobody_knows_count_as_their_weights_say(
    way: str, model: Any, static: Any, tmp_path: Path
) -> None:
    wanted = evaluated(model, EXAMPLES)["accuracy"]
    for asked in (model.evaluate, model.fit):
        found = asked(THROUGH[way](static, tmp_path), verbose=0)
        accuracy = found[1] if isinstance(found, list) else found.history["accuracy"][0]
        assert accuracy == pytest.approx(wanted)


@pytest.mark.parametrize("eagerly", [False, True])
def test_batches_one_by_one_count_as_their_weights_say(
    eagerly: bool, model: Any, static: Any
) -> None:
    model.run_eagerly = eagerly
    scores = model.predict_scores(EXAMPLES[8:]).argmax(axis=1)
    wanted = np.mean(scores == ["abc".index(name) for name in EXAMPLES.labels[8:]])
    for asked in (model.test_on_batch, model.train_on_batch):
        for batch in static:
            found = asked(*batch, return_dict=True)
        assert found["accuracy"] == pytest.approx(wanted)
    model.run_eagerly = False


@pytest.mark.parametrize("name", ["fit", "evaluate"])
def test_steps_made_for_one_batch_are_of_their_precision(
    name: str, make_encoder: Callable[[str], Path]
) -> None:
    keras.utils.set_random_seed(3)
    task, still = tt.tasks.Classification([*"abc"]), str(make_encoder("bert_still"))
    built = tt.build_model(still, task, tt.Head(dropout=0.0), sequence_length=12)
    # Of one known shape, and nothing fills up: else the step of an epoch is traced anew anyway.
    batch = next(iter(built.preprocess(EXAMPLES, 13, shuffle=False, static_batches=False)))
    # With weights, which Keras has of single batches in any case.
    batch = (*batch, tf.ones([13]))
    batches = tf.data.Dataset.from_tensors(batch)
    losses = {}
    for before, after in (("", "float32"), ("", "bfloat16"), ("float32", "bfloat16")):
        built.compile(keras.optimizers.SGD(0.0), "sparse_categorical_crossentropy")
        built.jit_compile = False
        if before:
            single = built.train_on_batch if name == "fit" else built.test_on_batch
            with tt.runtime.precision(before):
                single(*batch)
        with tt.runtime.precision(after):
            made = getattr(built, name)(batches, verbose=0)
        losses[before, after] = made.history["loss"][0] if name == "fit" else made
    assert losses["float32", "bfloat16"] == losses["", "bfloat16"] != losses["", "float32"]


class TakesNone(keras.metrics.Metric):
    """Counts rows, and has no idea of weights."""

    def __init__(self) -> None:
        super().__init__(name="rows")
        self.rows = self.add_variable((), "zeros", name="rows")

    def update_state(self, y_true: Any, y_pred: Any) -> None:
        self.rows.assign_add(keras.ops.cast(keras.ops.shape(y_true)[0], "float32"))

    def result(self) -> Any:
        return self.rows


@pytest.mark.parametrize("metric", [TakesNone, lambda: mean_score])
def test_metrics_that_leave_out_no_row_are_refused_in_one_line(
    metric: Any, model: Any, static: Any
) -> None:
    """Where a batch has such rows; of all others they have the number that they ever have."""
    optimizer = keras.optimizers.SGD(0.0)
    model.compile(optimizer, "sparse_categorical_crossentropy", metrics=[metric()])
    whole, last = list(static)
    found = model.test_on_batch(*whole, return_dict=True)
    if metric is TakesNone:
        assert found["rows"] == 8.0
    else:
        scores = model.predict_scores(EXAMPLES[:8])
        assert found["mean_score"] == pytest.approx(scores[:, 0].mean(), rel=1e-5)
    for asked, given in (
        (model.evaluate, static),
        (model.evaluate, (each for each in static)),
        (model.train_on_batch, last),
    ):
        with pytest.raises(tt.InputError, match="^metric '.*' has no number for each") as caught:
            asked(*given) if isinstance(given, tuple) else asked(given, verbose=0)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("options", [{}, {"static_batches": True}, {"shard": (0, 2)}])
def test_batches_of_no_rows_are_refused(model: Any, options: Any) -> None:
    none: Any = EXAMPLES[:0]
    for given in (none, dataclasses.replace(model.cut(EXAMPLES), examples=none)):
        with pytest.raises(tt.InputError, match="rows to make batches of, at least one. Received"):
            model.preprocess(given, 4, **options)


def test_weights_below_0_are_those_of_rows() -> None:
    """As Keras takes them from users; also of no rows, as a replica may get."""
    for weights, wanted in (
        ([[-1.0], [0.0], [-0.0], [2.0]], [1.0, 1.0, 0.0, 1.0]),
        ([-1.0, -0.0], [1.0, 0.0]),
        (np.zeros((0, 1)), []),
    ):
        found = filling.counted({"a": tf.constant(weights, tf.float32)})
        assert found.numpy().tolist() == wanted  # type: ignore[union-attr]
    assert filling.counted(tf.constant(2.0)) is None


def test_a_stream_is_read_once_for_all_that_fills_up(
    model: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual, begun = streamed.chunks, []
    monkeypatch.setattr(streamed, "chunks", lambda *a: begun.append(1) or usual(*a))
    stream = tt.data.stream({"text": TEXTS[:9], "label": NAMES[:9]})
    batches = model.preprocess(stream, 8, False, static_batches=True)
    assert [len(labels) for _, labels, _ in batches] == [8, 8]
    assert len(begun) == 2


@pytest.mark.parametrize("source", ["examples", "stream"])
def test_a_weight_of_minus_0_is_that_of_a_row(model: Any, source: str) -> None:
    columns: Any = {"text": TEXTS[:7], "label": NAMES[:7], "weight": [-0.0, 1.0, "-0", *[1.0] * 4]}
    read = tt.data.read if source == "examples" else tt.data.stream
    batches = model.preprocess(read(columns, weight="weight"), 4, False, static_batches=True)
    real = np.concatenate([filling.counted(weights).numpy() for *_, weights in batches])
    assert real.tolist() == [1.0] * 7 + [0.0]


def test_answers_to_what_fills_up_are_refused(model: Any) -> None:
    batches = model.preprocess(EXAMPLES, 4, shuffle=False, static_batches=True)
    with pytest.raises(tt.InputError, match="answers would hold some to rows that only fill up"):
        model.predict(batches)
    assert len(model.predict_scores(EXAMPLES)) == 13
    assert len(model.predict(model.preprocess(EXAMPLES, shuffle=False), verbose=0)) == 13


def test_metrics_are_left_as_they_were() -> None:
    """Also one that is listed twice, and one that its owner has changed."""
    own = keras.metrics.Mean()
    vars(own)["update_state"] = changed = own.update_state
    plain = keras.metrics.BinaryAccuracy()
    with filling.left_out([plain, plain, own], tf.constant([1.0, 0.0])):
        plain.update_state([[1.0], [1.0]], [[1.0], [0.0]])
    assert float(plain.result()) == 1.0
    assert "update_state" not in vars(plain) and vars(own)["update_state"] is changed


@pytest.mark.slow
def test_static_batches_run_under_xla(make_encoder: Callable[[str], Path]) -> None:
    keras.utils.set_random_seed(3)
    task, head = Classification(["a", "b", "c"]), tt.Head(dropout=0.0)
    model = spread(tt.build_model(str(make_encoder("bert_encoder")), task, head))
    plain = evaluated(model, EXAMPLES, 4)
    optimizer, loss = keras.optimizers.SGD(0.1), "sparse_categorical_crossentropy"
    model.compile(optimizer, loss, metrics=["accuracy"], jit_compile=True)
    batches = model.preprocess(EXAMPLES, 4, shuffle=False, static_batches=True)
    found = model.evaluate(batches, verbose=0, return_dict=True)
    assert found == pytest.approx(plain, rel=1e-5)
    assert np.isfinite(model.fit(batches, verbose=0).history["loss"]).all()
