"""Which language texts are written in, where that is as good as certain."""

import functools

from py3langid.langid import MODEL_FILE, LanguageIdentifier

from tfhub_transfer.texts import scripts

# Of 10,371 texts in three languages, short messages among them, the 8,794 that it is so sure of are
# all right (`benchmarks/languages.py`); of the rest one in twelve would be wrong.
SURE = 0.9
# More characters than that hardly make it surer, and take longer.
_READ = 500
# What is no language: numbers, markup, what nobody can tell.
_NONE = frozenset(("und", "zxx"))


@functools.cache
def _identifier() -> LanguageIdentifier:
    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)


def of_text(text: str) -> str | None:
    """The language of a text, as its ISO 639 code; `None` where nobody could be sure.

    By runs of bytes, among 139 languages (py3langid, after Lui and Baldwin 2012, "langid.py: An
    Off-the-shelf Language Identification Tool"). Of short texts most are left unsaid.

    Args:
        text: Any text, of which the first 500 characters are read.

    Example:

    >>> of_text("Der Zug nach Berlin hat heute Verspätung."), of_text("ok")
    ('de', None)
    """
    read = text[:_READ]
    if scripts.of_text(read) is None:
        return None
    found, sure = _identifier().classify(read)
    return None if sure < SURE or found in _NONE else str(found)
