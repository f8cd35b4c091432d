"""Memory of one process: builds and trainings one after the other, and rows that are streamed.

python benchmarks/memory.py [fits|stream] [--rows 10000 1000000]

Each measurement is a process of its own. `fits`: the resident memory after each of 30 builds and
trainings. `stream`: the peak of training, evaluation and answers on a file of so many rows, and the
seconds of each.
"""

import argparse
import gc
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).parent
FITS = 30
WORDS = (
    "a the film plot cast sound was is good bad dull bright long short and but very never".split()
)


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", nargs="?", choices=("fits", "stream"))
    parser.add_argument("--rows", type=int, nargs=2, default=(10_000, 1_000_000))
    parser.add_argument("--fits", type=int, default=FITS)
    parser.add_argument("--kind", help="of one measurement, in a process of its own")
    options = parser.parse_args()
    if options.kind:
        print(json.dumps(_measure(options)), flush=True)
        return
    found = json.loads(_results().read_text("utf-8")) if _results().exists() else {}
    if options.what in (None, "fits"):
        for encoder in ("bert", "auto"):
            for unfreeze in ("none", "all"):
                run = _run("fits", f"{encoder} {unfreeze}", "--fits", str(options.fits))
                found[f"fits, {encoder}, {unfreeze}"] = run
                third, last = run["mb"][2], run["mb"][-1]
                print(f"{encoder}, {unfreeze}: {third:.0f} MB, {last - third:+.0f} MB", flush=True)
    if options.what in (None, "stream"):
        for kind in ("frozen", "thawed", "predict", "evaluate"):
            runs = [_run("stream", kind, "--rows", str(n), str(n)) for n in options.rows]
            found[f"stream, {kind}"] = dict(zip(map(str, options.rows), runs))
            few, many = runs
            slope = many["seconds"] / few["seconds"] / (options.rows[1] / options.rows[0])
            more = many["mb"] - few["mb"]
            print(f"{kind}: {few['mb']:.0f} MB, {more:+.0f} MB, {slope:.2f} x the time a row")
    _results().write_text(json.dumps(found, indent=1) + "\n", "utf-8")


def _results() -> Path:
    return HERE / "memory.json"


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
        return _stream(options.kind, options.rows[0], Path(work))


def _text(chance: random.Random) -> tuple[str, str]:
    words = chance.choices(WORDS, k=chance.randint(4, 12))
    return " ".join(words), "positive" if "good" in words or "bright" in words else "negative"


def _fits(name: str, unfreeze: str, count: int, work: Path) -> list[float]:
    import tfhub_transfer as tt

    encoder = name if name == "auto" else _tiny_bert(work)
    chance = random.Random(0)
    examples = tt.data.Examples.from_lists(*map(list, zip(*[_text(chance) for _ in range(64)])))
    found = []
    for _ in range(count):
        model = tt.build_model(encoder, tt.tasks.Classification(["negative", "positive"]))
        plan = tt.Plan(verbose=0, head_epochs=2)
        tt.fine_tune(model, examples[:48], examples[48:], 1, unfreeze, plan=plan)
        del model
        gc.collect()
        pages = int(Path("/proc/self/statm").read_text("ascii").split()[1])
        found.append(pages * os.sysconf("SC_PAGE_SIZE") / 1e6)
        print(f"  {name} {unfreeze} {found[-1]:.0f}", file=sys.stderr, flush=True)
    return found


def _tiny_bert(work: Path) -> str:
    sys.path.insert(0, str(HERE.parent / "tests"))
    import saved_model_factory

    return str(saved_model_factory.write_bert_encoder(work / "bert"))


def _stream(kind: str, rows: int, work: Path) -> dict:
    import tfhub_transfer as tt

    chance = random.Random(0)
    with open(work / "rows.csv", "w", encoding="utf-8") as file:
        file.write("text,label\n")
        for _ in range(rows):
            file.write(",".join(_text(chance)) + "\n")
    judged = tt.data.Examples.from_lists(*map(list, zip(*[_text(chance) for _ in range(200)])))
    stream = tt.data.stream(work / "rows.csv", text="text", label="label")
    model = tt.build_model("auto", tt.tasks.Classification(["negative", "positive"]))
    started = time.perf_counter()
    if kind in ("frozen", "thawed"):
        plan = tt.Plan(verbose=0, head_epochs=1)
        unfreeze = "none" if kind == "frozen" else "all"
        tt.fine_tune(model, stream, judged, 1, unfreeze, 64, plan=plan)
    elif kind == "evaluate":
        model.evaluate(model.preprocess(stream, 64, shuffle=False), verbose=0)
    else:
        for chunk in stream:
            model.predict_text(list(chunk.texts[0]))
    seconds = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    return {"mb": peak, "seconds": seconds}


if __name__ == "__main__":
    main()
