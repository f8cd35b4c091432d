r"""What tokenizer.json says is done to texts before they are cut, as TensorFlow's operations."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import tensorflow as tf
import tensorflow_text as tf_text

from tfhub_transfer.errors import InputError
from tfhub_transfer.texts.signs import IDEOGRAPHS

Step: TypeAlias = Callable[[tf.Tensor], tf.Tensor]
Json: TypeAlias = Mapping[str, Any]

# Unicode's White_Space, for a class of RE2's.
BLANK = r"\x{9}-\x{D} \x{85}\x{A0}\x{1680}\x{2000}-\x{200A}\x{2028}\x{2029}\x{202F}\x{205F}\x{3000}"
# Stands for U+0000: a code point that Unicode gives to nobody.
NUL = "\U0010ffff"
_IDEOGRAPH = "".join(rf"\x{{{low:X}}}-\x{{{high:X}}}" for low, high in IDEOGRAPHS)
# Of control, format and private-use characters nothing is left, but of those that are spaces.
_CONTROL = r"[\x{0}-\x{8}\x{B}\x{C}\x{E}-\x{1F}\x{7F}-\x{9F}\x{FFFD}\p{Cf}\p{Co}]"
_FORMS = ("NFC", "NFD", "NFKC", "NFKD")
# What has no other meaning in RE2 than in Oniguruma, by which `tokenizers` read patterns.
_PLAIN = re.compile(r"(?:[^\\().$^|]|\\[nrt\\.*+?|(){}\[\]\"'`-]|\\p\{\w+\})*")


def steps(normalizer: Json | None) -> list[Json]:
    """The steps of a normalizer of tokenizer.json, those of sequences in their places.

    Args:
        normalizer: What the file has, or a part of it.
    """
    if not normalizer:
        return []
    if normalizer.get("type") != "Sequence":
        return [normalizer]
    for name in ("normalizers", "pretokenizers", "processors"):
        if isinstance(normalizer.get(name), list):
            return [step for each in normalizer[name] for step in steps(each)]
    return []


def step(said: Json) -> Step:
    """One step as a function of strings `[n]`.

    Args:
        said: The step in tokenizer.json.

    Raises:
        InputError: If TensorFlow's operations can't say it, by its name.
    """
    kind = said.get("type")
    if kind in _FORMS:
        return _form(str(kind))
    if kind == "Lowercase":
        return _lower
    if kind == "StripAccents":
        return _replacing(r"\p{M}+", "")
    if kind == "BertNormalizer":
        return _bert(said)
    if kind == "Replace":
        return _replace(said)
    if kind == "Strip":
        ends = [rf"\A[{BLANK}]+"] * bool(said.get("strip_left"))
        ends += [rf"[{BLANK}]+\z"] * bool(said.get("strip_right"))
        return _replacing("|".join(ends) or r"\A", "")
    if kind == "Prepend":
        return _replacing(r"(?s)\A(.)", _literal(str(said.get("prepend"))) + r"\1")
    raise refused("normalizer", said)


def in_turn(chain: Sequence[Step]) -> Step:
    """Several steps as one.

    Args:
        chain: The steps, the first one first.
    """

    def every(texts: tf.Tensor) -> tf.Tensor:
        for each in chain:
            texts = each(texts)
        return texts

    return every


def refused(what: str, said: object) -> InputError:
    """The error of what can't be converted.

    Args:
        what: The part of tokenizer.json.
        said: What that says.
    """
    kind = said.get("type") if isinstance(said, Mapping) else said
    return InputError(
        f"a tokenizer with this {what} can't be converted, since TensorFlow's operations can't "
        f"give the same ids; take a model with another tokenizer. Received: {str(kind)[:120]}"
    )


def _replacing(pattern: str, by: str) -> Step:
    return lambda texts: tf.strings.regex_replace(texts, pattern, by)


def _form(name: str) -> Step:
    # What is behind a U+0000 the operation leaves out.
    return lambda texts: tf_text.normalize_utf8(without_nul(texts), name)


def without_nul(texts: tf.Tensor) -> tf.Tensor:
    """Texts `[n]` with `NUL` for U+0000, which ends a text for several operations.

    Args:
        texts: Strings.
    """
    return tf.strings.regex_replace(texts, r"\x{0}", NUL)


def _literal(text: str) -> str:
    return text.replace("\\", r"\\")


def _lower(texts: tf.Tensor) -> tf.Tensor:
    texts = without_nul(texts)
    # TensorFlow's own way gives a sigma that ends a word another letter.
    return tf.strings.lower(tf.strings.regex_replace(texts, "Σ", "σ"), encoding="utf-8")


def _bert(said: Json) -> Step:
    lower = bool(said.get("lowercase", True))
    accents = said.get("strip_accents")
    chain: list[Step] = []
    if said.get("clean_text", True):
        chain += [_replacing(_CONTROL, ""), _replacing(f"[{BLANK}]", " ")]
    if said.get("handle_chinese_chars", True):
        chain.append(_replacing(f"([{_IDEOGRAPH}])", r" \1 "))
    if lower if accents is None else accents:
        chain.append(_form("NFD"))
        chain.append(_replacing(r"\p{Mn}+", ""))
    return in_turn([*chain, *([_lower] if lower else [])])


def _replace(said: Json) -> Step:
    pattern, by = said.get("pattern"), said.get("content")
    if not isinstance(pattern, Mapping) or not isinstance(by, str):
        raise refused("normalizer", said)
    if isinstance(pattern.get("String"), str) and pattern["String"]:
        return _replacing(re.escape(pattern["String"]), _literal(by))
    regex = pattern.get("Regex")
    if not isinstance(regex, str) or not _PLAIN.fullmatch(regex):
        raise refused("normalizer", f"Replace of {regex!r}")
    return _replacing(regex, _literal(by))
