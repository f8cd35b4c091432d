"""Random and hostile texts through every task's `predict_text` and its export: do both agree?

    python benchmarks/hostile_texts.py --texts 10000 --output benchmarks/hostile_texts.json

The tasks are those of `tests/samples.py`, on the packaged encoder with token vectors; their heads
aren't trained, which leaves scores closer together than training would. Texts are those of
`tests/hostile.py`, each also as a part of a pair. A text counts as different if a label, a word or
a place isn't the same, or a score is more than 1e-5 off.
"""

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

import hostile
import keras
import samples

import tfhub_transfer as tt

CHUNK = 500


def main() -> None:
    """Asks every task, prints a table and writes it as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--texts", type=int, default=10_000)
    parser.add_argument("--seconds", type=float, default=600.0, help="for each task, about")
    parser.add_argument(
        "--tasks", nargs="*", default=[n for n in samples.ROWS if n != "multi-task"]
    )
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args()
    found = {"versions": tt.runtime.versions(), "tasks": {}}
    print(f"{'task':<28}{'texts':>8}{'crashes':>9}{'different':>11}{'seconds':>9}")
    for name in options.tasks:
        row = ask(name, options.texts, options.seconds)
        found["tasks"][name] = row
        counts = f"{row['texts']:>8}{row['crashes']:>9}{row['different']:>11}"
        print(f"{name:<28}{counts}{row['seconds']:>9.1f}", flush=True)
        options.output.write_text(json.dumps(found, indent=1) + "\n", "utf-8")


def ask(name: str, count: int, seconds: float) -> dict[str, Any]:
    """Asks the model of one task and its export."""
    keras.utils.set_random_seed(3)
    sample, started = samples.ROWS[name], time.perf_counter()
    model = tt.build_model("minilm-l3-384", sample.task(), sample.head)
    texts = hostile.texts(count)
    asked: list[Any] = list(zip(texts, reversed(texts))) if model.task.pair else texts
    done, crashes, different = 0, [], []
    with tempfile.TemporaryDirectory() as folder, tt.runtime.precision("float32"):
        served = tt.load_saved_model(tt.export_saved_model(model, folder, "float32"))
        for start in range(0, count, CHUNK):
            if time.perf_counter() - started > seconds:
                break
            part = asked[start : start + CHUNK]
            try:
                different += hostile.differences(model, served, part)
            except Exception as error:
                crashes.append(f"{type(error).__name__}: {error}"[:1000])
            done += len(part)
    return {
        "texts": done,
        "crashes": len(crashes),
        "different": len(different),
        "seconds": round(time.perf_counter() - started, 1),
        "examples": [*crashes[:5], *different[:20]],
    }


if __name__ == "__main__":
    main()
