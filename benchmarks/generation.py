"""Texts out: a public corpus translated, abstracts summarized: how good, in what time, how fast.

    python benchmarks/generation.py --corpus multi30k --part frozen
    python benchmarks/generation.py --corpus multi30k --part thawed
    python benchmarks/generation.py --corpus multi30k --part speed --keep frozen.keras
    python benchmarks/generation.py --corpus multi30k --part peer --cpu-minutes 20
    python benchmarks/generation.py --corpus scitldr_a --part summaries [--copies]

The corpus is a folder with `train`, `val` and `test` as two files of lines each, `.en` and `.de`:
Multi30k, task 1, raw, test 2016 (https://github.com/multi30k/dataset). Of summaries it is
`train.jsonl.gz`, `validation.jsonl.gz`, `test.jsonl.gz` with `document` and `summaries`, all that
are right: abstracts of SciTLDR (https://github.com/allenai/scitldr). One line a run is appended to
`benchmarks/generation.jsonl`. CPU time is that of the process, all threads together.
"""

import argparse
import datetime
import gzip
import json
import os
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import harness
import numpy as np
import sacrebleu

import tfhub_transfer as tt
from tfhub_transfer.tasks import Search

RESULTS = Path(__file__).parent / "generation.jsonl"
# Beams of each.
SEARCHES = {"greedy": 1, "beam": 4}


def read(folder: Path, split: str, rows: int | None = None) -> tt.data.Examples:
    """One split of the corpus, English to German."""
    sides = [(folder / f"{split}.{x}").read_text("utf-8").split("\n") for x in ("en", "de")]
    pairs = [pair for pair in zip(*sides) if all(pair)][:rows]
    return tt.data.Examples.from_lists(*map(list, zip(*pairs)))


def read_summaries(folder: Path, split: str, rows: int | None = None) -> tt.data.Examples:
    """One split of the abstracts."""
    lines = gzip.decompress((folder / f"{split}.jsonl.gz").read_bytes()).decode("utf-8")
    found = [json.loads(line) for line in lines.splitlines()][:rows]
    return tt.data.Examples.from_lists(
        [row["document"] for row in found], [row["summaries"] for row in found]
    )


def build(train: tt.data.Examples, options: Any) -> tt.TransferModel:
    """The model of a run, which knows the pieces of the targets."""
    task = tt.tasks.Translation(decoder_layers=options.layers, vocabulary_size=options.vocabulary)
    head = tt.Head(dropout=options.dropout)
    return tt.build_model(options.encoder, task.adapt(train.labels), head, sequence_length=64)


def quality(model: tt.TransferModel, test: tt.data.Examples) -> dict[str, float]:
    """BLEU and chrF of sacrebleu, of the likeliest piece each time and of four beams."""
    answers = {}
    for name, beams in SEARCHES.items():
        model.task.search = Search(beams=beams, max_length=model.task.answer_length)
        answers[name] = [answer["text"] for answer in model.predict_text(test.texts[0])]
    return scored(answers, test)


def scored(answers: dict[str, list[str]], test: tt.data.Examples) -> dict[str, float]:
    """The numbers of answers by name."""
    found = {}
    for name, texts in answers.items():
        found[f"bleu_{name}"] = round(sacrebleu.corpus_bleu(texts, [test.labels]).score, 2)
        found[f"chrf_{name}"] = round(sacrebleu.corpus_chrf(texts, [test.labels]).score, 2)
    return found


def train(options: Any) -> dict[str, Any]:
    """Trains on the frozen encoder, or thaws it, and measures."""
    folder = Path(options.corpus)
    splits = [read(folder, *each) for each in (("train", options.rows), ("val",), ("test",))]
    model = build(splits[0], options)
    begun = time.process_time(), time.perf_counter()
    plan = tt.Plan(options.rate, options.head_rate, options.epochs, verbose=2, seed=options.seed)
    unfreeze = "none" if options.part == "frozen" else options.unfreeze
    epochs = None if options.part == "frozen" else options.thawed_epochs
    history = tt.fine_tune(
        model,
        *splits[:2],
        unfreeze=int(unfreeze) if unfreeze.isdigit() else unfreeze,
        epochs=epochs,
        batch_size=options.batch,
        plan=plan,
        checkpoint=options.checkpoint,
    )
    spent = time.process_time() - begun[0], time.perf_counter() - begun[1]
    if options.keep:
        model.save(options.keep)
    return {
        "rows": len(splits[0]),
        "pieces": model.task.vocabulary.size,
        "layers": options.layers,
        "dropout": options.dropout,
        "epochs": [outcome.epochs for outcome in history.outcomes],
        # Of 64 texts, while it trained.
        "val_bleu": [round(each, 1) for each in history.history["val_bleu"]],
        "perplexity": history.outcomes[-1].value,
        "cpu_minutes": round(spent[0] / 60, 2),
        "minutes": round(spent[1] / 60, 2),
        **quality(model, splits[2]),
    }


def peer(options: Any) -> dict[str, Any]:
    """Hugging Face's encoder-decoder, in as much CPU time, in the pieces that ours writes."""
    folder = Path(options.corpus)
    rows, test = read(folder, "train", options.rows), read(folder, "test")
    task = tt.tasks.Translation(vocabulary_size=options.vocabulary).adapt(rows.labels)
    given = {
        "corpus": folder,
        "weights": options.weights,
        "answer-length": task.answer_length,
        "layers": options.layers,
        "cpu-minutes": options.cpu_minutes,
        "precision": options.peer_precision,
        "rate": options.rate or 5e-4,
        "dropout": options.dropout,
        "seed": options.seed,
    }
    command = [options.peer_python, str(harness.RUNS / "translators.py")]
    command += [part for name, value in given.items() for part in (f"--{name}", str(value))]
    if options.rows:
        command += ["--rows", str(options.rows)]
    with tempfile.NamedTemporaryFile(suffix=".model") as file:
        Path(file.name).write_bytes(task.vocabulary.model)
        done = subprocess.run(
            [*command, "--vocabulary", file.name], stdout=subprocess.PIPE, text=True, check=True
        )
    found = json.loads(done.stdout.strip().splitlines()[-1])
    answers = {name: found.pop(name) for name in SEARCHES}
    spent = [round(found.pop(name) / 60, 2) for name in ("cpu_seconds", "seconds")]
    return {
        "encoder": Path(options.weights).resolve().name,
        "rows": len(rows),
        "pieces": task.vocabulary.size,
        **{name: given[name] for name in ("layers", "precision", "rate", "dropout")},
        **found,
        "cpu_minutes": spent[0],
        "minutes": spent[1],
        **scored(answers, test),
    }


def summaries(options: Any) -> dict[str, Any]:
    """Trains on the frozen encoder, thaws it where asked, and reports on the test split."""
    folder = Path(options.corpus)
    parts = (("train", options.rows), ("validation",), ("test",))
    splits = [read_summaries(folder, *each) for each in parts]
    task = tt.tasks.AbstractiveSummarization(
        decoder_layers=options.layers, vocabulary_size=options.vocabulary, copies=options.copies
    )
    model = tt.build_model(options.encoder, task.adapt(splits[0].labels), sequence_length=256)
    begun = time.process_time()
    plan = tt.Plan(head_epochs=options.epochs, verbose=2, seed=options.seed)
    thawed = {"unfreeze": options.unfreeze, "epochs": options.thawed_epochs}
    thawed = thawed if options.thawed else {"unfreeze": "none"}
    judged = splits[1][: options.judged]
    size = options.batch
    history = tt.fine_tune(model, splits[0], judged, **thawed, batch_size=size, plan=plan)
    spent = time.process_time() - begun
    splits[2] = splits[2][: options.tested]
    found: dict[str, Any] = {}
    for name, how in (("greedy", {"beams": 1}), ("beam", {"beams": 4})):
        model.task.search = Search(**how, no_repeat=3, max_length=model.task.answer_length)
        report = tt.evaluate(model, splits[2], train=splits[0])
        found[name] = {key: round(value, 4) for key, value in report.metrics.items()}
    found["beside"] = {name: round(own["rouge1"], 4) for name, own in report.baselines.items()}
    found["told"] = [note for note in report.notes if "rouge1" in note]
    found["answers"] = [answer["text"] for answer in model.predict_text(splits[2].texts[0][:3])]
    if options.keep:
        model.save(options.keep)
    return {
        "rows": len(splits[0]),
        "pieces": model.task.vocabulary.size,
        "layers": options.layers,
        "copies": options.copies,
        "batch_size": options.batch,
        "epochs": [outcome.epochs for outcome in history.outcomes],
        "perplexity": history.outcomes[-1].value,
        "cpu_minutes": round(spent / 60, 2),
        **found,
    }


def speed(options: Any) -> dict[str, Any]:
    """Pieces a second of CPU time, and milliseconds of one request of twelve words."""
    model = tt.load_model(options.keep)
    texts = read(Path(options.corpus), "test").texts[0]
    found: dict[str, Any] = {}
    for name, beams in SEARCHES.items():
        model.task.search = Search(beams=beams, max_length=model.task.answer_length)
        model.predict_text(texts[:64])
        begun = time.process_time(), time.perf_counter()
        answers = [answer["text"] for answer in model.predict_text(texts)]
        cpu, wall = time.process_time() - begun[0], time.perf_counter() - begun[1]
        pieces = int(np.sum(model.task.vocabulary.tokenize(answers).row_lengths()))
        found[f"pieces_a_cpu_second_{name}"] = round(pieces / cpu)
        found[f"pieces_a_second_{name}"] = round(pieces / wall)
        twelve = next(text for text in texts if len(text.split()) == 12)
        times = []
        for _ in range(50):
            begun = time.process_time(), time.perf_counter()
            model.predict_text([twelve])
            times.append((time.process_time() - begun[0], time.perf_counter() - begun[1]))
        cpu, wall = (1e3 * float(each) for each in np.median(times, axis=0))
        found[f"request_ms_{name}"] = round(wall, 1)
        found[f"request_cpu_ms_{name}"] = round(cpu, 1)
    return found


PARTS = {"frozen": train, "thawed": train, "peer": peer, "speed": speed, "summaries": summaries}


def main() -> None:
    """Runs one part and appends its line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--corpus", required=True)
    parser.add_argument("--part", choices=[*PARTS], required=True)
    parser.add_argument("--encoder", default="auto")
    parser.add_argument("--rows", type=int)
    parser.add_argument("--layers", type=int, default=1)
    parser.add_argument("--vocabulary", type=int)
    parser.add_argument("--epochs", type=int, default=3, help="of the decoder on stored vectors")
    parser.add_argument("--thawed-epochs", type=int, default=8)
    parser.add_argument("--unfreeze", default="auto")
    parser.add_argument("--dropout", type=float, default=0.1)
    parser.add_argument("--rate", type=float, help="of what thaws")
    parser.add_argument("--head-rate", type=float, help="of the decoder on stored vectors")
    parser.add_argument("--batch", type=int, default=32, help="texts, of what thaws")
    parser.add_argument("--checkpoint", help="a folder; CPU time is that of the last process")
    parser.add_argument("--judged", type=int, help="rows of validation")
    parser.add_argument("--tested", type=int, help="rows of the test split")
    parser.add_argument("--thawed", action="store_true", help="of summaries: thaw the encoder, too")
    parser.add_argument("--copies", action="store_true", help="summaries may copy")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", help="a .keras file")
    parser.add_argument("--weights", default=os.environ.get("BENCH_WEIGHTS"), help="Hugging Face's")
    parser.add_argument("--peer-python", default=os.environ.get("BENCH_PEER_PYTHON"))
    parser.add_argument("--peer-precision", default="bfloat16")
    parser.add_argument("--cpu-minutes", type=float, default=20.0, help="of the peer")
    options = parser.parse_args()
    if options.part == "peer" and not (options.weights and options.peer_python):
        parser.error("give --weights and --peer-python, or set BENCH_WEIGHTS, BENCH_PEER_PYTHON")
    found = PARTS[options.part](options)
    line = {
        "part": options.part,
        "encoder": Path(options.encoder).name,
        "seed": options.seed,
        **found,
        "machine": harness.machine(),
        "date": datetime.date.today().isoformat(),
    }
    print(json.dumps(line, indent=1))
    with RESULTS.open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")


if __name__ == "__main__":
    main()
