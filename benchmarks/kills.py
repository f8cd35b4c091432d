"""Training that is killed at random moments, and ends with the weights of one that isn't.

    python benchmarks/kills.py [--kills N] [--devices N ...] [--workers N] [--epochs N]

Trains the packaged sample by command, kills it (`kill -9`) at a random moment from the start of the
process on, lets the same command go on, kills that, and so on; what came to its end is compared,
and another training begins, until there were so many kills. All weights and the optimizer's state
must be those, to the bit, of a run that nobody killed. So on one device, mirrored over two logical
CPUs, and in two processes that train together, of which one is killed. Writes
`benchmarks/kills.json`.
"""

import argparse
import json
import os
import random
import re
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
GOES_ON = re.compile("Going on after ([^,\n]*(?:, step [^,\n]*)?)")
COMPARE = """
import sys
import keras, numpy as np, tfhub_transfer as tt
models = [tt.load_model(f"{folder}/model.keras") for folder in sys.argv[1:]]
every = [(*model.weights, *model.optimizer.variables) for model in models]
arrays = [[keras.ops.convert_to_numpy(each) for each in some] for some in every]
same = [np.array_equal(*pair) for pair in zip(*arrays, strict=True)]
print(sum(same), len(same))
"""
# The command, on a machine of so many CPUs as TensorFlow is told.
RUN = """
import sys
import tensorflow as tf
devices = [tf.config.LogicalDeviceConfiguration()] * int(sys.argv.pop(1))
tf.config.set_logical_device_configuration(tf.config.list_physical_devices("CPU")[0], devices)
from tfhub_transfer.__main__ import run
run()
"""


class Place:
    """A folder with a cache and temporary folders of its own, so many devices or processes."""

    def __init__(self, devices: int, workers: int, epochs: int) -> None:
        self.root, self.devices = Path(tempfile.mkdtemp(prefix="kills-")), devices
        self.workers, self.epochs = workers, epochs
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
        words += ["--encoder", "auto", "--epochs", self.epochs, "--batch-size", 8, "--seed", 3]
        words += ["--strategy", "mirrored" if self.devices > 1 else "none"]
        if self.workers > 1:
            words[-1:] = ["auto", "--workers", self.workers]
        words += ["--checkpoint-minutes", 0.02, "--output", self.root / output]
        return subprocess.Popen(
            [sys.executable, "-c", RUN, str(self.devices), *map(str, words)],
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def whole(self, output: str) -> tuple[float, str]:
        """Seconds of a run to its end, and what it said."""
        started = time.perf_counter()
        process = self.train(output)
        said, _ = process.communicate()
        assert process.returncode == 0, said
        return time.perf_counter() - started, said

    def killed(self, output: str, seconds: float) -> tuple[bool, str]:
        """Whether a run was killed before all was written, after so many seconds; what it said."""
        process = self.train(output)
        try:
            said, _ = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            self._kill(process.pid)
            said, _ = process.communicate()
        # Of several processes the first tells what became of it: killed, or another one was.
        assert process.returncode in (0, -signal.SIGKILL, 128 + signal.SIGKILL, 75), said
        # What is written appears whole, and a process may still be there then.
        return not (self.root / output).exists(), said

    def _kill(self, pid: int) -> None:
        """Kills a command; of several processes one, whichever."""
        if self.workers == 1:
            os.killpg(pid, signal.SIGKILL)
            return
        children = subprocess.run(
            ["pgrep", "-P", str(pid)], capture_output=True, text=True, check=False
        ).stdout.split()
        for each in random.sample(children, min(1, len(children))):
            os.kill(int(each), signal.SIGKILL)

    def compare(self, *outputs: str) -> tuple[int, int]:
        """How many arrays are equal to the bit, of how many."""
        done = subprocess.run(
            [sys.executable, "-c", COMPARE, *(str(self.root / each) for each in outputs)],
            env=self.environment,
            capture_output=True,
            text=True,
            check=True,
        )
        same, of = map(int, done.stdout.split()[-2:])
        return same, of


def measure(devices: int, workers: int, kills: int, epochs: int) -> dict[str, Any]:
    """So many kills on so many devices, and what the trainings that went on came to."""
    place, moments = Place(devices, workers, epochs), random.Random(devices)
    alone, _ = place.whole("reference")
    seconds: list[float] = []
    went_on, compared = list[str](), list[tuple[int, int]]()
    while len(seconds) < kills:
        output, is_killed = f"out{len(compared)}", True
        while is_killed and len(seconds) < kills:
            moment = moments.uniform(0.0, alone)
            is_killed, said = place.killed(output, moment)
            went_on += GOES_ON.findall(said)
            seconds += [moment] if is_killed else []
        if is_killed:
            went_on += GOES_ON.findall(place.whole(output)[1])
        compared.append(place.compare("reference", output))
    outputs = {"reference", *(f"out{number}" for number in range(len(compared)))}
    left = {path.name for path in place.root.iterdir()} - outputs - {"cache", "tmp"}
    shutil.rmtree(place.root)
    return {
        "devices": devices,
        "processes": workers,
        "kills": len(seconds),
        "after seconds": [round(each, 1) for each in seconds],
        "runs that went on": len(went_on),
        "after": went_on,
        "trainings": len(compared),
        "arrays equal to the bit": [same for same, _ in compared],
        "of": compared[0][1],
        "seconds alone": round(alone, 1),
        "left behind": sorted(left),
        "machine": harness.machine(),
    }


def _about(row: dict[str, Any]) -> tuple[int, int]:
    """What a row is about."""
    return row["devices"], row["processes"]


def main() -> None:
    """Prints a line for each number of devices, and writes it among the others."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--devices", type=int, nargs="*", default=[1, 2])
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--epochs", type=int, default=20)
    options = parser.parse_args()
    forms = [(devices, 1) for devices in options.devices]
    forms += [(1, options.workers)] if options.workers > 1 else []
    for devices, workers in forms:
        row = measure(devices, workers, options.kills, options.epochs)
        print(row, flush=True)
        before = json.loads(RESULTS.read_text(encoding="utf-8"))["rows"] if RESULTS.exists() else []
        others = [
            each for each in before if (each["devices"], each.get("processes", 1)) != _about(row)
        ]
        rows = [*others, row]
        RESULTS.write_text(json.dumps({"rows": rows}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
