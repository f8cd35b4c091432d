"""Tables of replaced characters: read as they were written, replaced as `tokenizers` do."""

import base64

import pytest
import sentencepiece
from test_pieces_reading import FOUND

from tfhub_transfer.encoders.pieces import charsmaps
from tfhub_transfer.errors import InputError

TABLE = base64.b64decode(
    FOUND["xlmr"]["tokenizer"]["normalizer"]["normalizers"][0]["precompiled_charsmap"]
)


def normalized(table: bytes, text: str) -> str:
    """What SentencePiece itself makes of a text by a table."""
    spec = sentencepiece.sentencepiece_model_pb2.NormalizerSpec(
        name="x", precompiled_charsmap=table, add_dummy_prefix=False, escape_whitespaces=False
    )
    found: str = sentencepiece.SentencePieceNormalizer(
        normalizer_spec=spec.SerializeToString()
    ).normalize(text)
    return found


@pytest.mark.parametrize(
    ("character", "wanted"),
    [("Ａ", "A"), ("\u3000", " "), ("\u0001", ""), ("½", "1\u20442"), ("a", None), ("が", "か")],
)
def test_single_replacements_are_read(character: str, wanted: str | None) -> None:
    assert charsmaps.replaced_by(TABLE, character) == wanted
    assert charsmaps.replaced_by(charsmaps.as_tokenizers_read(TABLE), character) == wanted


def test_long_clusters_are_read_by_character() -> None:
    table = charsmaps.as_tokenizers_read(TABLE)
    # Three bytes and five; the second has seven, of which tokenizers look at each character alone.
    assert normalized(TABLE, "e\u0301") == normalized(table, "e\u0301") == "é"
    assert normalized(TABLE, "e\u0301\u0302\u0327") == "E"
    assert normalized(table, "e\u0301\u0302\u0327") == "é\u0302\u0327"


def test_no_table_stays_none() -> None:
    assert charsmaps.as_tokenizers_read(b"") == b""
    assert charsmaps.replaced_by(b"", "Ａ") is None


@pytest.mark.parametrize("damaged", [b"\x01", TABLE[:-1], b"\xff\xff\xff\xff" + TABLE[4:]])
def test_damaged_tables_are_refused(damaged: bytes) -> None:
    with pytest.raises(InputError, match="table of replaced characters.*is damaged"):
        charsmaps.as_tokenizers_read(damaged)
