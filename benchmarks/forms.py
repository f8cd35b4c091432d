"""One data set in every form: the same rows to the last character, and the same trained numbers.

    BENCH_DATA=DATA python benchmarks/forms.py --output benchmarks/forms.json

Reads the test and validation splits as JSON lines, writes them in each other form, reads these, and
counts rows that differ: a text, a label. Then trains on a part of the rows, read from some of the
forms, and compares the reports. Data sets: go_emotions (several labels a text), STS-B and SNLI
(pairs with quotation marks), WNUT 17 and UD English EWT (tags).
"""

import argparse
import bz2
import csv
import gzip
import io
import json
import lzma
import os
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet
import tensorflow as tf

import tfhub_transfer as tt
from tfhub_transfer.jobs.trainings import training

Rows = list[dict[str, Any]]

SETS = {
    "go_emotions": ("go_emotions", "multi-label", "label"),
    "stsb": ("stsb/en", "regression", "score"),
    "snli": ("snli_small", "classification", "label"),
    "wnut17": ("wnut17", "token-classification", "tags"),
    "ud_english_ewt": ("ud_english_ewt", "token-classification", "tags"),
}
TRAINED = ("jsonl", "unquoted.tsv", "records.json", "classes.parquet", "conll", "fasttext.txt")


def table(rows: Rows, path: Path, encoding: str = "utf-8", **dialect: Any) -> Path:
    """A table by Python's csv module."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(rows[0]), **dialect)
    writer.writeheader()
    writer.writerows(rows)
    path.write_bytes(text.getvalue().encode(encoding))
    return path


def unquoted(rows: Rows, path: Path) -> Path:
    """Fields as they are; no text here holds a tab or ends a line."""
    lines = [list(rows[0]), *([str(value) for value in row.values()] for row in rows)]
    path.write_text("".join("\t".join(line) + "\n" for line in lines), "utf-8", newline="")
    return path


def escaped(rows: Rows, path: Path) -> Path:
    """Fields as ClickHouse and PostgreSQL's COPY write them."""
    signs = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "'": "\\'"})
    made = [{name: str(value).translate(signs) for name, value in row.items()} for row in rows]
    return unquoted(made, path)


def packed(rows: Rows, path: Path) -> Path:
    """A compressed CSV."""
    plain = table(rows, path.with_name("plain.csv")).read_bytes()
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
            file.writestr("plain.csv", plain)
    elif path.suffix == ".zst":
        with pa.CompressedOutputStream(str(path), "zstd") as stream:
            stream.write(plain)
    else:
        pack: dict[str, Any] = {".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress}
        path.write_bytes(pack[path.suffix](plain))
    return path


def as_json(value: Callable[[Rows], Any], indent: int | None = None) -> Any:
    """A JSON file of what a function makes of the rows."""

    def write(rows: Rows, path: Path) -> Path:
        path.write_text(json.dumps(value(rows), ensure_ascii=False, indent=indent), "utf-8")
        return path

    return write


def crossed(rows: Rows) -> dict[str, dict[str, Any]]:
    """As pandas writes a table if nobody says otherwise."""
    return {name: {str(i): row[name] for i, row in enumerate(rows)} for name in rows[0]}


def arrow(rows: Rows, path: Path) -> Path:
    """A stream of batches, as `datasets` caches it."""
    found = pa.Table.from_pylist(rows)
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_stream(file, found.schema) as writer:
        writer.write_table(found, max_chunksize=100)
    return path


def classes(rows: Rows, path: Path) -> Path:
    """Parquet with numbers of classes, whose names stand in the schema, as `datasets` writes it."""
    column = next(name for name in ("label", "tags") if name in rows[0])
    listed = isinstance(rows[0][column], list)
    names = sorted({n for row in rows for n in (row[column] if listed else [row[column]])})
    number = {name: i for i, name in enumerate(names)}
    made = [
        {**r, column: [number[n] for n in r[column]] if listed else number[r[column]]} for r in rows
    ]
    feature: Any = {"_type": "ClassLabel", "names": names}
    feature = {"_type": "List", "feature": feature} if listed else feature
    said = json.dumps({"info": {"features": {column: feature}}})
    found = pa.Table.from_pylist(made).replace_schema_metadata({"huggingface": said})
    pyarrow.parquet.write_table(found, path)
    return path


def fasttext(rows: Rows, path: Path) -> Path:
    """Labels before the text."""
    lines = (" ".join([f"__label__{n}" for n in r["label"]] + [r["text"]]) + "\n" for r in rows)
    path.write_text("".join(lines), "utf-8", newline="")
    return path


def conll(separator: str, header: str = "") -> Any:
    """A word and its tag a line."""

    def write(rows: Rows, path: Path) -> Path:
        sentences = (
            "".join(f"{word}{separator}{tag}\n" for word, tag in zip(row["tokens"], row["tags"]))
            for row in rows
        )
        path.write_text(header + "\n".join(sentences), "utf-8", newline="")
        return path

    return write


def conllu(rows: Rows, path: Path) -> Path:
    """Ten fields a word, the fourth its tag."""
    with path.open("w", encoding="utf-8", newline="") as file:
        for number, row in enumerate(rows, start=1):
            file.write(f"# sent_id = {number}\n")
            for place, (word, tag) in enumerate(zip(row["tokens"], row["tags"]), start=1):
                file.write("\t".join([str(place), word, "_", tag, *["_"] * 6]) + "\n")
            file.write("\n")
    return path


def by_word(rows: Rows, path: Path) -> Path:
    """A row a word, numbers filled in once, as Kaggle's set of entities has it."""
    made = [
        {"Sentence #": "" if place else f"Sentence: {n}", "Word": word, "Tag": tag}
        for n, row in enumerate(rows, start=1)
        for place, (word, tag) in enumerate(zip(row["tokens"], row["tags"]))
    ]
    return table(made, path)


def tensors(rows: Rows, path: Path) -> Any:
    """A `tf.data.Dataset` of dictionaries."""
    return tf.data.Dataset.from_tensor_slices(
        {
            name: tf.ragged.constant([row[name] for row in rows])
            if isinstance(rows[0][name], list)
            else tf.constant(
                [row[name] for row in rows],
                tf.string if isinstance(rows[0][name], str) else tf.float64,
            )
            for name in rows[0]
        }
    ).batch(64)


_TABLES: dict[str, Any] = {
    "csv": table,
    "semicolon.csv": lambda r, p: table(r, p, delimiter=";"),
    "utf16.csv": lambda r, p: table(r, p, "utf-16"),
    "tsv": lambda r, p: table(r, p, dialect="excel-tab"),
    "all quoted.tsv": lambda r, p: table(r, p, dialect="excel-tab", quoting=csv.QUOTE_ALL),
    "unquoted.tsv": unquoted,
    "single.csv": lambda r, p: table(r, p, quotechar="'"),
    "tildes.csv": lambda r, p: table(r, p, quotechar="~", quoting=csv.QUOTE_ALL),
    "backslashes.csv": lambda r, p: table(r, p, doublequote=False, escapechar="\\"),
    "escapes.tsv": escaped,
    **{f"csv.{kind}": packed for kind in ("gz", "bz2", "xz", "zst", "zip")},
}
_ANY: dict[str, Any] = {
    "records.json": as_json(lambda rows: rows),
    "indented.json": as_json(lambda rows: rows, indent=1),
    "data key.json": as_json(lambda rows: {"version": 1, "data": rows}),
    "columns.json": as_json(crossed),
    "parquet": lambda r, p: pyarrow.parquet.write_table(pa.Table.from_pylist(r), p) or p,
    "feather": lambda r, p: pyarrow.feather.write_feather(pa.Table.from_pylist(r), str(p)) or p,
    "arrow": arrow,
    "pyarrow.Table": lambda r, p: pa.Table.from_pylist(r),
    "list of rows": lambda r, p: r,
    "dictionary of columns": lambda r, p: {name: [row[name] for row in r] for name in r[0]},
    "tf.data.Dataset": tensors,
}
_WORDS: dict[str, Any] = {
    "conll": conll(" ", "-DOCSTART- O\n\n"),
    "tabs.conll": conll("\t", "# id 1\n"),
    "by word.csv": by_word,
    "conllu": conllu,
    "classes.parquet": classes,
}


def forms_of(rows: Rows) -> dict[str, Any]:
    """What the rows of a data set can be written as."""
    first = rows[0]
    if "tokens" in first:
        return {**_ANY, **_WORDS}
    if isinstance(first.get("label"), list):
        return {**_ANY, "classes.parquet": classes, "fasttext.txt": fasttext}
    return {**_TABLES, **_ANY, **({"classes.parquet": classes} if "label" in first else {})}


def rows_of(folder: Path, split: str, keys: tuple[str, ...]) -> Rows:
    """The rows of a split, with the columns that matter."""
    path = next(p for p in (folder / f"{split}.jsonl", folder / f"{split}.jsonl.gz") if p.exists())
    with gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open() as file:
        rows = [json.loads(line) for line in file]
    return [{key: row[key] for key in keys if key in row} for row in rows]


def labelled(examples: Any) -> list[Any]:
    """Texts and labels; numbers as numbers, whatever a form has them as."""

    def plain(label: Any) -> Any:
        try:
            return float(label)
        except (TypeError, ValueError):
            return label

    return list(zip(*examples.texts, map(plain, examples.labels)))


def compare(name: str, folder: Path, work: Path, limit: int) -> dict[str, Any]:
    """Counts rows that differ, form by form."""
    keys = ("text", "text_a", "text_b", "tokens", "label", "score", "tags")
    rows = [r for split in ("validation", "test") for r in rows_of(folder, split, keys)][:limit]
    path = work / "rows.jsonl"
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8")
    wanted = labelled(tt.data.read(path))
    quotes = sum('"' in text for row in wanted for text in row[:-1])
    print(f"\n{name}: {len(rows)} rows, {quotes} texts with quotation marks")
    found: dict[str, Any] = {"rows": len(rows), "with_quotes": quotes, "forms": {}}
    for form, write in forms_of(rows).items():
        read = tt.data.read(write(rows, work / f"x.{form}"))
        own = labelled(read)
        different = abs(len(own) - len(wanted)) + sum(a != b for a, b in zip(own, wanted))
        found["forms"][form] = {"different": different, "said": list(read.notes)}
        print(f"  {form:<24}{different:>8}  {'; '.join(read.notes)[:80]}", flush=True)
    return found


def train(name: str, folder: Path, work: Path, limit: int) -> dict[str, Any]:
    """Metrics of one small training from each of some forms."""
    _, task, column = SETS[name]
    keys = ("text", "text_a", "text_b", "tokens", column)
    rows = rows_of(folder, "test", keys)[:limit]
    jsonl = work / "train.jsonl"
    jsonl.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    sources = {"jsonl": jsonl}
    for form, write in forms_of(rows).items():
        if form in TRAINED:
            sources[form] = write(rows, work / f"train.{form}")
    metrics = {}
    for form, source in sources.items():
        encoder = "minilm-l3-384" if task == "token-classification" else "static-minilm-256"
        output = work / f"out {form.replace('.', ' ')}"  # a folder, not named as a file
        job = training.TrainJob(
            task, str(source), output, encoder=encoder, epochs=1, unfreeze="none", label=None
        )
        metrics[form] = training.train(job).metrics
    same = all(found == metrics["jsonl"] for found in metrics.values())
    numbers = {k: v for k, v in metrics["jsonl"].items() if isinstance(v, float)}
    print(f"{name}: {len(rows)} rows, {', '.join(metrics)}: the same metrics: {same}")
    return {"rows": len(rows), "forms": list(metrics), "same": same, "metrics": numbers}


def main() -> None:
    """Compares all, prints the tables and writes them as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000, help="of each data set")
    parser.add_argument("--trained", type=int, default=300, help="rows of each training")
    parser.add_argument("--sets", nargs="*", default=list(SETS))
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args()
    data = Path(os.environ["BENCH_DATA"])
    result: dict[str, Any] = {"versions": tt.runtime.versions(), "read": {}, "trained": {}}
    for name in options.sets:
        with tempfile.TemporaryDirectory() as work:
            folder = data / SETS[name][0]
            result["read"][name] = compare(name, folder, Path(work), options.rows)
            if options.trained:
                result["trained"][name] = train(name, folder, Path(work), options.trained)
        options.output.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", "utf-8")


if __name__ == "__main__":
    main()
