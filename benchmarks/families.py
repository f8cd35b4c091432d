"""Whether converted encoders answer as transformers does: tiny random ones of every family.

    BENCH_PEER_PYTHON=PYTHON python benchmarks/families.py

The largest difference of any layer's output for any token that isn't padding, and whether texts
become the same ids. Writes `benchmarks/families.json`; ends with status 1 where either fails.
"""

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import harness
import numpy as np

MOST = 1e-4
# As in `runs/families.py`.
TEXTS = ["a cab, bad", "ÉTUDE faced", "zzz", ""]


def main() -> None:
    """Measures and prints."""
    options = harness.parse(harness.arguments(__doc__), ("peer_python",))
    with tempfile.TemporaryDirectory() as work, tempfile.TemporaryDirectory() as output:
        script = str(harness.RUNS / "families.py")
        subprocess.run([options.peer_python, script, work], check=True)
        found = {
            each.name: _compared(each, Path(output) / each.name)
            for each in sorted(Path(work).iterdir())
        }
    rows = [[name, f"{r['difference']:.1e}", str(r["same_ids"])] for name, r in found.items()]
    raw = {name: [result] for name, result in found.items()}
    harness.report("families", ["model", "largest difference", "same ids"], rows, raw)
    if not all(r["difference"] <= MOST and r["same_ids"] for r in found.values()):
        sys.exit(1)


def _compared(source: Path, target: Path) -> dict[str, Any]:
    import tensorflow as tf

    import tfhub_transfer as tt
    from tfhub_transfer.encoders.bert_graphs import INPUT_KEYS

    tt.convert(source, target)
    encoder = tf.saved_model.load(str(target))
    pack = tf.saved_model.load(str(target / "preprocessor"))
    theirs = np.load(source / "outputs.npz")
    length = theirs["ids"].shape[1]
    ids = pack(tf.constant(TEXTS))["input_word_ids"][:, :length].numpy()
    arrays = (theirs["ids"], theirs["mask"], np.zeros_like(theirs["ids"]))
    named = zip(INPUT_KEYS, arrays, strict=True)
    outputs = encoder({k: tf.constant(v, tf.int32) for k, v in named}, training=False)
    ours = np.stack([layer.numpy() for layer in outputs["encoder_outputs"]])
    differences = np.abs(ours - theirs["layers"])[:, theirs["mask"] == 1]
    same = bool(np.array_equal(ids * theirs["mask"], theirs["ids"] * theirs["mask"]))
    return {"difference": float(differences.max()), "same_ids": same}


if __name__ == "__main__":
    main()
