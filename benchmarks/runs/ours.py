"""One measurement of tfhub-transfer; prints one JSON line."""

import argparse
import json
import os
import resource
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import entities
import keras
import numpy as np

import tfhub_transfer as tt
from tfhub_transfer import runtime
from tfhub_transfer.tasks import TASKS
from tfhub_transfer.texts import joining


def read(options: argparse.Namespace, split: str) -> tt.data.Examples:
    """A split of the data set."""
    folder = Path(options.data_folder) / options.dataset
    examples = tt.data.read(str(next(folder.glob(f"{split}.jsonl*"))))
    rows = np.arange(len(examples))[:: options.every]
    if options.rows:  # some files are sorted by label
        rows = np.random.default_rng(0).permutation(rows)[: options.rows]
    return examples[rows]


def build(options: argparse.Namespace, labels: Any) -> tt.TransferModel:
    """A fresh model, seeded."""
    runtime.seed_everything(options.seed)
    task = TASKS[options.task]().adapt(labels)
    return tt.build_model(options.encoder, task, sequence_length=options.sequence_length)


def frozen(options: argparse.Namespace) -> dict[str, Any]:
    """Raw text to a trained head, then the same again with another seed and warm caches."""
    splits = [read(options, split) for split in ("train", "validation", "test")]
    seconds, accuracy = [], []
    for seed in range(2):
        options.seed = seed
        model = build(options, splits[0].labels)  # nor is the peer's loading counted
        started = time.perf_counter()
        plan = tt.Plan(verbose=0, seed=seed)
        tt.fine_tune(model, splits[0], splits[1], unfreeze="none", plan=plan)
        seconds.append(time.perf_counter() - started)
        accuracy.append(_accuracy(model, splits[2]))
    return {"seconds": seconds[0], "warm_seconds": seconds[1], "accuracy": accuracy[0]}


def fine_tune(options: argparse.Namespace) -> dict[str, Any]:
    """The whole of `fine_tune`: frozen head, then every layer but the embeddings."""
    splits = [read(options, split) for split in ("train", "validation", "test")]
    started = time.perf_counter()
    model = build(options, splits[0].labels)
    plan = tt.Plan(verbose=0, seed=options.seed, boundary=not options.plain)
    history = tt.fine_tune(model, splits[0], splits[1], options.epochs, options.unfreeze, plan=plan)
    seconds = time.perf_counter() - started
    return {
        "seconds": seconds,
        "stages": history.seconds,
        "accuracy": _accuracy(model, splits[2]),
        "padding": history.padding,
    }


def epoch(options: argparse.Namespace) -> dict[str, Any]:
    """Seconds of each epoch with every layer but the word embeddings training."""
    train = read(options, "train")
    model = build(options, train.labels)
    model.encoder.freeze_to(-6)
    times: list[float] = []

    class Clock(keras.callbacks.Callback):  # type: ignore[misc]
        def on_epoch_begin(self, *args: Any, **kwargs: Any) -> None:
            times.append(-time.perf_counter())

        def on_epoch_end(self, *args: Any, **kwargs: Any) -> None:
            times[-1] += time.perf_counter()

    batches = model.preprocess(train, 32, seed=options.seed)
    model.fit(batches, epochs=options.epochs, verbose=0, callbacks=[Clock()])
    return {"seconds": min(times), "epoch_seconds": times}


def small_tags(options: argparse.Namespace) -> dict[str, Any]:
    """`fine_tune` as it is on few sentences, asked with the words of the test split."""
    splits = {}
    columns = {"text": "tokens", "label": "tags"}
    counts = {"train": options.rows, "validation": options.validation_rows, "test": None}
    for split, count in counts.items():
        path = next((Path(options.data_folder) / options.dataset).glob(f"{split}.jsonl*"))
        rows = tt.data.read(str(path), **columns)
        if split == "train":
            task = tt.tasks.TokenClassification().adapt(rows.labels)
        order = np.random.default_rng(options.seed).permutation(len(rows))
        splits[split] = rows if count is None else rows[order[:count]]
    started, worked = time.perf_counter(), time.process_time()
    runtime.seed_everything(options.seed)
    model = tt.build_model(options.encoder, task, sequence_length=options.sequence_length)
    plan = tt.Plan(verbose=0, seed=options.seed)
    history = tt.fine_tune(model, splits["train"], splits["validation"], plan=plan)
    seconds, work = time.perf_counter() - started, time.process_time() - worked
    asked = [text.split(joining.WORD_END) for text in splits["test"].texts[0]]
    answers = [[word["tag"] for word in each["words"]] for each in model.predict_text(asked)]
    return {
        "seconds": seconds,
        "cpu_seconds": work,
        "f1": entities.f1(splits["test"].labels, answers),
        "report_f1": tt.evaluate(model, splits["test"], baselines=False).metrics["f1"],
        "plan": history.plan,
    }


def predict(options: argparse.Namespace) -> dict[str, Any]:
    """Texts a second through an exported SavedModel, strings in and labels out."""
    texts = list(read(options, "test").texts[0])
    served = _served(options)
    served.predict(texts[:64])

    def run() -> None:
        served.predict(texts)

    run()
    return {"seconds": min(_timed(run) for _ in range(2)), "texts": len(texts)}


def latency(options: argparse.Namespace) -> dict[str, Any]:
    """Seconds of one request at a time to an exported SavedModel."""
    import tensorflow as tf

    text = tf.constant([read(options, "test").texts[0][0]])
    function = _served(options)._loaded.signatures["serving_default"]
    for _ in range(30):
        function(text=text)
    times = sorted(_timed(lambda: function(text=text)["label_id"].numpy()) for _ in range(500))
    return {"seconds": times[250], "p50": times[250], "p99": times[495]}


def boundary(options: argparse.Namespace) -> dict[str, Any]:
    """Median seconds of a step above the boundary and through the whole graph, in turn."""
    train = read(options, "train")
    top = int(options.unfreeze)
    steps: dict[str, tuple[Any, list[Any]]] = {}
    with runtime.precision():
        for name in ("above", "whole"):
            model = build(options, train.labels)
            model.encoder.freeze_to(-top)
            trained, batches = model, model.preprocess(train, 32)
            if name == "above":
                cut = model.boundary()
                assert cut is not None
                trained = model.model_above(cut)
                stored = cut.store(model.to_ids(train))
                assert stored is not None
                batches, _ = stored.batches(32)
            trained.make_train_function()
            steps[name] = trained.train_function, list(batches.take(60))
        times: dict[str, list[float]] = {name: [] for name in steps}
        for turn in range(options.epochs + 1):
            for name, (step, batches) in steps.items():
                for batch in batches:
                    seconds = _timed(lambda s=step, b=batch: s(iter([b])))
                    if turn:  # the first makes oneDNN's kernels for each shape
                        times[name].append(seconds)
    means = {name: statistics.mean(values) for name, values in times.items()}
    return {"seconds": means["above"], "whole_seconds": means["whole"]}


def precision(options: argparse.Namespace) -> dict[str, Any]:
    """Test accuracy after fine-tuning at the precision asked for."""
    with runtime.precision(options.precision):
        return fine_tune(options)


def features(options: argparse.Namespace) -> dict[str, Any]:
    """How far the flat graph's vectors are from the SavedModel's own, in float32."""
    examples = read(options, "test")
    with runtime.precision("float32"):
        model = build(options, read(options, "train").labels)
        found = model.compute_features(examples)
        encoded, _ = model.preprocessor.encode_all(examples.texts)
        own = []
        for start in range(0, len(examples), 64):
            picked = {k: v[start : start + 64] for k, v in encoded.items()}
            inputs = model.preprocessor.pad(picked)
            own.append(model.encoder._functions(inputs, False)["pooled_output"].numpy())
    worst = float(np.abs(found - np.concatenate(own)).max())
    return {"seconds": 0.0, "largest_difference": worst}


def _served(options: argparse.Namespace) -> Any:
    model = build(options, ["negative", "positive"])
    with tempfile.TemporaryDirectory() as folder:
        return tt.load_saved_model(tt.export_saved_model(model, folder, options.precision))


def _accuracy(model: tt.TransferModel, test: tt.data.Examples) -> float:
    truth = model.task.encode(test.labels)
    return float((model.predict_scores(test).argmax(axis=-1) == truth).mean())


def _timed(function: Callable[[], Any]) -> float:
    started = time.perf_counter()
    function()
    return time.perf_counter() - started


JOBS = {
    "frozen": frozen,
    "fine-tune": fine_tune,
    "epoch": epoch,
    "small-tags": small_tags,
    "predict": predict,
    "latency": latency,
    "boundary": boundary,
    "precision": precision,
    "features": features,
}


def main() -> None:
    """Runs one job, with caches of its own unless it is told which to use."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("job", choices=JOBS)
    parser.add_argument("--data-folder", required=True)
    parser.add_argument("--encoder", required=True)
    parser.add_argument("--dataset", default="sst2")
    parser.add_argument("--task", default="classification", choices=TASKS)
    parser.add_argument("--every", type=int, default=1, help="take every n-th row")
    parser.add_argument("--rows", type=int, default=0, help="take so many rows, chosen by chance")
    parser.add_argument("--validation-rows", type=int, default=300)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--unfreeze", default="auto")
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--plain", action="store_true", help="without stored activations")
    parser.add_argument("--sequence-length", type=int)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as caches:
        os.environ["TFHUB_TRANSFER_CACHE_DIR"] = "" if options.plain else caches
        found = JOBS[options.job](options)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({**found, "peak_mb": round(peak), "load": os.getloadavg()[0]}))


if __name__ == "__main__":
    main()
