"""Random and hostile texts through every task's `predict_text` and its export: do both agree?

    python benchmarks/hostile_texts.py --texts 10000 --output benchmarks/hostile_texts.json

The tasks are those of `tests/samples.py`, each on the tiny BERT of the tests, and on the tiny text
embedding where that suits; heads aren't trained, which leaves scores closer together than training
would. Texts are those of `tests/hostile.py`, each also as a part of a pair. A text counts as
different if a label, a word or a place isn't the same, a score is more than 1e-5 off, or its
vector by `encode_text` and by the export's `encode`. Words are tagged one after the other, a step
of a graph each: there texts are cut at 2,000 characters, but for the few very long ones.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

import hostile
import keras
import numpy as np
import samples
import saved_model_factory

import tfhub_transfer as tt
from tfhub_transfer.serving.exporting import models_of

CHUNK = 500
LONGEST_OF_WORDS = 2_000
ENCODERS = {
    "bert": saved_model_factory.write_bert_encoder,
    "text": saved_model_factory.write_text_encoder,
}


def main() -> None:
    """Asks every task, prints a table and writes it as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--texts", type=int, default=10_000)
    parser.add_argument("--tasks", nargs="*", default=list(samples.ROWS))
    parser.add_argument("--encoders", nargs="*", choices=ENCODERS, default=list(ENCODERS))
    parser.add_argument("--encoder", help="another encoder, by its name or folder")
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args()
    found = {"versions": tt.runtime.versions(), "rows": []}
    print(f"{'task':<28}{'encoder':<10}{'texts':>8}{'crashes':>9}{'different':>11}{'seconds':>9}")
    with tempfile.TemporaryDirectory() as folder:
        encoders = {n: str(ENCODERS[n](Path(folder) / n)) for n in options.encoders}
        if options.encoder:
            encoders = {options.encoder: options.encoder}
        for name in options.tasks:
            for kind, encoder in encoders.items():
                if kind == "text" and samples.ROWS[name].task().needs_tokens:
                    continue
                for row in ask(name, encoder, options.texts):
                    found["rows"].append({**row, "encoder": kind})
                    counts = f"{row['texts']:>8}{row['crashes']:>9}{row['different']:>11}"
                    print(f"{row['task']:<28}{kind:<10}{counts}{row['seconds']:>9.1f}", flush=True)
                    options.output.write_text(json.dumps(found, indent=1) + "\n", "utf-8")


def ask(name: str, encoder: str, count: int) -> Iterator[dict[str, Any]]:
    """Asks a model and its export; of several tasks each."""
    keras.utils.set_random_seed(3)
    sample = samples.ROWS[name]
    model = tt.build_model(encoder, sample.task(), sample.head)
    with tempfile.TemporaryDirectory() as folder, tt.runtime.precision("float32"):
        served = tt.load_saved_model(tt.export_saved_model(model, folder, "float32"))
        for signature, single in models_of(model).items():
            whole = f"{name}, {signature}" if isinstance(sample.examples, dict) else name
            yield {"task": whole, **compared(single, served, signature, count)}


def compared(model: Any, served: Any, signature: str, count: int) -> dict[str, Any]:
    """Asks one model and one signature the same."""
    started = time.perf_counter()
    texts = hostile.texts(count)
    if model.task.layout == "words":
        rare = hostile.rare()
        texts = [*texts[:rare], *(text[:LONGEST_OF_WORDS] for text in texts[rare:])]
    asked: list[Any] = list(zip(texts, reversed(texts))) if model.task.pair else texts
    done, crashes, different = 0, [], []
    for start in range(0, count, CHUNK):
        part = asked[start : start + CHUNK]
        try:
            different += hostile.differences(model, served, part, signature)
            single = texts[start : start + CHUNK]
            gaps = np.abs(model.encode_text(single) - served.encode(single)).max(axis=1)
            odd = [row for row, gap in enumerate(gaps) if not gap <= 1e-5]
            different += [f"vector of {single[row]!r:.200}: {gaps[row]}" for row in odd]
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
