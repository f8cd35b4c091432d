"""The encoders that are known, as `encoders` lists them. It does without TensorFlow."""

import dataclasses
import json

from tfhub_transfer.encoders import registry
from tfhub_transfer.jobs.options.encoders import EncodersJob


def list_encoders(job: EncodersJob) -> None:
    """Prints the encoders that are known.

    Args:
        job: How.
    """
    encoders = registry.known_encoders()
    if job.json:
        print(json.dumps([dataclasses.asdict(encoder) for encoder in encoders], indent=1))
        return
    print(f"{'NAME':<46}{'DIALECT':<9}{'DIM':>5}{'LAYERS':>8}  {'LANGUAGE':<10}TOKENS")
    for e in encoders:
        layers = "-" if e.layers is None else str(e.layers)
        tokens = "yes" if e.has_token_vectors else "no"
        print(f"{e.name:<46}{e.dialect:<9}{e.dimension:>5}{layers:>8}  {e.language:<10}{tokens}")
    print("\nPackaged, with speed (texts a second, all-MiniLM-L6-v2 = 1) and test scores:")
    for e in (e for e in encoders if e.packaged):
        scores = ", ".join(f"{name} {score:.3f}" for name, score in e.scores.items())
        print(f"  {e.name}: {e.size_mb} MB, speed {e.speed or '-'}; {scores}")
    print("\nUse a name, its handle, or a folder with --encoder; --json gives the handles.")
