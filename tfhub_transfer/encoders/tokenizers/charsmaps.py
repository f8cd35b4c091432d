"""SentencePiece's tables of characters that are replaced, as its models hold them.

A table is a double-array trie (Aoe 1989, https://doi.org/10.1109/32.31365) of strings in UTF-8, as
the library Darts-clone writes it, and the strings that take their places.
"""

import io
import struct
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import sentencepiece
from sentencepiece import sentencepiece_model_pb2

from tfhub_transfer.errors import InputError
from tfhub_transfer.storage.scratch import temporary

_LEAF, _LABEL, _END = 1 << 8, 0xFF, 1 << 31
# Units that are looked at a time, each for 255 bytes that may follow.
_CHUNK = 8192
# Longer clusters of a letter and its marks are read by character.
_LONGEST_CLUSTER = 5
# A character has up to four bytes.
_MOST = max(4, _LONGEST_CLUSTER)


def as_tokenizers_read(table: bytes) -> bytes:
    """A table by which SentencePiece replaces what Hugging Face's `tokenizers` do.

    SentencePiece replaces the longest string that it finds. `tokenizers` look at a letter with its
    marks: if these have up to 5 bytes, at the shortest string, otherwise at each character alone.

    Args:
        table: A model's `precompiled_charsmap`; none of it makes none.

    Raises:
        InputError: If it is damaged.
    """
    if not table:
        return table
    units, rest = _parts(table)
    rules = {}
    for text, value in _strings(units):
        if len(text) == 1 or len(text.encode("utf-8")) <= _LONGEST_CLUSTER:
            rules[text] = _text(rest, value)
    return _compiled(rules)


def _compiled(rules: Mapping[str, str]) -> bytes:
    """A table of these replacements, by the library itself: it writes it into a model."""
    made = io.BytesIO()
    lines = (f"{_numbers(text)}\t{_numbers(by)}\n" for text, by in rules.items())
    with temporary() as folder:
        path = folder / "rules.tsv"
        path.write_text("".join(lines), encoding="ascii")
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(["a b c d e f g h"] * 20),
            model_writer=made,
            vocab_size=20,
            hard_vocab_limit=False,
            normalization_rule_tsv=str(path),
            minloglevel=2,
        )
    spec = sentencepiece_model_pb2.ModelProto.FromString(made.getvalue()).normalizer_spec
    return bytes(spec.precompiled_charsmap)


def _numbers(text: str) -> str:
    return " ".join(f"{ord(character):X}" for character in text)


def replaced_by(table: bytes, character: str) -> str | None:
    """What takes the place of a character; `None` if it stays.

    Args:
        table: As of `as_tokenizers_read`.
        character: One.
    """
    if not table:
        return None
    units, rest = _parts(table)
    node = 0
    for byte in character.encode("utf-8"):
        following = (node ^ _offset(units[node])) ^ byte
        if following >= len(units) or units[following] & (_END | _LABEL) != byte:
            return None
        node = int(following)
    if not units[node] & _LEAF:
        return None
    return _text(rest, int(units[node ^ _offset(units[node])]))


def _text(rest: bytes, value: int) -> str:
    start = value & (_END - 1)
    return rest[start : rest.index(b"\0", start)].decode("utf-8")


def _parts(table: bytes) -> tuple[np.ndarray, bytes]:
    size = struct.unpack_from("<I", table)[0] if len(table) > 4 else 0
    if not 4 <= size <= len(table) - 4 or size % 4 or not table.endswith(b"\0"):
        raise InputError(
            "the tokenizer's table of replaced characters (precompiled_charsmap) is damaged; take "
            f"the files again. Received: {len(table)} bytes"
        )
    return np.frombuffer(table, "<u4", size // 4, 4).astype(np.uint32), table[4 + size :]


def _offset(unit: Any) -> Any:
    return (unit >> np.uint32(10)) << ((unit & np.uint32(1 << 9)) >> np.uint32(6))


def _strings(units: np.ndarray) -> Iterator[tuple[str, int]]:
    """Each string, and the value of the shortest one that it begins with, or its own.

    Only of those up to `_MOST` bytes. Strings may share nodes, so they are followed one by one.
    """
    labels = np.arange(1, 256, dtype=np.uint32)
    level = [(0, b"", 0)]
    for _ in range(_MOST):
        following = []
        for start in range(0, len(level), _CHUNK):
            part = level[start : start + _CHUNK]
            nodes = np.array([node for node, _, _ in part])
            reached = (nodes ^ _offset(units[nodes]))[:, None] ^ labels
            inside = reached < len(units)
            seen = units[np.where(inside, reached, 0)] & np.uint32(_END | _LABEL)
            for row, column in zip(*np.nonzero(inside & (seen == labels))):
                _, before, shortest = part[row]
                node, text = int(reached[row, column]), before + bytes([column + 1])
                unit = units[node]
                if unit & _LEAF:
                    # A value has its highest bit set, so that 0 is none.
                    shortest = shortest or int(units[node ^ int(_offset(unit))])
                    yield text.decode("utf-8", errors="replace"), shortest
                following.append((node, text, shortest))
        level = following
