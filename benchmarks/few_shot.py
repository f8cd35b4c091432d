"""Few labels: what drawing texts of a class together is worth, and whether cross-validation knows.

    python benchmarks/few_shot.py --seeds 2

Each seed draws `--shots` training rows a class, and two a class to judge epochs by. Of each cell
the encoder answers the test rows as it is (`off`) and after the stage (`on`): with logistic
regression on its unit vectors, and with the head that `train --unfreeze none` trains. What `auto`
keeps is one or the other, by the cross-validation whose two numbers are recorded. One line a cell
is appended to `few_shot.jsonl`; what is there isn't run again. `--table` shows means over seeds.

With `--peer-python` (one that has setfit) and `--weights` (the encoder's, as Hugging Face has them)
SetFit learns from the same rows, and is asked the same.
"""

import json
import statistics
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import harness
import numpy as np

import tfhub_transfer as tt
from tfhub_transfer import progress
from tfhub_transfer.recipes import contrasts, few_shot
from tfhub_transfer.tasks import nearness

RESULTS = Path(__file__).parent / "few_shot.jsonl"
DATA = ("sst2", "banking77", "ag_news")
# Of the test split, the same for all seeds.
TESTED = 1000
JUDGED = 2


def drawn(examples: tt.data.Examples, count: int, seed: int) -> tt.data.Examples:
    """So many rows of each class."""
    random, labels = np.random.default_rng(seed), np.array(list(map(str, examples.labels)))
    parts = [random.permutation(np.flatnonzero(labels == c))[:count] for c in np.unique(labels)]
    return examples[np.concatenate(parts)]


def read(folder: str, name: str, shots: int, seed: int) -> list[tt.data.Examples]:
    """Rows to train on, to judge by and to test on."""
    found = []
    for split in ("train", "validation", "test"):
        path = next((Path(folder) / name).glob(f"{split}.jsonl*"))
        found.append(tt.data.read(str(path), text="text", label="label"))
    order = np.random.default_rng(0).permutation(len(found[2]))[:TESTED]
    return [drawn(found[0], shots, seed), drawn(found[1], JUDGED, seed), found[2][order]]


def measured(model: tt.TransferModel, splits: list[tt.data.Examples], seed: int) -> dict[str, Any]:
    """Accuracy with logistic regression, and with the head that training makes."""
    train, validation, test = splits
    known, asked = (nearness.unit(model.encode_text(e.texts[0])) for e in (train, test))
    classes, truth = (model.task.encode(e.labels) for e in (train, test))
    regression = float(contrasts.right(known, classes, asked, truth).mean())
    tt.fine_tune(model, train, validation, unfreeze="none", plan=tt.Plan(seed=seed, verbose=0))
    head = float((np.asarray(model.predict_scores(test)).argmax(axis=1) == truth).mean())
    return {"regression": regression, "head": head}


def run(name: str, shots: int, seed: int, options: Any) -> dict[str, Any]:
    """One cell."""
    splits = read(options.data_folder, name, shots, seed)
    task = tt.tasks.Classification().adapt(splits[0].labels)
    tt.runtime.seed_everything(seed)
    model = tt.build_model(options.encoder or "auto", task)
    off = measured(model, splits, seed)
    tt.runtime.seed_everything(seed)
    model = tt.build_model(options.encoder or "auto", task)
    rows = model.cut(splits[0])
    with tt.runtime.precision("auto", model.encoder.dimension):
        made, started = few_shot.Contrast(model, rows, seed), time.process_time()
        with progress.stage("Judging", final=False) as stage:
            judged = made.cross_validated(stage)
            kept = not contrasts.surely_worse(*judged)
            between = time.process_time()
            made.train(np.arange(len(rows)), stage)
    ended = time.process_time()
    on = measured(model, splits, seed)
    return {
        "data": name,
        "shots": shots,
        "seed": seed,
        "off": off,
        "on": on,
        "judged": dict(zip(("off", "on"), (float(each.mean()) for each in judged))),
        "kept": kept,
        "cpu_seconds": {"judging": between - started, "drawing": ended - between},
    }


def set_fit(name: str, shots: int, seed: int, options: Any) -> dict[str, Any]:
    """The peer on the same rows."""
    train, _, test = read(options.data_folder, name, shots, seed)
    classes = sorted({*map(str, train.labels)})
    rows = {
        split: (list(each.texts[0]), [classes.index(str(label)) for label in each.labels])
        for split, each in (("train", train), ("test", test))
    }
    command = [options.peer_python, str(harness.RUNS / "set_fit.py"), "--weights", options.weights]
    done = subprocess.run(
        [*command, "--seed", str(seed)],
        input=json.dumps(rows),
        capture_output=True,
        text=True,
        check=True,
    )
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return {"data": name, "shots": shots, "seed": seed, "peer": found}


def auto(line: dict[str, Any]) -> dict[str, float]:
    """What is kept."""
    found: dict[str, float] = line["on" if line["kept"] else "off"]
    return found


def table(lines: list[dict[str, Any]]) -> None:
    """Means over seeds, by encoder."""
    heads = ("data, texts a class", "seeds", "off", "on", "auto", "kept", "head: off", "on", "auto")
    for encoder in dict.fromkeys(each["encoder"] for each in lines):
        found = [each for each in lines if each["encoder"] == encoder]
        print(f"\n{encoder}\n\n| {' | '.join(heads)} | CPU s | SetFit | CPU s |")
        print("|---" * (len(heads) + 3) + "|")
        for name, shots in dict.fromkeys((each["data"], each["shots"]) for each in found):
            both = [each for each in found if (each["data"], each["shots"]) == (name, shots)]
            own = [each for each in both if "peer" not in each]
            if own:
                cells = _cells(own, [each["peer"] for each in both if "peer" in each])
                print(f"| {name}, {shots} | {len(own)} | {' | '.join(cells)} |")


def _cells(own: list[dict[str, Any]], peers: list[dict[str, float]]) -> list[str]:
    cells = []
    for way in ("regression", "head"):
        three = [[e["off"][way], e["on"][way], auto(e)[way]] for e in own]
        cells += [_shown(column) for column in zip(*three)]
        if way == "regression":
            cells.append(f"{sum(e['kept'] for e in own)}")
    spent = [e["cpu_seconds"] for e in own if "cpu_seconds" in e]
    cells.append(" + ".join(_median(spent, key) for key in ("judging", "drawing")))
    cells.append(_shown([each["accuracy"] for each in peers]))
    return [*cells, _median(peers, "cpu_seconds")]


def _median(found: Sequence[dict[str, float]], key: str) -> str:
    return f"{statistics.median(each[key] for each in found):.0f}" if found else ""


def _shown(found: Sequence[float]) -> str:
    if not found:
        return ""
    spread = f" ± {statistics.stdev(found):.3f}" if len(found) > 1 else ""
    return f"{statistics.mean(found):.3f}{spread}"


def main() -> None:
    """Runs what isn't there, or shows what is."""
    parser = harness.arguments(__doc__)
    parser.add_argument("--shots", type=int, action="append")
    parser.add_argument("--job", choices=DATA, action="append")
    options, there = harness.goes_on(parser, RESULTS)
    if options.table:
        table(there)
        return
    encoder = Path(options.encoder or "packaged").name
    known = {_key(line) for line in there}
    ways = [run, set_fit] if options.peer_python and options.weights else [run]
    for seed in range(options.seeds):
        for shots in options.shots or (8, 16, 64):
            for name in options.job or DATA:
                for way in ways:
                    if (name, shots, seed, encoder, way is set_fit) not in known:
                        line = way(name, shots, seed, options)
                        harness.note(RESULTS, {**line, "encoder": encoder})


def _key(line: dict[str, Any]) -> tuple[Any, ...]:
    return (line["data"], line["shots"], line["seed"], line["encoder"], "peer" in line)


if __name__ == "__main__":
    main()
