"""What the check of SavedModels refuses, and what it costs.

    python benchmarks/safety.py --encoder ENCODER

Every kind of `tests/saved_model_zoo.py` is written and checked; then the check is timed, the best
of five: the packaged encoder, a BERT of 24 layers in the form of the Model Garden (its graph is as
large as BERT-large's, its weights are small), and an export of ENCODER whose weights are folded
into the graph as constants; beside it what reading the file whole takes. Prints the tables and
writes `safety.json`.
"""

import json
import platform
import re
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import harness
from tensorflow.core.protobuf import saved_model_pb2

sys.path.insert(0, str(harness.HERE.parent / "tests"))

import saved_model_factory
import saved_model_zoo

import tfhub_transfer as tt
from tfhub_transfer import runtime
from tfhub_transfer.encoders import registry
from tfhub_transfer.graphs import safety, wire

REPEATS = 5


def main() -> None:
    """Prints the tables and writes the file."""
    options = harness.parse(harness.arguments(__doc__), ["encoder"])
    with tempfile.TemporaryDirectory() as scratch:
        refused = {kind: _refusal(kind, Path(scratch)) for kind in saved_model_zoo.KINDS}
        times = {name: _timed(folder) for name, folder in _models(options, Path(scratch)).items()}
    print("\n| what the file would do | refused | with |\n|---|---|---|")
    for kind, message in refused.items():
        print(f"| {kind} | {'yes' if message else 'NO'} | {message} |")
    print(f"\n{sum(map(bool, refused.values()))} of {len(refused)} refused\n")
    print(
        "| SavedModel | graph, MB | nodes | check, s | parsing all, s | load, s |\n"
        "|---|---|---|---|---|---|"
    )
    for name, row in times.items():
        print("| " + " | ".join([name, *(str(value) for value in row.values())]) + " |")
    found = {
        "cpu": _cpu(),
        "versions": runtime.versions(),
        "refused": refused,
        "times": times,
    }
    path = Path(__file__).with_suffix(".json")
    path.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def _refusal(kind: str, scratch: Path) -> str | None:
    """The message, if the model is refused and its canary still what it was."""
    folder = Path(tempfile.mkdtemp(dir=scratch))
    canary = saved_model_zoo.write(kind, folder)
    before = canary.read_text()
    try:
        tt.Encoder(str(folder / "model"))
    except tt.InputError as error:
        said = re.sub(r"^.*?: |\. If you trust.*| Received: .*", "", str(error))
        said = said.replace(str(folder), "...")
        return said if canary.read_text() == before else None
    return None


def _models(options: Any, scratch: Path) -> dict[str, Path]:
    saved_model_factory.LAYERS = 24
    bert = saved_model_factory.write_bert_encoder(scratch / "bert")
    model = tt.build_model(options.encoder, tt.tasks.Classification(["a", "b"]))
    export = tt.export_saved_model(model, scratch / "export", precision="bfloat16")
    return {
        "packaged encoder": registry.resolve("auto"),
        "BERT, 24 layers": bert,
        f"export of {Path(options.encoder).name}, folded": export,
    }


def _timed(folder: Path) -> dict[str, float]:
    path = folder / safety.GRAPH_FILE
    graph = wire.read_saved_model(path).meta_graphs[0].graph_def
    nodes = len(graph.node) + sum(len(f.node_def) for f in graph.library.function)
    return {
        "megabytes": round(path.stat().st_size / 1e6, 2),
        "nodes": nodes,
        "check": _best(lambda: safety.check_saved_model(folder)),
        "parse": _best(lambda: saved_model_pb2.SavedModel.FromString(path.read_bytes())),
        "load": _best(lambda: safety.load_checked(folder, trust_code=True), 1),
    }


def _best(run: Callable[[], Any], repeats: int = REPEATS) -> float:
    took = []
    for _ in range(repeats):
        started = time.perf_counter()
        run()
        took.append(time.perf_counter() - started)
    return round(min(took), 3)


def _cpu() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


if __name__ == "__main__":
    main()
