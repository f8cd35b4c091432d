"""Tokenizers read from Hugging Face's files give the ids that Hugging Face's `tokenizers` give."""

import base64
import copy
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import tensorflow as tf
from sentencepiece import sentencepiece_model_pb2

from tfhub_transfer.encoders.pieces import reading
from tfhub_transfer.encoders.pieces.tokenizer import Tokenizer
from tfhub_transfer.errors import InputError

KEPT = json.loads(Path(__file__).with_name("kept_tokenizers.json").read_text())
TEXTS, FOUND = KEPT["texts"], KEPT["found"]


def written(folder: Path, files: Mapping[str, Any]) -> Path:
    """A folder of files: bytes, text, or what JSON holds."""
    folder.mkdir(exist_ok=True)
    for name, content in files.items():
        if isinstance(content, bytes):
            (folder / name).write_bytes(content)
        else:
            text = content if isinstance(content, str) else json.dumps(content)
            (folder / name).write_text(text, encoding="utf-8")
    return folder


def read(folder: Path, family: str, **files: Any) -> Tokenizer:
    """The tokenizer of a folder; a dot in a file's name is written as two underscores."""
    named = {name.replace("__", "."): content for name, content in files.items()}
    found = reading.read(written(folder, named), {"model_type": family})
    assert found is not None
    return found


def ids(tokenizer: Tokenizer, texts: list[str]) -> list[list[int]]:
    """Ids of texts, without words."""
    found = tokenizer.splitter.ids(tf.constant(texts, tf.string))
    rows: list[list[int]] = (found.merge_dims(1, -1) if found.ragged_rank > 1 else found).to_list()
    return rows


@pytest.fixture(params=FOUND)
def name(request: pytest.FixtureRequest) -> str:
    """A kind of tokenizer."""
    found: str = request.param
    return found


def test_ids_are_those_of_tokenizers(tmp_path: Path, name: str) -> None:
    kept = FOUND[name]
    made = read(tmp_path, kept["family"], tokenizer__json=kept["tokenizer"])
    for text, ours, theirs in zip(TEXTS, ids(made, TEXTS), kept["ids"], strict=True):
        assert ours == theirs, (text, [made.pieces[each] for each in ours])


@pytest.mark.parametrize("name", ["albert", "roberta"], indirect=True)
def test_saved_preprocessors_pack_pairs_as_tokenizers_do(tmp_path: Path, name: str) -> None:
    kept = FOUND[name]
    made = read(tmp_path / "source", kept["family"], tokenizer__json=kept["tokenizer"])
    made.save(tmp_path / "saved")
    loaded = tf.saved_model.load(str(tmp_path / "saved"))
    segments = [loaded.tokenize(tf.constant(column)) for column in (TEXTS[2:5], TEXTS[5:8])]
    packed = loaded.bert_pack_inputs(segments, tf.constant(300))
    present = packed["input_mask"].numpy().sum(axis=1)
    for row, (wanted, types) in enumerate(kept["pairs"]):
        assert packed["input_word_ids"].numpy()[row, : present[row]].tolist() == wanted
        assert packed["input_type_ids"].numpy()[row, : present[row]].tolist() == types
    padding = packed["input_word_ids"].numpy()[0, present[0] :]
    assert set(padding.tolist()) == {made.packing.padding}
    vocabulary = (tmp_path / "saved" / "assets" / "vocab.txt").read_text("utf-8").split("\n")
    assert vocabulary[:-1] == list(made.pieces)


def sentence_model(kept: Mapping[str, Any], first: list[tuple[str, int]], skip: int) -> bytes:
    """A SentencePiece model as it lies beside a fast tokenizer, with its own first pieces."""
    said = kept["tokenizer"]
    model = sentencepiece_model_pb2.ModelProto()
    for piece, kind in first:
        model.pieces.add(piece=piece, type=kind)
    for piece, score in said["model"]["vocab"][skip:]:
        model.pieces.add(piece=piece, score=score)
    steps = said["normalizer"]["normalizers"]
    named = "precompiled_charsmap"
    table = next((each[named] for each in steps if named in each), "")
    model.normalizer_spec.precompiled_charsmap = base64.b64decode(table)
    return bytes(model.SerializeToString())


@pytest.mark.parametrize("file", ["sentencepiece.bpe.model", "tokenizer.model"])
def test_xlmr_numbers_its_model_as_fairseq_does(tmp_path: Path, file: str) -> None:
    kept = FOUND["xlmr"]
    first = [("<unk>", 2), ("<s>", 3), ("</s>", 3)]
    # The fast tokenizer has five special tokens in front, the slow one four and <mask> behind.
    model = sentence_model(kept, first, 5)
    made = read(tmp_path, "xlm-roberta", **{file: model})
    assert made.pieces[:4] == ["<s>", "<pad>", "</s>", "<unk>"] and made.pieces[-1] == "<mask>"
    wanted = [[each - 1 if each > 4 else each for each in row] for row in kept["ids"]]
    assert ids(made, TEXTS) == wanted
    packing = made.packing
    assert (packing.start, packing.padding, packing.end, packing.unknown) == (0, 1, 2, 3)
    assert packing.mask == len(made.pieces) - 1 and packing.separators == 2


def test_a_bert_with_xlmrs_tokenizer_has_its_numbers_too(tmp_path: Path) -> None:
    model = sentence_model(FOUND["xlmr"], [("<unk>", 2), ("<s>", 3), ("</s>", 3)], 5)
    files = {"sentencepiece.bpe.model": model}
    settings = {"tokenizer_class": "XLMRobertaTokenizer"}
    made = read(tmp_path, "bert", tokenizer_config__json=settings, **files)
    assert (made.packing.start, made.packing.end, made.packing.segments) == (0, 2, 1)


def test_camembert_keeps_its_models_own_ends(tmp_path: Path) -> None:
    model = sentence_model(FOUND["plain"], [("<unk>", 2), ("<s>", 3), ("</s>", 3)], 5)
    made = read(tmp_path, "camembert", **{"sentencepiece.bpe.model": model})
    assert made.pieces[3:7] == ["<unk>", "<unk>NOTUSED", "<s>", "</s>"]
    assert (made.packing.start, made.packing.end, made.packing.unknown) == (5, 6, 3)
    assert ids(made, ["the good"]) == [[e + 2 for e in FOUND["plain"]["ids"][2][:2]]]


def test_albert_has_its_models_own_numbers(tmp_path: Path) -> None:
    kept = FOUND["albert"]
    special = [("<pad>", 3), ("<unk>", 2), ("[CLS]", 3), ("[SEP]", 3), ("[MASK]", 3)]
    made = read(tmp_path, "albert", **{"spiece.model": sentence_model(kept, special, 5)})
    assert ids(made, TEXTS) == kept["ids"]
    assert (made.packing.start, made.packing.end, made.packing.padding) == (2, 3, 0)
    assert (made.packing.separators, made.packing.segments) == (1, 2)


def test_albert_parts_a_comma_from_the_digit_before(tmp_path: Path) -> None:
    special = [("<pad>", 3), ("<unk>", 2), ("[CLS]", 3), ("[SEP]", 3), ("[MASK]", 3)]
    model = sentencepiece_model_pb2.ModelProto()
    for piece, kind in special:
        model.pieces.add(piece=piece, type=kind)
    for piece, score in (("\u2581", -3.0), ("9", -3.0), (",", -3.0), ("9,", -1.0)):
        model.pieces.add(piece=piece, score=score)
    files = {"spiece.model": bytes(model.SerializeToString())}
    assert ids(read(tmp_path, "albert", **files), ["9,"]) == [[5, 6, 7]]


@pytest.mark.parametrize("name_", ["roberta", "spaced"])
def test_two_files_of_byte_pairs_are_as_good_as_one(tmp_path: Path, name_: str) -> None:
    kept = FOUND[name_]
    model = kept["tokenizer"]["model"]
    pairs = [pair if isinstance(pair, str) else " ".join(pair) for pair in model["merges"]]
    made = read(
        tmp_path,
        "roberta",
        vocab__json=model["vocab"],
        merges__txt="\n".join(["#version: 0.2", *pairs, ""]),
        tokenizer_config__json={"add_prefix_space": name_ == "spaced"},
    )
    assert ids(made, TEXTS) == kept["ids"]
    assert made.spaced and made.packing.separators == 2


def test_mpnets_lines_are_as_good_as_its_json(tmp_path: Path) -> None:
    kept = FOUND["mpnet"]
    vocab = kept["tokenizer"]["model"]["vocab"]
    lines = "".join(f"{piece}\n" for piece in sorted(vocab, key=vocab.__getitem__))
    made = read(tmp_path, "mpnet", vocab__txt=lines)
    assert ids(made, TEXTS) == kept["ids"]
    assert (made.packing.start, made.packing.end, made.packing.separators) == (0, 2, 2)


def test_berts_own_tokenizer_is_left_to_bert(tmp_path: Path) -> None:
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a"]
    vocab = {piece: number for number, piece in enumerate(special)}
    said = {
        "model": {"type": "WordPiece", "vocab": vocab},
        "normalizer": {"type": "BertNormalizer"},
        "pre_tokenizer": {"type": "BertPreTokenizer"},
    }
    folder = written(tmp_path, {"tokenizer.json": said})
    assert reading.read(folder, {"model_type": "bert"}) is None


# What is changed in the file of a kind, and what is said of it.
REFUSED: list[tuple[str, str, Any, str]] = [
    ("xlmr", "pre_tokenizer", {"type": "Split"}, "pre_tokenizer.*Received: Split$"),
    ("xlmr", "pre_tokenizer", None, "pre_tokenizer.*Received: none or Sequence"),
    ("xlmr", "normalizer", {"type": "Nmt"}, "normalizer.*Received: Nmt$"),
    ("xlmr", "model", {"type": "WordLevel"}, "model.*Received: WordLevel"),
    ("spaces", "normalizer", {"type": "NFC"}, "Metaspace that keeps several spaces apart"),
    ("roberta", "pre_tokenizer", {"type": "Digits"}, "pre_tokenizer.*Received: Digits"),
    ("roberta", "post_processor", {"type": "Other"}, "post_processor.*Received: Other"),
    ("roberta", "model.dropout", 0.1, "BPE with dropout 0.1"),
    ("roberta", "model.end_of_word_suffix", "</w>", "BPE with end_of_word_suffix '</w>'"),
    ("roberta", "pre_tokenizer.use_regex", False, "ByteLevel without its pattern"),
    ("roberta", "model.merges", [["q", "zz"]], "merge is of two pieces.*Received: 'q zz'"),
    ("mpnet", "pre_tokenizer", {"type": "Punctuation"}, "pre_tokenizer.*Received: Punctuation"),
    ("mpnet", "model.continuing_subword_prefix", "@@", "WordPiece with continuing_subword_prefix"),
    ("xlmr", "post_processor.pair", [], "post_processor.*TemplateProcessing"),
    ("roberta", "added_tokens.0.special", False, "added token.*Received: '<s>'"),
    ("roberta", "added_tokens.0.id", 7, "vocabulary.*'<s>' with two numbers"),
]


@pytest.mark.parametrize(("kind", "at", "value", "message"), REFUSED)
def test_what_cant_be_said_is_refused_by_its_name(
    tmp_path: Path, kind: str, at: str, value: Any, message: str
) -> None:
    said = copy.deepcopy(FOUND[kind]["tokenizer"])
    *path, last = at.split(".")
    part = said
    for key in path:
        part = part[int(key)] if key.isdigit() else part[key]
    part[last] = value
    with pytest.raises(InputError, match=message) as raised:
        read(tmp_path, FOUND[kind]["family"], tokenizer__json=said)
    assert "\n" not in str(raised.value)


def test_models_of_unknown_families_are_refused(tmp_path: Path) -> None:
    model = sentence_model(FOUND["xlmr"], [("<unk>", 2)], 5)
    with pytest.raises(InputError, match="SentencePiece model.*Received: one for t5"):
        read(tmp_path, "t5", **{"spiece.model": model})
    with pytest.raises(InputError, match="a SentencePiece model is expected"):
        read(tmp_path, "albert", **{"spiece.model": b"\xff\xff\xff"})


def test_a_missing_half_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"vocab.json and merges.txt; one of these is missing"):
        read(tmp_path, "roberta", vocab__json={"a": 0})
