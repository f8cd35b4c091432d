"""Run by `test_replicas`: trains on logical CPUs, and says what was seen.

Each case in a process of its own, because devices can't be configured once TensorFlow has started,
and because a collective operation that fails leaves TensorFlow unusable. They are all forked from
this one, which has only imported it: that takes longer than most cases.

    python tests/runtime/replicas_job.py  # reads lines: lists of CASE, DEVICES, ENCODER, OUTPUT
"""

import dataclasses
import functools
import gc
import json
import os
import sys
import traceback
import weakref
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

import tfhub_transfer as tt
from tfhub_transfer.callbacks.best_weights import KeepBest
from tfhub_transfer.runtime import gathering, machine

TEXTS = ["a good film", "the worst movie", "good good", "bad"] * 8
PLAN = tt.Plan(learning_rate=1e-2, head_epochs=1, verbose=0)


def equal_copies(model: Any, strategy: tf.distribute.Strategy) -> bool:
    """Whether every trainable weight is the same on all replicas."""
    copies = [strategy.experimental_local_results(w.value) for w in model.trainable_weights]
    count = strategy.num_replicas_in_sync
    return bool(copies) and all(
        len(c) == count and all(np.array_equal(c[0].numpy(), other.numpy()) for other in c[1:])
        for c in copies
    )


def floats(model: Any) -> list[np.ndarray]:
    """All weights but flags."""
    return [w.numpy() for w in model.weights if w.dtype.startswith("float")]


def whole(encoder: str, output: Path, strategy: tf.distribute.Strategy) -> dict[str, Any]:
    """A model trains, thaws, saves, loads and exports, all of it in the scope of a runtime."""
    with tt.runtime.Runtime("mirrored", "float32", seed=5).scope() as scope:
        return _whole(encoder, output, scope)


def _whole(encoder: str, output: Path, strategy: tf.distribute.Strategy) -> dict[str, Any]:
    task = tt.tasks.Classification(["negative", "positive"])
    model = tt.build_model(encoder, task, sequence_length=24)
    examples = tt.data.Examples.from_lists(TEXTS, ["positive", "negative"] * 16)
    before = {name: [v.numpy() for v in vs] for name, vs in model.encoder.layer_groups}
    tt.fine_tune(model, examples, examples, 2, unfreeze=2, batch_size=8, plan=PLAN)
    scores = model.predict_scores(TEXTS)
    model.save(output / "model.keras")
    loaded = tt.load_model(output / "model.keras")
    exported = tt.load_saved_model(tt.export_saved_model(model, output / "serving"))
    groups = model.encoder.layer_groups
    moved = {n: [bool((v.numpy() != b).any()) for v, b in zip(vs, before[n])] for n, vs in groups}
    return {
        "equal": equal_copies(model, strategy),
        "moved": [name for name, each in moved.items() if all(each)],
        "identical": [name for name, each in moved.items() if not any(each)],
        "reload": float(np.abs(loaded.predict_scores(TEXTS) - scores).max()),
        "export": float(np.abs(exported.predict(TEXTS)["scores"] - scores).max()),
        "accuracy": [
            tt.evaluate(model, examples).metrics["accuracy"],
            float(np.mean(np.argmax(scores, 1) == [1, 0] * 16)),
        ],
    }


def many(encoder: str, output: Path, strategy: tf.distribute.Strategy) -> dict[str, Any]:
    """Whether heads learn the same on both replicas from 300 rows: many steps of each epoch."""
    texts = (TEXTS * 10)[:300]
    whole = tt.data.Examples.from_lists(texts, ["positive", "negative"] * 150)
    pairs = tt.data.Examples.from_lists(texts, [0.0, 1.0] * 150, texts[::-1])
    tags = [["J" if word == "good" else "N" for word in text.split()] for text in texts]
    words = [text.split() for text in texts]
    tagged = tt.data.Examples.from_lists(words, tags)
    parts = {
        "whole": tt.tasks.Classification(["negative", "positive"]),
        "pair": tt.tasks.Regression(pair=True).adapt([0.0, 1.0]),
    }
    cases = {
        "stored": (tt.tasks.Classification(["negative", "positive"]), whole),
        "nothing stored": (tt.tasks.TokenClassification().adapt(tags), tagged),
        "several": (tt.tasks.MultiTask(parts), {"whole": whole, "pair": pairs}),
    }
    seen = {}
    for name, (task, examples) in cases.items():
        with strategy.scope():
            model = tt.build_model(encoder, task, sequence_length=24)
        before = floats(model)
        plan = tt.Plan(head_epochs=1, boundary=False, verbose=0)
        tt.fine_tune(model, examples, examples, 1, unfreeze="none", plan=plan)
        moved = max(float(np.abs(b - w).max()) for b, w in zip(before, floats(model), strict=True))
        seen[name] = {"equal": equal_copies(model, strategy), "moved": moved}
    return seen


def weights(encoder: str, output: Path, strategy: tf.distribute.Strategy) -> dict[str, Any]:
    """How far the weights are from those of one device after two steps on weighted rows."""
    learned = []
    for where in (tt.runtime.strategy("none"), strategy):
        tt.runtime.seed_everything(3)
        with where.scope():
            optimizer = keras.optimizers.SGD(0.1)
            task = tt.tasks.Classification(["negative", "positive"])
            head = tt.Head(dropout=0.3, hidden_units=3)
            model = tt.build_model(encoder, task, head, optimizer, sequence_length=24)
            model.encoder.freeze_to(-1)
        before = floats(model)
        given = [2.0, 0.0, 1.0, 3.0] * 2
        examples = tt.data.Examples.from_lists(
            TEXTS[:8], ["positive", "negative"] * 4, weight=given
        )
        model.fit(model.preprocess(examples, 8, shuffle=False), epochs=2, verbose=0)
        learned.append(floats(model))
    moved = furthest(before, learned[1])
    equal, left = equal_copies(model, strategy), weakref.ref(model)
    model = optimizer = task = None
    gc.collect()
    return {
        "equal": equal,
        "far": furthest(*learned),
        "moved": moved,
        "gone": left() is None,
    }


def row(encoder: str, output: Path, strategy: tf.distribute.Strategy, name: str) -> dict[str, Any]:
    """How far what is learned is from what one device learns, of a row of `samples.ROWS`.

    By batches of which replicas have shares that differ, the last smaller; with the head alone,
    then above the boundary, or through the encoder.
    """
    import samples  # it starts TensorFlow

    sample, examples = samples.ROWS[name], samples.ROWS[name].examples
    keras.optimizers.Adam = keras.optimizers.SGD  # which makes nothing out of gradients that are 0
    seen: dict[str, Any] = {"equal": True, "far": 0.0, "moved": 1.0, "loss": 0.0}
    for boundary in [True] if output.name.startswith("above") else [True, False]:
        learned, losses = [], []
        plan = tt.Plan(learning_rate=1e-2, head_epochs=1, verbose=0, boundary=boundary)
        for where in (tt.runtime.strategy("none"), strategy):
            tt.runtime.seed_everything(3)
            with where.scope():
                optimizer = keras.optimizers.SGD(0.1)
                head = dataclasses.replace(sample.head, dropout=0.2)
                model = tt.build_model(encoder, sample.task(), head, optimizer=optimizer)
            before = floats(model)
            tt.fine_tune(model, examples, examples, 2, unfreeze=2, batch_size=7, plan=plan)
            learned.append(floats(model))
            losses.append(model.evaluate(model.preprocess(examples, 9, shuffle=False), verbose=0))
        seen["equal"] &= equal_copies(model, strategy)
        seen["far"] = max(seen["far"], furthest(*learned))
        seen["moved"] = min(seen["moved"], furthest(before, learned[1]))
        seen["loss"] = max(seen["loss"], float(np.abs(np.subtract(*losses)).max()))
    return seen


class Own(keras.losses.Loss):
    """A loss that gives one number, by whatever it is called with."""

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        each = keras.ops.cast(y_true, "float32") - y_pred[:, 0]
        return keras.ops.max(keras.ops.square(each)) + keras.ops.sum(each) / 7.0


class Rows(keras.metrics.Metric):
    """Counts rows, which is no mean of anything."""

    def __init__(self) -> None:
        super().__init__(name="rows")
        self.found = self.add_variable((), "zeros", name="found")

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        self.found.assign_add(keras.ops.cast(keras.ops.shape(y_true)[0], "float32"))

    def result(self) -> Any:
        return self.found + 0.0


def compiled(encoder: str, output: Path, strategy: tf.distribute.Strategy) -> dict[str, Any]:
    """How far what is learned is from what one device learns, by what a model is compiled with."""
    crossed = keras.losses.SparseCategoricalCrossentropy
    cases: dict[str, dict[str, Any]] = {
        "sum": {"loss": lambda: crossed(reduction="sum")},
        "a number": {"loss": Own},
        "a function": {"loss": lambda: lambda y, p: keras.ops.mean(p[:, 0]) ** 2 + p[:, 1]},
        "clipped": {"optimizer": lambda: keras.optimizers.SGD(0.5, global_clipnorm=0.05)},
        "clipped each": {"optimizer": lambda: keras.optimizers.SGD(0.5, clipnorm=0.02)},
        "averaged": {"optimizer": lambda: keras.optimizers.SGD(0.1, use_ema=True)},
        "several steps": {"steps_per_execution": 4},
        "eager": {"run_eagerly": True},
        "penalized": {"penalty": 0.1},
        "few rows": {"batch": 1},
        "classes weigh": {"class_weight": {0: 3.0, 1: 0.5}},
        "a number of the replica that only the graph knows": {"hidden": True},
        # What most of these are about, at once.
        "usual": {
            "loss": Own,
            "optimizer": lambda: keras.optimizers.SGD(0.5, global_clipnorm=0.05),
            "metrics": lambda: [Rows(), "accuracy"],
            "steps_per_execution": 2,
            "penalty": 0.1,
        },
    }
    usual = ["usual"] if output.name.endswith("usual") else [*cases]
    return {name: _compiled(encoder, strategy, **cases[name]) for name in usual}


def _compiled(encoder: str, strategy: tf.distribute.Strategy, **case: Any) -> dict[str, Any]:
    texts, labels = TEXTS[:13], (["positive", "negative", "negative"] * 5)[:13]
    examples = tt.data.Examples.from_lists(texts, labels)
    learned, curves = [], []
    if "hidden" in case:  # as on TPUs, where one program is that of all replicas
        number = gathering._replica
        gathering._replica = lambda: tf.compat.v1.placeholder_with_default(number(), [])
    for where in (tt.runtime.strategy("none"), strategy):
        tt.runtime.seed_everything(3)
        with where.scope():
            task = tt.tasks.Classification(["negative", "positive"])
            model = tt.build_model(encoder, task, sequence_length=24)
            if "penalty" in case:
                model.layers[-1].kernel_regularizer = keras.regularizers.L2(case["penalty"])
            model.encoder.freeze_to(-1)
            model.compile(
                case.get("optimizer", lambda: keras.optimizers.SGD(0.1))(),
                case.get("loss", task.loss)(),
                metrics=case.get("metrics", lambda: ["accuracy"])(),
                steps_per_execution=case.get("steps_per_execution", 1),
                run_eagerly=case.get("run_eagerly", False),
            )
        before = floats(model)
        batches = model.preprocess(examples, case.get("batch", 5))
        found = model.fit(
            batches,
            epochs=2,
            verbose=0,
            class_weight=case.get("class_weight"),
            validation_data=model.preprocess(examples, 6, shuffle=False),
        )
        learned.append(floats(model))
        curves.append(np.asarray(list(found.history.values())))
    if "hidden" in case:
        gathering._replica = number
    return {
        "equal": equal_copies(model, strategy),
        "far": furthest(*learned),
        "moved": furthest(before, learned[1]),
        "curves": float(np.abs(curves[0] - curves[1]).max()),
    }


def by_hand(encoder: str, output: Path, strategy: tf.distribute.Strategy) -> dict[str, Any]:
    """What Keras' other methods give, beside one device; and what is refused."""
    examples = tt.data.Examples.from_lists(TEXTS[:7], (["positive", "negative"] * 4)[:7])
    given = []
    for where in (tt.runtime.strategy("none"), strategy):
        outputs = _two_outputs(where)
        tt.runtime.seed_everything(3)
        with where.scope():
            task = tt.tasks.Classification(["negative", "positive"])
            model = tt.build_model(encoder, task, optimizer=keras.optimizers.SGD(0.1))
            model.encoder.freeze_to(-1)
        batches = model.preprocess(examples, 7, shuffle=False)
        x, y = next(iter(batches))
        arrays = {name: value.numpy() for name, value in x.items()}
        found = [model.train_on_batch(x, y), model.test_on_batch(x, y)]
        history = model.fit(arrays, y.numpy(), batch_size=4, epochs=2, shuffle=False, verbose=0)
        found += [list(each) for each in history.history.values()]
        found += [model.evaluate(arrays, y.numpy(), batch_size=3, verbose=0)]
        found += [model.predict(arrays, batch_size=4, verbose=0), model.predict_on_batch(x)]
        given.append([np.ravel(each) for each in [*found, *outputs]])
    refused = {}
    attempts = {
        "dealt out": lambda: model.fit(
            strategy.experimental_distribute_dataset(batches), verbose=0
        ),
        "begins at 1": lambda: _fit_with(model, strategy, batches, metrics=[_BeginsAtOne()]),
        "means": lambda: _fit_with(model, strategy, batches, metrics=[_OfMeans()]),
        "XLA at once": lambda: _built_for_xla(encoder, strategy),
        "XLA": lambda: _fit_with(model, strategy, batches, jit_compile=True),
        "gathers": lambda: _fit_with(model, strategy, batches, gradient_accumulation_steps=2),
    }
    for name, attempt in attempts.items():
        try:
            attempt()
        except tt.InputError as error:
            refused[name] = str(error)
    return {"far": furthest(*given), "refused": refused}


def _two_outputs(where: tf.distribute.Strategy) -> list[Any]:
    """What Keras reports of a model of two outputs."""
    keras.utils.set_random_seed(3)
    with where.scope():
        inputs = keras.Input((3,))
        answers = {name: keras.layers.Dense(1, name=name)(inputs) for name in "ab"}
        model = tt.runtime.Replicated(inputs, answers)
        model.compile("sgd", dict.fromkeys("ab", "mse"))
    x = np.arange(15, dtype="float32").reshape(5, 3) / 15
    y = dict.fromkeys("ab", x[:, :1])
    return [*model.fit(x, y, batch_size=5, verbose=0).history.values()]


def first(encoder: str, output: Path, strategy: tf.distribute.Strategy) -> dict[str, Any]:
    """What the same batches teach two models, of which one has seen another batch before."""
    # Which rounds otherwise where it knows the shape of a batch.
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": False})
    learned = [_learned_after(rows, encoder, strategy) for rows in (7, 5)]
    return {"equal": [*map(np.array_equal, *learned)], "losses": len(learned[0][0])}


def _learned_after(rows: int, encoder: str, where: tf.distribute.Strategy) -> list[Any]:
    """Losses and weights by batches of 7 rows, after one of so many that taught nothing."""
    tt.runtime.seed_everything(3)
    with where.scope():
        task = tt.tasks.Classification(["negative", "positive"])
        model = tt.build_model(encoder, task, optimizer=keras.optimizers.SGD(0.1))
        model.encoder.freeze_to(0)
    examples = tt.data.Examples.from_lists(TEXTS[:28], ["positive", "negative"] * 14)
    given = tf.data.Dataset.from_tensor_slices(next(iter(model.preprocess(examples, 28))))
    begun = model.get_weights()
    model.fit(given.batch(rows).take(1), verbose=0)
    model.set_weights(begun)
    history = model.fit(given.batch(7), epochs=2, verbose=0)
    return [history.history["loss"], *model.get_weights()]


class _BeginsAtOne(keras.metrics.SparseCategoricalAccuracy):
    def __init__(self) -> None:
        super().__init__(name="right")
        self.most = self.add_variable((), "ones", name="most")


class _OfMeans(keras.metrics.SparseCategoricalAccuracy):
    def __init__(self) -> None:
        super().__init__(name="means")
        self.mean = self.add_variable((), "zeros", aggregation="mean", name="mean")


def _built_for_xla(encoder: str, strategy: tf.distribute.Strategy) -> None:
    with strategy.scope(), machine.compiled_if(True):
        tt.build_model(encoder, tt.tasks.Classification(["a", "b"]))


def _fit_with(model: Any, strategy: tf.distribute.Strategy, batches: Any, **how: Any) -> None:
    steps = how.pop("gradient_accumulation_steps", None)
    with strategy.scope():
        optimizer = keras.optimizers.SGD(0.1, gradient_accumulation_steps=steps)
        model.compile(optimizer, model.loss, **how)
    model.fit(batches, verbose=0)


def furthest(one: list[np.ndarray], two: list[np.ndarray]) -> float:
    """The largest difference of arrays of two lists."""
    return max(float(np.abs(a - b).max()) for a, b in zip(one, two, strict=True))


CASES = {"whole": whole, "many": many, "weights": weights, "compiled": compiled, "hand": by_hand}
CASES["first"] = first


def main(case: str, devices: int, encoder: str, output: str) -> None:
    """Runs a case and writes what was seen to `seen.json` in the output folder."""
    cpu = tf.config.list_physical_devices("CPU")[0]
    each = [tf.config.LogicalDeviceConfiguration()]
    tf.config.set_logical_device_configuration(cpu, each * devices)
    # As in the other tests where it isn't looked at: half a second for each graph.
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})
    strategy = tt.runtime.strategy("mirrored")
    assert strategy.num_replicas_in_sync == devices
    # Whichever weights are best on validation, the last are those to look at.
    KeepBest.restore = lambda self: None
    found = CASES.get(case, functools.partial(row, name=case))
    seen = found(encoder, Path(output), strategy)
    Path(output, "seen.json").write_text(json.dumps(seen), encoding="utf-8")


def forked(case: str, devices: int, encoder: str, output: str) -> int:
    """The exit status of a process that runs a case; its traceback is in `error.txt`."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    try:
        with tt.runtime.precision("float32"):
            main(case, devices, encoder, output)
    except BaseException:
        Path(output, "error.txt").write_text(traceback.format_exc(), encoding="utf-8")
        os._exit(1)
    os._exit(0)


if __name__ == "__main__":
    for line in sys.stdin:
        print(forked(*json.loads(line)), flush=True)
