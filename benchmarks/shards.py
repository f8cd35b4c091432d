"""Shards beside `predict_text` and under Beam: rows a second as ratios, and memory by their number.

Three things, each in turn with what it is compared with:

- in one process, the shards of a folder by the engine of `predict --data`, and the same texts by
  `predict_text`, with the packaged encoder;
- whole commands, `--runner local` and `--runner beam` with two processes, of the packaged encoder;
- the peak of memory of `--runner local` for `--few` and for `--many` rows, with an encoder so small
  that reading and writing is what there is.

python benchmarks/shards.py --model DIR --data-folder DATA [--beam-python PYTHON]
"""

import argparse
import gzip
import json
import math
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import harness

REPOSITORY = Path(__file__).resolve().parents[1]
TWO = "--direct_running_mode multi_processing --direct_num_workers 2"


def texts_of(folder: Path) -> list[str]:
    """News of 237 characters on the average."""
    with gzip.open(folder / "ag_news" / "train.jsonl.gz", "rt", encoding="utf-8") as lines:
        return [json.loads(line)["text"] for line in lines]


def write(texts: list[str], rows: int, shards: int, folder: Path) -> Path:
    """Parquet files with so many rows together, of the texts over and over."""
    import pyarrow
    import pyarrow.parquet

    folder.mkdir()
    per = math.ceil(rows / shards)
    for shard in range(shards):
        ids = list(range(shard * per, min(rows, (shard + 1) * per)))
        table = pyarrow.table({"id": ids, "text": [texts[i % len(texts)] for i in ids]})
        pyarrow.parquet.write_table(table, folder / f"part-{shard:05}.parquet")
    return folder


def inside(model: Path, folder: Path, work: Path, repeat: int) -> list[dict[str, float]]:
    """Wall and CPU seconds of both ways in this process, in turn."""
    import pyarrow.parquet

    from tfhub_transfer import runtime
    from tfhub_transfer.jobs import asking, folders, predicting
    from tfhub_transfer.jobs.options.asking import PredictJob
    from tfhub_transfer.jobs.shards import finding, records, running

    job = PredictJob(model, data=str(folder), output=work / "inside")
    asked, record = folders.load(model, False)
    precision = predicting.precision_of(record)
    found = finding.find(str(folder), work / "inside")
    texts = [
        text
        for shard in found
        for text in pyarrow.parquet.read_table(shard.source)["text"].to_pylist()
    ]

    def ask(file: Any, bad: Any) -> asking.Answers:
        return asking.Answers(asked, file, {}, precision, bad=bad)

    def alone() -> None:
        with runtime.precision(precision, asked.encoder.dimension):
            asked.predict_text(texts)

    alone()
    runs = []
    for _ in range(repeat):
        made: dict[str, float] = {"rows": len(texts)}
        output = records.Output(work / "inside")
        todo = running.Work(job, output, predicting.load)
        for name, run in (
            ("predict_text", alone),
            ("shards", lambda todo=todo: [todo.answer(ask, shard) for shard in found]),
        ):
            wall, cpu = time.monotonic(), time.process_time()
            run()
            made[f"{name} wall"] = time.monotonic() - wall
            made[f"{name} cpu"] = time.process_time() - cpu
        runs.append(made)
        print(f"  {made}", file=sys.stderr, flush=True)
    return runs


def command(python: str, *words: object) -> dict[str, float]:
    """A command's wall and CPU seconds, its children's too, and its peak of memory in MB."""
    script = (
        "import json,resource,subprocess,sys,time\n"
        "start=time.monotonic()\n"
        "subprocess.run([sys.executable,'-m','tfhub_transfer',*sys.argv[1:]],check=True,"
        "stdout=subprocess.DEVNULL,stderr=subprocess.DEVNULL)\n"
        "used=resource.getrusage(resource.RUSAGE_CHILDREN)\n"
        "print(json.dumps({'wall':time.monotonic()-start,'cpu':used.ru_utime+used.ru_stime,"
        "'peak':used.ru_maxrss/1024}))"
    )
    run = [python, "-c", script, *map(str, words)]
    done = subprocess.run(run, check=True, capture_output=True, text=True, cwd=REPOSITORY)
    return json.loads(done.stdout)


def tiny(work: Path) -> Path:
    """A model whose answers cost next to nothing."""
    sys.path.insert(0, str(REPOSITORY / "tests"))
    import saved_model_factory

    import tfhub_transfer as tt

    encoder = saved_model_factory.write_text_encoder(work / "tiny")
    model = tt.build_model(str(encoder), tt.tasks.Classification(["bad", "good"]))
    model.save(work / "tiny.keras")
    return work / "tiny.keras"


def ratio(runs: list[dict[str, float]], above: str, below: str) -> float:
    """The median of a ratio over runs."""
    return statistics.median(run[above] / run[below] for run in runs)


def _engine(options: argparse.Namespace, texts: list[str], work: Path) -> tuple[list[Any], Any]:
    folder = write(texts, options.rows, options.shards, work / "engine")
    runs = inside(options.model, folder, work, options.repeat)
    rows = runs[0]["rows"]
    table = [
        [
            f"local beside `predict_text`, rows per {unit} second",
            statistics.median(rows / run[f"shards {kind}"] for run in runs),
            statistics.median(rows / run[f"predict_text {kind}"] for run in runs),
            ratio(runs, f"predict_text {kind}", f"shards {kind}"),
            ">= 0.95",
        ]
        for unit, kind in (("wall", "wall"), ("CPU", "cpu"))
    ]
    return table, runs


def _beam(options: argparse.Namespace, texts: list[str], work: Path) -> tuple[list[Any], Any]:
    folder = write(texts, options.beam_rows, 8, work / "beam")
    runs = []
    ways: dict[str, tuple[str, ...]] = {
        "local": (),
        "beam": ("--runner", "beam", "--runner-options", TWO),
    }
    for turn in range(options.repeat):
        made: dict[str, float] = {}
        for name, words in ways.items():
            output = work / f"{name}-{turn}"
            given = ("predict", options.model, "--data", folder, "--output", output, *words)
            took = command(options.beam_python, *given)
            told = json.loads((output / "_summary.json").read_text("utf-8"))
            # Of all shards, of which two are answered at a time: without the start of processes.
            made[f"{name} shards"] = told["seconds"] / (2 if words else 1)
            made |= {f"{name} {kind}": value for kind, value in took.items()}
        runs.append(made)
        print(f"  {made}", file=sys.stderr, flush=True)
    rows = options.beam_rows
    table = [
        [
            f"Beam, two processes, beside local, rows per {unit}",
            statistics.median(rows / run[f"beam {kind}"] for run in runs),
            statistics.median(rows / run[f"local {kind}"] for run in runs),
            ratio(runs, f"local {kind}", f"beam {kind}"),
            aim,
        ]
        for unit, kind, aim in (
            ("second of answering", "shards", ">= 0.8"),
            ("wall second, with start", "wall", ""),
            ("CPU second, with start", "cpu", ""),
        )
    ]
    return table, runs


def _memory(options: argparse.Namespace, texts: list[str], work: Path) -> tuple[list[Any], Any]:
    model, runs = tiny(work), {}
    for rows in (options.few, options.many):
        folder = write(texts, rows, max(1, rows // 50_000), work / f"rows-{rows}")
        given = ("predict", model, "--data", folder, "--output", work / f"to-{rows}")
        runs[rows] = command(sys.executable, *given)
        print(f"  {rows}: {runs[rows]}", file=sys.stderr, flush=True)
    few, many = (runs[rows]["peak"] for rows in (options.few, options.many))
    return [
        [f"peak MB, {options.many:,} rows beside {options.few:,}", many, few, many / few, ""]
    ], {str(rows): run for rows, run in runs.items()}


PARTS: dict[str, Callable[..., tuple[list[Any], Any]]] = {
    "memory": _memory,
    "engine": _engine,
    "beam": _beam,
}


def main() -> None:
    """Measures and prints."""
    parser = harness.arguments(__doc__)
    parser.add_argument("--model", type=Path, required=True, help="what `train` wrote")
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--shards", type=int, default=4, help="that hold `--rows`")
    parser.add_argument("--beam-rows", type=int, default=20_000)
    parser.add_argument("--few", type=int, default=10_000)
    parser.add_argument("--many", type=int, default=1_000_000)
    parser.add_argument("--beam-python", help="a Python that has Apache Beam; none leaves it out")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    options = harness.parse(parser, ("data_folder",))
    texts = texts_of(Path(options.data_folder))
    for name in options.parts:
        if name == "beam" and not options.beam_python:
            continue
        with tempfile.TemporaryDirectory() as work:
            rows, raw = PARTS[name](options, texts, Path(work))
        harness.report(f"shards_{name}", ["shards", "this", "beside", "ratio", "aim"], rows, raw)


if __name__ == "__main__":
    main()
