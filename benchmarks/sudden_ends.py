"""Training that ends suddenly, at 12 moments by kill -9 and at 5 by each of three signals.

    python benchmarks/sudden_ends.py [--only WORDS ...]

Each row trains the packaged sample by command. After a kill the same command is given once more:
the test metrics must be those of a run that nobody disturbed, nothing half-written may be taken as
whole, and no scratch may stay beside the output, among the temporary folders, or in the cache.
After a signal the model as trained so far must answer, with no scratch left by the ended run.
Writes `benchmarks/sudden_ends.json`.
"""

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import harness

RESULTS = Path(__file__).with_suffix(".json")
# Where each kind of end comes: what is wrapped, which call of it, before or after that call.
MOMENTS = {
    "while a file is read": ("tfhub_transfer.data.forms.delimited._header", 1, "before"),
    "before the first vector": (
        "tfhub_transfer.models.forward.Forward.run",
        1,
        "before",
    ),
    "vectors written, not named": ("tfhub_transfer.storage.segments.os.replace", 1, "before"),
    "vectors named": ("tfhub_transfer.storage.stores.write_segment", 1, "after"),
    "in the head's training": ("keras.callbacks.CallbackList.on_epoch_end", 5, "before"),
    "thawing": ("tfhub_transfer.encoders.encoder.Encoder.freeze_to", 2, "after"),
    "the model half written": ("keras.src.saving.saving_lib._save_state", 1, "after"),
    "in the evaluation": ("tfhub_transfer.jobs.trainings.training.evaluate", 1, "before"),
    "in the export": ("tensorflow.saved_model.save", 1, "after"),
    "in the report": ("tfhub_transfer.storage.atomic.write_bytes", 1, "after"),
    "old aside, new not in place": ("tfhub_transfer.storage.atomic._swap.aside", 1, "after"),
    "new in place, old not removed": ("tfhub_transfer.storage.atomic._swap", 1, "after"),
}
SIGNALLED = (
    "before the first vector",
    "in the head's training",
    "thawing",
    "in the evaluation",
    "in the export",
)
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

# What TensorFlow's AutoGraph writes among the temporary files and removes at an exit, if there is
# one.
_TENSORFLOWS = "__autograph_generated_file"

# Run in the process that is to end: wraps one function, then is the command line.
DRIVER = """
import importlib, os, sys, time
what, count, when, number = sys.argv[1], int(sys.argv[2]), sys.argv[3], int(sys.argv[4])
def strike():
    if number:
        os.kill(os.getpid(), number)
        time.sleep(30)
    else:  # a disk fills
        with open(os.path.join(os.environ["FILL"], "filler"), "wb", buffering=0) as file:
            for size in (1 << 20, 1 << 10, 1):
                try:
                    while file.write(bytes(size)):
                        pass
                except OSError:
                    continue
if what.endswith("_swap.aside"):
    import tfhub_transfer.storage.atomic as holder
    replace = os.replace
    def wrapped(source, to):
        replace(source, to)
        if os.path.basename(to) == "old":
            strike()
    os.replace = wrapped
elif what:
    parts, holder = what.split("."), None
    for end in range(len(parts) - 1, 0, -1):
        try:
            holder = importlib.import_module(".".join(parts[:end]))
            break
        except ImportError:
            continue
    for name in parts[end:-1]:
        holder = getattr(holder, name)
    real, calls = getattr(holder, parts[-1]), []
    def wrapped(*args, **kwargs):
        calls.append(1)
        mine = len(calls) == count  # it may call itself meanwhile
        if mine and when == "before":
            strike()
        answer = real(*args, **kwargs)
        if mine and when == "after":
            strike()
        return answer
    setattr(holder, parts[-1], wrapped)
from tfhub_transfer.__main__ import run
sys.argv[1:] = sys.argv[5:]
run()
"""


class Place:
    """A folder with data, an output, a cache and temporary folders of its own."""

    def __init__(self) -> None:
        self.root = Path(tempfile.mkdtemp(prefix="sudden-ends-"))
        for name in ("work", "cache", "tmp"):
            (self.root / name).mkdir()
        self.output = self.root / "work" / "out"
        self.environment = {
            **os.environ,
            "TMPDIR": str(self.root / "tmp"),
            "TFHUB_TRANSFER_CACHE_DIR": str(self.root / "cache"),
            "TF_CPP_MIN_LOG_LEVEL": "3",
        }

    def train(
        self,
        what: str = "",
        count: int = 0,
        when: str = "",
        number: int = 0,
        cwd: Path | None = None,
    ) -> Any:
        """One run of the command, perhaps with an end."""
        sample = Path(__file__).parents[1] / "saved_models" / "samples" / "support_messages.csv"
        words = ["train", "--task", "classification", "--data", sample, "--label", "topic"]
        words += ["--encoder", "minilm-l3-384", "--epochs", 1, "--sequence-length", 32]
        words += ["--unfreeze", 1, "--output", self.output, "--overwrite", "--seed", 3]
        command = [sys.executable, "-c", DRIVER, what, count, when, number, *words]
        return subprocess.run(
            list(map(str, command)),
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
            cwd=cwd or self.root / "work",
        )

    def metrics(self) -> Any:
        """The numbers of the report."""
        text = (self.output / "report" / "report.json").read_text(encoding="utf-8")
        return json.loads(text)["metrics"]

    def litter(self) -> list[str]:
        """What should have gone."""
        kept = self.output.with_name(f".{self.output.name}.partial-training")  # to go on from
        found = [p for p in self.root.rglob("*") if ".partial-" in p.name or "new-" in p.name]
        found += [p for p in (self.root / "tmp").iterdir() if not p.name.startswith(_TENSORFLOWS)]
        found += [p for p in (self.root / "work").iterdir() if p != self.output]
        if not (self.output / "training.json").exists():
            found = [p for p in found if p != kept]
        return sorted({str(p.relative_to(self.root)) for p in found})

    def answers(self, model: Path | None = None) -> bool:
        """Whether the model that an interrupted run left gives an answer."""
        model = model or self.output / "interrupted.keras"
        command = [sys.executable, "-m", "tfhub_transfer", "predict", str(model)]
        done = subprocess.run(
            command,
            env=self.environment,
            input="where is my parcel\n",
            capture_output=True,
            text=True,
            check=False,
        )
        return done.returncode == 0 and '"label"' in done.stdout


def killed(name: str, reference: Any) -> dict[str, Any]:
    """One kill -9, and the same command again."""
    place = Place()
    if "aside" in name or "in place" in name:  # there must be something to replace
        assert place.train().returncode == 0
    first = place.train(*MOMENTS[name], signal.SIGKILL)
    whole = not place.output.exists() or (place.output / "training.json").exists()
    second = place.train()
    row = {
        "end": "kill -9",
        "moment": name,
        "died": first.returncode == -signal.SIGKILL,
        "nothing half-written": whole,
        "next run": second.returncode == 0,
        "same numbers": second.returncode == 0 and place.metrics() == reference,
        "litter": place.litter(),
    }
    shutil.rmtree(place.root)
    return row


def signalled(number: int, name: str) -> dict[str, Any]:
    """One signal."""
    place = Place()
    done = place.train(*MOMENTS[name], number)
    row = {
        "end": signal.Signals(number).name,
        "moment": name,
        "died": done.returncode == 128 + number,
        "model answers": place.answers(),
        "litter": place.litter(),
    }
    shutil.rmtree(place.root)
    return row


def main() -> None:
    """Prints a line for each end and writes them all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="*", default=[""], help="words; others stay as found")
    only = parser.parse_args().only
    for number in SIGNALS:  # in the background some are ignored, and what is ignored stays so
        signal.signal(number, signal.SIG_DFL)
    place = Place()
    done = place.train()
    assert done.returncode == 0, done.stderr
    reference = place.metrics()
    rows = json.loads(RESULTS.read_text(encoding="utf-8"))["rows"] if RESULTS.exists() else []

    def keep(row: dict[str, Any]) -> None:
        same = ("end", "moment")
        rows[:] = [r for r in rows if any(r[key] != row[key] for key in same)] + [row]
        print(row, flush=True)
        found = {"machine": harness.machine(), "rows": rows}
        RESULTS.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")

    for name in MOMENTS:
        if any(word in f"kill -9 {name}" for word in only):
            keep(killed(name, reference))
    for number in SIGNALS:
        for name in SIGNALLED:
            if any(word in f"{number.name} {name}" for word in only):
                keep(signalled(number, name))
    good = sum(all(v is not False for v in r.values()) and not r["litter"] for r in rows)
    print(f"{good} of {len(rows)} ends as they should be")


if __name__ == "__main__":
    main()
