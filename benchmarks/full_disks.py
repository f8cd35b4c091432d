"""Training on disks that are full, fill up, or can't be written.

    python benchmarks/full_disks.py [--only WORDS ...]

Each row trains the packaged sample by command, with a small disk in memory (tmpfs, so it needs
root, or `unshare --map-root-user --mount`) under the output, the cache or the temporary folder.
What can be known before training is refused before it, in one line. What fills later loses nothing:
the model as trained so far answers, wherever it was kept. No scratch stays anywhere. A cache that
can't be written is off, with a warning. Writes `benchmarks/full_disks.json`.
"""

import argparse
import contextlib
import dataclasses
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import harness
from sudden_ends import MOMENTS, Place

RESULTS = Path(__file__).with_suffix(".json")
# What it says when it is imported before the command is, as a moment may need.
TENSORFLOWS = re.compile(r"WARNING: All log messages before|[IWE]\d{4} ")
KEPT = re.compile(r"the model as trained so far is in (\S+); ask it")


@dataclasses.dataclass(frozen=True)
class Case:
    """What is small, or read-only, and what is expected.

    Args:
        disk: The folder that is a disk of its own: `work`, where the output lies, `cache`, `tmp`.
        size: Its megabytes.
        fills: When it fills, a moment as in `sudden_ends.py`; it is never full if not given.
        read_only: Whether it can't be written.
        ends: `refused`, before any training; `kept`, the model in another place or in the output;
            `warned`, done, with a warning; `done`, without one.
    """

    disk: str
    size: int
    ends: str
    fills: tuple[str, int, str] | None = None
    read_only: bool = False


BEFORE_SAVING = ("tfhub_transfer.storage.saving.save", 1, "before")
CASES = {
    "hardly any room for the output": Case("work", 10, "refused"),
    "less room than the model needs": Case("work", 60, "refused"),
    "output on a read-only disk": Case("work", 1000, "refused", read_only=True),
    "output's disk fills in training": Case("work", 1000, "kept", BEFORE_SAVING),
    "output's disk fills while the model is saved": Case(
        "work", 1000, "kept", MOMENTS["the model half written"]
    ),
    "output's disk fills in the evaluation": Case(
        "work", 1000, "kept", MOMENTS["in the evaluation"]
    ),
    "output's disk fills in the export": Case("work", 1000, "kept", MOMENTS["in the export"]),
    "output's disk fills in the report": Case("work", 1000, "kept", MOMENTS["in the report"]),
    # Python takes another folder then.
    "temporary folder read-only": Case("tmp", 10, "done", read_only=True),
    "temporary folder's disk fills in training": Case("tmp", 100, "kept", BEFORE_SAVING),
    "cache on a read-only disk": Case("cache", 10, "warned", read_only=True),
    "cache on a small disk": Case("cache", 10, "warned"),
    "cache's disk fills before the first vector": Case(
        "cache", 2000, "warned", MOMENTS["before the first vector"]
    ),
}


@contextlib.contextmanager
def mounted(folder: Path, case: Case) -> Iterator[None]:
    """The folder as a disk of its own."""
    options = f"size={case.size}m,mode=0755" + (",ro" if case.read_only else "")
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "none", folder], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", folder], check=True)


def tried(name: str, case: Case) -> dict[str, Any]:
    """One run."""
    place = Place()
    home = place.root / "home"
    home.mkdir()
    place.environment["HOME"] = str(home)
    place.environment["FILL"] = str(place.root / case.disk)
    with mounted(place.root / case.disk, case):
        done = place.train(*(case.fills or ()), cwd=home)
        told = [line for line in done.stderr.splitlines() if line.strip()]
        told = [line for line in told if not TENSORFLOWS.match(line)]
        kept = KEPT.search(done.stderr)
        model = Path(kept.group(1)) if kept else None
        with contextlib.suppress(OSError):
            (place.root / case.disk / "filler").unlink()
        where = None
        if model is not None:
            where = "the output" if model.is_relative_to(place.output) else "another place"
        found = {
            "case": name,
            "status": done.returncode,
            "said": [line.replace(f"{place.root}/", "")[:300] for line in told[-5:]],
            "trained": "Written to" in done.stdout or model is not None,
            "kept in": where,
            "answers": model is not None and place.answers(model),
            "litter": place.litter(),
        }
    shutil.rmtree(place.root)
    return {**found, "as it should be": is_right(case, found, told)}


def is_right(case: Case, found: dict[str, Any], told: list[str]) -> bool:
    """Whether a run ended as its case expects."""
    ends = {
        "refused": found["status"] == 2 and not found["trained"] and len(told) == 1,
        "kept": found["status"] == 2 and found["answers"] and len(told) == 2,
        "done": found["status"] == 0 and found["trained"] and not told,
        "warned": found["status"] == 0 and any("the cache is off" in line for line in told),
    }
    return ends[case.ends] and not found["litter"]


def main() -> None:
    """Prints a line for each case and writes them all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="*", default=[""], help="words; others stay as found")
    only = parser.parse_args().only
    rows = json.loads(RESULTS.read_text(encoding="utf-8"))["rows"] if RESULTS.exists() else []
    for name, case in CASES.items():
        if any(word in name for word in only):
            row = tried(name, case)
            rows = [other for other in rows if other["case"] != name] + [row]
            print(row, flush=True)
            found = {"machine": harness.machine(), "rows": rows}
            RESULTS.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print(f"{sum(row['as it should be'] for row in rows)} of {len(rows)} as they should be")


if __name__ == "__main__":
    main()
