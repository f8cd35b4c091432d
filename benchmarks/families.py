"""Whether converted encoders answer as transformers does: tiny random ones of every family.

    BENCH_PEER_PYTHON=PYTHON python benchmarks/families.py

The largest difference of any layer's output for any token that isn't padding, and of the pooler's,
and whether texts become the same ids; of folders of sentence-transformers, of texts' vectors. Of
most models the graph is run as it is written; those whose name ends in `usual`, `parts` or `folder`
are converted to folders, too. Writes
`benchmarks/families.json`; ends with status 1 where one fails.
"""

import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import harness
import numpy as np

MOST = 1e-4
# As in `runs/families.py`.
TEXTS = ["a cab, bad", "ÉTUDE faced", "zzz", ""]
WHOLE = ("usual", "parts", "folder")


def main() -> None:
    """Measures and prints."""
    options = harness.parse(harness.arguments(__doc__), ("peer_python",))
    with tempfile.TemporaryDirectory() as work:
        script = str(harness.RUNS / "families.py")
        subprocess.run([options.peer_python, script, work], check=True)
        found = {each.name: _compared(each) for each in sorted(Path(work).iterdir())}
    rows = [[name, f"{r['difference']:.1e}", str(r["same_ids"])] for name, r in found.items()]
    raw = {name: [result] for name, result in found.items()}
    harness.report("families", ["model", "largest difference", "same ids"], rows, raw)
    if not all(r["difference"] <= MOST and r["same_ids"] for r in found.values()):
        sys.exit(1)


def _compared(source: Path) -> dict[str, Any]:
    import tensorflow as tf

    from tfhub_transfer.encoders import conversion  # noqa: F401  reads such folders
    from tfhub_transfer.encoders.bert_graphs import INPUT_KEYS
    from tfhub_transfer.models import encoding

    theirs = np.load(source / "outputs.npz")
    if "vectors" in theirs:
        found = encoding.encode_text(str(source), TEXTS)
        return {"difference": float(np.abs(found - theirs["vectors"]).max()), "same_ids": True}
    with tempfile.TemporaryDirectory() as output:
        encoder, split = (_converted if source.name.endswith(WHOLE) else _read)(source, output)
        arrays = (theirs["ids"], theirs["mask"], np.zeros_like(theirs["ids"]))
        given = {k: tf.constant(v, tf.int32) for k, v in zip(INPUT_KEYS, arrays, strict=True)}
        outputs = encoder(given, training=False)
        ids = split(tf.constant(TEXTS))[:, : theirs["text_ids"].shape[1]].numpy()
    ours = np.stack([layer.numpy() for layer in outputs["encoder_outputs"]])
    difference = np.abs(ours - theirs["layers"])[:, theirs["mask"] == 1].max()
    if "pooled" in theirs:
        pooled = np.abs(outputs["pooled_output"].numpy() - theirs["pooled"]).max()
        difference = np.maximum(difference, pooled)
    same = bool(np.array_equal(ids, theirs["text_ids"]))
    return {"difference": float(difference), "same_ids": same}


def _converted(source: Path, output: str) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """The encoder of a folder, and what makes ids of texts, as users have them."""
    import tensorflow as tf

    import tfhub_transfer as tt

    tt.convert(source, Path(output) / "encoder")
    pack = tf.saved_model.load(str(Path(output) / "encoder" / "preprocessor"))
    loaded = tf.saved_model.load(str(Path(output) / "encoder"))
    return loaded, lambda texts: pack(texts)["input_word_ids"]


def _read(source: Path, output: str) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """The same before anything is written."""
    import tensorflow as tf

    from tfhub_transfer.encoders import hub_format, huggingface
    from tfhub_transfer.encoders.bert_graphs import bert_function

    found = huggingface.read(source, Path(output))
    weights = {name: tf.constant(value) for name, value in found.values.items()}
    pieces = hub_format.WordPieces(found.vocab, found.lower_case, found.strip_accents)

    def split(texts: Any) -> Any:
        return pieces.pack([pieces.ids(texts)], seq_length=128)["input_word_ids"]

    return bert_function(weights, found.shape), split


if __name__ == "__main__":
    main()
