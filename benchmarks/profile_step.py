"""Where a training step and a prediction batch spend their time, beside what the machine could do.

python benchmarks/profile_step.py

Times are of TensorFlow's profiler; where two operations ran at once each is given half. The ceiling
is the matrix products' FLOPs at the rate that this machine reaches on one large product.
"""

import collections
import math
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import harness

STEPS = 10
# What tf.data does beside a step, and the runtime's own frames around operations.
IGNORED = ("Prefetch", "Parallel", "Root", "Generator", "Run", "Process", "DoCompute", "Record")


def main() -> None:
    """Measures and prints."""
    options = harness.parse(harness.arguments(__doc__), ("data_folder", "encoder"))
    os.environ["TFHUB_TRANSFER_CACHE_DIR"] = ""
    sys.path.insert(0, str(harness.RUNS))
    import ours
    import tensorflow as tf

    from tfhub_transfer import runtime

    options = _job_options(options)
    train = ours.read(options, "train")
    model = ours.build(options, train.labels)
    model.encoder.freeze_to(-6)
    with runtime.precision() as precision:
        rates = {name: matmul_rate(name) for name in ("float32", "bfloat16")}
        dataset = model.preprocess(train, 32)
        batches = list(dataset.take(STEPS))
        model.make_train_function()
        step = model.train_function
        predict = model.forward.graph("answer", precision)
        jobs: dict[str, Callable[[Any], Any]] = {
            "training step": lambda batch: step(iter([batch])),
            "prediction batch": lambda batch: predict(batch[0]).numpy(),
        }
        products = {"training step": 3, "prediction batch": 1}
        rows, raw = [], {}
        for name, job in jobs.items():
            for batch in batches * 2:
                job(batch)
            found = by_operation(lambda j=job: [j(batch) for batch in batches])
            tokens = sum(int(tf.size(inputs["input_mask"])) for inputs, _ in batches) / STEPS
            flops = products[name] * 2 * dense_weights(model) * tokens
            whole = sum(found.values())
            ceiling = flops / rates[precision]
            rows += [
                [name, "all", 1e3 * whole, ""],
                [name, "ceiling", 1e3 * ceiling, ceiling / whole],
            ]
            rows += [[name, k, 1e3 * v, v / whole] for k, v in found.most_common(12)]
            raw[name] = {"tokens": tokens, "flops": flops, "operations": dict(found)}
        waiting = share_of_waiting(dataset, step)
    rows.append(["an epoch", "waiting for data", "", waiting])
    rows += [["the machine", f"{k} GFLOP/s", v / 1e9, ""] for k, v in rates.items()]
    raw["rates"], raw["waiting"] = rates, waiting
    harness.report("profile_step", ["job", "operation", "ms", "share"], rows, raw)


def _job_options(options: Any) -> Any:
    for name, value in {
        "dataset": "sst2",
        "every": 1,
        "rows": 0,
        "seed": 0,
        "task": "classification",
    }.items():
        setattr(options, name, value)
    options.sequence_length = None
    return options


def matmul_rate(kind: str) -> float:
    """FLOPs a second of a product of the size of a dense layer on a batch."""
    import tensorflow as tf

    a, b = (tf.cast(tf.random.normal([1536, 1536]), kind) for _ in range(2))
    product = tf.function(lambda: tf.matmul(a, b))
    for _ in range(10):
        product()
    times = []
    for _ in range(30):
        started = time.perf_counter()
        product().device  # noqa: B018  the call itself waits for the result on a CPU
        times.append(time.perf_counter() - started)
    return float(2 * 1536**3 / sorted(times)[len(times) // 2])


def dense_weights(model: Any) -> int:
    """Numbers in the matrices that every token is multiplied with."""
    groups = dict(model.encoder.layer_groups)
    return sum(
        math.prod(v.shape)
        for name, variables in groups.items()
        if name.startswith("layer_")
        for v in variables
        if len(v.shape) > 1 and "bias" not in v.name
    )


def by_operation(run: Callable[[], Any]) -> collections.Counter[str]:
    """Seconds of each kind of operation in one of `STEPS` runs."""
    import tensorflow as tf
    from tensorflow.tsl.profiler.protobuf import xplane_pb2

    with tempfile.TemporaryDirectory() as folder:
        tf.profiler.experimental.start(folder)
        run()
        tf.profiler.experimental.stop()
        path = next(Path(folder).rglob("*.xplane.pb"))
        space = xplane_pb2.XSpace.FromString(path.read_bytes())
    events = []
    for plane in space.planes:
        for line in plane.lines:
            for event in line.events:
                kind = _kind(plane.event_metadata[event.metadata_id].name)
                if kind:
                    start = line.timestamp_ns + event.offset_ps / 1e3
                    events.append((start, start + event.duration_ps / 1e3, kind))
    return _shared(events)


def _kind(name: str) -> str | None:
    """Operations are called `name:kind`."""
    _, _, kind = name.rpartition(":")
    if ":" not in name or name.startswith("$") or not kind or kind.startswith(" "):
        return None
    return None if any(word in kind for word in IGNORED) else kind


def _shared(events: list[tuple[float, float, str]]) -> collections.Counter[str]:
    points = [(start, 0, i) for i, (start, _, _) in enumerate(events)]
    points += [(end, 1, i) for i, (_, end, _) in enumerate(events)]
    running: set[int] = set()
    seconds: collections.Counter[str] = collections.Counter()
    before = 0.0
    for at, ends, index in sorted(points):
        for other in running:
            seconds[events[other][2]] += (at - before) / len(running) / 1e9 / STEPS
        before = at
        running.discard(index) if ends else running.add(index)
    return seconds


def share_of_waiting(dataset: Any, step: Callable[[Any], Any]) -> float:
    """Of an epoch's seconds, those in which a step waited for its batch."""
    waited, started = 0.0, time.perf_counter()
    batches = iter(dataset)
    while True:
        asked = time.perf_counter()
        batch = next(batches, None)
        waited += time.perf_counter() - asked
        if batch is None:
            return waited / (time.perf_counter() - started)
        float(step(iter([batch]))["loss"])


if __name__ == "__main__":
    main()
