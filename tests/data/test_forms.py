"""Forms in which people have their data: each gives the rows of its JSON lines, or one line."""

import bz2
import csv
import gzip
import json
import lzma
import random
import tracemalloc
import types
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet
import pytest
import tensorflow as tf

import tfhub_transfer as tt
from tfhub_transfer import cli, data, progress
from tfhub_transfer.data import reading
from tfhub_transfer.data.forms import objects, spans, words
from tfhub_transfer.errors import InputError
from tfhub_transfer.jobs import inputs
from tfhub_transfer.tasks.segmentation import split
from tfhub_transfer.texts import joining

MADE = Path(__file__).with_name("forms")
TEXTS = [
    "good, very",
    'she said "no"\nand left',
    "🙂 قصة",
    '"Yes!"',
    "tab\there; semi",
    "naïve café",
    "",
    "a 'quote'",
]
LABELS = ["pos", "neg", "pos", "neg", "pos", "neg", "pos", "neg"]
FLAT = [text.replace("\n", " ").replace("\t", " ") for text in TEXTS]
ANNA = (["Anna", "Lee", "lives", "in", "Rome", "."], ["B-PER", "I-PER", "O", "O", "B-LOC", "O"])
ANSWERS = ["accept", "reject", "ignore"]
NOTHING = (["Nothing", "here"], ["O", "O"])


def rows_of(source: Any) -> list[dict[str, Any]]:
    return [row for _, row in reading.Table(source)]


def tagged(source: Any) -> list[tuple[list[str], list[str]]]:
    return [(row["tokens"], row["tags"]) for row in rows_of(source)]


def write(path: Path, text: str, encoding: str = "utf-8") -> Path:
    path.write_bytes(text.encode(encoding))
    return path


def lines(path: Path, *rows: Any) -> Path:
    return write(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


# Files of other tools -------------------------------------------------------------------------

WITH_LABELS = {
    "pandas_utf16.csv": TEXTS,
    "pandas_semicolon.csv": TEXTS,
    "pandas_quote_all.tsv": TEXTS,
    "pandas.csv.zst": TEXTS,
    "pandas_columns.json": TEXTS,
    "pandas_split.json": TEXTS,
    "pandas.feather": TEXTS,
    "polars.tsv": TEXTS,
    "polars_stream.arrow": TEXTS,
    "datasets_saved/train": TEXTS,
    "csv_unquoted.tsv": FLAT,
    "pandas_table.json": TEXTS,
    "pyarrow.csv": TEXTS,
    "duckdb.csv": TEXTS,
    "duckdb_array.json": TEXTS,
    "polars.ndjson": TEXTS,
}


@pytest.mark.parametrize("name", WITH_LABELS)
def test_tables_of_other_tools_have_their_texts_and_labels(name: str) -> None:
    read = data.read(MADE / name)
    assert read.texts == (WITH_LABELS[name],)
    assert read.labels == LABELS


WITH_TAGS = {
    "spacy_docs.jsonl": [ANNA, NOTHING],
    "doccano_spans.jsonl": [NOTHING, ANNA],
    "doccano_relations.jsonl": [NOTHING, ANNA],
    "label_studio.json": [(["🙂", *ANNA[0]], ["O", *ANNA[1]]), NOTHING],
    "label_studio_min.json": [(["🙂", *ANNA[0]], ["O", *ANNA[1]]), NOTHING],
    "label_studio.conll": [(["🙂", *ANNA[0]], ["O", *ANNA[1]]), NOTHING],
    "spacy_v2.json": [(ANNA[0], ["B-PER", "L-PER", "O", "O", "U-LOC", "O"]), NOTHING],
    "conllu.conllu": [(["Do", "n't", "go"], ["AUX", "PART", "VERB"])],
}


@pytest.mark.parametrize("name", WITH_TAGS)
def test_words_and_tags_of_other_tools(name: str) -> None:
    assert tagged(MADE / name) == WITH_TAGS[name]
    read = data.read(MADE / name)
    assert read.texts[0] == [joining.join_words(own) for own, _ in WITH_TAGS[name]]
    assert read.labels == [tags for _, tags in WITH_TAGS[name]]


def test_columns_that_other_tools_name(tmp_path: Path) -> None:
    [row] = rows_of(MADE / "conllu.conllu")
    assert row["xpos"] == ["VBP", "RB", "VB"]
    assert row["feats"] == ["Mood=Ind", "_", "VerbForm=Inf"]
    assert row["deps"] == [None] * 3
    assert (row["text"], row["sent_id"]) == ("Don't go", "1")
    assert data.read(MADE / "datasets_tags.parquet").labels == [["B-PER", "I-PER", "O"], ["O"]]
    assert [row["mood"] for row in rows_of(MADE / "label_studio.json")] == ["good", "bad"]
    fasttext = data.read(MADE / "doccano_fasttext.txt")
    assert fasttext.texts == (['good, very "nice"', "bad\nline", "plain"],)
    assert fasttext.labels == [["happy", "pos"], ["neg"], ["neg"]]
    assert data.read(MADE / "doccano_categories.csv").labels == ["happy#pos", "neg", "neg"]
    assert data.read(MADE / "label_studio.tsv", label="mood").labels == ["good", "bad"]
    parts = data.read_splits(MADE / "datasets_saved")
    assert {name: len(part) for name, part in parts.items()} == {"train": 8, "test": 2}
    with pytest.raises(InputError, match="expected several splits; `data.read` reads one table"):
        data.read_splits(MADE / "datasets_saved" / "train")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("spacy_docs.spacy", "isn't read; write its documents as JSON, with `Doc.to_json"),
        ("pandas.orc", "isn't read; write the table as Parquet or CSV"),
        ("polars.avro", "isn't read; write the table as Parquet or CSV"),
        ("pyreadstat.sav", "isn't read; write the table as Parquet or CSV"),
        ("liac.arff", "format of the file isn't known by its name; expected .csv"),
        ("sklearn.svmlight", "format of the file isn't known by its name; expected .csv"),
        ("cassis.json", "no column 'text' for the text; name one of '%TYPES'"),
        ("datasets_saved", "has the splits train, test; name one, as in .*train. Received"),
    ],
)
def test_other_tools_files_that_are_refused_in_one_line(name: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        data.read(MADE / name)


def test_backslashes_are_read_also_if_nobody_asks() -> None:
    read = data.read(data.File(MADE / "csv_backslash.csv", quoting="backslash"))
    assert read.texts == (TEXTS,)
    read = data.read(MADE / "csv_backslash.csv")
    assert read.texts == (TEXTS,)
    assert read.notes == (
        "fields have backslashes before marks, 4 of them; `--quoting standard` reads otherwise",
    )
    with pytest.raises(InputError, match="line 3: a quote isn't closed.*`--quoting backslash`"):
        data.read(data.File(MADE / "csv_backslash.csv", quoting="standard"))


# Quoting --------------------------------------------------------------------------------------


def write_tsv(path: Path, rows: list[list[str]], style: int | None) -> Path:
    if style is None:
        return write(path, "".join("\t".join(row) + "\n" for row in rows))
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, "excel-tab", quoting=style).writerows(rows)
    return path


STYLES = [None, csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC]


@pytest.mark.parametrize("style", STYLES)
def test_quotes_of_tab_separated_files_are_those_of_their_writer(
    style: Any, tmp_path: Path
) -> None:
    generator = random.Random(7)
    pieces = ['"', "a", "b ", ", ", 'I said "no"', "x", '"Yes!"', "plain"]
    wrong, refused = [], 0
    for _ in range(60):
        texts = ["".join(generator.choices(pieces, k=generator.randint(1, 4))) for _ in range(8)]
        rows = [["text", "label"], *([text, generator.choice("xy")] for text in texts)]
        path = write_tsv(tmp_path / "x.tsv", rows, style)
        try:
            found = [[row["text"], row["label"]] for row in rows_of(path)]
        except InputError as error:
            refused += "`--quoting none`" in str(error)
            continue
        wrong += [] if found == rows[1:] else [texts]
    assert not wrong
    assert refused <= (6 if style is None else 0)


@pytest.mark.parametrize(
    ("body", "expected", "note"),
    [
        ('"Well,\tx\nno\ty\n', ['"Well,', "no"], "as line 2 shows"),
        ('"Yes!"\tx\nno\ty\n', ['"Yes!"', "no"], "1 fields without need of quotes have them"),
        ('"Yes, I do"\tx\nno\ty\n', ["Yes, I do", "no"], "with a comma are quoted, as Excel does"),
        ('"Yes, I do"\tx\nno, no\ty\n', ['"Yes, I do"', "no, no"], "without need of quotes"),
        ('"a ""b"""\tx\nno\ty\n', ['a "b"', "no"], "1 fields double those inside"),
        ('"two\nlines"\tx\n', ["two\nlines"], None),
        ("a\tx\nb\ty\n", ["a", "b"], None),
    ],
)
def test_what_was_decided_of_quotes_is_said(
    body: str, expected: list[str], note: str | None, tmp_path: Path
) -> None:
    read = data.read(write(tmp_path / "x.tsv", "text\tlabel\n" + body))
    assert read.texts == (expected,)
    if note is None:
        assert not read.notes
    else:
        [said] = read.notes
        assert note in said
        shown = " ".join(data.profile(read).split())
        assert f"read: {said}" in shown


def test_quotes_that_could_be_either_are_refused(tmp_path: Path) -> None:
    body = 'text\tlabel\n"a ""b"""\tx\nsays "c"\ty\n'
    path = write(tmp_path / "x.tsv", body)
    with pytest.raises(InputError, match="as in line 3; say which is meant with `--quoting"):
        data.read(path)
    assert data.read(data.File(path, quoting="none")).texts == (['"a ""b"""', 'says "c"'],)
    assert data.read(data.File(path, quoting="standard")).texts == (['a "b"', 'says "c"'],)


def test_unquoted_commas_are_read_when_asked_for(tmp_path: Path) -> None:
    path = write(tmp_path / "x.csv", 'text,label\n"a" b,x\n')
    assert data.read(data.File(path, quoting="none")).texts == (['"a" b'],)


# Text of any encoding and packing -------------------------------------------------------------


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
@pytest.mark.parametrize("kind", ["csv", "jsonl", "json"])
def test_byte_order_marks_tell_the_encoding(encoding: str, kind: str, tmp_path: Path) -> None:
    row = {"text": "schön", "label": "x"}
    text = {
        "csv": "text,label\r\nschön,x\r\n",
        "jsonl": json.dumps(row),
        "json": f"[{json.dumps(row)}]",
    }
    path = write(tmp_path / f"x.{kind}", text[kind], encoding)
    assert rows_of(path) == [row]
    assert bool(reading.Table(path).notes) == (kind == "csv" and encoding != "utf-8-sig")


def test_other_encodings_are_named(tmp_path: Path) -> None:
    path = write(tmp_path / "x.csv", "text,label\nschön,x\n", "cp1252")
    with pytest.raises(InputError, match="name its encoding, as with `--encoding cp1252`"):
        data.read(path)
    assert data.read(data.File(path, encoding="latin1")).texts == (["schön"],)
    with pytest.raises(InputError, match="the file isn't UTF-16"):
        data.read(data.File(path, encoding="utf-16"))
    whole = write(tmp_path / "x.json", '[{"text": "schön", "label": 1}]', "cp1252")
    with pytest.raises(InputError, match="isn't UTF-8; name its encoding"):
        data.read(whole)
    texts = write(tmp_path / "x.txt", "schön\n", "utf-16")
    assert list(reading.line_chunks(texts)) == [["schön"]]
    texts = write(tmp_path / "x.txt", "schön\n", "cp1252")
    assert list(reading.line_chunks(data.File(texts, encoding="cp1252"))) == [["schön"]]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"quoting": "some"},
            "must be one of auto, standard, none, backslash, escapes, or the mark",
        ),
        ({"quoting": "a"}, "`quoting` must be one of auto"),
        ({"quoting": "|", "delimiter": "pipe"}, "`quoting` must be one of auto"),
        ({"delimiter": "ab"}, "`delimiter` must be one character, or tab"),
        ({"encoding": "klingon"}, "`encoding` must be the name of one"),
        ({"encoding": "zlib"}, "`encoding` must be the name of one"),
    ],
)
def test_options_of_files_are_checked(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        data.File("x.csv", **options)


@pytest.mark.parametrize("kind", ["bz2", "xz", "zip", "zst"])
def test_packed_files_are_unpacked_on_the_way(kind: str, tmp_path: Path) -> None:
    content = b"text,label\n" + b"one,x\ntwo,y\n" * 5000
    path = tmp_path / f"x.csv.{kind}"
    if kind == "zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
            file.writestr("__MACOSX/._x.csv", b"odd")
            file.writestr("folder/x.csv", content)
    elif kind == "zst":
        with pa.CompressedOutputStream(str(path), "zstd") as stream:
            stream.write(content)
    else:
        path.write_bytes({"bz2": bz2.compress, "xz": lzma.compress}[kind](content))
    assert len(data.read(path)) == 10_000
    damaged = bytearray(path.read_bytes())
    damaged[len(damaged) // 2 : len(damaged) // 2 + 20] = b"\xff" * 20
    path.write_bytes(damaged)
    with pytest.raises(InputError, match="can't be read. Received: .*x.csv"):
        data.read(path)


def test_archives_of_several_files_want_a_name(tmp_path: Path) -> None:
    path = tmp_path / "kaggle.zip"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("train.csv", "text,label\na,x\n")
        file.writestr("test.csv", "text,label\nb,y\n")
    with pytest.raises(InputError, match="name one of several, as in kaggle.zip/train.csv"):
        data.read(path)
    assert data.read(path / "test.csv").labels == ["y"]
    with pytest.raises(InputError, match="name one of several"):
        data.read(path / "none.csv")


# Tables as text -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("semicolon.csv", "text;label\na, b;x\n", [("a, b", "x")]),
        ("excel.csv", "sep=;\ntext;label\na, b;x\n", [("a, b", "x")]),
        ("pipe.csv", "text|label\na, b|x\n", [("a, b", "x")]),
        ("mac.csv", "text,label\ra,x\rb,y\r", [("a", "x"), ("b", "y")]),
        ("index.csv", ",text,label\n0,a,x\n", [("a", "x")]),
        ("empty names.csv", "text,label,,\na,x,,\n", [("a", "x")]),
        ("r.tsv", '"text"\t"label"\n"1"\t"a"\t"x"\n"2"\t"b"\t"y"\n', [("a", "x"), ("b", "y")]),
        ("excel.txt", "text\tlabel\na, b\tx\n", [("a, b", "x")]),
    ],
)
def test_tables_of_many_dialects(
    name: str, text: str, expected: list[tuple[str, str]], tmp_path: Path
) -> None:
    read = data.read(write(tmp_path / name, text))
    assert list(zip(read.texts[0], read.labels)) == expected


def test_a_text_with_a_comma_is_no_row_name(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="line 2: expected 2 fields .* 3 fields"):
        data.read(write(tmp_path / "x.csv", "text,label\nHello, world,x\n"))
    with pytest.raises(InputError, match="line 3: expected 2 fields .* 3 fields"):
        data.read(write(tmp_path / "x.csv", "text,label\n1,a,x\n1,b,y\n"))


def test_delimiters_may_be_named(tmp_path: Path) -> None:
    path = write(tmp_path / "x.dat", "text~label\na~x\n")
    with pytest.raises(InputError, match="isn't known by its name"):
        data.read(path)
    assert data.read(data.File(path, delimiter="~")).labels == ["x"]
    path = write(tmp_path / "y.csv", "text\tlabel\na\tx\n")
    assert data.read(data.File(path, delimiter="tab")).labels == ["x"]


@pytest.mark.parametrize(
    "text",
    [
        'Sentence #,Word,POS,Tag\nSentence: 1,Anna,NNP,B-per\n,",",",",O\nSentence: 2,Go,VB,O\n',
        'sentence_id,words,labels\n0,Anna,B-per\n0,",",O\n1,Go,O\n',
    ],
)
def test_tables_with_a_row_a_word_are_read_as_sentences(text: str, tmp_path: Path) -> None:
    path = write(tmp_path / "x.csv", text)
    assert tagged(path) == [(["Anna", ","], ["B-per", "O"]), (["Go"], ["O"])]
    assert "rows are words" in reading.Table(path).notes[0]
    with pytest.raises(InputError, match="line 3: each row must have a word and its tag"):
        data.read(write(tmp_path / "y.csv", "sentence_id,word,tag\n1,a,O\n1,,O\n"))


# JSON -----------------------------------------------------------------------------------------

TWO = [{"text": "a", "label": "x"}, {"text": "b", "label": "y"}]


@pytest.mark.parametrize(
    "value",
    [
        TWO,
        {"data": TWO},
        {"version": 1, "data": TWO},
        {"rows": [{"row_idx": i, "row": row} for i, row in enumerate(TWO)]},
        {"columns": ["text", "label"], "index": [0, 1], "data": [["a", "x"], ["b", "y"]]},
        {"text": {"0": "a", "1": "b"}, "label": {"0": "x", "1": "y"}},
        {"0": TWO[0], "1": TWO[1]},
        {"text": ["a", "b"], "label": ["x", "y"]},
    ],
)
@pytest.mark.parametrize("indent", [None, 2])
def test_json_in_every_shape(value: Any, indent: int | None, tmp_path: Path) -> None:
    path = write(tmp_path / "x.json", json.dumps(value, indent=indent))
    assert rows_of(path) == TWO


def test_a_row_alone_is_a_row(tmp_path: Path) -> None:
    row = {"tokens": ["a", "b"], "tags": ["O", "O"]}
    assert rows_of(lines(tmp_path / "x.json", row)) == [row]
    assert rows_of(lines(tmp_path / "x.json", TWO[0])) == [TWO[0]]


def test_arrays_are_read_piece_by_piece(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    row = json.dumps({"text": "ein schöner Satz " * 20, "label": 1})
    path.write_text("[" + ",".join([row] * 20_000) + "]", encoding="utf-8")
    tracemalloc.start()
    try:
        count = sum(len(chunk) for chunk in data.stream(path, chunk_rows=200))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert count == 20_000
    assert peak < path.stat().st_size / 5


# Annotations ----------------------------------------------------------------------------------


@pytest.mark.parametrize("span", [[0, 4, "per"], {"start": 0, "end": 4, "labels": ["per"]}])
def test_spans_in_any_key_are_words_and_tags(span: Any, tmp_path: Path) -> None:
    for key in ("label", "labels", "spans", "entities", "ents", "annotations"):
        path = lines(
            tmp_path / "x.jsonl", {"text": "x", key: []}, {"text": "Anna ran", key: [span]}
        )
        assert tagged(path) == [(["x"], ["O"]), (["Anna", "ran"], ["B-per", "O"])]


def test_prodigy_keeps_what_was_accepted(tmp_path: Path) -> None:
    said = {"_input_hash": 1, "_task_hash": 2, "tokens": [{"text": "Anna", "start": 0, "id": 0}]}
    path = lines(
        tmp_path / "x.jsonl",
        {
            **said,
            "text": "Anna",
            "spans": [{"start": 0, "end": 4, "label": "per"}],
            "answer": "accept",
        },
        {**said, "text": "no", "spans": [], "answer": "reject"},
    )
    read = data.read(path)
    assert (read.texts, read.labels) == ((["Anna"],), [["B-per"]])
    assert "left out, as not accepted: 1 row" in read.notes
    choice = {**said, "text": "a", "options": [], "accept": ["x"], "answer": "accept"}
    assert data.read(lines(tmp_path / "y.jsonl", choice)).labels == ["x"]
    # Without their hashes, as scripts write them on.
    bare = [{"text": t, "label": "x", "answer": a} for t, a in zip("abc", ANSWERS)]
    read = data.read(lines(tmp_path / "bare.jsonl", *bare))
    assert (read.texts, read.labels) == ((["a"],), ["x"])
    assert read.notes == ("left out, as not accepted: 2 rows",)
    span = [{"start": 0, "end": 4, "label": "per"}]
    bare = [{"text": "Anna", "spans": span, "answer": each} for each in ANSWERS]
    assert len(tagged(lines(tmp_path / "spans.jsonl", *bare))) == 1
    asked = [{"text": t, "answer": a} for t, a in zip("abc", ANSWERS)]
    assert rows_of(lines(tmp_path / "asked.jsonl", *asked)) == asked
    # A column of other people's may be called so as well.
    plain = {"text": "a", "label": "x", "answer": "no"}
    assert rows_of(lines(tmp_path / "z.jsonl", plain)) == [plain]


def test_spans_that_cut_words_are_reported(tmp_path: Path) -> None:
    row = {"text": "an annual", "label": [[3, 6, "x"]]}
    read = data.read(lines(tmp_path / "x.jsonl", row))
    assert read.labels == [["O", "B-x"]]
    assert "1 spans end inside of words" in read.notes[1] and "'ann' in 'annual'" in read.notes[1]


@pytest.mark.parametrize(
    ("found", "message"),
    [
        ([[0, 12, "a"], [8, 12, "b"]], "line 1: spans overlap.*'Rome' .b."),
        ([[0, 4, "a"], [0, 4, "b"]], "spans overlap"),
        ([[0, 99, "a"]], "a span must lie in its text, of 12 characters"),
        ([[4, 4, "a"]], "a span must lie in its text"),
        ([[4, 5, "a"]], "a span must hold a word"),
        ([{"start": 0, "end": 4, "label": "a", "text": "Band"}], "'Bank' where 'Band' is expected"),
        ([[0, 4, "a"], [5, 7]], "expected spans with a start, an end and a label"),
    ],
)
def test_spans_that_are_no_tags_are_refused(found: Any, message: str, tmp_path: Path) -> None:
    first = {"text": "Anna", "label": [[0, 4, "a"]]}
    path = lines(tmp_path / "x.jsonl", first, {"text": "Bank of Rome", "label": found})
    with pytest.raises(InputError, match=message.replace("line 1", "line 2")):
        data.read(path)


def test_places_of_javascript_are_those_of_characters() -> None:
    span = spans.Span(3, 7, "per", "Anna")
    assert spans.tagged("🙂 Anna", [span], "", spans.Tally())["tags"] == ["O", "B-per"]


def test_label_studio_that_nobody_looked_at_has_no_tags(tmp_path: Path) -> None:
    tasks = json.loads((MADE / "label_studio.json").read_text("utf-8"))
    tasks[1]["annotations"] = []
    path = write(tmp_path / "x.json", json.dumps(tasks))
    with pytest.raises(InputError, match="row 2: column 'tags' must hold a label"):
        data.read(path)
    assert data.read(path, require_label=False).texts[0][1] == joining.join_words(NOTHING[0])
    asked = reading.Table(path, reading.Asked(labels=False))
    assert not any({"tokens", "tags"} & {*row} for _, row in asked)


def test_words_of_spans_are_those_of_plain_texts() -> None:
    texts = [
        "Anna's car, U.S.A.",
        "不 好的 naïve",
        "a\u3000b\xa0c\u200bd",
        "",
        "¿Qué? «no» $5 🙂!",
        "a\tb\nc",
    ]
    found, starts, ends = (part.to_list() for part in split(tf.constant(texts)))
    for text, own, first, last in zip(texts, found, starts, ends):
        assert words.places(text) == list(zip(first, last))
        assert [text[a:b] for a, b in words.places(text)] == [word.decode() for word in own]


# Words and tags -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        (
            "comments.conll",
            "# id 5239d808\tdomain=en\nthe _ _ O\nRome _ _ B-loc\n\n# id 6\n# _ _ O\nx _ _ O\n",
            [(["the", "Rome"], ["O", "B-loc"]), (["#", "x"], ["O", "O"])],
        ),
        (
            "ner.iob2",
            "# text = What\n1\tWhat\tO\t-\tann\n2\tRome\tB-loc\t-\tann\n\n1\tYes\tO\t-\tann\n",
            [(["What", "Rome"], ["O", "B-loc"]), (["Yes"], ["O"])],
        ),
        (
            "biobert.tsv",
            "Rome\tB\nis\tO\n\nNew\tB\nYork\tI\n",
            [(["Rome", "is"], ["B-entity", "O"]), (["New", "York"], ["B-entity", "I-entity"])],
        ),
        (
            "conll2003.txt",
            "-DOCSTART- -X- -X- O\n\nEU NNP B-NP B-org\n\nPeter NNP B-NP B-per\n",
            [(["EU"], ["B-org"]), (["Peter"], ["B-per"])],
        ),
        (
            "documents.conll",
            "#begin document (a); part 0\nEU B-org\nis O\n#end document\n",
            [(["EU", "is"], ["B-org", "O"])],
        ),
        (
            "tweets.conll",
            "#rome\t#\nis\tV\n\n#\tX\n",
            [(["#rome", "is"], ["#", "V"]), (["#"], ["X"])],
        ),
    ],
)
def test_conll_of_many_years(name: str, text: str, expected: Any, tmp_path: Path) -> None:
    assert tagged(write(tmp_path / name, text)) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("EU B-org\nNew York B-loc\n", "line 2: expected 2 fields.*a word must hold no space"),
        ("EU\tB-org\nNew York\tB-loc\n", "line 2: a word must hold no space.*'New York'"),
        ("EU _\nis _\n", "every tag is `_`, which means none"),
        (
            "#begin document (a/b); part 000\na/b 0 0 Anna NNP (1)\na/b 0 1 ran VBD -\n",
            "as those of CoNLL-2012 do, whose words are the fourth field",
        ),
        ("EU|NNP|B-org is|VBZ|O\n", "stand as word|tag, a sentence a line, write each on a line"),
    ],
)
def test_odd_lines_of_conll_are_named(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message):
        data.read(write(tmp_path / "x.conll", text))


def test_words_that_hold_spaces_are_named(tmp_path: Path) -> None:
    path = lines(tmp_path / "x.jsonl", {"tokens": ["New York"], "tags": ["B-loc"]})
    with pytest.raises(InputError, match="line 1: a word must hold no space.*'New York'"):
        data.read(path)
    text = "1\tsinh viên\t_\tNOUN\t_\t_\t0\troot\t_\t_\n\n"
    assert tagged(write(tmp_path / "vi.conllu", text)) == [(["sinh viên"], ["NOUN"])]
    with pytest.raises(InputError, match="line 1: expected 10 fields with tabs between"):
        data.read(write(tmp_path / "x.conllu", "a b\n"))


def test_fasttext_gives_a_name_or_lists(tmp_path: Path) -> None:
    one = write(tmp_path / "x.train", '__label__very_good a "b", c\n__label__bad d\n')
    assert data.read(one).labels == ["very_good", "bad"]
    assert data.read(one).texts == (['a "b", c', "d"],)
    many = write(tmp_path / "x.txt", "__label__a __label__b x\ny __label__c\nz\n")
    assert data.read(many).labels == [["a", "b"], ["c"], []]
    assert data.read(many).texts == (["x", "y", "z"],)
    assert not reading.is_lines(many)
    assert reading.is_lines(write(tmp_path / "y.txt", "one\ntwo\n"))
    assert reading.is_lines("-")


# Tables in memory -----------------------------------------------------------------------------


class Frame:
    """As much of a pandas DataFrame as is asked for."""

    def __init__(self, columns: dict[str, list[Any]]) -> None:
        self.columns = list(columns)
        self._values = list(columns.values())

    def __len__(self) -> int:
        return len(self._values[0])

    @property
    def iloc(self) -> Any:
        return self

    def __getitem__(self, where: Any) -> Any:
        if isinstance(where, slice):
            return Frame(dict(zip(self.columns, [v[where] for v in self._values])))
        return types.SimpleNamespace(tolist=lambda: self._values[where[1]])


class Dataset:
    """As much of a `datasets.Dataset` as is asked for."""

    column_names = ("text", "label")
    features = types.SimpleNamespace(
        to_dict=lambda: {"label": {"_type": "ClassLabel", "names": ["neg", "pos"]}}
    )

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return iter([{"text": "a", "label": 1}, {"text": "b", "label": -1}])


NA = type("NAType", (), {})()


def test_tables_in_memory() -> None:
    frame = Frame({"text": ["a", "b", "c"], "label": ["x", "y", "x"], "more": [1, NA, 3]})
    read = data.read(frame)
    assert (read.texts, read.labels) == ((["a", "b", "c"],), ["x", "y", "x"])
    assert read.columns["more"] == [1, None, 3]
    assert [row["label"] for row in rows_of(Dataset())] == ["pos", None]
    assert rows_of(TWO) == rows_of({"text": ["a", "b"], "label": ["x", "y"]}) == TWO
    assert rows_of(pa.Table.from_pylist(TWO)) == TWO
    assert {n: len(p) for n, p in data.read_splits({"a": frame, "b": TWO}).items()} == {
        "a": 3,
        "b": 2,
    }


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        ((["a", "ö"], [0, 1]), [("a", 0), ("ö", 1)]),
        ((["a", "ö"], [[0, 1], [1, 1]]), [("a", [0, 1]), ("ö", [1, 1])]),
        ({"text": ["a"], "label": ["x"]}, [("a", "x")]),
    ],
)
def test_data_sets_of_tensorflow(made: Any, expected: Any) -> None:
    source = tf.data.Dataset.from_tensor_slices(made)
    for each in (source, source.batch(2)):
        assert [(row["text"], row["label"]) for row in rows_of(each)] == expected
    pairs = tf.data.Dataset.from_tensor_slices(((["a"], ["b"]), [1.5]))
    assert data.read(pairs).texts == (["a"], ["b"])
    tags = tf.data.Dataset.from_tensor_slices({"tokens": [["a", "b"]], "tags": [["O", "B-x"]]})
    assert tagged(tags) == tagged(tags.batch(1)) == [(["a", "b"], ["O", "B-x"])]


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (["a"], "each row of a list must be a dictionary.*from_lists"),
        ([], "each row of a list must be a dictionary"),
        ({"text": "a", "label": "x"}, "a dictionary must hold columns of one length"),
        ({"text": ["a"], "label": ["x", "y"]}, "a dictionary must hold columns of one length"),
        ({"train": TWO, "test": TWO}, "expected one table; give one of train, test, as in data"),
        (None, "expected a file, a DataFrame.*NoneType"),
        (tf.data.Dataset.from_tensor_slices(([1], [0])), "texts must be strings, not numbers"),
        (tf.data.Dataset.from_tensor_slices(([b"\xff"], [0])), "row 1: texts must be UTF-8"),
        (Frame({"text": ["a"], "label": [1]}).columns, "each row of a list must be a dictionary"),
    ],
)
def test_what_is_no_table_is_refused(source: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        data.read(source)


def test_classes_of_arrow_have_their_names(tmp_path: Path) -> None:
    label = {"_type": "ClassLabel", "names": ["neg", "pos"]}
    listed = {"_type": "Sequence", "feature": label}
    said = {"info": {"features": {"label": label, "tags": listed, "old": [label]}}}
    table = pa.table(
        {"text": ["a", "b"], "label": [1, None], "tags": [[0, 1], []], "old": [[1], [0]]}
    ).replace_schema_metadata({"huggingface": json.dumps(said)})
    path = tmp_path / "x.parquet"
    pyarrow.parquet.write_table(table, path)
    first, second = rows_of(path)
    assert first == {"text": "a", "label": "pos", "tags": ["neg", "pos"], "old": ["pos"]}
    assert second["label"] is None
    odd = table.set_column(1, "label", pa.array([1, 2]))
    with pytest.raises(
        InputError, match="column 'label' has 2 classes, numbered from 0. Received: 2"
    ):
        rows_of(odd)
    assert objects.name(table) == "pyarrow.Table"


def test_damaged_arrow_files_are_named(tmp_path: Path) -> None:
    path = tmp_path / "x.arrow"
    path.write_bytes(b"nothing of the kind")
    with pytest.raises(InputError, match="not an Arrow file. Received: .*x.arrow"):
        data.read(path)
    path.write_bytes(b"FEA1 and more")
    with pytest.raises(InputError, match="Feather of version 1 isn't read"):
        data.read(path)
    path = tmp_path / "saved"
    path.mkdir()
    write(path / "state.json", '{"_data_files": [{"filename": "gone.arrow"}]}')
    with pytest.raises(InputError, match="must hold the files that its state.json lists"):
        data.read(path)


# Commands -------------------------------------------------------------------------------------


def test_commands_take_what_files_dont_say(
    bert_encoder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = tt.build_model(str(bert_encoder), tt.tasks.Classification(["x", "y"]))
    model.save(tmp_path / "model.keras")
    expected = [
        {"text": t, **a}
        for t, a in zip(['"Well,', "schön"], model.predict_text(['"Well,', "schön"]))
    ]

    def ask(*words: str | Path) -> tuple[list[Any], str]:
        assert cli.main(["predict", str(tmp_path / "model.keras"), *map(str, words)]) == 0
        said = capsys.readouterr()
        return [json.loads(line) for line in said.out.splitlines()], said.err

    rows = [{"n": n, **answer} for answer, n in zip(expected, "12")]
    plain = write(tmp_path / "x.tsv", 'text\tn\n"Well,\t1\nschön\t2\n')
    answers, said = ask(plain)
    assert answers == rows
    assert said.count("\n") == 1 and "fields don't quote" in said
    assert ask(plain, "--quoting", "none") == (rows, "")
    old = write(tmp_path / "x.csv", 'text~n\n"Well,~1\nschön~2\n', "cp1252")
    options = ("--quoting", "none", "--delimiter", "~", "--encoding", "cp1252")
    assert ask(old, *options) == (rows, "")
    texts = write(tmp_path / "x.txt", '"Well,\nschön\n', "cp1252")
    assert ask(texts, "--encoding", "cp1252") == (expected, "")
    labelled = write(tmp_path / "x.zip.txt", '__label__x "Well,\n__label__y schön\n')
    kept = [
        {**answer, "label": label, "predicted_label": answer["label"]}
        for answer, label in zip(expected, "xy")
    ]
    assert ask(labelled)[0] == kept
    assert cli.main(["predict", str(tmp_path / "model.keras"), str(old)]) == 2
    assert "`--encoding cp1252`" in capsys.readouterr().err


def test_jobs_read_with_their_options(tmp_path: Path) -> None:
    body = "".join(f'"text {i}~{"xy"[i % 2]}\n' for i in range(40))
    path = write(tmp_path / "x.csv", "text~label\nschön~x\n" + body, "cp1252")
    options = {"quoting": "none", "delimiter": "~", "encoding": "cp1252"}
    job = inputs.TrainJob("classification", str(path), tmp_path / "out", **options)
    parts, _ = inputs.read_splits(job)
    assert sum(parts.counts().values()) == 41
    own = {"task": "classification", "data": "x.csv", **options}
    several = lines(tmp_path / "tasks.json", {"tasks": {"a": own}})
    job = inputs.TrainJob("multi-task", str(several), tmp_path / "out")
    parts, task = inputs.read_splits(job)
    assert len(parts.train["a"]) + len(parts.validation["a"]) + len(parts.test["a"]) == 41
    assert len(inputs.read_labelled(str(several), task, {})["a"]) == 41


@pytest.mark.parametrize("ending", [".csv", ".csv.gz", ".jsonl", ".json"])
def test_who_reads_knows_how_far_it_is(ending: str, tmp_path: Path) -> None:
    """By the bytes of the file, of which as many are read at once as pieces hold."""
    path = tmp_path / f"rows{ending}"
    texts = random.Random(3).choices(["a good film", "a bad one", "neither"], k=40_000)
    rows = [{"text": f"{text} {row}"} for row, text in enumerate(texts)]
    lines = [json.dumps(row) for row in rows]
    if ".csv" in ending:
        lines = ["text", *(row["text"] for row in rows)]
    with gzip.open(path, "wt") if path.suffix == ".gz" else open(path, "w") as file:
        file.write(f"[{','.join(lines)}]" if ending == ".json" else "\n".join(lines))
    with progress.stage("Reading") as stage:
        found = [stage.fraction() for _ in data.stream(path, require_label=False)]
        assert found == sorted(found) and 0 < found[0] < found[-2] <= found[-1] == 1.0
        assert stage.fraction() is None
