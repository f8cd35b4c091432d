"""Examples for several tasks at once: feelings, pairs with a number, tagged words."""

import json
from pathlib import Path

import numpy as np

import tfhub_transfer as tt
from tfhub_transfer.texts import joining

GOOD, BAD = ("good", "film"), ("bad", "movie")


def sentiments(number: int, seed: int = 0) -> tt.data.Examples:
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, 2, number)
    texts = [" ".join(generator.choice((BAD, GOOD)[label], 4)) for label in labels]
    return tt.data.Examples.from_lists(texts, [("negative", "positive")[n] for n in labels])


def pairs(number: int, seed: int = 0) -> tt.data.Examples:
    generator = np.random.default_rng(seed)
    words = ["good", "film", "bad", "movie", "story", "acting"]
    first, second = (generator.choice(words, number).tolist() for _ in range(2))
    scores = [float((a == "good") + (b == "good")) for a, b in zip(first, second)]
    return tt.data.Examples.from_lists(first, scores, second)


def sentences(number: int, seed: int = 0) -> tt.data.Examples:
    generator = np.random.default_rng(seed)
    counts = generator.integers(1, 7, number)
    words = [generator.choice([*GOOD, *BAD], count).tolist() for count in counts]
    tags = [["J" if w in ("good", "bad") else "N" for w in row] for row in words]
    return tt.data.Examples.from_lists(words, tags)


def splits(seed: int, number: int = 48) -> dict[str, tt.data.Examples]:
    return {
        "sentiment": sentiments(number, seed),
        "praise": pairs(number // 2, seed),
        "tags": sentences(number // 3, seed),
    }


def write(folder: Path, name: str, examples: tt.data.Examples) -> str:
    columns = dict(examples.columns)
    if joining.WORD_END in "".join(columns.get("text", [])):
        columns["tokens"] = [text.split(joining.WORD_END) for text in columns.pop("text")]
        columns["tags"] = columns.pop("label")
    rows = (dict(zip(columns, row)) for row in zip(*columns.values()))
    (folder / name).write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return name
