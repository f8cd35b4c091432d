"""Which language texts are in: how many are told, and how many wrongly.

    python benchmarks/languages.py --data-folder DATA

Of data sets whose language is known, up to 2,000 test texts each: how many `texts.languages` tells,
how many of these are wrong, how many would be if all were told, and milliseconds a text. The table
is written to `languages.json`.
"""

import time
from pathlib import Path

import harness
from py3langid.langid import MODEL_FILE, LanguageIdentifier

from tfhub_transfer import data
from tfhub_transfer.texts import languages

# Folder, column of texts, language.
SETS = (
    ("sib200/deu_Latn", "text", "de"),
    ("sib200/eng_Latn", "text", "en"),
    ("sib200/fra_Latn", "text", "fr"),
    ("sst2", "text", "en"),
    ("banking77", "text", "en"),
    ("sms_spam", "text", "en"),
    ("go_emotions", "text", "en"),
    ("stsb/de", "text_a", "de"),
    ("imdb", "text", "en"),
)
MOST = 2000


def main() -> None:
    """Asks of all sets."""
    options = harness.parse(harness.arguments(__doc__), ("data_folder",))
    every = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    languages.of_text("The model is loaded before time is taken.")
    rows = []
    for folder, column, wanted in SETS:
        path = next((Path(options.data_folder) / folder).glob("test.jsonl*"))
        texts = list(map(str, data.read(str(path), text=column).texts[0]))[:MOST]
        started = time.perf_counter()
        told = list(map(languages.of_text, texts))
        spent = 1000 * (time.perf_counter() - started) / len(texts)
        sure = [name for name in told if name is not None]
        unsure = [t for t, name in zip(texts, told) if name is None]
        missed = sum(every.classify(text)[0] != wanted for text in unsure)
        wrong = sum(name != wanted for name in sure)
        rows.append([folder, wanted, len(texts), len(sure), wrong, missed, spent])
    header = ("data", "language", "texts", "told", "of these wrong", "wrong if all were", "ms")
    harness.report("languages", header, rows, rows)


if __name__ == "__main__":
    main()
