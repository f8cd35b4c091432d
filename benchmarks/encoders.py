"""Texts a second of encoders, in turn in one process: SST-2's test split to vectors.

python benchmarks/encoders.py --encoder MINILM --others static-minilm-256 DIR ...
"""

import os
import sys
import time

import harness


def main() -> None:
    """Measures and prints; the first encoder is what the others are compared with."""
    parser = harness.arguments(__doc__)
    parser.add_argument("--others", nargs="+", required=True, metavar="NAME|DIR")
    options = harness.parse(parser, ("data_folder", "encoder"))
    os.environ["TFHUB_TRANSFER_CACHE_DIR"] = ""
    sys.path.insert(0, str(harness.RUNS))
    import ours

    import tfhub_transfer as tt

    options.dataset, options.every, options.rows = "sst2", 1, 0
    texts = list(ours.read(options, "test").texts[0])
    task = tt.tasks.Classification(["-", "+"])
    names = [options.encoder, *options.others]
    models = {name: tt.build_model(name, task) for name in names}
    for model in models.values():
        model.encode_text(texts)  # traces, and makes oneDNN's kernels for each shape
    runs: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(options.repeat):
        for name, model in models.items():
            started = time.perf_counter()
            model.encode_text(texts)
            runs[name].append(time.perf_counter() - started)
    medians = {name: sorted(times)[len(times) // 2] for name, times in runs.items()}
    first = medians[options.encoder]
    rows = [
        [os.path.basename(name), len(texts) / seconds, first / seconds, ">= 1.8" if i else ""]
        for i, (name, seconds) in enumerate(medians.items())
    ]
    named = {os.path.basename(name): times for name, times in runs.items()}
    harness.report("encoders", ["encoder", "texts/s", "ratio", "aim"], rows, named)


if __name__ == "__main__":
    main()
