"""Word pieces beside TensorFlow's `BertTokenizer`, which removes accents where it lower-cases.

    BENCH_DATA=DATA python benchmarks/tokenizer.py

Both run in turn in one process, in a graph each. Writes `benchmarks/tokenizer.json`.
"""

import time
from pathlib import Path
from typing import Any

import harness

SETS = (("imdb", 1000), ("ag_news", 3000), ("banking77", 3000), ("imdb", 32), ("banking77", 1))
TURNS = 15


def main() -> None:
    """Measures and prints."""
    options = harness.parse(harness.arguments(__doc__), ("data_folder",))
    import tensorflow as tf
    import tensorflow_text as tf_text

    import tfhub_transfer as tt
    from tfhub_transfer.encoders import hub_format

    vocabulary = tt.registry.resolve("static-minilm-256") / "assets" / "vocab.txt"
    theirs = tf_text.BertTokenizer(str(vocabulary), lower_case=True, token_out_type=tf.int32)
    splitters: dict[str, Any] = {
        "ours": hub_format.WordPieces(vocabulary, lower_case=True).ids,
        "BertTokenizer": theirs.tokenize,
    }
    spec = [tf.TensorSpec([None], tf.string)]
    graphs = {name: tf.function(f, input_signature=spec) for name, f in splitters.items()}
    rows, raw = [], {}
    for name, number in SETS:
        file = next((Path(options.data_folder) / name).glob("test.jsonl*"))
        texts = tf.constant(tt.data.read(file).texts[0][:number])
        seconds: dict[str, list[float]] = {each: [] for each in graphs}
        for turn in range(TURNS + 1):
            for each, graph in graphs.items():
                started = time.perf_counter()
                graph(texts)
                if turn:  # the first one traces
                    seconds[each].append(time.perf_counter() - started)
        best = {each: min(values) for each, values in seconds.items()}
        raw[f"{name} {number}"] = seconds
        shown = [f"{1000 * value:.2f}" for value in best.values()]
        rows.append([f"{name}, {number}", *shown, f"{best['ours'] / best['BertTokenizer']:.2f}"])
    harness.report("tokenizer", ["texts", "ours ms", "BertTokenizer ms", "ratio"], rows, raw)


if __name__ == "__main__":
    main()
