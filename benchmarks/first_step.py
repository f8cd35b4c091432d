"""Seconds from the start of a process to the end of its first training step.

python benchmarks/first_step.py

Every layer but the word embeddings of `BENCH_ENCODER` trains. What TensorFlow alone takes to be
imported is measured in turn.
"""

import functools
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import harness

STEP = """
import sys, time
started = time.perf_counter()
import keras, numpy, tensorflow
libraries = time.perf_counter() - started
import tfhub_transfer as tt
train = tt.data.read(sys.argv[1])
model = tt.build_model(sys.argv[2], tt.tasks.Classification().adapt(train.labels))
model.encoder.freeze_to(-6)
built = time.perf_counter() - started

class First(keras.callbacks.Callback):
    def on_train_batch_end(self, batch, logs=None):
        float(logs["loss"])
        self.seconds = time.perf_counter() - started
        self.model.stop_training = True

first = First()
model.fit(model.preprocess(train, 32), verbose=0, callbacks=[first])
print('{"libraries": %f, "built": %f, "seconds": %f}' % (libraries, built, first.seconds))
"""


def main() -> None:
    """Measures and prints."""
    options = harness.parse(harness.arguments(__doc__), ("data_folder", "encoder"))
    data = next(Path(options.data_folder, "sst2").glob("train.jsonl*"))
    runs = harness.in_turn({"ours": functools.partial(_run, data, options.encoder)}, options.repeat)
    rows: list[list[Any]] = [
        ["TensorFlow and Keras imported", harness.median(runs["ours"], "libraries"), ""],
        ["encoder loaded, model built", harness.median(runs["ours"], "built"), ""],
        ["first step done", harness.median(runs["ours"], "seconds"), "<= 12"],
    ]
    harness.report("first_step", ["from the start of Python", "seconds", "aim"], rows, runs)


def _run(data: Path, encoder: str) -> dict[str, Any]:
    started = time.perf_counter()
    command = [sys.executable, "-c", STEP, str(data), encoder]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return {**found, "process": time.perf_counter() - started}


if __name__ == "__main__":
    main()
