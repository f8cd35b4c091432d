"""Milliseconds of CPU time that a text takes, of few texts and of many asked at once.

    python benchmarks/few_texts.py --data-folder DATA

The test split of AG News through `predict_text` of an untrained model; of three tries the fastest.
Prints a row of the table in `benchmarks/README.md`.
"""

import time
from pathlib import Path

import harness

import tfhub_transfer as tt

COUNTS = (30, 100, 400, 1000, 2000)


def main() -> None:
    """Asks each number of texts three times."""
    parser = harness.arguments(__doc__)
    parser.set_defaults(encoder="auto")
    options = harness.parse(parser, ("data_folder",))
    news = Path(options.data_folder) / "ag_news" / "test.jsonl.gz"
    texts = tt.data.read(str(news), text="text", label="label").texts[0]
    model = tt.build_model(options.encoder, tt.tasks.Classification(["other", "this"]))
    model.predict_text(texts[:3])
    cells = []
    for count in COUNTS:
        seconds = []
        for _ in range(3):
            started = time.process_time()
            model.predict_text(texts[:count])
            seconds.append(time.process_time() - started)
        cells.append(f"{1000 * min(seconds) / count:.1f}")
    print("| " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
