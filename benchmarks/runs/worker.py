"""The steps of one process of several that train together; the first prints one JSON line."""

import argparse
import json
import os
import statistics
import time
from pathlib import Path
from typing import Any

import keras

import tfhub_transfer as tt

ROWS, LENGTH = 640, 64


def main() -> None:
    """Trains and measures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("stage", choices=("frozen", "boundary", "thawed"))
    parser.add_argument("--data-folder", required=True)
    parser.add_argument("--encoder", required=True)
    parser.add_argument("--core", type=int, required=True, help="the only one that is used")
    parser.add_argument("--batch", type=int, default=32, help="rows of all processes together")
    options = parser.parse_args()
    os.sched_setaffinity(0, {options.core % (os.cpu_count() or 1)})
    strategy = tt.runtime.strategy("auto")
    with tt.runtime.precision("float32"):
        found = measured(options, strategy)
    if "TF_CONFIG" not in os.environ or json.loads(os.environ["TF_CONFIG"])["task"]["index"] == 0:
        print(json.dumps(found), flush=True)


def measured(options: argparse.Namespace, strategy: Any) -> dict[str, Any]:
    """Seconds of a step, and what of it crosses the network."""
    tt.runtime.seed_everything(7)
    file = next(Path(options.data_folder, "sst2").glob("train.jsonl*"))
    examples = tt.data.read(str(file))[:ROWS]
    with strategy.scope():
        task = tt.tasks.Classification().adapt(examples.labels)
        model = tt.build_model(options.encoder, task, sequence_length=LENGTH)
    trained, batches = _stage(options.stage, model, examples, options.batch)
    clock = Clock()
    trained.fit(batches, epochs=3, verbose=0, callbacks=[clock])
    sizes = [int(weight.shape.num_elements()) for weight in trained.trainable_weights]
    return {
        # The first pass traces.
        "seconds": statistics.median(clock.steps[len(clock.steps) // 3 :]),
        "gradient_mb": 4e-6 * sum(sizes),
        "batch": options.batch,
    }


def _stage(stage: str, model: Any, examples: Any, batch: int) -> tuple[Any, Any]:
    if stage == "frozen":
        model.encoder.trainable = False
    else:  # never the embeddings
        model.encoder.freeze_to(-2 if stage == "boundary" else 1)
    if stage == "boundary":
        boundary = model.boundary()
        stored = boundary.store(model.to_ids(examples))
        with model.distribute_strategy.scope():
            above = model.model_above(boundary)
        return above, stored.batches(batch, 7)[0]
    return model, model.preprocess(examples, batch, seed=7)


class Clock(keras.callbacks.Callback):  # type: ignore[misc]
    """The seconds of each step."""

    def __init__(self) -> None:
        super().__init__()
        self.steps: list[float] = []

    def on_train_batch_begin(self, *_: Any, **__: Any) -> None:
        self._began = time.perf_counter()

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        [float(value) for value in (logs or {}).values()]
        self.steps.append(time.perf_counter() - self._began)


if __name__ == "__main__":
    main()
