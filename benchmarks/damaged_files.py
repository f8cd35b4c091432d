"""Flips bits of a `.keras` file and cuts its tail: 400 copies, each refused or without effect.

    python benchmarks/damaged_files.py [--copies 400] [--output benchmarks/damaged_files.json]

Prints how many copies were refused in one line, how many loaded and answered as before, to the
bit, and how many did anything else, which must be none.
"""

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

import hostile

import tfhub_transfer as tt

TEXTS = ["a good film", "", "the worst movie of the year", "I was charged twice"]


def outcome(path: Path, expected: np.ndarray) -> str:
    """What loading a file and asking its model led to."""
    try:
        answers = tt.load_model(path).predict_scores(TEXTS)
    except tt.InputError as error:
        return "refused" if "\n" not in str(error) and str(path) in str(error) else "many lines"
    except Exception as error:
        return f"traceback of {type(error).__name__}"
    return "as before" if np.array_equal(answers, expected) else "other answers"


def measure(encoder: str, copies: int) -> dict[str, Any]:
    """Damages a model of an encoder in many ways."""
    task = tt.tasks.Classification(class_names=["negative", "positive"])
    model = tt.build_model(encoder, task)
    expected = model.predict_scores(TEXTS)
    counts: dict[str, dict[str, int]] = {
        "flipped": {},
        "cut": {},
        "flipped in the list of members": {},
    }
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "model.keras"
        model.save(path)
        whole = path.read_bytes()
        started = time.perf_counter()
        for index in range(copies):
            path.write_bytes(hostile.damaged(whole, index))
            found = counts["cut" if index % 2 else "flipped"]
            kind = outcome(path, expected)
            found[kind] = found.get(kind, 0) + 1
        seconds = time.perf_counter() - started
        # No checksum covers the archive's own bytes: its list of members, at the end.
        first = whole.index(b"PK\x01\x02")
        for index in range(copies):
            path.write_bytes(whole[:first] + hostile.damaged(whole[first:], 2 * index))
            found = counts["flipped in the list of members"]
            kind = outcome(path, expected)
            found[kind] = found.get(kind, 0) + 1
    return {
        "encoder": encoder,
        "megabytes": round(len(whole) / 1e6, 1),
        "seconds_each": round(seconds / copies, 3),
        **counts,
    }


def main() -> None:
    """Runs as the module says."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--copies", type=int, default=400)
    parser.add_argument("--encoder", default="static-minilm-256")
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    found = measure(options.encoder, options.copies)
    print(json.dumps(found, indent=1))
    if options.output:
        options.output.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
