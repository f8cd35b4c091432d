"""Tagged words asked as lists, as texts in the words' own spelling, and as exports: what is found?

    python benchmarks/segmentation.py --data-folder DATA

For each data set the packaged encoder, fine-tuned on 3,000 rows; all in float32. Entity F1
(accuracy of words, for parts of speech) by the report; of `predict_text` asked with lists of words;
of the export asked with them; and of plain texts, by the places of entities (of words with their
tags), once with what is one word learned from the training data and once with every sign of
punctuation a word. WNUT 17 has no plain texts: its words are put together as English is written.

`--calls` measures only what a call of `predict_text` with one sentence costs, in turns: operation
by operation, as the first calls go, and as the graphs that it becomes when it is called again.
"""

import argparse
import json
import os
import re
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import keras

import tfhub_transfer as tt
from tfhub_transfer.runtime import tracing
from tfhub_transfer.tasks import segmentation
from tfhub_transfer.tasks.tagging import schemes
from tfhub_transfer.texts import joining

OUTPUT = Path(__file__).with_suffix(".json")
SETS = ("wnut17", "ud_english_ewt")
ROWS = 3000

Spans = set[tuple[str, int, int]]


def main() -> None:
    """Measures, prints a table and writes it as JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data-folder", type=Path, default=os.environ.get("BENCH_DATA"))
    parser.add_argument("--calls", action="store_true", help="measure calls only")
    options = parser.parse_args()
    if options.calls:
        found = json.loads(OUTPUT.read_text("utf-8"))
        found["calls"] = calls()
        OUTPUT.write_text(json.dumps(found, indent=1) + "\n", "utf-8")
        print(*(f"{key:<50}{value}" for key, value in found["calls"].items()), sep="\n")
        return
    if not options.data_folder:
        parser.error("give --data-folder, or set BENCH_DATA")
    found = {"versions": tt.runtime.versions(), "sets": {}, "calls": calls()}
    for name in SETS:
        with tt.runtime.precision("float32"):
            found["sets"][name] = row = measure(Path(options.data_folder) / name)
        print(name, *(f"  {key:<50}{value}" for key, value in row.items()), sep="\n", flush=True)
        OUTPUT.write_text(json.dumps(found, indent=1) + "\n", "utf-8")


def calls(times: int = 30) -> dict[str, Any]:
    """Medians of seconds that a call takes, both ways in turns."""
    words = [["Anna", "did", "n't", "live", "in", "the", "U.S."], ["It", "cost", "1,000", "."]]
    train = tt.data.Examples.from_lists(words * 5, [["O"] * len(row) for row in words] * 5)
    task = tt.tasks.TokenClassification().adapt([["O", "B-place"]])
    taken: dict[int, list[float]] = {10**9: [], 0: []}
    models = {eager: tt.build_model("auto", task) for eager in taken}
    for turn in range(times + 3):
        for tracing.EAGER_CALLS, seconds in taken.items():
            model = models[tracing.EAGER_CALLS]
            model.layout.learn(train)
            started = time.perf_counter()
            model.predict_text(["Anna didn't live in the U.S. for 1,000 days, I think."])
            if turn >= 3:
                seconds.append(time.perf_counter() - started)
    one, other = (statistics.median(seconds) for seconds in taken.values())
    return {
        "operation by operation, ms": round(1000 * one, 1),
        "as graphs, ms": round(1000 * other, 1),
        "ratio": round(one / other, 1),
    }


def measure(folder: Path) -> dict[str, Any]:
    """Trains on one data set and asks in all forms."""
    keras.utils.set_random_seed(0)
    train, validation, test = (
        tt.data.read(next(folder.glob(f"{part}.jsonl*")))
        for part in ("train", "validation", "test")
    )
    train = train[:ROWS]
    task = tt.tasks.TokenClassification().adapt(train.labels)
    known = set(task.class_names or [])
    validation, test = (
        part[[set(tags) <= known for tags in part.labels]] for part in (validation, test)
    )
    model = tt.build_model("auto", task)
    tt.fine_tune(model, train, validation, epochs=3, plan=tt.Plan(verbose=0))
    words = [joining.split_words(text) for text in test.texts[0]]
    texts = plain_texts(folder, words)
    started = time.perf_counter()
    learned = segmentation.learn(map(joining.split_words, train.texts[0]))
    seconds = time.perf_counter() - started
    metrics = tt.evaluate(model, test, baselines=False).metrics
    key = "f1" if task.scheme else "accuracy"
    answers = model.predict_text(words)
    row = {
        "rows": len(test),
        f"report, {key}": metrics[key],
        f"asked with lists of words, {key}": asked(answers, words, test.labels, task.scheme),
        f"the export asked with them, {key}": served(model, words, test.labels),
        "words learned": len(learned.words) + len(learned.shapes),
        "seconds to learn them": round(seconds, 2),
    }
    for title, task.segmentation in (("learned", learned), ("every sign a word", None)):
        answers = model.predict_text(texts)
        right = sum(
            [word["text"] for word in answer["words"]] == own for answer, own in zip(answers, words)
        )
        row[f"plain texts, {title}: texts with the same words"] = right / len(texts)
        row[f"plain texts, {title}: f1 by places"] = by_places(
            answers, texts, words, test.labels, task.scheme
        )
    return row


def plain_texts(folder: Path, words: list[list[str]]) -> list[str]:
    """Texts of words as English is written; those of the file, where it has them."""
    lines = (folder / "test.jsonl").read_text("utf-8").splitlines()
    known = {tuple(row["tokens"]): row.get("text") for row in map(json.loads, lines)}
    return [known.get(tuple(row)) or spelled(" ".join(row)) for row in words]


def spelled(text: str) -> str:
    """Without the spaces that no writer puts before punctuation, `'s` and `n't`."""
    text = re.sub(r" ([.,!?;:)\]%]|n't\b|'(?:s|re|ve|ll|d|m)\b)", r"\1", text)
    return re.sub(r"([(\[$]) ", r"\1", text)


def served(model: tt.TransferModel, words: list[list[str]], labels: Any) -> float:
    """The same of an export, by its tags."""
    with tempfile.TemporaryDirectory() as folder:
        loaded = tt.load_saved_model(tt.export_saved_model(model, folder, "float32"))
        found = loaded.predict(words)
    answers = [
        {"words": [{"tag": tag.decode()} for tag in tags[:count]]}
        for tags, count in zip(found["tag"], found["word_count"])
    ]
    return asked(answers, words, labels, model.task.scheme)


def asked(answers: list[Any], words: Any, labels: Any, scheme: str | None) -> float:
    """Entity F1, or accuracy, by the numbers of words."""
    made = [[word["tag"] for word in answer["words"]] for answer in answers]
    if any(len(tags) != len(row) for tags, row in zip(made, words)):
        raise AssertionError("answers have other words than were asked")
    if scheme is None:
        pairs = [pair for a, b in zip(made, labels) for pair in zip(a, b)]
        return sum(a == b for a, b in pairs) / len(pairs)
    return f1([(set(schemes.entities(a)), set(schemes.entities(b))) for a, b in zip(made, labels)])


def by_places(
    answers: list[Any], texts: list[str], words: Any, labels: Any, scheme: str | None
) -> float:
    """F1 of entities, or of words with their tags, by their places in the texts."""
    pairs = []
    for answer, text, row, tags in zip(answers, texts, words, labels):
        places = places_of(text, row)
        if scheme is None:
            wanted = {(tag, *place) for tag, place in zip(tags, places)}
            given = {(w["tag"], w["start"], w["end"]) for w in answer["words"]}
        else:
            found = schemes.entities(tags)
            wanted = {(kind, places[a][0], places[b - 1][1]) for kind, a, b in found}
            given = {(e["type"], e["start"], e["end"]) for e in answer["entities"]}
        pairs.append((given, wanted))
    return f1(pairs)


def places_of(text: str, words: list[str]) -> list[tuple[int, int]]:
    """Where each word stands."""
    places, start = [], 0
    for word in words:
        start = text.index(word, start)
        places.append((start, start + len(word)))
        start += len(word)
    return places


def f1(pairs: list[tuple[Spans, Spans]]) -> float:
    """Of what is given against what is wanted."""
    hits = sum(len(a & b) for a, b in pairs)
    return 2 * hits / sum(len(a) + len(b) for a, b in pairs)


if __name__ == "__main__":
    main()
