"""Run by `test_replicas`: trains on two logical CPUs, and says what was seen.

Each case in a process of its own, because devices can't be configured once TensorFlow has started,
and because a collective operation that fails leaves TensorFlow unusable. They are all forked from
this one, which has only imported it: that takes longer than most cases.

    python tests/runtime/replicas_job.py  # reads lines, each a JSON list of CASE, ENCODER, OUTPUT
"""

import json
import os
import sys
import traceback
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

import tfhub_transfer as tt
from tfhub_transfer.callbacks.best_weights import KeepBest

TEXTS = ["a good film", "the worst movie", "good good", "bad"] * 8
PLAN = tt.Plan(learning_rate=1e-2, head_epochs=1, verbose=0)


def equal_copies(model: Any, strategy: tf.distribute.Strategy) -> bool:
    """Whether every trainable weight is the same on both replicas."""
    copies = [strategy.experimental_local_results(w.value) for w in model.trainable_weights]
    return bool(copies) and all(
        len(c) == 2 and np.array_equal(c[0].numpy(), c[1].numpy()) for c in copies
    )


def floats(model: Any) -> list[np.ndarray]:
    """All weights but flags."""
    return [w.numpy() for w in model.weights if w.dtype.startswith("float")]


def whole(encoder: str, output: Path, strategy: tf.distribute.Strategy) -> dict[str, Any]:
    """A model trains, thaws, saves, loads and exports."""
    tt.runtime.seed_everything(5)
    with strategy.scope():
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
    }


def uneven(encoder: str, output: Path, strategy: tf.distribute.Strategy) -> dict[str, Any]:
    """Whether replicas stay equal, by task, where their shares of a batch differ in size."""
    import samples  # here and below: it starts TensorFlow

    words = [text.split() for text in TEXTS]
    tags = [["J" if word == "good" else "N" for word in row] for row in words]
    tagged = tt.data.Examples.from_lists(words, tags)
    pairs = tt.data.Examples.from_lists(TEXTS, [0.0, 1.0] * 16, TEXTS[::-1])
    parts = {"tags": tt.tasks.TokenClassification(), "pair": tt.tasks.Regression(pair=True)}
    cases = {
        "similarity": samples.Sample(tt.tasks.Similarity, pairs, []),
        "tags": samples.Sample(tt.tasks.TokenClassification, tagged, []),
        "several": samples.Sample(
            lambda: tt.tasks.MultiTask(parts), {"tags": tagged, "pair": pairs}, {}
        ),
    }
    equal = {}
    for name, case in cases.items():
        with strategy.scope():
            model = tt.build_model(encoder, case.task(), sequence_length=24)
        before = [w.numpy() for w in model.weights]
        # Of batches of five the replicas get three rows and two.
        tt.fine_tune(model, case.examples, case.examples, 1, 1, batch_size=5, plan=PLAN)
        moved = any((b != w.numpy()).any() for b, w in zip(before, model.weights))
        equal[name] = moved and equal_copies(model, strategy)
    return equal


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
    far = [float(np.abs(one - two).max()) for one, two in zip(*learned, strict=True)]
    moved = [float(np.abs(one - two).max()) for one, two in zip(before, learned[-1], strict=True)]
    return {"equal": equal_copies(model, strategy), "far": max(far), "moved": max(moved)}


def row(encoder: str, output: Path, strategy: tf.distribute.Strategy, name: str) -> dict[str, Any]:
    """How far the weights are from those that one device learns, of a row of `samples.ROWS`."""
    import samples

    sample, learned = samples.ROWS[name], []
    for where in (tt.runtime.strategy("none"), strategy):
        tt.runtime.seed_everything(3)
        with where.scope():
            optimizer = keras.optimizers.SGD(0.1)
            model = tt.build_model(encoder, sample.task(), sample.head, optimizer=optimizer)
        before, examples = floats(model), sample.examples
        tt.fine_tune(model, examples, examples, 1, unfreeze=1, batch_size=8, plan=PLAN)
        learned.append(floats(model))
    far = [float(np.abs(one - two).max()) for one, two in zip(*learned, strict=True)]
    moved = [float(np.abs(one - two).max()) for one, two in zip(before, learned[-1], strict=True)]
    return {"equal": equal_copies(model, strategy), "far": max(far), "moved": max(moved)}


def main(case: str, encoder: str, output: str) -> None:
    """Runs a case and writes what was seen to `seen.json` in the output folder."""
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    # As in the other tests where it isn't looked at: half a second for each graph.
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})
    strategy = tt.runtime.strategy("mirrored")
    assert strategy.num_replicas_in_sync == 2
    # Whichever weights are best on validation, the last are those to look at.
    KeepBest.restore = lambda self: None
    cases = {"whole": whole, "uneven": uneven, "many": many, "weights": weights}
    if case in cases:
        seen = cases[case](encoder, Path(output), strategy)
    else:
        seen = row(encoder, Path(output), strategy, case)
    Path(output, "seen.json").write_text(json.dumps(seen), encoding="utf-8")


def forked(case: str, encoder: str, output: str) -> int:
    """The exit status of a process that runs a case; its traceback is in `error.txt`."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    try:
        with tt.runtime.precision("float32"):
            main(case, encoder, output)
    except BaseException:
        Path(output, "error.txt").write_text(traceback.format_exc(), encoding="utf-8")
        os._exit(1)
    os._exit(0)


if __name__ == "__main__":
    for line in sys.stdin:
        print(forked(*json.loads(line)), flush=True)
