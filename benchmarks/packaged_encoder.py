"""Makes the small BERT that ships with the package, from the weights of all-MiniLM-L6-v2.

    python benchmarks/packaged_encoder.py --data-folder DATA --encoder ENCODER --output DIR

`DATA` holds folders of data sets; of each only `train.jsonl` is read, and of that only the texts.
`ENCODER` is what `tfhub-transfer convert` made of the Hugging Face folder. The size is free, so the
same script makes the students that were compared.
"""

import argparse
import gzip
import json
import re
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import tfhub_transfer as tt
from tfhub_transfer.recipes import encoder_distillation, students

SETS = (
    "ag_news amazon_mds/books amazon_mds/dvd amazon_mds/electronics amazon_mds/kitchen banking77 "
    "go_emotions imdb scitldr_a sib200/eng_Latn sms_spam snli_small squad_v1_dev sst2 stsb/en "
    "ud_english_ewt wnut17"
).split()
FIELDS = ("text", "text_a", "text_b", "question", "context", "document")
# Longer texts are also cut into sentences, and these are most of what is learned from.
WHOLE = 200


def main() -> None:
    """Gathers the corpus, cuts the student out of its teacher, distils it."""
    options = _options()
    tt.runtime.seed_everything(options.seed)
    texts, sizes = corpus(Path(options.data_folder), options.every)
    started = time.perf_counter()
    pieces = students.corpus_vocabulary(options.encoder, texts, options.vocabulary)
    start = options.output.with_name(f"{options.output.name}-start")
    students.make_student(
        options.encoder, start, options.layers, options.hidden, pieces, overwrite=True
    )
    losses = encoder_distillation.Losses(**json.loads(options.losses))
    schedule = encoder_distillation.Schedule(
        epochs=options.epochs,
        batch_size=options.batch_size,
        learning_rate=options.learning_rate,
        sequence_length=options.sequence_length,
        seed=options.seed,
    )
    curves = encoder_distillation.distill_encoder(
        options.encoder, start, texts, options.output, losses, schedule, overwrite=True
    )
    record = {
        "arguments": {k: str(v) if isinstance(v, Path) else v for k, v in vars(options).items()},
        "texts": len(texts),
        "texts_of_each_set": sizes,
        "word_pieces": len(pieces),
        "seconds": round(time.perf_counter() - started),
        "curves": curves,
        "versions": tt.runtime.versions(),
    }
    for name in ("data_folder", "encoder", "output"):
        record["arguments"].pop(name)
    path = options.output.with_name(f"{options.output.name}.json")
    path.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--data-folder", required=True)
    add("--encoder", required=True)
    add("--output", type=Path, required=True)
    add("--layers", type=int, default=3)
    add("--hidden", type=int)
    add("--vocabulary", type=int, default=14_000)
    add("--losses", default="{}", help="JSON of `Losses`")
    add("--epochs", type=int, default=1)
    add("--batch-size", type=int, default=64)
    add("--learning-rate", type=float, default=encoder_distillation.RATE)
    add("--sequence-length", type=int, default=128)
    add("--every", type=int, default=1, help="take every n-th text of the corpus")
    add("--seed", type=int, default=0)
    return parser.parse_args()


def corpus(folder: Path, every: int = 1) -> tuple[list[str], dict[str, int]]:
    """The texts of all training splits, each once, and how many of them each data set gave."""
    texts: dict[str, None] = {}
    sizes = {}
    for name in SETS:
        known = len(texts)
        for text in texts_of(next((folder / name).glob("train.jsonl*"))):
            texts.setdefault(text)
        sizes[name] = len(texts) - known
    return list(texts)[::every], sizes


def texts_of(path: Path) -> Iterator[str]:
    """The texts of one file, each whole, and the long ones cut into sentences too."""
    data = path.read_bytes()
    data = gzip.decompress(data) if path.suffix == ".gz" else data
    for line in data.decode("utf-8").strip().split("\n"):
        row: dict[str, Any] = json.loads(line)
        fields = [row[name] for name in FIELDS if name in row]
        for field in fields or [" ".join(row["tokens"])]:
            for text in [field] if isinstance(field, str) else field:
                yield from _pieces(re.sub(r"<br />|\s+", " ", text).strip())


def _pieces(text: str) -> Iterator[str]:
    yield text
    if len(text) > WHOLE:
        yield from (part for part in re.split(r"(?<=[.!?]) +", text) if len(part) > 20)


if __name__ == "__main__":
    sys.exit(main())
