"""Words of plain texts with their places, cut where models cut plain texts."""

import functools
import unicodedata

from tfhub_transfer.texts.signs import IDEOGRAPHS

_SPACE, _SIGN, _LETTER = "space", "sign", "letter"


def places(text: str) -> list[tuple[int, int]]:
    """Start and end of each word.

    Words end at spaces; every sign of punctuation and every ideograph is a word, as
    `texts.splitting` has it in TensorFlow.

    Args:
        text: Any text.

    Example:

    >>> places("Anna's car")
    [(0, 4), (4, 5), (5, 6), (7, 10)]
    """
    found: list[tuple[int, int]] = []
    start = None
    for place, character in enumerate(text):
        kind = _kind(character)
        if kind == _LETTER:
            start = place if start is None else start
            continue
        if start is not None:
            found.append((start, place))
            start = None
        if kind == _SIGN:
            found.append((place, place + 1))
    return found if start is None else [*found, (start, len(text))]


@functools.lru_cache(1 << 14)
def _kind(character: str) -> str:
    code = ord(character)
    if character in "\t\n\f\r " or unicodedata.category(character).startswith("Z"):
        return _SPACE
    is_ascii_sign = 33 <= code <= 47 or 58 <= code <= 64 or 91 <= code <= 96 or 123 <= code <= 126
    if is_ascii_sign or unicodedata.category(character).startswith("P"):
        return _SIGN
    return _SIGN if any(low <= code <= high for low, high in IDEOGRAPHS) else _LETTER
