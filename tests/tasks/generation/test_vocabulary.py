"""Answers to pieces and back: whole, as SentencePiece itself has them, and inside of exports."""

import base64
import zlib
from pathlib import Path
from typing import Any

import pytest
import sentencepiece
import tensorflow as tf
from sentencepiece import sentencepiece_model_pb2

import tfhub_transfer as tt
from tfhub_transfer.graphs import safety
from tfhub_transfer.tasks.generation import vocabulary
from tfhub_transfer.tasks.generation.vocabulary import BOS, EOS, PAD, UNK, TargetVocabulary

TEXTS = [
    f"{who} {what} {where}."
    for who in ("Ein Hund", "Zwei Männer", "Die Frau mit dem Hut")
    for what in ("rennt", "springen", "wartet lange", "läuft schnell")
    for where in ("über das Gras", "im Park", "vor dem Haus")
]
ODD = [
    *("", " ", "   ", " a", "a ", "  a  b  ", "a\tb", "\n", "a\n\n b\r\n", "\0", "a\0b", "\ufeff"),
    *("▁", "▁▁ ▁a", "\ue000", "\ue000\ue001\ue002", "\ue002▁\ue000 ▁", "⁇", "\ufffd", "\x7f\x80"),
    *("<s>", "</s> <pad> <unk>", "<0x0A>", "é", "e\u0301", "ﬁ①Å", "a\u2028b\u2029"),
    *("مرحبا بالعالم", "漢字かな", "😀 👩‍👩‍👧‍👦", "\U0010ffff", "x" * 5000),
]


@pytest.fixture(scope="module")
def learned() -> TargetVocabulary:
    return TargetVocabulary.learn(TEXTS)


def texts_of(strings: tf.Tensor) -> list[str]:
    return [each.decode("utf-8") for each in strings.numpy()]


def test_every_text_comes_back_as_it_was(learned: TargetVocabulary) -> None:
    for texts in (TEXTS, ODD):
        assert texts_of(learned.detokenize(learned.tokenize(texts))) == texts
        padded = learned.tokenize(texts).to_tensor(PAD)
        assert padded.dtype == tf.int32
        assert texts_of(learned.detokenize(padded)) == texts
    # Of no texts none, and texts of nothing.
    assert learned.tokenize(tf.zeros([0], tf.string)).shape[0] == 0
    assert texts_of(learned.detokenize(tf.zeros([2, 0], tf.int32))) == ["", ""]


def test_pieces_are_those_of_sentencepiece(learned: TargetVocabulary) -> None:
    theirs = sentencepiece.SentencePieceProcessor(model_proto=learned.model)
    texts = [*TEXTS, *(text for text in ODD if text)]
    ids = learned.tokenize(texts).to_list()
    assert ids == theirs.encode([f" {text}" for text in texts])
    assert learned.size == theirs.vocab_size() == max(map(max, ids)) + 1 > 300
    assert min(map(min, ids)) > EOS
    assert learned.pieces(ids[0]) == theirs.encode(f" {TEXTS[0]}", out_type=str)
    assert learned.pieces(range(4)) == ["<pad>", "<unk>", "<s>", "</s>"]
    # Beginnings of words are pieces, at the beginning of a text as inside.
    words = [each for each in learned.pieces(range(260, learned.size)) if each[0] == "▁"]
    assert max(map(len, words)) >= 3
    alone, inside = learned.tokenize(["Hund", "Ein Hund"]).to_list()
    assert inside[-len(alone) :] == alone


def test_what_stands_around_an_answer_is_no_text(learned: TargetVocabulary) -> None:
    [ids] = learned.tokenize([" a"]).to_list()
    around = [[BOS, *ids, UNK, EOS, PAD, PAD]]
    assert texts_of(learned.detokenize(tf.constant(around))) == [" a"]
    # Half a character.
    byte = learned.tokenize(["é"]).to_list()[0][-1:]
    assert texts_of(learned.detokenize(tf.ragged.constant([byte], dtype=tf.int32)))[0] in "é\ufffd"


def test_the_same_targets_make_the_same_vocabulary(learned: TargetVocabulary) -> None:
    again = TargetVocabulary.learn(TEXTS)
    assert again == learned and hash(again) == hash(learned)
    assert again != TargetVocabulary.learn(TEXTS[:-1]) and again != learned.model
    parsed = sentencepiece_model_pb2.ModelProto.FromString(learned.model)
    assert b"tsv" not in parsed.normalizer_spec.SerializeToString()
    assert b"tsv" not in parsed.denormalizer_spec.SerializeToString()


def test_a_string_holds_all_of_it(learned: TargetVocabulary) -> None:
    written = learned.to_string()
    assert written.isascii() and TargetVocabulary.from_string(written) == learned
    # The checksum notices what SentencePiece would read all the same.
    model = bytearray(learned.model)
    model[len(model) // 2] ^= 1
    packed = zlib.compress(learned.model, 9)
    wrong = [
        *("", "no", "ä", written[:-4], written[: len(written) // 2 & ~3], 3),
        *(base64.b64encode(each).decode() for each in (b"", packed[:-1], packed + b"x")),
        *(base64.b64encode(packed[:-4] + zlib.compress(bytes(model))[-4:]).decode(),),
    ]
    for each in wrong:
        with pytest.raises(tt.InputError, match="vocabulary of answers is damaged.*Received: "):
            TargetVocabulary.from_string(each)  # type: ignore[arg-type]
    with pytest.raises(tt.InputError, match="damaged"):
        TargetVocabulary(b"no model")
    with pytest.raises(tt.InputError, match="damaged"):
        TargetVocabulary(b"")


@pytest.mark.parametrize("part", ["ids", "bytes", "prefix", "rules"])
def test_a_vocabulary_that_loses_something_is_refused(learned: TargetVocabulary, part: str) -> None:
    parsed = sentencepiece_model_pb2.ModelProto.FromString(learned.model)
    if part == "ids":
        parsed.trainer_spec.bos_id = 5
        parsed.pieces[2].piece, parsed.pieces[5].piece = "<0x01>", "<s>"
    elif part == "bytes":
        parsed.trainer_spec.byte_fallback = False
    elif part == "prefix":
        parsed.normalizer_spec.add_dummy_prefix = True
    else:
        parsed.denormalizer_spec.ClearField("precompiled_charsmap")
    with pytest.raises(tt.InputError, match=r"give back.*TargetVocabulary\.learn|damaged"):
        TargetVocabulary(parsed.SerializeToString())


def test_an_export_holds_it(learned: TargetVocabulary, tmp_path: Path) -> None:
    module = tf.Module()
    strings = tf.TensorSpec([None], tf.string)
    module.there_and_back = tf.function(
        lambda texts: learned.detokenize(learned.tokenize(texts)), input_signature=[strings]
    )
    # Nothing of the vocabulary is an attribute of what is saved.
    tf.saved_model.save(module, str(tmp_path), signatures={"texts": module.there_and_back})
    loaded = safety.load_checked(tmp_path)
    assert texts_of(loaded.signatures["texts"](tf.constant(ODD))["output_0"]) == ODD
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        graph = tf.compat.v1.saved_model.load(session, ["serve"], str(tmp_path))
        signature = graph.signature_def["texts"]
        [given], [made] = signature.inputs.values(), signature.outputs.values()
        found = session.run(made.name, {given.name: ODD})
    assert [each.decode("utf-8") for each in found] == ODD


def pieces_of(known: TargetVocabulary) -> Any:
    """A graph of texts to pieces, a function of its own."""
    spec = [tf.TensorSpec([None], tf.string)]
    return tf.function(lambda x: known.tokenize(x).to_tensor(), spec, autograph=False)


def test_an_export_of_two_holds_both(learned: TargetVocabulary, tmp_path: Path) -> None:
    """TensorFlow shares what operations of one name hold, in all that is loaded at once."""
    other = TargetVocabulary.learn(["Zug um Zug", "ein Zug mehr"])
    module, texts = tf.Module(), ["ein Zug"]
    for name, each in (("one", learned), ("other", other)):
        setattr(module, name, pieces_of(each))
    signatures = {"one": module.one, "other": module.other}
    tf.saved_model.save(module, str(tmp_path), signatures=signatures)
    for order in (["one", "other"], ["other", "one"]):
        loaded = tf.saved_model.load(str(tmp_path)).signatures
        found = {n: next(iter(loaded[n](tf.constant(texts)).values())) for n in order}
        assert found["one"].numpy().tolist() == learned.tokenize(texts).to_list()
        assert found["other"].numpy().tolist() == other.tokenize(texts).to_list()


def test_it_works_inside_of_datasets(learned: TargetVocabulary) -> None:
    dataset = tf.data.Dataset.from_tensor_slices(TEXTS).batch(7).map(learned.tokenize)
    ids = [row for batch in dataset for row in batch.to_list()]
    assert ids == learned.tokenize(TEXTS).to_list()


@pytest.mark.parametrize("texts", [[], [""], ["", "  ", "\n\t"]], ids=repr)
def test_targets_without_text_are_refused(texts: list[str]) -> None:
    with pytest.raises(tt.InputError, match=f"hold no text.*Received: {len(texts)} targets"):
        TargetVocabulary.learn(texts)


def test_targets_that_are_no_texts_are_refused() -> None:
    with pytest.raises(tt.InputError, match="row 2 of the targets"):
        TargetVocabulary.learn(["a", 3])  # type: ignore[list-item]
    with pytest.raises(tt.InputError, match="row 1 of the targets"):
        TargetVocabulary.learn(["\ud83d"])
    with pytest.raises(tt.InputError, match="`vocabulary_size` must be a whole number from 512"):
        TargetVocabulary.learn(["a"], size=100)


@pytest.mark.parametrize(
    "texts",
    [["a"], ["\0"], ["▁"], ["a" * 100_000], ["ab cd"] * 1000, ["\ue000 x"] * 10, [" \t. "] * 3],
    ids=lambda texts: texts[0][:5].encode("unicode_escape").decode(),
)
def test_odd_targets_make_vocabularies_too(texts: list[str]) -> None:
    made = TargetVocabulary.learn(texts)
    probe = [*texts[:2], *ODD]
    assert texts_of(made.detokenize(made.tokenize(probe))) == probe


def test_scripts_of_many_signs_have_pieces_for_them() -> None:
    signs = [chr(0x4E00 + place) for place in range(1500)]
    texts = ["".join(signs[start : start + 50]) for start in range(0, 1500, 50)] * 5
    made = TargetVocabulary.learn(texts)
    assert sum(len(row) for row in made.tokenize(texts[:30]).to_list()) <= 1500 + 30
    # There is no room for them in few pieces, and bytes are for the rest.
    small = TargetVocabulary.learn(texts, size=512)
    assert small.size <= 512
    assert texts_of(small.detokenize(small.tokenize(texts[:3]))) == texts[:3]


def test_of_many_targets_some_are_learned_from(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vocabulary, "_SAMPLE", 500)
    monkeypatch.setattr(vocabulary, "_LONGEST", 20)
    texts = [f"word{row} and more of the same text" for row in range(1000)]
    drawn = list(vocabulary._drawn(texts))
    assert 20 <= len(drawn) <= 25 and {len(text) for text in drawn} == {20}
    assert drawn == list(vocabulary._drawn(texts))
    # From everywhere, not from the beginning only.
    rows = [int(text.split()[0].removeprefix("word")) for text in drawn]
    assert min(rows) < 300 and max(rows) > 700
    made = TargetVocabulary.learn(texts)
    assert texts_of(made.detokenize(made.tokenize(texts))) == texts


def test_sizes_grow_with_the_targets() -> None:
    sizes = [vocabulary.usual_size(count) for count in (0, 1, 10_000, 60_000, 10**6, 10**7)]
    assert sizes == sorted(sizes) and sizes[0] == 320 and sizes[-1] == 16_000
    assert TargetVocabulary.learn(TEXTS * 40, size=512).size <= 512
