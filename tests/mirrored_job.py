"""Run by `test_runtime`: trains, thaws and saves on two logical CPUs, and checks the replicas."""

import json
import sys
from pathlib import Path

import numpy as np
import tensorflow as tf

cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)

import tfhub_transfer as tt  # noqa: E402  devices can't be configured once TensorFlow has started
from tfhub_transfer import tagging  # noqa: E402
from tfhub_transfer.callbacks import KeepBest  # noqa: E402


def other_tasks(folder: str, strategy: tf.distribute.Strategy) -> dict[str, bool]:
    """Whether replicas stay equal for tasks whose batches look different, by name."""
    texts = ["a good film", "the worst movie", "good good", "bad"] * 6
    pairs = tt.data.Examples.from_lists(texts, [0.0, 1.0] * 12, texts[::-1])
    words = [text.split() for text in texts]
    tagged = tt.data.Examples.from_lists(
        [tagging.join_words(row) for row in words],
        [["J" if word == "good" else "N" for word in row] for row in words],
    )
    cases = {
        "similarity": (tt.tasks.Similarity(), pairs),
        "tags": (tt.tasks.TokenClassification(), tagged),
        "several": (
            tt.tasks.MultiTask(
                {"tags": tt.tasks.TokenClassification(), "pair": tt.tasks.Regression(pair=True)}
            ),
            {"tags": tagged, "pair": pairs},
        ),
    }
    plan = tt.Plan(learning_rate=1e-2, head_epochs=1, verbose=0)
    equal = {}
    for name, (task, examples) in cases.items():
        several = isinstance(examples, dict)
        task.adapt({n: e.labels for n, e in examples.items()} if several else examples.labels)
        with strategy.scope():
            model = tt.build_model(folder, task, sequence_length=24)
        # Of batches of five the replicas get three rows and two.
        tt.fine_tune(model, examples, examples, 1, unfreeze=1, batch_size=5, plan=plan)
        copies = [strategy.experimental_local_results(w.value) for w in model.trainable_weights]
        equal[name] = all(np.array_equal(a.numpy(), b.numpy()) for a, b in copies)
    return equal


def main(folder: str, output: str) -> None:
    """Trains the encoder in `folder` on two replicas and writes what was seen to `output`."""
    tt.runtime.seed_everything(5)
    strategy = tt.runtime.strategy("mirrored")
    with strategy.scope():
        task = tt.tasks.Classification(["negative", "positive"])
        model = tt.build_model(folder, task, sequence_length=24)
    texts = ["a good film", "the worst movie", "good good", "bad"] * 8
    examples = tt.data.Examples.from_lists(texts, ["positive", "negative"] * 16)
    before = {name: [v.numpy() for v in vs] for name, vs in model.encoder.layer_groups}
    plan = tt.Plan(learning_rate=1e-2, head_epochs=1, verbose=0)
    # Whichever weights are best on validation, the last are those to look at.
    KeepBest.restore = lambda self: None
    tt.fine_tune(model, examples, examples, epochs=2, unfreeze=2, batch_size=8, plan=plan)
    replicas = [
        [value.numpy() for value in strategy.experimental_local_results(weight.value)]
        for weight in model.trainable_weights
    ]
    scores = model.predict_scores(texts)
    model.save(Path(output) / "model.keras")
    loaded = tt.load_model(Path(output) / "model.keras")
    exported = tt.load_saved_model(tt.export_saved_model(model, Path(output) / "serving"))
    seen = {
        "replicas": strategy.num_replicas_in_sync,
        "copies": sorted({len(values) for values in replicas}),
        "equal": all(np.array_equal(values[0], v) for values in replicas for v in values),
        "moved": [
            name
            for name, vs in model.encoder.layer_groups
            if all((v.numpy() != b).any() for v, b in zip(vs, before[name]))
        ],
        "identical": [
            name
            for name, vs in model.encoder.layer_groups
            if all(np.array_equal(v.numpy(), b) for v, b in zip(vs, before[name]))
        ],
        "reload": float(np.abs(loaded.predict_scores(texts) - scores).max()),
        "tasks": other_tasks(folder, strategy),
        "export": float(np.abs(exported.predict(texts)["scores"] - scores).max()),
    }
    (Path(output) / "seen.json").write_text(json.dumps(seen), encoding="utf-8")


if __name__ == "__main__":
    with tt.runtime.precision("float32"):
        main(*sys.argv[1:])
