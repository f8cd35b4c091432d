"""Training that is killed at random moments, and ends with the weights of one that isn't.

    python benchmarks/kills.py [--kills N] [--rounds N]

Each round trains the packaged sample by command, kills it (`kill -9`) so often, each time at a
random moment from the start of the process on, and lets the same command end. All weights and the
optimizer's state must be those, to the bit, of a run that nobody killed. Writes
`benchmarks/kills.json`.
"""

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import harness

RESULTS = Path(__file__).with_suffix(".json")
SAMPLE = Path(__file__).parents[1] / "saved_models" / "samples" / "support_messages.csv"
COMPARE = """
import sys
import keras, numpy as np, tfhub_transfer as tt
models = [tt.load_model(f"{folder}/model.keras") for folder in sys.argv[1:]]
every = [(*model.weights, *model.optimizer.variables) for model in models]
arrays = [[keras.ops.convert_to_numpy(each) for each in some] for some in every]
same = [np.array_equal(*pair) for pair in zip(*arrays, strict=True)]
print(sum(same), len(same))
"""


class Place:
    """A folder with a cache and temporary folders of its own."""

    def __init__(self) -> None:
        self.root = Path(tempfile.mkdtemp(prefix="kills-"))
        for name in ("cache", "tmp"):
            (self.root / name).mkdir()
        self.environment = {
            **os.environ,
            "TMPDIR": str(self.root / "tmp"),
            "TFHUB_TRANSFER_CACHE_DIR": str(self.root / "cache"),
            "TF_CPP_MIN_LOG_LEVEL": "3",
        }

    def train(self, output: str) -> "subprocess.Popen[str]":
        """The command, under way."""
        words = ["train", "--task", "classification", "--data", SAMPLE, "--label", "topic"]
        words += ["--encoder", "auto", "--epochs", 40, "--batch-size", 4, "--seed", 3]
        words += ["--checkpoint-minutes", 0.02, "--output", self.root / output]
        command = [sys.executable, "-m", "tfhub_transfer", *map(str, words)]
        return subprocess.Popen(
            command,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def whole(self, output: str) -> float:
        """Seconds of a run to its end."""
        started = time.perf_counter()
        process = self.train(output)
        said, _ = process.communicate()
        assert process.returncode == 0, said
        return time.perf_counter() - started


def one_round(number: int, kills: int) -> dict[str, Any]:
    """One training, killed so often."""
    place, moments = Place(), random.Random(number)
    alone = place.whole("reference")
    within = 0
    for _ in range(kills):
        process = place.train("out")
        time.sleep(moments.uniform(0.0, alone))
        within += process.poll() is None
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        if (place.root / "out" / "training.json").exists():
            break
    last = place.whole("out") if not (place.root / "out" / "training.json").exists() else 0.0
    folders = [str(place.root / name) for name in ("reference", "out")]
    compared = subprocess.run(
        [sys.executable, "-c", COMPARE, *folders],
        env=place.environment,
        capture_output=True,
        text=True,
        check=True,
    )
    same, of = map(int, compared.stdout.split()[-2:])
    left = sorted(p.name for p in place.root.iterdir() if p.name.startswith("."))
    row = {
        "kills": within,
        "arrays equal to the bit": same,
        "of": of,
        "seconds alone": alone,
        "seconds of the last run": last,
        "litter": left,
    }
    shutil.rmtree(place.root)
    return row


def main() -> None:
    """Prints a line for each round and writes them all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=1)
    options = parser.parse_args()
    rows = []
    for number in range(options.rounds):
        rows.append(one_round(number, options.kills))
        print(rows[-1], flush=True)
    found = {"machine": harness.machine(), "rows": rows}
    RESULTS.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
