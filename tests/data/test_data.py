"""Files to examples: formats, refusals that name the line, splits, profile, batches."""

import dataclasses
import gzip
import json
import pickle
import threading
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tensorflow as tf

from tfhub_transfer import data
from tfhub_transfer.data import reading
from tfhub_transfer.data.forms import tfds as tfds_form
from tfhub_transfer.encoders.registry import samples_path
from tfhub_transfer.errors import InputError, RowError
from tfhub_transfer.storage import opening

ROWS = [
    {"text": "good, very", "label": "a", "extra": "1"},
    {"text": 'she said "no"\nand left', "label": "b", "extra": "2"},
    {"text": "", "label": "a", "extra": "3"},
    {"text": "🙂 قصة", "label": "b", "extra": "4"},
]


def write(folder: Path, kind: str) -> Path:
    path = folder / f"data{kind}"
    if kind == ".parquet":
        pq.write_table(pa.Table.from_pylist(ROWS), path)
        return path
    separator = "\t" if "tsv" in kind else ","
    if "json" in kind:
        text = "\n".join(json.dumps(row) for row in ROWS) + "\n"
    else:
        cells = [[f'"{v.replace(chr(34), chr(34) * 2)}"' for v in row.values()] for row in ROWS]
        text = "\n".join(separator.join(r) for r in [list(ROWS[0]), *cells]) + "\n"
    content = text.encode()
    path.write_bytes(gzip.compress(content, mtime=0) if kind.endswith(".gz") else content)
    return path


KINDS = [".csv", ".csv.gz", ".tsv", ".tsv.gz", ".jsonl", ".jsonl.gz", ".json", ".parquet"]


@pytest.mark.parametrize("kind", KINDS)
def test_every_format_reads_alike(kind: str, tmp_path: Path) -> None:
    examples = data.read(write(tmp_path, kind))
    assert examples.texts == ([row["text"] for row in ROWS],)
    assert examples.labels == ["a", "b", "a", "b"]
    assert examples.columns["extra"] == ["1", "2", "3", "4"]
    assert (len(examples), examples.is_pair, examples.target) == (4, False, "label")
    picked = examples[np.array([3, 0])]
    assert picked.labels == ["b", "a"]
    assert examples[1:3].texts[0] == [ROWS[1]["text"], ""]


@pytest.mark.parametrize("kind", KINDS)
def test_stream_gives_the_same_in_chunks_again_and_again(kind: str, tmp_path: Path) -> None:
    stream = data.stream(write(tmp_path, kind), chunk_rows=3)
    for _ in range(2):
        chunks = list(stream)
        assert [len(chunk) for chunk in chunks] == [3, 1]
        assert [t for chunk in chunks for t in chunk.texts[0]] == [row["text"] for row in ROWS]


def test_named_columns_and_pairs(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text("review,other,stars\ngood,bad,5\n", encoding="utf-8")
    examples = data.read(path, text="review", text_pair="other", label="stars")
    assert examples.texts == (["good"], ["bad"])
    assert examples.labels == ["5"]
    path.write_text("\ufefftext_a,text_b,score\ngood,bad,2.5\n", encoding="utf-8")
    examples = data.read(path)
    assert (examples.is_pair, examples.labels) == (True, ["2.5"])
    assert data.read(path, require_label=False).labels == ["2.5"]
    path.write_text("text\nalone\n", encoding="utf-8")
    unlabelled = data.read(path, require_label=False)
    assert unlabelled.target is None
    with pytest.raises(InputError, match="have no labels"):
        unlabelled.labels  # noqa: B018


def test_labels_keep_their_types_in_json(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    labels: list[Any] = [1, 2.5, True, ["a", "b"], "s"]
    path.write_text("".join(json.dumps({"text": "t", "label": x}) + "\n" for x in labels))
    assert data.read(path).labels == labels


def test_long_and_odd_texts_survive(tmp_path: Path) -> None:
    odd = ["x" * 200_000, "a\x00b"]
    path = tmp_path / "x.jsonl"
    path.write_text("".join(json.dumps({"text": t, "label": 1}) + "\n" for t in odd))
    assert data.read(path).texts[0] == odd
    path = tmp_path / "x.csv"
    path.write_text(f"text,label\n{odd[0]},1\na\x00b,2\n", encoding="utf-8")
    assert data.read(path).texts[0] == odd


def test_tfds_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import tensorflow_datasets as tfds

    features = tfds.features.FeaturesDict(
        {"text": tfds.features.Text(), "label": tfds.features.ClassLabel(names=["neg", "pos"])}
    )
    made = tf.data.Dataset.from_tensor_slices({"text": ["good", "schön"], "label": [1, 0]})
    builder = tfds.dataset_builders.store_as_tfds_dataset(
        "mine", "1.0.0", features, {"train": made}, data_dir=tmp_path
    )
    monkeypatch.setattr(tfds, "builder", lambda name: builder)
    assert not reading.would_download("tfds:mine/train")
    assert not reading.would_download("rows.csv")
    assert reading.would_download("tfds:huggingface:mine/train")
    monkeypatch.setattr(type(builder), "is_prepared", lambda self: False)
    assert reading.would_download("tfds:mine/train")
    monkeypatch.undo()
    assert reading.would_download("tfds:no_such_data_set/train")
    monkeypatch.setattr(tfds, "builder", lambda name: builder)
    examples = data.read("tfds:mine/train")
    assert sorted(zip(examples.texts[0], examples.labels)) == [("good", "pos"), ("schön", "neg")]
    with pytest.raises(InputError, match="has the splits train. Received: tfds:mine/test"):
        data.read("tfds:mine/test")
    with pytest.raises(InputError, match="has the splits train. Received: tfds:mine/train.0"):
        data.read("tfds:mine/train[0")
    with pytest.raises(InputError, match="expected tfds:NAME/SPLIT"):
        data.read("tfds:mine")


def test_tfds_labels_kept_secret_are_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import tensorflow_datasets as tfds

    features = tfds.features.FeaturesDict(
        {"text": tfds.features.Text(), "label": tfds.features.ClassLabel(names=["neg", "pos"])}
    )
    made = tf.data.Dataset.from_tensor_slices({"text": ["good", "bad"], "label": [1, -1]})
    builder = tfds.dataset_builders.store_as_tfds_dataset(
        "secret", "1.0.0", features, {"test": made}, data_dir=tmp_path
    )
    monkeypatch.setattr(tfds, "builder", lambda name: builder)
    with pytest.raises(InputError, match="row [12]: column 'label' must hold a label"):
        data.read("tfds:secret/test")
    assert sorted(data.read("tfds:secret/test", require_label=False).texts[0]) == ["bad", "good"]


def test_tfds_without_network_says_so_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    import tensorflow_datasets as tfds

    class Unprepared:
        def is_prepared(self) -> bool:
            return False

    def refuse(*_: Any) -> None:
        raise OSError("no name server")

    monkeypatch.setattr(tfds, "builder", lambda name: Unprepared())
    monkeypatch.setattr(tfds_form.socket, "getaddrinfo", refuse)
    with pytest.raises(InputError, match="there is no network to download it; give a file instead"):
        data.read("tfds:imdb_reviews/train")
    patience = threading.Event()
    monkeypatch.setattr(tfds_form, "_LOOK_UP_SECONDS", 0.05)
    monkeypatch.setattr(tfds_form.socket, "getaddrinfo", lambda *_: patience.wait(10))
    with pytest.raises(InputError, match="there is no network to download it"):
        data.read("tfds:imdb_reviews/train")
    patience.set()


def test_tfds_of_no_such_name() -> None:
    with pytest.raises(InputError, match="no such TensorFlow data set. Received: tfds:nosuch/x"):
        data.read("tfds:nosuch/x")


def test_packaged_samples_hold_what_their_card_says() -> None:
    topics = data.read(samples_path(), label="topic")
    assert np.unique(topics.labels, return_counts=True)[1].tolist() == [70] * 6
    assert len(set(topics.texts[0])) == len(topics) == 420
    assert set(data.read(samples_path(), label="sentiment").labels) == {
        "negative",
        "neutral",
        "positive",
    }
    tags = [tag for row in data.read(samples_path(), label="tags").labels for tag in row.split("|")]
    assert len(set(tags)) == 12
    urgency = [float(score) for score in data.read(samples_path(), label="urgency").labels]
    assert 0 <= min(urgency) < max(urgency) <= 5
    pairs = data.read(samples_path().with_name("paraphrases.csv"))
    assert (len(pairs), pairs.is_pair) == (118, True)
    assert {float(score) for score in pairs.labels} <= {i / 10 for i in range(51)}


GOOD = b"text,label\nfine,a\n"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.csv", b"", "file is empty"),
        ("x.csv", b"text,label\n", "no rows below its header"),
        ("x.csv", GOOD + b"caf\xe9,a\n", "byte 0xe9 at offset 21, in line 3"),
        ("x.csv", GOOD + b'"open,a\n', "line 3: a quote isn't closed"),
        ("x.csv", GOOD + b'"a" b,c\n', "line 3: a quote isn't closed, or text follows"),
        ("x.csv", GOOD + b"only\n", "line 3: expected 2 fields .text, label.* 1 fields"),
        ("x.csv", GOOD + b"a,b,c\n", "line 3: expected 2 fields .* 3 fields"),
        ("x.csv", GOOD + b"a,\n", "line 3: column 'label' must hold a label.*nothing"),
        ("x.csv", GOOD + b"a, \n", "line 3: column 'label' must hold a label.*' '"),
        ("x.csv", b"text,text\na,b\n", "must name each column once"),
        ("x.csv", b"texts,label\na,b\n", "no column 'text' .*did you mean 'texts'"),
        ("x.csv", b"text,labels\na,b\n", "no column 'label' for the label; did you mean 'labels'"),
        ("x.csv", b"text,label\n  ,a\n,b\n", "every text is blank"),
        ("x.jsonl", b'{"text": "a", "label": 1}\n{"text":\n', "line 2: expected one JSON object"),
        ("x.jsonl", b'{"text": "a", "label": 1}\n[1]\n', "line 2: expected a JSON object"),
        ("x.jsonl", b'{"text": "a", "label": 1}\n{"text": "b"}\n', "line 2: the row lacks 'label'"),
        ("x.jsonl", b'{"text": "a", "label": NaN}\n', "line 1: column 'label' must hold a label"),
        ("x.jsonl", b'{"text": [1], "label": 1}\n', "line 1: column 'text' must hold a text"),
        ("x.parquet", b"PAR1 not really", "not a Parquet file"),
        ("x.csv.gz", b"not gzip", "can't be read"),
        ("x.csv.gz", gzip.compress(GOOD * 50, mtime=0)[:-20], "can't be read"),
        ("x.csv.gz", gzip.compress(b"", mtime=0), "must name each column once"),
        ("x.xlsx", b"PK", "format of the file isn't read; save the sheet as CSV in UTF-8"),
        ("x.xyz", b"PK", "format of the file isn't known"),
        ("x.csv", b"PK\x03\x04...", "a zip archive or a spreadsheet; export it as CSV"),
        ("x.csv", gzip.compress(GOOD, mtime=0), "file is gzipped; give its name the ending .gz"),
        ("x.jsonl", b"PAR1....PAR1", "file is Parquet; give its name the ending .parquet"),
        ("x.csv", "text,label\na,b\n".encode("utf-16-le"), "give `--encoding utf-16-le`"),
        ("x.csv", b"\xef\xbb\xbftext,la\xe9\n", "byte 0xe9 at offset 10, in line 1"),
        ("x.csv", b'text,label\n"two\nlines",a\n\n b,\n', "line 5: column 'label' must hold"),
        ("x.json", b'[{"text": "a", "label": 1}, 2]', "row 2: expected a JSON object"),
        ("x.json", b'[\n{"text": "a", "label": 1}', "row 1: .*array is damaged or isn't closed"),
        ("x.json", b'[{"text": "a", "label": 1}] [2]', "this has more behind an array"),
        ("x.jsonl", b'{"label": ' + b"1" * 5000 + b"}", "line 1: expected one JSON object a line"),
        ("x.jsonl", b"[" * 100_000, "row 1: expected one JSON object a line"),
        ("x.jsonl", b'{"text": "a", "label": ["b", null]}', "line 1: column 'label' must hold"),
        ("x.jsonl", b'{"text": "a", "label": null}', "line 1: column 'label' must hold a label"),
    ],
)
def test_refusals(name: str, content: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(InputError, match=message) as caught:
        data.read(path)
    assert "\n" not in str(caught.value)
    assert "Received: " in str(caught.value)


def test_missing_and_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        data.read(tmp_path / "none.csv")
    with pytest.raises(InputError, match="which is a folder"):
        data.read(tmp_path)
    with pytest.raises(InputError, match="too long. Received: 'xxx.*5004 characters"):
        data.read("x" * 5000 + ".csv")


def test_unreadable_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.csv"
    path.write_bytes(GOOD)

    def refuse(path: Path) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    # Not by chmod: the tests may run as root, who may read everything.
    monkeypatch.setattr(opening, "descriptor", refuse)
    with pytest.raises(InputError, match="can't be read. Received: .*Permission denied"):
        data.read(path)


def test_damaged_files_are_named_not_thrown(tmp_path: Path) -> None:
    packed = bytearray(gzip.compress(b"text,label\n" + b"hello there,1\n" * 1000, mtime=0))
    packed[30:40] = b"\xff" * 10
    path = tmp_path / "x.csv.gz"
    path.write_bytes(packed)
    with pytest.raises(InputError, match="can't be read. Received: .*x.csv.gz"):
        data.read(path)
    path = tmp_path / "x.parquet"
    pq.write_table(pa.table({"text": ["long text"] * 5000, "label": list(range(5000))}), path)
    content = bytearray(path.read_bytes())
    content[20:60] = b"\xff" * 40
    path.write_bytes(content)
    with pytest.raises(InputError, match="can't be read after row 0. Received: .*x.parquet"):
        data.read(path)


def test_parquet_counts_rows_and_wants_names(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    pq.write_table(pa.table({"text": ["a", "b"], "label": ["x", None]}), path)
    with pytest.raises(InputError, match="x.parquet, row 2: column 'label' must hold a label"):
        data.read(path)
    pq.write_table(pa.Table.from_arrays([pa.array(["a"])] * 2, names=["text", "text"]), path)
    with pytest.raises(InputError, match="each column must have its own name"):
        data.read(path)


def test_missing_texts_are_empty_texts(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    rows = ['{"text": null, "label": 1}', '{"text": NaN, "label": 2}', '{"text": "c", "label": 3}']
    path.write_text("\n".join(rows))
    assert data.read(path).texts == (["", "", "c"],)


def test_columns_that_were_not_chosen_do_not_interfere(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text("text_a,text_b,text,label,topic\na,b,t,1,x\n")
    one = data.read(path, text="text_a")
    assert (one.is_pair, one.texts, one.labels) == (False, (["a"],), ["1"])
    assert one.columns["topic"] == ["x"]
    two = data.read(path, text="text_b", text_pair="text_a", label="topic")
    assert (two.is_pair, two.texts, two.labels) == (True, (["b"], ["a"]), ["x"])
    assert not data.stream(path, text="text_b").is_pair


def test_missing_labels_are_left_out_where_none_are_needed(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text("text,label\na,\nb,x\n")
    examples = data.read(path, require_label=False)
    assert (examples.target, list(examples.columns)) == (None, ["text"])
    assert examples.notes == ("labels are left out, for 1 of 2 rows lack one, as line 2 does",)
    stream = data.stream(path, require_label=False, chunk_rows=1)
    for _ in range(2):
        assert [chunk.target for chunk in stream] == [None, "label"]
    assert stream.notes == examples.notes
    # Who asks for no labels, as `predict` does, misses none; nor does a column without any.
    asked = reading.Table(path, reading.Asked(labels=False))
    assert not data.read(asked, require_label=False).notes
    path.write_text("text,label\na,\nb,\n")
    assert not data.read(path, require_label=False).notes


def test_stream_refuses_at_the_right_line_again_and_again(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text("text,label\n" + "a,b\n" * 25 + "a\n")
    stream = data.stream(path, chunk_rows=10)
    for _ in range(2):
        chunks = iter(stream)
        assert [len(next(chunks)), len(next(chunks))] == [10, 10]
        with pytest.raises(InputError, match="line 27: expected 2 fields"):
            next(chunks)
    path.write_text("text,label\n")
    with pytest.raises(InputError, match="no rows below its header"):
        list(data.stream(path))
    with pytest.raises(InputError, match="`chunk_rows` must be a whole number from 1"):
        data.stream(path, chunk_rows=0)


def test_stream_holds_one_chunk_only(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text("text,label\n" + f"{'word ' * 200},b\n" * 20_000)
    tracemalloc.start()
    try:
        rows = sum(len(chunk) for chunk in data.stream(path, chunk_rows=200))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert rows == 20_000
    assert peak < path.stat().st_size / 5


def test_boolean_masks_choose_rows() -> None:
    kept = data.Examples.from_lists(["a", "b", "c"], [1, 2, 3])[np.array([True, False, True])]
    assert (kept.texts, kept.labels) == ((["a", "c"],), [1, 3])
    assert len(kept[[]]) == 0


def examples(n: int, classes: int = 3) -> data.Examples:
    texts = [f"text {i}" for i in range(n)]
    return data.Examples.from_lists(texts, [i % classes for i in range(n)])


def test_split_is_stratified_complete_and_repeatable() -> None:
    parts = data.split(examples(300), (0.8, 0.1, 0.1), seed=3)
    assert [len(part) for part in parts] == [240, 30, 30]
    for part in parts:
        assert np.bincount(part.labels).tolist() == [len(part) // 3] * 3
    assert sorted(t for part in parts for t in part.texts[0]) == sorted(examples(300).texts[0])
    again = data.split(examples(300), (0.8, 0.1, 0.1), seed=3)
    assert [part.texts for part in again] == [part.texts for part in parts]
    other = data.split(examples(300), (0.8, 0.1, 0.1), seed=4)
    assert [part.texts for part in other] != [part.texts for part in parts]


def test_identical_texts_stay_on_one_side() -> None:
    doubled = data.Examples.from_lists([f"text {i % 20}" for i in range(100)], [0, 1] * 50)
    parts = data.split(doubled, (0.5, 0.3, 0.2))
    sets = [set(part.texts[0]) for part in parts]
    assert not sets[0] & sets[1]
    assert not sets[0] & sets[2]
    assert not sets[1] & sets[2]


def test_small_classes_reach_every_part() -> None:
    labels = ["a"] * 90 + ["b"] * 3
    parts = data.split(data.Examples.from_lists([f"t{i}" for i in range(93)], labels))
    assert ["b" in part.labels for part in parts] == [True, True, True]


@pytest.mark.parametrize("fractions", [(0.1, 0.9), (0.2, 0.4, 0.4), (0.05, 0.9, 0.05)])
def test_no_part_goes_without_a_class_that_is_large_enough(fractions: tuple[float, ...]) -> None:
    labels = ["a"] * 30 + ["b"] * len(fractions)
    made = data.Examples.from_lists([f"t{i}" for i in range(len(labels))], labels)
    for part in data.split(made, fractions):
        assert set(part.labels) == {"a", "b"}


def test_split_of_several_labels_numbers_and_nothing() -> None:
    texts = [f"t{i}" for i in range(100)]
    made = data.Examples.from_lists(texts, [["a", "b"][: i % 3] for i in range(100)])
    assert [len(part) for part in data.split(made)] == [80, 10, 10]
    made = data.Examples.from_lists(texts, [i / 7 for i in range(100)])
    assert [len(part) for part in data.split(made)] == [80, 10, 10]
    assert [len(part) for part in data.split(data.Examples.from_lists(texts))] == [80, 10, 10]
    pairs = data.Examples.from_lists(["same"] * 100, text_pair=texts)
    assert [len(part) for part in data.split(pairs)] == [80, 10, 10]


def test_split_refuses() -> None:
    with pytest.raises(InputError, match="add up to 1"):
        data.split(examples(10), (0.8, 0.1))
    with pytest.raises(InputError, match="too few rows to split into 3 parts"):
        data.split(examples(2))


def test_from_lists_refuses() -> None:
    with pytest.raises(InputError, match="of one length"):
        data.Examples.from_lists(["a"], [1, 2])
    with pytest.raises(InputError, match="every text must be a string. Received: None"):
        data.Examples.from_lists(["a", None])  # type: ignore[list-item]


def test_class_weights_without_a_task_are_refused() -> None:
    with pytest.raises(InputError, match=r"use `task.class_weights\(train.labels\)`.*4 labels"):
        data.class_weights([0, 0, 0, 1])


def test_profile_is_one_screen_and_sees_duplicates() -> None:
    train = data.Examples.from_lists(["a b c", "a b c", "", "d"], ["x", "y", "x", "x"])
    text = data.profile(train, test=data.Examples.from_lists(["d", "e"], ["x", "y"]))
    lines = text.splitlines()
    assert len(lines) <= 24
    assert max(map(len, lines)) <= 100
    assert lines[1].split()[:4] == ["train", "4", "1", "1"]
    assert "also in train: 1 text of test" in text
    assert "labels: 2 (x 3, y 1)" in text


def test_profile_of_many_long_names_stays_narrow() -> None:
    labels = [f"a rather long name of an intent, the {i % 77}th" for i in range(770)]
    made = data.Examples.from_lists([f"t{i}" for i in range(770)], labels)
    lines = data.profile(made, made, made).splitlines()
    assert len(lines) <= 24
    assert max(map(len, lines)) <= 100
    assert "and 65 more" in lines[-1]


def test_profile_of_scores_contradictions_and_nothing() -> None:
    scores = data.Examples.from_lists([f"t{i}" for i in range(9)], [str(i / 2) for i in range(9)])
    assert "labels: numbers from 0 to 4, median 2" in data.profile(scores)
    torn = data.Examples.from_lists(["a", "a", "b", "b", "c"], ["x", "y", "x", "x", "y"])
    assert "contradictions: 1 text with more than one label" in data.profile(torn)
    assert data.profile(scores[:0]).splitlines()[1].split()[:2] == ["train", "0"]


def test_an_impossible_question_of_squad_has_no_answer(tmp_path: Path) -> None:
    plausible = [{"text": "Rome", "answer_start": 14}]
    asked = [
        {"id": "1", "question": "Where?", "answers": plausible},
        {"id": "2", "question": "Why?", "answers": plausible, "is_impossible": True},
        {"id": "3", "question": "Who?", "answers": plausible, "is_impossible": False},
    ]
    whole = {"data": [{"paragraphs": [{"context": "Anna lives in Rome.", "qas": asked}]}]}
    (tmp_path / "squad.json").write_text(json.dumps(whole), encoding="utf-8")
    assert data.read(tmp_path / "squad.json").labels == [plausible, [], plausible]


def test_mistakes_in_rows_travel_between_processes() -> None:
    error = RowError("label", 3, "it is missing")
    again = pickle.loads(pickle.dumps(error))
    assert (str(again), again.row) == ("label 4: it is missing", 3)


def test_rows_put_in_the_place_of_others_have_no_lines(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "a", "label": 0}\n\n{"text": "b", "label": 1}\n', "utf-8")
    read = data.read(str(path))
    assert read.place(1).endswith("line 3")
    more = dataclasses.replace(read, columns={k: [*v, *v] for k, v in read.columns.items()})
    assert more.place(3).endswith("4") and len(more[2:]) == 2


def test_choices_that_belong_to_a_question_stay_with_it(tmp_path: Path) -> None:
    rows = [{"q": {"stem": f"why {i}", "choices": ["x", "y"]}, "label": "a"} for i in range(3)]
    assert data.read(rows, text="q.stem").texts[0] == ["why 0", "why 1", "why 2"]
