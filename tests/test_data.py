"""Files to examples: formats, refusals that name the line, splits, profile, batches."""

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tensorflow as tf

from tfhub_transfer import data
from tfhub_transfer.errors import InputError

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
    path.write_bytes(gzip.compress(content) if kind.endswith(".gz") else content)
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
    odd = ["x" * 200_000, "a\x00b", "\ud83d"]
    path = tmp_path / "x.jsonl"
    path.write_text("".join(json.dumps({"text": t, "label": 1}) + "\n" for t in odd))
    assert data.read(path).texts[0] == [odd[0], odd[1], "?"]
    path = tmp_path / "x.csv"
    path.write_text(f"text,label\n{odd[0]},1\na\x00b,2\n", encoding="utf-8")
    assert data.read(path).texts[0] == odd[:2]


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
    examples = data.read("tfds:mine/train")
    assert sorted(zip(examples.texts[0], examples.labels)) == [("good", "pos"), ("schön", "neg")]
    with pytest.raises(InputError, match="has the splits train. Received: tfds:mine/test"):
        data.read("tfds:mine/test")
    with pytest.raises(InputError, match="expected tfds:NAME/SPLIT"):
        data.read("tfds:mine")


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
        ("x.csv", GOOD + b"a,NaN\n", "line 3: column 'label' must hold a label.*'NaN'"),
        ("x.csv", b"text,text\na,b\n", "must name each column once"),
        ("x.csv", b"texts,label\na,b\n", "no column 'text' .*did you mean 'texts'"),
        ("x.csv", b"text,labels\na,b\n", "no column 'label' for the label; did you mean 'labels'"),
        ("x.csv", b"text,label\n  ,a\n,b\n", "every text is blank"),
        ("x.jsonl", b'{"text": "a", "label": 1}\n{"text":\n', "line 2: expected one JSON object"),
        ("x.jsonl", b'{"text": "a", "label": 1}\n[1]\n', "line 2: expected a JSON object"),
        ("x.jsonl", b'{"text": "a", "label": 1}\n{"text": "b"}\n', "line 2: the row lacks 'label'"),
        ("x.jsonl", b'{"text": "a", "label": NaN}\n', "line 1: column 'label' must hold a label"),
        ("x.jsonl", b'{"text": ["a"], "label": 1}\n', "line 1: column 'text' must hold a text"),
        ("x.parquet", b"PAR1 not really", "not a Parquet file"),
        ("x.csv.gz", b"not gzip", "can't be read"),
        ("x.xlsx", b"PK", "format of the file isn't known"),
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


def test_class_weights_balance() -> None:
    weights = data.class_weights([0, 0, 0, 1])
    assert weights == {0: pytest.approx(4 / 6), 1: pytest.approx(2.0)}
    with pytest.raises(InputError, match="one class for each row"):
        data.class_weights([[0, 1], [1, 0]])


def test_profile_is_one_screen_and_sees_duplicates() -> None:
    train = data.Examples.from_lists(["a b c", "a b c", "", "d"], ["x", "y", "x", "x"])
    text = data.profile(train, test=data.Examples.from_lists(["d", "e"], ["x", "y"]))
    lines = text.splitlines()
    assert len(lines) <= 24
    assert max(map(len, lines)) <= 100
    assert lines[1].split()[:4] == ["train", "4", "1", "1"]
    assert "1 texts of test are also in train" in text
    assert "labels: 2 (x 3, y 1)" in text


def test_batches_are_of_like_length() -> None:
    lengths = np.random.default_rng(0).integers(1, 100, 1000)
    batches = data.length_batches(lengths, 10, seed=1)
    assert sorted(np.concatenate(batches)) == list(range(1000))
    padded = sum(len(rows) * lengths[rows].max() for rows in batches)
    assert padded < 1.1 * lengths.sum()
    again = data.length_batches(lengths, 10, seed=1)
    assert all(np.array_equal(a, b) for a, b in zip(batches, again))
    other = data.length_batches(lengths, 10, seed=2)
    assert any(not np.array_equal(a, b) for a, b in zip(batches, other))
    ordered = np.concatenate(data.length_batches(lengths, 10, shuffle=False))
    assert (np.diff(lengths[ordered]) <= 0).all()
