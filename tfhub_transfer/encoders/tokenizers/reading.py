"""Tokenizers read from Hugging Face's files: tokenizer.json, SentencePiece's models, merges.txt.

What is written here is what `tokenizers` make of the same files; what TensorFlow's operations can't
say is refused by its name.
"""

import base64
import binascii
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias

from tfhub_transfer.encoders.tokenizers import normalizing, sentence_pieces, word_pieces
from tfhub_transfer.encoders.tokenizers.byte_pairs import BytePairs
from tfhub_transfer.encoders.tokenizers.naming import Names
from tfhub_transfer.encoders.tokenizers.sentence_pieces import SentencePieces
from tfhub_transfer.encoders.tokenizers.tokenizing import Tokenizer
from tfhub_transfer.encoders.tokenizers.word_pieces import WordsInPieces
from tfhub_transfer.errors import InputError
from tfhub_transfer.storage import opening, records

Json: TypeAlias = Mapping[str, Any]

SENTENCE_PIECES = ("sentencepiece.bpe.model", "spiece.model", "tokenizer.model")
FILES = ("vocab.txt", "tokenizer.json", *SENTENCE_PIECES, "vocab.json")
# How families number the pieces of a SentencePiece model: what comes first, how many pieces of the
# model that stands for, what comes last. CamemBERT's model keeps its own <s> and </s>.
_NUMBERED: Mapping[str, tuple[tuple[str, ...], int, tuple[str, ...]]] = {
    "xlmroberta": (("<s>", "<pad>", "</s>", "<unk>"), 3, ("<mask>",)),
    "camembert": (
        ("<s>NOTUSED", "<pad>", "</s>NOTUSED", "<unk>", "<unk>NOTUSED"),
        1,
        ("<mask>",),
    ),
}
_QUOTES = ({"type": "Replace", "pattern": {"String": q}, "content": '"'} for q in ("``", "''"))
_ALBERTS_QUOTES = tuple(_QUOTES)
# A step after the table of replaced characters that SentencePiece does by itself.
_JOINED_SPACES = {" {2,}": (" ", sentence_pieces.SPACE)}
_BPE = {
    "dropout": (None, 0.0),
    "continuing_subword_prefix": (None, ""),
    "end_of_word_suffix": (None, ""),
    "byte_fallback": (None, False),
    "ignore_merges": (None, False),
}


def read(source: Path, config: Json) -> Tokenizer | None:
    """The tokenizer of a Hugging Face folder.

    Args:
        source: The folder.
        config: Its config.json.

    Returns:
        `None` if it is BERT's, word pieces between `[CLS]` and `[SEP]`.

    Raises:
        InputError: If a file is missing or damaged, or says what can't be converted.
    """
    names = Names.read(source, config)
    whole = source / "tokenizer.json"
    vocabulary = source / "vocab.txt"
    if vocabulary.is_file():
        pieces = _text(vocabulary).split("\n")
        if not {"<s>", "</s>"} <= set(pieces) or "[CLS]" in pieces:
            return None
    if whole.is_file():
        return _of_json(records.read(whole), names)
    if vocabulary.is_file():
        return _of_lines([piece.rstrip("\r") for piece in pieces], names)
    for name in SENTENCE_PIECES:
        if (source / name).is_file():
            return _of_model(source / name, names)
    return _of_pairs(source, names)


def _text(path: Path) -> str:
    try:
        return opening.read_text(path)
    except UnicodeDecodeError as error:
        raise InputError(f"{path.name} must be UTF-8 ({error}). Received: {path}") from error


def _of_lines(pieces: list[str], names: Names) -> Tokenizer:
    """Word pieces of a vocab.txt, cleaned as tokenizer_config.json says."""
    pieces = pieces[:-1] if pieces[-1] == "" else pieces
    ids = {piece: number for number, piece in enumerate(pieces)}
    before = normalizing.step({"type": "BertNormalizer", **names.cleaning})
    unknown = names.unknown(ids, "[UNK]")
    splitter = WordsInPieces(pieces, unknown, "BertPreTokenizer", before)
    return Tokenizer(splitter, names.packing(ids, ids[unknown]), pieces)


def _of_json(said: Json, names: Names) -> Tokenizer | None:
    model = records.take(dict(said), "model", dict, names.source / "tokenizer.json", {})
    kind = model.get("type") or _guessed(model)
    if kind == "WordPiece":
        return _of_word_pieces(said, model, names)
    if kind == "Unigram":
        return _of_unigram(said, model, names)
    if kind == "BPE":
        return _of_merges(said, model, names)
    raise normalizing.refused("model", kind)


def _guessed(model: Json) -> str | None:
    """Old files don't name the kind of their model."""
    if "merges" in model:
        return "BPE"
    return "Unigram" if isinstance(model.get("vocab"), list) else None


def _of_word_pieces(said: Json, model: Json, names: Names) -> Tokenizer | None:
    ids = _numbers(model.get("vocab"), said)
    steps = normalizing.steps(said.get("normalizer"))
    cutting = normalizing.steps(said.get("pre_tokenizer"))
    usual = all(step.get("type") == "BertNormalizer" for step in steps) and len(steps) < 2
    plain = not cutting or [each.get("type") for each in cutting] == ["BertPreTokenizer"]
    if usual and plain and {"[CLS]", "[SEP]", "[PAD]", "[UNK]"} <= ids.keys():
        return None
    for key, value in (("continuing_subword_prefix", "##"), ("max_input_chars_per_word", 100)):
        if model.get(key, value) != value:
            raise normalizing.refused("model", f"WordPiece with {key} {model[key]!r}")
    if len(cutting) != 1 or cutting[0].get("type") not in word_pieces.SIGNS:
        first = next((e for e in cutting if e.get("type") not in word_pieces.SIGNS), None)
        raise normalizing.refused("pre_tokenizer", first or "Sequence" if cutting else "none")
    before = normalizing.in_turn([normalizing.step(each) for each in steps])
    unknown = str(model.get("unk_token", "[UNK]"))
    if unknown not in ids:
        raise normalizing.refused("model", f"WordPiece without its unk_token {unknown!r}")
    pieces = _in_order(ids)
    splitter = WordsInPieces(pieces, unknown, str(cutting[0]["type"]), before)
    return Tokenizer(splitter, names.packing(ids, ids[unknown], said), pieces)


def _of_unigram(said: Json, model: Json, names: Names) -> Tokenizer:
    pairs = model.get("vocab")
    unknown = model.get("unk_id")
    if not isinstance(pairs, list) or not isinstance(unknown, int) or not all(map(_is_pair, pairs)):
        raise normalizing.refused("model", "Unigram without scored pieces or unk_id")
    ids = _numbers({piece: number for number, (piece, _) in enumerate(pairs)}, said)
    pieces = _in_order(ids)
    scores = [float(score) for _, score in pairs]
    scores += [0.0] * (len(pieces) - len(scores))
    steps, table, joined = _parted(normalizing.steps(said.get("normalizer")))
    all_blanks = _parts_words(said, joined)
    special = _special(said, ids) | {n for p, n in ids.items() if p in names.special}
    made = sentence_pieces.of_pieces(
        list(zip(pieces, scores)),
        unknown,
        special - {unknown},
        table,
        bool(model.get("byte_fallback")),
    )
    last = not all_blanks and not any(each.get("type") == "Strip" for each in joined)
    splitter = SentencePieces(made, normalizing.in_turn(steps), all_blanks, last)
    return Tokenizer(splitter, names.packing(ids, unknown, said), pieces)


def _parted(steps: list[Json]) -> tuple[list[normalizing.Step], bytes, list[Json]]:
    """What is done before the table of replaced characters, that, and what is done with spaces."""
    kinds = [each.get("type") for each in steps]
    place = kinds.index("Precompiled") if "Precompiled" in kinds else len(steps)
    before, after = steps[:place], steps[place + 1 :]
    if place == len(steps):
        # Without a table, what is done with spaces ends the list.
        while before and _is_of_spaces(before[-1]):
            after.insert(0, before.pop())
    for each in after:
        if not _is_of_spaces(each):
            raise normalizing.refused("normalizer", f"{each.get('type')} after Precompiled")
    table = b""
    if place < len(steps):
        try:
            table = base64.b64decode(str(steps[place].get("precompiled_charsmap")), validate=True)
        except binascii.Error as error:
            raise normalizing.refused("normalizer", f"Precompiled ({error})") from error
    return [normalizing.step(each) for each in before], table, after


def _is_of_spaces(step: Json) -> bool:
    if step.get("type") == "Strip":
        return bool(step.get("strip_right"))
    pattern = step.get("pattern")
    found = pattern.get("Regex") if isinstance(pattern, Mapping) else None
    return step.get("type") == "Replace" and step.get("content") in _JOINED_SPACES.get(
        str(found), ()
    )


def _parts_words(said: Json, joined: list[Json]) -> bool:
    """Whether all of Unicode's spaces part words, or plain ones alone."""
    cutting = normalizing.steps(said.get("pre_tokenizer"))
    kinds = [each.get("type") for each in cutting]
    if kinds not in (["WhitespaceSplit", "Metaspace"], ["Metaspace"]):
        known = ("WhitespaceSplit", "Metaspace")
        other = next((e for e in cutting if e.get("type") not in known), "none or Sequence")
        raise normalizing.refused("pre_tokenizer", other)
    meta = cutting[-1]
    always = meta.get("prepend_scheme", "always") == "always"
    if not meta.get("add_prefix_space", True) or not always or not meta.get("split", True):
        raise normalizing.refused("pre_tokenizer", f"Metaspace with {dict(meta)}")
    if meta.get("replacement") != sentence_pieces.SPACE:
        raise normalizing.refused("pre_tokenizer", f"Metaspace of {meta.get('replacement')!r}")
    if kinds[0] == "Metaspace" and not any(each.get("type") == "Replace" for each in joined):
        raise normalizing.refused("pre_tokenizer", "Metaspace that keeps several spaces apart")
    return kinds[0] == "WhitespaceSplit"


def _of_merges(said: Json, model: Json, names: Names) -> Tokenizer:
    for key, allowed in _BPE.items():
        if model.get(key) not in allowed:
            raise normalizing.refused("model", f"BPE with {key} {model[key]!r}")
    cutting = normalizing.steps(said.get("pre_tokenizer"))
    if [each.get("type") for each in cutting] != ["ByteLevel"]:
        other = next((each for each in cutting if each.get("type") != "ByteLevel"), "none")
        raise normalizing.refused("pre_tokenizer", other)
    if not cutting[0].get("use_regex", True):
        raise normalizing.refused("pre_tokenizer", "ByteLevel without its pattern (use_regex)")
    steps = normalizing.steps(said.get("normalizer"))
    before = normalizing.in_turn([normalizing.step(each) for each in steps])
    ids = _numbers(model.get("vocab"), said)
    merges = [_merge(each) for each in model.get("merges") or []]
    splitter = BytePairs(ids, merges, bool(cutting[0].get("add_prefix_space", True)), before)
    return Tokenizer(splitter, names.packing(ids, None, said), _in_order(ids), spaced=True)


def _of_pairs(source: Path, names: Names) -> Tokenizer:
    """Byte-level BPE in two files, as RoBERTa has it."""
    lines = _text(source / "merges.txt") if (source / "merges.txt").is_file() else None
    if lines is None or not (source / "vocab.json").is_file():
        raise InputError(
            f"A Hugging Face folder holds its tokenizer in one of {', '.join(FILES[:-1])}, or in "
            f"vocab.json and merges.txt; one of these is missing. Received: {source}"
        )
    ids = _numbers(records.read(source / "vocab.json"), {})
    rows = [line for line in lines.split("\n") if line.strip() and not line.startswith("#version")]
    splitter = BytePairs(ids, [_merge(row.rstrip("\r")) for row in rows], names.prefix_space)
    return Tokenizer(splitter, names.packing(ids, None), _in_order(ids), spaced=True)


def _of_model(path: Path, names: Names) -> Tokenizer:
    """A SentencePiece model alone, whose numbers are those of its family."""
    found = sentence_pieces.parsed(opening.read_bytes(path), path)
    before: list[Json] = []
    if names.kind in _NUMBERED:
        first, skipped, last = _NUMBERED[names.kind]
    elif names.kind == "albert":
        first, skipped, last = (), 0, ()
        before = [*_ALBERTS_QUOTES, *names.albert_steps]
        for each in found.pieces:
            # SentencePiece itself keeps a comma and the digit before it together.
            if len(each.piece) > 1 and each.piece[-1] == "," and each.piece[-2].isdigit():
                each.score -= 100.0
    else:
        raise normalizing.refused("SentencePiece model", f"one for {names.kind or 'no family'}")
    made = sentence_pieces.numbered(found, first, skipped, last)
    pieces = [each.piece for each in sentence_pieces.parsed(made, path).pieces]
    ids = {piece: number for number, piece in enumerate(pieces)}
    steps = normalizing.in_turn([normalizing.step(each) for each in before])
    return Tokenizer(SentencePieces(made, steps), names.packing(ids, ids.get("<unk>")), pieces)


def _numbers(vocabulary: object, said: Json) -> dict[str, int]:
    """The number of each piece, those included that were added to a tokenizer.

    Raises:
        InputError: If they aren't 0, 1, 2 and so on, or an added one isn't special.
    """
    ids = dict(vocabulary) if isinstance(vocabulary, Mapping) else {}
    for each in said.get("added_tokens") or []:
        piece, number = each.get("content"), each.get("id")
        if ids.get(piece) not in (None, number) or not isinstance(piece, str):
            raise normalizing.refused("vocabulary", f"{piece!r} with two numbers")
        if not each.get("special"):
            raise normalizing.refused("added token", repr(piece))
        ids[piece] = number
    if not ids or sorted(ids.values(), key=repr) != sorted(range(len(ids)), key=repr):
        raise InputError(
            "a tokenizer's vocabulary has the numbers 0, 1, 2 and so on, each once; take the files "
            f"again. Received: {len(ids)} pieces with other numbers"
        )
    return ids


def _in_order(ids: Mapping[str, int]) -> list[str]:
    return sorted(ids, key=lambda piece: ids[piece])


def _special(said: Json, ids: Mapping[str, int]) -> set[int]:
    return {ids[each["content"]] for each in said.get("added_tokens") or []}


def _is_pair(each: object) -> bool:
    if not isinstance(each, (list, tuple)) or len(each) != 2:
        return False
    return isinstance(each[0], str) and isinstance(each[1], (int, float))


def _merge(said: object) -> tuple[str, str]:
    parts = said.split(" ") if isinstance(said, str) else said
    if not isinstance(parts, (list, tuple)) or len(parts) != 2:
        raise InputError(
            f"a merge is of two pieces with a space between; take the files again. Received: "
            f"{said!r}"
        )
    return str(parts[0]), str(parts[1])
