"""Products in bfloat16 by the replayed graph's own casts, and by TensorFlow's rewrite.

    python benchmarks/bfloat16.py

Speed in turns, in one process; how far vectors and gradients are from float32; and 1,000 rows of
SST-2 learned, everything but the embeddings thawed. TensorFlow's rewrite takes the head too. Writes
`benchmarks/bfloat16.json`.
"""

import argparse
import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import harness
import numpy as np

# Precision, whether by TensorFlow's rewrite, whether under XLA.
MODES = {
    "float32": ("float32", False, False),
    "bfloat16, TensorFlow's rewrite": ("float32", True, False),
    "bfloat16, the graph's own": ("bfloat16", False, False),
    "float32, XLA": ("float32", False, True),
    "bfloat16, the graph's own, XLA": ("bfloat16", False, True),
}
PLAIN = next(iter(MODES))
TRAINED = [*list(MODES)[:3], list(MODES)[4]]
_ROWS, _LENGTH, _TURNS = 32, 64, 12


@contextlib.contextmanager
def mode(name: str) -> Iterator[bool]:
    """What is traced and called inside is of that mode; yields whether it is XLA's."""
    from tfhub_transfer import runtime
    from tfhub_transfer.private import tensorflow_options
    from tfhub_transfer.runtime import products

    precision, rewritten, jit = MODES[name]
    # 1 is on, 2 off.
    chosen = {"auto_mixed_precision_onednn_bfloat16": 1 if rewritten else 2}
    with (
        mock.patch.object(products, "as_traced", lambda: tensorflow_options.optimized(**chosen)),
        runtime.precision(precision),
    ):
        yield jit


def calls(encoder: Any, name: str) -> dict[str, Callable[..., Any]]:
    """Vectors of a batch, and the gradients of a loss of them."""
    import tensorflow as tf

    weights = [w.value for _, group in encoder.layer_groups[1:] for w in group]

    def forward(inputs: Any) -> Any:
        made = encoder(inputs, training=False)
        return [made["pooled_output"], made["sequence_output"]]

    def step(inputs: Any) -> Any:
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(weights)
            parts = [tf.reduce_mean(tf.square(each - 0.1)) for each in forward(inputs)]
            loss = tf.add_n(parts)
        return tape.gradient(loss, weights, unconnected_gradients="zero")

    def asked(function: Callable[..., Any]) -> Callable[..., Any]:
        graph = tf.function(function, jit_compile=MODES[name][2], autograph=False)

        def ask(inputs: Any) -> list[np.ndarray]:
            with mode(name):
                return [tensor.numpy() for tensor in graph(inputs)]

        return ask

    return {"forward": asked(forward), "step": asked(step)}


def distance(one: list[np.ndarray], other: list[np.ndarray]) -> float:
    """Of all numbers as one vector, by the length of the second."""
    ones, others = (np.concatenate([np.ravel(x).astype("f8") for x in xs]) for xs in (one, other))
    return float(np.linalg.norm(ones - others) / np.linalg.norm(others))


def measured(options: argparse.Namespace) -> dict[str, dict[str, float]]:
    """Of each mode how far it is from float32, and the best times of some turns."""
    import tensorflow as tf

    import tfhub_transfer as tt

    encoder = tt.Encoder(options.encoder, trainable=True)
    texts = tt.data.read(str(Path(options.data_folder) / "sst2" / "test.jsonl"))[: 4 * _ROWS]
    model = tt.build_model(encoder, tt.tasks.Classification().adapt(texts.labels))
    encoder.trainable = True
    batches = [x[0] for x in model.preprocess(texts, _ROWS, shuffle=False).unbatch().batch(1)]
    longest = [
        {k: tf.pad(v, [[0, 0], [0, _LENGTH - v.shape[1]]]) for k, v in b.items()} for b in batches
    ]
    inputs = {key: tf.concat([each[key] for each in longest[:_ROWS]], 0) for key in longest[0]}
    asked = {name: calls(encoder, name) for name in MODES}
    plain = {what: ask(inputs) for what, ask in asked[PLAIN].items()}
    places = {w.path: i for i, w in enumerate(w for _, g in encoder.layer_groups[1:] for w in g)}
    # Of keys the exact gradient is 0.
    biases = [i for path, i in places.items() if path.endswith("bias") and ".key." not in path]
    found: dict[str, dict[str, float]] = {}
    for name, each in asked.items():
        made = {what: ask(inputs) for what, ask in each.items()}
        found[name] = {
            "vectors": distance(made["forward"][:1], plain["forward"][:1]),
            "tokens": distance(made["forward"][1:], plain["forward"][1:]),
            "gradients": distance(made["step"], plain["step"]),
            "gradients of biases": distance(
                *([s[i] for i in biases] for s in (made["step"], plain["step"]))
            ),
        }
    times: dict[tuple[str, str], list[float]] = {}
    for _ in range(_TURNS):
        for name, each in asked.items():
            for what, ask in each.items():
                started = time.perf_counter()
                ask(inputs)
                times.setdefault((name, what), []).append(time.perf_counter() - started)
    for (name, what), seconds in times.items():
        found[name][f"{what} ms"] = 1000 * min(seconds)
    return found


def learned(options: argparse.Namespace, name: str, seed: int) -> dict[str, float]:
    """Test accuracy, and the loss of the last epoch, of a model that learned 1,000 rows."""
    import keras

    import tfhub_transfer as tt

    folder = Path(options.data_folder) / "sst2"
    train, test = (tt.data.read(str(folder / f"{split}.jsonl")) for split in ("train", "test"))
    train = train[np.random.default_rng(seed).permutation(len(train))[:1000]]
    tt.runtime.seed_everything(seed)
    task = tt.tasks.Classification().adapt(train.labels)
    adam = keras.optimizers.Adam(1e-4)
    model = tt.build_model(options.encoder, task, optimizer=adam, sequence_length=_LENGTH)
    model.encoder.freeze_to(1)
    started = time.perf_counter()
    with mode(name) as jit:
        model.jit_compile = jit
        batches = model.preprocess(train, _ROWS, seed=seed, static_batches=True)
        loss = model.fit(batches, epochs=3, verbose=0).history["loss"][-1]
        seconds = time.perf_counter() - started
        scores = model.predict_scores(test)
    wanted = np.array([task.class_names.index(label) for label in test.labels])
    right = float(np.mean(scores.argmax(axis=1) == wanted))
    return {"accuracy": right, "loss": loss, "seconds": seconds}


def main() -> None:
    """Measures and prints."""
    options = harness.parse(harness.arguments(__doc__), ("data_folder", "encoder"))
    found = measured(options)
    print(found, file=sys.stderr, flush=True)
    jobs: dict[str, list[dict[str, float]]] = {name: [] for name in TRAINED}
    for seed in range(options.repeat):
        for name in TRAINED:
            jobs[name].append(learned(options, name, seed))
            print(f"  {name}, seed {seed}: {jobs[name][-1]}", file=sys.stderr, flush=True)
    rows = []
    for name, each in found.items():
        times = [each[f"{what} ms"] for what in ("forward", "step")]
        ratios = [f"{each[k] / found[PLAIN][k]:.2f}" for k in ("forward ms", "step ms")]
        far = [f"{each[k]:.1e}" for k in ("vectors", "gradients", "gradients of biases")]
        accuracies = ", ".join(f"{100 * job['accuracy']:.1f}" for job in jobs.get(name, ()))
        shown = [f"{t:.0f} ({r})" for t, r in zip(times, ratios, strict=True)]
        rows.append([name, *shown, *far, accuracies])
    header = ["mode", "forward ms (ratio)", "step ms (ratio)", "vectors", "gradients"]
    header += ["gradients of biases", "SST-2 test accuracy by seed"]
    harness.report("bfloat16", header, rows, {"measured": found, "learned": jobs})


if __name__ == "__main__":
    main()
