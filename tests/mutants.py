"""Breaks the package in one place at a time and sees whether a test fails: `make mutants`.

The ways to break it are data, in `mutants.toml`. Each is tried in a copy of the checkout, with the
test files that it names; what survives is printed last, and makes the exit status 1.

    python tests/mutants.py [--only WORD] [--jobs N] [--output FILE.json]
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[1]
LIST = Path(__file__).with_name("mutants.toml")
# A mutant may loop for ever.
MOST_SECONDS = 600
# What is tried first, and what only if nothing failed so far.
_IN_TURN = ("not slow", "slow and not exhaustive", "slow and exhaustive")
_A_TEST_FAILED, _NO_TEST_RAN, _NO_END = 1, 5, 124


def read() -> list[dict[str, Any]]:
    """All mutants, each a dictionary with `file`, `breaks`, `old`, `new` and `tests`."""
    return tomllib.loads(LIST.read_text(encoding="utf-8"))["mutant"]


def mutated(source: str, mutant: dict[str, Any]) -> str:
    """A module's source, broken.

    Raises:
        ValueError: If the piece to be replaced doesn't occur exactly once.
    """
    count = source.count(mutant["old"])
    if count != 1:
        raise ValueError(
            f"{mutant['file']} ({mutant['breaks']}): `old` must occur once. Received: {count} times"
        )
    return source.replace(mutant["old"], mutant["new"])


def attempt(mutant: dict[str, Any], tests: Path) -> dict[str, Any]:
    """Tries one mutant in a copy of its own; says which test noticed.

    First the tests that always run; the slow ones only if none of those fails, and the exhaustive
    ones, of which some take minutes, only if none of these.

    Args:
        mutant: What to break.
        tests: The folder of the tests, in the checkout that is to be broken.
    """
    started = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="mutant-") as scratch:
        root = _copy(tests.parent, Path(scratch))
        module = root / "tfhub_transfer" / mutant["file"]
        module.write_text(mutated(module.read_text("utf-8"), mutant), encoding="utf-8")
        names = [f"test_{name}.py" for name in mutant["tests"]]
        files = [path for name in names for path in (root / "tests").rglob(name)]
        assert files, f"no test file of {names}"
        for marked in _IN_TURN:
            status, by = _run(root, files, ["-m", marked])
            if status:
                break
    return {
        "file": mutant["file"],
        "breaks": mutant["breaks"],
        "killed": status == _A_TEST_FAILED,
        "by": by,
        "status": status,
        "seconds": round(time.perf_counter() - started, 1),
    }


def _run(root: Path, files: list[Path], options: list[str]) -> tuple[int, str]:
    """The exit status of pytest, and the first test that failed."""
    command = [sys.executable, "-m", "pytest", "-x", "-q", "--tb=no", "-p", "no:cacheprovider"]
    # The copy comes first, whatever is installed.
    data = os.environ.get("TFHUB_TRANSFER_DATA", str(REPOSITORY.parent / "shared" / "data"))
    environment = {**os.environ, "PYTHONPATH": str(root), "TFHUB_TRANSFER_DATA": data}
    try:
        done = subprocess.run(
            [*command, *options, *map(str, files)],
            cwd=root,
            env=environment,
            capture_output=True,
            text=True,
            timeout=MOST_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return _NO_END, "no end"
    failed = [line for line in done.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
    # Nothing selected is nothing failed.
    status = 0 if done.returncode == _NO_TEST_RAN else done.returncode
    return status, failed[0].split(" - ")[0].partition(" ")[2] if failed else ""


def _copy(source: Path, target: Path) -> Path:
    for name in ("tfhub_transfer", "tests"):
        shutil.copytree(source / name, target / name, ignore=shutil.ignore_patterns("__pycache__"))
    for path in source.iterdir():  # the packaged encoders are looked for beside the package
        if path.name not in ("tfhub_transfer", "tests", ".git") and not path.name.startswith(
            ".venv"
        ):
            (target / path.name).symlink_to(path)
    return target


def main() -> int:
    """Tries them all; the exit status is 1 if one survives."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", help="mutants of which file or text have this word")
    parser.add_argument("--jobs", type=int, default=2, help="how many at once")
    parser.add_argument("--output", type=Path, help="write what was found as JSON")
    parser.add_argument("--tests", type=Path, default=REPOSITORY / "tests", help="other tests")
    options = parser.parse_args()
    chosen = [m for m in read() if options.only in f"{m['file']} {m['breaks']}"]
    found = []
    with ThreadPoolExecutor(options.jobs) as workers:
        for result in workers.map(lambda m: attempt(m, options.tests.resolve()), chosen):
            found.append(result)
            mark = "killed  " if result["killed"] else "SURVIVED"
            print(
                f"{mark} {result['seconds']:6.1f} s  {result['file']}: {result['breaks']}",
                flush=True,
            )
            if options.output:
                options.output.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    left = [r for r in found if not r["killed"]]
    print(f"\n{len(found) - len(left)} of {len(found)} mutants killed")
    for result in left:
        print(f"  survived: {result['file']}: {result['breaks']} (status {result['status']})")
    return 1 if left else 0


if __name__ == "__main__":
    sys.exit(main())
