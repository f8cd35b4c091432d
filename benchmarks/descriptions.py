"""What descriptions of classes are worth beside few labels, and what judges whether they are kept.

    python benchmarks/descriptions.py --seeds 3

Each seed draws `--shots` training rows a class, and two a class to judge by; 1,000 rows of the test
split measure. Linear heads on unit vectors of the frozen encoder learn from the rows alone, and
with the descriptions at several weights; `start` is the head that those make by themselves, by
cosine, with no label. `kept` is what `train --descriptions` would take. With `--heads` `head` has
the numbers of the head that training makes, without and with. The classes of Banking77 are
described by their names. One line a cell is appended to `descriptions.jsonl`; `--table` shows means
over seeds.
"""

import dataclasses
import statistics
from pathlib import Path
from typing import Any

import few_shot
import harness
import numpy as np

import tfhub_transfer as tt
from tfhub_transfer.jobs.trainings import pseudo_labelling
from tfhub_transfer.recipes import class_descriptions, pseudo_labels
from tfhub_transfer.tasks import nearness

RESULTS = Path(__file__).parent / "descriptions.jsonl"
SHOTS, WEIGHTS = (1, 4, 8), (0.5, 1.0, 2.0, 4.0, 8.0)
DESCRIBED = {
    "sst2": {
        "negative": ["a bad film, boring, stupid and a waste of time", "I hated it"],
        "positive": ["a great film, moving, funny and well made", "I loved it"],
    },
    "ag_news": {
        "World": ["world news: politics, wars, elections and governments"],
        "Sports": ["sports: games, teams, players and championships"],
        "Business": ["business: companies, markets, prices and the economy"],
        "Sci/Tech": ["science and technology: computers, software, the internet and research"],
    },
}


def run(name: str, shots: int, seed: int, options: Any) -> dict[str, Any]:
    """One cell."""
    splits = few_shot.read(options.data_folder, name, shots, seed)
    task = tt.tasks.Classification().adapt(splits[0].labels)
    names = task.class_names or []
    told = DESCRIBED.get(name) or {each: [each.replace("_", " ")] for each in names}
    texts = [text for each in names for text in told[each]]
    classes = np.array([at for at, each in enumerate(names) for _ in told[each]])
    model = tt.build_model(options.encoder or "auto", task)
    described = nearness.unit(model.encode_text(texts))
    known, judges, asked = (
        (nearness.unit(model.compute_features(e)), np.asarray(task.encode(e.labels)))
        for e in splits
    )
    accuracy = {"without": _accuracy(known, described, None, asked)}
    whole = class_descriptions.as_labels(classes)
    for weight in WEIGHTS:
        share = whole.confidences * weight / class_descriptions.WEIGHT
        labels = dataclasses.replace(whole, confidences=share)
        accuracy[str(weight)] = _accuracy(known, described, labels, asked)
    means = np.array([described[classes == at].mean(axis=0) for at in range(len(names))])
    start = float(((asked[0] @ nearness.unit(means).T).argmax(axis=1) == asked[1]).mean())
    found = class_descriptions.judge(known, (described, classes), judges, seed)
    heads = []
    if options.heads:
        more = pseudo_labelling.with_labels(splits[0], [(t,) for t in texts], whole, names)
        for own in (splits, [more, *splits[1:]]):
            tt.runtime.seed_everything(seed)
            own_model = tt.build_model(options.encoder or "auto", task)
            heads.append(few_shot.measured(own_model, own, seed)["head"])
    return {
        "data": name,
        "shots": shots,
        "seed": seed,
        "start": start,
        "accuracy": accuracy,
        "judged": [found.without, found.right, found.asked],
        "head": heads,
    }


def _accuracy(known: Any, described: np.ndarray, labels: Any, asked: Any) -> float:
    head = pseudo_labels.learned(*known, described, labels)
    return float((head.predict(asked[0]) == asked[1]).mean())


def table(lines: list[dict[str, Any]]) -> None:
    """Means over seeds."""
    heads = ("data, texts a class", "seeds", "no label", "without", *map(str, WEIGHTS))
    print(f"| {' | '.join(heads)} | kept | head: without | with | kept |")
    print("|---" * (len(heads) + 4) + "|")
    for name, shots in dict.fromkeys((each["data"], each["shots"]) for each in lines):
        own = [each for each in lines if (each["data"], each["shots"]) == (name, shots)]
        kept = [each["judged"][1] > each["judged"][0] for each in own]
        columns = [[each["start"] for each in own]]
        columns += [[e["accuracy"][way] for e in own] for way in own[0]["accuracy"]]
        cells = [f"{statistics.mean(column):.3f}" for column in columns]
        cells.append(f"{sum(kept)} of {len(own)}")
        heads_of = [
            (*each["head"], each["head"][took]) for each, took in zip(own, kept) if each["head"]
        ]
        cells += [f"{statistics.mean(column):.3f}" for column in zip(*heads_of)] or [""] * 3
        print(f"| {name}, {shots} | {len(own)} | {' | '.join(cells)} |")


def main() -> None:
    """Runs what isn't there, or shows what is."""
    parser = harness.arguments(__doc__)
    parser.add_argument("--heads", action="store_true", help="those of training, too")
    parser.add_argument("--job", choices=few_shot.DATA, action="append")
    options, there = harness.goes_on(parser, RESULTS)
    if options.table:
        table(there)
        return
    known = {(line["data"], line["shots"], line["seed"]) for line in there}
    for seed in range(options.seeds):
        for name in options.job or few_shot.DATA:
            for shots in SHOTS:
                if (name, shots, seed) not in known:
                    harness.note(RESULTS, run(name, shots, seed, options))


if __name__ == "__main__":
    main()
