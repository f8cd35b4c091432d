"""Memory of one process: builds and trainings one after the other, and rows that are streamed.

python benchmarks/memory.py [fits|stream|export] [--only KIND] [--rows 10000 100000 1000000]

Each measurement is a process of its own. `fits`: the resident memory after each of 30 builds and
trainings. `stream`: the peak of training, evaluation and answers on a file of so many rows, the
seconds of each, and those of the processor, which other work beside disturbs less. `export`, only
where it is asked for, since it takes an `--encoder` of some size: the memory before an export, its
peak, and what is left of it.
"""

import argparse
import ctypes
import gc
import itertools
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

HERE = Path(__file__).parent
RESULTS = HERE / "memory.json"
FITS = 30
KINDS = {
    "fits": ("bert none", "bert all", "auto none", "auto all"),
    "stream": ("frozen", "thawed", "predict", "evaluate"),
    "export": ("float32", "bfloat16"),
}
WORDS = (
    "a the film plot cast sound was is good bad dull bright long short and but very never".split()
)


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", nargs="?", choices=tuple(KINDS))
    parser.add_argument("--rows", type=int, nargs="+", default=(10_000, 100_000, 1_000_000))
    parser.add_argument("--fits", type=int, default=FITS)
    parser.add_argument("--encoder", default="bert", help="bert, auto or, to export, a folder")
    parser.add_argument("--only", help="one kind, such as frozen or 'bert all'")
    parser.add_argument("--kind", help="of one measurement, in a process of its own")
    options = parser.parse_args()
    if options.kind:
        print(json.dumps(_measure(options)), flush=True)
        return
    measures = {"fits": _of_fits, "stream": _of_stream, "export": _of_export}
    for what in [options.what] if options.what else ("fits", "stream"):
        for kind in [options.only] if options.only else KINDS[what]:
            measures[what](kind, options)


def _of_fits(kind: str, options: argparse.Namespace) -> None:
    run = _run("fits", kind, "--fits", str(options.fits))
    third, last = run["mb"][2], run["mb"][-1]
    print(f"{kind}: {third:.0f} MB, {last - third:+.0f} MB", flush=True)
    _note(f"fits, {kind}", run)


def _of_stream(kind: str, options: argparse.Namespace) -> None:
    name = f"stream, {options.encoder}, {kind}"
    runs: dict[int, dict] = {}
    for rows in options.rows:
        runs[rows] = run = _run("stream", kind, "--rows", str(rows), "--encoder", options.encoder)
        more = run["mb"] - runs[options.rows[0]]["mb"]
        said = f"{run['mb']:.0f} MB ({more:+.0f}), {run['seconds']:.0f} s, {run['cpu']:.0f} s CPU"
        print(f"{name}, {rows:,} rows: {said}", flush=True)
        _note(name, {**_known().get(name, {}), str(rows): run})
    for clock in ("seconds", "cpu"):
        # What a row costs between two numbers of rows: building and tracing is in both.
        known = sorted(runs)
        each = [
            (runs[b][clock] - runs[a][clock]) / (b - a) * 1e6 for a, b in itertools.pairwise(known)
        ]
        print(f"{name}, {clock} a million rows more: " + ", ".join(f"{v:.0f}" for v in each))


def _of_export(kind: str, options: argparse.Namespace) -> None:
    run = _run("export", kind, "--encoder", options.encoder)
    print(f"export, {kind}: " + ", ".join(f"{k} {v:.1f}" for k, v in run.items()), flush=True)
    _note(f"export, {kind}", run)


def _note(name: str, found: dict) -> None:
    """Into the file as it is now: a run of another kind may have ended meanwhile."""
    RESULTS.write_text(json.dumps({**_known(), name: found}, indent=1) + "\n", "utf-8")


def _known() -> dict:
    return json.loads(RESULTS.read_text("utf-8")) if RESULTS.exists() else {}


def _run(what: str, kind: str, *more: str) -> dict:
    command = [sys.executable, __file__, what, "--kind", kind, *more]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def _measure(options: argparse.Namespace) -> dict:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with tempfile.TemporaryDirectory() as work:
        os.environ["TFHUB_TRANSFER_CACHE_DIR"] = str(Path(work) / "cache")
        if options.what == "fits":
            return {"mb": _fits(*options.kind.split(), options.fits, Path(work))}
        if options.what == "export":
            return _export(options.kind, options.encoder, Path(work))
        return _stream(options.kind, options.encoder, options.rows[0], Path(work))


def _text(chance: random.Random) -> tuple[str, str]:
    words = chance.choices(WORDS, k=chance.randint(4, 12))
    return " ".join(words), "positive" if "good" in words or "bright" in words else "negative"


def _fits(name: str, unfreeze: str, count: int, work: Path) -> list[float]:
    import tfhub_transfer as tt

    encoder = _encoder(name, work)
    chance = random.Random(0)
    examples = tt.data.Examples.from_lists(*map(list, zip(*[_text(chance) for _ in range(64)])))
    found = []
    for _ in range(count):
        model = tt.build_model(encoder, tt.tasks.Classification(["negative", "positive"]))
        plan = tt.Plan(verbose=0, head_epochs=2)
        tt.fine_tune(model, examples[:48], examples[48:], 1, unfreeze, plan=plan)
        del model
        gc.collect()
        found.append(_resident())
        print(f"  {name} {unfreeze} {found[-1]:.0f}", file=sys.stderr, flush=True)
    return found


def _encoder(name: str, work: Path) -> str:
    """The tests' BERT of 2 layers of 16, whose steps take no time, or one by its name or folder."""
    if name != "bert":
        return name
    sys.path.insert(0, str(HERE.parent / "tests"))
    import saved_model_factory

    return str(saved_model_factory.write_bert_encoder(work / "bert"))


def _stream(kind: str, encoder: str, rows: int, work: Path) -> dict:
    import tfhub_transfer as tt

    chance = random.Random(0)
    with open(work / "rows.csv", "w", encoding="utf-8") as file:
        file.write("text,label\n")
        for _ in range(rows):
            file.write(",".join(_text(chance)) + "\n")
    judged = tt.data.Examples.from_lists(*map(list, zip(*[_text(chance) for _ in range(200)])))
    stream = tt.data.stream(work / "rows.csv", text="text", label="label")
    model = tt.build_model(
        _encoder(encoder, work), tt.tasks.Classification(["negative", "positive"])
    )
    model.predict_text(list(judged.texts[0]))  # traced, as what trains is in any case
    before, spent = time.perf_counter(), time.process_time()
    with _sampled() as samples:
        if kind in ("frozen", "thawed"):
            plan = tt.Plan(verbose=0, head_epochs=1)
            unfreeze = "none" if kind == "frozen" else "all"
            tt.fine_tune(model, stream, judged, 1, unfreeze, 64, plan=plan)
        elif kind == "evaluate":
            model.evaluate(model.preprocess(stream, 64, shuffle=False), verbose=0)
        else:
            for chunk in stream:
                model.predict_text(list(chunk.texts[0]))
    seconds, cpu = time.perf_counter() - before, time.process_time() - spent
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3 * 1.024
    tenths = [max(samples[n * len(samples) // 10 :][: -(-len(samples) // 10)]) for n in range(10)]
    return {"mb": peak, "seconds": seconds, "cpu": cpu, "mb_by_tenths": tenths}


def _export(precision: str, encoder: str, work: Path) -> dict[str, float]:
    """Megabytes and seconds; before and after, the pages that were freed are given back."""
    import tfhub_transfer as tt

    model = tt.build_model(
        _encoder(encoder, work), tt.tasks.Classification(["negative", "positive"])
    )
    before = _given_back()
    Path("/proc/self/clear_refs").write_text("5", "ascii")  # the peak is what is held now
    started = time.perf_counter()
    folder = tt.export_saved_model(model, work / "serving", precision)
    seconds = time.perf_counter() - started
    lines = Path("/proc/self/status").read_text("ascii").splitlines()
    [peak] = [int(line.split()[1]) / 1e3 * 1.024 for line in lines if line.startswith("VmHWM")]
    sizes = [path.stat().st_size for path in folder.rglob("*") if path.is_file()]
    return {
        "before": before,
        "peak": peak,
        "left": _given_back() - before,
        "files": sum(sizes) / 1e6,
        "seconds": seconds,
    }


def _given_back() -> float:
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    return _resident()


@contextmanager
def _sampled() -> Iterator[list[float]]:
    """The resident memory while the body runs, twice a second."""
    found, over = [_resident()], threading.Event()

    def sample() -> None:
        while not over.wait(0.5):
            found.append(_resident())

    thread = threading.Thread(target=sample, daemon=True)
    thread.start()
    try:
        yield found
    finally:
        over.set()
        thread.join()


def _resident() -> float:
    pages = int(Path("/proc/self/statm").read_text("ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


if __name__ == "__main__":
    main()
