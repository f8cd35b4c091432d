"""Which script texts are written in: a cheap sign of languages that are mixed."""

import collections
import functools
import unicodedata

# Of letters that no script owns.
_NO_SCRIPT = frozenset(
    "MODIFIER MATHEMATICAL FEMININE MASCULINE MICRO SUPERSCRIPT SUBSCRIPT".split()
)
# Japanese is written in three of them at once.
_AS_ONE = {"HIRAGANA": "CJK", "KATAKANA": "CJK", "KATAKANA-HIRAGANA": "CJK"}
# Letters of these look alike. Shorter words may be units, as of micrometres.
_ALIKE = frozenset(("LATIN", "CYRILLIC", "GREEK"))
_LEAST = 4


@functools.cache
def of_letter(sign: str) -> str | None:
    """The script of a letter, as Unicode names it; `None` of what is no letter.

    Args:
        sign: One character.

    Example:

    >>> of_letter("é"), of_letter("д"), of_letter("あ"), of_letter("7")
    ('LATIN', 'CYRILLIC', 'CJK', None)
    """
    if not sign.isalpha():
        return None
    plain = unicodedata.normalize("NFKC", sign)[:1] or sign
    first = unicodedata.name(plain, "").split(" ")[0]
    return None if not first or first in _NO_SCRIPT else _AS_ONE.get(first, first)


def of_text(text: str) -> str | None:
    """The script that most letters of a text are of; `None` of a text without letters.

    Args:
        text: Any text.
    """
    if text.isascii():
        return "LATIN" if any(map(str.isalpha, text)) else None
    found: collections.Counter[str] = collections.Counter()
    for sign, count in collections.Counter(text).items():
        script = of_letter(sign)
        if script is not None:
            found[script] += count
    return max(found, key=lambda name: (found[name], name)) if found else None


def disguised(text: str) -> str | None:
    """The first word of a text whose letters are of two scripts that look alike; `None` if none is.

    Args:
        text: Any text.

    Example:

    >>> disguised("use раypal now"), disguised("use paypal now")
    ('раypal', None)
    """
    if text.isascii():
        return None
    for word in text.split():
        own = [] if word.isascii() else list(filter(None, map(of_letter, word)))
        if len(own) >= _LEAST and len(_ALIKE & {*own}) > 1:
            return word
    return None
