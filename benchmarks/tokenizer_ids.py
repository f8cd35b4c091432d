"""Whether converted tokenizers give the ids of Hugging Face's `tokenizers`, by kind.

    BENCH_PEER_PYTHON=PYTHON python benchmarks/tokenizer_ids.py TEXTS.json [FOLDER_OF_TOKENIZERS]

`TEXTS.json` is a list of texts, of as many languages as there are; 5,000 are drawn. The peers'
Python trains a tokenizer of each kind on them; FOLDER_OF_TOKENIZERS holds more, each a folder with
`tokenizer.json` and `config.json`. Shares of texts with the same ids: of those, of pairs, of
hostile texts (here), and of every fourth code point in a short text. Names of special tokens in
texts are text, as here always. Writes `benchmarks/tokenizer_ids.json`.
"""

import json
import random
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import harness

COUNT = 5000
HOSTILE = (
    *("", " ", "  ", "a", " a", "a ", "  a", "a  b", "a \n b", "\n\nfoo", "a\n", "\t\tx", "x \t"),
    *(
        "it's I'll we've 's  's don't",
        "''s",
        "  's",
        "\u00a0x \u00a0 y",
        "a\u3000b",
        "\u2003\u2003b",
    ),
    *(
        "aaaa aaaaaaa aaa",
        "a" * 10000,
        "ab" * 5000,
        "a\0b",
        "\0",
        "x" + " " * 50 + "y",
        "\r\n\r\nz",
    ),
    *(
        "\U0001f469\u200d\U0001f467 \U0001f44d\U0001f3fd \U0001f1e9\U0001f1ea \u263a\ufe0f",
        "!!! ... ?!",
    ),
    *("नमस्ते दुनिया", "สวัสดีชาวโลก", "ភាសាខ្មែរ", "مرحبا بِكُمْ", "שָׁלוֹם", "\u202eabc\u202c", "한국어 국"),
    *(
        "①②½ x² 12,345.67 ١٢٣",
        "e\u0301\u0302 ｆｕｌｌ ｶﾞ",
        "\ufeffbom",
        "\ufffd",
        "a\u200bb\u200cc\u200dd\u2060e",
    ),
    *("<s> </s> <mask> <pad> [CLS] [SEP]", "</s>", "``quoted'' \"x\"", "ﬁne Straße İstanbul ΟΔΟΣ"),
    *(
        "_under_score_ snake-case camelCase",
        "http://t.co/aB1?x=1&y=2",
        "\x1b[31m\x07",
        "９９．５％",
    ),
)


def main() -> None:
    """Measures and prints."""
    parser = harness.arguments(__doc__)
    parser.add_argument("texts")
    parser.add_argument("tokenizers", nargs="?")
    options = harness.parse(parser, ("peer_python",))
    texts = json.loads(Path(options.texts).read_text("utf-8"))
    texts = random.Random(0).sample(texts, min(COUNT, len(texts)))
    points = [chr(p) for p in range(0, 0x20000, 4) if not 0xD800 <= p < 0xE000]
    given = {
        "texts": texts,
        "hostile": list(HOSTILE),
        "code points": [f"a{point}b {point} {point}{point}c" for point in points],
    }
    with tempfile.TemporaryDirectory() as work:
        file, folder = Path(work, "texts.json"), Path(work, "made")
        folder.mkdir()
        file.write_text(json.dumps(given))
        script = str(harness.RUNS / "tokenizers_ids.py")
        more = [options.tokenizers] if options.tokenizers else []
        subprocess.run([options.peer_python, script, str(folder), str(file), *more], check=True)
        found = {each.name: _compared(each, given) for each in sorted(folder.iterdir())}
    heading = ["tokenizer", "texts", "pairs", "hostile", "code points", "texts a second"]
    rows = [
        [name, *(f"{r[key][0]:,} of {r[key][1]:,}" for key in (*heading[1:5],)), f"{r['speed']:,}"]
        for name, r in found.items()
    ]
    harness.report("tokenizer_ids", heading, rows, {name: [r] for name, r in found.items()})


def _compared(folder: Path, given: dict[str, list[str]]) -> dict[str, Any]:
    import tensorflow as tf

    from tfhub_transfer.encoders.tokenizers import reading

    theirs = json.loads((folder / "ids.json").read_text())
    made = reading.read(folder, json.loads((folder / "config.json").read_text()))
    assert made is not None
    made.save(folder / "saved")
    loaded = tf.saved_model.load(str(folder / "saved"))
    found: dict[str, Any] = {}
    different = {}
    for key, texts in given.items():
        start = time.perf_counter()
        ours = []
        for at in range(0, len(texts), 1024):
            ids = loaded.tokenize(tf.constant(texts[at : at + 1024]))
            ours += (ids.merge_dims(1, -1) if ids.ragged_rank > 1 else ids).to_list()
        if key == "texts":
            found["speed"] = round(len(texts) / (time.perf_counter() - start))
        wrong = [text for text, a, b in zip(texts, ours, theirs[key], strict=True) if a != b]
        found[key] = [len(texts) - len(wrong), len(texts)]
        different[key] = [text[:60] for text in wrong[:8]]
    some = given["texts"][:400]
    segments = [loaded.tokenize(tf.constant(column)) for column in (some[::2], some[1::2])]
    packed = loaded.bert_pack_inputs(segments, tf.constant(4096))
    rows = zip(*(packed[key].numpy() for key in ("input_word_ids", "input_type_ids", "input_mask")))
    same = [
        [ids[: mask.sum()].tolist(), types[: mask.sum()].tolist()] == wanted
        for (ids, types, mask), wanted in zip(rows, theirs["pairs"], strict=True)
    ]
    return {**found, "pairs": [sum(same), len(same)], "different": different}


if __name__ == "__main__":
    main()
